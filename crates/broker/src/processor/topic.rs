//! Topics: clients and operators create them, and ask how they are set.

use super::short;
use crate::Broker;
use crate::fences::is_ordered;
use crate::metrics::Created;
use crate::table::Table;
use crate::topics::{DEDUP_WINDOW, MESSAGE_SIZE_MAX};
use protocol::admin::{AllTopics, TopicConfigs};
use protocol::code::response;
use protocol::json;
use protocol::request::Empty;
use protocol::request::admin::{
    CreateTopicList, GetAllTopicConfig, GetAllTopicConfigReply, GetSystemTopics, GetTopicConfig,
};
use protocol::request::topic::CreateTopic;
use protocol::route::TopicList;
use protocol::topic::{QUEUES_MAX, SYSTEM_TOPICS, TopicConfig, check_topic_name, is_system_topic};
use remoting::{Answer, Call, Peer, Reject};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{RESERVE_BYTES, RESERVE_TIME};
use tokio::task::spawn_blocking;

/// How long the answer waits for name servers. The topic is there without them; they hear of it later.
pub(super) const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(1);

/// UPDATE_AND_CREATE_TOPIC (17).
pub(super) async fn create(broker: Arc<Broker>, call: Call<CreateTopic>) -> Result<Answer<Empty>, Reject> {
    let began = Instant::now();
    let created = create_one(&broker, call).await;
    broker.metrics.created(Created::Topic, created.is_ok(), began.elapsed());
    created
}

async fn create_one(broker: &Arc<Broker>, call: Call<CreateTopic>) -> Result<Answer<Empty>, Reject> {
    let request = call.request;
    let wish = TopicConfig {
        order: request.order.unwrap_or(false),
        perm: request.perm,
        read_queue_nums: request.read_queue_nums,
        topic_filter_type: request.topic_filter_type.unwrap_or_default(),
        topic_name: request.topic,
        topic_sys_flag: request.topic_sys_flag.unwrap_or(0),
        write_queue_nums: request.write_queue_nums,
        ..TopicConfig::default()
    };
    let config = checked(broker, wish, request.attributes.as_deref().unwrap_or(""))?;
    put(broker, vec![config], &call.peer).await
}

/// UPDATE_AND_CREATE_TOPIC_LIST (18): all or none.
pub(super) async fn create_list(broker: Arc<Broker>, call: Call<CreateTopicList>) -> Result<Answer<Empty>, Reject> {
    let list: TopicConfigs = json::read(&call.body)
        .map_err(|error| Reject::system_error(format!("the body with the topics to be created: {error}")))?;
    let checked = list.topic_config_list.into_iter().map(|wish| {
        let changes = wish.attributes.iter().map(|(name, value)| match name.starts_with('-') {
            true => name.clone(),
            false => format!("{name}={value}"),
        });
        let changes = changes.collect::<Vec<_>>().join(",");
        checked(&broker, wish, &changes)
    });
    let configs = checked.collect::<Result<Vec<_>, Reject>>()?;
    put(&broker, configs, &call.peer).await
}

/// The topic that is wished for, with what it has already; `changes` are those of its attributes.
fn checked(broker: &Broker, wish: TopicConfig, changes: &str) -> Result<TopicConfig, Reject> {
    let invalid = |remark: String| Reject::new(response::INVALID_PARAMETER, remark);
    check_topic_name(&wish.topic_name).map_err(|bad| invalid(bad.to_string()))?;
    if is_system_topic(&wish.topic_name) || broker.is_own_topic(&wish.topic_name) {
        return Err(invalid(format!("The topic[{}] is conflict with system topic.", wish.topic_name)));
    }
    if wish.queues() > QUEUES_MAX {
        return Err(invalid(format!(
            "topic[{}] would have {} queues to read from and {} to write to; {QUEUES_MAX} is the most that a topic can have here",
            wish.topic_name, wish.read_queue_nums, wish.write_queue_nums
        )));
    }
    if !(0..=0x7).contains(&wish.perm) {
        let remark = format!(
            "topic[{}] would have perm {}; it is made of 4 (read), 2 (write) and 1 (inherit)",
            wish.topic_name, wish.perm
        );
        return Err(Reject::new(response::NO_PERMISSION, remark));
    }
    let known = broker.topics.get(&wish.topic_name);
    let attributes = known.as_ref().map(|known| known.attributes.clone()).unwrap_or_default();
    let attributes = change_attributes(attributes, changes, known.is_some()).map_err(Reject::system_error)?;
    Ok(TopicConfig {
        attributes,
        topic_filter_type: match wish.topic_filter_type.as_str() {
            "MULTI_TAG" => "MULTI_TAG".into(),
            _ => "SINGLE_TAG".into(),
        },
        others: known.map(|known| known.others.clone()).unwrap_or_default(),
        ..wish
    })
}

