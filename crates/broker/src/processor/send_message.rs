//! Messages coming in.
//!
//! 1. what do its properties ask for?          (`Asked`, one scan)
//! 2. may it go to this topic, which queue?
//! 3. add what a broker adds to properties     (one copy)
//! 4. put it; wait for the disk if that is promised; answer

use super::duplicate::{self, PutBatch};
use super::{not_stored, park, short};
use crate::Broker;
use crate::config::FlushDiskType;
use crate::dedup::First;
use crate::life::event::Event;
use crate::retry;
use crate::timer::{self, Wait};
use crate::topics::{MESSAGE_SIZE_MAX, Queues};
use protocol::code::response;
use protocol::message::{Properties, SysFlag, edit_properties, offset_message_id, property, push_property};
use protocol::record::{BatchEntries, PROPERTIES_LENGTH_MAX};
use protocol::request::send::{SendMessage, SendMessageReply};
use protocol::topic::{
    DLQ_PREFIX, PERM_READ, PERM_WRITE, QUEUES_MAX, RETRY_PREFIX, TopicConfig, UNIT_SUB, check_topic_name,
    dead_letter_topic, is_send_forbidden,
};
use remoting::{Answer, Call, Peer, Reject};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use store::{CommitLogOffset, PutError, PutMessage};

/// SEND_MESSAGE (10), SEND_MESSAGE_V2 (310) and SEND_BATCH_MESSAGE (320).
pub(super) fn send_message(
    broker: Arc<Broker>,
    call: Call<SendMessage>,
) -> impl Future<Output = Result<Answer<SendMessageReply>, Reject>> {
    // What waits below holds on to neither the request nor its body.
    let taken = match park::given_up(&broker, &call) {
        Ok(None) => take(&broker, &call).map_err(NotTaken::Refused),
        Ok(Some(poison)) => Err(NotTaken::Parked(poison)),
        Err(reject) => Err(NotTaken::Refused(reject)),
    };
    async move {
        match taken {
            Ok(taken) => acknowledge(&broker, taken).await,
            Err(NotTaken::Refused(reject)) => Err(reject),
            // What is seldom awaited has a box of its own: every message's answer would have room for it.
            Err(NotTaken::Parked(poison)) => Err(Box::pin(poison.park(&broker)).await),
        }
    }
}

/// A message that does not come into the log.
enum NotTaken {
    Refused(Reject),
    /// A consumer in order gives it up, and its group parks such messages.
    Parked(Box<park::Poison>),
}

/// Answers when what is promised holds.
pub(super) async fn acknowledge(broker: &Broker, taken: Taken) -> Result<Answer<SendMessageReply>, Reject> {
    let Taken { end, reply, created, duplicate, wait } = taken;
    if let Some(counter) = created {
        // So that the topic is there after a crash, as the message is.
        Box::pin(broker.topic_saved(counter)).await?;
    }
    let mut answer = if wait { await_disk(broker, end, reply).await? } else { Answer::new(reply).behind_write() };
    answer.remark = answer.remark.or(duplicate);
    Ok(answer)
}

/// A message that is on its way into the log.
pub(super) struct Taken {
    /// Where its record ends.
    end: CommitLogOffset,
    reply: SendMessageReply,
    /// The version of the table of topics in which its topic was created.
    created: Option<i64>,
    /// It was stored before, or some of a batch was; this says so.
    duplicate: Option<String>,
    /// Its sender wants it on disk.
    wait: bool,
}

/// Puts the message.
fn take(broker: &Broker, call: &Call<SendMessage>) -> Result<Taken, Reject> {
    check_size(broker, call)?;
    put(broker, call, admit(broker, call)?)
}

/// Refuses a body that is too large. A batch is looked at with its messages.
pub(super) fn check_size(broker: &Broker, call: &Call<SendMessage>) -> Result<(), Reject> {
    let (len, max) = (call.body.len(), broker.config.max_message_size);
    if len > max && !call.request.batch {
        return Err(not_stored(PutError::BodyTooLarge { topic: call.request.topic.clone(), len, max }));
    }
    Ok(())
}

