//! What `/metrics` tells of a broker: Apache's metrics under their names and labels, and ours (`cometmq_…`).
//!
//! Paths of messages only count (`tally`). All else is looked up when somebody asks for the page, on that thread: lists are
//! taken a group or a topic at a time, so that no lock that messages need is held for longer than it takes to copy one.

use crate::consumers::Member;
use crate::put_times;
use crate::tally::{Tally, add};
use crate::{Broker, Config, now_millis};
use foldhash::HashMap;
use parking_lot::Mutex;
use protocol::command::VERSION;
use protocol::heartbeat::ConsumeType;
use protocol::message::property;
use protocol::metrics::{CERTIFICATE_EXPIRES, CERTIFICATE_EXPIRES_HELP, Kind, Page, labels};
use protocol::record::Record;
use protocol::topic::{DLQ_PREFIX, RETRY_PREFIX, SCHEDULE_TOPIC, TIMER_TOPIC, is_system_topic};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, Instant};
use store::{FLUSH_BOUNDS, Queue, QueueOffset};

/// Upper bounds of `rocketmq_message_size`, bytes.
const SIZES: [f64; 6] = [1024.0, 4096.0, 524_288.0, 1_048_576.0, 2_097_152.0, 4_194_304.0];
/// Of `rocketmq_finish_message_latency`, seconds.
const FINISH_SECONDS: [f64; 6] = [5.0, 60.0, 600.0, 3600.0, 43_200.0, 86_400.0];
/// Of `rocketmq_delay_message_latency`, seconds.
const DELAY_SECONDS: [f64; 6] = [60.0, 600.0, 3600.0, 43_200.0, 86_400.0, 259_200.0];
/// Of the times to create topics and groups, milliseconds.
const CREATE_MILLIS: [f64; 5] = [10.0, 100.0, 1000.0, 3000.0, 5000.0];

/// What Apache's brokers have a thread pool for. Here, requests wait in no queue.
const PROCESSORS: [&str; 12] = [
    "send",
    "async_put",
    "pull",
    "ack",
    "query_message",
    "client_manager",
    "heartbeat",
    "lite_pull",
    "transaction",
    "consumer_manager",
    "admin",
    "reply",
];

/// So long a page may read messages to say since when a group lags. What it did not come to is left out, and counted.
const READING_MAX: Duration = Duration::from_millis(15);

/// What is counted for metrics alone. Nothing is unless they are wanted.
#[derive(Debug)]
pub struct Metrics {
    on: bool,
    /// Topic and kind of message: how many, bytes, by size, sum of sizes.
    came: Tally,
    /// Topic: commits, rollbacks, by seconds, sum of seconds.
    ended: Tally,
    /// Group and topic: dead letters.
    dead: Tally,
    /// Topic: laid into the timer wheel, delivered, by seconds of delay, sum of seconds.
    timed: Tally,
    /// What was created, and how that ended: by milliseconds, sum of milliseconds.
    created: Tally,
    /// When messages were stored that groups stand before: hash of group, topic and queue → offset, time.
    stored_at: Mutex<HashMap<u64, (i64, i64)>>,
    /// Topics of half messages, by offset.
    halves: Mutex<BTreeMap<i64, Arc<str>>>,
}

/// What was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Created {
    Topic,
    Group,
}

/// Counts a value in counters that begin with one for each bound, and one more; the next is the sum.
fn observe(counters: &[AtomicI64], bounds: &[f64], value: i64) {
    let bound = bounds.iter().position(|bound| value as f64 <= *bound).unwrap_or(bounds.len());
    add(&counters[bound], 1);
    add(&counters[bounds.len() + 1], value);
}

/// `name:value`, parted by `,`. `None`: one is none.
pub(crate) fn read_labels(text: &str) -> Option<Vec<(&str, &str)>> {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
    };
    let pairs = text.split(',').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once(':'));
    pairs.map(|pair| pair.filter(|(name, value)| is_name(name) && !value.contains(':'))).collect()
}

