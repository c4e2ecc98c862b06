import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.apache.rocketmq.common.AclConfig;
import org.apache.rocketmq.common.PlainAccessConfig;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.body.TopicConfigSerializeWrapper;

/** What the dashboard 2.0.0, which stands on tools 5.1.0, asks otherwise than others. */
final class Release {
    /** Pages of messages begin with a look behind the last message of the time asked for. */
    static final int BEHIND_END = 1;

    private Release() {
    }

    static TopicConfig topicConfig(Dashboard pages, String broker, String topic) throws Exception {
        byte[] body = pages.ask(broker, RemotingCommand.createRequestCommand(RequestCode.GET_ALL_TOPIC_CONFIG, null)).getBody();
        return RemotingSerializable.decode(body, TopicConfigSerializeWrapper.class).getTopicConfigTable().get(topic);
    }

    /** Of each topic that the list shows and whose name does not tell. */
    static Map<String, String> topicTypes(Dashboard pages) throws Exception {
        Map<String, String> types = new TreeMap<>();
        for (String topic : pages.topics(false, false)) {
            String type = topic.startsWith("%R") ? "RETRY" : topic.startsWith("%D") ? "DELAY" : topic.startsWith("%S") ? "SYSTEM" : null;
            types.put(topic, type == null ? pages.messageType(topic) : type);
        }
        return types;
    }

    /** By the id that says where it lies; where it is none, by the unique key in each cluster of the topic. */
    static MessageExt view(Dashboard pages, String topic, String id) throws Exception {
        try {
            return pages.admin.viewMessage(id);
        } catch (Exception itIsNone) {
            // Looked for by its key then.
        }
        Set<String> clusters = pages.admin.getTopicClusterList(topic);
        if (clusters == null || clusters.isEmpty()) {
            return pages.admin.queryMessage("", topic, id);
        }
        for (String cluster : clusters) {
            MessageExt found = pages.admin.queryMessage(cluster, topic, id);
            if (found != null) {
                return found;
            }
        }
        return null;
    }

    /** The page of accounts, as they were before Apache 5.3: a file of each broker. What is changed is sent as it was told, with the change. */
    static void accounts(Dashboard pages, String request, String name) throws Exception {
        for (String broker : pages.brokers()) {
            PlainAccessConfig account = new PlainAccessConfig();
            account.setAccessKey(name);
            account.setSecretKey("secret12345");
            if (!request.startsWith("acl.sync")) {
                AclConfig all = pages.admin.examineBrokerClusterAclConfig(broker);
                if (request.equals("acl.list")) {
                    Dashboard.print(all);
                    continue;
                }
                for (PlainAccessConfig known : all.getPlainAccessConfigs()) {
                    if (known.getAccessKey().equals(name)) {
                        account = known;
                    }
                }
            }
            switch (request) {
                case "acl.add", "acl.sync" -> {
                }
                case "acl.update" -> account.setSecretKey("other12345");
                case "acl.topic" -> account.setTopicPerms(with(account.getTopicPerms(), "Orders=PUB|SUB"));
                case "acl.group" -> account.setGroupPerms(with(account.getGroupPerms(), "G_made=SUB"));
                case "acl.deletePerm" -> account.getTopicPerms().removeIf(perm -> perm.startsWith("Orders="));
                case "acl.delete" -> {
                    pages.admin.deletePlainAccessConfig(broker, name);
                    continue;
                }
                case "acl.white", "acl.syncWhite" -> {
                    pages.admin.updateGlobalWhiteAddrConfig(broker, name);
                    continue;
                }
                default -> throw new IllegalArgumentException("no page asks " + request);
            }
            pages.admin.createAndUpdatePlainAccessConfig(broker, account);
        }
    }

    private static List<String> with(List<String> perms, String perm) {
        List<String> all = perms == null ? new ArrayList<>() : new ArrayList<>(perms);
        all.removeIf(it -> it.split("=")[0].equals(perm.split("=")[0]));
        all.add(perm);
        return all;
    }
}
