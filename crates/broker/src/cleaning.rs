//! Which messages go, and when: what the store is told to delete.
//!
//! 1. topics with limits of their own (`reserve.time`, `reserve.bytes`) serve no more than those allow
//! 2. files of the log older than `fileReservedTime` go, at the hours of `deleteWhen`, or at any hour when the disk fills
//! 3. on a disk that is almost full, the oldest files go however young, as many as it takes
//! 4. nothing goes that is needed still: [`Broker::needed`] is the one list of that

use crate::transaction::TRANSACTION_GROUP;
use crate::{Broker, Config};
use protocol::topic::{SCHEDULE_TOPIC, TIMER_TOPIC, TRANSACTION_HALF_TOPIC};
use std::io;
use std::time::{Duration, SystemTime};
use store::{Clean, Cleaned, Needed, QueueOffset, Space, SpaceState};

/// What the disk says about files of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// So many bytes must become free, by messages that are not expired.
    wanted: u64,
    /// So many would have to, which is more than all of the log: others fill this disk.
    hopeless: u64,
}

/// More than so many percent of a disk are used: by how many bytes?
fn beyond(space: &Space, percent: u8) -> u64 {
    let all = space.used.saturating_add(space.free);
    space.used.saturating_sub((all as f64 * f64::from(percent) / 100.0) as u64)
}

/// Does a disk fill?
fn fills(space: &Space, config: &Config) -> bool {
    space.state != SpaceState::Enough || beyond(space, config.disk_max_used_space_ratio) > 0
}

/// Judges the disk of the log. `deletable` are the bytes of the log that could go; `full`: messages are refused.
fn room(space: &Space, full: bool, deletable: u64, config: &Config) -> Room {
    let mut over = config.disk_space_clean_forcibly_ratio.map_or(0, |percent| beyond(space, percent));
    if full {
        over = over.max(space.needed.saturating_sub(space.free));
    }
    match over {
        _ if !config.clean_file_forcibly => Room::default(),
        // A part of it would be lost for nothing.
        over if over > deletable => Room { hopeless: over, wanted: 0 },
        over => Room { wanted: over, hopeless: 0 },
    }
}

impl Broker {
    /// Stops serving, and deletes, what is not to be kept any more, in the `hour`th hour of the local day. `now` answers
    /// with the time by which to judge what is kept for so long. Blocks.
    pub fn clean(&self, now: &dyn Fn(Duration) -> SystemTime, hour: u8) -> io::Result<()> {
        self.store.expire(now)?;
        let (worst, space) = (self.store.space()?, self.store.log_space()?);
        let full = worst.state == SpaceState::Full;
        let room = room(&space, full, self.store.deletable_bytes(), &self.config);
        let needed = self.needed()?;
        let cleaned = self.store.clean(&Clean {
            now: now(self.config.file_reserved_time),
            expired: fills(&worst, &self.config)
                || fills(&space, &self.config)
                || self.config.delete_when.contains(&hour),
            wanted: room.wanted,
            needed: &needed,
            files_max: self.config.delete_file_batch_max as usize,
            pause: self.config.delete_commit_log_files_interval,
            tell_held_after: self.config.destroy_mapped_file_interval_forcibly,
        })?;
        self.timer.delete_before(self.store.commit_log_bounds().0)?;
        self.tell(&space, room, &cleaned);
        Ok(())
    }

    /// Is it well to clean at once?
    pub(crate) fn disk_fills(&self) -> bool {
        [self.store.space(), self.store.log_space()].iter().flatten().any(|space| fills(space, &self.config))
    }

