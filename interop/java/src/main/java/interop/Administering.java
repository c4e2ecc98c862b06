package interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Groups looked at and moved with Apache's tools. */
final class Administering {
    private static final String ORDER = "ORDER_TOPIC_CONFIG";

    private Administering() {}

    static void scenarios(Suite suite) {
        suite.area("tools")
            .fact("reset: a group at work goes back to a time, and to the end", Administering::resetOnline)
            .fact("reset: a group without members, by time", Administering::resetOffline)
            .fact("reset: one queue, to an offset", Administering::resetQueue)
            .fact("skip: a group without members gets only what comes", Administering::skip)
            .fact("reset: unknown topic, unknown group, offset out of range", Administering::resetRefused)
            .fact("clone: a new group goes on where another is", Administering::cloned)
            .fact("progress: offsets, in flight, time span", Administering::progress)
            .fact("who consumes what: connections, groups of a topic, topics of a group", Administering::who)
            .fact("a member tells how far it is, and what it does", Administering::asked)
            .fact("a member works at a chosen message now", Administering::directly)
            .fact("a member that is not there is named", Administering::notThere)
            .fact("order configuration: put, read, listed, deleted", Administering::orderConfiguration);
    }

    // ------------------------------------------------------------ moving

    /** A topic with two queues and ten messages in each, and the time between the fifth and the sixth. */
    private record Filled(String topic, long half) {
        static Filled make(Mq mq, DefaultMQProducer producer, String prefix) throws Exception {
            String topic = mq.topic(producer, prefix, 2);
            long half = 0;
            for (int i = 0; i < 10; i++) {
                if (i == 5) {
                    Mq.nap(20);
                    half = System.currentTimeMillis();
                    Mq.nap(20);
                }
                for (MessageQueue queue : Mq.queues(producer, topic)) {
                    producer.send(new Message(topic, ("m" + i).getBytes(UTF_8)), queue);
                }
            }
            return new Filled(topic, half);
        }
    }

    private static Map<MessageQueue, Long> ends(DefaultMQProducer producer, String topic) throws Exception {
        Map<MessageQueue, Long> ends = new HashMap<>();
        for (MessageQueue queue : Mq.queues(producer, topic)) {
            ends.put(queue, producer.maxOffset(queue));
        }
        return ends;
    }

    private static Map<Integer, Long> byId(Map<MessageQueue, Long> offsets) {
        Map<Integer, Long> byId = new TreeMap<>();
        offsets.forEach((queue, offset) -> byId.put(queue.getQueueId(), offset));
        return byId;
    }

    private static void resetOnline(Mq mq) throws Exception {
        Tools tools = Tools.start(mq);
        DefaultMQProducer producer = mq.producer();
        Filled filled = Filled.make(mq, producer, "Back");
        String group = Mq.fresh("G");
        Pushing.Consumed consumed = Pushing.consume(mq, group, filled.topic, "*");
        Mq.awaitExactly(consumed.messages, 20, "messages");
        Map<MessageQueue, Long> to = tools.call("resetOffsetByTimestamp", filled.topic, group, filled.half, true);
        Check.equal(byId(to), Map.of(0, 5L, 1, 5L), "where it goes on");
        // What comes ends the waiting of pulls with Apache's broker.
        for (MessageQueue queue : Mq.queues(producer, filled.topic)) {
            producer.send(new Message(filled.topic, "new".getBytes(UTF_8)), queue);
        }
        Mq.await("the second half again, and what is new", () -> {
            for (String body : List.of("m5", "m6", "m7", "m8", "m9")) {
                if (count(consumed, body) != 4) return false;
            }
            return count(consumed, "new") == 2;
        });
        Check.equal(count(consumed, "m4"), 2L, "deliveries of what is before");
        Map<MessageQueue, Long> end = tools.call("resetOffsetByTimestamp", filled.topic, group, -1L, true);
        Check.equal(byId(end), Map.of(0, 11L, 1, 11L), "the end");
    }

