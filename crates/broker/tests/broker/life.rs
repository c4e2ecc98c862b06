use crate::client::{Client, Pull, config, messages, properties};
use crate::{Running, client};
use broker::Config;
use broker::config::DelayLevels;
use broker::life::Sought;
use protocol::life::{Happening, LifeEvent, MessageLife};
use std::path::Path;
use std::time::{Duration, Instant};

/// Short delay levels, so that retries are soon.
fn quick(dir: &Path) -> Config {
    Config { delay_levels: DelayLevels::read("1s 1s 1s 1s").unwrap(), ..config(dir) }
}

/// Asks as an operator does.
fn lives(client: &mut Client, fields: &[(&str, &str)]) -> protocol::life::MessageLives {
    let answer = client.ask(90_030, fields, b"");
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    serde_json::from_slice(&answer.body).unwrap()
}

fn life(client: &mut Client, topic: &str, id: &str) -> MessageLife {
    let mut lives = lives(client, &[("topic", topic), ("msgId", id)]);
    assert_eq!(lives.messages.len(), 1);
    lives.messages.remove(0)
}

/// What happened, as one reads it.
fn story(life: &MessageLife) -> Vec<String> {
    assert!(life.events.is_sorted_by_key(|event| event.time));
    let line = |event: &LifeEvent| {
        let mut line = format!("{:?} {}", event.what, event.topic);
        for (word, number) in [("at", event.queue_offset), ("attempt", event.attempt.map(i64::from))] {
            line += &number.map(|number| format!(" {word} {number}")).unwrap_or_default();
        }
        for (word, text) in [("by", &event.group), ("of", &event.client)] {
            line +=
                &Some(text).filter(|text| !text.is_empty()).map(|text| format!(" {word} {text}")).unwrap_or_default();
        }
        line
    };
    life.events.iter().map(line).collect()
}

fn until<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(Instant::now() < until, "{what} does not come true");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn heartbeat_of_producer(client: &mut Client, id: &str) {
    let body = serde_json::json!({ "clientID": id, "producerDataSet": [{ "groupName": "PG" }] });
    assert_eq!(client.ask(34, &[], body.to_string().as_bytes()).code, 0);
}

fn commit(client: &mut Client, topic: &str, offset: &str) {
    let fields = [("consumerGroup", "CG"), ("topic", topic), ("queueId", "0"), ("commitOffset", offset)];
    assert_eq!(client.ask(15, &fields, b"").code, 0);
}

fn send_back(client: &mut Client, at: &str, level: &str) -> protocol::command::Command {
    let fields = [("offset", at), ("group", "CG"), ("delayLevel", level), ("originMsgId", "x"), ("unitMode", "false")];
    client.ask(36, &fields, b"")
}

fn place(offset_message_id: &str) -> String {
    i64::from_str_radix(&offset_message_id[16..], 16).unwrap().to_string()
}

