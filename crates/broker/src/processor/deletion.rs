//! Topics and groups that administrators delete.

use super::short;
use super::topic::REGISTRATION_TIMEOUT;
use crate::Broker;
use protocol::code::response;
use protocol::request::Empty;
use protocol::request::topic::{DeleteGroup, DeleteTopic};
use protocol::topic::is_system_topic;
use remoting::{Answer, Call, Reject};
use std::io;
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// DELETE_TOPIC_IN_BROKER (215).
pub(super) async fn delete_topic(broker: Arc<Broker>, call: Call<DeleteTopic>) -> Result<Answer<Empty>, Reject> {
    let topic = call.request.topic;
    let invalid = |remark: String| Err(Reject::new(response::INVALID_PARAMETER, remark));
    if topic.trim().is_empty() {
        return invalid("The specified topic is blank.".into());
    }
    if is_system_topic(&topic) || broker.is_own_topic(&topic) {
        return invalid(format!("The topic[{}] is conflict with system topic.", short(&topic)));
    }
    tracing::info!(topic = short(&topic), by = ?call.peer, "to be deleted");
    let (deleting, name) = (broker.clone(), topic.clone());
    let counter = done(spawn_blocking(move || deleting.delete_topic(&name)).await, "topic", &topic)?;
    if !broker.config.namesrv_addr.is_empty() {
        let _ = tokio::time::timeout(REGISTRATION_TIMEOUT, broker.topics.registered(counter)).await;
    }
    Ok(Empty {}.into())
}

/// DELETE_SUBSCRIPTIONGROUP (207).
pub(super) async fn delete_group(broker: Arc<Broker>, call: Call<DeleteGroup>) -> Result<Answer<Empty>, Reject> {
    let group = call.request.group_name;
    let clean_offset = call.request.clean_offset.unwrap_or(false);
    tracing::info!(group = short(&group), clean_offset, by = ?call.peer, "to be deleted");
    let name = group.clone();
    done(spawn_blocking(move || broker.delete_group(&name, clean_offset)).await, "group", &group)?;
    Ok(Empty {}.into())
}

fn done<T>(done: Result<io::Result<T>, tokio::task::JoinError>, what: &str, name: &str) -> Result<T, Reject> {
    done.map_err(io::Error::other).flatten().map_err(|error| {
        tracing::error!(name = short(name), %error, "{what} is not deleted");
        Reject::system_error(format!(
            "{what}[{}] is not deleted, or not wholly: {error}; delete it again when that is put right",
            short(name)
        ))
    })
}
