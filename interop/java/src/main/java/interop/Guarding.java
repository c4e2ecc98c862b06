package interop;

import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.remoting.RPCHook;

/** Who gets in, and who does not: users and policies (5.3 and later), and plain_acl.yml (4.4 to 5.3). */
final class Guarding {
    private static final String PROVIDERS = "org.apache.rocketmq.auth.";
    private static final int NO_PERMISSION = 16;

    private Guarding() {}

    static void scenarios(Suite suite) {
        suite.area("access control")
            .unless(() -> noSigner() != null ? noSigner()
                : Interop.againstApache() && !Interop.against.equals("apache 5.5.0") ? "it has no users" : null)
            .onBroker(
                "authenticationEnabled", "true",
                "authenticationProvider", PROVIDERS + "authentication.provider.DefaultAuthenticationProvider",
                "authenticationMetadataProvider", PROVIDERS + "authentication.provider.LocalAuthenticationMetadataProvider",
                "authorizationEnabled", "true",
                "authorizationProvider", PROVIDERS + "authorization.provider.DefaultAuthorizationProvider",
                "authorizationMetadataProvider", PROVIDERS + "authorization.provider.LocalAuthorizationMetadataProvider",
                "initAuthenticationUser", "{\"username\":\"root\",\"password\":\"secretOfRoot\"}",
                "innerClientAuthenticationCredentials", "{\"accessKey\":\"inner\",\"secretKey\":\"secretOfInner\"}")
            .fact("users send and consume what policies allow, and nothing else", Guarding::policies)
            .unless(() -> noSigner() != null ? noSigner()
                : Interop.against.equals("apache 5.5.0") ? "it does not read plain_acl.yml" : null)
            .onBroker("aclEnable", "true")
            .fact("accounts of plain_acl.yml send and consume what they say, and nothing else", Guarding::accounts);
    }

    private static String noSigner() {
        try {
            Class.forName("org.apache.rocketmq.acl.common.AclClientRPCHook");
            return null;
        } catch (ClassNotFoundException absent) {
            return "its jars have no AclClientRPCHook";
        }
    }

    private static void policies(Mq mq) throws Exception {
        String topic = Mq.fresh("T");
        String group = Mq.fresh("G");
        String alice = Mq.fresh("alice");
        String bob = Mq.fresh("bob");
        for (String user : List.of(alice, bob)) {
            asRoot(3001, Map.of("username", user), "{\"password\":\"secretOf" + user + "\",\"userType\":\"Normal\"}");
        }
        allow(alice, "Topic:" + topic, "\"Pub\",\"Sub\"");
        allow(alice, "Group:" + group, "\"Sub\"");
        allow(bob, "Topic:" + topic, "\"Get\"");
        allow(bob, "Group:*", "\"Sub\"");

        sendsAndConsumes(mq, topic, group, hook(alice, "secretOf" + alice));
        MQBrokerException refused = refusal(mq, topic, hook(bob, "secretOf" + bob));
        Check.equal(refused.getResponseCode(), NO_PERMISSION, "code for bob");
        Check.that(refused.getErrorMessage().contains("User:" + bob + " has no permission to access Topic:" + topic), refused.getErrorMessage());
        strangersDoNothing(mq, topic, alice);

        Raw.Answer shown = asRoot(3004, Map.of("username", alice), "");
        Check.that(shown.body().contains("\"userType\":\"Normal\"") && shown.body().contains("\"userStatus\":\"enable\""), shown.body());
        asRoot(3003, Map.of("username", alice), "");
        MQBrokerException gone = refusalOfRaw(topic, alice, "secretOf" + alice);
        Check.equal(gone.getResponseCode(), NO_PERMISSION, "code for a user that is deleted");
        Check.that(gone.getErrorMessage().contains("User:" + alice + " is not found"), gone.getErrorMessage());
    }

    private static void accounts(Mq mq) throws Exception {
        String version = Interop.clientVersion.replace(".", "");
        String topic = "T-acl-" + version;
        sendsAndConsumes(mq, topic, "G-acl-" + version, hook("aliceAAA", "secretOfAlice"));
        MQBrokerException refused = refusal(mq, topic, hook("bobBBBB", "secretOfBob"));
        Check.that(refused.getErrorMessage().contains("No default permission for topic:" + topic), refused.getErrorMessage());
        strangersDoNothing(mq, topic, "aliceAAA");
    }

