use super::*;
use std::fs;
use tempfile::TempDir;

fn directory(files: &[(&str, &[u8])]) -> (TempDir, Config) {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let config = Config { store_root: dir.path().into(), ..Config::default() };
    (dir, config)
}

/// What is found of each fate, by name.
fn found(config: &Config, fate: Fate) -> Vec<What> {
    let findings = inspect(config).unwrap();
    findings.into_iter().filter(|finding| finding.fate() == fate).map(|finding| finding.what).collect()
}

#[track_caller]
fn check(files: &[(&str, &[u8])], fate: Fate, expected: &[What]) {
    let (_dir, config) = directory(files);
    assert_eq!(found(&config, fate), expected);
}

#[test]
fn an_empty_directory_holds_nothing() {
    let (dir, config) = directory(&[]);
    assert_eq!(inspect(&config).unwrap(), []);
    let gone = Config { store_root: dir.path().join("not-there"), ..config };
    assert_eq!(inspect(&gone).unwrap(), []);
}

#[test]
fn an_ordinary_store_of_apaches_is_used_or_kept_without_a_word() {
    let files: &[(&str, &[u8])] = &[
        ("commitlog/00000000000000000000", b""),
        ("consumequeue/T/0/00000000000000000000", b""),
        ("index/20240101000000000", b""),
        ("checkpoint", b""),
        ("lock", b"lock"),
        ("life/00000000000000000000.ring", b""),
        ("abort.bak", b""),
        ("timerwheel", &[0; 3200]),
        ("rocksdbstore/CURRENT", b"MANIFEST-000005\n"),
        ("rocksdbstore/000004.log", b""),
        ("config/topics.json", b"{\"topicConfigTable\":{\"T\":{\"attributes\":{\"message.type\":\"FIFO\"}}}}"),
        ("config/topics.json.bak", b"{}"),
        ("config/consumerFilter.json", b"{}"),
        ("config/timercheck", &[0; 4096]),
    ];
    check(files, Fate::Attention, &[]);
    check(files, Fate::Refused, &[]);
}

#[test]
fn what_is_in_rocks_db_is_refused_by_name() {
    let current: &[u8] = b"MANIFEST-000005\n";
    check(&[("consumequeue/CURRENT", current)], Fate::Refused, &[What::RocksDbQueues]);
    check(&[("consumequeue_rocksdb/CURRENT", current)], Fate::Refused, &[What::RocksDbQueues]);
    let tables = [("config/topics/CURRENT", current), ("config/topics/000012.sst", b"x")];
    check(&tables, Fate::Refused, &[What::RocksDbTables]);
    check(&[("rocksdbstore/000004.log", b"x")], Fate::Refused, &[What::RocksDbState]);
    check(&[("kvStore/000007.sst", b"x")], Fate::Refused, &[What::RocksDbState]);
    check(&[("config/users/000004.log", b"x")], Fate::Attention, &[What::Rights]);
}

#[test]
fn topics_of_other_kinds_are_refused_by_name() {
    let topics = br#"{"topicConfigTable":{
        "A":{"attributes":{"queue.type":"BatchCQ"}},"B":{"attributes":{"cleanup.policy":"COMPACTION"}},"C":{}}}"#;
    let expected = [What::BatchTopics(vec!["A".into()]), What::CompactionTopics(vec!["B".into()])];
    check(&[("config/topics.json", topics)], Fate::Refused, &expected);
    let both: &[(&str, &[u8])] = &[("config/topics.json", topics), ("batchconsumequeue/A/0/x", b"")];
    check(both, Fate::Refused, &expected);
    let mapping = br#"{"topicQueueMappingInfoMap":{"S":{"topic":"S"}}}"#;
    check(&[("config/topicQueueMapping.json", mapping)], Fate::Refused, &[What::StaticTopics(vec!["S".into()])]);
    check(&[("config/topicQueueMapping.json", b"{\"topicQueueMappingInfoMap\":{}}")], Fate::Refused, &[]);
}

#[test]
fn other_forms_of_the_log_the_queues_and_the_offsets_are_refused() {
    check(&[("dledger-n0/data/00000000000000000000", b"")], Fate::Refused, &[What::DLedger]);
    check(&[("consumequeue_ext/T/0/00000000000000000000", b"")], Fate::Refused, &[What::ExtendedQueues]);
    check(&[("config/lmqConsumerOffset.json", b"{}")], Fate::Refused, &[What::LmqOffsets]);
}

#[test]
fn replicas_pop_groups_and_strangers_are_told_of() {
    check(&[("epochFileCheckpoint", b"1-0\n")], Fate::Attention, &[What::Replica]);
    check(&[("notes.txt", b"")], Fate::Attention, &[What::Unknown]);
    check(&[("abort", b"1")], Fate::Attention, &[What::Unclean]);
    let mode = br#"{"messageRequestModeMap":{"T":{"g":{"mode":"POP"},"h":{"mode":"PULL"}}}}"#;
    check(&[("config/messageRequestMode.json", mode)], Fate::Attention, &[What::PopGroups(vec!["g".into()])]);
}

/// An entry of a consume queue.
fn entry(at: i64, size: i32, tags_code: i64) -> Vec<u8> {
    [at.to_be_bytes().as_slice(), &size.to_be_bytes(), &tags_code.to_be_bytes()].concat()
}

