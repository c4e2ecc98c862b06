//! Who changed what: a line in the audit log of a server for each request that changes something, also for one that is refused.
//!
//! Whoever asks is answered when the line is written; meanwhile the request is parked, and no thread waits.

use protocol::audit::{AuditEntry, AuditFilter, asked};
use protocol::command::Command;
use protocol::json;
use protocol::request::Empty;
use protocol::request::audit::{AuditEntries, QueryAudit};
use remoting::router::Audit;
use remoting::{Answer, Call, Peer, Reject, Router};
use serde_json::Value;
use std::sync::Arc;
use store::audit::AuditLog;
use tokio::sync::oneshot;

/// So many entries are answered at most.
const ENTRIES_MAX: usize = 10_000;

/// A server that says who changed what.
pub trait Audited: Send + Sync + 'static {
    /// Where.
    fn audit_log(&self) -> &AuditLog;

    /// Does a request of this code leave a line?
    fn is_audited(code: i32) -> bool;

    /// How it is now, what such a request would change. Null where that is more than a line, or nothing that is kept.
    fn state_of(&self, code: i32, asked: &Value) -> Value;
}

/// Has requests leave their lines, and adds the answer about them.
pub fn audited<S: Audited>(router: Router<S>) -> Router<S> {
    router.on(query::<S>).audited(look)
}

/// Looks at a request before its handler does.
fn look<S: Audited>(server: &Arc<S>, peer: &Peer, request: &Command) -> Option<Audit> {
    if !S::is_audited(request.code) {
        return None;
    }
    let (server, code, asked) = (server.clone(), request.code, asked(request));
    // Who asks: the user, where users are told apart, and from where.
    let (user, address) = (peer.user().map(|user| user.to_string()), peer.address().to_string());
    let before = server.state_of(code, &asked);
    Some(Box::new(move |answer| {
        let after = server.state_of(code, &asked);
        let entry = AuditEntry { user, address, before, after, ..AuditEntry::of(code, asked, answer) };
        let (written, is_written) = oneshot::channel();
        server.audit_log().append(entry, move || _ = written.send(()));
        Box::pin(async move { _ = is_written.await })
    }))
}

/// QUERY_AUDIT (90065).
async fn query<S: Audited>(server: Arc<S>, call: Call<QueryAudit>) -> Result<Answer<Empty>, Reject> {
    let QueryAudit { since, about, who, what, max } = call.request;
    let filter = AuditFilter { since, about, who, what };
    let max = usize::try_from(max).unwrap_or(0).min(ENTRIES_MAX);
    let read = tokio::task::spawn_blocking(move || server.audit_log().read(&filter, max)).await;
    let entries = read.map_err(std::io::Error::other).flatten();
    let entries = entries.map_err(|error| Reject::system_error(format!("audit.log can't be read: {error}")))?;
    Ok(Answer::new(Empty {}).with_body(json::write(&AuditEntries { entries })))
}
