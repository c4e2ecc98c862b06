//! What became of a message: from its records in the log, and from what the ring knows of them.
//!
//! 1. find the record that is meant, by its place, its unique key or one of its keys
//! 2. find its other records: waiting, half, retried, dead; all carry its unique key
//! 3. go through the ring since it was stored: what concerns a place where one of them lies?
//! 4. a group that sent it back and was not thought of leads to more records: then once more from 2

use super::Senders;
use super::event::{Kept, Kind, WantedText, read_block};
use crate::Broker;
use crate::parking::{self, GroupQueue, Parked, Passage};
use crate::processor::short;
use bytes::Bytes;
use protocol::life::{GroupProgress, Happening, KeptEvents, LifeEvent, MessageLife, MessageLives};
use protocol::message::{
    KEY_SEPARATOR, SysFlag, TransactionType, offset_message_id, parse_offset_message_id, property, tags_code,
};
use protocol::record::Record;
use protocol::topic::{
    DLQ_PREFIX, RETRY_PREFIX, SCHEDULE_TOPIC, TIMER_TOPIC, TRANSACTION_GIVEN_UP_TOPIC, TRANSACTION_HALF_TOPIC,
    dead_letter_topic, retry_topic,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use store::CommitLogOffset;

/// So many messages are told of at once, unless fewer are asked for.
const MESSAGES: usize = 32;

/// So many records with one key are looked at.
const RECORDS_MAX: usize = 64;

/// So many events of a message are told of.
const EVENTS_MAX: usize = 1000;

/// So often it is gone through the ring for a message.
const ROUNDS_MAX: usize = 3;

/// Which message is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sought {
    /// The one with this id: of a stored record, or its unique key. A unique key needs the topic to which it was sent.
    Id {
        /// That topic.
        topic: Option<String>,
        /// The id.
        id: String,
    },
    /// Those of a topic with this among their keys.
    Key {
        /// The topic.
        topic: String,
        /// The key.
        key: String,
    },
}

/// Why there is nothing to tell.
#[derive(Debug, thiserror::Error)]
pub enum LifeError {
    /// There is no such message, or not any more.
    #[error("no message with {what} is stored{why}: it was never sent to this broker, or has expired or was deleted")]
    NotFound {
        /// The id or the key.
        what: String,
        /// Where it was looked for.
        why: String,
    },
    /// The topic is missing.
    #[error(
        "no record is stored under the id `{0}`; if it is a unique key (`SendResult.getMsgId()`), say the topic, too"
    )]
    NeedsTopic(String),
    /// The ring can't be read.
    #[error("what is known of deliveries can't be read: {0}")]
    Io(#[from] std::io::Error),
}

/// A stored record of the message.
struct Stored(Bytes);

impl Stored {
    fn new(bytes: Bytes) -> Option<Stored> {
        Record::parse(&bytes).is_ok().then_some(Stored(bytes))
    }

    fn record(&self) -> Option<Record<'_>> {
        Record::parse(&self.0).ok()
    }
}

/// The topic to which a message was sent, whichever of its records this is.
fn sent_to<'a>(record: &Record<'a>) -> &'a str {
    let properties = record.properties();
    if let Some(first) = properties.get(property::RETRY_TOPIC) {
        return first;
    }
    match record.topic {
        SCHEDULE_TOPIC | TIMER_TOPIC | TRANSACTION_HALF_TOPIC | TRANSACTION_GIVEN_UP_TOPIC => {
            properties.get(property::REAL_TOPIC).unwrap_or(record.topic)
        }
        topic => topic,
    }
}

/// The group that will get, gets or got it from its retry or dead letter topic.
fn retrying_group<'a>(record: &Record<'a>) -> Option<&'a str> {
    let topic = match record.topic {
        SCHEDULE_TOPIC | TIMER_TOPIC => record.properties().get(property::REAL_TOPIC)?,
        topic => topic,
    };
    topic.strip_prefix(RETRY_PREFIX).or_else(|| topic.strip_prefix(DLQ_PREFIX))
}

