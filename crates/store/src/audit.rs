//! `audit.log`: every change that somebody asked for, a line in JSON each ([`crate::lines`]).
//!
//! A thread of its own writes the lines, in the order in which they come, so that no one else waits for the disk. Nothing is left out:
//! where so many wait that there is no place for one more, who brings it waits.
//!
//! Crash argument: who changes something is answered when its line is written ([`AuditLog::append`] says when that is), and a
//! line that is written outlives the process. So one who is killed loses only lines of which nobody has an answer. A power failure may lose the
//! lines of the last moments, since they were last brought to disk ([`AuditLog::sync`]).

use crate::clock::Clock;
use crate::disk::Disk;
use crate::lines::{Lines, newest_first};
use protocol::audit::{AuditEntry, AuditFilter, without_secrets};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// The size of a file, bytes, and how many are kept.
const BYTES_MAX: u64 = 16 << 20;
const FILES_MAX: usize = 16;

/// So many lines wait to be written at most.
const WAITING_MAX: usize = 1024;

/// Entries that are read together have so many bytes at most, as lines of the file.
const READ_BYTES_MAX: usize = 8 << 20;

/// The log of one server.
#[derive(Debug)]
pub struct AuditLog {
    /// `None`: nothing is kept.
    writer: Option<Writer>,
    clock: Clock,
    failed: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Writer {
    disk: Disk,
    path: PathBuf,
    /// `None` when it is to end.
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Write(Box<AuditEntry>, Box<dyn FnOnce() + Send>),
    Sync(SyncSender<Sync>),
}

/// What brings lines to disk, if there are new ones.
type Sync = io::Result<Option<Box<dyn FnOnce() -> io::Result<()> + Send>>>;

impl AuditLog {
    /// The log in this file, which is made when there is something to say, for its owner to read. Without one, nothing is kept.
    /// Fails when there can be no more threads.
    pub fn new(disk: Disk, path: Option<&Path>, clock: Clock) -> io::Result<AuditLog> {
        let failed = Arc::new(AtomicU64::new(0));
        let writer = path.map(|path| {
            let lines = Lines::new(disk.clone(), path, BYTES_MAX, FILES_MAX).private();
            let (orders, ordered) = sync_channel(WAITING_MAX);
            let (path, failed) = (path.to_owned(), failed.clone());
            let writes = {
                let path = path.clone();
                move || write(lines, &path, &ordered, &failed)
            };
            let thread = thread::Builder::new().name("audit".into()).spawn(writes)?;
            Ok::<_, io::Error>(Writer { disk, path, orders: Some(orders), thread: Some(thread) })
        });
        Ok(AuditLog { writer: writer.transpose()?, clock, failed })
    }

    /// Has an entry written, with the time that it is, and then calls `written`, from another thread: the system has the line then. Where too many wait,
    /// waits for one to be written.
    ///
    /// What can't be written is told in the other log: the change was made, and is not taken back.
    pub fn append(&self, mut entry: AuditEntry, written: impl FnOnce() + Send + 'static) {
        let Some(orders) = self.writer.as_ref().and_then(|writer| writer.orders.as_ref()) else { return written() };
        entry.at = self.clock.now_millis();
        // The writer ends after all who append.
        let _ = orders.send(Order::Write(Box::new(entry), Box::new(written)));
    }

    /// Brings to disk what was appended. Blocks, and keeps nobody from writing.
    pub fn sync(&self) -> io::Result<()> {
        let Some(orders) = self.writer.as_ref().and_then(|writer| writer.orders.as_ref()) else { return Ok(()) };
        let (sync, how) = sync_channel(1);
        let gone = |_| io::Error::other("the thread that writes audit.log is gone");
        orders.send(Order::Sync(sync)).map_err(|error| gone(error.to_string()))?;
        let sync = how.recv().map_err(|error| gone(error.to_string()))??;
        sync.map_or(Ok(()), |sync| sync())
    }

    /// The last `max` entries that are wanted, oldest first; fewer where they are very long. Blocks, and holds no more than it answers with.
    pub fn read(&self, filter: &AuditFilter, max: usize) -> io::Result<Vec<AuditEntry>> {
        let Some(Writer { disk, path, .. }) = &self.writer else { return Ok(Vec::new()) };
        let (mut found, mut bytes) = (VecDeque::new(), 0);
        for line in newest_first(disk, path, FILES_MAX)? {
            if found.len() >= max {
                break;
            }
            let line = line?;
            // One that was torn by a crash is none.
            let Some(entry) = serde_json::from_slice(&line).ok().filter(|entry| filter.matches(entry)) else {
                continue;
            };
            bytes += line.len();
            if bytes > READ_BYTES_MAX {
                break;
            }
            found.push_front(entry);
        }
        Ok(found.into())
    }

