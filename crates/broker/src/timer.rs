//! Messages that are due at a time of their own, however far off: topic `rmq_sys_wheel_timer` and the timer wheel.
//!
//! 1. a message with a time is put there instead, and remembers where it belongs         (`Broker::put`)
//! 2. one task lays what comes there into the slots of the wheel                         (`lay_in`)
//! 3. when a tick is over, it puts what is in its slot where it belongs, oldest first    (`fire`)
//! 4. and once all of that is on disk, it notes how far it is                            (`store::timer`)
//!
//! A slot holds what is due in one tick and is delivered when the tick is over: nothing is early. What is due later than the
//! roll window lies in a slot on the way, and is put again from there (`rolls`), so that its record is never older than
//! that. Times are those of the wall clock, as Apache's files have them.
//!
//! What was done since the last note is done again after a crash. Each message that may have been delivered, or put again,
//! is looked for by its key first (`is_done`).

mod operate;

use crate::Broker;
use crate::config::Config;
use crate::records::as_put;
use parking_lot::Mutex;
use protocol::code::response;
use protocol::message::{Properties, edit_properties, java_hash, property};
use protocol::record::Record;
use protocol::topic::{RETRY_PREFIX, TIMER_TOPIC, TRANSACTION_HALF_TOPIC};
use remoting::Reject;
use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use store::timer::{Resume, TimerConfig, Timers, Unit};
use store::{CommitLogOffset, GetStatus, PutError, PutMessage, Queue, QueueOffset, Store, Stored};
use tokio::task::JoinHandle;

pub use operate::NotPending;

/// So many messages, and so many bytes of them, are taken at a time.
const BATCH_COUNT: usize = 256;
const BATCH_BYTES: usize = 1024 * 1024;

/// What can't be done now is tried again after so long.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// So often it is looked whether the log has reached the disk, while that is waited for; and whether the clock was set.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const CLOCK_PERIOD: Duration = Duration::from_secs(1);

/// So many ticks are looked ahead for the next message.
const TICKS_AHEAD: i64 = 256;

/// What comes within this time is laid in together.
const TOGETHER: Duration = Duration::from_millis(5);

/// What the properties of a message have more when it is delivered or put again, at most.
const COPY_BYTES: usize = 160;

/// So many messages with a key are looked at, to find what a timed message became.
const COPIES_MAX: usize = 64;

/// How long a message waits before it is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all.
    No,
    /// As long as its delay level says.
    Level(i32),
    /// Until the tick is over that begins then, in ms since 1970.
    Tick(i64),
}

/// What the properties of a message say of its time. The first that is there counts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked<'a> {
    /// `TIMER_DELAY_SEC`
    pub delay_seconds: Option<&'a [u8]>,
    /// `TIMER_DELAY_MS`
    pub delay_millis: Option<&'a [u8]>,
    /// `TIMER_DELIVER_MS`
    pub deliver_at: Option<&'a [u8]>,
    /// It recalls another message (`TIMER_DEL_UNIQKEY`).
    pub recalls: bool,
    /// It was a timed message before (`TIMER_OUT_MS`).
    pub was_timed: bool,
}

impl<'a> Asked<'a> {
    /// Takes note of a property, if it is about this.
    pub(crate) fn see(&mut self, name: &[u8], value: &'a [u8]) {
        match name {
            b"TIMER_DELAY_SEC" => self.delay_seconds = Some(value),
            b"TIMER_DELAY_MS" => self.delay_millis = Some(value),
            b"TIMER_DELIVER_MS" => self.deliver_at = Some(value),
            b"TIMER_DEL_UNIQKEY" => self.recalls = true,
            b"TIMER_OUT_MS" => self.was_timed = true,
            _ => {}
        }
    }

    /// Is it to be delivered at a time of its own?
    pub(crate) fn is_timed(&self) -> bool {
        !self.was_timed && (self.delay_seconds.is_some() || self.delay_millis.is_some() || self.deliver_at.is_some())
    }

