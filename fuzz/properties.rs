//! What holds for any bytes, one function per format. Who gets in here: fuzzers (`just fuzz`), and
//! `crates/cometmq/tests/properties.rs`, which calls the same functions with changed captures in `cargo test`.

use broker::program::{Guest, MEMORY_MAX};
use bytes::{Bytes, BytesMut};
use protocol::command::Command;
use protocol::heartbeat::{CheckClientBody, HeartbeatData, LockBatchBody};
use protocol::json;
use protocol::message::{
    Properties, edit_properties, java_hash, offset_message_id, parse_offset_message_id, push_property,
};
use protocol::properties as java_properties;
use protocol::record::{BatchEntries, Record, RecordFields};
use protocol::request::client::{GetConsumerList, UnregisterClient};
use protocol::request::offset::{GetMaxOffset, QueryConsumerOffset, SearchOffset, UpdateConsumerOffset};
use protocol::request::pull::PullMessage;
use protocol::request::query::{QueryMessage, ViewMessage};
use protocol::request::route::{GetRoute, QueryDataVersion, RegisterBroker, UnregisterBroker};
use protocol::request::send::{SendBack, SendMessage};
use protocol::request::topic::CreateTopic;
use protocol::request::{Header, Request};
use protocol::route::{RegisterBrokerBody, TopicRoute};
use protocol::sql92::Expression;
use protocol::subscription::{SubscriptionData, SubscriptionGroupConfig, TagFilter};
use protocol::topic::{DataVersion, TopicConfig};
use remoting::proxy::{self, Header as ProxyHeader};
use remoting::tls::{self, Tls, TlsMode};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use store::{CommitLogOffset, GetStatus, PutMessage, QueueOffset, Store, StoreConfig};
use tempfile::TempDir;

/// A stream of frames: however it is cut, the same commands come out of it, and each survives being written again.
pub fn frame(data: &[u8]) {
    let (at_once, ended) = decode_all(&[data]);
    let cut = data.first().map_or(0, |byte| usize::from(*byte) * data.len() / 256);
    let (in_two, ended_in_two) = decode_all(&[&data[..cut], &data[cut..]]);
    assert_eq!(at_once.len(), in_two.len());
    assert_eq!(ended, ended_in_two);
    for (one, other) in at_once.iter().zip(&in_two) {
        assert_same(one, other);
        survives_being_written(one);
    }
}

/// A header by itself, in both encodings.
pub fn header(data: &[u8]) {
    for encoding in [0u8, 1] {
        let mut frame = BytesMut::new();
        frame.extend_from_slice(&(4 + data.len() as u32).to_be_bytes());
        frame.extend_from_slice(&(u32::from(encoding) << 24 | data.len() as u32).to_be_bytes());
        frame.extend_from_slice(data);
        if let Ok(Some(command)) = Command::decode(&mut frame) {
            assert!(frame.is_empty() && command.body.is_empty());
            survives_being_written(&command);
            if encoding == 0 {
                agrees_with_serde(data, &command);
            }
        }
    }
}

fn decode_all(pieces: &[&[u8]]) -> (Vec<Command>, Option<String>) {
    let (mut buffer, mut commands) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let before = buffer.len();
            match Command::decode(&mut buffer) {
                Ok(Some(command)) => {
                    assert!(command.body.len() + 8 <= before - buffer.len());
                    commands.push(command);
                }
                Ok(None) => {
                    assert_eq!(buffer.len(), before, "what has not arrived in full stays");
                    break;
                }
                Err(bad) => return (commands, Some(bad.to_string())),
            }
        }
    }
    (commands, None)
}

fn assert_same(one: &Command, other: &Command) {
    assert_eq!((one.code, one.version, one.opaque, one.flag), (other.code, other.version, other.opaque, other.flag));
    assert_eq!(one.language.name(), other.language.name());
    assert_eq!(one.remark, other.remark);
    assert_eq!(one.ext, other.ext);
    assert_eq!(one.body, other.body);
}

fn decoded(bytes: &[u8]) -> Command {
    let mut buffer = BytesMut::from(bytes);
    let command = Command::decode(&mut buffer).expect("we read what we write").expect("it is whole");
    assert!(buffer.is_empty());
    command
}