#[test]
fn a_message_has_a_timeline_without_any_help_of_clients() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(quick(dir.path()));
    let (mut producer, mut consumer) = (running.client(), running.client());
    heartbeat_of_producer(&mut producer, "the-producer");
    consumer.subscribe("CG", ("T", "TAG", "*", 1));
    for n in 0..3 {
        let text = properties(&format!("UNIQ_KEY=ID{n};KEYS=order-{n} all;TAGS=A;"));
        assert_eq!(producer.send_message("T", 0, &text, b"x").code, 0);
    }
    let answer = consumer.pull(Pull { hold_millis: 5000, ..Pull::of("T") });
    let mut handed_out = messages(&answer).len() as i64;
    while handed_out < 3 {
        handed_out +=
            messages(&consumer.pull(Pull { offset: handed_out, hold_millis: 5000, ..Pull::of("T") })).len() as i64;
    }
    let second = running.broker.message_lives(&Sought::Id { topic: Some("T".into()), id: "ID1".into() }, 1).unwrap();
    let stored = second.messages[0].events[0].clone();
    assert_eq!((stored.what, stored.group.as_str(), stored.client.as_str()), (Happening::Stored, "PG", "the-producer"));
    assert!(stored.address.starts_with("127.0.0.1:"), "{stored:?}");
    assert_eq!(send_back(&mut consumer, &place(&stored.offset_message_id), "0").code, 0);
    commit(&mut consumer, "T", "3");

    // It comes again, and is sent to the dead letters.
    let retry = |consumer: &mut Client| consumer.pull(Pull { hold_millis: 5000, ..Pull::of("%RETRY%CG") });
    assert_eq!(messages(&retry(&mut consumer)).len(), 1);
    let again = life(&mut consumer, "T", "ID1").events.iter().find(|it| it.what == Happening::Retried).unwrap().clone();
    assert_eq!(send_back(&mut consumer, &place(&again.offset_message_id), "-1").code, 0);
    commit(&mut consumer, "%RETRY%CG", "1");

    let expected = [
        "Stored T at 1 by PG of the-producer",
        "Delivered T at 1 by CG of c",
        "SentBack SCHEDULE_TOPIC_XXXX at 0 attempt 1 by CG of c",
        "Acknowledged T at 1 by CG of c",
        "Retried %RETRY%CG at 0 attempt 1 by CG",
        "Delivered %RETRY%CG at 0 attempt 1 by CG of c",
        "Dead %DLQ%CG at 0 attempt 2 by CG of c",
        "Acknowledged %RETRY%CG at 0 attempt 1 by CG of c",
    ];
    let whole = until("the whole life", || {
        let life = life(&mut consumer, "T", "ID1");
        (life.events.len() >= expected.len()).then_some(life)
    });
    let mut told = story(&whole);
    // What happened within one millisecond has no order.
    told[2..4].sort();
    told[6..8].sort();
    let mut wanted = expected;
    wanted[2..4].sort();
    wanted[6..8].sort();
    assert_eq!(told, wanted);
    assert_eq!((whole.unique_key.as_str(), whole.keys.as_str(), whole.tags.as_str()), ("ID1", "order-1 all", "A"));
    assert!(whole.groups.iter().any(|it| it.group == "CG" && it.topic == "T" && it.done));

    // By the id of any of its records, and by key.
    for id in [&stored.offset_message_id, &again.offset_message_id] {
        assert_eq!(lives(&mut consumer, &[("msgId", id)]).messages[0].unique_key, "ID1");
    }
    assert_eq!(lives(&mut consumer, &[("topic", "T"), ("key", "order-1")]).messages[0], whole);
    assert_eq!(lives(&mut consumer, &[("topic", "T"), ("key", "all")]).messages.len(), 3);

    // The producer goes, the broker is killed: what was kept is known still.
    let kept = lives(&mut consumer, &[("topic", "T"), ("msgId", "ID1")]).kept;
    assert!(kept.bytes > 0 && kept.since.is_some() && kept.dropped == 0, "{kept:?}");
    drop((producer, consumer, running));
    let running = Running::start(quick(dir.path()));
    assert_eq!(life(&mut running.client(), "T", "ID1").events, whole.events);
    running.stop();
    let running = Running::start(Config { message_life_max_bytes: 0, ..quick(dir.path()) });
    let from_the_log: Vec<String> =
        story(&life(&mut running.client(), "T", "ID1")).into_iter().filter(|line| !line.contains(" of ")).collect();
    let of_records = ["Stored T at 1", "SentBack SCHEDULE_TOPIC_XXXX at 0 attempt 1 by CG"];
    assert!(of_records.iter().all(|line| from_the_log.iter().any(|told| told == line)), "{from_the_log:?}");
}

