//! What only a consumer knows: it is asked over its own connection, and its answer handed on.

use super::group::not_online;
use super::reset::VERSION_MIN;
use super::short;
use crate::Broker;
use crate::consumers::Member;
use bytes::Bytes;
use futures_util::future::join_all;
use protocol::code::response;
use protocol::command::Command;
use protocol::group::{ConsumerStatus, QueueOffsets};
use protocol::json;
use protocol::message::{CommitLogOffset, parse_offset_message_id};
use protocol::request::group::{
    AskConsumer, ConsumeDirectly, GetConsumerStatus, GetConsumerStatusFromClient, GetRunningInfo,
};
use protocol::request::{Empty, Request};
use remoting::signature::{ACCESS_KEY, SECURITY_TOKEN, SIGNATURE};
use remoting::{Answer, AskError, Body, Call, Reject};
use std::sync::Arc;
use std::time::Duration;

/// How long a consumer may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long each may take when all are asked how far they are.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

/// Older clients can't be asked (`V3_1_8_SNAPSHOT`).
const RELAY_VERSION_MIN: i32 = 62;

/// GET_CONSUMER_RUNNING_INFO (307).
pub(super) async fn running_info(broker: Arc<Broker>, call: Call<GetRunningInfo>) -> Result<Answer<Empty>, Reject> {
    let mut request = call.request.write();
    request.ext = call.request.ext.iter().filter(|(key, _)| !is_signature(key)).collect();
    ask(&broker, &call.request, Command { body: call.body, ..request }).await
}

/// CONSUME_MESSAGE_DIRECTLY (309): the member works at a message now, whatever its queue and offset.
pub(super) async fn consume_directly(
    broker: Arc<Broker>,
    call: Call<ConsumeDirectly>,
) -> Result<Answer<Empty>, Reject> {
    let asked = &call.request;
    let Some(id) = &asked.message_id else {
        return Err(Reject::system_error("which message? `msgId` is missing: it is the message's offset id"));
    };
    let (_, at) = parse_offset_message_id(id)
        .map_err(|bad| Reject::system_error(format!("msgId `{}` is no offset message id: {bad}", short(id))))?;
    let message = stored(&broker, id, at)?;
    let mut request = asked.write();
    // These are the broker's to say.
    let topic =
        asked.topic.as_deref().and_then(|topic| broker.topics.get(topic)).map(|it| it.topic_sys_flag.to_string());
    let group = broker.groups.get(&asked.consumer_group).map(|it| it.group_sys_flag.to_string());
    let ours = [("brokerName", Some(broker.config.name.clone())), ("topicSysFlag", topic), ("groupSysFlag", group)];
    let passed = asked
        .ext
        .iter()
        .filter(|(key, _)| !is_signature(key) && !ours.iter().any(|(name, value)| name == key && value.is_some()));
    let added = ours.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
    request.ext = passed.chain(added).collect();
    request.body = message;
    ask(&broker, asked, request).await
}

/// The broker answers for what it passes on; a consumer could use who asked to ask in its name.
fn is_signature(key: &str) -> bool {
    [ACCESS_KEY, SECURITY_TOKEN, SIGNATURE].contains(&key)
}

fn stored(broker: &Broker, id: &str, at: CommitLogOffset) -> Result<Bytes, Reject> {
    let missing = |why: String| Reject::system_error(format!("message {} can't be consumed again: {why}", short(id)));
    match broker.store.read(at) {
        Ok(Some(message)) => Ok(message),
        Ok(None) => {
            let name = &broker.config.name;
            Err(missing(format!("broker {name} does not hold it; it has expired, or lies on another broker")))
        }
        Err(error) => Err(missing(error.to_string())),
    }
}

/// Asks the member and hands its answer on.
#[doc(alias = "callConsumer")]
async fn ask<const CODE: i32>(
    broker: &Broker,
    asked: &AskConsumer<CODE>,
    request: Command,
) -> Result<Answer<Empty>, Reject> {
    let (group, client) = (short(&asked.consumer_group), short(&asked.client_id));
    let member =
        broker.consumers.read().get(&asked.consumer_group).and_then(|it| it.members.get(&asked.client_id).cloned());
    let Some(member) = member else {
        return Err(Reject::system_error(format!(
            "The Consumer <{group}> <{client}> not online: it is not connected to this broker"
        )));
    };
    if member.version < RELAY_VERSION_MIN {
        return Err(Reject::system_error(format!(
            "The Consumer <{client}> Version <{}> too low to finish, please upgrade it to V3_1_8_SNAPSHOT",
            member.version
        )));
    }
    match member.peer.ask(request, TIMEOUT).await {
        Ok(answer) => {
            let mut passed_on = Answer::new(Empty {}).with_body(Body::Bytes(answer.body));
            (passed_on.code, passed_on.remark) = (answer.code, answer.remark);
            Ok(passed_on)
        }
        Err(error @ AskError::Timeout(_)) => {
            Err(Reject::new(response::CONSUME_MSG_TIMEOUT, format!("consumer <{group}> <{client}> Timeout: {error}")))
        }
        Err(error) => Err(Reject::system_error(format!("invoke consumer <{group}> <{client}> Exception: {error}"))),
    }
}

/// INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223): how far members are, as they know it themselves.
pub(super) async fn status(broker: Arc<Broker>, call: Call<GetConsumerStatus>) -> Result<Answer<Empty>, Reject> {
    let GetConsumerStatus { topic, group, client } = call.request;
    let wanted = client.as_deref().filter(|client| !client.trim().is_empty());
    let members: Vec<(String, Member)> = match broker.consumers.read().get(&group) {
        Some(group) => group.members.iter().map(|(id, member)| (id.clone(), member.clone())).collect(),
        None => return Err(not_online(&group)),
    };
    let members: Vec<_> = members.into_iter().filter(|(id, _)| wanted.is_none_or(|wanted| wanted == id)).collect();
    if let Some((id, old)) = members.iter().find(|(_, member)| member.version < VERSION_MIN) {
        let remark = format!("the client does not support this feature. version={}, of {}", old.version, short(id));
        return Err(Reject::system_error(remark));
    }
    let request = GetConsumerStatusFromClient { topic, group }.write();
    let answers = join_all(members.into_iter().map(|(id, member)| {
        let request = request.clone();
        async move { (id, member.peer.ask(request, STATUS_TIMEOUT).await) }
    }));
    let mut status = ConsumerStatus::default();
    for (id, answer) in answers.await {
        // Who says nothing is left out, and told of.
        match answer.map(|answer| (answer.code, json::read::<ConsumerStatus>(&answer.body))) {
            Ok((response::SUCCESS, Ok(told))) => {
                status.consumer_table.insert(id, QueueOffsets { offsets: told.message_queue_table });
            }
            Ok((code, told)) => tracing::warn!(client = id, code, bad = ?told.err(), "does not say how far it is"),
            Err(error) => tracing::warn!(client = id, %error, "does not say how far it is"),
        }
    }
    Ok(Answer::new(Empty {}).with_body(json::write_object_keys(&status)))
}
