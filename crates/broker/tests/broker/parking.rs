use crate::client::{Client, Pull, bodies, config, messages, properties, send_fields};
use crate::{Running, code};
use protocol::command::Command;
use protocol::life::{Happening, MessageLives};
use protocol::request::order::{ParkedKey, ParkedList, ReleasedList};
use std::time::{Duration, Instant};

fn set_group(client: &mut Client, attributes: serde_json::Value) -> Command {
    let body = serde_json::json!({ "groupName": "CG", "attributes": attributes }).to_string();
    client.ask(200, &[], body.as_bytes())
}

/// A member of `CG` that consumes queue 0 of `T` in order.
fn member(running: &Running) -> Client {
    let mut client = running.client();
    let heartbeat = r#"{"clientID":"c","consumerDataSet":[{"groupName":"CG","consumeType":"CONSUME_PASSIVELY",
        "messageModel":"CLUSTERING","subscriptionDataSet":[{"topic":"T","subString":"*"}]}]}"#;
    assert_eq!(client.ask_heartbeat(heartbeat), 0);
    let lock = r#"{"clientId":"c","consumerGroup":"CG","mqSet":[{"brokerName":"b1","queueId":0,"topic":"T"}]}"#;
    assert_eq!(client.ask(41, &[], lock.as_bytes()).code, 0);
    client
}

impl Client {
    fn ask_heartbeat(&mut self, body: &str) -> i32 {
        // Members that sent an older version can't be told to move.
        let header = format!(r#"{{"code":34,"flag":0,"language":"JAVA","opaque":900,"version":{}}}"#, 401);
        self.ask_raw(&header, body.as_bytes()).code
    }
}

/// `a0` is a message with the key `a`; its id is the same.
fn send(client: &mut Client, all: &str) {
    for one in all.split(' ') {
        let key = if one.starts_with('-') { String::new() } else { format!("KEYS={};", &one[..1]) };
        let text = properties(&format!("{key}UNIQ_KEY={one};"));
        assert_eq!(client.send_message("T", 0, &text, one.as_bytes()).code, 0);
    }
}

/// As Java's consumers in order do after so many attempts.
fn give_up(client: &mut Client, id: &str) -> Command {
    let text = properties(&format!("KEYS={};UNIQ_KEY={id};RETRY_TOPIC=T;DELAY=6;", &id[..1]));
    let mut fields = send_fields("%RETRY%CG", "0", &text);
    fields[9].1 = "3";
    fields.push(("l", "3"));
    client.ask(310, &fields, id.as_bytes())
}

fn commit(client: &mut Client, offset: i64) {
    let offset = offset.to_string();
    let fields = [("consumerGroup", "CG"), ("topic", "T"), ("queueId", "0"), ("commitOffset", offset.as_str())];
    assert_eq!(client.ask(15, &fields, b"").code, 0);
}

fn parked(client: &mut Client) -> Vec<ParkedKey> {
    let answer = client.ask(code::LIST_PARKED, &[("group", "CG"), ("maxNum", "100")], b"");
    assert_eq!(answer.code, 0, "{answer:?}");
    serde_json::from_slice::<ParkedList>(&answer.body).unwrap().keys
}

fn release(client: &mut Client, more: &[(&str, &str)]) -> Result<ReleasedList, String> {
    let answer = client.ask(code::RELEASE_PARKED, &[&[("group", "CG"), ("topic", "T")], more].concat(), b"");
    if answer.code == 0 { Ok(serde_json::from_slice(&answer.body).unwrap()) } else { Err(answer.remark.unwrap()) }
}

/// Pulls from `offset`, having consumed all before: what it gets, and where it goes on.
fn pull(client: &mut Client, offset: i64) -> (Vec<String>, i64) {
    let answer = client.pull(Pull { offset, commit: Some(offset), hold_millis: 20, ..Pull::of("T") });
    (bodies(&answer), answer.ext.get("nextBeginOffset").unwrap().parse().unwrap())
}

/// Pulls from `offset` and is told to go on elsewhere: where.
fn moved(client: &mut Client, offset: i64) -> i64 {
    let answer = client.pull(Pull { offset, commit: Some(offset), hold_millis: 5000, ..Pull::of("T") });
    assert_eq!((answer.code, answer.remark.as_deref()), (21, Some("OFFSET_RESET")), "{answer:?}");
    answer.ext.get("nextBeginOffset").unwrap().parse().unwrap()
}

fn happened(client: &mut Client, id: &str) -> (Vec<Happening>, bool, bool) {
    let answer = client.ask(90_030, &[("topic", "T"), ("msgId", id)], b"");
    let lives: MessageLives = serde_json::from_slice(&answer.body).unwrap();
    let group = lives.messages[0].groups.iter().find(|it| it.group == "CG").unwrap();
    (lives.messages[0].events.iter().map(|event| event.what).collect(), group.done, group.parked)
}

#[test]
fn a_message_that_is_given_up_is_parked_with_its_key_and_released_before_later_ones_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut producer = running.client();
    assert_eq!(set_group(&mut producer, serde_json::json!({ "+order.park": "true" })).code, 0);
    send(&mut producer, "a0 b0 a1 b1 c0");
    let mut consumer = member(&running);
    assert_eq!(pull(&mut consumer, 0).0.len(), 5);
    commit(&mut consumer, 1);

