//! Messages of any delay: recalled by who sent them, listed, cancelled and fired by operators.

use super::{Empty, headers, requests};
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};

/// As Java's: padded when written, and read with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a sender needs to recall a message that waits: base64 of `v1 TOPIC BROKER TIME KEY`.
#[doc(alias = "RecallMessageHandle")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecallHandle {
    /// Where the message will be delivered.
    pub topic: String,
    /// The broker that has it.
    pub broker_name: String,
    /// One millisecond behind the begin of its tick (`TIMER_OUT_MS`), in ms since 1970.
    pub timestamp: i64,
    /// Its unique key.
    pub unique_key: String,
}

impl RecallHandle {
    /// As it travels.
    pub fn encode(&self) -> String {
        let RecallHandle { topic, broker_name, timestamp, unique_key } = self;
        BASE64.encode(format!("v1 {topic} {broker_name} {timestamp} {unique_key}"))
    }

    /// Reads one. A time that is no number is −1, which no message has.
    pub fn decode(text: &str) -> Option<RecallHandle> {
        let text = String::from_utf8(BASE64.decode(text).ok()?).ok()?;
        let mut parts = text.splitn(5, ' ');
        if parts.next() != Some("v1") {
            return None;
        }
        let mut part = || parts.next().map(str::to_owned);
        let (topic, broker_name, timestamp, unique_key) = (part()?, part()?, part()?, part()?);
        Some(RecallHandle { topic, broker_name, timestamp: timestamp.parse().unwrap_or(-1), unique_key })
    }
}

headers! {
    /// RECALL_MESSAGE (370): a message that waits shall not be delivered.
    #[doc(alias = "RecallMessageRequestHeader")]
    pub struct RecallMessage {
        /// Who sent it.
        producer_group: Option<String> = "producerGroup",
        /// Its topic.
        topic: String = "topic",
        /// See [`RecallHandle`].
        recall_handle: String = "recallHandle",
    }

    /// Answers [`RecallMessage`].
    #[doc(alias = "RecallMessageResponseHeader")]
    pub struct RecallMessageReply {
        /// The unique key of the message.
        msg_id: String = "msgId",
    }

    /// LIST_TIMERS (90010), ours alone: messages that wait, in the order in which the wheel comes to them. Answered with a
    /// body of [`PendingTimers`].
    pub struct ListTimers {
        /// Where the list before ended (`next`); absent: from the beginning.
        from: Option<String> = "from",
        /// At most so many, and never more than 1,000. The answer may have fewer, and `next`: no more are looked at for one.
        max: i32 = "max",
    }

    /// CANCEL_TIMER (90011), ours alone: a message that waits shall not be delivered.
    pub struct CancelTimer {
        /// See [`RecallHandle`].
        recall_handle: String = "recallHandle",
    }

    /// FIRE_TIMER (90012), ours alone: a message that waits is delivered now, and not again when it is due.
    pub struct FireTimer {
        /// See [`RecallHandle`].
        recall_handle: String = "recallHandle",
    }
}

/// The answer to [`ListTimers`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PendingTimers {
    /// Those that wait.
    pub timers: Vec<PendingTimer>,
    /// Where the list goes on; `None`: this was all.
    pub next: Option<String>,
}

/// A message that waits, as an operator sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PendingTimer {
    /// When it will be delivered, in ms since 1970: when the tick is over that holds its time.
    pub due: i64,
    /// Where to.
    pub topic: String,
    /// The queue there.
    pub queue_id: i32,
    /// Its unique key.
    pub unique_key: String,
    /// Its keys.
    pub keys: String,
    /// When its producer made it, in ms since 1970.
    pub born: i64,
    /// The message id of what waits: where it is stored.
    pub offset_message_id: String,
    /// Names it, to recall, cancel or fire it.
    pub recall_handle: String,
}

requests! {
    RecallMessage: RECALL_MESSAGE => RecallMessageReply;
    ListTimers: LIST_TIMERS => Empty;
    CancelTimer: CANCEL_TIMER => Empty;
    FireTimer: FIRE_TIMER => Empty;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_as_apaches() {
        // Of a message that Apache's 5.5.0 took.
        let text = "djEgVCBicm9rZXItYSAxNzk1Mjg3OTcxMDAxIHJlYw==";
        let handle = RecallHandle::decode(text).unwrap();
        let RecallHandle { topic, broker_name, timestamp, unique_key } = &handle;
        assert_eq!((&**topic, &**broker_name, *timestamp, &**unique_key), ("T", "broker-a", 1_795_287_971_001, "rec"));
        assert_eq!(handle.encode(), text);
        assert_eq!(RecallHandle::decode(text.trim_end_matches('=')), Some(handle));
        for bad in
            ["", "xyz", "\u{1}", &BASE64.encode("v2 T b 1 k"), &BASE64.encode("v1 T b 1"), &BASE64.encode(b"\xff")]
        {
            assert_eq!(RecallHandle::decode(bad), None, "{bad}");
        }
        assert_eq!(RecallHandle::decode(&BASE64.encode("v1 T b x k")).unwrap().timestamp, -1);
    }
}
