use crate::client::{Client, Pull, bodies, config};
use crate::{Running, code};
use broker::fences::SETTLE_TIME;
use protocol::command::Command;
use std::time::{Duration, Instant};

/// Makes the topic `T`, or gives it more queues.
fn queues(client: &mut Client, queues: i32, order: bool) -> Command {
    let queues = queues.to_string();
    let fields = [
        ("topic", "T"),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", queues.as_str()),
        ("writeQueueNums", queues.as_str()),
        ("perm", "6"),
        ("order", if order { "true" } else { "false" }),
    ];
    client.ask(17, &fields, b"")
}

fn commit(client: &mut Client, queue: i32, offset: i64) {
    let numbers = [i64::from(queue), offset].map(|number| number.to_string());
    let fields = [("consumerGroup", "CG"), ("topic", "T"), ("queueId", &numbers[0]), ("commitOffset", &numbers[1])];
    assert_eq!(client.ask(15, &fields, b"").code, 0);
}

/// Every producer knows of the new queues.
fn settle(running: &Running) {
    assert!(running.broker.settle_fences(Instant::now() + SETTLE_TIME));
}

#[test]
fn a_group_gets_new_queues_of_an_ordered_topic_behind_the_old_ones() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    assert_eq!(queues(&mut client, 2, true).code, 0);
    client.subscribe("CG", ("T", "TAG", "*", 1));
    for (queue, body) in [(0, "a0"), (1, "b0"), (1, "b1")] {
        client.send_message("T", queue, "", body.as_bytes());
    }
    assert_eq!(queues(&mut client, 4, true).code, 0);
    client.send_message("T", 1, "", b"b2, of a producer that does not know");
    client.send_message("T", 3, "", b"b3");
    client.send_message("T", 2, "", b"a1");

    let new = Pull { queue: 3, ..Pull::of("T") };
    let answer = client.pull(new);
    assert_eq!((answer.code, answer.ext.get("nextBeginOffset")), (19, Some("0")), "producers may not know yet");
    assert_eq!(bodies(&client.pull(Pull { queue: 1, ..new })).len(), 3, "old queues go on");
    settle(&running);
    commit(&mut client, 1, 2);
    assert_eq!(client.pull(new).code, 19, "b2 is not consumed");

    let mut held = running.client();
    held.send_pull(Pull { hold_millis: 10_000, ..new });
    commit(&mut client, 1, 3);
    assert_eq!(bodies(&held.answer()), ["b3"], "a pull that was held goes on");
    assert_eq!(client.pull(Pull { queue: 2, ..new }).code, 19, "each new queue waits for its own old one");
    commit(&mut client, 0, 1);
    assert_eq!(bodies(&client.pull(Pull { queue: 2, ..new })), ["a1"]);

    let began = Instant::now();
    commit(&mut client, 0, 0);
    let answer = client.pull(Pull { queue: 2, hold_millis: 300, ..new });
    assert_eq!(answer.code, 19, "a group that went back waits again");
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[test]
fn only_groups_of_push_consumers_that_share_their_messages_wait() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    queues(&mut client, 1, true);
    client.send_message("T", 0, "", b"old");
    queues(&mut client, 2, true);
    client.send_message("T", 1, "", b"new");
    let kinds = [
        ("CONSUME_PASSIVELY", "CLUSTERING"),
        ("CONSUME_PASSIVELY", "BROADCASTING"),
        ("CONSUME_ACTIVELY", "CLUSTERING"),
    ];
    for (n, (consume_type, model)) in kinds.into_iter().enumerate() {
        let group = format!("CG{n}");
        let heartbeat = serde_json::json!({ "clientID": "c", "consumerDataSet": [{
            "groupName": group, "consumeType": consume_type, "messageModel": model,
            "subscriptionDataSet": [{ "topic": "T", "subString": "*" }],
        }]});
        assert_eq!(client.ask(34, &[], heartbeat.to_string().as_bytes()).code, 0);
        let answer = client.pull(Pull { group: &group, queue: 1, ..Pull::of("T") });
        assert_eq!(answer.code, if n == 0 { 19 } else { 0 }, "{consume_type} {model}");
    }
    assert_eq!(client.pull(Pull { queue: 1, ..Pull::of("T") }).code, 0, "who sends no heartbeat and tells no offset");
    commit(&mut client, 0, 0);
    assert_eq!(client.pull(Pull { queue: 1, ..Pull::of("T") }).code, 19, "a group whose heartbeat is still to come");
}

#[test]
fn fences_are_kept_over_a_kill_and_go_with_the_topic_or_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let fences = |client: &mut Client| {
        let answer = client.ask(code::LIST_ORDER_FENCES, &[], b"");
        let list: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        list["fences"].as_array().unwrap().clone()
    };
    queues(&mut client, 2, true);
    client.send_message("T", 0, "", b"old");
    assert_eq!(queues(&mut client, 4, true).code, 0);
    drop(running); // not closed

    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    client.subscribe("CG", ("T", "TAG", "*", 1));
    assert_eq!(client.pull(Pull { queue: 2, ..Pull::of("T") }).code, 19);
    let listed = fences(&mut client);
    assert_eq!((listed.len(), &listed[0]["before"], &listed[0]["after"]), (1, &2.into(), &4.into()));
    let release = |client: &mut Client| client.ask(code::REMOVE_ORDER_FENCES, &[("topic", "T")], b"").code;
    assert_eq!((release(&mut client), release(&mut client)), (0, 29));
    assert_eq!(client.pull(Pull { queue: 2, hold_millis: 50, ..Pull::of("T") }).code, 19, "it is empty");
    assert_eq!(fences(&mut client).len(), 0);

    queues(&mut client, 8, true);
    assert_eq!(fences(&mut client).len(), 1);
    assert_eq!(client.ask(215, &[("topic", "T")], b"").code, 0);
    assert_eq!(fences(&mut client).len(), 0);
}

#[test]
fn an_ordered_topic_grows_to_a_multiple_and_others_as_they_like() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    queues(&mut client, 4, true);
    let refused = queues(&mut client, 6, true);
    assert_eq!(refused.code, 29);
    assert!(refused.remark.unwrap().contains("Give it a multiple of 4"));
    assert_eq!(running.broker.topics.queues("T").unwrap().write, 4);
    for (count, order) in [(8, true), (4, true), (4, false), (6, false), (7, true)] {
        assert_eq!(queues(&mut client, count, order).code, 0, "{count} {order}");
    }
}

#[test]
fn a_group_does_not_wait_for_messages_of_an_old_queue_that_a_power_failure_took() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    assert_eq!(queues(&mut client, 2, true).code, 0);
    client.send_message("T", 0, "", b"a0");
    client.send_message("T", 1, "", b"a1");
    drop((client, running));
    // The fence was on disk, and the messages before it were not.
    let fences = r#"{"fences":{"T":[{"before":1,"after":2,"at":1,"ends":[9]}]}}"#;
    std::fs::write(dir.path().join("config/orderFences.json"), fences).unwrap();

    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    client.subscribe("CG", ("T", "TAG", "*", 1));
    assert_eq!(client.pull(Pull { queue: 1, ..Pull::of("T") }).code, 19, "a0 is not consumed");
    commit(&mut client, 0, 1);
    assert_eq!(bodies(&client.pull(Pull { queue: 1, ..Pull::of("T") })), ["a1"]);
}
