//! Index files: from a key to the messages that carry it.
//!
//! One file, big-endian, `S` slots and `E` entries:
//!
//! ```text
//! 0          | begin timestamp: 8 | end timestamp: 8 | begin offset: 8 | end offset: 8 | used slots: 4 | count: 4 |
//! 40         | number of the newest entry: 4 |  × S
//! 40 + 4·S   | key hash: 4 | commit log offset: 8 | seconds since begin: 4 | number of the entry before: 4 |  × E
//! ```
//!
//! Entry 0 is never used. A slot begins a chain of entries whose hash is the same modulo `S`, newest first.
//!
//! There is no memory map. Entries go to the end of the file in large writes, then the header. The slots of the newest
//! file live in memory and are written when it is full or the store closes: after a crash they are made again from the
//! entries, which say everything.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::message::JavaHash;
use protocol::record::Record;

use crate::config::StoreConfig;
use crate::disk::Disk;
use crate::dispatch::{IndexItem, Keys};
use crate::get::read_record;
use crate::inventory::Inventory;
use crate::quarantine;
use crate::recover::{Met, OpenError, Walk, walk};
use crate::segment::{Access, ListError, Listed, Segment, Segments, files_of};

pub(crate) const HEADER_LEN: u64 = 40;
pub(crate) const SLOT_LEN: u64 = 4;
pub(crate) const ENTRY_LEN: usize = 20;
/// Slots of one page, the unit in which changed slots are written.
const PAGE_SLOTS: usize = 1024;
/// Names are times: year, month, day, hour, minute, second, and three digits of milliseconds.
const NAME_MAX: i64 = 100_000_000_000_000_000;
/// Bytes of entries read at a time.
const READ_LEN: usize = 1 << 20;

/// The first 40 bytes of a file.
#[doc(alias = "IndexHeader")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    begin_timestamp: i64,
    end_timestamp: i64,
    pub begin_at: i64,
    pub end_at: i64,
    used_slots: i32,
    /// Number of the next entry; 1 in a new file.
    pub count: i32,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_LEN as usize] {
        let mut bytes = [0; HEADER_LEN as usize];
        bytes[..8].copy_from_slice(&self.begin_timestamp.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.end_timestamp.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.begin_at.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.end_at.to_be_bytes());
        bytes[32..36].copy_from_slice(&self.used_slots.to_be_bytes());
        bytes[36..].copy_from_slice(&self.count.to_be_bytes());
        bytes
    }

    /// Can it be? All zero is a file without an entry.
    fn is_sound(&self, count_max: i32) -> bool {
        *self == Header::default()
            || (1..=count_max).contains(&self.count)
                && (0..self.count).contains(&self.used_slots)
                && (self.count == 1 || (0..=self.end_at).contains(&self.begin_at))
    }

    pub(crate) fn decode(bytes: &[u8; HEADER_LEN as usize]) -> Header {
        let long = |at: usize| bytes[at..at + 8].iter().fold(0i64, |number, byte| number << 8 | i64::from(*byte));
        let int = |at: usize| bytes[at..at + 4].iter().fold(0i32, |number, byte| number << 8 | i32::from(*byte));
        Header {
            begin_timestamp: long(0),
            end_timestamp: long(8),
            begin_at: long(16),
            end_at: long(24),
            used_slots: int(32),
            count: int(36),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub hash: u32,
    pub at: i64,
    seconds: i32,
    pub previous: u32,
}

impl Entry {
    /// When its message was stored, to the second, in ms since 1970.
    fn stored(&self, header: &Header) -> i64 {
        header.begin_timestamp.saturating_add(i64::from(self.seconds) * 1000)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.hash.to_be_bytes());
        out.extend_from_slice(&self.at.to_be_bytes());
        out.extend_from_slice(&self.seconds.to_be_bytes());
        out.extend_from_slice(&self.previous.to_be_bytes());
    }

    pub(crate) fn decode(bytes: &[u8; ENTRY_LEN]) -> Entry {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t] = *bytes;
        Entry {
            hash: u32::from_be_bytes([a, b, c, d]),
            at: i64::from_be_bytes([e, f, g, h, i, j, k, l]),
            seconds: i32::from_be_bytes([m, n, o, p]),
            previous: u32::from_be_bytes([q, r, s, t]),
        }
    }
}

