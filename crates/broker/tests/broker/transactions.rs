use crate::Running;
use crate::client::{Client, Pull, bodies, config, messages, properties, send_fields, until};
use broker::Config;
use broker::transaction::Decision;
use protocol::command::Command;
use protocol::message::CommitLogOffset;
use protocol::record::{BatchEntry, Record};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::{PutMessage, Store};

const HALF: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
const OPERATIONS: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
const GIVEN_UP: &str = "TRANS_CHECK_MAX_TIME_TOPIC";

const COMMIT: &str = "8";
const ROLLBACK: &str = "12";
const UNKNOWN: &str = "0";

/// A half message as its sender knows it.
#[derive(Debug, Clone, PartialEq)]
struct Sent {
    offset: String,
    at: String,
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// Producers are asked at once, round by round as the test wants.
fn eager(dir: &Path) -> Config {
    Config { transaction_timeout: Duration::ZERO, ..config(dir) }
}

fn round(running: &Running) {
    let began = now();
    until("a millisecond passes", || now() > began); // what was sent in this millisecond has no age yet
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(running.broker.check_transactions()).unwrap();
}

fn send_half(client: &mut Client, topic: &str, more: &str, body: &str) -> Sent {
    let properties = properties(&format!("TRAN_MSG=true;PGROUP=PG;{more}"));
    let born = now().to_string();
    let fields: Vec<(&str, &str)> = send_fields(topic, "0", &properties)
        .into_iter()
        .map(|(key, value)| match key {
            "g" => ("g", born.as_str()),
            "f" => ("f", "4"),
            _ => (key, value),
        })
        .collect();
    let answer = client.ask(310, &fields, body.as_bytes());
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(answer.ext.get("queueId"), Some("0"));
    let id = answer.ext.get("msgId").unwrap();
    Sent {
        offset: answer.ext.get("queueOffset").unwrap().into(),
        at: i64::from_str_radix(&id[id.len() - 16..], 16).unwrap().to_string(),
    }
}

fn end_of(client: &mut Client, group: &str, sent: &Sent, how: &str, from_check: bool) -> Command {
    let fields = [
        ("producerGroup", group),
        ("tranStateTableOffset", &sent.offset),
        ("commitLogOffset", &sent.at),
        ("commitOrRollback", how),
        ("fromTransactionCheck", if from_check { "true" } else { "false" }),
        ("msgId", "ID"),
        ("transactionId", "ID"),
    ];
    client.ask(37, &fields, b"")
}

fn end(client: &mut Client, sent: &Sent, how: &str) -> Command {
    end_of(client, "PG", sent, how, false)
}

/// Joins the group of producers.
fn join(client: &mut Client, id: &str) {
    let heartbeat = format!(r#"{{"clientID":"{id}","producerDataSet":[{{"groupName":"PG"}}],"consumerDataSet":[]}}"#);
    assert_eq!(client.ask(34, &[], heartbeat.as_bytes()).code, 0);
}

/// The next question of the broker's, and the half message that it is about.
fn asked(client: &mut Client) -> (Sent, Command) {
    let question = client.hear();
    assert_eq!(question.code, 39);
    let text = |key: &str| question.ext.get(key).unwrap().to_owned();
    (Sent { offset: text("tranStateTableOffset"), at: text("commitLogOffset") }, question)
}

fn delivered(running: &Running, topic: &str) -> Vec<String> {
    bodies(&running.client().pull(Pull::of(topic)))
}

fn operations(running: &Running) -> Vec<String> {
    delivered(running, OPERATIONS)
}

#[test]
fn a_half_message_is_delivered_when_it_is_committed_and_never_when_it_is_rolled_back() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let paid = send_half(&mut client, "T", "KEYS=k;TAGS=A;UNIQ_KEY=ID1;TRANSACTION_CHECK_TIMES=9;", "paid");
    let lost = send_half(&mut client, "T", "UNIQ_KEY=ID2;", "not paid");
    assert_eq!(delivered(&running, "T"), [""; 0]);
    let halves = messages(&client.pull(Pull::of(HALF)));
    assert_eq!(halves[0].0, "paid");
    for property in ["TRAN_MSG=true;", "PGROUP=PG;", "__transactionId__=ID1;", "REAL_TOPIC=T;", "REAL_QID=0;"] {
        assert!(halves[0].1.contains(property), "{property} in {}", halves[0].1);
    }
    assert!(!halves[0].1.contains("CHECK_TIMES"), "only a broker says that");

    assert_eq!(end(&mut client, &lost, UNKNOWN).code, 0);
    assert_eq!(end(&mut client, &lost, ROLLBACK).code, 0);
    assert_eq!(end(&mut client, &paid, COMMIT).code, 0);
    let pulled = client.pull(Pull { tags: "A", hold_millis: 5000, ..Pull::of("T") });
    let record = Record::parse(&pulled.body).unwrap();
    assert_eq!((record.body, record.sys_flag & 0xC, record.queue_offset.0), (&b"paid"[..], 8, 0));
    assert_eq!(record.prepared_transaction_offset.to_string(), paid.at);
    let (_, text) = messages(&pulled).remove(0);
    assert!(text.contains("TRAN_MSG=true;") && text.contains("__transactionId__=ID1;"), "{text}");
    assert!(!text.contains("REAL_TOPIC") && !text.contains("REAL_QID"), "{text}");
    let op = messages(&client.pull(Pull::of(OPERATIONS)));
    assert_eq!(op, [("1,".into(), "WAIT=true;TAGS=d;".into()), ("0,".into(), "WAIT=true;TAGS=d;".into())]);
    assert_eq!(running.broker.transactions.lock().len(), 0);
}

#[test]
fn committed_twice_or_rolled_back_afterwards_it_is_delivered_once() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(eager(dir.path()));
    let mut client = running.client();
    let sent = send_half(&mut client, "T", "", "once");
    for how in [COMMIT, COMMIT, ROLLBACK] {
        assert_eq!(end(&mut client, &sent, how).code, 0);
    }
    assert!(end(&mut client, &sent, COMMIT).remark.unwrap().contains("ended before"));
    // Also when the producer's own commit and the answer to a check cross.
    let crossing = send_half(&mut client, "T", "", "crossing");
    join(&mut client, "p");
    round(&running);
    round(&running);
    let (first, _) = asked(&mut client);
    let (second, _) = asked(&mut client);
    for sent in [&crossing, &first, &second, &second] {
        assert_eq!(end_of(&mut client, "PG", sent, COMMIT, true).code, 0);
    }
    assert_eq!(delivered(&running, "T"), ["once", "crossing"]);
    round(&running);
    assert!(client.told.is_empty(), "nobody is asked about it any more");
}

