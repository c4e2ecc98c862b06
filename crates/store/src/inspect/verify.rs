//! Holds all files of a store against each other.
//!
//! 1. files that do not fit, checkpoint, tables
//! 2. the log, once, in its order: every record is held against its entry in its queue, and against the index, whose
//!    entries lie in the order of the log, too
//! 3. what is left of each queue: entries that no record of the log claimed
//!
//! Memory is needed per queue and per finding, not per message. What is written behind, and may be lost by a crash, is
//! only missed where the checkpoint says that it is on disk.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::json;
use protocol::message::JavaHash;
use protocol::record::Record;

use super::finding::{Finding, Kind};
use super::index::IndexStream;
use super::summary::for_entries;
use super::walk::{Piece, Stretch};
use super::{Directory, Misfit, State};
use crate::consume_queue::{ENTRY_LEN, Entry, GAP_MAX};
use crate::dispatch::{Keys, SCHEDULE_TOPIC};
use crate::get::{is_extended, read_record};
use crate::lost::{self, Lost};
use crate::put::{is_queued, is_storable_topic};
use crate::recover::TIMESTAMP_SLACK;
use crate::retention::{RESERVE_BYTES, RESERVE_TIME};
use crate::segment::{Segment, Segments};

/// Entries of a queue that are read at a time.
const BLOCK: usize = 64;

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the log that were looked at.
    pub done: u64,
    /// Bytes of the log, as far as there is something.
    pub total: u64,
    /// Records that were looked at.
    pub records: u64,
}

/// What came out.
#[derive(Debug, Default)]
pub struct Verified {
    /// How far it went.
    pub progress: Progress,
    /// Findings that are more than notes.
    pub findings: u64,
    /// Bytes of the log that are no records, with what points to them.
    pub(crate) damages: Vec<Damaged>,
    /// Records, by their place, that have another queue offset than they say.
    pub(crate) offsets: Vec<(i64, i64)>,
    /// Queues whose entries are wrong or missing, and the commit log offset from which on their records count.
    pub(crate) queues: BTreeMap<(String, u32), i64>,
    /// The index does not fit the log.
    pub(crate) index_broken: bool,
    /// First byte behind the last record.
    pub(crate) end: i64,
    /// Store timestamp of the last record.
    pub(crate) last_timestamp: i64,
    /// Files of tables, and whether their `.bak` is good.
    pub(crate) tables: Vec<(PathBuf, bool)>,
    /// The checkpoint is of no use.
    pub(crate) checkpoint_broken: bool,
}

/// Tables that every broker keeps.
const TABLES: [&str; 4] = ["topics.json", "subscriptionGroup.json", "consumerOffset.json", "delayOffset.json"];

/// A stretch of the log, and the messages that were there.
#[derive(Clone, Debug)]
pub(crate) struct Damaged {
    pub stretch: Stretch,
    /// Store timestamp of the record before.
    pub timestamp: i64,
    /// With place and size of their records, in no order.
    pub messages: Vec<(Lost, i64, i32)>,
}

impl Directory {
    /// Looks at everything. `found` is given each finding, `progress` is called every few megabytes.
    pub fn verify(&self, found: &mut dyn FnMut(&Finding), progress: &mut dyn FnMut(&Progress)) -> Verified {
        let total = self.log.all().iter().map(data_len).sum();
        let mut check = Check {
            directory: self,
            found,
            verified: Verified { progress: Progress { total, ..Progress::default() }, ..Verified::default() },
            queues: BTreeMap::new(),
            gone: BTreeMap::new(),
            known_topics: self.known_topics(),
        };
        check.files();
        check.tables();
        check.log(progress);
        check.rest_of_queues();
        check.checkpoint();
        check.verified
    }

    /// Topics of `config/topics.json`, and whether they have limits of their own; `None` if that cannot be told.
    fn known_topics(&self) -> Option<BTreeMap<String, bool>> {
        let table = fs::read(self.config.root.join("config").join("topics.json")).ok()?;
        let table: serde_json::Value = json::read(&table).ok()?;
        let limited = |topic: &serde_json::Value| {
            let attributes = topic.get("attributes").and_then(|attributes| attributes.as_object());
            attributes.is_some_and(|it| it.contains_key(RESERVE_TIME) || it.contains_key(RESERVE_BYTES))
        };
        let topics = table.get("topicConfigTable")?.as_object()?;
        Some(topics.iter().map(|(name, topic)| (name.clone(), limited(topic))).collect())
    }

