//! Puts right what verify found. Nothing is deleted: what has to go is moved to `quarantine/<time>/`, under the same
//! path; of what is overwritten a copy goes there first.
//!
//! - damaged stretches of the log become records that no store hands out (see `lost`), so that recovery, also Apache's,
//!   does not end the log there; the entries that led to the messages lead to these, and consumers pass on past them
//! - queues and index are made again from the log, beside the old ones, and take their place by two renames
//! - of a table that cannot be read, the last good state takes its place
//!
//! A repair that breaks off can be begun again: every copy is on disk before what it is a copy of changes.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::message::{JavaHash, QueueOffset};
use protocol::record::{MAGIC_BLANK, QUEUE_OFFSET_AT};

use super::verify::{Damaged, Verified};
use super::walk::Piece;
use super::{Directory, Misfit};
use crate::config::StoreConfig;
use crate::consume_queue::{Entry, GAP_MAX, Queues};
use crate::disk::Disk;
use crate::dispatch::{IndexItem, Keys};
use crate::index::Index;
use crate::lock::{Lock, LockError};
use crate::lost::{self, Lost};
use crate::put::{is_queued, is_storable_topic};
use crate::segment::{Access, OpenFiles, Segment};

/// One record takes the place of at most so many bytes.
const LOST_MAX: i64 = 1 << 20;
/// Bytes copied at a time.
const COPY_LEN: u64 = 1 << 20;
/// Entries kept in memory before they are written.
const DRAIN_AT: usize = 200_000;
/// Bytes of the mark that ends a file of the log.
const BLANK_LEN: i64 = 8;

/// One thing that a repair does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A file, or a directory, is moved to quarantine.
    MoveAway(PathBuf),
    /// A table is moved to quarantine, and its last good state takes its place.
    RestoreTable(PathBuf),
    /// A file of the log is given the size that it must have; what it has too much is copied to quarantine.
    FitLogFile {
        /// The file.
        path: PathBuf,
        /// Bytes it must have.
        size: u64,
    },
    /// Bytes of the log are copied to quarantine and replaced by records that no store hands out.
    ReplaceStretch {
        /// First byte of the commit log.
        at: i64,
        /// First byte behind.
        end: i64,
        /// Messages that were there.
        messages: usize,
    },
    /// A record is given the queue offset that it has in its queue.
    CorrectOffset {
        /// Commit log offset of the record.
        at: i64,
        /// Its queue offset.
        queue_offset: i64,
    },
    /// Bytes of the log stay as they are: they are too few for a record.
    LeaveStretch {
        /// First byte of the commit log.
        at: i64,
        /// First byte behind.
        end: i64,
    },
    /// A queue is made again from the log; its files are moved to quarantine.
    RebuildQueue {
        /// Its topic.
        topic: String,
        /// Its number in the topic.
        queue_id: u32,
    },
    /// The index is made again from the log; its files are moved to quarantine.
    RebuildIndex,
}

/// What a repair will do.
#[derive(Debug)]
pub struct Plan {
    steps: Vec<Step>,
    /// As it may be changed.
    config: StoreConfig,
    verified: Verified,
}

/// Why a repair did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// Someone uses the store.
    #[error("{root} is in use by process {pid}: stop that first", root = .root.display(), pid = .pid.map_or("(unknown)".to_owned(), |pid| pid.to_string()))]
    InUse {
        /// Directory of the store.
        root: PathBuf,
        /// Who uses it, if that can be told.
        pid: Option<i32>,
    },
    /// A file could not be read or written.
    #[error("the repair broke off: {path}: {error}; nothing was lost, and it can be begun again", path = .path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> RepairError + use<'_> {
    move |error| RepairError::Io { path: path.to_owned(), error }
}

