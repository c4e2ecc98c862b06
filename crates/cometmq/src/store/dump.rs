//! `cometmq store dump`: the records of a store, one JSON object a line.

use super::{Place, StoreError};
use crate::output::{base64, iso_time};
use bytes::Bytes;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use protocol::message::{CommitLogOffset, KEY_SEPARATOR, SysFlag, TransactionType, offset_message_id, property};
use protocol::record::Record;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::process::ExitCode;
use store::inspect::{Piece, Stretch};

/// Write records as JSON, one a line, in the order of the commit log. Damaged stretches of the log are lines, too.
///
/// Half messages and other records that no queue has are there as well. A compressed body is unpacked; one that is no
/// UTF-8 goes into bodyBase64.
#[derive(Debug, clap::Args)]
pub struct DumpArgs {
    #[command(flatten)]
    place: Place,
    /// Only records of this topic
    #[arg(short, long)]
    topic: Option<String>,
    /// Only records of this queue
    #[arg(short, long, value_name = "N")]
    queue: Option<i32>,
    /// Only messages with this key, or this unique key
    #[arg(short, long)]
    key: Option<String>,
    /// Only messages with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Only records stored then or later: 2026-11-21, 2026-11-21T13:05 (local time), with Z or offset, or ms since 1970
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<i64>,
    /// Only records stored before
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<i64>,
    /// Only these queue offsets: 5, 5.., 5..10 (without 10)
    #[arg(long, value_name = "RANGE", value_parser = range)]
    offset: Option<Range<i64>>,
    /// Only records that begin at these bytes of the commit log
    #[arg(long, value_name = "RANGE", value_parser = range)]
    log_offset: Option<Range<i64>>,
    /// End after so many lines
    #[arg(short, long, value_name = "N")]
    limit: Option<u64>,
    /// Without bodies
    #[arg(long)]
    no_body: bool,
}