impl Broker {
    /// What became of the messages that are meant, at most `max` of them. Blocks.
    pub fn message_lives(&self, sought: &Sought, max: usize) -> Result<MessageLives, LifeError> {
        let known = self.known_life();
        let mut messages: Vec<MessageLife> = Vec::new();
        for seed in self.seeds(sought)?.into_iter().take(max.min(MESSAGES)) {
            messages.push(self.life_of(seed, &known)?);
        }
        messages.sort_by_key(|life| life.events.first().map_or(i64::MAX, |event| event.time));
        let kept =
            KeptEvents { since: known.since, bytes: known.bytes, max_bytes: known.max_bytes, dropped: known.dropped };
        Ok(MessageLives { messages, kept })
    }

    /// One record of each message that is meant.
    fn seeds(&self, sought: &Sought) -> Result<Vec<Stored>, LifeError> {
        let (topic, key) = match sought {
            Sought::Id { topic, id } => {
                if let Some(seed) = self.by_offset_id(id) {
                    return Ok(vec![seed]);
                }
                (topic.as_deref().ok_or_else(|| LifeError::NeedsTopic(short(id).to_owned()))?, id)
            }
            Sought::Key { topic, key } => (topic.as_str(), key),
        };
        let carries = |record: &Record<'_>| {
            let (unique, keys) = (record.properties().get(property::UNIQ_KEY), record.properties().get(property::KEYS));
            unique == Some(key)
                || matches!(sought, Sought::Key { .. })
                    && keys.is_some_and(|keys| keys.split(KEY_SEPARATOR).any(|one| one == key))
        };
        let mut seeds: BTreeMap<String, Stored> = BTreeMap::new();
        // What was not delivered yet is not in its topic.
        for place in [topic, SCHEDULE_TOPIC, TIMER_TOPIC, TRANSACTION_HALF_TOPIC, TRANSACTION_GIVEN_UP_TOPIC] {
            for bytes in self.store.query(place, key, RECORDS_MAX, 0, i64::MAX).records {
                let Some(stored) = Stored::new(bytes) else { continue };
                let Some(record) = stored.record() else { continue };
                if carries(&record) && (place == topic || sent_to(&record) == topic) {
                    let place = offset_message_id(record.store_host, record.commit_log_offset);
                    let identity = record.properties().get(property::UNIQ_KEY).map_or(place, str::to_owned);
                    seeds.entry(identity).or_insert(stored);
                }
            }
        }
        match seeds.is_empty() {
            true => Err(LifeError::NotFound {
                what: format!("the id or key `{}`", short(key)),
                why: format!(" for topic `{}`", short(topic)),
            }),
            false => Ok(seeds.into_values().collect()),
        }
    }

    /// The record whose place this id names, if it bears that id.
    fn by_offset_id(&self, id: &str) -> Option<Stored> {
        let (_, at) = parse_offset_message_id(id).ok()?;
        let stored = Stored::new(self.store.read(at).ok()??)?;
        let record = stored.record()?;
        // A unique key has as many digits, and may name a place by chance.
        offset_message_id(record.store_host, at).eq_ignore_ascii_case(id).then_some(stored)
    }

    fn life_of(&self, seed: Stored, known: &super::Known) -> Result<MessageLife, LifeError> {
        let Some(first) = seed.record() else { return Ok(MessageLife::default()) };
        let (topic, key) = (sent_to(&first).to_owned(), first.properties().get(property::UNIQ_KEY).map(str::to_owned));
        let mut groups: BTreeSet<String> = retrying_group(&first).map(str::to_owned).into_iter().collect();
        let mut more: BTreeMap<i64, Stored> = BTreeMap::new();
        // A message without a unique key is known by the ids of the records that it came from.
        let origin = first.properties().get(property::ORIGIN_MESSAGE_ID).and_then(|id| self.by_offset_id(id));
        for stored in [Some(seed), origin].into_iter().flatten() {
            let at = stored.record().map(|record| record.commit_log_offset.0);
            more.extend(at.map(|at| (at, stored)));
        }
        for round in 1.. {
            let records = self.family(&topic, key.as_deref(), &mut groups, more)?;
            let scan = self.scan(&records, known)?;
            more = records;
            let unknown = scan.new_groups.iter().any(|group| groups.insert(group.clone()))
                || scan.new_records.iter().any(|at| !more.contains_key(at));
            for at in &scan.new_records {
                if let Ok(Some(bytes)) = self.store.read(CommitLogOffset(*at)) {
                    more.extend(Stored::new(bytes).map(|stored| (*at, stored)));
                }
            }
            if !unknown || round == ROUNDS_MAX {
                return Ok(self.tell_life(topic, key.unwrap_or_default(), &more, scan));
            }
        }
        Ok(MessageLife::default())
    }

    /// All records of a message, by their places: `known` ones, and those with its unique key.
    fn family(
        &self,
        topic: &str,
        key: Option<&str>,
        groups: &mut BTreeSet<String>,
        known: BTreeMap<i64, Stored>,
    ) -> Result<BTreeMap<i64, Stored>, LifeError> {
        let mut family = known;
        let Some(key) = key else { return Ok(family) };
        let look = |place: &str, family: &mut BTreeMap<i64, Stored>| {
            for bytes in self.store.query(place, key, RECORDS_MAX, 0, i64::MAX).records {
                let Some(stored) = Stored::new(bytes) else { continue };
                let Some(record) = stored.record() else { continue };
                if record.properties().get(property::UNIQ_KEY) == Some(key) && sent_to(&record) == topic {
                    family.insert(record.commit_log_offset.0, stored);
                }
            }
        };
        for place in [topic, SCHEDULE_TOPIC, TIMER_TOPIC, TRANSACTION_HALF_TOPIC, TRANSACTION_GIVEN_UP_TOPIC] {
            look(place, &mut family);
        }
        for record in family.values().filter_map(Stored::record) {
            groups.extend(retrying_group(&record).map(str::to_owned));
            if record.topic == topic {
                groups.extend(self.offsets.of_queue(topic, record.queue_id).into_iter().map(|(group, _)| group));
            }
        }
        for group in groups.iter() {
            look(&retry_topic(group), &mut family);
            look(&dead_letter_topic(group), &mut family);
        }
        Ok(family)
    }

    /// Goes through the ring for what concerns these records.
    fn scan(&self, records: &BTreeMap<i64, Stored>, known: &super::Known) -> Result<Scan, LifeError> {
        let mut scan = Scan::default();
        let mut places: HashMap<(&str, i32), Vec<Record<'_>>> = HashMap::new();
        let mut stored_first = i64::MAX;
        for record in records.values().filter_map(Stored::record) {
            stored_first = stored_first.min(record.store_timestamp);
            places.entry((record.topic, record.queue_id)).or_default().push(record);
        }
        let first = records.values().filter_map(Stored::record).min_by_key(|record| record.store_timestamp);
        let Some(sender) = first.map(|record| record.born_host) else { return Ok(scan) };
        scan.senders = self.senders(sender);
        let Some(files) = &known.files else { return Ok(scan) };
        // A client that is gone said before it sent what it is.
        let from = if scan.senders.is_empty() { i64::MIN } else { stored_first };
        let gone = scan.senders.is_empty();
        files.for_each(from, &mut |block| {
            read_block(block.bytes, &mut |kept| match kept.kind {
                Kind::Delivered | Kind::Committed | Kind::Reset | Kind::Parked | Kind::Released => {
                    for record in places.get(&(kept.topic, kept.queue_id)).into_iter().flatten() {
                        scan.passage(self, record, &kept);
                    }
                }
                Kind::SentBack if records.contains_key(&kept.from) => {
                    scan.sent_back.insert(kept.to, (kept.client.to_owned(), kept.address.to_owned()));
                    scan.new_records.insert(kept.to);
                    scan.new_groups.insert(kept.group.to_owned());
                }
                Kind::Ended if records.contains_key(&kept.from) => {
                    scan.ended.push((kept.time, kept.to != 0, kept.group.to_owned(), kept.address.to_owned()));
                }
                Kind::Sends if gone => scan.senders.learn(&kept),
                Kind::NotKept if kept.time >= stored_first => {
                    let count = Some(kept.from as u64);
                    scan.add(LifeEvent { time: kept.time, what: Happening::NotKept, count, ..LifeEvent::default() });
                }
                _ => {}
            });
            !scan.left_out
        })?;
        Ok(scan)
    }

    fn tell_life(&self, topic: String, unique_key: String, records: &BTreeMap<i64, Stored>, scan: Scan) -> MessageLife {
        let all: Vec<Record<'_>> = records.values().filter_map(Stored::record).collect();
        let text =
            |name: &str| all.first().and_then(|record| record.properties().get(name)).unwrap_or_default().to_owned();
        let mut life = MessageLife {
            unique_key,
            keys: text(property::KEYS),
            tags: text(property::TAGS),
            born_timestamp: all.first().map_or(0, |record| record.born_timestamp),
            left_out: scan.left_out,
            events: scan.events,
            topic,
            ..MessageLife::default()
        };
        for record in &all {
            if let Some(event) = self.stored(record, &life.topic, &scan.senders, &scan.sent_back) {
                life.events.push(event);
            }
        }
        for (time, commit, group, address) in &scan.ended {
            let (group, address, note) = (group.clone(), address.clone(), String::new());
            if *commit {
                // That it was, the record of its topic tells.
                let committed = life.events.iter_mut().find(|event| event.what == Happening::Committed);
                if let Some(event) = committed {
                    (event.group, event.address) = (group, address);
                }
            } else {
                let what = Happening::RolledBack;
                life.events.push(LifeEvent { time: *time, what, group, address, note, ..LifeEvent::default() });
            }
        }
        self.tell_of_forgotten_end(&all, &mut life);
        life.events.sort_by_key(|event| (event.time, event.what));
        leave_out_passing_by(&mut life.events);
        for record in all.iter().filter(|record| !is_kept_back(record)) {
            let of_queue = self.offsets.of_queue(record.topic, record.queue_id).into_iter();
            life.groups.extend(of_queue.map(|(group, committed)| {
                let offset = record.queue_offset.0;
                let queue =
                    GroupQueue { group: group.clone(), topic: record.topic.to_owned(), queue_id: record.queue_id };
                let is_parked = |it: Arc<Parked>| it.passage(offset, parking::key_of(record)) == Passage::Parked;
                let parked = self.parking.get(&queue).is_some_and(is_parked);
                GroupProgress {
                    group,
                    topic: queue.topic,
                    queue_id: record.queue_id,
                    queue_offset: offset,
                    committed,
                    done: committed > offset && !parked,
                    parked,
                }
            }));
        }
        life
    }

    /// A transaction that is not open, and whose end nothing tells of any more.
    fn tell_of_forgotten_end(&self, all: &[Record<'_>], life: &mut MessageLife) {
        let Some(half) = all.iter().rfind(|record| record.topic == TRANSACTION_HALF_TOPIC) else { return };
        let ends = [Happening::Committed, Happening::RolledBack, Happening::GivenUp, Happening::Stored];
        if life.events.iter().any(|event| ends.contains(&event.what)) || self.is_open(half) {
            return;
        }
        life.events.push(LifeEvent {
            time: half.store_timestamp,
            what: Happening::RolledBack,
            note: "it is not open any more and was not delivered; when it ended, and by whom, is not known".into(),
            ..LifeEvent::default()
        });
    }

    /// What the record itself tells.
    fn stored(
        &self,
        record: &Record<'_>,
        sent_to: &str,
        senders: &Senders,
        sent_back: &HashMap<i64, (String, String)>,
    ) -> Option<LifeEvent> {
        let properties = record.properties();
        let mut event = LifeEvent {
            time: record.store_timestamp,
            topic: record.topic.to_owned(),
            queue_id: Some(record.queue_id),
            queue_offset: Some(record.queue_offset.0),
            offset_message_id: offset_message_id(record.store_host, record.commit_log_offset),
            ..LifeEvent::default()
        };
        let by_consumer = retrying_group(record);
        if let Some(group) = by_consumer {
            event.group = group.to_owned();
            event.attempt = Some(record.reconsume_times);
            if let Some((client, address)) = sent_back.get(&record.commit_log_offset.0) {
                (event.client, event.address) = (client.clone(), address.clone());
            }
        } else {
            event.address = record.born_host.to_string();
            let group = properties.get(property::PGROUP);
            let who = senders.who();
            let sender = who.iter().find(|(name, _)| group.is_none_or(|group| group == *name));
            let groups: Vec<&str> = who.iter().map(|(group, _)| *group).collect();
            // Clients of one process share a connection; then it was one of these groups.
            event.group = group.map_or_else(|| groups.join(" or "), str::to_owned);
            event.client = sender.map(|(_, client)| (*client).to_owned()).unwrap_or_default();
        }
        event.what = match record.topic {
            TRANSACTION_HALF_TOPIC => {
                let checks = properties.get(property::TRANSACTION_CHECK_TIMES).and_then(|text| text.parse().ok());
                match properties.get(property::TRAN_PREPARED_QUEUE_OFFSET) {
                    None => Happening::Prepared,
                    // A copy for which nobody was asked says nothing.
                    Some(_) => {
                        event.count = Some(checks?);
                        Happening::Asked
                    }
                }
            }
            TRANSACTION_GIVEN_UP_TOPIC => Happening::GivenUp,
            SCHEDULE_TOPIC | TIMER_TOPIC => {
                event.due = self.due(record);
                if by_consumer.is_some() { Happening::SentBack } else { Happening::Waits }
            }
            topic if topic.starts_with(RETRY_PREFIX) && topic != sent_to => Happening::Retried,
            topic if topic.starts_with(DLQ_PREFIX) && topic != sent_to => Happening::Dead,
            _ if SysFlag(record.sys_flag).transaction() == TransactionType::Commit
                && properties.get(property::REAL_TOPIC).is_none() =>
            {
                Happening::Committed
            }
            _ => Happening::Stored,
        };
        Some(event)
    }

    /// When a message that waits is due, by the clock.
    fn due(&self, record: &Record<'_>) -> Option<i64> {
        let number = |name: &str| record.properties().get(name).and_then(|text| text.trim().parse::<i64>().ok());
        if record.topic == TIMER_TOPIC {
            return number(property::TIMER_OUT_MS);
        }
        let (_, delay) = self.delay.level(i32::try_from(number(property::DELAY)?).ok()?)?;
        Some(record.store_timestamp.saturating_add(i64::try_from(delay.as_millis()).ok()?))
    }
}

