use crate::client::{Pull, config, properties, send_fields};
use crate::{Client, Running};

fn heartbeat(client: &mut Client, id: &str, group: &str, topics: &[&str]) {
    let topics: Vec<String> = topics
        .iter()
        .map(|topic| format!(r#"{{"topic":"{topic}","subString":"*","subVersion":5,"tagsSet":[],"codeSet":[]}}"#))
        .collect();
    let body = format!(
        r#"{{"clientID":"{id}","producerDataSet":[],"consumerDataSet":[{{"groupName":"{group}","consumeType":
        "CONSUME_PASSIVELY","messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_LAST_OFFSET",
        "subscriptionDataSet":[{}]}}]}}"#,
        topics.join(",")
    );
    let answer = client.ask(34, &[], body.as_bytes());
    assert_eq!((answer.code, answer.version), (0, protocol::command::VERSION));
    assert_eq!(answer.ext.get("IS_SUPPORT_HEART_BEAT_V2"), Some("true"));
    assert_eq!(answer.ext.get("IS_SUB_CHANGE"), Some("false"));
}

fn members(client: &mut Client) -> String {
    let answer = client.ask(38, &[("consumerGroup", "CG")], b"");
    if answer.code == 0 { String::from_utf8(answer.body.to_vec()).unwrap() } else { answer.remark.unwrap() }
}

#[test]
fn members_are_told_when_others_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let (mut a, mut b) = (running.client(), running.client());
    assert!(members(&mut a).starts_with("no consumer for this group, CG"));
    let told = |client: &mut Client| {
        let notice = client.hear();
        assert_eq!((notice.code, notice.is_oneway(), notice.ext.get("consumerGroup")), (40, true, Some("CG")));
    };
    heartbeat(&mut a, "a", "CG", &["T"]);
    told(&mut a);
    assert_eq!(running.broker.topics.queues("%RETRY%CG").unwrap().read, 1, "pulled from now on");
    heartbeat(&mut b, "b", "CG", &["T"]);
    told(&mut a);
    told(&mut b);
    assert_eq!(members(&mut a), r#"{"consumerIdList":["a","b"]}"#);
    heartbeat(&mut a, "a", "CG", &["T", "U"]);
    told(&mut a);
    told(&mut b);
    heartbeat(&mut a, "a", "CG", &["T", "U"]);
    a.ask(35, &[("clientID", "a"), ("consumerGroup", "CG")], b"");
    told(&mut b);
    assert!(a.told.is_empty() && b.told.is_empty(), "nobody is told of nothing");
    heartbeat(&mut a, "a", "CG", &["T", "U"]);
    told(&mut a);
    told(&mut b);
    drop(b);
    told(&mut a);
    assert_eq!(members(&mut a), r#"{"consumerIdList":["a"]}"#);
}

#[test]
fn a_pull_without_expression_goes_by_the_heartbeat() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    client.send_message("T", 0, "", b"x");
    let pull = |client: &mut Client, topic: &str, version: &str| {
        let fields = [
            ("consumerGroup", "CG"),
            ("topic", topic),
            ("queueId", "0"),
            ("queueOffset", "0"),
            ("maxMsgNums", "32"),
            ("sysFlag", "0"),
            ("commitOffset", "0"),
            ("subVersion", version),
        ];
        client.ask(11, &fields, b"").code
    };
    assert_eq!(pull(&mut client, "T", "5"), 24, "no heartbeat yet");
    heartbeat(&mut client, "a", "CG", &["T"]);
    assert_eq!(pull(&mut client, "T", "5"), 0);
    assert_eq!(pull(&mut client, "T", "6"), 0, "a newer subscription whose heartbeat is late");
    assert_eq!(pull(&mut client, "TBW102", "5"), 24);
}

#[test]
fn a_queue_is_locked_for_one_member() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let queue = |id: i32| format!(r#"{{"brokerName":"b1","queueId":{id},"topic":"T"}}"#);
    let body = |member: &str, ids: &[i32]| {
        let queues: Vec<String> = ids.iter().map(|id| queue(*id)).collect();
        format!(
            r#"{{"clientId":"{member}","consumerGroup":"CG","mqSet":[{}],"onlyThisBroker":false}}"#,
            queues.join(",")
        )
    };
    let mut lock = |member: &str, ids: &[i32]| {
        let answer = client.ask(41, &[], body(member, ids).as_bytes());
        String::from_utf8(answer.body.to_vec()).unwrap()
    };
    assert_eq!(lock("a", &[0, 1]), format!(r#"{{"lockOKMQSet":[{},{}]}}"#, queue(0), queue(1)));
    assert_eq!(lock("b", &[1, 2]), format!(r#"{{"lockOKMQSet":[{}]}}"#, queue(2)));
    assert_eq!(client.ask(42, &[], body("a", &[1]).as_bytes()).code, 0);
    let mut lock = |member: &str, ids: &[i32]| {
        let answer = client.ask(41, &[], body(member, ids).as_bytes());
        String::from_utf8(answer.body.to_vec()).unwrap()
    };
    assert_eq!(lock("b", &[1]), format!(r#"{{"lockOKMQSet":[{}]}}"#, queue(1)));

    // A consumer in order that sends to its retry topic has given the message up.
    let mut orderly = send_fields("%RETRY%CG", "0", "");
    let text = properties("UNIQ_KEY=ID;DELAY=3;");
    orderly[8].1 = &text;
    let sent = client.ask(310, &orderly, b"given up");
    assert_eq!(sent.code, 0, "{sent:?}");
    assert_eq!(client.pull(Pull::of("%DLQ%CG")).code, 0);
}

#[test]
fn a_consumer_that_sends_to_its_retry_topic_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let mut send = |times: &'static str| {
        let mut fields = send_fields("%RETRY%CG", "0", "");
        fields[9].1 = times;
        fields.push(("l", "3"));
        client.ask(310, &fields, times.as_bytes());
        (client.pull(Pull::of("%RETRY%CG")).code, client.pull(Pull::of("%DLQ%CG")).code)
    };
    assert_eq!(send("3"), (0, 17), "so many are allowed");
    assert_eq!(send("4"), (0, 0), "one too many");
}

#[test]
fn topics_of_unit_mode_are_marked() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let mut fields = send_fields("Unit", "0", "");
    fields.iter_mut().find(|(key, _)| *key == "k").unwrap().1 = "true";
    assert_eq!(client.ask(310, &fields, b"x").code, 0);
    client.send_message("Plain", 0, "", b"x");
    let body = r#"{"clientID":"c","consumerDataSet":[{"groupName":"U","unitMode":true,"subscriptionDataSet":[]}]}"#;
    client.ask(34, &[], body.as_bytes());
    let flag = |topic: &str| running.broker.topics.get(topic).unwrap().topic_sys_flag;
    assert_eq!((flag("Unit"), flag("Plain"), flag("%RETRY%U")), (1, 0, 2));
}
