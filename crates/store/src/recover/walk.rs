//! The log from one record to the next, over what is damaged, to its end.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use memchr::memmem;
use protocol::message::CommitLogOffset;
use protocol::record::{Record, RecordError};

use super::OpenError;
use crate::consume_queue::SECTOR;
use crate::get::read_record;
use crate::segment::{Segment, Segments};

/// Bytes of the log read at a time.
const WINDOW: usize = 4 << 20;
const WINDOW_MIN: usize = 16 << 10;
/// The first three bytes of both magic numbers of records.
const MAGIC_PREFIX: [u8; 3] = [0xDA, 0xA3, 0x20];

/// Up to where the log is known to be on disk: a place, and the store timestamp of a record.
#[derive(Clone, Copy)]
pub(crate) struct Synced {
    pub at: i64,
    pub timestamp: i64,
}

/// What a walk looks at.
#[derive(Clone, Copy)]
pub(crate) struct Walk {
    pub verify_crc: bool,
    /// What is behind this may not have reached the disk. `None` after a clean stop.
    pub after_crash: Option<Synced>,
    /// Where it ends, if the log does not before.
    pub until: i64,
}

/// What a walk comes to.
pub(crate) enum Met<'a> {
    /// A sound record.
    Record(&'a Record<'a>),
    /// From here on up to the next record the log is damaged, or a file of it is gone.
    Damage(i64),
}

/// Visits all sound records from `from` on, and damage between them, and returns where the log ends.
pub(crate) fn walk(
    segments: &Segments,
    from: i64,
    how: Walk,
    visit: &mut dyn FnMut(Met<'_>) -> Result<(), OpenError>,
) -> Result<i64, OpenError> {
    let mut at = from;
    let mut window = Window::default();
    let mut wanted = 0;
    let mut progress = Progress::new(from);
    while at < how.until {
        let Some(segment) = segments.holding(at) else {
            let Some(next) = segments.all().into_iter().find(|segment| segment.base > at) else { return Ok(at) };
            match look_ahead(segments, next.base)? {
                Some(found) if !how.may_be_torn(segments, at, found) => {
                    tracing::warn!("the commit log has no file for {at} to {}; what follows is kept", next.base - 1);
                    visit(Met::Damage(at))?;
                    at = next.base;
                    continue;
                }
                _ => return Ok(at),
            }
        };
        progress.tell(segments, at);
        let failed = |error| OpenError::Io { path: segment.path.clone(), error };
        let bytes = window.read(&segment, (at - segment.base) as u64, wanted).map_err(failed)?;
        let have = bytes.len();
        wanted = 0;
        let reason = match sound(bytes, at, how.verify_crc) {
            Ok(record) if how.after_crash.is_some() && lacks_a_sector(&record, segment.base) => {
                let end = at + record.bytes.len() as i64;
                match look_ahead(segments, end)? {
                    Some(next) if !how.may_be_torn(segments, at, next) => {
                        visit(Met::Record(&record))?;
                        at = end;
                        continue;
                    }
                    _ => return Ok(at),
                }
            }
            Ok(record) => {
                visit(Met::Record(&record))?;
                at += record.bytes.len() as i64;
                continue;
            }
            Err(Unsound::Error(RecordError::Truncated { need, .. }))
                if need > have && at.saturating_add(need as i64) <= segment.end() =>
            {
                wanted = need;
                continue;
            }
            Err(Unsound::Error(RecordError::Blank { rest })) if at + i64::from(rest) == segment.end() => {
                at = segment.end();
                continue;
            }
            Err(Unsound::Error(error)) => error.to_string(),
            Err(Unsound::Elsewhere(says)) => format!("the record there says it belongs to {says}"),
        };
        match look_ahead(segments, at + 1)? {
            Some(next)
                if how.may_be_torn(segments, at, next)
                    && never_reached_the_disk(&segment, at, next).map_err(failed)? =>
            {
                tracing::warn!(
                    "the commit log ends at {at}: what should stand there never reached the disk ({}, byte {}), though \
                     later bytes did",
                    segment.path.display(),
                    at - segment.base
                );
                return Ok(at);
            }
            Some(next) => {
                tracing::warn!(
                    "the commit log is damaged from {at} to {} ({}, byte {}: {reason}); what follows is kept",
                    next - 1,
                    segment.path.display(),
                    at - segment.base
                );
                visit(Met::Damage(at))?;
                at = next;
            }
            None => return Ok(at),
        }
    }
    Ok(at)
}

impl Walk {
    /// May what is at `at` have been lost with the power, though a sound record follows at `next`? Not if either was known to
    /// be on disk.
    fn may_be_torn(&self, segments: &Segments, at: i64, next: i64) -> bool {
        self.after_crash.is_some_and(|synced| {
            let stored = segments
                .holding(next)
                .and_then(|segment| read_record(&segment, (next - segment.base) as u64, next).ok())
                .and_then(|bytes| Record::parse(&bytes).ok().map(|record| record.store_timestamp));
            at >= synced.at && stored.is_some_and(|stored| stored >= synced.timestamp)
        })
    }
}

/// Says how far a walk is, if it takes long.
struct Progress {
    from: i64,
    began: Instant,
    told: Instant,
    end: Option<i64>,
}

impl Progress {
    fn new(from: i64) -> Progress {
        Progress { from, began: Instant::now(), told: Instant::now(), end: None }
    }

    fn tell(&mut self, segments: &Segments, at: i64) {
        if self.told.elapsed() < Duration::from_secs(1) {
            return;
        }
        self.told = Instant::now();
        let end = *self.end.get_or_insert_with(|| end_of_data(segments)).max(&mut (at + 1));
        let done = (at - self.from) as f64;
        let percent = 100.0 * done / (end - self.from).max(1) as f64;
        let rate = done / self.began.elapsed().as_secs_f64() / f64::from(1 << 20);
        let rest = (end - at) >> 20;
        tracing::info!("reading the commit log: {percent:.0} %, {rest} MiB to go at {rate:.0} MiB/s");
    }
}

/// The end of what was ever written, at least roughly.
fn end_of_data(segments: &Segments) -> i64 {
    let Some(last) = segments.last() else { return 0 };
    let mut end = 0;
    while let Ok(Some(data)) = last.next_data(end) {
        end = data.end;
    }
    last.base + end as i64
}

/// Whether the record at `at`, which is not sound, lacks a sector: one that is zero from where the record begins in it.
///
/// Nothing was ever written there before, and a sector reaches the disk wholly or not at all. So of a record that was not
/// brought to disk at least one sector is as it was when the record was not there yet.
fn never_reached_the_disk(segment: &Arc<Segment>, at: i64, next: i64) -> io::Result<bool> {
    let end = next.min(segment.end());
    let mut from = at;
    let mut bytes = Vec::new();
    while from < end {
        let sector_end = segment.base + (from - segment.base) / SECTOR * SECTOR + SECTOR;
        bytes.resize((sector_end.min(segment.end()) - from) as usize, 0);
        segment.read(&mut bytes, (from - segment.base) as u64)?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(true);
        }
        from = sector_end;
    }
    Ok(false)
}

