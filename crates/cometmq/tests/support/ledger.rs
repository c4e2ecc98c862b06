//! The oracle: what was sent, what was acknowledged, what is there.
//!
//! Each body says who sent it and its number: `sender:number:padding`. After the faults have stopped, every acknowledged
//! message must be at its queue and offset with its bytes; no queue has a gap, two messages at one offset, or a message
//! that nobody sent; and in each queue the acknowledged messages of one sender stand in the order of their sending.

use super::Message;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Where a message is: queue and offset.
pub type Place = (i32, i64);

#[derive(Default)]
pub struct Ledger {
    sent: HashSet<Vec<u8>>,
    acknowledged: BTreeMap<Place, Vec<u8>>,
}

impl Ledger {
    /// The body of the message `number` of `sender`, `size` bytes at least.
    pub fn body(sender: u32, number: u64, size: usize) -> Vec<u8> {
        let mut body = format!("{sender}:{number}:").into_bytes();
        let mut state = u64::from(sender) << 32 ^ number;
        while body.len() < size {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            body.push(b'a' + (state >> 59) as u8 % 26);
        }
        body
    }

    /// Before a message leaves.
    pub fn send(&mut self, body: &[u8]) {
        self.sent.insert(body.to_vec());
    }

    /// When its answer has come.
    pub fn acknowledge(&mut self, queue: i32, offset: i64, body: Vec<u8>) {
        let before = self.acknowledged.insert((queue, offset), body);
        assert!(before.is_none(), "two messages were acknowledged at offset {offset} of queue {queue}");
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// Holds what is in the queues against what was promised. The first violation is the error.
    pub fn judge(&self, queues: &BTreeMap<i32, Vec<Message>>) -> Result<(), String> {
        let mut there: HashMap<Place, &Message> = HashMap::new();
        for (queue, messages) in queues {
            let mut last: HashMap<&[u8], u64> = HashMap::new();
            for (expected, message) in messages.iter().enumerate() {
                let at = format!("queue {queue} offset {} (log {})", message.queue_offset, message.commit_log_offset);
                if message.queue_offset != expected as i64 {
                    return Err(format!(
                        "{at}: offset {expected} was to come: a gap or a second message at one offset"
                    ));
                }
                if !self.sent.contains(&message.body) {
                    return Err(format!("{at}: nobody sent this message"));
                }
                let place = (*queue, message.queue_offset);
                if self.acknowledged.contains_key(&place) {
                    let (sender, number) = sender_and_number(&message.body);
                    if last.insert(sender, number).is_some_and(|before| before >= number) {
                        return Err(format!("{at}: message {number} of one sender stands behind a later one"));
                    }
                }
                there.insert(place, message);
            }
        }
        for ((queue, offset), body) in &self.acknowledged {
            match there.get(&(*queue, *offset)) {
                None => return Err(format!("acknowledged message at queue {queue} offset {offset} is lost")),
                Some(message) if message.body != *body => {
                    return Err(format!("queue {queue} offset {offset} holds another message than was acknowledged"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

fn sender_and_number(body: &[u8]) -> (&[u8], u64) {
    let mut parts = body.split(|byte| *byte == b':');
    let sender = parts.next().unwrap_or_default();
    let number = parts.next().and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    (sender, number.unwrap_or(0))
}
