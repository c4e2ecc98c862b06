//! Replies to messages whose senders wait for one.
//!
//! 1. may it be kept? Who would refuse it later would refuse what has arrived
//! 2. push it to the sender, which is known by its client id, and await that it took it
//! 3. keep it in the topic of replies              (`storeReplyMessageEnable`)
//! 4. tell who replied whether it arrived: also if it could not be kept then

use super::send_message::{acknowledge, admit, check_size, put};
use super::short;
use crate::Broker;
use protocol::code::response;
use protocol::message::{Properties, edit_properties, property};
use protocol::request::Request;
use protocol::request::send::{PushReply, SendMessage, SendMessageReply, SendReply};
use remoting::{Answer, Call, Reject};
use std::sync::Arc;
use std::time::Duration;

/// How long the sender may take to say that it has the reply.
const PUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// SEND_REPLY_MESSAGE_V2 (325) and SEND_REPLY_MESSAGE (324).
#[doc(alias = "ReplyMessageProcessor")]
pub(super) async fn send_reply(broker: Arc<Broker>, call: Call<SendReply>) -> Result<Answer<SendMessageReply>, Reject> {
    let Call { request: SendReply(request), body, peer, code, version, language } = call;
    let call = Call { request, body, peer, code, version, language };
    if call.request.batch {
        let remark =
            format!("a batch for topic[{}] can't be a reply; send replies one by one", short(&call.request.topic));
        return Err(Reject::new(response::MESSAGE_ILLEGAL, remark));
    }
    let admitted = if broker.config.store_reply { Some(admit(&broker, &call)?) } else { None };
    let pushed = push(&broker, &call).await;
    let stored = admitted.map(|admitted| check_size(&broker, &call).and_then(|()| put(&broker, &call, admitted)));
    pushed?;
    let acknowledged = match stored {
        Some(Ok(taken)) => acknowledge(&broker, taken).await,
        Some(Err(refused)) => Err(refused),
        None => return Ok(not_kept(&broker, &call)),
    };
    acknowledged.or_else(|refused| {
        let topic = &call.request.topic;
        tracing::error!(topic, from = ?call.peer, why = refused.remark, "a reply arrived, but could not be kept");
        Ok(not_kept(&broker, &call))
    })
}

/// It arrived. Clients read the fields of a message that was stored.
fn not_kept(broker: &Broker, call: &Call<SendMessage>) -> Answer<SendMessageReply> {
    let reply = SendMessageReply {
        msg_id: "0".into(),
        queue_id: call.request.queue_id.max(0),
        region: Some(broker.region.clone()),
        trace_on: Some(broker.config.trace_on),
        ..SendMessageReply::default()
    };
    reply.into()
}

/// Hands the reply to who waits for it.
#[doc(alias = "pushReplyMessage")]
async fn push(broker: &Broker, call: &Call<SendMessage>) -> Result<(), Reject> {
    let request = &call.request;
    let properties = request.properties.as_deref().unwrap_or("");
    let failed = |why: String| Err(Reject::system_error(format!("push reply message fail, {why}")));
    let Some(client) = Properties(properties.as_bytes()).get(property::REPLY_TO_CLIENT) else {
        return failed(format!(
            "the reply for topic[{}] does not say to whom: property {} is missing; make it with MessageUtil.createReplyMessage",
            short(&request.topic),
            property::REPLY_TO_CLIENT
        ));
    };
    let peer = broker.producers.lock().find(client);
    let Some(peer) = peer else {
        return failed(format!(
            "channel of <{}> not found. Who sent the request has left, or is not connected to this broker, {}",
            short(client),
            broker.config.name
        ));
    };
    let now = crate::now_millis();
    let pushed_at = now.to_string();
    let properties = edit_properties(properties.as_bytes(), &[(property::PUSH_REPLY_TIME, Some(&pushed_at))]);
    let push = PushReply {
        producer_group: request.producer_group.clone(),
        topic: request.topic.clone(),
        default_topic: request.default_topic.clone(),
        default_topic_queue_nums: request.default_topic_queue_nums,
        queue_id: request.queue_id.max(0),
        sys_flag: request.sys_flag,
        born_timestamp: request.born_timestamp,
        flag: request.flag,
        properties: Some(String::from_utf8_lossy(&properties).into_owned()),
        reconsume_times: request.reconsume_times,
        unit_mode: request.unit_mode,
        born_host: call.peer.address().to_string(),
        store_host: broker.store_host(&call.peer).to_string(),
        store_timestamp: now,
    };
    let mut command = push.write();
    command.body = call.body.clone();
    match peer.ask(command, PUSH_TIMEOUT).await {
        Ok(answer) if answer.code == response::SUCCESS => Ok(()),
        Ok(answer) => failed(format!(
            "<{}> at {} did not take it: code {} {}",
            short(client),
            peer.address(),
            answer.code,
            short(answer.remark.as_deref().unwrap_or(""))
        )),
        Err(error) => failed(format!("<{}> at {} did not take it: {error}", short(client), peer.address())),
    }
}
