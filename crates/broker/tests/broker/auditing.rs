//! Every change that somebody asks for leaves a line in `audit.log`.

use crate::Running;
use crate::client::{Client, config};
use broker::Config;
use broker::audit::NOT_AUDITED;
use protocol::audit::{AuditEntry, AuditFilter, SECRET};
use protocol::code::request;
use protocol::json;
use protocol::request::audit::AuditEntries;
use serde_json::{Value, json};

fn entries(running: &Running) -> Vec<AuditEntry> {
    running.broker.audit.read(&AuditFilter::default(), usize::MAX).unwrap()
}

#[track_caller]
fn last(running: &Running, what: &str) -> AuditEntry {
    let last = entries(running).pop().unwrap();
    assert_eq!(last.what, what, "{last:?}");
    last
}

/// A code that is added later is audited unless somebody writes that it need not be; the second test looks at those.
#[test]
fn each_request_that_changes_something_leaves_a_line_also_when_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let changing: Vec<i32> =
        running.broker.router().codes().into_iter().filter(|code| !NOT_AUDITED.contains(code)).collect();
    assert!(changing.len() > 20, "{changing:?}");
    for code in &changing {
        // None of them can do anything with this but say so; some have nothing to say.
        client.ask(*code, &[("topic", "no such"), ("group", "no such")], b"");
        let entry = entries(&running).pop().unwrap_or_default();
        assert_eq!(entry.code, *code, "{} leaves no line", request::name(*code).unwrap_or("?"));
        assert!(entry.address.starts_with("127.0.0.1:") && !entry.time.is_empty(), "{entry:?}");
        assert_eq!(entry.outcome, if entry.response == Some(0) { "done" } else { "refused" });
        assert!(entry.outcome == "done" || entry.remark.is_some(), "{entry:?}");
    }
    assert_eq!(entries(&running).len(), changing.len());
}

#[test]
fn what_is_not_audited_asks_or_is_a_clients_work() {
    let works = [
        request::SEND_MESSAGE,
        request::SEND_MESSAGE_V2,
        request::SEND_BATCH_MESSAGE,
        request::SEND_REPLY_MESSAGE,
        request::SEND_REPLY_MESSAGE_V2,
        request::CONSUMER_SEND_MSG_BACK,
        request::END_TRANSACTION,
        request::RECALL_MESSAGE,
        request::PULL_MESSAGE,
        request::LITE_PULL_MESSAGE,
        request::UPDATE_CONSUMER_OFFSET,
        request::HEART_BEAT,
        request::UNREGISTER_CLIENT,
        request::CHECK_CLIENT_CONFIG,
        request::LOCK_BATCH_MQ,
        request::UNLOCK_BATCH_MQ,
        request::REGISTER_FILTER_SERVER,
    ];
    for code in NOT_AUDITED {
        let name = request::name(code).unwrap();
        let asks = [
            "GET_",
            "QUERY_",
            "LIST_",
            "VIEW_",
            "SEARCH_",
            "MESSAGE_LIFE",
            "INVOKE_BROKER_TO_GET_",
            "AUTH_GET_",
            "AUTH_LIST_",
            "EXPLAIN_",
        ];
        assert!(works.contains(&code) || asks.iter().any(|asks| name.starts_with(asks)), "{name} is to be audited");
    }
}

fn create(client: &mut Client, queues: &str) {
    let fields = [
        ("topic", "T"),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", queues),
        ("writeQueueNums", queues),
        ("perm", "6"),
        ("topicFilterType", "SINGLE_TAG"),
        ("topicSysFlag", "0"),
        ("order", "false"),
    ];
    assert_eq!(client.ask(17, &fields, b"").code, 0);
}