/// No checksum covers topic and properties. If a sector of them never reached the disk it is zero, which neither can be:
/// up to the end of the record if it is the last of both.
fn lacks_a_sector(record: &Record<'_>, base: i64) -> bool {
    let properties = record.properties;
    if properties.last() == Some(&0) || record.topic.contains('\0') {
        return true;
    }
    if memchr::memchr(0, properties).is_none() {
        return false;
    }
    let first = record.commit_log_offset.0 - base + (record.bytes.len() - properties.len()) as i64;
    let to_sector = ((SECTOR - first % SECTOR) % SECTOR) as usize;
    properties
        .get(to_sector..)
        .is_some_and(|rest| rest.chunks_exact(SECTOR as usize).any(|sector| sector.iter().all(|byte| *byte == 0)))
}

pub(crate) enum Unsound {
    Error(RecordError),
    Elsewhere(CommitLogOffset),
}

pub(crate) fn sound(bytes: &[u8], at: i64, verify_crc: bool) -> Result<Record<'_>, Unsound> {
    let record = Record::parse(bytes).map_err(Unsound::Error)?;
    if record.commit_log_offset.0 != at {
        return Err(Unsound::Elsewhere(record.commit_log_offset));
    }
    if verify_crc {
        record.verify_crc().map_err(Unsound::Error)?;
    }
    Ok(record)
}

/// A stretch of a file in memory.
#[derive(Default)]
pub(crate) struct Window {
    base: i64,
    at: u64,
    bytes: Vec<u8>,
    /// Bytes read at a time: few at first, for often the log ends at once.
    step: usize,
}

impl Window {
    /// The bytes of `segment` from `at` on: at least `wanted`, or some, or all that the file has.
    pub(crate) fn read(&mut self, segment: &Arc<Segment>, at: u64, wanted: usize) -> io::Result<&[u8]> {
        let rest = (segment.size - at) as usize;
        let needed = rest.min(wanted.max(4096)) as u64;
        let has = self.base == segment.base && at >= self.at && at + needed <= self.at + self.bytes.len() as u64;
        if !has {
            self.step = (self.step * 4).clamp(WINDOW_MIN, WINDOW);
            self.bytes.resize(rest.min(wanted.max(self.step)), 0);
            segment.read(&mut self.bytes, at)?;
            (self.base, self.at) = (segment.base, at);
        }
        Ok(&self.bytes[(at - self.at) as usize..])
    }
}

/// The first sound record at `at` or behind.
pub(crate) fn look_ahead(segments: &Segments, at: i64) -> Result<Option<i64>, OpenError> {
    for segment in segments.all().iter().filter(|segment| segment.end() > at) {
        let from = (at - segment.base).max(0) as u64;
        let failed = |error| OpenError::Io { path: segment.path.clone(), error };
        if let Some(found) = first_sound(segment, from).map_err(failed)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The first sound record of a file at byte `from` or behind.
pub(crate) fn first_sound(segment: &Arc<Segment>, from: u64) -> io::Result<Option<i64>> {
    let finder = memmem::Finder::new(&MAGIC_PREFIX);
    let mut bytes = Vec::new();
    let mut from = from;
    while let Some(data) = segment.next_data(from)? {
        // The magic number is the second field: the size before it may lie in a page that was never written.
        let start = data.start.saturating_sub(4).max(from);
        let len = ((data.end - start) as usize).min(WINDOW);
        bytes.resize(len, 0);
        segment.read(&mut bytes, start)?;
        for magic in finder.find_iter(&bytes) {
            let Some(record_at) = (start + magic as u64).checked_sub(4).filter(|at| *at >= from) else { continue };
            let at = segment.base + record_at as i64;
            if read_record(segment, record_at, at).is_ok() {
                return Ok(Some(at));
            }
        }
        // A magic number may lie across two windows.
        from = if start + len as u64 == data.end { data.end } else { start + len as u64 - 8 };
    }
    Ok(None)
}
