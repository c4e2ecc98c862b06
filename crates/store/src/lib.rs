//! Messages on disk in Apache RocketMQ's format: commit log, consume queues, index.
//!
//! A [`Store`] is opened, takes messages ([`Store::put_message`]), hands them out ([`Store::get_message`]) and is
//! closed. It knows no network and no peer. Its files can be taken over from Apache's store and given back.
//!
//! ```
//! use store::{PutMessage, QueueOffset, Store, StoreConfig};
//!
//! let dir = tempfile::tempdir()?;
//! let store = Store::open(StoreConfig::new(dir.path()))?;
//! let stored = store.put_message(&PutMessage {
//!     topic: "Orders",
//!     queue_id: 0,
//!     flag: 0,
//!     sys_flag: 0,
//!     born_timestamp: 1_700_000_000_000,
//!     born_host: "127.0.0.1:50000".parse()?,
//!     store_host: "127.0.0.1:10911".parse()?,
//!     reconsume_times: 0,
//!     prepared_transaction_offset: 0,
//!     body: b"one book",
//!     properties: b"TAGS\x01books\x02",
//! })?;
//! store.write_out()?;
//! let got = store.get_message("Orders", 0, stored.queue_offset, 32, 256 << 10, &|_| true);
//! assert_eq!((got.count, got.next), (1, QueueOffset(1)));
//! store.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// In the order in which a newcomer should read them.
mod config;

mod put;

mod get;

mod commit_log;

mod flush;

mod failure;

mod dispatch;

mod consume_queue;

mod index;

mod query;

mod recover;

mod checkpoint;

mod inventory;

mod quarantine;

mod clean;

mod retention;

mod deleted;

mod space;

pub mod clock;

pub mod disk;

mod segment;

mod lock;

mod lost;

pub mod inspect;

mod scrub;

pub mod table;

pub mod lines;

pub mod audit;

pub mod ring;

pub mod timer;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use protocol::record::Record;

use checkpoint::{Checkpoint, CheckpointFile};
use clean::Cleaning;
use clock::WatchedClock;
use commit_log::CommitLog;
use consume_queue::Queues;
use deleted::Deletions;
use dispatch::Dispatcher;
use flush::{Bell, Flusher};
use index::Index;
use inventory::Inventory;
use lock::Lock;
use retention::Limited;
use scrub::Scrub;
use space::Spaces;

pub use clean::{Clean, Cleaned, Held, Needed};
pub use config::{FlushDiskType, StoreConfig};
pub use consume_queue::Queue;
pub use dispatch::Arrived;
pub use failure::Failure;
pub use flush::{FLUSH_BOUNDS, FlushError, FlushTimes, Flushed};
pub use get::{Damage, GetStatus, Got, Matching, Part, ReadError, Verdict};
pub use protocol::message::{CommitLogOffset, QueueOffset};
pub use put::{PutError, PutMessage, Stored, StoredBatch, TOPIC_LENGTH_MAX};
pub use query::{Boundary, QueryResult};
pub use recover::OpenError;
pub use retention::{RESERVE_BYTES, RESERVE_TIME, Retention};
pub use scrub::Scrubbed;
pub use segment::FileSlice;
pub use space::{Space, SpaceLimits, SpaceState};

/// An open store. Close it: one that is only dropped stops like a killed process, with what was not written lost.
#[doc(alias = "DefaultMessageStore")]
#[derive(Debug)]
pub struct Store {
    inner: Arc<Inner>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    closing: Mutex<bool>,
}

/// What the threads of a store share.
#[derive(Debug)]
pub(crate) struct Inner {
    config: StoreConfig,
    log: CommitLog,
    spaces: Spaces,
    queues: Queues,
    dispatcher: Dispatcher,
    index: Option<Mutex<Index>>,
    flusher: Flusher,
    disk_bell: Bell,
    scrub: Scrub,
    checkpoint: Mutex<(CheckpointFile, Checkpoint)>,
    deletions: Deletions,
    /// Topics with limits of their own.
    limited: Mutex<foldhash::HashMap<Box<str>, Limited>>,
    cleaning: Mutex<Cleaning>,
    clock: Mutex<WatchedClock>,
    limits: Limits,
    opened: (Instant, i64),
    closed: AtomicBool,
    lock: Mutex<Option<Lock>>,
}

/// What may change while the store is open. The configuration has what it was opened with.
#[derive(Debug)]
pub(crate) struct Limits {
    max_message_size: AtomicUsize,
    file_reserved_secs: AtomicU64,
}

impl Limits {
    fn of(config: &StoreConfig) -> Limits {
        Limits {
            max_message_size: AtomicUsize::new(config.max_message_size),
            file_reserved_secs: AtomicU64::new(config.file_reserved.as_secs()),
        }
    }

    /// The largest body, bytes.
    pub(crate) fn max_message_size(&self) -> usize {
        self.max_message_size.load(Ordering::Relaxed)
    }

