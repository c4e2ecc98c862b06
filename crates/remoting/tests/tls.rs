//! TLS on a server's port: who gets in, who does not, and what it costs to stop half-way.

use bytes::{Bytes, BytesMut};
use protocol::code::response;
use protocol::command::Command;
use protocol::request::client::GetConsumerList;
use protocol::request::offset::{GetMaxOffset, OffsetReply};
use protocol::request::{Empty, Request};
use remoting::client::RequestError;
use remoting::reply::Part;
use remoting::tls::make::{Authority, Issued, Usage, Validity, valid_for};
use remoting::tls::settings::Side;
use remoting::tls::{ClientTls, Tls, TlsMode, Trust};
use remoting::{Answer, Body, Call, Client, ClientLimits, Entrance, Limits, Proxies, Rates, Reject, Router, Server};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Far longer than anything here takes.
const SOON: Duration = Duration::from_secs(60);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn a_year() -> Validity {
    valid_for(YEAR, now())
}

#[derive(Default)]
struct State {
    served: AtomicUsize,
    gone: AtomicUsize,
}

async fn echo(state: Arc<State>, call: Call<GetMaxOffset>) -> Result<Answer<OffsetReply>, Reject> {
    state.served.fetch_add(1, Ordering::SeqCst);
    // What port the client has, as the server knows it.
    let offset = i64::from(call.peer.address().port());
    Ok(Answer::new(OffsetReply { offset }).with_body(Body::Bytes(call.body)).behind_write())
}

/// A part in memory, a part of a file, and another in memory.
async fn of_a_file(_: Arc<State>, _: Call<GetConsumerList>) -> Result<Answer<Empty>, Reject> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&(0..600_000u32).flat_map(u32::to_be_bytes).collect::<Vec<u8>>()).unwrap();
    Ok(Answer::new(Empty {}).with_body(Body::Parts(vec![
        Part::Bytes(Bytes::from_static(b"small")),
        Part::File { file: Arc::new(file), offset: 40_000, length: 2_000_000 },
        Part::Bytes(Bytes::from(vec![b'b'; 5000])),
    ])))
}

struct Serving {
    server: Server,
    address: SocketAddr,
    state: Arc<State>,
}

impl Serving {
    fn behind(entrance: Entrance) -> Serving {
        Serving::with(entrance, Limits::default())
    }

    fn with(entrance: Entrance, limits: Limits) -> Serving {
        let state = Arc::new(State::default());
        let server = Server::start_with(1, limits).unwrap();
        let router = Router::new(state.clone())
            .on(echo)
            .on(of_a_file)
            .before_replies(|_| Ok(()))
            .on_close(|state, _| {
                state.gone.fetch_add(1, Ordering::SeqCst);
            })
            .behind(Arc::new(entrance));
        let address = server.listen(TcpListener::bind("127.0.0.1:0").unwrap(), router).unwrap();
        Serving { server, address, state }
    }

