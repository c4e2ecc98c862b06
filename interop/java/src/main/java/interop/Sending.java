package interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageId;
import org.apache.rocketmq.common.message.MessageQueue;

final class Sending {
    static final int MAX_MESSAGE_SIZE = 4 * 1024 * 1024;

    private Sending() {}

    static void scenarios(Suite suite) {
        suite.area("send")
            .fact("sync: SEND_OK, and ids that lead to the stored message", Sending::sync)
            .fact("async: every callback succeeds, queue offsets are dense", Sending::async)
            .fact("oneway: every message arrives", Sending::oneway)
            .fact("to a chosen queue: there, in order, nowhere else", Sending::chosenQueue)
            .fact("by selector: the queue that the selector names", Sending::selector)
            .fact("batch: one id and one offset for each message", Sending::batch)
            .fact("split batch: 2.5 MiB in parts below 1 MiB, in order", Sending::splitBatch)
            .fact("compressed body: stored small, read in full", Sending::compressed)
            .fact("bodies, keys, tags and properties in Chinese and emoji", Sending::chineseAndEmoji)
            .fact("just under 4 MiB arrives byte for byte", Sending::justUnderTheLimit)
            .fact("above 4 MiB: client and broker refuse with 13, the connection goes on", Sending::aboveTheLimit)
            .fact("40,000 bytes of properties: refused with 13", Sending::tooManyProperties);
    }

    private static void sync(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Sync", 4);
        Message message = new Message(topic, "tag", "key-1 key-2", "hello".getBytes(UTF_8));
        message.putUserProperty("color", "blue");
        message.setFlag(7);

        SendResult sent = producer.send(message);

        Check.equal(sent.getSendStatus(), SendStatus.SEND_OK, "send status");
        Check.equal(sent.getQueueOffset(), 0L, "queue offset");
        Check.equal(sent.getMsgId(), message.getProperty("UNIQ_KEY"), "msgId is the client's unique key");
        Check.equal(sent.getRegionId(), "DefaultRegion", "region");
        Check.that(sent.isTraceOn(), "trace on");
        MessageId id = MessageDecoder.decodeMessageId(sent.getOffsetMsgId());
        Check.equal(id.getAddress().toString().replaceFirst(".*/", ""), Interop.broker, "address in the offset id");

        List<MessageExt> stored = Mq.readTopic(mq.puller(Mq.fresh("G")), topic, 1);
        Check.equal(stored.size(), 1, "messages stored");
        MessageExt got = stored.get(0);
        Check.equal(new String(got.getBody(), UTF_8), "hello", "body");
        Check.equal(got.getTopic(), topic, "topic");
        Check.equal(got.getTags(), "tag", "tags");
        Check.equal(got.getKeys(), "key-1 key-2", "keys");
        Check.equal(got.getUserProperty("color"), "blue", "user property");
        Check.equal(got.getFlag(), 7, "flag");
        Check.equal(got.getMsgId(), sent.getMsgId(), "msgId");
        Check.equal(Dump.offsetMsgId(got), sent.getOffsetMsgId(), "offsetMsgId");
        Check.equal(got.getQueueId(), sent.getMessageQueue().getQueueId(), "queue");
        Check.equal(got.getCommitLogOffset(), id.getOffset(), "commit log offset");
        Check.equal(got.getStoreHost().toString().replaceFirst(".*/", ""), Interop.broker, "store host");
        Check.equal(got.getReconsumeTimes(), 0, "reconsume times");
        Check.between(got.getStoreTimestamp() - got.getBornTimestamp(), 0, 5_000, "store time after born time, ms");
    }

