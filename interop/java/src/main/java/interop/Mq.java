package interop;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.store.OffsetStore;
import org.apache.rocketmq.client.consumer.store.ReadOffsetType;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * The clients of one scenario, each with the defaults of its version, and all shut down at its end.
 *
 * <p>Every client has an instance name of its own, so that two members of a group may live in one JVM.
 */
final class Mq implements AutoCloseable {
    static final Duration SOON = Duration.ofSeconds(45);
    static final String TEMPLATE = "TBW102";

    private static final AtomicLong UNIQUE = new AtomicLong(System.nanoTime());

    final String namesrv;
    private final List<Runnable> shutdowns = Collections.synchronizedList(new ArrayList<>());

    Mq(String namesrv) {
        this.namesrv = namesrv;
    }

    /** A name that no other scenario and no other run has. */
    static String fresh(String prefix) {
        return prefix + "-" + Long.toString(UNIQUE.incrementAndGet(), 36);
    }

    // ------------------------------------------------------------ clients

    DefaultMQProducer producer() throws MQClientException {
        DefaultMQProducer producer = newProducer();
        producer.start();
        return producer;
    }

    /** Not yet started. */
    DefaultMQProducer newProducer() {
        DefaultMQProducer producer = new DefaultMQProducer(fresh("P"));
        producer.setNamesrvAddr(namesrv);
        producer.setInstanceName(fresh("i"));
        shutdowns.add(producer::shutdown);
        return producer;
    }

    /**
     * Not yet started: subscribe, register a listener, start.
     *
     * <p>From the first offset: with the default, from the last, a message that comes to an empty queue between the
     * client's two questions (my offset? none — your end, then?) is skipped, with Apache's broker too.
     */
    DefaultMQPushConsumer pushConsumer(String group) {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName(fresh("i"));
        shutdowns.add(consumer::shutdown);
        return consumer;
    }

    DefaultMQPullConsumer puller(String group) throws MQClientException {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(group);
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName(fresh("i"));
        shutdowns.add(consumer::shutdown);
        consumer.start();
        return consumer;
    }

    /**
     * A group that the broker has seen before. A new one learns the route of its retry topic only with the client's
     * next look at the name server, 30 s later, and gets its first retry only then.
     */
    String knownGroup(String prefix, String topic) throws Exception {
        return makeKnown(fresh(prefix), topic);
    }

    /** To be called while the topic is still empty. */
    String makeKnown(String group, String topic) throws Exception {
        DefaultMQPushConsumer first = pushConsumer(group);
        first.subscribe(topic, "*");
        first.registerMessageListener((MessageListenerConcurrently) (messages, context) -> ConsumeConcurrentlyStatus.RECONSUME_LATER);
        first.start();
        await("route of the retry topic of " + group, () -> {
            try {
                return !first.fetchSubscribeMessageQueues("%RETRY%" + group).isEmpty();
            } catch (MQClientException noRouteYet) {
                return false;
            }
        });
        first.shutdown();
        return group;
    }

    void atEnd(Runnable shutdown) {
        shutdowns.add(shutdown);
    }

    @Override
    public void close() throws InterruptedException {
        CountDownLatch open = new CountDownLatch(shutdowns.size());
        for (Runnable shutdown : shutdowns) {
            Thread thread = new Thread(() -> {
                try {
                    shutdown.run();
                } finally {
                    open.countDown();
                }
            }, "shutdown");
            thread.setDaemon(true);
            thread.start();
        }
        open.await(10, TimeUnit.SECONDS);
    }

    // ------------------------------------------------------------ topics and queues

    /** A topic made by the client's own call, ready to be sent to. */
    String topic(DefaultMQProducer producer, String prefix, int queues) throws Exception {
        return topicNamed(producer, fresh(prefix), queues);
    }

    String topicNamed(DefaultMQProducer producer, String name, int queues) throws Exception {
        Api.createTopic(producer, TEMPLATE, name, queues);
        awaitRoute(producer, name, queues);
        return name;
    }

    static void awaitRoute(DefaultMQProducer producer, String topic, int queues) throws Exception {
        await("route of " + topic + " with " + queues + " queues", SOON, () -> {
            try {
                return producer.fetchPublishMessageQueues(topic).size() == queues;
            } catch (MQClientException noRouteYet) {
                return false;
            }
        });
    }

