//! Small tables kept as one file each (`config/*.json`): saved whole, never half.
//!
//! [`save`] writes `<file>.tmp` and brings it to disk, renames the old file to `<file>.bak`, renames the new one into its
//! place and brings the directory to disk. At every moment one of the two names holds a whole table.
//! [`load`] takes `<file>`, and `<file>.bak` if that is missing or cannot be read, and says which. A file that cannot be
//! read is put aside as `<file>.damaged`. If neither can be read that is an error; who can make the table again puts both
//! aside with [`put_aside`]. [`replace`] does without the file
//! before.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::disk::Disk;

/// Where a loaded table comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The file itself.
    Newest,
    /// The file before the last save, because the newest could not be read.
    LastGood {
        /// What was wrong with the newest.
        why: String,
    },
}

/// A table that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded<T> {
    /// What the validator made of the bytes.
    pub table: T,
    /// Where it comes from.
    pub source: Source,
}

/// A table that is there but cannot be read, nor can the one before it.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot read {path}: {newest}; nor its last good state {path}.bak: {last_good}; put one of them right or remove both",
    path = .path.display()
)]
pub struct LoadError {
    /// The newest file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub newest: String,
    /// What is wrong with the one before.
    pub last_good: String,
}

/// Saves `bytes` as the newest state of `path`; the state before stays as `<path>.bak`.
#[doc(alias = "ConfigManager.persist")]
pub fn save(disk: &Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    put_in_place(disk, path, |fresh| disk.replace(fresh, bytes), || put_aside_as_last_good(disk, path))
}

/// As [`save`], and only the owner may read it: for what has secrets in it.
pub fn save_private(disk: &Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    put_in_place(disk, path, |fresh| disk.replace_private(fresh, bytes), || put_aside_as_last_good(disk, path))
}

/// As [`save`]; if only its owner could read what was there, so it stays.
pub fn save_alike(disk: &Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let private = std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 == 0);
    if private { save_private(disk, path, bytes) } else { save(disk, path, bytes) }
}

fn put_aside_as_last_good(disk: &Disk, path: &Path) -> io::Result<()> {
    if path.exists() { disk.rename(path, &beside(path, ".bak")) } else { Ok(()) }
}

/// Saves `bytes` as `path`, and keeps nothing of what was there before: for files of which an older one is of no use.
/// At every moment there is the one or the other, whole.
pub fn replace(disk: &Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    put_in_place(disk, path, |fresh| disk.replace(fresh, bytes), || Ok(()))
}

/// Deletes what [`replace`] saved, if it is there.
pub fn remove(disk: &Disk, path: &Path) -> io::Result<()> {
    disk.delete(path)?;
    path.parent().filter(|dir| dir.is_dir()).map_or(Ok(()), |dir| disk.sync_directory(dir))
}

fn put_in_place(
    disk: &Disk,
    path: &Path,
    write: impl FnOnce(&Path) -> io::Result<std::fs::File>,
    put_aside: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let missing = dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.is_dir()).collect::<Vec<_>>();
    if !missing.is_empty() {
        disk.create_directory(dir)?;
    }
    // A name is on disk when the directory it stands in is.
    for above in missing.iter().rev().filter_map(|dir| dir.parent()).filter(|above| above.is_dir()) {
        disk.sync_directory(above)?;
    }
    let fresh = beside(path, ".tmp");
    let file = write(&fresh)?;
    disk.sync(&file, &fresh)?;
    put_aside()?;
    disk.rename(&fresh, path)?;
    disk.sync_directory(dir)
}

/// Loads the newest state of `path` that `validate` accepts; `None` if the table was never saved.
#[doc(alias = "ConfigManager.load")]
pub fn load<T, E: fmt::Display>(
    disk: &Disk,
    path: &Path,
    validate: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<Option<Loaded<T>>, LoadError> {
    let read = |path: &Path| match fs::read(path) {
        Ok(bytes) if bytes.is_empty() => Err(Some("the file is empty".to_owned())),
        Ok(bytes) => validate(&bytes).map_err(|error| Some(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(None),
        Err(error) => Err(Some(error.to_string())),
    };
    let newest = match read(path) {
        Ok(table) => return Ok(Some(Loaded { table, source: Source::Newest })),
        Err(newest) => newest,
    };
    match (newest, read(&beside(path, ".bak"))) {
        (newest, Ok(table)) => {
            let why = newest.unwrap_or_else(|| "the file is missing".to_owned());
            tracing::warn!("cannot read {}: {why}; using its last good state", path.display());
            // Out of the way, or the next save would make it the last good state.
            let _ = disk.rename(path, &beside(path, ".damaged"));
            Ok(Some(Loaded { table, source: Source::LastGood { why } }))
        }
        (None, Err(None)) => Ok(None),
        (newest, Err(last_good)) => {
            let missing = || "the file is missing".to_owned();
            Err(LoadError {
                path: path.to_owned(),
                newest: newest.unwrap_or_else(missing),
                last_good: last_good.unwrap_or_else(missing),
            })
        }
    }
}

/// Puts aside a table that cannot be read, and its state before, as `<path>.damaged` and `<path>.bak.damaged`.
pub fn put_aside(disk: &Disk, path: &Path) -> io::Result<()> {
    for file in [path.to_owned(), beside(path, ".bak")].iter().filter(|file| file.exists()) {
        disk.rename(file, &beside(file, ".damaged"))?;
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Result<String, &'static str> {
        let text = String::from_utf8(bytes.to_vec()).map_err(|_| "not UTF-8")?;
        if text.ends_with('}') { Ok(text) } else { Err("cut short") }
    }

    #[test]
    fn a_table_never_saved_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(&Disk::default(), &dir.path().join("topics.json"), text).unwrap(), None);
    }

    #[test]
    fn what_is_replaced_is_gone_and_what_is_removed_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("filters").join("g").join("T.wasm");
        replace(&Disk::default(), &path, b"1").unwrap();
        replace(&Disk::default(), &path, b"2").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2");
        remove(&Disk::default(), &path).unwrap();
        remove(&Disk::default(), &path).unwrap();
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn the_newest_counts_and_a_broken_one_falls_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config").join("topics.json");
        save(&Disk::default(), &path, b"{1}").unwrap();
        save(&Disk::default(), &path, b"{2}").unwrap();
        assert_eq!(
            load(&Disk::default(), &path, text).unwrap().unwrap(),
            Loaded { table: "{2}".into(), source: Source::Newest }
        );

        fs::write(&path, b"{2").unwrap();
        let loaded = load(&Disk::default(), &path, text).unwrap().unwrap();
        assert_eq!(loaded, Loaded { table: "{1}".into(), source: Source::LastGood { why: "cut short".into() } });

        assert_eq!(fs::read(beside(&path, ".damaged")).unwrap(), b"{2", "put aside");
        assert_eq!(load(&Disk::default(), &path, text).unwrap().unwrap().table, "{1}");

        fs::write(&path, b"").unwrap();
        fs::write(beside(&path, ".bak"), b"\xff").unwrap();
        let error = load(&Disk::default(), &path, text).unwrap_err().to_string();
        assert!(error.contains("the file is empty") && error.contains("not UTF-8"), "{error}");
    }
}
