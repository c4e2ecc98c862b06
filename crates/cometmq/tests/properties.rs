//! What holds for any bytes (`fuzz/properties.rs`), tried with captures that are changed at random.
//!
//! `PROPTEST_CASES=100000` tries longer; `just fuzz` tries with fuzzers.

#[path = "../../../fuzz/properties.rs"]
mod properties;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use protocol::message::{CommitLogOffset, QueueOffset, crc31};
use protocol::record::{BatchEntry, RecordFields};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// How bytes are changed: where (as a fraction), how, with what.
type Change = (u16, u8, Vec<u8>);

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for (at, how, new) in changes {
        let at = usize::from(*at) * bytes.len() / 65_536;
        match how % 6 {
            0 => bytes.truncate(at),
            1 => drop(bytes.splice(at..at, new.iter().copied())),
            2 => drop(bytes.drain(at..(at + new.len()).min(bytes.len()))),
            3 => bytes.extend_from_within(at..),
            // One bit, and bytes as they come: the two that reach furthest.
            4 if !bytes.is_empty() => bytes[at] ^= 1 << (how / 6 % 8),
            _ => bytes[at..].iter_mut().zip(new).for_each(|(byte, new)| *byte = *new),
        }
    }
    bytes
}

#[track_caller]
fn check(cases: u32, seeds: Vec<Vec<u8>>, property: fn(&[u8])) {
    seeds.iter().for_each(|seed| property(seed));
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    // What fails is shown, and belongs into a test of its own; no file remembers it.
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let changes = vec((any::<u16>(), any::<u8>(), vec(any::<u8>(), 0..12)), 0..4);
    let any_seed = (any::<prop::sample::Index>(), changes);
    let tried = TestRunner::new(config).run(&any_seed, |(seed, changes)| {
        property(&changed(seed.get(&seeds).clone(), &changes));
        Ok(())
    });
    if let Err(error) = tried {
        panic!("{error}");
    }
}

/// Header, body, and whole frame of each request that a client was once heard to send.
fn frames() -> Vec<(String, Vec<u8>, Vec<u8>)> {
    let recorded = ["interop/node/frames.jsonl", "interop/python/frames.jsonl"]
        .map(|file| fs::read_to_string(root().join(file)).unwrap());
    recorded
        .iter()
        .flat_map(|text| text.lines())
        .map(|line| {
            let frame: serde_json::Value = serde_json::from_str(line).unwrap();
            let header = frame["header"].as_str().unwrap().to_owned();
            let hex = frame["body"].as_str().unwrap();
            let body: Vec<u8> =
                (0..hex.len()).step_by(2).map(|n| u8::from_str_radix(&hex[n..n + 2], 16).unwrap()).collect();
            let mut whole = ((4 + header.len() + body.len()) as u32).to_be_bytes().to_vec();
            whole.extend_from_slice(&(header.len() as u32).to_be_bytes());
            whole.extend_from_slice(header.as_bytes());
            whole.extend_from_slice(&body);
            (header, body, whole)
        })
        .collect()
}

/// A binary header as Java writes it.
fn binary_header() -> Vec<u8> {
    let mut header = vec![0, 11, 0, 1, 0xdf, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 5];
    header.extend_from_slice(b"FOUND\0\0\0\x0f\0\x05topic\0\0\0\x04T-01");
    header
}

