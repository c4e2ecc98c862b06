//! The file `checkpoint`: how far log, consume queues and index are known to be on disk.
//!
//! 4096 bytes, of which six big-endian 64-bit numbers are Apache's, in the order of [`Checkpoint`]'s fields. The last bytes of
//! the first sector are ours: a magic number and a checksum of these numbers. All of it lies in that sector, so a write is
//! there wholly or not at all. Every number is only raised after what it speaks of was brought to disk: an old checkpoint makes
//! recovery longer, never wrong. One with numbers that are too high would: with our magic number and another checksum it
//! says nothing of what is on disk, be it that it is damaged or that another broker wrote it since.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;
use crate::segment::{Access, Segment};

const SIZE: u64 = 4096;
const USED: usize = 512;
const NUMBERS: usize = 48;
/// Of our last bytes: magic number 8, checksum 4, 0: 4.
const OURS: usize = USED - 16;
const MAGIC: [u8; 8] = *b"CometMQ\x01";

/// The numbers of the file.
#[doc(alias = "StoreCheckpoint")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Store timestamp of the last message that is on disk in the log.
    pub log_timestamp: i64,
    /// Store timestamp of the last message whose consume queue entry is on disk.
    pub queue_timestamp: i64,
    /// Store timestamp of the last entry of the last full index file that is on disk.
    pub index_timestamp: i64,
    /// Used by replication; kept as it is.
    pub master_flushed: i64,
    /// Used by replication; kept as it is.
    pub confirmed: i64,
    /// Commit log offset up to which all consume queue and index entries are on disk.
    #[doc(alias = "logicsPhysicalOffset")]
    pub dispatched: i64,
}

impl Checkpoint {
    /// The same without times after `latest`, which must be wrong.
    pub(crate) fn believed(self, latest: i64) -> Checkpoint {
        let believed = |timestamp| if timestamp <= latest { timestamp } else { 0 };
        Checkpoint {
            log_timestamp: believed(self.log_timestamp),
            queue_timestamp: believed(self.queue_timestamp),
            index_timestamp: believed(self.index_timestamp),
            ..self
        }
    }

    fn decode(bytes: &[u8; USED]) -> Checkpoint {
        let mut numbers = bytes[..NUMBERS].as_chunks::<8>().0.iter().map(|number| i64::from_be_bytes(*number).max(0));
        let mut next = || numbers.next().unwrap_or(0);
        let read = Checkpoint {
            log_timestamp: next(),
            queue_timestamp: next(),
            index_timestamp: next(),
            master_flushed: next(),
            confirmed: next(),
            dispatched: next(),
        };
        let checksum = crc32fast::hash(&bytes[..NUMBERS]).to_be_bytes();
        if bytes[OURS..OURS + 8] == MAGIC && bytes[OURS + 8..OURS + 12] != checksum {
            return Checkpoint { index_timestamp: 0, dispatched: 0, ..read };
        }
        read
    }
}

/// What the file at `path` says, without opening it for more; `None` if it is too short.
pub(crate) fn look(disk: &Disk, path: &Path, size: u64) -> io::Result<Option<Checkpoint>> {
    if size < NUMBERS as u64 {
        return Ok(None);
    }
    let mut bytes = [0; USED];
    let there = &mut bytes[..size.min(USED as u64) as usize];
    Segment::existing(disk, path.to_owned(), 0, size, Access::Random).read(there, 0)?;
    Ok(Some(Checkpoint::decode(&bytes)))
}

/// The open file.
#[derive(Debug)]
pub(crate) struct CheckpointFile {
    segment: Arc<Segment>,
}

impl CheckpointFile {
    /// Opens or creates the file. What is missing from it reads as 0.
    pub(crate) fn open(disk: &Disk, path: PathBuf) -> io::Result<(CheckpointFile, Checkpoint)> {
        let size = fs::metadata(&path).map_or(0, |found| found.len());
        let segment = match size {
            0..SIZE => Segment::create(disk, path, 0, SIZE, Access::Random)?,
            _ => Segment::existing(disk, path, 0, size, Access::Random),
        };
        let mut bytes = [0; USED];
        segment.read(&mut bytes, 0)?;
        Ok((CheckpointFile { segment }, Checkpoint::decode(&bytes)))
    }

    /// Writes the numbers and brings them to disk.
    pub(crate) fn save(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        let mut bytes = [0; USED];
        let numbers = [
            checkpoint.log_timestamp,
            checkpoint.queue_timestamp,
            checkpoint.index_timestamp,
            checkpoint.master_flushed,
            checkpoint.confirmed,
            checkpoint.dispatched,
        ];
        for (place, number) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
            *place = number.to_be_bytes();
        }
        bytes[OURS..OURS + 8].copy_from_slice(&MAGIC);
        let checksum = crc32fast::hash(&bytes[..NUMBERS]);
        bytes[OURS + 8..OURS + 12].copy_from_slice(&checksum.to_be_bytes());
        self.segment.write(&bytes, 0)?;
        self.segment.sync()
    }
}
