//! The record that stands where a damaged one stood, after `cometmq store repair`.
//!
//! Apache's recovery ends the log at the first record that is not sound, so damage in the middle cannot stay as it is. In
//! its place goes a sound record of the same length that no store hands out: its type is that of a roll-back mark, which
//! has no entry in any queue or index. It says which message was lost. Its topic is [`TOPIC`], so the entry that pointed
//! to the message, and points to this now, cannot be mistaken for that of a message.

use std::net::{Ipv4Addr, SocketAddr};

use protocol::message::push_property;
use protocol::message::{CommitLogOffset, Properties, QueueOffset, SysFlag, TransactionType, crc31, property};
use protocol::record::{Record, RecordFields};

/// Topic of such records.
pub(crate) const TOPIC: &str = "%LOST%";
/// What reads say of such a message.
pub(crate) const REASON: &str = "it was damaged, and `cometmq store repair` moved its bytes to quarantine";
/// No such record has fewer bytes; a stretch with fewer cannot be filled.
pub(crate) const LEN_MIN: i64 = 91 + TOPIC.len() as i64;

/// Which message was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub topic: String,
    pub queue_id: u32,
    pub queue_offset: i64,
}

/// A record of `len` bytes at `at`, in place of a message if it is known which.
pub(crate) fn encode(at: i64, len: i64, lost: Option<&Lost>, store_timestamp: i64) -> Vec<u8> {
    let host = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let mut fields = RecordFields {
        topic: TOPIC,
        queue_id: lost.map_or(0, |lost| lost.queue_id as i32),
        flag: 0,
        queue_offset: QueueOffset(lost.map_or(0, |lost| lost.queue_offset)),
        commit_log_offset: CommitLogOffset(at),
        sys_flag: SysFlag::TRANSACTION_ROLLBACK,
        born_timestamp: store_timestamp,
        born_host: host,
        store_timestamp,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: b"",
        body_crc: 0,
        properties: b"",
    };
    let room = |fields: &RecordFields<'_>| (len as usize).saturating_sub(fields.encoded_len());
    let mut properties = Vec::new();
    if let Some(lost) = lost {
        push_property(&mut properties, property::REAL_TOPIC, &lost.topic);
    }
    if properties.len() <= room(&fields) {
        fields.properties = &properties;
    }
    let mut body = REASON.as_bytes().to_vec();
    body.resize(room(&fields), b' ');
    (fields.body, fields.body_crc) = (&body, crc31(&body));
    let mut bytes = Vec::with_capacity(len as usize);
    fields.encode(&mut bytes);
    bytes
}

/// Is this such a record?
pub(crate) fn is_lost(record: &Record<'_>) -> bool {
    record.topic == TOPIC && SysFlag(record.sys_flag).transaction() == TransactionType::Rollback
}

/// The message in whose place a record stands, if it is such a record and says so.
pub(crate) fn of(record: &Record<'_>) -> Option<Lost> {
    if !is_lost(record) {
        return None;
    }
    Some(Lost {
        topic: Properties(record.properties).get(property::REAL_TOPIC)?.to_owned(),
        queue_id: u32::try_from(record.queue_id).ok()?,
        queue_offset: record.queue_offset.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::put::is_queued;

    #[test]
    fn it_has_every_length_and_is_sound_and_never_queued() {
        let lost = Lost { topic: "Orders".into(), queue_id: 3, queue_offset: 17 };
        for len in (LEN_MIN..300).chain([100_000]) {
            let bytes = encode(4096, len, Some(&lost), 1_700_000_000_000);
            assert_eq!(bytes.len() as i64, len);
            let record = Record::parse(&bytes).unwrap();
            record.verify_crc().unwrap();
            assert_eq!(record.commit_log_offset.0, 4096);
            assert!(is_lost(&record) && !is_queued(record.sys_flag));
            // 18 bytes say which topic.
            assert_eq!(of(&record), (len >= LEN_MIN + 18).then(|| lost.clone()));
        }
    }
}
