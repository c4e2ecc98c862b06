//! The dead-letter inbox: the messages of all groups that were given up, sent to their groups again or dropped.
//!
//! A dead letter lies in the topic `%DLQ%group` of a broker and stays there until retention takes it: nothing here deletes a
//! message. What was done about one is a mark on the same broker:
//!
//! * requeued: the copy in `%RETRY%group` names the dead letter in its property [`REQUEUED_FROM`]. Copy and mark are one
//!   record, so there is no moment at which one is there and the other is not.
//! * dropped: a record in [`MARKS_TOPIC`] that names it in the property [`DROPPED`].
//!
//! A mark is younger than its dead letter and lies in the same commit log, which forgets the oldest first: as long as the
//! dead letter is there, so is the mark (unless a topic has a shorter retention of its own). Before anything is done about a
//! dead letter, the marks since its death are read. So whoever runs a requeue again, after a crash, from elsewhere, with
//! another selection, sends nothing twice that was stored, and leaves nothing out. What remains: two requeues of the same
//! letters at the same time do not see each other; a group gets a copy twice as it may get any message twice.
//!
//! 1. [`Reader`] walks the dead letters that are selected, with their state
//! 2. [`requeue`] and [`drop_letters`] do something about each, and tell its outcome

use crate::message::StoredMessage;
use crate::queue::{self, Queue};
use crate::send::STORED;
use crate::{Admin, Error, consumer, topic};
use bytes::Bytes;
use futures_util::future::join_all;
use protocol::code::response;
use protocol::message::{SysFlag, edit_properties, property, push_property};
use protocol::request::send::SendMessage;
use protocol::request::topic::CreateTopic;
use protocol::subscription::SubscriptionGroupConfig;
use protocol::topic::{DEFAULT_TOPIC, DLQ_PREFIX, PERM_READ, PERM_WRITE, dead_letter_topic, retry_topic};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// Of a copy in a retry topic, the id of the dead letter that it was.
pub const REQUEUED_FROM: &str = property::DLQ_REQUEUED_FROM;

/// Of a record in [`MARKS_TOPIC`], the id of the dead letter that was dropped.
pub const DROPPED: &str = "DLQ_DROPPED";

/// Where it is noted which dead letters were dropped: one queue on each broker that has such.
pub const MARKS_TOPIC: &str = "DLQ_INBOX_MARKS";

/// A clock that was set back by less does not hide a mark.
const CLOCK_SLACK_MILLIS: i64 = 600_000;

/// How long it is looked for a copy whose answer got lost.
const DOUBT: Duration = Duration::from_secs(3);

/// So many are on their way at most.
const AT_ONCE: usize = 64;

/// So many messages are read at a time.
const BATCH: i32 = 512;

/// Why a message is dead, as far as brokers keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// All attempts of its group are used up.
    Attempts,
    /// Before that: its consumer said so, by a negative delay level or by a lower `maxReconsumeTimes`.
    Early,
}

/// What was done about a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Nothing.
    Open,
    /// It was sent to its group again.
    Requeued,
    /// It was dropped.
    Dropped,
}

/// A message that a group gave up.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Its id: where it lies.
    pub id: String,
    /// The group.
    pub group: String,
    /// The topic to which it was sent.
    pub origin_topic: String,
    /// Why it is dead.
    pub reason: Reason,
    /// What was done about it.
    pub state: State,
    /// How often its consumption failed.
    pub failures: i32,
    /// When it died, milliseconds since 1970.
    pub died_timestamp: i64,
    /// The broker on which it lies.
    #[serde(skip)]
    pub address: String,
    /// The message.
    pub message: StoredMessage,
}

/// Which dead letters are meant.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Of these groups; of all, when there is none.
    pub groups: Vec<String>,
    /// Sent to this topic.
    pub topic: Option<String>,
    /// With this key or unique key.
    pub key: Option<String>,
    /// With this id; of several, one of them.
    pub ids: Vec<String>,
    /// Dead since then, milliseconds since 1970.
    pub since: Option<i64>,
    /// Dead before then.
    pub before: Option<i64>,
    /// Dead for this reason.
    pub reason: Option<Reason>,
    /// Those about which something was done, too.
    pub all: bool,
    /// At most so many.
    pub max: Option<usize>,
}

