//! Sends to a topic that knows its messages by their ids (`dedup.window`): what is stored, and how the rest is answered.

use super::{not_stored, short};
use crate::Broker;
use crate::dedup::{First, SharedWindow};
use protocol::code::response;
use protocol::message::{CommitLogOffset, Properties, offset_message_id, property};
use protocol::record::{BatchEntries, BatchEntry};
use protocol::request::send::SendMessageReply;
use remoting::Reject;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use store::{PutError, PutMessage, StoredBatch};

/// How a message is answered that was stored before, `age` ago: with the first one's place. Answers with the remark.
pub(super) fn answer(reply: &mut SendMessageReply, first: &First, age: Duration, store_host: SocketAddr) -> String {
    reply.msg_id = offset_message_id(store_host, first.at);
    (reply.queue_id, reply.queue_offset) = (first.queue_id, first.queue_offset);
    reply.duplicate = Some(true);
    let what = if first.half.is_some() { "half message" } else { "message" };
    format!(
        "duplicate: a {what} with this DEDUP_ID was stored {:.1} s ago, as number {} of queue {}; this one is not stored",
        age.as_secs_f32(),
        first.queue_offset,
        first.queue_id
    )
}

/// The first message with its id is a half message that may never be delivered: to take this one for it could lose both.
pub(super) fn undecided(topic: &str) -> Reject {
    let remark = format!(
        "a message for topic[{}] has the DEDUP_ID of a half message whose transaction is open, so nobody knows yet whether that one \
         is delivered; send it again when the transaction has ended",
        short(topic)
    );
    Reject::new(response::MESSAGE_ILLEGAL, remark)
}

/// A batch is not one message, to be known again by one id.
pub(super) fn of_batch(topic: &str) -> Reject {
    let remark = format!(
        "a batch for topic[{}] has a DEDUP_ID of its own, by which nothing is known again: its messages have theirs",
        short(topic)
    );
    Reject::new(response::MESSAGE_ILLEGAL, remark)
}

/// What became of a batch.
pub(super) struct PutBatch {
    /// Where each of its messages is.
    at: Vec<CommitLogOffset>,
    /// Queue and offset of the first.
    first: (i32, i64),
    /// Behind the last of them in the log.
    pub end: CommitLogOffset,
    /// How many were stored now, and bytes of their records.
    pub stored: (i64, i64),
    known: Option<Known>,
}

/// What is told of a batch of which something was stored before.
struct Known {
    /// Queue and offset of each message.
    places: Vec<(i32, i64)>,
    /// Which were stored before.
    duplicates: Vec<usize>,
}

/// Where a message of a batch is.
enum Place {
    /// It is the n-th of those that are stored now; so is one that has the id of another in the batch.
    Now(usize),
    /// It was stored before.
    Before(First),
}

impl PutBatch {
    /// All of it was stored now.
    pub fn all(stored: StoredBatch, queue_id: i32) -> PutBatch {
        let begin = stored.at.first().map_or(stored.end.0, |at| at.0);
        PutBatch {
            first: (queue_id, stored.queue_offset.0),
            end: stored.end,
            stored: (stored.at.len() as i64, stored.end.0 - begin),
            at: stored.at,
            known: None,
        }
    }

