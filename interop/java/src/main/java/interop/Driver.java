package interop;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * The other end of standard input and output: the script that owns the servers.
 *
 * <pre>
 * @@ RESTART_BROKER                   stop cleanly, start with the same settings
 * @@ KILL_BROKER                      kill −9
 * @@ START_BROKER                     start after a kill
 * @@ CONFIGURE_BROKER key=value⇥…     stop cleanly, start with these settings besides the usual ones
 * @@ START_OTHER_BROKER               a second broker, broker-b, with the same name server
 * @@ STOP_OTHER_BROKER                stop it cleanly
 * @@ PASS|FAIL|N/A ⇥name⇥millis⇥reason
 * </pre>
 *
 * All but the last are answered with {@code OK} once the fact is true, or with a reason why not.
 */
final class Driver {
    private static final BufferedReader IN = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private Driver() {}

    static void restartBroker() throws Exception {
        order("RESTART_BROKER");
    }

    static void killBroker() throws Exception {
        order("KILL_BROKER");
    }

    static void startBroker() throws Exception {
        order("START_BROKER");
    }

    static void startOtherBroker() throws Exception {
        order("START_OTHER_BROKER");
    }

    static void stopOtherBroker() throws Exception {
        order("STOP_OTHER_BROKER");
    }

    static void configure(Map<String, String> conf) throws Exception {
        order("CONFIGURE_BROKER " + conf.entrySet().stream().map(Object::toString).collect(Collectors.joining("\t")));
    }

    static void result(String verdict, String name, long millis, String reason) {
        OUT.println("@@ " + verdict + "\t" + name + "\t" + millis + "\t" + reason.replaceAll("\\s+", " "));
    }

    private static synchronized void order(String order) throws Exception {
        OUT.println("@@ " + order);
        String answer = IN.readLine();
        if (!"OK".equals(answer)) {
            throw new IllegalStateException(order + ": " + answer);
        }
    }
}
