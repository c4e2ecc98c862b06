//! Reads what was written long ago, before someone needs it.
//!
//! A thread goes through all files of the log but the newest, slowly, checks each record as `verify` does, and names what
//! it finds: damage on a disk is better known while a copy of the message is still somewhere else. It remembers nothing
//! over a restart, and holds one file at a time, so that one whose time is over goes soon.
//!
//! What is read once goes before what is read again when the kernel needs memory: the page cache keeps what is hot.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::consume_queue::partition_point;
use crate::flush::Bell;
use crate::inspect::{Finding, Kind, LogFiles, Piece, Stretch};
use crate::segment::{Access, Segment, Segments};
use crate::{Inner, Store};

/// A round begins at most so often.
const ROUND_EVERY: Duration = Duration::from_secs(24 * 3600);
/// The first begins so long after the store was opened.
const FIRST_AFTER: Duration = Duration::from_secs(60);
/// It pauses each time it is so far ahead of its rate.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// How far the scrub is.
#[derive(Debug, Default)]
pub(crate) struct Scrub {
    /// Wakes its thread, to end it.
    pub bell: Bell,
    bytes: AtomicU64,
    rounds: AtomicU64,
    /// Where damage begins that was named.
    damaged: Mutex<BTreeSet<i64>>,
}

/// What the scrub has done since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Bytes of the log that were read.
    pub bytes: u64,
    /// How often it has come to the end.
    pub rounds: u64,
    /// Stretches of the log that are damaged.
    pub damaged: u64,
}

impl Store {
    /// What the scrub has done and found since the store was opened. Each finding was logged once, by name.
    pub fn scrubbed(&self) -> Scrubbed {
        let scrub = &self.inner.scrub;
        Scrubbed {
            bytes: scrub.bytes.load(Ordering::Relaxed),
            rounds: scrub.rounds.load(Ordering::Relaxed),
            damaged: scrub.damaged.lock().len() as u64,
        }
    }
}

impl Inner {
    /// The scrub's thread.
    pub(crate) fn run_scrub(&self) {
        let rate = self.config.scrub_rate;
        if rate == 0 {
            return;
        }
        let bell = &self.scrub.bell;
        bell.wait_for(FIRST_AFTER, || false);
        while !bell.is_stopped() {
            let begun = Instant::now();
            self.scrub_round(rate);
            bell.wait_for(ROUND_EVERY.saturating_sub(begun.elapsed()), || false);
        }
    }

    /// Reads every file of the log to which nothing is added any more, at `rate` bytes per second.
    pub(crate) fn scrub_round(&self, rate: u64) {
        let mut base = i64::MIN;
        while !self.scrub.bell.is_stopped() {
            let published = self.log.published();
            let sealed = self.log.segments.all().into_iter().find(|it| it.base > base && it.end() <= published);
            let Some(segment) = sealed else {
                self.scrub.rounds.fetch_add(1, Ordering::Relaxed);
                return;
            };
            base = segment.base;
            self.scrub_file(&segment, rate);
        }
    }

