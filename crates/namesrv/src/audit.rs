//! Who changed what: every request that is not named below leaves a line in `audit.log`, as on brokers.

use crate::Namesrv;
use protocol::audit::{AuditEntry, AuditFilter, asked};
use protocol::code::request::*;
use protocol::command::Command;
use protocol::json;
use protocol::request::Empty;
use protocol::request::audit::{AuditEntries, QueryAudit};
use remoting::router::Audited;
use remoting::{Answer, Call, Peer, Reject};
use serde_json::{Map, Value, json};
use std::sync::Arc;

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

/// So many entries are answered at most.
const ENTRIES_MAX: usize = 10_000;

/// Who asks: the user, where users are told apart, and from where.
fn who(peer: &Peer) -> (Option<String>, String) {
    (peer.user().map(|user| user.to_string()), peer.address().to_string())
}

/// Looks at a request before its handler does.
pub(crate) fn look(namesrv: &Arc<Namesrv>, peer: &Peer, request: &Command) -> Option<Audited> {
    if NOT_AUDITED.contains(&request.code) {
        return None;
    }
    let (namesrv, (user, address), code, asked) = (namesrv.clone(), who(peer), request.code, asked(request));
    let before = namesrv.state_of(code, &asked);
    Some(Box::new(move |answer: Option<(i32, Option<&str>)>| {
        let after = namesrv.state_of(code, &asked);
        namesrv.audit.append(AuditEntry { user, address, before, after, ..AuditEntry::of(code, asked, answer) });
    }))
}

impl Namesrv {
    /// How it is now, what such a request would change.
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

/// QUERY_AUDIT (90065).
pub async fn query(namesrv: Arc<Namesrv>, call: Call<QueryAudit>) -> Result<Answer<Empty>, Reject> {
    let QueryAudit { since, about, who, what, max } = call.request;
    let filter = AuditFilter { since, about, who, what };
    let max = usize::try_from(max).unwrap_or(0).min(ENTRIES_MAX);
    let read = tokio::task::spawn_blocking(move || namesrv.audit.read(&filter, max)).await;
    let entries = read.map_err(std::io::Error::other).flatten();
    let entries = entries.map_err(|error| Reject::system_error(format!("audit.log can't be read: {error}")))?;
    Ok(Answer::new(Empty {}).with_body(json::write(&AuditEntries { entries })))
}