/// Creates or changes topics; answers when that is on disk and name servers know of it.
async fn put(broker: &Arc<Broker>, configs: Vec<TopicConfig>, by: &Peer) -> Result<Answer<Empty>, Reject> {
    let (mut counter, user) = (*broker.topics.changed().borrow(), broker.creator(by));
    for config in configs {
        if let Some(known) = broker.topics.get(&config.topic_name) {
            fence_growth(broker, &known, &config).await?;
        }
        tracing::info!(topic = config.topic_name, ?by, "created or changed");
        counter = broker
            .put_topic(config, user.as_deref(), crate::now_millis())
            .map_err(|error| Reject::system_error(error.to_string()))?;
    }
    broker.topic_saved(counter).await?;
    if !broker.config.namesrv_addr.is_empty() {
        let _ = tokio::time::timeout(REGISTRATION_TIMEOUT, broker.topics.registered(counter)).await;
    }
    Ok(Empty {}.into())
}

/// GET_ALL_TOPIC_CONFIG (21).
pub(super) async fn all(
    broker: Arc<Broker>,
    call: Call<GetAllTopicConfig>,
) -> Result<Answer<GetAllTopicConfigReply>, Reject> {
    let (topics, data_version) = broker.topics.all();
    let topics: BTreeMap<&str, &TopicConfig> =
        topics.iter().map(|topic| (topic.topic_name.as_str(), &**topic)).collect();
    let total_topic_num = Some(topics.len() as i32);
    let (skip, take) = super::page(call.request.topic_seq, call.request.max_topic_num);
    let page = topics.into_iter().skip(skip).take(take);
    let body = AllTopics {
        data_version,
        topic_config_table: page.map(|(name, topic)| (name.to_owned(), topic.clone())).collect(),
        ..AllTopics::default()
    };
    Ok(Answer::new(GetAllTopicConfigReply { total_topic_num }).with_body(json::write(&body)))
}

/// GET_TOPIC_CONFIG (351).
pub(super) async fn get(broker: Arc<Broker>, call: Call<GetTopicConfig>) -> Result<Answer<Empty>, Reject> {
    let topic = &call.request.topic;
    let Some(config) = broker.topics.get(topic) else {
        let remark = format!("No topic in this broker. topic: {}; create it", short(topic));
        return Err(Reject::new(response::TOPIC_NOT_EXIST, remark));
    };
    Ok(Answer::new(Empty {}).with_body(json::write(&*config)))
}

/// GET_SYSTEM_TOPIC_LIST_FROM_BROKER (305).
pub(super) async fn system_topics(broker: Arc<Broker>, _: Call<GetSystemTopics>) -> Result<Answer<Empty>, Reject> {
    let own = broker.topics.all().0.into_iter().map(|topic| topic.topic_name.clone());
    let own = own.filter(|topic| is_system_topic(topic) || broker.is_own_topic(topic));
    let topics: BTreeSet<String> = SYSTEM_TOPICS.iter().map(|topic| topic.to_string()).chain(own).collect();
    let list = TopicList { broker_addr: None, topic_list: topics.into_iter().collect() };
    Ok(Answer::new(Empty {}).with_body(json::write(&list)))
}

