//! Transactions in the log: half messages, what becomes of them, and the operation messages that say so.
//!
//! 1. a half message is put in place of the message that was sent             (`Broker::prepare`)
//! 2. its end: the message is put where it belongs, or is not                  (`Broker::end`)
//! 3. an operation message names all that ended in one turn of a data thread   (`Broker::say_ends`)
//!
//! All of it is put while `transactions` is locked, so that nothing ends twice and the queues grow in the order in which
//! memory learns of it. A message and the word that its transaction has ended leave with the same write. Should a crash
//! tear them apart, the message is found at the next start by its key (`was_delivered`), and is not delivered again.

use super::{Decision, Half, Progress, TRANSACTION_GROUP, Transactions};
use crate::Broker;
use crate::dedup::{self, First, SharedWindow};
use crate::offsets::ConsumerOffsets;
use crate::records::{as_put, for_each};
use bytes::Bytes;
use protocol::message::{
    Properties, QueueOffset, SysFlag, TransactionType, edit_properties, offset_message_id, property,
};
use protocol::record::{PROPERTIES_LENGTH_MAX, Record};
use protocol::request::transaction::OpenTransaction;
use protocol::topic::{
    PERM_READ, PERM_WRITE, TRANSACTION_GIVEN_UP_TOPIC, TRANSACTION_HALF_TOPIC, TRANSACTION_OP_TOPIC,
};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use store::{CommitLogOffset, PutError, PutMessage, ReadError, Store, Stored};

/// So many bytes of queue offsets one operation message holds (`transactionOpMsgMaxSize` of Apache's brokers).
const OPERATION_BYTES: usize = 4096;

/// So many bytes of messages are read at a time.
const BATCH_BYTES: usize = 1024 * 1024;

/// What the properties of a copy have more than those of the half message, at most.
const COPY_BYTES: usize = 100;

/// So many messages with the key of a half message are looked at, to find the one that it became.
const COPIES_MAX: usize = 64;

/// Why an operator's word does not end a transaction, or take it up again.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// It has ended, or never was.
    #[error(
        "no transaction waits at {0}: it was committed, rolled back or given up, or moved on with a check; list them again"
    )]
    NotOpen(i64),
    /// There is no such message.
    #[error("no transaction that was given up is stored at {0} of the commit log")]
    NotParked(CommitLogOffset),
    /// It can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What follows from it can't be stored.
    #[error(transparent)]
    Put(#[from] PutError),
}

/// What became of a commit or a rollback.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It was done.
    Now,
    /// It had been done before.
    Before,
}

/// Half messages that wait for their end, as the log has them.
pub(crate) fn open(store: &Store, offsets: &ConsumerOffsets) -> Transactions {
    let from = |topic: &str| {
        let noted = offsets.get(TRANSACTION_GROUP, topic, 0).unwrap_or(0);
        noted.clamp(store.min_offset(topic, 0).0, store.max_offset(topic, 0).0)
    };
    let progress = Progress { half: from(TRANSACTION_HALF_TOPIC), operation: from(TRANSACTION_OP_TOPIC) };
    let mut transactions = Transactions::new(progress);
    for_each(store, TRANSACTION_HALF_TOPIC, 0, QueueOffset(progress.half), |record| {
        transactions.prepared(record.queue_offset.0, Half::read(record));
    });
    for_each(store, TRANSACTION_OP_TOPIC, 0, QueueOffset(progress.operation), |record| {
        transactions.read_operation(record.queue_offset.0, &halves_of(record.body));
    });
    let mut from = 0;
    while let Some((offset, half)) = transactions.next(from) {
        from = offset + 1;
        let Ok(Some(bytes)) = store.read(half.at) else { continue };
        if Record::parse(&bytes).is_ok_and(|record| was_delivered(store, &record)) {
            transactions.end(offset);
        }
    }
    if !transactions.is_empty() {
        tracing::info!(count = transactions.len(), "transactions are open");
    }
    transactions
}

/// The half messages that an operation message names: one (4.x), or several with a comma behind each (5.x).
fn halves_of(body: &[u8]) -> Vec<i64> {
    String::from_utf8_lossy(body).split(',').filter_map(|offset| offset.trim().parse().ok()).collect()
}

/// Was this half message delivered, and the word that it was is lost?
fn was_delivered(store: &Store, half: &Record<'_>) -> bool {
    let properties = half.properties();
    let (Some(topic), Some(key)) = (properties.get(property::REAL_TOPIC), properties.get(property::UNIQ_KEY)) else {
        return false;
    };
    let found = store.query(topic, key, COPIES_MAX, 0, i64::MAX).records;
    found.iter().filter_map(|bytes| Record::parse(bytes).ok()).any(|record| {
        // What was delivered says which half message it was: this one, or an earlier copy.
        let of = CommitLogOffset(record.prepared_transaction_offset);
        let is_copy = |bytes: Bytes| {
            Record::parse(&bytes).is_ok_and(|copy| {
                copy.topic == TRANSACTION_HALF_TOPIC && Half::read(&copy).first == Half::read(half).first
            })
        };
        SysFlag(record.sys_flag).transaction() == TransactionType::Commit
            && (of == half.commit_log_offset || store.read(of).ok().flatten().is_some_and(is_copy))
    })
}

