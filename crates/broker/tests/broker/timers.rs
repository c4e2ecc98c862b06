use crate::Running;
use crate::client::{Client, Pull, bodies, config, messages, properties};
use broker::Config;
use broker::config::FlushDiskType;
use protocol::request::timer::{PendingTimer, PendingTimers, RecallHandle};
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Ticks of 100 ms, so that a test waits less.
fn quick(dir: &Path) -> Config {
    Config {
        timer_precision: Duration::from_millis(100),
        timer_flush_interval: Duration::from_millis(20),
        ..config(dir)
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// All messages of queue 0 of a topic, with their properties.
fn all(client: &mut Client, topic: &str) -> Vec<(String, HashMap<String, String>)> {
    let mut found = Vec::new();
    loop {
        let answer = client.pull(Pull { offset: found.len() as i64, ..Pull::of(topic) });
        if answer.code != 0 {
            return found;
        }
        found.extend(messages(&answer).into_iter().map(|(body, text)| {
            let pairs = text.split(';').filter_map(|pair| pair.split_once('='));
            (body, pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        }));
    }
}

/// Waits until a topic has so many messages.
fn await_count(running: &Running, topic: &str, count: i64) {
    let until = Instant::now() + Duration::from_secs(20);
    while running.broker.store.max_offset(topic, 0).0 < count {
        assert!(Instant::now() < until, "{} of {count} came", running.broker.store.max_offset(topic, 0));
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn list(client: &mut Client) -> Vec<PendingTimer> {
    let answer = client.ask(90_010, &[("max", "1000")], b"");
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    serde_json::from_slice::<PendingTimers>(&answer.body).unwrap().timers
}

/// Waits until so many messages wait in the wheel.
fn await_pending(client: &mut Client, count: usize) -> Vec<PendingTimer> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let found = list(client);
        if found.len() == count {
            return found;
        }
        assert!(Instant::now() < until, "{found:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_message_comes_when_the_tick_of_its_time_is_over_and_tells_what_apaches_broker_tells() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(quick(dir.path()));
    let mut client = running.client();
    client.send_message("T", 1, "", b"makes the topic");
    let begun = now();
    let round = (begun / 100 + 6) * 100;
    let mut due = std::collections::BTreeMap::new();
    // The text asks for a time so long behind the sending, or, of those that name one, for that time.
    for (body, text, delay, time) in [
        ("seconds", "TIMER_DELAY_SEC=1;".to_owned(), 1000, None),
        ("millis", "TIMER_DELAY_MS=450;".to_owned(), 450, None),
        ("time", format!("TIMER_DELIVER_MS={};", begun + 333), 0, Some(begun + 333)),
        ("on a tick", format!("TIMER_DELIVER_MS={round};"), 0, Some(round)),
        ("first counts", format!("TIMER_DELAY_MS=200;TIMER_DELIVER_MS={};", begun + 60_000), 200, None),
    ] {
        let before = now();
        let properties = properties(&format!("{text}UNIQ_KEY={body};TAGS=A;"));
        let sent = client.send_message("T", 0, &properties, body.as_bytes());
        assert_eq!((sent.code, sent.ext.get("queueId")), (0, Some("0")), "{:?}", sent.remark);
        if time.is_none_or(|time| time > now() + 100) {
            let handle = RecallHandle::decode(sent.ext.get("recallHandle").unwrap()).unwrap();
            assert_eq!((&*handle.topic, &*handle.broker_name, &*handle.unique_key), ("T", "b1", body));
            assert_eq!(handle.timestamp % 100, 1, "one behind the begin of the tick");
            due.insert(body, time.map_or((before + delay, now() + delay), |time| (time, time)));
        }
    }
    await_count(&running, "T", 5);
    let answer = client.pull(Pull { tags: "A", ..Pull::of("T") });
    let records = protocol::record::Record::all(&answer.body).map(|record| record.unwrap().store_timestamp);
    let stored: Vec<i64> = records.collect();
    let (mut last, mut came) = (0, 0);
    for ((body, found), stored) in all(&mut client, "T").into_iter().zip(stored) {
        // On a machine so busy that its time had come when it was sent, it was a message like others.
        let Some((from, until)) = due.get(&*body) else { continue };
        let number = |name: &str| found[name].parse::<i64>().unwrap();
        let tick = number("TIMER_OUT_MS");
        assert_eq!((&*found["REAL_TOPIC"], &*found["REAL_QID"], &*found["UNIQ_KEY"]), ("T", "0", &*body));
        assert!(
            tick % 100 == 0 && (from - 100..*until).contains(&tick),
            "{body} waited in {tick}, due from {from} to {until}"
        );
        assert!(stored >= tick + 100 && stored < tick + 5000, "{body} of tick {tick} came at {stored}");
        assert!(number("TIMER_ENQUEUE_MS") <= tick && number("TIMER_ENQUEUE_MS") % 100 == 0);
        assert!(number("TIMER_DEQUEUE_MS") >= tick + 100);
        assert!(tick >= last, "ticks follow one another");
        (last, came) = (tick, came + 1);
    }
    assert_eq!(came, due.len());
    assert!(came >= 3, "those that say how long they are to wait do wait");
}

#[test]
fn what_is_due_already_comes_at_once_and_what_makes_no_sense_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(Config { timer_max_delay: Duration::from_secs(3), ..quick(dir.path()) });
    let mut client = running.client();
    let past = format!("TIMER_DELIVER_MS={};", now() - 5);
    for text in
        [&*past, "TIMER_DELAY_SEC=0;", "TIMER_DELAY_MS=-5;", "TIMER_DELAY_SEC=;", "TIMER_DELAY_SEC=2;TIMER_OUT_MS=5;"]
    {
        let sent = client.send_message("T", 0, &properties(text), text.as_bytes());
        assert_eq!((sent.code, sent.ext.get("recallHandle")), (0, None), "{text}");
    }
    assert_eq!(all(&mut client, "T").len(), 5);
    let recalls_past = format!("{past}TIMER_DEL_UNIQKEY=x;");
    for text in [
        "TIMER_DELAY_SEC=x;",
        "TIMER_DELAY_SEC= 2;",
        "TIMER_DELAY_SEC=4;",
        &recalls_past,
        "TIMER_DELAY_SEC=9223372036854775807;",
    ] {
        let sent = client.send_message("T", 0, &properties(text), b"refused");
        let remark = sent.remark.as_deref().unwrap_or_default();
        assert_eq!(sent.code, 13, "{text} {remark}");
        assert!(
            remark.starts_with("timer message illegal, the delay time should not be bigger than the max delay 3000ms"),
            "{remark}"
        );
    }
    let level = client.send_message("T", 0, &properties("DELAY=1;TIMER_DELAY_SEC=60;"), b"level");
    assert_eq!((level.code, level.ext.get("recallHandle")), (0, None));
    await_count(&running, "T", 6);
    let (body, found) = all(&mut client, "T").pop().unwrap();
    assert!(body == "level" && !found.contains_key("TIMER_DELAY_SEC"), "a level counts for more: {found:?}");
    assert_eq!(client.send_message("rmq_sys_wheel_timer", 0, "", b"says no time").code, 16);
    running.stop();

    let running = Running::start(Config { timer_wheel: false, ..quick(dir.path()) });
    let sent = running.client().send_message("T", 0, &properties("TIMER_DELAY_SEC=1;"), b"refused");
    assert_eq!(
        (sent.code, sent.remark.as_deref()),
        (1, Some("accurate timer message is not enabled, timerWheelEnable is false"))
    );
}

#[test]
fn what_waits_is_kept_over_a_restart_and_comes_once() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(quick(dir.path()));
    let mut client = running.client();
    for n in 0..20 {
        let text = format!("TIMER_DELAY_MS={};UNIQ_KEY=k{n};", 100 + 50 * n);
        assert_eq!(client.send_message("T", 0, &properties(&text), format!("m{n}").as_bytes()).code, 0);
    }
    await_count(&running, "T", 5);
    drop(client);
    running.stop();
    let running = Running::start(quick(dir.path()));
    await_count(&running, "T", 20);
    running.stop();
    let running = Running::start(quick(dir.path()));
    let mut client = running.client();
    assert_eq!(list(&mut client), []);
    let mut bodies: Vec<_> = all(&mut client, "T").into_iter().map(|(body, _)| body).collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!((bodies.len(), running.broker.store.max_offset("T", 0).0), (20, 20));
}

#[test]
fn what_waits_outlives_a_killed_broker_and_nothing_that_came_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut sent = 0;
    for flush_disk_type in [FlushDiskType::Async, FlushDiskType::Sync].repeat(4) {
        let running = Running::start(Config { flush_disk_type, ..quick(dir.path()) });
        let mut client = running.client();
        for _ in 0..15 {
            let text = format!("TIMER_DELAY_MS={};UNIQ_KEY=k{sent};", 50 + sent * 37 % 700);
            assert_eq!(client.send_message("T", 0, &properties(&text), format!("m{sent}").as_bytes()).code, 0);
            sent += 1;
        }
        // The moment of the kill varies: nothing is saved and nothing closed.
        std::thread::sleep(Duration::from_millis((sent * 53 % 300) as u64));
        drop(client);
        drop(running);
    }
    let running = Running::start(quick(dir.path()));
    await_count(&running, "T", sent);
    let mut client = running.client();
    await_pending(&mut client, 0);
    let mut bodies: Vec<_> = all(&mut client, "T").into_iter().map(|(body, _)| body).collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!((bodies.len() as i64, running.broker.store.max_offset("T", 0).0), (sent, sent));
}

#[test]
fn what_is_due_far_off_is_put_again_on_the_way_and_comes_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = || Config { timer_roll_window: 3, ..quick(dir.path()) };
    let running = Running::start(config());
    let mut client = running.client();
    let begun = now();
    client.send_message("T", 0, &properties(&format!("TIMER_DELIVER_MS={};UNIQ_KEY=far;", begun + 1500)), b"far");
    let recalled = client.send_message("T", 0, &properties("TIMER_DELAY_MS=1400;UNIQ_KEY=gone;"), b"recalled");
    let handle = recalled.ext.get("recallHandle").unwrap().to_owned();
    assert_eq!(client.ask(370, &[("topic", "T"), ("recallHandle", &handle)], b"").ext.get("msgId"), Some("gone"));
    await_count(&running, "rmq_sys_wheel_timer", 6);
    drop(client);
    drop(running);
    let running = Running::start(config());
    await_count(&running, "T", 1);
    let mut client = running.client();
    await_pending(&mut client, 0);
    let found = all(&mut client, "T");
    assert_eq!(found.len(), 1, "{found:?}");
    let (body, found) = &found[0];
    let rolled: i64 = found["TIMER_ROLL_TIMES"].parse().unwrap();
    assert!(body == "far" && (2..=15).contains(&rolled), "{found:?}");
    assert!(now() >= begun + 1500);
}

#[test]
fn what_was_taken_comes_whatever_the_longest_body_is_by_then() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broker.conf");
    std::fs::write(&file, "").unwrap();
    let running = Running::start(Config { file: Some(file), timer_roll_window: 3, ..quick(dir.path()) });
    let mut client = running.client();
    let body = [b'x'; 1000];
    for text in ["TIMER_DELAY_MS=1000;", "DELAY=1;"] {
        assert_eq!(client.send_message("T", 0, &properties(text), &body).code, 0);
    }
    assert_eq!(client.ask(25, &[], b"maxMessageSize=500").code, 0);
    let refused = client.send_message("T", 0, "", &body);
    assert_eq!(refused.code, 13);
    assert!(refused.remark.unwrap().contains("at most 500 are allowed (maxMessageSize)"));
    await_count(&running, "T", 2);
    assert!(all(&mut client, "T").iter().all(|(found, _)| found.as_bytes() == body));
}

