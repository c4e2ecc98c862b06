//! Who changed what. Apache's servers have no such request.

use super::{Empty, headers, requests};
use crate::audit::AuditEntry;
use serde::{Deserialize, Serialize};

headers! {
    /// QUERY_AUDIT (90065), of brokers and name servers. The body of its answer is [`AuditEntries`].
    pub struct QueryAudit {
        /// From then on, milliseconds since 1970.
        since: i64 = "since",
        /// That have this name in what was asked for.
        about: Option<String> = "about",
        /// By this user, or from this address or host.
        who: Option<String> = "who",
        /// Whose request's name has this in it.
        what: Option<String> = "what",
        /// The last so many.
        max: i32 = "max",
    }
}

requests! {
    QueryAudit: QUERY_AUDIT => Empty;
}

/// Entries of an audit log, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditEntries {
    /// The entries.
    pub entries: Vec<AuditEntry>,
}
