//! The consumer groups of this broker: `config/subscriptionGroup.json`.

use crate::config::Config;
use crate::owners::{Owners, UserHasTooMany};
use crate::table::{Table, TableFile};
use parking_lot::RwLock;
use protocol::subscription::SubscriptionGroupConfig;
use protocol::topic::{DataVersion, SYSTEM_GROUPS, check_group_name, is_system_group};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::watch;

/// So many groups at most, whatever `groupsMax` says: each is held in memory.
pub const GROUPS_MAX: usize = 200_000;

/// Why a group is not there, and none was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// None is made by consuming.
    #[error("groups are not created when they consume here (autoCreateSubscriptionGroup=false): create it first")]
    AutoCreateOff,
    /// Its name can't be one.
    #[error("it can't be created: {0}")]
    Illegal(String),
    /// There would be more than may be.
    #[error("{new} more would be more than the {max} groups that this broker may hold (groupsMax): delete some")]
    TooMany {
        /// So many were to be made.
        new: usize,
        /// `groupsMax`.
        max: usize,
    },
    /// Who wants it has created enough.
    #[error(transparent)]
    OfUser(#[from] UserHasTooMany),
}

/// In the file: group → topic → bits of what the group may not do there.
const FORBIDDEN: &str = "forbiddenTable";

/// The bit of reading.
const FORBIDDEN_READ: i64 = 1 << 2;

fn forbids(table: &Value) -> bool {
    table.as_object().is_some_and(|table| !table.is_empty())
}

/// All consumer groups, by name.
#[doc(alias = "SubscriptionGroupManager")]
pub struct Groups {
    table: RwLock<Inner>,
    auto_create: AtomicBool,
    /// `groupsMax`.
    max: AtomicUsize,
    /// Changed under the lock of `table`.
    owners: Owners,
    /// Some group may not read some topic.
    forbids: AtomicBool,
    changed: watch::Sender<i64>,
    saved: watch::Sender<i64>,
    file: TableFile,
}

struct Inner {
    groups: HashMap<String, Arc<SubscriptionGroupConfig>>,
    version: DataVersion,
    /// Kept for other brokers: `forbiddenTable`.
    others: Map<String, Value>,
}

