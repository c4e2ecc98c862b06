//! Offsets: of groups, and of queues.

use super::{no_such_topic, reset, short};
use crate::Broker;
use crate::offsets::HasBeenReset;
use crate::parking::GroupQueue;
use protocol::code::response;
use protocol::request::Empty;
use protocol::request::offset::{
    GetEarliestStoreTime, GetMaxOffset, GetMinOffset, OffsetReply, QueryConsumerOffset, SearchOffset, StoreTimeReply,
    UpdateConsumerOffset,
};
use protocol::subscription::ORDER_SHARE_BY_KEY;
use protocol::topic::QUEUES_MAX;
use remoting::{Answer, Call, Reject};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use store::{Boundary, QueueOffset};

/// QUERY_CONSUMER_OFFSET (14).
///
/// A group without an offset begins at 0 of a queue that still has its first message, wherever it wants to begin, while that
/// message is young: less has been stored since than `accessMessageInMemoryMaxRatio` of the machine's memory. So Apache's
/// brokers do it, and clients rely on it. From older queues, a new group gets what its `ConsumeFromWhere` says.
pub(super) async fn query_consumer_offset(
    broker: Arc<Broker>,
    call: Call<QueryConsumerOffset>,
) -> Result<Answer<OffsetReply>, Reject> {
    let request = &call.request;
    if let Some(offset) = broker.offsets.get(&request.consumer_group, &request.topic, request.queue_id) {
        return Ok(OffsetReply { offset }.into());
    }
    if request.set_zero_if_not_found != Some(false) && is_young(&broker, &request.topic, request.queue_id) {
        return Ok(OffsetReply { offset: 0 }.into());
    }
    Err(Reject::new(
        response::QUERY_NOT_FOUND,
        format!(
            "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first: group[{}] has no offset for topic[{}] queue {}",
            short(&request.consumer_group),
            short(&request.topic),
            request.queue_id
        ),
    ))
}

/// Does the queue still have its first message, and is that young?
#[doc(alias = "checkInMemByConsumeOffset")]
fn is_young(broker: &Broker, topic: &str, queue_id: i32) -> bool {
    let Some(queue_id) = u32::try_from(queue_id).ok().filter(|id| broker.store.queue(topic, *id).is_some()) else {
        return false;
    };
    if broker.store.min_offset(topic, queue_id) > QueueOffset(0) {
        return false;
    }
    let end = broker.store.commit_log_bounds().1;
    let young = broker.config.memory / 100 * u64::from(broker.config.memory_ratio);
    match broker.store.place_of(topic, queue_id, QueueOffset(0)) {
        Ok(Some(at)) => u64::try_from(end.0 - at.0).is_ok_and(|since| since <= young),
        Ok(None) => false,
        Err(error) => {
            tracing::warn!(topic, queue_id, %error, "can't read the queue's first entry");
            false
        }
    }
}

/// UPDATE_CONSUMER_OFFSET (15).
pub(super) async fn update_consumer_offset(
    broker: Arc<Broker>,
    call: Call<UpdateConsumerOffset>,
) -> Result<Answer<Empty>, Reject> {
    let request = &call.request;
    broker.group(&request.consumer_group, &call.peer)?;
    if broker.topics.queues(&request.topic).is_none() {
        return Err(no_such_topic(&request.topic));
    }
    let invalid = |remark: String| Err(Reject::new(response::INVALID_PARAMETER, remark));
    match request.queue_id {
        Some(queue_id) if (0..QUEUES_MAX).contains(&queue_id) && request.commit_offset >= 0 => {
            let by = call.peer.address();
            if let Some(from) = sets_as_operator(&broker, request, queue_id, by)? {
                let offsets = BTreeMap::from([(queue_id, request.commit_offset)]);
                reset::set(&broker, &request.consumer_group, &request.topic, &offsets, by).await?;
                tracing::info!(group = request.consumer_group, topic = request.topic, queue_id, from, to = request.commit_offset,
                    by = ?call.peer, "offset set");
                return Ok(Empty {}.into());
            }
            match broker.commit_offset(&request.consumer_group, &request.topic, queue_id, request.commit_offset, by) {
                Ok(()) => Ok(Empty {}.into()),
                Err(HasBeenReset) => {
                    Ok(Answer::new(Empty {}).with_code(response::SUCCESS, "Offset has been previously reset"))
                }
            }
        }
        Some(queue_id) => invalid(format!(
            "queueId[{queue_id}] or commitOffset[{}] can't be: neither is negative",
            request.commit_offset
        )),
        None => invalid("QueueId is null: say which queue the offset belongs to".into()),
    }
}

