//! The file `timerwheel`: one slot per tick, in a circle.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::Disk;
use crate::segment::{Access, Segment};

/// Slots of the wheel: two weeks of ticks of a second.
pub const SLOTS: i64 = 2 * 7 * 24 * 3600;
/// Bytes of a slot.
const SLOT: usize = 32;
/// Slots that are read together.
const PAGE: i64 = 128;

/// One slot, 32 bytes, big-endian:
///
/// ```text
/// | tick: 8 | first unit: 8 | last unit: 8 | count: 4 | unused: 4 |
/// ```
///
/// It says something about a tick only if it has that tick: what it says of an earlier turn of the wheel is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub tick: i64,
    /// Position of its first unit in the timer log.
    pub first: i64,
    /// Position of its last unit.
    pub last: i64,
    /// Messages in it, less recalls.
    pub count: i32,
}

impl Slot {
    fn decode(bytes: &[u8; SLOT]) -> Slot {
        let number = |at: usize| bytes[at..].first_chunk().map_or(0, |number| i64::from_be_bytes(*number));
        let count = bytes[24..].first_chunk().map_or(0, |number| i32::from_be_bytes(*number));
        Slot { tick: number(0), first: number(8), last: number(16), count }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        for number in [self.tick, self.first, self.last] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
    }
}

fn index(tick: i64) -> i64 {
    tick.rem_euclid(SLOTS)
}

/// The wheel: its file, and what changed since it was last brought there.
#[derive(Debug)]
pub(crate) struct Wheel {
    disk: Disk,
    path: PathBuf,
    /// `None`: there is none yet.
    file: Option<Arc<Segment>>,
    /// By index; `None`: empty.
    changed: HashMap<i64, Option<Slot>>,
}

/// Changed slots on their way to the file.
#[derive(Debug)]
pub(crate) struct Turned {
    disk: Disk,
    path: PathBuf,
    file: Option<Arc<Segment>>,
    slots: Vec<(i64, Option<Slot>)>,
}

impl Wheel {
    const SIZE: u64 = SLOTS as u64 * SLOT as u64;

    /// A file of another size is none.
    pub(crate) fn open(disk: &Disk, path: PathBuf) -> Wheel {
        let file = std::fs::metadata(&path).ok().filter(|found| found.len() == Wheel::SIZE);
        let file = file.map(|_| Segment::existing(disk, path.clone(), 0, Wheel::SIZE, Access::Random));
        Wheel { disk: disk.clone(), path, file, changed: HashMap::new() }
    }

    pub(crate) fn is_there(&self) -> bool {
        self.file.is_some()
    }

    /// What is in the slot of `tick`.
    pub(crate) fn slot(&self, tick: i64) -> io::Result<Option<Slot>> {
        let found = match (self.changed.get(&index(tick)), &self.file) {
            (Some(slot), _) => *slot,
            (None, Some(file)) => {
                let mut bytes = [0; SLOT];
                file.read(&mut bytes, (index(tick) * SLOT as i64) as u64)?;
                Some(Slot::decode(&bytes))
            }
            (None, None) => None,
        };
        Ok(found.filter(|slot| slot.tick == tick))
    }

    pub(crate) fn set(&mut self, tick: i64, slot: Option<Slot>) {
        self.changed.insert(index(tick), slot);
    }

    /// The first tick of `ticks` whose slot has something in it.
    pub(crate) fn next(&self, ticks: std::ops::Range<i64>) -> io::Result<Option<i64>> {
        let mut page = [0; PAGE as usize * SLOT];
        let mut tick = ticks.start;
        while tick < ticks.end {
            let from = index(tick);
            // Pages do not go over the end of the file, as it is a multiple of theirs.
            let count = (PAGE - from % PAGE).min(ticks.end - tick);
            let bytes = &mut page[..count as usize * SLOT];
            if let Some(file) = &self.file {
                file.read(bytes, (from * SLOT as i64) as u64)?;
            }
            let is_empty = self.changed.is_empty() && bytes.iter().all(|byte| *byte == 0);
            for (at, bytes) in (tick..).zip(bytes.as_chunks::<SLOT>().0).filter(|_| !is_empty) {
                let slot = match self.changed.get(&index(at)) {
                    Some(slot) => *slot,
                    None => Some(Slot::decode(bytes)),
                };
                if slot.is_some_and(|slot| slot.tick == at && at > 0) {
                    return Ok(Some(at));
                }
            }
            tick += count;
        }
        Ok(None)
    }

    /// Every slot that has something in it, whatever its tick.
    pub(crate) fn for_each(&self, mut each: impl FnMut(Slot)) -> io::Result<()> {
        let mut page = [0; PAGE as usize * SLOT];
        let mut at = 0;
        while let Some(file) = &self.file
            && let Some(data) = file.next_data(at)?
        {
            at = data.start - data.start % page.len() as u64;
            while at < data.end.min(Wheel::SIZE) {
                let len = page.len().min((Wheel::SIZE - at) as usize);
                file.read(&mut page[..len], at)?;
                for (n, bytes) in (at as i64 / SLOT as i64..).zip(page[..len].as_chunks::<SLOT>().0) {
                    if !self.changed.contains_key(&n) && bytes[..8] != [0; 8] {
                        each(Slot::decode(bytes));
                    }
                }
                at += len as u64;
            }
        }
        self.changed.values().flatten().for_each(|slot| each(*slot));
        Ok(())
    }

    pub(crate) fn changed(&self) -> usize {
        self.changed.len()
    }

    /// What changed, to be written without keeping others from the wheel.
    pub(crate) fn turned(&self) -> Turned {
        let mut slots: Vec<_> = self.changed.iter().map(|(index, slot)| (*index, *slot)).collect();
        slots.sort_unstable_by_key(|(index, _)| *index);
        Turned { disk: self.disk.clone(), path: self.path.clone(), file: self.file.clone(), slots }
    }

    /// It was written.
    pub(crate) fn written(&mut self, turned: Turned) {
        self.file = turned.file;
        for (index, slot) in turned.slots {
            if self.changed.get(&index) == Some(&slot) {
                self.changed.remove(&index);
            }
        }
    }

    /// Forgets all slots, and deletes the file.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.changed.clear();
        self.file = None;
        self.disk.delete(&self.path)
    }
}

impl Turned {
    /// Writes slots, neighbours with one call, and brings them to disk.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        if self.slots.is_empty() {
            return Ok(());
        }
        let file = match &self.file {
            Some(file) => file.clone(),
            None => {
                let created = Segment::create(&self.disk, self.path.clone(), 0, Wheel::SIZE, Access::Random)?;
                self.file.insert(created).clone()
            }
        };
        let mut bytes = Vec::new();
        for run in self.slots.chunk_by(|(one, _), (next, _)| one + 1 == *next) {
            bytes.clear();
            for (_, slot) in run {
                match slot {
                    Some(slot) => slot.encode(&mut bytes),
                    None => bytes.extend_from_slice(&[0; SLOT]),
                }
            }
            file.write(&bytes, (run[0].0 * SLOT as i64) as u64)?;
        }
        file.sync()
    }
}
