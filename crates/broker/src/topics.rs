//! The topics of this broker: `config/topics.json`.
//!
//! A change is in force at once, in memory. `Broker::run` brings it to disk, and name servers hear of it; who must not
//! answer before that awaits [`Topics::saved`] and [`Topics::registered`].

use crate::config::Config;
use crate::owners::{Owners, UserHasTooMany};
use crate::table::{Table, TableFile};
use parking_lot::RwLock;
use protocol::topic::{
    self, BENCHMARK_TOPIC, DEFAULT_TOPIC, DataVersion, OFFSET_MOVED_TOPIC, PERM_INHERIT, PERM_READ, PERM_WRITE,
    QUEUES_MAX, SCHEDULE_TOPIC, SELF_TEST_TOPIC, TIMER_TOPIC, TRANSACTION_HALF_TOPIC, TRANSACTION_OP_TOPIC,
    TopicConfig, UNIT,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use store::{RESERVE_BYTES, RESERVE_TIME, Retention};
use tokio::sync::watch;

/// So many topics at most, whatever `topicsMax` says: each is held in memory, here and on every name server.
pub const TOPICS_MAX: usize = 200_000;

/// How much of a topic is kept, as its attributes say.
pub fn retention(config: &TopicConfig) -> Retention {
    let number = |name| config.attributes.get(name).and_then(|text| text.parse::<u64>().ok());
    Retention {
        time: number(RESERVE_TIME)
            .filter(|hours| *hours > 0)
            .map(|hours| Duration::from_secs(hours.saturating_mul(3600))),
        bytes: number(RESERVE_BYTES),
    }
}

/// The attribute that says for how many seconds a topic remembers the ids of its messages (`DEDUP_ID`).
pub const DEDUP_WINDOW: &str = "dedup.window";

/// For how long the topic remembers ids of messages. `None`: it does not.
pub fn dedup_window(config: &TopicConfig) -> Option<Duration> {
    let seconds = config.attributes.get(DEDUP_WINDOW)?.parse::<u32>().ok().filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds.into()))
}

/// The attribute that says how many bytes a body in the topic may have; `maxMessageSize` holds besides.
pub const MESSAGE_SIZE_MAX: &str = "message.size.max";

/// All topics, by name.
#[doc(alias = "TopicConfigManager")]
pub struct Topics {
    table: RwLock<Inner>,
    /// The version's counter, told to whoever watches for changes.
    changed: watch::Sender<i64>,
    saved: watch::Sender<Saved>,
    registered: watch::Sender<i64>,
    /// `topicsMax`.
    max: AtomicUsize,
    /// Changed under the lock of `table`.
    owners: Owners,
    file: TableFile,
}

/// What is on disk.
#[derive(Default)]
struct Saved {
    /// The counter of the version that is.
    counter: i64,
    /// The counter of the version that could not be saved at the last try, and why.
    failed: Option<(i64, Arc<io::Error>)>,
}

struct Inner {
    topics: foldhash::HashMap<String, Arc<TopicConfig>>,
    version: DataVersion,
    /// Kept for other brokers.
    others: Map<String, Value>,
}

/// What sending and pulling need to know of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queues {
    /// Queues to read from.
    pub read: i32,
    /// Queues to write to.
    pub write: i32,
    /// Bits: 4 read, 2 write, 1 inherit.
    pub perm: i32,
    /// Messages have several tags.
    pub multi_tags: bool,
    /// A body may have so many bytes, if the topic says.
    pub body_max: Option<usize>,
}

impl Queues {
    fn of(config: &TopicConfig) -> Queues {
        Queues {
            read: config.read_queue_nums,
            write: config.write_queue_nums,
            perm: config.perm,
            multi_tags: config.topic_filter_type == "MULTI_TAG",
            body_max: config.attributes.get(MESSAGE_SIZE_MAX).and_then(|size| size.parse().ok()),
        }
    }

    /// How many queues there are, to read from or to write to.
    pub fn all(self) -> i32 {
        self.read.max(self.write)
    }
}

