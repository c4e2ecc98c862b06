//! Transactions.

use super::{Namesrv, Output, done};
use crate::environment::Environment;
use crate::output::{local_time, table};
use ::admin::{Error, transaction};

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
    },
    /// Never deliver the message of one, in its producer's place
    Rollback {
        #[command(flatten)]
        broker: Broker,
        /// Its offset in the list
        offset: i64,
    },
    /// Take up again what was given up: its producers are asked anew
    Resume {
        #[command(flatten)]
        broker: Broker,
        /// Its message id in the list of those that were given up
        message_id: String,
    },
}

/// The broker that holds them.
#[derive(Debug, clap::Args)]
pub struct Broker {
    /// The broker
    #[arg(short, long = "brokerAddr", value_name = "ADDRESS")]
    pub(super) broker: String,
    #[command(flatten)]
    pub(super) namesrv: Namesrv,
}

pub async fn run(command: TransactionCommand, environment: &Environment) -> Result<(), Error> {
    let pick = |english, chinese| environment.language.pick(english, chinese);
    match command {
        TransactionCommand::List { broker: Broker { broker, namesrv }, parked, from, max, output } => {
            let admin = namesrv.admin(environment);
            let found = match parked {
                true => transaction::parked(&admin, &broker, from, max).await?,
                false => transaction::open(&admin, &broker, from, max).await?,
            };
            output.show(&found, |found| {
                let row = |it: &protocol::request::transaction::OpenTransaction| {
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
        TransactionCommand::Commit { broker: Broker { broker, namesrv }, offset } => {
            transaction::resolve(&namesrv.admin(environment), &broker, offset, true).await?;
            done(environment, "committed", "已提交", &offset.to_string());
        }
        TransactionCommand::Rollback { broker: Broker { broker, namesrv }, offset } => {
            transaction::resolve(&namesrv.admin(environment), &broker, offset, false).await?;
            done(environment, "rolled back", "已回滚", &offset.to_string());
        }
        TransactionCommand::Resume { broker: Broker { broker, namesrv }, message_id } => {
            transaction::resume(&namesrv.admin(environment), &broker, &message_id).await?;
            done(environment, "taken up again", "已恢复回查", &message_id);
        }
    }
    Ok(())
}