    // It consumed b0 too, and can't work at a1.
    let mut held = member(&running);
    held.send_pull(Pull { offset: 5, commit: Some(1), hold_millis: 10_000, ..Pull::of("T") });
    for _ in 0..3 {
        let refused = give_up(&mut consumer, "a1");
        assert_eq!(refused.code, 13, "its consumer keeps it until it moves");
        assert!(
            refused.remark.unwrap().contains("message 2 of topic[T] queue 0 is parked for group[CG], with its key `a`")
        );
    }
    assert_eq!(held.answer().ext.get("nextBeginOffset"), Some("2"), "a pull that waits is told at once");
    assert_eq!(moved(&mut consumer, 5), 2);
    commit(&mut consumer, 5);
    assert_eq!(pull(&mut consumer, 2), (vec!["b1".into(), "c0".into()], 5), "other keys go on");
    send(&mut producer, "a2 d0");
    assert_eq!(pull(&mut consumer, 5), (vec!["d0".into()], 7));
    commit(&mut consumer, 7);
    assert_eq!(client_pull_code(&mut consumer, "%DLQ%CG"), 17, "nothing is dead");

    let of_key = parked(&mut producer);
    let found: Vec<_> = of_key.iter().map(|it| (it.key.as_deref(), it.offset, it.message_id.as_str())).collect();
    assert_eq!(found, [(Some("a"), 2, "a1")]);
    assert_eq!(of_key[0].messages.iter().map(|it| it.offset).collect::<Vec<_>>(), [2, 5]);
    assert!(of_key[0].by.ends_with("after 3 attempts") && !of_key[0].releasing && !of_key[0].expired);
    for id in ["a1", "a2"] {
        let (events, done, is_parked) = happened(&mut producer, id);
        assert_eq!(events.last(), Some(&Happening::Parked), "{id}: {events:?}");
        assert_eq!((done, is_parked), (false, true));
    }
    let (events, done, is_parked) = happened(&mut producer, "b1");
    assert_eq!((events.last(), done, is_parked), (Some(&Happening::Acknowledged), true, false));

    drop((producer, consumer, held, running)); // killed
    let running = Running::start(config(dir.path()));
    let (mut producer, mut consumer) = (running.client(), member(&running));
    assert_eq!(parked(&mut producer).len(), 1);
    send(&mut producer, "a3 e0");
    // What it consumed after it was told to go back was not on disk yet; it comes again, without the key.
    assert_eq!(moved(&mut consumer, 7), 2);
    assert_eq!(pull(&mut consumer, 2), (["b1", "c0", "d0", "e0"].map(String::from).to_vec(), 9));
    commit(&mut consumer, 9);
    send(&mut producer, "a4 f0");

    let released = release(&mut producer, &[("key", "a")]).unwrap();
    assert_eq!((released.queues[0].keys, released.queues[0].offset), (1, 2));
    assert_eq!(moved(&mut consumer, 9), 2);
    assert!(parked(&mut producer)[0].releasing);
    let (events, done, is_parked) = happened(&mut producer, "a2");
    assert_eq!((events.last(), done, is_parked), (Some(&Happening::Released), false, false));
    drop((producer, consumer, running)); // killed again, while nothing of it is consumed

