//! The day of an operator: `cometmq admin` against a running broker.

mod support;

#[path = "operate/command_line.rs"]
mod command_line;
#[path = "operate/dry_run.rs"]
mod dry_run;
#[path = "operate/faults.rs"]
mod faults;
#[path = "operate/mqadmin.rs"]
mod mqadmin;

use bytes::Bytes;
use protocol::command::{Command as Frame, ExtFields};
use protocol::heartbeat::{ConsumerData, HeartbeatData};
use protocol::request::Request;
use protocol::request::send::{SendBack, SendMessageReply};
use protocol::request::{Header, offset::UpdateConsumerOffset};
use protocol::subscription::SubscriptionData;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{Dev, SOON, drain, send_request};

/// A broker, its name server, and a home directory for what commands keep.
struct Cluster {
    dev: Dev,
    home: tempfile::TempDir,
    client: remoting::Client,
}

impl Cluster {
    /// Starts it, and waits until the name server knows the broker.
    async fn start() -> Cluster {
        Cluster::with(&[]).await
    }

    async fn with(conf: &[&str]) -> Cluster {
        let home = tempfile::tempdir().unwrap();
        let ports = (support::free_port(), support::free_broker_port());
        let dev =
            Dev::start_on(&home.path().join("data"), ports.0, ports.1, &[&["brokerName=broker-a"], conf].concat())
                .await;
        let cluster = Cluster { dev, home, client: remoting::Client::default() };
        cluster.until(|it| it.admin(&["topicRoute", "-t", "SELF_TEST_TOPIC"]).0 == 0);
        cluster
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cometmq"));
        command.arg("admin").args(arguments).args(["-n", &self.dev.namesrv]);
        command.env("LC_ALL", "C").env("HOME", self.home.path());
        command
    }

    /// Runs a command: its exit code, what it wrote, and what it said was wrong.
    fn admin(&self, arguments: &[&str]) -> (i32, String, String) {
        let ended = self.command(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (ended.status.code().unwrap(), text(ended.stdout), text(ended.stderr))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let (code, out, err) = self.admin(&[arguments, &["--output", "json"]].concat());
        assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}: {out}");
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
    }

