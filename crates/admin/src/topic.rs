//! Topics: which there are, where they are; making and deleting them.

use crate::{Admin, Error, cluster, consumer, namesrv};
use bytes::Bytes;
use client::{MessageQueue, rebalance};
use protocol::admin::{AllTopics, TopicConfigs, TopicStats};
use protocol::code::response;
use protocol::json;
use protocol::request::admin::{CreateTopicList, GetAllTopicConfig, GetSystemTopics, GetTopicStats};
use protocol::request::route::{GetRoute, GetTopicList};
use protocol::request::topic::{CreateTopic, DeleteTopic, ForgetTopic};
use protocol::route::{TopicList, TopicRoute};
use protocol::topic::{DLQ_PREFIX, RETRY_PREFIX, TopicConfig};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// All topics that the name servers know (`topicList`).
pub async fn list(admin: &Admin) -> Result<Vec<String>, Error> {
    Ok(admin.ask_name_server_for::<TopicList>(&GetTopicList {}).await?.topic_list)
}

/// Where a topic is (`topicRoute`).
pub async fn route(admin: &Admin, topic: &str) -> Result<TopicRoute, Error> {
    let request = GetRoute { topic: topic.to_owned(), accept_standard_json_only: Some(true), ..GetRoute::default() };
    match admin.ask_name_server_for(&request).await {
        Err(error) if error.code() == Some(response::TOPIC_NOT_EXIST) => {
            let known = list(admin).await?;
            Err(crate::not_there("topic", topic, known.iter().map(String::as_str)))
        }
        answer => answer,
    }
}

/// The masters that have a topic: name and address.
pub async fn masters(admin: &Admin, topic: &str) -> Result<Vec<(String, String)>, Error> {
    let brokers = route(admin, topic).await?.broker_datas.into_iter();
    let mut masters: Vec<_> =
        brokers.filter_map(|mut broker| Some((broker.broker_name, broker.broker_addrs.remove(&0)?))).collect();
    masters.sort();
    Ok(masters)
}

/// The master of this name that has a topic; it may be named by its address, too.
pub async fn master(admin: &Admin, topic: &str, broker: &str) -> Result<(String, String), Error> {
    let masters = masters(admin, topic).await?;
    let found = masters.iter().find(|(name, address)| name == broker || address == broker).cloned();
    found.ok_or_else(|| crate::not_there("broker", broker, masters.iter().map(|(name, _)| name.as_str())))
}

/// A queue, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueStatus {
    /// The broker's name.
    pub broker: String,
    /// The queue's number.
    pub queue_id: i32,
    /// Its first message.
    pub min_offset: i64,
    /// Its end.
    pub max_offset: i64,
    /// When its last message was stored, milliseconds since 1970; 0: there is none.
    pub last_timestamp: i64,
}

/// How full a topic is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    /// Queue by queue.
    pub queues: Vec<QueueStatus>,
    /// Messages per second that are sent to it.
    pub put_tps: f64,
}

impl TopicStatus {
    /// How many messages it has.
    pub fn messages(&self) -> i64 {
        self.queues.iter().map(|queue| queue.max_offset - queue.min_offset).sum()
    }
}

/// How full a topic is (`topicStatus`), on all its masters.
pub async fn status(admin: &Admin, topic: &str) -> Result<TopicStatus, Error> {
    status_by_route(admin, topic, topic).await
}

/// The same, on the masters that have the topic `route`: a cluster's name is a topic of all its brokers, and a lite topic
/// is where its parent is (`topicStatus -c`).
pub async fn status_by_route(admin: &Admin, topic: &str, route: &str) -> Result<TopicStatus, Error> {
    let mut status = TopicStatus { queues: Vec::new(), put_tps: 0.0 };
    for (_, master) in masters(admin, route).await? {
        let stats: TopicStats = admin.ask_for(&master, &GetTopicStats { topic: topic.to_owned() }).await?;
        status.put_tps += stats.topic_put_tps;
        status.queues.extend(stats.offset_table.into_iter().map(|(queue, bounds)| QueueStatus {
            broker: queue.broker_name,
            queue_id: queue.queue_id,
            min_offset: bounds.min_offset,
            max_offset: bounds.max_offset,
            last_timestamp: bounds.last_update_timestamp,
        }));
    }
    status.queues.sort_by(|a, b| (&a.broker, a.queue_id).cmp(&(&b.broker, b.queue_id)));
    Ok(status)
}

