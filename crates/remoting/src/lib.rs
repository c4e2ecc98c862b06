//! RocketMQ's frames over TCP: one server, one client.
//!
//! Nothing here knows what a request means. [`router`] maps codes to handlers, [`server`] runs them where their
//! connection lives, [`client`] asks others.

mod budget;
pub mod client;
mod connection;
pub mod entrance;
pub mod limits;
pub mod measure;
mod outgoing;
pub mod peer;
pub mod proxy;
pub mod reply;
pub mod router;
pub mod server;
pub mod signature;
mod stream;
pub mod tls;

pub use client::Client;
pub use entrance::{Entrance, EntranceSettings, Proxies};
pub use limits::{ClientLimits, Rates};
pub use peer::{AskError, Peer};
pub use reply::{Answer, Body, Reject};
pub use router::{Call, Router};
pub use server::{Limits, Server};
pub use signature::Credentials;
pub use stream::{Sink, Source, Stream};