    private static void async(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Async", 2);
        Map<String, SendResult> results = Collections.synchronizedMap(new HashMap<>());
        List<Throwable> failures = Collections.synchronizedList(new ArrayList<>());
        for (int i = 0; i < 100; i++) {
            String body = "async " + i;
            producer.send(new Message(topic, body.getBytes(UTF_8)), new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    results.put(body, result);
                }

                @Override
                public void onException(Throwable thrown) {
                    failures.add(thrown);
                }
            });
        }
        Mq.await("100 callbacks", () -> results.size() + failures.size() == 100);
        Check.equal(failures, List.of(), "failures");

        List<MessageExt> stored = Mq.readTopic(mq.puller(Mq.fresh("G")), topic, 100);
        Check.equal(stored.size(), 100, "messages stored");
        for (MessageExt got : stored) {
            SendResult result = results.remove(new String(got.getBody(), UTF_8));
            Check.equal(got.getMsgId(), result.getMsgId(), "msgId");
            Check.equal(got.getQueueOffset(), result.getQueueOffset(), "queue offset");
            Check.equal(got.getQueueId(), result.getMessageQueue().getQueueId(), "queue");
        }
    }

    private static void oneway(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Oneway", 1);
        for (int i = 0; i < 50; i++) {
            producer.sendOneway(new Message(topic, ("oneway " + i).getBytes(UTF_8)));
        }
        DefaultMQPullConsumer puller = mq.puller(Mq.fresh("G"));
        MessageQueue queue = Mq.queues(producer, topic).get(0);
        Mq.await("50 messages", () -> puller.maxOffset(queue) == 50);
        Set<String> bodies = new HashSet<>();
        Mq.readAll(puller, queue, 0, 50).forEach(got -> bodies.add(new String(got.getBody(), UTF_8)));
        Check.equal(bodies.size(), 50, "different bodies");
    }

    private static void chosenQueue(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Chosen", 4);
        List<MessageQueue> queues = Mq.queues(producer, topic);
        for (int i = 0; i < 20; i++) {
            SendResult sent = producer.send(new Message(topic, ("chosen " + i).getBytes(UTF_8)), queues.get(2));
            Check.equal(sent.getMessageQueue(), queues.get(2), "queue of the result");
            Check.equal(sent.getQueueOffset(), (long) i, "queue offset");
        }
        DefaultMQPullConsumer puller = mq.puller(Mq.fresh("G"));
        Check.equal(bodies(Mq.readAll(puller, queues.get(2), 0, 20)), numbered("chosen ", 20), "bodies in order");
        for (int other : new int[] {0, 1, 3}) {
            Check.equal(puller.maxOffset(queues.get(other)), 0L, "max offset of queue " + other);
        }
    }

    private static void selector(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Selector", 4);
        for (int i = 0; i < 20; i++) {
            SendResult sent = producer.send(new Message(topic, ("to " + i % 4).getBytes(UTF_8)), (queues, message, argument) -> {
                int wanted = (Integer) argument % 4;
                return queues.stream().filter(queue -> queue.getQueueId() == wanted).findFirst().orElseThrow();
            }, i);
            Check.equal(sent.getMessageQueue().getQueueId(), i % 4, "queue of message " + i);
            Check.equal(sent.getQueueOffset(), (long) (i / 4), "queue offset of message " + i);
        }
        DefaultMQPullConsumer puller = mq.puller(Mq.fresh("G"));
        for (MessageQueue queue : Mq.queues(producer, topic)) {
            Check.equal(bodies(Mq.readAll(puller, queue, 0, 5)), Collections.nCopies(5, "to " + queue.getQueueId()), "bodies of " + queue);
        }
    }

    private static void batch(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Batch", 2);
        MessageQueue queue = Mq.queues(producer, topic).get(1);
        producer.send(new Message(topic, "before".getBytes(UTF_8)), queue);
        List<Message> messages = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            Message message = new Message(topic, "tag" + i, "batch-key-" + i, ("batch " + i).getBytes(UTF_8));
            message.putUserProperty("index", String.valueOf(i));
            messages.add(message);
        }

        SendResult sent = producer.send(messages, queue);

        Check.equal(sent.getSendStatus(), SendStatus.SEND_OK, "send status");
        Check.equal(sent.getQueueOffset(), 1L, "queue offset of the first");
        String[] ids = sent.getMsgId().split(",");
        String[] offsetIds = sent.getOffsetMsgId().split(",");
        Check.equal(ids.length, 10, "unique ids");
        Check.equal(offsetIds.length, 10, "offset ids");

        List<MessageExt> stored = Mq.readAll(mq.puller(Mq.fresh("G")), queue, 1, 11);
        Check.equal(stored.size(), 10, "messages stored");
        for (int i = 0; i < 10; i++) {
            MessageExt got = stored.get(i);
            Check.equal(new String(got.getBody(), UTF_8), "batch " + i, "body " + i);
            Check.equal(got.getQueueOffset(), 1L + i, "queue offset " + i);
            Check.equal(got.getTags(), "tag" + i, "tag " + i);
            Check.equal(got.getKeys(), "batch-key-" + i, "key " + i);
            Check.equal(got.getUserProperty("index"), String.valueOf(i), "property " + i);
            // Apache's broker 4.9.7 gives all messages of a batch the id that clients from 5.0 on give the batch.
            if (!Interop.isNewClientOfOldApache()) {
                Check.equal(got.getMsgId(), ids[i], "unique id " + i);
            }
            Check.equal(Dump.offsetMsgId(got), offsetIds[i], "offset id " + i);
        }
    }

    private static void splitBatch(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Split", 1);
        MessageQueue queue = Mq.queues(producer, topic).get(0);
        List<Message> messages = new ArrayList<>();
        for (int i = 0; i < 2560; i++) {
            byte[] body = new byte[1024];
            Arrays.fill(body, (byte) ('a' + i % 26));
            System.arraycopy(String.format("%06d", i).getBytes(UTF_8), 0, body, 0, 6);
            messages.add(new Message(topic, body));
        }
        int parts = 0;
        for (ListSplitter splitter = new ListSplitter(messages, 1024 * 1024); splitter.hasNext(); parts++) {
            List<Message> part = splitter.next();
            SendResult sent = producer.send(part, queue);
            Check.equal(sent.getSendStatus(), SendStatus.SEND_OK, "send status of part " + parts);
            Check.equal(sent.getMsgId().split(",").length, part.size(), "ids of part " + parts);
        }
        Check.equal(parts, 3, "parts");
        List<MessageExt> stored = Mq.readAll(mq.puller(Mq.fresh("G")), queue, 0, messages.size());
        Check.equal(stored.size(), messages.size(), "messages stored");
        for (int i = 0; i < stored.size(); i++) {
            Check.equalBytes(stored.get(i).getBody(), messages.get(i).getBody(), "body " + i);
            Check.equal(stored.get(i).getQueueOffset(), (long) i, "queue offset");
        }
    }

    /** As in Apache's documentation: parts of a list that stay below a size. */
    private static final class ListSplitter implements Iterator<List<Message>> {
        private final List<Message> messages;
        private final int sizeLimit;
        private int current;

        ListSplitter(List<Message> messages, int sizeLimit) {
            this.messages = messages;
            this.sizeLimit = sizeLimit;
        }

        @Override
        public boolean hasNext() {
            return current < messages.size();
        }

        @Override
        public List<Message> next() {
            int start = current;
            int total = 0;
            for (; current < messages.size(); current++) {
                Message message = messages.get(current);
                int size = message.getTopic().length() + message.getBody().length + 20;
                for (Map.Entry<String, String> property : message.getProperties().entrySet()) {
                    size += property.getKey().length() + property.getValue().length();
                }
                if (current > start && total + size > sizeLimit) {
                    break;
                }
                total += size;
            }
            return messages.subList(start, current);
        }
    }

    private static void compressed(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Compressed", 1);
        byte[] body = "压缩 compress me, ".repeat(5000).getBytes(UTF_8);
        Message message = new Message(topic, body);
        producer.send(message);
        MessageExt got = Mq.readTopic(mq.puller(Mq.fresh("G")), topic, 1).get(0);
        Check.equalBytes(got.getBody(), body, "body");
        Check.that(got.getStoreSize() < body.length / 10, "stored in less than a tenth of " + body.length + ", but " + got.getStoreSize());
    }

    private static void chineseAndEmoji(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Chinese", 1);
        String[] bodies = {"订单已支付", "您好,世界 🌏", "𠮷野家 mixed 混合", "👨‍👩‍👧‍👦 👍🏽"};
        for (String body : bodies) {
            Message message = new Message(topic, "标签🚀", "键-" + body.substring(0, 2), body.getBytes(UTF_8));
            message.putUserProperty("城市", "杭州 🏙");
            producer.send(message);
        }
        List<MessageExt> stored = Mq.readTopic(mq.puller(Mq.fresh("G")), topic, bodies.length);
        Check.equal(bodies(stored), List.of(bodies), "bodies");
        for (int i = 0; i < bodies.length; i++) {
            Check.equal(stored.get(i).getTags(), "标签🚀", "tag");
            Check.equal(stored.get(i).getKeys(), "键-" + bodies[i].substring(0, 2), "key");
            Check.equal(stored.get(i).getUserProperty("城市"), "杭州 🏙", "property");
        }
        Mq.await("a message by its Chinese key", () ->
            Querying.byKey(producer, topic, "键-订单").equals(List.of(stored.get(0).getMsgId())));
    }

    private static void justUnderTheLimit(Mq mq) throws Exception {
        DefaultMQProducer producer = uncompressed(mq, MAX_MESSAGE_SIZE);
        String topic = mq.topic(producer, "Large", 1);
        byte[] body = randomBytes(MAX_MESSAGE_SIZE - 1024);
        SendResult sent = producer.send(new Message(topic, body), 20_000);
        Check.equal(sent.getSendStatus(), SendStatus.SEND_OK, "send status");
        List<MessageExt> stored = Mq.readTopic(mq.puller(Mq.fresh("G")), topic, 1);
        Check.equalBytes(stored.get(0).getBody(), body, "body");
    }

    private static void aboveTheLimit(Mq mq) throws Exception {
        DefaultMQProducer careful = uncompressed(mq, MAX_MESSAGE_SIZE);
        String topic = mq.topic(careful, "TooLarge", 1);
        byte[] body = randomBytes(MAX_MESSAGE_SIZE + 1);
        MQClientException byClient = Check.thrown(MQClientException.class, () -> careful.send(new Message(topic, body)), "send by a careful client");
        Check.equal(byClient.getResponseCode(), 13, "code of the client");

        DefaultMQProducer careless = uncompressed(mq, 16 * 1024 * 1024);
        byte[] larger = randomBytes(MAX_MESSAGE_SIZE + 128 * 1024);
        MQBrokerException byBroker = Check.thrown(MQBrokerException.class,
            () -> careless.send(new Message(topic, larger), 20_000), "send by a careless client");
        Check.equal(byBroker.getResponseCode(), 13, "code of the broker");
        Check.that(!byBroker.getErrorMessage().isEmpty(), "a sentence with the refusal");
        Check.equal(careless.send(new Message(topic, "small".getBytes(UTF_8))).getQueueOffset(), 0L, "offset of the next message");
    }

    private static void tooManyProperties(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Properties", 1);
        Message message = new Message(topic, "body".getBytes(UTF_8));
        message.putUserProperty("long", "x".repeat(40_000));
        Exception refused = Check.thrown(Exception.class, () -> producer.send(message), "send with 40,000 bytes of properties");
        int code = refused instanceof MQBrokerException byBroker ? byBroker.getResponseCode() : ((MQClientException) refused).getResponseCode();
        Check.equal(code, 13, "code of " + refused);
        Check.equal(producer.send(new Message(topic, "next".getBytes(UTF_8))).getQueueOffset(), 0L, "offset of the next message");
    }

    // ------------------------------------------------------------ helpers

    private static DefaultMQProducer uncompressed(Mq mq, int maxMessageSize) throws MQClientException {
        DefaultMQProducer producer = mq.newProducer();
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        producer.setMaxMessageSize(maxMessageSize);
        producer.start();
        return producer;
    }

    private static byte[] randomBytes(int length) {
        byte[] bytes = new byte[length];
        new Random(length).nextBytes(bytes);
        return bytes;
    }

    static List<String> bodies(List<MessageExt> messages) {
        return messages.stream().map(message -> new String(message.getBody(), UTF_8)).toList();
    }

    static List<String> numbered(String prefix, int count) {
        List<String> names = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            names.add(prefix + i);
        }
        return names;
    }
}
