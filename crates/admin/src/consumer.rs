//! Consumer groups: their settings, how far they are, what their members do.

use crate::{Admin, Error, cluster, connection, topic};
use bytes::Bytes;
use protocol::admin::{AllGroups, GroupConfigs, RequestMode};
use protocol::code::response;
use protocol::group::ConsumeStats;
use protocol::json;
use protocol::request::admin::{GetAllGroups, SetRequestMode, UpdateGroup, UpdateGroupList};
use protocol::request::group::GetConsumeStats;
use protocol::request::topic::DeleteGroup;
use protocol::subscription::SubscriptionGroupConfig;
use protocol::topic::{RETRY_PREFIX, retry_topic};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Deletes a group from a broker, and with `clean_offset` its offsets and retries, too (`deleteSubGroup`).
pub async fn delete(admin: &Admin, broker: &str, group: &str, clean_offset: bool) -> Result<(), Error> {
    let request = DeleteGroup { group_name: group.to_owned(), clean_offset: Some(clean_offset) };
    admin.ask(broker, &request, Bytes::new()).await.map(drop)
}

/// All groups of a broker with their settings.
pub async fn configs(admin: &Admin, broker: &str) -> Result<BTreeMap<String, SubscriptionGroupConfig>, Error> {
    Ok(admin.ask_for::<AllGroups>(broker, &GetAllGroups::default()).await?.subscription_group_table)
}

/// A group's settings on each master that has it (`getConsumerConfig`): the broker's name, and what they are there.
pub async fn config(admin: &Admin, group: &str) -> Result<BTreeMap<String, SubscriptionGroupConfig>, Error> {
    let mut found = BTreeMap::new();
    let mut known = BTreeSet::new();
    for (name, master) in cluster::all_masters(admin).await? {
        let mut groups = configs(admin, &master).await?;
        if let Some(config) = groups.remove(group) {
            found.insert(name, config);
        }
        known.extend(groups.into_keys());
    }
    match found.is_empty() {
        true => Err(crate::not_there("group", group, known.iter().map(String::as_str))),
        false => Ok(found),
    }
}

/// Makes a group on a broker, or changes it (`updateSubGroup`).
pub async fn update(admin: &Admin, broker: &str, config: &SubscriptionGroupConfig) -> Result<(), Error> {
    admin.ask(broker, &UpdateGroup {}, json::write(config).into()).await.map(drop)
}

/// Makes groups on a broker, or changes them (`updateSubGroupList`): all, or none if one of them can't be. A broker that
/// knows no lists gets one after the other.
pub async fn update_all(admin: &Admin, broker: &str, groups: &[SubscriptionGroupConfig]) -> Result<(), Error> {
    let list = GroupConfigs { group_config_list: groups.to_vec() };
    match admin.ask(broker, &UpdateGroupList {}, json::write(&list).into()).await {
        Err(error) if error.code() == Some(response::REQUEST_CODE_NOT_SUPPORTED) => {
            for group in groups {
                update(admin, broker, group).await?;
            }
            Ok(())
        }
        answer => answer.map(drop),
    }
}

/// How a group gets a topic's messages from a broker: `PULL` or `POP` (`setConsumeMode`).
pub async fn set_mode(admin: &Admin, broker: &str, mode: &RequestMode) -> Result<(), Error> {
    admin.ask(broker, &SetRequestMode {}, json::write(mode).into()).await.map(drop)
}

/// How far a group is in a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueProgress {
    /// The topic.
    pub topic: String,
    /// The broker's name.
    pub broker: String,
    /// The queue's number.
    pub queue_id: i32,
    /// The queue's end.
    pub broker_offset: i64,
    /// All before it is consumed.
    pub consumer_offset: i64,
    /// Who consumes it, when that was asked for and is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Messages that are not consumed.
    pub lag: i64,
    /// Messages that are pulled and not consumed.
    pub inflight: i64,
    /// Store time of the last consumed message, milliseconds since 1970; 0: not known.
    pub last_timestamp: i64,
}

/// How far a group is.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Queue by queue.
    pub queues: Vec<QueueProgress>,
    /// Messages per second that it takes.
    pub consume_tps: f64,
    /// Messages that are not consumed.
    pub lag: i64,
    /// Messages that are pulled and not consumed.
    pub inflight: i64,
}

/// The masters that a group consumes from: those of its retry topic, else of `topic`, else of all clusters.
pub(crate) async fn brokers_of(
    admin: &Admin,
    group: &str,
    topic: Option<&str>,
) -> Result<Vec<(String, String)>, Error> {
    match topic::masters(admin, &retry_topic(group)).await {
        Err(Error::NotThere { .. }) => {}
        answer => return answer,
    }
    let brokers = match topic {
        Some(topic) => topic::masters(admin, topic).await?,
        None => cluster::all_masters(admin).await?,
    };
    let mut known = BTreeSet::new();
    let mut of_group = Vec::new();
    let mut silent = None;
    for (name, address) in brokers {
        let groups = match configs(admin, &address).await {
            // One that is down must not hide what the others know.
            Err(error) if error.code().is_none() => {
                silent = Some(error);
                continue;
            }
            groups => groups?,
        };
        if groups.contains_key(group) {
            of_group.push((name, address));
        }
        known.extend(groups.into_keys());
    }
    match (of_group.is_empty(), silent) {
        (true, Some(silent)) => Err(silent),
        (true, None) => Err(crate::not_there("group", group, known.iter().map(String::as_str))),
        (false, _) => Ok(of_group),
    }
}

