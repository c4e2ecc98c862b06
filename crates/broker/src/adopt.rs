//! A directory that another broker wrote: what Apache's keep beside messages, and what becomes of it here.
//!
//! [`inspect`] looks and changes nothing. Whatever it finds is used, or kept as it is for the day the directory goes back,
//! or needs somebody's attention, or stops the start: what would be served wrongly, or silently not at all, does. Each
//! sentence says what helps. `Broker::open` goes by it, and `cometmq store adopt` shows it before.

mod queue;

use crate::config::Config;
use protocol::json;
use protocol::message::{java_hash, tags_code};
use protocol::record::Record;
use protocol::topic::{TIMER_TOPIC, TRANSACTION_HALF_TOPIC, TRANSACTION_OP_TOPIC};
use queue::Files;
use serde_json::Value;
use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// In front of the cluster's name: where Apache's brokers write what pop consumers have in their hands.
const REVIVE_PREFIX: &str = "rmq_sys_REVIVE_LOG_";

/// What becomes of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// The broker works with it.
    Used,
    /// It stays as it is, and nothing is missed without it.
    Kept,
    /// It stays as it is, and somebody should know.
    Attention,
    /// The broker does not start beside it.
    Refused,
}

/// Something in the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// File or directory.
    pub path: PathBuf,
    /// What it is.
    pub what: What,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Messages, queues, index and tables: the same here as there.
    Known,
    /// Something of Apache's that is made anew, or has nothing in it.
    Spare,
    /// `abort`: the broker that was here did not end in order.
    Unclean,
    /// A name that no broker we know gives.
    Unknown,
    /// `storeType=defaultRocksDB`: consume queues in RocksDB.
    RocksDbQueues,
    /// `configManagerVersion`, `storeType`: topics, groups and offsets in RocksDB.
    RocksDbTables,
    /// `indexRocksDBEnable`, `timerRocksDBEnable`, `transRocksDBEnable`, `popConsumerKVServiceEnable`: state in RocksDB.
    RocksDbState,
    /// `queue.type=BatchCQ`, these topics.
    BatchTopics(Vec<String>),
    /// `cleanup.policy=COMPACTION`, these topics.
    CompactionTopics(Vec<String>),
    /// Static topics: their queues are spread over brokers by a table.
    StaticTopics(Vec<String>),
    /// `enableConsumeQueueExt`: tags are beside the queues.
    ExtendedQueues,
    /// `enableLmq`: offsets are in a table of their own, which is newer.
    LmqOffsets,
    /// `enableDLegerCommitLog`: the log is in another form.
    DLedger,
    /// Timed messages that are not due yet.
    Timers {
        /// All of them.
        waiting: u64,
        /// Those that are about messages in the hands of pop consumers.
        of_pop: u64,
        /// `timerWheelEnable=false` says that they may stay.
        left: bool,
    },
    /// Half messages whose transactions are neither committed nor rolled back.
    OpenTransactions(usize),
    /// Groups that are set to pop.
    PopGroups(Vec<String>),
    /// Controller mode: this was a replica of a group.
    Replica,
    /// Users and rights in RocksDB, which is not read here.
    Rights,
    /// Messages that were moved to tiered storage.
    Tiered,
}

impl What {
    /// What becomes of it.
    pub fn fate(&self) -> Fate {
        use What::*;
        match self {
            Known | OpenTransactions(_) | Timers { left: false, of_pop: 0, .. } => Fate::Used,
            Spare => Fate::Kept,
            Timers { left: true, .. } | Unclean | Unknown | PopGroups(_) | Replica | Rights | Tiered => Fate::Attention,
            RocksDbQueues
            | RocksDbTables
            | RocksDbState
            | BatchTopics(_)
            | CompactionTopics(_)
            | StaticTopics(_)
            | ExtendedQueues
            | LmqOffsets
            | DLedger
            | Timers { left: false, .. } => Fate::Refused,
        }
    }

