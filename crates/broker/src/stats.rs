//! What is counted, and how much of it there was in the last minute, hour and day, as Apache's brokers count.
//!
//! A counter is looked at every ten seconds for the minute, every ten minutes for the hour, every hour for the day; what
//! came between the first and the last look that are kept is what is told. Sends are not counted here: how many messages
//! came to a topic, its queues say by themselves. Pulls are, once for each answer that has messages.

use crate::Broker;
use crate::tally::{Tally, add};
use foldhash::HashMap;
use parking_lot::Mutex;
use protocol::admin::{StatsData, StatsSpan};
use protocol::topic::{DLQ_PREFIX, is_system_topic};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};

/// Messages that were sent to a topic.
pub const TOPIC_PUT_NUMS: &str = "TOPIC_PUT_NUMS";
/// Their bytes, as stored.
pub const TOPIC_PUT_SIZE: &str = "TOPIC_PUT_SIZE";
/// Messages that a group was given, `topic@group`.
pub const GROUP_GET_NUMS: &str = "GROUP_GET_NUMS";
/// Their bytes.
pub const GROUP_GET_SIZE: &str = "GROUP_GET_SIZE";
/// Messages that a group sent back, `topic@group`.
pub const SNDBCK_PUT_NUMS: &str = "SNDBCK_PUT_NUMS";
/// Messages that were sent to the broker; the key is its cluster's name.
pub const BROKER_PUT_NUMS: &str = "BROKER_PUT_NUMS";
/// Messages that the broker gave out.
pub const BROKER_GET_NUMS: &str = "BROKER_GET_NUMS";
/// The same without topics of the system.
pub const BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC: &str = "BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC";
/// The same without topics of the system.
pub const BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC: &str = "BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC";

/// How many looks are kept: for the minute, the hour and the day.
const KEPT: [usize; 3] = [7, 7, 25];

/// How far the looks lie apart, in milliseconds.
const APART: [u64; 3] = [10_000, 600_000, 3_600_000];

/// How many seconds the rates of GET_BROKER_RUNTIME_INFO go back.
const SECONDS: [usize; 3] = [10, 60, 600];

/// How often something happened, and how much of it there was: pulls and messages, for one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// How often.
    pub times: i64,
    /// How much.
    pub sum: i64,
}

/// A look at a counter, in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: i64,
    count: Count,
}

/// The looks at one counter.
#[doc(alias = "StatsItem")]
#[derive(Debug, Default)]
struct Series([VecDeque<Look>; 3]);

impl Series {
    /// The `n`th look, of those that are made every ten seconds.
    fn look(&mut self, n: u64, at: i64, count: Count) {
        for (i, looks) in self.0.iter_mut().enumerate() {
            if !(n * APART[0]).is_multiple_of(APART[i]) {
                continue;
            }
            if looks.is_empty() {
                looks.push_back(Look { at: at - APART[i] as i64, count: Count::default() });
            }
            looks.push_back(Look { at, count });
            if looks.len() > KEPT[i] {
                looks.pop_front();
            }
        }
    }

    fn data(&self) -> StatsData {
        let [minute, hour, day] = &self.0;
        StatsData { stats_minute: span(minute), stats_hour: span(hour), stats_day: span(day) }
    }
}

fn span(looks: &VecDeque<Look>) -> StatsSpan {
    let (Some(first), Some(last)) = (looks.front(), looks.back()) else { return StatsSpan::default() };
    let sum = last.count.sum - first.count.sum;
    let times = last.count.times - first.count.times;
    StatsSpan {
        sum,
        tps: sum as f64 * 1000.0 / (last.at - first.at).max(1) as f64,
        avgpt: if times > 0 { sum as f64 / times as f64 } else { 0.0 },
    }
}

/// What one group was given of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reads {
    /// How often.
    pub times: i64,
    /// Messages.
    pub messages: i64,
    /// Their bytes.
    pub bytes: i64,
}

