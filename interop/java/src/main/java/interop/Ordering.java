package interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

final class Ordering {
    private static final int KEYS = 10;
    private static final int STEPS = 20;

    private Ordering() {}

    static void scenarios(Suite suite) {
        suite.area("orderly")
            .fact("order is kept per key over a restart of the consumer", Ordering::overRestart)
            .fact("order is kept per key when a second member joins and leaves", Ordering::overRebalance)
            .fact("suspend: the same message again, then on, nothing overtakes", Ordering::suspend)
            .fact("after the last attempt the message is dead-lettered and its queue goes on", Ordering::deadLetter)
            .unless(() -> Interop.againstApache() ? "Apache's broker gives new queues out at once, and keys overtake themselves" : null)
            .fact("order is kept per key when the topic is given more queues under a group that lags", Ordering::overGrowth);
    }

    /** What was consumed, by key: "key-3" → 0, 1, 2… */
    private static final class History {
        final Map<String, List<Integer>> steps = new ConcurrentHashMap<>();
        final AtomicInteger count = new AtomicInteger();
        final Map<Integer, AtomicInteger> busy = new ConcurrentHashMap<>();
        final AtomicInteger overlaps = new AtomicInteger();

        ConsumeOrderlyStatus add(List<MessageExt> messages) {
            for (MessageExt message : messages) {
                AtomicInteger inside = busy.computeIfAbsent(message.getQueueId(), q -> new AtomicInteger());
                if (inside.incrementAndGet() > 1) {
                    overlaps.incrementAndGet();
                }
                int step = Integer.parseInt(new String(message.getBody(), UTF_8));
                steps.computeIfAbsent(message.getKeys(), key -> Collections.synchronizedList(new ArrayList<>())).add(step);
                count.incrementAndGet();
                inside.decrementAndGet();
            }
            return ConsumeOrderlyStatus.SUCCESS;
        }

        boolean complete() {
            return steps.size() == KEYS && steps.values().stream().allMatch(list -> List.copyOf(list).contains(STEPS - 1));
        }

        /** Each step follows its predecessor; a hand-over may repeat some, but never skip one. */
        void checkOrder() {
            Check.equal(overlaps.get(), 0, "times that a queue was consumed by two threads");
            steps.forEach((key, list) -> {
                int highest = -1;
                for (int step : list) {
                    Check.that(step <= highest + 1, key + " without gaps, but: " + list);
                    highest = Math.max(highest, step);
                }
                Check.equal(highest, STEPS - 1, "last step of " + key);
            });
        }
    }

    private static void sendAll(DefaultMQProducer producer, String topic, int from, int to) throws Exception {
        for (int step = from; step < to; step++) {
            for (int key = 0; key < KEYS; key++) {
                Message message = new Message(topic, "", "key-" + key, String.valueOf(step).getBytes(UTF_8));
                producer.send(message, (queues, m, argument) -> queues.get((Integer) argument % queues.size()), key);
            }
        }
    }

    private static DefaultMQPushConsumer consumer(Mq mq, String group, String topic, MessageListenerOrderly listener) throws Exception {
        DefaultMQPushConsumer consumer = mq.pushConsumer(group);
        consumer.subscribe(topic, "*");
        consumer.setConsumeMessageBatchMaxSize(1);
        consumer.registerMessageListener(listener);
        consumer.start();
        return consumer;
    }

    private static void overRestart(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Orderly", 4);
        String group = Mq.fresh("G");
        sendAll(producer, topic, 0, STEPS / 2);
        History history = new History();
        DefaultMQPushConsumer first = consumer(mq, group, topic, (messages, context) -> {
            Mq.nap(2);
            return history.add(messages);
        });
        Mq.await("a third is consumed", () -> history.count.get() > KEYS * STEPS / 3);
        first.shutdown();
        int atRestart = history.count.get();
        sendAll(producer, topic, STEPS / 2, STEPS);
        consumer(mq, group, topic, (messages, context) -> history.add(messages));
        Mq.await("every key is complete", Duration.ofSeconds(40), history::complete);
        history.checkOrder();
        Check.that(history.count.get() - atRestart <= KEYS * STEPS - atRestart + 8,
            "at most 8 repeated, but " + history.count.get() + " deliveries of " + KEYS * STEPS);
    }

