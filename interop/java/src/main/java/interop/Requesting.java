package interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import java.util.function.Predicate;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.exception.RequestTimeoutException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** A producer asks, a consumer replies, the broker brings the reply. */
final class Requesting {
    private static final String REPLIES = "DefaultCluster_REPLY_TOPIC";

    private Requesting() {}

    static void scenarios(Suite suite) {
        suite.area("request-reply")
            .unless(() -> Api.hasRequestReply() ? null : "this client has no request()")
            .fact("sync: each request gets its own reply", Requesting::sync)
            .fact("async: each request gets its own reply", Requesting::async)
            .fact("large replies arrive whole", Requesting::large)
            .fact("no reply in time: RequestTimeoutException, sync and async", Requesting::timeOut)
            .fact("a reply to a client that left is answered with the reason", Requesting::left)
            .fact("over two brokers: replies find who asked", Requesting::twoBrokers);
    }

    /** Replies to messages with "re: " and what they said, and keeps how that went. */
    private static final class Replier {
        final DefaultMQProducer producer;
        final List<MessageExt> asked = Collections.synchronizedList(new ArrayList<>());
        final List<SendResult> sent = Collections.synchronizedList(new ArrayList<>());

        Replier(Mq mq, String topic, Predicate<MessageExt> replies) throws Exception {
            producer = mq.producer();
            DefaultMQPushConsumer consumer = mq.pushConsumer(Mq.fresh("G"));
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                for (MessageExt message : messages) {
                    asked.add(message);
                    if (replies.test(message)) {
                        try {
                            sent.add(reply(message));
                        } catch (Exception failed) {
                            failed.printStackTrace();
                        }
                    }
                }
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            consumer.start();
        }

        SendResult reply(MessageExt request) throws Exception {
            String text = "re: " + new String(request.getBody(), UTF_8);
            return producer.send(MessageUtil.createReplyMessage(request, text.getBytes(UTF_8)), 5_000);
        }
    }

    /** In a class of its own: client 4.4.0 has no RequestCallback. */
    private static final class Callbacks {
        /** Tells the reply's text, "nothing" after the time-out, or what failed. Clients call onSuccess with no message, too, when the request is sent. */
        static void request(DefaultMQProducer asker, Message request, long timeout, Consumer<String> outcome) throws Exception {
            asker.request(request, new RequestCallback() {
                @Override
                public void onSuccess(Message message) {
                    if (message != null) {
                        outcome.accept(new String(message.getBody(), UTF_8));
                    }
                }

                @Override
                public void onException(Throwable thrown) {
                    outcome.accept(thrown instanceof RequestTimeoutException ? "nothing" : "failed: " + thrown);
                }
            }, timeout);
        }
    }

    private static Message question(String topic, String text) {
        return new Message(topic, "q", text.getBytes(UTF_8));
    }

    private static void sync(Mq mq) throws Exception {
        DefaultMQProducer asker = mq.producer();
        String topic = mq.topic(asker, "Ask", 2);
        Replier replier = new Replier(mq, topic, message -> true);
        for (int i = 0; i < 20; i++) {
            Message reply = asker.request(question(topic, "问 " + i), 20_000);
            Check.equal(new String(reply.getBody(), UTF_8), "re: 问 " + i, "reply");
            Check.equal(reply.getTopic(), REPLIES, "topic of the reply");
            Check.equal(reply.getProperty("MSG_TYPE"), "reply", "MSG_TYPE");
            for (String property : List.of("CORRELATION_ID", "REPLY_TO_CLIENT", "PUSH_REPLY_TIME", "ARRIVE_TIME")) {
                Check.that(reply.getProperty(property) != null, property + " in the reply, but: " + reply.getProperties());
            }
        }
        Mq.await("all replies are acknowledged", () -> replier.sent.size() == 20);
        MessageExt request = replier.asked.get(0);
        Check.equal(request.getProperty("CLUSTER"), "DefaultCluster", "CLUSTER of the request");
        Check.that(request.getProperty("TTL") != null && request.getProperty("REPLY_TO_CLIENT") != null, "who waits how long, but: " + request.getProperties());
    }

    private static void async(Mq mq) throws Exception {
        DefaultMQProducer asker = mq.producer();
        String topic = mq.topic(asker, "AskAsync", 2);
        new Replier(mq, topic, message -> true);
        Map<Integer, String> replies = new ConcurrentHashMap<>();
        for (int i = 0; i < 50; i++) {
            int number = i;
            Callbacks.request(asker, question(topic, "a" + i), 20_000, outcome ->
                replies.merge(number, outcome, (one, two) -> one + " and " + two));
        }
        Mq.await("50 replies", () -> replies.size() == 50);
        for (int i = 0; i < 50; i++) {
            Check.equal(replies.get(i), "re: a" + i, "reply " + i);
        }
    }

