//! Messages: what became of them, as brokers know it and as clients wrote it down; and what came more than once.

use crate::{Admin, Error, connection, consumer, topic};
use bytes::Bytes;
use protocol::duplicates::Duplicates;
use protocol::life::MessageLives;
use protocol::message::{offset_message_id, parse_offset_message_id, property};
use protocol::record::Record;
use protocol::request::duplicates::GetDuplicates;
use protocol::request::group::ConsumeDirectly;
use protocol::request::life::QueryMessageLife;
use protocol::request::query::{QueryMessage, ViewMessage};
use protocol::trace::{self, TraceRecord};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// So many messages are looked up, if nothing else is said: brokers find no more at a time.
pub const FOUND_MAX: i32 = 64;

/// What became of a message, as one broker knows it. Apache's brokers don't.
pub async fn life(admin: &Admin, broker: &str, sought: &QueryMessageLife) -> Result<MessageLives, Error> {
    admin.ask_for(broker, sought).await
}

/// What came or went more than once at a broker: of one topic and one group, or of all. Apache's brokers don't know.
pub async fn duplicates(
    admin: &Admin,
    broker: &str,
    topic: Option<String>,
    group: Option<String>,
) -> Result<Duplicates, Error> {
    admin.ask_for(broker, &GetDuplicates { topic, group }).await
}

/// The masters that have a topic.
pub async fn brokers_of(admin: &Admin, topic: &str) -> Result<Vec<String>, Error> {
    let route = topic::route(admin, topic).await?;
    Ok(route.broker_datas.iter().filter_map(|broker| broker.broker_addrs.get(&0).cloned()).collect())
}

/// What clients wrote down about a message in a trace topic (`queryMsgTraceById`), in order: found by its id, or by one of
/// its keys. `between`: when that was stored, in ms since 1970; `max`: how many messages of the trace topic are looked at
/// on each broker.
#[doc(alias = "queryMsgTraceById")]
pub async fn trace(
    admin: &Admin,
    trace_topic: &str,
    id: &str,
    between: (i64, i64),
    max: i32,
) -> Result<Vec<TraceRecord>, Error> {
    let request = QueryMessage {
        topic: trace_topic.to_owned(),
        key: id.to_owned(),
        max_num: max,
        begin_timestamp: between.0,
        end_timestamp: between.1,
        unique_key_query: None,
    };
    let mut found = Vec::new();
    for broker in brokers_of(admin, trace_topic).await? {
        let body = match admin.ask(&broker, &request, Bytes::new()).await {
            Ok((_, body)) => body,
            Err(error) if error.code() == Some(protocol::code::response::QUERY_NOT_FOUND) => continue,
            Err(error) => return Err(error),
        };
        for record in Record::all(&body).flatten() {
            let Ok(text) = protocol::body::unpack(Bytes::copy_from_slice(record.body), record.sys_flag) else {
                continue;
            };
            let keys = |it: &TraceRecord| it.keys.as_deref().unwrap_or_default().split(' ').any(|key| key == id);
            let about = trace::decode(&String::from_utf8_lossy(&text)).into_iter();
            found.extend(about.filter(|it| it.message_id == id || keys(it)).map(|mut it| {
                // Who wrote it down is who did it.
                it.client_host.get_or_insert_with(|| record.born_host.ip().to_string());
                it.timestamp.get_or_insert(record.born_timestamp);
                it
            }));
        }
    }
    found.sort_by_key(|it| it.timestamp);
    Ok(found)
}