/// An offset that moves past a message says nothing of it while its key is parked, nor once it has been acknowledged, before it
/// is delivered again.
fn leave_out_passing_by(events: &mut Vec<LifeEvent>) {
    type Place = (String, String, Option<i32>, Option<i64>);
    let place =
        |event: &LifeEvent| -> Place { (event.group.clone(), event.topic.clone(), event.queue_id, event.queue_offset) };
    let set_back = events.iter().filter(|event| event.what == Happening::SetBack);
    // Within a millisecond they have no order.
    let set_back: HashSet<(Place, i64)> = set_back.map(|event| (place(event), event.time)).collect();
    let mut over: HashSet<Place> = HashSet::new();
    events.retain(|event| {
        let place = place(event);
        match event.what {
            // Each pull that passes over it says so.
            Happening::Parked => over.insert(place),
            Happening::Acknowledged | Happening::Skipped => {
                over.insert(place.clone()) || set_back.contains(&(place, event.time))
            }
            Happening::Delivered | Happening::Released | Happening::SetBack => {
                over.remove(&place);
                true
            }
            _ => true,
        }
    });
}

/// No consumer gets it from there.
fn is_kept_back(record: &Record<'_>) -> bool {
    matches!(record.topic, SCHEDULE_TOPIC | TIMER_TOPIC | TRANSACTION_HALF_TOPIC)
}

