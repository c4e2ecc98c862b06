import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.impl.MQAdminImpl;
import org.apache.rocketmq.client.impl.factory.MQClientInstance;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.body.AclInfo;
import org.apache.rocketmq.remoting.protocol.body.UserInfo;
import org.apache.rocketmq.remoting.protocol.header.GetTopicConfigRequestHeader;
import org.apache.rocketmq.remoting.protocol.statictopic.TopicConfigAndQueueMapping;

/** What the dashboard 2.1.0, which stands on tools 5.3.3, asks otherwise than others. */
final class Release {
    static final int BEHIND_END = 0;

    private Release() {
    }

    static TopicConfig topicConfig(Dashboard pages, String broker, String topic) throws Exception {
        GetTopicConfigRequestHeader header = new GetTopicConfigRequestHeader();
        header.setTopic(topic);
        byte[] body = pages.ask(broker, RemotingCommand.createRequestCommand(RequestCode.GET_TOPIC_CONFIG, header)).getBody();
        return RemotingSerializable.decode(body, TopicConfigAndQueueMapping.class);
    }

    /** Of all that brokers have, by one request each, and of what the name server calls the system's. */
    static Map<String, String> topicTypes(Dashboard pages) throws Exception {
        Map<String, String> types = new TreeMap<>();
        Set<String> system = pages.systemTopics();
        for (String broker : pages.brokers()) {
            pages.admin.getAllTopicConfig(broker, 10_000).getTopicConfigTable().forEach((topic, config) -> {
                if (topic.startsWith("%R")) {
                    types.put(topic, "RETRY");
                } else if (topic.startsWith("%D")) {
                    types.put(topic, "DLQ");
                } else if (system.contains(topic) || topic.startsWith("rmq_sys") || topic.equals("DefaultHeartBeatSyncerTopic")) {
                    types.put("%SYS%" + topic, "SYSTEM");
                } else {
                    types.put(topic, Dashboard.typeOf(config));
                }
            });
        }
        system.forEach(topic -> types.putIfAbsent("%SYS%" + topic, "SYSTEM"));
        return types;
    }

    /** By its unique key alone, in each cluster of the topic. */
    static MessageExt view(Dashboard pages, String topic, String id) throws Exception {
        MQAdminImpl client = ((MQClientInstance) pages.client()).getMQAdminImpl();
        Set<String> clusters = pages.admin.getTopicClusterList(topic);
        for (String cluster : clusters == null || clusters.isEmpty() ? Set.of("") : clusters) {
            QueryResult found = client.queryMessage(cluster, topic, id, 32, 0, Long.MAX_VALUE, true);
            if (found != null && found.getMessageList() != null && !found.getMessageList().isEmpty()) {
                return found.getMessageList().get(0);
            }
        }
        return null;
    }

    /** The page of users and what they may: {@code name} is a user, or what is searched for. */
    static void accounts(Dashboard pages, String request, String name) throws Exception {
        for (String broker : pages.brokers()) {
            switch (request) {
                case "acl.users" -> Dashboard.print(Set.copyOf(pages.admin.listUser(broker, "")));
                case "acl.login" -> Dashboard.print(pages.admin.getUser(broker, name));
                case "acl.createUser" -> pages.admin.createUser(broker, UserInfo.of(name, "secret12345", "Normal", "enable"));
                case "acl.updateUser" -> pages.admin.updateUser(broker, UserInfo.of(name, "other12345", "Normal", "disable"));
                case "acl.deleteUser" -> pages.admin.deleteUser(broker, name);
                case "acl.list" -> {
                    Dashboard.print(pages.admin.listAcl(broker, name, ""));
                    Dashboard.print(pages.admin.listAcl(broker, "", name));
                }
                case "acl.create" -> pages.admin.createAcl(broker, acl(name, "Topic:Orders", "Pub", "Sub"));
                case "acl.update" -> pages.admin.updateAcl(broker, acl(name, "Topic:Orders", "Sub"));
                case "acl.delete" -> pages.admin.deleteAcl(broker, "User:" + name, "Topic:Orders");
                default -> throw new IllegalArgumentException("no page asks " + request);
            }
        }
    }

    private static AclInfo acl(String user, String resource, String... actions) {
        return AclInfo.of("User:" + user, List.of(resource), List.of(actions), List.of("127.0.0.1"), "Allow");
    }
}
