//! The power fails at any moment of a run: what the drive may hold then opens, and keeps what was promised.
//!
//! A run puts messages into several queues, in batches and one by one, deletes topics and old files, saves tables, stops
//! cleanly, is killed, and goes on after power failures. Everything that it does to files is recorded, and so is when
//! each message was acknowledged. `drive` builds from the recording what the drive may hold at a moment; the store opens
//! it, and the oracle asks:
//!
//! - `SYNC_FLUSH`: is every acknowledged message there? `ASYNC_FLUSH`: is only the end of the log missing?
//! - Is every message that is there the one that was sent, at its place, in its queue, once, with no gap before it?
//! - Is every table as it was after its last save, or after the one that was under way?
//! - Does the store go on, and open a second time as it was?
//!
//! `POWER_LOSS_IMAGES` says how many (200), `POWER_LOSS_SEED` repeats a run. Its threads may meet otherwise: an image that
//! fails is therefore kept, and its path is printed.

mod drive;
mod timers;

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::record::{BatchEntry, Record};
use store::disk::{Disk, Watch};
use store::{Clean, FlushDiskType, GetStatus, PutMessage, QueueOffset, Store, StoreConfig, Stored, table};

use drive::{Drive, Moment, Random, Recorder};

const IMAGES_OF_A_RUN: usize = 50;
const TOPICS: [&str; 3] = ["Orders", "Payments", "Short"];
const QUEUES: usize = 3;
const TABLES: [&str; 2] = ["config/topics.json", "config/consumerOffset.json"];

fn config(root: &Path, flush: FlushDiskType) -> StoreConfig {
    StoreConfig {
        commit_log_file_size: 16 << 10,
        consume_queue_file_size: 20 * 40,
        index_slots: 64,
        index_entries: 120,
        flush,
        flush_interval: Duration::from_millis(15),
        ..StoreConfig::new(root)
    }
}

/// One message, and what became of it.
#[derive(Clone)]
struct Sent {
    topic: &'static str,
    queue_id: u32,
    id: String,
    body: Vec<u8>,
    properties: Vec<u8>,
    put: Moment,
    stored: Stored,
    acknowledged: Option<Moment>,
    /// A killed process took it along before it was written.
    gone: Option<Moment>,
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sent { topic, queue_id, id, body, properties, put, stored, acknowledged, gone } = self;
        let (body, properties) = (body.len(), properties.len());
        write!(f, "{id} ({topic} queue {queue_id}, {stored:?}, body {body}, properties {properties}, ")?;
        write!(f, "put {put}, acknowledged {acknowledged:?}, gone {gone:?})")
    }
}

/// What a run did, and when.
#[derive(Debug, Default)]
struct Ledger {
    sent: Vec<Sent>,
    /// Topics that were deleted, and how many messages had been sent before.
    deleted: Vec<(&'static str, Range<Moment>, usize)>,
    /// Where the log began after old files were deleted.
    cleaned: Vec<(Moment, i64)>,
    /// Contents of tables, by number.
    saved: HashMap<&'static str, Vec<(Range<Moment>, u64)>>,
    numbers: u64,
}

struct Run {
    root: PathBuf,
    flush: FlushDiskType,
    recorder: Arc<Recorder>,
    store: Option<Arc<Store>>,
    ledger: Ledger,
    random: Random,
}

impl Run {
    fn open(&mut self) {
        let disk = Disk::watched(self.recorder.clone() as Arc<dyn Watch>);
        let store = Store::open(StoreConfig { disk, ..config(&self.root, self.flush) }).unwrap();
        let end = store.commit_log_bounds().1.0;
        let now = self.recorder.moment();
        for sent in self.ledger.sent.iter_mut().filter(|sent| sent.gone.is_none() && sent.stored.end.0 > end) {
            assert_eq!(sent.acknowledged, None, "a killed process loses nothing acknowledged: {sent:?}");
            sent.gone = Some(now);
        }
        self.store = Some(store);
    }

    fn store(&self) -> Arc<Store> {
        self.store.clone().unwrap()
    }

