//! TLS for servers: which certificate they show, whom they let in, and new files without a restart.
//!
//! 1. [`settings`] reads `tls.properties`, with Apache's keys
//! 2. [`files`] reads keys and certificates
//! 3. [`Tls`] holds what is in force, and takes over what has changed
//! 4. `session` is one connection's: bytes of the socket on one side, frames on the other
//!
//! [`client`] is the other end. Protocol and cryptography are rustls with ring; TLS 1.2 and 1.3 only.

pub mod client;
mod expiry;
pub mod files;
pub mod make;
pub(crate) mod session;
pub mod settings;

pub use client::{ClientTls, Trust};
#[doc(hidden)]
pub use session::first_bytes;
pub use settings::{ClientAuth, TlsMode, TlsSettings};

use files::Identity;
use parking_lot::{Mutex, RwLock};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, ServerConnection};
use session::Session;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Where `tls.properties` is looked for when nobody names one, as Apache's servers and clients do.
#[doc(alias = "tls.config.file")]
pub const DEFAULT_FILE: &str = "/etc/rocketmq/tls.properties";

/// [`DEFAULT_FILE`], if it is there.
pub fn default_file() -> Option<PathBuf> {
    Some(PathBuf::from(DEFAULT_FILE)).filter(|default| default.is_file())
}

/// The first byte of a TLS connection; a frame's first byte is 0 or 1.
pub(crate) const HANDSHAKE: u8 = 0x16;

/// How often it is looked whether files have changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often it is said that the certificate ends soon.
const TELL_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Why TLS can't be as it was set.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there, or may not be read.
    #[error("{path}: {source}", path = path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A value that can't be.
    #[error("{path}:{line}: {key}={value} can't be: {allowed}", path = path.display())]
    Value {
        /// Which file.
        path: PathBuf,
        /// Which line.
        line: usize,
        /// Which key.
        key: String,
        /// What it was given.
        value: String,
        /// What it can be given.
        allowed: &'static str,
    },
    /// A file does not hold what it should.
    #[error("{path}: {what}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Settings that don't fit together.
    #[error("{0}")]
    Settings(String),
}

/// What a server does with TLS: what is in force, and where it comes from. One for all ports of a process.
#[derive(Debug)]
pub struct Tls {
    /// `tls.properties`; without, what it would have had by default.
    file: Option<PathBuf>,
    /// What the process was told apart from the file; wins over it.
    mode: Option<TlsMode>,
    state: RwLock<Arc<State>>,
    /// The files that are in force, and those that were looked at last and can't be.
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    in_force: Vec<u8>,
    broken: Vec<u8>,
}

/// What is in force.
#[derive(Debug)]
struct State {
    mode: TlsMode,
    certificate: Certificate,
}

impl State {
    fn is_test(&self) -> bool {
        matches!(self.certificate, Certificate::Test(_))
    }
}

#[derive(Debug)]
enum Certificate {
    /// Of files, and when it ends, milliseconds since 1970.
    Files(Arc<ServerConfig>, Option<i64>),
    /// Made up in memory when the first client wants it; nobody can tell it from another.
    Test(OnceLock<Option<Arc<ServerConfig>>>),
}

/// What a new connection is to a server.
pub(crate) enum Admitted {
    Plain,
    Tls(Box<Session>),
}

/// A connection that is not served, by `tls.server.mode` or for want of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAdmitted {
    #[error("it is not encrypted, and this server takes TLS only (tls.server.mode=enforcing)")]
    Plain,
    #[error("it wants TLS, which is off (tls.server.mode=disabled)")]
    Tls,
    #[error("it wants TLS, and no certificate for tests can be made here: name files in tls.properties")]
    NoCertificate,
}

impl Tls {
    /// Reads `file`, or else [`DEFAULT_FILE`] if that is there, and the certificates that it names. `mode` wins over the file's.
    pub fn open(file: Option<PathBuf>, mode: Option<TlsMode>) -> Result<Tls, TlsError> {
        let file = file.or_else(default_file);
        let mut bytes = Vec::new();
        let state = read(file.as_deref(), mode, &mut bytes)?;
        let seen = Mutex::new(Seen { in_force: bytes, broken: Vec::new() });
        Ok(Tls { file, mode, state: RwLock::new(Arc::new(state)), seen })
    }

