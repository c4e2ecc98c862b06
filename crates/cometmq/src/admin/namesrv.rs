//! Name servers.

use super::{Dry, Namesrv, Output, View, each, plan, render};
use crate::environment::Environment;
use ::admin::{Error, namesrv};

/// Name servers.
#[derive(Debug, clap::Subcommand)]
#[command(rename_all = "camelCase")]
pub enum NamesrvCommand {
    /// The settings of each name server
    GetNamesrvConfig {
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        view: View,
    },
    /// Change a setting of all name servers
    UpdateNamesrvConfig {
        /// The setting
        #[arg(short, long)]
        key: String,
        /// Its new value
        #[arg(short, long, allow_hyphen_values = true)]
        value: String,
        #[command(flatten)]
        dry: Dry,
        #[command(flatten)]
        namesrv: Namesrv,
    },
    /// Keep a setting of your own on all name servers
    UpdateKvConfig {
        /// What it belongs to
        #[arg(short = 's', long, value_name = "NAME")]
        namespace: String,
        /// Its name
        #[arg(short, long)]
        key: String,
        /// What it is set to
        #[arg(short, long, allow_hyphen_values = true)]
        value: String,
        #[command(flatten)]
        dry: Dry,
        #[command(flatten)]
        namesrv: Namesrv,
    },
    /// Remove a setting of your own from all name servers
    DeleteKvConfig {
        /// What it belongs to
        #[arg(short = 's', long, value_name = "NAME")]
        namespace: String,
        /// Its name
        #[arg(short, long)]
        key: String,
        #[command(flatten)]
        dry: Dry,
        #[command(flatten)]
        namesrv: Namesrv,
    },
    /// Send nobody to a broker any more, before it is stopped
    WipeWritePerm(WritePermission),
    /// Send clients to a broker again
    AddWritePerm(WritePermission),
}

/// Of which broker.
#[derive(Debug, clap::Args)]
pub struct WritePermission {
    /// The broker's name
    #[arg(short, long = "brokerName", value_name = "NAME")]
    broker: String,
    #[command(flatten)]
    dry: Dry,
    #[command(flatten)]
    namesrv: Namesrv,
    #[command(flatten)]
    output: Output,
}

pub async fn run(command: NamesrvCommand, environment: &Environment) -> Result<(), Error> {
    let changed = ("changed on", "已更改于");
    match command {
        NamesrvCommand::GetNamesrvConfig { namesrv, view } => {
            let admin = namesrv.admin(environment);
            view.live(
                environment,
                async || namesrv::config(&admin).await,
                |all| all.iter().map(|(address, table)| format!("[{address}]\n{}", render::pairs(table))).collect(),
            )
            .await
        }
        NamesrvCommand::UpdateNamesrvConfig { key, value, dry, namesrv } => {
            let admin = namesrv.admin(environment);
            if dry.dry_run {
                for (address, now) in namesrv::config(&admin).await? {
                    plan::setting(environment, &address, &key, now.get(&key), &value);
                }
                return Ok(());
            }
            let act = async |address: &str| namesrv::update_config(&admin, address, &key, &value).await;
            each(environment, dry, changed, admin.name_servers(), act).await
        }
        NamesrvCommand::UpdateKvConfig { namespace, key, value, dry, namesrv } => {
            let admin = namesrv.admin(environment);
            let all = [admin.name_servers().join(";")];
            if dry.dry_run {
                let now = namesrv::setting(&admin, &namespace, &key).await?;
                plan::value(environment, &all[0], &key, now.as_deref(), Some(&value));
                return Ok(());
            }
            let act = async |_: &str| namesrv::put_setting(&admin, &namespace, &key, &value).await;
            each(environment, dry, changed, &all, act).await
        }
        NamesrvCommand::DeleteKvConfig { namespace, key, dry, namesrv } => {
            let admin = namesrv.admin(environment);
            let all = [admin.name_servers().join(";")];
            if dry.dry_run {
                let now = namesrv::setting(&admin, &namespace, &key).await?;
                plan::value(environment, &all[0], &key, now.as_deref(), None);
                return Ok(());
            }
            let act = async |_: &str| namesrv::delete_setting(&admin, &namespace, &key).await;
            each(environment, dry, ("deleted from", "已删除于"), &all, act).await
        }
        NamesrvCommand::WipeWritePerm(args) => permission(args, environment, false).await,
        NamesrvCommand::AddWritePerm(args) => permission(args, environment, true).await,
    }
}

async fn permission(args: WritePermission, environment: &Environment, add: bool) -> Result<(), Error> {
    let admin = args.namesrv.admin(environment);
    // A name that nobody has is a mistake, which name servers do not see.
    ::admin::cluster::broker(&admin, &args.broker).await?;
    if args.dry.dry_run {
        let what = if add {
            ("may be sent to again", "将恢复写权限")
        } else {
            ("is sent to no more", "将取消写权限")
        };
        return each(environment, args.dry, what, std::slice::from_ref(&args.broker), async |_| Ok(())).await;
    }
    let done = match add {
        true => namesrv::add_write_permission(&admin, &args.broker).await?,
        false => namesrv::wipe_write_permission(&admin, &args.broker).await?,
    };
    let columns = [("nameServer", "name server", "名字服务器"), ("topics", "topics", "主题数")];
    args.output.show(&done, |done| render::rows(done, &columns, environment.language));
    Ok(())
}