    private static void large(Mq mq) throws Exception {
        DefaultMQProducer asker = mq.producer();
        String topic = mq.topic(asker, "AskLarge", 1);
        Replier replier = new Replier(mq, topic, message -> true);
        String text = "0123456789abcdef".repeat(40_000); // 640 KB, compressed by clients
        for (int i = 0; i < 3; i++) {
            Message reply = asker.request(question(topic, i + text), 20_000);
            Check.equalBytes(reply.getBody(), ("re: " + i + text).getBytes(UTF_8), "reply " + i);
        }
        Mq.await("all replies are acknowledged", () -> replier.sent.size() == 3);
    }

    private static void timeOut(Mq mq) throws Exception {
        DefaultMQProducer asker = mq.producer();
        String topic = mq.topic(asker, "AskNobody", 1);
        long start = System.currentTimeMillis();
        Check.thrown(RequestTimeoutException.class, () -> asker.request(question(topic, "hello?"), 1_500), "nobody replies");
        Check.between(System.currentTimeMillis() - start, 1_400, 4_000, "milliseconds until the time-out");
        List<String> outcomes = Collections.synchronizedList(new ArrayList<>());
        Callbacks.request(asker, question(topic, "hello??"), 1_500, outcomes::add);
        Mq.awaitExactly(outcomes, 1, "the time-out is told");
        Check.equal(outcomes, List.of("nothing"), "outcome");
    }

    private static void left(Mq mq) throws Exception {
        DefaultMQProducer plain = mq.producer();
        String topic = mq.topic(plain, "AskAndLeave", 1);
        Replier replier = new Replier(mq, topic, message -> false);
        DefaultMQProducer asker = mq.producer();
        Check.thrown(RequestTimeoutException.class, () -> asker.request(question(topic, "bye"), 1_500), "nobody replies");
        Mq.await("the request is there", () -> replier.asked.size() == 1);
        Check.that(replier.reply(replier.asked.get(0)) != null, "a late reply is taken while who asked is there");
        asker.shutdown();
        MQClientException failed = Check.thrown(MQClientException.class, () -> replier.reply(replier.asked.get(0)), "a reply to nobody");
        Check.that(failed.getCause() instanceof MQBrokerException, "the broker's refusal, but: " + failed.getCause());
        MQBrokerException refused = (MQBrokerException) failed.getCause();
        Check.equal(refused.getResponseCode(), 1, "code");
        Check.that(refused.getErrorMessage().contains("push reply message fail, channel of <"), "the reason, but: " + refused.getErrorMessage());
    }

    private static void twoBrokers(Mq mq) throws Exception {
        Driver.startOtherBroker();
        try {
            DefaultMQProducer asker = mq.producer();
            String topic = Mq.fresh("AskBoth");
            Mq.await("the name server knows both", () -> {
                Api.createTopic(asker, Mq.TEMPLATE, topic, 2);
                return asker.fetchPublishMessageQueues(topic).size() == 4;
            });
            Replier replier = new Replier(mq, topic, message -> true);
            Mq.await("the topic of replies is on both", () -> replier.producer.fetchPublishMessageQueues(REPLIES).size() == 2);
            Map<MessageQueue, Long> before = ends(replier.producer);
            for (int i = 0; i < 24; i++) {
                Message reply = asker.request(question(topic, "b" + i), 20_000);
                Check.equal(new String(reply.getBody(), UTF_8), "re: b" + i, "reply");
            }
            Mq.await("all replies are acknowledged", () -> replier.sent.size() == 24);
            long brokers = replier.asked.stream().map(MessageExt::getStoreHost).distinct().count();
            Check.equal(brokers, 2L, "brokers that held requests");
            Mq.await("both brokers hold replies", () -> {
                Map<MessageQueue, Long> after = ends(replier.producer);
                return after.keySet().stream().allMatch(queue -> after.get(queue) > before.get(queue));
            });
        } finally {
            Driver.stopOtherBroker();
        }
    }

    private static Map<MessageQueue, Long> ends(DefaultMQProducer producer) throws Exception {
        Map<MessageQueue, Long> ends = new ConcurrentHashMap<>();
        for (MessageQueue queue : producer.fetchPublishMessageQueues(REPLIES)) {
            ends.put(queue, producer.maxOffset(queue));
        }
        return ends;
    }
}