    private static long count(Pushing.Consumed consumed, String body) {
        synchronized (consumed.messages) {
            return consumed.messages.stream().filter(message -> new String(message.getBody(), UTF_8).equals(body)).count();
        }
    }

    /** A group that has consumed all and is gone. */
    private static String done(Mq mq, DefaultMQProducer producer, Filled filled) throws Exception {
        String group = Mq.fresh("G");
        Pushing.Consumed consumed = Pushing.consume(mq, group, filled.topic, "*");
        Mq.awaitExactly(consumed.messages, 20, "messages");
        Mq.finish(consumed.consumer, ends(producer, filled.topic));
        return group;
    }

    private static void resetOffline(Mq mq) throws Exception {
        Tools tools = Tools.start(mq);
        DefaultMQProducer producer = mq.producer();
        Filled filled = Filled.make(mq, producer, "Offline");
        String group = done(mq, producer, filled);
        Map<MessageQueue, Long> to = tools.call("resetOffsetByTimestamp", filled.topic, group, filled.half, true);
        Check.equal(byId(to), Map.of(0, 5L, 1, 5L), "where it goes on");
        Pushing.Consumed again = Pushing.consume(mq, group, filled.topic, "*");
        Mq.awaitExactly(again.messages, 10, "messages of the second half");
        Check.equal(Mq.set(Sending.bodies(again.messages)), Set.of("m5", "m6", "m7", "m8", "m9"), "bodies");
    }

    private static void resetQueue(Mq mq) throws Exception {
        Tools tools = Tools.start(mq);
        DefaultMQProducer producer = mq.producer();
        Filled filled = Filled.make(mq, producer, "OneQueue");
        String group = done(mq, producer, filled);
        if (tools.has("resetOffsetByQueueId")) {
            tools.call("resetOffsetByQueueId", Interop.broker, group, filled.topic, 1, 7L);
        } else {
            Check.equal(reset(group, filled.topic, 1, 7).code(), 0, "code");
        }
        Pushing.Consumed again = Pushing.consume(mq, group, filled.topic, "*");
        Mq.awaitExactly(again.messages, 3, "messages of one queue");
        Check.equal(Sending.bodies(again.messages).stream().sorted().toList(), List.of("m7", "m8", "m9"), "bodies");
        Check.that(again.messages.stream().allMatch(message -> message.getQueueId() == 1), "all of queue 1, but: " + again.messages);
    }

    private static Raw.Answer reset(String group, String topic, int queue, long offset) throws Exception {
        return Raw.ask(Interop.broker, 222, Map.of("group", group, "topic", topic, "timestamp", "-1", "isForce", "true",
            "queueId", String.valueOf(queue), "offset", String.valueOf(offset)), new byte[0]);
    }

    private static void skip(Mq mq) throws Exception {
        Tools tools = Tools.start(mq);
        DefaultMQProducer producer = mq.producer();
        Filled filled = Filled.make(mq, producer, "Skip");
        String group = done(mq, producer, filled);
        for (int i = 0; i < 10; i++) {
            producer.send(new Message(filled.topic, "backlog".getBytes(UTF_8)));
        }
        Map<MessageQueue, Long> to = tools.call("resetOffsetByTimestamp", filled.topic, group, -1L, true);
        Check.equal(to.values().stream().mapToLong(Long::longValue).sum(), 30L, "ends of both queues");
        Pushing.Consumed again = Pushing.consume(mq, group, filled.topic, "*");
        Mq.await("the group is back", () -> Tools.<Collection<?>>get(tools.call("examineConsumerConnectionInfo", group), "getConnectionSet").size() == 1);
        producer.send(new Message(filled.topic, "new".getBytes(UTF_8)));
        Mq.awaitExactly(again.messages, 1, "messages");
        Check.equal(Sending.bodies(again.messages), List.of("new"), "bodies");
    }

