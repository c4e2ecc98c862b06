//! Opening a store: what is on disk, where the log ends, and what its queues and index still lack.
//!
//! 1. lock the directory, then look; nothing is changed before
//! 2. put right what is derived and has another form than it must have: see [`Oddities`]
//! 3. load checkpoint, queues, index
//! 4. decide where to begin: after a clean stop where the queues end, after a crash at the last checkpoint
//! 5. walk the log from there, checking every record, and dispatch what queues and index lack
//! 6. make everything behind the end of the log zero, and bring to disk what a killed process left in memory
//!
//! The log is never shortened because something in it is damaged: where a record is not sound, the walk looks ahead for
//! one that is and says so itself, its own commit log offset being its place. If there is none the log ends, but not
//! before the place up to which it was known to be on disk.
//!
//! After a power failure later sectors may have reached the disk and earlier ones not. Then the log ends at the first that
//! did not: see `never_reached_the_disk` in `walk`.

mod redo;
mod walk;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use protocol::record::Record;

use self::redo::{Life, Redo};
pub(crate) use self::walk::{Met, Synced, Unsound, Walk, Window, first_sound, sound, walk};
use crate::checkpoint::{Checkpoint, CheckpointFile};
use crate::commit_log::CommitLog;
use crate::config::StoreConfig;
use crate::consume_queue::{Entry, Queue, Queues};
use crate::deleted::Deletions;
use crate::get::read_record;
use crate::index::Index;
use crate::inventory::{self, Inventory};
use crate::lock::{self, Lock, LockError};
use crate::quarantine;
use crate::segment::{Access, Found, ListError, Listed, OpenFiles, Segment, Segments, directories_of};

/// Consume queue files open at a time.
const OPEN_FILES_MAX: usize = 2048;
/// Clocks are set, but none so far ahead, in ms: a store timestamp beyond that is damaged, and is not to become that of all
/// that comes.
const AHEAD_MAX: i64 = 366 * 24 * 3_600_000;
/// Timestamps of a checkpoint are trusted this much less, in ms.
pub(crate) const TIMESTAMP_SLACK: i64 = 3000;

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

fn listed(ListError { path, error }: ListError) -> OpenError {
    OpenError::Io { path, error }
}

