//! Sending: one message, a batch, and a message sent back by its consumer.

use super::{Empty, Field, Header, Malformed, Request, headers, requests};
use crate::code::request::{
    SEND_BATCH_MESSAGE, SEND_MESSAGE, SEND_MESSAGE_V2, SEND_REPLY_MESSAGE, SEND_REPLY_MESSAGE_V2,
};
use crate::command::{Command, Fields as _};
use std::sync::Arc;

/// SEND_MESSAGE (10), SEND_MESSAGE_V2 (310, the same with one-letter keys) and SEND_BATCH_MESSAGE (320). The body is
/// the message's, or the encoded batch.
#[doc(alias = "SendMessageRequestHeader")]
#[doc(alias = "SendMessageRequestHeaderV2")]
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SendMessage {
    /// Who sends; only for statistics and rights.
    pub producer_group: String,
    /// Where to.
    pub topic: String,
    /// The topic whose settings an unknown topic is created with, `TBW102`.
    pub default_topic: String,
    /// How many queues the sender would like an unknown topic to have.
    pub default_topic_queue_nums: i32,
    /// The queue; negative: any.
    pub queue_id: i32,
    /// See `message::SysFlag`.
    pub sys_flag: i32,
    /// Milliseconds since 1970, the sender's clock.
    pub born_timestamp: i64,
    /// The user's own number; kept and handed out.
    pub flag: i32,
    /// `name 0x01 value 0x02 …`.
    pub properties: Option<String>,
    /// How often the message has been consumed in vain, when a consumer sends it to a retry topic itself.
    pub reconsume_times: Option<i32>,
    /// Unit mode; kept.
    pub unit_mode: Option<bool>,
    /// How often at most, when a consumer sends it to a retry topic itself.
    pub max_reconsume_times: Option<i32>,
    /// The body is an encoded batch.
    pub batch: bool,
}

impl Request for SendMessage {
    const CODES: &'static [i32] = &[SEND_MESSAGE_V2, SEND_MESSAGE, SEND_BATCH_MESSAGE];
    type Reply = SendMessageReply;

    fn read(command: &Command) -> Result<SendMessage, Malformed> {
        if command.code == SEND_MESSAGE { SendMessage::read_long(command) } else { SendMessage::read_short(command) }
    }

    fn write(&self) -> Command {
        let mut command = Command::request(if self.batch { SEND_BATCH_MESSAGE } else { SEND_MESSAGE_V2 });
        let ext = &mut command.ext;
        ext.push_str("a", &self.producer_group);
        ext.push_str("b", &self.topic);
        ext.push_str("c", &self.default_topic);
        ext.push_number("d", self.default_topic_queue_nums.into());
        ext.push_number("e", self.queue_id.into());
        ext.push_number("f", self.sys_flag.into());
        ext.push_number("g", self.born_timestamp);
        ext.push_number("h", self.flag.into());
        self.properties.write("i", ext);
        ext.push_number("j", self.reconsume_times.unwrap_or(0).into());
        ext.push("k", self.unit_mode.unwrap_or(false));
        self.max_reconsume_times.write("l", ext);
        ext.push("m", self.batch);
        command
    }
}

/// SEND_REPLY_MESSAGE_V2 (325) and SEND_REPLY_MESSAGE (324, with the long keys): the answer to a message whose sender waits
/// for one. The body is the message's.
#[doc(alias = "ReplyMessageRequestHeader")]
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SendReply(pub SendMessage);

impl Request for SendReply {
    const CODES: &'static [i32] = &[SEND_REPLY_MESSAGE_V2, SEND_REPLY_MESSAGE];
    type Reply = SendMessageReply;

    fn read(command: &Command) -> Result<SendReply, Malformed> {
        let long = command.code == SEND_REPLY_MESSAGE;
        Ok(SendReply(if long { SendMessage::read_long(command)? } else { SendMessage::read_short(command)? }))
    }

    fn write(&self) -> Command {
        Command { code: SEND_REPLY_MESSAGE_V2, ..self.0.write() }
    }
}

impl SendMessage {
    fn read_long(command: &Command) -> Result<SendMessage, Malformed> {
        headers! {
            /// Code 10's keys.
            pub struct Long {
                producer_group: String = "producerGroup",
                topic: String = "topic",
                default_topic: Option<String> = "defaultTopic",
                default_topic_queue_nums: Option<i32> = "defaultTopicQueueNums",
                queue_id: i32 = "queueId",
                sys_flag: i32 = "sysFlag",
                born_timestamp: i64 = "bornTimestamp",
                flag: i32 = "flag",
                properties: Option<String> = "properties",
                reconsume_times: Option<i32> = "reconsumeTimes",
                unit_mode: Option<bool> = "unitMode",
                max_reconsume_times: Option<i32> = "maxReconsumeTimes",
                batch: Option<bool> = "batch",
            }
        }
        let long = Long::read_fields(&command.ext)?;
        Ok(SendMessage {
            producer_group: long.producer_group,
            topic: long.topic,
            default_topic: long.default_topic.unwrap_or_default(),
            default_topic_queue_nums: long.default_topic_queue_nums.unwrap_or(0),
            queue_id: long.queue_id,
            sys_flag: long.sys_flag,
            born_timestamp: long.born_timestamp,
            flag: long.flag,
            properties: long.properties,
            reconsume_times: long.reconsume_times,
            unit_mode: long.unit_mode,
            max_reconsume_times: long.max_reconsume_times,
            batch: long.batch.unwrap_or(false),
        })
    }

