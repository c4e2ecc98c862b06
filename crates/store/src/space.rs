//! Room on the file systems that the store lies on: how much there is, and whether it is enough to take messages.
//!
//! Messages are refused while fewer bytes are free than [`StoreConfig::disk_free_min`], and taken again when a quarter
//! more than that is free: what is in flight, consume queues, index and tables still fit into the rest. How full a disk is
//! in percent says nothing of that: a large disk of which nine tenths are used has room for days. Who asks for
//! percents all the same ([`StoreConfig::disk_used_max`]) gets them besides.
//!
//! The files of the store are sparse. What counts is what is free, not the size that a file will have one day.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;

use crate::Store;
use crate::config::StoreConfig;

/// Without [`StoreConfig::disk_free_min`]: this part of the disk must be free,
const FREE_MIN_PART: u64 = 10;
/// but not more than this: so much memory may be on its way to the disk, and the tables fit besides.
const FREE_MIN_MAX: u64 = 256 << 20;

/// What queues and index keep of a message takes at most as much as the message itself, or little more.
const LOG_PART: u64 = 2;

/// Is there room?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpaceState {
    /// Yes.
    Enough,
    /// Soon there will be none: fewer than twice the bytes are free that must be, or more is used than
    /// [`StoreConfig::disk_used_enough`] says and the operator set [`StoreConfig::disk_used_max`]. Old files should go.
    Low,
    /// No: new messages are refused until [`Space::needed`] bytes are free.
    #[doc(alias = "isDiskFull")]
    Full,
}

/// Room on one file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Directory of the store on it.
    pub path: PathBuf,
    /// Bytes that the file system has.
    pub total: u64,
    /// Bytes that are used, by whomever.
    pub used: u64,
    /// Bytes that can still be written. Less than what is left of the total where a part is kept for the administrator.
    pub free: u64,
    /// Bytes that must be free for messages to be taken again, once they are refused.
    pub needed: u64,
    /// With fewer free bytes than this they are refused.
    pub least: u64,
    /// Is that enough?
    pub state: SpaceState,
}

impl Space {
    /// Which part of what can be used is used: 0 to 1, as `df` and Apache's broker count.
    pub fn used_ratio(&self) -> f64 {
        let used = self.used as f64;
        used / (used + self.free as f64).max(1.0)
    }

    fn measure(path: &Path) -> io::Result<Space> {
        // The directory may still have to be made.
        let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
        let found = rustix::fs::statvfs(there)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Space {
            path: path.to_owned(),
            total: bytes(found.f_blocks),
            used: bytes(found.f_blocks.saturating_sub(found.f_bfree)),
            free: bytes(found.f_bavail),
            needed: 0,
            least: 0,
            state: SpaceState::Enough,
        })
    }

    /// The file system that a file of the store is, or should be, on. Where nobody says, there is no room.
    pub(crate) fn on_disk_of(path: &Path, limits: &SpaceLimits) -> Space {
        let unknown =
            Space { path: path.to_owned(), total: 0, used: 0, free: 0, needed: 0, least: 0, state: SpaceState::Enough };
        let mut space = Space::measure(path).unwrap_or(unknown);
        space.judge(limits, false);
        space
    }

    /// Decides whether it is enough, knowing whether it `was_full` before.
    fn judge(&mut self, limits: &SpaceLimits, was_full: bool) {
        let free_min = limits.free_min.unwrap_or((self.total / FREE_MIN_PART).min(FREE_MIN_MAX));
        let free_enough = free_min.saturating_add(free_min / 4);
        let part = |used: f64| ((self.used + self.free) as f64 * (1.0 - used)).ceil() as u64;
        // What must be free, and what must be free again after that was not so.
        let (mut least, mut enough, mut low) = (free_min, free_enough, free_min.saturating_mul(2));
        if let Some(used_max) = limits.used_max {
            let used_enough = limits.used_enough.min(used_max);
            least = least.max(part(used_max));
            enough = enough.max(part(used_enough));
            low = low.max(part(used_enough));
        }
        (self.least, self.needed) = (least, enough);
        self.state = match self.free {
            _ if self.total == 0 => SpaceState::Enough, // some file systems do not say; writes will tell
            free if free < least || was_full && free < enough => SpaceState::Full,
            free if free < low => SpaceState::Low,
            _ => SpaceState::Enough,
        };
    }
}

