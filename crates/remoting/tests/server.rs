//! A server and a client over loopback.

use bytes::{Bytes, BytesMut};
use protocol::code::{request, response};
use protocol::command::Command;
use protocol::request::client::{GetConsumerList, NotifyConsumerIdsChanged};
use protocol::request::offset::{GetMaxOffset, GetMinOffset, OffsetReply};
use protocol::request::{Empty, Request};
use remoting::client::RequestError;
use remoting::reply::Part;
use remoting::{Answer, AskError, Body, Call, Client, ClientLimits, Entrance, Peer, Rates, Reject, Router, Server};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

const SOON: Duration = Duration::from_secs(10);

#[derive(Default)]
struct State {
    gate: Notify,
    turns: AtomicUsize,
    failing: AtomicBool,
    peers: Mutex<Vec<Peer>>,
    gone: Notify,
    /// At which bytes files that were to be sent could not be read.
    unreadable: Mutex<Vec<u64>>,
}

async fn max(_: Arc<State>, call: Call<GetMaxOffset>) -> Result<Answer<OffsetReply>, Reject> {
    match call.request.queue_id {
        -1 => Err(Reject::new(response::TOPIC_NOT_EXIST, format!("no topic `{}`", call.request.topic))),
        -2 => panic!("a defect"),
        queue => {
            Ok(Answer::new(OffsetReply { offset: i64::from(queue) }).with_body(Body::Bytes(call.body)).behind_write())
        }
    }
}

async fn min(state: Arc<State>, _: Call<GetMinOffset>) -> Result<Answer<OffsetReply>, Reject> {
    state.gate.notified().await;
    Ok(OffsetReply { offset: 0 }.into())
}

async fn members(state: Arc<State>, call: Call<GetConsumerList>) -> Result<Answer<Empty>, Reject> {
    state.peers.lock().unwrap().push(call.peer);
    let mut file = tempfile::tempfile().unwrap();
    let there = if call.request.consumer_group == "cut" { 150_000 } else { 300_000 };
    file.write_all(&vec![b'f'; there]).unwrap();
    Ok(Answer::new(Empty {}).with_body(Body::Parts(vec![
        Part::Bytes(Bytes::from_static(b"small")),
        Part::File { file: Arc::new(file), offset: 100_000, length: 200_000 },
        Part::Bytes(Bytes::from(vec![b'b'; 5000])),
    ])))
}

fn serve() -> (Server, SocketAddr, Arc<State>) {
    let state = Arc::new(State::default());
    let server = Server::start(2).unwrap();
    let router = Router::new(state.clone())
        .on(max)
        .on(min)
        .on(members)
        .before_replies(|state| {
            state.turns.fetch_add(1, Ordering::SeqCst);
            match state.failing.load(Ordering::SeqCst) {
                true => Err(Reject::new(response::SERVICE_NOT_AVAILABLE, "the disk is full")),
                false => Ok(()),
            }
        })
        .on_unreadable(|state, _, at, _| state.unreadable.lock().unwrap().push(at))
        .on_close(|state, peer| {
            assert!(peer.is_closed());
            state.gone.notify_one();
        });
    let address = server.listen(TcpListener::bind("127.0.0.1:0").unwrap(), router).unwrap();
    (server, address, state)
}

fn max_offset(queue_id: i32) -> GetMaxOffset {
    GetMaxOffset { topic: "T".into(), queue_id }
}

/// A client that writes bytes as it likes.
struct Raw {
    socket: TcpStream,
    buffer: BytesMut,
}

impl Raw {
    fn connect(address: SocketAddr) -> Raw {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Raw { socket, buffer: BytesMut::new() }
    }