    /// Entries that could not be written.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

impl Drop for AuditLog {
    /// What was appended is written.
    fn drop(&mut self) {
        let Some(writer) = &mut self.writer else { return };
        drop(writer.orders.take());
        if let Some(thread) = writer.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Writes until nobody appends any more.
fn write(mut lines: Lines, path: &Path, orders: &Receiver<Order>, failed: &AtomicU64) {
    for order in orders {
        match order {
            Order::Write(mut entry, written) => {
                if let Err(error) = line(&mut entry).and_then(|line| lines.append(&line)) {
                    failed.fetch_add(1, Ordering::Relaxed);
                    let AuditEntry { what, address, user, .. } = &*entry;
                    tracing::error!(%error, what, address, user, "{} can't be written; this change is not in it", path.display());
                }
                written();
            }
            Order::Sync(answer) => {
                let sync = lines.sync().map(|sync| sync.map(|sync| Box::new(sync) as _));
                let _ = answer.send(sync);
            }
        }
    }
}

fn line(entry: &mut AuditEntry) -> io::Result<Vec<u8>> {
    entry.time = jiff::Timestamp::from_millisecond(entry.at).map(|at| format!("{at:.3}")).unwrap_or_default();
    [&mut entry.asked, &mut entry.before, &mut entry.after].into_iter().for_each(without_secrets);
    serde_json::to_vec(&entry).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Barrier;

    fn log(path: Option<&Path>) -> AuditLog {
        AuditLog::new(Disk::default(), path, Clock::settable()).unwrap()
    }

    fn entry(topic: &str) -> AuditEntry {
        AuditEntry { what: "X".into(), asked: json!({ "topic": topic, "password": "s3cret" }), ..AuditEntry::default() }
    }

    #[test]
    fn entries_are_there_after_a_restart_for_the_owner_alone_without_what_is_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let open = || log(Some(&path));
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        for topic in ["A", "B", "C"] {
            open().append(entry(topic), || {});
        }
        open().sync().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("s3cret") && text.contains("T") && text.contains("Z\""), "{text}");
        let all = open().read(&AuditFilter::default(), 2).unwrap();
        let topics: Vec<_> = all.iter().map(|entry| entry.asked["topic"].as_str().unwrap()).collect();
        assert_eq!(topics, ["B", "C"], "the last two");
        let about = AuditFilter { about: Some("A".into()), ..AuditFilter::default() };
        assert_eq!(open().read(&about, 9).unwrap().len(), 1);
        assert!(log(None).read(&about, 9).unwrap().is_empty());
    }

    #[test]
    fn where_the_disk_does_not_keep_up_who_brings_lines_waits_and_none_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let log = Arc::new(log(Some(&path)));
        // The thread that writes stands still behind the first line.
        let (held, go_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let stands = (held.clone(), go_on.clone());
        log.append(entry("first"), move || _ = (stands.0.wait(), stands.1.wait()));
        held.wait();
        let (all, sent) = (WAITING_MAX + 10, Arc::new(AtomicU64::new(0)));
        let brings = {
            let (log, sent) = (log.clone(), sent.clone());
            move || {
                for _ in 0..all {
                    log.append(entry("more"), || {});
                    sent.fetch_add(1, Ordering::SeqCst);
                }
            }
        };
        let brings = thread::spawn(brings);
        while sent.load(Ordering::SeqCst) < WAITING_MAX as u64 {
            thread::yield_now();
        }
        assert!(!brings.is_finished(), "there is no place for all");
        go_on.wait();
        brings.join().unwrap();
        log.sync().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), all + 1);
    }

    #[test]
    fn an_answer_is_bounded_however_long_the_entries_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let log = log(Some(&path));
        let elements: Vec<String> = (0..100).map(|n| format!("{n}{}", "x".repeat(500))).collect();
        for n in 0..300 {
            log.append(AuditEntry { asked: json!({ "n": n, "list": elements }), ..AuditEntry::default() }, || {});
        }
        log.sync().unwrap();
        let read = log.read(&AuditFilter::default(), usize::MAX).unwrap();
        assert!((100..200).contains(&read.len()), "{}", read.len());
        assert_eq!(read.last().unwrap().asked["n"], 299, "the newest");
    }
}
