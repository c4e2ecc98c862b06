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

#[test]
fn what_can_not_be_known_again_is_refused_where_it_is_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    create(&mut client, "T", "+dedup.window=600");
    let half = properties("DEDUP_ID=a;TRAN_MSG=true;UNIQ_KEY=K;");
    let answer = client.send_message("T", 0, &half, b"x");
    assert!(answer.code == 13 && answer.remark.as_ref().unwrap().contains("is a transaction"), "{answer:?}");
    let mut batch = Vec::new();
    let text = properties("DEDUP_ID=a;");
    protocol::record::BatchEntry { flag: 0, body: b"x", properties: text.as_bytes() }.encode(&mut batch);
    let mut fields = crate::client::send_fields("T", "0", "");
    fields.last_mut().unwrap().1 = "true";
    let answer = client.ask(320, &fields, &batch);
    assert!(answer.code == 13 && answer.remark.as_ref().unwrap().contains("is in a batch"), "{answer:?}");
    // Where no window is, it is a property like others.
    assert_eq!(client.send_message("U", 0, &half, b"x").code, 0);
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
