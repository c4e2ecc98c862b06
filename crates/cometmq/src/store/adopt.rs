//! `cometmq store adopt`: what CometMQ makes of a directory of Apache's broker, before it starts on it.

use super::info::{delayed, groups, made_by};
use super::{Place, StoreError, state, state_name};
use crate::environment::Environment;
use crate::output::{Format, bytes};
use crate::text::{self, Language};
use broker::adopt::{Fate, Finding, inspect};
use broker::config::Config;
use protocol::json;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;
use store::inspect::{Directory, State, Summary};
use store::{Store, StoreConfig};

/// What CometMQ makes of a directory of Apache's broker: what it uses, what it keeps, what it refuses, and the settings
/// it needs. Then opens it once and closes it, as a start does
#[derive(Debug, clap::Args)]
pub struct AdoptArgs {
    #[command(flatten)]
    place: Place,
    /// Only look, change nothing
    #[arg(long)]
    dry_run: bool,
    /// For people, or one JSON object for programs
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// Prints it. 0: CometMQ starts on the directory; 1: it does not, as it is.
pub fn run(args: &AdoptArgs, environment: &Environment) -> Result<ExitCode, StoreError> {
    let config = args.place.broker_config()?;
    let directory = Directory::look(&broker::store_config(&config), true)?;
    let mut report = Report::read(&directory, &config, args.place.has_config(), environment.language)?;
    if report.starts && !args.dry_run {
        report.opened = Some(open(directory.config())?);
    }
    let text = match args.output {
        Format::Json => serde_json::to_string(&report).unwrap_or_default() + "\n",
        Format::Text => report.text(directory.state(), environment.language),
    };
    // Whoever read it may have gone.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(if report.starts { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Opens the store and closes it: queues and index are complete then. Returns how long it took.
fn open(config: &StoreConfig) -> Result<u64, StoreError> {
    let begun = Instant::now();
    let store = Store::open(StoreConfig { disk: Default::default(), ..config.clone() })?;
    store.close()?;
    Ok(begun.elapsed().as_millis() as u64)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    directory: String,
    state: &'static str,
    made_by: &'static str,
    /// Does CometMQ start on it?
    starts: bool,
    topics: usize,
    queues: usize,
    messages: i64,
    /// Bytes that its log takes on the disk.
    bytes: u64,
    groups: usize,
    /// Messages with a delay level that wait.
    delayed: i64,
    findings: Vec<Found>,
    /// Settings of the broker that the files tell of.
    broker_conf: BTreeMap<&'static str, String>,
    /// Settings that were given, and that the files contradict.
    contradicted: Vec<Contradicted>,
    /// Files that do not fit into their directory.
    misfits: Vec<String>,
    /// How long it took to open, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    opened: Option<u64>,
}

#[derive(Serialize)]
struct Found {
    fate: &'static str,
    name: &'static str,
    path: String,
    sentence: String,
}

#[derive(Serialize)]
struct Contradicted {
    key: &'static str,
    given: String,
    needed: String,
}

impl Report {
    fn read(directory: &Directory, config: &Config, given: bool, language: Language) -> Result<Report, StoreError> {
        let summary = directory.summary()?;
        let findings = inspect(config).map_err(|error| StoreError::Io(std::io::Error::other(error)))?;
        let broker_conf = settings(directory, config);
        let contradicted: Vec<_> = if given { contradicted(config, &broker_conf) } else { Vec::new() };
        let misfits: Vec<_> = directory.misfits().iter().map(|misfit| misfit.path().display().to_string()).collect();
        let in_use = matches!(directory.state(), State::InUse { .. });
        let refused = findings.iter().any(|finding| finding.fate() == Fate::Refused);
        let root = directory.root();
        Ok(Report {
            directory: root.display().to_string(),
            state: state_name(directory.state()),
            made_by: made_by(root),
            starts: !in_use && !refused && contradicted.is_empty() && misfits.is_empty(),
            topics: topics(&summary),
            queues: summary.queues.len(),
            messages: summary.queues.iter().map(|queue| queue.max - queue.min).sum(),
            bytes: summary.log_bytes_on_disk,
            groups: distinct(groups(root, &summary).into_iter().map(|it| it.group)),
            delayed: delayed(root, &summary).iter().map(|level| level.pending).sum(),
            findings: findings.iter().map(|finding| found(finding, language)).collect(),
            broker_conf,
            contradicted,
            misfits,
            opened: None,
        })
    }

    fn text(&self, left: State, language: Language) -> String {
        let pick = |english: &'static str, chinese: &'static str| language.pick(english, chinese);
        let mut out = format!("{}\n", self.directory);
        let mut line = |name: &str, value: &str| out.push_str(&format!("  {name}{value}\n"));
        line(pick("made by    ", "由谁写入  "), self.made_by);
        line(pick("state      ", "状态      "), &state(left, language));
        let Report { topics, queues, messages, groups, delayed, .. } = self;
        let size = bytes(self.bytes);
        line(
            pick("holds      ", "内容      "),
            &match language {
                Language::English => format!(
                    "{messages} messages in {queues} queues of {topics} topics, {size}; {groups} groups; {delayed} delayed messages wait"
                ),
                Language::Chinese => format!(
                    "{topics} 个主题，{queues} 个队列，{messages} 条消息，{size}；{groups} 个消费组；{delayed} 条延迟消息等待投递"
                ),
            },
        );
        for (fate, name) in [("used", pick("used       ", "使用      ")), ("kept", pick("kept       ", "原样保留  "))]
        {
            let these = self.findings.iter().filter(|found| found.fate == fate);
            let these = these.map(|found| self.relative(&found.path));
            // The states before of tables are as good as the tables.
            let these: Vec<_> = these.filter(|path| !path.ends_with(".bak")).collect();
            if !these.is_empty() {
                line(name, &these.join(", "));
            }
        }
        for (fate, name) in
            [("attention", pick("attention  ", "请注意    ")), ("refused", pick("refused    ", "拒绝      "))]
        {
            for found in self.findings.iter().filter(|found| found.fate == fate) {
                line(name, self.relative(&found.sentence));
            }
        }
        for Contradicted { key, given, needed } in &self.contradicted {
            line(
                pick("refused    ", "拒绝      "),
                &match language {
                    Language::English => format!("{key} is set to {given}, and the files were made with {needed}"),
                    Language::Chinese => format!("{key} 配置为 {given}，而这些文件是以 {needed} 写成的"),
                },
            );
        }
        for path in &self.misfits {
            line(
                pick("refused    ", "拒绝      "),
                &match language {
                    Language::English => format!("{path} does not fit: its name or size is not that of its neighbours"),
                    Language::Chinese => format!("{path} 的名称或大小与同目录的文件不符"),
                },
            );
        }
        out.push('\n');
        out.push_str(match self.opened {
            _ if !self.starts => pick(
                "CometMQ does not start on this directory as it is. Nothing was changed.\n",
                "CometMQ 无法以该目录现在的样子启动。未做任何改动。\n",
            ),
            None => pick(
                "CometMQ starts on this directory. Nothing was changed.\n",
                "CometMQ 可以在该目录上启动。未做任何改动。\n",
            ),
            Some(_) => "",
        });
        if let Some(millis) = self.opened {
            out.push_str(&match language {
                Language::English => {
                    format!("CometMQ starts on this directory: it was opened and closed in {millis} ms.\n")
                }
                Language::Chinese => format!("CometMQ 可以在该目录上启动：已打开并关闭一次，用时 {millis} 毫秒。\n"),
            });
        }
        if self.starts {
            out.push_str(pick(
                "The broker.conf of Apache's broker serves as it is; keep brokerName, listenPort, brokerIP1 and messageDelayLevel as they are in it.\n\
                 These keys follow from the files:\n",
                "Apache Broker 的 broker.conf 可直接使用；其中的 brokerName、listenPort、brokerIP1、messageDelayLevel 请保持不变。\n\
                 由文件得出的配置项：\n",
            ));
            for (key, value) in &self.broker_conf {
                out.push_str(&format!("  {key}={value}\n"));
            }
            out.push_str(pick(
                "Start it: cometmq broker -c broker.conf\n",
                "启动命令：cometmq broker -c broker.conf\n",
            ));
        }
        out
    }

    fn relative<'a>(&self, path: &'a str) -> &'a str {
        path.strip_prefix(&self.directory).map_or(path, |rest| rest.trim_start_matches('/'))
    }
}