#[test]
fn what_waits_for_a_deleted_topic_does_not_come_into_its_next_life() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(Config { timer_roll_window: 3, ..quick(dir.path()) });
    let mut client = running.client();
    let due = now() + 1500;
    let text = format!("TIMER_DELIVER_MS={due};UNIQ_KEY=far;");
    assert_eq!(client.send_message("T", 0, &properties(&text), b"of its first life").code, 0);
    assert_eq!(client.ask(215, &[("topic", "T")], b"").code, 0);
    assert_eq!(client.send_message("T", 0, "", b"anew").code, 0);
    // What is due later comes later.
    let text = format!("TIMER_DELIVER_MS={};UNIQ_KEY=later;", due + 100);
    assert_eq!(client.send_message("T", 0, &properties(&text), b"later").code, 0);
    await_count(&running, "T", 2);
    let came: Vec<_> = all(&mut client, "T").into_iter().map(|(body, _)| body).collect();
    assert_eq!(came, ["anew", "later"]);
}

#[test]
fn a_message_is_recalled_by_its_handle_as_long_as_it_waits() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(quick(dir.path()));
    let mut client = running.client();
    let mut send = |topic: &str, key: &str| {
        let text = format!("TIMER_DELAY_MS=500;UNIQ_KEY={key};");
        client.send_message(topic, 0, &properties(&text), key.as_bytes()).ext.get("recallHandle").unwrap().to_owned()
    };
    let handle = send("T", "same");
    send("U", "same");
    let late = send("T", "late");
    let mut recall = |topic: &str, handle: &str| {
        client.ask(370, &[("producerGroup", "PG"), ("topic", topic), ("recallHandle", handle)], b"")
    };
    for (topic, handle, code, remark) in [
        ("T", "", 604, "recall handle is invalid"),
        ("T", "xyz", 604, "recall handle is invalid"),
        ("U", &*handle, 604, "recall failed, topic not match"),
        ("Unknown", &*handle, 17, "recall failed, the topic[Unknown] not exist"),
    ] {
        let answer = recall(topic, handle);
        assert_eq!((answer.code, answer.remark.as_deref()), (code, Some(remark)));
    }
    let answer = recall("T", &handle);
    assert_eq!((answer.code, answer.ext.get("msgId")), (0, Some("same")));
    await_count(&running, "T", 1);
    await_count(&running, "U", 1);
    assert_eq!(recall("T", &late).code, 604, "it was delivered");
    await_pending(&mut client, 0);
    let keys =
        |found: Vec<(String, HashMap<String, String>)>| found.into_iter().map(|(body, _)| body).collect::<Vec<_>>();
    assert_eq!(keys(all(&mut client, "T")), ["late"], "only the topic's own was recalled");
    assert_eq!(keys(all(&mut client, "U")), ["same"]);
}

