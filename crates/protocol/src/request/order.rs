//! Ordered topics that were given more queues. Apache's brokers have no such requests.

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
}

requests! {
    ListOrderFences: LIST_ORDER_FENCES => Empty;
    RemoveOrderFences: REMOVE_ORDER_FENCES => Empty;
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
