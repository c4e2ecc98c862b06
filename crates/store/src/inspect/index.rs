//! The entries of all index files, one after the other, held against the records of the log.
//!
//! Both lie in the order of the log, so one walk through both is enough.

use std::io;
use std::sync::Arc;

use super::finding::{Finding, Kind};
use super::summary::header;
use super::verify::Hashes;
use super::{Directory, State};
use crate::index::{ENTRY_LEN, Entry, HEADER_LEN, Header, SLOT_LEN};
use crate::segment::Segment;

/// Bytes of entries read at a time.
const READ_LEN: usize = 1 << 20;

/// Records, one after the other, whose keys the index lacks.
struct Missing {
    first: i64,
    last: i64,
    keys: u64,
    records: u64,
}

pub(super) struct IndexStream<'a> {
    directory: &'a Directory,
    file: usize,
    header: Header,
    /// Number of the next entry.
    number: u32,
    entries: Vec<Entry>,
    /// Number of the first of `entries`.
    entries_from: u32,
    /// What the entries so far make of the slots.
    slots: Vec<u32>,
    last_at: i64,
    peeked: Option<Entry>,
    findings: Vec<Finding>,
    chains: u64,
    missing: Option<Missing>,
    wrong: Option<(i64, u64)>,
}

impl<'a> IndexStream<'a> {
    pub(super) fn new(directory: &'a Directory) -> IndexStream<'a> {
        let mut stream = IndexStream {
            directory,
            file: 0,
            header: Header::default(),
            number: 1,
            entries: Vec::new(),
            entries_from: 1,
            slots: Vec::new(),
            last_at: -1,
            peeked: None,
            findings: Vec::new(),
            chains: 0,
            missing: None,
            wrong: None,
        };
        stream.open();
        stream
    }

    fn segment(&self) -> Option<&'a Arc<Segment>> {
        self.directory.index.get(self.file)
    }

    fn problem(&mut self, reason: String) {
        if let Some(segment) = self.segment() {
            self.findings.push(Finding::new(Kind::BrokenIndex, reason).in_file(&segment.path, None));
        }
    }

    /// Begins with a file.
    fn open(&mut self) {
        let Some(segment) = self.segment() else { return };
        (self.number, self.entries_from, self.chains) = (1, 1, 0);
        self.entries.clear();
        self.slots = vec![0; self.directory.config.index_slots as usize];
        self.header = match header(segment) {
            Ok(header) => header,
            Err(error) => {
                self.problem(format!("it cannot be read: {error}"));
                Header::default()
            }
        };
        let entries = self.directory.config.index_entries as i32;
        if self.header.count > entries || self.header.count < 0 {
            self.problem(format!("it says that its next entry is {}, there is room for {entries}", self.header.count));
            self.header.count = self.header.count.clamp(0, entries);
        }
    }

    /// Ends with a file: are its slots as the entries say?
    fn close(&mut self) {
        let Some(segment) = self.segment() else { return };
        if self.chains > 0 {
            let chains = self.chains;
            self.problem(format!("{chains} entries do not lead to the entry before in their slot"));
        }
        // The slots of the newest file are written when the store is closed.
        let last = self.file + 1 == self.directory.index.len();
        if self.chains == 0 && (!last || self.directory.state == State::Clean) {
            match slots_that_differ(segment, &self.slots) {
                Ok(0) => {}
                Ok(differ) => self.problem(format!("{differ} slots do not lead to their newest entry")),
                Err(error) => self.problem(format!("it cannot be read: {error}")),
            }
        }
        self.file += 1;
        self.open();
    }

    fn next(&mut self) -> Option<Entry> {
        loop {
            let segment = self.segment()?;
            let count = self.header.count.max(1) as u32;
            if self.number >= count {
                self.close();
                continue;
            }
            let n = (self.number - self.entries_from) as usize;
            if n >= self.entries.len() {
                match self.read(segment, count) {
                    Ok(()) => continue,
                    Err(error) => {
                        self.problem(format!("it cannot be read: {error}"));
                        self.number = count;
                        continue;
                    }
                }
            }
            let entry = self.entries[n];
            let slot = (entry.hash % self.directory.config.index_slots) as usize;
            if entry.previous != self.slots[slot] {
                self.chains += 1;
            }
            self.slots[slot] = self.number;
            self.number += 1;
            return Some(entry);
        }
    }

