//! Transactions.

use super::{Dry, Namesrv, Output, done, plan};
use crate::environment::Environment;
use crate::output::{local_time, table};
use ::admin::{Error, transaction};
use protocol::request::transaction::OpenTransaction;

/// Transactions that wait for their end, or were given up.
#[derive(Debug, clap::Subcommand)]
pub enum TransactionCommand {
    /// Those that wait for their end; with --parked those that were given up
    List {
        #[command(flatten)]
        broker: Broker,
        /// Those that were given up
        #[arg(long)]
        parked: bool,
        /// From this offset on
        #[arg(long, default_value_t = 0)]
        from: i64,
        /// At most so many, up to 1000
        #[arg(long, default_value_t = 100)]
        max: i32,
        #[command(flatten)]
        output: Output,
    },
    /// Deliver the message of one, in its producer's place
    Commit {
        #[command(flatten)]
        broker: Broker,
        /// Its offset in the list
        offset: i64,
        #[command(flatten)]
        dry: Dry,
    },
    /// Never deliver the message of one, in its producer's place
    Rollback {
        #[command(flatten)]
        broker: Broker,
        /// Its offset in the list
        offset: i64,
        #[command(flatten)]
        dry: Dry,
    },
    /// Take up again what was given up: its producers are asked anew
    Resume {
        #[command(flatten)]
        broker: Broker,
        /// Its message id in the list of those that were given up
        message_id: String,
        #[command(flatten)]
        dry: Dry,
    },
}

/// The broker that holds them.
#[derive(Debug, clap::Args)]
pub struct Broker {
    /// The broker, by its address or name
    #[arg(short, long = "brokerAddr", value_name = "ADDRESS")]
    pub(super) broker: String,
    #[command(flatten)]
    pub(super) namesrv: Namesrv,
}

/// A transaction, in a line.
fn told(it: &OpenTransaction) -> String {
    format!("{}  {}  {}  {}", it.offset, it.topic, it.producer_group, it.transaction_id)
}

pub async fn run(command: TransactionCommand, environment: &Environment) -> Result<(), Error> {
    let pick = |english, chinese| environment.language.pick(english, chinese);
    match command {
        TransactionCommand::List { broker: Broker { broker, namesrv }, parked, from, max, output } => {
            let admin = namesrv.admin(environment);
            let broker = ::admin::cluster::broker(&admin, &broker).await?;
            let found = match parked {
                true => transaction::parked(&admin, &broker, from, max).await?,
                false => transaction::open(&admin, &broker, from, max).await?,
            };
            output.show(&found, |found| {
                let row = |it: &OpenTransaction| {
                    let [topic, group, id] = [&it.topic, &it.producer_group, &it.transaction_id].map(String::clone);
                    let checks = it.checks.to_string();
                    vec![
                        it.offset.to_string(),
                        local_time(it.born),
                        topic,
                        group,
                        checks,
                        id,
                        it.offset_message_id.clone(),
                    ]
                };
                let head = [
                    pick("offset", "位点"),
                    pick("born", "产生时间"),
                    pick("topic", "主题"),
                    pick("producer group", "生产者组"),
                    pick("checks", "回查次数"),
                    pick("transaction", "事务 ID"),
                    pick("message id", "消息 ID"),
                ];
                table(&head, &found.iter().map(row).collect::<Vec<_>>())
            });
        }
        TransactionCommand::Commit { broker: Broker { broker, namesrv }, offset, dry } => {
            let admin = namesrv.admin(environment);
            let broker = ::admin::cluster::broker(&admin, &broker).await?;
            if dry.dry_run {
                let found = transaction::find(&admin, &broker, offset).await?;
                plan::act(environment, ("would be committed", "将提交"), &told(&found));
                return Ok(());
            }
            transaction::resolve(&admin, &broker, offset, true).await?;
            done(environment, "committed", "已提交", &offset.to_string());
        }
        TransactionCommand::Rollback { broker: Broker { broker, namesrv }, offset, dry } => {
            let admin = namesrv.admin(environment);
            let broker = ::admin::cluster::broker(&admin, &broker).await?;
            if dry.dry_run {
                let found = transaction::find(&admin, &broker, offset).await?;
                plan::act(environment, ("would be rolled back", "将回滚"), &told(&found));
                return Ok(());
            }
            transaction::resolve(&admin, &broker, offset, false).await?;
            done(environment, "rolled back", "已回滚", &offset.to_string());
        }
        TransactionCommand::Resume { broker: Broker { broker, namesrv }, message_id, dry } => {
            let admin = namesrv.admin(environment);
            let broker = ::admin::cluster::broker(&admin, &broker).await?;
            if dry.dry_run {
                let found = transaction::find_parked(&admin, &broker, &message_id).await?;
                plan::act(environment, ("would be taken up again", "将恢复回查"), &told(&found));
                return Ok(());
            }
            transaction::resume(&admin, &broker, &message_id).await?;
            done(environment, "taken up again", "已恢复回查", &message_id);
        }
    }
    Ok(())
}
