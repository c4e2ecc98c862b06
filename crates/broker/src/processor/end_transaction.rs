//! Transactions end, as their producers or operators say.

use super::not_stored;
use crate::Broker;
use crate::life::event::Event;
use crate::transaction::log::Ended;
use crate::transaction::{Decision, ResolveError};
use protocol::code::response;
use protocol::json;
use protocol::message::{SysFlag, parse_offset_message_id, property};
use protocol::record::Record;
use protocol::request::Empty;
use protocol::request::transaction::{
    EndTransaction, ListTransactions, OpenTransactions, ResolveTransaction, ResumeCheckHalfMessage,
};
use protocol::topic::TRANSACTION_HALF_TOPIC;
use remoting::{Answer, Call, Reject};
use std::sync::Arc;
use store::CommitLogOffset;

/// END_TRANSACTION (37).
pub(super) async fn end_transaction(broker: Arc<Broker>, call: Call<EndTransaction>) -> Result<Answer<Empty>, Reject> {
    let request = &call.request;
    let decision = match request.commit_or_rollback {
        // The producer does not know; it is asked again.
        0 => return Ok(Empty {}.into()),
        SysFlag::TRANSACTION_COMMIT => Decision::Commit,
        SysFlag::TRANSACTION_ROLLBACK => Decision::Rollback,
        other => {
            let remark =
                format!("header field `commitOrRollback` is {other}; it is 8 (commit), 12 (rollback) or 0 (unknown)");
            return Err(Reject::new(response::INVALID_PARAMETER, remark));
        }
    };
    let at = CommitLogOffset(request.commit_log_offset);
    let missing = |why: String| {
        Reject::system_error(format!("Find prepared transaction message failed, at {at} of the commit log: {why}"))
    };
    let bytes = match broker.store.read(at) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Err(missing("the log does not hold it".into())),
        Err(error) => return Err(missing(error.to_string())),
    };
    let half = Record::parse(&bytes).map_err(|error| missing(error.to_string()))?;
    check(request, &half, broker.config.clock.now_millis())?;
    match broker.end(&half, decision).map_err(not_stored)? {
        Ended::Now => {
            let (commit, by) = (decision == Decision::Commit, call.peer.address());
            let topic = half.properties().get(property::REAL_TOPIC).unwrap_or_default();
            let age = broker.config.clock.now_millis().saturating_sub(half.born_timestamp);
            broker.metrics.ended(topic, commit, age);
            broker.note(Event::Ended { group: call.request.producer_group, at: half.commit_log_offset.0, commit, by });
            Ok(Answer::new(Empty {}).behind_write())
        }
        Ended::Before => {
            let key = half.properties().get(property::UNIQ_KEY).unwrap_or_default();
            tracing::debug!(key, ?decision, peer = ?call.peer, "a transaction has ended before");
            let remark = "the transaction has ended before; nothing is delivered or taken back by this";
            Ok(Answer::new(Empty {}).with_code(response::SUCCESS, remark).behind_write())
        }
    }
}

/// Is this the half message that is meant, of this group, and may it still be ended?
#[doc(alias = "checkPrepareMessage")]
fn check(request: &EndTransaction, half: &Record<'_>, now: i64) -> Result<(), Reject> {
    let properties = half.properties();
    let wrong = |what: &str, why: &str| Err(Reject::system_error(format!("{what}: {why}; nothing is delivered")));
    if half.topic != TRANSACTION_HALF_TOPIC {
        return wrong("The commit log offset wrong", "no half message is stored there");
    }
    if properties.get(property::PGROUP) != Some(&request.producer_group) {
        return wrong("The producer group wrong", "the half message there is of another producer group");
    }
    if half.queue_offset.0 != request.offset {
        return wrong("The transaction state table offset wrong", "the half message there has another queue offset");
    }
    let immunity =
        properties.get(property::CHECK_IMMUNITY_TIME_IN_SECONDS).and_then(|text| text.trim().parse::<i64>().ok());
    let age = now.saturating_sub(half.born_timestamp);
    match immunity {
        Some(seconds @ 1..) if request.from_check != Some(true) && age > seconds.saturating_mul(1000) => {
            Err(Reject::new(
                response::ILLEGAL_OPERATION,
                format!(
                    "the transaction is {} s old and its producer may end it by itself for {seconds} s \
                 (CHECK_IMMUNITY_TIME_IN_SECONDS): its producers are asked about it now, wait for that",
                    age / 1000
                ),
            ))
        }
        _ => Ok(()),
    }
}

/// RESUME_CHECK_HALF_MESSAGE (323).
pub(super) async fn resume_check(
    broker: Arc<Broker>,
    call: Call<ResumeCheckHalfMessage>,
) -> Result<Answer<Empty>, Reject> {
    let (_, at) = parse_offset_message_id(&call.request.message_id)
        .map_err(|error| Reject::new(response::INVALID_PARAMETER, error.to_string()))?;
    tracing::info!(%at, by = ?call.peer, "a transaction that was given up is taken up again");
    match broker.resume_transaction(at) {
        Ok(()) => Ok(Answer::new(Empty {}).behind_write()),
        Err(ResolveError::Put(error)) => Err(not_stored(error)),
        Err(error) => Err(Reject::system_error(error.to_string())),
    }
}

/// LIST_TRANSACTIONS (90000).
pub(super) async fn list(broker: Arc<Broker>, call: Call<ListTransactions>) -> Result<Answer<Empty>, Reject> {
    /// Each of them is read from the log.
    const MAX: usize = 1000;
    let ListTransactions { from, max, parked } = call.request;
    let max = usize::try_from(max).unwrap_or(0).min(MAX);
    let transactions = if parked { broker.parked_transactions(from, max) } else { broker.open_transactions(from, max) };
    Ok(Answer::new(Empty {}).with_body(json::write(&OpenTransactions { transactions })))
}

/// RESOLVE_TRANSACTION (90001).
pub(super) async fn resolve(broker: Arc<Broker>, call: Call<ResolveTransaction>) -> Result<Answer<Empty>, Reject> {
    let ResolveTransaction { offset, commit } = call.request;
    let decision = if commit { Decision::Commit } else { Decision::Rollback };
    let half = broker.transactions.lock().get(offset);
    match broker.resolve_transaction(offset, decision) {
        Ok(()) => {
            if let Some(half) = half {
                let by = call.peer.address();
                broker.note(Event::Ended { group: String::new(), at: half.at.0, commit, by });
            }
            tracing::info!(offset, ?decision, by = ?call.peer, "a transaction is ended by an operator");
            Ok(Answer::new(Empty {}).behind_write())
        }
        Err(ResolveError::Put(error)) => Err(not_stored(error)),
        Err(error @ ResolveError::NotOpen(_)) => Err(Reject::new(response::ILLEGAL_OPERATION, error.to_string())),
        Err(error) => Err(Reject::system_error(error.to_string())),
    }
}
