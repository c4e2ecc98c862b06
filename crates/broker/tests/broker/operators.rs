//! What operators ask and set, as mqadmin does.

use crate::client::{Pull, config, send_fields};
use crate::{Client, Running};
use broker::Config;
use protocol::json;
use serde_json::{Value, json};

fn body(client: &mut Client, code: i32, fields: &[(&str, &str)]) -> Value {
    let answer = client.ask(code, fields, b"");
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    json::read(&answer.body).unwrap()
}

#[track_caller]
fn refused(client: &mut Client, code: i32, fields: &[(&str, &str)], body: &[u8], why: (i32, &str)) {
    let answer = client.ask(code, fields, body);
    let remark = answer.remark.unwrap_or_default();
    assert!(answer.code == why.0 && remark.contains(why.1), "{} {remark}", answer.code);
}

#[test]
fn topics_are_created_in_a_list_all_or_none_and_told_page_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let list = |second: &str| {
        let topics = json!({"topicConfigList": [
            {"topicName": "A", "readQueueNums": 2, "writeQueueNums": 3, "perm": 6, "attributes": {"+message.type": "FIFO"}},
            {"topicName": second, "readQueueNums": 1, "writeQueueNums": 1, "perm": 4, "order": true},
        ]});
        topics.to_string().into_bytes()
    };
    refused(&mut client, 18, &[], &list("b/b"), (29, "illegal characters"));
    refused(&mut client, 351, &[("topic", "A")], b"", (17, "No topic in this broker. topic: A"));
    refused(&mut client, 18, &[], b"[", (1, "the body"));
    assert_eq!(client.ask(18, &[], &list("B")).code, 0);
    let topic = body(&mut client, 351, &[("topic", "A")]);
    assert_eq!((&topic["writeQueueNums"], &topic["attributes"]["message.type"]), (&json!(3), &json!("FIFO")));
    assert_eq!(body(&mut client, 351, &[("topic", "B")])["order"], true);

    let all = client.ask(21, &[], b"");
    let total: usize = all.ext.get("totalTopicNum").unwrap().parse().unwrap();
    let all: Value = json::read(&all.body).unwrap();
    let all = all["topicConfigTable"].as_object().unwrap().clone();
    assert_eq!(all.len(), total);
    let mut paged = serde_json::Map::new();
    while paged.len() < total {
        let page = body(&mut client, 21, &[("topicSeq", &paged.len().to_string()), ("maxTopicNum", "5")]);
        let page = page["topicConfigTable"].as_object().unwrap().clone();
        assert!((1..=5).contains(&page.len()));
        paged.extend(page);
    }
    assert_eq!(paged, all);
    let system = body(&mut client, 305, &[]);
    let system: Vec<&str> = system["topicList"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(system.contains(&"TBW102") && system.contains(&"b1") && !system.contains(&"A"), "{system:?}");
}

