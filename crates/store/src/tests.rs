//! What a store promises, told as short stories.

mod keeping;

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, SystemTime};

use protocol::message::{SysFlag, java_hash, tags_code};
use protocol::record::{BatchEntry, Record};
use tempfile::TempDir;

use crate::*;

mod failing_disk;

const FILE_SIZE: u64 = 64 << 10;

fn small(root: &Path) -> StoreConfig {
    StoreConfig {
        commit_log_file_size: FILE_SIZE,
        consume_queue_file_size: 20 * 50,
        index_slots: 64,
        index_entries: 400,
        flush_interval: Duration::from_millis(20),
        ..StoreConfig::new(root)
    }
}

fn open(root: &Path) -> Arc<Store> {
    Store::open(small(root)).unwrap()
}

fn message<'a>(topic: &'a str, queue_id: u32, body: &'a [u8], properties: &'a [u8]) -> PutMessage<'a> {
    PutMessage {
        topic,
        queue_id,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1_700_000_000_000,
        born_host: "127.0.0.1:50000".parse().unwrap(),
        store_host: "10.0.0.1:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties,
    }
}

fn put(store: &Store, topic: &str, queue_id: u32, body: &str) -> Stored {
    let properties = format!("TAGS\x01TagA\x02KEYS\x01{body} both\x02UNIQ_KEY\x01id-{body}\x02");
    let stored = store.put_message(&message(topic, queue_id, body.as_bytes(), properties.as_bytes())).unwrap();
    store.write_out().unwrap();
    stored
}

fn get(store: &Store, topic: &str, queue_id: u32, from: i64) -> Got {
    store.get_message(topic, queue_id, QueueOffset(from), 32, 1 << 20, &|_| true)
}

/// Bodies of what was got.
fn bodies(got: &Got) -> Vec<String> {
    let mut bodies = Vec::new();
    for part in &got.parts {
        let bytes = part.to_bytes().unwrap();
        bodies.extend(Record::all(&bytes).map(|record| String::from_utf8_lossy(record.unwrap().body).into_owned()));
    }
    assert_eq!(bodies.len(), got.count);
    bodies
}

/// All bodies of a queue, which is intact.
fn all(store: &Store, topic: &str, queue_id: u32) -> Vec<String> {
    let mut all = Vec::new();
    let mut next = store.min_offset(topic, queue_id);
    while next < store.max_offset(topic, queue_id) {
        let got = get(store, topic, queue_id, next.0);
        assert_eq!(got.status, GetStatus::Found);
        all.extend(bodies(&got));
        next = got.next;
    }
    all
}

fn numbered(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|n| format!("m{n}")).collect()
}

/// The directory of an open store as a killed process would leave it.
fn crashed_copy(root: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_dir(root, copy.path());
    copy
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn log_file(root: &Path, base: u64) -> PathBuf {
    root.join("commitlog").join(format!("{base:020}"))
}

fn change(path: &Path, at: usize, with: impl FnOnce(&mut [u8])) {
    let mut bytes = fs::read(path).unwrap();
    with(&mut bytes[at..]);
    fs::write(path, bytes).unwrap();
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn is_pending(future: std::pin::Pin<&mut impl Future>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[test]
fn what_is_put_is_got() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(get(&store, "T", 0, 0).status, GetStatus::NoMatchedLogicQueue);
    for n in 0..40 {
        let stored = put(&store, "T", 0, &format!("m{n}"));
        assert_eq!(stored.queue_offset, QueueOffset(n));
    }
    let got = get(&store, "T", 0, 0);
    assert_eq!(bodies(&got), numbered(0..32));
    assert_eq!((got.next, got.min, got.max), (QueueOffset(32), QueueOffset(0), QueueOffset(40)));
    assert_eq!(got.parts.len(), 1, "one piece of one file");
    assert_eq!(get(&store, "T", 0, 40).status, GetStatus::OffsetOverflowOne);
    assert_eq!(get(&store, "T", 0, 41).status, GetStatus::OffsetOverflowBadly);
    store.queue_or_create("T", 1);
    assert_eq!(get(&store, "T", 1, 0).status, GetStatus::NoMessageInQueue);
    assert_eq!(store.topics(), ["T"]);
    assert_eq!(all(&store, "T", 0), numbered(0..40));
}

#[test]
fn nothing_is_readable_before_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let stored = store.put_message(&message("T", 0, b"x", b"")).unwrap();
    assert_eq!(store.max_offset("T", 0), QueueOffset(0));
    assert!(store.read(stored.at).unwrap().is_none());
    store.write_out().unwrap();
    assert_eq!(store.max_offset("T", 0), QueueOffset(1));
    assert!(store.read(stored.at).unwrap().is_some());
}

#[test]
fn limits_of_a_get_are_kept_but_one_message_comes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    (0..10).for_each(|n| _ = put(&store, "T", 0, &format!("m{n}")));
    let one = store.get_message("T", 0, QueueOffset(0), 32, 1, &|_| true);
    assert_eq!((one.count, one.next), (1, QueueOffset(1)));
    let three = store.get_message("T", 0, QueueOffset(0), 3, 1 << 20, &|_| true);
    assert_eq!((three.count, three.next), (3, QueueOffset(3)));
}

#[test]
fn tags_are_filtered_by_code_before_the_log_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for n in 0..100 {
        let properties = if n % 10 == 0 { &b"TAGS\x01rare\x02"[..] } else { b"" };
        store.put_message(&message("T", 0, format!("m{n}").as_bytes(), properties)).unwrap();
    }
    store.write_out().unwrap();
    let wanted = tags_code("rare");
    let got = store.get_message("T", 0, QueueOffset(0), 4, 1 << 20, &|code| code == wanted);
    assert_eq!(bodies(&got), ["m0", "m10", "m20", "m30"]);
    assert_eq!(got.next, QueueOffset(31));
    let none = store.get_message("T", 0, QueueOffset(0), 32, 1 << 20, &|code| code == 7);
    assert_eq!((none.status, none.next), (GetStatus::NoMatchedMessage, QueueOffset(100)));
}

