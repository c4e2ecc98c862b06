package interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Order of keys within a queue, as groups of CometMQ may have it: a key is parked, members share a queue. */
final class Keeping {
    private static final int KEYS = 6;
    private static final int PARK = 90_047;
    private static final int PARKED = 90_048;
    private static final int RELEASE = 90_049;

    private Keeping() {}

    static void scenarios(Suite suite) {
        suite.area("order of keys")
            .unless(() -> Interop.againstApache() ? "Apache's broker knows no keys: a message holds up its queue, or is dead-lettered" : null)
            .fact("a poison message is parked with its key, other keys go on; released, its key comes in order", Keeping::parked)
            .fact("what is parked stays so when the broker is killed, and is released then", Keeping::parkedOverKill)
            .fact("a member that holds so much that it does not pull lets go of a parked key, too", Keeping::parkedInHand)
            .fact("an operator parks what a consumer without an end of attempts is stuck at", Keeping::parkedByOperator)
            .fact("who consumes concurrently has dead letters, though its group parks", Keeping::notParked)
            .fact("two members consume one queue, each its own keys, each key in order; one leaves, and the other has all", Keeping::shared)
            .fact("members that share a queue go on with their keys when the broker is killed", Keeping::sharedOverKill);
    }

    /** What was consumed, by key: k3 → 0, 1, 2… */
    private static final class History {
        final Map<String, List<Integer>> steps = new ConcurrentHashMap<>();
        final Map<String, AtomicInteger> busy = new ConcurrentHashMap<>();
        final AtomicInteger overlaps = new AtomicInteger();

        void add(MessageExt message, int millis) {
            AtomicInteger inside = busy.computeIfAbsent(message.getKeys(), key -> new AtomicInteger());
            if (inside.incrementAndGet() > 1) {
                overlaps.incrementAndGet();
            }
            if (millis > 0) {
                Mq.nap(millis);
            }
            steps.computeIfAbsent(message.getKeys(), key -> Collections.synchronizedList(new ArrayList<>())).add(step(message));
            inside.decrementAndGet();
        }

        int highest(String key) {
            List<Integer> list = steps.get(key);
            return list == null ? -1 : List.copyOf(list).stream().max(Integer::compare).orElse(-1);
        }

        boolean others(int last) {
            for (int key = 1; key < KEYS; key++) {
                if (highest("k" + key) != last) {
                    return false;
                }
            }
            return true;
        }

        /** Each step follows its predecessor; some may come again. */
        void checkOrder(int last) {
            Check.equal(overlaps.get(), 0, "times that a key was consumed by two at a time");
            Check.equal(steps.size(), KEYS, "keys");
            steps.forEach((key, list) -> {
                int highest = -1;
                for (int step : list) {
                    Check.that(step <= highest + 1, key + " without gaps, but: " + list);
                    highest = Math.max(highest, step);
                }
                Check.equal(highest, last, "last step of " + key);
            });
        }
    }

    private static int step(MessageExt message) {
        return Integer.parseInt(new String(message.getBody(), UTF_8));
    }

    private static void send(DefaultMQProducer producer, String topic, int from, int to) throws Exception {
        for (int step = from; step < to; step++) {
            for (int key = 0; key < KEYS; key++) {
                Message message = new Message(topic, "", "k" + key, String.valueOf(step).getBytes(UTF_8));
                producer.send(message, (queues, m, argument) -> queues.get(0), key);
            }
        }
    }

    private static String group(String attribute) throws Exception {
        String group = Mq.fresh("G");
        String body = "{\"groupName\":\"" + group + "\",\"attributes\":{\"+" + attribute + "\":\"true\"}}";
        Raw.Answer answer = Raw.ask(Interop.broker, 200, Map.of(), body.getBytes(UTF_8));
        Check.equal(answer.code(), 0, "code for " + attribute + ", " + answer.remark());
        return group;
    }

    private static String listed(String group) throws Exception {
        return Raw.ask(Interop.broker, PARKED, Map.of("group", group, "maxNum", "1000"), new byte[0]).body();
    }

    private static void release(String group, String topic) throws Exception {
        Raw.Answer answer = Raw.ask(Interop.broker, RELEASE, Map.of("group", group, "topic", topic), new byte[0]);
        Check.equal(answer.code(), 0, "code of the release, " + answer.remark());
    }

    private static DefaultMQPushConsumer consumer(Mq mq, String group, String topic) throws Exception {
        DefaultMQPushConsumer consumer = mq.pushConsumer(group);
        consumer.subscribe(topic, "*");
        consumer.setConsumeMessageBatchMaxSize(1);
        consumer.setSuspendCurrentQueueTimeMillis(100);
        return consumer;
    }

