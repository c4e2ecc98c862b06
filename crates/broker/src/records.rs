//! The messages of a queue, one by one, as a start reads them.

use protocol::message::QueueOffset;
use protocol::record::Record;
use store::{GetStatus, Store};

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
