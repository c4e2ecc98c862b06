//! What operators keep on a name server, by namespace and key: `kvConfig.json`.
//!
//! The namespace that the system reads itself is [`ORDER_NAMESPACE`]. Each name server has its own table, and operators write to
//! all of them.

use parking_lot::{Mutex, RwLock};
use protocol::json;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use store::disk::Disk;
use store::table::{self, LoadError};

/// Ordered topic → its queues on each broker, `broker-a:4;broker-b:4`.
#[doc(alias = "NAMESPACE_ORDER_TOPIC_CONFIG")]
pub const ORDER_NAMESPACE: &str = "ORDER_TOPIC_CONFIG";

/// So many settings are kept.
const ENTRIES_MAX: usize = 100_000;

/// The longest namespace, key or value, bytes.
const LENGTH_MAX: usize = 32 * 1024;

/// The settings of all namespaces.
#[doc(alias = "KVConfigManager")]
pub struct KvConfigs {
    table: RwLock<Namespaces>,
    /// `None`: they are kept in memory only.
    file: Option<PathBuf>,
    disk: Disk,
    /// There is something that is not on disk. A save that failed leaves it so: who repeats a change must not be told that it
    /// is kept only because memory knows it already.
    dirty: AtomicBool,
    saving: Mutex<()>,
}

type Namespaces = BTreeMap<String, BTreeMap<String, String>>;

/// `kvConfig.json`.
#[doc(alias = "KVConfigSerializeWrapper")]
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    config_table: Namespaces,
}

/// Why a setting is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too long.
    #[error("a namespace, key or value has {0} bytes; {LENGTH_MAX} is the most")]
    Long(usize),
    /// Too many.
    #[error("there are {ENTRIES_MAX} settings here already; delete some")]
    Many,
}

impl KvConfigs {
    /// Reads the table.
    pub fn open(file: Option<PathBuf>) -> Result<KvConfigs, LoadError> {
        let disk = Disk::default();
        let read = match &file {
            Some(path) => table::load(&disk, path, json::read::<File>)?.map(|loaded| loaded.table),
            None => None,
        };
        let table = read.unwrap_or_default().config_table;
        Ok(KvConfigs { table: RwLock::new(table), file, disk, dirty: AtomicBool::new(false), saving: Mutex::new(()) })
    }

    /// The value of a key.
    pub fn get(&self, namespace: &str, key: &str) -> Option<String> {
        self.table.read().get(namespace)?.get(key).cloned()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.table.read().values().map(BTreeMap::len).sum()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of a namespace.
    pub fn list(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        self.table.read().get(namespace).cloned()
    }

    /// Sets a key.
    pub fn put(&self, namespace: &str, key: &str, value: &str) -> Result<(), Refused> {
        let longest = [namespace, key, value].map(str::len).into_iter().max().unwrap_or(0);
        if longest > LENGTH_MAX {
            return Err(Refused::Long(longest));
        }
        let mut table = self.table.write();
        let known = table.get(namespace).is_some_and(|keys| keys.contains_key(key));
        if !known && table.values().map(BTreeMap::len).sum::<usize>() >= ENTRIES_MAX {
            return Err(Refused::Many);
        }
        table.entry(namespace.to_owned()).or_default().insert(key.to_owned(), value.to_owned());
        self.dirty.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Forgets a key. True: it was there.
    pub fn delete(&self, namespace: &str, key: &str) -> bool {
        let mut table = self.table.write();
        let Some(keys) = table.get_mut(namespace) else { return false };
        let deleted = keys.remove(key).is_some();
        if keys.is_empty() {
            table.remove(namespace);
        }
        self.dirty.fetch_or(deleted, Ordering::Relaxed);
        deleted
    }

    /// Brings the table to disk if it is not there as it is. Blocks.
    pub fn save(&self) -> io::Result<()> {
        let Some(path) = &self.file else { return Ok(()) };
        let _one_at_a_time = self.saving.lock();
        if !self.dirty.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let text = json::write(&File { config_table: self.table.read().clone() });
        table::save(&self.disk, path, &text).map_err(|error| {
            self.dirty.store(true, Ordering::Relaxed);
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("namesrv/kvConfig.json");
        let open = || KvConfigs::open(Some(path.clone())).unwrap();
        let configs = open();
        assert_eq!(configs.list("n"), None);
        assert!(!path.exists(), "nothing is written before there is anything");
        configs.put(ORDER_NAMESPACE, "T", "b:4").unwrap();
        configs.put("n", "k", "v").unwrap();
        configs.save().unwrap();
        assert!(configs.delete("n", "k") && !configs.delete("n", "k"));
        assert_eq!((configs.get("n", "k"), configs.list("n")), (None, None));
        let configs = open();
        assert_eq!(configs.get("n", "k").as_deref(), Some("v"));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, r#"{"configTable":{"ORDER_TOPIC_CONFIG":{"T":"b:4"},"n":{"k":"v"}}}"#);
    }

    #[test]
    fn what_could_not_be_saved_is_saved_when_it_is_asked_for_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("namesrv/kvConfig.json");
        let open = || KvConfigs::open(Some(path.clone())).unwrap();
        let configs = open();
        configs.put("n", "k", "v").unwrap();
        configs.save().unwrap();
        let aside = dir.path().join("aside");
        std::fs::rename(dir.path().join("namesrv"), &aside).unwrap();
        std::fs::write(dir.path().join("namesrv"), "no directory").unwrap();
        assert!(configs.delete("n", "k"));
        configs.save().unwrap_err();
        std::fs::remove_file(dir.path().join("namesrv")).unwrap();
        std::fs::rename(&aside, dir.path().join("namesrv")).unwrap();
        assert_eq!(open().get("n", "k").as_deref(), Some("v"));
        assert!(!configs.delete("n", "k"), "memory has forgotten it already");
        configs.save().unwrap();
        assert_eq!(open().get("n", "k"), None);
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let configs = KvConfigs::open(None).unwrap();
        assert_eq!(configs.put("n", "k", &"v".repeat(LENGTH_MAX + 1)), Err(Refused::Long(LENGTH_MAX + 1)));
        for n in 0..ENTRIES_MAX {
            configs.put("n", &n.to_string(), "v").unwrap();
        }
        assert_eq!(configs.put("other", "k", "v"), Err(Refused::Many));
        configs.put("n", "7", "w").unwrap();
    }
}
