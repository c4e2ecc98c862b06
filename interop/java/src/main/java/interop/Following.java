package interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** What CometMQ knows of messages and Apache's brokers don't; the clients know nothing of it. */
final class Following {
    private static final int MESSAGE_LIFE = 90030;
    private static final int UPDATE_AND_CREATE_TOPIC = 17;
    private static final Supplier<String> OURS = () -> Interop.againstApache() ? "CometMQ's own" : null;

    private Following() {}

    static void scenarios(Suite suite) {
        suite.area("follow")
            .unless(OURS)
            .fact("a message has a timeline, though no client was told to trace", Following::life)
            .fact("a message with a known DEDUP_ID is answered with the first one's place, and comes once", Following::duplicate)
            .fact("of a batch the messages are stored whose DEDUP_IDs are new, and the answer is in its order", Following::duplicateBatch)
            .fact("a half message with a DEDUP_ID comes once, also when it is sent and committed again after a rollback", Following::duplicateHalf);
    }

    private static void life(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Life", 1);
        String group = mq.knownGroup("G", topic);
        DefaultMQPushConsumer consumer = mq.pushConsumer(group);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) ->
            messages.get(0).getReconsumeTimes() == 0 ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        consumer.start();
        SendResult sent = producer.send(new Message(topic, "t", "order-7", "followed".getBytes(UTF_8)));

