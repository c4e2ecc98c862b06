//! Messages that wait for their time are recalled, listed, cancelled and fired.

use super::admin::blocking;
use super::send_message::await_disk;
use super::{not_stored, short};
use crate::Broker;
use crate::timer::NotPending;
use protocol::code::response;
use protocol::json;
use protocol::request::Empty;
use protocol::request::timer::{CancelTimer, FireTimer, ListTimers, RecallHandle, RecallMessage, RecallMessageReply};
use protocol::topic::PERM_WRITE;
use remoting::{Answer, Call, Reject};
use std::sync::Arc;

fn illegal(remark: impl Into<String>) -> Reject {
    Reject::new(response::ILLEGAL_OPERATION, remark.into())
}

fn read_handle(text: &str) -> Result<RecallHandle, Reject> {
    RecallHandle::decode(text).ok_or_else(|| illegal("recall handle is invalid"))
}

/// RECALL_MESSAGE (370).
#[doc(alias = "RecallMessageProcessor")]
pub(super) async fn recall(
    broker: Arc<Broker>,
    call: Call<RecallMessage>,
) -> Result<Answer<RecallMessageReply>, Reject> {
    let (request, config) = (&call.request, &broker.config);
    if !config.recall {
        let remark = "recall failed, operation is forbidden (recallMessageEnable)";
        return Err(Reject::new(response::NO_PERMISSION, remark));
    }
    if config.permission & PERM_WRITE == 0 {
        let remark = "recall failed, broker service not available: it may not be written to (brokerPermission)";
        return Err(Reject::new(response::SERVICE_NOT_AVAILABLE, remark));
    }
    if broker.topics.queues(&request.topic).is_none() {
        let remark = format!("recall failed, the topic[{}] not exist", short(&request.topic));
        return Err(Reject::new(response::TOPIC_NOT_EXIST, remark));
    }
    let handle = read_handle(&request.recall_handle)?;
    if handle.topic != request.topic {
        return Err(illegal("recall failed, topic not match"));
    }
    if handle.broker_name != config.name {
        return Err(illegal(format!(
            "recall failed, broker service not available: the message is not on {}",
            config.name
        )));
    }
    let left = handle.timestamp.saturating_sub(config.clock.now_millis());
    if left <= 0 || left >= config.timer_max_delay.as_millis() as i64 {
        return Err(illegal(
            "recall failed, timestamp invalid: the message has been delivered, or could not wait so long",
        ));
    }
    if !config.timer_wheel {
        return Err(Reject::system_error("recall failed, execute error: timerWheelEnable is false"));
    }
    let hosts = (call.peer.address(), broker.store_host(&call.peer));
    let stored = broker.recall(&handle, request.producer_group.as_deref(), hosts).map_err(not_stored)?;
    let reply = RecallMessageReply { msg_id: handle.unique_key };
    await_disk(&broker, stored.end, reply).await
}

/// LIST_TIMERS (90010).
pub(super) async fn list(broker: Arc<Broker>, call: Call<ListTimers>) -> Result<Answer<Empty>, Reject> {
    /// Each of them is read from the log.
    const MAX: usize = 1000;
    let max = usize::try_from(call.request.max).unwrap_or(0).clamp(1, MAX);
    let list = blocking(move || broker.pending_timers(call.request.from.as_deref(), max)).await?;
    let list = list.map_err(Reject::system_error)?;
    Ok(Answer::new(Empty {}).with_body(json::write(&list)))
}

/// CANCEL_TIMER (90011).
pub(super) async fn cancel(broker: Arc<Broker>, call: Call<CancelTimer>) -> Result<Answer<Empty>, Reject> {
    let handle = read_handle(&call.request.recall_handle)?;
    let (deciding, named) = (broker.clone(), handle.clone());
    let end = blocking(move || deciding.cancel_timer(&named)).await?.map_err(not_pending)?;
    tracing::info!(topic = handle.topic, key = handle.unique_key, by = ?call.peer, "a timed message is cancelled by an operator");
    await_disk(&broker, end, Empty {}).await
}

/// FIRE_TIMER (90012).
pub(super) async fn fire(broker: Arc<Broker>, call: Call<FireTimer>) -> Result<Answer<Empty>, Reject> {
    let handle = read_handle(&call.request.recall_handle)?;
    let (deciding, named) = (broker.clone(), handle.clone());
    let end = blocking(move || deciding.fire_timer(&named)).await?.map_err(not_pending)?;
    tracing::info!(topic = handle.topic, key = handle.unique_key, by = ?call.peer, "a timed message is delivered before its time by an operator");
    await_disk(&broker, end, Empty {}).await
}

fn not_pending(error: NotPending) -> Reject {
    match error {
        NotPending::Put(error) => not_stored(error),
        NotPending::NotWritten(_) => Reject::new(response::SERVICE_NOT_AVAILABLE, error.to_string()),
        NotPending::Gone | NotPending::Recalled | NotPending::Off => illegal(error.to_string()),
    }
}
