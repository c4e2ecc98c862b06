package interop;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * Runs scenarios with the client version on the classpath.
 *
 * <pre>Interop NAMESRV BROKER AGAINST CLIENT_VERSION [WORDS…]      scenarios whose names have one of the words</pre>
 *
 * Speaks with `interop/run` in lines that begin with {@code @@}: see {@link Driver}.
 */
public final class Interop {
    private static final long SCENARIO_SECONDS = 120;

    static String namesrv;
    static String broker;
    static String against;
    static String clientVersion;

    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("--list")) {
            clientVersion = arguments.length > 1 ? arguments[1] : "";
            suite().scenarios.forEach(scenario -> System.out.println(scenario.name()));
            return;
        }
        namesrv = arguments[0];
        broker = arguments[1];
        against = arguments[2];
        clientVersion = arguments[3];
        List<String> words = Arrays.asList(arguments).subList(4, arguments.length);

        List<Suite.Scenario> chosen = new ArrayList<>();
        for (Suite.Scenario scenario : suite().scenarios) {
            if (words.isEmpty() || words.stream().anyMatch(scenario.name()::contains)) {
                chosen.add(scenario);
            }
        }
        // those that share the settings of the broker run together, so that it is started anew once per setting
        List<Map<String, String>> confs = chosen.stream().map(Suite.Scenario::brokerConf).distinct().toList();
        for (Map<String, String> conf : confs) {
            if (!conf.isEmpty()) {
                Driver.configure(conf);
            }
            for (Suite.Scenario scenario : chosen) {
                if (scenario.brokerConf().equals(conf)) {
                    run(scenario);
                }
            }
            if (!conf.isEmpty()) {
                Driver.configure(Map.of());
            }
        }
        System.exit(0);
    }

    static Suite suite() {
        Suite suite = new Suite();
        if (clientVersion.startsWith("admin-")) {
            Administering.scenarios(suite);
            return suite;
        }
        Sending.scenarios(suite);
        Topics.scenarios(suite);
        Pushing.scenarios(suite);
        Ordering.scenarios(suite);
        Keeping.scenarios(suite);
        Clustering.scenarios(suite);
        Naming.scenarios(suite);
        Pulling.scenarios(suite);
        LitePulling.scenarios(suite);
        Filtering.scenarios(suite);
        Retrying.scenarios(suite);
        Delaying.scenarios(suite);
        Timing.scenarios(suite);
        Transacting.scenarios(suite);
        Requesting.scenarios(suite);
        Querying.scenarios(suite);
        Tracing.scenarios(suite);
        Following.scenarios(suite);
        Restarting.scenarios(suite);
        Guarding.scenarios(suite);
        NotYet.scenarios(suite);
        return suite;
    }

    /** A client from 5.0 on, and Apache's broker 4.9.7. */
    static boolean isNewClientOfOldApache() {
        return against.equals("apache 4.9.7") && !clientVersion.startsWith("4.");
    }

    static boolean againstApache() {
        return against.startsWith("apache");
    }

    private static void run(Suite.Scenario scenario) throws InterruptedException {
        String reason = scenario.notApplicable().get();
        if (reason != null) {
            Driver.result("N/A", scenario.name(), 0, reason);
            return;
        }
        long start = System.nanoTime();
        Throwable[] failure = new Throwable[1];
        try (Mq mq = new Mq(namesrv)) {
            Thread teller = new Thread(() -> {
                try {
                    scenario.story().tell(mq);
                } catch (Throwable thrown) {
                    failure[0] = thrown;
                }
            }, "scenario");
            teller.start();
            teller.join(TimeUnit.SECONDS.toMillis(SCENARIO_SECONDS));
            if (teller.isAlive()) {
                failure[0] = new AssertionError("hangs for " + SCENARIO_SECONDS + " s");
                failure[0].setStackTrace(teller.getStackTrace());
                teller.interrupt();
            }
        }
        long millis = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
        if (failure[0] == null) {
            Driver.result("PASS", scenario.name(), millis, "");
        } else {
            StringWriter trace = new StringWriter();
            failure[0].printStackTrace(new PrintWriter(trace));
            System.out.println(trace);
            Driver.result("FAIL", scenario.name(), millis, String.valueOf(failure[0].getMessage() == null ? failure[0] : failure[0].getMessage()));
        }
    }
}
