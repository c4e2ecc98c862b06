//! A server: a few data threads, each with its own connections.
//!
//! A connection lives on one thread from start to end; its requests are handled there, and nothing hops. A turn of a
//! thread has four phases:
//!
//! 1. every connection that has received something reads, and its requests are handled (`connection`)
//! 2. `Router::before_replies` runs once: what those requests appended is written
//! 3. every connection with replies sends them, in one call each
//! 4. whoever waited for what phase 2 brought is polled in the next turn
//!
//! Phases 2 and 3 are the thread's `Sender`: a task that yields once, so that it runs behind all that were ready.
//!
//! Every ten seconds a sweep ends connections that have died or hold up others, see [`Limits`].

use crate::budget::Budget;
use crate::connection::{self, Shared};
use crate::measure::{Measures, ServerMeasures};
use crate::proxy::NoHeader;
use crate::reply::Reject;
use crate::router::{Router, Table};
use crate::tls::NotAdmitted;
use parking_lot::Mutex;
use protocol::command::{BadFrame, FRAME_SIZE_MAX};
use rustix::process::{Resource, getrlimit};
use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio::task::LocalSet;
use tokio::time::MissedTickBehavior;

/// In a connection's idle time are so many sweeps.
const SWEEPS: u32 = 12;

/// So many sweeps long a connection may hold memory that others wait for, and move next to nothing.
const SLOW_SWEEPS_MAX: u32 = 2;

/// After so many sweeps, what was logged once is logged again.
const TOLD_SWEEPS: u32 = 30 * SWEEPS;

/// So many peers are named in the log until then, at most.
const TOLD_MAX: usize = 100;

/// So many file descriptors, or a quarter of those there are, connections leave to the process's files.
const FILES_RESERVED: u64 = 1024;

/// For so long the log says no more about refused connections; the first that is taken behind it is worth a line.
const FULL_OVER: Duration = Duration::from_secs(10);

/// How long accepting rests when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a server lets connections have.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A connection on which for so long no whole request arrives and nothing of a reply leaves is closed: it is idle,
    /// or its other end is gone without a word, or sends a frame that never ends, or reads nothing.
    #[doc(alias = "serverChannelMaxIdleTimeSeconds")]
    pub idle: Duration,
    /// Bytes that all connections may hold together: large frames that are arriving, bodies of requests that wait,
    /// replies that are not taken. With more, large frames wait in line, and who holds much is not read from; a
    /// connection that keeps others waiting and for 20 s (a sixth of `idle`) neither sends nor takes 64 KiB is closed.
    pub in_progress: usize,
    /// A connection on which so many requests wait, held pulls above all, is not read from until one is answered.
    pub waiting: usize,
    /// How long answers take is measured, which costs each of them a few dozen nanoseconds.
    pub latencies: bool,
    /// So long a connection may take for a handshake of TLS, and a proxy to say for whom it connects. It is looked at twelve
    /// times in `idle`.
    pub handshake: Duration,
}

impl Default for Limits {
    /// 120 s, as Apache's servers; 256 MiB; 65,535 requests, as Java's clients have no more under way
    /// (`com.rocketmq.remoting.clientAsyncSemaphoreValue`); 10 s for handshakes, as Netty has it; latencies are not
    /// measured.
    fn default() -> Limits {
        Limits {
            idle: Duration::from_secs(120),
            in_progress: 256 * 1024 * 1024,
            waiting: 65_535,
            handshake: Duration::from_secs(10),
            latencies: false,
        }
    }
}

/// How long a stopping thread gives its connections to end.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

enum Order {
    Listen(TcpListener, Arc<Table>),
    Serve(TcpStream, Arc<Table>),
    Stop,
}

type Orders = mpsc::UnboundedSender<Order>;

/// Data threads, and the listeners that feed them. Stops when dropped.
pub struct Server {
    orders: Vec<Orders>,
    threads: Vec<JoinHandle<()>>,
    measures: ServerMeasures,
}

impl Server {
    /// Starts `threads` data threads, at least one.
    pub fn start(threads: usize) -> io::Result<Server> {
        Server::start_with(threads, Limits::default())
    }

