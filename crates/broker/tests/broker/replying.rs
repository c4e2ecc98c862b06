use crate::client::{Pull, bodies, config, messages, properties, send_fields};
use crate::{Client, Running};
use broker::Config;
use protocol::command::Command;

const TOPIC: &str = "DefaultCluster_REPLY_TOPIC";

fn producer(client: &mut Client, id: &str) {
    let body = format!(r#"{{"clientID":"{id}","producerDataSet":[{{"groupName":"PG"}}],"consumerDataSet":[]}}"#);
    assert_eq!(client.ask(34, &[], body.as_bytes()).code, 0);
}

fn send_reply(client: &mut Client, to: &str, body: &[u8]) {
    let properties = properties(&format!("MSG_TYPE=reply;CORRELATION_ID=c1;{to}UNIQ_KEY=K;"));
    client.send(325, &send_fields(TOPIC, "0", &properties), body);
}

fn remark(answer: &Command) -> &str {
    answer.remark.as_deref().unwrap_or("")
}

#[test]
fn a_reply_goes_to_who_asked_and_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let (mut asker, mut replier) = (running.client(), running.client());
    producer(&mut asker, "asker@1");
    send_reply(&mut replier, "REPLY_TO_CLIENT=asker@1;", b"an answer");
    let push = asker.hear();
    assert_eq!((push.code, push.is_oneway(), &push.body[..]), (326, false, &b"an answer"[..]));
    assert_eq!(push.ext.get("topic"), Some(TOPIC));
    for field in
        ["producerGroup", "queueId", "sysFlag", "bornTimestamp", "flag", "storeTimestamp", "defaultTopicQueueNums"]
    {
        assert!(push.ext.get(field).is_some(), "{field}");
    }
    let told = push.ext.get("properties").unwrap();
    assert!(told.contains("CORRELATION_ID\u{1}c1") && told.contains("PUSH_REPLY_TIME\u{1}"), "{told}");
    asker.reply(&push, 0);
    let answer = replier.answer();
    assert_eq!((answer.code, answer.ext.get("queueOffset")), (0, Some("0")), "{answer:?}");
    assert_eq!(answer.ext.get("msgId").unwrap().len(), 32);
    let kept = messages(&replier.pull(Pull::of(TOPIC)));
    assert_eq!(kept[0].0, "an answer");
    assert!(kept[0].1.contains("CORRELATION_ID=c1") && !kept[0].1.contains("PUSH_REPLY_TIME"), "{kept:?}");
}

#[test]
fn who_replies_is_told_why_a_reply_did_not_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut replier = running.client();
    let mut failed = |to: &str| {
        send_reply(&mut replier, to, b"x");
        let answer = replier.answer();
        assert_eq!(answer.code, 1, "{answer:?}");
        assert!(remark(&answer).starts_with("push reply message fail, "), "{answer:?}");
        remark(&answer).to_owned()
    };
    assert!(failed("").contains("REPLY_TO_CLIENT is missing"));
    assert!(failed("REPLY_TO_CLIENT=nobody;").contains("channel of <nobody> not found"));
    let mut asker = running.client();
    producer(&mut asker, "left@1");
    asker.ask(35, &[("clientID", "left@1"), ("producerGroup", "PG")], b"");
    assert!(failed("REPLY_TO_CLIENT=left@1;").contains("channel of <left@1> not found"));
    assert_eq!(bodies(&running.client().pull(Pull::of(TOPIC))).len(), 3, "kept all the same");
}

#[test]
fn an_asker_that_refuses_or_goes_away_meanwhile_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(Config { store_reply: false, ..config(dir.path()) });
    let (mut asker, mut replier) = (running.client(), running.client());
    producer(&mut asker, "asker@1");
    send_reply(&mut replier, "REPLY_TO_CLIENT=asker@1;", b"x");
    let push = asker.hear();
    asker.reply(&push, 1);
    assert!(remark(&replier.answer()).contains("<asker@1>"));
    send_reply(&mut replier, "REPLY_TO_CLIENT=asker@1;", b"x");
    asker.hear();
    drop(asker);
    let answer = replier.answer();
    assert!(answer.code == 1 && remark(&answer).contains("its connection is gone"), "{answer:?}");

    let mut asker = running.client();
    producer(&mut asker, "asker@1");
    send_reply(&mut replier, "REPLY_TO_CLIENT=asker@1;", b"x");
    let push = asker.hear();
    asker.reply(&push, 0);
    let answer = replier.answer();
    assert_eq!((answer.code, answer.ext.get("msgId")), (0, Some("0")), "{answer:?}");
    assert_eq!(running.broker.store.max_offset(TOPIC, 0).0, 0, "not kept (storeReplyMessageEnable=false)");
}

#[test]
fn a_reply_that_is_refused_has_not_arrived_and_one_that_arrived_is_not_refused() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(Config { max_message_size: 100, ..config(dir.path()) });
    let (mut asker, mut replier) = (running.client(), running.client());
    producer(&mut asker, "asker@1");
    let to = properties("MSG_TYPE=reply;REPLY_TO_CLIENT=asker@1;UNIQ_KEY=K;");
    let refused = replier.ask(325, &send_fields(TOPIC, "99", &to), b"to no queue");
    assert_eq!(refused.code, 29, "{refused:?}");
    send_reply(&mut replier, "REPLY_TO_CLIENT=asker@1;", &[b'x'; 101]);
    let push = asker.hear();
    assert_eq!(push.body.len(), 101, "the first that arrives");
    asker.reply(&push, 0);
    let answer = replier.answer();
    assert_eq!((answer.code, answer.ext.get("msgId")), (0, Some("0")), "it can't be kept: {answer:?}");
}

#[test]
fn old_clients_reply_with_long_keys() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let (mut asker, mut replier) = (running.client(), running.client());
    producer(&mut asker, "asker@1");
    let properties = properties("MSG_TYPE=reply;CORRELATION_ID=c1;REPLY_TO_CLIENT=asker@1;");
    let fields = [
        ("producerGroup", "PG"),
        ("topic", TOPIC),
        ("defaultTopic", "TBW102"),
        ("defaultTopicQueueNums", "4"),
        ("queueId", "0"),
        ("sysFlag", "0"),
        ("bornTimestamp", "1700000000000"),
        ("flag", "0"),
        ("properties", &properties),
    ];
    replier.send(324, &fields, b"");
    let push = asker.hear();
    asker.reply(&push, 0);
    assert_eq!(replier.answer().code, 0, "also an empty one, as Go sends it");
}
