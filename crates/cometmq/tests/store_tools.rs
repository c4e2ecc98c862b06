//! `cometmq store …` as an operator uses it: on captured stores of Apache's brokers and on our own, sound, damaged, and
//! in use.

mod support;

use protocol::request::Request;
use remoting::Client;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use store::inspect::{Directory, Kind, Plan, Severity};
use store::{FlushDiskType, GetStatus, PutMessage, QueueOffset, Store, StoreConfig};
use support::{Dev, SOON, messages, next_begin_offset, pull_request, send, send_request};
use tempfile::TempDir;

const VERSIONS: [&str; 2] = ["4.9.7", "5.5.0"];
const FILE: i64 = 16384;

/// Runs a tool and gives its exit code and what it wrote.
fn tool(arguments: &[&str], dir: &Path) -> (i32, String, String) {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_cometmq"))
        .arg("store")
        .args(arguments)
        .arg(dir)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The findings of verify, by name, and its exit code.
fn findings(dir: &Path) -> (i32, Vec<Value>) {
    let (code, out, err) = tool(&["verify", "-o", "json"], dir);
    assert_eq!(err, "", "no progress where nobody looks");
    let mut lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.pop().unwrap()["summary"].is_string());
    (code, lines)
}

fn kinds(findings: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<&str> = findings.iter().map(|finding| finding["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn capture(version: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../captures/store-{version}.tar.gz"));
    assert!(Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(dir.path()).status().unwrap().success());
    dir
}

fn expected(version: &str, kind: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../captures/expected-{version}.jsonl"));
    let lines = fs::read_to_string(path).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).filter(|line: &Value| line["kind"] == kind).collect()
}

/// Every file below `dir` with what is in it.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        for path in fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { waiting.push(path) } else { _ = found.insert(path.clone(), fs::read(path).unwrap()) }
        }
    }
    found
}

fn config(dir: &Path) -> StoreConfig {
    StoreConfig {
        commit_log_file_size: FILE as u64,
        consume_queue_file_size: 400,
        index_slots: 50,
        index_entries: 200,
        flush: FlushDiskType::Async,
        ..StoreConfig::new(dir)
    }
}

/// 200 messages over three queues of two topics, with tags and keys; the commit log has several files. Returns where
/// each is: topic, queue, offset, commit log offset, body.
fn made(dir: &Path) -> Vec<(&'static str, u32, i64, i64, String)> {
    let store = Store::open(config(dir)).unwrap();
    let places = put(&store, 200);
    store.close().unwrap();
    fs::create_dir_all(dir.join("config")).unwrap();
    for table in ["topics.json", "subscriptionGroup.json", "consumerOffset.json", "delayOffset.json"] {
        fs::write(dir.join("config").join(table), "{}").unwrap();
    }
    places
}

fn put(store: &Store, count: usize) -> Vec<(&'static str, u32, i64, i64, String)> {
    let mut places = Vec::new();
    for n in 0..count {
        let (topic, queue_id) = [("Orders", 0), ("Orders", 1), ("Bills", 0)][n % 3];
        let body = format!("{n} {}", "x".repeat(n * 7 % 300));
        let properties = format!("TAGS\u{1}t{}\u{2}KEYS\u{1}k{n} all\u{2}UNIQ_KEY\u{1}U{n:04}\u{2}", n % 5);
        let put = PutMessage {
            topic,
            queue_id,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 1_700_000_000_000,
            born_host: "127.0.0.1:50000".parse().unwrap(),
            store_host: "127.0.0.1:10911".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: body.as_bytes(),
            properties: properties.as_bytes(),
        };
        let stored = store.put_message(&put).unwrap();
        places.push((topic, queue_id, stored.queue_offset.0, stored.at.0, body));
    }
    store.write_out().unwrap();
    places
}

/// Flips a byte of the commit log.
fn flip(dir: &Path, at: i64) {
    change(&dir.join(format!("commitlog/{:020}", at - at % FILE)), (at % FILE) as u64);
}

fn change(path: &Path, position: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).unwrap();
    file.write_all_at(&[byte[0] ^ 0x55], position).unwrap();
}

