//! Read path: from a queue offset to records, as files or as bytes.
//!
//! 1. take entries from the queue, by tags code, up to the limits; where properties decide, look at the records of so many
//!    entries as one turn may cost, and keep those that are wanted
//! 2. read what stands close together in the log at once, and compare every record with its checksum and its entry
//! 3. hand out what is sound: as bytes, or, if it is much, as a piece of its file, to be sent without taking memory
//!
//! Every record is checked whenever it is read, whoever wrote it and however long ago: the disk, the kernel's cache or
//! somebody with an editor may have changed it since. A damaged record is never served, and never passed over in silence:
//! reading stops before it, and a read that begins with it says what, where and why.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use protocol::message::{CommitLogOffset, JavaHash, Properties, QueueOffset};
use protocol::record::{OUTLINE_LEN, Outline, Record};

use crate::commit_log::BLANK_LEN;
use crate::consume_queue::{Entry, Queue};
use crate::dispatch::{Keys, SCHEDULE_TOPIC, index_hash};
use crate::lost;
use crate::put::is_queued;
use crate::recover::{Met, OpenError, Walk, walk};
use crate::segment::{FileSlice, Segment};
use crate::{Inner, Store};

/// Queue entries looked at in one call, unless more messages are wanted.
const SCAN_ENTRIES: usize = 800;
/// Bytes of records looked at in one call where properties decide: about as long as it takes to send as many.
const LOOKED_AT_BYTES: usize = 256 << 10;
/// Bytes of records read at a time to look at them, unless one alone is larger.
const LOOK_STEP_BYTES: usize = 64 << 10;
/// Entries taken from a queue at a time.
const SCAN_STEP: usize = 256;
/// Bytes of records read at a time to hand them out, unless one alone is larger.
const READ_STEP_BYTES: usize = 256 << 10;
/// What was read is handed out as bytes up to here. A longer piece is sent from its file, so that a reader that takes it
/// slowly does not keep it in memory.
const IN_MEMORY_MAX: usize = 48 << 10;
/// Reading over gaps is worth it while the span is at most this many times what is wanted.
const SPAN_FACTOR: u64 = 4;
/// A record whose queue entry is damaged is looked for in so many bytes of the log.
const SEARCH_MAX: i64 = 64 << 20;
/// A record that says it has more bytes is looked at from both ends before room is made for it.
const BELIEVED_MAX: usize = 1 << 20;

/// What became of a [`Store::get_message`].
#[doc(alias = "GetMessageStatus")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GetStatus {
    /// Here are messages.
    Found,
    /// There is no such queue.
    NoMatchedLogicQueue,
    /// The queue never had a message.
    NoMessageInQueue,
    /// The queue begins behind the offset.
    OffsetTooSmall,
    /// The queue ends at the offset: the next message will be it.
    OffsetOverflowOne,
    /// The queue ends before the offset.
    OffsetOverflowBadly,
    /// No message that was looked at matches.
    NoMatchedMessage,
    /// The message was just removed, its time being over.
    MessageWasRemoving,
    /// The message is there but cannot be read.
    Damaged(Box<Damage>),
}

/// A message that is there but cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Topic of the queue.
    pub topic: String,
    /// Queue of the topic.
    pub queue_id: u32,
    /// Place in the queue.
    pub offset: QueueOffset,
    /// Place in the commit log.
    pub at: CommitLogOffset,
    /// File of the commit log.
    pub file: PathBuf,
    /// Byte of that file.
    pub position: u64,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "message {} of topic `{}` queue {} is damaged ({}, byte {}: {}); messages before and behind it are not affected",
            self.offset,
            self.topic,
            self.queue_id,
            self.file.display(),
            self.position,
            self.reason
        )
    }
}

/// Whole records, one behind the other.
#[derive(Clone, Debug)]
pub enum Part {
    /// In a file.
    File(FileSlice),
    /// In memory.
    Bytes(Bytes),
}

impl Part {
    /// The records as bytes, read if they are in a file.
    pub fn to_bytes(&self) -> io::Result<Bytes> {
        match self {
            Part::Bytes(bytes) => Ok(bytes.clone()),
            Part::File(slice) => slice.read(),
        }
    }
}

