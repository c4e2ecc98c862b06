//! What a store holds, as far as its files say it without being read through.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use protocol::message::CommitLogOffset;
use protocol::record::{Record, store_timestamp_at};

use super::{Directory, Piece};
use crate::consume_queue::{ENTRY_LEN, Entry, partition_point};
use crate::index::{HEADER_LEN, Header};
use crate::segment::{Segment, Segments};

/// What there is of one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSummary {
    /// Its topic.
    pub topic: String,
    /// Its number in the topic.
    pub queue_id: u32,
    /// Queue offset of the oldest message.
    pub min: i64,
    /// Queue offset behind the newest message.
    pub max: i64,
    /// Bytes that its messages take in the log.
    pub bytes: u64,
}

/// What there is of the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexSummary {
    /// Files.
    pub files: usize,
    /// Keys of messages in them.
    pub entries: u64,
}

/// What a directory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Commit log offset of the first byte of the log.
    pub log_min: i64,
    /// Commit log offset behind the last record that any queue points to, or that the checkpoint speaks of.
    pub log_max: i64,
    /// Files of the log.
    pub log_files: usize,
    /// Bytes that the files of the log take on the disk.
    pub log_bytes_on_disk: u64,
    /// Store timestamp of the oldest record, in ms since 1970.
    pub oldest: Option<i64>,
    /// Store timestamp of the newest record that any queue points to, in ms since 1970.
    pub newest: Option<i64>,
    /// The queues, by topic and number.
    pub queues: Vec<QueueSummary>,
    /// The index.
    pub index: IndexSummary,
    /// From the checkpoint: store timestamp of the last message whose queue entry is known to be on disk.
    pub checkpoint_timestamp: Option<i64>,
    /// From the checkpoint: commit log offset up to which queues and index are known to be on disk; 0: it does not say.
    pub checkpoint_dispatched: Option<i64>,
}

impl Directory {
    /// Reads the consume queues, the heads of the index files, and two records.
    pub fn summary(&self) -> io::Result<Summary> {
        let log_min = self.log_min();
        let mut queues = Vec::new();
        let mut last: Option<Entry> = None;
        for ((topic, queue_id), files) in &self.queues {
            let Some((min, max)) = bounds(files, log_min)? else { continue };
            let mut bytes = 0;
            for_entries(files, min, max, &mut |_, entry| {
                if entry.has_message() {
                    bytes += entry.size.max(0) as u64;
                    if last.is_none_or(|last| last.at < entry.at) {
                        last = Some(entry);
                    }
                }
            })?;
            queues.push(QueueSummary { topic: topic.clone(), queue_id: *queue_id, min, max, bytes });
        }
        let mut oldest = None;
        self.walk(CommitLogOffset(log_min), &mut |piece| match piece {
            Piece::Record { record, .. } => {
                oldest = Some(record.store_timestamp);
                ControlFlow::Break(())
            }
            Piece::Damaged(_) => ControlFlow::Continue(()),
        });
        let newest = last.and_then(|last| self.store_timestamp(&last));
        let mut index = IndexSummary { files: self.index.len(), entries: 0 };
        for file in &self.index {
            index.entries += header(file)?.count.saturating_sub(1).max(0) as u64;
        }
        let log = self.log.all();
        let log_end = log.last().map_or(0, |last| last.end());
        // Records of topics that were deleted are still there.
        let dispatched = self.checkpoint.map_or(0, |checkpoint| checkpoint.dispatched.min(log_end));
        Ok(Summary {
            log_min,
            log_max: last.map_or(log_min, |last| last.end()).max(dispatched),
            log_files: log.len(),
            log_bytes_on_disk: log.iter().map(|file| bytes_on_disk(file)).sum(),
            oldest,
            newest,
            queues,
            index,
            checkpoint_timestamp: self.checkpoint.map(|checkpoint| checkpoint.queue_timestamp),
            checkpoint_dispatched: self.checkpoint.map(|checkpoint| checkpoint.dispatched),
        })
    }

    fn store_timestamp(&self, entry: &Entry) -> Option<i64> {
        let segment = self.log.holding(entry.at)?;
        let position = (entry.at - segment.base) as u64;
        let mut bytes = vec![0; (entry.size.max(0) as u64).min(segment.size - position) as usize];
        segment.read(&mut bytes, position).ok()?;
        if Record::parse(&bytes).is_err() {
            return None;
        }
        let at = store_timestamp_at(&bytes)?;
        Some(i64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
    }
}

pub(super) fn header(file: &Arc<Segment>) -> io::Result<Header> {
    let mut bytes = [0; HEADER_LEN as usize];
    file.read(&mut bytes, 0)?;
    Ok(Header::decode(&bytes))
}

fn bytes_on_disk(segment: &Segment) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(&segment.path).map_or(0, |found| found.blocks() * 512)
}

/// Queue offset of the first entry whose record the log still has, and that behind the last.
fn bounds(files: &Segments, log_min: i64) -> io::Result<Option<(i64, i64)>> {
    let mut max = None;
    for segment in files.all().iter().rev() {
        let count = partition_point(0, (segment.size / ENTRY_LEN as u64) as i64, |n| {
            io::Result::Ok(entry(segment, n)?.is_there())
        })?;
        if count > 0 {
            max = Some(segment.base / ENTRY_LEN as i64 + count);
            break;
        }
    }
    let (Some(first), Some(max)) = (files.first(), max) else { return Ok(None) };
    let min = partition_point(first.base / ENTRY_LEN as i64, max, |offset| {
        let Some(segment) = files.holding(offset * ENTRY_LEN as i64) else { return Ok(false) };
        let entry = entry(&segment, offset - segment.base / ENTRY_LEN as i64)?;
        io::Result::Ok(entry.at < log_min || entry.at == 0 && !entry.has_message())
    })?;
    Ok(Some((min, max)))
}

fn entry(segment: &Arc<Segment>, n: i64) -> io::Result<Entry> {
    let mut bytes = [0; ENTRY_LEN];
    segment.read(&mut bytes, n as u64 * ENTRY_LEN as u64)?;
    Ok(Entry::decode(&bytes))
}

/// Visits the entries `from..end` as far as there are files for them.
pub(super) fn for_entries(files: &Segments, from: i64, end: i64, visit: &mut dyn FnMut(i64, Entry)) -> io::Result<()> {
    const AT_A_TIME: i64 = 50_000;
    let mut bytes = Vec::new();
    for segment in files.all() {
        let first = segment.base / ENTRY_LEN as i64;
        let mut next = from.max(first);
        let end = end.min(first + (segment.size / ENTRY_LEN as u64) as i64);
        while next < end {
            let count = (end - next).min(AT_A_TIME);
            bytes.resize(count as usize * ENTRY_LEN, 0);
            segment.read(&mut bytes, (next - first) as u64 * ENTRY_LEN as u64)?;
            for (n, entry) in bytes.as_chunks::<ENTRY_LEN>().0.iter().map(Entry::decode).enumerate() {
                visit(next + n as i64, entry);
            }
            next += count;
        }
    }
    Ok(())
}
