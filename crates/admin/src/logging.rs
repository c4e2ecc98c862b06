//! What servers of CometMQ write into their logs.

use crate::{Admin, Error};
use bytes::Bytes;
use protocol::properties;
use protocol::request::admin::{GetBrokerConfig, GetNamesrvConfig, UpdateBrokerConfig, UpdateNamesrvConfig};

const KEY: &str = "logLevel";

/// What kind of server is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// A broker.
    Broker,
    /// A name server.
    Namesrv,
}

/// What the server at `address` logs; `None`: it has no such setting, as Apache's.
pub async fn level(admin: &Admin, address: &str, server: Server) -> Result<Option<String>, Error> {
    let text = match server {
        Server::Broker => admin.ask(address, &GetBrokerConfig {}, Bytes::new()).await?.1,
        Server::Namesrv => admin.ask(address, &GetNamesrvConfig {}, Bytes::new()).await?.1,
    };
    let settings = properties::read(&String::from_utf8_lossy(&text));
    Ok(settings.into_iter().find(|setting| setting.key == KEY).map(|setting| setting.value))
}

/// Has it log from `level` on, from now on, also after a restart.
pub async fn set_level(admin: &Admin, address: &str, server: Server, level: &str) -> Result<(), Error> {
    let change = Bytes::from(properties::write([(KEY, level)]));
    match server {
        Server::Broker => _ = admin.ask(address, &UpdateBrokerConfig {}, change).await?,
        Server::Namesrv => _ = admin.ask(address, &UpdateNamesrvConfig {}, change).await?,
    }
    Ok(())
}
