//! The dead-letter inbox.

use super::{Dry, Ended, Format, Namesrv, Output, View, render, time};
use crate::environment::Environment;
use crate::text::Language;
use ::admin::Error;
use ::admin::dead_letters::{self, DeadLetter, Done, Outcome, Pace, Reader, Reason, Selection, Tally};
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The dead-letter inbox: messages that groups gave up.
#[derive(Debug, clap::Subcommand)]
pub enum DeadLetterCommand {
    /// The groups that have dead letters; with a selection the letters about which nothing was done
    List {
        #[command(flatten)]
        select: Select,
        /// Those about which something was done, too
        #[arg(long)]
        all: bool,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        max: usize,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        view: View,
    },
    /// One dead letter, whole
    Show {
        /// Its id in the list
        id: String,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
    /// Send dead letters to their groups again; none of them needs to be online. Run it again to go on
    Requeue {
        /// Ids of dead letters
        ids: Vec<String>,
        #[command(flatten)]
        select: Select,
        /// Of all groups
        #[arg(long)]
        all_groups: bool,
        /// At most so many a second
        #[arg(long, value_name = "N", default_value_t = 100.0, value_parser = rate)]
        rate: f64,
        /// At most so many
        #[arg(long, value_name = "N")]
        max: Option<usize>,
        #[command(flatten)]
        dry: Dry,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
    /// Drop dead letters: written to a file first, then never listed nor sent again
    Drop {
        /// Ids of dead letters
        ids: Vec<String>,
        #[command(flatten)]
        select: Select,
        /// Of all groups
        #[arg(long)]
        all_groups: bool,
        /// The file to which they are added, a line of JSON each
        #[arg(long, value_name = "FILE", required_unless_present_any = ["force", "dry_run"])]
        file: Option<PathBuf>,
        /// Write them nowhere
        #[arg(long, conflicts_with = "file")]
        force: bool,
        /// At most so many
        #[arg(long, value_name = "N")]
        max: Option<usize>,
        #[command(flatten)]
        dry: Dry,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
}

/// Which dead letters.
#[derive(Debug, clap::Args)]
pub struct Select {
    /// Of these groups
    #[arg(short, long = "group", value_name = "NAME")]
    groups: Vec<String>,
    /// Sent to this topic
    #[arg(short, long)]
    topic: Option<String>,
    /// With this key or unique key
    #[arg(short, long)]
    key: Option<String>,
    /// Dead since then: ms since 1970, -2h, 2026-11-21#10:00:00:000
    #[arg(long, value_name = "TIME", value_parser = time::millis, allow_hyphen_values = true)]
    since: Option<i64>,
    /// Dead before then
    #[arg(long, value_name = "TIME", value_parser = time::millis, allow_hyphen_values = true)]
    before: Option<i64>,
    /// Why they are dead
    #[arg(long, value_enum)]
    reason: Option<Why>,
}

/// Why they are dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Why {
    /// All attempts of the group are used up
    Attempts,
    /// Before that: the consumer said so
    Early,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=100_000.0).contains(&rate) => Ok(rate),
        _ => Err(format!("`{text}` is no rate from 0.001 to 100000 a second")),
    }
}

impl Select {
    fn is_empty(&self) -> bool {
        let Select { groups, topic, key, since, before, reason } = self;
        groups.is_empty() && topic.is_none() && key.is_none() && since.is_none() && before.is_none() && reason.is_none()
    }

    fn selection(&self, ids: Vec<String>, max: Option<usize>) -> Selection {
        let reason = self.reason.map(|why| match why {
            Why::Attempts => Reason::Attempts,
            Why::Early => Reason::Early,
        });
        Selection {
            groups: self.groups.clone(),
            topic: self.topic.clone(),
            key: self.key.clone(),
            ids,
            since: self.since,
            before: self.before,
            reason,
            all: false,
            max,
        }
    }
}