/// Of a message that `numbered_in_groups` put.
fn group_of(record: &protocol::record::Record) -> Option<u32> {
    record.properties().get("group")?.parse().ok()
}

/// Messages m0, m1, … of queue 0, every n-th of group n % 10; between them messages of another queue.
fn numbered_in_groups(store: &Store, count: usize, body_len: usize) {
    for n in 0..count {
        let properties = format!("group\x01{}\x02", n % 10);
        let body = format!("{:body_len$}", format!("m{n}"));
        store.put_message(&message("T", 0, body.as_bytes(), properties.as_bytes())).unwrap();
        if n % 3 == 0 {
            store.put_message(&message("T", 1, &vec![b'x'; n % 700], b"")).unwrap();
        }
    }
    store.write_out().unwrap();
}

fn by_records<'a>(records: &'a dyn Fn(&protocol::record::Record) -> Verdict) -> Matching<'a> {
    Matching { codes: &|_| true, records }
}

#[test]
fn records_are_kept_or_dropped_by_their_properties() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    numbered_in_groups(&store, 1000, 0);
    let third = |record: &protocol::record::Record| Verdict::from(group_of(record) == Some(3));
    let got = store.get_matching("T", 0, QueueOffset(0), 4, 1 << 20, by_records(&third));
    assert_eq!(bodies(&got), ["m3", "m13", "m23", "m33"]);
    assert_eq!(got.next, QueueOffset(43), "up to the first that has no room");
    let sized = store.get_matching("T", 0, QueueOffset(4), 32, got.bytes / 2 + 10, by_records(&third));
    assert_eq!((bodies(&sized), sized.next), (vec!["m13".to_owned(), "m23".to_owned()], QueueOffset(33)));
    let one = store.get_matching("T", 0, QueueOffset(0), 32, 1, by_records(&third));
    assert_eq!((bodies(&one), one.next), (vec!["m3".to_owned()], QueueOffset(13)));
    let all = store.get_matching("T", 0, QueueOffset(0), 1000, 1 << 20, by_records(&|_| Verdict::Wanted));
    assert_eq!((all.count, all.next), (800, QueueOffset(800)));
    let end = store.get_matching("T", 0, QueueOffset(800), 1000, 1 << 20, by_records(&|_| Verdict::Wanted));
    assert_eq!((end.count, end.next), (200, QueueOffset(1000)));
    assert_eq!(
        store.get_matching("T", 0, QueueOffset(1000), 1, 1, by_records(&third)).status,
        GetStatus::OffsetOverflowOne
    );
    assert_eq!(
        store.get_matching("U", 0, QueueOffset(0), 1, 1, by_records(&third)).status,
        GetStatus::NoMatchedLogicQueue
    );
}

#[test]
fn a_rare_match_costs_no_call_more_than_its_share() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    numbered_in_groups(&store, 1000, 2000);
    let looked = std::cell::Cell::new(0);
    let none = |_: &protocol::record::Record| {
        looked.set(looked.get() + 1);
        Verdict::Unwanted
    };
    let got = store.get_matching("T", 0, QueueOffset(0), 32, 1 << 20, by_records(&none));
    assert_eq!(got.status, GetStatus::NoMatchedMessage);
    assert_eq!(got.next, QueueOffset(looked.get()));
    assert!((100..132).contains(&got.next.0), "256 KiB of records of 2 KiB: {}", got.next);
    let next = store.get_matching("T", 0, got.next, 32, 1 << 20, by_records(&none));
    assert!(next.next.0 > got.next.0 + 100);
}

#[test]
fn a_filter_that_has_enough_is_asked_again_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    numbered_in_groups(&store, 30, 0);
    let asked = std::cell::Cell::new(0);
    let few = |record: &protocol::record::Record| {
        asked.set(asked.get() + 1);
        if asked.get() > 4 { Verdict::Enough } else { Verdict::from(group_of(record) == Some(3)) }
    };
    let got = store.get_matching("T", 0, QueueOffset(0), 32, 1 << 20, by_records(&few));
    assert_eq!((bodies(&got), got.next), (vec!["m3".to_owned()], QueueOffset(4)));
    asked.set(0);
    let got = store.get_matching("T", 0, QueueOffset(4), 32, 1 << 20, by_records(&few));
    assert_eq!((got.status, got.next), (GetStatus::NoMatchedMessage, QueueOffset(8)));
    // By tags code first: what does not pass there, no record is read of.
    asked.set(0);
    let none = Matching { codes: &|_| false, records: &few };
    let got = store.get_matching("T", 0, QueueOffset(0), 32, 1 << 20, none);
    assert_eq!((got.status, got.next, asked.get()), (GetStatus::NoMatchedMessage, QueueOffset(30), 0));
}

#[test]
fn scattered_records_come_in_one_piece() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for n in 0..20 {
        (0..3).for_each(|queue_id| _ = put(&store, "T", queue_id, &format!("m{n}")));
    }
    let got = get(&store, "T", 1, 0);
    assert_eq!(bodies(&got), numbered(0..20));
    assert_eq!(got.parts.len(), 1);
}

#[test]
fn the_log_goes_on_in_the_next_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let body = "b".repeat(1000);
    for n in 0..200 {
        let stored = store.put_message(&message("T", 0, body.as_bytes(), b"")).unwrap();
        assert_eq!(stored.queue_offset, QueueOffset(n));
        assert!(stored.at.0 % FILE_SIZE as i64 + (stored.end.0 - stored.at.0) + 8 <= FILE_SIZE as i64);
    }
    store.write_out().unwrap();
    assert_eq!(all(&store, "T", 0).len(), 200);
    store.close().unwrap();
    let first = fs::read(log_file(dir.path(), 0)).unwrap();
    assert_eq!(first.len() as u64, FILE_SIZE);
    let blank = (FILE_SIZE as usize / 1092) * 1092;
    assert_eq!(
        &first[blank..blank + 8],
        [(first.len() - blank).to_be_bytes()[4..].to_vec(), vec![0xCB, 0xD4, 0x31, 0x94]].concat()
    );
    let store = open(dir.path());
    assert_eq!(all(&store, "T", 0).len(), 200);
}

