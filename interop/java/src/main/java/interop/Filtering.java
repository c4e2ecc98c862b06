package interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

final class Filtering {
    private static final int SUBSCRIPTION_PARSE_FAILED = 23;
    private static final String[] CITIES = {"杭州", "北京", "it's"};

    private Filtering() {}

    static void scenarios(Suite suite) {
        suite.area("filter")
            .fact("SQL92: push consumers get what their expressions say of numbers, texts, booleans and what is missing", Filtering::push)
            .fact("SQL92: pull brings an expression along", Filtering::pull)
            .fact("SQL92: a message that failed comes again", Filtering::retry)
            .fact("SQL92: a waiting consumer has the one message in a thousand that it wants", Filtering::rare)
            .fact("SQL92: a wrong expression is refused at start with code 23", Filtering::wrong)
            .unless(LitePulling::notApplicable)
            .fact("SQL92: lite pull consumers get what their expression says", Filtering::litePull)
            .unless(() -> Interop.againstApache() ? "Apache's broker runs no filter programs" : null)
            .fact("filter program: a push consumer gets what its group's program keeps, also of packed bodies, and what failed comes again", Filtering::program);
    }

    /** What a message's properties are made of; every fifth has none of them. */
    private record Order(int n) {
        boolean bare() {
            return n % 5 == 4;
        }

        String city() {
            return CITIES[n % 3];
        }

        double price() {
            return n + 0.5;
        }

        Message message(String topic) {
            Message message = new Message(topic, "tag" + n % 2, "k" + n, ("order " + n).getBytes(UTF_8));
            if (!bare()) {
                message.putUserProperty("n", String.valueOf(n));
                message.putUserProperty("price", String.valueOf(price()));
                message.putUserProperty("big", String.valueOf(3_000_000_000L + n));
                message.putUserProperty("vip", String.valueOf(n % 2 == 0));
                message.putUserProperty("city", city());
            }
            return message;
        }
    }

    private static final Map<String, Predicate<Order>> EXPRESSIONS = new LinkedHashMap<>();

    static {
        EXPRESSIONS.put("n > 10 AND city = '杭州'", order -> !order.bare() && order.n > 10 && order.city().equals("杭州"));
        EXPRESSIONS.put("price BETWEEN 3.5 AND 20.5 or n not between 0 and 49",
            order -> !order.bare() && (order.price() >= 3.5 && order.price() <= 20.5 || order.n > 49));
        EXPRESSIONS.put("city IN ('it''s', '北京') AND vip = TRUE",
            order -> !order.bare() && !order.city().equals("杭州") && order.n % 2 == 0);
        EXPRESSIONS.put("n IS NULL OR big >= 3000000055", order -> order.bare() || order.n >= 55);
        EXPRESSIONS.put("NOT (TAGS = 'tag1') AND n IS NOT NULL", order -> order.n % 2 == 0 && !order.bare());
        // what is missing is neither equal nor unequal; what is no whole number matches nothing
        EXPRESSIONS.put("city <> '杭州' AND -1 < n", order -> !order.bare() && !order.city().equals("杭州"));
        EXPRESSIONS.put("price > 5", order -> false);
    }

    private static Set<String> bodies(Collection<MessageExt> messages) {
        return messages.stream().map(message -> new String(message.getBody(), UTF_8)).collect(Collectors.toSet());
    }

    private static Set<String> expected(int count, Predicate<Order> wanted) {
        return java.util.stream.IntStream.range(0, count).mapToObj(Order::new).filter(wanted).map(order -> "order " + order.n)
            .collect(Collectors.toSet());
    }

    private static List<MessageExt> consume(Mq mq, String topic, String expression) throws Exception {
        List<MessageExt> messages = Collections.synchronizedList(new ArrayList<>());
        DefaultMQPushConsumer consumer = mq.pushConsumer(Mq.fresh("G"));
        consumer.subscribe(topic, MessageSelector.bySql(expression));
        consumer.registerMessageListener((MessageListenerConcurrently) (some, context) -> {
            messages.addAll(some);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return messages;
    }

    private static void push(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Sql", 2);
        Map<String, List<MessageExt>> consumed = new LinkedHashMap<>();
        for (String expression : EXPRESSIONS.keySet()) {
            consumed.put(expression, consume(mq, topic, expression));
        }
        for (int n = 0; n < 60; n++) {
            producer.send(new Order(n).message(topic));
        }
        for (Map.Entry<String, List<MessageExt>> one : consumed.entrySet()) {
            Set<String> expected = expected(60, EXPRESSIONS.get(one.getKey()));
            Mq.awaitExactly(one.getValue(), expected.size(), "messages with " + one.getKey());
            Check.equal(bodies(one.getValue()), expected, "messages with " + one.getKey());
        }
    }

    private static void pull(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "SqlPull", 1);
        for (int n = 0; n < 60; n++) {
            producer.send(new Order(n).message(topic));
        }
        DefaultMQPullConsumer consumer = mq.puller(Mq.fresh("G"));
        MessageQueue queue = Mq.queues(producer, topic).get(0);
        Mq.await("all are there", () -> consumer.maxOffset(queue) == 60);
        // The client does not ask a broker that has not told its version in the answer to a heartbeat.
        Mq.await("the client knows that the broker can filter", () -> {
            try {
                return consumer.pull(queue, MessageSelector.bySql("TRUE"), 0, 1) != null;
            } catch (MQClientException notYet) {
                Api.heartbeat(consumer);
                return false;
            }
        });
        for (Map.Entry<String, Predicate<Order>> one : EXPRESSIONS.entrySet()) {
            List<MessageExt> got = new ArrayList<>();
            for (long next = 0; next < 60; ) {
                PullResult pulled = consumer.pull(queue, MessageSelector.bySql(one.getKey()), next, 7);
                Check.that(pulled.getNextBeginOffset() > next, "a pull gets on, but: " + pulled);
                if (pulled.getMsgFoundList() != null) {
                    got.addAll(pulled.getMsgFoundList());
                }
                next = pulled.getNextBeginOffset();
            }
            Set<String> expected = expected(60, one.getValue());
            Check.equal(got.size(), expected.size(), "count of messages with " + one.getKey());
            Check.equal(bodies(got), expected, "messages with " + one.getKey());
        }
    }

    private static void retry(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "SqlRetry", 1);
        Map<String, Integer> times = new ConcurrentHashMap<>();
        DefaultMQPushConsumer consumer = mq.pushConsumer(mq.knownGroup("G", topic));
        consumer.subscribe(topic, MessageSelector.bySql("n >= 2"));
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            boolean first = false;
            for (MessageExt message : messages) {
                first |= times.merge(new String(message.getBody(), UTF_8), 1, Integer::sum) == 1;
            }
            return first ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        for (int n = 0; n < 4; n++) {
            producer.send(new Order(n).message(topic));
        }
        Mq.await("both come twice", () -> times.equals(Map.of("order 2", 2, "order 3", 2)));
    }

