//! Ordered topics that were given more queues, and keys that are parked. Apache's brokers have no such requests.

use super::{Empty, headers, requests};
use serde::{Deserialize, Serialize};

headers! {
    /// LIST_ORDER_FENCES (90045). The body of its answer is an [`OrderFenceList`].
    pub struct ListOrderFences {}

    /// REMOVE_ORDER_FENCES (90046): groups get the new queues of a topic at once, whatever lies in the old ones.
    pub struct RemoveOrderFences {
        /// The topic.
        topic: String = "topic",
    }

    /// PARK_MESSAGE (90047): the message, and all later ones of its key, are passed over for the group.
    pub struct ParkMessage {
        /// The group.
        group: String = "group",
        /// The topic.
        topic: String = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
        /// The message's place in the queue.
        offset: i64 = "offset",
    }

    /// LIST_PARKED (90048). The body of its answer is a [`ParkedList`].
    pub struct ListParked {
        /// Only this group.
        group: Option<String> = "group",
        /// Only this topic.
        topic: Option<String> = "topic",
        /// Only this queue.
        queue_id: Option<i32> = "queueId",
        /// Name up to so many messages of each key; none without.
        max_num: Option<i32> = "maxNum",
    }

    /// RELEASE_PARKED (90049): the group gets the messages of a key, before all later ones of it. The body of its answer is a
    /// [`ReleasedList`].
    pub struct ReleaseParked {
        /// The group.
        group: String = "group",
        /// The topic.
        topic: String = "topic",
        /// Only this queue.
        queue_id: Option<i32> = "queueId",
        /// Only this key.
        key: Option<String> = "key",
        /// Only the key that is parked from this place on; so a message without a key is meant.
        offset: Option<i64> = "offset",
        /// `first`: the first message goes to the group's dead letters instead; `all`: all that are parked do,
        /// so many at a time.
        dead_letters: Option<String> = "deadLetters",
    }
}

requests! {
    ListOrderFences: LIST_ORDER_FENCES => Empty;
    RemoveOrderFences: REMOVE_ORDER_FENCES => Empty;
    ParkMessage: PARK_MESSAGE => Empty;
    ListParked: LIST_PARKED => Empty;
    ReleaseParked: RELEASE_PARKED => Empty;
}

/// A key that is parked in a queue, for a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParkedKey {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The queue.
    pub queue_id: i32,
    /// The key; `None`: the message has none, and is parked alone.
    pub key: Option<String>,
    /// The first message that is parked.
    pub offset: i64,
    /// Its id (`SendResult.getMsgId()`); empty if it cannot be read any more.
    pub message_id: String,
    /// When it was stored, milliseconds since 1970; 0 if it cannot be read any more.
    pub stored: i64,
    /// Since when it is parked, milliseconds since 1970.
    pub since: i64,
    /// Who parked it.
    pub by: String,
    /// It is being released, and waits for the group to come to its messages.
    pub releasing: bool,
    /// The time of the first message is over; it is not there any more.
    pub expired: bool,
    /// Messages of the key that the group has passed over, as far as they were looked for.
    pub messages: Vec<ParkedMessage>,
}

/// A message that a group passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParkedMessage {
    /// Its place in the queue.
    pub offset: i64,
    /// Its id (`SendResult.getMsgId()`).
    pub message_id: String,
    /// When it was stored, milliseconds since 1970.
    pub stored: i64,
}

/// Keys by group, topic and queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParkedList {
    /// The keys.
    pub keys: Vec<ParkedKey>,
}

/// What was released.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReleasedList {
    /// One for each queue.
    pub queues: Vec<ReleasedQueue>,
}

/// What was released of a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReleasedQueue {
    /// The queue.
    pub queue_id: i32,
    /// How many keys.
    pub keys: usize,
    /// Where the group goes on.
    pub offset: i64,
    /// How many messages went to the dead letters.
    pub dead_letters: usize,
    /// Keys of which more is to go to the dead letters than is done at a time stay parked from these places on. To be asked
    /// for again.
    pub left: Vec<i64>,
}

/// New queues of an ordered topic, which a group gets when it has consumed the old ones up to their ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OrderFence {
    /// The topic.
    pub topic: String,
    /// How many queues there were to write to: the old ones are `0..before`.
    pub before: i32,
    /// How many there are: the new ones are `before..after`. New queue `q` waits for old queue `q % before`.
    pub after: i32,
    /// Since when, milliseconds since 1970.
    pub at: i64,
    /// The ends of the old queues; `None`: producers may not know the new queues yet, so nobody gets them.
    pub ends: Option<Vec<i64>>,
}

/// Fences by topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OrderFenceList {
    /// The fences.
    pub fences: Vec<OrderFence>,
}
