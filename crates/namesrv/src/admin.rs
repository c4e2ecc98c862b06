//! What operators ask of a name server: lists, permissions, its settings.

use crate::Namesrv;
use crate::config::UpdateError;
use protocol::code::response;
use protocol::properties::{self, Property};
use protocol::request::Empty;
use protocol::request::admin::{
    AddWritePerm, AddWritePermReply, GetNamesrvConfig, UpdateNamesrvConfig, WipeWritePerm, WipeWritePermReply,
};
use remoting::{Answer, Call, Reject};
use std::sync::Arc;

/// WIPE_WRITE_PERM_OF_BROKER (205): producers go elsewhere.
pub async fn wipe_write_perm(
    namesrv: Arc<Namesrv>,
    call: Call<WipeWritePerm>,
) -> Result<Answer<WipeWritePermReply>, Reject> {
    let broker = &call.request.broker_name;
    let topics = namesrv.routes.write().set_writable(broker, false);
    tracing::info!(broker, topics, by = ?call.peer, "the permission to write is taken");
    Ok(WipeWritePermReply { wipe_topic_count: topics as i32 }.into())
}

/// ADD_WRITE_PERM_OF_BROKER (327).
pub async fn add_write_perm(
    namesrv: Arc<Namesrv>,
    call: Call<AddWritePerm>,
) -> Result<Answer<AddWritePermReply>, Reject> {
    let broker = &call.request.broker_name;
    let topics = namesrv.routes.write().set_writable(broker, true);
    tracing::info!(broker, topics, by = ?call.peer, "the permission to write is given back");
    Ok(AddWritePermReply { add_topic_count: topics as i32 }.into())
}

/// GET_NAMESRV_CONFIG (319).
pub async fn get_config(namesrv: Arc<Namesrv>, _: Call<GetNamesrvConfig>) -> Result<Answer<Empty>, Reject> {
    let text = properties::write(namesrv.config.read().values());
    Ok(Answer::new(Empty {}).with_body(text.into_bytes()))
}

impl Namesrv {
    /// Changes settings, in the file first: who asks for routes goes on by the old ones meanwhile, and waits for no disk.
    fn update(&self, changes: &[Property]) -> Result<(), UpdateError> {
        let _one_by_one = self.changing.lock();
        let now = self.config.read().clone();
        let updated = now.updated(changes)?;
        if let Some(logs) = self.logs.get() {
            logs(&updated.log.level);
        }
        self.entrance.limiter.set(updated.entrance.limits);
        *self.config.write() = updated;
        Ok(())
    }
}

/// UPDATE_NAMESRV_CONFIG (318).
pub async fn update_config(namesrv: Arc<Namesrv>, call: Call<UpdateNamesrvConfig>) -> Result<Answer<Empty>, Reject> {
    let text = std::str::from_utf8(&call.body)
        .map_err(|error| Reject::system_error(format!("the settings are no text in UTF-8: {error}")))?;
    let changes = properties::read(text);
    // What has begun ends, also when its client is gone before.
    let updating = tokio::task::spawn_blocking(move || namesrv.update(&changes).map(|()| changes));
    let updated = updating.await.map_err(|error| Reject::system_error(format!("the work broke off: {error}")))?;
    let changes = updated.map_err(|error| {
        let code = match error {
            UpdateError::BlackListed(_) => response::NO_PERMISSION,
            UpdateError::File { .. } => response::SYSTEM_ERROR,
            _ => response::INVALID_PARAMETER,
        };
        Reject::new(code, error.to_string())
    })?;
    for change in changes {
        let value = if protocol::audit::is_secret(&change.key) { protocol::audit::SECRET } else { &change.value };
        tracing::info!(key = change.key, value, by = ?call.peer, "setting changed");
    }
    Ok(Empty {}.into())
}
