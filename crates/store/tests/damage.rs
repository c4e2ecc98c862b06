//! Every file of a store, damaged in every way, after a clean stop and after a kill: what is left is served.
//!
//! What is derived (consume queues, index, checkpoint) is made again, so nothing is missing. Of what is truth (the log)
//! all is served but what the damage hit, and that is refused by its name: never passed over, never served otherwise than
//! it was sent. Whatever was damaged, the store opens, takes messages behind the last, and opens again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::record::Record;
use store::inspect::{Directory, Plan};
use store::{
    Boundary, Clean, CommitLogOffset, GetStatus, Matching, OpenError, PutMessage, QueueOffset, Retention, Store,
    StoreConfig, Stored, Verdict,
};
use tempfile::TempDir;

const LOG_FILE: u64 = 16 << 10;
const QUEUE_FILE: u64 = 20 * 40;
const TOPICS: [&str; 2] = ["Orders", "Payments"];

fn config(root: &Path) -> StoreConfig {
    StoreConfig {
        commit_log_file_size: LOG_FILE,
        consume_queue_file_size: QUEUE_FILE,
        index_slots: 64,
        index_entries: 200,
        flush_interval: Duration::from_millis(5),
        ..StoreConfig::new(root)
    }
}

fn open(root: &Path) -> Result<Arc<Store>, OpenError> {
    Store::open(config(root))
}

#[derive(Clone, Debug)]
struct Sent {
    topic: &'static str,
    queue_id: u32,
    body: String,
    stored: Stored,
}

fn put(store: &Store, topic: &'static str, queue_id: u32, body: &str) -> Stored {
    let properties = format!("UNIQ_KEY\x01id-{body}\x02TAGS\x01TagA\x02more\x01{}\x02", "p".repeat(body.len() % 90));
    let text = format!("{body}{}", "b".repeat(body.len() * 37 % 200));
    let stored = store.put_message(&PutMessage {
        topic,
        queue_id,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1_700_000_000_000,
        born_host: "127.0.0.1:50000".parse().unwrap(),
        store_host: "10.0.0.1:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: text.as_bytes(),
        properties: properties.as_bytes(),
    });
    store.write_out().unwrap();
    stored.unwrap()
}

/// In memory, if the machine has such a place: hundreds of stores are opened.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// A store of several log files, queue files and index files; the same messages in each.
struct Made {
    dir: TempDir,
    /// The same at a third of its messages: where older copies of files come from.
    older: TempDir,
    sent: Vec<Sent>,
}

fn make(clean: bool) -> Made {
    let dir = scratch();
    let older = scratch();
    let mut sent = Vec::new();
    let mut store = open(dir.path()).unwrap();
    for n in 0..360 {
        if n == 120 || n == 350 {
            store.close().unwrap();
            if n == 120 {
                copy(dir.path(), older.path());
            }
            store = open(dir.path()).unwrap();
        }
        let (topic, queue_id) = (TOPICS[n % 2], (n / 2 % 2) as u32);
        let body = format!("{n:04}-{}", "x".repeat(n % 17));
        let stored = put(&store, topic, queue_id, &body);
        sent.push(Sent { topic, queue_id, body, stored });
    }
    // Everything is on disk, and the checkpoint says so: a deleted topic waits for that.
    put(&store, "Gone", 0, "gone");
    store.delete_topic("Gone").unwrap();
    if clean {
        store.close().unwrap();
    }
    drop(store);
    assert_eq!(dir.path().join("abort").exists(), !clean);
    Made { dir, older, sent }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            _ = fs::copy(entry.path(), target).unwrap()
        }
    }
}

fn files(root: &Path, under: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join(under)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if path.is_dir() { found.extend(files(root, &name)) } else { found.push(PathBuf::from(name)) }
    }
    found.sort();
    found
}

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    BitFlipped(usize),
    Zeroed(usize, usize),
    Cut(usize),
    Emptied,
    Lengthened,
    Deleted,
    CopiedBeside(&'static str),
    CopiedAsNext,
    Older,
}

