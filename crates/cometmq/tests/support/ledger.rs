//! The oracle: what was sent, what was acknowledged, what was received; judged when the faults have stopped.
//!
//! Every acknowledged message is at its queue and offset with its bytes. No queue has a gap, two messages at one offset, or
//! a message that nobody sent, and without faults none has a message twice. In each queue the acknowledged messages of
//! one sender stand in the order of their sending. What was promised for later (a delayed message, one sent back) is
//! received, and not before its time. No group's offset is ahead of what the group received.
//!
//! A body says who sent it and its number; the rest of it follows from these, so that every byte can be checked.

use super::Message;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::Instant;

/// A message: its sender, and its number there.
pub type Name = (u32, u64);

/// A queue of a topic.
pub type Queue = (String, i32);

/// What is in a queue.
#[derive(Debug, Default)]
pub struct Content {
    /// The first offset that the broker still has.
    pub min: i64,
    pub messages: Vec<Message>,
}

/// What may have happened that was not ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Faults {
    None,
    /// Who got no answer sends again: a message may be there twice.
    Some,
}

/// Everything that was done, and what broke a promise at once.
#[derive(Debug, Default)]
pub struct Ledger {
    log_file_size: i64,
    sent: HashSet<Name>,
    acknowledged: BTreeMap<Queue, BTreeMap<i64, Acknowledged>>,
    promised: HashMap<Name, Vec<Promise>>,
    received: HashMap<String, HashMap<Name, i32>>,
    /// What lies before it in the commit log may have been deleted.
    forgiven: i64,
    violation: Option<Violation>,
}

#[derive(Debug, Clone, Copy)]
struct Acknowledged {
    name: Name,
    commit_log_offset: i64,
}

/// A message that is to come to a group.
#[derive(Debug, Clone)]
pub struct Promise {
    pub group: &'static str,
    pub name: Name,
    /// How often it has come in vain when it comes.
    pub attempt: i32,
    pub not_before: Instant,
}

/// A promise that was broken, and where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The bytes of a message.
pub fn body((sender, number): Name, size: usize) -> Vec<u8> {
    let mut body = format!("{sender}:{number}:").into_bytes();
    let mut state = u64::from(sender) << 32 ^ number;
    while body.len() < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        body.push(b'a' + (state >> 59) as u8 % 26);
    }
    body
}

/// Which message it is; `None` if not one byte is as it was sent.
pub fn name_of(bytes: &[u8]) -> Option<Name> {
    let mut parts = bytes.splitn(3, |byte| *byte == b':');
    let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse::<u64>().ok();
    let name = (u32::try_from(number()?).ok()?, number()?);
    (body(name, bytes.len()) == bytes).then_some(name)
}

impl Ledger {
    /// For a broker whose commit log files have this size.
    pub fn new(log_file_size: i64) -> Ledger {
        Ledger { log_file_size, ..Ledger::default() }
    }

    /// Before a message leaves.
    pub fn send(&mut self, name: Name) {
        self.sent.insert(name);
    }

    /// When the answer has come that it was stored.
    pub fn acknowledge(&mut self, topic: &str, queue_id: i32, offset: i64, commit_log_offset: i64, name: Name) {
        let queue = (topic.to_owned(), queue_id);
        let place = self.place(&queue, offset, commit_log_offset);
        let before =
            self.acknowledged.entry(queue).or_default().insert(offset, Acknowledged { name, commit_log_offset });
        if let Some(before) = before {
            self.broken(format!("{place}: acknowledged for message {name:?}, and before for {:?}", before.name));
        }
    }

    /// When the answer has come that it will be delivered.
    pub fn promise(&mut self, promise: Promise) {
        self.promised.entry(promise.name).or_default().push(promise);
    }

    /// A member of the group has it. `attempt`: how often it came in vain before.
    pub fn receive(&mut self, group: &str, message: &Message, attempt: i32, at: Instant) {
        let queue = (message.topic.clone(), message.queue_id);
        let place = self.place(&queue, message.queue_offset, message.commit_log_offset);
        let name = match name_of(&message.body).filter(|name| self.sent.contains(name)) {
            Some(name) => name,
            None => return self.broken(format!("{place}: group {group} received a message that nobody sent")),
        };
        let promised = self.promised.get(&name).into_iter().flatten();
        let promised = promised.filter(|it| it.group == group && it.attempt == attempt).map(|it| it.not_before).min();
        if let Some(early) = promised.filter(|due| *due > at).map(|due| due - at) {
            self.broken(format!("{place}: message {name:?} came to group {group} {early:?} before its time"));
        }
        let attempts = self.received.entry(group.to_owned()).or_default().entry(name).or_insert(attempt);
        *attempts = attempt.max(*attempts);
    }

    /// Retention may delete what lies before this place in the commit log.
    pub fn forgive(&mut self, commit_log_offset: i64) {
        self.forgiven = self.forgiven.max(commit_log_offset);
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.values().map(BTreeMap::len).sum()
    }

    pub fn promised(&self) -> usize {
        self.promised.values().map(Vec::len).sum()
    }

