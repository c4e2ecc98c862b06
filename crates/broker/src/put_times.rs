//! How long messages take from the moment the broker has them until they are written, or on disk if that was promised.
//!
//! Messages of one turn of a data thread are written together: they count with the time of the first of them.

use parking_lot::Mutex;
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// Upper bounds of `cometmq_put_latency_seconds`.
pub(crate) const SECONDS: [f64; 11] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0];

/// The bounds between which `putMessageDistributeTime` counts, milliseconds, and how it names what lies there.
#[doc(alias = "PUT_MESSAGE_ENTIRE_TIME_MAX_DESC")]
const DISTRIBUTION: [(i64, &str); 13] = [
    (1, "<=0ms"),
    (10, "0~10ms"),
    (50, "10~50ms"),
    (100, "50~100ms"),
    (200, "100~200ms"),
    (500, "200~500ms"),
    (1000, "500ms~1s"),
    (2000, "1~2s"),
    (3000, "2~3s"),
    (4000, "3~4s"),
    (5000, "4~5s"),
    (10_000, "5~10s"),
    (i64::MAX, "10s~"),
];

/// Steps of the percentiles: so many of so many milliseconds, one behind the other.
#[doc(alias = "PUT_MESSAGE_ENTIRE_TIME_BUCKETS")]
const STEPS: [(i64, usize); 7] = [(1, 20), (2, 15), (5, 10), (10, 10), (50, 6), (100, 5), (1000, 9)];

thread_local! {
    /// Messages that this thread has put and not written, and since when.
    static PUT: Cell<(i64, Option<Instant>)> = const { Cell::new((0, None)) };
}

/// All times since the broker was started, and how they were when the last minute began and ended.
#[derive(Debug)]
pub struct PutTimes {
    /// Microseconds: a message counts at the first bound that it does not reach.
    bounds: Box<[i64]>,
    counts: Box<[AtomicI64]>,
    micros: AtomicI64,
    longest: AtomicI64,
    minute: Mutex<Minute>,
}

#[derive(Debug, Default)]
struct Minute {
    /// Counts at its end.
    end: Vec<i64>,
    /// What came in it.
    counts: Vec<i64>,
}

impl Default for PutTimes {
    fn default() -> PutTimes {
        // Whole milliseconds are told, the rest cut off: up to n ms is less than n + 1.
        let steps = percentile_bounds().into_iter().map(|millis| (millis + 1) * 1000);
        let distribution = DISTRIBUTION.iter().map(|(millis, _)| millis.saturating_mul(1000));
        let seconds = SECONDS.iter().map(|bound| (bound * 1e6) as i64 + 1);
        let mut bounds: Vec<i64> = steps.chain(distribution).chain(seconds).collect();
        bounds.sort_unstable();
        bounds.dedup();
        let counts = bounds.iter().map(|_| AtomicI64::new(0)).collect();
        let (micros, longest, minute) = Default::default();
        PutTimes { bounds: bounds.into(), counts, micros, longest, minute }
    }
}

/// Milliseconds.
fn percentile_bounds() -> Vec<i64> {
    let steps = STEPS.iter().flat_map(|(step, times)| std::iter::repeat_n(*step, *times));
    steps
        .scan(0, |bound, step| {
            *bound += step;
            Some(*bound)
        })
        .collect()
}

impl PutTimes {
    /// This thread has put so many messages, which [`PutTimes::written`] will be about.
    pub(crate) fn put(&self, messages: i64) {
        let (before, since) = PUT.get();
        PUT.set((before + messages, since.or_else(|| Some(Instant::now()))));
    }

    /// What this thread has put is written.
    pub(crate) fn written(&self) {
        if let (messages, Some(since)) = PUT.take() {
            self.took(messages, since.elapsed());
        }
    }

