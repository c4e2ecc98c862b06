//! Messages.

use super::{Namesrv, Output};
use crate::environment::Environment;
use crate::output::{bytes, local_time, table};
use crate::text::Language;
use ::admin::{Admin, Error, message};
use protocol::life::{Happening, LifeEvent, MessageLife, MessageLives};
use protocol::request::life::QueryMessageLife;
use protocol::topic::TRACE_TOPIC;
use protocol::trace::{TraceKind, TraceRecord};

/// What became of messages.
#[derive(Debug, clap::Subcommand)]
pub enum MessageCommand {
    /// What became of a message, as brokers know it: stored, delivered, acknowledged, sent back, retried, dead
    Life {
        /// Its id: SendResult.getMsgId(), with its topic, or SendResult.getOffsetMsgId()
        #[arg(required_unless_present = "key")]
        id: Option<String>,
        /// The topic to which it was sent
        #[arg(short, long)]
        topic: Option<String>,
        /// One of its keys, with its topic, in place of an id
        #[arg(short, long, requires = "topic", conflicts_with = "id")]
        key: Option<String>,
        /// The broker that has it; without, all that have the topic
        #[arg(short, long = "brokerAddr", value_name = "ADDRESS", required_unless_present = "topic")]
        broker: Option<String>,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
    /// What clients with enableMsgTrace wrote down about a message (mqadmin: queryMsgTraceById)
    Trace {
        /// Its id, SendResult.getMsgId(), or one of its keys
        #[arg(short = 'i', long = "msgId", value_name = "ID")]
        id: String,
        /// The topic to which traces are written
        #[arg(short, long = "traceTopic", value_name = "TOPIC", default_value = TRACE_TOPIC)]
        topic: String,
        /// Written down at or after, in ms since 1970
        #[arg(short, long = "beginTimestamp", value_name = "MS", default_value_t = 0)]
        begin: i64,
        /// Written down at or before
        #[arg(short, long = "endTimestamp", value_name = "MS", default_value_t = i64::MAX)]
        end: i64,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
    /// How often messages came or went more than once, since the broker's start
    Duplicates {
        /// Only this topic
        #[arg(short, long)]
        topic: Option<String>,
        /// Only this group
        #[arg(short, long)]
        group: Option<String>,
        /// The broker
        #[arg(short, long = "brokerAddr", value_name = "ADDRESS")]
        broker: String,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
}

pub async fn run(command: MessageCommand, environment: &Environment) -> Result<(), Error> {
    let language = environment.language;
    let pick = |english: &'static str, chinese: &'static str| language.pick(english, chinese);
    match command {
        MessageCommand::Life { id, topic, key, broker, namesrv, output } => {
            let admin = namesrv.admin(environment);
            let brokers = match (broker, &topic) {
                (Some(broker), _) => vec![broker],
                (None, Some(topic)) => message::brokers_of(&admin, topic).await?,
                (None, None) => Vec::new(), // the command line does not allow it
            };
            let sought = QueryMessageLife { topic, message_id: id, key, max_num: None };
            let lives = lives(&admin, &brokers, &sought).await?;
            output.show(&lives, |lives| show_lives(lives, language));
        }
        MessageCommand::Trace { id, topic, begin, end, namesrv, output } => {
            let found =
                message::trace(&namesrv.admin(environment), &topic, &id, (begin, end), message::FOUND_MAX).await?;
            output.show(&found, |found| trace_table(found, language));
        }
        MessageCommand::Duplicates { topic, group, broker, namesrv, output } => {
            let found = message::duplicates(&namesrv.admin(environment), &broker, topic, group).await?;
            output.show(&found, |found| {
                let topics = [
                    pick("topic", "主题"),
                    pick("window", "窗口"),
                    pick("ids", "ID 数"),
                    pick("duplicates", "重复"),
                    pick("forgotten early", "提前遗忘"),
                ];
                let of_topics = found.topics.iter().map(|it| {
                    let seconds = format!("{} s", it.window_seconds);
                    let [ids, duplicates, early] = [it.ids, it.duplicates, it.forgotten_early].map(|n| n.to_string());
                    vec![it.topic.clone(), seconds, ids, duplicates, early]
                });
                let groups = [
                    pick("group", "消费组"),
                    pick("handed out again", "重复投递"),
                    pick("sent back", "退回"),
                    pick("sent back twice", "重复退回"),
                    pick("retries", "重试"),
                    pick("dead", "死信"),
                ];
                let of_groups = found.groups.iter().map(|it| {
                    let counts = [it.handed_out_again, it.sent_back, it.sent_back_again, it.retries, it.dead];
                    [vec![it.group.clone()], counts.map(|n| n.to_string()).to_vec()].concat()
                });
                let of_topics = table(&topics, &of_topics.collect::<Vec<_>>());
                format!("{of_topics}\n{}", table(&groups, &of_groups.collect::<Vec<_>>()))
            });
        }
    }
    Ok(())
}

/// What clients wrote down.
pub fn trace_table(found: &[TraceRecord], language: Language) -> String {
    let pick = |english: &'static str, chinese: &'static str| language.pick(english, chinese);
    let head = [
        pick("what", "类型"),
        pick("when", "时间"),
        pick("group", "组"),
        pick("topic", "主题"),
        pick("client", "客户端"),
        pick("took", "耗时"),
        pick("success", "成功"),
        pick("", "备注"),
    ];
    table(&head, &found.iter().map(|record| trace_row(record, language)).collect::<Vec<_>>())
}

/// What all of these brokers know. One that does not know the message is nothing to tell of, unless none does.
async fn lives(admin: &Admin, brokers: &[String], sought: &QueryMessageLife) -> Result<MessageLives, Error> {
    let mut all = MessageLives::default();
    let mut none = None;
    for broker in brokers {
        match message::life(admin, broker, sought).await {
            Ok(mut lives) => {
                all.messages.append(&mut lives.messages);
                let (kept, more) = (&mut all.kept, lives.kept);
                kept.since = [kept.since, more.since].into_iter().flatten().min();
                kept.bytes += more.bytes;
                kept.max_bytes += more.max_bytes;
                kept.dropped += more.dropped;
            }
            Err(error) if error.code() == Some(protocol::code::response::QUERY_NOT_FOUND) => none = Some(error),
            Err(error) => return Err(error),
        }
    }
    match none {
        Some(error) if all.messages.is_empty() => Err(error),
        _ => Ok(all),
    }
}

fn show_lives(lives: &MessageLives, language: Language) -> String {
    let mut text: String = lives.messages.iter().map(|life| show_life(life, language)).collect();
    let kept = &lives.kept;
    let line = match (kept.since, language) {
        _ if kept.max_bytes == 0 => language
            .pick("deliveries are not kept (messageLifeMaxBytes=0)", "未保存投递记录（messageLifeMaxBytes=0）")
            .into(),
        (None, _) => language.pick("no deliveries are kept yet", "尚无投递记录").into(),
        (Some(since), Language::English) => format!(
            "deliveries are kept since {}: {} of {}, {} not kept",
            local_time(since),
            bytes(kept.bytes),
            bytes(kept.max_bytes),
            kept.dropped
        ),
        (Some(since), Language::Chinese) => format!(
            "投递记录自 {} 起保存：{}，上限 {}，未能保存 {} 条",
            local_time(since),
            bytes(kept.bytes),
            bytes(kept.max_bytes),
            kept.dropped
        ),
    };
    text += &format!("{line}\n");
    text
}

fn show_life(life: &MessageLife, language: Language) -> String {
    let pick = |english: &'static str, chinese: &'static str| language.pick(english, chinese);
    let [keys, tags] = [(pick("keys", "键"), &life.keys), (pick("tags", "标签"), &life.tags)]
        .map(|(name, text)| if text.is_empty() { String::new() } else { format!("  {name} {text}") });
    let mut text = format!("{}  {}{keys}{tags}\n", life.topic, life.unique_key);
    let head = [
        pick("when", "时间"),
        pick("what", "事件"),
        pick("where", "位置"),
        pick("group", "组"),
        pick("client", "客户端"),
        pick("", "备注"),
    ];
    let rows: Vec<Vec<String>> = life.events.iter().map(|event| event_row(event, language)).collect();
    text += &table(&head, &rows);
    if life.left_out {
        text += pick("  … more happened than is shown\n", "  …… 其余事件未列出\n");
    }
    for it in life.groups.iter().filter(|it| !it.done) {
        let (group, queue) = (&it.group, format!("{}/{}", it.topic, it.queue_id));
        text += &match language {
            Language::English if it.parked => format!("  {group} passes it over, as its key is parked\n"),
            Language::Chinese if it.parked => format!("  {group} 暂时跳过该消息：其 key 已搁置\n"),
            Language::English => format!("  {group} has not acknowledged it: it is at {} of {queue}\n", it.committed),
            Language::Chinese => format!("  {group} 尚未确认该消息：{queue} 的消费位点为 {}\n", it.committed),
        };
    }
    text + "\n"
}

fn event_row(event: &LifeEvent, language: Language) -> Vec<String> {
    let place = match (event.queue_id, event.queue_offset) {
        (Some(queue), Some(offset)) => format!("{}/{queue}@{offset}", event.topic),
        _ => event.topic.clone(),
    };
    let client = match event.client.is_empty() {
        true => event.address.clone(),
        false => format!("{} ({})", event.client, event.address),
    };
    let mut notes: Vec<String> = Vec::new();
    let mut note = |english: &str, chinese: &str, value: Option<String>| {
        notes.extend(value.map(|value| format!("{} {value}", language.pick(english, chinese))));
    };
    note("attempt", "第几次重试：", event.attempt.filter(|attempt| *attempt > 0).map(|attempt| attempt.to_string()));
    note("due", "到期时间", event.due.map(local_time));
    note("count", "次数", event.count.map(|count| count.to_string()));
    notes.extend(Some(event.note.clone()).filter(|note| !note.is_empty()));
    let what = happening(event.what, language).to_owned();
    vec![local_time(event.time), what, place, event.group.clone(), client, notes.join(", ")]
}

fn happening(what: Happening, language: Language) -> &'static str {
    let (english, chinese) = match what {
        Happening::Waits => ("waits", "等待投递"),
        Happening::Prepared => ("half message", "半消息"),
        Happening::Asked => ("producer asked", "回查"),
        Happening::Committed => ("committed", "已提交"),
        Happening::RolledBack => ("rolled back", "已回滚"),
        Happening::GivenUp => ("given up", "放弃回查"),
        Happening::Stored => ("stored", "已存储"),
        Happening::Retried => ("retried", "重试"),
        Happening::Delivered => ("delivered", "已投递"),
        Happening::SentBack => ("sent back", "退回"),
        Happening::Acknowledged => ("acknowledged", "已确认"),
        Happening::SetBack => ("offset set back", "位点回退"),
        Happening::Skipped => ("skipped", "位点跳过"),
        Happening::Parked => ("parked", "已搁置"),
        Happening::Released => ("released", "已放行"),
        Happening::Dead => ("dead", "死信"),
        Happening::NotKept => ("events not kept", "事件未保存"),
    };
    language.pick(english, chinese)
}

fn trace_row(record: &TraceRecord, language: Language) -> Vec<String> {
    let pick = |english: &'static str, chinese: &'static str| language.pick(english, chinese).to_owned();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let kind = match record.kind {
        TraceKind::Pub => pick("sent", "发送"),
        TraceKind::SubBefore => pick("consuming", "开始消费"),
        TraceKind::SubAfter => pick("consumed", "消费结束"),
        TraceKind::EndTransaction => pick("transaction ended", "结束事务"),
        TraceKind::Recall => pick("recalled", "撤回"),
    };
    let notes = [
        record.message_type.filter(|kind| *kind != "NORMAL").map(str::to_owned),
        record.retry_times.filter(|times| *times > 0).map(|times| format!("{} {times}", pick("retry", "重试"))),
        record.consumed.filter(|how| *how != "SUCCESS").map(str::to_owned),
        record.transaction_state.clone(),
        record.store_host.clone(),
    ];
    vec![
        kind,
        record.timestamp.map(local_time).unwrap_or_default(),
        text(&record.group),
        text(&record.topic),
        text(&record.client_host),
        record.cost_millis.map(|millis| format!("{millis} ms")).unwrap_or_default(),
        record.success.map(|success| if success { pick("yes", "是") } else { pick("no", "否") }).unwrap_or_default(),
        notes.into_iter().flatten().collect::<Vec<_>>().join(", "),
    ]
}
