//! Pulling messages out of a queue.

use super::{headers, requests};

headers! {
    /// PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361).
    #[doc(alias = "PullMessageRequestHeader")]
    pub struct PullMessage {
        /// Who consumes.
        consumer_group: String = "consumerGroup",
        /// Where from.
        topic: String = "topic",
        /// Which queue.
        queue_id: i32 = "queueId",
        /// The first message wanted.
        queue_offset: i64 = "queueOffset",
        /// At most so many messages.
        max_msg_nums: i32 = "maxMsgNums",
        /// Bits [`PullMessage::COMMIT_OFFSET`] …
        sys_flag: i32 = "sysFlag",
        /// To be stored as the group's offset when the flag says so.
        commit_offset: i64 = "commitOffset",
        /// How long to wait for a message, milliseconds.
        suspend_timeout_millis: Option<i64> = "suspendTimeoutMillis",
        /// The expression, when the flag says so; else the one of the heartbeat holds.
        subscription: Option<String> = "subscription",
        /// The version of the subscription that the client goes by.
        sub_version: Option<i64> = "subVersion",
        /// `TAG` (or absent), `SQL92`.
        expression_type: Option<String> = "expressionType",
        /// At most so many bytes of messages, but at least one message.
        max_msg_bytes: Option<i32> = "maxMsgBytes",
    }

    /// Answers a pull, whatever its code; the body holds the messages as they are stored.
    #[doc(alias = "PullMessageResponseHeader")]
    pub struct PullMessageReply {
        /// 0: go on asking the master.
        suggest_which_broker_id: i64 = "suggestWhichBrokerId",
        /// Where to pull next.
        next_begin_offset: i64 = "nextBeginOffset",
        /// The first offset of the queue.
        min_offset: i64 = "minOffset",
        /// The offset behind the queue's last message.
        max_offset: i64 = "maxOffset",
        /// With a refusal, who forbids: 1 broker, 2 group, 3 topic, 4 broadcasting, 5 subscription.
        forbidden_type: Option<i32> = "forbiddenType",
    }
}

requests! {
    PullMessage: PULL_MESSAGE | LITE_PULL_MESSAGE => PullMessageReply;
}

impl PullMessage {
    /// Store `commit_offset`.
    pub const COMMIT_OFFSET: i32 = 1;
    /// Wait when there is nothing.
    pub const SUSPEND: i32 = 2;
    /// `subscription` holds the expression.
    pub const SUBSCRIPTION: i32 = 4;
    /// A class filter of RocketMQ 3.x.
    pub const CLASS_FILTER: i32 = 8;
    /// Sent by a lite pull consumer.
    pub const LITE: i32 = 16;
}
