//! One connection: a task that reads, handles and parks, on the thread that the connection belongs to.
//!
//! 0. what comes first says whether the connection is plain or TLS (`entrance`), and who is behind a proxy
//! 1. read what has arrived, take whole frames off it
//! 2. poll each request's handler once, in order of arrival; park those that wait
//! 3. queue the replies, and ask the thread's sender (`server::Sender`) to send them with those of other connections
//!
//! A peer that does not read its replies is not read from either, until they are gone; nor is one with too many requests
//! that wait. A large frame is read when there is memory for all of it (`budget`). That bounds memory.

use crate::budget::Budget;
use crate::limits::Visit;
use crate::measure::{Answered, Measures};
use crate::outgoing::Outgoing;
use crate::peer::Peer;
use crate::proxy;
use crate::reply::{Reject, Response};
use crate::router::{Handling, Table};
use crate::server::Sender;
use crate::tls::Admitted;
use crate::tls::session::{PIECE, Session, with_piece};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{FuturesUnordered, StreamExt};
use protocol::code::request::{LITE_PULL_MESSAGE, PULL_MESSAGE};
use protocol::command::Command;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

/// A connection with more than this to send is not read from.
const OUTGOING_MAX: usize = 256 * 1024;

/// A connection whose waiting requests have larger bodies, all together, is not read from.
const PARKED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What a connection may hold when memory is short: replies that it does not take, bodies that wait. A frame up to this
/// size is read whenever it comes.
pub(crate) const SMALL: usize = 64 * 1024;

/// The first read of a connection makes room for so much; a connection that fills it gets twice as much the next time.
const READ_MIN: usize = 4 * 1024;
const READ_MAX: usize = 64 * 1024;

/// The half of a connection that the thread's sender shares.
pub(crate) struct Shared {
    pub(crate) peer: SocketAddr,
    pub(crate) table: Arc<Table>,
    socket: OwnedWriteHalf,
    /// What the socket's bytes go through; none: they are frames as they are.
    tls: RefCell<Option<Box<Session>>>,
    /// What may leave.
    outgoing: RefCell<Outgoing>,
    /// Replies that may leave once `Router::before_replies` has succeeded, and which requests they answer.
    acknowledging: RefCell<Outgoing>,
    acknowledged: RefCell<Vec<i32>>,
    /// What was answered since the last turn, which request came when, and whether the answer had to wait for the write. Empty
    /// unless latencies are measured.
    answered: RefCell<Vec<(Answered, Instant, bool)>>,
    /// On the sender's list.
    pub(crate) queued: Cell<bool>,
    /// Sweeps since a whole request arrived, or some of a reply left.
    pub(crate) quiet_sweeps: Cell<u32>,
    /// Sweeps in which it held memory that others wait for, and moved next to nothing.
    slow_sweeps: Cell<u32>,
    /// Bytes that came and went since the last sweep.
    moved: Cell<usize>,
    /// The size of the large frame that is arriving, as counted in the budget; 0 when there is none.
    frame: Cell<usize>,
    /// What the budget has granted while the connection waited in line for it.
    granted: Cell<usize>,
    /// Replies in memory that the socket does not take, as counted in the budget.
    unsent: Cell<usize>,
    /// The socket took no more; the connection's own task goes on when it does.
    stalled: Cell<bool>,
    /// The task reads no more until what is queued has gone.
    full: Cell<bool>,
    /// More has arrived than one read takes. It is read when the replies to what was have gone: the peer works on those
    /// meanwhile, and other connections get their turn.
    more: Cell<bool>,
    broken: Cell<bool>,
    close_asked: Cell<bool>,
    task: Cell<Option<Waker>>,
}