/// The slots of a file, in memory.
#[derive(Debug)]
struct Slots {
    numbers: Vec<u32>,
    changed: Vec<bool>,
}

impl Slots {
    /// Allocated zeroed: pages nobody touches take no memory.
    fn new(count: u32) -> Slots {
        Slots { numbers: vec![0; count as usize], changed: vec![false; (count as usize).div_ceil(PAGE_SLOTS)] }
    }
}

/// One file.
#[doc(alias = "org.apache.rocketmq.store.index.IndexFile")]
#[derive(Debug)]
struct IndexFile {
    segment: Arc<Segment>,
    header: Header,
    slot_count: u32,
    /// Read when first needed.
    slots: Option<Slots>,
    /// The last entries, not yet in the file.
    unwritten: Vec<u8>,
    header_changed: bool,
    /// Bytes it had when it was found.
    found: u64,
    /// Had it the right size, and a header that can be, when it was found?
    sound: bool,
}

impl IndexFile {
    fn state(&self) -> (i64, i32, i64) {
        (self.segment.base, self.header.count, self.header.end_at)
    }

    /// Are its first and last entries those that the header speaks of?
    fn ends_as_it_says(&self) -> io::Result<bool> {
        let header = &self.header;
        if header.count <= 1 {
            return Ok(true);
        }
        let (first, last) = (self.entry(1)?, self.entry(self.count() - 1)?);
        Ok(first.at == header.begin_at && last.at == header.end_at)
    }

    /// Is its header right about when its first and last message were stored? Queries go by that. Messages that are gone, or
    /// damaged, do not speak against it.
    fn has_its_times(&self, segments: &Segments) -> bool {
        let stored = |at: i64| {
            let segment = segments.holding(at)?;
            let bytes = read_record(&segment, (at - segment.base) as u64, at).ok()?;
            Some(Record::parse(&bytes).ok()?.store_timestamp)
        };
        let Header { begin_timestamp, end_timestamp, begin_at, end_at, count, .. } = self.header;
        // An end that was made again from entries knows seconds only.
        count <= 1
            || stored(begin_at).is_none_or(|stored| stored == begin_timestamp)
                && stored(end_at).is_none_or(|stored| (0..1000).contains(&stored.saturating_sub(end_timestamp)))
    }

    fn entry_place(&self, number: u32) -> u64 {
        HEADER_LEN + SLOT_LEN * u64::from(self.slot_count) + ENTRY_LEN as u64 * u64::from(number)
    }

    fn count(&self) -> u32 {
        self.header.count.max(1) as u32
    }

    /// Number of the first entry that is not yet in the file.
    fn unwritten_from(&self) -> u32 {
        self.count() - (self.unwritten.len() / ENTRY_LEN) as u32
    }

    fn slots(&mut self) -> io::Result<&mut Slots> {
        let slots = match self.slots.take() {
            Some(slots) => slots,
            None => self.read_slots()?,
        };
        Ok(self.slots.insert(slots))
    }

    fn read_slots(&self) -> io::Result<Slots> {
        let mut slots = Slots::new(self.slot_count);
        let end = HEADER_LEN + SLOT_LEN * u64::from(self.slot_count);
        let mut at = HEADER_LEN;
        let mut bytes = vec![0; 64 << 10];
        while let Some(data) = self.segment.next_data(at)?
            && data.start < end
        {
            at = data.start;
            let len = bytes.len().min((end.min(data.end) - at) as usize);
            self.segment.read(&mut bytes[..len], at)?;
            let first = ((at - HEADER_LEN) / SLOT_LEN) as usize;
            for (slot, number) in slots.numbers[first..].iter_mut().zip(bytes[..len].as_chunks::<4>().0) {
                let number = u32::from_be_bytes(*number);
                if number != 0 {
                    *slot = number;
                }
            }
            at += len as u64;
        }
        Ok(slots)
    }