/// What a [`Store::get_message`] got.
#[doc(alias = "GetMessageResult")]
#[derive(Clone, Debug)]
pub struct Got {
    /// Were there messages, and if not, why?
    pub status: GetStatus,
    /// The records, in their order.
    pub parts: Vec<Part>,
    /// Bytes of all parts.
    pub bytes: usize,
    /// Messages in all parts.
    pub count: usize,
    /// Where to go on.
    pub next: QueueOffset,
    /// Oldest offset of the queue.
    pub min: QueueOffset,
    /// Offset behind the newest of the queue.
    pub max: QueueOffset,
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No sound record begins there.
    #[error("no sound record begins at {at} of the commit log ({file}, byte {position}): {reason}", file = .file.display())]
    Damaged {
        /// Place in the commit log.
        at: CommitLogOffset,
        /// File of the commit log.
        file: PathBuf,
        /// Byte of that file.
        position: u64,
        /// What is wrong.
        reason: String,
    },
    /// The file could not be read.
    #[error("cannot read {file} at byte {position}: {error}", file = .file.display())]
    Io {
        /// File of the commit log.
        file: PathBuf,
        /// Byte of that file.
        position: u64,
        /// What the operating system said.
        error: io::Error,
    },
}

impl Store {
    /// Messages of a queue from `from` on: at most `max_count`, and at most `max_bytes` but at least one.
    ///
    /// `filter` is asked with the tags code of each message (0: no tags) and says whether it is wanted.
    pub fn get_message(
        &self,
        topic: &str,
        queue_id: u32,
        from: QueueOffset,
        max_count: usize,
        max_bytes: usize,
        filter: &dyn Fn(i64) -> bool,
    ) -> Got {
        let Some(queue) = self.inner.queues.get(topic, queue_id) else {
            return nothing(GetStatus::NoMatchedLogicQueue, 0, (0, 0));
        };
        self.inner.get_message(&queue, from.0, max_count, max_bytes, Filter::Codes(filter))
    }

    /// As [`Store::get_message`], but what `matching` says of the record of each message decides, too.
    ///
    /// At most 800 messages or 256 KiB of records are looked at in one call, so that a rare match does not keep the caller:
    /// with [`GetStatus::NoMatchedMessage`], the next call goes on from [`Got::next`].
    pub fn get_matching(
        &self,
        topic: &str,
        queue_id: u32,
        from: QueueOffset,
        max_count: usize,
        max_bytes: usize,
        matching: Matching<'_>,
    ) -> Got {
        let Some(queue) = self.inner.queues.get(topic, queue_id) else {
            return nothing(GetStatus::NoMatchedLogicQueue, 0, (0, 0));
        };
        self.inner.get_message(&queue, from.0, max_count, max_bytes, Filter::Records(matching))
    }

    /// The record at `at`, checked. `None` if the log begins behind it or ends before it, or if its topic was deleted since
    /// or keeps it no longer.
    #[doc(alias = "lookMessageByOffset")]
    pub fn read(&self, at: CommitLogOffset) -> Result<Option<Bytes>, ReadError> {
        self.inner.read(at)
    }
}

impl Store {
    /// Tells that a [`Part::File`] could not be read while it was sent, though it had been when it was checked.
    pub fn could_not_send(&self, file: &Arc<File>, at: u64, error: &io::Error) {
        let log = &self.inner.log;
        let segment = log.segments.all().into_iter().find(|segment| segment.is_open_as(file));
        let path = segment.map_or_else(|| log.segments.dir().join("(deleted)"), |segment| segment.path.clone());
        tracing::error!(
            "{} could not be read at byte {at} while messages were sent from it: {error}; the connection is closed, and \
             further pulls of these messages are refused by name: check the disk",
            path.display()
        );
    }
}

fn nothing(status: GetStatus, next: i64, (min, max): (i64, i64)) -> Got {
    Got {
        status,
        parts: Vec::new(),
        bytes: 0,
        count: 0,
        next: QueueOffset(next),
        min: QueueOffset(min),
        max: QueueOffset(max),
    }
}

/// What a filter says of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is wanted.
    Wanted,
    /// It is passed over.
    Unwanted,
    /// It is not looked at any more, nor is what is behind it: the next call begins here. The first record of a call must
    /// not be met with this, or no call gets on.
    Enough,
}

