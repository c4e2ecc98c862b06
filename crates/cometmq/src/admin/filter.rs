//! Filter programs.

use super::{Brokers, Dry, Namesrv, Output, done, plan};
use crate::environment::Environment;
use crate::output::{local_time, table};
use ::admin::{Admin, Error, filter};
use protocol::request::filter::FilterProgram;
use serde::Serialize;
use std::path::PathBuf;

/// Programs that say which messages of a topic a group gets (WebAssembly).
#[derive(Debug, clap::Subcommand)]
pub enum FilterCommand {
    /// Put a module on, in place of the one that was there
    Put {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        brokers: Brokers,
        /// The module, as a compiler for wasm32-unknown-unknown writes it
        file: PathBuf,
        #[command(flatten)]
        dry: Dry,
        #[command(flatten)]
        namesrv: Namesrv,
    },
    /// Take one off: the group gets everything again
    Remove {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        brokers: Brokers,
        #[command(flatten)]
        dry: Dry,
        #[command(flatten)]
        namesrv: Namesrv,
    },
    /// Those that are there, and what they kept, dropped and failed at
    List {
        /// Of this group only
        #[arg(short, long = "groupName", value_name = "NAME")]
        group: Option<String>,
        /// For this topic only
        #[arg(short, long)]
        topic: Option<String>,
        #[command(flatten)]
        brokers: Brokers,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
}

/// Whose program, for what.
#[derive(Debug, clap::Args)]
pub struct Of {
    /// The group that gets what the program keeps
    #[arg(short, long = "groupName", value_name = "NAME")]
    group: String,
    /// The topic whose messages it judges
    #[arg(short, long)]
    topic: String,
}

/// A program, and the broker it is on.
#[derive(Serialize)]
struct OnBroker {
    broker: String,
    #[serde(flatten)]
    program: FilterProgram,
}

/// What a program is known by.
#[derive(Serialize)]
struct Module {
    bytes: i64,
    crc32: String,
}

/// The program that is there.
async fn there(admin: &Admin, broker: &str, group: &str, topic: &str) -> Result<Option<Module>, Error> {
    let found = filter::list(admin, broker, Some(group), Some(topic)).await?.into_iter().next();
    Ok(found.map(|it| Module { bytes: it.bytes, crc32: it.crc32 }))
}

pub async fn run(command: FilterCommand, environment: &Environment) -> Result<(), Error> {
    let pick = |english, chinese| environment.language.pick(english, chinese);
    match command {
        FilterCommand::Put { of: Of { group, topic }, brokers, file, dry, namesrv } => {
            let module: bytes::Bytes = match std::fs::read(&file) {
                Ok(module) => module.into(),
                Err(error) => return Err(Error::File { path: file, error }),
            };
            let admin = namesrv.admin(environment);
            for broker in brokers.addresses(&admin).await? {
                if dry.dry_run {
                    let before = there(&admin, &broker, &group, &topic).await?;
                    let after =
                        Module { bytes: module.len() as i64, crc32: format!("{:08x}", crc32fast::hash(&module)) };
                    plan::show(environment, &broker, before.as_ref(), Some(&after));
                    continue;
                }
                filter::put(&admin, &broker, &group, &topic, module.clone()).await?;
                done(environment, "put on", "已放置于", &broker);
            }
        }
        FilterCommand::Remove { of: Of { group, topic }, brokers, dry, namesrv } => {
            let admin = namesrv.admin(environment);
            for broker in brokers.addresses(&admin).await? {
                if dry.dry_run {
                    let before = there(&admin, &broker, &group, &topic).await?;
                    plan::show(environment, &broker, before.as_ref(), None);
                    continue;
                }
                filter::remove(&admin, &broker, &group, &topic).await?;
                done(environment, "removed from", "已移除于", &broker);
            }
        }
        FilterCommand::List { group, topic, brokers, namesrv, output } => {
            let admin = namesrv.admin(environment);
            let mut found = Vec::new();
            for broker in brokers.addresses(&admin).await? {
                let programs = filter::list(&admin, &broker, group.as_deref(), topic.as_deref()).await?;
                found.extend(programs.into_iter().map(|program| OnBroker { broker: broker.clone(), program }));
            }
            output.show(&found, |found| {
                let row = |OnBroker { broker, program }: &OnBroker| {
                    let [group, topic, crc32] = [&program.group, &program.topic, &program.crc32].map(String::clone);
                    let trouble = program.unusable.as_ref().or(program.last_failure.as_ref());
                    let counts = [program.bytes, program.kept, program.dropped, program.failed];
                    let [bytes, kept, dropped, failed] = counts.map(|count| count.to_string());
                    let trouble = trouble.cloned().unwrap_or_default();
                    vec![
                        broker.clone(),
                        group,
                        topic,
                        local_time(program.put_at),
                        bytes,
                        crc32,
                        kept,
                        dropped,
                        failed,
                        trouble,
                    ]
                };
                let head = [
                    "broker",
                    pick("group", "消费者组"),
                    pick("topic", "主题"),
                    pick("put", "放置时间"),
                    pick("bytes", "字节"),
                    "crc32",
                    pick("kept", "保留"),
                    pick("dropped", "丢弃"),
                    pick("failed", "失败"),
                    pick("last failure", "最近失败"),
                ];
                table(&head, &found.iter().map(row).collect::<Vec<_>>())
            });
        }
    }
    Ok(())
}