impl Selection {
    fn takes(&self, letter: &DeadLetter) -> bool {
        let key = |key: &String| {
            let message = &letter.message;
            message.unique_key.as_ref() == Some(key)
                || message.keys.as_deref().unwrap_or_default().split(' ').any(|it| it == key)
        };
        self.topic.as_ref().is_none_or(|topic| *topic == letter.origin_topic)
            && self.key.as_ref().is_none_or(key)
            && (self.ids.is_empty() || self.ids.contains(&letter.id))
            && self.since.is_none_or(|since| letter.died_timestamp >= since)
            && self.before.is_none_or(|before| letter.died_timestamp < before)
            && self.reason.is_none_or(|reason| reason == letter.reason)
            && (self.all || letter.state == State::Open)
    }
}

/// How many dead letters a group has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inbox {
    /// The group.
    pub group: String,
    /// How many lie there, whatever was done about them.
    pub letters: i64,
    /// When the last one died, milliseconds since 1970.
    pub last_timestamp: i64,
}

/// The groups that have dead letters, the one with most first.
pub async fn inboxes(admin: &Admin) -> Result<Vec<Inbox>, Error> {
    let mut found = Vec::new();
    for topic in topic::list(admin).await? {
        let Some(group) = topic.strip_prefix(DLQ_PREFIX) else { continue };
        let status = match topic::status(admin, &topic).await {
            Err(error) if error.kind() == crate::ErrorKind::NotThere => continue,
            status => status?,
        };
        let last_timestamp = status.queues.iter().map(|queue| queue.last_timestamp).max().unwrap_or(0);
        if status.messages() > 0 {
            found.push(Inbox { group: group.to_owned(), letters: status.messages(), last_timestamp });
        }
    }
    found.sort_by(|a, b| b.letters.cmp(&a.letters).then_with(|| a.group.cmp(&b.group)));
    Ok(found)
}

/// Walks the dead letters that are selected: broker by broker, the oldest first.
pub struct Reader<'a> {
    admin: &'a Admin,
    selection: Selection,
    waiting: VecDeque<(String, Queue)>,
    current: Option<Current>,
    found: VecDeque<DeadLetter>,
    given: usize,
    /// How many dead letters lie in the queues that are walked.
    pub total: i64,
    /// How many of these were looked at.
    pub looked: i64,
}

/// The queue that is being walked.
struct Current {
    group: String,
    queue: Queue,
    next: i64,
    end: i64,
    retry_max: i32,
    /// Read when the first dead letter says from when on.
    marks: Option<Marks>,
}

