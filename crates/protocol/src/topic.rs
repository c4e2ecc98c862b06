//! Topics: their settings, the names that RocketMQ reserves, the rules for names.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// May be read from.
pub const PERM_READ: i32 = 4;
/// May be written to.
pub const PERM_WRITE: i32 = 2;
/// New topics may take after it.
pub const PERM_INHERIT: i32 = 1;

/// Unit mode, a bit of a topic's `topicSysFlag`: the topic is one unit's.
#[doc(alias = "TopicSysFlag.FLAG_UNIT")]
pub const UNIT: i32 = 1;
/// Unit mode, a bit of a topic's `topicSysFlag`: one unit subscribes to the topic.
#[doc(alias = "TopicSysFlag.FLAG_UNIT_SUB")]
pub const UNIT_SUB: i32 = 2;

/// The topic that unknown topics take after.
pub const DEFAULT_TOPIC: &str = "TBW102";
/// Where delayed messages wait, one queue per level.
pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// In front of a group's name: its retry topic.
pub const RETRY_PREFIX: &str = "%RETRY%";
/// In front of a group's name: its dead letter topic.
pub const DLQ_PREFIX: &str = "%DLQ%";

/// The longest name of a topic, in characters; retry and dead letter topics may have [`RETRY_NAME_MAX`].
pub const NAME_MAX: usize = 127;
/// The longest name of a retry or dead letter topic.
pub const RETRY_NAME_MAX: usize = 255;
/// The longest name of a group.
pub const GROUP_NAME_MAX: usize = 120;

/// The group's retry topic.
pub fn retry_topic(group: &str) -> String {
    format!("{RETRY_PREFIX}{group}")
}

/// The group's dead letter topic.
pub fn dead_letter_topic(group: &str) -> String {
    format!("{DLQ_PREFIX}{group}")
}

/// A topic's settings, as `topics.json` and registrations hold them.
#[doc(alias = "org.apache.rocketmq.common.TopicConfig")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfig {
    /// `+` free map: `message.type`, `queue.type`, …
    pub attributes: BTreeMap<String, String>,
    /// Ordered topic.
    pub order: bool,
    /// Bits: 4 read, 2 write, 1 inherit.
    pub perm: i32,
    /// Queues to read from.
    pub read_queue_nums: i32,
    /// `SINGLE_TAG` or `MULTI_TAG`.
    pub topic_filter_type: String,
    /// Its name.
    pub topic_name: String,
    /// Bits of unit mode.
    pub topic_sys_flag: i32,
    /// Queues to write to.
    pub write_queue_nums: i32,
    /// Settings that we keep for others: what versions to come write.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

impl Default for TopicConfig {
    fn default() -> TopicConfig {
        TopicConfig {
            attributes: BTreeMap::new(),
            order: false,
            perm: PERM_READ | PERM_WRITE,
            read_queue_nums: 16,
            topic_filter_type: "SINGLE_TAG".into(),
            topic_name: String::new(),
            topic_sys_flag: 0,
            write_queue_nums: 16,
            others: Map::new(),
        }
    }
}

impl TopicConfig {
    /// A topic with so many queues to read from and to write to.
    pub fn new(name: impl Into<String>, queues: i32, perm: i32) -> TopicConfig {
        TopicConfig {
            topic_name: name.into(),
            read_queue_nums: queues,
            write_queue_nums: queues,
            perm,
            ..TopicConfig::default()
        }
    }

    /// How many queues it has, read or write.
    pub fn queues(&self) -> i32 {
        self.read_queue_nums.max(self.write_queue_nums)
    }
}

/// Which state of a table this is; goes up with each change.
#[doc(alias = "org.apache.rocketmq.remoting.protocol.DataVersion")]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataVersion {
    /// How many changes.
    pub counter: i64,
    /// The controller's epoch; 0 without one.
    pub state_version: i64,
    /// When it changed last, milliseconds since 1970.
    pub timestamp: i64,
}

impl DataVersion {
    /// The state after a change at `now`, milliseconds since 1970.
    pub fn advance(&mut self, now: i64) {
        self.timestamp = now;
        self.counter += 1;
    }
}

/// Where half messages wait.
pub const TRANSACTION_HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
/// Where it is noted how transactions ended.
pub const TRANSACTION_OP_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Where transactions go that nobody could decide.
pub const TRANSACTION_GIVEN_UP_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
/// A broker's own.
pub const SELF_TEST_TOPIC: &str = "SELF_TEST_TOPIC";
/// A broker's own.
pub const OFFSET_MOVED_TOPIC: &str = "OFFSET_MOVED_EVENT";
/// For load tests: 1024 queues.
pub const BENCHMARK_TOPIC: &str = "BenchmarkTest";
/// Where clients write what they did.
pub const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";
/// Where timed messages wait.
pub const TIMER_TOPIC: &str = "rmq_sys_wheel_timer";
/// In front of the names of other topics that are the system's own.
pub const SYSTEM_PREFIX: &str = "rmq_sys_";