/// Written as JSON and, where it can be said so, as binary header: both are read as the same command.
fn survives_being_written(command: &Command) {
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    if bytes.len() > protocol::command::FRAME_SIZE_MAX {
        return;
    }
    assert_same(&decoded(&bytes), command);
    if let Some(bytes) = binary(command) {
        assert_same(&decoded(&bytes), command);
    }
}

/// As a Java client with `rocketmq.serialize.type=ROCKETMQ` writes it; `None` for what that can't say.
fn binary(command: &Command) -> Option<Vec<u8>> {
    let mut header = Vec::new();
    header.extend_from_slice(&i16::try_from(command.code).ok()?.to_be_bytes());
    header.push(command.language.0);
    header.extend_from_slice(&i16::try_from(command.version).ok()?.to_be_bytes());
    header.extend_from_slice(&command.opaque.to_be_bytes());
    header.extend_from_slice(&command.flag.to_be_bytes());
    let remark = command.remark.as_deref().unwrap_or("");
    if command.remark.is_some() && remark.is_empty() {
        return None;
    }
    header.extend_from_slice(&(remark.len() as i32).to_be_bytes());
    header.extend_from_slice(remark.as_bytes());
    let mut fields = Vec::new();
    for (key, value) in command.ext.iter() {
        fields.extend_from_slice(&i16::try_from(key.len()).ok()?.to_be_bytes());
        fields.extend_from_slice(key.as_bytes());
        fields.extend_from_slice(&(value.len() as i32).to_be_bytes());
        fields.extend_from_slice(value.as_bytes());
    }
    header.extend_from_slice(&(fields.len() as i32).to_be_bytes());
    header.extend_from_slice(&fields);
    let mut frame = ((4 + header.len() + command.body.len()) as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(&(1 << 24 | header.len() as u32).to_be_bytes());
    frame.extend_from_slice(&header);
    frame.extend_from_slice(&command.body);
    (frame.len() <= protocol::command::FRAME_SIZE_MAX && header.len() < 1 << 24).then_some(frame)
}

/// Where a header is plain JSON, we read it as serde_json does.
fn agrees_with_serde(data: &[u8], command: &Command) {
    let Ok(serde_json::Value::Object(header)) = serde_json::from_slice(data) else { return };
    if let Some(code) = header.get("code").and_then(serde_json::Value::as_i64) {
        assert_eq!(i64::from(command.code), code);
    }
    if let Some(serde_json::Value::String(remark)) = header.get("remark") {
        assert_eq!(command.remark.as_ref(), Some(remark));
    }
    let keys: HashSet<&str> = command.ext.iter().map(|(key, _)| key).collect();
    let repeated = keys.len() < command.ext.iter().count();
    if let (Some(serde_json::Value::Object(fields)), false) = (header.get("extFields"), repeated) {
        for (key, value) in fields {
            match value {
                serde_json::Value::Null => assert_eq!(command.ext.get(key), None),
                serde_json::Value::String(text) => assert_eq!(command.ext.get(key), Some(text.as_str())),
                _ => assert!(command.ext.get(key).is_some()),
            }
        }
    }
}

/// The header fields of every request that a server takes: what is read and written is read the same again, but for
/// what was left out and means the same as 0, which is written as 0.
pub fn request(data: &[u8]) {
    let Ok(Some(command)) = Command::decode(&mut BytesMut::from(data)) else { return };
    settles::<SendMessage>(&command);
    settles::<SendBack>(&command);
    settles::<PullMessage>(&command);
    settles::<QueryConsumerOffset>(&command);
    settles::<UpdateConsumerOffset>(&command);
    settles::<SearchOffset>(&command);
    settles::<GetMaxOffset>(&command);
    settles::<QueryMessage>(&command);
    settles::<ViewMessage>(&command);
    settles::<GetConsumerList>(&command);
    settles::<UnregisterClient>(&command);
    settles::<CreateTopic>(&command);
    settles::<GetRoute>(&command);
    settles::<RegisterBroker>(&command);
    settles::<UnregisterBroker>(&command);
    settles::<QueryDataVersion>(&command);
}

fn settles<R: Request + PartialEq + Debug>(command: &Command) {
    for code in R::CODES {
        let asked = Command { code: *code, ..command.clone() };
        if let Ok(read) = R::read(&asked) {
            let complete = R::read(&read.write()).expect("we read what we write");
            assert_eq!(R::read(&complete.write()).expect("we read what we write"), complete);
        }
        // Replies are headers too.
        if let Ok(reply) = R::Reply::read_fields(&command.ext) {
            let mut written = Command::default();
            reply.write_fields(&mut written.ext);
            assert!(R::Reply::read_fields(&written.ext).is_ok());
        }
    }
}

/// A message's properties: `name 0x01 value 0x02 …`.
pub fn properties(data: &[u8]) {
    let (name, data) = word(data);
    let (value, data) = word(data);
    let all: Vec<(&str, &str)> = Properties(data).iter().collect();
    assert!(all.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()));
    assert!(Properties(data).segments().map(|segment| segment.len() + 1).sum::<usize>() <= data.len() + 1);
    let mut written = Vec::new();
    all.iter().for_each(|(name, value)| push_property(&mut written, name, value));
    assert_eq!(Properties(&written).iter().collect::<Vec<_>>(), all);
    for (name, _) in &all {
        let last = Properties(data).raw().filter(|(other, _)| *other == name.as_bytes()).last();
        assert_eq!(Properties(data).get(name), last.and_then(|(_, value)| std::str::from_utf8(value).ok()));
    }
    if name.is_empty() || value.is_empty() || format!("{name}{value}").contains(['\u{1}', '\u{2}']) {
        return;
    }
    let set = edit_properties(data, &[(&name, Some(&value))]);
    assert_eq!(Properties(&set).get(&name), Some(value.as_str()));
    let removed = edit_properties(&set, &[(&name, None)]);
    assert_eq!(Properties(&removed).get(&name), None);
    let others = |properties| {
        let all = Properties(properties).raw().filter(|(other, _)| *other != name.as_bytes());
        all.map(|(name, value)| (name.to_vec(), value.to_vec())).collect::<Vec<_>>()
    };
    assert_eq!(others(&set), others(data));
    assert_eq!(others(&removed), others(data));
}

