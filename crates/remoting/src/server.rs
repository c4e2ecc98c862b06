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

use crate::connection::{self, Shared};
use crate::reply::Reject;
use crate::router::{Router, Table};
use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::LocalSet;

/// A connection on which nothing arrives for `SWEEP` × `QUIET_SWEEPS_MAX` = 120 s is closed (`serverChannelMaxIdleTimeSeconds`).
const SWEEP: Duration = Duration::from_secs(10);
const QUIET_SWEEPS_MAX: u32 = 12;

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
}

impl Server {
    /// Starts `threads` data threads, at least one.
    pub fn start(threads: usize) -> io::Result<Server> {
        let (orders, mut receivers): (Vec<_>, Vec<_>) = (0..threads.max(1)).map(|_| mpsc::unbounded_channel()).unzip();
        let deal = Arc::new(Deal { orders: orders.clone(), next: AtomicUsize::new(0) });
        let mut handles = Vec::new();
        for (number, receiver) in receivers.drain(..).enumerate() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let deal = deal.clone();
            let thread = std::thread::Builder::new().name(format!("data-{number}"));
            handles.push(thread.spawn(move || LocalSet::new().block_on(&runtime, run(receiver, deal)))?);
        }
        Ok(Server { orders, threads: handles })
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

/// Gives each new connection to the next thread.
struct Deal {
    orders: Vec<Orders>,
    next: AtomicUsize,
}

async fn run(mut orders: mpsc::UnboundedReceiver<Order>, deal: Arc<Deal>) {
    let sender = Rc::new(Sender::default());
    tokio::task::spawn_local(sender.clone().run());
    let mut sweeps = tokio::time::interval(SWEEP);
    loop {
        let order = tokio::select! {
            order = orders.recv() => order,
            _ = sweeps.tick() => { sender.sweep(); continue }
        };
        match order {
            Some(Order::Listen(listener, table)) => {
                tokio::task::spawn_local(accept(listener, table, deal.clone()));
            }
            Some(Order::Serve(stream, table)) => {
                let sender = sender.clone();
                tokio::task::spawn_local(async move {
                    let address = stream.peer_addr().ok();
                    let stream = match tokio::net::TcpStream::from_std(stream) {
                        Ok(stream) => stream,
                        Err(error) => return tracing::warn!(?address, %error, "connection lost before it was served"),
                    };
                    if let Err(error) = connection::serve(stream, table, sender).await {
                        tracing::debug!(?address, %error, "connection closed");
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
    loop {
        match listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => {
                let thread = deal.next.fetch_add(1, Ordering::Relaxed) % deal.orders.len();
                let _ = deal.orders[thread].send(Order::Serve(stream, table.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection; is the limit on open files (ulimit -n) reached?");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Phases 2 and 3 of a thread's turn.
#[derive(Default)]
pub(crate) struct Sender {
    /// Connections that handled something since the last turn.
    queue: RefCell<Vec<Rc<Shared>>>,
    /// The queue's other buffer.
    spare: RefCell<Vec<Rc<Shared>>>,
    asked: Notify,
    connections: RefCell<Vec<Weak<Shared>>>,
}

impl Sender {
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
            connection.send(written.map_or(&Ok(()), |(_, written)| written));
        }
        self.spare.replace(queue);
    }

    /// Closes connections on which nothing has arrived for long, forgets those that are gone.
    fn sweep(&self) {
        self.connections.borrow_mut().retain(|connection| {
            let Some(connection) = connection.upgrade() else { return false };
            let quiet = connection.quiet_sweeps.get() + 1;
            connection.quiet_sweeps.set(quiet);
            if quiet > QUIET_SWEEPS_MAX {
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
