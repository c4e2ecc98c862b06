//! How far each group has consumed each queue: `config/consumerOffset.json`.
//!
//! A reset moves a group from outside. It holds at once for whoever asks, and until a member goes on there, pulls of the queue
//! are answered with the new place, and commits, which come from where members were, count for nothing. That a member was told
//! is not enough: Java clients 4.x move 10 s later, and it may lose the queue or crash before.

use crate::config::Config;
use crate::table::{self, Table, TableFile};
use parking_lot::RwLock;
use protocol::topic::DataVersion;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many members of a group are remembered as told of a reset; those above are told again.
const TOLD_MAX: usize = 1000;

/// The offsets of all groups.
#[doc(alias = "ConsumerOffsetManager")]
pub struct ConsumerOffsets {
    table: RwLock<Inner>,
    /// Queues that were reset and where no member has gone on yet. Mostly none: pulls look no further then.
    resets: AtomicUsize,
    /// There was no such file.
    is_gone: bool,
    file: TableFile,
}

#[derive(Default)]
struct Inner {
    groups: HashMap<String, HashMap<String, BTreeMap<i32, Progress>>>,
    version: DataVersion,
    /// Kept for other brokers: `pullOffsetTable`, and keys that are not `topic@group`.
    others: Map<String, Value>,
    strange: BTreeMap<String, BTreeMap<i32, i64>>,
    /// Commits since the last save.
    commits: u64,
}

/// How far a group is in a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Progress {
    /// All before it is consumed.
    consumed: Option<i64>,
    /// All before it was pulled, since the start.
    pulled: i64,
    /// `Some`: `consumed` was set from outside, and no member has gone on there yet. These were told to.
    reset: Option<BTreeSet<SocketAddr>>,
}

/// What a reset means for a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// It is to go on here.
    Moved(i64),
    /// It has just gone on as it was told. What it says of how far it had come counts no more.
    Heard,
}

/// A commit does not count: the queue was reset, and no consumer has gone on there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HasBeenReset;

impl Progress {
    /// Answers with what held before.
    fn commit(&mut self, offset: i64) -> Result<Option<i64>, HasBeenReset> {
        match self.reset {
            Some(_) if self.consumed != Some(offset) => Err(HasBeenReset),
            _ => Ok(self.consumed.replace(offset)),
        }
    }
}

