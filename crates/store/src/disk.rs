//! Everything the store does to files, in one place, where a test can watch it, make it slow and let it fail.
//!
//! In use a [`Disk`] only passes on. A test gives it a [`Watch`], which hears of every [`Action`] before and after it is
//! done: what it records is enough to build what a power failure at any moment would have left.

use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

/// What is done to a file or a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// A directory and those above it are made, if they are not there.
    CreateDirectory(&'a Path),
    /// A file is made, or opened if it is there.
    Create(&'a Path),
    /// A file is given `size` bytes: cut, or filled up with zeros that take no room.
    Resize {
        /// The file.
        path: &'a Path,
        /// Bytes.
        size: u64,
    },
    /// Bytes are written into a file.
    Write {
        /// The file.
        path: &'a Path,
        /// Where the first goes.
        at: u64,
        /// What is written.
        bytes: &'a [u8],
    },
    /// Bytes are read from a file.
    Read {
        /// The file.
        path: &'a Path,
        /// Where the first is.
        at: u64,
        /// How many.
        len: usize,
    },
    /// All that was written to a file, and its size, are brought to disk.
    Sync(&'a Path),
    /// The names in a directory are brought to disk.
    SyncDirectory(&'a Path),
    /// Everything on the file system of a file is brought to disk.
    SyncFileSystem(&'a Path),
    /// A file gets another name; one that has it is replaced.
    Rename {
        /// Its name.
        from: &'a Path,
        /// Its new name.
        to: &'a Path,
    },
    /// A file is deleted.
    Delete(&'a Path),
    /// A directory is deleted with all in it.
    DeleteDirectory(&'a Path),
}

/// Hears of everything that is done to files, on the thread that does it.
pub trait Watch: fmt::Debug + Send + Sync {
    /// It will be done. An error is what the store gets instead.
    fn before(&self, action: Action<'_>) -> io::Result<()>;
    /// It was done.
    fn after(&self, action: Action<'_>);
}

/// The way to the files.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    watch: Option<Arc<dyn Watch>>,
    read_only: bool,
}

impl PartialEq for Disk {
    fn eq(&self, other: &Disk) -> bool {
        let same_watch = match (&self.watch, &other.watch) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        same_watch && self.read_only == other.read_only
    }
}

impl Disk {
    /// The same files, watched.
    pub fn watched(watch: Arc<dyn Watch>) -> Disk {
        Disk { watch: Some(watch), ..Disk::default() }
    }

    /// The same files, of which none can be changed: whoever only looks gets an error before it does harm.
    pub fn read_only(&self) -> Disk {
        Disk { read_only: true, ..self.clone() }
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    #[inline]
    fn act<T>(&self, action: Action<'_>, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if self.read_only && !matches!(action, Action::Read { .. }) {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let Some(watch) = &self.watch else { return act() };
        watch.before(action)?;
        let done = act()?;
        watch.after(action);
        Ok(done)
    }

    pub(crate) fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.act(Action::CreateDirectory(path), || fs::create_dir_all(path))
    }

    /// Opens a file to read and write, which is made if it is not there.
    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        self.act(Action::Create(path), || {
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
        })
    }

    /// As [`Disk::create`], and only the owner may read it.
    pub(crate) fn create_private(&self, path: &Path) -> io::Result<File> {
        self.act(Action::Create(path), || {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
            // It may have been there before.
            file.set_permissions(Permissions::from_mode(0o600))?;
            Ok(file)
        })
    }

    /// Opens a file to read.
    pub(crate) fn open(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    pub(crate) fn resize(&self, file: &File, path: &Path, size: u64) -> io::Result<()> {
        self.act(Action::Resize { path, size }, || file.set_len(size))
    }

    pub(crate) fn write(&self, file: &File, path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.act(Action::Write { path, at, bytes }, || file.write_all_at(bytes, at))
    }

    pub(crate) fn read(&self, file: &File, path: &Path, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        let len = bytes.len();
        self.act(Action::Read { path, at, len }, || file.read_exact_at(bytes, at))
    }

    /// Brings what a file has, and its size, to disk.
    pub(crate) fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        self.act(Action::Sync(path), || file.sync_data())
    }

    pub(crate) fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.act(Action::SyncDirectory(path), || File::open(path)?.sync_all())
    }

    pub(crate) fn sync_file_system(&self, file: &File, path: &Path) -> io::Result<()> {
        self.act(Action::SyncFileSystem(path), || Ok(rustix::fs::syncfs(file)?))
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.act(Action::Rename { from, to }, || fs::rename(from, to))
    }

    /// Deletes a file, if it is there.
    pub(crate) fn delete(&self, path: &Path) -> io::Result<()> {
        self.act(Action::Delete(path), || unless_not_found(fs::remove_file(path)))
    }

    /// Deletes a directory and all in it, if it is there.
    pub(crate) fn delete_directory(&self, path: &Path) -> io::Result<()> {
        self.act(Action::DeleteDirectory(path), || unless_not_found(fs::remove_dir_all(path)))
    }

    /// Replaces what a file has, which is made if it is not there. Nothing is brought to disk.
    pub(crate) fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<File> {
        let file = self.create(path)?;
        self.fill(file, path, bytes)
    }

    /// As [`Disk::replace`], and only the owner may read it.
    pub(crate) fn replace_private(&self, path: &Path, bytes: &[u8]) -> io::Result<File> {
        let file = self.create_private(path)?;
        self.fill(file, path, bytes)
    }

    fn fill(&self, file: File, path: &Path, bytes: &[u8]) -> io::Result<File> {
        self.resize(&file, path, 0)?;
        self.act(Action::Write { path, at: 0, bytes }, || (&file).write_all(bytes))?;
        Ok(file)
    }
}

fn unless_not_found(deleted: io::Result<()>) -> io::Result<()> {
    match deleted {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