impl Shared {
    /// Sends what is queued, as far as the socket takes it; acknowledgements only of what is written.
    pub(crate) fn send(&self, written: &Result<(), Reject>, budget: &Budget) {
        let (mut replies, mut requests) = (self.acknowledging.borrow_mut(), self.acknowledged.borrow_mut());
        if let Err(refusal) = written {
            replies.clear();
            requests.iter().for_each(|opaque| replies.push(refusal.clone().into(), *opaque));
        }
        requests.clear();
        self.outgoing.borrow_mut().append(&mut replies);
        if self.stalled.get() || self.is_over() {
            return;
        }
        match self.write(budget) {
            Ok(true) if !(self.full.get() || self.more.get()) => return,
            Ok(true) => {}
            Ok(false) => self.stalled.set(true),
            Err(_) => self.broken.set(true),
        }
        self.wake();
    }

    /// Counts the answers that have left, or are about to.
    pub(crate) fn count_answers(&self, written: &Result<(), Reject>, measures: &Measures) {
        let mut answered = self.answered.borrow_mut();
        if answered.is_empty() {
            return;
        }
        let now = Instant::now();
        for (mut answered, came, behind_write) in answered.drain(..) {
            if let (Err(refusal), true) = (written, behind_write) {
                answered.response = refusal.code;
            }
            measures.answered(answered, now.saturating_duration_since(came));
        }
    }

    /// Writes what the socket takes; true when that was all.
    fn write(&self, budget: &Budget) -> io::Result<bool> {
        let mut outgoing = self.outgoing.borrow_mut();
        let before = outgoing.len();
        let mut tls = self.tls.borrow_mut();
        let all = match tls.as_mut() {
            None => outgoing.write_to(self.socket.as_ref()),
            Some(session) => session.send(&mut outgoing, self.socket.as_ref()),
        };
        if let (Err(_), Some(on_unreadable)) = (&all, &self.table.on_unreadable)
            && let Some((file, at, error)) = outgoing.unreadable()
        {
            on_unreadable(file, at, &error);
        }
        if outgoing.len() < before {
            self.quiet_sweeps.set(0);
            self.moved.set(self.moved.get() + before - outgoing.len());
        }
        let sealed = tls.as_ref().map_or(0, |session| session.sealed());
        let unsent = sealed + if outgoing.len() == 0 { 0 } else { outgoing.in_memory() };
        budget.add(unsent);
        budget.give_back(self.unsent.replace(unsent));
        all
    }

    /// Ends the connection.
    pub(crate) fn close(&self) {
        self.close_asked.set(true);
        self.wake();
    }

    /// True when it is about to end.
    pub(crate) fn is_over(&self) -> bool {
        self.broken.get() || self.close_asked.get()
    }

    /// Lets the large frame in for which the connection waited.
    pub(crate) fn grant(&self, bytes: usize) {
        self.granted.set(bytes);
        self.wake();
    }

    /// Counts the time in which it holds memory that others need, but neither sends its frame nor takes its replies.
    /// A new sweep begins; answers with how many there were.
    pub(crate) fn slow_sweeps(&self, needed: bool) -> u32 {
        let holds = self.frame.get() + self.unsent.get();
        let slow = needed && holds > SMALL && self.moved.get() < SMALL;
        self.moved.set(0);
        self.slow_sweeps.set(if slow { self.slow_sweeps.get() + 1 } else { 0 });
        self.slow_sweeps.get()
    }

    /// True when it has not agreed on keys in the time that there is for it.
    pub(crate) fn dawdles(&self, time: Duration) -> bool {
        self.tls.borrow().as_ref().is_some_and(|session| session.handshaking_for() > time)
    }

    fn wake(&self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }
}