    private static void resetRefused(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        Filled filled = Filled.make(mq, producer, "Refused");
        String group = done(mq, producer, filled);
        Check.equal(reset(group, "no-such-topic", 0, 0).code(), 17, "code for an unknown topic");
        Check.equal(reset("no-such-group", filled.topic, 0, 0).code(), 26, "code for an unknown group");
        Raw.Answer beyond = reset(group, filled.topic, 0, 9999);
        Check.equal(beyond.code(), 1, "code for an offset that is not there");
        Check.equal(beyond.remark(), "Target offset 9999 not in consume queue range [0-10]", "remark");
    }

    private static void cloned(Mq mq) throws Exception {
        Tools tools = Tools.start(mq);
        DefaultMQProducer producer = mq.producer();
        Filled filled = Filled.make(mq, producer, "Clone");
        String from = done(mq, producer, filled);
        // A new group: of a queue that is young, it would get all.
        String to = mq.makeKnown(Mq.fresh("G"), mq.topic(producer, "Other", 1));
        tools.call("cloneGroupOffset", from, to, filled.topic, true);
        Pushing.Consumed consumed = Pushing.consume(mq, to, filled.topic, "*");
        Mq.await("the group is there", () -> Tools.<Collection<?>>get(tools.call("examineConsumerConnectionInfo", to), "getConnectionSet").size() == 1);
        producer.send(new Message(filled.topic, "new".getBytes(UTF_8)));
        Mq.awaitExactly(consumed.messages, 1, "messages");
        Check.equal(Sending.bodies(consumed.messages), List.of("new"), "bodies");
    }

    // ------------------------------------------------------------ looking

    private static void progress(Mq mq) throws Exception {
        Tools tools = Tools.start(mq);
        DefaultMQProducer producer = mq.producer();
        Filled filled = Filled.make(mq, producer, "Progress");
        String group = done(mq, producer, filled);
        producer.send(new Message(filled.topic, "one more".getBytes(UTF_8)), Mq.queues(producer, filled.topic).get(0));
        Mq.await("consumed 20 of 21", () -> {
            Map<MessageQueue, Object> table = Tools.get(tools.call("examineConsumeStats", group, filled.topic), "getOffsetTable");
            return table.size() == 2 && sum(table, "getBrokerOffset") == 21 && sum(table, "getConsumerOffset") == 20;
        });
        Map<MessageQueue, Object> table = Tools.get(tools.call("examineConsumeStats", group, filled.topic), "getOffsetTable");
        for (Map.Entry<MessageQueue, Object> queue : table.entrySet()) {
            Check.equal(queue.getKey().getBrokerName(), "broker-a", "broker");
            Check.between(System.currentTimeMillis() - Tools.<Long>get(queue.getValue(), "getLastTimestamp"), 0, 120_000, "age of the last consumed");
        }
        // By all topics that the group has consumed; its retry topic is one.
        Map<MessageQueue, Object> all = Tools.get(tools.call("examineConsumeStats", group), "getOffsetTable");
        Check.that(all.keySet().containsAll(table.keySet()), "the same queues, but: " + all);

        List<Object> spans = tools.call("queryConsumeTimeSpan", filled.topic, group);
        Check.equal(spans.size(), 2, "time spans");
        for (Object span : spans) {
            long min = Tools.get(span, "getMinTimeStamp");
            long consumed = Tools.get(span, "getConsumeTimeStamp");
            long max = Tools.get(span, "getMaxTimeStamp");
            Check.that(0 < min && min <= filled.half && filled.half <= consumed && consumed <= max, "times in order, but: " + min + " " + consumed + " " + max);
            boolean behind = Tools.<MessageQueue>get(span, "getMessageQueue").getQueueId() == Mq.queues(producer, filled.topic).get(0).getQueueId();
            Check.equal(Tools.<Long>get(span, "getDelayTime") > 0, behind, "something waits");
        }
    }

    private static long sum(Map<MessageQueue, Object> table, String getter) throws Exception {
        long sum = 0;
        for (Object queue : table.values()) {
            sum += Tools.<Long>get(queue, getter);
        }
        return sum;
    }

