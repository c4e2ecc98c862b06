//! Brokers.

use super::{AnyBrokers, Brokers, Dry, LongView, Namesrv, View, each, plan, render, time};
use crate::environment::Environment;
use ::admin::{Admin, Error, broker, cluster, send};
use protocol::admin::HaStatus;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Brokers.
#[derive(Debug, clap::Subcommand)]
#[command(rename_all = "camelCase")]
pub enum BrokerCommand {
    /// How brokers are: messages of today, messages per second, disk
    BrokerStatus {
        #[command(flatten)]
        brokers: Brokers,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        view: View,
    },
    /// How far the groups of a broker are
    BrokerConsumeStats {
        /// The broker, by its address or name
        #[arg(short, long = "brokerAddr", value_name = "ADDRESS")]
        broker: String,
        /// Only queues with so many messages that are not consumed
        #[arg(short, long, value_name = "N", default_value_t = 0)]
        level: i64,
        /// Only ordered topics
        #[arg(short, long, num_args = 0..=1, default_value = "false", default_missing_value = "true")]
        order: bool,
        /// So long the broker may take, milliseconds
        #[arg(short, long = "timeoutMillis", value_name = "MS", default_value_t = 50_000)]
        timeout: u64,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        view: LongView,
    },
    /// The settings of brokers that are in force
    GetBrokerConfig {
        #[command(flatten)]
        brokers: Brokers,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        view: View,
    },
    /// Change a setting of brokers while they run
    UpdateBrokerConfig {
        #[command(flatten)]
        brokers: Brokers,
        /// The setting
        #[arg(short, long)]
        key: String,
        /// Its new value
        #[arg(short, long, allow_hyphen_values = true)]
        value: String,
        /// Of a cluster, slaves too
        #[arg(short = 'a', long = "updateAllBroker", num_args = 0..=1, default_value = "false", default_missing_value = "true")]
        all: bool,
        #[command(flatten)]
        dry: Dry,
        #[command(flatten)]
        namesrv: Namesrv,
    },
    /// Let consume queues and index follow the commit log now
    #[command(name = "cleanExpiredCQ")]
    CleanExpiredQueues(Clean),
    /// Delete queues of topics that are not there any more
    CleanUnusedTopic(Clean),
    /// Delete files of the commit log older than fileReservedTime now
    DeleteExpiredCommitLog(Clean),
    /// The slaves of brokers, and how far they are; CometMQ's brokers have none yet
    HaStatus {
        #[command(flatten)]
        brokers: Brokers,
        /// As --watch
        #[arg(short, long, value_name = "SECONDS", value_parser = time::seconds, conflicts_with = "every")]
        interval: Option<Duration>,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        view: View,
    },
    /// Who sends to a broker
    Producer {
        /// The broker, by its address or name
        #[arg(short, long, value_name = "ADDRESS")]
        broker: String,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        view: View,
    },
    /// Send messages to the topic that has a broker's name, and take the time
    SendMsgStatus {
        /// The broker's name
        #[arg(short, long = "brokerName", value_name = "NAME")]
        broker: String,
        /// The size of a message, bytes
        #[arg(short, long = "messageSize", value_name = "BYTES", default_value_t = 128)]
        size: usize,
        /// How many messages
        #[arg(short, long, default_value_t = 50)]
        count: usize,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        view: View,
    },
}

/// Who cleans up.
#[derive(Debug, clap::Args)]
pub struct Clean {
    #[command(flatten)]
    brokers: AnyBrokers,
    #[command(flatten)]
    dry: Dry,
    #[command(flatten)]
    namesrv: Namesrv,
}

/// A producer of a broker.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Producer {
    group: String,
    #[serde(flatten)]
    info: protocol::admin::ProducerInfo,
}

/// A queue of a group.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Queue {
    topic: String,
    group: String,
    broker: String,
    queue_id: i32,
    broker_offset: i64,
    consumer_offset: i64,
    lag: i64,
    last_timestamp: i64,
}