pub async fn run(command: DeadLetterCommand, environment: &Environment) -> Result<Ended, Error> {
    let language = environment.language;
    match command {
        DeadLetterCommand::List { select, all, max, namesrv, view } => {
            let admin = namesrv.admin(environment);
            if select.is_empty() && !all {
                let columns = [
                    ("group", "group", "消费者组"),
                    ("letters", "dead letters", "死信"),
                    ("lastTimestamp", "last", "最近"),
                ];
                view.rows(environment, &columns, async || dead_letters::inboxes(&admin).await).await?;
                return Ok(Ended::Done);
            }
            let fetch = async || {
                let selection = Selection { all, ..select.selection(Vec::new(), Some(max)) };
                let mut reader = Reader::new(&admin, selection).await?;
                let mut letters = Vec::new();
                while let Some(letter) = reader.next().await? {
                    letters.push(letter);
                }
                Ok(letters)
            };
            let columns = [
                ("group", "group", "消费者组"),
                ("originTopic", "topic", "主题"),
                ("diedTimestamp", "died", "成为死信"),
                ("reason", "reason", "原因"),
                ("failures", "failures", "失败次数"),
                ("state", "state", "状态"),
                ("message.keys", "keys", "键"),
                ("id", "id", "ID"),
            ];
            view.rows(environment, &columns, fetch).await?;
            Ok(Ended::Done)
        }
        DeadLetterCommand::Show { id, namesrv, output } => {
            let letter = dead_letters::show(&namesrv.admin(environment), &id).await?;
            output.show(&letter, |letter| {
                let names = [
                    ("group", "group", "消费者组"),
                    ("originTopic", "sent to", "原主题"),
                    ("reason", "reason", "原因"),
                    ("failures", "failures", "失败次数"),
                    ("state", "state", "状态"),
                    ("diedTimestamp", "died", "成为死信"),
                ];
                render::facts(letter, &names, language) + &super::query::whole(&letter.message, &[], language)
            });
            Ok(Ended::Done)
        }
        DeadLetterCommand::Requeue { ids, select, all_groups, rate, max, dry, namesrv, output } => {
            let admin = namesrv.admin(environment);
            let selection = selection(&admin, &select, ids, all_groups, max).await?;
            let mut progress = Progress::new(output.output, language);
            let tell = |outcome: &Outcome, reader: &Reader<'_>| progress.tell(outcome, reader);
            let tally = dead_letters::requeue(&admin, selection, Pace::new(rate), dry.dry_run, tell).await;
            progress.end();
            Ok(summary(&tally?, output.output, language))
        }
        DeadLetterCommand::Drop { ids, select, all_groups, file, force: _, max, dry, namesrv, output } => {
            let admin = namesrv.admin(environment);
            let selection = selection(&admin, &select, ids, all_groups, max).await?;
            let mut kept = match &file {
                Some(path) if !dry.dry_run => {
                    Some((path, append(path).map_err(|error| Error::Write { path: path.clone(), error })?))
                }
                _ => None,
            };
            let mut progress = Progress::new(output.output, language);
            let keep = |letter: &DeadLetter| {
                let Some((path, file)) = &mut kept else { return Ok(()) };
                let line = serde_json::to_string(letter).unwrap_or_default() + "\n";
                let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_data());
                written.map_err(|error| Error::Write { path: (*path).clone(), error })
            };
            let tell = |outcome: &Outcome, reader: &Reader<'_>| progress.tell(outcome, reader);
            let tally = dead_letters::drop_letters(&admin, selection, dry.dry_run, keep, tell).await;
            progress.end();
            Ok(summary(&tally?, output.output, language))
        }
    }
}

/// Opens a file to add to it; when it is new, its name is on disk, too.
fn append(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()?;
    Ok(file)
}

/// What is meant: nobody means everything by saying nothing.
async fn selection(
    admin: &::admin::Admin,
    select: &Select,
    ids: Vec<String>,
    all_groups: bool,
    max: Option<usize>,
) -> Result<Selection, Error> {
    if select.is_empty() && ids.is_empty() && !all_groups {
        return Err(Error::Input(
            "which dead letters? name ids, a group (-g), a topic (-t), a key (-k), a time (--since), or --all-groups"
                .into(),
        ));
    }
    let mut selection = select.selection(ids, max);
    if selection.groups.is_empty() {
        // An id tells where it lies; the others need not be walked.
        for id in &selection.ids {
            let group = dead_letters::show(admin, id).await?.group;
            if !selection.groups.contains(&group) {
                selection.groups.push(group);
            }
        }
    }
    Ok(selection)
}

/// Says what became of each, and how far it is.
struct Progress {
    format: Format,
    language: Language,
    shown: Option<Instant>,
    on_terminal: bool,
    done: usize,
}

impl Progress {
    fn new(format: Format, language: Language) -> Progress {
        let on_terminal = std::io::stderr().is_terminal();
        Progress { format, language, shown: None, on_terminal, done: 0 }
    }

    fn tell(&mut self, outcome: &Outcome, reader: &Reader<'_>) {
        self.done += 1;
        match self.format {
            Format::Json => _ = super::print(&(serde_json::to_string(outcome).unwrap_or_default() + "\n")),
            Format::Yaml => _ = super::print(&format!("---\n{}", yaml_serde::to_string(outcome).unwrap_or_default())),
            Format::Table if matches!(outcome.outcome, Done::Failed | Done::Unknown) => {
                let why = outcome.why.as_deref().unwrap_or_default();
                eprintln!("cometmq: {} {}: {why}", outcome.group, outcome.id);
            }
            Format::Table => {}
        }
        let now = Instant::now();
        if self.on_terminal && self.shown.is_none_or(|shown| now - shown > Duration::from_millis(500)) {
            self.shown = Some(now);
            let (looked, total) = (reader.looked, reader.total);
            let name = self.language.pick("done, looked at", "已处理，已查看");
            eprint!("\r{} {name} {looked}/{total}\u{1b}[K", self.done);
        }
    }

    fn end(&self) {
        if self.shown.is_some() {
            eprint!("\r\u{1b}[K");
        }
    }
}

fn summary(tally: &Tally, format: Format, language: Language) -> Ended {
    let name = |done: Done| match done {
        Done::Would => language.pick("[dry run] selected", "[试运行] 选中"),
        Done::Requeued => language.pick("requeued", "已重新投递"),
        Done::Dropped => language.pick("dropped", "已丢弃"),
        Done::Failed => language.pick("failed", "失败"),
        Done::Unknown => language.pick("unknown, run it again", "结果未知，请再次运行"),
    };
    let counts = tally.iter().map(|(done, count)| format!("{}: {count}", name(*done))).collect::<Vec<_>>();
    let counts = if counts.is_empty() {
        language.pick("none selected", "没有选中任何死信").to_owned()
    } else {
        counts.join(", ")
    };
    match format {
        Format::Table => _ = super::print(&format!("{counts}\n")),
        Format::Json | Format::Yaml => eprintln!("{counts}"),
    }
    match tally.keys().any(|done| matches!(done, Done::Failed | Done::Unknown)) {
        true => Ended::Partly,
        false => Ended::Done,
    }
}
