//! Peers that misbehave: the server bounds what they cost, and those beside them notice nothing.
//!
//! `HOSTILE=1` makes each of them many.

use bytes::{Bytes, BytesMut};
use protocol::code::request;
use protocol::command::Command;
use protocol::request::client::GetConsumerList;
use protocol::request::offset::{GetMaxOffset, GetMinOffset, OffsetReply};
use protocol::request::{Empty, Request};
use remoting::{Answer, Body, Call, Limits, Reject, Router, Server};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Far longer than anything here takes.
const SOON: Duration = Duration::from_secs(240);

const REPLY: usize = 1024 * 1024;

fn times(few: usize, many: usize) -> usize {
    if std::env::var_os("HOSTILE").is_some() { many } else { few }
}

struct State {
    /// Requests that handlers have seen.
    handled: AtomicUsize,
    /// Requests that waited and are answered.
    answered: AtomicUsize,
    gone: AtomicUsize,
    open: watch::Sender<bool>,
}

/// Answers at once, with the body that came.
async fn echo(state: Arc<State>, call: Call<GetMaxOffset>) -> Result<Answer<OffsetReply>, Reject> {
    state.handled.fetch_add(1, Ordering::SeqCst);
    Ok(Answer::new(OffsetReply { offset: call.request.queue_id.into() })
        .with_body(Body::Bytes(call.body))
        .behind_write())
}

/// Waits until the gate is open.
async fn wait(state: Arc<State>, call: Call<GetMinOffset>) -> Result<Answer<OffsetReply>, Reject> {
    state.handled.fetch_add(1, Ordering::SeqCst);
    let _ = state.open.subscribe().wait_for(|open| *open).await;
    state.answered.fetch_add(1, Ordering::SeqCst);
    // Queue 1 answers with much.
    let body = if call.request.queue_id == 1 { vec![7; REPLY] } else { Vec::new() };
    Ok(Answer::new(OffsetReply { offset: 0 }).with_body(body))
}

/// Answers a small request with much.
async fn much(state: Arc<State>, _: Call<GetConsumerList>) -> Result<Answer<Empty>, Reject> {
    state.handled.fetch_add(1, Ordering::SeqCst);
    Ok(Answer::new(Empty {}).with_body(Body::Bytes(Bytes::from(vec![7; REPLY]))))
}

struct Serving {
    _server: Server,
    address: SocketAddr,
    state: Arc<State>,
}

impl Serving {
    fn start(limits: Limits) -> Serving {
        let state = Arc::new(State {
            handled: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
            gone: AtomicUsize::new(0),
            open: watch::Sender::new(false),
        });
        let server = Server::start_with(1, limits).unwrap();
        let router =
            Router::new(state.clone()).on(echo).on(wait).on(much).before_replies(|_| Ok(())).on_close(|state, _| {
                state.gone.fetch_add(1, Ordering::SeqCst);
            });
        let address = server.listen(TcpListener::bind("127.0.0.1:0").unwrap(), router).unwrap();
        Serving { _server: server, address, state }
    }

    fn handled(&self) -> usize {
        self.state.handled.load(Ordering::SeqCst)
    }

