//! Filter programs. Apache's brokers have none.

use crate::{Admin, Error, read};
use bytes::Bytes;
use protocol::request::filter::{
    FilterProgram, FilterProgramList, ListFilterPrograms, PutFilterProgram, RemoveFilterProgram,
};

/// Puts a WebAssembly module on a broker, as the program of `group` for `topic`.
pub async fn put(admin: &Admin, broker: &str, group: &str, topic: &str, module: Bytes) -> Result<FilterProgram, Error> {
    let request = PutFilterProgram { consumer_group: group.to_owned(), topic: topic.to_owned() };
    let (_, body) = admin.ask(broker, &request, module).await?;
    read(broker, &body)
}

/// Removes the program of `group` for `topic` from a broker.
pub async fn remove(admin: &Admin, broker: &str, group: &str, topic: &str) -> Result<(), Error> {
    let request = RemoveFilterProgram { consumer_group: group.to_owned(), topic: topic.to_owned() };
    admin.ask(broker, &request, Bytes::new()).await.map(drop)
}

/// The programs on a broker; of one group or topic, if these are named.
pub async fn list(
    admin: &Admin,
    broker: &str,
    group: Option<&str>,
    topic: Option<&str>,
) -> Result<Vec<FilterProgram>, Error> {
    let [consumer_group, topic] = [group, topic].map(|name| name.map(str::to_owned));
    Ok(admin.ask_for::<FilterProgramList>(broker, &ListFilterPrograms { consumer_group, topic }).await?.programs)
}
