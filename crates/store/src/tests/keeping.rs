//! What goes, when, and what stays.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::UNIX_EPOCH;

use super::*;
use crate::disk::{Action, Disk, Watch};

const HOUR: Duration = Duration::from_secs(3600);

fn hours(hours: u32) -> Retention {
    Retention { time: Some(HOUR * hours), bytes: None }
}

fn bytes(bytes: u64) -> Retention {
    Retention { time: None, bytes: Some(bytes) }
}

fn time_of(stored: &Stored) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(stored.store_timestamp as u64)
}

/// Puts a message that is stored later than `before`.
fn put_later(store: &Store, topic: &str, body: &str, before: &Stored) -> Stored {
    while SystemTime::now() < time_of(before) + Duration::from_millis(1) {
        std::hint::spin_loop();
    }
    put(store, topic, 0, body)
}

/// Fills `files` files of the log and begins the next.
fn fill(store: &Store, topic: &str, files: u64) {
    let body = "b".repeat(8000);
    let end = store.commit_log_bounds().1.0 / FILE_SIZE as i64 + files as i64;
    while store.commit_log_bounds().1.0 / (FILE_SIZE as i64) < end {
        put(store, topic, 0, &body);
    }
}

fn log_files(store: &Store) -> usize {
    fs::read_dir(store.config().root.join("commitlog")).unwrap().count()
}

#[test]
fn a_topic_of_an_hour_stands_beside_one_of_thirty_days() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.set_retention("short", hours(1));
    store.set_retention("long", hours(30 * 24));
    let first = put(&store, "short", 0, "m0");
    let second = put_later(&store, "short", "m1", &first);
    put(&store, "long", 0, "stays");
    let now = time_of(&second) + HOUR;
    store.expire(&|_| now).unwrap();
    let too_small = get(&store, "short", 0, 0);
    assert_eq!((too_small.status, too_small.next), (GetStatus::OffsetTooSmall, QueueOffset(1)));
    assert_eq!(all(&store, "short", 0), ["m1"]);
    let queue = store.inner.queues.get("short", 0).unwrap();
    assert!(queue.entries(0, 2).unwrap().is_empty(), "who still asks for what went gets no other's entry");
    assert_eq!(queue.entries(1, 2).unwrap().len(), 1);
    assert!(store.read(first.at).unwrap().is_none(), "nor is it found by its id");
    assert!(store.query("short", "m0", 9, 0, i64::MAX).records.is_empty(), "nor by its key");
    assert_eq!(store.query("short", "both", 9, 0, i64::MAX).records.len(), 1);
    assert_eq!(store.search_offset("short", 0, 0, Boundary::Lower), QueueOffset(1), "nor by time");

    let copy = crashed_copy(dir.path());
    let again = open(copy.path());
    again.set_retention("short", hours(1));
    again.expire(&|_| now).unwrap();
    assert_eq!(all(&again, "short", 0), ["m1"], "the same follows after a crash");

    store.expire(&|_| now + HOUR).unwrap();
    assert_eq!((store.min_offset("short", 0), store.max_offset("short", 0)), (QueueOffset(2), QueueOffset(2)));
    assert_eq!(all(&store, "long", 0), ["stays"]);
    assert_eq!(put(&store, "short", 0, "m2").queue_offset, QueueOffset(2), "offsets go on");
    assert_eq!(all(&store, "short", 0), ["m2"]);
}

#[test]
fn of_a_topic_with_a_size_the_newest_of_all_queues_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let size = {
        let stored = put(&store, "T", 0, "m00");
        (stored.end.0 - stored.at.0) as u64
    };
    store.set_retention("T", bytes(10 * size));
    for n in 1..15 {
        put(&store, "T", n % 2, &format!("m{n:02}"));
        store.expire(&|_| SystemTime::now()).unwrap();
    }
    assert_eq!(all(&store, "T", 0), ["m06", "m08", "m10", "m12", "m14"]);
    assert_eq!(all(&store, "T", 1), ["m05", "m07", "m09", "m11", "m13"]);
    for n in 15..21 {
        put(&store, "T", 1, &format!("m{n}"));
    }
    store.expire(&|_| SystemTime::now()).unwrap();
    assert_eq!(all(&store, "T", 0), ["m12", "m14"], "the oldest go, whichever queue they are in");
    assert_eq!(all(&store, "T", 1).len(), 8);
    let mins = |store: &Store| [0, 1].map(|id| store.min_offset("T", id));
    let before = mins(&store);

    let copy = crashed_copy(dir.path());
    let again = open(copy.path());
    again.set_retention("T", bytes(10 * size));
    again.expire(&|_| SystemTime::now()).unwrap();
    assert_eq!(mins(&again), before, "the same follows after a crash");
    again.set_retention("T", Retention { time: Some(HOUR), ..bytes(10 * size) });
    again.expire(&|_| SystemTime::now() + HOUR * 2).unwrap();
    assert_eq!([0, 1].map(|id| all(&again, "T", id).len()), [0, 0], "both limits hold");
}

