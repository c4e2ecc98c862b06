//! `audit.log`: every change that somebody asked for, a line in JSON each ([`crate::lines`]).

use crate::clock::Clock;
use crate::disk::Disk;
use crate::lines::{self, Lines};
use parking_lot::Mutex;
use protocol::audit::{AuditEntry, AuditFilter, without_secrets};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The size of a file, bytes, and how many are kept.
const BYTES_MAX: u64 = 16 << 20;
const FILES_MAX: usize = 16;

/// The log of one server.
#[derive(Debug)]
pub struct AuditLog {
    /// `None`: nothing is kept.
    file: Option<(PathBuf, Mutex<Lines>)>,
    clock: Clock,
    failed: AtomicU64,
}

impl AuditLog {
    /// The log in this file, which is made when there is something to say. Without one, nothing is kept.
    pub fn new(disk: Disk, path: Option<&Path>, clock: Clock) -> AuditLog {
        let lines = |path: &Path| (path.to_owned(), Mutex::new(Lines::new(disk, path, BYTES_MAX, FILES_MAX)));
        AuditLog { file: path.map(lines), clock, failed: AtomicU64::new(0) }
    }

    /// Writes an entry, with the time that it is. The system has it then; a process that is killed loses none.
    ///
    /// What can't be written is told in the other log: the change was made, and is not taken back.
    pub fn append(&self, mut entry: AuditEntry) {
        let Some((path, lines)) = &self.file else { return };
        entry.at = self.clock.now_millis();
        entry.time = jiff::Timestamp::from_millisecond(entry.at).map(|at| format!("{at:.3}")).unwrap_or_default();
        [&mut entry.asked, &mut entry.before, &mut entry.after].into_iter().for_each(without_secrets);
        let written = serde_json::to_vec(&entry).map_err(io::Error::other).and_then(|line| lines.lock().append(&line));
        if let Err(error) = written {
            self.failed.fetch_add(1, Ordering::Relaxed);
            let AuditEntry { what, address, user, .. } = &entry;
            tracing::error!(%error, what, address, user, "{} can't be written; this change is not in it", path.display());
        }
    }

    /// Brings to disk what was written. Blocks, and keeps nobody from writing.
    pub fn sync(&self) -> io::Result<()> {
        let Some((_, lines)) = &self.file else { return Ok(()) };
        let sync = lines.lock().sync()?;
        sync.map_or(Ok(()), |sync| sync())
    }

    /// The last `max` entries that are wanted, oldest first. Blocks.
    pub fn read(&self, filter: &AuditFilter, max: usize) -> io::Result<Vec<AuditEntry>> {
        let Some((path, _)) = &self.file else { return Ok(Vec::new()) };
        let mut found = VecDeque::new();
        for line in lines::read(path, FILES_MAX)? {
            // One that was torn by a crash is none.
            let Ok(entry) = serde_json::from_str::<AuditEntry>(&line) else { continue };
            if filter.matches(&entry) {
                found.push_back(entry);
                if found.len() > max {
                    found.pop_front();
                }
            }
        }
        Ok(found.into())
    }

    /// Entries that could not be written.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn entries_are_there_after_a_restart_without_what_is_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let open = || AuditLog::new(Disk::default(), Some(&path), Clock::settable());
        for topic in ["A", "B", "C"] {
            let asked = json!({ "topic": topic, "password": "s3cret" });
            open().append(AuditEntry { what: "X".into(), asked, ..AuditEntry::default() });
        }
        open().sync().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("s3cret") && text.contains("T") && text.contains("Z\""), "{text}");
        let all = open().read(&AuditFilter::default(), 2).unwrap();
        let topics: Vec<_> = all.iter().map(|entry| entry.asked["topic"].as_str().unwrap()).collect();
        assert_eq!(topics, ["B", "C"], "the last two");
        let about = AuditFilter { about: Some("A".into()), ..AuditFilter::default() };
        assert_eq!(open().read(&about, 9).unwrap().len(), 1);
        assert!(AuditLog::new(Disk::default(), None, Clock::settable()).read(&about, 9).unwrap().is_empty());
    }
}
