//! What the log's records are to queues and index that lack them.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use protocol::message::QueueOffset;
use protocol::record::Record;

use super::{Met, OpenError, io_error};
use crate::config::StoreConfig;
use crate::consume_queue::{Entry, Queue, Queues};
use crate::deleted::Deletions;
use crate::dispatch::{IndexItem, Keys};
use crate::index::Index;
use crate::lost;
use crate::put::{is_queued, is_storable_topic};
use crate::segment::Segment;

/// Entries kept in memory before they are written.
const DRAIN_AT: usize = 200_000;

/// Dispatches records of the log to what lacks them.
pub(super) struct Redo<'a> {
    pub config: &'a StoreConfig,
    pub queues: &'a Queues,
    pub deletions: &'a Deletions,
    pub index: Option<&'a mut Index>,
    pub queues_from: i64,
    /// Queues that lack entries of older records, and from which on.
    pub lacking: HashMap<(Box<str>, u32), i64>,
    pub lives: HashMap<(Box<str>, u32), Life>,
    pub index_from: i64,
    /// Where the walk began.
    pub from: i64,
    /// Where the log is damaged, in its order.
    pub damages: Vec<i64>,
    /// The last record of a queue whose queue offset did not follow the one before.
    pub doubtful: HashMap<(Box<str>, u32), Doubtful>,
    pub dirty: HashSet<(Box<str>, u32)>,
    pub waiting: usize,
    pub items: Vec<IndexItem>,
    pub touched: Vec<Arc<Segment>>,
    pub last_timestamp: i64,
    /// No message was stored later.
    pub latest: i64,
}

/// A record with a queue offset that was not the next one. No checksum covers queue offsets, so it may be wrong: what
/// follows tells. Its message is then refused where it must have stood, and its neighbours keep their offsets.
#[derive(Clone, Copy)]
pub(super) struct Doubtful {
    /// Where the queue ended before it.
    next: i64,
    /// What it says.
    says: i64,
    entry: Entry,
    /// Why it does not follow is known: there is damage before it, or what was there was deleted.
    explained: bool,
}

/// The message with which a queue began that a killed broker of Apache's left. That broker takes no note of topics that are
/// deleted: their records stay in the log in front of those of a topic of the same name, which begins at 0 again.
#[derive(Clone, Copy)]
pub(super) struct Life {
    pub offset: i64,
    pub at: i64,
}

