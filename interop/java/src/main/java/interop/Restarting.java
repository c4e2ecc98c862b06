package interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

final class Restarting {
    private Restarting() {}

    static void scenarios(Suite suite) {
        suite.area("restart")
            .fact("a clean restart keeps messages, topics, offsets and keys", Restarting::clean)
            .fact("kill −9 of the broker: every acknowledged message is there, clients go on", Restarting::killed);
    }

    private static void clean(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Clean", 3);
        String group = Mq.fresh("G");
        for (int i = 0; i < 60; i++) {
            producer.send(new Message(topic, "t", "key-" + i, ("before " + i).getBytes(UTF_8)));
        }
        Pushing.Consumed first = Pushing.consume(mq, group, topic, "*");
        Mq.awaitExactly(first.messages, 60, "messages");
        first.consumer.shutdown();
        DefaultMQPullConsumer puller = mq.puller(Mq.fresh("G"));
        List<String> before = describe(Mq.readTopic(puller, topic, 60));

        Driver.restartBroker();

        DefaultMQProducer fresh = mq.producer();
        Mq.awaitRoute(fresh, topic, 3);
        Check.equal(describe(Mq.readTopic(mq.puller(Mq.fresh("G")), topic, 60)), before, "messages after the restart");
        Mq.await("a key query", () -> Querying.byKey(fresh, topic, "key-42").size() == 1);
        for (int i = 0; i < 10; i++) {
            fresh.send(new Message(topic, ("after " + i).getBytes(UTF_8)));
        }
        Pushing.Consumed second = Pushing.consume(mq, group, topic, "*");
        Mq.awaitExactly(second.messages, 10, "messages");
        Check.equal(Mq.set(Sending.bodies(second.messages)), Mq.set(Sending.numbered("after ", 10)), "bodies after the restart");
    }

    private static List<String> describe(List<MessageExt> messages) {
        return messages.stream().map(m -> m.getQueueId() + "@" + m.getQueueOffset() + " " + m.getMsgId() + " " + Dump.offsetMsgId(m)
            + " " + m.getKeys() + " " + m.getStoreTimestamp() + " " + new String(m.getBody(), UTF_8)).toList();
    }

    private static void killed(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "BrokerKilled", 2);
        Pushing.Consumed consumed = Pushing.consume(mq, Mq.fresh("G"), topic, "*");
        List<MessageQueue> queues = Mq.queues(producer, topic);
        List<String> acknowledged = new ArrayList<>();
        for (int i = 0; i < 200; i++) {
            acknowledged.add(producer.send(new Message(topic, "", "k" + i, ("m" + i).getBytes(UTF_8)), queues.get(i % 2)).getMsgId());
        }
        Driver.killBroker();
        Driver.startBroker();

        Mq.await("the producer goes on", Duration.ofSeconds(40), () -> {
            try {
                acknowledged.add(producer.send(new Message(topic, "goes on".getBytes(UTF_8)), queues.get(0)).getMsgId());
                return true;
            } catch (Exception notYet) {
                return false;
            }
        });
        List<String> stored = Mq.readTopic(mq.puller(Mq.fresh("G")), topic, acknowledged.size()).stream().map(MessageExt::getMsgId).toList();
        Check.that(Mq.set(stored).containsAll(acknowledged), "all " + acknowledged.size() + " acknowledged messages are stored, but only " + stored.size());
        for (MessageQueue queue : queues) {
            List<MessageExt> messages = Mq.readAll(mq.puller(Mq.fresh("G")), queue, 0, 100);
            for (int i = 0; i < messages.size(); i++) {
                Check.equal(messages.get(i).getQueueOffset(), (long) i, "queue offsets without gap or repetition");
            }
        }
        Mq.await("the consumer goes on and has all", Duration.ofSeconds(60), () -> {
            synchronized (consumed.messages) {
                return Mq.set(consumed.messages.stream().map(MessageExt::getMsgId).toList()).containsAll(acknowledged);
            }
        });
    }
}
