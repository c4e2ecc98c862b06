//! `cometmq admin …`: mqadmin's commands under mqadmin's names and flags, and some that it has not. One file per folder
//! of mqadmin; each command calls one function of the `admin` crate and shows what it returns.
//!
//! Exit codes: 0 done, 1 refused or not reached, 2 the command line is wrong.

mod cluster;
mod consumer;
mod filter;
mod message;
mod operate;
mod order;
mod timer;
mod topic;
mod transaction;

use crate::connect::ConnectArgs;
use crate::environment::Environment;
use crate::text::{self, Language};
use ::admin::{Admin, Error};
use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;

/// Ask and change what runs, CometMQ or Apache RocketMQ: mqadmin's commands, and more.
#[derive(Debug, clap::Args)]
pub struct AdminArgs {
    #[command(subcommand)]
    command: AdminCommand,
    #[command(flatten)]
    pub connect: ConnectArgs,
}

#[derive(Debug, clap::Subcommand)]
enum AdminCommand {
    #[command(flatten)]
    Cluster(cluster::ClusterCommand),
    #[command(flatten)]
    Topic(topic::TopicCommand),
    #[command(flatten)]
    Consumer(consumer::ConsumerCommand),
    /// Programs that say which messages of a topic a group gets (WebAssembly)
    #[command(subcommand)]
    Filter(filter::FilterCommand),
    /// New queues of ordered topics, which wait until the old ones are consumed
    #[command(subcommand)]
    Order(order::OrderCommand),
    /// What became of messages, and what came more than once
    #[command(subcommand)]
    Message(message::MessageCommand),
    /// Transactions that wait for their end, or were given up
    #[command(subcommand)]
    Transaction(transaction::TransactionCommand),
    /// Messages that wait for their time
    #[command(subcommand)]
    Timer(timer::TimerCommand),
    #[command(flatten)]
    Operate(operate::OperateCommand),
}

/// Runs it.
pub async fn run(args: AdminArgs, environment: &Environment) -> ExitCode {
    let done = match args.command {
        AdminCommand::Cluster(command) => cluster::run(command, environment).await,
        AdminCommand::Topic(command) => topic::run(command, environment).await,
        AdminCommand::Consumer(command) => consumer::run(command, environment).await,
        AdminCommand::Filter(command) => filter::run(command, environment).await,
        AdminCommand::Order(command) => order::run(command, environment).await,
        AdminCommand::Message(command) => message::run(command, environment).await,
        AdminCommand::Transaction(command) => transaction::run(command, environment).await,
        AdminCommand::Timer(command) => timer::run(command, environment).await,
        AdminCommand::Operate(command) => operate::run(command, environment).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cometmq: {}", text::admin_error(&error, environment.language));
            ExitCode::FAILURE
        }
    }
}

/// Whom to ask.
#[derive(Debug, clap::Args)]
struct Namesrv {
    /// Name servers, separated by `;`; without it NAMESRV_ADDR of the environment, else 127.0.0.1:9876
    #[arg(short, long = "namesrvAddr", value_name = "ADDRESS")]
    namesrv: Option<String>,
}

impl Namesrv {
    fn admin(&self, environment: &Environment) -> Admin {
        Admin::by(environment.remoting(), &environment.namesrv(&self.namesrv))
    }
}

/// The brokers that are meant: one, or the masters of a cluster.
#[derive(Debug, clap::Args)]
#[group(required = true)]
struct Brokers {
    /// One broker
    #[arg(short, long = "brokerAddr", value_name = "ADDRESS", conflicts_with = "cluster")]
    broker: Option<String>,
    /// All masters of a cluster
    #[arg(short, long = "clusterName", value_name = "NAME")]
    cluster: Option<String>,
}

impl Brokers {
    /// Their addresses.
    async fn addresses(&self, admin: &Admin) -> Result<Vec<String>, Error> {
        match (&self.broker, &self.cluster) {
            (Some(broker), _) => Ok(vec![broker.clone()]),
            (None, cluster) => ::admin::cluster::masters(admin, cluster.as_deref().unwrap_or_default()).await,
        }
    }
}

/// For whom a command writes.
#[derive(Debug, clap::Args)]
struct Output {
    /// A table for people, or JSON for programs
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

impl Output {
    /// Prints `what`, or the table that people see of it.
    fn show<T: Serialize + ?Sized>(&self, what: &T, table: impl FnOnce(&T) -> String) {
        let text = match self.output {
            Format::Table => table(what),
            Format::Json => serde_json::to_string(what).unwrap_or_default() + "\n",
        };
        print(&text);
    }
}

/// Whoever reads it may have gone.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// A line for each that was changed, in the reader's language.
fn done(environment: &Environment, english: &str, chinese: &str, of: &str) {
    let what = environment.language.pick(english, chinese);
    match environment.language {
        Language::English => print(&format!("{what}: {of}\n")),
        Language::Chinese => print(&format!("{what}：{of}\n")),
    }
}
