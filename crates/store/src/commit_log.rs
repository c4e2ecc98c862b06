//! The one log every message is appended to.
//!
//! 1. a put encodes its record into the staging buffer                (under `appender`, no system call)
//! 2. `write_out` swaps the buffer and writes it with one `pwrite`    (under `writer`)
//! 3. the flush thread brings what is written to disk                 (`flush`)
//! 4. what is written (ASYNC) or on disk (SYNC) becomes readable      (`dispatch`)
//!
//! Four positions follow one another: published ≤ written ≤ appended, flushed ≤ written. None of them ever goes back: what
//! happens when the disk does not take part stands in `failure`.
//!
//! A put is a copy in memory. `write_out` makes system calls on the thread that calls it, and waits there while the kernel
//! throttles writers because too much waits for the disk; bringing to disk is left to the flush thread.
//!
//! Locks of the store, in the order in which they may be taken:
//! `cleaning`, `limited`, `syncing`, `flushing`, `writer`, `touched`, `appender`, `unpublished`, a queue's `drain`, `index`, `index items`, a queue's
//! `state`, `dirty queues`, `flush waiters`, `checkpoint`; then those of segments, `spaces`, `failures`.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};
use protocol::message::CommitLogOffset;
use protocol::record::MAGIC_BLANK;

use crate::config::FlushDiskType;
use crate::dispatch::Pending;
use crate::failure::{Failure, Failures};
use crate::segment::{Segment, Segments};
use crate::{Inner, Store};

/// A put that makes the staging buffer longer than this writes it out itself.
const STAGED_MAX: usize = 1 << 20;
/// A buffer that grew beyond this is given back.
const BUFFER_KEPT_MAX: usize = 4 << 20;
/// Bytes of the mark that ends a file.
pub(crate) const BLANK_LEN: usize = 8;

/// Bytes that belong into one file.
#[derive(Debug, Default)]
struct Chunk {
    at: i64,
    bytes: Vec<u8>,
}

/// What puts share. Everything here is behind one lock that no system call is made under.
#[derive(Debug)]
pub(crate) struct Appender {
    /// The staging buffer: bytes of the file being appended to that are not yet handed to the operating system.
    chunk: Chunk,
    /// Rests of files that were finished since the last write.
    finished: Vec<Chunk>,
    finished_len: usize,
    /// What is to be told to queues and index once the staged bytes are readable.
    pub pending: Pending,
    /// Store timestamps never go back.
    last_timestamp: i64,
    file_size: i64,
}

impl Appender {
    /// Where the next byte goes.
    pub(crate) fn position(&self) -> i64 {
        self.chunk.at + self.chunk.bytes.len() as i64
    }

    /// The buffer to encode the next record into.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.chunk.bytes
    }

    /// `now`, or the last timestamp if the clock went back.
    pub(crate) fn timestamp(&mut self, now: i64) -> i64 {
        self.last_timestamp = self.last_timestamp.max(now);
        self.last_timestamp
    }

    /// Finishes the file if `len` bytes and the mark that ends a file do not fit into it.
    pub(crate) fn make_room(&mut self, len: usize) {
        let rest = self.file_size - self.position() % self.file_size;
        if (len + BLANK_LEN) as i64 <= rest {
            return;
        }
        let next = self.position() + rest;
        self.chunk.bytes.extend_from_slice(&(rest as i32).to_be_bytes());
        self.chunk.bytes.extend_from_slice(&MAGIC_BLANK.to_be_bytes());
        self.finished_len += self.chunk.bytes.len();
        let full = std::mem::replace(&mut self.chunk, Chunk { at: next, bytes: Vec::new() });
        self.finished.push(full);
    }

    /// Bytes that wait to be written.
    fn staged(&self) -> usize {
        self.finished_len + self.chunk.bytes.len()
    }
}

/// What was taken from `appender` and is not yet written; empty between two writes, unless one failed.
#[derive(Debug, Default)]
struct Writer {
    finished: Vec<Chunk>,
    chunk: Chunk,
    pending: Pending,
    end: i64,
}

/// The log: its files, its positions, and what is on the way to them.
#[doc(alias = "MappedFileQueue")]
#[derive(Debug)]
pub(crate) struct CommitLog {
    pub segments: Segments,
    pub file_size: u64,
    appender: Mutex<Appender>,
    writer: Mutex<Writer>,
    appended: AtomicI64,
    written: AtomicI64,
    flushed: AtomicI64,
    published: AtomicI64,
    /// Where the log ended when it was opened.
    pub opened_at: i64,
    pub failures: Failures,
}

impl CommitLog {
    /// The log in `segments` that ends at `end`, all of it on disk and readable.
    pub(crate) fn new(segments: Segments, file_size: u64, end: i64, last_timestamp: i64) -> CommitLog {
        let appender = Appender {
            chunk: Chunk { at: end, bytes: Vec::new() },
            finished: Vec::new(),
            finished_len: 0,
            pending: Pending::default(),
            last_timestamp,
            file_size: file_size as i64,
        };
        CommitLog {
            segments,
            file_size,
            appender: Mutex::new(appender),
            writer: Mutex::default(),
            appended: AtomicI64::new(end),
            written: AtomicI64::new(end),
            flushed: AtomicI64::new(end),
            published: AtomicI64::new(end),
            opened_at: end,
            failures: Failures::default(),
        }
    }

    /// Gives the appender to a put. Refused while the store takes no messages.
    pub(crate) fn append<T>(&self, put: impl FnOnce(&mut Appender) -> T) -> Result<(T, bool), Failure> {
        let mut appender = self.appender.lock();
        if let Some(failure) = self.failures.refusal() {
            return Err(failure);
        }
        let put = put(&mut appender);
        self.appended.store(appender.position(), Ordering::Release);
        Ok((put, appender.staged() > STAGED_MAX))
    }