/// What the whole broker did, since it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages that came.
    pub put: i64,
    /// Pulls that were given messages.
    pub found: i64,
    /// Pulls that were given none.
    pub missed: i64,
    /// Messages that were given out.
    pub given: i64,
}

/// Messages of days that are over: up to this morning, and up to yesterday's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mornings {
    /// When this day began, messages that had come and that had been given out.
    pub today: (i64, i64),
    /// The same, a day earlier.
    pub yesterday: (i64, i64),
}

/// All counters.
#[doc(alias = "BrokerStatsManager")]
#[derive(Debug)]
pub struct Stats {
    /// By group and topic, what it was given: how often, messages, bytes.
    reads: Tally,
    missed: AtomicI64,
    given: AtomicI64,
    given_of_users: AtomicI64,
    found: AtomicI64,
    /// `topic@group` → messages sent back.
    sent_back: Mutex<HashMap<String, i64>>,
    came: Mutex<Came>,
    came_of_users: Mutex<Came>,
    looks: Mutex<Looks>,
}

impl Default for Stats {
    fn default() -> Stats {
        let (missed, given, given_of_users, found) = Default::default();
        let (sent_back, came, came_of_users, looks) = Default::default();
        Stats { reads: Tally::new(3), missed, given, given_of_users, found, sent_back, came, came_of_users, looks }
    }
}

/// Messages of topics together. A topic that is deleted takes none of them away.
#[derive(Debug, Default)]
struct Came {
    /// What was counted of each topic that is there.
    of: BTreeMap<String, i64>,
    sum: i64,
}

impl Came {
    /// Counts on to where topics stand now, and says how many that is in all.
    fn count<'a>(&mut self, topics: impl Iterator<Item = (&'a String, i64)>) -> i64 {
        let before = std::mem::take(&mut self.of);
        for (topic, messages) in topics {
            let known = before.get(topic).copied().filter(|known| *known <= messages).unwrap_or(0);
            self.sum += messages - known;
            self.of.insert(topic.clone(), messages);
        }
        self.sum
    }
}

#[derive(Debug, Default)]
struct Looks {
    /// How many there were.
    n: u64,
    /// Name → key → looks.
    series: BTreeMap<&'static str, HashMap<String, Series>>,
    /// The last ten minutes, second by second.
    seconds: VecDeque<(i64, Totals)>,
    /// The day of the last one, counted from any day on.
    day: Option<i64>,
    mornings: Mornings,
}

impl Stats {
    /// A group was given messages of a topic.
    pub fn given(&self, group: &str, topic: &str, messages: usize, bytes: usize) {
        let (messages, bytes) = (messages as i64, bytes as i64);
        self.reads.count(group, topic, |reads| {
            add(&reads[0], 1);
            add(&reads[1], messages);
            add(&reads[2], bytes);
        });
        self.found.fetch_add(1, Ordering::Relaxed);
        self.given.fetch_add(messages, Ordering::Relaxed);
        if !is_system_topic(topic) {
            self.given_of_users.fetch_add(messages, Ordering::Relaxed);
        }
    }

    /// What groups were given of topics: group, topic, how much.
    pub(crate) fn reads(&self) -> impl Iterator<Item = (Box<str>, Box<str>, Reads)> {
        self.reads.totals().into_iter().map(|((group, topic), counts)| {
            (group, topic, Reads { times: counts[0], messages: counts[1], bytes: counts[2] })
        })
    }

    /// A pull was given nothing.
    pub fn missed(&self) {
        self.missed.fetch_add(1, Ordering::Relaxed);
    }

    /// A group sent a message of a topic back.
    pub fn sent_back(&self, group: &str, topic: &str) {
        *self.sent_back.lock().entry(format!("{topic}@{group}")).or_default() += 1;
    }

