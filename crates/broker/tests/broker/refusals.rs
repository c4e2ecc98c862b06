use crate::Running;
use crate::client::{Pull, config, send_fields};
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
    for code in [22, 200_050] {
        assert_eq!(client.ask(code, &[], b"").code, 3, "{code}");
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

/// Fields and values that clients send, right and wrong, put together at random: nothing panics, all is answered.
#[test]
fn nonsense_is_answered() {
    const FIELDS: &[&str] = &[
        "consumerGroup",
        "group",
        "producerGroup",
        "topic",
        "queueId",
        "queueOffset",
        "maxMsgNums",
        "sysFlag",
        "commitOffset",
        "suspendTimeoutMillis",
        "subscription",
        "expressionType",
        "maxMsgBytes",
        "offset",
        "delayLevel",
        "maxReconsumeTimes",
        "timestamp",
        "boundaryType",
        "key",
        "maxNum",
        "beginTimestamp",
        "endTimestamp",
        "clientID",
        "readQueueNums",
        "writeQueueNums",
        "perm",
        "attributes",
        "a",
        "b",
        "c",
        "d",
        "e",
        "f",
        "g",
        "h",
        "i",
        "j",
        "l",
        "m",
        "batch",
        "properties",
        "flag",
        "bornTimestamp",
        "defaultTopic",
        "defaultTopicQueueNums",
        "setZeroIfNotFound",
    ];
    const VALUES: &[&str] = &[
        "0",
        "1",
        "-1",
        "7",
        "T",
        "%RETRY%CG",
        "%DLQ%CG",
        "CG",
        "TBW102",
        "SCHEDULE_TOPIC_XXXX",
        "",
        " ",
        "*",
        "||",
        "A || B",
        "true",
        "2147483647",
        "-2147483648",
        "9223372036854775807",
        "-9223372036854775808",
        "1e9",
        "主题",
        "🚀",
        "TAG",
        "SQL92",
        "\u{1}\u{2}",
        "DELAY\u{1}1\u{2}",
        "DELAY\u{1}99999999999\u{2}",
        "WAIT\u{1}false",
        "TAGS\u{1}A\u{2}KEYS\u{1}a b  c\u{2}",
        "+a=b,-c",
        "+message.type=FIFO",
        "65536",
    ];
    const BODIES: &[&[u8]] = &[
        b"", b"x", b"\x00\x00\x00\x16\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", &[0xff; 64],
        br#"{"clientID":"c","producerDataSet":[{"groupName":"P"}],"consumerDataSet":[{"groupName":"CG","subscriptionDataSet":[{"topic":"T"}]}]}"#,
        br#"{"clientId":"c","consumerGroup":"CG","mqSet":[{"topic":"T","brokerName":"b1","queueId":0}]}"#, b"[]", b"null", b"{1:2}",
    ];
    const CODES: &[i32] = &[10, 11, 12, 14, 15, 17, 29, 30, 31, 32, 33, 34, 35, 36, 38, 41, 42, 46, 310, 320, 361];
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..4000 {
        let code = CODES[random(CODES.len())];
        let mut fields = Vec::new();
        for field in FIELDS {
            // Mostly numbers and names that are there. Nobody waits here for messages that do not come.
            let values = if random(3) > 0 { 8 } else { VALUES.len() };
            let value = VALUES[random(values)];
            if random(8) > 0 && *field != "suspendTimeoutMillis" {
                fields.push((*field, value));
            }
        }
        let answer = client.ask(code, &fields, BODIES[random(BODIES.len())]);
        let remark = answer.remark.unwrap_or_default();
        assert!(!remark.contains("internal error"), "{code} {fields:?}");
        assert!(answer.code == 0 || remark.len() > 3, "{code} {fields:?}");
    }
    running.stop();
}
