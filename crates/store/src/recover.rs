//! Opening a store: what is on disk, where the log ends, and what its queues and index still lack.
//!
//! 1. lock the directory, then look; nothing is changed before
//! 2. load files, checkpoint, queues, index
//! 3. decide where to begin: after a clean stop where the queues end, after a crash at the last checkpoint
//! 4. walk the log from there, checking every record, and dispatch what queues and index lack
//! 5. make everything behind the end of the log zero
//!
//! The log is never shortened because something in it is damaged: where a record is not sound, the walk looks ahead for
//! one that is and says so itself, its own commit log offset being its place. Only if there is none, the log ends.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memchr::memmem;
use protocol::message::{CommitLogOffset, QueueOffset};
use protocol::record::{Record, RecordError};

use crate::checkpoint::{Checkpoint, CheckpointFile};
use crate::commit_log::CommitLog;
use crate::config::StoreConfig;
use crate::consume_queue::{Entry, Queue, Queues};
use crate::deleted::Deletions;
use crate::dispatch::{IndexItem, Keys};
use crate::get::read_record;
use crate::index::Index;
use crate::lock::{self, Lock, LockError};
use crate::lost;
use crate::put::{is_queued, is_storable_topic};
use crate::segment::{Access, ListError, Listed, OpenFiles, Segment, Segments, directories_of};

/// Bytes of the log read at a time.
const WINDOW: usize = 4 << 20;
const WINDOW_MIN: usize = 16 << 10;
/// Entries kept in memory before they are written.
const DRAIN_AT: usize = 200_000;
/// Consume queue files open at a time.
const OPEN_FILES_MAX: usize = 2048;
/// Timestamps of a checkpoint are trusted this much less, in ms.
pub(crate) const TIMESTAMP_SLACK: i64 = 3000;
/// The first three bytes of both magic numbers of records.
const MAGIC_PREFIX: [u8; 3] = [0xDA, 0xA3, 0x20];

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Someone else has the directory open.
    #[error("{directory} is open in process {pid}; stop that first, or use another {key}", directory = .directory.display(), pid = .pid.map_or("(unknown)".to_owned(), |pid| pid.to_string()))]
    Locked {
        /// Directory of the store, or of its commit log.
        directory: PathBuf,
        /// Key of the configuration that names it.
        key: &'static str,
        /// Who has it open, if that can be told.
        pid: Option<i32>,
    },
    /// A file has not the size that the configuration says.
    #[error("{path} has {size} bytes, but {key} is {configured}; set {key} to the size this store was made with", path = .path.display())]
    FileSize {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// Key of the configuration.
        key: &'static str,
        /// Size in bytes that it gives.
        configured: u64,
    },
    /// A file does not belong there.
    #[error("{path} does not belong in its directory: its name is no {expected}; move it away", path = .path.display())]
    FileName {
        /// The file.
        path: PathBuf,
        /// What its name should be.
        expected: &'static str,
    },
    /// A topic is kept in a way that this store does not read.
    #[error("topic `{topic}` is of queue.type BatchCQ ({path}), which this store does not read; delete the topic or keep Apache's store for it", path = .path.display())]
    BatchConsumeQueue {
        /// The topic.
        topic: String,
        /// Its directory.
        path: PathBuf,
    },
    /// The configuration cannot be.
    #[error("{key} is {value}, {must}")]
    Config {
        /// Key of the configuration.
        key: &'static str,
        /// What it says.
        value: u64,
        /// What it must be.
        must: &'static str,
    },
    /// A file could not be read or written.
    #[error("cannot open the store: {path}: {error}", path = .path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
}

/// What was found and made of a directory.
pub(crate) struct Recovered {
    pub lock: Lock,
    pub log: CommitLog,
    pub queues: Queues,
    pub index: Option<Index>,
    pub checkpoint: (CheckpointFile, Checkpoint),
    pub deletions: Deletions,
    /// Files of queues and index that were written to.
    pub touched: Vec<Arc<Segment>>,
    pub last_timestamp: i64,
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> OpenError + use<'_> {
    move |error| OpenError::Io { path: path.to_owned(), error }
}

fn list_error(error: ListError, key: &'static str, configured: u64, expected: &'static str) -> OpenError {
    match error {
        ListError::Io { path, error } => OpenError::Io { path, error },
        ListError::Size { path, size } => OpenError::FileSize { path, size, key, configured },
        ListError::Name { path } => OpenError::FileName { path, expected },
    }
}