    fn send(&mut self, mut command: Command, opaque: i32) {
        command.opaque = opaque;
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        self.socket.write_all(&bytes).unwrap();
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
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test]
async fn every_request_is_answered_refused_and_unknown_ones_too() {
    let (_server, address, _) = serve();
    let (client, address) = (Client::default(), address.to_string());
    assert_eq!(client.ask(&address, &max_offset(7), SOON).await.unwrap().offset, 7);

    let refused = client.ask(&address, &max_offset(-1), SOON).await.unwrap_err();
    assert_eq!(refused.code(), Some(response::TOPIC_NOT_EXIST));
    assert!(refused.to_string().contains("no topic `T`"), "{refused}");

    for (code, fields, expected) in [
        (9999, &[][..], response::REQUEST_CODE_NOT_SUPPORTED),
        (request::GET_MAX_OFFSET, &[("topic", "T")], response::SYSTEM_ERROR),
        (request::GET_MAX_OFFSET, &[("topic", "T"), ("queueId", "x")], response::SYSTEM_ERROR),
        (request::GET_MAX_OFFSET, &[("topic", "T"), ("queueId", "-2")], response::SYSTEM_ERROR),
    ] {
        let mut command = Command::request(code);
        fields.iter().for_each(|(key, value)| command.ext.push(key, value));
        let answer = client.invoke(&address, command, SOON).await.unwrap();
        assert_eq!(answer.code, expected, "{answer:?}");
        assert!(answer.remark.is_some());
    }
    assert_eq!(client.ask(&address, &max_offset(8), SOON).await.unwrap().offset, 8, "the connection goes on");
}

#[test]
fn a_request_that_waits_holds_up_nobody() {
    let (_server, address, state) = serve();
    let mut raw = Raw::connect(address);
    raw.send(GetMinOffset::default().write(), 1);
    raw.send(max_offset(5).write(), 2);
    assert_eq!(raw.receive().unwrap().opaque, 2);
    state.gate.notify_one();
    assert_eq!(raw.receive().unwrap().opaque, 1);
}

#[test]
fn replies_leave_in_order_and_only_behind_the_hook() {
    let (_server, address, state) = serve();
    let mut raw = Raw::connect(address);
    for opaque in 0..1000 {
        raw.send(max_offset(opaque).write(), opaque);
    }
    for opaque in 0..1000 {
        assert_eq!(raw.receive().unwrap().opaque, opaque);
        assert!(state.turns.load(Ordering::SeqCst) > 0);
    }
}

#[test]
fn when_writing_fails_nothing_is_acknowledged_and_everything_answered() {
    let (_server, address, state) = serve();
    let mut raw = Raw::connect(address);
    state.failing.store(true, Ordering::SeqCst);
    for opaque in 0..100 {
        raw.send(max_offset(opaque).write(), opaque);
    }
    for opaque in 0..100 {
        let answer = raw.receive().unwrap();
        assert_eq!((answer.opaque, answer.code), (opaque, response::SERVICE_NOT_AVAILABLE));
    }
    raw.send(GetConsumerList::default().write(), 100);
    assert_eq!(raw.receive().unwrap().code, response::SUCCESS, "what acknowledges nothing is answered all the same");
    state.failing.store(false, Ordering::SeqCst);
    raw.send(max_offset(7).write(), 7);
    let answer = raw.receive().unwrap();
    assert_eq!((answer.opaque, answer.code), (7, response::SUCCESS));
}

#[test]
fn a_oneway_request_is_never_answered() {
    let (_server, address, _) = serve();
    let mut raw = Raw::connect(address);
    raw.send(max_offset(-1).write().oneway(), 1);
    raw.send(Command::request(9999).oneway(), 2);
    raw.send(max_offset(3).write(), 3);
    assert_eq!(raw.receive().unwrap().opaque, 3);
}

#[test]
fn a_bad_frame_closes_its_connection_and_nothing_else() {
    let (_server, address, state) = serve();
    let mut good = Raw::connect(address);
    for bad in
        [&[0xff; 64][..], &[0, 0, 0, 4, 9, 0, 0, 0], b"GET / HTTP/1.1\r\n\r\n", &[0, 0, 0, 6, 0, 0, 0, 2, b'{', b'x']]
    {
        let mut raw = Raw::connect(address);
        raw.socket.write_all(bad).unwrap();
        assert!(raw.receive().is_none());
    }
    good.send(max_offset(1).write(), 1);
    assert_eq!(good.receive().unwrap().opaque, 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(SOON, state.gone.notified()).await.unwrap() });
}