    /// When, in ms since 1970. The error is the property that is no number.
    fn time(&self, now: i64) -> Result<i64, (&'static str, String)> {
        let number = |name, text: &[u8]| {
            let text = String::from_utf8_lossy(text);
            text.parse::<i64>().map_err(|_| (name, crate::processor::short(&text).to_owned()))
        };
        if let Some(seconds) = self.delay_seconds {
            return Ok(now.saturating_add(number(property::TIMER_DELAY_SEC, seconds)?.saturating_mul(1000)));
        }
        if let Some(millis) = self.delay_millis {
            return Ok(now.saturating_add(number(property::TIMER_DELAY_MS, millis)?));
        }
        number(property::TIMER_DELIVER_MS, self.deliver_at.unwrap_or_default())
    }
}

/// The timer wheel, and what it is to keep to.
pub(crate) struct Timer {
    /// `None`: the wheel stands still (`timerWheelEnable=false`).
    files: Option<Mutex<Timers>>,
    precision: i64,
    delay_max: AtomicI64,
    /// What is due later than so many ms is put again on the way.
    roll_window: i64,
    /// When so many messages wait for one tick, more are refused by and by.
    congestion: i32,
    turn: AtomicU32,
    found: Mutex<Found>,
    /// Held by who brings the wheel to disk: one at a time.
    saving: Mutex<()>,
    /// Held by who cancels or fires: one at a time. Where the log ends behind the last decision.
    deciding: Mutex<CommitLogOffset>,
}

/// How far the wheel is.
pub(crate) struct TimerProgress {
    /// The first message of the timer topic that is not laid in yet.
    pub queue_offset: i64,
    /// Messages of ticks that are over.
    pub overdue: usize,
    /// For how long the first of these ticks is over, milliseconds.
    pub overdue_for: i64,
}

/// What may have been delivered, or put again, without a note of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    /// Messages before this place of the log,
    end: CommitLogOffset,
    /// if they were due until then, in ms since 1970.
    until: i64,
}

impl Found {
    fn now(store: &Store) -> Found {
        Found { end: store.commit_log_bounds().1, until: store.last_store_timestamp() }
    }
}

impl Timer {
    /// Opens the wheel; `store` has the messages.
    pub(crate) fn open(config: &Config, store: &Store) -> io::Result<Timer> {
        let precision = config.timer_precision.as_millis() as i64;
        let half_of_kept = config.file_reserved_time.as_millis() as i64 / 2;
        let window = (i64::from(config.timer_roll_window) * precision).min(half_of_kept.max(2 * precision));
        let files = config.timer_wheel.then(|| {
            let files = TimerConfig {
                root: config.store_root.clone(),
                precision,
                file_size: config.timer_log_file_size as u64,
                disk: config.disk.clone(),
            };
            let (mut files, resume) = Timers::open(files, config.clock.now_millis())?;
            go_on(&mut files, resume, store);
            io::Result::Ok(Mutex::new(files))
        });
        Ok(Timer {
            files: files.transpose()?,
            precision,
            delay_max: AtomicI64::new(config.timer_max_delay.as_millis() as i64),
            roll_window: window / precision * precision,
            congestion: config.timer_congestion,
            turn: AtomicU32::default(),
            found: Mutex::new(Found::now(store)),
            saving: Mutex::default(),
            deciding: Mutex::default(),
        })
    }

    /// The begin of the tick that this time is in; of a time between two ticks, of the one that ends then.
    fn tick_before(&self, time: i64) -> i64 {
        (time - 1).div_euclid(self.precision) * self.precision
    }

    /// From now on, messages may wait so long; those that were admitted wait as they were to.
    pub(crate) fn set_delay_max(&self, max: Duration) {
        self.delay_max.store(max.as_millis() as i64, Ordering::Relaxed);
    }

    /// When a message is delivered that asks for this, of a topic that it may be sent to.
    #[doc(alias = "transformTimerMessage")]
    pub(crate) fn admit(&self, asked: &Asked<'_>, now: i64) -> Result<Wait, Reject> {
        if self.files.is_none() {
            return Err(Reject::system_error("accurate timer message is not enabled, timerWheelEnable is false"));
        }
        let max = self.delay_max.load(Ordering::Relaxed);
        let illegal = |why: String| {
            Reject::new(
                response::MESSAGE_ILLEGAL,
                format!(
                    "timer message illegal, the delay time should not be bigger than the max delay {max}ms; or if set del \
                     msg, the delay time should be bigger than the current time: {why}"
                ),
            )
        };
        let time =
            asked.time(now).map_err(|(name, value)| illegal(format!("property {name} is `{value}`, no number")))?;
        match time.saturating_sub(now) {
            left if left > max => {
                Err(illegal(format!("it would wait {left} ms (timerMaxDelaySec says how long it may)")))
            }
            1.. => {
                let slot_time = self.tick_before(time);
                if !asked.recalls {
                    self.check_congestion(slot_time)?;
                }
                Ok(Wait::Tick(slot_time))
            }
            _ if asked.recalls => Err(illegal("what it recalls has been delivered".into())),
            _ => Ok(Wait::No),
        }
    }

