//! Messages that are parked with their key, so that other keys of the queue go on.
//!
//! A consumer in order gives a message up after so many attempts by sending it to its retry topic. For a group with the
//! attribute `order.park=true` its key is parked then, and the send is refused: so the consumer holds on to the message, and to those
//! behind it, until it hears that it is to go on elsewhere. Then it lets go of all that it has of the queue, and what it pulls
//! next has nothing of the key. An operator may park a message, too.

use super::send_back::put_back;
use super::{no_such_group, short};
use crate::Broker;
use crate::life::event::Event;
use crate::parking::{GroupQueue, KEYS_MAX, Nudge, Parked, ParkedKey, Passage, TooMany, key_of};
use crate::retry::{self, Destination};
use crate::table::Table as _;
use protocol::code::response;
use protocol::json;
use protocol::message::{Properties, property};
use protocol::record::Record;
use protocol::request::Empty;
use protocol::request::order::{
    ListParked, ParkMessage, ParkedKey as ListedKey, ParkedList, ParkedMessage, ReleaseParked, ReleasedList,
    ReleasedQueue,
};
use protocol::request::send::SendMessage;
use protocol::subscription::{ORDER_PARK, ORDER_SHARE_BY_KEY, SubscriptionGroupConfig};
use protocol::topic::{RETRY_PREFIX, RETRY_PREFIX as RETRY};
use remoting::{Answer, Call, Reject};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{CommitLogOffset, Matching, QueueOffset, Verdict};
use tokio::task::spawn_blocking;

/// Clients renew their locks every 20 s, and trust them for 30 s.
const RENEWED_WITHIN: Duration = Duration::from_secs(30);

/// So many records with one key are looked at.
const RECORDS_MAX: usize = 64;

/// So many messages of a key are named, or go to the dead letters, at a time.
const MESSAGES_MAX: usize = 10_000;

/// Bytes of records that are read at a time.
const BATCH_BYTES: usize = 1 << 20;

/// A message that its group can't work at.
#[derive(Debug)]
pub(super) struct Poison {
    queue: GroupQueue,
    offset: i64,
    key: Option<String>,
    /// Its consumer is done with all before it.
    in_order: bool,
    by: (SocketAddr, String),
}

