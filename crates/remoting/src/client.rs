//! Asking a server: one connection per address, any number of requests on it at a time.
//!
//! Requests of any task go through a channel to the connection's own task, which writes all that wait in one call and
//! pairs answers with requests by `opaque`.

use bytes::BytesMut;
use parking_lot::Mutex;
use protocol::code::{request, response};
use protocol::command::Command;
use protocol::request::{Header, Malformed, Request};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

/// How long a connection may take to come up (Java's `connectTimeoutMillis`).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The most that is gathered for one write.
const WRITE_MAX: usize = 256 * 1024;

/// Why a request has no good answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No connection.
    #[error("can't connect to {address}: {source}; does a server listen there, and can this machine reach it?")]
    Connect {
        /// Where to.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The connection broke before the answer came. Whether the request was carried out is unknown.
    #[error("the connection to {address} broke before the answer came")]
    Broken {
        /// Where to.
        address: String,
    },
    /// No answer in time. Whether the request was carried out is unknown.
    #[error("{address} did not answer {request} within {timeout:?}")]
    Timeout {
        /// Where to.
        address: String,
        /// The request's name or code.
        request: String,
        /// How long we waited.
        timeout: Duration,
    },
    /// The server refused.
    #[error("{address} refused {request}: {remark} (code {code} {name})", name = response::name(*.code).unwrap_or(""))]
    Refused {
        /// Where to.
        address: String,
        /// The request's name or code.
        request: String,
        /// Response code.
        code: i32,
        /// The server's sentence.
        remark: String,
    },
    /// The answer lacks something.
    #[error("{address} answered {request} with a header that can't be used: {source}")]
    Malformed {
        /// Where to.
        address: String,
        /// The request's name or code.
        request: String,
        /// What is wrong.
        source: Malformed,
    },
}

impl RequestError {
    /// The response code, when the server refused.
    pub fn code(&self) -> Option<i32> {
        match self {
            RequestError::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }
}

type OnRequest = Arc<dyn Fn(&str, Command) + Send + Sync>;

/// Connections to any number of servers. Cheap to clone. Lives in a tokio runtime.
#[derive(Clone)]
pub struct Client {
    connections: Arc<Mutex<HashMap<String, Connection>>>,
    opaque: Arc<AtomicI32>,
    on_request: OnRequest,
}

#[derive(Clone)]
struct Connection {
    outbox: mpsc::Sender<Outbound>,
}

struct Outbound {
    command: Command,
    /// Absent for oneway requests.
    answer: Option<oneshot::Sender<Command>>,
}

impl Default for Client {
    fn default() -> Client {
        Client::new(|_, _| {})
    }
}

impl Client {
    /// A client with no connections yet; `on_request` gets what servers ask of it, with the server's address.
    pub fn new(on_request: impl Fn(&str, Command) + Send + Sync + 'static) -> Client {
        Client { connections: Arc::default(), opaque: Arc::default(), on_request: Arc::new(on_request) }
    }

    /// Asks `address` (`host:port`, names are looked up) and waits for a success; any other code is
    /// [`RequestError::Refused`].
    pub async fn ask<R: Request>(
        &self,
        address: &str,
        request: &R,
        timeout: Duration,
    ) -> Result<R::Reply, RequestError> {
        self.ask_with_body(address, request, Default::default(), timeout).await.map(|(reply, _)| reply)
    }

    /// As [`Client::ask`], with a body on the way there and on the way back.
    pub async fn ask_with_body<R: Request>(
        &self,
        address: &str,
        request: &R,
        body: bytes::Bytes,
        timeout: Duration,
    ) -> Result<(R::Reply, bytes::Bytes), RequestError> {
        let mut command = request.write();
        let name = request_name(command.code);
        command.body = body;
        let answer = self.invoke(address, command, timeout).await?;
        if answer.code != response::SUCCESS {
            let remark = answer.remark.unwrap_or_default();
            return Err(RequestError::Refused { address: address.into(), request: name, code: answer.code, remark });
        }
        let reply = R::Reply::read_fields(&answer.ext).map_err(|source| RequestError::Malformed {
            address: address.into(),
            request: name,
            source,
        })?;
        Ok((reply, answer.body))
    }

