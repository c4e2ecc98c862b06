use crate::Running;
use crate::client::{Client, Pull, config, messages, properties, until};
use broker::Config;
use broker::config::DelayLevels;
use protocol::command::Command;
use protocol::duplicates::Duplicates;
use std::time::{Duration, Instant};

fn create(client: &mut Client, topic: &str, attributes: &str) -> Command {
    let fields = [
        ("topic", topic),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", "2"),
        ("writeQueueNums", "2"),
        ("perm", "6"),
        ("topicFilterType", "SINGLE_TAG"),
        ("topicSysFlag", "0"),
        ("order", "false"),
        ("attributes", attributes),
    ];
    client.ask(17, &fields, b"")
}

fn counted(client: &mut Client) -> Duplicates {
    let answer = client.ask(90_050, &[], b"");
    assert_eq!(answer.code, 0);
    serde_json::from_slice(&answer.body).unwrap()
}

/// The fields of an answer to a send: message id, queue, place, duplicate?
fn place(answer: &Command) -> [Option<&str>; 4] {
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    ["msgId", "queueId", "queueOffset", "duplicate"].map(|name| answer.ext.get(name))
}

#[test]
fn a_message_with_a_known_id_is_stored_once_also_over_a_killed_broker() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    assert_eq!(create(&mut client, "T", "+dedup.window=600").code, 0);
    assert_eq!(create(&mut client, "U", "").code, 0);
    let mut send =
        |topic, queue, id: &str| client.send_message(topic, queue, &properties(&format!("DEDUP_ID={id};")), b"x");
    send("T", 0, "other");
    let first = send("T", 0, "order-7");
    let again = send("T", 1, "order-7");
    let [id, queue, offset, duplicate] = place(&first);
    assert_eq!((queue, offset, duplicate), (Some("0"), Some("1"), None));
    assert_eq!(place(&again), [id, queue, offset, Some("true")]);
    assert!(again.remark.as_ref().unwrap().contains("as number 1 of queue 0"), "{:?}", again.remark);
    assert_eq!(place(&send("U", 0, "order-7"))[3], None, "another topic has other messages, and no window");
    assert_eq!(place(&send("U", 0, "order-7"))[3], None);
    let topics = counted(&mut client).topics;
    assert_eq!((topics.len(), topics[0].ids, topics[0].duplicates, topics[0].window_seconds), (1, 2, 1, 600));
    drop((client, running)); // as by kill -9

    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let again = client.send_message("T", 1, &properties("DEDUP_ID=order-7;"), b"x");
    assert_eq!(place(&again)[1..], [queue, offset, Some("true")]);
    assert_eq!(again.ext.get("msgId").map(|id| &id[16..]), id.map(|id| &id[16..]), "it names the same place");
    assert_eq!(running.broker.store.max_offset("T", 0).0, 2);
    assert_eq!(running.broker.store.max_offset("T", 1).0, 0);

    // Switched off, and on again: what came before counts no more.
    assert_eq!(create(&mut client, "T", "-dedup.window").code, 0);
    assert_eq!(place(&client.send_message("T", 0, &properties("DEDUP_ID=order-7;"), b"x"))[3], None);
    assert_eq!(create(&mut client, "T", "+dedup.window=1").code, 0);
    let began = Instant::now();
    assert_eq!(place(&client.send_message("T", 0, &properties("DEDUP_ID=order-7;"), b"x"))[3], None);
    until("its window is over", || {
        client.send_message("T", 0, &properties("DEDUP_ID=order-7;"), b"x").ext.get("duplicate").is_none()
    });
    assert!(began.elapsed() >= Duration::from_secs(1));
    let bad = create(&mut client, "T", "+dedup.window=1s");
    assert!(bad.code == 1 && bad.remark.unwrap().contains("it can be a number"));
}

#[test]
fn a_delayed_message_is_known_again_while_it_waits_and_when_it_was_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    create(&mut client, "T", "+dedup.window=600");
    let send = |client: &mut Client| client.send_message("T", 1, &properties("DEDUP_ID=a;DELAY=1;UNIQ_KEY=K;"), b"x");
    let first = send(&mut client);
    assert_eq!(place(&send(&mut client))[..3], place(&first)[..3]);
    until("it is delivered", || running.broker.store.max_offset("T", 1).0 == 1);
    assert_eq!(place(&send(&mut client))[3], Some("true"));
    drop((client, running));
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    assert_eq!(place(&send(&mut client))[1..3], place(&first)[1..3]);
    assert_eq!(counted(&mut client).topics[0].ids, 1);
}