#[test]
fn a_forged_or_foreign_end_delivers_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let plain = client.send_message("T", 0, &properties("PGROUP=PG;TRAN_PREPARED_QUEUE_OFFSET=0;"), b"plain");
    let id = plain.ext.get("msgId").unwrap();
    let plain = i64::from_str_radix(&id[id.len() - 16..], 16).unwrap().to_string();
    let sent = send_half(&mut client, "T", "", "half");
    let other = send_half(&mut client, "T", "TRAN_PREPARED_QUEUE_OFFSET=0;", "other");
    for (group, offset, at, said) in [
        ("XG", "0", &*sent.at, "The producer group wrong"),
        ("", "0", &*sent.at, "The producer group wrong"),
        ("PG", "1", &*sent.at, "The transaction state table offset wrong"),
        ("PG", "0", &*other.at, "The transaction state table offset wrong"),
        ("PG", "0", &*plain, "The commit log offset wrong"),
        ("PG", "0", "1", "Find prepared transaction message failed"),
        ("PG", "0", "-1", "Find prepared transaction message failed"),
        ("PG", "0", "9223372036854775807", "Find prepared transaction message failed"),
    ] {
        let forged = Sent { offset: offset.into(), at: at.into() };
        let answer = end_of(&mut client, group, &forged, COMMIT, true);
        assert_eq!(answer.code, 1, "{group} {offset} {at}");
        assert!(answer.remark.as_ref().unwrap().contains(said), "{answer:?}");
    }
    assert_eq!(end(&mut client, &sent, "4").code, 29);
    assert_eq!(delivered(&running, "T"), ["plain"]);
    assert_eq!(running.broker.transactions.lock().len(), 2);
    assert_eq!(end(&mut client, &other, COMMIT).code, 0);
    assert_eq!(end(&mut client, &sent, COMMIT).code, 0, "nobody's property makes it another's copy");
    assert_eq!(delivered(&running, "T"), ["plain", "other", "half"]);
}

