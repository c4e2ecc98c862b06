//! What the store does when its disk is full, failing or slow.
//!
//! | what happens | new messages | comes back |
//! |---|---|---|
//! | too little room (`space`) | refused | by itself, when there is room |
//! | the log cannot be written | refused | by itself: the same bytes are written again every second |
//! | queues or index cannot be written | taken, until too much waits in memory | by itself, tried every second |
//! | the log cannot be brought to disk | refused | by a restart |
//! | `SYNC_FLUSH`: the disk is slower than what comes in | refused as long as too much waits | by itself |
//!
//! **A write that fails** leaves its bytes in memory, at the place they were given, and they are the first to be written
//! again. Nobody is told that they are stored before that: `written` stands still, and everything that acknowledges waits
//! for `written` or `flushed` to pass its message. Meanwhile no message is appended behind them, which bounds memory.
//! The place of a message is never given to another one, so a position that is passed says the same at any time, however
//! late someone asks. The price: a message that was refused while it was on its way may be stored later. Its sender,
//! who was told so, may have sent it again: then it is there twice, as after a time-out.
//!
//! **A flush that fails** is not tried again: the kernel may have dropped the pages and called them clean. What the disk
//! holds behind `flushed` is unknown until it is read after a restart, so nothing more is acknowledged. What the kernel
//! dropped does not pass the check when it is read.
//!
//! **Queues and index** are made from the log, and can be made again. If they cannot be brought to disk, the checkpoint
//! stays where it is until the next start, whose recovery makes them again from there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use crate::space::{Bytes, Space, SpaceState};
use crate::{Inner, Store};

/// How often it is looked whether the disk is full, or no longer full or failing.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why a store takes no messages. It goes on reading.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The disk is full, or almost.
    #[error(
        "the disk of {path} is full: {} are free, and {} must be (diskFreeSpaceMin, diskSpaceWarningLevelRatio): delete what \
         is not needed there, keep messages for a shorter time (fileReservedTime), or give it a larger disk; messages are \
         taken again when there is room",
        Bytes(*free), Bytes(*needed), path = .path.display()
    )]
    DiskFull {
        /// A directory on the disk, or the file that could not grow.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that must be free.
        needed: u64,
    },
    /// The log could not be written.
    #[error(
        "writing {path} failed ({error}; {} of its disk are free): check the disk, quotas and permissions; the store tries \
         again every second, and takes messages when it works",
        Bytes(*free), path = .path.display()
    )]
    Write {
        /// File that could not be written.
        path: PathBuf,
        /// What the operating system said.
        error: Arc<io::Error>,
        /// Bytes that are free on its disk.
        free: u64,
    },
    /// The log could not be brought to disk. What the disk holds of it is unknown until it is read again.
    #[error(
        "flushing {path} to disk failed ({error}), and what the disk holds of it is unknown: check the disk and restart the \
         store, whose recovery finds out; until then it only reads",
        path = .path.display()
    )]
    Flush {
        /// File that could not be flushed.
        path: PathBuf,
        /// What the operating system said.
        error: Arc<io::Error>,
    },
    /// Consume queues or index could not be written. The messages themselves are safe in the log.
    #[error(
        "writing {path} failed ({error}), and too much waits for it in memory; no message is lost: check the disk, quotas \
         and permissions; the store tries again every second, and takes messages when it works",
        path = .path.display()
    )]
    Dispatch {
        /// File or directory that could not be written.
        path: PathBuf,
        /// What the operating system said.
        error: Arc<io::Error>,
    },
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

/// What is wrong now.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// Puts look at this alone while all is well.
    any: AtomicBool,
    flush: OnceLock<Failure>,
    passing: Mutex<Passing>,
}

/// What can go away by itself.
#[derive(Debug, Default)]
struct Passing {
    write: Option<Failure>,
    space: Option<Failure>,
    dispatch: Option<Failure>,
}

impl Passing {
    fn first(&self) -> Option<&Failure> {
        self.write.as_ref().or(self.space.as_ref()).or(self.dispatch.as_ref())
    }
}

impl Failures {
    /// Why no message is taken, if so.
    pub(crate) fn refusal(&self) -> Option<Failure> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        self.flush.get().cloned().or_else(|| self.passing.lock().first().cloned())
    }

    /// Why bytes beyond `flushed` are not known to be on disk.
    pub(crate) fn flush(&self) -> Option<&Failure> {
        self.flush.get()
    }

    /// Why bytes beyond `written` are not written.
    pub(crate) fn write(&self) -> Option<Failure> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        self.passing.lock().write.clone()
    }

    pub(crate) fn set_flush(&self, failure: Failure) -> Failure {
        if self.flush.set(failure.clone()).is_ok() {
            tracing::error!("the store takes no more messages: {failure}");
        }
        self.any.store(true, Ordering::Release);
        failure
    }

    pub(crate) fn set_write(&self, failure: Option<Failure>) {
        self.change(|passing| passing.write = failure);
    }

    fn set_space(&self, failure: Option<Failure>) {
        self.change(|passing| passing.space = failure);
    }

    pub(crate) fn set_dispatch(&self, failure: Option<Failure>) {
        self.change(|passing| passing.dispatch = failure);
    }

    /// Tells when messages begin to be refused, and when that is over.
    fn change(&self, change: impl FnOnce(&mut Passing)) {
        let mut passing = self.passing.lock();
        let was_refusing = passing.first().is_some();
        change(&mut passing);
        match passing.first() {
            Some(failure) if !was_refusing => tracing::error!("the store takes no messages for now: {failure}"),
            None if was_refusing && self.flush.get().is_none() => tracing::info!("the store takes messages again"),
            _ => {}
        }
        self.any.store(passing.first().is_some() || self.flush.get().is_some(), Ordering::Release);
    }
}

impl Store {
    /// Why the store takes no messages now, if so.
    pub fn failure(&self) -> Option<Failure> {
        self.inner.log.failures.refusal()
    }
}

impl Inner {
    /// The thread that looks at the disk.
    pub(crate) fn run_disk(&self) {
        loop {
            self.disk_bell.wait_for(LOOK_EVERY, || false);
            if self.disk_bell.is_stopped() {
                return;
            }
            self.look_at_disk();
        }
    }

    /// Refuses messages when there is too little room, takes them again when there is; tries again what failed.
    pub(crate) fn look_at_disk(&self) {
        self.look_at_space();
        if self.log.failures.write().is_some() {
            // Should it fail again, that is told already.
            let _ = self.write_again();
        }
    }

    /// Room may have become scarce, or come back.
    pub(crate) fn look_at_space(&self) {
        // Where nobody says how much room there is, writes will tell.
        let Ok(space) = self.spaces.worst() else { return };
        let failure = match space {
            Space { state: SpaceState::Full, path, free, needed, .. } => Some(Failure::DiskFull { path, free, needed }),
            _ => None,
        };
        if failure.is_some() || self.log.failures.refusal().is_some() {
            self.log.failures.set_space(failure);
        }
    }

    /// The log could not be written: refuses messages until it can.
    pub(crate) fn write_failed(&self, path: &Path, error: io::Error) -> Failure {
        self.look_at_space();
        let space = Space::on_disk_of(path, &self.spaces.limits());
        let (path, free, needed) = (path.to_owned(), space.free, space.needed);
        let failure = match space.state {
            SpaceState::Full if is_full(&error) => Failure::DiskFull { path, free, needed },
            _ => Failure::Write { path, error: Arc::new(error), free },
        };
        self.log.failures.set_write(Some(failure.clone()));
        failure
    }
}

/// Is there no room, or none that this process may use?
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
