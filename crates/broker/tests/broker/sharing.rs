use crate::client::{Client, Pull, bodies, config, properties, until};
use crate::{Running, code};
use std::collections::BTreeSet;

fn set_group(client: &mut Client, attributes: serde_json::Value) -> (i32, String) {
    let body = serde_json::json!({ "groupName": "CG", "attributes": attributes }).to_string();
    let answer = client.ask(200, &[], body.as_bytes());
    (answer.code, answer.remark.unwrap_or_default())
}

/// A member of `CG`, which consumes queue 0 of `T` in order.
fn member(running: &Running, id: &str) -> Client {
    let mut client = running.client();
    let heartbeat = serde_json::json!({ "clientID": id, "consumerDataSet": [{
        "groupName": "CG", "consumeType": "CONSUME_PASSIVELY", "messageModel": "CLUSTERING",
        "subscriptionDataSet": [{ "topic": "T", "subString": "*" }],
    }]});
    assert_eq!(client.ask(34, &[], heartbeat.to_string().as_bytes()).code, 0);
    let answer = client.ask(38, &[("consumerGroup", "CG")], b"");
    assert_eq!(answer.body, format!(r#"{{"consumerIdList":["{id}"]}}"#), "it believes that it is alone");
    lock(&mut client, id, 41);
    client
}

fn lock(client: &mut Client, id: &str, code: i32) {
    let queue = r#"{"brokerName":"b1","queueId":0,"topic":"T"}"#;
    let body = format!(r#"{{"clientId":"{id}","consumerGroup":"CG","mqSet":[{queue}]}}"#);
    let answer = client.ask(code, &[], body.as_bytes());
    if code == 41 {
        assert_eq!(answer.body, format!(r#"{{"lockOKMQSet":[{queue}]}}"#), "everybody has the lock");
    }
}

fn send(client: &mut Client, from: usize, to: usize) {
    for n in from..to {
        let text = properties(&format!("KEYS=key-{};UNIQ_KEY=ID{n};", n % 20));
        assert_eq!(client.send_message("T", 0, &text, n.to_string().as_bytes()).code, 0);
    }
}

/// A consumer: what it got, in order, and how far it is.
struct Consumer {
    client: Client,
    next: i64,
    got: Vec<usize>,
    moved: usize,
}

impl Consumer {
    fn new(running: &Running, id: &str) -> Consumer {
        Consumer { client: member(running, id), next: 0, got: Vec::new(), moved: 0 }
    }

    /// Pulls, having consumed all that it got.
    fn pull(&mut self) {
        let pull = Pull { offset: self.next, commit: Some(self.next), hold_millis: 300, ..Pull::of("T") };
        let answer = self.client.pull(pull);
        self.moved += usize::from(answer.code == 21);
        self.got.extend(bodies(&answer).iter().map(|body| body.parse::<usize>().unwrap()));
        self.next = answer.ext.get("nextBeginOffset").unwrap().parse().unwrap();
    }

    fn commit(&mut self) {
        let next = self.next.to_string();
        let fields = [("consumerGroup", "CG"), ("topic", "T"), ("queueId", "0"), ("commitOffset", next.as_str())];
        assert_eq!(self.client.ask(15, &fields, b"").code, 0);
    }
}

fn keys(got: &[usize]) -> BTreeSet<usize> {
    got.iter().map(|n| n % 20).collect()
}

fn consumed(running: &Running) -> Option<i64> {
    running.broker.offsets.get("CG", "T", 0)
}

#[test]
fn two_members_consume_one_queue_each_its_own_keys_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut producer = running.client();
    assert_eq!(set_group(&mut producer, serde_json::json!({ "+order.shareByKey": "true" })).0, 0);
    send(&mut producer, 0, 100);
    let mut a = Consumer::new(&running, "a");
    until("a has all", || {
        a.pull();
        a.got.len() == 100
    });
    assert_eq!(a.got, (0..100).collect::<Vec<_>>());
    a.commit();
    let mut b = Consumer::new(&running, "b");
    until("b is given keys", || {
        let n = producer.ask(30, &[("topic", "T"), ("queueId", "0")], b"").ext.get("offset").unwrap().parse().unwrap();
        send(&mut producer, n, n + 20);
        a.pull();
        b.pull();
        !b.got.is_empty()
    });
    let (a_before, b_before) = (a.got.len(), b.got.len());
    let end: usize =
        producer.ask(30, &[("topic", "T"), ("queueId", "0")], b"").ext.get("offset").unwrap().parse().unwrap();
    send(&mut producer, end, end + 100);
    let all = || end as i64 + 100;
    until("both have all", || {
        a.pull();
        b.pull();
        a.next == all() && b.next == all()
    });
    let (of_a, of_b) = (keys(&a.got[a_before + 20..]), keys(&b.got[b_before..]));
    assert!(of_a.is_disjoint(&of_b) && of_a.len() + of_b.len() == 20, "{of_a:?} {of_b:?}");
    let mut every = [a.got.clone(), b.got.clone()].concat();
    every.sort_unstable();
    assert_eq!(every, (0..end + 100).collect::<Vec<_>>(), "each message once");
    assert!(a.got.is_sorted() && b.got.is_sorted());
    a.commit();
    assert!(consumed(&running).unwrap() < all(), "b has not said that it is done: {:?}", consumed(&running));
    b.commit();
    assert_eq!(consumed(&running), Some(all()));

    // A member that goes leaves what it had in hand to the other, in order.
    send(&mut producer, end + 100, end + 140);
    b.pull();
    let lost: Vec<usize> = b.got.iter().copied().filter(|n| *n >= end + 100).collect();
    assert!(!lost.is_empty());
    let fields = [("clientID", "b"), ("consumerGroup", "CG")];
    assert_eq!(b.client.ask(35, &fields, b"").code, 0);
    let before = a.got.len();
    until("a has all that b had", || {
        a.pull();
        a.got.len() - before >= 40 && a.next == end as i64 + 140
    });
    let mut rest = a.got[before..].to_vec();
    for key in 0..20 {
        let of_key: Vec<usize> = rest.iter().copied().filter(|n| n % 20 == key).collect();
        assert!(of_key.is_sorted(), "{of_key:?}");
    }
    rest.sort_unstable();
    rest.dedup();
    assert_eq!(rest, (end + 100..end + 140).collect::<Vec<_>>());
}

#[test]
fn a_killed_broker_knows_who_has_which_keys() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut producer = running.client();
    set_group(&mut producer, serde_json::json!({ "+order.shareByKey": "true" }));
    send(&mut producer, 0, 20);
    let (mut a, mut b) = (Consumer::new(&running, "a"), Consumer::new(&running, "b"));
    until("both have keys", || {
        let n = producer.ask(30, &[("topic", "T"), ("queueId", "0")], b"").ext.get("offset").unwrap().parse().unwrap();
        send(&mut producer, n, n + 20);
        a.pull();
        b.pull();
        a.commit();
        b.commit();
        keys(&a.got[a.got.len().saturating_sub(8)..]).len() > 1
            && keys(&b.got[b.got.len().saturating_sub(8)..]).len() > 1
    });
    let end = a.next.max(b.next) as usize;
    until("all is consumed", || {
        a.pull();
        b.pull();
        a.commit();
        b.commit();
        a.next == end as i64 && b.next == end as i64
    });
    let (of_a, of_b) = (keys(&a.got[a.got.len() - 5..]), keys(&b.got[b.got.len() - 5..]));
    let (next_a, next_b) = (a.next, b.next);
    drop((a, b, producer, running)); // killed

    let running = Running::start(config(dir.path()));
    let mut producer = running.client();
    // b is there first.
    let (mut b, mut a) = (Consumer::new(&running, "b"), Consumer::new(&running, "a"));
    (a.next, b.next) = (next_a, next_b);
    send(&mut producer, end, end + 100);
    until("all is consumed again", || {
        a.pull();
        b.pull();
        a.next == end as i64 + 100 && b.next == end as i64 + 100
    });
    assert!(of_a.is_subset(&keys(&a.got)) && of_b.is_subset(&keys(&b.got)), "each goes on with its own");
    assert!(keys(&a.got).is_disjoint(&keys(&b.got)));
}

#[test]
fn sharing_is_set_while_nobody_consumes_and_alone() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let both = serde_json::json!({ "+order.shareByKey": "true", "+order.park": "true" });
    assert!(set_group(&mut client, both).1.contains("not both"));
    assert_eq!(set_group(&mut client, serde_json::json!({ "+order.shareByKey": "true" })).0, 0);
    send(&mut client, 0, 3);
    let mut a = Consumer::new(&running, "a");
    until("it has all", || {
        a.pull();
        a.got.len() == 3
    });
    let refused = set_group(&mut client, serde_json::json!({ "-order.shareByKey": "" }));
    assert!(refused.0 == 29 && refused.1.contains("while it has members"), "{refused:?}");
    let fields = [("group", "CG"), ("topic", "T"), ("queueId", "0"), ("offset", "2")];
    assert!(a.client.ask(code::PARK_MESSAGE, &fields, b"").remark.unwrap().contains("shares queues by key"));
    // Who consumes without a lock gets nothing: it could not be told what is its own.
    let mut other = running.client();
    other.subscribe("CG", ("T", "TAG", "*", 1));
    assert_eq!(other.pull(Pull { hold_millis: 50, ..Pull::of("T") }).code, 19);
    // An operator moves it.
    let fields =
        [("group", "CG"), ("topic", "T"), ("timestamp", "-1"), ("queueId", "0"), ("offset", "1"), ("isForce", "true")];
    assert_eq!(client.ask(222, &fields, b"").code, 0);
    until("it comes again", || {
        a.pull();
        a.got.len() == 5
    });
    assert_eq!((&a.got[3..], a.moved), (&[1, 2][..], 1));
    a.client.ask(35, &[("clientID", "a"), ("consumerGroup", "CG")], b"");
    other.ask(35, &[("clientID", "c"), ("consumerGroup", "CG")], b"");
    assert_eq!(set_group(&mut client, serde_json::json!({ "-order.shareByKey": "" })).0, 0);
    assert_eq!(other.pull(Pull { hold_millis: 50, ..Pull::of("T") }).code, 0);
}

#[test]
fn an_offset_that_nobody_of_the_group_sets_is_refused_or_moves_it_but_is_never_lost() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut tool = running.client();
    set_group(&mut tool, serde_json::json!({ "+order.shareByKey": "true" }));
    send(&mut tool, 0, 10);
    let mut a = Consumer::new(&running, "a");
    until("it has all", || {
        a.pull();
        a.got.len() == 10
    });
    a.commit();
    let fields = [("consumerGroup", "CG"), ("topic", "T"), ("queueId", "0"), ("commitOffset", "4")];
    let refused = tool.ask(15, &fields, b"");
    assert_eq!(refused.code, 604);
    assert!(refused.remark.unwrap().contains("the offset is not changed"));
    assert_eq!(consumed(&running), Some(10));
    // Without members it is where the group goes on.
    assert_eq!(a.client.ask(35, &[("clientID", "a"), ("consumerGroup", "CG")], b"").code, 0);
    assert_eq!(tool.ask(15, &fields, b"").code, 0);
    assert_eq!(consumed(&running), Some(4));
    let mut b = Consumer::new(&running, "b");
    b.next = 4;
    until("it comes again", || {
        b.pull();
        b.got.len() == 6
    });
    assert_eq!(b.got, (4..10).collect::<Vec<_>>());
}

#[test]
fn a_client_that_asks_and_locks_over_the_vip_port_is_the_member_that_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut tool = running.client();
    set_group(&mut tool, serde_json::json!({ "+order.shareByKey": "true" }));
    send(&mut tool, 0, 40);
    // As Java 4.4.0 does it: heartbeats and pulls over one connection, all else over another.
    let heartbeat = |id: &str| {
        let mut client = running.client();
        let text = serde_json::json!({ "clientID": id, "consumerDataSet": [{
            "groupName": "CG", "consumeType": "CONSUME_PASSIVELY", "messageModel": "CLUSTERING",
            "subscriptionDataSet": [{ "topic": "T", "subString": "*" }],
        }]});
        assert_eq!(client.ask(34, &[], text.to_string().as_bytes()).code, 0);
        client
    };
    let (a, b) = (heartbeat("a"), heartbeat("b"));
    let (mut vip_a, mut vip_b) = (Client::connect(running.vip), Client::connect(running.vip));
    let members = |client: &mut Client| client.ask(38, &[("consumerGroup", "CG")], b"").body;
    // Both are on this machine, and nobody knows which of them asks.
    assert_eq!(members(&mut vip_a), r#"{"consumerIdList":["a","b"]}"#);
    lock(&mut vip_a, "a", 41);
    assert_eq!(members(&mut vip_a), r#"{"consumerIdList":["a"]}"#);
    assert_eq!(members(&mut vip_b), r#"{"consumerIdList":["b"]}"#, "there is no other that it can be");
    lock(&mut vip_b, "b", 41);
    assert_eq!(members(&mut vip_b), r#"{"consumerIdList":["b"]}"#);
    assert_eq!(members(&mut tool), r#"{"consumerIdList":["a","b"]}"#, "tools see all");
    let consumer = |client| Consumer { client, next: 0, got: Vec::new(), moved: 0 };
    let (mut a, mut b) = (consumer(a), consumer(b));
    until("both have all", || {
        a.pull();
        b.pull();
        a.got.len() + b.got.len() == 40
    });
    assert!(keys(&a.got).is_disjoint(&keys(&b.got)));
    // What they have consumed, they say over the other connection, too.
    let commit = |client: &mut Client| {
        client.ask(15, &[("consumerGroup", "CG"), ("topic", "T"), ("queueId", "0"), ("commitOffset", "40")], b"").code
    };
    a.pull();
    b.pull();
    assert_eq!([commit(&mut vip_a), commit(&mut vip_b)], [0, 0]);
    assert_eq!(consumed(&running), Some(40));
    // A new connection is nobody's until it says whose it is.
    drop(vip_b);
    let mut vip_b = Client::connect(running.vip);
    assert_eq!(commit(&mut vip_b), 604);
    lock(&mut vip_b, "b", 41);
    assert_eq!(commit(&mut vip_b), 0);
}
