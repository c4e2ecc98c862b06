//! Bytes on their way out of a connection: replies are queued here in order, and leave in as few system calls as can be.

use crate::reply::{Body, Part, Response};
use bytes::Bytes;
use rustix::fs::sendfile;
use rustix::net::{SendFlags, send};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// A body up to this size is copied behind its header; a system call of its own would cost more.
const COPY_MAX: usize = 4096;

/// A buffer that grew beyond this is given back once it is empty.
const KEEP_MAX: usize = 64 * 1024;

/// What has to go out.
#[derive(Default)]
pub(crate) struct Outgoing {
    /// Behind all of `parts`: where replies are encoded.
    tail: Vec<u8>,
    /// In front of `tail`.
    parts: VecDeque<Part>,
    /// How much of the first part, or of `tail` when there is none, has gone.
    gone: usize,
    size: usize,
}

impl Outgoing {
    /// Bytes that have not gone yet.
    pub(crate) fn len(&self) -> usize {
        self.size
    }

    /// How many of them are in memory: pieces of files are not.
    pub(crate) fn in_memory(&self) -> usize {
        let parts = self.parts.iter().map(|part| if let Part::Bytes(bytes) = part { bytes.len() } else { 0 });
        parts.sum::<usize>() + self.tail.len()
    }

    pub(crate) fn push(&mut self, response: Response, opaque: i32) {
        let before = self.tail.len();
        let body_size = response.body.len();
        response.head.encode_head(opaque, body_size, &mut self.tail);
        self.size += self.tail.len() - before + body_size;
        match response.body {
            Body::Empty => {}
            Body::Bytes(bytes) => self.push_bytes(bytes),
            Body::Parts(parts) => {
                for part in parts {
                    match part {
                        Part::Bytes(bytes) => self.push_bytes(bytes),
                        file => self.push_part(file),
                    }
                }
            }
        }
    }

    pub(crate) fn push_request(&mut self, request: &protocol::command::Command) {
        let before = self.tail.len();
        request.encode(&mut self.tail);
        self.size += self.tail.len() - before;
    }

    fn push_bytes(&mut self, bytes: Bytes) {
        if bytes.len() <= COPY_MAX {
            self.tail.extend_from_slice(&bytes);
        } else {
            self.push_part(Part::Bytes(bytes));
        }
    }

    fn push_part(&mut self, part: Part) {
        if part.len() == 0 {
            return;
        }
        if !self.tail.is_empty() {
            let mut head = Bytes::from(std::mem::take(&mut self.tail));
            if self.parts.is_empty() {
                let _ = head.split_to(self.gone);
                self.gone = 0;
            }
            if !head.is_empty() {
                self.parts.push_back(Part::Bytes(head));
            }
        }
        self.parts.push_back(part);
    }

    /// Takes over all of `behind`, to go after what is here.
    pub(crate) fn append(&mut self, behind: &mut Outgoing) {
        if self.size == 0 {
            return std::mem::swap(self, behind);
        }
        for part in std::mem::take(&mut behind.parts) {
            self.size += part.len();
            self.push_part(part);
        }
        self.size += behind.tail.len();
        self.tail.append(&mut behind.tail);
        behind.size = 0;
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Outgoing::default();
    }

    /// Writes until all has gone (`Ok(true)`) or the socket takes no more (`Ok(false)`).
    pub(crate) fn write_to(&mut self, socket: &TcpStream) -> io::Result<bool> {
        while self.size > 0 {
            match socket.try_io(Interest::WRITABLE, || self.write_some(socket)) {
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Gives the next bytes to `take`, which says how many it took; those of files by way of `buffer`. Answers with how many
    /// went.
    pub(crate) fn take_some(
        &mut self,
        buffer: &mut [u8],
        take: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let gone = self.gone;
        let taken = match self.parts.front() {
            None => take(&self.tail[gone..][..buffer.len().min(self.tail.len() - gone)])?,
            Some(Part::Bytes(bytes)) => take(&bytes[gone..][..buffer.len().min(bytes.len() - gone)])?,
            Some(Part::File { file, offset, length }) => {
                let wanted = buffer.len().min(length - gone);
                match file.read_at(&mut buffer[..wanted], offset + gone as u64)? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    read => take(&buffer[..read])?,
                }
            }
        };
        self.advance(taken);
        Ok(taken)
    }

    fn write_some(&self, socket: &TcpStream) -> io::Result<usize> {
        let more_follows = |behind: usize| {
            let flags = SendFlags::NOSIGNAL;
            if self.size > behind { flags | SendFlags::MORE } else { flags }
        };
        let written = match self.parts.front() {
            None => send(socket, &self.tail[self.gone..], SendFlags::NOSIGNAL)?,
            Some(Part::Bytes(bytes)) => send(socket, &bytes[self.gone..], more_follows(bytes.len() - self.gone))?,
            Some(Part::File { file, offset, length }) => {
                let mut at = offset + self.gone as u64;
                sendfile(socket, file, Some(&mut at), length - self.gone)?
            }
        };
        if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) }
    }

    /// After a write that failed: the file that could not be read, if that was why, and where.
    pub(crate) fn unreadable(&self) -> Option<(&Arc<File>, u64, io::Error)> {
        let Some(Part::File { file, offset, .. }) = self.parts.front() else { return None };
        let at = offset + self.gone as u64;
        match file.read_at(&mut [0], at) {
            Ok(0) => Some((file, at, io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends before"))),
            Ok(_) => None,
            Err(error) => Some((file, at, error)),
        }
    }

    fn advance(&mut self, written: usize) {
        self.size -= written;
        self.gone += written;
        if let Some(front) = self.parts.front() {
            if self.gone == front.len() {
                self.parts.pop_front();
                self.gone = 0;
            }
        } else if self.gone == self.tail.len() {
            self.gone = 0;
            self.tail.clear();
            if self.tail.capacity() > KEEP_MAX {
                self.tail = Vec::new();
            }
        }
    }
}