#[test]
fn a_topic_that_is_kept_longer_than_the_log_keeps_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store, "other", 2);
    put(&store, "long", 0, "stays");
    fill(&store, "other", 3);
    store.set_retention("long", hours(30 * 24));
    let after = |hours| SystemTime::now() + HOUR * hours;
    let cleaned = store.clean(&Clean::expired(after(80))).unwrap();
    assert_eq!(cleaned.commit_log, 2, "files before its first message go");
    assert_eq!(cleaned.kept.as_deref(), Some("topic `long` keeps its messages for 720 hours"));
    assert_eq!(all(&store, "long", 0), ["stays"]);
    store.expire(&|_| after(30 * 24 + 1)).unwrap();
    let cleaned = store.clean(&Clean::expired(after(30 * 24 + 1))).unwrap();
    assert_eq!((cleaned.commit_log, cleaned.kept), (3, None));

    fill(&store, "other", 2);
    put(&store, "long", 0, "gives way");
    fill(&store, "other", 1);
    let wanted = Clean { wanted: 1 << 40, expired: false, ..Clean::expired(SystemTime::now()) };
    store.clean(&wanted).unwrap();
    assert!(all(&store, "long", 0).is_empty(), "to a disk that is short of room");
}

#[test]
fn what_is_needed_stays_however_old_and_however_short_the_room() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store, "T", 6);
    let needed = [
        Needed { from: CommitLogOffset(FILE_SIZE as i64 * 4), by: "someone".into() },
        Needed { from: CommitLogOffset(FILE_SIZE as i64 * 2 + 100), by: "a delay".into() },
    ];
    let later = SystemTime::now() + HOUR * 1000;
    let cleaned = store.clean(&Clean { needed: &needed, ..Clean::expired(later) }).unwrap();
    assert_eq!((cleaned.commit_log, cleaned.kept.as_deref()), (2, Some("a delay")));
    let cleaned = store.clean(&Clean { needed: &needed, wanted: 1 << 40, ..Clean::expired(later) }).unwrap();
    assert_eq!(cleaned.commit_log, 0);
    assert_eq!(store.commit_log_bounds().0, CommitLogOffset(FILE_SIZE as i64 * 2));
    let cleaned = store.clean(&Clean { needed: &needed[..1], ..Clean::expired(later) }).unwrap();
    assert_eq!((cleaned.commit_log, cleaned.kept.as_deref()), (2, Some("someone")));
}

#[test]
fn when_room_is_wanted_only_as_many_files_go_as_it_takes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store, "T", 5);
    assert_eq!(store.deletable_bytes(), 5 * FILE_SIZE);
    let young = |wanted| Clean { wanted, ..Clean::expired(SystemTime::now()) };
    assert_eq!(store.clean(&young(0)).unwrap().commit_log, 0);
    assert_eq!(store.clean(&young(FILE_SIZE + 1)).unwrap().commit_log, 2);
    assert_eq!(store.clean(&young(u64::MAX)).unwrap().commit_log, 3);
    assert_eq!((store.deletable_bytes(), log_files(&store)), (0, 1), "the last stays");
}

#[test]
fn a_file_that_is_being_read_is_read_to_its_end_and_counted_until_then() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for _ in 0..5 {
        store.put_message(&message("T", 0, &[b'b'; 50_000], b"")).unwrap();
        store.write_out().unwrap();
    }
    let reading = store.get_message("T", 0, QueueOffset(0), 1, 1 << 20, &|_| true);
    assert!(matches!(reading.parts[0], Part::File(_)), "so much is sent from its file");
    let wanted = Clean { wanted: FILE_SIZE, ..Clean::expired(SystemTime::now()) };
    assert_eq!(store.clean(&wanted).unwrap().commit_log, 1);
    assert_eq!(store.held(), Held { files: 1, bytes: FILE_SIZE });
    assert!(!log_file(dir.path(), 0).exists());
    assert_eq!(store.clean(&wanted).unwrap().commit_log, 0, "its room comes back by itself");
    assert_eq!(bodies(&reading)[0].len(), 50_000);
    drop(reading);
    assert_eq!(store.held(), Held::default());
    assert_eq!(store.clean(&wanted).unwrap().commit_log, 1);
}

