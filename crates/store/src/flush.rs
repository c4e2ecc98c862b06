//! Brings the commit log to disk, in one thread.
//!
//! `SYNC_FLUSH`: whenever something was written, one `fdatasync` for all of it; then it is published and whoever waits
//! for it is woken. What is written meanwhile is the next round: no timer, no lingering.
//! `ASYNC_FLUSH`: an `fdatasync` every `flush_interval` in which something was written.
//!
//! A failed `fdatasync` is not tried again: see `failure`. A slow one makes nobody wait but those who asked for it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::message::CommitLogOffset;

use crate::config::FlushDiskType;
use crate::failure::Failure;
use crate::put::PutError;
use crate::{Inner, Store};

/// With `SYNC_FLUSH`: bytes, and messages, that may wait for the disk. Their senders wait, too, each with its request.
const UNFLUSHED_MAX: i64 = 64 << 20;
const UNFLUSHED_MESSAGES_MAX: usize = 100_000;

/// Wakes one thread that waits for work. Ringing costs a load if the thread is awake.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    thread: OnceLock<Thread>,
    /// The thread waits for any ring, or for an urgent one only.
    waiting: AtomicBool,
    waiting_urgent: AtomicBool,
    stopped: AtomicBool,
}

impl Bell {
    /// There is work.
    pub(crate) fn ring(&self) {
        if self.waiting.load(Ordering::SeqCst) && self.waiting.swap(false, Ordering::SeqCst) {
            self.unpark();
        }
    }

    /// There is so much work that it should not wait.
    pub(crate) fn ring_urgently(&self) {
        self.ring();
        if self.waiting_urgent.load(Ordering::SeqCst) && self.waiting_urgent.swap(false, Ordering::SeqCst) {
            self.unpark();
        }
    }

    /// The thread shall end.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.unpark();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn unpark(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Returns when there is work or the end has come.
    pub(crate) fn wait(&self, has_work: impl Fn() -> bool) {
        self.wait_until(None, &self.waiting, has_work);
    }

    /// The same, or after some time.
    pub(crate) fn wait_for(&self, time: Duration, has_work: impl Fn() -> bool) {
        self.wait_until(Some(Instant::now() + time), &self.waiting, has_work);
    }

    /// Waits some time, shorter only if work becomes urgent or the end has come.
    pub(crate) fn wait_for_urgent(&self, time: Duration, is_urgent: impl Fn() -> bool) {
        self.wait_until(Some(Instant::now() + time), &self.waiting_urgent, is_urgent);
    }

    fn wait_until(&self, deadline: Option<Instant>, waiting: &AtomicBool, has_work: impl Fn() -> bool) {
        let _ = self.thread.set(thread::current());
        loop {
            // Who brings work rings after it is there: either it is seen below, or the ring is heard.
            waiting.store(true, Ordering::SeqCst);
            if self.is_stopped() || has_work() {
                break;
            }
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => thread::park(),
                Some(Duration::ZERO) => break,
                Some(rest) => thread::park_timeout(rest),
            }
        }
        waiting.store(false, Ordering::SeqCst);
    }
}

/// Who waits for the disk.
#[derive(Debug, Default)]
pub(crate) struct Flusher {
    /// Wakes the flush thread.
    pub bell: Bell,
    /// By position and a number that tells waiters for one position apart.
    waiters: Mutex<BTreeMap<(i64, u64), Waker>>,
    waiter_next: AtomicU64,
    flushed_timestamp: AtomicI64,
    /// Held by who flushes: what is flushed is published in order.
    flushing: Mutex<()>,
    sync: Mutex<Sync>,
    flushes: Flushes,
}

/// How quick the disk is.
#[derive(Clone, Copy, Debug, Default)]
struct Sync {
    /// Since when it brings something to disk.
    since: Option<Instant>,
    /// How long that took the last time.
    last: Duration,
}

/// Upper bounds of how long the disk takes, in seconds.
pub const FLUSH_BOUNDS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0];