    fn read(&mut self, segment: &Arc<Segment>, count: u32) -> io::Result<()> {
        let some = ((count - self.number) as usize).min(READ_LEN / ENTRY_LEN);
        let slots = SLOT_LEN * u64::from(self.directory.config.index_slots);
        let mut bytes = vec![0; some * ENTRY_LEN];
        segment.read(&mut bytes, HEADER_LEN + slots + u64::from(self.number) * ENTRY_LEN as u64)?;
        self.entries_from = self.number;
        self.entries = bytes.as_chunks::<ENTRY_LEN>().0.iter().map(Entry::decode).collect();
        Ok(())
    }

    /// The next entry, if it is that of a record before `end`. Otherwise it stays the next.
    fn next_before(&mut self, end: i64) -> Option<Entry> {
        let entry = self.peeked.take().or_else(|| self.next())?;
        if entry.at >= end {
            self.peeked = Some(entry);
            return None;
        }
        if entry.at < self.last_at {
            self.wrong(entry.at);
        }
        self.last_at = entry.at.max(self.last_at);
        Some(entry)
    }

    fn wrong(&mut self, at: i64) {
        let (_, count) = self.wrong.get_or_insert((at, 0));
        *count += 1;
    }

    /// Takes the entries up to those of the record at `at`, and sees that these are `hashes`.
    pub(super) fn record(&mut self, at: i64, hashes: Hashes, settled: bool) {
        if self.directory.index.is_empty() {
            return;
        }
        let mut has = Vec::new();
        while let Some(entry) = self.next_before(at + 1) {
            if entry.at == at {
                has.push(entry.hash);
            } else if entry.at >= self.directory.log_min() {
                self.wrong(entry.at);
            }
        }
        for hash in has.iter().filter(|_| !hashes.any) {
            if !hashes.all.contains(hash) {
                self.wrong(at);
            }
        }
        let missing = hashes.all.iter().filter(|hash| Some(**hash) != hashes.optional && !has.contains(hash)).count();
        match &mut self.missing {
            _ if missing == 0 || !settled => self.end_missing(),
            Some(run) => {
                (run.last, run.records) = (at, run.records + 1);
                run.keys += missing as u64;
            }
            None => self.missing = Some(Missing { first: at, last: at, keys: missing as u64, records: 1 }),
        }
    }

    /// Passes over the entries of damaged records. The records behind begin at `end`.
    pub(super) fn damaged(&mut self, from: i64, end: i64) {
        while let Some(entry) = self.next_before(end) {
            if entry.at >= self.directory.log_min() && entry.at < from {
                self.wrong(entry.at);
            }
        }
    }

    fn end_missing(&mut self) {
        if let Some(Missing { first, last, keys, records }) = self.missing.take() {
            let reason = format!("{records} messages up to {last} are not found by {keys} of their keys");
            self.findings.push(Finding { count: keys, ..Finding::new(Kind::MissingKey, reason).at(first) });
        }
    }

    /// What was found. The log ends at `end`.
    pub(super) fn finish(mut self, end: i64) -> Vec<Finding> {
        self.end_missing();
        while let Some(entry) = self.next_before(i64::MAX) {
            // A running store goes on, one that crashed may have lost the end of its log.
            if self.directory.state == State::Clean || entry.at < end {
                self.wrong(entry.at);
            }
        }
        if let Some((at, count)) = self.wrong.take() {
            let reason = "entries of the index lead to records that are not there or have not the key".to_owned();
            self.findings.push(Finding { count, ..Finding::new(Kind::WrongKey, reason).at(at) });
        }
        self.findings
    }
}

fn slots_that_differ(segment: &Arc<Segment>, slots: &[u32]) -> io::Result<u64> {
    let mut differ = 0;
    let mut bytes = Vec::new();
    for (n, some) in slots.chunks(READ_LEN / SLOT_LEN as usize).enumerate() {
        bytes.resize(some.len() * SLOT_LEN as usize, 0);
        segment.read(&mut bytes, HEADER_LEN + (n * READ_LEN) as u64)?;
        let there = bytes.as_chunks::<4>().0.iter().map(|number| u32::from_be_bytes(*number));
        differ += there.zip(some).filter(|(there, expected)| there != *expected).count() as u64;
    }
    Ok(differ)
}