#[test]
fn files_of_queues_go_with_their_messages_and_offsets_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    (0..180).for_each(|n| _ = put(&store, "gone", 0, &format!("m{n}")));
    store.close().unwrap();
    let store = open(dir.path());
    let files = || fs::read_dir(dir.path().join("consumequeue/gone/0")).unwrap().count();
    assert_eq!(files(), 4);
    store.set_retention("gone", hours(1));
    let later = SystemTime::now() + HOUR * 2;
    store.expire(&|_| later).unwrap();
    let cleaned = store.clean(&Clean { expired: false, ..Clean::expired(later) }).unwrap();
    assert_eq!((cleaned.commit_log, cleaned.consume_queue, files()), (0, 3, 1), "before the log's");
    fill(&store, "T", 5);
    store.clean(&Clean::expired(SystemTime::now() + HOUR * 73)).unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.max_offset("gone", 0), QueueOffset(180), "the last file says where the queue goes on");
    assert_eq!(put(&store, "gone", 0, "new").queue_offset, QueueOffset(180));
}

#[test]
fn a_deleted_topic_stays_deleted_whatever_is_lost_of_what_can_be_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let old = put(&store, "T", 0, "m0");
    (1..60).for_each(|n| _ = put(&store, "T", n % 3, &format!("m{n}")));
    put(&store, "U", 0, "stays");
    store.delete_topic("T").unwrap();
    assert!(!dir.path().join("consumequeue/T").exists());
    assert!(store.read(old.at).unwrap().is_none());
    assert!(store.query("T", "m5", 9, 0, i64::MAX).records.is_empty());
    (0..3).for_each(|n| assert_eq!(put(&store, "T", 0, &format!("new{n}")).queue_offset, QueueOffset(n)));
    let whole = |store: &Store| {
        assert_eq!(store.topics(), ["T", "U"]);
        assert_eq!(all(store, "T", 0), ["new0", "new1", "new2"]);
        assert_eq!(store.max_offset("T", 1), QueueOffset(0));
        assert_eq!(store.query("T", "both", 99, 0, i64::MAX).records.len(), 3);
    };
    whole(&store);
    for lost in [&[][..], &["consumequeue"], &["index"], &["checkpoint"], &["consumequeue", "index", "checkpoint"]] {
        let copy = crashed_copy(dir.path());
        for name in lost {
            let path = copy.path().join(name);
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
        whole(&open(copy.path()));
    }
    // A clean stop leaves a copy of what was deleted; after that the table itself may go, too.
    store.close().unwrap();
    for damage in ["gone", "unreadable"] {
        let copy = crashed_copy(dir.path());
        fs::remove_dir_all(copy.path().join("consumequeue")).unwrap();
        let table = copy.path().join("config/deletedTopics.json");
        if damage == "gone" { fs::remove_file(table) } else { fs::write(table, "{") }.unwrap();
        whole(&open(copy.path()));
    }
}

#[test]
fn what_is_noted_of_a_deletion_goes_with_the_topics_last_record() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put(&store, "T", 0, "old");
    store.delete_topic("T").unwrap();
    assert!(store.begin_of("T") > CommitLogOffset(0));
    fill(&store, "U", 2);
    store.clean(&Clean::expired(SystemTime::now() + HOUR * 73)).unwrap();
    assert_eq!(store.begin_of("T"), CommitLogOffset(0));
    drop(store);
    assert_eq!(open(dir.path()).begin_of("T"), CommitLogOffset(0));
}

/// From its `n`th action on nothing more is done to files: as for a process that was killed there.
#[derive(Debug)]
struct KilledAt {
    armed: AtomicBool,
    left: AtomicUsize,
    last: Mutex<String>,
}

impl Watch for KilledAt {
    fn before(&self, action: Action<'_>) -> io::Result<()> {
        if !self.armed.load(Ordering::SeqCst) || matches!(action, Action::Read { .. }) {
            return Ok(());
        }
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => {
                *self.last.lock().unwrap() = format!("{action:?}").chars().take(120).collect();
                Ok(())
            }
            Err(_) => Err(io::Error::other("killed")),
        }
    }

    fn after(&self, _: Action<'_>) {}
}

