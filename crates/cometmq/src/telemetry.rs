//! Logs: one line each, on standard error. What people read first, the banner, is not a log.

use std::io::IsTerminal;
use tracing::level_filters::LevelFilter;

/// Logs from here on, from `level` up.
pub fn start(level: LevelFilter) {
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
