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
pub mod auth;
pub mod broker;
pub mod cluster;
pub mod config;
pub mod connection;
pub mod consumer;
pub mod dead_letters;
pub mod doctor;
pub mod export;
pub mod filter;
pub mod impact;
pub mod logging;
pub mod message;
pub mod namesrv;
pub mod offset;
pub mod order;
pub mod queue;
pub mod send;
pub mod stats;
pub mod timer;
pub mod topic;
pub mod transaction;

use bytes::Bytes;
use client::routes::Routes;
use protocol::request::Request;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// So long a server may take to answer, if nothing else is said (`timeoutMillis` of `DefaultMQAdminExt`).
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
    /// Nobody knows the thing that was named.
    #[error("no {kind} `{name}`{}", .nearest.as_ref().map(|it| format!("; did you mean `{it}`?")).unwrap_or_default())]
    NotThere {
        /// What it would be: topic, group, broker, message.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What was most likely meant.
        nearest: Option<String>,
    },
    /// What was asked for can't be.
    #[error("{0}")]
    Input(String),
    /// Some of it was done.
    #[error("done on {done}, and not on {failed}: {first}")]
    Partly {
        /// On how many servers it was done.
        done: usize,
        /// On how many it was not.
        failed: usize,
        /// Why not, on the first of these.
        first: Box<Error>,
    },
    /// A file can't be written.
    #[error("{} cannot be written: {error}", .path.display())]
    Write {
        /// The file.
        path: std::path::PathBuf,
        /// What the operating system said.
        error: std::io::Error,
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
            Error::Partly { first, .. } => first.code(),
            _ => None,
        }
    }

    /// What kind of trouble it is, for whoever decides what to do next.
    pub fn kind(&self) -> ErrorKind {
        use client::Error as Client;
        use protocol::code::response;
        match self {
            Error::Client(Client::NoNameServer { .. } | Client::Request(_)) => match self.code() {
                None => ErrorKind::NotReached,
                Some(
                    response::TOPIC_NOT_EXIST
                    | response::QUERY_NOT_FOUND
                    | response::SUBSCRIPTION_GROUP_NOT_EXIST
                    | response::CONSUMER_NOT_ONLINE,
                ) => ErrorKind::NotThere,
                Some(_) => ErrorKind::Refused,
            },
            Error::Client(Client::NoRoute { .. }) | Error::NoCluster { .. } | Error::NotThere { .. } => {
                ErrorKind::NotThere
            }
            Error::Partly { .. } => ErrorKind::Partly,
            Error::Input(_) | Error::File { .. } | Error::Write { .. } | Error::Client(_) => ErrorKind::Refused,
        }
    }
}

/// What kind of trouble an [`Error`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// It was refused, and will be again.
    Refused,
    /// No answer: trying again may help. Whether a change was made is not known.
    NotReached,
    /// What was named is not there.
    NotThere,
    /// It was done on some servers.
    Partly,
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
    timeout: Duration,
}

impl Admin {
    /// Asks these name servers, `host:port`, several of them separated by `;`, and the brokers that they know.
    pub fn new(namesrv: &str) -> Admin {
        Admin::by(remoting::Client::default(), namesrv)
    }

    /// The same, where `remoting` says how to connect: encrypted, say.
    pub fn by(remoting: remoting::Client, namesrv: &str) -> Admin {
        Admin { routes: Routes::new(remoting.clone(), namesrv), remoting, timeout: REQUEST_TIMEOUT }
    }

    /// The same, where servers may take so long to answer.
    #[doc(alias = "timeoutMillis")]
    pub fn with_timeout(self, timeout: Duration) -> Admin {
        Admin { timeout, ..self }
    }

    /// Asks the server at `address`.
    pub async fn ask<R: Request>(&self, address: &str, request: &R, body: Bytes) -> Result<(R::Reply, Bytes), Error> {
        Ok(self.remoting.ask_with_body(address, request, body, self.timeout).await?)
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

    /// Sends to the server at `address` what `request` says, and takes each of `codes` for an answer.
    async fn ask_any<R: Request>(
        &self,
        address: &str,
        request: &R,
        body: Bytes,
        codes: &[i32],
    ) -> Result<remoting::client::Answered<R::Reply>, Error> {
        Ok(self.remoting.ask_any(address, request, body, codes, self.timeout).await?)
    }

    /// The name servers that were named.
    pub fn name_servers(&self) -> &[String] {
        self.routes.name_servers()
    }

    /// Tells every name server: they do not talk to each other.
    pub async fn tell_name_servers(&self, request: &impl Request) -> Result<(), Error> {
        for address in self.routes.name_servers() {
            self.ask(address, request, Bytes::new()).await?;
        }
        Ok(())
    }
}

/// `name` as nobody knows it, and which of `known` was most likely meant.
fn not_there<'a>(kind: &'static str, name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let nearest = protocol::nearest::nearest(name, known).map(str::to_owned);
    Error::NotThere { kind, name: name.to_owned(), nearest }
}

/// Milliseconds since 1970, by this machine's clock.
fn now_millis() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

/// Reads the JSON body that `address` answered.
fn read<T: DeserializeOwned>(address: &str, body: &[u8]) -> Result<T, Error> {
    protocol::json::read(body)
        .map_err(|error| client::Error::Answer { address: address.to_owned(), reason: error.to_string() }.into())
}
