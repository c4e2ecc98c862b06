//! `cometmq admin …`: mqadmin's commands under mqadmin's names and flags, and some that it has not. One file per folder
//! of mqadmin; each command calls one function of the `admin` crate and shows what it returns.
//!
//! Exit codes: 0 done; 1 refused; 2 the command line is wrong; 3 not reached, so trying again may help; 4 what was named is
//! not there; 5 done on some servers; 6 looked, and found something (`doctor`, `config diff`).

mod auth;
mod broker;
pub mod chinese;
mod cluster;
mod config;
mod connection;
mod consumer;
mod dead_letters;
mod doctor;
mod export;
mod filter;
mod left_out;
mod message;
mod namesrv;
mod offset;
mod operate;
mod order;
mod plan;
mod query;
mod render;
mod stats;
mod time;
mod timer;
mod topic;
mod transaction;

use crate::connect::ConnectArgs;
use crate::environment::Environment;
use crate::text::{self, Language};
use ::admin::{Admin, Error, ErrorKind};
use serde::Serialize;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

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
    #[command(flatten)]
    Auth(auth::AuthCommand),
    #[command(flatten)]
    Connection(connection::ConnectionCommand),
    #[command(flatten)]
    Offset(offset::OffsetCommand),
    #[command(flatten)]
    Broker(broker::BrokerCommand),
    #[command(flatten)]
    Namesrv(namesrv::NamesrvCommand),
    #[command(flatten)]
    Query(query::QueryCommand),
    #[command(flatten)]
    Stats(stats::StatsCommand),
    #[command(flatten)]
    Export(export::ExportCommand),
    /// What is wrong, since when, why, and what to do
    Doctor(doctor::Doctor),
    /// Look at clusters again and again: what is wrong now, and what is over
    #[command(name = "startMonitoring")]
    Monitor(doctor::Monitor),
    /// The dead-letter inbox: messages that groups gave up
    #[command(subcommand)]
    Dlq(dead_letters::DeadLetterCommand),
    /// What a setting means, and in what brokers differ
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Programs that say which messages of a topic a group gets (WebAssembly)
    #[command(subcommand)]
    Filter(filter::FilterCommand),
    /// Order of keys: new queues of ordered topics, and keys that are parked
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
    /// What is not here: said with the reason, or with the nearest name.
    #[command(external_subcommand)]
    LeftOut(Vec<OsString>),
}

/// The commands as a command line of their own, whose names can be looked through.
#[derive(clap::Parser)]
struct Standalone {
    #[command(subcommand)]
    _command: AdminCommand,
}

/// How a command ended that did what it was to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Done,
    /// On some servers, or with some messages, it was not done.
    Partly,
    /// It found what somebody should look at.
    Found,
}

/// Runs it.
pub async fn run(args: AdminArgs, environment: &Environment) -> ExitCode {
    let done = |()| Ended::Done;
    let ended = match args.command {
        AdminCommand::Cluster(command) => cluster::run(command, environment).await.map(done),
        AdminCommand::Topic(command) => topic::run(command, environment).await.map(done),
        AdminCommand::Consumer(command) => consumer::run(command, environment).await.map(done),
        AdminCommand::Connection(command) => connection::run(command, environment).await.map(done),
        AdminCommand::Offset(command) => offset::run(command, environment).await.map(done),
        AdminCommand::Broker(command) => broker::run(command, environment).await.map(done),
        AdminCommand::Namesrv(command) => namesrv::run(command, environment).await.map(done),
        AdminCommand::Query(command) => query::run(command, environment).await.map(done),
        AdminCommand::Stats(command) => stats::run(command, environment).await.map(done),
        AdminCommand::Export(command) => export::run(command, environment).await.map(done),
        AdminCommand::Auth(command) => auth::run(command, environment).await.map(done),
        AdminCommand::Filter(command) => filter::run(command, environment).await.map(done),
        AdminCommand::Order(command) => order::run(command, environment).await.map(done),
        AdminCommand::Message(command) => message::run(command, environment).await.map(done),
        AdminCommand::Transaction(command) => transaction::run(command, environment).await.map(done),
        AdminCommand::Timer(command) => timer::run(command, environment).await.map(done),
        AdminCommand::Doctor(doctor) => doctor::run(doctor, environment).await,
        AdminCommand::Monitor(monitor) => doctor::watch(monitor, environment).await.map(done),
        AdminCommand::Dlq(command) => dead_letters::run(command, environment).await,
        AdminCommand::Config(command) => config::run(command, environment).await,
        AdminCommand::Operate(command) => operate::run(command, environment).await.map(done),
        AdminCommand::LeftOut(words) => return left_out::run(&words, environment),
    };
    ExitCode::from(match ended {
        Ok(Ended::Done) => 0,
        Ok(Ended::Partly) => 5,
        Ok(Ended::Found) => 6,
        Err(error) => {
            eprintln!("cometmq: {}", text::admin_error(&error, environment.language));
            match error.kind() {
                ErrorKind::Refused => 1,
                ErrorKind::NotReached => 3,
                ErrorKind::NotThere => 4,
                ErrorKind::Partly => 5,
            }
        }
    })
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
    /// One broker, by its address or name
    #[arg(short, long = "brokerAddr", value_name = "ADDRESS", conflicts_with = "cluster")]
    broker: Option<String>,
    /// All masters of a cluster
    #[arg(short, long = "clusterName", value_name = "NAME")]
    cluster: Option<String>,
}