/// In per mille of a file's length: where most of its bytes are.
const DAMAGES: [Damage; 16] = [
    Damage::BitFlipped(1),
    Damage::BitFlipped(30),
    Damage::BitFlipped(200),
    Damage::BitFlipped(430),
    Damage::BitFlipped(700),
    Damage::Zeroed(0, 40),
    Damage::Zeroed(100, 60),
    Damage::Zeroed(300, 300),
    Damage::Cut(100),
    Damage::Cut(615),
    Damage::Emptied,
    Damage::Lengthened,
    Damage::Deleted,
    Damage::CopiedBeside(" (copy)"),
    Damage::CopiedAsNext,
    Damage::Older,
];

impl Damage {
    /// Does it to a file. False: it has no such damage.
    fn strike(self, root: &Path, older: &Path, file: &Path) -> bool {
        let path = root.join(file);
        let mut bytes = fs::read(&path).unwrap();
        let len = bytes.len();
        match self {
            Damage::BitFlipped(at) => bytes[len * at / 1000] ^= 0x10,
            Damage::Zeroed(at, count) => bytes[len * at / 1000..len * (at + count) / 1000].fill(0),
            Damage::Cut(at) => bytes.truncate((len * at / 1000) | 1),
            Damage::Emptied => bytes.clear(),
            Damage::Lengthened => bytes.extend_from_slice(&[0x5A; 333]),
            Damage::Deleted => return fs::remove_file(&path).is_ok(),
            Damage::CopiedBeside(suffix) => {
                return fs::copy(&path, format!("{}{suffix}", path.display())).is_ok();
            }
            Damage::CopiedAsNext => {
                let name = file.file_name().unwrap().to_str().unwrap();
                let Ok(number) = name.parse::<u64>() else { return false };
                let mut next = number + 1;
                let width = name.len();
                let mut free = path.with_file_name(format!("{next:0width$}"));
                if width == 20 {
                    next = number + len as u64;
                    free = path.with_file_name(format!("{next:0width$}"));
                    while free.exists() {
                        next += len as u64;
                        free = path.with_file_name(format!("{next:0width$}"));
                    }
                }
                return fs::copy(&path, free).is_ok();
            }
            Damage::Older => match fs::read(older.join(file)) {
                Ok(old) if old != bytes => bytes = old,
                _ => return false,
            },
        }
        OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        true
    }
}

#[derive(Debug, Default)]
struct Outcome {
    served: usize,
    refused: usize,
    expired: usize,
    /// The first refusal.
    named: Option<String>,
}

/// Every message is served as it was sent, or refused by its name.
fn judge(store: &Store, sent: &[Sent], what: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let mut queues: BTreeMap<(&str, u32), Vec<&Sent>> = BTreeMap::new();
    for sent in sent {
        queues.entry((sent.topic, sent.queue_id)).or_default().push(sent);
    }
    for ((topic, queue_id), messages) in queues {
        // An oldest file that is gone looks as if its time had been over.
        let min = store.min_offset(topic, queue_id).0;
        assert!(min == 0 || store.commit_log_bounds().0.0 > 0, "{what}: {topic} queue {queue_id} begins at {min}");
        outcome.expired += min as usize;
        let max = store.max_offset(topic, queue_id).0;
        assert_eq!(max, messages.len() as i64, "{what}: {topic} queue {queue_id}");
        let mut next = min;
        while next < max {
            let got = store.get_message(topic, queue_id, QueueOffset(next), 7, 1 << 20, &|_| true);
            match &got.status {
                GetStatus::Found => {}
                GetStatus::Damaged(damage) => {
                    let named = (damage.topic.as_str(), damage.queue_id, damage.offset.0);
                    assert_eq!(named, (topic, queue_id, next), "{what}: {damage}");
                    assert_eq!(got.next.0, next + 1, "{what}");
                    outcome.refused += 1;
                    outcome.named.get_or_insert(damage.to_string());
                }
                other => panic!("{what}: {topic} queue {queue_id} at {next}: {other:?}"),
            }
            for part in &got.parts {
                let bytes = part.to_bytes().unwrap();
                for record in Record::all(&bytes) {
                    let record = record.unwrap();
                    let sent = messages[next as usize];
                    assert_eq!(record.queue_offset.0, next, "{what}: {topic} queue {queue_id}");
                    assert!(record.body.starts_with(sent.body.as_bytes()), "{what}: {sent:?}");
                    assert_eq!(record.commit_log_offset, sent.stored.at, "{what}");
                    outcome.served += 1;
                    next += 1;
                }
            }
            assert!(next <= got.next.0, "{what}");
            next = got.next.0;
        }
    }
    for sent in sent.iter().step_by(11) {
        for record in store.query(sent.topic, &format!("id-{}", sent.body), 10, 0, i64::MAX).records {
            let record = Record::parse(&record).unwrap();
            assert!(record.body.starts_with(sent.body.as_bytes()), "{what}: a wrong answer for {sent:?}");
        }
    }
    outcome
}