impl Redo<'_> {
    /// Is a record left from a topic of the same name that was deleted?
    fn is_of_an_earlier_life(&self, record: &Record<'_>) -> bool {
        !self.lives.is_empty()
            && self
                .lives
                .get(&(record.topic.into(), record.queue_id as u32))
                .is_some_and(|life| record.commit_log_offset.0 < life.at && record.queue_offset.0 >= life.offset)
    }

    pub fn meet(&mut self, met: Met<'_>) -> Result<(), OpenError> {
        match met {
            Met::Record(record) => self.dispatch(record),
            Met::Damage(at) => {
                self.damages.push(at);
                Ok(())
            }
        }
    }

    /// Before a message is published whose offset is not the next one of its queue.
    fn out_of_order(&mut self, queue: &Queue, offset: i64, entry: Entry) -> Result<(), OpenError> {
        let failed = |error| OpenError::Io { path: self.queues.dir_of(queue.topic()), error };
        let (min, next) = queue.bounds();
        let before = queue.newest_place().map_err(failed)?;
        if before.is_some_and(|before| entry.at <= before) {
            return Ok(()); // it is there already
        }
        let begin = self.deletions.begin_of(queue.topic()).max(before.map_or(0, |before| before + 1));
        let damage = self.damages.get(self.damages.partition_point(|damage| *damage < begin)).copied();
        let doubtful =
            self.doubtful.remove(&queue.name()).filter(|it| before == Some(it.entry.at) || it.says < it.next);
        // With no message left before it, those between were deleted with their files, unless this is the beginning of the log.
        let follows = min < next || self.from == 0;
        let new = Doubtful { next, says: offset, entry, explained: damage.is_some() || !follows };
        match doubtful {
            // The one before leapt ahead, and here is the one that belongs there: the other is of another queue.
            Some(stray) if stray.next == offset && !stray.explained => {
                queue.cut_back(offset).map_err(failed)?;
                self.not_of(queue, stray);
                return Ok(());
            }
            // The one before leapt ahead, and here is one of those that it leapt over, or stands for.
            Some(wrong) if wrong.next < offset && offset <= wrong.says => {
                tracing::warn!("message {} of {queue:?} says it is message {}", wrong.next, wrong.says);
                queue.cut_back(wrong.next).map_err(failed)?;
                queue.publish(QueueOffset(wrong.next), wrong.entry, &mut Vec::new());
            }
            // One before said an offset that another message has, and here is the one behind it.
            Some(wrong) if wrong.says < wrong.next && wrong.next == next && offset == next + 1 => {
                tracing::warn!("message {next} of {queue:?} says it is message {}", wrong.says);
                queue.publish(QueueOffset(next), wrong.entry, &mut Vec::new());
            }
            _ => _ = self.doubtful.insert(queue.name(), new),
        }
        let place = match damage {
            Some(damage) if before.is_some() || self.from == 0 => damage,
            None if follows && offset > next => self.stray(queue, next..offset, begin..entry.at)?.unwrap_or(entry.at),
            _ => return Ok(()),
        };
        self.waiting += queue.bridge_damage(offset, place);
        Ok(())
    }

    /// A record among those at `places` that says it is one of the messages that `queue` has not, but of another queue,
    /// where it does not follow: no checksum covers topic and queue id. It is served nowhere.
    fn stray(&mut self, queue: &Queue, missing: Range<i64>, places: Range<i64>) -> Result<Option<i64>, OpenError> {
        let is_it = |it: &Doubtful| {
            !it.explained && it.says > it.next && missing.contains(&it.says) && places.contains(&it.entry.at)
        };
        let of =
            self.doubtful.iter().find(|(name, it)| **name != queue.name() && is_it(it)).map(|(name, _)| name.clone());
        let Some((of, stray)) = of.and_then(|of| self.doubtful.remove(&of).map(|stray| (of, stray))) else {
            return Ok(None);
        };
        if let Some(other) = self.queues.get(&of.0, of.1) {
            let failed = |error| OpenError::Io { path: self.queues.dir_of(&of.0), error };
            if other.newest_place().map_err(failed)? == Some(stray.entry.at) {
                other.cut_back(stray.next).map_err(failed)?;
            }
            self.not_of(&other, stray);
        }
        Ok(Some(stray.entry.at))
    }

    /// A record says that it is of a queue, and is not.
    fn not_of(&mut self, queue: &Queue, stray: Doubtful) {
        let at = stray.entry.at;
        tracing::warn!(
            "the record at {at} of the commit log says it is message {} of {queue:?}, which it is not",
            stray.says
        );
        self.damages.insert(self.damages.partition_point(|damage| *damage < at), at);
    }

    fn dispatch(&mut self, record: &Record<'_>) -> Result<(), OpenError> {
        let at = record.commit_log_offset.0;
        if record.store_timestamp <= self.latest {
            self.last_timestamp = self.last_timestamp.max(record.store_timestamp);
        } else {
            tracing::warn!(
                "the record at {at} of the commit log says it was stored at {} ms after 1970, which no clock says; others do \
                 not go by that",
                record.store_timestamp
            );
        }
        let lacks = |topic: &str, queue_id: u32| {
            !self.lacking.is_empty() && self.lacking.get(&(topic.into(), queue_id)).is_some_and(|from| at >= *from)
        };
        if let Some(lost) = lost::of(record) {
            // Its queue goes on to say which message it was.
            if (at >= self.queues_from || lacks(&lost.topic, lost.queue_id)) && is_storable_topic(&lost.topic) {
                let entry = Entry { at, size: record.bytes.len() as i32, tags_code: 0 };
                let queue = self.queues.get_or_create(&lost.topic, lost.queue_id);
                queue.publish(QueueOffset(lost.queue_offset), entry, &mut Vec::new());
                self.dirty.insert((lost.topic.into(), lost.queue_id));
            }
            return Ok(());
        }
        let to_queue =
            is_queued(record.sys_flag) && (at >= self.queues_from || lacks(record.topic, record.queue_id as u32));
        let to_index = at >= self.index_from;
        let is_nobodys = at < self.deletions.begin_of(record.topic) || lost::is_lost(record);
        if !to_queue && !to_index || is_nobodys || self.is_of_an_earlier_life(record) {
            return Ok(());
        }
        let Some(queue_id) = u32::try_from(record.queue_id).ok().filter(|_| is_storable_topic(record.topic)) else {
            tracing::warn!(
                "the record at {at} of the commit log has topic `{}` queue {}",
                record.topic,
                record.queue_id
            );
            self.damages.push(at);
            return Ok(());
        };
        let queue = self.queues.get_or_create(record.topic, queue_id);
        let keys = Keys::derive(self.config, record.topic, queue.topic_hash(), record.sys_flag, record.properties);
        if to_queue {
            let tags_code = keys.tags_code(record.store_timestamp);
            let entry = Entry { at, size: record.bytes.len() as i32, tags_code };
            if record.queue_offset.0 != queue.bounds().1 {
                self.out_of_order(&queue, record.queue_offset.0, entry)?;
            }
            self.waiting += queue.publish(record.queue_offset, entry, &mut Vec::new()).added;
            self.dirty.insert((record.topic.into(), queue_id));
        }
        if to_index && self.index.is_some() {
            let store_timestamp = record.store_timestamp;
            self.items.extend(keys.hashes().iter().map(|hash| IndexItem { hash: *hash, at, store_timestamp }));
        }
        if self.waiting + self.items.len() > DRAIN_AT { self.drain() } else { Ok(()) }
    }

    pub fn drain(&mut self) -> Result<(), OpenError> {
        for (topic, queue_id) in self.dirty.drain() {
            if let Some(queue) = self.queues.get(&topic, queue_id) {
                queue.drain(&mut self.touched).map_err(|(path, error)| OpenError::Io { path, error })?;
            }
        }
        self.waiting = 0;
        let mut items = std::mem::take(&mut self.items);
        if let Some(index) = self.index.as_deref_mut() {
            let written = index.add(&mut items).and_then(|()| index.write(&mut self.touched));
            written.map_err(io_error(&self.config.index_dir()))?;
        }
        self.touched.sort_by_key(|segment| Arc::as_ptr(segment) as usize);
        self.touched.dedup_by(|one, other| Arc::ptr_eq(one, other));
        Ok(())
    }
}