    fn content(&mut self) -> (String, Vec<u8>, Vec<u8>) {
        self.ledger.numbers += 1;
        let id = format!("id{}", self.ledger.numbers);
        let filled = |len: usize, from: u8| (0..len).map(|n| from + (n % 23) as u8).collect::<Vec<_>>();
        let body_len = [0, 40, 300, 1200][self.random.below(4)] + self.random.below(60);
        let more_len = [0, 0, 20, 900][self.random.below(4)];
        let body = [id.as_bytes(), &filled(body_len, b'a')].concat();
        let head = format!("UNIQ_KEY\x01{id}\x02TAGS\x01Tag{}\x02more\x01", self.random.below(3));
        let properties = [head.as_bytes(), &filled(more_len, b'A'), b"\x02"].concat();
        (id, body, properties)
    }

    fn put(&mut self, batch: usize) {
        let topic = TOPICS[[0, 0, 0, 1, 1, 2][self.random.below(6)]];
        let queue_id = self.random.below(QUEUES) as u32;
        let contents: Vec<_> = (0..batch).map(|_| self.content()).collect();
        let put = self.recorder.moment();
        let store = self.store();
        let stored: Vec<Stored> = if batch == 1 {
            let (_, body, properties) = &contents[0];
            vec![store.put_message(&message(topic, queue_id, body, properties)).unwrap()]
        } else {
            let mut bytes = Vec::new();
            for (_, body, properties) in &contents {
                BatchEntry { flag: 0, body, properties }.encode(&mut bytes);
            }
            let stored = store.put_batch(&message(topic, queue_id, &bytes, b"")).unwrap();
            let ends = stored.at.iter().skip(1).copied().chain([stored.end]);
            let places = stored.at.iter().zip(ends).enumerate();
            places
                .map(|(n, (at, end))| Stored {
                    at: *at,
                    end,
                    queue_offset: QueueOffset(stored.queue_offset.0 + n as i64),
                    store_timestamp: stored.store_timestamp,
                })
                .collect()
        };
        for ((id, body, properties), stored) in contents.into_iter().zip(stored) {
            let (acknowledged, gone) = (None, None);
            self.ledger.sent.push(Sent { topic, queue_id, id, body, properties, put, stored, acknowledged, gone });
        }
    }

    /// Waits as a send does before it is answered.
    fn acknowledge(&mut self) {
        self.store().write_out().unwrap();
        let Some(end) = self.ledger.sent.iter().rev().find(|sent| sent.gone.is_none()).map(|sent| sent.stored.end)
        else {
            return;
        };
        block_on(self.store().flushed(end)).unwrap();
        let now = self.recorder.moment();
        for sent in self.ledger.sent.iter_mut().filter(|sent| sent.gone.is_none() && sent.stored.end <= end) {
            sent.acknowledged.get_or_insert(now);
        }
    }

    fn save_table(&mut self) {
        let name = TABLES[self.random.below(TABLES.len())];
        let saved = self.ledger.saved.entry(name).or_default();
        let number = saved.last().map_or(1, |(_, number)| number + 1);
        let text = format!("{{{number} {} {number}}}", "x".repeat(self.random.below(1500)));
        let disk = Disk::watched(self.recorder.clone() as Arc<dyn Watch>);
        let began = self.recorder.moment();
        table::save(&disk, &self.root.join(name), text.as_bytes()).unwrap();
        saved.push((began..self.recorder.moment(), number));
    }

    fn delete_topic(&mut self) {
        let before = self.ledger.sent.len();
        let began = self.recorder.moment();
        self.store().delete_topic("Short").unwrap();
        self.ledger.deleted.push(("Short", began..self.recorder.moment(), before));
    }

    fn delete_old_files(&mut self) {
        let began = self.recorder.moment();
        let oldest = Clean { wanted: 1, files_max: 1, ..Clean::expired(SystemTime::now()) };
        self.store().clean(&oldest).unwrap();
        self.ledger.cleaned.push((began, self.store().commit_log_bounds().0.0));
    }

