import java.beans.Introspector;
import java.beans.PropertyDescriptor;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.acl.common.AclClientRPCHook;
import org.apache.rocketmq.acl.common.SessionCredentials;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.trace.TraceBean;
import org.apache.rocketmq.client.trace.TraceContext;
import org.apache.rocketmq.client.trace.TraceDataEncoder;
import org.apache.rocketmq.common.MQVersion;
import org.apache.rocketmq.common.MixAll;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageClientIDSetter;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.topic.TopicValidator;
import org.apache.rocketmq.remoting.RPCHook;
import org.apache.rocketmq.remoting.RemotingClient;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.ResponseCode;
import org.apache.rocketmq.remoting.protocol.admin.ConsumeStats;
import org.apache.rocketmq.remoting.protocol.body.BrokerStatsData;
import org.apache.rocketmq.remoting.protocol.body.ClusterInfo;
import org.apache.rocketmq.remoting.protocol.body.Connection;
import org.apache.rocketmq.remoting.protocol.body.ConsumerConnection;
import org.apache.rocketmq.remoting.protocol.body.ConsumerRunningInfo;
import org.apache.rocketmq.remoting.protocol.body.KVTable;
import org.apache.rocketmq.remoting.protocol.body.SubscriptionGroupWrapper;
import org.apache.rocketmq.remoting.protocol.body.TopicList;
import org.apache.rocketmq.remoting.protocol.header.GetConsumerConnectionListRequestHeader;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;
import org.apache.rocketmq.remoting.protocol.route.BrokerData;
import org.apache.rocketmq.remoting.protocol.route.TopicRouteData;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.apache.rocketmq.tools.admin.api.MessageTrack;
import org.apache.rocketmq.tools.command.CommandUtil;
import org.apache.rocketmq.tools.command.stats.StatsAllSubCommand;

/**
 * What the pages of Apache's dashboard ask of a cluster: a command is a page's request, {@code page.request word …}. It makes the calls
 * that the dashboard makes for it, in the same order with the same arguments, and prints what the page is given.
 */
public final class Dashboard implements Admin.Tool {
    private static final long WAIT_MS = 3000;
    private static final int MANY = 64;
    private static final String TRACES = "RMQ_SYS_TRACE_TOPIC";

    /** Of what a broker says of itself, that which is another from minute to minute. */
    private static final Set<String> MEASURED = Set.of("putMessageDistributeTime", "timerReadBehind");

    private final String namesrv;
    /** Of the page of operations; the dashboard begins with it, so the second port is the one that it uses. */
    private boolean vip = true;
    private boolean tls;
    private SessionCredentials account;
    DefaultMQAdminExt admin;
    private int started;
    private boolean empty;
    /** The message that a page has sent last; commands call it {@code last}. */
    private String last;

    private Dashboard(String namesrv) {
        this.namesrv = namesrv;
    }

    /** Name server, broker, and {@code empty} if the pages are to be asked of a broker that has nothing yet. */
    public static void main(String[] args) throws Exception {
        Dashboard pages = new Dashboard(args[0]);
        pages.empty = args.length > 2;
        Admin.serve(args[0], args[1], pages);
    }

    // ------------------------------------------------------------ the living state, beside Admin's

    /**
     * Pages: 26 messages in four queues, consumed in order and traced by G_fifo. Orders: broadcast to G_cast too, and two members of
     * G_paid take those that are paid. Nobody consumes Nobody. Txs takes transactions only.
     */
    @Override
    public void live(Admin state) throws Exception {
        if (empty) {
            return;
        }
        state.live();
        admin();
        for (String[] topic : new String[][] {{"Pages", "4", "FIFO"}, {"Nobody", "2", "NORMAL"}, {"Txs", "1", "TRANSACTION"}}) {
            updateTopic(topic[0], Integer.parseInt(topic[1]), topic[2], "broker-a");
        }
        SubscriptionGroupConfig ordered = new SubscriptionGroupConfig();
        ordered.setGroupName("G_fifo");
        ordered.setConsumeMessageOrderly(true);
        admin.createAndUpdateSubscriptionGroupConfig(state.broker, ordered);
        state.isSeen("G_fifo", "Pages");
        Admin.await("the route of Pages", () -> state.producer.fetchPublishMessageQueues("Pages").size() == 4);
        List<MessageQueue> queues = new ArrayList<>(state.producer.fetchPublishMessageQueues("Pages"));
        Collections.sort(queues);
        Admin.set("pages.start", "" + System.currentTimeMillis());
        for (int i = 0; i < 26; i++) {
            Thread.sleep(3);
            if (i == 13) {
                Admin.set("pages.middle", "" + System.currentTimeMillis());
                Thread.sleep(3);
            }
            Message message = new Message("Pages", "t" + i % 2, "page" + i, ("page " + i).getBytes(StandardCharsets.UTF_8));
            // Queues of different lengths.
            Admin.set("Pages" + i, state.producer.send(message, queues.get(i < 20 ? i % 4 : i % 2)));
        }
        Thread.sleep(3);
        Admin.set("pages.end", "" + System.currentTimeMillis());

        // Pages pull as a group of their own, which a broker sees if one of them takes a second.
        DefaultMQPullConsumer puller = puller();
        pull(puller, queues.get(0), 0, 1);
        Admin.await("the group that pages pull as", () -> admin.fetchAllTopicList().getTopicList().contains("%RETRY%" + puller.getConsumerGroup()));
        puller.shutdown();

        AtomicInteger cast = new AtomicInteger();
        DefaultMQPushConsumer all = state.consumer("G_cast");
        all.setMessageModel(MessageModel.BROADCASTING);
        all.subscribe("Orders", "*");
        all.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            cast.addAndGet(messages.size());
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        all.start();
        DefaultMQPushConsumer paid = paid(state, "G_paid");
        DefaultMQPushConsumer other = paid(state, "G_paid2");
        DefaultMQPushConsumer fifo = new DefaultMQPushConsumer("G_fifo", true, null);
        DefaultMQPushConsumer like = state.consumer("G_fifo");
        fifo.setNamesrvAddr(like.getNamesrvAddr());
        fifo.setClientIP(like.getClientIP());
        fifo.setInstanceName(like.getInstanceName());
        fifo.setConsumeFromWhere(like.getConsumeFromWhere());
        fifo.setPersistConsumerOffsetInterval(like.getPersistConsumerOffsetInterval());
        fifo.setConsumeMessageBatchMaxSize(1);
        fifo.subscribe("Pages", "*");
        fifo.registerMessageListener((MessageListenerOrderly) (messages, context) -> ConsumeOrderlyStatus.SUCCESS);
        fifo.start();

        Admin.await("the broadcast comes", () -> cast.get() == 12);
        Admin.await("pages are consumed", () -> Admin.isDone(fifo, "Pages", 26));
        Admin.await("two share what is paid", () -> orderQueues(paid) == 2 && orderQueues(other) == 2);
        Admin.await("what is paid is consumed", () -> Admin.isDone(paid, "Orders", 12));
        MessageExt first = state.producer.queryMessage("Pages", "page0", 1, 0, Long.MAX_VALUE).getMessageList().get(0);
        Admin.await("traces of pages", () -> traces(TRACES, MessageClientIDSetter.getUniqID(first)).size() == 3);
    }

