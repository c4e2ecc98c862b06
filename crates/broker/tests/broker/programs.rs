use crate::client::{Client, Pull, bodies, config, properties};
use crate::{Running, code};
use protocol::command::Command;
use std::path::Path;
use std::time::{Duration, Instant};

/// Keeps what has an `amount` of at least 100, or `urgent` in its body.
const EXAMPLE: &[u8] = include_bytes!("../../../../examples/filter/filter.wasm");

/// A program in WebAssembly's text format that answers what `body` leaves.
fn program(body: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(module (memory (export "memory") 1)
            (func (export "alloc") (param i32) (result i32) (i32.const 1024))
            (func (export "filter") (param $at i32) (param $len i32) (result i32) {body}))"#
    ))
    .unwrap()
}

/// Keeps what has a body that begins with this byte.
fn begins_with(byte: u8) -> Vec<u8> {
    program(&format!(
        "(i32.eq (i32.const {byte}) (i32.load8_u (i32.add (local.get $at) (i32.load (i32.add (local.get $at) (i32.const 8))))))"
    ))
}

const HANGS: &str = "(loop $on (br $on)) (i32.const 0)";

fn put(client: &mut Client, group: &str, topic: &str, module: &[u8]) -> Command {
    client.ask(code::PUT_FILTER_PROGRAM, &[("consumerGroup", group), ("topic", topic)], module)
}

fn remove(client: &mut Client, group: &str, topic: &str) -> Command {
    client.ask(code::REMOVE_FILTER_PROGRAM, &[("consumerGroup", group), ("topic", topic)], b"")
}

fn list(client: &mut Client) -> Vec<serde_json::Value> {
    let answer = client.ask(code::LIST_FILTER_PROGRAMS, &[], b"");
    let list: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    list["programs"].as_array().unwrap().clone()
}

/// All that a group gets of a queue from the start, and in how many pulls.
fn drain(client: &mut Client, pull: Pull<'_>) -> (Vec<String>, usize) {
    let (mut got, mut offset, mut pulls) = (Vec::new(), 0, 0);
    loop {
        let answer = client.pull(Pull { offset, ..pull });
        if answer.code == 19 {
            return (got, pulls);
        }
        assert!(matches!(answer.code, 0 | 20), "{answer:?}");
        let next: i64 = answer.ext.get("nextBeginOffset").unwrap().parse().unwrap();
        assert!(next > offset, "a pull gets on: {answer:?}");
        got.extend(bodies(&answer));
        (offset, pulls) = (next, pulls + 1);
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_group_gets_what_its_program_keeps_and_others_get_everything() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    client.send_message("T", 0, &properties("amount=99;TAGS=A;"), b"few");
    client.send_message("T", 0, &properties("amount=100;TAGS=A;"), b"many");
    client.send_message("T", 0, &properties("TAGS=B;"), b"urgent!");
    client.send_message("T", 0, "", b"neither");
    let answer = put(&mut client, "CG", "T", EXAMPLE);
    assert_eq!(answer.code, 0, "{answer:?}");

    let all = Pull::of("T");
    assert_eq!(drain(&mut client, all).0, ["many", "urgent!"]);
    assert_eq!(drain(&mut client, Pull { tags: "A", ..all }).0, ["many"], "after the tags");
    assert_eq!(bodies(&client.pull(Pull { group: "other", ..all })), ["few", "many", "urgent!", "neither"]);
    assert_eq!(client.subscribe("CG", ("T", "SQL92", "amount < 100", 1)).code, 0);
    let by_heartbeat = [
        ("consumerGroup", "CG"),
        ("topic", "T"),
        ("queueId", "0"),
        ("queueOffset", "0"),
        ("maxMsgNums", "32"),
        ("sysFlag", "0"),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "0"),
        ("subVersion", "1"),
    ];
    let answer = client.ask(11, &by_heartbeat, b"");
    assert_eq!((answer.code, answer.ext.get("nextBeginOffset")), (20, Some("4")), "after SQL92, which passes one");

    let listed = list(&mut client);
    let counts = ["kept", "dropped", "failed"].map(|count| listed[0][count].as_i64().unwrap());
    assert_eq!((listed.len(), counts), (1, [3, 4, 0]), "{listed:?}");
    assert_eq!((&listed[0]["group"], &listed[0]["topic"]), (&"CG".into(), &"T".into()));

    assert_eq!(put(&mut client, "CG", "T", &begins_with(b'n')).code, 0);
    assert_eq!(drain(&mut client, all).0, ["neither"], "the newest counts");
    assert_eq!(remove(&mut client, "CG", "T").code, 0);
    assert_eq!(bodies(&client.pull(all)).len(), 4);
    assert_eq!((remove(&mut client, "CG", "T").code, list(&mut client).len()), (29, 0));
}