    /// Messages that must stay in the log however old they are.
    fn needed(&self) -> io::Result<Vec<Needed>> {
        let mut needed = Vec::new();
        for level in self.delay.levels() {
            // What was delivered counts once that is noted on disk: until then a crash makes us look again.
            let next = self.delay.noted_on_disk(level);
            if let Some(from) = self.store.place_of(SCHEDULE_TOPIC, level - 1, next)? {
                let delay = self.delay.delay(level);
                needed.push(Needed {
                    from,
                    by: format!("messages of delay level {level} ({delay:?}) are to be delivered"),
                });
            }
        }
        let (in_wheel, not_yet) = self.timer.needed()?;
        let not_yet = not_yet.map_or(Ok(None), |next| self.store.place_of(TIMER_TOPIC, 0, next))?;
        if let Some(from) = in_wheel.into_iter().chain(not_yet).min() {
            needed.push(Needed { from, by: "timed messages are to be delivered".into() });
        }
        let half = self.offsets.get(TRANSACTION_GROUP, TRANSACTION_HALF_TOPIC, 0).unwrap_or(0);
        if let Some(from) = self.store.place_of(TRANSACTION_HALF_TOPIC, 0, QueueOffset(half))? {
            needed.push(Needed { from, by: "transactions are neither committed nor rolled back".into() });
        }
        Ok(needed)
    }

    /// Says, when it begins, that deleting does not help.
    fn tell(&self, space: &Space, room: Room, cleaned: &Cleaned) {
        let why = match (&cleaned.kept, room) {
            (Some(by), Room { wanted: 1.., .. }) if cleaned.commit_log == 0 => {
                Some(format!("the oldest file is kept: {by}"))
            }
            (_, Room { hopeless: 1.., .. }) => Some(format!(
                "{} bytes would have to go, which is more than all the messages that could: others fill this disk",
                room.hopeless
            )),
            (None, Room { wanted: 1.., .. }) if cleaned.commit_log == 0 && self.store.held().files == 0 => {
                Some("all messages are in the file that is being written".into())
            }
            _ => None,
        };
        let mut told = self.no_room_told.lock();
        if let Some(why) = why.as_ref().filter(|_| told.is_none()) {
            tracing::error!(
                "{} is {:.0} % used, {} bytes are free, and no messages are deleted to make room: {why}; make room there",
                space.path.display(),
                space.used_ratio() * 100.0,
                space.free
            );
        }
        *told = why;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn space(used: u64, free: u64, state: SpaceState) -> Space {
        Space { path: "/store/commitlog".into(), total: used + free, used, free, needed: 0, least: 0, state }
    }

    fn judge(space: &Space, deletable: u64, config: &Config) -> (bool, Room) {
        (fills(space, config), room(space, space.state == SpaceState::Full, deletable, config))
    }

    const NOTHING: Room = Room { wanted: 0, hopeless: 0 };

    #[test]
    fn a_disk_that_fills_takes_first_what_is_expired_then_as_much_as_it_takes() {
        let config = Config::default();
        let of = |used| judge(&space(used * GIB, (100 - used) * GIB, SpaceState::Enough), 50 * GIB, &config);
        assert_eq!(of(75), (false, NOTHING));
        assert_eq!(of(76), (true, NOTHING));
        assert_eq!(of(85), (true, NOTHING));
        assert_eq!(of(88), (true, Room { wanted: 3 * GIB, hopeless: 0 }));
        let never = Config { clean_file_forcibly: false, ..config };
        assert_eq!(judge(&space(99 * GIB, GIB, SpaceState::Full), 50 * GIB, &never), (true, NOTHING));
    }

    #[test]
    fn messages_are_not_given_up_where_that_would_not_help() {
        let config = Config::default();
        let full = space(95 * GIB, 5 * GIB, SpaceState::Enough);
        assert_eq!(judge(&full, 9 * GIB, &config), (true, Room { wanted: 0, hopeless: 10 * GIB }));
        assert_eq!(judge(&full, 11 * GIB, &config), (true, Room { wanted: 10 * GIB, hopeless: 0 }));
    }

    #[test]
    fn free_bytes_count_where_percents_say_nothing() {
        let config = Config { disk_space_clean_forcibly_ratio: None, ..Config::default() };
        let low = space(60 * GIB, GIB, SpaceState::Low);
        assert_eq!(judge(&low, 9 * GIB, &config), (true, NOTHING));
        let full = Space { needed: 3 * GIB, state: SpaceState::Full, ..low };
        assert_eq!(judge(&full, 9 * GIB, &config), (true, Room { wanted: 2 * GIB, hopeless: 0 }));
    }
}
