//! What is known of groups: who is in them, how far they are, who consumes what.

use super::{no_such_topic, short};
use crate::{Broker, stats};
use protocol::code::response;
use protocol::group::{
    Connection, ConsumeStats, ConsumeTimeSpans, ConsumerConnection, CorrectionOffsets, GroupConflicts, GroupList,
    GroupSubscription, ProducerConnection, QueueProgress, QueueTimeSpan,
};
use protocol::heartbeat::MessageQueue;
use protocol::json;
use protocol::request::Empty;
use protocol::request::group::{
    GetConsumeStats, GetConsumerConnections, GetCorrectionOffsets, GetGroupConflicts, GetProducerConnections,
    GetSubscription, GetTimeSpans, GetTopicsOfGroup, WhoConsumes,
};
use protocol::request::topic::{GetGroupConfig, GetTopicConfig};
use protocol::route::TopicList;
use remoting::{Answer, Call, Reject};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::QueueOffset;

/// GET_CONSUMER_CONNECTION_LIST (203).
pub(super) async fn consumers(
    broker: Arc<Broker>,
    call: Call<GetConsumerConnections>,
) -> Result<Answer<Empty>, Reject> {
    let name = &call.request.consumer_group;
    let consumers = broker.consumers.read();
    let group = consumers.get(name).ok_or_else(|| not_online(name))?;
    let members = group.members.iter();
    Ok(body(&ConsumerConnection {
        connection_set: members
            .map(|(client, it)| Connection::new(client, it.peer.address(), it.language, it.version))
            .collect(),
        consume_from_where: group.consume_from_where,
        consume_type: group.consume_type,
        message_model: group.message_model,
        subscription_table: group.subscriptions.iter().map(|(topic, it)| (topic.clone(), (**it).clone())).collect(),
    }))
}

/// A group without members.
pub(super) fn not_online(group: &str) -> Reject {
    let remark =
        format!("the consumer group[{}] not online: none of its members is connected to this broker", short(group));
    Reject::new(response::CONSUMER_NOT_ONLINE, remark)
}

/// GET_PRODUCER_CONNECTION_LIST (204).
pub(super) async fn producers(
    broker: Arc<Broker>,
    call: Call<GetProducerConnections>,
) -> Result<Answer<Empty>, Reject> {
    let group = &call.request.producer_group;
    let members = broker.producers.lock().members(group);
    if members.is_empty() {
        return Err(Reject::system_error(format!(
            "the producer group[{}] not exist: none of its members is connected to this broker",
            short(group)
        )));
    }
    let connections = members
        .iter()
        .map(|(client, member)| Connection::new(client, member.peer.address(), member.language, member.version));
    Ok(body(&ProducerConnection { connection_set: connections.collect() }))
}

/// GET_CONSUME_STATS (208): how far a group is in every queue of a topic, or of all in which it has offsets.
pub(super) async fn progress(broker: Arc<Broker>, call: Call<GetConsumeStats>) -> Result<Answer<Empty>, Reject> {
    let GetConsumeStats { consumer_group: group, topic, topic_list } = &call.request;
    let listed = topic_list.iter().flat_map(|list| list.split(';')).chain(topic.as_deref());
    let mut topics: Vec<String> = listed.filter(|topic| !topic.trim().is_empty()).map(str::to_owned).collect();
    if topics.is_empty() {
        topics = broker.offsets.topics_of(group);
    }
    let mut stats = ConsumeStats::default();
    for topic in topics {
        let Some(queues) = broker.topics.queues(&topic) else { continue };
        // Of what the group does not want any more it is not behind.
        if !broker.still_wants(group, &topic) {
            continue;
        }
        for queue_id in 0..queues.read {
            let progress = broker.progress(group, &topic, queue_id);
            stats.offset_table.insert(broker.message_queue(&topic, queue_id), progress);
        }
        stats.consume_tps += broker.consume_tps(group, &topic);
    }
    Ok(Answer::new(Empty {}).with_body(json::write_object_keys(&stats)))
}

/// QUERY_TOPIC_CONSUME_BY_WHO (300): those who subscribe to a topic, and those who have consumed of it.
pub(super) async fn who_consumes(broker: Arc<Broker>, call: Call<WhoConsumes>) -> Result<Answer<Empty>, Reject> {
    let topic = &call.request.topic;
    let mut groups = broker.offsets.groups_of(topic);
    groups.extend(broker.consumers.read().subscribers(topic));
    Ok(body(&GroupList { group_list: groups.into_iter().collect() }))
}

/// QUERY_CONSUME_TIME_SPAN (303): from when the messages of each queue are, and how old the oldest that waits is.
pub(super) async fn time_spans(broker: Arc<Broker>, call: Call<GetTimeSpans>) -> Result<Answer<Empty>, Reject> {
    let GetTimeSpans { topic, group } = &call.request;
    let queues = broker.topics.queues(topic).ok_or_else(|| no_such_topic(topic))?;
    let now = crate::now_millis();
    let spans = (0..queues.write).map(|queue_id| {
        let (min, max) =
            (broker.store.min_offset(topic, queue_id as u32), broker.store.max_offset(topic, queue_id as u32));
        let consumed = broker.offsets.get(group, topic, queue_id).unwrap_or(-1);
        let first = broker.stored_at(topic, queue_id, min.0).unwrap_or(-1);
        // Of a group that has consumed nothing, the first message waits.
        let waits = consumed.max(min.0);
        QueueTimeSpan {
            consume_time_stamp: match consumed {
                1.. => broker.stored_at(topic, queue_id, consumed - 1).unwrap_or(-1),
                _ => first,
            },
            delay_time: broker
                .stored_at(topic, queue_id, waits)
                .filter(|_| waits < max.0)
                .map_or(0, |at| (now - at).max(0)),
            max_time_stamp: broker.stored_at(topic, queue_id, max.0 - 1).unwrap_or(-1),
            message_queue: broker.message_queue(topic, queue_id),
            min_time_stamp: first,
        }
    });
    Ok(body(&ConsumeTimeSpans { consume_time_span_set: spans.collect() }))
}

