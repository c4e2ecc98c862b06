//! Who gets in, and who does not: with users of the table, and with accounts of `plain_acl.yml`.

use crate::Running;
use crate::client::{Client, Pull, bodies, config, properties, send_fields};
use broker::Config;
use protocol::command::Command;
use remoting::Credentials;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NO_PERMISSION: i32 = 16;

/// Who may do everything.
fn root() -> Credentials {
    Credentials::new("root", "secretOfRoot")
}

fn guarded(dir: &Path) -> Config {
    let access = access::Config {
        authentication: true,
        authorization: true,
        init_user: Some(root()),
        ..access::Config::default()
    };
    Config { access, transaction_timeout: Duration::ZERO, ..config(dir) }
}

/// A broker with users; each has its own topic and group: `alice-topic`, `alice-group`.
pub struct World {
    pub running: Running,
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        World::with(|_| {})
    }

    /// One with these settings.
    pub fn with(change: impl FnOnce(&mut Config)) -> World {
        let dir = tempfile::tempdir().unwrap();
        let mut config = guarded(dir.path());
        change(&mut config);
        let world = World { running: Running::start(config), dir };
        for user in ["alice", "bob"] {
            let mut root = world.as_user("root", "secretOfRoot");
            let body = format!(r#"{{"password":"secretOf{user}"}}"#);
            ok(&root.ask(3001, &[("username", user)], body.as_bytes()));
            world.allow(user, &format!("Topic:{user}-topic"), r#""Pub","Sub""#);
            world.allow(user, &format!("Group:{user}-group"), r#""Sub""#);
        }
        world
    }

    /// Stops and starts, with these settings.
    pub fn again(self, change: impl FnOnce(&mut Config)) -> World {
        let World { running, dir } = self;
        running.stop();
        let mut config = guarded(dir.path());
        change(&mut config);
        World { running: Running::start(config), dir }
    }

    /// Where its store is.
    pub fn directory(&self) -> &Path {
        self.dir.path()
    }

    pub fn allow(&self, user: &str, resource: &str, actions: &str) {
        self.decide(user, resource, actions, "Allow");
    }

    fn decide(&self, user: &str, resource: &str, actions: &str, decision: &str) {
        let mut root = self.as_user("root", "secretOfRoot");
        let body = format!(
            r#"{{"policies":[{{"entries":[{{"resource":"{resource}","actions":[{actions}],"decision":"{decision}"}}]}}]}}"#
        );
        ok(&root.ask(3006, &[("subject", &format!("User:{user}"))], body.as_bytes()));
    }

    fn as_user(&self, name: &str, secret: &str) -> Client {
        let mut client = self.running.client();
        client.signs_as = Some(Credentials::new(name, secret));
        client
    }

    pub fn root(&self) -> Client {
        self.as_user("root", "secretOfRoot")
    }

    pub fn alice(&self) -> Client {
        self.as_user("alice", "secretOfalice")
    }

    pub fn bob(&self) -> Client {
        self.as_user("bob", "secretOfbob")
    }
}

#[track_caller]
fn ok(answer: &Command) {
    assert_eq!(answer.code, 0, "{answer:?}");
}

/// Refused, with these words.
#[track_caller]
fn refused(answer: &Command, words: &str) {
    let remark = answer.remark.as_deref().unwrap_or("");
    assert!(answer.code == NO_PERMISSION && remark.contains(words), "{words}: {answer:?}");
    assert!(!remark.contains("secretOf"), "{remark}");
}

/// The place in the commit log of a message that was sent.
fn place(sent: &Command) -> String {
    let id = sent.ext.get("msgId").unwrap();
    i64::from_str_radix(&id[id.len() - 16..], 16).unwrap().to_string()
}

fn heartbeat(client: &mut Client, id: &str, producer: &str, group: &str, topic: &str) -> Command {
    let body = serde_json::json!({ "clientID": id,
        "producerDataSet": if producer.is_empty() { vec![] } else { vec![serde_json::json!({ "groupName": producer })] },
        "consumerDataSet": if group.is_empty() { vec![] } else { vec![serde_json::json!({
            "groupName": group,
            "subscriptionDataSet": [{ "topic": topic, "expressionType": "TAG", "subString": "*", "subVersion": 1 }],
        })] },
    });
    client.ask(34, &[], body.to_string().as_bytes())
}

fn pull<'a>(group: &'a str, topic: &'a str) -> Pull<'a> {
    Pull { group, ..Pull::of(topic) }
}

#[test]
fn who_is_known_does_what_is_allowed_and_nothing_else() {
    let world = World::new();
    let (mut alice, mut bob) = (world.alice(), world.bob());
    ok(&alice.send_message("alice-topic", 0, "", b"for bob's eyes not"));
    ok(&heartbeat(&mut alice, "a@1", "PG", "alice-group", "alice-topic"));
    assert_eq!(bodies(&alice.pull(pull("alice-group", "alice-topic"))), ["for bob's eyes not"]);
    refused(
        &bob.send_message("alice-topic", 0, "", b"x"),
        "User:bob has no permission to access Topic:alice-topic from 127.0.0.1",
    );
    refused(&bob.pull(pull("bob-group", "alice-topic")), "Topic:alice-topic");
    refused(&bob.pull(pull("alice-group", "bob-topic")), "Group:alice-group");
    refused(&bob.send_message("new-topic", 0, "", b"x"), "no matched policies");
    ok(&world.root().send_message("new-topic", 0, "", b"x"));
    // The VIP port asks, too.
    let mut vip = Client::connect(world.running.vip);
    refused(&vip.send_message("alice-topic", 0, "", b"x"), "username cannot be null");
    vip.signs_as = bob.signs_as.clone();
    refused(&vip.send_message("alice-topic", 0, "", b"x"), "Topic:alice-topic");
}

#[test]
fn who_is_not_known_or_signs_otherwise_does_nothing() {
    let world = World::new();
    let mut nobody = world.running.client();
    refused(&nobody.send_message("alice-topic", 0, "", b"x"), "username cannot be null.");
    // As clients in C++ and Python send it.
    let header = r#"{"code":310,"flag":0,"language":"CPP","opaque":1,"version":0,"extFields":{"AccessKey":"","OnsChannel":"",
        "Signature":"","a":"PG","b":"alice-topic","e":0,"f":0,"g":1,"h":0}}"#;
    refused(&nobody.ask_raw(header, b"x"), "username cannot be null.");
    refused(&world.as_user("eve", "x").send_message("alice-topic", 0, "", b"x"), "User:eve is not found.");
    refused(&world.as_user("alice", "wrong").send_message("alice-topic", 0, "", b"x"), "check signature failed.");
    let forged = [("AccessKey", "root"), ("Signature", ""), ("topic", "alice-topic")];
    refused(&nobody.ask(30, &forged, b""), "check signature failed.");
    let cut = [("AccessKey", "root"), ("Signature", "AAAA"), ("topic", "alice-topic")];
    refused(&nobody.ask(30, &cut, b""), "check signature failed.");
    // A signature of another request.
    let mut signed = Command::request(30);
    signed.ext.push("topic", "alice-topic");
    Credentials::new("alice", "secretOfalice").sign(&mut signed);
    let signature = signed.ext.get("Signature").unwrap().to_owned();
    let moved = [("topic", "bob-topic"), ("AccessKey", "alice"), ("Signature", signature.as_str())];
    refused(&nobody.ask(30, &moved, b""), "check signature failed.");

    let mut root = world.root();
    ok(&root.ask(3002, &[("username", "alice")], br#"{"userStatus":"disable"}"#));
    refused(&world.alice().send_message("alice-topic", 0, "", b"x"), "User:alice is disabled.");
    ok(&root.ask(3003, &[("username", "alice")], b""));
    refused(&world.alice().send_message("alice-topic", 0, "", b"x"), "User:alice is not found.");
    refused(&nobody.ask(28, &[], b""), "username cannot be null.");
    assert_eq!(nobody.ask(4711, &[], b"").code, 3, "what nobody answers is not supported, for anybody");
}

#[test]
fn a_field_with_two_values_is_refused_whichever_was_signed() {
    let world = World::new();
    let mut alice = world.alice();
    let mut fields = send_fields("alice-topic", "0", "");
    fields.push(("b", "bob-topic"));
    refused(&alice.ask(310, &fields, b"x"), "header field `b` is there twice, with two values");
    fields.pop();
    fields.push(("b", "alice-topic"));
    // As Java clients with binary headers write it.
    let mut once = Command::request(310);
    send_fields("alice-topic", "0", "").iter().for_each(|(key, value)| once.ext.push(key, value));
    once.body = bytes::Bytes::from_static(b"x");
    Credentials::new("alice", "secretOfalice").sign(&mut once);
    fields.extend([("AccessKey", "alice"), ("Signature", once.ext.get("Signature").unwrap())]);
    let mut nobody = world.running.client();
    ok(&nobody.ask(310, &fields, b"x"));
}

#[test]
fn names_are_not_bent_around_a_rule() {
    let world = World::new();
    let mut bob = world.bob();
    for topic in
        ["ALICE-TOPIC", "Alice-Topic", "alice-topic ", "bob-topic2", "ns%bob-topic", "%DLQ%bob-group", "%LMQ%bob-topic"]
    {
        refused(&bob.send_message(topic, 0, "", b"x"), "User:bob has no permission");
    }
    for (key, value) in [("ns", "alice"), ("nsd", "true"), ("topic", "bob-topic")] {
        let mut fields = send_fields("alice-topic", "0", "");
        fields.push((key, value));
        refused(&bob.ask(310, &fields, b"x"), "Topic:alice-topic");
    }
    // The long form goes by its own field, whatever the short one says.
    let long = [
        ("b", "bob-topic"),
        ("topic", "alice-topic"),
        ("producerGroup", "PG"),
        ("queueId", "0"),
        ("sysFlag", "0"),
        ("bornTimestamp", "1"),
        ("flag", "0"),
    ];
    refused(&bob.ask(10, &long, b"x"), "Topic:alice-topic");
}

#[test]
fn a_retry_topic_is_its_groups_and_a_dead_letter_topic_takes_a_rule_that_names_it() {
    let world = World::new();
    world.allow("bob", "Topic:*", r#""Pub","Sub""#);
    world.decide("bob", "Topic:alice-topic", r#""All""#, "Deny");
    let (mut alice, mut bob) = (world.alice(), world.bob());
    ok(&heartbeat(&mut alice, "a@1", "", "alice-group", "alice-topic"));
    let sent = alice.send_message("alice-topic", 0, "", b"secret");
    let back = [("offset", place(&sent)), ("group", "alice-group".into()), ("delayLevel", "-1".into())];
    let back: Vec<(&str, &str)> = back.iter().map(|(key, value)| (*key, value.as_str())).collect();
    ok(&alice.ask(36, &back, b""));
    // The message lies among the dead letters now; a rule for all topics does not reach it.
    refused(&bob.pull(pull("bob-group", "%DLQ%alice-group")), "it takes a rule that names it");
    refused(&bob.pull(pull("bob-group", "%RETRY%alice-group")), "Group:alice-group");
    refused(&bob.send_message("%RETRY%alice-group", 0, "", b"x"), "Group:alice-group");
    let mut own_group = send_fields("%RETRY%alice-group", "0", "");
    own_group[0].1 = "bob-group";
    refused(&bob.ask(310, &own_group, b"x"), "Group:alice-group");
    refused(&heartbeat(&mut bob, "b@1", "", "bob-group", "%RETRY%alice-group"), "Group:alice-group");
    refused(&bob.send_message("%DLQ%alice-group", 0, "", b"x"), "it takes a rule that names it");
    for hidden in
        ["RMQ_SYS_TRANS_HALF_TOPIC", "SCHEDULE_TOPIC_XXXX", "rmq_sys_wheel_timer", "TRANS_CHECK_MAX_TIME_TOPIC"]
    {
        refused(&bob.pull(pull("bob-group", hidden)), "it takes a rule that names it");
    }
    world.allow("bob", "Topic:%DLQ%alice-group", r#""Sub""#);
    let moved = bob.pull(pull("bob-group", "%DLQ%alice-group"));
    assert_eq!(bodies(&moved), ["secret"]);
}

#[test]
fn a_consumer_sends_back_only_messages_that_it_may_have() {
    let world = World::new();
    let (mut alice, mut bob) = (world.alice(), world.bob());
    let place = place(&alice.send_message("alice-topic", 0, "", b"secret"));
    ok(&heartbeat(&mut bob, "b@1", "", "bob-group", "bob-topic"));
    let back = |group: &str| {
        [("offset", place.as_str()), ("group", group), ("delayLevel", "0"), ("originTopic", "bob-topic")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
    };
    for (group, words) in [("bob-group", "Topic:alice-topic"), ("alice-group", "Group:alice-group")] {
        let fields = back(group);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        refused(&bob.ask(36, &fields, b""), words);
    }
}

#[test]
fn a_batch_goes_where_its_header_says_whatever_its_messages_say() {
    let world = World::new();
    let (mut alice, mut bob) = (world.alice(), world.bob());
    let entry = |more: &str| {
        let properties = properties(more);
        let mut bytes = Vec::new();
        protocol::record::BatchEntry { flag: 0, body: b"inner", properties: properties.as_bytes() }.encode(&mut bytes);
        bytes
    };
    let inner = entry("REAL_TOPIC=alice-topic;RETRY_TOPIC=alice-topic;INNER_MULTI_DISPATCH=%LMQ%alice;REAL_QID=0;");
    let mut fields = send_fields("bob-topic", "0", "");
    ok(&bob.ask(320, &fields, &inner));
    fields[1].1 = "alice-topic";
    refused(&bob.ask(320, &fields, &inner), "Topic:alice-topic");
    // A single message that says where it belongs, and waits for its time.
    let bent = properties("DELAY=1;REAL_TOPIC=alice-topic;REAL_QID=0;TIMER_DEL_UNIQKEY=K;");
    ok(&bob.send_message("bob-topic", 0, &bent, b"bent"));
    ok(&heartbeat(&mut alice, "a@1", "", "alice-group", "alice-topic"));
    ok(&heartbeat(&mut bob, "b@1", "", "bob-group", "bob-topic"));
    // A held pull is answered when the delayed message comes.
    let delayed = Pull { offset: 1, hold_millis: 10_000, ..pull("bob-group", "bob-topic") };
    assert_eq!(bodies(&bob.pull(delayed)), ["bent"]);
    assert!(bodies(&alice.pull(pull("alice-group", "alice-topic"))).is_empty());
}

#[test]
fn transactions_are_ended_and_asked_about_by_who_may_send_there() {
    let world = World::new();
    let (mut alice, mut bob) = (world.alice(), world.bob());
    let half = |client: &mut Client| {
        let properties = properties("TRAN_MSG=true;PGROUP=PG;");
        let mut fields = send_fields("alice-topic", "0", &properties);
        // A while ago, so that it is time to ask.
        let born = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - Duration::from_secs(1);
        let born = born.as_millis().to_string();
        (fields[5].1, fields[6].1) = ("4", &born);
        let sent = client.ask(310, &fields, b"half");
        ok(&sent);
        (place(&sent), sent.ext.get("queueOffset").unwrap().to_owned())
    };
    let end = |client: &mut Client, (place, offset): &(String, String), topic: &str| {
        let fields = [
            ("producerGroup", "PG"),
            ("tranStateTableOffset", offset),
            ("commitLogOffset", place),
            ("commitOrRollback", "8"),
            ("topic", topic),
        ];
        client.ask(37, &fields, b"")
    };
    let sent = half(&mut alice);
    refused(&end(&mut bob, &sent, "bob-topic"), "Topic:alice-topic");
    // A producer group is a name: whoever uses it is asked only about what he may send.
    ok(&heartbeat(&mut bob, "b@1", "PG", "", ""));
    ok(&heartbeat(&mut alice, "a@1", "PG", "", ""));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for _ in 0..4 {
        runtime.block_on(world.running.broker.check_transactions()).unwrap();
    }
    let asked = alice.hear();
    assert_eq!((asked.code, asked.ext.get("topic")), (39, Some("alice-topic")));
    ok(&bob.send_message("bob-topic", 0, "", b"x"));
    assert!(bob.told.is_empty(), "{:?}", bob.told);
    let sent = (
        asked.ext.get("commitLogOffset").unwrap().to_owned(),
        asked.ext.get("tranStateTableOffset").unwrap().to_owned(),
    );
    ok(&end(&mut alice, &sent, ""));
    ok(&heartbeat(&mut alice, "a@1", "", "alice-group", "alice-topic"));
    assert_eq!(bodies(&alice.pull(pull("alice-group", "alice-topic"))), ["half"]);
}

#[test]
fn messages_are_found_by_who_may_read_their_topic() {
    let world = World::new();
    let (mut alice, mut bob) = (world.alice(), world.bob());
    let sent = alice.send_message("alice-topic", 0, &properties("KEYS=k;UNIQ_KEY=U;"), b"secret");
    let place = place(&sent);
    let waits = alice.send_message("alice-topic", 0, &properties("DELAY=18;"), b"secret too");
    let by_key = |topic| {
        [("topic", topic), ("key", "k"), ("maxNum", "9"), ("beginTimestamp", "0"), ("endTimestamp", "9999999999999")]
    };
    refused(&bob.ask(12, &by_key("alice-topic"), b""), "Topic:alice-topic");
    assert_eq!(bob.ask(12, &by_key("bob-topic"), b"").code, 22);
    refused(&bob.ask(33, &[("offset", &place)], b""), "Topic:alice-topic");
    refused(&bob.ask(33, &[("offset", &place), ("topic", "bob-topic")], b""), "Topic:alice-topic");
    refused(&bob.ask(33, &[("offset", &self::place(&waits))], b""), "Topic:alice-topic");
    let id = sent.ext.get("msgId").unwrap();
    refused(&bob.ask(90030, &[("msgId", id), ("topic", "bob-topic")], b""), "Topic:alice-topic");
    refused(&bob.ask(90030, &[("msgId", "U"), ("topic", "alice-topic")], b""), "Topic:alice-topic");
    ok(&heartbeat(&mut bob, "b@1", "", "bob-group", "bob-topic"));
    let directly = [("consumerGroup", "bob-group"), ("clientId", "b@1"), ("msgId", id), ("topic", "bob-topic")];
    refused(&bob.ask(309, &directly, b""), "Topic:alice-topic");
    ok(&alice.ask(33, &[("offset", &place)], b""));
    ok(&alice.ask(12, &by_key("alice-topic"), b""));
}

#[test]
fn groups_and_clients_of_others_are_left_alone() {
    let world = World::new();
    let (mut alice, mut bob) = (world.alice(), world.bob());
    ok(&heartbeat(&mut alice, "a@1", "PG", "alice-group", "alice-topic"));
    refused(&heartbeat(&mut bob, "b@1", "", "alice-group", "bob-topic"), "Group:alice-group");
    refused(&heartbeat(&mut bob, "b@1", "", "bob-group", "alice-topic"), "Topic:alice-topic");
    refused(&heartbeat(&mut bob, "a@1", "PG", "", ""), "speak for client a@1");
    refused(&heartbeat(&mut bob, "a@1", "PG", "bob-group", "bob-topic"), "speak for client a@1");
    refused(&bob.ask(35, &[("clientID", "a@1"), ("consumerGroup", "alice-group")], b""), "Group:alice-group");
    refused(&bob.ask(35, &[("clientID", "a@1"), ("producerGroup", "PG")], b""), "speak for client a@1");
    // Both groups are looked at: this client is nobody's in the one, and somebody's in the other.
    let both = |id| [("clientID", id), ("consumerGroup", "bob-group"), ("producerGroup", "PG")];
    refused(&bob.ask(35, &both("a@1"), b""), "speak for client a@1");
    ok(&heartbeat(&mut bob, "b@2", "", "bob-group", "bob-topic"));
    ok(&heartbeat(&mut alice, "b@2", "PG", "", ""));
    refused(&bob.ask(35, &both("b@2"), b""), "speak for client b@2");
    let commit = |group, topic| [("consumerGroup", group), ("topic", topic), ("queueId", "0"), ("commitOffset", "7")];
    refused(&bob.ask(15, &commit("alice-group", "bob-topic"), b""), "Group:alice-group");
    refused(&bob.ask(15, &commit("bob-group", "alice-topic"), b""), "Topic:alice-topic");
    let locks = |group: &str, topic: &str, client: &str| {
        let queue = serde_json::json!({ "brokerName": "b1", "queueId": 0, "topic": topic });
        serde_json::json!({ "consumerGroup": group, "clientId": client, "mqSet": [queue] }).to_string()
    };
    for code in [41, 42] {
        refused(&bob.ask(code, &[], locks("alice-group", "bob-topic", "b@1").as_bytes()), "Group:alice-group");
        refused(&bob.ask(code, &[], locks("bob-group", "alice-topic", "b@1").as_bytes()), "Topic:alice-topic");
        refused(&bob.ask(code, &[], locks("bob-group", "bob-topic", "a@1").as_bytes()), "speak for client a@1");
        ok(&alice.ask(code, &[], locks("alice-group", "alice-topic", "a@1").as_bytes()));
    }
    refused(&bob.ask(38, &[("consumerGroup", "alice-group")], b""), "Group:alice-group");
    ok(&alice.ask(38, &[("consumerGroup", "alice-group")], b""));
    let reset = [("topic", "alice-topic"), ("group", "alice-group"), ("timestamp", "0"), ("isForce", "true")];
    refused(&alice.ask(222, &reset, b""), "needs Update");
    ok(&bob.ask(35, &[("clientID", "b@1"), ("producerGroup", "PG")], b""));
}

#[test]
fn replies_go_to_who_asked_and_messages_of_any_kind_where_they_may() {
    let world = World::new();
    let (mut alice, mut bob) = (world.alice(), world.bob());
    ok(&heartbeat(&mut alice, "a@1", "PG", "", ""));
    let reply = properties("MSG_TYPE=reply;CORRELATION_ID=c;REPLY_TO_CLIENT=a@1;UNIQ_KEY=K;");
    bob.send(325, &send_fields("DefaultCluster_REPLY_TOPIC", "0", &reply), b"an answer");
    let pushed = alice.hear();
    assert_eq!((pushed.code, &pushed.body[..]), (326, &b"an answer"[..]));
    alice.reply(&pushed, 0);
    ok(&bob.answer());
    for code in [324, 325] {
        let mut fields = send_fields("alice-topic", "0", &reply);
        fields.extend([
            ("topic", "alice-topic"),
            ("producerGroup", "PG"),
            ("queueId", "0"),
            ("sysFlag", "0"),
            ("bornTimestamp", "1"),
            ("flag", "0"),
            ("properties", reply.as_str()),
        ]);
        refused(&bob.ask(code, &fields, b"x"), "Topic:alice-topic");
    }
    refused(&bob.send_message("DefaultCluster_REPLY_TOPIC", 0, "", b"x"), "Topic:DefaultCluster_REPLY_TOPIC");
    refused(&bob.pull(pull("bob-group", "DefaultCluster_REPLY_TOPIC")), "Topic:DefaultCluster_REPLY_TOPIC");
    refused(&bob.pull(pull("bob-group", "RMQ_SYS_TRACE_TOPIC")), "Topic:RMQ_SYS_TRACE_TOPIC");
}

#[test]
fn timed_messages_are_recalled_by_who_may_send_there() {
    let world = World::new();
    let (mut alice, mut bob) = (world.alice(), world.bob());
    let sent = alice.send_message("alice-topic", 0, &properties("TIMER_DELAY_SEC=60;UNIQ_KEY=U;"), b"later");
    let handle = sent.ext.get("recallHandle").unwrap().to_owned();
    refused(&bob.ask(370, &[("topic", "alice-topic"), ("recallHandle", &handle)], b""), "Topic:alice-topic");
    let bent = bob.ask(370, &[("topic", "bob-topic"), ("recallHandle", &handle)], b"");
    assert_ne!(bent.code, 0, "{bent:?}");
    for code in [90010, 90011, 90012] {
        refused(&bob.ask(code, &[("recallHandle", &handle), ("max", "9")], b""), "Cluster:DefaultCluster");
    }
    ok(&alice.ask(370, &[("topic", "alice-topic"), ("recallHandle", &handle)], b""));
}

#[test]
fn operators_requests_are_for_operators() {
    let world = World::new();
    let mut bob = world.bob();
    let codes = world.running.broker.router().codes();
    let fields = [
        ("topic", "alice-topic"),
        ("group", "alice-group"),
        ("consumerGroup", "alice-group"),
        ("groupName", "alice-group"),
        ("username", "bob"),
        ("subject", "User:bob"),
    ];
    // What clients ask of their own topics and groups, and what says nothing that can be carried out.
    let with_body = [18, 33, 34, 35, 37, 41, 42, 46, 200, 225, 323];
    for code in codes.iter().filter(|code| !with_body.contains(code)) {
        if *code == 320 || *code == 310 || *code == 325 {
            continue;
        }
        let answer = bob.ask(*code, &fields, b"{}");
        assert_eq!(answer.code, NO_PERMISSION, "{code}: {answer:?}");
    }
    for (code, body) in [
        (18, r#"{"topicConfigList":[{"topicName":"bob-topic"}]}"#),
        (200, r#"{"groupName":"bob-group"}"#),
        (225, r#"{"groupConfigList":[{"groupName":"bob-group"}]}"#),
        (46, r#"{"group":"bob-group","subscriptionData":{"topic":"alice-topic"}}"#),
    ] {
        refused(&bob.ask(code, &[], body.as_bytes()), "User:bob has no permission");
    }
    ok(&world.root().ask(28, &[], b""));
}

#[test]
fn every_port_asks_about_every_code_and_does_nothing_for_who_is_nobody() {
    let world = World::new();
    let broker = &world.running.broker;
    let server = remoting::Server::start(1).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = server.listen(listener, broker.admin_router()).unwrap();
    let topics = broker.topics.all().0.len();
    for (port, router) in [
        (world.running.address, broker.router()),
        (world.running.vip, broker.vip_router()),
        (admin, broker.admin_router()),
    ] {
        let mut nobody = Client::connect(port);
        let mut liar = Client::connect(port);
        liar.signs_as = Some(Credentials::new("root", "another secret"));
        for code in router.codes() {
            let fields = [("topic", "new"), ("b", "new"), ("group", "new"), ("consumerGroup", "new")];
            refused(&nobody.ask(code, &fields, b"{}"), "username cannot be null.");
            refused(&liar.ask(code, &fields, b"{}"), "check signature failed.");
        }
    }
    assert_eq!(broker.topics.all().0.len(), topics);
    assert!(broker.groups.get("new").is_none());
}

#[test]
fn what_was_popped_by_others_is_out_of_reach_as_nobody_pops() {
    use protocol::code::request::*;
    let world = World::new();
    let (mut alice, mut bob) = (world.alice(), world.bob());
    ok(&alice.send_message("alice-topic", 0, "", b"x"));
    // As 5.x clients write it: a handle is the place of a message, in clear.
    let handle = [
        ("topic", "alice-topic"),
        ("consumerGroup", "alice-group"),
        ("queueId", "0"),
        ("offset", "0"),
        ("extraInfo", "0 1700000000000 60000 0 0 b1 0 0"),
        ("invisibleTime", "60000"),
    ];
    for code in [
        POP_MESSAGE,
        ACK_MESSAGE,
        BATCH_ACK_MESSAGE,
        CHANGE_MESSAGE_INVISIBLETIME,
        PEEK_MESSAGE,
        NOTIFICATION,
        POLLING_INFO,
    ] {
        let answer = bob.ask(code, &handle, b"{}");
        assert!([3, NO_PERMISSION].contains(&answer.code) && answer.body.is_empty(), "{code}: {answer:?}");
    }
    ok(&heartbeat(&mut alice, "a@1", "", "alice-group", "alice-topic"));
    assert_eq!(bodies(&alice.pull(pull("alice-group", "alice-topic"))), ["x"]);
}

#[test]
fn users_are_managed_as_with_apaches_tools_and_secrets_shown_to_who_may_do_everything() {
    let world = World::new();
    let (mut root, mut bob) = (world.root(), world.bob());
    world.allow("bob", "Cluster:*", r#""Get","Update""#);
    let shown = |client: &mut Client| {
        let answer = client.ask(3004, &[("username", "root")], b"");
        ok(&answer);
        String::from_utf8(answer.body.to_vec()).unwrap()
    };
    assert_eq!(
        shown(&mut root),
        r#"{"username":"root","password":"secretOfRoot","userType":"Super","userStatus":"enable"}"#
    );
    assert_eq!(shown(&mut bob), r#"{"username":"root","userType":"Super","userStatus":"enable"}"#);
    refused(&bob.ask(3001, &[("username", "x")], br#"{"password":"p","userType":"Super"}"#), "super user");
    refused(&bob.ask(3002, &[("username", "root")], br#"{"password":"p"}"#), "super user");
    refused(&bob.ask(3002, &[("username", "bob")], br#"{"userType":"Super"}"#), "super user");
    refused(&bob.ask(3003, &[("username", "root")], b""), "super user");
    refused(&root.ask(3001, &[("username", "bob")], br#"{"password":"p"}"#), "The user is existed");
    assert_eq!(root.ask(3001, &[], br#"{"password":"p"}"#).code, 29);
    let list = root.ask(3005, &[("filter", "li")], b"");
    assert_eq!(
        list.body,
        r#"[{"username":"alice","password":"secretOfalice","userType":"Normal","userStatus":"enable"}]"#.as_bytes()
    );
    let acl = root.ask(3009, &[("subject", "User:alice")], b"");
    let rules: serde_json::Value = serde_json::from_slice(&acl.body).unwrap();
    assert_eq!(rules["policies"][0]["entries"][0]["resource"], "Topic:alice-topic");
    assert!(root.ask(3004, &[("username", "nobody")], b"").body.is_empty());
    let why = root.ask(90069, &[("username", "alice"), ("action", "Pub"), ("resource", "Topic:alice-topic")], b"");
    let why: serde_json::Value = serde_json::from_slice(&why.body).unwrap();
    assert_eq!((why["allowed"].as_bool(), why["policyType"].as_str()), (Some(true), Some("Custom")));
    ok(&root.ask(3008, &[("subject", "User:alice"), ("resource", "Topic:alice-topic")], b""));
    refused(&world.alice().send_message("alice-topic", 0, "", b"x"), "no matched policies");
    assert_eq!(root.ask(50, &[("accessKey", "x")], b"").code, 3, "account files are not in use");
    // What was changed is there after a restart.
    let world = world.again(|_| {});
    refused(&world.alice().send_message("alice-topic", 0, "", b"x"), "no matched policies");
    ok(&world.bob().ask(28, &[], b""));
}

#[test]
fn codes_on_the_white_lists_need_no_signature_and_no_rule() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = guarded(dir.path());
    config.access.authentication_whitelist = vec![28, 26];
    config.access.authorization_whitelist = vec![28];
    let running = Running::start(config);
    let mut nobody = running.client();
    ok(&nobody.ask(28, &[], b""));
    refused(&nobody.ask(26, &[], b""), "username cannot be null.");
}

#[test]
fn without_access_control_its_requests_say_how_to_turn_it_on() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    for (code, key) in [
        (3001, "authenticationEnabled=true"),
        (3010, "authenticationEnabled=true"),
        (50, "aclEnable=true"),
        (54, "aclEnable=true"),
    ] {
        let answer = running.client().ask(code, &[("username", "a")], b"{}");
        assert!(answer.code == 3 && answer.remark.as_deref().unwrap().contains(key), "{answer:?}");
    }
    ok(&running.client().send_message("T", 0, "", b"x"));
}

const ACCOUNTS: &str = "
accounts:
- accessKey: aliceAAA
  secretKey: secretOfalice
  defaultTopicPerm: DENY
  defaultGroupPerm: DENY
  topicPerms: [alice-topic=PUB|SUB]
  groupPerms: [alice-group=SUB]
- accessKey: adminAAA
  secretKey: secretOfadmin
  admin: true
";

fn with_accounts(dir: &Path, text: &str) -> Running {
    std::fs::write(dir.join("plain_acl.yml"), text).unwrap();
    let access =
        access::Config { plain: true, plain_file: Some(dir.join("plain_acl.yml")), ..access::Config::default() };
    Running::start(Config { access, ..config(&dir.join("store")) })
}

fn signing(running: &Running, name: &str, secret: &str) -> Client {
    let mut client = running.client();
    client.signs_as = Some(Credentials::new(name, secret));
    client
}

#[test]
fn accounts_of_plain_acl_yml_do_what_they_say() {
    let dir = tempfile::tempdir().unwrap();
    let running = with_accounts(dir.path(), ACCOUNTS);
    let mut alice = signing(&running, "aliceAAA", "secretOfalice");
    ok(&alice.send_message("alice-topic", 0, "", b"x"));
    ok(&alice.send_message("RMQ_SYS_TRACE_TOPIC", 0, "", b"a trace"));
    refused(
        &alice.pull(pull("alice-group", "RMQ_SYS_TRACE_TOPIC")),
        "No default permission for topic:RMQ_SYS_TRACE_TOPIC",
    );
    ok(&heartbeat(&mut alice, "a@1", "PG", "alice-group", "alice-topic"));
    assert_eq!(bodies(&alice.pull(pull("alice-group", "alice-topic"))), ["x"]);
    refused(&alice.send_message("other", 0, "", b"x"), "No default permission for topic:other");
    refused(&alice.pull(pull("other", "alice-topic")), "No default permission for group:other");
    refused(
        &alice.ask(25, &[], b"deleteWhen=05"),
        "Need admin permission for request code=25, but accessKey=aliceAAA is not",
    );
    refused(&alice.ask(54, &[], b""), "Need admin permission for request code=54, but accessKey=aliceAAA is not");
    refused(&signing(&running, "nobodyAA", "x").send_message("other", 0, "", b"x"), "No acl config for nobodyAA");
    refused(
        &signing(&running, "aliceAAA", "x").send_message("other", 0, "", b"x"),
        "Check signature failed for accessKey=aliceAAA",
    );
    refused(&running.client().send_message("other", 0, "", b"x"), "No accessKey is configured");
    let mut admin = signing(&running, "adminAAA", "secretOfadmin");
    ok(&admin.send_message("other", 0, "", b"x"));
    assert_eq!(admin.ask(3001, &[("username", "u")], br#"{"password":"p"}"#).code, 3, "users are not kept in a table");
}

#[test]
fn account_files_are_changed_by_tools_and_by_hand_and_count_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let running = with_accounts(dir.path(), ACCOUNTS);
    let mut admin = signing(&running, "adminAAA", "secretOfadmin");
    let account = [
        ("accessKey", "carolAAA"),
        ("secretKey", "secretOfcarol"),
        ("admin", "false"),
        ("topicPerms", "carol-topic=PUB"),
    ];
    ok(&admin.ask(50, &account, b""));
    let mut carol = signing(&running, "carolAAA", "secretOfcarol");
    ok(&carol.send_message("carol-topic", 0, "", b"x"));
    let short = admin.ask(50, &[("accessKey", "x"), ("secretKey", "y")], b"");
    assert!(short.code == 209 && short.remark.unwrap().contains("length should longer than 6"));
    let version = admin.ask(52, &[], b"");
    let told: serde_json::Value = serde_json::from_str(version.ext.get("version").unwrap()).unwrap();
    assert_eq!((told["counter"].as_i64(), version.ext.get("brokerName")), (Some(1), Some("b1")));
    assert!(version.ext.get("allAclFileVersion").unwrap().contains("plain_acl.yml"));
    let all = admin.ask(54, &[], b"");
    let all: serde_json::Value = serde_json::from_slice(&all.body).unwrap();
    assert_eq!(all["plainAccessConfigs"].as_array().unwrap().len(), 3);
    ok(&admin.ask(51, &[("accessKey", "carolAAA")], b""));
    refused(&carol.send_message("carol-topic", 0, "", b"x"), "No acl config for carolAAA");
    assert_eq!(admin.ask(51, &[("accessKey", "carolAAA")], b"").code, 210);

    std::fs::write(dir.path().join("plain_acl.yml"), ACCOUNTS.replace("alice-topic=PUB|SUB", "alice-topic=SUB"))
        .unwrap();
    let mut alice = signing(&running, "aliceAAA", "secretOfalice");
    // It is looked at twice: what is the same then is not being written any more.
    let access = running.broker.access.as_ref().unwrap();
    (0..2).for_each(|_| access.look_at_files());
    refused(&alice.send_message("alice-topic", 0, "", b"x"), "No default permission for topic:alice-topic");
    ok(&admin.ask(53, &[("globalWhiteAddrs", "127.0.0.1")], b""));
    ok(&running.client().send_message("any", 0, "", b"x"));
}

#[test]
fn a_broken_file_stops_the_start_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("plain_acl.yml"), ACCOUNTS.replace("PUB|SUB", "PUB,SUBB")).unwrap();
    let access =
        access::Config { plain: true, plain_file: Some(dir.path().join("plain_acl.yml")), ..access::Config::default() };
    let Err(error) = broker::Broker::open(Config { access, ..config(&dir.path().join("store")) }) else { panic!() };
    let error = error.to_string();
    assert!(error.contains("plain_acl.yml:3: account aliceAAA: topicPerms"), "{error}");
}

#[test]
fn a_user_over_its_limit_is_refused_by_name_and_others_go_on() {
    let world = World::new();
    let limits =
        remoting::ClientLimits { user: remoting::Rates { requests: 5, bytes: 0 }, ..remoting::ClientLimits::default() };
    let (mut alice, mut elsewhere, mut bob) = (world.alice(), world.alice(), world.bob());
    ok(&alice.send_message("alice-topic", 0, "", b"x"));
    world.running.broker.entrance.limiter.set(limits);
    let over =
        (0..1000).map(|_| alice.send_message("alice-topic", 0, "", b"x")).find(|answer| answer.code != 0).unwrap();
    assert_eq!(over.code, 2, "{over:?}");
    assert!(over.remark.unwrap().contains("user alice has had its 5 requests"));
    // From whichever connection. And who it is not has a limit of its own, and is not taken for it.
    let over = (0..1000).map(|_| elsewhere.send_message("alice-topic", 0, "", b"x")).find(|answer| answer.code != 0);
    assert_eq!(over.unwrap().code, 2);
    ok(&bob.send_message("bob-topic", 0, "", b"x"));
    refused(&bob.send_message("alice-topic", 0, "", b"x"), "Topic:alice-topic");
    let mut liar = world.as_user("alice", "a wrong secret");
    assert_eq!(liar.send_message("alice-topic", 0, "", b"x").code, NO_PERMISSION);
}

#[test]
fn a_user_over_its_bytes_is_refused_by_name_whichever_way_they_go() {
    let world = World::new();
    let (mut alice, mut elsewhere, mut bob) = (world.alice(), world.alice(), world.bob());
    ok(&alice.send_message("alice-topic", 0, "", &[7; 10_000]));
    ok(&heartbeat(&mut alice, "a@1", "", "alice-group", "alice-topic"));
    let rates = remoting::Rates { requests: 0, bytes: 50_000 };
    world.running.broker.entrance.limiter.set(remoting::ClientLimits { user: rates, ..Default::default() });
    let over =
        (0..1000).map(|_| alice.send_message("alice-topic", 0, "", &[7; 10_000])).find(|answer| answer.code != 0);
    let (code, remark) = over.map(|answer| (answer.code, answer.remark.unwrap_or_default())).unwrap();
    assert!(code == 2 && remark.contains("user alice") && remark.contains("bytesPerSecondPerUser"), "{remark}");
    // What he gets counts as what he brings, on another connection, too.
    let mut pulls = (0..1000).map(|_| elsewhere.pull(pull("alice-group", "alice-topic")));
    assert!(pulls.find(|answer| answer.code == 2).unwrap().remark.unwrap().contains("bytesPerSecondPerUser"));
    ok(&bob.send_message("bob-topic", 0, "", &[7; 10_000]));
}