#[test]
fn two_connections_that_send_one_id_at_once_store_one_message() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    create(&mut running.client(), "T", "+dedup.window=600");
    let fresh: usize = std::thread::scope(|scope| {
        let sender = || {
            let mut client = running.client();
            (0..200)
                .filter(|n| {
                    let answer = client.send_message("T", 0, &properties(&format!("DEDUP_ID={n};WAIT=false;")), b"x");
                    place(&answer)[3].is_none()
                })
                .count()
        };
        let senders: Vec<_> = (0..4).map(|_| scope.spawn(sender)).collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).sum()
    });
    assert_eq!(fresh, 200);
    until("all are there", || running.broker.store.max_offset("T", 0).0 == 200);
}

/// Sends a batch to queue 0 of `T`: each message is `body` or `body=id`.
fn send_batch(client: &mut Client, messages: &str, own: &str) -> Command {
    let mut batch = Vec::new();
    for message in messages.split(' ') {
        let (body, id) = message.split_once('=').unwrap_or((message, ""));
        let id = if id.is_empty() { String::new() } else { format!("DEDUP_ID={id};") };
        let text = properties(&format!("{id}UNIQ_KEY=K{body};"));
        let entry = protocol::record::BatchEntry { flag: 0, body: body.as_bytes(), properties: text.as_bytes() };
        entry.encode(&mut batch);
    }
    let own = properties(own);
    let mut fields = crate::client::send_fields("T", "0", &own);
    fields.last_mut().unwrap().1 = "true";
    client.ask(320, &fields, &batch)
}

/// The places in the commit log that an answer names.
fn logged(answer: &Command) -> Vec<i64> {
    let ids = answer.ext.get("msgId").unwrap().split(',');
    ids.map(|id| i64::from_str_radix(&id[id.len() - 16..], 16).unwrap()).collect()
}

fn stored(client: &mut Client) -> Vec<String> {
    crate::client::bodies(&client.pull(Pull { hold_millis: 5000, ..Pull::of("T") }))
}

#[test]
fn of_a_batch_the_messages_are_stored_whose_ids_are_new_also_over_a_killed_broker() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    create(&mut client, "T", "+dedup.window=600");
    client.subscribe("CG", ("T", "TAG", "*", 1));
    let first = send_batch(&mut client, "a=1 b c=2", "");
    assert_eq!(place(&first)[1..], [Some("0"), Some("0"), None]);
    assert_eq!((first.ext.get("duplicates"), first.ext.get("places")), (None, None));

    // Partly known: what is new is stored, and the answer is in the order of what was sent.
    let partly = send_batch(&mut client, "d=3 c=2 e=3 b", "");
    assert_eq!(place(&partly)[1..], [Some("0"), Some("3"), None]);
    assert_eq!(partly.ext.get("duplicates"), Some("1,2"), "e has the id of d");
    assert_eq!(partly.ext.get("places"), Some("0:3,0:2,0:3,0:4"));
    let at = logged(&partly);
    assert_eq!((at[1], at[2]), (logged(&first)[2], at[0]));
    assert!(at[3] > at[0] && partly.remark.unwrap().contains("2 of the 4 messages"));
    assert_eq!(stored(&mut client), ["a", "b", "c", "d", "b"]);

    // A repetition as a whole is answered like the first, and so is one of its messages that is sent alone.
    let fresh = send_batch(&mut client, "x=10 y=11", "");
    let again = send_batch(&mut client, "x=10 y=11", "");
    assert_eq!(place(&again)[..3], place(&fresh)[..3]);
    assert_eq!((place(&again)[3], again.ext.get("duplicates")), (Some("true"), Some("0,1")));
    let alone = client.send_message("T", 1, &properties("DEDUP_ID=11;"), b"y");
    assert_eq!(place(&alone)[1..], [Some("0"), Some("6"), Some("true")]);
    assert_eq!(logged(&alone), logged(&fresh)[1..]);
    let topics = counted(&mut client).topics;
    assert_eq!((topics[0].ids, topics[0].duplicates), (5, 5));
    drop((client, running)); // as by kill -9

    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let again = send_batch(&mut client, "x=10 z=12 a=1", "");
    assert_eq!((again.ext.get("duplicates"), again.ext.get("places")), (Some("0,2"), Some("0:5,0:7,0:0")));
    client.send_message("T", 0, &properties("DEDUP_ID=20;"), b"w");
    assert_eq!(send_batch(&mut client, "w=20", "").ext.get("places"), Some("0:8"));

    let refused = send_batch(&mut client, "q", "DEDUP_ID=30;");
    assert!(refused.code == 13 && refused.remark.unwrap().contains("its messages have theirs"));
    create(&mut client, "T", "-dedup.window");
    assert_eq!(place(&send_batch(&mut client, "x=10", "DEDUP_ID=30;"))[1..], [Some("0"), Some("9"), None]);
}