    /// Starts `threads` data threads, at least one, with other limits than usual.
    pub fn start_with(threads: usize, limits: Limits) -> io::Result<Server> {
        let (orders, mut receivers): (Vec<_>, Vec<_>) = (0..threads.max(1)).map(|_| mpsc::unbounded_channel()).unzip();
        let limits = Limits { in_progress: (limits.in_progress / orders.len()).max(2 * FRAME_SIZE_MAX), ..limits };
        let deal = Arc::new(Deal { orders: orders.clone(), next: AtomicUsize::new(0), limits, told: Mutex::default() });
        let mut handles = Vec::new();
        let mut measures = Vec::new();
        for (number, receiver) in receivers.drain(..).enumerate() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let deal = deal.clone();
            let of_thread = Arc::new(Measures::new(limits.in_progress, limits.latencies));
            measures.push(of_thread.clone());
            let thread = std::thread::Builder::new().name(format!("data-{number}"));
            handles.push(thread.spawn(move || LocalSet::new().block_on(&runtime, run(receiver, deal, of_thread)))?);
        }
        Ok(Server { orders, threads: handles, measures: ServerMeasures::of(measures) })
    }

    /// What its threads do, in numbers.
    pub fn measures(&self) -> ServerMeasures {
        self.measures.clone()
    }

    /// Serves all who connect to `listener`. Returns where it listens.
    pub fn listen<S: Send + Sync + 'static>(&self, listener: TcpListener, router: Router<S>) -> io::Result<SocketAddr> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        // The thread lives as long as `self`.
        let _ = self.orders[0].send(Order::Listen(listener, Arc::new(router.into_table())));
        Ok(address)
    }

    /// Closes listeners and connections, sends what is still owed, and waits for the threads.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        for orders in &self.orders {
            let _ = orders.send(Order::Stop);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the threads share. Gives each new connection to the next thread.
struct Deal {
    orders: Vec<Orders>,
    next: AtomicUsize,
    /// Of one thread.
    limits: Limits,
    told: Mutex<Told>,
}

/// Whose misbehaviour is in the log already: a peer must not be able to fill it.
#[derive(Default)]
struct Told {
    peers: HashSet<IpAddr>,
    sweeps: u32,
}

impl Deal {
    /// True the first time, for each peer.
    fn tell(&self, peer: IpAddr) -> bool {
        let mut told = self.told.lock();
        told.peers.len() < TOLD_MAX && told.peers.insert(peer.to_canonical())
    }

    fn forget_told(&self) {
        let mut told = self.told.lock();
        told.sweeps += 1;
        if told.sweeps as usize >= TOLD_SWEEPS as usize * self.orders.len() {
            *told = Told::default();
        }
    }

    /// A connection has ended with `error`: a frame that is none is worth a line in the log, and so is TLS that fails.
    fn ended(&self, peer: Option<SocketAddr>, error: &io::Error) {
        let is = |source: &(dyn std::error::Error + Send + Sync + 'static)| {
            (
                source.is::<BadFrame>(),
                source.is::<NotAdmitted>() || source.is::<rustls::Error>() || source.is::<NoHeader>(),
            )
        };
        let (nonsense, stranger) = error.get_ref().map_or((false, false), is);
        match peer {
            Some(peer) if stranger && self.tell(peer.ip()) => tracing::warn!(
                %peer, %error, "connection closed; more of that from this address is not logged for an hour"
            ),
            Some(peer) if nonsense && self.tell(peer.ip()) => tracing::warn!(
                %peer, %error, "connection closed: this is not RocketMQ's protocol; more of that from this address is not \
                logged for an hour"
            ),
            _ => tracing::debug!(?peer, %error, "connection closed"),
        }
    }
}

async fn run(mut orders: mpsc::UnboundedReceiver<Order>, deal: Arc<Deal>, measures: Arc<Measures>) {
    let sender = Rc::new(Sender::new(deal.limits, measures));
    tokio::task::spawn_local(sender.clone().run());
    let mut sweeps = tokio::time::interval(deal.limits.idle / SWEEPS);
    // A thread that was held up, by a slow disk say, must not take its own silence for that of its peers.
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let order = tokio::select! {
            order = orders.recv() => order,
            _ = sweeps.tick() => {
                sender.sweep(&deal);
                deal.forget_told();
                continue;
            }
        };
        match order {
            Some(Order::Listen(listener, table)) => {
                tokio::task::spawn_local(accept(listener, table, deal.clone()));
            }
            Some(Order::Serve(stream, table)) => {
                let (sender, deal) = (sender.clone(), deal.clone());
                tokio::task::spawn_local(async move {
                    let address = stream.peer_addr().ok();
                    let stream = match tokio::net::TcpStream::from_std(stream) {
                        Ok(stream) => stream,
                        Err(error) => return tracing::debug!(?address, %error, "connection lost before it was served"),
                    };
                    if let Err(error) = connection::serve(stream, table, sender).await {
                        deal.ended(address, &error);
                    }
                });
            }
            Some(Order::Stop) | None => return sender.close_all().await,
        }
    }
}

