//! `--dry-run` says what would change, and changes nothing.

use super::*;

/// What commands could have changed.
fn state(cluster: &Cluster) -> Vec<Value> {
    let broker = cluster.dev.broker.as_str();
    let ask = |words: &[&str]| cluster.json(words);
    let mut state = vec![
        ask(&["topicList"]),
        ask(&["topicRoute", "-t", "orders"]),
        ask(&["topicStatus", "-t", "orders"]),
        ask(&["getConsumerConfig", "-g", "billing"]),
        ask(&["consumerProgress", "-g", "billing", "-t", "orders"]),
        ask(&["filter", "list", "-b", broker]),
        ask(&["order", "list", "-b", broker]),
        ask(&["timer", "list", "-b", broker]),
        ask(&["transaction", "list", "-b", broker]),
        ask(&["getBrokerConfig", "-b", broker]),
        ask(&["getNamesrvConfig"]),
    ];
    let order = cluster.admin(&["updateOrderConf", "-t", "orders", "-m", "get"]);
    state.push(Value::from(order.0));
    // How fast messages came is no state.
    state[2]["putTps"].take();
    state[4]["consumeTps"].take();
    state
}

#[tokio::test]
async fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let cluster = Cluster::with(&["fileReservedTime=72"]).await;
    cluster.done(&["updateTopic", "-t", "orders", "-b", "broker-a", "-r", "2", "-w", "2", "-o", "true"]);
    cluster.done(&["updateTopic", "-t", "orders", "-b", "broker-a", "-r", "4", "-w", "4", "-o", "true"]);
    cluster.done(&["updateSubGroup", "-g", "billing", "-b", "broker-a", "-r", "5"]);
    cluster.done(&["updateSubGroup", "-g", "copy", "-b", "broker-a"]);
    cluster.send("orders", 0, "UNIQ_KEY\u{1}a\u{2}__SHARDINGKEY\u{1}customer-7", "x").await;
    cluster.commit("billing", "orders", 0, 1).await;
    cluster.send("orders", 0, "TIMER_DELAY_SEC\u{1}3600\u{2}UNIQ_KEY\u{1}timed", "x").await;
    let mut half = send_request("orders", 0, "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}payers\u{2}UNIQ_KEY\u{1}open");
    half.sys_flag = protocol::message::SysFlag::TRANSACTION_PREPARED;
    cluster.ask(half.write()).await;
    let module = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/filter/filter.wasm");
    cluster
        .until(|it| it.json(&["timer", "list", "-b", "broker-a"])["timers"].as_array().is_some_and(|it| it.len() == 1));
    let handle = cluster.json(&["timer", "list", "-b", "broker-a"])["timers"][0]["recallHandle"].clone();
    let open = cluster.json(&["transaction", "list", "-b", "broker-a"])[0]["offset"].to_string();
    let topics = cluster.home.path().join("topics.json");
    std::fs::write(&topics, r#"[{"topicName":"new","readQueueNums":1,"writeQueueNums":1}]"#).unwrap();
    let groups = cluster.home.path().join("groups.json");
    std::fs::write(&groups, r#"[{"groupName":"billing","retryMaxTimes":9}]"#).unwrap();
    let [topics, groups] = [&topics, &groups].map(|path| path.to_str().unwrap().to_owned());

    let before = state(&cluster);
    for (words, wanted) in [
        ("updateTopic -t orders -b broker-a -r 8 -w 4 -o true -a +reserve.time=9", "readQueueNums: 4 -> 8"),
        ("updateTopic -t orders -b broker-a -r 4 -w 4 -o true", "nothing would change on"),
        ("updateTopic -t fresh -b broker-a", "would be created on"),
        (&format!("updateTopicList -b broker-a -f {topics}"), "would be created on"),
        ("updateOrderConf -t orders -m put -v broker-a:4", "would be created on"),
        ("updateSubGroup -g billing -b broker-a -r 7", "retryMaxTimes: 5 -> 7"),
        (&format!("updateSubGroupList -b broker-a -f {groups}"), "retryMaxTimes: 5 -> 9"),
        ("setConsumeMode -b broker-a -t orders -g billing -m PULL", "billing orders PULL"),
        ("updateBrokerConfig -b broker-a -k fileReservedTime -v 48", "fileReservedTime: 72 -> 48"),
        ("updateBrokerConfig -b broker-a -k listenPort -v 1", "only when the broker starts"),
        ("updateBrokerConfig -b broker-a -k fileReservedTime -v long", "can't be"),
        ("updateNamesrvConfig -k scanNotActiveBrokerInterval -v 4000", "-> 4000"),
        ("updateKvConfig -s mine -k a -v b", "a: b"),
        ("deleteKvConfig -s mine -k a", "nothing would change on"),
        ("cloneGroupOffset -s billing -d copy -t orders", "billing -> copy, orders"),
        (&format!("filter put -g billing -t orders -b broker-a {module}"), "crc32: "),
        ("filter remove -g billing -t orders -b broker-a", "nothing would change on"),
        ("order release -t orders -b broker-a", "orders 2..4"),
        ("order park -g billing -t orders -q 0 -i 0 -b broker-a", "billing  orders#0 0  customer-7"),
        ("order unpark -g billing -t orders -b broker-a", "would be given to the group"),
        ("order set -g billing -p true -b broker-a", "order.park: - -> true"),
        (&format!("timer cancel -b broker-a {}", handle.as_str().unwrap()), "timed"),
        (&format!("timer fire -b broker-a {}", handle.as_str().unwrap()), "timed"),
        (&format!("transaction commit -b broker-a {open}"), "payers  open"),
        (&format!("transaction rollback -b broker-a {open}"), "payers  open"),
        ("logLevel debug -b broker-a", "logLevel: "),
        ("wipeWritePerm -b broker-a", "is sent to no more"),
        ("deleteTopic -t orders -c DefaultCluster", "deleted would be"),
        ("deleteSubGroup -g billing -b broker-a", "billing"),
        ("skipAccumulatedMessage -g billing -t orders", "goes on at"),
        ("sendMessage -t orders -p hello", "orders"),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let out = cluster.done(&[&words[..], &["--dry-run"]].concat());
        assert!(out.contains(wanted), "{words:?}: {out}");
    }
    for (words, wanted) in [
        ("timer cancel -b broker-a nobody", "no timer `nobody`"),
        ("transaction commit -b broker-a 99", "no transaction `99`"),
        ("order park -g billing -t orders -q 0 -i 99 -b broker-a", "no message"),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let (code, _, err) = cluster.admin(&[&words[..], &["--dry-run"]].concat());
        assert!(code == 4 && err.contains(wanted), "{words:?}: {code} {err}");
    }
    for (was, is) in before.iter().zip(state(&cluster)) {
        assert_eq!(*was, is);
    }
}