/// `subscriptionGroup.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    data_version: DataVersion,
    subscription_group_table: BTreeMap<String, SubscriptionGroupConfig>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl Groups {
    /// Reads the table, and adds the system's own groups. If it is gone or cannot be read, those that are `known` otherwise
    /// are in it anew.
    pub fn open(config: &Config, known: &BTreeSet<String>, now: i64) -> io::Result<Groups> {
        let file = TableFile::new(config, "subscriptionGroup.json");
        let found: Option<File> = file.open_or_gone()?;
        let is_gone = found.is_none();
        let mut read = found.unwrap_or_default();
        for (name, group) in &mut read.subscription_group_table {
            group.group_name.clone_from(name);
        }
        let before = read.data_version.counter;
        for system in SYSTEM_GROUPS {
            read.subscription_group_table.entry(system.into()).or_insert_with(|| {
                read.data_version.advance(now);
                SubscriptionGroupConfig::new(system)
            });
        }
        if is_gone {
            let groups = known.iter().filter(|name| check_group_name(name).is_ok());
            let groups: Vec<&String> = groups.filter(|name| !is_system_group(name)).collect();
            for name in &groups {
                read.subscription_group_table.insert((*name).clone(), SubscriptionGroupConfig::new(name.as_str()));
                read.data_version.advance(now);
            }
            if !groups.is_empty() {
                let names = groups.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
                tracing::error!(
                    "{} is gone, though groups have consumed here; made again with default settings: {names}. Whether they \
                     may consume, and how often they retry, is forgotten: set it again, or stop and put a copy of the file there",
                    file.path().display()
                );
            }
        }
        read.others.entry(FORBIDDEN).or_insert_with(|| Value::Object(Map::new()));
        let read_forbidden = read.others[FORBIDDEN].clone();
        let owners = Owners::of_groups(config, |name| read.subscription_group_table.contains_key(name))?;
        Ok(Groups {
            table: RwLock::new(Inner {
                groups: read
                    .subscription_group_table
                    .into_iter()
                    .map(|(name, group)| (name, Arc::new(group)))
                    .collect(),
                others: read.others,
                version: read.data_version.clone(),
            }),
            auto_create: AtomicBool::new(config.auto_create_subscription_group),
            max: AtomicUsize::new(config.groups_max),
            owners,
            forbids: AtomicBool::new(forbids(&read_forbidden)),
            changed: watch::Sender::new(read.data_version.counter),
            saved: watch::Sender::new(before),
            file,
        })
    }

    /// The group's settings, if it is there.
    pub fn get(&self, name: &str) -> Option<Arc<SubscriptionGroupConfig>> {
        self.table.read().groups.get(name).cloned()
    }

    /// The group's settings; a group that is not there is created if that is allowed, and is the user's `by`.
    #[doc(alias = "findSubscriptionGroupConfig")]
    pub fn get_or_create(
        &self,
        name: &str,
        by: Option<&str>,
        now: i64,
    ) -> Result<Arc<SubscriptionGroupConfig>, CreateError> {
        if let Some(group) = self.table.read().groups.get(name) {
            return Ok(group.clone());
        }
        check_group_name(name).map_err(|illegal| CreateError::Illegal(illegal.to_string()))?;
        if !self.auto_create.load(Ordering::Relaxed) && !is_system_group(name) {
            return Err(CreateError::AutoCreateOff);
        }
        let mut table = self.table.write();
        if let Some(group) = table.groups.get(name) {
            return Ok(group.clone());
        }
        let max = self.max.load(Ordering::Relaxed);
        if table.groups.len() >= max {
            return Err(CreateError::TooMany { new: 1, max });
        }
        self.owners.may_create(by, 1)?;
        self.owners.created(name, by);
        tracing::info!(group = name, "created");
        let group = Arc::new(SubscriptionGroupConfig::new(name));
        table.groups.insert(name.to_owned(), group.clone());
        table.version.advance(now);
        self.changed.send_replace(table.version.counter);
        Ok(group)
    }

    /// All groups in order of their names, what is forbidden, and the version in which it is so.
    pub fn all(&self) -> (BTreeMap<String, Arc<SubscriptionGroupConfig>>, Value, DataVersion) {
        let table = self.table.read();
        let groups = table.groups.iter().map(|(name, group)| (name.clone(), group.clone())).collect();
        (groups, table.others[FORBIDDEN].clone(), table.version.clone())
    }

    /// From now on groups are, or are not, created when they consume.
    pub fn set_auto_create(&self, on: bool) {
        self.auto_create.store(on, Ordering::Relaxed);
    }

    /// From now on there may be so many, and so many that one user created (0: any number); those that are there stay.
    pub fn set_max(&self, max: usize, per_user: usize) {
        self.max.store(max, Ordering::Relaxed);
        self.owners.set_max(per_user);
    }

    /// May the group read the topic?
    #[doc(alias = "getForbidden")]
    pub fn may_read(&self, group: &str, topic: &str) -> bool {
        if !self.forbids.load(Ordering::Relaxed) {
            return true;
        }
        let table = self.table.read();
        let bits = table.others[FORBIDDEN].get(group).and_then(|topics| topics.get(topic)).and_then(Value::as_i64);
        bits.unwrap_or(0) & FORBIDDEN_READ == 0
    }

    /// Forbids a group to read a topic, or allows it again.
    #[doc(alias = "updateForbidden")]
    pub fn set_may_read(&self, group: &str, topic: &str, may: bool, now: i64) {
        let mut table = self.table.write();
        let Some(Value::Object(forbidden)) = table.others.get_mut(FORBIDDEN) else { return };
        let topics = forbidden.entry(group).or_insert_with(|| Value::Object(Map::new()));
        let before = topics.get(topic).and_then(Value::as_i64).unwrap_or(0);
        let bits = if may { before & !FORBIDDEN_READ } else { before | FORBIDDEN_READ };
        if let Some(topics) = topics.as_object_mut() {
            match bits {
                0 => _ = topics.remove(topic),
                _ => _ = topics.insert(topic.into(), bits.into()),
            }
            if topics.is_empty() {
                forbidden.remove(group);
            }
        }
        self.forbids.store(!forbidden.is_empty(), Ordering::Relaxed);
        if bits != before {
            table.version.advance(now);
            self.changed.send_replace(table.version.counter);
        }
    }

    /// The groups that are not the system's own, in order.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.table.read().groups.keys().cloned().collect();
        names.retain(|name| !is_system_group(name));
        names.sort_unstable();
        names
    }

    /// Creates or replaces groups: all, or none if there are to be too many. New ones are the user's `by`.
    pub fn put(&self, configs: Vec<SubscriptionGroupConfig>, by: Option<&str>, now: i64) -> Result<(), CreateError> {
        let mut table = self.table.write();
        let names = configs.iter().map(|config| config.group_name.as_str());
        let new = names.filter(|name| !table.groups.contains_key(*name)).collect::<BTreeSet<_>>().len();
        let max = self.max.load(Ordering::Relaxed);
        if new > 0 && table.groups.len() + new > max {
            return Err(CreateError::TooMany { new, max });
        }
        self.owners.may_create(by, new)?;
        for config in configs {
            if !table.groups.contains_key(&config.group_name) {
                self.owners.created(&config.group_name, by);
            }
            table.groups.insert(config.group_name.clone(), Arc::new(config));
            table.version.advance(now);
        }
        self.changed.send_replace(table.version.counter);
        Ok(())
    }

    /// Removes a group.
    #[doc(alias = "deleteSubscriptionGroupConfig")]
    pub fn delete(&self, name: &str, now: i64) {
        let mut table = self.table.write();
        let was_forbidden = match table.others.get_mut(FORBIDDEN) {
            Some(Value::Object(forbidden)) => forbidden.remove(name).is_some(),
            _ => false,
        };
        self.owners.deleted(name);
        if table.groups.remove(name).is_some() || was_forbidden {
            table.version.advance(now);
            self.changed.send_replace(table.version.counter);
        }
    }

    /// Waits until this version is on disk.
    pub async fn saved(&self, counter: i64) {
        let _ = self.saved.subscribe().wait_for(|saved| *saved >= counter).await;
    }

    /// Tells of each change.
    pub fn changed(&self) -> watch::Receiver<i64> {
        self.changed.subscribe()
    }
}