#[test]
fn a_batch_lies_in_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut offset = 0;
    for _ in 0..50 {
        let mut body = Vec::new();
        for n in 0..7 {
            BatchEntry { flag: n, body: &[b'x'; 500], properties: b"TAGS\x01TagA\x02" }.encode(&mut body);
        }
        let stored = store.put_batch(&message("T", 3, &body, b"")).unwrap();
        assert_eq!(stored.queue_offset, QueueOffset(offset));
        offset += 7;
        let files: Vec<i64> = stored.at.iter().map(|at| at.0 / FILE_SIZE as i64).collect();
        assert_eq!(files, vec![files[0]; 7]);
    }
    store.write_out().unwrap();
    assert_eq!(all(&store, "T", 3).len(), 350);
    let record = store.read(CommitLogOffset(0)).unwrap().unwrap();
    assert_eq!(Record::parse(&record).unwrap().properties, b"TAGS\x01TagA\x02");
    assert!(matches!(store.put_batch(&message("T", 3, &[1, 2, 3], b"")), Err(PutError::Batch { n: 0, .. })));
    assert!(matches!(store.put_batch(&message("T", 3, b"", b"")), Err(PutError::EmptyBatch { .. })));
}

#[test]
fn what_cannot_be_stored_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(StoreConfig { max_message_size: 100, ..small(dir.path()) }).unwrap();
    for topic in ["", "..", "a/b", &"t".repeat(256)] {
        assert!(matches!(store.put_message(&message(topic, 0, b"", b"")), Err(PutError::Topic { .. })), "{topic}");
    }
    let mut batch = Vec::new();
    BatchEntry { flag: 0, body: &[0; 101], properties: b"" }.encode(&mut batch);
    assert!(matches!(store.put_batch(&message("T", 0, &batch, b"")), Err(PutError::BodyTooLarge { len: 101, .. })));
    assert!(matches!(
        store.put_message(&message("T", 0, &vec![0; 1 << 20], b"")),
        Err(PutError::RecordTooLarge { .. })
    ));
    let properties = vec![b'p'; 32768];
    assert!(matches!(store.put_message(&message("T", 0, b"", &properties)), Err(PutError::PropertiesTooLarge { .. })));
    store.close().unwrap();
    assert!(matches!(store.put_message(&message("T", 0, b"", b"")), Err(PutError::Closed)));
}

#[test]
fn a_closed_store_opens_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let store = open(dir.path());
        assert_eq!(all(&store, "T", 0), numbered(0..round * 130));
        (round * 130..(round + 1) * 130).for_each(|n| _ = put(&store, "T", 0, &format!("m{n}")));
        store.close().unwrap();
        store.close().unwrap();
        assert!(!dir.path().join("abort").exists());
    }
    let files: Vec<u64> = fs::read_dir(dir.path().join("consumequeue/T/0"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .collect();
    assert_eq!(files, vec![1000; 11], "520 entries, 50 in a file");
}

#[test]
fn a_killed_store_has_all_that_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    (0..500).for_each(|n| _ = put(&store, "T", (n % 3) as u32, &format!("m{n}")));
    let copy = crashed_copy(dir.path());
    store.put_message(&message("T", 0, b"never written", b"")).unwrap();
    drop(store);
    for root in [dir.path(), copy.path()] {
        assert!(root.join("abort").exists());
        let store = open(root);
        let expected: Vec<String> = (0..500).step_by(3).map(|n| format!("m{n}")).collect();
        assert_eq!(all(&store, "T", 0), expected);
        assert_eq!(put(&store, "T", 0, "next").queue_offset, QueueOffset(167));
        assert_eq!(store.query("T", "id-m499", 10, 0, i64::MAX).records.len(), 1);
        assert_eq!(store.query("T", "id-m0", 10, 0, i64::MAX).records.len(), 1);
        store.close().unwrap();
        assert_eq!(all(&open(root), "T", 0).len(), 168);
    }
}

#[test]
fn a_torn_tail_is_cut_wherever_it_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    // What is known to be on disk cannot have been torn.
    let store = Store::open(StoreConfig { flush_interval: Duration::from_secs(3600), ..small(dir.path()) }).unwrap();
    (0..3).for_each(|n| _ = put(&store, "T", 0, &format!("m{n}")));
    let last = put(&store, "T", 0, "last");
    let whole = crashed_copy(dir.path());
    drop(store); // which flushes
    for torn in last.at.0..last.end.0 {
        let copy = crashed_copy(whole.path());
        change(&log_file(copy.path(), 0), torn as usize, |rest| rest.fill(0));
        let store = open(copy.path());
        assert_eq!(all(&store, "T", 0), numbered(0..3), "torn at {torn}");
        assert_eq!(store.commit_log_bounds().1, last.at);
        let bytes = fs::read(log_file(copy.path(), 0)).unwrap();
        assert!(bytes[last.at.0 as usize..].iter().all(|byte| *byte == 0));
        assert_eq!(put(&store, "T", 0, "m3").queue_offset, QueueOffset(3));
        assert_eq!(all(&store, "T", 0), numbered(0..4));
    }
}

#[test]
fn an_entry_that_points_behind_the_log_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    (0..3).for_each(|n| _ = put(&store, "T", 0, &format!("m{n}")));
    let end = store.commit_log_bounds().1;
    store.close().unwrap();
    drop(store);
    change(&dir.path().join("consumequeue/T/0/00000000000000000000"), 20, |rest| {
        rest[..8].copy_from_slice(&(end.0 + 1000).to_be_bytes());
    });
    let store = open(dir.path());
    assert_eq!(all(&store, "T", 0), numbered(0..3), "it is found again in the log");
}

