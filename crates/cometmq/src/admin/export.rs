//! Files of what a cluster is made of.

use super::{Namesrv, done};
use crate::environment::Environment;
use ::admin::{Error, cluster, export};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Files of what a cluster is made of.
#[derive(Debug, clap::Subcommand)]
pub enum ExportCommand {
    /// Topics and groups with their settings, as JSON files
    #[command(name = "exportMetadata")]
    Metadata {
        /// The cluster
        #[arg(short, long = "clusterName", value_name = "NAME", required_unless_present = "broker")]
        cluster: Option<String>,
        /// One broker, by its address or name
        #[arg(short, long = "brokerAddr", value_name = "ADDRESS", conflicts_with = "cluster")]
        broker: Option<String>,
        #[command(flatten)]
        into: Into,
        /// Only topics
        #[arg(short, long, num_args = 0..=1, default_value = "false", default_missing_value = "true")]
        topic: bool,
        /// Only groups
        #[arg(short = 'g', long = "subscriptionGroup", num_args = 0..=1, default_value = "false", default_missing_value = "true")]
        groups: bool,
        /// Retry and dead letter topics, too
        #[arg(short, long = "specialTopic", num_args = 0..=1, default_value = "false", default_missing_value = "true")]
        special: bool,
        #[command(flatten)]
        namesrv: Namesrv,
    },
    /// The settings of a cluster's brokers, as a JSON file
    #[command(name = "exportConfigs")]
    Configs {
        /// The cluster
        #[arg(short, long = "clusterName", value_name = "NAME")]
        cluster: String,
        #[command(flatten)]
        into: Into,
        #[command(flatten)]
        namesrv: Namesrv,
    },
    /// How a cluster's brokers are used, as a JSON file
    #[command(name = "exportMetrics")]
    Metrics {
        /// The cluster
        #[arg(short, long = "clusterName", value_name = "NAME")]
        cluster: String,
        #[command(flatten)]
        into: Into,
        #[command(flatten)]
        namesrv: Namesrv,
    },
}

/// Where files go.
#[derive(Debug, clap::Args)]
pub struct Into {
    /// The directory for the files
    #[arg(short = 'f', long = "filePath", value_name = "DIR", default_value = "/tmp/rocketmq/export")]
    directory: PathBuf,
}

pub async fn run(command: ExportCommand, environment: &Environment) -> Result<(), Error> {
    match command {
        ExportCommand::Metadata { cluster, broker, into, topic, groups, special, namesrv } => {
            let admin = namesrv.admin(environment);
            let brokers = match (broker, cluster) {
                (Some(broker), _) => vec![cluster::broker(&admin, &broker).await?],
                (None, cluster) => cluster::masters(&admin, &cluster.unwrap_or_default()).await?,
            };
            let all = topic == groups;
            let wanted = export::Wanted { topics: topic || all, groups: groups || all, special };
            let metadata = export::metadata(&admin, &brokers, wanted).await?;
            let name = match (all, topic) {
                (true, _) => "metadata.json",
                (false, true) => "topic.json",
                (false, false) => "subscriptionGroup.json",
            };
            write(environment, &into, name, &metadata)
        }
        ExportCommand::Configs { cluster, into, namesrv } => {
            let configs = export::configs(&namesrv.admin(environment), &cluster).await?;
            write(environment, &into, "configs.json", &configs)
        }
        ExportCommand::Metrics { cluster, into, namesrv } => {
            let metrics = export::metrics(&namesrv.admin(environment), &cluster).await?;
            write(environment, &into, "metrics.json", &metrics)
        }
    }
}

fn write(environment: &Environment, into: &Into, name: &str, what: &impl Serialize) -> Result<(), Error> {
    let path = into.directory.join(name);
    let text = serde_json::to_string_pretty(what).unwrap_or_default() + "\n";
    super::save(&path, text.as_bytes())?;
    done(environment, "written", "已写入", &Path::display(&path).to_string());
    Ok(())
}
