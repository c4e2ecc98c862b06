//! What a name server answers: one function per request.

use crate::Namesrv;
use crate::kv::ORDER_NAMESPACE;
use crate::routes::{BrokerKey, Registration};
use protocol::code::response;
use protocol::json;
use protocol::request::Empty;
use protocol::request::route::{
    DeleteKvConfig, GetClusterInfo, GetKvConfig, GetKvConfigReply, GetRoute, GetSystemTopics, GetTopicList,
    GetTopicsOfCluster, GetUnitSubTopics, GetUnitSubUnUnitTopics, GetUnitTopics, ListKvConfigs, PutKvConfig,
    QueryDataVersion, QueryDataVersionReply, RegisterBroker, RegisterBrokerReply, UnregisterBroker,
};
use protocol::request::topic::ForgetTopic;
use protocol::route::{BrokerData, KvTable, RegisterBrokerBody, TopicList, TopicRoute};
use protocol::topic::{DataVersion, UNIT, UNIT_SUB};
use remoting::{Answer, Call, Reject};
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// From this version on, clients read standard JSON (`V4_9_4`); before, Go clients cut bare integer keys apart by hand.
const STANDARD_JSON: i32 = 401;

/// REGISTER_BROKER: a broker and its topics.
pub async fn register_broker(
    namesrv: Arc<Namesrv>,
    call: Call<RegisterBroker>,
) -> Result<Answer<RegisterBrokerReply>, Reject> {
    let RegisterBroker { broker_name, broker_addr, cluster_name, broker_id, .. } = call.request;
    let announced = call.request.body_crc32.unwrap_or(0);
    let checksum = RegisterBrokerBody::checksum(&call.body);
    if announced != 0 && announced != checksum {
        return Err(Reject::system_error(format!(
            "crc32 not match: the registration of {broker_name} arrived damaged (announced {announced}, is {checksum})"
        )));
    }
    let body = RegisterBrokerBody::read(&call.body, call.version)
        .map_err(|bad| Reject::system_error(format!("the registration of {broker_name} can't be read: {bad}")))?;
    let timeout = call.request.heartbeat_timeout_millis.and_then(|millis| u64::try_from(millis).ok());
    let registration = Registration {
        key: BrokerKey { cluster: cluster_name, address: broker_addr.clone() },
        name: broker_name.clone(),
        id: broker_id,
        ha_server_addr: call.request.ha_server_addr,
        zone_name: call.request.zone_name,
        expiry: timeout.map(Duration::from_millis),
        enable_acting_master: call.request.enable_acting_master,
        topics: body.topic_config_serialize_wrapper,
        peer: call.peer.address(),
    };
    let registered = namesrv.routes.write().register(registration, Instant::now()).map_err(|_| {
        Reject::system_error(format!(
            "register broker failed: {broker_name} is not registered here yet, and a first registration with a single \
             topic is taken for a part; register all topics"
        ))
    })?;
    if registered.is_new {
        tracing::info!(broker = %broker_name, address = %broker_addr, id = broker_id, "broker registered");
    }
    let reply = RegisterBrokerReply { ha_server_addr: registered.ha_server_addr, master_addr: registered.master_addr };
    let ordered = namesrv.kv.list(ORDER_NAMESPACE).filter(|_| namesrv.config.read().order_topics_to_broker);
    Ok(match ordered {
        Some(table) => Answer::new(reply).with_body(json::write(&KvTable { table })),
        None => reply.into(),
    })
}

/// UNREGISTER_BROKER: a broker stops.
pub async fn unregister_broker(namesrv: Arc<Namesrv>, call: Call<UnregisterBroker>) -> Result<Answer<Empty>, Reject> {
    let UnregisterBroker { broker_name, broker_addr, cluster_name, .. } = call.request;
    let key = BrokerKey { cluster: cluster_name, address: broker_addr };
    if namesrv.routes.write().unregister(&key) {
        tracing::info!(broker = %broker_name, address = %key.address, "broker unregistered");
    }
    Ok(Empty {}.into())
}

/// QUERY_DATA_VERSION: must a broker register again?
pub async fn query_data_version(
    namesrv: Arc<Namesrv>,
    call: Call<QueryDataVersion>,
) -> Result<Answer<QueryDataVersionReply>, Reject> {
    let asked: DataVersion =
        json::read(&call.body).map_err(|bad| Reject::system_error(format!("the body is no data version: {bad}")))?;
    let key = BrokerKey { cluster: call.request.cluster_name, address: call.request.broker_addr };
    let mut routes = namesrv.routes.write();
    let known = routes.data_version(&key, Instant::now());
    let answer = Answer::new(QueryDataVersionReply { changed: known != Some(&asked) });
    Ok(match known {
        Some(known) => answer.with_body(json::write(known)),
        None => answer,
    })
}