    private static void rare(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "SqlRare", 1);
        List<MessageExt> got = consume(mq, topic, "n = 999 OR n = 1999");
        for (int n = 0; n < 2000; n += 50) {
            List<Message> batch = new ArrayList<>();
            for (int i = n; i < n + 50; i++) {
                Message message = new Message(topic, ("order " + i).getBytes(UTF_8));
                message.putUserProperty("n", String.valueOf(i));
                batch.add(message);
            }
            producer.send(batch);
        }
        Mq.awaitExactly(got, 2, "rare messages");
        Check.equal(bodies(got), Set.of("order 999", "order 1999"), "messages");
        List<MessageExt> late = consume(mq, topic, "n = 999 OR n = 1999");
        Mq.awaitExactly(late, 2, "rare messages to one that came later");
    }

    private static void wrong(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "SqlWrong", 1);
        for (String expression : List.of("n > 'a'", "n = ", "n = NULL", "(n > 1", "\"n\" = 1", "n = 0.0")) {
            DefaultMQPushConsumer consumer = mq.pushConsumer(Mq.fresh("G"));
            consumer.subscribe(topic, MessageSelector.bySql(expression));
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
            MQClientException refused = Check.thrown(MQClientException.class, () -> {
                consumer.start();
                return null;
            }, "a consumer with " + expression);
            Check.equal(refused.getResponseCode(), SUBSCRIPTION_PARSE_FAILED, "code for " + expression);
        }
    }

    private static final int PUT_FILTER_PROGRAM = 90_020;

    /** The example keeps what has an amount of at least 100, or "urgent" in its body. */
    private static void program(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Program", 2);
        String group = mq.knownGroup("G", topic);
        Path classes = Path.of(Filtering.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        Path root = classes;
        while (!Files.exists(root.resolve("examples/filter/filter.wasm"))) {
            root = root.getParent();
        }
        byte[] module = Files.readAllBytes(root.resolve("examples/filter/filter.wasm"));
        Raw.Answer put = Raw.ask(Interop.broker, PUT_FILTER_PROGRAM, Map.of("consumerGroup", group, "topic", topic), module);
        Check.equal(put.code(), 0, "code of the put, " + put.remark());

        Map<String, Integer> times = new ConcurrentHashMap<>();
        DefaultMQPushConsumer consumer = mq.pushConsumer(group);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            boolean again = false;
            for (MessageExt message : messages) {
                String key = message.getKeys();
                again |= times.merge(key, 1, Integer::sum) == 1 && key.equals("k199");
            }
            return again ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.setConsumeMessageBatchMaxSize(1);
        consumer.start();
        Map<String, Integer> expected = new LinkedHashMap<>();
        String padding = "-".repeat(20_000);
        for (int n = 0; n < 200; n++) {
            boolean urgent = n % 20 == 7;
            Message message = new Message(topic, "", "k" + n, (padding.substring(0, n % 3 * 10_000) + (urgent ? "urgent" : "later")).getBytes(UTF_8));
            message.putUserProperty("amount", String.valueOf(n));
            producer.send(message);
            if (n >= 100 || urgent) {
                expected.put("k" + n, n == 199 ? 2 : 1);
            }
        }
        Mq.await("what the program keeps, once, and k199 twice", () -> times.equals(expected));
        Mq.nap(300);
        Check.equal(times, expected, "what came");
    }

    private static void litePull(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "SqlLite", 2);
        for (int n = 0; n < 60; n++) {
            producer.send(new Order(n).message(topic));
        }
        for (Map.Entry<String, Predicate<Order>> one : EXPRESSIONS.entrySet()) {
            DefaultLitePullConsumer consumer = LitePulling.consumer(mq, Mq.fresh("G"));
            consumer.subscribe(topic, MessageSelector.bySql(one.getKey()));
            consumer.start();
            Set<String> expected = expected(60, one.getValue());
            Check.equal(bodies(LitePulling.poll(consumer, expected.size())), expected, "messages with " + one.getKey());
            consumer.shutdown();
        }
    }
}
