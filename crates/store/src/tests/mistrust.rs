//! What disk and strangers say that is not so.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use protocol::record::{COMMIT_LOG_OFFSET_AT, MAGIC_V1, RecordFields};

use super::*;
use crate::disk::{Action, Disk, Watch};

/// Remembers the longest read.
#[derive(Debug, Default)]
struct Spy {
    longest_read: AtomicUsize,
    /// Files of consume queues keep the size to which they were cut, once this is set.
    is_killed_at_a_cut: bool,
    cuts: AtomicUsize,
}

impl Watch for Spy {
    fn before(&self, action: Action<'_>) -> io::Result<()> {
        match action {
            Action::Read { len, .. } => _ = self.longest_read.fetch_max(len, Ordering::SeqCst),
            Action::Resize { path, .. }
                if self.is_killed_at_a_cut && path.to_string_lossy().contains("consumequeue") =>
            {
                // Cut, and gone before the file has its size again.
                let cuts = self.cuts.fetch_add(1, Ordering::SeqCst);
                return if cuts == 1 { Err(io::Error::other("killed")) } else { Ok(()) };
            }
            _ => {}
        }
        Ok(())
    }

    fn after(&self, _: Action<'_>) {}
}

/// What a message with this body must be that says, at some place in the log, that a record of so many bytes begins there.
fn pretends_to_be_a_record(at: i64, len: usize) -> Vec<u8> {
    let stored = message("T", 0, b"", b"");
    let fields = RecordFields {
        topic: "",
        queue_id: 0,
        flag: 0,
        queue_offset: QueueOffset(0),
        commit_log_offset: CommitLogOffset(at),
        sys_flag: 0,
        born_timestamp: 0,
        born_host: stored.born_host,
        store_timestamp: 0,
        store_host: stored.store_host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: b"",
        body_crc: 0,
        properties: b"",
    };
    let mut head = Vec::new();
    fields.encode(&mut head);
    let body_len = len - head.len();
    let body_len_at = head.len() - 4 - 1 - 2;
    head.truncate(body_len_at);
    head[..4].copy_from_slice(&(len as i32).to_be_bytes());
    assert_eq!(head[4..8], MAGIC_V1.to_be_bytes());
    assert_eq!(head[COMMIT_LOG_OFFSET_AT..][..8], at.to_be_bytes());
    head.extend_from_slice(&(body_len as i32).to_be_bytes());
    head
}

#[test]
fn who_asks_for_the_middle_of_a_body_gets_no_memory_for_what_is_written_there() {
    let dir = tempfile::tempdir().unwrap();
    let spy = Arc::new(Spy::default());
    let file_size = 256 << 20;
    let disk = Disk::watched(spy.clone());
    let store =
        Store::open(StoreConfig { commit_log_file_size: file_size, disk, ..StoreConfig::new(dir.path()) }).unwrap();
    // Before the body of the first record are 88 bytes.
    let body = pretends_to_be_a_record(88, 200 << 20);
    store.put_message(&message("T", 0, &body, b"")).unwrap();
    put(&store, "T", 0, "m0");
    assert!(store.read(CommitLogOffset(88)).is_err());
    assert!(store.read(CommitLogOffset(0)).unwrap().is_some());
    assert!(spy.longest_read.load(Ordering::SeqCst) <= 1 << 20, "{spy:?}");
}

#[test]
fn a_damaged_length_makes_no_start_read_a_whole_file_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let spy = Arc::new(Spy::default());
    let config = |spy: Arc<Spy>| StoreConfig {
        commit_log_file_size: 256 << 20,
        disk: Disk::watched(spy),
        ..StoreConfig::new(dir.path())
    };
    let store = Store::open(config(Arc::default())).unwrap();
    (0..3).for_each(|n| _ = put(&store, "T", 0, &format!("m{n}")));
    drop(store);
    let log = fs::OpenOptions::new().write(true).open(log_file(dir.path(), 0)).unwrap();
    log.write_all_at(&(200i32 << 20).to_be_bytes(), 0).unwrap();
    let store = Store::open(config(spy.clone())).unwrap();
    assert!(matches!(get(&store, "T", 0, 0).status, GetStatus::Damaged(_)));
    assert_eq!(bodies(&get(&store, "T", 0, 1)), numbered(1..3));
    assert!(spy.longest_read.load(Ordering::SeqCst) <= 4 << 20, "{spy:?}");
}

#[test]
fn a_message_that_comes_while_the_store_closes_is_refused_or_brought_home() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let wait_until = |fact: &dyn Fn() -> bool| {
        while !fact() {
            thread::yield_now()
        }
    };
    let (putting, closing) = (store.clone(), store.clone());
    let (late, closed) = store
        .inner
        .log
        .at_end(|| {
            let late = thread::spawn(move || putting.put_message(&message("Late", 0, b"m0", b"")));
            // It saw the store open, and waits for its place.
            wait_until(&|| store.queue("Late", 0).is_some());
            let closed = thread::spawn(move || closing.close());
            wait_until(&|| store.inner.is_closed());
            (late, closed)
        })
        .1;
    let late = late.join().unwrap();
    closed.join().unwrap().unwrap();
    assert!(matches!(late, Err(PutError::Closed)), "{late:?}");
}