/// Why nothing was parked.
#[derive(Debug, thiserror::Error)]
enum ParkError {
    #[error(transparent)]
    TooMany(#[from] TooMany),
    #[error("config/orderParked.json or config/consumerOffset.json cannot be saved: {0}")]
    Io(#[from] io::Error),
}

/// Is this a message that a consumer in order gives up, and that its group parks? Others give up to have it among the dead letters.
/// Refused while it is not known whether they consume in order.
pub(super) fn given_up(broker: &Broker, call: &Call<SendMessage>) -> Result<Option<Box<Poison>>, Reject> {
    let request = &call.request;
    let Some(name) = request.topic.strip_prefix(RETRY_PREFIX) else { return Ok(None) };
    let Some(group) = broker.groups.get(name).filter(|group| group.is_on(ORDER_PARK)) else { return Ok(None) };
    let attempts = request.reconsume_times.unwrap_or(0);
    let max = retry::attempts_max(&group, call.version, request.max_reconsume_times);
    if attempts < max || !parks_in_order(broker, name)? {
        return Ok(None);
    }
    Ok(poison_of(broker, call, name, attempts))
}

/// Does the group consume in order? Its members say so with their locks, which are not known yet just after a start.
fn parks_in_order(broker: &Broker, group: &str) -> Result<bool, Reject> {
    if broker.consumes_in_order(group) {
        return Ok(true);
    }
    if broker.store.opened().0.elapsed() >= RENEWED_WITHIN {
        return Ok(false);
    }
    let remark = format!(
        "the broker was started less than {} s ago, and does not know yet whether group[{}] consumes in order, so whether this          message is parked (order.park) or goes to the dead letters: it stays with its consumer, which tries again",
        RENEWED_WITHIN.as_secs(),
        short(group)
    );
    Err(Reject::new(response::MESSAGE_ILLEGAL, remark))
}

/// The message of a queue that is meant, if it is found.
fn poison_of(broker: &Broker, call: &Call<SendMessage>, name: &str, attempts: i32) -> Option<Box<Poison>> {
    let properties = Properties(call.request.properties.as_deref()?.as_bytes());
    if properties.get(property::DLQ_REQUEUED_FROM).is_some() {
        return None; // an operator gives it to the group again
    }
    let (topic, unique_key) = (properties.get(property::RETRY_TOPIC)?, properties.get(property::UNIQ_KEY)?);
    // Clients take the namespace off before they hand a message out.
    let namespace = name.split_once('%').map(|(namespace, _)| format!("{namespace}%{topic}"));
    let found = [Some(topic.to_owned()), namespace].into_iter().flatten().find_map(|topic| {
        let (queue_id, offset, key) = broker.waiting(name, &topic, unique_key)?;
        Some((GroupQueue { group: name.to_owned(), topic, queue_id }, offset, key))
    });
    let Some((queue, offset, key)) = found else {
        tracing::warn!(
            group = name,
            topic = short(topic),
            unique_key = short(unique_key),
            "is not parked but goes to the dead letters: the index does not have it among what the group has still to consume \
             (messageIndexEnable)"
        );
        return None;
    };
    let by = (call.peer.address(), format!("{}, after {attempts} attempts", call.peer.address()));
    Poison::new(broker, queue, offset, key, true, by)
}

/// As [`given_up`], for a record that a consumer sends back for the last time: so some that are not in Java do.
pub(super) fn sent_back(
    broker: &Broker,
    group: &SubscriptionGroupConfig,
    record: &Record<'_>,
    by: SocketAddr,
) -> Result<Option<Box<Poison>>, Reject> {
    if !group.is_on(ORDER_PARK) || record.topic.starts_with(RETRY) || !parks_in_order(broker, &group.group_name)? {
        return Ok(None);
    }
    let (name, offset) = (&group.group_name, record.queue_offset.0);
    let queue = GroupQueue { group: name.clone(), topic: record.topic.to_owned(), queue_id: record.queue_id };
    if broker.offsets.get(name, record.topic, record.queue_id).is_some_and(|consumed| offset < consumed) {
        return Ok(None); // the group went past it
    }
    Ok(Poison::new(broker, queue, offset, key_of(record).map(str::to_owned), false, (by, by.to_string())))
}

impl Poison {
    fn new(
        broker: &Broker,
        queue: GroupQueue,
        offset: i64,
        key: Option<String>,
        in_order: bool,
        by: (SocketAddr, String),
    ) -> Option<Box<Poison>> {
        let parked = broker.parking.get(&queue).unwrap_or_default();
        if parked.keys.len() >= KEYS_MAX && parked.passage(offset, key.as_deref()) != Passage::Parked {
            let GroupQueue { group, topic, queue_id } = &queue;
            tracing::warn!(group, topic, queue_id, offset, "is not parked but goes to the dead letters: {TooMany}");
            return None;
        }
        Some(Box::new(Poison { queue, offset, key, in_order, by }))
    }

    /// Parks it. The answer is a refusal in any case: its consumer is to hold on to it until it goes on elsewhere.
    pub(super) async fn park(self, broker: &Arc<Broker>) -> Reject {
        let (parking, offset) = (broker.clone(), self.offset);
        let parked = spawn_blocking(move || {
            let done = parking.park_key(&self);
            (self, done)
        });
        let remark = match parked.await {
            Ok((poison, Ok(()))) => {
                let GroupQueue { group, topic, queue_id } = &poison.queue;
                format!(
                    "nothing is wrong: message {offset} of topic[{}] queue {queue_id} is parked for group[{}], with {} \
                     (order.park). This consumer lets go of it in a moment, and goes on with other keys",
                    short(topic),
                    short(group),
                    match &poison.key {
                        Some(key) => format!("its key `{}`", short(key)),
                        None => "no others, as it has no key".into(),
                    }
                )
            }
            Ok((_, Err(error))) => format!("message {offset} is not parked: {error}; it stays with its consumer"),
            Err(error) => format!("message {offset} is not parked: {error}; it stays with its consumer"),
        };
        // A code for which no client tries again by itself.
        Reject::new(response::MESSAGE_ILLEGAL, remark)
    }
}

impl Broker {
    /// Where a message lies that the group has still to consume, and its key.
    fn waiting(&self, group: &str, topic: &str, unique_key: &str) -> Option<(i32, i64, Option<String>)> {
        let found = self.store.query(topic, unique_key, RECORDS_MAX, 0, i64::MAX).records;
        let records = found
            .iter()
            .filter_map(|bytes| Record::parse(bytes).ok())
            .filter(|record| record.topic == topic && record.properties().get(property::UNIQ_KEY) == Some(unique_key));
        let waits = records.filter_map(|record| {
            let (queue_id, offset) = (record.queue_id, record.queue_offset.0);
            let ahead = offset - self.offsets.get(group, topic, queue_id).unwrap_or(0);
            (ahead >= 0).then(|| (ahead, (queue_id, offset, key_of(&record).map(str::to_owned))))
        });
        // A producer that tried twice has stored it twice. The one that comes first is the one that was met.
        waits.min_by_key(|(ahead, _)| *ahead).map(|(_, place)| place)
    }

    /// Parks a message, and has the group go on without it. All is on disk when this returns. Blocks.
    fn park_key(&self, poison: &Poison) -> Result<(), ParkError> {
        let Poison { queue, offset, key, in_order, by } = poison;
        let GroupQueue { group, topic, queue_id } = queue;
        let entry = ParkedKey { key: key.clone(), from: *offset, since: crate::now_millis(), by: by.1.clone() };
        let moved = Cell::new(None);
        let go_back = |new: &bool| {
            // A reset that nobody has followed yet will do.
            if self.offsets.awaits(group, topic, *queue_id).is_none() {
                let consumed = self.offsets.get(group, topic, *queue_id).unwrap_or(*offset);
                let to = if *new && *in_order { *offset } else { consumed.min(*offset) };
                let to = if *new { to } else { consumed };
                self.offsets.reset(group, topic, &BTreeMap::from([(*queue_id, to)]));
                moved.set(Some((consumed, to)));
            }
        };
        let new = self.parking.change(queue, |parked| Ok::<_, ParkError>(parked.park(entry)?), go_back)?;
        self.offsets.save()?;
        if new {
            tracing::warn!(
                group,
                topic,
                queue_id,
                offset,
                key,
                by = by.1,
                "parked: the group goes on with other keys of this queue; `cometmq admin order parked` lists what is parked, `order \
                 unpark` gives it to the group again"
            );
            let (group, topic, range) = (group.clone(), topic.clone(), (*offset, offset + 1));
            self.note(Event::Parked { group, topic, queue_id: *queue_id, range, by: by.0 });
        }
        if let Some((from, to)) = moved.get() {
            // Its consumer had come so far and not said so yet.
            self.note_commit(group, topic, *queue_id, Some(from), to, by.0);
            self.go_on_elsewhere(queue);
        }
        Ok(())
    }

    /// The offset of this queue was reset: those who consume it are to hear of that soon.
    fn go_on_elsewhere(&self, queue: &GroupQueue) {
        self.parking.moves(queue, Instant::now());
        self.store.interrupt(&queue.topic, queue.queue_id as u32);
    }

    /// Tells members that are to go on elsewhere, and have not heard of it.
    pub(crate) fn nudge_members(&self, now: Instant) {
        let awaits = |queue: &GroupQueue| self.offsets.awaits(&queue.group, &queue.topic, queue.queue_id);
        for (queue, nudge) in self.parking.nudges(now, awaits) {
            let GroupQueue { group, topic, queue_id } = &queue;
            match (nudge, self.offsets.get(group, topic, *queue_id)) {
                (Nudge::Ask, Some(offset)) => self.ask_to_move(&queue, offset),
                (Nudge::Ask, None) => {}
                (Nudge::Rebalance, _) => self.tell_members(group),
            }
        }
    }

    /// Ends releases that groups have gone through. Blocks.
    pub fn end_releases(&self) -> io::Result<()> {
        let consumed = |queue: &GroupQueue| {
            let GroupQueue { group, topic, queue_id } = queue;
            match self.offsets.awaits(group, topic, *queue_id) {
                Some(_) => None,
                None => self.offsets.get(group, topic, *queue_id),
            }
        };
        let over = self.parking.released(consumed);
        if !over.is_empty() {
            // Else a crash would bring the group back to before the end, and nobody would know what it has consumed.
            self.offsets.save()?;
        }
        for queue in over {
            let edit = |parked: &mut Parked| -> io::Result<()> {
                let through = |end| consumed(&queue).is_some_and(|consumed| consumed >= end);
                if parked.release.as_ref().is_some_and(|release| through(release.end)) {
                    parked.release = None;
                }
                Ok(())
            };
            self.parking.change(&queue, edit, |()| ())?;
            let GroupQueue { group, topic, queue_id } = queue;
            tracing::info!(group, topic, queue_id, "what was parked and released is consumed");
        }
        Ok(())
    }

    /// Nothing is being released in this queue any more: an operator sets its offset. Blocks.
    pub(crate) fn end_release(&self, queue: &GroupQueue) -> io::Result<()> {
        if self.parking.get(queue).is_none_or(|parked| parked.release.is_none()) {
            return Ok(());
        }
        let edit = |parked: &mut Parked| -> io::Result<()> {
            parked.release = None;
            Ok(())
        };
        self.parking.change(queue, edit, |()| ())
    }

    /// After a start: a release whose way back was not kept begins anew, and members that have still to go elsewhere are told.
    pub(crate) fn begin_releases_anew(&self) {
        for (queue, parked) in self.parking.all() {
            let GroupQueue { group, topic, queue_id } = &queue;
            if let Some(release) = parked.release.as_ref().filter(|release| release.pending) {
                let from = release.keys.iter().map(|key| key.from).min().unwrap_or(release.end);
                self.offsets.reset(group, topic, &BTreeMap::from([(*queue_id, from)]));
                // Else the next start would begin it once more, though the group may have gone through it.
                if let Err(error) = self.offsets.save().and_then(|()| self.keep_release(&queue)) {
                    tracing::error!(group, topic, queue_id, %error, "a release that begins anew is not kept over another start");
                }
            }
            if self.offsets.awaits(group, topic, *queue_id).is_some() {
                self.parking.moves(&queue, Instant::now());
            }
        }
    }

    /// Says what is parked and about to expire, or has expired.
    pub(crate) fn tell_of_expiring(&self, now: i64) {
        let kept_for = self.config.file_reserved_time.as_millis() as i64;
        for (queue, parked) in self.parking.all() {
            let GroupQueue { group, topic, queue_id } = &queue;
            let id = *queue_id as u32;
            for key in &parked.keys {
                let ParkedKey { key: name, from, .. } = key;
                if self.store.min_offset(topic, id) > QueueOffset(*from) {
                    if self.parking.tell_of_expiry(&queue, *from, true) {
                        tracing::error!(
                            group,
                            topic,
                            queue_id,
                            key = name,
                            from,
                            "parked messages have expired; the group never got them"
                        );
                    }
                    continue;
                }
                let stored = self.store.store_timestamp_of(topic, id, QueueOffset(*from));
                let is_old = stored.is_some_and(|stored| now - stored > kept_for / 4 * 3);
                if is_old && self.parking.tell_of_expiry(&queue, *from, false) {
                    tracing::warn!(
                        group,
                        topic,
                        queue_id,
                        key = name,
                        from,
                        "is parked, and will expire: three quarters of fileReservedTime are over; release it, or move it to the dead \
                         letters (`cometmq admin order unpark`)"
                    );
                }
            }
        }
    }

    /// Calls `each` with the messages of a parked key before `end`, at most so many. Answers with how far it came.
    fn of_parked(
        &self,
        queue: &GroupQueue,
        parked: &ParkedKey,
        end: i64,
        max: usize,
        each: &mut dyn FnMut(&Record<'_>) -> Result<(), Reject>,
    ) -> Result<i64, Reject> {
        let (topic, id) = (&queue.topic, queue.queue_id as u32);
        let end = if parked.key.is_none() { end.min(parked.from + 1) } else { end };
        let mut next = QueueOffset(parked.from).max(self.store.min_offset(topic, id));
        let mut left = max;
        let records = |record: &Record| match record.queue_offset.0 {
            offset if offset >= end => Verdict::Unwanted,
            offset if parked.key.is_none() => Verdict::from(offset == parked.from),
            _ => Verdict::from(key_of(record) == parked.key.as_deref()),
        };
        while next.0 < end && left > 0 {
            let matching = Matching { codes: &|_| true, records: &records };
            let got = self.store.get_matching(topic, id, next, left, BATCH_BYTES, matching);
            for part in &got.parts {
                let bytes = part.to_bytes().map_err(|error| {
                    Reject::system_error(format!("messages of {topic} queue {id} can't be read: {error}"))
                })?;
                for record in Record::all(&bytes).flatten() {
                    each(&record)?;
                }
            }
            left -= got.count.min(left);
            if got.next <= next {
                break;
            }
            next = got.next;
        }
        Ok(next.0.min(end))
    }
}

/// PARK_MESSAGE (90047).
pub(super) async fn park(broker: Arc<Broker>, call: Call<ParkMessage>) -> Result<Answer<Empty>, Reject> {
    let ParkMessage { group, topic, queue_id, offset } = call.request;
    let by = call.peer.address();
    let invalid = |remark: String| Reject::new(response::INVALID_PARAMETER, remark);
    if broker.shares_by_key(&group) {
        return Err(invalid(format!(
            "group[{}] shares queues by key ({ORDER_SHARE_BY_KEY}), and so can't park keys",
            short(&group)
        )));
    }
    let id = u32::try_from(queue_id).map_err(|_| invalid(format!("there is no queue {queue_id}")))?;
    let consumed = broker.offsets.get(&group, &topic, queue_id).ok_or_else(|| {
        invalid(format!(
            "group[{}] has consumed nothing of topic[{}] queue {queue_id} yet, so there is nothing that could hold it up",
            short(&group),
            short(&topic)
        ))
    })?;
    if offset < consumed {
        return Err(invalid(format!(
            "message {offset} of topic[{}] queue {queue_id} is consumed: group[{}] is at {consumed}",
            short(&topic),
            short(&group)
        )));
    }
    let got = broker.store.get_message(&topic, id, QueueOffset(offset), 1, BATCH_BYTES, &|_| true);
    let bytes = got.parts.first().map(|part| part.to_bytes()).transpose();
    let bytes = bytes.map_err(|error| Reject::system_error(format!("message {offset} can't be read: {error}")))?;
    let record = bytes.as_ref().and_then(|bytes| Record::parse(bytes).ok());
    let record = record.filter(|record| record.queue_offset.0 == offset).ok_or_else(|| {
        invalid(format!("there is no message {offset} in topic[{}] queue {queue_id} that can be read", short(&topic)))
    })?;
    let key = key_of(&record).map(str::to_owned);
    let queue = GroupQueue { group, topic, queue_id };
    let poison = Poison { queue, offset, key, in_order: false, by: (by, format!("operator at {by}")) };
    let parking = broker.clone();
    let parked = spawn_blocking(move || parking.park_key(&poison)).await;
    match parked {
        Ok(Ok(())) => Ok(Empty {}.into()),
        Ok(Err(error)) => Err(Reject::system_error(format!("message {offset} is not parked: {error}"))),
        Err(error) => Err(Reject::system_error(format!("message {offset} is not parked: {error}"))),
    }
}

/// LIST_PARKED (90048).
pub(super) async fn list(broker: Arc<Broker>, call: Call<ListParked>) -> Result<Answer<Empty>, Reject> {
    let ListParked { group, topic, queue_id, max_num } = call.request;
    let listed = spawn_blocking(move || -> Result<ParkedList, Reject> {
        let wanted = |name: &str, wanted: &Option<String>| wanted.as_ref().is_none_or(|wanted| wanted == name);
        let mut list = ParkedList::default();
        for (queue, parked) in broker.parking.all() {
            let is_wanted = wanted(&queue.group, &group)
                && wanted(&queue.topic, &topic)
                && queue_id.is_none_or(|queue_id| queue_id == queue.queue_id);
            if !is_wanted {
                continue;
            }
            let max = max_num.and_then(|max| usize::try_from(max).ok()).unwrap_or(0).min(MESSAGES_MAX);
            list.keys.extend(broker.listed(&queue, &parked, max)?);
        }
        Ok(list)
    });
    let list = listed.await.map_err(|error| Reject::system_error(error.to_string()))??;
    Ok(Answer::new(Empty {}).with_body(json::write(&list)))
}

impl Broker {
    fn listed(&self, queue: &GroupQueue, parked: &Parked, max: usize) -> Result<Vec<ListedKey>, Reject> {
        let (topic, id) = (&queue.topic, queue.queue_id as u32);
        let releasing = parked.release.iter().flat_map(|release| &release.keys).map(|key| (key, true));
        let mut listed = Vec::new();
        for (key, releasing) in parked.keys.iter().map(|key| (key, false)).chain(releasing) {
            let end = match (&parked.release, releasing) {
                (Some(release), true) => release.end,
                _ => self.offsets.get(&queue.group, topic, queue.queue_id).unwrap_or(0).max(key.from + 1),
            };
            let mut messages = Vec::new();
            self.of_parked(queue, key, end, max.max(1), &mut |record| {
                messages.push(ParkedMessage {
                    offset: record.queue_offset.0,
                    message_id: record.properties().get(property::UNIQ_KEY).unwrap_or_default().to_owned(),
                    stored: record.store_timestamp,
                });
                Ok(())
            })?;
            let first = messages.first().filter(|first| first.offset == key.from).cloned().unwrap_or_default();
            messages.truncate(max);
            listed.push(ListedKey {
                group: queue.group.clone(),
                topic: topic.clone(),
                queue_id: queue.queue_id,
                key: key.key.clone(),
                offset: key.from,
                message_id: first.message_id,
                stored: first.stored,
                since: key.since,
                by: key.by.clone(),
                releasing,
                expired: self.store.min_offset(topic, id).0 > key.from,
                messages,
            });
        }
        Ok(listed)
    }
}

/// What of a key goes to the dead letters when it is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dead {
    Nothing,
    First,
    All,
}

/// RELEASE_PARKED (90049).
pub(super) async fn release(broker: Arc<Broker>, call: Call<ReleaseParked>) -> Result<Answer<Empty>, Reject> {
    let ReleaseParked { group, topic, queue_id, key, offset, dead_letters } = call.request;
    let dead = match dead_letters.as_deref() {
        None | Some("") => Dead::Nothing,
        Some("first") => Dead::First,
        Some("all") => Dead::All,
        Some(other) => {
            let remark = format!("deadLetters is `{}`; it can be `first` or `all`", short(other));
            return Err(Reject::new(response::INVALID_PARAMETER, remark));
        }
    };
    let is_meant = move |it: &ParkedKey| {
        key.as_ref().is_none_or(|key| it.key.as_ref() == Some(key)) && offset.is_none_or(|offset| offset == it.from)
    };
    let queues: Vec<(GroupQueue, Vec<ParkedKey>)> = broker
        .parking
        .all()
        .into_iter()
        .filter(|(queue, _)| queue.group == group && queue.topic == topic)
        .filter(|(queue, _)| queue_id.is_none_or(|queue_id| queue_id == queue.queue_id))
        .map(|(queue, parked)| (queue, parked.keys.iter().filter(|key| is_meant(key)).cloned().collect()))
        .filter(|(_, keys): &(_, Vec<_>)| !keys.is_empty())
        .collect();
    if queues.is_empty() {
        let remark = format!("nothing like that is parked for group[{}] in topic[{}]", short(&group), short(&topic));
        return Err(Reject::new(response::INVALID_PARAMETER, remark));
    }
    let (by, store_host) = (call.peer.address(), broker.store_host(&call.peer));
    let mut list = ReleasedList::default();
    for (queue, keys) in queues {
        let mut from: BTreeMap<(Option<String>, i64), i64> = BTreeMap::new();
        let (mut buried, mut left) = (0, Vec::new());
        if dead != Dead::Nothing {
            let (burying, of_queue) = (broker.clone(), queue.clone());
            let done = spawn_blocking(move || burying.bury(&of_queue, keys, dead, store_host, by)).await;
            let Buried { from: rest, left: still_parked, count, end } =
                done.map_err(|error| Reject::system_error(error.to_string())).flatten()?;
            // What leaves the table has to be as safe as it was.
            broker.store.write_out().map_err(|error| Reject::system_error(error.to_string()))?;
            if let Some(end) = end {
                broker.store.flushed(end).await.map_err(|error| Reject::system_error(error.to_string()))?;
            }
            (from, buried) = (rest, count);
            left.extend(still_parked.values());
            let (keeping, of_queue) = (broker.clone(), queue.clone());
            let kept = spawn_blocking(move || keeping.park_from(&of_queue, &still_parked)).await;
            kept.map_err(io::Error::other).flatten().map_err(|error| {
                Reject::system_error(format!(
                    "{buried} messages went to the dead letters, and their keys are parked still, as config/orderParked.json cannot \
                     be saved: {error}"
                ))
            })?;
            if from.is_empty() {
                let offset = broker.offsets.get(&queue.group, &queue.topic, queue.queue_id).unwrap_or(0);
                list.queues.push(ReleasedQueue {
                    queue_id: queue.queue_id,
                    keys: 0,
                    offset,
                    dead_letters: buried,
                    left,
                });
                continue;
            }
        } else {
            from.extend(keys.into_iter().map(|key| ((key.key, key.from), key.from)));
        }
        let (releasing, queue_id, keys) = (broker.clone(), queue.queue_id, from.len());
        let released = spawn_blocking(move || releasing.release(&queue, &from, by)).await;
        let offset = released.map_err(io::Error::other).flatten().map_err(|error| {
            Reject::system_error(format!("not released, or not kept over a restart: config/ cannot be saved: {error}"))
        })?;
        list.queues.push(ReleasedQueue { queue_id, keys, offset, dead_letters: buried, left });
    }
    Ok(Answer::new(Empty {}).with_body(json::write(&list)))
}

/// What went to the dead letters.
struct Buried {
    /// Key and first message → from where on the rest of it is to be released.
    from: BTreeMap<(Option<String>, i64), i64>,
    /// The same of keys that have more that is to go to the dead letters: they stay parked from there on.
    left: BTreeMap<(Option<String>, i64), i64>,
    count: usize,
    /// Behind the last of them in the log.
    end: Option<CommitLogOffset>,
}

impl Broker {
    /// Puts messages of parked keys into the group's dead letters. Blocks.
    fn bury(
        &self,
        queue: &GroupQueue,
        keys: Vec<ParkedKey>,
        dead: Dead,
        store_host: SocketAddr,
        by: SocketAddr,
    ) -> Result<Buried, Reject> {
        let group = self.groups.get_or_create(&queue.group, None, crate::now_millis());
        let group = group.map_err(|why| no_such_group(&queue.group, why))?;
        let mut buried = Buried { from: BTreeMap::new(), left: BTreeMap::new(), count: 0, end: None };
        for key in keys {
            let end = match dead {
                Dead::All => {
                    self.offsets.get(&queue.group, &queue.topic, queue.queue_id).unwrap_or(0).max(key.from + 1)
                }
                _ => key.from + 1,
            };
            let came_to = self.of_parked(queue, &key, end, MESSAGES_MAX, &mut |record| {
                let at = record.commit_log_offset;
                let put = put_back(self, &group, record, at, Destination::DeadLetters, store_host, by)?;
                buried.count += 1;
                buried.end = buried.end.max(put.map(|(end, _)| end));
                Ok(())
            })?;
            let rest = ParkedKey { from: came_to, ..key.clone() };
            let next = match dead {
                Dead::All => self.next_of_parked(queue, &rest, end)?,
                _ => None,
            };
            match next {
                Some(next) => buried.left.insert((key.key, key.from), next),
                None => buried.from.insert((key.key, key.from), came_to),
            };
        }
        Ok(buried)
    }

    /// The first message of a parked key before `end`.
    fn next_of_parked(&self, queue: &GroupQueue, parked: &ParkedKey, end: i64) -> Result<Option<i64>, Reject> {
        let mut next = None;
        self.of_parked(queue, parked, end, 1, &mut |record| {
            next = Some(record.queue_offset.0);
            Ok(())
        })?;
        Ok(next)
    }

    /// These keys are parked from there on: what lay before went to the dead letters. Blocks.
    fn park_from(&self, queue: &GroupQueue, from: &BTreeMap<(Option<String>, i64), i64>) -> io::Result<()> {
        if from.is_empty() {
            return Ok(());
        }
        let edit = |parked: &mut Parked| -> io::Result<()> {
            for key in &mut parked.keys {
                if let Some(from) = from.get(&(key.key.clone(), key.from)) {
                    key.from = *from;
                }
            }
            Ok(())
        };
        self.parking.change(queue, edit, |()| ())
    }

    /// The way back to what is released is on disk. Blocks.
    fn keep_release(&self, queue: &GroupQueue) -> io::Result<()> {
        let kept = |parked: &mut Parked| -> io::Result<()> {
            parked.release.iter_mut().for_each(|release| release.pending = false);
            Ok(())
        };
        self.parking.change(queue, kept, |()| ())
    }

    /// Releases keys, each from where `from` says, and has the group go back to them. Answers with where to. Blocks.
    fn release(
        &self,
        queue: &GroupQueue,
        from: &BTreeMap<(Option<String>, i64), i64>,
        by: SocketAddr,
    ) -> io::Result<i64> {
        let GroupQueue { group, topic, queue_id } = queue;
        let consumed = || self.offsets.get(group, topic, *queue_id).unwrap_or(0);
        let edit = |parked: &mut Parked| -> io::Result<(i64, i64)> {
            let end = consumed();
            let which = |key: &ParkedKey| from.get(&(key.key.clone(), key.from)).copied();
            Ok((parked.release(which, end), end))
        };
        let go_back = |(to, _): &(i64, i64)| _ = self.offsets.reset(group, topic, &BTreeMap::from([(*queue_id, *to)]));
        let (to, end) = self.parking.change(queue, edit, go_back)?;
        self.offsets.save()?;
        self.keep_release(queue)?;
        for ((key, first), from) in from {
            tracing::info!(group, topic, queue_id, key, first, from, %by, "released");
            let (group, topic, key) = (group.clone(), topic.clone(), key.clone());
            let range = (*from, if key.is_some() { end.max(from + 1) } else { from + 1 });
            if *from == *first || key.is_some() {
                self.note(Event::Released { group, topic, queue_id: *queue_id, range, key, by });
            }
        }
        self.go_on_elsewhere(queue);
        Ok(to)
    }
}
