//! The one log every message is appended to.
//!
//! 1. a put encodes its record into the staging buffer                (under `appender`, no system call)
//! 2. `write_out` swaps the buffer and writes it with one `pwrite`    (under `writer`)
//! 3. the flush thread brings what is written to disk                 (`flush`)
//! 4. what is written (ASYNC) or on disk (SYNC) becomes readable      (`dispatch`)
//!
//! Four positions follow one another: published ≤ written ≤ appended, flushed ≤ written.
//!
//! Locks of the store, in the order in which they may be taken:
//! `syncing`, `flushing`, `writer`, `appender`, `unpublished`, `touched`, a queue's `drain`, `index`, `index items`, a queue's `state`, `dirty queues`,
//! `flush waiters`, `checkpoint`; then those of segments.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use parking_lot::Mutex;
use protocol::message::CommitLogOffset;
use protocol::record::MAGIC_BLANK;

use crate::config::FlushDiskType;
use crate::dispatch::Pending;
use crate::segment::{Segment, Segments};
use crate::{Inner, Store};

/// A put that makes the staging buffer longer than this writes it out itself.
const STAGED_MAX: usize = 1 << 20;
/// A buffer that grew beyond this is given back.
const BUFFER_KEPT_MAX: usize = 4 << 20;
/// Bytes of the mark that ends a file.
pub(crate) const BLANK_LEN: usize = 8;

/// Why a store takes no more messages. It goes on reading.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The disk is full.
    #[error("the disk of {path} is full; make room and restart the store", path = .path.display())]
    DiskFull {
        /// File that could not grow.
        path: PathBuf,
    },
    /// The log could not be written.
    #[error("writing {path} failed ({error}); check the disk and restart the store", path = .path.display())]
    Write {
        /// File that could not be written.
        path: PathBuf,
        /// What the operating system said.
        error: Arc<io::Error>,
    },
    /// The log could not be brought to disk. What the disk holds of it is unknown until it is read again.
    #[error("flushing {path} to disk failed ({error}); check the disk and restart the store", path = .path.display())]
    Flush {
        /// File that could not be flushed.
        path: PathBuf,
        /// What the operating system said.
        error: Arc<io::Error>,
    },
    /// Consume queues or index could not be written. The messages themselves are safe in the log.
    #[error("writing {path} failed ({error}); no message is lost; check the disk and restart the store", path = .path.display())]
    Dispatch {
        /// File or directory that could not be written.
        path: PathBuf,
        /// What the operating system said.
        error: Arc<io::Error>,
    },
}