    /// Does it, and it must go well.
    fn done(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.admin(arguments);
        assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}: {out}");
        out
    }

    fn until(&self, fact: impl Fn(&Cluster) -> bool) {
        let deadline = Instant::now() + SOON;
        while !fact(self) {
            assert!(Instant::now() < deadline, "it does not come: {}", self.dev.output());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    async fn ask(&self, frame: Frame) -> Frame {
        let answer = self.client.invoke(&self.dev.broker, frame, SOON).await.unwrap();
        assert_eq!(answer.code, 0, "{:?}", answer.remark);
        answer
    }

    /// Sends a message; where it lies.
    async fn send(&self, topic: &str, queue: i32, properties: &str, body: &str) -> SendMessageReply {
        let mut frame = send_request(topic, queue, properties).write();
        frame.body = Bytes::copy_from_slice(body.as_bytes());
        SendMessageReply::read_fields(&self.ask(frame).await.ext).unwrap()
    }

    /// A member of a group, online as long as `client` is there.
    async fn member(&self, client: &remoting::Client, id: &str, group: &str, topic: &str, tags: &str) {
        let subscription = SubscriptionData { sub_version: 1, ..SubscriptionData::tags(topic, tags).unwrap() };
        let consumer = ConsumerData {
            group_name: group.into(),
            subscription_data_set: vec![subscription],
            ..ConsumerData::default()
        };
        let body =
            HeartbeatData { client_id: id.into(), consumer_data_set: vec![consumer], ..HeartbeatData::default() };
        let mut beat = Frame::request(protocol::code::request::HEART_BEAT);
        beat.body = protocol::json::write(&body).into();
        assert_eq!(client.invoke(&self.dev.broker, beat, SOON).await.unwrap().code, 0);
    }

    /// A message that its group gave up: sent, then sent back with the delay level that says so.
    async fn dead_letter(&self, group: &str, topic: &str, key: &str) {
        let sent = self.send(topic, 0, &format!("KEYS\u{1}{key}\u{2}UNIQ_KEY\u{1}U{key}"), key).await;
        let (_, at) = protocol::message::parse_offset_message_id(&sent.msg_id).unwrap();
        let back = SendBack { offset: at.0, group: group.into(), delay_level: -1, ..SendBack::default() };
        self.ask(back.write()).await;
    }

    async fn commit(&self, group: &str, topic: &str, queue: i32, offset: i64) {
        let commit = UpdateConsumerOffset {
            consumer_group: group.into(),
            topic: topic.into(),
            queue_id: Some(queue),
            commit_offset: offset,
        };
        self.ask(commit.write()).await;
    }

    /// The keys of what lies in a group's retry topic.
    async fn retried(&self, group: &str) -> Vec<String> {
        let topic = format!("%RETRY%{group}");
        let pull = support::pull_request("TOOLS_CONSUMER", &topic, 0, protocol::message::QueueOffset(0));
        let answer = self.client.invoke(&self.dev.broker, pull.write(), SOON).await.unwrap();
        if answer.code == protocol::code::response::TOPIC_NOT_EXIST {
            return Vec::new();
        }
        let content = drain(&self.client, &self.dev.broker, "TOOLS_CONSUMER", &topic, 0).await;
        content.messages.into_iter().map(|message| String::from_utf8(message.body).unwrap()).collect()
    }
}

#[tokio::test]
async fn daily_commands_tell_and_change_what_they_say() {
    let cluster = Cluster::with(&["fileReservedTime=72"]).await;
    let broker = cluster.dev.broker.clone();
    cluster.done(&["updateTopic", "-t", "orders", "-b", "broker-a", "-r", "4", "-w", "4"]);
    for n in 0..6 {
        let properties = format!("KEYS\u{1}key{n} all\u{2}TAGS\u{1}T{}\u{2}UNIQ_KEY\u{1}ID{n}", n % 2);
        cluster.send("orders", n % 4, &properties, &format!("order {n}")).await;
    }

    let brokers = cluster.json(&["clusterList", "-m", "-c", "DefaultCluster"]);
    assert_eq!([&brokers[0]["broker"], &brokers[0]["address"]], ["broker-a", broker.as_str()], "{brokers}");
    assert!(brokers[0]["inTps"].is_number() && brokers[0]["error"].is_null(), "{brokers}");
    let status = cluster.json(&["topicStatus", "-t", "orders"]);
    let ends: Vec<_> =
        status["queues"].as_array().unwrap().iter().map(|it| it["maxOffset"].as_i64().unwrap()).collect();
    assert_eq!(ends, [2, 2, 1, 1]);
    assert_eq!(cluster.json(&["topicClusterList", "-t", "orders"]), serde_json::json!(["DefaultCluster"]));
    let shares = cluster.json(&["allocateMQ", "-t", "orders", "-i", "a,b,c"]);
    assert_eq!(["a", "b", "c"].map(|member| shares[member].as_array().unwrap().len()), [2, 1, 1]);

    let perm = ["updateTopicPerm", "-t", "orders", "-p", "4", "-b", "broker-a"];
    let change = cluster.json(&[&perm[..], &["--dry-run"]].concat());
    assert_eq!([&change[0]["before"], &change[0]["after"]], [6, 4]);
    let perm_now = || cluster.json(&["topicRoute", "-t", "orders"])["queueDatas"][0]["perm"].as_i64();
    assert_eq!(perm_now(), Some(6), "a dry run changes nothing");
    cluster.done(&perm);
    assert_eq!(perm_now(), Some(4));
    assert_eq!(cluster.admin(&["sendMessage", "-t", "orders", "-p", "x"]).0, 4, "no queue to write to");
    cluster.done(&["updateTopicPerm", "-t", "orders", "-p", "6"]);

    cluster.done(&["updateOrderConf", "-t", "orders", "-m", "put", "-v", "broker-a:4"]);
    assert_eq!(cluster.json(&["updateOrderConf", "-t", "orders", "-m", "get"]), "broker-a:4");
    cluster.done(&["updateOrderConf", "-t", "orders", "-m", "delete"]);
    assert_eq!(cluster.admin(&["updateOrderConf", "-t", "orders", "-m", "get"]).0, 4);
    cluster.done(&["updateKvConfig", "-s", "mine", "-k", "a", "-v", "b"]);
    cluster.done(&["deleteKvConfig", "-s", "mine", "-k", "a"]);

    assert_eq!(cluster.json(&["brokerStatus", "-b", &broker])[&broker]["brokerActive"], "true");
    let reserved = || cluster.json(&["getBrokerConfig", "-b", "broker-a"])[&broker]["fileReservedTime"].clone();
    let update = ["updateBrokerConfig", "-b", "broker-a", "-k", "fileReservedTime", "-v", "48"];
    assert!(cluster.done(&[&update[..], &["--dry-run"]].concat()).contains("72 -> 48"));
    assert_eq!(reserved(), "72");
    cluster.done(&update);
    assert_eq!(reserved(), "48");
    let (code, _, err) = cluster.admin(&["updateBrokerConfig", "-b", "broker-a", "-k", "listenPort", "-v", "1"]);
    assert!(code == 1 && err.contains("takes effect only when the broker starts"), "{err}");
    assert!(cluster.json(&["getNamesrvConfig"])[&cluster.dev.namesrv]["listenPort"].is_string());
    for clean in ["cleanExpiredCQ", "cleanUnusedTopic", "deleteExpiredCommitLog"] {
        assert_eq!(cluster.done(&[clean]), format!("cleaned: {broker}\n"));
    }
    cluster.done(&["wipeWritePerm", "-b", "broker-a"]);
    assert_eq!(perm_now(), Some(4));
    cluster.done(&["addWritePerm", "-b", "broker-a"]);
    assert_eq!(perm_now(), Some(6));

    cluster.done(&["updateSubGroup", "-g", "billing", "-b", "broker-a", "-r", "5"]);
    cluster.done(&["updateSubGroup", "-g", "billing", "-c", "DefaultCluster", "-d", "false"]);
    let config = &cluster.json(&["getConsumerConfig", "-g", "billing"])["broker-a"];
    assert_eq!(
        (&config["retryMaxTimes"], &config["consumeBroadcastEnable"]),
        (&5.into(), &false.into()),
        "what is not named stays"
    );
    let member = remoting::Client::default();
    cluster.member(&member, "me@1", "billing", "orders", "T0").await;
    cluster.commit("billing", "orders", 0, 1).await;
    let connected = cluster.json(&["consumerConnection", "-g", "billing"]);
    assert_eq!(connected["connectionSet"][0]["clientId"], "me@1");
    let progress = cluster.json(&["consumerProgress", "-g", "billing", "-t", "orders"]);
    let queue = &progress["queues"][0];
    assert_eq!([&queue["queueId"], &queue["consumerOffset"], &queue["lag"]], [0, 1, 1], "{progress}");
    let groups = cluster.json(&["consumerProgress"]);
    assert!(groups.as_array().unwrap().iter().any(|it| it["group"] == "billing" && it["members"] == 1), "{groups}");
    let stats = cluster.json(&["brokerConsumeStats", "-b", "broker-a"]);
    assert!(
        stats.as_array().unwrap().iter().any(|it| it["group"] == "billing" && it["consumerOffset"] == 1),
        "{stats}"
    );
    let status = cluster.json(&["consumerStatus", "-g", "billing"]);
    assert!(status[0]["clientId"] == "me@1" && status[0]["error"].is_string(), "this member answers nothing: {status}");
    let all = cluster.json(&["statsAll", "-t", "orders"]);
    assert_eq!((&all[0]["topic"], &all[0]["group"]), (&"orders".into(), &"billing".into()), "{all}");

    let by_key = cluster.json(&["queryMsgByKey", "-t", "orders", "-k", "all"]);
    assert_eq!(by_key.as_array().unwrap().len(), 6);
    let by_unique = &cluster.json(&["queryMsgByUniqueKey", "-t", "orders", "-i", "ID3"])[0];
    assert_eq!((&by_unique["body"], &by_unique["tags"]), (&"order 3".into(), &"T1".into()));
    assert_eq!(by_unique["tracks"][0]["group"], "billing");
    let id = by_unique["offsetMessageId"].as_str().unwrap();
    assert_eq!(cluster.json(&["queryMsgById", "-i", id])[0]["uniqueKey"], "ID3");
    let by_offset = cluster.json(&["queryMsgByOffset", "-t", "orders", "-b", "broker-a", "-i", "0", "-o", "1"]);
    assert_eq!(by_offset[0]["uniqueKey"], "ID4");
    assert_eq!(cluster.admin(&["queryMsgByUniqueKey", "-t", "orders", "-i", "NONE"]).0, 4);
    assert_eq!(cluster.json(&["printMsg", "-t", "orders"]).as_array().unwrap().len(), 6);
    assert_eq!(cluster.json(&["printMsg", "-t", "orders", "-s", "T1"]).as_array().unwrap().len(), 3);
    assert_eq!(cluster.json(&["printMsg", "-t", "orders", "-b", "now"]), serde_json::json!([]));
    let queue = ["printMsgByQueue", "-t", "orders", "-a", "broker-a", "-i", "0"];
    assert_eq!(cluster.json(&[&queue[..], &["-f", "true"]].concat()), serde_json::json!({"T0": 2}));
    let one = cluster.json(&["consumeMessage", "-t", "orders", "-b", "broker-a", "-i", "0", "-o", "1", "-c", "1"]);
    assert_eq!((&one[0]["uniqueKey"], one.as_array().unwrap().len()), (&"ID4".into(), 1));
    let entries = cluster.json(&["queryCq", "-t", "orders", "-q", "0", "-i", "0", "-c", "5"]);
    assert_eq!((entries["queueData"].as_array().unwrap().len(), &entries["maxQueueIndex"]), (2, &2.into()));

    let sent = cluster.json(&[
        "sendMessage",
        "-t",
        "orders",
        "-p",
        "hello",
        "-k",
        "k",
        "-c",
        "T",
        "-b",
        "broker-a",
        "-i",
        "3",
    ]);
    assert_eq!([&sent["queueId"], &sent["queueOffset"]], [3, 1]);
    assert_eq!(cluster.json(&["checkMsgSendRT", "-t", "orders", "-a", "5"]).as_array().unwrap().len(), 5);
    assert_eq!(cluster.json(&["sendMsgStatus", "-b", "broker-a", "-c", "2"])[1]["status"], "SEND_OK");
    let exported = cluster.home.path().join("export");
    let into = exported.to_str().unwrap();
    for command in ["exportMetadata", "exportConfigs", "exportMetrics"] {
        cluster.done(&[command, "-c", "DefaultCluster", "-f", into]);
    }
    let read = |name: &str| -> Value { serde_json::from_slice(&std::fs::read(exported.join(name)).unwrap()).unwrap() };
    assert_eq!(read("metadata.json")["topicConfigTable"]["orders"]["writeQueueNums"], 4);
    assert_eq!(read("configs.json")["brokerConfigs"]["broker-a"]["fileReservedTime"], "48");
    assert_eq!(read("metrics.json")["brokers"][0]["broker"], "broker-a");
}

#[tokio::test]
async fn what_cannot_be_is_told_by_hint_and_exit_code() {
    let cluster = Cluster::start().await;
    cluster.done(&["updateTopic", "-t", "orders", "-b", "broker-a"]);
    cluster.done(&["updateSubGroup", "-g", "billing", "-b", "broker-a"]);
    let (code, _, err) = cluster.admin(&["topicStatus", "-t", "ordes"]);
    assert!(code == 4 && err.contains("did you mean `orders`?"), "{err}");
    let (code, _, err) = cluster.admin(&["getConsumerConfig", "-g", "biling"]);
    assert!(code == 4 && err.contains("did you mean `billing`?"), "{err}");
    let (code, _, err) = cluster.admin(&["brokerStatus", "-b", "broker-b"]);
    assert!(code == 4 && err.contains("did you mean `broker-a`?"), "{err}");
    let (code, _, err) = cluster.admin(&["topicStaus", "-t", "orders"]);
    assert!(code == 2 && err.contains("topicStatus"), "{err}");
    let (code, _, err) = cluster.admin(&["brokerStatus", "-b", "127.0.0.1:1"]);
    assert!(code == 3 && err.contains("127.0.0.1:1"), "{err}");
    let (code, _, err) = cluster.admin(&["resetOffsetByTime", "-g", "billing", "-t", "orders", "-s", "someday"]);
    assert!(code == 2 && err.contains("is no time"), "{err}");

    let yaml = cluster.done(&["topicRoute", "-t", "orders", "-o", "yaml"]);
    assert!(yaml.contains("brokerName: broker-a"), "{yaml}");
    let mut watching =
        cluster.command(&["topicList", "--watch", "0.1", "-o", "json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(watching.stdout.take().unwrap()));
    assert_eq!(lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap(), "it looks again");
    watching.kill().unwrap();
    watching.wait().unwrap();
    let chinese = cluster.command(&["topicStatus", "--help"]).env("LC_ALL", "zh_CN.UTF-8").output().unwrap();
    assert!(String::from_utf8(chinese.stdout).unwrap().contains("主题"));
    let complete = Command::new(env!("CARGO_BIN_EXE_cometmq")).args(["completion", "bash"]).output().unwrap();
    assert!(String::from_utf8(complete.stdout).unwrap().contains("topicStatus"));
}

#[tokio::test]
async fn an_offset_reset_is_previewed_and_undone() {
    let cluster = Cluster::start().await;
    cluster.done(&["updateTopic", "-t", "orders", "-b", "broker-a", "-r", "2", "-w", "2"]);
    for n in 0..10 {
        cluster.send("orders", n % 2, "", "x").await;
    }
    let member = remoting::Client::default();
    cluster.member(&member, "me@1", "billing", "orders", "*").await;
    cluster.commit("billing", "orders", 0, 3).await;
    cluster.commit("billing", "orders", 1, 4).await;
    let offsets = || {
        let queues = cluster.json(&["consumerProgress", "-g", "billing", "-t", "orders"])["queues"].clone();
        queues.as_array().unwrap().iter().map(|it| it["consumerOffset"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    let reset = ["resetOffsetByTime", "-g", "billing", "-t", "orders", "-s", "-1"];
    let preview = cluster.json(&[&reset[..], &["--dry-run"]].concat());
    assert_eq!([&preview["skipped"], &preview["again"]], [3, 0], "{preview}");
    assert_eq!(preview["online"], serde_json::json!(["me@1"]));
    assert_eq!(offsets(), [3, 4], "a dry run changes nothing");
    cluster.done(&reset);
    assert_eq!(offsets(), [5, 5]);
    cluster.done(&["resetOffsetByTime", "-g", "billing", "-t", "orders", "--undo"]);
    assert_eq!(offsets(), [3, 4]);
    let one = ["resetOffsetByTime", "-g", "billing", "-t", "orders", "-b", "broker-a", "-q", "1", "-o", "1"];
    assert_eq!(cluster.json(&one)["again"], 3);
    assert_eq!(offsets(), [3, 1]);
    assert_eq!(cluster.json(&["skipAccumulatedMessage", "-g", "billing", "-t", "orders"])["skipped"], 6);
    assert_eq!(offsets(), [5, 5]);
    let (code, _, err) = cluster.admin(&["resetOffsetByTime", "-g", "other", "-t", "orders", "--undo"]);
    assert!(code == 1 && err.contains("cannot be read"), "{err}");

    cluster.done(&["updateSubGroup", "-g", "copy", "-b", "broker-a"]);
    cluster.done(&["cloneGroupOffset", "-s", "billing", "-d", "copy", "-t", "orders", "-o", "true"]);
    let gone = cluster.json(&["deleteTopic", "-t", "orders", "-c", "DefaultCluster", "--dry-run"]);
    assert_eq!(gone["messages"], 10);
    assert!(
        gone["groups"].as_array().unwrap().iter().any(|it| it["group"] == "billing" && it["members"][0] == "me@1"),
        "{gone}"
    );
    assert_eq!(cluster.json(&["deleteSubGroup", "-g", "billing", "-b", "broker-a", "--dry-run"])["members"][0], "me@1");
    assert!(cluster.done(&["topicList"]).contains("orders"), "nothing was deleted");
}

#[tokio::test]
async fn dead_letters_are_listed_requeued_once_and_dropped_into_a_file() {
    let cluster = Cluster::start().await;
    for group in ["billing", "mail"] {
        cluster.done(&["updateSubGroup", "-g", group, "-b", "broker-a"]);
    }
    for n in 0..5 {
        cluster.dead_letter("billing", if n < 3 { "orders" } else { "refunds" }, &format!("k{n}")).await;
    }
    cluster.dead_letter("mail", "orders", "m0").await;
    cluster.until(|it| it.done(&["topicList"]).contains("%DLQ%mail"));

    let inboxes = cluster.json(&["dlq", "list"]);
    assert_eq!([&inboxes[0]["group"], &inboxes[1]["group"]], ["billing", "mail"]);
    assert_eq!([&inboxes[0]["letters"], &inboxes[1]["letters"]], [5, 1]);
    let list = |arguments: &[&str]| -> Vec<(String, String)> {
        let letters = cluster.json(&[&["dlq", "list"], arguments].concat());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        letters.as_array().unwrap().iter().map(|it| (text(&it["message"]["keys"]), text(&it["state"]))).collect()
    };
    let keys = |arguments: &[&str]| list(arguments).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys(&["-g", "billing"]), ["k0", "k1", "k2", "k3", "k4"]);
    assert_eq!(keys(&["-t", "refunds"]), ["k3", "k4"]);
    assert_eq!(keys(&["-k", "Uk1"]), ["k1"]);
    assert_eq!(keys(&["--since", "-1h", "-t", "orders"]), ["k0", "k1", "k2", "m0"]);
    assert!(keys(&["--before", "-1h"]).is_empty() && keys(&["--reason", "attempts"]).is_empty());
    assert_eq!(keys(&["--reason", "early", "-g", "mail"]), ["m0"]);

    let letters = cluster.json(&["dlq", "list", "-k", "k0"]);
    let id = letters[0]["id"].as_str().unwrap();
    let shown = cluster.json(&["dlq", "show", id]);
    assert_eq!([&shown["originTopic"], &shown["message"]["body"], &shown["state"]], ["orders", "k0", "open"]);

    let (code, _, err) = cluster.admin(&["dlq", "requeue"]);
    assert!(code == 1 && err.contains("which dead letters?"), "{err}");
    assert_eq!(
        cluster.done(&["dlq", "requeue", "-t", "orders", "-g", "billing", "--dry-run"]),
        "[dry run] selected: 3\n"
    );
    assert_eq!(cluster.retried("billing").await, Vec::<String>::new());
    let (code, out, _) =
        cluster.admin(&["dlq", "requeue", "-t", "orders", "-g", "billing", "--rate", "1000", "-o", "json"]);
    let outcomes: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(code == 0 && outcomes.len() == 3 && outcomes.iter().all(|it| it["outcome"] == "requeued"), "{out}");
    assert_eq!(cluster.retried("billing").await, ["k0", "k1", "k2"]);
    assert_eq!(cluster.retried("mail").await, Vec::<String>::new(), "only the group that gave them up gets them");
    assert_eq!(
        cluster.done(&["dlq", "requeue", "-g", "billing", "--rate", "1000"]),
        "requeued: 2\n",
        "none goes twice"
    );
    assert_eq!(cluster.retried("billing").await, ["k0", "k1", "k2", "k3", "k4"]);
    assert!(list(&["-g", "billing"]).is_empty());
    assert!(list(&["-g", "billing", "--all"]).iter().all(|(_, state)| state == "requeued"));

    // A copy is as it was sent, with all attempts before it.
    let copies = drain(&cluster.client, &cluster.dev.broker, "TOOLS_CONSUMER", "%RETRY%billing", 0).await.messages;
    assert!(copies[0].properties.contains("RETRY_TOPIC\u{1}orders"), "{}", copies[0].properties);
    assert!(!copies[0].properties.contains("DELAY\u{1}"), "{}", copies[0].properties);

    let file = cluster.home.path().join("dropped.jsonl");
    let file = file.to_str().unwrap();
    assert_eq!(cluster.admin(&["dlq", "drop", "-g", "mail"]).0, 2, "nothing is lost silently");
    assert_eq!(cluster.done(&["dlq", "drop", "-g", "mail", "--file", file]), "dropped: 1\n");
    assert!(std::fs::read_to_string(file).unwrap().contains("\"body\":\"m0\""));
    assert_eq!(list(&["-g", "mail", "--all"]), [("m0".to_owned(), "dropped".to_owned())]);
    assert_eq!(cluster.done(&["dlq", "requeue", "-g", "mail"]), "none selected\n");
    assert_eq!(cluster.done(&["dlq", "drop", "-g", "mail", "--force"]), "none selected\n");
}

#[tokio::test]
async fn a_requeue_that_is_killed_goes_on_and_sends_each_once() {
    const LETTERS: usize = 400;
    let cluster = Cluster::start().await;
    cluster.done(&["updateSubGroup", "-g", "billing", "-b", "broker-a"]);
    for n in 0..LETTERS {
        cluster.dead_letter("billing", "orders", &format!("k{n}")).await;
    }
    cluster.until(|it| it.done(&["topicList"]).contains("%DLQ%billing"));
    let requeue = ["dlq", "requeue", "-g", "billing", "--rate", "400"];
    for _ in 0..3 {
        let before = cluster.retried("billing").await.len();
        let mut running = cluster.command(&requeue).stdout(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + SOON;
        while cluster.retried("billing").await.len() < before + 20 {
            assert!(Instant::now() < deadline, "it does not requeue");
        }
        running.kill().unwrap();
        running.wait().unwrap();
    }
    let out = cluster.done(&["dlq", "requeue", "-g", "billing", "--rate", "2000"]);
    assert!(out.starts_with("requeued: "), "{out}");
    let got = cluster.retried("billing").await;
    let different: BTreeSet<&String> = got.iter().collect();
    assert_eq!((got.len(), different.len()), (LETTERS, LETTERS), "none is lost and none comes twice");
}

#[tokio::test]
async fn a_requeue_keeps_its_rate() {
    let cluster = Cluster::start().await;
    cluster.done(&["updateSubGroup", "-g", "billing", "-b", "broker-a"]);
    for n in 0..40 {
        cluster.dead_letter("billing", "orders", &format!("k{n}")).await;
    }
    cluster.until(|it| it.done(&["topicList"]).contains("%DLQ%billing"));
    let began = Instant::now();
    assert_eq!(cluster.done(&["dlq", "requeue", "-g", "billing", "--rate", "40"]), "requeued: 40\n");
    assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_doctor_finds_what_is_wrong() {
    let cluster = Cluster::with(&["transactionTimeOut=1000000"]).await;
    let doctor = |arguments: &[&str]| {
        let arguments = [&["doctor", "--seconds", "0.2", "--lag", "3", "-o", "json"], arguments].concat();
        let (code, out, err) = cluster.admin(&arguments);
        assert_eq!(err, "");
        let found: Vec<Value> = serde_json::from_str(&out).unwrap();
        let kinds = found.iter().map(|it| it["kind"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>();
        (code, kinds, found)
    };
    let (code, kinds, _) = doctor(&[]);
    // The disk of whoever runs this may be full.
    assert!(kinds.iter().all(|kind| kind == "diskFull") && (code == 0 || !kinds.is_empty()), "{kinds:?}");

    cluster.done(&["updateTopic", "-t", "orders", "-b", "broker-a", "-r", "1", "-w", "1"]);
    for _ in 0..5 {
        cluster.send("orders", 0, "", "x").await;
    }
    let members = [remoting::Client::default(), remoting::Client::default()];
    cluster.member(&members[0], "me@1", "billing", "orders", "A").await;
    cluster.member(&members[1], "me@2", "billing", "orders", "B").await;
    cluster.commit("billing", "orders", 0, 1).await;
    cluster.done(&["updateSubGroup", "-g", "idle", "-b", "broker-a"]);
    cluster.commit("idle", "orders", 0, 0).await;
    cluster.dead_letter("mail", "orders", "dead").await;
    let mut half = send_request("orders", 0, "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}payers\u{2}UNIQ_KEY\u{1}u");
    half.sys_flag = protocol::message::SysFlag::TRANSACTION_PREPARED;
    cluster.ask(half.write()).await;
    // Somebody registers a broker that nobody reaches.
    let fields =
        [("brokerName", "gone"), ("brokerAddr", "127.0.0.1:1"), ("clusterName", "DefaultCluster"), ("brokerId", "0")];
    let mut registration = Frame::request(protocol::code::request::REGISTER_BROKER);
    registration.ext = fields.into_iter().collect::<ExtFields>();
    let registrar = remoting::Client::default();
    assert_eq!(registrar.invoke(&cluster.dev.namesrv, registration, SOON).await.unwrap().code, 0);
    cluster.until(|it| it.done(&["topicList"]).contains("%DLQ%mail"));

    let (code, kinds, found) = doctor(&["--transaction-seconds", "0"]);
    let wanted = ["brokerUnreachable", "conflict", "deadLetters", "nobodyConsumes", "queueStuck", "transactionsOpen"];
    assert!(code == 6 && wanted.iter().all(|kind| kinds.contains(*kind)), "{kinds:?}");
    assert!(
        found.iter().all(|it| !it["what"].as_str().unwrap().is_empty() && !it["advice"].as_str().unwrap().is_empty())
    );
    let (_, text, _) = cluster.admin(&["doctor", "--seconds", "0.2"]);
    assert!(text.contains("CRITICAL") && text.contains("brokerIP1"), "{text}");

    cluster.done(&["updateBrokerConfig", "-b", &cluster.dev.broker, "-k", "brokerPermission", "-v", "4"]);
    assert!(doctor(&[]).1.contains("writesForbidden"));
    cluster.done(&["updateBrokerConfig", "-b", &cluster.dev.broker, "-k", "brokerPermission", "-v", "6"]);
    cluster.done(&["wipeWritePerm", "-b", "broker-a"]);
    assert!(doctor(&[]).1.contains("writesWiped"));
    let two = format!("{};127.0.0.1:1", cluster.dev.namesrv);
    let ended = Command::new(env!("CARGO_BIN_EXE_cometmq"))
        .args(["admin", "doctor", "--seconds", "0.1", "-n", &two])
        .env("LC_ALL", "zh_CN")
        .output()
        .unwrap();
    assert!(ended.status.code() == Some(6) && String::from_utf8(ended.stdout).unwrap().contains("没有应答"));
    let ended =
        Command::new(env!("CARGO_BIN_EXE_cometmq")).args(["admin", "doctor", "-n", "127.0.0.1:1"]).output().unwrap();
    assert_eq!(ended.status.code(), Some(3), "nobody can be asked");
}

#[tokio::test]
async fn settings_are_explained_and_compared() {
    let cluster = Cluster::with(&["fileReservedTime=48"]).await;
    let explained = cluster.json(&["config", "explain", "fileReservedTime"]);
    assert_eq!([&explained["unit"], &explained["default"], &explained["apacheDefault"]], ["h", "72", "72"]);
    assert_eq!(
        [&explained["restart"], &explained["values"]["broker-a"]["value"]],
        [&Value::from(false), &Value::from("48")]
    );
    assert_eq!(explained["values"]["broker-a"]["from"], "set");
    let (code, _, err) = cluster.admin(&["config", "explain", "fileReservdTime"]);
    assert!(code == 4 && err.contains("did you mean `fileReservedTime`?"), "{err}");
    let text = cluster.done(&["config", "explain", "listenPort", "--offline"]);
    assert!(text.contains("only when the broker starts") && text.contains("10911"), "{text}");
    assert!(cluster.done(&["config", "explain"]).contains("timerMaxDelaySec"));
    let apaches = cluster.done(&["config", "explain", "haListenPort", "--offline"]);
    assert!(apaches.contains("CometMQ does not do what it says"), "{apaches}");

    let (code, out, _) = cluster.admin(&["config", "diff", "--apache", "-o", "json"]);
    let differences: Vec<Value> = serde_json::from_str(&out).unwrap();
    let of = |key: &str| differences.iter().find(|it| it["key"] == key).map(|it| it["values"].clone());
    assert_eq!((code, of("fileReservedTime")), (6, Some(serde_json::json!(["48", "72"]))));
    assert_eq!((of("deleteWhen"), of("listenPort")), (None, None), "alike, and a broker's own");
    let same = ["config", "diff", "-b", "broker-a", "-b", &cluster.dev.broker];
    assert_eq!(cluster.admin(&same).0, 0);
    assert_eq!(cluster.admin(&["config", "diff"]).0, 1, "one broker differs from nobody");
}

#[tokio::test]
async fn a_command_takes_milliseconds() {
    let cluster = Cluster::start().await;
    let best = (0..5).map(|_| {
        let began = Instant::now();
        cluster.done(&["topicStatus", "-t", "SELF_TEST_TOPIC"]);
        began.elapsed()
    });
    let best = best.min().unwrap();
    // 50 ms is the promise of a release build; a debug build on a busy machine gets more.
    assert!(best < Duration::from_millis(500), "{best:?}");
    assert!(Path::new(env!("CARGO_BIN_EXE_cometmq")).exists());
}
