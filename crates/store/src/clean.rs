//! Deletes what is no longer wanted: old files of the log, then what only they were pointed to from; topics.
//!
//! Files go oldest first, and only from the beginning of the log; the last stays. One goes when it is older than
//! messages are kept, or when room is wanted. It stays however old if something in it is still needed ([`Needed`]), and
//! the log says by whom.
//!
//! A file that is being read is deleted like any other: it loses its name, and its room comes back when its last reader
//! is done. Nobody reads anything else in its place meanwhile.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use protocol::message::CommitLogOffset;

use crate::put::is_storable_topic;
use crate::segment::Segment;
use crate::{Inner, Store};

/// What to delete.
#[derive(Clone, Debug)]
pub struct Clean<'a> {
    /// The time.
    pub now: SystemTime,
    /// Do files go that were last written longer ago than `fileReservedTime`?
    pub expired: bool,
    /// So many bytes are to become free, by files however young.
    pub wanted: u64,
    /// Messages that must stay.
    pub needed: &'a [Needed],
    /// At most so many files of the log go, so that a store full of old files stays responsive.
    pub files_max: usize,
    /// Rest between two files, for the disk's other users.
    pub pause: Duration,
    /// A deleted file that is read for so long still is told of.
    pub tell_held_after: Duration,
}

impl Clean<'_> {
    /// What is expired at `now`, as Apache's store does by default.
    pub fn expired(now: SystemTime) -> Clean<'static> {
        Clean {
            now,
            expired: true,
            wanted: 0,
            needed: &[],
            files_max: 10,
            pause: Duration::ZERO,
            tell_held_after: Duration::from_secs(120),
        }
    }
}

/// Why the log must stay from some place on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// The first message that is needed.
    pub from: CommitLogOffset,
    /// By whom, to follow "is kept: ".
    pub by: String,
}

/// What was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Files of the commit log.
    pub commit_log: usize,
    /// Files of consume queues.
    pub consume_queue: usize,
    /// Index files.
    pub index: usize,
    /// Who needs the oldest file, which would have gone otherwise.
    pub kept: Option<String>,
}

/// Files that are deleted and still being read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// How many.
    pub files: usize,
    /// Bytes that come back when their readers are done.
    pub bytes: u64,
}

/// A file that was read when it was deleted.
#[derive(Debug)]
pub(crate) struct HeldFile {
    file: Weak<File>,
    path: PathBuf,
    size: u64,
    since: SystemTime,
    told: bool,
}

/// What cleaning remembers from one time to the next.
#[derive(Debug, Default)]
pub(crate) struct Cleaning {
    held: Vec<HeldFile>,
    /// Queues and index have followed the log to here.
    followed: i64,
    /// What was said last about why a file stays.
    told: Option<(i64, String)>,
}

/// Why a file goes.
enum Why {
    Expired,
    Room,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Expired => "older than fileReservedTime",
            Why::Room => "the disk is short of room",
        })
    }
}

impl Store {
    /// Deletes files of the log, oldest first and never the last; then files of queues and index that only they needed.
    #[doc(alias = "cleanFilesPeriodically")]
    pub fn clean(&self, clean: &Clean<'_>) -> io::Result<Cleaned> {
        self.inner.clean(clean)
    }

    /// Bytes of the files that [`Store::clean`] could delete, were they old enough and not needed.
    pub fn deletable_bytes(&self) -> u64 {
        self.inner.sealed().iter().map(|segment| segment.size).sum()
    }

    /// Files that are deleted and still being read.
    pub fn held(&self) -> Held {
        let cleaning = self.inner.cleaning.lock();
        let held = cleaning.held.iter().filter(|held| held.file.strong_count() > 0);
        held.fold(Held::default(), |sum, held| Held { files: sum.files + 1, bytes: sum.bytes + held.size })
    }

    /// The commit log offset of the first message of a queue at `offset` or behind.
    pub fn place_of(
        &self,
        topic: &str,
        queue_id: u32,
        offset: crate::QueueOffset,
    ) -> io::Result<Option<CommitLogOffset>> {
        let Some(queue) = self.inner.queues.get(topic, queue_id) else { return Ok(None) };
        Ok(queue.entries(offset.0.max(queue.bounds().0), 1)?.first().map(CommitLogOffset::from))
    }

    /// Forgets a topic: its queues are gone, and its records, which stay in the log until their files are deleted, are
    /// no longer found. Who waits for a message is woken; a message that comes meanwhile is refused.
    ///
    /// Under the same name a topic may begin anew at queue offset 0. After an error it goes on as it was, or takes no
    /// messages until it is deleted again or the store is opened again.
    #[doc(alias = "deleteTopics")]
    pub fn delete_topic(&self, topic: &str) -> io::Result<()> {
        self.inner.delete_topic(topic)
    }
}

impl Inner {
    /// All files of the log but the one that what is readable ends in, and those behind it.
    fn sealed(&self) -> Vec<Arc<Segment>> {
        let mut files = self.log.segments.all();
        let published = self.log.published();
        files.pop();
        files.retain(|segment| segment.end() <= published);
        files
    }

