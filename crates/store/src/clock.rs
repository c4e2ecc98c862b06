//! The wall clock, and what to believe of it when it is set.
//!
//! Durations are measured on the monotonic clock, which nobody sets. The wall clock stamps messages and files, and who
//! asks later how old they are has nothing but stamps. So it is looked at every second: `ClockSteps` keeps how it ran
//! beside the machine's uptime, and tells how far to mistrust it, so that nothing looks older than it is. `config/clock.json` carries
//! that over to the next run; it holds until the machine starts anew, and other stores do without it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::table;

/// From so many milliseconds on it is a step; below, the clock is only not quite exact.
const STEP_MIN: i64 = 1000;

/// More steps than this are not told apart.
const STEPS_MAX: usize = 1024;

/// The wall clock. A test can have one of its own, and set it.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// By how many milliseconds a test has set it.
    set_by: Option<Arc<AtomicI64>>,
}

impl PartialEq for Clock {
    fn eq(&self, other: &Clock) -> bool {
        match (&self.set_by, &other.set_by) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Clock {
    /// A clock that can be set; its clones are set with it.
    pub fn settable() -> Clock {
        Clock { set_by: Some(Arc::default()) }
    }

    /// Sets a settable clock forward, or back, by `millis`. The system's own stays as it is.
    pub fn set_by(&self, millis: i64) {
        if let Some(set_by) = &self.set_by {
            set_by.fetch_add(millis, Ordering::SeqCst);
        }
    }

    /// Now.
    pub fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(u64::try_from(self.now_millis()).unwrap_or(0))
    }

    /// Milliseconds since 1970.
    pub fn now_millis(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        now + self.set_by.as_ref().map_or(0, |set_by| set_by.load(Ordering::Relaxed))
    }
}

/// How the wall clock ran beside the machine's uptime.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClockSteps {
    /// Tells one start of the machine from another.
    boot: String,
    /// From which uptime on the wall clock was how far ahead of the uptime, both in ms. The last holds now.
    steps: VecDeque<(i64, i64)>,
}

impl ClockSteps {
    fn new(boot: String, up: i64, wall: i64) -> ClockSteps {
        ClockSteps { boot, steps: [(up, wall - up)].into() }
    }

    /// Looks at the wall clock. Answers with by how many milliseconds it was set since the last look, if it was.
    fn look(&mut self, up: i64, wall: i64) -> Option<i64> {
        let ahead = wall - up;
        let last = self.steps.back_mut()?;
        let step = ahead.saturating_sub(last.1);
        if step.saturating_abs() < STEP_MIN {
            last.1 = ahead;
            return None;
        }
        self.steps.push_back((up, ahead));
        if self.steps.len() > STEPS_MAX
            && let Some((since, forgotten)) = self.steps.pop_front()
            && let Some(first) = self.steps.front_mut()
        {
            *first = (since, first.1.min(forgotten));
        }
        Some(step)
    }

    /// By how many milliseconds the wall clock may be ahead, for who judges by it what is kept for `kept_for`: what it was
    /// set forward within that time.
    ///
    /// What was stamped before a step forward would look older than it is. By the time the step counts, all that has
    /// really become too old. A step back counts at once: what was stamped before it looks younger, and stays longer.
    fn caution(&self, up: i64, kept_for: Duration) -> i64 {
        let from = up.saturating_sub(i64::try_from(kept_for.as_millis()).unwrap_or(i64::MAX));
        let ends = self.steps.iter().skip(1).map(|(since, _)| *since).chain([i64::MAX]);
        let held_since = self.steps.iter().zip(ends).filter(|(_, end)| *end > from);
        let least = held_since.map(|((_, ahead), _)| *ahead).min().unwrap_or(0);
        self.ahead().saturating_sub(least)
    }

    /// How far the wall clock is ahead of the uptime.
    fn ahead(&self) -> i64 {
        self.steps.back().map_or(0, |(_, ahead)| *ahead)
    }

    /// Is it nearly the same as `other`?
    fn is_like(&self, other: &ClockSteps) -> bool {
        self.boot == other.boot
            && self.steps.len() == other.steps.len()
            && self.ahead().abs_diff(other.ahead()) < STEP_MIN as u64 / 2
    }
}

