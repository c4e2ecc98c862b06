package interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.MQPullConsumerScheduleService;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

final class Pulling {
    private Pulling() {}

    static void scenarios(Suite suite) {
        suite.area("pull")
            .fact("status, next, min and max offset at the start, at the end and beyond", Pulling::statuses)
            .fact("by tag: only those, and past the others", Pulling::byTag)
            .fact("a held pull answers when a message comes, or empty when its time is over", Pulling::held)
            .fact("offsets are kept at the broker", Pulling::offsets)
            .fact("schedule service: each queue by its task, offsets go on after a restart", Pulling::scheduleService);
    }

    private static void statuses(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Pull", 1);
        MessageQueue queue = Mq.queues(producer, topic).get(0);
        DefaultMQPullConsumer puller = mq.puller(Mq.fresh("G"));
        Check.equal(puller.fetchSubscribeMessageQueues(topic), Set.of(queue), "queues");
        expect(puller.pull(queue, "*", 0, 32), PullStatus.NO_NEW_MSG, 0, 0, "empty queue at 0");
        List<String> ids = new ArrayList<>();
        for (int i = 0; i < 50; i++) {
            ids.add(producer.send(new Message(topic, ("pull " + i).getBytes(UTF_8)), queue).getMsgId());
        }

        Mq.await("the queue has 50", () -> puller.maxOffset(queue) == 50);
        PullResult first = puller.pull(queue, "*", 0, 20);
        expect(first, PullStatus.FOUND, 20, 50, "first twenty");
        Check.equal(first.getMsgFoundList().stream().map(MessageExt::getMsgId).toList(), ids.subList(0, 20), "ids in order");
        expect(puller.pull(queue, "*", 20, 32), PullStatus.FOUND, 50, 50, "the rest, no more than asked for");
        expect(puller.pull(queue, "*", 47, 32), PullStatus.FOUND, 50, 50, "the last three");
        expect(puller.pull(queue, "*", 50, 32), PullStatus.NO_NEW_MSG, 50, 50, "at the end");
        expect(puller.pull(queue, "*", 60, 32), PullStatus.OFFSET_ILLEGAL, 50, 50, "beyond the end");
    }

    private static void expect(PullResult result, PullStatus status, long next, long max, String where) {
        Check.equal(result.getPullStatus(), status, "status: " + where);
        Check.equal(result.getNextBeginOffset(), next, "next offset: " + where);
        Check.equal(result.getMinOffset(), 0L, "min offset: " + where);
        Check.equal(result.getMaxOffset(), max, "max offset: " + where);
    }