#[test]
fn a_damaged_message_is_refused_by_name_and_its_neighbours_stay() {
    for clean in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        (0..5).for_each(|n| _ = put(&store, "T", 0, &format!("m{n}")));
        let bad = put(&store, "T", 0, "bad");
        (6..10).for_each(|n| _ = put(&store, "T", 0, &format!("m{n}")));
        if clean {
            store.close().unwrap();
        }
        drop(store);
        // The body begins at byte 88.
        change(&log_file(dir.path(), 0), bad.at.0 as usize + 88, |rest| rest[0] ^= 1);

        let store = open(dir.path());
        assert_eq!(store.max_offset("T", 0), QueueOffset(10));
        let before = get(&store, "T", 0, 0);
        assert_eq!((bodies(&before), before.next), (numbered(0..5), QueueOffset(5)));
        let at = get(&store, "T", 0, 5);
        let GetStatus::Damaged(damage) = &at.status else { panic!("{at:?}") };
        assert_eq!((damage.topic.as_str(), damage.queue_id, damage.offset), ("T", 0, QueueOffset(5)));
        assert!(damage.to_string().contains("00000000000000000000"), "{damage}");
        assert_eq!((at.count, at.next), (0, QueueOffset(6)));
        let dropped = store.get_matching("T", 0, QueueOffset(3), 32, 1 << 20, by_records(&|_| Verdict::Unwanted));
        assert_eq!(
            (dropped.status, dropped.next),
            (at.status, QueueOffset(6)),
            "nor is it dropped in silence by a filter"
        );
        assert_eq!(bodies(&get(&store, "T", 0, 6)), numbered(6..10));
        assert!(store.read(bad.at).is_err());
        assert_eq!(put(&store, "T", 0, "m10").queue_offset, QueueOffset(10));
    }
}

#[test]
fn queues_and_index_are_made_again_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    (0..300).for_each(|n| _ = put(&store, "T", 1, &format!("m{n}")));
    put(&store, "U", 0, "other");
    store.close().unwrap();
    for gone in [vec!["consumequeue"], vec!["index"], vec!["consumequeue", "index", "checkpoint"]] {
        let copy = crashed_copy(dir.path());
        for name in gone {
            let path = copy.path().join(name);
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        let store = open(copy.path());
        assert_eq!(all(&store, "T", 1), numbered(0..300));
        assert_eq!(all(&store, "U", 0), ["other"]);
        for key in ["m0", "m150", "m299"] {
            assert_eq!(store.query("T", key, 10, 0, i64::MAX).records.len(), 1, "{key}");
        }
        store.close().unwrap();
        let same = |name: &str| fs::read(dir.path().join(name)).unwrap() == fs::read(copy.path().join(name)).unwrap();
        assert!(same("consumequeue/T/1/00000000000000000000"));
        assert!(same("consumequeue/T/1/00000000000000005000"));
    }
}

#[test]
fn in_sync_flush_nothing_is_seen_before_it_is_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(StoreConfig { flush: FlushDiskType::Sync, ..small(dir.path()) }).unwrap();
    let stored = store.put_message(&message("T", 0, b"x", b"")).unwrap();
    let mut flushed = pin!(store.flushed(stored.end));
    assert!(is_pending(flushed.as_mut()));
    assert_eq!(store.max_offset("T", 0), QueueOffset(0));
    store.write_out().unwrap();
    block_on(flushed).unwrap();
    assert_eq!(store.max_offset("T", 0), QueueOffset(1));
    for n in 0..50 {
        block_on(store.flushed(put(&store, "T", 0, &format!("m{n}")).end)).unwrap();
    }
    assert_eq!(store.max_offset("T", 0), QueueOffset(51));
    store.close().unwrap();
}

#[test]
fn who_waits_for_a_message_is_woken() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let queue = store.queue_or_create("T", 0);
    let mut second = pin!(store.arrived(&queue, QueueOffset(1)));
    assert!(is_pending(second.as_mut()));
    put(&store, "T", 0, "first");
    block_on(store.arrived(&queue, QueueOffset(0)));
    assert!(is_pending(second.as_mut()));
    let other = store.clone();
    let putter = std::thread::spawn(move || put(&other, "T", 0, "second"));
    block_on(second);
    putter.join().unwrap();
}

#[test]
fn keys_find_their_messages_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    (0..300).for_each(|n| _ = put(&store, "T", 0, &format!("m{n}")));
    let found = store.query("T", "both", 1000, 0, i64::MAX);
    assert_eq!(found.records.len(), 300, "over three index files");
    let bodies: Vec<_> = found.records.iter().map(|record| Record::parse(record).unwrap().queue_offset.0).collect();
    assert_eq!(bodies, (0..300).rev().collect::<Vec<_>>());
    assert_eq!(store.query("T", "both", 5, 0, i64::MAX).records.len(), 5);
    assert_eq!(store.query("T", "id-m7", 5, 0, i64::MAX).records.len(), 1);
    assert_eq!(store.query("T", "m7", 5, 0, 1000).records.len(), 0);
    assert_eq!(store.query("T", "TagA", 5, 0, i64::MAX).records.len(), 0, "tags are no keys");
    assert_eq!(store.query("U", "m7", 5, 0, i64::MAX).records.len(), 0);
    store.close().unwrap();
    let store = open(dir.path());
    assert_eq!(store.query("T", "both", 1000, 0, i64::MAX).records.len(), 300);
}