    /** Works at everything but step 3 of k0, while that is broken. */
    private static MessageListenerOrderly poisoned(History history, AtomicBoolean broken) {
        return (messages, context) -> {
            MessageExt message = messages.get(0);
            if (broken.get() && message.getKeys().equals("k0") && step(message) == 3) {
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            }
            history.add(message, 0);
            return ConsumeOrderlyStatus.SUCCESS;
        };
    }

    private static void parked(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Parked", 1);
        String group = group("order.park");
        History history = new History();
        AtomicBoolean broken = new AtomicBoolean(true);
        DefaultMQPushConsumer consumer = consumer(mq, group, topic);
        consumer.setMaxReconsumeTimes(2);
        consumer.registerMessageListener(poisoned(history, broken));
        consumer.start();
        send(producer, topic, 0, 10);
        Mq.await("other keys go on", () -> history.others(9));
        send(producer, topic, 10, 20);
        Mq.await("and on", () -> history.others(19));
        Check.equal(history.highest("k0"), 2, "last step of the key that is parked");
        Check.that(listed(group).contains("\"key\":\"k0\""), "it is listed: " + listed(group));
        Check.that(Raw.ask(Interop.broker, 351, Map.of("topic", "%DLQ%" + group), new byte[0]).code() != 0, "there are no dead letters");

        broken.set(false);
        release(group, topic);
        send(producer, topic, 20, 30);
        Mq.await("all keys are complete", Duration.ofSeconds(60), () -> history.others(29) && history.highest("k0") == 29);
        history.checkOrder(29);
        Mq.await("the release is over", () -> !listed(group).contains("k0"));
    }

    private static void parkedOverKill(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "ParkedOverKill", 1);
        String group = group("order.park");
        History history = new History();
        AtomicBoolean broken = new AtomicBoolean(true);
        DefaultMQPushConsumer consumer = consumer(mq, group, topic);
        consumer.setMaxReconsumeTimes(2);
        consumer.setHeartbeatBrokerInterval(2_000);
        consumer.registerMessageListener(poisoned(history, broken));
        consumer.start();
        send(producer, topic, 0, 10);
        Mq.await("other keys go on", () -> history.others(9));