    /// Stores those messages of a batch whose ids its topic does not know.
    pub fn new_ones(broker: &Broker, put: &PutMessage<'_>, window: &SharedWindow) -> Result<PutBatch, Reject> {
        let now = Instant::now();
        let mut window = window.lock();
        let (mut places, mut duplicates) = (Vec::new(), Vec::new());
        let (mut new, mut new_ids): (Vec<BatchEntry>, HashMap<u128, usize>) = Default::default();
        for (n, entry) in BatchEntries::new(put.body).enumerate() {
            let entry = entry.map_err(|error| not_stored(PutError::Batch { topic: put.topic.to_owned(), n, error }))?;
            let id = Properties(entry.properties).get(property::DEDUP_ID).map(|id| broker.dedup.hash(id));
            let known = id.and_then(|id| match window.known(id, now) {
                Some((first, _)) => Some(Place::Before(first)),
                None => new_ids.get(&id).copied().map(Place::Now),
            });
            let place = match known {
                Some(Place::Before(First { half: Some(_), .. })) => return Err(undecided(put.topic)),
                Some(known) => {
                    duplicates.push(n);
                    known
                }
                None => {
                    id.map(|id| new_ids.insert(id, new.len()));
                    new.push(entry);
                    Place::Now(new.len() - 1)
                }
            };
            places.push(place);
        }
        let queue_id = put.queue_id as i32;
        if duplicates.is_empty() {
            let stored = broker.store.put_batch(put).map_err(not_stored)?;
            remember(&mut window, new_ids, &stored, queue_id, now);
            return Ok(PutBatch::all(stored, queue_id));
        }
        let stored = match new.is_empty() {
            true => None,
            false => {
                let mut body = Vec::with_capacity(put.body.len());
                new.iter().for_each(|entry| entry.encode(&mut body));
                let stored = broker.store.put_batch(&PutMessage { body: &body, ..*put }).map_err(not_stored)?;
                remember(&mut window, new_ids, &stored, queue_id, now);
                Some(stored)
            }
        };
        window.count(duplicates.len());
        let firsts: Vec<First> = places
            .into_iter()
            .filter_map(|place| match place {
                Place::Before(first) => Some(first),
                Place::Now(n) => stored.as_ref().and_then(|stored| nth(stored, n, queue_id)),
            })
            .collect();
        let begin = stored.as_ref().and_then(|stored| stored.at.first()).map_or(0, |at| at.0);
        Ok(PutBatch {
            at: firsts.iter().map(|first| first.at).collect(),
            first: firsts.first().map_or((queue_id, 0), |first| (first.queue_id, first.queue_offset)),
            end: firsts.iter().map(|first| first.end).max().unwrap_or_default(),
            stored: stored.as_ref().map_or((0, 0), |stored| (stored.at.len() as i64, stored.end.0 - begin)),
            known: Some(Known {
                places: firsts.iter().map(|first| (first.queue_id, first.queue_offset)).collect(),
                duplicates,
            }),
        })
    }

    /// Says where its messages are; in words, too, if something was stored before.
    pub fn answer(self, reply: &mut SendMessageReply, store_host: SocketAddr) -> Option<String> {
        let joined = |all: Vec<String>| all.join(",");
        reply.msg_id = joined(self.at.iter().map(|at| offset_message_id(store_host, *at)).collect());
        (reply.queue_id, reply.queue_offset) = self.first;
        let Known { places, duplicates } = self.known?;
        let (count, all) = (duplicates.len(), places.len());
        reply.duplicate = (count == all).then_some(true);
        reply.places = Some(joined(places.iter().map(|(queue, offset)| format!("{queue}:{offset}")).collect()));
        reply.duplicates = Some(joined(duplicates.iter().map(usize::to_string).collect()));
        Some(format!(
            "duplicates: {count} of the {all} messages of this batch have a DEDUP_ID that is known, and are not stored; `duplicates` \
             says which, `places` where the first ones are"
        ))
    }
}

fn remember(
    window: &mut crate::dedup::Window,
    new_ids: HashMap<u128, usize>,
    stored: &StoredBatch,
    queue_id: i32,
    now: Instant,
) {
    for (id, n) in new_ids {
        if let Some(first) = nth(stored, n, queue_id) {
            window.remember(id, first, now);
        }
    }
}

fn nth(stored: &StoredBatch, n: usize, queue_id: i32) -> Option<First> {
    let (at, queue_offset) = (*stored.at.get(n)?, stored.queue_offset.0 + n as i64);
    Some(First { at, end: stored.end, queue_id, queue_offset, half: None })
}