    let running = Running::start(config(dir.path()));
    let (mut producer, mut consumer) = (running.client(), member(&running));
    assert_eq!(moved(&mut consumer, 9), 2, "it goes on being released");
    let all = ["a1", "a2", "a3", "a4", "f0"].map(String::from).to_vec();
    assert_eq!(
        pull(&mut consumer, 2),
        (all, 11),
        "its messages in their order, before later ones, and no others again"
    );
    commit(&mut consumer, 11);
    running.broker.end_releases().unwrap();
    assert_eq!(parked(&mut producer), []);
    let (events, done, _) = happened(&mut producer, "a2");
    let acknowledged = events.iter().filter(|it| **it == Happening::Acknowledged).count();
    assert_eq!((events.last(), acknowledged, done), (Some(&Happening::Acknowledged), 1, true), "{events:?}");
    let (events, ..) = happened(&mut producer, "b1");
    let acknowledged = events.iter().filter(|it| **it == Happening::Acknowledged).count();
    assert_eq!(acknowledged, 2, "once more after the kill, not as the release went past it: {events:?}");
    assert!(release(&mut producer, &[]).unwrap_err().contains("nothing like that is parked"));
}

fn client_pull_code(client: &mut Client, topic: &str) -> i32 {
    client.pull(Pull::of(topic)).code
}

#[test]
fn a_release_begins_anew_if_a_crash_took_the_way_back() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = member(&running);
    send(&mut client, "a0 b0");
    commit(&mut client, 0);
    let fields = [("group", "CG"), ("topic", "T"), ("queueId", "0"), ("offset", "0")];
    assert_eq!(client.ask(code::PARK_MESSAGE, &fields, b"").code, 0);
    assert_eq!(pull(&mut client, 0), (vec!["b0".into()], 2));
    commit(&mut client, 2);
    assert_eq!(release(&mut client, &[]).unwrap().queues[0].offset, 0);
    drop((client, running));
    // The table was on disk, and the offset was not: it was an older one.
    let parked = dir.path().join("config/orderParked.json");
    let kept = std::fs::read_to_string(&parked).unwrap();
    assert!(kept.contains("\"end\"") && !kept.contains("pending"), "{kept}");
    std::fs::write(&parked, kept.replace("\"end\"", "\"pending\":true,\"end\"")).unwrap();
    let file = dir.path().join("config/consumerOffset.json");
    std::fs::write(&file, r#"{"offsetTable":{"T@CG":{"0":1}}}"#).unwrap();

    let running = Running::start(config(dir.path()));
    let mut client = member(&running);
    assert_eq!(moved(&mut client, 2), 0);
    assert_eq!(pull(&mut client, 0), (vec!["a0".into()], 2));
    commit(&mut client, 2);
    drop(client);
    running.stop();
    // Nor does it begin again once it was kept.
    let running = Running::start(config(dir.path()));
    let mut client = member(&running);
    assert_eq!(pull(&mut client, 2).1, 2);
}

#[test]
fn what_is_parked_can_go_to_the_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = member(&running);
    set_group(&mut client, serde_json::json!({ "+order.park": "true" }));
    send(&mut client, "a0 b0 a1 b1 a2 b2");
    commit(&mut client, 0);
    assert_eq!([give_up(&mut client, "a0").code, give_up(&mut client, "b0").code], [13, 13]);
    assert_eq!(pull(&mut client, 0), (vec![], 6));
    commit(&mut client, 6);
    assert!(release(&mut client, &[("deadLetters", "some")]).unwrap_err().contains("`first` or `all`"));

    let released = release(&mut client, &[("key", "a"), ("deadLetters", "first")]).unwrap();
    assert_eq!((released.queues[0].offset, released.queues[0].dead_letters), (1, 1));
    assert_eq!(moved(&mut client, 6), 1);
    assert_eq!(pull(&mut client, 1), (vec!["a1".into(), "a2".into()], 6));
    commit(&mut client, 6);
    let released = release(&mut client, &[("key", "b"), ("deadLetters", "all")]).unwrap();
    assert_eq!((released.queues[0].offset, released.queues[0].dead_letters), (6, 3));
    running.broker.end_releases().unwrap();
    assert_eq!(parked(&mut client), []);
    let dead = messages(&client.pull(Pull { hold_millis: 5000, ..Pull::of("%DLQ%CG") }));
    let told: Vec<_> = dead.iter().map(|(body, text)| (body.as_str(), text.contains("RETRY_TOPIC=T;"))).collect();
    assert_eq!(told, [("a0", true), ("b0", true), ("b1", true), ("b2", true)]);
    let (events, ..) = happened(&mut client, "b1");
    assert!(events.contains(&Happening::Dead), "{events:?}");
}

