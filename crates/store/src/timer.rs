//! What waits for its time: a wheel of slots, one for each tick, and a log that says which messages lie in each.
//!
//! 1. a message is laid into the slot of its time: a unit at the end of the log, which the slot points to   ([`Timers::add`])
//! 2. when a slot's tick is over, its messages are read, oldest first                                       ([`Timers::units`])
//! 3. once what follows from it is on disk, that is noted                                                   ([`Saving`])
//!
//! The log and the wheel are brought to disk before the checkpoint that speaks of them, and units before slots that point
//! to them. So a start finds what the checkpoint says, and perhaps more: that is undone ([`Timers::open`]), and done again
//! from the messages. The files are Apache's: `timerwheel`, `timerlog/`, `config/timercheck`.
//!
//! Nothing here knows what a message is or when it is now.

mod log;
#[cfg(test)]
mod tests;
mod wheel;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::message::CommitLogOffset;

use crate::disk::Disk;
use crate::failure::is_full;
use crate::segment::{Access, Segment};
pub use log::Unit;
use log::{TimerLog, Window};
pub use wheel::SLOTS;
use wheel::{Slot, Turned, Wheel};

/// So many slots may have changed since they were last brought to disk.
const CHANGED_MAX: usize = 200_000;
/// So many bytes before the place that another's checkpoint speaks of are done again: its wheel may lack some of them.
const DONE_AGAIN: i64 = 1 << 20;

/// How timers are kept.
#[derive(Clone, Debug)]
pub struct TimerConfig {
    /// Directory of the store.
    pub root: PathBuf,
    /// Milliseconds of a tick.
    pub precision: i64,
    /// Bytes of a file of the timer log.
    pub file_size: u64,
    /// The way to the files.
    pub disk: Disk,
}

/// Did we write these bytes of `config/timercheck`, and no broker of Apache's since?
pub fn is_ours(timercheck: &[u8]) -> bool {
    timercheck.first_chunk::<{ Check::USED }>().is_some_and(Check::is_ours)
}

/// Where to go on with the messages that are to be laid in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// At this offset of their queue.
    At(i64),
    /// Behind this message.
    Behind(CommitLogOffset),
}

/// How far everything is worked off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    /// All slots before this tick are delivered.
    tick: i64,
    /// All messages before this offset of their queue are laid in, or delivered.
    queue_offset: i64,
    /// End of the timer log.
    end: i64,
}

/// The wheel, its log and its checkpoint.
#[doc(alias = "TimerMessageStore")]
#[derive(Debug)]
pub struct Timers {
    config: TimerConfig,
    wheel: Wheel,
    log: TimerLog,
    tick: i64,
    queue_offset: i64,
    check: Check,
    /// What the checkpoint on disk says.
    saved: Progress,
    /// What it is to say next, once the log of messages is on disk.
    noted: Option<Progress>,
    /// Something was laid in or delivered since that was noted.
    changed: bool,
    /// It is being brought to disk.
    saving: bool,
    /// Nothing was laid in behind this tick, as far as is known.
    latest: i64,
    /// Tick and first unit of the slot that has the oldest unit of all.
    oldest: Option<(i64, i64)>,
    /// A file may not be on disk, and nobody can tell.
    distrusted: bool,
}

/// The file `config/timercheck`: 72 bytes of 4096 are used, in one sector, so that a write is there wholly or not at all.
/// The first 56 are Apache's. The rest says that they are ours: once a broker of Apache's wrote, the checksum is wrong.
#[derive(Clone, Debug)]
struct Check {
    disk: Disk,
    path: PathBuf,
    file: Option<Arc<Segment>>,
    /// How often it was saved.
    counter: i64,
}

impl Check {
    const SIZE: u64 = 4096;
    const USED: usize = 72;
    /// Of the bytes that are Apache's.
    const APACHES: usize = 56;
    const MAGIC: [u8; 8] = *b"CometMQ\x01";

    fn encode(progress: &Progress, precision: i64, counter: i64, now: i64) -> [u8; Check::USED] {
        let mut bytes = [0; Check::USED];
        let (millis, offset) = (progress.tick * precision, progress.queue_offset);
        let numbers = [millis, progress.end, offset, offset, 0, now, counter];
        for (place, number) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
            *place = number.to_be_bytes();
        }
        bytes[Check::APACHES..64].copy_from_slice(&Check::MAGIC);
        bytes[64..68].copy_from_slice(&(precision as i32).to_be_bytes());
        let sum = crc32fast::hash(&bytes[..68]);
        bytes[68..].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    fn is_ours(bytes: &[u8; Check::USED]) -> bool {
        bytes[Check::APACHES..64] == Check::MAGIC && bytes[68..] == crc32fast::hash(&bytes[..68]).to_be_bytes()
    }

