//! Per queue, 20-byte entries that point into the commit log.
//!
//! One entry, big-endian; entry n stands at byte 20·n, so a queue offset is an index:
//!
//! ```text
//! | commit log offset: 8 | record size: 4 | tags code: 8 |
//! ```
//!
//! New entries live in memory, readable at once, and are written behind: `dispatch` drains them into the files with one
//! `pwrite` for a queue and a batch. The log is the truth; a lost entry is made again from it.
//!
//! A place without a message (before a queue's first, or where the log is damaged) holds an entry of size 0x7FFFFFFF.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::task::Waker;

use parking_lot::{Mutex, RwLock};
use protocol::message::{CommitLogOffset, JavaHash, QueueOffset};

use crate::disk::Disk;
use crate::segment::{Access, OpenFiles, Segment, Segments};

/// Bytes of an entry.
pub(crate) const ENTRY_LEN: usize = 20;
/// Size in an entry that stands for no message.
pub(crate) const NO_MESSAGE: i32 = i32::MAX;
/// Tags code of an entry of no message that an operator has taken note of, by a repair: consumers pass on.
const TAKEN_NOTE_OF: i64 = 1;
/// Bytes that reach a disk together or not at all.
pub(crate) const SECTOR: i64 = 512;
/// After a crash so many entries behind the last that counts are looked at.
const LOOK_BEHIND: i64 = 8;
/// No log is as long: an entry that points there is damaged.
const BEYOND_ANY_LOG: i64 = 1 << 55;
/// A longer gap between two messages of a queue is not believed.
pub(crate) const GAP_MAX: i64 = 1_000_000;

/// Where a message is.
#[doc(alias = "CqUnit")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub at: i64,
    pub size: i32,
    pub tags_code: i64,
}

impl Entry {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.at.to_be_bytes());
        out.extend_from_slice(&self.size.to_be_bytes());
        out.extend_from_slice(&self.tags_code.to_be_bytes());
    }

    pub(crate) fn decode(bytes: &[u8; ENTRY_LEN]) -> Entry {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t] = *bytes;
        Entry {
            at: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            size: i32::from_be_bytes([i, j, k, l]),
            tags_code: i64::from_be_bytes([m, n, o, p, q, r, s, t]),
        }
    }

    /// Was this ever written?
    pub(crate) fn is_there(&self) -> bool {
        self.at >= 0 && self.size > 0
    }

    /// First byte behind its record. A damaged entry may point anywhere.
    pub(crate) fn end(&self) -> i64 {
        self.at.saturating_add(self.size.into())
    }

    pub(crate) fn has_message(&self) -> bool {
        self.size != NO_MESSAGE
    }

    /// In the place of a message of which the log has nothing, before the record at `at`.
    pub(crate) fn lost_before(at: i64) -> Entry {
        Entry { at, size: NO_MESSAGE, tags_code: TAKEN_NOTE_OF }
    }

    /// Has an operator taken note that its message is lost?
    pub(crate) fn is_lost(&self) -> bool {
        !self.has_message() && self.tags_code == TAKEN_NOTE_OF
    }
}

/// One queue of a topic.
#[doc(alias = "ConsumeQueue")]
pub struct Queue {
    topic: Box<str>,
    queue_id: u32,
    /// Hash of `topic#`, with which the hash of every index key of the topic begins.
    topic_hash: JavaHash,
    /// Queue offset of the next message. Touched only under the log's `appender`.
    next: AtomicI64,
    entries_per_file: i64,
    files: Segments,
    /// Takes no more messages. Touched only under the log's `appender`.
    refuses: AtomicBool,
    /// Held by who brings entries into the files.
    drain: Mutex<()>,
    state: Mutex<State>,
    /// Offsets of messages whose records were looked for in vain.
    given_up: Mutex<HashSet<i64>>,
}

/// What readers, the publisher and the drain share. min ≤ max, written ≤ max; the tail holds written..max.
#[derive(Default)]
struct State {
    min: i64,
    written: i64,
    max: i64,
    tail: VecDeque<Entry>,
    /// Messages that came since the store was opened, and bytes of their records.
    arrived: (i64, i64),
    /// Listed as having something to drain.
    dirty: bool,
    deleted: bool,
    /// By offset and a number that tells waiters for one offset apart. There may be very many.
    waiters: BTreeMap<(i64, u64), Waker>,
    waiter_next: u64,
}

