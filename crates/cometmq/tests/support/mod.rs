//! The binary as a process, and a client that speaks to it in frames.
#![allow(dead_code)] // each test program uses a part of it

pub mod ledger;
pub mod raw;

use bytes::Bytes;
use protocol::command::Command;
use protocol::message::QueueOffset;
use protocol::record::Record;
use protocol::request::Request;
use protocol::request::pull::PullMessage;
use protocol::request::send::{SendMessage, SendMessageReply};
use remoting::Client;
use remoting::client::RequestError;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Long enough for anything that should happen soon, on the slowest day.
pub const SOON: Duration = Duration::from_secs(30);

/// `cometmq dev` on ports of its own.
pub struct Dev {
    child: Child,
    pub data: PathBuf,
    pub namesrv: String,
    pub broker: String,
    /// What it printed so far.
    pub output: Arc<Mutex<String>>,
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
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_cometmq"))
            .arg("dev")
            .args(["--namesrv-port", &namesrv_port.to_string(), "--broker-port", &broker_port.to_string()])
            .arg("--data")
            .arg(data)
            .arg("-c")
            .arg(&conf_file)
            .env("LANG", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().unwrap(), output.clone());
        collect(child.stderr.take().unwrap(), output.clone());
        let mut dev = Dev {
            child,
            data: data.to_owned(),
            namesrv: format!("127.0.0.1:{namesrv_port}"),
            broker: format!("127.0.0.1:{broker_port}"),
            output,
        };
        dev.wait_until_it_serves().await;
        dev
    }

    async fn wait_until_it_serves(&mut self) {
        let deadline = Instant::now() + SOON;
        while tokio::net::TcpStream::connect(&self.broker).await.is_err() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended with {status}: {}", self.output.lock().unwrap());
            }
            assert!(Instant::now() < deadline, "it does not serve: {}", self.output.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
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

impl Drop for Dev {
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

/// Every message of a queue, from its first offset on.
pub async fn drain(client: &Client, broker: &str, group: &str, topic: &str, queue_id: i32) -> Vec<Message> {
    let mut found = Vec::new();
    let mut from = QueueOffset(0);
    loop {
        let request = pull_request(group, topic, queue_id, from);
        let answer = client.invoke(broker, request.write(), SOON).await.unwrap();
        match answer.code {
            0 => {
                let batch = messages(&answer.body);
                assert!(!batch.is_empty());
                found.extend(batch);
            }
            19 => return found,
            20 | 21 => {}
            other => panic!("pull of {topic} {queue_id} at {from:?}: {other} {:?}", answer.remark),
        }
        let next = next_begin_offset(&answer);
        if answer.code != 0 && next == from {
            return found;
        }
        from = next;
    }
}

pub fn next_begin_offset(answer: &Command) -> QueueOffset {
    QueueOffset(answer.ext.get("nextBeginOffset").unwrap().parse().unwrap())
}
