//! One store directory, one process: the file `lock`.
//!
//! The lock is the classic POSIX record lock that Java's `FileChannel.tryLock(0, 1, false)` takes, so this store and
//! Apache's refuse each other. Such a lock belongs to the process, not to the file handle: it does not stop a second
//! open in the same process, and closing any handle of the file drops it. Hence the list of directories that this
//! process has open, asked before the file is touched.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

/// Directories that this process has open.
static OPEN_HERE: Mutex<Option<HashSet<PathBuf>>> = Mutex::new(None);

/// Held while the store is open.
#[derive(Debug)]
pub(crate) struct Lock {
    root: PathBuf,
    file: Option<File>,
}

/// Why a directory could not be locked.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Someone has it: this process, another (by its id), or one that cannot be named.
    Held {
        by: Option<i32>,
    },
    Io(io::Error),
}

impl Lock {
    /// Locks `root`, which exists.
    pub(crate) fn take(root: &Path) -> Result<Lock, LockError> {
        let root = root.canonicalize().map_err(LockError::Io)?;
        if !OPEN_HERE.lock().get_or_insert_default().insert(root.clone()) {
            return Err(LockError::Held { by: Some(own_pid()) });
        }
        // From here on `lock` takes the directory off the list again, whatever happens.
        let mut lock = Lock { root, file: None };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(lock.root.join("lock"))
            .map_err(LockError::Io)?;
        if let Err(error) = fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            return Err(match error {
                rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS => LockError::Held { by: holder(&file) },
                other => LockError::Io(other.into()),
            });
        }
        file.write_all(b"lock").map_err(LockError::Io)?;
        lock.file = Some(file);
        Ok(lock)
    }
}

/// Who has `root` open, without taking or making anything: the process, by its id if that can be told.
pub(crate) fn holder_of(root: &Path) -> io::Result<Option<Option<i32>>> {
    let root = root.canonicalize()?;
    // Also because closing any handle of the file would drop this process's own lock.
    if OPEN_HERE.lock().get_or_insert_default().contains(&root) {
        return Ok(Some(Some(own_pid())));
    }
    let file = match OpenOptions::new().read(true).open(root.join("lock")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let wanted = Flock { start: 0, length: 1, pid: None, typ: FlockType::WriteLock, offset_type: FlockOffsetType::Set };
    let held = fcntl_getlk(&file, &wanted)?;
    Ok(held.map(|held| held.pid.map(|pid| pid.as_raw_nonzero().get())))
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.file = None;
        if let Some(open) = OPEN_HERE.lock().as_mut() {
            open.remove(&self.root);
        }
    }
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(0)
}

fn holder(file: &File) -> Option<i32> {
    let wanted = Flock { start: 0, length: 1, pid: None, typ: FlockType::WriteLock, offset_type: FlockOffsetType::Set };
    let held = fcntl_getlk(file, &wanted).ok()??;
    held.pid.map(|pid| pid.as_raw_nonzero().get())
}