    fn clean(&self, clean: &Clean<'_>) -> io::Result<Cleaned> {
        let mut cleaning = self.cleaning.lock();
        cleaning.look_after_held(clean);
        let mut cleaned = Cleaned::default();
        let deleted = self.delete_log_files(clean, &mut cleaning, &mut cleaned);
        let log_min = self.log.min();
        if log_min > cleaning.followed {
            // What only these files needed goes after they are gone for certain.
            self.config.disk.sync_directory(self.log.segments.dir())?;
            for queue in self.queues.all() {
                queue.raise_min(log_min)?;
            }
            if let Some(index) = &self.index {
                cleaned.index = index.lock().delete_before(log_min)?;
            }
            self.deletions.forget_before(log_min)?;
            cleaning.followed = log_min;
        }
        // Topics with limits of their own raise theirs at any time.
        for queue in self.queues.all() {
            cleaned.consume_queue += queue.delete_files_before_min()?;
        }
        deleted.map(|()| cleaned)
    }

    fn delete_log_files(&self, clean: &Clean<'_>, cleaning: &mut Cleaning, cleaned: &mut Cleaned) -> io::Result<()> {
        let longer = if clean.expired { self.kept_longer() } else { None };
        // What readers hold comes back by itself.
        let held: u64 = cleaning.held.iter().map(|held| held.size).sum();
        let wanted = clean.wanted.saturating_sub(held);
        let mut freed = 0;
        for segment in self.sealed().iter().take(clean.files_max) {
            let age = clean.now.duration_since(segment.modified()?).unwrap_or_default();
            let expired = clean.expired && age > self.limits.file_reserved();
            let why = match freed < wanted {
                true => Why::Room,
                false if expired => Why::Expired,
                false => break,
            };
            // Where room is wanted, messages that are only not yet expired give way.
            let longer = longer.as_ref().filter(|_| freed >= wanted);
            let in_it = clean.needed.iter().chain(longer).filter(|needed| needed.from.0 < segment.end());
            if let Some(needed) = in_it.min_by_key(|needed| needed.from) {
                cleaning.tell_kept(segment, age, needed);
                cleaned.kept = Some(needed.by.clone());
                break;
            }
            if cleaned.commit_log > 0 && !clean.pause.is_zero() {
                std::thread::sleep(clean.pause);
            }
            let reader = self.log.segments.delete(segment)?;
            freed += segment.size;
            cleaned.commit_log += 1;
            let so_far = match why {
                Why::Room => format!(" ({} of {wanted} wanted bytes)", freed.min(wanted)),
                Why::Expired => String::new(),
            };
            tracing::info!("deleted {}, {}: {why}{so_far}", segment.path.display(), Hours(age));
            if let Some(file) = reader {
                let (path, size) = (segment.path.clone(), segment.size);
                cleaning.held.push(HeldFile { file, path, size, since: clean.now, told: false });
            }
        }
        Ok(())
    }

    fn delete_topic(&self, topic: &str) -> io::Result<()> {
        // Until this is done no queue is written into files: a new one would have the old one's.
        let draining = self.dispatcher.hold_drain();
        let (at, old) = self.log.at_end(|| {
            let old = self.queues.of(topic);
            old.iter().for_each(|queue| queue.refuse(true));
            old
        });
        if let Err(error) = self.deletions.add(topic, at) {
            old.iter().for_each(|queue| queue.refuse(false));
            return Err(error);
        }
        // From here on a crash does not bring it back.
        for queue in &old {
            queue.mark_deleted();
        }
        if is_storable_topic(topic) {
            let dir = self.queues.dir_of(topic);
            self.config.disk.delete_directory(&dir)?;
            if let Some(all) = dir.parent().filter(|all| all.is_dir()) {
                self.config.disk.sync_directory(all)?;
            }
        }
        self.queues.remove(topic, &old);
        drop(draining);
        self.limited.lock().remove(topic);
        // Should the table of deletions be lost, the next recovery still begins behind this.
        let behind = self.write_out().and_then(|()| self.flush()).map_err(io::Error::from);
        let behind = behind.and_then(|()| Ok(self.drain()?)).and_then(|()| self.try_sync_dispatched());
        if let Err(error) = behind {
            tracing::warn!("topic `{topic}` is deleted, but the checkpoint is not raised: {error}");
        }
        Ok(())
    }
}

impl Cleaning {
    /// Forgets files whose readers are done, and tells of those that are read for long.
    fn look_after_held(&mut self, clean: &Clean<'_>) {
        self.held.retain(|held| held.file.strong_count() > 0);
        for held in self.held.iter_mut().filter(|held| !held.told) {
            let since = clean.now.duration_since(held.since).unwrap_or_default();
            if since >= clean.tell_held_after {
                held.told = true;
                tracing::warn!(
                    "{} was deleted {} s ago and is still being read by {} replies on their way; its {} bytes come back \
                     when they are sent or their connections end",
                    held.path.display(),
                    since.as_secs(),
                    held.file.strong_count(),
                    held.size
                );
            }
        }
    }

    /// Says, once for a file and a reason, why a file stays beyond its time.
    fn tell_kept(&mut self, segment: &Segment, age: Duration, needed: &Needed) {
        let now = (segment.base, needed.by.clone());
        if self.told.as_ref() != Some(&now) {
            tracing::info!(
                "{}, {}, is kept: {} (from {} of the commit log on)",
                segment.path.display(),
                Hours(age),
                needed.by,
                needed.from
            );
            self.told = Some(now);
        }
    }
}

/// An age, for the log.
struct Hours(Duration);

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "last written {:.1} hours ago", self.0.as_secs_f64() / 3600.0)
    }
}
