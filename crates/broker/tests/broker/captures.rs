//! Stores that Apache's brokers wrote: they open, and serve what Apache served, message for message.
//!
//! `captures/README.md` says what is in them and how they were made.

use crate::Running;
use crate::client::{Client, Pull, bodies, properties};
use broker::Config;
use flate2::read::ZlibDecoder;
use protocol::command::Command;
use protocol::message::SysFlag;
use protocol::record::Record;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const VERSIONS: [&str; 2] = ["4.9.7", "5.5.0"];
/// The group that read the stores for what is expected of them.
const READER: &str = "Reader";
/// A commit log file of these stores, bytes.
const FILE: i64 = 65536;

#[test]
fn a_store_of_apaches_is_served_message_for_message_and_left_as_it_was() {
    for version in VERSIONS {
        let capture = Capture::unpack(version);
        let before = ["consumequeue", "index"].map(|name| files(&capture.path(name)));
        for _ in 0..2 {
            let running = Running::without_clock(capture.config());
            capture.check(&running);
            running.stop();
            assert_same_files(&files(&capture.path("commitlog")), &capture.log);
            assert_same_files(&files(&capture.path("consumequeue")), &before[0]);
            assert_same_files(&files(&capture.path("index")), &before[1]);
        }
        assert!(!capture.path("abort").exists());
    }
}

#[test]
fn queues_and_index_of_a_store_of_apaches_are_rebuilt_from_its_commit_log() {
    for version in VERSIONS {
        let capture = Capture::unpack(version);
        let before = files(&capture.path("consumequeue"));
        for gone in ["consumequeue", "index"] {
            fs::remove_dir_all(capture.path(gone)).unwrap();
        }
        fs::remove_file(capture.path("checkpoint")).unwrap();
        for _ in 0..2 {
            let running = Running::without_clock(capture.config());
            capture.check(&running);
            running.stop();
            assert_same_files(&files(&capture.path("commitlog")), &capture.log);
            assert_same_files(&files(&capture.path("consumequeue")), &before);
        }
    }
}

#[test]
fn a_store_of_apaches_that_was_not_stopped_in_order_is_served_as_well() {
    for version in VERSIONS {
        let capture = Capture::unpack(version);
        fs::write(capture.path("abort"), "").unwrap();
        let running = Running::without_clock(capture.config());
        capture.check(&running);
        running.stop();
        assert_same_files(&files(&capture.path("commitlog")), &capture.log);
    }
}

#[test]
fn a_new_message_goes_on_behind_those_that_apache_stored() {
    for version in VERSIONS {
        let capture = Capture::unpack(version);
        let end = capture.messages().map(|message| int(message, "commitLogOffset") + int(message, "storeSize")).max();
        let running = Running::without_clock(capture.config());
        let mut client = running.client();
        let sent = client.send_message("Orders", 0, &properties("UNIQ_KEY=NEW;KEYS=customer-3;"), b"new");
        assert_eq!((sent.code, sent.remark.as_deref(), sent.ext.get("queueOffset")), (0, None, Some("60")));
        let id = sent.ext.get("msgId").unwrap();
        assert_eq!(i64::from_str_radix(&id[16..], 16).ok(), end, "{version}: where the log ended");
        running.stop();

        let running = Running::without_clock(capture.config());
        let mut client = running.client();
        let pull = |offset| Pull { group: READER, offset, ..Pull::of("Orders") };
        assert_eq!(bodies(&client.pull(pull(60))), ["new"]);
        assert_eq!(client.pull(pull(61)).code, 19);
        let known = capture.lines("key").find(|line| line["key"] == "customer-3").unwrap();
        let mut ids: Vec<&str> = text(known, "offsetMsgIds").split(',').collect();
        ids.push(id);
        assert_eq!(found(&mut client, "Orders", "customer-3", "false"), ids);
        for message in capture.messages() {
            assert_eq!(view(&mut client, message), capture.record(message));
        }
        running.stop();
    }
}

