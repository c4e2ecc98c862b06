//! What brokers tell operators about themselves: JSON bodies.

use crate::group::ConsumeStats;
use crate::heartbeat::MessageQueue;
use crate::json::by_queue;
use crate::subscription::{SubscriptionData, SubscriptionGroupConfig};
use crate::topic::{DataVersion, TopicConfig};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The body of UPDATE_AND_CREATE_TOPIC_LIST (18).
#[doc(alias = "CreateTopicListRequestBody")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigs {
    /// The topics; their attributes are changes, with `+` or `-` in front of their names.
    pub topic_config_list: Vec<TopicConfig>,
}

/// Answers GET_ALL_TOPIC_CONFIG (21).
#[doc(alias = "TopicConfigAndMappingSerializeWrapper")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AllTopics {
    /// In which state the table is.
    pub data_version: DataVersion,
    /// The same of static topics.
    pub mapping_data_version: DataVersion,
    /// The topics by name.
    pub topic_config_table: BTreeMap<String, TopicConfig>,
    /// Static topics.
    pub topic_queue_mapping_detail_map: Map<String, Value>,
    /// Static topics.
    pub topic_queue_mapping_info_map: Map<String, Value>,
}

/// The body of UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST (225).
#[doc(alias = "SubscriptionGroupList")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupConfigs {
    /// The groups.
    pub group_config_list: Vec<SubscriptionGroupConfig>,
}

/// Answers GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201).
#[doc(alias = "SubscriptionGroupWrapper")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AllGroups {
    /// In which state the table is.
    pub data_version: DataVersion,
    /// Group → topic → bits of what it may not do.
    pub forbidden_table: Value,
    /// The groups by name.
    pub subscription_group_table: BTreeMap<String, SubscriptionGroupConfig>,
}

/// Answers UPDATE_AND_GET_GROUP_FORBIDDEN (353).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupForbidden {
    /// The group.
    pub group: String,
    /// May it read the topic?
    pub readable: bool,
    /// The topic.
    pub topic: String,
}

/// Of a queue, what it holds.
#[doc(alias = "org.apache.rocketmq.remoting.protocol.admin.TopicOffset")]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueBounds {
    /// When the last message was stored, milliseconds since 1970; 0: there is none.
    pub last_update_timestamp: i64,
    /// The end.
    pub max_offset: i64,
    /// The first message.
    pub min_offset: i64,
}

/// Answers GET_TOPIC_STATS_INFO (202).
#[doc(alias = "org.apache.rocketmq.remoting.protocol.admin.TopicStatsTable")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicStats {
    /// By queue.
    #[serde(with = "by_queue")]
    pub offset_table: BTreeMap<MessageQueue, QueueBounds>,
    /// Messages per second that are sent to it.
    pub topic_put_tps: f64,
}

/// What was counted over a time.
#[doc(alias = "org.apache.rocketmq.remoting.protocol.body.BrokerStatsItem")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatsSpan {
    /// How much.
    pub sum: i64,
    /// How much a second.
    pub tps: f64,
    /// How much at a time.
    pub avgpt: f64,
}

/// Answers VIEW_BROKER_STATS_DATA (315).
#[doc(alias = "org.apache.rocketmq.remoting.protocol.body.BrokerStatsData")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatsData {
    /// Of the last day, in steps of an hour.
    pub stats_day: StatsSpan,
    /// Of the last hour, in steps of ten minutes.
    pub stats_hour: StatsSpan,
    /// Of the last minute, in steps of ten seconds.
    pub stats_minute: StatsSpan,
}

/// Answers GET_BROKER_CONSUME_STATS (317).
#[doc(alias = "org.apache.rocketmq.remoting.protocol.body.ConsumeStatsList")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStatsList {
    /// The broker's address.
    pub broker_addr: String,
    /// Group → one for each of its topics.
    pub consume_stats_list: Vec<BTreeMap<String, Vec<ConsumeStats>>>,
    /// Messages that are not consumed.
    pub total_diff: i64,
    /// Messages that are pulled and not consumed.
    pub total_inflight_diff: i64,
}

/// An entry of a consume queue.
#[doc(alias = "org.apache.rocketmq.remoting.protocol.body.ConsumeQueueData")]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeQueueEntry {
    /// Does the group's filter take it, as far as an extended entry tells?
    pub eval: bool,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msg: Option<String>,
    /// Where the record lies in the commit log.
    pub physic_offset: i64,
    /// The record's bytes.
    pub physic_size: i32,
    /// The hash of the message's tags.
    pub tags_code: i64,
}

/// Answers QUERY_CONSUME_QUEUE (321).
#[doc(alias = "org.apache.rocketmq.remoting.protocol.body.QueryConsumeQueueResponseBody")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeQueueEntries {
    /// What the broker keeps of the group's filter, or why it keeps none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_data: Option<String>,
    /// The queue's end.
    pub max_queue_index: i64,
    /// The queue's first message.
    pub min_queue_index: i64,
    /// The entries.
    pub queue_data: Vec<ConsumeQueueEntry>,
    /// What the group subscribes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<SubscriptionData>,
}

/// A client that sends.
#[doc(alias = "org.apache.rocketmq.remoting.protocol.body.ProducerInfo")]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerInfo {
    /// Its id.
    pub client_id: String,
    /// What it is written in.
    pub language: String,
    /// Its last heartbeat, milliseconds since 1970.
    pub last_update_timestamp: i64,
    /// Its address, as Java writes it: `/ip:port`.
    #[serde(rename = "remoteIP")]
    pub remote_ip: String,
    /// Its version, an ordinal of `MQVersion`.
    pub version: i32,
}

/// Answers GET_ALL_PRODUCER_INFO (328).
#[doc(alias = "org.apache.rocketmq.remoting.protocol.body.ProducerTableInfo")]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProducerTable {
    /// Group → members.
    pub data: BTreeMap<String, Vec<ProducerInfo>>,
}

/// Answers GET_BROKER_HA_STATUS (907).
#[doc(alias = "org.apache.rocketmq.remoting.protocol.body.HARuntimeInfo")]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HaStatus {
    /// Of a slave, how it is connected to its master.
    pub ha_client_runtime_info: Map<String, Value>,
    /// Of a master, how its slaves are connected.
    pub ha_connection_info: Vec<Value>,
    /// How many slaves have all that the master has.
    pub in_sync_slave_nums: i32,
    /// It is a master.
    pub master: bool,
    /// Where its commit log ends.
    pub master_commit_log_max_offset: i64,
}

/// The body of SET_MESSAGE_REQUEST_MODE (401).
#[doc(alias = "SetMessageRequestModeRequestBody")]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestMode {
    /// The group.
    pub consumer_group: String,
    /// `PULL` or `POP`.
    pub mode: String,
    /// How many queues members share.
    pub pop_share_queue_num: i32,
    /// The topic.
    pub topic: String,
}
