//! Files of one size that make up a longer sequence of bytes. Messages, queues and index lie in such files only.
//!
//! A [`Segment`] is one file: created sparse at its full size, read and written at a position, brought to disk, deleted.
//! [`Segments`] are the files of one directory in order, named by the 20-digit position of their first byte.
//!
//! A store can have more files than a process may have open. Segments of consume queues are therefore opened when they
//! are used, and [`OpenFiles`] closes the ones opened longest ago.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::disk::Disk;

/// No sequence is as long: a file with a higher name is none of ours.
const POSITION_MAX: i64 = 1 << 60;

/// A piece of a file.
#[derive(Clone, Debug)]
pub struct FileSlice {
    /// The open file.
    pub file: Arc<File>,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: usize,
}

impl FileSlice {
    pub(crate) fn read(&self) -> io::Result<Bytes> {
        let mut bytes = vec![0; self.len];
        self.file.read_exact_at(&mut bytes, self.offset)?;
        Ok(Bytes::from(bytes))
    }
}

/// One file of a sequence.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Position of its first byte in the sequence.
    pub base: i64,
    /// Its size in bytes.
    pub size: u64,
    pub path: PathBuf,
    disk: Disk,
    handle: Mutex<Option<Arc<File>>>,
    access: Access,
    /// Its directory may not be on disk yet.
    fresh: AtomicBool,
}

/// How a file is used.
#[derive(Clone, Debug)]
pub(crate) enum Access {
    /// Read on and on, kept open.
    Sequential,
    /// A few bytes here and there: the kernel shall not read ahead.
    Random,
    /// The same, and one of many: may be closed between two uses.
    RandomOfMany(Arc<OpenFiles>),
}

impl Segment {
    /// A new file of `size` bytes, all zero, that takes no room yet. Its directory is made if need be.
    pub(crate) fn create(disk: &Disk, path: PathBuf, base: i64, size: u64, access: Access) -> io::Result<Arc<Segment>> {
        if let Some(dir) = path.parent() {
            disk.create_directory(dir)?;
        }
        let file = disk.create(&path)?;
        if let Err(error) = disk.resize(&file, &path, size) {
            // Not left as it is: the next try may give it another name.
            let _ = disk.delete(&path);
            return Err(error);
        }
        let (disk, fresh) = (disk.clone(), AtomicBool::new(true));
        let segment = Arc::new(Segment { base, size, path, disk, handle: Mutex::new(None), access, fresh });
        segment.keep(file);
        Ok(segment)
    }

    /// A file that is there.
    pub(crate) fn existing(disk: &Disk, path: PathBuf, base: i64, size: u64, access: Access) -> Arc<Segment> {
        let (disk, fresh) = (disk.clone(), AtomicBool::new(false));
        Arc::new(Segment { base, size, path, disk, handle: Mutex::new(None), access, fresh })
    }

    /// A killed process may have made it: the next sync brings its name to disk, too.
    pub(crate) fn may_be_fresh(&self) {
        self.fresh.store(true, Ordering::Release);
    }

    /// Gives a file of another size the one it must have: filled up with zeros, or cut.
    pub(crate) fn mend_size(self: &Arc<Self>) -> io::Result<()> {
        self.disk.resize(&*self.file()?, &self.path, self.size)
    }

    /// The open file.
    pub(crate) fn file(self: &Arc<Self>) -> io::Result<Arc<File>> {
        if let Some(file) = &*self.handle.lock() {
            return Ok(file.clone());
        }
        let file = OpenOptions::new().read(true).write(!self.disk.is_read_only()).open(&self.path)?;
        Ok(self.keep(file))
    }

