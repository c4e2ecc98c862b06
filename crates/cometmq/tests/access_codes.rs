//! Who may ask what: the table of all requests that a broker and a name server answer. One that is answered and has no rule fails
//! here, as it is refused there.

use broker::{Broker, Config};
use namesrv::Namesrv;
use namesrv::config::NamesrvConfig;
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn every_request_that_is_answered_has_a_rule_and_the_manual_states_it() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        Config { commit_log_file_size: 1 << 20, max_hash_slot_num: 100, max_index_num: 400, ..Config::default() };
    let broker = Broker::open(Config { store_root: dir.path().into(), ..config }).unwrap();
    let namesrv = Namesrv::open(NamesrvConfig::default()).unwrap();
    let (brokers, name_servers) = (broker.router().codes(), namesrv.router().codes());
    let codes: BTreeSet<i32> = brokers.iter().chain(&name_servers).copied().collect();
    assert!(codes.len() > 100, "{codes:?}");

    let without: Vec<i32> = codes.iter().copied().filter(|code| access::describe(*code).is_none()).collect();
    assert!(
        without.is_empty(),
        "requests {without:?} are answered; say in crates/access/src/codes.rs who may make them"
    );

    let mut rows = String::new();
    for code in codes {
        let by = match (brokers.contains(&code), name_servers.contains(&code)) {
            (true, true) => "both",
            (true, false) => "broker",
            _ => "name server",
        };
        let (what, needs) =
            access::describe(code).unwrap().split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        rows.push_str(&format!("| {what} | {by} | {needs} |\n"));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/access-codes.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let head = page.split("|---|---|---|\n").next().unwrap();
    let wanted = format!("{head}|---|---|---|\n{rows}");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, wanted).unwrap();
    } else {
        assert_eq!(page, wanted, "docs/access-codes.md is not the table; UPDATE=1 writes it");
    }
}