    /// The file that the settings come from, if there is one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What it does with connections.
    pub fn mode(&self) -> TlsMode {
        self.state.read().mode
    }

    /// True when clients are shown a certificate that was made up in memory.
    pub fn is_test(&self) -> bool {
        self.state.read().is_test()
    }

    /// When the certificate ends that clients are shown, milliseconds since 1970. `None`: it is made up in memory, or none is shown.
    pub fn certificate_expires(&self) -> Option<i64> {
        match self.state.read().certificate {
            Certificate::Files(_, expires) => expires,
            Certificate::Test(_) => None,
        }
    }

    /// Looks at the files, and takes over what they say now: the certificate for connections that come, the mode too. What can't
    /// be used leaves everything as it is. True when something is in force that was not.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let mut bytes = Vec::new();
        let read = read(self.file.as_deref(), self.mode, &mut bytes);
        let mut seen = self.seen.lock();
        if bytes == seen.in_force {
            seen.broken.clear();
            return read.map(|_| false);
        }
        match read {
            // A file that is being written, or was emptied, opens nothing that was shut.
            Ok(state) if state.is_test() && !self.is_test() && state.mode != TlsMode::Disabled => {
                if bytes == seen.broken {
                    return Ok(false);
                }
                seen.broken = bytes;
                Err(TlsError::Settings(
                    "no certificate is named any more; what was in force stays until the server is started again"
                        .into(),
                ))
            }
            Ok(state) => {
                *self.state.write() = Arc::new(state);
                *seen = Seen { in_force: bytes, broken: Vec::new() };
                Ok(true)
            }
            // Told once, for each thing that the files say.
            Err(_) if bytes == seen.broken => Ok(false),
            Err(error) => {
                seen.broken = bytes;
                Err(error)
            }
        }
    }

    /// Takes over what changes in the files, for as long as it is polled, and says so in the log; also when the certificate ends
    /// soon, at the start and daily.
    pub async fn watch(&self) {
        let mut told = None::<Instant>;
        loop {
            if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                if let Some(warning) = self.certificate_expires().and_then(expiry::warning_now) {
                    tracing::warn!(file = ?self.file, "TLS: {warning}");
                }
                told = Some(Instant::now());
            }
            tokio::time::sleep(LOOK_EVERY).await;
            match self.reload() {
                Ok(true) => {
                    told = None;
                    tracing::info!(
                        mode = %self.mode(), file = ?self.file, "TLS: new files are in force, for connections that come from now on"
                    );
                }
                Ok(false) => {}
                Err(error) => tracing::error!(
                    %error, "TLS: the files have changed and can't be used; what was in force before stays so"
                ),
            }
        }
    }

    /// What a connection is whose first byte is this.
    pub(crate) fn admit(&self, first: u8) -> Result<Admitted, NotAdmitted> {
        let state = self.state.read().clone();
        match (first == HANDSHAKE, state.mode) {
            (false, TlsMode::Enforcing) => Err(NotAdmitted::Plain),
            (false, _) => Ok(Admitted::Plain),
            (true, TlsMode::Disabled) => Err(NotAdmitted::Tls),
            (true, _) => {
                let config = state.certificate.config().ok_or(NotAdmitted::NoCertificate)?;
                let connection = ServerConnection::new(config).map_err(|_| NotAdmitted::NoCertificate)?;
                Ok(Admitted::Tls(Box::new(Session::new(connection))))
            }
        }
    }
}

impl Certificate {
    fn config(&self) -> Option<Arc<ServerConfig>> {
        match self {
            Certificate::Files(config, _) => Some(config.clone()),
            Certificate::Test(made) => made.get_or_init(make_up).clone(),
        }
    }
}

