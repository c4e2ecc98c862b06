//! Asking a server: one connection per address, any number of requests on it at a time.
//!
//! Requests of any task go through a channel to the connection's own task, which writes all that wait in one call and
//! pairs answers with requests by `opaque`.

use crate::signature::Credentials;
use crate::stream::{Sink, Source, Stream};
use crate::tls::ClientTls;
use bytes::BytesMut;
use parking_lot::Mutex;
use protocol::code::{request, response};
use protocol::command::Command;
use protocol::request::{Header, Malformed, Request};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};

/// How long a connection may take to come up (Java's `connectTimeoutMillis`).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The most that is gathered for one write.
const WRITE_MAX: usize = 256 * 1024;

/// A write buffer that grew beyond this is given back.
const KEEP_MAX: usize = 1024 * 1024;

/// Why a request has no good answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
        source: Box<Malformed>,
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
    /// One slot per address; whoever finds it empty connects while the others wait.
    connections: Arc<Mutex<HashMap<String, Slot>>>,
    opaque: Arc<AtomicI32>,
    on_request: OnRequest,
    credentials: Option<Credentials>,
    tls: Option<Arc<ClientTls>>,
}

type Slot = Arc<tokio::sync::Mutex<Option<Connection>>>;

#[derive(Clone)]
struct Connection {
    outbox: mpsc::Sender<Command>,
    waiting: Arc<Waiting>,
    /// Its sender is dropped when the connection is gone.
    gone: watch::Receiver<()>,
}

/// Who waits for which answer, by `opaque`.
struct Waiting {
    answers: Mutex<HashMap<i32, oneshot::Sender<Command>>>,
    /// When anything arrived last.
    heard: Mutex<Instant>,
}

/// A place among those who wait, given up when dropped: by an answer, a time-out or a cancelled caller.
struct Place {
    waiting: Arc<Waiting>,
    opaque: i32,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.answers.lock().remove(&self.opaque);
    }
}

impl Default for Client {
    fn default() -> Client {
        Client::new(|_, _| {})
    }
}

impl Client {
    /// A client with no connections yet; `on_request` gets what servers ask of it, with the server's address. Requests
    /// that want an answer are told that there is none.
    pub fn new(on_request: impl Fn(&str, Command) + Send + Sync + 'static) -> Client {
        Client {
            connections: Arc::default(),
            opaque: Arc::default(),
            on_request: Arc::new(on_request),
            tls: None,
            credentials: None,
        }
    }

    /// Signs every request, if there are credentials.
    pub fn signing(mut self, credentials: Option<Credentials>) -> Client {
        self.credentials = credentials;
        self
    }

    /// Who signs its requests.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// With this, connections that it opens are encrypted.
    pub fn with_tls(mut self, tls: Option<Arc<ClientTls>>) -> Client {
        self.tls = tls;
        self
    }

    /// How it encrypts, if it does.
    pub fn tls(&self) -> Option<Arc<ClientTls>> {
        self.tls.clone()
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
        let answer = self.ask_any(address, request, body, &[response::SUCCESS], timeout).await?;
        Ok((answer.reply, answer.body))
    }

    /// As [`Client::ask_with_body`], where each of `successes` is a good answer.
    pub async fn ask_any<R: Request>(
        &self,
        address: &str,
        request: &R,
        body: bytes::Bytes,
        successes: &[i32],
        timeout: Duration,
    ) -> Result<Answered<R::Reply>, RequestError> {
        let mut command = request.write();
        let name = request_name(command.code);
        command.body = body;
        let answer = self.invoke(address, command, timeout).await?;
        if !successes.contains(&answer.code) {
            let remark = answer.remark.unwrap_or_default();
            return Err(RequestError::Refused { address: address.into(), request: name, code: answer.code, remark });
        }
        let reply = R::Reply::read_fields(&answer.ext).map_err(|source| RequestError::Malformed {
            address: address.into(),
            request: name,
            source: Box::new(source),
        })?;
        Ok(Answered { code: answer.code, reply, body: answer.body })
    }