#[test]
fn a_reset_says_of_each_message_that_it_is_skipped_or_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    for n in 0..4 {
        client.send_message("T", 0, &properties(&format!("UNIQ_KEY=ID{n};")), b"x");
    }
    client.subscribe("CG", ("T", "TAG", "*", 1));
    commit(&mut client, "T", "2");
    let reset = |client: &mut Client, group: &str, offset: &str| {
        let fields = [("group", group), ("topic", "T"), ("timestamp", "-1"), ("queueId", "0"), ("offset", offset)];
        let answer = client.ask(222, &[&fields[..], &[("isForce", "true")]].concat(), b"");
        assert_eq!(answer.code, 0, "{:?}", answer.remark);
    };
    let told = |client: &mut Client, n: i32| story(&life(client, "T", &format!("ID{n}")))[1..].to_vec();
    reset(&mut client, "CG", "1");
    assert_eq!(told(&mut client, 0), ["Acknowledged T at 0 by CG of c"]);
    assert_eq!(told(&mut client, 1), ["Acknowledged T at 1 by CG of c", "SetBack T at 1 by CG"]);
    reset(&mut client, "CG", "3");
    assert_eq!(told(&mut client, 1).last().unwrap(), "Skipped T at 1 by CG");
    assert_eq!(told(&mut client, 2), ["Skipped T at 2 by CG"]);
    assert_eq!(told(&mut client, 3), [""; 0], "it is still to come");
    let by = life(&mut client, "T", "ID2").events[1].address.clone();
    assert!(by.starts_with("127.0.0.1:"), "by whom: {by}");

    // A clone of offsets is a reset of the other group.
    client.subscribe("other", ("T", "TAG", "*", 1));
    let fields = [("srcGroup", "CG"), ("destGroup", "other"), ("topic", "T"), ("offline", "true")];
    assert_eq!(client.ask(314, &fields, b"").code, 0);
    assert_eq!(told(&mut client, 0).last().unwrap(), "Skipped T at 0 by other");
    let fields = [("group", "other"), ("topic", "T"), ("timestamp", "0"), ("isForce", "true")];
    assert_eq!(client.ask(222, &fields, b"").code, 0);
    assert_eq!(told(&mut client, 0).last().unwrap(), "SetBack T at 0 by other");
}

#[test]
fn only_who_wanted_a_message_got_it() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    for (n, tag) in ["A", "B", "A"].iter().enumerate() {
        client.send_message("T", 0, &properties(&format!("UNIQ_KEY=ID{n};TAGS={tag};n={n};")), b"x");
    }
    until("all are there", || (running.broker.store.max_offset("T", 0).0 == 3).then_some(()));
    client.pull(Pull { group: "all", ..Pull::of("T") });
    client.pull(Pull { group: "tag", tags: "A", ..Pull::of("T") });
    client.subscribe("sql", ("T", "SQL92", "n > 1", 1));
    let fields = [
        ("consumerGroup", "sql"),
        ("topic", "T"),
        ("queueId", "0"),
        ("queueOffset", "0"),
        ("maxMsgNums", "32"),
        ("sysFlag", "0"),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "0"),
        ("subVersion", "1"),
    ];
    assert_eq!(messages(&client.ask(11, &fields, b"")).len(), 1);
    let mut got = |id: &str| -> Vec<String> {
        let life = life(&mut client, "T", id);
        life.events.iter().filter(|it| it.what == Happening::Delivered).map(|it| it.group.clone()).collect()
    };
    assert_eq!([got("ID0"), got("ID1"), got("ID2")], [vec!["all", "tag"], vec!["all"], vec!["all", "tag", "sql"]]);
}

#[test]
fn who_sends_over_the_vip_port_is_named_if_nobody_else_on_the_host_can_be_meant() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut main = running.client();
    heartbeat_of_producer(&mut main, "only");
    main.subscribe("CG", ("T", "TAG", "*", 1));
    let mut vip = Client::connect(running.vip);
    vip.send_message("T", 0, &properties("UNIQ_KEY=ID;"), b"x");
    commit(&mut vip, "T", "1");
    let told = until("it is there", || main.ask_life("T", "ID"));
    assert_eq!(story(&told), ["Stored T at 0 by PG of only", "Acknowledged T at 0 by CG of c"]);
    // With two on the host, it may have been either.
    let mut another = running.client();
    heartbeat_of_producer(&mut another, "another");
    assert_eq!(story(&life(&mut main, "T", "ID"))[0], "Stored T at 0 by PG");
}