    /// Must queues and index have this record, as the store was left?
    fn is_settled(&self, record: &Record<'_>) -> bool {
        match (self.state, &self.checkpoint) {
            (State::Clean, _) => true,
            (_, None) => false,
            (_, Some(checkpoint)) if checkpoint.dispatched > 0 => record.commit_log_offset.0 < checkpoint.dispatched,
            (_, Some(checkpoint)) => {
                record.store_timestamp < checkpoint.log_timestamp.min(checkpoint.queue_timestamp) - TIMESTAMP_SLACK
            }
        }
    }
}

fn data_len(segment: &Arc<Segment>) -> u64 {
    let mut end = 0;
    while let Ok(Some(data)) = segment.next_data(end) {
        end = data.end;
    }
    end
}

/// Entries of a queue that follow one another and have the same wrong.
#[derive(Debug)]
struct Run {
    kind: Kind,
    first: i64,
    count: i64,
    /// Commit log offset of the first one's record.
    at: i64,
    reason: String,
}

/// One queue, on the way through the log.
struct QueueCheck<'a> {
    files: Option<&'a Segments>,
    topic_hash: JavaHash,
    /// Queue offset of the first record that counts, and behind the last.
    first: i64,
    next: i64,
    /// Commit log offset of the first record that counts.
    since: i64,
    runs: Vec<Run>,
    block_from: i64,
    block: Vec<Entry>,
}

impl QueueCheck<'_> {
    fn entry(&mut self, offset: i64) -> io::Result<Option<Entry>> {
        let n = offset.saturating_sub(self.block_from);
        if n < 0 || n >= self.block.len() as i64 {
            self.block.clear();
            self.block_from = offset;
            if let Some(files) = self.files {
                let block = &mut self.block;
                // Entries behind a file that is missing are not those of this offset.
                for_entries(files, offset, offset.saturating_add(BLOCK as i64), &mut |at, entry| {
                    if at - offset == block.len() as i64 {
                        block.push(entry);
                    }
                })?;
            }
        }
        Ok(self.block.get((offset - self.block_from) as usize).copied())
    }

    fn wrong(&mut self, kind: Kind, offset: i64, at: i64, reason: impl FnOnce() -> String) {
        match self.runs.last_mut() {
            Some(run) if run.kind == kind && run.first.saturating_add(run.count) == offset => run.count += 1,
            _ => self.runs.push(Run { kind, first: offset, count: 1, at, reason: reason() }),
        }
    }
}

struct Check<'a, 'f> {
    directory: &'a Directory,
    found: &'f mut dyn FnMut(&Finding),
    verified: Verified,
    queues: BTreeMap<String, BTreeMap<u32, QueueCheck<'a>>>,
    /// Records of topics that are gone.
    gone: BTreeMap<String, u64>,
    known_topics: Option<BTreeMap<String, bool>>,
}

