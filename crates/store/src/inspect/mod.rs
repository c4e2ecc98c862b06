//! A store's directory, looked at and not opened: no lock is taken and nothing is changed, whoever uses it meanwhile.
//!
//! [`Directory`] finds the files and how long they are; [`Directory::walk`] visits every record, and every stretch of the
//! log that is none.

mod finding;
mod index;
mod repair;
mod summary;
mod verify;
mod walk;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::checkpoint::{self, Checkpoint};
use crate::config::StoreConfig;
use crate::consume_queue::ENTRY_LEN;
use crate::index::Index;
use crate::lock;
use crate::segment::{Access, ListError, Listed, OpenFiles, Segment, Segments, directories_of, files_of, position};

pub use finding::{Finding, Kind, Severity};
pub use repair::{Plan, RepairError, Step};
pub use summary::{IndexSummary, QueueSummary, Summary};
pub use verify::{Progress, Verified};
pub(crate) use walk::LogFiles;
pub use walk::{Piece, Stretch, Visit};

/// Consume queue files open at a time.
const OPEN_FILES_MAX: usize = 256;

/// Why a directory cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// There is no such directory.
    #[error("{path} is not there", path = .0.display())]
    NotThere(PathBuf),
    /// It is something else.
    #[error("{path} is no directory", path = .0.display())]
    NoDirectory(PathBuf),
    /// It holds no store.
    #[error("{path} holds no store: it has neither commitlog nor consumequeue; name the directory that storePathRootDir names", path = .0.display())]
    NoStore(PathBuf),
    /// Something in it cannot be read.
    #[error("cannot read {path}: {error}", path = .path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
}

impl From<ListError> for LookError {
    fn from(ListError { path, error }: ListError) -> LookError {
        LookError::Io { path, error }
    }
}

/// How a store was left, or that it was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was closed in order.
    Clean,
    /// The file `abort` is there: its process was killed, or the machine stopped.
    Crashed,
    /// A process has it open.
    InUse {
        /// Its id, if that can be told.
        pid: Option<i32>,
    },
}

/// A file that does not fit into its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// Its name is none that a file has there.
    Name(PathBuf),
    /// It is shorter or longer than the others.
    Size {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        size: u64,
        /// What it should have.
        expected: u64,
    },
}

impl Misfit {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Misfit::Name(path) | Misfit::Size { path, .. } => path,
        }
    }
}

/// The files of a store.
#[derive(Debug)]
pub struct Directory {
    /// Sizes are those of the files; nothing can be changed through its disk.
    pub(crate) config: StoreConfig,
    pub(crate) state: State,
    pub(crate) log: Segments,
    pub(crate) queues: BTreeMap<(String, u32), Segments>,
    /// Oldest first; `base` is the number that is its name.
    pub(crate) index: Vec<Arc<Segment>>,
    /// `maxHashSlotNum` and `maxIndexNum` are told by the configuration or the files.
    pub(crate) index_sizes_known: bool,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) misfits: Vec<Misfit>,
    /// Of topics that were deleted: records before this place of the log are theirs no more.
    pub(crate) deleted: BTreeMap<String, i64>,
    /// Topics kept as `queue.type=BatchCQ`.
    pub(crate) batch_topics: Vec<String>,
}

