//! Who changed what: every request that is not named below leaves a line in `audit.log`, also one that is refused.
//!
//! A request that is added later is one of these unless it is named here: what is forgotten is written down.

use crate::Broker;
use access::audit::Audited;
use protocol::audit::{SECRET, is_secret};
use protocol::code::request::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use store::audit::AuditLog;

/// What clients ask for while they send and consume, and what changes nothing.
pub const NOT_AUDITED: [i32; 70] = [
    // Clients at work. That a consumer commits an offset is its work, too; who moves a group from outside uses other codes.
    SEND_MESSAGE,
    SEND_MESSAGE_V2,
    SEND_BATCH_MESSAGE,
    SEND_REPLY_MESSAGE,
    SEND_REPLY_MESSAGE_V2,
    CONSUMER_SEND_MSG_BACK,
    END_TRANSACTION,
    RECALL_MESSAGE,
    PULL_MESSAGE,
    LITE_PULL_MESSAGE,
    UPDATE_CONSUMER_OFFSET,
    HEART_BEAT,
    UNREGISTER_CLIENT,
    CHECK_CLIENT_CONFIG,
    LOCK_BATCH_MQ,
    UNLOCK_BATCH_MQ,
    REGISTER_FILTER_SERVER,
    // Questions.
    QUERY_MESSAGE,
    QUERY_CONSUMER_OFFSET,
    GET_ALL_TOPIC_CONFIG,
    GET_BROKER_CONFIG,
    GET_BROKER_RUNTIME_INFO,
    SEARCH_OFFSET_BY_TIMESTAMP,
    GET_MAX_OFFSET,
    GET_MIN_OFFSET,
    GET_EARLIEST_MSG_STORETIME,
    VIEW_MESSAGE_BY_ID,
    GET_CONSUMER_LIST_BY_GROUP,
    GET_ALL_CONSUMER_OFFSET,
    GET_ALL_DELAY_OFFSET,
    GET_ALL_SUBSCRIPTIONGROUP_CONFIG,
    GET_TOPIC_STATS_INFO,
    GET_CONSUMER_CONNECTION_LIST,
    GET_PRODUCER_CONNECTION_LIST,
    GET_CONSUME_STATS,
    INVOKE_BROKER_TO_GET_CONSUMER_STATUS,
    QUERY_TOPIC_CONSUME_BY_WHO,
    QUERY_CONSUME_TIME_SPAN,
    GET_SYSTEM_TOPIC_LIST_FROM_BROKER,
    GET_CONSUMER_RUNNING_INFO,
    QUERY_CORRECTION_OFFSET,
    VIEW_BROKER_STATS_DATA,
    GET_BROKER_CONSUME_STATS,
    QUERY_CONSUME_QUEUE,
    GET_ALL_PRODUCER_INFO,
    QUERY_TOPICS_BY_CONSUMER,
    QUERY_SUBSCRIPTION_BY_CONSUMER,
    GET_TOPIC_CONFIG,
    GET_SUBSCRIPTIONGROUP_CONFIG,
    GET_ALL_MESSAGE_REQUEST_MODE,
    GET_BROKER_HA_STATUS,
    LIST_FILTER_PROGRAMS,
    LIST_ORDER_FENCES,
    LIST_PARKED,
    LIST_TRANSACTIONS,
    LIST_TIMERS,
    MESSAGE_LIFE,
    QUERY_GROUP_CONFLICTS,
    GET_DUPLICATES,
    QUERY_AUDIT,
    GET_BROKER_CLUSTER_ACL_INFO,
    GET_BROKER_CLUSTER_ACL_CONFIG,
    AUTH_GET_USER,
    AUTH_LIST_USER,
    AUTH_GET_ACL,
    AUTH_LIST_ACL,
    EXPLAIN_ACCESS,
    GET_TIMER_CHECK_POINT,
    GET_TIMER_METRICS,
    QUERY_ASSIGNMENT,
];

impl Audited for Broker {
    fn audit_log(&self) -> &AuditLog {
        &self.audit
    }

    fn is_audited(code: i32) -> bool {
        !NOT_AUDITED.contains(&code)
    }

    fn state_of(&self, code: i32, asked: &Value) -> Value {
        let text = |key: &str| asked[key].as_str().unwrap_or_default();
        let topic = |name: &str| self.topics.get(name).map_or(Value::Null, |config| json!(*config));
        let group = |name: &str| self.groups.get(name).map_or(Value::Null, |config| json!(*config));
        let offsets = |group: &str, topic: &str| json!(self.offsets.of_topic(group, topic));
        let names = |list: &Value, key: &str| -> BTreeSet<String> {
            let names = list.as_array().into_iter().flatten().filter_map(|element| element[key].as_str());
            names.map(str::to_owned).collect()
        };
        match code {
            UPDATE_AND_CREATE_TOPIC | DELETE_TOPIC_IN_BROKER => topic(text("topic")),
            UPDATE_AND_CREATE_TOPIC_LIST => {
                let names = names(&asked["body"]["topicConfigList"], "topicName");
                names
                    .into_iter()
                    .map(|name| (topic(&name), name))
                    .map(|(it, name)| (name, it))
                    .collect::<Map<_, _>>()
                    .into()
            }
            UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => group(asked["body"]["groupName"].as_str().unwrap_or_default()),
            UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST => {
                let names = names(&asked["body"]["groupConfigList"], "groupName");
                names
                    .into_iter()
                    .map(|name| (group(&name), name))
                    .map(|(it, name)| (name, it))
                    .collect::<Map<_, _>>()
                    .into()
            }
            DELETE_SUBSCRIPTIONGROUP => group(text("groupName")),
            UPDATE_BROKER_CONFIG => self.values_of(&asked["body"]),
            INVOKE_BROKER_TO_RESET_OFFSET => offsets(text("group"), text("topic")),
            CLONE_GROUP_OFFSET => offsets(text("destGroup"), text("topic")),
            UPDATE_AND_GET_GROUP_FORBIDDEN => {
                json!({ "readable": self.groups.may_read(text("group"), text("topic")) })
            }
            PUT_FILTER_PROGRAM | REMOVE_FILTER_PROGRAM => {
                json!(self.programs.list(Some(text("consumerGroup")), Some(text("topic"))))
            }
            REMOVE_ORDER_FENCES => {
                let fences = self.fences.list();
                json!(fences.into_iter().filter(|fence| fence.topic == text("topic")).collect::<Vec<_>>())
            }
            DELETE_EXPIRED_COMMITLOG | CLEAN_EXPIRED_CONSUMEQUEUE => {
                json!({ "logBegins": self.store.commit_log_bounds().0.0 })
            }
            CLEAN_UNUSED_TOPIC => json!({ "topicsStored": self.store.topics().len() }),
            RESOLVE_TRANSACTION | RESUME_CHECK_HALF_MESSAGE => json!({ "open": self.transactions.lock().len() }),
            _ => Value::Null,
        }
    }
}

impl Broker {
    /// The values of settings that somebody wants to change.
    fn values_of(&self, changes: &Value) -> Value {
        let values = changes.as_object().into_iter().flatten().filter_map(|(key, _)| {
            let value = if is_secret(key) { SECRET.to_owned() } else { self.config.value(key)? };
            Some((key.clone(), Value::String(value)))
        });
        values.collect::<Map<_, _>>().into()
    }
}