#[test]
fn an_operator_lists_cancels_and_fires_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(quick(dir.path()));
    let mut client = running.client();
    for n in 0..5 {
        let text = format!("TIMER_DELAY_SEC={};UNIQ_KEY=k{n};KEYS=order-{n};", 3600 + n);
        client.send_message("T", 2, &properties(&text), format!("m{n}").as_bytes());
    }
    let found = await_pending(&mut client, 5);
    assert_eq!(
        (&*found[3].topic, found[3].queue_id, &*found[3].unique_key, &*found[3].keys),
        ("T", 2, "k3", "order-3")
    );
    assert!((3_590_000..=3_603_100).contains(&(found[3].due - now())), "{found:?}");
    // Page by page.
    let (mut from, mut keys) = (None::<String>, Vec::new());
    loop {
        let mut fields = vec![("max", "2")];
        fields.extend(from.as_deref().map(|from| ("from", from)));
        let page: PendingTimers = serde_json::from_slice(&client.ask(90_010, &fields, b"").body).unwrap();
        assert!(page.timers.len() <= 2);
        keys.extend(page.timers.into_iter().map(|timer| timer.unique_key));
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(keys, ["k0", "k1", "k2", "k3", "k4"]);

    let handle = |n: usize| found[n].recall_handle.clone();
    assert_eq!(client.ask(90_011, &[("recallHandle", &handle(1))], b"").code, 0);
    assert_eq!(client.ask(90_012, &[("recallHandle", &handle(3))], b"").code, 0);
    let answer = client.pull(Pull { queue: 2, hold_millis: 5000, ..Pull::of("T") });
    assert_eq!(bodies(&answer), ["m3"]);
    let left: Vec<_> = await_pending(&mut client, 3).into_iter().map(|timer| timer.unique_key).collect();
    assert_eq!(left, ["k0", "k2", "k4"]);
    for (code, n) in [(90_011, 1), (90_012, 1), (90_011, 3), (90_012, 3)] {
        let answer = client.ask(code, &[("recallHandle", &handle(n))], b"");
        assert_eq!(answer.code, 604, "{:?}", answer.remark);
    }
    let unknown = RecallHandle { unique_key: "other".into(), ..RecallHandle::decode(&handle(0)).unwrap() };
    assert_eq!(client.ask(90_011, &[("recallHandle", &unknown.encode())], b"").code, 604);
    assert_eq!(client.ask(90_010, &[("from", "nowhere"), ("max", "1")], b"").code, 1);
}

