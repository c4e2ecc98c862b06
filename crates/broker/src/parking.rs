//! Keys that are parked: `config/orderParked.json`.
//!
//! A consumer in order that can't work at a message tries it again in place, and all keys of the queue wait for it. Once its key
//! is parked, the message and all later ones of the key are passed over for the group, and other keys go on. Nothing is copied: released,
//! the key's messages are read where they are, before all later ones of the key.
//!
//! | the key is | pulls of the group get |
//! |---|---|
//! | parked from `p` on | all but the key's messages from `p` on |
//! | released, when all before `e` was consumed, its messages aside | from `p` to `e` the key's messages alone, from `e` on everything |
//! | and the group has come to `e` | everything |
//!
//! What members hold in memory they would consume all the same. So with each change the group goes on elsewhere, by a reset of its
//! offset: where the parked message is, or where the released one is. Who hears of the reset pulls by the new table, who pulls
//! by the old one has not heard of it: both change under one lock.
//!
//! A change is on disk before it has any effect. A release that a crash meets begins anew, if its reset may not have been kept.

use crate::config::Config;
use crate::table::{self, TableFile};
use parking_lot::{Mutex, RwLock};
use protocol::message::property;
use protocol::record::Record;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// So many keys of one queue may be parked. If there are more, it is not the messages.
pub const KEYS_MAX: usize = 100;

/// A member that pulls hears of a reset at once. One that has not, holds so much that it does not pull, and is told by a request.
const PULLS_WITHIN: Duration = Duration::from_secs(2);

/// Nobody is there who could be told.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(120);

/// A queue, as a group consumes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupQueue {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The queue.
    pub queue_id: i32,
}

/// A key whose messages are passed over, from one of them on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedKey {
    /// `None`: the message has none, and is passed over alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The first message that is parked.
    pub from: i64,
    /// Since when, milliseconds since 1970.
    #[serde(default)]
    pub since: i64,
    /// Who parked it, for people.
    #[serde(default)]
    pub by: String,
}

/// Keys that were parked, and are consumed now while nothing else is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// From which of its messages on each has still to be consumed.
    pub keys: Vec<ParkedKey>,
    /// All others from here on were consumed …
    pub begin: i64,
    /// … up to here.
    pub end: i64,
    /// The way back may not be on disk: after a crash it begins anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
}

/// What is parked in a queue for a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// The keys.
    #[serde(default)]
    pub keys: Vec<ParkedKey>,
    /// The release that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
}

/// What a pull does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It may have it.
    Given,
    /// It passes it over: its key is parked.
    Parked,
    /// It passes it over: it was consumed before a release went back.
    Consumed,
}

/// As many keys of this queue are parked as may be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{KEYS_MAX} keys of this queue are parked already; release some")]
pub struct TooMany;

/// The key of a message: its sharding key, else its keys as they are.
pub fn key_of<'a>(record: &Record<'a>) -> Option<&'a str> {
    let properties = record.properties();
    let key = |name| properties.get(name).map(str::trim).filter(|key| !key.is_empty());
    key(property::SHARDINGKEY).or_else(|| key(property::KEYS))
}

impl ParkedKey {
    fn has(&self, offset: i64, key: Option<&str>) -> bool {
        match &self.key {
            Some(own) => key == Some(own) && self.from <= offset,
            None => self.from == offset,
        }
    }
}