#[test]
fn what_waited_in_a_store_of_apaches_is_delivered_when_it_is_due() {
    for version in VERSIONS {
        let capture = Capture::unpack(version);
        // All is due after a second, whatever the time is where this runs.
        let config = Config { delay_levels: capture.delay_levels(), ..capture.config() };
        let running = Running::start(config);
        let mut client = running.client();
        let mut delivered = Vec::new();
        while delivered.len() < 4 {
            let offset = 2 + delivered.len() as i64;
            let answer = client.pull(Pull { group: READER, offset, hold_millis: 5000, ..Pull::of("Delayed") });
            assert_eq!(answer.code, 0, "{version}: {delivered:?}, and then {:?}", answer.remark);
            delivered.extend(bodies(&answer));
        }
        delivered.sort();
        let retry = Pull { group: READER, offset: 1, hold_millis: 5000, ..Pull::of("%RETRY%Failing") };
        let retried = bodies(&client.pull(retry));
        // It is noted behind the delivery, when that is on disk.
        let progress = |running: &Running| [1, 5, 18].map(|level| running.broker.delay.next(level).0);
        let begun = Instant::now();
        while progress(&running) != [3, 3, 2] {
            assert!(begun.elapsed() < Duration::from_secs(10), "{version}: {:?}", progress(&running));
            std::thread::sleep(Duration::from_millis(5));
        }
        running.stop();

        let waiting = capture.messages().filter(|message| message["topic"] == "SCHEDULE_TOPIC_XXXX");
        let (mut to_delayed, mut to_retry) = (Vec::new(), Vec::new());
        for message in waiting.filter(|message| int(message, "queueId") > 0) {
            let body = String::from_utf8(Record::parse(capture.record(message)).unwrap().body.to_vec()).unwrap();
            match text(&message["properties"], "REAL_TOPIC") {
                "Delayed" => to_delayed.push(body),
                "%RETRY%Failing" => to_retry.push(body),
                other => panic!("{other}"),
            }
        }
        to_delayed.sort();
        assert_eq!((delivered, retried), (to_delayed, to_retry), "{version}");

        let reopened = Running::without_clock(capture.config());
        assert_eq!(progress(&reopened), [3, 3, 2], "{version}: nothing is delivered again");
        reopened.stop();
    }
}

/// A store of Apache's in a directory of its own, and what is expected of it.
struct Capture {
    dir: TempDir,
    /// What a client read while Apache served it.
    expected: Vec<Value>,
    /// The commit log's files as Apache left them.
    log: BTreeMap<PathBuf, Vec<u8>>,
    topics: Value,
    groups: Value,
}

impl Capture {
    fn unpack(version: &str) -> Capture {
        let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../captures");
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("store");
        fs::create_dir(&root).unwrap();
        // -m: files are as old as this test; old ones would be deleted.
        let tar = std::process::Command::new("tar")
            .args(["-x", "-z", "-m", "-f"])
            .arg(captures.join(format!("store-{version}.tar.gz")))
            .arg("-C")
            .arg(&root)
            .status();
        assert!(tar.as_ref().is_ok_and(|status| status.success()), "the program `tar` unpacks the store: {tar:?}");

        let conf = fs::read_to_string(captures.join(format!("broker-{version}.conf"))).unwrap();
        let conf = format!("{conf}\nstorePathRootDir={}\nlistenPort=0\n", root.display());
        fs::write(dir.path().join("broker.conf"), conf).unwrap();

        let expected = fs::read_to_string(captures.join(format!("expected-{version}.jsonl"))).unwrap();
        let expected: Vec<Value> = expected.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let table = |name: &str| serde_json::from_slice(&fs::read(root.join("config").join(name)).unwrap()).unwrap();
        Capture {
            expected,
            log: files(&root.join("commitlog")),
            topics: table("topics.json"),
            groups: table("subscriptionGroup.json"),
            dir,
        }
    }

