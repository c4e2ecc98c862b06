//! Clusters and their brokers.

use super::{Namesrv, View, render, time};
use crate::environment::Environment;
use crate::output::{local_time, table};
use ::admin::{Error, cluster, send};
use std::time::Duration;

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
        /// As --watch
        #[arg(short, long, value_name = "SECONDS", value_parser = time::seconds, conflicts_with = "every")]
        interval: Option<Duration>,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        view: View,
    },
    /// Send messages to each cluster, and take the time; with --interval again and again
    #[command(name = "clusterRT")]
    Probe {
        /// How many messages
        #[arg(short, long, value_name = "N", default_value_t = 100)]
        amount: usize,
        /// The size of a message, bytes
        #[arg(short, long, value_name = "BYTES", default_value_t = 128)]
        size: usize,
        /// Only this cluster
        #[arg(short, long, value_name = "NAME")]
        cluster: Option<String>,
        /// As --watch; mqadmin looks every 10 seconds
        #[arg(short, long, value_name = "SECONDS", value_parser = time::seconds, conflicts_with = "every")]
        interval: Option<Duration>,
        /// Lines for logs: time|room|cluster|milliseconds
        #[arg(short = 'p', long = "printLog", num_args = 0..=1, default_value = "false", default_missing_value = "true")]
        log: bool,
        /// What such lines call the room of the machine
        #[arg(short = 'm', long = "machineRoom", value_name = "NAME", default_value = "noname")]
        room: String,
        #[command(flatten)]
        namesrv: Namesrv,
        #[command(flatten)]
        view: View,
    },
}

pub async fn run(command: ClusterCommand, environment: &Environment) -> Result<(), Error> {
    let (more, cluster, interval, namesrv, mut view) = match command {
        ClusterCommand::ClusterList { more, cluster, interval, namesrv, view } => {
            (more, cluster, interval, namesrv, view)
        }
        ClusterCommand::Probe { amount, size, cluster, interval, log, room, namesrv, mut view } => {
            let admin = namesrv.admin(environment);
            view.watch.every = view.watch.every.or(interval);
            let fetch = async || send::probe_clusters(&admin, cluster.as_deref(), amount, size).await;
            let line = |it: &send::ClusterProbe| {
                let now = local_time(jiff::Timestamp::now().as_millisecond());
                format!("{now}|{room}|{}|{:.0}\n", it.cluster, it.millis)
            };
            let columns = [
                ("cluster", "cluster", "集群"),
                ("millis", "ms on average", "平均毫秒"),
                ("millisMax", "longest", "最长"),
                ("stored", "stored", "成功"),
                ("refused", "refused", "失败"),
                ("error", "why", "原因"),
            ];
            let table = |found: &Vec<send::ClusterProbe>| match log {
                true => found.iter().map(line).collect(),
                false => render::rows(found, &columns, environment.language),
            };
            return view.live(environment, fetch, table).await;
        }
    };
    view.watch.every = view.watch.every.or(interval);
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
