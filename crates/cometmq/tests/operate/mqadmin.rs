//! Commands and flags of mqadmin that are used less often.

use super::*;
use std::io::{BufRead, BufReader};

#[tokio::test]
async fn topics_and_groups_are_made_from_files_all_or_none() {
    let cluster = Cluster::start().await;
    let file = |name: &str, text: &str| {
        let path = cluster.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let topics = file(
        "topics.json",
        r#"[{"topicName":"one","readQueueNums":2,"writeQueueNums":3,"perm":6},
            {"topicName":"two","readQueueNums":1,"writeQueueNums":1,"attributes":{"+reserve.time":"5"}}]"#,
    );
    cluster.done(&["updateTopicList", "-b", "broker-a", "-f", &topics]);
    let route = cluster.json(&["topicRoute", "-t", "one"]);
    assert_eq!([&route["queueDatas"][0]["readQueueNums"], &route["queueDatas"][0]["writeQueueNums"]], [2, 3]);
    let bad = file("bad.json", r#"[{"topicName":"three"},{"topicName":"bad/name"}]"#);
    assert_eq!(cluster.admin(&["updateTopicList", "-c", "DefaultCluster", "-f", &bad]).0, 1);
    assert_eq!(cluster.admin(&["topicRoute", "-t", "three"]).0, 4, "none of them is made");
    let groups =
        file("groups.json", r#"[{"groupName":"g1","retryMaxTimes":3},{"groupName":"g2","consumeEnable":false}]"#);
    cluster.done(&["updateSubGroupList", "-b", "broker-a", "-f", &groups]);
    assert_eq!(cluster.json(&["getConsumerConfig", "-g", "g1"])["broker-a"]["retryMaxTimes"], 3);
    cluster.done(&["updateSubGroup", "-g", "g1", "-b", "broker-a", "--attributes", "+order.park=true"]);
    let g1 = cluster.json(&["getConsumerConfig", "-g", "g1"])["broker-a"].clone();
    assert_eq!((&g1["attributes"]["order.park"], &g1["retryMaxTimes"]), (&"true".into(), &3.into()), "{g1}");
    let (code, _, err) = cluster.admin(&["updateSubGroupList", "-b", "broker-a", "-f", "/nothing.json"]);
    assert!(code == 1 && err.contains("/nothing.json"), "{err}");

    cluster.member(&cluster.client, "me@1", "g1", "one", "*").await;
    let listed = cluster.json(&["topicList", "-c"]);
    let one = listed.as_array().unwrap().iter().find(|it| it["topic"] == "one").unwrap();
    assert_eq!((&one["cluster"], &one["groups"]), (&"DefaultCluster".into(), &serde_json::json!(["g1"])), "{listed}");
}

#[tokio::test]
async fn clusters_are_probed_and_messages_are_sent_again() {
    let cluster = Cluster::start().await;
    let slaves = cluster.json(&["haStatus", "-b", "broker-a"])[&cluster.dev.broker].clone();
    assert_eq!((&slaves["master"], &slaves["inSyncSlaveNums"]), (&true.into(), &0.into()), "{slaves}");
    let probed = cluster.json(&["clusterRT", "-a", "3", "-s", "16"]);
    assert_eq!([&probed[0]["stored"], &probed[0]["refused"]], [3, 0], "{probed}");
    assert!(cluster.done(&["clusterRT", "-a", "1", "-p", "-m", "room7"]).contains("|room7|DefaultCluster|"));
    assert_eq!(cluster.admin(&["clusterRT", "-c", "Nowhere"]).0, 4);

    cluster.done(&["updateTopic", "-t", "orders", "-b", "broker-a", "-r", "1", "-w", "1"]);
    let body = encoding_rs::GBK.encode("你好").0.into_owned();
    let mut frame = send_request("orders", 0, "KEYS\u{1}k7\u{2}UNIQ_KEY\u{1}U7").write();
    frame.body = body.into();
    let sent = SendMessageReply::read_fields(&cluster.ask(frame).await.ext).unwrap();
    let by_id = ["queryMsgById", "-i", &sent.msg_id, "-t", "orders"];
    assert_eq!(cluster.json(&[&by_id[..], &["-f", "GBK"]].concat())[0]["body"], "你好");
    assert_eq!(cluster.json(&["printMsg", "-t", "orders", "-c", "GBK"])[0]["body"], "你好");
    assert_eq!(cluster.admin(&[&by_id[..], &["-f", "klingon"]].concat()).0, 2);
    let ends = || cluster.json(&["topicStatus", "-t", "orders"])["queues"][0]["maxOffset"].clone();
    cluster.done(&[&by_id[..], &["-s", "true", "--dry-run"]].concat());
    assert_eq!(ends(), 1, "a dry run sends nothing");
    cluster.done(&[&by_id[..], &["-s", "true"]].concat());
    assert_eq!(ends(), 2);
    let again =
        cluster.json(&["queryMsgByOffset", "-t", "orders", "-b", "broker-a", "-i", "0", "-o", "1", "-f", "GBK"]);
    assert_eq!([&again[0]["keys"], &again[0]["uniqueKey"], &again[0]["body"]], ["k7", "U7", "你好"], "{again}");
    let later = ["queryMsgByUniqueKey", "-t", "orders", "-i", "U7", "-a", "-s", "now"];
    cluster.until(|it| it.admin(&["queryMsgByUniqueKey", "-t", "orders", "-i", "U7"]).0 == 0);
    assert_eq!(cluster.admin(&later).0, 4, "it was stored before");
    let by_route = cluster.json(&["topicStatus", "-t", "orders", "-c", "DefaultCluster"]);
    assert_eq!(by_route["queues"][0]["maxOffset"], 2);
}

#[tokio::test]
async fn monitoring_tells_what_comes_and_what_is_over() {
    let cluster = Cluster::start().await;
    let mut monitor =
        cluster.command(&["startMonitoring", "--seconds", "0.2", "-o", "json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(monitor.stdout.take().unwrap()).lines();
    let mut next = |wrong: bool| loop {
        let event: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        if event["kind"] == "writesWiped" {
            assert_eq!(event["wrong"], wrong, "{event}");
            break event;
        }
    };
    cluster.done(&["wipeWritePerm", "-b", "broker-a"]);
    assert!(next(true)["advice"].as_str().unwrap().contains("addWritePerm"));
    cluster.done(&["addWritePerm", "-b", "broker-a"]);
    next(false);
    monitor.kill().unwrap();
    monitor.wait().unwrap();
}
