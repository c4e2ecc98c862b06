//! What this machine can do at most: a server that takes RocketMQ's frames, and does as little as can be done.
//!
//! `probe send`   appends each frame's body to a file and answers each frame; one write and one send per turn of a thread
//! `probe sync`   the same, and answers only what `fdatasync` has brought to disk; one for all that wait
//! `probe pull`   answers each frame with 32 messages of 1 KiB, which the kernel sends from a file
//!
//! No topic, no queue, no check: what a broker loses against it is what it does for its users. It prints its port.

use rustix::fs::{fdatasync, sendfile};
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::LocalSet;

const RECORD: usize = 1186;
const PULLED: usize = 32;
const THREADS: usize = 2;
/// The log is written round and round within so many bytes.
const LOG_SIZE: u64 = 1 << 30;

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Send,
    Sync,
    Pull,
}

struct Log {
    file: File,
    staged: Mutex<Vec<u8>>,
    writing: Mutex<Vec<u8>>,
    at: AtomicU64,
    written: AtomicU64,
    flush: Condvar,
    flush_asked: Mutex<bool>,
    flushed: watch::Sender<u64>,
}

impl Log {
    /// Returns the position behind all that was staged before.
    fn write_out(&self) -> u64 {
        let mut writing = self.writing.lock().unwrap();
        std::mem::swap(&mut *writing, &mut *self.staged.lock().unwrap());
        let at = self.at.fetch_add(writing.len() as u64, Ordering::SeqCst);
        if !writing.is_empty() {
            self.file.write_all_at(&writing, at % LOG_SIZE).unwrap();
        }
        let end = at + writing.len() as u64;
        writing.clear();
        self.written.store(end, Ordering::SeqCst);
        end
    }

    fn flush_forever(&self) {
        loop {
            let mut asked = self.flush_asked.lock().unwrap();
            while !std::mem::take(&mut *asked) {
                asked = self.flush.wait(asked).unwrap();
            }
            drop(asked);
            let end = self.written.load(Ordering::SeqCst);
            fdatasync(&self.file).unwrap();
            self.flushed.send_replace(end);
        }
    }
}

struct Connection {
    socket: OwnedWriteHalf,
    out: RefCell<Vec<u8>>,
    queued: Cell<bool>,
}

#[derive(Default)]
struct Turn {
    queue: RefCell<Vec<Rc<Connection>>>,
    asked: Notify,
}

fn main() {
    let mode = match std::env::args().nth(1).as_deref() {
        Some("send") => Mode::Send,
        Some("sync") => Mode::Sync,
        Some("pull") => Mode::Pull,
        _ => panic!("usage: probe send|sync|pull"),
    };
    let file = tempfile::tempfile_in(".").unwrap();
    if mode == Mode::Pull {
        file.write_all_at(&vec![b'm'; RECORD * PULLED], 0).unwrap();
    }
    let log = Arc::new(Log {
        file,
        staged: Mutex::default(),
        writing: Mutex::default(),
        at: AtomicU64::new(0),
        written: AtomicU64::new(0),
        flush: Condvar::new(),
        flush_asked: Mutex::new(false),
        flushed: watch::channel(0).0,
    });
    if mode == Mode::Sync {
        let log = log.clone();
        std::thread::spawn(move || log.flush_forever());
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    io::stdout().flush().unwrap();
    let (feeds, mut ends): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| mpsc::unbounded_channel()).unzip();
    for mut feed in ends.drain(..) {
        let log = log.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async move {
                let turn = Rc::new(Turn::default());
                tokio::task::spawn_local(end_turns(turn.clone(), log.clone(), mode));
                while let Some(stream) = feed.recv().await {
                    tokio::task::spawn_local(serve(stream, turn.clone(), log.clone(), mode));
                }
            })
        });
    }
    for (number, stream) in listener.incoming().enumerate() {
        let _ = feeds[number % THREADS].send(stream.unwrap());
    }
}

