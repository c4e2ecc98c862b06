//! Filter programs: WebAssembly that a group has put on a topic, which says of each message whether the group wants it.
//!
//! A program is kept as `config/filters/<group>/<topic>.wasm`: the module as it was put, and behind it one more custom
//! section, `cometmq.crc32`, with the checksum of all before. It is translated once and runs where messages are pulled, in
//! instances that pulls take from a pool and put back.
//!
//! Whatever goes wrong, messages are kept: a failure counts, is told, and the message goes out.

mod guest;

pub use guest::{BadModule, FUEL, Failure, Guest, INPUT_MAX, Instance, MEMORY_MAX, MODULE_MAX};

use crate::config::Config;
use parking_lot::{Mutex, RwLock};
use protocol::record::Record;
use protocol::request::filter::FilterProgram;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};
use store::Verdict;
use store::disk::Disk;

/// So many programs, and no more: each is held in memory, translated.
pub const PROGRAMS_MAX: usize = 1000;

/// Programs work so long in one pull, if one message does not take longer. The client goes on with its next pull; other
/// connections of the data thread have their turn between.
const PULL_TIME: Duration = Duration::from_millis(5);

/// Waiting instances hold so much memory together; above that they are dropped, and made anew when they are needed.
const POOLED_BYTES_MAX: usize = 256 << 20;

/// An instance that holds more is dropped.
const POOLED_INSTANCE_MAX: usize = 4 << 20;

/// Failures of a program are told at most so often.
const TELL_PERIOD: Duration = Duration::from_secs(10);

/// The custom section behind a module: id, length, length of its name, its name. Four bytes of checksum follow.
const CHECKSUM_SECTION: &[u8] = b"\0\x12\x0dcometmq.crc32";

/// All filter programs, by group and topic.
pub struct FilterPrograms {
    programs: RwLock<HashMap<String, HashMap<String, Arc<Program>>>>,
    /// Is there any? Pulls look here first.
    any: AtomicBool,
    /// Held while programs come or go.
    changing: Mutex<()>,
    dir: PathBuf,
    disk: Disk,
    pooled: Arc<AtomicUsize>,
}

/// A program of a group for a topic.
pub struct Program {
    group: String,
    topic: String,
    bytes: usize,
    checksum: u32,
    /// When it was put, milliseconds since 1970.
    put_at: i64,
    /// Or why it can't be used.
    guest: Result<Guest, String>,
    pool: Mutex<Vec<Instance>>,
    /// Bytes in the pools of all programs.
    pooled: Arc<AtomicUsize>,
    kept: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
    failures: Mutex<Failures>,
}

#[derive(Default)]
struct Failures {
    last: Option<String>,
    last_at: i64,
    told: Option<Instant>,
    /// Since then.
    untold: u64,
}