/// A slot of the timer wheel: its time in seconds, the place of its last unit, its count.
fn slot(tick: i64, last: i64, count: i32) -> Vec<u8> {
    let parts: [&[u8]; 5] = [&tick.to_be_bytes(), &[0; 8], &last.to_be_bytes(), &count.to_be_bytes(), &[0; 4]];
    parts.concat()
}

/// A unit of the timer log.
fn unit(before: i64, topic: &str) -> Vec<u8> {
    let mut unit = vec![0; UNIT];
    unit[4..12].copy_from_slice(&before.to_be_bytes());
    unit[40..44].copy_from_slice(&java_hash(topic).to_be_bytes());
    unit
}

#[test]
fn timed_messages_of_pop_consumers_stop_the_start_unless_they_are_left() {
    const NOW: i64 = 1_700_000_000;
    let revive = "rmq_sys_REVIVE_LOG_DefaultCluster";
    let mut check_file = vec![0; 4096];
    check_file[..8].copy_from_slice(&(NOW * 1000).to_be_bytes());
    check_file[16..24].copy_from_slice(&1_i64.to_be_bytes());
    // The first slot is over; of the second, one of three is about a popped message.
    let wheel = [slot(NOW - 5, 0, 7), slot(NOW + 60, 104, 3)].concat();
    let log = [unit(-1, "Orders"), unit(0, revive), unit(52, "Orders")].concat();
    // One is in the wheel already, one is not; one check point and one acknowledgement were not looked at.
    let timed = [entry(0, 100, 0), entry(100, 100, 0)].concat();
    let revived =
        [entry(0, 90, tags_code("ck")), entry(200, 90, tags_code("ck")), entry(300, 90, tags_code("ack"))].concat();
    let topics = format!("{{\"topicConfigTable\":{{\"{revive}\":{{}}}}}}");
    let offsets = format!("{{\"offsetTable\":{{\"{revive}@CID_RMQ_SYS_REVIVE_GROUP\":{{0:0}}}}}}");
    let queue = format!("consumequeue/{revive}/0/00000000000000000000");
    let (_dir, mut config) = directory(&[
        ("timerwheel", &wheel),
        ("timerlog/00000000000000000000", &log),
        ("config/timercheck", &check_file),
        ("config/topics.json", topics.as_bytes()),
        ("config/consumerOffset.json", offsets.as_bytes()),
        ("consumequeue/rmq_sys_wheel_timer/0/00000000000000000000", &timed),
        (&queue, &revived),
    ]);
    assert_eq!(found(&config, Fate::Refused), [What::Timers { waiting: 5, of_pop: 2, left: false }]);
    config.timer_wheel = false;
    assert_eq!(found(&config, Fate::Refused), []);
    assert_eq!(found(&config, Fate::Attention), [What::Timers { waiting: 5, of_pop: 2, left: true }]);
}

#[test]
fn transactions_that_nobody_ended_are_counted() {
    let host = "127.0.0.1:10911".parse().unwrap();
    let mut log = Vec::new();
    let mut operations = Vec::new();
    // Of 4.x, and of 5.x.
    for (n, body) in [&b"3"[..], b"5,6,"].into_iter().enumerate() {
        let at = log.len();
        protocol::record::RecordFields {
            topic: TRANSACTION_OP_TOPIC,
            queue_id: 0,
            flag: 0,
            queue_offset: protocol::message::QueueOffset(n as i64),
            commit_log_offset: protocol::message::CommitLogOffset(at as i64),
            body_crc: 0,
            sys_flag: 0,
            born_timestamp: 0,
            born_host: host,
            store_timestamp: 0,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            properties: b"TAGS\x01d\x02",
        }
        .encode(&mut log);
        operations.extend(entry(at as i64, (log.len() - at) as i32, tags_code("d")));
    }
    let halves: Vec<u8> = (0..8).flat_map(|n| entry(10_000 + n, 100, 0)).collect();
    let files: &[(&str, &[u8])] = &[
        ("commitlog/00000000000000000000", &log),
        ("consumequeue/RMQ_SYS_TRANS_HALF_TOPIC/0/00000000000000000000", &halves),
        ("consumequeue/RMQ_SYS_TRANS_OP_HALF_TOPIC/0/00000000000000000000", &operations),
        ("config/consumerOffset.json", br#"{"offsetTable":{"RMQ_SYS_TRANS_HALF_TOPIC@CID_RMQ_SYS_TRANS":{0:3}}}"#),
    ];
    // 3, 5 and 6 are ended, 4 and 7 are not.
    let (_dir, config) = directory(files);
    assert!(found(&config, Fate::Used).contains(&What::OpenTransactions(2)));
}

#[test]
fn every_sentence_that_stops_a_start_says_what_helps() {
    let all = [
        What::RocksDbQueues,
        What::RocksDbTables,
        What::RocksDbState,
        What::BatchTopics(vec!["T".into()]),
        What::CompactionTopics(vec!["T".into()]),
        What::StaticTopics(vec!["T".into()]),
        What::ExtendedQueues,
        What::LmqOffsets,
        What::DLedger,
        What::Timers { waiting: 2, of_pop: 1, left: false },
    ];
    for what in all {
        assert_eq!(what.fate(), Fate::Refused, "{what:?}");
        let sentence = Finding { path: "x".into(), what }.to_string();
        assert!(sentence.contains("ove ") || sentence.contains("opy ") || sentence.contains("et "), "{sentence}");
    }
}