    /// How long files of the log are kept.
    pub(crate) fn file_reserved(&self) -> Duration {
        Duration::from_secs(self.file_reserved_secs.load(Ordering::Relaxed))
    }
}

impl Store {
    /// Opens the store in `config.root`, which is made if it is not there, and brings it in order after a crash.
    #[doc(alias = "load")]
    pub fn open(config: StoreConfig) -> Result<Arc<Store>, OpenError> {
        let recovered = recover::recover(&config)?;
        recovered.queues.all().iter().for_each(|queue| queue.begin_counting());
        let dispatcher = Dispatcher::default();
        dispatcher.start(recovered.log.written(), recovered.last_timestamp, recovered.touched);
        let clock = watch_clock(&config, recovered.last_timestamp);
        let longest_delay = config.delay_levels.iter().max().copied().unwrap_or_default();
        let opened = (Instant::now(), clock.as_it_ran(longest_delay));
        let flusher = Flusher::default();
        flusher.start(recovered.last_timestamp);
        let inner = Arc::new(Inner {
            spaces: Spaces::of(&config),
            limits: Limits::of(&config),
            config,
            log: recovered.log,
            queues: recovered.queues,
            dispatcher,
            index: recovered.index.map(Mutex::new),
            flusher,
            disk_bell: Bell::default(),
            scrub: Scrub::default(),
            checkpoint: Mutex::new(recovered.checkpoint),
            deletions: recovered.deletions,
            limited: Mutex::default(),
            cleaning: Mutex::default(),
            clock: Mutex::new(clock),
            opened,
            closed: AtomicBool::new(false),
            lock: Mutex::new(Some(recovered.lock)),
        });
        let store = Store { inner, threads: Mutex::default(), closing: Mutex::new(false) };
        store.spawn("store-flush", Inner::run_flush)?;
        store.spawn("store-dispatch", Inner::run_dispatch)?;
        store.inner.look_at_space();
        store.spawn("store-disk", Inner::run_disk)?;
        store.spawn("store-scrub", Inner::run_scrub)?;
        Ok(Arc::new(store))
    }

    fn spawn(&self, name: &str, run: fn(&Inner)) -> Result<(), OpenError> {
        let inner = self.inner.clone();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || run(&inner));
        let failed = |error| OpenError::Io { path: self.inner.config.root.clone(), error };
        self.threads.lock().push(thread.map_err(failed)?);
        Ok(())
    }

    /// The configuration it was opened with.
    pub fn config(&self) -> &StoreConfig {
        &self.inner.config
    }

    /// A queue that has a message, or someone asked for. `None` otherwise.
    pub fn queue(&self, topic: &str, queue_id: u32) -> Option<Arc<Queue>> {
        self.inner.queues.get(topic, queue_id)
    }

    /// A queue, in memory only if it has no message yet: to wait for its first.
    pub fn queue_or_create(&self, topic: &str, queue_id: u32) -> Arc<Queue> {
        self.inner.queues.get_or_create(topic, queue_id)
    }

    /// Queue offset of the oldest message of a queue; 0 if there is no such queue.
    #[doc(alias = "getMinOffsetInQueue")]
    pub fn min_offset(&self, topic: &str, queue_id: u32) -> QueueOffset {
        self.queue(topic, queue_id).map_or(QueueOffset(0), |queue| queue.min_offset())
    }

    /// Queue offset behind the newest message of a queue; 0 if there is no such queue.
    #[doc(alias = "getMaxOffsetInQueue")]
    pub fn max_offset(&self, topic: &str, queue_id: u32) -> QueueOffset {
        self.queue(topic, queue_id).map_or(QueueOffset(0), |queue| queue.max_offset())
    }

    /// First byte of the commit log, and first byte behind what may be read of it.
    pub fn commit_log_bounds(&self) -> (CommitLogOffset, CommitLogOffset) {
        (CommitLogOffset(self.inner.log.min()), CommitLogOffset(self.inner.log.published()))
    }

    /// Topics that have or had a message, in order of their names.
    pub fn topics(&self) -> Vec<String> {
        self.inner.queues.topics()
    }

    /// All queues.
    pub fn queues(&self) -> Vec<Arc<Queue>> {
        self.inner.queues.all()
    }

    /// The queues of a topic that have or had a message, or that someone asked for.
    pub fn queues_of(&self, topic: &str) -> Vec<Arc<Queue>> {
        self.inner.queues.of(topic)
    }

    /// Bytes that are written and not yet on disk.
    pub fn unflushed(&self) -> i64 {
        (self.inner.log.written() - self.inner.log.flushed()).max(0)
    }

    /// When the oldest message in the log was stored, in ms since 1970. `None` if there is none, or it cannot be read.
    #[doc(alias = "getEarliestMessageTime")]
    pub fn earliest_store_timestamp(&self) -> Option<i64> {
        let oldest = self.read(CommitLogOffset(self.inner.log.min())).ok()??;
        Some(Record::parse(&oldest).ok()?.store_timestamp)
    }

    /// From now on, bodies in batches may have so many bytes, and files of the log are kept for so long.
    pub fn set_limits(&self, max_message_size: usize, file_reserved: Duration) {
        self.inner.limits.max_message_size.store(max_message_size, Ordering::Relaxed);
        self.inner.limits.file_reserved_secs.store(file_reserved.as_secs(), Ordering::Relaxed);
    }

    /// How many queues a topic has, as far as its messages tell: one more than the highest number of a queue that has or
    /// had one.
    pub fn queue_count(&self, topic: &str) -> u32 {
        let queues = self.inner.queues.of(topic);
        let used = queues.iter().filter(|queue| queue.bounds().1 > 0);
        used.map(|queue| queue.queue_id().saturating_add(1)).max().unwrap_or(0)
    }

    /// When the last readable message was stored, in ms since 1970; 0 if there is none.
    pub fn last_store_timestamp(&self) -> i64 {
        self.inner.published_timestamp()
    }

    /// Looks whether the system's clock was set, and says so in the log. Call it every second or so.
    pub fn look_at_clock(&self) {
        self.inner.clock.lock().look();
    }

    /// The time by which to judge what is kept for `kept_for`: a file last written, or a message stored, longer than
    /// that before is old, whatever the system's clock was set to in between.
    ///
    /// It is the clock's time, less what the clock was set forward within the last `kept_for`. When the machine was
    /// started since the last message, all the time in between counts as such a step: nobody knows better.
    pub fn cautious_now(&self, kept_for: Duration) -> SystemTime {
        self.inner.clock.lock().cautious_now(kept_for)
    }

    /// When the store was opened, and what the wall clock, in ms since 1970, would have said then had nobody set it since
    /// delayed messages were stored that were found.
    pub fn opened(&self) -> (Instant, i64) {
        self.inner.opened
    }

    /// Brings everything to disk, leaves all files complete, and ends. Puts are refused from here on, reads go on.
    ///
    /// May be called more than once. After a failure the store is left as after a crash: the next open brings it in
    /// order.
    #[doc(alias = "shutdown")]
    pub fn close(&self) -> io::Result<()> {
        let mut closing = self.closing.lock();
        if std::mem::replace(&mut *closing, true) {
            return Ok(());
        }
        self.inner.closed.store(true, Ordering::SeqCst);
        // Puts that saw the store open have their place from here on, and are brought home.
        self.inner.log.at_end(|| ());
        let closed = self.inner.bring_home(|| self.stop_threads());
        *self.inner.lock.lock() = None;
        closed
    }

    fn stop_threads(&self) {
        self.inner.flusher.bell.stop();
        self.inner.dispatcher.bell.stop();
        self.inner.disk_bell.stop();
        self.inner.scrub.bell.stop();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store ended in a panic");
            }
        }
    }
}

