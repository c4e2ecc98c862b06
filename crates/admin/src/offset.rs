//! Where groups go on: to a time, to an offset, to the end, as another group; and back.

use crate::{Admin, Error, consumer, topic};
use bytes::Bytes;
use protocol::code::response;
use protocol::group::ResetOffsets;
use protocol::request::group::{CloneGroupOffset, ResetOffset};
use protocol::request::offset::{QueryConsumerOffset, SearchOffset, UpdateConsumerOffset};
use serde::{Deserialize, Serialize};

/// To where a group is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// To the first message that was stored then or later, milliseconds since 1970.
    Time(i64),
    /// To the end.
    End,
}

impl Target {
    /// As it travels.
    fn timestamp(self) -> i64 {
        match self {
            Target::Time(at) => at,
            Target::End => -1,
        }
    }
}

/// A queue in which a group is to go on elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Move {
    /// The broker's name.
    pub broker: String,
    /// The queue's number.
    pub queue_id: i32,
    /// Where the group is; `None`: it has no offset there.
    pub from: Option<i64>,
    /// Where it is to go on.
    pub to: i64,
    /// The queue's first message.
    pub min: i64,
    /// The queue's end.
    pub max: i64,
}

impl Move {
    /// How many messages the group would never see.
    pub fn skipped(&self) -> i64 {
        self.from.map_or(0, |from| (self.to - from.max(self.min)).max(0))
    }

    /// How many messages the group would see again.
    pub fn again(&self) -> i64 {
        self.from.map_or(0, |from| (from.min(self.max) - self.to.max(self.min)).max(0))
    }
}

/// What a reset of a group's offsets would do. Nothing is changed. `queue`: only this one, a broker's name and a number,
/// and to where in it; else all queues, to `target`.
pub async fn preview(
    admin: &Admin,
    group: &str,
    topic: &str,
    target: Target,
    queue: Option<(&str, i32, i64)>,
) -> Result<Vec<Move>, Error> {
    let masters = topic::masters(admin, topic).await?;
    let status = topic::status(admin, topic).await?;
    let mut moves = Vec::new();
    for bounds in status.queues {
        let Some((_, address)) = masters.iter().find(|(name, _)| *name == bounds.broker) else { continue };
        let to = match queue {
            Some((broker, queue_id, _))
                if queue_id != bounds.queue_id || (broker != bounds.broker && broker != address) =>
            {
                continue;
            }
            Some((_, _, offset)) => offset,
            None => match target {
                Target::End => bounds.max_offset,
                Target::Time(timestamp) => {
                    let request = SearchOffset {
                        topic: topic.to_owned(),
                        queue_id: bounds.queue_id,
                        timestamp,
                        ..SearchOffset::default()
                    };
                    admin.ask(address, &request, Bytes::new()).await?.0.offset
                }
            },
        };
        let from = current(admin, address, group, topic, bounds.queue_id).await?;
        moves.push(Move {
            broker: bounds.broker,
            queue_id: bounds.queue_id,
            from,
            to,
            min: bounds.min_offset,
            max: bounds.max_offset,
        });
    }
    match (moves.is_empty(), queue) {
        (true, Some((broker, queue_id, _))) => {
            Err(crate::not_there("queue", &format!("{topic}@{broker}#{queue_id}"), std::iter::empty()))
        }
        _ => Ok(moves),
    }
}

/// What [`copy`] would do: where the destination is, and where it would go on. Queues in which the source has no offset are
/// left out.
pub async fn copy_preview(admin: &Admin, source: &str, destination: &str, topic: &str) -> Result<Vec<Move>, Error> {
    let masters = topic::masters(admin, topic).await?;
    let mut moves = Vec::new();
    for bounds in topic::status(admin, topic).await?.queues {
        let Some((_, address)) = masters.iter().find(|(name, _)| *name == bounds.broker) else { continue };
        let Some(to) = current(admin, address, source, topic, bounds.queue_id).await? else { continue };
        let from = current(admin, address, destination, topic, bounds.queue_id).await?;
        let (min, max) = (bounds.min_offset, bounds.max_offset);
        moves.push(Move { broker: bounds.broker, queue_id: bounds.queue_id, from, to, min, max });
    }
    Ok(moves)
}