/// `consumerOffset.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    data_version: DataVersion,
    offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
    /// Ours alone; others pass over it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    reset_offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
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
        let mut resets = 0;
        for (key, queues) in read.offset_table {
            match key.split_once('@').filter(|(_, group)| !group.contains('@')) {
                Some((topic, group)) => {
                    let reset = read.reset_offset_table.get(&key);
                    let queues = queues.into_iter().map(|(queue_id, offset)| {
                        let reset = reset.is_some_and(|queues| queues.get(&queue_id) == Some(&offset));
                        resets += usize::from(reset);
                        (queue_id, Progress { consumed: Some(offset), pulled: 0, reset: reset.then(BTreeSet::new) })
                    });
                    inner.groups.entry(group.into()).or_default().insert(topic.into(), queues.collect());
                }
                None => {
                    inner.strange.insert(key, queues);
                }
            }
        }
        Ok(ConsumerOffsets { table: RwLock::new(inner), resets: AtomicUsize::new(resets), is_gone, file })
    }

    /// The groups of which it is known how far they have come.
    pub fn groups(&self) -> Vec<String> {
        let table = self.table.read();
        let groups = table.groups.iter().filter(|(_, topics)| topics.values().any(is_consumed));
        groups.map(|(group, _)| group.clone()).collect()
    }

    /// The first message of the queue that `group` has not consumed, if that is known.
    #[doc(alias = "queryOffset")]
    pub fn get(&self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        self.table.read().groups.get(group)?.get(topic)?.get(&queue_id)?.consumed
    }

    /// What `group` has pulled of the queue, as far as that is known: all before this.
    #[doc(alias = "queryPullOffset")]
    pub fn pulled(&self, group: &str, topic: &str, queue_id: i32) -> i64 {
        let table = self.table.read();
        let queues = table.groups.get(group).and_then(|topics| topics.get(topic));
        queues.and_then(|queues| queues.get(&queue_id)).map_or(0, |it| it.pulled.max(it.consumed.unwrap_or(0)))
    }

    /// All before `offset` is consumed. It may go back: that is how users reset it. Answers with what held
    /// before.
    #[doc(alias = "commitOffset")]
    pub fn commit(&self, group: &str, topic: &str, queue_id: i32, offset: i64) -> Result<Option<i64>, HasBeenReset> {
        let mut table = self.table.write();
        table.commits += 1;
        table.progress(group, topic, queue_id, |progress| {
            if let Some(known) = progress.consumed.filter(|known| offset < *known && progress.reset.is_none()) {
                tracing::debug!(group, topic, queue_id, from = known, to = offset, "offset goes back");
            }
            progress.commit(offset)
        })
    }

    /// A pull: all before `pulled` is at the consumer, and, if it says so, all before `consumed` done with. Answers as
    /// [`ConsumerOffsets::commit`].
    #[doc(alias = "commitPullOffset")]
    pub fn pull(
        &self,
        group: &str,
        topic: &str,
        queue_id: i32,
        pulled: i64,
        consumed: Option<i64>,
    ) -> Result<Option<i64>, HasBeenReset> {
        let mut table = self.table.write();
        table.commits += u64::from(consumed.is_some());
        table.progress(group, topic, queue_id, |progress| {
            progress.pulled = pulled;
            consumed.map_or(Ok(progress.consumed), |consumed| progress.commit(consumed))
        })
    }

    /// Moves a group: from now on, it goes on in these queues where this says. Answers with where it was.
    #[doc(alias = "assignResetOffset")]
    pub fn reset(&self, group: &str, topic: &str, offsets: &BTreeMap<i32, i64>) -> BTreeMap<i32, Option<i64>> {
        let mut table = self.table.write();
        table.commits += 1;
        let reset = |(queue_id, offset): (&i32, &i64)| {
            let (new, before) = table.progress(group, topic, *queue_id, |progress| {
                let before = (progress.reset.is_none(), progress.consumed);
                *progress = Progress { consumed: Some(*offset), pulled: *offset, reset: Some(BTreeSet::new()) };
                before
            });
            self.resets.fetch_add(usize::from(new), Ordering::Release);
            (*queue_id, before)
        };
        offsets.iter().map(reset).collect()
    }

    /// Was the queue reset, and no member has gone on there yet? If so: has any been told?
    pub fn awaits(&self, group: &str, topic: &str, queue_id: i32) -> Option<bool> {
        let table = self.table.read();
        let progress = table.groups.get(group)?.get(topic)?.get(&queue_id)?;
        progress.reset.as_ref().map(|told| !told.is_empty())
    }

    /// `member` pulls the queue at `asked` and says, maybe, that all before `commit` is consumed. `None`: the queue was not reset.
    ///
    /// It goes on where it is to if it begins there with nothing else in hand: that is so at 0, and where it has consumed all
    /// before. Any other pull from there may be of a member that holds messages from before the reset. So it is told, once;
    /// then whoever asks for that place has moved, and who commits nothing with its pulls decides itself where it goes on.
    #[doc(alias = "queryThenEraseResetOffset")]
    pub fn hear_of_reset(
        &self,
        group: &str,
        topic: &str,
        queue_id: i32,
        asked: i64,
        commit: Option<i64>,
        member: SocketAddr,
    ) -> Option<Reset> {
        if self.resets.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut table = self.table.write();
        let progress = table.groups.get_mut(group)?.get_mut(topic)?.get_mut(&queue_id)?;
        let (told, offset) = (progress.reset.as_mut()?, progress.consumed?);
        let begins_there = asked == offset && (asked == 0 || commit == Some(offset));
        if !begins_there && !(told.contains(&member) && (asked == offset || commit.is_none())) {
            if told.len() < TOLD_MAX {
                told.insert(member);
            } else {
                *told = BTreeSet::from([member]);
            }
            return Some(Reset::Moved(offset));
        }
        progress.reset = None;
        table.commits += 1;
        self.resets.fetch_sub(1, Ordering::Release);
        Some(Reset::Heard)
    }

    /// The topics of which `group` has consumed anything, in order.
    #[doc(alias = "whichTopicByConsumer")]
    pub fn topics_of(&self, group: &str) -> Vec<String> {
        let table = self.table.read();
        let topics = table.groups.get(group).into_iter().flatten();
        let mut topics: Vec<String> =
            topics.filter(|(_, queues)| is_consumed(queues)).map(|(topic, _)| topic.clone()).collect();
        topics.sort();
        topics
    }

    /// How far `group` is in each queue of `topic`: what it has consumed, if that is known, and what it has pulled.
    pub fn progress_of(&self, group: &str, topic: &str) -> BTreeMap<i32, (Option<i64>, i64)> {
        let table = self.table.read();
        let queues = table.groups.get(group).and_then(|topics| topics.get(topic)).into_iter().flatten();
        queues.map(|(id, it)| (*id, (it.consumed, it.pulled.max(it.consumed.unwrap_or(0))))).collect()
    }

    /// The groups that have consumed anything of `topic`.
    #[doc(alias = "whichGroupByTopic")]
    pub fn groups_of(&self, topic: &str) -> BTreeSet<String> {
        let table = self.table.read();
        let groups = table.groups.iter().filter(|(_, topics)| topics.get(topic).is_some_and(is_consumed));
        groups.map(|(group, _)| group.clone()).collect()
    }

    /// How far `group` is in each queue of `topic`.
    pub fn of_topic(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let table = self.table.read();
        table.groups.get(group).and_then(|topics| topics.get(topic)).map(consumed).unwrap_or_default()
    }

    /// How far each group has come with a queue, in order of their names.
    pub fn of_queue(&self, topic: &str, queue_id: i32) -> Vec<(String, i64)> {
        let table = self.table.read();
        let of_group = |(group, topics): (&String, &HashMap<String, BTreeMap<i32, Progress>>)| {
            Some((group.clone(), topics.get(topic)?.get(&queue_id)?.consumed?))
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
        let mut resets = 0;
        table.groups.retain(|_, topics| {
            resets += topics.remove(topic).as_ref().map_or(0, count_resets);
            !topics.is_empty()
        });
        self.resets.fetch_sub(resets, Ordering::Release);
        table.forget_others(|key| key.split('@').next() == Some(topic));
    }

    /// Forgets how far a group has come.
    #[doc(alias = "removeOffset")]
    pub fn forget_group(&self, group: &str) {
        let mut table = self.table.write();
        let gone = table.groups.remove(group);
        self.resets.fetch_sub(gone.iter().flat_map(HashMap::values).map(count_resets).sum(), Ordering::Release);
        table.forget_others(|key| key.split('@').nth(1) == Some(group));
    }
}

