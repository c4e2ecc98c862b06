//! Messages going out.
//!
//! A pull that finds nothing is held: a parked future that awaits a message or its deadline. A message that does not
//! pass the filter does not end it.

use super::{no_such_topic, short};
use crate::Broker;
use crate::life::event::{Event, Wanted};
use crate::offsets::Reset;
use crate::parking::{self, Parked, Passage};
use crate::program::Judge;
use crate::shares::{Look, Own};
use protocol::code::request::LITE_PULL_MESSAGE;
use protocol::code::response;
use protocol::heartbeat::{ConsumeType, MessageModel};
use protocol::record::Record;
use protocol::request::pull::{PullMessage, PullMessageReply};
use protocol::sql92::Expression;
use protocol::subscription::{SQL92, SubscriptionData, TagFilter};
use protocol::topic::{PERM_READ, SCHEDULE_TOPIC};
use remoting::reply::Part;
use remoting::{Answer, Body, Call, Reject};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use store::{GetStatus, Got, Matching, QueueOffset, Verdict};
use tokio::time::Instant;

/// Apache's brokers hand out so many messages at most, unless told otherwise; they copy each. We don't, so that what a
/// client asks for is no matter of count, but of bytes.
const APACHE_COUNT: usize = 32;

/// So many messages at most, whatever a client asks for.
const COUNT_MAX: usize = 1024;

/// How often a pull that other queues, or other members, hold up looks whether they are done.
const FENCE_LOOK: Duration = Duration::from_millis(100);

/// However long a client would wait.
const HOLD_MAX: Duration = Duration::from_secs(120);

/// So many pulls are held at a time; those above are answered at once.
const HELD_MAX: usize = 500_000;

/// PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361).
pub(super) async fn pull_message(
    broker: Arc<Broker>,
    mut call: Call<PullMessage>,
) -> Result<Answer<PullMessageReply>, Reject> {
    // A pull has no body; one that came all the same is not kept while the pull is held.
    call.body = bytes::Bytes::new();
    let request = &call.request;
    let queue_id = allowed(&broker, &call)?;
    let filter = filter(&broker, request)?;
    let (max_count, max_bytes) = most(&broker, request);
    let judged = Cell::new(false);
    let passed_over = RefCell::new(Vec::new());
    let get = |from, gate: Option<&Gate>| {
        let (store, topic) = (&broker.store, &request.topic);
        passed_over.borrow_mut().clear();
        // Looked up for each look: a pull that was held goes by the program that is there when messages come.
        let program = broker.programs.get(&request.consumer_group, topic);
        judged.set(program.is_some());
        let judge = match (&filter, program) {
            (Filter::Tags(tags), None) if gate.is_none() => {
                return store.get_message(topic, queue_id, from, max_count, max_bytes, &|code| tags.passes(code));
            }
            (_, program) => program.map(|program| RefCell::new(Judge::new(program))),
        };
        let codes: &dyn Fn(i64) -> bool = match &filter {
            Filter::Tags(tags) => &|code| tags.passes(code),
            Filter::Sql(..) => &|_| true,
        };
        let records = |record: &Record| match (&filter, &judge) {
            _ if gate.is_some_and(|gate| gate.is_closed(record, &passed_over)) => Verdict::Unwanted,
            (Filter::Sql(expression, _), _) if !expression.matches(&record.properties()) => Verdict::Unwanted,
            (_, Some(judge)) => judge.borrow_mut().judge(record),
            (_, None) => Verdict::Wanted,
        };
        store.get_matching(topic, queue_id, from, max_count, max_bytes, Matching { codes, records: &records })
    };

    let first = QueueOffset(request.queue_offset);
    let mut from = first;
    let commit = (request.sys_flag & PullMessage::COMMIT_OFFSET != 0 && request.commit_offset >= 0)
        .then_some(request.commit_offset);
    let by = call.peer.address();
    let sharer = match broker.shares_by_key(&request.consumer_group) {
        true => Some(broker.member_at(&request.consumer_group, by).unwrap_or_default()),
        false => None,
    };
    // What keeps messages back, and whether the group goes on elsewhere, as of the same moment.
    let look = |from: QueueOffset| {
        let (group, topic, queue_id) = (&request.consumer_group, &request.topic, request.queue_id);
        if let Some(sharer) = &sharer {
            return match broker.look_at_share((group, topic, queue_id), sharer, from.0, commit, by) {
                Look::Wait => Looked::Wait,
                Look::Moved(offset) => Looked::Moved(offset),
                Look::Own(own) => Looked::Go { gate: Some(Gate::Shared(own)), heard: false },
            };
        }
        let hear = || broker.offsets.hear_of_reset(group, topic, queue_id, from.0, commit, by);
        match broker.parking.read(group, topic, queue_id, hear) {
            (_, Some(Reset::Moved(offset))) => Looked::Moved(offset),
            (parked, heard) => Looked::Go { gate: parked.map(Gate::Parked), heard: heard.is_some() },
        }
    };
    // Nobody else may have got any of it meanwhile.
    let is_own = |gate: &Option<Gate>, next: QueueOffset| match (gate, &sharer) {
        (Some(Gate::Shared(own)), Some(sharer)) => {
            let queue = (request.consumer_group.as_str(), request.topic.as_str(), request.queue_id);
            broker.give_share(queue, sharer, own, next.0)
        }
        _ => true,
    };
    let mut hold: Option<Hold> = None;
    let (mut gate, heard) = loop {
        match look(from) {
            Looked::Moved(offset) => return Ok(moved(&broker, request, queue_id, offset)),
            Looked::Go { gate, heard } => break (gate, heard),
            Looked::Wait if wait_a_moment(&broker, request, &mut hold).await => {}
            Looked::Wait => {
                return Ok(not_yet(&broker, request, queue_id, "other members have all of this queue for now"));
            }
        }
    };
    let counts = commit.filter(|_| !heard && sharer.is_none());
    let note = |pulled: QueueOffset| {
        broker.note_pull(&request.consumer_group, &request.topic, request.queue_id, pulled.0, counts, by);
    };
    let mut noted = false;
    while is_fenced(&broker, request) {
        if !std::mem::replace(&mut noted, true) {
            // What it has consumed counts at once, however long it waits.
            note(from);
        }
        if !wait_a_moment(&broker, request, &mut hold).await {
            let why = "the old queues of this ordered topic are to be consumed first";
            return Ok(not_yet(&broker, request, queue_id, why));
        }
    }
    let mut got = get(from, gate.as_ref());
    let pulled = if matches!(got.status, GetStatus::Found) { got.next } else { from };
    note(pulled);
    loop {
        if !is_own(&gate, got.next) {
            match look(from) {
                Looked::Moved(offset) => return Ok(moved(&broker, request, queue_id, offset)),
                Looked::Go { gate: now, .. } => gate = now,
                Looked::Wait => {
                    got.next = from;
                    return Ok(nothing(&broker, response::PULL_RETRY_IMMEDIATELY, got));
                }
            }
            got = get(from, gate.as_ref());
            continue;
        }
        tell_of_parked(&broker, request, &passed_over.borrow(), got.next, by);
        match got.status {
            GetStatus::Found => break,
            GetStatus::Damaged(damage) => return Err(Reject::system_error(damage.to_string())),
            // With more to look at, the client asks again: other connections have their turn between.
            GetStatus::NoMatchedMessage | GetStatus::MessageWasRemoving if hold.is_none() || got.next < got.max => {
                return Ok(nothing(&broker, response::PULL_RETRY_IMMEDIATELY, got));
            }
            GetStatus::NoMatchedMessage | GetStatus::MessageWasRemoving => from = got.next,
            GetStatus::OffsetTooSmall | GetStatus::OffsetOverflowBadly => {
                return Ok(nothing(&broker, response::PULL_OFFSET_MOVED, got));
            }
            GetStatus::NoMatchedLogicQueue | GetStatus::NoMessageInQueue if from != QueueOffset(0) => {
                return Ok(nothing(&broker, response::PULL_OFFSET_MOVED, got));
            }
            GetStatus::NoMatchedLogicQueue | GetStatus::NoMessageInQueue | GetStatus::OffsetOverflowOne => {}
        }
        let held = match hold.take() {
            Some(hold) => Some(hold),
            None => Hold::begin(&broker, request),
        };
        let arrived = match &held {
            Some(hold) => {
                let queue = broker.store.queue_or_create(&request.topic, queue_id);
                tokio::time::timeout_at(hold.deadline, broker.store.arrived(&queue, from)).await.is_ok()
            }
            None => false,
        };
        let looked = match arrived {
            true if broker.topics.queues(&request.topic).is_none() => {
                return Err(no_such_topic(&request.topic)); // deleted meanwhile
            }
            true => look(from),
            false => Looked::Wait,
        };
        match looked {
            Looked::Moved(offset) => return Ok(moved(&broker, request, queue_id, offset)),
            Looked::Go { gate: now, .. } => gate = now,
            Looked::Wait => {
                let code = if from == first { response::PULL_NOT_FOUND } else { response::PULL_RETRY_IMMEDIATELY };
                got.next = from;
                return Ok(nothing(&broker, code, got));
            }
        }
        hold = held;
        got = get(from, gate.as_ref());
    }
    broker.stats.given(&request.consumer_group, &request.topic, got.count, got.bytes);
    let wanted = match filter {
        _ if judged.get() => Wanted::Program,
        Filter::Tags(tags) => Wanted::Tags(tags),
        Filter::Sql(_, text) => Wanted::Sql(text),
    };
    tell_of_delivery(&broker, call.request, wanted, (from, &got), &passed_over.into_inner(), by);
    Ok(found(got))
}

