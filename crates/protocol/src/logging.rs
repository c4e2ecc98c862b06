//! What settings say of logs. Who writes them is the process.

use std::path::PathBuf;

/// How logs are written. Both kinds of servers have these keys; RocketMQ's set theirs in files of their logging library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// From which level on: `off`, `error`, `warn`, `info`, `debug` or `trace`; for parts of the program by `part=level`, parted
    /// by `,`: `info,broker::timer=debug,store=warn`.
    /// Key: `logLevel`. Default: the environment's `COMETMQ_LOG`, else `info`.
    pub level: String,
    /// Each line is an object in JSON (`json`), or a text (`text`).
    /// Key: `logFormat`. Default: `text`.
    pub json: bool,
    /// The file that lines are written to. Without, they go to standard error; with it, they don't.
    /// Key: `logFile`. Default: empty.
    pub file: Option<PathBuf>,
    /// When the file is larger, bytes, a new one is begun.
    /// Key: `logFileMaxBytes`. Default: 134217728 (128 MiB).
    pub file_bytes_max: usize,
    /// So many files are kept: `broker.log`, `broker.log.1`, ….
    /// Key: `logFilesMax`. Default: 10.
    pub files_max: usize,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig { level: "info".into(), json: false, file: None, file_bytes_max: 128 << 20, files_max: 10 }
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What [`LogConfig::level`] can be, for people.
pub const LEVEL_ALLOWED: &str =
    "off, error, warn, info, debug or trace, and part=level for parts of the program, parted by `,`: info,store=debug";

/// What [`LogConfig::json`] can be.
pub const FORMAT_ALLOWED: &str = "text or json";

/// Can this be a level?
pub fn is_level(text: &str) -> bool {
    let is_name = |name: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(name));
    let is_part = |part: &str| {
        !part.is_empty() && part.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | ':'))
    };
    !text.is_empty()
        && text.split(',').map(str::trim).all(|directive| match directive.split_once('=') {
            Some((part, level)) => is_part(part) && is_name(level),
            None => is_name(directive),
        })
}

/// `text` or `json`: true for the second.
pub fn read_format(text: &str) -> Option<bool> {
    match text {
        "text" => Some(false),
        "json" => Some(true),
        _ => None,
    }
}

/// How a format is written.
pub fn format_name(json: bool) -> &'static str {
    if json { "json" } else { "text" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_one_for_all_and_others_for_parts() {
        for good in ["info", "OFF", "info,broker::timer=debug,store=warn", "store=trace", "warn, remoting=error"] {
            assert!(is_level(good), "{good}");
        }
        for bad in ["", "loud", "info,", "store", "store=loud", "=info", "a b=info", "[span]=info"] {
            assert!(!is_level(bad), "{bad}");
        }
    }
}