/// Up to 8 characters from the front of `data`, and the rest.
fn word(data: &[u8]) -> (String, &[u8]) {
    let Some((length, rest)) = data.split_first() else { return (String::new(), data) };
    let (word, rest) = rest.split_at(usize::from(length % 8).min(rest.len()));
    (String::from_utf8_lossy(word).into_owned(), rest)
}

/// Stored messages, one behind the other.
pub fn record(data: &[u8]) {
    let mut taken = 0;
    for record in Record::all(data) {
        let Ok(record) = record else { break };
        assert_eq!(record.bytes, &data[taken..taken + record.bytes.len()]);
        taken += record.bytes.len();
        let fields = RecordFields {
            topic: record.topic,
            queue_id: record.queue_id,
            flag: record.flag,
            queue_offset: record.queue_offset,
            commit_log_offset: record.commit_log_offset,
            sys_flag: record.sys_flag,
            born_timestamp: record.born_timestamp,
            born_host: record.born_host,
            store_timestamp: record.store_timestamp,
            store_host: record.store_host,
            reconsume_times: record.reconsume_times,
            prepared_transaction_offset: record.prepared_transaction_offset,
            body: record.body,
            body_crc: record.body_crc,
            properties: record.properties,
        };
        let mut bytes = Vec::new();
        fields.encode(&mut bytes);
        assert_eq!(bytes.len(), fields.encoded_len());
        let again = Record::parse(&bytes).expect("we read what we write");
        assert_eq!(Record { bytes: record.bytes, ..again }, record);
        assert_eq!(again.verify_crc().is_ok(), record.verify_crc().is_ok());
        properties(record.properties);
    }
}

/// The body of a batch.
pub fn batch(data: &[u8]) {
    let entries: Vec<_> = BatchEntries::new(data).map_while(Result::ok).collect();
    let mut written = Vec::new();
    entries.iter().for_each(|entry| entry.encode(&mut written));
    assert!(written.len() <= data.len());
    assert_eq!(BatchEntries::new(&written).collect::<Result<Vec<_>, _>>().expect("we read what we write"), entries);
}

