//! Write path: from a checked message to bytes on their way into the commit log.
//!
//! 1. check what no record can hold
//! 2. checksum the body, hash tags and keys               (no lock)
//! 3. give it a queue offset, a timestamp and its place   (under the log's `appender`)
//! 4. encode it into the staging buffer                   (the same)
//!
//! The bytes leave with the next `write_out`. Queues and index learn of the message when it may be read: see `dispatch`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::message::{CommitLogOffset, QueueOffset, SysFlag, TransactionType, crc31};
use protocol::record::{BatchEntries, BatchEntry, PROPERTIES_LENGTH_MAX, RecordError, RecordFields};

use crate::commit_log::{Appender, BLANK_LEN};
use crate::consume_queue::Queue;
use crate::dispatch::{Dispatch, Keys};
use crate::failure::Failure;
use crate::space::Bytes;
use crate::{Inner, Store};

/// The longest topic in bytes; only names of retry and dead-letter topics come near it.
pub const TOPIC_LENGTH_MAX: usize = 255;
/// What the records of a batch may have beyond the longest body, in bytes.
const RECORD_ALLOWANCE: usize = 64 << 10;

/// A message to store. The store decides its place, its queue offset and its store timestamp; all else is as given.
#[derive(Clone, Copy, Debug)]
pub struct PutMessage<'a> {
    /// Topic, 1 to 255 bytes without `/`.
    pub topic: &'a str,
    /// Queue of the topic.
    pub queue_id: u32,
    /// The producer's own flag.
    pub flag: i32,
    /// See [`SysFlag`]; the store sets the IPv6 bits.
    pub sys_flag: i32,
    /// When the producer made it, in ms since 1970.
    pub born_timestamp: i64,
    /// Who made it.
    pub born_host: SocketAddr,
    /// Address under which this store is known; part of the message's id.
    pub store_host: SocketAddr,
    /// How often its consumption failed.
    pub reconsume_times: i32,
    /// Commit log offset of the half message that this commits, else 0.
    pub prepared_transaction_offset: i64,
    /// Body; of a batch: its entries, see [`BatchEntries`].
    pub body: &'a [u8],
    /// Properties as they shall be stored, at most 32767 bytes. Those of a batch stand in its entries.
    pub properties: &'a [u8],
}

/// Where a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// First byte of its record in the commit log.
    pub at: CommitLogOffset,
    /// First byte behind its record: what [`Store::flushed`] waits for.
    pub end: CommitLogOffset,
    /// Its number in its queue; 0 for half messages and roll-back marks.
    pub queue_offset: QueueOffset,
    /// When it was stored, in ms since 1970.
    pub store_timestamp: i64,
}

/// Where the messages of a batch went. Their queue offsets follow one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    /// First byte of each record in the commit log.
    pub at: Vec<CommitLogOffset>,
    /// First byte behind the last record.
    pub end: CommitLogOffset,
    /// Queue offset of the first.
    pub queue_offset: QueueOffset,
    /// When they were stored, in ms since 1970.
    pub store_timestamp: i64,
}