/// Opens what is in `config.root`.
pub(crate) fn recover(config: &StoreConfig) -> Result<Recovered, OpenError> {
    check_config(config)?;
    let disk = &config.disk;
    let lock = lock(config)?;
    let segments = load_log(config)?;
    refuse_batch_queues(config)?;
    let log_min = segments.first().map_or(0, |first| first.base);
    let queues = load_queues(config)?;
    let deletions = Deletions::open(config);
    let mut index = load_index(config)?;

    // All there is fits: from here on files are changed.
    let abort = config.abort_file();
    let clean = !abort.exists();
    disk.replace(&abort, std::process::id().to_string().as_bytes()).map_err(io_error(&abort))?;
    let checkpoint_path = config.root.join("checkpoint");
    let (checkpoint_file, checkpoint) =
        CheckpointFile::open(disk, checkpoint_path.clone()).map_err(io_error(&checkpoint_path))?;
    let cut = if clean { i64::MAX } else { trusted_end(&segments, &checkpoint) };
    for queue in queues.all() {
        let failed = |error| OpenError::Io { path: queues.dir_of(queue.topic()), error };
        queue.load(cut).map_err(failed)?;
        queue.raise_min(log_min).map_err(failed)?;
    }

    finish_deletions(&queues, &deletions, config)?;

    // Where does each of them go on?
    let last = last_record(&queues).map_err(io_error(&config.consume_queue_dir()))?;
    let queues_end = last.and_then(|last| sound_end(&segments, &last));
    let log_max = segments.last().map_or(0, |last| last.end());
    let queues_from = match (last, queues_end) {
        (None, _) => log_min,
        (Some(_), Some(end)) if clean => end,
        (Some(last), None) if clean => last.at.min(segments.last().map_or(0, |last| last.base)).max(log_min),
        _ => cut.min(log_max).max(log_min),
    };
    // From which record on does the index lack keys, and where must the walk begin for it?
    let (index_from, walk_for_index) = match &mut index {
        Some(index) if index.is_empty() => (log_min, log_min),
        // A clean stop left it as complete as the queues.
        Some(index) if clean => (index.last_at().map_or(0, |last| last + 1), i64::MAX),
        Some(index) => {
            let from = index.recover(checkpoint.index_timestamp, cut).map_err(io_error(&config.index_dir()))?;
            (from, from)
        }
        None => (i64::MAX, i64::MAX),
    };
    let wanted = queues_from.min(walk_for_index).max(log_min);
    let from = walk_from(&segments, log_min, queues_end, wanted, !clean, cut);

    let mut redo = Redo {
        config,
        queues: &queues,
        deletions: &deletions,
        index: index.as_mut(),
        queues_from,
        index_from,
        dirty: HashSet::new(),
        waiting: 0,
        items: Vec::new(),
        touched: Vec::new(),
        last_timestamp: checkpoint.log_timestamp.max(checkpoint.queue_timestamp),
    };
    let how = Walk { verify_crc: clean || config.check_crc_on_recover, after_crash: !clean };
    let end = walk(&segments, from, how, &mut |record| redo.dispatch(record))?;
    redo.drain()?;
    let Redo { touched, last_timestamp, .. } = redo;

    for queue in queues.all() {
        // Queues that point beyond the log: someone took files of it away.
        let failed = |error| OpenError::Io { path: queues.dir_of(queue.topic()), error };
        if queue.last_record_end().map_err(failed)?.is_some_and(|last| last > end) {
            tracing::warn!("{queue:?} points beyond the end of the commit log at {end}; cut");
            queue.load(end).map_err(failed)?;
            queue.raise_min(log_min).map_err(failed)?;
        }
        queue.continue_behind_last();
    }
    zero_behind(&segments, end)?;
    let log = CommitLog::new(segments, config.commit_log_file_size, end, last_timestamp);
    let checkpoint = (checkpoint_file, checkpoint);
    Ok(Recovered { lock, log, queues, index, checkpoint, deletions, touched, last_timestamp })
}

fn lock(config: &StoreConfig) -> Result<Lock, OpenError> {
    let (root, commit_log) = (&config.root, &config.commit_log_dir());
    let create = |directory: &Path| {
        config.disk.create_directory(directory).map_err(|error| io_error(directory)(lock::helped(error)))
    };
    let failed = |directory: &Path, key, error| match error {
        LockError::Held { by } => OpenError::Locked { directory: directory.to_owned(), key, pid: by },
        LockError::Io(error) => OpenError::Io { path: directory.to_owned(), error },
    };
    create(root)?;
    let mut lock = Lock::take(root).map_err(|error| failed(root, "storePathRootDir", error))?;
    create(commit_log)?;
    lock.take_directory(commit_log).map_err(|error| failed(commit_log, "storePathCommitLog", error))?;
    Ok(lock)
}

