//! What a run found out.

use super::usage::Memory;
use crate::text::Language;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;

/// Longer ones count as so long.
const LATENCY_MAX: Duration = Duration::from_secs(60);

/// Durations, to three digits.
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Latencies {
        // The bounds are constants that hdrhistogram takes; the fallback grows as needed.
        let histogram = Histogram::new_with_bounds(100, LATENCY_MAX.as_nanos() as u64, 3);
        Latencies(
            histogram.unwrap_or_else(|_| Histogram::new(3).unwrap_or_else(|_| unreachable!("3 digits are legal"))),
        )
    }
}

impl Latencies {
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub fn reset(&mut self) {
        self.0.reset();
    }

    fn summary(&self) -> Summary {
        let micros = |nanos: u64| nanos as f64 / 1000.0;
        let at = |quantile| micros(self.0.value_at_quantile(quantile));
        Summary {
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: micros(self.0.max()),
            count: self.0.len(),
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Summary {
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    count: u64,
}

/// The figures of a run.
#[derive(Default)]
pub struct Report {
    /// What was done, in words.
    pub title: String,
    pub elapsed: Duration,
    pub messages: u64,
    /// Of bodies when sending, of whole answers when pulling.
    pub bytes: u64,
    /// Of requests; of whole journeys when latency is measured.
    pub latencies: Latencies,
    /// Answers that were a refusal.
    pub refused: u64,
    /// The first of them.
    pub refusal: Option<String>,
    /// Answers that say "stored, but not as safely as configured".
    pub unsafe_stored: u64,
    /// Sent, acknowledged, and never received.
    pub lost: u64,
    pub generator_cpu: Duration,
    /// CPU time in the measured time, memory at its end.
    pub broker: Option<(Duration, Memory)>,
}

#[derive(Serialize)]
struct Json<'a> {
    title: &'a str,
    seconds: f64,
    messages: u64,
    messages_per_second: f64,
    bytes_per_second: f64,
    latency: Summary,
    refused: u64,
    refusal: Option<&'a str>,
    unsafe_stored: u64,
    lost: u64,
    generator_cpu_us_per_message: f64,
    broker_cpu_us_per_message: Option<f64>,
    broker_cores: Option<f64>,
    broker_rss_kib: Option<u64>,
    broker_rss_anonymous_kib: Option<u64>,
    broker_rss_file_kib: Option<u64>,
}

impl Report {
    /// Measuring begins: what was counted so far does not count, but what was refused does.
    pub fn start(&mut self) {
        (self.messages, self.bytes, self.unsafe_stored) = (0, 0, 0);
        self.latencies.reset();
    }

    /// Counts a refusal.
    pub fn refused(&mut self, code: i32, remark: impl FnOnce() -> String) {
        self.refused += 1;
        self.refusal.get_or_insert_with(|| {
            format!("code {code} {}: {}", protocol::code::response::name(code).unwrap_or(""), remark())
        });
    }

    /// Nothing was refused or lost, and something was done.
    pub fn is_clean(&self) -> bool {
        self.refused == 0 && self.lost == 0 && self.messages > 0
    }

    fn figures(&self) -> Json<'_> {
        let seconds = self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        let per_message = |cpu: Duration| cpu.as_secs_f64() * 1e6 / self.messages.max(1) as f64;
        let memory = self.broker.map(|(_, memory)| memory);
        Json {
            title: &self.title,
            seconds,
            messages: self.messages,
            messages_per_second: self.messages as f64 / seconds,
            bytes_per_second: self.bytes as f64 / seconds,
            latency: self.latencies.summary(),
            refused: self.refused,
            refusal: self.refusal.as_deref(),
            unsafe_stored: self.unsafe_stored,
            lost: self.lost,
            generator_cpu_us_per_message: per_message(self.generator_cpu),
            broker_cpu_us_per_message: self.broker.map(|(cpu, _)| per_message(cpu)),
            broker_cores: self.broker.map(|(cpu, _)| cpu.as_secs_f64() / seconds),
            broker_rss_kib: memory.map(|memory| memory.resident),
            broker_rss_anonymous_kib: memory.map(|memory| memory.anonymous),
            broker_rss_file_kib: memory.map(|memory| memory.file),
        }
    }

    /// One JSON object, on one line.
    pub fn json(&self) -> String {
        serde_json::to_string(&self.figures()).unwrap_or_default() + "\n"
    }

    /// For people.
    pub fn text(&self, language: Language) -> String {
        let in_words = |english: &'static str, chinese: &'static str| language.pick(english, chinese);
        let f = self.figures();
        let l = f.latency;
        let mut out = format!("{}, {:.1} s\n", self.title, f.seconds);
        // Writing to a String can't fail.
        let rate = in_words("msgs/s", "条/秒");
        let _ = writeln!(out, "  {} {rate}   {:.1} MB/s", grouped(f.messages_per_second), f.bytes_per_second / 1e6);
        let _ = writeln!(
            out,
            "  {} p50 {}   p99 {}   p99.9 {}   max {}",
            in_words("latency  ", "延迟    "),
            duration(l.p50_us),
            duration(l.p99_us),
            duration(l.p999_us),
            duration(l.max_us)
        );
        if let (Some(cpu), Some(cores), Some((_, memory))) = (f.broker_cpu_us_per_message, f.broker_cores, self.broker)
        {
            let mib = |kib: u64| kib as f64 / 1024.0;
            let _ = writeln!(
                out,
                "  Broker    {cpu:.2} µs CPU{} ({cores:.2} {})   {:.0} MiB {} ({:.0} {}, {:.0} {})",
                in_words("/msg", "/条"),
                in_words("cores", "核"),
                mib(memory.resident),
                in_words("resident", "常驻内存"),
                mib(memory.anonymous),
                in_words("own", "自有"),
                mib(memory.file),
                in_words("of files", "文件映射")
            );
        }
        let _ = writeln!(
            out,
            "  {} {:.2} µs CPU{}",
            in_words("generator", "压测端  "),
            f.generator_cpu_us_per_message,
            in_words("/msg", "/条")
        );
        if f.unsafe_stored > 0 {
            let _ = writeln!(
                out,
                "  {} {}",
                f.unsafe_stored,
                in_words("stored, but flush or replication was late", "条已存储，但刷盘或复制超时")
            );
        }
        if f.refused > 0 {
            let (refused, first) = (in_words("REFUSED  ", "被拒绝  "), in_words("the first", "第一条"));
            let _ = writeln!(out, "  {refused} {}, {first}: {}", f.refused, f.refusal.unwrap_or_default());
        }
        if f.lost > 0 {
            let _ = writeln!(
                out,
                "  {} {}",
                f.lost,
                in_words("LOST: acknowledged and never received", "条丢失：已确认但未收到")
            );
        }
        if f.messages == 0 {
            let _ = writeln!(out, "  {}", in_words("NOTHING was done in time", "没有完成任何请求"));
        }
        out
    }
}

/// 1234567 as 1,234,567.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn duration(micros: f64) -> String {
    match micros {
        0.0 => "-".to_owned(),
        short if short < 1000.0 => format!("{short:.0} µs"),
        middle if middle < 1e6 => format!("{:.2} ms", middle / 1e3),
        long => format!("{:.2} s", long / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_beyond_the_bounds_count_as_the_bounds() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.summary().count, 0);
        assert_eq!(latencies.summary().max_us, 0.0);
        latencies.record(Duration::ZERO);
        latencies.record(Duration::from_micros(250));
        latencies.record(Duration::MAX);
        let summary = latencies.summary();
        assert_eq!(summary.count, 3);
        assert!((249.0..251.0).contains(&summary.p50_us), "{summary:?}");
        assert!((60e6..60.1e6).contains(&summary.max_us), "{summary:?}");
        assert_eq!(summary.p999_us, summary.max_us);
    }

    #[test]
    fn a_run_with_a_refusal_or_a_loss_is_not_clean() {
        let clean = || Report { messages: 1, ..Report::default() };
        assert!(clean().is_clean());
        assert!(!Report { refused: 1, ..clean() }.is_clean());
        assert!(!Report { lost: 1, ..clean() }.is_clean());
        assert!(!Report::default().is_clean());
    }

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!([0.0, 12.3, 999.0, 1234.0, 1234567.8].map(grouped), ["0", "12", "999", "1,234", "1,234,568"]);
        assert_eq!([0.0, 12.0, 1500.0, 2e6].map(duration), ["-", "12 µs", "1.50 ms", "2.00 s"]);
    }
}