impl Parked {
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.release.is_none()
    }

    /// What becomes of the message at `offset` with this key.
    pub fn passage(&self, offset: i64, key: Option<&str>) -> Passage {
        if self.keys.iter().any(|it| it.has(offset, key)) {
            return Passage::Parked;
        }
        match &self.release {
            Some(release)
                if (release.begin..release.end).contains(&offset)
                    && !release.keys.iter().any(|it| it.has(offset, key)) =>
            {
                Passage::Consumed
            }
            _ => Passage::Given,
        }
    }

    /// Parks a key, or a message without one. False: it was already.
    pub fn park(&mut self, new: ParkedKey) -> Result<bool, TooMany> {
        let is_full = self.keys.len() >= KEYS_MAX;
        match self.keys.iter_mut().find(|it| it.key == new.key && (it.key.is_some() || it.from == new.from)) {
            Some(known) if known.from <= new.from => return Ok(false),
            Some(known) => *known = new,
            None if is_full => return Err(TooMany),
            None => self.keys.push(new),
        }
        Ok(true)
    }

    /// Releases the keys that `which` says: from `from` on, of which nothing has been consumed. All else before `consumed` was.
    /// Answers with where the group is to go on.
    pub fn release(&mut self, which: impl Fn(&ParkedKey) -> Option<i64>, consumed: i64) -> i64 {
        let mut released: Vec<ParkedKey> = Vec::new();
        self.keys.retain(|key| match which(key) {
            Some(from) => {
                released.push(ParkedKey { from, ..key.clone() });
                false
            }
            None => true,
        });
        let under_way = self.release.take().filter(|release| (release.begin..release.end).contains(&consumed));
        let end = under_way.as_ref().map_or(consumed, |release| release.end);
        let begin = under_way.as_ref().map(|release| release.begin);
        for mut key in under_way.into_iter().flat_map(|release| release.keys) {
            // Only what is still to come.
            match key.key {
                Some(_) => key.from = key.from.max(consumed),
                None if key.from < consumed => continue,
                None => {}
            }
            match released.iter_mut().find(|it| it.key.is_some() && it.key == key.key) {
                Some(again) => again.from = again.from.min(key.from),
                None => released.push(key),
            }
        }
        released.retain(|key| key.from < end);
        let from = released.iter().map(|key| key.from).min().unwrap_or(consumed).min(consumed);
        if !released.is_empty() {
            let begin = begin.map_or(from, |begin| begin.min(from));
            self.release = Some(Release { keys: released, begin, end, pending: true });
        }
        from
    }
}

/// Group → topic → queue → what is parked there.
type Tables = BTreeMap<String, BTreeMap<String, BTreeMap<i32, Arc<Parked>>>>;

/// `orderParked.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    #[serde(default)]
    parked: BTreeMap<String, BTreeMap<String, BTreeMap<i32, Parked>>>,
}

/// What is parked, of all groups.
///
/// Its lock is held while the offsets of a group are reset, and while a pull hears of that; it comes before that of the offsets.
pub struct Parking {
    table: RwLock<Tables>,
    /// Is there anything? Pulls look here first.
    any: AtomicBool,
    file: TableFile,
    /// Members that are to hear that they go on elsewhere.
    moves: Mutex<BTreeMap<GroupQueue, Move>>,
    /// What is about to expire, or has, and was told of: queue, offset, and whether it has.
    told: Mutex<BTreeSet<(GroupQueue, i64, bool)>>,
}

/// Members are to go on elsewhere.
#[derive(Debug, Clone, Copy)]
struct Move {
    since: Instant,
    /// They were told by a request.
    asked: bool,
}

/// What is to be done so that members go on elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nudge {
    /// Tell them by a request, as they don't pull.
    Ask,
    /// They have been told; they are to share their queues anew soon.
    Rebalance,
}

impl Parking {
    /// Reads the table.
    pub fn open(config: &Config) -> Result<Parking, table::OpenError> {
        let file = TableFile::new(config, "orderParked.json");
        let read: File = file.open()?.unwrap_or_default();
        let mut tables = Tables::new();
        for (group, topics) in read.parked {
            for (topic, queues) in topics {
                let queues = queues.into_iter().map(|(queue_id, parked)| (queue_id, Arc::new(parked)));
                tables.entry(group.clone()).or_default().insert(topic, queues.collect());
            }
        }
        Ok(Parking {
            any: AtomicBool::new(!tables.is_empty()),
            table: RwLock::new(tables),
            file,
            moves: Mutex::default(),
            told: Mutex::default(),
        })
    }

    /// Is anything parked, or anybody to go on elsewhere?
    pub fn is_used(&self) -> bool {
        self.any.load(Ordering::Acquire) || !self.moves.lock().is_empty()
    }

