package interop;

import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * The life of an application whose broker is exchanged under it: `store_exchange.py` tells when.
 *
 * <pre>
 * Moving begin   NAMESRV HOME ROUND WAYS  fills the store (StoreMaker), groups consume a part
 * Moving prepare NAMESRV HOME ROUND WAYS  sends a transaction that stays open: for Apache's brokers
 * Moving found   NAMESRV HOME ROUND WAYS  writes down what this round's server holds:  HOME/ROUND-found.jsonl
 * Moving goOn    NAMESRV HOME ROUND WAYS  groups go on exactly where they were, producers write more
 * Moving commit  NAMESRV HOME ROUND WAYS  the open transaction is asked about, and is committed
 * Moving held    NAMESRV HOME ROUND WAYS  writes down what it holds now:                HOME/ROUND-held.jsonl
 * Moving leave   NAMESRV HOME ROUND WAYS  what is acknowledged just before the end:     HOME/ROUND-left.jsonl
 * </pre>
 *
 * Message for message: `held` and `found` read every queue from its first to its last offset, and each message again in
 * the WAYS that are given, with commas between: by its `id`, by its `keys`, by the `time` at which it was stored.
 */
public final class Moving {
    private static final String RETRY = "%RETRY%Failing";
    private static final int PER_ROUND = 5;

    private final Mq mq;
    private final Path home;
    private final int round;

    private final List<String> ways;

    private Moving(Mq mq, Path home, int round, List<String> ways) {
        this.mq = mq;
        this.home = home;
        this.round = round;
        this.ways = ways;
    }

    public static void main(String[] arguments) throws Exception {
        try (Mq mq = new Mq(arguments[1])) {
            new Moving(mq, Path.of(arguments[2]), Integer.parseInt(arguments[3]), List.of(arguments[4].split(","))).act(arguments[0]);
        }
        System.exit(0);
    }

    private void act(String verb) throws Exception {
        switch (verb) {
            case "begin" -> begin();
            case "prepare" -> prepare();
            case "goOn" -> goOn();
            case "commit" -> commit();
            case "found", "held" -> {
                try (PrintStream out = new PrintStream(Files.newOutputStream(file(verb)), false, StandardCharsets.UTF_8)) {
                    dump(out);
                }
            }
            case "leave" -> {
                try (PrintStream out = new PrintStream(Files.newOutputStream(file("left")), false, StandardCharsets.UTF_8)) {
                    leave(out);
                }
            }
            default -> throw new IllegalArgumentException(verb);
        }
    }

    private Path file(String name) {
        return home.resolve(round + "-" + name + ".jsonl");
    }

    // ------------------------------------------------------------ begin

    private void begin() throws Exception {
        new StoreMaker(mq).write();
        DefaultMQProducer producer = mq.producer();
        mq.topicNamed(producer, "Steps", 2);
        mq.topicNamed(producer, "News", 1);
        DefaultMQPullConsumer reader = mq.puller("Reader");
        Mq.await("the delayed messages of level 5", () -> reader.maxOffset(new MessageQueue("Delayed", StoreMaker.BROKER, 0)) == 5);
        steps(producer);
        news(producer);
    }

    /** One transaction is committed at once, one stays open until `commit`. */
    private void prepare() throws Exception {
        DefaultMQProducer producer = mq.producer();
        mq.topicNamed(producer, "Paid", 1);
        TransactionMQProducer payer = payer(LocalTransactionState.UNKNOW);
        for (int i = 0; i < 2; i++) {
            payer.sendMessageInTransaction(message("Paid", "", "half-" + i, "paid " + i), null);
        }
        payer.shutdown();
        awaitEnd("Paid", 0, 1);
    }

    private void commit() throws Exception {
        // A client that never sent knows no broker, and none knows it.
        long plain = payer(LocalTransactionState.COMMIT_MESSAGE).send(message("Paid", "", "plain", "no transaction")).getQueueOffset();
        Check.that(plain >= 1, "an offset behind the first transaction: " + plain);
        // Apache's brokers put a half message back until they have noted its end, and may commit it more than once.
        DefaultMQPullConsumer reader = mq.puller("Reader");
        MessageQueue paid = new MessageQueue("Paid", StoreMaker.BROKER, 0);
        Mq.await("the open transaction is committed", () -> Mq.readAll(reader, paid, 1, 1).stream().anyMatch(message -> message.getKeys().equals("half-1")));
    }

