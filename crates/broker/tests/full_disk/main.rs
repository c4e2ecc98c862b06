//! A broker on a disk that is really full: a tmpfs of 100 MiB.
//!
//! To mount one takes rights that not everybody has. Without them this says that it was not run: hence no test harness,
//! which knows only passed and failed. The same is told with injected errors in `broker/failing_disk.rs`.

#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "../broker/client.rs"]
mod client;

use broker::Config;
use broker::config::DelayLevels;
use client::{Client, Pull, Running, bodies, config, properties};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};
use store::{Clean, SpaceState};

const MIB: usize = 1 << 20;
/// So soon messages are taken again.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// A test: its name, and what it does in the directory of a small disk.
type Test = (&'static str, fn(&Path));

const TESTS: &[Test] = &[
    (
        "with_the_files_of_a_large_disk_messages_are_refused_when_it_is_full_and_taken_again_when_somebody_makes_room",
        somebody_makes_room,
    ),
    ("a_broker_starts_with_not_a_byte_free_and_serves_what_is_there", starts_on_a_full_disk),
    ("deleting_old_files_makes_room", deleting_old_files_makes_room),
    ("a_full_disk_makes_room_by_itself_with_the_oldest_messages", the_oldest_make_room),
    ("a_disk_of_which_much_is_used_takes_messages_as_long_as_there_is_room", much_is_used),
];

fn main() {
    let filters: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = TESTS.iter().filter(|(name, _)| filters.is_empty() || filters.iter().any(|part| name.contains(part)));
    if std::env::args().any(|argument| argument == "--list") {
        return wanted.for_each(|(name, _)| println!("{name}: test"));
    }
    let (mut passed, mut ignored) = (0, 0);
    for (name, test) in wanted {
        match SmallDisk::mount() {
            Some(disk) => {
                test(disk.dir.path());
                println!("test {name} ... ok");
                passed += 1;
            }
            None => {
                println!("test {name} ... ignored, this user may not mount a tmpfs");
                ignored += 1;
            }
        }
    }
    println!("\ntest result: ok. {passed} passed; 0 failed; {ignored} ignored\n");
}

struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=100m", "tmpfs"]).arg(dir.path()).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then_some(SmallDisk { dir })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: when a test failed, its broker may still have files open.
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

/// Sends until the disk is full. Says how many were taken, and the text of the refusal.
fn fill(client: &mut Client, body: &[u8]) -> (usize, String) {
    for taken in 0.. {
        let answer = client.send_message("T", 0, "", body);
        if answer.code != 0 {
            let text = answer.remark.unwrap_or_default();
            assert_eq!(answer.code, 14, "{text}");
            return (taken, text);
        }
        assert!(taken * body.len() < 100 * MIB, "a disk of 100 MiB does not hold that");
    }
    unreachable!()
}

fn wait_until_taken(client: &mut Client) {
    let began = Instant::now();
    while client.send_message("T", 1, "", b"taken again").code != 0 {
        assert!(began.elapsed() < BACK_WITHIN, "{}", client.send_message("T", 1, "", b"").remark.unwrap_or_default());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// All messages of a queue from `from` on are there.
fn count(client: &mut Client, queue: i32, from: i64) -> i64 {
    let mut next = from;
    loop {
        let answer = client.pull(Pull { queue, offset: next, ..Pull::of("T") });
        if answer.code != 0 {
            return next;
        }
        next += bodies(&answer).len() as i64;
    }
}

fn starts_on_a_full_disk(dir: &Path) {
    let config = || Config { store_root: dir.join("store"), listen_port: 0, name: "b1".into(), ..Config::default() };
    let running = Running::start(config());
    let mut client = running.client();
    (0..50).for_each(|_| assert_eq!(client.send_message("T", 0, "", b"there").code, 0));
    running.stop();
    let mut others = fs::File::create(dir.join("somebody-else's")).unwrap();
    for len in [MIB, 4096] {
        while others.write(&vec![1; len]).is_ok() {}
    }

    let running = Running::start(config());
    let mut client = running.client();
    assert_eq!(count(&mut client, 0, 0), 50);
    let refused = client.send_message("T", 0, "", b"x");
    assert_eq!(refused.code, 14, "{}", refused.remark.unwrap_or_default());
    let create = [
        ("topic", "New"),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", "2"),
        ("writeQueueNums", "2"),
        ("perm", "6"),
        ("topicFilterType", "SINGLE_TAG"),
    ];
    let began = Instant::now();
    let refused = client.ask(17, &create, b"");
    let text = refused.remark.unwrap_or_default();
    assert_eq!(refused.code, 14, "{text}");
    assert!(text.contains("topics.json") && text.contains("0 bytes are free"), "{text}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    drop(others);
    fs::remove_file(dir.join("somebody-else's")).unwrap();
    wait_until_taken(&mut client);
    running.stop();
}

fn somebody_makes_room(dir: &Path) {
    let others = dir.join("somebody-else's");
    fs::write(&others, vec![1; 40 * MIB]).unwrap();
    let config = || Config {
        store_root: dir.join("store"),
        listen_port: 0,
        delay_levels: DelayLevels::read("1s").unwrap(),
        name: "b1".into(),
        ..Config::default()
    };
    let running = Running::start(config());
    let mut client = running.client();
    let body = vec![b'x'; 64 << 10];
    assert_eq!(client.send_message("T", 2, &properties("DELAY=1;"), b"delayed").code, 0);
    let (taken, text) = fill(&mut client, &body);
    assert!(taken * body.len() > 40 * MIB, "{taken} messages found room");
    for part in [dir.to_str().unwrap(), "is full", "MiB are free", "12.5 MiB must be", "fileReservedTime"] {
        assert!(text.contains(part), "{part}: {text}");
    }

    assert_eq!(count(&mut client, 0, 0), taken as i64, "pulls go on");
    let commit = [("consumerGroup", "CG"), ("topic", "T"), ("queueId", "0"), ("commitOffset", "1")];
    assert_eq!(client.ask(15, &commit, b"").code, 0);
    let heartbeat = br#"{"clientID":"c","producerDataSet":[{"groupName":"PG"}],"consumerDataSet":[]}"#;
    assert_eq!(client.ask(34, &[], heartbeat).code, 0);
    assert_eq!(client.send_message("Another", 0, "", b"x").code, 14);
    let back = [("offset", "0"), ("group", "CG"), ("delayLevel", "0"), ("originMsgId", ""), ("originTopic", "T")];
    assert_eq!(client.ask(36, &back, b"").code, 14, "the client keeps what it could not consume");

    fs::remove_file(&others).unwrap();
    wait_until_taken(&mut client);
    let delayed = client.pull(Pull { queue: 2, hold_millis: 5000, ..Pull::of("T") });
    assert_eq!(bodies(&delayed), ["delayed"]);

    let (more, _) = fill(&mut client, &body);
    assert!(more * body.len() > 30 * MIB);
    running.stop();
    let running = Running::start(config());
    assert_eq!(count(&mut running.client(), 0, 0), (taken + more) as i64, "a full disk stops and starts in order");
    running.stop();
}

fn deleting_old_files_makes_room(dir: &Path) {
    let running = Running::start(Config { clean_file_forcibly: false, ..config(dir) });
    let mut client = running.client();
    let (taken, _) = fill(&mut client, &vec![b'x'; 256 << 10]);
    assert_eq!(running.broker.store.space().unwrap().state, SpaceState::Full);
    let two_files = Clean { wanted: 32 << 20, ..Clean::expired(SystemTime::now()) };
    assert_eq!(running.broker.store.clean(&two_files).unwrap().commit_log, 2);
    wait_until_taken(&mut client);
    let min = running.broker.store.min_offset("T", 0).0;
    assert!(min > 0);
    assert_eq!(count(&mut client, 0, min), taken as i64);
    running.stop();
}

fn the_oldest_make_room(dir: &Path) {
    let running = Running::start(config(dir));
    let mut client = running.client();
    let body = vec![b'x'; 1 << 20];
    let began = Instant::now();
    let mut taken = 0;
    while taken < 200 {
        match client.send_message("T", 0, "", &body).code {
            0 => taken += 1,
            14 => std::thread::sleep(Duration::from_millis(20)),
            code => panic!("{code}"),
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{taken} MiB in half a minute");
    }
    let min = running.broker.store.min_offset("T", 0).0;
    assert!(
        (100..185).contains(&min),
        "two hundred went through a disk of a hundred, and no more went than had to: {min}"
    );
    assert_eq!(count(&mut client, 0, min), 200);
    running.stop();
}

fn much_is_used(dir: &Path) {
    fs::write(dir.join("somebody-else's"), vec![1; 78 * MIB]).unwrap();
    let running = Running::start(config(&dir.join("bytes")));
    assert_eq!(running.client().send_message("T", 0, "", b"x").code, 0, "78 % and more are used");
    assert_eq!(running.broker.store.space().unwrap().state, SpaceState::Enough);
    running.stop();
    let asked = Config { disk_space_warning_level_ratio: Some(75), ..config(&dir.join("percent")) };
    let running = Running::start(asked);
    let answer = running.client().send_message("T", 0, "", b"x");
    assert_eq!(answer.code, 14, "diskSpaceWarningLevelRatio=75: {answer:?}");
    running.stop();
}
