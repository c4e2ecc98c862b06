//! Producers, consumers and routes for any RocketMQ cluster, CometMQ's and Apache's alike.
//!
//! ```no_run
//! # async fn example() -> Result<(), client::Error> {
//! use client::{Client, Message};
//!
//! let mq = Client::connect("127.0.0.1:9876").await?;
//!
//! let sent = mq.producer("orders").send(Message::new("order 1").key("1").tag("paid")).await?;
//! println!("{} lies in {} at {}", sent.message_id, sent.queue, sent.queue_offset);
//!
//! let mut orders = mq.consumer("billing").subscribe("orders", "paid || refunded").start().await?;
//! while let Some(delivery) = orders.next().await {
//!     println!("{}", String::from_utf8_lossy(&delivery.body));
//!     delivery.ack();
//! }
//! # Ok(())
//! # }
//! ```
//!
//! It lives in the tokio runtime of its caller, opens no file, reads no environment, and says what it does in
//! `tracing` events only.

pub mod consumer;
mod error;
pub mod message;
mod offsets;
mod process_queue;
pub mod producer;
pub mod rebalance;
pub mod routes;
mod unique_key;

pub use consumer::{Consumer, ConsumerBuilder, MessageModel, StartFrom};
pub use error::Error;
pub use message::{Delivery, Message, MessageQueue, ReceivedMessage};
pub use producer::{Producer, SendStatus, Sent};
pub use remoting::Credentials;

use routes::Routes;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use unique_key::UniqueKeys;

/// How long a name server or broker may take to answer (Java's `mqClientApiTimeout`).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// A RocketMQ cluster, reached by its name servers. Cheap to clone.
#[doc(alias = "MQClientInstance")]
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    remoting: remoting::Client,
    routes: Routes,
    /// Our address as name servers see it, for ids.
    ip: IpAddr,
    unique_keys: UniqueKeys,
}

impl Client {
    /// Reaches for the first of `namesrv` that answers: `host:port`, several of them separated by `;`.
    pub async fn connect(namesrv: &str) -> Result<Client, Error> {
        Client::connect_by(remoting::Client::default(), namesrv).await
    }

    /// The same, where `remoting` says how to connect: encrypted, say.
    pub async fn connect_by(remoting: remoting::Client, namesrv: &str) -> Result<Client, Error> {
        let routes = Routes::new(remoting.clone(), namesrv);
        routes.find_name_server().await?;
        let ip = local_ip(namesrv);
        let unique_keys = UniqueKeys::new(ip, std::process::id(), now_millis());
        Ok(Client { shared: Arc::new(Shared { remoting, routes, ip, unique_keys }) })
    }

    /// Sends to `topic`.
    pub fn producer(&self, topic: impl Into<String>) -> Producer {
        Producer::new(self.shared.clone(), topic.into())
    }

    /// Receives as a member of `group`.
    pub fn consumer(&self, group: impl Into<String>) -> ConsumerBuilder {
        ConsumerBuilder::new(self.shared.clone(), group.into())
    }

    /// Where topics are.
    pub fn routes(&self) -> &Routes {
        &self.shared.routes
    }
}

/// Which of our addresses faces the name server. No packet is sent for it.
fn local_ip(namesrv: &str) -> IpAddr {
    let first = namesrv.split(';').next().unwrap_or_default().trim();
    let facing = |bind: &str| {
        let socket = std::net::UdpSocket::bind(bind)?;
        socket.connect(first)?;
        socket.local_addr()
    };
    facing("0.0.0.0:0").or_else(|_| facing("[::]:0")).map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip())
}

fn now_millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
