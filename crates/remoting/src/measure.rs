//! What data threads do, in numbers: connections, memory, and how long answers take.
//!
//! Each thread has its own [`Measures`], which nobody else writes: so nothing is locked, and no number is fought over. Whoever
//! reads them sees each number as it was a moment ago.

use protocol::code::{request, response};
use protocol::metrics::{Kind, Page};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// So many kinds of answers are told apart on a thread; those above are counted together.
const KINDS_MAX: usize = 512;

/// Upper bounds of latencies, milliseconds, as Apache's servers have them.
pub const LATENCY_BOUNDS: [f64; 9] = [1.0, 3.0, 5.0, 7.0, 10.0, 100.0, 1000.0, 2000.0, 3000.0];

/// What one data thread does.
#[derive(Debug)]
pub struct Measures {
    /// Connections now.
    connections: AtomicUsize,
    /// Bytes that connections hold, see [`crate::Limits::in_progress`], and how many they may.
    pub(crate) held: AtomicUsize,
    held_max: usize,
    /// Connections that were taken.
    accepted: AtomicU64,
    /// By kind of answer; empty when nobody wants to know. A slot belongs to a kind from the first answer on.
    latencies: Box<[Latencies]>,
    /// Answers of kinds for which there was no slot.
    uncounted: AtomicU64,
}

#[derive(Debug, Default)]
struct Latencies {
    /// 0: the slot is free.
    kind: AtomicU64,
    counts: [AtomicU64; LATENCY_BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// Which request was answered, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Answered {
    /// The request's code.
    pub request: i32,
    /// The response's code.
    pub response: i32,
    /// It was held until something came.
    pub held: bool,
    /// Nobody gets the answer.
    pub oneway: bool,
}

impl Answered {
    /// Never 0. Codes that nobody knows count as one: whoever connects could make up any number of them.
    fn kind(self) -> u64 {
        let request = match self.response {
            response::REQUEST_CODE_NOT_SUPPORTED if request::name(self.request).is_none() => u32::MAX,
            _ => self.request as u32,
        };
        u64::from(request) << 32
            | u64::from(self.response as u16) << 8
            | u64::from(self.held) << 2
            | u64::from(self.oneway) << 1
            | 1
    }