/// A message that may go where it is to go.
pub(super) struct Admitted<'a> {
    asked: Asked<'a>,
    wait: Wait,
    prepares: bool,
    /// Where it goes instead.
    dead_letters: Option<String>,
    queues: Queues,
    queue_id: i32,
    created: Option<i64>,
}

/// May the message go to its topic?
pub(super) fn admit<'a>(broker: &Broker, call: &'a Call<SendMessage>) -> Result<Admitted<'a>, Reject> {
    let request = &call.request;
    let asked = Asked::read(request.properties.as_deref().unwrap_or("").as_bytes())?;
    let wait = match asked.delay_level {
        0 if asked.timer.is_timed() => broker.timer.admit(&asked.timer, broker.config.clock.now_millis())?,
        level => Wait::Level(level),
    };
    let prepares = prepares(broker, request, &asked)?;
    if let Some(feature) = sys_flag_not_brought(request.sys_flag) {
        return Err(Reject::not_supported(format!(
            "the message for topic[{}] asks for {feature}, which CometMQ does not do yet, see \"Not yet\" in its README; \
             it was not stored",
            short(&request.topic)
        )));
    }
    if call.peer.is_first(broker.life.mark(&request.producer_group)) {
        let (group, from) = (request.producer_group.clone(), call.peer.address());
        broker.note(Event::Sends { group, client: String::new(), from });
    }
    let dead_letters = dead_letters(broker, call)?;
    let (queues, created) = queues(broker, request, &call.peer)?;
    if let Some(max) = queues.body_max.filter(|max| call.body.len() > *max && !request.batch) {
        return Err(too_large_for_topic(&request.topic, call.body.len(), max));
    }
    let queue_id = queue_id(broker, call, queues)?;
    Ok(Admitted { asked, wait, prepares, dead_letters, queues, queue_id, created })
}

