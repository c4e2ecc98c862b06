//! What brokers tell about groups: who is in them, how far they are, what their members do. JSON bodies.
//!
//! Those with maps by queue are written with [`json::write_object_keys`](crate::json::write_object_keys).

use crate::command::Language;
use crate::heartbeat::{ConsumeFromWhere, ConsumeType, MessageModel, MessageQueue};
use crate::json::by_queue;
use crate::subscription::SubscriptionData;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A client's connection.
#[doc(alias = "org.apache.rocketmq.remoting.protocol.body.Connection")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Connection {
    /// `ip:port`.
    pub client_addr: String,
    /// Its id.
    pub client_id: String,
    /// RocketMQ's name of its language.
    pub language: String,
    /// Its version, an ordinal of `MQVersion`.
    pub version: i32,
}

impl Connection {
    /// The connection of a client.
    pub fn new(client_id: &str, client_addr: impl ToString, language: Language, version: i32) -> Connection {
        let client_addr = client_addr.to_string();
        Connection { client_addr, client_id: client_id.into(), language: language.name().into(), version }
    }
}

/// Answers GET_CONSUMER_CONNECTION_LIST (203).
#[doc(alias = "org.apache.rocketmq.remoting.protocol.body.ConsumerConnection")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerConnection {
    /// The members.
    pub connection_set: Vec<Connection>,
    /// Where the group begins without an offset.
    pub consume_from_where: ConsumeFromWhere,
    /// Who moves the messages.
    pub consume_type: ConsumeType,
    /// How members share messages.
    pub message_model: MessageModel,
    /// Topic → what is wanted of it.
    pub subscription_table: BTreeMap<String, SubscriptionData>,
}

/// Answers GET_PRODUCER_CONNECTION_LIST (204).
#[doc(alias = "org.apache.rocketmq.remoting.protocol.body.ProducerConnection")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerConnection {
    /// The members.
    pub connection_set: Vec<Connection>,
}

/// How far a group is in a queue.
#[doc(alias = "org.apache.rocketmq.remoting.protocol.admin.OffsetWrapper")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueProgress {
    /// The queue's end.
    pub broker_offset: i64,
    /// All before it is consumed.
    pub consumer_offset: i64,
    /// Store time of the last consumed message, milliseconds since 1970; 0: not known.
    pub last_timestamp: i64,
    /// All before it was pulled.
    pub pull_offset: i64,
}

/// Answers GET_CONSUME_STATS (208).
#[doc(alias = "org.apache.rocketmq.remoting.protocol.admin.ConsumeStats")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStats {
    /// Messages per second that the group takes.
    pub consume_tps: f64,
    /// By queue.
    #[serde(with = "by_queue")]
    pub offset_table: BTreeMap<MessageQueue, QueueProgress>,
}

/// New offsets of a group: RESET_CONSUMER_CLIENT_OFFSET (220), and the answer to INVOKE_BROKER_TO_RESET_OFFSET (222).
#[doc(alias = "ResetOffsetBody")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetOffsets {
    /// By queue.
    #[serde(with = "by_queue")]
    pub offset_table: BTreeMap<MessageQueue, i64>,
}

/// The same for clients in C++, which can't read objects as keys.
#[doc(alias = "ResetOffsetBodyForC")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetOffsetsForC {
    /// Queue by queue.
    pub offset_table: Vec<QueueOffsetForC>,
}

/// A queue and an offset.
#[doc(alias = "MessageQueueForC")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueOffsetForC {
    /// The queue.
    #[serde(flatten)]
    pub queue: MessageQueue,
    /// The offset in it.
    pub offset: i64,
}

impl From<&ResetOffsets> for ResetOffsetsForC {
    fn from(offsets: &ResetOffsets) -> ResetOffsetsForC {
        let offsets = offsets.offset_table.iter();
        let offset_table = offsets.map(|(queue, offset)| QueueOffsetForC { queue: queue.clone(), offset: *offset });
        ResetOffsetsForC { offset_table: offset_table.collect() }
    }
}

/// A map by queue that stands in another map.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QueueOffsets {
    /// By queue.
    #[serde(with = "by_queue")]
    pub offsets: BTreeMap<MessageQueue, i64>,
}