#[test]
fn stores_of_apaches_are_sound_and_are_left_as_they_are() {
    for version in VERSIONS {
        let dir = capture(version);
        let before = files(dir.path());
        assert_eq!(findings(dir.path()), (0, vec![]), "{version}");
        let (code, out, _) = tool(&["repair", "--yes"], dir.path());
        assert_eq!((code, out.as_str()), (0, "sound: there is nothing to repair\n"));

        let (code, out, _) = tool(&["dump"], dir.path());
        assert_eq!(code, 0);
        let dumped: BTreeMap<i64, Value> = out
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|line| (line["commitLogOffset"].as_i64().unwrap(), line))
            .collect();
        let wanted = expected(version, "message");
        assert!(wanted.len() > 500);
        assert_eq!(dumped.len(), wanted.len(), "{version}");
        for message in &wanted {
            let line = &dumped[&message["commitLogOffset"].as_i64().unwrap()];
            for (ours, theirs) in [("topic", "topic"), ("queueId", "queueId"), ("queueOffset", "queueOffset")]
                .into_iter()
                .chain([("msgId", "offsetMsgId"), ("size", "storeSize"), ("bodyCrc", "bodyCrc")])
                .chain([("storeTimestamp", "storeTimestamp"), ("properties", "properties")])
            {
                assert_eq!(line[ours], message[theirs], "{version}: {ours} of {line}");
            }
            // A Java client takes the bit of a compressed body away when it has unpacked it.
            assert_eq!(line["sysFlag"].as_i64().unwrap() & !1, message["sysFlag"].as_i64().unwrap() & !1);
            let length = line["body"].as_str().map(|body| body.len() as u64);
            assert!(length.is_none() || length == message["bodyLength"].as_u64(), "unpacked: {line}");
        }

        let (code, out, _) = tool(&["info", "-o", "json"], dir.path());
        let info: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, info["state"].as_str()), (0, Some("clean")));
        for queue in expected(version, "queue") {
            let topics = info["topics"].as_array().unwrap();
            let topic = topics.iter().find(|topic| topic["topic"] == queue["topic"]);
            let found =
                topic.and_then(|it| it["queues"].as_array()?.iter().find(|it| it["queueId"] == queue["queueId"]));
            let max = found.map_or(Value::from(0), |found| found["maxOffset"].clone());
            assert_eq!(max, queue["maxOffset"], "{version}: {queue}");
        }
        assert!(files(dir.path()) == before, "{version}: looking changed something");
    }
}

#[test]
fn what_is_dumped_can_be_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let places = made(dir.path());
    let dump = |arguments: &[&str]| {
        let (code, out, err) = tool(&[&["dump"], arguments].concat(), dir.path());
        assert_eq!((code, err.as_str()), (0, ""));
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    assert_eq!(dump(&[]).len(), 200);
    let orders = dump(&["--topic", "Orders", "--queue", "1", "--offset", "5..8"]);
    let offsets: Vec<_> = orders.iter().map(|line| line["queueOffset"].as_i64().unwrap()).collect();
    assert_eq!(offsets, [5, 6, 7]);
    assert_eq!(dump(&["--key", "k17"])[0]["body"], places[17].4.as_str());
    assert_eq!(dump(&["--key", "U0017", "--no-body"])[0].get("body"), None);
    assert_eq!(dump(&["--tag", "t3"]).len(), 40);
    assert_eq!(dump(&["--limit", "7"]).len(), 7);
    assert_eq!(dump(&["--to", "2000-01-01"]).len(), 0);
    assert_eq!(dump(&["--from", "2000-01-01"]).len(), 200);
    let from_50 = places[50].3;
    assert_eq!(dump(&["--log-offset", &format!("{from_50}..")]).len(), 150);
    // In the middle of a record the next one is the first.
    assert_eq!(dump(&["--log-offset", &format!("{}..{}", from_50 + 1, places[60].3)]).len(), 9);
    flip(dir.path(), places[50].3 + 90);
    let damaged = dump(&["--log-offset", &format!("{from_50}..{}", places[52].3)]);
    assert_eq!(damaged.len(), 1, "nobody knows that a record begins there: {damaged:?}");
    let all = dump(&[]);
    assert_eq!(all[50]["commitLogOffset"], from_50);
    assert!(all[50]["damaged"].as_str().unwrap().contains("checksum"));
}