    /// Sends `command` and waits for its answer, whatever its code.
    pub async fn invoke(&self, address: &str, command: Command, timeout: Duration) -> Result<Command, RequestError> {
        let name = request_name(command.code);
        let (answer, answered) = oneshot::channel();
        let exchange = async {
            self.send(address, command, Some(answer)).await?;
            answered.await.map_err(|_| RequestError::Broken { address: address.into() })
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(result) => result,
            Err(_) => Err(RequestError::Timeout { address: address.into(), request: name, timeout }),
        }
    }

    /// Sends `command` and wants no answer.
    pub async fn notify(&self, address: &str, command: Command) -> Result<(), RequestError> {
        self.send(address, command.oneway(), None).await
    }

    async fn send(
        &self,
        address: &str,
        mut command: Command,
        answer: Option<oneshot::Sender<Command>>,
    ) -> Result<(), RequestError> {
        command.opaque = self.opaque.fetch_add(1, Ordering::Relaxed);
        let mut outbound = Outbound { command, answer };
        let open = self.connections.lock().get(address).cloned();
        if let Some(connection) = open {
            match connection.outbox.send(outbound).await {
                Ok(()) => return Ok(()),
                // It broke while nobody used it: nothing was sent yet, so a new one may try.
                Err(mpsc::error::SendError(unsent)) => outbound = unsent,
            }
        }
        let connection = self.connect(address).await?;
        connection.outbox.send(outbound).await.map_err(|_| RequestError::Broken { address: address.into() })
    }

    async fn connect(&self, address: &str) -> Result<Connection, RequestError> {
        let failed = |source| RequestError::Connect { address: address.into(), source };
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let (outbox, requests) = mpsc::channel(4096);
        let connection = Connection { outbox };
        self.connections.lock().insert(address.to_owned(), connection.clone());
        let (address, on_request) = (address.to_owned(), self.on_request.clone());
        tokio::spawn(async move {
            // Whoever waits for an answer sees its sender dropped when this ends.
            if let Err(error) = exchange(stream, requests, &address, on_request).await {
                tracing::debug!(%address, %error, "connection closed");
            }
        });
        Ok(connection)
    }

    /// Waits until the connection to `address` is gone; does not wait when there is none.
    pub async fn closed(&self, address: &str) {
        let open = self.connections.lock().get(address).cloned();
        if let Some(connection) = open {
            connection.outbox.closed().await;
        }
    }

    /// Closes the connection to `address`, if there is one.
    pub fn disconnect(&self, address: &str) {
        self.connections.lock().remove(address);
    }
}

fn request_name(code: i32) -> String {
    request::name(code).map_or_else(|| format!("request {code}"), str::to_owned)
}

async fn exchange(
    stream: TcpStream,
    mut requests: mpsc::Receiver<Outbound>,
    address: &str,
    on_request: OnRequest,
) -> io::Result<()> {
    let (mut source, mut sink) = stream.into_split();
    let waiting: Mutex<HashMap<i32, oneshot::Sender<Command>>> = Mutex::default();
    let write = async {
        let mut batch = Vec::new();
        while let Some(first) = requests.recv().await {
            let mut next = Some(first);
            while let Some(Outbound { command, answer }) = next {
                if let Some(answer) = answer {
                    waiting.lock().insert(command.opaque, answer);
                }
                command.encode(&mut batch);
                next = if batch.len() < WRITE_MAX { requests.try_recv().ok() } else { None };
            }
            sink.write_all(&batch).await?;
            batch.clear();
        }
        Ok(())
    };
    let read = async {
        let mut incoming = BytesMut::with_capacity(8 * 1024);
        loop {
            incoming.reserve(8 * 1024);
            if source.read_buf(&mut incoming).await? == 0 {
                return Ok::<(), io::Error>(());
            }
            while let Some(command) = Command::decode(&mut incoming).map_err(io::Error::other)? {
                if command.is_response() {
                    let answer = waiting.lock().remove(&command.opaque);
                    // Nobody waits for it any more when it comes too late.
                    if let Some(answer) = answer {
                        let _ = answer.send(command);
                    }
                } else {
                    on_request(address, command);
                }
            }
        }
    };
    tokio::select! { ended = write => ended, ended = read => ended }
}
