//! Groups: who is in them, how far they are, where they are to go on, and what is asked of their members.

use super::{Empty, Field, Malformed, Request, headers, requests};
use crate::command::{Command, ExtFields};

headers! {
    /// GET_CONSUMER_CONNECTION_LIST (203); the answer's body is `group::ConsumerConnection`.
    #[doc(alias = "GetConsumerConnectionListRequestHeader")]
    pub struct GetConsumerConnections {
        /// Whose members.
        consumer_group: String = "consumerGroup",
    }

    /// GET_PRODUCER_CONNECTION_LIST (204); the answer's body is `group::ProducerConnection`.
    #[doc(alias = "GetProducerConnectionListRequestHeader")]
    pub struct GetProducerConnections {
        /// Whose members.
        producer_group: String = "producerGroup",
    }

    /// GET_CONSUME_STATS (208); the answer's body is `group::ConsumeStats`.
    #[doc(alias = "GetConsumeStatsRequestHeader")]
    pub struct GetConsumeStats {
        /// Whose.
        consumer_group: String = "consumerGroup",
        /// Of which topic; absent or empty: of all in which it has offsets.
        topic: Option<String> = "topic",
        /// Of these topics, parted by `;`.
        topic_list: Option<String> = "topicList",
    }

    /// INVOKE_BROKER_TO_RESET_OFFSET (222); the answer's body is `group::ResetOffsets`.
    #[doc(alias = "ResetOffsetRequestHeader")]
    pub struct ResetOffset {
        /// Whose.
        group: String = "group",
        /// In which topic.
        topic: String = "topic",
        /// In which queue; absent or negative: in all.
        queue_id: Option<i32> = "queueId",
        /// To where in that queue; absent or −1: by time.
        offset: Option<i64> = "offset",
        /// To the first message that was stored then or later, milliseconds since 1970; negative: to the end.
        timestamp: i64 = "timestamp",
        /// Also forward.
        is_force: Option<bool> = "isForce",
    }

    /// RESET_CONSUMER_CLIENT_OFFSET (220), from broker to client, oneway; the body is `group::ResetOffsets`, for clients in
    /// C++ `group::ResetOffsetsForC`.
    #[doc(alias = "ResetOffsetRequestHeader")]
    pub struct ResetClientOffset {
        /// Whose.
        group: String = "group",
        /// In which topic.
        topic: String = "topic",
        /// As it was asked for.
        timestamp: i64 = "timestamp",
        /// As it was asked for.
        is_force: bool = "isForce",
    }

    /// INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223); the answer's body is `group::ConsumerStatus`.
    #[doc(alias = "GetConsumerStatusRequestHeader")]
    pub struct GetConsumerStatus {
        /// In which topic.
        topic: String = "topic",
        /// Of whom.
        group: String = "group",
        /// Of which member, by its client id; absent or empty: of all.
        client: Option<String> = "clientAddr",
    }

    /// GET_CONSUMER_STATUS_FROM_CLIENT (221), from broker to client; the answer's body is `group::ConsumerStatus`.
    #[doc(alias = "GetConsumerStatusRequestHeader")]
    pub struct GetConsumerStatusFromClient {
        /// In which topic.
        topic: String = "topic",
        /// Of whom.
        group: String = "group",
    }

    /// QUERY_TOPIC_CONSUME_BY_WHO (300); the answer's body is `group::GroupList`.
    #[doc(alias = "QueryTopicConsumeByWhoRequestHeader")]
    pub struct WhoConsumes {
        /// Which topic.
        topic: String = "topic",
    }

    /// QUERY_CONSUME_TIME_SPAN (303); the answer's body is `group::ConsumeTimeSpans`.
    #[doc(alias = "QueryConsumeTimeSpanRequestHeader")]
    pub struct GetTimeSpans {
        /// In which topic.
        topic: String = "topic",
        /// Whose.
        group: String = "group",
    }

    /// QUERY_CORRECTION_OFFSET (308); the answer's body is `group::CorrectionOffsets`.
    #[doc(alias = "QueryCorrectionOffsetHeader")]
    pub struct GetCorrectionOffsets {
        /// Groups that do not count, parted by `,`.
        filter_groups: Option<String> = "filterGroups",
        /// The group that the others are compared with.
        compare_group: String = "compareGroup",
        /// In which topic.
        topic: String = "topic",
    }

    /// CLONE_GROUP_OFFSET (314).
    #[doc(alias = "CloneGroupOffsetRequestHeader")]
    pub struct CloneGroupOffset {
        /// Whose offsets.
        src_group: String = "srcGroup",
        /// Who gets them.
        dest_group: String = "destGroup",
        /// In which topic; absent or empty: in all.
        topic: Option<String> = "topic",
        /// Also of topics to which the source group does not subscribe any more.
        offline: Option<bool> = "offline",
    }

    /// QUERY_TOPICS_BY_CONSUMER (343); the answer's body is `route::TopicList`.
    #[doc(alias = "QueryTopicsByConsumerRequestHeader")]
    pub struct GetTopicsOfGroup {
        /// Whose.
        group: String = "group",
    }

    /// QUERY_SUBSCRIPTION_BY_CONSUMER (345); the answer's body is `group::GroupSubscription`.
    #[doc(alias = "QuerySubscriptionByConsumerRequestHeader")]
    pub struct GetSubscription {
        /// Whose.
        group: String = "group",
        /// Of which topic.
        topic: String = "topic",
    }

    /// QUERY_GROUP_CONFLICTS (90040), CometMQ's own; the answer's body is `group::GroupConflicts`.
    pub struct GetGroupConflicts {
        /// Of which group; absent: of all.
        consumer_group: Option<String> = "consumerGroup",
    }
}

