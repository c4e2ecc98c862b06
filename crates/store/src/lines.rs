//! A file of lines that grows at its end and is kept small: `audit.log`, then `audit.log.1`, the one before, and so on.
//!
//! Crash argument: a line is one write behind the last one. A process that dies leaves whole lines and at most a part of one,
//! which the next opening ends with a line break: who reads takes it for what it is, no line. Files are renamed one by one from
//! the oldest on: a crash in between leaves a number out, and loses nothing.

use crate::disk::Disk;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The file, open at its end.
#[derive(Debug)]
pub struct Lines {
    disk: Disk,
    path: PathBuf,
    /// No file is larger; a line that is, has one of its own.
    bytes_max: u64,
    /// How many files there are at most, with the one that grows.
    files_max: usize,
    /// `None` until something is to be written.
    file: Option<(File, u64)>,
    /// Something was written since it was last asked for.
    dirty: bool,
}

impl Lines {
    /// Lines of at most `files_max` files of `bytes_max` bytes. Nothing is made before there is a line.
    pub fn new(disk: Disk, path: impl Into<PathBuf>, bytes_max: u64, files_max: usize) -> Lines {
        Lines { disk, path: path.into(), bytes_max, files_max: files_max.max(1), file: None, dirty: false }
    }

    /// Writes a line, which must have no line break. The operating system has it then.
    pub fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
        let (file, size) = match self.file.take() {
            Some(open) => open,
            None => self.open()?,
        };
        let (file, size) = match size > 0 && size + bytes.len() as u64 > self.bytes_max {
            true => {
                drop(file);
                self.turn()?;
                self.open()?
            }
            false => (file, size),
        };
        self.disk.write(&file, &self.path, size, &bytes)?;
        self.file = Some((file, size + bytes.len() as u64));
        self.dirty = true;
        Ok(())
    }

    /// What brings to disk what was written since this was last asked for, while others write on. `None`: nothing was.
    pub fn sync(&mut self) -> io::Result<Option<impl FnOnce() -> io::Result<()> + use<>>> {
        let Some((file, _)) = self.file.as_ref().filter(|_| std::mem::replace(&mut self.dirty, false)) else {
            return Ok(None);
        };
        let (file, disk, path) = (file.try_clone()?, self.disk.clone(), self.path.clone());
        Ok(Some(move || disk.sync(&file, &path)))
    }

    fn open(&self) -> io::Result<(File, u64)> {
        if let Some(dir) = self.path.parent().filter(|dir| !dir.as_os_str().is_empty() && !dir.is_dir()) {
            self.disk.create_directory(dir)?;
        }
        let file = self.disk.create(&self.path)?;
        let mut size = file.metadata()?.len();
        let mut last = [b'\n'];
        if size > 0 {
            self.disk.read(&file, &self.path, size - 1, &mut last)?;
        }
        if last != [b'\n'] {
            self.disk.write(&file, &self.path, size, b"\n")?;
            size += 1;
        }
        Ok((file, size))
    }

    /// The file that grows becomes the first of the others; the last of them goes.
    fn turn(&self) -> io::Result<()> {
        let name = |n: usize| if n == 0 { self.path.clone() } else { numbered(&self.path, n) };
        if self.files_max == 1 {
            return self.disk.delete(&self.path);
        }
        for n in (0..self.files_max - 1).rev() {
            if name(n).exists() {
                self.disk.rename(&name(n), &name(n + 1))?;
            }
        }
        Ok(())
    }
}

fn numbered(path: &Path, n: usize) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{n}"));
    PathBuf::from(name)
}

/// All lines of a file and those before it, oldest first. Files that come or go meanwhile are passed over.
pub fn read(path: &Path, files_max: usize) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    let older = (1..files_max).rev().map(|n| numbered(path, n));
    for file in older.chain([path.to_owned()]) {
        match fs::read(&file) {
            Ok(bytes) => lines.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(dir: &Path, files_max: usize) -> Lines {
        Lines::new(Disk::default(), dir.join("logs/audit.log"), 20, files_max)
    }

    #[test]
    fn files_turn_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let mut lines = lines(dir.path(), 3);
        for n in 0..9 {
            lines.append(format!("line {n}").as_bytes()).unwrap();
        }
        let path = dir.path().join("logs/audit.log");
        assert_eq!(read(&path, 3).unwrap(), ["line 4", "line 5", "line 6", "line 7", "line 8"]);
        assert!(!numbered(&path, 3).exists());
        lines.append(&[b'x'; 50]).unwrap();
        assert_eq!(read(&path, 3).unwrap().last().unwrap().len(), 50, "a long line has a file of its own");
    }

    #[test]
    fn a_torn_line_ends_where_the_next_opening_begins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/audit.log");
        assert!(read(&path, 2).unwrap().is_empty());
        lines(dir.path(), 2).append(b"whole").unwrap();
        std::fs::write(&path, "whole\nto").unwrap();
        let mut lines = lines(dir.path(), 2);
        lines.append(b"next").unwrap();
        lines.sync().unwrap().unwrap()().unwrap();
        assert!(lines.sync().unwrap().is_none());
        assert_eq!(read(&path, 2).unwrap(), ["whole", "to", "next"]);
    }
}
