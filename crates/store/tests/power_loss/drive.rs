//! What a drive may hold when the power fails at any moment of a recorded run.
//!
//! The model, for ext4 in `data=ordered`, xfs, and what POSIX leaves open between them:
//!
//! - A write reaches the drive in sectors of 512 bytes. Of each sector the drive holds what it was at some moment since
//!   the last sync that covers it: no sector is half old and half new, and sectors do not keep any order.
//! - A file's size is one such sector. A resize and the bytes behind it are independent. What is between the end of the
//!   bytes on the drive and the size reads as zero: never as what someone else had there before.
//! - Names of one directory change in the order in which they were changed: a journal keeps a prefix. A rename is there
//!   wholly or not at all. Directories keep no order among one another in half of the images, and one order in the rest.
//! - A sync covers what ended before it began, and counts once it has ended. A file's sync brings its bytes and its size,
//!   but no name; a directory's sync brings its names, but not that of the directory itself in the one above.
//! - A file without a name, or in a directory without one, is gone.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use store::disk::{Action, Watch};

const SECTOR: usize = 512;
type Sector = [u8; SECTOR];

/// A place on a recording: so many events came before.
pub type Moment = usize;

/// An action, kept.
#[derive(Clone, Debug)]
pub enum Kept {
    CreateDirectory(PathBuf),
    Create(PathBuf),
    Resize(PathBuf, u64),
    Write(PathBuf, u64, Vec<u8>),
    Sync(PathBuf),
    SyncDirectory(PathBuf),
    SyncFileSystem,
    Rename(PathBuf, PathBuf),
    Delete(PathBuf),
    DeleteDirectory(PathBuf),
}

#[derive(Clone, Debug)]
pub enum Event {
    Began(Kept),
    /// What began at this moment has ended.
    Ended(Moment),
}

/// Keeps everything that a store does to files.
#[derive(Debug)]
pub struct Recorder {
    root: PathBuf,
    tape: Mutex<Tape>,
}

#[derive(Debug, Default)]
struct Tape {
    events: Vec<Event>,
    running: HashMap<ThreadId, Moment>,
}

impl Recorder {
    pub fn new(root: &Path) -> Arc<Recorder> {
        Arc::new(Recorder { root: root.to_owned(), tape: Mutex::default() })
    }

    pub fn moment(&self) -> Moment {
        self.tape.lock().unwrap().events.len()
    }

    pub fn events(&self) -> Vec<Event> {
        self.tape.lock().unwrap().events.clone()
    }

    fn keep(&self, action: Action<'_>) -> Option<Kept> {
        let own = |path: &Path| path.strip_prefix(&self.root).ok().map(Path::to_owned);
        Some(match action {
            Action::CreateDirectory(path) => Kept::CreateDirectory(own(path)?),
            Action::Create(path) => Kept::Create(own(path)?),
            Action::Resize { path, size } => Kept::Resize(own(path)?, size),
            Action::Write { path, at, bytes } => Kept::Write(own(path)?, at, bytes.to_vec()),
            Action::Sync(path) => Kept::Sync(own(path)?),
            Action::SyncDirectory(path) => Kept::SyncDirectory(own(path)?),
            Action::SyncFileSystem(_) => Kept::SyncFileSystem,
            Action::Rename { from, to } => Kept::Rename(own(from)?, own(to)?),
            Action::Delete(path) => Kept::Delete(own(path)?),
            Action::DeleteDirectory(path) => Kept::DeleteDirectory(own(path)?),
            Action::Read { .. } => return None,
        })
    }
}

impl Watch for Recorder {
    fn before(&self, action: Action<'_>) -> io::Result<()> {
        if let Some(kept) = self.keep(action) {
            let mut tape = self.tape.lock().unwrap();
            let moment = tape.events.len();
            tape.events.push(Event::Began(kept));
            tape.running.insert(thread::current().id(), moment);
        }
        Ok(())
    }

    fn after(&self, action: Action<'_>) {
        if self.keep(action).is_some() {
            let mut tape = self.tape.lock().unwrap();
            if let Some(began) = tape.running.remove(&thread::current().id()) {
                tape.events.push(Event::Ended(began));
            }
        }
    }
}