    /// Refuses one of the messages for a tick, the more often the more wait for it already.
    #[doc(alias = "TimerMessageStore.isReject")]
    fn check_congestion(&self, slot_time: i64) -> Result<(), Reject> {
        let limit = self.congestion;
        if limit == i32::MAX {
            return Ok(());
        }
        let Some(files) = self.files.as_ref().map(|files| files.lock()) else { return Ok(()) };
        let tick = files.tick_of(slot_time);
        let count = files.count(tick).map_err(|error| Reject::system_error(error.to_string()))?;
        // From 0 to 999, each as often, and neighbours far from one another.
        let turn = i64::from(self.turn.fetch_add(617, Ordering::Relaxed) % 1000);
        if turn >= i64::from(count - limit) * 1000 / i64::from(limit) {
            return Ok(());
        }
        Err(Reject::system_error(format!(
            "timer message is under flow control, max num limit is {limit} (timerCongestNumEachSlot), and {count} wait for the same \
             tick: send it for another time, or try again"
        )))
    }

    /// How long the message of a transaction waits that is committed now: what it asks for was admitted.
    pub(crate) fn wait_of(&self, properties: Properties<'_>, now: i64) -> Wait {
        let level = properties.get(property::DELAY).and_then(|level| level.trim().parse().ok()).unwrap_or(0);
        if level > 0 {
            return Wait::Level(level);
        }
        let mut asked = Asked::default();
        properties.raw().for_each(|(name, value)| asked.see(name, value));
        match asked.time(now) {
            Ok(time) if time > now && asked.is_timed() && self.files.is_some() => Wait::Tick(self.tick_before(time)),
            _ => Wait::No,
        }
    }

    /// How far it is at `now`; `None` if it stands still. A tick that is just over is not overdue yet.
    pub(crate) fn progress(&self, now: i64) -> Option<TimerProgress> {
        /// So many slots are looked into.
        const SLOTS_MAX: usize = 100;
        let files = self.files.as_ref()?.lock();
        let last = files.tick_of(now) - 2;
        let (mut overdue, mut overdue_for, mut from) = (0, 0, files.tick());
        for _ in 0..SLOTS_MAX {
            let Ok(Some(tick)) = files.next_from(from, last) else { break };
            overdue += files.slot(tick).map_or(0, |positions| positions.len());
            if overdue_for == 0 {
                overdue_for = (now - files.begin_of(tick + 1)).max(0);
            }
            from = tick + 1;
        }
        Some(TimerProgress { queue_offset: files.queue_offset(), overdue, overdue_for })
    }

    /// What is still needed of the log: the oldest message that lies in the wheel, and the queue offset of the first that
    /// does not yet, as after a crash now.
    pub(crate) fn needed(&self) -> io::Result<(Option<CommitLogOffset>, Option<QueueOffset>)> {
        let Some(files) = &self.files else { return Ok((None, None)) };
        let mut files = files.lock();
        Ok((files.oldest()?, Some(QueueOffset(files.saved_queue_offset()))))
    }

    /// Deletes files of the timer log that are about messages before `log_min` only.
    pub(crate) fn delete_before(&self, log_min: CommitLogOffset) -> io::Result<()> {
        let Some(files) = &self.files else { return Ok(()) };
        files.lock().delete_before(log_min).map(drop)
    }

    /// Brings to disk what was noted. Blocks.
    fn save(&self, now: i64) {
        let Some(files) = &self.files else { return };
        let _one_at_a_time = self.saving.lock();
        let saving = files.lock().save(now);
        if let Some(mut saving) = saving {
            let outcome = saving.run();
            files.lock().saved(saving, outcome);
        }
    }