/// Serves `stream` until one side closes it.
pub(crate) async fn serve(mut stream: TcpStream, table: Arc<Table>, sender: Rc<Sender>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut address, mut incoming) = (stream.peer_addr()?, BytesMut::new());
    if table.entrance.proxies.contain(address.ip()) {
        let header = tokio::time::timeout(sender.handshake_max, behind_proxy(&mut stream, &mut incoming)).await??;
        address = header.unwrap_or(address);
    }
    let Some(visit) = table.entrance.limiter.visit(address.ip()) else { return Ok(()) };
    let (peer, requests) = Peer::new(address, stream.local_addr()?);
    let (socket, write_half) = stream.into_split();
    let shared = Rc::new(Shared {
        peer: peer.address(),
        table,
        socket: write_half,
        tls: RefCell::default(),
        outgoing: RefCell::default(),
        acknowledging: RefCell::default(),
        acknowledged: RefCell::default(),
        answered: RefCell::default(),
        queued: Cell::new(false),
        quiet_sweeps: Cell::new(0),
        slow_sweeps: Cell::new(0),
        moved: Cell::new(0),
        frame: Cell::new(0),
        granted: Cell::new(0),
        unsent: Cell::new(0),
        stalled: Cell::new(false),
        full: Cell::new(false),
        more: Cell::new(false),
        broken: Cell::new(false),
        close_asked: Cell::new(false),
        task: Cell::new(None),
    });
    sender.join(&shared);
    sender.measures.connected();
    let mut connection = Connection {
        peer: peer.clone(),
        socket,
        requests,
        visit,
        is_new: true,
        incoming,
        room: READ_MIN,
        parked: FuturesUnordered::new(),
        parked_bytes: 0,
        in_line: false,
        came: None,
        shared: shared.clone(),
        sender,
    };
    let ended = std::future::poll_fn(|cx| connection.poll(cx)).await;
    if let Some(session) = &mut *shared.tls.borrow_mut() {
        session.close(shared.socket.as_ref());
    }
    peer.close();
    if let Some(on_close) = &shared.table.on_close {
        on_close(&peer);
    }
    ended
}

/// Reads what a proxy says of who is behind it, and leaves in `incoming` what follows.
async fn behind_proxy(stream: &mut TcpStream, incoming: &mut BytesMut) -> io::Result<Option<SocketAddr>> {
    loop {
        incoming.reserve(READ_MIN);
        if stream.read_buf(incoming).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let proxy::Header::Whole { length, client } = proxy::read(incoming).map_err(io::Error::other)? {
            let _ = incoming.split_to(length);
            return Ok(client);
        }
    }
}

struct Connection {
    peer: Peer,
    /// Counts for its address.
    visit: Visit,
    /// Nothing has arrived that would say whether it is plain or TLS.
    is_new: bool,
    socket: OwnedReadHalf,
    /// Our own requests to the peer.
    requests: mpsc::Receiver<Box<Command>>,
    incoming: BytesMut,
    room: usize,
    parked: FuturesUnordered<Parked>,
    /// The bodies of `parked`, as counted in the budget.
    parked_bytes: usize,
    /// Waits until there is memory for the frame that is arriving.
    in_line: bool,
    /// When what is being handled arrived, if latencies are measured.
    came: Option<Instant>,
    shared: Rc<Shared>,
    sender: Rc<Sender>,
}

