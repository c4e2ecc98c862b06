//! Consumer groups.

use super::{Brokers, Dry, Namesrv, Output, View, each, plan, render};
use crate::environment::Environment;
use ::admin::{Error, consumer, impact};
use protocol::admin::RequestMode;
use protocol::subscription::SubscriptionGroupConfig;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Consumer groups.
#[derive(Debug, clap::Subcommand)]
#[command(rename_all = "camelCase")]
pub enum ConsumerCommand {
    /// Delete a consumer group
    DeleteSubGroup {
        /// The group
        #[arg(short, long = "groupName")]
        group: String,
        #[command(flatten)]
        brokers: Brokers,
        /// Its offsets and its retries, too
        #[arg(short, long = "removeOffset", num_args = 0..=1, default_value = "false", default_missing_value = "true")]
        remove_offset: bool,
        #[command(flatten)]
        dry: Dry,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
    /// Make a consumer group, or change it; what is not named stays
    UpdateSubGroup(UpdateGroup),
    /// Make consumer groups, or change them: those of a JSON file
    UpdateSubGroupList {
        #[command(flatten)]
        brokers: Brokers,
        /// The file: [{"groupName": …, "retryMaxTimes": 16, "consumeEnable": true}, …]
        #[arg(short, long = "filename", value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        dry: Dry,
        #[command(flatten)]
        namesrv: Namesrv,
    },
    /// A consumer group's settings on each broker
    GetConsumerConfig {
        /// The group
        #[arg(short, long = "groupName", value_name = "NAME")]
        group: String,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
    /// How a group gets a topic's messages: PULL or POP
    SetConsumeMode {
        /// The group
        #[arg(short, long = "groupName", value_name = "NAME")]
        group: String,
        /// The topic
        #[arg(short, long = "topicName", value_name = "NAME")]
        topic: String,
        /// PULL or POP
        #[arg(short, long)]
        mode: String,
        /// With POP, how many queues members share
        #[arg(short = 'q', long = "popShareQueueNum", value_name = "N", default_value_t = 0)]
        share: i32,
        #[command(flatten)]
        brokers: Brokers,
        #[command(flatten)]
        dry: Dry,
        #[command(flatten)]
        namesrv: Namesrv,
    },
    /// How far a group is, queue by queue; without a group all of them, the one with most to do first
    ConsumerProgress {
        /// The group
        #[arg(short, long = "groupName", value_name = "NAME")]
        group: Option<String>,
        /// Only this topic
        #[arg(short, long = "topicName", value_name = "NAME", requires = "group")]
        topic: Option<String>,
        /// Also who consumes each queue
        #[arg(short = 's', long = "showClientIP", num_args = 0..=1, default_value = "false", default_missing_value = "true")]
        clients: bool,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        view: View,
    },
}

/// Make a consumer group, or change it; what is not named stays.
#[derive(Debug, clap::Args)]
pub struct UpdateGroup {
    /// The group
    #[arg(short, long = "groupName", value_name = "NAME")]
    group: String,
    #[command(flatten)]
    brokers: Brokers,
    /// May it consume
    #[arg(short = 's', long = "consumeEnable", value_name = "BOOL")]
    consume: Option<bool>,
    /// May it begin with the first message
    #[arg(short = 'm', long = "consumeFromMinEnable", value_name = "BOOL")]
    from_min: Option<bool>,
    /// May it consume in broadcast mode
    #[arg(short = 'd', long = "consumeBroadcastEnable", value_name = "BOOL")]
    broadcast: Option<bool>,
    /// Does it consume in order (pop consumers only)
    #[arg(short = 'o', long = "consumeMessageOrderly", value_name = "BOOL")]
    orderly: Option<bool>,
    /// Queues of its retry topic
    #[arg(short = 'q', long = "retryQueueNums", value_name = "N")]
    retry_queues: Option<i32>,
    /// Attempts before a message is a dead letter
    #[arg(short = 'r', long = "retryMaxTimes", value_name = "N")]
    retry_max: Option<i32>,
    /// How long it waits between attempts, as JSON
    #[arg(short = 'p', long = "groupRetryPolicy", value_name = "JSON")]
    retry_policy: Option<String>,
    /// The broker that it reads from: 0 is the master
    #[arg(short = 'i', long = "brokerId", value_name = "N")]
    broker_id: Option<i64>,
    /// The broker that it reads from when it is far behind
    #[arg(short = 'w', long = "whichBrokerWhenConsumeSlowly", value_name = "N")]
    slow: Option<i64>,
    /// Are its members told when others join or leave
    #[arg(short = 'a', long = "notifyConsumerIdsChanged", value_name = "BOOL")]
    notify: Option<bool>,
    /// `+name=value,-name`
    #[arg(long, allow_hyphen_values = true)]
    attributes: Option<String>,
    #[command(flatten)]
    dry: Dry,
    #[command(flatten)]
    namesrv: Namesrv,
}

pub async fn run(command: ConsumerCommand, environment: &Environment) -> Result<(), Error> {
    let language = environment.language;
    match command {
        ConsumerCommand::DeleteSubGroup { group, brokers, remove_offset, dry, namesrv, output } => {
            let admin = namesrv.admin(environment);
            if dry.dry_run {
                let impact = impact::of_group_deletion(&admin, &group).await?;
                let names = [
                    ("group", "group", "消费者组"),
                    ("members", "online", "在线成员"),
                    ("lag", "not consumed", "未消费"),
                    ("deadLetters", "dead letters", "死信"),
                ];
                output.show(&impact, |it| render::facts(it, &names, language));
                return Ok(());
            }
            let act = async |address: &str| consumer::delete(&admin, address, &group, remove_offset).await;
            each(environment, dry, ("deleted from", "已删除于"), &brokers.addresses(&admin).await?, act).await
        }
        ConsumerCommand::UpdateSubGroup(args) => update(args, environment).await,
        ConsumerCommand::UpdateSubGroupList { brokers, file, dry, namesrv } => {
            let groups: Vec<SubscriptionGroupConfig> = super::load(&file)?;
            let admin = namesrv.admin(environment);
            let addresses = brokers.addresses(&admin).await?;
            if dry.dry_run {
                for address in addresses {
                    let mut known = consumer::configs(&admin, &address).await?;
                    for group in &groups {
                        let before = known.remove(&group.group_name);
                        let what = format!("{address}  {}", group.group_name);
                        plan::show(environment, &what, before.as_ref(), Some(group));
                    }
                }
                return Ok(());
            }
            let act = async |address: &str| consumer::update_all(&admin, address, &groups).await;
            each(environment, dry, ("created or changed on", "已创建或更新于"), &addresses, act).await
        }
        ConsumerCommand::GetConsumerConfig { group, namesrv, output } => {
            output.show(&consumer::config(&namesrv.admin(environment), &group).await?, |all| {
                all.iter().fold(String::new(), |lines, (broker, config)| {
                    let config = serde_json::to_value(config).unwrap_or_default();
                    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    let config: Vec<_> = config
                        .as_object()
                        .into_iter()
                        .flatten()
                        .map(|(name, value)| (name.clone(), text(value)))
                        .collect();
                    format!("{lines}[{broker}]\n{}", render::pairs(config.iter().map(|(name, value)| (name, value))))
                })
            });
            Ok(())
        }
        ConsumerCommand::SetConsumeMode { group, topic, mode, share, brokers, dry, namesrv } => {
            let admin = namesrv.admin(environment);
            let mode = RequestMode { consumer_group: group, topic, mode, pop_share_queue_num: share };
            if dry.dry_run {
                for address in brokers.addresses(&admin).await? {
                    let what = format!("{address}  {} {} {}", mode.consumer_group, mode.topic, mode.mode);
                    plan::act(environment, ("would be set on", "将设置于"), &what);
                }
                return Ok(());
            }
            let act = async |address: &str| consumer::set_mode(&admin, address, &mode).await;
            each(environment, dry, ("changed on", "已更改于"), &brokers.addresses(&admin).await?, act).await
        }
        ConsumerCommand::ConsumerProgress { group: None, namesrv, view, .. } => {
            let admin = namesrv.admin(environment);
            let columns = [
                ("group", "group", "消费者组"),
                ("members", "online", "在线"),
                ("version", "version", "版本"),
                ("consumeType", "type", "类型"),
                ("messageModel", "model", "模式"),
                ("consumeTps", "out/s", "消费/秒"),
                ("lag", "lag", "堆积"),
            ];
            view.rows(environment, &columns, async || consumer::list(&admin).await).await
        }
        ConsumerCommand::ConsumerProgress { group: Some(group), topic, clients, namesrv, view } => {
            let admin = namesrv.admin(environment);
            let mut columns = vec![
                ("topic", "topic", "主题"),
                ("broker", "broker", "Broker"),
                ("queueId", "queue", "队列"),
                ("brokerOffset", "end", "最大位点"),
                ("consumerOffset", "consumed", "消费位点"),
                ("lag", "lag", "堆积"),
                ("inflight", "in flight", "处理中"),
                ("lastTimestamp", "last consumed", "最近消费的消息时间"),
            ];
            if clients {
                columns.insert(5, ("client", "client", "客户端"));
            }
            let fetch = async || consumer::progress(&admin, &group, topic.as_deref(), clients).await;
            view.live(environment, fetch, |progress| {
                let queues = render::rows(&progress.queues, &columns, language);
                let (lag, inflight, tps) = (progress.lag, progress.inflight, progress.consume_tps);
                let [lag_name, inflight_name, tps_name] =
                    [("lag", "堆积"), ("in flight", "处理中"), ("out/s", "消费/秒")]
                        .map(|(english, chinese)| language.pick(english, chinese));
                format!("{queues}\n  {lag_name} {lag}, {inflight_name} {inflight}, {tps_name} {tps:.1}\n")
            })
            .await
        }
    }
}

async fn update(args: UpdateGroup, environment: &Environment) -> Result<(), Error> {
    let admin = args.namesrv.admin(environment);
    let policy: Option<Value> = match &args.retry_policy {
        None => None,
        Some(text) => {
            Some(serde_json::from_str(text).map_err(|error| Error::Input(format!("groupRetryPolicy: {error}")))?)
        }
    };
    // What is not named stays as it is.
    let changed = |before: Option<SubscriptionGroupConfig>| {
        let mut config = before.unwrap_or_default();
        config.group_name.clone_from(&args.group);
        config.consume_enable = args.consume.unwrap_or(config.consume_enable);
        config.consume_from_min_enable = args.from_min.unwrap_or(config.consume_from_min_enable);
        config.consume_broadcast_enable = args.broadcast.unwrap_or(config.consume_broadcast_enable);
        config.consume_message_orderly = args.orderly.unwrap_or(config.consume_message_orderly);
        config.retry_queue_nums = args.retry_queues.unwrap_or(config.retry_queue_nums);
        config.retry_max_times = args.retry_max.unwrap_or(config.retry_max_times);
        config.broker_id = args.broker_id.unwrap_or(config.broker_id);
        config.which_broker_when_consume_slowly = args.slow.unwrap_or(config.which_broker_when_consume_slowly);
        config.notify_consumer_ids_changed_enable = args.notify.unwrap_or(config.notify_consumer_ids_changed_enable);
        if let Some(policy) = &policy {
            config.others.insert("groupRetryPolicy".into(), policy.clone());
        }
        config
    };
    let addresses = args.brokers.addresses(&admin).await?;
    if args.dry.dry_run {
        for address in addresses {
            let before = consumer::configs(&admin, &address).await?.remove(&args.group);
            let mut after = changed(before.clone());
            let attributes = after.others.remove("attributes");
            let mut attributes: BTreeMap<String, String> =
                attributes.and_then(|it| serde_json::from_value(it).ok()).unwrap_or_default();
            plan::attributes(&mut attributes, args.attributes.as_deref());
            after.others.insert("attributes".into(), serde_json::json!(attributes));
            plan::show(environment, &address, before.as_ref(), Some(&after));
        }
        return Ok(());
    }
    let act = async |address: &str| {
        let mut config = changed(consumer::configs(&admin, address).await?.remove(&args.group));
        // What brokers are sent as attributes are changes, with + or - in front.
        config.others.remove("attributes");
        if let Some(changes) = &args.attributes {
            config.others.insert("attributes".into(), serde_json::json!(plan::changes(changes)));
        }
        consumer::update(&admin, address, &config).await
    };
    each(environment, args.dry, ("created or changed on", "已创建或更新于"), &addresses, act).await
}