    /// Forgets whom nobody knows any more.
    pub fn keep(&self, knows_group: impl Fn(&str) -> bool, knows_topic: impl Fn(&str) -> bool) {
        self.reads.keep(|group, topic| knows_group(group) && knows_topic(topic));
        self.sent_back.lock().retain(|key, _| {
            key.split_once('@').is_some_and(|(topic, group)| knows_group(group) && knows_topic(topic))
        });
    }

    /// Looks at all counters, as is done every ten seconds. `put` has messages and bytes by topic; what stands in it no more is
    /// forgotten.
    pub fn look(&self, at: i64, cluster: &str, put: &BTreeMap<String, (i64, i64)>) {
        let mut counts: Vec<(&'static str, String, Count)> = Vec::new();
        let messages = || put.iter().map(|(topic, (messages, _))| (topic, *messages));
        let all = self.came.lock().count(messages());
        let of_users = self.count_of_users(messages().filter(|(topic, _)| is_of_users(topic)));
        for (topic, (messages, bytes)) in put.iter().filter(|(_, (messages, _))| *messages > 0) {
            // Each message was sent by itself, as far as anybody can tell later.
            counts.push((TOPIC_PUT_NUMS, topic.clone(), Count { times: *messages, sum: *messages }));
            counts.push((TOPIC_PUT_SIZE, topic.clone(), Count { times: *messages, sum: *bytes }));
        }
        for (group, topic, Reads { times, messages, bytes }) in self.reads() {
            let key = format!("{topic}@{group}");
            counts.push((GROUP_GET_NUMS, key.clone(), Count { times, sum: messages }));
            counts.push((GROUP_GET_SIZE, key, Count { times, sum: bytes }));
        }
        for (key, sum) in &*self.sent_back.lock() {
            counts.push((SNDBCK_PUT_NUMS, key.clone(), Count { times: *sum, sum: *sum }));
        }
        let found = self.found.load(Ordering::Relaxed);
        for (name, times, sum) in [
            (BROKER_PUT_NUMS, all, all),
            (BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC, of_users, of_users),
            (BROKER_GET_NUMS, found, self.given.load(Ordering::Relaxed)),
            (BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC, found, self.given_of_users()),
        ] {
            counts.push((name, cluster.to_owned(), Count { times, sum }));
        }
        let mut looks = self.looks.lock();
        let mut before = std::mem::take(&mut looks.series);
        for (name, key, count) in counts {
            let known =
                before.get_mut(name).and_then(|keys| keys.remove(&key)).filter(|series| !series.went_back(count));
            let mut series = known.unwrap_or_default();
            series.look(looks.n, at, count);
            looks.series.entry(name).or_default().insert(key, series);
        }
        looks.n += 1;
    }

    /// Messages that came to topics of users since the broker was started, when those that are there have so many.
    fn count_of_users<'a>(&self, topics: impl Iterator<Item = (&'a String, i64)>) -> i64 {
        self.came_of_users.lock().count(topics)
    }

    /// What a counter says. `None`: nothing was counted under this name and key.
    pub fn data(&self, name: &str, key: &str) -> Option<StatsData> {
        self.looks.lock().series.get(name)?.get(key).map(Series::data)
    }

    /// How much a second in the last minute.
    pub fn tps(&self, name: &str, key: &str) -> f64 {
        self.data(name, key).map_or(0.0, |data| data.stats_minute.tps)
    }

    /// Messages that were given out, without those of the system's topics.
    pub fn given_of_users(&self) -> i64 {
        self.given_of_users.load(Ordering::Relaxed)
    }

    /// What the broker did, when so many messages came.
    pub fn totals(&self, put: i64) -> Totals {
        Totals {
            put,
            found: self.found.load(Ordering::Relaxed),
            missed: self.missed.load(Ordering::Relaxed),
            given: self.given.load(Ordering::Relaxed),
        }
    }

    /// Looks at the totals, as is done every second.
    pub fn look_at_totals(&self, at: i64, totals: Totals) {
        let mut looks = self.looks.lock();
        looks.seconds.push_back((at, totals));
        if looks.seconds.len() > SECONDS[2] + 1 {
            looks.seconds.pop_front();
        }
    }

    /// Says which day it is, counted from any day on, and how many messages of users came and were given out so far.
    pub fn look_at_day(&self, day: i64, so_far: impl FnOnce() -> (i64, i64)) {
        let mut looks = self.looks.lock();
        if looks.day.replace(day).is_some_and(|before| before != day) {
            looks.mornings = Mornings { yesterday: looks.mornings.today, today: so_far() };
        }
    }

    /// What had come and been given out when days began.
    pub fn mornings(&self) -> Mornings {
        self.looks.lock().mornings
    }

    /// Of a total, how much there was a second in the last 10, 60 and 600 seconds, or as long as the broker runs.
    pub fn rates(&self, of: impl Fn(Totals) -> i64) -> [f64; 3] {
        let looks = self.looks.lock();
        let Some((end, last)) = looks.seconds.back() else { return [0.0; 3] };
        SECONDS.map(|seconds| {
            let (begin, first) = looks.seconds[looks.seconds.len().saturating_sub(seconds + 1)];
            if begin == *end { 0.0 } else { (of(*last) - of(first)) as f64 * 1000.0 / (end - begin) as f64 }
        })
    }
}

