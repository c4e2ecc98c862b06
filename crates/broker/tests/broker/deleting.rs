use crate::client::{Pull, bodies, config, messages, properties};
use crate::{Client, Running};
use broker::Config;
use broker::config::DelayLevels;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};
use store::disk::{Action, Disk, Watch};

const HOUR: Duration = Duration::from_secs(3600);

fn strict(dir: &Path) -> Config {
    Config { auto_create_topic: false, ..config(dir) }
}

fn create(client: &mut Client, topic: &str, attributes: &str) {
    let fields = [
        ("topic", topic),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", "2"),
        ("writeQueueNums", "2"),
        ("perm", "6"),
        ("topicFilterType", "SINGLE_TAG"),
        ("topicSysFlag", "0"),
        ("order", "false"),
        ("attributes", attributes),
    ];
    let answer = client.ask(17, &fields, b"");
    assert_eq!((answer.code, answer.remark), (0, None));
}

fn delete_topic(client: &mut Client, topic: &str) {
    let answer = client.ask(215, &[("topic", topic)], b"");
    assert_eq!((answer.code, answer.remark, answer.body.len()), (0, None, 0));
}

fn delete_group(client: &mut Client, group: &str, clean_offset: &str) {
    let answer = client.ask(207, &[("groupName", group), ("cleanOffset", clean_offset)], b"");
    assert_eq!((answer.code, answer.remark, answer.body.len()), (0, None, 0));
}

fn commit(client: &mut Client, group: &str, topic: &str, offset: i64) {
    let fields = [("consumerGroup", group), ("topic", topic), ("queueId", "0"), ("commitOffset", &offset.to_string())];
    assert_eq!(client.ask(15, &fields, b"").code, 0);
}

/// The group's offset. Without one, what a young queue begins with counts as none.
fn committed(client: &mut Client, group: &str, topic: &str) -> Option<String> {
    let fields = [("consumerGroup", group), ("topic", topic), ("queueId", "0"), ("setZeroIfNotFound", "false")];
    let answer = client.ask(14, &fields, b"");
    (answer.code == 0).then(|| answer.ext.get("offset").unwrap().to_owned())
}

fn send(client: &mut Client, topic: &str, readable: &str, body: &str) -> String {
    let answer = client.send_message(topic, 0, &properties(readable), body.as_bytes());
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    answer.ext.get("queueOffset").unwrap().to_owned()
}

#[test]
fn a_topic_goes_with_all_that_is_kept_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(strict(dir.path()));
    let mut client = running.client();
    create(&mut client, "T", "");
    create(&mut client, "U", "");
    send(&mut client, "T", "KEYS=k1;", "old");
    send(&mut client, "T", "DELAY=1;", "would come later");
    commit(&mut client, "CG", "T", 1);
    commit(&mut client, "CG", "U", 0);
    delete_topic(&mut client, "T");

    let gone = |client: &mut Client| {
        assert_eq!(client.send_message("T", 0, "", b"x").code, 17);
        assert_eq!(client.pull(Pull::of("T")).code, 17);
        assert_eq!(committed(client, "CG", "T"), None);
        let key = [("topic", "T"), ("key", "k1"), ("maxNum", "9"), ("beginTimestamp", "0")];
        let key = [&key[..], &[("endTimestamp", "9999999999999")]].concat();
        assert_eq!(client.ask(12, &key, b"").code, 22);
        assert_eq!(client.ask(33, &[("offset", "0")], b"").code, 1, "by its id");
        assert_eq!(committed(client, "CG", "U").as_deref(), Some("0"), "others stay");
    };
    gone(&mut client);
    assert!(!dir.path().join("consumequeue/T").exists());
    let table = |name: &str| std::fs::read_to_string(dir.path().join("config").join(name)).unwrap();
    assert!(!table("topics.json").contains("\"T\"") && !table("consumerOffset.json").contains("T@CG"));

    create(&mut client, "T", "");
    send(&mut client, "U", "DELAY=1;", "witness");
    let answer = client.pull(Pull { hold_millis: 5000, ..Pull::of("U") });
    assert_eq!(bodies(&answer), ["witness"]);
    assert_eq!(client.pull(Pull::of("T")).code, 19, "what was to come later does not come");
    assert_eq!(send(&mut client, "T", "", "new"), "0");
    assert_eq!(bodies(&client.pull(Pull::of("T"))), ["new"]);
    delete_topic(&mut client, "T");
    drop(running);
    let running = Running::start(strict(dir.path()));
    gone(&mut running.client());
}

#[test]
fn a_held_pull_hears_that_its_topic_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let (mut admin, mut consumer) = (running.client(), running.client());
    send(&mut admin, "T", "", "m0");
    consumer.send_pull(Pull { offset: 1, hold_millis: 15_000, ..Pull::of("T") });
    let mut other = running.client();
    other.send_pull(Pull { queue: 1, hold_millis: 15_000, ..Pull::of("T") });
    // One that is held makes its queue.
    while running.broker.store.queue("T", 1).is_none() {
        std::thread::yield_now();
    }
    let began = Instant::now();
    delete_topic(&mut admin, "T");
    assert_eq!((consumer.answer().code, other.answer().code), (17, 17));
    assert!(began.elapsed() < Duration::from_secs(9));
}

