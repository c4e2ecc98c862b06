//! What is wrong, since when, why, and what to do.

use super::{Ended, Namesrv, Output, time};
use crate::environment::Environment;
use crate::output::local_time;
use crate::text::Language;
use ::admin::Error;
use ::admin::doctor::{self, Finding, Limits, Severity, What};
use Language::{Chinese, English};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is wrong, since when, why, and what to do. Looks twice. Exit code 6 when something is.
#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// Between the two looks; offsets are told to brokers every 5 seconds
    #[arg(long, value_name = "SECONDS", default_value = "6", value_parser = time::seconds)]
    seconds: Duration,
    /// A group with fewer messages to do does not lag
    #[arg(long, value_name = "N", default_value_t = 1000)]
    lag: i64,
    /// Transactions end within so many seconds
    #[arg(long = "transaction-seconds", value_name = "N", default_value_t = 600)]
    transaction: i64,
    #[command(flatten)]
    namesrv: Namesrv,
    #[command(flatten)]
    output: Output,
}

/// Look at clusters again and again: what is wrong now, and what is over.
#[derive(Debug, clap::Args)]
pub struct Monitor {
    /// Between two looks
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = time::seconds)]
    seconds: Duration,
    /// A group with fewer messages to do does not lag
    #[arg(long, value_name = "N", default_value_t = 1000)]
    lag: i64,
    /// Transactions end within so many seconds
    #[arg(long = "transaction-seconds", value_name = "N", default_value_t = 600)]
    transaction: i64,
    #[command(flatten)]
    namesrv: Namesrv,
    #[command(flatten)]
    output: Output,
}

/// Prints what is wrong when it is first seen, and when it is over, until Ctrl-C or until nobody reads.
pub async fn watch(args: Monitor, environment: &Environment) -> Result<(), Error> {
    let admin = args.namesrv.admin(environment);
    let language = environment.language;
    let transaction_millis = args.transaction.saturating_mul(1000);
    let limits = Limits { lag: args.lag, transaction_millis, ..Limits::default() };
    let mut before = doctor::look(&admin).await?;
    let mut known: BTreeMap<String, Told> = BTreeMap::new();
    loop {
        tokio::time::sleep(args.seconds).await;
        let now = match doctor::look(&admin).await {
            Ok(now) => now,
            Err(error) => {
                eprintln!("cometmq: {}", crate::text::admin_error(&error, language));
                continue;
            }
        };
        let found: BTreeMap<String, Told> =
            doctor::judge(&before, &now, &limits).into_iter().map(|it| (about(&it.what), tell(it, language))).collect();
        let came = found.iter().filter(|(about, _)| !known.contains_key(*about)).map(|(_, told)| (true, told));
        let went = known.iter().filter(|(about, _)| !found.contains_key(*about)).map(|(_, told)| (false, told));
        for (wrong, told) in came.chain(went) {
            let event = Event { at: now.at, wrong, told };
            if !super::print(&args.output.output.text(&event, |it| event_text(it, language))) {
                return Ok(());
            }
        }
        (before, known) = (now, found);
    }
}

/// Something that is wrong now, or is over.
#[derive(Serialize)]
struct Event<'a> {
    at: i64,
    wrong: bool,
    #[serde(flatten)]
    told: &'a Told,
}

fn event_text(it: &Event<'_>, language: Language) -> String {
    let at = local_time(it.at);
    match it.wrong {
        true => format!("{at}  {}", text_of(it.told, language)),
        false => format!("{at}  {}  {}\n", language.pick("OVER", "已恢复"), it.told.what),
    }
}

/// What a finding is about, without the numbers, which change.
fn about(what: &What) -> String {
    let mut fields = serde_json::to_value(what).unwrap_or_default();
    if let Some(fields) = fields.as_object_mut() {
        fields.retain(|name, value| (value.is_string() && name != "error") || name == "queueId");
    }
    fields.to_string()
}

/// A finding, with what people read of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    #[serde(flatten)]
    finding: Finding,
    what: String,
    advice: String,
}

pub async fn run(args: Doctor, environment: &Environment) -> Result<Ended, Error> {
    let admin = args.namesrv.admin(environment);
    let limits =
        Limits { lag: args.lag, transaction_millis: args.transaction.saturating_mul(1000), ..Limits::default() };
    let before = doctor::look(&admin).await?;
    tokio::time::sleep(args.seconds).await;
    let found = doctor::judge(&before, &doctor::look(&admin).await?, &limits);
    let language = environment.language;
    let told: Vec<_> = found.into_iter().map(|finding| tell(finding, language)).collect();
    args.output.show(&told, |told| text(told, language));
    match told.iter().any(|told| told.finding.severity < Severity::Note) {
        true => Ok(Ended::Found),
        false => Ok(Ended::Done),
    }
}

