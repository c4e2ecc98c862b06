//! Messages that are due later: one queue of `SCHEDULE_TOPIC_XXXX` per delay level.
//!
//! 1. a message with a delay level is put there instead, and remembers its topic and queue   (`Broker::put`)
//! 2. one task per level waits for the first message of its queue, and then until that is due
//! 3. it puts the message where it belongs, and only then takes note of it                     (`delayOffset.json`)
//!
//! All messages of a queue wait equally long, so the first is always the next. None is lost in a crash: what is noted on
//! disk is older than what has been delivered, by a period longer than the log's flush. Of those that may have been
//! delivered since, each is looked for at home before it is put there again (`is_home`).
//!
//! What was put since the start is due by the monotonic clock, which nobody sets. What was found at the start has a store
//! time only. How long it still has to wait is worked out once, at the start: by the wall clock as it ran when the message
//! was stored (`Store::opened`), and never longer than the level's delay. If the clock was set while the machine was
//! down, nothing tells, and a delay may end as much too early.

use crate::Broker;
use crate::config::Config;
use crate::records::as_put;
use crate::table::{self, Table, TableFile};
use parking_lot::Mutex;
use protocol::message::{QueueOffset, edit_properties, property};
use protocol::record::Record;
use protocol::topic::{DataVersion, SCHEDULE_TOPIC, TRANSACTION_HALF_TOPIC};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};
use store::{CommitLogOffset, GetStatus, PutError, PutMessage, Queue, Store};

/// So many messages, and so many bytes of them, are taken at a time.
const BATCH_COUNT: usize = 256;
const BATCH_BYTES: usize = 1024 * 1024;

/// A level that can't go on tries again after so long.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Messages of a level that are due within this part of its delay, or within a millisecond, may wait for each other: so
/// the notes of a level take little room, however many messages it has.
const TOGETHER: u32 = 20_000;

/// So many messages with the key of a delayed one are looked at, to find the one that it became.
const COPIES_MAX: usize = 64;

/// Delay levels, and how far each has been delivered.
#[doc(alias = "ScheduleMessageService")]
pub struct Delay {
    levels: Vec<Level>,
    /// When the store was opened, by the monotonic clock, and by the wall clock as it ran when messages were stored before.
    opened: (Instant, i64),
    /// When the last message was stored before.
    pub(crate) last_stored_before: i64,
    /// What was true at the last save; saved in place of the present, so that the disk is never ahead of the log.
    pub(crate) earlier: Earlier,
    progress: Arc<Progress>,
}

struct Level {
    delay: Duration,
    /// The first message that was not found at the start.
    first_new: QueueOffset,
    notes: Mutex<Notes>,
}

/// When messages are due that were put since the start.
#[derive(Debug, Default)]
struct Notes {
    /// By queue offset.
    runs: VecDeque<Run>,
}

/// Messages that follow one another and are due together.
#[derive(Debug)]
struct Run {
    first: i64,
    last: i64,
    /// When the one is due that is due first, and the one that is due last.
    due: (Instant, Instant),
}

/// How far each level has been delivered, and the file.
struct Progress {
    next: Vec<AtomicI64>,
    /// Levels of the file that are not configured now.
    others: BTreeMap<i32, i64>,
    file: TableFile,
    saved: Mutex<File>,
    /// There was no file.
    to_be_saved: AtomicBool,
}

/// The progress of a while ago.
pub(crate) struct Earlier {
    progress: Arc<Progress>,
    table: Mutex<BTreeMap<i32, i64>>,
}

