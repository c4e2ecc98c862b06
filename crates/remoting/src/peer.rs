//! The other end of a connection, as handlers see it.

use parking_lot::Mutex;
use protocol::command::Command;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// So many requests of ours may wait for one connection; a peer that reads nothing gets no more.
const WAITING_MAX: usize = 256;

/// The other end of a connection. Cheap to clone; equal only to itself; outlives the connection.
#[derive(Clone)]
#[doc(alias = "Channel")]
pub struct Peer(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    reached: SocketAddr,
    outbox: mpsc::Sender<Box<Command>>,
    opaque: AtomicI32,
    closed: AtomicBool,
    /// Which of 64 marks it was asked for.
    marks: AtomicU64,
    /// Who signed its last request; empty: its address is trusted. `None`: that is not known.
    user: Mutex<Option<Arc<str>>>,
    /// Who waits for the answer to which of our requests, by `opaque`. An answer that nobody waits for is dropped.
    asked: Mutex<HashMap<i32, oneshot::Sender<Command>>>,
}

/// Why a peer did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The connection is gone. Whether the request was carried out is unknown.
    #[error("its connection is gone")]
    Gone,
    /// It reads too slowly, or owes too many answers. It did not get this request.
    #[error("it does not read the requests that it is sent")]
    Busy,
    /// No answer in time. Whether the request was carried out is unknown.
    #[error("it did not answer within {0:?}")]
    Timeout(Duration),
}

impl Peer {
    pub(crate) fn new(address: SocketAddr, reached: SocketAddr) -> (Peer, mpsc::Receiver<Box<Command>>) {
        let (outbox, requests) = mpsc::channel(WAITING_MAX);
        let inner = Inner {
            address,
            reached,
            outbox,
            opaque: AtomicI32::new(0),
            closed: AtomicBool::new(false),
            marks: AtomicU64::new(0),
            user: Mutex::default(),
            asked: Mutex::default(),
        };
        (Peer(Arc::new(inner)), requests)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Our address, as the peer reached it.
    pub fn reached(&self) -> SocketAddr {
        self.0.reached
    }

    /// Who signed its last request; empty: nobody, and its address is trusted. `None`: that is not known.
    pub fn user(&self) -> Option<Arc<str>> {
        self.0.user.lock().clone()
    }

    /// Notes who signed its last request.
    pub fn set_user(&self, user: Option<&Arc<str>>) {
        let mut known = self.0.user.lock();
        if known.as_ref() != user {
            *known = user.cloned();
        }
    }

    /// Sends a request that wants no answer. False when the connection is gone, or reads too slowly to take more.
    pub fn notify(&self, request: Command) -> bool {
        let mut request = request.oneway();
        request.opaque = self.0.opaque.fetch_add(1, Ordering::Relaxed);
        !self.is_closed() && self.0.outbox.try_send(Box::new(request)).is_ok()
    }

    /// True when it is asked for the first time with a mark like this. Two marks are alike in one of 64 cases.
    pub fn is_first(&self, mark: u64) -> bool {
        let bit = 1 << (mark & 63);
        self.0.marks.load(Ordering::Relaxed) & bit == 0 && self.0.marks.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    /// Sends a request and awaits the answer, whatever its code is. It must run on a runtime with timers.
    #[doc(alias = "invokeSync")]
    pub async fn ask(&self, mut request: Command, timeout: Duration) -> Result<Command, AskError> {
        let (answered, answer) = oneshot::channel();
        let opaque = self.0.opaque.fetch_add(1, Ordering::Relaxed);
        request.opaque = opaque;
        {
            let mut asked = self.0.asked.lock();
            if asked.len() >= WAITING_MAX {
                return Err(AskError::Busy);
            }
            asked.insert(opaque, answered);
        }
        let _until_then = Asking { peer: self, opaque };
        // Looked at behind the entry: who closes forgets the entries behind this mark.
        if self.is_closed() {
            return Err(AskError::Gone);
        }
        self.0.outbox.try_send(Box::new(request)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AskError::Busy,
            mpsc::error::TrySendError::Closed(_) => AskError::Gone,
        })?;
        match tokio::time::timeout(timeout, answer).await {
            Ok(answer) => answer.map_err(|_| AskError::Gone),
            Err(_) => Err(AskError::Timeout(timeout)),
        }
    }

    /// A response has come. One that nobody waits for is dropped: it is late, or was never asked for.
    pub(crate) fn answered(&self, response: Command) {
        let asked = self.0.asked.lock().remove(&response.opaque);
        if let Some(asked) = asked {
            // Who asked may have given up just now.
            let _ = asked.send(response);
        }
    }

    /// True once the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }

    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.asked.lock().clear();
    }
}

/// Somebody waits for an answer.
struct Asking<'a> {
    peer: &'a Peer,
    opaque: i32,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.peer.0.asked.lock().remove(&self.opaque);
    }
}

impl PartialEq for Peer {
    fn eq(&self, other: &Peer) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Peer {}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.address)
    }
}
