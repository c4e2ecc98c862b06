//! What one client, one topic, one broker may have, and what is said to who wants more.

use crate::access::World;
use crate::client::{Client, Pull, config, send_fields};
use crate::{Running, code};
use broker::Config;
use protocol::code::response;
use protocol::command::Command;
use remoting::Server;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// A broker whose settings can be changed.
fn start() -> (tempfile::TempDir, Running) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broker.conf");
    std::fs::write(&file, "").unwrap();
    let running = Running::start(Config { file: Some(file), ..config(dir.path()) });
    (dir, running)
}

fn set(client: &mut Client, settings: &str) {
    let answer = client.ask(code::UPDATE_BROKER_CONFIG, &[], settings.as_bytes());
    assert_eq!(answer.code, 0, "{settings}: {answer:?}");
}

#[track_caller]
fn refused(answer: &Command, code: i32, why: &str) {
    let remark = answer.remark.as_deref().unwrap_or_default();
    assert!(answer.code == code && remark.contains(why), "{answer:?}");
}

#[test]
fn who_asks_too_often_is_refused_and_stays_a_member_of_its_groups() {
    let (_dir, running) = start();
    let (mut client, mut operator) = (running.client(), running.client());
    assert_eq!(client.send_message("T", 0, "", b"x").code, 0);
    set(&mut operator, "requestsPerSecondPerAddress=3\n");
    let over = (0..100).map(|_| client.send_message("T", 0, "", b"x")).find(|answer| answer.code != 0).unwrap();
    refused(&over, response::SYSTEM_BUSY, "requestsPerSecondPerAddress");
    // Another connection of the same address has no more of it; these have no part in it.
    for _ in 0..20 {
        assert_eq!(client.subscribe("g", ("T", "TAG", "*", 1)).code, 0);
        let fields = [("consumerGroup", "g"), ("topic", "T"), ("queueId", "0"), ("commitOffset", "1")];
        assert_eq!(client.ask(code::UPDATE_CONSUMER_OFFSET, &fields, b"").code, 0);
    }
    // Who may change the limit is not shut out by it.
    set(&mut operator, "requestsPerSecondPerAddress=0");
    assert!((0..100).all(|_| client.send_message("T", 0, "", b"x").code == 0));
}

#[test]
fn bytes_count_in_both_directions() {
    let (_dir, running) = start();
    let mut client = running.client();
    assert_eq!(client.send_message("T", 0, "", &[7; 100_000]).code, 0);
    set(&mut client, "bytesPerSecondPerAddress=200000\n");
    let mut answers = (0..50).map(|_| client.pull(Pull::of("T")));
    let over = answers.find(|answer| answer.code == response::SYSTEM_BUSY).unwrap();
    refused(&over, response::SYSTEM_BUSY, "bytesPerSecondPerAddress");
}

#[test]
fn a_connection_too_many_is_closed_and_one_that_ends_makes_room() {
    let (_dir, running) = start();
    let mut first = running.client();
    set(&mut first, "connectionsPerAddress=2\n");
    let mut second = running.client();
    assert_eq!(second.send_message("T", 0, "", b"x").code, 0);
    let mut third = TcpStream::connect(running.address).unwrap();
    third.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert!(third.read(&mut [0]).is_ok_and(|read| read == 0));
    drop(second);
    let until = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let mut next = TcpStream::connect(running.address).unwrap();
        next.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        match next.read(&mut [0]) {
            // It waits for us: it is in.
            Err(_) => break,
            Ok(0) => assert!(std::time::Instant::now() < until, "there is room"),
            Ok(_) => panic!("nobody asked for anything"),
        }
    }
    assert_eq!(first.send_message("T", 0, "", b"x").code, 0);
}

#[test]
fn topics_and_groups_end_where_the_operator_says() {
    let (_dir, running) = start();
    let mut client = running.client();
    let (topics, groups) = (running.broker.topics.all().0.len(), running.broker.groups.all().0.len());
    set(&mut client, &format!("topicsMax={}\ngroupsMax={}\n", topics + 1, groups + 1));
    assert_eq!(client.send_message("one", 0, "", b"x").code, 0);
    refused(&client.send_message("two", 0, "", b"x"), response::TOPIC_NOT_EXIST, "topicsMax");
    assert_eq!(client.send_message("one", 0, "", b"x").code, 0, "what is there stays");
    let pull = |group| Pull { group, ..Pull::of("one") };
    assert_ne!(client.pull(pull("g1")).code, response::SUBSCRIPTION_GROUP_NOT_EXIST);
    refused(&client.pull(pull("g2")), response::SUBSCRIPTION_GROUP_NOT_EXIST, "groupsMax");
    set(&mut client, "topicsMax=200000\n");
    assert_eq!(client.send_message("two", 0, "", b"x").code, 0);
}

