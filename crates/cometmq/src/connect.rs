//! How clients of a cluster connect: plain, or by TLS.

use crate::environment::Environment;
use remoting::tls::{self, ClientTls, TlsError, TlsSettings};
use std::path::PathBuf;
use std::sync::Arc;

/// Flags of every client.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Encryption")]
pub struct ConnectArgs {
    /// Encrypt, and check servers by the CA of --tls-ca or --tls-config
    #[arg(long, global = true)]
    tls: bool,
    /// The certificates of CAs by which servers are checked; implies --tls
    #[arg(long, global = true, value_name = "ca.pem")]
    tls_ca: Option<PathBuf>,
    /// What the tls.client.* of this file say: CA, and a certificate of our own; implies --tls [default:
    /// /etc/rocketmq/tls.properties, where that is]
    #[arg(long, global = true, value_name = "tls.properties")]
    tls_config: Option<PathBuf>,
    /// Encrypt, and take any server for the one that is meant
    #[arg(long, global = true, conflicts_with = "tls_ca")]
    tls_insecure: bool,
}

impl ConnectArgs {
    /// How to encrypt, if that is wanted.
    fn tls(&self) -> Result<Option<Arc<ClientTls>>, TlsError> {
        if !(self.tls || self.tls_insecure || self.tls_ca.is_some() || self.tls_config.is_some()) {
            return Ok(None);
        }
        let mut settings = match self.tls_config.clone().or_else(tls::default_file) {
            Some(file) => TlsSettings::read(&file)?,
            None => TlsSettings::default(),
        };
        if let Some(ca) = &self.tls_ca {
            settings.client.trust_cert_path = Some(ca.clone());
            (settings.auth_server, settings.test_mode) = (Some(true), None);
        }
        if self.tls_insecure {
            settings.auth_server = Some(false);
        }
        if settings.client.trust_cert_path.is_none() && settings.auth_server.is_none() && settings.test_mode.is_none() {
            return Err(TlsError::Settings(
                "--tls checks servers, and nothing says by which CA: name its file with --tls-ca (`cometmq tls init` writes \
                 ca.pem), or take any server with --tls-insecure"
                    .into(),
            ));
        }
        ClientTls::of_settings(settings).map(|tls| Some(Arc::new(tls)))
    }
}

impl Environment {
    /// With connections as these flags want them.
    pub fn connecting(&self, by: &ConnectArgs) -> Result<Environment, TlsError> {
        Ok(Environment { tls: by.tls()?, ..self.clone() })
    }

    /// A client that connects so.
    pub fn remoting(&self) -> remoting::Client {
        remoting::Client::default().with_tls(self.tls.clone()).signing(self.credentials.clone())
    }
}
