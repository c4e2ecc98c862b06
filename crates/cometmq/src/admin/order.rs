//! Order of keys: new queues of ordered topics, and keys that are parked.

use super::{Brokers, Dry, Namesrv, Output, done, plan};
use crate::environment::Environment;
use crate::output::{local_time, table};
use crate::text::Language;
use ::admin::queue::{self, Queue};
use ::admin::{Error, order};
use protocol::request::order::{ListParked, OrderFence, ParkMessage, ParkedKey, ReleaseParked, ReleasedQueue};
use protocol::subscription::{ORDER_PARK, ORDER_SHARE_BY_KEY};
use serde::Serialize;

/// New queues of ordered topics, and keys that are parked.
#[derive(Debug, clap::Subcommand)]
pub enum OrderCommand {
    /// New queues that wait, and what a group has to consume first
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
        dry: Dry,
        #[command(flatten)]
        namesrv: Namesrv,
    },
    /// Keys that are parked: a group passes over their messages and goes on with other keys
    Parked {
        /// Only this group
        #[arg(short, long)]
        group: Option<String>,
        /// Only this topic
        #[arg(short, long)]
        topic: Option<String>,
        /// Only this queue
        #[arg(short, long = "queueId", value_name = "ID")]
        queue: Option<i32>,
        /// Name up to so many messages of each key
        #[arg(short, long, value_name = "COUNT", default_value_t = 0)]
        messages: i32,
        #[command(flatten)]
        brokers: Brokers,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
    /// Park a message with its key, as its group can't work at it; the group goes on with other keys
    Park {
        /// The group
        #[arg(short, long)]
        group: String,
        /// The topic
        #[arg(short, long)]
        topic: String,
        /// The queue
        #[arg(short, long = "queueId", value_name = "ID")]
        queue: i32,
        /// The message's place in the queue
        #[arg(short = 'i', long, value_name = "OFFSET")]
        offset: i64,
        /// The broker, by its address or name
        #[arg(short, long = "brokerAddr", value_name = "ADDRESS")]
        broker: String,
        #[command(flatten)]
        dry: Dry,
        #[command(flatten)]
        namesrv: Namesrv,
    },
    /// Give a group what is parked: each key's messages in their order, before all later ones of it
    Unpark {
        /// The group
        #[arg(short, long)]
        group: String,
        /// The topic
        #[arg(short, long)]
        topic: String,
        /// Only this queue
        #[arg(short, long = "queueId", value_name = "ID")]
        queue: Option<i32>,
        /// Only this key
        #[arg(short, long)]
        key: Option<String>,
        /// Only what is parked from this place on
        #[arg(short = 'i', long, value_name = "OFFSET")]
        offset: Option<i64>,
        /// To the dead letters of the group: the first message of each key, or all that are parked
        #[arg(short, long = "deadLetters", value_enum)]
        dead_letters: Option<Dead>,
        /// The broker, by its address or name
        #[arg(short, long = "brokerAddr", value_name = "ADDRESS")]
        broker: String,
        #[command(flatten)]
        dry: Dry,
        #[command(flatten)]
        namesrv: Namesrv,
    },
    /// What a group does with order
    Set {
        /// The group
        #[arg(short, long)]
        group: String,
        /// Park what its members can't work at with its key, in place of giving it up
        #[arg(short, long, value_name = "true|false", required_unless_present = "share_by_key")]
        park: Option<bool>,
        /// Its members consume queues together, each its own keys in order; to be set while it has no members
        #[arg(short, long, value_name = "true|false")]
        share_by_key: Option<bool>,
        #[command(flatten)]
        brokers: Brokers,
        #[command(flatten)]
        dry: Dry,
        #[command(flatten)]
        namesrv: Namesrv,
    },
}

/// So many messages of a key are named when it is said what would be done.
const PLANNED_MAX: i32 = 32;

/// What goes to the dead letters.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Dead {
    /// The message that could not be worked at; the rest of the key is released
    First,
    /// All that are parked
    All,
}