/// The registration of a broker, in all its forms.
pub fn registration(data: &[u8]) {
    for version in [0, 400, 479] {
        if let Ok(body) = RegisterBrokerBody::read(data, version) {
            let text = json::write(&body);
            let again = RegisterBrokerBody::read(&text, 479).expect("we read what we write");
            assert_eq!(json::write(&again), text);
        }
    }
}

/// JSON bodies, and fastjson's dialect.
pub fn bodies(data: &[u8]) {
    rereads::<HeartbeatData>(data);
    rereads::<LockBatchBody>(data);
    rereads::<SubscriptionGroupConfig>(data);
    rereads::<TopicConfig>(data);
    rereads::<DataVersion>(data);
    rereads::<TopicRoute>(data);
    let _ = json::read::<CheckClientBody>(data);
    let _ = protocol::trace::decode(&String::from_utf8_lossy(data));
    // Of standard JSON, the dialect's reader makes what serde_json does.
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(data) {
        assert_eq!(json::read::<serde_json::Value>(data).expect("it is JSON"), value);
    }
    if let Ok(table) = json::read::<BTreeMap<i64, String>>(data) {
        for text in [json::write(&table), json::write_bare_keys(&table)] {
            assert_eq!(json::read::<BTreeMap<i64, String>>(&text).expect("we read what we write"), table);
        }
    }
}

fn rereads<T: PartialEq + Debug + serde::Serialize + serde::de::DeserializeOwned>(data: &[u8]) {
    let Ok(body) = json::read::<T>(data) else { return };
    let text = json::write(&body);
    let again = json::read::<T>(&text).expect("we read what we write");
    assert_eq!(again, body);
}

/// A broker's four tables, as files.
pub fn tables(data: &[u8]) {
    let dir = scratch();
    let config = broker::Config { store_root: dir.path().into(), ..broker::Config::default() };
    fs::create_dir(dir.path().join("config")).unwrap();
    for name in ["topics.json", "subscriptionGroup.json", "consumerOffset.json", "delayOffset.json"] {
        fs::write(dir.path().join("config").join(name), data).unwrap();
    }
    if let Ok(topics) = broker::topics::Topics::open(&config, &[], 1) {
        for topic in topics.all().0 {
            assert!(topics.queues(&topic.topic_name).is_some());
        }
    }
    if let Ok(groups) = broker::groups::Groups::open(&config, &Default::default(), 1) {
        let _ = groups.get_or_create("G", None, 1);
    }
    if let Ok(offsets) = broker::offsets::ConsumerOffsets::open(&config) {
        offsets.commit("G", "T", 0, 7).unwrap();
        assert_eq!(offsets.get("G", "T", 0), Some(7));
    }
    let store = Store::open(small(dir.path())).expect("the store knows nothing of these files");
    if let Ok(delay) = broker::delay::Delay::open(&config, &store) {
        for level in delay.levels() {
            let _ = delay.next(level);
        }
    }
}

/// `broker.conf`, and `.properties` at large.
pub fn conf(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let all = java_properties::read(&text);
    assert!(all.windows(2).all(|two| two[0].line < two[1].line));
    let written = java_properties::write(all.iter().map(|property| (&property.key, &property.value)));
    let again = java_properties::read(&written);
    let trimmed = |all: &[java_properties::Property]| {
        let pairs = all.iter().map(|p| (p.key.clone(), p.value.trim_end().to_owned()));
        pairs.filter(|(key, value)| !key.is_empty() || !value.is_empty()).collect::<Vec<_>>()
    };
    assert_eq!(trimmed(&again), trimmed(&all));
    let path = Path::new("broker.conf");
    if let Ok((config, notes)) = broker::Config::default().parse_over(path, &text) {
        assert!(notes.unknown.len() + notes.not_honoured.len() <= all.len());
        let values = config.values();
        let written = java_properties::write(values.iter().map(|(key, value)| (key, value)));
        let (again, notes) = broker::Config::default().parse_over(path, &written).expect("we read what we write");
        assert_eq!(again.values(), values);
        assert!(notes.unknown.is_empty());
    }
}