    /// Brings everything to disk. All that was put must be there. Blocks.
    pub(crate) fn close(&self, now: i64) {
        if let Some(files) = &self.files {
            let mut files = files.lock();
            if files.has_changed() {
                files.note();
            }
        }
        self.save(now);
    }
}

/// Sets where to go on with the queue.
fn go_on(files: &mut Timers, resume: Resume, store: &Store) {
    let offset = match resume {
        Resume::At(offset) => offset,
        Resume::Behind(at) => {
            let bytes = store.read(at).ok().flatten();
            let record = bytes.as_ref().and_then(|bytes| Record::parse(bytes).ok());
            record.filter(|record| record.topic == TIMER_TOPIC).map_or(0, |record| record.queue_offset.0 + 1)
        }
    };
    files.set_queue_offset(offset.clamp(store.min_offset(TIMER_TOPIC, 0).0, store.max_offset(TIMER_TOPIC, 0).0));
}

/// The properties of a message that waits: it remembers where it belongs, and when.
fn parked_properties(put: &PutMessage<'_>, slot_time: i64) -> Vec<u8> {
    let (slot_time, queue_id) = (slot_time.to_string(), put.queue_id.to_string());
    edit_properties(
        put.properties,
        &[
            (property::TIMER_OUT_MS, Some(&slot_time)),
            (property::REAL_TOPIC, Some(put.topic)),
            (property::REAL_QID, Some(&queue_id)),
        ],
    )
}

/// A record of the timer topic that can be worked at.
struct Timed<'a> {
    record: Record<'a>,
    /// The begin of its tick, in ms since 1970.
    slot_time: i64,
    topic: &'a str,
    queue_id: u32,
    key: &'a str,
    /// What it recalls.
    recalls: Option<&'a str>,
    rolled: i64,
}

