//! Topics.

use super::{Brokers, Dry, Namesrv, Output, View, done, each, plan, render};
use crate::environment::Environment;
use crate::output::{local_time, table};
use ::admin::{Error, impact, send, topic};
use protocol::request::topic::CreateTopic;
use protocol::topic::TopicConfig;
use std::path::PathBuf;

/// Topics.
#[derive(Debug, clap::Subcommand)]
#[command(rename_all = "camelCase")]
pub enum TopicCommand {
    /// All topics
    TopicList {
        /// Also their clusters, and the groups that consume them
        #[arg(short, long = "clusterModel")]
        clusters: bool,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        view: View,
    },
    /// Where a topic is: its brokers and its queues there
    TopicRoute {
        #[command(flatten)]
        of: OneTopic,
        /// Taken because mqadmin takes it; the table is a list
        #[arg(short, long, hide = true)]
        list: bool,
    },
    /// How full a topic is, queue by queue
    TopicStatus {
        #[command(flatten)]
        of: OneTopic,
        /// The topic whose brokers are asked: a cluster's name, or the parent of a lite topic
        #[arg(short = 'c', long = "cluster", value_name = "TOPIC")]
        route: Option<String>,
    },
    /// The clusters that have a topic
    TopicClusterList(OneTopic),
    /// What may be done with a topic: 2 write, 4 read, 6 both; all else stays
    UpdateTopicPerm {
        /// The topic
        #[arg(short, long)]
        topic: String,
        /// 2 write, 4 read, 6 both
        #[arg(short, long)]
        perm: i32,
        /// One broker, by its address or name; without it and a cluster all that have the topic
        #[arg(short, long = "brokerAddr", value_name = "ADDRESS", conflicts_with = "cluster")]
        broker: Option<String>,
        /// All masters of a cluster
        #[arg(short, long = "clusterName", value_name = "NAME")]
        cluster: Option<String>,
        #[command(flatten)]
        dry: Dry,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
    /// The queues of an ordered topic that stay where they are when a broker is down
    UpdateOrderConf {
        /// The topic
        #[arg(short, long)]
        topic: String,
        /// What to do
        #[arg(short, long, value_enum)]
        method: OrderMethod,
        /// Its queues on each broker, as broker-a:4;broker-b:4
        #[arg(short = 'v', long = "orderConf", value_name = "QUEUES", required_if_eq("method", "put"))]
        queues: Option<String>,
        #[command(flatten)]
        dry: Dry,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
    /// Which queues each member of a group would get, if these were its members
    #[command(name = "allocateMQ")]
    Allocate {
        /// The topic
        #[arg(short, long)]
        topic: String,
        /// The members, by any names
        #[arg(short = 'i', long = "ipList", value_name = "NAME,…", value_delimiter = ',', required = true)]
        members: Vec<String>,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
    /// Send messages to each queue of a topic in turn, and take the time
    #[command(name = "checkMsgSendRT")]
    Probe {
        /// The topic
        #[arg(short, long)]
        topic: String,
        /// How many messages
        #[arg(short, long, default_value_t = 100)]
        amount: usize,
        /// The size of a message, bytes
        #[arg(short, long, value_name = "BYTES", default_value_t = 128)]
        size: usize,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        view: View,
    },
    /// Make a topic, or change it
    UpdateTopic(UpdateTopic),
    /// Make topics, or change them: those of a JSON file
    UpdateTopicList {
        #[command(flatten)]
        brokers: Brokers,
        /// The file: [{"topicName": …, "readQueueNums": 8, "writeQueueNums": 8, "perm": 6}, …]
        #[arg(short, long = "filename", value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        dry: Dry,
        #[command(flatten)]
        namesrv: Namesrv,
    },
    /// Delete a topic with its messages
    DeleteTopic {
        /// The topic
        #[arg(short, long)]
        topic: String,
        /// The cluster whose brokers delete it
        #[arg(short, long = "clusterName", value_name = "NAME")]
        cluster: String,
        #[command(flatten)]
        dry: Dry,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
}

/// What is done about the queues of an ordered topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OrderMethod {
    /// Show them
    Get,
    /// Set them
    Put,
    /// It is no ordered topic any more
    Delete,
}

/// One topic.
#[derive(Debug, clap::Args)]
pub struct OneTopic {
    /// The topic
    #[arg(short, long)]
    topic: String,
    #[command(flatten)]
    namesrv: Namesrv,
    #[command(flatten)]
    view: View,
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
    #[arg(short, long, allow_hyphen_values = true)]
    attributes: Option<String>,
    /// A topic of one unit, where messages stay in the unit that they are sent in
    #[arg(short, long, num_args = 0..=1, default_value = "false", default_missing_value = "true")]
    unit: bool,
    /// A topic that groups of units subscribe to
    #[arg(short = 's', long = "hasUnitSub", num_args = 0..=1, default_value = "false", default_missing_value = "true")]
    unit_sub: bool,
    #[command(flatten)]
    dry: Dry,
    #[command(flatten)]
    namesrv: Namesrv,
}

pub async fn run(command: TopicCommand, environment: &Environment) -> Result<(), Error> {
    let pick = |english, chinese| environment.language.pick(english, chinese);
    match command {
        TopicCommand::TopicList { clusters: true, namesrv, view } => {
            let admin = namesrv.admin(environment);
            let columns =
                [("cluster", "cluster", "集群"), ("topic", "topic", "主题"), ("groups", "groups", "消费者组")];
            view.rows(environment, &columns, async || topic::list_by_cluster(&admin).await).await?;
        }
        TopicCommand::TopicList { clusters: false, namesrv, view } => {
            let admin = namesrv.admin(environment);
            let lines = |topics: &Vec<String>| topics.iter().fold(String::new(), |lines, topic| lines + topic + "\n");
            view.live(environment, async || topic::list(&admin).await, lines).await?;
        }
        TopicCommand::TopicRoute { of: OneTopic { topic, namesrv, view }, list: _ } => {
            let admin = namesrv.admin(environment);
            view.live(
                environment,
                async || topic::route(&admin, &topic).await,
                |route| {
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
                },
            )
            .await?;
        }
        TopicCommand::TopicStatus { of: OneTopic { topic, namesrv, view }, route } => {
            let admin = namesrv.admin(environment);
            let columns = [
                ("broker", "broker", "Broker"),
                ("queueId", "queue", "队列"),
                ("minOffset", "first", "最小位点"),
                ("maxOffset", "end", "最大位点"),
                ("lastTimestamp", "last stored", "最近写入"),
            ];
            view.live(
                environment,
                async || topic::status_by_route(&admin, &topic, route.as_deref().unwrap_or(&topic)).await,
                |status| {
                    let queues = render::rows(&status.queues, &columns, environment.language);
                    let (messages, in_tps) = (status.messages(), status.put_tps);
                    let (all, rate) = (pick("messages", "消息数"), pick("in/s", "写入/秒"));
                    format!("{queues}\n  {all} {messages}, {rate} {in_tps:.1}\n")
                },
            )
            .await?;
        }
        TopicCommand::TopicClusterList(OneTopic { topic, namesrv, view }) => {
            let admin = namesrv.admin(environment);
            view.live(
                environment,
                async || topic::clusters(&admin, &topic).await,
                |clusters| clusters.iter().fold(String::new(), |lines, cluster| lines + cluster + "\n"),
            )
            .await?;
        }
        TopicCommand::UpdateTopicPerm { topic, perm, broker, cluster, dry, namesrv, output } => {
            let admin = namesrv.admin(environment);
            let changes =
                topic::permission_changes(&admin, &topic, perm, broker.as_deref(), cluster.as_deref()).await?;
            for change in changes.iter().filter(|_| !dry.dry_run) {
                topic::update_permission(&admin, &topic, change).await?;
            }
            let columns = [
                ("broker", "broker", "Broker"),
                ("address", "address", "地址"),
                ("before", "before", "之前"),
                ("after", "after", "之后"),
            ];
            output.show(&changes, |changes| render::rows(changes, &columns, environment.language));
        }
        TopicCommand::UpdateOrderConf { topic, method, queues, dry, namesrv, output } => {
            let admin = namesrv.admin(environment);
            let all = [admin.name_servers().join(";")];
            match method {
                OrderMethod::Get => {
                    let Some(order) = topic::order(&admin, &topic).await? else {
                        return Err(Error::NotThere {
                            kind: "order configuration of topic",
                            name: topic,
                            nearest: None,
                        });
                    };
                    output.show(&order, |order| format!("{order}\n"));
                }
                OrderMethod::Put => {
                    let queues = queues.unwrap_or_default();
                    if dry.dry_run {
                        let before = topic::order(&admin, &topic).await?;
                        plan::value(environment, &all[0], &topic, before.as_deref(), Some(&queues));
                        return Ok(());
                    }
                    let act = async |_: &str| topic::set_order(&admin, &topic, &queues).await;
                    each(environment, dry, ("changed on", "已更改于"), &all, act).await?;
                }
                OrderMethod::Delete => {
                    if dry.dry_run {
                        let before = topic::order(&admin, &topic).await?;
                        plan::value(environment, &all[0], &topic, before.as_deref(), None);
                        return Ok(());
                    }
                    let act = async |_: &str| topic::remove_order(&admin, &topic).await;
                    each(environment, dry, ("deleted from", "已删除于"), &all, act).await?;
                }
            }
        }
        TopicCommand::Allocate { topic, members, namesrv, output } => {
            output.show(&topic::allocate(&namesrv.admin(environment), &topic, &members).await?, |shares| {
                let queue = |(broker, queue): &(String, i32)| format!("{broker}#{queue}");
                let row = |(member, queues): (&String, &Vec<(String, i32)>)| {
                    let names = queues.iter().map(queue).collect::<Vec<_>>().join(", ");
                    vec![member.clone(), queues.len().to_string(), names]
                };
                let head = [pick("member", "成员"), pick("queues", "队列数"), ""];
                table(&head, &shares.iter().map(row).collect::<Vec<_>>())
            });
        }
        TopicCommand::Probe { topic, amount, size, namesrv, view } => {
            let admin = namesrv.admin(environment);
            let probe = async || send::probe(&admin, &topic, amount, size).await;
            view.rows(environment, super::broker::PROBE, probe).await?;
        }
        TopicCommand::UpdateTopic(args) => {
            let admin = args.namesrv.admin(environment);
            let unit = if args.unit { protocol::topic::UNIT } else { 0 };
            let unit_sub = if args.unit_sub { protocol::topic::UNIT_SUB } else { 0 };
            let request = CreateTopic {
                topic: args.topic,
                read_queue_nums: args.read_queues,
                write_queue_nums: args.write_queues,
                perm: args.perm,
                topic_filter_type: Some("SINGLE_TAG".into()),
                topic_sys_flag: Some(unit | unit_sub),
                order: Some(args.order),
                attributes: args.attributes,
                ..CreateTopic::default()
            };
            let addresses = args.brokers.addresses(&admin).await?;
            if args.dry.dry_run {
                for address in addresses {
                    let before = topic::configs(&admin, &address).await?.remove(&request.topic);
                    let mut after = before.clone().unwrap_or_default();
                    after.read_queue_nums = request.read_queue_nums;
                    after.write_queue_nums = request.write_queue_nums;
                    after.perm = request.perm;
                    after.order = args.order;
                    after.topic_sys_flag = unit | unit_sub;
                    plan::attributes(&mut after.attributes, request.attributes.as_deref());
                    after.topic_name.clone_from(&request.topic);
                    plan::show(environment, &address, before.as_ref(), Some(&after));
                }
                return Ok(());
            }
            let act = async |address: &str| topic::update(&admin, address, &request).await;
            let what = ("created or changed on", "已创建或更新于");
            each(environment, args.dry, what, &addresses, act).await?;
        }
        TopicCommand::UpdateTopicList { brokers, file, dry, namesrv } => {
            let topics: Vec<TopicConfig> = super::load(&file)?;
            let admin = namesrv.admin(environment);
            let addresses = brokers.addresses(&admin).await?;
            if dry.dry_run {
                for address in addresses {
                    let mut known = topic::configs(&admin, &address).await?;
                    for after in &topics {
                        let before = known.remove(&after.topic_name);
                        let mut after = after.clone();
                        let changes = std::mem::take(&mut after.attributes);
                        after.attributes = before.as_ref().map(|it| it.attributes.clone()).unwrap_or_default();
                        plan::attribute_changes(&mut after.attributes, &changes);
                        let what = format!("{address}  {}", after.topic_name);
                        plan::show(environment, &what, before.as_ref(), Some(&after));
                    }
                }
                return Ok(());
            }
            let act = async |address: &str| topic::update_all(&admin, address, &topics).await;
            let what = ("created or changed on", "已创建或更新于");
            each(environment, dry, what, &addresses, act).await?;
        }
        TopicCommand::DeleteTopic { topic, cluster, dry, namesrv, output } => {
            let admin = namesrv.admin(environment);
            if dry.dry_run {
                let impact = impact::of_topic_deletion(&admin, &topic).await?;
                output.show(&impact, |it| {
                    let last = if it.last_timestamp > 0 { local_time(it.last_timestamp) } else { "-".into() };
                    let lost = match environment.language {
                        crate::text::Language::English => format!(
                            "  deleted would be: {} messages on {}; the last one came {last}\n",
                            it.messages,
                            it.brokers.join(", ")
                        ),
                        crate::text::Language::Chinese => {
                            format!(
                                "  将删除：{} 上的 {} 条消息；最近一条写入于 {last}\n",
                                it.brokers.join(", "),
                                it.messages
                            )
                        }
                    };
                    let columns = [
                        ("group", "group", "消费者组"),
                        ("lag", "not consumed", "未消费"),
                        ("members", "online", "在线成员"),
                    ];
                    lost + &render::rows(&it.groups, &columns, environment.language)
                });
                return Ok(());
            }
            topic::delete(&admin, &cluster, &topic).await?;
            done(environment, "deleted", "已删除", &topic);
        }
    }
    Ok(())
}
