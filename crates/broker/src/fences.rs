//! Fences in ordered topics that were given more queues: `config/orderFences.json`.
//!
//! A producer chooses a queue by the hash of a key over the number of queues. With twice as many queues, half of the keys
//! of queue `q` move to queue `q + n`, and what they sent before lies in `q` still. So a group gets a new queue only when
//! it has consumed the old one up to where it was when the last producer had learnt of the new ones:
//!
//! | | a new queue |
//! |---|---|
//! | the topic grows: the fence is saved, then the topic changes | is held |
//! | [`SETTLE_TIME`] later: every producer knows the new queues; the ends of the old ones are saved with the fence | is held until the group has consumed its old queue up to that end |
//! | what lay before the ends has expired | fence and all are forgotten |
//!
//! Nothing is kept per group: a group that goes back before an end waits again.

use crate::config::Config;
use crate::table::{self, Table, TableFile};
use parking_lot::RwLock;
use protocol::request::order::OrderFence;
use protocol::topic::TopicConfig;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Until then every producer has learnt of new queues: they ask name servers every 30 s, and these hear of a change at once.
pub const SETTLE_TIME: Duration = Duration::from_secs(60);

/// The fences of all topics.
pub struct OrderFences {
    table: RwLock<Inner>,
    /// Is there any? Pulls look here first.
    any: AtomicBool,
    file: TableFile,
}

#[derive(Default)]
struct Inner {
    fences: BTreeMap<String, Vec<Fence>>,
    changes: u64,
}

/// One growth of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Fence {
    /// Queues to write to before, and after; a multiple.
    before: i32,
    after: i32,
    /// When, milliseconds since 1970; for people.
    at: i64,
    /// The ends of the queues there were before, when every producer knew of the new ones.
    ends: Option<Vec<i64>>,
    /// From when on that is so. A fence that was read from its file begins to settle anew.
    #[serde(skip)]
    settles: Option<Instant>,
}

/// `orderFences.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    fences: BTreeMap<String, Vec<Fence>>,
}

/// What a new queue waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Awaited {
    /// The old queue whose keys came here.
    pub queue: i32,
    /// Up to where it is to be consumed; `None`: producers may not know the new queue yet.
    pub end: Option<i64>,
}

/// Is the order of keys kept in this topic, as its settings say?
pub fn is_ordered(config: &TopicConfig) -> bool {
    config.order || config.attributes.get("message.type").is_some_and(|kind| kind == "FIFO")
}

impl OrderFences {
    /// Reads the table.
    pub fn open(config: &Config, now: Instant) -> Result<OrderFences, table::OpenError> {
        let file = TableFile::new(config, "orderFences.json");
        let mut read: File = file.open()?.unwrap_or_default();
        for fence in read.fences.values_mut().flatten() {
            fence.settles = Some(now + SETTLE_TIME);
        }
        let any = AtomicBool::new(!read.fences.is_empty());
        Ok(OrderFences { table: RwLock::new(Inner { fences: read.fences, changes: 0 }), any, file })
    }

    /// After a power failure an old queue may end before what was noted as its end: what lay between is gone, and nobody is
    /// to wait for what comes in its place. `end` says where a queue of a topic ends at a start.
    pub fn clamp(&self, end: impl Fn(&str, i32) -> i64) {
        let Inner { fences, changes } = &mut *self.table.write();
        for (topic, fence) in fences.iter_mut().flat_map(|(topic, fences)| fences.iter_mut().map(move |it| (topic, it)))
        {
            for (noted, queue) in fence.ends.iter_mut().flatten().zip(0..) {
                let now = end(topic, queue);
                if now < *noted {
                    *noted = now;
                    *changes += 1;
                }
            }
        }
    }

    /// `topic` grows from `before` queues to `after`, a multiple. To be saved before the topic changes.
    pub fn add(&self, topic: &str, before: i32, after: i32, at: i64, now: Instant) {
        let mut table = self.table.write();
        let fence = Fence { before, after, at, ends: None, settles: Some(now + SETTLE_TIME) };
        table.fences.entry(topic.to_owned()).or_default().push(fence);
        table.changes += 1;
        self.any.store(true, Ordering::Release);
    }