/// Why a program is not put or removed.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// It is none.
    #[error(transparent)]
    Bad(#[from] BadModule),
    /// [`PROGRAMS_MAX`] is reached.
    #[error("this broker holds {PROGRAMS_MAX} filter programs, which is as many as it may; remove some")]
    TooMany,
    /// It can't be kept.
    #[error("{} cannot be changed: {error}; check the disk and the directory's permissions", .path.display())]
    Io {
        /// The program's file.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
}

impl FilterPrograms {
    /// Reads the programs. One that can't be read or used is named in the log; it keeps all messages.
    pub fn open(config: &Config) -> io::Result<FilterPrograms> {
        let programs = FilterPrograms {
            programs: RwLock::default(),
            any: AtomicBool::new(false),
            changing: Mutex::default(),
            dir: config.store_root.join("config").join("filters"),
            disk: config.disk.clone(),
            pooled: Arc::default(),
        };
        for group in entries(&programs.dir)?.filter(|path| path.is_dir()) {
            for file in entries(&group)?.filter(|path| path.extension().is_some_and(|it| it == "wasm")) {
                let (Some(group), Some(topic)) = (text(group.file_name()), text(file.file_stem())) else { continue };
                let program = programs.load(group, topic, &file);
                if let Err(why) = &program.guest {
                    tracing::error!(
                        group,
                        topic,
                        "the filter program {} is not used, and all messages are kept for the group: {why}; put it again, or \
                         remove it",
                        file.display()
                    );
                }
                programs.insert(program);
            }
        }
        Ok(programs)
    }

    fn load(&self, group: &str, topic: &str, file: &Path) -> Program {
        let put_at = fs::metadata(file)
            .and_then(|it| it.modified())
            .ok()
            .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |since| since.as_millis() as i64);
        match fs::read(file).map_err(|error| error.to_string()) {
            Ok(bytes) => {
                let (module, checksum) = apart(&bytes);
                let found = crc32fast::hash(module);
                let guest = match checksum {
                    None => Err("it does not end with its checksum".to_owned()),
                    Some(checksum) if checksum != found => {
                        Err(format!("its checksum is {found:08x} and should be {checksum:08x}"))
                    }
                    Some(_) => Guest::read(module).map_err(|bad| bad.to_string()),
                };
                self.program(group, topic, module.len(), found, put_at, guest)
            }
            Err(error) => self.program(group, topic, 0, 0, put_at, Err(error)),
        }
    }

    fn program(
        &self,
        group: &str,
        topic: &str,
        bytes: usize,
        checksum: u32,
        put_at: i64,
        guest: Result<Guest, String>,
    ) -> Program {
        Program {
            group: group.to_owned(),
            topic: topic.to_owned(),
            bytes,
            checksum,
            put_at,
            guest,
            pool: Mutex::default(),
            pooled: self.pooled.clone(),
            kept: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            failures: Mutex::default(),
        }
    }

    fn insert(&self, program: Program) {
        let mut programs = self.programs.write();
        programs.entry(program.group.clone()).or_default().insert(program.topic.clone(), Arc::new(program));
        self.any.store(true, Ordering::Release);
    }

    fn file(&self, group: &str, topic: &str) -> PathBuf {
        self.dir.join(group).join(format!("{topic}.wasm"))
    }

    /// The program of `group` for `topic`.
    pub fn get(&self, group: &str, topic: &str) -> Option<Arc<Program>> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        self.programs.read().get(group)?.get(topic).cloned()
    }

    /// All of them, of one group or topic if these are named.
    pub fn list(&self, group: Option<&str>, topic: Option<&str>) -> Vec<FilterProgram> {
        let programs = self.programs.read();
        let wanted = |name: &str, asked: Option<&str>| asked.is_none_or(|asked| asked == name);
        let mut list: Vec<FilterProgram> = programs
            .values()
            .flat_map(HashMap::values)
            .filter(|program| wanted(&program.group, group) && wanted(&program.topic, topic))
            .map(|program| program.status())
            .collect();
        list.sort_by(|one, other| (&one.group, &one.topic).cmp(&(&other.group, &other.topic)));
        list
    }

    /// Puts a program in place of what `group` had for `topic`. It is on disk, and judges all that is pulled from now on, when
    /// this returns. Names are legal ones. Blocks.
    pub fn put(&self, group: &str, topic: &str, module: &[u8]) -> Result<FilterProgram, PutError> {
        let guest = Guest::read(module)?;
        let _one_at_a_time = self.changing.lock();
        let count = self.programs.read().values().map(HashMap::len).sum::<usize>();
        if count >= PROGRAMS_MAX && self.list(Some(group), Some(topic)).is_empty() {
            return Err(PutError::TooMany);
        }
        let checksum = crc32fast::hash(module);
        let path = self.file(group, topic);
        let kept = [module, CHECKSUM_SECTION, &checksum.to_le_bytes()].concat();
        store::table::replace(&self.disk, &path, &kept).map_err(|error| PutError::Io { path, error })?;
        let program = self.program(group, topic, module.len(), checksum, crate::now_millis(), Ok(guest));
        let status = program.status();
        self.insert(program);
        Ok(status)
    }

    /// Removes the program of `group` for `topic`. False: there was none. Blocks.
    pub fn remove(&self, group: &str, topic: &str) -> Result<bool, PutError> {
        Ok(self.remove_where(|program| program.group == group && program.topic == topic)? > 0)
    }

    /// Removes the programs of a group that is deleted. Blocks.
    pub fn forget_group(&self, group: &str) -> Result<(), PutError> {
        self.remove_where(|program| program.group == group).map(|_| ())
    }

    /// Removes the programs for a topic that is deleted. Blocks.
    pub fn forget_topic(&self, topic: &str) -> Result<(), PutError> {
        self.remove_where(|program| program.topic == topic).map(|_| ())
    }

    fn remove_where(&self, gone: impl Fn(&Program) -> bool) -> Result<usize, PutError> {
        if !self.any.load(Ordering::Acquire) {
            return Ok(0);
        }
        let _one_at_a_time = self.changing.lock();
        let programs = self.programs.read();
        let all = programs.values().flat_map(HashMap::values);
        let going: Vec<Arc<Program>> = all.filter(|program| gone(program)).cloned().collect();
        drop(programs);
        for program in &going {
            let path = self.file(&program.group, &program.topic);
            store::table::remove(&self.disk, &path).map_err(|error| PutError::Io { path, error })?;
            let mut programs = self.programs.write();
            if let Some(topics) = programs.get_mut(&program.group) {
                topics.remove(&program.topic);
            }
            programs.retain(|_, topics| !topics.is_empty());
            self.any.store(!programs.is_empty(), Ordering::Release);
        }
        Ok(going.len())
    }
}

