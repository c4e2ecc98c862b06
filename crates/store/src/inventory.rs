//! What a clean stop left: `inventory.json`, so that the next start notices what is missing.
//!
//! A consume queue whose newest file is gone looks like a shorter queue, an index without its oldest file like a younger
//! one. Both are derived and can be made again, if only it is noticed. So the last step of a clean stop but one writes
//! down how far each queue goes and which index files there are.
//!
//! After a clean stop the list is exact if the log still ends where it says; if it ends elsewhere, another store was
//! here since (Apache's does not know the list), and it says nothing. After a crash queues are at least as long as listed;
//! what they lost of the time since then is not noticed, if it is whole files.
//! Without the list a store opens as well.
//!
//! It also has a copy of which topics were deleted, should `config/deletedTopics.json` be gone: what it says of them stays
//! true, and of deletions since then it knows nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::StoreConfig;
use crate::table;

/// What there was.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Inventory {
    pub log_min: i64,
    pub log_end: i64,
    /// By topic and queue id: queue offsets of the first message and behind the last, commit log offset of the first.
    pub queues: BTreeMap<String, BTreeMap<u32, (i64, i64, i64)>>,
    /// Name, count and last commit log offset of each index file.
    pub index: Vec<(i64, i32, i64)>,
    /// Deleted topics, and where what is theirs begins since.
    #[serde(default)]
    pub deleted: BTreeMap<Box<str>, i64>,
}

impl Inventory {
    /// The queue offset behind the last message that a queue had.
    pub(crate) fn end_of(&self, topic: &str, queue_id: u32) -> Option<i64> {
        self.queues.get(topic)?.get(&queue_id).map(|(_, end, _)| *end)
    }
}

fn path(config: &StoreConfig) -> PathBuf {
    config.root.join("inventory.json")
}

/// The list, if there is a readable one.
pub(crate) fn load(config: &StoreConfig) -> Option<Inventory> {
    let bytes = std::fs::read(path(config)).ok()?;
    serde_json::from_slice(&bytes)
        .inspect_err(|error| tracing::warn!("{} is of no use: {error}", path(config).display()))
        .ok()
}

pub(crate) fn save(config: &StoreConfig, inventory: &Inventory) -> io::Result<()> {
    table::save(&config.disk, &path(config), &serde_json::to_vec(inventory)?)
}
