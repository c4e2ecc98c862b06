//! What a server says of itself: who changed what, and what it logs.

use super::{Dry, Namesrv, Output, done, plan};
use crate::environment::Environment;
use crate::output::{local_time, table};
use ::admin::logging::Server;
use ::admin::{Admin, Error, audit, logging};
use protocol::audit::{AuditEntry, AuditFilter};
use serde::Serialize;
use std::time::{SystemTime, UNIX_EPOCH};

/// Whom to ask: one broker, the masters of a cluster, or the name servers themselves.
#[derive(Debug, clap::Args)]
pub struct Servers {
    /// One broker, by its address or name
    #[arg(short, long = "brokerAddr", value_name = "ADDRESS", conflicts_with = "cluster")]
    broker: Option<String>,
    /// All masters of a cluster
    #[arg(short, long = "clusterName", value_name = "NAME")]
    cluster: Option<String>,
    #[command(flatten)]
    namesrv: Namesrv,
}

impl Servers {
    /// Their addresses. Without broker and cluster, the name servers are meant.
    async fn find(&self, environment: &Environment) -> Result<(Admin, Server, Vec<String>), Error> {
        let admin = self.namesrv.admin(environment);
        let (server, addresses) = match (&self.broker, &self.cluster) {
            (Some(broker), _) => (Server::Broker, vec![::admin::cluster::broker(&admin, broker).await?]),
            (None, Some(cluster)) => (Server::Broker, ::admin::cluster::masters(&admin, cluster).await?),
            (None, None) => (Server::Namesrv, admin.name_servers().to_vec()),
        };
        Ok((admin, server, addresses))
    }
}

/// What a server says of itself.
#[derive(Debug, clap::Subcommand)]
pub enum OperateCommand {
    /// Who changed what: the audit log of a broker (-b, -c), or of the name servers
    Audit {
        #[command(flatten)]
        servers: Servers,
        /// Only what is not older: 30m, 12h, 7d
        #[arg(long, value_name = "AGE", value_parser = age)]
        since: Option<u64>,
        /// Only what names this topic, group, or key
        #[arg(short, long, value_name = "NAME")]
        topic: Option<String>,
        /// Only by this user, or from this address or host
        #[arg(long, value_name = "WHO")]
        who: Option<String>,
        /// Only requests with this in their names: topic, delete, config
        #[arg(long, value_name = "WORD")]
        what: Option<String>,
        /// The last so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        max: usize,
        #[command(flatten)]
        output: Output,
    },
    /// Show what a broker (-b, -c) or the name servers log, or change it: info,broker=debug
    #[command(name = "logLevel")]
    LogLevel {
        #[command(flatten)]
        servers: Servers,
        /// off, error, warn, info, debug or trace; part=level for parts of the program, parted by `,`
        level: Option<String>,
        #[command(flatten)]
        dry: Dry,
    },
}

/// Milliseconds.
fn age(text: &str) -> Result<u64, String> {
    let unit = match text.chars().last() {
        Some('s') => 1000,
        Some('m') => 60_000,
        Some('h') => 3_600_000,
        Some('d') => 86_400_000,
        _ => return Err("a number with s, m, h or d behind it: 30m, 12h, 7d".into()),
    };
    let number = text[..text.len() - 1].parse::<u64>().map_err(|error| error.to_string())?;
    number.checked_mul(unit).ok_or_else(|| "that is too long ago".to_owned())
}

/// An entry, and the server it is of.
#[derive(Serialize)]
struct OnServer {
    server: String,
    #[serde(flatten)]
    entry: AuditEntry,
}

pub async fn run(command: OperateCommand, environment: &Environment) -> Result<(), Error> {
    let pick = |english, chinese| environment.language.pick(english, chinese);
    match command {
        OperateCommand::Audit { servers, since, topic, who, what, max, output } => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
            let since = since.map_or(0, |age| now.saturating_sub_unsigned(age));
            let filter = AuditFilter { since, about: topic, who, what };
            let (admin, _, addresses) = servers.find(environment).await?;
            let mut found = Vec::new();
            for server in addresses {
                let entries = audit::entries(&admin, &server, &filter, max).await?;
                found.extend(entries.into_iter().map(|entry| OnServer { server: server.clone(), entry }));
            }
            found.sort_by_key(|it| it.entry.at);
            output.show(&found, |found| {
                let row = |OnServer { server, entry }: &OnServer| {
                    let who = match &entry.user {
                        Some(user) => format!("{user}@{}", entry.address),
                        None => entry.address.clone(),
                    };
                    let outcome = match entry.outcome.as_str() {
                        "done" => pick("done", "已完成"),
                        "refused" => pick("refused", "被拒绝"),
                        _ => pick("unknown", "未知"),
                    };
                    let asked = entry.asked.to_string();
                    vec![local_time(entry.at), server.clone(), who, entry.what.clone(), outcome.to_owned(), asked]
                };
                let head = [
                    pick("time", "时间"),
                    pick("server", "服务器"),
                    pick("who", "操作者"),
                    pick("what", "操作"),
                    pick("outcome", "结果"),
                    pick("asked for", "请求内容"),
                ];
                table(&head, &found.iter().map(row).collect::<Vec<_>>())
            });
        }
        OperateCommand::LogLevel { servers, level, dry } => {
            let (admin, server, addresses) = servers.find(environment).await?;
            for address in addresses {
                if let Some(level) = level.as_ref().filter(|_| dry.dry_run) {
                    let now = logging::level(&admin, &address, server).await?;
                    plan::setting(environment, &address, "logLevel", now.as_ref(), level);
                } else if let Some(level) = &level {
                    logging::set_level(&admin, &address, server, level).await?;
                    done(environment, "log level set on", "已设置日志级别", &address);
                } else {
                    let level = logging::level(&admin, &address, server).await?;
                    let none = pick("no such setting", "无此设置").to_owned();
                    super::print(&format!("{address}  {}\n", level.unwrap_or(none)));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_units() {
        assert_eq!((age("30m"), age("7d"), age("1s")), (Ok(1_800_000), Ok(604_800_000), Ok(1000)));
        for bad in ["", "7", "d", "-1h", "99999999999999999d", "1 h"] {
            assert!(age(bad).is_err(), "{bad}");
        }
    }
}