#[test]
fn bodies_of_bytes_and_files_arrive_whole() {
    let (_server, address, _) = serve();
    let mut raw = Raw::connect(address);
    for opaque in 0..50 {
        raw.send(GetConsumerList::default().write(), opaque);
    }
    for opaque in 0..50 {
        let answer = raw.receive().unwrap();
        assert_eq!((answer.opaque, answer.body.len()), (opaque, 205_005));
        assert!(answer.body.starts_with(b"smallfff"));
        assert_eq!(&answer.body[200_004..200_007], b"fbb");
    }
}

#[test]
fn a_file_that_cannot_be_read_to_its_end_is_told_of_and_closes_the_connection() {
    let (_server, address, state) = serve();
    let mut raw = Raw::connect(address);
    raw.send(GetConsumerList { consumer_group: "cut".into() }.write(), 1);
    assert!(raw.receive().is_none(), "a reply of which a part has left cannot be taken back");
    assert_eq!(*state.unreadable.lock().unwrap(), [150_000]);
}

#[test]
fn a_peer_that_does_not_read_is_not_read_from() {
    let (_server, address, state) = serve();
    let mut raw = Raw::connect(address);
    raw.socket.set_nonblocking(true).unwrap();
    let mut one = Vec::new();
    let mut command = max_offset(1).write();
    command.body = vec![1; 1024 * 1024].into();
    command.encode(&mut one);
    // Replies as large as requests: what the server takes in without our reading is bounded.
    let mut taken = 0;
    let mut quiet_since = std::time::Instant::now();
    while quiet_since.elapsed() < Duration::from_millis(500) {
        match raw.socket.write(&one[taken % one.len()..]) {
            Ok(count) => {
                taken += count;
                quiet_since = std::time::Instant::now();
            }
            Err(_) => std::thread::yield_now(),
        }
        assert!(taken < 64 * 1024 * 1024, "the server reads on and on");
    }
    raw.socket.set_nonblocking(false).unwrap();
    for _ in 0..taken / one.len() {
        assert_eq!(raw.receive().unwrap().body.len(), 1024 * 1024);
    }
    assert!(state.turns.load(Ordering::SeqCst) > 0);
}

#[tokio::test]
async fn the_server_notifies_its_peers() {
    let (_server, address, state) = serve();
    let (sender, mut notified) = tokio::sync::mpsc::unbounded_channel();
    let client = Client::new(move |_, command| sender.send(command).unwrap());
    client.ask(&address.to_string(), &GetConsumerList::default(), SOON).await.unwrap();
    let peer = state.peers.lock().unwrap()[0].clone();
    assert!(peer.notify(NotifyConsumerIdsChanged { consumer_group: "G".into() }.write()));
    let command = tokio::time::timeout(SOON, notified.recv()).await.unwrap().unwrap();
    assert_eq!((command.code, command.is_oneway()), (request::NOTIFY_CONSUMER_IDS_CHANGED, true));
    client.disconnect(&address.to_string());
    tokio::time::timeout(SOON, state.gone.notified()).await.unwrap();
    assert!(!peer.notify(Command::request(40)));
}