/// Why a message was not stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PutError {
    /// The topic cannot be a directory name, or is too long.
    #[error("topic `{topic}` cannot be stored: a topic has 1 to {TOPIC_LENGTH_MAX} bytes and no `/`")]
    Topic {
        /// The topic.
        topic: String,
    },
    /// The queue cannot be numbered in a record.
    #[error("queue {queue_id} of topic `{topic}` cannot be stored: queues are numbered 0 to 2147483647")]
    QueueId {
        /// The topic.
        topic: String,
        /// Number of the queue.
        queue_id: u32,
    },
    /// The body is longer than a body may be.
    #[error("the body of a message for topic `{topic}` has {len} bytes, at most {max} are allowed (maxMessageSize)")]
    BodyTooLarge {
        /// Topic of the message.
        topic: String,
        /// Bytes of the body.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The properties do not fit into a record.
    #[error(
        "the properties of a message for topic `{topic}` have {len} bytes, at most {PROPERTIES_LENGTH_MAX} are allowed"
    )]
    PropertiesTooLarge {
        /// Topic of the message.
        topic: String,
        /// Bytes of the properties.
        len: usize,
    },
    /// A message, or a batch, that must lie in one file does not fit into any.
    #[error("a message or batch for topic `{topic}` takes {len} bytes of the log, at most {max} are possible")]
    RecordTooLarge {
        /// Topic of the message.
        topic: String,
        /// Bytes of its records.
        len: usize,
        /// Bytes possible.
        max: usize,
    },
    /// The body of a batch is no batch.
    #[error("the batch for topic `{topic}` cannot be read at message {n}: {error}")]
    Batch {
        /// Topic of the batch.
        topic: String,
        /// Messages read before.
        n: usize,
        /// What is wrong.
        error: RecordError,
    },
    /// The batch has no message.
    #[error("the batch for topic `{topic}` is empty")]
    EmptyBatch {
        /// Topic of the batch.
        topic: String,
    },
    /// The topic is being deleted at this moment.
    #[error("topic `{topic}` is just being deleted; send it again if it should be there anew")]
    TopicDeleted {
        /// The topic.
        topic: String,
    },
    /// The store takes no messages for now.
    #[error("the store takes no messages: {cause}")]
    NotWriteable {
        /// Why.
        cause: Failure,
    },
    /// With `SYNC_FLUSH`, more comes in than the disk keeps up with.
    #[error(
        "the disk of {path} is too slow for what comes in: {} in {messages} messages wait to be flushed, which last took \
         {:.1} s; send less, or later, or give the store a faster disk",
        Bytes(*waiting), took.as_secs_f32(), path = .path.display()
    )]
    Busy {
        /// Directory of the commit log.
        path: PathBuf,
        /// Bytes that wait.
        waiting: u64,
        /// Messages that wait.
        messages: usize,
        /// How long the disk took for the last flush, or has been at this one.
        took: Duration,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

impl From<Failure> for PutError {
    fn from(cause: Failure) -> PutError {
        PutError::NotWriteable { cause }
    }
}

impl Store {
    /// Stores one message. It is on its way when this returns: [`Store::write_out`] and [`Store::flushed`] bring it home.
    ///
    /// Its body may be as long as a file of the log has room: what was stored before is stored again whatever the limit is
    /// by then. Who takes messages from outside checks them against theirs.
    #[doc(alias = "asyncPutMessage")]
    pub fn put_message(&self, put: &PutMessage<'_>) -> Result<Stored, PutError> {
        self.inner.put_message(put)
    }

    /// Stores the messages of a client batch: all in one file, under queue offsets that follow one another.
    ///
    /// Flag, body and properties are those of each entry, the rest is common to all. They are stored all or none.
    #[doc(alias = "asyncPutMessages")]
    pub fn put_batch(&self, put: &PutMessage<'_>) -> Result<StoredBatch, PutError> {
        self.inner.put_batch(put)
    }
}

/// A message that is ready to be given its place.
struct Prepared<'a> {
    fields: RecordFields<'a>,
    keys: Keys,
    len: usize,
}

impl Inner {
    pub(crate) fn put_message(&self, put: &PutMessage<'_>) -> Result<Stored, PutError> {
        let queue = self.queue_for(put)?;
        let entry = BatchEntry { flag: put.flag, body: put.body, properties: put.properties };
        let mut prepared = self.prepare(put, &queue, entry)?;
        self.check_len(put, prepared.len, usize::MAX)?;
        self.check_backlog()?;
        let now = self.config.clock.now_millis();
        let (stored, full) = self.log.append(|appender| -> Result<_, PutError> {
            self.check_open(&queue)?;
            appender.make_room(prepared.len);
            Ok(append(appender, queue, &mut prepared, now))
        })?;
        let stored = stored?;
        if full {
            // Should it fail, who brings the message home hears of it.
            let _ = self.write_out();
        }
        Ok(stored)
    }

    pub(crate) fn put_batch(&self, put: &PutMessage<'_>) -> Result<StoredBatch, PutError> {
        let queue = self.queue_for(put)?;
        let mut batch = Vec::new();
        let mut len = 0;
        let max = self.limits.max_message_size();
        for entry in BatchEntries::new(put.body) {
            let wrong = |error| PutError::Batch { topic: put.topic.to_owned(), n: batch.len(), error };
            let entry = entry.map_err(wrong)?;
            if entry.body.len() > max {
                return Err(PutError::BodyTooLarge { topic: put.topic.to_owned(), len: entry.body.len(), max });
            }
            let prepared = self.prepare(put, &queue, entry)?;
            len += prepared.len;
            batch.push(prepared);
        }
        if batch.is_empty() {
            return Err(PutError::EmptyBatch { topic: put.topic.to_owned() });
        }
        self.check_len(put, len, max + RECORD_ALLOWANCE)?;
        self.check_backlog()?;
        let now = self.config.clock.now_millis();
        let (stored, full) = self.log.append(|appender| -> Result<_, PutError> {
            self.check_open(&queue)?;
            appender.make_room(len);
            Ok(batch.iter_mut().map(|prepared| append(appender, queue.clone(), prepared, now)).collect::<Vec<_>>())
        })?;
        let stored = stored?;
        if full {
            // Should it fail, who brings the message home hears of it.
            let _ = self.write_out();
        }
        match (stored.first(), stored.last()) {
            (Some(first), Some(last)) => Ok(StoredBatch {
                end: last.end,
                queue_offset: first.queue_offset,
                store_timestamp: first.store_timestamp,
                at: stored.iter().map(|stored| stored.at).collect(),
            }),
            _ => Err(PutError::EmptyBatch { topic: put.topic.to_owned() }),
        }
    }