impl From<bool> for Verdict {
    fn from(wanted: bool) -> Verdict {
        if wanted { Verdict::Wanted } else { Verdict::Unwanted }
    }
}

/// Which messages are wanted where records decide: those whose tags code and whose record pass.
#[derive(Clone, Copy)]
pub struct Matching<'a> {
    /// Asked first, with the tags code (0: no tags).
    pub codes: &'a dyn Fn(i64) -> bool,
    /// Asked with the record.
    pub records: &'a dyn Fn(&Record) -> Verdict,
}

/// Which messages are wanted.
#[derive(Clone, Copy)]
pub(crate) enum Filter<'a> {
    /// By their tags codes, which stand in the queue.
    Codes(&'a dyn Fn(i64) -> bool),
    /// By what stands in the log as well.
    Records(Matching<'a>),
}

impl Filter<'_> {
    fn passes_code(&self, code: i64) -> bool {
        match self {
            Filter::Codes(passes) | Filter::Records(Matching { codes: passes, .. }) => passes(code),
        }
    }
}

/// A message that is wanted.
#[derive(Clone, Copy)]
struct Wanted {
    offset: i64,
    entry: Entry,
}

impl Inner {
    pub(crate) fn get_message(
        &self,
        queue: &Queue,
        from: i64,
        max_count: usize,
        max_bytes: usize,
        filter: Filter,
    ) -> Got {
        let got = self.get_by_entries(queue, from, max_count, max_bytes, filter);
        match &got.status {
            // Perhaps it is only the queue's entry that is damaged, which can be made again.
            GetStatus::Damaged(damage) if self.put_entry_right(queue, damage) => {
                self.get_by_entries(queue, from, max_count, max_bytes, filter)
            }
            _ => got,
        }
    }

    fn get_by_entries(&self, queue: &Queue, from: i64, max_count: usize, max_bytes: usize, filter: Filter) -> Got {
        let (min, max) = queue.bounds();
        let got = |status, next| nothing(status, next, (min, max));
        if max == 0 {
            return got(GetStatus::NoMessageInQueue, 0);
        } else if from < min {
            return got(GetStatus::OffsetTooSmall, min);
        } else if from == max {
            return got(GetStatus::OffsetOverflowOne, from);
        } else if from > max {
            return got(GetStatus::OffsetOverflowBadly, max);
        }

        let log_min = self.log.min();
        let mut wanted: Vec<Wanted> = Vec::new();
        let mut stopped = None;
        // The entry of what stopped it says where its record is.
        let mut is_placed = false;
        let (mut next, mut bytes) = (from, 0);
        // Where records decide, this is how many are looked at; `select` keeps what the caller asked for.
        let (count_end, bytes_end) = match filter {
            Filter::Codes(_) => (max_count, max_bytes),
            Filter::Records(_) => (SCAN_ENTRIES, LOOKED_AT_BYTES),
        };
        let scan_end = max.min(from.saturating_add(SCAN_ENTRIES.max(count_end) as i64));
        'scan: while next < scan_end && wanted.len() < count_end {
            let step = if next == from { count_end.max(1) } else { SCAN_STEP };
            let entries = match queue.entries(next, step.min((scan_end - next) as usize)) {
                Ok(entries) if !entries.is_empty() => entries,
                // Old messages are being deleted meanwhile.
                _ if queue.bounds().0 > next && wanted.is_empty() => {
                    return got(GetStatus::MessageWasRemoving, queue.bounds().0);
                }
                _ if queue.bounds().0 > next => break,
                Ok(_) => break,
                Err(error) => {
                    stopped = Some(self.damage(queue, next, 0, format!("its queue entry cannot be read: {error}")));
                    break;
                }
            };
            for entry in entries {
                if !entry.has_message() || !entry.is_there() {
                    let reason = if entry.is_lost() { lost::REASON } else { "the log has no readable record of it" };
                    let reason = reason.to_owned();
                    stopped = Some(self.damage(queue, next, entry.at, reason));
                    break 'scan;
                }
                if !is_extended(entry.tags_code) && !filter.passes_code(entry.tags_code) {
                    next += 1;
                    continue;
                }
                let size = entry.size as usize;
                if !wanted.is_empty() && bytes + size > bytes_end {
                    break 'scan;
                }
                if entry.at < log_min {
                    if wanted.is_empty() {
                        return got(GetStatus::MessageWasRemoving, queue.bounds().0.max(next + 1));
                    }
                    break 'scan;
                }
                bytes += size;
                wanted.push(Wanted { offset: next, entry });
                next += 1;
                if wanted.len() == count_end {
                    break 'scan;
                }
            }
        }
        if let Filter::Records(matching) = filter {
            (wanted, next) = self.select(queue, &wanted, next, max_count, max_bytes, matching.records);
        }