    private static DefaultMQPushConsumer paid(Admin state, String member) throws Exception {
        DefaultMQPushConsumer paid = state.consumer("G_paid");
        paid.setInstanceName(member);
        paid.subscribe("Orders", "paid");
        paid.registerMessageListener((MessageListenerConcurrently) (messages, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        paid.start();
        return paid;
    }

    /** So many queues of Orders are this member's. */
    private static long orderQueues(DefaultMQPushConsumer member) {
        Set<MessageQueue> queues = member.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet();
        return queues.stream().filter(queue -> queue.getTopic().equals("Orders")).count();
    }

    // ------------------------------------------------------------ requests of pages

    @Override
    public void run(String[] words) throws Exception {
        for (int i = 1; i < words.length; i++) {
            if (words[i].equals("last")) {
                words[i] = last;
            }
        }
        String arg1 = words.length > 1 ? words[1] : "";
        String arg2 = words.length > 2 ? words[2] : "";
        String arg3 = words.length > 3 ? words[3] : "";
        String arg4 = words.length > 4 ? words[4] : "";
        admin();
        switch (words[0]) {
            // operations; a page that changes them has the dashboard forget its admin clients
            case "ops.vip" -> forget(() -> vip = Boolean.parseBoolean(arg1));
            case "ops.tls" -> forget(() -> tls = Boolean.parseBoolean(arg1));
            case "ops.account" -> forget(() -> account = arg1.isEmpty() ? null : new SessionCredentials(arg1, arg2));

            case "cluster.list" -> clusterList();
            case "cluster.config" -> print(admin.getBrokerConfig(arg1));

            case "collect.broker" -> collectBroker();
            case "collect.topic" -> collectTopic(arg1);
            case "collect.topics" -> collectTopics();

            case "topic.list" -> print(topics(Boolean.parseBoolean(arg1), Boolean.parseBoolean(arg2)));
            case "topic.types" -> print(Release.topicTypes(this));
            case "topic.stats" -> print(admin.examineTopicStats(arg1).getOffsetTable());
            case "topic.route" -> print(admin.examineTopicRouteInfo(arg1));
            case "topic.groups" -> print(admin.queryTopicConsumeByWho(arg1).getGroupList());
            case "topic.consumers" -> topicConsumers(arg1);
            case "topic.config" -> print(topicConfigs(arg1));
            case "topic.update" -> {
                updateTopic(arg1, Integer.parseInt(arg2), arg3, arg4);
                print(true);
            }
            case "topic.send" -> send(arg1, arg2, arg3, arg4, words.length > 5);
            case "topic.delete" -> deleteTopic(arg1, arg2);
            case "topic.deleteByBroker" -> {
                ClusterInfo cluster = admin.examineBrokerClusterInfo();
                admin.deleteTopicInBroker(set(cluster.getBrokerAddrTable().get(arg1).selectBrokerAddr()), arg2);
                print(true);
            }

            case "consumer.list" -> groupList(Boolean.parseBoolean(arg1), arg2);
            case "consumer.group" -> print(group(arg1, arg2));
            case "consumer.topics" -> {
                ConsumeStats stats = admin.examineConsumeStats(arg2.split(",")[0], arg1, null, WAIT_MS);
                print(progress(null, stats, arg1));
            }
            case "consumer.connection" -> {
                ConsumerConnection connection = admin.examineConsumerConnectionInfo(arg1, arg2.split(",")[0]);
                print(connection);
                connection.getConnectionSet().forEach(one -> System.out.println(MQVersion.getVersionDesc(one.getVersion())));
            }
            case "consumer.running" -> running(admin.getConsumerRunningInfo(arg1, arg2, Boolean.parseBoolean(arg3)));
            case "consumer.config" -> print(groupConfigs(arg1));
            case "consumer.brokers" -> print(groupConfigs(arg1).keySet());
            case "consumer.update" -> updateGroup(arg1, Integer.parseInt(arg2), Boolean.parseBoolean(arg3), arg4);
            case "consumer.reset" -> reset(arg1, Long.parseLong(arg2), words);
            case "consumer.delete" -> deleteGroup(arg1, arg2);
            case "monitor.scan" -> print(group(arg1, null));

            case "producer.connection" -> print(admin.examineProducerConnectionInfo(arg1, arg2));

            case "message.view" -> {
                MessageExt message = view(arg1, arg2);
                List<MessageTrack> tracks = tracks(message);
                print(message);
                print(tracks);
            }
            case "message.key" -> print(admin.queryMessage(arg1, arg2, MANY, 0, System.currentTimeMillis()).getMessageList());
            case "message.time" -> messagesByTime(arg1, Long.parseLong(arg2), Long.parseLong(arg3));
            case "message.page" -> messagesByPage(words);
            case "message.consume" -> print(consume(arg1, arg2, arg3, arg4));

            case "trace.message" -> print(view(arg1.isEmpty() ? null : arg1, arg2));
            case "trace.detail" -> print(traces(TRACES, arg1));
            case "trace.graph" -> print(traces(arg2.isEmpty() ? TRACES : arg2, arg1));

            case "dlq.page" -> deadLetters(words);
            case "dlq.view" -> print(view(MixAll.DLQ_GROUP_TOPIC_PREFIX + arg1, arg2));
            case "dlq.resend" -> resend(words);
            case "dlq.export" -> export(words);

            default -> {
                if (words[0].startsWith("admin.")) {
                    print(call(words));
                } else {
                    Release.accounts(this, words[0], arg1);
                    print(true);
                }
            }
        }
    }

    // ------------------------------------------------------------ clients, as the dashboard sets them up

    private RPCHook hook() {
        return account == null ? null : new AclClientRPCHook(account);
    }

    private void admin() throws MQClientException {
        if (admin == null) {
            admin = new DefaultMQAdminExt(hook());
            admin.setAdminExtGroup(admin.getAdminExtGroup() + "_" + started);
            admin.setVipChannelEnabled(vip);
            admin.setUseTLS(tls);
            admin.setInstanceName(instance());
            admin.start();
        }
    }

    private String instance() {
        return System.currentTimeMillis() + "" + started++;
    }

    private void forget(Runnable change) throws Exception {
        admin.shutdown();
        admin = null;
        change.run();
        admin();
    }

    private DefaultMQPullConsumer puller() throws MQClientException {
        DefaultMQPullConsumer puller = new DefaultMQPullConsumer(MixAll.TOOLS_CONSUMER_GROUP, hook());
        puller.setUseTLS(tls);
        puller.start();
        return puller;
    }

    /** The admin client has no request for it; the dashboard asks by the connection that the client has. */
    RemotingCommand ask(String addr, RemotingCommand request) throws Exception {
        Object remoting = field(field(client(), "mQClientAPIImpl"), "remotingClient");
        RemotingCommand response = ((RemotingClient) remoting).invokeSync(addr, request, WAIT_MS);
        if (response.getCode() != ResponseCode.SUCCESS) {
            throw new MQBrokerException(response.getCode(), response.getRemark(), addr);
        }
        return response;
    }

    /** {@code admin.method arg …}: what the admin client has besides, which other consoles call. */
    private Object call(String[] words) throws Exception {
        for (Method method : DefaultMQAdminExt.class.getMethods()) {
            if (method.getName().equals(words[0].substring("admin.".length())) && method.getParameterCount() == words.length - 1) {
                Object[] args = new Object[words.length - 1];
                boolean fits = true;
                for (int i = 0; i < args.length; i++) {
                    args[i] = argument(method.getParameterTypes()[i], words[i + 1]);
                    fits &= args[i] != null;
                }
                try {
                    if (fits) {
                        return method.invoke(admin, args);
                    }
                } catch (InvocationTargetException error) {
                    throw (Exception) error.getCause();
                }
            }
        }
        throw new NoSuchMethodException(words[0]);
    }

    /** Of a word; null: of another type. */
    private static Object argument(Class<?> type, String word) {
        boolean number = word.matches("-?\\d+");
        return type == String.class ? word
            : type == long.class && number ? Long.valueOf(word)
            : type == int.class && number ? Integer.valueOf(word)
            : type == boolean.class || type == Boolean.class ? Boolean.valueOf(word)
            : null;
    }

    Object client() throws ReflectiveOperationException {
        return field(field(admin, "defaultMQAdminExtImpl"), "mqClientInstance");
    }

    private static Object field(Object of, String name) throws ReflectiveOperationException {
        Field field = of.getClass().getDeclaredField(name);
        field.setAccessible(true);
        return field.get(of);
    }

    // ------------------------------------------------------------ cluster, and what is collected for the first page

    private void clusterList() throws Exception {
        ClusterInfo cluster = admin.examineBrokerClusterInfo();
        print(cluster);
        for (BrokerData broker : cluster.getBrokerAddrTable().values()) {
            for (String addr : broker.getBrokerAddrs().values()) {
                new TreeMap<>(admin.fetchBrokerRuntimeStats(addr).getTable()).forEach((key, value) ->
                    System.out.println(key + " : " + (MEASURED.contains(key) ? "measured" : value)));
            }
        }
    }

    private void collectBroker() throws Exception {
        for (BrokerData broker : admin.examineBrokerClusterInfo().getBrokerAddrTable().values()) {
            for (Map.Entry<Long, String> addr : broker.getBrokerAddrs().entrySet()) {
                KVTable table = admin.fetchBrokerRuntimeStats(addr.getValue());
                String[] all = table.getTable().get("getTotalTps").split(" ");
                BigDecimal sum = BigDecimal.ZERO;
                for (String one : all) {
                    sum = sum.add(new BigDecimal(one));
                }
                BigDecimal average = sum.divide(new BigDecimal(all.length), 5, RoundingMode.HALF_UP);
                System.out.println(broker.getBrokerName() + ":" + addr.getKey() + " " + all.length + " rates, " + (average.signum() >= 0 ? "an average" : average));
            }
        }
    }

    private void collectTopics() throws Exception {
        Set<String> topics = new TreeSet<>(admin.fetchAllTopicList().getTopicList());
        ClusterInfo cluster = admin.examineBrokerClusterInfo();
        for (String topic : topics) {
            boolean retryOrDead = topic.startsWith(MixAll.RETRY_GROUP_TOPIC_PREFIX) || topic.startsWith(MixAll.DLQ_GROUP_TOPIC_PREFIX);
            boolean ofCluster = cluster.getClusterAddrTable().entrySet().stream().anyMatch(it ->
                topic.equals(it.getKey()) || topic.equals(MixAll.getReplyTopic(it.getKey())) || it.getValue().contains(topic));
            if (!retryOrDead && !ofCluster && !TopicValidator.isSystemTopic(topic)) {
                long[] counts = counts(topic);
                System.out.println(topic + " " + (counts[0] < 0 ? "no numbers in" : "numbers in"));
            }
        }
    }

    /** Statistics come with the broker's next look at its counters, and what came more than a minute ago counts ten minutes later again. */
    private void collectTopic(String topic) throws Exception {
        long[][] now = new long[1][];
        await(() -> {
            now[0] = counts(topic);
            return now[0][0] > 0 && now[0][1] > 0;
        });
        System.out.println("messages in " + (now[0][0] > 0) + ", out " + (now[0][1] > 0));
    }

    /** Messages of today in and out; in −1: no numbers. */
    private long[] counts(String topic) throws Exception {
        TopicRouteData route = admin.examineTopicRouteInfo(topic);
        Set<String> groups = admin.queryTopicConsumeByWho(topic).getGroupList();
        long in = -1;
        long out = 0;
        for (BrokerData broker : route.getBrokerDatas()) {
            String master = broker.getBrokerAddrs().get(MixAll.MASTER_ID);
            in = Math.max(in, today(master, "TOPIC_PUT_NUMS", topic));
            for (String group : groups) {
                out += Math.max(0, today(master, "GROUP_GET_NUMS", topic + "@" + group));
            }
        }
        return new long[] {in, out};
    }

    private long today(String broker, String name, String key) throws Exception {
        try {
            BrokerStatsData data = admin.viewBrokerStatsData(broker, name, key);
            data.getStatsMinute().getTps();
            return StatsAllSubCommand.compute24HourSum(data);
        } catch (MQClientException nothing) {
            return -1;
        }
    }

    // ------------------------------------------------------------ topics

    Set<String> topics(boolean sysAsTheyAre, boolean skipRetryAndDead) throws Exception {
        TopicList all = admin.fetchAllTopicList();
        Set<String> system = systemTopics();
        Set<String> topics = new TreeSet<>();
        for (String topic : all.getTopicList()) {
            String shown = !sysAsTheyAre && system.contains(topic) ? "%SYS%" + topic : topic;
            if (!skipRetryAndDead || !shown.startsWith(MixAll.RETRY_GROUP_TOPIC_PREFIX) && !shown.startsWith(MixAll.DLQ_GROUP_TOPIC_PREFIX)) {
                topics.add(shown);
            }
        }
        return topics;
    }

    Set<String> systemTopics() throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(MixAll.SELF_TEST_PRODUCER_GROUP, hook());
        producer.setUseTLS(tls);
        producer.setInstanceName(instance());
        producer.setNamesrvAddr(namesrv);
        try {
            producer.start();
            return producer.getDefaultMQProducerImpl().getmQClientFactory().getMQClientAPIImpl().getSystemTopicList(20_000).getTopicList();
        } finally {
            producer.shutdown();
        }
    }

    String messageType(String topic) throws Exception {
        Map<String, TopicConfig> configs = topicConfigs(topic);
        return configs.isEmpty() ? null : typeOf(configs.values().iterator().next());
    }

    static String typeOf(TopicConfig config) {
        return config.getAttributes().getOrDefault("message.type", "UNSPECIFIED");
    }

    private Map<String, TopicConfig> topicConfigs(String topic) throws Exception {
        Map<String, TopicConfig> configs = new TreeMap<>();
        for (BrokerData broker : admin.examineTopicRouteInfo(topic).getBrokerDatas()) {
            String addr = admin.examineBrokerClusterInfo().getBrokerAddrTable().get(broker.getBrokerName()).selectBrokerAddr();
            TopicConfig config = Release.topicConfig(this, addr, topic);
            // The page copies what the configuration says, and cannot without one.
            typeOf(config);
            configs.put(broker.getBrokerName(), config);
        }
        return configs;
    }

    private void updateTopic(String topic, int queues, String type, String broker) throws Exception {
        TopicConfig config = new TopicConfig();
        config.setTopicName(topic);
        config.setReadQueueNums(queues);
        config.setWriteQueueNums(queues);
        config.setPerm(6);
        config.setAttributes(new HashMap<>(Map.of("+message.type", type)));
        ClusterInfo cluster = admin.examineBrokerClusterInfo();
        admin.createAndUpdateTopicConfig(cluster.getBrokerAddrTable().get(broker).selectBrokerAddr(), config);
    }

    private void topicConsumers(String topic) throws Exception {
        for (String group : new TreeSet<>(admin.queryTopicConsumeByWho(topic).getGroupList())) {
            System.out.println(group + ":");
            try {
                print(progress(topic, admin.examineConsumeStats(group, topic), group));
            } catch (MQClientException | MQBrokerException nothing) {
                // The page shows a group without queues.
                System.out.println("nothing, of " + nothing.getClass().getSimpleName());
            }
        }
    }

    private void send(String topic, String tag, String key, String body, boolean traced) throws Exception {
        boolean transaction = "TRANSACTION".equals(messageType(topic));
        DefaultMQProducer producer = transaction
            ? new TransactionMQProducer(null, MixAll.SELF_TEST_PRODUCER_GROUP, hook(), traced, TRACES)
            : new DefaultMQProducer(MixAll.SELF_TEST_PRODUCER_GROUP, hook(), traced, TRACES);
        producer.setUseTLS(tls);
        producer.setInstanceName(instance());
        producer.setNamesrvAddr(namesrv);
        if (transaction) {
            ((TransactionMQProducer) producer).setTransactionListener(new TransactionListener() {
                @Override
                public LocalTransactionState executeLocalTransaction(Message message, Object arg) {
                    return LocalTransactionState.COMMIT_MESSAGE;
                }

                @Override
                public LocalTransactionState checkLocalTransaction(MessageExt message) {
                    return LocalTransactionState.COMMIT_MESSAGE;
                }
            });
        }
        try {
            producer.start();
            Message message = new Message(topic, tag, key, body.getBytes(StandardCharsets.UTF_8));
            SendResult sent = transaction ? producer.sendMessageInTransaction(message, null) : producer.send(message);
            last = sent.getMsgId();
            System.out.println(sent.getSendStatus() + " " + sent.getMessageQueue() + " " + sent.getRegionId() + " " + sent.isTraceOn());
            // What comes behind looks at it: committed, indexed, traced.
            await(() -> !admin.queryMessage(topic, key, 1, 0, Long.MAX_VALUE).getMessageList().isEmpty());
            await(() -> !traced || traces(TRACES, last).size() == (transaction ? 2 : 1));
        } finally {
            producer.shutdown();
        }
    }

    private void deleteTopic(String topic, String cluster) throws Exception {
        Collection<String> clusters = cluster.isEmpty() ? admin.examineBrokerClusterInfo().getClusterAddrTable().keySet() : set(cluster);
        for (String one : clusters) {
            admin.deleteTopicInBroker(CommandUtil.fetchMasterAddrByClusterName(admin, one), topic);
            admin.deleteTopicInNameServer(set(namesrv), topic);
        }
        print(true);
    }

    // ------------------------------------------------------------ groups

    private static final Set<String> SYSTEM_GROUPS = new HashSet<>(Arrays.asList(
        "TOOLS_CONSUMER", "FILTERSRV_CONSUMER", "SELF_TEST_C_GROUP", "CID_ONS-HTTP-PROXY", "CID_ONSAPI_PULL", "CID_ONSAPI_PERMISSION",
        "CID_ONSAPI_OWNER", "CID_RMQ_SYS_TRANS"));

    private void groupList(boolean sysAsTheyAre, String proxy) throws Exception {
        Map<String, List<String>> found = new TreeMap<>();
        for (BrokerData broker : admin.examineBrokerClusterInfo().getBrokerAddrTable().values()) {
            SubscriptionGroupWrapper groups = admin.getAllSubscriptionGroup(broker.selectBrokerAddr(), WAIT_MS);
            for (String group : groups.getSubscriptionGroupTable().keySet()) {
                found.computeIfAbsent(group, it -> new ArrayList<>()).add(broker.selectBrokerAddr());
            }
        }
        for (Map.Entry<String, List<String>> one : found.entrySet()) {
            Map<String, Object> group = group(one.getKey(), proxy);
            if (!sysAsTheyAre && SYSTEM_GROUPS.contains(one.getKey())) {
                group.put("group", "%SYS%" + one.getKey());
            }
            System.out.println(group.values() + " " + one.getValue());
        }
    }

    /** What a page does not get, it leaves empty. */
    private Map<String, Object> group(String group, String proxy) throws Exception {
        Map<String, Object> shown = new LinkedHashMap<>();
        shown.put("group", group);
        try {
            ConsumeStats stats = admin.examineConsumeStats(group);
            shown.put("diffTotal", stats.computeTotalDiff());
        } catch (MQClientException | MQBrokerException none) {
            shown.put("diffTotal", none.getClass().getSimpleName() + " " + code(none));
        }
        boolean fifo = groupConfigs(group).values().stream().allMatch(SubscriptionGroupConfig::isConsumeMessageOrderly);
        shown.put("type", SYSTEM_GROUPS.contains(group) ? "SYSTEM" : fifo ? "FIFO" : "NORMAL");
        try {
            ConsumerConnection connection = proxy == null || proxy.isEmpty() ? admin.examineConsumerConnectionInfo(group) : connectionOf(proxy, group);
            shown.put("count", connection.getConnectionSet().size());
            shown.put("messageModel", connection.getMessageModel());
            shown.put("consumeType", connection.getConsumeType());
            shown.put("version", MQVersion.getVersionDesc(connection.computeMinVersion()));
        } catch (MQClientException | MQBrokerException none) {
            shown.put("count", none.getClass().getSimpleName() + " " + code(none));
        }
        return shown;
    }

    private static int code(Exception error) {
        return error instanceof MQBrokerException broker ? broker.getResponseCode() : ((MQClientException) error).getResponseCode();
    }

    /** The page of proxies has the dashboard ask the address it is given, whoever is there. */
    private ConsumerConnection connectionOf(String addr, String group) throws Exception {
        GetConsumerConnectionListRequestHeader header = new GetConsumerConnectionListRequestHeader();
        header.setConsumerGroup(group);
        RemotingCommand request = RemotingCommand.createRequestCommand(RequestCode.GET_CONSUMER_CONNECTION_LIST, header);
        return ConsumerConnection.decode(ask(addr, request).getBody(), ConsumerConnection.class);
    }

    private Map<String, SubscriptionGroupConfig> groupConfigs(String group) throws Exception {
        Map<String, SubscriptionGroupConfig> configs = new TreeMap<>();
        ClusterInfo cluster = admin.examineBrokerClusterInfo();
        for (String broker : cluster.getBrokerAddrTable().keySet()) {
            String addr = cluster.getBrokerAddrTable().get(broker).selectBrokerAddr();
            byte[] body = ask(addr, RemotingCommand.createRequestCommand(RequestCode.GET_ALL_SUBSCRIPTIONGROUP_CONFIG, null)).getBody();
            SubscriptionGroupConfig config = RemotingSerializable.decode(body, SubscriptionGroupWrapper.class).getSubscriptionGroupTable().get(group);
            if (config != null) {
                configs.put(broker, config);
            }
        }
        return configs;
    }

    private List<String> progress(String topic, ConsumeStats stats, String group) {
        List<MessageQueue> queues = new ArrayList<>(stats.getOffsetTable().keySet());
        queues.removeIf(queue -> topic != null && !queue.getTopic().equals(topic));
        Collections.sort(queues);
        Map<MessageQueue, String> clients = clients(group);
        List<String> shown = new ArrayList<>();
        for (MessageQueue queue : queues) {
            var at = stats.getOffsetTable().get(queue);
            shown.add(queue.getTopic() + " " + queue.getBrokerName() + " " + queue.getQueueId() + " of " + at.getBrokerOffset()
                + " at " + at.getConsumerOffset() + " time " + at.getLastTimestamp() + " client " + clients.get(queue));
        }
        return shown;
    }

    /** Who has which queue; nobody where the group is not there. */
    private Map<MessageQueue, String> clients(String group) {
        Map<MessageQueue, String> clients = new HashMap<>();
        try {
            for (Connection connection : admin.examineConsumerConnectionInfo(group).getConnectionSet()) {
                ConsumerRunningInfo info = admin.getConsumerRunningInfo(group, connection.getClientId(), false);
                info.getMqTable().keySet().forEach(queue -> clients.put(queue, connection.getClientId()));
            }
        } catch (Exception none) {
            System.out.println("no clients: " + none.getClass().getSimpleName());
        }
        return clients;
    }

    private void running(ConsumerRunningInfo info) throws Exception {
        System.out.println("properties " + new TreeSet<>(info.getProperties().keySet()));
        print(info.getSubscriptionSet());
        info.getMqTable().forEach((queue, state) -> System.out.println(queue + " at " + state.getCommitOffset()));
        System.out.println("status of " + new TreeSet<>(info.getStatusTable().keySet()));
        System.out.println("stacks " + (info.getJstack() == null ? "none" : info.getJstack().contains("TID:")));
    }

    private void updateGroup(String group, int retries, boolean orderly, String broker) throws Exception {
        SubscriptionGroupConfig config = new SubscriptionGroupConfig();
        config.setGroupName(group);
        config.setRetryMaxTimes(retries);
        config.setConsumeMessageOrderly(orderly);
        ClusterInfo cluster = admin.examineBrokerClusterInfo();
        admin.createAndUpdateSubscriptionGroupConfig(cluster.getBrokerAddrTable().get(broker).selectBrokerAddr(), config);
        print(true);
    }

    /** A group that is not there is answered by code 206; then the dashboard resets the offsets itself. */
    private void reset(String topic, long time, String[] words) throws Exception {
        for (String group : Arrays.copyOfRange(words, 3, words.length)) {
            try {
                Map<String, Long> moved = new TreeMap<>();
                admin.resetOffsetByTimestamp(topic, group, time, true).forEach((queue, offset) -> moved.put(queue.toString(), offset));
                System.out.println(group + " " + moved);
            } catch (MQClientException error) {
                System.out.println(group + " " + error.getResponseCode());
                if (error.getResponseCode() == ResponseCode.CONSUMER_NOT_ONLINE) {
                    print(admin.resetOffsetByTimestampOld(group, topic, time, true));
                }
            }
        }
    }

    private void deleteGroup(String group, String brokers) throws Exception {
        List<String> chosen = Arrays.asList(brokers.split(","));
        boolean everywhere = chosen.containsAll(groupConfigs(group).keySet());
        ClusterInfo cluster = admin.examineBrokerClusterInfo();
        for (String broker : chosen) {
            String addr = cluster.getBrokerAddrTable().get(broker).selectBrokerAddr();
            admin.deleteSubscriptionGroup(addr, group, true);
            for (String prefix : new String[] {MixAll.RETRY_GROUP_TOPIC_PREFIX, MixAll.DLQ_GROUP_TOPIC_PREFIX}) {
                admin.deleteTopicInBroker(set(addr), prefix + group);
                if (everywhere) {
                    admin.deleteTopicInNameServer(set(namesrv), prefix + group);
                }
            }
        }
        print(true);
    }

    // ------------------------------------------------------------ messages

    private MessageExt view(String topic, String id) throws Exception {
        MessageClientIDSetter.getNearlyTimeFromID(id);
        return Release.view(this, topic, id);
    }

    private List<MessageTrack> tracks(MessageExt message) {
        try {
            List<MessageTrack> tracks = admin.messageTrackDetail(message);
            tracks.sort((one, other) -> one.getConsumerGroup().compareTo(other.getConsumerGroup()));
            return tracks;
        } catch (Exception none) {
            System.out.println("no tracks: " + none.getClass().getSimpleName());
            return List.of();
        }
    }

    private Object consume(String topic, String id, String group, String client) throws Exception {
        if (!client.isEmpty()) {
            return admin.consumeMessageDirectly(group, client, topic, id);
        }
        for (Connection connection : admin.examineConsumerConnectionInfo(group).getConnectionSet()) {
            return admin.consumeMessageDirectly(group, connection.getClientId(), topic, id);
        }
        throw new IllegalStateException("NO CONSUMER");
    }

    private static List<MessageQueue> queues(DefaultMQPullConsumer puller, String topic) throws Exception {
        List<MessageQueue> queues = new ArrayList<>(puller.fetchSubscribeMessageQueues(topic));
        Collections.sort(queues);
        return queues;
    }

    private static PullResult pull(DefaultMQPullConsumer puller, MessageQueue queue, long offset, int most) throws Exception {
        PullResult pulled = puller.pull(queue, "*", offset, most);
        int found = pulled.getMsgFoundList() == null ? 0 : pulled.getMsgFoundList().size();
        System.out.println("queue " + queue.getQueueId() + " from " + offset + ": " + pulled.getPullStatus() + " " + found
            + " next " + pulled.getNextBeginOffset() + " of " + pulled.getMinOffset() + "-" + pulled.getMaxOffset());
        return pulled;
    }

    private void messagesByTime(String topic, long begin, long end) throws Exception {
        DefaultMQPullConsumer puller = puller();
        List<String> found = new ArrayList<>();
        try {
            for (MessageQueue queue : queues(puller, topic)) {
                long offset = puller.searchOffset(queue, begin);
                long to = puller.searchOffset(queue, end);
                System.out.println("queue " + queue.getQueueId() + " " + offset + "-" + to);
                while (offset <= to) {
                    PullResult pulled = pull(puller, queue, offset, 32);
                    if (pulled.getPullStatus() != PullStatus.FOUND) {
                        break;
                    }
                    offset = pulled.getNextBeginOffset();
                    for (MessageExt message : pulled.getMsgFoundList()) {
                        if (message.getStoreTimestamp() >= begin && message.getStoreTimestamp() <= end) {
                            found.add(new String(message.getBody(), StandardCharsets.UTF_8));
                        }
                    }
                }
            }
        } finally {
            puller.shutdown();
        }
        print(found);
    }

    /** Of a queue, what lies in the time asked for. */
    private static final class Part {
        final MessageQueue queue;
        long start;
        long end;

        Part(MessageQueue queue) {
            this.queue = queue;
        }
    }

    /** {@code message.page topic begin end pages size}: the first pages, one after the other. */
    private void messagesByPage(String[] words) throws Exception {
        long begin = Long.parseLong(words[2]);
        long end = Long.parseLong(words[3]);
        int size = Integer.parseInt(words[5]);
        List<Part> parts = new ArrayList<>();
        DefaultMQPullConsumer puller = puller();
        try {
            for (MessageQueue queue : queues(puller, words[1])) {
                Part part = new Part(queue);
                part.start = puller.searchOffset(queue, begin);
                part.end = puller.searchOffset(queue, end) + Release.BEHIND_END;
                System.out.println("queue " + queue.getQueueId() + " " + part.start + "-" + part.end);
                parts.add(part);
            }
            for (Part part : parts) {
                narrowBegin(puller, part, begin);
            }
            for (Part part : parts) {
                narrowEnd(puller, part, end);
            }
            long total = parts.stream().mapToLong(part -> part.end - part.start).sum();
            System.out.println(total + " messages");
            page(puller, parts, 0, size);
        } finally {
            puller.shutdown();
        }
        for (int number = 1; number < Integer.parseInt(words[4]); number++) {
            puller = puller();
            try {
                page(puller, parts, number, size);
            } finally {
                puller.shutdown();
            }
        }
    }

    private static void narrowBegin(DefaultMQPullConsumer puller, Part part, long begin) throws Exception {
        PullResult pulled = pull(puller, part.queue, part.start, 32);
        if (pulled.getPullStatus() != PullStatus.FOUND) {
            part.end = part.start;
        }
        while (pulled.getPullStatus() == PullStatus.FOUND) {
            for (MessageExt message : pulled.getMsgFoundList()) {
                if (message.getStoreTimestamp() >= begin) {
                    return;
                }
                part.start++;
            }
            pulled = pull(puller, part.queue, part.start, 32);
        }
    }

    private static void narrowEnd(DefaultMQPullConsumer puller, Part part, long end) throws Exception {
        while (part.start < part.end) {
            long from = Math.max(part.start, part.end - 32);
            PullResult pulled = pull(puller, part.queue, from, (int) (part.end - from));
            if (pulled.getPullStatus() != PullStatus.FOUND) {
                return;
            }
            List<MessageExt> found = pulled.getMsgFoundList();
            // The page counts the offset behind the last message, where there is none, as one.
            part.end = from + found.size();
            for (int i = found.size() - 1; i >= 0; i--) {
                if (found.get(i).getStoreTimestamp() <= end) {
                    return;
                }
                part.end--;
            }
        }
    }

    /** Pages take from the queues in turn. */
    private static void page(DefaultMQPullConsumer puller, List<Part> parts, int number, int size) throws Exception {
        Map<Part, List<Long>> wanted = new LinkedHashMap<>();
        int at = 0;
        long longest = parts.stream().mapToLong(part -> part.end - part.start).max().orElse(0);
        for (long step = 0; step < longest; step++) {
            for (Part part : parts) {
                if (part.start + step < part.end) {
                    if (at >= number * size && at < (number + 1) * size) {
                        wanted.computeIfAbsent(part, it -> new ArrayList<>()).add(part.start + step);
                    }
                    at++;
                }
            }
        }
        List<String> shown = new ArrayList<>();
        for (Map.Entry<Part, List<Long>> one : wanted.entrySet()) {
            PullResult pulled = pull(puller, one.getKey().queue, one.getValue().get(0), 32);
            for (int i = 0; i < one.getValue().size() && pulled.getPullStatus() == PullStatus.FOUND; i++) {
                shown.add(new String(pulled.getMsgFoundList().get(i).getBody(), StandardCharsets.UTF_8));
            }
        }
        Collections.sort(shown);
        System.out.println("page " + number + ": " + shown);
    }

    // ------------------------------------------------------------ traces

    private List<String> traces(String topic, String id) throws Exception {
        List<String> shown = new ArrayList<>();
        for (MessageExt message : admin.queryMessage(topic, id, MANY, 0, System.currentTimeMillis()).getMessageList()) {
            for (TraceContext context : TraceDataEncoder.decoderFromTraceDataString(new String(message.getBody(), StandardCharsets.UTF_8))) {
                TraceBean bean = context.getTraceBeans().get(0);
                if (bean.getMsgId().equals(id)) {
                    shown.add(context.getTraceType() + " " + context.getGroupName() + " " + bean.getTopic() + " " + bean.getMsgId() + " keys " + bean.getKeys()
                        + " tags " + bean.getTags() + " stored by " + bean.getStoreHost() + " from " + message.getBornHostString() + " region " + context.getRegionId()
                        + " success " + context.isSuccess() + " type " + bean.getMsgType() + " retries " + bean.getRetryTimes()
                        + " code " + context.getContextCode() + " transaction " + bean.getTransactionState());
                }
            }
        }
        Collections.sort(shown);
        return shown;
    }

    // ------------------------------------------------------------ dead letters

    /** The group has no dead letters if its topic is not there, which the name server says with code 17. */
    private void deadLetters(String[] words) throws Exception {
        words[1] = MixAll.DLQ_GROUP_TOPIC_PREFIX + words[1];
        try {
            admin.examineTopicRouteInfo(words[1]);
        } catch (MQClientException error) {
            if (error.getResponseCode() == ResponseCode.TOPIC_NOT_EXIST) {
                System.out.println("no messages");
                return;
            }
            throw error;
        }
        messagesByPage(words);
    }

    /** {@code dlq.resend group id …}: each to a consumer of the group that is there, by what the letter says of where it comes from. */
    private void resend(String[] words) throws Exception {
        for (String id : Arrays.copyOfRange(words, 2, words.length)) {
            MessageExt letter = view(MixAll.DLQ_GROUP_TOPIC_PREFIX + words[1], id);
            print(consume(letter.getProperty("RETRY_TOPIC"), letter.getProperty("ORIGIN_MESSAGE_ID"), words[1], ""));
        }
    }

    private void export(String[] words) throws Exception {
        for (String id : Arrays.copyOfRange(words, 2, words.length)) {
            try {
                MessageExt letter = view(MixAll.DLQ_GROUP_TOPIC_PREFIX + words[1], id);
                System.out.println(letter.getTopic() + " " + letter.getMsgId() + " " + letter.getBornHostString() + " " + letter.getReconsumeTimes() + " "
                    + new TreeMap<>(letter.getProperties()) + " " + new String(letter.getBody(), StandardCharsets.UTF_8) + " " + letter.getBodyCRC());
            } catch (MQClientException error) {
                // A row that says what is wrong.
                System.out.println(id + " code " + error.getResponseCode());
            }
        }
    }

    Set<String> brokers() throws Exception {
        Set<String> brokers = new TreeSet<>();
        admin.examineBrokerClusterInfo().getBrokerAddrTable().values().forEach(broker -> brokers.addAll(broker.getBrokerAddrs().values()));
        return brokers;
    }

    // ------------------------------------------------------------ printing

    private static Set<String> set(String one) {
        return new HashSet<>(Set.of(one));
    }

    private static void await(Callable<Boolean> fact) throws Exception {
        long deadline = System.nanoTime() + 22_000_000_000L;
        while (System.nanoTime() < deadline) {
            try {
                if (fact.call()) {
                    return;
                }
            } catch (MQClientException notYet) {
                // Nothing found, which the client says so.
            }
            Thread.sleep(100);
        }
    }

    static void print(Object value) throws Exception {
        System.out.println(text(value));
    }

    /** What a page would get: all that its getters say, in an order that does not change. */
    private static String text(Object value) throws Exception {
        if (value == null || value instanceof String || value instanceof Number || value instanceof Boolean || value instanceof Enum) {
            return String.valueOf(value);
        }
        if (value instanceof MessageExt message) {
            return text(message);
        }
        if (value instanceof MessageQueue) {
            return value.toString();
        }
        if (value instanceof Connection client) {
            return client.getClientId() + " at " + client.getClientAddr() + " " + client.getLanguage() + " " + client.getVersion();
        }
        if (value instanceof Map<?, ?> map) {
            Map<String, String> shown = new TreeMap<>();
            for (Map.Entry<?, ?> entry : map.entrySet()) {
                shown.put(text(entry.getKey()), text(entry.getValue()));
            }
            StringBuilder lines = new StringBuilder();
            shown.forEach((key, one) -> lines.append(one.contains("\n") ? key + ":\n" + indented(one) : key + " = " + one).append('\n'));
            return lines.toString().stripTrailing();
        }
        if (value instanceof Collection<?> all) {
            List<String> shown = new ArrayList<>();
            for (Object one : all) {
                shown.add(text(one));
            }
            if (!(value instanceof List)) {
                Collections.sort(shown);
            }
            return shown.isEmpty() ? "none" : String.join("\n", shown);
        }
        Map<String, Object> properties = new TreeMap<>();
        for (PropertyDescriptor property : Introspector.getBeanInfo(value.getClass(), Object.class).getPropertyDescriptors()) {
            if (property.getReadMethod() != null && property.getReadMethod().getParameterCount() == 0) {
                properties.put(property.getName(), property.getReadMethod().invoke(value));
            }
        }
        return text(properties);
    }

    private static String text(MessageExt message) {
        return message.getTopic() + " queue " + message.getQueueId() + " offset " + message.getQueueOffset() + " id " + message.getMsgId()
            + " size " + message.getStoreSize() + " flags " + message.getFlag() + " " + message.getSysFlag() + " crc " + message.getBodyCRC()
            + " retries " + message.getReconsumeTimes() + " prepared at " + message.getPreparedTransactionOffset() + " stored by " + message.getStoreHost()
            + " from " + message.getBornHostString() + " " + new TreeMap<>(message.getProperties()) + " "
            + (message.getBody() == null ? null : new String(message.getBody(), StandardCharsets.UTF_8));
    }

    private static String indented(String lines) {
        return "  " + lines.replace("\n", "\n  ");
    }
}