#[test]
fn index_files_have_apaches_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let stored = put(&store, "T", 0, "k");
    store.close().unwrap();
    let path = fs::read_dir(dir.path().join("index")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(path.file_name().unwrap().len(), 17);
    let bytes = fs::read(path).unwrap();
    assert_eq!(bytes.len(), 40 + 64 * 4 + 400 * 20);
    assert_eq!(bytes[..8], stored.store_timestamp.to_be_bytes());
    assert_eq!(bytes[36..40], 5_i32.to_be_bytes(), "four keys, the next is number 5");
    for (n, key) in ["T#id-k", "T#k", "T#both", "T#T#TagA"].into_iter().enumerate() {
        let at = 40 + 64 * 4 + (n + 1) * 20;
        let hash = java_hash(key).unsigned_abs();
        assert_eq!(bytes[at..at + 4], hash.to_be_bytes(), "{key}");
        let slot = 40 + (hash % 64) as usize * 4;
        assert_ne!(bytes[slot..slot + 4], [0; 4], "{key}");
    }
}

#[test]
fn offsets_are_found_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut times = Vec::new();
    for n in 0..60 {
        times.push(put(&store, "T", 0, &format!("m{n}")).store_timestamp);
        if n % 4 == 3 {
            std::thread::sleep(Duration::from_millis(3));
        }
    }
    let search = |time, boundary| store.search_offset("T", 0, time, boundary).0 as usize;
    for time in times[0] - 2..times[59] + 2 {
        let lower = times.iter().position(|stored| *stored >= time).unwrap_or(60);
        let upper = times.iter().rposition(|stored| *stored <= time).unwrap_or(0);
        assert_eq!((search(time, Boundary::Lower), search(time, Boundary::Upper)), (lower, upper), "{time}");
    }
    assert_eq!(store.store_timestamp_of("T", 0, QueueOffset(17)), Some(times[17]));
    assert_eq!(store.store_timestamp_of("T", 0, QueueOffset(60)), None);
}

#[test]
fn delayed_messages_are_queued_by_when_they_are_due() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut due = Vec::new();
    for (level, seconds) in [("3", 10), ("18", 7200), ("99", 7200), ("1", 1)] {
        let properties = format!("DELAY\x01{level}\x02TAGS\x01TagA\x02");
        let stored = store.put_message(&message("SCHEDULE_TOPIC_XXXX", 0, b"", properties.as_bytes())).unwrap();
        due.push(stored.store_timestamp + seconds * 1000);
    }
    store.put_message(&message("SCHEDULE_TOPIC_XXXX", 0, b"", b"TAGS\x01TagA\x02")).unwrap();
    due.push(tags_code("TagA"));
    store.close().unwrap();
    let entries = || {
        let bytes = fs::read(dir.path().join("consumequeue/SCHEDULE_TOPIC_XXXX/0/00000000000000000000")).unwrap();
        (0..5).map(|n| i64::from_be_bytes(bytes[n * 20 + 12..n * 20 + 20].try_into().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(entries(), due);
    fs::remove_dir_all(dir.path().join("consumequeue")).unwrap();
    open(dir.path()).close().unwrap();
    assert_eq!(entries(), due, "recovery derives the same");
}

#[test]
fn half_messages_are_in_the_log_but_in_no_queue() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put(&store, "T", 0, "m0");
    let half = PutMessage { sys_flag: SysFlag::TRANSACTION_PREPARED, ..message("T", 0, b"half", b"") };
    let half = store.put_message(&half).unwrap();
    assert_eq!(half.queue_offset, QueueOffset(0));
    assert_eq!(put(&store, "T", 0, "m1").queue_offset, QueueOffset(1));
    assert!(store.read(half.at).unwrap().is_some());
    assert_eq!(all(&store, "T", 0), numbered(0..2));
    let half = PutMessage { sys_flag: SysFlag::TRANSACTION_ROLLBACK, ..message("T", 0, b"half", b"") };
    store.put_message(&half).unwrap();
    store.close().unwrap();
    let end = store.commit_log_bounds().1;
    assert_eq!(open(dir.path()).commit_log_bounds().1, end, "the log does not end with the last queued message");
}

#[test]
fn expired_files_go_and_the_queue_begins_later() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let body = "b".repeat(1000);
    (0..300).for_each(|_| _ = put(&store, "T", 0, &body));
    assert_eq!(store.clean(&Clean::expired(SystemTime::now())).unwrap(), Cleaned::default());
    let later = SystemTime::now() + Duration::from_secs(73 * 3600);
    std::thread::sleep(Duration::from_millis(250));
    let cleaned = store.clean(&Clean::expired(later)).unwrap();
    assert!(cleaned.commit_log >= 8 && cleaned.consume_queue >= 4, "{cleaned:?}");
    let min = store.min_offset("T", 0);
    assert!(min > QueueOffset(150));
    let too_small = get(&store, "T", 0, 0);
    assert_eq!((too_small.status, too_small.next), (GetStatus::OffsetTooSmall, min));
    assert_eq!(all(&store, "T", 0).len() as i64, 300 - min.0);
    assert!(store.read(CommitLogOffset(0)).unwrap().is_none());
    store.close().unwrap();
    let store = open(dir.path());
    assert_eq!((store.min_offset("T", 0), store.max_offset("T", 0)), (min, QueueOffset(300)));
    drop(store);
    fs::remove_dir_all(dir.path().join("consumequeue")).unwrap();
    let store = open(dir.path());
    assert_eq!(
        (store.min_offset("T", 0), store.max_offset("T", 0)),
        (min, QueueOffset(300)),
        "rebuilt from its middle"
    );
    assert_eq!(all(&store, "T", 0).len() as i64, 300 - min.0);
}

#[test]
fn a_deleted_topic_is_gone_and_may_begin_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    (0..10).for_each(|n| _ = put(&store, "T", 0, &format!("m{n}")));
    put(&store, "U", 0, "stays");
    store.delete_topic("T").unwrap();
    assert_eq!(store.topics(), ["U"]);
    assert_eq!(get(&store, "T", 0, 0).status, GetStatus::NoMatchedLogicQueue);
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.topics(), ["U"], "also after a crash");
    assert_eq!(put(&store, "T", 0, "new").queue_offset, QueueOffset(0));
    assert_eq!(all(&store, "T", 0), ["new"]);
}