impl Connection {
    /// Ready when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.task.set(Some(cx.waker().clone()));
        if self.shared.is_over() {
            return Poll::Ready(Ok(()));
        }
        if self.shared.stalled.get() {
            ready!(self.poll_stalled(cx))?;
        }
        self.shared.full.set(false);
        self.shared.more.set(false);
        while let Poll::Ready(Some(request)) = self.requests.poll_recv(cx) {
            self.shared.outgoing.borrow_mut().push_request(&request);
            self.sender.queue(&self.shared);
        }
        let read = self.poll_read(cx);
        loop {
            if self.owes_much() {
                self.shared.full.set(true);
                break;
            }
            let Poll::Ready(Some((asked, response, bytes))) = self.parked.poll_next_unpin(cx) else { break };
            self.parked_bytes -= bytes;
            self.sender.budget.give_back(bytes);
            self.reply(asked, response);
            if self.shared.full.get() {
                // It may have waited for just this.
                cx.waker().wake_by_ref();
            }
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
            if self.shared.write(&self.sender.budget)? {
                self.shared.stalled.set(false);
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads and handles until nothing more has arrived, or the connection has too much under way (pending), or the
    /// peer has closed or sends nonsense (ready).
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What it had not the room for the last time.
        if !self.incoming.is_empty() && !self.handle_arrived()? {
            return Poll::Pending;
        }
        loop {
            if self.is_full() {
                return Poll::Pending;
            }
            let (count, space) = ready!(self.poll_arrived(cx))?;
            if count == 0 {
                return Poll::Ready(Ok(()));
            }
            self.shared.moved.set(self.shared.moved.get() + count);
            if !self.handle_arrived()? {
                return Poll::Pending;
            }
            if count == space {
                self.room = (self.room * 2).min(READ_MAX);
                self.shared.more.set(true);
                return Poll::Pending;
            }
            // That was all: the next read costs no system call, and has the task woken when more arrives.
        }
    }

    /// Adds to `incoming` what has arrived. Answers with how many bytes the socket had, and how many were asked for.
    fn poll_arrived(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(usize, usize)>> {
        if self.shared.tls.borrow().is_some() {
            return self.poll_sealed(cx);
        }
        self.incoming.reserve(self.room);
        let space = self.incoming.capacity() - self.incoming.len();
        let count = ready!(pin!(self.socket.read_buf(&mut self.incoming)).poll(cx))?;
        Poll::Ready(Ok((count, space)))
    }

    /// The same of a TLS connection.
    fn poll_sealed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(usize, usize)>> {
        let mut tls = self.shared.tls.borrow_mut();
        let Some(session) = tls.as_mut().filter(|session| !session.is_closed()) else {
            return Poll::Ready(Ok((0, PIECE)));
        };
        let (socket, incoming) = (Pin::new(&mut self.socket), &mut self.incoming);
        with_piece(|piece| {
            let mut arrived = ReadBuf::new(piece);
            ready!(socket.poll_read(cx, &mut arrived))?;
            session.open(arrived.filled(), incoming)?;
            Poll::Ready(Ok((arrived.filled().len(), PIECE)))
        })
    }

    /// The first bytes are here.
    fn greet(&mut self) -> io::Result<()> {
        self.is_new = false;
        match self.shared.table.entrance.admit(self.incoming[0]).map_err(io::Error::other)? {
            Admitted::Plain => Ok(()),
            Admitted::Tls(session) => {
                // A handshake costs more than most requests do, and counts as one.
                let limiter = &self.shared.table.entrance.limiter;
                if limiter.has_rates()
                    && let Err(refusal) = limiter.admit(self.visit.account(), 0)
                {
                    return Err(io::Error::other(refusal));
                }
                let arrived = self.incoming.split();
                self.shared.tls.borrow_mut().insert(session).open(&arrived, &mut self.incoming)
            }
        }
    }

    /// Handles the whole frames that have arrived. False when the connection must wait before it goes on.
    fn handle_arrived(&mut self) -> io::Result<bool> {
        if self.in_line {
            let granted = self.shared.granted.take();
            if granted == 0 {
                return Ok(false);
            }
            self.in_line = false;
            self.shared.frame.set(granted);
        }
        self.came = self.sender.measures.now();
        // Also a request that nothing answers wants to be written out, and so do handshakes.
        self.sender.queue(&self.shared);
        if self.is_new && !self.incoming.is_empty() {
            self.greet()?;
        }
        loop {
            if self.is_full() {
                return Ok(false);
            }
            match Command::decode(&mut self.incoming).map_err(io::Error::other)? {
                Some(command) => {
                    let frame = self.shared.frame.take();
                    self.shared.quiet_sweeps.set(0);
                    self.handle(command);
                    self.sender.budget.give_back(frame);
                }
                None => return Ok(self.has_memory_for_frame()),
            }
        }
    }

    /// True when it has so much under way for the peer that it takes no more requests until that is less.
    fn is_full(&self) -> bool {
        let bytes_max = if self.sender.budget.is_short() { SMALL } else { PARKED_BYTES_MAX };
        let full = self.owes_much() || self.parked_bytes > bytes_max || self.parked.len() >= self.sender.waiting_max;
        self.shared.full.set(full);
        full
    }

    /// True when so much is to be sent that nothing may be added.
    fn owes_much(&self) -> bool {
        let owed = self.shared.outgoing.borrow().len() + self.shared.acknowledging.borrow().len();
        owed > if self.sender.budget.is_short() { SMALL } else { OUTGOING_MAX }
    }

    /// False when the frame that is arriving is large, and has to wait until others hold less.
    fn has_memory_for_frame(&mut self) -> bool {
        let Some(length) = self.incoming.first_chunk::<4>() else { return true };
        let length = u32::from_be_bytes(*length) as usize;
        if length <= SMALL || self.shared.frame.get() > 0 {
            return true;
        }
        if self.sender.budget.take(length, &self.shared) {
            self.shared.frame.set(length);
        } else {
            self.in_line = true;
        }
        !self.in_line
    }

    /// Polls the handler once; parks it if it waits.
    fn handle(&mut self, mut command: Command) {
        if command.is_response() {
            return self.peer.answered(command);
        }
        let bytes = command.body.len();
        if bytes == 0 {
            // An empty piece of what was read keeps all of that in memory, for as long as its request waits.
            command.body = Bytes::new();
        }
        let opaque = (!command.is_oneway()).then_some(command.opaque);
        let asked = Asked { opaque, code: command.code, came: self.came, held: false };
        let table = &self.shared.table;
        if table.entrance.limiter.has_rates()
            && !table.vital.contains(&command.code)
            && let Err(refusal) = table.entrance.limiter.admit(self.visit.account(), bytes)
        {
            return self.reply(asked, refusal.into());
        }
        let handling = match catch_unwind(AssertUnwindSafe(|| self.shared.table.handle(&self.peer, command))) {
            Ok(handling) => handling,
            Err(_) => return self.reply(asked, panicked()),
        };
        let mut parked = Parked { asked, handling, bytes };
        match Pin::new(&mut parked).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready((asked, response, _)) => self.reply(asked, response),
            Poll::Pending => {
                parked.asked.held = matches!(parked.asked.code, PULL_MESSAGE | LITE_PULL_MESSAGE);
                self.parked_bytes += bytes;
                self.sender.budget.add(bytes);
                self.parked.push(parked);
            }
        }
    }

    /// Nothing answers a oneway request, not even a refusal.
    fn reply(&self, asked: Asked, response: Response) {
        let Asked { opaque, code, came, held } = asked;
        if let Some(came) = came {
            let answered = Answered { request: code, response: response.head.code, held, oneway: opaque.is_none() };
            self.shared.answered.borrow_mut().push((answered, came, response.behind_write));
            self.sender.queue(&self.shared);
        }
        if let Some(opaque) = opaque {
            let limiter = &self.shared.table.entrance.limiter;
            if limiter.has_rates() {
                limiter.charge(self.visit.account(), response.body.len());
            }
            self.shared.table.charge_user(&self.peer, response.body.len());
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

impl Drop for Connection {
    fn drop(&mut self) {
        let shared = &self.shared;
        // The line passes over a connection that is over.
        shared.close_asked.set(true);
        let held = shared.frame.take() + shared.granted.take() + shared.unsent.take() + self.parked_bytes;
        self.sender.budget.give_back(held);
        self.sender.measures.disconnected();
    }
}

/// What is still to be known of a request when it is answered.
#[derive(Clone, Copy)]
struct Asked {
    /// `None`: nobody waits for the answer.
    opaque: Option<i32>,
    code: i32,
    /// When it arrived, if latencies are measured.
    came: Option<Instant>,
    /// It is a pull, and waited for messages.
    held: bool,
}

/// A handler that waits, and the request that it answers.
struct Parked {
    asked: Asked,
    handling: Handling,
    /// The size of its request's body.
    bytes: usize,
}

impl Future for Parked {
    type Output = (Asked, Response, usize);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.handling.as_mut().poll(cx)));
        let response = ready!(polled.unwrap_or_else(|_| Poll::Ready(panicked())));
        Poll::Ready((self.asked, response, self.bytes))
    }
}

/// A handler that panics is a defect of ours; the panic hook has told where. The request is answered all the same.
fn panicked() -> Response {
    Reject::system_error("internal error while this request was handled; the server's log says where").into()
}
