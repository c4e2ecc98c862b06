//! The settings of consumer groups, as operators ask for them and change them.

use super::{no_such_group, no_such_topic, short};
use crate::metrics::Created;
use crate::{Broker, now_millis};
use protocol::admin::{AllGroups, GroupConfigs, GroupForbidden, RequestMode};
use protocol::code::response;
use protocol::json;
use protocol::request::Empty;
use protocol::request::admin::{
    ForbidGroup, GetAllGroups, GetAllGroupsReply, GetGroup, GetRequestModes, SetRequestMode, UpdateGroup,
    UpdateGroupList,
};
use protocol::subscription::{ORDER_PARK, ORDER_SHARE_BY_KEY, SubscriptionGroupConfig};
use protocol::topic::{QUEUES_MAX, RETRY_PREFIX, check_group_name};
use remoting::{Answer, Call, Reject};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP (200).
pub(super) async fn update(broker: Arc<Broker>, call: Call<UpdateGroup>) -> Result<Answer<Empty>, Reject> {
    let began = Instant::now();
    let updated = async { put(&broker, vec![read(&call.body)?], &call).await }.await;
    broker.metrics.created(Created::Group, updated.is_ok(), began.elapsed());
    updated
}

/// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST (225): all or none.
pub(super) async fn update_list(broker: Arc<Broker>, call: Call<UpdateGroupList>) -> Result<Answer<Empty>, Reject> {
    let list: GroupConfigs = read(&call.body)?;
    put(&broker, list.group_config_list, &call).await
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Reject> {
    json::read(body).map_err(|error| Reject::system_error(format!("the body of the request: {error}")))
}

async fn put<R>(
    broker: &Broker,
    mut configs: Vec<SubscriptionGroupConfig>,
    call: &Call<R>,
) -> Result<Answer<Empty>, Reject> {
    for config in &mut configs {
        check_group_name(&config.group_name)
            .map_err(|bad| Reject::new(response::INVALID_PARAMETER, bad.to_string()))?;
        if !(0..=QUEUES_MAX).contains(&config.retry_queue_nums) {
            let remark = format!(
                "group {} would have {} queues for its retries (retryQueueNums); 0 to {QUEUES_MAX} can be",
                short(&config.group_name),
                config.retry_queue_nums
            );
            return Err(Reject::new(response::INVALID_PARAMETER, remark));
        }
        let known = broker.groups.get(&config.group_name);
        attributes(config, known.as_deref()).map_err(Reject::system_error)?;
        order(broker, config, known.as_deref()).map_err(|remark| Reject::new(response::INVALID_PARAMETER, remark))?;
    }
    let names: Vec<String> = configs.iter().map(|config| config.group_name.clone()).collect();
    let by = broker.creator(&call.peer);
    broker
        .groups
        .put(configs, by.as_deref(), now_millis())
        .map_err(|refused| Reject::system_error(refused.to_string()))?;
    for group in names {
        tracing::info!(group, by = ?call.peer, "created or changed");
    }
    broker.groups_saved().await?;
    Ok(Empty {}.into())
}

/// Apache's brokers know attributes for popping, which this version does not do: what is set already may stay, or go.
fn attributes(config: &mut SubscriptionGroupConfig, known: Option<&SubscriptionGroupConfig>) -> Result<(), String> {
    let known = known.and_then(|known| known.others.get("attributes")).and_then(Value::as_object);
    let mut attributes = known.cloned().unwrap_or_default();
    let changes = config.others.remove("attributes").unwrap_or(Value::Null);
    for (change, value) in changes.as_object().into_iter().flatten() {
        let name = change.trim_start_matches(['+', '-']);
        if change.starts_with('-') {
            attributes.remove(name);
        } else if name == ORDER_PARK || name == ORDER_SHARE_BY_KEY {
            if !matches!(value.as_str(), Some("true" | "false")) {
                return Err(format!("attribute {name} can be true or false"));
            }
            attributes.insert(name.to_owned(), value.clone());
        } else if attributes.get(name) != Some(value) {
            return Err(format!("unsupported key: {}", short(name)));
        }
    }
    config.others.insert("attributes".into(), attributes.into());
    Ok(())
}

/// Members that share queues and members that don't must not meet.
fn order(
    broker: &Broker,
    config: &SubscriptionGroupConfig,
    known: Option<&SubscriptionGroupConfig>,
) -> Result<(), String> {
    let group = &config.group_name;
    let shares = config.is_on(ORDER_SHARE_BY_KEY);
    if shares && config.is_on(ORDER_PARK) {
        return Err(format!("group {} can have {ORDER_PARK} or {ORDER_SHARE_BY_KEY}, not both", short(group)));
    }
    if shares != known.is_some_and(|known| known.is_on(ORDER_SHARE_BY_KEY)) {
        let has_members = broker.consumers.read().get(group).is_some_and(|group| !group.members.is_empty());
        if has_members || broker.consumes_in_order(group) {
            return Err(format!(
                "{ORDER_SHARE_BY_KEY} of group {} can't change while it has members, or some that left without a word may still work: \
                 stop them, and try again a minute later",
                short(group)
            ));
        }
        broker.shares.forget_group(group);
    }
    if shares {
        broker.shares.set_used();
    }
    Ok(())
}

/// A group with everything that Java's tools print, also what it was not given.
fn shown(config: &SubscriptionGroupConfig) -> SubscriptionGroupConfig {
    let mut config = config.clone();
    config.others.entry("attributes").or_insert_with(|| json!({}));
    config.others.entry("groupRetryPolicy").or_insert_with(|| json!({ "type": "CUSTOMIZED" }));
    config
}

/// GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201).
pub(super) async fn all(broker: Arc<Broker>, call: Call<GetAllGroups>) -> Result<Answer<GetAllGroupsReply>, Reject> {
    let (groups, forbidden_table, data_version) = broker.groups.all();
    let total_group_num = Some(groups.len() as i32);
    let GetAllGroups { group_seq, max_group_num } = call.request;
    let (skip, take) = super::page(group_seq, max_group_num);
    let groups = groups.iter().skip(skip).take(take).map(|(name, group)| (name.clone(), shown(group)));
    let body = AllGroups { data_version, forbidden_table, subscription_group_table: groups.collect() };
    Ok(Answer::new(GetAllGroupsReply { total_group_num }).with_body(json::write(&body)))
}

/// GET_SUBSCRIPTIONGROUP_CONFIG (352).
pub(super) async fn get(broker: Arc<Broker>, call: Call<GetGroup>) -> Result<Answer<Empty>, Reject> {
    let group = &call.request.group;
    let config = broker.group(group, &call.peer)?;
    Ok(body(&shown(&config)))
}

/// UPDATE_AND_GET_GROUP_FORBIDDEN (353).
pub(super) async fn forbid(broker: Arc<Broker>, call: Call<ForbidGroup>) -> Result<Answer<Empty>, Reject> {
    let ForbidGroup { group, topic, readable } = call.request;
    if let Some(readable) = readable {
        if broker.groups.get(&group).is_none() {
            return Err(no_such_group(&group, "nothing can be forbidden to it: create it first"));
        }
        broker.topics.get(&topic).ok_or_else(|| no_such_topic(&topic))?;
        tracing::info!(group, topic, readable, by = ?call.peer, "reading allowed or forbidden");
        broker.groups.set_may_read(&group, &topic, readable, now_millis());
        broker.groups_saved().await?;
    }
    let readable = broker.groups.may_read(&group, &topic);
    Ok(body(&GroupForbidden { group, readable, topic }))
}

/// SET_MESSAGE_REQUEST_MODE (401): every group pulls, and may go on pulling.
pub(super) async fn set_request_mode(broker: Arc<Broker>, call: Call<SetRequestMode>) -> Result<Answer<Empty>, Reject> {
    let RequestMode { consumer_group, mode, topic, .. } = read(&call.body)?;
    if topic.starts_with(RETRY_PREFIX) {
        let remark = format!("topic[{}] is a retry topic; it follows the topics of its group", short(&topic));
        return Err(Reject::new(response::NO_PERMISSION, remark));
    }
    broker.topics.get(&topic).ok_or_else(|| no_such_topic(&topic))?;
    match mode.as_str() {
        "PULL" => Ok(Empty {}.into()),
        _ => Err(Reject::not_supported(format!(
            "group[{}] can't have mode {} for topic[{}]: consumers pull from CometMQ, popping is still to come, see \"Not \
             yet\" in its README",
            short(&consumer_group),
            short(&mode),
            short(&topic)
        ))),
    }
}

/// GET_ALL_MESSAGE_REQUEST_MODE (402): none is set, all pull.
pub(super) async fn request_modes(_: Arc<Broker>, _: Call<GetRequestModes>) -> Result<Answer<Empty>, Reject> {
    Ok(body(&json!({ "messageRequestModeMap": {} })))
}

fn body(of: &impl Serialize) -> Answer<Empty> {
    Answer::new(Empty {}).with_body(json::write(of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_that_nobody_would_heed_are_refused() {
        let with = |attributes: Value| {
            let mut config = SubscriptionGroupConfig::new("g");
            config.others.insert("attributes".into(), attributes);
            config
        };
        let known = with(json!({ "priority.factor": "1" }));
        let mut same = with(json!({ "+priority.factor": "1" }));
        assert_eq!(attributes(&mut same, Some(&known)), Ok(()));
        assert_eq!(same.others["attributes"]["priority.factor"], "1");
        let mut gone = with(json!({ "-priority.factor": "" }));
        assert_eq!(attributes(&mut gone, Some(&known)), Ok(()));
        assert_eq!(gone.others["attributes"], json!({}));
        let mut parks = with(json!({ "+order.park": "true" }));
        assert_eq!(attributes(&mut parks, None), Ok(()));
        assert!(parks.is_on(ORDER_PARK) && !known.is_on(ORDER_PARK));
        assert!(attributes(&mut with(json!({ "+order.park": "yes" })), None).is_err());
        let refused = attributes(&mut with(json!({ "+priority.factor": "2" })), Some(&known));
        assert_eq!(refused, Err("unsupported key: priority.factor".into()));
        assert_eq!(attributes(&mut SubscriptionGroupConfig::new("g"), None), Ok(()));
    }
}
