//! The same message sent twice: topics with `dedup.window` remember, for so long, which `DEDUP_ID`s they have stored.
//!
//! The first message with an id is stored; one that comes again is answered with the first one's place. The id of a half message
//! counts from when it is prepared: committed, it is that of the message that was delivered, rolled back, it is forgotten. What is
//! remembered follows from the log: at the start it is read from the messages of the last window. Ids are known by a hash of 128
//! bits with a key that is made anew at each start, so that nobody can make two that are taken for one.
//!
//! A window's lock comes before that of the transactions.

use crate::Config;
use crate::records::for_each;
use crate::topics::dedup_window;
use crate::transaction::Transactions;
use parking_lot::{Mutex, RwLock};
use protocol::duplicates::TopicDuplicates;
use protocol::message::{QueueOffset, property};
use protocol::record::Record;
use protocol::topic::{SCHEDULE_TOPIC, TIMER_TOPIC, TopicConfig};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use store::{Boundary, CommitLogOffset, Store};

/// Topics with a window.
pub struct Dedup {
    windows: RwLock<HashMap<String, SharedWindow>>,
    keys: Keys,
    /// So many ids are remembered, of all topics.
    ids: Arc<AtomicUsize>,
    ids_max: usize,
}

/// A topic's window, for all who send to it.
pub(crate) type SharedWindow = Arc<Mutex<Window>>;

/// What a topic remembers.
pub(crate) struct Window {
    length: Duration,
    recent: Recent<First>,
    ids: Arc<AtomicUsize>,
    ids_max: usize,
    duplicates: u64,
    forgotten_early: u64,
}

/// Where the first message with an id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct First {
    pub at: CommitLogOffset,
    /// Behind its record.
    pub end: CommitLogOffset,
    /// As its sender was told.
    pub queue_id: i32,
    pub queue_offset: i64,
    /// It is the half message with this queue offset (of its first copy), and its transaction has not ended.
    pub half: Option<i64>,
}

impl Dedup {
    pub(crate) fn new(config: &Config) -> Dedup {
        let (windows, keys, ids) = (RwLock::default(), Keys::default(), Arc::default());
        Dedup { windows, keys, ids, ids_max: config.dedup_ids_max }
    }

    /// The topic has these settings now.
    pub(crate) fn set(&self, topic: &TopicConfig) {
        let Some(length) = dedup_window(topic) else { return self.forget(&topic.topic_name) };
        let mut windows = self.windows.write();
        let window = windows.entry(topic.topic_name.clone()).or_insert_with(|| {
            Arc::new(Mutex::new(Window {
                length,
                recent: Recent::default(),
                ids: self.ids.clone(),
                ids_max: self.ids_max,
                duplicates: 0,
                forgotten_early: 0,
            }))
        });
        window.lock().length = length;
    }

    /// The topic is gone.
    pub(crate) fn forget(&self, topic: &str) {
        let gone = self.windows.write().remove(topic);
        if let Some(window) = gone {
            let mut window = window.lock();
            while window.forget_oldest() {}
        }
    }

    /// The topic's window, if it has one.
    pub(crate) fn window(&self, topic: &str) -> Option<SharedWindow> {
        self.windows.read().get(topic).cloned()
    }

    pub(crate) fn hash(&self, id: &str) -> u128 {
        self.keys.hash(id)
    }

    /// Forgets what is older than its window.
    pub(crate) fn expire(&self, now: Instant) {
        let windows: Vec<_> = self.windows.read().values().cloned().collect();
        windows.iter().for_each(|window| window.lock().expire(now));
    }

    /// All topics with a window, in order of their names.
    pub(crate) fn topics(&self) -> Vec<TopicDuplicates> {
        let windows: Vec<_> =
            self.windows.read().iter().map(|(topic, window)| (topic.clone(), window.clone())).collect();
        let mut all: Vec<TopicDuplicates> = windows
            .into_iter()
            .map(|(topic, window)| {
                let window = window.lock();
                TopicDuplicates {
                    topic,
                    window_seconds: window.length.as_secs(),
                    ids: window.recent.known() as u64,
                    duplicates: window.duplicates,
                    forgotten_early: window.forgotten_early,
                }
            })
            .collect();
        all.sort_by(|one, other| one.topic.cmp(&other.topic));
        all
    }

