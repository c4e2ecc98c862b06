package interop;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.Map;
import org.apache.rocketmq.client.MQAdmin;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * What the client versions spell differently. Everything else is called as any program calls it.
 *
 * <ul>
 *   <li>createTopic takes a map of attributes since 5.0
 *   <li>viewMessage(offsetMsgId) is gone in 5.x; viewMessage(topic, id) takes an offset id too
 *   <li>MessageModel moved to another package in 5.0
 *   <li>Message has setters of a time since 5.0, recallMessage came with 5.3.2
 *   <li>DefaultLitePullConsumer and request() came after 4.4.0
 * </ul>
 */
final class Api {
    private Api() {}

    static void createTopic(MQAdmin admin, String key, String topic, int queues) throws Exception {
        Method withAttributes = method(admin.getClass(), "createTopic", String.class, String.class, int.class, Map.class);
        if (withAttributes != null) {
            call(withAttributes, admin, key, topic, queues, Map.of());
        } else {
            call(admin.getClass().getMethod("createTopic", String.class, String.class, int.class), admin, key, topic, queues);
        }
    }

    static MessageExt viewByOffsetId(MQAdmin admin, String topic, String offsetMsgId) throws Exception {
        Method byOffsetId = method(admin.getClass(), "viewMessage", String.class);
        return byOffsetId != null ? (MessageExt) call(byOffsetId, admin, offsetMsgId) : admin.viewMessage(topic, offsetMsgId);
    }

    @SuppressWarnings({"unchecked", "rawtypes"})
    static void setBroadcasting(Object consumer) throws Exception {
        for (Method setter : consumer.getClass().getMethods()) {
            if (setter.getName().equals("setMessageModel")) {
                call(setter, consumer, Enum.valueOf((Class<Enum>) setter.getParameterTypes()[0], "BROADCASTING"));
                return;
            }
        }
        throw new NoSuchMethodException("setMessageModel");
    }

    /** Makes a client tell its brokers at once what it wants, and learn from them what they can. */
    static void heartbeat(DefaultMQPullConsumer consumer) throws Exception {
        Object factory = consumer.getDefaultMQPullConsumerImpl().getRebalanceImpl().getmQClientFactory();
        call(factory.getClass().getMethod("sendHeartbeatToAllBrokerWithLock"), factory);
    }

    static boolean hasNamespace() {
        return method(DefaultMQPullConsumer.class, "setNamespace", String.class) != null;
    }

    static void setNamespace(Object client, String namespace) throws Exception {
        call(client.getClass().getMethod("setNamespace", String.class), client, namespace);
    }

    static boolean hasLitePull() {
        return hasClass("org.apache.rocketmq.client.consumer.DefaultLitePullConsumer");
    }

    static boolean hasRequestReply() {
        return hasClass("org.apache.rocketmq.client.producer.RequestCallback");
    }

    /** setDelayTimeSec, setDelayTimeMs, setDeliverTimeMs: what clients before 5.0 lack is set as the property that it is. */
    static void setTime(Message message, String property, long value) {
        String name = switch (property) {
            case "TIMER_DELAY_SEC" -> "setDelayTimeSec";
            case "TIMER_DELAY_MS" -> "setDelayTimeMs";
            default -> "setDeliverTimeMs";
        };
        Method method = method(Message.class, name, long.class);
        try {
            if (method == null) {
                MessageAccessor.putProperty(message, property, String.valueOf(value));
            } else {
                call(method, message, value);
            }
        } catch (Exception impossible) {
            throw new AssertionError(impossible);
        }
    }

    static boolean hasRecall() {
        return method(DefaultMQProducer.class, "recallMessage", String.class, String.class) != null;
    }

    /** What a send says for a recall; null if nothing. */
    static String recallHandle(SendResult sent) throws Exception {
        return (String) call(SendResult.class.getMethod("getRecallHandle"), sent);
    }

    static String recall(DefaultMQProducer producer, String topic, String handle) throws Exception {
        return (String) call(DefaultMQProducer.class.getMethod("recallMessage", String.class, String.class), producer, topic, handle);
    }

    private static boolean hasClass(String name) {
        try {
            Class.forName(name);
            return true;
        } catch (ClassNotFoundException absent) {
            return false;
        }
    }

    private static Method method(Class<?> owner, String name, Class<?>... parameters) {
        try {
            return owner.getMethod(name, parameters);
        } catch (NoSuchMethodException absent) {
            return null;
        }
    }

    private static Object call(Method method, Object target, Object... arguments) throws Exception {
        try {
            return method.invoke(target, arguments);
        } catch (InvocationTargetException thrown) {
            if (thrown.getCause() instanceof Exception cause) {
                throw cause;
            }
            throw thrown;
        }
    }
}
