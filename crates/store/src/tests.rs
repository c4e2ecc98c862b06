//! What a store promises, told as short stories.

mod failing_disk;
mod keeping;
mod mistrust;
mod opening;
mod reading;

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

fn collect_files(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect_files(&path, files) } else { files.push(path) }
    }
    files.sort();
}

fn by_records<'a>(records: &'a dyn Fn(&protocol::record::Record) -> Verdict) -> Matching<'a> {
    Matching { codes: &|_| true, records }
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
