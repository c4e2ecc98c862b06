//! A message that is sent back twice is stored once.
//!
//! A consumer that hears no answer sends its message back again, though the first one may be on its way to the group's retry
//! topic. The same is meant by the same group, origin and number of attempts. As long as the first one waits, or the group
//! has not acknowledged it, the second is answered like the first, and not stored. Once it was acknowledged, a message
//! that comes back failed anew (its offset was set back) and is stored: what is in doubt comes twice rather than never.

use crate::Broker;
use crate::dedup::{Keys, Recent};
use parking_lot::Mutex;
use protocol::message::{QueueOffset, property};
use protocol::record::Record;
use protocol::topic::{SCHEDULE_TOPIC, dead_letter_topic, retry_topic};
use std::time::{Duration, Instant};
use store::{CommitLogOffset, Stored};

/// For so long a second one may follow the first.
const WINDOW: Duration = Duration::from_secs(600);

/// So many are remembered at most.
const REMEMBERED_MAX: usize = 100_000;

/// So many records with one key are looked at.
const RECORDS_MAX: usize = 64;

/// What was sent back lately.
#[derive(Default)]
pub(crate) struct SendBacks {
    keys: Keys,
    recent: Mutex<Recent<Place>>,
}

/// Where the first one was put.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: CommitLogOffset,
    /// Behind its record.
    end: CommitLogOffset,
    queue_offset: QueueOffset,
    level: Option<u32>,
}

/// What became of a message that was sent back.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was stored.
    Stored(Stored),
    /// It was before, and that is not over; on disk when the log is up to here.
    Before(CommitLogOffset),
}

/// What is sent back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SentBack<'a> {
    pub group: &'a str,
    /// The id of the record that was consumed first.
    pub origin: &'a str,
    /// Which attempt will follow; the last is that of the dead letter.
    pub attempt: i32,
    /// It is to be a dead letter.
    pub dead: bool,
    /// The record that is sent back.
    pub record: &'a Record<'a>,
}

impl SentBack<'_> {
    /// The topic in which it is to be.
    fn home(&self) -> String {
        if self.dead { dead_letter_topic(self.group) } else { retry_topic(self.group) }
    }
}

impl Broker {
    /// Stores with `put` what is sent back at a delay level, unless that was done before and is not over.
    pub(crate) fn send_back_once<E>(
        &self,
        sent_back: &SentBack<'_>,
        level: Option<u32>,
        put: impl FnOnce() -> Result<Stored, E>,
    ) -> Result<Outcome, E> {
        let hash = self.send_backs.keys.hash(&(sent_back.group, sent_back.origin, sent_back.attempt, sent_back.dead));
        let now = Instant::now();
        // Held until the first is put: the second may come over another connection at the same time.
        let mut recent = self.send_backs.recent.lock();
        recent.expire(now, WINDOW);
        let before = match recent.get(hash, now, WINDOW) {
            Some((place, _)) => (self.waits(&place, sent_back) || self.is_under_way(sent_back)).then_some(place.end),
            // The run before may have taken the first.
            None => (self.may_be_of_run_before(sent_back.record) && self.is_under_way(sent_back))
                .then(|| self.store.commit_log_bounds().1),
        };
        if let Some(end) = before {
            return Ok(Outcome::Before(end));
        }
        let stored = put()?;
        if recent.len() >= REMEMBERED_MAX {
            recent.forget_oldest();
        }
        recent.insert(hash, Place { at: stored.at, end: stored.end, queue_offset: stored.queue_offset, level }, now);
        Ok(Outcome::Stored(stored))
    }

    /// It is not delivered to the retry topic yet, or a moment old.
    fn waits(&self, place: &Place, sent_back: &SentBack<'_>) -> bool {
        // One that waits for a topic that was deleted since is never delivered.
        place.at >= self.store.begin_of(&sent_back.home())
            && (place.at >= self.store.commit_log_bounds().1
                || place.level.is_some_and(|level| self.delay.next(level) <= place.queue_offset))
    }

    fn may_be_of_run_before(&self, record: &Record<'_>) -> bool {
        self.store.opened().0.elapsed() < WINDOW && record.store_timestamp <= self.delay.last_stored_before
    }

    /// Does the log hold one that waits, that the group has still to acknowledge, or that is dead?
    fn is_under_way(&self, sent_back: &SentBack<'_>) -> bool {
        let SentBack { group, origin, attempt, dead, record } = *sent_back;
        let home = sent_back.home();
        let begin = self.store.begin_of(&home);
        let Some(key) = record.properties().get(property::UNIQ_KEY) else { return false };
        // Its copies in a topic, on their way home or there: when they were stored, and their places.
        let copies = |topic: &str| -> Vec<(i64, i32, QueueOffset)> {
            let found = self.store.query(topic, key, RECORDS_MAX, record.store_timestamp, i64::MAX).records;
            let copies = found.iter().filter_map(|bytes| Record::parse(bytes).ok()).filter(|copy| {
                let properties = copy.properties();
                let is_at_home = topic == home || properties.get(property::REAL_TOPIC) == Some(home.as_str());
                let is_same = properties.get(property::ORIGIN_MESSAGE_ID) == Some(origin);
                is_at_home && is_same && copy.reconsume_times == attempt && copy.commit_log_offset >= begin
            });
            copies.map(|copy| (copy.store_timestamp, copy.queue_id, copy.queue_offset)).collect()
        };
        if dead {
            return !copies(&home).is_empty();
        }
        let again = copies(&home);
        let is_next = |queue_id: i32, offset: QueueOffset| {
            let level = u32::try_from(queue_id + 1).ok().filter(|level| self.delay.levels().contains(level));
            level.is_some_and(|level| self.delay.next(level) <= offset)
        };
        again
            .iter()
            .any(|(_, queue_id, offset)| self.offsets.get(group, &home, *queue_id).is_none_or(|next| next <= offset.0))
            || copies(SCHEDULE_TOPIC).iter().any(|(stored, queue_id, offset)| {
                // Just after a start it is not known yet what was delivered before.
                is_next(*queue_id, *offset) && !again.iter().any(|(later, ..)| later >= stored)
            })
    }
}
