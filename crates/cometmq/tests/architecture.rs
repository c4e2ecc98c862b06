//! ARCHITECTURE.md tells the truth: checked by looking at the tree.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Each `.rs` file below `directory`, its path from the root and its text without tests and comments.
fn sources(directory: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut waiting = vec![root().join(directory)];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                if !entry.ends_with("tests") {
                    waiting.push(entry);
                }
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let path = entry.strip_prefix(root()).unwrap().display().to_string();
                found.push((path, without_tests_and_comments(&fs::read_to_string(&entry).unwrap())));
            }
        }
    }
    assert!(!found.is_empty(), "{directory} has no sources");
    found
}

fn without_tests_and_comments(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn assert_absent(directory: &str, words: &[&str], except: &[&str]) {
    for (path, text) in sources(directory) {
        if except.iter().any(|except| path.ends_with(except)) {
            continue;
        }
        for word in words {
            assert!(!text.contains(word), "{path} contains `{word}`, which ARCHITECTURE.md says is absent there");
        }
    }
}

#[test]
fn crates_use_only_crates_below_them() {
    let lines: [&[&str]; 6] = [
        &["protocol"],
        &["remoting", "store"],
        &["access"],
        &["client", "broker", "namesrv"],
        &["admin", "proxy"],
        &["cometmq"],
    ];
    let line_of = |name: &str| lines.iter().position(|line| line.contains(&name));
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let line = line_of(&name).unwrap_or_else(|| panic!("crate {name} stands on no line of ARCHITECTURE.md"));
        let manifest = read(&format!("crates/{name}/Cargo.toml"));
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap();
        for used in dependencies.lines().filter_map(|line| line.split_once(".workspace").map(|(name, _)| name.trim())) {
            if let Some(below) = line_of(used) {
                assert!(below < line, "crate {name} uses {used}, which is not below it");
            }
        }
    }
}

#[test]
fn protocol_opens_nothing_and_asks_no_clock() {
    let words = ["std::net::Tcp", "std::net::Udp", "std::fs", " File::", "Instant::now", "SystemTime", "std::env"];
    assert_absent("crates/protocol/src", &words, &[]);
}

#[test]
fn nothing_expires_by_the_wall_clock() {
    let words = ["SystemTime", "now_millis", "Zoned::now", "Timestamp::now"];
    for directory in ["namesrv", "remoting"] {
        // A certificate ends by the wall clock.
        assert_absent(&format!("crates/{directory}/src"), &words, &["tls/expiry.rs"]);
    }
    for file in ["consumers.rs", "producers.rs", "locks.rs", "delay.rs", "registration.rs"] {
        let (_, text) = sources("crates/broker/src").into_iter().find(|(path, _)| path.ends_with(file)).unwrap();
        // A table's version says when it was made.
        let text = text.replace("data_version.advance(crate::now_millis())", "");
        assert!(!words.iter().any(|word| text.contains(word)), "{file} asks the wall clock");
    }
    // Stamps come from the store's clock, which a test can set.
    assert_absent("crates/store/src", &["SystemTime::now"], &["clock.rs", "tests.rs"]);
}

#[test]
fn store_knows_no_peer() {
    assert_absent("crates/store/src", &["std::net::Tcp", "std::net::Udp", "tokio", "roker"], &[]);
}

#[test]
fn only_disk_and_segment_touch_files() {
    let words = [
        "pwrite",
        "pread",
        "write_all_at",
        "read_exact_at",
        "read_at(",
        "write_at(",
        "set_len",
        "OpenOptions",
        " File::open",
        "fs::File::",
        "(File::",
        "fs::write",
        "fs::rename",
        "fs::remove",
        "fs::create",
    ];
    // The lock holds no data; in the others, their tests do.
    let except = ["disk.rs", "segment.rs", "lock.rs", "table.rs", "tests.rs"];
    assert_absent("crates/store/src", &words, &except);
}

#[test]
fn nothing_is_unsafe() {
    for directory in ["protocol", "store", "remoting", "access", "client", "namesrv", "broker", "cometmq"] {
        assert_absent(&format!("crates/{directory}/src"), &["unsafe {", "unsafe fn", "unsafe impl"], &[]);
    }
}

#[test]
fn only_the_binary_reads_command_line_and_environment() {
    for directory in ["protocol", "store", "remoting", "access", "client", "namesrv", "broker"] {
        let words = ["std::env", "env::var", "env::args", "tracing_subscriber", "clap"];
        assert_absent(&format!("crates/{directory}/src"), &words, &[]);
    }
}

#[test]
fn every_path_named_in_architecture_md_exists() {
    let page = read("ARCHITECTURE.md");
    let paths: Vec<&str> = page.split('`').skip(1).step_by(2).filter(|quoted| quoted.contains('/')).collect();
    assert!(paths.len() > 20);
    for path in paths {
        assert!(root().join(path).exists(), "ARCHITECTURE.md names {path}, which is not there");
    }
}
