package interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.apache.rocketmq.client.MQAdmin;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

final class Querying {
    private Querying() {}

    static void scenarios(Suite suite) {
        suite.area("query")
            .fact("by offset id: the message, byte for byte", Querying::byOffsetId)
            .fact("by unique key: the message, byte for byte", Querying::byUniqueKey)
            .fact("by key: every message with that key, up to the number asked for", Querying::byKeys)
            .fact("by time: only what was stored in the span", Querying::byTime)
            .fact("min and max offset, search by time, time of the earliest", Querying::offsets)
            .fact("an empty queue: min 0, max 0, search 0, no earliest", Querying::emptyQueue);
    }

    private static void byOffsetId(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "ById", 2);
        Message message = new Message(topic, "t", "k", "按编号 by id".getBytes(UTF_8));
        message.putUserProperty("p", "v");
        SendResult sent = producer.send(message);

        MessageExt got = Api.viewByOffsetId(producer, topic, sent.getOffsetMsgId());

        same(got, message, sent);
        Check.equal(got.getUserProperty("p"), "v", "property");
        Check.equal(Dump.offsetMsgId(got), sent.getOffsetMsgId(), "offset id");
    }

    private static void byUniqueKey(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "ByUnique", 2);
        Message message = new Message(topic, "t", "k", "by unique key".getBytes(UTF_8));
        SendResult sent = producer.send(message);
        Mq.await("index has " + sent.getMsgId(), () -> view(producer, topic, sent.getMsgId()) != null);
        same(view(producer, topic, sent.getMsgId()), message, sent);
    }

    private static MessageExt view(MQAdmin admin, String topic, String id) throws Exception {
        try {
            return admin.viewMessage(topic, id);
        } catch (MQClientException notFound) {
            return null;
        }
    }

    private static void same(MessageExt got, Message message, SendResult sent) {
        Check.equal(got.getTopic(), message.getTopic(), "topic");
        Check.equal(got.getTags(), message.getTags(), "tags");
        Check.equal(got.getKeys(), message.getKeys(), "keys");
        Check.equalBytes(got.getBody(), message.getBody(), "body");
        Check.equal(got.getProperty("UNIQ_KEY"), sent.getMsgId(), "unique key");
        Check.equal(got.getQueueId(), sent.getMessageQueue().getQueueId(), "queue");
        Check.equal(got.getQueueOffset(), sent.getQueueOffset(), "queue offset");
    }

    private static void byKeys(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "ByKey", 4);
        String other = mq.topic(producer, "ByKeyOther", 1);
        List<String> expected = new ArrayList<>();
        for (int i = 0; i < 40; i++) {
            // one key of two; "Aa" and "BB" hash alike, so do keys made of them
            String keys = i % 2 == 0 ? "customer-Aa order-" + i : "customer-BB order-" + i;
            String id = producer.send(new Message(topic, "", keys, ("message " + i).getBytes(UTF_8))).getMsgId();
            if (i % 2 == 0) {
                expected.add(id);
            }
        }
        producer.send(new Message(other, "", "customer-Aa", "of another topic".getBytes(UTF_8)));
        expected.sort(null);

        Mq.await("20 messages by their key", () -> byKey(producer, topic, "customer-Aa").equals(expected));
        Check.equal(byKey(producer, topic, "order-17").size(), 1, "messages with the second key of 17");
        Check.equal(byKey(producer, topic, "order-99"), List.of(), "messages with an unknown key");
        int few = producer.queryMessage(topic, "customer-Aa", 5, 0, Long.MAX_VALUE).getMessageList().size();
        Check.between(few, 1, 5, "messages when five are asked for");
    }

    /** Unique keys of the messages found, ascending; none is an empty list. */
    static List<String> byKey(MQAdmin admin, String topic, String key) throws Exception {
        return byKey(admin, topic, key, 0, Long.MAX_VALUE);
    }

    private static List<String> byKey(MQAdmin admin, String topic, String key, long begin, long end) throws Exception {
        try {
            return admin.queryMessage(topic, key, 64, begin, end).getMessageList().stream().map(message -> message.getProperty("UNIQ_KEY")).sorted().toList();
        } catch (MQClientException none) {
            Check.equal(none.getResponseCode(), 208, "code of \"no message\": " + none);
            return List.of();
        }
    }

    private static void byTime(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "ByTime", 1);
        String early = producer.send(new Message(topic, "", "k", "early".getBytes(UTF_8))).getMsgId();
        long start = System.currentTimeMillis();
        // the index keeps seconds
        Mq.await("4 s have passed", Duration.ofSeconds(6), () -> System.currentTimeMillis() >= start + 4_000);
        String late = producer.send(new Message(topic, "", "k", "late".getBytes(UTF_8))).getMsgId();
        long middle = start + 2_000;

        List<String> both = new ArrayList<>(List.of(early, late));
        both.sort(null);
        Mq.await("both by key", () -> byKey(producer, topic, "k").equals(both));
        Check.equal(byKey(producer, topic, "k", start - 60_000, middle), List.of(early), "until the middle");
        Check.equal(byKey(producer, topic, "k", middle, start + 60_000), List.of(late), "from the middle");
        Check.equal(byKey(producer, topic, "k", start - 60_000, start - 30_000), List.of(), "before both");
    }

    private static void offsets(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Offsets", 1);
        MessageQueue queue = Mq.queues(producer, topic).get(0);
        for (int i = 0; i < 5; i++) {
            long sent = System.currentTimeMillis();
            producer.send(new Message(topic, ("m" + i).getBytes(UTF_8)), queue);
            Mq.await("the clock goes on", () -> System.currentTimeMillis() > sent + 40);
        }
        DefaultMQPullConsumer puller = mq.puller(Mq.fresh("G"));
        List<MessageExt> stored = Mq.readAll(puller, queue, 0, 5);

        // Apache 4.9 answers the nearest in time instead of the next
        boolean nearest = Interop.against.startsWith("apache 4");
        Check.equal(puller.minOffset(queue), 0L, "min offset");
        Check.equal(puller.maxOffset(queue), 5L, "max offset");
        Check.equal(puller.earliestMsgStoreTime(queue), stored.get(0).getStoreTimestamp(), "time of the earliest");
        for (int i = 0; i < 5; i++) {
            long time = stored.get(i).getStoreTimestamp();
            Check.equal(puller.searchOffset(queue, time), (long) i, "search at the time of " + i);
            Check.equal(puller.searchOffset(queue, time + 1), nearest ? i : i + 1L, "search just after " + i);
        }
        Check.equal(puller.searchOffset(queue, stored.get(0).getStoreTimestamp() - 1_000), 0L, "search before the first");
        Check.equal(puller.searchOffset(queue, System.currentTimeMillis() + 60_000), nearest ? 4L : 5L, "search after the last");
    }

    private static void emptyQueue(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Empty", 1);
        MessageQueue queue = Mq.queues(producer, topic).get(0);
        Check.equal(producer.minOffset(queue), 0L, "min offset");
        Check.equal(producer.maxOffset(queue), 0L, "max offset");
        Check.equal(producer.searchOffset(queue, System.currentTimeMillis()), 0L, "search");
        Check.equal(producer.earliestMsgStoreTime(queue), -1L, "time of the earliest");
    }
}
