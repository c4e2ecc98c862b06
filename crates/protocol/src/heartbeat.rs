//! What clients tell brokers about themselves: heartbeats and queue locks, as JSON bodies.
//!
//! Reading is tolerant: the C++ core of 2018 writes enums as numbers and numbers as text, and leaves fields out.

use crate::subscription::SubscriptionData;
use serde::{Deserialize, Serialize};

/// The body of HEART_BEAT (34).
#[doc(alias = "org.apache.rocketmq.remoting.protocol.heartbeat.HeartbeatData")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeartbeatData {
    /// Who: `ip@instance`.
    #[serde(rename = "clientID", deserialize_with = "tolerant::text")]
    pub client_id: String,
    /// The groups that it sends for.
    #[serde(deserialize_with = "tolerant::list")]
    pub producer_data_set: Vec<ProducerData>,
    /// The groups that it consumes in.
    #[serde(deserialize_with = "tolerant::list")]
    pub consumer_data_set: Vec<ConsumerData>,
    /// A hash over all of it but client and versions; 0: the client does not do that.
    #[serde(deserialize_with = "tolerant::number")]
    pub heartbeat_fingerprint: i64,
    /// Subscriptions are left out, as they are those of the fingerprint.
    #[serde(deserialize_with = "tolerant::boolean")]
    pub without_sub: bool,
}

/// A group that a client sends for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerData {
    /// Its name.
    #[serde(deserialize_with = "tolerant::text")]
    pub group_name: String,
}

/// A group that a client consumes in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerData {
    /// Its name.
    #[serde(deserialize_with = "tolerant::text")]
    pub group_name: String,
    /// Who moves: the client, or the broker.
    #[serde(deserialize_with = "tolerant::name_or_ordinal")]
    pub consume_type: ConsumeType,
    /// Each message once per group, or once per member.
    #[serde(deserialize_with = "tolerant::name_or_ordinal")]
    pub message_model: MessageModel,
    /// Where a new group begins.
    #[serde(deserialize_with = "tolerant::name_or_ordinal")]
    pub consume_from_where: ConsumeFromWhere,
    /// What it wants.
    #[serde(deserialize_with = "tolerant::list")]
    pub subscription_data_set: Vec<SubscriptionData>,
    /// Unit mode.
    #[serde(deserialize_with = "tolerant::boolean")]
    pub unit_mode: bool,
}

/// Enums that travel by name, and from C++ clients by number.
macro_rules! enums {
    ($($(#[$doc:meta])* pub enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            const NAMES: &'static [(&'static str, $name)] = &[$(($text, $name::$variant)),*];

            /// RocketMQ's name of it.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text),* }
            }
        }

        impl tolerant::Named for $name {
            fn named(name: &str) -> Option<$name> {
                $name::NAMES.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
            }

            fn numbered(ordinal: usize) -> Option<$name> {
                $name::NAMES.get(ordinal).map(|(_, value)| *value)
            }
        }
    )*};
}

enums! {
    /// Who moves the messages.
    pub enum ConsumeType {
        /// The application pulls.
        Actively = "CONSUME_ACTIVELY",
        /// The client library pulls and pushes to the application.
        #[default]
        Passively = "CONSUME_PASSIVELY",
        /// The broker hands out.
        Pop = "CONSUME_POP",
    }

    /// How members share messages.
    pub enum MessageModel {
        /// Each member gets all.
        Broadcasting = "BROADCASTING",
        /// One member gets each.
        #[default]
        Clustering = "CLUSTERING",
        /// RocketMQ 5.4's light topics.
        LiteSelective = "LITE_SELECTIVE",
    }

    /// Where a group begins that has no offset.
    pub enum ConsumeFromWhere {
        /// With what comes.
        #[default]
        LastOffset = "CONSUME_FROM_LAST_OFFSET",
        /// Deprecated.
        LastOffsetAndMinAtFirst = "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
        /// Deprecated.
        MinOffset = "CONSUME_FROM_MIN_OFFSET",
        /// Deprecated.
        MaxOffset = "CONSUME_FROM_MAX_OFFSET",
        /// With the first that is there.
        FirstOffset = "CONSUME_FROM_FIRST_OFFSET",
        /// With a point in time.
        Timestamp = "CONSUME_FROM_TIMESTAMP",
    }
}

