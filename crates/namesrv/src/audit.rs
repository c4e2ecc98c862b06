//! Who changed what: every request that is not named below leaves a line in `audit.log`, as on brokers.

use crate::Namesrv;
use access::audit::Audited;
use protocol::code::request::*;
use serde_json::{Map, Value, json};
use store::audit::AuditLog;

/// What brokers and clients ask for at work, and what changes nothing.
pub const NOT_AUDITED: [i32; 22] = [
    REGISTER_BROKER,
    UNREGISTER_BROKER,
    QUERY_DATA_VERSION,
    GET_ROUTEINFO_BY_TOPIC,
    GET_BROKER_CLUSTER_INFO,
    GET_ALL_TOPIC_LIST_FROM_NAMESERVER,
    GET_TOPICS_BY_CLUSTER,
    GET_SYSTEM_TOPIC_LIST_FROM_NS,
    GET_UNIT_TOPIC_LIST,
    GET_HAS_UNIT_SUB_TOPIC_LIST,
    GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST,
    GET_KV_CONFIG,
    GET_KVLIST_BY_NAMESPACE,
    GET_NAMESRV_CONFIG,
    QUERY_AUDIT,
    GET_BROKER_CLUSTER_ACL_INFO,
    GET_BROKER_CLUSTER_ACL_CONFIG,
    AUTH_GET_USER,
    AUTH_LIST_USER,
    AUTH_GET_ACL,
    AUTH_LIST_ACL,
    EXPLAIN_ACCESS,
];

impl Audited for Namesrv {
    fn audit_log(&self) -> &AuditLog {
        &self.audit
    }

    fn is_audited(code: i32) -> bool {
        !NOT_AUDITED.contains(&code)
    }

    fn state_of(&self, code: i32, asked: &Value) -> Value {
        let text = |key: &str| asked[key].as_str().unwrap_or_default();
        match code {
            PUT_KV_CONFIG | DELETE_KV_CONFIG => json!(self.kv.get(text("namespace"), text("key"))),
            WIPE_WRITE_PERM_OF_BROKER | ADD_WRITE_PERM_OF_BROKER => {
                json!({ "writable": self.routes.read().is_writable(text("brokerName")) })
            }
            DELETE_TOPIC_IN_NAMESRV => {
                let route = self.routes.read().route(text("topic"));
                json!({ "brokers": route.map(|route| route.broker_datas.into_iter().map(|it| it.broker_name).collect::<Vec<_>>()) })
            }
            UPDATE_NAMESRV_CONFIG => {
                let values = self.config.read().values();
                let wanted = |(key, _): &(&str, String)| asked["body"].get(*key).is_some();
                let values = values.into_iter().filter(wanted).map(|(key, value)| (key.to_owned(), value.into()));
                values.collect::<Map<_, _>>().into()
            }
            _ => Value::Null,
        }
    }
}