    /// One pass over the fields, by letter: this is the hot path.
    fn read_short(command: &Command) -> Result<SendMessage, Malformed> {
        let mut send = SendMessage { batch: command.code == SEND_BATCH_MESSAGE, ..SendMessage::default() };
        let mut seen = 0u32;
        for (letter, value) in command.ext.letters().filter(|(letter, _)| (b'a'..=b'm').contains(letter)) {
            seen |= 1 << (letter - b'a');
            match letter {
                b'a' => send.producer_group = value.to_owned(),
                b'b' => send.topic = value.to_owned(),
                b'c' => send.default_topic = value.to_owned(),
                b'd' => send.default_topic_queue_nums = Field::read("d", Some(value))?,
                b'e' => send.queue_id = Field::read("e", Some(value))?,
                b'f' => send.sys_flag = Field::read("f", Some(value))?,
                b'g' => send.born_timestamp = Field::read("g", Some(value))?,
                b'h' => send.flag = Field::read("h", Some(value))?,
                b'i' => send.properties = Some(value.to_owned()),
                b'j' => send.reconsume_times = Field::read("j", Some(value))?,
                b'k' => send.unit_mode = Field::read("k", Some(value))?,
                b'l' => send.max_reconsume_times = Field::read("l", Some(value))?,
                _ => send.batch |= bool::read("m", Some(value))?,
            }
        }
        const NEEDED: [(u8, &str); 6] = [(b'a', "a"), (b'b', "b"), (b'e', "e"), (b'f', "f"), (b'g', "g"), (b'h', "h")];
        match NEEDED.iter().find(|(letter, _)| seen & 1 << (letter - b'a') == 0) {
            Some((_, key)) => Err(Malformed::Missing(key)),
            None => Ok(send),
        }
    }
}

headers! {
    /// Answers a send that was stored: codes 0, 10, 11 and 12.
    #[doc(alias = "SendMessageResponseHeader")]
    pub struct SendMessageReply {
        /// Offset message id; of a batch, one per message, joined by commas.
        msg_id: String = "msgId",
        /// Where it was put.
        queue_id: i32 = "queueId",
        /// Its position in the queue; of a batch, the first one's.
        queue_offset: i64 = "queueOffset",
        /// The sender's unique key.
        transaction_id: Option<String> = "transactionId",
        /// With it a message that waits for its time can be recalled; see [`super::timer::RecallHandle`].
        recall_handle: Option<String> = "recallHandle",
        /// Region, which clients read unguarded.
        region: Option<Arc<str>> = "MSG_REGION",
        /// Are clients to trace? They read it unguarded.
        trace_on: Option<bool> = "TRACE_ON",
        /// "true": a message with its `DEDUP_ID` was stored before; all else is that one's. Of a batch: all of its messages
        /// were. CometMQ's own.
        duplicate: Option<bool> = "duplicate",
        /// Of a batch: which of its messages were stored before, numbered from 0, joined by commas. CometMQ's own.
        duplicates: Option<String> = "duplicates",
        /// With it: the place of each message of the batch, as `queue:offset`, joined by commas. CometMQ's own.
        places: Option<String> = "places",
    }

    /// PUSH_REPLY_MESSAGE_TO_CLIENT (326), from server to client: the answer that it waits for. The body is the message's.
    #[doc(alias = "ReplyMessageRequestHeader")]
    pub struct PushReply {
        /// Who answers.
        producer_group: String = "producerGroup",
        /// The topic of answers.
        topic: String = "topic",
        /// As it came with the answer.
        default_topic: String = "defaultTopic",
        /// As it came with the answer.
        default_topic_queue_nums: i32 = "defaultTopicQueueNums",
        /// Its queue.
        queue_id: i32 = "queueId",
        /// See `message::SysFlag`.
        sys_flag: i32 = "sysFlag",
        /// Milliseconds since 1970, the answerer's clock.
        born_timestamp: i64 = "bornTimestamp",
        /// The user's own number.
        flag: i32 = "flag",
        /// `name 0x01 value 0x02 …`.
        properties: Option<String> = "properties",
        /// How often the answer was sent in vain.
        reconsume_times: Option<i32> = "reconsumeTimes",
        /// Unit mode.
        unit_mode: Option<bool> = "unitMode",
        /// The answerer's address.
        born_host: String = "bornHost",
        /// The broker's address.
        store_host: String = "storeHost",
        /// When the broker got it, milliseconds since 1970.
        store_timestamp: i64 = "storeTimestamp",
    }

    /// CONSUMER_SEND_MSG_BACK (36): deliver this message again later.
    #[doc(alias = "ConsumerSendMsgBackRequestHeader")]
    pub struct SendBack {
        /// Where the message lies in the commit log.
        offset: i64 = "offset",
        /// Whose consumption failed.
        group: String = "group",
        /// Negative: dead letter; 0: the server chooses by the number of attempts; else a delay level.
        delay_level: i32 = "delayLevel",
        /// For people only.
        origin_msg_id: Option<String> = "originMsgId",
        /// For people only.
        origin_topic: Option<String> = "originTopic",
        /// Attempts before the dead letter topic; absent: as the group is configured.
        max_reconsume_times: Option<i32> = "maxReconsumeTimes",
    }
}

requests! {
    PushReply: PUSH_REPLY_MESSAGE_TO_CLIENT => Empty;
    SendBack: CONSUMER_SEND_MSG_BACK => Empty;
}
