//! Where groups go on, said by someone else: to a time, to an offset, as another group.

use super::group::not_online;
use super::{no_such_topic, short};
use crate::Broker;
use crate::consumers::Member;
use crate::parking::GroupQueue;
use crate::table::Table as _;
use protocol::code::response;
use protocol::command::{Command, Language};
use protocol::group::{ResetOffsets, ResetOffsetsForC};
use protocol::json;
use protocol::request::group::{CloneGroupOffset, ResetClientOffset, ResetOffset};
use protocol::request::{Empty, Request};
use remoting::{Answer, Call, Reject};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use store::Boundary;

/// Older clients can't be told to move, nor asked how far they are (`V3_0_7_SNAPSHOT`).
pub(super) const VERSION_MIN: i32 = 28;

/// INVOKE_BROKER_TO_RESET_OFFSET (222).
pub(super) async fn reset(broker: Arc<Broker>, call: Call<ResetOffset>) -> Result<Answer<Empty>, Reject> {
    let request = &call.request;
    if broker.topics.queues(&request.topic).is_none() {
        return Err(no_such_topic(&request.topic));
    }
    let offsets = match broker.config.server_side_reset {
        true => note(&broker, request, call.peer.address()).await?,
        false => tell(&broker, request)?,
    };
    tracing::info!(group = request.group, topic = request.topic, ?offsets, by = ?call.peer, "offsets reset");
    Ok(Answer::new(Empty {}).with_body(written(&as_body(&broker, &request.topic, &offsets), call.language)))
}

/// The group goes on elsewhere, whether it has members or not.
#[doc(alias = "resetOffsetInner")]
async fn note(broker: &Arc<Broker>, request: &ResetOffset, by: SocketAddr) -> Result<BTreeMap<i32, i64>, Reject> {
    let ResetOffset { group, topic, timestamp, .. } = request;
    if broker.groups.get(group).is_none() {
        let remark = format!("Group {} does not exist: it has never consumed from this broker", short(group));
        return Err(Reject::new(response::SUBSCRIPTION_GROUP_NOT_EXIST, remark));
    }
    let queues = broker.topics.queues(topic).ok_or_else(|| no_such_topic(topic))?;
    let offsets: BTreeMap<i32, i64> = match request.queue_id.filter(|queue_id| *queue_id >= 0) {
        Some(queue_id) if queue_id >= queues.all() => {
            return Err(Reject::system_error(format!(
                "topic {} has no queue {queue_id} to read from; it has {}",
                short(topic),
                queues.read
            )));
        }
        Some(queue_id) => {
            let offset = match request.offset.filter(|offset| *offset != -1) {
                Some(offset) => within_queue(broker, topic, queue_id, offset)?,
                None => at_time(broker, topic, queue_id, *timestamp),
            };
            BTreeMap::from([(queue_id, offset)])
        }
        None => (0..queues.read).map(|queue_id| (queue_id, at_time(broker, topic, queue_id, *timestamp))).collect(),
    };
    if offsets.is_empty() {
        return Err(Reject::system_error(format!("No queues to reset: topic {} has none to read from.", short(topic))));
    }
    set(broker, group, topic, &offsets, by).await?;
    Ok(offsets)
}

fn within_queue(broker: &Broker, topic: &str, queue_id: i32, offset: i64) -> Result<i64, Reject> {
    let min = broker.store.min_offset(topic, queue_id as u32).0;
    let max = broker.store.max_offset(topic, queue_id as u32).0;
    if (min..=max).contains(&offset) {
        return Ok(offset);
    }
    Err(Reject::system_error(format!("Target offset {offset} not in consume queue range [{min}-{max}]")))
}

/// The first message that was stored at `timestamp` or later; a negative one means the end.
fn at_time(broker: &Broker, topic: &str, queue_id: i32, timestamp: i64) -> i64 {
    match timestamp {
        ..0 => broker.store.max_offset(topic, queue_id as u32).0,
        _ => broker.store.search_offset(topic, queue_id as u32, timestamp, Boundary::Lower).0,
    }
}

/// Sets offsets, brings them to disk, and has pulls that wait look at them. A release of a parked key that is under way ends: from
/// there on everything comes.
pub(super) async fn set(
    broker: &Arc<Broker>,
    group: &str,
    topic: &str,
    offsets: &BTreeMap<i32, i64>,
    by: SocketAddr,
) -> Result<(), Reject> {
    let (setting, group, topic, offsets) = (broker.clone(), group.to_owned(), topic.to_owned(), offsets.clone());
    let set = tokio::task::spawn_blocking(move || {
        for queue_id in offsets.keys() {
            setting.end_release(&GroupQueue { group: group.clone(), topic: topic.clone(), queue_id: *queue_id })?;
        }
        setting.reset_offsets(&group, &topic, &offsets, by);
        for queue_id in offsets.keys() {
            setting.store.interrupt(&topic, *queue_id as u32);
        }
        setting.shares.save()?;
        setting.offsets.save()
    });
    set.await.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(|error| {
        Reject::system_error(format!(
            "the offsets may be reset, but could not be saved in config/ of {}: {error}; check the disk, and reset again, or a \
             restart of the broker may bring the old ones back",
            broker.config.store_root.display()
        ))
    })
}

