//! Every table of `config/`, damaged in every way: what holds, and what is refused by name.

use crate::client::{Client, Pull, Running, bodies, config, properties};
use broker::config::DelayLevels;
use broker::{Broker, Config, OpenError};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const TABLES: [&str; 5] =
    ["topics.json", "subscriptionGroup.json", "consumerOffset.json", "delayOffset.json", "deletedTopics.json"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Deleted,
    Emptied,
    HalfWritten,
    /// Replaced by a copy from before there was anything.
    Older,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bak {
    /// The state before the last save.
    Sound,
    /// Damaged as the table itself.
    Damaged,
}

/// Whose groups and topics are made on purpose, or not at all.
fn strict(dir: &Path) -> Config {
    let delay_levels = DelayLevels::read("1s").unwrap();
    Config {
        auto_create_topic: false,
        auto_create_subscription_group: false,
        delay_levels,
        commit_log_file_size: 64 << 10,
        ..config(dir)
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => _ = fs::copy(entry.path(), target).unwrap(),
        }
    }
}

/// In memory, if the machine has such a place: many brokers are opened.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// A broker's directory, and its `config/` from before there was anything.
struct Made {
    dir: TempDir,
    older: TempDir,
}

fn commit(client: &mut Client, offset: &str) {
    let fields = [("consumerGroup", "CG"), ("topic", "T"), ("queueId", "2"), ("commitOffset", offset)];
    assert_eq!(client.ask(15, &fields, b"").code, 0);
}

/// Messages m0 to m9 in T, one that was delayed and is delivered, one that is still to be; a group; a deleted topic.
fn make() -> Made {
    let made = Made { dir: scratch(), older: scratch() };
    let lenient =
        || Config { auto_create_topic: true, auto_create_subscription_group: true, ..strict(made.dir.path()) };
    let running = Running::start(lenient());
    // There is a state before of each table.
    running.client().send_message("GoneFirst", 0, "", b"x");
    assert_eq!(running.client().ask(215, &[("topic", "GoneFirst")], b"").code, 0);
    running.stop();
    copy(&made.dir.path().join("config"), made.older.path());

    let running = Running::start(lenient());
    let mut client = running.client();
    for n in 0..10 {
        assert_eq!(client.send_message("T", n % 3, &properties("TAGS=a;"), format!("m{n}").as_bytes()).code, 0);
    }
    client.send_message("T", 0, &properties("UNIQ_KEY=first;DELAY=1;"), b"delivered");
    let delivered = client.pull(Pull { offset: 4, hold_millis: 5000, ..Pull::of("T") });
    assert_eq!(bodies(&delivered), ["delivered"]);
    client.send_message("Gone", 0, "", b"gone");
    assert_eq!(client.ask(215, &[("topic", "Gone")], b"").code, 0);
    commit(&mut client, "1");
    running.stop();
    let running = Running::start(lenient());
    let mut client = running.client();
    commit(&mut client, "3");
    // The last save of each table is not the one that matters.
    client.send_message("Later", 0, "", b"x");
    client.pull(Pull { group: "Later", ..Pull::of("T") });
    client.send_message("T", 0, &properties("UNIQ_KEY=second;DELAY=1;"), b"waits");
    running.stop();
    made
}

fn strike(root: &Path, older: &Path, table: &str, damage: Damage, bak: Bak) {
    let file = root.join("config").join(table);
    let last_good = root.join("config").join(format!("{table}.bak"));
    for file in [Some(&file), Some(&last_good).filter(|_| bak == Bak::Damaged)].into_iter().flatten() {
        let bytes = fs::read(file).unwrap_or_default();
        match damage {
            Damage::Deleted => _ = fs::remove_file(file),
            Damage::Emptied => fs::write(file, "").unwrap(),
            Damage::HalfWritten => fs::write(file, &bytes[..bytes.len() / 2]).unwrap(),
            Damage::Older => _ = fs::copy(older.join(table), file).unwrap(),
        }
    }
}

fn pull(client: &mut Client, queue: i32, offset: i64) -> Vec<String> {
    bodies(&client.pull(Pull { queue, offset, ..Pull::of("T") }))
}

