package interop;

import java.io.PrintStream;
import java.security.MessageDigest;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.common.message.MessageClientExt;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * A store as a client sees it, one JSON object a line:
 *
 * <ul>
 *   <li>{@code "kind":"queue"}: minOffset and maxOffset of one queue
 *   <li>{@code "kind":"message"}: one message, down to its bytes
 *   <li>{@code "kind":"offset"}: what a consumer group has committed
 *   <li>{@code "kind":"key"}: the offset ids that a key query answers, in ascending order
 * </ul>
 *
 * Bodies are as the client hands them out (decompressed); MIN_OFFSET and MAX_OFFSET, which the client adds, are left out.
 */
final class Dump {
    private final DefaultMQPullConsumer puller;
    private final String brokerName;
    private final PrintStream out;
    private List<String> ways = List.of();

    Dump(DefaultMQPullConsumer puller, String brokerName, PrintStream out) {
        this.puller = puller;
        this.brokerName = brokerName;
        this.out = out;
    }

    /** From here on each message is also asked for in these ways: by its `id`, its `keys`, the `time` at which it was stored. */
    Dump in(List<String> ways) {
        this.ways = ways;
        return this;
    }

    void topic(String topic, int queues) throws Exception {
        for (int queueId = 0; queueId < queues; queueId++) {
            MessageQueue queue = new MessageQueue(topic, brokerName, queueId);
            long min = puller.minOffset(queue);
            Json line = new Json().put("kind", "queue").put("topic", topic).put("queueId", queueId);
            out.println(line.put("minOffset", min).put("maxOffset", puller.maxOffset(queue)));
            List<MessageExt> all = Mq.readAll(puller, queue, min, min);
            for (MessageExt message : all) {
                out.println(message(message));
                if (ways.contains("id")) {
                    byId(message);
                }
                if (ways.contains("keys")) {
                    byKeys(message);
                }
            }
            if (ways.contains("time")) {
                byTime(queue, all);
            }
        }
    }

    private void byId(MessageExt message) throws Exception {
        MessageExt same = Api.viewByOffsetId(puller, message.getTopic(), offsetMsgId(message));
        Check.that(same.getTopic().equals(message.getTopic()) && same.getQueueOffset() == message.getQueueOffset(), message + " is what its id gives, not " + same);
        Check.equalBytes(same.getBody(), message.getBody(), "body by id of " + message);
    }

    /** What waits in the schedule topic is not in the index. */
    private void byKeys(MessageExt message) throws Exception {
        if (message.getKeys() == null || message.getTopic().startsWith("SCHEDULE")) {
            return;
        }
        for (String key : message.getKeys().split(" ")) {
            List<String> found = puller.queryMessage(message.getTopic(), key, 64, 0, Long.MAX_VALUE).getMessageList().stream()
                .map(Dump::offsetMsgId).toList();
            Check.that(found.contains(offsetMsgId(message)), message.getTopic() + " key " + key + " finds " + offsetMsgId(message) + ", not only " + found);
        }
    }

    /** Messages that were stored at the same millisecond as a neighbour are left out: versions differ in which of them they name. */
    private void byTime(MessageQueue queue, List<MessageExt> all) throws Exception {
        for (int i = 0; i < all.size(); i++) {
            long stored = all.get(i).getStoreTimestamp();
            boolean alone = (i == 0 || all.get(i - 1).getStoreTimestamp() < stored) && (i + 1 == all.size() || all.get(i + 1).getStoreTimestamp() > stored);
            if (alone) {
                Check.equal(puller.searchOffset(queue, stored), all.get(i).getQueueOffset(), "offset at the time of " + all.get(i));
            }
        }
    }

    void offsets(String group, String topic, int queues) throws Exception {
        DefaultMQPullConsumer member = puller;
        for (int queueId = 0; queueId < queues; queueId++) {
            long offset = member.fetchConsumeOffset(new MessageQueue(topic, brokerName, queueId), true);
            out.println(new Json().put("kind", "offset").put("group", group).put("topic", topic).put("queueId", queueId).put("offset", offset));
        }
    }

    void key(String topic, String key) throws Exception {
        List<String> found = puller.queryMessage(topic, key, 64, 0, Long.MAX_VALUE).getMessageList().stream()
            .map(Dump::offsetMsgId).sorted().toList();
        out.println(new Json().put("kind", "key").put("topic", topic).put("key", key).put("offsetMsgIds", String.join(",", found)));
    }

    static Json message(MessageExt message) throws Exception {
        Map<String, String> properties = new TreeMap<>(message.getProperties());
        properties.remove("MIN_OFFSET");
        properties.remove("MAX_OFFSET");
        return new Json().put("kind", "message")
            .put("topic", message.getTopic())
            .put("queueId", message.getQueueId())
            .put("queueOffset", message.getQueueOffset())
            .put("commitLogOffset", message.getCommitLogOffset())
            .put("offsetMsgId", offsetMsgId(message))
            .put("uniqKey", properties.getOrDefault("UNIQ_KEY", ""))
            .put("keys", properties.getOrDefault("KEYS", ""))
            .put("tags", properties.getOrDefault("TAGS", ""))
            .put("storeSize", message.getStoreSize())
            .put("bodyCrc", message.getBodyCRC())
            .put("sysFlag", message.getSysFlag())
            .put("flag", message.getFlag())
            .put("bornTimestamp", message.getBornTimestamp())
            .put("storeTimestamp", message.getStoreTimestamp())
            .put("reconsumeTimes", message.getReconsumeTimes())
            .put("preparedTransactionOffset", message.getPreparedTransactionOffset())
            .put("bodyLength", message.getBody().length)
            .put("bodySha256", sha256(message.getBody()))
            .put("body", Base64.getEncoder().encodeToString(message.getBody()))
            .put("properties", properties);
    }

    static String offsetMsgId(MessageExt message) {
        return message instanceof MessageClientExt client ? client.getOffsetMsgId() : message.getMsgId();
    }

    static String sha256(byte[] bytes) throws Exception {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    }
}