/// Puts a message that was admitted.
pub(super) fn put(broker: &Broker, call: &Call<SendMessage>, admitted: Admitted<'_>) -> Result<Taken, Reject> {
    let Admitted { asked, mut wait, prepares, dead_letters, queues, queue_id, created } = admitted;
    let request = &call.request;
    let properties = request.properties.as_deref().unwrap_or("").as_bytes();
    let store_host = broker.store_host(&call.peer);
    let mut put = PutMessage {
        topic: &request.topic,
        queue_id: queue_id as u32,
        flag: request.flag,
        sys_flag: SysFlag(request.sys_flag).without(SysFlag::TRANSACTION_MASK).0
            | if queues.multi_tags { SysFlag::MULTI_TAGS } else { 0 },
        born_timestamp: request.born_timestamp,
        born_host: std::net::SocketAddr::new(call.peer.address().ip().to_canonical(), call.peer.address().port()),
        store_host,
        reconsume_times: request.reconsume_times.unwrap_or(0),
        prepared_transaction_offset: 0,
        body: &call.body,
        properties: &[],
    };
    let mut reply = SendMessageReply {
        queue_id,
        region: Some(broker.region.clone()),
        trace_on: Some(broker.config.trace_on),
        ..SendMessageReply::default()
    };
    let end;
    let (mut is_new, mut duplicates) = (true, None);
    if request.batch {
        check_batch(broker, request, &asked, &call.body, queues.body_max)?;
        let batch = match broker.dedup.window(&request.topic) {
            None => PutBatch::all(broker.store.put_batch(&put).map_err(not_stored)?, queue_id),
            Some(_) if asked.dedup_id.is_some() => return Err(duplicate::of_batch(&request.topic)),
            Some(window) => PutBatch::new_ones(broker, &put, &window)?,
        };
        let (count, bytes) = batch.stored;
        if count > 0 {
            broker.came(&request.topic, asked.message_type(prepares), count, bytes);
        }
        (end, is_new) = (batch.end, count > 0);
        duplicates = batch.answer(&mut reply, store_host);
        reply.transaction_id = asked.unique_key.map(str::to_owned);
    } else {
        let unique_key = match asked.unique_key {
            Some(key) => Cow::Borrowed(key),
            None => Cow::Owned(new_unique_key(store_host.ip(), request.born_timestamp)),
        };
        let mut properties = complete(broker, properties, &asked, &unique_key);
        if let Some(topic) = &dead_letters {
            wait = Wait::No;
            properties = edit_properties(&properties, &[(property::DELAY, Some("0"))]);
            put.topic = topic;
            put.queue_id = 0;
            reply.queue_id = 0;
        }
        if properties.len() > PROPERTIES_LENGTH_MAX {
            return Err(Reject::new(
                response::MESSAGE_ILLEGAL,
                format!(
                    "the message is illegal: its properties have {} bytes with those that the broker adds, for topic[{}]; \
                     msg properties length limit {PROPERTIES_LENGTH_MAX} B",
                    properties.len(),
                    short(&request.topic)
                ),
            ));
        }
        put.properties = &properties;
        let window = asked.dedup_id.and_then(|id| {
            let window = broker.dedup.window(&request.topic)?;
            Some((broker.dedup.hash(id), window))
        });
        let mut window = window.as_ref().map(|(hash, window)| (*hash, window.lock()));
        if let Some((hash, window)) = &mut window
            && let Some((first, age)) = window.known(*hash, Instant::now())
        {
            if first.half.is_some() && !prepares {
                return Err(duplicate::undecided(&request.topic));
            }
            window.count(1);
            let remark = Some(duplicate::answer(&mut reply, &first, age, store_host));
            reply.transaction_id = Some(unique_key.into_owned());
            return Ok(Taken { end: first.end, reply, created, duplicate: remark, wait: asked.wait });
        }
        let stored = match prepares {
            false => broker.put(&put, wait),
            true => broker.prepare(&put, &request.producer_group),
        };
        let stored = stored.map_err(not_stored)?;
        reply.msg_id = offset_message_id(store_host, stored.at);
        reply.queue_offset = stored.queue_offset.0;
        if !prepares {
            reply.recall_handle = broker.recall_handle(&request.topic, wait, &unique_key);
        }
        reply.transaction_id = Some(unique_key.into_owned());
        end = stored.end;
        broker.came(put.topic, asked.message_type(prepares), 1, end.0 - stored.at.0);
        if let Some((hash, window)) = &mut window {
            let (queue_id, queue_offset) = (reply.queue_id, reply.queue_offset);
            let half = prepares.then_some(queue_offset);
            window.remember(*hash, First { at: stored.at, end, queue_id, queue_offset, half }, Instant::now());
        }
    }
    // One that waits for the disk counts when it is there.
    if is_new && !(asked.wait && broker.config.flush_disk_type == FlushDiskType::Sync) {
        broker.put_times.put(1);
    }
    Ok(Taken { end, reply, created, duplicate: duplicates, wait: asked.wait })
}

/// Answers when the message is on disk, if that is promised; with FLUSH_DISK_TIMEOUT (10) if it takes too long.
pub(super) async fn await_disk<R>(broker: &Broker, end: CommitLogOffset, reply: R) -> Result<Answer<R>, Reject> {
    let flushed = broker.store.flushed(end);
    let flushed = if broker.config.flush_disk_type == FlushDiskType::Async {
        flushed.await
    } else {
        let began = Instant::now();
        let Ok(flushed) = tokio::time::timeout(broker.config.sync_flush_timeout, flushed).await else {
            let remark = format!(
                "stored, but not on disk within {:?} (syncFlushTimeout); a power failure now would lose it",
                broker.config.sync_flush_timeout
            );
            return Ok(Answer::new(reply).with_code(response::FLUSH_DISK_TIMEOUT, remark).behind_write());
        };
        broker.put_times.took(1, began.elapsed());
        flushed
    };
    match flushed {
        Ok(()) => Ok(Answer::new(reply).behind_write()),
        Err(error) => Err(Reject::new(response::SERVICE_NOT_AVAILABLE, error.to_string())),
    }
}

/// What the properties of a message ask of the broker.
struct Asked<'a> {
    unique_key: Option<&'a str>,
    /// By which a topic with a window knows it again.
    dedup_id: Option<&'a str>,
    /// 0: none.
    delay_level: i32,
    timer: timer::Asked<'a>,
    /// It has a key that keeps it in order with others.
    sharded: bool,
    /// Wait for the disk.
    wait: bool,
    /// It is a half message.
    transaction: bool,
    /// Something that a broker adds is there already, or something that it strips.
    rewrite: bool,
}