/// Why there is no such topic, and none was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// Nobody may make one by sending to it.
    #[error("topic[{0}] not exist, apply first please! Create it, or set autoCreateTopicEnable=true on this broker")]
    AutoCreateOff(String),
    /// The topic that it should take after is not there, or does not pass itself on.
    #[error(
        "topic[{topic}] not exist, apply first please! It can't be made after topic[{template}], which this broker \
        does not have or which does not allow it; create it"
    )]
    Template {
        /// The topic.
        topic: String,
        /// The topic that it should take after.
        template: String,
    },
    /// There are as many as may be.
    #[error(
        "topic[{topic}] not exist, and this broker holds {max} topics, which is as many as it may (topicsMax): delete some"
    )]
    TooMany {
        /// The topic.
        topic: String,
        /// `topicsMax`.
        max: usize,
    },
    /// Who wants it has created enough.
    #[error("topic[{topic}] not exist, and is not created: {why}")]
    OfUser {
        /// The topic.
        topic: String,
        /// How many he has.
        why: UserHasTooMany,
    },
}

/// `topics.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    data_version: DataVersion,
    topic_config_table: BTreeMap<String, TopicConfig>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// A topic of which the store has messages, and its queues as far as these tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub topic: String,
    /// One more than the highest number of a queue that has or had a message.
    pub queues: i32,
}

impl Topics {
    /// Reads the table, and adds the system's own topics, and those that are `stored` and not in it: it is gone, damaged, or
    /// an older copy, for a topic's messages are deleted before its name is.
    pub fn open(config: &Config, stored: &[Stored], now: i64) -> io::Result<Topics> {
        let file = TableFile::new(config, "topics.json");
        let found: Option<File> = file.open_or_gone()?;
        let is_gone = found.is_none();
        let mut read = found.unwrap_or_default();
        for (name, topic) in &mut read.topic_config_table {
            topic.topic_name.clone_from(name);
        }
        let mut added = false;
        for system in system_topics(config) {
            read.topic_config_table.entry(system.topic_name.clone()).or_insert_with(|| {
                added = true;
                system
            });
        }
        let mut made_again = Vec::new();
        for Stored { topic: name, queues } in stored {
            if !read.topic_config_table.contains_key(name) && topic::check_topic_name(name).is_ok() {
                let topic = TopicConfig::new(name.as_str(), (*queues).clamp(1, QUEUES_MAX), PERM_READ | PERM_WRITE);
                made_again.push(format!("{name} ({queues})"));
                read.topic_config_table.insert(name.clone(), topic);
                added = true;
            }
        }
        if !made_again.is_empty() {
            let (is, path) = (if is_gone { "is gone" } else { "lacks topics" }, file.path().display());
            let topics = made_again.join(", ");
            tracing::error!(
                "{path} {is} of which the store has messages; made again, with the number of queues that these tell: {topics}. \
                 Permissions, attributes (how long messages are kept) and queues that never had a message are forgotten: \
                 set them again, or stop and put a newer copy of the file there"
            );
        }
        let before = read.data_version.counter;
        if added {
            read.data_version.advance(now);
        }
        let counter = read.data_version.counter;
        let owners = Owners::of_topics(config, |name| read.topic_config_table.contains_key(name))?;
        Ok(Topics {
            table: RwLock::new(Inner {
                topics: read.topic_config_table.into_iter().map(|(name, topic)| (name, Arc::new(topic))).collect(),
                version: read.data_version,
                others: read.others,
            }),
            changed: watch::Sender::new(counter),
            saved: watch::Sender::new(Saved { counter: before, failed: None }),
            registered: watch::Sender::new(0),
            max: AtomicUsize::new(config.topics_max),
            owners,
            file,
        })
    }

    /// From now on there may be so many, and so many that one user created (0: any number); those that are there stay.
    pub fn set_max(&self, max: usize, per_user: usize) {
        self.max.store(max, Ordering::Relaxed);
        self.owners.set_max(per_user);
    }