impl<'a> Reader<'a> {
    /// Finds the queues; nothing is read yet.
    pub async fn new(admin: &'a Admin, selection: Selection) -> Result<Reader<'a>, Error> {
        let groups = match selection.groups.is_empty() {
            false => selection.groups.clone(),
            true => {
                let mut groups: Vec<_> = inboxes(admin).await?.into_iter().map(|inbox| inbox.group).collect();
                groups.sort();
                groups
            }
        };
        let (mut waiting, mut total) = (VecDeque::new(), 0);
        for group in groups {
            let queues = match queue::of_topic(admin, &dead_letter_topic(&group)).await {
                // A group that was named and has none is no mistake, unless there is no such group.
                Err(Error::NotThere { .. }) => {
                    consumer::config(admin, &group).await?;
                    continue;
                }
                queues => queues?,
            };
            for queue in queues {
                let (min, max) = queue::bounds(admin, &queue).await?;
                total += max - min;
                waiting.push_back((group.clone(), queue));
            }
        }
        Ok(Reader { admin, selection, waiting, current: None, found: VecDeque::new(), given: 0, total, looked: 0 })
    }

    /// The next one; `None`: that was all.
    pub async fn next(&mut self) -> Result<Option<DeadLetter>, Error> {
        loop {
            if self.selection.max.is_some_and(|max| self.given >= max) {
                return Ok(None);
            }
            if let Some(letter) = self.found.pop_front() {
                self.given += 1;
                return Ok(Some(letter));
            }
            let Some(mut current) = self.current.take() else {
                let Some((group, queue)) = self.waiting.pop_front() else { return Ok(None) };
                self.current = Some(self.enter(group, queue).await?);
                continue;
            };
            if self.read(&mut current).await? {
                self.current = Some(current);
            }
        }
    }

    async fn enter(&self, group: String, queue: Queue) -> Result<Current, Error> {
        let (min, end) = queue::bounds(self.admin, &queue).await?;
        let next = match self.selection.since {
            Some(since) => queue::offset_at(self.admin, &queue, since).await?.max(min),
            None => min,
        };
        let configs = consumer::configs(self.admin, &queue.address).await?;
        let retry_max =
            configs.get(&group).map_or(SubscriptionGroupConfig::default().retry_max_times, |it| it.retry_max_times);
        Ok(Current { group, queue, next, end, retry_max, marks: None })
    }

    /// Reads on; false at the end of the queue, as it was when the walk came to it.
    async fn read(&mut self, current: &mut Current) -> Result<bool, Error> {
        if current.next >= current.end {
            return Ok(false);
        }
        let found = match queue::read(self.admin, &current.queue, current.next, "*", BATCH).await {
            Err(error) if error.code() == Some(response::NO_PERMISSION) => {
                let topic = &current.queue.topic;
                return Err(Error::Input(format!(
                    "{error}; brokers of old let nobody read dead letters: updateTopicPerm -t {topic} -p 6"
                )));
            }
            found => found?,
        };
        self.looked += (found.next - current.next).max(0);
        let stuck = found.messages.is_empty() && found.end;
        current.next = found.next;
        for message in found.messages {
            if message.queue_offset >= current.end {
                return Ok(false);
            }
            let marks = match &current.marks {
                Some(marks) => marks,
                None => {
                    let since = message.store_timestamp - CLOCK_SLACK_MILLIS;
                    let mut marks = Marks::new(self.admin, &current.group, &current.queue, since).await?;
                    marks.read_on(self.admin).await?;
                    current.marks.insert(marks)
                }
            };
            let letter = letter(&current.group, &current.queue.address, message, current.retry_max, &marks.known);
            if self.selection.before.is_some_and(|before| letter.died_timestamp >= before + CLOCK_SLACK_MILLIS) {
                return Ok(false);
            }
            if self.selection.takes(&letter) {
                self.found.push_back(letter);
            }
        }
        Ok(!stuck)
    }
}

fn letter(
    group: &str,
    address: &str,
    message: StoredMessage,
    retry_max: i32,
    marks: &HashMap<String, State>,
) -> DeadLetter {
    let origin = [property::RETRY_TOPIC, property::DLQ_ORIGIN_TOPIC];
    let origin = origin.into_iter().find_map(|name| message.properties.get(name)).cloned();
    let id = message.offset_message_id.clone();
    DeadLetter {
        group: group.to_owned(),
        origin_topic: origin.unwrap_or_default(),
        reason: if message.reconsume_times > retry_max { Reason::Attempts } else { Reason::Early },
        state: marks.get(&id).copied().unwrap_or(State::Open),
        failures: message.reconsume_times,
        died_timestamp: message.store_timestamp,
        address: address.to_owned(),
        id,
        message,
    }
}

/// What was done about dead letters of a group on one broker.
struct Marks {
    known: HashMap<String, State>,
    /// Where they are read on from.
    queues: Vec<(Queue, i64)>,
}

impl Marks {
    async fn new(admin: &Admin, group: &str, of: &Queue, since: i64) -> Result<Marks, Error> {
        let mut queues = Vec::new();
        for topic in [retry_topic(group), MARKS_TOPIC.to_owned()] {
            let found = match queue::of_topic(admin, &topic).await {
                Err(Error::NotThere { .. }) => continue,
                found => found?,
            };
            for queue in found.into_iter().filter(|queue| queue.address == of.address) {
                let (min, _) = queue::bounds(admin, &queue).await?;
                let at = queue::offset_at(admin, &queue, since).await?.max(min);
                queues.push((queue, at));
            }
        }
        Ok(Marks { known: HashMap::new(), queues })
    }

