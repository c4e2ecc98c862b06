//! Clients that misbehave, against the binary: it gives back what they cost, and one that behaves notices nothing.
//!
//! `HOSTILE=1` makes each of them many (`just hostile`).

mod support;

use protocol::code::{request, response};
use protocol::command::{Command, FRAME_SIZE_MAX};
use protocol::message::QueueOffset;
use protocol::request::Request;
use protocol::request::pull::PullMessage;
use protocol::request::route::GetRoute;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use support::raw::{PATIENCE, Raw, descriptors, falls_to, frame, memory};
use support::{Dev, pull_request, send_request};

const MIB: usize = 1024 * 1024;

/// What a process may keep of a storm: an allocator gives pages back when it sees fit.
const KEPT: usize = 64 * MIB;

fn times(few: usize, many: usize) -> usize {
    if std::env::var_os("HOSTILE").is_some() { many } else { few }
}

fn start(data: &std::path::Path) -> Dev {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(Dev::start(data))
}

fn send(body: usize) -> Command {
    let mut command = send_request("T", 0, "").write();
    command.body = vec![b'x'; body].into();
    command
}

fn pull(hold: Duration) -> PullMessage {
    let mut pull = PullMessage { max_msg_nums: 1024, ..pull_request("G", "T", 0, QueueOffset(0)) };
    if !hold.is_zero() {
        pull.sys_flag |= PullMessage::SUSPEND;
        pull.suspend_timeout_millis = Some(hold.as_millis() as i64);
    }
    pull
}

fn route() -> Command {
    GetRoute { topic: "T".into(), ..GetRoute::default() }.write()
}

/// Someone who sends messages and asks for routes, one after the other, and insists on each answer.
struct Healthy {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Healthy {
    fn start(dev: &Dev) -> Healthy {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (mut broker, mut namesrv) = (Raw::connect(&dev.broker), Raw::connect(&dev.namesrv));
        let (over, count) = (stop.clone(), asked.clone());
        let thread = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                assert_eq!(broker.ask(send(100)).code, response::SUCCESS);
                assert_eq!(namesrv.ask(route()).code, response::SUCCESS);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Healthy { stop, asked, thread }
    }

