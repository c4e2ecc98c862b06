//! Where groups go on.

use super::{Dry, Format, Namesrv, Output, done, plan, print, render, time};
use crate::environment::Environment;
use ::admin::offset::{Before, Move, Target};
use ::admin::{Admin, Error, impact, offset};
use serde::Serialize;
use std::path::PathBuf;

/// Where groups go on.
#[derive(Debug, clap::Subcommand)]
#[command(rename_all = "camelCase")]
pub enum OffsetCommand {
    /// A group goes on at a time, at the end, or at an offset of one queue; --undo goes back
    ResetOffsetByTime(Reset),
    /// A group goes on at the end: what it has not consumed it never gets
    SkipAccumulatedMessage {
        /// The group
        #[arg(short, long)]
        group: String,
        /// The topic
        #[arg(short, long)]
        topic: String,
        /// Members are moved forward, too
        #[arg(short, long, num_args = 0..=1, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
        force: bool,
        #[command(flatten)]
        dry: Dry,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
    /// A group goes on where another one is
    CloneGroupOffset {
        /// The group whose offsets these are
        #[arg(short, long = "srcGroup", value_name = "NAME")]
        source: String,
        /// The group that gets them
        #[arg(short, long = "destGroup", value_name = "NAME")]
        destination: String,
        /// The topic
        #[arg(short, long)]
        topic: String,
        /// Also of a topic to which the source group does not subscribe any more
        #[arg(short, long, num_args = 0..=1, default_value = "false", default_missing_value = "true")]
        offline: bool,
        #[command(flatten)]
        dry: Dry,
        #[command(flatten)]
        namesrv: Namesrv,
    },
}

/// A group goes on at a time, at the end, or at an offset of one queue; --undo goes back.
#[derive(Debug, clap::Args)]
pub struct Reset {
    /// The group
    #[arg(short, long)]
    group: String,
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// To the first message stored then or later: ms since 1970, now, -2h, 2026-11-21#10:00:00:000; -1: to the end
    #[arg(
        short = 's', long, value_name = "TIME", allow_hyphen_values = true, value_parser = time::millis,
        required_unless_present_any = ["offset", "undo"]
    )]
    timestamp: Option<i64>,
    /// Members are moved forward, too
    #[arg(short, long, num_args = 0..=1, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
    force: bool,
    /// Only on this broker, by its name or address
    #[arg(short, long, value_name = "NAME", requires = "queue")]
    broker: Option<String>,
    /// Only this queue
    #[arg(short, long, value_name = "N", requires = "broker", requires = "offset")]
    queue: Option<i32>,
    /// To this offset of the queue
    #[arg(short, long, value_name = "N", requires = "queue")]
    offset: Option<i64>,
    /// Go back to where the group was before its last reset from here, or before the one that a file tells of
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with_all = ["timestamp", "offset"])]
    undo: Option<Option<PathBuf>>,
    #[command(flatten)]
    dry: Dry,
    #[command(flatten)]
    namesrv: Namesrv,
    /// A table for people, JSON or YAML for programs
    #[arg(long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// What a reset would do, or did.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    group: String,
    topic: String,
    /// Members that are connected.
    online: Vec<String>,
    skipped: i64,
    again: i64,
    queues: Vec<Queue>,
    /// The file with which it is undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    undo: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Queue {
    #[serde(flatten)]
    to: Move,
    skipped: i64,
    again: i64,
}

pub async fn run(command: OffsetCommand, environment: &Environment) -> Result<(), Error> {
    match command {
        OffsetCommand::ResetOffsetByTime(args) => reset(args, environment).await,
        OffsetCommand::SkipAccumulatedMessage { group, topic, force, dry, namesrv, output } => {
            let admin = namesrv.admin(environment);
            let moves = offset::preview(&admin, &group, &topic, Target::End, None).await?;
            let act = async || offset::reset(&admin, &group, &topic, Target::End, force).await.map(drop);
            change(environment, &admin, (&group, &topic), moves, dry, output.output, act).await
        }
        OffsetCommand::CloneGroupOffset { source, destination, topic, offline, dry, namesrv } => {
            let admin = namesrv.admin(environment);
            let what = format!("{source} -> {destination}, {topic}");
            if dry.dry_run {
                let moves = offset::copy_preview(&admin, &source, &destination, &topic).await?;
                plan::act(environment, ("offsets would be copied", "将复制位点"), &what);
                let columns = [
                    ("broker", "broker", "Broker"),
                    ("queueId", "queue", "队列"),
                    ("from", "now", "当前位点"),
                    ("to", "would be", "将变为"),
                ];
                print(&render::rows(&moves, &columns, environment.language));
                return Ok(());
            }
            offset::copy(&admin, &source, &destination, &topic, offline).await?;
            done(environment, "offsets copied", "已复制位点", &what);
            Ok(())
        }
    }
}