    private static void who(Mq mq) throws Exception {
        Tools tools = Tools.start(mq);
        DefaultMQProducer producer = mq.producer();
        Filled filled = Filled.make(mq, producer, "Who");
        String gone = done(mq, producer, filled);
        String group = Mq.fresh("G");
        Pushing.Consumed consumed = Pushing.consume(mq, group, filled.topic, "a || b");
        Mq.await("both groups", () -> Mq.set(Tools.<Collection<String>>get(tools.call("queryTopicConsumeByWho", filled.topic), "getGroupList"))
            .equals(Set.of(gone, group)));
        Object connections = tools.call("examineConsumerConnectionInfo", group);
        Collection<Object> members = Tools.get(connections, "getConnectionSet");
        Check.equal(members.size(), 1, "members");
        Check.equal(Tools.get(members.iterator().next(), "getClientId"), consumed.consumer.buildMQClientId(), "client id");
        Check.equal(String.valueOf(Tools.<Object>get(members.iterator().next(), "getLanguage")), "JAVA", "language");
        Check.equal(String.valueOf(Tools.<Object>get(connections, "getMessageModel")), "CLUSTERING", "model");
        Check.equal(String.valueOf(Tools.<Object>get(connections, "getConsumeFromWhere")), "CONSUME_FROM_FIRST_OFFSET", "where");
        Map<String, Object> subscriptions = Tools.get(connections, "getSubscriptionTable");
        Check.equal(subscriptions.keySet(), Set.of(filled.topic, "%RETRY%" + group), "topics");
        Check.equal(Tools.get(subscriptions.get(filled.topic), "getSubString"), "a || b", "expression");
        // 4.x producers tell who they are with their next heartbeat.
        Mq.await("the producer is known", () -> Raw.ask(Interop.broker, 204, Map.of("producerGroup", producer.getProducerGroup()), new byte[0]).code() == 0);
        Collection<Object> senders = Tools.get(tools.call("examineProducerConnectionInfo", producer.getProducerGroup(), filled.topic), "getConnectionSet");
        Check.equal(senders.size(), 1, "producers");
        Check.equal(Tools.get(senders.iterator().next(), "getClientId"), producer.buildMQClientId(), "client id");
        if (tools.has("queryTopicsByConsumer")) {
            Set<String> topics = Mq.set(Tools.<Collection<String>>get(tools.call("queryTopicsByConsumer", gone), "getTopicList"));
            Check.that(topics.contains(filled.topic), "the topic, but: " + topics);
            Check.equal(Tools.get(tools.call("querySubscription", group, filled.topic), "getSubString"), "a || b", "expression");
        }
    }

    // ------------------------------------------------------------ asking members

    private static void asked(Mq mq) throws Exception {
        Tools tools = Tools.start(mq);
        DefaultMQProducer producer = mq.producer();
        Filled filled = Filled.make(mq, producer, "Asked");
        String group = Mq.fresh("G");
        Pushing.Consumed consumed = Pushing.consume(mq, group, filled.topic, "*");
        Mq.awaitExactly(consumed.messages, 20, "messages");
        String client = consumed.consumer.buildMQClientId();
        Mq.await("the member says that it is at 10 of both queues", () -> {
            Map<String, Map<MessageQueue, Long>> status = tools.call("getConsumeStatus", filled.topic, group, "");
            return status.keySet().equals(Set.of(client)) && byId(status.get(client)).equals(Map.of(0, 10L, 1, 10L));
        });
        Map<String, ?> one = tools.call("getConsumeStatus", filled.topic, group, client);
        Check.equal(one.keySet(), Set.of(client), "the one that was asked");

        Object info = tools.call("getConsumerRunningInfo", group, client, true);
        Check.equal(Tools.<Map<?, ?>>get(info, "getProperties").get("PROP_CONSUME_TYPE"), "CONSUME_PASSIVELY", "consume type");
        Map<MessageQueue, Object> queues = Tools.get(info, "getMqTable");
        Set<String> topics = queues.keySet().stream().map(MessageQueue::getTopic).collect(Collectors.toSet());
        Check.that(topics.contains(filled.topic), "its queues, but: " + queues);
        Check.that(String.valueOf(Tools.<Object>get(info, "getJstack")).contains("java.lang.Thread"), "stacks of its threads");
    }

