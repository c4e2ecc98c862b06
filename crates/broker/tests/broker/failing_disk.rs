//! A disk that is full, fails or is slow, as clients see it.

use crate::Running;
use crate::client::{Pull, bodies, config, properties, send_fields};
use broker::Config;
use broker::config::{DelayLevels, FlushDiskType};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use store::disk::{Action, Disk, Watch};

/// The disk of the commit log.
#[derive(Debug, Default)]
struct LogDisk {
    /// What writes fail with; 0: they don't.
    write_error: AtomicI32,
    sync_error: AtomicI32,
    /// How long a sync takes, ms.
    sync_millis: AtomicU64,
}

fn is_log(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "commitlog")
}

fn fails_with(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

impl Watch for LogDisk {
    fn before(&self, action: Action<'_>) -> io::Result<()> {
        match action {
            Action::Write { path, .. } if is_log(path) => fails_with(self.write_error.load(Ordering::SeqCst)),
            Action::Sync(path) if is_log(path) => {
                std::thread::sleep(Duration::from_millis(self.sync_millis.load(Ordering::SeqCst)));
                fails_with(self.sync_error.load(Ordering::SeqCst))
            }
            _ => Ok(()),
        }
    }

    fn after(&self, _: Action<'_>) {}
}

const NO_SPACE: i32 = 28;
const INPUT_OUTPUT: i32 = 5;

fn on(disk: &Arc<LogDisk>, dir: &Path) -> Config {
    let delay_levels = DelayLevels::read("1s").unwrap();
    Config { disk: Disk::watched(disk.clone()), delay_levels, ..config(dir) }
}

#[test]
fn while_the_disk_is_full_everything_is_answered_and_all_goes_on_by_itself_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(LogDisk::default());
    let running = Running::start(on(&disk, dir.path()));
    let mut client = running.client();
    client.send_message("T", 0, "", b"before");
    client.send_message("T", 0, &properties("DELAY=1;"), b"delayed");
    disk.write_error.store(NO_SPACE, Ordering::SeqCst);

    // The first is on its way already when the disk turns out to be full.
    let first = client.send_message("T", 1, "", b"first");
    let text = first.remark.unwrap();
    assert_eq!(first.code, 14, "{text}");
    assert!(text.contains("commitlog/00000000000000000000") && text.contains("free"), "{text}");
    let second = client.send_message("T", 2, "", b"second");
    assert_eq!(second.code, 14);
    assert_eq!(bodies(&client.pull(Pull::of("T"))), ["before"]);
    let commit = [("consumerGroup", "CG"), ("topic", "T"), ("queueId", "0"), ("commitOffset", "1")];
    assert_eq!(client.ask(15, &commit, b"").code, 0);
    let heartbeat = br#"{"clientID":"c","producerDataSet":[{"groupName":"PG"}],"consumerDataSet":[]}"#;
    assert_eq!(client.ask(34, &[], heartbeat).code, 0);
    let create = [
        ("topic", "New"),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", "2"),
        ("writeQueueNums", "2"),
        ("perm", "6"),
        ("topicFilterType", "SINGLE_TAG"),
        ("topicSysFlag", "0"),
        ("order", "false"),
    ];
    assert_eq!(client.ask(17, &create, b"").code, 0);
    let back = [("offset", "0"), ("group", "CG"), ("delayLevel", "0"), ("originMsgId", ""), ("originTopic", "T")];
    assert_eq!(client.ask(36, &back, b"").code, 14, "the client keeps it");
    // Until the delayed message is due, and cannot be put where it belongs.
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(client.send_message("T", 3, "", b"third").code, 14);

    disk.write_error.store(0, Ordering::SeqCst);
    let healed = Instant::now();
    while client.send_message("T", 3, "", b"behind").code != 0 {
        assert!(healed.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(bodies(&client.pull(Pull { offset: 1, hold_millis: 5000, ..Pull::of("T") })), ["delayed"]);
    assert_eq!(bodies(&client.pull(Pull { queue: 1, ..Pull::of("T") })), ["first"], "what was on its way, once");
    assert_eq!(bodies(&client.pull(Pull { queue: 3, ..Pull::of("T") })), ["behind"], "what was refused at once, never");
    // One level delivers in order: the next that comes is behind all that is still to come of the first.
    client.send_message("T", 0, &properties("DELAY=1;"), b"delayed too");
    let next = client.pull(Pull { offset: 2, hold_millis: 5000, ..Pull::of("T") });
    assert_eq!(bodies(&next), ["delayed too"], "delivered once");
    running.stop();
}

/// A disk that has no room for tables.
#[derive(Debug, Default)]
struct TableDisk {
    is_full: AtomicBool,
}

impl Watch for TableDisk {
    fn before(&self, action: Action<'_>) -> io::Result<()> {
        match action {
            Action::Write { path, .. } if path.to_string_lossy().contains("topics.json") => {
                fails_with(if self.is_full.load(Ordering::SeqCst) { NO_SPACE } else { 0 })
            }
            _ => Ok(()),
        }
    }

    fn after(&self, _: Action<'_>) {}
}

#[test]
fn a_topic_that_cannot_be_saved_is_refused_at_once_with_path_and_room_and_saved_later() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(TableDisk::default());
    let on_disk = || Config { disk: Disk::watched(disk.clone()), ..config(dir.path()) };
    let running = Running::start(on_disk());
    let mut client = running.client();
    let mut create = |topic| {
        let fields = [
            ("topic", topic),
            ("defaultTopic", "TBW102"),
            ("readQueueNums", "2"),
            ("writeQueueNums", "2"),
            ("perm", "6"),
            ("topicFilterType", "SINGLE_TAG"),
        ];
        let answer = client.ask(17, &fields, b"");
        (answer.code, answer.remark.unwrap_or_default())
    };
    assert_eq!(create("Before").0, 0);
    disk.is_full.store(true, Ordering::SeqCst);
    for topic in ["First", "Second"] {
        let began = Instant::now();
        let (code, text) = create(topic);
        assert_eq!(code, 14, "{text}");
        for part in ["config/topics.json", dir.path().to_str().unwrap(), "os error 28", "bytes are free"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // It is tried every second.
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
    disk.is_full.store(false, Ordering::SeqCst);
    let deadline = Instant::now() + Duration::from_secs(5);
    while create("First").0 != 0 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    running.stop();
    let running = Running::start(on_disk());
    assert!(running.broker.topics.get("First").is_some() && running.broker.topics.get("Second").is_some());
    running.stop();
}

#[test]
fn after_a_failed_flush_only_reading_goes_on_until_a_restart() {
    for flush_disk_type in [FlushDiskType::Sync, FlushDiskType::Async] {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(LogDisk::default());
        let config = Config { flush_disk_type, flush_interval: Duration::from_millis(1), ..on(&disk, dir.path()) };
        let running = Running::start(config);
        let mut client = running.client();
        client.send_message("T", 0, "", b"before");
        disk.sync_error.store(INPUT_OUTPUT, Ordering::SeqCst);
        let deadline = Instant::now() + Duration::from_secs(5);
        let refused = loop {
            let answer = client.send_message("T", 1, "", b"lost");
            assert!(answer.code == 14 || flush_disk_type == FlushDiskType::Async, "{answer:?}");
            if answer.code == 14 {
                break answer.remark.unwrap();
            }
            assert!(Instant::now() < deadline);
        };
        assert!(refused.contains("commitlog/0000") && refused.contains("os error 5"), "{refused}");
        disk.sync_error.store(0, Ordering::SeqCst);
        for _ in 0..3 {
            assert_eq!(client.send_message("T", 1, "", b"lost").code, 14, "nobody knows what the disk holds");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(bodies(&client.pull(Pull::of("T"))), ["before"]);
        drop(client);
        assert!(running.broker.close().is_err());
        drop(running);
        let running = Running::start(on(&disk, dir.path()));
        let mut client = running.client();
        assert_eq!(bodies(&client.pull(Pull::of("T"))), ["before"]);
        assert_eq!(client.send_message("T", 0, "", b"goes on").code, 0);
    }
}

/// With syncs that take `time`: sends are answered at their time-out, everything else at once, and what was sent is there
/// once when the disk is quick again.
fn check_slow(time: Duration, messages: usize, len: usize, most: usize) {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(LogDisk::default());
    let sync_flush_timeout = Duration::from_millis(200);
    let config = Config { flush_disk_type: FlushDiskType::Sync, sync_flush_timeout, ..on(&disk, dir.path()) };
    let running = Running::start(config);
    let mut client = running.client();
    assert_eq!(client.send_message("T", 0, "", b"before").code, 0);
    disk.sync_millis.store(time.as_millis() as u64, Ordering::SeqCst);
    let began = Instant::now();
    let body = vec![b'x'; len];
    let fields = send_fields("T", "1", "");
    for _ in 0..messages {
        client.send(310, &fields, &body);
    }
    // Beside them, on each data thread: no flush that began since can have ended yet.
    let mut others = [running.client(), running.client()];
    let mut answered = [0, 0];
    while began.elapsed() < time / 2 {
        for (other, answered) in others.iter_mut().zip(&mut answered) {
            assert_eq!(bodies(&other.pull(Pull::of("T"))), ["before"]);
            *answered += usize::from(began.elapsed() < time);
        }
    }
    assert!(
        answered.iter().all(|pulls| *pulls > 0),
        "pulls wait for the flush: {answered:?} were answered before its end"
    );
    let (mut late, mut busy) = (0, 0);
    for _ in 0..messages {
        let answer = client.any_answer();
        let text = answer.remark.unwrap_or_default();
        match answer.code {
            10 => late += 1,
            2 => {
                assert!(text.contains("commitlog") && text.contains("too slow"), "{text}");
                busy += 1;
            }
            0 => {}
            code => panic!("{code}: {text}"),
        }
    }
    assert!(late > 0, "{busy} of {messages} refused");
    assert_eq!(busy > 0, messages > most, "{busy} of {messages} refused");
    disk.sync_millis.store(0, Ordering::SeqCst);
    let deadline = Instant::now() + 3 * time + Duration::from_secs(5);
    while client.send_message("T", 2, "", b"behind").code != 0 {
        assert!(Instant::now() < deadline);
    }
    let queue = running.broker.store.queue("T", 1).unwrap();
    assert_eq!(queue.max_offset().0 as usize, messages - busy, "all that was not refused, once");
    running.stop();
}

#[test]
fn a_flush_of_half_a_second_holds_up_nobody_but_those_who_wait_for_it() {
    check_slow(Duration::from_millis(500), 20, 1000, 20);
}

#[test]
fn a_flush_of_five_seconds_bounds_what_waits_for_it() {
    check_slow(Duration::from_secs(5), 100, 1 << 20, 65);
}

#[test]
fn a_file_that_changes_under_a_running_broker_is_refused_by_name_where_it_changed_and_served_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    for n in 0..6 {
        // Those of queue 0 are sent from memory, those of queue 1 from the file.
        let len = [20_000, 60_000][n as usize % 2];
        assert_eq!(client.send_message("T", n % 2, "", &vec![b'0' + n as u8; len]).code, 0);
    }
    let log = dir.path().join("commitlog/00000000000000000000");
    let file = std::fs::OpenOptions::new().write(true).open(&log).unwrap();
    file.write_all_at(b"?", 50_000).unwrap(); // in the second message
    file.set_len(175_000).unwrap(); // the fifth begins before, the sixth behind it

    let mut pull = |queue, offset| client.pull(Pull { queue, offset, ..Pull::of("T") });
    let mut refused = |queue, offset| {
        let refused = pull(queue, offset);
        let text = refused.remark.unwrap_or_default();
        assert_eq!(refused.code, 1, "{text}");
        for part in [&*format!("message {offset} of topic `T` queue {queue}"), log.to_str().unwrap(), "byte "] {
            assert!(text.contains(part), "{part}: {text}");
        }
    };
    for _asked_again in 0..2 {
        refused(1, 0);
        refused(0, 2);
        refused(1, 2);
    }
    assert_eq!(bodies(&pull(0, 0)), ["0".repeat(20_000), "2".repeat(20_000)], "what is before it");
    assert_eq!(bodies(&pull(1, 1)), ["3".repeat(60_000)], "what is behind it");
    assert_eq!(client.send_message("T", 0, "", b"new").code, 0, "messages are taken");
    assert_eq!(bodies(&client.pull(Pull { offset: 3, ..Pull::of("T") })), ["new"]);
}

#[test]
fn a_message_that_is_sent_back_twice_is_answered_when_the_first_is_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(LogDisk::default());
    let sync_flush_timeout = Duration::from_millis(100);
    let config = Config { flush_disk_type: FlushDiskType::Sync, sync_flush_timeout, ..on(&disk, dir.path()) };
    let running = Running::start(config);
    let mut client = running.client();
    client.subscribe("CG", ("T", "TAG", "*", 1));
    assert_eq!(client.send_message("T", 0, "", b"x").code, 0);
    let fields = [("offset", "0"), ("group", "CG"), ("delayLevel", "-1"), ("unitMode", "false")];
    disk.sync_millis.store(3000, Ordering::SeqCst);
    let late = |answer: protocol::command::Command| assert_eq!(answer.code, 10, "{:?}", answer.remark);
    late(client.ask(36, &fields, b""));
    late(client.ask(36, &fields, b""));
    disk.sync_millis.store(0, Ordering::SeqCst);
    let deadline = Instant::now() + Duration::from_secs(30);
    let answer = loop {
        let answer = client.ask(36, &fields, b"");
        if answer.code == 0 {
            break answer;
        }
        assert!(Instant::now() < deadline);
    };
    assert!(answer.remark.unwrap().contains("was sent back before"));
    assert_eq!(running.broker.store.max_offset("%DLQ%CG", 0).0, 1);
}
