//! Queues that one member of a group consumes in order.

use crate::Broker;
use protocol::heartbeat::{LockBatchBody, LockBatchReplyBody};
use protocol::json;
use protocol::request::Empty;
use protocol::request::client::{LockBatch, UnlockBatch};
use remoting::{Answer, Call, Reject};
use std::sync::Arc;
use std::time::Instant;

/// LOCK_BATCH_MQ (41).
pub(super) async fn lock(broker: Arc<Broker>, call: Call<LockBatch>) -> Result<Answer<Empty>, Reject> {
    let body = read(&call.body)?;
    let owned = broker.locks.lock().lock(&body.consumer_group, &body.client_id, body.mq_set, Instant::now());
    Ok(Answer::new(Empty {}).with_body(json::write(&LockBatchReplyBody { lock_ok_mq_set: owned })))
}

/// UNLOCK_BATCH_MQ (42).
pub(super) async fn unlock(broker: Arc<Broker>, call: Call<UnlockBatch>) -> Result<Answer<Empty>, Reject> {
    let body = read(&call.body)?;
    broker.locks.lock().unlock(&body.consumer_group, &body.client_id, &body.mq_set);
    Ok(Empty {}.into())
}

fn read(body: &[u8]) -> Result<LockBatchBody, Reject> {
    let body: LockBatchBody =
        json::read(body).map_err(|error| Reject::system_error(format!("the body of the lock request: {error}")))?;
    if body.consumer_group.is_empty() || body.client_id.is_empty() {
        return Err(Reject::system_error("a lock request needs `consumerGroup` and `clientId` in its body"));
    }
    Ok(body)
}
