//! What is in topics and queues, how far groups are, how much goes in and out.

use super::{no_such_topic, short};
use crate::{Broker, stats};
use protocol::admin::{ConsumeQueueEntries, ConsumeQueueEntry, ConsumeStatsList, QueueBounds, TopicStats};
use protocol::group::ConsumeStats;
use protocol::json;
use protocol::request::Empty;
use protocol::request::admin::{GetConsumeStatsInBroker, GetTopicStats, QueryConsumeQueue, ViewStats};
use remoting::{Answer, Call, Reject};
use std::sync::Arc;
use store::QueueOffset;

/// So many entries at most, whatever is asked for.
const ENTRIES_MAX: usize = 10_000;

/// GET_TOPIC_STATS_INFO (202).
pub(super) async fn topic_stats(broker: Arc<Broker>, call: Call<GetTopicStats>) -> Result<Answer<Empty>, Reject> {
    let topic = &call.request.topic;
    let queues = broker.topics.queues(topic).ok_or_else(|| no_such_topic(topic))?;
    let mut table =
        TopicStats { topic_put_tps: broker.stats.tps(stats::TOPIC_PUT_NUMS, topic), ..TopicStats::default() };
    for queue_id in 0..queues.all().max(0) {
        let (min, max) = broker.store.queue(topic, queue_id as u32).map_or((0, 0), |queue| {
            let max = queue.max_offset().0;
            (queue.min_offset().0.min(max), max)
        });
        let last =
            if max > 0 { broker.store.store_timestamp_of(topic, queue_id as u32, QueueOffset(max - 1)) } else { None };
        let bounds = QueueBounds { last_update_timestamp: last.unwrap_or(0), max_offset: max, min_offset: min };
        table.offset_table.insert(broker.message_queue(topic, queue_id), bounds);
    }
    Ok(Answer::new(Empty {}).with_body(json::write_object_keys(&table)))
}

/// VIEW_BROKER_STATS_DATA (315).
pub(super) async fn view(broker: Arc<Broker>, call: Call<ViewStats>) -> Result<Answer<Empty>, Reject> {
    let ViewStats { stats_name: name, stats_key: key } = &call.request;
    match broker.stats.data(name, key) {
        Some(data) => Ok(Answer::new(Empty {}).with_body(json::write(&data))),
        // Tools take this for zero.
        None => Err(Reject::system_error(format!(
            "The stats <{}> <{}> not exist: nothing was counted under this name since the broker was started",
            short(name),
            short(key)
        ))),
    }
}

/// GET_BROKER_CONSUME_STATS (317).
pub(super) async fn consume_stats(
    broker: Arc<Broker>,
    call: Call<GetConsumeStatsInBroker>,
) -> Result<Answer<Empty>, Reject> {
    let ordered_only = call.request.is_order.unwrap_or(false);
    let mut list =
        ConsumeStatsList { broker_addr: broker.store_host(&call.peer).to_string(), ..ConsumeStatsList::default() };
    for group in broker.groups.all().0.into_keys() {
        let mut of_group = Vec::new();
        for topic in broker.offsets.topics_of(&group) {
            let Some(config) = broker.topics.get(&topic) else { continue };
            if !broker.still_wants(&group, &topic) || ordered_only && !config.order {
                continue;
            }
            let mut stats = ConsumeStats { consume_tps: broker.consume_tps(&group, &topic), ..ConsumeStats::default() };
            for queue_id in 0..config.write_queue_nums {
                let progress = broker.progress(&group, &topic, queue_id);
                list.total_diff += progress.broker_offset - progress.consumer_offset;
                list.total_inflight_diff += (progress.pull_offset - progress.consumer_offset).max(0);
                stats.offset_table.insert(broker.message_queue(&topic, queue_id), progress);
            }
            of_group.push(stats);
        }
        list.consume_stats_list.push([(group, of_group)].into());
    }
    Ok(Answer::new(Empty {}).with_body(json::write_object_keys(&list)))
}

/// QUERY_CONSUME_QUEUE (321).
pub(super) async fn consume_queue(broker: Arc<Broker>, call: Call<QueryConsumeQueue>) -> Result<Answer<Empty>, Reject> {
    let QueryConsumeQueue { topic, queue_id, index, count, consumer_group } = &call.request;
    let queue = u32::try_from(*queue_id).ok().and_then(|id| broker.store.queue(topic, id)).ok_or_else(|| {
        Reject::system_error(format!("{queue_id}@{} is not exist! No message ever came to this queue", short(topic)))
    })?;
    let (min, max) = (queue.min_offset().0, queue.max_offset().0);
    if !(min..max).contains(index) {
        return Err(Reject::system_error(format!(
            "Index {index} of {queue_id}@{} is not exist! The queue has {min} to {}",
            short(topic),
            max - 1
        )));
    }
    let mut found =
        ConsumeQueueEntries { max_queue_index: max, min_queue_index: min, ..ConsumeQueueEntries::default() };
    if let Some(group) = consumer_group.as_deref().filter(|group| !group.is_empty()) {
        let subscription = broker.consumers.read().get(group).and_then(|group| group.subscriptions.get(topic).cloned());
        found.filter_data = Some(match &subscription {
            // No filter of a group is kept beside its subscription.
            Some(_) => "null".into(),
            None => format!("{}@{} is not online!", short(group), short(topic)),
        });
        found.subscription_data = subscription.map(|subscription| (*subscription).clone());
    }
    let count = usize::try_from(*count).unwrap_or(0).min(ENTRIES_MAX);
    let entries = queue
        .entries_from(QueueOffset(*index), count)
        .map_err(|error| Reject::system_error(format!("{queue_id}@{} can't be read: {error}", short(topic))))?;
    let entries = entries.into_iter().map(|(at, size, tags_code)| ConsumeQueueEntry {
        physic_offset: at.0,
        physic_size: size,
        tags_code,
        ..ConsumeQueueEntry::default()
    });
    found.queue_data = entries.collect();
    Ok(Answer::new(Empty {}).with_body(json::write(&found)))
}
