package interop;

import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Fills a store with a little of everything that a 4.x or 5.x application leaves behind, and writes down what it holds.
 *
 * <pre>
 * StoreMaker write NAMESRV               fills the store through a producer and consumers
 * StoreMaker more  NAMESRV               goes on with a store that was filled before
 * StoreMaker dump  NAMESRV FILE          reads every queue back, one JSON object a line
 * </pre>
 *
 * <table>
 *   <tr><td>Orders        <td>4 queues, 240 messages with keys and tags; group Billing has committed offsets
 *   <tr><td>Payments      <td>1 queue, 250 messages: crosses consume queue files
 *   <tr><td>Chinese       <td>bodies, keys, tags and properties in Chinese and emoji
 *   <tr><td>Batches       <td>batches of 10 and of 3
 *   <tr><td>Compressed    <td>bodies of 8 KiB, stored compressed
 *   <tr><td>Delayed       <td>2 delivered after 1 s, 3 of level 5 (1 minute) still waiting, 1 of level 18
 *   <tr><td>Failing       <td>group Failing: one message dead-lettered after a retry, one waiting for its retry (2 h), rest done
 *   <tr><td>Empty         <td>a topic without messages
 *   <tr><td>Long…         <td>a topic name of 127 letters
 * </table>
 */
public final class StoreMaker {
    static final String BROKER = "broker-a";
    static final String LONG = "Long" + "g".repeat(123);
    static final int DELAY_QUEUES = 18;

    private final Mq mq;

    StoreMaker(Mq mq) {
        this.mq = mq;
    }

    public static void main(String[] arguments) throws Exception {
        try (Mq mq = new Mq(arguments[1])) {
            StoreMaker maker = new StoreMaker(mq);
            switch (arguments[0]) {
                case "write" -> maker.write();
                case "more" -> maker.more();
                case "dump" -> {
                    try (PrintStream out = new PrintStream(new FileOutputStream(arguments[2]), false, StandardCharsets.UTF_8)) {
                        maker.dump(out);
                    }
                }
                default -> throw new IllegalArgumentException(arguments[0]);
            }
        }
        System.exit(0);
    }

    // ------------------------------------------------------------ write

    void write() throws Exception {
        DefaultMQProducer producer = mq.producer();
        mq.topicNamed(producer, "Empty", 2);
        mq.makeKnown("Billing", "Empty");
        orders(producer);
        payments(producer);
        chinese(producer);
        batches(producer);
        compressed(producer);
        failing(producer);
        delayed(producer);
        mq.topicNamed(producer, LONG, 1);
        producer.send(message(LONG, "", "long-0", "a message of a topic with a long name"));
        commitOffsets(producer);
    }

    private void orders(DefaultMQProducer producer) throws Exception {
        mq.topicNamed(producer, "Orders", 4);
        List<MessageQueue> queues = Mq.queues(producer, "Orders");
        String[] tags = {"created", "paid", "shipped"};
        for (int i = 0; i < 240; i++) {
            Message message = message("Orders", tags[i % 3], "order-" + i + " customer-" + i % 7, "order " + i + " " + "x".repeat(i * 5));
            message.putUserProperty("amount", String.valueOf(i * 100));
            message.setFlag(i % 2);
            producer.send(message, queues.get(i % 4));
        }
    }

    private void payments(DefaultMQProducer producer) throws Exception {
        mq.topicNamed(producer, "Payments", 1);
        for (int i = 0; i < 250; i++) {
            producer.send(message("Payments", "", "payment-" + i, "payment " + i));
        }
    }

    private void chinese(DefaultMQProducer producer) throws Exception {
        mq.topicNamed(producer, "Chinese", 1);
        String[] bodies = {"订单已支付", "您好,世界 🌏", "混合 mixed 文本 𠮷野家", "🚀🚀🚀"};
        for (int i = 0; i < bodies.length; i++) {
            Message message = message("Chinese", "标签", "键-" + i, bodies[i]);
            message.putUserProperty("城市", "杭州");
            message.putUserProperty("emoji", "👍🏽");
            producer.send(message);
        }
    }

    private void batches(DefaultMQProducer producer) throws Exception {
        mq.topicNamed(producer, "Batches", 2);
        List<MessageQueue> queues = Mq.queues(producer, "Batches");
        int[] sizes = {10, 3};
        for (int batch = 0; batch < sizes.length; batch++) {
            List<Message> messages = new ArrayList<>();
            for (int i = 0; i < sizes[batch]; i++) {
                messages.add(message("Batches", "b" + batch, "batch-" + batch + "-" + i, "message " + i + " of batch " + batch));
            }
            producer.send(messages, queues.get(batch));
        }
    }

    private void compressed(DefaultMQProducer producer) throws Exception {
        mq.topicNamed(producer, "Compressed", 1);
        for (int i = 0; i < 3; i++) {
            producer.send(message("Compressed", "", "compressed-" + i, ("line " + i + " 压缩\n").repeat(600)));
        }
    }