/// What is in a directory, sorted; nothing if there is no such directory.
fn entries(dir: &Path) -> io::Result<impl Iterator<Item = PathBuf>> {
    let mut paths = match fs::read_dir(dir) {
        Ok(found) => found.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    paths.sort();
    Ok(paths.into_iter())
}

fn text(name: Option<&std::ffi::OsStr>) -> Option<&str> {
    name.and_then(|name| name.to_str())
}

/// A kept module, and its checksum if it ends with one.
fn apart(kept: &[u8]) -> (&[u8], Option<u32>) {
    let Some((rest, checksum)) = kept.split_last_chunk::<4>() else { return (kept, None) };
    match rest.strip_suffix(CHECKSUM_SECTION) {
        Some(module) => (module, Some(u32::from_le_bytes(*checksum))),
        None => (kept, None),
    }
}

impl Program {
    /// Its state, for people.
    fn status(&self) -> FilterProgram {
        let failures = self.failures.lock();
        FilterProgram {
            group: self.group.clone(),
            topic: self.topic.clone(),
            bytes: self.bytes as i64,
            crc32: format!("{:08x}", self.checksum),
            put_at: self.put_at,
            unusable: self.guest.as_ref().err().cloned(),
            kept: self.kept.load(Ordering::Relaxed) as i64,
            dropped: self.dropped.load(Ordering::Relaxed) as i64,
            failed: self.failed.load(Ordering::Relaxed) as i64,
            last_failure: failures.last.clone(),
            last_failure_at: failures.last_at,
        }
    }

    /// Counts a failure, and tells of it unless one was told of just now.
    fn failed(&self, record: &Record, failure: &str) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut failures = self.failures.lock();
        failures.last_at = crate::now_millis();
        failures.last = Some(format!("message {} of queue {}: {failure}", record.queue_offset, record.queue_id));
        if failures.told.is_some_and(|told| told.elapsed() < TELL_PERIOD) {
            failures.untold += 1;
            return;
        }
        let untold = std::mem::take(&mut failures.untold);
        failures.told = Some(Instant::now());
        tracing::warn!(
            group = self.group,
            topic = self.topic,
            queue = record.queue_id,
            offset = %record.queue_offset,
            "the filter program did not judge a message, which is kept for the group: {failure} ({untold} more failed since \
             this was told last)"
        );
    }

    fn take(&self, guest: &Guest) -> Result<Instance, BadModule> {
        match self.pool.lock().pop() {
            Some(instance) => {
                self.pooled.fetch_sub(instance.memory(), Ordering::Relaxed);
                Ok(instance)
            }
            None => guest.start(),
        }
    }

    fn put_back(&self, instance: Instance) {
        let memory = instance.memory();
        if memory > POOLED_INSTANCE_MAX {
            return;
        }
        if self.pooled.fetch_add(memory, Ordering::Relaxed) + memory > POOLED_BYTES_MAX {
            self.pooled.fetch_sub(memory, Ordering::Relaxed);
            return;
        }
        self.pool.lock().push(instance);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let memory = self.pool.get_mut().iter().map(Instance::memory).sum();
        self.pooled.fetch_sub(memory, Ordering::Relaxed);
    }
}

/// A program at work in one pull.
pub struct Judge {
    program: Arc<Program>,
    instance: Option<Instance>,
    began: Instant,
    kept: u64,
    dropped: u64,
    failed: u64,
}

impl Judge {
    /// The program begins to look.
    pub fn new(program: Arc<Program>) -> Judge {
        Judge { program, instance: None, began: Instant::now(), kept: 0, dropped: 0, failed: 0 }
    }

    /// Does the group want this message? It does if the program fails.
    pub fn judge(&mut self, record: &Record) -> Verdict {
        if self.kept + self.dropped + self.failed > 0 && self.began.elapsed() > PULL_TIME {
            return Verdict::Enough;
        }
        match self.ask(record) {
            Ok(true) => self.kept += 1,
            Ok(false) => {
                self.dropped += 1;
                return Verdict::Unwanted;
            }
            Err(failure) => {
                self.failed += 1;
                self.program.failed(record, &failure);
            }
        }
        Verdict::Wanted
    }

    fn ask(&mut self, record: &Record) -> Result<bool, String> {
        let guest = self.program.guest.as_ref().map_err(|why| format!("it cannot be used: {why}"))?;
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.program.take(guest).map_err(|bad| bad.to_string())?,
        };
        let wanted = instance.judge(record).map_err(|failure| failure.to_string())?;
        self.instance = Some(instance);
        Ok(wanted)
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.program.kept.fetch_add(self.kept, Ordering::Relaxed);
        self.program.dropped.fetch_add(self.dropped, Ordering::Relaxed);
        if let Some(instance) = self.instance.take() {
            self.program.put_back(instance);
        }
    }
}
