package interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

final class Delaying {
    static final String DEFAULT_LEVELS = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";
    /** Set by interop/run for every broker: messageDelayLevel. */
    static final int[] SECONDS = {0, 1, 2, 1, 2, 3, 4, 5, 8};

    private Delaying() {}

    static void scenarios(Suite suite) {
        suite.area("delay")
            .fact("levels of messageDelayLevel: on time, with id, key and properties", Delaying::levels)
            .fact("a level above the last one is the last one", Delaying::aboveTheLast)
            .fact("a waiting message survives a restart of the broker and comes once", Delaying::overRestart)
            .onBroker("autoCreateTopicEnable", "false", "messageDelayLevel", DEFAULT_LEVELS)
            .fact("the default levels begin with 1 s and 5 s", Delaying::defaultLevels);
    }

    /** How late a broker may be. CometMQ keeps ±100 ms; Apache looks every 100 ms, and delivers after looking. */
    private static long late() {
        return Interop.againstApache() ? 300 : 100;
    }

    private static void levels(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Levels", 1);
        Pushing.Consumed consumed = warm(mq, producer, topic);
        Map<String, SendResult> sent = new HashMap<>();
        for (int level = 1; level <= 7; level++) {
            for (int i = 0; i < 3; i++) {
                String key = level + "-" + i;
                Message message = new Message(topic, "t", key, String.valueOf(level).getBytes(UTF_8));
                message.putUserProperty("user", "属性");
                message.setDelayTimeLevel(level);
                sent.put(key, producer.send(message));
            }
        }
        Mq.awaitExactly(consumed.messages, 21, "messages");
        for (int i = 0; i < 21; i++) {
            MessageExt message = consumed.messages.get(i);
            int level = Integer.parseInt(new String(message.getBody(), UTF_8));
            Check.equal(message.getMsgId(), sent.get(message.getKeys()).getMsgId(), "msgId");
            Check.equal(message.getTopic(), topic, "topic");
            Check.equal(message.getTags(), "t", "tag");
            Check.equal(message.getUserProperty("user"), "属性", "user property");
            Check.equal(message.getReconsumeTimes(), 0, "reconsume times");
            onTime(message, consumed.times.get(i), SECONDS[level]);
        }
        Mq.await("found by key", () -> Querying.byKey(producer, topic, "1-0").equals(List.of(sent.get("1-0").getMsgId())));
    }

    /** A consumer that is already being served. */
    private static Pushing.Consumed warm(Mq mq, DefaultMQProducer producer, String topic) throws Exception {
        Pushing.Consumed consumed = Pushing.consume(mq, Mq.fresh("G"), topic, "*");
        producer.send(new Message(topic, "warm up".getBytes(UTF_8)));
        Mq.await("the consumer is served", () -> consumed.messages.size() == 1 && consumed.times.size() == 1);
        consumed.messages.clear();
        consumed.times.clear();
        return consumed;
    }

    private static void onTime(MessageExt message, long received, int seconds) {
        long stored = message.getStoreTimestamp() - message.getBornTimestamp();
        Check.between(stored - seconds * 1000L, -100, late(), "lateness of " + seconds + " s at the broker, ms");
        Check.between(received - message.getBornTimestamp() - seconds * 1000L, -100, late() + 900, "lateness of " + seconds + " s at the consumer, ms");
    }

    private static void aboveTheLast(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Above", 1);
        Pushing.Consumed consumed = Pushing.consume(mq, Mq.fresh("G"), topic, "*");
        Message message = new Message(topic, "far".getBytes(UTF_8));
        message.setDelayTimeLevel(99);
        producer.send(message);
        // the last level is 2 h: it is accepted, and does not come
        producer.send(new Message(topic, "near".getBytes(UTF_8)));
        Mq.awaitExactly(consumed.messages, 1, "messages");
        Check.equal(Sending.bodies(consumed.messages), List.of("near"), "bodies");
    }

    private static void overRestart(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "DelayRestart", 1);
        Pushing.Consumed consumed = Pushing.consume(mq, Mq.fresh("G"), topic, "*");
        Map<String, String> ids = new HashMap<>();
        for (int level : new int[] {7, 8}) {
            Message message = new Message(topic, String.valueOf(level).getBytes(UTF_8));
            message.setDelayTimeLevel(level);
            ids.put(String.valueOf(level), producer.send(message).getMsgId());
        }
        Driver.restartBroker();
        long up = System.currentTimeMillis();
        Mq.awaitExactly(consumed.messages, 2, "messages");
        for (MessageExt message : consumed.messages) {
            String level = new String(message.getBody(), UTF_8);
            Check.equal(message.getMsgId(), ids.get(level), "msgId");
            long due = message.getBornTimestamp() + SECONDS[Integer.parseInt(level)] * 1000L;
            Check.that(message.getStoreTimestamp() >= due - 100, "not early, but " + (message.getStoreTimestamp() - due) + " ms");
            // what became due while the broker was down comes when it is up; Apache begins to deliver a second after its start
            Check.that(message.getStoreTimestamp() <= Math.max(due, up) + 1_500,
                "soon after it is due and the broker is up, but " + (message.getStoreTimestamp() - Math.max(due, up)) + " ms later");
        }
    }

    private static void defaultLevels(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = Mq.fresh("DefaultLevels");
        Api.createTopic(producer, "DefaultCluster", topic, 1);
        Mq.awaitRoute(producer, topic, 1);
        Pushing.Consumed consumed = warm(mq, producer, topic);
        for (int level = 1; level <= 2; level++) {
            Message message = new Message(topic, String.valueOf(level).getBytes(UTF_8));
            message.setDelayTimeLevel(level);
            producer.send(message);
        }
        Mq.awaitExactly(consumed.messages, 2, "messages");
        Check.equal(Sending.bodies(consumed.messages), List.of("1", "2"), "bodies in order");
        onTime(consumed.messages.get(0), consumed.times.get(0), 1);
        onTime(consumed.messages.get(1), consumed.times.get(1), 5);
    }
}