    /// Until it has been answered so often from now on.
    fn until_answered(&self, more: usize) {
        let wanted = self.asked.load(Ordering::Relaxed) + more;
        let deadline = Instant::now() + PATIENCE;
        while self.asked.load(Ordering::Relaxed) < wanted {
            assert!(!self.thread.is_finished(), "a client that behaves was not served");
            assert!(Instant::now() < deadline, "a client that behaves waits");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// Every answer that `raw` is owed, by opaque.
fn answers(raw: &mut Raw, count: usize) -> HashMap<i32, Command> {
    (0..count).map(|_| raw.receive().expect("everything is answered")).map(|answer| (answer.opaque, answer)).collect()
}

/// A broker with messages in a topic, a client that behaves, and what the process is without any other.
fn beside_a_healthy_client(storm: impl FnOnce(&Dev, &Healthy)) {
    let data = tempfile::tempdir().unwrap();
    let dev = start(data.path());
    let mut first = Raw::connect(&dev.broker);
    // Messages of two queues, in turn: what one pull gets lies in pieces, and goes through memory.
    for n in 0..400 {
        let mut message = send_request("T", n % 2, "").write();
        message.body = vec![b'x'; 3000].into();
        assert_eq!(first.ask(message).code, response::SUCCESS);
    }
    // The name server hears of the topic before the producer hears of its message; so it has a route.
    let healthy = Healthy::start(&dev);
    healthy.until_answered(50);
    let (open, used) = (descriptors(dev.pid()), memory(dev.pid()));
    storm(&dev, &healthy);
    healthy.until_answered(50);
    // Files of the store may have been added.
    falls_to(open + 10, "descriptors", || descriptors(dev.pid()));
    falls_to(used + KEPT, "memory in bytes", || memory(dev.pid()));
    healthy.stop();
    assert!(dev.stop().success());
}

#[test]
fn pullers_that_never_read() {
    beside_a_healthy_client(|dev, healthy| {
        let pulls: Vec<u8> = (0..2000).flat_map(|n| frame(pull(Duration::ZERO).write(), n)).collect();
        let pullers: Vec<Raw> = (0..times(30, 500)).map(|_| Raw::connect(&dev.broker)).collect();
        pullers.iter().for_each(|raw| raw.write_beside(pulls.clone()));
        healthy.until_answered(100);
        // 2000 × 256 KiB are owed to each; what lies in the process is 256 KiB for each, and a reply.
        let used = memory(dev.pid());
        assert!(used < pullers.len().min(300) * MIB + 128 * MIB, "{} MiB for {} pullers", used / MIB, pullers.len());
    });
}

#[test]
fn idle_resetting_and_half_speaking_ones() {
    beside_a_healthy_client(|dev, healthy| {
        let idle: Vec<Raw> =
            (0..times(1000, 4500)).flat_map(|_| [Raw::connect(&dev.broker), Raw::connect(&dev.namesrv)]).collect();
        healthy.until_answered(10);
        let bytes = frame(send(50_000), 1);
        let halves: Vec<Raw> = (0..times(100, 1000))
            .map(|n| {
                let mut raw = Raw::connect(if n % 2 == 0 { &dev.broker } else { &dev.namesrv });
                raw.write(&bytes[..bytes.len() * n / times(100, 1000)]);
                raw
            })
            .collect();
        healthy.until_answered(10);
        for n in 0..times(600, 20_000) {
            let mut raw = Raw::connect(if n % 2 == 0 { &dev.broker } else { &dev.namesrv });
            match n % 3 {
                0 => raw.write(&bytes[..n % bytes.len()]),
                1 => raw.write(&frame(pull(Duration::from_secs(20)).write(), 1)),
                _ => {}
            }
            raw.reset();
        }
        healthy.until_answered(10);
        drop((idle, halves));
    });
}

#[test]
fn frames_that_are_none_and_replies_that_nobody_wants() {
    beside_a_healthy_client(|dev, healthy| {
        let huge = (FRAME_SIZE_MAX as u32).to_be_bytes();
        let nonsense: [&[u8]; 9] = [
            &[0; 8],                                      // a length of 0
            &[0, 0, 0, 3, 0, 0, 0],                       // too short for its header's length
            &[0xff; 16],                                  // a negative length
            &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0],        // the largest there is
            &[huge[0], huge[1], huge[2], huge[3], 0],     // just over the limit
            &[0, 0, 0, 5, 0, 0, 0, 2, b'{'],              // a header beyond its frame
            &[0, 0, 0, 6, 2, 0, 0, 2, b'{', b'}'],        // an encoding that there is not
            &[0, 0, 0, 6, 0, 0, 0, 2, 0xff, 0xfe],        // no text
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", // another protocol
        ];
        for address in [&dev.broker, &dev.namesrv] {
            for _ in 0..times(3, 1000) {
                for bytes in nonsense {
                    let mut raw = Raw::connect(address);
                    raw.write(&frame(route(), 7));
                    raw.write(bytes);
                    assert_eq!(raw.receive().map(|answer| answer.opaque), Some(7), "what came before is answered");
                    assert!(raw.receive().is_none(), "{bytes:?}");
                }
            }
        }
        healthy.until_answered(1);
        let output = dev.output();
        assert_eq!(output.matches("not RocketMQ's protocol").count(), 1, "{output}");
        drop(output);

        let replies: Vec<u8> = (0..1000).flat_map(|opaque| frame(Command::response(0), opaque)).collect();
        let mut chatty = [Raw::connect(&dev.broker), Raw::connect(&dev.namesrv)];
        for _ in 0..times(50, 500) {
            chatty.iter_mut().for_each(|raw| raw.write(&replies));
        }
        for raw in &mut chatty {
            assert_eq!(raw.ask(route()).opaque, 1, "no reply of a reply");
        }
    });
}

#[test]
fn bodies_over_the_limit_requests_nobody_knows_and_opaques_used_twice() {
    beside_a_healthy_client(|dev, healthy| {
        let mut raw = Raw::connect(&dev.broker);
        let limit = 4 * MIB;
        for (size, code) in
            [(limit, response::SUCCESS), (limit + 1, response::MESSAGE_ILLEGAL), (15 * MIB, response::MESSAGE_ILLEGAL)]
        {
            let answer = raw.ask(send(size));
            assert_eq!(answer.code, code, "{size} bytes: {:?}", answer.remark);
        }
        assert_eq!(raw.ask(Command::request(31_415)).code, response::REQUEST_CODE_NOT_SUPPORTED);
        assert_eq!(raw.ask(Command::request(request::PULL_MESSAGE)).code, response::SYSTEM_ERROR, "a pull of nothing");
        // A held pull, and behind it others of the same number.
        let mut held = pull(Duration::from_millis(300));
        held.queue_id = 3;
        raw.write(&[frame(held.write(), 5), frame(send(1), 5), frame(send(1), 5)].concat());
        let codes = [0; 3].map(|_| raw.receive().map(|answer| (answer.opaque, answer.code)));
        assert_eq!(codes, [Some((5, 0)), Some((5, 0)), Some((5, response::PULL_NOT_FOUND))]);
        // Thousands that wait do not hold up what comes behind them.
        let count = times(10_000, 60_000);
        let mut held = pull(Duration::from_secs(3));
        held.queue_id = 3;
        raw.write_beside((0..count).flat_map(|n| frame(held.write(), n as i32)).collect());
        let mut other = Raw::connect(&dev.broker);
        assert_eq!(other.ask(send(10)).code, response::SUCCESS);
        healthy.until_answered(10);
        let answers = answers(&mut raw, count);
        assert_eq!(answers.len(), count, "each is answered once");
        assert!(answers.values().all(|answer| answer.code == response::PULL_NOT_FOUND));
    });
}

#[test]
fn large_messages_from_many_at_a_time() {
    beside_a_healthy_client(|dev, healthy| {
        let (connections, each) = (times(100, 400), 4);
        let one: Vec<u8> = (0..each).flat_map(|n| frame(send(3 * MIB), n)).collect();
        let mut senders: Vec<Raw> = (0..connections).map(|_| Raw::connect(&dev.broker)).collect();
        senders.iter().for_each(|raw| raw.write_beside(one.clone()));
        healthy.until_answered(20);
        for raw in &mut senders {
            let answers = answers(raw, each as usize);
            assert!(answers.len() == each as usize && answers.values().all(|answer| answer.code == response::SUCCESS));
        }
        // Each has a turn: twice the 256 MiB, as buffers grow by doubling, and what the store has not written yet.
        let used = memory(dev.pid());
        assert!(used < 1024 * MIB, "{} MiB", used / MIB);
    });
}

/// As many requests a second as are answered when each waits for the one before it; then twice as many, on more
/// connections, whether answers come or not.
#[test]
fn twice_what_it_can_take_is_answered_all_the_same() {
    let data = tempfile::tempdir().unwrap();
    let dev = start(data.path());
    let (connections, time) = (8, Duration::from_secs(times(1, 30) as u64));
    let threads: Vec<_> = (0..connections)
        .map(|_| {
            let mut raw = Raw::connect(&dev.broker);
            std::thread::spawn(move || {
                let (begun, mut answered) = (Instant::now(), 0);
                while begun.elapsed() < time {
                    raw.write(&(0..16).flat_map(|n| frame(send(1000), n)).collect::<Vec<_>>());
                    answered += answers(&mut raw, 16).len();
                }
                answered
            })
        })
        .collect();
    let capacity: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();

    let used = memory(dev.pid());
    let each = 2 * capacity / connections;
    let threads: Vec<_> = (0..connections)
        .map(|_| {
            let mut raw = Raw::connect(&dev.broker);
            let mut socket = raw.socket.try_clone().unwrap();
            let offer = std::thread::spawn(move || {
                let begun = Instant::now();
                for n in 0..each {
                    let due = time.mul_f64(n as f64 / each as f64);
                    std::thread::sleep(due.saturating_sub(begun.elapsed()));
                    socket.write_all(&frame(send(1000), n as i32)).unwrap();
                }
            });
            std::thread::spawn(move || {
                let answers = answers(&mut raw, each);
                offer.join().unwrap();
                assert_eq!(answers.len(), each, "each is answered once");
                let refused = answers.values().filter(|answer| answer.code != response::SUCCESS).count();
                assert_eq!(refused, 0, "what can't be taken yet waits in front of the broker");
            })
        })
        .collect();
    let mut other = Raw::connect(&dev.broker);
    while !threads.iter().all(|thread| thread.is_finished()) {
        assert_eq!(other.ask(send(10)).code, response::SUCCESS);
        std::thread::sleep(Duration::from_millis(10));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    falls_to(used + KEPT, "memory in bytes", || memory(dev.pid()));
}

#[test]
fn out_of_descriptors_it_serves_those_it_has_and_says_so_once() {
    let data = tempfile::tempdir().unwrap();
    let dev = start(data.path());
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", dev.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<&str> = files.split_whitespace().collect();
    assert_eq!(words[3], words[4], "it takes what it may have: {files}");

    let mut early = Raw::connect(&dev.broker);
    assert_eq!(early.ask(send(10)).code, response::SUCCESS);
    let limit = Rlimit { current: Some(200), maximum: Some(200) };
    prlimit(Pid::from_raw(dev.pid() as i32), Resource::Nofile, limit).unwrap();
    let mut crowd: Vec<Raw> = (0..400).map(|_| Raw::connect(&dev.broker)).collect();
    let mut refused = 0;
    for raw in &mut crowd {
        // Those that were refused are closed already, or will be.
        let _ = raw.socket.write_all(&frame(send(10), 1));
        match raw.receive() {
            Some(answer) => assert_eq!(answer.code, response::SUCCESS),
            None => refused += 1,
        }
    }
    assert!((200..400).contains(&refused), "{refused} of 400 were refused");
    assert!(descriptors(dev.pid()) <= 160, "a fifth is left for files");
    assert_eq!(early.ask(send(3 * MIB)).code, response::SUCCESS);
    drop(crowd);
    falls_to(100, "descriptors", || descriptors(dev.pid()));
    assert_eq!(Raw::connect(&dev.broker).ask(send(10)).code, response::SUCCESS);
    let output = dev.output();
    assert_eq!(output.matches("connections are refused").count(), 1, "{output}");
}
