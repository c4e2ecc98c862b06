//! New queues of ordered topics.

use super::{Brokers, Namesrv, Output, done};
use crate::environment::Environment;
use crate::output::{local_time, table};
use ::admin::{Error, order};
use protocol::request::order::OrderFence;
use serde::Serialize;

/// New queues of ordered topics, which wait until the old ones are consumed.
#[derive(Debug, clap::Subcommand)]
pub enum OrderCommand {
    /// Those that are there, and what a group has to consume first
    List {
        #[command(flatten)]
        brokers: Brokers,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
    /// Give the new queues of a topic out at once; keys that moved there may overtake themselves
    Release {
        /// The topic
        #[arg(short, long)]
        topic: String,
        #[command(flatten)]
        brokers: Brokers,
        #[command(flatten)]
        namesrv: Namesrv,
    },
}

/// A fence, and the broker it is on.
#[derive(Serialize)]
struct OnBroker {
    broker: String,
    #[serde(flatten)]
    fence: OrderFence,
}

pub async fn run(command: OrderCommand, environment: &Environment) -> Result<(), Error> {
    let pick = |english, chinese| environment.language.pick(english, chinese);
    match command {
        OrderCommand::List { brokers, namesrv, output } => {
            let admin = namesrv.admin(environment);
            let mut found = Vec::new();
            for broker in brokers.addresses(&admin).await? {
                let fences = order::fences(&admin, &broker).await?;
                found.extend(fences.into_iter().map(|fence| OnBroker { broker: broker.clone(), fence }));
            }
            output.show(&found, |found| {
                let row = |OnBroker { broker, fence }: &OnBroker| {
                    let ends = match &fence.ends {
                        None => pick("(producers still learn of them)", "（生产者尚在更新路由）").to_owned(),
                        Some(ends) => ends
                            .iter()
                            .enumerate()
                            .map(|(queue, end)| format!("{queue}:{end}"))
                            .collect::<Vec<_>>()
                            .join(" "),
                    };
                    let queues = [format!("0..{}", fence.before), format!("{}..{}", fence.before, fence.after)];
                    [vec![broker.clone(), fence.topic.clone(), local_time(fence.at)], queues.to_vec(), vec![ends]]
                        .concat()
                };
                let head = [
                    "broker",
                    pick("topic", "主题"),
                    pick("since", "起始时间"),
                    pick("old queues", "旧队列"),
                    pick("new queues", "新队列"),
                    pick("to be consumed first, queue:offset", "须先消费到（队列:位点）"),
                ];
                table(&head, &found.iter().map(row).collect::<Vec<_>>())
            });
        }
        OrderCommand::Release { topic, brokers, namesrv } => {
            let admin = namesrv.admin(environment);
            for broker in brokers.addresses(&admin).await? {
                order::remove_fences(&admin, &broker, &topic).await?;
                done(environment, "released on", "已放行于", &broker);
            }
        }
    }
    Ok(())
}