    /// What is parked in this queue; with what `hear` says, as of the same moment.
    pub fn read<T>(
        &self,
        group: &str,
        topic: &str,
        queue_id: i32,
        hear: impl FnOnce() -> T,
    ) -> (Option<Arc<Parked>>, T) {
        if !self.any.load(Ordering::Acquire) {
            return (None, hear());
        }
        let table = self.table.read();
        let parked = table.get(group).and_then(|topics| topics.get(topic)?.get(&queue_id).cloned());
        (parked, hear())
    }

    /// What is parked in this queue.
    pub fn get(&self, queue: &GroupQueue) -> Option<Arc<Parked>> {
        self.read(&queue.group, &queue.topic, queue.queue_id, || ()).0
    }

    /// All queues in which something is parked.
    pub fn all(&self) -> Vec<(GroupQueue, Arc<Parked>)> {
        let table = self.table.read();
        let topics = table.iter().flat_map(|(group, topics)| topics.iter().map(move |(topic, it)| (group, topic, it)));
        let queues = topics.flat_map(|(group, topic, queues)| {
            queues.iter().map(move |(queue_id, parked)| {
                (GroupQueue { group: group.clone(), topic: topic.clone(), queue_id: *queue_id }, parked.clone())
            })
        });
        queues.collect()
    }

    /// Changes what is parked in a queue. It is on disk, and then in force together with what `effect` does. Blocks.
    pub fn change<T, E: From<io::Error>>(
        &self,
        queue: &GroupQueue,
        edit: impl FnOnce(&mut Parked) -> Result<T, E>,
        effect: impl FnOnce(&T),
    ) -> Result<T, E> {
        let GroupQueue { group, topic, queue_id } = queue;
        self.replace(
            |tables| {
                let queues = tables.entry(group.clone()).or_default().entry(topic.clone()).or_default();
                let mut parked = queues.get(queue_id).map(|it| (**it).clone()).unwrap_or_default();
                let done = edit(&mut parked)?;
                queues.insert(*queue_id, Arc::new(parked));
                Ok(done)
            },
            effect,
        )
    }

    fn replace<T, E: From<io::Error>>(
        &self,
        edit: impl FnOnce(&mut Tables) -> Result<T, E>,
        effect: impl FnOnce(&T),
    ) -> Result<T, E> {
        let _one_at_a_time = self.file.saving.lock();
        let before = self.table.read().clone();
        let mut tables = before.clone();
        let done = edit(&mut tables)?;
        tables.retain(|_, topics| {
            topics.retain(|_, queues| {
                queues.retain(|_, parked| !parked.is_empty());
                !queues.is_empty()
            });
            !topics.is_empty()
        });
        if tables != before {
            let plain = |queues: &BTreeMap<i32, Arc<Parked>>| {
                queues.iter().map(|(queue_id, parked)| (*queue_id, (**parked).clone())).collect()
            };
            let topics = |topics: &BTreeMap<String, BTreeMap<i32, Arc<Parked>>>| {
                topics.iter().map(|(topic, queues)| (topic.clone(), plain(queues))).collect()
            };
            self.file.save(&File { parked: tables.iter().map(|(group, it)| (group.clone(), topics(it))).collect() })?;
        }
        let mut table = self.table.write();
        self.any.store(!tables.is_empty(), Ordering::Release);
        *table = tables;
        effect(&done);
        Ok(done)
    }

    /// Forgets what is parked in a topic. Blocks.
    pub fn forget_topic(&self, topic: &str) -> io::Result<()> {
        self.forget(|_, name| name == topic)
    }

    /// Forgets what is parked for a group. Blocks.
    pub fn forget_group(&self, group: &str) -> io::Result<()> {
        self.forget(|name, _| name == group)
    }

    fn forget(&self, gone: impl Fn(&str, &str) -> bool) -> io::Result<()> {
        if !self.any.load(Ordering::Acquire) {
            return Ok(());
        }
        let edit = |tables: &mut Tables| -> io::Result<()> {
            tables.iter_mut().for_each(|(group, topics)| topics.retain(|topic, _| !gone(group, topic)));
            Ok(())
        };
        self.replace(edit, |()| ())
    }

