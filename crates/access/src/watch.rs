//! Account files: which there are, how they look from outside, what they say.

use crate::plain::{BadFile, PlainFile};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often they are looked at.
pub(crate) const PERIOD: Duration = Duration::from_millis(500);

/// Directories in the directory of accounts are looked into so deep.
const DEPTH_MAX: usize = 8;

/// How a file looks from outside: another one, or one that was written to, looks otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    path: PathBuf,
    changed: (i64, i64),
    size: u64,
    inode: u64,
}

/// The directory `acl` beside `plain_acl.yml`.
pub(crate) fn directory(plain: &Path) -> PathBuf {
    plain.with_file_name("acl")
}

/// All account files: those in the directory, in the order of their names, then `plain_acl.yml`.
fn files(plain: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&directory(plain), 0, &mut found);
    found.sort();
    if plain.exists() && !found.iter().any(|path| path == plain) {
        found.push(plain.to_owned());
    }
    found
}

fn collect(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_yaml = path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml");
        // Which account tools use stands in a file of its own.
        let is_tools = path.file_name().is_some_and(|name| name == "tools.yml");
        if path.is_dir() && depth < DEPTH_MAX {
            collect(&path, depth + 1, found);
        } else if is_yaml && !is_tools && path.is_file() {
            found.push(path);
        }
    }
}

/// How all account files look.
pub(crate) fn stamps(plain: &Path) -> Vec<Stamp> {
    let stamp = |path: PathBuf| {
        let data = fs::metadata(&path).ok();
        Stamp {
            changed: data.as_ref().map_or((0, 0), |data| (data.mtime(), data.mtime_nsec())),
            size: data.as_ref().map_or(0, |data| data.len()),
            inode: data.as_ref().map_or(0, |data| data.ino()),
            path,
        }
    };
    files(plain).into_iter().map(stamp).collect()
}

type Read = (Vec<(PathBuf, PlainFile)>, Vec<Stamp>);

/// Reads all account files, and says how they looked before. There must be one.
pub(crate) fn read(plain: &Path) -> Result<Read, BadFile> {
    let looked = stamps(plain);
    if looked.is_empty() {
        return Err(BadFile {
            path: plain.display().to_string(),
            line: None,
            reason: format!(
                "there is no such file, and none in {}; write accounts there, or set aclEnable=false",
                directory(plain).display()
            ),
        });
    }
    let mut read = Vec::new();
    for Stamp { path, .. } in &looked {
        warn_if_others_can_read(path);
        let unreadable = |error: io::Error| BadFile {
            path: path.display().to_string(),
            line: None,
            reason: format!("can't be read: {error}"),
        };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        read.push((path.clone(), PlainFile::read(path, &text)?));
    }
    Ok((read, looked))
}

/// Secrets stand in it.
pub(crate) fn warn_if_others_can_read(path: &Path) {
    let mode = fs::metadata(path).map_or(0, |data| data.mode());
    if mode & 0o044 != 0 {
        tracing::warn!("{} holds secrets, and others on this machine can read it: chmod 600 it", path.display());
    }
}