    fn config(&self) -> Config {
        let (config, notes) = Config::read(&self.dir.path().join("broker.conf")).unwrap();
        assert_eq!((notes.unknown, notes.repeated), (vec![], vec![]));
        config
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("store").join(name)
    }

    fn lines<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.expected.iter().filter(move |line| line["kind"] == kind)
    }

    fn messages(&self) -> impl Iterator<Item = &Value> {
        self.lines("message")
    }

    /// The bytes that Apache wrote for a message.
    fn record(&self, message: &Value) -> &[u8] {
        let (at, size) = (int(message, "commitLogOffset"), int(message, "storeSize") as usize);
        let file = &self.log[Path::new(&format!("{:020}", at - at % FILE))];
        &file[(at % FILE) as usize..][..size]
    }

    fn delay_levels(&self) -> broker::config::DelayLevels {
        broker::config::DelayLevels::read(&["1s"; 18].join(" ")).unwrap()
    }

    /// Asks for everything that is expected, by each way there is.
    fn check(&self, running: &Running) {
        let groups = running.broker.groups.changed();
        let mut client = running.client();
        let (mut queues, mut messages) = (0, 0);
        for queue in self.lines("queue") {
            queues += 1;
            messages += self.check_queue(&mut client, queue);
        }
        assert_eq!((queues, messages), (34, self.messages().count() as i64));
        for message in self.messages() {
            assert_eq!(view(&mut client, message), self.record(message));
            let (topic, unique) = (text(message, "topic"), text(message, "uniqKey"));
            let ids = found(&mut client, topic, unique, "true");
            assert!(ids.iter().any(|id| message["offsetMsgId"] == **id), "{topic} {unique}: {ids:?}");
        }
        for line in self.lines("key") {
            let ids = found(&mut client, text(line, "topic"), text(line, "key"), "false");
            assert_eq!(ids.join(","), text(line, "offsetMsgIds"), "{line}");
        }
        for line in self.lines("offset") {
            let queue = line["queueId"].to_string();
            let fields = [
                ("consumerGroup", text(line, "group")),
                ("topic", text(line, "topic")),
                ("queueId", &queue),
                ("setZeroIfNotFound", "false"),
            ];
            assert_eq!(number(&client.ask(14, &fields, b""), "offset"), int(line, "offset"), "{line}");
        }
        self.check_tables(running);
        assert!(!groups.has_changed().unwrap(), "every group was known");
    }

    /// Pulls a queue from its beginning to its end; answers with how many messages it has.
    fn check_queue(&self, client: &mut Client, queue: &Value) -> i64 {
        let (topic, id) = (text(queue, "topic"), int(queue, "queueId"));
        let fields = [("topic", topic), ("queueId", &id.to_string())];
        let mut bounds = |code| number(&client.ask(code, &fields, b""), "offset");
        let (max, min) = (bounds(30), bounds(31));
        assert_eq!((min, max), (int(queue, "minOffset"), int(queue, "maxOffset")), "{queue}");

        let mut expected = self.messages_of(topic, id);
        let mut offset = min;
        while offset < max {
            let answer = client.pull(Pull { group: READER, queue: id as i32, offset, ..Pull::of(topic) });
            assert_eq!((answer.code, answer.remark.as_deref()), (0, Some("FOUND")), "{topic} {id} from {offset}");
            for record in Record::all(&answer.body) {
                let record = record.unwrap();
                record.verify_crc().unwrap();
                let message = expected.next().expect("no more messages than Apache had");
                assert_eq!(as_client_saw(&record), comparable(message));
                assert_eq!(record.bytes, self.record(message), "{topic} {id} at {offset}");
                offset += 1;
            }
            assert_eq!(number(&answer, "nextBeginOffset"), offset);
            assert_eq!((number(&answer, "minOffset"), number(&answer, "maxOffset")), (min, max));
        }
        assert_eq!(expected.next(), None, "no fewer messages than Apache had");
        let end = client.pull(Pull { group: READER, queue: id as i32, offset: max, ..Pull::of(topic) });
        assert_eq!(end.code, 19, "{topic} {id}: {:?}", end.remark);
        self.check_tags(client, topic, id);
        self.check_times(client, topic, id);
        max - min
    }

    fn messages_of<'a>(&'a self, topic: &'a str, queue: i64) -> impl Iterator<Item = &'a Value> {
        self.messages().filter(move |message| message["topic"] == topic && message["queueId"] == queue)
    }

    /// With each tag that occurs, its messages are found, and no others.
    fn check_tags(&self, client: &mut Client, topic: &str, queue: i64) {
        // There it stands in place of the tag when a message is due.
        if topic == "SCHEDULE_TOPIC_XXXX" {
            return;
        }
        let mut tagged = BTreeMap::<&str, Vec<i64>>::new();
        for message in self.messages_of(topic, queue).filter(|message| message["tags"] != "") {
            tagged.entry(text(message, "tags")).or_default().push(int(message, "queueOffset"));
        }
        for (tags, expected) in tagged {
            let (mut found, mut offset) = (Vec::new(), 0);
            while found.len() < expected.len() {
                let answer = client.pull(Pull { group: READER, queue: queue as i32, offset, tags, ..Pull::of(topic) });
                assert_eq!(answer.code, 0, "{topic} {queue} {tags} from {offset}");
                found.extend(Record::all(&answer.body).map(|record| record.unwrap().queue_offset.0));
                offset = number(&answer, "nextBeginOffset");
            }
            assert_eq!(found, expected, "{topic} {queue} {tags}");
        }
    }

    /// With each time at which a message was stored, the first of that time is found.
    fn check_times(&self, client: &mut Client, topic: &str, queue: i64) {
        let mut first = BTreeMap::new();
        for message in self.messages_of(topic, queue) {
            first.entry(int(message, "storeTimestamp")).or_insert(int(message, "queueOffset"));
        }
        for (time, offset) in first {
            let (queue, time) = (queue.to_string(), time.to_string());
            let fields = [("topic", topic), ("queueId", queue.as_str()), ("timestamp", &time)];
            assert_eq!(number(&client.ask(29, &fields, b""), "offset"), offset, "{topic} {queue} at {time}");
        }
    }

    /// Topics and groups have the settings that Apache's tables say.
    fn check_tables(&self, running: &Running) {
        for (name, topic) in self.topics["topicConfigTable"].as_object().unwrap() {
            let known = running.broker.topics.get(name).unwrap_or_else(|| panic!("topic {name}"));
            assert_holds(&serde_json::to_value(&*known).unwrap(), topic, name);
        }
        for (name, group) in self.groups["subscriptionGroupTable"].as_object().unwrap() {
            let known = running.broker.groups.get_or_create(name, None, 0).unwrap();
            assert_holds(&serde_json::to_value(&*known).unwrap(), group, name);
        }
    }
}