impl Failure {
    fn writing(path: PathBuf, error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::StorageFull {
            Failure::DiskFull { path }
        } else {
            Failure::Write { path, error: Arc::new(error) }
        }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> io::Error {
        let kind = match &failure {
            Failure::DiskFull { .. } => io::ErrorKind::StorageFull,
            Failure::Write { error, .. } | Failure::Flush { error, .. } | Failure::Dispatch { error, .. } => {
                error.kind()
            }
        };
        io::Error::new(kind, failure)
    }
}

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

/// The buffers that `appender` does not have right now.
#[derive(Debug, Default)]
struct Writer {
    bytes: Vec<u8>,
    pending: Pending,
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
    /// Where the log ended when it was opened. Records from here on were encoded by this process, and are known good.
    pub opened_at: i64,
    write_failure: OnceLock<Failure>,
    flush_failure: OnceLock<Failure>,
    dispatch_failure: OnceLock<Failure>,
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
            write_failure: OnceLock::new(),
            flush_failure: OnceLock::new(),
            dispatch_failure: OnceLock::new(),
        }
    }

    /// Gives the appender to a put. Refused once the store takes no more messages.
    pub(crate) fn append<T>(&self, put: impl FnOnce(&mut Appender) -> T) -> Result<(T, bool), Failure> {
        let mut appender = self.appender.lock();
        if let Some(failure) = self.failure() {
            return Err(failure.clone());
        }
        let put = put(&mut appender);
        self.appended.store(appender.position(), Ordering::Release);
        Ok((put, appender.staged() > STAGED_MAX))
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

    /// Why the store takes no more messages, if it does not.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.write_failure.get().or(self.flush_failure.get()).or(self.dispatch_failure.get())
    }

    /// Why bytes beyond `written` will never be written.
    pub(crate) fn write_failure(&self) -> Option<&Failure> {
        self.write_failure.get()
    }

    /// Why bytes beyond `flushed` will never be on disk.
    pub(crate) fn flush_failure(&self) -> Option<&Failure> {
        self.flush_failure.get()
    }

    pub(crate) fn fail_flush(&self, path: PathBuf, error: io::Error) -> Failure {
        let failure = Failure::Flush { path, error: Arc::new(error) };
        tracing::error!("the store takes no more messages: {failure}");
        self.flush_failure.get_or_init(|| failure).clone()
    }

    pub(crate) fn fail_dispatch(&self, path: PathBuf, error: io::Error) {
        let failure = Failure::Dispatch { path, error: Arc::new(error) };
        if self.dispatch_failure.get().is_none() {
            tracing::error!("the store takes no more messages: {failure}");
        }
        self.dispatch_failure.get_or_init(|| failure);
    }

    /// Writes one chunk into its file, which is created if the chunk begins it.
    fn write_chunk(&self, chunk: &Chunk) -> Result<(), Failure> {
        if chunk.bytes.is_empty() {
            return Ok(());
        }
        let segment = match self.segments.holding(chunk.at) {
            Some(segment) => segment,
            None => {
                let base = chunk.at - chunk.at % self.file_size as i64;
                let path = self.segments.dir().join(format!("{base:020}"));
                self.segments.add(base).map_err(|error| Failure::writing(path, error))?
            }
        };
        let at = (chunk.at - segment.base) as u64;
        segment.write(&chunk.bytes, at).map_err(|error| Failure::writing(segment.path.clone(), error))
    }
}

impl Store {
    /// Hands everything that was put so far to the operating system.
    ///
    /// When it returns, these messages survive a killed process, and in `ASYNC_FLUSH` can be read. Call it once for all
    /// messages put in one turn of a loop. Calls at the same time share one write.
    pub fn write_out(&self) -> io::Result<()> {
        Ok(self.inner.write_out()?)
    }
}

impl Inner {
    pub(crate) fn write_out(&self) -> Result<(), Failure> {
        let log = &self.log;
        let goal = log.appended.load(Ordering::Acquire);
        if log.written() >= goal {
            return Ok(());
        }
        let mut writer = log.writer.lock();
        if log.written() >= goal {
            return Ok(()); // another call wrote it
        }
        if let Some(failure) = log.write_failure.get() {
            return Err(failure.clone());
        }
        let Writer { bytes, pending } = &mut *writer;
        let (end, finished, chunk) = {
            let mut appender = log.appender.lock();
            let end = appender.position();
            let at = std::mem::replace(&mut appender.chunk.at, end);
            let bytes = std::mem::replace(&mut appender.chunk.bytes, std::mem::take(bytes));
            std::mem::swap(&mut appender.pending, pending);
            appender.finished_len = 0;
            (end, std::mem::take(&mut appender.finished), Chunk { at, bytes })
        };
        for chunk in finished.iter().chain([&chunk]) {
            if let Err(failure) = log.write_chunk(chunk) {
                tracing::error!("the store takes no more messages: {failure}");
                let failure = log.write_failure.get_or_init(|| failure).clone();
                drop(writer);
                self.wake_hopeless();
                return Err(failure);
            }
        }
        *bytes = chunk.bytes;
        bytes.clear();
        bytes.shrink_to(BUFFER_KEPT_MAX);
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
        drop(writer);
        woken.into_iter().for_each(Waker::wake);
        self.flusher.bell.ring();
        self.relieve_dispatch();
        Ok(())
    }

    /// The file that holds the byte at `at`, and where in it.
    pub(crate) fn place(&self, at: CommitLogOffset) -> Option<(Arc<Segment>, u64)> {
        let segment = self.log.segments.holding(at.0)?;
        let position = (at.0 - segment.base) as u64;
        Some((segment, position))
    }
}