impl Half {
    /// A half message as its record has it.
    pub(super) fn read(record: &Record<'_>) -> Half {
        Half::of(record.properties(), record.commit_log_offset, record.queue_offset, record.born_timestamp)
    }

    fn of(properties: Properties<'_>, at: CommitLogOffset, offset: QueueOffset, born: i64) -> Half {
        let number = |name: &str| properties.get(name).and_then(|text| text.trim().parse::<i64>().ok());
        Half {
            at,
            born,
            checks: number(property::TRANSACTION_CHECK_TIMES).and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            immunity: immunity(number(property::CHECK_IMMUNITY_TIME_IN_SECONDS)),
            first: number(property::TRAN_PREPARED_QUEUE_OFFSET).unwrap_or(offset.0),
        }
    }
}

/// What `CHECK_IMMUNITY_TIME_IN_SECONDS` says; −1 and what is no number say nothing.
fn immunity(seconds: Option<i64>) -> Option<Duration> {
    seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs)
}

impl Broker {
    /// Puts a half message: it waits until its producer says whether it is delivered.
    #[doc(alias = "parseHalfMessageInner")]
    pub(crate) fn prepare(&self, put: &PutMessage<'_>, producer_group: &str) -> Result<Stored, PutError> {
        let properties = half_properties(put, producer_group);
        if properties.len() + COPY_BYTES > PROPERTIES_LENGTH_MAX {
            return Err(PutError::PropertiesTooLarge {
                topic: put.topic.to_owned(),
                len: properties.len() + COPY_BYTES,
            });
        }
        self.put_half(&PutMessage { topic: TRANSACTION_HALF_TOPIC, queue_id: 0, properties: &properties, ..*put })
    }

    fn put_half(&self, put: &PutMessage<'_>) -> Result<Stored, PutError> {
        self.put_half_into(&mut self.transactions.lock(), put)
    }

    fn put_half_into(&self, transactions: &mut Transactions, put: &PutMessage<'_>) -> Result<Stored, PutError> {
        let stored = self.store.put_message(put)?;
        let half = Half::of(Properties(put.properties), stored.at, stored.queue_offset, put.born_timestamp);
        transactions.prepared(stored.queue_offset.0, half);
        Ok(stored)
    }

    /// Commits or rolls back the transaction of this half message, or of a copy of it.
    pub(crate) fn end(&self, half: &Record<'_>, decision: Decision) -> Result<Ended, PutError> {
        let window = self.window_of(half);
        let mut window = window.as_ref().map(|(hash, window)| (*hash, window.lock()));
        let mut transactions = self.transactions.lock();
        let first = Half::read(half).first;
        let Some(offset) = transactions.find(half.queue_offset.0, first) else {
            return Ok(Ended::Before);
        };
        let delivered = match decision {
            Decision::Commit => self.deliver(half)?,
            Decision::Rollback => None,
        };
        self.has_ended(&mut transactions, offset, half);
        if let Some((hash, window)) = &mut window {
            window.ended(*hash, first, delivered, Instant::now());
        }
        Ok(Ended::Now)
    }

    /// The hash of a half message's id, and where its topic remembers it, if it does.
    fn window_of(&self, half: &Record<'_>) -> Option<(u128, SharedWindow)> {
        let (topic, _, id) = dedup::identified_half(half)?;
        Some((self.dedup.hash(id), self.dedup.window(topic)?))
    }

    /// Does the transaction of this half message, or of a copy of it, wait for its end?
    pub(crate) fn is_open(&self, half: &Record<'_>) -> bool {
        self.transactions.lock().find(half.queue_offset.0, Half::read(half).first).is_some()
    }

    fn has_ended(&self, transactions: &mut Transactions, offset: i64, half: &Record<'_>) {
        transactions.end(offset);
        *self.operation_host.lock() = Some(half.store_host);
        self.ends_unsaid.store(true, Ordering::Release);
    }