/// QUERY_CORRECTION_OFFSET (308): of each queue, how far the slowest group is; the largest number there is, where the group
/// to compare with is slower.
pub(super) async fn correction_offsets(
    broker: Arc<Broker>,
    call: Call<GetCorrectionOffsets>,
) -> Result<Answer<Empty>, Reject> {
    let GetCorrectionOffsets { filter_groups, compare_group, topic } = &call.request;
    let filtered: Vec<&str> = filter_groups.iter().flat_map(|groups| groups.split(',')).map(str::trim).collect();
    let mut slowest: BTreeMap<i32, i64> = BTreeMap::new();
    for group in broker.offsets.groups_of(topic).iter().filter(|group| !filtered.contains(&group.as_str())) {
        for (queue_id, offset) in broker.offsets.of_topic(group, topic) {
            if offset >= broker.store.min_offset(topic, queue_id.max(0) as u32).0 {
                let known = slowest.entry(queue_id).or_insert(offset);
                *known = offset.min(*known);
            }
        }
    }
    for (queue_id, offset) in broker.offsets.of_topic(compare_group, topic) {
        let known = slowest.entry(queue_id).or_insert(i64::MAX);
        if *known > offset {
            *known = i64::MAX;
        }
    }
    Ok(body(&CorrectionOffsets { correction_offsets: slowest }))
}

/// QUERY_TOPICS_BY_CONSUMER (343).
pub(super) async fn topics_of_group(
    broker: Arc<Broker>,
    call: Call<GetTopicsOfGroup>,
) -> Result<Answer<Empty>, Reject> {
    let topic_list = broker.offsets.topics_of(&call.request.group);
    Ok(body(&TopicList { broker_addr: Some(broker.store_host(&call.peer).to_string()), topic_list }))
}

/// QUERY_SUBSCRIPTION_BY_CONSUMER (345).
pub(super) async fn subscription(broker: Arc<Broker>, call: Call<GetSubscription>) -> Result<Answer<Empty>, Reject> {
    let GetSubscription { group, topic } = call.request;
    let consumers = broker.consumers.read();
    let wanted = consumers.get(&group).and_then(|it| it.subscriptions.get(&topic)).map(|it| (**it).clone());
    Ok(body(&GroupSubscription { group, subscription_data: wanted, topic }))
}

/// QUERY_GROUP_CONFLICTS (90040), CometMQ's own: the groups whose members differ where they must not, and who they are.
pub(super) async fn conflicts(broker: Arc<Broker>, call: Call<GetGroupConflicts>) -> Result<Answer<Empty>, Reject> {
    let group = call.request.consumer_group.filter(|group| !group.is_empty());
    Ok(body(&GroupConflicts { groups: broker.group_conflicts(group.as_deref()) }))
}

/// GET_TOPIC_CONFIG (351).
pub(super) async fn topic_config(broker: Arc<Broker>, call: Call<GetTopicConfig>) -> Result<Answer<Empty>, Reject> {
    let topic = &call.request.topic;
    let config = broker.topics.get(topic).ok_or_else(|| {
        let remark =
            format!("No topic in this broker. topic: {}; {} does not have it", short(topic), broker.config.name);
        Reject::new(response::TOPIC_NOT_EXIST, remark)
    })?;
    Ok(body(&*config))
}

/// GET_SUBSCRIPTIONGROUP_CONFIG (352).
pub(super) async fn group_config(broker: Arc<Broker>, call: Call<GetGroupConfig>) -> Result<Answer<Empty>, Reject> {
    Ok(body(&*broker.group(&call.request.group, &call.peer)?))
}

fn body(of: &impl Serialize) -> Answer<Empty> {
    Answer::new(Empty {}).with_body(json::write(of))
}

impl Broker {
    /// How far a group is in a queue.
    pub(super) fn progress(&self, group: &str, topic: &str, queue_id: i32) -> QueueProgress {
        let consumed = self.offsets.get(group, topic, queue_id).unwrap_or(0);
        QueueProgress {
            broker_offset: self.store.max_offset(topic, queue_id as u32).0,
            consumer_offset: consumed,
            last_timestamp: self.stored_at(topic, queue_id, consumed - 1).unwrap_or(0),
            pull_offset: self.offsets.pulled(group, topic, queue_id).max(consumed),
        }
    }

    /// Messages per second that a group takes of a topic.
    pub(super) fn consume_tps(&self, group: &str, topic: &str) -> f64 {
        self.stats.tps(stats::GROUP_GET_NUMS, &format!("{topic}@{group}"))
    }

    /// Does the group subscribe to the topic? One without members wants what it wanted.
    pub(super) fn still_wants(&self, group: &str, topic: &str) -> bool {
        let consumers = self.consumers.read();
        consumers
            .get(group)
            .is_none_or(|group| group.subscriptions.is_empty() || group.subscriptions.contains_key(topic))
    }

    /// When the message was stored, milliseconds since 1970.
    fn stored_at(&self, topic: &str, queue_id: i32, offset: i64) -> Option<i64> {
        let queue_id = u32::try_from(queue_id).ok().filter(|_| offset >= 0)?;
        self.store.store_timestamp_of(topic, queue_id, QueueOffset(offset))
    }

    /// A queue of this broker's.
    pub(super) fn message_queue(&self, topic: &str, queue_id: i32) -> MessageQueue {
        MessageQueue { broker_name: self.config.name.clone(), queue_id, topic: topic.to_owned() }
    }
}