    static List<MessageQueue> queues(DefaultMQProducer producer, String topic) throws MQClientException {
        List<MessageQueue> queues = new ArrayList<>(producer.fetchPublishMessageQueues(topic));
        Collections.sort(queues);
        return queues;
    }

    /**
     * Ends a consumer when it is done with all before `end` of a queue, and the broker knows.
     *
     * <p>One that is shut down while its answer is under way sends the message back a second time, and its last offsets
     * travel without an answer.
     */
    static void finish(DefaultMQPushConsumer consumer, Map<MessageQueue, Long> ends) throws Exception {
        OffsetStore offsets = consumer.getDefaultMQPushConsumerImpl().getOffsetStore();
        for (Map.Entry<MessageQueue, Long> end : ends.entrySet()) {
            await("done with all before " + end, () -> offsets.readOffset(end.getKey(), ReadOffsetType.READ_FROM_MEMORY) == end.getValue());
            offsets.updateConsumeOffsetToBroker(end.getKey(), end.getValue(), false);
        }
        consumer.shutdown();
    }

    /** The queues of a topic that is there, as soon as the name server knows them all. */
    List<MessageQueue> queuesOf(DefaultMQProducer producer, String topic, int queues) throws Exception {
        awaitRoute(producer, topic, queues);
        return queues(producer, topic);
    }

    /** All that a queue holds from an offset on, in order. What was just acknowledged may take a moment to be in its queue. */
    static List<MessageExt> readAll(DefaultMQPullConsumer puller, MessageQueue queue, long from, long atLeastUntil) throws Exception {
        await(queue + " reaches " + atLeastUntil, () -> puller.maxOffset(queue) >= atLeastUntil);
        List<MessageExt> all = new ArrayList<>();
        long max = puller.maxOffset(queue);
        for (long next = from; next < max; ) {
            PullResult pulled = puller.pull(queue, "*", next, 32);
            if (pulled.getMsgFoundList() != null) {
                all.addAll(pulled.getMsgFoundList());
            }
            Check.that(pulled.getNextBeginOffset() > next, "pull of " + queue + " at " + next + " gets on, but: " + pulled);
            next = pulled.getNextBeginOffset();
        }
        return all;
    }

    /** All that a topic holds, queue by queue, once it holds so many. */
    static List<MessageExt> readTopic(DefaultMQPullConsumer puller, String topic, int atLeast) throws Exception {
        List<MessageQueue> queues = new ArrayList<>(puller.fetchSubscribeMessageQueues(topic));
        Collections.sort(queues);
        await(topic + " holds " + atLeast, () -> {
            long total = 0;
            for (MessageQueue queue : queues) {
                total += puller.maxOffset(queue) - puller.minOffset(queue);
            }
            return total >= atLeast;
        });
        List<MessageExt> all = new ArrayList<>();
        for (MessageQueue queue : queues) {
            all.addAll(readAll(puller, queue, puller.minOffset(queue), 0));
        }
        return all;
    }

    // ------------------------------------------------------------ waiting

    static void await(String what, Duration atMost, Callable<Boolean> fact) throws Exception {
        long deadline = System.nanoTime() + atMost.toNanos();
        while (!fact.call()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("after " + atMost.toMillis() + " ms still not true: " + what);
            }
            LockSupport.parkNanos(Duration.ofMillis(10).toNanos());
        }
    }

    static void await(String what, Callable<Boolean> fact) throws Exception {
        await(what, SOON, fact);
    }

    /** Waits until the list has so many entries, and then a moment for one too many. */
    static <T> void awaitExactly(Collection<T> got, int count, String what) throws Exception {
        try {
            await(count + " × " + what, SOON, () -> got.size() >= count);
        } catch (AssertionError tooFew) {
            throw new AssertionError(tooFew.getMessage() + ", but " + got.size() + ": " + got);
        }
        nothingMore(got, count, what);
    }

    static <T> void nothingMore(Collection<T> got, int count, String what) {
        LockSupport.parkNanos(Duration.ofMillis(300).toNanos());
        Check.that(got.size() == count, "exactly " + count + " × " + what + ", but got " + got.size() + ": " + got);
    }

    /** Work that takes a while. */
    static void nap(long millis) {
        LockSupport.parkNanos(Duration.ofMillis(millis).toNanos());
    }

    static <T> Set<T> set(Collection<T> all) {
        return new HashSet<>(all);
    }
}
