//! `tls.properties`, with Apache's keys.

use super::TlsError;
use super::files::{self, Identity};
use protocol::properties::{self, Property};
use std::fmt;
use std::path::{Path, PathBuf};

/// What a server does with connections, plain and TLS, that come to the same port.
#[doc(alias = "tls.server.mode")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    /// Plain only: TLS connections are closed.
    Disabled,
    /// Both.
    #[default]
    Permissive,
    /// TLS only: plain connections are closed.
    Enforcing,
}

impl TlsMode {
    /// Reads it; what [`TlsMode::ALLOWED`] says.
    pub fn parse(text: &str) -> Option<TlsMode> {
        match text.to_ascii_lowercase().as_str() {
            "disabled" => Some(TlsMode::Disabled),
            "permissive" => Some(TlsMode::Permissive),
            "enforcing" => Some(TlsMode::Enforcing),
            _ => None,
        }
    }

    /// What it can be.
    pub const ALLOWED: &str = "disabled, permissive or enforcing";
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsMode::Disabled => "disabled",
            TlsMode::Permissive => "permissive",
            TlsMode::Enforcing => "enforcing",
        })
    }
}

/// Whether a server asks clients for certificates.
#[doc(alias = "tls.server.need.client.auth")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAuth {
    /// No.
    #[default]
    None,
    /// Yes, and takes those that have none; a certificate that is shown must be good.
    Optional,
    /// Yes, and takes nobody without a good one.
    Require,
}

/// A password; never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Password(pub Option<String>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Password(set)" } else { "Password(none)" })
    }
}

/// The files of one end of connections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Side {
    /// Its private key, PEM.
    pub key_path: Option<PathBuf>,
    /// What the key is encrypted with.
    pub key_password: Password,
    /// Its certificate and those between that and the CA's, PEM.
    pub cert_path: Option<PathBuf>,
    /// The certificates of CAs that the other end's is checked by, PEM.
    pub trust_cert_path: Option<PathBuf>,
}

impl Side {
    pub(crate) fn is_empty(&self) -> bool {
        self.key_path.is_none() && self.cert_path.is_none()
    }

    /// The certificate and its key, if they are named. `prefix` is that of the keys, for messages.
    pub(crate) fn identity(&self, prefix: &str, bytes: &mut Vec<u8>) -> Result<Option<Identity>, TlsError> {
        match (&self.cert_path, &self.key_path) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => {
                files::identity(certificate, key, self.key_password.0.as_deref(), bytes).map(Some)
            }
            _ => Err(TlsError::Settings(format!(
                "{prefix}.certPath and {prefix}.keyPath go together, and one of them is missing"
            ))),
        }
    }
}

/// What stands in `tls.properties`. What does not is `None`, or as in an empty file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsSettings {
    /// Key: `tls.server.mode`. Apache takes it from a system property only. Default: `permissive`.
    pub mode: Option<TlsMode>,
    /// Clients, and brokers towards their name servers, use TLS. Key: `tls.enable`. Apache takes it from a system property only.
    pub enable: Option<bool>,
    /// A server shows a certificate made up in memory, and clients check none. Key: `tls.test.mode.enable`. Default: true
    /// where no files are named.
    pub test_mode: Option<bool>,
    /// Key: `tls.server.need.client.auth`. Default: `none`.
    pub need_client_auth: ClientAuth,
    /// Keys: `tls.server.keyPath`, `.keyPassword`, `.certPath`, `.trustCertPath`.
    pub server: Side,
    /// A client checks the server's certificate. Key: `tls.client.authServer`. Default: true where `tls.client.trustCertPath`
    /// is named.
    pub auth_server: Option<bool>,
    /// Keys: `tls.client.keyPath`, `.keyPassword`, `.certPath`, `.trustCertPath`.
    pub client: Side,
}

const FLAG: &str = "true or false";