fn check_config(config: &StoreConfig) -> Result<(), OpenError> {
    let within = |key, value, range: std::ops::RangeInclusive<u64>, must| {
        if range.contains(&value) { Ok(()) } else { Err(OpenError::Config { key, value, must }) }
    };
    let file_size = config.commit_log_file_size;
    within("mappedFileSizeCommitLog", file_size, 1024..=i32::MAX as u64, "it must be 1024 to 2147483647")?;
    let queue_file_size = config.consume_queue_file_size;
    within("mappedFileSizeConsumeQueue", queue_file_size, 20..=i32::MAX as u64, "it must be 20 to 2147483647")?;
    within("maxHashSlotNum", config.index_slots.into(), 1..=500_000_000, "it must be 1 to 500000000")?;
    within("maxIndexNum", config.index_entries.into(), 2..=i32::MAX as u64, "it must be 2 to 2147483647")
}

fn load_log(config: &StoreConfig) -> Result<Segments, OpenError> {
    let size = config.commit_log_file_size;
    let segments = Segments::load(config.disk.clone(), config.commit_log_dir(), size, Access::Sequential)
        .map_err(|error| list_error(error, "mappedFileSizeCommitLog", size, "position in the commit log"))?;
    for segment in segments.all() {
        if segment.base % size as i64 != 0 {
            let expected = "multiple of mappedFileSizeCommitLog";
            return Err(OpenError::FileName { path: segment.path.clone(), expected });
        }
    }
    Ok(segments)
}

fn refuse_batch_queues(config: &StoreConfig) -> Result<(), OpenError> {
    let dir = config.root.join("batchconsumequeue");
    let listed = |error| list_error(error, "", 0, "topic");
    match directories_of(&dir).map_err(listed)?.into_iter().next() {
        Some(Listed { path, name: topic, .. }) => Err(OpenError::BatchConsumeQueue { topic, path }),
        None => Ok(()),
    }
}

/// The queues that have a directory, without what is in them.
fn load_queues(config: &StoreConfig) -> Result<Queues, OpenError> {
    let open_files = OpenFiles::new(OPEN_FILES_MAX);
    let queues = Queues::new(config.disk.clone(), config.consume_queue_dir(), config.entries_per_file(), open_files);
    let size = queues.file_size();
    let listed = |error| list_error(error, "mappedFileSizeConsumeQueue", size, "position in the queue");
    for Listed { path: topic_dir, name: topic, .. } in directories_of(&config.consume_queue_dir()).map_err(listed)? {
        for Listed { path: dir, name: queue_id, .. } in directories_of(&topic_dir).map_err(listed)? {
            let Ok(queue_id) = queue_id.parse() else {
                tracing::warn!("{} is no queue of a topic; left alone", dir.display());
                continue;
            };
            let files = Segments::load(config.disk.clone(), dir, size, queues.access()).map_err(listed)?;
            queues.insert(&topic, queue_id, files);
        }
    }
    Ok(queues)
}

fn load_index(config: &StoreConfig) -> Result<Option<Index>, OpenError> {
    if !config.index_enabled {
        return Ok(None);
    }
    let size = Index::file_size(config.index_slots, config.index_entries);
    let index = Index::load(config.disk.clone(), config.index_dir(), config.index_slots, config.index_entries)
        .map_err(|error| list_error(error, "maxHashSlotNum, maxIndexNum: size of an index file", size, "time"))?;
    Ok(Some(index))
}

/// After a crash: commit log offset up to which queues are known to be on disk.
fn trusted_end(segments: &Segments, checkpoint: &Checkpoint) -> i64 {
    let log_min = segments.first().map_or(0, |first| first.base);
    if checkpoint.dispatched > 0 {
        return checkpoint.dispatched.max(log_min);
    }
    // A checkpoint of an older store knows times only.
    let trusted = checkpoint.log_timestamp.min(checkpoint.queue_timestamp) - TIMESTAMP_SLACK;
    for segment in segments.all().iter().rev() {
        if let Ok(Ok(timestamp)) = read_record(segment, 0, segment.base)
            .map(|bytes| Record::parse(&bytes).map(|record| record.store_timestamp))
            && timestamp > 0
            && timestamp <= trusted
        {
            return segment.base;
        }
    }
    log_min
}

