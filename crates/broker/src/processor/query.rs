//! Looking messages up, by key or by position.

use super::short;
use crate::Broker;
use protocol::code::response;
use protocol::request::Empty;
use protocol::request::query::{QueryMessage, QueryMessageReply, ViewMessage};
use remoting::reply::Part;
use remoting::{Answer, Body, Call, Reject};
use std::sync::Arc;
use store::CommitLogOffset;

/// So many messages at most.
const FOUND_MAX: usize = 64;

/// So many with a unique key: one that the client made again and again.
const UNIQUE_FOUND_MAX: usize = 32;

/// QUERY_MESSAGE (12).
pub(super) async fn query_message(
    broker: Arc<Broker>,
    call: Call<QueryMessage>,
) -> Result<Answer<QueryMessageReply>, Reject> {
    let request = &call.request;
    let max = match request.unique_key_query {
        Some(true) => UNIQUE_FOUND_MAX,
        _ => usize::try_from(request.max_num).unwrap_or(0).min(FOUND_MAX),
    };
    let found = broker.store.query(&request.topic, &request.key, max, request.begin_timestamp, request.end_timestamp);
    if found.records.is_empty() {
        return Err(Reject::new(
            response::QUERY_NOT_FOUND,
            format!(
                "can not find message, maybe time range not correct: no message of topic[{}] with key `{}` was stored between \
                 {} and {} (milliseconds since 1970)",
                short(&request.topic),
                short(&request.key),
                request.begin_timestamp,
                request.end_timestamp
            ),
        ));
    }
    let reply = QueryMessageReply {
        index_last_update_timestamp: found.index_last_update_timestamp,
        index_last_update_phyoffset: found.index_last_update_offset.0,
    };
    Ok(Answer::new(reply).with_body(Body::Parts(found.records.into_iter().map(Part::Bytes).collect())))
}

/// VIEW_MESSAGE_BY_ID (33).
pub(super) async fn view_message(broker: Arc<Broker>, call: Call<ViewMessage>) -> Result<Answer<Empty>, Reject> {
    let at = CommitLogOffset(call.request.offset);
    match broker.store.read(at) {
        Ok(Some(bytes)) => Ok(Answer::new(Empty {}).with_body(Body::Bytes(bytes))),
        Ok(None) => {
            let (first, end) = broker.store.commit_log_bounds();
            Err(Reject::system_error(format!(
                "can not find message by the offset, {at}: the log holds {first} to {end}, and what has expired or was \
                 deleted is not served"
            )))
        }
        Err(error) => Err(Reject::system_error(format!("can not find message by the offset, {at}: {error}"))),
    }
}