    /// Are there as many slots in use as the header says? Those of the newest file are written last.
    fn has_its_slots(&self) -> io::Result<bool> {
        let used = self.read_slots()?.numbers.iter().filter(|number| **number != 0).count();
        Ok(used as i64 == i64::from(self.header.used_slots))
    }

    /// Appends an entry. There is room.
    fn add(&mut self, item: &IndexItem) -> io::Result<()> {
        let number = self.count();
        let slot = (item.hash % self.slot_count) as usize;
        if number == 1 {
            self.header.begin_timestamp = item.store_timestamp;
            self.header.begin_at = item.at;
        }
        let begin = self.header.begin_timestamp;
        let seconds = if begin <= 0 {
            0
        } else {
            (item.store_timestamp.saturating_sub(begin) / 1000).clamp(0, i64::from(i32::MAX))
        };
        let slots = self.slots()?;
        let mut previous = slots.numbers[slot];
        if previous > number {
            previous = 0;
        }
        slots.numbers[slot] = number;
        slots.changed[slot / PAGE_SLOTS] = true;
        Entry { hash: item.hash, at: item.at, seconds: seconds as i32, previous }.encode(&mut self.unwritten);
        self.header.used_slots += i32::from(previous == 0);
        self.header.count = (number + 1) as i32;
        self.header.end_timestamp = item.store_timestamp;
        self.header.end_at = item.at;
        self.header_changed = true;
        Ok(())
    }

    /// Writes new entries, then the header.
    fn write(&mut self) -> io::Result<bool> {
        if !self.header_changed {
            return Ok(false);
        }
        self.segment.write(&self.unwritten, self.entry_place(self.unwritten_from()))?;
        self.segment.write(&self.header.encode(), 0)?;
        self.unwritten.clear();
        self.unwritten.shrink_to(1 << 20);
        self.header_changed = false;
        Ok(true)
    }

    /// Writes the slots that changed, neighbours together.
    fn write_slots(&mut self) -> io::Result<()> {
        let Some(slots) = &mut self.slots else { return Ok(()) };
        let mut bytes = Vec::new();
        let mut page = 0;
        while page < slots.changed.len() {
            if !slots.changed[page] {
                page += 1;
                continue;
            }
            let first = page;
            while page < slots.changed.len() && slots.changed[page] && page - first < 256 {
                page += 1;
            }
            let numbers = &slots.numbers[first * PAGE_SLOTS..(page * PAGE_SLOTS).min(slots.numbers.len())];
            bytes.clear();
            numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_be_bytes()));
            self.segment.write(&bytes, HEADER_LEN + SLOT_LEN * (first * PAGE_SLOTS) as u64)?;
            slots.changed[first..page].fill(false);
        }
        Ok(())
    }

    fn newest_in_slot(&self, slot: u32) -> io::Result<u32> {
        if let Some(slots) = &self.slots {
            return Ok(slots.numbers[slot as usize]);
        }
        let mut bytes = [0; 4];
        self.segment.read(&mut bytes, HEADER_LEN + SLOT_LEN * u64::from(slot))?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn entry(&self, number: u32) -> io::Result<Entry> {
        let unwritten_from = self.unwritten_from();
        if number >= unwritten_from {
            let entries = self.unwritten.as_chunks::<ENTRY_LEN>().0;
            return entries
                .get((number - unwritten_from) as usize)
                .map(Entry::decode)
                .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
        }
        let mut bytes = [0; ENTRY_LEN];
        self.segment.read(&mut bytes, self.entry_place(number))?;
        Ok(Entry::decode(&bytes))
    }

    /// After a crash: keeps entries of records before `cut` as far as they are sound, and makes the slots from them.
    ///
    /// Where entries end, the last record may have lost some of its keys: it is left out, too, unless the file is
    /// `followed` by another and none of its entries had to go. Returns where what was left out begins; `None` if nothing
    /// was.
    fn rebuild(&mut self, cut: i64, followed: bool) -> io::Result<Option<i64>> {
        let mut slots = Slots::new(self.slot_count);
        slots.changed.fill(true);
        let mut header = Header { count: 1, used_slots: 0, ..self.header };
        // Before the last record: the header, and what its slots held.
        let (mut header_before, mut held_before) = (header, Vec::new());
        let mut last_at = -1;
        let mut bytes = Vec::new();
        let end = self.count();
        let mut number = 1;
        'entries: while number < end {
            let some = (end - number).min((READ_LEN / ENTRY_LEN) as u32);
            bytes.resize(some as usize * ENTRY_LEN, 0);
            self.segment.read(&mut bytes, self.entry_place(number))?;
            for entry in bytes.as_chunks::<ENTRY_LEN>().0.iter().map(Entry::decode) {
                let slot = entry.hash % self.slot_count;
                let previous = slots.numbers[slot as usize];
                let sound = entry.hash <= i32::MAX as u32 && entry.at >= last_at && entry.previous == previous;
                if !sound || entry.at >= cut {
                    break 'entries;
                }
                if entry.at > last_at {
                    (header_before, last_at) = (header, entry.at);
                    held_before.clear();
                }
                held_before.push((slot, previous));
                slots.numbers[slot as usize] = number;
                number += 1;
                header.used_slots += i32::from(previous == 0);
                header.count = number as i32;
                header.end_at = entry.at;
                header.end_timestamp = entry.stored(&header);
            }
        }
        let complete = followed && number == end;
        if complete {
            header.end_timestamp = self.header.end_timestamp;
        } else {
            for (slot, previous) in held_before.into_iter().rev() {
                slots.numbers[slot as usize] = previous;
            }
            header = header_before;
        }
        self.header = header;
        self.header_changed = true;
        self.slots = Some(slots);
        Ok((!complete).then_some(last_at.max(0)))
    }
}

