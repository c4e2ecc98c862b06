//! Who changed what on a broker or name server of CometMQ.

use crate::{Admin, Error};
use protocol::audit::{AuditEntry, AuditFilter};
use protocol::request::audit::{AuditEntries, QueryAudit};

/// The last `max` entries of a server's audit log that are wanted, oldest first. Apache's servers refuse.
pub async fn entries(admin: &Admin, address: &str, filter: &AuditFilter, max: usize) -> Result<Vec<AuditEntry>, Error> {
    let AuditFilter { since, about, who, what } = filter.clone();
    let request = QueryAudit { since, about, who, what, max: i32::try_from(max).unwrap_or(i32::MAX) };
    Ok(admin.ask_for::<AuditEntries>(address, &request).await?.entries)
}