/// What a probe is shown as; `sendMsgStatus` and `checkMsgSendRT` have it in common.
pub const PROBE: &[render::Column] = &[
    ("broker", "broker", "Broker"),
    ("queueId", "queue", "队列"),
    ("status", "result", "结果"),
    ("millis", "ms", "毫秒"),
    ("offsetMessageId", "message id", "消息 ID"),
];

/// What each of these brokers answers, by its address.
async fn of_each<T>(
    admin: &Admin,
    brokers: &Brokers,
    ask: impl AsyncFn(&Admin, &str) -> Result<T, Error>,
) -> Result<BTreeMap<String, T>, Error> {
    let mut all = BTreeMap::new();
    for address in brokers.addresses(admin).await? {
        let answer = ask(admin, &address).await?;
        all.insert(address, answer);
    }
    Ok(all)
}

pub async fn run(command: BrokerCommand, environment: &Environment) -> Result<(), Error> {
    match command {
        BrokerCommand::BrokerStatus { brokers, namesrv, view } => {
            let admin = namesrv.admin(environment);
            let fetch = async || of_each(&admin, &brokers, broker::status).await;
            view.live(environment, fetch, by_broker).await
        }
        BrokerCommand::BrokerConsumeStats { broker, level, order, timeout, namesrv, view } => {
            let admin = namesrv.admin(environment).with_timeout(Duration::from_millis(timeout));
            let fetch = async || {
                let address = cluster::broker(&admin, &broker).await?;
                let stats = broker::consume_stats(&admin, &address, order).await?;
                let mut queues = Vec::new();
                for (group, stats) in stats.consume_stats_list.into_iter().flatten() {
                    for (queue, offsets) in stats.into_iter().flat_map(|it| it.offset_table) {
                        let lag = (offsets.broker_offset - offsets.consumer_offset).max(0);
                        queues.push(Queue {
                            topic: queue.topic,
                            group: group.clone(),
                            broker: queue.broker_name,
                            queue_id: queue.queue_id,
                            broker_offset: offsets.broker_offset,
                            consumer_offset: offsets.consumer_offset,
                            lag,
                            last_timestamp: offsets.last_timestamp,
                        });
                    }
                }
                queues.retain(|queue| queue.lag >= level);
                queues.sort_by(|a, b| (&a.topic, &a.group, a.queue_id).cmp(&(&b.topic, &b.group, b.queue_id)));
                Ok(queues)
            };
            let columns = [
                ("topic", "topic", "主题"),
                ("group", "group", "消费者组"),
                ("broker", "broker", "Broker"),
                ("queueId", "queue", "队列"),
                ("brokerOffset", "end", "最大位点"),
                ("consumerOffset", "consumed", "消费位点"),
                ("lag", "lag", "堆积"),
                ("lastTimestamp", "last consumed", "最近消费的消息时间"),
            ];
            super::View::from(view).rows(environment, &columns, fetch).await
        }
        BrokerCommand::GetBrokerConfig { brokers, namesrv, view } => {
            let admin = namesrv.admin(environment);
            let fetch = async || of_each(&admin, &brokers, broker::config).await;
            view.live(environment, fetch, by_broker).await
        }
        BrokerCommand::UpdateBrokerConfig { brokers, key, value, all, dry, namesrv } => {
            let admin = namesrv.admin(environment);
            let addresses = match &brokers.cluster {
                Some(cluster) if all => cluster::brokers(&admin, cluster).await?,
                _ => brokers.addresses(&admin).await?,
            };
            if dry.dry_run {
                for address in addresses {
                    let now = broker::config(&admin, &address).await?;
                    // What a broker of CometMQ would say is known here; it has settings that Apache's have not.
                    let ours = now.contains_key("scrubBytesPerSecond");
                    let checked = ::broker::settings::check(&key, now.get(&key).map(String::as_str), &value);
                    match checked.err().filter(|_| ours) {
                        None => plan::setting(environment, &address, &key, now.get(&key), &value),
                        Some(refused) => {
                            let what = ("it would be refused by", "将被拒绝");
                            plan::act(environment, what, &format!("{address}  {refused}"));
                        }
                    }
                }
                return Ok(());
            }
            let act = async |address: &str| broker::update_config(&admin, address, &key, &value).await;
            each(environment, dry, ("changed on", "已更改于"), &addresses, act).await
        }
        BrokerCommand::CleanExpiredQueues(Clean { brokers, dry, namesrv }) => {
            let admin = namesrv.admin(environment);
            let act = async |address: &str| broker::clean_expired_queues(&admin, address).await;
            each(environment, dry, ("cleaned", "已清理"), &brokers.addresses(&admin).await?, act).await
        }
        BrokerCommand::CleanUnusedTopic(Clean { brokers, dry, namesrv }) => {
            let admin = namesrv.admin(environment);
            let act = async |address: &str| broker::clean_unused_topics(&admin, address).await;
            each(environment, dry, ("cleaned", "已清理"), &brokers.addresses(&admin).await?, act).await
        }
        BrokerCommand::DeleteExpiredCommitLog(Clean { brokers, dry, namesrv }) => {
            let admin = namesrv.admin(environment);
            let act = async |address: &str| broker::delete_expired_log(&admin, address).await;
            each(environment, dry, ("cleaned", "已清理"), &brokers.addresses(&admin).await?, act).await
        }
        BrokerCommand::HaStatus { brokers, interval, namesrv, mut view } => {
            view.watch.every = view.watch.every.or(interval);
            let admin = namesrv.admin(environment);
            let fetch = async || {
                let mut all = BTreeMap::new();
                for address in brokers.addresses(&admin).await? {
                    all.insert(address.clone(), broker::ha_status(&admin, &address).await?);
                }
                Ok(all)
            };
            let names = [
                ("master", "master", "主节点"),
                ("masterCommitLogMaxOffset", "log ends at", "日志末尾"),
                ("inSyncSlaveNums", "slaves in sync", "同步的从节点数"),
            ];
            let slaves = [
                ("addr", "slave", "从节点"),
                ("slaveAckOffset", "has", "已同步到"),
                ("diff", "behind, bytes", "落后字节"),
                ("inSync", "in sync", "同步"),
                ("transferredByteInSecond", "bytes/s", "字节/秒"),
            ];
            let one = |(address, status): (&String, &HaStatus)| {
                let facts = render::facts(status, &names, environment.language);
                let of_slaves = render::rows(&status.ha_connection_info, &slaves, environment.language);
                format!("[{address}]\n{facts}{}", if status.ha_connection_info.is_empty() { "" } else { &of_slaves })
            };
            view.live(environment, fetch, |all| all.iter().map(one).collect()).await
        }
        BrokerCommand::Producer { broker, namesrv, view } => {
            let admin = namesrv.admin(environment);
            let fetch = async || {
                let address = cluster::broker(&admin, &broker).await?;
                let groups = broker::producers(&admin, &address).await?.data.into_iter();
                let of = |(group, members): (String, Vec<_>)| {
                    members.into_iter().map(move |info| Producer { group: group.clone(), info })
                };
                Ok(groups.flat_map(of).collect::<Vec<_>>())
            };
            let columns = [
                ("group", "group", "生产者组"),
                ("clientId", "client", "客户端"),
                ("remoteIP", "address", "地址"),
                ("language", "language", "语言"),
                ("version", "version", "版本"),
                ("lastUpdateTimestamp", "last heartbeat", "最近心跳"),
            ];
            view.rows(environment, &columns, fetch).await
        }
        BrokerCommand::SendMsgStatus { broker, size, count, namesrv, view } => {
            let admin = namesrv.admin(environment);
            view.rows(environment, PROBE, async || send::probe(&admin, &broker, count, size).await).await
        }
    }
}

/// Broker after broker, with its names and values.
fn by_broker(all: &BTreeMap<String, BTreeMap<String, String>>) -> String {
    let heading = |address: &String| if all.len() > 1 { format!("[{address}]\n") } else { String::new() };
    all.iter().map(|(address, table)| heading(address) + &render::pairs(table)).collect::<Vec<_>>().join("\n")
}