#[test]
fn operators_park_what_a_group_has_still_to_consume() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = member(&running);
    send(&mut client, "a0 -1 -2 a3");
    let park = |client: &mut Client, offset: &str| {
        let fields = [("group", "CG"), ("topic", "T"), ("queueId", "0"), ("offset", offset)];
        let answer = client.ask(code::PARK_MESSAGE, &fields, b"");
        (answer.code, answer.remark.unwrap_or_default())
    };
    assert!(park(&mut client, "1").1.contains("has consumed nothing"));
    commit(&mut client, 1);
    assert!(park(&mut client, "0").1.contains("is consumed"));
    assert!(park(&mut client, "9").1.contains("there is no message 9"));
    assert_eq!(park(&mut client, "1").0, 0);
    assert_eq!(pull(&mut client, 1), (vec!["-2".into(), "a3".into()], 4), "without a key: alone");
    // A group that an operator moves goes on where it is told, and what is parked stays so.
    let fields = [("group", "CG"), ("topic", "T"), ("timestamp", "0"), ("isForce", "true")];
    commit(&mut client, 4);
    release(&mut client, &[("offset", "1")]).unwrap();
    assert_eq!(client.ask(222, &fields, b"").code, 0);
    assert_eq!(
        pull(&mut client, 0),
        (["a0", "-1", "-2", "a3"].map(String::from).to_vec(), 4),
        "no release is in the way"
    );
    assert_eq!(parked(&mut client), []);
    park(&mut client, "0");
    for (request, fields) in [(207, [("groupName", "CG"), ("cleanOffset", "true")]), (215, [("topic", "T"), ("x", "")])]
    {
        commit(&mut client, 0);
        park(&mut client, "0");
        assert_eq!(parked(&mut client).len(), 1);
        assert_eq!(client.ask(request, &fields, b"").code, 0);
        assert_eq!(parked(&mut client), [], "it goes with the group, and with the topic");
    }
}

#[test]
fn a_group_that_does_not_park_has_dead_letters_as_ever() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = member(&running);
    send(&mut client, "a0 a1");
    assert_eq!(give_up(&mut client, "a0").code, 0);
    assert_eq!(bodies(&client.pull(Pull { hold_millis: 5000, ..Pull::of("%DLQ%CG") })), ["a0"]);
    let refused = set_group(&mut client, serde_json::json!({ "+order.park": "maybe" }));
    assert!(refused.code == 1 && refused.remark.unwrap().contains("can be true or false"));
    set_group(&mut client, serde_json::json!({ "+order.park": "true" }));
    assert_eq!(give_up(&mut client, "x9").code, 0, "nobody knows where it lies");
    commit(&mut client, 2);
    assert_eq!(give_up(&mut client, "a1").code, 0, "the group has consumed it");
    assert_eq!(parked(&mut client), []);
}

#[test]
fn a_member_that_has_too_much_in_hand_to_pull_is_told_by_a_request() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let (mut client, mut other) = (member(&running), running.client());
    set_group(&mut other, serde_json::json!({ "+order.park": "true" }));
    send(&mut other, "a0 b0");
    assert_eq!(give_up(&mut client, "a0").code, 13);
    let until = Instant::now() + Duration::from_secs(20);
    let told = loop {
        let told = client.hear();
        if told.code == 220 {
            break told;
        }
        assert!(Instant::now() < until, "it is told to move");
    };
    assert_eq!((told.ext.get("topic"), told.ext.get("group"), told.is_oneway()), (Some("T"), Some("CG"), true));
    let body = String::from_utf8(told.body.to_vec()).unwrap();
    assert!(body.contains(r#""queueId":0"#) && body.contains(":0}"), "{body}");
    assert_eq!(pull(&mut client, 0), (vec!["b0".into()], 2));
}

/// As a consumer sends a message back for the last time that was stored there; in order, if it holds a lock.
fn send_back(client: &mut Client, at: i64) -> Command {
    let at = at.to_string();
    client.ask(36, &[("offset", at.as_str()), ("group", "CG"), ("delayLevel", "-1"), ("unitMode", "false")], b"")
}

#[test]
fn consumers_that_are_not_in_order_have_dead_letters_though_their_group_parks() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    set_group(&mut client, serde_json::json!({ "+order.park": "true" }));
    client.subscribe("CG", ("T", "TAG", "*", 1));
    send(&mut client, "a0 a1 b0");
    let at =
        |offset: i64| running.broker.store.place_of("T", 0, protocol::message::QueueOffset(offset)).unwrap().unwrap().0;
    // The broker has just been started: locks that members hold may not be known yet.
    let refused = send_back(&mut client, at(0));
    assert!(
        refused.code == 13 && refused.remark.unwrap().contains("does not know yet whether group[CG] consumes in order")
    );
    assert_eq!(give_up(&mut client, "a0").code, 13);
    assert_eq!(parked(&mut client), []);
    let mut in_order = member(&running);
    assert!(send_back(&mut in_order, at(2)).remark.unwrap().contains("is parked for group[CG]"));
    assert_eq!(parked(&mut client).len(), 1);
}

