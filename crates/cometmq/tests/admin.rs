//! `cometmq admin …` as an operator uses it, against a running broker.

mod support;

use bytes::Bytes;
use protocol::request::Request;
use serde_json::Value;
use std::process::Command;
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
    let clusters = json(&dev, &["clusterList"]);
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
    assert!(code == 1 && err.contains("orders"), "{err}");
    let (code, _, err) = admin(&dev, &["deleteTopic", "-t", "orders", "-c", "Nowhere"]);
    assert!(code == 1 && err.contains("no cluster `Nowhere`; there is"), "{err}");
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