    /// A name for programs.
    pub fn name(&self) -> &'static str {
        use What::*;
        match self {
            Known => "known",
            Spare => "spare",
            Unclean => "unclean",
            Unknown => "unknown",
            RocksDbQueues => "rocksDbQueues",
            RocksDbTables => "rocksDbTables",
            RocksDbState => "rocksDbState",
            BatchTopics(_) => "batchTopics",
            CompactionTopics(_) => "compactionTopics",
            StaticTopics(_) => "staticTopics",
            ExtendedQueues => "extendedQueues",
            LmqOffsets => "lmqOffsets",
            DLedger => "dLedger",
            Timers { .. } => "timers",
            OpenTransactions(_) => "openTransactions",
            PopGroups(_) => "popGroups",
            Replica => "replica",
            Rights => "rights",
            Tiered => "tiered",
        }
    }
}

impl Finding {
    /// What becomes of it.
    pub fn fate(&self) -> Fate {
        self.what.fate()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use What::*;
        write!(f, "{}", self.path.display())?;
        match &self.what {
            Known => Ok(()),
            Spare => write!(f, ": not needed here; it stays for Apache's broker"),
            Unclean => write!(
                f,
                ": the last broker here did not end in order; make sure that it is gone: the start brings the end of the log in order"
            ),
            Unknown => write!(f, ": no broker that we know makes this; it stays as it is"),
            RocksDbQueues => write!(
                f,
                " holds consume queues in RocksDB (storeType=defaultRocksDB), which are not read here. Move it away together with \
                consumequeue: the queues are built again from the commit log"
            ),
            RocksDbTables => write!(
                f,
                " holds topics, groups or offsets in RocksDB, which is not read here. While Apache's broker runs, `mqadmin \
                 rocksDBConfigToJson -b ADDRESS` writes config/topics.json, config/subscriptionGroup.json and \
                 config/consumerOffset.json; stop it, then move the directory away"
            ),
            RocksDbState => write!(
                f,
                " holds records in RocksDB, which is not read here: index, timed messages, transactions or popped messages. Let Apache's \
                broker work them off with indexRocksDBEnable, timerRocksDBEnable, transRocksDBEnable and popConsumerKVServiceEnable set to false, stop \
                it, then move the directory away"
            ),
            BatchTopics(topics) => write!(
                f,
                ": topics {} have queue.type=BatchCQ, which is not read here. Let their consumers finish and delete them \
                with `mqadmin deleteTopic`, or keep Apache's broker for them",
                topics.join(", ")
            ),
            CompactionTopics(topics) => write!(
                f,
                ": topics {} have cleanup.policy=COMPACTION: what is older than the commit log is only in the \
                directory compaction, which is not read here. Copy them to ordinary topics and delete them with `mqadmin deleteTopic`, or keep \
                Apache's broker for them",
                topics.join(", ")
            ),
            StaticTopics(topics) => write!(
                f,
                ": topics {} are static: this table says which broker has which of their queues, and it is not read \
                here. Copy them to ordinary topics and delete them, or keep Apache's broker for them",
                topics.join(", ")
            ),
            ExtendedQueues => write!(
                f,
                " holds the tags of consume queues (enableConsumeQueueExt=true), which are not read here. Move it away together \
                with consumequeue: the queues are built again from the commit log"
            ),
            LmqOffsets => write!(
                f,
                " is newer than consumerOffset.json: with enableLmq=true Apache's broker keeps all offsets in it. Copy it over \
                consumerOffset.json; light queues themselves (%LMQ%…) are not served here"
            ),
            DLedger => write!(
                f,
                " holds the commit log in DLedger's form, which is not read here. Move its messages with a consumer and a producer, or \
                keep Apache's broker for it"
            ),
            Timers { waiting, of_pop: 0, left: false } => {
                write!(f, ": {waiting} timed messages are not due yet; they are delivered when they are")
            }
            Timers { waiting, of_pop, left: false } => write!(
                f,
                ": {of_pop} of {waiting} timed messages stand for messages in the hands of pop consumers, and this version has no \
                pop: what they do not acknowledge would never come again. Let Apache's broker work them off: stop pop consumers, and \
                stop the broker when the time is over for which popped messages are invisible"
            ),
            Timers { waiting, of_pop, left: true } => write!(
                f,
                ": {waiting} timed messages ({of_pop} of them of pop consumers) stay undelivered, as timerWheelEnable=false says, \
                and go with the log when their time in it is over (fileReservedTime)"
            ),
            OpenTransactions(count) => write!(
                f,
                ": {count} half messages are neither committed nor rolled back; their producers are asked about them"
            ),
            PopGroups(groups) => write!(
                f,
                ": groups {} are set to pop, which this version does not have; their consumers pull",
                groups.join(", ")
            ),
            Replica => write!(
                f,
                ": this broker was a replica of a group with a controller, and is alone here. Use the directory of the master, \
                and leave the others stopped"
            ),
            Rights => write!(
                f,
                ": users and their rights stand here in RocksDB, which is not read: make them again with `mqadmin createUser` and \
                `createAcl`, or bring them over with `mqadmin copyUser` and `copyAcl` while an Apache broker serves this directory; \
                `migrateAuthFromV1Enabled=true` takes accounts of plain_acl.yml"
            ),
            Tiered => write!(
                f,
                ": messages that are only in tiered storage are not served; queues begin with what is in the commit log"
            ),
        }
    }
}

