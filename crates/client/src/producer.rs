//! Sending: route → queue → broker; another queue, of another broker if there is one, when that one fails.

use crate::error::{Error, GO_AWAY, may_pass};
use crate::message::{Message, MessageQueue};
use crate::routes::{NEW_TOPIC_QUEUES, Route};
use crate::{Shared, now_millis};
use bytes::Bytes;
use protocol::code::response;
use protocol::message::QueueOffset;
use protocol::record::BatchEntry;
use protocol::request::send::SendMessage;
use protocol::topic::DEFAULT_TOPIC;
use remoting::client::RequestError;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A send takes no longer, all attempts together (`sendMsgTimeout`).
const SEND_TIMEOUT: Duration = Duration::from_secs(3);

/// So many attempts (1 + `retryTimesWhenSendFailed`).
const ATTEMPTS_MAX: u32 = 3;

/// The codes of an answer to a message that was stored.
const STORED: [i32; 4] =
    [response::SUCCESS, response::FLUSH_DISK_TIMEOUT, response::SLAVE_NOT_AVAILABLE, response::FLUSH_SLAVE_TIMEOUT];

/// Sends to one topic. Cheap to clone.
#[doc(alias = "DefaultMQProducer")]
#[derive(Clone)]
pub struct Producer {
    shared: Arc<Shared>,
    topic: Arc<str>,
    group: Arc<str>,
    /// Queues take turns.
    turn: Arc<AtomicUsize>,
    timeout: Duration,
}

/// Where a message was stored.
#[doc(alias = "SendResult")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// The id that we gave it, its `UNIQ_KEY`.
    pub message_id: String,
    /// The id that says where it lies; of a batch, one per message, joined by commas.
    pub offset_message_id: String,
    /// Its queue.
    pub queue: MessageQueue,
    /// Its place there; of a batch, the first one's.
    pub queue_offset: QueueOffset,
    /// How safe it is.
    pub status: SendStatus,
}

/// A stored message may be less safe than the broker is set up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendStatus {
    /// As safe as the broker promises.
    Ok,
    /// The disk did not confirm in time.
    FlushDiskTimeout,
    /// The slave did not confirm in time.
    FlushSlaveTimeout,
    /// There is no slave to copy it.
    SlaveNotAvailable,
}

impl Producer {
    pub(crate) fn new(shared: Arc<Shared>, topic: String) -> Producer {
        let turn = Arc::new(AtomicUsize::new(now_millis() as usize));
        Producer { shared, topic: topic.into(), group: "DEFAULT_PRODUCER".into(), turn, timeout: SEND_TIMEOUT }
    }

    /// Sends in the name of this producer group.
    pub fn group(self, group: impl Into<Arc<str>>) -> Producer {
        Producer { group: group.into(), ..self }
    }

    /// A send takes no longer than this, all attempts together; 3 s unless said otherwise.
    pub fn timeout(self, timeout: Duration) -> Producer {
        Producer { timeout, ..self }
    }

    /// Sends one message, to the queue whose turn it is.
    pub async fn send(&self, message: impl Into<Message>) -> Result<Sent, Error> {
        let message = message.into();
        let message_id = self.shared.unique_keys.next(now_millis());
        let properties = message.encode_properties(&message_id)?;
        self.store(message_id, properties, message.body, false).await
    }

    /// Sends all of `messages` in one request, to one queue: they lie there one behind the other. All or none is
    /// stored. Brokers limit the size of a batch as they limit that of a message, to 4 MiB unless told otherwise.
    pub async fn send_batch(&self, messages: impl IntoIterator<Item = Message>) -> Result<Sent, Error> {
        let mut body = Vec::new();
        let mut ids = Vec::new();
        for message in messages {
            let id = self.shared.unique_keys.next(now_millis());
            let properties = message.encode_properties(&id)?;
            BatchEntry { flag: 0, body: &message.body, properties: &properties }.encode(&mut body);
            ids.push(id);
        }
        if ids.is_empty() {
            return Err(Error::Message("a batch needs at least one message".into()));
        }
        let properties = Message::default().encode_properties(&self.shared.unique_keys.next(now_millis()))?;
        self.store(ids.join(","), properties, body.into(), true).await
    }

    /// Tries one queue after the other, until the time or the attempts are used up.
    async fn store(&self, message_id: String, properties: Vec<u8>, body: Bytes, batch: bool) -> Result<Sent, Error> {
        let properties = String::from_utf8(properties).map_err(|bad| Error::Message(bad.to_string()))?;
        let deadline = Instant::now() + self.timeout;
        let mut request = SendMessage {
            producer_group: self.group.to_string(),
            topic: self.topic.to_string(),
            default_topic: DEFAULT_TOPIC.into(),
            default_topic_queue_nums: NEW_TOPIC_QUEUES,
            born_timestamp: now_millis(),
            properties: Some(properties),
            batch,
            ..SendMessage::default()
        };
        let mut attempt = 1;
        let mut failed_broker = None;
        loop {
            let route = self.shared.routes.to_send(&self.topic).await?;
            let queue = self.choose(&route, failed_broker.as_deref())?;
            let address = route.master(&queue.broker_name).unwrap_or_default();
            request.queue_id = queue.queue_id;
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match self.shared.remoting.ask_any(address, &request, body.clone(), &STORED, left).await {
                Ok(answer) => {
                    return Ok(Sent {
                        message_id,
                        offset_message_id: answer.reply.msg_id,
                        queue: MessageQueue { queue_id: answer.reply.queue_id, ..queue.clone() },
                        queue_offset: QueueOffset(answer.reply.queue_offset),
                        status: status(answer.code),
                    });
                }
                Err(error) => error,
            };
            let go_away = error.code() == Some(GO_AWAY);
            if go_away {
                self.shared.remoting.disconnect(address);
            }
            let again =
                go_away || error.code().is_none_or(may_pass) && !matches!(error, RequestError::Malformed { .. });
            if !again || attempt == ATTEMPTS_MAX || Instant::now() >= deadline {
                return Err(error.into());
            }
            tracing::debug!(%queue, %error, attempt, "send failed; trying another queue");
            self.shared.routes.doubt(&self.topic);
            failed_broker = Some(queue.broker_name.clone());
            attempt += 1;
        }
    }

    /// The queue whose turn it is; preferably of a broker that did not just fail.
    fn choose<'a>(&self, route: &'a Route, failed_broker: Option<&str>) -> Result<&'a MessageQueue, Error> {
        let queues = &route.write_queues;
        let mut turns = (0..queues.len()).map(|_| {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            &queues[turn % queues.len()]
        });
        let first = turns.next().ok_or_else(|| Error::NotWritable { topic: self.topic.to_string() })?;
        if Some(first.broker_name.as_str()) != failed_broker {
            return Ok(first);
        }
        Ok(turns.find(|queue| Some(queue.broker_name.as_str()) != failed_broker).unwrap_or(first))
    }
}

fn status(code: i32) -> SendStatus {
    match code {
        response::FLUSH_DISK_TIMEOUT => SendStatus::FlushDiskTimeout,
        response::FLUSH_SLAVE_TIMEOUT => SendStatus::FlushSlaveTimeout,
        response::SLAVE_NOT_AVAILABLE => SendStatus::SlaveNotAvailable,
        _ => SendStatus::Ok,
    }
}