    /// Sends `command` and waits for its answer, whatever its code.
    ///
    /// A connection that was silent from the request to its time-out is given up: the next request opens a new one.
    pub async fn invoke(&self, address: &str, command: Command, timeout: Duration) -> Result<Command, RequestError> {
        let name = request_name(command.code);
        let asked = Instant::now();
        match tokio::time::timeout(timeout, self.exchange(address, command)).await {
            Ok(result) => result,
            Err(_) => {
                self.give_up_if_silent(address, asked);
                Err(RequestError::Timeout { address: address.into(), request: name, timeout })
            }
        }
    }

    /// Sends `command` and wants no answer.
    pub async fn notify(&self, address: &str, command: Command) -> Result<(), RequestError> {
        self.send(address, command.oneway(), None).await.map(drop)
    }

    async fn exchange(&self, address: &str, command: Command) -> Result<Command, RequestError> {
        let (answer, answered) = oneshot::channel();
        let _place = self.send(address, command, Some(answer)).await?;
        answered.await.map_err(|_| RequestError::Broken { address: address.into() })
    }

    async fn send(
        &self,
        address: &str,
        mut command: Command,
        answer: Option<oneshot::Sender<Command>>,
    ) -> Result<Option<Place>, RequestError> {
        command.opaque = self.opaque.fetch_add(1, Ordering::Relaxed);
        if let Some(credentials) = &self.credentials {
            credentials.sign(&mut command);
        }
        let connection = self.connection(address).await?;
        // The place is taken before the request leaves, so that no answer comes before it.
        let place = answer.map(|answer| {
            connection.waiting.answers.lock().insert(command.opaque, answer);
            Place { waiting: connection.waiting.clone(), opaque: command.opaque }
        });
        connection.outbox.send(command).await.map_err(|_| RequestError::Broken { address: address.into() })?;
        Ok(place)
    }

    /// The open connection to `address`, or a new one.
    async fn connection(&self, address: &str) -> Result<Connection, RequestError> {
        let known = self.connections.lock().get(address).cloned();
        let slot = known.unwrap_or_else(|| self.connections.lock().entry(address.to_owned()).or_default().clone());
        let mut slot = slot.lock().await;
        match &*slot {
            Some(connection) if !connection.outbox.is_closed() => Ok(connection.clone()),
            _ => {
                let connection = self.connect(address).await?;
                *slot = Some(connection.clone());
                Ok(connection)
            }
        }
    }

    async fn connect(&self, address: &str) -> Result<Connection, RequestError> {
        let failed = |source| RequestError::Connect { address: address.into(), source };
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, Stream::open(address, self.tls.as_deref()))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(failed)?;
        let (outbox, requests) = mpsc::channel(4096);
        let waiting = Arc::new(Waiting { answers: Mutex::default(), heard: Mutex::new(Instant::now()) });
        let answers = outbox.downgrade();
        let (going, gone) = watch::channel(());
        let connection = Connection { outbox, waiting: waiting.clone(), gone };
        let (address, on_request) = (address.to_owned(), self.on_request.clone());
        tokio::spawn(async move {
            let (source, sink) = stream.split();
            let ended = exchange(source, sink, requests, answers, &waiting, &address, on_request).await;
            if let Err(error) = ended {
                tracing::debug!(%address, %error, "connection closed");
            }
            // Nothing enters the outbox any more; whoever still waits for an answer learns that none will come.
            waiting.answers.lock().clear();
            drop(going);
        });
        Ok(connection)
    }

    /// Waits until the connection to `address` is gone; does not wait when there is none.
    pub async fn closed(&self, address: &str) {
        let slot = self.connections.lock().get(address).cloned();
        let Some(slot) = slot else { return };
        let open = slot.lock().await.as_ref().map(|connection| connection.gone.clone());
        if let Some(mut gone) = open {
            // Nothing is ever said on it: it only ends.
            let _ = gone.changed().await;
        }
    }

    /// Closes the connection to `address`, if there is one. Who waits for an answer on it gets [`RequestError::Broken`].
    pub fn disconnect(&self, address: &str) {
        self.connections.lock().remove(address);
    }

    fn give_up_if_silent(&self, address: &str, since: Instant) {
        let mut connections = self.connections.lock();
        let silent = connections.get(address).is_some_and(|slot| match slot.try_lock() {
            Ok(slot) => slot.as_ref().is_some_and(|connection| *connection.waiting.heard.lock() <= since),
            // Someone is connecting.
            Err(_) => false,
        });
        if silent {
            tracing::debug!(%address, "nothing heard for a whole time-out: closing the connection");
            connections.remove(address);
        }
    }
}

