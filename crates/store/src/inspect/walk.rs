//! From one end of the log to the other: every record, and every stretch that is none.
//!
//! As recovery walks, but nothing is repaired, and every file may have a length of its own.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::message::CommitLogOffset;
use protocol::record::{Record, RecordError};

use super::{Directory, State};
use crate::recover::{Unsound, Window, first_sound, sound};
use crate::segment::{Segment, Segments};

/// Bytes of the log that are no records, though records follow, or the log's end was no torn one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// First byte.
    pub at: CommitLogOffset,
    /// First byte behind.
    pub end: CommitLogOffset,
    /// The file of the first byte, or where it should be.
    pub file: PathBuf,
    /// Byte of that file.
    pub position: u64,
    /// What is wrong at the first byte.
    pub reason: String,
}

/// What a walk comes by.
#[derive(Debug)]
pub enum Piece<'a> {
    /// A sound record.
    Record {
        /// The record; its own offset is its place.
        record: &'a Record<'a>,
        /// Its file.
        file: &'a Path,
        /// Byte of that file.
        position: u64,
    },
    /// Something else.
    Damaged(&'a Stretch),
}

/// Is given what a walk comes by, and says whether to go on.
pub type Visit<'a> = dyn FnMut(Piece<'_>) -> ControlFlow<()> + 'a;

/// Where a walk ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// First byte behind the last record.
    pub at: i64,
    /// What stands there instead of nothing.
    pub rest: Option<Stretch>,
}

impl Directory {
    /// Visits what the log holds from the first record at or behind `from` on. `from` may be any byte.
    pub fn walk(&self, from: CommitLogOffset, visit: &mut Visit<'_>) {
        let from = from.0.max(self.log_min());
        let begin = match self.log.holding(from) {
            // Where its file begins a record begins; in between that is not known.
            Some(segment) if segment.base != from => self.log_files().next_sound(&segment, from),
            _ => Some(from),
        };
        if let Some(begin) = begin {
            self.walk_from(begin, visit);
        }
    }

    /// Visits from `from` on, where a record begins. `None`: the visit was broken off.
    pub(crate) fn walk_from(&self, from: i64, visit: &mut Visit<'_>) -> Option<End> {
        self.log_files().walk(from, visit)
    }

    pub(crate) fn log_files(&self) -> LogFiles<'_> {
        LogFiles {
            files: &self.log,
            file_size: self.config.commit_log_file_size as i64,
            in_use: matches!(self.state, State::InUse { .. }),
        }
    }
}

/// Files of a log, not all of which need to be there.
#[derive(Debug)]
pub(crate) struct LogFiles<'a> {
    pub files: &'a Segments,
    /// Bytes that each should have.
    pub file_size: i64,
    /// Files whose time is over may go meanwhile.
    pub in_use: bool,
}

impl LogFiles<'_> {
    /// Visits from `from` on, where a record begins. `None`: the visit was broken off.
    pub(crate) fn walk(&self, from: i64, visit: &mut Visit<'_>) -> Option<End> {
        let mut window = Window::default();
        let mut wanted = 0;
        let mut again = None;
        let mut at = from;
        loop {
            let Some(segment) = self.files.holding(at) else {
                let Some(next) = self.files.all().into_iter().find(|segment| segment.base > at) else {
                    return Some(End { at, rest: None });
                };
                let at_file_end = self.files.all().iter().any(|segment| self.file_end(segment) == at);
                let reason = if at_file_end { "the file is missing" } else { "the file ends here" };
                let stretch = self.stretch(at, next.base, reason.to_owned());
                visit(Piece::Damaged(&stretch)).is_continue().then_some(())?;
                at = next.base;
                continue;
            };
            let position = (at - segment.base) as u64;
            let reason = match window.read(&segment, position, std::mem::take(&mut wanted)) {
                // Deleted meanwhile, its time being over.
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.in_use => {
                    at = self.file_end(&segment);
                    continue;
                }
                Err(error) => format!("cannot be read: {error}"),
                Ok(bytes) => match sound(bytes, at, true) {
                    Ok(record) => {
                        at += record.bytes.len() as i64;
                        let piece = Piece::Record { record: &record, file: &segment.path, position };
                        visit(piece).is_continue().then_some(())?;
                        continue;
                    }
                    Err(Unsound::Error(RecordError::Truncated { need, .. }))
                        if need > bytes.len() && at.saturating_add(need as i64) <= segment.end() =>
                    {
                        wanted = need;
                        continue;
                    }
                    Err(Unsound::Error(RecordError::Blank { rest }))
                        if at + i64::from(rest) == self.file_end(&segment) =>
                    {
                        at = self.file_end(&segment);
                        continue;
                    }
                    Err(Unsound::Error(error)) => error.to_string(),
                    Err(Unsound::Elsewhere(says)) => format!("the record there says it belongs to {says}"),
                },
            };
            let Some(next) = self.next_sound(&segment, at + 1) else {
                let rest = self.data_end(at).map(|end| self.stretch(at, end, reason));
                return Some(End { at, rest });
            };
            // What is written meanwhile was not there yet when it was read: now that what follows is there, it is.
            if self.in_use && again != Some(at) {
                (again, window) = (Some(at), Window::default());
                continue;
            }
            visit(Piece::Damaged(&self.stretch(at, next, reason))).is_continue().then_some(())?;
            at = next;
        }
    }

    /// Where a file ends if it has the length it should have.
    fn file_end(&self, segment: &Segment) -> i64 {
        segment.base + self.file_size
    }

    pub(crate) fn stretch(&self, at: i64, end: i64, reason: String) -> Stretch {
        let base = at - at % self.file_size;
        Stretch {
            at: CommitLogOffset(at),
            end: CommitLogOffset(end),
            file: self.files.dir().join(format!("{base:020}")),
            position: (at - base) as u64,
            reason,
        }
    }

    /// The first sound record at `from` or behind, in `segment` or a later file. Files that cannot be read have none.
    fn next_sound(&self, segment: &Arc<Segment>, from: i64) -> Option<i64> {
        let later = self.files.all().into_iter().filter(|later| later.base >= segment.base);
        later.into_iter().find_map(|segment| first_sound(&segment, (from - segment.base).max(0) as u64).ok().flatten())
    }

    /// The first byte behind the last that is not zero, if there is one at or behind `at`.
    fn data_end(&self, at: i64) -> Option<i64> {
        let in_file = |segment: &Arc<Segment>| {
            let from = (at - segment.base).max(0) as u64;
            // What cannot be read is not known to be zero.
            let end = last_data(segment, from).unwrap_or(Some(segment.size))?;
            Some(segment.base + end as i64)
        };
        self.files.all().iter().rev().filter(|segment| segment.end() > at).find_map(in_file)
    }
}

/// The byte behind the last that is not zero, at or behind `from`.
fn last_data(segment: &Arc<Segment>, from: u64) -> io::Result<Option<u64>> {
    let (mut at, mut end) = (from, None);
    let mut bytes = Vec::new();
    while at < segment.size
        && let Some(data) = segment.next_data(at)?
    {
        bytes.resize((data.end - data.start).min(1 << 20) as usize, 0);
        segment.read(&mut bytes, data.start)?;
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            end = Some(data.start + last as u64 + 1);
        }
        at = data.start + bytes.len() as u64;
    }
    Ok(end)
}