/// Commit log offset of the first record at or behind `not_before` that has keys, read on from the record at `from`. `None`
/// if there is none nearby.
fn first_with_keys(config: &StoreConfig, segments: &Segments, from: i64, not_before: i64) -> io::Result<Option<i64>> {
    const NEARBY: i64 = 1 << 20;
    let how = Walk { verify_crc: false, after_crash: None, until: from.saturating_add(NEARBY) };
    let mut found = None;
    let walked = walk(segments, from, how, &mut |met| {
        let Met::Record(record) = met else { return Ok(()) };
        let hash = JavaHash::new().update(record.topic).update("#");
        let keys = Keys::derive(config, record.topic, hash, record.sys_flag, record.properties);
        let at = record.commit_log_offset.0;
        if found.is_none() && at >= not_before && !keys.hashes().is_empty() {
            found = Some(at);
        }
        Ok(())
    });
    match walked {
        Err(OpenError::Io { error, .. }) => Err(error),
        _ => Ok(found),
    }
}

/// All index files, oldest first.
#[doc(alias = "IndexService")]
#[derive(Debug)]
pub(crate) struct Index {
    disk: Disk,
    dir: PathBuf,
    slot_count: u32,
    entry_count: u32,
    files: Vec<IndexFile>,
    /// Full files that nobody was told of yet who could bring them to disk, and when the last entry of these was stored.
    full: Vec<Arc<Segment>>,
    full_timestamp: i64,
    full_files_timestamp: i64,
    complete_up_to: Option<i64>,
    /// Name of a file whose chains were found damaged.
    doubted: Option<i64>,
}

/// What a query found, newest first.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub at: Vec<i64>,
    pub last_timestamp: i64,
    pub last_at: i64,
}

impl Index {
    pub(crate) fn file_size(slot_count: u32, entry_count: u32) -> u64 {
        HEADER_LEN + SLOT_LEN * u64::from(slot_count) + ENTRY_LEN as u64 * u64::from(entry_count)
    }