    /// Reads from the log what was stored within the windows before `now`, in ms since 1970; of half messages those whose
    /// transactions are open.
    pub(crate) fn read(&self, store: &Store, topics: &[Arc<TopicConfig>], transactions: &Transactions, now: i64) {
        // The newest of all, by when and where they were stored; on top is the oldest.
        let mut found: BinaryHeap<Reverse<(i64, First, u128, &str)>> = BinaryHeap::new();
        let windows: HashMap<&str, i64> = topics
            .iter()
            .filter_map(|topic| Some((topic.topic_name.as_str(), dedup_window(topic)?.as_millis() as i64)))
            .collect();
        let Some(longest) = windows.values().max() else { return };
        let mut note = |record: &Record<'_>, (topic, queue_id, id): (&str, i32, &str), half: Option<i64>| {
            let Some((topic, window)) = windows.get_key_value(topic) else { return };
            // What waits for a topic that was deleted since is never delivered.
            let is_of_topic = record.commit_log_offset >= store.begin_of(topic);
            if is_of_topic && now.saturating_sub(record.store_timestamp) < *window {
                let at = record.commit_log_offset;
                let end = CommitLogOffset(at.0 + record.bytes.len() as i64);
                let first = First { at, end, queue_id, queue_offset: record.queue_offset.0, half };
                found.push(Reverse((record.store_timestamp, first, self.hash(id), topic)));
                if found.len() > self.ids_max {
                    found.pop();
                }
            }
        };
        let mut from = 0;
        while let Some((offset, half)) = transactions.next(from) {
            from = offset + 1;
            let Ok(Some(bytes)) = store.read(half.at) else { continue };
            let Ok(record) = Record::parse(&bytes) else { continue };
            if let Some(identified) = identified_half(&record) {
                note(&record, identified, Some(half.first));
            }
        }
        let mut read = |topic: &str, queue_id: u32, window: i64| {
            let recent = store.search_offset(topic, queue_id, now.saturating_sub(window), Boundary::Lower).0;
            let from = recent.max(store.max_offset(topic, queue_id).0 - self.ids_max as i64);
            for_each(store, topic, queue_id, QueueOffset(from), |record| {
                if let Some(identified) = identified(record) {
                    note(record, identified, None);
                }
            });
        };
        for topic in topics.iter() {
            for queue_id in 0..topic.queues().max(0) as u32 {
                if let Some(window) = windows.get(topic.topic_name.as_str()) {
                    read(&topic.topic_name, queue_id, *window);
                }
            }
        }
        // Messages that wait, or waited, were first stored elsewhere.
        for topic in [SCHEDULE_TOPIC, TIMER_TOPIC] {
            let queues = topics.iter().find(|it| it.topic_name == topic).map_or(1, |it| it.queues());
            (0..queues.max(1) as u32).for_each(|queue_id| read(topic, queue_id, *longest));
        }
        let instant = Instant::now();
        for Reverse((stored, first, hash, topic)) in found.into_sorted_vec().into_iter().rev() {
            let age = Duration::from_millis(u64::try_from(now - stored).unwrap_or(0));
            let since = instant.checked_sub(age).unwrap_or(instant);
            if let Some(window) = self.window(topic) {
                let mut window = window.lock();
                if window.recent.get(hash, instant, window.length).is_none() {
                    window.remember(hash, first, since);
                }
            }
        }
    }
}