impl<'a> Asked<'a> {
    fn read(properties: &'a [u8]) -> Result<Asked<'a>, Reject> {
        let mut asked = Asked {
            unique_key: None,
            dedup_id: None,
            delay_level: 0,
            timer: timer::Asked::default(),
            sharded: false,
            wait: true,
            transaction: false,
            rewrite: false,
        };
        for (name, value) in Properties(properties).raw() {
            match name {
                b"UNIQ_KEY" => asked.unique_key = std::str::from_utf8(value).ok(),
                b"DEDUP_ID" => asked.dedup_id = std::str::from_utf8(value).ok(),
                b"DELAY" => asked.delay_level = delay_level(value)?.max(0),
                b"WAIT" => asked.wait = !value.eq_ignore_ascii_case(b"false"),
                b"__SHARDINGKEY" => asked.sharded = true,
                b"TRAN_MSG" => asked.transaction = value.eq_ignore_ascii_case(b"true"),
                b"POP_CK" | b"MSG_REGION" | b"TRACE_ON" | b"CLUSTER" => asked.rewrite = true,
                _ if name.starts_with(b"TIMER_") => asked.timer.see(name, value),
                _ => {}
            }
        }
        Ok(asked)
    }
}

impl Asked<'_> {
    /// Its kind, as metrics name it.
    #[doc(alias = "TopicMessageType")]
    fn message_type(&self, prepares: bool) -> &'static str {
        match self {
            _ if prepares => "transaction",
            _ if self.sharded => "fifo",
            _ if self.delay_level > 0 || self.timer.is_timed() => "delay",
            _ => "normal",
        }
    }
}

fn delay_level(value: &[u8]) -> Result<i32, Reject> {
    std::str::from_utf8(value).ok().and_then(|level| level.trim().parse().ok()).ok_or_else(|| {
        let shown = String::from_utf8_lossy(value);
        Reject::new(
            response::MESSAGE_ILLEGAL,
            format!("property DELAY is `{}`, which is no delay level", short(&shown)),
        )
    })
}

fn sys_flag_not_brought(sys_flag: i32) -> Option<&'static str> {
    match sys_flag {
        _ if sys_flag & (SysFlag::INNER_BATCH | SysFlag::NEED_UNWRAP) != 0 => Some("an inner batch (sysFlag 0x80)"),
        _ => None,
    }
}

/// Is this a half message, whose producer will say whether it is delivered?
fn prepares(broker: &Broker, request: &SendMessage, asked: &Asked<'_>) -> Result<bool, Reject> {
    let flagged = request.sys_flag & SysFlag::TRANSACTION_MASK == SysFlag::TRANSACTION_PREPARED;
    if !(asked.transaction || flagged) {
        return Ok(false);
    }
    // Old consumers send a message that they could not work at back as it was, also one of a transaction.
    if asked.delay_level > 0 && request.reconsume_times.is_some_and(|times| times > 0) {
        return Ok(false);
    }
    let topic = short(&request.topic);
    if broker.config.reject_transaction {
        let remark = format!(
            "the broker[{}] sending transaction message is forbidden (rejectTransactionMessage), for topic[{topic}]",
            broker.config.name
        );
        return Err(Reject::new(response::NO_PERMISSION, remark));
    }
    if request.batch {
        let remark = format!("a batch for topic[{topic}] is a transaction; send transactions one by one");
        return Err(Reject::new(response::MESSAGE_ILLEGAL, remark));
    }
    Ok(true)
}