    /// Finds the files of `dir`. Nothing is changed.
    pub(crate) fn load(disk: Disk, dir: PathBuf, slot_count: u32, entry_count: u32) -> Result<Index, ListError> {
        let size = Index::file_size(slot_count, entry_count);
        let mut index = Index {
            disk,
            dir,
            slot_count,
            entry_count,
            files: Vec::new(),
            full: Vec::new(),
            full_timestamp: 0,
            full_files_timestamp: 0,
            complete_up_to: None,
            doubted: None,
        };
        let mut listed = files_of(&index.dir)?;
        listed.sort_by(|one, other| one.name.cmp(&other.name));
        for Listed { path, name, size: found } in listed {
            let failed = |error| ListError { path: path.clone(), error };
            let Some(base) = name.parse().ok().filter(|base| (0..NAME_MAX).contains(base)) else {
                tracing::warn!("{} does not belong there: its name is no time; left alone", path.display());
                continue;
            };
            let segment = Segment::existing(&index.disk, path.clone(), base, size, Access::Random);
            let mut header = [0; HEADER_LEN as usize];
            if found >= HEADER_LEN {
                segment.read(&mut header, 0).map_err(failed)?;
            }
            let mut header = Header::decode(&header);
            let count_max = entry_count.min(i32::MAX as u32) as i32;
            let sound = found == size && header.is_sound(count_max);
            header.count = header.count.clamp(1, count_max);
            index.push(segment, header);
            if let Some(file) = index.files.last_mut() {
                file.found = found;
                file.sound = sound;
            }
        }
        Ok(index)
    }

    /// Moves to the quarantine what is damaged, and what comes behind a gap: both are made again from the log, from
    /// [`Index::complete_up_to`] on. `inventory` says what a clean stop left, if nothing happened since.
    pub(crate) fn leave_out_damaged(
        &mut self,
        config: &StoreConfig,
        segments: &Segments,
        clean: bool,
        inventory: Option<&Inventory>,
    ) -> io::Result<()> {
        let log_min = segments.first().map_or(0, |first| first.base);
        let mut keep = self.files.iter().take_while(|file| file.sound && file.has_its_times(segments)).count();
        let mut complete = true;
        if let Some(inventory) = inventory {
            let as_left = |(file, left): &(&IndexFile, &(i64, i32, i64))| file.state() == **left;
            let same = self.files[..keep].iter().zip(&inventory.index).take_while(as_left).count();
            complete = same == inventory.index.len() && same == self.files.len();
            keep = keep.min(same);
        } else {
            for n in 0..keep {
                let (after, already) = match n {
                    0 => (log_min, log_min),
                    _ => (self.files[n - 1].header.end_at, self.files[n - 1].header.end_at.saturating_add(1)),
                };
                let expected = first_with_keys(config, segments, after, already)?;
                let header = &self.files[n].header;
                if header.count > 1 && expected.is_some_and(|expected| header.begin_at > expected) {
                    tracing::warn!(
                        "the index has no keys of messages {expected:?} to {} of the log",
                        header.begin_at - 1
                    );
                    keep = n;
                    break;
                }
            }
            complete &= keep == self.files.len();
        }
        if clean {
            let sound = |file: &&IndexFile| file.ends_as_it_says().unwrap_or(false);
            let mut ends_well = self.files[..keep].iter().take_while(sound).count();
            if inventory.is_none()
                && ends_well > 0
                && ends_well == self.files.len()
                && !self.files[ends_well - 1].has_its_slots()?
            {
                ends_well -= 1;
            }
            complete &= ends_well == keep;
            keep = ends_well;
        }
        for file in self.files.split_off(keep) {
            let path = &file.segment.path;
            if file.found == 0 {
                file.segment.delete()?; // a crash left it before it was anything
            } else {
                let to = quarantine::move_file(&self.disk, &self.dir, path)?;
                tracing::warn!(
                    "{} is moved to {}; the index is made again from there on",
                    path.display(),
                    to.display()
                );
            }
        }
        let last = self.files.iter().rfind(|file| file.header.count > 1).map(|file| file.header.end_at);
        self.complete_up_to = match last {
            _ if complete && inventory.is_some() => None,
            Some(last) if complete => first_with_keys(config, segments, last, last.saturating_add(1))?,
            Some(last) => Some(last),
            None => Some(log_min),
        };
        Ok(())
    }