#[test]
fn a_damaged_message_is_named_and_repair_lets_consumers_pass_on() {
    let dir = tempfile::tempdir().unwrap();
    let places = made(dir.path());
    // One alone, two neighbours, the last of all; and the size field of one.
    for n in [30, 100, 101, 199] {
        flip(dir.path(), places[n].3 + 90);
    }
    flip(dir.path(), places[150].3 + 2);
    let lost = [30, 100, 101, 150, 199];
    let (code, found) = findings(dir.path());
    assert_eq!(code, 1);
    let mut named: Vec<_> = found
        .iter()
        .filter(|finding| finding["kind"] == "damaged-message")
        .map(|it| {
            (it["commitLogOffset"].as_i64(), it["topic"].as_str(), it["queueOffset"].as_i64(), it["position"].as_i64())
        })
        .collect();
    named.sort_unstable();
    let expected: Vec<_> =
        lost.map(|n| &places[n]).iter().map(|it| (Some(it.3), Some(it.0), Some(it.2), Some(it.3 % FILE))).collect();
    assert_eq!(named, expected);
    assert_eq!(kinds(&found), ["damaged-log", "damaged-message"]);

    let before = files(dir.path());
    let (code, plan, _) = tool(&["repair"], dir.path());
    assert_eq!(code, 1);
    assert!(plan.contains("Nothing was changed") && files(dir.path()) == before, "{plan}");
    let (code, done, err) = tool(&["repair", "--yes"], dir.path());
    assert_eq!(code, 0, "{done}{err}");
    let (code, found) = findings(dir.path());
    assert_eq!((code, kinds(&found)), (0, vec!["replaced-message"]));

    // Every byte that was overwritten is in quarantine, with its place in its name.
    let quarantine = files(&dir.path().join("quarantine"));
    for n in lost {
        let (file, position) = (format!("{:020}", places[n].3 - places[n].3 % FILE), places[n].3 % FILE);
        let copy = quarantine.iter().find(|(path, _)| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let range = name.strip_prefix(&format!("{file}@")).and_then(|range| range.split_once('-'));
            range.is_some_and(|(from, end)| (from.parse().unwrap()..end.parse().unwrap()).contains(&position))
        });
        let (path, bytes) = copy.unwrap_or_else(|| panic!("message {n} is not in {:?}", quarantine.keys()));
        let from: usize = path.to_str().unwrap().split(['@', '-']).rev().nth(1).unwrap().parse().unwrap();
        let was = &before[&dir.path().join("commitlog").join(file)];
        assert_eq!(&was[from..from + bytes.len()], &bytes[..]);
    }
    let report = quarantine.iter().find(|(path, _)| path.ends_with("report.txt")).unwrap().1;
    assert!(String::from_utf8_lossy(report).contains("topic `Orders`, queue 0, offset 10"));

    // After an ordinary start, after a crash, and with queues and index made again from the log.
    for round in 0..3 {
        match round {
            1 => fs::write(dir.path().join("abort"), "").unwrap(),
            2 => ["consumequeue", "index"].iter().for_each(|it| fs::remove_dir_all(dir.path().join(it)).unwrap()),
            _ => {}
        }
        let store = Store::open(config(dir.path())).unwrap();
        for (n, (topic, queue_id, offset, _, body)) in places.iter().enumerate() {
            let got = store.get_message(topic, *queue_id, QueueOffset(*offset), 1, 1 << 20, &|_| true);
            if lost.contains(&n) {
                assert_eq!((got.status, got.next.0), (GetStatus::MessageWasRemoving, offset + 1), "{round}: {n}");
            } else {
                let bytes = got.parts[0].to_bytes().unwrap();
                let record = protocol::record::Record::parse(&bytes).unwrap();
                assert_eq!((record.body, record.topic, record.queue_offset.0), (body.as_bytes(), *topic, *offset));
                assert_eq!(store.query(topic, &format!("k{n}"), 9, 0, i64::MAX).records.len(), 1, "{round}: {n}");
            }
        }
        store.close().unwrap();
    }
}