    /// The numbers, and whether we wrote them, for ticks of this length.
    fn decode(bytes: &[u8; Check::USED], precision: i64) -> (Progress, i64, bool) {
        let number = |n: usize| i64::from_be_bytes(bytes.as_chunks::<8>().0[n]).max(0);
        let is_ours = Check::is_ours(bytes) && bytes[64..68] == (precision as i32).to_be_bytes();
        let progress = Progress { tick: number(0) / precision, queue_offset: number(2), end: number(1) };
        (progress, number(6), is_ours)
    }

    fn write(&mut self, bytes: &[u8; Check::USED]) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file.clone(),
            None => {
                let created = Segment::create(&self.disk, self.path.clone(), 0, Check::SIZE, Access::Random)?;
                self.file.insert(created).clone()
            }
        };
        file.write(bytes, 0)?;
        file.sync()
    }
}

impl Timers {
    /// Opens what is in `config.root`, and brings it in order after a crash. `now` in ms since 1970.
    ///
    /// What another program left, or a crash, may be done in part: it is undone up to the checkpoint. Where that is not
    /// possible, everything is laid in anew from the messages. Makes no file that is not there.
    pub fn open(config: TimerConfig, now: i64) -> io::Result<(Timers, Resume)> {
        let path = config.root.join("config").join("timercheck");
        let size = std::fs::metadata(&path).map_or(0, |found| found.len());
        let file = (size >= Check::SIZE)
            .then(|| Segment::existing(&config.disk, path.clone(), 0, Check::SIZE, Access::Random));
        let mut bytes = [0; Check::USED];
        file.as_ref().map_or(Ok(()), |file| file.read(&mut bytes, 0))?;
        let (noted, counter, is_ours) = Check::decode(&bytes, config.precision);
        let wheel_path = config.root.join("timerwheel");
        let (wheel_there, wheel) = (wheel_path.exists(), Wheel::open(&config.disk, wheel_path));
        let (log_dir, file_size) = (config.root.join("timerlog"), config.file_size);
        let log = TimerLog::open(&config.disk, log_dir.clone(), file_size, noted.end)?;
        let log_fits = log.is_some();
        let tick = if noted.tick == 0 { now / config.precision } else { noted.tick };
        let mut timers = Timers {
            wheel,
            log: log.unwrap_or_else(|| TimerLog::empty(&config.disk, log_dir, file_size)),
            tick,
            queue_offset: noted.queue_offset,
            check: Check { disk: config.disk.clone(), path, file, counter },
            saved: Progress { tick, ..noted },
            noted: None,
            changed: false,
            saving: false,
            latest: if wheel_there { i64::MAX } else { 0 },
            oldest: None,
            distrusted: false,
            config,
        };
        let (first, last) = timers.log.bounds();
        let fits = log_fits
            && timers.wheel.is_there() == wheel_there
            && (wheel_there || noted.end == 0)
            && (first..=last).contains(&noted.end);
        let resume = if !wheel_there && last == 0 && noted.end == 0 {
            Resume::At(noted.queue_offset)
        } else if !fits && is_ours && noted.end == 0 {
            // They were just being made: the checkpoint speaks of nothing in them.
            timers.clear()?;
            Resume::At(noted.queue_offset)
        } else if !fits {
            timers.begin_anew("its files do not belong together")?
        } else if is_ours {
            timers.log.end = noted.end;
            if timers.log.is_written_at(noted.end)? {
                timers.undo()?;
            }
            Resume::At(noted.queue_offset)
        } else if !timers.ticks_fit()? {
            timers.begin_anew("its ticks are not those of timerPrecisionMs")?
        } else {
            timers.log.end = timers.log.place_before((noted.end - DONE_AGAIN).max(first));
            timers.undo()?;
            let before = if timers.log.end > first { Some(timers.log.before(timers.log.end)) } else { None };
            let unit = before.map(|before| timers.log.unit(before, &mut Window::default())).transpose()?.flatten();
            match unit {
                Some((unit, _)) => Resume::Behind(unit.at),
                // Nothing was ever laid in; or all that is left of it is done again.
                None if noted.end == 0 => Resume::At(noted.queue_offset),
                None => Resume::At(0),
            }
        };
        Ok((timers, resume))
    }

