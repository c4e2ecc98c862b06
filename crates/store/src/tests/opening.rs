//! What a store is after a clean stop, a kill, and damage.

use super::*;

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
        store.inner.drain().unwrap();
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