/// How many messages the index finds.
fn found_by_key(store: &Store, sent: &[Sent]) -> usize {
    let found =
        |sent: &&Sent| store.query(sent.topic, &format!("id-{}", sent.body), 10, 0, i64::MAX).records.len() == 1;
    sent.iter().filter(found).count()
}

/// Strikes all files under `under` in all ways and judges what is left.
fn matrix(under: &str, check: impl Fn(&Path, &Damage, &Outcome, usize, &str)) {
    for clean in [true, false] {
        let made = make(clean);
        let files = files(made.dir.path(), under);
        // The first, one in the middle, the newest.
        let chosen = BTreeSet::from([0, files.len() / 2, files.len() - 1]);
        for file in chosen.into_iter().map(|n| &files[n]) {
            for damage in DAMAGES {
                let image = scratch();
                copy(made.dir.path(), image.path());
                if !damage.strike(image.path(), made.older.path(), file) {
                    continue;
                }
                let what =
                    format!("{} {damage:?}, after {}", file.display(), if clean { "a clean stop" } else { "a kill" });
                let store = open(image.path()).unwrap_or_else(|error| panic!("{what}: {error}"));
                let outcome = judge(&store, &made.sent, &what);
                let found = found_by_key(&store, &made.sent);
                check(file, &damage, &outcome, found, &what);
                // It goes on, and opens as it was.
                let next = put(&store, "Orders", 0, "goes on").queue_offset;
                assert_eq!(next, QueueOffset(90), "{what}");
                store.close().unwrap();
                drop(store);
                let store = open(image.path()).unwrap_or_else(|error| panic!("{what}, opened again: {error}"));
                let mut sent = made.sent.clone();
                let at = store.get_message("Orders", 0, next, 1, 1 << 20, &|_| true);
                let stored = Stored { queue_offset: next, ..made.sent[0].stored };
                assert_eq!((at.status, at.count), (GetStatus::Found, 1), "{what}, opened again");
                let record = at.parts[0].to_bytes().unwrap();
                let stored = Stored { at: Record::parse(&record).unwrap().commit_log_offset, ..stored };
                sent.push(Sent { topic: "Orders", queue_id: 0, body: "goes on".into(), stored });
                let again = judge(&store, &sent, &format!("{what}, opened again"));
                assert!(again.refused <= outcome.refused, "{what}, opened again");
            }
        }
    }
}

#[test]
fn a_damaged_log_serves_all_but_what_was_hit() {
    matrix("commitlog", |file, damage, outcome, found, what| {
        let all = outcome.served + outcome.refused;
        assert_eq!(all + outcome.expired, 360, "{what}");
        let oldest_deleted = *damage == Damage::Deleted && file.ends_with("00000000000000000000");
        assert_eq!(outcome.expired > 0, oldest_deleted, "{what}: {outcome:?}");
        let in_file = LOG_FILE as usize / 160;
        let hit = match damage {
            Damage::BitFlipped(_) => 1,
            Damage::Lengthened | Damage::CopiedBeside(_) | Damage::CopiedAsNext => 0,
            _ => in_file,
        };
        assert!(outcome.refused <= hit, "{what}: {outcome:?}");
        assert!(found >= outcome.served.min(all - hit), "{what}: {found} are found by key");
    });
}

#[test]
fn damaged_queues_are_made_again() {
    matrix("consumequeue/Orders", |_, _, outcome, found, what| {
        assert_eq!((outcome.served, outcome.refused, found), (360, 0, 360), "{what}: {outcome:?}");
    });
}

#[test]
fn a_damaged_index_gives_no_wrong_answer_and_is_made_again() {
    matrix("index", |_, damage, outcome, found, what| {
        assert_eq!((outcome.served, outcome.refused), (360, 0), "{what}");
        // A flipped or zeroed chain in the middle of a file shows when it is asked for.
        if !matches!(damage, Damage::BitFlipped(_) | Damage::Zeroed(..)) {
            assert_eq!(found, 360, "{what}");
        }
    });
}