/// Answers GET_CONSUMER_STATUS_FROM_CLIENT (221) and INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223).
#[doc(alias = "GetConsumerStatusBody")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerStatus {
    /// Of each member, how far it is in its queues.
    pub consumer_table: BTreeMap<String, QueueOffsets>,
    /// Of the member that answers, how far it is in its queues.
    #[serde(with = "by_queue")]
    pub message_queue_table: BTreeMap<MessageQueue, i64>,
}

/// Which times the messages of a queue are from. Milliseconds since 1970; −1: there is none.
#[doc(alias = "org.apache.rocketmq.remoting.protocol.body.QueueTimeSpan")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueTimeSpan {
    /// Store time of the last consumed message.
    pub consume_time_stamp: i64,
    /// How old the first message is that is not consumed; milliseconds.
    pub delay_time: i64,
    /// Store time of the last message.
    pub max_time_stamp: i64,
    /// The queue.
    pub message_queue: MessageQueue,
    /// Store time of the first message.
    pub min_time_stamp: i64,
}

/// Answers QUERY_CONSUME_TIME_SPAN (303).
#[doc(alias = "QueryConsumeTimeSpanBody")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeTimeSpans {
    /// Queue by queue.
    pub consume_time_span_set: Vec<QueueTimeSpan>,
}

/// Answers QUERY_TOPIC_CONSUME_BY_WHO (300).
#[doc(alias = "org.apache.rocketmq.remoting.protocol.body.GroupList")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupList {
    /// Their names.
    pub group_list: Vec<String>,
}

/// Answers QUERY_CORRECTION_OFFSET (308).
#[doc(alias = "QueryCorrectionOffsetBody")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CorrectionOffsets {
    /// By queue id.
    pub correction_offsets: BTreeMap<i32, i64>,
}

/// Answers QUERY_SUBSCRIPTION_BY_CONSUMER (345).
#[doc(alias = "QuerySubscriptionResponseBody")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupSubscription {
    /// Whose.
    pub group: String,
    /// What is wanted; absent: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<SubscriptionData>,
    /// Of which topic.
    pub topic: String,
}

/// Answers QUERY_GROUP_CONFLICTS (90040), CometMQ's own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupConflicts {
    /// The groups that have any.
    pub groups: Vec<GroupConflict>,
}

/// What is wrong among the members of a group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupConflict {
    /// The group.
    pub group: String,
    /// In what its members differ, where all must be alike.
    pub differences: Vec<Difference>,
    /// Ids that several clients have.
    pub clashes: Vec<Clash>,
}

/// Something in which members of a group differ.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Difference {
    /// In what: `subscription of topic T`, `messageModel`, `consumeType` or `consumeFromWhere`.
    pub what: String,
    /// Each value, and the clients that have it.
    pub values: BTreeMap<String, Vec<String>>,
}

/// One id of two clients.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Clash {
    /// The id.
    pub client_id: String,
    /// From where they come, `ip:port`.
    pub addresses: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn maps_by_queue_travel_as_java_and_cpp_read_them() {
        let queue = MessageQueue { broker_name: "b".into(), queue_id: 1, topic: "T".into() };
        let reset = ResetOffsets { offset_table: BTreeMap::from([(queue.clone(), 7)]) };
        let java = br#"{"offsetTable":{{"brokerName":"b","queueId":1,"topic":"T"}:7}}"#;
        assert_eq!(json::write_object_keys(&reset), java);
        assert_eq!(json::read::<ResetOffsets>(java).unwrap(), reset);
        let cpp = br#"{"offsetTable":[{"brokerName":"b","queueId":1,"topic":"T","offset":7}]}"#;
        assert_eq!(json::write(&ResetOffsetsForC::from(&reset)), cpp);
        let of_member = QueueOffsets { offsets: BTreeMap::from([(queue, 3)]) };
        let status =
            ConsumerStatus { consumer_table: BTreeMap::from([("c@1".into(), of_member)]), ..Default::default() };
        let text =
            br#"{"consumerTable":{"c@1":{{"brokerName":"b","queueId":1,"topic":"T"}:3}},"messageQueueTable":{}}"#;
        assert_eq!(json::write_object_keys(&status), text);
        assert_eq!(json::read::<ConsumerStatus>(text).unwrap(), status);
    }
}