fn found(finding: &Finding, language: Language) -> Found {
    Found {
        fate: match finding.fate() {
            Fate::Used => "used",
            Fate::Kept => "kept",
            Fate::Attention => "attention",
            Fate::Refused => "refused",
        },
        name: finding.what.name(),
        path: finding.path.display().to_string(),
        sentence: text::finding(finding, language),
    }
}

fn topics(summary: &Summary) -> usize {
    distinct(summary.queues.iter().map(|queue| queue.topic.clone()))
}

fn distinct(names: impl Iterator<Item = String>) -> usize {
    names.collect::<std::collections::HashSet<_>>().len()
}

/// What the files tell of the settings they were made with: names, and sizes that are not the default.
fn settings(directory: &Directory, config: &Config) -> BTreeMap<&'static str, String> {
    let root = directory.root();
    let mut settings = BTreeMap::from([("storePathRootDir", root.display().to_string())]);
    if let Some(dir) = &config.commit_log_path {
        settings.insert("storePathCommitLog", dir.display().to_string());
    }
    let (made, default) = (directory.config(), StoreConfig::new(root));
    let sizes = [
        ("mappedFileSizeCommitLog", made.commit_log_file_size, default.commit_log_file_size),
        ("mappedFileSizeConsumeQueue", made.consume_queue_file_size, default.consume_queue_file_size),
        ("maxHashSlotNum", made.index_slots.into(), default.index_slots.into()),
        ("maxIndexNum", made.index_entries.into(), default.index_entries.into()),
    ];
    settings.extend(sizes.iter().filter(|(_, is, usual)| is != usual).map(|(key, is, _)| (*key, is.to_string())));
    // Topics that Apache's brokers name after themselves.
    let topics = std::fs::read(root.join("config").join("topics.json")).unwrap_or_default();
    let topics = json::read::<Value>(&topics).unwrap_or_default();
    for topic in topics["topicConfigTable"].as_object().into_iter().flatten().map(|(name, _)| name) {
        if let Some(cluster) = topic.strip_suffix("_REPLY_TOPIC") {
            settings.insert("brokerClusterName", cluster.to_owned());
        }
        if let Some(broker) = topic.strip_prefix("rmq_sys_SYNC_BROKER_MEMBER_") {
            settings.insert("brokerName", broker.to_owned());
        }
    }
    settings
}