#[test]
fn an_offset_that_is_set_back_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    client.send_message("T", 0, &properties("UNIQ_KEY=ID;"), b"x");
    until("it is there", || (running.broker.store.max_offset("T", 0).0 == 1).then_some(()));
    for (offset, commits) in [(0, None), (1, Some(1)), (1, Some(1)), (0, Some(0)), (1, Some(1))] {
        client.pull(Pull { offset, commit: commits, ..Pull::of("T") });
    }
    let told: Vec<Happening> = life(&mut client, "T", "ID").events.iter().map(|event| event.what).collect();
    let count = |what| told.iter().filter(|told| **told == what).count();
    let counts = [Happening::Delivered, Happening::Acknowledged, Happening::SetBack].map(count);
    assert_eq!(counts, [2, 2, 1], "a commit that changes nothing is none: {told:?}");
    let again = client.ask(90_050, &[("group", "CG")], b"");
    let again: protocol::duplicates::Duplicates = serde_json::from_slice(&again.body).unwrap();
    assert_eq!(again.groups[0].handed_out_again, 1);
}

#[test]
fn delayed_messages_and_transactions_have_their_timelines() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(quick(dir.path()));
    let mut client = running.client();
    client.send_message("T", 0, &properties("UNIQ_KEY=LATE;DELAY=1;"), b"x");
    let waiting = until("it waits", || client.ask_life("T", "LATE"));
    assert_eq!(story(&waiting), ["Waits SCHEDULE_TOPIC_XXXX at 0 by PG"]);
    assert_eq!(waiting.events[0].due, Some(waiting.events[0].time + 1000));
    client.pull(Pull { hold_millis: 5000, ..Pull::of("T") });
    assert_eq!(
        story(&life(&mut client, "T", "LATE")),
        ["Waits SCHEDULE_TOPIC_XXXX at 0 by PG", "Stored T at 0 by PG", "Delivered T at 0 by CG"]
    );

    for (id, decision) in [("GOOD", "8"), ("BAD", "12"), ("OPEN", "0")] {
        let answer = client.send_message("T", 0, &properties(&format!("UNIQ_KEY={id};TRAN_MSG=true;")), b"x");
        let (at, offset) = (place(answer.ext.get("msgId").unwrap()), answer.ext.get("queueOffset").unwrap().to_owned());
        let fields = [
            ("producerGroup", "PG"),
            ("tranStateTableOffset", offset.as_str()),
            ("commitLogOffset", &at),
            ("commitOrRollback", decision),
            ("fromTransactionCheck", "false"),
            ("msgId", id),
            ("transactionId", id),
        ];
        assert_eq!(client.ask(37, &fields, b"").code, 0);
    }
    let half = "Prepared RMQ_SYS_TRANS_HALF_TOPIC at";
    let told = until("all is written", || {
        let told =
            ["GOOD", "BAD", "OPEN"].map(|id| client.ask_life("T", id).map(|life| story(&life)).unwrap_or_default());
        (told[0].len() == 2 && told[2].len() == 1).then_some(told)
    });
    assert_eq!(told[0], [format!("{half} 0 by PG"), "Committed T at 1 by PG".into()]);
    assert_eq!(told[1], [format!("{half} 1 by PG"), "RolledBack  by PG".into()]);
    assert_eq!(told[2], [format!("{half} 2 by PG")]);
}

#[test]
fn who_asks_for_what_is_not_there_is_told_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let mut ask = |fields: &[(&str, &str)]| {
        let answer = client.ask(90_030, fields, b"");
        (answer.code, answer.remark.unwrap_or_default())
    };
    let (code, remark) = ask(&[]);
    assert!(code == 29 && remark.contains("`msgId`, or `topic` and `key`"), "{code} {remark}");
    let (code, remark) = ask(&[("msgId", "7F00000100002A9F0000000000000000")]);
    assert!(code == 29 && remark.contains("say the topic"), "{code} {remark}");
    let (code, remark) = ask(&[("topic", "T"), ("msgId", "nobody")]);
    assert!(code == 22 && remark.contains("`nobody` is stored for topic `T`"), "{code} {remark}");
}

impl client::Client {
    /// The life of a message, if it is there.
    fn ask_life(&mut self, topic: &str, id: &str) -> Option<MessageLife> {
        let answer = self.ask(90_030, &[("topic", topic), ("msgId", id)], b"");
        let lives: Option<protocol::life::MessageLives> = serde_json::from_slice(&answer.body).ok();
        lives.and_then(|mut lives| lives.messages.pop())
    }
}
