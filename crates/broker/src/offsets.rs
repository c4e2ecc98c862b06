//! How far each group has consumed each queue: `config/consumerOffset.json`.

use crate::config::Config;
use crate::table::{self, Table, TableFile};
use parking_lot::RwLock;
use protocol::topic::DataVersion;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};

/// The offsets of all groups.
#[doc(alias = "ConsumerOffsetManager")]
pub struct ConsumerOffsets {
    table: RwLock<Inner>,
    /// There was no such file.
    is_gone: bool,
    file: TableFile,
}

#[derive(Default)]
struct Inner {
    groups: HashMap<String, HashMap<String, BTreeMap<i32, i64>>>,
    version: DataVersion,
    /// Kept for other brokers: `pullOffsetTable`, and keys that are not `topic@group`.
    others: Map<String, Value>,
    strange: BTreeMap<String, BTreeMap<i32, i64>>,
    /// Commits since the last save.
    commits: u64,
}

/// `consumerOffset.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    data_version: DataVersion,
    offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl ConsumerOffsets {
    /// Reads the table.
    pub fn open(config: &Config) -> Result<ConsumerOffsets, table::OpenError> {
        let file = TableFile::new(config, "consumerOffset.json");
        let found: Option<File> = file.open()?;
        let is_gone = found.is_none();
        let read = found.unwrap_or_default();
        // Saved soon even if nobody commits, so that it tells something when it is gone.
        let commits = u64::from(is_gone);
        let mut inner = Inner { version: read.data_version, others: read.others, commits, ..Inner::default() };
        // Others derive it from the offsets.
        inner.others.remove("groupTopicMap");
        for (key, queues) in read.offset_table {
            match key.split_once('@').filter(|(_, group)| !group.contains('@')) {
                Some((topic, group)) => {
                    inner.groups.entry(group.into()).or_default().insert(topic.into(), queues);
                }
                None => {
                    inner.strange.insert(key, queues);
                }
            }
        }
        Ok(ConsumerOffsets { table: RwLock::new(inner), is_gone, file })
    }

    /// The groups of which it is known how far they have come.
    pub fn groups(&self) -> Vec<String> {
        self.table.read().groups.keys().cloned().collect()
    }

    /// The first message of the queue that `group` has not consumed, if that is known.
    #[doc(alias = "queryOffset")]
    pub fn get(&self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        self.table.read().groups.get(group)?.get(topic)?.get(&queue_id).copied()
    }

    /// All before `offset` is consumed. It may go back: that is how users reset it. Answers with what held before.
    #[doc(alias = "commitOffset")]
    pub fn commit(&self, group: &str, topic: &str, queue_id: i32, offset: i64) -> Option<i64> {
        let mut table = self.table.write();
        table.commits += 1;
        if let Some(known) =
            table.groups.get_mut(group).and_then(|topics| topics.get_mut(topic)).and_then(|it| it.get_mut(&queue_id))
        {
            if offset < *known {
                tracing::debug!(group, topic, queue_id, from = *known, to = offset, "offset goes back");
            }
            return Some(std::mem::replace(known, offset));
        }
        let topics = table.groups.entry(group.to_owned()).or_default();
        topics.entry(topic.to_owned()).or_default().insert(queue_id, offset);
        None
    }

    /// How far each group has come with a queue, in order of their names.
    pub fn of_queue(&self, topic: &str, queue_id: i32) -> Vec<(String, i64)> {
        let table = self.table.read();
        let of_group = |(group, topics): (&String, &HashMap<String, BTreeMap<i32, i64>>)| {
            Some((group.clone(), *topics.get(topic)?.get(&queue_id)?))
        };
        let mut all: Vec<(String, i64)> = table.groups.iter().filter_map(of_group).collect();
        all.sort();
        all
    }

    /// Says it if there is no table, though `groups` are said to have consumed. Nothing can be told of what was in it.
    pub fn tell_if_gone(&self, groups: &[String]) {
        if self.is_gone && !groups.is_empty() {
            tracing::error!(
                "{} is gone, though there are groups that consume: {}. They begin anew: at the oldest or the newest message, as \
                 their clients are set; messages may be given to them again, or be passed over. If there is a copy of the \
                 file, stop and put it there; or set their offsets before their consumers start",
                self.file.path().display(),
                groups.join(", ")
            );
        }
    }

    /// Forgets how far groups have come in a topic.
    #[doc(alias = "cleanOffsetByTopic")]
    pub fn forget_topic(&self, topic: &str) {
        let mut table = self.table.write();
        table.groups.retain(|_, topics| {
            topics.remove(topic);
            !topics.is_empty()
        });
        table.forget_others(|key| key.split('@').next() == Some(topic));
    }

    /// Forgets how far a group has come.
    #[doc(alias = "removeOffset")]
    pub fn forget_group(&self, group: &str) {
        let mut table = self.table.write();
        table.groups.remove(group);
        table.forget_others(|key| key.split('@').nth(1) == Some(group));
    }
}

