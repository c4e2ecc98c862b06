//! Order of keys: new queues of ordered topics, and keys that are parked. Apache's brokers know neither.

use crate::{Admin, Error};
use bytes::Bytes;
use protocol::json;
use protocol::request::admin::{GetGroup, UpdateGroup};
use protocol::request::order::{
    ListOrderFences, ListParked, OrderFence, OrderFenceList, ParkMessage, ParkedKey, ParkedList, ReleaseParked,
    ReleasedList, ReleasedQueue, RemoveOrderFences,
};
use protocol::subscription::SubscriptionGroupConfig;

/// The new queues of ordered topics on a broker, which groups get when they have consumed the old ones.
pub async fn fences(admin: &Admin, broker: &str) -> Result<Vec<OrderFence>, Error> {
    Ok(admin.ask_for::<OrderFenceList>(broker, &ListOrderFences {}).await?.fences)
}

/// Gives out the new queues of a topic at once. Keys that moved to them may overtake themselves.
pub async fn remove_fences(admin: &Admin, broker: &str, topic: &str) -> Result<(), Error> {
    admin.ask(broker, &RemoveOrderFences { topic: topic.to_owned() }, Bytes::new()).await.map(drop)
}

/// The keys that are parked on a broker, of a group, a topic, a queue or all.
pub async fn parked(admin: &Admin, broker: &str, which: &ListParked) -> Result<Vec<ParkedKey>, Error> {
    Ok(admin.ask_for::<ParkedList>(broker, which).await?.keys)
}

/// Parks a message with its key: the group goes on with the other keys of the queue.
pub async fn park(admin: &Admin, broker: &str, message: &ParkMessage) -> Result<(), Error> {
    admin.ask(broker, message, Bytes::new()).await.map(drop)
}

/// Gives the group what is parked, or brings it to the group's dead letters.
///
/// A broker brings so many messages to the dead letters at a time, and is asked again until none is left; `each` is told what it
/// did. What is broken off goes on where it was when it is asked for again.
pub async fn unpark(
    admin: &Admin,
    broker: &str,
    which: ReleaseParked,
    mut each: impl FnMut(ReleasedQueue),
) -> Result<(), Error> {
    let mut asked = vec![which];
    while let Some(which) = asked.pop() {
        let released: ReleasedList = admin.ask_for(broker, &which).await?;
        for queue in released.queues {
            let rest =
                |offset: &i64| ReleaseParked { queue_id: Some(queue.queue_id), offset: Some(*offset), ..which.clone() };
            asked.extend(queue.left.iter().map(rest));
            each(queue);
        }
    }
    Ok(())
}

/// A group's settings on a broker.
pub async fn group(admin: &Admin, broker: &str, group: &str) -> Result<SubscriptionGroupConfig, Error> {
    admin.ask_for(broker, &GetGroup { group: group.to_owned() }).await
}

/// Sets attributes of a group, and leaves its other settings as they are.
pub async fn set_group(admin: &Admin, broker: &str, group: &str, attributes: &[(&str, bool)]) -> Result<(), Error> {
    let mut config = self::group(admin, broker, group).await?;
    let changes = attributes.iter().map(|(name, on)| (format!("+{name}"), on.to_string()));
    config.others.insert("attributes".into(), changes.collect());
    admin.ask(broker, &UpdateGroup {}, json::write(&config).into()).await.map(drop)
}
