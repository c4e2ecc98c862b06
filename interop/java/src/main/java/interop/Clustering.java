package interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

final class Clustering {
    /** A client rebalances every 20 s by itself, and within a second when the broker tells it of a change. */
    private static final Duration BOUND = Duration.ofSeconds(25);
    private static final int QUEUES = 12;

    private Clustering() {}

    static void scenarios(Suite suite) {
        suite.area("clustering")
            .fact("three members join, one leaves: queues are shared, every message once", Clustering::joinAndLeave)
            .fact("kill −9 of a member: the others take over, no message is lost", Clustering::killed);
    }

    private static void joinAndLeave(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Shared", QUEUES);
        String group = Mq.fresh("G");
        List<Pushing.Consumed> members = new ArrayList<>();
        for (int count = 1; count <= 3; count++) {
            members.add(Pushing.consume(mq, group, topic, "*"));
            awaitShare(topic, members, QUEUES / count);
        }
        sendTo(producer, topic, "with three ", 120);
        awaitOnce(members, Sending.numbered("with three ", 120));
        members.forEach(member -> Check.equal(member.messages.size(), 40, "messages of each of three"));

        Pushing.Consumed leaver = members.remove(1);
        leaver.consumer.shutdown();
        awaitShare(topic, members, QUEUES / 2);
        sendTo(producer, topic, "with two ", 120);
        Mq.await("all consumed", () -> members.get(0).messages.size() + members.get(1).messages.size() >= 80 + 120);
        members.add(leaver);
        List<String> expected = new ArrayList<>(Sending.numbered("with three ", 120));
        expected.addAll(Sending.numbered("with two ", 120));
        awaitOnce(members, expected);
    }

    private static void killed(Mq mq) throws Exception {
        DefaultMQProducer producer = mq.producer();
        String topic = mq.topic(producer, "Killed", QUEUES);
        String group = Mq.fresh("G");
        List<Pushing.Consumed> survivors = new ArrayList<>();
        survivors.add(Pushing.consume(mq, group, topic, "*"));
        survivors.add(Pushing.consume(mq, group, topic, "*"));
        try (Member victim = new Member(group, topic)) {
            awaitShare(topic, survivors, QUEUES / 3);
            sendTo(producer, topic, "before ", 120);
            Mq.awaitExactly(victim.bodies, 40, "messages at the victim");
            for (int i = 0; i < 240; i++) {
                producer.send(new Message(topic, ("during " + i).getBytes(UTF_8)));
                if (i == 100) {
                    victim.kill();
                }
            }
            awaitShare(topic, survivors, QUEUES / 2);
            sendTo(producer, topic, "after ", 60);
            Set<String> missing = ConcurrentHashMap.newKeySet();
            missing.addAll(Sending.numbered("before ", 120));
            missing.addAll(Sending.numbered("during ", 240));
            missing.addAll(Sending.numbered("after ", 60));
            Mq.await("every message is consumed", Duration.ofSeconds(40), () -> {
                missing.removeAll(victim.bodies);
                survivors.forEach(member -> missing.removeAll(bodies(member)));
                return missing.isEmpty();
            });
        }
    }

    private static void awaitShare(String topic, List<Pushing.Consumed> members, int share) throws Exception {
        Mq.await("each of " + members.size() + " members has " + share + " queues", BOUND, () ->
            members.stream().allMatch(member -> owned(member.consumer, topic).size() == share));
    }

    private static void awaitOnce(List<Pushing.Consumed> members, List<String> expected) throws Exception {
        Mq.await("all consumed", () -> members.stream().mapToInt(member -> member.messages.size()).sum() >= expected.size());
        List<String> all = new ArrayList<>();
        members.forEach(member -> all.addAll(bodies(member)));
        Collections.sort(all);
        List<String> sorted = expected.stream().sorted().toList();
        Check.equal(all, sorted, "bodies over all members, each once");
    }

    private static List<String> bodies(Pushing.Consumed member) {
        synchronized (member.messages) {
            return Sending.bodies(member.messages);
        }
    }

    private static void sendTo(DefaultMQProducer producer, String topic, String prefix, int count) throws Exception {
        List<MessageQueue> queues = Mq.queues(producer, topic);
        for (int i = 0; i < count; i++) {
            producer.send(new Message(topic, (prefix + i).getBytes(UTF_8)), queues.get(i % queues.size()));
        }
    }

    static Set<MessageQueue> owned(DefaultMQPushConsumer consumer, String topic) {
        Collection<MessageQueue> all = consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet();
        return all.stream().filter(queue -> queue.getTopic().equals(topic)).collect(Collectors.toSet());
    }

    /** A member in a JVM of its own, which can be killed. It writes each body that it has consumed. */
    static final class Member implements AutoCloseable {
        final Set<String> bodies = ConcurrentHashMap.newKeySet();
        private final Process process;

        Member(String group, String topic) throws Exception {
            List<String> command = new ArrayList<>();
            command.add(ProcessHandle.current().info().command().orElse("java"));
            command.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments()); // as this JVM was started
            command.addAll(List.of("-cp", System.getProperty("java.class.path"), Member.class.getName(), Interop.namesrv, group, topic));
            process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
            Thread reader = new Thread(() -> new BufferedReader(new InputStreamReader(process.getInputStream(), UTF_8)).lines()
                .filter(line -> line.startsWith("GOT ")).forEach(line -> bodies.add(line.substring(4))), "member");
            reader.setDaemon(true);
            reader.start();
        }

        void kill() throws InterruptedException {
            process.destroyForcibly().waitFor(); // SIGKILL
        }

        @Override
        public void close() throws Exception {
            kill();
        }

        public static void main(String[] arguments) throws Exception {
            Mq mq = new Mq(arguments[0]);
            DefaultMQPushConsumer consumer = mq.pushConsumer(arguments[1]);
            consumer.subscribe(arguments[2], "*");
            consumer.setConsumeMessageBatchMaxSize(1);
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                System.out.println("GOT " + new String(messages.get(0).getBody(), UTF_8));
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            consumer.start();
        }
    }
}