#[test]
fn a_list_goes_on_behind_many_that_were_recalled() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(quick(dir.path()));
    let mut client = running.client();
    assert_eq!(list(&mut client), []);
    let due = now() + 3_600_000;
    let mut handles = Vec::new();
    for n in 0..=1000 {
        let text = format!("TIMER_DELIVER_MS={};UNIQ_KEY=k{n};", due + n / 1000 * 5000);
        let sent = client.send_message("T", 0, &properties(&text), b"m");
        handles.push(sent.ext.get("recallHandle").unwrap().to_owned());
    }
    await_pending(&mut client, 1000);
    for handle in &handles[..1000] {
        assert_eq!(client.ask(370, &[("topic", "T"), ("recallHandle", handle)], b"").code, 0);
    }
    let page = |client: &mut Client, fields: &[(&str, &str)]| {
        serde_json::from_slice::<PendingTimers>(&client.ask(90_010, fields, b"").body).unwrap()
    };
    let first = page(&mut client, &[("max", "10")]);
    assert_eq!(first.timers, []);
    let second = page(&mut client, &[("max", "10"), ("from", first.next.as_deref().unwrap())]);
    assert_eq!((second.timers.len(), &*second.timers[0].unique_key, second.next), (1, "k1000", None));
}

#[test]
fn of_operators_who_decide_at_once_one_prevails() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(Config { flush_disk_type: FlushDiskType::Sync, ..quick(dir.path()) });
    let mut client = running.client();
    for round in 0..20 {
        let text = format!("TIMER_DELAY_SEC=3600;UNIQ_KEY=k{round};");
        let sent = client.send_message("T", 0, &properties(&text), b"m");
        let handle = sent.ext.get("recallHandle").unwrap().to_owned();
        // All in one turn.
        let before = running.broker.store.max_offset("T", 0).0;
        let codes = [90_012, 90_011, 90_012, 90_012, 90_011];
        codes.iter().for_each(|code| client.send(*code, &[("recallHandle", &handle)], b""));
        let mut done: Vec<_> = codes.iter().map(|_| client.any_answer()).map(|it| (it.code, it.remark)).collect();
        done.retain(|(code, _)| *code == 0);
        assert_eq!(done.len(), 1, "{done:?}");
        assert!(running.broker.store.max_offset("T", 0).0 - before <= 1);
        assert_eq!(running.broker.store.on_disk(), running.broker.store.written());
    }
}