fn watch_clock(config: &StoreConfig, last_timestamp: i64) -> WatchedClock {
    let ahead = last_timestamp - config.clock.now_millis();
    if ahead > 1000 {
        tracing::warn!(
            "the last message in {} was stored {} s later than it is by the system's clock; messages carry that time, \
             until the clock has passed it",
            config.root.display(),
            ahead as f64 / 1000.0
        );
    }
    WatchedClock::open(&config.clock, &config.disk, config.root.join("config/clock.json"), last_timestamp)
}

impl Drop for Store {
    fn drop(&mut self) {
        self.inner.closed.store(true, Ordering::SeqCst);
        self.stop_threads();
        *self.inner.lock.lock() = None;
    }
}

impl Inner {
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Does all that can still be done; the first thing that could not is the error.
    fn bring_home(&self, stop_threads: impl FnOnce()) -> io::Result<()> {
        let written = self.write_again();
        stop_threads();
        let flushed = self.flush();
        let drained = self.drain();
        let indexed = self.index.as_ref().map_or(Ok(()), |index| index.lock().close());
        let synced = self.try_sync_dispatched();
        written.and(flushed).and(drained)?;
        indexed.and(synced)?;
        inventory::save(&self.config, &self.inventory()?)?;
        self.config.disk.delete(&self.config.abort_file())
    }

    /// What the store leaves at a clean stop.
    fn inventory(&self) -> io::Result<Inventory> {
        let deleted = self.deletions.all().into_iter().collect();
        let (log_min, log_end) = (self.log.min(), self.log.flushed());
        let mut inventory = Inventory { log_min, log_end, deleted, ..Inventory::default() };
        for queue in self.queues.all().iter().filter(|queue| queue.bounds().1 > 0) {
            let queues = inventory.queues.entry(queue.topic().to_owned()).or_default();
            let (min, max) = queue.bounds();
            let first = queue.entry(min)?.map_or(inventory.log_end, |entry| entry.at);
            queues.insert(queue.queue_id(), (min, max, first));
        }
        inventory.index = self.index.as_ref().map_or_else(Vec::new, |index| index.lock().states());
        Ok(inventory)
    }
}
