//! Finding messages otherwise than by their queue offset: by key, and by time.

use bytes::Bytes;
use protocol::message::{CommitLogOffset, JavaHash, KEY_SEPARATOR, QueueOffset, property};
use protocol::record::{Record, store_timestamp_at};

use crate::consume_queue::{Entry, Queue, partition_point};
use crate::dispatch::index_hash;
use crate::{Inner, Store};

/// More messages than this are never looked up for one query, however many are asked for.
const QUERY_MAX: usize = 10_000;

/// What a query found.
#[doc(alias = "QueryMessageResult")]
#[derive(Clone, Debug, Default)]
pub struct QueryResult {
    /// Records, newest first.
    pub records: Vec<Bytes>,
    /// Store timestamp of the newest message the index knows, in ms since 1970.
    pub index_last_update_timestamp: i64,
    /// Its place in the commit log.
    pub index_last_update_offset: CommitLogOffset,
}

/// Which message counts when none was stored at the very time.
#[doc(alias = "BoundaryType")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Boundary {
    /// The first stored at the time or later.
    #[default]
    Lower,
    /// The last stored at the time or earlier.
    Upper,
}

impl Store {
    /// Messages of `topic` that carry `key`, as their unique key or among their keys, stored `begin_ms` to `end_ms`.
    ///
    /// At most `max`, newest first. What can be read can be found: the index is never behind.
    pub fn query(&self, topic: &str, key: &str, max: usize, begin_ms: i64, end_ms: i64) -> QueryResult {
        self.inner.query(topic, key, max, begin_ms, end_ms)
    }

    /// Queue offset of the message stored at a time (ms since 1970).
    ///
    /// Beyond the last message it is the end of the queue (`Lower`) or the last message (`Upper`), before the first it
    /// is the first.
    #[doc(alias = "getOffsetInQueueByTime")]
    pub fn search_offset(&self, topic: &str, queue_id: u32, timestamp_ms: i64, boundary: Boundary) -> QueueOffset {
        let queue = self.inner.queues.get(topic, queue_id);
        QueueOffset(queue.map_or(0, |queue| self.inner.search_offset(&queue, timestamp_ms, boundary)))
    }

    /// When a message was stored, in ms since 1970. `None` if there is none, or it cannot be read.
    #[doc(alias = "getMessageStoreTimeStamp")]
    pub fn store_timestamp_of(&self, topic: &str, queue_id: u32, offset: QueueOffset) -> Option<i64> {
        let queue = self.inner.queues.get(topic, queue_id)?;
        self.inner.store_timestamp(&queue.entry(offset.0).ok()??)
    }
}

impl Inner {
    fn query(&self, topic: &str, key: &str, max: usize, begin_ms: i64, end_ms: i64) -> QueryResult {
        let mut result = QueryResult::default();
        let Some(index) = &self.index else { return result };
        let hash = index_hash(JavaHash::new().update(topic).update("#").update(key));
        let found = {
            let mut index = index.lock();
            // What waits in memory comes first.
            if let Err(error) = self.enter_in_index(&mut index) {
                tracing::debug!(%error, "the index is behind"); // the next drain tells, and tries again
            }
            index.find(hash, QUERY_MAX.max(max), begin_ms, end_ms)
        };
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!("cannot read the index in {}: {error}", self.config.index_dir().display());
                return result;
            }
        };
        result.index_last_update_timestamp = found.last_timestamp;
        result.index_last_update_offset = CommitLogOffset(found.last_at);
        for at in found.at {
            if result.records.len() >= max {
                break;
            }
            match self.read(CommitLogOffset(at)) {
                Ok(Some(bytes)) if is_wanted(&bytes, topic, key, begin_ms, end_ms) => result.records.push(bytes),
                Ok(_) => {}
                Err(error) => tracing::warn!("a message found by key `{key}` of topic `{topic}` is left out: {error}"),
            }
        }
        result
    }

    /// When the message of an entry was stored.
    pub(crate) fn store_timestamp(&self, entry: &Entry) -> Option<i64> {
        const HEAD_LEN: usize = 76;
        if !entry.has_message() || entry.size < HEAD_LEN as i32 || entry.at < self.log.min() {
            return None;
        }
        let (segment, position) = self.place(entry.into())?;
        let mut head = [0; HEAD_LEN];
        segment.read(&mut head, position).ok()?;
        let at = store_timestamp_at(&head)?;
        Some(i64::from_be_bytes(head.get(at..at + 8)?.try_into().ok()?))
    }

    pub(crate) fn search_offset(&self, queue: &Queue, timestamp_ms: i64, boundary: Boundary) -> i64 {
        let (min, max) = queue.bounds();
        // A message whose time cannot be read counts as stored when the next one was.
        let stored = |offset: i64| -> Option<i64> {
            (offset..max.min(offset + 1024)).find_map(|offset| self.store_timestamp(&queue.entry(offset).ok()??))
        };
        let is_before = |offset: i64| -> Result<bool, ()> {
            Ok(stored(offset).is_some_and(|stored| match boundary {
                Boundary::Lower => stored < timestamp_ms,
                Boundary::Upper => stored <= timestamp_ms,
            }))
        };
        let found = partition_point(min, max, is_before).unwrap_or(min);
        match boundary {
            Boundary::Lower => found,
            Boundary::Upper => (found - 1).max(min),
        }
    }
}

/// The index knows hashes only, and its times to the second: does the record really match?
fn is_wanted(bytes: &[u8], topic: &str, key: &str, begin_ms: i64, end_ms: i64) -> bool {
    let Ok(record) = Record::parse(bytes) else { return false };
    let properties = record.properties();
    let carries = || {
        properties.get(property::UNIQ_KEY) == Some(key)
            || properties.get(property::KEYS).is_some_and(|keys| keys.split(KEY_SEPARATOR).any(|one| one == key))
    };
    record.topic == topic && (begin_ms..=end_ms).contains(&record.store_timestamp) && carries()
}
