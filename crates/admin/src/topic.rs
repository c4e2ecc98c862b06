//! Topics: which there are, where they are; making and deleting them.

use crate::{Admin, Error, cluster};
use bytes::Bytes;
use protocol::request::route::{GetRoute, GetTopicList};
use protocol::request::topic::{CreateTopic, DeleteTopic, ForgetTopic};
use protocol::route::{TopicList, TopicRoute};

/// All topics that the name servers know (`topicList`).
pub async fn list(admin: &Admin) -> Result<Vec<String>, Error> {
    Ok(admin.ask_name_server_for::<TopicList>(&GetTopicList {}).await?.topic_list)
}

/// Where a topic is (`topicRoute`).
pub async fn route(admin: &Admin, topic: &str) -> Result<TopicRoute, Error> {
    let request = GetRoute { topic: topic.to_owned(), accept_standard_json_only: Some(true), ..GetRoute::default() };
    admin.ask_name_server_for(&request).await
}

/// Makes a topic on a broker, or changes it (`updateTopic`).
pub async fn update(admin: &Admin, broker: &str, topic: &CreateTopic) -> Result<(), Error> {
    admin.ask(broker, topic, Bytes::new()).await.map(drop)
}

/// Deletes a topic from the masters of a cluster, with its messages, and from the name servers (`deleteTopic`).
pub async fn delete(admin: &Admin, cluster: &str, topic: &str) -> Result<(), Error> {
    let on_broker = DeleteTopic { topic: topic.to_owned() };
    for master in cluster::masters(admin, cluster).await? {
        admin.ask(&master, &on_broker, Bytes::new()).await?;
    }
    let on_name_server = ForgetTopic { topic: topic.to_owned(), cluster_name: Some(cluster.to_owned()) };
    admin.tell_name_servers(&on_name_server).await
}
