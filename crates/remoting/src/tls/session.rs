//! One connection's TLS, on the server's side: sealed bytes of the socket, and the frames in them.
//!
//! It lives on the connection's thread, and works there when bytes come or go: a handshake costs others nothing but its own
//! computing, which is one signature. What it holds is bounded: a piece of a record on the way in (64 KiB while the handshake
//! lasts, 18 KiB behind it), what one turn seals on the way out.

use crate::outgoing::Outgoing;
use bytes::BytesMut;
use rustls::ServerConnection;
use std::cell::RefCell;
use std::io::{self, BufRead, IoSlice, Write};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// So much is read from a socket, or sealed, in one go: four records.
pub(crate) const PIECE: usize = 64 * 1024;

thread_local! {
    /// What one read brings, or a piece of a file that is to be sealed: never both at a time.
    static PIECE_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into());
}

/// Runs `work` with the thread's buffer of [`PIECE`] bytes.
pub(crate) fn with_piece<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    PIECE_BUFFER.with_borrow_mut(|buffer| work(buffer))
}

/// One connection's TLS.
pub(crate) struct Session {
    tls: ServerConnection,
    since: Instant,
    /// Bytes that are sealed and that the socket has not taken, about.
    sealed: usize,
    /// The peer has said that it sends no more.
    closed: bool,
}

impl Session {
    pub(crate) fn new(mut tls: ServerConnection) -> Session {
        // `send` seals no more than a piece before the one before has gone.
        tls.set_buffer_limit(None);
        Session { tls, since: Instant::now(), sealed: 0, closed: false }
    }

    /// For how long both ends have not agreed on keys; 0 when they have.
    pub(crate) fn handshaking_for(&self) -> Duration {
        if self.tls.is_handshaking() { self.since.elapsed() } else { Duration::ZERO }
    }

    /// True when the peer has said that it sends no more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Bytes that are sealed and that the socket has not taken, about.
    pub(crate) fn sealed(&self) -> usize {
        self.sealed
    }

    /// Takes what has arrived, and adds to `incoming` what was sealed in it. Behind an error there may be an alert to send.
    pub(crate) fn open(&mut self, mut arrived: &[u8], incoming: &mut BytesMut) -> io::Result<()> {
        while !arrived.is_empty() {
            if self.tls.read_tls(&mut arrived)? == 0 {
                // Behind its own end, a peer has nothing to say.
                self.closed = true;
                return Ok(());
            }
            let state = self.tls.process_new_packets().map_err(io::Error::other)?;
            let mut opened = state.plaintext_bytes_to_read();
            self.closed |= state.peer_has_closed();
            let mut reader = self.tls.reader();
            while opened > 0 {
                let chunk = reader.fill_buf()?;
                let count = chunk.len().min(opened);
                incoming.extend_from_slice(&chunk[..count]);
                reader.consume(count);
                opened -= count;
            }
        }
        Ok(())
    }

    /// Seals and sends until all of `outgoing` has gone (`Ok(true)`) or the socket takes no more (`Ok(false)`).
    pub(crate) fn send(&mut self, outgoing: &mut Outgoing, socket: &TcpStream) -> io::Result<bool> {
        loop {
            if !self.flush(socket)? {
                return Ok(false);
            }
            if outgoing.len() == 0 {
                return Ok(true);
            }
            while self.sealed < PIECE && outgoing.len() > 0 {
                let mut writer = self.tls.writer();
                let sealed = with_piece(|buffer| outgoing.take_some(buffer, |bytes| writer.write(bytes)))?;
                self.sealed += sealed;
            }
        }
    }

    /// Says that nothing more comes, as far as the socket takes it at once.
    pub(crate) fn close(&mut self, socket: &TcpStream) {
        self.tls.send_close_notify();
        // The connection ends in any case.
        let _ = self.flush(socket);
    }

    fn flush(&mut self, socket: &TcpStream) -> io::Result<bool> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Socket(socket)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.sealed = 0;
        Ok(true)
    }
}

/// A socket that is written to without waiting.
struct Socket<'a>(&'a TcpStream);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Feeds `arrived` to a server that has a certificate, as a new connection does. True while it would go on. For fuzzers.
#[doc(hidden)]
pub fn first_bytes(tls: &super::Tls, arrived: &[u8]) -> Result<usize, String> {
    let Some(first) = arrived.first() else { return Ok(0) };
    match tls.admit(*first) {
        Ok(super::Admitted::Plain) => Ok(arrived.len()),
        Ok(super::Admitted::Tls(mut session)) => {
            let mut incoming = BytesMut::new();
            session.open(arrived, &mut incoming).map_err(|error| error.to_string())?;
            Ok(incoming.len())
        }
        Err(refused) => Err(refused.to_string()),
    }
}