    /// Puts the message of a transaction where it belongs, and says where that is. One whose topic was deleted meanwhile belongs
    /// nowhere.
    #[doc(alias = "endMessageTransaction")]
    fn deliver(&self, half: &Record<'_>) -> Result<Option<First>, PutError> {
        let properties = half.properties();
        let topic = properties.get(property::REAL_TOPIC);
        let queue_id = properties.get(property::REAL_QID).and_then(|id| id.parse::<u32>().ok());
        let (Some(topic), Some(queue_id)) = (topic, queue_id) else {
            tracing::error!(at = %half.commit_log_offset, "a half message does not say where it belongs, and is not delivered");
            return Ok(None);
        };
        if half.commit_log_offset < self.store.begin_of(topic) {
            tracing::warn!(topic, at = %half.commit_log_offset, "not delivered: its topic was deleted meanwhile");
            return Ok(None);
        }
        let wait = self.timer.wait_of(properties, self.config.clock.now_millis());
        let properties = edit_properties(half.properties, &[(property::REAL_TOPIC, None), (property::REAL_QID, None)]);
        let put = PutMessage {
            topic,
            queue_id,
            sys_flag: SysFlag(half.sys_flag).without(SysFlag::TRANSACTION_MASK).with(SysFlag::TRANSACTION_COMMIT).0,
            prepared_transaction_offset: half.commit_log_offset.0,
            properties: &properties,
            ..as_put(half)
        };
        let Stored { at, end, queue_offset, .. } = self.put(&put, wait)?;
        Ok(Some(First { at, end, queue_id: queue_id as i32, queue_offset: queue_offset.0, half: None }))
    }

    /// Puts a half message where those lie that nobody decided.
    pub(super) fn park(&self, offset: i64, half: &Record<'_>) -> Result<Option<Stored>, PutError> {
        let ensured = self.topics.ensure(TRANSACTION_GIVEN_UP_TOPIC, 1, PERM_READ | PERM_WRITE, crate::now_millis());
        if let Err(error) = ensured {
            tracing::error!(%error, "no topic {TRANSACTION_GIVEN_UP_TOPIC}");
        }
        let window = self.window_of(half);
        let mut window = window.as_ref().map(|(hash, window)| (*hash, window.lock()));
        let mut transactions = self.transactions.lock();
        if transactions.get(offset).is_none() {
            return Ok(None);
        }
        let stored =
            self.store.put_message(&PutMessage { topic: TRANSACTION_GIVEN_UP_TOPIC, queue_id: 0, ..as_put(half) })?;
        self.has_ended(&mut transactions, offset, half);
        if let Some((hash, window)) = &mut window {
            // It may never be taken up again: who sends it anew is to be heard.
            window.ended(*hash, Half::read(half).first, None, Instant::now());
        }
        Ok(Some(stored))
    }

    /// Puts a copy of a half message at the end of the queue. `None`: it has ended meanwhile.
    #[doc(alias = "putBackHalfMsgQueue")]
    pub(super) fn renew(&self, offset: i64, half: &Record<'_>, properties: &[u8]) -> Result<Option<Stored>, PutError> {
        let mut transactions = self.transactions.lock();
        if transactions.get(offset).is_none() {
            return Ok(None);
        }
        self.put_half_into(&mut transactions, &PutMessage { properties, queue_id: 0, ..as_put(half) }).map(Some)
    }

