//! Topics.

use super::{Brokers, Namesrv, Output, done};
use crate::environment::Environment;
use crate::output::table;
use ::admin::{Error, topic};
use protocol::request::topic::CreateTopic;

/// Topics.
#[derive(Debug, clap::Subcommand)]
#[command(rename_all = "camelCase")]
pub enum TopicCommand {
    /// All topics
    TopicList {
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
    /// Where a topic is: its brokers and its queues there
    TopicRoute {
        /// The topic
        #[arg(short, long)]
        topic: String,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
    /// Make a topic, or change it
    UpdateTopic(UpdateTopic),
    /// Delete a topic with its messages
    DeleteTopic {
        /// The topic
        #[arg(short, long)]
        topic: String,
        /// The cluster whose brokers delete it
        #[arg(short, long = "clusterName", value_name = "NAME")]
        cluster: String,
        #[command(flatten)]
        namesrv: Namesrv,
    },
}

/// Make a topic, or change it.
#[derive(Debug, clap::Args)]
pub struct UpdateTopic {
    /// The topic
    #[arg(short, long)]
    topic: String,
    #[command(flatten)]
    brokers: Brokers,
    /// Queues to read from
    #[arg(short, long = "readQueueNums", value_name = "N", default_value_t = 8)]
    read_queues: i32,
    /// Queues to write to
    #[arg(short, long = "writeQueueNums", value_name = "N", default_value_t = 8)]
    write_queues: i32,
    /// 2 write, 4 read, 6 both
    #[arg(short, long, default_value_t = 6)]
    perm: i32,
    /// An ordered topic
    #[arg(short, long, num_args = 0..=1, default_value = "false", default_missing_value = "true")]
    order: bool,
    /// `+name=value,-name`
    #[arg(short, long)]
    attributes: Option<String>,
    #[command(flatten)]
    namesrv: Namesrv,
}

pub async fn run(command: TopicCommand, environment: &Environment) -> Result<(), Error> {
    let pick = |english, chinese| environment.language.pick(english, chinese);
    match command {
        TopicCommand::TopicList { namesrv, output } => {
            output.show(&topic::list(&namesrv.admin(environment)).await?, |topics| {
                topics.iter().fold(String::new(), |lines, topic| lines + topic + "\n")
            });
        }
        TopicCommand::TopicRoute { topic, namesrv, output } => {
            output.show(&topic::route(&namesrv.admin(environment), &topic).await?, |route| {
                let address = |name: &str| {
                    let broker = route.broker_datas.iter().find(|broker| broker.broker_name == name);
                    broker.and_then(|broker| broker.broker_addrs.get(&0).cloned()).unwrap_or_default()
                };
                let queues = route.queue_datas.iter();
                let numbers = |queue: &protocol::route::QueueData| {
                    [queue.read_queue_nums, queue.write_queue_nums, queue.perm].map(|number| number.to_string())
                };
                let row = |queue: &protocol::route::QueueData| {
                    [vec![queue.broker_name.clone(), address(&queue.broker_name)], numbers(queue).to_vec()].concat()
                };
                let head = [
                    "broker",
                    pick("master", "主节点"),
                    pick("read queues", "读队列"),
                    pick("write queues", "写队列"),
                    "perm",
                ];
                table(&head, &queues.map(row).collect::<Vec<_>>())
            });
        }
        TopicCommand::UpdateTopic(args) => {
            let admin = args.namesrv.admin(environment);
            let request = CreateTopic {
                topic: args.topic,
                read_queue_nums: args.read_queues,
                write_queue_nums: args.write_queues,
                perm: args.perm,
                topic_filter_type: Some("SINGLE_TAG".into()),
                topic_sys_flag: Some(0),
                order: Some(args.order),
                attributes: args.attributes,
                ..CreateTopic::default()
            };
            for broker in args.brokers.addresses(&admin).await? {
                topic::update(&admin, &broker, &request).await?;
                done(environment, "created or changed on", "已创建或更新于", &broker);
            }
        }
        TopicCommand::DeleteTopic { topic, cluster, namesrv } => {
            topic::delete(&namesrv.admin(environment), &cluster, &topic).await?;
            done(environment, "deleted", "已删除", &topic);
        }
    }
    Ok(())
}
