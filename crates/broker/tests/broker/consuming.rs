use crate::Running;
use crate::client::{Pull, bodies, config, messages, properties};
use std::time::{Duration, Instant};

#[test]
fn a_pull_is_held_until_a_message_comes() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let (mut consumer, mut producer) = (running.client(), running.client());
    producer.send_message("T", 1, "", b"makes the topic");
    consumer.send_pull(Pull { hold_millis: 15_000, ..Pull::of("T") });
    running.until_held(1);
    let sent = Instant::now();
    producer.send_message("T", 0, "", b"here");
    assert_eq!(bodies(&consumer.answer()), ["here"]);
    assert!(sent.elapsed() < Duration::from_millis(500));
}

#[test]
fn a_held_pull_is_not_ended_by_what_it_does_not_want() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let (mut consumer, mut producer) = (running.client(), running.client());
    producer.send_message("T", 0, &properties("TAGS=B;"), b"b0");
    let pull = Pull { tags: "A || C", ..Pull::of("T") };
    let at_once = consumer.pull(Pull { hold_millis: 5000, ..pull });
    assert_eq!(
        (at_once.code, at_once.ext.get("nextBeginOffset")),
        (20, Some("1")),
        "first what is there is passed over"
    );

    consumer.send_pull(Pull { offset: 1, hold_millis: 5000, ..pull });
    running.until_held(1);
    producer.send_message("T", 0, &properties("TAGS=B;"), b"b1");
    producer.send_message("T", 0, &properties("TAGS=C;"), b"c");
    let answer = consumer.answer();
    assert_eq!((answer.code, bodies(&answer)), (0, vec!["c".to_owned()]));
    assert_eq!(answer.ext.get("nextBeginOffset"), Some("3"));

    let began = Instant::now();
    consumer.send_pull(Pull { offset: 3, hold_millis: 300, ..pull });
    running.until_held(1);
    producer.send_message("T", 0, &properties("TAGS=B;"), b"b2");
    let answer = consumer.answer();
    assert_eq!((answer.code, answer.ext.get("nextBeginOffset")), (20, Some("4")), "what came is passed over");
    let answer = consumer.pull(Pull { offset: 4, hold_millis: 300, ..pull });
    assert_eq!((answer.code, answer.ext.get("nextBeginOffset")), (19, Some("4")), "nothing came");
    assert!((600..900).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}

#[test]
fn offsets_beyond_the_queue_are_put_right() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    client.send_message("T", 0, "", b"x");
    let hold = Pull { hold_millis: 5000, ..Pull::of("T") };
    for (queue, offset, code, next) in [(0, 9, 21, "1"), (0, -1, 21, "0"), (1, 5, 21, "0")] {
        let answer = client.pull(Pull { queue, offset, ..hold });
        assert_eq!((answer.code, answer.ext.get("nextBeginOffset")), (code, Some(next)), "{queue} {offset}");
    }
    let answer = client.pull(Pull { queue: 1, ..Pull::of("T") });
    assert_eq!((answer.code, answer.ext.get("nextBeginOffset")), (19, Some("0")));
    assert_eq!(client.pull(Pull { queue: 4, ..hold }).code, 29);
    assert_eq!(client.pull(Pull::of("unknown")).code, 17);
    assert_eq!(client.pull(Pull { tags: "||", ..Pull::of("T") }).code, 23);
}

#[test]
fn offsets_are_kept_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    for n in 0..5 {
        client.send_message("T", 0, "", format!("m{n}").as_bytes());
    }
    client.pull(Pull { commit: Some(2), ..Pull::of("T") });
    let update = [("consumerGroup", "CG"), ("topic", "T"), ("queueId", "1"), ("commitOffset", "7")];
    assert_eq!(client.ask(15, &update, b"").code, 0);
    running.stop();

    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let mut offset = |queue: &str| {
        let query = [("consumerGroup", "CG"), ("topic", "T"), ("queueId", queue)];
        client.ask(14, &query, b"").ext.get("offset").map(str::to_owned)
    };
    assert_eq!((offset("0").as_deref(), offset("1").as_deref(), offset("2")), (Some("2"), Some("7"), None));
    assert_eq!(bodies(&client.pull(Pull { offset: 2, ..Pull::of("T") })), ["m2", "m3", "m4"]);
    let mut number = |code: i32, field: &str| {
        let answer = client.ask(code, &[("topic", "T"), ("queueId", "0"), ("timestamp", "0")], b"");
        answer.ext.get(field).unwrap().parse::<i64>().unwrap()
    };
    assert_eq!((number(30, "offset"), number(31, "offset"), number(29, "offset")), (5, 0, 0));
    assert!(number(32, "timestamp") > 1_700_000_000_000);
}

#[test]
fn what_fails_comes_again_and_then_lies_with_the_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    let levels = broker::config::DelayLevels::read("1s 1s 1s 1s").unwrap();
    let running = Running::start(broker::Config { delay_levels: levels, ..config(dir.path()) });
    let mut client = running.client();
    let sent = client.send_message("T", 0, &properties("UNIQ_KEY=ID1;KEYS=k;"), b"poison");
    let first_id = sent.ext.get("msgId").unwrap().to_owned();
    let at = |id: &str| i64::from_str_radix(&id[16..], 16).unwrap();
    let back = |client: &mut crate::Client, at: i64, level: &str| {
        let at = at.to_string();
        let fields = [("offset", at.as_str()), ("group", "CG"), ("delayLevel", level), ("maxReconsumeTimes", "1")];
        client.ask(36, &fields, b"")
    };
    assert_eq!(back(&mut client, at(&first_id), "0").code, 0);
    let began = Instant::now();
    // A client pulls the retry topic from the start, as its first heartbeat makes it.
    let again = client.pull(Pull { hold_millis: 5000, ..Pull::of("%RETRY%CG") });
    assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());
    let record = protocol::record::Record::parse(&again.body).unwrap();
    assert_eq!((record.body, record.reconsume_times), (&b"poison"[..], 1));
    let (_, text) = messages(&again).remove(0);
    for wanted in ["UNIQ_KEY=ID1;", "KEYS=k;", "RETRY_TOPIC=T;", &format!("ORIGIN_MESSAGE_ID={first_id};"), "DELAY=3;"]
    {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }

    assert_eq!(back(&mut client, record.commit_log_offset.0, "0").code, 0);
    let dead = client.pull(Pull { hold_millis: 5000, ..Pull::of("%DLQ%CG") });
    let record = protocol::record::Record::parse(&dead.body).unwrap();
    assert_eq!((record.topic, record.queue_id, record.reconsume_times), ("%DLQ%CG", 0, 2));
    let (_, text) = messages(&dead).remove(0);
    assert!(text.contains("RETRY_TOPIC=T;") && text.contains(&first_id), "{text}");
    assert_eq!(back(&mut client, 5, "0").code, 1, "no message begins there");
    assert_eq!(back(&mut client, 1 << 40, "0").code, 1);
}