/// How much room there has to be. It may change while the store is open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpaceLimits {
    /// See [`StoreConfig::disk_free_min`].
    pub free_min: Option<u64>,
    /// See [`StoreConfig::disk_used_max`].
    pub used_max: Option<f64>,
    /// See [`StoreConfig::disk_used_enough`].
    pub used_enough: f64,
}

impl SpaceLimits {
    /// Those of a configuration.
    pub fn of(config: &StoreConfig) -> SpaceLimits {
        SpaceLimits {
            free_min: config.disk_free_min,
            used_max: config.disk_used_max,
            used_enough: config.disk_used_enough,
        }
    }
}

/// The file systems of a store, and which of them are full.
#[derive(Debug)]
pub(crate) struct Spaces {
    places: Mutex<Vec<(PathBuf, bool)>>,
    /// Taken when somebody looks, and by nobody who puts or gets.
    limits: Mutex<SpaceLimits>,
    /// Bytes that may be written to the log before it is looked again, however short ago that was.
    left: AtomicI64,
}

impl Spaces {
    pub(crate) fn of(config: &StoreConfig) -> Spaces {
        let places = vec![(config.commit_log_dir(), false), (config.root.clone(), false)];
        let limits = Mutex::new(SpaceLimits::of(config));
        Spaces { places: Mutex::new(places), limits, left: AtomicI64::new(0) }
    }

    /// What there has to be now.
    pub(crate) fn limits(&self) -> SpaceLimits {
        *self.limits.lock()
    }

    /// `bytes` more are in the log. Is it time to look?
    pub(crate) fn is_used_up(&self, bytes: i64) -> bool {
        self.left.fetch_sub(bytes, Ordering::Relaxed) < bytes
    }