/// The answer's body to GET_CONSUMER_LIST_BY_GROUP (38).
#[doc(alias = "GetConsumerListByGroupResponseBody")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerList {
    /// Client ids of the group's members.
    pub consumer_id_list: Vec<String>,
}

/// A queue of a topic on a broker.
#[doc(alias = "org.apache.rocketmq.common.message.MessageQueue")]
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageQueue {
    /// The broker's name.
    #[serde(deserialize_with = "tolerant::text")]
    pub broker_name: String,
    /// The queue's number.
    #[serde(deserialize_with = "tolerant::queue_id")]
    pub queue_id: i32,
    /// The topic.
    #[serde(deserialize_with = "tolerant::text")]
    pub topic: String,
}

/// The body of LOCK_BATCH_MQ (41) and UNLOCK_BATCH_MQ (42).
#[doc(alias = "LockBatchRequestBody")]
#[doc(alias = "UnlockBatchRequestBody")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LockBatchBody {
    /// The group.
    #[serde(deserialize_with = "tolerant::text")]
    pub consumer_group: String,
    /// The member.
    #[serde(deserialize_with = "tolerant::text")]
    pub client_id: String,
    /// Other brokers are not to be asked.
    #[serde(deserialize_with = "tolerant::boolean")]
    pub only_this_broker: bool,
    /// Which queues.
    #[serde(deserialize_with = "tolerant::list")]
    pub mq_set: Vec<MessageQueue>,
}

/// The answer's body to LOCK_BATCH_MQ (41).
#[doc(alias = "LockBatchResponseBody")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LockBatchReplyBody {
    /// The queues that are the member's now.
    #[serde(rename = "lockOKMQSet")]
    pub lock_ok_mq_set: Vec<MessageQueue>,
}

/// The body of CHECK_CLIENT_CONFIG (46).
#[doc(alias = "CheckClientRequestBody")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckClientBody {
    /// The member.
    #[serde(deserialize_with = "tolerant::text")]
    pub client_id: String,
    /// The group.
    #[serde(deserialize_with = "tolerant::text")]
    pub group: String,
    /// What it wants.
    pub subscription_data: Option<SubscriptionData>,
}

/// Readers of what clients write in more than one way.
pub(crate) mod tolerant {
    use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error};
    use serde_json::Value;

    pub trait Named: Sized + Default {
        fn named(name: &str) -> Option<Self>;
        fn numbered(ordinal: usize) -> Option<Self>;
    }

    /// Text; null is empty, a number or a boolean is its digits or name.
    pub fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        match Value::deserialize(from)? {
            Value::Null => Ok(String::new()),
            Value::String(text) => Ok(text),
            scalar @ (Value::Number(_) | Value::Bool(_)) => Ok(scalar.to_string()),
            _ => Err(D::Error::custom("no text")),
        }
    }

    /// A whole number, also as text; null and empty text are 0.
    pub fn number<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
        match Value::deserialize(from)? {
            Value::Null => Ok(0),
            Value::Number(number) => number.as_i64().ok_or_else(|| D::Error::custom("a number that is not whole")),
            Value::String(text) if text.trim().is_empty() => Ok(0),
            Value::String(text) => text.trim().parse().map_err(|_| D::Error::custom("text that is no number")),
            _ => Err(D::Error::custom("no number")),
        }
    }

    /// A queue's number.
    pub fn queue_id<'de, D: Deserializer<'de>>(from: D) -> Result<i32, D::Error> {
        i32::try_from(number(from)?).map_err(|_| D::Error::custom("a queue id out of range"))
    }

    /// A boolean, also as text or number.
    pub fn boolean<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
        Ok(match Value::deserialize(from)? {
            Value::Bool(value) => value,
            Value::Number(number) => number.as_i64() != Some(0),
            Value::String(text) => text.eq_ignore_ascii_case("true") || text == "1",
            _ => false,
        })
    }

    /// A list; null is empty.
    pub fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
        Ok(Option::deserialize(from)?.unwrap_or_default())
    }

    /// An enum by its name, or by its number; the default when we know neither.
    pub fn name_or_ordinal<'de, D: Deserializer<'de>, T: Named>(from: D) -> Result<T, D::Error> {
        let known = match Value::deserialize(from)? {
            Value::String(text) => T::named(&text).or_else(|| T::numbered(text.parse().ok()?)),
            Value::Number(number) => number.as_u64().and_then(|number| T::numbered(number as usize)),
            _ => None,
        };
        Ok(known.unwrap_or_default())
    }
}

