//! From the commit log to consume queues and index, and to whoever waits for a message.
//!
//! 1. a put leaves a [`Dispatch`] beside its staged bytes: what queue and index must know is in its registers anyway
//! 2. once the bytes may be read, [`Inner::publish`] appends it to its queue in memory and wakes who waits there
//! 3. the dispatch thread drains queues and index into their files, at most every 100 ms, and sleeps when nothing is left
//! 4. and brings these files to disk, at most every second, before it raises the checkpoint
//!
//! After a crash, recovery makes the same [`Dispatch`]es from the records of the log.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use protocol::message::{CommitLogOffset, JavaHash, KEY_SEPARATOR, Properties, QueueOffset, SysFlag, TransactionType};

use crate::config::StoreConfig;
use crate::consume_queue::{Entry, Queue};
use crate::failure::{Failure, is_full};
use crate::flush::Bell;
use crate::index::Index;
use crate::segment::Segment;
use crate::{Inner, Store};

/// Topic of messages that wait for their delay level.
pub(crate) const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// How long entries may wait in memory to be written together.
const DRAIN_EVERY: Duration = Duration::from_millis(100);
/// How long written entries may wait to be brought to disk together.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How long it waits when files cannot be written.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// With more files than this, the whole file system is brought to disk instead.
const SYNC_ONE_BY_ONE_MAX: usize = 64;
/// More entries in memory than this are drained at once (about 24 bytes each).
const BACKLOG_MAX: usize = 200_000;
/// With more than this, whoever writes messages drains, too; if that cannot be, messages are refused.
const BACKLOG_LIMIT: usize = 2_000_000;

/// What consume queue and index keep of a message, derived from its properties alone.
///
/// Both the write path and recovery go through here, so that a rebuilt queue is the queue that was lost.
#[derive(Debug)]
pub(crate) struct Keys {
    tags: Tags,
    hashes: [u32; 8],
    hash_count: usize,
    more: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Tags {
    Code(i64),
    /// A delayed message: its queue is sorted by when it is due.
    DueAfter(i64),
}

impl Keys {
    pub(crate) fn derive(
        config: &StoreConfig,
        topic: &str,
        topic_hash: JavaHash,
        sys_flag: i32,
        properties: &[u8],
    ) -> Keys {
        let (mut tags, mut keys, mut unique_key, mut delay) = (&b""[..], &b""[..], &b""[..], &b""[..]);
        // Hot: most segments are told apart by their first byte.
        for segment in Properties(properties).segments() {
            let (place, value) = match segment.first() {
                Some(b'T') => (&mut tags, segment.strip_prefix(b"TAGS\x01")),
                Some(b'K') => (&mut keys, segment.strip_prefix(b"KEYS\x01")),
                Some(b'U') => (&mut unique_key, segment.strip_prefix(b"UNIQ_KEY\x01")),
                Some(b'D') => (&mut delay, segment.strip_prefix(b"DELAY\x01")),
                _ => continue,
            };
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                *place = value;
            }
        }
        let tags_hash = i64::from(JavaHash::new().update_bytes(tags).finish());
        let tags_of_queue = match delay_level(topic, delay) {
            Some(level) => Tags::DueAfter(delay_of(config, level)),
            None => Tags::Code(tags_hash),
        };
        let mut derived = Keys { tags: tags_of_queue, hashes: [0; 8], hash_count: 0, more: Vec::new() };
        if config.index_enabled && SysFlag(sys_flag).transaction() != TransactionType::Rollback {
            if !unique_key.is_empty() {
                derived.push(topic_hash.update_bytes(unique_key));
            }
            for key in keys.split(|byte| *byte == KEY_SEPARATOR as u8).filter(|key| !key.is_empty()) {
                derived.push(topic_hash.update_bytes(key));
            }
            if !tags.is_empty() {
                derived.push(topic_hash.update("T#").update_bytes(tags));
            }
        }
        derived
    }

    fn push(&mut self, hash: JavaHash) {
        let hash = index_hash(hash);
        if self.hash_count < self.hashes.len() && self.more.is_empty() {
            self.hashes[self.hash_count] = hash;
            self.hash_count += 1;
            return;
        }
        if self.more.is_empty() {
            self.more.extend_from_slice(&self.hashes);
        }
        self.more.push(hash);
    }