        let (parts, count, bytes, damage) = self.fetch(queue, &wanted);
        if let Some(damage) = damage {
            next = damage.offset.0;
            stopped = Some(damage);
            is_placed = true;
        }
        let status = match stopped {
            _ if count > 0 => GetStatus::Found,
            // Nothing of what was looked at is wanted, and the limit came before the damage.
            Some(damage) if damage.offset.0 != next => GetStatus::NoMatchedMessage,
            // Meanwhile its time was over, or an operator has taken note that it is lost.
            Some(damage) if is_placed && damage.at.0 < self.log.min() || damage.reason == lost::REASON => {
                next = queue.bounds().0.max(damage.offset.0 + 1);
                GetStatus::MessageWasRemoving
            }
            Some(damage) => {
                next = damage.offset.0 + 1;
                GetStatus::Damaged(Box::new(damage))
            }
            None => GetStatus::NoMatchedMessage,
        };
        Got { status, parts, bytes, count, next: QueueOffset(next), min: QueueOffset(min), max: QueueOffset(max) }
    }

    /// Those of `looked_at` whose records pass, up to the limits, and the offset to go on from: `next` if all were looked at.
    ///
    /// What cannot be read, and what is damaged, passes too: `fetch` comes upon it, and tells.
    fn select(
        &self,
        queue: &Queue,
        looked_at: &[Wanted],
        next: i64,
        max_count: usize,
        max_bytes: usize,
        judge: &dyn Fn(&Record) -> Verdict,
    ) -> (Vec<Wanted>, i64) {
        let mut kept: Vec<Wanted> = Vec::new();
        let mut bytes = 0;
        let mut span = Vec::new();
        let mut rest = looked_at;
        while let Some(first) = rest.first() {
            let (together, after) = rest.split_at(self.close_together(rest, LOOK_STEP_BYTES));
            rest = after;
            let begin = first.entry.at;
            let end = together.last().map_or(begin, |last| last.entry.end());
            let read = self.place(CommitLogOffset(begin)).filter(|(segment, _)| end <= segment.end()).is_some_and(
                |(segment, position)| {
                    span.resize((end - begin) as usize, 0);
                    segment.read(&mut span, position).is_ok()
                },
            );
            for wanted in together {
                let (at, size) = (wanted.entry.at, wanted.entry.size as usize);
                let record =
                    if read { span.get((at - begin) as usize..).and_then(|bytes| bytes.get(..size)) } else { None };
                let sound = record.filter(|bytes| check(bytes, at, Some((queue, wanted))).is_ok());
                match sound.and_then(|bytes| Record::parse(bytes).ok()).map(|record| judge(&record)) {
                    Some(Verdict::Wanted) | None => {}
                    Some(Verdict::Unwanted) => continue,
                    Some(Verdict::Enough) => return (kept, wanted.offset),
                }
                if kept.len() >= max_count.max(1) || !kept.is_empty() && bytes + size > max_bytes {
                    return (kept, wanted.offset);
                }
                bytes += size;
                kept.push(*wanted);
            }
        }
        (kept, next)
    }

    /// How many of these are read at once: at least one, in one file, with not too much between them.
    fn close_together(&self, wanted: &[Wanted], bytes_max: usize) -> usize {
        let Some((first, others)) = wanted.split_first() else { return 0 };
        let Some((segment, _)) = self.place(CommitLogOffset(first.entry.at)) else { return 1 };
        let mut useful = i64::from(first.entry.size);
        let mut end = first.entry.end();
        let more = others.iter().take_while(|wanted| {
            let begin = wanted.entry.at;
            let after = wanted.entry.end();
            useful += i64::from(wanted.entry.size);
            let close = begin >= end
                && after <= segment.end()
                && after - first.entry.at <= (bytes_max as i64).min(SPAN_FACTOR as i64 * useful);
            end = after;
            close
        });
        1 + more.count()
    }

    /// Records of `wanted` up to the first that is damaged: in parts, how many, how many bytes, and the damage.
    fn fetch(&self, queue: &Queue, wanted: &[Wanted]) -> (Vec<Part>, usize, usize, Option<Damage>) {
        let mut fetched = Fetched::default();
        let mut bytes = Vec::new();
        let (mut count, mut rest, mut one_by_one) = (0, wanted, false);
        let damage = loop {
            let Some(first) = rest.first() else { break None };
            let damage = |wanted: &Wanted, reason| Some(self.damage(queue, wanted.offset, wanted.entry.at, reason));
            let begin = first.entry.at;
            let Some((segment, position)) = self.place(CommitLogOffset(begin)) else {
                break damage(first, "its file is gone".to_owned());
            };
            if first.entry.end() > segment.end() {
                break damage(first, format!("its queue entry says {} bytes, its file ends before", first.entry.size));
            }
            let together = if one_by_one { 1 } else { self.close_together(rest, READ_STEP_BYTES) };
            let (together, after) = rest.split_at(together);
            let end = together.last().map_or(begin, |last| last.entry.end());
            bytes.resize((end - begin) as usize, 0);
            match segment.read(&mut bytes, position) {
                Ok(()) => {}
                // Which of them cannot be read shows when each is read for itself.
                Err(_) if together.len() > 1 => {
                    one_by_one = true;
                    continue;
                }
                Err(error) => break damage(first, format!("cannot read it: {error}")),
            }
            let unsound = together.iter().enumerate().find_map(|(n, wanted)| {
                let record = &bytes[(wanted.entry.at - begin) as usize..][..wanted.entry.size as usize];
                Some((n, wanted, check(record, wanted.entry.at, Some((queue, wanted))).err()?))
            });
            let sound = unsound.as_ref().map_or(together, |(n, ..)| &together[..*n]);
            count += sound.len();
            if let Err(error) = fetched.take(&mut bytes, sound, &segment, position) {
                break damage(first, format!("cannot read it: {error}"));
            }
            if let Some((_, wanted, reason)) = unsound {
                break damage(wanted, reason);
            }
            rest = after;
        };
        let (parts, len) = fetched.into_parts();
        (parts, count, len, damage)
    }

    /// Looks for the record of a message between those of its neighbours, once. Says whether the queue has a new entry.
    fn put_entry_right(&self, queue: &Queue, damage: &Damage) -> bool {
        let offset = damage.offset.0;
        let found = match queue.entry(offset) {
            // An entry of no message was written on purpose: there is no record.
            Ok(Some(entry)) if entry.has_message() && queue.give_up(offset) => {
                self.search_record(queue, offset, &entry)
            }
            _ => return false,
        };
        let put_right = match found {
            Ok(Some(entry)) => queue.put_right(offset, entry),
            Ok(None) => return false,
            Err(error) => Err(error),
        };
        match put_right {
            Ok(()) => tracing::warn!("the entry of message {offset} in {queue:?} was damaged; made again from the log"),
            Err(error) => tracing::warn!("the entry of message {offset} in {queue:?} is damaged and stays so: {error}"),
        }
        true
    }

    /// The entry that the record of a message gives, if that differs from `known`.
    fn search_record(&self, queue: &Queue, offset: i64, known: &Entry) -> io::Result<Option<Entry>> {
        let neighbour = |offset: i64| -> io::Result<Option<Entry>> {
            Ok(queue.entry(offset)?.filter(|entry| entry.is_there() && entry.has_message()))
        };
        let from = neighbour(offset - 1)?.map_or(0, |before| before.end()).max(self.log.min());
        let after = neighbour(offset + 1)?.map(|after| after.at).filter(|after| *after > from);
        let end = after.unwrap_or(self.log.published()).min(from.saturating_add(SEARCH_MAX));
        let mut found = None;
        let how = Walk { verify_crc: true, after_crash: None, until: end };
        let walked = walk(&self.log.segments, from, how, &mut |met| {
            let Met::Record(record) = met else { return Ok(()) };
            if record.topic == queue.topic()
                && record.queue_id == queue.queue_id() as i32
                && record.queue_offset.0 == offset
                && is_queued(record.sys_flag)
            {
                let (topic_hash, properties) = (queue.topic_hash(), record.properties);
                let keys = Keys::derive(&self.config, record.topic, topic_hash, record.sys_flag, properties);
                let tags_code = keys.tags_code(record.store_timestamp);
                let entry = Entry { at: record.commit_log_offset.0, size: record.bytes.len() as i32, tags_code };
                let tags = Some(tags_of(properties)).filter(|tags| !tags.is_empty());
                let indexed = tags.map(|tags| index_hash(topic_hash.update("T#").update_bytes(tags)));
                found = Some((entry, indexed, record.store_timestamp));
            }
            Ok(())
        });
        if let Err(OpenError::Io { error, .. }) = walked {
            return Err(error);
        }
        let Some((entry, tags, stored)) = found else { return Ok(None) };
        let only_tags_differ = (entry.at, entry.size) == (known.at, known.size);
        if only_tags_differ && !self.index_has(tags, entry.at, stored)? {
            return Ok(None); // the record's tags may be as wrong as the entry's
        }
        Ok(Some(entry))
    }

    /// Does the index know a record under the hash of its tags?
    fn index_has(&self, hash: Option<u32>, at: i64, stored: i64) -> io::Result<bool> {
        let (Some(index), Some(hash)) = (&self.index, hash) else { return Ok(false) };
        Ok(index.lock().find(hash, usize::MAX, stored, stored.saturating_add(1000))?.at.contains(&at))
    }

    fn damage(&self, queue: &Queue, offset: i64, at: i64, reason: String) -> Damage {
        let place = self.place(CommitLogOffset(at));
        Damage {
            topic: queue.topic().to_owned(),
            queue_id: queue.queue_id(),
            offset: QueueOffset(offset),
            at: CommitLogOffset(at),
            position: place.as_ref().map_or(0, |(_, position)| *position),
            file: place.map_or_else(|| self.log.segments.dir().to_owned(), |(segment, _)| segment.path.clone()),
            reason,
        }
    }

    pub(crate) fn read(&self, at: CommitLogOffset) -> Result<Option<Bytes>, ReadError> {
        if at.0 < self.log.min() || at.0 >= self.log.published() {
            return Ok(None);
        }
        let Some((segment, position)) = self.place(at) else { return Ok(None) };
        let bytes = read_record(&segment, position, at.0)?;
        let kept = Record::parse(&bytes).is_ok_and(|record| self.is_kept(&record));
        Ok(kept.then_some(bytes))
    }
}