/// The brokers that are meant: one, the masters of a cluster, or all.
#[derive(Debug, clap::Args)]
struct AnyBrokers {
    /// One broker, by its address or name; without it and a cluster all are meant
    #[arg(short, long = "brokerAddr", value_name = "ADDRESS", conflicts_with = "cluster")]
    broker: Option<String>,
    /// All masters of a cluster
    #[arg(short, long = "clusterName", alias = "cluster", value_name = "NAME")]
    cluster: Option<String>,
}

impl AnyBrokers {
    /// Their addresses.
    async fn addresses(&self, admin: &Admin) -> Result<Vec<String>, Error> {
        match (&self.broker, &self.cluster) {
            (Some(broker), _) => Ok(vec![::admin::cluster::broker(admin, broker).await?]),
            (None, Some(cluster)) => ::admin::cluster::masters(admin, cluster).await,
            (None, None) => {
                Ok(::admin::cluster::all_masters(admin).await?.into_iter().map(|(_, address)| address).collect())
            }
        }
    }
}

impl Brokers {
    /// Their addresses.
    async fn addresses(&self, admin: &Admin) -> Result<Vec<String>, Error> {
        match (&self.broker, &self.cluster) {
            (Some(broker), _) => Ok(vec![::admin::cluster::broker(admin, broker).await?]),
            (None, cluster) => ::admin::cluster::masters(admin, cluster.as_deref().unwrap_or_default()).await,
        }
    }
}

/// For whom a command writes.
#[derive(Debug, clap::Args)]
struct Output {
    /// A table for people, JSON or YAML for programs
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For programs, a line
    Json,
    /// For programs and people
    Yaml,
}

impl Format {
    /// `what` in this format, or the table that people see of it.
    fn text<T: Serialize + ?Sized>(self, what: &T, table: impl FnOnce(&T) -> String) -> String {
        match self {
            Format::Table => table(what),
            Format::Json => serde_json::to_string(what).unwrap_or_default() + "\n",
            Format::Yaml => yaml_serde::to_string(what).unwrap_or_default(),
        }
    }
}

impl Output {
    /// Prints `what`, or the table that people see of it.
    fn show<T: Serialize + ?Sized>(&self, what: &T, table: impl FnOnce(&T) -> String) {
        print(&self.output.text(what, table));
    }
}

/// For whom a command writes that looks at what may change, and how often.
#[derive(Debug, clap::Args)]
struct View {
    /// A table for people, JSON or YAML for programs
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(flatten)]
    watch: Watch,
}

/// The same for commands of which mqadmin uses -o for something else.
#[derive(Debug, clap::Args)]
struct LongView {
    /// A table for people, JSON or YAML for programs
    #[arg(long, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(flatten)]
    watch: Watch,
}