/// A good answer, and which of the good codes it has.
#[derive(Debug)]
pub struct Answered<H> {
    /// Response code.
    pub code: i32,
    /// The reply's fields.
    pub reply: H,
    /// What followed the header.
    pub body: bytes::Bytes,
}

fn request_name(code: i32) -> String {
    request::name(code).map_or_else(|| format!("request {code}"), str::to_owned)
}

fn not_supported(request: &Command) -> Command {
    let mut answer = Command::response(response::REQUEST_CODE_NOT_SUPPORTED);
    answer.opaque = request.opaque;
    answer.remark = Some(format!("this client does not answer {}", request_name(request.code)));
    answer
}

async fn exchange(
    mut source: Source,
    mut sink: Sink,
    mut requests: mpsc::Receiver<Command>,
    answers: mpsc::WeakSender<Command>,
    waiting: &Waiting,
    address: &str,
    on_request: OnRequest,
) -> io::Result<()> {
    let write = async {
        let mut batch = Vec::new();
        while let Some(first) = requests.recv().await {
            let mut next = Some(first);
            while let Some(command) = next {
                command.encode(&mut batch);
                next = if batch.len() < WRITE_MAX { requests.try_recv().ok() } else { None };
            }
            sink.write_all(&batch).await?;
            sink.flush().await?;
            batch.clear();
            if batch.capacity() > KEEP_MAX {
                batch = Vec::new();
            }
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
            *waiting.heard.lock() = Instant::now();
            while let Some(command) = Command::decode(&mut incoming).map_err(io::Error::other)? {
                if command.is_response() {
                    let answer = waiting.answers.lock().remove(&command.opaque);
                    // Nobody waits for it any more when it comes too late.
                    if let Some(answer) = answer {
                        let _ = answer.send(command);
                    }
                } else {
                    if !command.is_oneway() {
                        // A server that asks faster than it reads answers gets none.
                        if let Some(answers) = answers.upgrade() {
                            let _ = answers.try_send(not_supported(&command));
                        }
                    }
                    on_request(address, command);
                }
            }
        }
    };
    tokio::select! { ended = write => ended, ended = read => ended }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    /// A server that answers each request whose code is even, on any number of connections, which it counts.
    async fn answers_even_codes() -> (SocketAddr, Arc<AtomicI32>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicI32::new(0)));
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut incoming = BytesMut::new();
                    while stream.read_buf(&mut incoming).await.is_ok_and(|read| read > 0) {
                        while let Some(request) = Command::decode(&mut incoming).unwrap() {
                            let mut out = Vec::new();
                            let answer = Command { opaque: request.opaque, ..Command::response(request.code) };
                            answer.encode(&mut out);
                            if request.code % 2 == 0 {
                                stream.write_all(&out).await.unwrap();
                            }
                        }
                    }
                });
            }
        });
        (address, connections)
    }

    #[tokio::test]
    async fn many_requests_at_once_share_one_connection() {
        let (address, connections) = answers_even_codes().await;
        let (client, address) = (Client::default(), address.to_string());
        let asked = (0..100).map(|n| {
            let (client, address) = (client.clone(), address.clone());
            tokio::spawn(async move { client.invoke(&address, Command::request(2 * n), Duration::from_secs(5)).await })
        });
        for (n, answer) in asked.collect::<Vec<_>>().into_iter().enumerate() {
            assert_eq!(answer.await.unwrap().unwrap().code, 2 * n as i32);
        }
        assert_eq!(connections.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn who_waits_in_vain_leaves_nothing_behind() {
        let (address, connections) = answers_even_codes().await;
        let (client, address) = (Client::default(), address.to_string());
        let short = Duration::from_millis(50);
        client.invoke(&address, Command::request(2), short * 100).await.unwrap();
        let slot = client.connections.lock()[&address].clone();
        let waiting = slot.lock().await.as_ref().unwrap().waiting.clone();
        let timed_out = client.invoke(&address, Command::request(1), short).await;
        assert!(matches!(timed_out, Err(RequestError::Timeout { .. })));
        assert!(waiting.answers.lock().is_empty());
        // It was silent all the time, so the next request has a new one.
        client.invoke(&address, Command::request(2), short * 100).await.unwrap();
        assert_eq!(connections.load(Ordering::Relaxed), 2);
    }
}
