//! Queues that one member of a group consumes in order.

use crate::Broker;
use crate::shares::Share;
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
    let (group, client, now) = (&body.consumer_group, &body.client_id, Instant::now());
    let (shares, is_new) = (broker.shares_by_key(group), broker.connections.hear(call.peer.address(), client));
    let owned = match shares {
        false => broker.locks.lock().lock(group, client, body.mq_set, now),
        true => broker.share(group, client, body.mq_set, now),
    };
    if shares && is_new {
        // Who asked for the members before it was known may have been told of others, too.
        broker.tell_members(group);
    }
    Ok(Answer::new(Empty {}).with_body(json::write(&LockBatchReplyBody { lock_ok_mq_set: owned })))
}

/// UNLOCK_BATCH_MQ (42).
pub(super) async fn unlock(broker: Arc<Broker>, call: Call<UnlockBatch>) -> Result<Answer<Empty>, Reject> {
    let body = read(&call.body)?;
    broker.locks.lock().unlock(&body.consumer_group, &body.client_id, &body.mq_set);
    if broker.shares.is_used() {
        for queue in &body.mq_set {
            let lost = |share: &mut Share| share.lost(&body.client_id, Instant::now());
            broker.shares.with(&body.consumer_group, &queue.topic, queue.queue_id, lost);
        }
    }
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
