//! A bounded ring of blocks on disk: what is worth keeping for a while, and never worth waiting for.
//!
//! A block is one write, and bears a checksum. Blocks fill files that are numbered; when all of them would have more bytes
//! than the ring may have, the oldest goes. Nothing is brought to disk: what a killed process wrote is there, and what a
//! power failure tore is passed over. `docs/format/life.md` has the bytes.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::segment::files_of;

/// What a block begins with.
const MAGIC: [u8; 4] = *b"CMLR";
/// Magic, length and checksum; first and last time are covered by the checksum.
const HEAD_LEN: usize = 12;
const TIMES_LEN: usize = 16;
/// So many files make a ring, unless they would be too small or too large for it.
const FILES: u64 = 16;
const FILE_SIZE_MIN: u64 = 64 << 10;
const FILE_SIZE_MAX: u64 = 16 << 20;
/// The longest block, bytes with its head.
pub const BLOCK_LEN_MAX: usize = 1 << 20;

/// A ring that can be added to. It has one owner.
#[derive(Debug)]
pub struct Ring {
    disk: Disk,
    dir: PathBuf,
    size: u64,
    file_size: u64,
    /// Oldest first; the last is the one that grows.
    files: VecDeque<RingFile>,
    /// The last of `files`, open. None until something is added, and after a failure.
    open: Option<File>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct RingFile {
    number: u64,
    path: PathBuf,
    len: u64,
    /// When the first thing happened that its first block tells of, in ms since 1970.
    first_time: i64,
}

/// What is in a ring at one moment. It may be read while the ring goes on.
#[derive(Clone, Debug)]
pub struct RingFiles {
    disk: Disk,
    files: Vec<RingFile>,
}

/// A block of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// When the first and the last thing happened that it tells of, in ms since 1970.
    pub times: (i64, i64),
    /// What was added.
    pub bytes: &'a [u8],
}

impl Ring {
    /// Opens the ring in `dir`, which is made when something is added. It gets at most `size` bytes.
    pub fn open(disk: &Disk, dir: &Path, size: u64) -> io::Result<Ring> {
        let mut files: Vec<RingFile> = Vec::new();
        for listed in files_of(dir).map_err(|failed| failed.error)? {
            // What is called otherwise is not ours.
            if let Some(number) = listed
                .name
                .strip_suffix(".ring")
                .and_then(|number| number.parse().ok())
                .filter(|number| *number < u64::MAX)
            {
                files.push(RingFile { number, path: listed.path, len: listed.size, first_time: i64::MAX });
            }
        }
        files.sort_by_key(|file| file.number);
        let newest = files.last().map(|file| file.number);
        for file in &mut files {
            // Of the newest, the whole: behind the last sound block there may be a torn one.
            let len = if Some(file.number) == newest { file.len } else { file.len.min(BLOCK_LEN_MAX as u64) };
            let bytes = read(disk, &file.path, len)?;
            let mut end = 0;
            for (at, block) in Blocks::of(&bytes) {
                file.first_time = file.first_time.min(block.times.0);
                end = at + HEAD_LEN + TIMES_LEN + block.bytes.len();
            }
            if Some(file.number) == newest {
                file.len = end as u64;
            }
        }
        let file_size = (size / FILES).clamp(FILE_SIZE_MIN, FILE_SIZE_MAX);
        Ok(Ring { disk: disk.clone(), dir: dir.to_owned(), size, file_size, files: files.into(), open: None })
    }