/// A message as the captures tell of it, without the hashes: the body is there itself, and so is the record.
fn as_client_saw(record: &Record<'_>) -> Value {
    let mut body = record.body.to_vec();
    if record.sys_flag & SysFlag::COMPRESSED != 0 {
        body.clear();
        ZlibDecoder::new(record.body).read_to_end(&mut body).unwrap();
    }
    let properties: BTreeMap<&str, &str> = record.properties().iter().collect();
    let property = |name| properties.get(name).copied().unwrap_or("");
    json!({
        "kind": "message",
        "topic": record.topic,
        "queueId": record.queue_id,
        "queueOffset": record.queue_offset.0,
        "commitLogOffset": record.commit_log_offset.0,
        "offsetMsgId": offset_id(record),
        "uniqKey": property("UNIQ_KEY"),
        "keys": property("KEYS"),
        "tags": property("TAGS"),
        "storeSize": record.bytes.len(),
        "bodyCrc": record.body_crc,
        "sysFlag": record.sys_flag & !SysFlag::COMPRESSED,
        "flag": record.flag,
        "bornTimestamp": record.born_timestamp,
        "storeTimestamp": record.store_timestamp,
        "reconsumeTimes": record.reconsume_times,
        "preparedTransactionOffset": record.prepared_transaction_offset,
        "bodyLength": body.len(),
        "body": base64(&body),
        "properties": properties,
    })
}