#[test]
fn a_broker_without_timers_makes_no_wheel() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(quick(dir.path()));
    running.client().send_message("T", 0, "", b"at once");
    running.stop();
    for name in ["timerwheel", "timerlog", "config/timercheck"] {
        assert!(!dir.path().join(name).exists(), "{name}");
    }
}

#[test]
fn a_clock_that_is_set_back_delivers_nothing_early_or_twice() {
    let dir = tempfile::tempdir().unwrap();
    let clock = store::clock::Clock::settable();
    let running = Running::start(Config { clock: clock.clone(), ..quick(dir.path()) });
    let mut client = running.client();
    client.send_message("T", 0, &properties("TIMER_DELAY_MS=200;UNIQ_KEY=a;"), b"before");
    await_count(&running, "T", 1);
    clock.set_by(-2000);
    let sent = Instant::now();
    client.send_message("T", 0, &properties("TIMER_DELAY_MS=1500;UNIQ_KEY=b;"), b"after");
    await_count(&running, "T", 2);
    assert!(sent.elapsed() >= Duration::from_millis(1500), "{:?}", sent.elapsed());
    client.send_message("T", 0, &properties("TIMER_DELAY_SEC=3600;UNIQ_KEY=c;"), b"an hour");
    await_pending(&mut client, 1);
    clock.set_by(3_600_000);
    await_count(&running, "T", 3);
    await_pending(&mut client, 0);
    assert_eq!(all(&mut client, "T").len(), 3);
}

