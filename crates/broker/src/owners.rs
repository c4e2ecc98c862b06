//! Who created what, so that there is an end to what one user creates: `config/topicOwners.json`, `config/groupOwners.json`.
//!
//! They lie beside Apache's tables, which stay as Apache's brokers write them. What Super users create, and what was created without
//! access control, is nobody's and has no end but that of the broker.
//!
//! An owner is noted together with what he creates, under the lock of that table, and saved before it. A crash between the two
//! files leaves the owner of something that is not there, who is passed over at the next start; or, where something was being
//! deleted, something without an owner, of which nobody was told that it is gone.

use crate::Config;
use crate::table::TableFile;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

/// A user has created as much as he may.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "user {user} may have created {max} {what} here, and has {has} ({key} in this broker's settings): delete some, or have an \
     operator raise it or create them"
)]
pub struct UserHasTooMany {
    user: String,
    has: usize,
    max: usize,
    what: &'static str,
    key: &'static str,
}

/// Who created the topics of this broker, or its groups.
pub(crate) struct Owners {
    kept: Mutex<Kept>,
    file: TableFile,
    what: &'static str,
    key: &'static str,
}

#[derive(Default)]
struct Kept {
    by_name: HashMap<String, Arc<str>>,
    counts: HashMap<Arc<str>, usize>,
    /// 0: no end.
    max: usize,
    /// How often it changed, and up to where that is on disk.
    changes: u64,
    saved: u64,
}

/// `topicOwners.json`, `groupOwners.json`: name → user.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct File {
    owners: BTreeMap<String, String>,
}

impl Owners {
    /// The owners of topics, of those that `are_there`.
    pub(crate) fn of_topics(config: &Config, are_there: impl Fn(&str) -> bool) -> io::Result<Owners> {
        let file = TableFile::new(config, "topicOwners.json");
        Owners::open(file, "topics", "topicsPerUserMax", config.topics_per_user_max, are_there)
    }

    /// The owners of consumer groups, of those that `are_there`.
    pub(crate) fn of_groups(config: &Config, are_there: impl Fn(&str) -> bool) -> io::Result<Owners> {
        let file = TableFile::new(config, "groupOwners.json");
        Owners::open(file, "groups", "groupsPerUserMax", config.groups_per_user_max, are_there)
    }

    fn open(
        file: TableFile,
        what: &'static str,
        key: &'static str,
        max: usize,
        are_there: impl Fn(&str) -> bool,
    ) -> io::Result<Owners> {
        let read: File = file.open_or_gone()?.unwrap_or_default();
        let mut kept = Kept { max, ..Kept::default() };
        for (name, user) in read.owners.into_iter().filter(|(name, _)| are_there(name)) {
            kept.add(&name, &user);
        }
        Ok(Owners { kept: Mutex::new(kept), file, what, key })
    }

    /// From now on a user may create so many; 0: no end. Those that are there stay.
    pub(crate) fn set_max(&self, max: usize) {
        self.kept.lock().max = max;
    }

    /// May this user create so many more? `None` is nobody, who may.
    pub(crate) fn may_create(&self, user: Option<&str>, new: usize) -> Result<(), UserHasTooMany> {
        let kept = self.kept.lock();
        let Some(user) = user.filter(|_| kept.max > 0 && new > 0) else { return Ok(()) };
        let has = kept.counts.get(user).copied().unwrap_or(0);
        match has + new <= kept.max {
            true => Ok(()),
            false => Err(UserHasTooMany { user: user.into(), has, max: kept.max, what: self.what, key: self.key }),
        }
    }

    /// Something new is there. To be called under the lock of the table that it is in.
    pub(crate) fn created(&self, name: &str, user: Option<&str>) {
        let mut kept = self.kept.lock();
        let had_owner = kept.remove(name);
        if let Some(user) = user {
            kept.add(name, user);
        }
        kept.changes += u64::from(had_owner || user.is_some());
    }

    /// It is there no more.
    pub(crate) fn deleted(&self, name: &str) {
        let mut kept = self.kept.lock();
        let had_owner = kept.remove(name);
        kept.changes += u64::from(had_owner);
    }

    /// Saves who owns what, if that changed. To be called before the table is saved that knew of it. Blocks.
    pub(crate) fn save(&self) -> io::Result<()> {
        let _one_at_a_time = self.file.saving.lock();
        let (file, changes) = {
            let kept = self.kept.lock();
            if kept.saved == kept.changes {
                return Ok(());
            }
            let owners = kept.by_name.iter().map(|(name, user)| (name.clone(), user.to_string())).collect();
            (File { owners }, kept.changes)
        };
        self.file.save(&file)?;
        self.kept.lock().saved = changes;
        Ok(())
    }
}

impl Kept {
    fn add(&mut self, name: &str, user: &str) {
        let user: Arc<str> = self.counts.get_key_value(user).map_or_else(|| user.into(), |(known, _)| known.clone());
        *self.counts.entry(user.clone()).or_default() += 1;
        self.by_name.insert(name.to_owned(), user);
    }

    fn remove(&mut self, name: &str) -> bool {
        let Some(user) = self.by_name.remove(name) else { return false };
        if let Some(count) = self.counts.get_mut(&user) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&user);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &std::path::Path) -> Config {
        Config { store_root: dir.into(), topics_per_user_max: 2, ..Config::default() }
    }

    #[test]
    fn a_user_creates_as_much_as_he_may_and_what_goes_makes_room() {
        let dir = tempfile::tempdir().unwrap();
        let owners = Owners::of_topics(&config(dir.path()), |_| true).unwrap();
        for name in ["a", "b"] {
            owners.may_create(Some("ann"), 1).unwrap();
            owners.created(name, Some("ann"));
        }
        let refused = owners.may_create(Some("ann"), 1).unwrap_err().to_string();
        assert!(refused.contains("ann") && refused.contains("2 topics") && refused.contains("topicsPerUserMax"));
        owners.may_create(Some("bob"), 2).unwrap();
        assert!(owners.may_create(Some("bob"), 3).is_err());
        owners.may_create(None, 100).unwrap();
        owners.deleted("a");
        owners.deleted("a");
        owners.may_create(Some("ann"), 1).unwrap();
        owners.set_max(0);
        owners.may_create(Some("ann"), 100).unwrap();
    }

    #[test]
    fn who_created_what_is_known_after_a_restart_and_what_is_not_there_is_nobodys() {
        let dir = tempfile::tempdir().unwrap();
        let owners = Owners::of_topics(&config(dir.path()), |_| true).unwrap();
        owners.created("a", Some("ann"));
        owners.created("b", Some("ann"));
        owners.save().unwrap();
        let all = Owners::of_topics(&config(dir.path()), |_| true).unwrap();
        assert!(all.may_create(Some("ann"), 1).is_err());
        let one = Owners::of_topics(&config(dir.path()), |name| name == "a").unwrap();
        one.may_create(Some("ann"), 1).unwrap();
        assert!(one.may_create(Some("ann"), 2).is_err());
    }
}