/// `delayOffset.json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    data_version: DataVersion,
    offset_table: BTreeMap<i32, i64>,
    /// Kept for other brokers.
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl Delay {
    /// Reads how far each level has been delivered; `store` has what is still to be.
    pub fn open(config: &Config, store: &Store) -> Result<Delay, table::OpenError> {
        let file = TableFile::new(config, "delayOffset.json");
        let found: Option<File> = file.open()?;
        let parked = delays_with_messages(config, store);
        if found.is_none() && !parked.is_empty() {
            tracing::error!(
                "{} is gone, though there are delayed messages; those of levels {parked:?} are looked at from the first on. What \
                 was delivered is recognised by its unique key, and one without may be delivered again",
                file.path().display()
            );
        }
        // Saved soon even if nothing is delivered, so that it tells something when it is gone.
        let to_be_saved = AtomicBool::new(found.is_none());
        let saved = found.unwrap_or_default();
        let mut others = saved.offset_table.clone();
        let delays = config.delay_levels.delays();
        let next = (1..=delays.len() as i32).map(|level| AtomicI64::new(others.remove(&level).unwrap_or(0))).collect();
        let progress = Arc::new(Progress { next, others, file, saved: Mutex::new(saved), to_be_saved });
        let level = |(delay, id): (&Duration, u32)| Level {
            delay: *delay,
            first_new: store.max_offset(SCHEDULE_TOPIC, id),
            notes: Mutex::default(),
        };
        Ok(Delay {
            levels: delays.iter().zip(0..).map(level).collect(),
            opened: store.opened(),
            last_stored_before: store.last_store_timestamp(),
            earlier: Earlier { table: Mutex::new(progress.now()), progress: progress.clone() },
            progress,
        })
    }

    /// The levels, 1 being the first.
    pub fn levels(&self) -> std::ops::RangeInclusive<u32> {
        1..=self.levels.len() as u32
    }

    /// The level that a message with this one gets, and its delay; `None`: it does not wait.
    pub fn level(&self, level: i32) -> Option<(u32, Duration)> {
        let level = u32::try_from(level).ok().filter(|level| *level > 0)?.min(self.levels.len() as u32);
        Some((level, self.of(level).delay))
    }

    /// The message at this place of the level's queue is due then.
    pub fn note(&self, level: u32, offset: QueueOffset, due: Instant) {
        let level = self.of(level);
        level.notes.lock().add(offset.0, due, level.together());
    }

    /// When the message at this place is due; `by_clock` is what the wall clock should say then. Forgets what is before.
    fn due(&self, level: u32, offset: QueueOffset, by_clock: i64) -> Instant {
        let level = self.of(level);
        if offset < level.first_new {
            let (opened, clock) = self.opened;
            // Stamps are cut to a millisecond.
            let left = u64::try_from(by_clock.saturating_add(1).saturating_sub(clock)).unwrap_or(0);
            return opened + Duration::from_millis(left).min(level.delay);
        }
        let mut notes = level.notes.lock();
        notes.due(offset.0).unwrap_or_else(|| {
            // It was put a moment ago, and is about to be noted.
            let due = Instant::now() + level.delay;
            notes.add(offset.0, due, level.together());
            due
        })
    }

    /// How far the level has been delivered.
    pub fn next(&self, level: u32) -> QueueOffset {
        QueueOffset(self.progress.next[level as usize - 1].load(Ordering::Acquire))
    }

    /// How long messages of a level wait.
    pub fn delay(&self, level: u32) -> Duration {
        self.of(level).delay
    }

    /// How far the level has been delivered and that is noted on disk: after a crash it goes on there.
    pub fn noted_on_disk(&self, level: u32) -> QueueOffset {
        QueueOffset(self.progress.saved.lock().offset_table.get(&(level as i32)).copied().unwrap_or(0))
    }

    fn set_next(&self, level: u32, next: QueueOffset) {
        self.progress.next[level as usize - 1].store(next.0, Ordering::Release);
    }

    fn of(&self, level: u32) -> &Level {
        &self.levels[level as usize - 1]
    }
}

/// Levels whose queues have messages.
fn delays_with_messages(config: &Config, store: &Store) -> Vec<usize> {
    let has_messages = |level: &usize| store.max_offset(SCHEDULE_TOPIC, *level as u32 - 1) > QueueOffset(0);
    (1..=config.delay_levels.max()).filter(has_messages).collect()
}