/// Java's name of a version, as its `MQVersion` lists them.
#[doc(alias = "getVersionDesc")]
fn version_name(version: i32) -> String {
    // Since V4_0_0, which is 213, ten patches make a minor, ten of those a major, and each has a snapshot in front of it.
    match version {
        212..612 => {
            let (n, snapshot) = ((version - 212) / 2, if version % 2 == 0 { "_snapshot" } else { "" });
            format!("v{}_{}_{}{snapshot}", 4 + n / 100, n / 10 % 10, n % 10)
        }
        ..212 => "v3".into(),
        _ => "higher_version".into(),
    }
}

/// Is this group the system's, as metrics see it?
#[doc(alias = "isSystemGroup")]
fn is_system_group(group: &str) -> bool {
    group.get(..12).is_some_and(|prefix| prefix.eq_ignore_ascii_case("CID_RMQ_SYS_"))
}

fn flag(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}

impl Metrics {
    pub(crate) fn new(config: &Config) -> Metrics {
        Metrics {
            on: config.metrics.on,
            came: Tally::new(2 + SIZES.len() + 2),
            ended: Tally::new(2 + FINISH_SECONDS.len() + 2),
            dead: Tally::new(1),
            timed: Tally::new(2 + DELAY_SECONDS.len() + 2),
            created: Tally::new(CREATE_MILLIS.len() + 2),
            stored_at: Mutex::default(),
            halves: Mutex::default(),
        }
    }

    /// A transaction has ended, so many milliseconds after its message was made.
    pub(crate) fn ended(&self, topic: &str, commit: bool, age: i64) {
        if !self.on {
            return;
        }
        self.ended.count(topic, "", |counters| {
            add(&counters[usize::from(!commit)], 1);
            if commit {
                observe(&counters[2..], &FINISH_SECONDS, age.max(0) / 1000);
            }
        });
    }

    /// A group has given a message of a topic up.
    pub(crate) fn dead(&self, group: &str, topic: &str) {
        if self.on {
            self.dead.count(group, topic, |counters| add(&counters[0], 1));
        }
    }

    /// A message was laid into the timer wheel that is due so many milliseconds after it was made.
    pub(crate) fn laid_in(&self, topic: &str, delay: i64) {
        if !self.on {
            return;
        }
        self.timed.count(topic, "", |counters| {
            add(&counters[0], 1);
            observe(&counters[2..], &DELAY_SECONDS, delay.max(0) / 1000);
        });
    }

    /// A message was delivered from the timer wheel.
    pub(crate) fn fired(&self, topic: &str) {
        if self.on {
            self.timed.count(topic, "", |counters| add(&counters[1], 1));
        }
    }

    /// Topics or groups were created or changed, or were not, which took so long.
    pub(crate) fn created(&self, what: Created, success: bool, took: Duration) {
        if !self.on {
            return;
        }
        let what = if what == Created::Topic { "topic" } else { "group" };
        let status = if success { "success" } else { "failure" };
        self.created.count(what, status, |counters| observe(counters, &CREATE_MILLIS, took.as_millis() as i64));
    }

    /// Forgets whom nobody knows any more.
    pub(crate) fn keep(&self, knows_group: impl Fn(&str) -> bool, knows_topic: impl Fn(&str) -> bool) {
        for tally in [&self.came, &self.ended, &self.timed] {
            tally.keep(|topic, _| knows_topic(topic));
        }
        self.dead.keep(|group, topic| knows_group(group) && knows_topic(topic));
    }
}

/// How far a group is behind in a topic.
#[derive(Default)]
struct Lag {
    lag: i64,
    /// When the first message was stored that is not consumed, or not pulled; `None`: there is none, or it is not known.
    unconsumed: Option<i64>,
    unpulled: Option<i64>,
    inflight: i64,
    ready: i64,
    /// Queue and lag.
    queues: Vec<(u32, i64)>,
}

