//! Message trace: what clients that are told to (`enableMsgTrace`) write about the messages that they send and consume.
//!
//! They send it as ordinary messages to a trace topic, `RMQ_SYS_TRACE_TOPIC` unless told otherwise, with the ids and keys of the
//! messages as `KEYS`. The body is text: records end with 0x02, their fields with 0x01 between.

use serde::Serialize;

/// What a record of a trace tells of.
#[doc(alias = "TraceType")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum TraceKind {
    /// A producer has sent a message.
    Pub,
    /// A consumer begins to work at a message.
    SubBefore,
    /// It has ended that.
    SubAfter,
    /// A producer has ended a transaction.
    EndTransaction,
    /// A producer has recalled a message.
    Recall,
}

/// One record of a trace. What its kind does not have, or its client did not write, is `None`.
#[doc(alias = "TraceContext")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceRecord {
    /// What it tells of.
    pub kind: TraceKind,
    /// When, by the client's clock, in ms since 1970.
    pub timestamp: Option<i64>,
    /// The region that the broker said it is in.
    pub region: Option<String>,
    /// The producer or consumer group.
    pub group: Option<String>,
    /// The topic.
    pub topic: Option<String>,
    /// The message's id, as `SendResult.getMsgId()` is.
    pub message_id: String,
    /// Its tags.
    pub tags: Option<String>,
    /// Its keys.
    pub keys: Option<String>,
    /// The broker.
    pub store_host: Option<String>,
    /// The client, where it says so.
    pub client_host: Option<String>,
    /// Bytes of the body.
    pub body_length: Option<i64>,
    /// How long it took, in ms.
    pub cost_millis: Option<i64>,
    /// `NORMAL`, `TRANS_HALF`, `TRANS_COMMIT`, `DELAY` or `ORDER`.
    pub message_type: Option<&'static str>,
    /// The id of the stored record.
    pub offset_message_id: Option<String>,
    /// What joins the beginning and the end of one consumption.
    pub request_id: Option<String>,
    /// How often it was consumed in vain before.
    pub retry_times: Option<i32>,
    /// Did it go well?
    pub success: Option<bool>,
    /// `SUCCESS`, `TIME_OUT`, `EXCEPTION`, `RETURNNULL` or `FAILED`.
    pub consumed: Option<&'static str>,
    /// `COMMIT_MESSAGE`, `ROLLBACK_MESSAGE` or `UNKNOW`.
    pub transaction_state: Option<String>,
}

/// The records of a trace's body. What is no record is passed over.
#[doc(alias = "TraceDataEncoder.decoderFromTraceDataString")]
pub fn decode(body: &str) -> Vec<TraceRecord> {
    body.split('\u{2}').filter_map(record).collect()
}