impl Level {
    fn together(&self) -> Duration {
        (self.delay / TOGETHER).max(Duration::from_millis(1))
    }
}

impl Notes {
    /// Notes when a message is due. Those that follow one another and are due within `together` make one run.
    fn add(&mut self, offset: i64, due: Instant, together: Duration) {
        // Two threads may note in another order than they put.
        let at = self.runs.partition_point(|run| run.first <= offset);
        if at > 0 && self.runs[at - 1].last >= offset {
            return;
        }
        self.runs.insert(at, Run { first: offset, last: offset, due: (due, due) });
        self.join(at, together);
        if at > 0 {
            self.join(at - 1, together);
        }
    }

    /// Makes one run of the run here and the next, if they are.
    fn join(&mut self, at: usize, together: Duration) {
        let (Some(run), Some(next)) = (self.runs.get(at), self.runs.get(at + 1)) else { return };
        let due = (run.due.0.min(next.due.0), run.due.1.max(next.due.1));
        if run.last + 1 == next.first && due.1 - due.0 <= together {
            self.runs[at] = Run { first: run.first, last: next.last, due };
            self.runs.remove(at + 1);
        }
    }

    /// When the message is due, if that is noted. Forgets what is before it.
    fn due(&mut self, offset: i64) -> Option<Instant> {
        while self.runs.front().is_some_and(|run| run.last < offset) {
            self.runs.pop_front();
        }
        self.runs.front().filter(|run| run.first <= offset).map(|run| run.due.1)
    }
}

impl Progress {
    fn now(&self) -> BTreeMap<i32, i64> {
        let levels = self.next.iter().zip(1..).map(|(next, level)| (level, next.load(Ordering::Acquire)));
        levels.filter(|(_, next)| *next > 0).chain(self.others.clone()).collect()
    }

    fn save(&self, table: BTreeMap<i32, i64>) -> std::io::Result<()> {
        let mut saved = self.saved.lock();
        if saved.offset_table == table && !self.to_be_saved.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut file = File { offset_table: table, ..saved.clone() };
        file.data_version.advance(crate::now_millis());
        self.file.save(&file)?;
        *saved = file;
        self.to_be_saved.store(false, Ordering::Relaxed);
        Ok(())
    }
}

impl Delay {
    /// How far each level is as JSON, as `delayOffset.json` has it.
    pub(crate) fn as_json(&self) -> Vec<u8> {
        let file = File { offset_table: self.progress.now(), ..self.progress.saved.lock().clone() };
        protocol::json::write(&file)
    }
}

impl Table for Delay {
    fn save(&self) -> std::io::Result<()> {
        self.progress.save(self.progress.now())
    }
}

impl Table for Earlier {
    fn save(&self) -> std::io::Result<()> {
        let earlier = std::mem::replace(&mut *self.table.lock(), self.progress.now());
        self.progress.save(earlier)
    }
}

/// The properties of a message that waits: it remembers where it belongs.
pub(crate) fn parked_properties(properties: &[u8], topic: &str, queue_id: u32, level: u32) -> Vec<u8> {
    let (queue_id, level) = (queue_id.to_string(), level.to_string());
    edit_properties(
        properties,
        &[
            (property::DELAY, Some(&level)),
            (property::REAL_TOPIC, Some(topic)),
            (property::REAL_QID, Some(&queue_id)),
            // A level counts for more than a time.
            (property::TIMER_DELAY_SEC, None),
            (property::TIMER_DELAY_MS, None),
            (property::TIMER_DELIVER_MS, None),
        ],
    )
}

/// What came of one look at a level.
struct Step {
    /// The first message that was not put where it belongs.
    next: QueueOffset,
    /// The end of what was put.
    end: Option<CommitLogOffset>,
    /// How long the next message has to wait still; `None`: there may be more at once.
    wait: Option<Duration>,
}

type DeliverError = Box<dyn std::error::Error + Send + Sync>;

