//! `cometmq admin …` as an operator uses it, against a running broker.

mod support;

use bytes::Bytes;
use protocol::request::Request;
use serde_json::Value;
use std::process::Command;
use std::time::Instant;
use support::{Dev, SOON, send_request};

/// Runs a command and gives its exit code and what it wrote.
fn admin(dev: &Dev, arguments: &[&str]) -> (i32, String, String) {
    let command = Command::new(env!("CARGO_BIN_EXE_cometmq"))
        .arg("admin")
        .args(arguments)
        .args(["-n", &dev.namesrv])
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (command.status.code().unwrap(), text(command.stdout), text(command.stderr))
}

fn json(dev: &Dev, arguments: &[&str]) -> Value {
    let (code, out, err) = admin(dev, &[arguments, &["-o", "json"]].concat());
    assert_eq!((code, err.as_str()), (0, ""));
    serde_json::from_str(&out).unwrap()
}

#[tokio::test]
async fn topics_are_made_found_and_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let dev = Dev::start(directory.path()).await;
    // It serves, and registers with its name server a moment later.
    let deadline = Instant::now() + SOON;
    let clusters = loop {
        let (_, out, _) = admin(&dev, &["clusterList", "-o", "json"]);
        match serde_json::from_str::<Value>(&out) {
            Ok(clusters) if clusters["clusterAddrTable"].as_object().is_some_and(|it| !it.is_empty()) => {
                break clusters;
            }
            _ => assert!(Instant::now() < deadline, "the broker does not register: {out}"),
        }
    };
    let (cluster, names) = clusters["clusterAddrTable"].as_object().unwrap().iter().next().unwrap();
    let name = names[0].as_str().unwrap();
    let listed = admin(&dev, &["clusterList"]).1;
    assert!(listed.contains(cluster) && listed.contains(name), "{listed}");

    let (code, out, err) = admin(&dev, &["updateTopic", "-t", "orders", "-c", cluster, "-r", "3", "-w", "2"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.starts_with("created or changed on: "));
    let route = &json(&dev, &["topicRoute", "-t", "orders"])["queueDatas"][0];
    assert_eq!([&route["readQueueNums"], &route["writeQueueNums"], &route["perm"]], [3, 2, 6]);
    assert!(admin(&dev, &["topicList"]).1.lines().any(|line| line == "orders"));

    assert_eq!(admin(&dev, &["deleteTopic", "-t", "orders", "-c", cluster]).0, 0);
    assert!(!admin(&dev, &["topicList"]).1.lines().any(|line| line == "orders"));
    let (code, _, err) = admin(&dev, &["topicRoute", "-t", "orders"]);
    assert!(code == 4 && err.contains("orders"), "{err}");
    let (code, _, err) = admin(&dev, &["deleteTopic", "-t", "orders", "-c", "Nowhere"]);
    assert!(code == 4 && err.contains("no cluster `Nowhere`; there is"), "{err}");
    assert_eq!(admin(&dev, &["updateTopic", "-t", "orders"]).0, 2, "where is not said");
}

#[tokio::test]
async fn open_transactions_are_listed_and_ended() {
    let directory = tempfile::tempdir().unwrap();
    let dev = Dev::start(directory.path()).await;
    let client = remoting::Client::default();
    for key in ["a", "b", "c"] {
        let mut half =
            send_request("orders", 0, &format!("TRAN_MSG\u{1}true\u{2}PGROUP\u{1}payers\u{2}UNIQ_KEY\u{1}{key}"));
        half.sys_flag = protocol::message::SysFlag::TRANSACTION_PREPARED;
        let mut command = half.write();
        command.body = Bytes::from_static(b"paid");
        assert_eq!(client.invoke(&dev.broker, command, SOON).await.unwrap().code, 0);
    }
    let list = || json(&dev, &["transaction", "list", "-b", &dev.broker]);
    let ids = |list: Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|it| it["transactionId"].as_str().unwrap().to_owned()).collect()
    };
    let first = &list()[0];
    assert_eq!([&first["topic"], &first["producerGroup"], &first["transactionId"]], ["orders", "payers", "a"]);
    assert_eq!(ids(list()), ["a", "b", "c"]);
    assert_eq!(admin(&dev, &["transaction", "commit", "-b", &dev.broker, "0"]).0, 0);
    assert_eq!(admin(&dev, &["transaction", "rollback", "-b", &dev.broker, "1"]).0, 0);
    assert_eq!(ids(list()), ["c"]);
    let (code, _, err) = admin(&dev, &["transaction", "commit", "-b", &dev.broker, "1"]);
    assert!(code == 1 && err.contains("no transaction waits at 1"), "{err}");
    assert_eq!(json(&dev, &["transaction", "list", "--parked", "-b", &dev.broker]), Value::Array(Vec::new()));
}