/// The recording, to read.
pub fn list(events: &[Event]) -> String {
    let line = |(n, event): (usize, &Event)| match event {
        Event::Began(Kept::Write(path, at, bytes)) => {
            format!("{n} Write({}, {at}, {} bytes)\n", path.display(), bytes.len())
        }
        Event::Began(kept) => format!("{n} {kept:?}\n"),
        Event::Ended(began) => format!("{n} ended {began}\n"),
    };
    events.iter().enumerate().map(line).collect()
}

/// A value since an action.
#[derive(Clone, Debug)]
struct Version<T> {
    since: Moment,
    value: T,
}

#[derive(Clone, Debug)]
enum Node {
    File {
        /// The first is on the drive, each later one may be.
        sizes: Vec<Version<u64>>,
        sectors: BTreeMap<u64, Vec<Version<Sector>>>,
    },
    Directory {
        /// What the process sees.
        names: BTreeMap<String, usize>,
        /// What is on the drive.
        synced: BTreeMap<String, usize>,
        /// What may be, in order.
        changes: Vec<NameChange>,
    },
}

#[derive(Clone, Debug)]
struct NameChange {
    since: Moment,
    names: Vec<(String, Option<usize>)>,
}

/// A drive and all that is on its way there.
#[derive(Clone, Debug)]
pub struct Drive {
    nodes: Vec<Node>,
    /// When actions ended.
    ended: HashMap<Moment, Moment>,
    now: Moment,
}

fn parts(path: &Path) -> Vec<String> {
    path.iter().map(|part| part.to_string_lossy().into_owned()).collect()
}

impl Drive {
    /// What is in a directory is on the drive.
    pub fn of(root: &Path) -> Drive {
        let mut drive = Drive { nodes: Vec::new(), ended: HashMap::new(), now: 0 };
        drive.read_directory(root);
        drive
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn new_directory(&mut self) -> usize {
        self.add(Node::Directory { names: BTreeMap::new(), synced: BTreeMap::new(), changes: Vec::new() })
    }

    fn read_directory(&mut self, path: &Path) -> usize {
        let directory = self.new_directory();
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            let node = if entry.file_type().unwrap().is_dir() {
                self.read_directory(&entry.path())
            } else {
                let bytes = fs::read(entry.path()).unwrap();
                let mut sectors = BTreeMap::new();
                for (n, chunk) in bytes.chunks(SECTOR).enumerate().filter(|(_, chunk)| chunk.iter().any(|b| *b != 0)) {
                    let mut value = [0; SECTOR];
                    value[..chunk.len()].copy_from_slice(chunk);
                    sectors.insert(n as u64, vec![Version { since: 0, value }]);
                }
                self.add(Node::File { sizes: vec![Version { since: 0, value: bytes.len() as u64 }], sectors })
            };
            let Node::Directory { names, synced, .. } = &mut self.nodes[directory] else { unreachable!() };
            names.insert(name.clone(), node);
            synced.insert(name, node);
        }
        directory
    }

    /// Lets the run go on up to a moment.
    pub fn play(&mut self, events: &[Event], until: Moment) {
        while self.now < until {
            match &events[self.now] {
                Event::Began(action) => self.began(action),
                Event::Ended(began) => {
                    self.ended.insert(*began, self.now);
                    if let Event::Began(action) = &events[*began] {
                        self.synced(action, *began);
                    }
                }
            }
            self.now += 1;
        }
    }

    fn find(&self, path: &Path) -> Option<usize> {
        parts(path).iter().try_fold(0, |node, name| match &self.nodes[node] {
            Node::Directory { names, .. } => names.get(name).copied(),
            Node::File { .. } => None,
        })
    }

    fn change(&mut self, directory: usize, changed: Vec<(String, Option<usize>)>) {
        let since = self.now;
        if let Node::Directory { names, changes, .. } = &mut self.nodes[directory] {
            for (name, node) in &changed {
                match node {
                    Some(node) => _ = names.insert(name.clone(), *node),
                    None => _ = names.remove(name),
                }
            }
            changes.push(NameChange { since, names: changed });
        }
    }

    fn split(&self, path: &Path) -> Option<(usize, String)> {
        let directory = self.find(path.parent()?)?;
        Some((directory, path.file_name()?.to_string_lossy().into_owned()))
    }