#[test]
fn any_producer_of_the_group_is_asked_also_when_the_first_has_died() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(eager(dir.path()));
    let (mut first, mut second) = (running.client(), running.client());
    join(&mut first, "a");
    send_half(&mut first, "T", "UNIQ_KEY=ID;KEYS=k;", "who knows");
    round(&running);
    let (copy, question) = asked(&mut first);
    assert_eq!(copy.offset, "1", "it moved to the end of the queue");
    assert_eq!((question.ext.get("msgId"), question.ext.get("transactionId")), (Some("ID"), Some("ID")));
    let record = Record::parse(&question.body).unwrap();
    assert_eq!((record.topic, record.queue_id, record.body), ("T", 0, &b"who knows"[..]));
    assert_eq!((record.queue_offset.0.to_string(), record.commit_log_offset.0.to_string()), (copy.offset, copy.at));
    assert_eq!(record.properties().get("TRANSACTION_CHECK_TIMES"), Some("1"));
    drop(first);
    join(&mut second, "b");
    until("the producer is known", || running.broker.producers.lock().peers("PG").len() == 1);
    round(&running);
    let (copy, _) = asked(&mut second);
    assert_eq!(end_of(&mut second, "PG", &copy, UNKNOWN, true).code, 0);
    round(&running);
    let (copy, question) = asked(&mut second);
    assert_eq!(Record::parse(&question.body).unwrap().properties().get("TRANSACTION_CHECK_TIMES"), Some("3"));
    assert_eq!(end_of(&mut second, "PG", &copy, COMMIT, true).code, 0);
    assert_eq!(delivered(&running, "T"), ["who knows"]);
}

#[test]
fn nobody_is_asked_about_a_young_or_an_immune_one() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(eager(dir.path()));
    let mut client = running.client();
    join(&mut client, "p");
    let immune = send_half(&mut client, "T", "CHECK_IMMUNITY_TIME_IN_SECONDS=3600;", "immune");
    send_half(&mut client, "T", "CHECK_IMMUNITY_TIME_IN_SECONDS=-1;", "not immune");
    round(&running);
    let (copy, _) = asked(&mut client);
    assert_eq!(copy.offset, "3");
    round(&running);
    assert_eq!(asked(&mut client).0.offset, "5");
    assert!(client.told.is_empty());
    // The immune one has moved twice, and goes by its first name.
    assert_eq!(end(&mut client, &immune, COMMIT).code, 0);
    assert_eq!(delivered(&running, "T"), ["immune"]);
    drop((client, running));

    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(Config { transaction_timeout: Duration::from_secs(60), ..config(dir.path()) });
    let mut client = running.client();
    send_half(&mut client, "T", "", "young");
    round(&running);
    assert_eq!(running.broker.store.max_offset(HALF, 0).0, 1, "it did not move");
}

#[test]
fn when_its_immunity_is_over_only_an_answer_to_a_check_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(eager(dir.path()));
    let mut client = running.client();
    join(&mut client, "p");
    let sent = send_half(&mut client, "T", "CHECK_IMMUNITY_TIME_IN_SECONDS=1;", "late");
    let sent_at = now();
    until("a second passes", || now() > sent_at + 1000);
    let answer = end(&mut client, &sent, COMMIT);
    assert_eq!(answer.code, 604);
    assert!(answer.remark.unwrap().contains("CHECK_IMMUNITY_TIME_IN_SECONDS"));
    round(&running);
    let (copy, _) = asked(&mut client);
    assert_eq!(end_of(&mut client, "PG", &copy, COMMIT, true).code, 0);
    assert_eq!(delivered(&running, "T"), ["late"]);
}