/// What cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {error}", path = .path.display())]
pub struct InspectError {
    /// File or directory.
    pub path: PathBuf,
    /// What the operating system said.
    pub error: io::Error,
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> InspectError + use<'_> {
    move |error| InspectError { path: path.to_owned(), error }
}

/// Looks through `config.store_root`. Nothing is changed. A directory that is not there has nothing in it.
pub fn inspect(config: &Config) -> Result<Vec<Finding>, InspectError> {
    let root = &config.store_root;
    let look = Look { root, config, topics: table(root, "topics.json")?, offsets: table(root, "consumerOffset.json")? };
    let mut findings = Vec::new();
    for path in entries(root)? {
        look.in_root(path, &mut findings)?;
    }
    for path in entries(&root.join("config"))? {
        look.in_config(path, &mut findings)?;
    }
    let topics = root.join("config").join("topics.json");
    look.attribute(&topics, "queue.type", "BatchCQ", What::BatchTopics, &mut findings);
    look.attribute(&topics, "cleanup.policy", "COMPACTION", What::CompactionTopics, &mut findings);
    look.timers(&mut findings)?;
    look.transactions(&mut findings)?;
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.fate()));
    Ok(findings)
}

struct Look<'a> {
    root: &'a Path,
    config: &'a Config,
    topics: Value,
    offsets: Value,
}