async fn reset(args: Reset, environment: &Environment) -> Result<(), Error> {
    let admin = args.namesrv.admin(environment);
    let (group, topic) = (&args.group, &args.topic);
    if let Some(file) = args.undo {
        let file = match file {
            Some(file) => file,
            None => undo_file(environment, group, topic)?,
        };
        let text = std::fs::read(&file).map_err(|error| Error::File { path: file.clone(), error })?;
        let before: Before = serde_json::from_slice(&text)
            .map_err(|error| Error::Input(format!("{} tells of no reset: {error}", file.display())))?;
        if before.group != *group || before.topic != *topic {
            let of = format!("group {} and topic {}", before.group, before.topic);
            return Err(Error::Input(format!("{} tells of a reset of {of}", file.display())));
        }
        let mut moves = offset::preview(&admin, group, topic, Target::End, None).await?;
        moves.retain_mut(|it| {
            let was = before.moves.iter().find(|was| was.broker == it.broker && was.queue_id == it.queue_id);
            let Some(from) = was.and_then(|was| was.from) else { return false };
            it.to = from.clamp(it.min, it.max);
            true
        });
        let act = async || offset::undo(&admin, &before).await.map(drop);
        return change(environment, &admin, (group, topic), moves, args.dry, args.output, act).await;
    }
    let target = match args.timestamp {
        Some(at) if at >= 0 => Target::Time(at),
        _ => Target::End,
    };
    let queue = match (&args.broker, args.queue, args.offset) {
        (Some(broker), Some(queue), Some(to)) => Some((broker.as_str(), queue, to)),
        _ => None,
    };
    let moves = offset::preview(&admin, group, topic, target, queue).await?;
    let act = async || match queue {
        Some((broker, id, to)) => offset::reset_queue(&admin, group, topic, broker, id, to).await.map(drop),
        None => offset::reset(&admin, group, topic, target, args.force).await.map(drop),
    };
    change(environment, &admin, (group, topic), moves, args.dry, args.output, act).await
}

/// Keeps where the group is, makes the change, and shows what it did.
async fn change(
    environment: &Environment,
    admin: &Admin,
    (group, topic): (&str, &str),
    moves: Vec<Move>,
    dry: Dry,
    output: Format,
    act: impl AsyncFn() -> Result<(), Error>,
) -> Result<(), Error> {
    let online = impact::affected(admin, group, Some(topic)).await?.members;
    let mut undo = None;
    if !dry.dry_run {
        let file = undo_file(environment, group, topic)?;
        let text = serde_json::to_vec_pretty(&Before::new(group, topic, &moves)).unwrap_or_default();
        // What an earlier change can be undone by stays until this one is made; if only a part of it is, too.
        let fresh = file.with_extension("new");
        super::save(&fresh, &text)?;
        let acted = act().await;
        if acted.is_ok() || !file.exists() {
            std::fs::rename(&fresh, &file).map_err(|error| Error::Input(format!("{}: {error}", file.display())))?;
        }
        acted?;
        undo = Some(file);
    }
    let queue = |to: Move| Queue { skipped: to.skipped(), again: to.again(), to };
    let queues: Vec<_> = moves.into_iter().map(queue).collect();
    let shown = Shown {
        group: group.to_owned(),
        topic: topic.to_owned(),
        online,
        skipped: queues.iter().map(|queue| queue.skipped).sum(),
        again: queues.iter().map(|queue| queue.again).sum(),
        queues,
        undo,
    };
    super::print(&output.text(&shown, |shown| {
        let pick = |english, chinese| environment.language.pick(english, chinese);
        let columns = [
            ("broker", "broker", "Broker"),
            ("queueId", "queue", "队列"),
            ("from", "was", "原位点"),
            ("to", "goes on at", "新位点"),
            ("skipped", "skipped", "跳过"),
            ("again", "again", "重复消费"),
        ];
        let mut text = render::rows(&shown.queues, &columns, environment.language);
        let online = if shown.online.is_empty() { "-".to_owned() } else { shown.online.join(", ") };
        let [skipped, again, members] = [
            (pick("skipped", "跳过"), shown.skipped.to_string()),
            (pick("again", "重复消费"), shown.again.to_string()),
            (pick("online", "在线成员"), online),
        ]
        .map(|(name, value)| format!("{name} {value}"));
        text.push_str(&format!("\n  {skipped}, {again}, {members}\n"));
        if shown.undo.is_some() {
            let how = format!("cometmq admin resetOffsetByTime -g {} -t {} --undo", shown.group, shown.topic);
            text.push_str(&format!("  {}: {how}\n", pick("to go back", "撤销")));
        }
        text
    }));
    Ok(())
}

/// Where it is kept how a group stood in a topic before its last reset.
fn undo_file(environment: &Environment, group: &str, topic: &str) -> Result<PathBuf, Error> {
    let Some(home) = &environment.home else {
        return Err(Error::Input("there is no home directory (HOME) in which to keep what an undo needs".into()));
    };
    // Names are of letters, digits and `%|_-`; whatever else somebody wrote must not lead elsewhere.
    let plain = |name: &str| name.replace(['/', '\\', '.'], "_");
    Ok(home.join(".cometmq/undo").join(format!("{}@{}.json", plain(group), plain(topic))))
}