fn is_consumed(queues: &BTreeMap<i32, Progress>) -> bool {
    queues.values().any(|progress| progress.consumed.is_some())
}

fn consumed(queues: &BTreeMap<i32, Progress>) -> BTreeMap<i32, i64> {
    queues.iter().filter_map(|(queue_id, progress)| Some((*queue_id, progress.consumed?))).collect()
}

fn count_resets(queues: &BTreeMap<i32, Progress>) -> usize {
    queues.values().filter(|progress| progress.reset.is_some()).count()
}

impl Inner {
    /// All of it, as it is saved.
    fn file(&self) -> File {
        let (mut offset_table, mut reset_offset_table) = (self.strange.clone(), BTreeMap::new());
        for (group, topics) in &self.groups {
            for (topic, queues) in topics.iter().filter(|(_, queues)| is_consumed(queues)) {
                offset_table.insert(format!("{topic}@{group}"), consumed(queues));
                let mut reset = queues.clone();
                reset.retain(|_, progress| progress.reset.is_some());
                if !reset.is_empty() {
                    reset_offset_table.insert(format!("{topic}@{group}"), consumed(&reset));
                }
            }
        }
        let (data_version, others) = (self.version.clone(), self.others.clone());
        File { data_version, offset_table, reset_offset_table, others }
    }

