//! One connection: a task that reads, handles and parks, on the thread that the connection belongs to.
//!
//! 1. read what has arrived, take whole frames off it
//! 2. poll each request's handler once, in order of arrival; park those that wait
//! 3. queue the replies, and ask the thread's sender (`server::Sender`) to send them with those of other connections
//!
//! A peer that does not read its replies is not read from either, until they are gone: that bounds memory.

use crate::outgoing::Outgoing;
use crate::peer::Peer;
use crate::reply::{Reject, Response};
use crate::router::{Handling, Table};
use crate::server::Sender;
use bytes::BytesMut;
use futures_util::stream::{FuturesUnordered, StreamExt};
use protocol::command::Command;
use std::cell::{Cell, RefCell};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

/// A connection with more than this to send is not read from.
const OUTGOING_MAX: usize = 1024 * 1024;

/// The first read of a connection makes room for so much; a connection that fills it gets twice as much the next time.
const READ_MIN: usize = 4 * 1024;
const READ_MAX: usize = 64 * 1024;

/// So many reads in a row, then other connections get their turn.
const READS_A_TURN: usize = 1;

/// The half of a connection that the thread's sender shares.
pub(crate) struct Shared {
    pub(crate) table: Arc<Table>,
    socket: OwnedWriteHalf,
    /// What may leave.
    outgoing: RefCell<Outgoing>,
    /// Replies that may leave once `Router::before_replies` has succeeded, and which requests they answer.
    acknowledging: RefCell<Outgoing>,
    acknowledged: RefCell<Vec<i32>>,
    /// On the sender's list.
    pub(crate) queued: Cell<bool>,
    /// Sweeps since anything arrived.
    pub(crate) quiet_sweeps: Cell<u32>,
    /// The socket took no more; the connection's own task goes on when it does.
    stalled: Cell<bool>,
    /// The task reads no more until what is queued has gone.
    full: Cell<bool>,
    broken: Cell<bool>,
    close_asked: Cell<bool>,
    task: Cell<Option<Waker>>,
}

impl Shared {
    /// Sends what is queued, as far as the socket takes it; acknowledgements only of what is written.
    pub(crate) fn send(&self, written: &Result<(), Reject>) {
        let (mut replies, mut requests) = (self.acknowledging.borrow_mut(), self.acknowledged.borrow_mut());
        if let Err(refusal) = written {
            replies.clear();
            requests.iter().for_each(|opaque| replies.push(refusal.clone().into(), *opaque));
        }
        requests.clear();
        self.outgoing.borrow_mut().append(&mut replies);
        if self.stalled.get() || self.broken.get() {
            return;
        }
        match self.outgoing.borrow_mut().write_to(self.socket.as_ref()) {
            Ok(true) if !self.full.get() => return,
            Ok(true) => {}
            Ok(false) => self.stalled.set(true),
            Err(_) => self.broken.set(true),
        }
        self.wake();
    }

    /// Ends the connection.
    pub(crate) fn close(&self) {
        self.close_asked.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }
}

/// Serves `stream` until one side closes it.
pub(crate) async fn serve(stream: TcpStream, table: Arc<Table>, sender: Rc<Sender>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (peer, requests) = Peer::new(stream.peer_addr()?, stream.local_addr()?);
    let (socket, write_half) = stream.into_split();
    let shared = Rc::new(Shared {
        table,
        socket: write_half,
        outgoing: RefCell::default(),
        acknowledging: RefCell::default(),
        acknowledged: RefCell::default(),
        queued: Cell::new(false),
        quiet_sweeps: Cell::new(0),
        stalled: Cell::new(false),
        full: Cell::new(false),
        broken: Cell::new(false),
        close_asked: Cell::new(false),
        task: Cell::new(None),
    });
    sender.join(&shared);
    let mut connection = Connection {
        peer: peer.clone(),
        socket,
        requests,
        incoming: BytesMut::new(),
        room: READ_MIN,
        parked: FuturesUnordered::new(),
        shared: shared.clone(),
        sender,
    };
    let ended = std::future::poll_fn(|cx| connection.poll(cx)).await;
    peer.close();
    if let Some(on_close) = &shared.table.on_close {
        on_close(&peer);
    }
    ended
}

