//! Checks: producers are asked how transactions ended that they left open.
//!
//! A round, every `transactionCheckInterval`, goes through the half messages that wait, oldest first, until one is young. What
//! is asked about has moved to the end of the queue before, and is on disk: the answer names its new place.

use super::{GaveUp, Half, Limits, Progress, TRANSACTION_GROUP, Verdict};
use crate::Broker;
use protocol::command::Command;
use protocol::message::{CommitLogOffset, edit_properties, offset_message_id, property};
use protocol::record::{Record, RecordFields};
use protocol::request::Request;
use protocol::request::transaction::CheckTransactionState;
use protocol::topic::{TRANSACTION_GIVEN_UP_TOPIC, TRANSACTION_HALF_TOPIC, TRANSACTION_OP_TOPIC};
use store::{PutError, Stored};

/// So many half messages are moved before they are brought home and their producers asked.
const BATCH: usize = 256;

type CheckError = Box<dyn std::error::Error + Send + Sync>;

/// A question for a producer of a group.
struct Question {
    group: String,
    topic: String,
    request: Command,
}

/// What became of one half message in a round.
enum Step {
    /// Moved, parked, or gone: the next one.
    Done { end: Option<CommitLogOffset>, question: Option<Box<Question>> },
    /// It is young, and so are those behind.
    Young,
}