    private static void byTag(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "PullTag", 1);
        MessageQueue queue = Mq.queues(producer, topic).get(0);
        for (int i = 0; i < 30; i++) {
            producer.send(new Message(topic, i < 20 ? "a" : "b", "", String.valueOf(i).getBytes(UTF_8)), queue);
        }
        DefaultMQPullConsumer puller = mq.puller(Mq.fresh("G"));
        Mq.await("the queue has 30", () -> puller.maxOffset(queue) == 30);
        List<String> found = new ArrayList<>();
        for (long next = 0; next < 30; ) {
            PullResult result = puller.pull(queue, "b || c", next, 32);
            Check.that(result.getNextBeginOffset() > next, "the pull gets on, but: " + result);
            next = result.getNextBeginOffset();
            if (result.getPullStatus() == PullStatus.FOUND) {
                found.addAll(Sending.bodies(result.getMsgFoundList()));
            }
        }
        Check.equal(found, Sending.numbered("", 30).subList(20, 30), "bodies of tag b");
        PullResult none = puller.pull(queue, "c", 0, 32);
        Check.equal(none.getPullStatus(), PullStatus.NO_MATCHED_MSG, "status without a match");
        Check.equal(none.getNextBeginOffset(), 30L, "next offset without a match");
    }

    private static void held(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Held", 1);
        MessageQueue queue = Mq.queues(producer, topic).get(0);
        DefaultMQPullConsumer puller = new DefaultMQPullConsumer(Mq.fresh("G"));
        puller.setNamesrvAddr(mq.namesrv);
        puller.setInstanceName(Mq.fresh("i"));
        puller.setBrokerSuspendMaxTimeMillis(2_000);
        mq.atEnd(puller::shutdown);
        puller.start();
        puller.pull(queue, "*", 0, 32); // connects

        Thread sender = new Thread(() -> {
            Mq.nap(600);
            try {
                producer.send(new Message(topic, "at last".getBytes(UTF_8)), queue);
            } catch (Exception failed) {
                failed.printStackTrace();
            }
        });
        sender.start();
        long start = System.currentTimeMillis();
        PullResult found = puller.pullBlockIfNotFound(queue, "*", 0, 32);
        long waited = System.currentTimeMillis() - start;
        Check.equal(found.getPullStatus(), PullStatus.FOUND, "status when a message came");
        Check.equal(Sending.bodies(found.getMsgFoundList()), List.of("at last"), "bodies");
        Check.between(waited, 500, 1_500, "wait for a message, ms");

        start = System.currentTimeMillis();
        PullResult empty = puller.pullBlockIfNotFound(queue, "*", 1, 32);
        waited = System.currentTimeMillis() - start;
        Check.equal(empty.getPullStatus(), PullStatus.NO_NEW_MSG, "status when none came");
        // Apache looks at held pulls every 5 s
        Check.between(waited, 1_900, 2_000 + 5_500, "wait when none came, ms");
    }

    private static void offsets(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "PullOffsets", 2);
        String group = mq.knownGroup("G", topic);
        for (int i = 0; i < 20; i++) {
            producer.send(new Message(topic, "m".getBytes(UTF_8)), Mq.queues(producer, topic).get(i % 2));
        }
        DefaultMQPullConsumer first = mq.puller(group);
        for (MessageQueue queue : Mq.queues(producer, topic)) {
            first.getDefaultMQPullConsumerImpl().getOffsetStore().updateConsumeOffsetToBroker(queue, 3 + queue.getQueueId(), false);
        }
        DefaultMQPullConsumer second = mq.puller(group);
        for (MessageQueue queue : Mq.queues(producer, topic)) {
            Check.equal(second.fetchConsumeOffset(queue, true), 3L + queue.getQueueId(), "offset of " + queue);
        }
    }

    private static void scheduleService(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Schedule", 4);
        String group = mq.knownGroup("G", topic);
        for (int i = 0; i < 40; i++) {
            producer.send(new Message(topic, ("first " + i).getBytes(UTF_8)));
        }
        List<String> got = Collections.synchronizedList(new ArrayList<>());
        MQPullConsumerScheduleService service = scheduleService(mq, group, topic, got);
        Mq.awaitExactly(got, 40, "messages");
        Check.equal(Mq.set(got), Mq.set(Sending.numbered("first ", 40)), "bodies");
        service.shutdown();

        for (int i = 0; i < 12; i++) {
            producer.send(new Message(topic, ("second " + i).getBytes(UTF_8)));
        }
        List<String> again = Collections.synchronizedList(new ArrayList<>());
        scheduleService(mq, group, topic, again);
        Mq.awaitExactly(again, 12, "messages");
        Check.equal(Mq.set(again), Mq.set(Sending.numbered("second ", 12)), "bodies after the restart");
    }

    private static MQPullConsumerScheduleService scheduleService(Mq mq, String group, String topic, List<String> got) throws Exception {
        MQPullConsumerScheduleService service = new MQPullConsumerScheduleService(group);
        DefaultMQPullConsumer consumer = service.getDefaultMQPullConsumer();
        consumer.setNamesrvAddr(mq.namesrv);
        consumer.setInstanceName(Mq.fresh("i"));
        Map<MessageQueue, Boolean> busy = new ConcurrentHashMap<>();
        service.registerPullTaskCallback(topic, (queue, context) -> {
            try {
                Check.equal(busy.put(queue, true), null, "tasks of one queue at a time");
                long offset = Math.max(0, context.getPullConsumer().fetchConsumeOffset(queue, false));
                PullResult result = context.getPullConsumer().pull(queue, "*", offset, 32);
                if (result.getPullStatus() == PullStatus.FOUND) {
                    got.addAll(Sending.bodies(result.getMsgFoundList()));
                }
                context.getPullConsumer().updateConsumeOffset(queue, result.getNextBeginOffset());
                context.setPullNextDelayTimeMillis(50);
            } catch (Exception failed) {
                failed.printStackTrace();
            } finally {
                busy.remove(queue);
            }
        });
        mq.atEnd(service::shutdown);
        service.start();
        return service;
    }
}
