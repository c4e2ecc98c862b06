//! The `cometmq` binary.
//!
//! 1. `main` reads the command line and the environment; nothing below it does
//! 2. [`dev`] and [`serve`] start what was asked for, and stop it at the first signal
//! 3. [`banner`] says where it is, in the reader's language ([`text`])
//!
//! Under the names `mqnamesrv` and `mqbroker` (links) it takes the flags of Apache's scripts.

mod banner;
mod dev;
mod environment;
mod listen;
mod options;
mod serve;
mod shutdown;
mod telemetry;
mod text;

use clap::{Parser, Subcommand};
use environment::Environment;
use serve::StartError;
use shutdown::Shutdown;
use std::process::ExitCode;
use std::time::Instant;

/// A message platform that speaks RocketMQ: name server and broker in one small binary.
#[derive(Parser)]
#[command(name = "cometmq", version, arg_required_else_help = true)]
struct Command {
    #[command(subcommand)]
    process: Process,
}

#[derive(Subcommand)]
enum Process {
    /// Name server and broker in one process, with no configuration
    Dev(options::Dev),
    /// A name server: where topics are
    Namesrv(options::Namesrv),
    /// A broker: takes messages in, hands them out
    Broker(options::Broker),
    // Clients of a running cluster (pub, sub, bench) go here.
}

fn main() -> ExitCode {
    let started = Instant::now();
    let environment = Environment::read();
    let command = Command::parse_from(options::with_process(std::env::args_os()));
    telemetry::start(environment.log_level);
    match command.process {
        Process::Dev(options) => run(&environment, async |shutdown| {
            dev::serve(options.read(&environment)?, &environment, started, shutdown).await
        }),
        Process::Namesrv(options) if options.print.any() => print(&environment, options.printed()),
        Process::Namesrv(options) => {
            run(&environment, async |shutdown| serve::namesrv(options.read()?, &environment, started, shutdown).await)
        }
        Process::Broker(options) if options.print.any() => print(&environment, options.printed(&environment)),
        Process::Broker(options) => run(&environment, async |shutdown| {
            serve::broker(options.read(&environment)?, &environment, started, shutdown).await
        }),
    }
}

/// Runs a process until it is told to stop, on this thread; data has threads of its own.
fn run(environment: &Environment, process: impl AsyncFnOnce(Shutdown) -> Result<(), StartError>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(environment, &StartError::Threads(error)),
    };
    let result = runtime.block_on(async { process(Shutdown::on_signals().map_err(StartError::Threads)?).await });
    // A name that is still being looked up need not be waited for.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(environment, &error),
    }
}

fn print(environment: &Environment, settings: Result<String, StartError>) -> ExitCode {
    match settings {
        Ok(settings) => {
            print!("{settings}");
            ExitCode::SUCCESS
        }
        Err(error) => failed(environment, &error),
    }
}

fn failed(environment: &Environment, error: &StartError) -> ExitCode {
    eprintln!("cometmq: {}", error.text(environment.language));
    ExitCode::FAILURE
}