impl Plan {
    /// What would put right what was found in `directory`. `config` is what `directory` was looked at with.
    pub fn make(directory: &Directory, verified: Verified, config: &StoreConfig) -> Plan {
        let config = StoreConfig { disk: config.disk.clone(), ..directory.config.clone() };
        let mut steps = Vec::new();
        let (log_dir, index_dir) = (config.commit_log_dir(), config.index_dir());
        for misfit in &directory.misfits {
            match misfit {
                Misfit::Name(path) => steps.push(Step::MoveAway(path.clone())),
                Misfit::Size { path, expected, .. } if path.starts_with(&log_dir) => {
                    steps.push(Step::FitLogFile { path: path.clone(), size: *expected });
                }
                // It goes with its queue, or with the index.
                Misfit::Size { .. } => {}
            }
        }
        for (path, last_good) in &verified.tables {
            let bak = PathBuf::from(format!("{}.bak", path.display()));
            match last_good {
                true => steps.push(Step::RestoreTable(path.clone())),
                false => steps.extend([path, &bak].into_iter().filter(|it| it.exists()).cloned().map(Step::MoveAway)),
            }
        }
        if verified.checkpoint_broken {
            steps.push(Step::MoveAway(config.root.join("checkpoint")));
        }
        for damaged in &verified.damages {
            let (at, end) = (damaged.stretch.at.0, damaged.stretch.end.0);
            steps.push(match pieces(&config, damaged, verified.end) {
                Some(_) => Step::ReplaceStretch { at, end, messages: damaged.messages.len() },
                None => Step::LeaveStretch { at, end },
            });
        }
        let offsets = verified.offsets.iter().copied();
        steps.extend(offsets.map(|(at, queue_offset)| Step::CorrectOffset { at, queue_offset }));
        for (topic, queue_id) in verified.queues.keys() {
            steps.push(Step::RebuildQueue { topic: topic.clone(), queue_id: *queue_id });
        }
        if verified.index_broken {
            steps.push(if directory.index_sizes_known { Step::RebuildIndex } else { Step::MoveAway(index_dir) });
        }
        Plan { steps, config, verified }
    }

    /// The steps, in their order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Does it all. Returns the directory of quarantine, where `report.txt` says what was done, after `heading`.
    pub fn carry_out(&self, heading: &str, done: &mut dyn FnMut(&Step)) -> Result<PathBuf, RepairError> {
        let root = &self.config.root;
        let lock = Lock::take(root).map_err(|error| match error {
            LockError::Held { by } => RepairError::InUse { root: root.clone(), pid: by },
            LockError::Io(error) => RepairError::Io { path: root.join("lock"), error },
        })?;
        let time = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S%.3f").to_string();
        let repair = Repair { plan: self, disk: &self.config.disk, quarantine: root.join("quarantine").join(time) };
        repair.disk.create_directory(&repair.quarantine).map_err(failed(&repair.quarantine))?;
        repair.note(heading)?;
        for step in &self.steps {
            repair.step(step)?;
            done(step);
        }
        repair.rebuild()?;
        drop(lock);
        Ok(repair.quarantine)
    }
}

/// What stands where a stretch was: place, length, and the message if it is known which. The last may be the mark that
/// ends a file, which has no message and whose length is negative.
type Fill = (i64, i64, Option<Lost>);

/// `None`: some of its bytes are too few for a record.
fn pieces(config: &StoreConfig, damaged: &Damaged, log_end: i64) -> Option<Vec<Fill>> {
    let size = config.commit_log_file_size as i64;
    let mut messages: Vec<_> = damaged.messages.iter().filter(|(_, _, len)| i64::from(*len) >= lost::LEN_MIN).collect();
    messages.sort_unstable_by_key(|(_, at, _)| *at);
    let (mut at, mut end) = (damaged.stretch.at.0, damaged.stretch.end.0);
    if at == log_end {
        // The log ends with it: all that the messages took, and a record at least.
        let last = messages.iter().map(|(_, at, len)| at + i64::from(*len)).max().unwrap_or(0);
        let file_end = at - at % size + size - BLANK_LEN;
        end = end.max(last).max(at + lost::LEN_MIN).min(file_end.max(end));
    }
    let mut fills = Vec::new();
    while at < end {
        let file_end = at - at % size + size;
        let part_end = end.min(file_end);
        let with_mark = part_end == file_end;
        let limit = if with_mark { part_end - BLANK_LEN } else { part_end };
        let mut part: Vec<Fill> = Vec::new();
        let mut next = at;
        for (lost, message_at, len) in &messages {
            let (message_at, message_end) = (*message_at, message_at + i64::from(*len));
            let hole = message_at - next;
            if message_at >= at && message_end <= limit && (hole == 0 || hole >= lost::LEN_MIN) {
                fill_hole(&mut part, next, message_at);
                part.push((message_at, i64::from(*len), Some(lost.clone())));
                next = message_end;
            }
        }
        if with_mark {
            part.push((next, -(part_end - next), None));
        } else {
            // A rest that is too short takes the message before it along.
            while next < part_end && part_end - next < lost::LEN_MIN {
                next = part.pop()?.0;
            }
            fill_hole(&mut part, next, part_end);
        }
        if part_end - at < BLANK_LEN {
            return None;
        }
        fills.append(&mut part);
        at = part_end;
    }
    Some(fills)
}