#[test]
fn a_line_says_what_held_before_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("broker.conf");
    std::fs::write(&conf, "fileReservedTime=24\n").unwrap();
    let (settings, _) = config(dir.path()).read_over(&conf).unwrap();
    let running = Running::start(settings);
    let mut client = running.client();
    create(&mut client, "4");
    let entry = last(&running, "UPDATE_AND_CREATE_TOPIC");
    assert_eq!((&entry.before, &entry.after["writeQueueNums"], &*entry.outcome), (&Value::Null, &json!(4), "done"));
    create(&mut client, "8");
    let entry = last(&running, "UPDATE_AND_CREATE_TOPIC");
    assert_eq!((&entry.before["writeQueueNums"], &entry.after["writeQueueNums"]), (&json!(4), &json!(8)));
    assert_eq!(entry.asked["topic"], "T");

    let group = json!({ "groupName": "G", "retryMaxTimes": 3 }).to_string();
    assert_eq!(client.ask(200, &[], group.as_bytes()).code, 0);
    let entry = last(&running, "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP");
    assert_eq!((&entry.before, &entry.after["retryMaxTimes"]), (&Value::Null, &json!(3)));

    client.send_message("T", 0, "", b"one");
    let commit = [("consumerGroup", "G"), ("topic", "T"), ("queueId", "0"), ("commitOffset", "1")];
    assert_eq!(client.ask(15, &commit, b"").code, 0);
    let reset = [("group", "G"), ("topic", "T"), ("timestamp", "0"), ("isForce", "true")];
    assert_eq!(client.ask(222, &reset, b"").code, 0);
    let entry = last(&running, "INVOKE_BROKER_TO_RESET_OFFSET");
    assert_eq!((&entry.before["0"], &entry.after["0"]), (&json!(1), &json!(0)));

    assert_eq!(client.ask(25, &[], b"fileReservedTime=48").code, 0);
    let entry = last(&running, "UPDATE_BROKER_CONFIG");
    assert_eq!((&entry.before["fileReservedTime"], &entry.after["fileReservedTime"]), (&json!("24"), &json!("48")));
    assert_eq!(client.ask(25, &[], b"fileReservedTime=soon").code, 29);
    let entry = last(&running, "UPDATE_BROKER_CONFIG");
    assert_eq!((&*entry.outcome, entry.response, &entry.after), ("refused", Some(29), &entry.before));
    assert!(entry.remark.unwrap().contains("soon"));

    assert_eq!(client.ask(215, &[("topic", "T")], b"").code, 0);
    let entry = last(&running, "DELETE_TOPIC_IN_BROKER");
    assert_eq!((&entry.before["writeQueueNums"], &entry.after), (&json!(8), &Value::Null));
}

#[test]
fn the_log_outlives_the_broker_is_asked_for_with_filters_and_holds_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Running::start(Config { ..config(dir.path()) });
    let running = start();
    let mut client = running.client();
    create(&mut client, "4");
    let fields = [("Signature", "s3cret"), ("SecurityToken", "s3cret"), ("AccessKey", "s3cret")];
    client.ask(25, &fields, b"adminPassword=s3cret\nfileReservedTimes=1");
    let entry = last(&running, "UPDATE_BROKER_CONFIG");
    assert_eq!(entry.asked["body"]["adminPassword"], SECRET);
    assert!(!std::fs::read_to_string(dir.path().join("audit.log")).unwrap().contains("s3cret"));
    running.stop();

    let running = start();
    let mut client = running.client();
    let mut asked = |fields: &[(&str, &str)]| {
        let answer = client.ask(request::QUERY_AUDIT, fields, b"");
        assert_eq!(answer.code, 0, "{:?}", answer.remark);
        let entries: AuditEntries = json::read(&answer.body).unwrap();
        entries.entries.into_iter().map(|entry| entry.what).collect::<Vec<_>>()
    };
    let all = ["UPDATE_AND_CREATE_TOPIC", "UPDATE_BROKER_CONFIG"];
    assert_eq!(asked(&[("since", "0"), ("max", "100")]), all);
    assert_eq!(asked(&[("since", "0"), ("max", "1")]), all[1..]);
    assert_eq!(asked(&[("since", "0"), ("max", "9"), ("about", "T")]), all[..1]);
    assert_eq!(asked(&[("since", "0"), ("max", "9"), ("who", "127.0.0.1"), ("what", "config")]), all[1..]);
    assert!(asked(&[("since", "99999999999999"), ("max", "9")]).is_empty());
    assert!(asked(&[("since", "0"), ("max", "9"), ("who", "10.0.0.1")]).is_empty());
}