#[test]
fn a_second_opener_is_refused_and_told_by_whom() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let error = Store::open(small(dir.path())).unwrap_err();
    let OpenError::Locked { pid, .. } = &error else { panic!("{error}") };
    assert_eq!(*pid, Some(std::process::id() as i32));
    drop(store);
    open(dir.path());
}

#[test]
fn a_file_of_another_size_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put(&store, "T", 0, "m");
    store.close().unwrap();
    let error =
        Store::open(StoreConfig { commit_log_file_size: 1 << 20, ..small(dir.path()) }).unwrap_err().to_string();
    assert!(error.contains("mappedFileSizeCommitLog") && error.contains("65536"), "{error}");
    let error =
        Store::open(StoreConfig { consume_queue_file_size: 2000, ..small(dir.path()) }).unwrap_err().to_string();
    assert!(error.contains("mappedFileSizeConsumeQueue") && error.contains("consumequeue/T/0"), "{error}");
    fs::create_dir_all(dir.path().join("batchconsumequeue/BatchTopic/0")).unwrap();
    let error = Store::open(small(dir.path())).unwrap_err().to_string();
    assert!(error.contains("BatchTopic"), "{error}");
}

/// Two queues that take turns, killed before any entry of a queue was on disk. Also says where each record of queue 0 is.
fn killed_at_once() -> (TempDir, Vec<usize>) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut places = Vec::new();
    for n in 0..24 {
        let stored = put(&store, "T", n % 2, &format!("m{}", n / 2));
        if n % 2 == 0 {
            places.push(stored.at.0 as usize);
        }
    }
    let copy = crashed_copy(dir.path());
    for derived in ["consumequeue", "index"] {
        let _ = fs::remove_dir_all(copy.path().join(derived));
    }
    let _ = fs::remove_file(copy.path().join("checkpoint"));
    (copy, places)
}

/// Message `n` of queue 0 is refused with its place, and all others are served.
fn only_one_is_refused(root: &Path, n: usize, place: usize) {
    let store = open(root);
    assert_eq!(all(&store, "T", 1), numbered(0..12));
    assert_eq!((store.min_offset("T", 0).0, store.max_offset("T", 0).0), (0, 12), "{n}");
    for other in 0..12 {
        let got = get(&store, "T", 0, other);
        if other != n as i64 {
            assert_eq!(bodies(&got).first(), Some(&format!("m{other}")), "{n}");
            continue;
        }
        match got.status {
            GetStatus::Damaged(damage) => {
                assert_eq!(damage.offset.0, other);
                // A hole at the log's first byte is told from one that is no message by pointing at its second.
                assert!(damage.position == place as u64 || (place, damage.position) == (0, 1), "{n}: {damage}");
            }
            status => panic!("{n}: {status:?}"),
        }
    }
}

#[test]
fn after_a_crash_a_record_that_lies_about_its_queue_offset_hides_no_other() {
    for (n, bit) in [(0, 4), (0, 1), (3, 4), (4, 4), (5, 1), (5, 2), (8, 8), (3, 8)] {
        let (copy, places) = killed_at_once();
        change(&log_file(copy.path(), 0), places[n] + 27, |bytes| bytes[0] ^= bit);
        only_one_is_refused(copy.path(), n, places[n]);
    }
}

#[test]
fn after_a_crash_a_damaged_message_is_named_with_its_place_though_no_queue_knew_it() {
    for n in [0, 1, 7] {
        let (copy, places) = killed_at_once();
        change(&log_file(copy.path(), 0), places[n] + 88, |body| body[0] ^= 1);
        only_one_is_refused(copy.path(), n, places[n]);
    }
}

/// Bytes of a record in which no checksum notices a change, and what is changed of each.
fn lies_about_the_queue(n: usize) -> [(usize, u8); 5] {
    let queue_id = 12;
    let topic = 88 + format!("m{n}").len() + 1;
    [(queue_id + 3, 2), (queue_id + 3, 64), (queue_id, 128), (topic, 1), (topic, 4)]
}

#[test]
fn after_a_crash_a_record_that_lies_about_its_queue_is_refused_where_it_belongs_and_served_nowhere() {
    for n in [1, 4, 7, 10] {
        for (field, bit) in lies_about_the_queue(n) {
            let (copy, places) = killed_at_once();
            change(&log_file(copy.path(), 0), places[n] + field, |bytes| bytes[0] ^= bit);
            only_one_is_refused(copy.path(), n, places[n]);
            assert_eq!(open(copy.path()).topics(), ["T"]);
        }
    }
}

#[test]
fn after_a_crash_a_queue_whose_first_record_says_it_is_of_another_still_begins_with_it() {
    for (field, bit) in lies_about_the_queue(0) {
        let (copy, places) = killed_at_once();
        change(&log_file(copy.path(), 0), places[0] + field, |bytes| bytes[0] ^= bit);
        let store = open(copy.path());
        assert_eq!(store.min_offset("T", 0).0, 0);
        // Its place is not known: the other queue may as well begin with it.
        let GetStatus::Damaged(damage) = get(&store, "T", 0, 0).status else { panic!("{field} {bit}") };
        assert_eq!(damage.offset.0, 0);
        assert_eq!(bodies(&get(&store, "T", 0, 1)), numbered(1..12));
        assert_eq!(all(&store, "T", 1), numbered(0..12));
    }
}

