//! Brokers: how they are, how they are set, what they clean up.

use crate::{Admin, Error};
use bytes::Bytes;
use protocol::admin::{ConsumeStatsList, HaStatus, ProducerTable};
use protocol::properties;
use protocol::request::Request;
use protocol::request::admin::{
    CleanExpiredQueues, CleanUnusedTopics, DeleteExpiredLog, GetAllProducers, GetBrokerConfig, GetConsumeStatsInBroker,
    GetHaStatus, GetRuntimeInfo, UpdateBrokerConfig,
};
use protocol::route::KvTable;
use std::collections::BTreeMap;

/// How a broker is, by RocketMQ's names (`brokerStatus`).
pub async fn status(admin: &Admin, broker: &str) -> Result<BTreeMap<String, String>, Error> {
    Ok(admin.ask_for::<KvTable>(broker, &GetRuntimeInfo {}).await?.table)
}

/// A broker's settings that are in force (`getBrokerConfig`).
pub async fn config(admin: &Admin, broker: &str) -> Result<BTreeMap<String, String>, Error> {
    let (_, body) = admin.ask(broker, &GetBrokerConfig {}, Bytes::new()).await?;
    Ok(settings(&body))
}

/// What a body of `.properties` text says.
pub(crate) fn settings(body: &[u8]) -> BTreeMap<String, String> {
    let settings = properties::read(&String::from_utf8_lossy(body)).into_iter();
    settings.map(|setting| (setting.key, setting.value)).collect()
}

/// Changes a setting of a broker (`updateBrokerConfig`).
pub async fn update_config(admin: &Admin, broker: &str, key: &str, value: &str) -> Result<(), Error> {
    let body = properties::write([(key, value)]);
    admin.ask(broker, &UpdateBrokerConfig {}, body.into()).await.map(drop)
}

/// How far the groups of a broker are (`brokerConsumeStats`); with `ordered` in ordered topics only.
pub async fn consume_stats(admin: &Admin, broker: &str, ordered: bool) -> Result<ConsumeStatsList, Error> {
    admin.ask_for(broker, &GetConsumeStatsInBroker { is_order: Some(ordered) }).await
}

/// Who sends to a broker (`producer`).
pub async fn producers(admin: &Admin, broker: &str) -> Result<ProducerTable, Error> {
    admin.ask_for(broker, &GetAllProducers {}).await
}

/// Has a broker let consume queues and index follow the commit log (`cleanExpiredCQ`).
pub async fn clean_expired_queues(admin: &Admin, broker: &str) -> Result<(), Error> {
    tell(admin, broker, &CleanExpiredQueues {}).await
}

/// Has a broker delete the files of its commit log that are older than `fileReservedTime`, now (`deleteExpiredCommitLog`).
pub async fn delete_expired_log(admin: &Admin, broker: &str) -> Result<(), Error> {
    tell(admin, broker, &DeleteExpiredLog {}).await
}

/// Has a broker delete queues of topics that it does not have any more (`cleanUnusedTopic`).
pub async fn clean_unused_topics(admin: &Admin, broker: &str) -> Result<(), Error> {
    tell(admin, broker, &CleanUnusedTopics {}).await
}

/// What slaves a broker has, and how far they are (`haStatus`).
pub async fn ha_status(admin: &Admin, broker: &str) -> Result<HaStatus, Error> {
    admin.ask_for(broker, &GetHaStatus {}).await
}

async fn tell(admin: &Admin, broker: &str, request: &impl Request) -> Result<(), Error> {
    admin.ask(broker, request, Bytes::new()).await.map(drop)
}
