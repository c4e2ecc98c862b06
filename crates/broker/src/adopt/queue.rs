//! A consume queue's entries and their records, read from the files as they lie, without opening the store.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of an entry: commit log offset 8, record size 4, tags code 8.
const ENTRY: usize = 20;
/// Larger records are none.
const RECORD_MAX: i32 = 64 << 20;

/// The files of one queue, and of the log behind it.
pub(super) struct Files {
    dir: PathBuf,
    log: PathBuf,
}

/// An entry of a queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Its queue offset.
    pub offset: i64,
    /// Commit log offset.
    at: i64,
    size: i32,
    /// Hash of the message's tags.
    pub tags_code: i64,
}

impl Files {
    pub(super) fn new(dir: PathBuf, log: PathBuf) -> Files {
        Files { dir, log }
    }

    /// The queue's directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Visits the entries from queue offset `from` on that have a message. After a crash the last few may be missing.
    pub(super) fn each(&self, from: i64, visit: &mut dyn FnMut(Entry)) -> io::Result<()> {
        for (base, path) in files(&self.dir)? {
            let bytes = fs::read(path)?;
            let skip = (from.max(0).saturating_mul(ENTRY as i64) - base).clamp(0, bytes.len() as i64) as usize;
            for (n, entry) in bytes[skip..].as_chunks::<ENTRY>().0.iter().enumerate() {
                let (at, size) = (super::big_endian(&entry[..8]), super::big_endian(&entry[8..12]) as i32);
                if size <= 0 {
                    return Ok(());
                }
                if size <= RECORD_MAX {
                    let offset = (base + skip as i64) / ENTRY as i64 + n as i64;
                    visit(Entry { offset, at, size, tags_code: super::big_endian(&entry[12..]) });
                }
            }
        }
        Ok(())
    }

    /// The record of an entry; `None` if the log does not have it any more.
    pub(super) fn record(&self, entry: Entry) -> io::Result<Option<Vec<u8>>> {
        read_at(&self.log, entry.at, entry.size as usize)
    }
}

/// `len` bytes at `at` of a sequence of files; `None` if they are not there.
pub(super) fn read_at(dir: &Path, at: i64, len: usize) -> io::Result<Option<Vec<u8>>> {
    let Some((base, path)) = files(dir)?.into_iter().rev().find(|(base, _)| *base <= at) else { return Ok(None) };
    let mut bytes = vec![0; len];
    match File::open(path)?.read_exact_at(&mut bytes, (at - base) as u64) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Files that are named by their position, in order.
fn files(dir: &Path) -> io::Result<Vec<(i64, PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if let Ok(base) = super::name(&path).parse() {
            files.push((base, path));
        }
    }
    files.sort();
    Ok(files)
}