    /// So many messages took so long.
    pub(crate) fn took(&self, messages: i64, time: Duration) {
        let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX - 1);
        let bound = self.bounds.partition_point(|bound| *bound <= micros);
        self.counts[bound].fetch_add(messages, Ordering::Relaxed);
        self.micros.fetch_add(micros.saturating_mul(messages), Ordering::Relaxed);
        if micros > self.longest.load(Ordering::Relaxed) {
            self.longest.fetch_max(micros, Ordering::Relaxed);
        }
    }

    fn counts(&self) -> Vec<i64> {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// A minute is over.
    pub(crate) fn look(&self) {
        let (now, mut minute) = (self.counts(), self.minute.lock());
        minute.end.resize(now.len(), 0);
        minute.counts = now.iter().zip(&minute.end).map(|(now, before)| now - before).collect();
        minute.end = now;
    }

    /// How many of `counts` lie between two bounds, microseconds.
    fn between(&self, counts: &[i64], from: i64, to: i64) -> i64 {
        self.bounds
            .iter()
            .zip(counts)
            .filter(|(bound, _)| **bound > from && **bound <= to)
            .map(|(_, count)| count)
            .sum()
    }

    /// Of the last whole minute: `[<=0ms]:3 [0~10ms]:1 …`.
    #[doc(alias = "putMessageDistributeTime")]
    pub(crate) fn distribution(&self) -> String {
        let (mut text, mut from, minute) = (String::new(), 0, self.minute.lock());
        for (bound, name) in DISTRIBUTION {
            let to = bound.saturating_mul(1000);
            text.push_str(&format!("[{name}]:{} ", self.between(&minute.counts, from, to)));
            from = to;
        }
        text
    }

    /// Within how many milliseconds such a part of the last whole minute's messages was put.
    #[doc(alias = "findPutMessageEntireTimePX")]
    pub(crate) fn percentile(&self, part: f64) -> f64 {
        let minute = self.minute.lock();
        let all: i64 = minute.counts.iter().sum();
        let wanted = (all as f64 * part) as i64;
        let (mut passed, mut low) = (0, 0);
        for high in percentile_bounds() {
            // Nothing takes less than no time: the first step begins with it.
            let from = if low == 0 { 0 } else { (low + 1) * 1000 };
            let count = self.between(&minute.counts, from, (high + 1) * 1000);
            if wanted <= passed + count {
                let rest = (wanted - passed) as f64 / count.max(1) as f64;
                return low as f64 + (high - low) as f64 * rest;
            }
            (passed, low) = (passed + count, high);
        }
        low as f64
    }

    /// The longest since the start, milliseconds.
    #[doc(alias = "putMessageEntireTimeMax")]
    pub(crate) fn longest_millis(&self) -> i64 {
        self.longest.load(Ordering::Relaxed) / 1000
    }

    /// Counts up to each of [`SECONDS`] and behind, and the sum in seconds.
    pub(crate) fn histogram(&self) -> (Vec<i64>, f64) {
        let (counts, mut from) = (self.counts(), 0);
        let bounds = SECONDS.iter().map(|bound| (bound * 1e6) as i64 + 1).chain([i64::MAX]);
        let counts = bounds.map(|to| self.between(&counts, std::mem::replace(&mut from, to), to)).collect();
        (counts, self.micros.load(Ordering::Relaxed) as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_apaches_brokers_tell_them() {
        let times = PutTimes::default();
        assert_eq!((times.percentile(0.99), times.longest_millis()), (0.0, 0));
        for (messages, millis) in [(90, 0), (5, 1), (3, 12), (1, 9999), (1, 10_000)] {
            times.took(messages, Duration::from_millis(millis));
        }
        times.look();
        let text = "[<=0ms]:90 [0~10ms]:5 [10~50ms]:3 [50~100ms]:0 [100~200ms]:0 [200~500ms]:0 [500ms~1s]:0 [1~2s]:0 \
                    [2~3s]:0 [3~4s]:0 [4~5s]:0 [5~10s]:1 [10s~]:1 ";
        assert_eq!(times.distribution(), text);
        assert_eq!(times.longest_millis(), 10_000);
        // 95 of 100 are in the first step; the 96th to 98th take 12 ms, in the step from 11 to 12.
        assert_eq!((times.percentile(0.95), times.percentile(0.98)), (1.0, 12.0));
        // The two that are left lie between 9 and 10 s: the first of them halfway.
        assert_eq!(times.percentile(0.99), 9500.0);
        times.look();
        assert_eq!((times.percentile(0.99), times.longest_millis()), (0.0, 10_000), "nothing in that minute");
    }

    #[test]
    fn messages_of_a_turn_count_with_the_time_of_its_first() {
        let times = PutTimes::default();
        times.written();
        times.put(2);
        times.put(1);
        times.written();
        let (counts, seconds) = times.histogram();
        assert_eq!(counts.iter().sum::<i64>(), 3);
        assert!((0.0..60.0).contains(&seconds), "{seconds}");
        times.took(4, Duration::from_micros(100));
        times.took(5, Duration::from_secs(2));
        let (counts, _) = times.histogram();
        assert!(counts[0] >= 4, "{counts:?}");
        assert_eq!(counts.last(), Some(&5));
    }
}