    private static void overRebalance(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Rebalanced", 4);
        String group = Mq.fresh("G");
        History history = new History();
        MessageListenerOrderly listener = (messages, context) -> {
            Mq.nap(1);
            return history.add(messages);
        };
        DefaultMQPushConsumer first = consumer(mq, group, topic, listener);
        sendAll(producer, topic, 0, 8);
        DefaultMQPushConsumer second = consumer(mq, group, topic, listener);
        sendAll(producer, topic, 8, 12);
        Mq.await("two queues each", Duration.ofSeconds(45), () -> Clustering.owned(first, topic).size() == 2 && Clustering.owned(second, topic).size() == 2);
        sendAll(producer, topic, 12, 16);
        second.shutdown();
        sendAll(producer, topic, 16, STEPS);
        Mq.await("every key is complete", Duration.ofSeconds(60), history::complete);
        history.checkOrder();
    }

    private static void queues(String topic, int queues) throws Exception {
        String count = String.valueOf(queues);
        Raw.Answer answer = Raw.ask(Interop.broker, 17, Map.of("topic", topic, "defaultTopic", Mq.TEMPLATE, "readQueueNums", count,
            "writeQueueNums", count, "perm", "6", "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0", "order", "true"), new byte[0]);
        Check.equal(answer.code(), 0, "code for " + queues + " queues, " + answer.remark());
    }

    /** The producer learns of the new queues while thousands of messages of its keys wait in the old ones. */
    private static void overGrowth(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = Mq.fresh("Growing");
        queues(topic, 2);
        Mq.awaitRoute(producer, topic, 2);
        Map<String, List<Integer>> steps = new ConcurrentHashMap<>();
        java.util.Set<Integer> queues = ConcurrentHashMap.newKeySet();
        AtomicInteger count = new AtomicInteger();
        java.util.concurrent.atomic.AtomicBoolean slow = new java.util.concurrent.atomic.AtomicBoolean(true);
        DefaultMQPushConsumer consumer = consumer(mq, Mq.fresh("G"), topic, (messages, context) -> {
            // New queues are fast: what overtakes shows at once.
            Mq.nap(slow.get() && messages.get(0).getQueueId() < 2 ? 60 : 0);
            for (MessageExt message : messages) {
                int step = Integer.parseInt(new String(message.getBody(), UTF_8));
                steps.computeIfAbsent(message.getKeys(), key -> Collections.synchronizedList(new ArrayList<>())).add(step);
                queues.add(message.getQueueId());
                count.incrementAndGet();
            }
            return ConsumeOrderlyStatus.SUCCESS;
        });
        java.util.Set<Integer> sentTo = new java.util.TreeSet<>();
        long start = System.currentTimeMillis();
        int step = 0;
        // Until it sends to the new queues, and a while on.
        for (long until = Long.MAX_VALUE; System.currentTimeMillis() < until; step++) {
            if (step == 20) {
                queues(topic, 4);
            }
            for (int key = 0; key < KEYS; key++) {
                Message message = new Message(topic, "", "key-" + key, String.valueOf(step).getBytes(UTF_8));
                sentTo.add(producer.send(message, (all, m, argument) -> all.get((Integer) argument % all.size()), key)
                    .getMessageQueue().getQueueId());
            }
            if (sentTo.contains(3) && until == Long.MAX_VALUE) {
                until = System.currentTimeMillis() + 3_000;
                Check.that(step * KEYS - count.get() > 300, "the group lags, but has " + count.get() + " of " + step * KEYS);
            }
            Check.that(System.currentTimeMillis() - start < 50_000, "the producer learns of new queues");
            Mq.nap(90);
        }
        Mq.await("the member has all queues", Duration.ofSeconds(50), () -> Clustering.owned(consumer, topic).size() == 4);
        Mq.nap(2_000);
        slow.set(false);
        int last = step - 1;
        Mq.await("every key is complete", Duration.ofSeconds(70),
            () -> steps.size() == KEYS && steps.values().stream().allMatch(list -> List.copyOf(list).contains(last)));
        Check.that(queues.contains(3), "new queues are consumed");
        steps.forEach((key, list) -> {
            int highest = -1;
            for (int one : list) {
                Check.that(one <= highest + 1, key + " without gaps, but " + one + " behind " + list.indexOf(one) + " others, the highest " + highest);
                highest = Math.max(highest, one);
            }
        });
    }