    fn stop(&mut self, clean: bool) {
        let store = self.store.take().unwrap();
        if clean {
            store.close().unwrap();
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..58 => self.put(1),
            58..66 => {
                let batch = 2 + self.random.below(3);
                self.put(batch);
            }
            66..74 => self.store().write_out().unwrap(),
            74..88 => self.acknowledge(),
            88..92 => self.save_table(),
            92..94 => self.delete_topic(),
            94..96 => self.delete_old_files(),
            96..98 => thread::sleep(Duration::from_millis(25)), // what is done behind has its turn
            n => {
                self.stop(n == 98);
                self.open();
                let oracle = Oracle { ledger: &self.ledger, flush: self.flush, moment: self.recorder.moment() };
                oracle.judge(&self.store());
            }
        }
    }
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

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn number_in(bytes: &[u8]) -> Result<u64, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8")?;
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).ok_or("half")?;
    let (first, last) = (inner.split(' ').next().unwrap_or(""), inner.split(' ').next_back().unwrap_or(""));
    if first == last { first.parse().map_err(|_| "no number") } else { Err("torn") }
}

/// What is true of a drive whose power failed at a moment.
struct Oracle<'a> {
    ledger: &'a Ledger,
    flush: FlushDiskType,
    moment: Moment,
}

impl Oracle<'_> {
    /// Messages whose records the log may hold.
    fn sent(&self) -> impl Iterator<Item = (usize, &Sent)> {
        let was_put = |sent: &Sent| sent.put <= self.moment && sent.gone.is_none_or(|gone| gone > self.moment);
        self.ledger.sent.iter().enumerate().filter(move |(_, sent)| was_put(sent))
    }

    /// Where the log begins if every deletion of old files that had begun was ended.
    fn cleaned(&self) -> i64 {
        let cleaned = self.ledger.cleaned.iter().filter(|(began, _)| *began < self.moment);
        cleaned.map(|(_, min)| *min).max().unwrap_or(0)
    }

    fn judge(&self, store: &Store) {
        let (min, end) = store.commit_log_bounds();
        assert!(min.0 <= self.cleaned(), "the log begins at {min}, what was deleted ends at {}", self.cleaned());
        for (n, sent) in self.sent().filter(|(_, sent)| sent.stored.at >= min) {
            if sent.stored.end > end {
                assert!(sent.stored.at >= end, "the log ends at {end}, in the middle of {sent:?}");
                let promised = self.flush == FlushDiskType::Sync && sent.acknowledged.is_some_and(|m| m <= self.moment);
                assert!(!promised, "acknowledged, but the log ends at {end}: {sent:?}");
                continue;
            }
            match store.read(sent.stored.at) {
                Ok(Some(bytes)) => assert_same(&Record::parse(&bytes).unwrap(), sent),
                Ok(None) if self.deleted(n, sent).1 => {} // with its topic
                other => panic!("the log ends at {end}, but has no {sent:?}: {other:?}"),
            }
        }
        for topic in TOPICS {
            (0..QUEUES as u32).for_each(|queue_id| self.judge_queue(store, topic, queue_id));
        }
        self.judge_index(store);
    }

    /// Was `sent` deleted with its topic: surely, or perhaps?
    fn deleted(&self, n: usize, sent: &Sent) -> (bool, bool) {
        let deletions = self.ledger.deleted.iter().filter(|(topic, _, before)| *topic == sent.topic && n < *before);
        deletions.fold((false, false), |(surely, perhaps), (_, when, _)| {
            (surely || when.end <= self.moment, perhaps || when.start < self.moment)
        })
    }

    fn judge_queue(&self, store: &Store, topic: &str, queue_id: u32) {
        let (min, end) = store.commit_log_bounds();
        let of_queue = |sent: &Sent| sent.topic == topic && sent.queue_id == queue_id;
        let there = |sent: &Sent| sent.stored.at >= min && sent.stored.end <= end;
        let mut expected: BTreeMap<i64, &Sent> = BTreeMap::new();
        let mut unsure = false;
        for (n, sent) in self.sent().filter(|(_, sent)| of_queue(sent) && there(sent)) {
            match self.deleted(n, sent) {
                (true, _) => {}
                (false, true) => unsure = true,
                (false, false) => {
                    let double = expected.insert(sent.stored.queue_offset.0, sent);
                    assert!(double.is_none(), "two messages at one offset: {sent:?} {double:?}");
                }
            }
        }
        if unsure {
            return; // the topic was being deleted: it may be gone, or there, or in part
        }
        let got = all(store, topic, queue_id);
        // What is older may have lost its place in queue or index, but not yet its record.
        let first = expected.values().find(|sent| sent.stored.at.0 >= self.cleaned());
        let first = first.map_or(i64::MAX, |sent| sent.stored.queue_offset.0);
        let older: Vec<i64> = expected.keys().copied().take_while(|offset| *offset < first).collect();
        let got_older: Vec<i64> = got.iter().map(|(offset, ..)| *offset).take_while(|offset| *offset < first).collect();
        assert!(older.ends_with(&got_older), "{topic} queue {queue_id}: {got_older:?} of {older:?}");
        expected.retain(|offset, _| *offset >= first || got_older.contains(offset));
        let offsets = |list: Vec<i64>| format!("{list:?}");
        assert_eq!(
            offsets(got.iter().map(|(offset, ..)| *offset).collect()),
            offsets(expected.keys().copied().collect()),
            "offsets of {topic} queue {queue_id}; the log is {min} to {end}"
        );
        for ((_, bytes), sent) in got.iter().zip(expected.values()) {
            assert_same(&Record::parse(bytes).unwrap(), sent);
        }
        if let Some((last, _)) = expected.last_key_value() {
            assert_eq!(store.max_offset(topic, queue_id), QueueOffset(last + 1), "end of {topic} queue {queue_id}");
        }
    }

    fn judge_index(&self, store: &Store) {
        let (min, end) = store.commit_log_bounds();
        let min = min.0.max(self.cleaned());
        let is_there = |sent: &Sent| sent.stored.at.0 >= min && sent.stored.end <= end;
        let there = self.sent().filter(|(n, sent)| is_there(sent) && !self.deleted(*n, sent).1);
        let there: Vec<&Sent> = there.map(|(_, sent)| sent).collect();
        for sent in there.iter().step_by(7).chain(there.iter().rev().take(3)) {
            let found = store.query(sent.topic, &sent.id, 10, 0, i64::MAX).records;
            assert_eq!(found.len(), 1, "by key {sent:?}");
            assert_same(&Record::parse(&found[0]).unwrap(), sent);
        }
    }

    fn judge_tables(&self, root: &Path) {
        for (name, saved) in &self.ledger.saved {
            let loaded = table::load(&Disk::default(), &root.join(name), number_in).unwrap().map(|loaded| loaded.table);
            let done = saved.iter().filter(|(when, _)| when.end <= self.moment).map(|(_, number)| *number).next_back();
            let begun =
                saved.iter().filter(|(when, _)| when.start < self.moment).map(|(_, number)| *number).next_back();
            assert!(loaded == done || loaded == begun, "{name} is {loaded:?}, saved was {done:?} or {begun:?}");
        }
    }
}