impl<'a> Check<'a, '_> {
    fn found(&mut self, finding: Finding) {
        use super::finding::Severity;
        self.verified.findings += u64::from(finding.severity > Severity::Note);
        (self.found)(&finding);
    }

    fn files(&mut self) {
        let directory = self.directory;
        let log_dir = directory.config.commit_log_dir();
        let queue_dir = directory.config.consume_queue_dir();
        for misfit in &directory.misfits {
            let path = misfit.path().to_owned();
            let mut finding = match misfit {
                Misfit::Name(_) => Finding::new(Kind::ForeignFile, "its name is none of a file there"),
                Misfit::Size { size, expected, .. } => {
                    Finding::new(Kind::WrongSize, format!("it has {size} bytes, {expected} are right"))
                }
            };
            if matches!(misfit, Misfit::Size { .. }) {
                if path.starts_with(&log_dir) {
                    finding.severity = super::finding::Severity::Truth;
                } else if let Some(queue) = queue_of(&path, &queue_dir) {
                    self.verified.queues.entry(queue).or_insert(i64::MIN);
                } else {
                    self.verified.index_broken = true;
                }
            }
            self.found(finding.in_file(path, None));
        }
        for topic in &directory.batch_topics {
            let finding = Finding::new(Kind::BatchQueue, "CometMQ does not start on a store with queue.type=BatchCQ");
            self.found(Finding { topic: Some(topic.clone()), ..finding });
        }
    }

    fn tables(&mut self) {
        let dir = self.directory.config.root.join("config");
        // While someone saves it, it is not there for a moment.
        let at_rest = !matches!(self.directory.state, State::InUse { .. });
        let has_messages = self.directory.log.all().iter().any(|segment| data_len(segment) > 0);
        for name in TABLES.iter().filter(|_| at_rest && has_messages) {
            let path = dir.join(name);
            if !path.exists() && !dir.join(format!("{name}.bak")).exists() {
                let reason = "it is not there, though there are messages";
                self.found(Finding::new(Kind::GoneTable, reason).in_file(path, None));
            }
        }
        let Ok(entries) = fs::read_dir(&dir) else { return };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .map(|name| name.strip_suffix(".bak").map(str::to_owned).unwrap_or(name))
            .filter(|name| name.ends_with(".json"))
            .collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let read = |path: PathBuf| -> Result<(), String> {
                let bytes = fs::read(&path).map_err(|error| error.to_string())?;
                if bytes.is_empty() {
                    return Err("it is empty".to_owned());
                }
                json::read::<serde_json::Value>(&bytes).map(drop).map_err(|error| error.to_string())
            };
            let path = dir.join(&name);
            // Between two renames of a save it is missing.
            let in_use = matches!(self.directory.state, State::InUse { .. });
            let Err(reason) = read(path.clone()) else { continue };
            if in_use && (!path.exists() || read(path.clone()).is_ok()) {
                continue;
            }
            let last_good = read(dir.join(format!("{name}.bak"))).is_ok();
            let kind = if last_good { Kind::BrokenTable } else { Kind::LostTable };
            self.verified.tables.push((path.clone(), last_good));
            self.found(Finding::new(kind, reason).in_file(path, None));
        }
    }

    fn log(&mut self, progress: &mut dyn FnMut(&Progress)) {
        let directory = self.directory;
        let mut index = IndexStream::new(directory);
        if !directory.index_sizes_known {
            let reason = "maxHashSlotNum and maxIndexNum cannot be told from its files: give the settings (-c)";
            self.found(Finding::new(Kind::NoIndex, format!("not looked at: {reason}")));
        } else if directory.index.is_empty() && directory.config.index_enabled {
            self.found(Finding::new(Kind::NoIndex, "there is none; the next start of CometMQ makes it from the log"));
        }
        let mut next_report = 0;
        let log_min = directory.log_min();
        let end = directory.walk_from(log_min, &mut |piece| {
            match piece {
                Piece::Damaged(stretch) => {
                    index.damaged(stretch.at.0, stretch.end.0);
                    self.damaged(stretch.clone());
                }
                Piece::Record { record, file, position } => {
                    self.verified.progress.records += 1;
                    let hashes = self.record(record, || Finding::new(Kind::StrangeRecord, "").in_file(file, position));
                    let settled = directory.is_settled(record);
                    index.record(record.commit_log_offset.0, hashes, settled);
                    self.verified.last_timestamp = record.store_timestamp.max(self.verified.last_timestamp);
                    if let Some(first) = self.verified.damages.last_mut().filter(|damaged| damaged.timestamp == 0) {
                        first.timestamp = record.store_timestamp;
                    }
                    self.properties(record, file, position);
                    let done = record.commit_log_offset.0 - log_min + record.bytes.len() as i64;
                    if done >= next_report {
                        next_report = done + (4 << 20);
                        self.verified.progress.done = (done as u64).min(self.verified.progress.total);
                        progress(&self.verified.progress);
                    }
                }
            }
            ControlFlow::Continue(())
        });
        if let Some(end) = end {
            self.verified.end = end.at;
            if let Some(rest) = end.rest {
                match directory.state {
                    State::Clean => {
                        index.damaged(rest.at.0, rest.end.0);
                        self.damaged(rest);
                    }
                    State::Crashed => {
                        let reason = format!("the next start ends the log here ({})", rest.reason);
                        let torn = Finding::new(Kind::TornTail, reason).at(end.at);
                        self.found(torn.in_file(rest.file, rest.position));
                    }
                    State::InUse { .. } => {}
                }
            }
        }
        self.verified.progress.done = self.verified.progress.total;
        progress(&self.verified.progress);
        for finding in index.finish(self.verified.end) {
            self.verified.index_broken = true;
            self.found(finding);
        }
    }

    fn damaged(&mut self, stretch: Stretch) {
        let mut finding = Finding::new(Kind::DamagedLog, stretch.reason.clone()).at(stretch.at.0);
        finding.bytes = Some(stretch.end.0 - stretch.at.0);
        self.found(finding.in_file(&stretch.file, stretch.position));
        let timestamp = self.verified.last_timestamp;
        self.verified.damages.push(Damaged { stretch, timestamp, messages: Vec::new() });
    }

    /// No checksum covers properties.
    fn properties(&mut self, record: &Record<'_>, file: &Path, position: u64) {
        if std::str::from_utf8(record.properties).is_err() || record.properties.contains(&0) {
            let reason = "its properties are not UTF-8: they were damaged, or sent so";
            let finding = Finding::new(Kind::StrangeProperties, reason).at(record.commit_log_offset.0);
            let queue_id = u32::try_from(record.queue_id).unwrap_or(0);
            self.found(finding.in_queue(record.topic, queue_id, record.queue_offset.0).in_file(file, position));
        }
    }

    /// Holds a record against its queue. Says under which hashes the index must have it, and under which it may.
    fn record(&mut self, record: &Record<'_>, strange: impl FnOnce() -> Finding) -> Hashes {
        let directory = self.directory;
        let at = record.commit_log_offset.0;
        if let Some(lost) = lost::of(record) {
            let finding = Finding::new(Kind::ReplacedMessage, lost::REASON).at(at);
            self.found(finding.in_queue(&lost.topic, lost.queue_id, lost.queue_offset));
            let entry = Entry { at, size: record.bytes.len() as i32, tags_code: i64::MIN };
            if is_storable_topic(&lost.topic) {
                self.hold_against_queue(&lost.topic, lost.queue_id, lost.queue_offset, entry, record);
            }
        }
        if lost::is_lost(record) {
            return Hashes { any: true, ..Hashes::default() };
        }
        let Some(queue_id) = u32::try_from(record.queue_id).ok().filter(|_| is_storable_topic(record.topic)) else {
            let reason = format!("topic `{}` queue {} cannot be", record.topic.escape_debug(), record.queue_id);
            self.found(Finding { reason, ..strange().at(at) });
            return Hashes::default();
        };
        let topic_hash = self.queue(record.topic, queue_id).topic_hash;
        let keys = Keys::derive(&directory.config, record.topic, topic_hash, record.sys_flag, record.properties);
        let no_tags = JavaHash::new().update(record.topic).update("#T#");
        let tags = record.properties().get(protocol::message::property::TAGS);
        // Only Apache 5.5 and CometMQ enter tags.
        let optional = tags.map(|tags| crate::dispatch::index_hash(no_tags.update(tags)));
        if is_queued(record.sys_flag) {
            let tags_code = match record.topic {
                // When it is due depends on what its level meant when it was stored.
                SCHEDULE_TOPIC => i64::MIN,
                _ => keys.tags_code(record.store_timestamp),
            };
            let entry = Entry { at, size: record.bytes.len() as i32, tags_code };
            self.hold_against_queue(record.topic, queue_id, record.queue_offset.0, entry, record);
        }
        match directory.is_deleted(record.topic, at) {
            true => Hashes { any: true, ..Hashes::default() },
            false => Hashes { all: keys.hashes().to_vec(), optional, any: false },
        }
    }

    fn queue(&mut self, topic: &str, queue_id: u32) -> &mut QueueCheck<'a> {
        if !self.queues.contains_key(topic) {
            self.queues.insert(topic.to_owned(), BTreeMap::new());
        }
        let files = || self.directory.queues.get(&(topic.to_owned(), queue_id));
        let queues = self.queues.entry(topic.to_owned()).or_default();
        queues.entry(queue_id).or_insert_with(|| QueueCheck {
            files: files(),
            topic_hash: JavaHash::new().update(topic).update("#"),
            first: -1,
            next: -1,
            since: i64::MIN,
            runs: Vec::new(),
            block_from: 0,
            block: Vec::new(),
        })
    }

    /// `expected` is the entry that the record should have; a tags code of `i64::MIN` is not compared.
    fn hold_against_queue(&mut self, topic: &str, queue_id: u32, offset: i64, expected: Entry, record: &Record<'_>) {
        let directory = self.directory;
        let known = self.known_topics.as_ref().is_none_or(|known| known.contains_key(topic));
        let limited = self.known_topics.as_ref().and_then(|known| known.get(topic)).is_some_and(|limited| *limited);
        let deleted = directory.is_deleted(topic, expected.at);
        let queue = self.queue(topic, queue_id);
        if deleted || queue.files.is_none() && !known {
            *self.gone.entry(topic.to_owned()).or_default() += 1;
            return;
        }
        let at = expected.at;
        let entry = match queue.entry(offset) {
            Ok(entry) => entry.filter(Entry::is_there),
            Err(error) => {
                let reason = format!("its entries from {offset} on cannot be read: {error}");
                let finding = Finding::new(Kind::Unreadable, reason).in_queue(topic, queue_id, offset);
                queue.next = offset.saturating_add(1);
                self.found(finding);
                return;
            }
        };
        let matches = entry.is_some_and(|entry| {
            entry.at == at
                && entry.size == expected.size
                && (expected.tags_code == i64::MIN
                    || is_extended(entry.tags_code)
                    || entry.tags_code == expected.tags_code)
        });
        // No checksum covers the queue offset in a record. Where the queue and the record before agree on another, they count.
        if !matches && queue.first >= 0 && offset != queue.next {
            let next = queue.next;
            let its = queue.entry(next).ok().flatten();
            if its.is_some_and(|entry| entry.at == at && entry.size == expected.size) {
                queue.next = next.saturating_add(1);
                let reason = format!("it says that it is message {offset}, and stands in its queue as {next}");
                self.verified.offsets.push((at, next));
                self.found(Finding::new(Kind::WrongOffset, reason).in_queue(topic, queue_id, next).at(at));
                return;
            }
        }
        // The topic was deleted and made again: its queues began anew, and what was before does not count.
        let newer = |entry: Entry| entry.at > at && directory.is_message(&entry, topic, queue_id, offset);
        let superseded = !matches && entry.is_some_and(newer);
        if queue.first < 0 {
            (queue.first, queue.next) = (offset, offset);
        } else if offset < queue.next {
            if !matches && !superseded {
                let reason = "another message of the queue has its queue offset".to_owned();
                self.found(Finding::new(Kind::UnreachableMessage, reason).in_queue(topic, queue_id, offset).at(at));
                return;
            }
            queue.runs.clear();
            (queue.first, queue.next, queue.since) = (offset, offset, at);
        }
        let gap = queue.next..offset;
        if !matches && gap.end - gap.start > GAP_MAX {
            let reason = format!("it says it has offset {offset} in its queue, behind {}", gap.start);
            self.found(Finding::new(Kind::StrangeRecord, reason).in_queue(topic, queue_id, offset).at(at));
            return;
        }
        if !matches && !superseded {
            let first = queue.files.and_then(Segments::first).map_or(0, |first| first.base / ENTRY_LEN as i64);
            match entry {
                // Its time was over before that of the log.
                None if limited && offset < first => {}
                None if directory.is_settled(record) => {
                    queue.wrong(Kind::MissingEntry, offset, at, || "the log has the message, the queue not".to_owned());
                }
                None => {}
                Some(entry) => queue.wrong(Kind::WrongEntry, offset, at, || {
                    format!(
                        "the queue says {} bytes at {} with tags code {}, the message has {} bytes at {at} with tags \
                         code {}",
                        entry.size,
                        entry.at,
                        entry.tags_code,
                        expected.size,
                        keys_code(expected.tags_code),
                    )
                }),
            }
        }
        queue.next = offset.saturating_add(1);
        if !gap.is_empty() {
            self.unclaimed(topic, queue_id, gap, true);
        }
    }

    /// Looks at entries that no record claimed. In a `gap` each offset should have one.
    fn unclaimed(&mut self, topic: &str, queue_id: u32, offsets: std::ops::Range<i64>, gap: bool) {
        let Some(files) = self.directory.queues.get(&(topic.to_owned(), queue_id)) else { return };
        let (log_min, end) = (self.directory.log_min(), self.verified.end);
        let clean = self.directory.state == State::Clean;
        let mut found = Vec::new();
        let mut runs: Vec<Run> = Vec::new();
        let mut wrong = |kind: Kind, offset: i64, at: i64, reason: &str| match runs.last_mut() {
            Some(run) if run.kind == kind && run.first.saturating_add(run.count) == offset => run.count += 1,
            _ => runs.push(Run { kind, first: offset, count: 1, at, reason: reason.to_owned() }),
        };
        let damages = &mut self.verified.damages;
        let directory = self.directory;
        let read = for_entries(files, offsets.start, offsets.end, &mut |offset, entry| {
            if gap && entry.is_lost() {
                return wrong(Kind::ReplacedMessage, offset, -1, "nothing of it is left, and consumers pass on");
            }
            if !entry.is_there() || !entry.has_message() || entry.at < log_min {
                if gap && (!entry.is_there() || entry.at >= log_min) {
                    wrong(Kind::MissingMessage, offset, -1, "the log has no record of it");
                }
                return;
            }
            let n = damages.partition_point(|damage| damage.stretch.end.0 <= entry.at);
            if let Some(damage) = damages.get_mut(n).filter(|damage| damage.stretch.at.0 <= entry.at) {
                let lost = Lost { topic: topic.to_owned(), queue_id, queue_offset: offset };
                damage.messages.push((lost, entry.at, entry.size));
                let place = directory.log_files().stretch(entry.at, entry.at, String::new());
                let finding = Finding::new(Kind::DamagedMessage, damage.stretch.reason.clone()).at(entry.at);
                found.push(finding.in_queue(topic, queue_id, offset).in_file(place.file, place.position));
            } else if !gap && entry.at >= end {
                if clean {
                    wrong(Kind::MissingMessage, offset, entry.at, "the queue has it, the log ends before it");
                }
            } else if gap && directory.is_replaced(&entry) {
                wrong(Kind::ReplacedMessage, offset, entry.at, lost::REASON);
            } else if !directory.is_light(topic, &entry) {
                wrong(Kind::WrongEntry, offset, entry.at, "the queue points to a place where no message of it begins");
            }
        });
        if let Err(error) = read {
            let reason = format!("its entries cannot be read: {error}");
            found.push(Finding::new(Kind::Unreadable, reason).in_queue(topic, queue_id, offsets.start));
        }
        found.into_iter().for_each(|finding| self.found(finding));
        self.runs(topic, queue_id, runs);
    }

    fn runs(&mut self, topic: &str, queue_id: u32, runs: Vec<Run>) {
        for Run { kind, first, count, at, reason } in runs {
            // What the log has lost without a trace: at its end, the queue goes on where the log does; elsewhere, it gets
            // entries that say so.
            if matches!(kind, Kind::MissingEntry | Kind::WrongEntry | Kind::MissingMessage) {
                self.verified.queues.insert((topic.to_owned(), queue_id), i64::MIN);
            }
            let finding = Finding::new(kind, reason).in_queue(topic, queue_id, first);
            let commit_log_offset = (at >= 0).then_some(at);
            self.found(Finding { count: count as u64, commit_log_offset, ..finding });
        }
    }

    fn rest_of_queues(&mut self) {
        let directory = self.directory;
        for (key, files) in &directory.queues {
            let (topic, queue_id) = key;
            let entries_end = files.last().map_or(0, |last| last.end() / ENTRY_LEN as i64);
            let begin = files.first().map_or(0, |first| first.base / ENTRY_LEN as i64);
            let queue = self.queue(topic, *queue_id);
            let (first, next, runs) = (queue.first, queue.next, std::mem::take(&mut queue.runs));
            // Most of a file was never written.
            let data_end = files.last().map_or(entries_end, |last| {
                ((last.base + data_len(&last) as i64) / ENTRY_LEN as i64 + 1).min(entries_end)
            });
            if first < 0 {
                self.unclaimed(topic, *queue_id, begin..data_end, false);
            } else {
                self.unclaimed(topic, *queue_id, begin..first, false);
                self.unclaimed(topic, *queue_id, next..data_end, false);
            }
            self.runs(topic, *queue_id, runs);
        }
        // Queues without a directory.
        let mut without = Vec::new();
        for (topic, queues) in &mut self.queues {
            for (queue_id, queue) in queues.iter_mut().filter(|(_, queue)| queue.files.is_none()) {
                without.push((topic.clone(), *queue_id, std::mem::take(&mut queue.runs)));
            }
        }
        without.into_iter().for_each(|(topic, queue_id, runs)| self.runs(&topic, queue_id, runs));
        for ((topic, queue_id), since) in &mut self.verified.queues {
            if let Some(queue) = self.queues.get(topic).and_then(|queues| queues.get(queue_id)) {
                *since = queue.since;
            }
        }
        for (topic, count) in std::mem::take(&mut self.gone) {
            let reason = "records of a deleted topic stay until their files of the log are deleted";
            let finding = Finding::new(Kind::DeletedTopic, reason);
            self.found(Finding { topic: Some(topic), count, ..finding });
        }
    }

    fn checkpoint(&mut self) {
        let directory = self.directory;
        let path = directory.config.root.join("checkpoint");
        // Of what is damaged at the end of the log, it speaks rightly.
        let messages =
            |damaged: &Damaged| damaged.messages.iter().map(|(_, at, len)| at.saturating_add((*len).into())).max();
        let last = self.verified.damages.last();
        let damaged_end = last.map_or(0, |last| messages(last).unwrap_or(0).max(last.stretch.end.0));
        let reason = match (&directory.checkpoint, directory.state) {
            (_, State::InUse { .. }) => return,
            (None, _) if path.exists() => "it is too short".to_owned(),
            (None, State::Crashed) => "there is none: the next start reads the whole log".to_owned(),
            (Some(checkpoint), _) if checkpoint.dispatched > self.verified.end.max(damaged_end) => {
                format!("it says that the log goes to {}, but it ends at {}", checkpoint.dispatched, self.verified.end)
            }
            _ => return,
        };
        self.verified.checkpoint_broken = path.exists();
        self.found(Finding::new(Kind::Checkpoint, reason).in_file(path, None));
    }
}