#[test]
fn a_program_is_there_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    client.send_message("T", 0, "", b"a");
    client.send_message("T", 0, "", b"b");
    put(&mut client, "CG", "T", &begins_with(b'a'));
    put(&mut client, "CG", "T", &begins_with(b'b'));
    put(&mut client, "other", "T", &begins_with(b'a'));
    remove(&mut client, "other", "T");
    drop(running); // not closed: nothing is saved any more

    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    assert_eq!(drain(&mut client, Pull::of("T")).0, ["b"]);
    assert_eq!(bodies(&client.pull(Pull { group: "other", ..Pull::of("T") })), ["a", "b"]);
}

#[test]
fn a_broken_file_is_named_and_everything_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config/filters/CG/T.wasm");
    {
        let running = Running::start(config(dir.path()));
        let mut client = running.client();
        client.send_message("T", 0, "", b"x");
        put(&mut client, "CG", "T", &begins_with(b'-'));
        assert_eq!(client.pull(Pull::of("T")).code, 20);
        running.stop();
    }
    let whole = std::fs::read(&file).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    for (broken, why) in [
        (&changed[..], "its checksum is"),
        (&whole[..whole.len() - 7], "does not end with its checksum"),
        (b"", "checksum"),
    ] {
        std::fs::write(&file, broken).unwrap();
        let running = Running::start(config(dir.path()));
        let mut client = running.client();
        assert_eq!(bodies(&client.pull(Pull::of("T"))), ["x"], "{why}");
        let listed = list(&mut client);
        let unusable = listed[0]["unusable"].as_str().unwrap();
        assert!(unusable.contains(why), "{why} in {unusable}");
        assert_eq!((&listed[0]["failed"], &listed[0]["group"]), (&1.into(), &"CG".into()));
        running.stop();
    }
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    put(&mut client, "CG", "T", &begins_with(b'-'));
    assert_eq!(client.pull(Pull::of("T")).code, 20);
    running.stop();
    assert_eq!(std::fs::read(&file).unwrap(), whole);
}

#[test]
fn what_a_program_fails_at_is_kept_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    for n in 0..5 {
        client.send_message("T", 0, "", format!("m{n}").as_bytes());
    }
    for (body, why) in [
        ("unreachable", "message 4 of queue 0: it trapped: wasm `unreachable` instruction executed"),
        ("(i32.const 7)", "it answered 7"),
        (HANGS, "used up its fuel"),
    ] {
        assert_eq!(put(&mut client, "CG", "T", &program(body)).code, 0);
        let (got, _) = drain(&mut client, Pull::of("T"));
        assert_eq!(got, ["m0", "m1", "m2", "m3", "m4"], "{body}");
        let listed = list(&mut client);
        assert_eq!((&listed[0]["failed"], &listed[0]["kept"]), (&5.into(), &0.into()));
        let last = listed[0]["lastFailure"].as_str().unwrap();
        assert!(last.contains(why), "{why} in {last}");
        assert!(listed[0]["lastFailureAt"].as_i64().unwrap() > 1_700_000_000_000);
    }
}

#[test]
fn a_program_that_hangs_ends_a_pull_and_not_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    for _ in 0..100 {
        client.send_message("T", 0, "", b"x");
    }
    put(&mut client, "CG", "T", &program(HANGS));
    let began = Instant::now();
    let first = client.pull(Pull::of("T"));
    let (one, count) = (began.elapsed(), bodies(&first).len());
    // 32 were asked for; a pull ends a message after 5 ms, and a message costs a bounded amount of work.
    assert!((1..=32).contains(&count) && one < Duration::from_secs(1), "{count} in {one:?}");
    let (got, pulls) = drain(&mut client, Pull::of("T"));
    assert_eq!((got.len(), list(&mut client)[0]["failed"].as_i64()), (100, Some(100 + count as i64)));
    assert!(pulls > 100 / 32, "{pulls}");
}

#[test]
fn a_held_pull_ends_with_the_first_message_that_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let (mut consumer, mut producer) = (running.client(), running.client());
    producer.send_message("T", 1, "", b"makes the topic");
    consumer.send_pull(Pull { hold_millis: 10_000, ..Pull::of("T") });
    running.until_held(1);
    // Put while the pull is held, and asked all the same.
    assert_eq!(put(&mut producer, "CG", "T", &begins_with(b'y')).code, 0);
    producer.send_message("T", 0, "", b"no");
    producer.send_message("T", 0, "", b"yes");
    let answer = consumer.answer();
    assert_eq!((bodies(&answer), answer.ext.get("nextBeginOffset")), (names(&["yes"]), Some("2")));

    consumer.send_pull(Pull { offset: 2, hold_millis: 300, ..Pull::of("T") });
    running.until_held(1);
    producer.send_message("T", 0, "", b"no");
    let answer = consumer.answer();
    assert_eq!((answer.code, answer.ext.get("nextBeginOffset")), (20, Some("3")), "what came is passed over");
}