#[test]
fn after_a_crash_a_record_that_says_it_is_of_a_shorter_queue_hides_no_message_there() {
    for follows_at_once in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        put(&store, "T", 1, "m0");
        let mut place = 0;
        for n in 0..12 {
            let stored = put(&store, "T", 0, &format!("m{n}"));
            if n == 5 {
                place = stored.at.0 as usize;
            }
            if n == if follows_at_once { 5 } else { 6 } {
                (1..4).for_each(|other| _ = put(&store, "T", 1, &format!("m{other}")));
            }
        }
        let copy = crashed_copy(dir.path());
        fs::remove_dir_all(copy.path().join("consumequeue")).unwrap();
        let _ = fs::remove_file(copy.path().join("checkpoint"));
        change(&log_file(copy.path(), 0), place + 15, |queue_id| queue_id[0] ^= 1);
        let store = open(copy.path());
        assert_eq!(all(&store, "T", 1), numbered(0..4));
        let GetStatus::Damaged(damage) = get(&store, "T", 0, 5).status else { panic!("it says it is of queue 1") };
        assert_eq!(damage.position, place as u64);
        assert_eq!(bodies(&get(&store, "T", 0, 6)), numbered(6..12));
    }
}

#[test]
fn of_a_log_file_that_becomes_unreadable_while_it_is_open_all_is_served_that_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let stored: Vec<Stored> = (0..40).map(|n| put(&store, "T", n % 2, &format!("m{}", n / 2))).collect();
    let file = fs::OpenOptions::new().write(true).open(log_file(dir.path(), 0)).unwrap();
    file.set_len(stored[21].at.0 as u64 + 50).unwrap();
    let got = get(&store, "T", 0, 0);
    assert_eq!((got.status, got.next), (GetStatus::Found, QueueOffset(11)), "many pieces, read into one");
    assert_eq!(bodies(&get(&store, "T", 0, 0)), numbered(0..11));
    assert_eq!(bodies(&get(&store, "T", 1, 3)), numbered(3..10), "one run");
    let GetStatus::Damaged(damage) = get(&store, "T", 1, 10).status else { panic!("it is not there") };
    assert_eq!((damage.offset, damage.at), (QueueOffset(10), stored[21].at));
    put(&store, "T", 1, "m20");
    assert_eq!(bodies(&get(&store, "T", 1, 20)), ["m20"]);
}

#[test]
fn the_checkpoint_follows_the_log_to_its_end_though_nothing_more_comes() {
    let dir = tempfile::tempdir().unwrap();
    // Queues are brought to disk once a second: the first time before the log is.
    let store = Store::open(StoreConfig { flush_interval: Duration::from_millis(1500), ..small(dir.path()) }).unwrap();
    let last = put(&store, "T", 0, "m0");
    let dispatched =
        || i64::from_be_bytes(fs::read(dir.path().join("checkpoint")).unwrap()[40..48].try_into().unwrap());
    let began = Instant::now();
    while dispatched() != last.end.0 {
        assert!(began.elapsed() < Duration::from_secs(30), "{} and not {}", dispatched(), last.end);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn when_the_last_message_was_stored_is_known_whatever_the_checkpoint_says() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    (0..10).for_each(|n| _ = put(&store, "T", 0, &n.to_string()));
    let last = store.last_store_timestamp();
    store.close().unwrap();
    drop(store);
    // As Apache's brokers leave it after a clean stop.
    let checkpoint = dir.path().join("checkpoint");
    let mut bytes = fs::read(&checkpoint).unwrap();
    for place in [0..8, 8..16] {
        bytes[place].copy_from_slice(&(last - 5000).to_be_bytes());
    }
    bytes[40..48].fill(0);
    fs::write(&checkpoint, bytes).unwrap();
    fs::remove_file(dir.path().join("inventory.json")).unwrap();
    assert_eq!(open(dir.path()).last_store_timestamp(), last);
}

#[test]
fn the_checkpoint_of_a_closed_store_is_the_end_of_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let last = put(&store, "T", 0, "m");
    store.close().unwrap();
    let bytes = fs::read(dir.path().join("checkpoint")).unwrap();
    assert_eq!(bytes.len(), 4096);
    assert_eq!(bytes[..8], last.store_timestamp.to_be_bytes());
    assert_eq!(bytes[8..16], last.store_timestamp.to_be_bytes());
    assert_eq!(bytes[40..48], last.end.0.to_be_bytes());
}

#[test]
fn a_consume_queue_entry_has_apaches_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let stored = put(&store, "T", 0, "m");
    store.close().unwrap();
    let bytes = fs::read(dir.path().join("consumequeue/T/0/00000000000000000000")).unwrap();
    assert_eq!(bytes[..8], [0; 8]);
    assert_eq!(bytes[8..12], ((stored.end.0 - stored.at.0) as i32).to_be_bytes());
    assert_eq!(bytes[12..20], [0, 0, 0, 0, 0, 0x27, 0xa8, 0x07]);
    assert!(bytes[20..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_message_that_cannot_be_written_is_never_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(StoreConfig { flush: FlushDiskType::Sync, ..small(dir.path()) }).unwrap();
    // Where the second file should be, there is a directory.
    fs::create_dir_all(log_file(dir.path(), FILE_SIZE)).unwrap();
    let body = vec![b'b'; 1000];
    let mut written = 0;
    let lost = loop {
        let stored = store.put_message(&message("T", 0, &body, b"")).unwrap();
        let waits = store.flushed(stored.end);
        if store.write_out().is_err() {
            break waits;
        }
        block_on(waits).unwrap();
        written += 1;
    };
    assert_eq!(written, 60);
    let error = block_on(lost).unwrap_err().to_string();
    assert!(error.contains("00000000000000065536"), "{error}");
    let refused = store.put_message(&message("T", 0, b"x", b""));
    assert!(matches!(&refused, Err(PutError::NotWriteable { cause: Failure::Write { .. } })), "{refused:?}");
    assert_eq!(all(&store, "T", 0).len(), 60, "reads go on");
    assert!(store.close().is_err());
    drop(store);
    assert!(dir.path().join("abort").exists());
    fs::remove_dir(log_file(dir.path(), FILE_SIZE)).unwrap();
    let store = open(dir.path());
    assert_eq!(all(&store, "T", 0).len(), 60);
    assert_eq!(put(&store, "T", 0, "goes on").queue_offset, QueueOffset(60));
}

#[test]
fn many_threads_get_dense_offsets_and_lose_nothing_acknowledged() {
    for flush in [FlushDiskType::Sync, FlushDiskType::Async] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreConfig { flush, ..small(dir.path()) }).unwrap();
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let store = store.clone();
                std::thread::spawn(move || {
                    let mut stored = Vec::new();
                    for n in 0..150u32 {
                        let body = format!("{thread}-{n}");
                        let put = put(&store, "T", n % 3, &body);
                        block_on(store.flushed(put.end)).unwrap();
                        let queue = store.queue("T", n % 3).unwrap();
                        block_on(store.arrived(&queue, put.queue_offset));
                        stored.push((n % 3, put.queue_offset, body));
                    }
                    stored
                })
            })
            .collect();
        let stored: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        drop(store);
        let store = Store::open(StoreConfig { flush, ..small(dir.path()) }).unwrap();
        let queues = [0, 1, 2].map(|queue_id| all(&store, "T", queue_id));
        assert_eq!(queues.each_ref().map(Vec::len), [200; 3]);
        for (queue_id, offset, body) in stored {
            assert_eq!(queues[queue_id as usize][offset.0 as usize], body);
        }
    }
}