impl Series {
    /// Is less counted than before? Then this is another topic of the same name.
    fn went_back(&self, count: Count) -> bool {
        self.0[0].back().is_some_and(|last| last.count.sum > count.sum)
    }
}

/// Do messages of this topic count as sent by users?
fn is_of_users(topic: &str) -> bool {
    !is_system_topic(topic) && !topic.starts_with(DLQ_PREFIX)
}

impl Broker {
    /// Messages, and bytes of their records, that came to each topic since the broker was started.
    fn put_by_topic(&self) -> BTreeMap<String, (i64, i64)> {
        let mut topics: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        for queue in self.store.queues() {
            let (messages, bytes) = queue.arrived();
            if messages > 0 {
                let topic = topics.entry(queue.topic().to_owned()).or_default();
                *topic = (topic.0 + messages, topic.1 + bytes);
            }
        }
        topics
    }

    /// Messages of users that came since the broker was started, and that were given out.
    pub(crate) fn so_far(&self) -> (i64, i64) {
        let put = self.put_by_topic();
        let messages = put.iter().map(|(topic, (messages, _))| (topic, *messages));
        (self.stats.count_of_users(messages.filter(|(topic, _)| is_of_users(topic))), self.stats.given_of_users())
    }

    /// Messages that came since the broker was started.
    pub(crate) fn put_so_far(&self) -> i64 {
        self.store.messages_arrived()
    }

