//! Everything an operator can ask of a RocketMQ cluster, or change in it: CometMQ's and Apache's alike.
//!
//! One file per folder of `mqadmin`, one function per thing. Nothing here prints; a command line, a web page or a test
//! calls it.
//!
//! ```no_run
//! # async fn example() -> Result<(), admin::Error> {
//! let admin = admin::Admin::new("127.0.0.1:9876");
//! for broker in admin::cluster::list(&admin).await?.broker_addr_table.into_values() {
//!     println!("{} {:?}", broker.broker_name, broker.broker_addrs);
//! }
//! # Ok(())
//! # }
//! ```

pub mod audit;
pub mod cluster;
pub mod consumer;
pub mod filter;
pub mod logging;
pub mod message;
pub mod order;
pub mod timer;
pub mod topic;
pub mod transaction;

use bytes::Bytes;
use client::routes::Routes;
use protocol::request::Request;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// So long a server may take to answer (`timeoutMillis` of `DefaultMQAdminExt`).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Why something was not done, or could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A server refused, did not answer, or answered what can't be read.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The name servers know no such cluster.
    #[error("no cluster `{name}`; there is {known}")]
    NoCluster {
        /// Which one was named.
        name: String,
        /// Those that are known.
        known: String,
    },
    /// A file that was named can't be read.
    #[error("{} cannot be read: {error}", .path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What the operating system said.
        error: std::io::Error,
    },
}

impl Error {
    /// The response code, when a server refused.
    pub fn code(&self) -> Option<i32> {
        match self {
            Error::Client(error) => error.code(),
            Error::NoCluster { .. } | Error::File { .. } => None,
        }
    }
}

impl From<remoting::client::RequestError> for Error {
    fn from(error: remoting::client::RequestError) -> Error {
        Error::Client(error.into())
    }
}

/// A cluster, seen by who runs it. Nothing is connected before something is asked.
#[doc(alias = "DefaultMQAdminExt")]
pub struct Admin {
    remoting: remoting::Client,
    routes: Routes,
}

impl Admin {
    /// Asks these name servers, `host:port`, several of them separated by `;`, and the brokers that they know.
    pub fn new(namesrv: &str) -> Admin {
        Admin::by(remoting::Client::default(), namesrv)
    }

    /// The same, where `remoting` says how to connect: encrypted, say.
    pub fn by(remoting: remoting::Client, namesrv: &str) -> Admin {
        Admin { routes: Routes::new(remoting.clone(), namesrv), remoting }
    }

    /// Asks the server at `address`.
    pub async fn ask<R: Request>(&self, address: &str, request: &R, body: Bytes) -> Result<(R::Reply, Bytes), Error> {
        Ok(self.remoting.ask_with_body(address, request, body, REQUEST_TIMEOUT).await?)
    }

    /// Asks the server at `address`, which answers with a JSON body.
    pub async fn ask_for<T: DeserializeOwned>(&self, address: &str, request: &impl Request) -> Result<T, Error> {
        let (_, body) = self.ask(address, request, Bytes::new()).await?;
        read(address, &body)
    }

    /// Asks one name server after the other until one answers, with a JSON body.
    pub async fn ask_name_server_for<T: DeserializeOwned>(&self, request: &impl Request) -> Result<T, Error> {
        let (address, _, body) = self.routes.ask_name_server(request, Bytes::new()).await?;
        read(&address, &body)
    }

    /// The name servers' addresses.
    pub fn name_servers(&self) -> Vec<String> {
        self.routes.name_servers().to_vec()
    }

    /// Tells every name server: they do not talk to each other.
    pub async fn tell_name_servers(&self, request: &impl Request) -> Result<(), Error> {
        for address in self.routes.name_servers() {
            self.ask(address, request, Bytes::new()).await?;
        }
        Ok(())
    }
}

/// Reads the JSON body that `address` answered.
fn read<T: DeserializeOwned>(address: &str, body: &[u8]) -> Result<T, Error> {
    protocol::json::read(body)
        .map_err(|error| client::Error::Answer { address: address.to_owned(), reason: error.to_string() }.into())
}