    async fn read_on(&mut self, admin: &Admin) -> Result<(), Error> {
        for (queue, next) in &mut self.queues {
            let (_, end) = queue::bounds(admin, queue).await?;
            while *next < end {
                let found = queue::read(admin, queue, *next, "*", BATCH).await?;
                for message in &found.messages {
                    for (name, state) in [(REQUEUED_FROM, State::Requeued), (DROPPED, State::Dropped)] {
                        if let Some(id) = message.properties.get(name) {
                            self.known.insert(id.clone(), state);
                        }
                    }
                }
                *next = found.next;
                if found.end {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// What became of a dead letter about which something was to be done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The dead letter.
    pub id: String,
    /// Its group.
    pub group: String,
    /// The topic to which it was sent.
    pub origin_topic: String,
    /// Its unique key.
    pub unique_key: Option<String>,
    /// What became of it.
    pub outcome: Done,
    /// Of a requeued one, the id of its copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy: Option<String>,
    /// Of a failed one, why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Done {
    /// It would be, but nothing was to be changed.
    Would,
    /// Its group gets it again.
    Requeued,
    /// It is dropped.
    Dropped,
    /// The broker refused; the dead letter stays open.
    Failed,
    /// No answer came, and no copy is seen. The next run looks again, and then knows.
    Unknown,
}

/// How many had which outcome.
pub type Tally = BTreeMap<Done, usize>;

/// At most so many a second, evenly.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    next: Instant,
    step: Duration,
}

impl Pace {
    /// `rate` a second, more than 0.
    pub fn new(rate: f64) -> Pace {
        Pace { next: Instant::now(), step: Duration::from_secs_f64(1.0 / rate.clamp(0.001, 1e6)) }
    }

    /// Is it the next one's turn?
    fn is_due(&self) -> bool {
        self.next <= Instant::now()
    }

    /// Waits until it is the next one's turn. Who was late makes up for at most a second.
    async fn turn(&mut self) {
        let now = Instant::now();
        self.next = self.next.max(now.checked_sub(Duration::from_secs(1)).unwrap_or(now));
        if self.next > now {
            tokio::time::sleep_until(self.next).await;
        }
        self.next += self.step;
    }
}

/// Sends dead letters to their groups again: to the retry topic on the same broker, with all attempts before them. Only
/// the group that gave a message up gets it; nobody of it needs to be online. `tell` hears each outcome. The first broker
/// that can't be reached ends it; what was done stays done.
pub async fn requeue(
    admin: &Admin,
    selection: Selection,
    mut pace: Pace,
    dry_run: bool,
    mut tell: impl FnMut(&Outcome, &Reader<'_>),
) -> Result<Tally, Error> {
    let mut reader = Reader::new(admin, Selection { all: false, ..selection }).await?;
    let mut tally = Tally::new();
    let mut letters = Vec::new();
    loop {
        // One after the other, as long as answers come faster than it is the next one's turn; else several at once.
        while letters.is_empty() || letters.len() < AT_ONCE && (dry_run || pace.is_due()) {
            let Some(letter) = reader.next().await? else { break };
            if !dry_run {
                pace.turn().await;
            }
            letters.push(letter);
        }
        if letters.is_empty() {
            return Ok(tally);
        }
        let sent = join_all(letters.iter().map(|letter| send_again(admin, letter, dry_run))).await;
        let mut failed = None;
        for (outcome, error) in sent {
            *tally.entry(outcome.outcome).or_default() += 1;
            tell(&outcome, &reader);
            failed = failed.or(error);
        }
        if let Some(error) = failed {
            return Err(error);
        }
        letters.clear();
    }
}

/// Sends one dead letter to its group again; with the outcome the reason why no other should be tried.
async fn send_again(admin: &Admin, letter: &DeadLetter, dry_run: bool) -> (Outcome, Option<Error>) {
    let mut outcome = outcome(letter, Done::Would);
    if dry_run {
        return (outcome, None);
    }
    let (topic, body) = (retry_topic(&letter.group), letter.message.raw_body.clone());
    let error = match put(admin, &letter.address, &topic, &copy_of(letter), body).await {
        Ok(id) => {
            (outcome.outcome, outcome.copy) = (Done::Requeued, Some(id));
            return (outcome, None);
        }
        Err(error) => error,
    };
    outcome.why = Some(error.to_string());
    if error.code().is_some() {
        outcome.outcome = Done::Failed;
        return (outcome, None);
    }
    match look_for_copy(admin, letter).await {
        Ok(true) => (outcome.outcome, outcome.why) = (Done::Requeued, None),
        Ok(false) => outcome.outcome = Done::Unknown,
        Err(_) => {
            outcome.outcome = Done::Unknown;
            return (outcome, Some(error));
        }
    }
    (outcome, None)
}

fn outcome(letter: &DeadLetter, done: Done) -> Outcome {
    Outcome {
        id: letter.id.clone(),
        group: letter.group.clone(),
        origin_topic: letter.origin_topic.clone(),
        unique_key: letter.message.unique_key.clone(),
        outcome: done,
        copy: None,
        why: None,
    }
}

/// The message as its group gets it again, without what brokers and clients wrote into it on its way to death.
fn copy_of(letter: &DeadLetter) -> SendMessage {
    let message = &letter.message;
    const GONE: [&str; 18] = [
        property::DELAY,
        property::REAL_TOPIC,
        property::REAL_QID,
        property::RECONSUME_TIME,
        property::MAX_RECONSUME_TIMES,
        property::CONSUME_START_TIME,
        property::TRAN_MSG,
        property::MIN_OFFSET,
        property::MAX_OFFSET,
        property::DLQ_ORIGIN_TOPIC,
        property::DLQ_ORIGIN_MESSAGE_ID,
        property::TIMER_DELAY_SEC,
        property::TIMER_DELAY_MS,
        property::TIMER_DELIVER_MS,
        property::TIMER_DELAY_LEVEL,
        property::POP_CK,
        property::FIRST_POP_TIME,
        property::WAIT,
    ];
    let mut changes: Vec<(&str, Option<&str>)> = GONE.into_iter().map(|name| (name, None)).collect();
    let origin = Some(letter.origin_topic.as_str()).filter(|topic| !topic.is_empty());
    if origin.is_some() {
        changes.push((property::RETRY_TOPIC, origin));
    }
    changes.extend([(REQUEUED_FROM, Some(letter.id.as_str())), (property::WAIT, Some("true"))]);
    // A name that stands in both lists is set by the last.
    let gone = edit_properties(&message.raw_properties, &changes[..GONE.len()]);
    let properties = edit_properties(&gone, &changes[GONE.len()..]);
    SendMessage {
        sys_flag: message.sys_flag & (SysFlag::COMPRESSED | SysFlag::COMPRESSION_MASK | SysFlag::MULTI_TAGS),
        born_timestamp: message.born_timestamp,
        flag: message.flag,
        properties: Some(String::from_utf8_lossy(&properties).into_owned()),
        reconsume_times: Some(0),
        ..SendMessage::default()
    }
}

/// Puts a message into any queue of a topic on this broker; its id.
async fn put(admin: &Admin, broker: &str, topic: &str, message: &SendMessage, body: Bytes) -> Result<String, Error> {
    let request = SendMessage {
        producer_group: "TOOLS_PRODUCER".to_owned(),
        topic: topic.to_owned(),
        default_topic: DEFAULT_TOPIC.to_owned(),
        default_topic_queue_nums: 1,
        queue_id: -1,
        ..message.clone()
    };
    Ok(admin.ask_any(broker, &request, body, &STORED).await?.reply.msg_id)
}

/// Is there a copy whose answer got lost?
async fn look_for_copy(admin: &Admin, letter: &DeadLetter) -> Result<bool, Error> {
    let of = Queue {
        topic: letter.message.topic.clone(),
        broker: letter.message.broker.clone(),
        address: letter.address.clone(),
        queue_id: letter.message.queue_id,
    };
    let mut marks = Marks::new(admin, &letter.group, &of, crate::now_millis() - CLOCK_SLACK_MILLIS).await?;
    let until = Instant::now() + DOUBT;
    loop {
        marks.read_on(admin).await?;
        match marks.known.get(&letter.id) {
            Some(_) => return Ok(true),
            None if Instant::now() >= until => return Ok(false),
            None => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// Marks dead letters as dropped: no list shows them any more and no requeue sends them, unless they are asked for. They
/// stay in their topic until retention takes them. `keep` is called with each before it is marked, and must have it safe
/// when it returns; where it fails, nothing is dropped any more.
pub async fn drop_letters(
    admin: &Admin,
    selection: Selection,
    dry_run: bool,
    mut keep: impl FnMut(&DeadLetter) -> Result<(), Error>,
    mut tell: impl FnMut(&Outcome, &Reader<'_>),
) -> Result<Tally, Error> {
    let mut reader = Reader::new(admin, Selection { all: false, ..selection }).await?;
    let (mut tally, mut ready) = (Tally::new(), Vec::new());
    while let Some(letter) = reader.next().await? {
        let mut outcome = outcome(&letter, Done::Would);
        if !dry_run {
            keep(&letter)?;
            let broker = letter.address.clone();
            if !ready.contains(&broker) {
                let topic = CreateTopic {
                    topic: MARKS_TOPIC.to_owned(),
                    read_queue_nums: 1,
                    write_queue_nums: 1,
                    perm: PERM_READ | PERM_WRITE,
                    topic_filter_type: Some("SINGLE_TAG".to_owned()),
                    ..CreateTopic::default()
                };
                topic::update(admin, &broker, &topic).await?;
                ready.push(broker.clone());
            }
            let mut properties = Vec::new();
            push_property(&mut properties, property::KEYS, &letter.id);
            push_property(&mut properties, DROPPED, &letter.id);
            let mark = SendMessage {
                born_timestamp: crate::now_millis(),
                properties: Some(String::from_utf8_lossy(&properties).into_owned()),
                ..SendMessage::default()
            };
            match put(admin, &broker, MARKS_TOPIC, &mark, Bytes::from(letter.group.clone())).await {
                Ok(_) => outcome.outcome = Done::Dropped,
                Err(error) if error.code().is_some() => {
                    (outcome.outcome, outcome.why) = (Done::Failed, Some(error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        *tally.entry(outcome.outcome).or_default() += 1;
        tell(&outcome, &reader);
    }
    Ok(tally)
}

/// One dead letter, by its id.
pub async fn show(admin: &Admin, id: &str) -> Result<DeadLetter, Error> {
    let message = crate::message::by_id(admin, None, id).await?;
    let Some(group) = message.topic.strip_prefix(DLQ_PREFIX).map(str::to_owned) else {
        return Err(Error::Input(format!("message {id} lies in topic {}: it is no dead letter", message.topic)));
    };
    let address = crate::cluster::broker(admin, &message.broker).await?;
    let configs = consumer::configs(admin, &address).await?;
    let retry_max =
        configs.get(&group).map_or(SubscriptionGroupConfig::default().retry_max_times, |it| it.retry_max_times);
    let of =
        Queue { topic: message.topic.clone(), broker: message.broker.clone(), address, queue_id: message.queue_id };
    let mut marks = Marks::new(admin, &group, &of, message.store_timestamp - CLOCK_SLACK_MILLIS).await?;
    marks.read_on(admin).await?;
    Ok(letter(&group, &of.address, message, retry_max, &marks.known))
}