    /// The topic's settings.
    pub fn get(&self, name: &str) -> Option<Arc<TopicConfig>> {
        self.table.read().topics.get(name).cloned()
    }

    /// What sending and pulling need of it.
    pub fn queues(&self, name: &str) -> Option<Queues> {
        self.table.read().topics.get(name).map(|config| Queues::of(config))
    }

    /// Creates or replaces a topic. Answers with the version in which it is so. `by`: the user whose it is if it is new.
    #[doc(alias = "updateTopicConfig")]
    pub fn put(&self, config: TopicConfig, by: Option<&str>, now: i64) -> Result<i64, CreateError> {
        let mut table = self.table.write();
        if table.topics.get(&config.topic_name).is_some_and(|known| **known == config) {
            return Ok(table.version.counter);
        }
        self.insert(&mut table, config, by, now)
    }

    /// Creates a topic unless it is there, one that is no user's. Answers with its queues.
    #[doc(alias = "createTopicInSendMessageBackMethod")]
    pub fn ensure(&self, name: &str, queues: i32, perm: i32, now: i64) -> Result<Queues, CreateError> {
        self.ensure_with(TopicConfig::new(name, queues, perm), now)
    }

    /// The same, with any settings; more queues than a topic can have are cut off.
    pub fn ensure_with(&self, mut config: TopicConfig, now: i64) -> Result<Queues, CreateError> {
        config.read_queue_nums = config.read_queue_nums.min(QUEUES_MAX);
        config.write_queue_nums = config.write_queue_nums.min(QUEUES_MAX);
        let name = config.topic_name.as_str();
        if let Some(queues) = self.queues(name) {
            return Ok(queues);
        }
        let mut table = self.table.write();
        if let Some(config) = table.topics.get(name) {
            return Ok(Queues::of(config));
        }
        let queues = Queues::of(&config);
        self.insert(&mut table, config, None, now)?;
        Ok(queues)
    }