    /// Forgets everything: all messages are to be laid in again.
    fn begin_anew(&mut self, why: &str) -> io::Result<Resume> {
        tracing::warn!(
            "the timer wheel in {} is made again from the messages: {why}; none is lost, and some may be late meanwhile",
            self.config.root.display()
        );
        let progress = Progress { tick: self.tick, queue_offset: 0, end: 0 };
        self.check.counter += 1;
        self.check.write(&Check::encode(&progress, self.config.precision, self.check.counter, 0))?;
        self.clear()?;
        (self.saved, self.queue_offset) = (progress, 0);
        (self.noted, self.changed) = (None, false);
        Ok(Resume::At(0))
    }

    /// Nothing waits.
    fn clear(&mut self) -> io::Result<()> {
        self.wheel.clear()?;
        let dir = self.config.root.join("timerlog");
        self.config.disk.delete_directory(&dir)?;
        self.log = TimerLog::empty(&self.config.disk, dir, self.config.file_size);
        (self.oldest, self.latest) = (None, 0);
        Ok(())
    }

    /// Lays everything in anew; `why` is for the log.
    pub fn restart(&mut self, why: &str) -> io::Result<Resume> {
        self.begin_anew(why)
    }

    /// Takes back what was laid in behind the end of the log.
    fn undo(&mut self) -> io::Result<()> {
        let end = self.log.end;
        let mut ahead = Vec::new();
        self.wheel.for_each(|slot| {
            if slot.last >= end {
                ahead.push(slot);
            }
        })?;
        for slot in ahead {
            let mut window = Window::default();
            let (mut last, mut count) = (slot.last, slot.count);
            while last >= end {
                let unit = self.log.unit(last, &mut window)?;
                let unit = unit.filter(|(unit, before)| self.tick_of(unit.slot_time) == slot.tick && *before < last);
                last = unit.map_or(-1, |(_, before)| before);
                count -= unit.map_or(0, |(unit, _)| if unit.recalls { -1 } else { 1 });
            }
            let first = if slot.first < end { slot.first } else { last };
            self.wheel.set(slot.tick, (last >= 0).then_some(Slot { first, last, count, ..slot }));
        }
        // The slots first: they are undone by what is cut next.
        let mut turned = self.wheel.turned();
        turned.write()?;
        self.wheel.written(turned);
        self.log.cut(end)
    }

    /// Do the ticks in the wheel belong to the times in the log? One of them tells of all.
    fn ticks_fit(&self) -> io::Result<bool> {
        let mut newest: Option<Slot> = None;
        self.wheel.for_each(|slot| {
            if slot.last >= 0 && newest.is_none_or(|newest| slot.last > newest.last) {
                newest = Some(slot);
            }
        })?;
        let Some(newest) = newest else { return Ok(true) };
        let unit = self.log.unit(newest.last, &mut Window::default())?;
        Ok(unit.is_none_or(|(unit, _)| self.tick_of(unit.slot_time) == newest.tick))
    }

    /// The tick that this moment is in.
    pub fn tick_of(&self, millis: i64) -> i64 {
        millis.div_euclid(self.config.precision)
    }

    /// Begin of a tick, in ms since 1970.
    pub fn begin_of(&self, tick: i64) -> i64 {
        tick.saturating_mul(self.config.precision)
    }

    /// All slots before this tick are delivered.
    pub fn tick(&self) -> i64 {
        self.tick
    }

    /// Offset of the first message, in its queue, that is neither laid in nor delivered.
    pub fn queue_offset(&self) -> i64 {
        self.queue_offset
    }

    /// The same, as it is on disk: after a crash it goes on there.
    pub fn saved_queue_offset(&self) -> i64 {
        self.saved.queue_offset
    }

    /// All messages before this offset of their queue are laid in or delivered.
    pub fn set_queue_offset(&mut self, offset: i64) {
        self.changed |= self.queue_offset != offset;
        self.queue_offset = offset;
    }

    /// The slot of this tick, which was the next one with something in it, is delivered.
    pub fn delivered(&mut self, tick: i64) {
        self.changed = true;
        self.pass(tick + 1);
    }