#[tokio::test]
async fn a_filter_program_is_put_listed_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let dev = Dev::start(directory.path()).await;
    let client = remoting::Client::default();
    let sent = client.invoke(&dev.broker, send_request("orders", 0, "").write(), SOON).await.unwrap();
    assert_eq!(sent.code, 0);
    let module = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/filter/filter.wasm");
    let of = ["-g", "billing", "-t", "orders", "-b", dev.broker.as_str()];
    let with =
        |command: &'static str, more: &[&'static str]| admin(&dev, &[&["filter", command], &of[..], more].concat());
    let (code, out, err) = with("put", &[module]);
    assert!(code == 0 && out.starts_with("put on: "), "{out}{err}");
    let listed = json(&dev, &["filter", "list", "-b", &dev.broker]);
    assert_eq!(
        (&listed[0]["group"], &listed[0]["topic"], &listed[0]["kept"]),
        (&"billing".into(), &"orders".into(), &0.into())
    );
    assert!(admin(&dev, &["filter", "list", "-b", &dev.broker]).1.contains("billing"));

    let (code, _, err) = with("put", &[concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    assert!(code == 1 && err.contains("no WebAssembly module"), "{err}");
    let (code, _, err) = with("put", &["/nowhere.wasm"]);
    assert!(code == 1 && err.contains("/nowhere.wasm cannot be read"), "{err}");
    assert_eq!(with("remove", &[]).0, 0);
    let (code, _, err) = with("remove", &[]);
    assert!(code == 1 && err.contains("has no filter program"), "{err}");
    assert_eq!(json(&dev, &["filter", "list", "-b", &dev.broker]), Value::Array(Vec::new()));
}

#[tokio::test]
async fn new_queues_of_an_ordered_topic_are_listed_and_given_out() {
    let directory = tempfile::tempdir().unwrap();
    let dev = Dev::start(directory.path()).await;
    let at = ["-b", dev.broker.as_str()];
    let grow = |queues: &'static str| {
        let queues = ["updateTopic", "-t", "orders", "-o", "true", "-r", queues, "-w", queues];
        admin(&dev, &[&queues[..], &at].concat())
    };
    assert_eq!(grow("2").0, 0);
    let (code, _, err) = grow("3");
    assert!(code == 1 && err.contains("a multiple of 2"), "{err}");
    assert_eq!(grow("4").0, 0);
    let listed = json(&dev, &[&["order", "list"], &at[..]].concat());
    assert_eq!([&listed[0]["topic"], &listed[0]["ends"]], [&Value::from("orders"), &Value::Null]);
    assert_eq!([&listed[0]["before"], &listed[0]["after"]], [2, 4]);
    assert!(admin(&dev, &[&["order", "list"], &at[..]].concat()).1.contains("producers still learn"));
    assert_eq!(admin(&dev, &[&["order", "release", "-t", "orders"], &at[..]].concat()).0, 0);
    let (code, _, err) = admin(&dev, &[&["order", "release", "-t", "orders"], &at[..]].concat());
    assert!(code == 1 && err.contains("no new queues"), "{err}");
}