#[test]
fn what_nobody_may_delete_is_refused_and_what_nobody_has_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::without_clock(config(dir.path()));
    let mut client = running.client();
    for (topic, remark) in [
        ("", "The specified topic is blank."),
        (" ", "The specified topic is blank."),
        ("TBW102", "The topic[TBW102] is conflict with system topic."),
        ("SCHEDULE_TOPIC_XXXX", "The topic[SCHEDULE_TOPIC_XXXX] is conflict with system topic."),
        ("b1", "The topic[b1] is conflict with system topic."),
        ("DefaultCluster", "The topic[DefaultCluster] is conflict with system topic."),
    ] {
        let answer = client.ask(215, &[("topic", topic)], b"");
        assert_eq!((answer.code, answer.remark.as_deref()), (29, Some(remark)));
    }
    for topic in ["never-there", "../config", "%RETRY%nobody"] {
        delete_topic(&mut client, topic);
    }
    assert!(dir.path().join("config").exists());
    delete_group(&mut client, "nobody", "true");
}

#[test]
fn a_hundred_lives_of_a_topic_begin_at_0() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::without_clock(strict(dir.path()));
    for life in 0..100 {
        let mut client = running.client();
        running.broker.topics.put(protocol::topic::TopicConfig::new("T", 2, 6), None, 1).unwrap();
        assert_eq!(committed(&mut client, "CG", "T"), None, "{life}");
        for n in 0..3 {
            assert_eq!(send(&mut client, "T", "KEYS=k;DELAY=0;", &format!("{life}-{n}")), n.to_string());
        }
        let got = client.pull(Pull::of("T"));
        assert_eq!(bodies(&got), [0, 1, 2].map(|n| format!("{life}-{n}")));
        commit(&mut client, "CG", "T", 3);
        // Killed with the topic there, or gone; or stopped.
        if life % 10 == 3 {
            drop(running);
            running = Running::without_clock(strict(dir.path()));
            running.broker.topics.put(protocol::topic::TopicConfig::new("T", 2, 6), None, 1).unwrap();
            assert_eq!(bodies(&running.client().pull(Pull::of("T"))).len(), 3);
        }
        delete_topic(&mut running.client(), "T");
        if life % 10 == 6 {
            drop(running);
            running = Running::without_clock(strict(dir.path()));
        } else if life % 10 == 9 {
            running.stop();
            running = Running::without_clock(strict(dir.path()));
        }
        assert_eq!(running.client().pull(Pull::of("T")).code, 17, "{life}");
    }
}

/// From its `left`th action on nothing more is done to files: as for a process that was killed there.
#[derive(Debug)]
struct KilledAt {
    armed: AtomicBool,
    left: AtomicUsize,
}

impl Watch for KilledAt {
    fn before(&self, action: Action<'_>) -> io::Result<()> {
        if !self.armed.load(Ordering::SeqCst) || matches!(action, Action::Read { .. }) {
            return Ok(());
        }
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Ok(()),
            Err(_) => Err(io::Error::other("killed")),
        }
    }

    fn after(&self, _: Action<'_>) {}
}

#[test]
fn a_broker_killed_while_it_deletes_deletes_the_rest_when_asked_again() {
    for left in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let killed = Arc::new(KilledAt { armed: AtomicBool::new(false), left: AtomicUsize::new(left) });
        let running = Running::without_clock(Config { disk: Disk::watched(killed.clone()), ..strict(dir.path()) });
        let mut client = running.client();
        create_offline(&running, "T");
        send(&mut client, "T", "", "old");
        commit(&mut client, "CG", "T", 1);
        killed.armed.store(true, Ordering::SeqCst);
        let deleted = client.ask(215, &[("topic", "T")], b"").code == 0;
        drop(running);

        let running = Running::without_clock(strict(dir.path()));
        let mut client = running.client();
        if deleted {
            assert_eq!(client.pull(Pull::of("T")).code, 17);
        } else {
            delete_topic(&mut client, "T");
        }
        create_offline(&running, "T");
        assert_eq!(committed(&mut client, "CG", "T"), None, "{left}");
        assert_eq!(send(&mut client, "T", "", "new"), "0", "{left}");
        assert_eq!(bodies(&client.pull(Pull::of("T"))), ["new"], "{left}");
        if deleted {
            assert!(left > 10, "{left} actions are all that a deletion takes?");
            break;
        }
    }
}

/// Creates a topic where nothing is saved by itself.
fn create_offline(running: &Running, topic: &str) {
    running.broker.topics.put(protocol::topic::TopicConfig::new(topic, 2, 6), None, 1).unwrap();
}