fn check(made: &Made, table: &str, damage: Damage, bak: Bak) {
    let what = format!("{table} {damage:?}, last good state {bak:?}");
    let image = scratch();
    copy(made.dir.path(), image.path());
    strike(image.path(), made.older.path(), table, damage, bak);
    let unreadable = matches!(damage, Damage::Emptied | Damage::HalfWritten) && bak == Bak::Damaged;
    if unreadable && matches!(table, "consumerOffset.json" | "delayOffset.json") {
        // What these say stands nowhere else: an operator decides.
        let Err(OpenError::Table(refused)) = Broker::open(strict(image.path())) else { panic!("{what}") };
        let text = refused.to_string();
        assert!(text.contains(&format!("config/{table}:")) && text.contains(&format!("{table}.bak:")), "{text}");
        for name in [table.to_owned(), format!("{table}.bak")] {
            fs::remove_file(image.path().join("config").join(name)).unwrap();
        }
    }
    let running = Running::start(strict(image.path()));
    let mut client = running.client();
    let forgot_group = table == "subscriptionGroup.json" && damage == Damage::Older;
    if forgot_group {
        let refused = client.pull(Pull::of("T"));
        assert_eq!(refused.code, 26, "{what}: an older table does not know the group: {refused:?}");
        running.stop();
        let lenient = Config { auto_create_subscription_group: true, ..strict(image.path()) };
        return check_messages(&Running::start(lenient), &what);
    }
    check_messages(&running, &what);

    let query = [("consumerGroup", "CG"), ("topic", "T"), ("queueId", "2"), ("setZeroIfNotFound", "false")];
    let answer = client.ask(14, &query, b"");
    let offset = (answer.code == 0).then(|| answer.ext.get("offset").unwrap().to_owned());
    let expected = match (table, damage, bak) {
        ("consumerOffset.json", Damage::Older, _) | ("consumerOffset.json", _, Bak::Damaged) => None,
        ("consumerOffset.json", _, Bak::Sound) => Some("1"),
        _ => Some("3"),
    };
    assert_eq!(offset.as_deref(), expected, "{what}");
    drop(client); // a stop gives connections half a second to end
    running.stop();
    // It is whole again.
    let running = Running::start(strict(image.path()));
    check_messages(&running, &format!("{what}, started again"));
    running.stop();
}

fn check_messages(running: &Running, what: &str) {
    let mut client = running.client();
    assert_eq!(pull(&mut client, 1, 0), ["m1", "m4", "m7"], "{what}");
    assert_eq!(pull(&mut client, 2, 0)[..3], ["m2", "m5", "m8"], "{what}");
    client.pull(Pull { offset: 5, hold_millis: 5000, ..Pull::of("T") });
    let all = ["m0", "m3", "m6", "m9", "delivered", "waits"];
    assert_eq!(pull(&mut client, 0, 0)[..6], all, "{what}: delayed messages come, and once");
    let sent = client.send_message("T", 2, "", b"new");
    assert_eq!((sent.code, sent.ext.get("queueId")), (0, Some("2")), "{what}");
    assert_eq!(client.pull(Pull::of("Gone")).code, 17, "{what}: what was deleted stays so");
    assert_eq!(running.broker.store.max_offset("Gone", 0).0, 0, "{what}");
    assert!(running.broker.store.queue("T", 0).unwrap().max_offset().0 < 7, "{what}");
}

#[test]
fn whatever_happens_to_a_table_all_messages_are_served_and_what_it_said_is_kept_or_its_loss_named() {
    let made = make();
    let made = &made;
    std::thread::scope(|scope| {
        for table in TABLES {
            scope.spawn(move || {
                for damage in [Damage::Deleted, Damage::Emptied, Damage::HalfWritten, Damage::Older] {
                    check(made, table, damage, Bak::Sound);
                    check(made, table, damage, Bak::Damaged);
                }
            });
        }
    });
}

#[test]
fn without_any_table_all_messages_are_served() {
    let made = make();
    fs::remove_dir_all(made.dir.path().join("config")).unwrap();
    // Who consumed stands nowhere now.
    let config = Config { auto_create_subscription_group: true, ..strict(made.dir.path()) };
    let running = Running::start(config);
    check_messages(&running, "no config/ at all");
    running.stop();
}