    /// Nothing waits before this tick.
    pub fn pass(&mut self, tick: i64) {
        self.tick = self.tick.max(tick);
    }

    /// Is there nothing that could be due some time?
    pub fn is_empty(&self) -> bool {
        !self.wheel.is_there() && self.wheel.changed() == 0
    }

    /// Has this time a slot that no delivered and no other time's messages are in?
    pub fn has_room(&self, slot_time: i64) -> bool {
        self.tick_of(slot_time) < self.tick + SLOTS && self.wheel.changed() < CHANGED_MAX
    }

    /// May it be turned back? Slots that were delivered are forgotten by that: so a checkpoint must have said so.
    pub fn can_turn_back(&self) -> bool {
        self.distrusted || !(self.changed || self.noted.is_some() || self.saving)
    }

    /// Does something wait in a slot that another time needs, once it is turned back to this tick?
    pub fn is_too_far_back(&self, tick: i64) -> io::Result<bool> {
        let reach = tick.saturating_add(SLOTS).max(self.tick);
        Ok(self.wheel.next(reach..self.tick + SLOTS)?.is_some())
    }

    /// The clock was set back: what is laid in from now on may be due before what was delivered. Only if
    /// [`Timers::can_turn_back`], and not if [`Timers::is_too_far_back`]: then it is to be made anew first.
    pub fn turn_back(&mut self, tick: i64) -> io::Result<()> {
        let mut from = tick.max(self.tick - SLOTS);
        while let Some(delivered) = self.wheel.next(from..self.tick)? {
            self.wheel.set(delivered, None);
            from = delivered + 1;
        }
        (self.tick, self.oldest, self.changed) = (tick, None, true);
        Ok(())
    }

    /// Lays messages in, in their order. Nothing is done if it fails.
    pub fn add(&mut self, units: &[Unit]) -> io::Result<()> {
        let mut slots: HashMap<i64, Slot> = HashMap::with_capacity(units.len());
        let (mut placed, mut end) = (Vec::with_capacity(units.len()), self.log.end);
        let mut latest = self.latest;
        for unit in units {
            let tick = self.tick_of(unit.slot_time);
            let position = self.log.place(end);
            let slot = match slots.get(&tick) {
                Some(slot) => Some(*slot),
                None => self.wheel.slot(tick)?,
            };
            let before = slot.map_or(-1, |slot| slot.last);
            let count = slot.map_or(0, |slot| slot.count) + if unit.recalls { -1 } else { 1 };
            let first = slot.map_or(position, |slot| slot.first);
            slots.insert(tick, Slot { tick, first, last: position, count });
            latest = latest.max(tick);
            placed.push((position, before, *unit));
            end = TimerLog::behind(position);
        }
        self.log.append(&placed)?;
        slots.into_iter().for_each(|(tick, slot)| self.wheel.set(tick, Some(slot)));
        (self.latest, self.changed) = (latest, true);
        Ok(())
    }

    /// Nothing waits from this tick on.
    pub fn end(&self) -> i64 {
        self.latest.saturating_add(1).min(self.tick + SLOTS)
    }

    /// The first tick before `until` in whose slot something waits.
    pub fn next(&self, until: i64) -> io::Result<Option<i64>> {
        self.next_from(self.tick, until)
    }

    /// The first tick from `from` and before `until` in whose slot something waits.
    pub fn next_from(&self, from: i64, until: i64) -> io::Result<Option<i64>> {
        let from = from.max(self.tick);
        self.wheel.next(from..until.min(from.saturating_add(SLOTS)))
    }

    /// How many messages wait in a slot, less those that recall others.
    pub fn count(&self, tick: i64) -> io::Result<i32> {
        Ok(self.wheel.slot(tick)?.filter(|slot| slot.tick >= self.tick).map_or(0, |slot| slot.count))
    }

    /// Positions of a slot's units, oldest first. An error of kind `InvalidData`: the log is damaged.
    pub fn slot(&self, tick: i64) -> io::Result<Vec<i64>> {
        let mut positions = Vec::new();
        let Some(slot) = self.wheel.slot(tick)? else { return Ok(positions) };
        let (first, _) = self.log.bounds();
        let (mut window, mut position) = (Window::default(), slot.last);
        // What was in a deleted file was about messages that are not there any more.
        while position >= first {
            positions.push(position);
            position = self.whole_unit(tick, position, &mut window)?.1;
        }
        positions.reverse();
        Ok(positions)
    }