/// Which start of the machine this is, and how many milliseconds ago it was, sleep included.
#[cfg(target_os = "linux")]
fn uptime() -> (String, i64) {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    (boot.trim().to_owned(), time.tv_sec * 1000 + time.tv_nsec / 1_000_000)
}

/// The same as far as the system tells it: since we started, which is told from no other start.
#[cfg(not(target_os = "linux"))]
fn uptime() -> (String, i64) {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    (String::new(), START.get_or_init(std::time::Instant::now).elapsed().as_millis() as i64)
}

/// A clock that is looked at, and the file that keeps what was seen.
#[derive(Debug)]
pub(crate) struct WatchedClock {
    clock: Clock,
    disk: Disk,
    path: PathBuf,
    steps: ClockSteps,
    saved: ClockSteps,
}

impl WatchedClock {
    /// Begins to look. `last_stamp`: of the last message of the run before, 0 if there is none.
    pub(crate) fn open(clock: &Clock, disk: &Disk, path: PathBuf, last_stamp: i64) -> WatchedClock {
        let (boot, up) = uptime();
        let wall = clock.now_millis();
        let saved = table::load(disk, &path, |bytes| serde_json::from_slice::<ClockSteps>(bytes));
        let saved = match saved {
            Ok(saved) => saved.map(|loaded| loaded.table).unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, "it is not known whether the system's clock was set since the last run");
                ClockSteps::default()
            }
        };
        let is_of_this_boot =
            !boot.is_empty() && saved.boot == boot && saved.steps.back().is_some_and(|(since, _)| *since <= up);
        let steps = if is_of_this_boot {
            saved.clone()
        } else {
            // The machine was started since, and what its clock did in between is not known. It counts as set forward.
            let before = if last_stamp > 0 { last_stamp.min(wall) } else { wall };
            let mut steps = ClockSteps::new(boot, up, before);
            steps.look(up, wall);
            steps
        };
        WatchedClock { clock: clock.clone(), disk: disk.clone(), path, steps, saved }
    }

    /// What the clock would say now if nobody had set it since the run before, or set it forward in that run's last
    /// `kept_for`. Ask before it is looked at.
    pub(crate) fn as_it_ran(&self, kept_for: Duration) -> i64 {
        match self.steps == self.saved {
            true => {
                let up = uptime().1;
                up.saturating_add(self.steps.ahead()).saturating_sub(self.steps.caution(up, kept_for))
            }
            // The run before, if there was one, was on another start of the machine.
            false => self.clock.now_millis(),
        }
    }

    /// Looks whether it was set, and says so in the log.
    pub(crate) fn look(&mut self) {
        let step = self.steps.look(uptime().1, self.clock.now_millis());
        if !self.steps.is_like(&self.saved) {
            let saved = serde_json::to_vec(&self.steps).map_err(std::io::Error::other);
            match saved.and_then(|text| table::save(&self.disk, &self.path, &text)) {
                Ok(()) => self.saved = self.steps.clone(),
                Err(error) => tracing::debug!("can't save {}: {error}", self.path.display()),
            }
        }
        let Some(step) = step else { return };
        let seconds = step.saturating_abs() as f64 / 1000.0;
        if step > 0 {
            tracing::warn!(
                "the system's clock was set {seconds} s forward; messages carry the new time from now on, and no file is \
                 deleted for it before its time"
            );
        } else {
            tracing::warn!(
                "the system's clock was set {seconds} s back; messages carry the last time before that, until the clock \
                 has passed it"
            );
        }
    }

    /// See [`crate::Store::cautious_now`].
    pub(crate) fn cautious_now(&mut self, kept_for: Duration) -> SystemTime {
        self.look();
        let caution = u64::try_from(self.steps.caution(uptime().1, kept_for)).unwrap_or(0);
        let now = self.clock.now();
        now.checked_sub(Duration::from_millis(caution)).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3_600_000;
    const WALL: i64 = 1_700_000_000_000;

    const HOUR: i64 = 3_600_000;

    fn days(days: u64) -> Duration {
        Duration::from_secs(days * 24 * 3600)
    }

    /// A clock that is looked at from uptime 0 on.
    struct Story(ClockSteps);

    impl Story {
        fn begin() -> Story {
            Story(ClockSteps::new("boot".into(), 0, WALL))
        }

        fn look(&mut self, hours: i64, set_by: i64) -> Option<i64> {
            self.0.look(hours * HOUR, WALL + hours * HOUR + set_by)
        }

        /// By how much the judgement is behind the time that has really passed.
        fn caution(&self, hours: i64, kept_days: u64) -> i64 {
            self.0.caution(hours * HOUR, days(kept_days)) - (self.0.ahead() - WALL)
        }
    }

    #[test]
    fn a_step_forward_counts_once_all_that_was_stamped_before_it_is_old_anyway() {
        let mut story = Story::begin();
        assert_eq!(story.look(1, 0), None);
        assert_eq!(story.look(2, DAY), Some(DAY));
        assert_eq!(story.caution(3, 3), 0, "what was stamped before the step has its real age");
        assert_eq!(story.caution(2 + 71, 3), 0);
        assert_eq!(story.caution(2 + 72, 3), -DAY);
        assert_eq!(story.caution(2 + 25, 1), -DAY, "what is kept for a day is judged by the new time after a day");
    }

    #[test]
    fn a_step_back_counts_at_once() {
        let mut story = Story::begin();
        assert_eq!(story.look(2, -600_000), Some(-600_000));
        assert_eq!(story.caution(2, 3), 600_000);
        assert_eq!(story.look(3, 0), Some(600_000), "set right again");
        assert_eq!(story.caution(4, 3), 600_000, "what was stamped in between must not look older");
        assert_eq!(story.caution(3 + 72, 3), 0);
    }

    #[test]
    fn a_clock_that_is_not_quite_exact_makes_no_step() {
        let mut story = Story::begin();
        for hours in 1..100 {
            assert_eq!(story.look(hours, hours * 900), None);
        }
        assert_eq!(story.caution(99, 3), -99 * 900);
    }

    #[test]
    fn a_clock_that_is_set_all_the_time_is_judged_by_its_least() {
        let mut story = Story::begin();
        for n in 0..5000 {
            story.look(0, if n % 2 == 0 { DAY } else { -DAY });
        }
        assert!(story.0.steps.len() <= STEPS_MAX);
        assert_eq!(story.caution(1, 3), DAY);
    }

    #[test]
    fn a_settable_clock_is_set_with_its_clones_and_the_systems_is_not() {
        let clock = Clock::settable();
        let other = clock.clone();
        other.set_by(-DAY);
        let behind = Clock::default().now_millis() - clock.now_millis();
        assert!((DAY - 1000..=DAY + 1000).contains(&behind), "{behind}");
        assert_eq!(Clock::default(), Clock::default());
        assert_ne!(clock, Clock::settable());
    }

    fn assert_about(time: i64, expected: i64) {
        assert!(time.abs_diff(expected) < 60_000, "{time} is not about {expected}");
    }

    #[test]
    fn what_the_clock_did_while_the_machine_was_down_counts_as_a_step() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::settable();
        let now = clock.now_millis();
        let open = || WatchedClock::open(&clock, &Disk::default(), dir.path().join("clock.json"), now - 5 * DAY);
        let mut watched = open();
        assert_about(watched.as_it_ran(days(1)), now);
        assert_about(caution(&mut watched), 5 * DAY);
        if cfg!(target_os = "linux") {
            clock.set_by(DAY);
            let mut watched = open();
            assert_about(watched.as_it_ran(days(1)), now - 5 * DAY);
            assert_about(caution(&mut watched), 6 * DAY);
            assert_eq!(watched.steps.steps.len(), 3, "the uptime tells that it was set between the runs");
        }
        std::fs::write(dir.path().join("clock.json"), r#"{"boot":"another","steps":[[1,2]]}"#).unwrap();
        assert_about(open().as_it_ran(days(1)), clock.now_millis());
        std::fs::write(dir.path().join("clock.json"), "damaged").unwrap();
        assert_about(caution(&mut open()), clock.now_millis() - (now - 5 * DAY));
    }

    fn caution(watched: &mut WatchedClock) -> i64 {
        let now = watched.clock.now();
        now.duration_since(watched.cautious_now(days(3))).map_or(0, |behind| behind.as_millis() as i64)
    }
}
