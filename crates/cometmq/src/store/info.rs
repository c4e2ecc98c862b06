//! `cometmq store info`: what is in a directory.

use super::{Place, StoreError, state, state_name};
use crate::environment::Environment;
use crate::output::{Format, bytes, iso_time, local_time, table};
use crate::text::Language;
use protocol::json;
use protocol::topic::SCHEDULE_TOPIC;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use store::inspect::{Directory, QueueSummary, State, Summary};

/// What is in a directory: topics, queues, groups, sizes, and how it was left.
#[derive(Debug, clap::Args)]
pub struct InfoArgs {
    #[command(flatten)]
    place: Place,
    /// For people, or one JSON object for programs
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// Every queue on a line of its own
    #[arg(long)]
    queues: bool,
}

/// Prints it.
pub fn run(args: &InfoArgs, environment: &Environment) -> Result<ExitCode, StoreError> {
    let directory = args.place.look()?;
    let info = Info::read(&directory)?;
    let text = match args.output {
        Format::Json => serde_json::to_string(&info).unwrap_or_default() + "\n",
        Format::Text => info.text(directory.state(), args.queues, environment.language),
    };
    // Whoever read it may have gone.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    directory: String,
    state: &'static str,
    pid: Option<i32>,
    made_by: &'static str,
    log: Log,
    checkpoint: Option<CheckpointInfo>,
    index: IndexInfo,
    topics: Vec<TopicInfo>,
    groups: Vec<GroupInfo>,
    delayed: Vec<DelayInfo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_readable: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Log {
    min_offset: i64,
    max_offset: i64,
    files: usize,
    file_size: u64,
    bytes_on_disk: u64,
    oldest: Option<i64>,
    oldest_time: Option<String>,
    newest: Option<i64>,
    newest_time: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CheckpointInfo {
    timestamp: i64,
    dispatched: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IndexInfo {
    files: usize,
    keys: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TopicInfo {
    topic: String,
    messages: i64,
    bytes: u64,
    queues: Vec<QueueInfo>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueueInfo {
    queue_id: u32,
    min_offset: i64,
    max_offset: i64,
    bytes: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupInfo {
    pub(super) group: String,
    topic: String,
    /// Messages that the group has not consumed.
    lag: i64,
    /// How far it is, by queue.
    offsets: BTreeMap<u32, i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DelayInfo {
    level: u32,
    /// Messages that wait.
    pub(super) pending: i64,
}

impl Info {
    fn read(directory: &Directory) -> Result<Info, StoreError> {
        let summary = directory.summary()?;
        let root = directory.root();
        Ok(Info {
            directory: root.display().to_string(),
            state: state_name(directory.state()),
            pid: match directory.state() {
                State::InUse { pid } => pid,
                _ => None,
            },
            made_by: made_by(root),
            log: Log {
                min_offset: summary.log_min,
                max_offset: summary.log_max,
                files: summary.log_files,
                file_size: directory.config().commit_log_file_size,
                bytes_on_disk: summary.log_bytes_on_disk,
                oldest: summary.oldest,
                oldest_time: summary.oldest.and_then(iso_time),
                newest: summary.newest,
                newest_time: summary.newest.and_then(iso_time),
            },
            checkpoint: summary
                .checkpoint_timestamp
                .zip(summary.checkpoint_dispatched)
                .map(|(timestamp, dispatched)| CheckpointInfo { timestamp, dispatched }),
            index: IndexInfo { files: summary.index.files, keys: summary.index.entries },
            topics: topics(&summary),
            groups: groups(root, &summary),
            delayed: delayed(root, &summary),
            not_readable: directory.batch_topics().to_vec(),
        })
    }

    fn text(&self, left: State, each_queue: bool, language: Language) -> String {
        let pick = |english: &'static str, chinese: &'static str| language.pick(english, chinese);
        let mut out = format!("{}\n", self.directory);
        let mut line = |name: &str, value: String| out.push_str(&format!("  {name}{value}\n"));
        line(pick("state       ", "状态      "), state(left, language));
        line(pick("made by     ", "由谁写入  "), self.made_by.to_owned());
        let log = &self.log;
        let files = match language {
            Language::English => format!("{} files of {}", log.files, bytes(log.file_size)),
            Language::Chinese => format!("{} 个文件，每个 {}", log.files, bytes(log.file_size)),
        };
        line(
            pick("commit log  ", "提交日志  "),
            format!("{} … {}, {files}, {}", log.min_offset, log.max_offset, bytes(log.bytes_on_disk)),
        );
        if let (Some(oldest), Some(newest)) = (log.oldest, log.newest) {
            line(pick("stored      ", "存储时间  "), format!("{} … {}", local_time(oldest), local_time(newest)));
        }
        let index = &self.index;
        line(
            pick("index       ", "索引      "),
            match language {
                Language::English => format!("{} files, {} keys", index.files, index.keys),
                Language::Chinese => format!("{} 个文件，{} 个键", index.files, index.keys),
            },
        );
        if let Some(checkpoint) = &self.checkpoint {
            line(
                pick("checkpoint  ", "检查点    "),
                match checkpoint.timestamp {
                    0 => checkpoint.dispatched.to_string(), // not all stores keep the time
                    time => format!("{}, {}", local_time(time), checkpoint.dispatched),
                },
            );
        }
        for topic in &self.not_readable {
            line(pick("not read    ", "无法读取  "), format!("{topic} (queue.type=BatchCQ)"));
        }

        let number = |number: i64| number.to_string();
        let mut rows = Vec::new();
        for topic in &self.topics {
            let queues = topic.queues.len().to_string();
            rows.push(vec![topic.topic.clone(), queues, number(topic.messages), bytes(topic.bytes), String::new()]);
            for queue in topic.queues.iter().filter(|_| each_queue) {
                rows.push(vec![
                    format!("  {}", queue.queue_id),
                    String::new(),
                    number(queue.max_offset - queue.min_offset),
                    bytes(queue.bytes),
                    format!("{} … {}", queue.min_offset, queue.max_offset),
                ]);
            }
        }
        let offsets = if each_queue { pick("offsets", "位点") } else { "" };
        let head =
            [pick("topic", "主题"), pick("queues", "队列"), pick("messages", "消息"), pick("size", "大小"), offsets];
        out.push_str(&format!("\n{}", table(&head, &rows)));
        if !self.groups.is_empty() {
            let rows: Vec<_> =
                self.groups.iter().map(|it| vec![it.group.clone(), it.topic.clone(), number(it.lag)]).collect();
            out.push_str(&format!(
                "\n{}",
                table(&[pick("group", "消费组"), pick("topic", "主题"), pick("lag", "积压")], &rows)
            ));
        }
        if !self.delayed.is_empty() {
            let rows: Vec<_> = self.delayed.iter().map(|it| vec![it.level.to_string(), number(it.pending)]).collect();
            out.push_str(&format!("\n{}", table(&[pick("delay level", "延迟级别"), pick("waiting", "等待中")], &rows)));
        }
        out
    }
}

/// Which brokers have written here, as far as their traces tell.
pub(super) fn made_by(root: &Path) -> &'static str {
    let has = |path: &str| root.join(path).exists();
    if has("rocksdbstore") || has("timerwheel") || has("config/timermetrics") || has("config/topicQueueMapping.json") {
        return "Apache RocketMQ 5.x";
    }
    if has("config/consumerFilter.json") {
        return "Apache RocketMQ";
    }
    "CometMQ (no trace of Apache's broker)"
}

fn topics(summary: &Summary) -> Vec<TopicInfo> {
    let mut topics: Vec<TopicInfo> = Vec::new();
    for queue in &summary.queues {
        let QueueSummary { topic, queue_id, min, max, bytes } = queue;
        let info = QueueInfo { queue_id: *queue_id, min_offset: *min, max_offset: *max, bytes: *bytes };
        match topics.last_mut().filter(|last| last.topic == *topic) {
            Some(last) => {
                last.messages += max - min;
                last.bytes += bytes;
                last.queues.push(info);
            }
            None => {
                topics.push(TopicInfo { topic: topic.clone(), messages: max - min, bytes: *bytes, queues: vec![info] })
            }
        }
    }
    topics
}

/// `offsetTable` of a table, or of the state before if it cannot be read.
fn offset_table(root: &Path, name: &str) -> Option<Value> {
    let read = |name: String| {
        let bytes = std::fs::read(root.join("config").join(name)).ok()?;
        json::read::<Value>(&bytes).ok()
    };
    let mut table = read(name.to_owned()).or_else(|| read(format!("{name}.bak")))?;
    table.get_mut("offsetTable").map(Value::take)
}

fn offsets(queues: &Value) -> BTreeMap<u32, i64> {
    let queues = queues.as_object().into_iter().flatten();
    queues.filter_map(|(queue_id, offset)| Some((queue_id.parse().ok()?, offset.as_i64()?))).collect()
}

pub(super) fn groups(root: &Path, summary: &Summary) -> Vec<GroupInfo> {
    let table = offset_table(root, "consumerOffset.json");
    let mut groups: Vec<GroupInfo> = Vec::new();
    for (key, queues) in table.as_ref().and_then(Value::as_object).into_iter().flatten() {
        let Some((topic, group)) = key.split_once('@') else { continue };
        let offsets = offsets(queues);
        // A queue from which the group never took anything counts as a whole.
        let of_topic = summary.queues.iter().filter(|queue| queue.topic == topic);
        let lag = of_topic.map(|queue| queue.max - offsets.get(&queue.queue_id).copied().unwrap_or(0).max(queue.min));
        let lag = lag.map(|lag| lag.max(0)).sum();
        groups.push(GroupInfo { group: group.to_owned(), topic: topic.to_owned(), lag, offsets });
    }
    groups.sort_by(|one, other| (&one.group, &one.topic).cmp(&(&other.group, &other.topic)));
    groups
}

/// Queue `n` of the schedule topic is that of level `n` + 1.
pub(super) fn delayed(root: &Path, summary: &Summary) -> Vec<DelayInfo> {
    let progress = offset_table(root, "delayOffset.json").map(|table| offsets(&table)).unwrap_or_default();
    let queues = summary.queues.iter().filter(|queue| queue.topic == SCHEDULE_TOPIC);
    let pending = queues.map(|queue| {
        let level = queue.queue_id + 1;
        let next = progress.get(&level).copied().unwrap_or(0).max(queue.min);
        DelayInfo { level, pending: (queue.max - next).max(0) }
    });
    pending.filter(|level| level.pending > 0).collect()
}
