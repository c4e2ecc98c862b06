//! What the system knows of this process, for metrics, under the names that Prometheus's clients give it.

use protocol::metrics::Page;
use rustix::param::{clock_ticks_per_second, page_size};
use std::fs;

/// Writes what `/proc` tells. Where there is none, nothing.
pub fn write(page: &mut Page, labels: &str) {
    let Ok(stat) = fs::read_to_string("/proc/self/stat") else { return };
    // The name of the program may have blanks and brackets; behind the last bracket there are numbers only.
    let numbers: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let number = |field: usize| numbers.get(field - 3).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    let tick = 1.0 / clock_ticks_per_second() as f64;
    let help = "Time that processors worked for it.";
    page.counter("process_cpu_seconds_total", help, labels, (number(14) + number(15)) * tick);
    page.gauge("process_virtual_memory_bytes", "Address space that it has.", labels, number(23));
    let help = "Memory that it has.";
    page.gauge("process_resident_memory_bytes", help, labels, number(24) * page_size() as f64);
    page.gauge("process_threads", "Threads.", labels, number(20));
    let help = "Pages that had to be read from disk for it.";
    page.counter("cometmq_process_major_page_faults_total", help, labels, number(12));
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        page.gauge("process_open_fds", "Files and connections that are open.", labels, files.count());
    }
    if let Some(limit) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        page.gauge("process_max_fds", "How many may be.", labels, limit);
    }
    let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
    if let Some(boot) = boot {
        let help = "When it was started, in seconds since 1970.";
        page.gauge("process_start_time_seconds", help, labels, boot + number(22) * tick);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_described() {
        let mut page = Page::new(10);
        write(&mut page, "");
        let text = page.finish("");
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
            line.unwrap_or_else(|| panic!("no {name}:\n{text}")).rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1e5);
        assert!(value("process_open_fds") >= 3.0 && value("process_threads") >= 1.0);
        assert!(value("process_start_time_seconds") > 1.6e9);
        assert!(value("process_cpu_seconds_total") < 1e5);
    }
}
