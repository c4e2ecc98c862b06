//! Who may consume which queue in order: locks that members of a group take on queues, for a minute at a time.

use protocol::heartbeat::MessageQueue;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a lock holds. Clients renew it every 20 s.
const LOCK_TIME: Duration = Duration::from_secs(60);

/// How long a client trusts a lock that it can't renew. Once it is out of reach, nobody waits longer.
const CLIENT_TRUST: Duration = Duration::from_secs(30);

/// So many queues of one group may be locked.
const LOCKS_MAX: usize = 100_000;

/// The locks of all groups.
#[doc(alias = "RebalanceLockManager")]
#[derive(Debug, Default)]
pub struct QueueLocks {
    groups: HashMap<String, HashMap<MessageQueue, Lock>>,
}

#[derive(Debug)]
struct Lock {
    client: String,
    until: Instant,
    taken: Instant,
}

impl QueueLocks {
    /// Takes or renews `client`'s locks. Answers with the queues that are its own now.
    #[doc(alias = "tryLockBatch")]
    pub fn lock(&mut self, group: &str, client: &str, queues: Vec<MessageQueue>, now: Instant) -> Vec<MessageQueue> {
        let locks = self.groups.entry(group.to_owned()).or_default();
        let mut owned = Vec::with_capacity(queues.len());
        for queue in queues {
            let lock = Lock { client: client.to_owned(), until: now + LOCK_TIME, taken: now };
            let full = locks.len() >= LOCKS_MAX;
            match locks.get_mut(&queue) {
                Some(known) if known.client == client || known.until <= now => *known = lock,
                Some(_) => continue,
                None if full => continue,
                None => {
                    locks.insert(queue.clone(), lock);
                }
            }
            owned.push(queue);
        }
        if locks.is_empty() {
            self.groups.remove(group);
        }
        owned
    }

    /// Gives `client`'s locks on these queues back.
    #[doc(alias = "unlockBatch")]
    pub fn unlock(&mut self, group: &str, client: &str, queues: &[MessageQueue]) {
        self.retain(group, |queue, lock| lock.client != client || !queues.contains(queue));
    }

    /// `client` has left the group: it works at nothing any more.
    pub fn left(&mut self, group: &str, client: &str) {
        self.retain(group, |_, lock| lock.client != client);
    }

    /// `client` is out of reach. It may still work at a queue for as long as it trusts its lock.
    pub fn lost(&mut self, group: &str, client: &str) {
        for lock in self.groups.get_mut(group).into_iter().flat_map(HashMap::values_mut) {
            if lock.client == client {
                lock.until = lock.until.min(lock.taken + CLIENT_TRUST);
            }
        }
    }

    /// Who holds the lock of this queue?
    pub fn holder(&self, group: &str, topic: &str, queue_id: i32, now: Instant) -> Option<&str> {
        let mut locks = self.groups.get(group)?.iter().filter(|(_, lock)| lock.until > now);
        let held = locks.find(|(queue, _)| queue.topic == topic && queue.queue_id == queue_id);
        held.map(|(_, lock)| lock.client.as_str())
    }

    /// Does any member of the group hold a lock?
    #[doc(alias = "isLockAllExpired")]
    pub fn any_held(&self, group: &str, now: Instant) -> bool {
        self.groups.get(group).is_some_and(|locks| locks.values().any(|lock| lock.until > now))
    }

    /// Forgets what has expired.
    pub fn expire(&mut self, now: Instant) {
        self.groups.retain(|_, locks| {
            locks.retain(|_, lock| lock.until > now);
            !locks.is_empty()
        });
    }

    fn retain(&mut self, group: &str, keep: impl Fn(&MessageQueue, &Lock) -> bool) {
        if let Some(locks) = self.groups.get_mut(group) {
            locks.retain(|queue, lock| keep(queue, lock));
            if locks.is_empty() {
                self.groups.remove(group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(ids: &[i32]) -> Vec<MessageQueue> {
        ids.iter().map(|id| MessageQueue { topic: "T".into(), broker_name: "b".into(), queue_id: *id }).collect()
    }

    #[test]
    fn a_queue_is_one_members_for_a_minute() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut locks = QueueLocks::default();
        assert_eq!(locks.lock("g", "a", queues(&[0, 1]), start), queues(&[0, 1]));
        assert_eq!(locks.lock("g", "b", queues(&[1, 2]), later(1)), queues(&[2]));
        assert_eq!(locks.lock("h", "b", queues(&[1]), later(1)), queues(&[1]), "groups don't meet");
        assert_eq!(locks.lock("g", "a", queues(&[1]), later(30)), queues(&[1]), "renewed");
        assert_eq!(locks.lock("g", "b", queues(&[0, 1]), later(60)), queues(&[0]));
        locks.unlock("g", "a", &queues(&[1, 2]));
        assert_eq!(locks.lock("g", "b", queues(&[1]), later(61)), queues(&[1]));
        assert!(locks.any_held("g", later(61)));
        assert!(!locks.any_held("g", later(200)));
        locks.expire(later(200));
        assert!(locks.groups.is_empty());
    }

    #[test]
    fn who_leaves_frees_its_queues_who_is_lost_keeps_them_while_it_trusts_them() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut locks = QueueLocks::default();
        locks.lock("g", "a", queues(&[0]), start);
        locks.lost("g", "a");
        assert_eq!(locks.lock("g", "b", queues(&[0]), later(29)), []);
        assert_eq!(locks.lock("g", "b", queues(&[0]), later(30)), queues(&[0]));
        locks.left("g", "b");
        assert_eq!(locks.lock("g", "a", queues(&[0]), later(31)), queues(&[0]));
    }
}