        List<String> story = new ArrayList<>();
        Mq.await("the retry is acknowledged", () -> {
            story.clear();
            String body = Raw.ask(Interop.broker, MESSAGE_LIFE, Map.of("topic", topic, "msgId", sent.getMsgId()), new byte[0]).body();
            for (String event : body.substring(body.indexOf("\"events\""), body.indexOf("\"leftOut\"")).split("\\{")) {
                if (event.contains("\"what\"")) {
                    story.add(event);
                }
            }
            return story.stream().filter(event -> event.contains("\"acknowledged\"")).count() == 2;
        });
        for (String what : List.of("stored", "delivered", "sentBack", "retried", "acknowledged")) {
            List<String> found = story.stream().filter(event -> event.contains('"' + what + '"')).toList();
            String who = what.equals("stored") ? producer.getProducerGroup() : group;
            Check.that(!found.isEmpty() && found.stream().allMatch(event -> event.contains('"' + who + '"')), what + " by " + who + " in " + story);
            if (what.equals("delivered")) {
                Check.equal(found.size(), 2, "deliveries");
                String client = consumer.buildMQClientId();
                Check.that(found.stream().allMatch(event -> event.contains('"' + client + '"')), client + " in " + found);
            }
        }
    }

    private static void duplicate(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = topicWithWindow(mq, producer, "Once");
        List<String> seen = seen(mq, topic);
        List<MessageQueue> queues = Mq.queues(producer, topic);
        SendResult first = producer.send(identified(topic, "order-7", "first"), queues.get(0));
        SendResult second = producer.send(identified(topic, "order-7", "second"), queues.get(1));
        SendResult other = producer.send(identified(topic, "order-8", "other"), queues.get(1));
        Check.equal(second.getSendStatus(), SendStatus.SEND_OK, "status of the duplicate");
        Check.equal(second.getOffsetMsgId(), first.getOffsetMsgId(), "offset id");
        Check.equal(second.getMessageQueue(), first.getMessageQueue(), "queue");
        Check.equal(second.getQueueOffset(), first.getQueueOffset(), "place");
        Check.equal(other.getQueueOffset(), 0L, "place of another one in the second queue");
        Mq.awaitExactly(seen, 2, "messages");
        Check.equal(Mq.set(seen), Mq.set(List.of("first", "other")), "what comes");
    }

    private static void duplicateBatch(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = topicWithWindow(mq, producer, "Batches");
        List<String> seen = seen(mq, topic);
        MessageQueue queue = Mq.queues(producer, topic).get(0);
        SendResult first = producer.send(List.of(identified(topic, "1", "a"), identified(topic, "2", "b")), queue);
        SendResult again = producer.send(List.of(identified(topic, "1", "a"), identified(topic, "2", "b")), queue);
        Check.equal(again.getSendStatus(), SendStatus.SEND_OK, "status of the repetition");
        Check.equal(again.getOffsetMsgId(), first.getOffsetMsgId(), "offset ids of the repetition");
        Check.equal(again.getQueueOffset(), first.getQueueOffset(), "place of the repetition");
        SendResult partly = producer.send(List.of(identified(topic, "3", "c"), identified(topic, "2", "b"), identified(topic, "4", "d")), queue);
        String[] ids = partly.getOffsetMsgId().split(",");
        Check.equal(ids.length, 3, "offset ids");
        Check.equal(ids[1], first.getOffsetMsgId().split(",")[1], "offset id of the one that is known");
        Check.equal(partly.getQueueOffset(), 2L, "place of the first");
        Mq.awaitExactly(seen, 4, "messages");
        Check.equal(Mq.set(seen), Mq.set(List.of("a", "b", "c", "d")), "what comes");
    }

    private static void duplicateHalf(Mq mq) throws Exception {
        DefaultMQProducer plain = mq.producer();
        String topic = topicWithWindow(mq, plain, "Halves");
        List<String> seen = seen(mq, topic);
        AtomicReference<LocalTransactionState> decision = new AtomicReference<>(LocalTransactionState.ROLLBACK_MESSAGE);
        TransactionMQProducer producer = new TransactionMQProducer(Mq.fresh("P"));
        producer.setNamesrvAddr(mq.namesrv);
        producer.setInstanceName(Mq.fresh("i"));
        producer.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
                return decision.get();
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                return LocalTransactionState.UNKNOW;
            }
        });
        mq.atEnd(producer::shutdown);
        producer.start();
        SendResult rolledBack = producer.sendMessageInTransaction(identified(topic, "order-1", "never"), null);
        decision.set(LocalTransactionState.UNKNOW);
        AtomicReference<SendResult> open = new AtomicReference<>();
        // Clients say how a transaction ended without waiting, and 5.x a moment later.
        Mq.await("what was rolled back is forgotten", () -> {
            open.set(producer.sendMessageInTransaction(identified(topic, "order-1", "once"), null));
            return open.get().getQueueOffset() != rolledBack.getQueueOffset();
        });
        decision.set(LocalTransactionState.COMMIT_MESSAGE);
        // The answer to the first was lost, say: the second goes on with its transaction.
        SendResult second = producer.sendMessageInTransaction(identified(topic, "order-1", "once more"), null);
        Check.equal(second.getQueueOffset(), open.get().getQueueOffset(), "place of the repetition");
        Mq.awaitExactly(seen, 1, "messages");
        producer.sendMessageInTransaction(identified(topic, "order-1", "again"), null);
        producer.sendMessageInTransaction(identified(topic, "order-2", "other"), null);
        Mq.awaitExactly(seen, 2, "messages");
        Check.equal(Mq.set(seen), Mq.set(List.of("once", "other")), "what comes");
    }

    /** A topic of two queues that knows messages again. */
    private static String topicWithWindow(Mq mq, DefaultMQProducer producer, String name) throws Exception {
        String topic = mq.topic(producer, name, 2);
        Map<String, String> fields = new HashMap<>(Map.of(
            "topic", topic, "defaultTopic", Mq.TEMPLATE, "readQueueNums", "2", "writeQueueNums", "2", "perm", "6",
            "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0", "order", "false", "attributes", "+dedup.window=600"));
        Check.equal(Raw.ask(Interop.broker, UPDATE_AND_CREATE_TOPIC, fields, new byte[0]).code(), 0, "code of the topic's change");
        return topic;
    }

    /** The bodies of all that comes. */
    private static List<String> seen(Mq mq, String topic) throws Exception {
        List<String> seen = Collections.synchronizedList(new ArrayList<>());
        DefaultMQPushConsumer consumer = mq.pushConsumer(Mq.fresh("G"));
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> seen.add(new String(message.getBody(), UTF_8)));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return seen;
    }

    private static Message identified(String topic, String id, String body) {
        Message message = new Message(topic, body.getBytes(UTF_8));
        message.putUserProperty("DEDUP_ID", id);
        return message;
    }
}
