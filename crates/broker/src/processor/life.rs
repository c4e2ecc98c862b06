//! What became of a message, and what came or went more than once.

use crate::Broker;
use crate::life::{LifeError, Sought};
use protocol::code::response;
use protocol::duplicates::Duplicates;
use protocol::request::Empty;
use protocol::request::duplicates::GetDuplicates;
use protocol::request::life::QueryMessageLife;
use remoting::{Answer, Call, Reject};
use std::io;
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// MESSAGE_LIFE (90030).
pub(super) async fn message_life(broker: Arc<Broker>, call: Call<QueryMessageLife>) -> Result<Answer<Empty>, Reject> {
    let QueryMessageLife { topic, message_id, key, max_num } = call.request;
    let sought = match (topic, message_id, key) {
        (topic, Some(id), _) => Sought::Id { topic, id },
        (Some(topic), None, Some(key)) => Sought::Key { topic, key },
        _ => {
            let remark = "say which message: header field `msgId`, or `topic` and `key`";
            return Err(Reject::new(response::INVALID_PARAMETER, remark));
        }
    };
    let max = max_num.and_then(|max| usize::try_from(max).ok()).unwrap_or(usize::MAX);
    let lives = spawn_blocking(move || broker.message_lives(&sought, max)).await;
    let lives = lives.map_err(io::Error::other).map_err(LifeError::Io).flatten().map_err(|error| match error {
        LifeError::NotFound { .. } => Reject::new(response::QUERY_NOT_FOUND, error.to_string()),
        LifeError::NeedsTopic(_) => Reject::new(response::INVALID_PARAMETER, error.to_string()),
        LifeError::Io(_) => Reject::system_error(error.to_string()),
    })?;
    Ok(Answer::new(Empty {}).with_body(protocol::json::write(&lives)))
}

/// GET_DUPLICATES (90050).
pub(super) async fn duplicates(broker: Arc<Broker>, call: Call<GetDuplicates>) -> Result<Answer<Empty>, Reject> {
    let GetDuplicates { topic, group } = call.request;
    let counted = spawn_blocking(move || {
        broker.keep_events();
        let mut counted = Duplicates { topics: broker.dedup.topics(), groups: broker.life.redeliveries() };
        counted.topics.retain(|it| topic.as_ref().is_none_or(|topic| it.topic == *topic));
        counted.groups.retain(|it| group.as_ref().is_none_or(|group| it.group == *group));
        counted
    });
    let counted = counted.await.map_err(|error| Reject::system_error(error.to_string()))?;
    Ok(Answer::new(Empty {}).with_body(protocol::json::write(&counted)))
}