/// The topic's queues; creates the topic if that is allowed, and answers with the version in which it is there.
fn queues(broker: &Broker, request: &SendMessage, peer: &Peer) -> Result<(Queues, Option<i64>), Reject> {
    let topic = request.topic.as_str();
    if is_send_forbidden(topic) {
        return Err(Reject::new(response::NO_PERMISSION, format!("Sending message to topic[{topic}] is forbidden.")));
    }
    if let Some(queues) = broker.topics.queues(topic) {
        return Ok((queues, None));
    }
    check_topic_name(topic).map_err(|bad| Reject::new(response::INVALID_PARAMETER, bad.to_string()))?;
    let now = crate::now_millis();
    let unit = request.unit_mode.unwrap_or(false);
    let created = if topic.starts_with(RETRY_PREFIX) {
        let topic_sys_flag = if unit { UNIT_SUB } else { 0 };
        let config = TopicConfig { topic_sys_flag, ..TopicConfig::new(topic, 1, PERM_READ | PERM_WRITE) };
        broker.topics.ensure_with(config, now)
    } else {
        let wished = request.default_topic_queue_nums.min(QUEUES_MAX);
        let by = broker.creator(peer);
        broker.topics.auto_create(topic, &request.default_topic, wished, unit, &broker.config, by.as_deref(), now)
    };
    match created {
        Ok(queues) => Ok((queues, Some(*broker.topics.changed().borrow()))),
        Err(error) => Err(Reject::new(response::TOPIC_NOT_EXIST, error.to_string())),
    }
}

fn queue_id(broker: &Broker, call: &Call<SendMessage>, queues: Queues) -> Result<i32, Reject> {
    let asked = call.request.queue_id;
    if asked < 0 && queues.write > 0 {
        return Ok(broker.any_queue(queues.write));
    }
    if (0..queues.all()).contains(&asked) {
        return Ok(asked);
    }
    let remark = format!(
        "request queueId[{asked}] is illegal, topic[{}] has {} queues to write to and {} to read from. Producer: {}",
        short(&call.request.topic),
        queues.write,
        queues.read,
        call.peer.address()
    );
    Err(Reject::new(response::INVALID_PARAMETER, remark))
}

/// The dead letter topic, when a consumer that sends to a retry topic itself has tried often enough, or consumes in order.
#[doc(alias = "handleRetryAndDLQ")]
fn dead_letters(broker: &Broker, call: &Call<SendMessage>) -> Result<Option<String>, Reject> {
    let request = &call.request;
    let Some(group) = request.topic.strip_prefix(RETRY_PREFIX) else { return Ok(None) };
    let now = crate::now_millis();
    let config = broker.group(group, &call.peer)?;
    let max = retry::attempts_max(&config, call.version, request.max_reconsume_times);
    if request.reconsume_times.unwrap_or(0) <= max && !broker.consumes_in_order(group) {
        return Ok(None);
    }
    let topic = dead_letter_topic(group);
    let ensured = broker.topics.ensure(&topic, retry::DEAD_LETTER_QUEUES, PERM_READ | PERM_WRITE, now);
    ensured.map_err(|error| Reject::system_error(error.to_string()))?;
    Ok(Some(topic))
}

fn too_large_for_topic(topic: &str, size: usize, max: usize) -> Reject {
    let remark = format!(
        "the message is illegal: its body has {size} bytes, and topic[{}] takes {max} at most ({MESSAGE_SIZE_MAX}, an attribute \
         of the topic)",
        short(topic)
    );
    Reject::new(response::MESSAGE_ILLEGAL, remark)
}

fn check_batch(
    broker: &Broker,
    request: &SendMessage,
    asked: &Asked<'_>,
    body: &[u8],
    body_max: Option<usize>,
) -> Result<(), Reject> {
    let illegal = |remark: String| Err(Reject::new(response::MESSAGE_ILLEGAL, remark));
    let topic = short(&request.topic);
    if request.topic.starts_with(RETRY_PREFIX) || request.topic.starts_with(DLQ_PREFIX) {
        return illegal(format!(
            "batch request does not support retry group: topic[{topic}]; send its messages one by one"
        ));
    }
    if asked.delay_level > 0 || asked.timer.is_timed() {
        return illegal(format!("a batch for topic[{topic}] is delayed; send delayed messages one by one"));
    }
    let max = broker.config.max_message_size;
    if body.len() > max {
        return illegal(format!(
            "the message is illegal: the batch for topic[{topic}] has {} bytes; msg body length limit {max} B \
             (maxMessageSize): split it",
            body.len()
        ));
    }
    for entry in BatchEntries::new(body) {
        // What can't be read is refused by the store, which says where.
        let Ok(entry) = entry else { break };
        if let Some(max) = body_max.filter(|max| entry.body.len() > *max) {
            return Err(too_large_for_topic(&request.topic, entry.body.len(), max));
        }
        let entry = Asked::read(entry.properties)?;
        if entry.transaction {
            return illegal(format!(
                "a message in the batch for topic[{topic}] is a transaction; send transactions one by one"
            ));
        }
        if entry.delay_level > 0 || entry.timer.is_timed() {
            return illegal(format!(
                "a message in the batch for topic[{topic}] is delayed; send delayed messages one by one"
            ));
        }
    }
    Ok(())
}

