//! Clusters and their brokers.

use super::{Namesrv, View};
use crate::environment::Environment;
use crate::output::table;
use ::admin::{Error, cluster};

/// Clusters and their brokers.
#[derive(Debug, clap::Subcommand)]
#[command(rename_all = "camelCase")]
pub enum ClusterCommand {
    /// All clusters, their brokers and where they are
    ClusterList {
        /// Also how much goes in and out of each broker
        #[arg(short, long = "moreStats")]
        more: bool,
        /// Only this cluster
        #[arg(short, long = "clusterName", value_name = "NAME")]
        cluster: Option<String>,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        view: View,
    },
}

pub async fn run(command: ClusterCommand, environment: &Environment) -> Result<(), Error> {
    let ClusterCommand::ClusterList { more, cluster, namesrv, view } = command;
    let admin = namesrv.admin(environment);
    if more || cluster.is_some() {
        let columns = [
            ("cluster", "cluster", "集群"),
            ("broker", "broker", "Broker"),
            ("id", "id", "ID"),
            ("address", "address", "地址"),
            ("version", "version", "版本"),
            ("inTps", "in/s", "写入/秒"),
            ("outTps", "out/s", "消费/秒"),
            ("inToday", "in today", "今日写入"),
            ("outToday", "out today", "今日消费"),
            ("error", "wrong", "异常"),
        ];
        return view.rows(environment, &columns, async || cluster::summaries(&admin, cluster.as_deref()).await).await;
    }
    view.live(
        environment,
        async || cluster::list(&admin).await,
        |info| {
            let names = info
                .cluster_addr_table
                .iter()
                .flat_map(|(cluster, names)| names.iter().map(move |name| (cluster, name)));
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
        },
    )
    .await
}