    /// What a group has to wait for before it gets `queue`, having consumed each queue up to what `consumed` says.
    pub fn awaited(&self, topic: &str, mut queue: i32, consumed: impl Fn(i32) -> i64) -> Option<Awaited> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let table = self.table.read();
        // The newest growth first: the queue whose keys came here may itself be one that an earlier growth added.
        for fence in table.fences.get(topic)?.iter().rev() {
            if queue < fence.before || fence.before < 1 {
                continue;
            }
            queue %= fence.before;
            let end = fence.ends.as_ref().map(|ends| ends.get(queue as usize).copied().unwrap_or(0));
            if end.is_none_or(|end| consumed(queue) < end) {
                return Some(Awaited { queue, end });
            }
        }
        None
    }

    /// Name servers don't know the topics as they are at `now`, so nobody can have learnt of new queues from them.
    pub fn not_known_yet(&self, now: Instant) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let mut table = self.table.write();
        for fence in table.fences.values_mut().flatten().filter(|fence| fence.ends.is_none()) {
            fence.settles = Some(now + SETTLE_TIME);
        }
    }

    /// All fences, by topic.
    pub fn list(&self) -> Vec<OrderFence> {
        let table = self.table.read();
        let of_topic = |(topic, fences): (&String, &Vec<Fence>)| -> Vec<OrderFence> {
            let shown = fences.iter().map(|fence| OrderFence {
                topic: topic.clone(),
                before: fence.before,
                after: fence.after,
                at: fence.at,
                ends: fence.ends.clone(),
            });
            shown.collect()
        };
        table.fences.iter().flat_map(of_topic).collect()
    }

    /// Notes the ends of old queues where producers know of the new ones by `now`, and forgets fences before which nothing
    /// lies any more. `bounds` says where a queue of a topic begins and ends. To be saved if that is true.
    pub fn settle(&self, now: Instant, bounds: impl Fn(&str, i32) -> (i64, i64)) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let mut table = self.table.write();
        let mut changed = 0;
        for (topic, fences) in &mut table.fences {
            for fence in fences.iter_mut().filter(|fence| fence.ends.is_none()) {
                if fence.settles.is_none_or(|settles| settles <= now) {
                    fence.ends = Some((0..fence.before).map(|queue| bounds(topic, queue).1).collect());
                    changed += 1;
                }
            }
            // The oldest first: a newer one leads to the queues of an older one.
            while let Some(ends) = fences.first().and_then(|fence| fence.ends.as_ref()) {
                if ends.iter().enumerate().any(|(queue, end)| bounds(topic, queue as i32).0 < *end) {
                    break;
                }
                fences.remove(0);
                changed += 1;
            }
        }
        table.fences.retain(|_, fences| !fences.is_empty());
        table.changes += changed;
        self.any.store(!table.fences.is_empty(), Ordering::Release);
        changed > 0
    }

    /// Forgets the fences of a topic: it is deleted, or an operator wants its queues consumed at once. To be saved if
    /// there were any.
    pub fn forget(&self, topic: &str) -> bool {
        let mut table = self.table.write();
        let had = table.fences.remove(topic).is_some();
        table.changes += u64::from(had);
        self.any.store(!table.fences.is_empty(), Ordering::Release);
        had
    }
}

impl Table for OrderFences {
    fn save(&self) -> std::io::Result<()> {
        let _one_at_a_time = self.file.saving.lock();
        let (file, changes) = {
            let table = self.table.read();
            if table.changes == 0 {
                return Ok(());
            }
            (File { fences: table.fences.clone() }, table.changes)
        };
        self.file.save(&file)?;
        self.table.write().changes -= changes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &tempfile::TempDir) -> Config {
        Config { store_root: dir.path().into(), ..Config::default() }
    }