fn assert_same(record: &Record<'_>, sent: &Sent) {
    assert_eq!((record.topic, record.queue_id as u32), (sent.topic, sent.queue_id), "{}", sent.id);
    assert_eq!(record.queue_offset, sent.stored.queue_offset, "{}", sent.id);
    assert!(
        record.body == sent.body,
        "{sent:?} has the body of {}",
        String::from_utf8_lossy(&record.body[..8.min(record.body.len())])
    );
    assert_eq!(record.properties, sent.properties, "properties of {}", sent.id);
    assert_eq!(record.store_timestamp, sent.stored.store_timestamp, "{}", sent.id);
}

/// All records of a queue with their offsets.
fn all(store: &Store, topic: &str, queue_id: u32) -> Vec<(i64, Vec<u8>)> {
    let mut all = Vec::new();
    let mut next = store.min_offset(topic, queue_id);
    while next < store.max_offset(topic, queue_id) {
        let got = store.get_message(topic, queue_id, next, 32, 1 << 20, &|_| true);
        assert_eq!(got.status, GetStatus::Found, "{topic} queue {queue_id} at {next}");
        for part in &got.parts {
            let bytes = part.to_bytes().unwrap();
            for record in Record::all(&bytes) {
                let record = record.unwrap();
                all.push((record.queue_offset.0, record.bytes.to_vec()));
            }
        }
        next = got.next;
    }
    all
}