/// How many messages, and how many bytes of them, the answer to a pull has at most.
fn most(broker: &Broker, request: &PullMessage) -> (usize, usize) {
    let count = match broker.config.max_transfer_count_in_memory {
        APACHE_COUNT => COUNT_MAX,
        set => set,
    };
    let bytes = broker.config.max_transfer_bytes_in_memory;
    let asked = request.max_msg_bytes.filter(|asked| *asked > 0).map_or(bytes, |asked| asked as usize);
    ((request.max_msg_nums.max(1) as usize).min(count), asked.min(bytes))
}

/// The life of a message says that it was given. What lies between messages that were passed over has an event of its own.
fn tell_of_delivery(
    broker: &Broker,
    request: PullMessage,
    wanted: Wanted,
    (from, got): (QueueOffset, &Got),
    passed_over: &[(i64, Passage)],
    to: SocketAddr,
) {
    let PullMessage { consumer_group: group, topic, queue_id, .. } = request;
    let (mut range, mut count) = ((from.0, got.next.0), got.count as u32);
    for (offset, _) in passed_over.iter().filter(|(offset, _)| *offset < got.next.0) {
        if range.0 < *offset {
            let (group, topic, wanted, range) = (group.clone(), topic.clone(), wanted.clone(), (range.0, *offset));
            let given = count.min((range.1 - range.0) as u32);
            count -= given;
            broker.note(Event::Delivered { group, topic, queue_id, range, count: given, wanted, to });
        }
        range.0 = offset + 1;
    }
    if range.0 < range.1 {
        broker.note(Event::Delivered { group, topic, queue_id, range, count, wanted, to });
    }
}

/// What a pull is to do.
enum Looked {
    /// Wait.
    Wait,
    /// Go on here.
    Moved(i64),
    /// Take what the gate lets through. It has just heard that it goes on here?
    Go { gate: Option<Gate>, heard: bool },
}

