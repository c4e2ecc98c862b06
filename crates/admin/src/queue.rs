//! What lies in queues: messages, and the entries of consume queues.

use crate::{Admin, Error, message::StoredMessage, topic};
use bytes::Bytes;
use protocol::admin::ConsumeQueueEntries;
use protocol::code::response;
use protocol::record::Record;
use protocol::request::admin::QueryConsumeQueue;
use protocol::request::offset::{GetMaxOffset, GetMinOffset, SearchOffset};
use protocol::request::pull::PullMessage;

/// The group as which tools pull; brokers have it from the start.
#[doc(alias = "MixAll.TOOLS_CONSUMER_GROUP")]
pub const TOOLS_GROUP: &str = "TOOLS_CONSUMER";

/// So many messages are asked for at a time.
const BATCH: i32 = 1024;

/// A queue on a broker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Queue {
    /// The topic.
    pub topic: String,
    /// The broker's name.
    pub broker: String,
    /// Where its master is.
    pub address: String,
    /// The queue's number.
    pub queue_id: i32,
}

/// The queues of a topic that can be read.
pub async fn of_topic(admin: &Admin, topic: &str) -> Result<Vec<Queue>, Error> {
    let route = topic::route(admin, topic).await?;
    let mut queues = Vec::new();
    for data in route.queue_datas {
        let broker = route.broker_datas.iter().find(|broker| broker.broker_name == data.broker_name);
        let Some(address) = broker.and_then(|broker| broker.broker_addrs.get(&0)) else { continue };
        queues.extend((0..data.read_queue_nums.clamp(0, protocol::topic::QUEUES_MAX)).map(|queue_id| Queue {
            topic: topic.to_owned(),
            broker: data.broker_name.clone(),
            address: address.clone(),
            queue_id,
        }));
    }
    queues.sort();
    Ok(queues)
}

/// One queue of a topic.
pub async fn one(admin: &Admin, topic: &str, broker: &str, queue_id: i32) -> Result<Queue, Error> {
    let (broker, address) = topic::master(admin, topic, broker).await?;
    Ok(Queue { topic: topic.to_owned(), broker, address, queue_id })
}

/// The first message of a queue, and its end.
pub async fn bounds(admin: &Admin, queue: &Queue) -> Result<(i64, i64), Error> {
    let (topic, queue_id) = (queue.topic.clone(), queue.queue_id);
    let min = admin.ask(&queue.address, &GetMinOffset { topic: topic.clone(), queue_id }, Bytes::new()).await?.0;
    let max = admin.ask(&queue.address, &GetMaxOffset { topic, queue_id }, Bytes::new()).await?.0;
    Ok((min.offset, max.offset))
}

/// The first message of a queue that was stored at `timestamp` or later, milliseconds since 1970.
pub async fn offset_at(admin: &Admin, queue: &Queue, timestamp: i64) -> Result<i64, Error> {
    let request =
        SearchOffset { topic: queue.topic.clone(), queue_id: queue.queue_id, timestamp, ..SearchOffset::default() };
    Ok(admin.ask(&queue.address, &request, Bytes::new()).await?.0.offset)
}

/// What one look into a queue found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The messages.
    pub messages: Vec<StoredMessage>,
    /// Where to go on.
    pub next: i64,
    /// Nothing more lies behind.
    pub end: bool,
}

/// The messages of a queue from `offset` on, as many as the broker gives at a time, but at most `max`; with tags of
/// `expression` (`*`: all). No group's offset moves.
pub async fn read(admin: &Admin, queue: &Queue, offset: i64, expression: &str, max: i32) -> Result<Found, Error> {
    let request = PullMessage {
        consumer_group: TOOLS_GROUP.to_owned(),
        topic: queue.topic.clone(),
        queue_id: queue.queue_id,
        queue_offset: offset,
        max_msg_nums: max.clamp(1, BATCH),
        sys_flag: PullMessage::SUBSCRIPTION,
        subscription: Some(expression.to_owned()),
        sub_version: Some(0),
        expression_type: Some(protocol::subscription::TAG.to_owned()),
        ..PullMessage::default()
    };
    let codes =
        [response::SUCCESS, response::PULL_NOT_FOUND, response::PULL_RETRY_IMMEDIATELY, response::PULL_OFFSET_MOVED];
    let answer = admin.ask_any(&queue.address, &request, Bytes::new(), &codes).await?;
    let (next, end) = (answer.reply.next_begin_offset, answer.reply.max_offset);
    let messages: Vec<_> = match answer.code {
        response::SUCCESS => {
            Record::all(&answer.body).map_while(Result::ok).map(|it| StoredMessage::new(&queue.broker, &it)).collect()
        }
        _ => Vec::new(),
    };
    // A broker that says neither where to go on nor where it ends must not have us ask for ever.
    let stuck = messages.is_empty() && next <= offset;
    Ok(Found { messages, next: next.max(offset), end: next >= end || stuck })
}

/// Entries of a consume queue (`queryCq`), from `index` on; with a group also what it subscribes to.
pub async fn entries(
    admin: &Admin,
    broker: &str,
    topic: &str,
    queue_id: i32,
    index: i64,
    count: i32,
    group: Option<&str>,
) -> Result<ConsumeQueueEntries, Error> {
    let request =
        QueryConsumeQueue { topic: topic.to_owned(), queue_id, index, count, consumer_group: group.map(str::to_owned) };
    admin.ask_for(broker, &request).await
}
