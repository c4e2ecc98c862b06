//! Topics: their settings, the names that RocketMQ reserves, the rules for names.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// May be read from.
pub const PERM_READ: i32 = 4;
/// May be written to.
pub const PERM_WRITE: i32 = 2;
/// New topics may take after it.
pub const PERM_INHERIT: i32 = 1;

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