impl Look<'_> {
    fn in_root(&self, path: PathBuf, findings: &mut Vec<Finding>) -> Result<(), InspectError> {
        let what = match name(&path) {
            "config" => return Ok(()),
            "commitlog" | "index" | "checkpoint" | "lock" | "timerwheel" | "timerlog" => What::Known,
            "consumequeue" if is_rocks_db(&path) => What::RocksDbQueues,
            "consumequeue" => What::Known,
            "consumequeue_rocksdb" | "consumequeue_r" if is_rocks_db(&path) => What::RocksDbQueues,
            "consumequeue_ext" if has_files(&path)? => What::ExtendedQueues,
            "batchconsumequeue" => match names(&path)? {
                topics if topics.is_empty() => What::Spare,
                topics => What::BatchTopics(topics),
            },
            "compaction" => match names(&path.join("compactionLog"))? {
                topics if topics.is_empty() => What::Spare,
                topics => What::CompactionTopics(topics),
            },
            "rocksdbstore" | "kvStore" if has_records(&path)? => What::RocksDbState,
            "epochFileCheckpoint" | "brokerIdentity" => What::Replica,
            "tieredstore" if has_files(&path)? => What::Tiered,
            "abort" => What::Unclean,
            "abort.bak"
            | "consumequeue_ext"
            | "consumequeue_rocksdb"
            | "consumequeue_r"
            | "rocksdbstore"
            | "kvStore"
            | "tieredstore"
            | "epochFileCheckpoint.bak"
            | "brokerIdentity-temp"
            | "transaction" => What::Spare,
            other if other.starts_with("dledger-") => match has_files(&path)? {
                true => What::DLedger,
                false => What::Spare,
            },
            // Where the commit log is, if it is not where it usually is; and what is ours.
            _ if path == self.config.commit_log_dir() => What::Known,
            "inventory.json" | "life" => What::Known,
            "inventory.json.bak" | "inventory.json.tmp" => What::Spare,
            "quarantine" | "lost+found" => What::Spare,
            _ => What::Unknown,
        };
        findings.push(Finding { path, what });
        Ok(())
    }

    fn in_config(&self, path: PathBuf, findings: &mut Vec<Finding>) -> Result<(), InspectError> {
        let read = |name| table(self.root, name);
        let file = name(&path).to_owned();
        let what = match file.trim_end_matches(".damaged").trim_end_matches(".bak").trim_end_matches(".tmp") {
            "topics.json"
            | "subscriptionGroup.json"
            | "consumerOffset.json"
            | "delayOffset.json"
            | "clock.json"
            | "timercheck"
            | "deletedTopics.json"
            | "orderFences.json"
            | "orderParked.json"
            | "orderShares.json"
            | "topicOwners.json"
            | "groupOwners.json"
            | "access.json"
            | "filters" => What::Known,
            known if known != file => What::Spare,
            "topicQueueMapping.json" => match keys(&read("topicQueueMapping.json")?["topicQueueMappingInfoMap"]) {
                topics if topics.is_empty() => What::Spare,
                topics => What::StaticTopics(topics),
            },
            "messageRequestMode.json" => match pop_groups(&read("messageRequestMode.json")?) {
                groups if groups.is_empty() => What::Spare,
                groups => What::PopGroups(groups),
            },
            "lmqConsumerOffset.json" => {
                let changed = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
                let newer = changed(&path) > changed(&self.root.join("config").join("consumerOffset.json"));
                if newer { What::LmqOffsets } else { What::Spare }
            }
            "topics" | "subscriptionGroups" | "consumerOffsets" | "rdb" | "metadata"
                if is_rocks_db(&path) && has_records(&path)? =>
            {
                What::RocksDbTables
            }
            "users" | "acls" if has_records(&path)? => What::Rights,
            "tieredStoreMetadata.json" => What::Tiered,
            "topics"
            | "subscriptionGroups"
            | "consumerOffsets"
            | "rdb"
            | "metadata"
            | "users"
            | "acls"
            | "consumerFilter.json"
            | "consumerOrderInfo.json"
            | "timermetrics"
            | "transactionMetrics"
            | "broker.properties" => What::Spare,
            _ => What::Unknown,
        };
        findings.push(Finding { path, what });
        Ok(())
    }

    fn attribute(
        &self,
        path: &Path,
        name: &str,
        value: &str,
        what: fn(Vec<String>) -> What,
        findings: &mut Vec<Finding>,
    ) {
        let topics = self.topics["topicConfigTable"].as_object().into_iter().flatten();
        let these: Vec<String> =
            topics.filter(|(_, topic)| topic["attributes"][name] == value).map(|(name, _)| name.clone()).collect();
        // The directory of the same topics may have told already.
        let told = findings.iter().any(|finding| finding.what == what(these.clone()));
        if !these.is_empty() && !told {
            findings.push(Finding { path: path.to_owned(), what: what(these) });
        }
    }

    fn files(&self, topic: &str, queue_id: u32) -> Files {
        Files::new(self.root.join("consumequeue").join(topic).join(queue_id.to_string()), self.config.commit_log_dir())
    }

    fn offset(&self, topic: &str, group: &str, queue_id: &str) -> Option<i64> {
        self.offsets["offsetTable"][format!("{topic}@{group}")][queue_id].as_i64()
    }

    /// What waits in the wheel, what has not been taken into it yet, and what was taken out and not looked at.
    fn timers(&self, findings: &mut Vec<Finding>) -> Result<(), InspectError> {
        let check_path = self.root.join("config").join("timercheck");
        let check = read(&check_path)?.unwrap_or_default();
        if store::timer::is_ours(&check) && self.config.timer_wheel {
            // It was looked at when it was taken over, and is not read at every start.
            return Ok(());
        }
        let number = |at: usize| check.get(at..at + 8).map_or(0, big_endian);
        let (read_up_to, taken) = (number(0), number(16));

        let wheel_path = self.root.join("timerwheel");
        let revive_topics =
            keys(&self.topics["topicConfigTable"]).into_iter().filter(|topic| topic.starts_with(REVIVE_PREFIX));
        let revive_topics: Vec<String> = revive_topics.collect();
        let revive_hashes: HashSet<i32> = revive_topics.iter().map(|topic| java_hash(topic)).collect();
        let (mut waiting, mut of_pop) = (0, 0);
        for slot in read(&wheel_path)?.unwrap_or_default().as_chunks::<SLOT>().0 {
            let (tick, last, count) = (big_endian(&slot[..8]), big_endian(&slot[16..24]), big_endian(&slot[24..28]));
            if tick > 0 && count > 0 && in_millis(tick) > read_up_to {
                waiting += count as u64;
                of_pop += self.units(last, count, &revive_hashes)?;
            }
        }
        let timed = self.files(TIMER_TOPIC, 0);
        timed.each(taken, &mut |_| waiting += 1).map_err(failed(timed.dir()))?;
        let checkpoint = tags_code("ck");
        for topic in &revive_topics {
            for queue_id in names(&self.root.join("consumequeue").join(topic))? {
                // The offset is that of the last one that was looked at.
                let next = self.offset(topic, "CID_RMQ_SYS_REVIVE_GROUP", &queue_id).map_or(0, |last| last + 1);
                let Ok(queue_id) = queue_id.parse() else { continue };
                let queue = self.files(topic, queue_id);
                let mut open = 0;
                queue
                    .each(next, &mut |entry| open += u64::from(entry.tags_code == checkpoint))
                    .map_err(failed(queue.dir()))?;
                waiting += open;
                of_pop += open;
            }
        }
        if waiting > 0 {
            let path = if wheel_path.exists() { wheel_path } else { timed.dir().to_owned() };
            findings.retain(|finding| finding.path != path);
            findings.push(Finding { path, what: What::Timers { waiting, of_pop, left: !self.config.timer_wheel } });
        }
        Ok(())
    }

    /// How many units of a slot belong to one of these topics. They are chained from the last to the first.
    fn units(&self, last: i64, count: i64, topics: &HashSet<i32>) -> Result<u64, InspectError> {
        let dir = self.root.join("timerlog");
        let (mut at, mut found) = (last, 0);
        for _ in 0..count {
            if topics.is_empty() || at < 0 {
                break;
            }
            let Some(unit) = queue::read_at(&dir, at, UNIT).map_err(failed(&dir))? else { break };
            found += u64::from(topics.contains(&(big_endian(&unit[40..44]) as i32)));
            at = big_endian(&unit[4..12]);
        }
        Ok(found)
    }

    /// Half messages that no operation message ends.
    fn transactions(&self, findings: &mut Vec<Finding>) -> Result<(), InspectError> {
        const GROUP: &str = "CID_RMQ_SYS_TRANS";
        let (halves, ends) = (self.files(TRANSACTION_HALF_TOPIC, 0), self.files(TRANSACTION_OP_TOPIC, 0));
        let mut open = HashSet::new();
        let next = self.offset(TRANSACTION_HALF_TOPIC, GROUP, "0").unwrap_or(0);
        halves.each(next, &mut |entry| open.extend([entry.offset])).map_err(failed(halves.dir()))?;
        if open.is_empty() {
            return Ok(());
        }
        let next = self.offset(TRANSACTION_OP_TOPIC, GROUP, "0").unwrap_or(0);
        let mut operations = Vec::new();
        ends.each(next, &mut |entry| operations.push(entry)).map_err(failed(ends.dir()))?;
        for entry in operations {
            let Some(bytes) = ends.record(entry).map_err(failed(ends.dir()))? else { continue };
            let Ok(record) = Record::parse(&bytes) else { continue };
            // One queue offset (4.x), or several with commas between.
            for offset in
                String::from_utf8_lossy(record.body).split(',').filter_map(|offset| offset.trim().parse().ok())
            {
                open.remove::<i64>(&offset);
            }
        }
        if !open.is_empty() {
            findings.push(Finding { path: halves.dir().to_owned(), what: What::OpenTransactions(open.len()) });
        }
        Ok(())
    }
}