/// Where an ordered topic is given more queues, sees that no key overtakes itself: see [`crate::fences`].
async fn fence_growth(broker: &Arc<Broker>, known: &TopicConfig, config: &TopicConfig) -> Result<(), Reject> {
    let (topic, before, after) = (&config.topic_name, known.write_queue_nums, config.write_queue_nums);
    if after <= before || before < 1 || !is_ordered(known) {
        return Ok(());
    }
    if !is_ordered(config) {
        tracing::warn!(
            topic,
            before,
            after,
            "was ordered, is so no more, and gets more queues at once: keys that move may overtake themselves (-o true \
             keeps it ordered)"
        );
        return Ok(());
    }
    if after % before != 0 {
        return Err(Reject::new(
            response::INVALID_PARAMETER,
            format!(
                "topic[{topic}] is ordered and has {before} queues to write to; with {after}, keys would move between queues \
                 that are consumed already, and lose their order. Give it a multiple of {before}, or take its order off \
                 first"
            ),
        ));
    }
    broker.fences.add(topic, before, after, crate::now_millis(), Instant::now());
    tracing::info!(topic, before, after, "ordered topic grows: new queues are held until the old ones are consumed");
    let saving = broker.clone();
    let saved = spawn_blocking(move || saving.fences.save()).await.map_err(io::Error::other).flatten();
    saved.map_err(|error| {
        Reject::system_error(format!("topic[{topic}] is as it was: config/orderFences.json cannot be saved: {error}"))
    })
}

/// Attributes that a topic may have: name, values (none: any number), may it change later.
const ATTRIBUTES: [(&str, &[&str], bool); 7] = [
    ("queue.type", &["SimpleCQ"], false),
    ("cleanup.policy", &["DELETE"], false),
    ("message.type", &["UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", "MIXED"], true),
    (RESERVE_TIME, &[], true),
    (RESERVE_BYTES, &[], true),
    (DEDUP_WINDOW, &[], true),
    (MESSAGE_SIZE_MAX, &[], true),
];

/// Applies `+name=value,-name`.
fn change_attributes(
    mut attributes: BTreeMap<String, String>,
    changes: &str,
    exists: bool,
) -> Result<BTreeMap<String, String>, String> {
    for change in changes.split(',').filter(|change| !change.trim().is_empty()) {
        let change = change.trim();
        let (name, value) = match (change.strip_prefix('+'), change.strip_prefix('-')) {
            (Some(set), _) => match set.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => return Err(format!("attribute `{}` has no value; write +name=value", short(set))),
            },
            (None, Some(name)) => (name, None),
            _ => return Err(format!("attribute `{}` begins with neither + nor -", short(change))),
        };
        let Some((name, values, changeable)) = ATTRIBUTES.iter().find(|(known, ..)| *known == name) else {
            return Err(format!("unsupported key: {}", short(name)));
        };
        if exists && !changeable && value != attributes.get(*name).map(String::as_str) {
            return Err(format!("attempt to update an unchangeable attribute. key: {name}"));
        }
        match value {
            None => {
                attributes.remove(*name);
            }
            Some(value)
                if values.contains(&value)
                    || values.is_empty() && value.parse::<i64>().is_ok_and(|value| value >= -1) =>
            {
                attributes.insert((*name).into(), value.into());
            }
            Some(value) => {
                let allowed = if values.is_empty() { "a number, -1 for none".into() } else { values.join(", ") };
                return Err(format!("attribute {name} can't be `{}` here; it can be {allowed}", short(value)));
            }
        }
    }
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_set_and_removed() {
        let fifo = change_attributes(BTreeMap::new(), "+message.type=FIFO, +reserve.time=5", false).unwrap();
        assert_eq!(fifo["message.type"], "FIFO");
        let less = change_attributes(fifo.clone(), "-reserve.time", true).unwrap();
        assert_eq!(less.len(), 1);
        let size = change_attributes(less.clone(), "+reserve.bytes=1000", true).unwrap();
        assert_eq!(size["reserve.bytes"], "1000");
        for bad in ["+reserve.time=-2", "+reserve.bytes=1G"] {
            assert!(change_attributes(fifo.clone(), bad, true).is_err(), "{bad}");
        }
        for bad in ["message.type=FIFO", "+message.type", "+colour=red", "+reserve.time=x", "+queue.type=SimpleCQ"] {
            assert!(change_attributes(fifo.clone(), bad, true).is_err(), "{bad}");
        }
    }
}
