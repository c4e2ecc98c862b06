//! What a deletion would do: who is online, what would be lost.

use crate::{Admin, Error, connection, consumer, topic};
use protocol::topic::dead_letter_topic;
use serde::Serialize;

/// A group that would notice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Affected {
    /// The group.
    pub group: String,
    /// The ids of its members that are connected.
    pub members: Vec<String>,
    /// Messages that it has not consumed.
    pub lag: i64,
}

/// What the deletion of a topic would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicDeletion {
    /// The topic.
    pub topic: String,
    /// Its brokers.
    pub brokers: Vec<String>,
    /// How many messages it has.
    pub messages: i64,
    /// When the last one was stored, milliseconds since 1970; 0: there is none.
    pub last_timestamp: i64,
    /// Who consumes it.
    pub groups: Vec<Affected>,
}

/// What [`topic::delete`] would do.
pub async fn of_topic_deletion(admin: &Admin, topic: &str) -> Result<TopicDeletion, Error> {
    let status = topic::status(admin, topic).await?;
    let brokers = topic::masters(admin, topic).await?.into_iter().map(|(name, _)| name).collect();
    let mut groups = Vec::new();
    for group in consumer::of_topic(admin, topic).await? {
        groups.push(affected(admin, &group, Some(topic)).await?);
    }
    Ok(TopicDeletion {
        topic: topic.to_owned(),
        brokers,
        messages: status.messages(),
        last_timestamp: status.queues.iter().map(|queue| queue.last_timestamp).max().unwrap_or(0),
        groups,
    })
}

/// What the deletion of a group would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupDeletion {
    /// Who notices.
    #[serde(flatten)]
    pub group: Affected,
    /// Its dead letters, which go with it if its retries do.
    pub dead_letters: i64,
}

/// What [`consumer::delete`] would do.
pub async fn of_group_deletion(admin: &Admin, group: &str) -> Result<GroupDeletion, Error> {
    consumer::config(admin, group).await?;
    let dead_letters = match topic::status(admin, &dead_letter_topic(group)).await {
        Err(Error::NotThere { .. }) => 0,
        status => status?.messages(),
    };
    Ok(GroupDeletion { group: affected(admin, group, None).await?, dead_letters })
}

/// Who is online in a group, and how much it has to do.
pub async fn affected(admin: &Admin, group: &str, topic: Option<&str>) -> Result<Affected, Error> {
    let members = match connection::members(admin, group).await {
        Err(error) if error.kind() == crate::ErrorKind::NotThere => Vec::new(),
        members => members?,
    };
    let lag = match consumer::progress(admin, group, topic, false).await {
        Ok(progress) => progress.lag,
        Err(error) if error.code().is_some() || error.kind() == crate::ErrorKind::NotThere => 0,
        Err(error) => return Err(error),
    };
    Ok(Affected { group: group.to_owned(), members: members.into_iter().map(|it| it.client_id).collect(), lag })
}