/// The properties with what a broker adds, and without what it strips.
fn complete(broker: &Broker, properties: &[u8], asked: &Asked<'_>, unique_key: &str) -> Vec<u8> {
    let config = &broker.config;
    let trace_on = if config.trace_on { "true" } else { "false" };
    if asked.rewrite {
        return edit_properties(
            properties,
            &[
                (property::POP_CK, None),
                (property::UNIQ_KEY, Some(unique_key)),
                (property::MSG_REGION, Some(&config.region_id)),
                (property::TRACE_ON, Some(trace_on)),
                (property::CLUSTER, Some(&config.cluster_name)),
            ],
        );
    }
    const NAMES: usize = 1 + "MSG_REGION".len() + "TRACE_ON".len() + "CLUSTER".len() + 3 * 2 + "false".len();
    let key = if asked.unique_key.is_none() { "UNIQ_KEY".len() + 2 + unique_key.len() } else { 0 };
    let size = properties.len() + NAMES + config.region_id.len() + config.cluster_name.len() + key;
    let mut complete = Vec::with_capacity(size);
    complete.extend_from_slice(properties);
    if asked.unique_key.is_none() {
        push_property(&mut complete, property::UNIQ_KEY, unique_key);
    }
    push_property(&mut complete, property::MSG_REGION, &config.region_id);
    push_property(&mut complete, property::TRACE_ON, trace_on);
    push_property(&mut complete, property::CLUSTER, &config.cluster_name);
    complete
}

/// A key as clients make them, for a message whose client made none: address, process, time, counter.
#[doc(alias = "MessageClientIDSetter.createUniqID")]
fn new_unique_key(ip: IpAddr, born_timestamp: i64) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let ip = match ip {
        IpAddr::V4(ip) => u32::from(ip),
        IpAddr::V6(ip) => u128::from(ip) as u32,
    };
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    // The counter's high half takes the place of the class loader's hash.
    format!(
        "{ip:08X}{:04X}{:08X}{:08X}{:04X}",
        std::process::id() as u16,
        count >> 16,
        born_timestamp as u32,
        count as u16
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_say_what_is_asked() {
        let asked =
            Asked::read(b"KEYS\x01k\x02UNIQ_KEY\x01ID\x02DELAY\x013\x02WAIT\x01false\x02TIMER_DELAY_SEC\x0110\x02")
                .unwrap();
        assert_eq!((asked.unique_key, asked.delay_level, asked.wait, asked.rewrite), (Some("ID"), 3, false, false));
        assert!(asked.timer.is_timed());
        assert!(
            !Asked::read(b"TIMER_DELAY_SEC\x01\x02").unwrap().timer.is_timed(),
            "a property without a value is none"
        );
        assert!(!Asked::read(b"TIMER_DELAY_SEC\x0110\x02TIMER_OUT_MS\x011\x02").unwrap().timer.is_timed());
        assert!(Asked::read(b"TRAN_MSG\x01true\x02").unwrap().transaction);
        assert!(!Asked::read(b"TRAN_MSG\x01false\x02").unwrap().transaction);
        assert!(Asked::read(b"DELAY\x01soon\x02").is_err());
    }

    #[test]
    fn a_key_that_the_client_left_out_is_made() {
        let ip = "10.0.0.1".parse().unwrap();
        let key = new_unique_key(ip, 1_700_000_000_000);
        assert!(key.len() == 32 && key.starts_with("0A000001"), "{key}");
        assert_ne!(key, new_unique_key(ip, 1_700_000_000_000));
    }
}
