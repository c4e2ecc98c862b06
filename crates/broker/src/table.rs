//! Tables that are kept as a JSON file of Apache's shape each, and saved whole.

use crate::Config;
use parking_lot::Mutex;
use protocol::json;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use store::disk::Disk;

/// A table that can be saved.
pub(crate) trait Table: Send + Sync {
    /// Brings the table to disk, if it changed since the last time. Blocks.
    fn save(&self) -> io::Result<()>;
}

/// A table is there, but can't be read.
pub type OpenError = store::table::LoadError;

/// Where a table is kept.
#[derive(Debug)]
pub(crate) struct TableFile {
    disk: Disk,
    path: PathBuf,
    /// Held from when it is decided what to save until it is saved, so that no older state follows a newer one.
    pub saving: Mutex<()>,
}

impl TableFile {
    /// `config/<name>` of the store.
    pub(crate) fn new(config: &Config, name: &str) -> TableFile {
        let path = config.store_root.join("config").join(name);
        TableFile { disk: config.disk.clone(), path, saving: Mutex::new(()) }
    }

    /// Reads the newest state that can be read. `None`: it was never saved.
    pub(crate) fn open<T: DeserializeOwned>(&self) -> Result<Option<T>, OpenError> {
        Ok(store::table::load(&self.disk, &self.path, json::read::<T>)?.map(|loaded| loaded.table))
    }

    /// Reads it as [`TableFile::open`] does, for a table that can be made again: if it cannot be read, nor its last good
    /// state, that is told, both are put aside, and it counts as gone.
    pub(crate) fn open_or_gone<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        self.open().or_else(|error| {
            tracing::error!("{error}: they are put aside as *.damaged, and the table is made again as far as may be");
            store::table::put_aside(&self.disk, &self.path)?;
            Ok(None)
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Saves `table`, indented by tabs as Apache's brokers do.
    pub(crate) fn save<T: Serialize>(&self, table: &T) -> io::Result<()> {
        let mut text = Vec::new();
        let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        table.serialize(&mut serde_json::Serializer::with_formatter(&mut text, tabs)).map_err(io::Error::other)?;
        store::table::save(&self.disk, &self.path, &text)
    }
}

/// Saves `table`. False: that failed, and the log says how to help.
pub(crate) fn save_or_tell(table: &dyn Table, file: &str, root: &Path) -> bool {
    let saved = table.save();
    if let Err(error) = &saved {
        let file: PathBuf = root.join("config").join(file);
        tracing::error!(file = %file.display(), %error, "can't save; changes since the last time are lost if the broker \
            stops now: check the disk and the directory's permissions");
    }
    saved.is_ok()
}