async fn serve(stream: std::net::TcpStream, turn: Rc<Turn>, log: Arc<Log>, mode: Mode) {
    stream.set_nonblocking(true).unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut source, socket) = tokio::net::TcpStream::from_std(stream).unwrap().into_split();
    let connection = Rc::new(Connection { socket, out: RefCell::default(), queued: Cell::new(false) });
    let mut incoming = Vec::with_capacity(256 * 1024);
    while matches!(source.read_buf(&mut incoming).await, Ok(count) if count > 0) {
        let mut rest = &incoming[..];
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let Some((frame, behind)) = behind.split_at_checked(u32::from_be_bytes(*length) as usize) else { break };
            rest = behind;
            if mode != Mode::Pull {
                log.staged.lock().unwrap().extend_from_slice(&frame[frame.len().saturating_sub(RECORD)..]);
            }
            answer(frame, mode, &mut connection.out.borrow_mut());
        }
        let left = rest.len();
        incoming.drain(..incoming.len() - left);
        if !connection.queued.replace(true) {
            turn.queue.borrow_mut().push(connection.clone());
            turn.asked.notify_one();
        }
    }
}

fn answer(frame: &[u8], mode: Mode, out: &mut Vec<u8>) {
    const KEY: &[u8] = b"\"opaque\":";
    let header = &frame[4..4 + (u32::from_be_bytes([0, frame[1], frame[2], frame[3]]) as usize)];
    let at = header.windows(KEY.len()).rposition(|window| window == KEY).unwrap() + KEY.len();
    let digits = header[at..].iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'-').count();
    let fields = "\"msgId\":\"0A00000100002A9F0000000000000000\",\"queueId\":\"2\",\"queueOffset\":\"1\",\"nextBeginOffset\":\"0\",\
                  \"minOffset\":\"0\",\"maxOffset\":\"32\",\"suggestWhichBrokerId\":\"0\"";
    let opaque = std::str::from_utf8(&header[at..at + digits]).unwrap();
    let header = format!(
        "{{\"code\":0,\"extFields\":{{{fields}}},\"flag\":1,\"language\":\"JAVA\",\"opaque\":{opaque},\"version\":479}}"
    );
    let body = if mode == Mode::Pull { RECORD * PULLED } else { 0 };
    out.extend_from_slice(&((4 + header.len() + body) as u32).to_be_bytes());
    out.extend_from_slice(&(header.len() as u32).to_be_bytes());
    out.extend_from_slice(header.as_bytes());
}

/// One write for all connections of a turn, then one send for each.
async fn end_turns(turn: Rc<Turn>, log: Arc<Log>, mode: Mode) {
    let mut flushed = log.flushed.subscribe();
    loop {
        turn.asked.notified().await;
        tokio::task::yield_now().await;
        let end = log.write_out();
        let ready = std::mem::take(&mut *turn.queue.borrow_mut());
        if mode == Mode::Sync {
            *log.flush_asked.lock().unwrap() = true;
            log.flush.notify_one();
            flushed.wait_for(|flushed| *flushed >= end).await.unwrap();
        }
        for connection in ready {
            connection.queued.set(false);
            let out = std::mem::take(&mut *connection.out.borrow_mut());
            if mode == Mode::Pull {
                let mut rest = &out[..];
                while let Some(size) = rest.get(4..8) {
                    let (head, behind) = rest.split_at(8 + u32::from_be_bytes(size.try_into().unwrap()) as usize);
                    rest = behind;
                    send(&connection.socket, head).await;
                    send_file(&connection.socket, &log.file).await;
                }
            } else {
                send(&connection.socket, &out).await;
            }
        }
    }
}

async fn send(socket: &OwnedWriteHalf, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match socket.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.writable().await.unwrap(),
            Err(_) => return,
        }
    }
}

async fn send_file(socket: &OwnedWriteHalf, file: &File) {
    let mut at = 0;
    while at < (RECORD * PULLED) as u64 {
        let stream: &tokio::net::TcpStream = socket.as_ref();
        let rest = RECORD * PULLED - at as usize;
        match stream.try_io(Interest::WRITABLE, || Ok(sendfile(stream, file, Some(&mut at), rest)?)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.writable().await.unwrap(),
            Err(_) => return,
        }
    }
}