#[test]
fn the_small_files_may_be_damaged_too() {
    for clean in [true, false] {
        let made = make(clean);
        for file in ["checkpoint", "abort", "lock", "inventory.json"] {
            for damage in DAMAGES {
                let (image, file) = (scratch(), Path::new(file));
                copy(made.dir.path(), image.path());
                let is_there =
                    image.path().join(file).exists() && fs::metadata(image.path().join(file)).unwrap().len() > 0;
                if !is_there || !damage.strike(image.path(), made.older.path(), file) {
                    continue;
                }
                let what = format!("{} {damage:?}, clean {clean}", file.display());
                let store = open(image.path()).unwrap_or_else(|error| panic!("{what}: {error}"));
                let outcome = judge(&store, &made.sent, &what);
                assert_eq!((outcome.served, outcome.refused), (360, 0), "{what}");
                assert_eq!(found_by_key(&store, &made.sent), 360, "{what}");
                assert_eq!(put(&store, "Orders", 0, "goes on").queue_offset, QueueOffset(90), "{what}");
                store.close().unwrap();
            }
        }
    }
}

/// Fields of a record that no checksum covers and no other file knows, by name and first and last byte.
const UNCOVERED: [(&str, usize, usize); 8] = [
    ("flag", 16, 19),
    ("system flag", 36, 39),
    ("born timestamp", 40, 47),
    ("born host", 48, 55),
    ("store timestamp", 56, 63),
    ("store host", 64, 71),
    ("reconsume times", 72, 75),
    ("prepared transaction offset", 76, 83),
];

#[test]
fn a_flipped_bit_anywhere_in_a_record_is_noticed_but_in_the_fields_that_nothing_covers() {
    let dir = scratch();
    let store = open(dir.path()).unwrap();
    let stored: Vec<Stored> = (0..3).map(|n| put(&store, "Orders", 0, &format!("{n}-flip"))).collect();
    store.close().unwrap();
    drop(store);
    let (start, end) = (stored[1].at.0 as usize, stored[1].end.0 as usize);
    let log = Path::new("commitlog/00000000000000000000");
    let bytes = fs::read(dir.path().join(log)).unwrap();
    let record = Record::parse(&bytes[start..end]).unwrap();
    let properties = end - start - record.properties.len();
    let tags = properties + record.properties.windows(4).position(|name| name == b"TAGS").unwrap();
    let covered_properties = tags..tags + "TAGS\u{1}TagA\u{2}".len();

    let mut served = Vec::new();
    for at in 0..end - start {
        let mut flipped = bytes.clone();
        flipped[start + at] ^= 1;
        fs::write(dir.path().join(log), flipped).unwrap();
        let store = open(dir.path()).unwrap();
        let got = store.get_message("Orders", 0, QueueOffset(1), 1, 1 << 20, &|_| true);
        match got.status {
            GetStatus::Found => served.push(at),
            GetStatus::Damaged(damage) => {
                assert_eq!((damage.offset.0, damage.position), (1, start as u64), "byte {at}")
            }
            other => panic!("byte {at}: {other:?}"),
        }
        let neighbour = store.get_message("Orders", 0, QueueOffset(2), 1, 1 << 20, &|_| true);
        assert_eq!((neighbour.status, store.max_offset("Orders", 0)), (GetStatus::Found, QueueOffset(3)), "byte {at}");
        store.close().unwrap();
    }
    for at in served {
        let field = UNCOVERED.iter().any(|(_, first, last)| (*first..=*last).contains(&at));
        let property = at >= properties && !covered_properties.contains(&at);
        assert!(field || property, "byte {at} of the record is flipped, and it is served");
    }
}