/// The clusters that have a topic (`topicClusterList`).
pub async fn clusters(admin: &Admin, topic: &str) -> Result<BTreeSet<String>, Error> {
    Ok(route(admin, topic).await?.broker_datas.into_iter().map(|broker| broker.cluster).collect())
}

/// A topic in a cluster, and who consumes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicOfCluster {
    /// The cluster.
    pub cluster: String,
    /// The topic.
    pub topic: String,
    /// The groups that consume it, with members or without.
    pub groups: BTreeSet<String>,
}

/// All topics with their clusters and the groups that consume them (`topicList -c`).
pub async fn list_by_cluster(admin: &Admin) -> Result<Vec<TopicOfCluster>, Error> {
    let mut all = Vec::new();
    for topic in list(admin).await? {
        let clusters = match clusters(admin, &topic).await {
            // It went away meanwhile.
            Err(Error::NotThere { .. }) => continue,
            found => found?,
        };
        let groups = if topic.starts_with(RETRY_PREFIX) || topic.starts_with(DLQ_PREFIX) {
            BTreeSet::new()
        } else {
            consumer::of_topic(admin, &topic).await?
        };
        all.extend(clusters.into_iter().map(|cluster| TopicOfCluster {
            cluster,
            topic: topic.clone(),
            groups: groups.clone(),
        }));
    }
    all.sort_by(|a, b| (&a.cluster, &a.topic).cmp(&(&b.cluster, &b.topic)));
    Ok(all)
}

/// What may be done with a topic on some brokers, before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PermissionChange {
    /// The broker's name.
    pub broker: String,
    /// Its address.
    pub address: String,
    /// Bits: 4 read, 2 write.
    pub before: i32,
    /// Likewise.
    pub after: i32,
}

/// What [`update_permission`] would change: on one broker, or on all of a cluster that have the topic.
pub async fn permission_changes(
    admin: &Admin,
    topic: &str,
    permission: i32,
    broker: Option<&str>,
    cluster: Option<&str>,
) -> Result<Vec<PermissionChange>, Error> {
    if ![2, 4, 6].contains(&permission) {
        return Err(Error::Input(format!("a topic's permission is 2 (write), 4 (read) or 6 (both), not {permission}")));
    }
    let route = route(admin, topic).await?;
    let mut changes = Vec::new();
    for data in &route.broker_datas {
        let Some(address) = data.broker_addrs.get(&0) else { continue };
        let meant = match (broker, cluster) {
            (Some(broker), _) => broker == address || broker == data.broker_name,
            (None, Some(cluster)) => cluster == data.cluster,
            (None, None) => true,
        };
        let queues = route.queue_datas.iter().find(|queues| queues.broker_name == data.broker_name);
        let (true, Some(queues)) = (meant, queues) else { continue };
        changes.push(PermissionChange {
            broker: data.broker_name.clone(),
            address: address.clone(),
            before: queues.perm,
            after: permission,
        });
    }
    match (changes.is_empty(), broker.or(cluster)) {
        (true, Some(name)) => {
            let kind = if broker.is_some() { "broker with the topic" } else { "cluster with the topic" };
            Err(crate::not_there(kind, name, route.broker_datas.iter().map(|data| data.broker_name.as_str())))
        }
        _ => Ok(changes),
    }
}

/// What may be done with a topic on a broker: 2 write, 4 read, 6 both (`updateTopicPerm`). All else stays.
pub async fn update_permission(admin: &Admin, topic: &str, change: &PermissionChange) -> Result<(), Error> {
    let route = route(admin, topic).await?;
    let queues = route.queue_datas.iter().find(|queues| queues.broker_name == change.broker);
    let queues = queues.ok_or_else(|| crate::not_there("broker", &change.broker, std::iter::empty()))?;
    let request = CreateTopic {
        topic: topic.to_owned(),
        default_topic: Some(protocol::topic::DEFAULT_TOPIC.to_owned()),
        read_queue_nums: queues.read_queue_nums,
        write_queue_nums: queues.write_queue_nums,
        perm: change.after,
        topic_filter_type: Some("SINGLE_TAG".into()),
        topic_sys_flag: Some(queues.topic_sys_flag),
        // Absent, brokers take it for false.
        order: Some(route.order_topic_conf.is_some()),
        ..CreateTopic::default()
    };
    update(admin, &change.address, &request).await
}

/// The queues of an ordered topic on each broker, `broker-a:4;broker-b:4` (`updateOrderConf -m get`).
pub async fn order(admin: &Admin, topic: &str) -> Result<Option<String>, Error> {
    namesrv::setting(admin, namesrv::ORDER_NAMESPACE, topic).await
}