    fn keep(self: &Arc<Self>, file: File) -> Arc<File> {
        if !matches!(self.access, Access::Sequential) {
            // Advice: it is no harm if it is not taken.
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random);
        }
        let file = Arc::new(file);
        *self.handle.lock() = Some(file.clone());
        if let Access::RandomOfMany(open_files) = &self.access {
            open_files.opened(self);
        }
        file
    }

    /// Is it this open file?
    pub(crate) fn is_open_as(&self, file: &Arc<File>) -> bool {
        self.handle.lock().as_ref().is_some_and(|handle| Arc::ptr_eq(handle, file))
    }

    /// Position behind its last byte.
    pub(crate) fn end(&self) -> i64 {
        self.base + self.size as i64
    }

    /// Fills `bytes` from byte `at` of the file.
    pub(crate) fn read(self: &Arc<Self>, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.disk.read(&*self.file()?, &self.path, at, bytes)
    }

    /// Writes all `bytes` at byte `at` of the file.
    pub(crate) fn write(self: &Arc<Self>, bytes: &[u8], at: u64) -> io::Result<()> {
        self.disk.write(&*self.file()?, &self.path, at, bytes)
    }

    /// Brings everything written so far to disk; the first time, that there is such a file, too.
    pub(crate) fn sync(self: &Arc<Self>) -> io::Result<()> {
        self.disk.sync(&*self.file()?, &self.path)?;
        if self.fresh.load(Ordering::Acquire) {
            // The directories up to the store's may be as new as the file.
            for dir in self.path.ancestors().skip(1).take(4).filter(|dir| !dir.as_os_str().is_empty()) {
                self.disk.sync_directory(dir)?;
            }
            self.fresh.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// Brings everything on the same file system to disk: better than one by one, if there is much.
    pub(crate) fn sync_file_system(self: &Arc<Self>) -> io::Result<()> {
        self.disk.sync_file_system(&*self.file()?, &self.path)
    }

    /// Makes all bytes from `at` on zero, and gives back the room they took.
    pub(crate) fn zero_from(self: &Arc<Self>, at: u64) -> io::Result<()> {
        let file = self.file()?;
        self.disk.resize(&file, &self.path, at)?;
        self.disk.resize(&file, &self.path, self.size)?;
        self.disk.sync(&file, &self.path)
    }

    /// The next bytes at or behind `at` that may be other than zero; all others were never written.
    pub(crate) fn next_data(self: &Arc<Self>, at: u64) -> io::Result<Option<Range<u64>>> {
        use rustix::fs::{SeekFrom, seek};
        let file = self.file()?;
        match seek(&*file, SeekFrom::Data(at)) {
            // A file may be longer than it should.
            Ok(start) if start >= self.size => Ok(None),
            Ok(start) => Ok(Some(start..seek(&*file, SeekFrom::Hole(start)).unwrap_or(self.size).min(self.size))),
            Err(rustix::io::Errno::NXIO) => Ok(None),
            Err(_) => Ok((at < self.size).then_some(at..self.size)),
        }
    }

    pub(crate) fn modified(&self) -> io::Result<SystemTime> {
        fs::metadata(&self.path)?.modified()
    }

    pub(crate) fn delete(&self) -> io::Result<()> {
        *self.handle.lock() = None;
        self.disk.delete(&self.path)
    }
}

/// Limits how many segments are open at a time.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    max: usize,
    opened: Mutex<VecDeque<Weak<Segment>>>,
}

impl OpenFiles {
    pub(crate) fn new(max: usize) -> Arc<OpenFiles> {
        Arc::new(OpenFiles { max, opened: Mutex::default() })
    }

    fn opened(&self, segment: &Arc<Segment>) {
        let mut opened = self.opened.lock();
        opened.push_back(Arc::downgrade(segment));
        while opened.len() > self.max {
            if let Some(oldest) = opened.pop_front().and_then(|oldest| oldest.upgrade()) {
                *oldest.handle.lock() = None;
            }
        }
    }
}

/// A directory cannot be read.
#[derive(Debug)]
pub(crate) struct ListError {
    pub path: PathBuf,
    pub error: io::Error,
}

/// All files of one directory, oldest first. The directory need not exist.
#[derive(Debug)]
pub(crate) struct Segments {
    disk: Disk,
    dir: PathBuf,
    size: u64,
    access: Access,
    list: RwLock<Vec<Arc<Segment>>>,
}

impl Segments {
    pub(crate) fn empty(disk: Disk, dir: PathBuf, size: u64, access: Access) -> Segments {
        Segments { disk, dir, size, access, list: RwLock::default() }
    }

    /// The files of `dir` whose names are positions, and those among them that have another size. Nothing is changed.
    pub(crate) fn find(disk: Disk, dir: PathBuf, size: u64, access: Access) -> Result<Found, ListError> {
        let mut list = Vec::new();
        let mut foreign = Vec::new();
        for Listed { path, name, size } in files_of(&dir)? {
            match position(&name) {
                Some(base) => list.push((base, path, size)),
                None => foreign.push(path),
            }
        }
        list.sort_by_key(|(base, ..)| *base);
        let (mut segments, mut odd) = (Vec::with_capacity(list.len()), Vec::new());
        for (base, path, found) in list {
            let segment = Segment::existing(&disk, path, base, size, access.clone());
            if found != size {
                odd.push((segment.clone(), found));
            }
            segments.push(segment);
        }
        Ok(Found { segments: Segments { disk, dir, size, access, list: RwLock::new(segments) }, odd, foreign })
    }