#[test]
fn a_hole_in_the_log_moves_no_message() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let stored: Vec<Stored> = (0..600).map(|n| put(&store, "T", 0, &format!("m{n}"))).collect();
    store.close().unwrap();
    drop(store);
    let second_file = stored.iter().position(|stored| stored.at.0 == FILE_SIZE as i64).unwrap();
    // Size, magic number and queue offset: none of these messages can be recognized.
    for (n, byte) in [(10, 0), (20, 5), (second_file, 1), (second_file - 1, 4)] {
        let at = stored[n].at.0 as u64;
        let base = at / FILE_SIZE * FILE_SIZE;
        change(&log_file(dir.path(), base), (at - base) as usize + byte, |rest| rest[0] ^= 0x40);
    }
    fs::remove_dir_all(dir.path().join("consumequeue")).unwrap();
    let store = open(dir.path());
    assert_eq!(store.max_offset("T", 0), QueueOffset(600));
    let holes = [10, 20, second_file - 1, second_file];
    for n in 0..600 {
        let got = store.get_message("T", 0, QueueOffset(n as i64), 1, 1 << 20, &|_| true);
        if holes.contains(&n) {
            assert!(matches!(&got.status, GetStatus::Damaged(_)), "{n}: {got:?}");
        } else {
            assert_eq!(bodies(&got), [format!("m{n}")]);
        }
    }
    assert_eq!(put(&store, "T", 0, "m600").queue_offset, QueueOffset(600));
    store.close().unwrap();
    let store = open(dir.path());
    assert_eq!(store.max_offset("T", 0), QueueOffset(601));
}

#[test]
fn no_bytes_on_disk_make_it_panic() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    (0..400).for_each(|n| _ = put(&store, "T", (n % 2) as u32, &format!("m{n}")));
    let killed = crashed_copy(dir.path());
    store.close().unwrap();
    drop(store);
    let mut random = 7_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for round in 0..120 {
        let copy = crashed_copy(if round % 2 == 0 { dir.path() } else { killed.path() });
        let mut files = Vec::new();
        collect_files(copy.path(), &mut files);
        files.retain(|file| file.file_name().is_some_and(|name| name != "lock" && name != "abort"));
        for _ in 0..3 {
            let file = &files[next(files.len())];
            let len = fs::metadata(file).unwrap().len() as usize;
            let at = next(len);
            let count = 1 + next(40.min(len - at));
            let with = [0, 0xff, next(256) as u8][next(3)];
            change(file, at, |rest| rest[..count].fill(with));
        }
        let Ok(store) = Store::open(small(copy.path())) else { continue };
        for queue_id in 0..2 {
            let mut from = store.min_offset("T", queue_id);
            let mut calls = 0;
            while from < store.max_offset("T", queue_id) && calls < 1000 {
                let got = get(&store, "T", queue_id, from.0);
                assert!(got.next > from, "{got:?}");
                bodies(&got);
                from = got.next;
                calls += 1;
            }
        }
        store.query("T", "both", 1000, 0, i64::MAX);
        store.search_offset("T", 0, 1_700_000_000_000, Boundary::Upper);
        put(&store, "T", 0, "goes on");
        store.close().unwrap();
    }
}

fn collect_files(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect_files(&path, files) } else { files.push(path) }
    }
    files.sort();
}

#[test]
fn a_store_that_knows_times_only_is_recovered() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    (0..400).for_each(|n| _ = put(&store, "T", 0, &format!("m{n}")));
    let killed = crashed_copy(dir.path());
    store.close().unwrap();
    drop(store);
    for root in [dir.path(), killed.path()] {
        // As Apache 4.9 leaves it.
        change(&root.join("checkpoint"), 24, |rest| rest.fill(0));
        let store = open(root);
        assert_eq!(all(&store, "T", 0), numbered(0..400));
        assert_eq!(store.query("T", "both", 1000, 0, i64::MAX).records.len(), 400);
    }
}

#[test]
fn hundreds_of_queues_are_kept_together() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for n in 0..3 {
        (0..300).for_each(|queue_id| _ = put(&store, &format!("T{}", queue_id % 7), queue_id, &format!("m{n}")));
        std::thread::sleep(Duration::from_millis(150));
    }
    store.inner.sync_dispatched();
    let killed = crashed_copy(dir.path());
    store.close().unwrap();
    drop(store);
    for root in [dir.path(), killed.path()] {
        let store = open(root);
        assert_eq!(store.topics().len(), 7);
        (0..300).for_each(|queue_id| assert_eq!(all(&store, &format!("T{}", queue_id % 7), queue_id), numbered(0..3)));
    }
}