impl Directory {
    /// Looks at the store in `config.root`. With `sizes_of_files` the sizes of its files are told from the files, not
    /// from `config`.
    ///
    /// How an index file is divided cannot be told from its size: the usual ratio of slots to entries, 1 to 4, is taken
    /// if it fits, else the index is not looked at.
    pub fn look(config: &StoreConfig, sizes_of_files: bool) -> Result<Directory, LookError> {
        let root = &config.root;
        let failed = |error| LookError::Io { path: root.clone(), error };
        match fs::metadata(root) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(LookError::NoDirectory(root.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(LookError::NotThere(root.clone())),
            Err(error) => return Err(failed(error)),
        }
        // One that was just begun has its lock and no message.
        let begun = root.join("lock").exists();
        if !begun && !config.commit_log_dir().is_dir() && !config.consume_queue_dir().is_dir() {
            // Told apart from one that may not be looked into.
            fs::read_dir(root).map_err(failed)?;
            return Err(LookError::NoStore(root.clone()));
        }
        let mut config = StoreConfig { disk: config.disk.read_only(), ..config.clone() };
        // First, for everything that it says is in the files by then.
        let checkpoint = read_checkpoint(&config)?;
        let state = match lock::holder_of(&config.root).map_err(failed)? {
            Some(pid) => State::InUse { pid },
            None if config.abort_file().exists() => State::Crashed,
            None => State::Clean,
        };
        let mut misfits = Vec::new();
        let (index, index_sizes_known) = list_index(&mut config, sizes_of_files, &mut misfits)?;
        let queues = list_queues(&mut config, sizes_of_files, &mut misfits)?;
        let log = list_log(&mut config, sizes_of_files, &mut misfits)?;
        let batch_topics = directories_of(&config.root.join("batchconsumequeue"))?;
        let batch_topics = batch_topics.into_iter().map(|topic| topic.name).collect();
        let deleted = deleted_topics(&config.root);
        Ok(Directory {
            config,
            state,
            log,
            queues,
            index,
            index_sizes_known,
            checkpoint,
            misfits,
            deleted,
            batch_topics,
        })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.config.root
    }

    /// Its settings, with the sizes that its files have.
    pub fn config(&self) -> &StoreConfig {
        &self.config
    }

    /// Files that do not fit.
    pub fn misfits(&self) -> &[Misfit] {
        &self.misfits
    }

    /// How it was left.
    pub fn state(&self) -> State {
        self.state
    }

    /// Topics of `queue.type=BatchCQ`, which this store does not read.
    pub fn batch_topics(&self) -> &[String] {
        &self.batch_topics
    }

    /// Is a record that begins at `at` one that was deleted with its topic?
    pub(crate) fn is_deleted(&self, topic: &str, at: i64) -> bool {
        self.deleted.get(topic).is_some_and(|begin| at < *begin)
    }

    /// First byte of the log.
    pub(crate) fn log_min(&self) -> i64 {
        self.log.first().map_or(0, |first| first.base)
    }
}

fn read_checkpoint(config: &StoreConfig) -> Result<Option<Checkpoint>, LookError> {
    let path = config.root.join("checkpoint");
    let size = match fs::metadata(&path) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LookError::Io { path, error }),
    };
    checkpoint::look(&config.disk, &path, size).map_err(|error| LookError::Io { path, error })
}

/// `config/deletedTopics.json`: for each topic that was deleted, where the log ended then.
fn deleted_topics(root: &Path) -> BTreeMap<String, i64> {
    let read = |name: &str| {
        let table: serde_json::Value = serde_json::from_slice(&fs::read(root.join("config").join(name)).ok()?).ok()?;
        let topics = table.get("deletedTopics")?.as_object()?.clone();
        Some(topics.into_iter().filter_map(|(topic, begin)| Some((topic, begin.as_i64()?))).collect())
    };
    read("deletedTopics.json").or_else(|| read("deletedTopics.json.bak")).unwrap_or_default()
}

/// What can stand in a list of segments: position, path, size.
type Found = (i64, PathBuf, u64);

/// Files named by their position, in order; the others are misfits.
fn positions(listed: Vec<Listed>, misfits: &mut Vec<Misfit>) -> Vec<Found> {
    let mut found = Vec::with_capacity(listed.len());
    for Listed { path, name, size } in listed {
        match position(&name) {
            Some(base) if name.len() == 20 => found.push((base, path, size)),
            _ => misfits.push(Misfit::Name(path)),
        }
    }
    found.sort_by_key(|(base, ..)| *base);
    found
}

/// The size that these files were made with: the one most of them have, if all of them begin at multiples of it, else what
/// lies between two of them. `usual` if that is the only one at whose multiples they begin.
fn usual_size<'a>(sequences: impl Iterator<Item = &'a Vec<Found>> + Clone, usual: u64) -> Option<u64> {
    let between = |files: &'a Vec<Found>| files.windows(2).map(|two| (two[1].0 - two[0].0) as u64);
    let most = usual_size_of(sequences.clone().flatten());
    let least = sequences.clone().flat_map(between).min();
    let fits =
        |size: &u64| *size > 0 && sequences.clone().flatten().all(|(base, ..)| (*base as u64).is_multiple_of(*size));
    [most, least, Some(usual)].into_iter().flatten().find(fits).or(most)
}

/// The size most of them have.
fn usual_size_of<'a>(files: impl IntoIterator<Item = &'a Found>) -> Option<u64> {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for (_, _, size) in files.into_iter().filter(|(.., size)| *size > 0) {
        *counts.entry(*size).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(size, count)| (*count, *size)).map(|(size, _)| size)
}