/// A message as a broker has it.
#[doc(alias = "MessageExt")]
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredMessage {
    /// The topic in which it lies.
    pub topic: String,
    /// The broker's name.
    pub broker: String,
    /// The queue in which it lies.
    pub queue_id: i32,
    /// Its place in the queue.
    pub queue_offset: i64,
    /// Its place in the commit log.
    pub commit_log_offset: i64,
    /// Its id by which brokers find it: where it is stored.
    pub offset_message_id: String,
    /// The id that its producer gave it.
    pub unique_key: Option<String>,
    /// Its keys, parted by blanks.
    pub keys: Option<String>,
    /// Its tags.
    pub tags: Option<String>,
    /// The producer's own number.
    pub flag: i32,
    /// See `protocol::message::SysFlag`.
    pub sys_flag: i32,
    /// When its producer made it, milliseconds since 1970.
    pub born_timestamp: i64,
    /// Who made it.
    pub born_host: String,
    /// When it was stored, milliseconds since 1970.
    pub store_timestamp: i64,
    /// Where it was stored.
    pub store_host: String,
    /// How often its consumption failed.
    pub reconsume_times: i32,
    /// All its properties.
    pub properties: BTreeMap<String, String>,
    /// Its properties as they are stored.
    #[serde(skip)]
    pub raw_properties: Bytes,
    /// What it says; unpacked, if it can be. In JSON as text if it is, else in base 64 under `bodyBase64`.
    #[serde(flatten, serialize_with = "as_text")]
    pub body: Bytes,
    /// What it says, as it is stored.
    #[serde(skip)]
    pub raw_body: Bytes,
}

fn as_text<S: Serializer>(body: &Bytes, to: S) -> Result<S::Ok, S::Error> {
    use base64::Engine;
    match std::str::from_utf8(body) {
        Ok(text) => to.collect_map([("body", text)]),
        Err(_) => to.collect_map([("bodyBase64", base64::prelude::BASE64_STANDARD.encode(body))]),
    }
}

impl StoredMessage {
    /// A record of a broker.
    pub fn new(broker: &str, record: &Record<'_>) -> StoredMessage {
        let properties: BTreeMap<String, String> =
            record.properties().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let named = |name: &str| properties.get(name).cloned();
        let raw_body = Bytes::copy_from_slice(record.body);
        StoredMessage {
            topic: record.topic.to_owned(),
            broker: broker.to_owned(),
            queue_id: record.queue_id,
            queue_offset: record.queue_offset.0,
            commit_log_offset: record.commit_log_offset.0,
            offset_message_id: offset_message_id(record.store_host, record.commit_log_offset),
            unique_key: named(property::UNIQ_KEY),
            keys: named(property::KEYS),
            tags: named(property::TAGS),
            flag: record.flag,
            sys_flag: record.sys_flag,
            born_timestamp: record.born_timestamp,
            born_host: record.born_host.to_string(),
            store_timestamp: record.store_timestamp,
            store_host: record.store_host.to_string(),
            reconsume_times: record.reconsume_times,
            properties,
            raw_properties: Bytes::copy_from_slice(record.properties),
            body: protocol::body::unpack(raw_body.clone(), record.sys_flag).unwrap_or_else(|_| raw_body.clone()),
            raw_body,
        }
    }
}

/// The message with this offset message id (`queryMsgById`), on the broker that the id names.
#[doc(alias = "viewMessage")]
pub async fn by_id(admin: &Admin, topic: Option<&str>, id: &str) -> Result<StoredMessage, Error> {
    let bad = |error: protocol::message::MessageIdError| {
        Error::Input(format!(
            "`{id}` is no offset message id ({error}); look for a unique key with queryMsgByUniqueKey"
        ))
    };
    let (host, at) = parse_offset_message_id(id).map_err(bad)?;
    let broker = host.to_string();
    let request = ViewMessage { topic: topic.map(str::to_owned), offset: at.0 };
    let (_, body) = admin.ask(&broker, &request, Bytes::new()).await?;
    let record = Record::parse(&body)
        .map_err(|error| client::Error::Answer { address: broker.clone(), reason: error.to_string() })?;
    let masters = crate::cluster::all_masters(admin).await?;
    let name = masters.into_iter().find(|(_, address)| *address == broker).map_or(broker, |(name, _)| name);
    Ok(StoredMessage::new(&name, &record))
}

/// Which messages are looked for.
#[derive(Debug, Clone)]
pub struct Sought<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The topic whose brokers are asked: itself, a cluster's name, or the parent of a lite topic.
    pub route: &'a str,
    /// One of their keys, or their unique key.
    pub key: &'a str,
    /// `key` is a unique key.
    pub unique: bool,
    /// Stored then or later, milliseconds since 1970.
    pub begin: i64,
    /// Stored then or before.
    pub end: i64,
    /// At most so many on each broker.
    pub max: i32,
}