    private static void directly(Mq mq) throws Exception {
        Tools tools = Tools.start(mq);
        DefaultMQProducer producer = mq.producer();
        Filled filled = Filled.make(mq, producer, "Directly");
        String group = Mq.fresh("G");
        Pushing.Consumed consumed = Pushing.consume(mq, group, filled.topic, "*");
        SendResult sent = producer.send(new Message(filled.topic, "t", "key", "look again".getBytes(UTF_8)));
        Mq.awaitExactly(consumed.messages, 21, "messages");
        Object result = null;
        for (int attempt = 0; result == null; attempt++) {
            try {
                result = tools.call("consumeMessageDirectly", group, consumed.consumer.buildMQClientId(), filled.topic, sent.getMsgId());
            } catch (Exception notFoundYet) {
                // it is found by its key a moment after it was sent
                if (attempt == 50) throw notFoundYet;
                Mq.nap(100);
            }
        }
        Check.equal(String.valueOf(Tools.<Object>get(result, "getConsumeResult")), "CR_SUCCESS", "result");
        Mq.awaitExactly(consumed.messages, 22, "messages");
        MessageExt again = consumed.messages.get(21);
        Check.equal(new String(again.getBody(), UTF_8), "look again", "body");
        Check.equal(again.getProperty("UNIQ_KEY"), sent.getMsgId(), "id");
    }

    private static void notThere(Mq mq) throws Exception {
        Tools tools = Tools.start(mq);
        DefaultMQProducer producer = mq.producer();
        Filled filled = Filled.make(mq, producer, "NotThere");
        String group = done(mq, producer, filled);
        Raw.Answer info = Raw.ask(Interop.broker, 307, Map.of("consumerGroup", group, "clientId", "nobody@1", "jstackEnable", "false"), new byte[0]);
        Check.equal(info.code(), 1, "code");
        Check.that(info.remark().startsWith("The Consumer <" + group + "> <nobody@1> not online"), "a name, but: " + info.remark());
        Raw.Answer connections = Raw.ask(Interop.broker, 203, Map.of("consumerGroup", group), new byte[0]);
        Check.equal(connections.code(), 206, "code");
        Check.that(connections.remark().startsWith("the consumer group[" + group + "] not online"), "a name, but: " + connections.remark());
        Raw.Answer senders = Raw.ask(Interop.broker, 204, Map.of("producerGroup", "nobody"), new byte[0]);
        Check.equal(senders.code(), 1, "code");
        Check.that(senders.remark().startsWith("the producer group[nobody] not exist"), "a name, but: " + senders.remark());
        Raw.Answer status = Raw.ask(Interop.broker, 223, Map.of("group", group, "topic", filled.topic, "clientAddr", ""), new byte[0]);
        Check.that(status.code() != 0, "a refusal, but: " + status);
    }

    // ------------------------------------------------------------ order configuration

    private static void orderConfiguration(Mq mq) throws Exception {
        Tools tools = Tools.start(mq);
        String topic = Mq.fresh("Ordered");
        tools.call("createOrUpdateOrderConf", topic, "broker-a:4;broker-b:4", true);
        Check.equal(tools.call("getKVConfig", ORDER, topic), "broker-a:4;broker-b:4", "value");
        tools.call("createOrUpdateOrderConf", topic, "broker-a:8", false);
        String merged = tools.call("getKVConfig", ORDER, topic);
        Check.equal(Set.of(merged.split(";")), Set.of("broker-a:8", "broker-b:4"), "one broker's part replaced");
        Map<String, String> all = Tools.get(tools.call("getKVListByNamespace", ORDER), "getTable");
        Check.equal(all.get(topic), merged, "listed");
        tools.call("deleteKvConfig", ORDER, topic);
        Raw.Answer gone = Raw.ask(mq.namesrv, 101, Map.of("namespace", ORDER, "key", topic), new byte[0]);
        Check.equal(gone.code(), 22, "code of a deleted one");
    }
}
