//! New queues of ordered topics. Apache's brokers hold none.

use crate::{Admin, Error};
use bytes::Bytes;
use protocol::request::order::{ListOrderFences, OrderFence, OrderFenceList, RemoveOrderFences};

/// The new queues of ordered topics on a broker, which groups get when they have consumed the old ones.
pub async fn fences(admin: &Admin, broker: &str) -> Result<Vec<OrderFence>, Error> {
    Ok(admin.ask_for::<OrderFenceList>(broker, &ListOrderFences {}).await?.fences)
}

/// Gives out the new queues of a topic at once. Keys that moved to them may overtake themselves.
pub async fn remove_fences(admin: &Admin, broker: &str, topic: &str) -> Result<(), Error> {
    admin.ask(broker, &RemoveOrderFences { topic: topic.to_owned() }, Bytes::new()).await.map(drop)
}
