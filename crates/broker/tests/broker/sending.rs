use crate::client::{Pull, bodies, config, messages, properties, send_fields};
use crate::{Client, Running};
use broker::Config;
use broker::config::FlushDiskType;
use protocol::record::BatchEntry;

#[test]
fn a_message_is_stored_found_and_pulled_as_it_was_sent() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let sent = client.send_message(
        "orders",
        2,
        &properties("UNIQ_KEY=ID1;KEYS=k1 订单;TAGS=A;城市=杭州🚀;"),
        "你好 🚀".as_bytes(),
    );
    assert_eq!((sent.code, sent.remark.as_deref()), (0, None));
    assert_eq!((sent.ext.get("queueId"), sent.ext.get("queueOffset")), (Some("2"), Some("0")));
    assert_eq!((sent.ext.get("transactionId"), sent.ext.get("MSG_REGION")), (Some("ID1"), Some("DefaultRegion")));
    assert_eq!(sent.ext.get("TRACE_ON"), Some("true"));
    let id = sent.ext.get("msgId").unwrap().to_owned();
    let host = format!("7F000001{:08X}", running.address.port());
    assert!(id.starts_with(&host), "{id} is made of the address that the client reached, {host}");

    let pulled = client.pull(Pull { queue: 2, ..Pull::of("orders") });
    assert_eq!((pulled.code, pulled.remark.as_deref()), (0, Some("FOUND")));
    let positions = ["suggestWhichBrokerId", "nextBeginOffset", "minOffset", "maxOffset"];
    assert_eq!(positions.map(|name| pulled.ext.get(name)), [Some("0"), Some("1"), Some("0"), Some("1")]);
    let expected =
        "UNIQ_KEY=ID1;KEYS=k1 订单;TAGS=A;城市=杭州🚀;MSG_REGION=DefaultRegion;TRACE_ON=true;CLUSTER=DefaultCluster;";
    assert_eq!(messages(&pulled), [("你好 🚀".to_owned(), expected.to_owned())]);

    let at = i64::from_str_radix(&id[16..], 16).unwrap().to_string();
    assert_eq!(client.ask(33, &[("offset", &at)], b"").body, pulled.body);
    let mut query = |key: &str, unique: &str| {
        let fields = [
            ("topic", "orders"),
            ("key", key),
            ("maxNum", "32"),
            ("beginTimestamp", "0"),
            ("endTimestamp", "9223372036854775807"),
            ("_UNIQUE_KEY_QUERY", unique),
        ];
        client.ask(12, &fields, b"")
    };
    assert_eq!(query("ID1", "true").body, pulled.body);
    assert_eq!(query("订单", "false").body, pulled.body);
    assert_eq!(query("k2", "false").code, 22);
    running.stop();
}

#[test]
fn what_a_broker_adds_replaces_what_a_client_sent_on() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    client.send_message("T", 0, &properties("MSG_REGION=x;a=1;POP_CK=secret;TRACE_ON=false;CLUSTER=y"), b"again");
    let (_, stored) = messages(&client.pull(Pull::of("T"))).remove(0);
    assert!(
        stored.starts_with("MSG_REGION=DefaultRegion;a=1;TRACE_ON=true;CLUSTER=DefaultCluster;UNIQ_KEY="),
        "{stored}"
    );
}

#[test]
fn a_batch_is_split() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let mut body = Vec::new();
    for n in 0..3 {
        let properties = format!("UNIQ_KEY\u{1}B{n}");
        BatchEntry { flag: n, body: format!("m{n}").as_bytes(), properties: properties.as_bytes() }.encode(&mut body);
    }
    let mut fields = send_fields("T", "1", "");
    fields[11].1 = "true";
    let sent = client.ask(320, &fields, &body);
    assert_eq!((sent.code, sent.ext.get("queueOffset")), (0, Some("0")), "{sent:?}");
    assert_eq!(sent.ext.get("msgId").unwrap().split(',').count(), 3);
    let expected = [0, 1, 2].map(|n| (format!("m{n}"), format!("UNIQ_KEY=B{n}")));
    assert_eq!(messages(&client.pull(Pull { queue: 1, ..Pull::of("T") })), expected);

    let retry = send_fields("%RETRY%g", "0", "");
    assert_eq!(client.ask(320, &retry, &body).code, 13);
    assert_eq!(client.ask(320, &fields, &body[..body.len() - 1]).code, 13);
    assert_eq!(client.ask(320, &fields, b"").code, 13);
}

#[test]
fn old_clients_in_other_languages_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    // The C++ core of 2018: numbers as numbers, a newline behind the header, fields left out, batch "1" in code 10.
    let mut body = Vec::new();
    for text in ["one", "two"] {
        BatchEntry { flag: 0, body: text.as_bytes(), properties: b"WAIT\x01true\x02" }.encode(&mut body);
    }
    let send = r#"{"code":10,"extFields":{"batch":"1","bornTimestamp":1600000000000,"defaultTopic":"TBW102",
        "defaultTopicQueueNums":4,"flag":0,"producerGroup":"PG","properties":"","queueId":0,"reconsumeTimes":0,
        "sysFlag":0,"topic":"T","unitMode":false},"flag":0,"language":"CPP","opaque":7,"version":126}