    /// Adds a block, at most [`BLOCK_LEN_MAX`] less 28 bytes long: what happened between `times`, in ms since 1970.
    ///
    /// When this fails, the block is not in the ring, and the next one may be.
    pub fn append(&mut self, times: (i64, i64), bytes: &[u8]) -> io::Result<()> {
        let block = encode(times, bytes);
        if block.len() > BLOCK_LEN_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a block of a ring would be too long"));
        }
        if self.files.back().is_none_or(|file| file.len + block.len() as u64 > self.file_size) {
            self.roll()?;
        }
        let added = self.write(&block);
        if added.is_err() {
            self.open = None;
        }
        added?;
        if let Some(file) = self.files.back_mut() {
            file.len += block.len() as u64;
            file.first_time = file.first_time.min(times.0);
        }
        Ok(())
    }

    /// Begins a new file, and deletes the oldest ones that it leaves no room for.
    fn roll(&mut self) -> io::Result<()> {
        self.open = None;
        while self.bytes() + self.file_size > self.size.max(self.file_size) {
            let Some(oldest) = self.files.front() else { break };
            self.disk.delete(&oldest.path)?;
            self.files.pop_front();
        }
        self.disk.create_directory(&self.dir)?;
        let number = self.files.back().map_or(0, |file| file.number + 1);
        let path = self.dir.join(format!("{number:020}.ring"));
        self.files.push_back(RingFile { number, path, len: 0, first_time: i64::MAX });
        Ok(())
    }

    fn write(&mut self, block: &[u8]) -> io::Result<()> {
        let Some(newest) = self.files.back() else { return Ok(()) };
        if self.open.is_none() {
            let file = self.disk.create(&newest.path)?;
            // A torn block goes, so that nothing of it can stand behind the new ones.
            self.disk.resize(&file, &newest.path, newest.len)?;
            self.open = Some(file);
        }
        let Some(file) = &self.open else { return Ok(()) };
        self.disk.write(file, &newest.path, newest.len, block)
    }

    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.len).sum()
    }

    /// When the oldest thing happened that it tells of, in ms since 1970. `None`: it is empty.
    pub fn since(&self) -> Option<i64> {
        self.files.iter().map(|file| file.first_time).min().filter(|time| *time < i64::MAX)
    }

    /// What is in it now.
    pub fn files(&self) -> RingFiles {
        RingFiles { disk: self.disk.clone(), files: self.files.iter().cloned().collect() }
    }
}

