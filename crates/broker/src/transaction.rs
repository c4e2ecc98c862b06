//! Transactions: which half messages wait for their end, and what is to be done about each.
//!
//! What holds stands in the log: half messages in one queue, and in another the operation messages that name those that
//! have ended. [`Transactions`] is what follows from both, kept in memory; it asks no clock and touches no file. `log` puts
//! and reads the messages, `check` asks producers. The table of states is in `docs/transactions.md`.
//!
//! A check moves a half message to the end of its queue, as Apache's brokers do, so that the queue's beginning can go.
//! All copies of one name the queue offset of the first ([`Half::first`]); only the last copy counts.

pub(crate) mod check;
pub(crate) mod log;

pub use log::ResolveError;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;
use store::CommitLogOffset;

/// The group under which it is kept how far both queues are worked off.
pub const TRANSACTION_GROUP: &str = "CID_RMQ_SYS_TRANS";

/// So many operation messages are remembered as one, to know which of them are needed still.
const OPERATIONS_TOGETHER: i64 = 32;

/// A half message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Half {
    /// Its place in the commit log.
    pub at: CommitLogOffset,
    /// When its producer made it, in ms since 1970.
    pub born: i64,
    /// How often its producers were asked.
    pub checks: u32,
    /// For so long after it was made its producers are not asked (`CHECK_IMMUNITY_TIME_IN_SECONDS`); `None`: the broker's
    /// time-out holds.
    pub immunity: Option<Duration>,
    /// Queue offset of the first copy; its own if it is that.
    pub first: i64,
}

/// What an operator set.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For so long a producer may take to end a transaction by itself (`transactionTimeOut`).
    pub timeout: Duration,
    /// So often producers are asked (`transactionCheckMax`).
    pub checks_max: u32,
    /// Half messages older than this are given up (`fileReservedTime`).
    pub kept_for: Duration,
}

/// What is to be done about a half message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    Wait,
    /// It is immune: it moves to the end of the queue and nobody is asked.
    Renew,
    /// It moves to the end of the queue, and one of its producers is asked.
    Ask,
    /// It goes to `TRANS_CHECK_MAX_TIME_TOPIC`.
    GiveUp(GaveUp),
}

/// Why a transaction is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GaveUp {
    /// Its producers were asked often enough.
    Checks,
    /// It is older than messages become.
    Age,
}

impl Half {
    /// What is to be done about it at `now`, in ms since 1970.
    #[doc(alias = "TransactionalMessageServiceImpl.check")]
    pub fn judge(&self, now: i64, limits: &Limits) -> Verdict {
        let age = now.saturating_sub(self.born);
        let older_than = |time: Duration| age > i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        if self.checks >= limits.checks_max {
            return Verdict::GiveUp(GaveUp::Checks);
        }
        if older_than(limits.kept_for) {
            return Verdict::GiveUp(GaveUp::Age);
        }
        match self.immunity {
            // A producer whose clock is ahead of ours says nothing about time.
            _ if age < 0 => Verdict::Ask,
            Some(immunity) if !older_than(immunity) => Verdict::Renew,
            None if !older_than(limits.timeout) => Verdict::Wait,
            _ => Verdict::Ask,
        }
    }
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Its message is delivered.
    Commit,
    /// Its message is never delivered.
    Rollback,
}

/// How far both queues are worked off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Half messages before this have ended or moved.
    pub half: i64,
    /// Operation messages before this name none that are left.
    pub operation: i64,
}

/// Half messages that wait for their end.
#[derive(Debug, Default)]
pub struct Transactions {
    /// By queue offset.
    pending: BTreeMap<i64, Half>,
    /// Of those that moved: queue offset of the first copy → of the last one.
    copies: HashMap<i64, i64>,
    /// Behind the last half message.
    half_end: i64,
    /// These have ended, and no operation message says so yet.
    ended: Vec<i64>,
    /// Operation messages before this name none that are left.
    operation: i64,
    /// Operation messages up to an offset, and the last half message that one of them names.
    operations: VecDeque<(i64, i64)>,
}

impl Transactions {
    /// None, of queues that are worked off so far.
    pub fn new(progress: Progress) -> Transactions {
        Transactions { half_end: progress.half, operation: progress.operation, ..Transactions::default() }
    }

    /// A half message was put at `offset` of its queue. If it is a copy, the one before counts no more.
    pub fn prepared(&mut self, offset: i64, half: Half) {
        self.half_end = self.half_end.max(offset + 1);
        if half.first != offset {
            let before = self.copies.insert(half.first, offset).unwrap_or(half.first);
            self.pending.remove(&before);
        }
        self.pending.insert(offset, half);
    }

    /// Which half message is meant by the copy at `offset`, whose first copy is `first`? `None`: it has ended.
    pub fn find(&self, offset: i64, first: i64) -> Option<i64> {
        let last = if self.pending.contains_key(&offset) { offset } else { *self.copies.get(&first)? };
        self.pending.contains_key(&last).then_some(last)
    }

    /// The first half message at `from` or behind.
    pub fn next(&self, from: i64) -> Option<(i64, Half)> {
        self.pending.range(from..).next().map(|(offset, half)| (*offset, *half))
    }

    /// Behind the last half message.
    pub fn half_end(&self) -> i64 {
        self.half_end
    }

    /// The half message at `offset`, if it waits.
    pub fn get(&self, offset: i64) -> Option<Half> {
        self.pending.get(&offset).copied()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Does none wait?
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// It was delivered, rolled back or parked. An operation message will say so. False: it had ended before.
    pub fn end(&mut self, offset: i64) -> bool {
        let waited = self.forget(offset);
        if waited {
            self.ended.push(offset);
        }
        waited
    }

    /// It can't be read any more. False: it had ended before.
    pub fn forget(&mut self, offset: i64) -> bool {
        let Some(half) = self.pending.remove(&offset) else { return false };
        if half.first != offset {
            self.copies.remove(&half.first);
        }
        true
    }

    /// Those that the next operation messages are to name.
    pub fn unsaid(&self) -> &[i64] {
        &self.ended
    }

    /// The operation message at `operation` of its queue was put for the first `count` of [`Transactions::unsaid`].
    pub fn said(&mut self, operation: i64, count: usize) {
        let last = self.ended.drain(..count).max();
        self.note_operation(operation, last);
    }

    /// The operation message at `operation` of its queue names `halves`, as was found in the log.
    pub fn read_operation(&mut self, operation: i64, halves: &[i64]) {
        for half in halves {
            self.forget(*half);
            // Who knew only the first copy ended the transaction all the same.
            if let Some(last) = self.copies.get(half).copied() {
                self.forget(last);
            }
        }
        self.note_operation(operation, halves.iter().copied().max());
    }

    fn note_operation(&mut self, operation: i64, last: Option<i64>) {
        let last = last.unwrap_or(i64::MIN);
        match self.operations.back_mut() {
            Some(note) if note.0 % OPERATIONS_TOGETHER != 0 => *note = (operation + 1, note.1.max(last)),
            _ => self.operations.push_back((operation + 1, last)),
        }
    }

    /// How far both queues are worked off.
    pub fn progress(&mut self) -> Progress {
        let half = self.pending.first_key_value().map_or(self.half_end, |(offset, _)| *offset);
        let half = self.ended.iter().copied().min().map_or(half, |unsaid| half.min(unsaid));
        while let Some((end, _)) = self.operations.pop_front_if(|(_, last)| *last < half) {
            self.operation = end;
        }
        Progress { half, operation: self.operation }
    }
}

#[cfg(test)]
mod tests;