    fn began(&mut self, action: &Kept) {
        match action {
            Kept::CreateDirectory(path) => {
                let mut node = 0;
                for name in parts(path) {
                    let Node::Directory { names, .. } = &self.nodes[node] else { return };
                    node = match names.get(&name) {
                        Some(found) => *found,
                        None => {
                            let made = self.new_directory();
                            self.change(node, vec![(name, Some(made))]);
                            made
                        }
                    };
                }
            }
            Kept::Create(path) => {
                if let (None, Some((directory, name))) = (self.find(path), self.split(path)) {
                    let sizes = vec![Version { since: 0, value: 0 }];
                    let file = self.add(Node::File { sizes, sectors: BTreeMap::new() });
                    self.change(directory, vec![(name, Some(file))]);
                }
            }
            Kept::Resize(path, size) => self.resize(path, *size),
            Kept::Write(path, at, bytes) => self.write(path, *at, bytes),
            Kept::Rename(from, to) => {
                if let (Some(node), Some((directory, old)), Some((target, new))) =
                    (self.find(from), self.split(from), self.split(to))
                {
                    if directory == target {
                        self.change(directory, vec![(old, None), (new, Some(node))]);
                    } else {
                        self.change(target, vec![(new, Some(node))]);
                        self.change(directory, vec![(old, None)]);
                    }
                }
            }
            Kept::Delete(path) | Kept::DeleteDirectory(path) => {
                if self.find(path).is_some() {
                    self.delete(path);
                }
            }
            Kept::Sync(_) | Kept::SyncDirectory(_) | Kept::SyncFileSystem => {}
        }
    }

    fn delete(&mut self, path: &Path) {
        let inside: Vec<String> = match self.find(path).map(|node| &self.nodes[node]) {
            Some(Node::Directory { names, .. }) => names.keys().cloned().collect(),
            _ => Vec::new(),
        };
        inside.iter().for_each(|name| self.delete(&path.join(name)));
        if let Some((directory, name)) = self.split(path) {
            self.change(directory, vec![(name, None)]);
        }
    }

    fn resize(&mut self, path: &Path, size: u64) {
        let since = self.now;
        let Some(node) = self.find(path) else { return };
        let Node::File { sizes, sectors } = &mut self.nodes[node] else { return };
        sizes.push(Version { since, value: size });
        for (_, versions) in sectors.range_mut(size / SECTOR as u64..) {
            versions.push(Version { since, value: [0; SECTOR] });
        }
        let rest = size as usize % SECTOR;
        if let Some(versions) = sectors.get_mut(&(size / SECTOR as u64))
            && let [.., before, cut] = &mut versions[..]
        {
            cut.value[..rest].copy_from_slice(&before.value[..rest]);
        }
    }

    fn write(&mut self, path: &Path, at: u64, bytes: &[u8]) {
        let since = self.now;
        let Some(node) = self.find(path) else { return };
        let Node::File { sizes, sectors } = &mut self.nodes[node] else { return };
        let end = at + bytes.len() as u64;
        if sizes.last().is_none_or(|size| size.value < end) {
            sizes.push(Version { since, value: end });
        }
        let mut done = 0;
        while done < bytes.len() {
            let position = at as usize + done;
            let (n, within) = ((position / SECTOR) as u64, position % SECTOR);
            let len = (SECTOR - within).min(bytes.len() - done);
            let versions = sectors.entry(n).or_insert_with(|| vec![Version { since: 0, value: [0; SECTOR] }]);
            let mut value = versions.last().map_or([0; SECTOR], |last| last.value);
            value[within..within + len].copy_from_slice(&bytes[done..done + len]);
            versions.push(Version { since, value });
            done += len;
        }
    }

    fn synced(&mut self, action: &Kept, began: Moment) {
        match action {
            Kept::Sync(path) => {
                if let Some(node) = self.find(path) {
                    self.sync_file(node, began);
                }
            }
            Kept::SyncDirectory(path) => {
                if let Some(node) = self.find(path) {
                    self.sync_directory(node, began);
                }
            }
            Kept::SyncFileSystem => {
                for node in 0..self.nodes.len() {
                    self.sync_file(node, began);
                    self.sync_directory(node, began);
                }
            }
            _ => {}
        }
    }

    fn covered(ended: &HashMap<Moment, Moment>, since: Moment, sync_began: Moment) -> bool {
        ended.get(&since).is_some_and(|end| *end < sync_began)
    }