struct Connection {
    peer: Peer,
    socket: OwnedReadHalf,
    /// Our own requests to the peer.
    requests: mpsc::Receiver<Box<Command>>,
    incoming: BytesMut,
    room: usize,
    parked: FuturesUnordered<Parked>,
    shared: Rc<Shared>,
    sender: Rc<Sender>,
}

impl Connection {
    /// Ready when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.task.set(Some(cx.waker().clone()));
        if self.shared.broken.get() || self.shared.close_asked.get() {
            return Poll::Ready(Ok(()));
        }
        if self.shared.stalled.get() {
            ready!(self.poll_stalled(cx))?;
        }
        self.shared.full.set(false);
        while let Poll::Ready(Some(request)) = self.requests.poll_recv(cx) {
            self.shared.outgoing.borrow_mut().push_request(&request);
            self.sender.queue(&self.shared);
        }
        let read = self.poll_read(cx);
        while let Poll::Ready(Some((opaque, response))) = self.parked.poll_next_unpin(cx) {
            self.reply(opaque, response);
        }
        if read.is_ready() {
            // What the peer is owed still leaves.
            self.sender.send_now();
        }
        read
    }

    /// Writes what a full socket left over.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket: &TcpStream = self.shared.socket.as_ref();
        loop {
            ready!(socket.poll_write_ready(cx))?;
            if self.shared.outgoing.borrow_mut().write_to(socket)? {
                self.shared.stalled.set(false);
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads and handles until nothing more has arrived, or the connection has too much to send (pending), or the peer
    /// has closed or sends nonsense (ready).
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _ in 0..READS_A_TURN {
            if self.shared.outgoing.borrow().len() + self.shared.acknowledging.borrow().len() > OUTGOING_MAX {
                self.shared.full.set(true);
                return Poll::Pending;
            }
            self.incoming.reserve(self.room);
            let space = self.incoming.capacity() - self.incoming.len();
            let count = ready!(pin!(self.socket.read_buf(&mut self.incoming)).poll(cx))?;
            if count == 0 {
                return Poll::Ready(Ok(()));
            }
            if count == space {
                self.room = (self.room * 2).min(READ_MAX);
            }
            self.shared.quiet_sweeps.set(0);
            while let Some(command) = Command::decode(&mut self.incoming).map_err(io::Error::other)? {
                self.handle(command);
            }
            self.sender.queue(&self.shared);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Polls the handler once; parks it if it waits.
    fn handle(&mut self, command: Command) {
        if command.is_response() {
            return;
        }
        let opaque = (!command.is_oneway()).then_some(command.opaque);
        let handling = match catch_unwind(AssertUnwindSafe(|| self.shared.table.handle(&self.peer, command))) {
            Ok(handling) => handling,
            Err(_) => return self.reply(opaque, panicked()),
        };
        let mut parked = Parked { opaque, handling };
        match Pin::new(&mut parked).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready((opaque, response)) => self.reply(opaque, response),
            Poll::Pending => self.parked.push(parked),
        }
    }

    /// Nothing answers a oneway request, not even a refusal.
    fn reply(&self, opaque: Option<i32>, response: Response) {
        if let Some(opaque) = opaque {
            if response.behind_write {
                self.shared.acknowledging.borrow_mut().push(response, opaque);
                self.shared.acknowledged.borrow_mut().push(opaque);
            } else {
                self.shared.outgoing.borrow_mut().push(response, opaque);
            }
            self.sender.queue(&self.shared);
        }
    }
}

/// A handler that waits, and the request that it answers.
struct Parked {
    opaque: Option<i32>,
    handling: Handling,
}

impl Future for Parked {
    type Output = (Option<i32>, Response);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.handling.as_mut().poll(cx)));
        let response = ready!(polled.unwrap_or_else(|_| Poll::Ready(panicked())));
        Poll::Ready((self.opaque, response))
    }
}

/// A handler that panics is a defect of ours; the panic hook has told where. The request is answered all the same.
fn panicked() -> Response {
    Reject::system_error("internal error while this request was handled; the server's log says where").into()
}
