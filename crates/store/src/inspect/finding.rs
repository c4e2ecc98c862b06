//! What is found in a store, by name.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know; nothing is wrong.
    Note,
    /// It is derived from the log, and can be made again from it.
    Derived,
    /// It is the only copy: what is damaged there is lost.
    Truth,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Bytes of the log are no record, and records follow; or the log was closed in order and ends with such bytes.
    DamagedLog,
    /// A consume queue has a message whose record is not sound.
    DamagedMessage,
    /// A queue goes on, and between its messages one is missing in the log.
    MissingMessage,
    /// The record of a message that no consumer can get: its queue has another message at its queue offset.
    UnreachableMessage,
    /// A record whose topic or queue cannot be.
    StrangeRecord,
    /// A record says another queue offset than its queue.
    WrongOffset,
    /// Properties of a message that are not text.
    StrangeProperties,
    /// Where the log ends after a crash, something unfinished stands.
    TornTail,
    /// A damaged message that was replaced by an earlier repair.
    ReplacedMessage,
    /// A queue has no entry for messages of the log.
    MissingEntry,
    /// Entries of a queue are not those of its messages.
    WrongEntry,
    /// Records of topics that are gone stay in the log until their files are deleted.
    DeletedTopic,
    /// There is no index.
    NoIndex,
    /// Messages are not found by their keys.
    MissingKey,
    /// The index points to records that have not the key.
    WrongKey,
    /// Numbers in an index file do not agree with its entries.
    BrokenIndex,
    /// A table cannot be read, but its last good state can.
    BrokenTable,
    /// A table cannot be read, nor can its last good state.
    LostTable,
    /// A table is not there, nor its last good state, though there are messages.
    GoneTable,
    /// There is no checkpoint, or it says more than there is.
    Checkpoint,
    /// A file has another size than it must have.
    WrongSize,
    /// A file does not belong where it is.
    ForeignFile,
    /// A topic is kept in a way that CometMQ does not read.
    BatchQueue,
    /// A file cannot be read.
    Unreadable,
}

impl Kind {
    /// How bad it is, unless it depends on the file.
    pub fn severity(self) -> Severity {
        match self {
            Kind::DamagedLog
            | Kind::DamagedMessage
            | Kind::MissingMessage
            | Kind::UnreachableMessage
            | Kind::StrangeRecord
            | Kind::LostTable
            | Kind::Unreadable => Severity::Truth,
            Kind::StrangeProperties
            | Kind::TornTail
            | Kind::ReplacedMessage
            | Kind::DeletedTopic
            | Kind::NoIndex
            | Kind::GoneTable
            | Kind::BatchQueue => Severity::Note,
            Kind::MissingEntry
            | Kind::WrongOffset
            | Kind::WrongEntry
            | Kind::MissingKey
            | Kind::WrongKey
            | Kind::BrokenIndex
            | Kind::BrokenTable
            | Kind::Checkpoint
            | Kind::WrongSize
            | Kind::ForeignFile => Severity::Derived,
        }
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// How bad it is.
    pub severity: Severity,
    /// Topic of the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Queue of the topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_id: Option<u32>,
    /// The first queue offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_offset: Option<i64>,
    /// How many: messages, entries, keys.
    pub count: u64,
    /// The first byte of the commit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_log_offset: Option<i64>,
    /// Bytes of the commit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// The file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Byte of that file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// What exactly is wrong.
    pub reason: String,
}

impl Finding {
    /// Of a kind, without a place yet.
    pub(crate) fn new(kind: Kind, reason: impl Into<String>) -> Finding {
        Finding {
            kind,
            severity: kind.severity(),
            topic: None,
            queue_id: None,
            queue_offset: None,
            count: 1,
            commit_log_offset: None,
            bytes: None,
            file: None,
            position: None,
            reason: reason.into(),
        }
    }

    pub(crate) fn in_queue(mut self, topic: &str, queue_id: u32, queue_offset: i64) -> Finding {
        (self.topic, self.queue_id) = (Some(topic.to_owned()), Some(queue_id));
        self.queue_offset = Some(queue_offset);
        self
    }

    pub(crate) fn in_file(mut self, file: impl Into<PathBuf>, position: impl Into<Option<u64>>) -> Finding {
        (self.file, self.position) = (Some(file.into()), position.into());
        self
    }

    pub(crate) fn at(mut self, at: i64) -> Finding {
        self.commit_log_offset = Some(at);
        self
    }
}

/// Its name, as programs read it: `damaged-message`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Where it is, and what is wrong: one line for people and logs.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        let mut mark = ": ";
        let mut part = |f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>| {
            f.write_str(std::mem::replace(&mut mark, ", "))?;
            f.write_fmt(text)
        };
        if let Some(topic) = &self.topic {
            part(f, format_args!("topic `{topic}`"))?;
        }
        if let Some(queue_id) = self.queue_id {
            part(f, format_args!("queue {queue_id}"))?;
        }
        if let Some(offset) = self.queue_offset {
            match self.count {
                0 | 1 => part(f, format_args!("offset {offset}"))?,
                count => part(f, format_args!("offsets {offset} to {}", offset + count as i64 - 1))?,
            }
        } else if self.count > 1 {
            part(f, format_args!("{} times", self.count))?;
        }
        if let Some(at) = self.commit_log_offset {
            part(f, format_args!("commit log {at}"))?;
        }
        if let Some(bytes) = self.bytes {
            part(f, format_args!("{bytes} bytes"))?;
        }
        if let Some(file) = &self.file {
            part(f, format_args!("{}", file.display()))?;
        }
        if let Some(position) = self.position {
            part(f, format_args!("byte {position}"))?;
        }
        write!(f, ": {}", self.reason)
    }
}