#[test]
fn a_clock_that_is_set_back_by_a_turn_of_the_wheel_loses_nothing() {
    const HOUR: i64 = 3_600_000;
    let dir = tempfile::tempdir().unwrap();
    let clock = store::clock::Clock::settable();
    let running = Running::start(Config { clock: clock.clone(), ..quick(dir.path()) });
    let mut client = running.client();
    let turn = store::timer::SLOTS * 100;
    let due = clock.now_millis() + HOUR;
    client.send_message("T", 0, &properties("TIMER_DELAY_MS=200;UNIQ_KEY=came;"), b"came");
    client.send_message("T", 0, &properties(&format!("TIMER_DELIVER_MS={due};UNIQ_KEY=first;")), b"first");
    await_count(&running, "T", 1);
    await_pending(&mut client, 1);
    clock.set_by(HOUR / 2 - turn);
    // Its slot is that of the first.
    let due = due - turn;
    client.send_message("T", 0, &properties(&format!("TIMER_DELIVER_MS={due};UNIQ_KEY=second;")), b"second");
    await_pending(&mut client, 2);
    clock.set_by(HOUR / 2);
    await_count(&running, "T", 2);
    clock.set_by(turn);
    await_count(&running, "T", 3);
    await_pending(&mut client, 0);
    let came: Vec<_> = all(&mut client, "T").into_iter().map(|(body, _)| body).collect();
    assert_eq!(came, ["came", "second", "first"]);
}

