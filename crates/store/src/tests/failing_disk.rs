//! A disk that is full, fails or is slow, as a watch makes it.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::{Condvar, Mutex};
use protocol::record::BatchEntry;

use super::*;
use crate::disk::{Action, Disk, Watch};
use crate::failure::is_full;

/// Lets actions fail, from the one with a number on, until it is healed.
#[derive(Debug)]
struct Faulty {
    hits: fn(&Action<'_>) -> bool,
    error: fn() -> io::Error,
    /// Actions that are hit: so far, and the first that fails.
    seen: AtomicUsize,
    first: AtomicUsize,
    /// How many fail.
    count: usize,
    failed: AtomicUsize,
}

impl Faulty {
    fn new(hits: fn(&Action<'_>) -> bool, error: fn() -> io::Error, count: usize) -> Arc<Faulty> {
        let (seen, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Faulty { hits, error, seen, first: AtomicUsize::new(usize::MAX), count, failed })
    }

    /// The `n`-th action from here on fails, 0 being the next.
    fn fail_from(&self, n: usize) {
        self.first.store(self.seen.load(Ordering::SeqCst) + n, Ordering::SeqCst);
    }

    fn heal(&self) {
        self.first.store(usize::MAX, Ordering::SeqCst);
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst) > 0
    }
}

impl Watch for Faulty {
    fn before(&self, action: Action<'_>) -> io::Result<()> {
        if !(self.hits)(&action) {
            return Ok(());
        }
        let n = self.seen.fetch_add(1, Ordering::SeqCst);
        let first = self.first.load(Ordering::SeqCst);
        if n < first || n - first >= self.count {
            return Ok(());
        }
        self.failed.fetch_add(1, Ordering::SeqCst);
        Err((self.error)())
    }

    fn after(&self, _: Action<'_>) {}
}

fn no_space() -> io::Error {
    io::Error::from_raw_os_error(28)
}

fn input_output() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn takes_space(action: &Action<'_>) -> bool {
    matches!(action, Action::CreateDirectory(_) | Action::Create(_) | Action::Resize { .. } | Action::Write { .. })
}

fn is_log_sync(action: &Action<'_>) -> bool {
    matches!(action, Action::Sync(path) if path.components().any(|part| part.as_os_str() == "commitlog"))
}

fn config(root: &Path, flush: FlushDiskType, watch: Arc<dyn Watch>) -> StoreConfig {
    // Small files: each round begins several of all kinds.
    StoreConfig {
        flush,
        commit_log_file_size: 2 << 10,
        consume_queue_file_size: 20 * 3,
        index_entries: 12,
        flush_interval: Duration::from_millis(1),
        disk: Disk::watched(watch),
        disk_free_min: Some(0),
        ..small(root)
    }
}

/// What became of messages: by queue, offset and body of those that were acknowledged; and how many were refused.
#[derive(Default)]
struct Ledger {
    acknowledged: BTreeMap<(u32, i64), String>,
    sent: Vec<String>,
    refused: Vec<String>,
}

impl Ledger {
    /// Sends a message, or a batch of two, as a broker does it.
    fn send(&mut self, store: &Store, n: usize) {
        let queue_id = (n % 2) as u32;
        let sent = match n % 5 {
            0 => vec![format!("m{n}a"), format!("m{n}b")],
            _ => vec![format!("m{n}")],
        };
        let properties = |body: &str| format!("TAGS\x01TagA\x02KEYS\x01{body} both\x02UNIQ_KEY\x01id-{body}\x02");
        let stored = if let [body] = &sent[..] {
            let properties = properties(body);
            let put = store.put_message(&message("T", queue_id, body.as_bytes(), properties.as_bytes()));
            put.map(|stored| (stored.queue_offset.0, stored.end))
        } else {
            let mut batch = Vec::new();
            for body in &sent {
                BatchEntry { flag: 0, body: body.as_bytes(), properties: properties(body).as_bytes() }
                    .encode(&mut batch);
            }
            store.put_batch(&message("T", queue_id, &batch, b"")).map(|stored| (stored.queue_offset.0, stored.end))
        };
        self.sent.extend(sent.iter().cloned());
        let taken = stored.map_err(io::Error::other).and_then(|(offset, end)| {
            let flushed = store.flushed(end);
            store.write_out()?;
            block_on(flushed).map_err(io::Error::other)?;
            Ok(offset)
        });
        match taken {
            Ok(first) => {
                let numbered = sent.into_iter().zip(first..);
                self.acknowledged.extend(numbered.map(|(body, offset)| ((queue_id, offset), body)));
            }
            Err(_) => self.refused.extend(sent),
        }
    }

