package interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Names that clients wrap, and where groups begin. */
final class Naming {
    private Naming() {}

    static void scenarios(Suite suite) {
        suite.area("groups")
            .fact("a group that comes back goes on, and begins a queue that is new to it at its first message", Naming::comesBack)
            .fact("unit mode: topics and retry topics are marked and listed", Naming::unitMode)
            .unless(() -> Api.hasNamespace() ? null : "this client has no namespaces")
            .fact("namespace: topics and groups of two namespaces do not meet, retries included", Naming::namespaces);
    }

    private static void comesBack(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "ComesBack", 1);
        String group = Mq.fresh("G");
        DefaultMQPushConsumer first = mq.pushConsumer(group);
        first.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
        Pushing.Consumed before = Pushing.consume(first, topic, "*");
        MessageQueue old = Mq.queues(producer, topic).get(0);
        // The first message comes when the consumer has found its queue.
        Mq.await("the consumer has its queue", () -> !first.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().isEmpty());
        Mq.nap(500);
        producer.send(new Message(topic, "seen".getBytes(UTF_8)), old);
        Mq.awaitExactly(before.messages, 1, "messages");
        Mq.finish(first, Map.of(old, 1L));
        mq.topicNamed(producer, topic, 3);
        for (MessageQueue queue : Mq.queues(producer, topic)) {
            producer.send(new Message(topic, ("missed " + queue.getQueueId()).getBytes(UTF_8)), queue);
        }
        DefaultMQPushConsumer again = mq.pushConsumer(group);
        again.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
        Pushing.Consumed after = Pushing.consume(again, topic, "*");
        Mq.awaitExactly(after.messages, 3, "messages");
        Check.equal(Mq.set(Sending.bodies(after.messages)), Set.of("missed 0", "missed 1", "missed 2"), "bodies");
    }

    private static void unitMode(Mq mq) throws Exception {
        DefaultMQProducer plain = mq.producer();
        String notUnit = mq.topic(plain, "NotUnit", 1);
        DefaultMQProducer producer = mq.newProducer();
        producer.setUnitMode(true);
        producer.start();
        String topic = Mq.fresh("Unit");
        producer.send(new Message(topic, "m".getBytes(UTF_8)));
        String group = Mq.fresh("G");
        DefaultMQPushConsumer consumer = mq.pushConsumer(group);
        consumer.setUnitMode(true);
        Pushing.Consumed consumed = Pushing.consume(consumer, topic, "*");
        Mq.awaitExactly(consumed.messages, 1, "messages");
        Mq.await("the name server knows both", () -> listed(mq, 311, topic) && listed(mq, 312, "%RETRY%" + group));
        Check.that(!listed(mq, 311, notUnit) && !listed(mq, 312, topic), "others are not listed");
        Check.that(listed(mq, 313, "%RETRY%" + group), "subscribed by a unit, and of none");
    }

    private static boolean listed(Mq mq, int code, String topic) throws Exception {
        Raw.Answer answer = Raw.ask(mq.namesrv, code, Map.of(), new byte[0]);
        Check.equal(answer.code(), 0, "code");
        return answer.body().contains('"' + topic + '"');
    }

    private static void namespaces(Mq mq) throws Exception {
        DefaultMQProducer plain = mq.producer();
        String topic = Mq.fresh("Spaced");
        String group = Mq.fresh("G");
        mq.topicNamed(plain, "one%" + topic, 1);
        mq.topicNamed(plain, "two%" + topic, 1);
        for (String namespace : List.of("one", "two")) {
            mq.makeKnown(namespace + "%" + group, namespace + "%" + topic);
        }
        DefaultMQPushConsumer consumer = mq.pushConsumer(group);
        Api.setNamespace(consumer, "one");
        List<MessageExt> got = java.util.Collections.synchronizedList(new java.util.ArrayList<>());
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            got.addAll(messages);
            boolean retried = messages.get(0).getReconsumeTimes() > 0;
            return retried ? ConsumeConcurrentlyStatus.CONSUME_SUCCESS : ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        DefaultMQPushConsumer other = mq.pushConsumer(group);
        Api.setNamespace(other, "two");
        Pushing.Consumed others = Pushing.consume(other, topic, "*");
        DefaultMQProducer producer = mq.newProducer();
        Api.setNamespace(producer, "one");
        producer.start();
        producer.send(new Message(topic, "of one".getBytes(UTF_8)));
        Mq.awaitExactly(got, 2, "deliveries, the second after a failure");
        for (MessageExt message : got) {
            Check.equal(new String(message.getBody(), UTF_8), "of one", "body");
            Check.equal(message.getTopic(), topic, "topic as the application knows it");
        }
        Check.equal(got.get(1).getReconsumeTimes(), 1, "attempts");
        Check.equal(others.messages.size(), 0, "messages in the other namespace");
    }
}