/// Is this no member that says how far it is, but somebody who sets where the group goes on, and would be misunderstood as a member?
/// If so: where it was.
///
/// - Where members share queues, a commit counts for the slots of the member that says it. One of nobody's moves the whole group, as
///   a reset does, while the group has no members; else it is refused: a member may come over a connection on which it has not said
///   who it is yet.
/// - While what was parked is being released, a commit behind where the group is means that all comes again from there, not the
///   released keys alone.
fn sets_as_operator(
    broker: &Broker,
    request: &UpdateConsumerOffset,
    queue_id: i32,
    by: SocketAddr,
) -> Result<Option<Option<i64>>, Reject> {
    let (group, topic) = (&request.consumer_group, &request.topic);
    let consumed = || broker.offsets.get(group, topic, queue_id);
    if broker.shares_by_key(group) {
        if broker.member_at(group, by).is_some() {
            return Ok(None);
        }
        if broker.consumers.read().get(group).is_none() && !broker.shares.any_held(group) {
            return Ok(Some(consumed()));
        }
        return Err(Reject::new(
            response::ILLEGAL_OPERATION,
            format!(
                "group[{}] has members, which share its queues by key ({ORDER_SHARE_BY_KEY}), and {by} is none of them: the offset is \
                 not changed. Reset it (INVOKE_BROKER_TO_RESET_OFFSET, `resetOffsetByTime`), so that members hear of it, or \
                 stop them first",
                short(group)
            ),
        ));
    }
    let queue = GroupQueue { group: group.clone(), topic: topic.clone(), queue_id };
    let is_released = || broker.parking.get(&queue).is_some_and(|parked| parked.release.is_some());
    let goes_back = |from: Option<i64>| from.is_some_and(|from| request.commit_offset < from);
    let sets =
        broker.parking.is_used() && is_released() && goes_back(consumed()) && broker.member_at(group, by).is_none();
    Ok(sets.then(consumed))
}

/// SEARCH_OFFSET_BY_TIMESTAMP (29).
pub(super) async fn search_offset(
    broker: Arc<Broker>,
    call: Call<SearchOffset>,
) -> Result<Answer<OffsetReply>, Reject> {
    let request = &call.request;
    let boundary = match request.boundary_type.as_deref() {
        Some(upper) if upper.eq_ignore_ascii_case("UPPER") => Boundary::Upper,
        _ => Boundary::Lower,
    };
    let found = u32::try_from(request.queue_id)
        .map_or(QueueOffset(0), |id| broker.store.search_offset(&request.topic, id, request.timestamp, boundary));
    Ok(OffsetReply { offset: found.0 }.into())
}

/// GET_MAX_OFFSET (30).
pub(super) async fn max_offset(broker: Arc<Broker>, call: Call<GetMaxOffset>) -> Result<Answer<OffsetReply>, Reject> {
    let id = u32::try_from(call.request.queue_id);
    let max = id.map_or(QueueOffset(0), |id| broker.store.max_offset(&call.request.topic, id));
    Ok(OffsetReply { offset: max.0 }.into())
}

/// GET_MIN_OFFSET (31).
pub(super) async fn min_offset(broker: Arc<Broker>, call: Call<GetMinOffset>) -> Result<Answer<OffsetReply>, Reject> {
    let id = u32::try_from(call.request.queue_id);
    let min = id.map_or(QueueOffset(0), |id| broker.store.min_offset(&call.request.topic, id));
    Ok(OffsetReply { offset: min.0 }.into())
}

/// GET_EARLIEST_MSG_STORETIME (32).
pub(super) async fn earliest_store_time(
    broker: Arc<Broker>,
    call: Call<GetEarliestStoreTime>,
) -> Result<Answer<StoreTimeReply>, Reject> {
    let topic = &call.request.topic;
    let id = u32::try_from(call.request.queue_id).ok();
    let earliest = id.and_then(|id| broker.store.store_timestamp_of(topic, id, broker.store.min_offset(topic, id)));
    Ok(StoreTimeReply { timestamp: earliest.unwrap_or(-1) }.into())
}