        Driver.killBroker();
        Driver.startBroker();
        Mq.awaitRoute(producer, topic, 1);
        send(producer, topic, 10, 20);
        Mq.await("other keys go on after the kill", Duration.ofSeconds(60), () -> history.others(19));
        Check.equal(history.highest("k0"), 2, "last step of the key that is parked");
        broken.set(false);
        release(group, topic);
        Mq.await("all keys are complete", () -> history.highest("k0") == 19);
        history.checkOrder(19);
    }

    private static void parkedInHand(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "InHand", 1);
        String group = group("order.park");
        History history = new History();
        AtomicBoolean broken = new AtomicBoolean(true);
        send(producer, topic, 0, 40);
        DefaultMQPushConsumer consumer = consumer(mq, group, topic);
        consumer.setMaxReconsumeTimes(2);
        consumer.setPullBatchSize(16);
        consumer.setPullThresholdForQueue(16);
        consumer.registerMessageListener(poisoned(history, broken));
        consumer.start();
        Mq.await("other keys go on", Duration.ofSeconds(60), () -> history.others(39));
        Check.equal(history.highest("k0"), 2, "last step of the key that is parked");
        broken.set(false);
        release(group, topic);
        Mq.await("the key comes", () -> history.highest("k0") == 39);
        history.checkOrder(39);
    }

    private static void parkedByOperator(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Operator", 1);
        String group = Mq.fresh("G");
        History history = new History();
        AtomicBoolean broken = new AtomicBoolean(true);
        DefaultMQPushConsumer consumer = consumer(mq, group, topic);
        consumer.registerMessageListener(poisoned(history, broken));
        consumer.start();
        send(producer, topic, 0, 10);
        int at = 3 * KEYS;
        Map<String, String> message = Map.of("group", group, "topic", topic, "queueId", "0", "offset", String.valueOf(at));
        Mq.await("the group is known", () -> history.highest("k5") == 2 && Raw.ask(Interop.broker, PARK, message, new byte[0]).code() == 0);
        Mq.await("other keys go on", () -> history.others(9));
        Check.equal(history.highest("k0"), 2, "last step of the key that is parked");
        broken.set(false);
        release(group, topic);
        Mq.await("the key comes", () -> history.highest("k0") == 9);
        history.checkOrder(9);
    }

    private static void notParked(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "NotParked", 1);
        String group = group("order.park");
        History history = new History();
        DefaultMQPushConsumer consumer = consumer(mq, group, topic);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            MessageExt message = messages.get(0);
            if (message.getKeys().equals("k0") && step(message) == 3) {
                context.setDelayLevelWhenNextConsume(-1);
                return ConsumeConcurrentlyStatus.RECONSUME_LATER;
            }
            history.add(message, 0);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        send(producer, topic, 0, 10);
        Mq.await("it is dead", Duration.ofSeconds(60), () -> deadLetters(group).contains("\"maxOffset\":1"));
        Mq.await("all others come", () -> history.others(9) && history.highest("k0") == 9);
        Check.equal(listed(group), "{\"keys\":[]}", "what is parked");
        Check.that(deadLetters(group).contains("\"maxOffset\":1"), "one dead letter: " + deadLetters(group));
    }

    /** GET_TOPIC_STATS_INFO of the dead letters. */
    private static String deadLetters(String group) throws Exception {
        return Raw.ask(Interop.broker, 202, Map.of("topic", "%DLQ%" + group), new byte[0]).body();
    }

    /** Members that work at everything, 2 ms each; what they got, by key, and who got it. */
    private static DefaultMQPushConsumer sharer(Mq mq, String group, String topic, History history, Set<String> keys, AtomicInteger count) throws Exception {
        DefaultMQPushConsumer consumer = consumer(mq, group, topic);
        consumer.setHeartbeatBrokerInterval(2_000);
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            history.add(messages.get(0), 2);
            keys.add(messages.get(0).getKeys());
            count.incrementAndGet();
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    private static boolean complete(History history, int last) {
        return history.others(last) && history.highest("k0") == last;
    }

    private static void shared(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Shared", 1);
        String group = group("order.shareByKey");
        History history = new History();
        Set<String> ofFirst = ConcurrentHashMap.newKeySet();
        Set<String> ofSecond = ConcurrentHashMap.newKeySet();
        AtomicInteger count = new AtomicInteger();
        DefaultMQPushConsumer first = sharer(mq, group, topic, history, ofFirst, count);
        send(producer, topic, 0, 20);
        Mq.await("the first member has all", () -> complete(history, 19));
        DefaultMQPushConsumer second = sharer(mq, group, topic, history, ofSecond, count);
        int sent = 20;
        // Under way, keys change hands.
        for (long until = System.currentTimeMillis() + 60_000; ofSecond.isEmpty(); sent++) {
            send(producer, topic, sent, sent + 1);
            Check.that(System.currentTimeMillis() < until, "the second member gets keys, too");
            Mq.nap(20);
        }
        Check.equal(Clustering.owned(first, topic).size(), 1, "queues of the first");
        Check.equal(Clustering.owned(second, topic).size(), 1, "queues of the second");
        int upTo = sent - 1;
        Mq.await("all so far is consumed", () -> complete(history, upTo));
        ofFirst.clear();
        ofSecond.clear();
        send(producer, topic, sent, sent + 30);
        int last = sent + 29;
        Mq.await("all is consumed", () -> complete(history, last));
        Check.that(Collections.disjoint(ofFirst, ofSecond), "no key is of both: " + ofFirst + ", " + ofSecond);
        Check.equal(ofFirst.size() + ofSecond.size(), KEYS, "keys of both");
        Check.that(!ofSecond.isEmpty() && !ofFirst.isEmpty(), "each has some: " + ofFirst + ", " + ofSecond);
        history.checkOrder(last);
        Check.equal(count.get(), KEYS * (last + 1), "deliveries: nothing came twice");

        send(producer, topic, last + 1, last + 31);
        second.shutdown();
        send(producer, topic, last + 31, last + 41);
        // A client 4.x goes back after 10 s, and looks for its queues up to 20 s later.
        Mq.await("the first member has all again", Duration.ofSeconds(90), () -> complete(history, last + 40));
        history.checkOrder(last + 40);
    }

    private static void sharedOverKill(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "SharedOverKill", 1);
        String group = group("order.shareByKey");
        History history = new History();
        Set<String> ofFirst = ConcurrentHashMap.newKeySet();
        Set<String> ofSecond = ConcurrentHashMap.newKeySet();
        AtomicInteger count = new AtomicInteger();
        sharer(mq, group, topic, history, ofFirst, count);
        sharer(mq, group, topic, history, ofSecond, count);
        int sent = 0;
        for (long until = System.currentTimeMillis() + 60_000; ofSecond.isEmpty() || ofFirst.isEmpty(); sent++) {
            send(producer, topic, sent, sent + 1);
            Check.that(System.currentTimeMillis() < until, "both members get keys");
            Mq.nap(20);
        }
        send(producer, topic, sent, sent + 20);
        Driver.killBroker();
        Driver.startBroker();
        Mq.awaitRoute(producer, topic, 1);
        int last = sent + 39;
        send(producer, topic, sent + 20, last + 1);
        Mq.await("all is consumed", Duration.ofSeconds(60), () -> complete(history, last));
        history.checkOrder(last);
    }
}
