//! What a cluster is made of, for files (`exportMetadata`, `exportConfigs`, `exportMetrics`).

use crate::{Admin, Error, broker, cluster, consumer, topic};
use protocol::subscription::SubscriptionGroupConfig;
use protocol::topic::{DLQ_PREFIX, RETRY_PREFIX, TopicConfig};
use serde::Serialize;
use std::collections::BTreeMap;

/// Topics and groups with their settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// When they were asked for, milliseconds since 1970.
    pub export_time: i64,
    /// Topics by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub topic_config_table: BTreeMap<String, TopicConfig>,
    /// Groups by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub subscription_group_table: BTreeMap<String, SubscriptionGroupConfig>,
}

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Topics.
    pub topics: bool,
    /// Groups.
    pub groups: bool,
    /// Retry and dead letter topics, too.
    pub special: bool,
}

/// Topics and groups of these brokers; where several have one, the one with the most queues is told.
pub async fn metadata(admin: &Admin, brokers: &[String], wanted: Wanted) -> Result<Metadata, Error> {
    let mut all = Metadata { export_time: crate::now_millis(), ..Metadata::default() };
    for broker in brokers {
        if wanted.topics {
            let system = topic::system_topics(admin, broker).await?;
            for (name, config) in topic::configs(admin, broker).await? {
                let special = name.starts_with(RETRY_PREFIX) || name.starts_with(DLQ_PREFIX);
                if system.contains(&name) || special && !wanted.special {
                    continue;
                }
                match all.topic_config_table.get(&name) {
                    Some(known) if known.write_queue_nums >= config.write_queue_nums => {}
                    _ => _ = all.topic_config_table.insert(name, config),
                }
            }
        }
        if wanted.groups {
            for (name, config) in consumer::configs(admin, broker).await? {
                if !is_system_group(&name) {
                    all.subscription_group_table.entry(name).or_insert(config);
                }
            }
        }
    }
    Ok(all)
}

/// Groups that brokers have from the start.
#[doc(alias = "MixAll.isSysConsumerGroup")]
pub fn is_system_group(group: &str) -> bool {
    const OWN: [&str; 10] = [
        "TOOLS_CONSUMER",
        "FILTERSRV_CONSUMER",
        "__MONITOR_CONSUMER",
        "SELF_TEST_C_GROUP",
        "CID_ONS-HTTP-PROXY",
        "CID_ONSAPI_PERMISSION",
        "CID_ONSAPI_OWNER",
        "CID_ONSAPI_PULL",
        "CID_RMQ_SYS_TRANS",
        "SELF_TEST_P_GROUP",
    ];
    OWN.contains(&group) || group.starts_with("CID_RMQ_SYS_")
}

/// How large a cluster is, and how its brokers are set.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Configs {
    /// Its size.
    pub cluster_scale: Scale,
    /// Broker → its settings.
    pub broker_configs: BTreeMap<String, BTreeMap<String, String>>,
}

/// How large a cluster is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scale {
    /// Name servers.
    pub namesrv_size: usize,
    /// Masters.
    pub master_broker_size: usize,
    /// Slaves.
    pub slave_broker_size: usize,
}

/// How large a cluster is, and how its masters are set.
pub async fn configs(admin: &Admin, cluster: &str) -> Result<Configs, Error> {
    let masters = cluster::masters(admin, cluster).await?;
    let info = cluster::list(admin).await?;
    let names = info.cluster_addr_table.get(cluster).into_iter().flatten();
    let brokers = names.filter_map(|name| info.broker_addr_table.get(name));
    let all: usize = brokers.map(|broker| broker.broker_addrs.len()).sum();
    let cluster_scale = Scale {
        namesrv_size: admin.name_servers().len(),
        master_broker_size: masters.len(),
        slave_broker_size: all - masters.len(),
    };
    let mut configs = Configs { cluster_scale, ..Configs::default() };
    for master in masters {
        let settings = broker::config(admin, &master).await?;
        let name = settings.get("brokerName").cloned().unwrap_or(master);
        configs.broker_configs.insert(name, settings);
    }
    Ok(configs)
}

/// How a cluster is used.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// When it was asked for, milliseconds since 1970.
    pub export_time: i64,
    /// Broker by broker.
    pub brokers: Vec<BrokerMetrics>,
    /// Messages that came in, in 24 hours.
    pub in_day: i64,
    /// Messages that went out, in 24 hours.
    pub out_day: i64,
}

/// How a broker is used.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerMetrics {
    /// Its name.
    pub broker: String,
    /// Its version.
    pub version: String,
    /// Messages per second that come in, over ten seconds.
    pub in_tps: f64,
    /// Messages per second that go out, over ten seconds.
    pub out_tps: f64,
    /// Messages that came in, in 24 hours.
    pub in_day: i64,
    /// Messages that went out, in 24 hours.
    pub out_day: i64,
    /// How full the disk of the commit log is, 0 to 1.
    pub disk_ratio: f64,
    /// Topics that are not the system's.
    pub topics: usize,
    /// Groups that are not the system's.
    pub groups: usize,
}

/// How a cluster's masters are used.
pub async fn metrics(admin: &Admin, cluster: &str) -> Result<Metrics, Error> {
    let mut all = Metrics { export_time: crate::now_millis(), ..Metrics::default() };
    for master in cluster::masters(admin, cluster).await? {
        let status = broker::status(admin, &master).await?;
        let settings = broker::config(admin, &master).await?;
        let wanted = Wanted { topics: true, groups: true, special: false };
        let metadata = metadata(admin, std::slice::from_ref(&master), wanted).await?;
        let number = |name: &str| status.get(name).and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        let day = async |what: &str| crate::stats::counted(admin, &master, what, cluster).await;
        let it = BrokerMetrics {
            broker: settings.get("brokerName").cloned().unwrap_or_else(|| master.clone()),
            version: status.get("brokerVersionDesc").cloned().unwrap_or_default(),
            in_tps: number("putTps").unwrap_or(0.0),
            out_tps: number("getTransferredTps").unwrap_or(0.0),
            in_day: day("BROKER_PUT_NUMS").await?.stats_day.sum,
            out_day: day("BROKER_GET_NUMS").await?.stats_day.sum,
            disk_ratio: number("commitLogDiskRatio").unwrap_or(-1.0),
            topics: metadata.topic_config_table.len(),
            groups: metadata.subscription_group_table.len(),
        };
        all.in_day += it.in_day;
        all.out_day += it.out_day;
        all.brokers.push(it);
    }
    Ok(all)
}