/// Bytes of a slot of the timer wheel: tick 8, first place 8, last place 8, count 4, unused 4.
const SLOT: usize = 32;
/// Bytes of a unit of the timer log: size 4, place of the one before 8, …, hash of the topic at 40.
const UNIT: usize = 52;

/// Ticks are of 1000, 100, 10 or 1 ms (`timerPrecisionMs`); a time in ms has 13 digits until 2286.
fn in_millis(tick: i64) -> i64 {
    let mut millis = tick;
    while millis < 1_000_000_000_000 {
        millis *= 10;
    }
    millis
}

/// 4 or 8 bytes, signed.
fn big_endian(bytes: &[u8]) -> i64 {
    match *bytes {
        [a, b, c, d] => i64::from(i32::from_be_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => i64::from_be_bytes([a, b, c, d, e, f, g, h]),
        _ => 0,
    }
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// What is in a directory, sorted; nothing if it is not there.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, InspectError> {
    match fs::read_dir(dir).and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect()) {
        Ok(paths) => {
            let mut paths: Vec<PathBuf> = paths;
            paths.sort();
            Ok(paths)
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(failed(dir)(error)),
    }
}

fn names(dir: &Path) -> Result<Vec<String>, InspectError> {
    Ok(entries(dir)?.iter().filter(|path| path.is_dir()).map(|path| name(path).to_owned()).collect())
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, InspectError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path)(error)),
    }
}

