//! Stored messages: those of a queue one by one, as a start reads them; one of them, to be put again.

use protocol::message::QueueOffset;
use protocol::record::Record;
use store::{GetStatus, PutMessage, Store};

/// So many messages, and so many bytes of them, are read at a time.
const BATCH_COUNT: usize = 256;
const BATCH_BYTES: usize = 1024 * 1024;

/// Calls `each` with the messages of a queue from `from` on, to its end. What can't be read is told of, and passed over.
pub(crate) fn for_each(
    store: &Store,
    topic: &str,
    queue_id: u32,
    from: QueueOffset,
    mut each: impl FnMut(&Record<'_>),
) {
    let mut next = from.max(store.min_offset(topic, queue_id));
    while next < store.max_offset(topic, queue_id) {
        let got = store.get_message(topic, queue_id, next, BATCH_COUNT, BATCH_BYTES, &|_| true);
        if let GetStatus::Damaged(damage) = &got.status {
            tracing::error!(%damage, "a message that the start needs is damaged, and passed over");
        }
        for part in &got.parts {
            match part.to_bytes() {
                Ok(bytes) => Record::all(&bytes).flatten().for_each(|record| each(&record)),
                Err(error) => {
                    tracing::error!(topic, queue_id, from = next.0, %error, "messages that the start needs can't be read");
                }
            }
        }
        next = got.next.max(QueueOffset(next.0 + 1));
    }
}

/// A stored message, to be put again: as it is, where it is, unless the caller says otherwise.
pub(crate) fn as_put<'a>(record: &Record<'a>) -> PutMessage<'a> {
    PutMessage {
        topic: record.topic,
        queue_id: record.queue_id as u32,
        flag: record.flag,
        sys_flag: record.sys_flag,
        born_timestamp: record.born_timestamp,
        born_host: record.born_host,
        store_host: record.store_host,
        reconsume_times: record.reconsume_times,
        prepared_transaction_offset: record.prepared_transaction_offset,
        body: record.body,
        properties: record.properties,
    }
}
