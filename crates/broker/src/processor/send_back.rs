//! Messages that a consumer could not work at: it wants them again, later.

use super::send_message::await_disk;
use super::{not_stored, park};
use crate::Broker;
use crate::life::event::Event;
use crate::retry::{self, Destination};
use crate::send_backs::{Outcome, SentBack};
use crate::timer::Wait;
use protocol::code::response;
use protocol::message::{offset_message_id, property};
use protocol::record::{PROPERTIES_LENGTH_MAX, Record};
use protocol::request::Empty;
use protocol::request::send::SendBack;
use protocol::subscription::SubscriptionGroupConfig;
use protocol::topic::{PERM_READ, PERM_WRITE, dead_letter_topic, retry_topic};
use remoting::{Answer, Call, Reject};
use std::net::SocketAddr;
use std::sync::Arc;
use store::{CommitLogOffset, PutMessage};

/// CONSUMER_SEND_MSG_BACK (36).
pub(super) async fn send_back(broker: Arc<Broker>, call: Call<SendBack>) -> Result<Answer<Empty>, Reject> {
    let request = &call.request;
    let group = broker.group(&request.group, &call.peer)?;
    if broker.config.permission & PERM_WRITE == 0 {
        let remark = format!("the broker[{}] sending message is forbidden (brokerPermission)", broker.config.name);
        return Err(Reject::new(response::NO_PERMISSION, remark));
    }
    if group.retry_queue_nums <= 0 {
        return Ok(Empty {}.into());
    }
    let at = CommitLogOffset(request.offset);
    let bytes = match broker.store.read(at) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            return Err(Reject::system_error(format!("look message by offset failed, {at}: the log does not hold it")));
        }
        Err(error) => return Err(Reject::system_error(format!("look message by offset failed, {at}: {error}"))),
    };
    let record = Record::parse(&bytes)
        .map_err(|error| Reject::system_error(format!("look message by offset failed, {at}: {error}")))?;

    let max = retry::attempts_max(&group, call.version, request.max_reconsume_times);
    let destination = retry::destination(&group, record.reconsume_times, max, request.delay_level);
    if destination == Destination::DeadLetters
        && let Some(poison) = park::sent_back(&broker, &group, &record, call.peer.address())?
    {
        return Err(poison.park(&broker).await);
    }
    let store_host = broker.store_host(&call.peer);
    match put_back(&broker, &group, &record, at, destination, store_host, call.peer.address())? {
        None => Ok(Empty {}.into()),
        Some((end, remark)) => {
            // The consumer goes on and forgets the message, so it has to be as safe as it was.
            let mut answer = await_disk(&broker, end, Empty {}).await?;
            answer.remark = answer.remark.or(remark);
            Ok(answer)
        }
    }
}

/// Puts a record that `group` could not work at where it belongs, and says up to where the log is to be on disk; in words, too, if it
/// was there already. `None`: nowhere.
pub(super) fn put_back(
    broker: &Broker,
    group: &SubscriptionGroupConfig,
    record: &Record<'_>,
    at: CommitLogOffset,
    destination: Destination,
    store_host: SocketAddr,
    by: SocketAddr,
) -> Result<Option<(CommitLogOffset, Option<String>)>, Reject> {
    let name = &group.group_name;
    let dead = destination == Destination::DeadLetters;
    let (topic, queues, delay_level) = match destination {
        Destination::Nowhere => return Ok(None),
        Destination::DeadLetters => (dead_letter_topic(name), retry::DEAD_LETTER_QUEUES, 0),
        Destination::Again { delay_level } => (retry_topic(name), group.retry_queue_nums, delay_level),
    };
    let queues = broker
        .topics
        .ensure(&topic, queues, PERM_READ | PERM_WRITE, crate::now_millis())
        .map_err(|error| Reject::system_error(error.to_string()))?;
    let message_id = offset_message_id(record.store_host, at);
    let properties = retry::properties(record.properties, record.topic, &message_id, delay_level);
    if properties.len() > PROPERTIES_LENGTH_MAX {
        return Err(Reject::new(
            response::MESSAGE_ILLEGAL,
            format!("message {message_id} can't be sent back: its properties would have {} bytes", properties.len()),
        ));
    }
    let put = PutMessage {
        topic: &topic,
        queue_id: broker.any_queue(queues.write) as u32,
        flag: record.flag,
        sys_flag: record.sys_flag,
        born_timestamp: record.born_timestamp,
        born_host: record.born_host,
        store_host,
        reconsume_times: record.reconsume_times.saturating_add(1),
        prepared_transaction_offset: 0,
        body: record.body,
        properties: &properties,
    };
    let attempt = put.reconsume_times;
    let level = broker.delay.level(delay_level).map(|(level, _)| level);
    let origin = record.properties().get(property::ORIGIN_MESSAGE_ID).unwrap_or(&message_id);
    let sent_back = SentBack { group: name, origin, attempt, dead, record };
    let outcome =
        broker.send_back_once(&sent_back, level, || broker.put(&put, Wait::Level(delay_level))).map_err(not_stored)?;
    let stored = match outcome {
        Outcome::Stored(stored) => stored,
        Outcome::Before(end) => {
            broker.note(Event::SentBackAgain { group: name.clone() });
            return Ok(Some((end, Some(format!("message {message_id} was sent back before, and comes again once")))));
        }
    };
    broker.note(Event::SentBack { group: name.clone(), at: at.0, to: stored.at.0, attempt, dead, by });
    let first = record.properties().get(property::RETRY_TOPIC).unwrap_or(record.topic);
    broker.stats.sent_back(name, first);
    if dead {
        broker.metrics.dead(name, first);
    }
    Ok(Some((stored.end, None)))
}
