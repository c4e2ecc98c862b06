//! The table: request code → what must be allowed. Every request that a broker or a name server answers stands here, once; one
//! that does not is refused while access control is on.
//!
//! Most name topics and groups in header fields. Some name them in their body, or only the place where a message lies: for
//! those a function looks, with the same readers as the handler, so that what is checked is what is done.

use crate::gate::Asking;
use crate::rule::{Actions, CREATE, DELETE, GET, LIST, PUB, SUB, UPDATE};
use protocol::admin::TopicConfigs;
use protocol::code::request;
use protocol::code::request::*;
use protocol::command::Command;
use protocol::heartbeat::{CheckClientBody, HeartbeatData, LockBatchBody};
use protocol::json;
use protocol::message::parse_offset_message_id;
use protocol::request::Request;
use protocol::request::route::{GetTopicsOfCluster, QueryDataVersion, RegisterBroker, UnregisterBroker};
use protocol::request::topic::ForgetTopic;
use protocol::subscription::SubscriptionGroupConfig;
use protocol::topic::DEFAULT_TOPIC;
use remoting::Reject;
use serde::de::DeserializeOwned;

/// What must be allowed, for a request of one code.
#[derive(Clone, Copy)]
pub(crate) enum Needs {
    /// All of these.
    All(&'static [Need]),
    /// What a function asks for, and that in words.
    Looks(fn(&mut Asking<'_>) -> Result<(), Reject>, &'static str),
    /// Only who may do everything.
    Super,
}

/// One thing that must be allowed; one of the actions is enough.
#[derive(Clone, Copy)]
pub(crate) enum Need {
    /// With the topic that this field names.
    Topic(&'static str, Actions),
    /// The same, if the field is there.
    TopicIfNamed(&'static str, Actions),
    /// With each topic of a list, parted by this.
    Topics(&'static str, char, Actions),
    /// With the group that this field names.
    Group(&'static str, Actions),
    /// The same, if the field is there.
    GroupIfNamed(&'static str, Actions),
    /// With each group of a list, parted by this.
    Groups(&'static str, char, Actions),
    /// With the cluster.
    Cluster(Actions),
}

use Need::*;
use Needs::*;

/// Who consumes a topic may know its offsets, and find its messages.
const READ: Actions = SUB.and(GET);

/// Who consumes a topic says how far it is, and so may an operator.
const MOVE: Actions = SUB.and(UPDATE);

const CLUSTER_GET: Needs = All(&[Cluster(GET)]);
const CLUSTER_LIST: Needs = All(&[Cluster(GET.and(LIST))]);
const CLUSTER_UPDATE: Needs = All(&[Cluster(UPDATE)]);

/// What a request of this code needs; `None`: it is refused.
pub(crate) fn needs(code: i32) -> Option<Needs> {
    Some(match code {
        SEND_MESSAGE => All(&[Topic("topic", PUB)]),
        SEND_MESSAGE_V2 | SEND_BATCH_MESSAGE => All(&[Topic("b", PUB)]),
        SEND_REPLY_MESSAGE => Looks(|asking| reply(asking, "topic"), REPLY),
        SEND_REPLY_MESSAGE_V2 => Looks(|asking| reply(asking, "b"), REPLY),
        RECALL_MESSAGE => All(&[Topic("topic", PUB)]),
        END_TRANSACTION => Looks(end_transaction, "Pub on the topic of the half message at `commitLogOffset`"),
        RESUME_CHECK_HALF_MESSAGE => Looks(resume, "Update on the topic of the message with id `msgId`"),

        PULL_MESSAGE | LITE_PULL_MESSAGE => All(&[Topic("topic", SUB), Group("consumerGroup", SUB)]),
        CONSUMER_SEND_MSG_BACK => Looks(send_back, "Sub on group `group`, and on the topic of the message at `offset`"),
        HEART_BEAT => Looks(
            heartbeat,
            "Sub on each consumer group and each topic it subscribes to; no other user has a client of this id",
        ),
        UNREGISTER_CLIENT => Looks(unregister, "Sub on group `consumerGroup`; the client is the user's own"),
        CHECK_CLIENT_CONFIG => Looks(check_client, "Sub on the group and the topic in the body"),
        LOCK_BATCH_MQ | UNLOCK_BATCH_MQ => {
            Looks(locks, "Sub on the group and each topic in the body; the client is the user's own")
        }
        GET_CONSUMER_LIST_BY_GROUP => All(&[Group("consumerGroup", READ)]),
        QUERY_CONSUMER_OFFSET => All(&[Topic("topic", READ), Group("consumerGroup", READ)]),
        UPDATE_CONSUMER_OFFSET => All(&[Topic("topic", MOVE), Group("consumerGroup", MOVE)]),
        SEARCH_OFFSET_BY_TIMESTAMP | GET_MAX_OFFSET | GET_MIN_OFFSET | GET_EARLIEST_MSG_STORETIME => {
            All(&[Topic("topic", READ)])
        }

        QUERY_MESSAGE => All(&[Topic("topic", READ)]),
        VIEW_MESSAGE_BY_ID => Looks(view, "Sub or Get on the topic of the message at `offset`"),
        MESSAGE_LIFE => Looks(life, "Sub or Get on topic `topic`, and on that of the message with id `msgId`"),

        GET_CONSUMER_CONNECTION_LIST => All(&[Group("consumerGroup", GET)]),
        GET_PRODUCER_CONNECTION_LIST => CLUSTER_GET,
        GET_CONSUME_STATS => {
            All(&[Group("consumerGroup", GET), TopicIfNamed("topic", GET), Topics("topicList", ';', GET)])
        }
        QUERY_TOPIC_CONSUME_BY_WHO => All(&[Topic("topic", GET)]),
        QUERY_CONSUME_TIME_SPAN => All(&[Topic("topic", GET), Group("group", GET)]),
        QUERY_CORRECTION_OFFSET => {
            All(&[Topic("topic", GET), Group("compareGroup", GET), Groups("filterGroups", ',', GET)])
        }
        QUERY_TOPICS_BY_CONSUMER => All(&[Group("group", GET)]),
        QUERY_SUBSCRIPTION_BY_CONSUMER => All(&[Group("group", GET), Topic("topic", GET)]),
        QUERY_GROUP_CONFLICTS => Looks(conflicts, "Get on group `consumerGroup`, or on the cluster"),
        GET_CONSUMER_RUNNING_INFO => All(&[Group("consumerGroup", GET)]),
        INVOKE_BROKER_TO_GET_CONSUMER_STATUS => All(&[Topic("topic", GET), Group("group", GET)]),
        CONSUME_MESSAGE_DIRECTLY => {
            Looks(consume_directly, "Sub on group `consumerGroup`, and on the topic of the message with id `msgId`")
        }
        INVOKE_BROKER_TO_RESET_OFFSET => All(&[Topic("topic", UPDATE), Group("group", UPDATE)]),
        CLONE_GROUP_OFFSET => All(&[Group("srcGroup", GET), Group("destGroup", UPDATE), TopicIfNamed("topic", UPDATE)]),

        UPDATE_AND_CREATE_TOPIC => All(&[Topic("topic", CREATE)]),
        UPDATE_AND_CREATE_TOPIC_LIST => Looks(create_topics, "Create on each topic in the body"),
        DELETE_TOPIC_IN_BROKER => All(&[Topic("topic", DELETE)]),
        GET_TOPIC_CONFIG | GET_TOPIC_STATS_INFO => All(&[Topic("topic", GET)]),
        GET_ALL_TOPIC_CONFIG | GET_SYSTEM_TOPIC_LIST_FROM_BROKER => CLUSTER_LIST,
        UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => Looks(update_group, "Create or Update on the group in the body"),
        UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST => Looks(update_groups, "Create or Update on each group in the body"),
        DELETE_SUBSCRIPTIONGROUP => All(&[Group("groupName", DELETE)]),
        GET_SUBSCRIPTIONGROUP_CONFIG => All(&[Group("group", GET)]),
        GET_ALL_SUBSCRIPTIONGROUP_CONFIG => CLUSTER_LIST,
        UPDATE_AND_GET_GROUP_FORBIDDEN => All(&[Topic("topic", UPDATE), Group("group", UPDATE)]),
        SET_MESSAGE_REQUEST_MODE => CLUSTER_UPDATE,
        GET_ALL_MESSAGE_REQUEST_MODE => CLUSTER_GET,
        QUERY_CONSUME_QUEUE => All(&[Topic("topic", GET), GroupIfNamed("consumerGroup", GET)]),
        PUT_FILTER_PROGRAM | REMOVE_FILTER_PROGRAM => All(&[Group("consumerGroup", UPDATE), Topic("topic", READ)]),
        REGISTER_MESSAGE_FILTER_CLASS => All(&[Group("consumerGroup", SUB), Topic("topic", SUB)]),
        REMOVE_ORDER_FENCES => All(&[Topic("topic", UPDATE)]),
        PARK_MESSAGE | RELEASE_PARKED => All(&[Topic("topic", UPDATE), Group("group", UPDATE)]),
        LIST_PARKED => {
            Looks(list_parked, "Get on group `group`, or on the cluster; and on topic `topic`, if it is named")
        }

        GET_BROKER_RUNTIME_INFO
        | GET_BROKER_CONFIG
        | VIEW_BROKER_STATS_DATA
        | GET_BROKER_CONSUME_STATS
        | GET_ALL_PRODUCER_INFO
        | GET_BROKER_HA_STATUS
        | GET_ALL_CONSUMER_OFFSET
        | GET_ALL_DELAY_OFFSET
        | LIST_FILTER_PROGRAMS
        | LIST_ORDER_FENCES
        | LIST_TRANSACTIONS
        | LIST_TIMERS
        | GET_DUPLICATES
        | QUERY_AUDIT
        | EXPLAIN_ACCESS => CLUSTER_GET,
        UPDATE_BROKER_CONFIG
        | DELETE_EXPIRED_COMMITLOG
        | CLEAN_EXPIRED_CONSUMEQUEUE
        | CLEAN_UNUSED_TOPIC
        | REGISTER_FILTER_SERVER
        | RESOLVE_TRANSACTION
        | CANCEL_TIMER
        | FIRE_TIMER => CLUSTER_UPDATE,

        GET_ROUTEINFO_BY_TOPIC => {
            Looks(route, "Pub, Sub or Get on topic `topic`; the topics of templates and of replies are everybody's")
        }
        REGISTER_BROKER
        | UNREGISTER_BROKER
        | DELETE_TOPIC_IN_NAMESRV
        | WIPE_WRITE_PERM_OF_BROKER
        | ADD_WRITE_PERM_OF_BROKER
        | PUT_KV_CONFIG
        | DELETE_KV_CONFIG
        | UPDATE_NAMESRV_CONFIG => CLUSTER_UPDATE,
        QUERY_DATA_VERSION | GET_BROKER_CLUSTER_INFO | GET_KV_CONFIG | GET_KVLIST_BY_NAMESPACE | GET_NAMESRV_CONFIG => {
            CLUSTER_GET
        }
        GET_ALL_TOPIC_LIST_FROM_NAMESERVER
        | GET_TOPICS_BY_CLUSTER
        | GET_SYSTEM_TOPIC_LIST_FROM_NS
        | GET_UNIT_TOPIC_LIST
        | GET_HAS_UNIT_SUB_TOPIC_LIST
        | GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST => CLUSTER_LIST,

        AUTH_CREATE_USER | AUTH_UPDATE_USER | AUTH_DELETE_USER | AUTH_CREATE_ACL | AUTH_UPDATE_ACL
        | AUTH_DELETE_ACL => CLUSTER_UPDATE,
        AUTH_GET_USER | AUTH_LIST_USER | AUTH_GET_ACL | AUTH_LIST_ACL | GET_BROKER_CLUSTER_ACL_INFO => CLUSTER_GET,
        UPDATE_AND_CREATE_ACL_CONFIG
        | DELETE_ACL_CONFIG
        | UPDATE_GLOBAL_WHITE_ADDRS_CONFIG
        | GET_BROKER_CLUSTER_ACL_CONFIG => Super,
        _ => return None,
    })
}

/// What a request of this code needs, in words; `None`: nobody may.
pub fn describe(code: i32) -> Option<String> {
    let needs = match needs(code)? {
        All(needs) => needs.iter().map(describe_need).collect::<Vec<_>>().join("; "),
        Looks(_, words) => words.to_owned(),
        Super => "everything (`Super`)".to_owned(),
    };
    Some(format!("{code} {}: {needs}", request::name(code).unwrap_or("")))
}

fn describe_need(need: &Need) -> String {
    match need {
        Topic(field, actions) => format!("{actions} on topic `{field}`"),
        TopicIfNamed(field, actions) => format!("{actions} on topic `{field}`, if it is named"),
        Topics(field, _, actions) => format!("{actions} on each topic of `{field}`"),
        Group(field, actions) => format!("{actions} on group `{field}`"),
        GroupIfNamed(field, actions) => format!("{actions} on group `{field}`, if it is named"),
        Groups(field, _, actions) => format!("{actions} on each group of `{field}`"),
        Cluster(actions) => format!("{actions} on the cluster"),
    }
}

impl Need {
    /// Is it allowed?
    pub(crate) fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Reject> {
        let command = asking.command;
        let field = |name: &str| command.ext.get(name);
        let named = |name: &str| field(name).filter(|text| !text.is_empty());
        let listed = |name: &str, by: char| {
            field(name).unwrap_or("").split(by).map(str::trim).filter(|one| !one.is_empty()).collect::<Vec<_>>()
        };
        match self {
            Topic(name, actions) => asking.topic(field(name).unwrap_or(""), *actions),
            TopicIfNamed(name, actions) => named(name).map_or(Ok(()), |topic| asking.topic(topic, *actions)),
            Topics(name, by, actions) => {
                listed(name, *by).into_iter().try_for_each(|topic| asking.topic(topic, *actions))
            }
            Group(name, actions) => asking.group(field(name).unwrap_or(""), *actions),
            GroupIfNamed(name, actions) => named(name).map_or(Ok(()), |group| asking.group(group, *actions)),
            Groups(name, by, actions) => {
                listed(name, *by).into_iter().try_for_each(|group| asking.group(group, *actions))
            }
            Cluster(actions) => asking.cluster(*actions),
        }
    }
}

/// The cluster that a request to a name server means, read as its handler reads it. `None`: it means none, or all.
pub(crate) fn cluster_of(command: &Command) -> Option<String> {
    let cluster = match command.code {
        REGISTER_BROKER => RegisterBroker::read(command).ok()?.cluster_name,
        UNREGISTER_BROKER => UnregisterBroker::read(command).ok()?.cluster_name,
        QUERY_DATA_VERSION => QueryDataVersion::read(command).ok()?.cluster_name,
        DELETE_TOPIC_IN_NAMESRV => ForgetTopic::read(command).ok()?.cluster_name?,
        GET_TOPICS_BY_CLUSTER => GetTopicsOfCluster::read(command).ok()?.cluster,
        _ => return None,
    };
    Some(cluster).filter(|cluster| !cluster.is_empty())
}

const REPLY: &str = "nothing for a reply to the topic of replies, whose sender is asked for it; else Pub on the topic";

fn field<'a>(asking: &Asking<'a>, name: &str) -> &'a str {
    asking.command.ext.get(name).unwrap_or("")
}

/// A number that can't be read is answered by the handler, which does nothing with it.
fn offset(asking: &Asking<'_>, name: &str) -> Option<i64> {
    field(asking, name).parse().ok()
}

/// Reads the body as the handler does. One that can't be read is answered by the handler, which does nothing with it.
fn body<T: DeserializeOwned>(asking: &Asking<'_>) -> Option<T> {
    json::read(&asking.command.body).ok()
}

fn reply(asking: &mut Asking<'_>, name: &str) -> Result<(), Reject> {
    let topic = field(asking, name);
    if asking.world.is_reply_topic(topic) { Ok(()) } else { asking.topic(topic, PUB) }
}

fn end_transaction(asking: &mut Asking<'_>) -> Result<(), Reject> {
    let at = offset(asking, "commitLogOffset");
    asking.topic_at(at, PUB)
}

fn resume(asking: &mut Asking<'_>) -> Result<(), Reject> {
    let at = parse_offset_message_id(field(asking, "msgId")).ok().map(|(_, at)| at.0);
    asking.topic_at(at, UPDATE)
}

fn send_back(asking: &mut Asking<'_>) -> Result<(), Reject> {
    asking.group(field(asking, "group"), SUB)?;
    let at = offset(asking, "offset");
    asking.topic_at(at, SUB)
}

fn heartbeat(asking: &mut Asking<'_>) -> Result<(), Reject> {
    let Some(heartbeat) = body::<HeartbeatData>(asking) else { return Ok(()) };
    asking.own_client("", &heartbeat.client_id)?;
    for consumer in &heartbeat.consumer_data_set {
        asking.group(&consumer.group_name, SUB)?;
        asking.own_client(&consumer.group_name, &heartbeat.client_id)?;
        for subscription in &consumer.subscription_data_set {
            asking.topic(&subscription.topic, SUB)?;
        }
    }
    Ok(())
}

fn unregister(asking: &mut Asking<'_>) -> Result<(), Reject> {
    let (client, group) = (field(asking, "clientID"), field(asking, "consumerGroup"));
    if !group.is_empty() {
        asking.group(group, SUB)?;
    }
    asking.own_client(group, client)
}

fn check_client(asking: &mut Asking<'_>) -> Result<(), Reject> {
    let Some(check) = body::<CheckClientBody>(asking) else { return Ok(()) };
    asking.group(&check.group, SUB)?;
    check.subscription_data.map_or(Ok(()), |subscription| asking.topic(&subscription.topic, SUB))
}

fn locks(asking: &mut Asking<'_>) -> Result<(), Reject> {
    let Some(locks) = body::<LockBatchBody>(asking) else { return Ok(()) };
    asking.group(&locks.consumer_group, SUB)?;
    asking.own_client(&locks.consumer_group, &locks.client_id)?;
    locks.mq_set.iter().try_for_each(|queue| asking.topic(&queue.topic, SUB))
}

fn view(asking: &mut Asking<'_>) -> Result<(), Reject> {
    let at = offset(asking, "offset");
    asking.topic_at(at, READ)
}

fn life(asking: &mut Asking<'_>) -> Result<(), Reject> {
    let at = parse_offset_message_id(field(asking, "msgId")).ok().map(|(_, at)| at.0);
    asking.topic_at(at, READ)?;
    match field(asking, "topic") {
        // Without a topic, only a message that is there by its place is found.
        "" => Ok(()),
        topic => asking.topic(topic, READ),
    }
}

fn conflicts(asking: &mut Asking<'_>) -> Result<(), Reject> {
    match field(asking, "consumerGroup") {
        "" => asking.cluster(GET),
        group => asking.group(group, GET),
    }
}

fn list_parked(asking: &mut Asking<'_>) -> Result<(), Reject> {
    match field(asking, "group") {
        "" => asking.cluster(GET)?,
        group => asking.group(group, GET)?,
    }
    TopicIfNamed("topic", GET).ask(asking)
}

fn consume_directly(asking: &mut Asking<'_>) -> Result<(), Reject> {
    asking.group(field(asking, "consumerGroup"), SUB)?;
    let at = parse_offset_message_id(field(asking, "msgId")).ok().map(|(_, at)| at.0);
    asking.topic_at(at, SUB)?;
    match field(asking, "topic") {
        "" => Ok(()),
        topic => asking.topic(topic, SUB),
    }
}

fn create_topics(asking: &mut Asking<'_>) -> Result<(), Reject> {
    let Some(list) = body::<TopicConfigs>(asking) else { return Ok(()) };
    list.topic_config_list.iter().try_for_each(|topic| asking.topic(&topic.topic_name, CREATE))
}

fn update_group(asking: &mut Asking<'_>) -> Result<(), Reject> {
    let Some(group) = body::<SubscriptionGroupConfig>(asking) else { return Ok(()) };
    asking.group(&group.group_name, CREATE.and(UPDATE))
}

fn update_groups(asking: &mut Asking<'_>) -> Result<(), Reject> {
    let Some(list) = body::<protocol::admin::GroupConfigs>(asking) else { return Ok(()) };
    list.group_config_list.iter().try_for_each(|group| asking.group(&group.group_name, CREATE.and(UPDATE)))
}

fn route(asking: &mut Asking<'_>) -> Result<(), Reject> {
    let topic = field(asking, "topic");
    if topic == DEFAULT_TOPIC || asking.world.is_reply_topic(topic) {
        return Ok(());
    }
    asking.topic(topic, PUB.and(SUB).and(GET))
}
