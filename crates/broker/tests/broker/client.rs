//! A broker that runs, and a client that knows nothing but frames.

use broker::{Broker, Config};
use bytes::{Bytes, BytesMut};
use protocol::command::Command;
use protocol::record::Record;
use remoting::{Credentials, Server};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Waits until `fact` holds.
#[track_caller]
pub fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !fact() {
        assert!(Instant::now() < deadline, "{what} does not come true");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A broker on free ports.
pub struct Running {
    pub broker: Arc<Broker>,
    pub address: SocketAddr,
    pub vip: SocketAddr,
    server: Option<Server>,
    stop: Option<oneshot::Sender<()>>,
    control: Option<JoinHandle<()>>,
}

/// Settings for a store in `dir`, with small files.
pub fn config(dir: &Path) -> Config {
    Config {
        store_root: dir.into(),
        commit_log_file_size: 16 * 1024 * 1024,
        consume_queue_file_size: 20_000,
        max_hash_slot_num: 1000,
        max_index_num: 4000,
        listen_port: 0,
        name: "b1".into(),
        ..Config::default()
    }
}

impl Running {
    pub fn start(config: Config) -> Running {
        let mut running = Running::without_clock(config);
        let (stop, stopped) = oneshot::channel();
        let broker = running.broker.clone();
        let control = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(broker.run(async {
                let _ = stopped.await;
            }));
        });
        (running.stop, running.control) = (Some(stop), Some(control));
        running
    }

    /// It answers, and does nothing by itself: what waits goes on waiting, nothing is saved or deleted.
    pub fn without_clock(config: Config) -> Running {
        let broker = Broker::open(config).unwrap();
        let server = Server::start(2).unwrap();
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.listen(listen(), broker.router()).unwrap();
        let vip = server.listen(listen(), broker.vip_router()).unwrap();
        Running { broker, address, vip, server: Some(server), stop: None, control: None }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Waits until so many pulls are held.
    pub fn until_held(&self, pulls: usize) {
        let began = Instant::now();
        while self.broker.held_pulls() != pulls {
            assert!(began.elapsed() < Duration::from_secs(30), "{} are held", self.broker.held_pulls());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends in order, as the binary does.
    pub fn stop(mut self) {
        self.end();
        self.broker.close().unwrap();
    }

    fn end(&mut self) {
        drop(self.server.take());
        drop(self.stop.take());
        if let Some(control) = self.control.take() {
            control.join().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// A connection.
pub struct Client {
    stream: TcpStream,
    incoming: BytesMut,
    opaque: i32,
    /// Who signs what it sends.
    pub signs_as: Option<Credentials>,
    /// Requests of the broker's that came while an answer was awaited.
    pub told: Vec<Command>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Client { stream, incoming: BytesMut::new(), opaque: 0, signs_as: None, told: Vec::new() }
    }

    /// Sends a request with these fields; answers with the response.
    pub fn ask(&mut self, code: i32, fields: &[(&str, &str)], body: &[u8]) -> Command {
        self.send(code, fields, body);
        self.answer()
    }

    /// Sends a request.
    pub fn send(&mut self, code: i32, fields: &[(&str, &str)], body: &[u8]) {
        let mut command = Command::request(code);
        self.opaque += 1;
        command.opaque = self.opaque;
        for (key, value) in fields {
            command.ext.push(key, value);
        }
        command.body = Bytes::copy_from_slice(body);
        if let Some(credentials) = &self.signs_as {
            credentials.sign(&mut command);
        }
        let mut frame = Vec::new();
        command.encode(&mut frame);
        self.stream.write_all(&frame).unwrap();
    }

    /// Answers a request of the broker's.
    pub fn reply(&mut self, request: &Command, code: i32) {
        self.reply_with(request, code, b"");
    }

    /// Answers a request of the broker's, with a body.
    pub fn reply_with(&mut self, request: &Command, code: i32, body: &[u8]) {
        let response =
            Command { opaque: request.opaque, body: Bytes::copy_from_slice(body), ..Command::response(code) };
        let mut frame = Vec::new();
        response.encode(&mut frame);
        self.stream.write_all(&frame).unwrap();
    }

    /// Sends a header as text, as other clients write it.
    pub fn ask_raw(&mut self, header: &str, body: &[u8]) -> Command {
        let mut frame = Vec::new();
        frame.extend_from_slice(&((4 + header.len() + body.len()) as u32).to_be_bytes());
        frame.extend_from_slice(&(header.len() as u32).to_be_bytes());
        frame.extend_from_slice(header.as_bytes());
        frame.extend_from_slice(body);
        self.stream.write_all(&frame).unwrap();
        self.read(true)
    }

    /// The response to the last request.
    pub fn answer(&mut self) -> Command {
        let answer = self.read(true);
        assert_eq!(answer.opaque, self.opaque);
        answer
    }

    /// The response to any request.
    pub fn any_answer(&mut self) -> Command {
        self.read(true)
    }

    /// The next request of the broker's.
    pub fn hear(&mut self) -> Command {
        if self.told.is_empty() { self.read(false) } else { self.told.remove(0) }
    }

    fn read(&mut self, response: bool) -> Command {
        loop {
            while let Some(command) = Command::decode(&mut self.incoming).unwrap() {
                if command.is_response() == response {
                    return command;
                }
                assert!(response, "an answer that nobody awaits: {command:?}");
                self.told.push(command);
            }
            let mut chunk = [0; 65536];
            let count = self.stream.read(&mut chunk).expect("an answer within the time-out");
            assert!(count > 0, "the broker closed the connection");
            self.incoming.extend_from_slice(&chunk[..count]);
        }
    }

    /// Tells what a group subscribes to: topic, type, expression and version. Answers with the response.
    pub fn subscribe(&mut self, group: &str, subscription: (&str, &str, &str, i64)) -> Command {
        let (topic, expression_type, expression, version) = subscription;
        let heartbeat = serde_json::json!({ "clientID": "c", "consumerDataSet": [{
            "groupName": group,
            "subscriptionDataSet": [{
                "topic": topic, "expressionType": expression_type, "subString": expression, "subVersion": version
            }],
        }]});
        self.ask(34, &[], heartbeat.to_string().as_bytes())
    }

    /// Sends a message; answers with the response.
    pub fn send_message(&mut self, topic: &str, queue: i32, properties: &str, body: &[u8]) -> Command {
        let queue = queue.to_string();
        self.ask(310, &send_fields(topic, &queue, properties), body)
    }

    /// Pulls; answers with the response.
    pub fn pull(&mut self, pull: Pull<'_>) -> Command {
        self.send_pull(pull);
        self.answer()
    }

    /// Pulls, and does not wait for the answer.
    pub fn send_pull(&mut self, pull: Pull<'_>) {
        let numbers =
            [i64::from(pull.queue), pull.offset, pull.hold_millis, pull.commit.unwrap_or(0)].map(|n| n.to_string());
        let flag = 4 | if pull.hold_millis > 0 { 2 } else { 0 } | i32::from(pull.commit.is_some());
        let fields = [
            ("consumerGroup", pull.group),
            ("topic", pull.topic),
            ("queueId", &numbers[0]),
            ("queueOffset", &numbers[1]),
            ("maxMsgNums", "32"),
            ("sysFlag", &flag.to_string()),
            ("commitOffset", &numbers[3]),
            ("suspendTimeoutMillis", &numbers[2]),
            ("subscription", pull.tags),
            ("subVersion", "0"),
        ];
        self.send(11, &fields, b"");
    }
}

/// The fields of a send in the short form.
pub fn send_fields<'a>(topic: &'a str, queue: &'a str, properties: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("a", "PG"),
        ("b", topic),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", queue),
        ("f", "0"),
        ("g", "1700000000000"),
        ("h", "0"),
        ("i", properties),
        ("j", "0"),
        ("k", "false"),
        ("m", "false"),
    ]
}

/// A pull of up to 32 messages.
#[derive(Clone, Copy)]
pub struct Pull<'a> {
    pub group: &'a str,
    pub topic: &'a str,
    pub queue: i32,
    pub offset: i64,
    pub tags: &'a str,
    pub hold_millis: i64,
    pub commit: Option<i64>,
}

impl<'a> Pull<'a> {
    pub fn of(topic: &'a str) -> Pull<'a> {
        Pull { group: "CG", topic, queue: 0, offset: 0, tags: "*", hold_millis: 0, commit: None }
    }
}

/// The messages of an answer: body and properties.
pub fn messages(answer: &Command) -> Vec<(String, String)> {
    let records = Record::all(&answer.body).map(|record| record.unwrap());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    records.map(|record| (text(record.body), readable(&text(record.properties)))).collect()
}

/// The bodies of an answer's messages.
pub fn bodies(answer: &Command) -> Vec<String> {
    messages(answer).into_iter().map(|(body, _)| body).collect()
}

/// Properties with `=` and `;`.
pub fn readable(properties: &str) -> String {
    properties.replace('\u{1}', "=").replace('\u{2}', ";")
}

/// Properties from `=` and `;`.
pub fn properties(readable: &str) -> String {
    readable.replace('=', "\u{1}").replace(';', "\u{2}")
}
