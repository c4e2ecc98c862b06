//! New queues of ordered topics.

use super::short;
use crate::Broker;
use crate::table::Table;
use protocol::code::response;
use protocol::json;
use protocol::request::Empty;
use protocol::request::order::{ListOrderFences, OrderFenceList, RemoveOrderFences};
use remoting::{Answer, Call, Reject};
use std::io;
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// LIST_ORDER_FENCES (90045).
pub(super) async fn list(broker: Arc<Broker>, _: Call<ListOrderFences>) -> Result<Answer<Empty>, Reject> {
    Ok(Answer::new(Empty {}).with_body(json::write(&OrderFenceList { fences: broker.fences.list() })))
}

/// REMOVE_ORDER_FENCES (90046).
pub(super) async fn remove(broker: Arc<Broker>, call: Call<RemoveOrderFences>) -> Result<Answer<Empty>, Reject> {
    let topic = call.request.topic;
    if !broker.fences.forget(&topic) {
        let remark = format!("topic[{}] has no new queues that anybody waits for on this broker", short(&topic));
        return Err(Reject::new(response::INVALID_PARAMETER, remark));
    }
    tracing::warn!(topic, by = ?call.peer, "new queues are given out at once; keys that moved there may overtake themselves");
    let saved = spawn_blocking(move || broker.fences.save()).await.map_err(io::Error::other).flatten();
    saved.map_err(|error| {
        Reject::system_error(format!("done until the next start: config/orderFences.json cannot be saved: {error}"))
    })?;
    Ok(Empty {}.into())
}
