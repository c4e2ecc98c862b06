//! What this machine can do at most: a server that takes RocketMQ's frames, and does as little as can be done.
//!
//! `probe send`   appends each frame's body to a file and answers each frame; one write and one send per turn of a thread
//! `probe sync`   the same, and answers only what `fdatasync` has brought to disk; one for all that wait
//! `probe pull`   answers each frame with 32 messages of 1 KiB, which the kernel sends from a file
//!
//! No topic, no queue, no check: what a broker loses against it is what it does for its users. It prints its port, under
//! which it is its own name server, so that `cometmq bench -n 127.0.0.1:PORT` measures it as it measures any broker.

use rustix::fs::{fdatasync, sendfile};
use rustix::net::SendFlags;
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
        let mut record = vec![b'm'; RECORD];
        record[..4].copy_from_slice(&(RECORD as u32).to_be_bytes());
        file.write_all_at(&record.repeat(PULLED), 0).unwrap();
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
    let port = listener.local_addr().unwrap().port();
    println!("{port}");
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
                    tokio::task::spawn_local(serve(port, stream, turn.clone(), log.clone(), mode));
                }
            })
        });
    }
    for (number, stream) in listener.incoming().enumerate() {
        let _ = feeds[number % THREADS].send(stream.unwrap());
    }
}

async fn serve(port: u16, stream: std::net::TcpStream, turn: Rc<Turn>, log: Arc<Log>, mode: Mode) {
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
            answer(frame, mode, port, &mut connection.out.borrow_mut());
        }
        let left = rest.len();
        incoming.drain(..incoming.len() - left);
        if !connection.queued.replace(true) {
            turn.queue.borrow_mut().push(connection.clone());
            turn.asked.notify_one();
        }
    }
}

const PULL_MESSAGE: i64 = 11;
const GET_MAX_OFFSET: i64 = 30;
const GET_ROUTEINFO_BY_TOPIC: i64 = 105;

/// Answers a frame, but for the body of a pull. The header of an answer to a pull says so with `"pull"`.
fn answer(frame: &[u8], mode: Mode, port: u16, out: &mut Vec<u8>) {
    let header = &frame[4..4 + (u32::from_be_bytes([0, frame[1], frame[2], frame[3]]) as usize)];
    let (code, opaque) = (number(header, b"\"code\":"), number(header, b"\"opaque\":"));
    let pulled = mode == Mode::Pull && code == PULL_MESSAGE;
    let route = format!(
        "{{\"brokerDatas\":[{{\"brokerAddrs\":{{\"0\":\"127.0.0.1:{port}\"}},\"brokerName\":\"probe\",\"cluster\":\"probe\"}}],\
         \"filterServerTable\":{{}},\"queueDatas\":[{{\"brokerName\":\"probe\",\"perm\":6,\"readQueueNums\":1,\
         \"topicSysFlag\":0,\"writeQueueNums\":1}}]}}"
    );
    let body = if code == GET_ROUTEINFO_BY_TOPIC { route.as_bytes() } else { b"" };
    let offset = if code == GET_MAX_OFFSET { PULLED } else { 0 };
    let kind = if pulled { PULLED_MARK } else { "" };
    let header = format!(
        "{{\"code\":0,\"extFields\":{{{kind}\"msgId\":\"0A00000100002A9F0000000000000000\",\"queueId\":\"0\",\
         \"queueOffset\":\"1\",\"offset\":\"{offset}\",\"nextBeginOffset\":\"0\",\"minOffset\":\"0\",\"maxOffset\":\"32\",\
         \"suggestWhichBrokerId\":\"0\"}},\"flag\":1,\"language\":\"JAVA\",\"opaque\":{opaque},\"version\":479}}"
    );
    let body_size = if pulled { RECORD * PULLED } else { body.len() };
    out.extend_from_slice(&((4 + header.len() + body_size) as u32).to_be_bytes());
    out.extend_from_slice(&(header.len() as u32).to_be_bytes());
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(body);
}

const PULLED_MARK: &str = "\"pull\":\"1\",";

fn number(header: &[u8], key: &[u8]) -> i64 {
    let at = header.windows(key.len()).rposition(|window| window == key).unwrap() + key.len();
    let digits = header[at..].iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'-').count();
    std::str::from_utf8(&header[at..at + digits]).unwrap().parse().unwrap()
}

/// One write for all connections of a turn, then one send for each.
async fn end_turns(turn: Rc<Turn>, log: Arc<Log>, mode: Mode) {
    loop {
        turn.asked.notified().await;
        tokio::task::yield_now().await;
        let end = log.write_out();
        let ready = std::mem::take(&mut *turn.queue.borrow_mut());
        let answers: Vec<_> = ready
            .into_iter()
            .map(|connection| {
                connection.queued.set(false);
                let out = std::mem::take(&mut *connection.out.borrow_mut());
                (connection, out)
            })
            .collect();
        if mode == Mode::Sync {
            *log.flush_asked.lock().unwrap() = true;
            log.flush.notify_one();
            // The next turn goes on meanwhile, and shares the next flush.
            let mut flushed = log.flushed.subscribe();
            tokio::task::spawn_local(async move {
                flushed.wait_for(|flushed| *flushed >= end).await.unwrap();
                for (connection, out) in answers {
                    send(&connection.socket, &out, SendFlags::NOSIGNAL).await;
                }
            });
            continue;
        }
        for (connection, out) in answers {
            if mode == Mode::Pull {
                let mut rest = &out[..];
                while let Some(size) = rest.get(4..8) {
                    let header = u32::from_be_bytes(size.try_into().unwrap()) as usize;
                    if rest[8..8 + header].windows(PULLED_MARK.len()).any(|window| window == PULLED_MARK.as_bytes()) {
                        send(&connection.socket, &rest[..8 + header], SendFlags::NOSIGNAL | SendFlags::MORE).await;
                        send_file(&connection.socket, &log.file).await;
                        rest = &rest[8 + header..];
                    } else {
                        let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
                        send(&connection.socket, &rest[..4 + length], SendFlags::NOSIGNAL).await;
                        rest = &rest[4 + length..];
                    }
                }
            } else {
                send(&connection.socket, &out, SendFlags::NOSIGNAL).await;
            }
        }
    }
}

async fn send(socket: &OwnedWriteHalf, mut bytes: &[u8], flags: SendFlags) {
    let stream: &tokio::net::TcpStream = socket.as_ref();
    while !bytes.is_empty() {
        match stream.try_io(Interest::WRITABLE, || Ok(rustix::net::send(stream, bytes, flags)?)) {
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