    /// The file system with the least room for us, as it is now.
    pub(crate) fn worst(&self) -> io::Result<Space> {
        let limits = self.limits();
        let mut worst: Option<Space> = None;
        let mut left = u64::MAX;
        for (path, full) in self.places.lock().iter_mut() {
            let failed = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
            let mut space = Space::measure(path).map_err(failed)?;
            space.judge(&limits, *full);
            *full = space.state == SpaceState::Full;
            left = left.min(space.free.saturating_sub(space.least) / LOG_PART);
            if worst.as_ref().is_none_or(|worst| (space.state, worst.free) > (worst.state, space.free)) {
                worst = Some(space);
            }
        }
        self.left.store(i64::try_from(left).unwrap_or(i64::MAX), Ordering::Relaxed);
        worst.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

impl Store {
    /// Room on the file system of the log or of everything else, whichever is worse off, as it is now.
    ///
    /// Costs two system calls. Fails only if the operating system does not say.
    pub fn space(&self) -> io::Result<Space> {
        self.inner.spaces.worst()
    }

    /// From now on, so much room has to be there; whether messages are refused is decided anew, at once.
    pub fn set_space_limits(&self, limits: SpaceLimits) {
        *self.inner.spaces.limits.lock() = limits;
        self.inner.look_at_space();
    }

    /// Room on the file system of the log, as it is now; whether it was refused for want of room before does not count.
    pub fn log_space(&self) -> io::Result<Space> {
        let mut space = Space::measure(&self.inner.config.commit_log_dir())?;
        space.judge(&self.inner.spaces.limits(), false);
        Ok(space)
    }
}

/// Bytes for people: `12.3 MiB`.
pub(crate) struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.iter().find(|(unit, _)| self.0 >= *unit) {
            Some((unit, name)) => write!(f, "{:.1} {name}", self.0 as f64 / *unit as f64),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SpaceState::{Enough, Full, Low};

    const MIB: u64 = 1 << 20;
    const TIB: u64 = 1 << 40;

    fn state(config: &StoreConfig, total: u64, free: u64, was_full: bool) -> SpaceState {
        let mut space = Space {
            path: "/store".into(),
            total,
            used: total - free,
            free,
            needed: 0,
            least: 0,
            state: SpaceState::Enough,
        };
        space.judge(&SpaceLimits::of(config), was_full);
        space.state
    }

    #[test]
    fn a_large_disk_may_be_as_full_as_it_likes_while_there_is_room_for_messages() {
        let config = StoreConfig::new("/store");
        let of = |free, was_full| state(&config, 4 * TIB, free, was_full);
        assert_eq!([of(400 << 30, false), of(513 * MIB, false), of(511 * MIB, false)], [Enough, Enough, Low]);
        assert_eq!([of(257 * MIB, false), of(255 * MIB, false)], [Low, Full]);
        assert_eq!([of(257 * MIB, true), of(319 * MIB, true), of(321 * MIB, true)], [Full, Full, Low]);
    }

    #[test]
    fn of_a_small_disk_a_tenth_stays_free() {
        let config = StoreConfig::new("/store");
        let of = |free, was_full| state(&config, 100 * MIB, free, was_full);
        assert_eq!([of(21 * MIB, false), of(11 * MIB, false), of(9 * MIB, false)], [Enough, Low, Full]);
        assert_eq!([of(12 * MIB, true), of(13 * MIB, true)], [Full, Low]);
    }

    #[test]
    fn a_file_system_that_does_not_say_how_large_it_is_is_not_full() {
        let config = StoreConfig { disk_free_min: Some(1 << 30), ..StoreConfig::new("/store") };
        assert_eq!(state(&config, 0, 0, false), Enough);
    }

    #[test]
    fn bytes_that_the_operator_chose_hold() {
        let config = StoreConfig { disk_free_min: Some(1 << 30), ..StoreConfig::new("/store") };
        assert_eq!(state(&config, TIB, 1023 * MIB, false), Full);
        assert_eq!(state(&config, TIB, 1025 * MIB, false), Low);
        assert_eq!(state(&config, TIB, 1279 * MIB, true), Full);
        let config = StoreConfig { disk_free_min: Some(0), ..config };
        assert_eq!(state(&config, TIB, 0, false), Enough, "left to the file system");
    }

    #[test]
    fn percents_that_the_operator_chose_hold_as_in_apaches_broker() {
        let config = StoreConfig { disk_used_max: Some(0.9), ..StoreConfig::new("/store") };
        let of = |used_percent: u64, was_full| state(&config, TIB, TIB / 100 * (100 - used_percent), was_full);
        assert_eq!([of(84, false), of(86, false), of(89, false), of(91, false)], [Enough, Low, Low, Full]);
        assert_eq!([of(89, true), of(86, true), of(84, true)], [Full, Full, Enough]);
        assert_eq!(state(&config, 100 * TIB, 255 * MIB, false), Full, "there must be room all the same");
    }

    #[test]
    fn limits_that_change_hold_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreConfig::new(dir.path())).unwrap();
        let limits = SpaceLimits { free_min: Some(u64::MAX), used_max: None, used_enough: 0.85 };
        store.set_space_limits(limits);
        assert!(matches!(store.failure(), Some(crate::Failure::DiskFull { .. })), "{:?}", store.failure());
        store.set_space_limits(SpaceLimits { free_min: Some(0), ..limits });
        assert!(store.failure().is_none(), "{:?}", store.failure());
    }

    #[test]
    fn a_real_disk_can_be_asked() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreConfig::new(dir.path())).unwrap();
        let space = store.space().unwrap();
        assert!(space.total >= space.used + space.free && space.free > 0 && space.used_ratio() <= 1.0, "{space:?}");
    }

    #[test]
    fn bytes_are_told_in_the_largest_unit() {
        let told = [0, 1023, 1024, 12 * MIB + MIB / 2, 3 * TIB].map(|bytes| Bytes(bytes).to_string());
        assert_eq!(told, ["0 bytes", "1023 bytes", "1.0 KiB", "12.5 MiB", "3.0 TiB"]);
    }
}