/// Reads and checks the record that begins at byte `position` of `segment`, byte `at` of the log.
pub(crate) fn read_record(segment: &Arc<Segment>, position: u64, at: i64) -> Result<Bytes, ReadError> {
    let file = || segment.path.clone();
    let failed = |error| ReadError::Io { file: file(), position, error };
    let damaged = |reason: String| ReadError::Damaged { at: CommitLogOffset(at), file: file(), position, reason };
    let rest = segment.size - position;
    if rest < BLANK_LEN as u64 {
        return Err(damaged("the file ends there".to_owned()));
    }
    let mut head = [0; OUTLINE_LEN];
    let head = &mut head[..rest.min(OUTLINE_LEN as u64) as usize];
    segment.read(head, position).map_err(failed)?;
    let outline = Outline::of(head).map_err(|error| damaged(error.to_string()))?;
    let size = outline.size as u64;
    if size > rest {
        return Err(damaged(format!("it says it has {size} bytes, its file has {rest} from there")));
    }
    if outline.commit_log_offset.0 != at {
        return Err(damaged(elsewhere(outline.commit_log_offset)));
    }
    if outline.size > BELIEVED_MAX {
        // A place that someone asks for may be any, the middle of a body, too, with whatever its sender wrote there.
        let mut tail = vec![0; outline.size - outline.body_end];
        segment.read(&mut tail, position + outline.body_end as u64).map_err(failed)?;
        if !outline.may_end_with(&tail) {
            return Err(damaged(format!("it says it has {size} bytes, and does not end there")));
        }
    }
    let mut bytes = vec![0; outline.size];
    segment.read(&mut bytes, position).map_err(failed)?;
    check(&bytes, at, None).map_err(damaged)?;
    Ok(Bytes::from(bytes))
}

