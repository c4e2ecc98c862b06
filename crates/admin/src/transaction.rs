//! Transactions that wait for their end, or were given up. Apache's brokers know the last of these requests only.

use crate::{Admin, Error};
use bytes::Bytes;
use protocol::request::transaction::{
    ListTransactions, OpenTransaction, OpenTransactions, ResolveTransaction, ResumeCheckHalfMessage,
};

/// A broker lists no more at a time.
const PAGE: i32 = 1000;

/// Those of a broker that wait for their end, from a queue offset on: at most `max`, and never more than 1,000.
pub async fn open(admin: &Admin, broker: &str, from: i64, max: i32) -> Result<Vec<OpenTransaction>, Error> {
    list(admin, broker, ListTransactions { from, max, parked: false }).await
}

/// Those of a broker that were given up, likewise.
pub async fn parked(admin: &Admin, broker: &str, from: i64, max: i32) -> Result<Vec<OpenTransaction>, Error> {
    list(admin, broker, ListTransactions { from, max, parked: true }).await
}

async fn list(admin: &Admin, broker: &str, request: ListTransactions) -> Result<Vec<OpenTransaction>, Error> {
    Ok(admin.ask_for::<OpenTransactions>(broker, &request).await?.transactions)
}

/// The one that waits for its end at this offset.
pub async fn find(admin: &Admin, broker: &str, offset: i64) -> Result<OpenTransaction, Error> {
    let found = open(admin, broker, offset, 1).await?.into_iter().find(|it| it.offset == offset);
    found.ok_or_else(|| crate::not_there("transaction", &offset.to_string(), std::iter::empty()))
}

/// The one that was given up and has this message id.
pub async fn find_parked(admin: &Admin, broker: &str, message_id: &str) -> Result<OpenTransaction, Error> {
    let mut from = 0;
    loop {
        let page = parked(admin, broker, from, PAGE).await?;
        let Some(last) = page.last().map(|it| it.offset) else {
            return Err(crate::not_there("transaction that was given up", message_id, std::iter::empty()));
        };
        if let Some(found) = page.into_iter().find(|it| it.offset_message_id == message_id) {
            return Ok(found);
        }
        from = last + 1;
    }
}

/// Commits the transaction whose half message has this queue offset, in place of its producer, or rolls it back.
pub async fn resolve(admin: &Admin, broker: &str, offset: i64, commit: bool) -> Result<(), Error> {
    admin.ask(broker, &ResolveTransaction { offset, commit }, Bytes::new()).await.map(drop)
}

/// Takes up again what was given up: its producers are asked anew. It is named by its message id
/// ([`OpenTransaction::offset_message_id`]).
pub async fn resume(admin: &Admin, broker: &str, message_id: &str) -> Result<(), Error> {
    let request = ResumeCheckHalfMessage { message_id: message_id.to_owned() };
    admin.ask(broker, &request, Bytes::new()).await.map(drop)
}