#[test]
fn a_program_that_keeps_little_goes_through_a_long_queue_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    for n in 0..2000 {
        client.send_message("T", 0, "", if n % 1000 == 999 { b"y" } else { b"n" });
    }
    put(&mut client, "CG", "T", &begins_with(b'y'));
    let (got, pulls) = drain(&mut client, Pull { hold_millis: 0, ..Pull::of("T") });
    assert_eq!(got, ["y", "y"]);
    assert!(pulls >= 3, "no look is at more than 800 messages: {pulls}");
}

#[test]
fn what_comes_again_is_not_judged_again() {
    let dir = tempfile::tempdir().unwrap();
    let levels = broker::config::DelayLevels::read("1s 1s 1s").unwrap();
    let running = Running::start(broker::Config { delay_levels: levels, ..config(dir.path()) });
    let mut client = running.client();
    let sent = client.send_message("T", 0, "", b"x");
    let at = i64::from_str_radix(&sent.ext.get("msgId").unwrap()[16..], 16).unwrap().to_string();
    assert_eq!(client.ask(36, &[("offset", &at), ("group", "CG"), ("delayLevel", "1")], b"").code, 0);
    put(&mut client, "CG", "T", &begins_with(b'-'));
    let again = client.pull(Pull { hold_millis: 5000, ..Pull::of("%RETRY%CG") });
    assert_eq!(bodies(&again), ["x"]);
    let refused = put(&mut client, "CG", "%RETRY%CG", EXAMPLE);
    assert_eq!(refused.code, 29, "{refused:?}");
}

#[test]
fn what_is_no_program_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    client.send_message("T", 0, "", b"x");
    put(&mut client, "CG", "T", &begins_with(b'-'));
    let mut refused = |group: &str, topic: &str, module: &[u8], code: i32, why: &str| {
        let answer = put(&mut client, group, topic, module);
        let remark = answer.remark.unwrap_or_default();
        assert!(answer.code == code && remark.contains(why), "{code} {why} and not {} {remark}", answer.code);
    };
    refused("CG", "T", b"", 29, "this is no WebAssembly module");
    refused("CG", "T", b"PK\x03\x04 a Java archive", 29, "group[CG] for topic[T] is as it was");
    refused("CG", "T", &vec![0; 2 << 20], 29, "2097152 bytes");
    refused("CG", "T", &wat::parse_str("(module)").unwrap(), 29, "does not export a memory");
    refused("CG", "unknown", EXAMPLE, 17, "not exist");
    refused("CG", "SCHEDULE_TOPIC_XXXX", EXAMPLE, 29, "takes no filter program");
    refused("../x", "T", EXAMPLE, 29, "illegal characters");
    refused("", "T", EXAMPLE, 29, "blank");
    assert_eq!(client.pull(Pull::of("T")).code, 20, "the one that was there judges");

    for (code, fields) in [(301, vec![]), (302, vec![("consumerGroup", "CG"), ("topic", "T"), ("className", "a.B")])] {
        let answer = client.ask(code, &fields, b"class B {}");
        assert_eq!(answer.code, 3);
        assert!(answer.remark.unwrap().contains("cometmq admin filter put"));
    }
}

#[test]
fn a_deleted_topic_or_group_leaves_no_program_behind() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    for (group, topic) in [("CG", "T"), ("CG", "U"), ("other", "T"), ("other", "U")] {
        client.send_message(topic, 0, "", b"x");
        assert_eq!(put(&mut client, group, topic, EXAMPLE).code, 0);
    }
    assert_eq!(client.ask(215, &[("topic", "T")], b"").code, 0);
    assert_eq!(client.ask(207, &[("groupName", "CG"), ("cleanOffset", "false")], b"").code, 0);
    let left = list(&mut client);
    assert_eq!((left.len(), &left[0]["group"], &left[0]["topic"]), (1, &"other".into(), &"U".into()));
    let files = |group: &str| std::fs::read_dir(dir.path().join("config/filters").join(group)).unwrap().count();
    assert_eq!((files("CG"), files("other")), (0, 1));
    assert!(Path::new(&dir.path().join("config/filters/other/U.wasm")).exists());
}