/// Reads when messages were stored, as long as there is time.
struct StoredAt<'a> {
    broker: &'a Broker,
    known: HashMap<u64, (i64, i64)>,
    used: HashMap<u64, (i64, i64)>,
    began: Instant,
    left_out: usize,
}

impl StoredAt<'_> {
    /// When the message at `offset` was stored, before which a group stands.
    fn of(&mut self, group: &str, topic: &str, queue: u32, pulled: bool, offset: i64) -> Option<i64> {
        let mut hasher = foldhash::fast::FixedState::default().build_hasher();
        (group, topic, queue, pulled).hash(&mut hasher);
        let key = std::hash::Hasher::finish(&hasher);
        let known = self.known.get(&key).copied().filter(|(at, _)| *at == offset);
        let found = match known {
            Some(known) => known,
            None if self.began.elapsed() > READING_MAX => {
                self.left_out += 1;
                return None;
            }
            None => (offset, self.broker.store.store_timestamp_of(topic, queue, QueueOffset(offset))?),
        };
        self.used.insert(key, found);
        Some(found.1)
    }
}

impl Broker {
    /// A message came to a topic, or a batch of them.
    pub(crate) fn came(&self, topic: &str, kind: &str, messages: i64, bytes: i64) {
        if !self.metrics.on || topic.starts_with(RETRY_PREFIX) || topic.starts_with(DLQ_PREFIX) {
            return;
        }
        self.metrics.came.count(topic, kind, |counters| {
            add(&counters[0], messages);
            add(&counters[1], bytes);
            observe(&counters[2..], &SIZES, bytes / messages.max(1));
        });
    }

    /// The labels that all of Apache's metrics have, and those that all of ours have.
    pub fn metric_labels(&self) -> (String, String) {
        let set = &self.config.metrics.label;
        let node = [("cluster", &*self.config.cluster_name), ("node_id", &*self.config.name), ("node_type", "broker")];
        let set =
            read_labels(set).unwrap_or_default().into_iter().filter(|(name, _)| !node.iter().any(|it| it.0 == *name));
        let ours = labels(node.into_iter().chain(set));
        (format!("otel_scope_name=\"broker-meter\",{ours}"), ours)
    }

    /// Writes everything that is known of the broker. Takes some milliseconds for thousands of topics, and reads from disk.
    pub fn write_metrics(&self, page: &mut Page, apaches: &str, ours: &str) {
        let config = &self.config.metrics;
        if config.stats {
            self.write_stats(page, apaches);
        }
        if config.requests {
            self.write_requests(page, apaches);
        }
        if config.connections {
            self.write_connections(page, apaches);
        }
        if config.lag {
            self.write_lag(page, apaches, ours);
        }
        if config.transactions {
            self.write_transactions(page, apaches, ours);
        }
        if config.store {
            self.write_store(page, &format!("{apaches}storage_medium=\"disk\",storage_type=\"local\","), ours);
        }
        self.write_ours(page, ours);
    }

    fn write_stats(&self, page: &mut Page, common: &str) {
        let help = "Requests that wait for a thread: none ever does here.";
        let mut family = page.family("rocketmq_processor_watermark", Kind::Gauge, help, common);
        for processor in PROCESSORS {
            family.sample(&[("processor", processor)], 0);
        }
        let help = "What clients may do: 6 read and write, 4 read, 2 write.";
        page.gauge("rocketmq_broker_permission", help, common, self.config.permission);
        page.gauge("rocketmq_topic_number", "Topics.", common, self.topics.all().0.len());
        page.gauge("rocketmq_consumer_group_number", "Consumer groups.", common, self.groups.names().len());
    }

