package interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;

/** Messages that are due at a time of their own: properties, which the 5.x clients have methods for. */
final class Timing {
    private static final String SECONDS = "TIMER_DELAY_SEC";
    private static final String MILLIS = "TIMER_DELAY_MS";
    private static final String TIME = "TIMER_DELIVER_MS";
    private static final long PRECISION = 1_000;
    private static final int MESSAGE_ILLEGAL = 13;
    private static final int ILLEGAL_OPERATION = 604;

    private Timing() {}

    static void scenarios(Suite suite) {
        suite.area("timer")
            .fact("seconds, milliseconds, a time: never early, a second late at most, with id, key and properties", Timing::onTime)
            .fact("what is due already comes at once", Timing::past)
            .fact("further than timerMaxDelaySec, or no number: refused with 13", Timing::illegal)
            .fact("a waiting message survives a restart of the broker and comes once", Timing::overRestart)
            .onBroker("timerRollWindowSlot", "3")
            .fact("further than the roll window: put again on the way, and comes once", Timing::rolled)
            .onBroker("recallMessageEnable", "true")
            .unless(() -> Api.hasRecall() ? null : "this client has no recallMessage()")
            .fact("recalled: never comes; a second time and after delivery as Apache answers", Timing::recalled);
    }

    /** How late a broker may be beyond its precision. Apache looks every 100 ms, and delivers after looking. */
    private static long late() {
        return PRECISION + (Interop.againstApache() ? 500 : 100);
    }

    private static Message message(String topic, String key, String property, long value) {
        Message message = new Message(topic, "t", key, key.getBytes(UTF_8));
        message.putUserProperty("user", "属性");
        Api.setTime(message, property, value);
        return message;
    }

    private static void onTime(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Timed", 1);
        Pushing.Consumed consumed = Pushing.consume(mq, Mq.fresh("G"), topic, "*");
        producer.send(new Message(topic, "warm up".getBytes(UTF_8)));
        Mq.await("the consumer is served", () -> consumed.messages.size() == 1 && consumed.times.size() == 1);
        consumed.messages.clear();
        consumed.times.clear();
        Map<String, SendResult> sent = new HashMap<>();
        Map<String, Long> due = new HashMap<>();
        for (int n = 0; n < 5; n++) {
            for (String property : List.of(SECONDS, MILLIS, TIME)) {
                String key = property + n;
                long delay = property.equals(SECONDS) ? 1_000L * (n + 1) : 700 + 850L * n;
                long before = System.currentTimeMillis();
                // at a full second, too
                long time = n == 0 ? (before / 1000 + 2) * 1000 : before + delay;
                long value = property.equals(SECONDS) ? n + 1 : property.equals(MILLIS) ? delay : time;
                sent.put(key, producer.send(message(topic, key, property, value)));
                due.put(key, property.equals(TIME) ? time : before + delay);
            }
        }
        Mq.awaitExactly(consumed.messages, 15, "messages");
        for (int i = 0; i < 15; i++) {
            MessageExt message = consumed.messages.get(i);
            String key = message.getKeys();
            Check.equal(message.getMsgId(), sent.get(key).getMsgId(), "msgId");
            Check.equal(message.getTopic(), topic, "topic");
            Check.equal(message.getTags(), "t", "tag");
            Check.equal(message.getUserProperty("user"), "属性", "user property");
            Check.equal(message.getReconsumeTimes(), 0, "reconsume times");
            Check.equal(message.getProperty("REAL_TOPIC"), topic, "REAL_TOPIC");
            long out = Long.parseLong(message.getProperty("TIMER_OUT_MS"));
            Check.equal(out % PRECISION, 0L, "TIMER_OUT_MS is a whole second, the rest");
            // the sender's clock was read before the broker's
            Check.between(message.getStoreTimestamp() - due.get(key), 0, late() + 50, "lateness of " + key + " at the broker, ms");
            Check.between(consumed.times.get(i) - due.get(key), 0, late() + 950, "lateness of " + key + " at the consumer, ms");
            Check.between(Long.parseLong(message.getProperty("TIMER_DEQUEUE_MS")) - out, PRECISION, 2 * PRECISION, "TIMER_DEQUEUE_MS behind TIMER_OUT_MS");
            long enqueued = Long.parseLong(message.getProperty("TIMER_ENQUEUE_MS"));
            Check.that(enqueued <= out, "TIMER_ENQUEUE_MS is " + enqueued + ", TIMER_OUT_MS " + out);
        }
        String first = TIME + 0;
        Mq.await("found by key", () -> Querying.byKey(producer, topic, first).equals(List.of(sent.get(first).getMsgId())));
    }