#[derive(Debug, Clone, Copy, clap::Args)]
struct Watch {
    /// Look again and again, every 2 seconds or as said, until Ctrl-C
    #[arg(long = "watch", value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = time::seconds)]
    every: Option<Duration>,
}

impl From<LongView> for View {
    fn from(LongView { output, watch }: LongView) -> View {
        View { output, watch }
    }
}

impl View {
    /// Prints what `fetch` finds, or the table that people see of it; with --watch again and again. There, what fails after
    /// the first time is said, and may be better the next time.
    async fn live<T: Serialize>(
        &self,
        environment: &Environment,
        mut fetch: impl AsyncFnMut() -> Result<T, Error>,
        table: impl Fn(&T) -> String,
    ) -> Result<(), Error> {
        let mut found = Ok(fetch().await?);
        loop {
            let text = match &found {
                Ok(found) => self.output.text(found, &table),
                Err(error) => format!("cometmq: {}\n", text::admin_error(error, environment.language)),
            };
            let Some(every) = self.watch.every else {
                print(&text);
                return Ok(());
            };
            let clear = self.output == Format::Table && std::io::stdout().is_terminal();
            let begin = if clear { "\u{1b}[H\u{1b}[2J" } else { "" };
            if !print(&format!("{begin}{text}")) {
                return Ok(());
            }
            tokio::time::sleep(every).await;
            found = fetch().await;
        }
    }

    /// The same, for rows of a table whose columns are fields of what is found.
    async fn rows<T: Serialize>(
        &self,
        environment: &Environment,
        columns: &[render::Column],
        fetch: impl AsyncFnMut() -> Result<Vec<T>, Error>,
    ) -> Result<(), Error> {
        self.live(environment, fetch, |found| render::rows(found, columns, environment.language)).await
    }
}

/// Whether a change is made.
#[derive(Debug, Clone, Copy, clap::Args)]
struct Dry {
    /// Change nothing, only say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Does something on several servers, and prints a line for each. What fails on one is said, and the others go on.
async fn each(
    environment: &Environment,
    dry: Dry,
    (english, chinese): (&str, &str),
    on: &[String],
    act: impl AsyncFn(&str) -> Result<(), Error>,
) -> Result<(), Error> {
    let (mut count, mut failures) = (0, Vec::new());
    for server in on {
        let made = if dry.dry_run { Ok(()) } else { act(server).await };
        match made {
            Ok(()) if dry.dry_run => {
                let prefix = environment.language.pick("[dry run] ", "[试运行] ");
                done(environment, &format!("{prefix}{english}"), &format!("{prefix}{chinese}"), server);
            }
            Ok(()) => done(environment, english, chinese, server),
            Err(error) => {
                if on.len() > 1 {
                    eprintln!("cometmq: {server}: {}", text::admin_error(&error, environment.language));
                }
                failures.push(error);
                continue;
            }
        }
        count += 1;
    }
    let failed = failures.len();
    match failures.into_iter().next() {
        None => Ok(()),
        Some(error) if count == 0 => Err(error),
        Some(error) => Err(Error::Partly { done: count, failed, first: Box::new(error) }),
    }
}

/// What a JSON file says.
fn load<T: serde::de::DeserializeOwned>(path: &std::path::Path) -> Result<T, Error> {
    let text = std::fs::read(path).map_err(|error| Error::File { path: path.to_owned(), error })?;
    protocol::json::read(&text).map_err(|error| Error::Input(format!("{}: {error}", path.display())))
}

/// Writes a file whole, and makes its directory; a file that was there stays until the new one is whole.
fn save(path: &std::path::Path, bytes: &[u8]) -> Result<(), Error> {
    store::table::replace(&store::disk::Disk::default(), path, bytes)
        .map_err(|error| Error::Write { path: path.to_owned(), error })
}

/// Whoever reads it may have gone: false then.
fn print(text: &str) -> bool {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// A line for each that was changed, in the reader's language.
fn done(environment: &Environment, english: &str, chinese: &str, of: &str) {
    let what = environment.language.pick(english, chinese);
    match environment.language {
        Language::English => print(&format!("{what}: {of}\n")),
        Language::Chinese => print(&format!("{what}：{of}\n")),
    };
}