#[test]
fn repair_lets_consumers_pass_on_where_nothing_of_a_message_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let places = made(dir.path());
    // The record says that it is of another queue. No checksum covers that.
    let (topic, queue_id, offset, at, _) = places[60].clone();
    change(&dir.path().join(format!("commitlog/{:020}", at - at % FILE)), (at % FILE) as u64 + 14);
    let get = |from| {
        let store = Store::open(config(dir.path())).unwrap();
        let got = store.get_message(topic, queue_id, QueueOffset(from), 1, 1 << 20, &|_| true);
        store.close().unwrap();
        got
    };
    assert!(matches!(get(offset).status, GetStatus::Damaged(_)));
    assert_eq!(findings(dir.path()).0, 1);
    let (code, done, err) = tool(&["repair", "--yes"], dir.path());
    assert_eq!(code, 0, "{done}{err}");
    let (code, found) = findings(dir.path());
    assert_eq!(code, 0, "{found:?}");
    let got = get(offset);
    assert_eq!((got.status, got.next), (GetStatus::MessageWasRemoving, QueueOffset(offset + 1)));
    assert_eq!(get(offset + 1).status, GetStatus::Found);
    assert_eq!(get(offset - 1).status, GetStatus::Found);
}

#[test]
fn derived_files_are_made_again_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let places = made(dir.path());
    let before = files(dir.path());
    change(&dir.path().join("consumequeue/Orders/0/00000000000000000400"), 3);
    fs::remove_dir_all(dir.path().join("consumequeue/Bills")).unwrap();
    fs::remove_file(dir.path().join("consumequeue/Orders/1/00000000000000000000")).unwrap();
    let index = fs::read_dir(dir.path().join("index")).unwrap().map(|file| file.unwrap().path()).min().unwrap();
    change(&index, 40 + 200 + 20 * 7 + 1);
    fs::write(dir.path().join("commitlog/00000000000000000000.bak"), "copy").unwrap();
    fs::create_dir_all(dir.path().join("config")).unwrap();
    fs::write(dir.path().join("config/topics.json"), "{\"half").unwrap();
    fs::write(dir.path().join("config/topics.json.bak"), "{\"topicConfigTable\":{0:1}}").unwrap();
    fs::write(dir.path().join("config/delayOffset.json"), "").unwrap();

    let (code, found) = findings(dir.path());
    assert_eq!(code, 1);
    let expected = ["broken-index", "broken-table", "foreign-file", "lost-table", "missing-entry", "missing-key"];
    assert_eq!(kinds(&found), [&expected[..], &["wrong-entry", "wrong-key"]].concat());
    let bills = found.iter().find(|finding| finding["topic"] == "Bills").unwrap();
    assert_eq!((bills["kind"].as_str(), bills["queueOffset"].as_i64()), (Some("missing-entry"), Some(0)));
    assert_eq!((bills["count"].as_i64(), bills["severity"].as_str()), (Some(66), Some("derived")));

    let (code, out, err) = tool(&["repair", "--yes"], dir.path());
    assert_eq!(code, 0, "{out}{err}");
    let (code, found) = findings(dir.path());
    assert_eq!((code, kinds(&found)), (0, vec!["gone-table"]));
    assert!(found[0]["file"].as_str().unwrap().ends_with("config/delayOffset.json"), "nothing of it could be read");
    for (path, bytes) in &before {
        if path.starts_with(dir.path().join("consumequeue")) || path.starts_with(dir.path().join("commitlog")) {
            assert!(fs::read(path).unwrap() == *bytes, "{}", path.display());
        }
    }
    assert_eq!(fs::read(dir.path().join("config/topics.json")).unwrap(), b"{\"topicConfigTable\":{0:1}}");
    let quarantine = files(&dir.path().join("quarantine"));
    let names: Vec<_> = quarantine.keys().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    for name in ["topics.json", "delayOffset.json", "00000000000000000000.bak", "report.txt"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    let store = Store::open(config(dir.path())).unwrap();
    for (n, (topic, queue_id, offset, ..)) in places.iter().enumerate() {
        let got = store.get_message(topic, *queue_id, QueueOffset(*offset), 1, 1 << 20, &|_| true);
        assert_eq!(got.status, GetStatus::Found);
        assert_eq!(store.query(topic, &format!("U{n:04}"), 9, 0, i64::MAX).records.len(), 1);
    }
    store.close().unwrap();
}

#[test]
fn a_queue_offset_that_changed_in_a_record_is_put_right() {
    let dir = tempfile::tempdir().unwrap();
    let places = made(dir.path());
    let before = files(&dir.path().join("commitlog"));
    for n in [60, 90] {
        flip(dir.path(), places[n].3 + 27);
    }
    let (code, found) = findings(dir.path());
    assert_eq!((code, kinds(&found), found.len()), (1, vec!["wrong-offset"], 2));
    assert_eq!(tool(&["repair", "--yes"], dir.path()).0, 0);
    assert!(files(&dir.path().join("commitlog")) == before);
    assert_eq!(findings(dir.path()), (0, vec![]));
}