#[test]
fn one_that_nobody_decides_is_parked_with_all_it_was_and_can_be_taken_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(Config { transaction_check_max: 2, ..eager(dir.path()) });
    let mut client = running.client();
    join(&mut client, "p");
    send_half(&mut client, "T", "UNIQ_KEY=ID;", "undecided");
    round(&running);
    round(&running);
    let (_, last) = (asked(&mut client), asked(&mut client).0);
    round(&running);
    assert_eq!(delivered(&running, GIVEN_UP), ["undecided"]);
    assert!(end(&mut client, &last, COMMIT).remark.unwrap().contains("ended before"));
    assert_eq!(operations(&running), ["2,"]);
    for _ in 0..2 {
        round(&running);
    }
    assert!(client.told.is_empty() && delivered(&running, "T").is_empty());

    let parked = running.broker.parked_transactions(0, 10).remove(0);
    assert_eq!((parked.offset, parked.checks), (0, 2));
    assert_eq!((&*parked.topic, &*parked.producer_group, &*parked.transaction_id), ("T", "PG", "ID"));
    assert_eq!(client.ask(323, &[("msgId", &parked.offset_message_id)], b"").code, 0);
    let wrong = protocol::message::offset_message_id(running.address, CommitLogOffset(0));
    assert_eq!(client.ask(323, &[("msgId", &wrong)], b"").code, 1);
    assert_eq!(client.ask(323, &[("msgId", "x")], b"").code, 29);
    round(&running);
    let (copy, _) = asked(&mut client);
    assert_eq!(end_of(&mut client, "PG", &copy, COMMIT, true).code, 0);
    assert_eq!(delivered(&running, "T"), ["undecided"]);
}

#[test]
fn an_operator_sees_open_transactions_and_ends_them() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    for n in 0..3 {
        send_half(&mut client, "T", &format!("UNIQ_KEY=ID{n};"), &format!("m{n}"));
    }
    let open = running.broker.open_transactions(0, 2);
    let ids: Vec<&str> = open.iter().map(|it| &*it.transaction_id).collect();
    assert_eq!(ids, ["ID0", "ID1"]);
    running.broker.resolve_transaction(open[0].offset, Decision::Commit).unwrap();
    running.broker.resolve_transaction(open[1].offset, Decision::Rollback).unwrap();
    assert!(running.broker.resolve_transaction(open[0].offset, Decision::Commit).is_err());
    assert_eq!(delivered(&running, "T"), ["m0"]);
    assert_eq!(running.broker.open_transactions(0, 9).len(), 1);
}

#[test]
fn transactions_are_open_or_ended_after_a_restart_and_after_a_kill_as_before() {
    for kill in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let running = Running::start(eager(dir.path()));
        let mut client = running.client();
        join(&mut client, "p");
        let names = ["committed", "rolled back", "open", "moved", "moved and committed"];
        let sent: Vec<Sent> = names.iter().map(|name| send_half(&mut client, "T", "", name)).collect();
        end(&mut client, &sent[0], COMMIT);
        end(&mut client, &sent[1], ROLLBACK);
        round(&running);
        end(&mut client, &sent[4], COMMIT);
        let open = send_half(&mut client, "T", "", "late");
        drop(client);
        if kill {
            drop(running)
        } else {
            running.stop()
        }

        let running = Running::start(eager(dir.path()));
        assert_eq!(delivered(&running, "T"), ["committed", "moved and committed"]);
        let left: Vec<i64> = running.broker.open_transactions(0, 9).iter().map(|it| it.offset).collect();
        assert_eq!(left, [5, 6, 8], "kill: {kill}");
        let mut client = running.client();
        for ended in [&sent[0], &sent[1], &sent[4]] {
            assert!(end(&mut client, ended, COMMIT).remark.unwrap().contains("ended before"));
        }
        assert_eq!(end(&mut client, &sent[3], COMMIT).code, 0, "by the name that it had first");
        assert_eq!(end(&mut client, &open, COMMIT).code, 0);
        join(&mut client, "p");
        round(&running);
        let (copy, question) = asked(&mut client);
        assert_eq!(Record::parse(&question.body).unwrap().properties().get("TRANSACTION_CHECK_TIMES"), Some("2"));
        assert_eq!(end_of(&mut client, "PG", &copy, ROLLBACK, true).code, 0);
        assert_eq!(delivered(&running, "T"), ["committed", "moved and committed", "moved", "late"]);
        running.stop();
        let text = std::fs::read_to_string(dir.path().join("config/consumerOffset.json")).unwrap();
        let noted: serde_json::Value = serde_json::from_str(&text).unwrap();
        let table = &noted["offsetTable"];
        assert_eq!(table[format!("{HALF}@CID_RMQ_SYS_TRANS")]["0"], 10, "{text}");
        assert_eq!(table[format!("{OPERATIONS}@CID_RMQ_SYS_TRANS")]["0"], 6, "{text}");
    }
}

