//! Messages: what became of them, as brokers know it and as clients wrote it down; and what came more than once.

use crate::{Admin, Error, topic};
use bytes::Bytes;
use protocol::duplicates::Duplicates;
use protocol::life::MessageLives;
use protocol::record::Record;
use protocol::request::duplicates::GetDuplicates;
use protocol::request::life::QueryMessageLife;
use protocol::request::query::QueryMessage;
use protocol::trace::{self, TraceRecord};

/// Brokers look up no more messages than this at a time.
const FOUND_MAX: i32 = 64;

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
/// its keys. `between`: when that was stored, in ms since 1970.
#[doc(alias = "queryMsgTraceById")]
pub async fn trace(admin: &Admin, trace_topic: &str, id: &str, between: (i64, i64)) -> Result<Vec<TraceRecord>, Error> {
    let request = QueryMessage {
        topic: trace_topic.to_owned(),
        key: id.to_owned(),
        max_num: FOUND_MAX,
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
