//! What goes in and out.

use super::{Namesrv, View};
use crate::environment::Environment;
use ::admin::{Error, stats};

/// What goes in and out.
#[derive(Debug, clap::Subcommand)]
#[command(rename_all = "camelCase")]
pub enum StatsCommand {
    /// What goes into and out of each topic, a line for each group
    StatsAll {
        /// Only topics into which something came in 24 hours
        #[arg(short, long = "activeTopic", num_args = 0..=1, default_value = "false", default_missing_value = "true")]
        active: bool,
        /// Only this topic
        #[arg(short, long)]
        topic: Option<String>,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        view: View,
    },
}

pub async fn run(command: StatsCommand, environment: &Environment) -> Result<(), Error> {
    let StatsCommand::StatsAll { active, topic, namesrv, view } = command;
    let admin = namesrv.admin(environment);
    let fetch = async || {
        let mut all = stats::all(&admin, topic.as_deref()).await?;
        all.retain(|it| !active || it.in_day > 0);
        Ok(all)
    };
    let columns = [
        ("topic", "topic", "主题"),
        ("group", "group", "消费者组"),
        ("lag", "lag", "堆积"),
        ("inTps", "in/s", "写入/秒"),
        ("outTps", "out/s", "消费/秒"),
        ("inDay", "in 24 h", "24 小时写入"),
        ("outDay", "out 24 h", "24 小时消费"),
    ];
    view.rows(environment, &columns, fetch).await
}