    #[test]
    fn a_new_queue_waits_for_the_producers_and_then_for_the_queue_its_keys_come_from() {
        let dir = tempfile::tempdir().unwrap();
        let now = Instant::now();
        let fences = OrderFences::open(&config(&dir), now).unwrap();
        assert_eq!(fences.awaited("T", 3, |_| 0), None);
        fences.add("T", 2, 4, 1, now);
        assert_eq!(fences.awaited("T", 3, |_| 100), Some(Awaited { queue: 1, end: None }));
        assert_eq!(fences.awaited("T", 1, |_| 0), None, "an old queue");
        assert_eq!(fences.awaited("U", 3, |_| 0), None, "another topic");
        let ends = |_: &str, queue: i32| (0, 10 + i64::from(queue));
        assert!(!fences.settle(now, ends));
        fences.not_known_yet(now + Duration::from_secs(5));
        assert!(!fences.settle(now + SETTLE_TIME, ends), "name servers knew 5 s later");
        assert!(fences.settle(now + SETTLE_TIME + Duration::from_secs(5), ends));
        assert_eq!(fences.awaited("T", 3, |_| 10), Some(Awaited { queue: 1, end: Some(11) }));
        assert_eq!(fences.awaited("T", 2, |_| 10), None);
    }

    #[test]
    fn a_queue_of_a_second_growth_waits_for_both() {
        let dir = tempfile::tempdir().unwrap();
        let now = Instant::now();
        let fences = OrderFences::open(&config(&dir), now).unwrap();
        fences.add("T", 2, 4, 1, now);
        fences.settle(now + SETTLE_TIME, |_, queue| (0, if queue < 2 { 5 } else { 0 }));
        fences.add("T", 4, 8, 2, now);
        fences.settle(now + SETTLE_TIME, |_, queue| (0, if queue < 4 { 7 } else { 0 }));
        // Queue 7 takes keys of 3, which took keys of 1.
        let consumed = |three: i64, one: i64| fences.awaited("T", 7, move |queue| if queue == 3 { three } else { one });
        assert_eq!(consumed(6, 9), Some(Awaited { queue: 3, end: Some(7) }));
        assert_eq!(consumed(7, 4), Some(Awaited { queue: 1, end: Some(5) }));
        assert_eq!(consumed(7, 5), None);
    }

    #[test]
    fn fences_are_there_after_a_restart_until_nothing_lies_before_them() {
        let dir = tempfile::tempdir().unwrap();
        let now = Instant::now();
        let fences = OrderFences::open(&config(&dir), now).unwrap();
        fences.add("T", 1, 2, 1, now);
        fences.save().unwrap();

        let fences = OrderFences::open(&config(&dir), now).unwrap();
        assert_eq!(fences.awaited("T", 1, |_| 9), Some(Awaited { queue: 0, end: None }), "it settles anew");
        assert!(fences.settle(now + SETTLE_TIME, |_, _| (0, 9)));
        fences.save().unwrap();

        let fences = OrderFences::open(&config(&dir), now).unwrap();
        assert_eq!(fences.awaited("T", 1, |_| 8), Some(Awaited { queue: 0, end: Some(9) }));
        fences.clamp(|_, _| 12);
        assert_eq!(fences.table.read().changes, 0, "the queue is as long as it was");
        assert!(!fences.settle(now, |_, _| (8, 12)));
        assert!(fences.settle(now, |_, _| (9, 12)), "all before it has expired");
        assert_eq!(fences.awaited("T", 1, |_| 0), None);
        fences.save().unwrap();
        assert!(!OrderFences::open(&config(&dir), now).unwrap().forget("T"));
    }

    #[test]
    fn nobody_waits_for_what_a_power_failure_took_from_an_old_queue() {
        let dir = tempfile::tempdir().unwrap();
        let now = Instant::now();
        let fences = OrderFences::open(&config(&dir), now).unwrap();
        fences.add("T", 2, 4, 1, now);
        assert!(fences.settle(now + SETTLE_TIME, |_, queue| (0, 9 + i64::from(queue))));
        fences.save().unwrap();
        for _ in 0..2 {
            let fences = OrderFences::open(&config(&dir), now).unwrap();
            fences.clamp(|_, queue| if queue == 1 { 7 } else { 20 });
            assert_eq!(fences.awaited("T", 3, |_| 6), Some(Awaited { queue: 1, end: Some(7) }));
            assert_eq!(fences.awaited("T", 3, |_| 7), None);
            assert_eq!(fences.awaited("T", 2, |_| 8), Some(Awaited { queue: 0, end: Some(9) }));
            fences.save().unwrap();
        }
        let fences = OrderFences::open(&config(&dir), now).unwrap();
        assert_eq!(fences.awaited("T", 3, |_| 7), None, "it is saved");
    }
}
