//! The life of a message: what MESSAGE_LIFE (90030) answers with. CometMQ's own; RocketMQ has no such thing.

use serde::{Deserialize, Serialize};

/// The lives of the messages that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageLives {
    /// One for each unique key, oldest first.
    pub messages: Vec<MessageLife>,
    /// What the broker knows of deliveries.
    pub kept: KeptEvents,
}

/// What a broker keeps of events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeptEvents {
    /// Since when, in ms since 1970. `None`: there is nothing yet, or `messageLifeMaxBytes=0`.
    pub since: Option<i64>,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes that it may have on disk; 0: it keeps nothing.
    pub max_bytes: u64,
    /// Events since the broker's start that it could not keep: too many at a time, or the disk refused.
    pub dropped: u64,
}

/// What became of a message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageLife {
    /// The topic to which it was sent.
    pub topic: String,
    /// The id that its producer knows it by (`SendResult.getMsgId()`); empty if it has none.
    pub unique_key: String,
    /// Its keys, with blanks between.
    pub keys: String,
    /// Its tags.
    pub tags: String,
    /// When its producer made it, in ms since 1970.
    pub born_timestamp: i64,
    /// What happened, in order.
    pub events: Vec<LifeEvent>,
    /// More happened than fits.
    pub left_out: bool,
    /// How far groups are that consume it.
    pub groups: Vec<GroupProgress>,
}

/// How far a group is with a queue in which a message lies.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupProgress {
    /// The group.
    pub group: String,
    /// The topic; the group's retry topic, once it was sent back.
    pub topic: String,
    /// The queue.
    pub queue_id: i32,
    /// The message's place in the queue.
    pub queue_offset: i64,
    /// The group has acknowledged all before this.
    pub committed: i64,
    /// It has acknowledged this message, or passed it over.
    pub done: bool,
    /// It has passed it over because its key is parked, and is to get it once that is released.
    pub parked: bool,
}

/// What happened to a message. Within one millisecond, things happened in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Happening {
    /// It was stored, to be delivered later.
    Waits,
    /// A half message was stored: its transaction is open.
    Prepared,
    /// A producer was asked about its transaction.
    Asked,
    /// Its transaction was committed: consumers may have it.
    Committed,
    /// Its transaction was rolled back.
    RolledBack,
    /// Nobody decided its transaction; it lies in `TRANS_CHECK_MAX_TIME_TOPIC`.
    GivenUp,
    /// It was stored in its topic: consumers may have it.
    #[default]
    Stored,
    /// It was put into a group's retry topic.
    Retried,
    /// A consumer got it.
    Delivered,
    /// A consumer sent it back.
    SentBack,
    /// It is passed over for a group, as its key is parked.
    Parked,
    /// A group is to get it now that its key is not parked any more.
    Released,
    /// A group acknowledged all up to it.
    Acknowledged,
    /// A group's offset was set back before it: it comes again.
    SetBack,
    /// A group's offset was set behind it: the group does not get it.
    Skipped,
    /// It was put into a group's dead letter topic.
    Dead,
    /// Events of this moment were not kept.
    NotKept,
}

/// One thing that happened.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LifeEvent {
    /// When, in ms since 1970.
    pub time: i64,
    /// What.
    pub what: Happening,
    /// In which topic.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub topic: String,
    /// In which queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_id: Option<i32>,
    /// At which place of the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_offset: Option<i64>,
    /// The id of the record that was stored (`SendResult.getOffsetMsgId()`).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub offset_message_id: String,
    /// The producer or consumer group that did it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The client that did it; empty if only its address is known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client: String,
    /// Its address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// Which attempt at consuming it follows: 1 after the first failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    /// When it is due, in ms since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<i64>,
    /// How many events of that moment were not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// What else is to be said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}