/// What the ring tells of some records.
#[derive(Default)]
struct Scan {
    events: Vec<LifeEvent>,
    left_out: bool,
    /// Who may have sent it.
    senders: Senders,
    /// Record that was put for one that was sent back → who sent it back.
    sent_back: HashMap<i64, (String, String)>,
    new_records: BTreeSet<i64>,
    new_groups: BTreeSet<String>,
    /// When, committed?, producer group, address.
    ended: Vec<(i64, bool, String, String)>,
}

impl Scan {
    fn add(&mut self, event: LifeEvent) {
        self.left_out = self.events.len() >= EVENTS_MAX;
        if !self.left_out {
            self.events.push(event);
        }
    }

    /// A range of a queue was delivered or acknowledged: did it have this message?
    fn passage(&mut self, broker: &Broker, record: &Record<'_>, kept: &Kept<'_>) {
        let (offset, time) = (record.queue_offset.0, kept.time.max(record.store_timestamp));
        // Of an earlier life of the topic, whose places had the same numbers. Pulls within a moment make one event.
        if kept.time + 1000 < record.store_timestamp || is_kept_back(record) {
            return;
        }
        let what = match kept.kind {
            Kind::Delivered if (kept.from..kept.to).contains(&offset) && is_wanted(broker, record, kept.wanted) => {
                Happening::Delivered
            }
            Kind::Committed if kept.from <= offset && offset < kept.to => Happening::Acknowledged,
            Kind::Reset if kept.from <= offset && offset < kept.to => Happening::Skipped,
            Kind::Committed | Kind::Reset if kept.to <= offset && offset < kept.from => Happening::SetBack,
            Kind::Parked if (kept.from..kept.to).contains(&offset) => Happening::Parked,
            Kind::Released
                if (kept.from..kept.to).contains(&offset)
                    && (kept.wanted.is_empty() || parking::key_of(record).is_some_and(|key| key == kept.wanted)) =>
            {
                Happening::Released
            }
            _ => return,
        };
        let note = match WantedText::read(kept.wanted) {
            WantedText::Some if kept.kind == Kind::Delivered => {
                "or passed over: it is not known what the group wanted".to_owned()
            }
            _ => String::new(),
        };
        self.add(LifeEvent {
            time,
            what,
            topic: record.topic.to_owned(),
            queue_id: Some(record.queue_id),
            queue_offset: Some(offset),
            group: kept.group.to_owned(),
            client: kept.client.to_owned(),
            address: kept.address.to_owned(),
            attempt: Some(record.reconsume_times).filter(|attempt| *attempt > 0),
            note,
            ..LifeEvent::default()
        });
    }
}

/// Does this message pass what a pull wanted?
fn is_wanted(broker: &Broker, record: &Record<'_>, wanted: &str) -> bool {
    match WantedText::read(wanted) {
        WantedText::All | WantedText::Some => true,
        WantedText::Tags(tags) => tags.passes(tags_code(record.properties().get(property::TAGS).unwrap_or_default())),
        WantedText::Sql(expression) => {
            broker.filters.expression(expression).map_or(true, |read| read.matches(&record.properties()))
        }
    }
}