/// Opens what is in `config.root`.
pub(crate) fn recover(config: &StoreConfig) -> Result<Recovered, OpenError> {
    check_config(config)?;
    let (root, disk) = (&config.root, &config.disk);
    let lock = lock(config)?;
    let (segments, log_oddities) = find_log(config)?;
    refuse_batch_queues(config)?;
    let (queues, queue_oddities) = find_queues(config)?;
    let inventory = inventory::load(config);
    let deletions = Deletions::open(config, inventory.as_ref());

    // All there is fits: from here on files are changed. A crash from here on must be seen as one.
    let abort = config.abort_file();
    let clean = !abort.exists();
    match disk.replace(&abort, std::process::id().to_string().as_bytes()) {
        // That it is there is what matters: with a full disk a store can still be read.
        Err(error) if error.kind() == io::ErrorKind::StorageFull && abort.exists() => {}
        replaced => _ = replaced.map_err(io_error(&abort))?,
    }
    let (queue_dir, had_queues) = (config.consume_queue_dir(), config.consume_queue_dir().is_dir());
    disk.create_directory(&queue_dir).map_err(io_error(&queue_dir))?;
    disk.sync_directory(root).map_err(io_error(root))?;
    let checkpoint_path = config.root.join("checkpoint");
    let (checkpoint_file, checkpoint) =
        CheckpointFile::open(disk, checkpoint_path.clone()).map_err(io_error(&checkpoint_path))?;
    let latest = latest_believed(config, &segments);
    let checkpoint = checkpoint.believed(latest);
    // Files that a killed process deleted must not come back once queues go by it that they are gone.
    segments.sync_names().map_err(io_error(segments.dir()))?;

    log_oddities.put_right(config)?;
    let mut shorter = queue_oddities.put_right(config)?;
    let log_min = segments.first().map_or(0, |first| first.base);
    let log_max = segments.last().map_or(0, |last| last.end());
    let cut = if clean { i64::MAX } else { trusted_end(&segments, &checkpoint) };
    let is_its_record = |queue: &Queue, offset: i64, entry: &Entry| says_it_is(&segments, queue, offset, entry);
    let reached = log_max.max(checkpoint.dispatched);
    let mut lives = HashMap::new();
    // The last record that any queue points to, and where the furthest ends that one points to.
    let (mut last, mut furthest) = (None, 0);
    // All that is to be done with a queue's files at once: there may be very many of them, and few stay open.
    for queue in queues.all() {
        let failed = |error| OpenError::Io { path: queues.dir_of(queue.topic()), error };
        if !clean
            && checkpoint.dispatched == 0
            && let Some((offset, first)) = queue.first_on_disk().map_err(failed)?
            && is_its_record(&queue, offset, &first)
        {
            lives.insert(queue.name(), Life { offset, at: first.at });
        }
        leave_out_strays(config, &queue, cut, &mut shorter)?;
        let listed = inventory.as_ref().and_then(|listed| listed.end_of(queue.topic(), queue.queue_id())).unwrap_or(0);
        if queue.load(cut, listed, &is_its_record).map_err(failed)? {
            tracing::warn!("entries of {queue:?} are damaged; made again");
            shorter.push(queue.clone());
        }
        queue.raise_min(log_min).map_err(failed)?;
        let begin = deletions.begin_of(queue.topic());
        if begin > 0 && queue.newest_place().map_err(failed)?.is_some_and(|newest| newest < begin) {
            finish_deletion(&queues, &queue, config)?;
            shorter.retain(|other| !Arc::ptr_eq(other, &queue));
            continue;
        }
        if let Some(found) = last_record(&queue, reached, &mut shorter).map_err(failed)? {
            furthest = furthest.max(found.end());
            last = last.filter(|last: &Entry| last.at >= found.at).or(Some(found));
        }
    }

    // Where does each of them go on?
    let last_sound = last.and_then(|last| sound_record(&segments, &last));
    let queues_end = last_sound.map(|(end, _)| end);
    let last_end = last.map_or(0, |last| last.end());
    let known_end = known_end(clean, cut, &checkpoint, log_max, last_end);
    let mut queues_from = match (last, queues_end) {
        // A store whose topics were all deleted has their directory still.
        (None, _) if clean || !had_queues => log_min,
        (Some(_), Some(end)) if clean => match checkpoint.dispatched {
            0 => end,
            dispatched => end.min(dispatched).max(log_min), // if they differ, the stop was not as clean as it looks
        },
        (Some(last), None) if clean => last.at.min(segments.last().map_or(0, |last| last.base)).max(log_min),
        _ => cut.min(log_max).max(log_min),
    };
    let exact = inventory.as_ref().filter(|inventory| clean && inventory.log_end == known_end);
    let mut lacking = HashMap::new();
    for queue in &shorter {
        let failed = |error| OpenError::Io { path: queues.dir_of(queue.topic()), error };
        // Of a queue without any entry an old store cannot say where it begins; after a crash it had none on disk.
        let begin = (clean && exact.is_none()).then_some(log_min);
        if let Some(from) = queue.last_record_end().map_err(failed)?.or(begin) {
            lacking.insert(queue.name(), from);
        }
    }
    if let Some(inventory) = &inventory {
        let none_deleted = inventory.log_min == log_min;
        notice_shorter(&queues, &deletions, inventory, none_deleted, &mut lacking)
            .map_err(io_error(&config.consume_queue_dir()))?;
    }
    if exact.is_some() {
        queues_from = known_end; // all that is missing is known by name
    }
    let queues_walk_from = lacking.values().copied().min().unwrap_or(i64::MAX).min(queues_from);

    let mut index = load_index(config, &segments, clean, exact)?;
    // From which record on does the index lack keys, and where must the walk begin for it?
    let (index_from, walk_for_index) = match &mut index {
        Some(index) if clean => match index.complete_up_to() {
            // A clean stop left it as complete as the queues.
            None => (index.last_at().map_or(0, |last| last.saturating_add(1)), i64::MAX),
            Some(end) => (end, end),
        },
        Some(index) if index.is_empty() => (log_min, log_min),
        Some(index) => {
            let from = index.recover(checkpoint.index_timestamp, cut).map_err(io_error(&config.index_dir()))?;
            let from = from.min(index.complete_up_to().unwrap_or(from));
            (from, from)
        }
        None => (i64::MAX, i64::MAX),
    };
    let wanted = queues_walk_from.min(walk_for_index).max(log_min);
    let from = walk_from(&segments, log_min, queues_end, wanted, !clean, cut);

    let mut redo = Redo {
        config,
        queues: &queues,
        deletions: &deletions,
        index: index.as_mut(),
        queues_from,
        lacking,
        lives,
        index_from,
        from,
        damages: Vec::new(),
        doubtful: HashMap::new(),
        dirty: HashSet::new(),
        waiting: 0,
        items: Vec::new(),
        touched: Vec::new(),
        // Apache's brokers leave a checkpoint that is seconds behind the log, even when they end in order.
        last_timestamp: checkpoint
            .log_timestamp
            .max(checkpoint.queue_timestamp)
            .max(last_sound.map_or(0, |(_, stored)| if stored <= latest { stored } else { 0 })),
        latest,
    };
    let synced = Synced { at: cut, timestamp: checkpoint.log_timestamp };
    let how = Walk {
        verify_crc: clean || config.check_crc_on_recover,
        after_crash: (!clean).then_some(synced),
        until: i64::MAX,
    };
    // What was known to be on disk was there: if it is not now, it is damaged, and messages go on behind it.
    let end = walk(&segments, from, how, &mut |met| redo.meet(met))?.max(known_end);
    redo.drain()?;
    let Redo { touched, last_timestamp, .. } = redo;

    for queue in queues.all() {
        // Queues that point beyond the log: their entries are damaged.
        let failed = |error| OpenError::Io { path: queues.dir_of(queue.topic()), error };
        if furthest > end && queue.last_record_end().map_err(failed)?.is_some_and(|last| last > end) {
            tracing::warn!("{queue:?} points beyond the end of the commit log at {end}; cut");
            queue.load(end, 0, &is_its_record).map_err(failed)?;
            queue.raise_min(log_min).map_err(failed)?;
        }
        queue.continue_behind_last();
    }
    zero_behind(config, &segments, end)?;
    if !clean {
        bring_home(&segments, cut.min(from))?;
    }
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

/// No message was stored later than this. A machine may begin with a clock that is far behind; then the log's newest file
/// tells how late it was when it was written.
fn latest_believed(config: &StoreConfig, segments: &Segments) -> i64 {
    let written = segments.last().and_then(|newest| newest.modified().ok()?.duration_since(UNIX_EPOCH).ok());
    let written = written.map_or(0, |since| since.as_millis() as i64);
    config.clock.now_millis().max(written).saturating_add(AHEAD_MAX)
}

/// The end of what of the log was on disk for certain.
///
/// After a clean stop that is all of it, after a crash what the checkpoint speaks of. A number beyond the last file is
/// believed only if a queue has an entry there, too: then the newest file is gone.
fn known_end(clean: bool, cut: i64, checkpoint: &Checkpoint, log_max: i64, last_end: i64) -> i64 {
    let dispatched = checkpoint.dispatched;
    let confirmed = dispatched <= log_max || (log_max < last_end && last_end <= dispatched);
    let known = if confirmed { dispatched } else { 0 };
    match clean {
        true if last_end <= log_max => known.max(last_end),
        true => known,
        false => known.min(cut),
    }
}

/// Does a record say that it is the one of an entry? It need not be whole.
fn says_it_is(segments: &Segments, queue: &Queue, offset: i64, entry: &Entry) -> bool {
    const HEAD_LEN: usize = 36;
    let mut head = [0; HEAD_LEN];
    let Some(segment) = segments.holding(entry.at) else { return false };
    if segment.read(&mut head, (entry.at - segment.base) as u64).is_err() {
        return false;
    }
    let size = head.first_chunk() == Some(&entry.size.to_be_bytes());
    let place = head[28..36] == entry.at.to_be_bytes();
    let number = head[20..28] == offset.to_be_bytes() || queue.topic().starts_with("%LMQ%");
    size && place && number
}

/// Files that have another form than they must have, and can be put right.
///
/// A file of the commit log that is too short gets zeros, which is what a file has where nothing was written; of one that
/// is too long the surplus is copied to the quarantine. A file of a queue is derived: what is behind its end is made again.
#[derive(Default)]
struct Oddities {
    sizes: Vec<(Arc<Segment>, u64)>,
    queues: Vec<(Arc<Queue>, Vec<Arc<Segment>>)>,
}

impl Oddities {
    /// Returns the queues that are shorter than they were.
    fn put_right(self, config: &StoreConfig) -> Result<Vec<Arc<Queue>>, OpenError> {
        for (segment, found) in self.sizes {
            let (path, size) = (&segment.path, segment.size);
            tracing::warn!(
                "{} has {found} bytes instead of {size}: it is damaged, and given the right size",
                path.display()
            );
            let dir = path.parent().unwrap_or(path);
            let whole = Segment::existing(&config.disk, path.clone(), segment.base, found, Access::Sequential);
            if found > size
                && let Some(copy) = quarantine::copy(&config.disk, dir, &whole, size, found).map_err(io_error(path))?
            {
                tracing::warn!("what was behind byte {size} of {} is now in {}", path.display(), copy.display());
            }
            segment.mend_size().map_err(io_error(path))?;
        }
        let mut shorter = Vec::new();
        for (queue, files) in self.queues {
            for segment in files {
                set_aside(config, &queue, &segment)?;
            }
            shorter.push(queue);
        }
        Ok(shorter)
    }
}

/// Moves a file of a queue to the quarantine.
fn set_aside(config: &StoreConfig, queue: &Queue, segment: &Arc<Segment>) -> Result<(), OpenError> {
    queue.files().leave_out(segment);
    let to = quarantine::move_file(&config.disk, &config.consume_queue_dir(), &segment.path)
        .map_err(io_error(&segment.path))?;
    tracing::warn!("{} is moved to {}; what it held is made again", segment.path.display(), to.display());
    Ok(())
}

/// A copy of an older file under the name of the next.
fn leave_out_strays(
    config: &StoreConfig,
    queue: &Arc<Queue>,
    cut: i64,
    shorter: &mut Vec<Arc<Queue>>,
) -> Result<(), OpenError> {
    let failed = |error| OpenError::Io { path: queue.files().dir().to_owned(), error };
    while !queue.newest_file_follows(cut).map_err(failed)?
        && let Some(newest) = queue.files().last()
    {
        tracing::warn!("{} does not go on where the file before it ends", newest.path.display());
        set_aside(config, queue, &newest)?;
        shorter.push(queue.clone());
    }
    Ok(())
}

/// Queues that the last clean stop left longer than they are now.
fn notice_shorter(
    queues: &Queues,
    deletions: &Deletions,
    inventory: &Inventory,
    none_deleted: bool,
    lacking: &mut HashMap<(Box<str>, u32), i64>,
) -> io::Result<()> {
    for (topic, listed) in &inventory.queues {
        for (queue_id, (min, max, first)) in listed {
            if *first < deletions.begin_of(topic) {
                continue; // the topic was deleted since
            }
            let queue = queues.get_or_create(topic, *queue_id);
            let (found_min, found_max) = queue.bounds();
            if found_max < *max || none_deleted && found_min > *min {
                tracing::warn!(
                    "{queue:?} had messages {min} to {}, now {found_min} to {}; what is missing is made again",
                    max.saturating_sub(1),
                    found_max - 1
                );
                if found_min > *min {
                    queue.forget_all()?;
                }
                lacking.insert(queue.name(), queue.last_record_end()?.unwrap_or(*first));
            }
        }
    }
    Ok(())
}

/// Brings to disk what a killed process had only written, names included: from here on it counts as on disk.
fn bring_home(segments: &Segments, from: i64) -> Result<(), OpenError> {
    for segment in segments.all().iter().filter(|segment| segment.end() > from) {
        segment.may_be_fresh();
        segment.sync().map_err(io_error(&segment.path))?;
    }
    Ok(())
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

/// Refuses files of another size than configured, if that is the size they were made with.
///
/// It is, if they all have it. A single file may also have been cut, or written to by mistake: then its size is hardly a
/// multiple of `unit`. Or a start was `killed` that made the end of it zero: it has all that it had when it is filled up.
fn refuse_other_size<'a>(
    files: impl Iterator<Item = (&'a Path, u64)>,
    killed: bool,
    key: &'static str,
    configured: u64,
    unit: u64,
) -> Result<(), OpenError> {
    let sized: Vec<_> = files.filter(|(_, size)| *size > 0).collect();
    match sized.first() {
        Some((path, size))
            if *size != configured
                && sized.iter().all(|(_, other)| other == size)
                && (sized.len() > 1 || size % unit == 0 && (*size > configured || !killed)) =>
        {
            Err(OpenError::FileSize { path: (*path).to_owned(), size: *size, key, configured })
        }
        _ => Ok(()),
    }
}

fn find_log(config: &StoreConfig) -> Result<(Segments, Oddities), OpenError> {
    let size = config.commit_log_file_size;
    let found =
        Segments::find(config.disk.clone(), config.commit_log_dir(), size, Access::Sequential).map_err(listed)?;
    let files = found.segments.all();
    let size_of = |segment: &Arc<Segment>| {
        found.odd.iter().find(|(odd, _)| Arc::ptr_eq(odd, segment)).map_or(size, |(_, size)| *size)
    };
    let sizes = files.iter().map(|segment| (segment.path.as_path(), size_of(segment)));
    refuse_other_size(sizes, config.abort_file().exists(), "mappedFileSizeCommitLog", size, 4096)?;
    for segment in files.iter().filter(|segment| segment.base % size as i64 != 0) {
        // A copy of a file beside it; or the configuration is another.
        let expected = "multiple of mappedFileSizeCommitLog";
        if files.iter().all(|other| other.base % size as i64 != 0) {
            return Err(OpenError::FileName { path: segment.path.clone(), expected });
        }
        tracing::warn!("{} does not belong there: its name is no {expected}; left alone", segment.path.display());
        found.segments.leave_out(segment);
    }
    warn_of_foreign(&found);
    let mut sizes = found.odd;
    sizes.retain(|(segment, _)| segment.base % size as i64 == 0);
    Ok((found.segments, Oddities { sizes, ..Oddities::default() }))
}

fn warn_of_foreign(found: &Found) {
    for path in &found.foreign {
        tracing::warn!("{} does not belong there: its name is no position; left alone", path.display());
    }
}

fn refuse_batch_queues(config: &StoreConfig) -> Result<(), OpenError> {
    let dir = config.root.join("batchconsumequeue");
    match directories_of(&dir).map_err(listed)?.into_iter().next() {
        Some(Listed { path, name: topic, .. }) => Err(OpenError::BatchConsumeQueue { topic, path }),
        None => Ok(()),
    }
}

/// The queues that have a directory, without what is in them.
fn find_queues(config: &StoreConfig) -> Result<(Queues, Oddities), OpenError> {
    let open_files = OpenFiles::new(OPEN_FILES_MAX);
    let queues = Queues::new(config.disk.clone(), config.consume_queue_dir(), config.entries_per_file(), open_files);
    let size = queues.file_size();
    let mut oddities = Oddities::default();
    let mut sizes: Vec<(PathBuf, u64)> = Vec::new();
    for Listed { path: topic_dir, name: topic, .. } in directories_of(&config.consume_queue_dir()).map_err(listed)? {
        for Listed { path: dir, name: queue_id, .. } in directories_of(&topic_dir).map_err(listed)? {
            let Ok(queue_id) = queue_id.parse() else {
                tracing::warn!("{} is no queue of a topic; left alone", dir.display());
                continue;
            };
            let found = Segments::find(config.disk.clone(), dir, size, queues.access()).map_err(listed)?;
            warn_of_foreign(&found);
            let Found { segments, odd, .. } = found;
            for stray in segments.all().iter().filter(|segment| segment.base % size as i64 != 0) {
                tracing::warn!(
                    "{} does not belong there: no file begins at {}; left alone",
                    stray.path.display(),
                    stray.base
                );
                segments.leave_out(stray);
            }
            let files = segments.all();
            let is_odd = |segment: &Arc<Segment>| odd.iter().find(|(odd, _)| Arc::ptr_eq(odd, segment));
            sizes.extend(files.iter().map(|file| (file.path.clone(), is_odd(file).map_or(size, |(_, found)| *found))));
            // Entries follow one another: what is behind a damaged or a missing file is made again as well.
            let missing = files.windows(2).position(|two| two[0].end() != two[1].base).map(|before| before + 1);
            let damaged = files.iter().position(|file| is_odd(file).is_some());
            let queue = queues.insert(&topic, queue_id, segments);
            let last_kept = damaged.map(|n| n + 1).into_iter().chain(missing).min();
            if let Some(behind) = last_kept {
                oddities
                    .sizes
                    .extend(odd.into_iter().filter(|(odd, _)| damaged.is_some_and(|n| Arc::ptr_eq(odd, &files[n]))));
                oddities.queues.push((queue, files[behind..].to_vec()));
            }
        }
    }
    let sizes = sizes.iter().map(|(path, size)| (path.as_path(), *size));
    refuse_other_size(sizes, config.abort_file().exists(), "mappedFileSizeConsumeQueue", size, 20)?;
    Ok((queues, oddities))
}

fn load_index(
    config: &StoreConfig,
    segments: &Segments,
    clean: bool,
    inventory: Option<&Inventory>,
) -> Result<Option<Index>, OpenError> {
    if !config.index_enabled {
        return Ok(None);
    }
    let mut index = Index::load(config.disk.clone(), config.index_dir(), config.index_slots, config.index_entries)
        .map_err(listed)?;
    index.leave_out_damaged(config, segments, clean, inventory).map_err(io_error(&config.index_dir()))?;
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
fn finish_deletion(queues: &Queues, queue: &Arc<Queue>, config: &StoreConfig) -> Result<(), OpenError> {
    queue.mark_deleted();
    let dir = queues.dir_of(queue.topic()).join(queue.queue_id().to_string());
    config.disk.delete_directory(&dir).map_err(io_error(&dir))?;
    queues.remove(queue.topic(), std::slice::from_ref(queue));
    Ok(())
}

/// The entry of the last record that a queue points to. Of a queue whose last entries are damaged and point beyond what the
/// log ever `reached` they are dropped, and made again.
fn last_record(queue: &Arc<Queue>, reached: i64, shorter: &mut Vec<Arc<Queue>>) -> io::Result<Option<Entry>> {
    let found = last_entry(queue)?;
    if found.is_none_or(|found| found.end() <= reached) {
        return Ok(found);
    }
    tracing::warn!("the last entry of {queue:?} is damaged; made again");
    queue.load(reached, 0, &|_, _, _| true)?;
    shorter.push(queue.clone());
    last_entry(queue)
}

/// End of the record of an entry, if it is sound: then a record may begin there. And when it was stored.
fn sound_record(segments: &Segments, entry: &Entry) -> Option<(i64, i64)> {
    let segment = segments.holding(entry.at)?;
    let bytes = read_record(&segment, (entry.at - segment.base) as u64, entry.at).ok()?;
    let stored = Record::parse(&bytes).ok()?.store_timestamp;
    (bytes.len() as i64 == i64::from(entry.size)).then_some((entry.end(), stored))
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

/// Makes everything behind the end of the log zero: Apache's recovery would take an old record there for a new one. What is
/// there goes to the quarantine.
fn zero_behind(config: &StoreConfig, segments: &Segments, end: i64) -> Result<(), OpenError> {
    let (disk, dir) = (&config.disk, config.commit_log_dir());
    let mut names_changed = false;
    for segment in segments.all() {
        let failed = |error| OpenError::Io { path: segment.path.clone(), error };
        if segment.end() <= end {
            continue;
        }
        let at = (end - segment.base).max(0) as u64;
        let has_data = has_data(&segment, at).map_err(failed)?;
        if segment.base >= end && segment.base > segments.first().map_or(0, |first| first.base) {
            if has_data {
                segments.leave_out(&segment);
                let to = quarantine::move_file(disk, &dir, &segment.path).map_err(failed)?;
                tracing::warn!(
                    "{} is behind the end of the commit log; moved to {}",
                    segment.path.display(),
                    to.display()
                );
            } else {
                segments.delete(&segment).map_err(failed)?;
            }
            names_changed = true;
        } else if has_data {
            if let Some(to) = quarantine::copy(disk, &dir, &segment, at, segment.size).map_err(failed)? {
                let from = segment.path.display();
                tracing::warn!(
                    "what is behind the end of the commit log ({from}, byte {at}) is now in {}",
                    to.display()
                );
            }
            segment.zero_from(at).map_err(failed)?;
        }
    }
    // They must not come back with the next power failure, when their places are taken again.
    if names_changed { segments.sync_names().map_err(io_error(&dir)) } else { Ok(()) }
}

fn has_data(segment: &Arc<Segment>, at: u64) -> io::Result<bool> {
    const PAGE: u64 = 4096;
    let page_end = (at.next_multiple_of(PAGE)).min(segment.size);
    let mut bytes = vec![0; (page_end - at) as usize];
    segment.read(&mut bytes, at)?;
    Ok(bytes.iter().any(|byte| *byte != 0) || page_end < segment.size && segment.next_data(page_end)?.is_some())
}
