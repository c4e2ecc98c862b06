//! TLS for who connects: whom it trusts, and what it shows.

use super::files;
use super::settings::{Side, TlsSettings};
use super::{TlsError, VERSIONS, provider};
use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// An encrypted connection.
pub type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;

/// Whom a client takes for the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Who shows a certificate for the host that was dialled, signed by a CA of this file.
    Ca(PathBuf),
    /// Anyone. What is sent is encrypted, and whoever sits between can read it all the same.
    #[doc(alias = "tls.client.authServer")]
    Anyone,
}

/// How a client speaks TLS. Files are looked at again for each new connection, so that they can be renewed while it runs.
#[derive(Debug)]
pub struct ClientTls {
    trust: Trust,
    side: Side,
    read: Mutex<Read>,
}

#[derive(Debug)]
struct Read {
    config: Arc<ClientConfig>,
    bytes: Vec<u8>,
}

impl ClientTls {
    /// Trusts `trust`, and shows the certificate of `side` to servers that ask for one.
    pub fn new(trust: Trust, side: Side) -> Result<ClientTls, TlsError> {
        let mut bytes = Vec::new();
        let config = read(&trust, &side, &mut bytes)?;
        Ok(ClientTls { trust, side, read: Mutex::new(Read { config, bytes }) })
    }

    /// What the `tls.client.*` of `path` say.
    pub fn of_file(path: &Path) -> Result<ClientTls, TlsError> {
        ClientTls::of_settings(TlsSettings::read(path)?)
    }

    /// What `tls.client.*` say.
    pub fn of_settings(settings: TlsSettings) -> Result<ClientTls, TlsError> {
        let checks = settings.auth_server != Some(false) && settings.test_mode != Some(true);
        let trust = match (&settings.client.trust_cert_path, checks) {
            (_, false) => Trust::Anyone,
            (Some(ca), true) => Trust::Ca(ca.clone()),
            (None, true) => {
                return Err(TlsError::Settings(
                    "tls.client.trustCertPath does not say by which CA a server's certificate is checked: name its file, or set \
                     tls.client.authServer=false to take any"
                        .into(),
                ));
            }
        };
        ClientTls::new(trust, settings.client)
    }

    /// What this client trusts.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Agrees on keys with `address` (`host:port`) over `stream`, which is connected to it.
    pub async fn connect(&self, address: &str, stream: TcpStream) -> io::Result<TlsStream> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("`{host}` is no name that a certificate could have"))
        })?;
        TlsConnector::from(self.config()).connect(name, stream).await.map_err(explain)
    }

    /// With the files as they are now; if they can't be used, with those that could.
    fn config(&self) -> Arc<ClientConfig> {
        let mut bytes = Vec::new();
        let config = read(&self.trust, &self.side, &mut bytes);
        let mut read = self.read.lock();
        if bytes != read.bytes {
            match config {
                Ok(config) => read.config = config,
                Err(error) => {
                    tracing::error!(%error, "TLS: the files have changed and can't be used; the ones before are");
                }
            }
            read.bytes = bytes;
        }
        read.config.clone()
    }
}

/// Says what helps, where the reason is one that people meet.
fn explain(error: io::Error) -> io::Error {
    use rustls::{CertificateError, Error};
    let cause = error.get_ref().and_then(|source| source.downcast_ref::<Error>());
    let help = match cause {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            "the server's certificate is signed by none of the CAs that we trust (tls.client.trustCertPath, --tls-ca)"
        }
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "the server's certificate is for other hosts than the one that was dialled",
        Some(Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {
            "the server's certificate has expired, or this machine's clock is wrong"
        }
        Some(Error::AlertReceived(rustls::AlertDescription::CertificateRequired)) => {
            "the server asks for a client's certificate (tls.client.certPath, tls.client.keyPath)"
        }
        Some(Error::InvalidMessage(_)) => "what listens there does not speak TLS",
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the server closed the connection: is TLS on there (tls.server.mode)?"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{help} ({error})"))
}

fn read(trust: &Trust, side: &Side, bytes: &mut Vec<u8>) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .expect("ring does TLS 1.2 and 1.3");
    let builder = match trust {
        Trust::Ca(path) => builder.with_root_certificates(files::roots(path, bytes)?),
        Trust::Anyone => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone)),
    };
    let config = match side.identity("tls.client", bytes)? {
        None => builder.with_no_client_auth(),
        Some(identity) => builder
            .with_client_auth_cert(identity.chain, identity.key)
            .map_err(|error| files::unfit(identity.path, &error))?,
    };
    Ok(Arc::new(config))
}

/// Takes any certificate, but wants the server to have its key.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
