//! Messages: found, shown, sent; and the entries of queues.

use super::{Format, Namesrv, Output, View, render, time};
use crate::environment::Environment;
use crate::output::bytes;
use crate::subscribe::printable;
use crate::text::Language;
use ::admin::message::{Sought, StoredMessage};
use ::admin::queue::{self, Queue};
use ::admin::{Admin, Error, message, send};
use encoding_rs::Encoding;
use std::collections::BTreeMap;

/// Messages.
#[derive(Debug, clap::Subcommand)]
#[command(rename_all = "camelCase")]
pub enum QueryCommand {
    /// A message by the id of its place, SendResult.getOffsetMsgId(), and what became of it
    QueryMsgById {
        /// Its id; several parted by commas
        #[arg(short = 'i', long = "msgId", value_name = "ID", value_delimiter = ',', required = true)]
        ids: Vec<String>,
        /// Its topic
        #[arg(short, long)]
        topic: Option<String>,
        /// Send it once more, to its topic
        #[arg(short = 's', long = "sendMessage", num_args = 0..=1, default_value = "false", default_missing_value = "true", conflicts_with = "group")]
        again: bool,
        #[command(flatten)]
        dry: super::Dry,
        /// Taken because mqadmin takes it; the id names the broker
        #[arg(short = 'c', long, value_name = "NAME", hide = true)]
        cluster: Option<String>,
        #[command(flatten)]
        format: BodyFormat,
        #[command(flatten)]
        consume: Consume,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
    /// Messages with a key
    QueryMsgByKey {
        /// The topic
        #[arg(short, long)]
        topic: String,
        /// One of their keys
        #[arg(short = 'k', long = "msgKey", value_name = "KEY")]
        key: String,
        /// Stored then or later: ms since 1970, now, -2h, 2026-11-21#10:00:00:000
        #[arg(short, long = "beginTimestamp", value_name = "TIME", default_value = "0", value_parser = time::millis, allow_hyphen_values = true)]
        begin: i64,
        /// Stored then or before
        #[arg(short, long = "endTimestamp", value_name = "TIME", value_parser = time::millis, allow_hyphen_values = true)]
        end: Option<i64>,
        /// At most so many on each broker
        #[arg(short, long = "maxNum", value_name = "N", default_value_t = 64)]
        max: i32,
        /// K: the key is one of their keys. T, one of their tags, is known to RocksDB's index of Apache's broker alone
        #[arg(short = 'p', long = "keyType", value_name = "K", default_value = "K", value_parser = ["K"], hide = true)]
        key_type: String,
        #[command(flatten)]
        route: RouteOf,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
    /// A message by the id that its producer gave it, SendResult.getMsgId()
    QueryMsgByUniqueKey {
        /// Its id
        #[arg(short = 'i', long = "msgId", value_name = "ID")]
        id: String,
        /// Its topic
        #[arg(short, long)]
        topic: String,
        /// All that have this id, not only the first
        #[arg(short = 'a', long = "showAll")]
        all: bool,
        /// Stored then or later: ms since 1970, now, -2h, 2026-11-21#10:00:00:000
        #[arg(short = 's', long = "startTime", value_name = "TIME", default_value = "0", value_parser = time::millis, allow_hyphen_values = true)]
        begin: i64,
        /// Stored then or before
        #[arg(short, long = "endTime", value_name = "TIME", value_parser = time::millis, allow_hyphen_values = true)]
        end: Option<i64>,
        #[command(flatten)]
        route: RouteOf,
        #[command(flatten)]
        consume: Consume,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
    /// The message at a place of a queue
    QueryMsgByOffset {
        /// The topic
        #[arg(short, long)]
        topic: String,
        /// The broker's name
        #[arg(short, long = "brokerName", value_name = "NAME")]
        broker: String,
        /// The queue
        #[arg(short = 'i', long = "queueId", value_name = "N")]
        queue: i32,
        /// The place
        #[arg(short, long)]
        offset: i64,
        /// The topic whose brokers are asked: a cluster's name, or the parent of a lite topic
        #[arg(short = 'r', long = "routeTopic", value_name = "TOPIC")]
        route: Option<String>,
        #[command(flatten)]
        format: BodyFormat,
        #[command(flatten)]
        namesrv: Namesrv,
        /// A table for people, JSON or YAML for programs
        #[arg(long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// What clients with enableMsgTrace wrote down about a message
    QueryMsgTraceById {
        /// Its id, SendResult.getMsgId(), or one of its keys
        #[arg(short = 'i', long = "msgId", value_name = "ID")]
        id: String,
        /// The topic to which traces are written
        #[arg(short, long = "traceTopic", value_name = "TOPIC", default_value = protocol::topic::TRACE_TOPIC)]
        topic: String,
        /// Written down then or later: ms since 1970, now, -2h, 2026-11-21#10:00:00:000
        #[arg(short, long = "beginTimestamp", value_name = "TIME", default_value = "0", value_parser = time::millis, allow_hyphen_values = true)]
        begin: i64,
        /// Written down then or before
        #[arg(short, long = "endTimestamp", value_name = "TIME", value_parser = time::millis, allow_hyphen_values = true)]
        end: Option<i64>,
        /// At most so many messages of the trace topic on each broker
        #[arg(short = 'c', long = "maxNum", value_name = "N", default_value_t = message::FOUND_MAX)]
        max: i32,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
    /// Show the messages of a topic
    PrintMsg {
        /// The topic
        #[arg(short, long)]
        topic: String,
        /// The topic whose brokers are asked: the parent of a lite topic
        #[arg(short = 'l', long = "lmqParentTopic", value_name = "TOPIC")]
        route: Option<String>,
        #[command(flatten)]
        charset: Charset,
        #[command(flatten)]
        range: Range,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
    /// Show the messages of a queue, or count them by tag
    PrintMsgByQueue {
        /// The topic
        #[arg(short, long)]
        topic: String,
        /// The broker's name
        #[arg(short = 'a', long = "brokerName", value_name = "NAME")]
        broker: String,
        /// The queue
        #[arg(short = 'i', long = "queueId", value_name = "N")]
        queue: i32,
        /// Show them; mqadmin needs it, here it goes without saying
        #[arg(short = 'p', long = "print", num_args = 0..=1, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
        print: bool,
        /// Count them by tag, and show none
        #[arg(short = 'f', long = "calculate", num_args = 0..=1, default_value = "false", default_missing_value = "true")]
        count: bool,
        #[command(flatten)]
        charset: Charset,
        #[command(flatten)]
        range: Range,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
    /// Show messages of a topic or queue from a place on; no group's offset moves
    ConsumeMessage {
        /// The topic
        #[arg(short, long)]
        topic: String,
        /// The broker's name
        #[arg(short, long = "brokerName", value_name = "NAME", requires = "queue")]
        broker: Option<String>,
        /// The queue
        #[arg(short = 'i', long = "queueId", value_name = "N", requires = "broker")]
        queue: Option<i32>,
        /// The place
        #[arg(short, long, requires = "queue")]
        offset: Option<i64>,
        /// Taken because mqadmin takes it; no group is needed
        #[arg(short = 'g', long = "consumerGroup", value_name = "NAME", hide = true)]
        group: Option<String>,
        /// Stored then or later: ms since 1970, now, -2h, 2026-11-21#10:00:00:000
        #[arg(short = 's', long = "beginTimestamp", value_name = "TIME", value_parser = time::millis, allow_hyphen_values = true)]
        begin: Option<i64>,
        /// Stored then or before
        #[arg(short = 'e', long = "endTimestamp", value_name = "TIME", value_parser = time::millis, allow_hyphen_values = true)]
        end: Option<i64>,
        /// At most so many
        #[arg(short = 'c', long = "messageNumber", alias = "MessageNumber", value_name = "N", default_value_t = 128)]
        count: usize,
        #[command(flatten)]
        namesrv: Namesrv,
        /// A table for people, JSON or YAML for programs
        #[arg(long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// Send a message
    SendMessage {
        /// The topic
        #[arg(short, long)]
        topic: String,
        /// What it says
        #[arg(short = 'p', long)]
        body: String,
        /// Its keys, parted by blanks
        #[arg(short = 'k', long = "key", value_name = "KEYS")]
        keys: Option<String>,
        /// Its tag
        #[arg(short = 'c', long)]
        tags: Option<String>,
        /// The broker's name
        #[arg(short, long, requires = "queue")]
        broker: Option<String>,
        /// The queue
        #[arg(short = 'i', long = "qid", value_name = "N", requires = "broker")]
        queue: Option<i32>,
        #[command(flatten)]
        dry: super::Dry,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
    /// The entries of a consume queue: where messages lie in the log
    QueryCq {
        /// The topic
        #[arg(short, long)]
        topic: String,
        /// The queue
        #[arg(short, long, value_name = "N")]
        queue: i32,
        /// From this entry on
        #[arg(short, long)]
        index: i64,
        /// So many
        #[arg(short, long, default_value_t = 10)]
        count: i32,
        /// The broker, by its address or name; without it the first that has the topic
        #[arg(short, long)]
        broker: Option<String>,
        /// Also what this group subscribes to
        #[arg(short = 'g', long = "consumer", value_name = "GROUP")]
        group: Option<String>,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        view: View,
    },
}

/// How bodies are read.
#[derive(Debug, clap::Args)]
pub struct BodyFormat {
    /// How the body is written: UTF-8, GBK and others
    #[arg(short = 'f', long = "bodyFormat", value_name = "CHARSET", value_parser = charset)]
    charset: Option<&'static Encoding>,
}

/// The same for commands of which mqadmin uses -f for something else.
#[derive(Debug, clap::Args)]
pub struct Charset {
    /// How bodies are written: UTF-8, GBK and others
    #[arg(short = 'c', long = "charsetName", value_name = "CHARSET", value_parser = charset)]
    charset: Option<&'static Encoding>,
}

fn charset(name: &str) -> Result<&'static Encoding, String> {
    Encoding::for_label(name.as_bytes()).ok_or_else(|| format!("`{name}` is no charset; UTF-8, GBK and Big5 are"))
}

/// Makes text of bodies that are written so.
fn decode(messages: &mut [StoredMessage], charset: Option<&'static Encoding>) {
    let Some(charset) = charset else { return };
    for message in messages {
        message.body = charset.decode(&message.body).0.into_owned().into();
    }
}

/// Whose brokers are asked.
#[derive(Debug, clap::Args)]
pub struct RouteOf {
    /// The topic whose brokers are asked: a cluster's name, or the parent of a lite topic
    #[arg(short = 'c', long = "cluster", value_name = "TOPIC")]
    route: Option<String>,
}

/// Who is to consume it now.
#[derive(Debug, clap::Args)]
pub struct Consume {
    /// Have a member of this group consume it now
    #[arg(short = 'g', long = "consumerGroup", value_name = "NAME", requires = "client")]
    group: Option<String>,
    /// The member
    #[arg(short = 'd', long = "clientId", value_name = "ID", requires = "group")]
    client: Option<String>,
}

/// Which messages.
#[derive(Debug, clap::Args)]
pub struct Range {
    /// Only with these tags, as A || B
    #[arg(short = 's', long = "subExpression", value_name = "TAGS", default_value = "*")]
    expression: String,
    /// Stored then or later: ms since 1970, now, -2h, 2026-11-21#10:00:00:000
    #[arg(short, long = "beginTimestamp", value_name = "TIME", value_parser = time::millis, allow_hyphen_values = true)]
    begin: Option<i64>,
    /// Stored then or before
    #[arg(short, long = "endTimestamp", value_name = "TIME", value_parser = time::millis, allow_hyphen_values = true)]
    end: Option<i64>,
    /// What they say, too; mqadmin needs it, here it goes without saying
    #[arg(short = 'd', long = "printBody", num_args = 0..=1, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
    body: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max: usize,
}

const MESSAGES: &[render::Column] = &[
    ("broker", "broker", "Broker"),
    ("queueId", "queue", "队列"),
    ("queueOffset", "offset", "位点"),
    ("storeTimestamp", "stored", "存储时间"),
    ("tags", "tags", "标签"),
    ("keys", "keys", "键"),
    ("uniqueKey", "unique key", "唯一键"),
    ("body", "body", "内容"),
];

pub async fn run(command: QueryCommand, environment: &Environment) -> Result<(), Error> {
    let language = environment.language;
    match command {
        QueryCommand::QueryMsgById { ids, topic, again, dry, cluster: _, format, consume, namesrv, output } => {
            let admin = namesrv.admin(environment);
            let mut found = Vec::new();
            for id in &ids {
                found.push(message::by_id(&admin, topic.as_deref(), id).await?);
            }
            if again {
                return send_again(&admin, &found, dry, &output, environment).await;
            }
            decode(&mut found, format.charset);
            show(&admin, found, &consume, output.output, language).await
        }
        QueryCommand::QueryMsgByKey { topic, key, begin, end, max, key_type: _, route, namesrv, output } => {
            let end = end.unwrap_or(i64::MAX);
            let route = route.route.as_deref().unwrap_or(&topic);
            let sought = Sought { topic: &topic, route, key: &key, unique: false, begin, end, max };
            let found = message::by_key(&namesrv.admin(environment), &sought).await?;
            output.show(&found, |found| render::rows(found, MESSAGES, language));
            Ok(())
        }
        QueryCommand::QueryMsgByUniqueKey { id, topic, all, begin, end, route, consume, namesrv, output } => {
            let admin = namesrv.admin(environment);
            let (end, max) = (end.unwrap_or(i64::MAX), message::FOUND_MAX);
            let route = route.route.as_deref().unwrap_or(&topic);
            let sought = Sought { topic: &topic, route, key: &id, unique: true, begin, end, max };
            let mut found = message::by_key(&admin, &sought).await?;
            if !all {
                found.truncate(1);
            }
            show(&admin, found, &consume, output.output, language).await
        }
        QueryCommand::QueryMsgByOffset { topic, broker, queue, offset, route, format, namesrv, output } => {
            let admin = namesrv.admin(environment);
            let mut queue = queue::one(&admin, route.as_deref().unwrap_or(&topic), &broker, queue).await?;
            queue.topic.clone_from(&topic);
            let found = queue::read(&admin, &queue, offset, "*", 1).await?;
            let mut found: Vec<_> =
                found.messages.into_iter().filter(|message| message.queue_offset == offset).collect();
            decode(&mut found, format.charset);
            if found.is_empty() {
                let name = format!("{topic}@{broker}#{} at {offset}", queue.queue_id);
                return Err(Error::NotThere { kind: "message", name, nearest: None });
            }
            show(&admin, found, &Consume { group: None, client: None }, output, language).await
        }
        QueryCommand::QueryMsgTraceById { id, topic, begin, end, max, namesrv, output } => {
            let between = (begin, end.unwrap_or(i64::MAX));
            let found = message::trace(&namesrv.admin(environment), &topic, &id, between, max).await?;
            output.show(&found, |found| super::message::trace_table(found, language));
            Ok(())
        }
        QueryCommand::PrintMsg { topic, route, charset, range, namesrv, output } => {
            let admin = namesrv.admin(environment);
            let mut queues = queue::of_topic(&admin, route.as_deref().unwrap_or(&topic)).await?;
            queues.iter_mut().for_each(|queue| queue.topic.clone_from(&topic));
            let mut found = walk(&admin, &queues, &range, None).await?;
            decode(&mut found, charset.charset);
            output.show(&found, |found| table(found, range.body, language));
            Ok(())
        }
        QueryCommand::PrintMsgByQueue { topic, broker, queue, print, count, charset, range, namesrv, output } => {
            let admin = namesrv.admin(environment);
            let queue = queue::one(&admin, &topic, &broker, queue).await?;
            let mut found = walk(&admin, &[queue], &range, None).await?;
            decode(&mut found, charset.charset);
            if count {
                let mut tags: BTreeMap<String, usize> = BTreeMap::new();
                for message in &found {
                    *tags.entry(message.tags.clone().unwrap_or_default()).or_default() += 1;
                }
                output.show(&tags, |tags| {
                    let rows: Vec<_> = tags.iter().map(|(tag, count)| vec![tag.clone(), count.to_string()]).collect();
                    crate::output::table(&[language.pick("tag", "标签"), language.pick("messages", "消息数")], &rows)
                });
            } else if print {
                output.show(&found, |found| table(found, range.body, language));
            }
            Ok(())
        }
        QueryCommand::ConsumeMessage { topic, broker, queue, offset, group: _, begin, end, count, namesrv, output } => {
            let admin = namesrv.admin(environment);
            let queues = match (broker, queue) {
                (Some(broker), Some(queue)) => vec![queue::one(&admin, &topic, &broker, queue).await?],
                _ => queue::of_topic(&admin, &topic).await?,
            };
            let range = Range { expression: "*".into(), begin, end, body: true, max: count };
            let found = walk(&admin, &queues, &range, offset).await?;
            super::print(&output.text(&found, |found| table(found, true, language)));
            Ok(())
        }
        QueryCommand::SendMessage { topic, body, keys, tags, broker, queue, dry, namesrv, output } => {
            let admin = namesrv.admin(environment);
            let queue = broker.zip(queue);
            let outgoing = send::Outgoing { topic, body: body.into(), tags, keys, queue };
            if dry.dry_run {
                ::admin::topic::route(&admin, &outgoing.topic).await?;
                super::done(environment, "[dry run] sent to", "[试运行] 将发送到", &outgoing.topic);
                return Ok(());
            }
            let sent = [send::message(&admin, &outgoing).await?];
            let columns = [super::broker::PROBE, &[("queueOffset", "offset", "位点")]].concat();
            output.show(&sent[0], |_| render::rows(&sent, &columns, language));
            Ok(())
        }
        QueryCommand::QueryCq { topic, queue, index, count, broker, group, namesrv, view } => {
            let admin = namesrv.admin(environment);
            let fetch = async || {
                let address = match &broker {
                    Some(broker) => ::admin::cluster::broker(&admin, broker).await?,
                    None => match ::admin::topic::masters(&admin, &topic).await?.into_iter().next() {
                        Some((_, address)) => address,
                        None => return Err(Error::NotThere { kind: "topic", name: topic.clone(), nearest: None }),
                    },
                };
                queue::entries(&admin, &address, &topic, queue, index, count, group.as_deref()).await
            };
            view.live(environment, fetch, |found| {
                let columns = [
                    ("physicOffset", "log offset", "日志位置"),
                    ("physicSize", "size", "大小"),
                    ("tagsCode", "tags code", "标签哈希"),
                    ("msg", "wrong", "异常"),
                ];
                let entries = render::rows(&found.queue_data, &columns, language);
                let bounds = language.pick("the queue goes", "队列范围");
                let wanted = found.subscription_data.as_ref().map(|it| format!("  {} {}\n", it.topic, it.sub_string));
                format!(
                    "{entries}\n  {bounds} {}..{}\n{}",
                    found.min_queue_index,
                    found.max_queue_index,
                    wanted.unwrap_or_default()
                )
            })
            .await
        }
    }
}

/// Sends messages once more, or says where to they would go.
async fn send_again(
    admin: &Admin,
    found: &[StoredMessage],
    dry: super::Dry,
    output: &Output,
    environment: &Environment,
) -> Result<(), Error> {
    if dry.dry_run {
        for message in found {
            ::admin::topic::route(admin, &message.topic).await?;
            let what = format!("{} -> {}", message.offset_message_id, message.topic);
            super::done(environment, "[dry run] would be sent once more", "[试运行] 将再次发送", &what);
        }
        return Ok(());
    }
    let mut sent = Vec::new();
    for message in found {
        sent.push(send::again(admin, message).await?);
    }
    let columns = [super::broker::PROBE, &[("queueOffset", "offset", "位点")]].concat();
    output.show(&sent, |sent| render::rows(sent, &columns, environment.language));
    Ok(())
}

/// The messages of queues within a range; of one queue from `offset` on.
async fn walk(
    admin: &Admin,
    queues: &[Queue],
    range: &Range,
    offset: Option<i64>,
) -> Result<Vec<StoredMessage>, Error> {
    let mut all = Vec::new();
    for queue in queues {
        let (min, end) = queue::bounds(admin, queue).await?;
        let mut next = match (offset, range.begin) {
            (Some(offset), _) => offset.max(min),
            (None, Some(begin)) => queue::offset_at(admin, queue, begin).await?.max(min),
            (None, None) => min,
        };
        while next < end && all.len() < range.max {
            let left = i32::try_from(range.max - all.len()).unwrap_or(i32::MAX);
            let found = queue::read(admin, queue, next, &range.expression, left).await?;
            let before = all.len();
            all.extend(found.messages.into_iter().filter(|it| range.end.is_none_or(|end| it.store_timestamp <= end)));
            let late = range.end.is_some() && all.len() == before && found.next > next && offset.is_none();
            next = found.next;
            if found.end || late && range.expression == "*" {
                break;
            }
        }
    }
    all.truncate(range.max);
    Ok(all)
}

fn table(found: &[StoredMessage], body: bool, language: Language) -> String {
    let columns = &MESSAGES[..MESSAGES.len() - usize::from(!body)];
    render::rows(found, columns, language)
}

/// Shows messages whole, and what became of them or what a member of a group says now.
async fn show(
    admin: &Admin,
    found: Vec<StoredMessage>,
    consume: &Consume,
    output: Format,
    language: Language,
) -> Result<(), Error> {
    if let (Some(group), Some(client)) = (&consume.group, &consume.client) {
        let mut results = Vec::new();
        for message in &found {
            results.push(message::consume_directly(admin, message, group, client).await?);
        }
        super::print(&output.text(&results, |results| {
            render::rows(
                results,
                &[
                    ("consumeResult", "result", "结果"),
                    ("remark", "remark", "备注"),
                    ("spentTimeMills", "ms", "毫秒"),
                    ("order", "ordered", "顺序消费"),
                ],
                language,
            )
        }));
        return Ok(());
    }
    #[derive(serde::Serialize)]
    struct Shown {
        #[serde(flatten)]
        message: StoredMessage,
        tracks: Vec<message::Track>,
    }
    let mut all = Vec::new();
    for message in found {
        let tracks = message::track(admin, &message).await?;
        all.push(Shown { message, tracks });
    }
    super::print(&output.text(&all, |all| all.iter().map(|it| whole(&it.message, &it.tracks, language)).collect()));
    Ok(())
}

/// A message with all that is known of it.
pub fn whole(message: &StoredMessage, tracks: &[message::Track], language: Language) -> String {
    let names = [
        ("topic", "topic", "主题"),
        ("broker", "broker", "Broker"),
        ("queueId", "queue", "队列"),
        ("queueOffset", "offset", "位点"),
        ("offsetMessageId", "message id", "消息 ID"),
        ("uniqueKey", "unique key", "唯一键"),
        ("keys", "keys", "键"),
        ("tags", "tags", "标签"),
        ("bornTimestamp", "born", "产生时间"),
        ("bornHost", "by", "产生于"),
        ("storeTimestamp", "stored", "存储时间"),
        ("storeHost", "at", "存储于"),
        ("reconsumeTimes", "failures", "失败次数"),
    ];
    let facts = render::facts(message, &names, language);
    let properties = message.properties.iter().map(|(name, value)| {
        let [name, value] = [name, value].map(|text| printable(text.as_bytes()));
        format!("    {name} = {value}\n")
    });
    let body: Vec<String> = message.body.split(|byte| *byte == b'\n').map(printable).collect();
    let tracks = tracks.iter().map(|track| format!("    {}: {}\n", track.group, track.track)).collect::<String>();
    let tracks = match tracks.is_empty() {
        true => tracks,
        false => format!("  {}\n{tracks}", language.pick("groups", "消费者组")),
    };
    format!(
        "{facts}  {}\n{}{tracks}  {} ({})\n{}\n\n",
        language.pick("properties", "属性"),
        properties.collect::<String>(),
        language.pick("body", "内容"),
        bytes(message.body.len() as u64),
        body.join("\n")
    )
}
