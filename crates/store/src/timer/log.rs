//! The files of `timerlog`: one unit for each message that was laid into a slot, in the order in which that was done.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::message::CommitLogOffset;

use crate::disk::Disk;
use crate::segment::{Access, Segment, Segments};

/// Bytes of a unit.
const UNIT: usize = 52;
/// Bytes of what stands at the end of a file in which no unit has room any more.
const BLANK: usize = 16;
const BLANK_MAGIC: i32 = 0xCBD4_3194_u32 as i32;
/// Bits of a unit's magic.
const DEFAULT: i32 = 1;
const ROLLS: i32 = 2;
const RECALLS: i32 = 4;
/// Units that are near are read together.
const WINDOW: i64 = 4096;

/// One message in a slot. On disk 52 bytes, big-endian:
///
/// ```text
/// | size = 52: 4 | unit before in the slot, or −1: 8 | magic: 4 | laid in at, ms: 8 | the slot's time less that, ms: 4 |
/// | commit log offset: 8 | record size: 4 | hash of its topic: 4 | 0: 8 |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Where the message is.
    pub at: CommitLogOffset,
    /// Bytes of its record.
    pub size: i32,
    /// When it was laid in: the beginning of that tick, in ms since 1970.
    pub enqueued: i64,
    /// The beginning of the slot's tick, in ms since 1970.
    pub slot_time: i64,
    /// It is due later than the slot, and is put again then.
    pub rolls: bool,
    /// It recalls another message.
    pub recalls: bool,
    /// Java's hash of the topic where it belongs.
    pub topic_hash: i32,
}

impl Unit {
    fn encode(&self, before: i64, out: &mut Vec<u8>) {
        let magic = DEFAULT | if self.rolls { ROLLS } else { 0 } | if self.recalls { RECALLS } else { 0 };
        out.extend_from_slice(&(UNIT as i32).to_be_bytes());
        out.extend_from_slice(&before.to_be_bytes());
        out.extend_from_slice(&magic.to_be_bytes());
        out.extend_from_slice(&self.enqueued.to_be_bytes());
        out.extend_from_slice(&((self.slot_time - self.enqueued) as i32).to_be_bytes());
        out.extend_from_slice(&self.at.0.to_be_bytes());
        out.extend_from_slice(&self.size.to_be_bytes());
        out.extend_from_slice(&self.topic_hash.to_be_bytes());
        out.extend_from_slice(&[0; 8]);
    }

    /// The unit, and the position of the one before it in its slot. `None`: no unit is here.
    fn decode(bytes: &[u8; UNIT]) -> Option<(Unit, i64)> {
        let long = |at: usize| bytes[at..].first_chunk().map_or(0, |number| i64::from_be_bytes(*number));
        let int = |at: usize| bytes[at..].first_chunk().map_or(0, |number| i32::from_be_bytes(*number));
        let magic = int(12);
        let enqueued = long(16);
        let unit = Unit {
            at: CommitLogOffset(long(28)),
            size: int(36),
            enqueued,
            slot_time: enqueued.saturating_add(int(24).into()),
            rolls: magic & ROLLS != 0,
            recalls: magic & RECALLS != 0,
            topic_hash: int(40),
        };
        let is_unit = int(0) == UNIT as i32 && magic & !0xF == 0 && unit.at.0 >= 0 && unit.size > 0 && enqueued > 0;
        is_unit.then_some((unit, long(4)))
    }
}

/// The log.
#[derive(Debug)]
pub(crate) struct TimerLog {
    files: Segments,
    file_size: i64,
    /// Where the next unit goes.
    pub end: i64,
    /// Written, and not yet brought to disk.
    touched: Vec<Arc<Segment>>,
}

/// Bytes that were read, and their position.
#[derive(Debug, Default)]
pub(crate) struct Window {
    bytes: Vec<u8>,
    from: i64,
}

impl TimerLog {
    /// `None`: there are files of another size. `known`: so far it was brought to disk.
    pub(crate) fn open(disk: &Disk, dir: PathBuf, file_size: u64, known: i64) -> io::Result<Option<TimerLog>> {
        let found = Segments::find(disk.clone(), dir, file_size, Access::Random).map_err(|failed| failed.error)?;
        // A power failure may leave a file without the zeros behind what is known.
        let (short, odd): (Vec<_>, Vec<_>) =
            found.odd.into_iter().partition(|(file, size)| *size < file_size && file.base + *size as i64 >= known);
        short.iter().try_for_each(|(file, _)| file.mend_size())?;
        let files = found.segments.all();
        let fits = odd.is_empty()
            && files.windows(2).all(|pair| pair[0].end() == pair[1].base)
            && files.iter().all(|file| file.base % file_size as i64 == 0);
        let log = TimerLog { files: found.segments, file_size: file_size as i64, end: 0, touched: Vec::new() };
        Ok(fits.then_some(log))
    }

    /// Without files.
    pub(crate) fn empty(disk: &Disk, dir: PathBuf, file_size: u64) -> TimerLog {
        let files = Segments::empty(disk.clone(), dir, file_size, Access::Random);
        TimerLog { files, file_size: file_size as i64, end: 0, touched: Vec::new() }
    }

    /// Position of the first unit there is, and behind the last file.
    pub(crate) fn bounds(&self) -> (i64, i64) {
        (self.files.first().map_or(0, |file| file.base), self.files.last().map_or(0, |file| file.end()))
    }