#[test]
fn a_kill_at_any_moment_of_a_deletion_leaves_the_topic_whole_or_gone() {
    let mut outcomes = [0, 0];
    for n in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let killed =
            Arc::new(KilledAt { armed: AtomicBool::new(false), left: AtomicUsize::new(n), last: Mutex::default() });
        let config = StoreConfig { disk: Disk::watched(killed.clone()), ..small(dir.path()) };
        let store = Store::open(config).unwrap();
        (0..130).for_each(|n| _ = put(&store, "T", n % 2, &format!("m{n}")));
        put(&store, "U", 0, "stays");
        // Some of it in files, some of it not.
        store.delete_topic("other").unwrap();
        put(&store, "T", 0, "last");
        killed.armed.store(true, Ordering::SeqCst);
        let deleted = store.delete_topic("T");
        drop(store);
        let at = killed.last.lock().unwrap().clone();

        let store = open(dir.path());
        assert_eq!(all(&store, "U", 0), ["stays"], "{at}");
        let left = [0, 1].map(|id| store.max_offset("T", id).0);
        match left {
            [66, 65] => assert_eq!((all(&store, "T", 0).len(), all(&store, "T", 1).len()), (66, 65), "{at}"),
            _ => assert_eq!(left, [0, 0], "{at}"),
        }
        outcomes[usize::from(left == [0, 0])] += 1;
        if deleted.is_ok() {
            assert_eq!(left, [0, 0], "{at}");
        }
        store.delete_topic("T").unwrap();
        assert_eq!(put(&store, "T", 1, "new").queue_offset, QueueOffset(0), "{at}");
        drop(store);
        assert_eq!(all(&open(dir.path()), "T", 1), ["new"], "{at}");
        if deleted.is_ok() {
            break;
        }
    }
    assert!(outcomes[0] > 2 && outcomes[1] > 2, "{outcomes:?}");
}

#[test]
fn a_topic_begins_at_0_each_time_although_an_old_producer_goes_on_sending() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // 50 deletions; while one goes on, and before the next, it sends up to 100 messages.
    let round = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| {
            let mut stored = Vec::new();
            let mut left = [100; 51];
            while round.load(Ordering::SeqCst) < 50 {
                let left = &mut left[round.load(Ordering::SeqCst)];
                if *left == 0 {
                    std::thread::yield_now();
                    continue;
                }
                *left -= 1;
                match store.put_message(&message("T", 0, b"from before", b"")) {
                    Ok(put) => stored.push(put),
                    Err(PutError::TopicDeleted { .. }) => std::thread::yield_now(),
                    Err(error) => panic!("{error}"),
                }
                store.write_out().unwrap();
            }
            stored
        });
        for _ in 0..50 {
            store.delete_topic("T").unwrap();
            round.fetch_add(1, Ordering::SeqCst);
        }
        let stored = producer.join().unwrap();
        let mut next = 0;
        for put in &stored {
            let begins_anew = put.queue_offset == QueueOffset(0);
            assert!(begins_anew || put.queue_offset == QueueOffset(next), "{put:?} is not {next}");
            next = put.queue_offset.0 + 1;
        }
        let lives = stored.iter().filter(|put| put.queue_offset == QueueOffset(0)).count();
        assert!(lives > 5, "{lives}");
        let of_this_life = stored.iter().filter(|put| put.at >= store.begin_of("T")).count();
        assert_eq!(all(&store, "T", 0).len(), of_this_life);
    });
    for lost in ["", "consumequeue"] {
        let copy = crashed_copy(dir.path());
        if !lost.is_empty() {
            fs::remove_dir_all(copy.path().join(lost)).unwrap();
        }
        assert_eq!(all(&open(copy.path()), "T", 0), all(&store, "T", 0));
    }
}

#[test]
fn expired_files_go_and_the_queue_begins_later() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let body = "b".repeat(1000);
    (0..300).for_each(|_| _ = put(&store, "T", 0, &body));
    assert_eq!(store.clean(&Clean::expired(SystemTime::now())).unwrap(), Cleaned::default());
    let later = SystemTime::now() + Duration::from_secs(73 * 3600);
    store.inner.drain().unwrap();
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