    /// The third field of the consume queue entry.
    pub(crate) fn tags_code(&self, store_timestamp: i64) -> i64 {
        match self.tags {
            Tags::Code(code) => code,
            Tags::DueAfter(delay) => store_timestamp.saturating_add(delay),
        }
    }

    /// Hashes of all keys under which the index knows the message, in the order in which they are entered.
    pub(crate) fn hashes(&self) -> &[u32] {
        if self.more.is_empty() { &self.hashes[..self.hash_count] } else { &self.more }
    }
}

/// How the index counts a hash: without sign; the one number whose sign cannot be taken off is 0.
pub(crate) fn index_hash(hash: JavaHash) -> u32 {
    hash.finish().checked_abs().map_or(0, i32::unsigned_abs)
}

fn delay_level(topic: &str, delay: &[u8]) -> Option<usize> {
    if topic != SCHEDULE_TOPIC || delay.is_empty() {
        return None;
    }
    std::str::from_utf8(delay).ok()?.parse().ok().filter(|level| *level > 0)
}

/// How long a level waits, in ms. A level beyond the last is the last.
fn delay_of(config: &StoreConfig, level: usize) -> i64 {
    let levels = &config.delay_levels;
    let delay = levels.get(level - 1).or(levels.last()).copied().unwrap_or(Duration::from_secs(1));
    delay.as_millis() as i64
}

/// What queue and index must learn of one record.
#[doc(alias = "DispatchRequest")]
#[derive(Debug)]
pub(crate) struct Dispatch {
    pub queue: Arc<Queue>,
    pub queue_offset: QueueOffset,
    /// Does it get an entry in the queue?
    pub queued: bool,
    pub at: CommitLogOffset,
    pub size: i32,
    pub tags_code: i64,
    pub store_timestamp: i64,
    /// How many of the pending hashes are its own.
    pub hashes: u32,
}

/// Dispatches in the order of the log, with the hashes of their keys behind one another.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    list: Vec<Dispatch>,
    hashes: Vec<u32>,
}

impl Pending {
    pub(crate) fn push(&mut self, mut dispatch: Dispatch, hashes: &[u32]) {
        dispatch.hashes = hashes.len() as u32;
        self.hashes.extend_from_slice(hashes);
        self.list.push(dispatch);
    }
}

/// One key of one message, on its way into the index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndexItem {
    pub hash: u32,
    pub at: i64,
    pub store_timestamp: i64,
}

/// What lies between the log and the files of queues and index.
#[derive(Debug, Default)]
pub(crate) struct Dispatcher {
    /// Wakes the dispatch thread.
    pub bell: Bell,
    /// `SYNC_FLUSH`: written, not yet on disk.
    unpublished: Mutex<VecDeque<(Pending, i64)>>,
    index_items: Mutex<Vec<IndexItem>>,
    dirty: Mutex<Vec<Arc<Queue>>>,
    /// Entries and index items in memory.
    backlog: AtomicUsize,
    /// Entries of all records before this are in files.
    drained: AtomicI64,
    /// Store timestamp of the last published record, and of the last drained one.
    published_timestamp: AtomicI64,
    drained_timestamp: AtomicI64,
    touched: Mutex<Vec<Arc<Segment>>>,
    unsynced: AtomicBool,
    /// Held by who syncs: a checkpoint must not speak of files that another is still bringing to disk.
    syncing: Mutex<()>,
    /// `SYNC_FLUSH`: messages that are not yet published.
    unpublished_len: AtomicUsize,
    /// Messages that became readable since the store was opened.
    arrived: AtomicI64,
    /// The last drain could not write everything.
    behind: AtomicBool,
    /// What was drained may not be on disk, and nobody can tell: the checkpoint stays.
    distrusted: AtomicBool,
}

impl Dispatcher {
    pub(crate) fn publish_later(&self, pending: Pending, end: i64) {
        self.unpublished_len.fetch_add(pending.list.len(), Ordering::Relaxed);
        self.unpublished.lock().push_back((pending, end));
    }

    /// Everything up to `end` is in files; `touched` are not yet brought to disk.
    pub(crate) fn start(&self, end: i64, timestamp: i64, touched: Vec<Arc<Segment>>) {
        self.drained.store(end, Ordering::SeqCst);
        self.published_timestamp.store(timestamp, Ordering::SeqCst);
        self.drained_timestamp.store(timestamp, Ordering::SeqCst);
        self.unsynced.store(!touched.is_empty(), Ordering::SeqCst);
        *self.touched.lock() = touched;
    }

