//! The `cometmq` binary.

mod bench;
mod publish;
mod subscribe;

use clap::Parser;
use std::process::ExitCode;

/// A message platform that speaks RocketMQ.
#[derive(clap::Parser)]
enum Command {
    Pub(publish::PublishArgs),
    Sub(subscribe::SubscribeArgs),
    Bench(bench::BenchArgs),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let command = Command::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::WARN).init();
    match command {
        Command::Pub(args) => publish::run(args).await,
        Command::Sub(args) => subscribe::run(args).await,
        Command::Bench(args) => bench::run(args).await,
    }
}
