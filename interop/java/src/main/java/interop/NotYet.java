package interop;

import java.util.List;
import java.util.Map;

/** What CometMQ does not have yet is refused with code 3 and a sentence, at once. Apache has it, so there is nothing to see there. */
final class NotYet {
    private static final int REQUEST_CODE_NOT_SUPPORTED = 3;

    private NotYet() {}

    static void scenarios(Suite suite) {
        suite.area("not yet")
            .unless(() -> Interop.againstApache() ? "Apache has it" : null)
            .fact("POP, ACL and administration codes answer 3 with a sentence", NotYet::codes);
    }

    private static void codes(Mq mq) throws Exception {
        record Code(int code, String name) {}
        for (Code code : List.of(
            new Code(200050, "POP_MESSAGE"), new Code(200051, "ACK_MESSAGE"), new Code(50, "UPDATE_AND_CREATE_ACL_CONFIG"),
            new Code(3001, "AUTH_CREATE_USER"))) {
            Raw.Answer answer = Raw.ask(Interop.broker, code.code, Map.of(), new byte[0]);
            Check.equal(answer.code(), REQUEST_CODE_NOT_SUPPORTED, "code for " + code.name);
            Check.that(answer.remark().length() >= 10, "a sentence for " + code.name + ", but: " + answer.remark());
        }
    }
}
