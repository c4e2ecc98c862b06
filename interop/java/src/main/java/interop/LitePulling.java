package interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

final class LitePulling {
    private LitePulling() {}

    static void scenarios(Suite suite) {
        suite.area("lite pull")
            .unless(LitePulling::notApplicable)
            .fact("subscribe: every message, offsets go on after a restart", LitePulling::subscribe)
            .fact("subscribe: tags, and two members share the queues", LitePulling::sharing)
            .fact("assign and seek: to an offset, to the begin, to the end, by time", LitePulling::assignAndSeek);
    }

    /** Clients from 5.0 on pull with a request code of its own, which Apache's broker 4.9.7 answers with "not supported". */
    static String notApplicable() {
        if (!Api.hasLitePull()) {
            return "this client has no DefaultLitePullConsumer";
        }
        return Interop.isNewClientOfOldApache() ? "this server does not know LITE_PULL_MESSAGE (361)" : null;
    }

    static DefaultLitePullConsumer consumer(Mq mq, String group) {
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(group);
        consumer.setNamesrvAddr(mq.namesrv);
        consumer.setInstanceName(Mq.fresh("i"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        mq.atEnd(consumer::shutdown);
        return consumer;
    }

    static List<MessageExt> poll(DefaultLitePullConsumer consumer, int count) throws Exception {
        List<MessageExt> got = new ArrayList<>();
        Mq.await(count + " messages polled", () -> {
            got.addAll(consumer.poll(100));
            return got.size() >= count;
        });
        got.addAll(consumer.poll(300));
        Check.equal(got.size(), count, "messages polled: " + Sending.bodies(got));
        return got;
    }

    private static void subscribe(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Lite", 4);
        String group = Mq.fresh("G");
        for (int i = 0; i < 60; i++) {
            producer.send(new Message(topic, ("first " + i).getBytes(UTF_8)));
        }
        DefaultLitePullConsumer first = consumer(mq, group);
        first.setAutoCommit(false);
        first.subscribe(topic, "*");
        first.start();
        Check.equal(Mq.set(Sending.bodies(poll(first, 60))), Mq.set(Sending.numbered("first ", 60)), "bodies");
        first.commitSync();
        first.shutdown();
        DefaultMQPullConsumer witness = mq.puller(group);
        for (MessageQueue queue : Mq.queues(producer, topic)) {
            Mq.await("commit of " + queue + " is with the broker", () -> witness.fetchConsumeOffset(queue, true) == witness.maxOffset(queue));
        }
        witness.shutdown();

        for (int i = 0; i < 8; i++) {
            producer.send(new Message(topic, ("second " + i).getBytes(UTF_8)));
        }
        DefaultLitePullConsumer second = consumer(mq, group);
        second.subscribe(topic, "*");
        second.start();
        Check.equal(Mq.set(Sending.bodies(poll(second, 8))), Mq.set(Sending.numbered("second ", 8)), "bodies after the restart");
    }

    private static void sharing(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "LiteShared", 4);
        String group = Mq.fresh("G");
        List<DefaultLitePullConsumer> members = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            DefaultLitePullConsumer member = consumer(mq, group);
            member.subscribe(topic, "yes || 是");
            member.start();
            members.add(member);
        }
        Mq.await("two queues each", () -> {
            members.forEach(member -> member.poll(1));
            return members.get(0).assignment().size() == 2 && members.get(1).assignment().size() == 2;
        });
        List<MessageQueue> queues = Mq.queues(producer, topic);
        String[] tags = {"yes", "no", "是"};
        for (int i = 0; i < 60; i++) {
            producer.send(new Message(topic, tags[i % 3], "", (tags[i % 3] + " " + i).getBytes(UTF_8)), queues.get(i / 3 % 4));
        }
        List<String> got = new ArrayList<>();
        for (DefaultLitePullConsumer member : members) {
            List<MessageExt> messages = poll(member, 20);
            messages.forEach(message -> Check.that(!message.getTags().equals("no"), "no message of another tag"));
            got.addAll(Sending.bodies(messages));
        }
        Check.equal(Mq.set(got).size(), 40, "different messages");
    }

    private static void assignAndSeek(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "LiteAssign", 2);
        MessageQueue queue = Mq.queues(producer, topic).get(1);
        for (int i = 0; i < 30; i++) {
            long sent = System.currentTimeMillis();
            producer.send(new Message(topic, ("m" + i).getBytes(UTF_8)), queue);
            producer.send(new Message(topic, "of the other queue".getBytes(UTF_8)), Mq.queues(producer, topic).get(0));
            Mq.await("the clock goes on", () -> System.currentTimeMillis() > sent + 5);
        }
        DefaultLitePullConsumer consumer = consumer(mq, Mq.fresh("G"));
        consumer.setAutoCommit(false);
        consumer.start();
        Check.equal(Mq.set(consumer.fetchMessageQueues(topic)).size(), 2, "queues");
        consumer.assign(Collections.singleton(queue));
        // Nothing is under way when it seeks: a batch that is may come twice, the client does not tell old from new.
        List<MessageExt> all = poll(consumer, 30);
        Check.equal(Sending.bodies(all), Sending.numbered("m", 30), "bodies in order");

        consumer.seek(queue, 25);
        Check.equal(Sending.bodies(poll(consumer, 5)), Sending.numbered("m", 30).subList(25, 30), "bodies from 25");
        consumer.seekToBegin(queue);
        Check.equal(Sending.bodies(poll(consumer, 30)), Sending.numbered("m", 30), "bodies from the begin");
        Check.equal(consumer.offsetForTimestamp(queue, all.get(12).getStoreTimestamp()), 12L, "offset of the time of m12");
        consumer.seekToEnd(queue);
        producer.send(new Message(topic, "after the end".getBytes(UTF_8)), queue);
        Check.equal(Sending.bodies(poll(consumer, 1)), List.of("after the end"), "bodies from the end");
        consumer.commitSync();
        Mq.await("committed", () -> consumer.committed(queue) == 31);
        Check.equal(consumer.assignment(), Set.of(queue), "assignment");
    }
}
