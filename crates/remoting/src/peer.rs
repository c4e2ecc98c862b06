//! The other end of a connection, as handlers see it.

use protocol::command::Command;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use tokio::sync::mpsc;

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

    /// True once the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }

    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
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