    pub(crate) fn take_index_items(&self) -> Vec<IndexItem> {
        let items = std::mem::take(&mut *self.index_items.lock());
        self.backlog.fetch_sub(items.len(), Ordering::Relaxed);
        items
    }

    /// No queue is written into its files while this is held.
    pub(crate) fn hold_drain(&self) -> MutexGuard<'_, Vec<Arc<Segment>>> {
        self.touched.lock()
    }

    /// Messages that wait for the disk.
    pub(crate) fn unpublished_len(&self) -> usize {
        self.unpublished_len.load(Ordering::Relaxed)
    }

    /// Gives back what did not find its way into the index.
    pub(crate) fn put_back_index_items(&self, mut items: Vec<IndexItem>) {
        self.backlog.fetch_add(items.len(), Ordering::Relaxed);
        let mut later = self.index_items.lock();
        items.append(&mut later);
        *later = items;
    }

    fn has_work(&self) -> bool {
        self.backlog.load(Ordering::SeqCst) > 0 || !self.dirty.lock().is_empty()
    }

    fn is_urgent(&self) -> bool {
        self.backlog.load(Ordering::Relaxed) > BACKLOG_MAX
    }
}

impl Inner {
    /// Makes all of `pending` readable, up to `end`, and empties it. Whoever waited is to be woken when no lock is held.
    pub(crate) fn publish(&self, pending: &mut Pending, end: i64, woken: &mut Vec<Waker>) {
        self.dispatch_all(pending, woken);
        self.log.set_published(end);
        if self.dispatcher.is_urgent() {
            self.dispatcher.bell.ring_urgently();
        } else {
            self.dispatcher.bell.ring();
        }
    }

    /// `SYNC_FLUSH`: makes readable what is on disk.
    pub(crate) fn publish_flushed(&self, flushed: i64, woken: &mut Vec<Waker>) {
        loop {
            let next = {
                let mut unpublished = self.dispatcher.unpublished.lock();
                match unpublished.front() {
                    Some((_, end)) if *end <= flushed => unpublished.pop_front(),
                    _ => None,
                }
            };
            match next {
                Some((mut pending, end)) => {
                    self.dispatcher.unpublished_len.fetch_sub(pending.list.len(), Ordering::Relaxed);
                    self.publish(&mut pending, end, woken);
                }
                None => return,
            }
        }
    }

    /// Appends to queues and index in memory.
    pub(crate) fn dispatch_all(&self, pending: &mut Pending, woken: &mut Vec<Waker>) {
        let dispatcher = &self.dispatcher;
        let mut entries = 0;
        let mut hashes = pending.hashes.iter();
        let mut index_items = self.index.is_some().then(|| dispatcher.index_items.lock());
        let mut dirty = Vec::new();
        dispatcher.arrived.fetch_add(pending.list.len() as i64, Ordering::Relaxed);
        for dispatch in pending.list.drain(..) {
            dispatcher.published_timestamp.store(dispatch.store_timestamp, Ordering::Relaxed);
            for hash in hashes.by_ref().take(dispatch.hashes as usize) {
                if let Some(items) = &mut index_items {
                    items.push(IndexItem { hash: *hash, at: dispatch.at.0, store_timestamp: dispatch.store_timestamp });
                    entries += 1;
                }
            }
            if dispatch.queued {
                let entry = Entry { at: dispatch.at.0, size: dispatch.size, tags_code: dispatch.tags_code };
                let published = dispatch.queue.publish(dispatch.queue_offset, entry, woken);
                entries += published.added;
                if published.to_drain {
                    dirty.push(dispatch.queue);
                }
            }
        }
        drop(index_items);
        pending.hashes.clear();
        dispatcher.backlog.fetch_add(entries, Ordering::SeqCst);
        if !dirty.is_empty() {
            dispatcher.dirty.lock().append(&mut dirty);
        }
    }

    /// A writer that is far faster than the dispatch thread helps it, so that memory stays bounded.
    pub(crate) fn relieve_dispatch(&self) {
        if self.dispatcher.backlog.load(Ordering::Relaxed) > BACKLOG_LIMIT && self.log.failures.refusal().is_none() {
            let _ = self.drain();
        }
    }

