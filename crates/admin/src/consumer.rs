//! Consumer groups.

use crate::{Admin, Error};
use bytes::Bytes;
use protocol::request::topic::DeleteGroup;

/// Deletes a group from a broker, and with `clean_offset` its offsets and retries, too (`deleteSubGroup`).
pub async fn delete(admin: &Admin, broker: &str, group: &str, clean_offset: bool) -> Result<(), Error> {
    let request = DeleteGroup { group_name: group.to_owned(), clean_offset: Some(clean_offset) };
    admin.ask(broker, &request, Bytes::new()).await.map(drop)
}