fn elsewhere(says: CommitLogOffset) -> String {
    format!("it says it belongs to {says} of the commit log")
}

/// Is `bytes` one sound record, in its place, and the one that its queue wants?
fn check(bytes: &[u8], at: i64, wanted: Option<(&Queue, &Wanted)>) -> Result<(), String> {
    let record = Record::parse(bytes).map_err(|error| error.to_string())?;
    if record.bytes.len() != bytes.len() {
        return Err(format!("it has {} bytes, its queue entry says {}", record.bytes.len(), bytes.len()));
    }
    if record.commit_log_offset.0 != at {
        return Err(elsewhere(record.commit_log_offset));
    }
    record.verify_crc().map_err(|error| error.to_string())?;
    if wanted.is_some() && lost::is_lost(&record) {
        return Err(lost::REASON.to_owned());
    }
    match wanted {
        // Several light queues may point to one record of another topic.
        Some((queue, wanted)) if !queue.topic().starts_with("%LMQ%") => {
            if record.topic != queue.topic() || record.queue_id != queue.queue_id() as i32 {
                return Err(format!("it says it is of topic `{}` queue {}", record.topic, record.queue_id));
            }
            if record.queue_offset.0 != wanted.offset {
                return Err(format!("it says it is message {} of its queue", record.queue_offset));
            }
            check_tags(&record, wanted.entry.tags_code)
        }
        _ => Ok(()),
    }
}

