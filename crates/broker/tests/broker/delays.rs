use crate::Running;
use crate::client::{Pull, bodies, config, messages, properties, until};
use broker::Config;
use broker::config::DelayLevels;
use std::time::{Duration, Instant};

#[test]
fn a_delayed_message_comes_when_it_is_due() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let (mut producer, mut consumer) = (running.client(), running.client());
    producer.send_message("T", 1, "", b"makes the topic");
    let mut fastest = Duration::MAX;
    for n in 0..3 {
        let began = Instant::now();
        let sent = producer.send_message("T", 0, &properties("DELAY=1;TAGS=A;UNIQ_KEY=ID;"), b"later");
        assert_eq!((sent.code, sent.ext.get("queueId")), (0, Some("0")));
        let answer = consumer.pull(Pull { tags: "A", offset: n, hold_millis: 5000, ..Pull::of("T") });
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(1), "never early: {took:?}");
        fastest = fastest.min(took);
        let (body, text) = messages(&answer).remove(0);
        assert_eq!(body, "later");
        assert!(text.contains("UNIQ_KEY=ID;") && text.contains("REAL_TOPIC=T;REAL_QID=0;"), "{text}");
    }
    // On a busy machine one or the other may be late.
    assert!(fastest < Duration::from_millis(1100), "{fastest:?}");
}

#[test]
fn delayed_messages_are_kept_over_a_restart_and_come_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = || Config { delay_levels: DelayLevels::read("1s 2s").unwrap(), ..config(dir.path()) };
    let running = Running::start(config());
    let mut client = running.client();
    client.send_message("T", 0, &properties("DELAY=1;"), b"first");
    let began = Instant::now();
    client.send_message("T", 0, &properties("DELAY=99;"), b"second");
    assert_eq!(bodies(&client.pull(Pull { hold_millis: 5000, ..Pull::of("T") })), ["first"]);
    running.stop();

    let running = Running::start(config());
    let mut client = running.client();
    assert_eq!(bodies(&client.pull(Pull { offset: 1, hold_millis: 5000, ..Pull::of("T") })), ["second"]);
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(2), "never early: {took:?}");
    for level in [1, 2] {
        until("each is noted as delivered", || running.broker.delay.next(level).0 == 1);
    }
    assert_eq!(client.pull(Pull { offset: 2, ..Pull::of("T") }).code, 19, "neither came twice");
    running.stop();
    let text = std::fs::read_to_string(dir.path().join("config/delayOffset.json")).unwrap();
    assert!(text.contains("\"1\": 1") && text.contains("\"2\": 1"), "{text}");
}

#[test]
fn many_delayed_messages_keep_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let sent: Vec<String> = (0..1000).map(|n| format!("m{n}")).collect();
    for body in &sent {
        client.send_message("T", 0, &properties("DELAY=1;"), body.as_bytes());
    }
    let mut got: Vec<String> = Vec::new();
    while got.len() < sent.len() {
        let answer = client.pull(Pull { offset: got.len() as i64, hold_millis: 5000, ..Pull::of("T") });
        assert_eq!(answer.code, 0);
        got.extend(bodies(&answer));
    }
    assert_eq!(got, sent);
}

#[test]
fn delayed_messages_outlive_a_killed_broker() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    for n in 0..50 {
        client.send_message("T", 0, &properties("DELAY=1;"), format!("m{n}").as_bytes());
    }
    // Nothing is saved and nothing closed, as by kill -9.
    drop(client);
    drop(running);
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    let mut got: Vec<String> = Vec::new();
    while got.len() < 50 {
        let answer = client.pull(Pull { offset: got.len() as i64, hold_millis: 5000, ..Pull::of("T") });
        assert_eq!(answer.code, 0);
        got.extend(bodies(&answer));
    }
    assert_eq!(got, (0..50).map(|n| format!("m{n}")).collect::<Vec<_>>());
}

#[test]
fn what_a_killed_broker_delivered_is_not_delivered_again() {
    let dir = tempfile::tempdir().unwrap();
    let config = || Config { delay_levels: DelayLevels::read("1s 3s").unwrap(), ..config(dir.path()) };
    let running = Running::start(config());
    let mut client = running.client();
    // Alike but for their keys, which tell messages apart; and one that is alike altogether, and no delayed one.
    for key in ["a", "b"] {
        client.send_message("T", 0, &properties(&format!("DELAY=1;UNIQ_KEY={key};")), b"same");
        client.send_message("T", 0, &properties(&format!("DELAY=2;UNIQ_KEY={key};")), b"same");
    }
    client.send_message("T", 0, &properties("UNIQ_KEY=b;"), b"same");
    wait_for_messages(&running, 3);
    drop(client);
    drop(running);
    let text = std::fs::read_to_string(dir.path().join("config/delayOffset.json")).unwrap_or_default();
    assert!(!text.contains("\"1\": 2"), "it was killed before it took note: {text}");

    let running = Running::start(config());
    let mut client = running.client();
    wait_for_messages(&running, 5);
    // Each level delivers in order: these come behind all that is still to come of the others.
    for level in [1, 2] {
        client.send_message("T", 0, &properties(&format!("DELAY={level};UNIQ_KEY=end{level};")), b"end");
    }
    let until = Instant::now() + Duration::from_secs(30);
    let keys = loop {
        let keys: Vec<String> =
            messages(&client.pull(Pull::of("T"))).into_iter().map(|(_, properties)| properties).collect();
        if ["end1", "end2"].iter().all(|end| keys.iter().any(|key| key.contains(end))) {
            break keys;
        }
        assert!(Instant::now() < until, "they don't come: {keys:?}");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(keys.len(), 7, "none comes twice: {keys:?}");
}

#[test]
fn what_was_due_and_not_delivered_when_the_broker_was_killed_comes_still() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    running.client().send_message("T", 0, "", b"makes the topic");
    running.stop();
    // It takes messages, and delivers none that are due.
    let running = Running::without_clock(config(dir.path()));
    let mut client = running.client();
    let began = Instant::now();
    client.send_message("T", 1, &properties("DELAY=1;UNIQ_KEY=a;"), b"late");
    client.send_message("T", 1, &properties("DELAY=1;UNIQ_KEY=b;"), b"late");
    while began.elapsed() < Duration::from_millis(1100) {
        assert_eq!(client.send_message("T", 0, &properties("UNIQ_KEY=a;"), b"late").code, 0);
    }
    drop(client);
    drop(running);
    let running = Running::start(config(dir.path()));
    until("they come", || running.broker.store.max_offset("T", 1).0 == 2);
}

/// Until so many are in the first queue.
fn wait_for_messages(running: &Running, count: i64) {
    until("they come", || running.broker.store.max_offset("T", 0).0 >= count);
}