impl RingFiles {
    /// Calls `each` with every sound block that tells of something at or after `from` (ms since 1970), oldest first, as long
    /// as it answers with true. A file that went meanwhile is passed over.
    pub fn for_each(&self, from: i64, each: &mut dyn FnMut(Block<'_>) -> bool) -> io::Result<()> {
        // Files before the one in which that time lies tell of earlier things; one more counts, as a clock may be set back.
        let later = self.files.iter().position(|file| file.first_time > from).unwrap_or(self.files.len());
        for file in self.files.iter().skip(later.saturating_sub(2)) {
            let bytes = match read(&self.disk, &file.path, file.len) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                bytes => bytes?,
            };
            for (_, block) in Blocks::of(&bytes) {
                if block.times.1 >= from && !each(block) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// The beginning of a file that may be shorter meanwhile.
fn read(disk: &Disk, path: &Path, len: u64) -> io::Result<Vec<u8>> {
    if len == 0 {
        return Ok(Vec::new());
    }
    let file = disk.open(path)?;
    // A file that is larger is none of ours.
    let len = len.min(file.metadata()?.len()).min(FILE_SIZE_MAX + BLOCK_LEN_MAX as u64);
    let mut bytes = vec![0; len as usize];
    disk.read(&file, path, 0, &mut bytes)?;
    Ok(bytes)
}

fn encode(times: (i64, i64), bytes: &[u8]) -> Vec<u8> {
    let mut block = Vec::with_capacity(HEAD_LEN + TIMES_LEN + bytes.len());
    block.extend_from_slice(&MAGIC);
    block.extend_from_slice(&((TIMES_LEN + bytes.len()) as u32).to_be_bytes());
    block.extend_from_slice(&[0; 4]);
    block.extend_from_slice(&times.0.to_be_bytes());
    block.extend_from_slice(&times.1.to_be_bytes());
    block.extend_from_slice(bytes);
    let checksum = crc32fast::hash(&block[HEAD_LEN..]);
    block[8..HEAD_LEN].copy_from_slice(&checksum.to_be_bytes());
    block
}

/// The sound blocks of a file, and where each begins.
struct Blocks<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Blocks<'a> {
    fn of(bytes: &'a [u8]) -> Blocks<'a> {
        Blocks { bytes, at: 0 }
    }

    fn block_at(&self, at: usize) -> Option<Block<'a>> {
        let head = self.bytes.get(at..at + HEAD_LEN)?;
        let number = |range: std::ops::Range<usize>| head.get(range)?.try_into().ok().map(u32::from_be_bytes);
        let (len, checksum) = (number(4..8)? as usize, number(8..12)?);
        if head[..4] != MAGIC || !(TIMES_LEN..=BLOCK_LEN_MAX).contains(&len) {
            return None;
        }
        let body = self.bytes.get(at + HEAD_LEN..at + HEAD_LEN + len)?;
        if crc32fast::hash(body) != checksum {
            return None;
        }
        let time = |range: std::ops::Range<usize>| body.get(range)?.try_into().ok().map(i64::from_be_bytes);
        Some(Block { times: (time(0..8)?, time(8..16)?), bytes: &body[TIMES_LEN..] })
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = (usize, Block<'a>);

    fn next(&mut self) -> Option<(usize, Block<'a>)> {
        while self.at < self.bytes.len() {
            if let Some(block) = self.block_at(self.at) {
                let at = self.at;
                self.at += HEAD_LEN + TIMES_LEN + block.bytes.len();
                return Some((at, block));
            }
            // Torn, or damaged: the next sound one counts.
            let rest = &self.bytes[self.at + 1..];
            self.at = memchr::memmem::find(rest, &MAGIC).map_or(self.bytes.len(), |found| self.at + 1 + found);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn open(dir: &Path, size: u64) -> Ring {
        Ring::open(&Disk::default(), dir, size).unwrap()
    }

    fn texts(ring: &Ring, from: i64) -> Vec<String> {
        let mut texts = Vec::new();
        let mut each = |block: Block<'_>| {
            texts.push(String::from_utf8(block.bytes.to_vec()).unwrap());
            true
        };
        ring.files().for_each(from, &mut each).unwrap();
        texts
    }

    #[test]
    fn what_was_added_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut ring = open(dir.path(), 1 << 20);
        assert_eq!((texts(&ring, 0), ring.since(), ring.bytes()), (vec![], None, 0));
        ring.append((1, 2), b"one").unwrap();
        ring.append((3, 4), b"two").unwrap();
        let mut ring = open(dir.path(), 1 << 20);
        assert_eq!((texts(&ring, 0), ring.since()), (vec!["one".into(), "two".into()], Some(1)));
        ring.append((5, 6), b"three").unwrap();
        assert_eq!(texts(&ring, 3), ["two", "three"], "what is older than asked for is left out");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a restart begins no new file");
    }

    #[test]
    fn the_oldest_goes_when_it_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let size = 4 * FILE_SIZE_MIN;
        let mut ring = open(dir.path(), size);
        for n in 0..100 {
            ring.append((n, n), format!("{n:<10000}").as_bytes()).unwrap();
            assert!(ring.bytes() <= size);
        }
        let on_disk: u64 = fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().metadata().unwrap().len()).sum();
        assert_eq!(on_disk, ring.bytes());
        let kept: Vec<i64> = texts(&ring, 0).iter().map(|text| text.trim().parse().unwrap()).collect();
        assert!(kept.len() >= 18 && kept.last() == Some(&99) && kept.is_sorted(), "{kept:?}");
        assert_eq!(ring.since(), kept.first().copied());
        assert_eq!(texts(&ring, 98).len(), 2, "only what is asked for");
        // A smaller ring keeps less, as soon as it goes on.
        let mut ring = open(dir.path(), FILE_SIZE_MIN);
        for n in 100..110 {
            ring.append((n, n), format!("{n:<10000}").as_bytes()).unwrap();
        }
        assert!(ring.bytes() <= FILE_SIZE_MIN);
    }

    #[test]
    fn torn_and_damaged_blocks_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let mut ring = open(dir.path(), 1 << 20);
        for text in ["one", "two", "three"] {
            ring.append((1, 1), text.as_bytes()).unwrap();
        }
        let file = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        let sound = fs::read(&file).unwrap();
        for cut in 0..sound.len() {
            fs::write(&file, &sound[..cut]).unwrap();
            let mut ring = open(dir.path(), 1 << 20);
            let before = texts(&ring, 0);
            assert!(["one", "two", "three"].starts_with(&before.iter().map(String::as_str).collect::<Vec<_>>()));
            ring.append((2, 2), b"behind").unwrap();
            let after = texts(&open(dir.path(), 1 << 20), 0);
            assert_eq!(after.last().map(String::as_str), Some("behind"), "cut at {cut}");
            assert_eq!(after.len(), before.len() + 1);
        }
        for at in 0..sound.len() {
            let mut damaged = sound.clone();
            damaged[at] ^= 0x55;
            fs::write(&file, &damaged).unwrap();
            let left = texts(&open(dir.path(), 1 << 20), 0);
            assert_eq!(left.len(), 2, "damaged at {at}: {left:?}");
        }
    }
}
