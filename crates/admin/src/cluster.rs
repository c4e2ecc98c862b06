//! Clusters and their brokers.

use crate::{Admin, Error};
use protocol::request::route::GetClusterInfo;
use protocol::route::ClusterInfo;

/// All brokers that the name servers know (`clusterList`).
pub async fn list(admin: &Admin) -> Result<ClusterInfo, Error> {
    admin.ask_name_server_for(&GetClusterInfo {}).await
}

/// The addresses of a cluster's masters.
#[doc(alias = "CommandUtil.fetchMasterAddrByClusterName")]
pub async fn masters(admin: &Admin, cluster: &str) -> Result<Vec<String>, Error> {
    let info = list(admin).await?;
    let Some(names) = info.cluster_addr_table.get(cluster) else {
        let known = info.cluster_addr_table.into_keys().collect::<Vec<_>>().join(", ");
        return Err(Error::NoCluster { name: cluster.to_owned(), known });
    };
    let brokers = names.iter().filter_map(|name| info.broker_addr_table.get(name));
    Ok(brokers.filter_map(|broker| broker.broker_addrs.get(&0).cloned()).collect())
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