    /// Commit log offset from which on keys are missing; `None` if none are.
    pub(crate) fn complete_up_to(&self) -> Option<i64> {
        self.complete_up_to
    }

    /// What an [`Inventory`] says of the files. One that was found damaged is left out, so that it is made again.
    pub(crate) fn states(&self) -> Vec<(i64, i32, i64)> {
        let trusted = self.files.iter().take_while(|file| self.doubted != Some(file.segment.base));
        trusted.map(IndexFile::state).collect()
    }

    fn push(&mut self, segment: Arc<Segment>, header: Header) {
        self.files.push(IndexFile {
            segment,
            header,
            slot_count: self.slot_count,
            slots: None,
            unwritten: Vec::new(),
            header_changed: false,
            found: Index::file_size(self.slot_count, self.entry_count),
            sound: true,
        });
    }

    /// Is there no file?
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Commit log offset of the last record that is entered.
    pub(crate) fn last_at(&self) -> Option<i64> {
        self.files.last().filter(|file| file.header.count > 1).map(|file| file.header.end_at)
    }

    /// Store timestamp up to which full files are on disk, once all files are that `write` named so far.
    pub(crate) fn full_files_timestamp(&self) -> i64 {
        self.full_files_timestamp
    }

    /// After a crash: keeps what is sound, of records before `cut`. Files that were full and on disk at store timestamp
    /// `safe` stay as they are. Returns the commit log offset from which on records must be entered again.
    pub(crate) fn recover(&mut self, safe: i64, cut: i64) -> io::Result<i64> {
        // The last file is never safe: its slots are not written before it is full.
        let all_but_last = self.files.len().saturating_sub(1);
        let is_safe = |file: &&IndexFile| file.header.end_timestamp < safe;
        let mut kept = self.files[..all_but_last].iter().take_while(is_safe).count();
        // Files are brought to disk in their order: the first that ends at that very time is the one it speaks of.
        kept +=
            usize::from(self.files[kept..all_but_last].first().is_some_and(|file| file.header.end_timestamp == safe));
        let mut resume = None;
        while kept < self.files.len() {
            let followed = kept + 1 < self.files.len();
            let file = &mut self.files[kept];
            kept += 1;
            resume = file.rebuild(cut, followed)?;
            if resume == Some(0) && kept > 1 {
                // Nothing was in it; the last record of the file before may have been about to go on in it.
                resume = Some(self.files[kept - 2].header.end_at);
            }
            if resume.is_some() {
                break;
            }
            let file = &mut self.files[kept - 1];
            file.write()?;
            file.write_slots()?;
            file.segment.sync()?;
            file.slots = None;
        }
        for dropped in self.files.split_off(kept) {
            dropped.segment.delete()?;
        }
        if let Some(empty) = self.files.pop_if(|file| file.count() == 1) {
            empty.segment.delete()?;
        }
        Ok(resume.unwrap_or(0))
    }

    /// Enters keys, in memory. Takes them off `items`, as far as that is possible.
    pub(crate) fn add(&mut self, items: &mut Vec<IndexItem>) -> io::Result<()> {
        let mut entered = 0;
        let added = self.add_counted(items, &mut entered);
        items.drain(..entered);
        added
    }

    fn add_counted(&mut self, items: &[IndexItem], entered: &mut usize) -> io::Result<()> {
        for item in items {
            let full = match self.files.last() {
                Some(file) => file.count() >= self.entry_count,
                None => true,
            };
            if full {
                self.begin_file()?;
            }
            if let Some(file) = self.files.last_mut() {
                file.add(item)?;
            }
            *entered += 1;
        }
        Ok(())
    }