/// How often the log was brought to disk since the store was opened, and how long that took.
#[derive(Debug, Default)]
struct Flushes {
    /// Up to each of [`FLUSH_BOUNDS`] and behind the one before; the last behind all.
    counts: [AtomicU64; FLUSH_BOUNDS.len() + 1],
    micros: AtomicU64,
    bytes: AtomicU64,
}

impl Flushes {
    fn add(&self, took: Duration, bytes: i64) {
        let bound = FLUSH_BOUNDS.iter().position(|bound| took.as_secs_f64() <= *bound);
        self.counts[bound.unwrap_or(FLUSH_BOUNDS.len())].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// What [`Store::flushes`] tells.
#[derive(Clone, Debug, PartialEq)]
pub struct FlushTimes {
    /// How many took up to each of [`FLUSH_BOUNDS`] and longer than the one before; the last took longer than all.
    pub counts: Vec<i64>,
    /// All of them together, seconds.
    pub seconds: f64,
    /// Bytes that they brought to disk.
    pub bytes: u64,
}

impl Flusher {
    /// The log is on disk up to the message stored at `timestamp`.
    pub(crate) fn start(&self, timestamp: i64) {
        self.flushed_timestamp.store(timestamp, Ordering::Relaxed);
    }

    /// Store timestamp up to which the log is on disk.
    pub(crate) fn flushed_timestamp(&self) -> i64 {
        self.flushed_timestamp.load(Ordering::Relaxed)
    }

    /// Wakes all who wait, to look what has become of their bytes.
    pub(crate) fn wake_all(&self) {
        let waiters = std::mem::take(&mut *self.waiters.lock());
        waiters.into_values().for_each(Waker::wake);
    }

    fn wake_up_to(&self, flushed: i64) {
        let woken = {
            let mut waiters = self.waiters.lock();
            let rest = waiters.split_off(&(flushed + 1, 0));
            std::mem::replace(&mut *waiters, rest)
        };
        woken.into_values().for_each(Waker::wake);
    }
}

impl Inner {
    /// The flush thread.
    pub(crate) fn run_flush(&self) {
        let bell = &self.flusher.bell;
        loop {
            bell.wait(|| self.has_unflushed());
            if bell.is_stopped() {
                return;
            }
            if self.config.flush == FlushDiskType::Async {
                bell.wait_for_urgent(self.config.flush_interval, || false);
            }
            if self.flush().is_err() {
                self.flusher.wake_all();
                return;
            }
        }
    }

    fn has_unflushed(&self) -> bool {
        self.log.written() > self.log.flushed()
    }

    /// Refuses a message while too much waits for the disk.
    pub(crate) fn check_backlog(&self) -> Result<(), PutError> {
        if self.config.flush == FlushDiskType::Async {
            return Ok(()); // the kernel makes writers wait when too much of its memory does
        }
        let bytes = self.log.appended() - self.log.flushed();
        let messages = self.dispatcher.unpublished_len();
        if bytes <= UNFLUSHED_MAX && messages <= UNFLUSHED_MESSAGES_MAX {
            return Ok(());
        }
        let Sync { since, last } = *self.flusher.sync.lock();
        let took = since.map_or(last, |since| last.max(since.elapsed()));
        Err(PutError::Busy { path: self.log.segments.dir().to_owned(), waiting: bytes as u64, messages, took })
    }

    /// Brings to disk what is written by now.
    pub(crate) fn flush(&self) -> Result<(), Failure> {
        let one_at_a_time = self.flusher.flushing.lock();
        if let Some(failure) = self.log.failures.flush() {
            return Err(failure.clone());
        }
        // First the time: what was stored by then is written by now.
        let timestamp = self.published_timestamp();
        let (flushed, written) = (self.log.flushed(), self.log.written());
        if flushed < written {
            let began = Instant::now();
            self.flusher.sync.lock().since = Some(began);
            for segment in self.log.segments.all() {
                if segment.end() <= flushed || segment.base >= written {
                    continue;
                }
                if let Err(error) = segment.sync()
                    && self.log.segments.has(&segment)
                {
                    let failure = Failure::Flush { path: segment.path.clone(), error: Arc::new(error) };
                    return Err(self.log.failures.set_flush(failure));
                }
            }
            let took = began.elapsed();
            *self.flusher.sync.lock() = Sync { since: None, last: took };
            self.flusher.flushes.add(took, written - flushed);
            self.log.set_flushed(written);
            let mut woken = Vec::new();
            if self.config.flush == FlushDiskType::Sync {
                self.publish_flushed(written, &mut woken);
            }
            let timestamp =
                if self.config.flush == FlushDiskType::Sync { self.published_timestamp() } else { timestamp };
            self.flusher.flushed_timestamp.store(timestamp, Ordering::Relaxed);
            drop(one_at_a_time);
            woken.into_iter().for_each(Waker::wake);
            self.flusher.wake_up_to(written);
        }
        Ok(())
    }
}

impl Store {
    /// Resolves when the log is on disk up to `end`; in `ASYNC_FLUSH` at once.
    ///
    /// Someone must call [`Store::write_out`] after the put. Fails when the bytes cannot be written now, or not be brought
    /// to disk: then the message must not be acknowledged.
    pub fn flushed(&self, end: CommitLogOffset) -> Flushed {
        let inner =
            (self.inner.config.flush == FlushDiskType::Sync || self.failure().is_some()).then(|| self.inner.clone());
        Flushed { inner, end, waiter: None }
    }

    /// Where the part of the log ends that the operating system has; in `SYNC_FLUSH` not all of it may be read yet.
    pub fn written(&self) -> CommitLogOffset {
        CommitLogOffset(self.inner.log.written())
    }

    /// How the log was brought to disk since the store was opened: each time is one `fdatasync` of a file or two.
    pub fn flushes(&self) -> FlushTimes {
        let flushes = &self.inner.flusher.flushes;
        FlushTimes {
            counts: flushes.counts.iter().map(|count| count.load(Ordering::Relaxed) as i64).collect(),
            seconds: flushes.micros.load(Ordering::Relaxed) as f64 / 1e6,
            bytes: flushes.bytes.load(Ordering::Relaxed),
        }
    }

    /// Where the part of the log ends that is on disk for certain, in `ASYNC_FLUSH` too.
    pub fn on_disk(&self) -> CommitLogOffset {
        CommitLogOffset(self.inner.log.flushed())
    }
}

/// The message is not, and will not be, on disk.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the message is not known to be on disk: {cause}")]
pub struct FlushError {
    /// Why.
    pub cause: Failure,
}

/// See [`Store::flushed`].
#[must_use = "it waits only while it is polled"]
#[derive(Debug)]
pub struct Flushed {
    /// `None`: nothing to wait for.
    inner: Option<Arc<Inner>>,
    end: CommitLogOffset,
    waiter: Option<u64>,
}

impl Future for Flushed {
    type Output = Result<(), FlushError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let Some(inner) = &this.inner else {
            return Poll::Ready(Ok(()));
        };
        if let Some(done) = inner.is_flushed(this.end) {
            return Poll::Ready(done);
        }
        let id = *this.waiter.get_or_insert_with(|| inner.flusher.waiter_next.fetch_add(1, Ordering::Relaxed));
        inner.flusher.waiters.lock().insert((this.end.0, id), context.waker().clone());
        // It may have come about before the waker was there.
        match inner.is_flushed(this.end) {
            Some(done) => Poll::Ready(done),
            None => Poll::Pending,
        }
    }
}

impl Drop for Flushed {
    fn drop(&mut self) {
        if let (Some(inner), Some(id)) = (&self.inner, self.waiter) {
            inner.flusher.waiters.lock().remove(&(self.end.0, id));
        }
    }
}

impl Inner {
    fn is_flushed(&self, end: CommitLogOffset) -> Option<Result<(), FlushError>> {
        let log = &self.log;
        let fail = |cause: Failure| Some(Err(FlushError { cause }));
        if log.flushed() >= end.0 {
            return Some(Ok(()));
        }
        if let Some(cause) = log.failures.flush() {
            return fail(cause.clone());
        }
        match log.failures.write() {
            Some(cause) if log.written() < end.0 => fail(cause),
            _ if self.config.flush == FlushDiskType::Async => Some(Ok(())),
            _ => None,
        }
    }
}
