//! A page of metrics, as Prometheus reads it (text format 0.0.4).
//!
//! Metrics that Apache's brokers have are written with the names and labels that their exporter gives them: its unit is part of a
//! name, and each has the label `otel_scope_name`.

use std::fmt::{Display, Write as _};

/// The metric that says until when a server's certificate is good.
pub const CERTIFICATE_EXPIRES: &str = "cometmq_tls_certificate_expires_timestamp_seconds";

/// What is told of it.
pub const CERTIFICATE_EXPIRES_HELP: &str = "When the certificate that clients are shown expires, seconds since 1970.";

/// What a metric's numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, until the process ends.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How many there were up to each bound.
    Histogram,
}

/// The text, while it is written.
#[derive(Debug)]
pub struct Page {
    text: String,
    /// So many series of a metric are written.
    series_max: usize,
    /// Of which metrics how many were not.
    left_out: Vec<(&'static str, usize)>,
}

/// One metric of a page. It has its head line once it has a series.
#[derive(Debug)]
pub struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
    kind: Kind,
    help: &'static str,
    /// Labels that all series have, as they are written.
    common: &'a str,
    series: usize,
}

/// Labels as they are written, with a comma behind each.
pub fn labels<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        write_label(&mut text, name, value);
    }
    text
}

fn write_label(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push_str("=\"");
    if value.contains(['\\', '"', '\n']) {
        for char in value.chars() {
            match char {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
    } else {
        text.push_str(value);
    }
    text.push_str("\",");
}

impl Page {
    /// An empty page, on which a metric has `series_max` series at most.
    pub fn new(series_max: usize) -> Page {
        Page { text: String::with_capacity(64 * 1024), series_max, left_out: Vec::new() }
    }

    /// A metric whose series all have the labels `common`, made by [`labels`].
    pub fn family<'a>(&'a mut self, name: &'static str, kind: Kind, help: &'static str, common: &'a str) -> Family<'a> {
        Family { page: self, name, kind, help, common, series: 0 }
    }

    /// A gauge of one series.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, common: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help, common).sample(&[], value);
    }

    /// A counter of one series.
    pub fn counter(&mut self, name: &'static str, help: &'static str, common: &str, value: impl Display) {
        self.family(name, Kind::Counter, help, common).sample(&[], value);
    }

    /// The text. Series that are left out are counted in its last metric.
    pub fn finish(mut self, common: &str) -> String {
        let left_out = std::mem::take(&mut self.left_out);
        let help = "Series that were left out of this page: there are more than metricsOtelCardinalityLimit";
        let mut family = self.family("cometmq_metrics_left_out", Kind::Gauge, help, common);
        for (metric, series) in left_out {
            family.sample(&[("metric", metric)], series);
        }
        self.text
    }
}

impl Family<'_> {
    /// A series.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        if self.admit() {
            self.line("", labels, None, value);
        }
    }

    /// A series of a histogram: how many fell up to each bound and behind the one before, the last of `counts` behind all
    /// bounds; and the sum of all values.
    pub fn histogram(&mut self, labels: &[(&str, &str)], bounds: &[f64], counts: &[i64], sum: impl Display) {
        if !self.admit() {
            return;
        }
        let mut total = 0;
        for (n, count) in counts.iter().enumerate() {
            total += count;
            match bounds.get(n) {
                Some(bound) => self.line("_bucket", labels, Some(&format!("{bound:?}")), total),
                None => self.line("_bucket", labels, Some("+Inf"), total),
            }
        }
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, total);
    }

    fn admit(&mut self) -> bool {
        self.series += 1;
        if self.series > self.page.series_max {
            match self.page.left_out.last_mut() {
                Some((name, count)) if *name == self.name => *count += 1,
                _ => self.page.left_out.push((self.name, 1)),
            }
            return false;
        }
        if self.series == 1 {
            let kind = match self.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            // Writing to a String can't fail.
            let _ = writeln!(self.page.text, "# HELP {0} {1}\n# TYPE {0} {kind}", self.name, self.help);
        }
        true
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], bound: Option<&str>, value: impl Display) {
        let text = &mut self.page.text;
        text.push_str(self.name);
        text.push_str(suffix);
        let begin = text.len();
        text.push('{');
        text.push_str(self.common);
        for (name, value) in labels {
            write_label(text, name, value);
        }
        if let Some(bound) = bound {
            write_label(text, "le", bound);
        }
        match text.ends_with(',') {
            true => {
                text.pop();
                text.push('}');
            }
            false => text.truncate(begin),
        }
        let _ = writeln!(text, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_written_as_prometheus_reads_it() {
        let mut page = Page::new(2);
        page.gauge("one", "First.", "", 1.5);
        let common = labels([("node", "a\"b\\c\nd")]);
        let mut family = page.family("many", Kind::Counter, "Second.", &common);
        for topic in ["T", "U", "V", "W"] {
            family.sample(&[("topic", topic)], 7);
        }
        page.family("none", Kind::Gauge, "No series, no head.", "");
        page.family("time", Kind::Histogram, "Third.", "").histogram(&[], &[1.0, 2.5], &[3, 0, 1], 9.5);
        let text = page.finish("");
        let expected = r#"# HELP one First.
# TYPE one gauge
one 1.5
# HELP many Second.
# TYPE many counter
many{node="a\"b\\c\nd",topic="T"} 7
many{node="a\"b\\c\nd",topic="U"} 7
# HELP time Third.
# TYPE time histogram
time_bucket{le="1.0"} 3
time_bucket{le="2.5"} 3
time_bucket{le="+Inf"} 4
time_sum 9.5
time_count 4
# HELP cometmq_metrics_left_out Series that were left out of this page: there are more than metricsOtelCardinalityLimit
# TYPE cometmq_metrics_left_out gauge
cometmq_metrics_left_out{metric="many"} 2
"#;
        assert_eq!(text, expected);
    }
}