    fn write_requests(&self, page: &mut Page, common: &str) {
        let came = self.metrics.came.totals();
        let of = |topic: &str| flag(is_system_topic(topic));
        let mut write = |name, help, n: usize| {
            let mut family = page.family(name, Kind::Counter, help, common);
            for ((topic, kind), counts) in &came {
                let labels = [("is_system", of(topic)), ("message_type", &**kind), ("topic", &**topic)];
                family.sample(&labels, counts[n]);
            }
        };
        write("rocketmq_messages_in_total", "Messages that were sent to a topic.", 0);
        write("rocketmq_throughput_in_total", "Bytes of their records.", 1);
        let reads: Vec<_> = self.stats.reads().filter(|(_, topic, _)| !topic.starts_with(RETRY_PREFIX)).collect();
        let mut write = |name, help, of: fn(&crate::stats::Reads) -> i64| {
            let mut family = page.family(name, Kind::Counter, help, common);
            for (group, topic, reads) in &reads {
                let is_system = is_system_topic(topic) || is_system_group(group);
                let labels = [("consumer_group", &**group), ("is_system", flag(is_system)), ("topic", &**topic)];
                family.sample(&labels, of(reads));
            }
        };
        write("rocketmq_messages_out_total", "Messages that a group was given.", |reads| reads.messages);
        write("rocketmq_throughput_out_total", "Bytes of their records.", |reads| reads.bytes);
        let help = "Sizes of messages that were sent, bytes of their records.";
        let mut family = page.family("rocketmq_message_size", Kind::Histogram, help, common);
        for ((topic, kind), counts) in &came {
            let labels = [("is_system", of(topic)), ("message_type", &**kind), ("topic", &**topic)];
            family.histogram(&labels, &SIZES, &counts[2..3 + SIZES.len()], counts[3 + SIZES.len()]);
        }
        for (what, name, help) in [
            ("topic", "rocketmq_topic_create_execution_time_milliseconds", "How long it took to create topics."),
            (
                "group",
                "rocketmq_consumer_group_create_execution_time_milliseconds",
                "How long it took to create groups.",
            ),
        ] {
            let mut family = page.family(name, Kind::Histogram, help, common);
            for ((_, status), counts) in self.metrics.created.totals().iter().filter(|((it, _), _)| **it == *what) {
                let (bounds, sum) = counts.split_at(CREATE_MILLIS.len() + 1);
                // Groups have no other label.
                let labels = [("invocation_status", &**status), ("is_system", "false")];
                let labels = if what == "topic" { &labels[..] } else { &labels[..1] };
                family.histogram(labels, &CREATE_MILLIS, bounds, sum[0]);
            }
        }
    }

    fn write_connections(&self, page: &mut Page, common: &str) {
        let of = |member: &Member| (member.language.name().to_lowercase(), version_name(member.version));
        let mut producers: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (_, _, member) in self.producers.lock().all() {
            *producers.entry(of(&member)).or_default() += 1;
        }
        let help = "Producers that are connected.";
        let mut family = page.family("rocketmq_producer_connections", Kind::Gauge, help, common);
        for ((language, version), count) in &producers {
            family.sample(&[("language", language), ("protocol_type", "remoting"), ("version", version)], count);
        }
        let names = self.consumers.read().names();
        let help = "Consumers that are connected.";
        let mut family = page.family("rocketmq_consumer_connections", Kind::Gauge, help, common);
        for group in names {
            let (mut consumers, mut mode): (BTreeMap<(String, String), usize>, _) = (BTreeMap::new(), "push");
            if let Some(group) = self.consumers.read().get(&group) {
                mode = match group.consume_type {
                    ConsumeType::Actively => "pull",
                    ConsumeType::Passively => "push",
                    ConsumeType::Pop => "pop",
                };
                group.members.values().for_each(|member| *consumers.entry(of(member)).or_default() += 1);
            }
            for ((language, version), count) in &consumers {
                let labels = [
                    ("consume_mode", mode),
                    ("consumer_group", &*group),
                    ("is_system", flag(is_system_group(&group))),
                    ("language", language),
                    ("protocol_type", "remoting"),
                    ("version", version),
                ];
                family.sample(&labels, count);
            }
        }
    }