/// What of a queue is kept back from a pull.
enum Gate {
    /// What is parked.
    Parked(Arc<Parked>),
    /// What is not its own, in a queue that is shared.
    Shared(Own),
}

impl Gate {
    /// Is this message kept back? If so, that is noted.
    fn is_closed(&self, record: &Record<'_>, noted: &RefCell<Vec<(i64, Passage)>>) -> bool {
        let (offset, key) = (record.queue_offset.0, parking::key_of(record));
        let passage = match self {
            Gate::Parked(parked) => parked.passage(offset, key),
            Gate::Shared(own) if own.has(offset, key) => Passage::Given,
            Gate::Shared(_) => Passage::Consumed,
        };
        if passage != Passage::Given {
            noted.borrow_mut().push((offset, passage));
        }
        passage != Passage::Given
    }
}

/// Waits, for what no message tells of. False: its time is over.
async fn wait_a_moment(broker: &Arc<Broker>, request: &PullMessage, hold: &mut Option<Hold>) -> bool {
    if hold.is_none() {
        *hold = Hold::begin(broker, request);
    }
    match hold {
        Some(hold) if Instant::now() < hold.deadline => {
            tokio::time::sleep_until(hold.deadline.min(Instant::now() + FENCE_LOOK)).await;
            true
        }
        _ => false,
    }
}

/// Messages before `end` that a pull passed over because their keys are parked, are told of in their lives.
fn tell_of_parked(
    broker: &Broker,
    request: &PullMessage,
    passed_over: &[(i64, Passage)],
    end: QueueOffset,
    by: SocketAddr,
) {
    let parked = passed_over.iter().filter(|(offset, passage)| *passage == Passage::Parked && *offset < end.0);
    for (offset, _) in parked {
        let (group, topic) = (request.consumer_group.clone(), request.topic.clone());
        let (queue_id, range) = (request.queue_id, (*offset, offset + 1));
        broker.note(Event::Parked { group, topic, queue_id, range, by });
    }
}

/// An operator has moved the group: it is to go on at `offset`.
fn moved(broker: &Broker, request: &PullMessage, queue_id: u32, offset: i64) -> Answer<PullMessageReply> {
    let reply = PullMessageReply {
        suggest_which_broker_id: 0,
        next_begin_offset: offset,
        min_offset: broker.store.min_offset(&request.topic, queue_id).0,
        max_offset: broker.store.max_offset(&request.topic, queue_id).0,
        forbidden_type: None,
    };
    Answer::new(reply).with_code(response::PULL_OFFSET_MOVED, "OFFSET_RESET")
}

/// Does the group have to consume other queues of an ordered topic first? Only groups whose offsets we know wait: those of
/// push consumers that share their messages.
fn is_fenced(broker: &Broker, request: &PullMessage) -> bool {
    let (group, topic) = (&request.consumer_group, &request.topic);
    let consumed = |queue| broker.offsets.get(group, topic, queue);
    let Some(awaited) = broker.fences.awaited(topic, request.queue_id, |queue| consumed(queue).unwrap_or(0)) else {
        return false;
    };
    match broker.consumers.read().get(group) {
        Some(group) => group.consume_type == ConsumeType::Passively && group.message_model == MessageModel::Clustering,
        // Its heartbeat is still to come, as after a start of ours, or it never sends one: a tool.
        None => consumed(awaited.queue).is_some(),
    }
}

/// Nothing yet: go on asking for the same.
fn not_yet(broker: &Broker, request: &PullMessage, queue_id: u32, why: &str) -> Answer<PullMessageReply> {
    let header = PullMessageReply {
        suggest_which_broker_id: 0,
        next_begin_offset: request.queue_offset,
        min_offset: broker.store.min_offset(&request.topic, queue_id).0,
        max_offset: broker.store.max_offset(&request.topic, queue_id).0,
        forbidden_type: None,
    };
    Answer::new(header).with_code(response::PULL_NOT_FOUND, why)
}