/// GET_ROUTEINFO_BY_TOPIC: where is this topic?
pub async fn get_route(namesrv: Arc<Namesrv>, call: Call<GetRoute>) -> Result<Answer<Empty>, Reject> {
    let topic = &call.request.topic;
    let routes = namesrv.routes.read();
    let Some(mut route) = routes.route(topic) else {
        // Clients look for the first sentence.
        let remark =
            format!("No topic route info in name server for the topic: {topic}. {}", routes.why_no_route(topic));
        return Err(Reject::new(response::TOPIC_NOT_EXIST, remark));
    };
    if call.request.zone_mode.as_deref().is_some_and(|mode| mode.eq_ignore_ascii_case("true"))
        && let Some(zone) = call.request.zone_name.as_deref().filter(|zone| !zone.trim().is_empty())
    {
        keep_zone(&mut route, zone);
    }
    if namesrv.config.read().order_messages {
        route.order_topic_conf = namesrv.kv.get(ORDER_NAMESPACE, topic);
    }
    namesrv.advertise(&mut route.broker_datas, &call.peer);
    let standard = call.version >= STANDARD_JSON || call.request.accept_standard_json_only == Some(true);
    Ok(Answer::new(Empty {}).with_body(if standard { json::write(&route) } else { json::write_bare_keys(&route) }))
}

/// Leaves the brokers of other zones out; one whose master is gone stays, for its slaves are better than nothing.
#[doc(alias = "ZoneRouteRPCHook")]
fn keep_zone(route: &mut TopicRoute, zone: &str) {
    let is_kept = |broker: &BrokerData| {
        let is_here = broker.zone_name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(zone));
        is_here || !broker.broker_addrs.contains_key(&0)
    };
    route.broker_datas.retain(is_kept);
    let kept = |name: &str| route.broker_datas.iter().any(|broker| broker.broker_name == name);
    route.queue_datas.retain(|queues| kept(&queues.broker_name));
}

/// GET_BROKER_CLUSTER_INFO: all brokers.
pub async fn get_cluster_info(namesrv: Arc<Namesrv>, call: Call<GetClusterInfo>) -> Result<Answer<Empty>, Reject> {
    let mut info = namesrv.routes.read().cluster_info();
    namesrv.advertise(info.broker_addr_table.values_mut(), &call.peer);
    Ok(body(&info))
}

/// GET_ALL_TOPIC_LIST_FROM_NAMESERVER: all topics.
pub async fn get_topic_list(namesrv: Arc<Namesrv>, _: Call<GetTopicList>) -> Result<Answer<Empty>, Reject> {
    Ok(body(&TopicList { broker_addr: None, topic_list: namesrv.routes.read().topic_names() }))
}

/// DELETE_TOPIC_IN_NAMESRV: a topic was deleted on its brokers.
pub async fn forget_topic(namesrv: Arc<Namesrv>, call: Call<ForgetTopic>) -> Result<Answer<Empty>, Reject> {
    let ForgetTopic { topic, cluster_name } = call.request;
    let cluster = cluster_name.filter(|cluster| !cluster.is_empty());
    namesrv.routes.write().forget_topic(&topic, cluster.as_deref());
    tracing::info!(topic, cluster, by = ?call.peer, "topic forgotten");
    Ok(Empty {}.into())
}

/// GET_TOPICS_BY_CLUSTER: the topics of a cluster's brokers.
pub async fn topics_of_cluster(namesrv: Arc<Namesrv>, call: Call<GetTopicsOfCluster>) -> Result<Answer<Empty>, Reject> {
    let topic_list = namesrv.routes.read().topics_of_cluster(&call.request.cluster);
    Ok(body(&TopicList { broker_addr: None, topic_list }))
}

/// GET_SYSTEM_TOPIC_LIST_FROM_NS: topics are named after clusters and brokers, too; and one broker that knows the others.
pub async fn system_topics(namesrv: Arc<Namesrv>, call: Call<GetSystemTopics>) -> Result<Answer<Empty>, Reject> {
    let mut info = namesrv.routes.read().cluster_info();
    namesrv.advertise(info.broker_addr_table.values_mut(), &call.peer);
    let mut topic_list: Vec<String> = info.cluster_addr_table.into_keys().collect();
    topic_list.extend(info.broker_addr_table.keys().cloned());
    let broker_addr = info.broker_addr_table.into_values().flat_map(|broker| broker.broker_addrs.into_values()).next();
    Ok(body(&TopicList { broker_addr, topic_list }))
}