/// A crash may have left queues of deleted topics: whole ones, for nothing of a topic's next life is written before they
/// are gone.
fn finish_deletions(queues: &Queues, deletions: &Deletions, config: &StoreConfig) -> Result<(), OpenError> {
    for (topic, begin) in deletions.all() {
        let mut gone = Vec::new();
        for queue in queues.of(&topic) {
            let failed = |error| OpenError::Io { path: queues.dir_of(&topic), error };
            if queue.newest_place().map_err(failed)?.is_some_and(|newest| newest < begin) {
                queue.mark_deleted();
                let dir = queues.dir_of(&topic).join(queue.queue_id().to_string());
                config.disk.delete_directory(&dir).map_err(io_error(&dir))?;
                gone.push(queue);
            }
        }
        queues.remove(&topic, &gone);
    }
    Ok(())
}

/// The entry of the last record that any queue points to.
fn last_record(queues: &Queues) -> io::Result<Option<Entry>> {
    let mut last: Option<Entry> = None;
    for queue in queues.all() {
        if let Some(found) = last_entry(&queue)?.filter(|found| last.is_none_or(|last| last.at < found.at)) {
            last = Some(found);
        }
    }
    Ok(last)
}

/// End of the record of an entry, if it is sound: then a record may begin there.
fn sound_end(segments: &Segments, entry: &Entry) -> Option<i64> {
    let segment = segments.holding(entry.at)?;
    let record = read_record(&segment, (entry.at - segment.base) as u64, entry.at).ok()?;
    (record.len() as i64 == i64::from(entry.size)).then_some(entry.at + i64::from(entry.size))
}

fn last_entry(queue: &Queue) -> io::Result<Option<Entry>> {
    let (min, max) = queue.bounds();
    for offset in (min..max).rev() {
        match queue.entry(offset)? {
            Some(entry) if entry.has_message() => return Ok(Some(entry)),
            _ => {}
        }
    }
    Ok(None)
}

/// Where the walk begins: a place where a record begins, at `wanted` or before.
fn walk_from(
    segments: &Segments,
    log_min: i64,
    queues_end: Option<i64>,
    wanted: i64,
    after_crash: bool,
    cut: i64,
) -> i64 {
    let is_boundary = |at: i64| {
        at == log_min
            || queues_end == Some(at)
            || segments.holding(at).is_some_and(|segment| {
                segment.base == at || read_record(&segment, (at - segment.base) as u64, at).is_ok()
            })
    };
    if (!after_crash || wanted <= cut) && is_boundary(wanted) {
        return wanted;
    }
    // The newest file that begins with a record before it.
    let all = segments.all();
    let before = all.iter().rev().filter(|segment| segment.base <= wanted);
    let mut readable = before.filter(|segment| read_record(segment, 0, segment.base).is_ok());
    readable.next().map_or(log_min, |segment| segment.base)
}

/// Dispatches records of the log to what lacks them.
struct Redo<'a> {
    config: &'a StoreConfig,
    queues: &'a Queues,
    deletions: &'a Deletions,
    index: Option<&'a mut Index>,
    queues_from: i64,
    index_from: i64,
    dirty: HashSet<(Box<str>, u32)>,
    waiting: usize,
    items: Vec<IndexItem>,
    touched: Vec<Arc<Segment>>,
    last_timestamp: i64,
}