#[test]
fn what_was_deleted_with_its_topic_is_not_missed_and_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    put(&store, 60);
    store.delete_topic("Orders").unwrap();
    store.delete_topic("Bills").unwrap();
    let again = put(&store, 8);
    store.delete_topic("Bills").unwrap();
    store.close().unwrap();
    fs::create_dir_all(dir.path().join("config")).unwrap();
    fs::write(dir.path().join("config/topics.json"), "{\"topicConfigTable\":{\"Orders\":{}}}").unwrap();
    let (code, found) = findings(dir.path());
    assert!(code == 0 && found.iter().all(|finding| finding["severity"] == "note"), "{found:?}");
    assert!(found.iter().any(|finding| finding["kind"] == "deleted-topic" && finding["topic"] == "Bills"), "{found:?}");

    change(&dir.path().join("consumequeue/Orders/0/00000000000000000000"), 20 + 7);
    let (code, found) = findings(dir.path());
    let wrong: Vec<_> = found.iter().filter(|finding| finding["severity"] != "note").collect();
    assert_eq!((code, wrong.len()), (1, 1), "{wrong:?}");
    assert_eq!((wrong[0]["kind"].as_str(), wrong[0]["queueOffset"].as_i64()), (Some("wrong-entry"), Some(1)));
    assert_eq!(tool(&["repair", "--yes"], dir.path()).0, 0);
    let store = Store::open(config(dir.path())).unwrap();
    assert_eq!((store.max_offset("Orders", 0).0, store.max_offset("Orders", 1).0), (3, 3));
    for (topic, queue_id, offset, _, body) in again.iter().filter(|message| message.0 == "Orders") {
        let got = store.get_message(topic, *queue_id, QueueOffset(*offset), 1, 1 << 20, &|_| true);
        let bytes = got.parts[0].to_bytes().unwrap();
        assert_eq!(protocol::record::Record::parse(&bytes).unwrap().body, body.as_bytes());
    }
    store.close().unwrap();
}

#[test]
fn log_files_that_are_missing_or_have_a_wrong_size_are_put_right_and_the_rest_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let places = made(dir.path());
    let file = |n: i64| dir.path().join(format!("commitlog/{:020}", n * FILE));
    assert!(file(3).exists());
    fs::rename(file(1), dir.path().join("commitlog/lost")).unwrap();
    fs::OpenOptions::new().write(true).open(file(2)).unwrap().set_len(9000).unwrap();
    let longer = [fs::read(file(0)).unwrap(), b"more".to_vec()].concat();
    fs::write(file(0), longer).unwrap();
    let (code, found) = findings(dir.path());
    assert_eq!(code, 1);
    assert_eq!(kinds(&found), ["damaged-log", "damaged-message", "foreign-file", "wrong-size"]);
    let (code, out, err) = tool(&["repair", "--yes"], dir.path());
    assert_eq!(code, 0, "{out}{err}");
    let store = Store::open(config(dir.path())).unwrap();
    let mut served = 0;
    for (topic, queue_id, offset, at, body) in &places {
        let got = store.get_message(topic, *queue_id, QueueOffset(*offset), 1, 1 << 20, &|_| true);
        let is_lost = at / FILE == 1 || at / FILE == 2 && at % FILE + 400 > 9000;
        match got.status {
            GetStatus::Found => {
                assert!(got.parts[0].to_bytes().unwrap().windows(body.len()).any(|some| some == body.as_bytes()));
                served += 1;
            }
            GetStatus::MessageWasRemoving => assert!(is_lost, "{topic} {queue_id} {offset} at {at}"),
            other => panic!("{topic} {queue_id} {offset}: {other:?}"),
        }
    }
    assert!(served > 60, "{served}");
    store.close().unwrap();
    let names: Vec<_> =
        files(&dir.path().join("quarantine")).into_iter().filter(|(_, bytes)| bytes == b"more").collect();
    assert_eq!(names.len(), 1, "what a file had too much is kept");
}

