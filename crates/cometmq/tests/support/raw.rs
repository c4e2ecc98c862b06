//! A client that writes bytes as it likes, and looks at the server's process.

use bytes::BytesMut;
use protocol::command::Command;
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Far longer than anything here takes: a storm on a busy machine included.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// One connection.
pub struct Raw {
    pub socket: TcpStream,
    buffer: BytesMut,
}

impl Raw {
    pub fn connect(address: &str) -> Raw {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Raw { socket, buffer: BytesMut::new() }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Writes from a thread of its own, as it may take until replies are read. The server may close in between.
    pub fn write_beside(&self, bytes: Vec<u8>) {
        let mut socket = self.socket.try_clone().unwrap();
        std::thread::spawn(move || socket.write_all(&bytes));
    }

    /// The next frame; `None` when the server has closed.
    pub fn receive(&mut self) -> Option<Command> {
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

    /// Sends one request and waits for its answer.
    pub fn ask(&mut self, command: Command) -> Command {
        self.write(&frame(command, 1));
        self.receive().expect("a connection that behaves stays")
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// A command's bytes.
pub fn frame(mut command: Command, opaque: i32) -> Vec<u8> {
    command.opaque = opaque;
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    bytes
}

/// How many descriptors a process has open.
pub fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Memory of a process that is in use, in bytes.
pub fn memory(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// Waits until `fact` is at most `bound`.
#[track_caller]
pub fn falls_to(bound: usize, what: &str, fact: impl Fn() -> usize) {
    let deadline = Instant::now() + PATIENCE;
    while fact() > bound {
        assert!(Instant::now() < deadline, "{what}: {} where at most {bound} were expected", fact());
        std::thread::sleep(Duration::from_millis(10));
    }
}
