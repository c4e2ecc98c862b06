//! The doctor: a fault is made, found, and not found any more once it is gone.

use super::*;
use protocol::code::request::{
    GET_ALL_SUBSCRIPTIONGROUP_CONFIG, GET_BROKER_RUNTIME_INFO, REGISTER_BROKER, UNREGISTER_BROKER,
};
use std::io::Read;
use std::net::TcpListener;

impl Cluster {
    /// What the doctor finds, by kind, about `subject`: each with what is wrong and what to do.
    fn diagnosed(&self, subject: &str, seconds: &str) -> BTreeSet<String> {
        let (_, out, err) = self.admin(&["doctor", "--seconds", seconds, "--lag", "3", "-o", "json"]);
        assert_eq!(err, "");
        kinds(&out, subject)
    }
}

/// The kinds of those findings that name `subject`.
fn kinds(out: &str, subject: &str) -> BTreeSet<String> {
    let found: Vec<Value> = serde_json::from_str(out).unwrap();
    let about = found.iter().filter(|it| it["what"].as_str().unwrap().contains(subject));
    about
        .map(|it| {
            assert!(!it["advice"].as_str().unwrap().is_empty() && !it["severity"].is_null(), "{it}");
            it["kind"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// Answers as a broker does whose clock is so many milliseconds ahead, and whose disk is so full.
fn broker_elsewhere(ahead: i64, disk: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            std::thread::spawn(move || answer_all(socket, ahead, disk));
        }
    });
    address
}

fn answer_all(mut socket: std::net::TcpStream, ahead: i64, disk: &str) {
    let (mut buffer, mut chunk) = (bytes::BytesMut::new(), [0; 4096]);
    loop {
        match socket.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(count) => buffer.extend_from_slice(&chunk[..count]),
        }
        while let Some(asked) = Frame::decode(&mut buffer).unwrap() {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
            let started = now + ahead - 3_600_000;
            let (code, body) = match asked.code {
                GET_BROKER_RUNTIME_INFO => {
                    let runtime = "[ 0 days, 1 hours, 0 minutes, 0 seconds ]";
                    let table = serde_json::json!({"bootTimestamp": started.to_string(), "runtime": runtime, "commitLogDiskRatio": disk});
                    (0, serde_json::json!({ "table": table }).to_string())
                }
                GET_ALL_SUBSCRIPTIONGROUP_CONFIG => (0, "{}".to_owned()),
                _ => (protocol::code::response::REQUEST_CODE_NOT_SUPPORTED, String::new()),
            };
            let mut answer = Frame { code, ..Frame::default() };
            answer.flag = 1;
            answer.body = Bytes::from(body);
            if std::io::Write::write_all(&mut socket, &support::raw::frame(answer, asked.opaque)).is_err() {
                return;
            }
        }
    }
}

#[tokio::test]
async fn a_broker_is_found_whose_clock_is_off_whose_disk_is_full_or_that_nobody_reaches() {
    let cluster = Cluster::start().await;
    let registrar = remoting::Client::default();
    let told = async |code: i32, name: &str, address: &str| {
        let fields =
            [("brokerName", name), ("brokerAddr", address), ("clusterName", "DefaultCluster"), ("brokerId", "0")];
        let mut frame = Frame::request(code);
        frame.ext = fields.into_iter().collect::<ExtFields>();
        assert_eq!(registrar.invoke(&cluster.dev.namesrv, frame, SOON).await.unwrap().code, 0);
    };
    for (name, address, wanted) in [
        ("broker-ahead", broker_elsewhere(60_000, "0.5"), &["clockSkew"][..]),
        ("broker-behind", broker_elsewhere(-60_000, "0.5"), &["clockSkew"]),
        ("broker-full", broker_elsewhere(0, "0.97"), &["diskFull"]),
        ("broker-sound", broker_elsewhere(0, "0.5"), &[]),
        ("broker-away", "127.0.0.1:1".to_owned(), &["brokerUnreachable"]),
    ] {
        told(REGISTER_BROKER, name, &address).await;
        let found = cluster.diagnosed(name, "0.1");
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), wanted, "{name}");
        told(UNREGISTER_BROKER, name, &address).await;
        assert!(cluster.diagnosed(name, "0.1").is_empty(), "{name} is gone");
    }
    let found = cluster.diagnosed("broker-a", "0.1");
    assert!(!found.contains("clockSkew"), "its clock is ours: {found:?}");
}

#[tokio::test]
async fn a_group_is_found_that_falls_behind_stands_or_does_not_agree() {
    let cluster = Cluster::start().await;
    cluster.done(&["updateTopic", "-t", "orders", "-b", "broker-a", "-r", "1", "-w", "1"]);
    let members = [remoting::Client::default(), remoting::Client::default()];
    cluster.member(&members[0], "me@1", "billing", "orders", "A").await;
    cluster.send("orders", 0, "", "x").await;
    cluster.commit("billing", "orders", 0, 1).await;
    assert!(cluster.diagnosed("billing", "0.1").is_empty(), "it is where the topic ends");

    // More comes than it does, while the doctor looks.
    for _ in 0..5 {
        cluster.send("orders", 0, "", "x").await;
    }
    let mut doctor = cluster
        .command(&["doctor", "--seconds", "1", "--lag", "3", "-o", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut done = 1;
    while doctor.try_wait().unwrap().is_none() {
        for _ in 0..3 {
            cluster.send("orders", 0, "", "x").await;
        }
        done += 1;
        cluster.commit("billing", "orders", 0, done).await;
    }
    let out = String::from_utf8(doctor.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(kinds(&out, "billing"), BTreeSet::from(["lagGrows".to_owned()]), "it moves, and too slowly: {out}");
    let found: Vec<Value> = serde_json::from_str(&out).unwrap();
    let growing = found.iter().find(|it| it["kind"] == "lagGrows").unwrap();
    assert!(growing["since"].as_i64().is_some_and(|since| since > 1_600_000_000_000), "{growing}");

    assert_eq!(cluster.diagnosed("billing", "0.2"), BTreeSet::from(["queueStuck".to_owned()]), "nobody moves it");
    let end = cluster.json(&["topicStatus", "-t", "orders"])["queues"][0]["maxOffset"].as_i64().unwrap();
    cluster.commit("billing", "orders", 0, end).await;
    assert!(cluster.diagnosed("billing", "0.2").is_empty(), "it has done all");

    cluster.member(&members[1], "me@2", "billing", "orders", "B").await;
    assert!(cluster.diagnosed("billing", "0.1").contains("conflict"));
    cluster.member(&members[1], "me@2", "billing", "orders", "A").await;
    assert!(cluster.diagnosed("billing", "0.1").is_empty(), "they agree");
}
