//! Finding messages: by queue offset and filter, by key, by time.

use super::*;

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
