//! Messages: as they are sent, and as they are received.

use crate::error::Error;
use crate::process_queue::ProcessQueue;
use bytes::Bytes;
use protocol::message::{Properties, QueueOffset, property, push_property};
use protocol::record::PROPERTIES_LENGTH_MAX;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// One queue of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageQueue {
    // In the order in which Java compares them.
    /// The topic.
    pub topic: String,
    /// The name that a master and its slaves share.
    pub broker_name: String,
    /// Its number on that broker.
    pub queue_id: i32,
}

/// `topic@broker#queue`
impl fmt::Display for MessageQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}#{}", self.topic, self.broker_name, self.queue_id)
    }
}

/// A message to send: a body, and what is said about it.
#[derive(Debug, Clone, Default)]
pub struct Message {
    pub(crate) body: Bytes,
    properties: Vec<(String, String)>,
    keys: Vec<String>,
}

impl Message {
    /// A message that says no more than its body.
    pub fn new(body: impl Into<Bytes>) -> Message {
        Message { body: body.into(), ..Message::default() }
    }

    /// Consumers choose by tag. A message has one; the last one given counts.
    pub fn tag(self, tag: impl Into<String>) -> Message {
        self.property(property::TAGS, tag)
    }

    /// It can be found by its keys. It may have several.
    pub fn key(mut self, key: impl Into<String>) -> Message {
        self.keys.push(key.into());
        self
    }

    /// Anything else. Names that RocketMQ itself uses, such as `DELAY`, do what they do there.
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Message {
        let (name, value) = (name.into(), value.into());
        self.properties.retain(|(known, _)| *known != name);
        self.properties.push((name, value));
        self
    }

    /// The properties as they travel, with the message's unique key.
    pub(crate) fn encode_properties(&self, unique_key: &str) -> Result<Vec<u8>, Error> {
        let keys = self.keys.join(" ");
        let keys = (!self.keys.is_empty()).then_some((property::KEYS, keys.as_str()));
        let own = [(property::UNIQ_KEY, unique_key), (property::WAIT, "true")];
        let given = self.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut encoded = Vec::with_capacity(128);
        for (name, value) in own.into_iter().chain(keys).chain(given) {
            if name.is_empty() || [name, value].iter().any(|text| text.contains(['\u{1}', '\u{2}'])) {
                let reason = format!("property `{name}` is empty or holds the character U+0001 or U+0002");
                return Err(Error::Message(reason));
            }
            push_property(&mut encoded, name, value);
        }
        if encoded.len() > PROPERTIES_LENGTH_MAX {
            let length = encoded.len();
            let reason = format!("its properties have {length} bytes, and {PROPERTIES_LENGTH_MAX} is the most");
            return Err(Error::Message(reason));
        }
        Ok(encoded)
    }
}

impl From<&str> for Message {
    fn from(body: &str) -> Message {
        Message::new(body.to_owned())
    }
}

impl From<String> for Message {
    fn from(body: String) -> Message {
        Message::new(body)
    }
}

impl From<Vec<u8>> for Message {
    fn from(body: Vec<u8>) -> Message {
        Message::new(body)
    }
}

impl From<Bytes> for Message {
    fn from(body: Bytes) -> Message {
        Message::new(body)
    }
}

/// A message as it was received.
#[doc(alias = "MessageExt")]
#[derive(Debug, Clone)]
pub struct ReceivedMessage {
    /// The topic it was sent to, also when it comes for another time from the group's retry topic.
    pub topic: String,
    /// The queue it came from.
    pub queue: MessageQueue,
    /// Its place in that queue.
    pub queue_offset: QueueOffset,
    /// The body, unpacked.
    pub body: Bytes,
    /// `name 0x01 value 0x02 …`
    pub(crate) properties: Bytes,
    /// When it was made, by its producer's clock, milliseconds since 1970.
    pub born_timestamp: i64,
    /// Who made it.
    pub born_host: SocketAddr,
    /// When it was stored, by the broker's clock, milliseconds since 1970.
    pub store_timestamp: i64,
    /// Where it was stored.
    pub store_host: SocketAddr,
    /// Its place in the broker's commit log.
    pub commit_log_offset: i64,
    /// How often it was received in vain.
    pub reconsume_times: i32,
}

impl ReceivedMessage {
    /// Its properties.
    pub fn properties(&self) -> Properties<'_> {
        Properties(&self.properties)
    }

    /// Its tag.
    pub fn tag(&self) -> Option<&str> {
        self.properties().get(property::TAGS)
    }

    /// Its keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.properties().get(property::KEYS).unwrap_or_default().split(' ').filter(|key| !key.is_empty())
    }

    /// The id that its producer gave it.
    pub fn message_id(&self) -> Option<&str> {
        self.properties().get(property::UNIQ_KEY)
    }
}

/// A received message that is not done with until it is acknowledged.
///
/// Without [`Delivery::ack`] the group's offset stays before it: someone gets it again, after the next start or when
/// the queue changes hands.
#[derive(Debug)]
pub struct Delivery {
    pub(crate) message: ReceivedMessage,
    pub(crate) process_queue: Arc<ProcessQueue>,
    /// Room for other messages once this one is dropped.
    pub(crate) _room: OwnedSemaphorePermit,
}

impl Delivery {
    /// Done: the group's offset may pass it. Offsets are told to the broker every 5 s and at the end, so a crash
    /// brings up to 5 s of messages again.
    pub fn ack(self) -> ReceivedMessage {
        self.process_queue.done(self.message.queue_offset);
        self.message
    }
}

impl Deref for Delivery {
    type Target = ReceivedMessage;

    fn deref(&self) -> &ReceivedMessage {
        &self.message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(message: Message) -> String {
        String::from_utf8(message.encode_properties("ID").unwrap()).unwrap().replace('\u{1}', "=").replace('\u{2}', ";")
    }

    #[test]
    fn properties_travel_behind_the_unique_key() {
        assert_eq!(encoded(Message::new("x")), "UNIQ_KEY=ID;WAIT=true;");
        let message = Message::new("x").key("1").tag("old").property("a", "b").key("2").tag("new");
        assert_eq!(encoded(message), "UNIQ_KEY=ID;WAIT=true;KEYS=1 2;a=b;TAGS=new;");
    }

    #[test]
    fn properties_that_would_tear_the_others_are_refused() {
        let refused = |message: Message| matches!(message.encode_properties("ID"), Err(Error::Message(_)));
        assert!(refused(Message::new("x").property("a", "b\u{2}c")));
        assert!(refused(Message::new("x").property("a\u{1}", "b")));
        assert!(refused(Message::new("x").property("", "b")));
        assert!(refused(Message::new("x").property("a", "b".repeat(40_000))));
    }
}