    /// Puts operation messages for all that ended since. Who can't be named now is named the next time.
    pub(crate) fn say_ends(&self) {
        if !self.ends_unsaid.load(Ordering::Acquire) {
            return;
        }
        let mut transactions = self.transactions.lock();
        self.ends_unsaid.store(false, Ordering::Release);
        let host =
            self.operation_host.lock().unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], self.config.listen_port)));
        while !transactions.unsaid().is_empty() {
            let (mut body, mut count) = (String::new(), 0);
            for offset in transactions.unsaid() {
                if body.len() >= OPERATION_BYTES {
                    break;
                }
                body.push_str(&format!("{offset},"));
                count += 1;
            }
            let put = PutMessage {
                topic: TRANSACTION_OP_TOPIC,
                queue_id: 0,
                flag: 0,
                sys_flag: 0,
                born_timestamp: crate::now_millis(),
                born_host: host,
                store_host: host,
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                body: body.as_bytes(),
                properties: b"WAIT\x01true\x02TAGS\x01d\x02",
            };
            match self.store.put_message(&put) {
                Ok(stored) => transactions.said(stored.queue_offset.0, count),
                Err(error) => {
                    self.ends_unsaid.store(true, Ordering::Release);
                    tracing::debug!(%error, "ends of transactions are noted later");
                    return;
                }
            }
        }
    }

    /// The first `max` transactions, from `from` on, that wait for their end: their half messages' queue offsets rise. Blocks.
    pub fn open_transactions(&self, from: i64, max: usize) -> Vec<OpenTransaction> {
        let mut found = Vec::new();
        let mut from = from;
        while found.len() < max {
            let Some((offset, half)) = self.transactions.lock().next(from) else { break };
            from = offset + 1;
            if let Ok(Some(bytes)) = self.store.read(half.at)
                && let Ok(record) = Record::parse(&bytes)
            {
                found.push(as_operators_see(&record));
            }
        }
        found
    }

    /// Up to `max` transactions that were given up, from an offset of `TRANS_CHECK_MAX_TIME_TOPIC` on. Blocks.
    pub fn parked_transactions(&self, from: i64, max: usize) -> Vec<OpenTransaction> {
        let from = QueueOffset(from.max(self.store.min_offset(TRANSACTION_GIVEN_UP_TOPIC, 0).0));
        let got = self.store.get_message(TRANSACTION_GIVEN_UP_TOPIC, 0, from, max, BATCH_BYTES, &|_| true);
        let bytes = got.parts.iter().filter_map(|part| part.to_bytes().ok());
        let parked = |bytes: &[u8]| Record::all(bytes).flatten().map(|it| as_operators_see(&it)).collect::<Vec<_>>();
        bytes.flat_map(|bytes| parked(&bytes)).collect()
    }

    /// Ends the transaction whose half message has this queue offset, in place of its producer. Blocks.
    pub fn resolve_transaction(&self, offset: i64, decision: Decision) -> Result<(), ResolveError> {
        let half = self.transactions.lock().get(offset).ok_or(ResolveError::NotOpen(offset))?;
        let bytes = self.store.read(half.at)?.ok_or(ResolveError::NotOpen(offset))?;
        let record = Record::parse(&bytes).map_err(|_| ResolveError::NotOpen(offset))?;
        let ended = self.end(&record, decision)?;
        // Should it fail, the store writes it when it can, and has told.
        let _ = self.write_out();
        match ended {
            Ended::Now => Ok(()),
            Ended::Before => Err(ResolveError::NotOpen(offset)),
        }
    }

    /// Takes up again a transaction that was given up: `at` is its place in the commit log. Its producers are asked anew, as
    /// often as any. What was parked stays where it is: taken up twice, it is two transactions.
    #[doc(alias = "RESUME_CHECK_HALF_MESSAGE")]
    pub fn resume_transaction(&self, at: CommitLogOffset) -> Result<(), ResolveError> {
        let bytes = self.store.read(at)?.ok_or(ResolveError::NotParked(at))?;
        let record = Record::parse(&bytes).ok().filter(|record| record.topic == TRANSACTION_GIVEN_UP_TOPIC);
        let record = record.ok_or(ResolveError::NotParked(at))?;
        let properties = edit_properties(
            record.properties,
            &[(property::TRANSACTION_CHECK_TIMES, Some("0")), (property::TRAN_PREPARED_QUEUE_OFFSET, None)],
        );
        let half =
            PutMessage { topic: TRANSACTION_HALF_TOPIC, properties: &properties, queue_id: 0, ..as_put(&record) };
        let window = self.window_of(&record);
        let mut window = window.as_ref().map(|(hash, window)| (*hash, window.lock()));
        let stored = self.put_half(&half)?;
        if let Some((hash, window)) = &mut window
            && let Some((_, queue_id, _)) = dedup::identified_half(&record)
            && window.known(*hash, Instant::now()).is_none()
        {
            let Stored { at, end, queue_offset, .. } = stored;
            let first = First { at, end, queue_id, queue_offset: queue_offset.0, half: Some(queue_offset.0) };
            window.remember(*hash, first, Instant::now());
        }
        // Should it fail, the store writes it when it can, and has told.
        let _ = self.write_out();
        Ok(())
    }
}

fn as_operators_see(record: &Record<'_>) -> OpenTransaction {
    let properties = record.properties();
    let text = |name: &str| properties.get(name).unwrap_or_default().to_owned();
    OpenTransaction {
        offset: record.queue_offset.0,
        offset_message_id: offset_message_id(record.store_host, record.commit_log_offset),
        topic: text(property::REAL_TOPIC),
        producer_group: text(property::PGROUP),
        transaction_id: text(property::UNIQ_KEY),
        born: record.born_timestamp,
        checks: Half::read(record).checks,
    }
}

/// The properties of a half message: it remembers where it belongs and whose it is. What only a broker may say of a half
/// message is taken out.
pub(crate) fn half_properties(put: &PutMessage<'_>, producer_group: &str) -> Vec<u8> {
    let properties = Properties(put.properties);
    let key = properties.get(property::UNIQ_KEY);
    let group = properties.get(property::PGROUP).unwrap_or(producer_group);
    let queue_id = put.queue_id.to_string();
    edit_properties(
        put.properties,
        &[
            (property::TRAN_MSG, Some("true")),
            (property::PGROUP, Some(group)),
            (property::TRANSACTION_ID, key),
            (property::TRANSACTION_CHECK_TIMES, None),
            (property::TRAN_PREPARED_QUEUE_OFFSET, None),
            (property::REAL_TOPIC, Some(put.topic)),
            (property::REAL_QID, Some(&queue_id)),
        ],
    )
}