#[test]
fn a_topic_takes_messages_up_to_its_own_size() {
    let (_dir, running) = start();
    let mut client = running.client();
    let fields = |attributes| {
        [
            ("topic", "small"),
            ("defaultTopic", "TBW102"),
            ("readQueueNums", "1"),
            ("writeQueueNums", "1"),
            ("perm", "6"),
            ("topicFilterType", "SINGLE_TAG"),
            ("topicSysFlag", "0"),
            ("order", "false"),
            ("attributes", attributes),
        ]
    };
    assert_eq!(client.ask(code::UPDATE_AND_CREATE_TOPIC, &fields("+message.size.max=100"), b"").code, 0);
    assert_eq!(client.send_message("small", 0, "", &[b'x'; 100]).code, 0);
    refused(&client.send_message("small", 0, "", &[b'x'; 101]), response::MESSAGE_ILLEGAL, "message.size.max");
    assert_eq!(client.send_message("other", 0, "", &[b'x'; 101]).code, 0);

    let entry = |size: usize| {
        let mut bytes = Vec::new();
        bytes.extend((4 * 5 + size as u32 + 2).to_be_bytes());
        bytes.extend([0; 12]);
        bytes.extend((size as u32).to_be_bytes());
        bytes.extend(vec![b'x'; size]);
        bytes.extend([0; 2]);
        bytes
    };
    let mut batch = |sizes: &[usize]| {
        let body: Vec<u8> = sizes.iter().flat_map(|size| entry(*size)).collect();
        let mut fields = send_fields("small", "0", "");
        fields.push(("m", "true"));
        client.ask(code::SEND_BATCH_MESSAGE, &fields, &body)
    };
    assert_eq!(batch(&[100, 100, 100]).code, 0, "each message counts by itself");
    refused(&batch(&[1, 101]), response::MESSAGE_ILLEGAL, "message.size.max");
    assert_eq!(client.ask(code::UPDATE_AND_CREATE_TOPIC, &fields("-message.size.max"), b"").code, 0);
    assert_eq!(client.send_message("small", 0, "", &[b'x'; 101]).code, 0);
}

#[test]
fn where_operators_have_a_port_of_their_own_the_others_answer_clients_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.entrance.admin_port = 10_915;
    let running = Running::start(config);
    let admin_server = Server::start(1).unwrap();
    let admin = admin_server.listen(TcpListener::bind("127.0.0.1:0").unwrap(), running.broker.admin_router()).unwrap();
    let (mut client, mut vip, mut admin) = (running.client(), Client::connect(running.vip), Client::connect(admin));
    for asked in [code::GET_BROKER_CONFIG, code::GET_BROKER_RUNTIME_INFO, code::GET_ALL_TOPIC_CONFIG] {
        refused(&client.ask(asked, &[], b""), response::NO_PERMISSION, "port 10915 (adminListenPort");
        refused(&vip.ask(asked, &[], b""), response::NO_PERMISSION, "adminListenPort");
        assert_eq!(admin.ask(asked, &[], b"").code, 0);
    }
    // What nobody knows is not for clients either.
    for asked in [-1, 77, 3001, 90_999] {
        refused(&client.ask(asked, &[], b""), response::NO_PERMISSION, "adminListenPort");
    }
    assert_eq!(client.send_message("T", 0, "", b"x").code, 0);
    assert_eq!(client.subscribe("g", ("T", "TAG", "*", 1)).code, 0);
    assert_eq!(admin.send_message("T", 0, "", b"x").code, 0);
}