/// Where a group is in a queue; `None`: it has no offset there.
pub async fn current(
    admin: &Admin,
    broker: &str,
    group: &str,
    topic: &str,
    queue_id: i32,
) -> Result<Option<i64>, Error> {
    let request = QueryConsumerOffset {
        consumer_group: group.to_owned(),
        topic: topic.to_owned(),
        queue_id,
        set_zero_if_not_found: Some(false),
    };
    match admin.ask(broker, &request, Bytes::new()).await {
        Ok((reply, _)) => Ok(Some(reply.offset)),
        Err(error) if error.code() == Some(response::QUERY_NOT_FOUND) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where a group went on in a queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Went {
    /// The broker's name.
    pub broker: String,
    /// The queue's number.
    pub queue_id: i32,
    /// It goes on there.
    pub offset: i64,
}

/// A group goes on elsewhere, with and without members (`resetOffsetByTime`, `skipAccumulatedMessage`). `force` is what
/// brokers are told of that name: whether members may be moved forward.
#[doc(alias = "resetOffsetByTimestamp")]
pub async fn reset(admin: &Admin, group: &str, topic: &str, target: Target, force: bool) -> Result<Vec<Went>, Error> {
    let mut went = Vec::new();
    for (_, broker) in topic::masters(admin, topic).await? {
        let request = ResetOffset {
            group: group.to_owned(),
            topic: topic.to_owned(),
            queue_id: Some(-1),
            offset: Some(-1),
            timestamp: target.timestamp(),
            is_force: Some(force),
        };
        went.extend(ask(admin, &broker, &request).await?);
    }
    went.sort();
    Ok(went)
}

/// A group goes on at an offset of one queue (`resetOffsetByTime -b -q -o`).
#[doc(alias = "resetOffsetByQueueId")]
pub async fn reset_queue(
    admin: &Admin,
    group: &str,
    topic: &str,
    broker: &str,
    queue_id: i32,
    offset: i64,
) -> Result<Vec<Went>, Error> {
    let (name, address) = topic::master(admin, topic, broker).await?;
    let request = ResetOffset {
        group: group.to_owned(),
        topic: topic.to_owned(),
        queue_id: Some(queue_id),
        offset: Some(offset),
        timestamp: -1,
        is_force: Some(true),
    };
    let answered = ask(admin, &address, &request).await?;
    if answered.iter().any(|went| went.queue_id == queue_id && went.offset == offset) {
        return Ok(answered);
    }
    // Brokers before 5.0 know no reset of one queue; who is not online is moved like this.
    let request = UpdateConsumerOffset {
        consumer_group: group.to_owned(),
        topic: topic.to_owned(),
        queue_id: Some(queue_id),
        commit_offset: offset,
    };
    admin.ask(&address, &request, Bytes::new()).await?;
    Ok(vec![Went { broker: name, queue_id, offset }])
}

async fn ask(admin: &Admin, broker: &str, request: &ResetOffset) -> Result<Vec<Went>, Error> {
    let offsets: ResetOffsets = admin.ask_for(broker, request).await?;
    let offsets = offsets.offset_table.into_iter();
    Ok(offsets.map(|(queue, offset)| Went { broker: queue.broker_name, queue_id: queue.queue_id, offset }).collect())
}

/// A group goes on where another one is (`cloneGroupOffset`). With `offline` also in topics to which the other one does
/// not subscribe any more.
pub async fn copy(admin: &Admin, from: &str, to: &str, topic: &str, offline: bool) -> Result<(), Error> {
    for (_, broker) in consumer::brokers_of(admin, from, Some(topic)).await? {
        let request = CloneGroupOffset {
            src_group: from.to_owned(),
            dest_group: to.to_owned(),
            topic: Some(topic.to_owned()),
            offline: Some(offline),
        };
        admin.ask(&broker, &request, Bytes::new()).await?;
    }
    Ok(())
}

/// Where a group was before its offsets were reset: what an undo needs. As JSON it is a file for later.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Before {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// When it was written down, milliseconds since 1970.
    pub at: i64,
    /// What was done.
    pub moves: Vec<Move>,
}

impl Before {
    /// What [`preview`] said, to be kept before the reset.
    pub fn new(group: &str, topic: &str, moves: &[Move]) -> Before {
        Before { group: group.to_owned(), topic: topic.to_owned(), at: crate::now_millis(), moves: moves.to_vec() }
    }
}

/// A group goes on where it was before a reset. A queue in which it had no offset then is left as it is, and one whose
/// messages are gone meanwhile goes on at its first message.
pub async fn undo(admin: &Admin, before: &Before) -> Result<Vec<Went>, Error> {
    let status = topic::status(admin, &before.topic).await?;
    let mut went = Vec::new();
    for queue in &before.moves {
        let Some(from) = queue.from else { continue };
        let bounds = status.queues.iter().find(|it| it.broker == queue.broker && it.queue_id == queue.queue_id);
        let Some(bounds) = bounds else { continue };
        let to = from.clamp(bounds.min_offset, bounds.max_offset);
        went.extend(reset_queue(admin, &before.group, &before.topic, &queue.broker, queue.queue_id, to).await?);
    }
    went.sort();
    Ok(went)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_and_what_comes_again_is_counted_within_the_queue() {
        let going = |from: Option<i64>, to: i64| {
            let it = Move { from, to, min: 10, max: 50, ..Move::default() };
            (it.skipped(), it.again())
        };
        assert_eq!(going(Some(20), 50), (30, 0));
        assert_eq!(going(Some(40), 10), (0, 30));
        assert_eq!(going(Some(40), 0), (0, 30), "what retention took does not come again");
        assert_eq!(going(Some(5), 50), (40, 0), "what retention took is not skipped");
        assert_eq!(going(None, 50), (0, 0));
    }
}