#[test]
fn what_was_delivered_is_not_delivered_again_when_a_crash_took_the_word_that_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(broker::store_config(&config(dir.path()))).unwrap();
    let half = |topic: &'static str, sys_flag, prepared, properties: &str, body: &'static str| {
        let put = PutMessage {
            topic,
            queue_id: 0,
            flag: 0,
            sys_flag,
            born_timestamp: now(),
            born_host: "127.0.0.1:1".parse().unwrap(),
            store_host: "127.0.0.1:10911".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: prepared,
            body: body.as_bytes(),
            properties: &crate::client::properties(properties).into_bytes(),
        };
        store.put_message(&put).unwrap().at.0
    };
    half("T", 0, 0, "UNIQ_KEY=other;", "at the front");
    let all = "TRAN_MSG=true;PGROUP=PG;UNIQ_KEY=ID;REAL_TOPIC=T;REAL_QID=0;";
    let first = half(HALF, 0, 0, all, "delivered"); // 0
    half(HALF, 0, 0, &format!("{all}TRAN_PREPARED_QUEUE_OFFSET=0;TRANSACTION_CHECK_TIMES=1;"), "delivered"); // 1
    half(HALF, 0, 0, all, "sent again, not delivered"); // 2
    half("T", 8, first, "TRAN_MSG=true;PGROUP=PG;UNIQ_KEY=ID;", "delivered");
    store.write_out().unwrap();
    drop(store); // as by kill -9

    let running = Running::start(eager(dir.path()));
    let left: Vec<i64> = running.broker.open_transactions(0, 9).iter().map(|it| it.offset).collect();
    assert_eq!(left, [2]);
    let mut client = running.client();
    join(&mut client, "p");
    assert_eq!(operations(&running), ["1,"], "now it is said");
}

#[test]
fn a_transaction_of_a_deleted_topic_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(eager(dir.path()));
    let mut client = running.client();
    join(&mut client, "p");
    let sent = send_half(&mut client, "T", "", "of the topic before");
    send_half(&mut client, "T", "", "another");
    client.send_message("T", 0, "", b"plain");
    assert_eq!(client.ask(215, &[("topic", "T")], b"").code, 0);
    client.send_message("T", 0, "", b"anew");
    assert_eq!(end(&mut client, &sent, COMMIT).code, 0);
    round(&running);
    assert!(client.told.is_empty() && running.broker.open_transactions(0, 9).is_empty());
    assert_eq!(delivered(&running, "T"), ["anew"]);
}

#[test]
fn transactions_can_be_forbidden_and_do_not_come_in_batches() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(Config { reject_transaction: true, ..config(dir.path()) });
    let answer = running.client().send_message("T", 0, &properties("TRAN_MSG=true;PGROUP=PG;"), b"x");
    assert_eq!(answer.code, 16);
    assert!(answer.remark.unwrap().contains("rejectTransactionMessage"));
    running.stop();

    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let half = properties("TRAN_MSG=true;PGROUP=PG;");
    let mut batch = Vec::new();
    BatchEntry { flag: 0, body: b"one", properties: half.as_bytes() }.encode(&mut batch);
    for batch_properties in ["", &half] {
        let mut fields = send_fields("T", "0", batch_properties);
        fields.pop();
        fields.push(("m", "true"));
        let answer = client.ask(320, &fields, &batch);
        assert_eq!(answer.code, 13);
        assert!(answer.remark.unwrap().contains("one by one"));
    }
    // A consumer of old that sends a message back as it was means no transaction.
    let mut fields = send_fields("T", "0", "TRAN_MSG\u{1}true\u{2}DELAY\u{1}1\u{2}");
    fields.retain(|(key, _)| *key != "j");
    fields.push(("j", "1"));
    assert_eq!(client.ask(310, &fields, b"again").code, 0);
    assert_eq!(running.broker.transactions.lock().len(), 0);
}

