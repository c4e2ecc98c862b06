//! Name servers: what operators keep on them, their settings, and which brokers may be sent to.

use crate::{Admin, Error};
use bytes::Bytes;
use protocol::code::response;
use protocol::properties;
use protocol::request::admin::{AddWritePerm, GetNamesrvConfig, UpdateNamesrvConfig, WipeWritePerm};
use protocol::request::route::{DeleteKvConfig, GetKvConfig, PutKvConfig};
use serde::Serialize;
use std::collections::BTreeMap;

/// Ordered topic → its queues on each broker, `broker-a:4;broker-b:4`.
#[doc(alias = "NAMESPACE_ORDER_TOPIC_CONFIG")]
pub const ORDER_NAMESPACE: &str = "ORDER_TOPIC_CONFIG";

/// Keeps a setting on all name servers (`updateKvConfig`).
pub async fn put_setting(admin: &Admin, namespace: &str, key: &str, value: &str) -> Result<(), Error> {
    let [namespace, key, value] = [namespace, key, value].map(str::to_owned);
    admin.tell_name_servers(&PutKvConfig { namespace, key, value }).await
}

/// A setting that is kept on the name servers, if it is.
pub async fn setting(admin: &Admin, namespace: &str, key: &str) -> Result<Option<String>, Error> {
    let [namespace, key] = [namespace, key].map(str::to_owned);
    match admin.routes.ask_name_server(&GetKvConfig { namespace, key }, Bytes::new()).await {
        Ok((_, reply, _)) => Ok(reply.value),
        Err(error) if error.code() == Some(response::QUERY_NOT_FOUND) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Removes a setting from all name servers (`deleteKvConfig`).
pub async fn delete_setting(admin: &Admin, namespace: &str, key: &str) -> Result<(), Error> {
    let [namespace, key] = [namespace, key].map(str::to_owned);
    admin.tell_name_servers(&DeleteKvConfig { namespace, key }).await
}

/// Of a name server, how many topics of a broker it changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wiped {
    /// The name server.
    pub name_server: String,
    /// How many topics the broker has there.
    pub topics: i32,
}

/// Nobody is sent to this broker any more (`wipeWritePerm`).
pub async fn wipe_write_permission(admin: &Admin, broker_name: &str) -> Result<Vec<Wiped>, Error> {
    let mut done = Vec::new();
    for name_server in admin.name_servers() {
        let request = WipeWritePerm { broker_name: broker_name.to_owned() };
        let (reply, _) = admin.ask(name_server, &request, Bytes::new()).await?;
        done.push(Wiped { name_server: name_server.clone(), topics: reply.wipe_topic_count });
    }
    Ok(done)
}

/// This broker may be sent to again (`addWritePerm`).
pub async fn add_write_permission(admin: &Admin, broker_name: &str) -> Result<Vec<Wiped>, Error> {
    let mut done = Vec::new();
    for name_server in admin.name_servers() {
        let request = AddWritePerm { broker_name: broker_name.to_owned() };
        let (reply, _) = admin.ask(name_server, &request, Bytes::new()).await?;
        done.push(Wiped { name_server: name_server.clone(), topics: reply.add_topic_count });
    }
    Ok(done)
}

/// The settings of each name server (`getNamesrvConfig`).
pub async fn config(admin: &Admin) -> Result<BTreeMap<String, BTreeMap<String, String>>, Error> {
    let mut all = BTreeMap::new();
    for name_server in admin.name_servers() {
        let (_, body) = admin.ask(name_server, &GetNamesrvConfig {}, Bytes::new()).await?;
        all.insert(name_server.clone(), crate::broker::settings(&body));
    }
    Ok(all)
}

/// Changes a setting of a name server (`updateNamesrvConfig`).
pub async fn update_config(admin: &Admin, name_server: &str, key: &str, value: &str) -> Result<(), Error> {
    let body = properties::write([(key, value)]);
    admin.ask(name_server, &UpdateNamesrvConfig {}, body.into()).await.map(drop)
}