/// Delivers the messages of one level, for ever.
pub(crate) async fn deliver(broker: Arc<Broker>, level: u32) {
    let queue = broker.store.queue_or_create(SCHEDULE_TOPIC, level - 1);
    let (min, max) = (queue.min_offset(), queue.max_offset());
    broker.delay.set_next(level, broker.delay.next(level).clamp(min, max));
    let mut told = false;
    loop {
        broker.store.arrived(&queue, broker.delay.next(level)).await;
        let step = match put_due(&broker, level, &queue) {
            Ok(step) => finish(&broker, level, step).await,
            Err(error) => Err(error),
        };
        let failed_before = std::mem::replace(&mut told, step.is_err());
        match step {
            // Others of this runtime get their turn.
            Ok(None) => tokio::task::yield_now().await,
            Ok(Some(time)) => tokio::time::sleep(time).await,
            Err(error) => {
                if !failed_before {
                    tracing::error!(level, %error, "delayed messages can't be delivered; trying again every {RETRY_AFTER:?}");
                }
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

/// Brings home what was put, and only then takes note of it.
async fn finish(broker: &Broker, level: u32, step: Step) -> Result<Option<Duration>, DeliverError> {
    if let Some(end) = step.end {
        // What is staged stays so until it can be written: to put it again would deliver it twice.
        while broker.store.write_out().is_err() {
            tokio::time::sleep(RETRY_AFTER).await; // the store has told
        }
        broker.store.flushed(end).await?;
    }
    broker.delay.set_next(level, step.next);
    Ok(step.wait)
}

/// Puts what is due where it belongs, at most a batch.
fn put_due(broker: &Broker, level: u32, queue: &Queue) -> Result<Step, DeliverError> {
    let from = broker.delay.next(level).max(queue.min_offset());
    // A queue's tags codes say when messages are due, by the wall clock.
    let codes = RefCell::new(Vec::new());
    let keep_code = |code: i64| {
        codes.borrow_mut().push(code);
        true
    };
    let got = broker.store.get_message(SCHEDULE_TOPIC, level - 1, from, BATCH_COUNT, BATCH_BYTES, &keep_code);
    match got.status {
        GetStatus::Found => {}
        GetStatus::Damaged(damage) => {
            tracing::error!(%damage, "a delayed message is damaged, and passed over");
            return Ok(Step { next: QueueOffset(from.0 + 1), end: None, wait: None });
        }
        _ => {
            // Nothing there: the beginning was deleted, or the end is not where we thought.
            let next = got.next.clamp(queue.min_offset(), queue.max_offset());
            return Ok(Step { next, end: None, wait: None });
        }
    }
    let codes = codes.into_inner();
    let mut step = Step { next: from, end: None, wait: None };
    'records: for part in &got.parts {
        let bytes = part.to_bytes()?;
        for record in Record::all(&bytes) {
            let record = record?;
            let code = usize::try_from(record.queue_offset.0 - from.0).ok().and_then(|n| codes.get(n)).copied();
            let delay = broker.delay.of(level).delay.as_millis() as i64;
            let due_by_clock = code.unwrap_or(record.store_timestamp.saturating_add(delay));
            let due = broker.delay.due(level, record.queue_offset, due_by_clock);
            if let Some(time) = due.checked_duration_since(Instant::now()).filter(|time| !time.is_zero()) {
                step.wait = Some(time);
                break 'records;
            }
            if is_home(broker, level, &record, due_by_clock) {
                step.next = QueueOffset(record.queue_offset.0 + 1);
                continue;
            }
            match put_home(broker, level, &record) {
                Ok(stored) => step.end = stored.map(|stored| stored.end).or(step.end),
                // What was put before it is noted first, so that it is not put again.
                Err(_) if step.next > from => break 'records,
                Err(error) => return Err(error.into()),
            }
            step.next = QueueOffset(record.queue_offset.0 + 1);
        }
    }
    Ok(step)
}

/// Did the run before put it where it belongs, and die before it could note that?
///
/// What it may have put was due before it died; and nobody else makes a copy that remembers where it belongs.
fn is_home(broker: &Broker, level: u32, record: &Record<'_>, due_by_clock: i64) -> bool {
    let last = broker.delay.last_stored_before;
    if record.queue_offset >= broker.delay.of(level).first_new || due_by_clock > last {
        return false;
    }
    let properties = record.properties();
    let (Some(topic), Some(key)) = (properties.get(property::REAL_TOPIC), properties.get(property::UNIQ_KEY)) else {
        return false;
    };
    let copies = broker.store.query(topic, key, COPIES_MAX, record.store_timestamp, last).records;
    copies.iter().filter_map(|bytes| Record::parse(bytes).ok()).any(|copy| {
        copy.properties == record.properties
            && copy.body == record.body
            && copy.born_timestamp == record.born_timestamp
            && copy.reconsume_times == record.reconsume_times
    })
}

/// Puts a message where it belongs. `None`: it belongs nowhere.
fn put_home(broker: &Broker, level: u32, record: &Record<'_>) -> Result<Option<store::Stored>, PutError> {
    let properties = record.properties();
    let topic = properties.get(property::REAL_TOPIC).filter(|topic| *topic != TRANSACTION_HALF_TOPIC);
    let queue_id = properties.get(property::REAL_QID).and_then(|id| id.parse::<u32>().ok());
    let (Some(topic), Some(queue_id)) = (topic, queue_id) else {
        tracing::error!(level, at = %record.commit_log_offset, "a delayed message does not say where it belongs, and is passed over");
        return Ok(None);
    };
    if record.commit_log_offset < broker.store.begin_of(topic) {
        tracing::debug!(level, topic, at = %record.commit_log_offset, "passed over: its topic was deleted meanwhile");
        return Ok(None);
    }
    // Properties stay as they are, DELAY too: so Apache's brokers do it.
    let put = PutMessage { topic, queue_id, ..as_put(record) };
    match broker.store.put_message(&put) {
        Ok(stored) => Ok(Some(stored)),
        Err(error @ (PutError::NotWriteable { .. } | PutError::Busy { .. } | PutError::Closed)) => Err(error),
        Err(error) => {
            tracing::error!(level, at = %record.commit_log_offset, %error, "a delayed message can't be delivered, and is \
                passed over; it can be viewed at its place in the commit log");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOGETHER: Duration = Duration::from_millis(10);

    fn ms(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn messages_due_at_nearly_the_same_time_share_a_note_and_none_is_early() {
        let start = Instant::now();
        let mut notes = Notes::default();
        for offset in 0..100_000 {
            notes.add(offset, ms(start, offset as u64 / 100), TOGETHER);
        }
        assert!(notes.runs.len() <= 101, "{}", notes.runs.len());
        for offset in 0..100_000 {
            let late = notes.due(offset).unwrap().checked_duration_since(ms(start, offset as u64 / 100)).unwrap();
            assert!(late <= TOGETHER);
        }
        assert_eq!(notes.due(100_000), None);
        assert!(notes.runs.is_empty(), "what is delivered is forgotten");
    }

    #[test]
    fn notes_come_in_any_order_and_a_message_without_one_borrows_none() {
        let start = Instant::now();
        let mut notes = Notes::default();
        notes.add(5, ms(start, 0), TOGETHER);
        notes.add(7, ms(start, 4), TOGETHER);
        assert_eq!(notes.due(5), Some(ms(start, 0)));
        assert_eq!(notes.due(6), None, "put, and not noted yet");
        notes.add(6, ms(start, 5), TOGETHER);
        assert_eq!(notes.runs.len(), 1, "the gap is closed");
        assert_eq!((notes.due(6), notes.due(7)), (Some(ms(start, 5)), Some(ms(start, 5))));
        notes.add(8, ms(start, 11), TOGETHER);
        notes.add(8, ms(start, 99), TOGETHER);
        assert_eq!(notes.due(8), Some(ms(start, 11)), "noted once");
    }
}