/// A pull that is held.
struct Hold {
    broker: Arc<Broker>,
    deadline: Instant,
}

impl Hold {
    /// `None`: the client does not want to wait, or too many do.
    fn begin(broker: &Arc<Broker>, request: &PullMessage) -> Option<Hold> {
        let asked = request.suspend_timeout_millis.and_then(|millis| u64::try_from(millis).ok()).unwrap_or(0);
        if request.sys_flag & PullMessage::SUSPEND == 0 || asked == 0 {
            return None;
        }
        let time = if broker.config.long_polling { Duration::from_millis(asked) } else { broker.config.short_polling };
        let held = broker.held_pulls.fetch_add(1, Ordering::Relaxed);
        let hold = Hold { broker: broker.clone(), deadline: Instant::now() + time.min(HOLD_MAX) };
        (held < HELD_MAX).then_some(hold)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.broker.held_pulls.fetch_sub(1, Ordering::Relaxed);
    }
}

fn found(got: Got) -> Answer<PullMessageReply> {
    let header = header(&got);
    let parts = got.parts.into_iter().map(|part| match part {
        store::Part::Bytes(bytes) => Part::Bytes(bytes),
        store::Part::File(slice) => Part::File { file: slice.file, offset: slice.offset, length: slice.len },
    });
    let body = Body::Parts(parts.collect());
    Answer::new(header).with_code(response::SUCCESS, "FOUND").with_body(body)
}

fn nothing(broker: &Broker, code: i32, got: Got) -> Answer<PullMessageReply> {
    broker.stats.missed();
    let remark = match got.status {
        GetStatus::Found => "FOUND",
        GetStatus::NoMatchedLogicQueue => "NO_MATCHED_LOGIC_QUEUE",
        GetStatus::NoMessageInQueue => "NO_MESSAGE_IN_QUEUE",
        GetStatus::OffsetTooSmall => "OFFSET_TOO_SMALL",
        GetStatus::OffsetOverflowOne => "OFFSET_OVERFLOW_ONE",
        GetStatus::OffsetOverflowBadly => "OFFSET_OVERFLOW_BADLY",
        GetStatus::NoMatchedMessage => "NO_MATCHED_MESSAGE",
        GetStatus::MessageWasRemoving => "MESSAGE_WAS_REMOVING",
        GetStatus::Damaged(_) => "DAMAGED",
    };
    Answer::new(header(&got)).with_code(code, remark)
}

fn header(got: &Got) -> PullMessageReply {
    PullMessageReply {
        suggest_which_broker_id: 0,
        next_begin_offset: got.next.0,
        min_offset: got.min.0,
        max_offset: got.max.0,
        forbidden_type: None,
    }
}

/// May this group read this queue? Answers with the queue.
fn allowed(broker: &Broker, call: &Call<PullMessage>) -> Result<u32, Reject> {
    let request = &call.request;
    let forbidden = |remark: String| Err(Reject::new(response::NO_PERMISSION, remark));
    if broker.config.permission & PERM_READ == 0 {
        return forbidden(format!(
            "the broker[{}] pulling message is forbidden (brokerPermission)",
            broker.config.name
        ));
    }
    if call.code == LITE_PULL_MESSAGE && !broker.config.lite_pull {
        return forbidden(format!(
            "the broker[{}] for lite pull consumer is forbidden (litePullMessageEnable=false)",
            broker.config.name
        ));
    }
    let group = broker.group(&request.consumer_group, &call.peer)?;
    if !group.consume_enable {
        return forbidden(format!("subscription group no permission, {} (consumeEnable=false)", group.group_name));
    }
    if !broker.groups.may_read(&group.group_name, &request.topic) {
        return forbidden(format!(
            "the consumer group[{}] is forbidden for topic[{}]",
            group.group_name,
            short(&request.topic)
        ));
    }
    let queues = broker.topics.queues(&request.topic).ok_or_else(|| no_such_topic(&request.topic))?;
    if queues.perm & PERM_READ == 0 {
        return forbidden(format!(
            "the topic[{}] pulling message is forbidden (its perm is {})",
            request.topic, queues.perm
        ));
    }
    // The queues of delay levels are the broker's own; old tables say that there are fewer than there are levels.
    let own = request.topic == SCHEDULE_TOPIC;
    match u32::try_from(request.queue_id) {
        Ok(queue_id) if request.queue_id < queues.read || own && request.queue_id < 1024 => Ok(queue_id),
        _ => {
            let remark = format!(
                "queueId[{}] is illegal, topic:[{}] topicConfig.readQueueNums:[{}] consumer:[{}]",
                request.queue_id,
                short(&request.topic),
                queues.read,
                call.peer.address()
            );
            Err(Reject::new(response::INVALID_PARAMETER, remark))
        }
    }
}