/// Writes them.
pub fn run(args: &DumpArgs) -> Result<ExitCode, StoreError> {
    let directory = args.place.look()?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let range = args.log_offset.clone().unwrap_or(0..i64::MAX);
    let mut left = args.limit.unwrap_or(u64::MAX);
    directory.walk(CommitLogOffset(range.start), &mut |piece| {
        let line = match piece {
            _ if left == 0 => return ControlFlow::Break(()),
            Piece::Record { record, .. } if record.commit_log_offset.0 >= range.end => return ControlFlow::Break(()),
            Piece::Damaged(stretch) if stretch.at.0 >= range.end => return ControlFlow::Break(()),
            Piece::Damaged(stretch) => serde_json::to_string(&Damaged::new(stretch)),
            Piece::Record { record, file, position } if args.wants(record) => {
                serde_json::to_string(&Line::new(record, file, position, !args.no_body))
            }
            Piece::Record { .. } => return ControlFlow::Continue(()),
        };
        left -= 1;
        // Whoever read it may have gone.
        match writeln!(out, "{}", line.unwrap_or_default()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    let _ = out.flush();
    Ok(ExitCode::SUCCESS)
}

impl DumpArgs {
    fn wants(&self, record: &Record<'_>) -> bool {
        let stored = record.store_timestamp;
        self.topic.as_ref().is_none_or(|topic| record.topic == topic)
            && self.queue.is_none_or(|queue| record.queue_id == queue)
            && self.offset.as_ref().is_none_or(|range| range.contains(&record.queue_offset.0))
            && self.from.is_none_or(|from| stored >= from)
            && self.to.is_none_or(|to| stored < to)
            && self.tag.as_ref().is_none_or(|tag| record.properties().get(property::TAGS) == Some(tag))
            && self.key.as_ref().is_none_or(|key| carries(record, key))
    }
}

fn carries(record: &Record<'_>, key: &str) -> bool {
    let properties = record.properties();
    properties.get(property::UNIQ_KEY) == Some(key)
        || properties.get(property::KEYS).is_some_and(|keys| keys.split(KEY_SEPARATOR).any(|one| one == key))
}

/// A time in ms since 1970.
fn time(text: &str) -> Result<i64, String> {
    if let Ok(millis) = text.parse::<i64>() {
        return Ok(millis);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    let local = text.parse::<DateTime>().ok().and_then(|time| time.to_zoned(TimeZone::system()).ok());
    local.map(|time| time.timestamp().as_millisecond()).ok_or_else(|| {
        "a time is wanted: 2026-11-21, 2026-11-21T13:05:43, 2026-11-21T13:05:43Z or ms since 1970".to_owned()
    })
}

/// `5`, `5..`, `5..10`, `..10`.
fn range(text: &str) -> Result<Range<i64>, String> {
    let wrong = |_| "a range is wanted: 5, 5.., ..10 or 5..10".to_owned();
    let number = |text: &str, default: i64| if text.is_empty() { Ok(default) } else { text.parse().map_err(wrong) };
    match text.split_once("..") {
        Some((from, to)) => Ok(number(from, 0)?..number(to, i64::MAX)?),
        None => text.parse::<i64>().map(|one| one..one.saturating_add(1)).map_err(wrong),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    topic: &'a str,
    queue_id: i32,
    queue_offset: i64,
    commit_log_offset: i64,
    size: usize,
    file: &'a Path,
    position: u64,
    msg_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uniq_key: Option<&'a str>,
    store_timestamp: i64,
    store_time: Option<String>,
    born_timestamp: i64,
    born_time: Option<String>,
    born_host: String,
    store_host: String,
    sys_flag: i32,
    flag: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<&'a str>,
    properties: BTreeMap<&'a str, &'a str>,
    reconsume_times: i32,
    /// Of the half message.
    prepared_transaction_offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<&'static str>,
    /// Bytes of the body as it is stored.
    body_size: usize,
    body_crc: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// Why a body that says it is compressed is shown as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_error: Option<String>,
}

impl<'a> Line<'a> {
    fn new(record: &'a Record<'a>, file: &'a Path, position: u64, with_body: bool) -> Line<'a> {
        let properties = record.properties();
        let (mut body, mut body_base64, mut body_error) = (None, None, None);
        if with_body {
            let stored = Bytes::copy_from_slice(record.body);
            let unpacked = protocol::body::unpack(stored.clone(), record.sys_flag).unwrap_or_else(|error| {
                body_error = Some(error.to_string());
                stored
            });
            match String::from_utf8(unpacked.into()) {
                Ok(text) => body = Some(text),
                Err(bytes) => body_base64 = Some(base64(bytes.as_bytes())),
            }
        }
        Line {
            topic: record.topic,
            queue_id: record.queue_id,
            queue_offset: record.queue_offset.0,
            commit_log_offset: record.commit_log_offset.0,
            size: record.bytes.len(),
            file,
            position,
            msg_id: offset_message_id(record.store_host, record.commit_log_offset),
            uniq_key: properties.get(property::UNIQ_KEY),
            store_timestamp: record.store_timestamp,
            store_time: iso_time(record.store_timestamp),
            born_timestamp: record.born_timestamp,
            born_time: iso_time(record.born_timestamp),
            born_host: record.born_host.to_string(),
            store_host: record.store_host.to_string(),
            sys_flag: record.sys_flag,
            flag: record.flag,
            tags: properties.get(property::TAGS),
            keys: properties.get(property::KEYS).map(|keys| keys.split(KEY_SEPARATOR).collect()).unwrap_or_default(),
            properties: properties.iter().collect(),
            reconsume_times: record.reconsume_times,
            prepared_transaction_offset: record.prepared_transaction_offset,
            transaction: match SysFlag(record.sys_flag).transaction() {
                TransactionType::Not => None,
                TransactionType::Prepared => Some("prepared"),
                TransactionType::Commit => Some("commit"),
                TransactionType::Rollback => Some("rollback"),
            },
            body_size: record.body.len(),
            body_crc: record.body_crc,
            body,
            body_base64,
            body_error,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Damaged<'a> {
    damaged: &'a str,
    commit_log_offset: i64,
    size: i64,
    file: &'a Path,
    position: u64,
}

impl<'a> Damaged<'a> {
    fn new(stretch: &'a Stretch) -> Damaged<'a> {
        Damaged {
            damaged: &stretch.reason,
            commit_log_offset: stretch.at.0,
            size: stretch.end.0 - stretch.at.0,
            file: &stretch.file,
            position: stretch.position,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_times_are_read_as_people_write_them() {
        assert_eq!(range("5"), Ok(5..6));
        assert_eq!(range("5..10"), Ok(5..10));
        assert_eq!(range("..10"), Ok(0..10));
        assert_eq!(range("5.."), Ok(5..i64::MAX));
        assert!(range("five").is_err() && range("1..x").is_err());
        assert_eq!(time("1700000000123"), Ok(1_700_000_000_123));
        assert_eq!(time("2023-11-14T22:13:20.123Z"), Ok(1_700_000_000_123));
        assert!(time("2023-11-14").is_ok() && time("2023-11-14T22:13").is_ok() && time("yesterday").is_err());
    }
}
