//! Filter programs, which groups put on topics.

use super::{no_such_topic, short};
use crate::Broker;
use crate::program::PutError;
use protocol::code::response;
use protocol::json;
use protocol::request::Empty;
use protocol::request::filter::{
    FilterProgramList, ListFilterPrograms, PutFilterProgram, RegisterFilterClass, RegisterFilterServer,
    RemoveFilterProgram,
};
use protocol::topic::{RETRY_PREFIX, check_group_name, is_system_topic};
use remoting::{Answer, Call, Reject};
use std::sync::Arc;
use tokio::task::{JoinError, spawn_blocking};

/// PUT_FILTER_PROGRAM (90020).
pub(super) async fn put(broker: Arc<Broker>, call: Call<PutFilterProgram>) -> Result<Answer<Empty>, Reject> {
    let PutFilterProgram { consumer_group: group, topic } = call.request;
    let invalid = |remark: String| Reject::new(response::INVALID_PARAMETER, remark);
    check_group_name(&group).map_err(|bad| invalid(bad.to_string()))?;
    if topic.starts_with(RETRY_PREFIX) || is_system_topic(&topic) || broker.is_own_topic(&topic) {
        return Err(invalid(format!(
            "topic[{}] takes no filter program: what comes again was wanted once, and the system's own topics are nobody's \
             to filter",
            short(&topic)
        )));
    }
    broker.topics.queues(&topic).ok_or_else(|| no_such_topic(&topic))?;
    broker.group(&group, &call.peer)?;
    tracing::info!(group, topic, bytes = call.body.len(), by = ?call.peer, "filter program to be put");
    let (name, of) = (group.clone(), topic.clone());
    let program = done(spawn_blocking(move || broker.programs.put(&name, &of, &call.body)).await)
        .map_err(|reject| Reject { remark: not_put(&group, &topic, &reject.remark), ..reject })?;
    Ok(Answer::new(Empty {}).with_body(json::write(&program)))
}

fn not_put(group: &str, topic: &str, why: &str) -> String {
    format!("the filter program of group[{group}] for topic[{topic}] is as it was: {why}")
}

/// REMOVE_FILTER_PROGRAM (90021).
pub(super) async fn remove(broker: Arc<Broker>, call: Call<RemoveFilterProgram>) -> Result<Answer<Empty>, Reject> {
    let RemoveFilterProgram { consumer_group: group, topic } = call.request;
    tracing::info!(group = short(&group), topic = short(&topic), by = ?call.peer, "filter program to be removed");
    let (name, of) = (group.clone(), topic.clone());
    match done(spawn_blocking(move || broker.programs.remove(&name, &of)).await)? {
        true => Ok(Empty {}.into()),
        false => Err(Reject::new(
            response::INVALID_PARAMETER,
            format!("group[{}] has no filter program for topic[{}] on this broker", short(&group), short(&topic)),
        )),
    }
}

/// LIST_FILTER_PROGRAMS (90022).
pub(super) async fn list(broker: Arc<Broker>, call: Call<ListFilterPrograms>) -> Result<Answer<Empty>, Reject> {
    let request = call.request;
    let programs = broker.programs.list(request.consumer_group.as_deref(), request.topic.as_deref());
    Ok(Answer::new(Empty {}).with_body(json::write(&FilterProgramList { programs })))
}

/// REGISTER_FILTER_SERVER (301).
pub(super) async fn filter_server(_: Arc<Broker>, _: Call<RegisterFilterServer>) -> Result<Answer<Empty>, Reject> {
    Err(Reject::not_supported(format!("no filter server can register here: {INSTEAD}")))
}

/// REGISTER_MESSAGE_FILTER_CLASS (302).
pub(super) async fn filter_class(_: Arc<Broker>, call: Call<RegisterFilterClass>) -> Result<Answer<Empty>, Reject> {
    let class = call.request.class_name.unwrap_or_default();
    Err(Reject::not_supported(format!("the class `{}` cannot filter messages here: {INSTEAD}", short(&class))))
}

/// What there is instead of Java classes.
pub(crate) const INSTEAD: &str = "Java classes are not run in the server. Put a WebAssembly module for the group and the \
    topic (`cometmq admin filter put`, docs/filter-programs.md) and subscribe by tags, or subscribe by SQL92";

fn done<T>(done: Result<Result<T, PutError>, JoinError>) -> Result<T, Reject> {
    match done {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error @ PutError::Bad(_))) => Err(Reject::new(response::INVALID_PARAMETER, error.to_string())),
        Ok(Err(error)) => Err(Reject::system_error(error.to_string())),
        Err(error) => Err(Reject::system_error(error.to_string())),
    }
}