#[test]
fn a_user_creates_so_many_topics_and_groups_by_whatever_request_and_that_is_kept() {
    let limits = |config: &mut Config| (config.topics_per_user_max, config.groups_per_user_max) = (2, 2);
    let world = World::with(limits);
    for user in ["alice", "bob"] {
        world.allow(user, "Topic:*", r#""Pub","Sub","Create","Delete""#);
        world.allow(user, "Group:*", r#""Sub","Create","Update","Delete""#);
    }
    let topic = |name: &'static str| {
        [
            ("topic", name),
            ("defaultTopic", "TBW102"),
            ("readQueueNums", "1"),
            ("writeQueueNums", "1"),
            ("perm", "6"),
            ("topicFilterType", "SINGLE_TAG"),
        ]
    };
    let group = |name: &str| format!(r#"{{"groupName":"{name}"}}"#);
    let (mut alice, mut bob, mut root) = (world.alice(), world.bob(), world.root());
    // By a message, and by name; what is made for a group is not its own doing.
    assert_eq!(alice.send_message("a1", 0, "", b"x").code, 0);
    assert_eq!(alice.ask(code::UPDATE_AND_CREATE_TOPIC, &topic("a2"), b"").code, 0);
    let why = "user alice may have created 2 topics here, and has 2 (topicsPerUserMax";
    refused(&alice.send_message("a3", 0, "", b"x"), response::TOPIC_NOT_EXIST, why);
    refused(&alice.ask(code::UPDATE_AND_CREATE_TOPIC, &topic("a3"), b""), response::SYSTEM_ERROR, why);
    let list = br#"{"topicConfigList":[{"topicName":"a3","readQueueNums":1,"writeQueueNums":1,"perm":6}]}"#;
    refused(&alice.ask(code::UPDATE_AND_CREATE_TOPIC_LIST, &[], list), response::SYSTEM_ERROR, why);
    assert_eq!(alice.ask(code::UPDATE_AND_CREATE_TOPIC, &topic("a2"), b"").code, 0, "what is there may change");
    // By a heartbeat, by consuming, and by name.
    assert_eq!(alice.subscribe("g1", ("a1", "TAG", "*", 1)).code, 0);
    assert!(world.running.broker.topics.get("%RETRY%g1").is_some());
    let pull = |group| Pull { group, ..Pull::of("a1") };
    assert_ne!(alice.pull(pull("g2")).code, response::SUBSCRIPTION_GROUP_NOT_EXIST);
    let why = "user alice may have created 2 groups here, and has 2 (groupsPerUserMax";
    refused(&alice.pull(pull("g3")), response::SUBSCRIPTION_GROUP_NOT_EXIST, why);
    let update = code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP;
    refused(&alice.ask(update, &[], group("g3").as_bytes()), response::SYSTEM_ERROR, why);
    assert_eq!(alice.subscribe("g3", ("a1", "TAG", "*", 1)).code, 0);
    assert!(world.running.broker.groups.get("g3").is_none(), "a heartbeat is answered, its group is not there");
    // Others have their own; who may do everything has no end.
    assert_eq!(bob.send_message("first", 0, "", b"x").code, 0);
    for name in ["r1", "r2", "r3"] {
        assert_eq!(root.send_message(name, 0, "", b"x").code, 0);
        assert_eq!(root.ask(update, &[], group(name).as_bytes()).code, 0);
    }

    let world = world.again(limits);
    let (mut alice, mut bob, mut root) = (world.alice(), world.bob(), world.root());
    refused(&alice.send_message("a3", 0, "", b"x"), response::TOPIC_NOT_EXIST, "and has 2 (topicsPerUserMax");
    refused(&alice.pull(pull("g3")), response::SUBSCRIPTION_GROUP_NOT_EXIST, "and has 2 (groupsPerUserMax");
    // What anybody deletes makes room, and whoever makes it anew owns it.
    assert_eq!(root.ask(code::DELETE_TOPIC_IN_BROKER, &[("topic", "a2")], b"").code, 0);
    assert_eq!(root.ask(code::DELETE_SUBSCRIPTIONGROUP, &[("groupName", "g2")], b"").code, 0);
    assert_eq!(bob.send_message("a2", 0, "", b"x").code, 0);
    refused(&bob.send_message("third", 0, "", b"x"), response::TOPIC_NOT_EXIST, "user bob may have created 2 topics");
    assert_eq!(alice.send_message("a3", 0, "", b"x").code, 0);
    assert_ne!(alice.pull(pull("g3")).code, response::SUBSCRIPTION_GROUP_NOT_EXIST);
    // Apache's tables say nothing of it.
    let world = world.again(limits);
    for table in ["topics.json", "subscriptionGroup.json"] {
        let text = std::fs::read_to_string(world.directory().join("config").join(table)).unwrap();
        assert!(text.contains("\"%RETRY%g1\"") || text.contains("\"g1\""), "{text}");
        assert!(!text.contains("alice"), "{text}");
    }
}