/// How far a group is, in one topic or in all (`consumerProgress -g`); with `clients` also who consumes each queue.
#[doc(alias = "examineConsumeStats")]
pub async fn progress(admin: &Admin, group: &str, topic: Option<&str>, clients: bool) -> Result<Progress, Error> {
    let mut progress = Progress::default();
    for (_, broker) in brokers_of(admin, group, topic).await? {
        let request = GetConsumeStats {
            consumer_group: group.to_owned(),
            topic: topic.map(str::to_owned),
            ..GetConsumeStats::default()
        };
        let stats: ConsumeStats = admin.ask_for(&broker, &request).await?;
        progress.consume_tps += stats.consume_tps;
        progress.queues.extend(stats.offset_table.into_iter().map(|(queue, offsets)| QueueProgress {
            topic: queue.topic,
            broker: queue.broker_name,
            queue_id: queue.queue_id,
            broker_offset: offsets.broker_offset,
            consumer_offset: offsets.consumer_offset,
            client: None,
            lag: (offsets.broker_offset - offsets.consumer_offset).max(0),
            inflight: (offsets.pull_offset - offsets.consumer_offset).max(0),
            last_timestamp: offsets.last_timestamp,
        }));
    }
    if clients {
        let owners = owners(admin, group).await?;
        for queue in &mut progress.queues {
            let key = (queue.topic.clone(), queue.broker.clone(), queue.queue_id);
            queue.client = owners.get(&key).cloned();
        }
    }
    progress.queues.sort_by(|a, b| (&a.topic, &a.broker, a.queue_id).cmp(&(&b.topic, &b.broker, b.queue_id)));
    progress.lag = progress.queues.iter().map(|queue| queue.lag).sum();
    progress.inflight = progress.queues.iter().map(|queue| queue.inflight).sum();
    Ok(progress)
}

/// Topic, broker and queue → the member that consumes it. Nobody, when the group has no members.
async fn owners(admin: &Admin, group: &str) -> Result<BTreeMap<(String, String, i32), String>, Error> {
    let mut owners = BTreeMap::new();
    for member in connection::members(admin, group).await? {
        let Ok(status) = connection::running(admin, &member.broker, group, &member.client_id, false).await else {
            continue;
        };
        owners.extend(status.queues.into_iter().map(|queue| (queue, member.client_id.clone())));
    }
    Ok(owners)
}

/// A group at a glance.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupSummary {
    /// Its name.
    pub group: String,
    /// How many members are connected.
    pub members: usize,
    /// Their lowest version, an ordinal of `MQVersion`.
    pub version: Option<i32>,
    /// `CONSUME_PASSIVELY` (push) or `CONSUME_ACTIVELY` (pull).
    pub consume_type: Option<String>,
    /// `CLUSTERING` or `BROADCASTING`.
    pub message_model: Option<String>,
    /// Messages per second that it takes.
    pub consume_tps: f64,
    /// Messages that are not consumed.
    pub lag: i64,
}

/// All groups (`consumerProgress`), the one with most to do first.
pub async fn list(admin: &Admin) -> Result<Vec<GroupSummary>, Error> {
    let mut all = Vec::new();
    for group in names(admin).await? {
        let mut summary = GroupSummary { group: group.clone(), ..GroupSummary::default() };
        match progress(admin, &group, None, false).await {
            Ok(progress) => (summary.consume_tps, summary.lag) = (progress.consume_tps, progress.lag),
            Err(Error::NotThere { .. }) => {}
            Err(error) if error.kind() == crate::ErrorKind::Refused => {}
            Err(error) => return Err(error),
        }
        if let Ok(connected) = connection::consumers(admin, &group, None).await {
            summary.members = connected.connection_set.len();
            summary.version = connected.connection_set.iter().map(|member| member.version).min();
            summary.consume_type = Some(connected.consume_type.name().to_owned());
            summary.message_model = Some(connected.message_model.name().to_owned());
        }
        all.push(summary);
    }
    // The one with most to do first.
    all.sort_by(|a, b| b.lag.cmp(&a.lag).then_with(|| a.group.cmp(&b.group)));
    Ok(all)
}

/// The names of all groups that are not the system's: those that have retry topics, and those that brokers have settings of.
pub async fn names(admin: &Admin) -> Result<BTreeSet<String>, Error> {
    let topics = topic::list(admin).await?;
    let mut names: BTreeSet<String> =
        topics.iter().filter_map(|topic| topic.strip_prefix(RETRY_PREFIX)).map(str::to_owned).collect();
    for (_, master) in cluster::all_masters(admin).await? {
        // One that is down must not hide what the others know.
        names.extend(configs(admin, &master).await.unwrap_or_default().into_keys());
    }
    names.retain(|name| !crate::export::is_system_group(name));
    Ok(names)
}

/// The groups that consume a topic, whether they have members or not.
pub async fn of_topic(admin: &Admin, topic: &str) -> Result<BTreeSet<String>, Error> {
    let request = protocol::request::group::WhoConsumes { topic: topic.to_owned() };
    let mut groups = BTreeSet::new();
    for (_, broker) in topic::masters(admin, topic).await? {
        match admin.ask_for::<protocol::group::GroupList>(&broker, &request).await {
            Ok(list) => groups.extend(list.group_list),
            Err(error) if error.code() == Some(response::TOPIC_NOT_EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(groups)
}