    fn of(kind: u64) -> Answered {
        let (held, oneway) = (kind & 4 != 0, kind & 2 != 0);
        Answered { request: (kind >> 32) as u32 as i32, response: i32::from((kind >> 8) as u16), held, oneway }
    }
}

/// Only the thread to which a number belongs does this.
fn add(number: &AtomicU64, more: u64) {
    number.store(number.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

impl Measures {
    pub(crate) fn new(held_max: usize, latencies: bool) -> Measures {
        let slots = if latencies { KINDS_MAX } else { 0 };
        Measures {
            connections: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            held_max,
            accepted: AtomicU64::new(0),
            latencies: (0..slots).map(|_| Latencies::default()).collect(),
            uncounted: AtomicU64::new(0),
        }
    }

    /// When a request has come, if anybody wants to know how long its answer takes.
    pub(crate) fn now(&self) -> Option<Instant> {
        (!self.latencies.is_empty()).then(Instant::now)
    }

    pub(crate) fn connected(&self) {
        add(&self.accepted, 1);
        self.connections.store(self.connections.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    pub(crate) fn disconnected(&self) {
        self.connections.store(self.connections.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    }

    /// An answer has left, so long after its request had come.
    pub(crate) fn answered(&self, answered: Answered, after: Duration) {
        let kind = answered.kind();
        let begin = (kind ^ kind >> 32) as usize;
        for n in 0..self.latencies.len() {
            let slot = &self.latencies[begin.wrapping_add(n) % self.latencies.len()];
            match slot.kind.load(Ordering::Relaxed) {
                0 => slot.kind.store(kind, Ordering::Release),
                taken if taken == kind => {}
                _ => continue,
            }
            let micros = after.as_micros() as u64;
            let bound = LATENCY_BOUNDS.iter().position(|bound| micros <= *bound as u64 * 1000);
            add(&slot.counts[bound.unwrap_or(LATENCY_BOUNDS.len())], 1);
            add(&slot.micros, micros);
            return;
        }
        add(&self.uncounted, u64::from(!self.latencies.is_empty()));
    }
}

/// What a server's threads did together.
#[derive(Debug, Clone, Default)]
pub struct ServerMeasures(Arc<[Arc<Measures>]>);

impl ServerMeasures {
    pub(crate) fn of(threads: Vec<Arc<Measures>>) -> ServerMeasures {
        ServerMeasures(threads.into())
    }

    /// Connections that are there now.
    pub fn connections(&self) -> usize {
        self.0.iter().map(|thread| thread.connections.load(Ordering::Relaxed)).sum()
    }

    /// Writes them down. `apaches` are the labels of Apache's metrics, `ours` those of our own.
    pub fn write(&self, page: &mut Page, apaches: &str, ours: &str) {
        let sum = |number: fn(&Measures) -> u64| self.0.iter().map(|thread| number(thread)).sum::<u64>();
        let mut kinds: BTreeMap<Answered, ([i64; LATENCY_BOUNDS.len() + 1], u64)> = BTreeMap::new();
        for slot in self.0.iter().flat_map(|thread| &thread.latencies) {
            let kind = slot.kind.load(Ordering::Acquire);
            if kind == 0 {
                continue;
            }
            let (counts, micros) = kinds.entry(Answered::of(kind)).or_default();
            for (count, more) in counts.iter_mut().zip(&slot.counts) {
                *count += more.load(Ordering::Relaxed) as i64;
            }
            *micros += slot.micros.load(Ordering::Relaxed);
        }
        let help = "From a request's arrival until its answer was sent.";
        let mut family = page.family("rocketmq_rpc_latency_milliseconds", Kind::Histogram, help, apaches);
        for (answered, (counts, micros)) in &kinds {
            let named = |name: Option<&str>, code: i32| name.map_or_else(|| code.to_string(), str::to_lowercase);
            let request = match answered.request {
                -1 => "unknown".to_owned(),
                code => named(request::name(code), code),
            };
            let labels = [
                ("is_long_polling", if answered.held { "true" } else { "false" }),
                ("protocol_type", "remoting"),
                ("request_code", &*request),
                ("response_code", &*named(response::name(answered.response), answered.response)),
                ("result", if answered.oneway { "oneway" } else { "success" }),
            ];
            family.histogram(&labels, &LATENCY_BOUNDS, counts, *micros as f64 / 1000.0);
        }
        let uncounted = sum(|thread| thread.uncounted.load(Ordering::Relaxed));
        page.counter("cometmq_rpc_uncounted_total", "Answers of too many kinds for the metric above.", ours, uncounted);
        page.gauge("cometmq_connections", "Connections that are open.", ours, self.connections());
        let accepted = sum(|thread| thread.accepted.load(Ordering::Relaxed));
        page.counter("cometmq_connections_accepted_total", "Connections that were taken.", ours, accepted);
        let held = sum(|thread| thread.held.load(Ordering::Relaxed) as u64);
        let help = "Memory for requests and replies on their way.";
        page.gauge("cometmq_connection_memory_bytes", help, ours, held);
        let max = sum(|thread| thread.held_max as u64);
        page.gauge("cometmq_connection_memory_limit_bytes", "With more of it, connections wait.", ours, max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_kind_and_by_how_long_they_took() {
        let measures = Arc::new(Measures::new(1000, true));
        assert!(measures.now().is_some());
        let send = Answered { request: request::SEND_MESSAGE_V2, response: 0, held: false, oneway: false };
        for micros in [10, 1000, 1001, 4_000_000] {
            measures.answered(send, Duration::from_micros(micros));
        }
        for code in 70_000..80_000 {
            let unknown = Answered { request: code, response: 3, ..send };
            measures.answered(unknown, Duration::ZERO);
        }
        let mut page = Page::new(100);
        ServerMeasures::of(vec![measures.clone(), measures]).write(&mut page, "", "");
        let text = page.finish("");
        let of = "is_long_polling=\"false\",protocol_type=\"remoting\",request_code=\"send_message_v2\",\
                  response_code=\"success\",result=\"success\"";
        for (le, count) in [("1.0", 4), ("3.0", 6), ("3000.0", 6), ("+Inf", 8)] {
            let line = format!("rocketmq_rpc_latency_milliseconds_bucket{{{of},le=\"{le}\"}} {count}\n");
            assert!(text.contains(&line), "{line}\n{text}");
        }
        assert!(text.contains(&format!("rocketmq_rpc_latency_milliseconds_sum{{{of}}} 8004.022\n")), "{text}");
        assert_eq!(text.matches("request_code=\"unknown\"").count(), 12, "{text}");
        assert!(text.contains("cometmq_rpc_uncounted_total 0\n"));
    }

    #[test]
    fn more_kinds_than_there_is_room_for_are_counted_together() {
        let measures = Measures::new(0, true);
        let answered = |response| Answered { request: request::SEND_MESSAGE, response, held: true, oneway: true };
        for response in 0..KINDS_MAX as i32 + 5 {
            measures.answered(answered(response), Duration::ZERO);
        }
        assert_eq!(measures.uncounted.load(Ordering::Relaxed), 5);
        assert_eq!(Answered::of(answered(7).kind()), answered(7));
        let off = Measures::new(0, false);
        off.answered(answered(1), Duration::ZERO);
        assert!(off.now().is_none() && off.uncounted.load(Ordering::Relaxed) == 0);
    }
}