#[test]
fn a_damaged_first_message_of_a_store_is_refused_by_name_and_all_behind_it_is_served() {
    for clean in [true, false] {
        let made = make(clean);
        // Its size, magic number, body, queue, queue offset, place, and all of it.
        for at in [3..4, 7..8, 90..91, 15..16, 27..28, 35..36, 0..88, 0..200] {
            let image = scratch();
            copy(made.dir.path(), image.path());
            let log = image.path().join("commitlog/00000000000000000000");
            let mut bytes = fs::read(&log).unwrap();
            bytes[at.clone()].iter_mut().for_each(|byte| *byte ^= 0x21);
            fs::write(&log, bytes).unwrap();
            let what = format!("bytes {at:?}, clean {clean}");
            let store = open(image.path()).unwrap_or_else(|error| panic!("{what}: {error}"));
            let outcome = judge(&store, &made.sent, &what);
            let hit = if at.end > 190 { 1..=2 } else { 1..=1 };
            assert!(hit.contains(&outcome.refused), "{what}: {outcome:?}");
            assert_eq!(outcome.served + outcome.refused, 360, "{what}: {outcome:?}");
            let named = outcome.named.unwrap();
            assert!(
                named.contains("message 0 of topic `Orders` queue 0") && named.contains("byte 0"),
                "{what}: {named}"
            );
            store.close().unwrap();
        }
    }
}

/// As a broker of Apache's leaves its directory: without what is ours alone.
fn as_apache_left_it(root: &Path) {
    for ours in ["inventory.json", "config/deletedTopics.json", "config/deletedTopics.json.bak", "config/clock.json"] {
        let _ = fs::remove_file(root.join(ours));
    }
    let checkpoint = root.join("checkpoint");
    let mut bytes = fs::read(&checkpoint).unwrap();
    bytes[24..].fill(0);
    fs::write(&checkpoint, bytes).unwrap();
}

#[test]
fn of_a_topic_that_was_deleted_and_made_again_in_a_killed_store_of_apaches_the_last_life_is_served() {
    for (before, after) in [(9, 4), (4, 9), (3, 1), (1, 3), (2, 2)] {
        for lost in [None, Some("index"), Some("checkpoint")] {
            let dir = scratch();
            let store = open(dir.path()).unwrap();
            for n in 0..before {
                put(&store, "Orders", 0, &format!("old-{n}"));
                put(&store, "Payments", 0, &format!("before-{n}"));
            }
            store.delete_topic("Orders").unwrap();
            for n in 0..after {
                put(&store, "Orders", 0, &format!("new-{n}"));
                put(&store, "Payments", 0, &format!("after-{n}"));
            }
            store.close().unwrap();
            drop(store);
            as_apache_left_it(dir.path());
            fs::write(dir.path().join("abort"), "").unwrap();
            if let Some(name) = lost {
                let path = dir.path().join(name);
                if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
            }
            let what = format!("{before} messages, then {after}, without {lost:?}");
            for opened in 0..2 {
                let store = open(dir.path()).unwrap();
                let bodies = |topic: &str| -> Vec<String> {
                    let got = store.get_message(topic, 0, QueueOffset(0), 32, 1 << 20, &|_| true);
                    let bytes: Vec<u8> = got.parts.iter().flat_map(|part| part.to_bytes().unwrap().to_vec()).collect();
                    let body =
                        |record: Record<'_>| String::from_utf8_lossy(record.body).trim_end_matches('b').to_owned();
                    Record::all(&bytes).map(|record| body(record.unwrap())).collect()
                };
                let expected: Vec<String> = (0..after).map(|n| format!("new-{n}")).collect();
                assert_eq!(bodies("Orders"), expected, "{what}, opened {opened}");
                assert_eq!(store.max_offset("Orders", 0), QueueOffset(after), "{what}, opened {opened}");
                assert_eq!(bodies("Payments").len() as i64, before + after, "{what}, opened {opened}");
                store.close().unwrap();
            }
        }
    }
}

