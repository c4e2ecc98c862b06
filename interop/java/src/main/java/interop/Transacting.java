package interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Function;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** The application says itself how a transaction ended, or is asked. */
final class Transacting {
    /**
     * So that nobody waits for half a minute; the same for every broker.
     *
     * <p>Apache's broker notes 3 s later what has ended, and asks about it, and delivers it again, if transactionTimeOut is less than that.
     */
    private static final String[] SOON = {"transactionCheckInterval", "1000", "transactionTimeOut", "1000", "transactionOpBatchInterval", "100"};
    private static final String[] SOON_AND_TWICE = {
        "transactionCheckInterval", "1000", "transactionTimeOut", "1000", "transactionOpBatchInterval", "100", "transactionCheckMax", "2"};

    private Transacting() {}

    static void scenarios(Suite suite) {
        suite.area("transaction")
            .unless(() -> Interop.against.equals("apache 4.9.7") ? "4.9.7 names no transaction in its answers, and marks messages otherwise; 5.5.0 is the measure" : null)
            .onBroker(SOON)
            .fact("commit: delivered at once, once, with all it was", Transacting::commit)
            .fact("rollback: never delivered, nobody asks", Transacting::rollback)
            .fact("unknown then check commits", Transacting::unknown)
            .fact("first producer dies, another of its group is asked", Transacting::firstDies)
            .fact("immunity: nobody asks before CHECK_IMMUNITY_TIME_IN_SECONDS is over", Transacting::immune)
            .fact("an open transaction is asked about after a restart of the broker", Transacting::overRestart)
            .fact("a forged END_TRANSACTION delivers nothing", Transacting::forged)
            .onBroker(SOON_AND_TWICE)
            .fact("nobody decides: parked in TRANS_CHECK_MAX_TIME_TOPIC", Transacting::undecided);
    }

    /** A producer that decides by a message's key, at once and when asked. */
    private static final class Payer {
        final TransactionMQProducer producer;
        final List<MessageExt> asked = Collections.synchronizedList(new ArrayList<>());

        Payer(Mq mq, String group, Function<String, LocalTransactionState> atOnce, Function<String, LocalTransactionState> whenAsked)
            throws Exception {
            producer = new TransactionMQProducer(group);
            producer.setNamesrvAddr(mq.namesrv);
            producer.setInstanceName(Mq.fresh("i"));
            producer.setHeartbeatBrokerInterval(1000);
            producer.setTransactionListener(new TransactionListener() {
                @Override
                public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
                    return atOnce.apply(message.getKeys());
                }

                @Override
                public LocalTransactionState checkLocalTransaction(MessageExt message) {
                    asked.add(message);
                    return whenAsked.apply(message.getKeys());
                }
            });
            mq.atEnd(producer::shutdown);
            producer.start();
        }

