//! Messages that are due later: one queue of `SCHEDULE_TOPIC_XXXX` per delay level.
//!
//! 1. a message with a delay level is put there instead, and remembers its topic and queue   (`Broker::put`)
//! 2. one task per level waits for the first message of its queue, and then until that is due
//! 3. it puts the message where it belongs, and only then takes note of it                     (`delayOffset.json`)
//!
//! All messages of a queue wait equally long, so the first is always the next. After a crash some are delivered again,
//! none is lost: what is noted on disk is older than what has been delivered, by a period longer than the log's flush.
//!
//! What was put since the start is due by the monotonic clock; what is older, by the wall clock and its store time.

use crate::Broker;
use crate::config::Config;
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
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use store::{CommitLogOffset, GetStatus, PutError, PutMessage, Queue};

/// So many messages, and so many bytes of them, are taken at a time.
const BATCH_COUNT: usize = 256;
const BATCH_BYTES: usize = 1024 * 1024;

/// A level that can't go on tries again after so long.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Who goes by the wall clock looks at it this often: it may be set.
const WALL_CLOCK_STEP: Duration = Duration::from_millis(500);

/// For so many messages of a level it is kept in memory when they are due.
const NOTES_MAX: usize = 1_000_000;

/// Delay levels, and how far each has been delivered.
#[doc(alias = "ScheduleMessageService")]
pub struct Delay {
    levels: Vec<Level>,
    /// What was true at the last save; saved in place of the present, so that the disk is never ahead of the log.
    pub(crate) earlier: Earlier,
    progress: Arc<Progress>,
}

struct Level {
    delay: Duration,
    /// When messages are due that were put since the start, by queue offset.
    notes: Mutex<VecDeque<(QueueOffset, Instant)>>,
}

/// How far each level has been delivered, and the file.
struct Progress {
    next: Vec<AtomicI64>,
    /// Levels of the file that are not configured now.
    others: BTreeMap<i32, i64>,
    file: TableFile,
    saved: Mutex<File>,
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
    /// Reads how far each level has been delivered.
    pub fn open(config: &Config) -> Result<Delay, table::OpenError> {
        let file = TableFile::new(config, "delayOffset.json");
        let saved: File = file.open()?.unwrap_or_default();
        let mut others = saved.offset_table.clone();
        let delays = config.delay_levels.delays();
        let next = (1..=delays.len() as i32).map(|level| AtomicI64::new(others.remove(&level).unwrap_or(0))).collect();
        let progress = Arc::new(Progress { next, others, file, saved: Mutex::new(saved) });
        Ok(Delay {
            levels: delays.iter().map(|delay| Level { delay: *delay, notes: Mutex::default() }).collect(),
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
        let mut notes = self.of(level).notes.lock();
        if notes.len() < NOTES_MAX {
            notes.push_back((offset, due));
        }
    }

    /// When the message at this place is due, if it was noted. Forgets what is before it.
    fn noted(&self, level: u32, offset: QueueOffset) -> Option<Instant> {
        let mut notes = self.of(level).notes.lock();
        while notes.front().is_some_and(|(noted, _)| *noted < offset) {
            notes.pop_front();
        }
        // Two threads may have noted in another order than they put.
        notes.iter().take(8).find(|(noted, _)| *noted == offset).map(|(_, due)| *due)
    }

    /// How far the level has been delivered.
    pub fn next(&self, level: u32) -> QueueOffset {
        QueueOffset(self.progress.next[level as usize - 1].load(Ordering::Acquire))
    }

    fn set_next(&self, level: u32, next: QueueOffset) {
        self.progress.next[level as usize - 1].store(next.0, Ordering::Release);
    }

    fn of(&self, level: u32) -> &Level {
        &self.levels[level as usize - 1]
    }
}

impl Progress {
    fn now(&self) -> BTreeMap<i32, i64> {
        let levels = self.next.iter().zip(1..).map(|(next, level)| (level, next.load(Ordering::Acquire)));
        levels.filter(|(_, next)| *next > 0).chain(self.others.clone()).collect()
    }

    fn save(&self, table: BTreeMap<i32, i64>) -> std::io::Result<()> {
        let mut saved = self.saved.lock();
        if saved.offset_table == table {
            return Ok(());
        }
        let mut file = File { offset_table: table, ..saved.clone() };
        file.data_version.advance(crate::now_millis());
        self.file.save(&file)?;
        *saved = file;
        Ok(())
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
        &[(property::DELAY, Some(&level)), (property::REAL_TOPIC, Some(topic)), (property::REAL_QID, Some(&queue_id))],
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
    loop {
        broker.store.arrived(&queue, broker.delay.next(level)).await;
        let step = match put_due(&broker, level, &queue) {
            Ok(step) => finish(&broker, level, step).await,
            Err(error) => Err(error),
        };
        match step {
            // Others of this runtime get their turn.
            Ok(None) => tokio::task::yield_now().await,
            Ok(Some(time)) => tokio::time::sleep(time).await,
            Err(error) => {
                tracing::error!(level, %error, "delayed messages can't be delivered; trying again every {RETRY_AFTER:?}");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

/// Brings home what was put, and only then takes note of it.
async fn finish(broker: &Broker, level: u32, step: Step) -> Result<Option<Duration>, DeliverError> {
    if let Some(end) = step.end {
        broker.store.write_out()?;
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
            if let Some(time) = time_left(broker, level, &record, code) {
                step.wait = Some(time);
                break 'records;
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

/// How long the message has to wait still; `None`: it is due. `code` is when it is due, by the wall clock.
fn time_left(broker: &Broker, level: u32, record: &Record<'_>, code: Option<i64>) -> Option<Duration> {
    if let Some(due) = broker.delay.noted(level, record.queue_offset) {
        return due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
    }
    let now = crate::now_millis();
    let delay = broker.delay.of(level).delay.as_millis() as i64;
    let due = code.unwrap_or(record.store_timestamp + delay);
    // The clock went back, or delays are shorter now than when it was put.
    let due = if due > now + delay { now } else { due };
    let left = u64::try_from(due - now).ok().filter(|left| *left > 0)?;
    Some(Duration::from_millis(left).min(WALL_CLOCK_STEP))
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
    // Properties stay as they are, DELAY too: so Apache's brokers do it.
    let put = PutMessage {
        topic,
        queue_id,
        flag: record.flag,
        sys_flag: record.sys_flag,
        born_timestamp: record.born_timestamp,
        born_host: record.born_host,
        store_host: record.store_host,
        reconsume_times: record.reconsume_times,
        prepared_transaction_offset: record.prepared_transaction_offset,
        body: record.body,
        properties: record.properties,
    };
    match broker.store.put_message(&put) {
        Ok(stored) => Ok(Some(stored)),
        Err(error @ (PutError::NotWriteable { .. } | PutError::Closed)) => Err(error),
        Err(error) => {
            tracing::error!(level, at = %record.commit_log_offset, %error, "a delayed message can't be delivered, and is \
                passed over; it can be viewed at its place in the commit log");
            Ok(None)
        }
    }
}
