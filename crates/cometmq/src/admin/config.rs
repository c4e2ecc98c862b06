//! What a setting means, and in what brokers differ.

use super::{Ended, Namesrv, Output, chinese};
use crate::environment::Environment;
use crate::output::table;
use crate::text::Language;
use ::admin::{Error, broker, cluster, config};
use ::broker::config::manual::{self, Setting};
use protocol::nearest::nearest;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a setting means, and in what brokers differ.
#[derive(Debug, clap::Subcommand)]
pub enum ConfigCommand {
    /// What a setting means: unit, range, defaults, whether a restart is needed, and its value on brokers
    Explain {
        /// The setting; without it all are listed
        key: Option<String>,
        /// Its value on this broker, by its address or name; without it on all
        #[arg(short, long = "brokerAddr", value_name = "ADDRESS")]
        broker: Option<String>,
        /// Ask no broker
        #[arg(long, conflicts_with = "broker")]
        offline: bool,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
    /// In what brokers differ from each other, or from Apache's defaults. Exit code 6 when they do
    Diff {
        /// The brokers, by their addresses or names; without them all masters
        #[arg(short, long = "brokerAddr", value_name = "ADDRESS")]
        brokers: Vec<String>,
        /// Compare with Apache's defaults, too
        #[arg(long)]
        apache: bool,
        /// Also what is a broker's own: names, addresses, directories
        #[arg(long)]
        own: bool,
        /// Also settings that one of them does not know
        #[arg(long)]
        unknown: bool,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
}

/// What is known of a setting.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Explained {
    key: String,
    /// `None`: only Apache's brokers heed it.
    meaning: Option<String>,
    unit: Option<String>,
    allowed: Option<String>,
    default: Option<String>,
    apache_default: Option<String>,
    /// A change takes effect only when the broker starts.
    restart: Option<bool>,
    /// Broker → its value there, and where from.
    values: BTreeMap<String, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Value {
    value: Option<String>,
    /// `default`: as it is when nobody sets it. `set`: by broker.conf, a flag or updateBrokerConfig.
    from: &'static str,
}

pub async fn run(command: ConfigCommand, environment: &Environment) -> Result<Ended, Error> {
    let language = environment.language;
    match command {
        ConfigCommand::Explain { key: None, output, .. } => {
            let all: Vec<_> = manual::settings().iter().map(|it| explained(&it.key, language)).collect();
            output.show(&all, |all| {
                let row = |it: &Explained| {
                    let meaning = it.meaning.clone().unwrap_or_default();
                    vec![it.key.clone(), it.default.clone().unwrap_or_default(), meaning]
                };
                let head = [language.pick("setting", "配置项"), language.pick("default", "默认值"), ""];
                table(&head, &all.iter().map(row).collect::<Vec<_>>())
            });
            Ok(Ended::Done)
        }
        ConfigCommand::Explain { key: Some(key), broker, offline, namesrv, output } => {
            let mut explained = explained(&key, language);
            if explained.meaning.is_none() && explained.apache_default.is_none() {
                let settings = manual::settings();
                let known = settings.iter().map(|it| it.key.as_str()).chain(manual::apache().map(|(key, _)| key));
                let nearest = nearest(&key, known).map(str::to_owned);
                return Err(Error::NotThere { kind: "setting", name: key, nearest });
            }
            if !offline {
                let admin = namesrv.admin(environment);
                let brokers = match broker {
                    Some(name) => vec![(name.clone(), cluster::broker(&admin, &name).await?)],
                    None => cluster::all_masters(&admin).await?,
                };
                for (name, address) in brokers {
                    let value = broker::config(&admin, &address).await?.remove(&key);
                    // An address, a directory or a name differs from machine to machine; only what we know is the same.
                    let defaults = [&explained.default, &explained.apache_default];
                    let from = match &value {
                        None => "unknown",
                        Some(value) if defaults.into_iter().flatten().any(|default| default == value) => "default",
                        Some(_) => "set",
                    };
                    explained.values.insert(name, Value { value, from });
                }
            }
            output.show(&explained, |it| show(it, language));
            Ok(Ended::Done)
        }
        ConfigCommand::Diff { brokers, apache, own, unknown, namesrv, output } => {
            let admin = namesrv.admin(environment);
            let brokers = match brokers.is_empty() {
                true => cluster::all_masters(&admin).await?,
                false => {
                    let mut named = Vec::new();
                    for name in brokers {
                        let address = cluster::broker(&admin, &name).await?;
                        named.push((name, address));
                    }
                    named
                }
            };
            let (mut names, mut all) = (Vec::new(), Vec::new());
            for (name, address) in brokers {
                names.push(name);
                all.push(broker::config(&admin, &address).await?);
            }
            if apache {
                names.push("Apache".to_owned());
                all.push(
                    manual::apache().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect(),
                );
            }
            if all.len() < 2 {
                return Err(Error::Input("one broker differs from nobody: name two, or compare with --apache".into()));
            }
            let differences = config::diff(&all, !unknown, own);
            output.show(&differences, |differences| {
                let head: Vec<&str> = std::iter::once(language.pick("setting", "配置项"))
                    .chain(names.iter().map(String::as_str))
                    .collect();
                let row = |it: &config::Difference| {
                    let values = it.values.iter().map(|value| value.clone().unwrap_or_else(|| "-".into()));
                    std::iter::once(it.key.clone()).chain(values).collect::<Vec<_>>()
                };
                table(&head, &differences.iter().map(row).collect::<Vec<_>>())
            });
            Ok(if differences.is_empty() { Ended::Done } else { Ended::Found })
        }
    }
}

fn explained(key: &str, language: Language) -> Explained {
    let found: Option<&Setting> = manual::settings().iter().find(|it| it.key == key);
    let meaning = found.map(|it| match language {
        Language::English => it.meaning.clone(),
        Language::Chinese => chinese::setting(key).map_or_else(|| it.meaning.clone(), str::to_owned),
    });
    let apache = manual::apache().find(|(known, _)| *known == key);
    Explained {
        key: key.to_owned(),
        meaning,
        unit: found.and_then(|it| it.unit).map(str::to_owned),
        allowed: found.and_then(|it| it.allowed.clone()),
        default: found.map(|it| it.default.clone()),
        apache_default: apache.map(|(_, default)| default.unwrap_or_default().to_owned()),
        restart: found.map(|it| !it.at_once),
        values: BTreeMap::new(),
    }
}

fn show(it: &Explained, language: Language) -> String {
    let pick = |english: &'static str, chinese: &'static str| language.pick(english, chinese);
    let meaning = it.meaning.clone().unwrap_or_else(|| {
        pick(
            "Apache's brokers heed it; CometMQ does not do what it says.",
            "Apache 的 Broker 支持该配置项，CometMQ 暂不支持。",
        )
        .to_owned()
    });
    let mut text = format!("{}\n  {meaning}\n", it.key);
    let restart = it.restart.map(|restart| match restart {
        true => pick("only when the broker starts", "重启 Broker 后").to_owned(),
        false => pick("at once (updateBrokerConfig)", "立即（updateBrokerConfig）").to_owned(),
    });
    let shown = |value: &Option<String>| value.clone().map(|it| if it.is_empty() { "-".to_owned() } else { it });
    let facts = [
        (pick("unit", "单位"), it.unit.clone()),
        (pick("allowed", "取值"), it.allowed.clone()),
        (pick("default", "默认值"), shown(&it.default)),
        (pick("Apache's default", "Apache 默认值"), shown(&it.apache_default)),
        (pick("takes effect", "生效"), restart),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            text.push_str(&format!("  {name}: {value}\n"));
        }
    }
    for (broker, value) in &it.values {
        let from = match value.from {
            "default" => pick("the default", "默认值"),
            "set" => pick(
                "set: broker.conf, a flag or updateBrokerConfig",
                "已设置：broker.conf、命令行或 updateBrokerConfig",
            ),
            _ => pick("not known there", "该 Broker 不支持"),
        };
        text.push_str(&format!("  {broker}: {}  ({from})\n", value.value.as_deref().unwrap_or("-")));
    }
    text
}