fn fill_hole(fills: &mut Vec<Fill>, from: i64, end: i64) {
    let mut at = from;
    while at < end {
        let rest = end - at;
        let len = if rest <= LOST_MAX { rest } else { LOST_MAX.min(rest - lost::LEN_MIN) };
        fills.push((at, len, None));
        at += len;
    }
}

struct Repair<'a> {
    plan: &'a Plan,
    disk: &'a Disk,
    quarantine: PathBuf,
}

impl Repair<'_> {
    fn config(&self) -> &StoreConfig {
        &self.plan.config
    }

    fn step(&self, step: &Step) -> Result<(), RepairError> {
        match step {
            Step::MoveAway(path) => self.move_away(path),
            Step::RestoreTable(path) => self.restore_table(path),
            Step::FitLogFile { path, size } => self.fit(path, *size),
            Step::ReplaceStretch { at, .. } => {
                let damaged = self.plan.verified.damages.iter().find(|damaged| damaged.stretch.at.0 == *at);
                damaged.map_or(Ok(()), |damaged| self.replace(damaged))
            }
            Step::CorrectOffset { at, queue_offset } => self.correct(*at, *queue_offset),
            // All of them together, with one walk through the log.
            Step::RebuildQueue { .. } | Step::RebuildIndex | Step::LeaveStretch { .. } => Ok(()),
        }
    }

    fn note(&self, text: &str) -> Result<(), RepairError> {
        let path = self.quarantine.join("report.txt");
        let file = self.disk.replace(&path, text.as_bytes()).map_err(failed(&path))?;
        self.disk.sync(&file, &path).map_err(failed(&path))
    }

    /// Where a path of the store goes in quarantine.
    fn place_of(&self, path: &Path) -> PathBuf {
        let inside = path.strip_prefix(&self.config().root).or_else(|_| path.strip_prefix("/")).unwrap_or(path);
        self.quarantine.join(inside)
    }

    fn move_away(&self, path: &Path) -> Result<(), RepairError> {
        let place = self.place_of(path);
        if !path.exists() {
            return Ok(());
        }
        if !(path.is_dir() && place.exists()) {
            return self.rename(path, &place);
        }
        // Something of the directory was moved before it.
        for entry in std::fs::read_dir(path).map_err(failed(path))? {
            self.move_away(&entry.map_err(failed(path))?.path())?;
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), RepairError> {
        let dirs = [from, to].map(|path| path.parent().unwrap_or(Path::new("/")));
        self.disk.create_directory(dirs[1]).map_err(failed(dirs[1]))?;
        self.disk.rename(from, to).map_err(failed(from))?;
        dirs.into_iter().try_for_each(|dir| self.disk.sync_directory(dir).map_err(failed(dir)))
    }

    fn restore_table(&self, path: &Path) -> Result<(), RepairError> {
        let bak = PathBuf::from(format!("{}.bak", path.display()));
        let bytes = std::fs::read(&bak).map_err(failed(&bak))?;
        let fresh = PathBuf::from(format!("{}.tmp", path.display()));
        let file = self.disk.replace(&fresh, &bytes).map_err(failed(&fresh))?;
        self.disk.sync(&file, &fresh).map_err(failed(&fresh))?;
        self.move_away(path)?;
        self.rename(&fresh, path)
    }

    /// Copies a part of a file to quarantine, and says in the copy's name which.
    fn copy(&self, path: &Path, from: u64, end: u64) -> Result<(), RepairError> {
        let size = std::fs::metadata(path).map_err(failed(path))?.len();
        let end = end.min(size);
        if from >= end {
            return Ok(());
        }
        let name = format!("{}@{from}-{end}", self.place_of(path).display());
        let copy = PathBuf::from(name);
        let source = Segment::existing(&self.disk.read_only(), path.to_owned(), 0, size, Access::Random);
        let target = Segment::create(self.disk, copy.clone(), 0, end - from, Access::Random).map_err(failed(&copy))?;
        let mut bytes = Vec::new();
        let mut at = from;
        while at < end {
            bytes.resize((end - at).min(COPY_LEN) as usize, 0);
            // What the disk does not give cannot be copied.
            if source.read(&mut bytes, at).is_ok() && bytes.iter().any(|byte| *byte != 0) {
                target.write(&bytes, at - from).map_err(failed(&copy))?;
            }
            at += bytes.len() as u64;
        }
        target.sync().map_err(failed(&copy))
    }

    fn fit(&self, path: &Path, size: u64) -> Result<(), RepairError> {
        self.copy(path, size, u64::MAX)?;
        let file = self.disk.create(path).map_err(failed(path))?;
        self.disk.resize(&file, path, size).map_err(failed(path))?;
        self.disk.sync(&file, path).map_err(failed(path))
    }

    fn replace(&self, damaged: &Damaged) -> Result<(), RepairError> {
        let Some(fills) = pieces(self.config(), damaged, self.plan.verified.end) else { return Ok(()) };
        let file_size = self.config().commit_log_file_size;
        let mut opened: Option<Arc<Segment>> = None;
        let end = damaged.stretch.end.0;
        for (at, len, lost) in fills {
            let base = at - at % file_size as i64;
            if opened.as_ref().is_none_or(|opened| opened.base != base) {
                if let Some(done) = opened.take() {
                    done.sync().map_err(failed(&done.path))?;
                }
                let path = self.config().commit_log_dir().join(format!("{base:020}"));
                let segment = if path.exists() {
                    let part_end = end.min(base + file_size as i64);
                    self.copy(&path, (at - base) as u64, (part_end - base) as u64)?;
                    Segment::existing(self.disk, path.clone(), base, file_size, Access::Sequential)
                } else {
                    Segment::create(self.disk, path.clone(), base, file_size, Access::Sequential)
                        .map_err(failed(&path))?
                };
                opened = Some(segment);
            }
            let bytes = if len < 0 {
                [(-len as i32).to_be_bytes(), MAGIC_BLANK.to_be_bytes()].concat()
            } else {
                lost::encode(at, len, lost.as_ref(), damaged.timestamp)
            };
            if let Some(segment) = &opened {
                segment.write(&bytes, (at - base) as u64).map_err(failed(&segment.path))?;
            }
        }
        opened.map_or(Ok(()), |done| done.sync().map_err(failed(&done.path)))
    }

    fn correct(&self, at: i64, queue_offset: i64) -> Result<(), RepairError> {
        let size = self.config().commit_log_file_size;
        let base = at - at % size as i64;
        let path = self.config().commit_log_dir().join(format!("{base:020}"));
        let place = (at - base) as u64 + QUEUE_OFFSET_AT as u64;
        self.copy(&path, place, place + 8)?;
        let segment = Segment::existing(self.disk, path.clone(), base, size, Access::Sequential);
        segment.write(&queue_offset.to_be_bytes(), place).and_then(|()| segment.sync()).map_err(failed(&path))
    }

    /// Queues and index, with one walk through the log as it is now.
    fn rebuild(&self) -> Result<(), RepairError> {
        let wanted = &self.plan.verified.queues;
        let with_index = self.plan.steps.contains(&Step::RebuildIndex);
        if wanted.is_empty() && !with_index {
            return Ok(());
        }
        let config = self.config();
        let fresh = self.quarantine.join("new");
        let fresh_queues = fresh.join("consumequeue");
        let fresh_index = fresh.join("index");
        let directory = Directory::look(config, false).map_err(|error| match error {
            super::LookError::Io { path, error } => RepairError::Io { path, error },
            other => RepairError::Io { path: config.root.clone(), error: io::Error::other(other) },
        })?;
        let mut made = Made {
            config,
            directory: &directory,
            wanted,
            queues: Queues::new(
                self.disk.clone(),
                fresh_queues.clone(),
                config.entries_per_file(),
                OpenFiles::new(256),
            ),
            index: match with_index {
                true => Some(
                    Index::load(self.disk.clone(), fresh_index.clone(), config.index_slots, config.index_entries)
                        .map_err(|_| failed(&fresh_index)(io::ErrorKind::AlreadyExists.into()))?,
                ),
                false => None,
            },
            waiting: 0,
            items: Vec::new(),
            touched: Vec::new(),
            hashes: BTreeMap::new(),
            lost: None,
        };
        let mut result = Ok(());
        directory.walk_from(directory.log_min(), &mut |piece| {
            if let Piece::Record { record, .. } = piece {
                made.record(record);
                if made.waiting + made.items.len() > DRAIN_AT {
                    result = made.drain();
                }
            }
            if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        result.and_then(|()| made.finish()).map_err(|(path, error)| RepairError::Io { path, error })?;
        for (topic, queue_id) in wanted.keys() {
            let inside = Path::new(topic).join(queue_id.to_string());
            let place = config.consume_queue_dir().join(&inside);
            self.move_away(&place)?;
            if fresh_queues.join(&inside).exists() {
                self.rename(&fresh_queues.join(&inside), &place)?;
            }
        }
        if with_index {
            self.move_away(&config.index_dir())?;
            if fresh_index.exists() {
                self.rename(&fresh_index, &config.index_dir())?;
            }
        }
        self.disk.delete_directory(&fresh).map_err(failed(&fresh))
    }
}

/// Queues and index on their way.
struct Made<'a> {
    config: &'a StoreConfig,
    directory: &'a Directory,
    /// With the commit log offset from which on their records count.
    wanted: &'a BTreeMap<(String, u32), i64>,
    queues: Queues,
    index: Option<Index>,
    waiting: usize,
    items: Vec<IndexItem>,
    touched: Vec<Arc<Segment>>,
    /// By topic: of `topic#`.
    hashes: BTreeMap<String, JavaHash>,
    /// What stands in the place of the newest damage.
    lost: Option<Entry>,
}

impl Made<'_> {
    fn record(&mut self, record: &protocol::record::Record<'_>) {
        let (at, size) = (record.commit_log_offset.0, record.bytes.len() as i32);
        let lost = lost::of(record);
        if lost::is_lost(record) {
            self.lost = Some(Entry { at, size, tags_code: 0 });
            if lost.is_none() {
                return;
            }
        }
        let (topic, queue_id, offset) = match &lost {
            Some(lost) => (lost.topic.as_str(), Some(lost.queue_id), lost.queue_offset),
            None => (record.topic, u32::try_from(record.queue_id).ok(), record.queue_offset.0),
        };
        let Some(queue_id) = queue_id.filter(|_| is_storable_topic(topic)) else { return };
        if self.directory.is_deleted(topic, at) {
            return;
        }
        let since = self.wanted.get(&(topic.to_owned(), queue_id)).copied();
        let to_queue = since.is_some_and(|since| at >= since) && (lost.is_some() || is_queued(record.sys_flag));
        let to_index = self.index.is_some() && lost.is_none();
        if !to_queue && !to_index {
            return;
        }
        if !self.hashes.contains_key(topic) {
            self.hashes.insert(topic.to_owned(), JavaHash::new().update(topic).update("#"));
        }
        let topic_hash = self.hashes.get(topic).copied().unwrap_or_default();
        let keys = Keys::derive(self.config, topic, topic_hash, record.sys_flag, record.properties);
        if to_queue {
            let tags_code = if lost.is_some() { 0 } else { keys.tags_code(record.store_timestamp) };
            let queue = self.queues.get_or_create(topic, queue_id);
            let mut publish = |offset, entry| {
                self.waiting += queue.publish(QueueOffset(offset), entry, &mut Vec::new()).added;
            };
            // Messages of which nothing is left, not even their entries, were where the log was damaged.
            let (min, max) = queue.bounds();
            let last = if max > min { queue.entry(max - 1).ok().flatten() } else { None };
            if let Some(last) = last.filter(|_| offset - max <= GAP_MAX) {
                // Or they say now that they are of another topic, which nothing can tell from the truth.
                let lost = self.lost.filter(|lost| last.at < lost.at).unwrap_or(Entry::lost_before(at));
                (max..offset).for_each(|offset| publish(offset, lost));
            }
            publish(offset, Entry { at, size, tags_code });
        }
        if to_index {
            let store_timestamp = record.store_timestamp;
            self.items.extend(keys.hashes().iter().map(|hash| IndexItem { hash: *hash, at, store_timestamp }));
        }
    }

    fn drain(&mut self) -> Result<(), (PathBuf, io::Error)> {
        for queue in self.queues.all() {
            queue.drain(&mut self.touched)?;
        }
        self.waiting = 0;
        if let Some(index) = &mut self.index {
            let written = index.add(&mut self.items).and_then(|()| index.write(&mut self.touched));
            written.map_err(|error| (self.config.index_dir(), error))?;
        }
        self.touched.sort_by_key(|segment| Arc::as_ptr(segment) as usize);
        self.touched.dedup_by(|one, other| Arc::ptr_eq(one, other));
        Ok(())
    }

    fn finish(&mut self) -> Result<(), (PathBuf, io::Error)> {
        self.drain()?;
        for segment in &self.touched {
            segment.sync().map_err(|error| (segment.path.clone(), error))?;
        }
        self.index.as_mut().map_or(Ok(()), Index::close).map_err(|error| (self.config.index_dir(), error))
    }
}