    private static void suspend(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Suspend", 1);
        List<String> seen = Collections.synchronizedList(new ArrayList<>());
        List<Long> times = Collections.synchronizedList(new ArrayList<>());
        for (int i = 0; i < 6; i++) {
            producer.send(new Message(topic, String.valueOf(i).getBytes(UTF_8)));
        }
        consumer(mq, Mq.fresh("G"), topic, (messages, context) -> {
            MessageExt message = messages.get(0);
            String body = new String(message.getBody(), UTF_8);
            seen.add(body + "/" + message.getReconsumeTimes());
            times.add(System.currentTimeMillis());
            if (body.equals("3") && message.getReconsumeTimes() < 2) {
                context.setSuspendCurrentQueueTimeMillis(300);
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            }
            return ConsumeOrderlyStatus.SUCCESS;
        });
        Mq.awaitExactly(seen, 8, "deliveries");
        Check.equal(seen, List.of("0/0", "1/0", "2/0", "3/0", "3/1", "3/2", "4/0", "5/0"), "bodies and attempts");
        Check.between(times.get(4) - times.get(3), 250, 1_500, "pause of a suspended queue, ms");
    }

    private static void deadLetter(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "OrderlyDead", 1);
        String group = Mq.fresh("G");
        List<String> seen = Collections.synchronizedList(new ArrayList<>());
        DefaultMQPushConsumer consumer = mq.pushConsumer(group);
        consumer.subscribe(topic, "*");
        consumer.setConsumeMessageBatchMaxSize(1);
        consumer.setMaxReconsumeTimes(2);
        consumer.setSuspendCurrentQueueTimeMillis(100);
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            String body = new String(messages.get(0).getBody(), UTF_8);
            seen.add(body + "/" + messages.get(0).getReconsumeTimes());
            return body.equals("bad") ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT : ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        String id = producer.send(new Message(topic, "", "k", "bad".getBytes(UTF_8))).getMsgId();
        producer.send(new Message(topic, "good".getBytes(UTF_8)));

        Mq.awaitExactly(seen, 4, "deliveries");
        Check.equal(seen, List.of("bad/0", "bad/1", "bad/2", "good/0"), "bodies and attempts");
        DefaultMQPullConsumer reader = mq.puller(Mq.fresh("G"));
        MessageQueue dead = new MessageQueue("%DLQ%" + group, "broker-a", 0);
        Mq.await("a dead letter", () -> {
            try {
                return reader.fetchSubscribeMessageQueues(dead.getTopic()).size() == 1 && reader.maxOffset(dead) == 1;
            } catch (MQClientException noRouteYet) {
                return false;
            }
        });
        MessageExt letter = Mq.readAll(reader, dead, 0, 1).get(0);
        Check.equal(new String(letter.getBody(), UTF_8), "bad", "body of the dead letter");
        Check.equal(letter.getKeys(), "k", "key of the dead letter");
        Check.equal(letter.getProperty("RETRY_TOPIC"), topic, "origin topic of the dead letter");
    }
}