/// Expressions of tags, and message ids.
pub fn subscription(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(subscription) = SubscriptionData::tags("T", &text) {
        let filter = subscription.filter();
        for tag in &subscription.tags_set {
            assert!(filter.passes(java_hash(tag).into()), "{tag:?}");
        }
        assert_eq!(filter == TagFilter::All, subscription.tags_set.is_empty());
        // A client that sends the expression alone means the same.
        let bare = SubscriptionData { code_set: Default::default(), ..subscription.clone() };
        for tag in &subscription.tags_set {
            assert!(bare.filter().passes(java_hash(tag).into()));
        }
    }
    if let Ok((host, at)) = parse_offset_message_id(&text) {
        assert!(offset_message_id(host, at).eq_ignore_ascii_case(&text));
    }
    let _ = protocol::topic::check_topic_name(&text);
}

/// An SQL92 expression, a line feed, properties. What is read of it is an expression by itself, and says the same.
pub fn sql92(data: &[u8]) {
    let cut = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (text, properties) =
        (String::from_utf8_lossy(&data[..cut]), Properties(data.get(cut + 1..).unwrap_or_default()));
    let Ok(expression) = Expression::parse(&text) else { return };
    let verdict = expression.evaluate(&properties);
    assert_eq!(expression.matches(&properties), verdict == Ok(Some(true)));
    let read = &text[..text.len() - expression.ignored().map_or(0, str::len)];
    let again = Expression::parse(read).expect("what was read of it");
    assert_eq!((again.evaluate(&properties), again.ignored()), (verdict, None), "{text:?}");
    let negated = Expression::parse(&format!("NOT ({read}\n)"));
    if let Ok(negated) = negated {
        assert_eq!(negated.evaluate(&properties), verdict.map(|verdict| verdict.map(|verdict| !verdict)), "{text:?}");
    }
}

/// A filter program. What is none is refused with a sentence; what is one judges a message or fails, within its limits.
pub fn program(data: &[u8]) {
    let guest = match Guest::read(data) {
        Ok(guest) => guest,
        Err(bad) => return assert!(bad.to_string().len() > 20, "{bad}"),
    };
    let host = "127.0.0.1:1".parse().unwrap();
    let mut bytes = Vec::new();
    let fields = RecordFields {
        topic: "T",
        queue_id: 0,
        flag: 0,
        queue_offset: QueueOffset(0),
        commit_log_offset: CommitLogOffset(0),
        sys_flag: 0,
        born_timestamp: 0,
        born_host: host,
        store_timestamp: 0,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &data[..data.len().min(1000)],
        body_crc: 0,
        properties: b"amount\x01100\x02",
    };
    fields.encode(&mut bytes);
    let record = Record::parse(&bytes).unwrap();
    let mut instance = guest.start().expect("what was read has come up once");
    if let Err(failure) = instance.judge(&record) {
        assert!(failure.to_string().len() > 10, "{failure}");
    }
    assert!(instance.memory() <= MEMORY_MAX);
}

/// A store whose files are not what it wrote. The first byte says whether it was closed or killed; then, 8 bytes each:
/// which file, what is done to it, where, with what.
///
/// It opens or says why it does not; it serves nothing that nobody sent; it goes on taking messages. Where only the log
/// is damaged, messages in front of the first damage are there, and opened again it holds the same.
pub fn recovery(data: &[u8]) {
    let Some((killed, changes)) = data.split_first() else { return };
    let dir = scratch();
    copy(SOUND.dir.path(), dir.path());
    if killed % 2 == 1 {
        fs::write(dir.path().join("abort"), b"").unwrap();
    }
    let files = files(dir.path());
    // Where the log may differ from what was written; what is derived from it may be broken as well.
    let (mut log_sound_to, mut only_the_log, mut invented) = (u64::MAX, true, false);
    for change in changes.chunks_exact(8).take(16) {
        let file = &files[usize::from(change[0]) % files.len()];
        let Ok(mut bytes) = fs::read(file) else { continue };
        let at = if bytes.is_empty() { 0 } else { u16::from_be_bytes([change[2], change[3]]) as usize % bytes.len() };
        let length = usize::from(change[4]).min(bytes.len() - at);
        let damage = &mut bytes[at..at + length];
        match change[1] % 6 {
            0 if length > 0 => damage[0] ^= change[5].max(1),
            1 => bytes.truncate(at),
            2 => damage.fill(0),
            3 => bytes.extend(std::iter::repeat_n(change[5], usize::from(change[4]))),
            4 => {
                damage.iter_mut().zip(change[5..].iter().cycle()).for_each(|(byte, new)| *byte = *new);
                invented = true;
            }
            _ => damage.reverse(),
        }
        fs::write(file, bytes).unwrap();
        match file.parent().and_then(Path::file_name).is_some_and(|name| name == "commitlog") {
            true => {
                let start: u64 = file.file_name().and_then(|name| name.to_str()?.parse().ok()).unwrap();
                log_sound_to = log_sound_to.min(start + at as u64);
            }
            false => only_the_log = false,
        }
    }

    let Some(first) = served(dir.path()) else { return };
    for message in &SOUND.messages {
        let key = (message.topic.to_owned(), message.offset);
        if only_the_log && message.end <= log_sound_to {
            assert_eq!(first.get(&key), Some(&message.body), "{key:?} lies in front of the damage at {log_sound_to}");
        }
    }
    if !invented {
        let sent: HashSet<&Vec<u8>> = SOUND.messages.iter().map(|message| &message.body).collect();
        first.values().for_each(|body| assert!(sent.contains(body), "nobody sent this"));
    }
    let second = served(dir.path()).expect("it opened before");
    if only_the_log {
        assert_eq!(second, first);
    }

    let store = Store::open(small(dir.path())).expect("it opened before");
    if let Ok(stored) = store.put_message(&put("T0", b"one more")) {
        store.close().unwrap();
        assert_eq!(body_at(&store, "T0", stored.queue_offset).as_deref(), Some(&b"one more"[..]));
    }
}