    /// Files that were found before, whatever their sizes, in the order of their positions.
    pub(crate) fn of(disk: Disk, dir: PathBuf, size: u64, access: Access, files: &[(i64, PathBuf, u64)]) -> Segments {
        let segment = |(base, path, size): &(i64, PathBuf, u64)| {
            Segment::existing(&disk, path.clone(), *base, *size, access.clone())
        };
        let list = RwLock::new(files.iter().map(segment).collect());
        Segments { disk, dir, size, access, list }
    }

    /// A new last file that begins at `base`.
    pub(crate) fn add(&self, base: i64) -> io::Result<Arc<Segment>> {
        let path = self.dir.join(format!("{base:020}"));
        let segment = Segment::create(&self.disk, path, base, self.size, self.access.clone())?;
        self.list.write().push(segment.clone());
        Ok(segment)
    }

    /// The file that holds `position`.
    pub(crate) fn holding(&self, position: i64) -> Option<Arc<Segment>> {
        let list = self.list.read();
        let after = list.partition_point(|segment| segment.base <= position);
        list[..after].last().filter(|segment| position < segment.end()).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Segment>> {
        self.list.read().clone()
    }

    pub(crate) fn first(&self) -> Option<Arc<Segment>> {
        self.list.read().first().cloned()
    }

    pub(crate) fn last(&self) -> Option<Arc<Segment>> {
        self.list.read().last().cloned()
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Forgets a file, which stays where it is.
    pub(crate) fn leave_out(&self, segment: &Arc<Segment>) {
        self.list.write().retain(|other| !Arc::ptr_eq(other, segment));
    }

    /// Brings to disk which files there are.
    pub(crate) fn sync_names(&self) -> io::Result<()> {
        if self.dir.is_dir() { self.disk.sync_directory(&self.dir) } else { Ok(()) }
    }

    /// Is it one of them, and not deleted?
    pub(crate) fn has(&self, segment: &Arc<Segment>) -> bool {
        self.list.read().iter().any(|other| Arc::ptr_eq(other, segment))
    }

    /// Deletes one file. Hands it out if someone still reads it.
    pub(crate) fn delete(&self, segment: &Arc<Segment>) -> io::Result<Option<Weak<File>>> {
        // First out of the list: whoever does not find it finds that the list begins behind it.
        self.list.write().retain(|other| !Arc::ptr_eq(other, segment));
        let reader = segment.handle.lock().as_ref().map(Arc::downgrade);
        if let Err(error) = segment.delete() {
            let mut list = self.list.write();
            let place = list.partition_point(|other| other.base < segment.base);
            list.insert(place, segment.clone());
            return Err(error);
        }
        Ok(reader.filter(|reader| reader.strong_count() > 0))
    }
}

/// The position that a name says.
pub(crate) fn position(name: &str) -> Option<i64> {
    let digits = name.bytes().all(|byte| byte.is_ascii_digit());
    name.parse().ok().filter(|base| digits && (0..POSITION_MAX).contains(base))
}

/// What a directory of segments holds.
#[derive(Debug)]
pub(crate) struct Found {
    pub segments: Segments,
    /// Files of another size than they should have, and their sizes.
    pub odd: Vec<(Arc<Segment>, u64)>,
    /// Files whose names are no positions.
    pub foreign: Vec<PathBuf>,
}

/// A file or directory.
#[derive(Debug)]
pub(crate) struct Listed {
    pub path: PathBuf,
    pub name: String,
    pub size: u64,
}

/// The files of a directory, directories left out. None if the directory is not there.
pub(crate) fn files_of(dir: &Path) -> Result<Vec<Listed>, ListError> {
    entries_of(dir, false)
}

/// The directories in a directory.
pub(crate) fn directories_of(dir: &Path) -> Result<Vec<Listed>, ListError> {
    entries_of(dir, true)
}

fn entries_of(dir: &Path, directories: bool) -> Result<Vec<Listed>, ListError> {
    let failed = |error| ListError { path: dir.to_owned(), error };
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let metadata = fs::metadata(&path).map_err(|error| ListError { path: path.clone(), error })?;
        if metadata.is_dir() == directories {
            let name = entry.file_name().to_string_lossy().into_owned();
            found.push(Listed { path, name, size: metadata.len() });
        }
    }
    Ok(found)
}
