//! HTTP for those who watch a process: `/metrics`, `/livez`, `/readyz`.
//!
//! It has a thread of its own, so that whoever asks, and however long a page takes, no data thread waits.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::Semaphore;

/// So many connections at a time. Those above wait to be accepted.
const CONNECTIONS_MAX: usize = 64;

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may take in all: who reads too slowly, or not at all, must not keep a place. One connection asks once.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// How long accepting rests when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What can be asked.
pub trait Watched: Send + Sync {
    /// The page of metrics.
    fn metrics(&self) -> String;
    /// Whether clients can work with the process.
    fn readiness(&self) -> Readiness;
}

/// Whether a process is ready, and why.
#[derive(Debug, Default)]
pub struct Readiness {
    checks: Vec<(&'static str, bool, String)>,
}

impl Readiness {
    /// One of the things that must hold.
    pub fn check(mut self, what: &'static str, holds: bool, says: impl Into<String>) -> Readiness {
        self.checks.push((what, holds, says.into()));
        self
    }

    fn is_ready(&self) -> bool {
        self.checks.iter().all(|(_, holds, _)| *holds)
    }

    /// A line for each check, and one for all.
    fn text(&self) -> String {
        let mut text = String::new();
        for (what, holds, says) in &self.checks {
            text.push_str(&format!("[{}] {what}: {says}\n", if *holds { '+' } else { '-' }));
        }
        text + if self.is_ready() { "ready\n" } else { "not ready\n" }
    }
}

/// Serves until the process ends. Answers with the address.
pub fn serve(listener: TcpListener, watched: Arc<dyn Watched>) -> io::Result<SocketAddr> {
    serve_within(CONNECTION_TIMEOUT, listener, watched)
}

fn serve_within(timeout: Duration, listener: TcpListener, watched: Arc<dyn Watched>) -> io::Result<SocketAddr> {
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("http".into()).spawn(move || runtime.block_on(accept(timeout, listener, watched)))?;
    Ok(address)
}

async fn accept(timeout: Duration, listener: TcpListener, watched: Arc<dyn Watched>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "no metrics: can't accept connections"),
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // It is never closed.
        let place = places.clone().acquire_owned().await;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "can't accept a connection for metrics");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let watched = watched.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answered = answer(&*watched, &request);
                async { Ok::<_, Infallible>(answered) }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(16 * 1024).keep_alive(false);
            match tokio::time::timeout(timeout, http.serve_connection(TokioIo::new(stream), service)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a connection for metrics broke off"),
                Err(_) => tracing::debug!("a connection for metrics took too long"),
            }
            drop(place);
        });
    }
}

fn answer(watched: &dyn Watched, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return page(StatusCode::METHOD_NOT_ALLOWED, text, "there is only GET here\n".into());
    }
    match request.uri().path() {
        "/metrics" => {
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            page(StatusCode::OK, kind, watched.metrics())
        }
        "/livez" => page(StatusCode::OK, text, "alive\n".into()),
        "/readyz" => {
            let readiness = watched.readiness();
            let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            page(status, text, readiness.text())
        }
        _ => page(StatusCode::NOT_FOUND, text, "there are /metrics, /livez and /readyz here\n".into()),
    }
}

fn page(status: StatusCode, kind: HeaderValue, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpStream};

    struct Fixed(bool);

    impl Watched for Fixed {
        fn metrics(&self) -> String {
            "one 1\n".into()
        }

        fn readiness(&self) -> Readiness {
            Readiness::default().check("store", true, "open").check("disk", self.0, "full")
        }
    }

    fn ask(address: SocketAddr, head: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn served(ready: bool) -> SocketAddr {
        serve(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), Arc::new(Fixed(ready))).unwrap()
    }

    #[test]
    fn pages_are_found_and_others_are_not() {
        let address = served(true);
        let metrics = ask(address, "GET /metrics");
        assert!(metrics.starts_with("HTTP/1.1 200") && metrics.ends_with("\r\n\r\none 1\n"), "{metrics}");
        assert!(metrics.contains("text/plain; version=0.0.4"), "{metrics}");
        assert!(ask(address, "GET /livez").ends_with("alive\n"));
        assert!(ask(address, "GET /").starts_with("HTTP/1.1 404"));
        assert!(ask(address, "POST /metrics").starts_with("HTTP/1.1 405"));
        assert!(ask(address, "GET /readyz").ends_with("[+] store: open\n[+] disk: full\nready\n"));
    }

    #[test]
    fn who_is_not_ready_says_why() {
        let answer = ask(served(false), "GET /readyz");
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.ends_with("[+] store: open\n[-] disk: full\nnot ready\n"), "{answer}");
    }

    /// Its page is larger than what systems hold for a client that does not read.
    struct Huge;

    impl Watched for Huge {
        fn metrics(&self) -> String {
            "#".repeat(16 << 20)
        }

        fn readiness(&self) -> Readiness {
            Readiness::default()
        }
    }

    #[test]
    fn who_does_not_read_keeps_no_place() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = serve_within(Duration::from_millis(300), listener, Arc::new(Huge)).unwrap();
        let asks = |_| {
            let mut stream = TcpStream::connect(address).unwrap();
            write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            stream
        };
        let idle: Vec<TcpStream> = (0..CONNECTIONS_MAX).map(asks).collect();
        assert!(ask(address, "GET /livez").ends_with("alive\n"));
        drop(idle);
    }

    #[test]
    fn nonsense_harms_nobody() {
        let address = served(true);
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&[0xff; 100_000]).ok();
        drop(stream);
        assert!(ask(address, "GET /livez").ends_with("alive\n"));
    }
}
