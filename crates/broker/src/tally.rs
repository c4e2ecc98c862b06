//! Counters by two names, like topic and group, that paths of messages may add to.
//!
//! Each thread has its own counters, which nobody else writes: to count is a look into a table of the thread's own and a few
//! plain additions. What all threads share is locked only when a thread counts under two names for the first time, and while
//! somebody adds up.

use foldhash::HashMap;
use parking_lot::Mutex;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, ThreadId};

/// So many pairs of names are told apart; what comes under others is counted together.
const PAIRS_MAX: usize = 100_000;

type Counters = Arc<[AtomicI64]>;

/// Counters of one kind.
pub(crate) struct Tally(Arc<Shared>);

struct Shared {
    /// So many counters there are for each pair of names.
    width: usize,
    pairs: Mutex<HashMap<Pair, Vec<(ThreadId, Counters)>>>,
    /// Grows when names are forgotten: then threads look anew.
    forgotten: AtomicU64,
    /// What came under more names than are told apart, once for each time.
    left_out: AtomicI64,
}

type Pair = (Box<str>, Box<str>);

/// What a thread has of one [`Tally`].
struct Mine {
    shared: Weak<Shared>,
    forgotten: u64,
    counters: HashMap<Box<str>, HashMap<Box<str>, Counters>>,
}

thread_local! {
    /// Of the few tallies that this thread has counted for.
    static MINE: RefCell<Vec<Mine>> = const { RefCell::new(Vec::new()) };
}

/// Adds to a counter that only this thread changes.
pub(crate) fn add(counter: &AtomicI64, more: i64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

impl Tally {
    /// With so many counters for each pair of names.
    pub(crate) fn new(width: usize) -> Tally {
        let (forgotten, left_out) = Default::default();
        Tally(Arc::new(Shared { width, pairs: Mutex::default(), forgotten, left_out }))
    }

    /// Has `count` add to this thread's counters of a pair of names, by [`add`].
    pub(crate) fn count(&self, one: &str, other: &str, count: impl FnOnce(&[AtomicI64])) {
        MINE.with_borrow_mut(|tallies| {
            let known = tallies.iter().position(|mine| mine.shared.as_ptr() == Arc::as_ptr(&self.0));
            let known = known.unwrap_or_else(|| {
                tallies.retain(|mine| mine.shared.strong_count() > 0);
                let shared = Arc::downgrade(&self.0);
                tallies.push(Mine { shared, forgotten: 0, counters: HashMap::default() });
                tallies.len() - 1
            });
            let mine = &mut tallies[known];
            let forgotten = self.0.forgotten.load(Ordering::Acquire);
            if mine.forgotten != forgotten {
                (mine.forgotten, mine.counters) = (forgotten, HashMap::default());
            }
            if let Some(counters) = mine.counters.get(one).and_then(|others| others.get(other)) {
                return count(counters);
            }
            match self.0.begin(one, other) {
                Some(counters) => {
                    count(&counters);
                    mine.counters.entry(one.into()).or_default().insert(other.into(), counters);
                }
                None => _ = self.0.left_out.fetch_add(1, Ordering::Relaxed),
            }
        });
    }

    /// What all threads counted, by names.
    pub(crate) fn totals(&self) -> BTreeMap<Pair, Vec<i64>> {
        let pairs = self.0.pairs.lock();
        let total = |threads: &Vec<(ThreadId, Counters)>| {
            let sum = |n: usize| threads.iter().map(|(_, counters)| counters[n].load(Ordering::Relaxed)).sum();
            (0..self.0.width).map(sum).collect()
        };
        pairs.iter().map(|(pair, threads)| (pair.clone(), total(threads))).collect()
    }

    /// How often something came under more names than are told apart.
    pub(crate) fn left_out(&self) -> i64 {
        self.0.left_out.load(Ordering::Relaxed)
    }

    /// Forgets names that nobody knows any more.
    pub(crate) fn keep(&self, knows: impl Fn(&str, &str) -> bool) {
        let mut pairs = self.0.pairs.lock();
        let before = pairs.len();
        pairs.retain(|(one, other), _| knows(one, other));
        if pairs.len() < before {
            self.0.forgotten.fetch_add(1, Ordering::Release);
        }
    }
}

impl Shared {
    /// This thread's counters of a pair; it may have had some before names were forgotten.
    fn begin(&self, one: &str, other: &str) -> Option<Counters> {
        let mut pairs = self.pairs.lock();
        let pair = (Box::from(one), Box::from(other));
        if pairs.len() >= PAIRS_MAX && !pairs.contains_key(&pair) {
            return None;
        }
        let (threads, me) = (pairs.entry(pair).or_default(), thread::current().id());
        if let Some((_, counters)) = threads.iter().find(|(thread, _)| *thread == me) {
            return Some(counters.clone());
        }
        let counters: Counters = (0..self.width).map(|_| AtomicI64::new(0)).collect();
        threads.push((me, counters.clone()));
        Some(counters)
    }
}

impl std::fmt::Debug for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tally({} pairs)", self.0.pairs.lock().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(one: &str, other: &str) -> Pair {
        (one.into(), other.into())
    }

    #[test]
    fn what_threads_count_is_added_up() {
        let tally = Tally::new(2);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..1000 {
                        tally.count("g", if n % 2 == 0 { "even" } else { "odd" }, |counters| {
                            add(&counters[0], 1);
                            add(&counters[1], n);
                        });
                    }
                });
            }
        });
        let totals = tally.totals();
        assert_eq!(totals[&pair("g", "even")], [2000, 4 * 249_500]);
        assert_eq!(totals[&pair("g", "odd")], [2000, 4 * 250_000]);
    }

    #[test]
    fn who_is_forgotten_begins_anew_and_others_go_on() {
        let tally = Tally::new(1);
        let count = |topic| tally.count(topic, "", |counters| add(&counters[0], 1));
        count("stays");
        count("goes");
        tally.keep(|topic, _| topic == "stays");
        assert_eq!(tally.totals().len(), 1);
        count("stays");
        count("goes");
        let totals = tally.totals();
        assert_eq!((&totals[&pair("stays", "")][..], &totals[&pair("goes", "")][..]), (&[2][..], &[1][..]));
    }

    #[test]
    fn there_is_an_end_to_names() {
        let tally = Tally::new(1);
        for n in 0..PAIRS_MAX + 7 {
            tally.count(&n.to_string(), "", |counters| add(&counters[0], 1));
        }
        assert_eq!((tally.totals().len(), tally.left_out()), (PAIRS_MAX, 7));
    }
}