#[test]
fn groups_are_set_and_told_and_are_there_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let group = |name: &str, rest: &str| format!(r#"{{"groupName":"{name}","retryMaxTimes":5{rest}}}"#).into_bytes();
    let policy = r#","groupRetryPolicy":{"type":"EXPONENTIAL"}"#;
    assert_eq!(client.ask(200, &[], &group("g", policy)).code, 0);
    refused(&mut client, 200, &[], &group("g/g", ""), (29, "illegal characters"));
    refused(&mut client, 200, &[], &group("g", r#","attributes":{"+no.such":"1"}"#), (1, "unsupported key: no.such"));
    let list = [&br#"{"groupConfigList":["#[..], &group("h", ""), b",", &group("", ""), b"]}"].concat();
    refused(&mut client, 225, &[], &list, (29, "blank"));
    assert_eq!(running.broker.groups.get("h"), None);
    let list = [&br#"{"groupConfigList":["#[..], &group("h", ""), b",", &group("i", ""), b"]}"].concat();
    assert_eq!(client.ask(225, &[], &list).code, 0);
    let table = body(&mut client, 201, &[]);
    let told = &table["subscriptionGroupTable"];
    assert_eq!(
        (&told["g"]["groupRetryPolicy"]["type"], &told["h"]["retryMaxTimes"]),
        (&json!("EXPONENTIAL"), &json!(5))
    );
    assert_eq!(told["i"]["attributes"], json!({}), "Java's tools need it");
    drop(running); // as a crash does: nothing more is saved
    let running = Running::start(config(dir.path()));
    assert_eq!(body(&mut running.client(), 352, &[("group", "i")])["retryMaxTimes"], 5);
}

#[test]
fn a_group_that_is_forbidden_to_read_a_topic_is_refused_until_it_is_allowed_again() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    client.ask(310, &send_fields("T", "0", ""), b"hello");
    let pull = Pull { group: "g", ..Pull::of("T") };
    assert_eq!(client.pull(pull).code, 0);
    let forbid = |client: &mut Client, readable: &str| {
        body(client, 353, &[("group", "g"), ("topic", "T"), ("readable", readable)])["readable"].clone()
    };
    assert_eq!(forbid(&mut client, "false"), false);
    let refused = client.pull(pull);
    assert_eq!(
        (refused.code, refused.remark.as_deref()),
        (16, Some("the consumer group[g] is forbidden for topic[T]"))
    );
    assert_eq!(body(&mut client, 353, &[("group", "g"), ("topic", "T")])["readable"], false);
    assert_eq!(forbid(&mut client, "true"), true);
    assert_eq!(client.pull(pull).code, 0);
}

#[test]
fn settings_change_at_once_and_are_kept_with_the_comments_of_their_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broker.conf");
    std::fs::write(&file, "# set by ours\nmaxMessageSize=2000 \n").unwrap();
    let read = || {
        let (read, _) = Config::read(&file).unwrap();
        Config {
            max_message_size: read.max_message_size,
            permission: read.permission,
            file: read.file,
            ..config(dir.path())
        }
    };
    let running = Running::start(read());
    let mut client = running.client();
    let send = |client: &mut Client| client.ask(310, &send_fields("T", "0", ""), &[b'x'; 1000]).code;
    assert_eq!(send(&mut client), 0);
    refused(&mut client, 25, &[], b"maxMessageSize=500\nlistenPort=1\n", (29, "listenPort takes effect only when"));
    refused(&mut client, 25, &[], b"configBlackList=a", (16, "black list"));
    assert_eq!(send(&mut client), 0, "all or none");
    assert_eq!(client.ask(25, &[], b"maxMessageSize=500").code, 0);
    assert_eq!(send(&mut client), 13);
    let told = client.ask(26, &[], b"");
    assert!(told.ext.get("version").unwrap().contains(r#""counter":1"#));
    assert!(String::from_utf8(told.body.to_vec()).unwrap().contains("\nmaxMessageSize=500\n"));
    running.stop();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "# set by ours\nmaxMessageSize=500\n");
    assert_eq!(send(&mut Running::start(read()).client()), 13);
}

#[test]
fn a_broker_that_may_not_be_read_from_refuses_pulls_and_tells_its_topics_anew() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broker.conf");
    std::fs::write(&file, "").unwrap();
    let running = Running::start(Config { file: Some(file), ..config(dir.path()) });
    let mut client = running.client();
    client.ask(310, &send_fields("T", "0", ""), b"x");
    let before = *running.broker.topics.changed().borrow();
    assert_eq!(client.ask(25, &[], b"brokerPermission=2").code, 0);
    assert!(*running.broker.topics.changed().borrow() > before, "name servers are told");
    let pull = Pull { group: "g", ..Pull::of("T") };
    assert_eq!(client.pull(pull).code, 16);
    assert_eq!(client.ask(25, &[], b"brokerPermission=6").code, 0);
    assert_eq!(client.pull(pull).code, 0);
}

#[test]
fn what_came_and_went_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::without_clock(config(dir.path()));
    let mut client = running.client();
    refused(
        &mut client,
        315,
        &[("statsName", "TOPIC_PUT_NUMS"), ("statsKey", "T")],
        b"",
        (1, "The stats <TOPIC_PUT_NUMS> <T> not exist"),
    );
    running.broker.topics.ensure("T", 4, 6, 1).unwrap();
    for _ in 0..10 {
        let fields = send_fields("T", "1", "");
        assert_eq!(client.ask(310, &fields, b"hello").code, 0);
    }
    let pull = Pull { group: "g", queue: 1, ..Pull::of("T") };
    assert_eq!(client.pull(pull).code, 0);
    running.broker.offsets.commit("g", "T", 1, 4).unwrap();
    running.broker.look_at_stats(10_000);
    let stats = |client: &mut Client, name: &str, key: &str| {
        body(client, 315, &[("statsName", name), ("statsKey", key)])["statsMinute"].clone()
    };
    assert_eq!(stats(&mut client, "TOPIC_PUT_NUMS", "T"), json!({"sum": 10, "tps": 1.0, "avgpt": 1.0}));
    assert_eq!(stats(&mut client, "GROUP_GET_NUMS", "T@g"), json!({"sum": 10, "tps": 1.0, "avgpt": 10.0}));
    assert_eq!(stats(&mut client, "BROKER_GET_NUMS", "DefaultCluster")["sum"], 10);

    let table = body(&mut client, 202, &[("topic", "T")]);
    assert_eq!(table["topicPutTps"], 1.0);
    let queue = &table["offsetTable"][r#"{"brokerName":"b1","queueId":1,"topic":"T"}"#];
    assert_eq!((&queue["minOffset"], &queue["maxOffset"]), (&json!(0), &json!(10)));
    refused(&mut client, 202, &[("topic", "U")], b"", (17, "not exist"));

    let groups = body(&mut client, 317, &[("isOrder", "false")]);
    assert_eq!(groups["totalDiff"], 6);
    let of_group = groups["consumeStatsList"].as_array().unwrap().iter().find_map(|group| group.get("g")).unwrap();
    let queue = &of_group[0]["offsetTable"][r#"{"brokerName":"b1","queueId":1,"topic":"T"}"#];
    assert_eq!((&queue["brokerOffset"], &queue["consumerOffset"]), (&json!(10), &json!(4)));

    let entries = body(
        &mut client,
        321,
        &[("topic", "T"), ("queueId", "1"), ("index", "8"), ("count", "9"), ("consumerGroup", "g")],
    );
    assert_eq!((&entries["maxQueueIndex"], entries["queueData"].as_array().unwrap().len()), (&json!(10), 2));
    assert_eq!(entries["filterData"], "g@T is not online!");
    for (queue, index) in [("1", "10"), ("9", "0"), ("-1", "0")] {
        let fields = [("topic", "T"), ("queueId", queue), ("index", index), ("count", "2")];
        refused(&mut client, 321, &fields, b"", (1, "is not exist!"));
    }

    let info = body(&mut client, 28, &[])["table"].clone();
    assert_eq!((&info["msgPutTotalTodayNow"], &info["msgGetTotalTodayNow"]), (&json!("10"), &json!("10")));
    assert_eq!(info["putMessageTimesTotal"], "10");
    assert_eq!(info["commitLogMaxOffset"], info["putMessageSizeTotal"]);
    let number = |key: &str| info[key].as_str().unwrap().split(' ').next().unwrap().parse::<f64>().unwrap();
    assert!(number("commitLogDiskRatio") > 0.0 && number("putTps") == 0.0 && number("earliestMessageTimeStamp") > 1e12);
}

#[test]
fn messages_of_a_topic_that_nobody_has_go_when_an_operator_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let kept = send_fields("T", "0", "");
    client.ask(310, &kept, b"hello");
    client.ask(310, &send_fields("U", "0", ""), b"hello");
    running.broker.topics.delete("U", 1, |_| Ok(())).unwrap();
    assert!(running.broker.store.topics().contains(&"U".to_owned()));
    for code in [306, 329, 316] {
        assert_eq!(client.ask(code, &[], b"").code, 0, "{code}");
    }
    assert_eq!(running.broker.store.topics(), ["T"]);
}

#[test]
fn producers_are_told_by_group() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    client.ask(34, &[], br#"{"clientID":"c1","producerDataSet":[{"groupName":"P"}],"consumerDataSet":[]}"#);
    let producer = body(&mut client, 328, &[])["data"]["P"][0].clone();
    assert_eq!(producer["clientId"], "c1");
    assert!(producer["remoteIP"].as_str().unwrap().starts_with("/127.0.0.1:"), "{producer}");
    assert!(producer["lastUpdateTimestamp"].as_i64().unwrap() > 1_700_000_000_000);
}

#[test]
fn consumers_pull_and_nobody_is_told_that_they_pop() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    client.ask(310, &send_fields("T", "0", ""), b"hello");
    let mode =
        |topic: &str, mode: &str| format!(r#"{{"topic":"{topic}","consumerGroup":"g","mode":"{mode}"}}"#).into_bytes();
    assert_eq!(client.ask(401, &[], &mode("T", "PULL")).code, 0);
    refused(&mut client, 401, &[], &mode("T", "POP"), (3, "popping is still to come"));
    refused(&mut client, 401, &[], &mode("U", "PULL"), (17, "not exist"));
    refused(&mut client, 401, &[], &mode("%RETRY%g", "PULL"), (16, "retry topic"));
    assert_eq!(body(&mut client, 402, &[])["messageRequestModeMap"], json!({}));
}

#[test]
fn all_offsets_of_groups_and_delay_levels_are_told_to_who_keeps_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    assert_eq!(client.ask(310, &send_fields("T", "0", ""), b"x").code, 0);
    let commit = [("consumerGroup", "G"), ("topic", "T"), ("queueId", "0"), ("commitOffset", "1")];
    assert_eq!(client.ask(15, &commit, b"").code, 0);
    assert_eq!(body(&mut client, 43, &[])["offsetTable"]["T@G"]["0"], 1);
    assert!(body(&mut client, 45, &[])["offsetTable"].is_object());
}