/// The members of the group are told to go on elsewhere (`useServerSideResetOffset=false`).
#[doc(alias = "Broker2Client.resetOffset")]
fn tell(broker: &Broker, request: &ResetOffset) -> Result<BTreeMap<i32, i64>, Reject> {
    let ResetOffset { group, topic, timestamp, .. } = request;
    let forward = request.is_force.unwrap_or(false);
    let queues = broker.topics.queues(topic).ok_or_else(|| no_such_topic(topic))?;
    let members: Vec<_> = match broker.consumers.read().get(group) {
        Some(group) => group.members.values().cloned().collect(),
        None => return Err(not_online(group)),
    };
    if let Some(old) = members.iter().find(|member| member.version < VERSION_MIN) {
        let remark =
            format!("the client does not support this feature. version={}, at {}", old.version, old.peer.address());
        return Err(Reject::system_error(remark));
    }
    let mut offsets = BTreeMap::new();
    for queue_id in 0..queues.write {
        let Some(consumed) = broker.offsets.get(group, topic, queue_id) else {
            return Err(Reject::system_error(format!(
                "The consumer group <{}> not exist: it has no offset in queue {queue_id} of topic {}",
                short(group),
                short(topic)
            )));
        };
        let wanted = at_time(broker, topic, queue_id, *timestamp);
        offsets.insert(queue_id, if forward { wanted } else { wanted.min(consumed) });
    }
    let header =
        ResetClientOffset { group: group.clone(), topic: topic.clone(), timestamp: *timestamp, is_force: forward };
    for member in members {
        if !ask(broker, &header, &offsets, &member) {
            return Err(Reject::system_error(format!(
                "not all members of group {} could be told: {} does not read requests, or has left",
                short(group),
                member.peer.address()
            )));
        }
    }
    Ok(offsets)
}

/// Has a member go on elsewhere. False: it does not hear of it.
fn ask(broker: &Broker, header: &ResetClientOffset, offsets: &BTreeMap<i32, i64>, member: &Member) -> bool {
    let body = written(&as_body(broker, &header.topic, offsets), member.language);
    member.peer.notify(Command { body: body.into(), ..header.write() })
}

impl Broker {
    /// Has who holds the lock of a queue go on at `offset`, or all members, if nobody is known to hold it. They let go of all
    /// messages that they have of it.
    pub(crate) fn ask_to_move(&self, queue: &GroupQueue, offset: i64) {
        let GroupQueue { group, topic, queue_id } = queue;
        let holder = self.locks.lock().holder(group, topic, *queue_id, Instant::now()).map(str::to_owned);
        let members: Vec<Member> = match self.consumers.read().get(group) {
            Some(group) => group
                .members
                .iter()
                .filter(|(client, _)| holder.as_ref().is_none_or(|holder| holder == *client))
                .map(|(_, member)| member.clone())
                .collect(),
            None => return,
        };
        let header = ResetClientOffset {
            group: group.clone(),
            topic: topic.clone(),
            timestamp: crate::now_millis(),
            is_force: true,
        };
        for member in members.iter().filter(|member| member.version >= VERSION_MIN) {
            if !ask(self, &header, &BTreeMap::from([(*queue_id, offset)]), member) {
                tracing::warn!(group, topic, queue_id, peer = ?member.peer, "could not be told to go on elsewhere");
            }
        }
    }
}

fn as_body(broker: &Broker, topic: &str, offsets: &BTreeMap<i32, i64>) -> ResetOffsets {
    let offsets = offsets.iter().map(|(queue_id, offset)| (broker.message_queue(topic, *queue_id), *offset));
    ResetOffsets { offset_table: offsets.collect() }
}

/// As a client in this language reads it.
fn written(offsets: &ResetOffsets, language: Language) -> Vec<u8> {
    match language {
        Language::CPP => json::write(&ResetOffsetsForC::from(offsets)),
        _ => json::write_object_keys(offsets),
    }
}

/// CLONE_GROUP_OFFSET (314).
pub(super) async fn clone_offsets(broker: Arc<Broker>, call: Call<CloneGroupOffset>) -> Result<Answer<Empty>, Reject> {
    let CloneGroupOffset { src_group, dest_group, topic, offline } = &call.request;
    broker.group(dest_group, &call.peer)?;
    let topics = match topic.as_deref().filter(|topic| !topic.trim().is_empty()) {
        Some(topic) => vec![topic.to_owned()],
        None => broker.offsets.topics_of(src_group),
    };
    for topic in topics.iter().filter(|topic| broker.topics.queues(topic).is_some()) {
        if !offline.unwrap_or(false) && !broker.still_wants(src_group, topic) {
            continue;
        }
        let offsets = broker.offsets.of_topic(src_group, topic);
        tracing::info!(from = src_group, to = dest_group, topic, ?offsets, by = ?call.peer, "offsets cloned");
        set(&broker, dest_group, topic, &offsets, call.peer.address()).await?;
    }
    Ok(Empty {}.into())
}
