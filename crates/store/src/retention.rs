//! Topics that are kept for another time than the log, or only up to a size.
//!
//! All topics share the files of the log. A topic's own limits raise the oldest offsets of its queues: what is before
//! them is no longer served, and its room comes back when its file of the log goes. Nothing of this is stored: when a
//! store is opened, the same follows from the messages and the time again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::message::CommitLogOffset;
use protocol::record::Record;

use crate::clean::Needed;
use crate::consume_queue::{Entry, Queue};
use crate::put::is_queued;
use crate::query::Boundary;
use crate::{Inner, Store};

/// Entries of a queue read at a time.
const STEP: usize = 4096;

/// Attribute: how long messages of a topic are kept, in hours, as `fileReservedTime`; -1: as long as the log.
pub const RESERVE_TIME: &str = "reserve.time";

/// Attribute: how many bytes of the log the messages of a topic may take on this broker; -1: as many as they like. Apache
/// has none like it.
pub const RESERVE_BYTES: &str = "reserve.bytes";

/// How much of a topic is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Messages stored longer ago are not served. Longer than the log is kept: the log is kept for them.
    pub time: Option<Duration>,
    /// The newest messages of all its queues together, up to so many bytes of the log.
    pub bytes: Option<u64>,
}

/// A topic with limits of its own.
#[derive(Debug)]
pub(crate) struct Limited {
    retention: Retention,
    /// For a topic with a size: what its queues hold, as far as it was counted.
    counted: Vec<Counted>,
}

/// Bytes of the log that entries `from..to` of a queue point to.
#[derive(Debug)]
struct Counted {
    queue: Arc<Queue>,
    from: i64,
    to: i64,
    bytes: u64,
}

impl Counted {
    /// Nothing of a queue.
    fn of(queue: &Arc<Queue>) -> Counted {
        let (min, _) = queue.bounds();
        Counted { queue: queue.clone(), from: min, to: min, bytes: 0 }
    }

    /// Counts what came since the last time, and no longer what is before `first`.
    fn go_on(&mut self, first: i64) -> io::Result<()> {
        let (min, max) = self.queue.bounds();
        if self.from < min || self.to > max {
            // The log's beginning moved past what was counted.
            (self.from, self.to, self.bytes) = (min, min, 0);
        }
        while self.to < max {
            let entries = self.queue.entries(self.to, STEP)?;
            if entries.is_empty() {
                break;
            }
            self.bytes += entries.iter().map(size_of).sum::<u64>();
            self.to += entries.len() as i64;
        }
        while self.from < first.min(self.to) {
            let count = (first.min(self.to) - self.from).min(STEP as i64) as usize;
            let entries = self.queue.entries(self.from, count)?;
            if entries.is_empty() {
                break;
            }
            self.bytes = self.bytes.saturating_sub(entries.iter().map(size_of).sum());
            self.from += entries.len() as i64;
        }
        Ok(())
    }
}

fn size_of(entry: &Entry) -> u64 {
    if entry.has_message() { entry.size.max(0) as u64 } else { 0 }
}

impl Store {
    /// Says how much of a topic is kept; [`Retention::default`] is as much as of the log. In force with the next
    /// [`Store::expire`].
    pub fn set_retention(&self, topic: &str, retention: Retention) {
        let mut limited = self.inner.limited.lock();
        if retention == Retention::default() {
            limited.remove(topic);
            return;
        }
        match limited.get_mut(topic) {
            Some(known) => known.retention = retention,
            None => _ = limited.insert(topic.into(), Limited { retention, counted: Vec::new() }),
        }
    }

    /// Stops serving what topics with limits of their own have too much of. `now` answers with the time by which to judge
    /// what is kept for so long, see [`Store::cautious_now`].
    ///
    /// Costs a read for each queue of these topics, and twenty bytes for each message of one with a size, once.
    pub fn expire(&self, now: &dyn Fn(Duration) -> SystemTime) -> io::Result<()> {
        self.inner.expire(now)
    }
}