/// A store with some messages, made once.
struct Sound {
    dir: TempDir,
    messages: Vec<Sent>,
}

struct Sent {
    topic: &'static str,
    offset: i64,
    body: Vec<u8>,
    /// Where its record ends in the log.
    end: u64,
}

static SOUND: LazyLock<Sound> = LazyLock::new(|| {
    let dir = scratch();
    let store = Store::open(small(dir.path())).unwrap();
    let mut messages = Vec::new();
    for n in 0..40u32 {
        let topic = ["T0", "T1"][n as usize % 2];
        let body = format!("message {n} ").repeat(1 + n as usize).into_bytes();
        let stored = store.put_message(&put(topic, &body)).unwrap();
        messages.push(Sent { topic, offset: stored.queue_offset.0, body, end: stored.end.0 as u64 });
    }
    store.close().unwrap();
    Sound { dir, messages }
});

/// Files so small that there are several of each kind.
fn small(root: &Path) -> StoreConfig {
    StoreConfig {
        commit_log_file_size: 6 * 1024,
        consume_queue_file_size: 12 * 20,
        index_slots: 16,
        index_entries: 24,
        ..StoreConfig::new(root)
    }
}

fn put<'a>(topic: &'a str, body: &'a [u8]) -> PutMessage<'a> {
    PutMessage {
        topic,
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1_700_000_000_000,
        born_host: ([127, 0, 0, 1], 50_000).into(),
        store_host: ([127, 0, 0, 1], 10_911).into(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties: b"KEYS\x01k\x02",
    }
}

/// Opens the store, closes it, and reads all that it serves; `None` when it does not open.
fn served(root: &Path) -> Option<BTreeMap<(String, i64), Vec<u8>>> {
    let store = Store::open(small(root)).ok()?;
    store.close().expect("what opens can be closed");
    let mut found = BTreeMap::new();
    for topic in ["T0", "T1"] {
        let (min, max) = (store.min_offset(topic, 0), store.max_offset(topic, 0));
        assert!(max.0 <= 1_000_000, "{topic} is said to have {max} messages");
        for offset in min.0..max.0 {
            if let Some(body) = body_at(&store, topic, QueueOffset(offset)) {
                found.insert((topic.to_owned(), offset), body);
            }
        }
    }
    Some(found)
}

fn body_at(store: &Arc<Store>, topic: &str, offset: QueueOffset) -> Option<Vec<u8>> {
    let got = store.get_message(topic, 0, offset, 1, 1 << 20, &|_| true);
    if got.status != GetStatus::Found {
        return None;
    }
    // A file may end before what was found in it: then nothing is sent.
    let bytes: Vec<Bytes> = got.parts.iter().map(|part| part.to_bytes()).collect::<Result<_, _>>().ok()?;
    let bytes = bytes.concat();
    let record = Record::parse(&bytes).expect("only sound records are served");
    record.verify_crc().expect("only sound records are served");
    Some(record.body.to_vec())
}

/// A directory in memory, where there is one.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory).unwrap() } else { TempDir::new().unwrap() }
}

