//! Messages that wait for their time.

use super::transaction::Broker;
use super::{Dry, Output, done, plan};
use crate::environment::Environment;
use crate::output::{local_time, table};
use ::admin::{Error, timer};
use protocol::request::timer::PendingTimer;

/// Messages that wait for their time.
#[derive(Debug, clap::Subcommand)]
pub enum TimerCommand {
    /// Those that wait, the next first
    List {
        #[command(flatten)]
        broker: Broker,
        /// From where the list before ended
        #[arg(long, value_name = "PLACE")]
        from: Option<String>,
        /// At most so many, up to 1000
        #[arg(long, default_value_t = 100)]
        max: i32,
        #[command(flatten)]
        output: Output,
    },
    /// Never deliver one
    Cancel {
        #[command(flatten)]
        broker: Broker,
        /// Its handle in the list
        handle: String,
        #[command(flatten)]
        dry: Dry,
    },
    /// Deliver one now, and not when it is due
    Fire {
        #[command(flatten)]
        broker: Broker,
        /// Its handle in the list
        handle: String,
        #[command(flatten)]
        dry: Dry,
    },
}

/// A message that waits, in a line.
fn told(it: &PendingTimer) -> String {
    format!("{}#{}  {}  {}", it.topic, it.queue_id, it.unique_key, local_time(it.due))
}

pub async fn run(command: TimerCommand, environment: &Environment) -> Result<(), Error> {
    let pick = |english, chinese| environment.language.pick(english, chinese);
    match command {
        TimerCommand::List { broker: Broker { broker, namesrv }, from, max, output } => {
            let admin = namesrv.admin(environment);
            let broker = ::admin::cluster::broker(&admin, &broker).await?;
            let found = timer::list(&admin, &broker, from.as_deref(), max).await?;
            output.show(&found, |found| {
                let row = |it: &PendingTimer| {
                    let [topic, key, handle] = [&it.topic, &it.unique_key, &it.recall_handle].map(String::clone);
                    vec![local_time(it.due), topic, it.queue_id.to_string(), local_time(it.born), key, handle]
                };
                let head = [
                    pick("due", "到期时间"),
                    pick("topic", "主题"),
                    pick("queue", "队列"),
                    pick("born", "产生时间"),
                    pick("unique key", "唯一键"),
                    pick("handle", "句柄"),
                ];
                let mut text = table(&head, &found.timers.iter().map(row).collect::<Vec<_>>());
                if let Some(next) = &found.next {
                    text.push_str(&format!("{}: --from {next}\n", pick("there are more", "还有更多")));
                }
                text
            });
        }
        TimerCommand::Cancel { broker: Broker { broker, namesrv }, handle, dry } => {
            let admin = namesrv.admin(environment);
            let broker = ::admin::cluster::broker(&admin, &broker).await?;
            if dry.dry_run {
                let found = timer::find(&admin, &broker, &handle).await?;
                plan::act(environment, ("would never be delivered", "将不再投递"), &told(&found));
                return Ok(());
            }
            timer::cancel(&admin, &broker, &handle).await?;
            done(environment, "cancelled", "已取消", &handle);
        }
        TimerCommand::Fire { broker: Broker { broker, namesrv }, handle, dry } => {
            let admin = namesrv.admin(environment);
            let broker = ::admin::cluster::broker(&admin, &broker).await?;
            if dry.dry_run {
                let found = timer::find(&admin, &broker, &handle).await?;
                plan::act(environment, ("would be delivered now", "将立即投递"), &told(&found));
                return Ok(());
            }
            timer::fire(&admin, &broker, &handle).await?;
            done(environment, "delivered", "已投递", &handle);
        }
    }
    Ok(())
}