#[test]
fn what_changes_in_a_file_under_a_running_store_is_refused_by_name_and_all_around_it_is_served() {
    let dir = scratch();
    let store = Store::open(StoreConfig { commit_log_file_size: 1 << 20, ..config(dir.path()) }).unwrap();
    // Short ones, and one so long that it is sent from its file.
    let bodies: Vec<String> = (0..9).map(|n| if n == 6 { "x".repeat(30_000) } else { format!("{n}-live") }).collect();
    let stored: Vec<Stored> = bodies.iter().map(|body| put(&store, "Orders", 0, body)).collect();
    let log = dir.path().join("commitlog/00000000000000000000");
    let file = OpenOptions::new().read(true).write(true).open(log).unwrap();
    let offsets = |from: i64, max_bytes| {
        let got = store.get_message("Orders", 0, QueueOffset(from), 32, max_bytes, &|_| true);
        let bytes: Vec<u8> = got.parts.iter().flat_map(|part| part.to_bytes().unwrap()).collect();
        let offsets: Vec<i64> = Record::all(&bytes).map(|record| record.unwrap().queue_offset.0).collect();
        assert_eq!((offsets.len(), bytes.len()), (got.count, got.bytes));
        (got.status, offsets)
    };
    assert_eq!(offsets(0, 1 << 20), (GetStatus::Found, (0..9).collect()));
    for wrong in [0_usize, 4, 6, 8] {
        let at = stored[wrong].at.0 as u64 + 90; // in its body
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at).unwrap();
        for asked_again in 0..2 {
            let (status, _) = offsets(wrong as i64, 1 << 20);
            let GetStatus::Damaged(damage) = status else { panic!("{wrong}, {asked_again}: {status:?}") };
            assert_eq!((damage.offset.0, damage.position), (wrong as i64, stored[wrong].at.0 as u64));
        }
        let before: Vec<i64> = (0..wrong as i64).collect();
        if wrong > 0 {
            assert_eq!(offsets(0, 1 << 20), (GetStatus::Found, before), "what is before it, in one reply");
        }
        let behind: Vec<i64> = (wrong as i64 + 1..9).collect();
        if wrong < 8 {
            assert_eq!(offsets(wrong as i64 + 1, 1 << 20), (GetStatus::Found, behind), "what is behind it");
        }
        assert!(store.read(stored[wrong].at).is_err(), "nor by its place");
        file.write_all_at(&byte, at).unwrap();
        assert_eq!(offsets(0, 1 << 20), (GetStatus::Found, (0..9).collect()), "nothing of it is kept in mind");
    }
}

#[test]
fn a_table_has_its_last_good_state_or_is_refused_with_both_names() {
    let disk = store::disk::Disk::default();
    let number = |bytes: &[u8]| -> Result<u64, serde_json::Error> { serde_json::from_slice(bytes) };
    for damage in DAMAGES {
        let dir = scratch();
        let path = dir.path().join("config/topics.json");
        store::table::save(&disk, &path, b"1111111111").unwrap();
        store::table::save(&disk, &path, b"2222222222").unwrap();
        // A number that is cut or changed is a number still: only what cannot be read falls back.
        let expected = match damage {
            Damage::CopiedBeside(_) => 2_222_222_222,
            Damage::Emptied | Damage::Lengthened | Damage::Deleted | Damage::Zeroed(..) => 1_111_111_111,
            _ => continue,
        };
        if damage == Damage::Zeroed(100, 60) {
            continue; // less than a byte
        }
        let strike = |name: &str| damage.strike(dir.path(), dir.path(), Path::new(name));
        if !strike("config/topics.json") || damage == Damage::Zeroed(0, 40) {
            continue;
        }
        let loaded = store::table::load(&disk, &path, number).unwrap().unwrap();
        assert_eq!(loaded.table, expected, "{damage:?}");
        if expected == 1_111_111_111 && damage != Damage::Deleted {
            strike("config/topics.json.bak");
            let error = store::table::load(&disk, &path, number).unwrap_err().to_string();
            assert!(error.contains("topics.json:") && error.contains("topics.json.bak:"), "{damage:?}: {error}");
        }
    }
}

/// A number that repeats a run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }
}

