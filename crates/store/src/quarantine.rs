//! Where damaged bytes go: nothing that recovery takes out of the way is deleted.
//!
//! `quarantine/` lies beside the directory that is put right (`<storePathRootDir>/quarantine/` unless the commit log has a
//! place of its own). A file keeps the end of its path as its name, `commitlog-00000000001073741824`, and gets a number
//! if there is one of that name. The store never reads what is there; remove it when you know what it was.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;
use crate::segment::Segment;

/// Bytes copied at a time.
const COPY_LEN: usize = 1 << 20;

/// A free place for what comes from `path`, in the quarantine beside `dir`.
fn place(disk: &Disk, dir: &Path, path: &Path) -> io::Result<PathBuf> {
    let beside = dir.parent().unwrap_or(dir);
    let quarantine = beside.join("quarantine");
    if !quarantine.is_dir() {
        disk.create_directory(&quarantine)?;
        disk.sync_directory(beside)?;
    }
    let parts: Vec<_> = path.strip_prefix(beside).unwrap_or(path).iter().map(|part| part.to_string_lossy()).collect();
    let name = parts.join("-");
    let mut free = quarantine.join(&name);
    let mut number = 1;
    while free.exists() {
        number += 1;
        free = quarantine.join(format!("{name}.{number}"));
    }
    Ok(free)
}

/// Moves a whole file of `dir` there. Says where it is now.
pub(crate) fn move_file(disk: &Disk, dir: &Path, path: &Path) -> io::Result<PathBuf> {
    let to = place(disk, dir, path)?;
    disk.rename(path, &to)?;
    for changed in [path.parent(), to.parent()].into_iter().flatten() {
        disk.sync_directory(changed)?;
    }
    Ok(to)
}

/// Copies the bytes of a file of `dir` from byte `from` to `end` there, without those that were never written. `None` if
/// all are zero.
pub(crate) fn copy(
    disk: &Disk,
    dir: &Path,
    segment: &Arc<Segment>,
    from: u64,
    end: u64,
) -> io::Result<Option<PathBuf>> {
    let mut copied = None;
    let mut next = from;
    let mut bytes = Vec::new();
    while let Some(data) = segment.next_data(next)?.filter(|data| data.start < end) {
        let len = ((data.end.min(end) - data.start) as usize).min(COPY_LEN);
        bytes.resize(len, 0);
        segment.read(&mut bytes, data.start)?;
        next = data.start + len as u64;
        if bytes.iter().all(|byte| *byte == 0) {
            continue;
        }
        if copied.is_none() {
            let to = place(disk, dir, &segment.path)?;
            copied = Some((disk.create(&to)?, to));
        }
        if let Some((file, to)) = &copied {
            // The first byte of the copy is byte `from`.
            disk.write(file, to, data.start - from, &bytes)?;
        }
    }
    let Some((file, to)) = copied else { return Ok(None) };
    disk.sync(&file, &to)?;
    to.parent().map_or(Ok(()), |dir| disk.sync_directory(dir))?;
    Ok(Some(to))
}