/// A table, or its last good state; null if neither can be read. The broker's own tables say more when they open.
fn table(root: &Path, name: &str) -> Result<Value, InspectError> {
    for name in [name.to_owned(), format!("{name}.bak")] {
        if let Some(bytes) = read(&root.join("config").join(name))?
            && let Ok(table) = json::read(&bytes)
        {
            return Ok(table);
        }
    }
    Ok(Value::Null)
}

fn keys(table: &Value) -> Vec<String> {
    table.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
}

/// `{"messageRequestModeMap":{topic:{group:{"mode":"POP",…}}}}`
fn pop_groups(table: &Value) -> Vec<String> {
    let topics = table["messageRequestModeMap"].as_object().into_iter().flatten();
    let groups = topics.flat_map(|(_, groups)| groups.as_object().into_iter().flatten());
    let mut popping: Vec<String> =
        groups.filter(|(_, group)| group["mode"] == "POP").map(|(name, _)| name.clone()).collect();
    popping.sort();
    popping.dedup();
    popping
}

fn is_rocks_db(dir: &Path) -> bool {
    dir.join("CURRENT").is_file()
}

/// Is there a file, however deep?
fn has_files(dir: &Path) -> Result<bool, InspectError> {
    for path in entries(dir)? {
        if !path.is_dir() || has_files(&path)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Has a RocksDB directory anything in it? Its tables end in `.sst`; what is not in them yet is in its log.
fn has_records(dir: &Path) -> Result<bool, InspectError> {
    for path in entries(dir)? {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let size = || fs::metadata(&path).map_or(0, |found| found.len());
        if path.is_dir() && has_records(&path)? || extension == Some("sst") || extension == Some("log") && size() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
