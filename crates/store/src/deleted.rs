//! Topics that were deleted: which records of the log are no longer theirs.
//!
//! A deleted topic's records stay in the log until their files go. `config/deletedTopics.json` says for each such topic
//! where the log ended when it was deleted: records before that are nobody's, whatever queues are made from the log
//! again. It is saved before anything else of the topic goes, so a crash at any moment deletes all of it or nothing. Once
//! the log begins behind that place, the topic is forgotten here, too.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use parking_lot::{Mutex, RwLock};
use protocol::message::CommitLogOffset;
use serde::{Deserialize, Serialize};

use crate::config::StoreConfig;
use crate::disk::Disk;
use crate::inventory::Inventory;
use crate::{Store, table};

/// The table, and its file.
#[derive(Debug)]
pub(crate) struct Deletions {
    disk: Disk,
    path: PathBuf,
    /// Topic → where its records begin.
    begins: RwLock<foldhash::HashMap<Box<str>, i64>>,
    saving: Mutex<()>,
}

/// `deletedTopics.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    deleted_topics: BTreeMap<Box<str>, i64>,
}

impl Deletions {
    /// Reads the table. One that is gone or cannot be read is told of, and taken as the last clean stop left it. Topics that
    /// were deleted since come back only where queues are lost as well: the checkpoint was raised behind each deletion.
    pub(crate) fn open(config: &StoreConfig, inventory: Option<&Inventory>) -> Deletions {
        let path = config.root.join("config").join("deletedTopics.json");
        let read = table::load(&config.disk, &path, |bytes: &[u8]| serde_json::from_slice::<File>(bytes));
        let last_stop = || inventory.map(|inventory| inventory.deleted.clone()).unwrap_or_default();
        let deleted = match read {
            Ok(Some(loaded)) => loaded.table.deleted_topics,
            Ok(None) => {
                let deleted = last_stop();
                if !deleted.is_empty() {
                    tracing::error!(
                        "{} is gone; going on with the {} topics that the last clean stop knew to be deleted",
                        path.display(),
                        deleted.len()
                    );
                }
                deleted
            }
            Err(error) => {
                tracing::error!(
                    "{error}; going on with what the last clean stop knew: topics that were deleted since come back if \
                     their consume queues are made again"
                );
                last_stop()
            }
        };
        let begins = deleted.into_iter().collect();
        Deletions { disk: config.disk.clone(), path, begins: RwLock::new(begins), saving: Mutex::new(()) }
    }

    /// Records before this are not the topic's.
    pub(crate) fn begin_of(&self, topic: &str) -> i64 {
        self.begins.read().get(topic).copied().unwrap_or(0)
    }

    /// The topics, and where they begin.
    pub(crate) fn all(&self) -> Vec<(Box<str>, i64)> {
        self.begins.read().iter().map(|(topic, at)| (topic.clone(), *at)).collect()
    }

    /// Takes a topic in. It is on disk when this returns, or not in the table at all.
    pub(crate) fn add(&self, topic: &str, at: i64) -> io::Result<()> {
        let _one_at_a_time = self.saving.lock();
        let mut table = self.begins.read().clone();
        table.insert(topic.into(), at);
        self.save(&table)?;
        *self.begins.write() = table;
        Ok(())
    }

    /// Forgets topics of which the log holds nothing from before.
    pub(crate) fn forget_before(&self, log_min: i64) -> io::Result<()> {
        let _one_at_a_time = self.saving.lock();
        let mut table = self.begins.read().clone();
        let before = table.len();
        table.retain(|_, at| *at > log_min);
        if table.len() == before {
            return Ok(());
        }
        self.save(&table)?;
        *self.begins.write() = table;
        Ok(())
    }

    fn save(&self, table: &foldhash::HashMap<Box<str>, i64>) -> io::Result<()> {
        let file = File { deleted_topics: table.iter().map(|(topic, at)| (topic.clone(), *at)).collect() };
        table::save(&self.disk, &self.path, &serde_json::to_vec_pretty(&file).map_err(io::Error::other)?)
    }
}

impl Store {
    /// Where a topic begins that was deleted: records before are of its earlier life. 0 for all others.
    pub fn begin_of(&self, topic: &str) -> CommitLogOffset {
        CommitLogOffset(self.inner.deletions.begin_of(topic))
    }
}