    private TransactionMQProducer payer(LocalTransactionState whenAsked) throws Exception {
        TransactionMQProducer payer = new TransactionMQProducer("Payer");
        payer.setNamesrvAddr(mq.namesrv);
        payer.setInstanceName(Mq.fresh("i"));
        payer.setHeartbeatBrokerInterval(1000);
        payer.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
                return message.getKeys().equals("half-0") ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.UNKNOW;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                return whenAsked;
            }
        });
        mq.atEnd(payer::shutdown);
        payer.start();
        return payer;
    }

    // ------------------------------------------------------------ go on

    private void goOn() throws Exception {
        DefaultMQProducer producer = mq.producer();
        DefaultMQPullConsumer reader = mq.puller("Reader");
        // What waited when the server before ended, comes once, in the round after.
        Mq.await("the delayed messages of the round before", () -> reader.maxOffset(new MessageQueue("Delayed", StoreMaker.BROKER, 0)) >= 5 + 2L * round);
        retried("retry-" + (round - 1));

        List<MessageQueue> orders = mq.queuesOf(producer, "Orders", 4);
        long end = reader.maxOffset(orders.get(0));
        long sent = producer.send(message("Orders", "more", "more-" + round, "an order of round " + round), orders.get(0)).getQueueOffset();
        Check.equal(sent, end, "queue offset of the next order");
        for (int i = 0; i < 20; i++) {
            producer.send(message("Orders", "more", "more-" + round + "-" + i, "order " + i + " of round " + round), orders.get(i % 4));
        }
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            batch.add(message("Batches", "r" + round, "batch-r" + round + "-" + i, "message " + i + " of round " + round));
        }
        producer.send(batch, mq.queuesOf(producer, "Batches", 2).get(0));
        producer.send(message("Compressed", "", "compressed-r" + round, ("round " + round + " 压缩\n").repeat(600)));
        mq.topicNamed(producer, "Round-" + round, 1);
        producer.send(message("Round-" + round, "", "new-" + round, "a topic of round " + round));
        steps(producer);
        news(producer);
    }

    /** Group Failing gets the message that waited for its retry, and nothing else. */
    private void retried(String key) throws Exception {
        List<String> got = Collections.synchronizedList(new ArrayList<>());
        DefaultMQPushConsumer consumer = mq.pushConsumer("Failing");
        consumer.subscribe("Failing", "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> got.add(message.getKeys() + "/" + message.getReconsumeTimes()));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Mq.awaitExactly(got, 1, "retried message");
        Check.equal(got.get(0), key + "/1", "what group Failing gets");
        MessageQueue retries = new MessageQueue(RETRY, StoreMaker.BROKER, 0);
        Mq.finish(consumer, Map.of(retries, mq.puller("Reader").maxOffset(retries)));
    }

    /** An ordered group takes a few messages of each queue, and the next ones in the next round. */
    private void steps(DefaultMQProducer producer) throws Exception {
        List<MessageQueue> queues = mq.queuesOf(producer, "Steps", 2);
        int from = PER_ROUND * round;
        for (MessageQueue queue : queues) {
            for (int i = from; i < from + 2 * PER_ROUND; i++) {
                producer.send(message("Steps", "", "step-" + round + "-" + queue.getQueueId() + "-" + i, "step " + i), queue);
            }
        }
        Map<Integer, List<Long>> done = new ConcurrentHashMap<>();
        DefaultMQPushConsumer consumer = mq.pushConsumer("Stepwise");
        consumer.subscribe("Steps", "*");
        consumer.setConsumeMessageBatchMaxSize(1);
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            List<Long> queue = done.computeIfAbsent(messages.get(0).getQueueId(), id -> Collections.synchronizedList(new ArrayList<>()));
            if (queue.size() == PER_ROUND) {
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            }
            queue.add(messages.get(0).getQueueOffset());
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        Mq.await("five steps of each queue", () -> done.size() == 2 && done.values().stream().allMatch(queue -> queue.size() == PER_ROUND));
        Mq.finish(consumer, Map.of(queues.get(0), (long) from + PER_ROUND, queues.get(1), (long) from + PER_ROUND));
        for (List<Long> queue : done.values()) {
            for (int i = 0; i < PER_ROUND; i++) {
                Check.equal(queue.get(i), (long) from + i, "step " + i + " of round " + round + " in " + queue);
            }
        }
    }

    /** A broadcast group keeps its offsets at the client: it gets the news of this round, and no older. */
    private void news(DefaultMQProducer producer) throws Exception {
        MessageQueue queue = mq.queuesOf(producer, "News", 1).get(0);
        for (int i = 0; i < 3; i++) {
            producer.send(message("News", "", "news-" + round + "-" + i, "news " + i), queue);
        }
        List<Long> got = Collections.synchronizedList(new ArrayList<>());
        DefaultMQPushConsumer consumer = mq.pushConsumer("Everyone");
        Api.setBroadcasting(consumer);
        consumer.setInstanceName("everyone");
        consumer.subscribe("News", "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> got.add(message.getQueueOffset()));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Mq.awaitExactly(got, 3, "news of round " + round);
        consumer.shutdown();
        Collections.sort(got);
        Check.equal(got, List.of(3L * round, 3L * round + 1, 3L * round + 2), "news of round " + round);
    }

    // ------------------------------------------------------------ leave

    /** A failed message that waits for its retry, two delayed ones, and the last words to each topic. */
    private void leave(PrintStream out) throws Exception {
        DefaultMQProducer producer = mq.producer();
        MessageQueue failing = mq.queuesOf(producer, "Failing", 1).get(0);
        DefaultMQPullConsumer schedule = mq.puller("Reader");
        MessageQueue waiting = new MessageQueue("SCHEDULE_TOPIC_XXXX", StoreMaker.BROKER, 3);
        long before = schedule.maxOffset(waiting);
        List<String> got = Collections.synchronizedList(new ArrayList<>());
        DefaultMQPushConsumer consumer = mq.pushConsumer("Failing");
        consumer.subscribe("Failing", "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> got.add(message.getKeys()));
            context.setDelayLevelWhenNextConsume(4);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        long failed = producer.send(message("Failing", "f", "retry-" + round, "fails in round " + round)).getQueueOffset();
        Mq.await("the message waits for its retry", () -> schedule.maxOffset(waiting) == before + 1);
        Mq.finish(consumer, Map.of(failing, failed + 1));
        Check.equal(got, List.of("retry-" + round), "what group Failing got");

        DefaultMQPullConsumer billing = mq.puller("Billing");
        for (MessageQueue queue : mq.queuesOf(producer, "Orders", 4)) {
            long offset = 10 + 5L * round + queue.getQueueId();
            billing.getDefaultMQPullConsumerImpl().getOffsetStore().updateConsumeOffsetToBroker(queue, offset, false);
        }
        for (int i = 0; i < 2; i++) {
            Message delayed = message("Delayed", "level-4", "left-" + round + "-" + i, "delayed in round " + round);
            delayed.setDelayTimeLevel(4);
            producer.send(delayed);
        }
        for (String topic : List.of("Orders", "Payments", "Chinese", "Empty")) {
            for (MessageQueue queue : mq.queuesOf(producer, topic, topic.equals("Orders") ? 4 : topic.equals("Empty") ? 2 : 1)) {
                Message last = message(topic, "last", "last-" + round + "-" + queue.getQueueId(), "the last words of round " + round);
                SendResult sent = producer.send(last, queue);
                out.println(new Json().put("kind", "left").put("topic", topic).put("queueId", queue.getQueueId())
                    .put("queueOffset", sent.getQueueOffset()).put("offsetMsgId", sent.getOffsetMsgId())
                    .put("keys", last.getKeys()).put("bodySha256", Dump.sha256(last.getBody())));
            }
        }
        groups(out);
    }

    private static Message message(String topic, String tags, String keys, String body) {
        return new Message(topic, tags, keys, body.getBytes(StandardCharsets.UTF_8));
    }

    private void awaitEnd(String topic, int queueId, long end) throws Exception {
        DefaultMQPullConsumer reader = mq.puller("Reader");
        Mq.await(topic + " reaches " + end, () -> reader.maxOffset(new MessageQueue(topic, StoreMaker.BROKER, queueId)) >= end);
    }

    // ------------------------------------------------------------ what it holds

    private void dump(PrintStream out) throws Exception {
        DefaultMQPullConsumer reader = mq.puller("Reader");
        mq.queuesOf(mq.producer(), StoreMaker.LONG, 1);
        awaitEnd(StoreMaker.LONG, 0, 1);
        Dump dump = new Dump(reader, StoreMaker.BROKER, out).in(ways);
        dump.topic("Orders", 4);
        dump.topic("Payments", 1);
        dump.topic("Chinese", 1);
        dump.topic("Batches", 2);
        dump.topic("Compressed", 1);
        dump.topic("Failing", 1);
        dump.topic(RETRY, 1);
        dump.topic("%DLQ%Failing", 1);
        dump.topic("Delayed", 1);
        dump.topic("Empty", 2);
        dump.topic("Steps", 2);
        dump.topic("News", 1);
        dump.topic("Paid", 1);
        for (int earlier = 1; earlier <= round; earlier++) {
            dump.topic("Round-" + earlier, 1);
        }
        dump.topic(StoreMaker.LONG, 1);
        dump.topic("SCHEDULE_TOPIC_XXXX", StoreMaker.DELAY_QUEUES);
        groups(out);
    }

    private void groups(PrintStream out) throws Exception {
        new Dump(mq.puller("Billing"), StoreMaker.BROKER, out).offsets("Billing", "Orders", 4);
        Dump failing = new Dump(mq.puller("Failing"), StoreMaker.BROKER, out);
        failing.offsets("Failing", "Failing", 1);
        failing.offsets("Failing", RETRY, 1);
        new Dump(mq.puller("Stepwise"), StoreMaker.BROKER, out).offsets("Stepwise", "Steps", 2);
    }
}