    fn gone(&self, count: usize) {
        let until = Instant::now() + SOON;
        while self.state.gone.load(Ordering::SeqCst) < count {
            assert!(Instant::now() < until, "{} of {count} have gone", self.state.gone.load(Ordering::SeqCst));
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// A directory with a CA, certificates, and a `tls.properties` that names them.
struct Files {
    dir: tempfile::TempDir,
    authority: Authority,
}

impl Files {
    fn new(more: &str) -> Files {
        let dir = tempfile::tempdir().unwrap();
        let (authority, own) = Authority::new(a_year()).unwrap();
        let files = Files { dir, authority };
        files.put("ca", &own);
        files.issue("server", &["127.0.0.1"], a_year());
        files.put("client", &files.authority.issue("client", &[], Usage::Client, a_year()).unwrap());
        files.settings(more);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, name: &str, issued: &Issued) {
        fs::write(self.path(&format!("{name}.pem")), &issued.certificate).unwrap();
        fs::write(self.path(&format!("{name}.key")), &issued.key).unwrap();
    }

    fn issue(&self, name: &str, hosts: &[&str], valid: Validity) {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        self.put(name, &self.authority.issue(name, &hosts, Usage::Server, valid).unwrap());
    }

    fn settings(&self, more: &str) {
        let dir = self.dir.path().display();
        let text = format!(
            "tls.server.certPath={dir}/server.pem\ntls.server.keyPath={dir}/server.key\ntls.server.trustCertPath={dir}/ca.pem\n{more}"
        );
        fs::write(self.path("tls.properties"), text).unwrap();
    }

    fn tls(&self, mode: Option<TlsMode>) -> Arc<Tls> {
        Arc::new(Tls::open(Some(self.path("tls.properties")), mode).unwrap())
    }

    fn serve(&self, mode: TlsMode) -> Serving {
        Serving::behind(Entrance { tls: Some(self.tls(Some(mode))), ..Entrance::default() })
    }

    fn trust(&self, side: Side) -> Client {
        client(Trust::Ca(self.path("ca.pem")), side)
    }

    fn of_client(&self) -> Side {
        Side { key_path: Some(self.path("client.key")), cert_path: Some(self.path("client.pem")), ..Side::default() }
    }
}

fn client(trust: Trust, side: Side) -> Client {
    Client::default().with_tls(Some(Arc::new(ClientTls::new(trust, side).unwrap())))
}

async fn ask(client: &Client, address: SocketAddr) -> Result<Bytes, RequestError> {
    let request = GetMaxOffset { topic: "T".into(), queue_id: 7 };
    let (_, body) = client.ask_with_body(&address.to_string(), &request, Bytes::from_static(b"hello"), SOON).await?;
    Ok(body)
}

async fn refused(client: &Client, address: SocketAddr) -> String {
    ask(client, address).await.unwrap_err().to_string()
}

/// Makes the server say something or close; `None`: it closed.
fn send_raw(address: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.write_all(bytes).unwrap();
    let mut answer = vec![0; 4096];
    match socket.read(&mut answer) {
        Ok(0) => None,
        Ok(count) => Some(answer[..count].to_vec()),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
        Err(error) => panic!("{error}"),
    }
}

fn frame() -> Vec<u8> {
    let mut bytes = Vec::new();
    GetMaxOffset { topic: "T".into(), queue_id: 7 }.write().encode(&mut bytes);
    bytes
}

#[tokio::test]
async fn plain_and_encrypted_requests_come_to_the_same_port() {
    let files = Files::new("");
    let serving = files.serve(TlsMode::Permissive);
    for client in [Client::default(), files.trust(Side::default()), client(Trust::Anyone, Side::default())] {
        assert_eq!(ask(&client, serving.address).await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn enforcing_closes_plain_connections_and_disabled_those_with_tls() {
    let files = Files::new("");
    let enforcing = files.serve(TlsMode::Enforcing);
    assert_eq!(ask(&files.trust(Side::default()), enforcing.address).await.unwrap(), "hello");
    assert_eq!(send_raw(enforcing.address, &frame()), None);
    let disabled = files.serve(TlsMode::Disabled);
    assert_eq!(ask(&Client::default(), disabled.address).await.unwrap(), "hello");
    let told = refused(&files.trust(Side::default()), disabled.address).await;
    assert!(told.contains("is TLS on there"), "{told}");
    assert_eq!(enforcing.state.served.load(Ordering::SeqCst) + disabled.state.served.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn without_files_a_certificate_for_tests_is_shown_which_nobody_can_check() {
    let tls = Tls::open(Some(Files::new("tls.test.mode.enable=true").path("none")), None);
    assert!(tls.is_err(), "a file that is named must be there");
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tls.properties"), "").unwrap();
    let tls = Tls::open(Some(dir.path().join("tls.properties")), None).unwrap();
    assert!(tls.is_test() && tls.mode() == TlsMode::Permissive);
    let serving = Serving::behind(Entrance { tls: Some(Arc::new(tls)), ..Entrance::default() });
    assert_eq!(ask(&client(Trust::Anyone, Side::default()), serving.address).await.unwrap(), "hello");
    let strict = Files::new("").trust(Side::default());
    let told = refused(&strict, serving.address).await;
    assert!(told.contains("signed by none of the CAs"), "{told}");
}

#[tokio::test]
async fn a_client_refuses_another_ca_another_host_and_what_has_expired() {
    let (files, others) = (Files::new(""), Files::new(""));
    let strict = || files.trust(Side::default());
    let told = refused(&strict(), others.serve(TlsMode::Permissive).address).await;
    assert!(told.contains("signed by none of the CAs"), "{told}");
    files.issue("server", &["mq.example.com", "10.0.0.1"], a_year());
    let told = refused(&strict(), files.serve(TlsMode::Permissive).address).await;
    assert!(told.contains("for other hosts"), "{told}");
    files.issue("server", &["127.0.0.1"], now() - YEAR..now() - Duration::from_secs(60));
    let told = refused(&strict(), files.serve(TlsMode::Permissive).address).await;
    assert!(told.contains("has expired"), "{told}");
}

#[tokio::test]
async fn a_client_without_a_good_certificate_is_refused_where_one_is_required() {
    let files = Files::new("tls.server.need.client.auth=require");
    let serving = files.serve(TlsMode::Enforcing);
    assert_eq!(ask(&files.trust(files.of_client()), serving.address).await.unwrap(), "hello");
    ask(&files.trust(Side::default()), serving.address).await.unwrap_err();
    // Of another CA.
    ask(&files.trust(Files::new("").of_client()), serving.address).await.unwrap_err();
    // The server's own is no client's.
    let side =
        Side { key_path: Some(files.path("server.key")), cert_path: Some(files.path("server.pem")), ..Side::default() };
    ask(&files.trust(side), serving.address).await.unwrap_err();
    assert_eq!(serving.state.served.load(Ordering::SeqCst), 1);

    files.settings("tls.server.need.client.auth=optional");
    let optional = files.serve(TlsMode::Enforcing);
    for side in [Side::default(), files.of_client()] {
        assert_eq!(ask(&files.trust(side), optional.address).await.unwrap(), "hello");
    }
    ask(&files.trust(Files::new("").of_client()), optional.address).await.unwrap_err();
}

#[test]
fn settings_that_do_not_fit_stop_the_start_and_say_what_helps() {
    let files = Files::new("");
    let open = |text: &str| {
        fs::write(files.path("tls.properties"), text).unwrap();
        Tls::open(Some(files.path("tls.properties")), None).map(drop).map_err(|error| error.to_string())
    };
    let dir = files.dir.path().display();
    let both = format!("tls.server.certPath={dir}/server.pem\ntls.server.keyPath={dir}/server.key\n");
    open(&both).unwrap();
    for (text, why) in [
        (format!("{both}tls.server.need.client.auth=require"), "tls.server.trustCertPath does not say whose"),
        (format!("tls.server.certPath={dir}/server.pem"), "go together"),
        (format!("tls.server.certPath={dir}/none.pem\ntls.server.keyPath={dir}/server.key"), "none.pem"),
        (format!("tls.server.certPath={dir}/server.pem\ntls.server.keyPath={dir}/client.key"), "not for the key"),
        (format!("tls.server.certPath={dir}/server.key\ntls.server.keyPath={dir}/server.key"), "no certificate in it"),
        (format!("tls.server.certPath={dir}/server.pem\ntls.server.keyPath={dir}/server.pem"), "no private key"),
        ("tls.test.mode.enable=false".to_owned(), "cometmq tls init"),
        ("tls.server.mode=none".to_owned(), "disabled, permissive or enforcing"),
    ] {
        let told = open(&text).unwrap_err();
        assert!(told.contains(why), "{told}");
    }
    // Switched off, files need not be there.
    open("tls.server.mode=disabled\ntls.server.certPath=/none\ntls.server.keyPath=/none").unwrap();
}

#[tokio::test]
async fn a_reply_of_a_file_comes_whole_to_who_reads_slowly() {
    let files = Files::new("");
    let serving = files.serve(TlsMode::Enforcing);
    let client = files.trust(Side::default());
    let request = GetConsumerList { consumer_group: "G".into() };
    let address = serving.address.to_string();
    let asked = (0..8).map(|_| {
        let (client, request, address) = (client.clone(), request.clone(), address.clone());
        tokio::spawn(async move { client.ask_with_body(&address, &request, Bytes::new(), SOON).await.unwrap().1 })
    });
    let mut expected = b"small".to_vec();
    expected.extend((10_000..510_000u32).flat_map(u32::to_be_bytes));
    expected.extend([b'b'; 5000]);
    for body in asked.collect::<Vec<_>>() {
        assert!(body.await.unwrap() == expected, "the bytes of the file, between those in memory");
    }
}

#[tokio::test]
async fn large_and_many_requests_come_through() {
    let files = Files::new("");
    let serving = files.serve(TlsMode::Enforcing);
    let (client, address) = (files.trust(Side::default()), serving.address.to_string());
    let large = Bytes::from((0..3_000_000u32).map(|n| (n / 7) as u8).collect::<Vec<u8>>());
    let request = GetMaxOffset { topic: "T".into(), queue_id: 7 };
    let (_, echoed) = client.ask_with_body(&address, &request, large.clone(), SOON).await.unwrap();
    assert!(echoed == large);
    let asked = (0..2000u32).map(|n| {
        let (client, request, address) = (client.clone(), request.clone(), address.clone());
        let body = Bytes::from(n.to_be_bytes().to_vec());
        tokio::spawn(async move { client.ask_with_body(&address, &request, body, SOON).await.unwrap().1 })
    });
    for (n, body) in asked.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(body.await.unwrap()[..], (n as u32).to_be_bytes());
    }
}

#[tokio::test]
async fn new_files_are_taken_over_under_load_and_broken_ones_are_not() {
    let files = Files::new("");
    let tls = files.tls(Some(TlsMode::Enforcing));
    let serving = Serving::behind(Entrance { tls: Some(tls.clone()), ..Entrance::default() });
    assert!(!tls.reload().unwrap(), "nothing has changed");
    let (asked, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let load = (0..4).map(|_| {
        let (trust, address) = (Trust::Ca(files.path("ca.pem")), serving.address);
        let (asked, is_over) = (asked.clone(), is_over.clone());
        tokio::spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                // Some stay connected, some come anew.
                let client = client(trust.clone(), Side::default());
                for _ in 0..5 {
                    ask(&client, address).await.unwrap();
                    asked.fetch_add(1, Ordering::SeqCst);
                }
            }
        })
    });
    let load: Vec<_> = load.collect();
    let begun = Instant::now();
    for _ in 0..5 {
        files.issue("server", &["127.0.0.1", "renewed"], a_year());
        assert!(tls.reload().unwrap());
        fs::write(files.path("server.pem"), "-----BEGIN CERTIFICATE-----\nhalf of").unwrap();
        let told = tls.reload().unwrap_err().to_string();
        assert!(told.contains("server.pem"), "{told}");
        assert!(!tls.reload().unwrap(), "told once");
        // Each client comes anew with these files.
        let before = asked.load(Ordering::SeqCst);
        while asked.load(Ordering::SeqCst) < before + 40 {
            assert!(begun.elapsed() < SOON);
            tokio::task::yield_now().await;
        }
    }
    is_over.store(true, Ordering::SeqCst);
    for load in load {
        load.await.unwrap();
    }
    files.issue("server", &["localhost"], a_year());
    assert!(tls.reload().unwrap());
    let told = refused(&files.trust(Side::default()), serving.address).await;
    assert!(told.contains("for other hosts"), "the new certificate is in force: {told}");
    // So is another mode.
    let tls = files.tls(None);
    files.settings("tls.server.mode=disabled");
    assert!(tls.reload().unwrap() && tls.mode() == TlsMode::Disabled);
}

/// What a client writes first, by rustls.
fn client_hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let mut client = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn handshakes_that_are_cut_half_way_leave_nothing_behind() {
    let files = Files::new("");
    let serving = files.serve(TlsMode::Permissive);
    let hello = client_hello();
    let resident = || {
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let count = if std::env::var_os("HOSTILE").is_some() { 10_000 } else { 1000 };
    let round = |from: usize| {
        for n in 0..count {
            let mut socket = TcpStream::connect(serving.address).unwrap();
            socket.write_all(&hello[..1 + n * 37 % hello.len()]).unwrap();
            if n % 3 == 0 {
                // The server's part of the handshake is under way then.
                socket.write_all(&hello[1 + n * 37 % hello.len()..]).unwrap();
            }
        }
        serving.gone(from + count);
    };
    round(0);
    let before = resident();
    round(count);
    let after = resident();
    assert!(after < before + (8 << 20), "{} KiB more", (after - before) >> 10);
    assert_eq!(ask(&files.trust(Side::default()), serving.address).await.unwrap(), "hello");
}

#[tokio::test]
async fn nobody_waits_for_handshakes_that_do_not_go_on() {
    let files = Files::new("");
    let tls = Some(files.tls(None));
    let limits = Limits { idle: Duration::from_secs(6), handshake: Duration::from_secs(1), ..Limits::default() };
    let serving = Serving::with(Entrance { tls, ..Entrance::default() }, limits);
    let hello = client_hello();
    let idle: Vec<TcpStream> = (0..100)
        .map(|n| {
            let mut socket = TcpStream::connect(serving.address).unwrap();
            socket.write_all(&hello[..1 + n]).unwrap();
            socket
        })
        .collect();
    let client = files.trust(Side::default());
    let begun = Instant::now();
    while serving.state.gone.load(Ordering::SeqCst) < idle.len() {
        assert_eq!(ask(&client, serving.address).await.unwrap(), "hello");
        assert!(begun.elapsed() < SOON);
    }
    assert!(begun.elapsed() > Duration::from_secs(1), "they have a second: {:?}", begun.elapsed());
}

#[test]
fn nonsense_behind_the_first_byte_ends_the_connection() {
    let files = Files::new("");
    let serving = files.serve(TlsMode::Permissive);
    for bytes in [&b"\x16\x03\x01\x00\x05hello"[..], b"\x16\xff\xff\xff\xff\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n"]
    {
        // An alert, or nothing.
        let answer = send_raw(serving.address, bytes);
        assert!(answer.is_none_or(|answer| answer[0] == 0x15));
    }
    serving.gone(3);
}

fn openssl() -> bool {
    Process::new("openssl").arg("version").output().is_ok_and(|output| output.status.success())
}

/// What `openssl s_client` with these flags says.
fn s_client(address: SocketAddr, flags: &[&str]) -> (bool, String) {
    let mut child = Process::new("openssl");
    child.args(["s_client", "-connect", &address.to_string()]).args(flags);
    let output = child.stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn openssl_gets_tls_1_2_and_1_3_and_nothing_older() {
    if !openssl() {
        return eprintln!("no openssl on this machine");
    }
    let files = Files::new("");
    let serving = files.serve(TlsMode::Enforcing);
    let ca = files.path("ca.pem");
    let ca = ca.to_str().unwrap();
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let (agreed, said) = s_client(serving.address, &[flag, "-CAfile", ca, "-verify_return_error"]);
        assert!(agreed && said.contains(version) && said.contains("Verify return code: 0 (ok)"), "{said}");
    }
    for flag in ["-tls1", "-tls1_1"] {
        // SECLEVEL=0: openssl itself would not offer them otherwise.
        let (agreed, said) = s_client(serving.address, &[flag, "-cipher", "ALL:@SECLEVEL=0"]);
        assert!(!agreed && said.contains("SSL alert"), "{said}");
    }
    let (agreed, said) = s_client(serving.address, &["-verify_return_error"]);
    assert!(!agreed, "{said}");
    serving.gone(5);
    serving.server.stop();
}

#[tokio::test]
async fn a_handshake_counts_as_a_request() {
    let files = Files::new("");
    let entrance = Entrance { tls: Some(files.tls(None)), ..Entrance::default() };
    let address = Rates { requests: 3, bytes: 0 };
    entrance.limiter.set(ClientLimits { address, ..ClientLimits::default() });
    let serving = Serving::behind(entrance);
    let hello = client_hello();
    assert!((0..1000).any(|_| send_raw(serving.address, &hello).is_none()), "over three in a second");
}

#[test]
fn a_proxy_says_whom_it_connects_for_and_nobody_else_may() {
    let told = b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 10911\r\n";
    let port_known_to = |serving: &Serving, head: &[u8], one_by_one: bool| {
        let mut socket = TcpStream::connect(serving.address).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let bytes = [head, &frame()].concat();
        for piece in if one_by_one { bytes.chunks(1) } else { bytes.chunks(bytes.len()) } {
            // The server may have closed already.
            if socket.write_all(piece).is_err() {
                break;
            }
        }
        let mut answer = BytesMut::new();
        let mut chunk = [0; 4096];
        loop {
            match socket.read(&mut chunk) {
                Ok(0) | Err(_) => return None,
                Ok(count) => answer.extend_from_slice(&chunk[..count]),
            }
            if let Some(answer) = Command::decode(&mut answer).unwrap() {
                assert_eq!(answer.code, response::SUCCESS);
                return answer.ext.get("offset").map(str::to_owned);
            }
        }
    };
    let proxies = |list: &str| Entrance { proxies: Proxies::parse(list).unwrap(), ..Entrance::default() };
    let from_here = Serving::behind(proxies("127.0.0.0/8"));
    for one_by_one in [false, true] {
        assert_eq!(port_known_to(&from_here, told, one_by_one).as_deref(), Some("51234"));
    }
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    v2.extend([203, 0, 113, 7, 10, 0, 0, 1, 0xC8, 0x23, 0x2A, 0x9F]);
    assert_eq!(port_known_to(&from_here, &v2, false).as_deref(), Some("51235"));
    assert_eq!(port_known_to(&from_here, b"", false), None, "a proxy that says nothing is no proxy");
    let elsewhere = Serving::behind(proxies("203.0.113.0/24"));
    assert_eq!(port_known_to(&elsewhere, told, false), None, "who is no proxy may not say so");
    assert_eq!(port_known_to(&elsewhere, &v2, false), None);
    assert_ne!(port_known_to(&elsewhere, b"", false).unwrap(), "51234");
}

#[test]
fn tls_goes_on_behind_what_a_proxy_says() {
    let files = Files::new("");
    let proxies = Proxies::parse("127.0.0.1").unwrap();
    let tls = Some(files.tls(Some(TlsMode::Enforcing)));
    let serving = Serving::behind(Entrance { tls, proxies, ..Entrance::default() });
    let bytes = [b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 10911\r\n".as_slice(), &client_hello()].concat();
    let answer = send_raw(serving.address, &bytes).unwrap();
    assert_eq!(answer[0], 0x16, "the server's part of the handshake");
    assert_eq!(send_raw(serving.address, &client_hello()), None);
}