impl Redo<'_> {
    fn dispatch(&mut self, record: &Record<'_>) -> Result<(), OpenError> {
        let at = record.commit_log_offset.0;
        self.last_timestamp = self.last_timestamp.max(record.store_timestamp);
        if let Some(lost) = lost::of(record) {
            // Its queue goes on to say which message it was.
            if at >= self.queues_from && is_storable_topic(&lost.topic) {
                let entry = Entry { at, size: record.bytes.len() as i32, tags_code: 0 };
                let queue = self.queues.get_or_create(&lost.topic, lost.queue_id);
                queue.publish(QueueOffset(lost.queue_offset), entry, &mut Vec::new());
                self.dirty.insert((lost.topic.into(), lost.queue_id));
            }
            return Ok(());
        }
        let to_queue = at >= self.queues_from && is_queued(record.sys_flag);
        let to_index = at >= self.index_from;
        if !to_queue && !to_index || at < self.deletions.begin_of(record.topic) || lost::is_lost(record) {
            return Ok(());
        }
        let Some(queue_id) = u32::try_from(record.queue_id).ok().filter(|_| is_storable_topic(record.topic)) else {
            tracing::warn!(
                "the record at {at} of the commit log has topic `{}` queue {}",
                record.topic,
                record.queue_id
            );
            return Ok(());
        };
        let queue = self.queues.get_or_create(record.topic, queue_id);
        let keys = Keys::derive(self.config, record.topic, queue.topic_hash(), record.sys_flag, record.properties);
        if to_queue {
            let tags_code = keys.tags_code(record.store_timestamp);
            let entry = Entry { at, size: record.bytes.len() as i32, tags_code };
            queue.publish(record.queue_offset, entry, &mut Vec::new());
            self.dirty.insert((record.topic.into(), queue_id));
            self.waiting += 1;
        }
        if to_index && self.index.is_some() {
            let store_timestamp = record.store_timestamp;
            self.items.extend(keys.hashes().iter().map(|hash| IndexItem { hash: *hash, at, store_timestamp }));
        }
        if self.waiting + self.items.len() > DRAIN_AT { self.drain() } else { Ok(()) }
    }

    fn drain(&mut self) -> Result<(), OpenError> {
        for (topic, queue_id) in self.dirty.drain() {
            if let Some(queue) = self.queues.get(&topic, queue_id) {
                queue.drain(&mut self.touched).map_err(|(path, error)| OpenError::Io { path, error })?;
            }
        }
        self.waiting = 0;
        let mut items = std::mem::take(&mut self.items);
        if let Some(index) = self.index.as_deref_mut() {
            let written = index.add(&mut items).and_then(|()| index.write(&mut self.touched));
            written.map_err(io_error(&self.config.index_dir()))?;
        }
        self.touched.sort_by_key(|segment| Arc::as_ptr(segment) as usize);
        self.touched.dedup_by(|one, other| Arc::ptr_eq(one, other));
        Ok(())
    }
}

/// What a walk looks at.
#[derive(Clone, Copy)]
pub(crate) struct Walk {
    verify_crc: bool,
    /// The last record may have been torn.
    after_crash: bool,
}

/// Visits all sound records from `from` on and returns where the log ends.
pub(crate) fn walk(
    segments: &Segments,
    from: i64,
    how: Walk,
    visit: &mut dyn FnMut(&Record<'_>) -> Result<(), OpenError>,
) -> Result<i64, OpenError> {
    let mut at = from;
    let mut window = Window::default();
    let mut wanted = 0;
    loop {
        let Some(segment) = segments.holding(at) else {
            match segments.all().iter().find(|segment| segment.base > at) {
                Some(next) => {
                    tracing::warn!("the commit log has no file for {at} to {}", next.base - 1);
                    at = next.base;
                    continue;
                }
                None => return Ok(at),
            }
        };
        let failed = |error| OpenError::Io { path: segment.path.clone(), error };
        let bytes = window.read(&segment, (at - segment.base) as u64, wanted).map_err(failed)?;
        let have = bytes.len();
        wanted = 0;
        let reason = match sound(bytes, at, how.verify_crc) {
            Ok(record) if how.after_crash && may_be_torn(&record) && look_ahead(segments, &segment, at)?.is_none() => {
                return Ok(at);
            }
            Ok(record) => {
                visit(&record)?;
                at += record.bytes.len() as i64;
                continue;
            }
            Err(Unsound::Error(RecordError::Truncated { need, .. }))
                if need > have && at.saturating_add(need as i64) <= segment.end() =>
            {
                wanted = need;
                continue;
            }
            Err(Unsound::Error(RecordError::Blank { rest })) if at + i64::from(rest) == segment.end() => {
                at = segment.end();
                continue;
            }
            Err(Unsound::Error(error)) => error.to_string(),
            Err(Unsound::Elsewhere(says)) => format!("the record there says it belongs to {says}"),
        };
        match look_ahead(segments, &segment, at)? {
            Some(next) => {
                tracing::warn!(
                    "the commit log is damaged from {at} to {} ({}, byte {}: {reason}); what follows is kept",
                    next - 1,
                    segment.path.display(),
                    at - segment.base
                );
                at = next;
            }
            None => return Ok(at),
        }
    }
}

/// No checksum covers topic and properties. If a record was torn there, its rest is zero, which ends neither.
fn may_be_torn(record: &Record<'_>) -> bool {
    record.properties.last() == Some(&0) || record.topic.contains('\0')
}

pub(crate) enum Unsound {
    Error(RecordError),
    Elsewhere(CommitLogOffset),
}

pub(crate) fn sound(bytes: &[u8], at: i64, verify_crc: bool) -> Result<Record<'_>, Unsound> {
    let record = Record::parse(bytes).map_err(Unsound::Error)?;
    if record.commit_log_offset.0 != at {
        return Err(Unsound::Elsewhere(record.commit_log_offset));
    }
    if verify_crc {
        record.verify_crc().map_err(Unsound::Error)?;
    }
    Ok(record)
}