    /// How far the groups are that have members, or have consumed anything: group, topic, whether it has members, how far.
    fn lags(&self) -> (Vec<(String, String, bool, Lag)>, usize) {
        let mut stored_at = StoredAt {
            broker: self,
            known: std::mem::take(&mut self.metrics.stored_at.lock()),
            used: HashMap::default(),
            began: Instant::now(),
            left_out: 0,
        };
        let online = self.consumers.read().names();
        let mut wanted: BTreeMap<(String, String), bool> = BTreeMap::new();
        for group in self.offsets.groups() {
            wanted.extend(self.offsets.topics_of(&group).into_iter().map(|topic| ((group.clone(), topic), false)));
        }
        for group in online {
            let topics: Vec<String> = self
                .consumers
                .read()
                .get(&group)
                .map_or_else(Vec::new, |group| group.subscriptions.keys().cloned().collect());
            wanted.extend(topics.into_iter().map(|topic| ((group.clone(), topic), true)));
        }
        let mut lags = Vec::new();
        for ((group, topic), online) in wanted {
            let Some(config) = self.topics.get(&topic) else { continue };
            let queues = self.store.queues_of(&topic);
            let progress = self.offsets.progress_of(&group, &topic);
            let mut lag = Lag::default();
            for id in 0..config.write_queue_nums.max(0) as u32 {
                let max = queues.iter().find(|queue| queue.queue_id() == id).map_or(0, |queue| queue.max_offset().0);
                let known = progress.get(&(id as i32));
                let consumed = known.and_then(|(consumed, _)| *consumed).unwrap_or(max);
                let pulled = known.map_or(max, |(_, pulled)| *pulled);
                let behind = (max - consumed).max(0);
                lag.lag += behind;
                lag.inflight += (pulled - consumed).max(0);
                lag.ready += (max - pulled).max(0);
                lag.queues.push((id, behind));
                let earlier = |known: Option<i64>, other: Option<i64>| match (known, other) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
                if behind > 0 && online {
                    lag.unconsumed = earlier(lag.unconsumed, stored_at.of(&group, &topic, id, false, consumed));
                }
                if pulled < max && online {
                    lag.unpulled = earlier(lag.unpulled, stored_at.of(&group, &topic, id, true, pulled));
                }
            }
            lags.push((group, topic, online, lag));
        }
        *self.metrics.stored_at.lock() = stored_at.used;
        (lags, stored_at.left_out)
    }

    fn write_lag(&self, page: &mut Page, common: &str, ours: &str) {
        let (lags, left_out) = self.lags();
        let now = now_millis();
        let age = |since: Option<i64>| since.map_or(0, |since| (now - since).max(0));
        let mut write = |name, help, of: &dyn Fn(&Lag) -> i64| {
            let mut family = page.family(name, Kind::Gauge, help, common);
            for (group, topic, online, lag) in &lags {
                if !online || topic.starts_with(RETRY_PREFIX) {
                    continue;
                }
                let is_system = flag(is_system_topic(topic) || is_system_group(group));
                let labels = [
                    ("consumer_group", &**group),
                    ("is_retry", "false"),
                    ("is_system", is_system),
                    ("topic", &**topic),
                ];
                family.sample(&labels, of(lag));
            }
        };
        write("rocketmq_consumer_lag_messages", "Messages that a group has not consumed.", &|lag| lag.lag);
        let help = "How long ago the first of them was stored.";
        write("rocketmq_consumer_lag_latency_milliseconds", help, &|lag| age(lag.unconsumed));
        let help = "Messages that a group has pulled and not consumed.";
        write("rocketmq_consumer_inflight_messages", help, &|lag| lag.inflight);
        let help = "How long ago the first message was stored that a group has not pulled.";
        write("rocketmq_consumer_queueing_latency_milliseconds", help, &|lag| age(lag.unpulled));
        write("rocketmq_consumer_ready_messages", "Messages that a group has not pulled.", &|lag| lag.ready);
        let help = "Messages that a group has given up.";
        let mut family = page.family("rocketmq_send_to_dlq_messages_total", Kind::Counter, help, common);
        for ((group, topic), counts) in &self.metrics.dead.totals() {
            let is_system = flag(is_system_topic(topic) || is_system_group(group));
            family.sample(&[("consumer_group", group), ("is_system", is_system), ("topic", topic)], counts[0]);
        }
        let help = "Messages of a queue that a group has not consumed, whether it has members or not.";
        let mut family = page.family("cometmq_consumer_queue_lag_messages", Kind::Gauge, help, ours);
        for (group, topic, _, lag) in &lags {
            for (queue, behind) in &lag.queues {
                let queue = queue.to_string();
                family.sample(&[("consumer_group", group), ("topic", topic), ("queue_id", &queue)], behind);
            }
        }
        let help = "Queues of which it takes too long to find out since when groups lag; the next pages say more.";
        page.gauge("cometmq_consumer_lag_latency_left_out", help, ours, left_out);
    }