#[test]
fn a_store_with_one_queue_opens_though_its_last_start_was_killed_while_it_cut_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    (0..10).for_each(|n| _ = put(&store, "T", 0, &format!("m{n}")));
    checkpoint_follows(&store);
    (10..20).for_each(|n| _ = put(&store, "T", 0, &format!("m{n}")));
    store.inner.drain().unwrap();
    drop(store);
    let spy = Arc::new(Spy { is_killed_at_a_cut: true, ..Spy::default() });
    let killed = Store::open(StoreConfig { disk: Disk::watched(spy.clone()), ..small(dir.path()) });
    assert!(killed.is_err() && spy.cuts.load(Ordering::SeqCst) == 2);
    assert_eq!(all(&open(dir.path()), "T", 0), numbered(0..20));
}

#[test]
fn files_whose_names_are_no_positions_of_any_log_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    (0..20).for_each(|n| _ = put(&store, "T", 0, &format!("m{n}")));
    store.close().unwrap();
    drop(store);
    let last_that_fits = |size: u64| i64::MAX as u64 / size * size;
    let strays = [
        log_file(dir.path(), last_that_fits(FILE_SIZE)),
        dir.path().join(format!("consumequeue/T/0/{:020}", last_that_fits(20 * 50))),
        dir.path().join(format!("index/{}", i64::MAX)),
    ];
    for stray in &strays {
        fs::copy(fs::read_dir(stray.parent().unwrap()).unwrap().next().unwrap().unwrap().path(), stray).unwrap();
    }
    let store = open(dir.path());
    put(&store, "T", 0, "m20");
    assert_eq!(all(&store, "T", 0), numbered(0..21));
    assert!(strays.iter().all(|stray| stray.exists()));
}

fn checkpoint_follows(store: &Store) {
    store.inner.flush().unwrap();
    store.inner.drain().unwrap();
    store.inner.try_sync_dispatched().unwrap();
    assert_eq!(store.inner.checkpoint.lock().1.dispatched, store.written().0);
}

#[test]
fn a_damaged_checkpoint_loses_no_message_of_a_killed_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put(&store, "T", 0, "m0");
    checkpoint_follows(&store);
    // These are in the log, and in no queue's file: as if it was killed at once.
    let draining = store.inner.dispatcher.hold_drain();
    (1..20).for_each(|n| _ = put(&store, "T", 0, &format!("m{n}")));
    let killed = crashed_copy(dir.path());
    drop(draining);
    // Each number a little, and a lot, too high.
    for number in 0..6 {
        for byte in [0, 4, 6] {
            let image = crashed_copy(killed.path());
            change(&image.path().join("checkpoint"), number * 8 + byte, |bytes| bytes[0] ^= 0x10);
            let store = open(image.path());
            assert_eq!(all(&store, "T", 0), numbered(0..20), "number {number}, byte {byte}");
            let next = put(&store, "T", 0, "m20");
            assert_eq!(next.queue_offset, QueueOffset(20), "number {number}, byte {byte}");
        }
    }
}

#[test]
fn a_machine_that_begins_long_ago_by_its_clock_goes_on_with_the_times_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let stored = put(&store, "T", 0, "m0");
    drop(store);
    let clock = clock::Clock::settable();
    clock.set_by(-clock.now_millis());
    let store = Store::open(StoreConfig { clock, ..small(dir.path()) }).unwrap();
    assert!(put(&store, "T", 0, "m1").store_timestamp >= stored.store_timestamp);
}

#[test]
fn one_wrong_time_on_disk_does_not_become_the_time_of_all_that_comes() {
    const YEAR: i64 = 366 * 24 * 3_600_000;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let stored = put(&store, "T", 0, "m0");
    drop(store);
    let now = || clock::Clock::default().now_millis();
    let damages: [(PathBuf, usize); 3] = [
        (log_file(dir.path(), 0), 56), // the record's store timestamp
        (dir.path().join("checkpoint"), 0),
        (dir.path().join("checkpoint"), 8),
    ];
    for (path, at) in damages {
        for wrong in [i64::MAX, stored.store_timestamp ^ 1 << 45] {
            let sound = fs::read(&path).unwrap();
            change(&path, at, |bytes| bytes[..8].copy_from_slice(&wrong.to_be_bytes()));
            let store = open(dir.path());
            let next = put(&store, "T", 0, "next");
            assert!(next.store_timestamp < now() + YEAR, "{} says {wrong}: {next:?}", path.display());
            drop(store);
            fs::write(&path, sound).unwrap();
        }
    }
}