/// The topic, the queue and the id of a message as it was sent. `None`: it has no id, or waited elsewhere, where it was first.
fn identified<'a>(record: &Record<'a>) -> Option<(&'a str, i32, &'a str)> {
    let properties = record.properties();
    let id = properties.get(property::DEDUP_ID)?;
    let real = properties.get(property::REAL_TOPIC);
    match record.topic {
        // What the wheel put again was stored before.
        TIMER_TOPIC if properties.get(property::TIMER_ROLL_TIMES).is_some() => None,
        SCHEDULE_TOPIC | TIMER_TOPIC => Some((real?, properties.get(property::REAL_QID)?.parse().ok()?, id)),
        topic => real.is_none().then_some((topic, record.queue_id, id)),
    }
}

/// The same of a half message.
pub(crate) fn identified_half<'a>(record: &Record<'a>) -> Option<(&'a str, i32, &'a str)> {
    let properties = record.properties();
    let id = properties.get(property::DEDUP_ID)?;
    Some((properties.get(property::REAL_TOPIC)?, properties.get(property::REAL_QID)?.parse().ok()?, id))
}

impl Window {
    /// The first message with this id, if it is remembered, and how long ago it was stored.
    pub(crate) fn known(&mut self, hash: u128, now: Instant) -> Option<(First, Duration)> {
        self.expire(now);
        self.recent.get(hash, now, self.length)
    }

    /// So many messages are not stored, as their ids are known.
    pub(crate) fn count(&mut self, duplicates: usize) {
        self.duplicates += duplicates as u64;
    }

    /// The transaction of the half message with this id, at `half` of its queue, has ended: its message is at `delivered`, or
    /// nowhere. Its id is another message's if two were stored with it, as may be when the window was set between them.
    pub(crate) fn ended(&mut self, hash: u128, half: i64, delivered: Option<First>, now: Instant) {
        if self.known(hash, now).is_some_and(|(first, _)| first.half != Some(half)) {
            return;
        }
        match delivered {
            Some(first) => self.remember(hash, first, now),
            None => self.recent.forget(hash),
        }
    }

    /// Remembers the first message with an id.
    pub(crate) fn remember(&mut self, hash: u128, first: First, now: Instant) {
        if self.ids.load(Ordering::Relaxed) >= self.ids_max && self.forget_oldest() {
            self.forgotten_early += 1;
        }
        self.ids.fetch_add(1, Ordering::Relaxed);
        self.recent.insert(hash, first, now);
    }

    fn expire(&mut self, now: Instant) {
        let gone = self.recent.expire(now, self.length);
        self.ids.fetch_sub(gone, Ordering::Relaxed);
    }

    fn forget_oldest(&mut self) -> bool {
        let gone = self.recent.forget_oldest();
        self.ids.fetch_sub(usize::from(gone), Ordering::Relaxed);
        gone
    }
}

/// Makes hashes of 128 bits that nobody can foresee.
#[derive(Default)]
pub(crate) struct Keys(RandomState, RandomState);

impl Keys {
    pub(crate) fn hash<T: std::hash::Hash + ?Sized>(&self, id: &T) -> u128 {
        u128::from(self.0.hash_one(id)) << 64 | u128::from(self.1.hash_one(id))
    }
}

/// What happened lately, by hashes.
#[derive(Debug)]
pub(crate) struct Recent<V> {
    /// Oldest first.
    order: VecDeque<(u128, Instant)>,
    found: HashMap<u128, (Instant, V), foldhash::fast::RandomState>,
}

impl<V> Default for Recent<V> {
    fn default() -> Recent<V> {
        Recent { order: VecDeque::new(), found: HashMap::default() }
    }
}

impl<V: Copy> Recent<V> {
    /// What happened under this hash within `window` before `now`, and how long ago.
    pub(crate) fn get(&self, hash: u128, now: Instant, window: Duration) -> Option<(V, Duration)> {
        let (since, value) = self.found.get(&hash)?;
        let age = now.saturating_duration_since(*since);
        (age < window).then_some((*value, age))
    }

    /// It happened at `now`, which is no earlier than the last time something did.
    pub(crate) fn insert(&mut self, hash: u128, value: V, now: Instant) {
        self.order.push_back((hash, now));
        self.found.insert(hash, (now, value));
    }

