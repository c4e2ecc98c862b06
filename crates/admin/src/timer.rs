//! Messages that wait for their time. Apache's brokers know none of these requests.

use crate::{Admin, Error};
use bytes::Bytes;
use protocol::request::timer::{CancelTimer, FireTimer, ListTimers, PendingTimer, PendingTimers};

/// A broker lists no more at a time.
const PAGE: i32 = 1000;

/// Those of a broker, in the order in which the wheel comes to them, from where the list before ended
/// ([`PendingTimers::next`]): at most `max`, and never more than 1,000.
pub async fn list(admin: &Admin, broker: &str, from: Option<&str>, max: i32) -> Result<PendingTimers, Error> {
    admin.ask_for(broker, &ListTimers { from: from.map(str::to_owned), max }).await
}

/// The one that this handle names, if it waits.
pub async fn find(admin: &Admin, broker: &str, handle: &str) -> Result<PendingTimer, Error> {
    let mut from = None;
    loop {
        let found = list(admin, broker, from.as_deref(), PAGE).await?;
        if let Some(timer) = found.timers.into_iter().find(|timer| timer.recall_handle == handle) {
            return Ok(timer);
        }
        from = match found.next {
            None => return Err(crate::not_there("timer", handle, std::iter::empty())),
            next => next,
        };
    }
}

/// The one that this handle names will not be delivered.
pub async fn cancel(admin: &Admin, broker: &str, handle: &str) -> Result<(), Error> {
    admin.ask(broker, &CancelTimer { recall_handle: handle.to_owned() }, Bytes::new()).await.map(drop)
}

/// The one that this handle names is delivered now, and not again when it is due.
pub async fn fire(admin: &Admin, broker: &str, handle: &str) -> Result<(), Error> {
    admin.ask(broker, &FireTimer { recall_handle: handle.to_owned() }, Bytes::new()).await.map(drop)
}