    private void delayed(DefaultMQProducer producer) throws Exception {
        mq.topicNamed(producer, "Delayed", 1);
        int[] levels = {1, 1, 5, 5, 5, 18};
        for (int i = 0; i < levels.length; i++) {
            Message message = message("Delayed", "level-" + levels[i], "delayed-" + i, "delayed " + i);
            message.setDelayTimeLevel(levels[i]);
            producer.send(message);
        }
        DefaultMQPullConsumer puller = mq.puller("Reader");
        Mq.await("two delayed messages delivered", () -> puller.maxOffset(new MessageQueue("Delayed", BROKER, 0)) == 2);
    }

    /** Of six messages number 0 goes to the dead letters after one retry, number 1 waits two hours for its retry. */
    private void failing(DefaultMQProducer producer) throws Exception {
        mq.topicNamed(producer, "Failing", 1);
        mq.makeKnown("Failing", "Failing");
        for (int i = 0; i < 6; i++) {
            Message message = message("Failing", "f", "failing-" + i, "failing " + i);
            message.putUserProperty("origin", "here");
            producer.send(message);
        }
        Set<String> seen = ConcurrentHashMap.newKeySet();
        DefaultMQPushConsumer consumer = mq.pushConsumer("Failing");
        consumer.subscribe("Failing", "*");
        consumer.setMaxReconsumeTimes(1);
        consumer.setConsumeMessageBatchMaxSize(1);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            String key = messages.get(0).getKeys();
            seen.add(key + "/" + messages.get(0).getReconsumeTimes());
            if (key.equals("failing-0") || key.equals("failing-1")) {
                context.setDelayLevelWhenNextConsume(key.equals("failing-0") ? 1 : 18);
                return ConsumeConcurrentlyStatus.RECONSUME_LATER;
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        DefaultMQPullConsumer puller = mq.puller("Reader");
        Mq.await("7 deliveries", () -> seen.size() == 7);
        Mq.await("a dead letter", () -> {
            try {
                return puller.maxOffset(new MessageQueue("%DLQ%Failing", BROKER, 0)) == 1;
            } catch (Exception noTopicYet) {
                return false;
            }
        });
        Mq.finish(consumer, Map.of(new MessageQueue("Failing", BROKER, 0), 6L, new MessageQueue("%RETRY%Failing", BROKER, 0), 1L));
    }

    private void commitOffsets(DefaultMQProducer producer) throws Exception {
        DefaultMQPullConsumer billing = mq.puller("Billing");
        for (MessageQueue queue : Mq.queues(producer, "Orders")) {
            billing.getDefaultMQPullConsumerImpl().getOffsetStore().updateConsumeOffsetToBroker(queue, 10 + queue.getQueueId(), false);
        }
    }

    // ------------------------------------------------------------ more

    /** Queue offsets go on where they were, and so does group Billing. */
    private void more() throws Exception {
        DefaultMQProducer producer = mq.producer();
        Mq.awaitRoute(producer, "Orders", 4);
        List<MessageQueue> queues = Mq.queues(producer, "Orders");
        for (int i = 240; i < 260; i++) {
            long offset = producer.send(message("Orders", "more", "order-" + i, "order " + i), queues.get(i % 4)).getQueueOffset();
            Check.equal(offset, i / 4L, "queue offset of order " + i);
        }
        DefaultMQPullConsumer billing = mq.puller("Billing");
        Check.equal(billing.fetchConsumeOffset(queues.get(0), true), 10L, "committed offset of Billing");
        billing.getDefaultMQPullConsumerImpl().getOffsetStore().updateConsumeOffsetToBroker(queues.get(0), 20, false);
    }

    private static Message message(String topic, String tags, String keys, String body) {
        return new Message(topic, tags, keys, body.getBytes(StandardCharsets.UTF_8));
    }

    // ------------------------------------------------------------ dump

    private void dump(PrintStream out) throws Exception {
        DefaultMQPullConsumer reader = mq.puller("Reader");
        Mq.await("the queues are complete", () -> reader.maxOffset(new MessageQueue(LONG, BROKER, 0)) == 1);
        Dump dump = new Dump(reader, BROKER, out);
        dump.topic("Orders", 4);
        dump.topic("Payments", 1);
        dump.topic("Chinese", 1);
        dump.topic("Batches", 2);
        dump.topic("Compressed", 1);
        dump.topic("Failing", 1);
        dump.topic("%RETRY%Failing", 1);
        dump.topic("%DLQ%Failing", 1);
        dump.topic("Delayed", 1);
        dump.topic("Empty", 2);
        dump.topic(LONG, 1);
        dump.topic("SCHEDULE_TOPIC_XXXX", DELAY_QUEUES);
        dump.key("Orders", "order-17");
        dump.key("Orders", "customer-3");
        dump.key("Payments", "payment-249");
        dump.key("Chinese", "键-2");
        dump.key("Batches", "batch-0-9");
        dump.key("%DLQ%Failing", "failing-0");
        new Dump(mq.puller("Billing"), BROKER, out).offsets("Billing", "Orders", 4);
        new Dump(mq.puller("Failing"), BROKER, out).offsets("Failing", "Failing", 1);
        new Dump(mq.puller("Failing"), BROKER, out).offsets("Failing", "%RETRY%Failing", 1);
    }
}
