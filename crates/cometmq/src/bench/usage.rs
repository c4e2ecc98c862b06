//! What a process uses, from `/proc`.

use std::io;
use std::time::Duration;

/// A process's use of the machine.
pub struct Usage {
    /// CPU time since its start, in steps of 10 ms.
    pub cpu: Duration,
    /// What it holds now.
    pub memory: Memory,
}

/// Resident memory in KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub resident: u64,
    /// Its own: heap and stacks.
    pub anonymous: u64,
    /// Pages of mapped files.
    pub file: u64,
}

impl Usage {
    pub fn of(pid: u32) -> io::Result<Usage> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let ticks = cpu_ticks(&stat).ok_or_else(|| io::Error::other("unreadable /proc/PID/stat"))?;
        let cpu = Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64);
        Ok(Usage { cpu, memory: memory(&status) })
    }
}

/// User and system time. The name of the program comes before them, in parentheses, and may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let behind_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = behind_name.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(ticks()? + ticks()?)
}

fn memory(status: &str) -> Memory {
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    Memory { resident: kib("VmRSS:"), anonymous: kib("RssAnon:"), file: kib("RssFile:") + kib("RssShmem:") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_be_called_anything() {
        let stat = "7 (a) b 1 (c)) S 1 7 7 0 -1 4194560 1 0 0 0 150 25 3 4 20 0 1 0 100 1000 200";
        assert_eq!(cpu_ticks(stat), Some(175));
        assert_eq!(cpu_ticks(""), None);
        assert_eq!(cpu_ticks("7 (x) S 1"), None);
    }

    #[test]
    fn our_own_numbers_can_be_read() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.memory.resident >= usage.memory.anonymous && usage.memory.anonymous > 0);
    }
}