fn comparable(message: &Value) -> Value {
    let mut message = message.clone();
    let fields = message.as_object_mut().unwrap();
    fields.remove("bodySha256").unwrap();
    fields.remove("recordSha256").unwrap();
    // Newer clients take the bit away when they decompress.
    let sys_flag = fields["sysFlag"].as_i64().unwrap() as i32;
    fields["sysFlag"] = json!(sys_flag & !SysFlag::COMPRESSED);
    message
}

/// The id that says where a message lies: address, port and commit log offset, in hexadecimal.
fn offset_id(record: &Record<'_>) -> String {
    let IpAddr::V4(ip) = record.store_host.ip() else { panic!("{}", record.store_host) };
    format!("{:08X}{:08X}{:016X}", ip.to_bits(), record.store_host.port(), record.commit_log_offset.0)
}

/// The ids of the messages that a query by key finds, oldest first.
fn found(client: &mut Client, topic: &str, key: &str, unique: &str) -> Vec<String> {
    let fields = [
        ("topic", topic),
        ("key", key),
        ("maxNum", "64"),
        ("beginTimestamp", "0"),
        ("endTimestamp", "9223372036854775807"),
        ("_UNIQUE_KEY_QUERY", unique),
    ];
    let answer = client.ask(12, &fields, b"");
    assert_eq!((answer.code, answer.remark.as_deref()), (0, None), "{topic} {key}");
    let mut ids: Vec<String> = Record::all(&answer.body).map(|record| offset_id(&record.unwrap())).collect();
    ids.sort();
    ids
}

/// The record that lies where a message's id says.
fn view(client: &mut Client, message: &Value) -> Vec<u8> {
    let at = i64::from_str_radix(&text(message, "offsetMsgId")[16..], 16).unwrap();
    client.ask(33, &[("offset", &at.to_string())], b"").body.to_vec()
}

/// Every file under `dir` by its name, with its bytes.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.insert(path.strip_prefix(dir).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn assert_same_files(now: &BTreeMap<PathBuf, Vec<u8>>, before: &BTreeMap<PathBuf, Vec<u8>>) {
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(now), names(before));
    for (name, bytes) in before {
        let first = now[name].iter().zip(bytes).position(|(now, before)| now != before);
        assert_eq!((first, now[name].len()), (None, bytes.len()), "{}: first change, size", name.display());
    }
}

/// Each of the settings is there; others may be, that came later.
fn assert_holds(known: &Value, settings: &Value, name: &str) {
    for (key, value) in settings.as_object().unwrap() {
        assert_eq!(known.get(key), Some(value), "{key} of {name}");
    }
}

fn int(line: &Value, key: &str) -> i64 {
    line[key].as_i64().unwrap_or_else(|| panic!("{key} of {line}"))
}

fn text<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().unwrap_or_else(|| panic!("{key} of {line}"))
}

fn number(answer: &Command, field: &str) -> i64 {
    answer.ext.get(field).unwrap_or_else(|| panic!("{field} of {answer:?}")).parse().unwrap()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().chain(&[0, 0]).take(3).fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        for n in 0..4 {
            text.push(if n <= chunk.len() { char::from(LETTERS[bits >> (18 - 6 * n) & 63]) } else { '=' });
        }
    }
    text
}