requests! {
    GetConsumerConnections: GET_CONSUMER_CONNECTION_LIST => Empty;
    GetProducerConnections: GET_PRODUCER_CONNECTION_LIST => Empty;
    GetConsumeStats: GET_CONSUME_STATS => Empty;
    ResetOffset: INVOKE_BROKER_TO_RESET_OFFSET => Empty;
    ResetClientOffset: RESET_CONSUMER_CLIENT_OFFSET => Empty;
    GetConsumerStatus: INVOKE_BROKER_TO_GET_CONSUMER_STATUS => Empty;
    GetConsumerStatusFromClient: GET_CONSUMER_STATUS_FROM_CLIENT => Empty;
    WhoConsumes: QUERY_TOPIC_CONSUME_BY_WHO => Empty;
    GetTimeSpans: QUERY_CONSUME_TIME_SPAN => Empty;
    GetCorrectionOffsets: QUERY_CORRECTION_OFFSET => Empty;
    CloneGroupOffset: CLONE_GROUP_OFFSET => Empty;
    GetTopicsOfGroup: QUERY_TOPICS_BY_CONSUMER => Empty;
    GetSubscription: QUERY_SUBSCRIPTION_BY_CONSUMER => Empty;
    GetGroupConflicts: QUERY_GROUP_CONFLICTS => Empty;
}

/// GET_CONSUMER_RUNNING_INFO (307) and CONSUME_MESSAGE_DIRECTLY (309): for one member of a group, to which the broker passes
/// it on as it came.
#[doc(alias = "GetConsumerRunningInfoRequestHeader")]
#[doc(alias = "ConsumeMessageDirectlyResultRequestHeader")]
#[derive(Debug, Clone, Default)]
pub struct AskConsumer<const CODE: i32> {
    /// The group.
    pub consumer_group: String,
    /// The member.
    pub client_id: String,
    /// Of 309, the offset message id of the message.
    pub message_id: Option<String>,
    /// Of 309, the topic for whose settings the member asks.
    pub topic: Option<String>,
    /// All fields as they came.
    pub ext: ExtFields,
}

/// GET_CONSUMER_RUNNING_INFO (307).
pub type GetRunningInfo = AskConsumer<{ crate::code::request::GET_CONSUMER_RUNNING_INFO }>;

/// CONSUME_MESSAGE_DIRECTLY (309).
pub type ConsumeDirectly = AskConsumer<{ crate::code::request::CONSUME_MESSAGE_DIRECTLY }>;

impl<const CODE: i32> Request for AskConsumer<CODE> {
    const CODES: &'static [i32] = &[CODE];
    type Reply = Empty;

    fn read(command: &Command) -> Result<AskConsumer<CODE>, Malformed> {
        let field = |key| command.ext.get(key);
        Ok(AskConsumer {
            consumer_group: String::read("consumerGroup", field("consumerGroup"))?,
            client_id: String::read("clientId", field("clientId"))?,
            message_id: field("msgId").map(str::to_owned),
            topic: field("topic").filter(|topic| !topic.is_empty()).map(str::to_owned),
            ext: command.ext.clone(),
        })
    }

    fn write(&self) -> Command {
        Command { ext: self.ext.clone(), ..Command::request(CODE) }
    }
}
