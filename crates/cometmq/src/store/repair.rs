//! `cometmq store repair`: puts right what verify finds.

use super::verify::{line, look};
use super::{Place, StoreError, state};
use crate::environment::Environment;
use crate::text::Language;
use protocol::topic::SCHEDULE_TOPIC;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;
use store::inspect::{Directory, Plan, Severity, State, Step};

/// Put right what verify finds. Says first what it would do, and does it only with --yes.
///
/// Nothing is deleted: what has to go is moved to DIR/quarantine/TIME, and report.txt there says what was lost. Exit
/// code: 0 there is nothing (more) to do, 1 there is, 2 it could not be done.
#[derive(Debug, clap::Args)]
pub struct RepairArgs {
    #[command(flatten)]
    place: Place,
    /// Do it
    #[arg(long)]
    yes: bool,
    /// Show how far it is, also when standard error is no terminal
    #[arg(long)]
    progress: bool,
}

/// Looks, says what it would do, and does it if it may.
pub fn run(args: &RepairArgs, environment: &Environment) -> Result<ExitCode, StoreError> {
    let language = environment.language;
    let config = args.place.config()?;
    let directory = args.place.look()?;
    let mut out = std::io::stdout().lock();
    let mut say = |text: &str| {
        // Whoever read it may have gone; the work is done all the same.
        let _ = writeln!(out, "{text}");
    };
    if let State::InUse { pid } = directory.state() {
        return Err(StoreError::InUse { root: directory.root().to_owned(), pid });
    }
    if directory.state() == State::Crashed {
        say(&format!("{}: {}", directory.root().display(), state(directory.state(), language)));
    }
    let (mut report, mut explained) = (String::new(), HashSet::new());
    let verified = look(&directory, args.progress, language, &mut |finding| {
        if finding.severity > Severity::Note {
            // Writing to a String can't fail.
            let _ = writeln!(report, "{finding}");
            say(&line(finding, &mut explained, language));
        }
    });
    if verified.findings == 0 {
        say(language.pick("sound: there is nothing to repair", "完好：无需修复"));
        return Ok(ExitCode::SUCCESS);
    }
    let plan = Plan::make(&directory, verified, &config);
    report.push('\n');
    say(language.pick("\nRepair would:", "\n修复将会："));
    for step in plan.steps() {
        let _ = writeln!(report, "{}", describe(step, Language::English));
        say(&format!("  - {}", describe(step, language)));
    }
    if !args.yes {
        say(language.pick("\nNothing was changed. Do it with --yes.", "\n尚未改动任何文件。加上 --yes 执行。"));
        return Ok(ExitCode::FAILURE);
    }
    let quarantine = plan.carry_out(&report, &mut |_| {})?;
    let after = Directory::look(&config, args.place.config.is_none())?;
    let left = look(&after, args.progress, language, &mut |_| {}).findings;
    let place = quarantine.display();
    say(&match (left, language) {
        (0, Language::English) => format!("\nDone; the store is sound. What was moved away, and report.txt: {place}"),
        (0, Language::Chinese) => format!("\n修复完成，存储完好。移走的内容和 report.txt 在：{place}"),
        (left, Language::English) => {
            format!("\nDone; findings left, see verify: {left}. What was moved away, and report.txt: {place}")
        }
        (left, Language::Chinese) => {
            format!("\n修复完成，还有 {left} 个问题，见 verify。移走的内容和 report.txt 在：{place}")
        }
    });
    Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn describe(step: &Step, language: Language) -> String {
    match (step, language) {
        (Step::MoveAway(path), Language::English) => format!("move {} to quarantine", path.display()),
        (Step::MoveAway(path), Language::Chinese) => format!("把 {} 移到隔离目录", path.display()),
        (Step::RestoreTable(path), Language::English) => {
            format!("move {} to quarantine and put its last good state (.bak) in its place", path.display())
        }
        (Step::RestoreTable(path), Language::Chinese) => {
            format!("把 {} 移到隔离目录，并用上一个完好的版本（.bak）代替", path.display())
        }
        (Step::FitLogFile { path, size }, Language::English) => {
            format!("give {} its size of {size} bytes; what it has too much goes to quarantine", path.display())
        }
        (Step::FitLogFile { path, size }, Language::Chinese) => {
            format!("把 {} 的大小改为 {size} 字节，多出的部分复制到隔离目录", path.display())
        }
        (Step::ReplaceStretch { at, end, messages }, Language::English) => format!(
            "copy {} bytes at {at} of the commit log to quarantine, and put records there that are never handed out \
             (messages known to be lost: {messages})",
            end - at
        ),
        (Step::ReplaceStretch { at, end, messages }, Language::Chinese) => format!(
            "把提交日志 {at} 处的 {} 字节复制到隔离目录，并换成不会被投递的记录（已知丢失 {messages} 条消息）",
            end - at
        ),
        (Step::CorrectOffset { at, queue_offset }, Language::English) => {
            format!(
                "write queue offset {queue_offset} into the record at {at} of the commit log; what is there goes to quarantine"
            )
        }
        (Step::CorrectOffset { at, queue_offset }, Language::Chinese) => {
            format!("把提交日志 {at} 处记录的队列位点改为 {queue_offset}，原值复制到隔离目录")
        }
        (Step::LeaveStretch { at, end }, Language::English) => {
            format!("leave {} bytes at {at} of the commit log as they are: too few for a record", end - at)
        }
        (Step::LeaveStretch { at, end }, Language::Chinese) => {
            format!("提交日志 {at} 处的 {} 字节放不下一条记录，保持原样", end - at)
        }
        (Step::RebuildQueue { topic, queue_id }, Language::English) => {
            let levels = if topic == SCHEDULE_TOPIC { ", with the delay levels of -c or else Apache's" } else { "" };
            format!("make queue {queue_id} of topic `{topic}` again from the log{levels}; its files go to quarantine")
        }
        (Step::RebuildQueue { topic, queue_id }, Language::Chinese) => {
            let levels = if topic == SCHEDULE_TOPIC {
                "（延迟级别取自 -c，否则用 Apache 的默认值）"
            } else {
                ""
            };
            format!("根据日志重建主题 {topic} 的队列 {queue_id}{levels}，旧文件移到隔离目录")
        }
        (Step::RebuildIndex, Language::English) => {
            "make the index again from the log; its files go to quarantine".to_owned()
        }
        (Step::RebuildIndex, Language::Chinese) => "根据日志重建索引，旧文件移到隔离目录".to_owned(),
    }
}