/// What publishing a message changed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Published {
    /// Entries in memory that are new.
    pub added: usize,
    /// The queue had nothing to drain before.
    pub to_drain: bool,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({}, {})", self.topic, self.queue_id)
    }
}

impl Queue {
    fn new(topic: &str, queue_id: u32, entries_per_file: i64, files: Segments) -> Queue {
        Queue {
            topic: topic.into(),
            queue_id,
            topic_hash: JavaHash::new().update(topic).update("#"),
            next: AtomicI64::new(0),
            entries_per_file,
            files,
            refuses: AtomicBool::new(false),
            drain: Mutex::new(()),
            state: Mutex::default(),
            given_up: Mutex::default(),
        }
    }

    /// Topic of the queue.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Number of the queue in its topic.
    pub fn queue_id(&self) -> u32 {
        self.queue_id
    }

    /// Queue offset of the oldest message that can be read.
    pub fn min_offset(&self) -> QueueOffset {
        QueueOffset(self.state.lock().min)
    }

    /// Queue offset behind the newest message that can be read.
    pub fn max_offset(&self) -> QueueOffset {
        QueueOffset(self.state.lock().max)
    }

    /// How many messages came since the store was opened, and how many bytes their records have.
    pub fn arrived(&self) -> (i64, i64) {
        self.state.lock().arrived
    }

    /// From here on messages count as new.
    pub(crate) fn begin_counting(&self) {
        self.state.lock().arrived = (0, 0);
    }

    /// Up to `count` entries from `from` on, as they stand in the queue's files: where the record lies, its size in bytes, and
    /// the hash of its tags. Fewer if there are no more.
    pub fn entries_from(&self, from: QueueOffset, count: usize) -> io::Result<Vec<(CommitLogOffset, i32, i64)>> {
        let entries = self.entries(from.0.max(self.bounds().0), count)?;
        Ok(entries.iter().map(|entry| (CommitLogOffset(entry.at), entry.size, entry.tags_code)).collect())
    }

    /// Topic and number.
    pub(crate) fn name(&self) -> (Box<str>, u32) {
        (self.topic.clone(), self.queue_id)
    }

    pub(crate) fn topic_hash(&self) -> JavaHash {
        self.topic_hash
    }

    /// The next queue offset. Only under the log's `appender`.
    pub(crate) fn take_offset(&self) -> i64 {
        let offset = self.next.load(Ordering::Relaxed);
        self.next.store(offset + 1, Ordering::Relaxed);
        offset
    }

    /// Does it take no more messages? Only under the log's `appender`.
    pub(crate) fn refuses(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
    }