    /// How many transactions of each topic are open; those whose half message can't be read have no topic.
    fn open_by_topic(&self) -> BTreeMap<Arc<str>, usize> {
        let began = Instant::now();
        let mut known = std::mem::take(&mut *self.metrics.halves.lock());
        let (mut used, mut open, mut from) = (BTreeMap::new(), BTreeMap::new(), 0);
        loop {
            let Some((offset, half)) = self.transactions.lock().next(from) else { break };
            from = offset + 1;
            let topic = known.remove(&offset).or_else(|| {
                let read = || {
                    let bytes = self.store.read(half.at).ok()??;
                    Some(Arc::from(Record::parse(&bytes).ok()?.properties().get(property::REAL_TOPIC)?))
                };
                if began.elapsed() > READING_MAX { None } else { read() }
            });
            if let Some(topic) = &topic {
                used.insert(offset, topic.clone());
            }
            *open.entry(topic.unwrap_or_default()).or_default() += 1;
        }
        *self.metrics.halves.lock() = used;
        open
    }

    fn write_transactions(&self, page: &mut Page, common: &str, ours: &str) {
        let ended = self.metrics.ended.totals();
        let mut write = |name, help, n: usize| {
            let mut family = page.family(name, Kind::Counter, help, common);
            for ((topic, _), counts) in ended.iter().filter(|(_, counts)| counts[n] > 0) {
                family.sample(&[("topic", topic)], counts[n]);
            }
        };
        write("rocketmq_commit_messages_total", "Transactions that were committed.", 0);
        write("rocketmq_rollback_messages_total", "Transactions that were rolled back.", 1);
        // Apache's says milliseconds, and counts seconds.
        let help = "Seconds until a transaction was committed.";
        let mut family = page.family("rocketmq_finish_message_latency_milliseconds", Kind::Histogram, help, common);
        for ((topic, _), counts) in ended.iter().filter(|(_, counts)| counts[0] > 0) {
            let (bounds, sum) = counts[2..].split_at(FINISH_SECONDS.len() + 1);
            family.histogram(&[("topic", topic)], &FINISH_SECONDS, bounds, sum[0]);
        }
        let mut family = page.family("rocketmq_half_messages", Kind::Gauge, "Transactions that are open.", common);
        for (topic, open) in self.open_by_topic() {
            family.sample(&[("topic", &topic)], open);
        }
        let open = self.transactions.lock().len();
        page.gauge("cometmq_transactions_open", "Transactions that are open, of all topics.", ours, open);
    }

