import com.alibaba.fastjson2.JSON;
import com.alibaba.fastjson2.JSONObject;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.common.filter.ExpressionType;
import org.apache.rocketmq.filter.FilterFactory;
import org.apache.rocketmq.filter.expression.EvaluationContext;
import org.apache.rocketmq.filter.expression.Expression;
import org.apache.rocketmq.filter.expression.MQFilterException;

/** Reads cases from standard input, asks Apache's filter for each, and prints those that it judges otherwise. */
public final class Judge {
    private static final int SHOWN = 20;

    private record Message(Map<String, Object> keyValues) implements EvaluationContext {
        @Override
        public Object get(String name) {
            return keyValues.get(name);
        }
    }

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Map<String, Integer> verdicts = new TreeMap<>();
        int cases = 0;
        int different = 0;
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JSONObject one = JSON.parseObject(line);
            String verdict = verdict(one.getString("sql"), new Message(one.getJSONObject("properties")));
            cases++;
            verdicts.merge(verdict, 1, Integer::sum);
            if (!verdict.equals(one.getString("verdict")) && ++different <= SHOWN) {
                System.out.println("Apache's filter says " + verdict + ": " + line);
            }
        }
        System.out.println(cases + " cases " + verdicts + ", " + different + " judged otherwise by Apache's filter");
        System.exit(different == 0 && cases > 0 ? 0 : 1);
    }

    private static String verdict(String sql, Message message) {
        Expression expression;
        try {
            expression = FilterFactory.INSTANCE.get(ExpressionType.SQL92).compile(sql);
        } catch (MQFilterException refused) {
            return "refused";
        }
        try {
            return String.valueOf(expression.evaluate(message));
        } catch (Exception error) {
            return "error";
        }
    }
}