/// A key, and the broker it is on.
#[derive(Serialize)]
struct KeyOnBroker {
    broker: String,
    #[serde(flatten)]
    key: ParkedKey,
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
        OrderCommand::Release { topic, brokers, dry, namesrv } => {
            let admin = namesrv.admin(environment);
            for broker in brokers.addresses(&admin).await? {
                if dry.dry_run {
                    for fence in order::fences(&admin, &broker).await?.iter().filter(|fence| fence.topic == topic) {
                        let what = format!("{broker}  {topic} {}..{}", fence.before, fence.after);
                        plan::act(environment, ("new queues would be given out on", "将放行新队列"), &what);
                    }
                    continue;
                }
                order::remove_fences(&admin, &broker, &topic).await?;
                done(environment, "released on", "已放行于", &broker);
            }
        }
        OrderCommand::Parked { group, topic, queue, messages, brokers, namesrv, output } => {
            let admin = namesrv.admin(environment);
            let which = ListParked { group, topic, queue_id: queue, max_num: Some(messages) };
            let mut found = Vec::new();
            for broker in brokers.addresses(&admin).await? {
                let keys = order::parked(&admin, &broker, &which).await?;
                found.extend(keys.into_iter().map(|key| KeyOnBroker { broker: broker.clone(), key }));
            }
            output.show(&found, |found| show_parked(found, environment));
        }
        OrderCommand::Park { group, topic, queue, offset, broker, dry, namesrv } => {
            let admin = namesrv.admin(environment);
            let broker = ::admin::cluster::broker(&admin, &broker).await?;
            if dry.dry_run {
                let at = Queue { topic, broker: broker.clone(), address: broker, queue_id: queue };
                let found = queue::read(&admin, &at, offset, "*", 1).await?.messages.into_iter().next();
                let place = format!("{}#{queue} {offset}", at.topic);
                let Some(message) = found.filter(|message| message.queue_offset == offset) else {
                    return Err(Error::NotThere { kind: "message", name: place, nearest: None });
                };
                let key = message.properties.get(protocol::message::property::SHARDINGKEY).cloned();
                let what = [group, place, key.unwrap_or_default()].join("  ");
                plan::act(environment, ("would be parked", "将搁置"), what.trim_end());
                return Ok(());
            }
            let message = ParkMessage { group, topic, queue_id: queue, offset };
            order::park(&admin, &broker, &message).await?;
            done(environment, "parked on", "已搁置于", &broker);
        }
        OrderCommand::Unpark { group, topic, queue, key, offset, dead_letters, broker, dry, namesrv } => {
            let admin = namesrv.admin(environment);
            let broker = ::admin::cluster::broker(&admin, &broker).await?;
            if dry.dry_run {
                let which =
                    ListParked { group: Some(group), topic: Some(topic), queue_id: queue, max_num: Some(PLANNED_MAX) };
                let keys = order::parked(&admin, &broker, &which).await?.into_iter();
                let wanted = |it: &ParkedKey| {
                    key.as_ref().is_none_or(|key| it.key.as_ref() == Some(key))
                        && offset.is_none_or(|offset| it.offset == offset)
                };
                let found: Vec<_> =
                    keys.filter(wanted).map(|key| KeyOnBroker { broker: broker.clone(), key }).collect();
                let to = match dead_letters {
                    None => pick("[dry run] would be given to the group", "[试运行] 将交给消费者组"),
                    Some(_) => pick("[dry run] would go to the dead letters", "[试运行] 将转入死信"),
                };
                super::print(&format!("{to}\n{}", show_parked(&found, environment)));
                return Ok(());
            }
            let dead_letters = dead_letters.map(|dead| match dead {
                Dead::First => "first".to_owned(),
                Dead::All => "all".to_owned(),
            });
            let which = ReleaseParked { group, topic, queue_id: queue, key, offset, dead_letters };
            let told = |queue: ReleasedQueue| {
                let ReleasedQueue { queue_id, keys, offset, dead_letters, left } = queue;
                println!(
                    "{}",
                    match environment.language {
                        Language::English if keys == 0 && !left.is_empty() =>
                            format!("queue {queue_id}: {dead_letters} messages to the dead letters so far"),
                        Language::Chinese if keys == 0 && !left.is_empty() =>
                            format!("队列 {queue_id}：目前 {dead_letters} 条消息转入死信"),
                        Language::English => format!(
                            "queue {queue_id}: {keys} keys released, {dead_letters} messages to the dead letters; the group goes \
                             on at {offset}"
                        ),
                        Language::Chinese => format!(
                            "队列 {queue_id}：放行 {keys} 个 key，{dead_letters} 条消息转入死信；消费组从位点 {offset} 继续"
                        ),
                    }
                );
            };
            order::unpark(&admin, &broker, which, told).await?;
        }
        OrderCommand::Set { group, park, share_by_key, brokers, dry, namesrv } => {
            let admin = namesrv.admin(environment);
            let attributes: Vec<(&str, bool)> = [(ORDER_PARK, park), (ORDER_SHARE_BY_KEY, share_by_key)]
                .into_iter()
                .filter_map(|(name, on)| Some((name, on?)))
                .collect();
            for broker in brokers.addresses(&admin).await? {
                if dry.dry_run {
                    let config = order::group(&admin, &broker, &group).await?;
                    let now = config.others.get("attributes").cloned().unwrap_or_default();
                    for (name, on) in &attributes {
                        let before = now[*name].as_str();
                        plan::value(environment, &broker, name, Some(before.unwrap_or("-")), Some(&on.to_string()));
                    }
                    continue;
                }
                order::set_group(&admin, &broker, &group, &attributes).await?;
                done(environment, "set on", "已设置于", &broker);
            }
        }
    }
    Ok(())
}

fn show_parked(found: &[KeyOnBroker], environment: &Environment) -> String {
    let pick = |english, chinese| environment.language.pick(english, chinese);
    let row = |KeyOnBroker { broker, key }: &KeyOnBroker| {
        let state = match (key.expired, key.releasing) {
            (true, _) => pick("expired", "已过期"),
            (_, true) => pick("being released", "正在放行"),
            _ => pick("parked", "已搁置"),
        };
        let stored = if key.stored > 0 { local_time(key.stored) } else { String::new() };
        let offsets = key.messages.iter().map(|message| message.offset.to_string()).collect::<Vec<_>>().join(" ");
        vec![
            broker.clone(),
            key.group.clone(),
            format!("{}/{}@{}", key.topic, key.queue_id, key.offset),
            key.key.clone().unwrap_or_else(|| pick("(none)", "（无）").to_owned()),
            state.to_owned(),
            local_time(key.since),
            key.by.clone(),
            key.message_id.clone(),
            stored,
            offsets,
        ]
    };
    let head = [
        "broker",
        pick("group", "组"),
        pick("first message", "首条消息"),
        pick("key", "key"),
        pick("state", "状态"),
        pick("since", "起始时间"),
        pick("by", "由谁搁置"),
        pick("id", "ID"),
        pick("stored", "存储时间"),
        pick("places", "位点"),
    ];
    table(&head, &found.iter().map(row).collect::<Vec<_>>())
}
