package interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.text.SimpleDateFormat;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Date;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

final class Pushing {
    private Pushing() {}

    static void scenarios(Suite suite) {
        suite.area("push")
            .fact("concurrent: every message once, as it was sent", Pushing::concurrent)
            .fact("tags: those subscribed, also when another tag has the same hash", Pushing::tags)
            .fact("long polling: a waiting consumer has a message at once", Pushing::longPolling)
            .fact("offsets are kept over a restart of the consumer", Pushing::offsetsOverRestart)
            .fact("a new group of a young topic begins at its first message, whatever it asks for", Pushing::newGroup)
            .fact("broadcasting: each member gets every message, and goes on after its restart", Pushing::broadcasting)
            .fact("broadcasting from first, from last, from a timestamp", Pushing::fromWhere);
    }

    private static void concurrent(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Push", 4);
        List<MessageExt> got = consume(mq, Mq.fresh("G"), topic, "*").messages;
        Set<String> expected = new HashSet<>();
        for (int i = 0; i < 300; i++) {
            Message message = new Message(topic, "t" + i % 3, "k" + i, ("push " + i).getBytes(UTF_8));
            SendResult sent = producer.send(message);
            expected.add(sent.getMsgId() + "/" + sent.getMessageQueue().getQueueId() + "/" + sent.getQueueOffset() + "/" + "push " + i + "/k" + i);
        }
        Mq.awaitExactly(got, 300, "messages");
        Set<String> seen = got.stream()
            .map(m -> m.getMsgId() + "/" + m.getQueueId() + "/" + m.getQueueOffset() + "/" + new String(m.getBody(), UTF_8) + "/" + m.getKeys())
            .collect(Collectors.toSet());
        Check.equal(seen, expected, "id/queue/offset/body/key");
    }

    private static void tags(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Tags", 2);
        List<MessageExt> two = consume(mq, Mq.fresh("G"), topic, "Aa || 标签").messages;
        List<MessageExt> one = consume(mq, Mq.fresh("G"), topic, "BB").messages;
        List<MessageExt> all = consume(mq, Mq.fresh("G"), topic, "*").messages;
        String[] tags = {"Aa", "BB", "标签", "C", ""}; // "Aa" and "BB" have the same hash
        for (int i = 0; i < 50; i++) {
            producer.send(new Message(topic, tags[i % 5], "k" + i, ("tag " + i).getBytes(UTF_8)));
        }
        Mq.awaitExactly(all, 50, "messages of all tags");
        Mq.awaitExactly(two, 20, "messages of two tags");
        Mq.awaitExactly(one, 10, "messages of one tag");
        Check.equal(two.stream().map(MessageExt::getTags).collect(Collectors.toSet()), Set.of("Aa", "标签"), "tags");
        Check.equal(one.stream().map(MessageExt::getTags).collect(Collectors.toSet()), Set.of("BB"), "tags");
    }