/// All files below `root` but its lock, in order.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(dir) = waiting.pop() {
        for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                waiting.push(path);
            } else if path.file_name().is_some_and(|name| name != "lock") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
}

/// An account file: what is read is read again when tools have changed it, and no secret is in what is said about a bad one.
pub fn plain_acl(data: &[u8]) {
    let (path, text) = (Path::new("plain_acl.yml"), String::from_utf8_lossy(data));
    let _ = access::plain::tools_credentials(&text);
    let file = match access::plain::PlainFile::read(path, &text) {
        Ok(file) => file,
        Err(bad) => {
            assert!(!bad.to_string().contains("secretOf"), "{bad}");
            return;
        }
    };
    for account in &file.accounts {
        let (everything, ..) = access::plain::rights(account).expect("what is read was checked");
        assert!(!everything || account.admin, "only an admin may do everything");
        assert!(!format!("{account:?}").contains("secret_key"));
    }
    let gone = file.accounts.first().map(|account| account.access_key.clone()).unwrap_or_default();
    let Ok(changed) = access::plain::edit(path, &text, &access::plain::Edit::Remove(&gone), 1) else { return };
    let again = access::plain::PlainFile::read(path, &changed).expect("what tools write can be read");
    assert_eq!(again.white, file.white);
    assert!(
        again.accounts.len() + 1 >= file.accounts.len()
            && again.version.counter == file.version.counter.saturating_add(1)
    );
}

/// A rule, as tools send it: what is read is shown, and read again as the same.
pub fn rule(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut words = text.split_whitespace();
    let mut word = || words.next().map(str::to_owned);
    let info = protocol::auth::PolicyEntryInfo {
        decision: word(),
        actions: word().iter().flat_map(|word| word.split(',')).map(str::to_owned).collect(),
        resource: word(),
        source_ips: word().map(|word| word.split(',').map(str::to_owned).collect()),
    };
    if let Ok(rule) = access::rule::Rule::read(&info) {
        assert_eq!(access::rule::Rule::read(&rule.info()), Ok(rule));
    }
    let _ = access::address::Pattern::parse(&text).map(|pattern| pattern.contains([127, 0, 0, 1].into()));
}

/// What a proxy says first: a header is as long as it says, says nothing before it is whole, and the same whatever follows.
pub fn proxy_header(data: &[u8]) {
    let read = proxy::read(data);
    let whole = match read {
        Ok(ProxyHeader::Whole { length, .. }) => {
            assert!(length <= data.len());
            assert_eq!(proxy::read(&data[..length]), read);
            length
        }
        Ok(ProxyHeader::Incomplete) => {
            assert!(data.len() < 4200, "there is an end to what is waited for");
            data.len()
        }
        // It stays none.
        Err(none) => return assert_eq!(proxy::read(&[data, b"\r\n"].concat()), Err(none)),
    };
    for end in (0..whole).step_by(1 + whole / 64) {
        assert_eq!(proxy::read(&data[..end]), Ok(ProxyHeader::Incomplete));
    }
}

/// What a connection begins with: nobody gets anything in before the handshake is done, and nothing breaks the server.
pub fn first_bytes(data: &[u8]) {
    static SERVERS: LazyLock<Vec<(TlsMode, Tls)>> = LazyLock::new(|| {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("tls.properties");
        fs::write(&file, "tls.test.mode.enable=true").unwrap();
        let modes = [TlsMode::Disabled, TlsMode::Permissive, TlsMode::Enforcing];
        modes.map(|mode| (mode, Tls::open(Some(file.clone()), Some(mode)).unwrap())).into()
    });
    let Some(first) = data.first() else { return };
    for (mode, server) in SERVERS.iter() {
        let taken = tls::first_bytes(server, data);
        match (*first == 0x16, mode) {
            (true, TlsMode::Disabled) | (false, TlsMode::Enforcing) => assert!(taken.is_err()),
            (true, _) => assert!(taken.is_err() || taken == Ok(0)),
            (false, _) => assert_eq!(taken, Ok(data.len())),
        }
    }
}