macro_rules! read_by_name {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<$type, D::Error> {
                tolerant::name_or_ordinal(from)
            }
        }
    )*};
}
read_by_name!(ConsumeType, MessageModel, ConsumeFromWhere);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn a_java_heartbeat_is_read() {
        let body = br#"{"clientID":"10.0.0.5@123#9","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET",
            "consumeType":"CONSUME_PASSIVELY","groupName":"CG","messageModel":"BROADCASTING","subscriptionDataSet":[
            {"classFilterMode":false,"codeSet":[65],"expressionType":"TAG","subString":"A","subVersion":1700000000000,
            "tagsSet":["A"],"topic":"T"}],"unitMode":false}],"heartbeatFingerprint":0,"producerDataSet":
            [{"groupName":"PG"}],"withoutSub":false}"#;
        let heartbeat: HeartbeatData = json::read(body).unwrap();
        assert_eq!(heartbeat.client_id, "10.0.0.5@123#9");
        assert_eq!(heartbeat.producer_data_set[0].group_name, "PG");
        let consumer = &heartbeat.consumer_data_set[0];
        assert_eq!(consumer.message_model, MessageModel::Broadcasting);
        assert_eq!(consumer.consume_from_where, ConsumeFromWhere::FirstOffset);
        assert_eq!(consumer.subscription_data_set[0].sub_version, 1_700_000_000_000);
    }

    #[test]
    fn a_heartbeat_of_the_old_cpp_core_is_read() {
        let body = br#"{"clientID":"c","consumerDataSet":[{"consumeFromWhere":5,"consumeType":1,"groupName":"g",
            "messageModel":1,"subscriptionDataSet":[{"codeSet":[],"subString":"*","subVersion":"1600000000000",
            "tagsSet":null,"topic":"T"}]}],"producerDataSet":null}"#;
        let heartbeat: HeartbeatData = json::read(body).unwrap();
        let consumer = &heartbeat.consumer_data_set[0];
        assert_eq!(consumer.consume_type, ConsumeType::Passively);
        assert_eq!(consumer.message_model, MessageModel::Clustering);
        assert_eq!(consumer.consume_from_where, ConsumeFromWhere::Timestamp);
        assert_eq!(consumer.subscription_data_set[0].sub_version, 1_600_000_000_000);
        assert!(consumer.subscription_data_set[0].is_tags());
    }

    #[test]
    fn locks_travel_as_java_names_them() {
        let body = br#"{"clientId":"c","consumerGroup":"g","mqSet":[{"brokerName":"b","queueId":"3","topic":"T"}]}"#;
        let lock: LockBatchBody = json::read(body).unwrap();
        let reply = LockBatchReplyBody { lock_ok_mq_set: lock.mq_set };
        assert_eq!(json::write(&reply), br#"{"lockOKMQSet":[{"brokerName":"b","queueId":3,"topic":"T"}]}"#);
    }
}
