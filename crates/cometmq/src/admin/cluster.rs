//! Clusters and their brokers.

use super::{Namesrv, Output};
use crate::environment::Environment;
use crate::output::table;
use ::admin::{Error, cluster};

/// Clusters and their brokers.
#[derive(Debug, clap::Subcommand)]
#[command(rename_all = "camelCase")]
pub enum ClusterCommand {
    /// All clusters, their brokers and where they are
    ClusterList {
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        output: Output,
    },
}

pub async fn run(command: ClusterCommand, environment: &Environment) -> Result<(), Error> {
    let ClusterCommand::ClusterList { namesrv, output } = command;
    output.show(&cluster::list(&namesrv.admin(environment)).await?, |info| {
        let names =
            info.cluster_addr_table.iter().flat_map(|(cluster, names)| names.iter().map(move |name| (cluster, name)));
        let brokers = names.filter_map(|(cluster, name)| Some((cluster, info.broker_addr_table.get(name)?)));
        let rows: Vec<_> = brokers
            .flat_map(|(cluster, broker)| {
                let row = move |(id, address): (&i64, &String)| {
                    vec![cluster.clone(), broker.broker_name.clone(), id.to_string(), address.clone()]
                };
                broker.broker_addrs.iter().map(row)
            })
            .collect();
        let pick = |english, chinese| environment.language.pick(english, chinese);
        table(&[pick("cluster", "集群"), "broker", "id", pick("address", "地址")], &rows)
    });
    Ok(())
}