    fn write_store(&self, page: &mut Page, common: &str, ours: &str) {
        let store = &self.store;
        let (log_min, log_max) = store.commit_log_bounds();
        if let Ok(space) = store.space() {
            page.gauge("rocketmq_storage_size_bytes", "Bytes used on the disk, by whomever.", common, space.used);
            page.gauge("cometmq_disk_free_bytes", "Bytes that can still be written.", ours, space.free);
            page.gauge("cometmq_disk_size_bytes", "Bytes that the disk has.", ours, space.total);
        }
        let help = "Bytes of the log that are not on disk yet.";
        page.gauge("rocketmq_storage_flush_behind_bytes", help, common, store.unflushed());
        let help = "Bytes of the log that are in no queue yet: what is written can be read at once.";
        page.gauge("rocketmq_storage_dispatch_behind_bytes", help, common, 0);
        if let Some(earliest) = store.earliest_store_timestamp().filter(|stored| *stored > 0) {
            let help = "How long ago the oldest message was stored.";
            page.gauge("rocketmq_storage_message_reserve_time_milliseconds", help, common, now_millis() - earliest);
        }
        self.write_timers(page, common);

        page.gauge("cometmq_log_min_offset_bytes", "Where the log begins.", ours, log_min.0);
        page.gauge("cometmq_log_max_offset_bytes", "Where the log ends.", ours, log_max.0);
        let flushes = store.flushes();
        let help = "How long the disk took to take the log, each time.";
        let mut family = page.family("cometmq_flush_duration_seconds", Kind::Histogram, help, ours);
        family.histogram(&[], &FLUSH_BOUNDS, &flushes.counts, flushes.seconds);
        page.counter("cometmq_flushed_bytes_total", "Bytes that it took.", ours, flushes.bytes);
        let help = "From a message's arrival until it is written, or on disk where that is promised (SYNC_FLUSH).";
        let mut family = page.family("cometmq_put_latency_seconds", Kind::Histogram, help, ours);
        let (counts, seconds) = self.put_times.histogram();
        family.histogram(&[], &put_times::SECONDS, &counts, seconds);
        let help = "1: the store takes no messages now.";
        page.gauge("cometmq_store_refuses_messages", help, ours, u8::from(store.failure().is_some()));
        let scrubbed = store.scrubbed();
        page.counter("cometmq_scrubbed_bytes_total", "Bytes of old files that were looked at.", ours, scrubbed.bytes);
        page.counter("cometmq_scrub_damaged_total", "Damaged stretches that were found.", ours, scrubbed.damaged);
        let help = "Messages that wait for a delay level.";
        let mut family = page.family("cometmq_delayed_messages", Kind::Gauge, help, ours);
        for level in self.delay.levels() {
            let waiting = store.max_offset(SCHEDULE_TOPIC, level - 1).0 - self.delay.next(level).0;
            let (level, delay) = (level.to_string(), self.delay.delay(level).as_secs().to_string());
            family.sample(&[("level", &level), ("delay_s", &delay)], waiting.max(0));
        }
    }

    fn write_timers(&self, page: &mut Page, common: &str) {
        let Some(progress) = self.timer.progress(self.config.clock.now_millis()) else { return };
        let queue: Option<Arc<Queue>> = self.store.queue(TIMER_TOPIC, 0);
        let lag = queue.map_or(0, |queue| (queue.max_offset().0 - progress.queue_offset).max(0));
        let since = match lag {
            0 => None,
            _ => self.store.store_timestamp_of(TIMER_TOPIC, 0, QueueOffset(progress.queue_offset)),
        };
        let latency = since.map_or(0, |since| (now_millis() - since).max(0));
        page.gauge("rocketmq_timer_enqueue_lag", "Timed messages that are not in the wheel yet.", common, lag);
        let help = "How long the first of them waits for that.";
        page.gauge("rocketmq_timer_enqueue_latency_milliseconds", help, common, latency);
        page.gauge("rocketmq_timer_dequeue_lag", "Timed messages that are overdue.", common, progress.overdue);
        let help = "For how long the first of them is overdue.";
        page.gauge("rocketmq_timer_dequeue_latency_milliseconds", help, common, progress.overdue_for);
        let timed = self.metrics.timed.totals();
        let mut write = |name, help, n: usize| {
            let mut family = page.family(name, Kind::Counter, help, common);
            for ((topic, _), counts) in timed.iter().filter(|(_, counts)| counts[n] > 0) {
                family.sample(&[("topic", topic)], counts[n]);
            }
        };
        write("rocketmq_timer_enqueue_total", "Timed messages that were laid into the wheel.", 0);
        write("rocketmq_timer_dequeue_total", "Timed messages that were delivered.", 1);
        let help = "For how long timed messages were to wait.";
        let mut family = page.family("rocketmq_delay_message_latency_seconds", Kind::Histogram, help, common);
        for ((topic, _), counts) in timed.iter().filter(|(_, counts)| counts[0] > 0) {
            let (bounds, sum) = counts[2..].split_at(DELAY_SECONDS.len() + 1);
            family.histogram(&[("topic", topic)], &DELAY_SECONDS, bounds, sum[0]);
        }
    }

