//! Groups looked at and moved from outside.

use crate::client::{Pull, bodies, config};
use crate::{Client, Running};
use broker::Config;
use protocol::command::Command;
use protocol::group::{
    ConsumeStats, ConsumeTimeSpans, ConsumerConnection, ConsumerStatus, CorrectionOffsets, GroupConflicts, GroupList,
    GroupSubscription, ProducerConnection, ResetOffsets,
};
use protocol::json;
use protocol::route::TopicList;
use protocol::subscription::SubscriptionGroupConfig;
use protocol::topic::TopicConfig;
use serde::de::DeserializeOwned;

fn heartbeat(client: &mut Client, id: &str, group: &str, topics: &[&str]) {
    let topics: Vec<_> =
        topics.iter().map(|topic| serde_json::json!({"topic": topic, "subString": "*", "subVersion": 5})).collect();
    let body = serde_json::json!({ "clientID": id, "producerDataSet": [{"groupName": format!("P-{group}")}],
        "consumerDataSet": [{ "groupName": group, "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET",
            "subscriptionDataSet": topics }] });
    assert_eq!(client.ask(34, &[], body.to_string().as_bytes()).code, 0);
}

fn read<T: DeserializeOwned>(answer: &Command) -> T {
    assert_eq!(answer.code, 0, "{answer:?}");
    json::read(&answer.body).unwrap()
}

/// Ten messages in each of two queues of `T`, and group `G` at 7 of the first.
fn filled(client: &mut Client, group: &str) {
    for n in 0..10 {
        for queue in 0..2 {
            client.send_message("T", queue, "", format!("{queue}-{n}").as_bytes());
        }
    }
    commit(client, group, 0, 7);
}

fn commit(client: &mut Client, group: &str, queue: i32, offset: i64) -> Command {
    let (queue, offset) = (queue.to_string(), offset.to_string());
    client.ask(15, &[("consumerGroup", group), ("topic", "T"), ("queueId", &queue), ("commitOffset", &offset)], b"")
}

fn offset(client: &mut Client, group: &str, queue: i32) -> Command {
    let queue = queue.to_string();
    client.ask(14, &[("consumerGroup", group), ("topic", "T"), ("queueId", &queue)], b"")
}

fn at(answer: &Command) -> (i32, Option<&str>) {
    (answer.code, answer.ext.get("offset"))
}

fn reset(client: &mut Client, fields: &[(&str, &str)]) -> Command {
    let mut all = vec![("group", "G"), ("topic", "T"), ("isForce", "true")];
    all.extend(fields);
    client.ask(222, &all, b"")
}

fn offsets(answer: &Command) -> Vec<(i32, i64)> {
    read::<ResetOffsets>(answer).offset_table.into_iter().map(|(queue, offset)| (queue.queue_id, offset)).collect()
}

#[test]
fn a_group_without_members_is_reset_and_stays_so_over_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    filled(&mut client, "G");
    assert_eq!(offsets(&reset(&mut client, &[("timestamp", "0")])), [(0, 0), (1, 0), (2, 0), (3, 0)]);
    assert_eq!(offsets(&reset(&mut client, &[("timestamp", "-1")])), [(0, 10), (1, 10), (2, 0), (3, 0)]);
    assert_eq!(offsets(&reset(&mut client, &[("timestamp", "0"), ("queueId", "1")])), [(1, 0)], "one queue");
    assert_eq!(offsets(&reset(&mut client, &[("timestamp", "-1"), ("queueId", "0"), ("offset", "4")])), [(0, 4)]);
    let at_second = running.broker.store.store_timestamp_of("T", 1, store::QueueOffset(0)).unwrap().to_string();
    assert_eq!(offsets(&reset(&mut client, &[("timestamp", &at_second), ("queueId", "1")])), [(1, 0)]);
    let beyond = reset(&mut client, &[("timestamp", "-1"), ("queueId", "0"), ("offset", "9999")]);
    assert_eq!(beyond.remark.as_deref(), Some("Target offset 9999 not in consume queue range [0-10]"));
    let [group, topic] = [("group", "none"), ("topic", "none")].map(|(key, name)| {
        let mut fields = vec![("group", "G"), ("topic", "T"), ("timestamp", "0"), ("isForce", "true")];
        fields.iter_mut().find(|(known, _)| *known == key).unwrap().1 = name;
        client.ask(222, &fields, b"").code
    });
    assert_eq!((group, topic), (26, 17));

    // What is on disk now is what a kill leaves.
    let kept = std::fs::read(dir.path().join("config/consumerOffset.json")).unwrap();
    running.stop();
    std::fs::write(dir.path().join("config/consumerOffset.json"), kept).unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    assert_eq!(at(&offset(&mut client, "G", 0)), (0, Some("4")));
    let late = commit(&mut client, "G", 0, 9);
    assert_eq!((late.code, late.remark.as_deref()), (0, Some("Offset has been previously reset")));
    let begun = client.pull(Pull { group: "G", offset: 4, commit: Some(4), ..Pull::of("T") });
    assert_eq!(bodies(&begun)[0], "0-4", "it begins where it shall go on: at once");
    commit(&mut client, "G", 0, 9);
    assert_eq!(at(&offset(&mut client, "G", 0)), (0, Some("9")));
}