#[test]
fn all_that_is_parked_of_a_key_goes_to_the_dead_letters_so_many_at_a_time() {
    const COUNT: i64 = 10_100;
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = member(&running);
    send(&mut client, "a0 b0");
    let host = "127.0.0.1:10911".parse().unwrap();
    for n in 1..COUNT {
        let text = properties(&format!("KEYS=a;UNIQ_KEY=a{n};"));
        let put = store::PutMessage {
            topic: "T",
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 0,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: b"x",
            properties: text.as_bytes(),
        };
        running.broker.store.put_message(&put).unwrap();
    }
    send(&mut client, "c0");
    commit(&mut client, 0);
    let fields = [("group", "CG"), ("topic", "T"), ("queueId", "0"), ("offset", "0")];
    assert_eq!(client.ask(code::PARK_MESSAGE, &fields, b"").code, 0);
    pull(&mut client, 0);
    commit(&mut client, COUNT + 2);
    let all = [("key", "a"), ("deadLetters", "all")];
    let first = release(&mut client, &all).unwrap().queues.remove(0);
    assert_eq!((first.keys, first.dead_letters, first.left.clone()), (0, 10_000, vec![10_001]));
    let left = parked(&mut client);
    assert_eq!((left.len(), left[0].offset, left[0].releasing), (1, 10_001, false), "the rest is parked still");
    drop((client, running)); // as by kill -9

    let running = Running::start(config(dir.path()));
    let mut client = member(&running);
    pull(&mut client, 0);
    commit(&mut client, COUNT + 2);
    let second = release(&mut client, &all).unwrap().queues.remove(0);
    assert_eq!((second.keys, second.dead_letters, second.left), (1, 100, vec![]));
    assert_eq!(parked(&mut client), []);
    until("all are dead", || running.broker.store.max_offset("%DLQ%CG", 0).0 == COUNT);
}

fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !fact() {
        assert!(Instant::now() < until, "{what} does not come true");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_tool_that_sets_the_offset_back_ends_a_release() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let (mut client, mut tool) = (member(&running), running.client());
    send(&mut client, "a0 b0 a1 b1");
    commit(&mut client, 0);
    let fields = [("group", "CG"), ("topic", "T"), ("queueId", "0"), ("offset", "0")];
    assert_eq!(client.ask(code::PARK_MESSAGE, &fields, b"").code, 0);
    assert_eq!(pull(&mut client, 0), (vec!["b0".into(), "b1".into()], 4));
    commit(&mut client, 4);
    release(&mut tool, &[("key", "a")]).unwrap();
    assert_eq!(moved(&mut client, 4), 0);
    assert_eq!(pull(&mut client, 0).0, ["a0", "a1"]);
    commit(&mut client, 2);
    commit(&mut client, 1);
    assert!(parked(&mut client)[0].releasing, "a member that is behind another means no harm");
    commit(&mut client, 3);
    commit(&mut tool, 1);
    assert_eq!(parked(&mut client), []);
    assert_eq!(moved(&mut client, 4), 1, "members hear of it");
    assert_eq!(pull(&mut client, 1).0, ["b0", "a1", "b1"], "everything comes from there");
    drop((client, tool, running)); // as by kill -9
    let running = Running::start(config(dir.path()));
    assert_eq!(pull(&mut member(&running), 1).0, ["b0", "a1", "b1"]);
}