    fn sync_file(&mut self, node: usize, began: Moment) {
        let Node::File { sizes, sectors } = &mut self.nodes[node] else { return };
        fn settle<T>(versions: &mut Vec<Version<T>>, ended: &HashMap<Moment, Moment>, began: Moment) {
            if let Some(last) = versions.iter().rposition(|version| Drive::covered(ended, version.since, began)) {
                versions.drain(..last);
            }
        }
        settle(sizes, &self.ended, began);
        sectors.values_mut().for_each(|versions| settle(versions, &self.ended, began));
    }

    fn sync_directory(&mut self, node: usize, began: Moment) {
        let Node::Directory { synced, changes, .. } = &mut self.nodes[node] else { return };
        let covered = changes.iter().rposition(|change| Drive::covered(&self.ended, change.since, began));
        for change in changes.drain(..covered.map_or(0, |last| last + 1)) {
            apply(synced, &change);
        }
    }

    /// Writes into `to` what the drive may hold now.
    pub fn fail(&self, to: &Path, random: &mut Random) {
        let since = |change: &NameChange| change.since;
        let mut pending: Vec<Moment> = self
            .nodes
            .iter()
            .flat_map(|node| match node {
                Node::Directory { changes, .. } => changes.iter().map(since).collect(),
                Node::File { .. } => Vec::new(),
            })
            .collect();
        pending.sort_unstable();
        let how = Loss {
            names: match random.below(4) {
                0 => Names::InOneOrder(0),
                1 => Names::InOneOrder(usize::MAX),
                2 => Names::InOneOrder(random.pick(&pending).copied().unwrap_or(0)),
                _ => Names::ByDirectory,
            },
            bytes: match random.below(6) {
                0 => Bytes::UpTo(0),
                1 => Bytes::UpTo(usize::MAX),
                2 => Bytes::UpTo(self.now - random.below(self.now.clamp(1, 60))),
                3 => Bytes::Each(10),
                4 => Bytes::Each(90),
                _ => Bytes::Each(50),
            },
        };
        self.write_directory(0, to, &how, random);
    }

    fn write_directory(&self, node: usize, to: &Path, how: &Loss, random: &mut Random) {
        let Node::Directory { synced, changes, .. } = &self.nodes[node] else { return };
        let mut names = synced.clone();
        let kept = match how.names {
            Names::InOneOrder(last) => changes.iter().filter(|change| change.since <= last).count(),
            Names::ByDirectory => random.below(changes.len() + 1),
        };
        changes[..kept].iter().for_each(|change| apply(&mut names, change));
        fs::create_dir_all(to).unwrap();
        for (name, node) in names {
            let path = to.join(name);
            match &self.nodes[node] {
                Node::Directory { .. } => self.write_directory(node, &path, how, random),
                Node::File { sizes, sectors } => {
                    let size = *how.choose(sizes, random);
                    let file = File::create(path).unwrap();
                    file.set_len(size).unwrap();
                    for (n, versions) in sectors.range(..size.div_ceil(SECTOR as u64)) {
                        let sector = how.choose(versions, random);
                        let at = n * SECTOR as u64;
                        let len = SECTOR.min((size - at) as usize);
                        if sector.iter().any(|byte| *byte != 0) {
                            file.write_all_at(&sector[..len], at).unwrap();
                        }
                    }
                }
            }
        }
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    for (name, node) in &change.names {
        match node {
            Some(node) => _ = names.insert(name.clone(), *node),
            None => _ = names.remove(name),
        }
    }
}

/// What is lost of what was not synced.
struct Loss {
    names: Names,
    bytes: Bytes,
}

enum Names {
    /// Changes up to a moment are there.
    InOneOrder(Moment),
    /// Each directory has a prefix of its own.
    ByDirectory,
}

enum Bytes {
    /// What was written up to a moment is there.
    UpTo(Moment),
    /// Each sector was brought to the drive with this probability, in percent, as it was at some moment since.
    Each(usize),
}

impl Loss {
    fn choose<'a, T>(&self, versions: &'a [Version<T>], random: &mut Random) -> &'a T {
        let n = match self.bytes {
            Bytes::UpTo(last) => versions.iter().skip(1).take_while(|version| version.since <= last).count(),
            Bytes::Each(percent) if versions.len() > 1 && random.below(100) < percent => {
                // The newest is the likeliest.
                if random.below(2) == 0 { versions.len() - 1 } else { 1 + random.below(versions.len() - 1) }
            }
            Bytes::Each(_) => 0,
        };
        &versions[n].value
    }
}

/// Small numbers, the same for the same seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D)
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as usize % end.max(1)
    }

    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.below(list.len()))
    }
}
