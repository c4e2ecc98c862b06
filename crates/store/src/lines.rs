//! A file of lines that grows at its end and is kept small: `audit.log`, then `audit.log.1`, the one before, and so on.
//!
//! Crash argument: a line is one write behind the last one. A process that dies leaves whole lines and at most a part of one,
//! which the next opening ends with a line break: who reads takes it for what it is, no line. Files are renamed one by one from
//! the oldest on: a crash in between leaves a number out, and loses nothing.

use crate::disk::Disk;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// So many bytes are read at a time.
const BLOCK: u64 = 64 << 10;

/// Longer lines are passed over by who reads.
pub const LINE_MAX: usize = 1 << 20;

/// The file, open at its end.
#[derive(Debug)]
pub struct Lines {
    disk: Disk,
    path: PathBuf,
    /// No file is larger; a line that is, has one of its own.
    bytes_max: u64,
    /// How many files there are at most, with the one that grows.
    files_max: usize,
    /// Only the owner may read the files.
    private: bool,
    /// `None` until something is to be written.
    file: Option<(File, u64)>,
    /// Something was written since it was last asked for.
    dirty: bool,
}

impl Lines {
    /// Lines of at most `files_max` files of `bytes_max` bytes. Nothing is made before there is a line.
    pub fn new(disk: Disk, path: impl Into<PathBuf>, bytes_max: u64, files_max: usize) -> Lines {
        Lines {
            disk,
            path: path.into(),
            bytes_max,
            files_max: files_max.max(1),
            private: false,
            file: None,
            dirty: false,
        }
    }

    /// Only the owner may read the files.
    pub fn private(self) -> Lines {
        Lines { private: true, ..self }
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
        let file = match self.private {
            true => self.disk.create_private(&self.path)?,
            false => self.disk.create(&self.path)?,
        };
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

/// All lines of a file and those before it, newest first. Reads blocks from the ends of files: what it holds is a block and a line.
/// A line of more than [`LINE_MAX`] bytes is passed over, and so are files that come or go meanwhile.
pub fn newest_first(disk: &Disk, path: &Path, files_max: usize) -> io::Result<NewestFirst> {
    let (mut files, mut seen) = (Vec::new(), HashSet::new());
    for n in 0..files_max {
        let path = if n == 0 { path.to_owned() } else { numbered(path, n) };
        let file = match disk.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        let found = file.metadata()?;
        // One that was renamed meanwhile is met twice.
        if seen.insert((found.dev(), found.ino())) {
            files.push((file, path, found.len()));
        }
    }
    files.reverse();
    Ok(NewestFirst { disk: disk.clone(), files, held: Vec::new(), passes_over: false })
}

/// The lines of files, from the last one on.
#[derive(Debug)]
pub struct NewestFirst {
    disk: Disk,
    /// The files that are not read to their beginning, the newest last, and how far each is to be read.
    files: Vec<(File, PathBuf, u64)>,
    /// What was read of the last file and is not handed out.
    held: Vec<u8>,
    /// The line that `held` ends with is too long.
    passes_over: bool,
}

impl NewestFirst {
    fn read_on(&mut self) -> io::Result<Option<Vec<u8>>> {
        while let Some((file, path, end)) = self.files.last_mut() {
            if let Some(at) = memchr::memrchr(b'\n', &self.held) {
                let line = self.held.split_off(at + 1);
                self.held.pop();
                if !std::mem::take(&mut self.passes_over) && !line.is_empty() {
                    return Ok(Some(line));
                }
            } else if *end > 0 {
                if self.held.len() > LINE_MAX {
                    self.passes_over = true;
                    self.held.clear();
                }
                let block = (*end).min(BLOCK);
                let mut read = vec![0; block as usize];
                self.disk.read(file, path, *end - block, &mut read)?;
                *end -= block;
                read.append(&mut self.held);
                self.held = read;
            } else {
                self.files.pop();
                let line = std::mem::take(&mut self.held);
                if !std::mem::take(&mut self.passes_over) && !line.is_empty() {
                    return Ok(Some(line));
                }
            }
        }
        Ok(None)
    }
}

impl Iterator for NewestFirst {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<io::Result<Vec<u8>>> {
        let read = self.read_on();
        if read.is_err() {
            self.files.clear();
        }
        read.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(dir: &Path, files_max: usize) -> Lines {
        Lines::new(Disk::default(), dir.join("logs/audit.log"), 20, files_max)
    }

    fn read(path: &Path, files_max: usize) -> Vec<String> {
        let lines = newest_first(&Disk::default(), path, files_max)
            .unwrap()
            .map(|line| String::from_utf8(line.unwrap()).unwrap());
        let mut lines: Vec<String> = lines.collect();
        lines.reverse();
        lines
    }

    #[test]
    fn lines_are_read_from_the_last_one_on_whatever_their_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let block = BLOCK as usize;
        let lengths = [1, block - 1, block, block + 1, 3 * block, 5, LINE_MAX - 1, LINE_MAX + 2 * block, 7, 0, 0, 9];
        let text: Vec<String> = lengths.iter().map(|length| "x".repeat(*length)).collect();
        std::fs::write(&path, text.join("\n")).unwrap();
        let wanted = |length: &&usize| **length > 0 && **length <= LINE_MAX;
        let lengths: Vec<usize> = lengths.iter().filter(wanted).copied().collect();
        assert_eq!(read(&path, 1).iter().map(String::len).collect::<Vec<_>>(), lengths);
        std::fs::write(&path, "x".repeat(LINE_MAX + 2 * block)).unwrap();
        assert!(read(&path, 1).is_empty());
    }

    #[test]
    fn files_turn_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let mut lines = lines(dir.path(), 3);
        for n in 0..9 {
            lines.append(format!("line {n}").as_bytes()).unwrap();
        }
        let path = dir.path().join("logs/audit.log");
        assert_eq!(read(&path, 3), ["line 4", "line 5", "line 6", "line 7", "line 8"]);
        assert!(!numbered(&path, 3).exists());
        lines.append(&[b'x'; 50]).unwrap();
        assert_eq!(read(&path, 3).last().unwrap().len(), 50, "a long line has a file of its own");
    }

    #[test]
    fn a_torn_line_ends_where_the_next_opening_begins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/audit.log");
        assert!(read(&path, 2).is_empty());
        lines(dir.path(), 2).append(b"whole").unwrap();
        std::fs::write(&path, "whole\nto").unwrap();
        let mut lines = lines(dir.path(), 2);
        lines.append(b"next").unwrap();
        lines.sync().unwrap().unwrap()().unwrap();
        assert!(lines.sync().unwrap().is_none());
        assert_eq!(read(&path, 2), ["whole", "to", "next"]);
    }
}
