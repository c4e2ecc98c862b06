import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.security.Permission;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.store.ReadOffsetType;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/**
 * Makes a living cluster of a broker (messages, groups that consume, lag, retries, dead letters), then runs mqadmin's commands
 * as its script does, one after the other, in this JVM. So does another tool on the same state: see {@link Tool}.
 *
 * <p>Reads commands from standard input: the seconds that one may take, then its words, parted by tabs. Answers each with
 * what the command printed, between a line {@code @@ BEGIN} and a line {@code @@ END outcome}. Before the first it prints
 * {@code @@ SET name value} for what only this run knows, and {@code @@ READY}.
 */
public final class Admin {
    private static final PrintStream OUT = System.out;
    /** Clients have this address and not the machine's, so that their ids are the same everywhere. */
    private static final String CLIENT_IP = "10.1.2.3";
    private static final int QUEUES = 4;

    final String namesrv;
    final String broker;
    /** Of what is traced; it stays. */
    DefaultMQProducer producer;

    private Admin(String namesrv, String broker) {
        this.namesrv = namesrv;
        this.broker = broker;
    }

    /** What runs the commands. */
    interface Tool {
        /** Makes what it looks at. */
        default void live(Admin admin) throws Exception {
            admin.live();
        }

        void run(String[] words) throws Exception;
    }

    /** A command may end the JVM; here it ends itself only. */
    private static final class Exit extends SecurityException {
        final int status;

        Exit(int status) {
            this.status = status;
        }
    }

    public static void main(String[] args) throws Exception {
        serve(args[0], args[1], words -> {
            forgetCommands();
            MQAdminStartup.main0(words, null);
        });
    }