    /// Forgets what is as old as `window`; answers with how many.
    pub(crate) fn expire(&mut self, now: Instant, window: Duration) -> usize {
        let before = self.order.len();
        while self.order.front().is_some_and(|(_, since)| now.saturating_duration_since(*since) >= window) {
            self.forget_oldest();
        }
        before - self.order.len()
    }

    /// False: there is none.
    pub(crate) fn forget_oldest(&mut self) -> bool {
        let Some((hash, since)) = self.order.pop_front() else { return false };
        // It may have happened again since.
        if self.found.get(&hash).is_some_and(|(at, _)| *at == since) {
            self.found.remove(&hash);
        }
        true
    }

    /// It has not happened. Its place in the order stays until its time.
    fn forget(&mut self, hash: u128) {
        self.found.remove(&hash);
    }

    /// How many are kept, those too that happened again since.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// How many different ones.
    fn known(&self) -> usize {
        self.found.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(n: i64) -> First {
        First { at: CommitLogOffset(n), end: CommitLogOffset(n + 1), queue_id: 0, queue_offset: n, half: None }
    }

    fn topic(name: &str, window: &str) -> TopicConfig {
        let mut topic = TopicConfig::new(name, 1, 6);
        topic.attributes.insert(crate::topics::DEDUP_WINDOW.into(), window.into());
        topic
    }

    #[test]
    fn an_id_is_known_for_as_long_as_the_window_is() {
        let dedup = Dedup::new(&Config::default());
        dedup.set(&topic("T", "10"));
        let window = dedup.window("T").unwrap();
        let mut window = window.lock();
        let (start, a, b) = (Instant::now(), dedup.hash("a"), dedup.hash("b"));
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(window.known(a, start), None);
        window.remember(a, first(1), start);
        assert_eq!(window.known(a, after(9)), Some((first(1), Duration::from_secs(9))));
        assert_eq!(window.known(b, after(9)), None);
        assert_eq!(window.known(a, after(10)), None, "its window is over");
        window.remember(a, first(2), after(10));
        assert_eq!(window.known(a, after(19)).unwrap().0, first(2));
        assert_eq!(window.recent.known(), 1);
    }

    #[test]
    fn a_rollback_forgets_its_own_id_and_no_other_ones() {
        let dedup = Dedup::new(&Config::default());
        dedup.set(&topic("T", "10"));
        let window = dedup.window("T").unwrap();
        let mut window = window.lock();
        let (now, id) = (Instant::now(), dedup.hash("a"));
        let half = |n| First { half: Some(n), ..first(n) };
        window.remember(id, half(5), now);
        window.ended(id, 6, None, now);
        assert_eq!(window.known(id, now).unwrap().0, half(5), "that was another transaction");
        window.ended(id, 5, None, now);
        assert_eq!(window.known(id, now), None);
        window.remember(id, half(7), now);
        window.ended(id, 7, Some(first(40)), now + Duration::from_secs(9));
        assert_eq!(window.known(id, now + Duration::from_secs(18)).unwrap().0, first(40), "as of its delivery");
        window.ended(id, 7, None, now + Duration::from_secs(18));
        assert_eq!(window.recent.known(), 1);
        window.expire(now + Duration::from_secs(19));
        assert_eq!((window.recent.known(), window.recent.len()), (0, 0));
        assert_eq!(dedup.ids.load(Ordering::Relaxed), 0);
    }

    /// A broker with two topics, and all that it needs to put messages that it finds at its start.
    fn broker(dir: &std::path::Path, dedup_ids_max: usize) -> Arc<crate::Broker> {
        let broker =
            crate::Broker::open(Config { store_root: dir.into(), dedup_ids_max, ..Config::default() }).unwrap();
        for name in ["T", "U"] {
            broker.put_topic(topic(name, "1000"), None, 1).unwrap();
        }
        broker
    }

    fn put(broker: &crate::Broker, topic: &str, properties: &[(&str, &str)]) {
        let host = "127.0.0.1:10911".parse().unwrap();
        let put = store::PutMessage {
            topic,
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 0,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: b"x",
            properties: &protocol::message::edit_properties(
                b"",
                &properties.iter().map(|(name, value)| (*name, Some(*value))).collect::<Vec<_>>(),
            ),
        };
        broker.store.put_message(&put).unwrap();
    }

    /// Which of these ids a topic knows.
    fn known<'a>(broker: &crate::Broker, topic: &str, ids: &[&'a str]) -> Vec<&'a str> {
        let window = broker.dedup.window(topic).unwrap();
        let mut window = window.lock();
        let mut knows = |id: &str| window.known(broker.dedup.hash(id), Instant::now()).is_some();
        ids.iter().copied().filter(|id| knows(id)).collect()
    }

    #[test]
    fn a_start_remembers_what_was_sent_and_no_copy_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = broker(dir.path(), 100);
        let waits = |id, real| [("DEDUP_ID", id), ("REAL_TOPIC", real), ("REAL_QID", "0"), ("TIMER_OUT_MS", "1")];
        put(&first, TIMER_TOPIC, &waits("waits", "T"));
        put(&first, TIMER_TOPIC, &[&waits("rolled", "T")[..], &[("TIMER_ROLL_TIMES", "1")]].concat());
        put(&first, TIMER_TOPIC, &waits("before", "U"));
        put(&first, SCHEDULE_TOPIC, &waits("before too", "U"));
        first.delete_topic("U").unwrap();
        first.put_topic(topic("U", "1000"), None, 1).unwrap();
        put(&first, SCHEDULE_TOPIC, &waits("behind", "U"));
        first.close().unwrap();
        drop(first);
        let second = broker(dir.path(), 100);
        let ids = ["waits", "rolled", "before", "before too", "behind"];
        assert_eq!(known(&second, "T", &ids), ["waits"]);
        assert_eq!(known(&second, "U", &ids), ["behind"], "what was to come to the topic before is gone with it");
        second.close().unwrap();
    }

    #[test]
    fn a_start_remembers_the_newest_of_all_topics() {
        let dir = tempfile::tempdir().unwrap();
        let first = broker(dir.path(), 3);
        for (topic, id) in [("T", "0"), ("T", "1"), ("U", "2"), ("U", "3"), ("T", "4")] {
            put(&first, topic, &[("DEDUP_ID", id)]);
        }
        first.close().unwrap();
        drop(first);
        let second = broker(dir.path(), 3);
        let ids = ["0", "1", "2", "3", "4"];
        assert_eq!([known(&second, "T", &ids), known(&second, "U", &ids)], [vec!["4"], vec!["2", "3"]]);
        assert_eq!(second.dedup.topics().iter().map(|it| it.forgotten_early).sum::<u64>(), 0);
        second.close().unwrap();
    }

    #[test]
    fn so_many_ids_are_remembered_of_all_topics_together() {
        let dedup = Dedup::new(&Config { dedup_ids_max: 10, ..Config::default() });
        let now = Instant::now();
        for name in ["T", "U"] {
            dedup.set(&topic(name, "1000"));
            let window = dedup.window(name).unwrap();
            for n in 0..8 {
                window.lock().remember(dedup.hash(&format!("{name}{n}")), first(n), now);
            }
        }
        let topics = dedup.topics();
        assert_eq!(topics.iter().map(|it| it.ids).sum::<u64>(), 10);
        assert_eq!(topics.iter().map(|it| it.forgotten_early).collect::<Vec<_>>(), [0, 6]);
        dedup.forget("T");
        assert_eq!(dedup.ids.load(Ordering::Relaxed), 2);
        dedup.expire(now + Duration::from_secs(1000));
        assert_eq!(dedup.ids.load(Ordering::Relaxed), 0);
        dedup.set(&topic("U", "0"));
        assert!(dedup.window("U").is_none(), "none is none");
    }
}
