//! One store directory, one process.
//!
//! The file `lock` in the root carries the classic POSIX record lock that Java's `FileChannel.tryLock(0, 1, false)`
//! takes, so this store and Apache's refuse each other. That lock belongs to the process, not to the file handle, and
//! closing any handle of the file drops it. So directories are locked as such first (`flock`): this stops a second open
//! in the same process, before it touches the file; and the commit log's is locked, too, as another root may name it.
//! By which path a directory is reached makes no difference.
//!
//! The kernel takes all locks back when the process ends, however it ends.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, fcntl_lock, flock};
use rustix::io::Errno;
use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

/// So long it may take a child process to run its program, and close what it has inherited.
const CHILD_STARTS: Duration = Duration::from_secs(2);

/// So long the holder of a locked directory is looked for. The kernel lists all locks of the machine in pieces, so that
/// one may be missed while others come and go.
const NAMED_WITHIN: Duration = Duration::from_millis(200);

/// Held while the store is open.
#[derive(Debug)]
pub(crate) struct Lock {
    directories: Vec<File>,
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
        let mut lock = Lock { directories: Vec::new(), file: None };
        lock.take_directory(root)?;
        let path = root.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|error| LockError::Io(helped(error)))?;
        if let Err(error) = fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            return Err(match error {
                Errno::AGAIN | Errno::ACCESS => LockError::Held { by: holder(&file) },
                other => LockError::Io(helped(other.into())),
            });
        }
        match file.write_all(b"lock") {
            // What is in it does not matter: with a full disk a store can still be read.
            Err(error) if error.kind() != io::ErrorKind::StorageFull => return Err(LockError::Io(helped(error))),
            _ => {}
        }
        lock.file = Some(file);
        Ok(lock)
    }

    /// Locks another directory that exists.
    pub(crate) fn take_directory(&mut self, path: &Path) -> Result<(), LockError> {
        let directory = File::open(path).map_err(|error| LockError::Io(helped(error)))?;
        // A file system may be unable to lock a directory, as NFS is. The file `lock` is the guard then.
        let tried = Instant::now();
        let mut by = None;
        while let Err(Errno::WOULDBLOCK) = flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            by = directory_holder(&directory).or(by);
            let patience = match by {
                // A child that this process starts holds what was closed a moment ago, until it runs its program.
                Some(pid) if pid.cast_unsigned() == std::process::id() => CHILD_STARTS,
                Some(_) => Duration::ZERO,
                None => NAMED_WITHIN,
            };
            if tried.elapsed() >= patience {
                return Err(LockError::Held { by });
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.directories.push(directory);
        Ok(())
    }
}

/// Who has `root` open, without taking or making anything: the process, by its id if that can be told.
pub(crate) fn holder_of(root: &Path) -> io::Result<Option<Option<i32>>> {
    // First, also because closing any handle of the file `lock` would drop this process's own lock.
    if let Some(pid) = directory_holder(&File::open(root)?) {
        return Ok(Some(Some(pid)));
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

fn holder(file: &File) -> Option<i32> {
    let wanted = Flock { start: 0, length: 1, pid: None, typ: FlockType::WriteLock, offset_type: FlockOffsetType::Set };
    let held = fcntl_getlk(file, &wanted).ok()??;
    held.pid.map(|pid| pid.as_raw_nonzero().get())
}

/// Who has locked a directory, as far as the kernel tells.
fn directory_holder(directory: &File) -> Option<i32> {
    let metadata = directory.metadata().ok()?;
    // `1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF`, the device in hexadecimal.
    let device = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    let place = format!("{:02x}:{:02x}:{}", device.0, device.1, metadata.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let held = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut holders = held.filter(|words| words.contains(&"FLOCK") && words.contains(&place.as_str()));
    // A process in another container has no id here.
    holders.find_map(|words| words.get(4)?.parse().ok()).filter(|pid| *pid > 0)
}

/// The error, and what helps.
pub(crate) fn helped(error: io::Error) -> io::Error {
    let help = match Errno::from_io_error(&error) {
        Some(Errno::ROFS) => "a store needs a directory that it can write to",
        Some(Errno::ACCESS | Errno::PERM) => "give it to the user of this process",
        Some(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => {
            "this file system can't lock files, so nothing would keep a second process out: put the store on a local \
             disk, or, if it is NFS, run its lock service"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{error}; {help}"))
}