    /** Makes the living state, then has {@code tool} run what standard input says. */
    @SuppressWarnings("removal")
    static void serve(String namesrv, String broker, Tool tool) throws Exception {
        System.setProperty("rocketmq.namesrv.addr", namesrv);
        Admin admin = new Admin(namesrv, broker);
        PrintStream nowhere = new PrintStream(new ByteArrayOutputStream());
        System.setOut(nowhere);
        tool.live(admin);
        OUT.println("@@ READY");
        OUT.flush();
        System.setSecurityManager(new SecurityManager() {
            @Override
            public void checkPermission(Permission permission) {
            }

            @Override
            public void checkPermission(Permission permission, Object context) {
            }

            @Override
            public void checkExit(int status) {
                throw new Exit(status);
            }
        });
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            String[] words = line.split("\t");
            ByteArrayOutputStream printed = new ByteArrayOutputStream();
            String outcome = run(tool, words, printed);
            OUT.println("@@ BEGIN");
            OUT.write(printed.toByteArray());
            OUT.println();
            OUT.println("@@ END " + outcome);
            OUT.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    private static String run(Tool tool, String[] words, ByteArrayOutputStream printed) throws Exception {
        PrintStream stream = new PrintStream(printed, true, "UTF-8");
        String[] command = java.util.Arrays.copyOfRange(words, 1, words.length);
        System.setOut(stream);
        PrintStream errors = System.err;
        System.setErr(stream);
        String[] ended = {"done"};
        Thread thread = new Thread(() -> {
            try {
                tool.run(command);
            } catch (Exit exit) {
                ended[0] = "exit " + exit.status;
            } catch (Throwable unexpected) {
                unexpected.printStackTrace(stream);
            }
        }, "command");
        thread.setDaemon(true);
        thread.start();
        long deadline = System.nanoTime() + Long.parseLong(words[0]) * 1_000_000_000L;
        while (thread.isAlive() && System.nanoTime() < deadline) {
            thread.join(30);
            if (isEnding(thread)) {
                Thread.getAllStackTraces().keySet().stream().filter(other -> other.getName().startsWith("NettyEventExecutor")).forEach(Thread::interrupt);
            }
        }
        if (thread.isAlive()) {
            ended[0] = "interrupted";
            // What swallows one interruption goes on; it must not print into the output of the next command.
            for (int i = 0; i < 100 && thread.isAlive(); i++) {
                thread.interrupt();
                thread.join(100);
            }
        }
        System.setOut(new PrintStream(new ByteArrayOutputStream()));
        System.setErr(errors);
        return ended[0];
    }

    /** Client 5.5.0 waits at its end for a thread that looks for events once in three seconds. That is long for some 200 commands. */
    private static boolean isEnding(Thread command) {
        for (StackTraceElement frame : command.getStackTrace()) {
            if (frame.getClassName().endsWith(".ServiceThread") && frame.getMethodName().equals("shutdown")) {
                return true;
            }
        }
        return false;
    }

    /** A command keeps its clients from one run to the next, which is none of its concern where each run is a JVM. */
    static void forgetCommands() throws ReflectiveOperationException {
        for (Field field : MQAdminStartup.class.getDeclaredFields()) {
            if (field.getType() == List.class) {
                field.setAccessible(true);
                ((List<?>) field.get(null)).clear();
            }
        }
    }

    // ------------------------------------------------------------ the living state

    /**
     * Orders: 12 messages, three a queue; G_done has consumed all and is there, G_lag has consumed one a queue and is gone.
     * G_retry is given each message of Retries twice. G_dead gives each of Deaths up. All is traced.
     */
    void live() throws Exception {
        for (String[] topic : new String[][] {{"Orders", "" + QUEUES}, {"Retries", "1"}, {"Deaths", "1"}}) {
            MQAdminStartup.main0(new String[] {"updateTopic", "-b", broker, "-t", topic[0], "-r", topic[1], "-w", topic[1]}, null);
        }
        producer = new DefaultMQProducer("P_orders", true, null);
        producer.setNamesrvAddr(namesrv);
        producer.setClientIP(CLIENT_IP);
        producer.setInstanceName("producer");
        producer.start();
        for (String[] group : new String[][] {{"G_done", "Orders"}, {"G_lag", "Orders"}, {"G_retry", "Retries"}, {"G_dead", "Deaths"}}) {
            isSeen(group[0], group[1]);
        }
        DefaultMQPushConsumer done = consumer("G_done", "Orders", (messages, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        AtomicInteger again = new AtomicInteger();
        DefaultMQPushConsumer retry = consumer("G_retry", "Retries", (messages, context) -> {
            if (messages.get(0).getReconsumeTimes() == 0) {
                return ConsumeConcurrentlyStatus.RECONSUME_LATER;
            }
            again.incrementAndGet();
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        DefaultMQPushConsumer dead = consumer("G_dead", "Deaths", (messages, context) -> ConsumeConcurrentlyStatus.RECONSUME_LATER);

        List<MessageQueue> queues = new ArrayList<>();
        await("the route of Orders", () -> producer.fetchPublishMessageQueues("Orders").size() == QUEUES);
        queues.addAll(producer.fetchPublishMessageQueues("Orders"));
        Collections.sort(queues);
        for (int i = 0; i < 3 * QUEUES; i++) {
            byte[] body = ("order " + i).getBytes(StandardCharsets.UTF_8);
            Message message = new Message("Orders", i % 2 == 0 ? "paid" : "open", "key" + i, body);
            message.putUserProperty("customer", "c" + i % 3);
            set("Orders" + i, producer.send(message, queues.get(i % QUEUES)));
            // Some commands print in the order of store times.
            Thread.sleep(2);
        }
        for (int i = 0; i < 2; i++) {
            set("Retries" + i, producer.send(new Message("Retries", "t", "again" + i, ("retry " + i).getBytes())));
            set("Deaths" + i, producer.send(new Message("Deaths", "t", "dead" + i, ("dead " + i).getBytes())));
        }
        DefaultMQAdminExt admin = new DefaultMQAdminExt();
        admin.setNamesrvAddr(namesrv);
        admin.setInstanceName("setup");
        admin.start();
        for (MessageQueue queue : queues) {
            admin.updateConsumeOffset(broker, "G_lag", queue, 1);
        }
        await("all orders are consumed", () -> isDone(done, "Orders", 3 * QUEUES));
        await("retries come", () -> again.get() == 2 && isDone(retry, "Retries", 2) && isDone(retry, "%RETRY%G_retry", 2));
        await("deaths are consumed", () -> isDone(dead, "Deaths", 2) && isDone(dead, "%RETRY%G_dead", 2));
        await("dead letters", () -> messages(producer, "%DLQ%G_dead") == 2);
        await("traces", () -> admin.queryMessage("RMQ_SYS_TRACE_TOPIC", "key0", 4, 0, Long.MAX_VALUE).getMessageList().size() > 0);
        admin.shutdown();
    }

    /** Groups are seen once before there is a message: a new one learns of its retry topic half a minute late. */
    void isSeen(String group, String topic) throws Exception {
        DefaultMQPushConsumer first = consumer(group, topic, (messages, context) -> ConsumeConcurrentlyStatus.RECONSUME_LATER);
        await("the route of the retry topic of " + group, () -> !first.fetchSubscribeMessageQueues("%RETRY%" + group).isEmpty());
        first.shutdown();
    }

    /** Has the group committed all that there is of a topic, which is {@code expected} messages? */
    static boolean isDone(DefaultMQPushConsumer consumer, String topic, long expected) throws Exception {
        long committed = 0;
        for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(topic)) {
            committed += consumer.getDefaultMQPushConsumerImpl().getOffsetStore().readOffset(queue, ReadOffsetType.READ_FROM_STORE);
        }
        return committed == expected;
    }

    private static long messages(DefaultMQProducer producer, String topic) throws Exception {
        long all = 0;
        for (MessageQueue queue : producer.fetchPublishMessageQueues(topic)) {
            all += producer.maxOffset(queue);
        }
        return all;
    }

    private DefaultMQPushConsumer consumer(String group, String topic, MessageListenerConcurrently listener) throws Exception {
        DefaultMQPushConsumer consumer = consumer(group);
        if (group.equals("G_dead")) {
            consumer.setMaxReconsumeTimes(1);
        }
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(listener);
        consumer.start();
        return consumer;
    }

    /** Consumes from the first message on, one at a time, and says soon how far it is. */
    DefaultMQPushConsumer consumer(String group) {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(namesrv);
        consumer.setClientIP(CLIENT_IP);
        consumer.setInstanceName(group);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPersistConsumerOffsetInterval(500);
        consumer.setConsumeMessageBatchMaxSize(1);
        return consumer;
    }

    static void set(String name, SendResult sent) {
        set("id." + name, sent.getOffsetMsgId());
        set("key." + name, sent.getMsgId());
    }

    /** A name that commands may use, for what only this run knows. */
    static void set(String name, String value) {
        OUT.println("@@ SET " + name + " " + value);
    }

    static void await(String fact, Callable<Boolean> holds) throws Exception {
        long deadline = System.nanoTime() + 90_000_000_000L;
        Exception last = null;
        while (System.nanoTime() < deadline) {
            try {
                if (holds.call()) {
                    return;
                }
            } catch (Exception notYet) {
                last = notYet;
            }
            Thread.sleep(50);
        }
        throw new IllegalStateException("after 90 s still not true: " + fact, last);
    }
}
