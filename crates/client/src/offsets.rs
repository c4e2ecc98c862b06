//! Where a group stands in each queue: kept by the broker that has the queue.

use crate::REQUEST_TIMEOUT;
use crate::message::MessageQueue;
use protocol::code::response;
use protocol::message::QueueOffset;
use protocol::request::Request;
use protocol::request::offset::{GetMaxOffset, GetMinOffset, QueryConsumerOffset, UpdateConsumerOffset};
use remoting::client::RequestError;

/// Where the group stands in `queue`; `None` when it never was there.
///
/// Brokers answer 0 for a queue that is young enough to be read from its start, unless they are asked not to. We ask
/// them not to: who begins with the last message means it, and a queue that is new is told from a group that is new
/// by the consumer.
pub(crate) async fn stored(
    remoting: &remoting::Client,
    address: &str,
    group: &str,
    queue: &MessageQueue,
) -> Result<Option<QueueOffset>, RequestError> {
    let request = QueryConsumerOffset {
        consumer_group: group.into(),
        topic: queue.topic.clone(),
        queue_id: queue.queue_id,
        set_zero_if_not_found: Some(false),
    };
    match remoting.ask(address, &request, REQUEST_TIMEOUT).await {
        Ok(reply) if reply.offset >= 0 => Ok(Some(QueueOffset(reply.offset))),
        Ok(_) => Ok(None),
        Err(RequestError::Refused { code: response::QUERY_NOT_FOUND, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The first message of `queue`.
pub(crate) async fn first(
    remoting: &remoting::Client,
    address: &str,
    queue: &MessageQueue,
) -> Result<QueueOffset, RequestError> {
    let request = GetMinOffset { topic: queue.topic.clone(), queue_id: queue.queue_id };
    let reply = remoting.ask(address, &request, REQUEST_TIMEOUT).await?;
    Ok(QueueOffset(reply.offset.max(0)))
}

/// Behind the last message of `queue`.
pub(crate) async fn end(
    remoting: &remoting::Client,
    address: &str,
    queue: &MessageQueue,
) -> Result<QueueOffset, RequestError> {
    let request = GetMaxOffset { topic: queue.topic.clone(), queue_id: queue.queue_id };
    let reply = remoting.ask(address, &request, REQUEST_TIMEOUT).await?;
    Ok(QueueOffset(reply.offset.max(0)))
}

/// Tells the broker where the group stands; nobody waits for an answer.
pub(crate) async fn commit(
    remoting: &remoting::Client,
    address: &str,
    group: &str,
    queue: &MessageQueue,
    offset: QueueOffset,
) -> Result<(), RequestError> {
    remoting.notify(address, update(group, queue, offset).write()).await
}

/// As [`commit`], and sure of it when it returns.
pub(crate) async fn commit_and_wait(
    remoting: &remoting::Client,
    address: &str,
    group: &str,
    queue: &MessageQueue,
    offset: QueueOffset,
) -> Result<(), RequestError> {
    remoting.ask(address, &update(group, queue, offset), REQUEST_TIMEOUT).await.map(drop)
}

fn update(group: &str, queue: &MessageQueue, offset: QueueOffset) -> UpdateConsumerOffset {
    UpdateConsumerOffset {
        consumer_group: group.into(),
        topic: queue.topic.clone(),
        queue_id: Some(queue.queue_id),
        commit_offset: offset.0,
    }
}