    /// Completes a full file and begins the next, named by the local time.
    fn begin_file(&mut self) -> io::Result<()> {
        let mut last_name = 0;
        let mut inherited = Header { count: 1, ..Header::default() };
        if let Some(full) = self.files.last_mut() {
            full.write()?;
            full.write_slots()?;
            full.slots = None;
            last_name = full.segment.base;
            inherited.end_timestamp = full.header.end_timestamp;
            inherited.end_at = full.header.end_at;
            self.full.push(full.segment.clone());
            self.full_timestamp = full.header.end_timestamp;
        }
        let now = jiff::Zoned::now().strftime("%Y%m%d%H%M%S%3f").to_string();
        let name = now.parse::<i64>().unwrap_or(0).max(last_name + 1);
        let path = self.dir.join(format!("{name:017}"));
        let size = Index::file_size(self.slot_count, self.entry_count);
        let segment = Segment::create(&self.disk, path, name, size, Access::Random)?;
        self.push(segment, inherited);
        if let Some(file) = self.files.last_mut() {
            file.slots = Some(Slots::new(self.slot_count));
        }
        Ok(())
    }

    /// Writes what was entered, and names the files that have to be brought to disk. Slots stay in memory.
    pub(crate) fn write(&mut self, touched: &mut Vec<Arc<Segment>>) -> io::Result<()> {
        touched.append(&mut self.full);
        self.full_files_timestamp = self.full_timestamp;
        if let Some(file) = self.files.last_mut()
            && file.write()?
        {
            touched.push(file.segment.clone());
        }
        Ok(())
    }

    /// Leaves the files complete and on disk.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        for full in self.full.drain(..) {
            full.sync()?;
        }
        self.full_files_timestamp = self.full_timestamp;
        if let Some(file) = self.files.last_mut() {
            let changed = file.write()? | file.slots.as_ref().is_some_and(|slots| slots.changed.contains(&true));
            file.write_slots()?;
            if changed {
                file.segment.sync()?;
            }
        }
        Ok(())
    }

    /// Commit log offsets of up to `max` messages whose key has this hash, stored `begin_ms` to `end_ms` give or take a
    /// second. Other keys may have the same hash.
    pub(crate) fn find(&mut self, hash: u32, max: usize, begin_ms: i64, end_ms: i64) -> io::Result<Found> {
        let mut found = Found::default();
        let mut doubted = None;
        if let Some(newest) = self.files.last() {
            (found.last_timestamp, found.last_at) = (newest.header.end_timestamp, newest.header.end_at);
        }
        for file in self.files.iter().rev() {
            let header = &file.header;
            if header.count <= 1
                || header.begin_timestamp > end_ms
                || header.end_timestamp.saturating_add(999) < begin_ms
            {
                continue;
            }
            let count = file.count();
            let slot = hash % self.slot_count;
            let mut number = file.newest_in_slot(slot)?;
            while number > 0 && number < count && found.at.len() < max {
                let entry = file.entry(number)?;
                if entry.hash % self.slot_count != slot {
                    doubted = Some(file.segment.clone());
                    break; // whose chain is this?
                }
                let stored = entry.stored(header);
                if stored.saturating_add(999) < begin_ms {
                    break;
                }
                if entry.hash == hash && stored <= end_ms && found.at.last() != Some(&entry.at) {
                    found.at.push(entry.at);
                }
                if entry.previous >= number {
                    break; // a chain only goes back
                }
                number = entry.previous;
            }
            if found.at.len() >= max || header.begin_timestamp < begin_ms {
                break;
            }
        }
        if let Some(segment) = doubted.filter(|segment| self.doubted.is_none_or(|doubted| segment.base < doubted)) {
            let path = segment.path.display();
            tracing::warn!("{path} is damaged: messages may not be found by key; a restart makes the index again");
            self.doubted = Some(segment.base);
        }
        Ok(found)
    }

    /// Deletes files all of whose messages are gone, but never the last. Says how many.
    pub(crate) fn delete_before(&mut self, log_min: i64) -> io::Result<usize> {
        let all_but_last = self.files.len().saturating_sub(1);
        let gone = self.files[..all_but_last].iter().take_while(|file| file.header.end_at < log_min).count();
        for file in self.files.drain(..gone) {
            file.segment.delete()?;
        }
        Ok(gone)
    }
}