    /// The dispatch thread.
    pub(crate) fn run_dispatch(&self) {
        let dispatcher = &self.dispatcher;
        let mut sync_at = Instant::now();
        while !dispatcher.bell.is_stopped() {
            if dispatcher.unsynced.load(Ordering::SeqCst) {
                let wait = sync_at.saturating_duration_since(Instant::now());
                dispatcher.bell.wait_for(wait, || dispatcher.has_work());
            } else {
                dispatcher.bell.wait(|| dispatcher.has_work());
            }
            if dispatcher.has_work() {
                dispatcher.bell.wait_for_urgent(DRAIN_EVERY, || dispatcher.is_urgent());
                if self.drain().is_err() {
                    dispatcher.bell.wait_for(AGAIN_AFTER, || false);
                }
            }
            if dispatcher.unsynced.load(Ordering::SeqCst) && Instant::now() >= sync_at {
                let began = Instant::now();
                self.sync_dispatched();
                // Many queues take long: then it is done less often.
                sync_at = Instant::now() + SYNC_EVERY.max(began.elapsed() * 10);
            }
        }
    }

    /// Writes all entries in memory into their files. What cannot be written stays in memory for the next time.
    pub(crate) fn drain(&self) -> Result<(), Failure> {
        let dispatcher = &self.dispatcher;
        let mut touched = dispatcher.touched.lock();
        let published = self.log.published();
        let timestamp = dispatcher.published_timestamp.load(Ordering::Relaxed);
        let dirty = std::mem::take(&mut *dispatcher.dirty.lock());
        let mut failed = None;
        for queue in dirty {
            match queue.drain(&mut touched) {
                Ok(count) => _ = dispatcher.backlog.fetch_sub(count, Ordering::SeqCst),
                Err(error) => {
                    failed = Some(error);
                    if queue.is_still_dirty() {
                        dispatcher.dirty.lock().push(queue);
                    }
                }
            }
        }
        if let Some(index) = &self.index {
            let mut index = index.lock();
            // What is entered already is written first: if that cannot be, no more is entered.
            let written = index.write(&mut touched).and_then(|()| {
                self.enter_in_index(&mut index)?;
                index.write(&mut touched)
            });
            if let Err(error) = written {
                failed = Some((self.config.index_dir(), error));
            }
        }
        touched.sort_by_key(|segment| Arc::as_ptr(segment) as usize);
        touched.dedup_by(|one, other| Arc::ptr_eq(one, other));
        dispatcher.unsynced.store(true, Ordering::SeqCst);
        match failed {
            Some((path, error)) => Err(self.drain_failed(path, error)),
            None => {
                dispatcher.drained.store(published, Ordering::SeqCst);
                dispatcher.drained_timestamp.store(timestamp, Ordering::SeqCst);
                if dispatcher.behind.swap(false, Ordering::SeqCst) {
                    tracing::info!("consume queues and index are written again");
                    self.log.failures.set_dispatch(None);
                }
                Ok(())
            }
        }
    }

    /// The next drain tries again. Messages are taken meanwhile, as long as there is room for their entries in memory.
    fn drain_failed(&self, path: PathBuf, error: io::Error) -> Failure {
        let dispatcher = &self.dispatcher;
        if !dispatcher.behind.swap(true, Ordering::SeqCst) {
            tracing::error!(
                "writing {} failed ({error}); no message is lost, and it is tried again every second: check the disk, quotas \
                 and permissions",
                path.display()
            );
        }
        if !is_full(&error) {
            // A disk that loses one write may have lost others.
            self.distrust(&path, &error);
        }
        let failure = Failure::Dispatch { path, error: Arc::new(error) };
        if dispatcher.backlog.load(Ordering::Relaxed) > BACKLOG_LIMIT {
            self.log.failures.set_dispatch(Some(failure.clone()));
        }
        self.look_at_space();
        failure
    }

    /// Leaves the checkpoint where it is: what of queues and index is on disk behind it is unknown. The next start makes
    /// them again from there.
    fn distrust(&self, path: &Path, error: &io::Error) {
        if !self.dispatcher.distrusted.swap(true, Ordering::SeqCst) {
            tracing::error!(
                "{} may not be on disk ({error}); no message is lost, and the next start makes it again from the commit log: \
                 check the disk",
                path.display()
            );
        }
    }

    /// Moves what waits in memory into the index, which is still in memory, too, for the most part.
    pub(crate) fn enter_in_index(&self, index: &mut Index) -> io::Result<()> {
        let mut items = self.dispatcher.take_index_items();
        let entered = index.add(&mut items);
        if !items.is_empty() {
            self.dispatcher.put_back_index_items(items);
        }
        entered
    }