fn with_length(header: &[u8]) -> Vec<u8> {
    let mut frame = (4 + header.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(&(1 << 24 | header.len() as u32).to_be_bytes());
    [frame, header.to_vec()].concat()
}

fn records() -> Vec<Vec<u8>> {
    let (long, body) = ("t".repeat(200), b"a body".to_vec());
    let record = |topic: &str, host: &str, body: &[u8], properties: &[u8]| {
        let fields = RecordFields {
            topic,
            queue_id: 3,
            flag: 0,
            queue_offset: QueueOffset(7),
            commit_log_offset: CommitLogOffset(4096),
            sys_flag: 0,
            born_timestamp: 1_700_000_000_000,
            born_host: host.parse().unwrap(),
            store_timestamp: 1_700_000_000_001,
            store_host: "10.0.0.1:10911".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            body_crc: crc31(body),
            properties,
        };
        let mut bytes = Vec::new();
        fields.encode(&mut bytes);
        bytes
    };
    let one = record("T", "127.0.0.1:50000", &body, b"TAGS\x01a\x02KEYS\x01k1 k2\x02UNIQ_KEY\x01AC110001\x02");
    let two = record(&long, "[2001:db8::1]:50000", &[], b"");
    vec![one.clone(), two.clone(), [one, two].concat()]
}

fn batches() -> Vec<Vec<u8>> {
    let mut body = Vec::new();
    for text in [&b"first"[..], b"second", b""] {
        BatchEntry { flag: 0, body: text, properties: b"KEYS\x01k\x02" }.encode(&mut body);
    }
    vec![body]
}

fn registrations() -> Vec<Vec<u8>> {
    let text = br#"{"filterServerList":[],"topicConfigSerializeWrapper":{"dataVersion":{"counter":1,"stateVersion":0,"timestamp":1700000000000},"topicConfigTable":{"T":{"attributes":{},"order":false,"perm":6,"readQueueNums":4,"topicFilterType":"SINGLE_TAG","topicName":"T","topicSysFlag":0,"writeQueueNums":4}},"topicQueueMappingInfoMap":{}}}"#;
    let mut pieces = Vec::new();
    let mut piece = |text: &[u8]| {
        pieces.extend_from_slice(&(text.len() as u32).to_be_bytes());
        pieces.extend_from_slice(text);
    };
    piece(br#"{"counter":1,"stateVersion":0,"timestamp":1700000000000}"#);
    pieces.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 2, b'[', b']', 0, 0, 0, 0]);
    // Stored, not compressed: so that a change of it is a change of what it says.
    let mut stored = vec![0x78, 0x01, 0x01];
    stored.extend_from_slice(&(pieces.len() as u16).to_le_bytes());
    stored.extend_from_slice(&(!(pieces.len() as u16)).to_le_bytes());
    stored.extend_from_slice(&pieces);
    stored.extend_from_slice(&adler32(&pieces).to_be_bytes());
    vec![text.to_vec(), stored]
}

fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (a + b) % 65_521)
    });
    b << 16 | a
}