    private static void longPolling(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "LongPoll", 1);
        Consumed consumed = consume(mq, Mq.fresh("G"), topic, "*");
        producer.send(new Message(topic, "warm up".getBytes(UTF_8)));
        Mq.await("the first message", () -> consumed.messages.size() == 1);
        List<Long> waits = new ArrayList<>();
        for (int i = 1; i <= 9; i++) {
            int count = i + 1;
            // the consumer asks again and is held by now
            long settled = System.nanoTime() + Duration.ofMillis(300).toNanos();
            Mq.await("a pause", () -> System.nanoTime() > settled);
            long sent = System.currentTimeMillis();
            producer.send(new Message(topic, ("m" + i).getBytes(UTF_8)));
            Mq.await("message " + i, () -> consumed.messages.size() == count);
            waits.add(consumed.times.get(i) - sent);
        }
        Collections.sort(waits);
        Check.that(waits.get(4) < 100, "a median below 100 ms, but the waits are " + waits);
    }

    private static void offsetsOverRestart(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Kept", 4);
        String group = Mq.fresh("G");
        for (int i = 0; i < 40; i++) {
            producer.send(new Message(topic, ("before " + i).getBytes(UTF_8)));
        }
        Consumed first = consume(mq, group, topic, "*");
        Mq.awaitExactly(first.messages, 40, "messages");
        first.consumer.shutdown();

        for (int i = 0; i < 20; i++) {
            producer.send(new Message(topic, ("between " + i).getBytes(UTF_8)));
        }
        Consumed second = consume(mq, group, topic, "*");
        Mq.awaitExactly(second.messages, 20, "messages");
        Check.equal(Mq.set(Sending.bodies(second.messages)), Mq.set(Sending.numbered("between ", 20)), "bodies after the restart");
    }

    private static void newGroup(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "NewGroup", 2);
        for (int i = 0; i < 10; i++) {
            producer.send(new Message(topic, ("old " + i).getBytes(UTF_8)));
        }
        for (ConsumeFromWhere where : List.of(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET, ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET)) {
            DefaultMQPushConsumer consumer = mq.pushConsumer(Mq.fresh("G"));
            consumer.setConsumeFromWhere(where);
            Mq.awaitExactly(consume(consumer, topic, "*").messages, 10, "messages with " + where);
        }
    }

    private static void broadcasting(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Broadcast", 2);
        String group = Mq.fresh("G");
        List<String> instances = List.of(Mq.fresh("one"), Mq.fresh("two"));
        List<Consumed> members = new ArrayList<>();
        for (String instance : instances) {
            members.add(broadcast(mq, group, instance, topic, ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET, null));
        }
        for (int i = 0; i < 20; i++) {
            producer.send(new Message(topic, ("all " + i).getBytes(UTF_8)));
        }
        for (Consumed member : members) {
            Mq.awaitExactly(member.messages, 20, "messages at each member");
            Check.equal(Mq.set(Sending.bodies(member.messages)), Mq.set(Sending.numbered("all ", 20)), "bodies");
        }
        // the first goes, misses five messages, and comes back under its name
        members.get(0).consumer.shutdown();
        for (int i = 0; i < 5; i++) {
            producer.send(new Message(topic, ("missed " + i).getBytes(UTF_8)));
        }
        Consumed again = broadcast(mq, group, instances.get(0), topic, ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET, null);
        Mq.awaitExactly(again.messages, 5, "messages that it missed");
        Check.equal(Mq.set(Sending.bodies(again.messages)), Mq.set(Sending.numbered("missed ", 5)), "bodies");
        Mq.awaitExactly(members.get(1).messages, 25, "messages at the other member");
    }

    private static void fromWhere(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "FromWhere", 1);
        long start = System.currentTimeMillis();
        producer.send(new Message(topic, "old".getBytes(UTF_8)));
        // the client's timestamp has seconds
        long between = (start / 1000 + 2) * 1000;
        Mq.await("two seconds have passed", () -> System.currentTimeMillis() > between);
        producer.send(new Message(topic, "new".getBytes(UTF_8)));

        Consumed first = broadcast(mq, Mq.fresh("G"), Mq.fresh("i"), topic, ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET, null);
        Consumed since = broadcast(mq, Mq.fresh("G"), Mq.fresh("i"), topic, ConsumeFromWhere.CONSUME_FROM_TIMESTAMP, between);
        Mq.awaitExactly(first.messages, 2, "messages from the first");
        Mq.awaitExactly(since.messages, 1, "messages from the timestamp");
        Check.equal(Sending.bodies(since.messages), List.of("new"), "bodies from the timestamp");

        Consumed last = broadcast(mq, Mq.fresh("G"), Mq.fresh("i"), topic, ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET, null);
        Mq.await("the last one has its queue", () -> Clustering.owned(last.consumer, topic).size() == 1);
        // its offset is the end now; wait until it is known to be so, by what comes next
        producer.send(new Message(topic, "newest".getBytes(UTF_8)));
        Mq.awaitExactly(first.messages, 3, "messages from the first");
        Mq.awaitExactly(last.messages, 1, "messages from the last");
        Check.equal(Sending.bodies(last.messages), List.of("newest"), "bodies from the last");
    }

    // ------------------------------------------------------------ helpers

    /** What a consumer got, in the order of its coming. */
    static final class Consumed {
        final DefaultMQPushConsumer consumer;
        final List<MessageExt> messages = Collections.synchronizedList(new ArrayList<>());
        final List<Long> times = Collections.synchronizedList(new ArrayList<>());

        Consumed(DefaultMQPushConsumer consumer) {
            this.consumer = consumer;
        }
    }

    static Consumed consume(Mq mq, String group, String topic, String tags) throws Exception {
        return consume(mq.pushConsumer(group), topic, tags);
    }

    static Consumed consume(DefaultMQPushConsumer consumer, String topic, String tags) throws Exception {
        Consumed consumed = new Consumed(consumer);
        consumer.subscribe(topic, tags);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                consumed.times.add(System.currentTimeMillis());
                consumed.messages.add(message);
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return consumed;
    }

    private static Consumed broadcast(Mq mq, String group, String instance, String topic, ConsumeFromWhere where, Long timestamp) throws Exception {
        DefaultMQPushConsumer consumer = mq.pushConsumer(group);
        consumer.setInstanceName(instance);
        Api.setBroadcasting(consumer);
        consumer.setConsumeFromWhere(where);
        if (timestamp != null) {
            consumer.setConsumeTimestamp(new SimpleDateFormat("yyyyMMddHHmmss").format(new Date(timestamp)));
        }
        return consume(consumer, topic, "*");
    }
}