    /// The units at these positions of a slot.
    pub fn units(&self, tick: i64, positions: &[i64]) -> io::Result<Vec<Unit>> {
        let mut window = Window::default();
        positions.iter().map(|position| Ok(self.whole_unit(tick, *position, &mut window)?.0)).collect()
    }

    fn whole_unit(&self, tick: i64, position: i64, window: &mut Window) -> io::Result<(Unit, i64)> {
        let unit = self.log.unit(position, window)?;
        unit.filter(|(unit, before)| self.tick_of(unit.slot_time) == tick && *before < position).ok_or_else(|| {
            let dir = self.config.root.join("timerlog");
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("no unit of tick {tick} is at {position} of {}", dir.display()),
            )
        })
    }

    /// The oldest message that lies in a slot, as after a crash now.
    pub fn oldest(&mut self) -> io::Result<Option<CommitLogOffset>> {
        if self.oldest.is_none_or(|(tick, _)| tick < self.saved.tick) {
            let mut oldest: Option<(i64, i64)> = None;
            self.wheel.for_each(|slot| {
                if slot.tick >= self.saved.tick && oldest.is_none_or(|(_, first)| slot.first < first) {
                    oldest = Some((slot.tick, slot.first));
                }
            })?;
            self.oldest = oldest;
        }
        let Some((_, first)) = self.oldest else { return Ok(None) };
        let position = first.max(self.log.bounds().0);
        Ok(self.log.unit(position, &mut Window::default())?.map(|(unit, _)| unit.at))
    }

    /// Deletes files of the log that are only about messages before `log_min`. Answers with how many.
    pub fn delete_before(&mut self, log_min: CommitLogOffset) -> io::Result<usize> {
        self.log.delete_before(log_min)
    }

    /// Is there anything that the checkpoint does not say yet? Ticks that only went by are nothing.
    pub fn has_changed(&self) -> bool {
        self.changed && !self.distrusted
    }

    /// Remembers how far everything is worked off now, for the next [`Saving`]: when all that was put until now is on disk.
    pub fn note(&mut self) {
        self.noted = Some(Progress { tick: self.tick, queue_offset: self.queue_offset, end: self.log.end });
        self.changed = false;
    }

    /// What was noted is to be brought to disk. `None`: nothing is noted.
    pub fn save(&mut self, now: i64) -> Option<Saving> {
        let progress = self.noted.take().filter(|_| !self.distrusted)?;
        self.check.counter += 1;
        self.saving = true;
        Some(Saving {
            touched: self.log.take_touched(),
            turned: self.wheel.turned(),
            check: self.check.clone(),
            bytes: Check::encode(&progress, self.config.precision, self.check.counter, now),
            progress,
        })
    }

    /// What became of it.
    pub fn saved(&mut self, saving: Saving, outcome: io::Result<()>) {
        let Saving { touched, turned, check, progress, .. } = saving;
        (self.check.file, self.saving) = (check.file, false);
        match outcome {
            Ok(()) => {
                self.wheel.written(turned);
                self.saved = progress;
            }
            Err(error) if is_full(&error) => {
                tracing::warn!(
                    "timers are not brought to disk: {error}; none is lost, and it is tried again: make room"
                );
                self.log.give_back(touched);
                self.changed = true;
            }
            Err(error) => {
                // A disk that loses one write may have lost others: the next start does it again from the last checkpoint.
                tracing::error!(
                    "the timer wheel in {} may not be on disk ({error}); no message is lost, and the next start makes it \
                     again: check the disk",
                    self.config.root.display()
                );
                self.distrusted = true;
            }
        }
    }
}

/// Log, wheel and checkpoint on their way to disk. Nobody has to wait for it.
#[derive(Debug)]
pub struct Saving {
    touched: Vec<Arc<Segment>>,
    turned: Turned,
    check: Check,
    bytes: [u8; Check::USED],
    progress: Progress,
}

impl Saving {
    /// Units, then the slots that point to them, then the checkpoint that speaks of both. Blocks.
    pub fn run(&mut self) -> io::Result<()> {
        for file in &self.touched {
            file.sync()?;
        }
        self.turned.write()?;
        self.check.write(&self.bytes)
    }
}