#[test]
fn a_group_goes_with_its_offsets_and_its_retries_if_that_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    send(&mut client, "T", "", "m0");
    let heartbeat = br#"{"clientID":"c","producerDataSet":[],"consumerDataSet":[{"groupName":"CG","consumeType":
        "CONSUME_PASSIVELY","messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_LAST_OFFSET",
        "subscriptionDataSet":[]}]}"#;
    client.ask(34, &[], heartbeat);
    let back = |client: &mut Client, level: &str| {
        let fields =
            [("offset", "0"), ("group", "CG"), ("delayLevel", level), ("originTopic", "T"), ("originMsgId", "ID")];
        assert_eq!(client.ask(36, &fields, b"").code, 0);
    };
    back(&mut client, "1");
    let again = Pull { group: "other", hold_millis: 5000, ..Pull::of("%RETRY%CG") };
    assert_eq!(bodies(&client.pull(again)), ["m0"]);
    back(&mut client, "-1");
    commit(&mut client, "CG", "T", 1);

    delete_group(&mut client, "CG", "false");
    assert!(!std::fs::read_to_string(dir.path().join("config/subscriptionGroup.json")).unwrap().contains("\"CG\""));
    assert_eq!(committed(&mut client, "CG", "T").as_deref(), Some("1"), "its offsets stay");
    assert_eq!(bodies(&client.pull(again)), ["m0"], "and its retries");

    // One that waits is waiting when the group goes.
    back(&mut client, "2");
    delete_group(&mut client, "CG", "true");
    assert_eq!(committed(&mut client, "CG", "T"), None);
    assert_eq!(client.pull(again).code, 17);
    assert_eq!(running.broker.store.max_offset("%RETRY%CG", 0), store::QueueOffset(0));
    assert!(running.broker.store.begin_of("%RETRY%CG") > store::CommitLogOffset(0));
    assert_eq!(messages(&client.pull(Pull { group: "other", ..Pull::of("%DLQ%CG") })).len(), 1, "dead letters stay");
}

#[test]
fn a_topics_attributes_say_how_much_of_it_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    create(&mut client, "T", "+reserve.time=1");
    create(&mut client, "U", "+reserve.time=720,+reserve.bytes=1000");
    (0..5).for_each(|n| _ = send(&mut client, "T", "", &format!("m{n}")));
    (0..20).for_each(|n| _ = send(&mut client, "U", "", &format!("m{n}")));
    let later = SystemTime::now() + HOUR * 2;
    running.broker.clean(&|_| later, 0).unwrap();
    let answer = client.pull(Pull::of("T"));
    let fields = ["nextBeginOffset", "minOffset", "maxOffset"].map(|key| answer.ext.get(key).unwrap().to_owned());
    assert_eq!((answer.code, answer.remark.as_deref()), (21, Some("OFFSET_TOO_SMALL")));
    assert_eq!(fields, ["5", "5", "5"]);
    let min = client.ask(31, &[("topic", "U"), ("queueId", "0")], b"").ext.get("offset").unwrap().to_owned();
    assert!((5..19).contains(&min.parse::<i32>().unwrap()), "{min}");
    drop(running);

    let running = Running::without_clock(config(dir.path()));
    let mut client = running.client();
    let answer = client.ask(31, &[("topic", "U"), ("queueId", "0")], b"");
    assert_eq!(answer.ext.get("offset"), Some(min.as_str()), "after a crash the same follows");
    let refused = |client: &mut Client, attributes: &str| {
        let fields = [("topic", "T"), ("readQueueNums", "1"), ("writeQueueNums", "1"), ("perm", "6")];
        let fields = [&fields[..], &[("attributes", attributes)]].concat();
        client.ask(17, &fields, b"").remark.unwrap()
    };
    assert!(refused(&mut client, "+reserve.bytes=1G").contains("a number"));
}

#[test]
fn a_delay_that_is_longer_than_messages_are_kept_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let delays = |text| DelayLevels::read(text).unwrap();
    let config = |levels| Config {
        commit_log_file_size: 16 << 10,
        file_reserved_time: HOUR,
        delete_commit_log_files_interval: Duration::ZERO,
        delay_levels: delays(levels),
        ..config(dir.path())
    };
    let running = Running::start(config("1s 2h"));
    let mut client = running.client();
    let fill = |client: &mut Client| (0..40).for_each(|_| _ = send(client, "T", "", &"b".repeat(4000)));
    let min = |running: &Running| running.broker.store.commit_log_bounds().0.0;
    fill(&mut client);
    let before = running.broker.store.commit_log_bounds().1.0;
    send(&mut client, "U", "DELAY=2;", "later");
    fill(&mut client);
    for _ in 0..5 {
        running.broker.clean(&|_| SystemTime::now() + HOUR * 2, 4).unwrap();
    }
    assert_eq!(min(&running), before - before % (16 << 10), "all before its file went, and no more");
    drop(running);

    // Due at once, when the operator says so.
    let running = Running::start(config("1s 1s"));
    let mut client = running.client();
    let answer = client.pull(Pull { hold_millis: 9000, ..Pull::of("U") });
    assert_eq!(bodies(&answer), ["later"]);
    running.stop();
    let running = Running::without_clock(config("1s 1s"));
    for _ in 0..5 {
        running.broker.clean(&|_| SystemTime::now() + HOUR * 2, 4).unwrap();
    }
    assert!(min(&running) > before + (16 << 10), "delivered, it holds nothing up");
}