#[test]
fn a_consumer_that_waits_hears_of_a_reset_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let (mut consumer, mut other, mut admin) = (running.client(), running.client(), running.client());
    filled(&mut admin, "G");
    other.send_pull(Pull { group: "H", offset: 10, hold_millis: 9000, ..Pull::of("T") });
    consumer.send_pull(Pull { group: "G", offset: 10, hold_millis: 9000, commit: Some(8), ..Pull::of("T") });
    while offset(&mut admin, "G", 0).ext.get("offset") != Some("8") {
        std::thread::yield_now();
    }
    let start = std::time::Instant::now();
    reset(&mut admin, &[("timestamp", "-1"), ("queueId", "0"), ("offset", "3")]);
    let answer = consumer.answer();
    assert!(start.elapsed().as_secs() < 5);
    assert_eq!((answer.code, answer.ext.get("nextBeginOffset")), (21, Some("3")), "{answer:?}");
    let again = consumer.pull(Pull { group: "G", offset: 3, commit: Some(3), ..Pull::of("T") });
    assert_eq!(bodies(&again)[0], "0-3");
    admin.send_message("T", 0, "", b"new");
    assert_eq!(bodies(&other.answer()), ["new"], "another group's pull waits on");

    // One that does not wait hears of it with its next pull; what it says of where it was does not count.
    reset(&mut admin, &[("timestamp", "-1"), ("queueId", "0"), ("offset", "5")]);
    let answer = consumer.pull(Pull { group: "G", offset: 11, commit: Some(11), ..Pull::of("T") });
    assert_eq!((answer.code, answer.ext.get("nextBeginOffset")), (21, Some("5")));
    assert_eq!(at(&offset(&mut admin, "G", 0)), (0, Some("5")));
}

#[test]
fn a_reset_holds_until_a_member_goes_on_there() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let (mut slow, mut stale, mut admin) = (running.client(), running.client(), running.client());
    filled(&mut admin, "G");

    // It has fetched all, and worked at two messages: its pull waits at the end, where the group is moved to.
    let waits = Pull { group: "G", offset: 10, hold_millis: 9000, commit: Some(2), ..Pull::of("T") };
    slow.send_pull(waits);
    while offset(&mut admin, "G", 0).ext.get("offset") != Some("2") {
        std::thread::yield_now();
    }
    // A member that lost the queue meanwhile still waits there, too.
    stale.send_pull(waits);
    reset(&mut admin, &[("timestamp", "-1")]);
    for member in [&mut slow, &mut stale] {
        let answer = member.answer();
        assert_eq!((answer.code, answer.ext.get("nextBeginOffset")), (21, Some("10")), "{answer:?}");
    }
    commit(&mut slow, "G", 0, 3);
    assert_eq!(at(&offset(&mut admin, "G", 0)), (0, Some("10")), "of what it holds, it commits nothing");
    commit(&mut slow, "G", 0, 10);
    let answer = stale.pull(Pull { group: "G", offset: 7, commit: Some(7), ..Pull::of("T") });
    assert_eq!(answer.code, 21, "nobody has gone on yet");
    slow.send_pull(Pull { commit: Some(10), ..waits });
    admin.send_message("T", 0, "", b"new");
    assert_eq!(bodies(&slow.answer()), ["new"]);
    commit(&mut slow, "G", 0, 11);
    assert_eq!(at(&offset(&mut admin, "G", 0)), (0, Some("11")));

    // A client that moves at once and still says how far it was: it gets on, and what it says does not count.
    reset(&mut admin, &[("timestamp", "-1"), ("queueId", "0"), ("offset", "3")]);
    let old = Pull { group: "G", offset: 11, commit: Some(11), ..Pull::of("T") };
    assert_eq!(slow.pull(old).code, 21);
    assert_eq!(bodies(&slow.pull(Pull { offset: 3, ..old }))[0], "0-3");
    assert_eq!(at(&offset(&mut admin, "G", 0)), (0, Some("3")));

    // One that keeps its offsets itself is told once.
    reset(&mut admin, &[("timestamp", "-1"), ("queueId", "0"), ("offset", "5")]);
    let own = Pull { group: "G", offset: 8, ..Pull::of("T") };
    assert_eq!(slow.pull(own).code, 21);
    assert_eq!(bodies(&slow.pull(own))[0], "0-8");
}