/// Reads all that `file` names. `bytes` is filled with what the outcome depends on, also when it is an error.
fn read(file: Option<&Path>, mode: Option<TlsMode>, bytes: &mut Vec<u8>) -> Result<State, TlsError> {
    let settings = match file {
        None => TlsSettings::default(),
        Some(path) => {
            let text = files::bytes(path, bytes)?;
            TlsSettings::parse(path, &String::from_utf8_lossy(&text))?
        }
    };
    let mode = mode.or(settings.mode).unwrap_or_default();
    if mode == TlsMode::Disabled {
        return Ok(State { mode, certificate: Certificate::Test(OnceLock::new()) });
    }
    let side = &settings.server;
    // Apache shows the certificate for tests even where files are named, unless it is told not to. Nobody who names files wants that.
    let certificate = if settings.test_mode.unwrap_or(side.is_empty()) {
        if settings.need_client_auth != ClientAuth::None {
            return Err(TlsError::Settings(
                "tls.server.need.client.auth asks clients for certificates, but this server has a certificate for tests only: \
                 name tls.server.certPath and tls.server.keyPath, and leave tls.test.mode.enable out"
                    .into(),
            ));
        }
        Certificate::Test(OnceLock::new())
    } else {
        let (config, expires) = of_files(&settings, bytes)?;
        Certificate::Files(config, expires)
    };
    Ok(State { mode, certificate })
}

fn of_files(settings: &TlsSettings, bytes: &mut Vec<u8>) -> Result<(Arc<ServerConfig>, Option<i64>), TlsError> {
    let identity = settings.server.identity("tls.server", bytes)?.ok_or_else(|| {
        TlsError::Settings(
            "tls.test.mode.enable=false and no certificate: name tls.server.certPath and tls.server.keyPath; \
             `cometmq tls init` makes them"
                .into(),
        )
    })?;
    let (builder, expires) = (server_builder(), expiry::of_chain(&identity.chain));
    let config = if settings.need_client_auth == ClientAuth::None {
        identity.serve(builder.with_no_client_auth())?
    } else {
        let Some(trusted) = &settings.server.trust_cert_path else {
            return Err(TlsError::Settings(
                "tls.server.need.client.auth asks clients for certificates, and tls.server.trustCertPath does not say whose: \
                 any certificate would do. Name the CA's file there"
                    .into(),
            ));
        };
        let roots = files::roots(trusted, bytes)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let verifier = match settings.need_client_auth {
            ClientAuth::Optional => verifier.allow_unauthenticated(),
            _ => verifier,
        };
        let verifier = verifier
            .build()
            .map_err(|error| TlsError::File { path: trusted.clone(), what: format!("no use as a CA: {error}") })?;
        identity.serve(builder.with_client_cert_verifier(verifier))?
    };
    Ok((Arc::new(config), expires))
}

/// A certificate that lasts as long as the process, signed by itself.
fn make_up() -> Option<Arc<ServerConfig>> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(|error| error.to_string());
    let config = made.and_then(|rcgen::CertifiedKey { cert, signing_key }| {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let builder = server_builder().with_no_client_auth();
        builder.with_single_cert(vec![cert.der().clone()], key).map_err(|error| error.to_string())
    });
    match config {
        Ok(config) => {
            tracing::warn!(
                "TLS with a certificate for tests, made up in memory: what clients send is encrypted, and none of them can know \
                 that it is this server. `cometmq tls init` makes certificates that they can check"
            );
            Some(Arc::new(config))
        }
        Err(error) => {
            tracing::error!(%error, "TLS: no certificate for tests can be made");
            None
        }
    }
}

fn server_builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(provider()).with_protocol_versions(VERSIONS).expect("ring does TLS 1.2 and 1.3")
}

/// What we speak.
pub(crate) const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// Named at each use: the process-wide one is whichever library sets it first.
pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    static PROVIDER: OnceLock<Arc<rustls::crypto::CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())).clone()
}

impl Identity {
    fn serve(
        self,
        builder: rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>,
    ) -> Result<ServerConfig, TlsError> {
        let Identity { chain, key, path } = self;
        builder.with_single_cert(chain, key).map_err(|error| files::unfit(path, &error))
    }
}