"#;
    let sent = client.ask_raw(send, &body);
    assert_eq!((sent.code, sent.opaque), (0, 7), "{sent:?}");
    assert_eq!(bodies(&client.pull(Pull::of("T"))), ["one", "two"]);

    let heartbeat = br#"{"clientID":"c@1","consumerDataSet":[{"consumeFromWhere":0,"consumeType":1,"groupName":"cpp",
        "messageModel":1,"subscriptionDataSet":[{"codeSet":[],"subString":"*","subVersion":"1600000000000","tagsSet":[],
        "topic":"T"}]}],"producerDataSet":[{"groupName":"PG"}]}"#;
    let header = r#"{"code":34,"extFields":null,"flag":0,"language":"CPP","opaque":8,"version":126}"#;
    assert_eq!(client.ask_raw(header, heartbeat).code, 0);
    let list = client.ask_raw(r#"{"code":38,"extFields":{"consumerGroup":"cpp"},"opaque":9}"#, b"");
    assert_eq!(&list.body[..], br#"{"consumerIdList":["c@1"]}"#);
    let offset = |topic: &str, queue: i32| {
        format!(r#"{{"code":14,"extFields":{{"consumerGroup":"cpp","topic":"{topic}","queueId":{queue}}},"opaque":1}}"#)
    };
    let young = client.ask_raw(&offset("T", 0), b"");
    assert_eq!((young.code, young.ext.get("offset")), (0, Some("0")));
    assert_eq!(client.ask_raw(&offset("T", 1), b"").code, 22, "an empty queue");
    assert_eq!(client.ask_raw(&offset("unknown", 0), b"").code, 22);
}

#[test]
fn just_under_the_limit_is_taken_and_above_it_refused() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let body = vec![7; 4 * 1024 * 1024];
    assert_eq!(client.send_message("T", 0, "", &body).code, 0);
    let refused = client.send_message("T", 0, "", &[&body[..], b"!"].concat());
    assert_eq!(refused.code, 13);
    assert!(refused.remark.unwrap().contains("4194304"));
    let long = "x".repeat(33_000);
    assert_eq!(client.send_message("T", 0, &properties(&format!("a={long};")), b"").code, 13);
    assert_eq!(client.send_message("T", 0, "", b"the connection goes on").code, 0);
    assert_eq!(
        client.pull(Pull::of("T")).body.len(),
        running.broker.store.read(store::CommitLogOffset(0)).unwrap().unwrap().len(),
        "at least one message, however large"
    );
}

#[test]
fn no_queue_means_any_queue() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let queues: std::collections::BTreeSet<String> =
        (0..20).map(|_| client.send_message("T", -1, "", b"x").ext.get("queueId").unwrap().to_owned()).collect();
    assert_eq!(queues.into_iter().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    assert_eq!(client.send_message("T", 4, "", b"x").code, 29);
}

#[test]
fn sync_flush_answers_when_the_message_is_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(Config { flush_disk_type: FlushDiskType::Sync, ..config(dir.path()) });
    let mut client = running.client();
    assert_eq!(client.send_message("T", 0, "", b"on disk").code, 0);
    assert_eq!(client.send_message("T", 0, &properties("WAIT=false;"), b"soon").code, 0);
    assert_eq!(client.send_message("T", 0, "", b"on disk").code, 0);
    assert_eq!(bodies(&client.pull(Pull::of("T"))), ["on disk", "soon", "on disk"]);
}

#[test]
fn the_vip_port_takes_messages_and_leaves_pulls_to_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut vip = Client::connect(running.vip);
    assert_eq!(vip.send_message("T", 0, "", b"x").code, 0);
    assert_eq!(vip.pull(Pull::of("T")).code, 3);
    assert_eq!(running.client().pull(Pull::of("T")).code, 0);
}

#[test]
fn a_disk_that_takes_too_long_is_told_and_the_message_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Config {
        flush_disk_type: FlushDiskType::Sync,
        sync_flush_timeout: std::time::Duration::ZERO,
        ..config(dir.path())
    };
    let running = Running::start(settings);
    let mut client = running.client();
    let body = vec![7; 3 * 1024 * 1024];
    // A disk may be quicker than the clock's resolution, but not each time.
    let late =
        (0..50).map(|_| client.send_message("T", 1, &properties("UNIQ_KEY=ID;"), &body)).find(|sent| sent.code != 0);
    let sent = late.expect("one of fifty");
    assert_eq!((sent.code, sent.ext.get("transactionId"), sent.ext.get("TRACE_ON")), (10, Some("ID"), Some("true")));
    let offset = sent.ext.get("queueOffset").unwrap().parse().unwrap();
    assert_eq!(client.pull(Pull { queue: 1, offset, hold_millis: 5000, ..Pull::of("T") }).code, 0);
}