    /// Brings what was drained to disk and raises the checkpoint.
    pub(crate) fn sync_dispatched(&self) {
        if let Err(error) = self.try_sync_dispatched() {
            // Told once per cause where it is found; it is tried again.
            tracing::debug!(%error, "the checkpoint stays where it is");
            self.dispatcher.unsynced.store(!self.is_distrusted(), Ordering::SeqCst);
        }
    }

    fn is_distrusted(&self) -> bool {
        self.dispatcher.distrusted.load(Ordering::SeqCst)
    }

    pub(crate) fn try_sync_dispatched(&self) -> io::Result<()> {
        let dispatcher = &self.dispatcher;
        let _one_at_a_time = dispatcher.syncing.lock();
        dispatcher.unsynced.store(false, Ordering::SeqCst);
        let drained = dispatcher.drained.load(Ordering::SeqCst);
        let timestamp = dispatcher.drained_timestamp.load(Ordering::SeqCst);
        let (touched, index_timestamp) = {
            let mut touched = dispatcher.touched.lock();
            let index_timestamp = self.index.as_ref().map_or(0, |index| index.lock().full_files_timestamp());
            (std::mem::take(&mut *touched), index_timestamp)
        };
        let many = touched.len() > SYNC_ONE_BY_ONE_MAX;
        for segment in touched {
            match if many { segment.sync_file_system() } else { segment.sync() } {
                Err(error) if error.kind() != io::ErrorKind::NotFound => self.distrust(&segment.path, &error),
                Err(_) => {} // deleted since: nothing to bring to disk
                Ok(()) if many => break,
                Ok(()) => {}
            }
        }
        if let Some(failure) = self.log.failures.flush() {
            return Err(failure.clone().into()); // what is known to be on disk is what the last checkpoint says
        }
        if self.is_distrusted() {
            return Err(io::Error::other("consume queues or index may not be on disk; the log says more"));
        }
        let mut saved = self.checkpoint.lock();
        let (file, checkpoint) = &mut *saved;
        let flushed = self.log.flushed();
        if flushed < drained {
            // Once more when the log has followed, though nothing more may come: what the checkpoint says is on disk is what
            // the next start takes for damaged, and not for torn, if it is wrong.
            dispatcher.unsynced.store(true, Ordering::SeqCst);
        }
        checkpoint.dispatched = drained.min(flushed);
        checkpoint.queue_timestamp = timestamp;
        checkpoint.log_timestamp = self.flusher.flushed_timestamp().max(checkpoint.log_timestamp);
        checkpoint.index_timestamp = checkpoint.index_timestamp.max(index_timestamp);
        file.save(checkpoint).map_err(|error| {
            let path = self.config.root.join("checkpoint");
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })
    }

    /// Store timestamp of the last readable record.
    pub(crate) fn published_timestamp(&self) -> i64 {
        self.dispatcher.published_timestamp.load(Ordering::Relaxed)
    }
}

impl Store {
    /// Messages that became readable since the store was opened.
    pub fn messages_arrived(&self) -> i64 {
        self.inner.dispatcher.arrived.load(Ordering::Relaxed)
    }

    /// Resolves when the queue has a readable message at a queue offset greater than or equal to `offset`,
    /// that is, when its readable end is behind `offset`. At once, if it has.
    ///
    /// Also when the topic is deleted, or the wait is [interrupted](Store::interrupt). Dropping it costs nothing.
    pub fn arrived(&self, queue: &Arc<Queue>, offset: QueueOffset) -> Arrived {
        Arrived { queue: queue.clone(), offset, waiter: None }
    }

    /// Ends the waits of all who wait now for a message of the queue: they have something else to look at.
    pub fn interrupt(&self, topic: &str, queue_id: u32) {
        if let Some(queue) = self.queue(topic, queue_id) {
            queue.interrupt();
        }
    }
}

/// See [`Store::arrived`].
#[must_use = "it waits only while it is polled"]
#[derive(Debug)]
pub struct Arrived {
    queue: Arc<Queue>,
    offset: QueueOffset,
    waiter: Option<u64>,
}

impl Future for Arrived {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.waiter = self.queue.wait(self.offset.0, self.waiter, context.waker());
        if self.waiter.is_some() { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Drop for Arrived {
    fn drop(&mut self) {
        if let Some(id) = self.waiter {
            self.queue.stop_waiting(self.offset.0, id);
        }
    }
}