    private static void sendsAndConsumes(Mq mq, String topic, String group, RPCHook hook) throws Exception {
        DefaultMQProducer producer = producer(mq, hook);
        String body = Mq.fresh("m");
        producer.send(new Message(topic, body.getBytes(StandardCharsets.UTF_8)));
        BlockingQueue<String> got = new LinkedBlockingQueue<>();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group, hook, new AllocateMessageQueueAveragely());
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setNamesrvAddr(mq.namesrv);
        consumer.setInstanceName(Mq.fresh("i"));
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> got.add(new String(message.getBody(), StandardCharsets.UTF_8)));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        try {
            Check.equal(got.poll(Mq.SOON.toSeconds(), TimeUnit.SECONDS), body, "the message that was sent");
        } finally {
            consumer.shutdown();
            producer.shutdown();
        }
    }

    private static void strangersDoNothing(Mq mq, String topic, String name) throws Exception {
        for (RPCHook hook : new RPCHook[] {null, hook(name, "not the secret"), hook("nobodyNN", "secretOfNobody")}) {
            DefaultMQProducer producer = producer(mq, hook);
            try {
                producer.send(new Message(topic, new byte[] {1}));
                throw new AssertionError("a stranger has sent a message");
            } catch (org.apache.rocketmq.client.exception.MQClientException | MQBrokerException refused) {
                // By the name server, or by the broker.
            } finally {
                producer.shutdown();
            }
        }
    }

    private static MQBrokerException refusal(Mq mq, String topic, RPCHook hook) throws Exception {
        DefaultMQProducer producer = producer(mq, hook);
        try {
            producer.send(new Message(topic, new byte[] {1}));
        } catch (MQBrokerException refused) {
            return refused;
        } catch (org.apache.rocketmq.client.exception.MQClientException wrapped) {
            if (wrapped.getCause() instanceof MQBrokerException refused) {
                return refused;
            }
            throw wrapped;
        } finally {
            producer.shutdown();
        }
        throw new AssertionError("it was sent");
    }

    private static MQBrokerException refusalOfRaw(String topic, String name, String secret) throws Exception {
        Raw.Answer answer = signed(name, secret, 30, Map.of("topic", topic, "queueId", "0"), "");
        return new MQBrokerException(answer.code(), answer.remark());
    }

    private static DefaultMQProducer producer(Mq mq, RPCHook hook) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(Mq.fresh("P"), hook);
        producer.setNamesrvAddr(mq.namesrv);
        producer.setInstanceName(Mq.fresh("i"));
        producer.start();
        return producer;
    }

    /** As the version on the classpath signs. */
    private static RPCHook hook(String name, String secret) throws Exception {
        Class<?> credentials = Class.forName("org.apache.rocketmq.acl.common.SessionCredentials");
        Object both = credentials.getConstructor(String.class, String.class).newInstance(name, secret);
        return (RPCHook) Class.forName("org.apache.rocketmq.acl.common.AclClientRPCHook").getConstructor(credentials).newInstance(both);
    }

    private static void allow(String user, String resource, String actions) throws Exception {
        String rule = "{\"resource\":\"" + resource + "\",\"actions\":[" + actions + "],\"decision\":\"Allow\"}";
        String subject = "User:" + user;
        asRoot(3006, Map.of("subject", subject),
            "{\"subject\":\"" + subject + "\",\"policies\":[{\"policyType\":\"Custom\",\"entries\":[" + rule + "]}]}");
    }

    private static Raw.Answer asRoot(int code, Map<String, String> fields, String body) throws Exception {
        Raw.Answer answer = signed("root", "secretOfRoot", code, fields, body);
        Check.equal(answer.code(), 0, "code of " + code + ": " + answer.remark());
        return answer;
    }

    private static Raw.Answer signed(String name, String secret, int code, Map<String, String> fields, String body) throws Exception {
        TreeMap<String, String> all = new TreeMap<>(fields);
        all.put("AccessKey", name);
        Mac mac = Mac.getInstance("HmacSHA1");
        mac.init(new SecretKeySpec(secret.getBytes(StandardCharsets.UTF_8), "HmacSHA1"));
        String content = String.join("", all.values()) + body;
        all.put("Signature", Base64.getEncoder().encodeToString(mac.doFinal(content.getBytes(StandardCharsets.UTF_8))));
        return Raw.ask(Interop.broker, code, all, body.getBytes(StandardCharsets.UTF_8));
    }
}
