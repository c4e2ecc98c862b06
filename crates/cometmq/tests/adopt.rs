//! Directories of Apache's brokers before CometMQ starts on them: what `cometmq store adopt` says, and what a start does.

mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

const VERSIONS: [&str; 2] = ["4.9.7", "5.5.0"];

/// A store that Apache's broker wrote, see `captures/README.md`.
fn unpack(version: &str) -> TempDir {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../captures/store-{version}.tar.gz"));
    let dir = tempfile::tempdir().unwrap();
    let tar = Command::new("tar").args(["-x", "-z", "-m", "-f"]).arg(archive).arg("-C").arg(dir.path()).status();
    assert!(tar.as_ref().is_ok_and(|status| status.success()), "the program `tar` unpacks the store: {tar:?}");
    dir
}

fn cometmq(arguments: &[&str], dir: &Path, language: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cometmq"));
    command.args(arguments).arg(dir).env_clear().env("LANG", language).output().unwrap()
}

fn adopt(arguments: &[&str], dir: &Path) -> (Option<i32>, Value) {
    let output = cometmq(&[&["store", "adopt", "-o", "json"], arguments].concat(), dir, "C");
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// Every file below, and what is in it.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    files
}

#[test]
fn a_dry_run_tells_the_settings_that_a_store_was_made_with_and_changes_nothing() {
    for version in VERSIONS {
        let dir = unpack(version);
        let before = files(dir.path());
        let (code, report) = adopt(&["--dry-run"], dir.path());
        assert_eq!(code, Some(0), "{report:#}");
        assert!(files(dir.path()) == before, "nothing was changed");
        let conf = fs::read_to_string(
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../captures/broker-{version}.conf")),
        );
        for line in conf.unwrap().lines() {
            let (key, value) = line.split_once('=').unwrap();
            // 4.9.7 keeps its own name nowhere, and timers are on by default.
            if key != "timerWheelEnable" && !(key == "brokerName" && version == "4.9.7") {
                assert_eq!(report["brokerConf"][key], value, "{version}: {key}");
            }
        }
        let fates = report["findings"].as_array().unwrap().iter().map(|finding| finding["fate"].as_str().unwrap());
        assert!(fates.clone().all(|fate| fate == "used" || fate == "kept"), "{report:#}");
        assert!(report["messages"].as_i64() > Some(500) && report["delayed"].as_i64() > Some(0), "{report:#}");
    }
}

#[test]
fn without_dry_run_the_store_is_opened_once_and_its_queues_are_built_anew() {
    let dir = unpack("5.5.0");
    let log = files(&dir.path().join("commitlog"));
    let queues = files(&dir.path().join("consumequeue"));
    fs::remove_dir_all(dir.path().join("consumequeue")).unwrap();
    // Without queues their size is not told from files.
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../captures/broker-5.5.0.conf");
    let (code, report) = adopt(&["-c", conf.to_str().unwrap()], dir.path());
    assert_eq!(code, Some(0), "{report:#}");
    assert!(report["opened"].is_number());
    assert!(files(&dir.path().join("commitlog")) == log, "the log stays as it is");
    assert!(files(&dir.path().join("consumequeue")) == queues, "queues are as Apache's broker wrote them");
    assert!(!dir.path().join("abort").exists());
}

#[test]
fn settings_that_the_files_contradict_are_refused() {
    let dir = unpack("5.5.0");
    let conf = dir.path().join("broker.conf");
    fs::write(&conf, "mappedFileSizeCommitLog=131072\nmappedFileSizeConsumeQueue=2000\nbrokerName=broker-a\n").unwrap();
    let (code, report) = adopt(&["--dry-run", "-c", conf.to_str().unwrap()], dir.path());
    assert_eq!(code, Some(1));
    let contradicted: Vec<_> = report["contradicted"].as_array().unwrap().iter().map(|it| it["key"].as_str()).collect();
    assert_eq!(contradicted, [Some("mappedFileSizeCommitLog"), Some("maxHashSlotNum"), Some("maxIndexNum")]);
}

#[test]
fn a_broker_does_not_start_beside_what_it_would_pass_over_and_changes_nothing() {
    let dir = unpack("5.5.0");
    let log = dir.path().join("dledger-n0/data");
    fs::create_dir_all(&log).unwrap();
    fs::write(log.join("00000000000000000000"), "records").unwrap();
    let before = files(dir.path());

    let (code, report) = adopt(&[], dir.path());
    assert_eq!((code, &report["starts"]), (Some(1), &Value::Bool(false)));
    for (language, sentence) in
        [("C", "DLedger's form, which is not read here"), ("zh_CN.UTF-8", "DLedger 格式，这里不读取")]
    {
        let text = String::from_utf8(cometmq(&["store", "adopt"], dir.path(), language).stdout).unwrap();
        assert!(text.contains(sentence), "{text}");
        let start = cometmq(&["dev", "--namesrv-port", "0", "--broker-port", "0", "--data"], dir.path(), language);
        assert_eq!(start.status.code(), Some(1));
        let text = String::from_utf8(start.stderr).unwrap();
        assert!(text.contains(sentence), "{text}");
    }
    assert!(files(dir.path()) == before, "nothing was changed");
}

#[tokio::test]
async fn what_cometmq_itself_leaves_needs_no_words() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        assert!(support::Dev::start(dir.path()).await.stop().success());
    }
    fs::remove_file(dir.path().join("test-broker.conf")).unwrap();
    let (code, report) = adopt(&["--dry-run"], dir.path());
    assert_eq!(code, Some(0), "{report:#}");
    let fates = report["findings"].as_array().unwrap().iter().map(|finding| finding["fate"].as_str().unwrap());
    assert!(fates.clone().count() > 0 && fates.clone().all(|fate| fate == "used" || fate == "kept"), "{report:#}");
}

#[test]
fn what_is_no_store_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(adopt(&["--dry-run"], dir.path()).0, Some(2));
    assert_eq!(adopt(&["--dry-run"], &dir.path().join("not-there")).0, Some(2));
}
