//! Who is connected.

use super::{Namesrv, View, render};
use crate::environment::Environment;
use ::admin::{Error, connection};
use serde::Serialize;

/// Who is connected.
#[derive(Debug, clap::Subcommand)]
#[command(rename_all = "camelCase")]
pub enum ConnectionCommand {
    /// The members of a consumer group, and what they want
    ConsumerConnection {
        /// The group
        #[arg(short = 'g', long = "consumerGroup", value_name = "NAME")]
        group: String,
        /// Only of this broker
        #[arg(short, long = "brokerAddr", value_name = "ADDRESS")]
        broker: Option<String>,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        view: View,
    },
    /// What the members of a consumer group say of themselves
    ConsumerStatus {
        /// The group
        #[arg(short = 'g', long = "consumerGroup", value_name = "NAME")]
        group: String,
        /// Only this member
        #[arg(short = 'i', long = "clientId", value_name = "ID")]
        client: Option<String>,
        /// Only members that this broker knows
        #[arg(short, long = "brokerAddr", value_name = "ADDRESS")]
        broker: Option<String>,
        /// Also what their threads do; members in Java tell
        #[arg(short = 's', long)]
        jstack: bool,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        view: View,
    },
    /// Who sends to a topic in a producer group
    ProducerConnection {
        /// The group
        #[arg(short = 'g', long = "producerGroup", value_name = "NAME")]
        group: String,
        /// The topic
        #[arg(short, long)]
        topic: String,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        view: View,
    },
}

/// What a member says of itself, or why it does not.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberStatus {
    #[serde(flatten)]
    member: connection::Member,
    running: Option<connection::Running>,
    error: Option<String>,
}

const CLIENTS: &[render::Column] = &[
    ("clientId", "client", "客户端"),
    ("clientAddr", "address", "地址"),
    ("language", "language", "语言"),
    ("version", "version", "版本"),
];

pub async fn run(command: ConnectionCommand, environment: &Environment) -> Result<(), Error> {
    let language = environment.language;
    match command {
        ConnectionCommand::ConsumerConnection { group, broker, namesrv, view } => {
            let admin = namesrv.admin(environment);
            let fetch = async || connection::consumers(&admin, &group, broker.as_deref()).await;
            view.live(environment, fetch, |found| {
                let clients = render::rows(&found.connection_set, CLIENTS, language);
                let subscriptions: Vec<_> = found.subscription_table.values().collect();
                let columns = [
                    ("topic", "topic", "主题"),
                    ("subString", "expression", "过滤表达式"),
                    ("expressionType", "type", "类型"),
                ];
                let subscriptions = render::rows(&subscriptions, &columns, language);
                let how = [found.consume_type.name(), found.message_model.name(), found.consume_from_where.name()];
                format!("{clients}\n{subscriptions}\n  {}\n", how.join("  "))
            })
            .await
        }
        ConnectionCommand::ConsumerStatus { group, client, broker, jstack, namesrv, view } => {
            let admin = namesrv.admin(environment);
            let broker = match broker {
                Some(broker) => Some(::admin::cluster::broker(&admin, &broker).await?),
                None => None,
            };
            let fetch = async || {
                let mut members = connection::members(&admin, &group).await?;
                members.retain(|member| broker.as_ref().is_none_or(|broker| *broker == member.broker));
                if let Some(client) = &client {
                    members.retain(|member| member.client_id == *client);
                }
                if members.is_empty() {
                    let (kind, name) = match &client {
                        Some(client) => ("member of the group", client),
                        None => ("member of group", &group),
                    };
                    return Err(Error::NotThere { kind, name: name.clone(), nearest: None });
                }
                let mut all = Vec::new();
                for member in members {
                    let told = connection::running(&admin, &member.broker, &group, &member.client_id, jstack).await;
                    let error = told.as_ref().err().map(ToString::to_string);
                    all.push(MemberStatus { member, running: told.ok(), error });
                }
                Ok(all)
            };
            view.live(environment, fetch, |all| all.iter().map(|it| show_member(it, environment)).collect()).await
        }
        ConnectionCommand::ProducerConnection { group, topic, namesrv, view } => {
            let admin = namesrv.admin(environment);
            let fetch = async || Ok(connection::producers(&admin, &group, &topic).await?.connection_set);
            view.rows(environment, CLIENTS, fetch).await
        }
    }
}

fn show_member(it: &MemberStatus, environment: &Environment) -> String {
    let pick = |english, chinese| environment.language.pick(english, chinese);
    let member = &it.member;
    let head = format!("{}  {}  {} {}\n", member.client_id, member.client_address, member.language, member.version);
    let Some(running) = &it.running else {
        return head + &format!("  {}\n\n", it.error.as_deref().unwrap_or_default());
    };
    let subscriptions = running.subscriptions.iter().map(|(topic, expression)| format!("{topic} ({expression})"));
    let queues = running.queues.iter().map(|(topic, broker, queue)| format!("{topic}@{broker}#{queue}"));
    let line = |name: &str, values: Vec<String>| format!("  {name}: {}\n", values.join(", "));
    let statuses = running.statuses.as_object().into_iter().flatten().map(|(topic, status)| {
        let number = |name: &str| status[name].as_f64().unwrap_or(0.0);
        format!(
            "  {topic}: {} {:.1}/s, {} {:.1}/s, {} {:.1}/s, {} {:.1} ms\n",
            pick("pulled", "拉取"),
            number("pullTPS"),
            pick("consumed", "消费成功"),
            number("consumeOKTPS"),
            pick("failed", "消费失败"),
            number("consumeFailedTPS"),
            pick("time of consumption", "消费耗时"),
            number("consumeRT")
        )
    });
    let body = line(pick("wants", "订阅"), subscriptions.collect()) + &line(pick("queues", "队列"), queues.collect());
    let jstack = running.jstack.as_ref().map(|text| format!("\n{text}")).unwrap_or_default();
    head + &body + &statuses.collect::<String>() + &jstack + "\n"
}
