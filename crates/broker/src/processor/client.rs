//! Clients and their groups: who is there, and who is told of it.

use super::no_such_group;
use crate::Broker;
use crate::consumers::{Member, sentence};
use crate::life::event::Event;
use protocol::code::response;
use protocol::group::GroupConflict;
use protocol::heartbeat::{CheckClientBody, ConsumerList, HeartbeatData};
use protocol::json;
use protocol::request::client::{
    CheckClientConfig, GetConsumerList, Heartbeat, HeartbeatReply, NotifyConsumerIdsChanged, UnregisterClient,
};
use protocol::request::{Empty, Request};
use protocol::subscription::{SubscriptionData, SubscriptionGroupConfig};
use protocol::topic::{PERM_READ, PERM_WRITE, TopicConfig, UNIT_SUB, retry_topic};
use remoting::{Answer, Call, Peer, Reject};
use std::sync::Arc;
use std::time::Instant;

/// So many groups one client may be in.
const GROUPS_MAX: usize = 10_000;

/// The longest id of a client.
const CLIENT_ID_MAX: usize = 1024;

/// HEART_BEAT (34).
pub(super) async fn heartbeat(broker: Arc<Broker>, call: Call<Heartbeat>) -> Result<Answer<HeartbeatReply>, Reject> {
    let data: HeartbeatData =
        json::read(&call.body).map_err(|error| Reject::system_error(format!("the body of the heartbeat: {error}")))?;
    let client = data.client_id.as_str();
    let groups = data.consumer_data_set.len().max(data.producer_data_set.len());
    if client.is_empty() || client.len() > CLIENT_ID_MAX || groups > GROUPS_MAX {
        return Err(Reject::system_error(format!(
            "a heartbeat needs a `clientID` of 1 to {CLIENT_ID_MAX} bytes (this has {}) and names at most {GROUPS_MAX} \
             groups (this has {groups})",
            client.len()
        )));
    }
    let member =
        Member { peer: call.peer.clone(), language: call.language, version: call.version, seen: Instant::now() };
    for producer in data.producer_data_set.iter().filter(|producer| !producer.group_name.is_empty()) {
        let new = broker.producers.lock().heartbeat(&producer.group_name, client, member.clone());
        if new {
            let (group, client) = (producer.group_name.clone(), client.to_owned());
            broker.note(Event::Sends { group, client, from: call.peer.address() });
        }
    }
    let mut ask_subscriptions = false;
    for consumer in data.consumer_data_set {
        let name = consumer.group_name.clone();
        let by_class: Vec<String> = consumer
            .subscription_data_set
            .iter()
            .filter(|subscription| subscription.class_filter_mode)
            .map(|subscription| subscription.topic.clone())
            .collect();
        for subscription in consumer.subscription_data_set.iter().filter(|subscription| !subscription.is_tags()) {
            // A wrong one is told here and refused when it pulls, as in Apache's brokers.
            let _ = broker.expression(&subscription.expression_type, &subscription.sub_string);
        }
        // Without the group, its pulls are refused with the reason.
        let Ok(group) = broker.group(&name, &call.peer) else { continue };
        if group.retry_queue_nums > 0 {
            let retry = TopicConfig {
                topic_sys_flag: if consumer.unit_mode { UNIT_SUB } else { 0 },
                ..TopicConfig::new(retry_topic(&name), group.retry_queue_nums, PERM_READ | PERM_WRITE)
            };
            let ensured = broker.topics.ensure_with(retry, crate::now_millis());
            if let Err(error) = ensured {
                tracing::warn!(group = name, %error, "no retry topic");
            }
        }
        let changes = broker.consumers.write().heartbeat(
            consumer,
            client,
            member.clone(),
            data.heartbeat_fingerprint,
            data.without_sub,
            |peer| !peer.is_closed(),
        );
        ask_subscriptions |= changes.ask_subscriptions;
        if changes.joined {
            let (group, client) = (name.clone(), client.to_owned());
            broker.note(Event::Consumes { group, client, at: call.peer.address() });
        }
        if changes.tell_conflicts {
            for conflict in broker.group_conflicts(Some(&name)) {
                tracing::warn!(group = name, "{}", sentence(&conflict));
            }
        }
        if changes.rebalance {
            broker.tell_members(&name);
            for topic in by_class {
                tracing::warn!(
                    group = name,
                    client,
                    topic,
                    "subscribes with a Java class as filter, and will get nothing: its client looks for a filter server. {}",
                    super::filter_program::INSTEAD
                );
            }
        }
    }
    let reply = HeartbeatReply { support_heart_beat_v2: "true".into(), sub_change: ask_subscriptions.to_string() };
    Ok(reply.into())
}