impl Inner {
    fn expire(&self, now: &dyn Fn(Duration) -> SystemTime) -> io::Result<()> {
        for (topic, limited) in self.limited.lock().iter_mut() {
            let queues = self.queues.of(topic);
            let mut firsts = Vec::with_capacity(queues.len());
            for queue in &queues {
                firsts.push(match limited.retention.time {
                    Some(time) => self.first_stored_since(queue, since_1970(now(time)).saturating_sub(time)),
                    None => queue.bounds().0,
                });
            }
            if let Some(max) = limited.retention.bytes {
                limited.counted.retain(|it| queues.iter().any(|queue| Arc::ptr_eq(queue, &it.queue)));
                for (queue, first) in queues.iter().zip(&firsts) {
                    let known = limited.counted.iter().position(|it| Arc::ptr_eq(queue, &it.queue));
                    let n = known.unwrap_or_else(|| {
                        limited.counted.push(Counted::of(queue));
                        limited.counted.len() - 1
                    });
                    limited.counted[n].go_on(*first)?;
                }
                drop_oldest(&mut limited.counted, max)?;
                for counted in &limited.counted {
                    counted.queue.raise_min_to(counted.from);
                }
            }
            for (queue, first) in queues.iter().zip(firsts) {
                queue.raise_min_to(first);
            }
        }
        Ok(())
    }

    /// The first message stored so long after 1970, or later.
    fn first_stored_since(&self, queue: &Queue, since: Duration) -> i64 {
        let since = since.as_millis() as i64;
        let (min, max) = queue.bounds();
        // Most often the oldest message is young enough.
        let oldest = if min < max { queue.entry(min).ok().flatten() } else { None };
        match oldest.and_then(|oldest| self.store_timestamp(&oldest)) {
            Some(stored) if stored >= since => min,
            _ if min == max => min,
            _ => self.search_offset(queue, since, Boundary::Lower),
        }
    }

    /// Where messages begin that topics keep longer than the log is kept.
    pub(crate) fn kept_longer(&self) -> Option<Needed> {
        let mut first: Option<Needed> = None;
        for (topic, limited) in self.limited.lock().iter() {
            let Some(time) = limited.retention.time.filter(|time| *time > self.limits.file_reserved()) else {
                continue;
            };
            for queue in self.queues.of(topic) {
                let Ok(Some(entry)) = queue.entry(queue.bounds().0) else { continue };
                if first.as_ref().is_none_or(|first| entry.at < first.from.0) {
                    let by = format!("topic `{topic}` keeps its messages for {} hours", time.as_secs() / 3600);
                    first = Some(Needed { from: CommitLogOffset(entry.at), by });
                }
            }
        }
        first
    }

    /// Is this record still its topic's? Not if the topic was deleted since, or has too much without it.
    pub(crate) fn is_kept(&self, record: &Record<'_>) -> bool {
        if record.commit_log_offset.0 < self.deletions.begin_of(record.topic) {
            return false;
        }
        let queue_id = u32::try_from(record.queue_id).ok().filter(|_| is_queued(record.sys_flag));
        let queue = queue_id.and_then(|id| self.queues.get(record.topic, id));
        queue.is_none_or(|queue| record.queue_offset.0 >= queue.bounds().0)
    }
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Leaves out the oldest messages of all queues together until no more than `max` bytes are left.
fn drop_oldest(queues: &mut [Counted], max: u64) -> io::Result<()> {
    let mut total: u64 = queues.iter().map(|it| it.bytes).sum();
    let mut ahead: Vec<std::vec::IntoIter<Entry>> = queues.iter().map(|_| Vec::new().into_iter()).collect();
    let mut oldest = BinaryHeap::new();
    let mut next = |n: usize, it: &Counted| -> io::Result<Option<Entry>> {
        if ahead[n].len() == 0 && it.from < it.to {
            let count = (it.to - it.from).min(STEP as i64) as usize;
            ahead[n] = it.queue.entries(it.from, count)?.into_iter();
        }
        Ok(ahead[n].next())
    };
    if total > max {
        for (n, it) in queues.iter().enumerate() {
            oldest.extend(next(n, it)?.map(|entry| Reverse((entry.at, n, size_of(&entry)))));
        }
    }
    while total > max
        && let Some(Reverse((_, n, size))) = oldest.pop()
    {
        let it = &mut queues[n];
        it.from += 1;
        it.bytes = it.bytes.saturating_sub(size);
        total = total.saturating_sub(size);
        oldest.extend(next(n, it)?.map(|entry| Reverse((entry.at, n, size_of(&entry)))));
    }
    Ok(())
}