/// `STORE_TOOLS_SEEDS` says how many; a failure names its seed.
#[test]
fn whatever_is_damaged_a_repaired_store_is_sound_opens_and_serves_the_rest() {
    let seeds = std::env::var("STORE_TOOLS_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(40);
    let made_once = tempfile::tempdir().unwrap();
    let places = made(made_once.path());
    let sound = files(made_once.path());
    for seed in 0..seeds {
        let dir = tempfile::tempdir().unwrap();
        for (path, bytes) in &sound {
            let path = dir.path().join(path.strip_prefix(made_once.path()).unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let told = damage(dir.path(), seed);
        let config = config(dir.path());
        let directory = Directory::look(&config, true).unwrap_or_else(|error| panic!("{seed} {told:?}: {error}"));
        let verified = directory.verify(&mut |_| {}, &mut |_| {});
        if verified.findings > 0 {
            let plan = Plan::make(&directory, verified, &config);
            plan.carry_out("", &mut |_| {}).unwrap_or_else(|error| panic!("{seed} {told:?}: {error}"));
        }
        let mut left = Vec::new();
        let directory = Directory::look(&config, true).unwrap();
        directory.verify(&mut |finding| left.push(finding.clone()), &mut |_| {});
        // A record whose topic or queue was changed, which no checksum covers, is another queue's from then on.
        let moved = [Kind::MissingMessage, Kind::UnreachableMessage, Kind::StrangeRecord];
        left.retain(|finding| finding.severity > Severity::Note && !moved.contains(&finding.kind));
        assert!(left.is_empty(), "{seed} {told:?}: {left:#?}");
        let store = Store::open(config).unwrap_or_else(|error| panic!("{seed} {told:?}: {error}"));
        let mut served = 0;
        for (topic, queue_id, offset, at, body) in &places {
            let got = store.get_message(topic, *queue_id, QueueOffset(*offset), 1, 1 << 20, &|_| true);
            if got.status == GetStatus::Found {
                let bytes = got.parts[0].to_bytes().unwrap();
                let record = protocol::record::Record::parse(&bytes).unwrap();
                assert_eq!(record.commit_log_offset.0, *at, "{seed} {told:?}");
                assert_eq!(record.body, body.as_bytes(), "{seed} {told:?}");
                served += 1;
            }
        }
        // A damage takes a file of the log along at most, which has 50 messages.
        assert!(served + 60 * told.len() >= 200, "{seed} {told:?}: {served} of 200");
        store.close().unwrap();
    }
}

/// One to three things that befall files of a store. Says what.
fn damage(dir: &Path, seed: u64) -> Vec<String> {
    let mut state = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let mut random = |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound.max(1)
    };
    let mut told = Vec::new();
    for _ in 0..1 + random(3) {
        let paths: Vec<PathBuf> = files(dir).into_keys().filter(|path| !path.ends_with("lock")).collect();
        let path = &paths[random(paths.len() as u64) as usize];
        let size = fs::metadata(path).unwrap().len();
        let (at, len) = (random(size), 1 + random(600));
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        let what = random(6);
        match what {
            0 => (0..1 + len / 200).for_each(|n| change(path, (at + n * 37).min(size - 1))),
            1 => file.set_len(at).unwrap(),
            2 => file.write_all_at(&vec![0; len.min(size - at) as usize], at).unwrap(),
            3 => file.write_all_at(b"beyond its end", size + at).unwrap(),
            4 => fs::remove_file(path).unwrap(),
            _ => _ = fs::copy(path, path.with_extension("copy")).unwrap(),
        }
        let what = ["flip", "cut", "zero", "lengthen", "delete", "double"][what as usize];
        told.push(format!("{what} {} at {at}", path.strip_prefix(dir).unwrap().display()));
    }
    told
}

#[test]
fn a_torn_end_after_a_crash_is_no_finding_and_after_a_stop_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let places = made(dir.path());
    let last = places[199].3;
    let log = dir.path().join(format!("commitlog/{:020}", last - last % FILE));
    let file = fs::OpenOptions::new().write(true).open(&log).unwrap();
    file.write_all_at(&[0; 200], (last % FILE) as u64 + 60).unwrap();
    let (code, found) = findings(dir.path());
    assert_eq!((code, kinds(&found)), (1, vec!["damaged-log", "damaged-message"]));
    fs::write(dir.path().join("abort"), "").unwrap();
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    let (code, found) = findings(dir.path());
    assert_eq!((code, kinds(&found)), (1, vec!["checkpoint", "torn-tail"]));
    assert_eq!(found[0]["severity"], "note");
}

#[test]
fn what_cannot_be_looked_at_is_told_apart_from_what_is_not_sound() {
    let dir = tempfile::tempdir().unwrap();
    for (path, reason) in [(dir.path().join("absent"), "is not there"), (dir.path().to_owned(), "holds no store")] {
        for what in [&["verify"][..], &["info"], &["dump"], &["repair"], &["repair", "--yes"]] {
            let (code, out, err) = tool(what, &path);
            assert_eq!((code, out.as_str()), (2, ""), "{what:?}");
            assert!(err.contains(reason), "{err}");
        }
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_store_in_use_is_looked_at_and_not_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let conf =
        ["mappedFileSizeCommitLog=65536", "mappedFileSizeConsumeQueue=2000", "maxHashSlotNum=100", "maxIndexNum=400"];
    let dev = Dev::start_on(dir.path(), support::free_port(), support::free_broker_port(), &conf).await;
    let (client, broker) = (Client::default(), dev.broker.clone());
    let sender = tokio::spawn(async move {
        for n in 0..2000 {
            let request = send_request("Live", n % 4, &format!("KEYS\u{1}k{n}\u{2}TAGS\u{1}t\u{2}"));
            send(&client, &broker, &request, "y".repeat(400)).await.unwrap();
        }
    });
    let mut looks = 0;
    while !sender.is_finished() || looks < 2 {
        let path = dir.path().to_owned();
        let (code, found) = tokio::task::spawn_blocking(move || findings(&path)).await.unwrap();
        assert!(code == 0 && found.iter().all(|finding| finding["severity"] == "note"), "{found:?}");
        looks += 1;
    }
    sender.await.unwrap();
    let pid = dev.pid().to_string();
    let (code, out, _) = tool(&["info"], dir.path());
    assert!(code == 0 && out.contains(&format!("in use by process {pid}")), "{out}");
    let (code, _, err) = tool(&["repair", "--yes"], dir.path());
    assert!(code == 2 && err.contains(&format!("in use by process {pid}")), "{err}");
    // Looking took no lock away from it.
    assert_eq!(tool(&["info"], dir.path()).0, 0);
    let (code, out, _) = tool(&["dump", "--topic", "Live", "--no-body"], dir.path());
    assert_eq!((code, out.lines().count()), (0, 2000));
    assert!(dev.stop().success());
    assert_eq!(findings(dir.path()).0, 0);
}

#[tokio::test]
async fn a_consumer_passes_on_past_what_repair_has_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let ports = (support::free_port(), support::free_broker_port());
    let dev = Dev::start_on(dir.path(), ports.0, ports.1, &[]).await;
    let client = Client::default();
    let mut sent = Vec::new();
    for n in 0..9 {
        let reply = send(&client, &dev.broker, &send_request("Past", 0, "TAGS\u{1}t\u{2}"), format!("body {n}")).await;
        sent.push(reply.unwrap());
    }
    assert!(dev.stop().success());
    let (_, out, _) = tool(&["dump", "--topic", "Past", "--offset", "4"], dir.path());
    let line: Value = serde_json::from_str(&out).unwrap();
    change(Path::new(line["file"].as_str().unwrap()), line["position"].as_u64().unwrap() + 90);
    assert_eq!(tool(&["repair", "--yes"], dir.path()).0, 0);

    let dev = Dev::start_on(dir.path(), ports.0, ports.1, &[]).await;
    let before = client.invoke(&dev.broker, pull_request("g", "Past", 0, QueueOffset(0)).write(), SOON).await.unwrap();
    assert_eq!((before.code, messages(&before.body).len()), (0, 4));
    let at = client.invoke(&dev.broker, pull_request("g", "Past", 0, QueueOffset(4)).write(), SOON).await.unwrap();
    assert_eq!((at.code, next_begin_offset(&at)), (20, QueueOffset(5)), "{:?}", at.remark);
    let mut offsets = Vec::new();
    let mut next = QueueOffset(0);
    while next < QueueOffset(9) {
        let request = pull_request("g", "Past", 0, next).write();
        let answer = client.invoke(&dev.broker, request, SOON).await.unwrap();
        if answer.code == 0 {
            offsets.extend(messages(&answer.body).iter().map(|it| it.queue_offset));
        }
        next = next_begin_offset(&answer);
    }
    assert_eq!(offsets, [0, 1, 2, 3, 5, 6, 7, 8]);
    assert_eq!(sent.len(), 9);
}