/// GET_UNIT_TOPIC_LIST: topics of unit mode.
pub async fn unit_topics(namesrv: Arc<Namesrv>, _: Call<GetUnitTopics>) -> Result<Answer<Empty>, Reject> {
    Ok(topics_with(&namesrv, |flag| flag & UNIT != 0))
}

/// GET_HAS_UNIT_SUB_TOPIC_LIST: topics that someone in unit mode subscribes to.
pub async fn unit_sub_topics(namesrv: Arc<Namesrv>, _: Call<GetUnitSubTopics>) -> Result<Answer<Empty>, Reject> {
    Ok(topics_with(&namesrv, |flag| flag & UNIT_SUB != 0))
}

/// GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST: those of them that are not of unit mode themselves.
pub async fn unit_sub_un_unit_topics(
    namesrv: Arc<Namesrv>,
    _: Call<GetUnitSubUnUnitTopics>,
) -> Result<Answer<Empty>, Reject> {
    Ok(topics_with(&namesrv, |flag| flag & (UNIT | UNIT_SUB) == UNIT_SUB))
}

fn topics_with(namesrv: &Namesrv, flag: impl Fn(i32) -> bool) -> Answer<Empty> {
    body(&TopicList { broker_addr: None, topic_list: namesrv.routes.read().topics_with(flag) })
}

/// PUT_KV_CONFIG: a setting that an operator keeps here.
pub async fn put_kv_config(namesrv: Arc<Namesrv>, call: Call<PutKvConfig>) -> Result<Answer<Empty>, Reject> {
    let PutKvConfig { namespace, key, value } = &call.request;
    namesrv.kv.put(namespace, key, value).map_err(|refused| Reject::system_error(refused.to_string()))?;
    tracing::info!(namespace, key, value, by = ?call.peer, "setting put");
    save_kv_configs(namesrv).await
}

/// GET_KV_CONFIG.
pub async fn get_kv_config(namesrv: Arc<Namesrv>, call: Call<GetKvConfig>) -> Result<Answer<GetKvConfigReply>, Reject> {
    let GetKvConfig { namespace, key } = &call.request;
    match namesrv.kv.get(namespace, key) {
        Some(value) => Ok(GetKvConfigReply { value: Some(value) }.into()),
        None => {
            let remark = format!("No config item, Namespace: {namespace} Key: {key}");
            Err(Reject::new(response::QUERY_NOT_FOUND, remark))
        }
    }
}

/// GET_KVLIST_BY_NAMESPACE.
pub async fn list_kv_configs(namesrv: Arc<Namesrv>, call: Call<ListKvConfigs>) -> Result<Answer<Empty>, Reject> {
    let namespace = &call.request.namespace;
    match namesrv.kv.list(namespace) {
        Some(table) => Ok(body(&KvTable { table })),
        None => Err(Reject::new(response::QUERY_NOT_FOUND, format!("No config item, Namespace: {namespace}"))),
    }
}

/// DELETE_KV_CONFIG. One that is not there is deleted, too: tools ask for it whenever they delete a topic.
pub async fn delete_kv_config(namesrv: Arc<Namesrv>, call: Call<DeleteKvConfig>) -> Result<Answer<Empty>, Reject> {
    let DeleteKvConfig { namespace, key } = &call.request;
    if namesrv.kv.delete(namespace, key) {
        tracing::info!(namespace, key, by = ?call.peer, "setting deleted");
    }
    save_kv_configs(namesrv).await
}

/// Answers when all settings are on disk as they are.
async fn save_kv_configs(namesrv: Arc<Namesrv>) -> Result<Answer<Empty>, Reject> {
    let saved = tokio::task::spawn_blocking(move || namesrv.kv.save()).await;
    match saved.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
        Ok(()) => Ok(Empty {}.into()),
        Err(error) => Err(Reject::system_error(format!(
            "the change holds until this name server stops, but can't be saved (kvConfigPath): {error}; check the disk and the \
             directory's permissions"
        ))),
    }
}

fn body(of: &impl Serialize) -> Answer<Empty> {
    Answer::new(Empty {}).with_body(json::write(of))
}