    /// The queues whose release is over: the group has come to its end. `consumed` says how far it has come, if it goes on from where
    /// it was sent back to.
    pub fn released(&self, consumed: impl Fn(&GroupQueue) -> Option<i64>) -> Vec<GroupQueue> {
        if !self.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let through = |queue: &GroupQueue, parked: &Parked| {
            parked.release.as_ref().is_some_and(|release| consumed(queue).is_some_and(|offset| offset >= release.end))
        };
        self.all().into_iter().filter(|(queue, parked)| through(queue, parked)).map(|(queue, _)| queue).collect()
    }

    /// Members are to hear soon that they go on elsewhere in this queue.
    pub fn moves(&self, queue: &GroupQueue, now: Instant) {
        self.moves.lock().insert(queue.clone(), Move { since: now, asked: false });
    }

    /// What is to be done, so that members go on elsewhere. `heard` says of a queue whether somebody was told (`Some`), or
    /// whether that is over (`None`).
    pub fn nudges(&self, now: Instant, heard: impl Fn(&GroupQueue) -> Option<bool>) -> Vec<(GroupQueue, Nudge)> {
        let mut nudges = Vec::new();
        self.moves.lock().retain(|queue, it| {
            let age = now.saturating_duration_since(it.since);
            match heard(queue) {
                None => return false,
                Some(told) if told || it.asked => nudges.push((queue.clone(), Nudge::Rebalance)),
                Some(_) if age >= PULLS_WITHIN => {
                    it.asked = true;
                    nudges.push((queue.clone(), Nudge::Ask));
                }
                Some(_) => {}
            }
            age < GIVEN_UP_AFTER
        });
        nudges
    }