fn record(text: &str) -> Option<TraceRecord> {
    let fields: Vec<&str> = text.split('\u{1}').collect();
    let text = |n: usize| fields.get(n).filter(|field| !field.is_empty()).map(|field| (*field).to_owned());
    let number = |n: usize| fields.get(n).and_then(|field| field.parse::<i64>().ok());
    let flag = |n: usize| fields.get(n).map(|field| field.eq_ignore_ascii_case("true"));
    let name = |n: usize, names: &[&'static str]| names.get(usize::try_from(number(n)?).ok()?).copied();
    let message_type = |n: usize| name(n, &["NORMAL", "TRANS_HALF", "TRANS_COMMIT", "DELAY", "ORDER"]);
    let blank = |kind, message_id: Option<String>| {
        Some(TraceRecord {
            kind,
            message_id: message_id?,
            timestamp: None,
            region: None,
            group: None,
            topic: None,
            tags: None,
            keys: None,
            store_host: None,
            client_host: None,
            body_length: None,
            cost_millis: None,
            message_type: None,
            offset_message_id: None,
            request_id: None,
            retry_times: None,
            success: None,
            consumed: None,
            transaction_state: None,
        })
    };
    let kind = *fields.first()?;
    let whose = |record: TraceRecord| TraceRecord { timestamp: number(1), region: text(2), group: text(3), ..record };
    let which = |record: TraceRecord| TraceRecord { topic: text(4), tags: text(6), keys: text(7), ..whose(record) };
    Some(match kind {
        // 4.4.0 writes no offset id with messages that it could not send, and no client's host.
        "Pub" => TraceRecord {
            store_host: text(8),
            body_length: number(9),
            cost_millis: number(10),
            message_type: message_type(11),
            offset_message_id: if fields.len() > 13 { text(12) } else { None },
            success: if fields.len() > 13 { flag(13) } else { flag(12) },
            client_host: text(14),
            ..which(blank(TraceKind::Pub, text(5))?)
        },
        "SubBefore" => TraceRecord {
            request_id: text(4),
            retry_times: number(6).and_then(|times| i32::try_from(times).ok()),
            keys: text(7),
            ..whose(blank(TraceKind::SubBefore, text(5))?)
        },
        "SubAfter" => TraceRecord {
            request_id: text(1),
            cost_millis: number(3),
            success: flag(4),
            keys: text(5),
            consumed: name(6, &["SUCCESS", "TIME_OUT", "EXCEPTION", "RETURNNULL", "FAILED"]),
            timestamp: number(7),
            group: text(8),
            ..blank(TraceKind::SubAfter, text(2))?
        },
        "EndTransaction" => TraceRecord {
            store_host: text(8),
            message_type: message_type(9),
            transaction_state: text(11),
            ..which(blank(TraceKind::EndTransaction, text(5))?)
        },
        "Recall" => TraceRecord { topic: text(4), success: flag(6), ..whose(blank(TraceKind::Recall, text(5))?) },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(records: &[&str]) -> String {
        records.iter().map(|record| record.replace('|', "\u{1}") + "\u{2}").collect()
    }

    #[test]
    fn records_of_all_kinds_are_read() {
        let read = decode(&body(&[
            "Pub|1700000000000|DefaultRegion|P|T|ID|tag|k1 k2|10.0.0.1:10911|7|3|3|OFFSETID|true|10.0.0.9",
            "SubBefore|1700000000001|DefaultRegion|G|REQ|ID|1|k1 k2",
            "SubAfter|REQ|ID|12|false|k1 k2|4|1700000000013|G",
            "EndTransaction|1700000000002|r|P|T|ID|tag|k|10.0.0.1:10911|2|ID|COMMIT_MESSAGE|false",
            "Recall|1700000000003|r|P|T|ID|true",
            "Whatever|comes|later",
        ]));
        assert_eq!(read.len(), 5);
        let [sent, begun, ended, committed, recalled] = &read[..] else { unreachable!() };
        assert_eq!((sent.message_type, sent.success, sent.cost_millis), (Some("DELAY"), Some(true), Some(3)));
        assert_eq!(
            (sent.offset_message_id.as_deref(), sent.client_host.as_deref()),
            (Some("OFFSETID"), Some("10.0.0.9"))
        );
        assert_eq!((begun.group.as_deref(), begun.retry_times), (Some("G"), Some(1)));
        assert_eq!((ended.request_id.as_ref(), ended.consumed), (begun.request_id.as_ref(), Some("FAILED")));
        assert_eq!((ended.timestamp, ended.success), (Some(1_700_000_000_013), Some(false)));
        assert_eq!(committed.transaction_state.as_deref(), Some("COMMIT_MESSAGE"));
        assert_eq!((recalled.topic.as_deref(), recalled.success), (Some("T"), Some(true)));
        assert!(read.iter().all(|record| record.message_id == "ID"));
    }

    #[test]
    fn records_of_old_clients_lack_their_last_fields() {
        let read = decode(&body(&["Pub|1|r|P|T|ID|||h|7|3|0|true", "SubAfter|REQ|ID|12|true|k|0", "Pub|1|r", ""]));
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].success, &read[0].offset_message_id, &read[0].tags), (Some(true), &None, &None));
        assert_eq!((read[1].consumed, read[1].timestamp), (Some("SUCCESS"), None));
    }
}