#[tokio::test]
async fn a_message_has_a_timeline_and_its_trace_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let dev = Dev::start(directory.path()).await;
    let client = remoting::Client::default();
    let send = async |topic: &str, properties: &str, body: &'static str| {
        let mut command = send_request(topic, 0, properties).write();
        command.body = Bytes::from_static(body.as_bytes());
        let answer = client.invoke(&dev.broker, command, SOON).await.unwrap();
        assert_eq!(answer.code, 0, "{:?}", answer.remark);
        answer.ext.get("msgId").unwrap().to_owned()
    };
    let offset_id = send("orders", "UNIQ_KEY\u{1}ID\u{2}KEYS\u{1}order-7", "paid").await;
    for arguments in
        [vec!["ID", "-t", "orders"], vec!["-k", "order-7", "-t", "orders"], vec![&offset_id, "-b", &dev.broker]]
    {
        let told = json(&dev, &[&["message", "life"], &arguments[..]].concat());
        let event = &told["messages"][0]["events"][0];
        assert_eq!([&event["what"], &event["offsetMessageId"]], ["stored", offset_id.as_str()], "{told}");
    }
    let (code, out, _) = admin(&dev, &["message", "life", "ID", "-t", "orders"]);
    assert!(code == 0 && out.contains("orders  ID  keys order-7") && out.contains("orders/0@0"), "{out}");
    let (code, _, err) = admin(&dev, &["message", "life", "nobody", "-t", "orders"]);
    assert!(code == 4 && err.contains("nobody"), "{err}");
    assert_eq!(admin(&dev, &["message", "life", "ID"]).0, 2, "where is not said");

    let trace = "Pub\u{1}1700000000000\u{1}r\u{1}P\u{1}orders\u{1}ID\u{1}\u{1}order-7\u{1}h:1\u{1}4\u{1}3\u{1}0\u{1}X\u{1}true\u{2}";
    send("MyTraces", "UNIQ_KEY\u{1}TRACE\u{2}KEYS\u{1}ID order-7", trace).await;
    for id in ["ID", "order-7"] {
        let read = json(&dev, &["message", "trace", "-i", id, "-t", "MyTraces"]);
        assert_eq!((read[0]["kind"].as_str(), read[0]["costMillis"].as_i64()), (Some("Pub"), Some(3)), "{read}");
    }
    let (code, out, _) = admin(&dev, &["message", "trace", "-i", "ID", "-t", "MyTraces"]);
    assert!(code == 0 && out.contains("sent") && out.contains("3 ms"), "{out}");

    let (_, out, _) = admin(&dev, &["updateTopic", "-t", "once", "-b", &dev.broker, "-a", "+dedup.window=60"]);
    assert!(out.contains("created or changed"), "{out}");
    for _ in 0..3 {
        send("once", "DEDUP_ID\u{1}a", "x").await;
    }
    let counted = json(&dev, &["message", "duplicates", "-b", &dev.broker, "-t", "once"]);
    assert_eq!((&counted["topics"][0]["duplicates"], &counted["topics"][0]["ids"]), (&2.into(), &1.into()));
}

#[tokio::test]
async fn timed_messages_are_listed_cancelled_and_fired() {
    let directory = tempfile::tempdir().unwrap();
    let dev = Dev::start(directory.path()).await;
    let client = remoting::Client::default();
    for key in ["a", "b", "c"] {
        let timed = send_request("orders", 0, &format!("TIMER_DELAY_SEC\u{1}3600\u{2}UNIQ_KEY\u{1}{key}"));
        assert_eq!(client.invoke(&dev.broker, timed.write(), SOON).await.unwrap().code, 0);
    }
    let until = Instant::now() + SOON;
    let list = || json(&dev, &["timer", "list", "-b", &dev.broker])["timers"].as_array().unwrap().clone();
    while list().len() < 3 {
        assert!(Instant::now() < until, "{:?}", list());
    }
    let handle = |n: usize| list()[n]["recallHandle"].as_str().unwrap().to_owned();
    let (first, second) = (handle(0), handle(1));
    assert_eq!(admin(&dev, &["timer", "cancel", "-b", &dev.broker, &first]).0, 0);
    assert_eq!(admin(&dev, &["timer", "fire", "-b", &dev.broker, &second]).0, 0);
    let keys: Vec<Value> = list().into_iter().map(|timer| timer["uniqueKey"].clone()).collect();
    assert_eq!(keys, ["c"]);
    let (code, _, err) = admin(&dev, &["timer", "cancel", "-b", &dev.broker, &first]);
    assert!(code == 1 && err.contains("was recalled before"), "{err}");
    let page = json(&dev, &["timer", "list", "-b", &dev.broker, "--max", "1"]);
    assert_eq!(page["next"], Value::Null);
}
