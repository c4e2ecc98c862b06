package interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

final class Retrying {
    private Retrying() {}

    static void scenarios(Suite suite) {
        suite.area("retry")
            .fact("RECONSUME_LATER: counted, with back-off, then the dead-letter topic with its origin", Retrying::backOffThenDeadLetter)
            .fact("a listener that throws or returns null is retried alike", Retrying::throwing)
            .fact("the listener's own delay level, and −1 for the dead letters at once", Retrying::ownLevel)
            .fact("sendMessageBack of a pull consumer comes again through the retry topic", Retrying::sendBack);
    }

    private static void backOffThenDeadLetter(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Retry", 2);
        String group = mq.knownGroup("G", topic);
        List<MessageExt> seen = Collections.synchronizedList(new ArrayList<>());
        List<Long> times = Collections.synchronizedList(new ArrayList<>());
        List<Integer> counts = Collections.synchronizedList(new ArrayList<>());
        DefaultMQPushConsumer consumer = mq.pushConsumer(group);
        consumer.subscribe(topic, "*");
        consumer.setMaxReconsumeTimes(3);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                seen.add(message);
                times.add(System.currentTimeMillis());
                counts.add(message.getReconsumeTimes());
            }
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        Message message = new Message(topic, "tag", "key", "失败 fails".getBytes(UTF_8));
        message.putUserProperty("origin", "here");
        SendResult sent = producer.send(message);

        Mq.awaitExactly(seen, 4, "deliveries");
        Check.equal(counts, List.of(0, 1, 2, 3), "reconsume times");
        // retry n waits for level 2 + n: 1 s, 2 s, 3 s with the levels of this run
        for (int retry = 1; retry <= 3; retry++) {
            Check.between(seen.get(retry).getStoreTimestamp() - times.get(retry - 1), retry * 1_000 - 100, retry * 1_000 + 900, "back-off before retry " + retry + ", ms");
        }
        for (MessageExt delivery : seen) {
            Check.equal(delivery.getTopic(), topic, "topic");
            Check.equal(new String(delivery.getBody(), UTF_8), "失败 fails", "body");
            Check.equal(delivery.getMsgId(), sent.getMsgId(), "msgId");
        }
        Check.equal(seen.get(1).getProperty("ORIGIN_MESSAGE_ID"), sent.getOffsetMsgId(), "origin id at the first retry");
        Check.equal(seen.get(3).getProperty("ORIGIN_MESSAGE_ID"), sent.getOffsetMsgId(), "origin id at the last retry");

