//! Duplicates: what GET_DUPLICATES (90050) answers with. CometMQ's own; RocketMQ has no such thing.

use serde::{Deserialize, Serialize};

/// How often messages came or went more than once, since the broker's start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Duplicates {
    /// Topics with `dedup.window`, in order of their names.
    pub topics: Vec<TopicDuplicates>,
    /// Groups to which something was delivered again, in order of their names.
    pub groups: Vec<Redeliveries>,
}

/// Messages of a topic that came more than once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicDuplicates {
    /// The topic.
    pub topic: String,
    /// `dedup.window`, in seconds.
    pub window_seconds: u64,
    /// Ids that are remembered.
    pub ids: u64,
    /// Messages that were not stored, their ids being known.
    pub duplicates: u64,
    /// Ids that were forgotten before their time, to make room for others (`dedupIdsMax`).
    pub forgotten_early: u64,
}

/// What a group got more than once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Redeliveries {
    /// The group.
    pub group: String,
    /// Messages that were handed out again, from places of their queues that had been handed out before: members came or
    /// went, a client died, the offset was set back.
    pub handed_out_again: u64,
    /// Messages of the retry topic that were handed out.
    pub retries: u64,
    /// Messages that were sent back.
    pub sent_back: u64,
    /// Messages that became dead letters.
    pub dead: u64,
    /// Messages that were sent back again while the first one waits, and not stored again.
    pub sent_back_again: u64,
}