    /// Changes how far a group is in a queue. Nothing is allocated when that is known already.
    fn progress<T>(&mut self, group: &str, topic: &str, queue_id: i32, change: impl FnOnce(&mut Progress) -> T) -> T {
        let queues = self.groups.get_mut(group).and_then(|topics| topics.get_mut(topic));
        if let Some(known) = queues.and_then(|queues| queues.get_mut(&queue_id)) {
            return change(known);
        }
        let queues = self.groups.entry(group.to_owned()).or_default().entry(topic.to_owned()).or_default();
        change(queues.entry(queue_id).or_default())
    }

    /// Forgets what is kept for other brokers under `topic@group` and the like. To be saved, in any case.
    fn forget_others(&mut self, gone: impl Fn(&str) -> bool) {
        self.strange.retain(|key, _| !gone(key));
        if let Some(Value::Object(pulled)) = self.others.get_mut("pullOffsetTable") {
            pulled.retain(|key, _| !gone(key));
        }
        self.commits += 1;
    }
}

impl ConsumerOffsets {
    /// All of it as JSON, as `consumerOffset.json` has it.
    pub(crate) fn as_json(&self) -> Vec<u8> {
        let file = self.table.read().file();
        protocol::json::write(&file)
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
            (table.file(), commits)
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
        offsets.commit("g", "T", 0, 7).unwrap();
        offsets.commit("g", "T", 1, 9).unwrap();
        assert_eq!(offsets.commit("g", "T", 1, 8), Ok(Some(9)));
        offsets.save().unwrap();
        let offsets = ConsumerOffsets::open(&config).unwrap();
        assert_eq!((offsets.get("g", "T", 0), offsets.get("g", "T", 1)), (Some(7), Some(8)));
        assert_eq!(offsets.get("g", "U", 0), None);
    }

    #[test]
    fn a_reset_holds_until_a_member_goes_on_there_also_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { store_root: dir.path().into(), ..Config::default() };
        let offsets = ConsumerOffsets::open(&config).unwrap();
        assert_eq!(offsets.commit("g", "T", 0, 50), Ok(None));
        assert_eq!(offsets.pull("g", "T", 0, 60, Some(51)), Ok(Some(50)));
        assert_eq!((offsets.get("g", "T", 0), offsets.pulled("g", "T", 0)), (Some(51), 60));
        let [a, b] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let moved = |offset| Some(Reset::Moved(offset));
        assert_eq!(offsets.hear_of_reset("g", "T", 0, 60, Some(51), a), None);
        offsets.reset("g", "T", &BTreeMap::from([(0, 5), (1, 9)]));
        assert_eq!(offsets.get("g", "T", 0), Some(5), "holds at once");
        assert_eq!(offsets.commit("g", "T", 0, 52), Err(HasBeenReset), "from where it was");
        assert_eq!(offsets.pull("g", "T", 0, 61, Some(53)), Err(HasBeenReset));
        offsets.save().unwrap();