    /// From now on it takes no more messages, or takes them again.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::Relaxed);
    }

    /// Both bounds at one moment.
    pub(crate) fn bounds(&self) -> (i64, i64) {
        let state = self.state.lock();
        (state.min, state.max)
    }

    /// Up to `count` entries from queue offset `from` on. Fewer if there are no more, and none if the queue begins behind
    /// `from`: it may begin there since a moment ago, and the first entry must be that of `from`.
    pub(crate) fn entries(&self, from: i64, count: usize) -> io::Result<Vec<Entry>> {
        let state = self.state.lock();
        let end = from.saturating_add(count as i64).min(state.max);
        if from < state.min || from >= end {
            return Ok(Vec::new());
        }
        let in_files_end = state.written.clamp(from, end);
        let mut entries = Vec::with_capacity((end - from) as usize);
        if in_files_end < end {
            let skip = (in_files_end - state.written) as usize;
            entries.extend(state.tail.range(skip..(end - state.written) as usize));
        }
        drop(state);
        if from < in_files_end {
            let mut written = self.written_entries(from, in_files_end)?;
            written.append(&mut entries);
            return Ok(written);
        }
        Ok(entries)
    }

    pub(crate) fn entry(&self, offset: i64) -> io::Result<Option<Entry>> {
        let (min, max) = self.bounds();
        if offset < min || offset >= max {
            return Ok(None);
        }
        Ok(self.entries(offset, 1)?.first().copied())
    }

    fn written_entries(&self, from: i64, end: i64) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::with_capacity((end - from) as usize);
        let mut bytes = Vec::new();
        let mut next = from;
        while next < end {
            let (segment, at) = self.place(next).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            let in_file = (end - next).min(self.entries_per_file - (at / ENTRY_LEN as u64) as i64);
            bytes.resize(in_file as usize * ENTRY_LEN, 0);
            segment.read(&mut bytes, at).map_err(|error| {
                io::Error::new(error.kind(), format!("{}, byte {at}: {error}", segment.path.display()))
            })?;
            entries.extend(bytes.as_chunks::<ENTRY_LEN>().0.iter().map(Entry::decode));
            next += in_file;
        }
        Ok(entries)
    }

    fn place(&self, offset: i64) -> Option<(Arc<Segment>, u64)> {
        let byte = offset.checked_mul(ENTRY_LEN as i64)?;
        let segment = self.files.holding(byte)?;
        let at = (byte - segment.base) as u64;
        Some((segment, at))
    }

    /// Makes a message readable, and hands out who waited for it.
    ///
    /// A queue offset that is there already is passed over, so a log may be dispatched twice.
    pub(crate) fn publish(&self, offset: QueueOffset, entry: Entry, woken: &mut Vec<Waker>) -> Published {
        let mut state = self.state.lock();
        if offset.0 < state.max || state.deleted {
            return Published::default();
        }
        let tail_len = state.tail.len();
        if offset.0 > state.max {
            self.bridge_gap(&mut state, offset.0, entry.at);
        }
        state.tail.push_back(entry);
        state.arrived = (state.arrived.0 + 1, state.arrived.1 + i64::from(entry.size));
        state.max += 1;
        if !state.waiters.is_empty() {
            let max = state.max;
            let rest = state.waiters.split_off(&(max, 0));
            woken.extend(std::mem::replace(&mut state.waiters, rest).into_values());
        }
        Published { added: state.tail.len() - tail_len, to_drain: !std::mem::replace(&mut state.dirty, true) }
    }

    /// The queue goes on at `offset` and not at its end: it is new here, or messages between are damaged.
    fn bridge_gap(&self, state: &mut State, offset: i64, at: i64) {
        let gap = offset - state.max;
        let is_new = state.max == 0 && offset < i64::MAX / 64;
        if is_new {
            (state.min, state.written, state.max) = (offset, offset, offset);
        } else if gap <= GAP_MAX {
            // With no message left before them those between were deleted with their files, or else they are damaged.
            let deleted = state.min == state.max;
            let at = if deleted { 0 } else { at };
            state.tail.extend((0..gap).map(|_| Entry { at, size: NO_MESSAGE, tags_code: 0 }));
            if deleted {
                state.min = offset;
            } else {
                tracing::warn!("{self:?} has no messages {} to {}", state.max, offset - 1);
            }
            state.max = offset;
        } else {
            tracing::warn!("{self:?} goes on at {offset} behind {}; taken as the next message", state.max);
        }
        self.next.store(state.max.max(self.next.load(Ordering::Relaxed)), Ordering::Relaxed);
    }

    /// The queue goes on at `offset`, and those between are damaged: in the log from `damage` on. Says how many entries that
    /// are.
    pub(crate) fn bridge_damage(&self, offset: i64, damage: i64) -> usize {
        let mut state = self.state.lock();
        if offset <= state.max || offset - state.max > GAP_MAX {
            return 0;
        }
        tracing::warn!("{self:?} has no messages {} to {}: they are damaged", state.max, offset - 1);
        // 0 stands before the beginning of a queue.
        let hole = Entry { at: damage.max(1), size: NO_MESSAGE, tags_code: 0 };
        let gap = offset - state.max;
        state.tail.extend((0..gap).map(|_| hole));
        state.max = offset;
        self.next.store(offset.max(self.next.load(Ordering::Relaxed)), Ordering::Relaxed);
        gap as usize
    }

    /// Forgets what it has from `end` on. Only while the store is being opened.
    pub(crate) fn cut_back(&self, end: i64) -> io::Result<()> {
        let mut state = self.state.lock();
        if end < state.written {
            for segment in self.files.all().into_iter().filter(|segment| segment.end() > end * ENTRY_LEN as i64) {
                segment.zero_from((end * ENTRY_LEN as i64 - segment.base).max(0) as u64)?;
            }
            state.written = end;
            state.tail.clear();
        }
        let kept = (end - state.written).max(0) as usize;
        state.tail.truncate(kept);
        state.max = end;
        state.min = state.min.min(end);
        Ok(())
    }

    /// After recovery: the next message is the one behind the last that is there.
    pub(crate) fn continue_behind_last(&self) {
        let max = self.state.lock().max;
        self.next.store(max, Ordering::Relaxed);
    }

    /// Brings the entries of the tail into files. Says how many, and adds the files to `touched`.
    pub(crate) fn drain(&self, touched: &mut Vec<Arc<Segment>>) -> Result<usize, (PathBuf, io::Error)> {
        let _one_at_a_time = self.drain.lock();
        let mut bytes = Vec::new();
        let (first, count) = {
            let mut state = self.state.lock();
            state.dirty = false;
            if state.deleted {
                return Ok(std::mem::take(&mut state.tail).len());
            }
            bytes.reserve(state.tail.len() * ENTRY_LEN);
            state.tail.iter().for_each(|entry| entry.encode(&mut bytes));
            (state.written, state.tail.len())
        };
        let mut next = first;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (segment, at) = self.place_or_create(next)?;
            let len = rest.len().min((segment.size - at) as usize);
            segment.write(&rest[..len], at).map_err(|error| (segment.path.clone(), error))?;
            rest = &rest[len..];
            next += (len / ENTRY_LEN) as i64;
            touched.push(segment);
        }
        let mut state = self.state.lock();
        let drained = count.min(state.tail.len());
        state.tail.drain(..drained);
        state.tail.shrink_to(256);
        state.written += count as i64;
        Ok(count)
    }

    /// After a drain that failed: is there something left to drain? If so it is listed again.
    pub(crate) fn is_still_dirty(&self) -> bool {
        let mut state = self.state.lock();
        // Whoever published meanwhile lists it, too, but perhaps only behind the next drain, which would pass it over.
        state.dirty |= !state.tail.is_empty();
        !state.tail.is_empty()
    }

    /// A first file that does not begin with the queue's first message says so with entries of no message.
    fn place_or_create(&self, offset: i64) -> Result<(Arc<Segment>, u64), (PathBuf, io::Error)> {
        if let Some(place) = self.place(offset) {
            return Ok(place);
        }
        let first = offset - offset % self.entries_per_file;
        let failed = |error| (self.files.dir().to_owned(), error);
        let segment = self.files.add(first * ENTRY_LEN as i64).map_err(failed)?;
        if offset > first {
            let mut bytes = Vec::with_capacity((offset - first) as usize * ENTRY_LEN);
            (first..offset).for_each(|_| Entry { at: 0, size: NO_MESSAGE, tags_code: 0 }.encode(&mut bytes));
            segment.write(&bytes, 0).map_err(failed)?;
        }
        Ok((segment, ((offset - first) as usize * ENTRY_LEN) as u64))
    }

    /// Finds what the files hold: entries of records before `cut`, from the first that is not before `log_min`.
    ///
    /// What was written before the last checkpoint is there without a hole, so what counts is a prefix. Behind it there
    /// may be an entry that lies in two sectors, of which the crash left one: it could pass for one that counts.
    /// `is_its_record` says whether an entry is that of the message at a queue offset.
    ///
    /// `guess` is the queue offset where it probably ends.
    ///
    /// Says whether an entry is damaged where the prefix ends: one behind it counts, or it points where no log can be.
    pub(crate) fn load(
        &self,
        cut: i64,
        guess: i64,
        is_its_record: &dyn Fn(&Queue, i64, &Entry) -> bool,
    ) -> io::Result<bool> {
        let files = self.files.all();
        let mut state = State::default();
        let (mut end, mut damaged) = (None, false);
        for segment in files.iter().rev() {
            let first = segment.base / ENTRY_LEN as i64;
            let counts = |n: i64| -> io::Result<bool> {
                let entry = self.file_entry(segment, n)?;
                Ok(entry.is_there() && entry.at < cut)
            };
            let mut count = partition_point_near(guess.saturating_sub(first), 0, self.entries_per_file, counts)?;
            while cut < i64::MAX && count > 0 {
                let n = count - 1;
                let in_one_sector = n * ENTRY_LEN as i64 % SECTOR + ENTRY_LEN as i64 <= SECTOR;
                let entry = self.file_entry(segment, n)?;
                if counts(n)? && (in_one_sector || !entry.has_message() || is_its_record(self, first + n, &entry)) {
                    break;
                }
                count = n;
            }
            if cut < i64::MAX {
                for n in count..self.entries_per_file.min(count + LOOK_BEHIND) {
                    let entry = self.file_entry(segment, n)?;
                    let in_one_sector = n * ENTRY_LEN as i64 % SECTOR + ENTRY_LEN as i64 <= SECTOR;
                    damaged |= in_one_sector && entry.is_there() && (entry.at < cut || entry.at > BEYOND_ANY_LOG);
                }
            }
            if count > 0 {
                end = Some(first + count);
                break;
            }
            // Nothing in it counts: it was begun by what comes after the cut.
            self.files.delete(segment)?;
        }
        if let (Some(end), Some(first)) = (end, files.first()) {
            (state.written, state.max) = (end, end);
            state.min = first.base / ENTRY_LEN as i64;
            if cut < i64::MAX
                && let Some((segment, at)) = self.place(end)
            {
                segment.zero_from(at)?;
            }
            if cut < i64::MAX
                && let Some((segment, _)) = self.place(end - 1)
            {
                segment.may_be_fresh(); // what counts in it may be no message but the place of some
            }
        }
        self.next.store(state.max, Ordering::Relaxed);
        *self.state.lock() = state;
        Ok(damaged)
    }

    /// The files of the queue.
    pub(crate) fn files(&self) -> &Segments {
        &self.files
    }

    /// Does the newest file go on where the one before ends? It may be a copy of an older one. Entries of records behind
    /// `cut` do not matter.
    pub(crate) fn newest_file_follows(&self, cut: i64) -> io::Result<bool> {
        let files = self.files.all();
        let [.., before, newest] = &files[..] else { return Ok(true) };
        let (last, first) = (self.file_entry(before, self.entries_per_file - 1)?, self.file_entry(newest, 0)?);
        let matters = first.is_there() && first.has_message() && first.at < cut;
        Ok(!matters || last.is_there() && (!last.has_message() || last.at < first.at))
    }

    /// The first entry of the first file, and its queue offset, whatever counts.
    pub(crate) fn first_on_disk(&self) -> io::Result<Option<(i64, Entry)>> {
        let Some(first) = self.files.first() else { return Ok(None) };
        let entry = self.file_entry(&first, 0)?;
        Ok((entry.is_there() && entry.has_message()).then_some((first.base / ENTRY_LEN as i64, entry)))
    }

    /// Deletes all files, for what they hold is made again from the first on.
    pub(crate) fn forget_all(&self) -> io::Result<()> {
        for segment in self.files.all() {
            self.files.delete(&segment)?;
        }
        *self.state.lock() = State::default();
        Ok(())
    }

    /// Puts an entry right whose record was found elsewhere.
    pub(crate) fn put_right(&self, offset: i64, entry: Entry) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(ENTRY_LEN);
        entry.encode(&mut bytes);
        let Some((segment, at)) = self.place(offset) else { return Ok(()) };
        segment.write(&bytes, at)
    }

    /// Remembers that there is no record of a message, however long one looks. Says whether that is new.
    pub(crate) fn give_up(&self, offset: i64) -> bool {
        self.given_up.lock().insert(offset)
    }

    fn file_entry(&self, segment: &Arc<Segment>, n: i64) -> io::Result<Entry> {
        let mut bytes = [0; ENTRY_LEN];
        segment.read(&mut bytes, n as u64 * ENTRY_LEN as u64)?;
        Ok(Entry::decode(&bytes))
    }

    /// Where in the log the newest message is, be it expired or not.
    pub(crate) fn newest_place(&self) -> io::Result<Option<i64>> {
        let state = self.state.lock();
        match (state.tail.back(), state.written) {
            (Some(entry), _) => Ok(Some(entry.at)),
            (None, 0) => Ok(None),
            (None, written) => {
                drop(state);
                Ok(self.written_entries(written - 1, written)?.first().map(|entry| entry.at))
            }
        }
    }

    /// Moves the oldest readable offset to the first message that is not before `log_min`.
    pub(crate) fn raise_min(&self, log_min: i64) -> io::Result<()> {
        let (min, max) = self.bounds();
        let gone = |offset: i64| -> io::Result<bool> {
            Ok(self
                .entries(offset, 1)?
                .first()
                .is_none_or(|entry| entry.at < log_min || (entry.at == 0 && !entry.has_message())))
        };
        if min == max || !gone(min)? {
            return Ok(());
        }
        let raised = partition_point(min, max, gone)?;
        let mut state = self.state.lock();
        state.min = state.min.max(raised);
        Ok(())
    }

    /// Moves the oldest readable offset to `first`; never back.
    pub(crate) fn raise_min_to(&self, first: i64) {
        let mut state = self.state.lock();
        state.min = state.min.max(first.min(state.max));
    }

    /// Deletes files all of whose messages are gone, but never the last: it says where the queue goes on.
    pub(crate) fn delete_files_before_min(&self) -> io::Result<usize> {
        let (min, _) = self.bounds();
        if self.files.first().is_none_or(|first| first.end() / ENTRY_LEN as i64 > min) {
            return Ok(0);
        }
        let files = self.files.all();
        let mut deleted = 0;
        for segment in files.iter().take(files.len().saturating_sub(1)) {
            if segment.end() / ENTRY_LEN as i64 > min {
                break;
            }
            self.files.delete(segment)?;
            deleted += 1;
        }
        Ok(deleted)
    }

    /// End of the last record that the queue points to.
    pub(crate) fn last_record_end(&self) -> io::Result<Option<i64>> {
        let (min, max) = self.bounds();
        for offset in (min..max).rev() {
            match self.entry(offset)? {
                Some(entry) if entry.has_message() => return Ok(Some(entry.end())),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Takes no more entries and forgets those it has.
    pub(crate) fn mark_deleted(&self) {
        let mut woken = Vec::new();
        {
            let mut state = self.state.lock();
            state.deleted = true;
            woken.extend(std::mem::take(&mut state.waiters).into_values());
        }
        let _no_one_writes = self.drain.lock();
        for segment in self.files.all() {
            let _ = self.files.delete(&segment);
        }
        woken.into_iter().for_each(Waker::wake);
    }

    /// Wakes all who wait, as if what they wait for had come.
    pub(crate) fn interrupt(&self) {
        let woken = std::mem::take(&mut self.state.lock().waiters);
        woken.into_values().for_each(Waker::wake);
    }

    /// Registers a waker to be woken when the readable end is behind `offset`. `None` if it is already, or if the waker with
    /// the number `known` has been woken.
    pub(crate) fn wait(&self, offset: i64, known: Option<u64>, waker: &Waker) -> Option<u64> {
        let mut state = self.state.lock();
        if state.max > offset || state.deleted {
            return None;
        }
        if known.is_some_and(|id| !state.waiters.contains_key(&(offset, id))) {
            return None;
        }
        let id = known.unwrap_or_else(|| {
            state.waiter_next += 1;
            state.waiter_next
        });
        state.waiters.insert((offset, id), waker.clone());
        Some(id)
    }

    pub(crate) fn stop_waiting(&self, offset: i64, id: u64) {
        self.state.lock().waiters.remove(&(offset, id));
    }
}

/// First number in `from..to` that `before` is false for; it is true for all smaller ones.
pub(crate) fn partition_point<E>(from: i64, to: i64, before: impl Fn(i64) -> Result<bool, E>) -> Result<i64, E> {
    let (mut low, mut high) = (from, to);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// The same, with the fewest looks when it is at `guess` or not far behind.
fn partition_point_near<E>(guess: i64, from: i64, to: i64, before: impl Fn(i64) -> Result<bool, E>) -> Result<i64, E> {
    let (mut low, mut step) = (guess.clamp(from, to), 1);
    if low > from && !before(low - 1)? {
        return partition_point(from, low - 1, before);
    }
    while low + step <= to && before(low + step - 1)? {
        low += step;
        step *= 2;
    }
    partition_point(low, (low + step - 1).min(to), before)
}

/// All queues, by topic and number.
#[doc(alias = "ConsumeQueueStore")]
#[derive(Debug)]
pub(crate) struct Queues {
    disk: Disk,
    dir: PathBuf,
    entries_per_file: i64,
    open_files: Arc<OpenFiles>,
    topics: RwLock<foldhash::HashMap<Box<str>, Vec<Arc<Queue>>>>,
}

impl Queues {
    pub(crate) fn new(disk: Disk, dir: PathBuf, entries_per_file: i64, open_files: Arc<OpenFiles>) -> Queues {
        Queues { disk, dir, entries_per_file, open_files, topics: RwLock::default() }
    }

    /// Bytes of one file.
    pub(crate) fn file_size(&self) -> u64 {
        self.entries_per_file as u64 * ENTRY_LEN as u64
    }

    pub(crate) fn dir_of(&self, topic: &str) -> PathBuf {
        self.dir.join(topic)
    }

    pub(crate) fn get(&self, topic: &str, queue_id: u32) -> Option<Arc<Queue>> {
        let topics = self.topics.read();
        let queues = topics.get(topic)?;
        // Most topics have queues 0, 1, 2, … and nothing else.
        match queues.get(queue_id as usize) {
            Some(queue) if queue.queue_id == queue_id => Some(queue.clone()),
            _ => {
                let n = queues.binary_search_by_key(&queue_id, |queue| queue.queue_id).ok()?;
                Some(queues[n].clone())
            }
        }
    }

    pub(crate) fn get_or_create(&self, topic: &str, queue_id: u32) -> Arc<Queue> {
        if let Some(queue) = self.get(topic, queue_id) {
            return queue;
        }
        let dir = self.dir_of(topic).join(queue_id.to_string());
        let files = Segments::empty(self.disk.clone(), dir, self.file_size(), self.access());
        self.insert(topic, queue_id, files)
    }

    /// The queue of `files`, unless there is one already.
    pub(crate) fn insert(&self, topic: &str, queue_id: u32, files: Segments) -> Arc<Queue> {
        let mut topics = self.topics.write();
        if !topics.contains_key(topic) {
            topics.insert(topic.into(), Vec::new());
        }
        let Some(queues) = topics.get_mut(topic) else {
            return Arc::new(Queue::new(topic, queue_id, self.entries_per_file, files));
        };
        match queues.binary_search_by_key(&queue_id, |queue| queue.queue_id) {
            Ok(n) => queues[n].clone(),
            Err(n) => {
                let queue = Arc::new(Queue::new(topic, queue_id, self.entries_per_file, files));
                queues.insert(n, queue.clone());
                queue
            }
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Queue>> {
        self.topics.read().values().flatten().cloned().collect()
    }

    /// Topics of which a queue has or had a message.
    pub(crate) fn topics(&self) -> Vec<String> {
        let topics = self.topics.read();
        let known = topics.iter().filter(|(_, queues)| queues.iter().any(|queue| queue.bounds().1 > 0));
        let mut names: Vec<String> = known.map(|(topic, _)| topic.to_string()).collect();
        names.sort_unstable();
        names
    }

    /// The queues of a topic.
    pub(crate) fn of(&self, topic: &str) -> Vec<Arc<Queue>> {
        self.topics.read().get(topic).cloned().unwrap_or_default()
    }

    /// Forgets these queues of a topic.
    pub(crate) fn remove(&self, topic: &str, gone: &[Arc<Queue>]) {
        let mut topics = self.topics.write();
        let Some(queues) = topics.get_mut(topic) else { return };
        queues.retain(|queue| !gone.iter().any(|gone| Arc::ptr_eq(queue, gone)));
        if queues.is_empty() {
            topics.remove(topic);
        }
    }

    /// How the files of queues are used.
    pub(crate) fn access(&self) -> Access {
        Access::RandomOfMany(self.open_files.clone())
    }
}

impl From<&Entry> for CommitLogOffset {
    fn from(entry: &Entry) -> CommitLogOffset {
        CommitLogOffset(entry.at)
    }
}