/// Under what the index knows a record.
#[derive(Clone, Debug, Default)]
pub(super) struct Hashes {
    /// All of them.
    pub all: Vec<u32>,
    /// One of them that may be missing.
    pub optional: Option<u32>,
    /// The record stands where another stood, and any may be left of that.
    pub any: bool,
}

fn keys_code(code: i64) -> String {
    if code == i64::MIN { "any".to_owned() } else { code.to_string() }
}

fn queue_of(path: &Path, queue_dir: &Path) -> Option<(String, u32)> {
    let mut parts = path.strip_prefix(queue_dir).ok()?.components();
    let topic = parts.next()?.as_os_str().to_str()?.to_owned();
    Some((topic, parts.next()?.as_os_str().to_str()?.parse().ok()?))
}

impl Directory {
    /// Does an entry point to a sound record of this very message?
    fn is_message(&self, entry: &Entry, topic: &str, queue_id: u32, offset: i64) -> bool {
        self.with_record(entry, |record| {
            record.topic == topic && record.queue_id == queue_id as i32 && record.queue_offset.0 == offset
        })
    }

    /// Is it an entry of a light queue, which points to a sound record of another topic?
    fn is_light(&self, topic: &str, entry: &Entry) -> bool {
        topic.starts_with("%LMQ%") && self.with_record(entry, |_| true)
    }

    /// Does an entry point to a record that stands where damaged ones stood?
    fn is_replaced(&self, entry: &Entry) -> bool {
        self.with_record(entry, lost::is_lost)
    }

    fn with_record(&self, entry: &Entry, is: impl FnOnce(&Record<'_>) -> bool) -> bool {
        let Some(segment) = self.log.holding(entry.at) else { return false };
        let Ok(bytes) = read_record(&segment, (entry.at - segment.base) as u64, entry.at) else { return false };
        bytes.len() as i64 == i64::from(entry.size) && Record::parse(&bytes).is_ok_and(|record| is(&record))
    }
}
