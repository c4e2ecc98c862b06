package interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Message trace, as clients write it that are told to (the constructors' enableMsgTrace). */
final class Tracing {
    private static final String SYSTEM_TOPIC = "RMQ_SYS_TRACE_TOPIC";

    private Tracing() {}

    static void scenarios(Suite suite) {
        suite.area("trace")
            .onBroker("traceTopicEnable", "true")
            .fact("producer and consumer write to RMQ_SYS_TRACE_TOPIC, one queue, found by the message's id and key", Tracing::systemTopic)
            .fact("a consumer that fails, and the retry, have records of their own", Tracing::failure)
            .fact("a delayed message's record says so", Tracing::delayed)
            .onBroker("traceTopicEnable", "true", "msgTraceTopicName", "MY_TRACES")
            .fact("msgTraceTopicName: the topic is there under this name", Tracing::namedTopic)
            .onBroker()
            .fact("a trace topic of the client's own", Tracing::ownTopic)
            .onBroker("traceTopicEnable", "true", "traceOn", "false")
            .fact("traceOn=false: producers are told not to", Tracing::off);
    }

    private static DefaultMQProducer producer(Mq mq, String traceTopic) throws MQClientException {
        DefaultMQProducer producer = new DefaultMQProducer(Mq.fresh("P"), true, traceTopic);
        producer.setNamesrvAddr(mq.namesrv);
        producer.setInstanceName(Mq.fresh("i"));
        mq.atEnd(producer::shutdown);
        producer.start();
        return producer;
    }

    private static DefaultMQPushConsumer consumer(Mq mq, String group, String traceTopic) {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group, true, traceTopic);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setNamesrvAddr(mq.namesrv);
        consumer.setInstanceName(Mq.fresh("i"));
        mq.atEnd(consumer::shutdown);
        return consumer;
    }

    /** A record of a trace: its fields, the first of which is its kind. */
    record Trace(String[] fields) {
        String kind() {
            return fields[0];
        }

        @Override
        public String toString() {
            return Arrays.toString(fields);
        }
    }

    /** All records about a message, found in the trace topic by one of its keys, oldest first. */
    private static List<Trace> traces(DefaultMQProducer reader, String traceTopic, String id) throws Exception {
        List<MessageExt> found;
        try {
            found = new ArrayList<>(reader.queryMessage(traceTopic, id, 64, 0, Long.MAX_VALUE).getMessageList());
        } catch (MQClientException none) {
            return List.of();
        }
        found.sort((one, other) -> Long.compare(one.getStoreTimestamp(), other.getStoreTimestamp()));
        List<Trace> traces = new ArrayList<>();
        for (MessageExt message : found) {
            Check.that(Set.of(message.getKeys().split(" ")).contains(id), "keys with " + id + ": " + message.getKeys());
            for (String record : new String(message.getBody(), UTF_8).split("\u0002")) {
                Trace trace = new Trace(record.split("\u0001", -1));
                if (Arrays.asList(trace.fields).contains(id)) {
                    traces.add(trace);
                }
            }
        }
        return traces;
    }

    /** Clients write what they did up to five seconds later. */
    private static List<Trace> awaitTraces(DefaultMQProducer reader, String topic, String id, String kind, int count) throws Exception {
        List<Trace> found = new ArrayList<>();
        Mq.await(count + " × " + kind + " of " + id, Duration.ofSeconds(45), () -> {
            found.clear();
            traces(reader, topic, id).stream().filter(trace -> trace.kind().equals(kind)).forEach(found::add);
            return found.size() >= count;
        });
        Check.equal(found.size(), count, kind + " of " + id);
        return found;
    }

    private static void checkPublished(Trace trace, DefaultMQProducer producer, Message message, SendResult sent, int type) {
        String[] fields = trace.fields();
        Check.that(fields.length >= 14, "14 fields or more: " + trace);
        Check.between(Long.parseLong(fields[1]), System.currentTimeMillis() - 120_000, System.currentTimeMillis(), "time");
        Check.equal(fields[2], "DefaultRegion", "region");
        Check.equal(fields[3], producer.getProducerGroup(), "group");
        Check.equal(fields[4], message.getTopic(), "topic");
        Check.equal(fields[5], sent.getMsgId(), "id");
        Check.equal(fields[6], message.getTags(), "tags");
        Check.equal(fields[7], message.getKeys(), "keys");
        // 4.4.0 speaks to the VIP channel
        String host = Interop.broker.substring(0, Interop.broker.indexOf(':'));
        Check.that(fields[8].startsWith(host), "store host " + fields[8] + " on " + host);
        Check.equal(fields[9], String.valueOf(message.getBody().length), "length of the body");
        Check.equal(fields[11], String.valueOf(type), "type of message");
        Check.equal(fields[12], sent.getOffsetMsgId(), "offset id");
        Check.equal(fields[13], "true", "success");
    }

    private static void systemTopic(Mq mq) throws Exception {
        roundTrip(mq, null, SYSTEM_TOPIC);
    }

    private static void namedTopic(Mq mq) throws Exception {
        roundTrip(mq, "MY_TRACES", "MY_TRACES");
    }

    private static void ownTopic(Mq mq) throws Exception {
        String own = Mq.fresh("Traces");
        DefaultMQProducer maker = mq.producer();
        mq.topicNamed(maker, own, 3);
        roundTrip(mq, own, own);
    }

    private static void roundTrip(Mq mq, String wanted, String traceTopic) throws Exception {
        DefaultMQProducer producer = producer(mq, wanted);
        String topic = mq.topic(producer, "Traced", 1);
        Message message = new Message(topic, "tag", Mq.fresh("key"), "跟踪 traced".getBytes(UTF_8));
        SendResult sent = producer.send(message);
        DefaultMQProducer reader = mq.producer();
        Trace published = awaitTraces(reader, traceTopic, sent.getMsgId(), "Pub", 1).get(0);
        checkPublished(published, producer, message, sent, 0);
        // with 4.4.0, one client of a JVM writes traces, not more
        producer.shutdown();
        DefaultMQPushConsumer consumer = consumer(mq, Mq.fresh("G"), wanted);
        consumer.subscribe(topic, "*");
        List<String> seen = Collections.synchronizedList(new ArrayList<>());
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(got -> seen.add(got.getMsgId()));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Mq.await("it is consumed", () -> seen.contains(sent.getMsgId()));

        Trace before = awaitTraces(reader, traceTopic, sent.getMsgId(), "SubBefore", 1).get(0);
        Check.equal(before.fields()[3], consumer.getConsumerGroup(), "consumer group");
        Check.equal(before.fields()[6], "0", "retries");
        Trace after = awaitTraces(reader, traceTopic, sent.getMsgId(), "SubAfter", 1).get(0);
        Check.equal(after.fields()[1], before.fields()[4], "request id");
        Check.equal(after.fields()[4], "true", "success");
        // by the message's own key as well
        awaitTraces(reader, traceTopic, message.getKeys(), "Pub", 1);

        if (traceTopic.equals(SYSTEM_TOPIC) || wanted != null && wanted.equals("MY_TRACES")) {
            Check.equal(reader.fetchPublishMessageQueues(traceTopic).size(), 1, "queues to write to");
            DefaultMQPullConsumer puller = mq.puller(Mq.fresh("G"));
            Check.equal(puller.fetchSubscribeMessageQueues(traceTopic).size(), 1, "queues to read from");
            Set<String> read = new TreeSet<>();
            Mq.readTopic(puller, traceTopic, 2).forEach(trace -> read.add(trace.getTopic()));
            Check.equal(read, Set.of(traceTopic), "topics of what is read from there");
        }
    }

    private static void failure(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "TracedRetry", 1);
        String group = mq.knownGroup("G", topic);
        DefaultMQPushConsumer consumer = consumer(mq, group, null);
        consumer.subscribe(topic, "*");
        List<Integer> attempts = Collections.synchronizedList(new ArrayList<>());
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            attempts.add(messages.get(0).getReconsumeTimes());
            return messages.get(0).getReconsumeTimes() == 0 ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        SendResult sent = producer.send(new Message(topic, "t", "k", "fails once".getBytes(UTF_8)));
        Mq.awaitExactly(attempts, 2, "attempts");

        DefaultMQProducer reader = mq.producer();
        List<Trace> before = awaitTraces(reader, SYSTEM_TOPIC, sent.getMsgId(), "SubBefore", 2);
        List<String> retries = before.stream().map(trace -> trace.fields()[6]).sorted().toList();
        Check.equal(retries, List.of("0", "1"), "retries");
        List<Trace> after = awaitTraces(reader, SYSTEM_TOPIC, sent.getMsgId(), "SubAfter", 2);
        List<String> successes = after.stream().map(trace -> trace.fields()[4]).sorted().toList();
        Check.equal(successes, List.of("false", "true"), "successes");
    }

    private static void delayed(Mq mq) throws Exception {
        DefaultMQProducer producer = producer(mq, null);
        String topic = mq.topic(producer, "TracedDelay", 1);
        Message message = new Message(topic, "t", "k", "later".getBytes(UTF_8));
        message.setDelayTimeLevel(1);
        SendResult sent = producer.send(message);
        DefaultMQProducer reader = mq.producer();
        Trace published = awaitTraces(reader, SYSTEM_TOPIC, sent.getMsgId(), "Pub", 1).get(0);
        checkPublished(published, producer, message, sent, 3);
    }

    private static void off(Mq mq) throws Exception {
        DefaultMQProducer producer = producer(mq, null);
        String topic = mq.topic(producer, "Untraced", 1);
        SendResult sent = producer.send(new Message(topic, "t", "k", "not traced".getBytes(UTF_8)));
        Check.that(!sent.isTraceOn(), "the answer says that traces are off");
        // a client that traces all the same has written after five seconds
        Mq.nap(6_000);
        Check.equal(traces(mq.producer(), SYSTEM_TOPIC, sent.getMsgId()), List.of(), "traces");
    }
}