    /// Notes which topics are ordered, as a name server says it. Those of others are passed over, and none ceases to be.
    #[doc(alias = "updateOrderTopicConfig")]
    pub fn set_ordered<'a>(&self, ordered: impl Iterator<Item = &'a String>, now: i64) {
        let mut table = self.table.write();
        for name in ordered {
            let Some(known) = table.topics.get(name).filter(|known| !known.order) else { continue };
            let config = TopicConfig { order: true, ..TopicConfig::clone(known) };
            tracing::info!(topic = name, "is ordered, as a name server says");
            // It is there: no topic is one too many.
            let _ = self.insert(&mut table, config, None, now);
        }
    }

    /// Creates the unknown topic `name`, to which the user `by` sends, after the topic `template`.
    #[doc(alias = "createTopicInSendMessageMethod")]
    #[expect(clippy::too_many_arguments, reason = "what a request says of a topic that it creates")]
    pub fn auto_create(
        &self,
        name: &str,
        template: &str,
        queues_wished: i32,
        unit: bool,
        config: &Config,
        by: Option<&str>,
        now: i64,
    ) -> Result<Queues, CreateError> {
        if !config.auto_create_topic && template == DEFAULT_TOPIC {
            return Err(CreateError::AutoCreateOff(name.into()));
        }
        let mut table = self.table.write();
        if let Some(config) = table.topics.get(name) {
            return Ok(Queues::of(config));
        }
        let heritage = table.topics.get(template).filter(|template| template.perm & PERM_INHERIT != 0);
        let Some(heritage) = heritage else {
            return Err(match config.auto_create_topic {
                true => CreateError::Template { topic: name.into(), template: template.into() },
                false => CreateError::AutoCreateOff(name.into()),
            });
        };
        let queues = queues_wished.min(heritage.write_queue_nums).max(0);
        let mut created = TopicConfig::new(name, queues, heritage.perm & !PERM_INHERIT);
        created.topic_filter_type.clone_from(&heritage.topic_filter_type);
        created.topic_sys_flag = if unit { UNIT } else { 0 };
        let queues = Queues::of(&created);
        self.insert(&mut table, created, by, now)?;
        tracing::info!(topic = name, queues = queues.write, "created by a message that was sent to it");
        Ok(queues)
    }

    fn insert(&self, table: &mut Inner, config: TopicConfig, by: Option<&str>, now: i64) -> Result<i64, CreateError> {
        if !table.topics.contains_key(&config.topic_name) {
            let max = self.max.load(Ordering::Relaxed);
            if table.topics.len() >= max {
                return Err(CreateError::TooMany { topic: config.topic_name, max });
            }
            if let Err(why) = self.owners.may_create(by, 1) {
                return Err(CreateError::OfUser { topic: config.topic_name, why });
            }
            self.owners.created(&config.topic_name, by);
        }
        table.topics.insert(config.topic_name.clone(), Arc::new(config));
        table.version.advance(now);
        self.changed.send_replace(table.version.counter);
        Ok(table.version.counter)
    }

    /// Removes a topic: at once for whoever asks, and in the file only once `rest` has deleted what else there is of it.
    /// `rest` hears whether the topic was known; if it fails, the topic is back. Answers with the version in which the
    /// topic is gone.
    #[doc(alias = "deleteTopicConfig")]
    pub fn delete(&self, name: &str, now: i64, rest: impl FnOnce(bool) -> io::Result<()>) -> io::Result<i64> {
        let _not_saved_meanwhile = self.file.saving.lock();
        let removed = self.table.write().topics.remove(name);
        let done = rest(removed.is_some());
        let mut table = self.table.write();
        match (removed, &done) {
            (Some(removed), Err(_)) => _ = table.topics.entry(name.to_owned()).or_insert(removed),
            (Some(_), Ok(())) => {
                if !table.topics.contains_key(name) {
                    self.owners.deleted(name);
                }
                table.version.advance(now);
                self.changed.send_replace(table.version.counter);
            }
            (None, _) => {}
        }
        done.map(|()| table.version.counter)
    }

    /// The table counts as changed: name servers are told it again. Answers with its version.
    pub fn touch(&self, now: i64) -> i64 {
        let mut table = self.table.write();
        table.version.advance(now);
        self.changed.send_replace(table.version.counter);
        table.version.counter
    }

    /// All topics, and the version in which they are so.
    pub fn all(&self) -> (Vec<Arc<TopicConfig>>, DataVersion) {
        let table = self.table.read();
        (table.topics.values().cloned().collect(), table.version.clone())
    }

    /// Tells of each change; its value is the version's counter. Name servers are told of the table when it moves.
    pub fn changed(&self) -> watch::Receiver<i64> {
        self.changed.subscribe()
    }

    /// To be called when all name servers that can be reached know the table of this version.
    pub fn set_registered(&self, counter: i64) {
        self.registered.send_if_modified(|known| {
            let newer = counter > *known;
            *known = counter.max(*known);
            newer
        });
    }

    /// Waits until name servers know this version.
    pub async fn registered(&self, counter: i64) {
        let _ = self.registered.subscribe().wait_for(|known| *known >= counter).await;
    }

    /// Do name servers know the table as it is?
    pub fn is_registered(&self) -> bool {
        *self.registered.borrow() >= *self.changed.borrow()
    }

    /// Waits until this version is on disk, or could not be saved. It is tried again, and is in force meanwhile.
    pub async fn saved(&self, counter: i64) -> Result<(), Arc<io::Error>> {
        let tried = |failed: &(i64, _)| failed.0 >= counter;
        let mut saved = self.saved.subscribe();
        let known = saved.wait_for(|it| it.counter >= counter || it.failed.as_ref().is_some_and(tried)).await;
        // The sender lives as long as `self`.
        let failed = known.ok().filter(|it| it.counter < counter).and_then(|it| it.failed.clone());
        failed.map_or(Ok(()), |(_, error)| Err(error))
    }
}

