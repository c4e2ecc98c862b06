//! Deletes what is no longer wanted: old files of the log, then what only they were pointed to from; topics.

use std::io;
use std::time::SystemTime;

use crate::inventory;
use crate::put::is_storable_topic;
use crate::{Inner, Store};

/// At most so many files of the log go in one call, so that a store full of old files stays responsive.
const FILES_MAX: usize = 10;

/// How many files were deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Files of the commit log.
    pub commit_log: usize,
    /// Files of consume queues.
    pub consume_queue: usize,
    /// Index files.
    pub index: usize,
}

impl Store {
    /// Deletes files of the log that were last written longer than `file_reserved` before `now`: oldest first, up to the
    /// first that was not, at most ten, never the last. Then files of queues and index that only they needed.
    #[doc(alias = "cleanFilesPeriodically")]
    pub fn clean_expired(&self, now: SystemTime) -> io::Result<Cleaned> {
        let reserved = self.inner.config.file_reserved;
        self.inner.clean(FILES_MAX, |modified| now.duration_since(modified).is_ok_and(|age| age > reserved))
    }

    /// Deletes the oldest `files` files of the log however young, but never the last, when the disk is almost full.
    #[doc(alias = "cleanImmediately")]
    pub fn clean_oldest(&self, files: usize) -> io::Result<Cleaned> {
        self.inner.clean(files, |_| true)
    }

    /// Forgets a topic: its queues are gone, its records stay in the log until their files are deleted.
    #[doc(alias = "deleteTopics")]
    pub fn delete_topic(&self, topic: &str) -> io::Result<()> {
        self.inner.delete_topic(topic)
    }
}

impl Inner {
    fn clean(&self, max: usize, is_old: impl Fn(SystemTime) -> bool) -> io::Result<Cleaned> {
        let mut cleaned = Cleaned::default();
        let files = self.log.segments.all();
        // The file that what is readable ends in stays, and so does every one behind it.
        let published = self.log.published();
        let deletable = files.iter().filter(|segment| segment.end() <= published);
        for segment in deletable.take(files.len().saturating_sub(1).min(max)) {
            if !is_old(segment.modified()?) {
                break;
            }
            self.log.segments.delete(segment)?;
            tracing::info!("deleted {}", segment.path.display());
            cleaned.commit_log += 1;
        }
        if cleaned.commit_log > 0 {
            let log_min = self.log.min();
            for queue in self.queues.all() {
                queue.raise_min(log_min)?;
                cleaned.consume_queue += queue.delete_files_before_min()?;
            }
            if let Some(index) = &self.index {
                cleaned.index += index.lock().delete_before(log_min)?;
            }
        }
        Ok(cleaned)
    }

    fn delete_topic(&self, topic: &str) -> io::Result<()> {
        inventory::forget(&self.config, topic)?;
        for queue in self.queues.remove(topic) {
            queue.mark_deleted();
        }
        if is_storable_topic(topic) {
            self.config.disk.delete_directory(&self.queues.dir_of(topic))?;
            let above = self.config.consume_queue_dir();
            if above.is_dir() {
                self.config.disk.sync_directory(&above)?;
            }
        }
        // From here on a crash does not bring it back.
        self.write_out()?;
        self.flush()?;
        self.drain();
        self.try_sync_dispatched().map_err(|(_, error)| error)
    }
}
