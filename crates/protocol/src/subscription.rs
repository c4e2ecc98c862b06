//! What consumers ask for: subscriptions, and the settings of their groups.

use crate::heartbeat::tolerant;
use crate::message::java_hash;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The expression for everything.
pub const ALL: &str = "*";

/// Expressions of tags, `A || B`.
#[doc(alias = "ExpressionType.TAG")]
pub const TAG: &str = "TAG";

/// Expressions over properties.
#[doc(alias = "ExpressionType.SQL92")]
pub const SQL92: &str = "SQL92";

/// Which messages of a topic a group wants.
#[doc(alias = "org.apache.rocketmq.remoting.protocol.heartbeat.SubscriptionData")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionData {
    /// Filtered by a class of the client's, as RocketMQ 3 could.
    #[serde(deserialize_with = "tolerant::boolean")]
    pub class_filter_mode: bool,
    /// The topic.
    #[serde(deserialize_with = "tolerant::text")]
    pub topic: String,
    /// The expression as the user wrote it.
    #[serde(deserialize_with = "tolerant::text")]
    pub sub_string: String,
    /// The tags in it.
    #[serde(deserialize_with = "tolerant::list")]
    pub tags_set: Vec<String>,
    /// Their hashes.
    #[serde(deserialize_with = "tolerant::list")]
    pub code_set: Vec<i32>,
    /// Goes up when the subscription changes: milliseconds since 1970.
    #[serde(deserialize_with = "tolerant::number")]
    pub sub_version: i64,
    /// `TAG` or `SQL92`.
    #[serde(deserialize_with = "tolerant::text")]
    pub expression_type: String,
}

impl Default for SubscriptionData {
    fn default() -> SubscriptionData {
        SubscriptionData {
            class_filter_mode: false,
            topic: String::new(),
            sub_string: String::new(),
            tags_set: Vec::new(),
            code_set: Vec::new(),
            sub_version: 0,
            expression_type: TAG.into(),
        }
    }
}

/// Why an expression of tags is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no expression of tags; write `*` for all, or tags with `||` between them")]
pub struct BadExpression(pub String);

impl SubscriptionData {
    /// The subscription to the tags of `expression`, `A || B`; none or `*` is everything.
    #[doc(alias = "FilterAPI.buildSubscriptionData")]
    pub fn tags(topic: &str, expression: &str) -> Result<SubscriptionData, BadExpression> {
        let mut subscription = SubscriptionData { topic: topic.into(), ..SubscriptionData::default() };
        if expression.is_empty() || expression == ALL {
            subscription.sub_string = ALL.into();
            return Ok(subscription);
        }
        subscription.sub_string = expression.into();
        subscription.tags_set = split(expression).map(str::to_owned).collect();
        subscription.code_set = subscription.tags_set.iter().map(|tag| java_hash(tag)).collect();
        if subscription.tags_set.is_empty() { Err(BadExpression(expression.into())) } else { Ok(subscription) }
    }

    /// Is it filtered by tags? Clients that know no other leave the type empty.
    pub fn is_tags(&self) -> bool {
        self.expression_type.is_empty() || self.expression_type == TAG
    }

    /// The filter that a broker applies.
    pub fn filter(&self) -> TagFilter {
        if self.sub_string.is_empty() || self.sub_string == ALL {
            return TagFilter::All;
        }
        if !self.code_set.is_empty() {
            return TagFilter::Codes(self.code_set.clone());
        }
        // Some clients send the expression alone.
        TagFilter::Codes(split(&self.sub_string).map(java_hash).collect())
    }
}

fn split(expression: &str) -> impl Iterator<Item = &str> {
    expression.split("||").map(str::trim).filter(|tag| !tag.is_empty())
}

/// A broker's filter by tags: it knows only their hashes, so a few too many may pass. Consumers look again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagFilter {
    /// Everything passes.
    All,
    /// What has one of these hashes passes.
    Codes(Vec<i32>),
}

impl TagFilter {
    /// Does a message with this tags code pass?
    pub fn passes(&self, tags_code: i64) -> bool {
        match self {
            TagFilter::All => true,
            TagFilter::Codes(codes) => codes.contains(&(tags_code as i32)),
        }
    }
}