impl Broker {
    /// One round: moves, asks about and gives up what it is time for.
    #[doc(alias = "TransactionalMessageCheckService")]
    pub async fn check_transactions(&self) -> Result<(), CheckError> {
        let until = self.transactions.lock().half_end();
        let mut from = 0;
        loop {
            let (mut questions, mut end, mut failed) = (Vec::new(), None, None);
            let mut more = false;
            for n in 1..=BATCH {
                let next = self.transactions.lock().next(from).filter(|(offset, _)| *offset < until);
                let Some((offset, half)) = next else { break };
                match self.step(offset, &half) {
                    Ok(Step::Young) => break,
                    Ok(Step::Done { end: stored, question }) => {
                        questions.extend(question);
                        end = stored.or(end);
                        from = offset + 1;
                        more = n == BATCH;
                    }
                    Err(error) if error.downcast_ref::<PutError>().is_some_and(is_final) => {
                        tracing::error!(offset, at = %half.at, %error, "a half message can't be put again: its transaction is over, \
                            and nothing is delivered; it can be viewed at its place in the commit log");
                        self.transactions.lock().forget(offset);
                        from = offset + 1;
                        more = n == BATCH;
                    }
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            self.say_ends();
            self.store.write_out()?;
            if let Some(end) = end {
                self.store.flushed(end).await?;
            }
            questions.into_iter().for_each(|question| self.ask(*question));
            match failed {
                Some(error) => return Err(error),
                None if more => tokio::task::yield_now().await,
                None => break,
            }
        }
        // What is noted was true a round ago: what followed from it is on disk, whenever the log is brought there.
        let progress = self.transactions.lock().progress();
        let earlier = self.transactions_earlier.lock().replace(progress);
        if let Some(earlier) = earlier {
            self.note_transactions(earlier);
        }
        Ok(())
    }

    /// Notes how far the queues are worked off now. Everything must be on disk.
    pub(crate) fn note_transactions_now(&self) {
        let progress = self.transactions.lock().progress();
        self.note_transactions(progress);
    }

    fn note_transactions(&self, progress: Progress) {
        for (topic, offset) in [(TRANSACTION_HALF_TOPIC, progress.half), (TRANSACTION_OP_TOPIC, progress.operation)] {
            if self.offsets.get(TRANSACTION_GROUP, topic, 0) != Some(offset) {
                // Nobody resets the system's own.
                let _ = self.offsets.commit(TRANSACTION_GROUP, topic, 0, offset);
            }
        }
    }

    /// Does what it is time for with one half message.
    fn step(&self, offset: i64, half: &Half) -> Result<Step, CheckError> {
        let limits = Limits {
            timeout: self.config.transaction_timeout,
            checks_max: self.config.transaction_check_max as u32,
            kept_for: self.config.file_reserved_time,
        };
        let verdict = half.judge(self.config.clock.now_millis(), &limits);
        if verdict == Verdict::Wait {
            return Ok(Step::Young);
        }
        let nothing = Step::Done { end: None, question: None };
        let bytes = match self.store.read(half.at) {
            Ok(Some(bytes)) => bytes,
            // It is on its way to the disk.
            Ok(None) if half.at >= self.store.commit_log_bounds().1 => return Ok(Step::Young),
            Ok(None) => {
                tracing::error!(offset, at = %half.at, "the log does not hold a half message any more: its transaction is over, \
                    and nothing is delivered");
                self.transactions.lock().forget(offset);
                return Ok(nothing);
            }
            Err(error @ store::ReadError::Io { .. }) => return Err(error.into()),
            Err(error) => {
                tracing::error!(offset, %error, "a half message is damaged: its transaction is over, and nothing is delivered");
                self.transactions.lock().forget(offset);
                return Ok(nothing);
            }
        };
        let record = Record::parse(&bytes)?;
        let properties = record.properties();
        let group = properties.get(property::PGROUP).unwrap_or_default();
        let topic = properties.get(property::REAL_TOPIC).unwrap_or_default();
        if record.commit_log_offset < self.store.begin_of(topic) {
            tracing::warn!(topic, group, at = %half.at, "a transaction is rolled back: its topic was deleted meanwhile");
            self.end(&record, super::Decision::Rollback)?;
            return Ok(nothing);
        }
        if let Verdict::GiveUp(why) = verdict {
            let Some(stored) = self.park(offset, &record)? else { return Ok(nothing) };
            let why = match why {
                GaveUp::Checks => format!("its producers were asked {} times (transactionCheckMax)", half.checks),
                GaveUp::Age => "it is older than fileReservedTime".to_owned(),
            };
            tracing::warn!(
                topic,
                group,
                key = properties.get(property::UNIQ_KEY),
                "a transaction is given up: {why}; its message is number {} of {TRANSACTION_GIVEN_UP_TOPIC}",
                stored.queue_offset
            );
            return Ok(Step::Done { end: Some(stored.end), question: None });
        }
        let asks = verdict == Verdict::Ask;
        let copied = copied_properties(&record, half.first, half.checks + u32::from(asks));
        let Some(stored) = self.renew(offset, &record, &copied)? else { return Ok(nothing) };
        let question = asks.then(|| Box::new(self.question(&record, &stored, &copied)));
        Ok(Step::Done { end: Some(stored.end), question })
    }

    /// CHECK_TRANSACTION_STATE (39): the half message as it lies now, with the topic and queue where it belongs.
    fn question(&self, half: &Record<'_>, stored: &Stored, properties: &[u8]) -> Question {
        let read = half.properties();
        let key = read.get(property::UNIQ_KEY).map(str::to_owned);
        let topic = read.get(property::REAL_TOPIC).unwrap_or_default();
        let mut body = Vec::new();
        RecordFields {
            topic,
            queue_id: read.get(property::REAL_QID).and_then(|id| id.parse().ok()).unwrap_or(0),
            flag: half.flag,
            queue_offset: stored.queue_offset,
            commit_log_offset: stored.at,
            sys_flag: half.sys_flag,
            born_timestamp: half.born_timestamp,
            born_host: half.born_host,
            store_timestamp: stored.store_timestamp,
            store_host: half.store_host,
            reconsume_times: half.reconsume_times,
            prepared_transaction_offset: half.prepared_transaction_offset,
            body: half.body,
            body_crc: half.body_crc,
            properties,
        }
        .encode(&mut body);
        let header = CheckTransactionState {
            topic: Some(topic.to_owned()),
            offset: stored.queue_offset.0,
            commit_log_offset: stored.at.0,
            message_id: key.clone(),
            transaction_id: key,
            offset_message_id: Some(offset_message_id(half.store_host, stored.at)),
            broker_name: Some(self.config.name.clone()),
        };
        let request = Command { body: body.into(), ..header.write() };
        let group = read.get(property::PGROUP).unwrap_or_default().to_owned();
        Question { group, topic: topic.to_owned(), request }
    }

    /// Asks one of the group's producers, another one each time; if it can't be reached, the next one.
    #[doc(alias = "sendCheckMessage")]
    fn ask(&self, question: Question) {
        let Question { group, topic, request } = question;
        let mut peers = self.producers.lock().peers(&group);
        // The question holds the message: a name of a group gives nobody a right to that.
        peers.retain(|peer| self.may_publish(peer, &topic));
        if peers.is_empty() {
            tracing::warn!(group, "nobody can be asked about a transaction: no producer of its group is connected");
            return;
        }
        let first = self.any_queue(peers.len() as i32) as usize;
        if !peers.iter().cycle().skip(first).take(peers.len()).any(|peer| peer.notify(request.clone())) {
            tracing::warn!(group, "nobody can be asked about a transaction: no producer of its group reads requests");
        }
    }
}

/// Will it be refused however often it is tried?
fn is_final(error: &PutError) -> bool {
    !matches!(error, PutError::NotWriteable { .. } | PutError::Busy { .. } | PutError::Closed)
}

/// The properties of a copy.
fn copied_properties(half: &Record<'_>, first: i64, checks: u32) -> Vec<u8> {
    let (first, checks) = (first.to_string(), checks.to_string());
    edit_properties(
        half.properties,
        &[
            (property::TRANSACTION_CHECK_TIMES, (checks != "0").then_some(checks.as_str())),
            (property::TRAN_PREPARED_QUEUE_OFFSET, Some(&first)),
        ],
    )
}
