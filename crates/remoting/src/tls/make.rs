//! Certificates of one's own: a CA, and what it signs. For `cometmq tls init`, and for tests. What time it is, the caller says.

use super::files::pem;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use std::ops::Range;
use std::time::Duration;

/// What a CA of ours is called. A renewed certificate is signed by the same name and key.
const CA_NAME: &str = "CometMQ CA";

/// Since when until when something is valid, as time since 1970.
pub type Validity = Range<Duration>;

/// Clocks of other machines may be behind by so much.
const CLOCKS_DIFFER: Duration = Duration::from_secs(24 * 3600);

/// A certificate and its key, both PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key, PKCS#8.
    pub key: String,
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// A server shows it.
    Server,
    /// A client shows it.
    Client,
}

/// For `time` from `now` on, and since a day ago.
pub fn valid_for(time: Duration, now: Duration) -> Validity {
    now.saturating_sub(CLOCKS_DIFFER)..now + time
}

/// Who signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new CA, and its own certificate and key.
    pub fn new(valid: Validity) -> Result<(Authority, Issued), rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = params(CA_NAME, &[], valid)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        let issued = issued(certificate.der(), &key);
        Ok((Authority { issuer: Issuer::new(params, key) }, issued))
    }

    /// The CA that has this key, PKCS#8 in PEM.
    pub fn of_key(key: &str) -> Result<Authority, rcgen::Error> {
        let der = super::files::private_key("".as_ref(), key.as_bytes(), None);
        let der = der.map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
        let key = KeyPair::try_from(der.secret_der())?;
        // Its own certificate is there already, and is not made again.
        let mut params = params(CA_NAME, &[], Duration::ZERO..Duration::ZERO)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Authority { issuer: Issuer::new(params, key) })
    }

    /// Signs a new certificate for these hosts, addresses and names.
    pub fn issue(&self, name: &str, hosts: &[String], usage: Usage, valid: Validity) -> Result<Issued, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = params(name, hosts, valid)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match usage {
            Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(issued(certificate.der(), &key))
    }
}

fn params(name: &str, hosts: &[String], valid: Validity) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let begin = rcgen::date_time_ymd(1970, 1, 1);
    (params.not_before, params.not_after) = (begin + valid.start, begin + valid.end);
    Ok(params)
}

fn issued(certificate: &[u8], key: &KeyPair) -> Issued {
    Issued { certificate: pem("CERTIFICATE", certificate), key: pem("PRIVATE KEY", key.serialized_der()) }
}