impl Inner {
    /// Forgets what is kept for other brokers under `topic@group` and the like. To be saved, in any case.
    fn forget_others(&mut self, gone: impl Fn(&str) -> bool) {
        self.strange.retain(|key, _| !gone(key));
        if let Some(Value::Object(pulled)) = self.others.get_mut("pullOffsetTable") {
            pulled.retain(|key, _| !gone(key));
        }
        self.commits += 1;
    }
}

impl Table for ConsumerOffsets {
    fn save(&self) -> std::io::Result<()> {
        let _one_at_a_time = self.file.saving.lock();
        let (file, commits) = {
            let mut table = self.table.write();
            let commits = std::mem::take(&mut table.commits);
            if commits == 0 {
                return Ok(());
            }
            table.version.advance(crate::now_millis());
            let mut offsets = table.strange.clone();
            for (group, topics) in &table.groups {
                offsets.extend(topics.iter().map(|(topic, queues)| (format!("{topic}@{group}"), queues.clone())));
            }
            let file =
                File { data_version: table.version.clone(), offset_table: offsets, others: table.others.clone() };
            (file, commits)
        };
        self.file.save(&file).inspect_err(|_| self.table.write().commits += commits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { store_root: dir.path().into(), ..Config::default() };
        let offsets = ConsumerOffsets::open(&config).unwrap();
        assert_eq!(offsets.get("g", "T", 0), None);
        offsets.commit("g", "T", 0, 7);
        offsets.commit("g", "T", 1, 9);
        offsets.commit("g", "T", 1, 8);
        offsets.save().unwrap();
        let offsets = ConsumerOffsets::open(&config).unwrap();
        assert_eq!((offsets.get("g", "T", 0), offsets.get("g", "T", 1)), (Some(7), Some(8)));
        assert_eq!(offsets.get("g", "U", 0), None);
    }

    #[test]
    fn a_table_of_apaches_is_read_and_its_other_keys_kept() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { store_root: dir.path().into(), ..Config::default() };
        std::fs::create_dir_all(dir.path().join("config")).unwrap();
        let file = dir.path().join("config/consumerOffset.json");
        let text = "{\n\t\"dataVersion\":{\"counter\":1},\n\t\"groupTopicMap\":{\"g\":[\"T\"]},\n\t\"offsetTable\":{\"T@g\":{0:5,1:10\n\t\t},\
            \"T@g@broadcast\":{0:3}},\n\t\"pullOffsetTable\":{\"T@g\":{0:6}}\n}";
        std::fs::write(&file, text).unwrap();
        let offsets = ConsumerOffsets::open(&config).unwrap();
        assert_eq!((offsets.get("g", "T", 0), offsets.get("g", "T", 1)), (Some(5), Some(10)));
        offsets.commit("g", "T", 0, 6);
        offsets.save().unwrap();
        let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(written["offsetTable"]["T@g"]["0"], 6);
        assert_eq!(written["offsetTable"]["T@g@broadcast"]["0"], 3);
        assert_eq!(written["pullOffsetTable"]["T@g"]["0"], 6);
        assert_eq!(written.get("groupTopicMap"), None);
    }
}