        let offsets = ConsumerOffsets::open(&config).unwrap();
        assert_eq!((offsets.get("g", "T", 0), offsets.get("g", "T", 1)), (Some(5), Some(9)));
        assert_eq!(offsets.commit("g", "T", 0, 54), Err(HasBeenReset), "it still has not heard");
        assert_eq!(offsets.hear_of_reset("h", "T", 0, 60, None, a), None);
        for member in [a, b, a] {
            assert_eq!(
                offsets.hear_of_reset("g", "T", 0, 60, Some(54), member),
                moved(5),
                "as often as it asks elsewhere"
            );
        }
        assert_eq!(offsets.commit("g", "T", 0, 54), Err(HasBeenReset), "told, but not there yet");
        assert_eq!(offsets.commit("g", "T", 0, 5), Ok(Some(5)), "the place itself");
        assert_eq!(offsets.hear_of_reset("g", "T", 0, 5, Some(5), a), Some(Reset::Heard));
        assert_eq!(offsets.hear_of_reset("g", "T", 0, 60, Some(54), a), None);
        assert_eq!(offsets.commit("g", "T", 0, 6), Ok(Some(5)));

        assert_eq!(offsets.hear_of_reset("g", "T", 1, 9, Some(4), a), moved(9), "with messages in hand");
        assert_eq!(offsets.hear_of_reset("g", "T", 1, 9, Some(4), b), moved(9), "each is told");
        assert_eq!(offsets.hear_of_reset("g", "T", 1, 9, Some(4), a), Some(Reset::Heard), "but not for ever");
        assert_eq!(offsets.commit("g", "T", 1, 10), Ok(Some(9)));
        offsets.reset("g", "T", &BTreeMap::from([(1, 9)]));
        assert_eq!(offsets.hear_of_reset("g", "T", 1, 70, None, a), moved(9));
        assert_eq!(
            offsets.hear_of_reset("g", "T", 1, 70, None, a),
            Some(Reset::Heard),
            "it decides itself where it pulls"
        );
        offsets.reset("g", "T", &BTreeMap::from([(1, 0)]));
        assert_eq!(offsets.hear_of_reset("g", "T", 1, 0, None, a), Some(Reset::Heard), "nothing is before 0");
        assert_eq!(offsets.resets.load(Ordering::Relaxed), 0);
        offsets.reset("g", "T", &BTreeMap::from([(0, 1)]));
        offsets.forget_topic("T");
        offsets.reset("g", "U", &BTreeMap::from([(0, 1)]));
        offsets.forget_group("g");
        assert_eq!(offsets.resets.load(Ordering::Relaxed), 0);
        offsets.save().unwrap();
        assert!(!std::fs::read_to_string(dir.path().join("config/consumerOffset.json")).unwrap().contains("reset"));
    }

    #[test]
    fn it_is_known_who_has_consumed_what() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { store_root: dir.path().into(), ..Config::default() };
        let offsets = ConsumerOffsets::open(&config).unwrap();
        offsets.commit("g", "T", 0, 5).unwrap();
        offsets.commit("g", "U", 0, 6).unwrap();
        offsets.pull("h", "T", 0, 7, None).unwrap();
        assert_eq!((offsets.topics_of("g"), offsets.topics_of("h")), (vec!["T".into(), "U".into()], vec![]));
        assert_eq!(
            offsets.groups_of("T"),
            BTreeSet::from(["g".into()]),
            "who has only pulled has consumed nothing yet"
        );
        assert_eq!(offsets.reset("h", "T", &offsets.of_topic("g", "T")), BTreeMap::from([(0, None)]));
        assert_eq!(offsets.get("h", "T", 0), Some(5));
        assert_eq!((offsets.awaits("h", "T", 0), offsets.awaits("g", "T", 0)), (Some(false), None));
        let member = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!(offsets.hear_of_reset("h", "T", 0, 7, None, member), Some(Reset::Moved(5)));
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
        offsets.commit("g", "T", 0, 6).unwrap();
        offsets.save().unwrap();
        let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(written["offsetTable"]["T@g"]["0"], 6);
        assert_eq!(written["offsetTable"]["T@g@broadcast"]["0"], 3);
        assert_eq!(written["pullOffsetTable"]["T@g"]["0"], 6);
        assert_eq!(written.get("groupTopicMap"), None);
    }
}