    fn scrub_file(&self, segment: &Segment, rate: u64) {
        let size = segment.size;
        let dir = self.log.segments.dir().to_owned();
        let disk = self.config.disk.read_only();
        let file = Segments::of(disk, dir, size, Access::Sequential, &[(segment.base, segment.path.clone(), size)]);
        if let Some(segment) = file.first() {
            match segment.file() {
                // Advice: it is no harm if it is not taken.
                Ok(file) => _ = rustix::fs::fadvise(&*file, 0, None, rustix::fs::Advice::NoReuse),
                Err(_) => return, // deleted meanwhile
            }
        }
        let (begun, mut at) = (Instant::now(), segment.base);
        let end = LogFiles { files: &file, file_size: size as i64, in_use: true }.walk(segment.base, &mut |piece| {
            match piece {
                Piece::Record { record, .. } => {
                    let next = record.commit_log_offset.0 + record.bytes.len() as i64;
                    self.scrub.bytes.fetch_add((next - at) as u64, Ordering::Relaxed);
                    at = next;
                }
                Piece::Damaged(stretch) => self.scrub_found(stretch),
            }
            let due = Duration::from_secs_f64((at - segment.base) as f64 / rate as f64);
            let ahead = due.saturating_sub(begun.elapsed());
            if ahead >= PAUSE_MIN {
                self.scrub.bell.wait_for(ahead, || false);
            }
            if self.scrub.bell.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        // A file that is finished is sound to its end.
        if let Some(end) = end.filter(|end| end.at < segment.end()) {
            let files = LogFiles { files: &file, file_size: size as i64, in_use: true };
            let reason = end.rest.map_or_else(|| "there is nothing".to_owned(), |rest| rest.reason);
            self.scrub_found(&files.stretch(end.at, segment.end(), reason));
        }
    }

    /// Names what was found, once.
    fn scrub_found(&self, stretch: &Stretch) {
        // Meanwhile its time may be over.
        if stretch.at.0 < self.log.min() || !self.scrub.damaged.lock().insert(stretch.at.0) {
            return;
        }
        let damage = Finding::new(Kind::DamagedLog, stretch.reason.clone()).at(stretch.at.0);
        let damage = Finding { bytes: Some(stretch.end.0 - stretch.at.0), ..damage };
        let damage = damage.in_file(&stretch.file, stretch.position);
        tracing::error!("scrub: {damage}; stop and run `cometmq store verify`, and `repair`, on the directory");
        for queue in self.queues.all() {
            let (min, max) = queue.bounds();
            let before = |offset| queue.entry(offset).map(|entry| entry.is_some_and(|entry| entry.at < stretch.at.0));
            let Ok(first) = partition_point(min, max, before) else { continue };
            for offset in first..max {
                match queue.entry(offset) {
                    Ok(Some(entry)) if entry.at < stretch.end.0 => {
                        let message = Finding::new(Kind::DamagedMessage, stretch.reason.clone()).at(entry.at);
                        tracing::error!("scrub: {}", message.in_queue(queue.topic(), queue.queue_id(), offset));
                    }
                    _ => break,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PutMessage, StoreConfig};
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    /// Whose own thread does not scrub.
    fn open(root: &std::path::Path) -> Arc<Store> {
        Store::open(StoreConfig { commit_log_file_size: 4096, scrub_rate: 0, ..StoreConfig::new(root) }).unwrap()
    }

    fn put(store: &Arc<Store>, body: &[u8]) -> i64 {
        let put = PutMessage {
            topic: "T",
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 1,
            born_host: "127.0.0.1:1".parse().unwrap(),
            store_host: "127.0.0.1:2".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            properties: b"",
        };
        let stored = store.put_message(&put).unwrap();
        store.write_out().unwrap();
        stored.at.0
    }

    #[test]
    fn the_scrub_finds_what_changed_in_files_that_are_finished() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let places: Vec<i64> =
            (0..40).map(|n: i32| put(&store, format!("{n} {}", "x".repeat(300)).as_bytes())).collect();
        store.inner.scrub_round(u64::MAX);
        let clean = store.scrubbed();
        assert_eq!((clean.rounds, clean.damaged), (1, 0));
        assert!(clean.bytes > 8000, "{clean:?}");

        let file = |at: i64| {
            let base = at - at % 4096;
            let path = dir.path().join(format!("commitlog/{base:020}"));
            (std::fs::OpenOptions::new().write(true).open(path).unwrap(), (at - base) as u64)
        };
        // In the middle of a file, at the end of one, and in the one that is being written.
        for n in [3, 10, 39] {
            let (file, position) = file(places[n]);
            file.write_all_at(b"?", position + 150).unwrap();
        }
        let last_of_a_file = (1..40).find(|n| places[*n] / 4096 > places[n - 1] / 4096).unwrap() - 1;
        let (file, position) = file(places[last_of_a_file]);
        file.write_all_at(b"?", position + 150).unwrap();
        for _ in 0..2 {
            store.inner.scrub_round(u64::MAX);
        }
        let expected = BTreeSet::from([places[3], places[10], places[last_of_a_file]]);
        assert_eq!(*store.inner.scrub.damaged.lock(), expected);
        assert_eq!(store.scrubbed().rounds, 3);
        store.close().unwrap();
    }

    #[test]
    fn the_scrub_keeps_to_its_rate_and_ends_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        (0..40).for_each(|_| _ = put(&store, &[b'x'; 300]));
        let other = store.clone();
        // A byte a second would take hours.
        let round = std::thread::spawn(move || other.inner.scrub_round(1));
        while store.scrubbed().bytes == 0 {
            std::thread::yield_now();
        }
        let begun = Instant::now();
        store.close().unwrap();
        round.join().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert!(store.scrubbed().bytes < 4096);
    }
}