impl<'a> Timed<'a> {
    fn read(record: Record<'a>) -> Option<Timed<'a>> {
        let properties = record.properties();
        let mut timed = Timed { slot_time: 0, topic: "", queue_id: 0, key: "", recalls: None, rolled: 0, record };
        for (name, value) in properties.iter() {
            match name {
                property::TIMER_OUT_MS => timed.slot_time = value.parse().ok()?,
                property::REAL_TOPIC => timed.topic = value,
                property::REAL_QID => timed.queue_id = value.parse().ok()?,
                property::UNIQ_KEY => timed.key = value,
                property::TIMER_DEL_UNIQKEY => timed.recalls = Some(value).filter(|value| !value.is_empty()),
                property::TIMER_ROLL_TIMES => timed.rolled = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        let belongs = !timed.topic.is_empty() && timed.topic != TRANSACTION_HALF_TOPIC && timed.slot_time > 0;
        belongs.then_some(timed)
    }

    /// Topic and key: two topics may have messages with the same key.
    #[doc(alias = "buildDeleteKey")]
    fn name(&self) -> String {
        format!("{}+{}", self.topic, self.key)
    }

    /// The same for the message that this one recalls. Brokers before 5.5, and some of 5.5, write it joined.
    fn recalled_name(&self) -> Option<String> {
        let key = self.recalls?;
        let is_joined = key.strip_prefix(self.topic).is_some_and(|rest| rest.starts_with('+'));
        Some(if is_joined { key.to_owned() } else { format!("{}+{key}", self.topic) })
    }

    /// Are both the same message?
    fn is_like(&self, other: &Timed<'_>) -> bool {
        let of = |timed: &Timed<'_>| (timed.slot_time, timed.queue_id, timed.record.born_timestamp, timed.record.flag);
        of(self) == of(other) && self.name() == other.name() && self.record.body == other.record.body
    }
}

impl Broker {
    /// Puts a message where it waits for its time.
    pub(crate) fn put_timed(&self, put: &PutMessage<'_>, slot_time: i64) -> Result<Stored, PutError> {
        let properties = parked_properties(put, slot_time);
        if properties.len() + COPY_BYTES > protocol::record::PROPERTIES_LENGTH_MAX {
            let len = properties.len() + COPY_BYTES;
            return Err(PutError::PropertiesTooLarge { topic: put.topic.to_owned(), len });
        }
        self.store.put_message(&PutMessage { topic: TIMER_TOPIC, queue_id: 0, properties: &properties, ..*put })
    }

    /// What the sender of a message needs to recall it, if it waits for a time.
    #[doc(alias = "attachRecallHandle")]
    pub(crate) fn recall_handle(&self, topic: &str, wait: Wait, unique_key: &str) -> Option<String> {
        let Wait::Tick(slot_time) = wait else { return None };
        let handle = protocol::request::timer::RecallHandle {
            topic: topic.to_owned(),
            broker_name: self.config.name.clone(),
            timestamp: slot_time + 1,
            unique_key: unique_key.to_owned(),
        };
        (!topic.starts_with(RETRY_PREFIX)).then(|| handle.encode())
    }
}

/// Lays in and delivers, for ever.
#[doc(alias = "TimerEnqueueGetService")]
#[doc(alias = "TimerDequeueGetService")]
pub(crate) async fn run(broker: Arc<Broker>) {
    let Some(files) = &broker.timer.files else { return };
    let queue = broker.store.queue_or_create(TIMER_TOPIC, 0);
    let mut task = Task::new(&broker, files, queue);
    let mut told = false;
    loop {
        let turned = task.turn().await;
        let failed_before = std::mem::replace(&mut told, turned.is_err());
        let Err(error) = &turned else {
            task.rest().await;
            continue;
        };
        if !failed_before {
            tracing::error!(%error, "timed messages can't be delivered; trying again every {RETRY_AFTER:?}");
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

type TimerError = Box<dyn std::error::Error + Send + Sync>;

struct Task<'a> {
    broker: &'a Arc<Broker>,
    files: &'a Mutex<Timers>,
    queue: Arc<Queue>,
    /// What was noted counts once the log is on disk up to here.
    noted: Option<CommitLogOffset>,
    noted_at: Instant,
    /// It is being brought to disk.
    saving: Option<JoinHandle<()>>,
    /// The next message has no room in the wheel yet.
    is_stalled: bool,
    /// The slot that is being delivered, and how many of its messages are done with.
    firing: (i64, usize),
}

impl<'a> Task<'a> {
    fn new(broker: &'a Arc<Broker>, files: &'a Mutex<Timers>, queue: Arc<Queue>) -> Task<'a> {
        let noted_at = Instant::now();
        Task { broker, files, queue, noted: None, noted_at, saving: None, is_stalled: false, firing: (0, 0) }
    }

    fn now(&self) -> i64 {
        self.broker.config.clock.now_millis()
    }

    /// Lays in what has come, delivers what is due, notes how far it is.
    async fn turn(&mut self) -> Result<(), TimerError> {
        loop {
            let now = self.now();
            let tick = {
                let mut files = self.files.lock();
                let tick = files.tick_of(now);
                if tick < files.tick() && files.can_turn_back() {
                    if files.is_too_far_back(tick)? {
                        self.broker.begin_anew(&mut files, "the clock was set back by more than it holds")?;
                        self.firing = (0, 0);
                    }
                    files.turn_back(tick)?;
                }
                if tick < files.tick() { None } else { Some(tick) }
            };
            // The clock was set back, and first what was delivered goes to disk.
            let Some(tick) = tick else { break };
            // What recalls something has come before the tick is over: so it is in the slot before that is delivered.
            self.lay_in().await?;
            let due = self.files.lock().next(tick)?;
            match due {
                Some(due) => self.fire(due).await?,
                None => {
                    self.files.lock().pass(tick);
                    break;
                }
            }
        }
        self.note().await
    }

    /// Notes how far it is, and brings that to disk once it is true there.
    async fn note(&mut self) -> Result<(), TimerError> {
        if self.saving.as_ref().is_some_and(|saving| !saving.is_finished()) {
            return Ok(()); // what was noted must not change before it is there
        }
        match self.noted {
            None if self.noted_at.elapsed() >= self.broker.config.timer_flush_interval => {
                if self.files.lock().has_changed() {
                    self.write_out().await;
                    self.files.lock().note();
                    self.noted = Some(self.broker.store.written());
                }
                self.noted_at = Instant::now();
            }
            Some(end) if self.broker.store.on_disk() >= end => {
                self.noted = None;
                let broker = self.broker.clone();
                // Nobody waits for the disk, least of all what is due.
                let save = move || broker.timer.save(broker.config.clock.now_millis());
                self.saving = Some(tokio::task::spawn_blocking(save));
            }
            _ => {}
        }
        Ok(())
    }

    /// Waits until there is something to do.
    async fn rest(&self) {
        let (next, wait) = {
            let files = self.files.lock();
            let next = QueueOffset(files.queue_offset());
            let tick = files.next(files.tick() + TICKS_AHEAD).unwrap_or(None);
            let over = files.begin_of(tick.unwrap_or(files.tick() + TICKS_AHEAD) + 1);
            let left = Duration::from_millis(u64::try_from(over - self.now()).unwrap_or(0));
            let wait = match files.is_empty() && !files.has_changed() {
                true => None,
                false if self.noted.is_some() => Some(left.min(LOOK_EVERY)),
                // What changed is noted; and the clock may be set forward.
                false => Some(left.min(CLOCK_PERIOD)),
            };
            // Without room for the next one: a slot must be delivered first, or brought to disk.
            (next, if self.is_stalled { Some(LOOK_EVERY) } else { wait })
        };
        let arrived = async {
            if self.is_stalled {
                std::future::pending().await
            } else {
                self.broker.store.arrived(&self.queue, next).await;
                tokio::time::sleep(TOGETHER).await;
            }
        };
        match wait {
            Some(wait) => _ = tokio::time::timeout(wait, arrived).await,
            None => arrived.await,
        }
    }

    /// What is staged stays so until it can be written: to put it again would deliver it twice.
    async fn write_out(&self) {
        while self.broker.store.write_out().is_err() {
            tokio::time::sleep(RETRY_AFTER).await; // the store has told
        }
    }

    /// Lays everything that has come into its slots; what is due already is delivered.
    async fn lay_in(&mut self) -> Result<(), TimerError> {
        let end = self.queue.max_offset().0;
        self.is_stalled = false;
        loop {
            let from = self.files.lock().queue_offset().max(self.queue.min_offset().0);
            if from >= end {
                return Ok(());
            }
            if !self.lay_in_batch(from)? {
                self.is_stalled = true;
                return Ok(());
            }
            self.write_out().await;
            // Others of this runtime get their turn.
            tokio::task::yield_now().await;
        }
    }

    /// False: there is no room for the next one.
    fn lay_in_batch(&self, from: i64) -> Result<bool, TimerError> {
        let broker = self.broker;
        let got = broker.store.get_message(TIMER_TOPIC, 0, QueueOffset(from), BATCH_COUNT, BATCH_BYTES, &|_| true);
        let mut next = got.next.0;
        let mut units = Vec::new();
        match &got.status {
            GetStatus::Found => {}
            GetStatus::Damaged(damage) => {
                tracing::error!(%damage, "a timed message is damaged, and passed over");
                next = from + 1;
            }
            // Nothing there: the beginning was deleted.
            _ => next = next.clamp(self.queue.min_offset().0, self.queue.max_offset().0).max(from),
        }
        let found = *broker.timer.found.lock();
        for part in &got.parts {
            let bytes = part.to_bytes()?;
            for record in Record::all(&bytes) {
                let record = record?;
                let (at, offset) = (record.commit_log_offset, record.queue_offset.0);
                let Some(timed) = Timed::read(record) else {
                    tracing::error!(%at, "a timed message does not say when it is due and where it belongs, and is passed over");
                    continue;
                };
                if at < found.end && broker.is_done(&timed, found) {
                    continue;
                }
                let files = self.files.lock();
                let is_over = files.tick_of(timed.slot_time) < files.tick();
                let unit = broker.timer.unit(&timed, files.begin_of(files.tick_of(self.now())));
                let has_room = is_over || files.has_room(unit.slot_time);
                drop(files);
                if !has_room {
                    self.add(&mut units, offset)?;
                    return Ok(false);
                }
                if timed.rolled == 0 {
                    broker.metrics.laid_in(timed.topic, timed.slot_time - timed.record.born_timestamp);
                }
                if !is_over {
                    units.push(unit);
                    continue;
                }
                // What comes before it counts as done first: it must not be put twice because something else fails.
                self.add(&mut units, offset)?;
                // What recalls it may lie behind it.
                if timed.recalls.is_none() && !broker.is_recalled(&timed) {
                    broker.put_home(&timed, i64::MAX)?;
                }
                self.add(&mut units, offset + 1)?;
            }
        }
        self.add(&mut units, next)?;
        Ok(true)
    }

    /// Lays these in: all before `next` is done with then.
    fn add(&self, units: &mut Vec<Unit>, next: i64) -> io::Result<()> {
        let mut files = self.files.lock();
        files.add(units)?;
        files.set_queue_offset(next);
        units.clear();
        Ok(())
    }

    /// Delivers what is in the slot of a tick that is over.
    async fn fire(&mut self, tick: i64) -> Result<(), TimerError> {
        match self.fire_slot(tick).await {
            Err(error)
                if error
                    .downcast_ref::<io::Error>()
                    .is_some_and(|error| error.kind() == io::ErrorKind::InvalidData) =>
            {
                tracing::error!(%error, "the timer log is damaged");
                self.firing = (0, 0);
                self.broker.begin_anew(&mut self.files.lock(), "its log is damaged")?;
                Ok(())
            }
            outcome => outcome,
        }
    }

    async fn fire_slot(&mut self, tick: i64) -> Result<(), TimerError> {
        let (positions, over) = {
            let files = self.files.lock();
            (files.slot(tick)?, files.begin_of(tick + 1))
        };
        if self.firing.0 != tick {
            self.firing = (tick, 0);
        }
        let mut recalled = HashSet::new();
        for chunk in positions.chunks(BATCH_COUNT) {
            for unit in self.files.lock().units(tick, chunk)?.iter().filter(|unit| unit.recalls && !unit.rolls) {
                if let Some(bytes) = self.broker.timed_at(unit)? {
                    recalled.extend(Record::parse(&bytes).ok().and_then(Timed::read).and_then(|it| it.recalled_name()));
                }
            }
        }
        let found = *self.broker.timer.found.lock();
        for chunk in positions.get(self.firing.1..).unwrap_or_default().chunks(BATCH_COUNT) {
            let units = self.files.lock().units(tick, chunk)?;
            let mut staged = 0;
            for unit in &units {
                let bytes = self.broker.timed_at(unit)?;
                // After an error it goes on here.
                self.firing.1 += 1;
                let Some(bytes) = bytes else { continue };
                let Some(timed) = Record::parse(&bytes).ok().and_then(Timed::read) else { continue };
                let may_be_done = unit.at < found.end && over <= found.until;
                if may_be_done && self.broker.is_done(&timed, found) {
                    continue;
                }
                while let Err(error) = self.broker.put_on(unit, &timed, &recalled) {
                    tracing::debug!(%error, "a timed message waits until it can be stored");
                    self.write_out().await;
                    tokio::time::sleep(RETRY_AFTER).await;
                }
                staged += bytes.len();
                if staged >= BATCH_BYTES {
                    self.write_out().await;
                    staged = 0;
                }
            }
            self.write_out().await;
            tokio::task::yield_now().await;
        }
        self.files.lock().delivered(tick);
        self.firing = (0, 0);
        Ok(())
    }
}

impl Timer {
    /// Where a message is to lie that is laid in now, in the tick that begins then.
    fn unit(&self, timed: &Timed<'_>, now: i64) -> Unit {
        let (left, window) = (timed.slot_time - now, self.roll_window);
        let rolls = left >= window;
        let slot_time = match rolls {
            false => timed.slot_time,
            // What is left behind the next roll should not be a moment.
            true if left - window < window / 3 => now + window / 2 / self.precision * self.precision,
            true => now + window,
        };
        Unit {
            at: timed.record.commit_log_offset,
            size: timed.record.bytes.len() as i32,
            // One that comes late was due before.
            enqueued: now.min(slot_time),
            slot_time,
            rolls,
            recalls: timed.recalls.is_some(),
            topic_hash: java_hash(timed.topic),
        }
    }
}

impl Broker {
    /// Lays the whole queue in anew.
    fn begin_anew(&self, files: &mut Timers, why: &str) -> io::Result<()> {
        let resume = files.restart(why)?;
        // All that was delivered in this run is looked for, too.
        *self.timer.found.lock() = Found::now(&self.store);
        go_on(files, resume, &self.store);
        Ok(())
    }

    /// The record of a message in the wheel. `None`: it is gone or damaged, and the log says so.
    fn timed_at(&self, unit: &Unit) -> Result<Option<bytes::Bytes>, TimerError> {
        match self.store.read(unit.at) {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            Ok(None) => {
                tracing::error!(at = %unit.at, "the log does not hold a timed message any more, and it is passed over");
                Ok(None)
            }
            Err(error @ store::ReadError::Io { .. }) => Err(error.into()),
            Err(error) => {
                tracing::error!(%error, "a timed message is damaged, and passed over");
                Ok(None)
            }
        }
    }

    /// Puts what was in a slot where it belongs, or back in the queue if it is due later. An error may pass.
    fn put_on(&self, unit: &Unit, timed: &Timed<'_>, recalled: &HashSet<String>) -> Result<(), PutError> {
        if self.is_of_deleted(timed) {
            Ok(())
        } else if unit.rolls {
            let times = (timed.rolled + 1).to_string();
            self.put_copy(timed, (TIMER_TOPIC, 0), unit.enqueued, Some(&times))
        } else if timed.recalls.is_some() {
            Ok(())
        } else if !recalled.is_empty() && recalled.contains(&timed.name()) {
            tracing::debug!(topic = timed.topic, key = timed.key, "not delivered: it was recalled");
            Ok(())
        } else {
            self.put_home(timed, unit.enqueued)
        }
    }

    /// Was its topic deleted since? A copy of it would count as of the topic's next life.
    fn is_of_deleted(&self, timed: &Timed<'_>) -> bool {
        let (topic, at) = (timed.topic, timed.record.commit_log_offset);
        let is_deleted = at < self.store.begin_of(topic);
        if is_deleted {
            tracing::debug!(topic, %at, "passed over: its topic was deleted meanwhile");
        }
        is_deleted
    }

    /// Puts a message where it belongs. An error may pass.
    fn put_home(&self, timed: &Timed<'_>, enqueued: i64) -> Result<(), PutError> {
        if self.is_of_deleted(timed) {
            return Ok(());
        }
        self.put_copy(timed, (timed.topic, timed.queue_id), enqueued, None)?;
        self.metrics.fired(timed.topic);
        Ok(())
    }

    fn put_copy(
        &self,
        timed: &Timed<'_>,
        (topic, queue_id): (&str, u32),
        enqueued: i64,
        rolled: Option<&str>,
    ) -> Result<(), PutError> {
        let record = &timed.record;
        let (enqueued, dequeued) = (enqueued.to_string(), self.config.clock.now_millis().to_string());
        let changes = [
            (property::TIMER_ENQUEUE_MS, Some(enqueued.as_str())),
            (property::TIMER_DEQUEUE_MS, Some(dequeued.as_str())),
            (property::TIMER_ROLL_TIMES, rolled),
        ];
        // All others stay as they are: so Apache's brokers do it.
        let properties = edit_properties(record.properties, &changes[..if rolled.is_some() { 3 } else { 2 }]);
        let put = PutMessage { topic, queue_id, properties: &properties, ..as_put(record) };
        match self.store.put_message(&put) {
            Ok(_) => Ok(()),
            Err(error @ (PutError::NotWriteable { .. } | PutError::Busy { .. } | PutError::Closed)) => Err(error),
            Err(error) => {
                tracing::error!(at = %record.commit_log_offset, %error, "a timed message can't be delivered, and is passed \
                    over; it can be viewed at its place in the commit log");
                Ok(())
            }
        }
    }

    /// Was it put again, or delivered, before the broker died and could note that?
    fn is_done(&self, timed: &Timed<'_>, found: Found) -> bool {
        let is_there = |topic: &str, is_it: &dyn Fn(&Timed<'_>) -> bool| {
            let copies = self.store.query(topic, timed.key, COPIES_MAX, 0, i64::MAX).records;
            let copies = copies.iter().filter_map(|bytes| Record::parse(bytes).ok()).filter_map(Timed::read);
            copies.into_iter().any(|copy| {
                copy.record.commit_log_offset > timed.record.commit_log_offset && timed.is_like(&copy) && is_it(&copy)
            })
        };
        is_there(TIMER_TOPIC, &|copy| copy.rolled > timed.rolled && copy.recalls == timed.recalls)
            || timed.slot_time + self.timer.precision <= found.until
                && timed.recalls.is_none()
                && is_there(timed.topic, &|copy| copy.record.properties().get(property::TIMER_DEQUEUE_MS).is_some())
    }
}

#[cfg(test)]
mod tests;
