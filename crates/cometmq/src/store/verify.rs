//! `cometmq store verify`: holds all files of a store against each other.

use super::{Place, StoreError, state, state_name};
use crate::environment::Environment;
use crate::output::{Format, bytes};
use crate::text::Language;
use serde_json::json;
use std::collections::HashSet;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use store::inspect::{Directory, Finding, Kind, Progress, Severity, State, Verified};

/// Read everything and hold it against everything else: log, consume queues, index, checkpoint, tables.
///
/// Exit code: 0 all is sound, 1 something was found, 2 it could not be looked at. Of a store in use, what is still being
/// written is no finding.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    place: Place,
    /// For people, or one JSON object per line for programs
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// Show how far it is, also when standard error is no terminal
    #[arg(long)]
    progress: bool,
}

/// Prints each finding as it comes, and a summary.
pub fn run(args: &VerifyArgs, environment: &Environment) -> Result<ExitCode, StoreError> {
    let directory = args.place.look()?;
    let language = environment.language;
    let mut out = std::io::stdout().lock();
    if args.output == Format::Text && directory.state() != State::Clean {
        let _ = writeln!(out, "{}: {}", directory.root().display(), state(directory.state(), language));
    }
    let mut explained = HashSet::new();
    let begun = Instant::now();
    let verified = look(&directory, args.progress, language, &mut |finding| {
        // Whoever read it may have gone; the exit code still counts.
        let _ = match args.output {
            Format::Json => writeln!(out, "{}", serde_json::to_string(finding).unwrap_or_default()),
            Format::Text => writeln!(out, "{}", line(finding, &mut explained, language)),
        };
    });
    let (progress, seconds) = (verified.progress, begun.elapsed().as_secs_f64().max(1e-9));
    let summary = match (args.output, language) {
        (Format::Json, _) => json!({
            "summary": if verified.findings == 0 { "sound" } else { "findings" },
            "findings": verified.findings,
            "records": progress.records,
            "bytes": progress.total,
            "seconds": seconds,
            "state": state_name(directory.state()),
        })
        .to_string(),
        (Format::Text, Language::English) => {
            let verdict = match verified.findings {
                0 => "sound".to_owned(),
                1 => "1 finding; `cometmq store repair` says what can be done".to_owned(),
                many => format!("{many} findings; `cometmq store repair` says what can be done"),
            };
            format!("{} messages, {} in {seconds:.1} s: {verdict}", progress.records, bytes(progress.total))
        }
        (Format::Text, Language::Chinese) => {
            let verdict = match verified.findings {
                0 => "完好".to_owned(),
                many => format!("发现 {many} 个问题；可用 `cometmq store repair` 查看如何处理"),
            };
            format!("{} 条消息，{}，用时 {seconds:.1} 秒：{verdict}", progress.records, bytes(progress.total))
        }
    };
    let _ = writeln!(out, "{summary}");
    Ok(if verified.findings == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Verifies, and shows how far it is where someone can see it.
pub fn look(
    directory: &Directory,
    progress_wanted: bool,
    language: Language,
    found: &mut dyn FnMut(&Finding),
) -> Verified {
    let on_terminal = std::io::stderr().is_terminal();
    let begun = Instant::now();
    let mut shown: Option<Instant> = None;
    let mut show = |progress: &Progress| {
        let now = Instant::now();
        let wanted = on_terminal || progress_wanted;
        if !wanted || shown.is_some_and(|shown| now - shown < Duration::from_millis(500)) {
            return;
        }
        shown = Some(now);
        let text = rate(progress, now - begun, language);
        let (before, behind) = if on_terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        eprint!("{before}{text}{behind}");
    };
    let mut clear = |finding: &Finding| {
        if on_terminal {
            eprint!("\r\x1b[K");
        }
        found(finding);
    };
    let verified = directory.verify(&mut clear, &mut show);
    if on_terminal {
        eprint!("\r\x1b[K");
    }
    verified
}

fn rate(progress: &Progress, elapsed: Duration, language: Language) -> String {
    let percent = progress.done as f64 * 100.0 / progress.total.max(1) as f64;
    let per_second = progress.done as f64 / elapsed.as_secs_f64().max(1e-3);
    let left = (progress.total - progress.done.min(progress.total)) as f64 / per_second.max(1.0);
    match language {
        Language::English => {
            format!("{percent:.0} %, {:.0} MB/s, {left:.0} s left, {} messages", per_second / 1e6, progress.records)
        }
        Language::Chinese => {
            format!("{percent:.0}%，{:.0} MB/s，剩余 {left:.0} 秒，{} 条消息", per_second / 1e6, progress.records)
        }
    }
}

/// A finding for people: how bad, where, what; the first time also what it means, and what helps.
pub fn line(finding: &Finding, explained: &mut HashSet<Kind>, language: Language) -> String {
    let severity = match finding.severity {
        Severity::Note => language.pick("note", "提示"),
        Severity::Derived => language.pick("derived", "可重建"),
        Severity::Truth => language.pick("TRUTH", "数据损坏"),
    };
    match explained.insert(finding.kind) {
        true => format!("{severity}  {finding}\n    → {}", meaning(finding.kind, language)),
        false => format!("{severity}  {finding}"),
    }
}

/// What findings of a kind mean, and what helps.
fn meaning(kind: Kind, language: Language) -> &'static str {
    let (english, chinese) = match kind {
        Kind::DamagedLog => (
            "these bytes of the log are lost; messages around them are served. Apache's recovery may end the log here: repair before you go back",
            "提交日志的这一段已损坏，前后的消息不受影响。Apache 恢复时可能从这里截断日志：换回 Apache 之前请先修复",
        ),
        Kind::DamagedMessage => (
            "the message is lost; a consumer that reaches it is refused by name, until repair lets it pass on",
            "这条消息已丢失；消费到这里会报错并指明是哪条，修复之后消费者可以继续前进",
        ),
        Kind::MissingMessage => ("the message is lost, and nothing of it is left", "这条消息已丢失，没有留下任何内容"),
        Kind::UnreachableMessage => {
            ("no consumer gets it; it is found by its key or id", "消费者收不到它；可以按键或消息 ID 查到")
        }
        Kind::StrangeRecord => ("it is kept and not handed out", "保留在日志里，但不会投递"),
        Kind::WrongOffset => {
            ("clients are told a wrong offset: repair corrects it", "客户端会得到错误的位点：repair 会更正")
        }
        Kind::StrangeProperties => {
            ("no checksum covers properties; the message is served as it is", "属性没有校验和保护；消息照原样投递")
        }
        Kind::TornTail => ("what was being written when the process ended", "进程结束时正在写入的内容"),
        Kind::ReplacedMessage => ("consumers pass on past it", "消费者会越过它"),
        Kind::MissingEntry => (
            "consumers do not get these messages until the queue is made again: repair does it",
            "在重建队列之前消费者收不到这些消息：repair 可以重建",
        ),
        Kind::WrongEntry => (
            "consumers are refused there until the queue is made again: repair does it",
            "在重建队列之前消费到这里会被拒绝：repair 可以重建",
        ),
        Kind::DeletedTopic => ("nothing is to be done", "无需处理"),
        Kind::NoIndex => ("until then messages are not found by key", "在此之前不能按键查询消息"),
        Kind::MissingKey | Kind::WrongKey | Kind::BrokenIndex => {
            ("only queries by key are affected; repair makes the index again", "只影响按键查询；repair 会重建索引")
        }
        Kind::BrokenTable => (
            "its last good state (.bak) is used at the next start; repair puts it in its place",
            "下次启动时使用上一个完好的版本（.bak）；repair 会把它恢复到位",
        ),
        Kind::LostTable => (
            "put it right by hand, or let repair move it away. Topics and groups are made again from the store; with offsets \
             that cannot be read the broker does not start, and without any groups begin anew",
            "请手工改正，或用 repair 移走。主题和消费组会根据存储重建；位点文件读不出来时 Broker 不会启动，移走后消费组从头决定位点",
        ),
        Kind::GoneTable => (
            "put a copy there if there is one. At the next start topics and groups are made again from the store, with default \
             settings; without offsets groups begin anew",
            "如有副本请放回原处。下次启动时主题和消费组会根据存储按默认设置重建；没有位点时消费组从头决定位点",
        ),
        Kind::Checkpoint => {
            ("the next start reads more of the log, and loses nothing", "下次启动要多读一些日志，不会丢数据")
        }
        Kind::WrongSize => {
            ("the broker does not start with it: repair puts it right", "Broker 无法用它启动：repair 可以处理")
        }
        Kind::ForeignFile => {
            ("the broker may not start with it: repair moves it away", "Broker 可能因此无法启动：repair 会把它移走")
        }
        Kind::BatchQueue => (
            "keep Apache's broker for it, or delete the topic there",
            "请继续用 Apache 的 Broker，或先在那里删除该主题",
        ),
        Kind::Unreadable => (
            "the disk does not give it: copy what can be read to another",
            "磁盘读不出来：请把能读出的内容复制到别的磁盘",
        ),
    };
    language.pick(english, chinese)
}
