//! Clusters and their brokers.

use crate::{Admin, Error, broker};
use protocol::request::route::GetClusterInfo;
use protocol::route::{BrokerData, ClusterInfo};
use serde::Serialize;

/// All brokers that the name servers know (`clusterList`).
pub async fn list(admin: &Admin) -> Result<ClusterInfo, Error> {
    admin.ask_name_server_for(&GetClusterInfo {}).await
}

/// The addresses of a cluster's masters.
#[doc(alias = "CommandUtil.fetchMasterAddrByClusterName")]
pub async fn masters(admin: &Admin, cluster: &str) -> Result<Vec<String>, Error> {
    let of_cluster = of(admin, cluster).await?;
    Ok(of_cluster.into_iter().filter_map(|mut broker| broker.broker_addrs.remove(&0)).collect())
}

/// A cluster's brokers, each a master with its slaves.
async fn of(admin: &Admin, cluster: &str) -> Result<Vec<BrokerData>, Error> {
    let mut info = list(admin).await?;
    let Some(names) = info.cluster_addr_table.remove(cluster) else {
        let known = info.cluster_addr_table.into_keys().collect::<Vec<_>>().join(", ");
        return Err(Error::NoCluster { name: cluster.to_owned(), known });
    };
    Ok(names.iter().filter_map(|name| info.broker_addr_table.remove(name)).collect())
}

/// The addresses of a cluster's brokers, masters and slaves (`updateBrokerConfig -a true`).
pub async fn brokers(admin: &Admin, cluster: &str) -> Result<Vec<String>, Error> {
    let of_cluster = of(admin, cluster).await?;
    Ok(of_cluster.into_iter().flat_map(|broker| broker.broker_addrs.into_values()).collect())
}

/// The address of a broker that was named by its address, or by the name that a master and its slaves share.
pub async fn broker(admin: &Admin, name: &str) -> Result<String, Error> {
    if name.contains(':') {
        return Ok(name.to_owned());
    }
    let info = list(admin).await?;
    let found = info.broker_addr_table.get(name).and_then(|broker| broker.broker_addrs.get(&0));
    found.cloned().ok_or_else(|| crate::not_there("broker", name, info.broker_addr_table.keys().map(String::as_str)))
}

/// The masters of all clusters: name and address.
pub async fn all_masters(admin: &Admin) -> Result<Vec<(String, String)>, Error> {
    let brokers = list(admin).await?.broker_addr_table.into_iter();
    Ok(brokers.filter_map(|(name, mut broker)| Some((name, broker.broker_addrs.remove(&0)?))).collect())
}

/// A broker at a glance.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerSummary {
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub broker: String,
    /// 0: a master.
    pub id: i64,
    /// Where it is.
    pub address: String,
    /// Its version.
    pub version: Option<String>,
    /// Messages per second that come in, over ten seconds.
    pub in_tps: Option<f64>,
    /// Messages per second that go out, over ten seconds.
    pub out_tps: Option<f64>,
    /// Messages that came in today.
    pub in_today: Option<i64>,
    /// Messages that went out today.
    pub out_today: Option<i64>,
    /// Why it does not tell.
    pub error: Option<String>,
}

/// All brokers and how much goes in and out (`clusterList -m`), of one cluster or of all.
pub async fn summaries(admin: &Admin, cluster: Option<&str>) -> Result<Vec<BrokerSummary>, Error> {
    let info = list(admin).await?;
    if let Some(cluster) = cluster.filter(|cluster| !info.cluster_addr_table.contains_key(*cluster)) {
        let known = info.cluster_addr_table.into_keys().collect::<Vec<_>>().join(", ");
        return Err(Error::NoCluster { name: cluster.to_owned(), known });
    }
    let mut all = Vec::new();
    for (name, brokers) in info.cluster_addr_table.iter().filter(|(name, _)| cluster.is_none_or(|it| it == *name)) {
        for data in brokers.iter().filter_map(|broker| info.broker_addr_table.get(broker)) {
            for (id, address) in &data.broker_addrs {
                let mut it = BrokerSummary {
                    cluster: name.clone(),
                    broker: data.broker_name.clone(),
                    id: *id,
                    address: address.clone(),
                    ..BrokerSummary::default()
                };
                match broker::status(admin, address).await {
                    Ok(status) => {
                        let first =
                            |name: &str| status.get(name).and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
                        let count = |name: &str| status.get(name).and_then(|text| text.parse::<i64>().ok());
                        let today = |now: &str, morning: &str| Some(count(now)? - count(morning)?);
                        it.version = status.get("brokerVersionDesc").cloned();
                        (it.in_tps, it.out_tps) = (first("putTps"), first("getTransferredTps"));
                        it.in_today = today("msgPutTotalTodayNow", "msgPutTotalTodayMorning");
                        it.out_today = today("msgGetTotalTodayNow", "msgGetTotalTodayMorning");
                    }
                    Err(error) => it.error = Some(error.to_string()),
                }
                all.push(it);
            }
        }
    }
    Ok(all)
}
