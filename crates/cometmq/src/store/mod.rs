//! `cometmq store …`: looks at a broker's directory, CometMQ's or Apache's, and puts it right. No broker is needed, and
//! all but `repair` work beside one.
//!
//! Exit codes: 0 all is well, 1 something was found, 2 it could not be looked at.

mod adopt;
mod dump;
mod info;
mod repair;
mod verify;

use crate::environment::Environment;
use crate::text::Language;
use broker::config::{Config, ConfigError};
use std::path::PathBuf;
use std::process::ExitCode;
use store::StoreConfig;
use store::inspect::{Directory, LookError, RepairError, State};

/// What is done with a directory.
#[derive(Debug, clap::Subcommand)]
pub enum StoreCommand {
    Info(info::InfoArgs),
    Adopt(adopt::AdoptArgs),
    Verify(verify::VerifyArgs),
    Dump(dump::DumpArgs),
    Repair(repair::RepairArgs),
}

/// Runs it.
pub fn run(command: StoreCommand, environment: &Environment) -> ExitCode {
    let done = match command {
        StoreCommand::Info(args) => info::run(&args, environment),
        StoreCommand::Adopt(args) => adopt::run(&args, environment),
        StoreCommand::Verify(args) => verify::run(&args, environment),
        StoreCommand::Dump(args) => dump::run(&args),
        StoreCommand::Repair(args) => repair::run(&args, environment),
    };
    done.unwrap_or_else(|error| {
        eprintln!("cometmq: {}", error.text(environment.language));
        ExitCode::from(2)
    })
}

/// The directory that is meant.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The directory of the store: storePathRootDir
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The broker's settings. Without them the sizes of files are told from the files
    #[arg(short = 'c', long = "config", value_name = "broker.conf")]
    config: Option<PathBuf>,
}

impl Place {
    /// The broker's settings, for this directory.
    pub fn broker_config(&self) -> Result<Config, StoreError> {
        let mut config = match &self.config {
            Some(path) => Config::read(path)?.0,
            None => Config::default(),
        };
        config.store_root.clone_from(&self.dir);
        Ok(config)
    }

    /// Were settings given?
    pub fn has_config(&self) -> bool {
        self.config.is_some()
    }

    /// What the settings say of the store.
    pub fn config(&self) -> Result<StoreConfig, StoreError> {
        Ok(broker::store_config(&self.broker_config()?))
    }

    /// Looks at it.
    pub fn look(&self) -> Result<Directory, StoreError> {
        Ok(Directory::look(&self.config()?, self.config.is_none())?)
    }
}

/// Why a directory cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Look(#[from] LookError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Open(#[from] store::OpenError),
    #[error("cannot read the store: {0}")]
    Io(#[from] std::io::Error),
    #[error("{root} is in use by process {}: stop that first", named(*.pid), root = .root.display())]
    InUse { root: PathBuf, pid: Option<i32> },
    #[error(transparent)]
    Repair(#[from] RepairError),
}

fn named(pid: Option<i32>) -> String {
    pid.map_or("(unknown)".to_owned(), |pid| pid.to_string())
}

impl StoreError {
    fn text(&self, language: Language) -> String {
        match (self, language) {
            (StoreError::Look(LookError::NotThere(path)), Language::Chinese) => {
                format!("目录 {} 不存在", path.display())
            }
            (StoreError::Look(LookError::NoDirectory(path)), Language::Chinese) => {
                format!("{} 不是目录", path.display())
            }
            (StoreError::Look(LookError::NoStore(path)), Language::Chinese) => format!(
                "{} 里没有消息存储：既没有 commitlog，也没有 consumequeue；请指定 storePathRootDir 所指的目录",
                path.display()
            ),
            (StoreError::Look(LookError::Io { path, error }), Language::Chinese) => {
                format!("无法读取 {}：{error}", path.display())
            }
            (StoreError::Config(error), Language::Chinese) => format!("配置文件有误：{error}"),
            (StoreError::Open(error), Language::Chinese) => format!("无法打开存储：{error}"),
            (StoreError::Io(error), Language::Chinese) => format!("无法读取存储：{error}"),
            (
                StoreError::InUse { root, pid } | StoreError::Repair(RepairError::InUse { root, pid }),
                Language::Chinese,
            ) => format!("进程 {} 正在使用 {}：请先停止它", named(*pid), root.display()),
            (StoreError::Repair(RepairError::Io { path, error }), Language::Chinese) => {
                format!("修复中断：{}：{error}；没有丢失任何内容，可以重新开始", path.display())
            }
            (error, Language::English) => error.to_string(),
        }
    }
}

/// How a directory was left, in words.
pub fn state(state: State, language: Language) -> String {
    match (state, language) {
        (State::Clean, Language::English) => "stopped in order".into(),
        (State::Clean, Language::Chinese) => "正常停止".into(),
        (State::Crashed, Language::English) => {
            "not stopped in order (abort is there): the next start brings its end in order".into()
        }
        (State::Crashed, Language::Chinese) => "未正常停止（存在 abort 文件）：下次启动时会整理末尾".into(),
        (State::InUse { pid }, Language::English) => {
            format!("in use by process {}: its end is moving", named(pid))
        }
        (State::InUse { pid }, Language::Chinese) => format!("进程 {} 正在使用：末尾在变化", named(pid)),
    }
}

/// `clean`, `crashed` or `in-use`, for programs.
pub fn state_name(state: State) -> &'static str {
    match state {
        State::Clean => "clean",
        State::Crashed => "crashed",
        State::InUse { .. } => "in-use",
    }
}