/// The messages with a key (`queryMsgByKey`), or with a unique key (`queryMsgByUniqueKey`), on all masters of the topic.
pub async fn by_key(admin: &Admin, sought: &Sought<'_>) -> Result<Vec<StoredMessage>, Error> {
    let request = QueryMessage {
        topic: sought.topic.to_owned(),
        key: sought.key.to_owned(),
        max_num: sought.max,
        begin_timestamp: sought.begin,
        end_timestamp: sought.end,
        unique_key_query: sought.unique.then_some(true),
    };
    let mut found = Vec::new();
    for (name, broker) in topic::masters(admin, sought.route).await? {
        let body = match admin.ask(&broker, &request, Bytes::new()).await {
            Ok((_, body)) => body,
            Err(error) if error.code() == Some(protocol::code::response::QUERY_NOT_FOUND) => continue,
            Err(error) => return Err(error),
        };
        let records = Record::all(&body).map_while(Result::ok).map(|record| StoredMessage::new(&name, &record));
        // The index knows hashes only.
        found.extend(records.filter(|message| match sought.unique {
            true => message.unique_key.as_deref() == Some(sought.key),
            false => message.keys.as_deref().unwrap_or_default().split(' ').any(|key| key == sought.key),
        }));
    }
    match found.is_empty() {
        true => Err(crate::not_there("message", sought.key, std::iter::empty())),
        false => Ok(found),
    }
}

/// Has a member of a group consume a message now, and says what it answered (`queryMsgById -g -d`).
#[doc(alias = "consumeMessageDirectly")]
pub async fn consume_directly(
    admin: &Admin,
    message: &StoredMessage,
    group: &str,
    client_id: &str,
) -> Result<serde_json::Value, Error> {
    let members = connection::members(admin, group).await?;
    let Some(member) = members.iter().find(|member| member.client_id == client_id) else {
        return Err(crate::not_there("member of the group", client_id, members.iter().map(|it| it.client_id.as_str())));
    };
    let fields = [
        ("consumerGroup", group),
        ("clientId", client_id),
        ("msgId", &message.offset_message_id),
        ("topic", &message.topic),
        ("brokerName", &message.broker),
    ];
    let ext = fields.into_iter().collect();
    let request = ConsumeDirectly { ext, ..ConsumeDirectly::default() };
    let (_, body) = admin.ask(&member.broker, &request, Bytes::new()).await?;
    crate::read(&member.broker, &body)
}

/// What became of a message in a group that consumes its topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Track {
    /// The group.
    pub group: String,
    /// `CONSUMED`, `NOT_CONSUME_YET`, `CONSUMED_BUT_FILTERED`, `PULL`, `NOT_ONLINE`, `CONSUME_BROADCASTING` or `UNKNOWN`,
    /// as RocketMQ calls it.
    pub track: String,
}

/// What became of a message in each group, as far as offsets tell (`messageTrackDetail`).
pub async fn track(admin: &Admin, message: &StoredMessage) -> Result<Vec<Track>, Error> {
    let mut all = Vec::new();
    for group in consumer::of_topic(admin, &message.topic).await? {
        let track = match connection::consumers(admin, &group, None).await {
            Err(error) if error.kind() == crate::ErrorKind::NotThere => "NOT_ONLINE",
            Err(error) => return Err(error),
            Ok(it) if it.consume_type == protocol::heartbeat::ConsumeType::Actively => "PULL",
            Ok(it) if it.message_model == protocol::heartbeat::MessageModel::Broadcasting => "CONSUME_BROADCASTING",
            Ok(it) => {
                let progress = consumer::progress(admin, &group, Some(&message.topic), false).await?;
                let queue = progress.queues.iter().find(|queue| {
                    queue.topic == message.topic && queue.broker == message.broker && queue.queue_id == message.queue_id
                });
                let wanted = it.subscription_table.get(&message.topic).is_none_or(|subscription| {
                    let tags = &subscription.tags_set;
                    !subscription.is_tags()
                        || tags.is_empty()
                        || tags.iter().any(|tag| Some(tag) == message.tags.as_ref())
                });
                match queue {
                    Some(queue) if queue.consumer_offset <= message.queue_offset => "NOT_CONSUME_YET",
                    Some(_) if !wanted => "CONSUMED_BUT_FILTERED",
                    Some(_) => "CONSUMED",
                    None => "UNKNOWN",
                }
            }
        };
        all.push(Track { group, track: track.to_owned() });
    }
    Ok(all)
}
