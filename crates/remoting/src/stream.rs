//! A connection to a server, plain or encrypted.

use crate::tls::ClientTls;
use crate::tls::client::TlsStream;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection to a server.
pub enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// Encrypted. What is written leaves at the latest when it is flushed.
    Tls(Box<TlsStream>),
}

/// What is read of a connection.
pub type Source = Box<dyn AsyncRead + Send + Unpin>;

/// What is written to it.
pub type Sink = Box<dyn AsyncWrite + Send + Unpin>;

impl Stream {
    /// Connects to `address` (`host:port`), encrypted if `tls` says how. It may take as long as the network.
    pub async fn open(address: &str, tls: Option<&ClientTls>) -> io::Result<Stream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        match tls {
            None => Ok(Stream::Plain(stream)),
            Some(tls) => tls.connect(address, stream).await.map(|stream| Stream::Tls(Box::new(stream))),
        }
    }

    /// Both directions, for tasks of their own.
    pub fn split(self) -> (Source, Sink) {
        match self {
            Stream::Plain(stream) => {
                let (source, sink) = stream.into_split();
                (Box::new(source), Box::new(sink))
            }
            Stream::Tls(stream) => {
                let (source, sink) = tokio::io::split(stream);
                (Box::new(source), Box::new(sink))
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