        MessageExt letter = deadLetters(mq, group, 1).get(0);
        Check.equal(letter.getTopic(), "%DLQ%" + group, "topic of the dead letter");
        Check.equal(new String(letter.getBody(), UTF_8), "失败 fails", "body of the dead letter");
        Check.equal(letter.getTags(), "tag", "tag of the dead letter");
        Check.equal(letter.getKeys(), "key", "key of the dead letter");
        Check.equal(letter.getUserProperty("origin"), "here", "user property of the dead letter");
        Check.equal(letter.getMsgId(), sent.getMsgId(), "msgId of the dead letter");
        Check.equal(letter.getProperty("RETRY_TOPIC"), topic, "origin topic of the dead letter");
        Check.equal(letter.getProperty("ORIGIN_MESSAGE_ID"), sent.getOffsetMsgId(), "origin id of the dead letter");
        Check.equal(letter.getReconsumeTimes(), 4, "reconsume times of the dead letter");
        Check.equal(letter.getBornTimestamp(), seen.get(0).getBornTimestamp(), "born time of the dead letter");
    }

    /** Waits until the dead-letter topic of a group holds so many, and reads them as any topic is read. */
    static List<MessageExt> deadLetters(Mq mq, String group, int count) throws Exception {
        DefaultMQPullConsumer reader = mq.puller(Mq.fresh("G"));
        MessageQueue queue = new MessageQueue("%DLQ%" + group, "broker-a", 0);
        Mq.await(count + " dead letters", () -> {
            try {
                return reader.fetchSubscribeMessageQueues(queue.getTopic()).contains(queue) && reader.maxOffset(queue) >= count;
            } catch (MQClientException noRouteYet) {
                return false;
            }
        });
        List<MessageExt> letters = Mq.readAll(reader, queue, 0, count);
        Check.equal(letters.size(), count, "dead letters");
        return letters;
    }

    private static void throwing(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Throws", 1);
        List<String> seen = Collections.synchronizedList(new ArrayList<>());
        DefaultMQPushConsumer consumer = mq.pushConsumer(mq.knownGroup("G", topic));
        consumer.subscribe(topic, "*");
        consumer.setConsumeMessageBatchMaxSize(1);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            String body = new String(messages.get(0).getBody(), UTF_8);
            seen.add(body + "/" + messages.get(0).getReconsumeTimes());
            if (messages.get(0).getReconsumeTimes() == 0 && body.equals("throw")) {
                throw new IllegalStateException("on purpose");
            }
            return messages.get(0).getReconsumeTimes() == 0 && body.equals("null") ? null : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        for (String body : List.of("throw", "null", "good")) {
            producer.send(new Message(topic, body.getBytes(UTF_8)));
        }
        Mq.awaitExactly(seen, 5, "deliveries");
        Check.equal(Mq.set(seen), Mq.set(List.of("throw/0", "throw/1", "null/0", "null/1", "good/0")), "bodies and attempts");
    }

    private static void ownLevel(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "OwnLevel", 1);
        String group = mq.knownGroup("G", topic);
        Map<String, List<Long>> times = Map.of("level 2", Collections.synchronizedList(new ArrayList<>()), "dead", Collections.synchronizedList(new ArrayList<>()));
        List<Long> stored = Collections.synchronizedList(new ArrayList<>());
        DefaultMQPushConsumer consumer = mq.pushConsumer(group);
        consumer.subscribe(topic, "*");
        consumer.setConsumeMessageBatchMaxSize(1);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            String body = new String(messages.get(0).getBody(), UTF_8);
            times.get(body).add(System.currentTimeMillis());
            if (body.equals("level 2")) {
                stored.add(messages.get(0).getStoreTimestamp());
            }
            if (messages.get(0).getReconsumeTimes() > 0) {
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            }
            context.setDelayLevelWhenNextConsume(body.equals("dead") ? -1 : 2);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        producer.send(new Message(topic, "dead".getBytes(UTF_8)));
        producer.send(new Message(topic, "level 2".getBytes(UTF_8)));
        Check.equal(Sending.bodies(deadLetters(mq, group, 1)), List.of("dead"), "dead letters");
        Mq.awaitExactly(times.get("level 2"), 2, "deliveries");
        Check.between(stored.get(1) - times.get("level 2").get(0), 1_900, 2_900, "back-off of level 2, ms");
        Check.equal(times.get("dead").size(), 1, "deliveries of the dead one");
    }

    private static void sendBack(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "SendBack", 1);
        String group = mq.knownGroup("G", topic);
        MessageQueue queue = Mq.queues(producer, topic).get(0);
        SendResult sent = producer.send(new Message(topic, "back".getBytes(UTF_8)), queue);
        DefaultMQPullConsumer puller = mq.puller(group);
        MessageExt message = Mq.readAll(puller, queue, 0, 1).get(0);

        puller.sendMessageBack(message, 1);

        MessageQueue retry = new MessageQueue("%RETRY%" + group, "broker-a", 0);
        Mq.await("it is in the retry topic", () -> puller.maxOffset(retry) == 1);
        MessageExt again = Mq.readAll(puller, retry, 0, 1).get(0);
        Check.equal(new String(again.getBody(), UTF_8), "back", "body");
        Check.equal(again.getReconsumeTimes(), 1, "reconsume times");
        Check.equal(again.getTopic(), retry.getTopic(), "topic");
        Check.equal(again.getProperty("RETRY_TOPIC"), topic, "origin topic");
        Check.equal(again.getMsgId(), sent.getMsgId(), "msgId");
        Check.equal(again.getProperty("ORIGIN_MESSAGE_ID"), sent.getOffsetMsgId(), "origin id");
        Check.between(again.getStoreTimestamp() - message.getStoreTimestamp(), 900, 3_000, "delay, ms");
    }
}