/// A stretch of a file in memory.
#[derive(Default)]
pub(crate) struct Window {
    base: i64,
    at: u64,
    bytes: Vec<u8>,
    /// Bytes read at a time: few at first, for often the log ends at once.
    step: usize,
}

impl Window {
    /// The bytes of `segment` from `at` on: at least `wanted`, or some, or all that the file has.
    pub(crate) fn read(&mut self, segment: &Arc<Segment>, at: u64, wanted: usize) -> io::Result<&[u8]> {
        let rest = (segment.size - at) as usize;
        let needed = rest.min(wanted.max(4096)) as u64;
        let has = self.base == segment.base && at >= self.at && at + needed <= self.at + self.bytes.len() as u64;
        if !has {
            self.step = (self.step * 4).clamp(WINDOW_MIN, WINDOW);
            self.bytes.resize(rest.min(wanted.max(self.step)), 0);
            segment.read(&mut self.bytes, at)?;
            (self.base, self.at) = (segment.base, at);
        }
        Ok(&self.bytes[(at - self.at) as usize..])
    }
}

/// The first sound record behind `at`, in the rest of its file or in a later one.
fn look_ahead(segments: &Segments, damaged: &Arc<Segment>, at: i64) -> Result<Option<i64>, OpenError> {
    for segment in segments.all().iter().filter(|segment| segment.base >= damaged.base) {
        let from = if segment.base == damaged.base { (at - segment.base) as u64 + 1 } else { 0 };
        let failed = |error| OpenError::Io { path: segment.path.clone(), error };
        if let Some(found) = first_sound(segment, from).map_err(failed)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The first sound record of a file at byte `from` or behind.
pub(crate) fn first_sound(segment: &Arc<Segment>, from: u64) -> io::Result<Option<i64>> {
    let finder = memmem::Finder::new(&MAGIC_PREFIX);
    let mut bytes = Vec::new();
    let mut from = from;
    while let Some(data) = segment.next_data(from)? {
        // The magic number is the second field: the size before it may lie in a page that was never written.
        let start = data.start.saturating_sub(4).max(from);
        let len = ((data.end - start) as usize).min(WINDOW);
        bytes.resize(len, 0);
        segment.read(&mut bytes, start)?;
        for magic in finder.find_iter(&bytes) {
            let Some(record_at) = (start + magic as u64).checked_sub(4).filter(|at| *at >= from) else { continue };
            let at = segment.base + record_at as i64;
            if read_record(segment, record_at, at).is_ok() {
                return Ok(Some(at));
            }
        }
        // A magic number may lie across two windows.
        from = if start + len as u64 == data.end { data.end } else { start + len as u64 - 8 };
    }
    Ok(None)
}

/// Makes everything behind the end of the log zero: Apache's recovery would take an old record there for a new one.
fn zero_behind(segments: &Segments, end: i64) -> Result<(), OpenError> {
    for segment in segments.all() {
        let failed = |error| OpenError::Io { path: segment.path.clone(), error };
        if segment.base >= end && segment.base > segments.first().map_or(0, |first| first.base) {
            segments.delete(&segment).map_err(failed)?;
        } else if segment.end() > end {
            let at = (end - segment.base).max(0) as u64;
            if has_data(&segment, at).map_err(failed)? {
                segment.zero_from(at).map_err(failed)?;
            }
        }
    }
    Ok(())
}

fn has_data(segment: &Arc<Segment>, at: u64) -> io::Result<bool> {
    const PAGE: u64 = 4096;
    let page_end = (at.next_multiple_of(PAGE)).min(segment.size);
    let mut bytes = vec![0; (page_end - at) as usize];
    segment.read(&mut bytes, at)?;
    Ok(bytes.iter().any(|byte| *byte != 0) || page_end < segment.size && segment.next_data(page_end)?.is_some())
}