/// The attribute of a group whose members park what they can't work at with its key, in place of giving it up. CometMQ's own.
pub const ORDER_PARK: &str = "order.park";

/// The attribute of a group whose members consume queues together, in order of keys. CometMQ's own.
pub const ORDER_SHARE_BY_KEY: &str = "order.shareByKey";

/// A consumer group's settings, as `subscriptionGroup.json` holds them.
#[doc(alias = "org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroupConfig {
    /// Its name.
    pub group_name: String,
    /// May it consume?
    pub consume_enable: bool,
    /// May it begin with the first message?
    pub consume_from_min_enable: bool,
    /// May it consume in broadcast mode?
    pub consume_broadcast_enable: bool,
    /// Does it consume in order? (Pop consumers only.)
    pub consume_message_orderly: bool,
    /// Queues of its retry topic; 0 or less: what it sends back is dropped.
    pub retry_queue_nums: i32,
    /// Attempts before a message goes to its dead letter topic.
    pub retry_max_times: i32,
    /// The broker that it reads from.
    pub broker_id: i64,
    /// The broker that it reads from when it is far behind.
    pub which_broker_when_consume_slowly: i64,
    /// Are its members told when others join or leave?
    pub notify_consumer_ids_changed_enable: bool,
    /// Bits of unit mode.
    pub group_sys_flag: i32,
    /// How long a consumer may work at a message, minutes.
    pub consume_timeout_minute: i32,
    /// Settings that we keep for others: `attributes`, `groupRetryPolicy`, `subscriptionDataSet`, and what is to come.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

impl Default for SubscriptionGroupConfig {
    fn default() -> SubscriptionGroupConfig {
        SubscriptionGroupConfig {
            group_name: String::new(),
            consume_enable: true,
            consume_from_min_enable: true,
            consume_broadcast_enable: true,
            consume_message_orderly: false,
            retry_queue_nums: 1,
            retry_max_times: 16,
            broker_id: 0,
            which_broker_when_consume_slowly: 1,
            notify_consumer_ids_changed_enable: true,
            group_sys_flag: 0,
            consume_timeout_minute: 15,
            others: Map::new(),
        }
    }
}

impl SubscriptionGroupConfig {
    /// A new group with Apache's defaults.
    pub fn new(name: &str) -> SubscriptionGroupConfig {
        SubscriptionGroupConfig { group_name: name.into(), ..SubscriptionGroupConfig::default() }
    }

    /// Is this attribute `true`?
    pub fn is_on(&self, attribute: &str) -> bool {
        let value = self.others.get("attributes").and_then(|attributes| attributes.get(attribute));
        value.and_then(Value::as_str) == Some("true")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_of_tags_are_split() {
        let subscription = SubscriptionData::tags("T", " A||B || ").unwrap();
        assert_eq!(subscription.tags_set, ["A", "B"]);
        assert_eq!(subscription.code_set, [65, 66]);
        assert_eq!(SubscriptionData::tags("T", "").unwrap().filter(), TagFilter::All);
        assert_eq!(SubscriptionData::tags("T", "*").unwrap().filter(), TagFilter::All);
        assert!(SubscriptionData::tags("T", "||").is_err());
    }

    #[test]
    fn tags_pass_by_their_hash() {
        let filter = SubscriptionData::tags("T", "Aa").unwrap().filter();
        assert!(filter.passes(i64::from(java_hash("BB"))), "a collision passes; the consumer looks again");
        assert!(!filter.passes(0), "a message without tags is not asked for");
        let only_text = SubscriptionData { sub_string: "A || B".into(), ..SubscriptionData::default() };
        assert!(only_text.filter().passes(66));
    }

    #[test]
    fn settings_of_groups_that_we_do_not_know_are_kept() {
        let text = r#"{"attributes":{},"groupName":"g","groupRetryPolicy":{"type":"CUSTOMIZED"},"retryMaxTimes":3}"#;
        let config: SubscriptionGroupConfig = serde_json::from_str(text).unwrap();
        assert_eq!((config.retry_max_times, config.retry_queue_nums), (3, 1));
        let written = serde_json::to_value(&config).unwrap();
        assert_eq!(written["groupRetryPolicy"]["type"], "CUSTOMIZED");
    }
}