fn bodies() -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> =
        frames().into_iter().map(|(_, body, _)| body).filter(|body| !body.is_empty()).collect();
    bodies.push(br#"{"brokerDatas":[{"brokerAddrs":{0:"10.0.0.1:10911"},"brokerName":"a","cluster":"C"}],"filterServerTable":{},"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#.to_vec());
    bodies.push(br#"{"-1":"a",7:"b\n"}"#.to_vec());
    bodies.push(br#"{"a number of later versions":11111111111111111055555555}"#.to_vec());
    bodies.push(br#"{"mqOffsetTable":{{"brokerName":"a","queueId":0,"topic":"T"}:5}}"#.to_vec());
    bodies
}

fn tables() -> Vec<Vec<u8>> {
    vec![
        br#"{"dataVersion":{"counter":2,"timestamp":1},"topicConfigTable":{"T":{"order":false,"perm":6,"readQueueNums":4,"topicFilterType":"SINGLE_TAG","topicName":"T","topicSysFlag":0,"writeQueueNums":4}}}"#.to_vec(),
        br#"{"dataVersion":{"counter":2,"timestamp":1},"forbiddenTable":{},"subscriptionGroupTable":{"G":{"brokerId":0,"consumeEnable":true,"groupName":"G","retryMaxTimes":16,"retryQueueNums":1}}}"#.to_vec(),
        br#"{"dataVersion":{"counter":2,"timestamp":1},"offsetTable":{"T@G":{0:5,1:7},"%RETRY%G@G":{0:0}},"groupTopicMap":{}}"#.to_vec(),
        br#"{"dataVersion":{"counter":2,"timestamp":1},"offsetTable":{1:5,2:7,18:0}}"#.to_vec(),
    ]
}

fn confs() -> Vec<Vec<u8>> {
    let captured =
        ["broker-4.9.7.conf", "broker-5.5.0.conf"].map(|file| fs::read(root().join("captures").join(file)).unwrap());
    let whole = broker::Config::default().values();
    let whole = protocol::properties::write(whole.iter().map(|(key, value)| (key, value)));
    [
        &captured[..],
        &[
            b"a \\f.\\u2028".to_vec(),
            b"storePathCommitLog=two behind \\  \n".to_vec(),
            whole.into_bytes(),
            b"a b:=\\u4e2d \\\n  c\n#x\nfileReservedTime = 48\nflushDiskType=SYNC_FLUSH\n".to_vec(),
        ],
    ]
    .concat()
}

fn account_files() -> Vec<Vec<u8>> {
    [
        "globalWhiteRemoteAddresses:\n- 10.10.103.*\n- 192.168.0.{1,2}\naccounts:\n- accessKey: RocketMQ\n  secretKey: secretOf1\n  \
         whiteRemoteAddress:\n  admin: false\n  defaultTopicPerm: DENY\n  topicPerms:\n  - topicB=PUB|SUB\n  groupPerms: [g=SUB]\n",
        "accounts:\n- {accessKey: adminAAA, secretKey: 'secretOf2', admin: true, whiteRemoteAddress: '5::7:6:1-200:*'}\n\
         dataVersion: [{counter: 9223372036854775807, timestamp: 7}]\n",
        "accessKey: rocketmq2\nsecretKey: secretOf3\n",
        "---\n# nothing\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

fn rules() -> Vec<Vec<u8>> {
    ["Allow Pub,Sub Topic:ord* 10.0.0.0/8,::1", "Deny All *", "Allow Get Cluster:c1", "192.168.1-5.{1,2}", "fe80:*"]
        .map(|text| text.as_bytes().to_vec())
        .into()
}

fn subscriptions() -> Vec<Vec<u8>> {
    [
        "*",
        "",
        "a || b",
        "||",
        "7F00000100002A9F0000000000000000",
        "20010DB8000000000000000000000001000000500000000000001000",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

fn expressions() -> Vec<Vec<u8>> {
    [
        "a > 5 AND b <= 5.5 OR NOT (c = 'it''s' AND d IS NOT NULL)\na\x016\x02b\x015\x02c\x01x\x02",
        "a BETWEEN -1 AND 3000000000L or a NOT IN ('x','', '5')\na\x015",
        "a CONTAINS 'x' = b NOT STARTSWITH 'y' <> c ENDSWITH '杭'/* c */ TRUE\na\x01x\x02b\x01x\x02c\x01杭",
        "a = b IS NULL -- none\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

/// The example, and programs that loop, grow, recurse and start by themselves.
fn programs() -> Vec<Vec<u8>> {
    let module = |rest: &str| {
        wat::parse_str(format!(
            r#"(module (memory (export "memory") 1) (table 1 funcref) (global (mut i32) (i32.const 0))
                (func (export "alloc") (param i32) (result i32) (i32.const 1024)) {rest})"#
        ))
        .unwrap()
    };
    let filter = |body: &str| {
        module(&format!(r#"(func (export "filter") (param i32 i32) (result i32) {body}) (elem (i32.const 0) 1)"#))
    };
    vec![
        fs::read(root().join("examples/filter/filter.wasm")).unwrap(),
        filter("(loop (br 0)) (i32.const 1)"),
        filter("(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (i32.const 0)"),
        filter("(call_indirect (param i32 i32) (result i32) (i32.const 1) (i32.const 2) (i32.const 0))"),
        filter("(memory.fill (i32.const 0) (i32.const 7) (i32.const 65536)) (i32.load8_u (local.get 0))"),
        module("(func $go (global.set 0 (i32.const 1))) (start $go)"),
    ]
}

/// The first byte: closed or killed. Then which file, what, where (2), how much, with what (3).
fn damages() -> Vec<Vec<u8>> {
    let mut damages = vec![vec![0], vec![1]];
    // A queue file that is overwritten under a broker that is killed.
    damages.push([&[1, 9, 4, 0x1b, 0x4d, 0x14, 9], &[0xb8; 12][..], &[8, 7]].concat());
    for file in 0..16 {
        damages.extend((0..6).map(|how| vec![file % 2, file, how, 3 * file, 77, 20, 9, 8, 7]));
    }
    damages
}

fn proxy_headers() -> Vec<Vec<u8>> {
    let v2 = |command: u8, family: u8, addresses: &[u8]| {
        let length = (addresses.len() as u16).to_be_bytes();
        [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, addresses].concat()
    };
    let plain = [
        "PROXY TCP4 203.0.113.7 10.0.0.1 51234 10911\r\n",
        "PROXY TCP6 2001:db8::7 2001:db8::1 51234 10911\r\nmore",
        "PROXY UNKNOWN\r\n",
    ];
    let plain = plain.map(|line| line.as_bytes().to_vec());
    [v2(0x21, 0x11, &[7; 20]), v2(0x21, 0x21, &[7; 36]), v2(0x20, 0, &[]), v2(0x21, 0x31, &[7; 216])]
        .into_iter()
        .chain(plain)
        .collect()
}

/// What a client of ours writes first, and a frame.
fn first_bytes() -> Vec<Vec<u8>> {
    use remoting::tls::settings::Side;
    use remoting::tls::{ClientTls, Trust};
    use std::io::Read;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heard = std::thread::spawn(move || {
        let mut hello = vec![0; 4096];
        let read = listener.accept().unwrap().0.read(&mut hello).unwrap();
        hello.truncate(read);
        hello
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tls = ClientTls::new(Trust::Anyone, Side::default()).unwrap();
    // The other end closes instead of answering.
    assert!(runtime.block_on(remoting::Stream::open(&address, Some(&tls))).is_err());
    let hello = heard.join().unwrap();
    assert_eq!(hello[0], 0x16);
    vec![hello, with_length(b"{}"), b"\x16\x03\x01\x00\x01\x01".to_vec()]
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let binary = || vec![with_length(&binary_header())];
    match name {
        "frame" | "request" => frames().into_iter().map(|(_, _, whole)| whole).chain(binary()).collect(),
        "header" => frames().into_iter().map(|(header, _, _)| header.into_bytes()).chain([binary_header()]).collect(),
        "properties" => vec![b"\x04TAGS\x01bTAGS\x01a\x02KEYS\x01k1 k2\x02\x02x\x02UNIQ_KEY\x01AC".to_vec()],
        "record" => records(),
        "batch" => batches(),
        "registration" => registrations(),
        "bodies" => bodies(),
        "tables" => tables(),
        "conf" => confs(),
        "plain_acl" => account_files(),
        "rule" => rules(),
        "subscription" => subscriptions(),
        "sql92" => expressions(),
        "program" => programs(),
        "recovery" => damages(),
        "proxy_header" => proxy_headers(),
        "first_bytes" => first_bytes(),
        other => panic!("no seeds for {other}"),
    }
}

/// One test per property; `just fuzz` begins with the same seeds.
macro_rules! properties {
    ($($name:ident: $cases:literal,)*) => {
        mod hold {
            $(#[test]
            fn $name() {
                super::check($cases, super::seeds(stringify!($name)), super::properties::$name);
            })*
        }

        /// Writes what fuzzers begin with.
        #[test]
        #[ignore = "for `just fuzz`"]
        fn seeds_for_fuzzers() {
            for name in [$(stringify!($name)),*] {
                let directory = root().join("fuzz/corpus").join(name);
                fs::create_dir_all(&directory).unwrap();
                for (n, seed) in seeds(name).iter().enumerate() {
                    fs::write(directory.join(format!("seed-{n}")), seed).unwrap();
                }
            }
        }
    };
}

properties! {
    frame: 2000,
    header: 3000,
    request: 1000,
    properties: 3000,
    record: 2000,
    batch: 2000,
    registration: 1000,
    bodies: 1000,
    tables: 200,
    conf: 300,
    plain_acl: 1000,
    rule: 2000,
    subscription: 2000,
    sql92: 3000,
    program: 400,
    recovery: 150,
    proxy_header: 5000,
    first_bytes: 1000,
}