#[tokio::test]
async fn the_server_asks_its_peers_and_says_why_there_is_no_answer() {
    let (_server, address, state) = serve();
    let mut raw = Raw::connect(address);
    raw.send(GetConsumerList::default().write(), 1);
    raw.receive().unwrap();
    let peer = state.peers.lock().unwrap()[0].clone();
    let ask = |timeout| {
        let peer = peer.clone();
        tokio::spawn(async move { peer.ask(Command::request(307), timeout).await })
    };
    let hear = |mut raw: Raw| tokio::task::spawn_blocking(move || (raw.receive().unwrap(), raw));

    let asked = ask(SOON);
    let (request, mut raw) = hear(raw).await.unwrap();
    assert_eq!((request.code, request.is_oneway(), request.is_response()), (307, false, false));
    let answer =
        |code| Command { body: Bytes::from_static(b"here"), remark: Some("x".into()), ..Command::response(code) };
    raw.send(answer(0), request.opaque.wrapping_add(77));
    raw.send(answer(17), request.opaque);
    let answered = asked.await.unwrap().unwrap();
    assert_eq!((answered.code, &answered.body[..]), (17, &b"here"[..]), "its own answer, whatever the code");
    raw.send(answer(0), request.opaque);

    let late = ask(Duration::from_millis(20)).await.unwrap();
    assert_eq!(late.unwrap_err(), AskError::Timeout(Duration::from_millis(20)));
    let (request, mut raw) = hear(raw).await.unwrap();
    raw.send(answer(0), request.opaque);
    raw.send(max_offset(3).write(), 9);
    let (answer, raw) = hear(raw).await.unwrap();
    assert_eq!(answer.opaque, 9, "late and unasked answers harm nobody");

    let asked = ask(SOON);
    let (_, raw) = hear(raw).await.unwrap();
    drop(raw);
    assert_eq!(asked.await.unwrap().unwrap_err(), AskError::Gone);
    assert_eq!(ask(SOON).await.unwrap().unwrap_err(), AskError::Gone);
}

#[tokio::test]
async fn a_client_says_who_did_not_answer() {
    let (server, address, _) = serve();
    let (client, address) = (Client::default(), address.to_string());
    let late = client.ask(&address, &GetMinOffset::default(), Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(late, RequestError::Timeout { .. }), "{late}");
    tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
    let gone = client.ask(&address, &max_offset(1), SOON).await.unwrap_err();
    assert!(matches!(gone, RequestError::Connect { .. } | RequestError::Broken { .. }), "{gone}");
    assert!(gone.to_string().contains(&address));
}

#[tokio::test]
async fn a_user_has_one_limit_from_wherever_it_comes_and_others_have_theirs() {
    // Whoever is first is alice, all later ones are bob.
    let first: Arc<Mutex<Option<Peer>>> = Arc::default();
    let entrance = Arc::new(Entrance::default());
    let user = Rates { requests: 5, bytes: 0 };
    entrance.limiter.set(ClientLimits { user, ..ClientLimits::default() });
    let router = Router::new(Arc::new(State::default())).on(max).behind(entrance).known_as(move |peer| {
        let is_alice = *first.lock().unwrap().get_or_insert_with(|| peer.clone()) == *peer;
        Some(if is_alice { "alice" } else { "bob" }.into())
    });
    let server = Server::start(2).unwrap();
    let address = server.listen(TcpListener::bind("127.0.0.1:0").unwrap(), router).unwrap().to_string();
    let clients: Vec<Client> = (0..3).map(|_| Client::default()).collect();
    let (alice, bobs) = clients.split_first().unwrap();
    alice.ask(&address, &max_offset(1), SOON).await.unwrap();
    let mut refused = None;
    for n in 0..2000 {
        if let Err(error) = bobs[n % 2].ask(&address, &max_offset(1), SOON).await {
            refused = Some(error);
            break;
        }
    }
    let refused = refused.unwrap();
    assert_eq!(refused.code(), Some(response::SYSTEM_BUSY));
    let told = refused.to_string();
    assert!(told.contains("user bob has had its 5 requests") && told.contains("requestsPerSecondPerUser"), "{told}");
    alice.ask(&address, &max_offset(1), SOON).await.unwrap();
}
