//! The `cometmq` binary.
//!
//! 1. `main` reads the command line and the environment; nothing below it does
//! 2. [`dev`] and [`serve`] start what was asked for, and stop it at the first signal
//! 3. [`publish`], [`subscribe`] and [`mod@bench`] are clients of a running cluster, CometMQ's or Apache's
//! 4. [`mod@store`] looks at a directory of messages and puts it right, without a broker
//! 5. [`mod@admin`] asks and changes what runs
//! 6. [`mod@tls`] makes certificates; [`connect`] is how clients use them
//! 7. [`mod@usage`] says in Chinese what is wrong with a command line
//! 8. [`banner`] says where it is, in the reader's language ([`text`])
//!
//! Under the names `mqnamesrv` and `mqbroker` (links) it takes the flags of Apache's scripts.

mod admin;
mod banner;
mod bench;
mod connect;
mod dev;
mod environment;
mod http;
mod listen;
mod options;
mod output;
mod process;
mod publish;
mod serve;
mod shutdown;
mod signing;
mod store;
mod subscribe;
mod telemetry;
mod text;
mod tls;
mod usage;
mod watch;

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use connect::ConnectArgs;
use environment::Environment;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serve::StartError;
use shutdown::Shutdown;
use std::process::ExitCode;
use std::time::Instant;
use tokio::task::LocalSet;

/// Requests make many small allocations on the thread that frees them: half the cost of the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A message platform that speaks RocketMQ: name server and broker in one small binary.
#[derive(Parser)]
#[command(name = "cometmq", version, arg_required_else_help = true)]
struct Command {
    #[command(subcommand)]
    process: Process,
    #[command(flatten)]
    signing: signing::Signing,
}

#[derive(Subcommand)]
enum Process {
    /// Name server and broker in one process, with no configuration
    Dev(options::Dev),
    /// A name server: where topics are
    Namesrv(options::Namesrv),
    /// A broker: takes messages in, hands them out
    Broker(options::Broker),
    /// Send messages, to CometMQ or to Apache RocketMQ
    Pub(publish::PublishArgs),
    /// Show messages, from CometMQ or from Apache RocketMQ
    Sub(subscribe::SubscribeArgs),
    /// Measure a broker, CometMQ's or Apache's: msgs/s, latency, CPU and memory
    Bench(bench::BenchArgs),
    /// Ask and change what runs, CometMQ or Apache RocketMQ: mqadmin's commands, and more
    Admin(Later<admin::AdminArgs>),
    /// Look at a broker's directory and put it right, CometMQ's or Apache's, running or not
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Make the certificates and settings that TLS needs
    #[command(subcommand)]
    Tls(tls::TlsCommand),
    /// Write what completes commands in a shell: source <(cometmq completion bash)
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Arguments that are put together when their command is asked for: a server's start need not wait for all of `admin`.
struct Later<A>(A);

impl<A: Args> Args for Later<A> {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.defer(A::augment_args)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        command.defer(A::augment_args_for_update)
    }
}

impl<A: Args> FromArgMatches for Later<A> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        A::from_arg_matches(matches).map(Later)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

/// What stands on the command line. Where it can't be, it is said, and the process ends.
fn command_line(environment: &Environment) -> Command {
    let mut command = Command::command();
    if environment.language == text::Language::Chinese {
        let chinese = |admin| admin::chinese::help(admin::AdminArgs::augment_args(admin));
        command = admin::chinese::help(command).mut_subcommand("admin", |admin| admin.defer(chinese));
    }
    let matches = command.clone().try_get_matches_from(options::with_process(std::env::args_os()));
    let matches = matches.unwrap_or_else(|error| match environment.language {
        text::Language::Chinese => usage::exit_in_chinese(&error),
        text::Language::English => error.exit(),
    });
    Command::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
}

fn main() -> ExitCode {
    let started = Instant::now();
    // Heaps of a few megabytes would have many halves of huge pages. Where it can't be, they have.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let mut environment = Environment::read();
    let command = command_line(&environment);
    if command.process.asks_servers() {
        match command.signing.credentials(&environment) {
            Ok(credentials) => environment.credentials = credentials,
            Err(why) => {
                eprintln!("cometmq: {why}");
                return ExitCode::FAILURE;
            }
        }
    }
    telemetry::start(&environment.log_level);
    let ended = match command.process {
        Process::Dev(options) => run(&environment, async |shutdown| {
            dev::serve(options.read(&environment)?, &environment, started, shutdown).await
        }),
        Process::Namesrv(options) if options.print.any() => print(&environment, options.printed(&environment)),
        Process::Namesrv(options) => run(&environment, async |shutdown| {
            serve::namesrv(options.read(&environment)?, &environment, started, shutdown).await
        }),
        Process::Broker(options) if options.print.any() => print(&environment, options.printed(&environment)),
        Process::Broker(options) => run(&environment, async |shutdown| {
            serve::broker(options.read(&environment)?, &environment, started, shutdown).await
        }),
        Process::Pub(args) => as_client(&environment, &args.connect.clone(), async |by| publish::run(args, by).await),
        Process::Sub(args) => as_client(&environment, &args.connect.clone(), async |by| subscribe::run(args, by).await),
        Process::Admin(Later(args)) => {
            as_client(&environment, &args.connect.clone(), async |by| admin::run(args, by).await)
        }
        Process::Store(command) => store::run(command, &environment),
        Process::Tls(command) => tls::run(command, &environment),
        Process::Bench(args) => as_client(&environment, &args.connect.clone(), async |by| {
            LocalSet::new().run_until(bench::run(args, by)).await
        }),
        Process::Completion { shell } => {
            clap_complete::generate(shell, &mut Command::command(), "cometmq", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
    };
    telemetry::end();
    ended
}

impl Process {
    /// Is it a tool that asks servers, and may have to say as whom?
    fn asks_servers(&self) -> bool {
        matches!(self, Process::Pub(_) | Process::Sub(_) | Process::Bench(_) | Process::Admin(_))
    }
}

/// Runs a process until it is told to stop, on this thread; data has threads of its own.
fn run(environment: &Environment, process: impl AsyncFnOnce(Shutdown) -> Result<(), StartError>) -> ExitCode {
    raise_open_files();
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

/// Takes all file descriptors that the system lets us have: each connection needs one, and the usual limit of 1024 is
/// one for programs that use `select`.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::warn!(%error, ?limit, "can't raise the limit on open files to its maximum");
    }
}

/// Runs a client of a cluster that connects as its flags say, on this thread.
fn as_client(
    environment: &Environment,
    connect: &ConnectArgs,
    client: impl AsyncFnOnce(&Environment) -> ExitCode,
) -> ExitCode {
    let connecting = match environment.connecting(connect) {
        Ok(connecting) => connecting,
        Err(error) => return failed(environment, &StartError::Tls(error)),
    };
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(client(&connecting)),
        Err(error) => failed(environment, &StartError::Threads(error)),
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
