//! Who is connected: consumers, producers, and what a consumer says of itself.

use crate::{Admin, Error, consumer, topic};
use bytes::Bytes;
use protocol::code::response;
use protocol::command::ExtFields;
use protocol::group::{ConsumerConnection, ProducerConnection};
use protocol::json;
use protocol::request::group::{GetConsumerConnections, GetProducerConnections, GetRunningInfo};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The members of a group (`consumerConnection`), of one broker or of all.
#[doc(alias = "examineConsumerConnectionInfo")]
pub async fn consumers(admin: &Admin, group: &str, broker: Option<&str>) -> Result<ConsumerConnection, Error> {
    let brokers = match broker {
        Some(broker) => vec![broker.to_owned()],
        None => consumer::brokers_of(admin, group, None).await?.into_iter().map(|(_, address)| address).collect(),
    };
    let mut found: Option<ConsumerConnection> = None;
    let mut offline = None;
    for broker in brokers {
        let request = GetConsumerConnections { consumer_group: group.to_owned() };
        match admin.ask_for::<ConsumerConnection>(&broker, &request).await {
            Ok(more) => match &mut found {
                Some(found) => {
                    let known: BTreeSet<String> = found.connection_set.iter().map(|it| it.client_id.clone()).collect();
                    found
                        .connection_set
                        .extend(more.connection_set.into_iter().filter(|it| !known.contains(&it.client_id)));
                    found.subscription_table.extend(more.subscription_table);
                }
                None => found = Some(more),
            },
            Err(error) if error.code() == Some(response::CONSUMER_NOT_ONLINE) => offline = Some(error),
            Err(error) => return Err(error),
        }
    }
    match (found, offline) {
        (Some(found), _) => Ok(found),
        (None, Some(offline)) => Err(offline),
        (None, None) => Err(crate::not_there("group", group, std::iter::empty())),
    }
}

/// A member of a group, and a broker that knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its id.
    pub client_id: String,
    /// Where it is, `ip:port`.
    pub client_address: String,
    /// Its version, an ordinal of `MQVersion`.
    pub version: i32,
    /// What it is written in.
    pub language: String,
    /// The broker.
    pub broker: String,
}

/// The members of a group on all brokers; none when it has none.
pub async fn members(admin: &Admin, group: &str) -> Result<Vec<Member>, Error> {
    let mut members = BTreeMap::new();
    for (_, broker) in consumer::brokers_of(admin, group, None).await? {
        let request = GetConsumerConnections { consumer_group: group.to_owned() };
        match admin.ask_for::<ConsumerConnection>(&broker, &request).await {
            Ok(found) => {
                for it in found.connection_set {
                    members.entry(it.client_id.clone()).or_insert(Member {
                        client_id: it.client_id,
                        client_address: it.client_addr,
                        version: it.version,
                        language: it.language,
                        broker: broker.clone(),
                    });
                }
            }
            Err(error) if error.code() == Some(response::CONSUMER_NOT_ONLINE) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(members.into_values().collect())
}

/// Who sends to a topic in a group (`producerConnection`).
pub async fn producers(admin: &Admin, group: &str, topic: &str) -> Result<ProducerConnection, Error> {
    let mut all = ProducerConnection::default();
    let mut refused = None;
    for (_, broker) in topic::masters(admin, topic).await? {
        let request = GetProducerConnections { producer_group: group.to_owned() };
        match admin.ask_for::<ProducerConnection>(&broker, &request).await {
            Ok(found) => all.connection_set.extend(found.connection_set),
            Err(error) if error.code().is_some() => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    match refused {
        Some(refused) if all.connection_set.is_empty() => Err(refused),
        _ => Ok(all),
    }
}

/// What a consumer says of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    /// Its id.
    pub client_id: String,
    /// Its settings, as it says them.
    pub properties: BTreeMap<String, String>,
    /// Topic → the expression that it goes by.
    pub subscriptions: BTreeMap<String, String>,
    /// The queues that it consumes: topic, broker and queue.
    pub queues: Vec<(String, String, i32)>,
    /// Topic → what it does there, per second and per minute, as it says.
    pub statuses: Value,
    /// What its threads do, when that was asked for and it is written in Java.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jstack: Option<String>,
}

/// Asks a member of a group about itself, over a broker to which it is connected (`consumerStatus -i`); with `jstack` also
/// what its threads do.
pub async fn running(
    admin: &Admin,
    broker: &str,
    group: &str,
    client_id: &str,
    jstack: bool,
) -> Result<Running, Error> {
    let jstack = if jstack { "true" } else { "false" };
    let ext: ExtFields =
        [("consumerGroup", group), ("clientId", client_id), ("jstackEnable", jstack)].into_iter().collect();
    let request = GetRunningInfo { ext, ..GetRunningInfo::default() };
    let (_, body) = admin.ask(broker, &request, Bytes::new()).await?;
    let told: Value = crate::read(broker, &body)?;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let properties = told["properties"].as_object().into_iter().flatten();
    let subscriptions = told["subscriptionSet"].as_array().into_iter().flatten();
    let subscriptions = subscriptions.map(|it| (text(&it["topic"]), text(&it["subString"])));
    // Keys that are objects are read as text that holds them.
    let queues = told["mqTable"].as_object().into_iter().flatten().filter_map(|(queue, _)| {
        let queue: protocol::heartbeat::MessageQueue = json::read(queue.as_bytes()).ok()?;
        Some((queue.topic, queue.broker_name, queue.queue_id))
    });
    let mut queues: Vec<_> = queues.collect();
    queues.sort();
    Ok(Running {
        client_id: client_id.to_owned(),
        properties: properties.map(|(name, value)| (name.clone(), text(value))).collect(),
        subscriptions: subscriptions.collect(),
        queues,
        statuses: told["statusTable"].clone(),
        jstack: told["jstack"].as_str().map(str::to_owned),
    })
}