impl TlsSettings {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<TlsSettings, TlsError> {
        let text = files::bytes(path, &mut Vec::new())?;
        TlsSettings::parse(path, &String::from_utf8_lossy(&text))
    }

    /// Reads the text of a file; `path` is for messages only. Keys that are not for TLS are none of our business.
    pub fn parse(path: &Path, text: &str) -> Result<TlsSettings, TlsError> {
        let mut settings = TlsSettings::default();
        for Property { line, key, value } in properties::read(text) {
            if let Err(allowed) = settings.set(&key, &value) {
                // A password's line holds nothing else that could be wrong.
                return Err(TlsError::Value { path: path.into(), line, key, value, allowed });
            }
        }
        Ok(settings)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        let flag = || match value.to_ascii_lowercase().as_str() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            "" => Ok(None),
            _ => Err(FLAG),
        };
        match key {
            "tls.server.mode" => self.mode = Some(TlsMode::parse(value).ok_or(TlsMode::ALLOWED)?),
            "tls.enable" => self.enable = flag()?,
            "tls.test.mode.enable" => self.test_mode = flag()?,
            "tls.server.need.client.auth" => {
                self.need_client_auth = match value.to_ascii_lowercase().as_str() {
                    "none" | "" => ClientAuth::None,
                    "optional" => ClientAuth::Optional,
                    "require" => ClientAuth::Require,
                    _ => return Err("none, optional or require"),
                };
            }
            // A certificate that is asked for is checked in any case: one that is not proves nothing.
            "tls.server.authClient" => drop(flag()?),
            "tls.client.authServer" => self.auth_server = flag()?,
            _ => {
                let (side, rest) = if let Some(rest) = key.strip_prefix("tls.server.") {
                    (&mut self.server, rest)
                } else if let Some(rest) = key.strip_prefix("tls.client.") {
                    (&mut self.client, rest)
                } else {
                    return Ok(());
                };
                let path = Some(value).filter(|value| !value.is_empty()).map(PathBuf::from);
                match rest {
                    "keyPath" => side.key_path = path,
                    "keyPassword" => {
                        side.key_password = Password(Some(value.to_owned()).filter(|value| !value.is_empty()));
                    }
                    "certPath" => side.cert_path = path,
                    "trustCertPath" => side.trust_cert_path = path,
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TlsSettings, TlsError> {
        TlsSettings::parse(Path::new("tls.properties"), text)
    }

    #[test]
    fn apaches_file_is_read() {
        let settings = parse(
            "tls.test.mode.enable=false\ntls.server.need.client.auth=require\ntls.server.keyPath=/c/server.key\n\
             tls.server.keyPassword=123456\ntls.server.certPath=/c/server.pem\ntls.server.authClient=true\n\
             tls.server.trustCertPath=/c/ca.pem\ntls.client.authServer=TRUE\ntls.client.trustCertPath=/c/ca.pem\nother=1\n",
        )
        .unwrap();
        assert_eq!((settings.test_mode, settings.need_client_auth), (Some(false), ClientAuth::Require));
        assert_eq!(settings.server.key_path.as_deref(), Some(Path::new("/c/server.key")));
        assert_eq!(settings.server.key_password.0.as_deref(), Some("123456"));
        assert_eq!((settings.mode, settings.auth_server), (None, Some(true)));
        assert_eq!(settings.client.trust_cert_path, settings.server.trust_cert_path);
        assert!(!format!("{settings:?}").contains("123456"), "passwords are not printed");
    }

    #[test]
    fn an_empty_file_is_as_none() {
        assert_eq!(parse("# nothing\n").unwrap(), TlsSettings::default());
    }

    #[test]
    fn what_can_not_be_is_named_with_its_line() {
        for (text, why) in [
            (
                "\ntls.server.mode=strict",
                "tls.properties:2: tls.server.mode=strict can't be: disabled, permissive or enforcing",
            ),
            ("tls.server.need.client.auth=yes", "none, optional or require"),
            ("tls.test.mode.enable=on", "true or false"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
