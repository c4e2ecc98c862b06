package interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;

/** What CometMQ does not have yet is refused with code 3 and a sentence, at once. Apache has it, so there is nothing to see there. */
final class NotYet {
    private static final int REQUEST_CODE_NOT_SUPPORTED = 3;

    private NotYet() {}

    static void scenarios(Suite suite) {
        suite.area("not yet")
            .unless(() -> Interop.againstApache() ? "Apache has it" : null)
            .fact("POP, ACL and administration codes answer 3 with a sentence", NotYet::codes)
            .unless(() -> Interop.againstApache() ? "Apache has it" : Api.hasRequestReply() ? null : "this client has no request()")
            .fact("request-reply is refused with code 3", NotYet::requestReply);
    }

    private static void requestReply(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Request", 1);
        // The client wakes who asked before it says why it failed, so that sometimes nothing is said.
        for (int attempt = 1; ; attempt++) {
            try {
                refused(() -> producer.request(new Message(topic, "m".getBytes(UTF_8)), 5_000), "a request");
                return;
            } catch (AssertionError nothingSaid) {
                if (attempt == 5) throw nothingSaid;
            }
        }
    }

    private static void codes(Mq mq) throws Exception {
        record Code(int code, String name) {}
        for (Code code : List.of(
            new Code(200050, "POP_MESSAGE"), new Code(200051, "ACK_MESSAGE"), new Code(50, "UPDATE_AND_CREATE_ACL_CONFIG"),
            new Code(25, "UPDATE_BROKER_CONFIG"), new Code(324, "SEND_REPLY_MESSAGE"))) {
            Raw.Answer answer = Raw.ask(Interop.broker, code.code, Map.of(), new byte[0]);
            Check.equal(answer.code(), REQUEST_CODE_NOT_SUPPORTED, "code for " + code.name);
            Check.that(answer.remark().length() >= 10, "a sentence for " + code.name + ", but: " + answer.remark());
        }
    }

    private static void refused(java.util.concurrent.Callable<?> action, String what) {
        long start = System.currentTimeMillis();
        Throwable thrown = Check.thrown(Exception.class, action, what);
        StringBuilder texts = new StringBuilder();
        for (Throwable cause = thrown; cause != null; cause = cause.getCause()) {
            texts.append(cause).append("; ");
        }
        Check.that(texts.toString().matches("(?s).*CODE: 3\\b.*"), "CODE: 3 for " + what + ", but: " + texts);
        Check.that(System.currentTimeMillis() - start < 5_000, "an answer within 5 s for " + what);
    }
}
