package interop;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;

/** The scenarios in the order in which they stand in the table. */
final class Suite {
    /** What a scenario does with the clients that it is lent. */
    interface Story {
        void tell(Mq mq) throws Exception;
    }

    record Scenario(String area, String fact, Story story, Map<String, String> brokerConf, Supplier<String> notApplicable) {
        String name() {
            return area + ": " + fact;
        }
    }

    final List<Scenario> scenarios = new ArrayList<>();
    private String area;
    private Map<String, String> brokerConf = Map.of();
    private Supplier<String> notApplicable = () -> null;

    Suite area(String area) {
        this.area = area;
        this.brokerConf = Map.of();
        this.notApplicable = () -> null;
        return this;
    }

    /** Settings of the broker for the scenarios that follow in this area. */
    Suite onBroker(String... keysAndValues) {
        Map<String, String> conf = new LinkedHashMap<>();
        for (int i = 0; i < keysAndValues.length; i += 2) {
            conf.put(keysAndValues[i], keysAndValues[i + 1]);
        }
        brokerConf = conf;
        return this;
    }

    /** The scenarios that follow in this area run unless the supplier gives a reason against it. */
    Suite unless(Supplier<String> reason) {
        notApplicable = reason;
        return this;
    }

    Suite fact(String sentence, Story story) {
        scenarios.add(new Scenario(area, sentence, story, brokerConf, notApplicable));
        return this;
    }
}
