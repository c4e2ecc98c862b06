//! `cometmq bench`: how much a broker takes, how much it gives, and how long a message is under way.
//!
//! Its own driver, not the SDK: on one core it must be faster than what it measures. One thread, one task per
//! connection, prepared requests, answers looked at where they lie. An answer that is a refusal, or a message that
//! does not arrive, makes the run fail.

mod frame;
mod latency;
mod load;
mod report;
mod usage;

use crate::connect::ConnectArgs;
use crate::environment::Environment;
use crate::text;
use client::routes::Route;
use client::{Client, Error, MessageQueue};
use report::Report;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use usage::Usage;

/// Measure a broker, CometMQ's or Apache's: msgs/s, latency, CPU and memory.
#[derive(Debug, Clone, clap::Args)]
pub struct BenchArgs {
    /// What to measure.
    #[arg(value_enum)]
    workload: Workload,
    /// Name servers, separated by `;`; without it NAMESRV_ADDR of the environment, else 127.0.0.1:9876.
    #[arg(short, long)]
    namesrv: Option<String>,
    /// Sent to, pulled from.
    #[arg(short, long, default_value = "cometmq-bench")]
    topic: String,
    /// Bytes in a message's body.
    #[arg(short, long, default_value_t = 1024, value_name = "BYTES")]
    size: usize,
    /// How many connections, at least one.
    #[arg(short, long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    connections: u32,
    /// How many requests each connection has under way: 1 waits for each answer before it asks again.
    #[arg(short, long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    outstanding: u32,
    /// How long to measure.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// How long to run before that.
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
    warm_up: f64,
    /// send, latency: so many messages per second in all, on schedule; without it, the next one is sent when one is
    /// answered (send) or has arrived (latency).
    #[arg(long, value_name = "MSGS_PER_SECOND")]
    rate: Option<f64>,
    /// send, latency: a property of each message, `name=value`; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = crate::publish::property)]
    property: Vec<(String, String)>,
    /// send: as transactions, each a half message and then its commit; latencies are those of both requests.
    #[arg(long)]
    transaction: bool,
    /// pull: only what this SQL92 expression says. What it drops is not counted.
    #[arg(long, value_name = "EXPRESSION")]
    sql: Option<String>,
    /// pull: as this consumer group, and so through the filter program that it has on the topic, if any. No offset moves.
    #[arg(short, long, default_value = frame::PULL_GROUP, value_name = "GROUP")]
    group: String,
    /// The broker's process id, on this machine: adds its CPU time and memory.
    #[arg(long)]
    pid: Option<u32>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Workload {
    /// Send messages.
    Send,
    /// Pull 32 messages per request, from a topic's first to its last and over again.
    Pull,
    /// One message at a time, from the moment when it should be sent to its arrival at a consumer.
    Latency,
}

/// Why there is nothing to report.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Client(#[from] Error),
    #[error("connection to {address}: {source}")]
    Connection { address: String, source: std::io::Error },
    #[error("{0}")]
    System(#[from] std::io::Error),
    #[error("no process {0} on this machine, or its numbers can't be read: {1}")]
    Process(u32, std::io::Error),
    #[error("topic `{0}` is empty; fill it first, for example with `cometmq bench send --topic {0}`")]
    Empty(String),
    #[error("{0}")]
    Arguments(&'static str),
}

/// Measures and prints. Fails when a request was refused or a message was lost. Wants a `LocalSet`, on a thread
/// where nothing else runs.
pub async fn run(args: BenchArgs, environment: &Environment) -> ExitCode {
    match measure(&args, environment).await {
        Ok(report) => {
            print!("{}", if args.json { report.json() } else { report.text(environment.language) });
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(failed) => {
            let text = match &failed {
                Failed::Client(error) => text::client_error(error, environment.language),
                other => other.to_string(),
            };
            eprintln!("cometmq: {text}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(args: &BenchArgs, environment: &Environment) -> Result<Report, Failed> {
    let positive = |seconds: f64| seconds.is_finite() && seconds >= 0.0;
    if !positive(args.seconds) || !positive(args.warm_up) || args.seconds == 0.0 {
        return Err(Failed::Arguments("--seconds must be more than 0, and --warm-up not less"));
    }
    if args.rate.is_some_and(|rate| !(0.001..=1e7).contains(&rate)) {
        return Err(Failed::Arguments("--rate must be between 0.001 and 10,000,000"));
    }
    if args.rate.is_some() && args.workload == Workload::Pull {
        return Err(Failed::Arguments("--rate is for send and latency"));
    }
    if args.transaction && args.workload != Workload::Send {
        return Err(Failed::Arguments("--transaction is for send"));
    }
    if args.sql.is_some() && args.workload != Workload::Pull {
        return Err(Failed::Arguments("--sql is for pull"));
    }
    let remoting = environment.remoting();
    let client = Client::connect_by(remoting.clone(), &environment.namesrv(&args.namesrv)).await?;
    match args.workload {
        Workload::Send => load::send(args, &client, &remoting).await,
        Workload::Pull => load::pull(args, &client, &remoting).await,
        Workload::Latency => latency::run(args, &client, &remoting).await,
    }
}

/// The brokers to send to, after a message has seen to it that the topic is there.
async fn ready_to_send(client: &Client, topic: &str) -> Result<Arc<Route>, Failed> {
    client.producer(topic).send("cometmq bench").await?;
    Ok(client.routes().to_send(topic).await?)
}

/// Queues in groups of one broker each, with the broker's address.
fn by_broker<'a>(route: &'a Route, queues: &'a [MessageQueue]) -> Vec<(&'a str, Vec<i32>)> {
    let mut groups = Vec::new();
    for broker in route.brokers.keys() {
        let ids: Vec<i32> =
            queues.iter().filter(|queue| queue.broker_name == *broker).map(|queue| queue.queue_id).collect();
        if let (Some(address), false) = (route.broker(broker, 0), ids.is_empty()) {
            groups.push((address, ids));
        }
    }
    groups
}

/// The measured part of a run: usage at its start and end.
struct Window {
    pid: Option<u32>,
    started: std::time::Instant,
    broker: Option<Usage>,
    generator: Usage,
}

impl Window {
    fn open(pid: Option<u32>) -> Result<Window, Failed> {
        let broker = pid.map(|pid| Usage::of(pid).map_err(|error| Failed::Process(pid, error))).transpose()?;
        let generator = Usage::of(std::process::id())?;
        Ok(Window { pid, started: std::time::Instant::now(), broker, generator })
    }

    fn close(self, report: &mut Report) -> Result<(), Failed> {
        report.elapsed = self.started.elapsed();
        report.generator_cpu = Usage::of(std::process::id())?.cpu.saturating_sub(self.generator.cpu);
        if let (Some(pid), Some(before)) = (self.pid, self.broker) {
            let now = Usage::of(pid).map_err(|error| Failed::Process(pid, error))?;
            report.broker = Some((now.cpu.saturating_sub(before.cpu), now.memory));
        }
        Ok(())
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.min(1e6))
}