    /// Everything acknowledged is where it was said to be; everything there was sent, and once for each send.
    fn judge(&self, store: &Store) {
        let mut found = Vec::new();
        for queue_id in 0..2 {
            let bodies = all(store, "T", queue_id);
            let min = store.min_offset("T", queue_id).0;
            for ((_, offset), body) in self.acknowledged.range((queue_id, 0)..(queue_id + 1, 0)) {
                let at = usize::try_from(offset - min).unwrap();
                assert_eq!(bodies.get(at), Some(body), "queue {queue_id}, offset {offset}");
            }
            found.extend(bodies);
        }
        for body in &found {
            assert!(self.sent.contains(body), "nobody sent {body}");
        }
        found.sort();
        let twice = found.windows(2).find(|two| two[0] == two[1]);
        assert_eq!(twice, None, "each was sent once");
    }

    fn judge_index(&self, store: &Store) {
        let found = store.query("T", "both", 1000, 0, i64::MAX).records.len();
        let there: usize = (0..2).map(|queue_id| all(store, "T", queue_id).len()).sum();
        assert_eq!(found, there, "every message can be found by its key");
    }
}

/// Waits for `fact`, looking at the disk meanwhile as the store's own thread does, only more often.
fn wait_for(store: &Store, what: &str, fact: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !fact() {
        assert!(std::time::Instant::now() < deadline, "{what} did not come about: {:?}", store.failure());
        store.inner.look_at_disk();
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Sends while the `n`-th action fails and those behind it, heals the disk, sends on, closes, opens. False: none failed.
fn survives(flush: FlushDiskType, error: fn() -> io::Error, n: usize, count: usize) -> bool {
    // Hundreds of stores: not worth the patience of a real disk, if there is another.
    let [dir, killed] = [(); 2].map(|()| tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap());
    let faulty = Faulty::new(takes_space, error, count);
    let store = Store::open(config(dir.path(), flush, faulty.clone())).unwrap();
    let mut ledger = Ledger::default();
    faulty.fail_from(n);
    for n in 0..14 {
        ledger.send(&store, n);
        if n % 7 == 6 {
            // What the dispatch thread does, now: its writes fail, too.
            let _ = store.inner.drain();
            store.inner.sync_dispatched();
        }
    }
    let has_failed = faulty.has_failed();
    ledger.judge(&store);
    faulty.heal();
    wait_for(&store, "taking messages again", || store.failure().is_none());
    let refused = ledger.refused.len();
    (14..18).for_each(|n| ledger.send(&store, n));
    assert_eq!(ledger.refused.len(), refused, "nothing is refused when the disk is well: {:?}", store.failure());
    ledger.judge(&store);
    ledger.judge_index(&store);
    // The checkpoint first: what is copied behind it may already be newer, as it may be on a disk.
    let checkpoint = fs::read(dir.path().join("checkpoint")).unwrap();
    copy_dir(dir.path(), killed.path());
    fs::write(killed.path().join("checkpoint"), checkpoint).unwrap();
    if is_full(&error()) {
        store.close().unwrap_or_else(|error| panic!("action {n}: {error}"));
        assert!(!dir.path().join("abort").exists());
    } else {
        let _ = store.close();
    }
    drop(store);
    let mut files = Vec::new();
    collect_files(&dir.path().join("index"), &mut files);
    assert!(files.iter().all(|file| fs::metadata(file).unwrap().len() > 0), "action {n} left an empty file: {files:?}");
    for root in [dir.path(), killed.path()] {
        let store = Store::open(config(root, flush, Faulty::new(takes_space, error, 0))).unwrap();
        ledger.judge(&store);
        ledger.judge_index(&store);
    }
    has_failed
}

/// Every action of `survives` that takes room, failing alone and with all that follow.
fn check_every_action(flush: FlushDiskType, error: fn() -> io::Error) {
    for count in [1, usize::MAX] {
        let next = AtomicUsize::new(0);
        let past_the_end = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !past_the_end.load(Ordering::SeqCst) {
                        let n = next.fetch_add(1, Ordering::SeqCst);
                        if !survives(flush, error, n, count) {
                            past_the_end.store(true, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        let actions = next.load(Ordering::SeqCst);
        assert!(actions > 30, "only {actions} actions");
    }
}

#[test]
fn a_disk_that_is_full_at_any_write_loses_nothing_acknowledged_and_recovers_by_itself() {
    check_every_action(FlushDiskType::Async, no_space);
    check_every_action(FlushDiskType::Sync, no_space);
}

#[test]
fn a_write_that_fails_at_any_moment_loses_nothing_acknowledged() {
    check_every_action(FlushDiskType::Async, input_output);
}

#[test]
fn what_could_not_be_written_is_refused_with_its_cause_and_stored_later_at_its_place() {
    for flush in [FlushDiskType::Async, FlushDiskType::Sync] {
        let dir = tempfile::tempdir().unwrap();
        let is_log_write = |action: &Action<'_>| matches!(action, Action::Write { path, .. } if path.parent().is_some_and(|dir| dir.ends_with("commitlog")));
        let faulty = Faulty::new(is_log_write, no_space, usize::MAX);
        let store = Store::open(config(dir.path(), flush, faulty.clone())).unwrap();
        put(&store, "T", 0, "before");
        faulty.fail_from(0);
        let first = store.put_message(&message("T", 0, b"first", b"")).unwrap();
        // Came in while the first was being written.
        let second = store.put_message(&message("T", 0, b"second", b"")).unwrap();
        let waits = store.flushed(second.end);
        let error = store.write_out().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let text = error.to_string();
        assert!(text.contains("commitlog/00000000000000000000") && text.contains("free"), "{text}");
        assert_eq!(block_on(waits).is_err(), flush == FlushDiskType::Sync, "else `write_out` says it");
        assert!(store.write_out().is_err(), "it stays so");
        let refused = store.put_message(&message("T", 0, b"third", b"")).unwrap_err();
        assert!(matches!(&refused, PutError::NotWriteable { .. }), "{refused:?}");
        block_on(store.flushed(first.end)).unwrap_err();
        faulty.heal();
        wait_for(&store, "taking messages again", || store.failure().is_none());
        block_on(store.flushed(second.end)).unwrap();
        let queue = store.queue("T", 0).unwrap();
        block_on(store.arrived(&queue, second.queue_offset));
        assert_eq!(all(&store, "T", 0), ["before", "first", "second"]);
        assert_eq!(put(&store, "T", 0, "fourth").queue_offset, QueueOffset(3));
    }
}

#[test]
fn the_store_goes_on_by_itself_within_seconds_of_room() {
    let dir = tempfile::tempdir().unwrap();
    let faulty = Faulty::new(takes_space, no_space, usize::MAX);
    let store = Store::open(config(dir.path(), FlushDiskType::Sync, faulty.clone())).unwrap();
    faulty.fail_from(0);
    let stored = store.put_message(&message("T", 0, b"m", b"")).unwrap();
    assert!(store.write_out().is_err());
    let healed = std::time::Instant::now();
    faulty.heal();
    while store.failure().is_some() {
        std::thread::sleep(Duration::from_millis(5));
        assert!(healed.elapsed() < Duration::from_secs(5));
    }
    block_on(store.flushed(stored.end)).unwrap();
}

#[test]
fn after_a_failed_flush_nothing_is_acknowledged_and_what_was_is_still_read() {
    for flush in [FlushDiskType::Async, FlushDiskType::Sync] {
        let dir = tempfile::tempdir().unwrap();
        let faulty = Faulty::new(is_log_sync, input_output, 1);
        let store = Store::open(config(dir.path(), flush, faulty.clone())).unwrap();
        let before = put(&store, "T", 0, "before");
        block_on(store.flushed(before.end)).unwrap();
        wait_for(&store, "the flush", || store.inner.log.flushed() >= before.end.0);
        faulty.fail_from(0);
        let lost = store.put_message(&message("T", 0, b"lost", b"")).unwrap();
        let waits = store.flushed(lost.end);
        store.write_out().unwrap();
        let acknowledged = block_on(waits).is_ok();
        assert_eq!(acknowledged, flush == FlushDiskType::Async, "with ASYNC_FLUSH before anybody tried");
        wait_for(&store, "the failure", || store.failure().is_some());
        // The disk is well again, and nobody believes it.
        for _ in 0..3 {
            let refused = store.put_message(&message("T", 0, b"refused", b"")).unwrap_err().to_string();
            assert!(refused.contains("commitlog/00000000000000000000") && refused.contains("restart"), "{refused}");
            assert!(store.write_out().is_err() && block_on(store.flushed(lost.end)).is_err());
            store.inner.look_at_disk();
        }
        assert_eq!(all(&store, "T", 0)[0], "before");
        // What the kernel dropped is not served.
        if flush == FlushDiskType::Async {
            let at = lost.at.0 as usize;
            change(&log_file(dir.path(), 0), at, |rest| rest[..(lost.end.0 - lost.at.0) as usize].fill(0));
            let got = get(&store, "T", 0, 1);
            assert!(matches!(&got.status, GetStatus::Damaged(_)), "{got:?}");
        }
        let checkpoint = fs::read(dir.path().join("checkpoint")).unwrap();
        assert!(store.close().is_err());
        let after = fs::read(dir.path().join("checkpoint")).unwrap();
        assert!(i64::from_be_bytes(after[40..48].try_into().unwrap()) <= before.end.0, "{checkpoint:?}");
        drop(store);
        assert!(dir.path().join("abort").exists());
        let store = Store::open(small_files(dir.path())).unwrap();
        assert_eq!(all(&store, "T", 0)[0], "before");
        assert!(put(&store, "T", 0, "goes on").queue_offset >= QueueOffset(1));
    }
}

fn small_files(root: &Path) -> StoreConfig {
    config(root, FlushDiskType::Async, Faulty::new(takes_space, no_space, 0))
}

#[test]
fn queues_and_index_that_cannot_be_brought_to_disk_are_made_again_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let is_queue_sync = |action: &Action<'_>| matches!(action, Action::Sync(path) if path.components().any(|part| part.as_os_str() == "consumequeue"));
    let faulty = Faulty::new(is_queue_sync, input_output, 1);
    let store = Store::open(config(dir.path(), FlushDiskType::Async, faulty.clone())).unwrap();
    faulty.fail_from(0);
    put(&store, "T", 0, "m0");
    store.inner.drain().unwrap();
    wait_for(&store, "the failure", || {
        store.inner.sync_dispatched();
        faulty.has_failed()
    });
    put(&store, "T", 0, "m1");
    store.inner.drain().unwrap();
    assert!(store.inner.try_sync_dispatched().is_err(), "what the kernel says now is not believed");
    assert!(store.close().is_err());
    drop(store);
    // What was lost with the failed sync.
    fs::remove_dir_all(dir.path().join("consumequeue")).unwrap();
    let store = Store::open(small_files(dir.path())).unwrap();
    assert_eq!(all(&store, "T", 0), ["m0", "m1"]);
}

#[test]
fn a_queue_that_could_not_be_written_is_written_later_though_nothing_more_comes() {
    let dir = tempfile::tempdir().unwrap();
    let is_queue_write = |action: &Action<'_>| matches!(action, Action::Write { path, .. } if path.parent().is_some_and(|dir| dir.ends_with("T/0")));
    let faulty = Faulty::new(is_queue_write, no_space, usize::MAX);
    let store = Store::open(config(dir.path(), FlushDiskType::Async, faulty.clone())).unwrap();
    faulty.fail_from(0);
    put(&store, "T", 0, "m0");
    assert!(store.inner.drain().is_err());
    put(&store, "T", 1, "m1");
    assert!(store.inner.drain().is_err());
    assert_eq!(all(&store, "T", 0), ["m0"], "meanwhile it is read from memory");
    faulty.heal();
    // What is in the files, and how far the checkpoint says they go, is what a clean start goes by.
    store.close().unwrap();
    drop(store);
    let store = Store::open(small_files(dir.path())).unwrap();
    assert_eq!((all(&store, "T", 0), all(&store, "T", 1)), (vec!["m0".to_owned()], vec!["m1".to_owned()]));
}

#[test]
fn a_read_that_fails_is_told_with_file_and_place_and_other_queues_are_read_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(small_files(dir.path())).unwrap();
    (0..20).for_each(|n| _ = put(&store, "T", n % 2, &format!("m{n}")));
    store.close().unwrap();
    drop(store);
    for directory in ["commitlog", "consumequeue/T/0"] {
        let hits: fn(&Action<'_>) -> bool = match directory {
            "commitlog" => {
                |action| matches!(action, Action::Read { path, at: 0, .. } if path.parent().is_some_and(|dir| dir.ends_with("commitlog")))
            }
            _ => {
                |action| matches!(action, Action::Read { path, .. } if path.parent().is_some_and(|dir| dir.ends_with("consumequeue/T/0")))
            }
        };
        let faulty = Faulty::new(hits, input_output, usize::MAX);
        let store = Store::open(config(dir.path(), FlushDiskType::Async, faulty.clone())).unwrap();
        faulty.fail_from(0);
        let got = get(&store, "T", 0, 0);
        let GetStatus::Damaged(damage) = got.status else { panic!("{got:?}") };
        let text = damage.to_string();
        assert!(text.contains(directory) && text.contains("byte 0") && text.contains("os error 5"), "{text}");
        let other = store.get_message("T", 1, QueueOffset(0), 1, 1 << 20, &|_| true);
        assert_eq!(bodies(&other), ["m1"], "{directory}");
        faulty.heal();
        assert_eq!(all(&store, "T", 0).len(), 10, "nothing of it is kept in mind");
    }
}

/// Brings the log to disk only when it is let.
#[derive(Debug, Default)]
struct Slow {
    holds: Mutex<bool>,
    changed: Condvar,
}

impl Slow {
    fn hold(&self, holds: bool) {
        *self.holds.lock() = holds;
        self.changed.notify_all();
    }
}

impl Watch for Slow {
    fn before(&self, action: Action<'_>) -> io::Result<()> {
        if is_log_sync(&action) {
            self.changed.wait_while(&mut self.holds.lock(), |holds| *holds);
        }
        Ok(())
    }

    fn after(&self, _: Action<'_>) {}
}

#[test]
fn a_slow_disk_bounds_what_waits_for_it_and_catches_up() {
    for (len, most) in [(1 << 20, 70), (10, 100_001)] {
        let dir = tempfile::tempdir().unwrap();
        let slow = Arc::new(Slow::default());
        let sizes =
            StoreConfig { commit_log_file_size: 32 << 20, consume_queue_file_size: 1 << 20, ..small(dir.path()) };
        let config = StoreConfig { flush: FlushDiskType::Sync, disk: Disk::watched(slow.clone()), ..sizes };
        let store = Store::open(config).unwrap();
        slow.hold(true);
        let body = vec![b'x'; len];
        let mut last = None;
        let refused = loop {
            match store.put_message(&message("T", 0, &body, b"")) {
                Ok(stored) => last = Some(stored),
                Err(refused) => break refused,
            }
            store.write_out().unwrap();
        };
        let last = last.unwrap();
        assert!(last.queue_offset.0 < most, "{last:?}");
        let text = refused.to_string();
        assert!(matches!(refused, PutError::Busy { .. }), "{refused:?}");
        assert!(text.contains("commitlog") && text.contains("too slow") && text.contains(" s;"), "{text}");
        assert_eq!(store.max_offset("T", 0), QueueOffset(0), "what is not on disk is not read");
        slow.hold(false);
        block_on(store.flushed(last.end)).unwrap();
        block_on(store.arrived(&store.queue("T", 0).unwrap(), last.queue_offset));
        assert_eq!(store.max_offset("T", 0), QueueOffset(last.queue_offset.0 + 1));
        assert_eq!(put(&store, "T", 0, "goes on").queue_offset.0, last.queue_offset.0 + 1);
    }
}

#[test]
fn an_index_that_cannot_be_written_takes_only_so_much_memory() {
    let dir = tempfile::tempdir().unwrap();
    let is_index_write = |action: &Action<'_>| matches!(action, Action::Write { path, .. } if path.parent().is_some_and(|dir| dir.ends_with("index")));
    let faulty = Faulty::new(is_index_write, no_space, usize::MAX);
    let sizes = StoreConfig { index_slots: 1 << 20, index_entries: 4 << 20, ..small(dir.path()) };
    let config = StoreConfig { commit_log_file_size: 16 << 20, disk: Disk::watched(faulty.clone()), ..sizes };
    let store = Store::open(config).unwrap();
    faulty.fail_from(0);
    let keys: String = (0..6000).map(|n| format!("{n:x} ")).collect();
    let properties = format!("KEYS\x01{keys}\x02");
    let mut taken = 0;
    let refused = loop {
        match store.put_message(&message("T", 0, b"m", properties.as_bytes())) {
            Ok(_) => taken += 1,
            Err(refused) => break refused.to_string(),
        }
        store.write_out().unwrap();
        assert!(taken < 1000, "{taken} messages with 6000 keys each were taken");
    };
    assert!(refused.contains("index") && refused.contains("no message is lost"), "{refused}");
    assert_eq!(all(&store, "T", 0).len(), taken, "all that was taken can be read");
    faulty.heal();
    wait_for(&store, "taking messages again", || store.failure().is_none());
    put(&store, "T", 0, "goes on");
    assert_eq!(store.query("T", "3e8", 1000, 0, i64::MAX).records.len(), taken);
    store.close().unwrap();
}

#[test]
fn a_table_that_cannot_be_saved_keeps_its_last_state_and_is_saved_later() {
    let read = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
    for error in [no_space, input_output] {
        let mut failed = 0;
        for n in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("config/topics.json");
            let faulty = Faulty::new(|_| true, error, 1);
            let disk = Disk::watched(faulty.clone());
            crate::table::save(&disk, &path, b"first").unwrap();
            faulty.fail_from(n);
            let saved = crate::table::save(&disk, &path, b"second");
            let loaded = crate::table::load(&Disk::default(), &path, read).unwrap().unwrap().table;
            assert!(loaded == "second" || saved.is_err() && loaded == "first", "{n}: {saved:?}, {loaded}");
            if saved.is_ok() {
                break;
            }
            failed += 1;
            crate::table::save(&disk, &path, b"third").unwrap();
            let loaded = crate::table::load(&Disk::default(), &path, read).unwrap().unwrap().table;
            assert_eq!(loaded, "third", "{n}");
        }
        assert!(failed >= 7, "only {failed} actions");
    }
}