    /// Is this the first time that it is to be told that a parked message is about to expire, or has?
    pub fn tell_of_expiry(&self, queue: &GroupQueue, from: i64, expired: bool) -> bool {
        self.told.lock().insert((queue.clone(), from, expired))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Passage::{Consumed, Given};

    fn key(key: &str, from: i64) -> ParkedKey {
        ParkedKey { key: Some(key.into()).filter(|key: &String| !key.is_empty()), from, since: 0, by: String::new() }
    }

    /// Keys of a queue's messages, and what pulls get of them.
    fn given(parked: &Parked, queue: &str) -> String {
        let passes = |(offset, key): (usize, char)| {
            let key = Some(key.to_string()).filter(|key| key != "-");
            parked.passage(offset as i64, key.as_deref()) == Given
        };
        queue.chars().enumerate().map(|(n, key)| if passes((n, key)) { key } else { '.' }).collect()
    }

    #[test]
    fn a_parked_key_is_passed_over_and_others_go_on() {
        let mut parked = Parked::default();
        assert_eq!(parked.park(key("a", 2)), Ok(true));
        assert_eq!(parked.park(key("a", 5)), Ok(false), "it is already");
        assert_eq!(given(&parked, "abab-ca"), "ab.b-c.");
        assert_eq!(parked.park(key("", 4)), Ok(true));
        assert_eq!(given(&parked, "abab-c-"), "ab.b.c-", "without a key: this message alone");
        assert_eq!(parked.park(key("a", 0)), Ok(true), "an earlier one, after the group went back");
        assert_eq!(given(&parked, "abab-ca"), ".b.b.c.");
    }

    #[test]
    fn a_released_key_comes_before_all_later_ones_of_it_and_nothing_else_comes_again() {
        let mut parked = Parked::default();
        parked.park(key("a", 1)).unwrap();
        parked.park(key("b", 2)).unwrap();
        let queue = "aabcabcabc";
        assert_eq!(given(&parked, queue), "a..c..c..c");
        // All but these was consumed up to 7.
        assert_eq!(parked.release(|it| (it.key.as_deref() == Some("a")).then_some(it.from), 7), 1);
        assert_eq!(given(&parked, queue), "aa..a..a.c", "before 1 as ever; from 7 on all but b");
        assert_eq!(parked.passage(3, Some("c")), Consumed);
        // While the group is at 3, b is released too: of a, what it has is not given again.
        assert_eq!(parked.release(|it| Some(it.from), 3), 2);
        assert_eq!(given(&parked, queue), "a.b.ab.abc");
        assert_eq!(parked.release.as_ref().map(|it| (it.begin, it.end)), Some((1, 7)));
    }

    #[test]
    fn a_key_that_fails_again_while_it_is_released_is_parked_again() {
        let mut parked = Parked::default();
        let queue = "abacabacab";
        parked.park(key("a", 0)).unwrap();
        assert_eq!(parked.release(|it| Some(it.from), 6), 0);
        parked.park(key("a", 2)).unwrap();
        assert_eq!(given(&parked, queue), "a......c.b", "nothing is left of the release");
        // The group went through it and on to 9; then the key is released again.
        assert_eq!(parked.release(|it| Some(it.from), 9), 2);
        assert_eq!(given(&parked, queue), "aba.a.a.ab");
    }

    #[test]
    fn a_release_of_what_nobody_has_passed_needs_no_way_back() {
        let mut parked = Parked::default();
        parked.park(key("a", 5)).unwrap();
        assert_eq!(parked.release(|it| Some(it.from), 3), 3);
        assert!(parked.is_empty());
        parked.park(key("a", 5)).unwrap();
        assert_eq!(parked.release(|_| Some(9), 9), 9, "all of it went to the dead letters");
        assert!(parked.is_empty());
    }

    #[test]
    fn so_many_keys_and_no_more() {
        let mut parked = Parked::default();
        for n in 0..KEYS_MAX {
            assert_eq!(parked.park(key(&n.to_string(), n as i64)), Ok(true));
        }
        assert_eq!(parked.park(key("one more", 1000)), Err(TooMany));
        assert_eq!(parked.park(key("0", 1000)), Ok(false), "known ones may come");
    }

    #[test]
    fn a_change_is_on_disk_before_it_is_in_force_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { store_root: dir.path().into(), ..Config::default() };
        let queue = GroupQueue { group: "g".into(), topic: "T".into(), queue_id: 1 };
        let parking = Parking::open(&config).unwrap();
        assert_eq!(parking.read("g", "T", 1, || 7), (None, 7));
        let park = |parked: &mut Parked| parked.park(key("a", 2)).map_err(io::Error::other);
        let file = dir.path().join("config/orderParked.json");
        let new = parking.change(&queue, park, |new| assert!(*new && file.exists())).unwrap();
        assert!(new);
        let opened = Parking::open(&config).unwrap();
        assert_eq!(opened.all(), parking.all());
        assert_eq!(opened.get(&queue).unwrap().keys, [key("a", 2)]);

        let release = |parked: &mut Parked| Ok::<_, io::Error>(parked.release(|it| Some(it.from), 9));
        assert_eq!(parking.change(&queue, release, |_| ()).unwrap(), 2);
        let opened = Parking::open(&config).unwrap();
        assert_eq!(opened.released(|_| Some(8)), []);
        assert_eq!(opened.released(|_| None), [], "the group has not gone back yet");
        assert_eq!(opened.released(|_| Some(9)), std::slice::from_ref(&queue));
        opened.forget_topic("U").unwrap();
        assert_eq!(opened.all().len(), 1);
        opened.forget_group("g").unwrap();
        assert_eq!(Parking::open(&config).unwrap().all(), []);
    }

    #[test]
    fn who_does_not_pull_is_told_by_a_request() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { store_root: dir.path().into(), ..Config::default() };
        let parking = Parking::open(&config).unwrap();
        let queue = GroupQueue { group: "g".into(), topic: "T".into(), queue_id: 0 };
        let now = Instant::now();
        let nudges =
            |after, heard| parking.nudges(now + after, |_| heard).into_iter().map(|(_, it)| it).collect::<Vec<_>>();
        let none: Vec<Nudge> = Vec::new();
        parking.moves(&queue, now);
        assert_eq!(none, nudges(Duration::ZERO, Some(false)));
        assert_eq!(vec![Nudge::Rebalance], nudges(Duration::ZERO, Some(true)), "it pulled, and was told");
        assert_eq!(vec![Nudge::Ask], nudges(PULLS_WITHIN, Some(false)));
        assert_eq!(vec![Nudge::Rebalance], nudges(PULLS_WITHIN, Some(false)), "once");
        assert_eq!(none, nudges(PULLS_WITHIN, None));
        assert_eq!(none, nudges(PULLS_WITHIN, Some(true)), "it has gone on");
    }
}