fn tags_of(properties: &[u8]) -> &[u8] {
    let tags = Properties(properties).segments().filter_map(|segment| segment.strip_prefix(b"TAGS\x01"));
    tags.filter(|tags| !tags.is_empty()).last().unwrap_or_default()
}

/// No checksum covers the properties, but the queue knows the hash of one of them.
fn check_tags(record: &Record<'_>, code: i64) -> Result<(), String> {
    if record.topic == SCHEDULE_TOPIC || is_extended(code) {
        return Ok(()); // a time, or a place in another file
    }
    let tags = tags_of(record.properties);
    if i64::from(JavaHash::new().update_bytes(tags).finish()) == code {
        return Ok(());
    }
    let tags = String::from_utf8_lossy(tags);
    Err(format!("its tags `{tags}` are not those that its queue entry says (code {code})"))
}

/// Does the tags code point into a consume queue extension, which this store does not read? The client filters then.
pub(crate) fn is_extended(tags_code: i64) -> bool {
    tags_code < i64::from(i32::MIN)
}

/// Sound records on their way to who asked for them.
#[derive(Default)]
struct Fetched {
    parts: Vec<Part>,
    /// Behind all of `parts`.
    gathered: Vec<u8>,
    len: usize,
}

impl Fetched {
    /// Takes records that were read, and found to be `sound`, at byte `position` of a file; `bytes` begins with the first
    /// of them, and is free to be used for others afterwards.
    fn take(&mut self, bytes: &mut Vec<u8>, sound: &[Wanted], segment: &Arc<Segment>, position: u64) -> io::Result<()> {
        let (Some(first), Some(last)) = (sound.first(), sound.last()) else { return Ok(()) };
        let begin = first.entry.at;
        let span = (last.entry.at - begin) as usize + last.entry.size as usize;
        let len: usize = sound.iter().map(|wanted| wanted.entry.size as usize).sum();
        let follow_one_another = len == span;
        if follow_one_another && len > IN_MEMORY_MAX {
            let file = segment.file()?;
            self.finish_gathered();
            self.parts.push(Part::File(FileSlice { file, offset: position, len }));
        } else if follow_one_another && self.gathered.is_empty() {
            bytes.truncate(len);
            std::mem::swap(&mut self.gathered, bytes);
        } else {
            for wanted in sound {
                let at = (wanted.entry.at - begin) as usize;
                self.gathered.extend_from_slice(&bytes[at..at + wanted.entry.size as usize]);
            }
        }
        self.len += len;
        Ok(())
    }

    fn finish_gathered(&mut self) {
        if !self.gathered.is_empty() {
            self.parts.push(Part::Bytes(Bytes::from(std::mem::take(&mut self.gathered))));
        }
    }

    /// All that was taken, and how many bytes that is.
    fn into_parts(mut self) -> (Vec<Part>, usize) {
        self.finish_gathered();
        (self.parts, self.len)
    }
}