#[test]
fn a_half_message_that_is_damaged_is_over_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(eager(dir.path()));
    let mut client = running.client();
    join(&mut client, "p");
    let damaged = send_half(&mut client, "T", "", "damaged");
    send_half(&mut client, "T", "", "sound");
    let file = std::fs::OpenOptions::new().write(true).open(dir.path().join("commitlog/00000000000000000000")).unwrap();
    file.write_all_at(b"xx", damaged.at.parse::<u64>().unwrap() + 90).unwrap();
    let answer = end(&mut client, &damaged, COMMIT);
    assert_eq!(answer.code, 1);
    assert!(answer.remark.unwrap().contains("Find prepared transaction message failed"));
    round(&running);
    let (copy, question) = asked(&mut client);
    assert_eq!(Record::parse(&question.body).unwrap().body, b"sound");
    assert_eq!(running.broker.transactions.lock().len(), 1);
    assert_eq!(end_of(&mut client, "PG", &copy, COMMIT, true).code, 0);
    assert_eq!(delivered(&running, "T"), ["sound"]);
}

#[test]
fn an_open_transaction_keeps_its_file_until_it_has_ended() {
    const HOUR: Duration = Duration::from_secs(3600);
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        commit_log_file_size: 16 << 10,
        max_message_size: 8 << 10,
        file_reserved_time: HOUR,
        ..config(dir.path())
    };
    let running = Running::start(config);
    let mut client = running.client();
    let min = || running.broker.store.commit_log_bounds().0.0;
    let fill = |client: &mut Client| (0..20).for_each(|_| _ = client.send_message("T", 0, "", &[b'b'; 4000]));
    let clean = || (0..5).for_each(|_| running.broker.clean(&|_| SystemTime::now() + HOUR * 2, 4).unwrap());
    fill(&mut client);
    let sent = send_half(&mut client, "U", "", "long ago");
    let at: i64 = sent.at.parse().unwrap();
    fill(&mut client);
    clean();
    assert_eq!(min(), at - at % (16 << 10), "all before its file went, and no more");
    assert_eq!(end(&mut client, &sent, COMMIT).code, 0);
    assert_eq!(delivered(&running, "U"), ["long ago"]);
    fill(&mut client);
    round(&running);
    clean();
    assert_eq!(min(), at - at % (16 << 10), "it is not noted yet");
    round(&running);
    clean();
    assert!(min() > at, "it holds nothing up");
}

#[test]
fn ends_that_the_store_refuses_are_asked_about_later() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(eager(dir.path()));
    let mut client = running.client();
    join(&mut client, "p");
    let sent = send_half(&mut client, "T", "", &"b".repeat(100));
    // What holds for a store that takes nothing holds for one that is closed.
    running.broker.store.close().unwrap();
    assert_eq!(end(&mut client, &sent, COMMIT).code, 14);
    assert_eq!(running.broker.transactions.lock().len(), 1, "it is open as before");
    drop((client, running));
    let running = Running::start(eager(dir.path()));
    let mut client = running.client();
    join(&mut client, "p");
    round(&running);
    let (copy, _) = asked(&mut client);
    assert_eq!(end_of(&mut client, "PG", &copy, COMMIT, true).code, 0);
    assert_eq!(delivered(&running, "T"), ["b".repeat(100)]);
}

#[test]
fn what_is_taken_can_be_asked_about_however_long_its_properties_are() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(eager(dir.path()));
    let mut client = running.client();
    join(&mut client, "p");
    let (mut taken, mut refused) = (0, 0);
    let born = now().to_string();
    for length in (32_300..32_768).step_by(20) {
        let all = properties(&format!("TRAN_MSG=true;PGROUP=PG;UNIQ_KEY=ID;USER={};", "x".repeat(length)));
        let mut fields = send_fields("T", "0", &all);
        fields.retain(|(key, _)| *key != "g");
        fields.push(("g", &born));
        match client.ask(310, &fields, b"long").code {
            0 => taken += 1,
            13 => refused += 1,
            other => panic!("{length}: {other}"),
        }
    }
    assert!(taken > 3 && refused > 3, "{taken} {refused}");
    for _ in 0..3 {
        round(&running);
        (0..taken).for_each(|_| _ = asked(&mut client));
    }
}