/// Opens what the drive holds, judges it, goes on, and opens it again: after a stop, or after being killed.
fn check(root: &Path, oracle: &Oracle<'_>, random: &mut Random) {
    oracle.judge_tables(root);
    let store = Store::open(config(root, oracle.flush)).unwrap();
    oracle.judge(&store);
    let end = store.commit_log_bounds().1;
    let next = store.max_offset("Orders", 0);
    let clean = random.below(2) == 0;
    if random.below(2) == 0 {
        let put = store.put_message(&message("Orders", 0, b"goes on", b"")).unwrap();
        assert_eq!((put.queue_offset, put.at >= end), (next, true));
        store.write_out().unwrap();
        block_on(store.flushed(put.end)).unwrap();
        if clean {
            store.close().unwrap();
        }
        drop(store);
        let store = Store::open(config(root, oracle.flush)).unwrap();
        let got = store.get_message("Orders", 0, next, 32, 1 << 20, &|_| true);
        assert_eq!((got.status, got.next), (GetStatus::Found, QueueOffset(next.0 + 1)));
        return;
    }
    if clean {
        store.close().unwrap();
    }
    drop(store);
    let store = Store::open(config(root, oracle.flush)).unwrap();
    assert_eq!(store.commit_log_bounds().1, end, "opened twice");
    oracle.judge(&store);
}

fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Records one run and lets the power fail `images` times.
fn run(seed: u64, images: usize) {
    let mut random = Random::new(seed);
    let flush = [FlushDiskType::Sync, FlushDiskType::Async][seed as usize % 2];
    let dir = scratch();
    let root = dir.path().join("store");
    std::fs::create_dir(&root).unwrap();
    let mut drive = Drive::of(&root);
    let recorder = Recorder::new(&root);
    let ledger = Ledger::default();
    let mut run = Run { root, flush, recorder: recorder.clone(), store: None, ledger, random: random.clone() };
    run.open();
    (0..220).for_each(|_| run.step());
    let last = run.recorder.moment();
    run.stop(true);

    let events = recorder.events();
    let mut moments: Vec<Moment> = (0..images).map(|_| random.below(last) + 1).collect();
    moments.sort_unstable();
    for (n, moment) in moments.into_iter().enumerate() {
        drive.play(&events, moment);
        let image = dir.path().join(format!("image-{n}"));
        drive.fail(&image, &mut random);
        let as_found = dir.path().join("as-found");
        copy(&image, &as_found);
        let oracle = Oracle { ledger: &run.ledger, flush, moment };
        let judged = catch_unwind(AssertUnwindSafe(|| check(&image, &oracle, &mut random)));
        if let Err(panic) = judged {
            let kept = env::temp_dir().join(format!("power-loss-{seed}-{n}"));
            let _ = std::fs::remove_dir_all(&kept);
            copy(&as_found, &kept);
            std::fs::write(kept.join("recording.txt"), drive::list(&events[..moment])).unwrap();
            eprintln!("POWER_LOSS_SEED={seed}, image {n} at moment {moment}, {flush:?}: kept as {}", kept.display());
            resume_unwind(panic);
        }
        std::fs::remove_dir_all(&image).unwrap();
        std::fs::remove_dir_all(&as_found).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn number_from(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is `{text}`, it must be a number")))
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_fails() {
    if let Some(seed) = number_from("POWER_LOSS_SEED") {
        return run(seed, number_from("POWER_LOSS_IMAGES").map_or(IMAGES_OF_A_RUN, |images| images as usize));
    }
    let images = number_from("POWER_LOSS_IMAGES").unwrap_or(200) as usize;
    let first = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64) & !1;
    println!("POWER_LOSS_SEED={first} and those behind it");
    let runs = images.div_ceil(IMAGES_OF_A_RUN) as u64;
    let threads: Vec<_> = (0..2)
        .map(|thread| thread::spawn(move || (thread..runs).step_by(2).for_each(|n| run(first + n, IMAGES_OF_A_RUN))))
        .collect();
    let failed: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().err()).collect();
    if let Some(panic) = failed.into_iter().next() {
        resume_unwind(panic);
    }
}