/// Which messages of the queue are wanted.
enum Filter {
    Tags(TagFilter),
    /// And as it was written.
    Sql(Arc<Expression>, String),
}

/// What of the queue does it want?
fn filter(broker: &Broker, request: &PullMessage) -> Result<Filter, Reject> {
    if request.sys_flag & PullMessage::SUBSCRIPTION != 0 {
        let expression = request.subscription.as_deref().unwrap_or("");
        return match request.expression_type.as_deref() {
            None | Some("" | protocol::subscription::TAG) => match SubscriptionData::tags(&request.topic, expression) {
                Ok(subscription) => Ok(Filter::Tags(subscription.filter())),
                Err(bad) => Err(Reject::new(
                    response::SUBSCRIPTION_PARSE_FAILED,
                    format!("parse the consumer's subscription failed: {bad}"),
                )),
            },
            Some(other) => broker.expression(other, expression).map(|read| Filter::Sql(read, expression.to_owned())),
        };
    }
    let refused = |code, remark: &str| {
        let (group, topic) = (short(&request.consumer_group), short(&request.topic));
        Err(Reject::new(
            code,
            format!("{remark}: group[{group}], topic[{topic}]; it comes with the client's heartbeat"),
        ))
    };
    let subscription = match broker.consumers.read().get(&request.consumer_group) {
        Some(group) => group.subscriptions.get(&request.topic).cloned(),
        None => return refused(response::SUBSCRIPTION_NOT_EXIST, "the consumer's group info not exist"),
    };
    let Some(subscription) = subscription else {
        return refused(response::SUBSCRIPTION_NOT_EXIST, "the consumer's subscription not exist");
    };
    if subscription.sub_version < request.sub_version.unwrap_or(0) {
        if !subscription.is_tags() || request.expression_type.as_deref() == Some(SQL92) {
            // Who filters by properties relies on the broker: nothing that is not wanted may pass.
            return refused(response::SUBSCRIPTION_NOT_LATEST, "the consumer's subscription not latest");
        }
        // Its heartbeat is still to come. Apache refuses (25), and a client whose heartbeat was held up stands still for
        // up to 30 s. All clients filter by tags themselves, too: so it gets everything until then.
        return Ok(Filter::Tags(TagFilter::All));
    }
    if subscription.is_tags() {
        return Ok(Filter::Tags(subscription.filter()));
    }
    match broker.expression(&subscription.expression_type, &subscription.sub_string) {
        Ok(expression) => Ok(Filter::Sql(expression, subscription.sub_string.clone())),
        Err(Reject { code: response::SUBSCRIPTION_PARSE_FAILED, remark, .. }) => Err(Reject::new(
            response::FILTER_DATA_NOT_EXIST,
            format!("The broker's consumer filter data is not exist! Your expression may be wrong! {remark}"),
        )),
        Err(other) => Err(other),
    }
}