#[test]
fn members_are_told_to_move_where_resets_are_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(Config { server_side_reset: false, ..config(dir.path()) });
    let (mut java, mut cpp, mut admin) = (running.client(), running.client(), running.client());
    filled(&mut admin, "G");
    assert_eq!(reset(&mut admin, &[("timestamp", "0")]).code, 206, "nobody there");
    heartbeat(&mut java, "java", "G", &["T"]);
    let body = r#"{"clientID":"cpp","consumerDataSet":[{"groupName":"G","subscriptionDataSet":[{"topic":"T","subString":"*"}]}]}"#;
    let header = r#"{"code":34,"language":"CPP","version":317,"opaque":1,"flag":0,"extFields":{}}"#;
    assert_eq!(cpp.ask_raw(header, body.as_bytes()).code, 0);
    assert!(reset(&mut admin, &[("timestamp", "0")]).remark.unwrap().contains("has no offset in queue 1"));
    for queue in 1..4 {
        commit(&mut admin, "G", queue, 0);
    }
    let answer = reset(&mut admin, &[("timestamp", "0")]);
    assert_eq!(offsets(&answer), [(0, 0), (1, 0), (2, 0), (3, 0)]);
    let told = |client: &mut Client| loop {
        let told = client.hear();
        if told.code == 220 {
            assert!(told.is_oneway());
            assert_eq!((told.ext.get("group"), told.ext.get("topic")), (Some("G"), Some("T")));
            return String::from_utf8(told.body.to_vec()).unwrap();
        }
    };
    assert!(told(&mut java).starts_with(r#"{"offsetTable":{{"brokerName":"b1","queueId":0,"topic":"T"}:0,"#));
    assert!(told(&mut cpp).starts_with(r#"{"offsetTable":[{"brokerName":"b1","queueId":0,"topic":"T","offset":0},"#));
    assert_eq!(at(&offset(&mut admin, "G", 0)), (0, Some("7")), "it is theirs to commit");
    let forward = admin.ask(222, &[("group", "G"), ("topic", "T"), ("timestamp", "-1"), ("isForce", "false")], b"");
    assert_eq!(offsets(&forward), [(0, 7), (1, 0), (2, 0), (3, 0)], "without force never forward");
}

#[test]
fn a_group_is_seen_from_outside() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let (mut member, mut admin) = (running.client(), running.client());
    filled(&mut admin, "G");
    commit(&mut admin, "H", 0, 3);
    let nobody = admin.ask(203, &[("consumerGroup", "G")], b"");
    assert_eq!((nobody.code, nobody.remark.unwrap().starts_with("the consumer group[G] not online")), (206, true));
    assert_eq!(admin.ask(204, &[("producerGroup", "P-G")], b"").code, 1);
    heartbeat(&mut member, "m@1", "G", &["T"]);

    let seen: ConsumerConnection = read(&admin.ask(203, &[("consumerGroup", "G")], b""));
    let connection = &seen.connection_set[0];
    assert_eq!((connection.client_id.as_str(), connection.language.as_str()), ("m@1", "JAVA"));
    assert!(connection.client_addr.starts_with("127.0.0.1:"));
    assert_eq!(seen.subscription_table["T"].sub_string, "*");
    let senders: ProducerConnection = read(&admin.ask(204, &[("producerGroup", "P-G")], b""));
    assert_eq!(senders.connection_set[0].client_id, "m@1");

    member.pull(Pull { group: "G", offset: 7, commit: Some(7), ..Pull::of("T") });
    let stats: ConsumeStats = read(&admin.ask(208, &[("consumerGroup", "G"), ("topic", "T")], b""));
    let of = |queue_id| stats.offset_table.iter().find(|(queue, _)| queue.queue_id == queue_id).unwrap().1;
    assert_eq!(stats.offset_table.len(), 4);
    assert_eq!((of(0).broker_offset, of(0).consumer_offset, of(0).pull_offset), (10, 7, 10));
    assert!(of(0).last_timestamp > 0);
    assert_eq!((of(1).broker_offset, of(1).consumer_offset, of(1).last_timestamp), (10, 0, 0));
    let all: ConsumeStats = read(&admin.ask(208, &[("consumerGroup", "G"), ("topic", "")], b""));
    assert_eq!(all, stats, "of all topics that it has consumed");

    let who: GroupList = read(&admin.ask(300, &[("topic", "T")], b""));
    assert_eq!(who.group_list, ["G", "H"]);
    let topics: TopicList = read(&admin.ask(343, &[("group", "G")], b""));
    assert_eq!(topics.topic_list, ["T"]);
    let wanted: GroupSubscription = read(&admin.ask(345, &[("group", "G"), ("topic", "T")], b""));
    assert_eq!(wanted.subscription_data.unwrap().sub_string, "*");
    let spans: ConsumeTimeSpans = read(&admin.ask(303, &[("group", "G"), ("topic", "T")], b""));
    let first = &spans.consume_time_span_set[0];
    assert!(first.min_time_stamp > 0 && first.min_time_stamp <= first.consume_time_stamp);
    assert!(first.consume_time_stamp <= first.max_time_stamp);
    assert_eq!(spans.consume_time_span_set[2].max_time_stamp, -1, "empty");

    let config: TopicConfig = read(&admin.ask(351, &[("topic", "T")], b""));
    assert_eq!((config.topic_name.as_str(), config.read_queue_nums), ("T", 4));
    assert_eq!(admin.ask(351, &[("topic", "none")], b"").code, 17);
    let config: SubscriptionGroupConfig = read(&admin.ask(352, &[("group", "G")], b""));
    assert_eq!((config.group_name.as_str(), config.retry_max_times), ("G", 16));

    let slowest = |client: &mut Client, filter: &str, compare: &str| {
        let fields = [("filterGroups", filter), ("compareGroup", compare), ("topic", "T")];
        read::<CorrectionOffsets>(&client.ask(308, &fields, b"")).correction_offsets
    };
    assert_eq!(slowest(&mut admin, "", "none"), [(0, 3)].into());
    assert_eq!(slowest(&mut admin, "H", "none"), [(0, 7)].into());
    assert_eq!(slowest(&mut admin, "H", "H"), [(0, i64::MAX)].into());
    assert_eq!(at(&offset(&mut admin, "H", 0)), (0, Some("3")), "to be left out costs no offsets");

    assert_eq!(
        admin.ask(314, &[("srcGroup", "G"), ("destGroup", "K"), ("topic", ""), ("offline", "true")], b"").code,
        0
    );
    assert_eq!(at(&offset(&mut admin, "K", 0)), (0, Some("7")));
}

#[test]
fn members_are_asked_and_their_answers_handed_on() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let (mut member, mut admin) = (running.client(), running.client());
    let sent = admin.send_message("T", 0, "KEYS\u{1}k\u{2}", b"body");
    let id = sent.ext.get("msgId").unwrap().to_owned();
    let ask = |client: &mut Client, code: i32, extra: &[(&str, &str)]| {
        let mut fields = vec![("consumerGroup", "G"), ("clientId", "m@1")];
        fields.extend(extra);
        client.send(code, &fields, b"")
    };
    ask(&mut admin, 307, &[]);
    assert!(admin.answer().remark.unwrap().starts_with("The Consumer <G> <m@1> not online"));
    heartbeat(&mut member, "m@1", "G", &["T"]);
    let hear = |member: &mut Client| loop {
        let told = member.hear();
        if told.code != 40 {
            return told;
        }
    };

    ask(&mut admin, 307, &[("jstackEnable", "true"), ("unheardOf", "1")]);
    let asked = hear(&mut member);
    assert_eq!((asked.code, asked.ext.get("jstackEnable"), asked.ext.get("unheardOf")), (307, Some("true"), Some("1")));
    let told = br#"{"mqTable":{{"brokerName":"b1"}:{"commitOffset":1}}, "odd": {1:2} }"#;
    member.reply_with(&asked, 0, told);
    assert_eq!(&admin.answer().body[..], told, "byte for byte");

    ask(&mut admin, 309, &[("msgId", &id), ("topic", "T"), ("brokerName", "forged")]);
    let asked = hear(&mut member);
    assert_eq!((asked.code, asked.ext.get("brokerName"), asked.ext.get("topicSysFlag")), (309, Some("b1"), Some("0")));
    assert_eq!(asked.ext.iter().filter(|(key, _)| *key == "brokerName").count(), 1);
    assert_eq!(bodies(&asked), ["body"]);
    member.reply_with(&asked, 1, b"");
    assert_eq!(admin.answer().code, 1, "its refusal, too");
    ask(&mut admin, 309, &[("msgId", "7F00000100002A9F00000000000FFFFF")]);
    assert!(admin.answer().remark.unwrap().contains("does not hold it"));
    ask(&mut admin, 309, &[("msgId", "K1")]);
    assert!(admin.answer().remark.unwrap().contains("no offset message id"));

    let status = [("group", "G"), ("topic", "T"), ("clientAddr", "")];
    admin.send(223, &status, b"");
    let asked = hear(&mut member);
    assert_eq!((asked.code, asked.ext.get("topic")), (221, Some("T")));
    member.reply_with(&asked, 0, br#"{"messageQueueTable":{{"brokerName":"b1","queueId":0,"topic":"T"}:4}}"#);
    let status: ConsumerStatus = read(&admin.answer());
    assert_eq!(status.consumer_table["m@1"].offsets.values().collect::<Vec<_>>(), [&4]);
    assert_eq!(admin.ask(223, &[("group", "nobody"), ("topic", "T")], b"").code, 206);

    ask(&mut admin, 307, &[]);
    hear(&mut member);
    drop(member);
    assert!(admin.answer().remark.unwrap().contains("its connection is gone"), "it left meanwhile");
}

#[test]
fn members_that_differ_and_ids_that_clash_can_be_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let (mut a, mut b, mut admin) = (running.client(), running.client(), running.client());
    heartbeat(&mut a, "a", "G", &["T"]);
    heartbeat(&mut b, "b", "G", &["T"]);
    assert_eq!(read::<GroupConflicts>(&admin.ask(90_040, &[], b"")).groups, []);
    heartbeat(&mut b, "b", "G", &["U"]);
    heartbeat(&mut b, "a", "G", &["T"]);
    let found: GroupConflicts = read(&admin.ask(90_040, &[("consumerGroup", "G")], b""));
    let group = &found.groups[0];
    assert_eq!(
        group.differences.iter().map(|it| it.what.as_str()).collect::<Vec<_>>(),
        ["subscription of topic T", "subscription of topic U"]
    );
    assert_eq!(group.differences[0].values["none"], ["b"]);
    assert_eq!(group.clashes[0].client_id, "a");
    drop(a);
    while !read::<GroupConflicts>(&admin.ask(90_040, &[], b"")).groups[0].clashes.is_empty() {
        std::thread::yield_now();
    }
}

#[test]
fn where_a_group_begins_is_where_apaches_would() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    filled(&mut client, "G");
    assert_eq!(at(&offset(&mut client, "G", 0)), (0, Some("7")), "where it was");
    assert_eq!(at(&offset(&mut client, "G", 1)), (0, Some("0")), "a queue that is new to it");
    assert_eq!(at(&offset(&mut client, "new", 0)), (0, Some("0")), "a new group of a young queue");
    assert_eq!(offset(&mut client, "new", 3).code, 22, "an empty queue: at its end, as the client asks for it");
    assert_eq!(offset(&mut client, "new", 99).code, 22);
    let fields = [("consumerGroup", "new"), ("topic", "T"), ("queueId", "0"), ("setZeroIfNotFound", "false")];
    assert_eq!(client.ask(14, &fields, b"").code, 22);
    running.stop();

    // The first message is further back than the part of the memory that counts as young.
    let running = Running::start(Config { memory: 1000, ..config(dir.path()) });
    let mut client = running.client();
    assert_eq!(offset(&mut client, "new", 0).code, 22, "as the client's ConsumeFromWhere says");
    assert_eq!(at(&offset(&mut client, "G", 0)), (0, Some("7")));
}