#[test]
fn the_log_keeps_a_message_as_long_as_it_waits_and_one_far_off_only_until_it_was_put_again() {
    const HOUR: Duration = Duration::from_secs(3600);
    let dir = tempfile::tempdir().unwrap();
    let config = || Config {
        commit_log_file_size: 16 << 10,
        delete_commit_log_files_interval: Duration::ZERO,
        timer_roll_window: 15,
        ..quick(dir.path())
    };
    let running = Running::start(config());
    let mut client = running.client();
    let fill = |client: &mut Client| (0..40).for_each(|_| _ = client.send_message("T", 0, "", &[b'b'; 4000]));
    let clean = |running: &Running| {
        (0..5).for_each(|_| running.broker.clean(&|_| SystemTime::now() + HOUR * 100, 4).unwrap());
        running.broker.store.commit_log_bounds().0.0
    };
    fill(&mut client);
    let before = running.broker.store.commit_log_bounds().1.0;
    let file = before - before % (16 << 10);
    client.send_message("U", 0, &properties("TIMER_DELAY_MS=1400;UNIQ_KEY=near;"), b"near");
    client.send_message("U", 0, &properties("TIMER_DELAY_MS=4000;UNIQ_KEY=far;"), b"far");
    fill(&mut client);
    assert_eq!(clean(&running), file, "all before its file went, and no more");
    await_pending(&mut client, 2);
    drop(client);
    drop(running);
    let running = Running::start(config());
    assert_eq!(clean(&running), file, "after a kill, too");
    // It is delivered, and the other one put again; once that is noted on disk, the file may go.
    await_count(&running, "U", 1);
    let until = Instant::now() + Duration::from_secs(20);
    while clean(&running) <= file {
        assert!(Instant::now() < until, "it is not noted that it was delivered");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(running.broker.store.max_offset("U", 0).0, 1, "the other one waits still");
    fill(&mut running.client());
    await_count(&running, "U", 2);
}

#[test]
fn a_transaction_begins_to_wait_when_it_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(quick(dir.path()));
    let mut client = running.client();
    let half = properties("TRAN_MSG=true;PGROUP=PG;UNIQ_KEY=k;TIMER_DELAY_MS=600;");
    let fields = crate::client::send_fields("T", "0", &half);
    let sent = client.ask(310, &fields, b"timed");
    assert_eq!((sent.code, sent.ext.get("recallHandle")), (0, None), "{:?}", sent.remark);
    std::thread::sleep(Duration::from_millis(300));
    let committed = Instant::now();
    let half = running.broker.open_transactions(0, 1).remove(0);
    running.broker.resolve_transaction(half.offset, broker::transaction::Decision::Commit).unwrap();
    await_count(&running, "T", 1);
    assert!(committed.elapsed() >= Duration::from_millis(600), "{:?}", committed.elapsed());
    let illegal = properties("TRAN_MSG=true;PGROUP=PG;UNIQ_KEY=k;TIMER_DELAY_MS=soon;");
    assert_eq!(client.ask(310, &crate::client::send_fields("T", "0", &illegal), b"").code, 13);
}

#[test]
fn a_damaged_timer_log_is_made_again_from_the_messages_and_each_comes_once() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(quick(dir.path()));
    let mut client = running.client();
    // Long enough for all of it to be sent, and laid in, before.
    let soon = now() + 3000;
    for n in 0..10 {
        let text = format!("TIMER_DELIVER_MS={};UNIQ_KEY=k{n};", if n % 3 == 2 { soon + 1200 } else { soon });
        assert_eq!(client.send_message("T", 0, &properties(&text), format!("m{n}").as_bytes()).code, 0);
    }
    let gone = client.send_message("T", 0, &properties(&format!("TIMER_DELIVER_MS={soon};UNIQ_KEY=gone;")), b"gone");
    let handle = gone.ext.get("recallHandle").unwrap().to_owned();
    assert_eq!(client.ask(370, &[("topic", "T"), ("recallHandle", &handle)], b"").code, 0);
    await_pending(&mut client, 10);
    let file = std::fs::File::options().write(true).open(dir.path().join("timerlog/00000000000000000000")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[9; 8], 3 * 52 + 4).unwrap();
    await_count(&running, "T", 10);
    await_pending(&mut client, 0);
    let mut bodies: Vec<_> = all(&mut client, "T").into_iter().map(|(body, _)| body).collect();
    bodies.sort();
    assert_eq!(bodies, (0..10).map(|n| format!("m{n}")).collect::<Vec<_>>());
}

#[test]
fn a_tick_for_which_many_wait_takes_fewer_and_then_none() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(Config { timer_congestion: 100, ..quick(dir.path()) });
    let mut client = running.client();
    let at = now() + 60_000;
    let send = |client: &mut Client, at: i64| {
        let answer = client.send_message("T", 0, &properties(&format!("TIMER_DELIVER_MS={at};")), b"x");
        assert!(answer.code == 0 || answer.code == 1 && answer.remark.unwrap().contains("under flow control"));
        answer.code == 0
    };
    assert!((0..100).all(|_| send(&mut client, at)), "as many as that are no crowd");
    let mut taken = await_pending(&mut client, 100).len();
    for _ in 0..600 {
        if send(&mut client, at) {
            taken = await_pending(&mut client, taken + 1).len();
        }
    }
    assert!((150..=200).contains(&taken), "{taken}");
    assert!(send(&mut client, at + 10_000), "another tick is free");
}