/// Sizes and names in `config` that are others than those of the files.
fn contradicted(config: &Config, needed: &BTreeMap<&'static str, String>) -> Vec<Contradicted> {
    let paths = ["storePathRootDir", "storePathCommitLog"];
    let given = config.values().into_iter().filter(|(key, _)| !paths.contains(key));
    given
        .filter_map(|(key, given)| {
            let needed = needed.get(key).filter(|needed| **needed != given)?.clone();
            Some(Contradicted { key, given, needed })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_the_files_contradict_are_named() {
        let config = Config { commit_log_file_size: 1 << 20, ..Config::default() };
        let needed = BTreeMap::from([("mappedFileSizeCommitLog", "65536".to_owned())]);
        let found = contradicted(&config, &needed);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].given.as_str(), found[0].needed.as_str()), ("1048576", "65536"));
        assert!(contradicted(&Config { commit_log_file_size: 65536, ..config }, &needed).is_empty());
    }

    #[test]
    fn what_is_found_is_said_in_both_languages() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["commitlog", "config/rdb", "dledger-n0/data"] {
            std::fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        std::fs::write(dir.path().join("dledger-n0/data/00000000000000000000"), "x").unwrap();
        let config = Config { store_root: dir.path().into(), ..Config::default() };
        let directory = Directory::look(&broker::store_config(&config), true).unwrap();
        let english = Report::read(&directory, &config, false, Language::English).unwrap();
        assert!(!english.starts);
        let text = english.text(directory.state(), Language::English);
        assert!(text.contains("refused    ") && text.contains("DLedger") && text.contains("does not start"), "{text}");
        let chinese = Report::read(&directory, &config, false, Language::Chinese).unwrap();
        let text = chinese.text(directory.state(), Language::Chinese);
        assert!(
            text.contains("拒绝") && text.contains("无法以该目录") && !text.contains("which is not read"),
            "{text}"
        );
    }
}