    /// Where a unit goes that is laid in when the log ends at `end`.
    pub(crate) fn place(&self, end: i64) -> i64 {
        let left = self.file_size - end % self.file_size;
        if left < (UNIT + BLANK) as i64 { end + left } else { end }
    }

    /// The last place of a unit in a file.
    fn last_place(&self) -> i64 {
        (self.file_size - BLANK as i64 - UNIT as i64) / UNIT as i64 * UNIT as i64
    }

    /// The place of a unit at or before `position`.
    pub(crate) fn place_before(&self, position: i64) -> i64 {
        let in_file = (position % self.file_size).min(self.last_place());
        position - position % self.file_size + in_file / UNIT as i64 * UNIT as i64
    }

    /// Position of the unit before the one at `position`.
    pub(crate) fn before(&self, position: i64) -> i64 {
        match position % self.file_size {
            0 => position - self.file_size + self.last_place(),
            _ => position - UNIT as i64,
        }
    }

    /// Behind the unit at `position`.
    pub(crate) fn behind(position: i64) -> i64 {
        position + UNIT as i64
    }

    /// Writes units at the end; `units` have the positions that [`TimerLog::place`] gave, and those before in their slots.
    pub(crate) fn append(&mut self, units: &[(i64, i64, Unit)]) -> io::Result<()> {
        let size = self.file_size;
        for run in units.chunk_by(|(one, ..), (next, ..)| one / size == next / size) {
            let position = run[0].0;
            let file = self.file_for(position)?;
            let mut bytes = Vec::with_capacity(run.len() * UNIT);
            run.iter().for_each(|(_, before, unit)| unit.encode(*before, &mut bytes));
            file.write(&bytes, (position - file.base) as u64)?;
            self.touch(file);
            self.end = position + bytes.len() as i64;
        }
        Ok(())
    }

    fn touch(&mut self, file: Arc<Segment>) {
        if !self.touched.iter().any(|touched| Arc::ptr_eq(touched, &file)) {
            self.touched.push(file);
        }
    }

    /// The file that a unit at `position` goes into; the one before gets its end.
    fn file_for(&mut self, position: i64) -> io::Result<Arc<Segment>> {
        if let Some(file) = self.files.holding(position) {
            return Ok(file);
        }
        if let Some(last) = self.files.last().filter(|last| self.end < last.end()) {
            let left = (last.end() - self.end) as i32;
            if left as usize >= BLANK {
                let mut blank = Vec::with_capacity(BLANK);
                blank.extend_from_slice(&left.to_be_bytes());
                blank.extend_from_slice(&[0; 8]);
                blank.extend_from_slice(&BLANK_MAGIC.to_be_bytes());
                last.write(&blank, (self.end - last.base) as u64)?;
                self.touch(last);
            }
        }
        self.files.add(position)
    }

    /// The unit at `position` and the position of the one before it in its slot; `None`: no unit is there.
    pub(crate) fn unit(&self, position: i64, window: &mut Window) -> io::Result<Option<(Unit, i64)>> {
        let offset = position - window.from;
        if offset < 0 || offset + UNIT as i64 > window.bytes.len() as i64 {
            let Some(file) = self.files.holding(position) else { return Ok(None) };
            if position + UNIT as i64 > file.end() {
                return Ok(None);
            }
            let from = (position - WINDOW / 2).max(file.base);
            let to = (position + WINDOW / 2).min(file.end());
            window.bytes.resize((to - from) as usize, 0);
            window.from = from;
            if let Err(error) = file.read(&mut window.bytes, (from - file.base) as u64) {
                window.bytes.clear();
                return Err(error);
            }
        }
        let offset = (position - window.from) as usize;
        Ok(window.bytes[offset..].first_chunk().and_then(Unit::decode))
    }

    /// Has anything been written at `position`, or is there a file behind?
    pub(crate) fn is_written_at(&self, position: i64) -> io::Result<bool> {
        let Some(file) = self.files.holding(position) else { return Ok(self.bounds().1 > position) };
        let mut size = [0; 4];
        if position + 4 <= file.end() {
            file.read(&mut size, (position - file.base) as u64)?;
        }
        Ok(size != [0; 4] || self.bounds().1 > file.end())
    }

    /// The log ends at `end`: everything behind becomes zero.
    pub(crate) fn cut(&mut self, end: i64) -> io::Result<()> {
        for file in self.files.all().into_iter().rev() {
            if file.base >= end {
                self.files.delete(&file)?;
            } else if file.end() > end {
                file.zero_from((end - file.base) as u64)?;
            }
        }
        self.end = end;
        self.files.sync_names()
    }

    /// Files that were written and are not on disk.
    pub(crate) fn take_touched(&mut self) -> Vec<Arc<Segment>> {
        std::mem::take(&mut self.touched)
    }

    pub(crate) fn give_back(&mut self, touched: Vec<Arc<Segment>>) {
        self.touched.extend(touched);
    }

    /// Deletes files, but the last, whose units are all about messages before `log_min`.
    pub(crate) fn delete_before(&mut self, log_min: CommitLogOffset) -> io::Result<usize> {
        let mut deleted = 0;
        let files = self.files.all();
        for file in files.iter().take(files.len().saturating_sub(1)) {
            let last = self.unit(file.base + self.last_place(), &mut Window::default())?;
            if last.is_none_or(|(unit, _)| unit.at >= log_min) {
                break;
            }
            self.files.delete(file)?;
            deleted += 1;
        }
        Ok(deleted)
    }
}