const COMMIT: &str = "8";
const ROLLBACK: &str = "12";

fn send_half(client: &mut Client, id: &str, more: &str) -> Command {
    client.send_message(
        "T",
        1,
        &properties(&format!("DEDUP_ID={id};TRAN_MSG=true;PGROUP=PG;UNIQ_KEY=K{id};{more}")),
        b"x",
    )
}

/// Ends the transaction of the half message that an answer names.
fn end(client: &mut Client, answer: &Command, how: &str) -> Command {
    let at = logged(answer)[0].to_string();
    let fields = [
        ("producerGroup", "PG"),
        ("tranStateTableOffset", answer.ext.get("queueOffset").unwrap()),
        ("commitLogOffset", at.as_str()),
        ("commitOrRollback", how),
        ("fromTransactionCheck", "false"),
    ];
    client.ask(37, &fields, b"")
}

#[test]
fn the_id_of_a_half_message_counts_from_when_it_is_prepared_and_a_rollback_forgets_it() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    create(&mut client, "T", "+dedup.window=600");
    let half = send_half(&mut client, "a", "");
    let again = send_half(&mut client, "a", "");
    assert_eq!(place(&again)[..3], place(&half)[..3], "who did not hear the answer goes on with the first");
    assert_eq!(place(&again)[3], Some("true"));
    let plain = client.send_message("T", 0, &properties("DEDUP_ID=a;"), b"x");
    assert!(plain.code == 13 && plain.remark.as_ref().unwrap().contains("transaction is open"), "{plain:?}");
    assert_eq!(send_batch(&mut client, "n x=a", "").code, 13, "nor as part of a batch");
    drop((client, running)); // as by kill -9

    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let again = send_half(&mut client, "a", "");
    assert_eq!((place(&again)[3], logged(&again)), (Some("true"), logged(&half)));
    // Committed by the second answer, it is delivered once, and is known by where it is then.
    assert_eq!(end(&mut client, &again, COMMIT).code, 0);
    assert_eq!(end(&mut client, &half, ROLLBACK).code, 0, "too late");
    until("it is delivered", || running.broker.store.max_offset("T", 1).0 == 1);
    let known = client.send_message("T", 0, &properties("DEDUP_ID=a;"), b"x");
    assert_eq!(place(&known)[1..], [Some("1"), Some("0"), Some("true")]);
    assert_eq!(logged(&send_half(&mut client, "a", "")), logged(&known));

    let lost = send_half(&mut client, "b", "");
    assert_eq!(end(&mut client, &lost, ROLLBACK).code, 0);
    let second = send_half(&mut client, "b", "");
    assert_eq!(place(&second)[3], None, "the first will never come");
    let later = send_half(&mut client, "c", "DELAY=1;");
    end(&mut client, &later, COMMIT);
    assert_eq!(counted(&mut client).topics[0].ids, 3);
    drop((client, running)); // as by kill -9

    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let known = client.send_message("T", 0, &properties("DEDUP_ID=a;"), b"x");
    assert_eq!(place(&known)[1..], [Some("1"), Some("0"), Some("true")]);
    assert_eq!(place(&client.send_message("T", 0, &properties("DEDUP_ID=c;"), b"x"))[3], Some("true"));
    let open = send_half(&mut client, "b", "");
    assert_eq!((place(&open)[3], logged(&open)), (Some("true"), logged(&second)));
    running
        .broker
        .resolve_transaction(
            open.ext.get("queueOffset").unwrap().parse().unwrap(),
            broker::transaction::Decision::Rollback,
        )
        .unwrap();
    assert_eq!(place(&client.send_message("T", 0, &properties("DEDUP_ID=b;"), b"x"))[3], None);
    // Where no window is, it is a property like others.
    assert_eq!(client.send_message("U", 0, &properties("DEDUP_ID=a;TRAN_MSG=true;UNIQ_KEY=K;"), b"x").code, 0);
}

fn send_back(client: &mut Client, at: i64, level: &str) -> Command {
    send_back_of("CG", client, at, level)
}

fn send_back_of(group: &str, client: &mut Client, at: i64, level: &str) -> Command {
    let at = at.to_string();
    let fields = [("offset", at.as_str()), ("group", group), ("delayLevel", level), ("unitMode", "false")];
    let answer = client.ask(36, &fields, b"");
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    answer
}