/// The most queues that a topic may have. RocketMQ knows no limit; each queue costs memory on every client.
pub const QUEUES_MAX: i32 = 65_536;

/// Why a name can't be a topic's or a group's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing there.
    #[error("the specified {0} is blank")]
    Blank(&'static str),
    /// A character that must not be in a name.
    #[error("the specified {kind} `{name}` contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$")]
    Character {
        /// topic or group.
        kind: &'static str,
        /// The name, at most 64 characters of it.
        name: String,
    },
    /// Too long.
    #[error("the specified {kind} is longer than {kind} max length {max}: it has {length} characters")]
    Length {
        /// topic or group.
        kind: &'static str,
        /// How long it is.
        length: usize,
        /// How long it may be.
        max: usize,
    },
}

/// May this be a topic's name? Letters, digits and `%`, `|`, `-`, `_`; at most 127, of retry and dead letter topics 255.
#[doc(alias = "TopicValidator.validateTopic")]
pub fn check_topic_name(name: &str) -> Result<(), BadName> {
    let own = name.starts_with(RETRY_PREFIX) || name.starts_with(DLQ_PREFIX);
    check_name("topic", name, if own { RETRY_NAME_MAX } else { NAME_MAX })
}

/// May this be a group's name? Letters, digits and `%`, `|`, `-`, `_`; at most 120.
#[doc(alias = "TopicValidator.validateGroup")]
pub fn check_group_name(name: &str) -> Result<(), BadName> {
    check_name("group", name, GROUP_NAME_MAX)
}

fn check_name(kind: &'static str, name: &str, max: usize) -> Result<(), BadName> {
    let legal = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'%' | b'|' | b'-' | b'_');
    if name.trim().is_empty() {
        Err(BadName::Blank(kind))
    } else if !name.as_bytes().iter().all(legal) {
        Err(BadName::Character { kind, name: name.chars().take(64).collect() })
    } else if name.len() > max {
        Err(BadName::Length { kind, length: name.len(), max })
    } else {
        Ok(())
    }
}

/// Topics that are the system's own on every broker.
pub const SYSTEM_TOPICS: [&str; 10] = [
    DEFAULT_TOPIC,
    SCHEDULE_TOPIC,
    BENCHMARK_TOPIC,
    TRANSACTION_HALF_TOPIC,
    TRANSACTION_OP_TOPIC,
    TRANSACTION_GIVEN_UP_TOPIC,
    TRACE_TOPIC,
    SELF_TEST_TOPIC,
    OFFSET_MOVED_TOPIC,
    "CHECKPOINT_TOPIC",
];

/// Is this topic the system's own, so that nobody may create or change it? Those of its cluster and broker a broker
/// adds itself.
#[doc(alias = "TopicValidator.isSystemTopic")]
pub fn is_system_topic(name: &str) -> bool {
    SYSTEM_TOPICS.contains(&name) || name.starts_with(SYSTEM_PREFIX)
}

/// Is this a topic that no client may send to?
#[doc(alias = "TopicValidator.isNotAllowedSendTopic")]
pub fn is_send_forbidden(name: &str) -> bool {
    [
        SCHEDULE_TOPIC,
        TRANSACTION_HALF_TOPIC,
        TRANSACTION_OP_TOPIC,
        TRANSACTION_GIVEN_UP_TOPIC,
        SELF_TEST_TOPIC,
        OFFSET_MOVED_TOPIC,
        // Apache's brokers take it, and deliver no timed message any more once one has come that says no time.
        TIMER_TOPIC,
    ]
    .contains(&name)
}

/// Is this group the system's own, so that it is there without being created?
#[doc(alias = "MixAll.isSysConsumerGroup")]
pub fn is_system_group(name: &str) -> bool {
    name.starts_with("CID_RMQ_SYS_") || SYSTEM_GROUPS.contains(&name)
}

/// The groups that every broker knows.
pub const SYSTEM_GROUPS: [&str; 8] = [
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_RMQ_SYS_TRANS",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_apache_allows_them() {
        for name in ["a", "%RETRY%g", "A|b-c_9", &"x".repeat(127), &format!("%DLQ%{}", "x".repeat(250))] {
            assert_eq!(check_topic_name(name), Ok(()), "{name}");
        }
        for name in
            ["", " ", "a b", "a/b", "..", "主题", "a\u{1}", &"x".repeat(128), &format!("%DLQ%{}", "x".repeat(251))]
        {
            assert!(check_topic_name(name).is_err(), "{name}");
        }
        assert!(check_group_name(&"g".repeat(121)).is_err());
    }

    #[test]
    fn the_systems_own_topics_are_known() {
        assert!(is_system_topic("TBW102") && !is_send_forbidden("TBW102"));
        assert!(is_system_topic("rmq_sys_wheel_timer"));
        assert!(is_send_forbidden("SCHEDULE_TOPIC_XXXX"));
        assert!(!is_system_topic("orders"));
    }
}
