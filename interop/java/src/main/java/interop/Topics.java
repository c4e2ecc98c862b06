package interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.List;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

final class Topics {
    private static final int NO_PERMISSION = 16;
    private static final int TOPIC_NOT_EXIST = 17;
    private static final int NOT_FOUND_TOPIC = 10005;

    private Topics() {}

    static void scenarios(Suite suite) {
        suite.area("topic")
            .fact("createTopic: as many queues as asked for, and more when asked again", Topics::create)
            .fact("unknown topic, auto-create on: the first send makes it with 4 queues", Topics::autoCreate)
            .fact("system topics refuse messages", Topics::systemTopics)
            .fact("illegal names are refused by the broker with a sentence", Topics::illegalNames)
            .fact("127 letters and % | - _ are a legal name", Topics::longestName)
            .onBroker("autoCreateTopicEnable", "false", "messageDelayLevel", Delaying.DEFAULT_LEVELS)
            .fact("unknown topic, auto-create off: no route, and 17 from the broker", Topics::noAutoCreate);
    }

    private static void create(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Create", 3);
        Check.equal(Mq.queues(producer, topic).stream().map(queue -> queue.getQueueId()).toList(), List.of(0, 1, 2), "queues");
        Check.equal(Mq.queues(producer, topic).get(0).getBrokerName(), "broker-a", "broker name");
        mq.topicNamed(producer, topic, 6);
        for (int i = 0; i < 6; i++) {
            Check.equal(producer.send(new Message(topic, "m".getBytes(UTF_8)), Mq.queues(producer, topic).get(i)).getQueueOffset(), 0L, "offset in queue " + i);
        }
    }

    private static void autoCreate(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = Mq.fresh("Auto");
        SendResult sent = producer.send(new Message(topic, "first".getBytes(UTF_8)));
        Check.equal(sent.getSendStatus(), SendStatus.SEND_OK, "send status");
        Mq.awaitRoute(producer, topic, 4);
        List<MessageExt> stored = Mq.readTopic(mq.puller(Mq.fresh("G")), topic, 1);
        Check.equal(Sending.bodies(stored), List.of("first"), "bodies");
        Check.equal(stored.get(0).getMsgId(), sent.getMsgId(), "msgId");
    }

    private static void systemTopics(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        for (String topic : List.of("SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC", "RMQ_SYS_TRANS_OP_HALF_TOPIC")) {
            Check.thrown(Exception.class, () -> producer.send(new Message(topic, "m".getBytes(UTF_8))), "send to " + topic);
            Raw.Answer answer = Raw.send(Interop.broker, topic, "m".getBytes(UTF_8), "");
            Check.equal(answer.code(), NO_PERMISSION, "code for " + topic + " (" + answer.remark() + ")");
            Check.that(answer.remark().contains(topic), "a sentence with the name, but: " + answer.remark());
        }
    }

    private static void illegalNames(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        for (String topic : List.of("no blanks", "no/slash", "no.dot", "没有中文", "x".repeat(128))) {
            // some are stopped by the client already: which, depends on its version
            Check.thrown(Exception.class, () -> producer.send(new Message(topic, "m".getBytes(UTF_8))), "send to " + topic);
            Check.thrown(Exception.class, () -> {
                Api.createTopic(producer, Mq.TEMPLATE, topic, 1);
                return null;
            }, "createTopic " + topic);
            Raw.Answer answer = Raw.send(Interop.broker, topic, "m".getBytes(UTF_8), "");
            Check.that(answer.code() != 0 && !answer.remark().isEmpty(), topic + " is refused with a sentence, but: " + answer);
        }
    }

    private static void longestName(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String name = Mq.fresh("Long%|-_");
        name += "x".repeat(127 - name.length());
        String topic = mq.topicNamed(producer, name, 1);
        SendResult sent = producer.send(new Message(topic, "m".getBytes(UTF_8)));
        MessageExt stored = Mq.readTopic(mq.puller(Mq.fresh("G")), topic, 1).get(0);
        Check.equal(stored.getTopic(), name, "topic");
        Check.equal(stored.getMsgId(), sent.getMsgId(), "msgId");
    }

    private static void noAutoCreate(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = Mq.fresh("Unknown");
        MQClientException noRoute = Check.thrown(MQClientException.class, () -> producer.send(new Message(topic, "m".getBytes(UTF_8))), "send");
        Check.that(noRoute.getMessage().contains("No route info of this topic"), "no route info, but: " + noRoute.getMessage());
        Check.equal(noRoute.getResponseCode(), NOT_FOUND_TOPIC, "code of the client");
        Raw.Answer answer = Raw.send(Interop.broker, topic, "m".getBytes(UTF_8), "");
        Check.equal(answer.code(), TOPIC_NOT_EXIST, "code of the broker (" + answer.remark() + ")");
        Check.that(answer.remark().contains(topic), "a sentence with the name, but: " + answer.remark());

        // by its own call the topic is made all the same; the template is the topic of the cluster
        Api.createTopic(producer, "DefaultCluster", topic, 2);
        Mq.awaitRoute(producer, topic, 2);
        Mq.await("sends go through", () -> {
            try {
                return producer.send(new Message(topic, "m".getBytes(UTF_8))).getSendStatus() == SendStatus.SEND_OK;
            } catch (MQClientException noRouteYet) {
                return false;
            }
        });
    }
}