/// Asks for everything that a store can be asked for.
fn ask_for_everything(store: &Store) {
    for queue in store.queues() {
        let (topic, queue_id) = (queue.topic(), queue.queue_id());
        let (min, max) = (queue.min_offset().0, queue.max_offset().0);
        for from in (min..max.min(min + 200)).step_by(7).chain([max - 1, max, i64::MAX]) {
            let from = QueueOffset(from);
            let all = Matching { codes: &|_| true, records: &|_| Verdict::Wanted };
            let got = store.get_message(topic, queue_id, from, 32, 1 << 20, &|_| true);
            got.parts.iter().for_each(|part| _ = part.to_bytes().unwrap());
            store.get_matching(topic, queue_id, from, 32, 1 << 20, all);
            let _ = (store.place_of(topic, queue_id, from), store.store_timestamp_of(topic, queue_id, from));
        }
        for time in [i64::MIN, 0, 1_700_000_000_000, i64::MAX] {
            store.search_offset(topic, queue_id, time, Boundary::Lower);
            store.search_offset(topic, queue_id, time, Boundary::Upper);
        }
    }
    for n in (0..360).step_by(40) {
        let key = format!("id-{n:04}-{}", "x".repeat(n % 17));
        store.query(TOPICS[n % 2], &key, 10, 0, i64::MAX);
        store.query(TOPICS[n % 2], &key, 10, i64::MIN, i64::MAX);
    }
    let (begin, end) = store.commit_log_bounds();
    for at in (begin.0..end.0.min(begin.0 + 20_000)).step_by(991) {
        let _ = store.read(CommitLogOffset(at));
    }
    let _ = (store.earliest_store_timestamp(), store.topics(), store.deletable_bytes());
    store.set_retention("Orders", Retention { time: Some(Duration::from_secs(3600)), bytes: Some(2000) });
    store.expire(&|_| SystemTime::now()).unwrap();
    store.clean(&Clean::expired(SystemTime::now())).unwrap();
}

/// Numbers at the ends of what they can be, anywhere in any file, and names that say as much: a store opens or says why not,
/// and nothing that it is asked for then is a panic. `DAMAGE_IMAGES` says how many, `DAMAGE_SEED` repeats a run.
#[test]
fn no_number_on_disk_makes_a_store_panic() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let images = number("DAMAGE_IMAGES").unwrap_or(60);
    let seed = number("DAMAGE_SEED")
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64);
    let made = [make(true), make(false)];
    // Its own threads' panics count, too.
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        told(panic);
    }));
    for seed in seed..seed + images {
        let mut random = Random(seed);
        let made = &made[random.below(2)];
        let image = scratch();
        copy(made.dir.path(), image.path());
        let files = files(image.path(), "");
        let mut done = Vec::new();
        for _ in 0..1 + random.below(3) {
            let file = &files[random.below(files.len())];
            let path = image.path().join(file);
            let Ok(mut bytes) = fs::read(&path) else { continue };
            let extremes = [0, 1, -1, i64::MAX, i64::MIN, i64::MAX - 100, i64::MAX >> 8, i64::from(i32::MAX), 1 << 55];
            let extreme = extremes[random.below(extremes.len())];
            let wide = random.below(2) == 0;
            // The beginning of a file has more that matters.
            let end = if random.below(3) == 0 { 64 } else { bytes.len() };
            let at = random.below(end.min(bytes.len())) / 4 * 4;
            let new = if wide { extreme.to_be_bytes().to_vec() } else { (extreme as i32).to_be_bytes().to_vec() };
            if random.below(12) == 0 {
                let big = (i64::MAX - random.below(3) as i64 * (1 << 30)) / 1000 * 1000
                    / [LOG_FILE, QUEUE_FILE, 1][random.below(3)] as i64;
                let name = format!("{:020}", big.saturating_mul([LOG_FILE, QUEUE_FILE, 1][random.below(3)] as i64));
                fs::copy(&path, path.with_file_name(&name)).unwrap();
                done.push(format!("{} copied as {name}", file.display()));
                continue;
            }
            bytes.iter_mut().skip(at).zip(new).for_each(|(byte, new)| *byte = new);
            fs::write(&path, bytes).unwrap();
            done.push(format!("{} at {at}: {extreme}, {} bytes", file.display(), if wide { 8 } else { 4 }));
        }
        let what = format!("DAMAGE_SEED={seed}: {done:?}");
        for opened in 0..2 {
            match std::panic::catch_unwind(|| {
                open(image.path()).map(|store| {
                    ask_for_everything(&store);
                    put(&store, "Orders", 0, "goes on");
                    store.close()
                })
            }) {
                Ok(_) => {}
                Err(_) => panic!("{what}, opened {opened}"),
            }
            assert_eq!(PANICS.load(Ordering::SeqCst), 0, "{what}, opened {opened}");
        }
        let config = config(image.path());
        if let Ok(directory) = Directory::look(&config, true) {
            let verified = directory.verify(&mut |_| {}, &mut |_| {});
            let _ = directory.summary();
            let _ = Plan::make(&directory, verified, &config);
        }
        assert_eq!(PANICS.load(Ordering::SeqCst), 0, "{what}, looked at");
    }
}
