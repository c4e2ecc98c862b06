//! The binary as processes, and what is in their queues.
#![allow(dead_code)] // each test program uses a part of it

pub mod ledger;
pub mod raw;

use bytes::Bytes;
use ledger::Content;
use protocol::code::response;
use protocol::command::Command;
use protocol::message::QueueOffset;
use protocol::record::Record;
use protocol::request::Request;
use protocol::request::offset::GetMinOffset;
use protocol::request::pull::PullMessage;
use protocol::request::send::{SendMessage, SendMessageReply};
use remoting::Client;
use remoting::client::RequestError;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Long enough for anything that should happen soon, on the slowest day.
pub const SOON: Duration = Duration::from_secs(30);

/// A process of ours. It ends with this value.
pub struct Process {
    child: Child,
    /// What it printed so far.
    output: Arc<Mutex<String>>,
}

impl Process {
    /// `cometmq` with these arguments.
    pub fn start(arguments: &[&str]) -> Process {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_cometmq"))
            .args(arguments)
            .env("LANG", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().unwrap(), output.clone());
        collect(child.stderr.take().unwrap(), output.clone());
        Process { child, output }
    }

    /// Waits until it accepts connections at this address.
    pub async fn serves(&mut self, address: &str) {
        let deadline = Instant::now() + SOON;
        while tokio::net::TcpStream::connect(address).await.is_err() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended with {status}: {}", self.output());
            }
            assert!(Instant::now() < deadline, "it does not serve: {}", self.output());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; returns how it ended.
    pub fn stop(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

/// `cometmq dev` on ports of its own.
pub struct Dev {
    process: Process,
    pub namesrv: String,
    pub broker: String,
}

impl Dev {
    /// Starts it and waits until it serves.
    pub async fn start(data: &Path) -> Dev {
        Dev::start_on(data, free_port(), free_broker_port(), &[]).await
    }

    /// Starts it on these ports, with these lines in its broker.conf, and waits until it serves.
    pub async fn start_on(data: &Path, namesrv_port: u16, broker_port: u16, conf: &[&str]) -> Dev {
        std::fs::create_dir_all(data).unwrap();
        let conf_file = data.join("test-broker.conf");
        std::fs::write(&conf_file, conf.join("\n")).unwrap();
        let (namesrv, broker) = (namesrv_port.to_string(), broker_port.to_string());
        let (data, conf_file) = (data.to_str().unwrap(), conf_file.to_str().unwrap());
        let ports = ["--namesrv-port", &namesrv, "--broker-port", &broker];
        let process = Process::start(&[&["dev", "--data", data, "-c", conf_file], &ports[..]].concat());
        let address = |port| format!("127.0.0.1:{port}");
        let mut dev = Dev { process, namesrv: address(namesrv_port), broker: address(broker_port) };
        dev.process.serves(&dev.broker).await;
        dev
    }

    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// What it printed so far.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// SIGTERM; returns how it ended.
    pub fn stop(self) -> ExitStatus {
        self.process.stop()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(from: impl std::io::Read + Send + 'static, into: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            into.lock().unwrap().push_str(&(line + "\n"));
        }
    });
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A port that was free a moment ago, and the VIP port two below it too.
pub fn free_broker_port() -> u16 {
    loop {
        let port = free_port();
        if port > 1026 && TcpListener::bind(("127.0.0.1", port - 2)).is_ok() {
            return port;
        }
    }
}

/// A send as Java's producer would write it.
pub fn send_request(topic: &str, queue_id: i32, properties: &str) -> SendMessage {
    SendMessage {
        producer_group: "test-producer".into(),
        topic: topic.into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 4,
        queue_id,
        born_timestamp: 1_700_000_000_000,
        properties: Some(properties.into()),
        ..SendMessage::default()
    }
}

/// Sends one message and waits for its answer.
pub async fn send(
    client: &Client,
    broker: &str,
    request: &SendMessage,
    body: impl Into<Bytes>,
) -> Result<SendMessageReply, RequestError> {
    client.ask_with_body(broker, request, body.into(), SOON).await.map(|(reply, _)| reply)
}

/// A pull from a queue that does not wait and commits nothing.
pub fn pull_request(group: &str, topic: &str, queue_id: i32, from: QueueOffset) -> PullMessage {
    PullMessage {
        consumer_group: group.into(),
        topic: topic.into(),
        queue_id,
        queue_offset: from.0,
        max_msg_nums: 32,
        sys_flag: PullMessage::SUBSCRIPTION,
        subscription: Some("*".into()),
        sub_version: Some(0),
        ..PullMessage::default()
    }
}

/// One message, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub queue_id: i32,
    pub queue_offset: i64,
    pub commit_log_offset: i64,
    pub body: Vec<u8>,
    pub properties: String,
}

/// The messages of a pull reply's body.
pub fn messages(body: &[u8]) -> Vec<Message> {
    Record::all(body)
        .map(|record| {
            let record = record.unwrap();
            record.verify_crc().unwrap();
            Message {
                topic: record.topic.to_owned(),
                queue_id: record.queue_id,
                queue_offset: record.queue_offset.0,
                commit_log_offset: record.commit_log_offset.0,
                body: record.body.to_vec(),
                properties: String::from_utf8_lossy(record.properties).into_owned(),
            }
        })
        .collect()
}

/// All that is in a queue.
pub async fn drain(client: &Client, broker: &str, group: &str, topic: &str, queue_id: i32) -> Content {
    let min = GetMinOffset { topic: topic.into(), queue_id };
    let until = Instant::now() + SOON;
    let mut content = Content { min: client.ask(broker, &min, SOON).await.unwrap().offset, messages: Vec::new() };
    loop {
        let from = content.min + content.messages.len() as i64;
        let answer = client.invoke(broker, pull_request(group, topic, queue_id, QueueOffset(from)).write(), SOON).await;
        let answer = answer.unwrap();
        match answer.code {
            response::SUCCESS => content.messages.extend(messages(&answer.body)),
            response::PULL_NOT_FOUND => return content,
            response::PULL_OFFSET_MOVED if next_begin_offset(&answer).0 > content.min => {
                // Files were deleted meanwhile.
                content = Content { min: next_begin_offset(&answer).0, messages: Vec::new() };
            }
            response::PULL_RETRY_IMMEDIATELY if Instant::now() < until => {
                // They are being deleted: the log's are gone, the queue's are not yet.
                content = Content { min: client.ask(broker, &min, SOON).await.unwrap().offset, messages: Vec::new() };
            }
            // Nothing has ever been in it.
            response::PULL_OFFSET_MOVED if from == 0 => return content,
            other => panic!("pull of {topic} {queue_id} at {from}: {other} {:?}", answer.remark),
        }
    }
}

pub fn next_begin_offset(answer: &Command) -> QueueOffset {
    QueueOffset(answer.ext.get("nextBeginOffset").unwrap().parse().unwrap())
}