    private static void past(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Past", 1);
        Pushing.Consumed consumed = Pushing.consume(mq, Mq.fresh("G"), topic, "*");
        long now = System.currentTimeMillis();
        producer.send(message(topic, "time", TIME, now - 10));
        producer.send(message(topic, "millis", MILLIS, 0));
        producer.send(message(topic, "seconds", SECONDS, -5));
        Mq.awaitExactly(consumed.messages, 3, "messages");
        for (MessageExt message : consumed.messages) {
            Check.equal(message.getProperty("TIMER_OUT_MS"), null, "TIMER_OUT_MS of " + message.getKeys());
        }
    }

    private static void illegal(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Illegal", 1);
        long far = 401L * 24 * 3600;
        Message word = new Message(topic, "word".getBytes(UTF_8));
        MessageAccessor.putProperty(word, SECONDS, "soon");
        List<Message> messages = new ArrayList<>(List.of(
            message(topic, "seconds", SECONDS, far), message(topic, "millis", MILLIS, far * 1000),
            message(topic, "time", TIME, System.currentTimeMillis() + far * 1000), word));
        for (Message message : messages) {
            Exception refused = Check.thrown(Exception.class, () -> producer.send(message), "send of " + message);
            Check.equal(codeOf(refused), MESSAGE_ILLEGAL, "code of " + refused);
        }
        Check.equal(producer.maxOffset(Mq.queues(producer, topic).get(0)), 0L, "messages stored");
    }

    private static int codeOf(Exception refused) {
        return refused instanceof MQBrokerException byBroker ? byBroker.getResponseCode() : ((MQClientException) refused).getResponseCode();
    }

    private static void overRestart(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "TimerRestart", 1);
        Pushing.Consumed consumed = Pushing.consume(mq, Mq.fresh("G"), topic, "*");
        long begun = System.currentTimeMillis();
        for (int n = 0; n < 10; n++) {
            producer.send(message(topic, String.valueOf(n), TIME, begun + 1_000 + n * 1_700));
        }
        Mq.await("the first came", () -> consumed.messages.size() >= 1);
        Driver.restartBroker();
        long up = System.currentTimeMillis();
        Mq.awaitExactly(consumed.messages, 10, "messages");
        for (MessageExt message : consumed.messages) {
            long due = begun + 1_000 + Integer.parseInt(message.getKeys()) * 1_700L;
            Check.that(message.getStoreTimestamp() >= due, "not early, but " + (message.getStoreTimestamp() - due) + " ms");
            Check.that(message.getStoreTimestamp() <= Math.max(due, up) + 2_500, "soon after it is due and the broker is up, but "
                + (message.getStoreTimestamp() - Math.max(due, up)) + " ms later");
        }
    }

    private static void rolled(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Rolled", 1);
        Pushing.Consumed consumed = Pushing.consume(mq, Mq.fresh("G"), topic, "*");
        long due = System.currentTimeMillis() + 12_300;
        producer.send(message(topic, "far", TIME, due));
        Mq.awaitExactly(consumed.messages, 1, "messages");
        MessageExt message = consumed.messages.get(0);
        Check.between(message.getStoreTimestamp() - due, 0, late() + 500, "lateness, ms");
        Check.between(Long.parseLong(message.getProperty("TIMER_ROLL_TIMES")), 2, 6, "TIMER_ROLL_TIMES");
    }

    private static void recalled(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Recalled", 1);
        Pushing.Consumed consumed = Pushing.consume(mq, Mq.fresh("G"), topic, "*");
        Check.equal(Api.recallHandle(producer.send(new Message(topic, "at once".getBytes(UTF_8)))), null, "handle of a message without a time");
        SendResult first = producer.send(message(topic, "first", MILLIS, 2_500));
        SendResult second = producer.send(message(topic, "second", MILLIS, 2_500));
        String handle = Api.recallHandle(first);
        Check.equal(Api.recall(producer, topic, handle), first.getMsgId(), "msgId of what is recalled");
        Check.equal(Api.recall(producer, topic, handle), first.getMsgId(), "msgId when it is recalled again");
        Exception other = Check.thrown(Exception.class, () -> Api.recall(producer, mq.topic(producer, "Other", 1), handle), "recall of another topic's");
        Check.equal(codeOf(other), ILLEGAL_OPERATION, "code of " + other);
        Mq.awaitExactly(consumed.messages, 2, "messages");
        Check.equal(consumed.messages.get(1).getKeys(), "second", "what was not recalled");
        Thread.sleep(1_000);
        Check.equal(consumed.messages.size(), 2, "messages a second later");
        Exception late = Check.thrown(Exception.class, () -> Api.recall(producer, topic, Api.recallHandle(second)), "recall of what came");
        Check.equal(codeOf(late), ILLEGAL_OPERATION, "code of " + late);
    }
}