    fn write_ours(&self, page: &mut Page, ours: &str) {
        let version = [("version", env!("CARGO_PKG_VERSION")), ("speaks", &*version_name(VERSION))];
        page.family("cometmq_build_info", Kind::Gauge, "Which CometMQ this is.", ours).sample(&version, 1);
        page.gauge("cometmq_held_pulls", "Pulls that wait for messages.", ours, self.held_pulls());
        let totals = self.stats.totals(self.put_so_far());
        page.counter("cometmq_messages_stored_total", "Messages that were stored.", ours, totals.put);
        page.counter("cometmq_messages_given_total", "Messages that were given out.", ours, totals.given);
        page.counter("cometmq_pulls_found_total", "Pulls that were given messages.", ours, totals.found);
        page.counter("cometmq_pulls_missed_total", "Pulls that were given none.", ours, totals.missed);
        let (mut ids, mut duplicates, mut forgotten) = (0, 0, 0);
        for topic in self.dedup.topics() {
            ids += topic.ids;
            duplicates += topic.duplicates;
            forgotten += topic.forgotten_early;
        }
        page.gauge("cometmq_dedup_ids", "Ids of messages that are remembered.", ours, ids);
        page.counter("cometmq_duplicates_total", "Messages that were not stored again.", ours, duplicates);
        let help = "Ids that were forgotten before their time: dedupIdsMax is reached.";
        page.counter("cometmq_dedup_ids_forgotten_total", help, ours, forgotten);
        let help = "Events of lives of messages that were dropped.";
        page.counter("cometmq_life_events_dropped_total", help, ours, self.life.dropped());
        let fences = self.fences.list().len();
        page.gauge("cometmq_order_fences", "Ordered topics whose new queues are held back.", ours, fences);
        if let Some(ends) = self.entrance.certificate_expires() {
            page.gauge(CERTIFICATE_EXPIRES, CERTIFICATE_EXPIRES_HELP, ours, ends / 1000);
        }
        let help = "Changes that could not be written into audit.log.";
        page.counter("cometmq_audit_failed_total", help, ours, self.audit.failed());
        let metrics = &self.metrics;
        let uncounted: i64 =
            [&metrics.came, &metrics.ended, &metrics.dead, &metrics.timed].iter().map(|tally| tally.left_out()).sum();
        let help = "What happened under more names than are told apart, and is in no metric above.";
        page.counter("cometmq_metrics_uncounted_total", help, ours, uncounted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_javas_names() {
        for (version, name) in [
            (479, "v5_3_3"),
            (213, "v4_0_0"),
            (212, "v4_0_0_snapshot"),
            (413, "v5_0_0"),
            (611, "v5_9_9"),
            (612, "higher_version"),
            (100, "v3"),
        ] {
            assert_eq!(version_name(version), name);
        }
    }

    #[test]
    fn labels_are_pairs_with_names_that_prometheus_takes() {
        assert_eq!(read_labels("a:b,zone_1:x y"), Some(vec![("a", "b"), ("zone_1", "x y")]));
        assert_eq!(read_labels(""), Some(vec![]));
        for bad in ["a", "a:b:c", "1a:b", ":b", "a-b:c", "a:b,c"] {
            assert_eq!(read_labels(bad), None, "{bad}");
        }
    }
}