    /// The first message that was acknowledged in a topic, or promised, and is still to come to the group.
    pub fn still_to_come(&self, group: &str, topic: &str) -> Option<String> {
        let mut promised = self.promised.values().flatten().filter(|it| it.group == group);
        if let Some(promise) = promised.find(|it| self.attempts(group, it.name) < Some(it.attempt)) {
            return Some(format!("message {:?}, promised for attempt {}", promise.name, promise.attempt));
        }
        let queues = self.acknowledged.iter().filter(|((of, _), _)| of == topic);
        let mut places = queues.flat_map(|(queue, places)| places.iter().map(move |(offset, it)| (queue, *offset, it)));
        let (queue, offset, it) =
            places.find(|(.., it)| it.commit_log_offset >= self.forgiven && self.attempts(group, it.name).is_none())?;
        Some(format!("{}: message {:?}", self.place(queue, offset, it.commit_log_offset), it.name))
    }

    /// The group's offset in a queue, as the broker says it.
    pub fn judge_offset(&self, group: &str, queue: &Queue, committed: i64) -> Result<(), Violation> {
        let places = self.acknowledged.get(queue).into_iter().flat_map(|places| places.range(..committed));
        for (offset, it) in places.filter(|(_, it)| it.commit_log_offset >= self.forgiven) {
            if self.attempts(group, it.name).is_none() {
                let place = self.place(queue, *offset, it.commit_log_offset);
                return Err(Violation(format!(
                    "{place}: group {group} never received it, and its offset is {committed} already"
                )));
            }
        }
        Ok(())
    }

    /// Holds what is in the queues against what was done. The first violation is the error.
    pub fn judge(&self, queues: &BTreeMap<Queue, Content>, faults: Faults) -> Result<(), Violation> {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        let nowhere = Content::default();
        let mut seen: HashMap<(&str, Name), String> = HashMap::new();
        for (queue, content) in queues {
            self.judge_queue(queue, content)?;
            for message in content.messages.iter().filter(|_| faults == Faults::None) {
                let place = self.place(queue, message.queue_offset, message.commit_log_offset);
                let name = name_of(&message.body).unwrap_or_default();
                if let Some(before) = seen.insert((&queue.0, name), place.clone()) {
                    return Err(Violation(format!("{place}: message {name:?} is there twice, first at {before}")));
                }
            }
        }
        for (queue, places) in &self.acknowledged {
            let content = queues.get(queue).unwrap_or(&nowhere);
            for (offset, it) in places {
                let place = self.place(queue, *offset, it.commit_log_offset);
                if *offset < content.min && it.commit_log_offset < self.forgiven {
                    continue;
                }
                let found = usize::try_from(offset - content.min).ok().and_then(|n| content.messages.get(n));
                match found {
                    None => return Err(Violation(format!("{place}: the acknowledged message {:?} is lost", it.name))),
                    Some(found) if name_of(&found.body) != Some(it.name) => {
                        let (found, name) = (name_of(&found.body), it.name);
                        return Err(Violation(format!("{place}: {found:?} stands where {name:?} was acknowledged")));
                    }
                    Some(found) if found.commit_log_offset != it.commit_log_offset => {
                        let now = self.in_log(found.commit_log_offset);
                        return Err(Violation(format!("{place}: the acknowledged message has moved to {now}")));
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    fn judge_queue(&self, queue: &Queue, content: &Content) -> Result<(), Violation> {
        let acknowledged = self.acknowledged.get(queue);
        let mut last: HashMap<u32, u64> = HashMap::new();
        for (message, expected) in content.messages.iter().zip(content.min..) {
            let place = self.place(queue, message.queue_offset, message.commit_log_offset);
            if message.queue_offset > expected {
                return Err(Violation(format!("{place}: a gap, offset {expected} was to come")));
            }
            if message.queue_offset < expected {
                return Err(Violation(format!("{place}: a second message at this offset, {expected} was to come")));
            }
            let Some((sender, number)) = name_of(&message.body).filter(|name| self.sent.contains(name)) else {
                return Err(Violation(format!("{place}: nobody sent this message")));
            };
            let is_acknowledged = acknowledged.is_some_and(|places| places.contains_key(&message.queue_offset));
            if is_acknowledged && last.insert(sender, number).is_some_and(|before| before >= number) {
                let before = last[&sender];
                return Err(Violation(format!(
                    "{place}: message {number} of sender {sender} stands behind a later one, or twice ({before})"
                )));
            }
        }
        Ok(())
    }

    fn attempts(&self, group: &str, name: Name) -> Option<i32> {
        self.received.get(group)?.get(&name).copied()
    }

    fn broken(&mut self, violation: String) {
        self.violation.get_or_insert(Violation(violation));
    }

    /// All that is needed to look at it.
    fn place(&self, (topic, queue_id): &Queue, offset: i64, commit_log_offset: i64) -> String {
        format!("{topic} queue {queue_id} offset {offset} ({})", self.in_log(commit_log_offset))
    }

    fn in_log(&self, at: i64) -> String {
        let position = at.rem_euclid(self.log_file_size.max(1));
        format!("commit log offset {at}: file {:020} position {position}", at - position)
    }
}