#[test]
fn a_message_sent_back_twice_comes_again_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = || Config { delay_levels: DelayLevels::read("1s 1s 2h").unwrap(), ..config(dir.path()) };
    let running = Running::start(config());
    let mut client = running.client();
    client.subscribe("CG", ("T", "TAG", "*", 1));
    client.send_message("T", 0, &properties("UNIQ_KEY=K0;"), b"x");
    until("it is there", || running.broker.store.max_offset("T", 0).0 == 1);
    let schedule = |running: &Running, level: u32| running.broker.store.max_offset("SCHEDULE_TOPIC_XXXX", level - 1).0;

    // While it waits; and from another connection at the same time.
    assert_eq!(send_back(&mut client, 0, "2").remark, None);
    let again = send_back(&mut client, 0, "2").remark.unwrap_or_default();
    assert!(again.contains("was sent back before"), "{again}");
    send_back(&mut running.client(), 0, "2");
    until("it comes again", || running.broker.store.max_offset("%RETRY%CG", 0).0 == 1);
    // It was delivered, and nobody has acknowledged it.
    send_back(&mut client, 0, "2");
    drop((client, running)); // as by kill -9
    let running = Running::start(config());
    let mut client = running.client();
    client.subscribe("CG", ("T", "TAG", "*", 1));
    send_back(&mut client, 0, "2");
    assert_eq!(schedule(&running, 2), 1, "it is stored once");

    // Acknowledged: who replays it and fails has it again.
    let retry = client.pull(Pull { hold_millis: 5000, commit: None, ..Pull::of("%RETRY%CG") });
    let record = protocol::record::Record::parse(&retry.body).unwrap();
    assert_eq!((messages(&retry).len(), record.reconsume_times), (1, 1));
    let second = record.commit_log_offset.0;
    let fields = [("consumerGroup", "CG"), ("topic", "%RETRY%CG"), ("queueId", "0"), ("commitOffset", "1")];
    assert_eq!(client.ask(15, &fields, b"").code, 0);
    assert_eq!(send_back(&mut client, 0, "2").remark, None);
    until("it is stored anew", || schedule(&running, 2) == 2);

    // Another attempt is another one; dead is dead once.
    send_back(&mut client, second, "3");
    send_back(&mut client, second, "3");
    until("it waits", || schedule(&running, 3) == 1);
    send_back(&mut client, second, "-1");
    send_back(&mut client, second, "-1");
    until("it is dead", || running.broker.store.max_offset("%DLQ%CG", 0).0 == 1);
    let counted = counted(&mut client).groups.remove(0);
    assert_eq!((counted.sent_back, counted.sent_back_again, counted.dead, counted.retries), (2, 3, 1, 1));
}

#[test]
fn what_a_deleted_or_another_group_sent_back_does_not_keep_a_message_from_coming_again() {
    let dir = tempfile::tempdir().unwrap();
    let config = || Config { delay_levels: DelayLevels::read("1s 2h").unwrap(), ..config(dir.path()) };
    let running = Running::start(config());
    let mut client = running.client();
    client.subscribe("CG", ("T", "TAG", "*", 1));
    client.send_message("T", 0, &properties("UNIQ_KEY=K0;"), b"x");
    until("it is there", || running.broker.store.max_offset("T", 0).0 == 1);
    let delete = |client: &mut Client| {
        assert_eq!(client.ask(207, &[("groupName", "CG"), ("cleanOffset", "true")], b"").code, 0);
        client.subscribe("CG", ("T", "TAG", "*", 1));
    };
    let waiting = |running: &Running| running.broker.store.max_offset("SCHEDULE_TOPIC_XXXX", 1).0;
    send_back(&mut client, 0, "2");
    delete(&mut client);
    assert_eq!(send_back(&mut client, 0, "2").remark, None, "the first will never come");
    assert!(send_back(&mut client, 0, "2").remark.is_some(), "the second will");
    until("both are stored", || waiting(&running) == 2);
    drop((client, running)); // as by kill -9

    let running = Running::start(config());
    let mut client = running.client();
    client.subscribe("CG", ("T", "TAG", "*", 1));
    client.subscribe("CG2", ("T", "TAG", "*", 1));
    assert!(send_back(&mut client, 0, "2").remark.is_some());
    assert_eq!(send_back_of("CG2", &mut client, 0, "2").remark, None, "another group has its own");
    delete(&mut client);
    assert_eq!(send_back(&mut client, 0, "2").remark, None, "what was before the start will never come, either");
    until("these are stored, too", || waiting(&running) == 4);
}
