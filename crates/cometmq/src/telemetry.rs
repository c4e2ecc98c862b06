//! Logs: lines that say what happened, and to what. What people read first, the banner, is not a log.
//!
//! Until a process has read its settings, text goes to standard error; then it goes where they say. A file is written by a
//! thread of its own: a slow disk makes nobody wait, and what does not fit into its queue is dropped and counted.

use protocol::logging::LogConfig;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;
use store::disk::Disk;
use store::lines::Lines;
use tracing::Subscriber;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// So many lines may wait for the disk.
const WAITING_MAX: usize = 8192;

/// How long the end of a process waits for its last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

type Filtered = tracing_subscriber::layer::Layered<reload::Layer<Targets, Registry>, Registry>;
type Written = Box<dyn Layer<Filtered> + Send + Sync>;

/// What can change while it is written.
struct Handles {
    filter: reload::Handle<Targets, Registry>,
    written: reload::Handle<Written, Filtered>,
}

static HANDLES: OnceLock<Handles> = OnceLock::new();
static FILE: OnceLock<LogFile> = OnceLock::new();

/// Logs from here on to standard error, from `level` up, which was checked.
pub fn start(level: &str) {
    let (filter, filter_handle) = reload::Layer::new(level.parse().unwrap_or_default());
    let (written, written_handle) = reload::Layer::new(layer(false, io::stderr, io::stderr().is_terminal()));
    tracing_subscriber::registry().with(filter).with(written).init();
    let _ = HANDLES.set(Handles { filter: filter_handle, written: written_handle });
}

/// Logs from here on as settings say.
pub fn apply(config: &LogConfig) -> io::Result<()> {
    set_level(&config.level);
    let layer = match &config.file {
        Some(path) => {
            let lines = Lines::new(Disk::default(), path, config.file_bytes_max as u64, config.files_max);
            let file = LogFile::open(lines)?;
            layer(config.json, FILE.get_or_init(|| file).clone(), false)
        }
        None => layer(config.json, io::stderr, !config.json && io::stderr().is_terminal()),
    };
    if let Some(handles) = HANDLES.get() {
        // It fails only when nobody logs any more.
        let _ = handles.written.reload(layer);
    }
    Ok(())
}

/// Changes what is logged. `level` was checked.
pub fn set_level(level: &str) {
    if let (Some(handles), Ok(targets)) = (HANDLES.get(), level.parse::<Targets>()) {
        let _ = handles.filter.reload(targets);
    }
}

/// Waits until everything is in the file, if there is one, but not for ever.
pub fn end() {
    if let Some(file) = FILE.get() {
        file.end(FLUSH_TIMEOUT);
    }
}

fn layer<S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>>(
    json: bool,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
    colours: bool,
) -> Box<dyn Layer<S> + Send + Sync> {
    let layer = tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(writer);
    if json { Box::new(layer.json().flatten_event(true)) } else { Box::new(layer) }
}

enum Order {
    Line(Vec<u8>),
    Sync(SyncSender<()>),
}

/// The way to the file.
#[derive(Clone)]
struct LogFile {
    lines: SyncSender<Order>,
    dropped: Arc<AtomicU64>,
}

impl LogFile {
    /// Fails when the file can't be written.
    fn open(mut lines: Lines) -> io::Result<LogFile> {
        lines.append(format!("CometMQ {} begins to log", env!("CARGO_PKG_VERSION")).as_bytes())?;
        let (sender, orders) = sync_channel(WAITING_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = dropped.clone();
        thread::Builder::new().name("log".into()).spawn(move || write(lines, &orders, &counted))?;
        Ok(LogFile { lines: sender, dropped })
    }

    /// Waits until what was logged is written, at most so long.
    fn end(&self, timeout: Duration) {
        let (done, is_done) = sync_channel(1);
        let lines = self.lines.clone();
        // There may be no place for the order while the disk hangs, so another thread waits for that.
        if thread::Builder::new().name("log end".into()).spawn(move || lines.send(Order::Sync(done))).is_ok() {
            let _ = is_done.recv_timeout(timeout);
        }
    }
}

/// Writes until nobody logs any more.
fn write(mut lines: Lines, orders: &Receiver<Order>, dropped: &AtomicU64) {
    let mut failed = false;
    let mut append = |line: &[u8]| {
        let written = lines.append(line);
        if let (Err(error), false) = (&written, failed) {
            eprintln!("cometmq: the log can't be written: {error}; lines come here while that is so");
        }
        failed = written.is_err();
        if failed {
            let _ = io::stderr().write_all(line).and_then(|()| io::stderr().write_all(b"\n"));
        }
    };
    while let Ok(order) = orders.recv() {
        match order {
            Order::Line(line) => append(&line),
            Order::Sync(done) => _ = done.send(()),
        }
        match dropped.swap(0, Ordering::Relaxed) {
            0 => {}
            n => append(format!("{n} lines of the log were dropped: the disk does not keep up").as_bytes()),
        }
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = LogLine<'a>;

    fn make_writer(&'a self) -> LogLine<'a> {
        LogLine { file: self, bytes: Vec::with_capacity(256) }
    }
}

/// One line, while it is written.
struct LogLine<'a> {
    file: &'a LogFile,
    bytes: Vec<u8>,
}

impl Write for LogLine<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine<'_> {
    fn drop(&mut self) {
        let mut line = std::mem::take(&mut self.bytes);
        while line.last() == Some(&b'\n') {
            line.pop();
        }
        if !line.is_empty() && self.file.lines.try_send(Order::Line(line)).is_err() {
            self.file.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_log_that_is_not_written_any_more_does_not_keep_the_process_from_ending() {
        let (lines, orders) = sync_channel(1);
        let file = LogFile { lines, dropped: Arc::default() };
        file.lines.send(Order::Line(b"one too many".to_vec())).unwrap();
        let began = Instant::now();
        file.end(Duration::from_millis(50));
        assert!(began.elapsed() >= Duration::from_millis(50), "it waits for what is to be written");
        drop(orders);
    }

    #[test]
    fn what_was_logged_is_in_the_file_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cometmq.log");
        let file = LogFile::open(Lines::new(Disk::default(), &path, 1 << 20, 2)).unwrap();
        for _ in 0..100 {
            file.make_writer().write_all(b"a line\n").unwrap();
        }
        file.end(Duration::from_secs(30));
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 101);
    }
}