impl Table for Groups {
    fn save(&self) -> std::io::Result<()> {
        let _one_at_a_time = self.file.saving.lock();
        let file = {
            let table = self.table.read();
            if *self.saved.borrow() >= table.version.counter {
                return Ok(());
            }
            File {
                data_version: table.version.clone(),
                subscription_group_table: table
                    .groups
                    .iter()
                    .map(|(name, it)| (name.clone(), (**it).clone()))
                    .collect(),
                others: table.others.clone(),
            }
        };
        self.owners.save()?;
        self.file.save(&file)?;
        self.saved.send_replace(file.data_version.counter);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_created_when_they_consume_unless_that_is_off() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { store_root: dir.path().into(), ..Config::default() };
        let groups = Groups::open(&config, &BTreeSet::new(), 1).unwrap();
        assert_eq!(groups.get_or_create("g", None, 2).unwrap().retry_max_times, 16);
        assert!(matches!(groups.get_or_create("no blanks", None, 2), Err(CreateError::Illegal(_))));
        groups.save().unwrap();
        let off = Config { auto_create_subscription_group: false, ..config };
        let groups = Groups::open(&off, &BTreeSet::new(), 3).unwrap();
        assert!(groups.get_or_create("g", None, 4).is_ok(), "kept");
        assert_eq!(groups.get_or_create("h", None, 4), Err(CreateError::AutoCreateOff));
        assert!(groups.get_or_create("CID_RMQ_SYS_X", None, 4).is_ok(), "the system's own");
    }

    #[test]
    fn there_is_an_end_to_what_operators_create() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { store_root: dir.path().into(), ..Config::default() };
        let groups = Groups::open(&config, &BTreeSet::new(), 1).unwrap();
        let named = SubscriptionGroupConfig::new;
        let here = groups.all().0.len();
        groups.put((here + 1..GROUPS_MAX).map(|n| named(&format!("g{n}"))).collect(), None, 2).unwrap();
        assert_eq!(
            groups.put(vec![named("x"), named("y")], None, 3),
            Err(CreateError::TooMany { new: 2, max: GROUPS_MAX })
        );
        assert_eq!(groups.get("x"), None, "all or none");
        groups.put(vec![named("x"), named("x")], None, 3).unwrap();
        assert_eq!(groups.put(vec![named("y")], None, 3), Err(CreateError::TooMany { new: 1, max: GROUPS_MAX }));
        groups.put(vec![named("x")], None, 3).unwrap();
    }

    #[test]
    fn what_other_brokers_wrote_into_the_table_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { store_root: dir.path().into(), ..Config::default() };
        std::fs::create_dir_all(dir.path().join("config")).unwrap();
        let file = dir.path().join("config/subscriptionGroup.json");
        let text = r#"{"dataVersion":{"counter":1,"timestamp":2},"forbiddenTable":{"g":{"T":1}},
            "subscriptionGroupTable":{"g":{"groupName":"g","groupRetryPolicy":{"type":"CUSTOMIZED"},"retryMaxTimes":2}}}"#;
        std::fs::write(&file, text).unwrap();
        let groups = Groups::open(&config, &BTreeSet::new(), 1).unwrap();
        assert_eq!(groups.get_or_create("g", None, 2).unwrap().retry_max_times, 2);
        groups.save().unwrap();
        let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(written["forbiddenTable"]["g"]["T"], 1);
        assert_eq!(written["subscriptionGroupTable"]["g"]["groupRetryPolicy"]["type"], "CUSTOMIZED");
    }

    #[test]
    fn groups_that_consumed_are_there_when_the_table_is_gone_and_one_that_was_deleted_stays_so() {
        let dir = tempfile::tempdir().unwrap();
        let config =
            Config { store_root: dir.path().into(), auto_create_subscription_group: false, ..Config::default() };
        let known = BTreeSet::from(["g".to_owned(), "h".to_owned(), "no name".to_owned()]);
        let groups = Groups::open(&config, &known, 1).unwrap();
        assert_eq!(groups.get_or_create("g", None, 2).unwrap().retry_max_times, 16);
        assert!(groups.get_or_create("no name", None, 2).is_err());
        groups.delete("h", 3);
        groups.save().unwrap();
        let groups = Groups::open(&config, &known, 4).unwrap();
        assert!(groups.get_or_create("g", None, 5).is_ok() && groups.get_or_create("h", None, 5).is_err());
    }
}