impl Table for Topics {
    /// Saves the table if it changed.
    fn save(&self) -> std::io::Result<()> {
        let _one_at_a_time = self.file.saving.lock();
        let file = {
            let table = self.table.read();
            if self.saved.borrow().counter >= table.version.counter {
                return Ok(());
            }
            File {
                data_version: table.version.clone(),
                topic_config_table: table
                    .topics
                    .iter()
                    .map(|(name, topic)| (name.clone(), (**topic).clone()))
                    .collect(),
                others: table.others.clone(),
            }
        };
        let counter = file.data_version.counter;
        match self.owners.save().and_then(|()| self.file.save(&file)) {
            Ok(()) => {
                self.saved.send_replace(Saved { counter, failed: None });
                Ok(())
            }
            Err(error) => {
                let text = io::Error::new(error.kind(), error.to_string());
                self.saved.send_modify(|saved| saved.failed = Some((counter, Arc::new(error))));
                Err(text)
            }
        }
    }
}

/// The topics that every broker has.
fn system_topics(config: &Config) -> Vec<TopicConfig> {
    const RW: i32 = PERM_READ | PERM_WRITE;
    let inherit = |on: bool| if on { RW | PERM_INHERIT } else { RW };
    let cluster = &config.cluster_name;
    let mut topics = vec![
        TopicConfig::new(SELF_TEST_TOPIC, 1, RW),
        TopicConfig::new(BENCHMARK_TOPIC, 1024, RW),
        TopicConfig::new(cluster.as_str(), 16, inherit(config.cluster_topic)),
        TopicConfig::new(config.name.as_str(), 1, inherit(config.broker_topic)),
        TopicConfig::new(OFFSET_MOVED_TOPIC, 1, RW),
        TopicConfig::new(SCHEDULE_TOPIC, config.delay_levels.max().max(18) as i32, RW),
        TopicConfig::new(format!("{cluster}_REPLY_TOPIC"), 1, RW),
        TopicConfig::new(TRANSACTION_HALF_TOPIC, 1, RW),
        TopicConfig::new(TRANSACTION_OP_TOPIC, 1, RW),
        TopicConfig::new(TIMER_TOPIC, 1, RW),
    ];
    if config.auto_create_topic {
        topics.push(TopicConfig::new(DEFAULT_TOPIC, config.default_topic_queue_nums, RW | PERM_INHERIT));
    }
    if config.trace_topic {
        topics.push(TopicConfig::new(config.trace_topic_name.as_str(), 1, RW));
    }
    // A cluster or a broker may have a name that no topic can have.
    topics.retain(|topic| topic::check_topic_name(&topic.topic_name).is_ok());
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(config: &Config) -> Topics {
        Topics::open(config, &[], 1).unwrap()
    }

    fn config(dir: &tempfile::TempDir) -> Config {
        Config { store_root: dir.path().into(), ..Config::default() }
    }

    #[test]
    fn a_topic_takes_after_tbw102_with_the_fewer_queues() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(&dir);
        let topics = open(&config);
        let created = topics.auto_create("orders", DEFAULT_TOPIC, 4, false, &config, None, 2).unwrap();
        assert_eq!(created, Queues { read: 4, write: 4, perm: 6, multi_tags: false, body_max: None });
        assert_eq!(topics.auto_create("more", DEFAULT_TOPIC, 99, false, &config, None, 2).unwrap().write, 8);
        let no_heir = topics.auto_create("x", "orders", 4, false, &config, None, 2);
        assert!(matches!(no_heir, Err(CreateError::Template { .. })), "{no_heir:?}");
    }

    #[test]
    fn without_auto_create_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { auto_create_topic: false, ..config(&dir) };
        let topics = open(&config);
        assert_eq!(topics.get(DEFAULT_TOPIC), None);
        let refused = topics.auto_create("orders", DEFAULT_TOPIC, 4, false, &config, None, 2);
        assert_eq!(refused, Err(CreateError::AutoCreateOff("orders".into())));
    }

    #[test]
    fn topics_are_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(&dir);
        let topics = open(&config);
        let (_, before) = topics.all();
        topics.ensure("%RETRY%g", 1, 6, 5).unwrap();
        topics.ensure("%RETRY%g", 7, 6, 6).unwrap();
        assert_eq!(topics.all().1, DataVersion { counter: before.counter + 1, state_version: 0, timestamp: 5 });
        topics.save().unwrap();
        let topics = open(&config);
        assert_eq!(topics.queues("%RETRY%g").unwrap().read, 1);
        assert_eq!(topics.all().1.counter, before.counter + 1);
    }

    #[test]
    fn a_table_of_apaches_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(&dir);
        let text = "{\n\t\"dataVersion\":{\n\t\t\"counter\":3,\n\t\t\"timestamp\":1700000000000\n\t},\n\t\
            \"topicConfigTable\":{\n\t\t\"T\":{\n\t\t\t\"order\":true,\n\t\t\t\"perm\":6,\n\t\t\t\"readQueueNums\":3,\n\t\t\t\
            \"topicFilterType\":\"SINGLE_TAG\",\n\t\t\t\"topicName\":\"T\",\n\t\t\t\"topicSysFlag\":0,\n\t\t\t\"writeQueueNums\":2\n\t\t}\n\t}\n}";
        std::fs::create_dir_all(dir.path().join("config")).unwrap();
        std::fs::write(dir.path().join("config/topics.json"), text).unwrap();
        let topics = open(&config);
        let topic = topics.get("T").unwrap();
        assert!(topic.order && topic.read_queue_nums == 3 && topic.write_queue_nums == 2);
        assert_eq!(topics.all().1.counter, 4, "system topics were added");
    }

    #[test]
    fn what_other_brokers_wrote_into_the_table_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(&dir);
        let text = r#"{"topicConfigTable":{"T":{"attributes":{"message.type":"FIFO"},"ofATopic":1}},"ofTheTable":[2]}"#;
        std::fs::create_dir_all(dir.path().join("config")).unwrap();
        let file = dir.path().join("config/topics.json");
        std::fs::write(&file, text).unwrap();
        open(&config).save().unwrap();
        let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(written["ofTheTable"][0], 2);
        let topic = &written["topicConfigTable"]["T"];
        assert_eq!((&topic["ofATopic"], &topic["attributes"]["message.type"]), (&1.into(), &"FIFO".into()));
    }

    #[test]
    fn topics_whose_messages_are_stored_are_there_whatever_became_of_the_table() {
        let stored = |topic: &str, queues| Stored { topic: topic.into(), queues };
        let all = [stored("orders", 3), stored("%RETRY%g", 1), stored("no name", 1), stored(SCHEDULE_TOPIC, 40)];
        for damage in ["gone", "both unreadable", "an older copy"] {
            let dir = tempfile::tempdir().unwrap();
            let config = config(&dir);
            let file = dir.path().join("config/topics.json");
            let topics = open(&config);
            topics.ensure("kept", 5, 4, 5).unwrap();
            topics.save().unwrap();
            match damage {
                "gone" => std::fs::remove_file(&file).unwrap(),
                "both unreadable" => {
                    std::fs::write(&file, "{").unwrap();
                    std::fs::write(file.with_extension("json.bak"), "").unwrap();
                }
                _ => {}
            }
            let topics = Topics::open(&config, &all, 7).unwrap();
            let orders = topics.queues("orders").unwrap();
            assert_eq!(orders, Queues { read: 3, write: 3, perm: 6, multi_tags: false, body_max: None }, "{damage}");
            assert_eq!(topics.queues("%RETRY%g").unwrap().read, 1, "{damage}");
            assert_eq!(topics.queues(SCHEDULE_TOPIC).unwrap().read, 18, "the system's own are as ever");
            assert_eq!(topics.get("no name"), None);
            assert_eq!(topics.get("kept").is_some(), damage == "an older copy");
            topics.save().unwrap();
            assert!(file.exists(), "{damage}: saved at once");
            let aside =
                ["topics.json.damaged", "topics.json.bak.damaged"].map(|name| file.with_file_name(name).exists());
            assert_eq!(aside, [damage == "both unreadable"; 2], "{damage}");
            assert_eq!(open(&config).queues("orders"), Some(orders), "{damage}");
        }
    }
}