/// Sets them (`updateOrderConf -m put`).
pub async fn set_order(admin: &Admin, topic: &str, queues: &str) -> Result<(), Error> {
    namesrv::put_setting(admin, namesrv::ORDER_NAMESPACE, topic, queues).await
}

/// The topic is no ordered one any more (`updateOrderConf -m delete`).
pub async fn remove_order(admin: &Admin, topic: &str) -> Result<(), Error> {
    namesrv::delete_setting(admin, namesrv::ORDER_NAMESPACE, topic).await
}

/// Which queues of a topic each member of a group would get, if these were all its members (`allocateMQ`).
pub async fn allocate(
    admin: &Admin,
    topic: &str,
    members: &[String],
) -> Result<BTreeMap<String, Vec<(String, i32)>>, Error> {
    let mut queues = Vec::new();
    for data in route(admin, topic).await?.queue_datas {
        queues.extend((0..data.read_queue_nums.clamp(0, protocol::topic::QUEUES_MAX)).map(|queue_id| MessageQueue {
            topic: topic.to_owned(),
            broker_name: data.broker_name.clone(),
            queue_id,
        }));
    }
    let share = |member: &String| {
        let queues = rebalance::average(member, members, &queues).into_iter();
        (member.clone(), queues.map(|queue| (queue.broker_name, queue.queue_id)).collect())
    };
    Ok(members.iter().map(share).collect())
}

/// All topics of a broker with their settings.
pub async fn configs(admin: &Admin, broker: &str) -> Result<BTreeMap<String, TopicConfig>, Error> {
    let all: AllTopics = admin.ask_for(broker, &GetAllTopicConfig::default()).await?;
    Ok(all.topic_config_table)
}

/// The topics of a broker that are the system's own.
pub async fn system_topics(admin: &Admin, broker: &str) -> Result<Vec<String>, Error> {
    Ok(admin.ask_for::<TopicList>(broker, &GetSystemTopics {}).await?.topic_list)
}

/// Makes a topic on a broker, or changes it (`updateTopic`).
pub async fn update(admin: &Admin, broker: &str, topic: &CreateTopic) -> Result<(), Error> {
    admin.ask(broker, topic, Bytes::new()).await.map(drop)
}

/// Makes topics on a broker, or changes them (`updateTopicList`): all, or none if one of them can't be. A broker that
/// knows no lists gets one after the other.
pub async fn update_all(admin: &Admin, broker: &str, topics: &[TopicConfig]) -> Result<(), Error> {
    let list = TopicConfigs { topic_config_list: topics.to_vec() };
    match admin.ask(broker, &CreateTopicList {}, json::write(&list).into()).await {
        Err(error) if error.code() == Some(response::REQUEST_CODE_NOT_SUPPORTED) => {
            for topic in topics {
                update(admin, broker, &creation(topic)).await?;
            }
            Ok(())
        }
        answer => answer.map(drop),
    }
}

/// The request that makes such a topic.
fn creation(topic: &TopicConfig) -> CreateTopic {
    let attributes = topic.attributes.iter().map(|(name, value)| match name.starts_with('-') {
        true => name.clone(),
        false => format!("{name}={value}"),
    });
    CreateTopic {
        topic: topic.topic_name.clone(),
        default_topic: Some(protocol::topic::DEFAULT_TOPIC.to_owned()),
        read_queue_nums: topic.read_queue_nums,
        write_queue_nums: topic.write_queue_nums,
        perm: topic.perm,
        topic_filter_type: Some(topic.topic_filter_type.clone()),
        topic_sys_flag: Some(topic.topic_sys_flag),
        order: Some(topic.order),
        attributes: Some(attributes.collect::<Vec<_>>().join(",")).filter(|text| !text.is_empty()),
    }
}

/// Deletes a topic from the masters of a cluster, with its messages, and from the name servers (`deleteTopic`).
pub async fn delete(admin: &Admin, cluster: &str, topic: &str) -> Result<(), Error> {
    let on_broker = DeleteTopic { topic: topic.to_owned() };
    for master in cluster::masters(admin, cluster).await? {
        admin.ask(&master, &on_broker, Bytes::new()).await?;
    }
    let on_name_server = ForgetTopic { topic: topic.to_owned(), cluster_name: Some(cluster.to_owned()) };
    admin.tell_name_servers(&on_name_server).await
}
