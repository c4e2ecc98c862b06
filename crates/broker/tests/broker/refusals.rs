use crate::Running;
use crate::client::{Pull, config, properties, send_fields};
use broker::Config;

#[test]
fn every_request_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    type Fields = &'static [(&'static str, &'static str)];
    let strange: [(Fields, &[u8]); 4] = [
        (&[], b""),
        (&[("topic", "a b"), ("offset", "x"), ("queueId", "-9"), ("consumerGroup", "")], b"\xff\xfe{"),
        (&[("topic", ""), ("queueId", "99999999999"), ("b", "\u{1}"), ("clientID", "")], b"[[[[{\"mqSet\":null}]"),
        (
            &[("topic", "TBW102"), ("queueId", "-2147483648"), ("offset", "-9223372036854775808"), ("queueOffset", "9223372036854775807"),
                ("consumerGroup", "%RETRY%%DLQ%"), ("group", "g"), ("delayLevel", "-2147483648"), ("maxReconsumeTimes", "-2147483648"),
                ("timestamp", "9223372036854775807"), ("key", ""), ("maxNum", "-1"), ("beginTimestamp", "9223372036854775807"),
                ("endTimestamp", "-9223372036854775808"), ("maxMsgNums", "-2147483648"), ("sysFlag", "-1"),
                ("commitOffset", "-9223372036854775808"), ("suspendTimeoutMillis", "-1"), ("maxMsgBytes", "-1"),
                ("readQueueNums", "-1"), ("writeQueueNums", "2147483647"), ("perm", "-1"),
                ("a", "g"), ("b", "%RETRY%"), ("d", "-2147483648"), ("e", "-2147483648"), ("f", "-1"), ("g", "-1"), ("h", "-1"),
                ("j", "2147483647"), ("m", "1")],
            b"{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"x/y\"},{\"subscriptionDataSet\":[{}]}],\"consumerGroup\":\"g\",\"clientId\":\"c\",\"mqSet\":[{\"queueId\":-1}]}",
        ),
    ];
    for (fields, body) in strange {
        for code in (-2..=1000).chain([2001, 3001, 200_050, 200_051, 200_151, i32::MAX, i32::MIN]) {
            let answer = client.ask(code, fields, body);
            let panicked = answer.remark.as_deref().is_some_and(|remark| remark.contains("internal error"));
            assert!(!panicked, "{code} {fields:?}");
            if answer.code != 0 {
                assert!(answer.remark.is_some_and(|remark| remark.len() > 5), "a sentence with {code} {fields:?}");
            }
        }
    }
    assert_eq!(client.ask(200_050, &[], b"").code, 3);
}

#[test]
fn what_is_not_brought_yet_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    for (asked, named) in [
        ("TRAN_MSG=true;", "transaction"),
        ("TIMER_DELAY_SEC=10;", "TIMER_DELAY_SEC"),
        ("TIMER_DELIVER_MS=1;", "TIMER_DELIVER_MS"),
        ("MSG_TYPE=reply;", "request-reply"),
    ] {
        let answer = client.send_message("T", 0, &properties(asked), b"");
        assert_eq!(answer.code, 3);
        assert!(answer.remark.unwrap().contains(named), "{named}");
    }
    assert!(running.broker.topics.get("T").is_none(), "nothing came of them");
    for code in [37, 324, 325, 22, 200_050] {
        assert_eq!(client.ask(code, &[], b"").code, 3, "{code}");
    }

    let sql = r#"{"topic":"T","subString":"a > 1","expressionType":"SQL92","subVersion":1}"#;
    let heartbeat =
        format!(r#"{{"clientID":"c","consumerDataSet":[{{"groupName":"CG","subscriptionDataSet":[{sql}]}}]}}"#);
    assert_eq!(client.ask(34, &[], heartbeat.as_bytes()).code, 0, "a heartbeat with it is welcome");
    let check = format!(r#"{{"clientId":"c","group":"CG","subscriptionData":{sql}}}"#);
    let answer = client.ask(46, &[], check.as_bytes());
    assert_eq!(answer.code, 3);
    assert!(answer.remark.unwrap().contains("SQL92"));
    client.send_message("T", 0, "", b"x");
    let pull = |flag: &str| {
        [
            ("consumerGroup", "CG"),
            ("topic", "T"),
            ("queueId", "0"),
            ("queueOffset", "0"),
            ("maxMsgNums", "32"),
            ("sysFlag", flag),
            ("commitOffset", "0"),
            ("subscription", "a > 1"),
            ("expressionType", "SQL92"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    for flag in ["0", "4"] {
        let fields = pull(flag);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(client.ask(11, &fields, b"").code, 3, "{flag}");
    }
}

#[test]
fn names_that_cannot_be_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let long = "x".repeat(128);
    for (topic, code) in [
        ("a b", 29),
        ("主题", 29),
        ("", 29),
        (&long[..], 29),
        (&long[1..], 0),
        ("SCHEDULE_TOPIC_XXXX", 16),
        ("RMQ_SYS_TRANS_HALF_TOPIC", 16),
        ("TBW102", 0),
    ] {
        let answer = client.send_message(topic, 0, "", b"x");
        assert_eq!(answer.code, code, "{topic} {answer:?}");
    }
}

#[test]
fn topics_are_created_by_clients() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(Config { auto_create_topic: false, ..config(dir.path()) });
    let mut client = running.client();
    let unknown = client.send_message("orders", 0, "", b"x");
    assert_eq!(unknown.code, 17);
    assert!(unknown.remark.unwrap().contains("autoCreateTopicEnable"));
    let mut create = |topic: &str, queues: &str| {
        let fields = [
            ("topic", topic),
            ("defaultTopic", "TBW102"),
            ("readQueueNums", queues),
            ("writeQueueNums", queues),
            ("perm", "6"),
            ("topicFilterType", "SINGLE_TAG"),
            ("topicSysFlag", "0"),
            ("order", "false"),
        ];
        client.ask(17, &fields, b"").code
    };
    assert_eq!(create("orders", "3"), 0);
    for (topic, queues) in
        [("TBW102", "3"), ("b1", "3"), ("DefaultCluster", "3"), ("a b", "3"), ("huge", "65537"), ("rmq_sys_x", "1")]
    {
        assert_eq!(create(topic, queues), 29, "{topic}");
    }
    assert_eq!(client.send_message("orders", 2, "", b"x").code, 0);
    let text = std::fs::read_to_string(dir.path().join("config/topics.json")).unwrap();
    assert!(text.contains("\"orders\""), "on disk before it is answered");
    running.stop();
    let running = Running::start(Config { auto_create_topic: false, ..config(dir.path()) });
    assert_eq!(running.client().send_message("orders", 2, "", b"x").code, 0, "and there after a restart");
}

#[test]
fn groups_that_may_not_be_made_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(Config { auto_create_subscription_group: false, ..config(dir.path()) });
    let mut client = running.client();
    client.send_message("T", 0, "", b"x");
    assert_eq!(client.pull(Pull::of("T")).code, 26);
    assert_eq!(client.ask(36, &[("offset", "0"), ("group", "g"), ("delayLevel", "0")], b"").code, 26);
    assert_eq!(client.ask(310, &send_fields("%RETRY%g", "0", ""), b"x").code, 26);
    assert_eq!(client.pull(Pull { group: "TOOLS_CONSUMER", ..Pull::of("T") }).code, 0);
}