async fn accept(listener: TcpListener, table: Arc<Table>, deal: Arc<Deal>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "can't accept connections"),
    };
    // What a full process says once, until it is not full any more.
    let mut full_since = None;
    loop {
        match listener.accept().await.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
            Ok((stream, peer)) => {
                // The system hands out the lowest number that is free: so many files and connections are open.
                let open = stream.as_raw_fd() as u64;
                let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
                if open + FILES_RESERVED.min(limit / 4) >= limit {
                    drop(stream);
                    if full_since.is_none() {
                        tracing::warn!(
                            %peer, open, limit, "connections are refused: the limit on open files is near, and the rest \
                            is for the process's own; raise it (ulimit -n, LimitNOFILE)"
                        );
                    }
                    full_since.get_or_insert_with(Instant::now);
                    continue;
                }
                if let Some(since) = full_since.take_if(|since| since.elapsed() > FULL_OVER) {
                    tracing::warn!(for_the_last = ?since.elapsed(), "connections are taken again");
                }
                let thread = deal.next.fetch_add(1, Ordering::Relaxed) % deal.orders.len();
                let _ = deal.orders[thread].send(Order::Serve(stream, table.clone()));
            }
            // Who wanted to connect has gone again.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
            Err(error) => {
                if full_since.is_none() {
                    tracing::warn!(%error, "can't accept connections; is the limit on open files (ulimit -n) reached?");
                }
                full_since.get_or_insert_with(Instant::now);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Phases 2 and 3 of a thread's turn.
pub(crate) struct Sender {
    /// Connections that handled something since the last turn.
    queue: RefCell<Vec<Rc<Shared>>>,
    /// The queue's other buffer.
    spare: RefCell<Vec<Rc<Shared>>>,
    asked: Notify,
    connections: RefCell<Vec<Weak<Shared>>>,
    pub(crate) budget: Budget,
    /// [`Limits::waiting`].
    pub(crate) waiting_max: usize,
    pub(crate) measures: Arc<Measures>,
    /// [`Limits::handshake`].
    pub(crate) handshake_max: Duration,
}

impl Sender {
    fn new(limits: Limits, measures: Arc<Measures>) -> Sender {
        Sender {
            queue: RefCell::default(),
            spare: RefCell::default(),
            asked: Notify::new(),
            connections: RefCell::default(),
            budget: Budget::new(limits.in_progress, measures.clone()),
            waiting_max: limits.waiting,
            measures,
            handshake_max: limits.handshake,
        }
    }

    /// Takes part in sweeps and in the end.
    pub(crate) fn join(&self, connection: &Rc<Shared>) {
        self.connections.borrow_mut().push(Rc::downgrade(connection));
    }

    /// Has `connection` sent at the end of this turn.
    pub(crate) fn queue(&self, connection: &Rc<Shared>) {
        if !connection.queued.replace(true) {
            let mut queue = self.queue.borrow_mut();
            if queue.is_empty() {
                self.asked.notify_one();
            }
            queue.push(connection.clone());
        }
    }

    async fn run(self: Rc<Sender>) {
        loop {
            self.asked.notified().await;
            tokio::task::yield_now().await;
            self.send_now();
        }
    }

    /// Ends the turn here and now.
    pub(crate) fn send_now(&self) {
        let mut queue = self.queue.replace(self.spare.take());
        // Connections of one port share a table; there are few ports.
        let mut written: Vec<(Arc<Table>, Result<(), Reject>)> = Vec::new();
        for connection in &queue {
            if let Some(before_replies) = &connection.table.before_replies
                && !written.iter().any(|(table, _)| Arc::ptr_eq(table, &connection.table))
            {
                written.push((connection.table.clone(), before_replies()));
            }
        }
        for connection in queue.drain(..) {
            connection.queued.set(false);
            let written = written.iter().find(|(table, _)| Arc::ptr_eq(table, &connection.table));
            let written = written.map_or(&Ok(()), |(_, written)| written);
            connection.send(written, &self.budget);
            connection.count_answers(written, &self.measures);
        }
        self.spare.replace(queue);
    }

    /// Closes connections that are dead or hold up others, forgets those that are gone.
    fn sweep(&self, deal: &Deal) {
        let needed = self.budget.has_line();
        self.connections.borrow_mut().retain(|connection| {
            let Some(connection) = connection.upgrade() else { return false };
            let quiet = connection.quiet_sweeps.get() + 1;
            connection.quiet_sweeps.set(quiet);
            let slow = connection.slow_sweeps(needed) > SLOW_SWEEPS_MAX;
            if slow && deal.tell(connection.peer.ip()) {
                tracing::warn!(
                    peer = %connection.peer, "connection closed: it holds memory that others wait for, and neither sends its \
                    request nor reads its replies"
                );
            }
            if slow || quiet > SWEEPS || connection.dawdles(self.handshake_max) {
                connection.close();
            }
            true
        });
    }

    async fn close_all(&self) {
        self.send_now();
        for connection in self.connections.borrow().iter().filter_map(Weak::upgrade) {
            connection.close();
        }
        let all_gone = async {
            while self.connections.borrow().iter().any(|connection| connection.strong_count() > 0) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let _ = tokio::time::timeout(STOP_TIMEOUT, all_gone).await;
    }
}