/// UNREGISTER_CLIENT (35).
pub(super) async fn unregister(broker: Arc<Broker>, call: Call<UnregisterClient>) -> Result<Answer<Empty>, Reject> {
    let request = call.request;
    if let Some(group) = &request.producer_group {
        broker.producers.lock().leave(group, &request.client_id);
    }
    if let Some(group) = &request.consumer_group {
        let left = broker.consumers.write().leave(group, &request.client_id);
        broker.locks.lock().left(group, &request.client_id);
        broker.shares.for_group(group, |share| share.leave(&request.client_id));
        if left {
            broker.tell_members(group);
        }
    }
    Ok(Empty {}.into())
}

/// GET_CONSUMER_LIST_BY_GROUP (38).
pub(super) async fn consumer_list(broker: Arc<Broker>, call: Call<GetConsumerList>) -> Result<Answer<Empty>, Reject> {
    let group = &call.request.consumer_group;
    if broker.shares_by_key(group) {
        let consumer_id_list = broker.members_told(group, call.peer.address());
        if !consumer_id_list.is_empty() {
            return Ok(Answer::new(Empty {}).with_body(json::write(&ConsumerList { consumer_id_list })));
        }
    }
    let members = broker.consumers.read().get(group).map(|group| group.members.keys().cloned().collect::<Vec<_>>());
    match members {
        Some(consumer_id_list) => Ok(Answer::new(Empty {}).with_body(json::write(&ConsumerList { consumer_id_list }))),
        None => Err(Reject::system_error(format!(
            "no consumer for this group, {}: none of its members has sent a heartbeat to this broker yet",
            super::short(group)
        ))),
    }
}

/// CHECK_CLIENT_CONFIG (46): can we filter by this subscription?
pub(super) async fn check_config(broker: Arc<Broker>, call: Call<CheckClientConfig>) -> Result<Answer<Empty>, Reject> {
    let body: CheckClientBody =
        json::read(&call.body).map_err(|error| Reject::system_error(format!("the body of the check: {error}")))?;
    match body.subscription_data {
        Some(subscription) if !subscription.is_tags() => {
            broker.expression(&subscription.expression_type, &subscription.sub_string)?;
            Ok(Empty {}.into())
        }
        Some(subscription) => match SubscriptionData::tags(&subscription.topic, &subscription.sub_string) {
            Ok(_) => Ok(Empty {}.into()),
            Err(bad) => Err(Reject::new(response::SUBSCRIPTION_PARSE_FAILED, bad.to_string())),
        },
        None => Ok(Empty {}.into()),
    }
}

/// A connection is gone.
pub(super) fn disconnected(broker: &Broker, peer: &Peer) {
    broker.producers.lock().close(peer);
    broker.connections.close(peer.address());
    let gone = broker.consumers.write().close(peer);
    broker.lost(&gone);
}

impl Broker {
    /// These members (group, client) are out of reach.
    pub(crate) fn lost(&self, members: &[(String, String)]) {
        for (group, client) in members {
            tracing::info!(group, client, "member of a consumer group is gone");
            self.locks.lock().lost(group, client);
            self.shares.for_group(group, |share| share.lost(client, Instant::now()));
        }
        let mut groups: Vec<&String> = members.iter().map(|(group, _)| group).collect();
        groups.dedup();
        for group in groups {
            self.tell_members(group);
        }
    }

    /// What is wrong among the members of groups, or of one.
    pub(crate) fn group_conflicts(&self, group: Option<&str>) -> Vec<GroupConflict> {
        let consumers = self.consumers.read();
        consumers.conflicts(group, Instant::now(), |peer| !peer.is_closed(), |peer| peer.address().to_string())
    }

    /// Has all members of a group share its queues anew.
    #[doc(alias = "notifyConsumerIdsChanged")]
    pub(crate) fn tell_members(&self, group: &str) {
        if !self.config.notify_consumer_ids_changed {
            return;
        }
        let wanted = self.groups.get(group);
        if !wanted.is_some_and(|group| group.notify_consumer_ids_changed_enable) {
            return;
        }
        let peers = self.consumers.read().peers(group);
        let notice = NotifyConsumerIdsChanged { consumer_group: group.to_owned() }.write();
        for peer in peers {
            if !peer.notify(notice.clone()) && !peer.is_closed() {
                tracing::warn!(group, ?peer, "could not be told that members changed: it reads too slowly");
            }
        }
    }

    /// The group's settings, or the refusal. A group that is not there is created for this peer, if that is allowed.
    pub(crate) fn group(&self, name: &str, peer: &Peer) -> Result<Arc<SubscriptionGroupConfig>, Reject> {
        if let Some(group) = self.groups.get(name) {
            return Ok(group);
        }
        let created = self.groups.get_or_create(name, self.creator(peer).as_deref(), crate::now_millis());
        created.map_err(|why| no_such_group(name, why))
    }
}