    /// Looks at everything that is counted by topic and group, as is done every ten seconds; `now` in ms since 1970. Blocks.
    pub fn look_at_stats(&self, now: i64) {
        self.stats.keep(|group| self.groups.get(group).is_some(), |topic| self.topics.get(topic).is_some());
        self.metrics.keep(|group| self.groups.get(group).is_some(), |topic| self.topics.get(topic).is_some());
        self.stats.look(now, &self.config.cluster_name, &self.put_by_topic());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(messages: i64, bytes: i64) -> BTreeMap<String, (i64, i64)> {
        BTreeMap::from([("T".to_owned(), (messages, bytes))])
    }

    #[test]
    fn the_first_look_counts_as_ten_seconds() {
        let stats = Stats::default();
        assert_eq!(stats.data(TOPIC_PUT_NUMS, "T"), None);
        stats.look(100_000, "C", &put(20, 4000));
        let data = stats.data(TOPIC_PUT_NUMS, "T").unwrap();
        assert_eq!(data.stats_minute, StatsSpan { sum: 20, tps: 2.0, avgpt: 1.0 });
        assert_eq!(data.stats_hour.sum, 20, "the first look is one for hours, too");
        assert_eq!(stats.data(TOPIC_PUT_SIZE, "T").unwrap().stats_minute.avgpt, 200.0);
        assert_eq!(stats.data(BROKER_PUT_NUMS, "C").unwrap().stats_minute.sum, 20);
    }

    #[test]
    fn a_minute_is_what_came_between_seven_looks() {
        let stats = Stats::default();
        for n in 0..20 {
            stats.look(n * 10_000, "C", &put(n * 30, 0));
        }
        let data = stats.data(TOPIC_PUT_NUMS, "T").unwrap();
        assert_eq!((data.stats_minute.sum, data.stats_minute.tps), (180, 3.0));
        assert_eq!(data.stats_hour.sum, 0, "looked at every ten minutes");
    }

    #[test]
    fn an_hour_is_looked_at_every_ten_minutes_and_a_day_every_hour() {
        let stats = Stats::default();
        for n in 0..=360 {
            stats.look(n * 10_000, "C", &put(1 + n, 0));
        }
        let data = stats.data(TOPIC_PUT_NUMS, "T").unwrap();
        assert_eq!((data.stats_hour.sum, data.stats_day.sum), (360, 361));
        assert!((data.stats_hour.tps - 0.1).abs() < 1e-9, "{data:?}");
    }

    #[test]
    fn a_group_that_was_given_messages_has_numbers_until_it_is_deleted() {
        let stats = Stats::default();
        stats.given("g", "T", 5, 500);
        stats.given("g", "T", 7, 700);
        stats.given("g", "RMQ_SYS_TRACE_TOPIC", 1, 1);
        stats.sent_back("g", "T");
        stats.missed();
        stats.look(10_000, "C", &BTreeMap::new());
        let data = stats.data(GROUP_GET_NUMS, "T@g").unwrap();
        assert_eq!((data.stats_minute.sum, data.stats_minute.avgpt), (12, 6.0));
        assert_eq!(stats.data(GROUP_GET_SIZE, "T@g").unwrap().stats_minute.sum, 1200);
        assert_eq!(stats.data(SNDBCK_PUT_NUMS, "T@g").unwrap().stats_minute.sum, 1);
        assert_eq!(stats.given_of_users(), 12);
        assert_eq!(stats.totals(3), Totals { put: 3, found: 3, missed: 1, given: 13 });
        stats.keep(|_| false, |_| true);
        stats.look(20_000, "C", &BTreeMap::new());
        assert_eq!(stats.data(GROUP_GET_NUMS, "T@g"), None);
    }

    #[test]
    fn a_topic_that_is_deleted_and_made_anew_begins_anew() {
        let stats = Stats::default();
        stats.look(10_000, "C", &put(100, 0));
        stats.look(20_000, "C", &put(3, 0));
        assert_eq!(stats.data(TOPIC_PUT_NUMS, "T").unwrap().stats_minute.sum, 3);
    }

    #[test]
    fn rates_go_back_as_far_as_the_broker_runs() {
        let stats = Stats::default();
        assert_eq!(stats.rates(|totals| totals.put), [0.0; 3]);
        for second in 0..=100 {
            stats
                .look_at_totals(second * 1000, Totals { put: if second > 90 { 1000 } else { 0 }, ..Totals::default() });
        }
        assert_eq!(stats.rates(|totals| totals.put), [100.0, 1000.0 / 60.0, 10.0]);
    }

    #[test]
    fn a_new_day_begins_with_what_there_was() {
        let stats = Stats::default();
        stats.look_at_day(1, || (5, 5));
        assert_eq!(stats.mornings(), Mornings::default());
        stats.look_at_day(2, || (7, 3));
        stats.look_at_day(2, || (9, 9));
        stats.look_at_day(3, || (20, 10));
        assert_eq!(stats.mornings(), Mornings { today: (20, 10), yesterday: (7, 3) });
    }
}