    fn until_handled(&self, count: usize) {
        let deadline = Instant::now() + SOON;
        while self.handled() < count {
            assert!(Instant::now() < deadline, "{} of {count} are handled", self.handled());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How many requests were handled when no more are for a while.
    fn handled_at_rest(&self) -> usize {
        at_rest(|| self.handled())
    }

    fn until_gone(&self, connections: usize) {
        let deadline = Instant::now() + SOON;
        while self.state.gone.load(Ordering::SeqCst) < connections {
            assert!(Instant::now() < deadline, "{} of {connections} are gone", self.state.gone.load(Ordering::SeqCst));
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// A count, when it does not change for a while.
fn at_rest(count: impl Fn() -> usize) -> usize {
    let mut last = (count(), Instant::now());
    while last.1.elapsed() < Duration::from_millis(300) {
        if count() != last.0 {
            last = (count(), Instant::now());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    last.0
}

/// Not so short that one that behaves could miss it on a busy machine.
fn hasty() -> Limits {
    Limits { idle: Duration::from_secs(5), ..Limits::default() }
}

fn max_offset(queue_id: i32) -> Command {
    GetMaxOffset { topic: "T".into(), queue_id }.write()
}

fn frame(mut command: Command, opaque: i32, body: usize) -> Vec<u8> {
    command.opaque = opaque;
    command.body = vec![1; body].into();
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    bytes
}

struct Raw {
    socket: TcpStream,
    buffer: BytesMut,
}

impl Raw {
    fn connect(address: SocketAddr) -> Raw {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Raw { socket, buffer: BytesMut::new() }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Writes from a thread of its own, as it may take until replies are read.
    fn write_beside(&self, bytes: Vec<u8>) {
        let mut socket = self.socket.try_clone().unwrap();
        std::thread::spawn(move || {
            // The server may have closed.
            let _ = socket.write_all(&bytes);
        });
    }

    /// The next frame; `None` when the server has closed.
    fn receive(&mut self) -> Option<Command> {
        loop {
            if let Some(command) = Command::decode(&mut self.buffer).unwrap() {
                return Some(command);
            }
            let mut chunk = [0; 64 * 1024];
            match self.socket.read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return None;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[track_caller]
    fn asks(&mut self, opaque: i32, body: usize) {
        self.write(&frame(max_offset(3), opaque, body));
        let answer = self.receive().expect("a connection that behaves stays");
        assert_eq!((answer.opaque, answer.code, answer.body.len()), (opaque, 0, body));
    }

    /// Ends the connection with a reset.
    fn reset(self) {
        SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

#[test]
fn a_frame_cut_anywhere_is_answered_when_it_is_whole() {
    let serving = Serving::start(Limits::default());
    let bytes = frame(max_offset(9), 5, 20);
    let mut healthy = Raw::connect(serving.address);
    let mut patient = Raw::connect(serving.address);
    for cut in 1..bytes.len() {
        patient.write(&bytes[..cut]);
        healthy.asks(cut as i32, 1);
        patient.write(&bytes[cut..]);
        assert_eq!(patient.receive().unwrap().opaque, 5);
        // Another gives up there.
        let mut quitter = Raw::connect(serving.address);
        quitter.asks(1, 1);
        quitter.write(&bytes[..cut]);
        if cut % 2 == 0 { quitter.reset() } else { quitter.socket.shutdown(Shutdown::Write).unwrap() }
    }
    for byte in &bytes {
        patient.write(&[*byte]);
    }
    assert_eq!(patient.receive().unwrap().opaque, 5);
    serving.until_gone(bytes.len() - 1);
}

#[test]
fn a_frame_that_never_ends_does_not_keep_its_connection() {
    let serving = Serving::start(hasty());
    let whole = frame(max_offset(9), 5, 10_000);
    let mut healthy = Raw::connect(serving.address);
    let mut silent: Vec<Raw> = [4, 8, 100, 9000]
        .map(|cut| {
            let mut raw = Raw::connect(serving.address);
            raw.write(&whole[..cut]);
            raw
        })
        .into();
    let mut trickling = Raw::connect(serving.address);
    let mut sent = 0;
    let deadline = Instant::now() + SOON;
    // Its bytes come all the time, and it is closed all the same.
    while trickling.socket.write_all(&whole[sent..=sent]).is_ok() {
        sent += 1;
        healthy.asks(sent as i32, 10);
        assert!(sent < whole.len() - 1 && Instant::now() < deadline, "it was never closed");
        std::thread::sleep(Duration::from_millis(5));
    }
    silent.iter_mut().for_each(|raw| assert!(raw.receive().is_none()));
    serving.until_gone(5);
    healthy.asks(1, 1);
}

#[test]
fn who_says_nothing_is_closed_and_who_speaks_is_not() {
    let serving = Serving::start(hasty());
    let mut idle: Vec<Raw> = (0..times(50, 5000)).map(|_| Raw::connect(serving.address)).collect();
    let mut healthy = Raw::connect(serving.address);
    let mut opaque = 0;
    while serving.state.gone.load(Ordering::SeqCst) < idle.len() {
        opaque += 1;
        healthy.asks(opaque, 1);
        std::thread::sleep(Duration::from_millis(20));
        assert!(opaque < 3000);
    }
    idle.iter_mut().for_each(|raw| assert!(raw.receive().is_none()));
}

#[test]
fn replies_that_nobody_reads_are_few() {
    let serving = Serving::start(Limits::default());
    let requests = times(300, 3000);
    let bytes: Vec<u8> = (0..requests).flat_map(|n| frame(GetConsumerList::default().write(), n as i32, 0)).collect();
    let mut hungry = Raw::connect(serving.address);
    hungry.write_beside(bytes);
    let handled = serving.handled_at_rest();
    // One is encoded beyond the limit, and some fit into the buffers of two sockets.
    assert!(handled <= 24, "{handled} replies of 1 MiB wait for one peer");
    Raw::connect(serving.address).asks(1, 1);
    for opaque in 0..requests {
        let answer = hungry.receive().unwrap();
        assert_eq!((answer.opaque, answer.body.len()), (opaque as i32, REPLY));
    }
}

#[test]
fn requests_that_waited_are_answered_as_replies_are_read() {
    let serving = Serving::start(Limits::default());
    let requests = times(300, 3000);
    let pulls = (0..requests).flat_map(|n| frame(GetMinOffset { topic: "T".into(), queue_id: 1 }.write(), n as i32, 0));
    let mut hungry = Raw::connect(serving.address);
    hungry.write_beside(pulls.collect());
    serving.until_handled(requests);
    serving.state.open.send_replace(true);
    let answered = at_rest(|| serving.state.answered.load(Ordering::SeqCst));
    assert!(answered <= 24, "{answered} replies of 1 MiB wait for one peer");
    Raw::connect(serving.address).asks(1, 1);
    for _ in 0..requests {
        assert_eq!(hungry.receive().unwrap().body.len(), REPLY);
    }
}

#[test]
fn who_never_reads_is_dropped_and_forgotten() {
    let serving = Serving::start(hasty());
    let count = times(20, 200);
    let hungry: Vec<Raw> = (0..count)
        .map(|_| {
            let raw = Raw::connect(serving.address);
            raw.write_beside((0..100).flat_map(|n| frame(GetConsumerList::default().write(), n, 0)).collect());
            raw
        })
        .collect();
    let mut healthy = Raw::connect(serving.address);
    for opaque in 0..50 {
        healthy.asks(opaque, 1000);
    }
    let (deadline, mut opaque) = (Instant::now() + SOON, 50);
    while serving.state.gone.load(Ordering::SeqCst) < count {
        opaque += 1;
        healthy.asks(opaque, 1000);
        std::thread::sleep(Duration::from_millis(10));
        assert!(Instant::now() < deadline);
    }
    drop(hungry);
}

#[test]
fn requests_that_wait_on_one_connection_are_bounded_and_all_answered() {
    let max = times(1000, 65_535);
    let serving = Serving::start(Limits { waiting: max, ..Limits::default() });
    let mut greedy = Raw::connect(serving.address);
    let requests = max + 1000;
    greedy.write_beside((0..requests).flat_map(|n| frame(GetMinOffset::default().write(), n as i32, 0)).collect());
    serving.until_handled(max);
    assert_eq!(serving.handled_at_rest(), max);
    Raw::connect(serving.address).asks(1, 1);
    serving.state.open.send_replace(true);
    let mut seen = vec![false; requests];
    for _ in 0..requests {
        let opaque = greedy.receive().unwrap().opaque as usize;
        assert!(!std::mem::replace(&mut seen[opaque], true), "{opaque} is answered twice");
    }
}

#[test]
fn bodies_that_wait_are_bounded_on_one_connection_and_on_all() {
    let limits = Limits { in_progress: 64 * 1024 * 1024, ..Limits::default() };
    let serving = Serving::start(limits);
    let body = 1024 * 1024;
    let mut greedy: Vec<Raw> = Vec::new();
    let mut echoed = 0;
    for connections in [1, 6] {
        while greedy.len() < connections {
            let raw = Raw::connect(serving.address);
            raw.write_beside((0..40).flat_map(|n| frame(GetMinOffset::default().write(), n, body)).collect());
            greedy.push(raw);
        }
        let bounded = if connections == 1 { 33 } else { 64 };
        serving.until_handled(echoed + bounded / 2);
        let handled = serving.handled_at_rest() - echoed;
        assert!(handled <= bounded, "{handled} bodies of 1 MiB wait of {connections} peers");
        let mut healthy = Raw::connect(serving.address);
        for opaque in 0..20 {
            healthy.asks(opaque, 1000);
        }
        echoed += 20;
    }
    serving.state.open.send_replace(true);
    for raw in &mut greedy {
        let mut opaques: Vec<i32> = (0..40).map(|_| raw.receive().unwrap().opaque).collect();
        opaques.sort();
        assert_eq!(opaques, (0..40).collect::<Vec<_>>());
    }
}

#[test]
fn large_frames_that_stop_half_way_give_way_to_those_that_come() {
    // Two of the largest frames fit at a time.
    let idle = Duration::from_secs(18);
    let serving = Serving::start(Limits { in_progress: 0, idle, ..Limits::default() });
    let begun = Instant::now();
    let hogs: Vec<Raw> = (0..2)
        .map(|_| {
            let raw = Raw::connect(serving.address);
            let mut half = frame(max_offset(1), 1, 16_000_000);
            half.truncate(12_000_000);
            raw.write_beside(half);
            raw
        })
        .collect();
    let mut small = Raw::connect(serving.address);
    small.asks(1, 1000);
    let address = serving.address;
    let large = std::thread::spawn(move || {
        let mut large = Raw::connect(address);
        large.write_beside(frame(max_offset(1), 2, 4_000_000));
        large.receive().map(|answer| answer.body.len())
    });
    let (deadline, mut opaque) = (Instant::now() + SOON, 1);
    while !large.is_finished() {
        opaque += 1;
        small.asks(opaque, 10_000);
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(large.join().unwrap(), Some(4_000_000), "who sends its whole frame is answered");
    assert!(begun.elapsed() < idle, "and need not wait until the others are idle");
    serving.until_gone(1);
    drop(hogs);
}

#[test]
fn replies_that_nobody_asked_for_cost_nothing() {
    let serving = Serving::start(Limits::default());
    let mut chatty = Raw::connect(serving.address);
    let mut healthy = Raw::connect(serving.address);
    let mut bytes = Vec::new();
    for opaque in 0..1000 {
        bytes.extend(frame(Command::response(0), opaque, 50));
        bytes.extend(frame(Command::response(request::PULL_MESSAGE).oneway(), opaque, 0));
    }
    for round in 0..times(50, 500) {
        chatty.write(&bytes);
        healthy.asks(round as i32, 1);
    }
    chatty.asks(77, 5);
    assert_eq!(serving.handled(), times(50, 500) + 1);
}

#[test]
fn one_opaque_twice_is_two_answers() {
    let serving = Serving::start(Limits::default());
    let mut raw = Raw::connect(serving.address);
    raw.write(
        &[frame(GetMinOffset::default().write(), 4, 0), frame(max_offset(1), 4, 1), frame(max_offset(1), 4, 2)]
            .concat(),
    );
    assert_eq!(
        [raw.receive(), raw.receive()].map(|answer| answer.map(|a| (a.opaque, a.body.len()))),
        [Some((4, 1)), Some((4, 2))]
    );
    serving.state.open.send_replace(true);
    assert_eq!(raw.receive().unwrap().opaque, 4);
}

#[test]
fn resets_leave_nothing_behind() {
    let serving = Serving::start(Limits::default());
    let mut healthy = Raw::connect(serving.address);
    let count = times(400, 20_000);
    let kinds = [
        frame(GetMinOffset::default().write(), 1, 100_000),
        frame(GetConsumerList::default().write(), 1, 0),
        frame(max_offset(1), 1, 1_000_000)[..70_000].to_vec(),
    ];
    for n in 0..count {
        // This one is gone before it is served.
        Raw::connect(serving.address).reset();
        let mut raw = Raw::connect(serving.address);
        raw.asks(1, 1);
        raw.write(&kinds[n % kinds.len()]);
        healthy.asks(n as i32, 1);
        raw.reset();
    }
    serving.until_gone(count);
    healthy.asks(1, 1_000_000);
}