    /// Under the log's `appender`: neither the store nor the queue is closed while a message is given its place.
    fn check_open(&self, queue: &Queue) -> Result<(), PutError> {
        match self.is_closed() {
            true => Err(PutError::Closed),
            false if queue.refuses() => Err(PutError::TopicDeleted { topic: queue.topic().to_owned() }),
            false => Ok(()),
        }
    }

    fn queue_for(&self, put: &PutMessage<'_>) -> Result<Arc<Queue>, PutError> {
        if self.is_closed() {
            return Err(PutError::Closed);
        }
        if let Some(queue) = self.queues.get(put.topic, put.queue_id) {
            return Ok(queue);
        }
        if !is_storable_topic(put.topic) {
            return Err(PutError::Topic { topic: put.topic.to_owned() });
        }
        if i32::try_from(put.queue_id).is_err() {
            return Err(PutError::QueueId { topic: put.topic.to_owned(), queue_id: put.queue_id });
        }
        Ok(self.queues.get_or_create(put.topic, put.queue_id))
    }

    fn prepare<'a>(
        &self,
        put: &PutMessage<'a>,
        queue: &Queue,
        entry: BatchEntry<'a>,
    ) -> Result<Prepared<'a>, PutError> {
        let topic = put.topic;
        if entry.properties.len() > PROPERTIES_LENGTH_MAX {
            return Err(PutError::PropertiesTooLarge { topic: topic.to_owned(), len: entry.properties.len() });
        }
        let fields = RecordFields {
            topic,
            queue_id: put.queue_id as i32,
            flag: entry.flag,
            queue_offset: QueueOffset(0),
            commit_log_offset: CommitLogOffset(0),
            sys_flag: put.sys_flag,
            born_timestamp: put.born_timestamp,
            born_host: put.born_host,
            store_timestamp: 0,
            store_host: put.store_host,
            reconsume_times: put.reconsume_times,
            prepared_transaction_offset: put.prepared_transaction_offset,
            body: entry.body,
            body_crc: crc31(entry.body),
            properties: entry.properties,
        };
        let keys = Keys::derive(&self.config, topic, queue.topic_hash(), put.sys_flag, entry.properties);
        Ok(Prepared { len: fields.encoded_len(), fields, keys })
    }

    /// A record, and all records of a batch together, must leave room for the mark that ends a file.
    fn check_len(&self, put: &PutMessage<'_>, len: usize, max: usize) -> Result<(), PutError> {
        let max = max.min(self.log.file_size as usize - BLANK_LEN);
        if len > max {
            return Err(PutError::RecordTooLarge { topic: put.topic.to_owned(), len, max });
        }
        Ok(())
    }
}

/// Gives a message its place and encodes it. There is room for it.
fn append(appender: &mut Appender, queue: Arc<Queue>, prepared: &mut Prepared<'_>, now: i64) -> Stored {
    let fields = &mut prepared.fields;
    let queued = is_queued(fields.sys_flag);
    let at = appender.position();
    let end = at + prepared.len as i64;
    fields.commit_log_offset = CommitLogOffset(at);
    fields.store_timestamp = appender.timestamp(now);
    fields.queue_offset = QueueOffset(if queued { queue.take_offset() } else { 0 });
    fields.encode(appender.buffer());
    let stored = Stored {
        at: CommitLogOffset(at),
        end: CommitLogOffset(end),
        queue_offset: fields.queue_offset,
        store_timestamp: fields.store_timestamp,
    };
    let dispatch = Dispatch {
        queue,
        queue_offset: stored.queue_offset,
        queued,
        at: stored.at,
        size: prepared.len as i32,
        tags_code: prepared.keys.tags_code(stored.store_timestamp),
        store_timestamp: stored.store_timestamp,
        hashes: 0,
    };
    appender.pending.push(dispatch, prepared.keys.hashes());
    stored
}

/// Does a message with this system flag get a queue offset and an entry in its consume queue?
pub(crate) fn is_queued(sys_flag: i32) -> bool {
    matches!(SysFlag(sys_flag).transaction(), TransactionType::Not | TransactionType::Commit)
}

/// Can a topic be a directory and stand in a record?
pub(crate) fn is_storable_topic(topic: &str) -> bool {
    !topic.is_empty()
        && topic.len() <= TOPIC_LENGTH_MAX
        && topic != "."
        && topic != ".."
        && !topic.bytes().any(|byte| byte == b'/' || byte == 0)
}