    /// Does something between two puts, and says where the next record goes.
    pub(crate) fn at_end<T>(&self, act: impl FnOnce() -> T) -> (i64, T) {
        let appender = self.appender.lock();
        (appender.position(), act())
    }

    pub(crate) fn appended(&self) -> i64 {
        self.appended.load(Ordering::Acquire)
    }

    pub(crate) fn written(&self) -> i64 {
        self.written.load(Ordering::SeqCst)
    }

    pub(crate) fn flushed(&self) -> i64 {
        self.flushed.load(Ordering::SeqCst)
    }

    /// Where what may be read ends.
    pub(crate) fn published(&self) -> i64 {
        self.published.load(Ordering::Acquire)
    }

    pub(crate) fn set_flushed(&self, end: i64) {
        self.flushed.store(end, Ordering::SeqCst);
    }

    pub(crate) fn set_published(&self, end: i64) {
        self.published.store(end, Ordering::Release);
    }

    /// Where the first file begins.
    pub(crate) fn min(&self) -> i64 {
        self.segments.first().map_or(self.opened_at, |first| first.base)
    }

    /// Writes one chunk into its file, which is created if the chunk begins it.
    fn write_chunk(&self, chunk: &Chunk) -> Result<(), (PathBuf, io::Error)> {
        if chunk.bytes.is_empty() {
            return Ok(());
        }
        let segment = match self.segments.holding(chunk.at) {
            Some(segment) => segment,
            None => {
                let base = chunk.at - chunk.at % self.file_size as i64;
                let path = self.segments.dir().join(format!("{base:020}"));
                self.segments.add(base).map_err(|error| (path, error))?
            }
        };
        let at = (chunk.at - segment.base) as u64;
        segment.write(&chunk.bytes, at).map_err(|error| (segment.path.clone(), error))
    }
}

impl Store {
    /// Hands everything that was put so far to the operating system.
    ///
    /// When it returns, these messages survive a killed process, and in `ASYNC_FLUSH` can be read. Call it once for all
    /// messages put in one turn of a loop. Calls at the same time share one write.
    ///
    /// When it fails, none of them must be acknowledged. They stay staged and may be stored later, see
    /// [`Store::failure`]; until then calls fail.
    pub fn write_out(&self) -> io::Result<()> {
        Ok(self.inner.write_out()?)
    }
}

impl Inner {
    pub(crate) fn write_out(&self) -> Result<(), Failure> {
        let log = &self.log;
        if let Some(failure) = log.failures.flush() {
            return Err(failure.clone());
        }
        let goal = log.appended();
        if log.written() >= goal {
            return Ok(());
        }
        let mut writer = log.writer.lock();
        if log.written() >= goal {
            return Ok(()); // another call wrote it
        }
        if let Some(failure) = log.failures.write() {
            return Err(failure); // `write_again` goes first
        }
        let Writer { finished, chunk, pending, end } = &mut *writer;
        {
            let mut appender = log.appender.lock();
            *end = appender.position();
            chunk.at = std::mem::replace(&mut appender.chunk.at, *end);
            std::mem::swap(&mut appender.chunk.bytes, &mut chunk.bytes);
            std::mem::swap(&mut appender.finished, finished);
            std::mem::swap(&mut appender.pending, pending);
            appender.finished_len = 0;
        }
        self.write_taken(writer)
    }

    /// After a failed write: tries it again, and what was put meanwhile.
    pub(crate) fn write_again(&self) -> Result<(), Failure> {
        let writer = self.log.writer.lock();
        if self.log.failures.flush().is_none() && self.log.failures.write().is_some() {
            self.write_taken(writer)?;
        } else {
            drop(writer);
        }
        self.write_out()
    }

    /// Writes what the writer has. If that fails the writer keeps all of it: to write bytes twice does no harm.
    fn write_taken(&self, mut writer: MutexGuard<'_, Writer>) -> Result<(), Failure> {
        let log = &self.log;
        let Writer { finished, chunk, pending, end } = &mut *writer;
        let end = *end;
        let tried = finished.iter().chain([&*chunk]).try_for_each(|chunk| log.write_chunk(chunk));
        if let Err((path, error)) = tried {
            let failure = self.write_failed(&path, error);
            drop(writer);
            self.flusher.wake_all();
            return Err(failure);
        }
        finished.clear();
        chunk.bytes.clear();
        chunk.bytes.shrink_to(BUFFER_KEPT_MAX);
        let len = end - log.written();
        let mut woken = Vec::new();
        match self.config.flush {
            FlushDiskType::Async => {
                log.written.store(end, Ordering::SeqCst);
                self.publish(pending, end, &mut woken);
            }
            FlushDiskType::Sync => {
                // First the list, then the position: the flush thread publishes what is listed up to where it flushed.
                self.dispatcher.publish_later(std::mem::take(pending), end);
                log.written.store(end, Ordering::SeqCst);
            }
        }
        if log.failures.write().is_some() {
            log.failures.set_write(None);
        }
        drop(writer);
        woken.into_iter().for_each(Waker::wake);
        self.flusher.bell.ring();
        self.relieve_dispatch();
        if self.spaces.is_used_up(len) {
            self.look_at_space();
        }
        Ok(())
    }

    /// The file that holds the byte at `at`, and where in it.
    pub(crate) fn place(&self, at: CommitLogOffset) -> Option<(Arc<Segment>, u64)> {
        let segment = self.log.segments.holding(at.0)?;
        let position = (at.0 - segment.base) as u64;
        Some((segment, position))
    }
}
