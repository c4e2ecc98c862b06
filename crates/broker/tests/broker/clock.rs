//! The system's clock is set, while the broker runs and between two runs.

use crate::Running;
use crate::client::{Pull, bodies, config, properties, until};
use broker::Config;
use broker::config::DelayLevels;
use std::path::Path;
use std::time::{Duration, Instant};
use store::clock::Clock;
use store::{Boundary, Clean, CommitLogOffset};

const STEPS: [i64; 2] = [-10 * 60_000, 24 * 3_600_000];

/// Long enough for a start on the slowest day; too short for a step to hide behind.
const DELAY: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(5);

fn settable(dir: &Path) -> (Clock, Config) {
    let clock = Clock::settable();
    let delay_levels = DelayLevels::read("1s 2h").unwrap();
    (clock.clone(), Config { clock, delay_levels, ..config(dir) })
}

fn wait_for(file: &Path) {
    until(&format!("that there is {}", file.display()), || file.exists());
}

fn assert_in_time(began: Instant, step: i64) {
    let took = began.elapsed();
    assert!(took >= DELAY, "clock set by {step} ms: early, after {took:?}");
    assert!(took < DELAY + LATE, "clock set by {step} ms: late, after {took:?}");
}

#[test]
fn a_delay_is_as_long_as_it_is_whatever_the_clock_is_set_to_meanwhile() {
    for_each_step(|step| {
        let dir = tempfile::tempdir().unwrap();
        let (clock, config) = settable(dir.path());
        let running = Running::start(config);
        let mut client = running.client();
        let began = Instant::now();
        client.send_message("T", 0, &properties("DELAY=1;"), b"before");
        clock.set_by(step);
        client.send_message("T", 0, &properties("DELAY=1;"), b"after");
        let mut got = Vec::new();
        while got.len() < 2 {
            let pull = Pull { offset: got.len() as i64, hold_millis: 9000, ..Pull::of("T") };
            got.extend(bodies(&client.pull(pull)));
            assert_in_time(began, step);
        }
        assert_eq!(got, ["before", "after"]);
    });
}

/// What the machine's uptime tells is known on Linux only.
#[cfg(target_os = "linux")]
#[test]
fn a_delay_is_as_long_as_it_is_whatever_the_clock_is_set_to_between_two_runs() {
    for_each_step(|step| {
        let dir = tempfile::tempdir().unwrap();
        let (clock, config) = settable(dir.path());
        let running = Running::start(config.clone());
        let began = Instant::now();
        running.client().send_message("T", 0, &properties("DELAY=1;"), b"later");
        if step > 0 {
            running.stop();
        } else {
            // As by kill -9.
            wait_for(&dir.path().join("config/clock.json"));
            drop(running);
        }
        clock.set_by(step);
        let running = Running::start(config);
        let answer = running.client().pull(Pull { hold_millis: 9000, ..Pull::of("T") });
        assert_eq!(bodies(&answer), ["later"]);
        assert_in_time(began, step);
    });
}

fn for_each_step(story: impl Fn(i64) + Sync) {
    std::thread::scope(|scope| {
        STEPS.map(|step| {
            drop(scope.spawn({
                let story = &story;
                move || story(step)
            }))
        })
    });
}

#[test]
fn a_clock_set_back_while_the_machine_was_down_makes_a_delay_start_anew_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, config) = settable(dir.path());
    let running = Running::start(config.clone());
    running.client().send_message("T", 0, &properties("DELAY=1;"), b"later");
    wait_for(&dir.path().join("config/clock.json"));
    running.stop();
    // What it knows of this start of the machine is worth nothing on another.
    let file = dir.path().join("config/clock.json");
    let known = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, known.replacen("\"boot\":\"", "\"boot\":\"not ", 1)).unwrap();
    clock.set_by(-365 * 24 * 3_600_000);

    let began = Instant::now();
    let running = Running::start(config);
    let answer = running.client().pull(Pull { hold_millis: 9000, ..Pull::of("T") });
    assert_eq!(bodies(&answer), ["later"]);
    assert_in_time(began, -365 * 24 * 3_600_000);
}

#[test]
fn store_times_never_go_back_and_a_search_by_time_never_passes_over_a_message() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, config) = settable(dir.path());
    let running = Running::start(config.clone());
    let mut client = running.client();
    let mut sent_at = Vec::new();
    for step in [0, 24 * 3_600_000, -24 * 3_600_000, -600_000, 600_000] {
        clock.set_by(step);
        sent_at.push(clock.now_millis());
        client.send_message("T", 0, "", b"m");
    }
    drop(client);
    running.stop();
    // The clock is right again, and the last messages were stored tomorrow.
    let running = Running::start(config);
    running.client().send_message("T", 0, "", b"m");
    sent_at.push(clock.now_millis());
    let store = &running.broker.store;
    let stamps: Vec<i64> = (0..6).map(|n| store.store_timestamp_of("T", 0, store::QueueOffset(n)).unwrap()).collect();
    assert!(stamps.is_sorted(), "{stamps:?}");
    for (offset, sent_at) in sent_at.into_iter().enumerate() {
        assert!(stamps[offset] >= sent_at, "no message looks older than it is: {stamps:?}");
        let found = store.search_offset("T", 0, sent_at, Boundary::Lower);
        assert!(found.0 <= offset as i64, "who starts at {sent_at} gets message {offset}, too: {found:?}");
    }
}

#[test]
fn no_file_is_deleted_before_its_time_because_the_clock_was_set() {
    const HOUR: Duration = Duration::from_secs(3600);
    let dir = tempfile::tempdir().unwrap();
    let (clock, config) = settable(dir.path());
    let config = Config { commit_log_file_size: 64 * 1024, file_reserved_time: HOUR, ..config };
    let fill = |running: &Running| {
        let mut client = running.client();
        let before = running.broker.store.commit_log_bounds().1;
        while running.broker.store.commit_log_bounds().1.0 < before.0 + 3 * 64 * 1024 {
            assert_eq!(client.send_message("T", 0, "", &[b'x'; 20_000]).code, 0);
        }
    };
    let clean = |running: &Running| {
        let store = &running.broker.store;
        store.clean(&Clean::expired(store.cautious_now(HOUR))).unwrap();
        store.commit_log_bounds().0
    };
    let running = Running::start(config.clone());
    fill(&running);
    clock.set_by(24 * 3_600_000);
    assert_eq!(clean(&running), CommitLogOffset(0), "set forward while it runs");
    fill(&running);
    running.stop();
    clock.set_by(24 * 3_600_000);
    let running = Running::start(config);
    assert_eq!(clean(&running), CommitLogOffset(0), "set forward between two runs");
    clock.set_by(-48 * 3_600_000);
    assert_eq!(clean(&running), CommitLogOffset(0), "set right again");

    // What is really old goes: the first file was written two hours before the last message.
    let old = std::time::SystemTime::now() - 2 * HOUR;
    let first = std::fs::File::options().write(true).open(dir.path().join("commitlog/00000000000000000000")).unwrap();
    first.set_modified(old).unwrap();
    assert_eq!(clean(&running), CommitLogOffset(64 * 1024));
}