fn tell(finding: Finding, language: Language) -> Told {
    let (what, advice) = sentences(&finding.what, language);
    Told { finding, what, advice }
}

fn text(told: &[Told], language: Language) -> String {
    if told.is_empty() {
        return language.pick("nothing is wrong, as far as can be seen from here\n", "未发现问题\n").to_owned();
    }
    told.iter().map(|it| text_of(it, language)).collect()
}

fn text_of(it: &Told, language: Language) -> String {
    let severity = match it.finding.severity {
        Severity::Critical => language.pick("CRITICAL", "严重"),
        Severity::Warning => language.pick("WARNING", "警告"),
        Severity::Note => language.pick("NOTE", "提示"),
    };
    let since = it.finding.since.map(local_time);
    let since = since.map(|at| format!("  ({} {at})", language.pick("since", "自"))).unwrap_or_default();
    format!("{severity}  {}{since}\n    {}\n", it.what, it.advice)
}

/// What is wrong and why, and what to do about it.
fn sentences(what: &What, language: Language) -> (String, String) {
    let pick = |english: String, chinese: String| match language {
        English => english,
        Chinese => chinese,
    };
    let members = |values: &BTreeMap<String, Vec<String>>| {
        let one = |(value, who): (&String, &Vec<String>)| {
            let value = if value.is_empty() { language.pick("none", "无") } else { value };
            format!("{value}: {}", who.join(", "))
        };
        values.iter().map(one).collect::<Vec<_>>().join("; ")
    };
    match what {
        What::NameServerSilent { name_server, error } => (
            pick(format!("name server {name_server} does not answer: {error}"), format!("名字服务器 {name_server} 没有应答：{error}")),
            pick(
                "start it, or take it out of the lists of clients and brokers: clients try it in turn, and brokers are late".into(),
                "请启动它，或从客户端和 Broker 的地址列表中移除：客户端会轮流尝试它".into(),
            ),
        ),
        What::BrokerNotListed { broker, address, name_server } => (
            pick(
                format!("name server {name_server} does not know broker {broker} ({address})"),
                format!("名字服务器 {name_server} 不知道 Broker {broker}（{address}）"),
            ),
            pick(
                format!("put {name_server} into namesrvAddr of the broker, and let it reach it: clients that ask there miss the broker's topics"),
                format!("请把 {name_server} 写入该 Broker 的 namesrvAddr 并保证网络可达：从那里取路由的客户端看不到它的主题"),
            ),
        ),
        What::BrokerUnreachable { broker, address, error } => (
            pick(
                format!("broker {broker} is not reached at {address}, which clients are told: {error}"),
                format!("客户端得到的地址 {address} 连不上 Broker {broker}：{error}"),
            ),
            pick(
                "set brokerIP1 to an address that clients reach, open the port, or start the broker; it leaves the name servers after two minutes of silence".into(),
                "请把 brokerIP1 设为客户端能连上的地址、放行端口，或启动该 Broker；失联两分钟后名字服务器会移除它".into(),
            ),
        ),
        What::ClockSkew { broker, millis } => (
            pick(
                format!("the clock of broker {broker} and this machine's differ by {:.1} s", *millis as f64 / 1000.0),
                format!("Broker {broker} 的时钟与本机相差 {:.1} 秒", *millis as f64 / 1000.0),
            ),
            pick(
                "let both follow NTP: timers, retention and resets by time go by the broker's clock".into(),
                "请让两边都使用 NTP：定时消息、保留期和按时间重置位点都以 Broker 的时钟为准".into(),
            ),
        ),
        What::CertificateExpires { broker, at } => (
            pick(
                format!("the certificate that broker {broker} shows to clients expires at {}", local_time(*at)),
                format!("Broker {broker} 的 TLS 证书到期时间：{}", local_time(*at)),
            ),
            pick(
                "put a new one in its place (cometmq tls init DIR --renew): it is taken over without a restart; clients that check it refuse one that has expired".into(),
                "请换上新证书（cometmq tls init DIR --renew），无需重启；校验证书的客户端会拒绝过期的证书".into(),
            ),
        ),
        What::DiskFull { broker, used, limit } => (
            pick(
                format!("the disk of broker {broker} is {used} % full; from {limit} % on it deletes expired files at once"),
                format!("Broker {broker} 的磁盘已使用 {used}%；达到 {limit}% 后会立即删除过期文件"),
            ),
            pick(
                "make room, or lower fileReservedTime; a full disk refuses messages".into(),
                "请腾出空间，或调小 fileReservedTime；磁盘写满后将拒绝消息".into(),
            ),
        ),
        What::WritesForbidden { broker, permission } => (
            pick(
                format!("broker {broker} refuses messages: brokerPermission is {permission}"),
                format!("Broker {broker} 拒绝写入：brokerPermission 为 {permission}"),
            ),
            format!("cometmq admin updateBrokerConfig -b {broker} -k brokerPermission -v 6"),
        ),
        What::WritesWiped { broker } => (
            pick(
                format!("nobody is sent to broker {broker}: its write permission was wiped"),
                format!("没有客户端会写入 Broker {broker}：其写权限已被取消"),
            ),
            format!("cometmq admin addWritePerm -b {broker}"),
        ),
        What::Conflict { group, differs, values } => (
            pick(
                format!("members of group {group} differ in {differs}: {}", members(values)),
                format!("消费者组 {group} 的成员在 {differs} 上不一致：{}", members(values)),
            ),
            pick(
                "make all members alike, or give each kind its own group: as it is, each of them misses messages".into(),
                "请让所有成员保持一致，或各用各的消费者组：否则每个成员都会漏消息".into(),
            ),
        ),
        What::ClientClash { group, client_id, addresses } => (
            pick(
                format!("clients of group {group} at {} have the same id {client_id}", addresses.join(", ")),
                format!("消费者组 {group} 中位于 {} 的客户端使用同一个 ID {client_id}", addresses.join(", ")),
            ),
            pick(
                "give each its own instanceName: they are taken for one, and consume the same queues".into(),
                "请为每个客户端设置不同的 instanceName：它们会被当成同一个客户端，重复消费相同的队列".into(),
            ),
        ),
        What::QueueStuck { group, topic, broker, queue_id, offset, lag } => (
            pick(
                format!("group {group} stands at offset {offset} of {topic}@{broker}#{queue_id}, {lag} messages wait, and members are online"),
                format!("消费者组 {group} 停在 {topic}@{broker}#{queue_id} 的位点 {offset}，有 {lag} 条消息等待，而成员在线"),
            ),
            pick(
                format!("see what the member does: cometmq admin consumerStatus -g {group}; the message: cometmq admin queryMsgByOffset -t {topic} -b {broker} -i {queue_id} -o {offset}"),
                format!("查看成员在做什么：cometmq admin consumerStatus -g {group}；查看该消息：cometmq admin queryMsgByOffset -t {topic} -b {broker} -i {queue_id} -o {offset}"),
            ),
        ),
        What::LagGrows { group, before, now } => (
            pick(
                format!("group {group} falls behind: {before} messages waited, now {now}"),
                format!("消费者组 {group} 的堆积在增长：从 {before} 到 {now}"),
            ),
            pick(
                "add members (up to the number of queues), or make them faster; see consumerStatus for the time they take".into(),
                "请增加成员（不超过队列数）或加快处理；用 consumerStatus 查看消费耗时".into(),
            ),
        ),
        What::NobodyConsumes { group, lag } => (
            pick(
                format!("{lag} messages wait for group {group}, which has no members"),
                format!("消费者组 {group} 没有在线成员，有 {lag} 条消息等待"),
            ),
            pick(
                format!("start its consumers; if nobody needs it: cometmq admin deleteSubGroup -g {group} -r true"),
                format!("请启动它的消费者；如果不再需要：cometmq admin deleteSubGroup -g {group} -r true"),
            ),
        ),
        What::NoGroup { topic, messages, more } => (
            pick(
                format!("topic {topic} grows (by {more} just now, it has {messages}), and no group consumes it"),
                format!("主题 {topic} 在增长（刚才增加 {more} 条，共 {messages} 条），但没有消费者组消费它"),
            ),
            pick(
                "start a consumer, or stop the producer".into(),
                "请启动消费者，或停止生产者".into(),
            ),
        ),
        What::DeadLetters { group, letters } => (
            pick(format!("group {group} has {letters} dead letters"), format!("消费者组 {group} 有 {letters} 条死信")),
            format!("cometmq admin dlq list -g {group}; cometmq admin dlq requeue -g {group}"),
        ),
        What::TransactionsOpen { broker, count } => (
            pick(
                format!("{count} transactions wait on broker {broker} for their end for too long"),
                format!("Broker {broker} 上有 {count} 个事务长时间未结束"),
            ),
            pick(
                format!("are their producers online? cometmq admin transaction list -b {broker}"),
                format!("它们的生产者是否在线？cometmq admin transaction list -b {broker}"),
            ),
        ),
        What::TransactionsParked { broker, count } => (
            pick(
                format!("{count} transactions on broker {broker} were given up: nobody said how they ended"),
                format!("Broker {broker} 上有 {count} 个事务被放弃：没有人能给出结果"),
            ),
            pick(
                format!("cometmq admin transaction list --parked -b {broker}; then commit, rollback or resume"),
                format!("cometmq admin transaction list --parked -b {broker}，然后 commit、rollback 或 resume"),
            ),
        ),
    }
}