/// Files that have another size than `expected` are misfits; what they have too much does not count. An empty last file
/// is one that was just begun.
fn fitting(mut files: Vec<Found>, expected: u64, misfits: &mut Vec<Misfit>) -> Vec<Found> {
    files.pop_if(|(.., size)| *size == 0);
    for (_, path, size) in &mut files {
        if *size != expected {
            misfits.push(Misfit::Size { path: path.clone(), size: *size, expected });
            *size = (*size).min(expected);
        }
    }
    files
}

fn list_log(config: &mut StoreConfig, told: bool, misfits: &mut Vec<Misfit>) -> Result<Segments, LookError> {
    let dir = config.commit_log_dir();
    let found = positions(files_of(&dir)?, misfits);
    if told && let Some(size) = usual_size(std::iter::once(&found), config.commit_log_file_size) {
        config.commit_log_file_size = size;
    }
    let size = config.commit_log_file_size;
    let (aligned, strange): (Vec<_>, Vec<_>) = found.into_iter().partition(|(base, ..)| *base % size as i64 == 0);
    misfits.extend(strange.into_iter().map(|(_, path, _)| Misfit::Name(path)));
    let files = fitting(aligned, size, misfits);
    Ok(Segments::of(config.disk.clone(), dir, size, Access::Sequential, &files))
}

fn list_queues(
    config: &mut StoreConfig,
    told: bool,
    misfits: &mut Vec<Misfit>,
) -> Result<BTreeMap<(String, u32), Segments>, LookError> {
    let mut found = Vec::new();
    for Listed { path: topic_dir, name: topic, .. } in directories_of(&config.consume_queue_dir())? {
        for Listed { path: dir, name, .. } in directories_of(&topic_dir)? {
            match name.parse::<u32>() {
                Ok(queue_id) => {
                    let files = positions(files_of(&dir)?, misfits);
                    found.push(((topic.clone(), queue_id), dir, files));
                }
                Err(_) => misfits.push(Misfit::Name(dir)),
            }
        }
        misfits.extend(files_of(&topic_dir)?.into_iter().map(|file| Misfit::Name(file.path)));
    }
    misfits.extend(files_of(&config.consume_queue_dir())?.into_iter().map(|file| Misfit::Name(file.path)));
    if told && let Some(size) = usual_size(found.iter().map(|(.., files)| files), config.consume_queue_file_size) {
        config.consume_queue_file_size = size;
    }
    let size = config.entries_per_file() as u64 * ENTRY_LEN as u64;
    let open_files = OpenFiles::new(OPEN_FILES_MAX);
    let mut queues = BTreeMap::new();
    for (key, dir, files) in found {
        let files = fitting(files, size, misfits);
        let access = Access::RandomOfMany(open_files.clone());
        queues.insert(key, Segments::of(config.disk.clone(), dir, size, access, &files));
    }
    Ok(queues)
}

/// The files, and whether it can be told how they are divided.
fn list_index(
    config: &mut StoreConfig,
    told: bool,
    misfits: &mut Vec<Misfit>,
) -> Result<(Vec<Arc<Segment>>, bool), LookError> {
    if !config.index_enabled {
        return Ok((Vec::new(), true));
    }
    let mut files = Vec::new();
    for Listed { path, name, size } in files_of(&config.index_dir())? {
        match name.parse::<i64>() {
            Ok(name) => files.push((name, path, size)),
            Err(_) => misfits.push(Misfit::Name(path)),
        }
    }
    files.sort_by_key(|(name, ..)| *name);
    if told && let Some(size) = usual_size_of(&files) {
        // 40 + 4·S + 20·E, and E is usually 4·S.
        let slots = size.saturating_sub(40) / 84;
        if slots == 0 || 40 + 84 * slots != size {
            return Ok((Vec::new(), false));
        }
        (config.index_slots, config.index_entries) = (slots as u32, (4 * slots) as u32);
    }
    let expected = Index::file_size(config.index_slots, config.index_entries);
    let files = fitting(files, expected, misfits);
    let whole = files.into_iter().filter(|(.., size)| *size == expected);
    let disk = config.disk.clone();
    let segment = |(name, path, size)| Segment::existing(&disk, path, name, size, Access::Random);
    Ok((whole.map(segment).collect(), true))
}
