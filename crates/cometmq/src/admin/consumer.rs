//! Consumer groups.

use super::{Brokers, Namesrv, done};
use crate::environment::Environment;
use ::admin::{Error, consumer};

/// Consumer groups.
#[derive(Debug, clap::Subcommand)]
#[command(rename_all = "camelCase")]
pub enum ConsumerCommand {
    /// Delete a consumer group
    DeleteSubGroup {
        /// The group
        #[arg(short, long = "groupName")]
        group: String,
        #[command(flatten)]
        brokers: Brokers,
        /// Its offsets and its retries, too
        #[arg(short, long = "removeOffset", num_args = 0..=1, default_value = "false", default_missing_value = "true")]
        remove_offset: bool,
        #[command(flatten)]
        namesrv: Namesrv,
    },
}

pub async fn run(command: ConsumerCommand, environment: &Environment) -> Result<(), Error> {
    let ConsumerCommand::DeleteSubGroup { group, brokers, remove_offset, namesrv } = command;
    let admin = namesrv.admin(environment);
    for broker in brokers.addresses(&admin).await? {
        consumer::delete(&admin, &broker, &group, remove_offset).await?;
        done(environment, "deleted from", "已删除于", &broker);
    }
    Ok(())
}