        TransactionSendResult send(Message message) throws Exception {
            TransactionSendResult sent = producer.sendMessageInTransaction(message, null);
            Check.equal(sent.getSendStatus(), SendStatus.SEND_OK, "status");
            Check.equal(sent.getTransactionId(), sent.getMsgId(), "transaction id");
            return sent;
        }
    }

    private static Payer payer(Mq mq, LocalTransactionState atOnce, LocalTransactionState whenAsked) throws Exception {
        return new Payer(mq, Mq.fresh("P"), key -> atOnce, key -> whenAsked);
    }

    private static Message message(String topic, String key) {
        Message message = new Message(topic, "t", key, key.getBytes(UTF_8));
        message.putUserProperty("user", "属性");
        return message;
    }

    private static void commit(Mq mq) throws Exception {
        DefaultMQProducer plain = mq.producer();
        String topic = mq.topic(plain, "Commit", 1);
        Pushing.Consumed consumed = Pushing.consume(mq, Mq.fresh("G"), topic, "t");
        Payer payer = payer(mq, LocalTransactionState.COMMIT_MESSAGE, LocalTransactionState.COMMIT_MESSAGE);
        Map<String, TransactionSendResult> sent = new ConcurrentHashMap<>();
        for (int i = 0; i < 5; i++) {
            sent.put("k" + i, payer.send(message(topic, "k" + i)));
        }
        Mq.awaitExactly(consumed.messages, 5, "messages");
        for (MessageExt message : consumed.messages) {
            Check.equal(message.getMsgId(), sent.get(message.getKeys()).getMsgId(), "msgId");
            Check.equal(message.getTransactionId(), message.getMsgId(), "transaction id");
            Check.equal(message.getTopic(), topic, "topic");
            Check.equal(message.getTags(), "t", "tag");
            Check.equal(message.getUserProperty("user"), "属性", "user property");
            Check.equal(message.getSysFlag() & 12, 8, "transaction type");
            Check.that(message.getPreparedTransactionOffset() < message.getCommitLogOffset(), "the place of the half message, but " + message.getPreparedTransactionOffset());
            Check.equal(message.getProperty("TRAN_MSG"), "true", "TRAN_MSG");
            Check.equal(message.getProperty("REAL_TOPIC"), null, "REAL_TOPIC");
        }
        Mq.await("found by key", () -> Querying.byKey(plain, topic, "k1").equals(List.of(sent.get("k1").getMsgId())));
        Mq.nap(3_500);
        Mq.nothingMore(consumed.messages, 5, "messages");
        Check.equal(payer.asked.size(), 0, "questions");
    }

    private static void rollback(Mq mq) throws Exception {
        DefaultMQProducer plain = mq.producer();
        String topic = mq.topic(plain, "Rollback", 1);
        Payer payer = payer(mq, LocalTransactionState.ROLLBACK_MESSAGE, LocalTransactionState.COMMIT_MESSAGE);
        payer.send(message(topic, "k"));
        Mq.nap(3_500);
        Check.equal(payer.asked.size(), 0, "questions");
        Check.equal(plain.maxOffset(Mq.queues(plain, topic).get(0)), 0L, "messages stored");
    }

    private static void unknown(Mq mq) throws Exception {
        DefaultMQProducer plain = mq.producer();
        String topic = mq.topic(plain, "Unknown", 1);
        Pushing.Consumed consumed = Pushing.consume(mq, Mq.fresh("G"), topic, "*");
        List<String> seen = Collections.synchronizedList(new ArrayList<>());
        Payer payer = new Payer(mq, Mq.fresh("P"), key -> LocalTransactionState.UNKNOW, key -> {
            seen.add(key);
            boolean second = Collections.frequency(seen, key) == 2;
            return !second ? LocalTransactionState.UNKNOW : key.equals("paid") ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.ROLLBACK_MESSAGE;
        });
        TransactionSendResult sent = payer.send(message(topic, "paid"));
        payer.send(message(topic, "failed"));
        Mq.awaitExactly(consumed.messages, 1, "messages");
        Check.equal(consumed.messages.get(0).getMsgId(), sent.getMsgId(), "msgId");
        Mq.await("both were asked about twice", () -> seen.size() >= 4);
        MessageExt question = payer.asked.get(0);
        Check.equal(question.getTopic(), topic, "topic of the question");
        Check.equal(question.getUserProperty("user"), "属性", "user property of the question");
        Check.equal(question.getTransactionId(), question.getKeys().equals("paid") ? sent.getMsgId() : question.getProperty("UNIQ_KEY"), "transaction id of the question");
        Mq.nap(2_500);
        Mq.nothingMore(consumed.messages, 1, "messages");
        Check.equal(seen.size(), 4, "questions");
    }

    private static void firstDies(Mq mq) throws Exception {
        DefaultMQProducer plain = mq.producer();
        String topic = mq.topic(plain, "Dies", 1);
        Pushing.Consumed consumed = Pushing.consume(mq, Mq.fresh("G"), topic, "*");
        String group = Mq.fresh("P");
        Payer first = new Payer(mq, group, key -> LocalTransactionState.UNKNOW, key -> LocalTransactionState.UNKNOW);
        String id = first.send(message(topic, "k")).getMsgId();
        first.producer.shutdown();
        Payer second = new Payer(mq, group, key -> LocalTransactionState.UNKNOW, key -> LocalTransactionState.COMMIT_MESSAGE);
        // A client that never sent knows no broker, and none knows it.
        second.producer.send(new Message(topic, "plain".getBytes(UTF_8)));
        Mq.awaitExactly(consumed.messages, 2, "messages");
        Check.that(Mq.set(consumed.messages.stream().map(MessageExt::getMsgId).toList()).contains(id), "the first one's message");
        Check.equal(second.asked.size(), 1, "questions");
    }

    private static void immune(Mq mq) throws Exception {
        DefaultMQProducer plain = mq.producer();
        String topic = mq.topic(plain, "Immune", 1);
        Payer payer = payer(mq, LocalTransactionState.UNKNOW, LocalTransactionState.COMMIT_MESSAGE);
        Message message = message(topic, "k");
        message.putUserProperty("CHECK_IMMUNITY_TIME_IN_SECONDS", "4");
        payer.send(message);
        long sent = System.currentTimeMillis();
        Mq.await("it is asked about", () -> payer.asked.size() == 1);
        Check.between(System.currentTimeMillis() - sent, 3_900, 8_000, "ms until then");
        Mq.await("it is delivered", () -> plain.maxOffset(Mq.queues(plain, topic).get(0)) == 1);
    }

    private static void undecided(Mq mq) throws Exception {
        DefaultMQProducer plain = mq.producer();
        String topic = mq.topic(plain, "Undecided", 1);
        Payer payer = payer(mq, LocalTransactionState.UNKNOW, LocalTransactionState.UNKNOW);
        String key = Mq.fresh("k");
        payer.send(message(topic, key));
        Mq.await("it is parked", () -> {
            try {
                return plain.queryMessage("TRANS_CHECK_MAX_TIME_TOPIC", key, 1, 0, Long.MAX_VALUE).getMessageList().size() == 1;
            } catch (MQClientException notYet) {
                return false;
            }
        });
        Mq.nap(1_500);
        Check.equal(payer.asked.size(), 2, "questions");
        Check.equal(plain.maxOffset(Mq.queues(plain, topic).get(0)), 0L, "messages delivered");
    }

    private static void overRestart(Mq mq) throws Exception {
        DefaultMQProducer plain = mq.producer();
        String topic = mq.topic(plain, "OpenRestart", 1);
        Payer payer = payer(mq, LocalTransactionState.UNKNOW, LocalTransactionState.COMMIT_MESSAGE);
        Message message = message(topic, "k");
        message.putUserProperty("CHECK_IMMUNITY_TIME_IN_SECONDS", "3");
        payer.send(message);
        MessageQueue queue = Mq.queues(plain, topic).get(0);
        Driver.restartBroker();
        Mq.await("it is delivered", () -> {
            try {
                return plain.maxOffset(queue) >= 1;
            } catch (MQClientException notYet) {
                return false;
            }
        });
    }

    private static void forged(Mq mq) throws Exception {
        DefaultMQProducer plain = mq.producer();
        String topic = mq.topic(plain, "Forged", 1);
        String group = Mq.fresh("P");
        Payer payer = new Payer(mq, group, key -> LocalTransactionState.UNKNOW, key -> LocalTransactionState.UNKNOW);
        TransactionSendResult sent = payer.send(message(topic, "k"));
        Mq.await("its producer is asked", () -> !payer.asked.isEmpty());
        MessageExt half = payer.asked.get(0);
        String at = String.valueOf(half.getCommitLogOffset());
        String offset = String.valueOf(half.getQueueOffset());
        for (List<String> forged : List.of(List.of("other", offset, at), List.of(group, offset + "7", at), List.of(group, offset, "1"))) {
            Raw.Answer answer = Raw.ask(Interop.broker, 37, Map.of("producerGroup", forged.get(0), "tranStateTableOffset", forged.get(1),
                "commitLogOffset", forged.get(2), "commitOrRollback", "8", "fromTransactionCheck", "false", "msgId", sent.getMsgId(),
                "transactionId", sent.getTransactionId()), new byte[0]);
            Check.equal(answer.code(), 1, "code for " + forged);
        }
        Mq.nap(500);
        Check.equal(plain.maxOffset(Mq.queues(plain, topic).get(0)), 0L, "messages delivered");
    }
}
