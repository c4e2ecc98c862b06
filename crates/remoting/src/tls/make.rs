//! Certificates of one's own: a CA, and what it signs. For `cometmq tls init`, and for tests.

use super::files::pem;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use std::ops::Range;
use std::time::{Duration, SystemTime};

/// What a CA of ours is called. A renewed certificate is signed by the same name and key.
const CA_NAME: &str = "CometMQ CA";

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

/// From now, and a day ago, on.
pub fn valid_for(time: Duration) -> Range<SystemTime> {
    let now = SystemTime::now();
    now - CLOCKS_DIFFER..now + time
}

/// Who signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new CA, and its own certificate and key.
    pub fn new(valid: Range<SystemTime>) -> Result<(Authority, Issued), rcgen::Error> {
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
        let mut params = params(CA_NAME, &[], valid_for(Duration::ZERO))?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Authority { issuer: Issuer::new(params, key) })
    }

    /// Signs a new certificate for these hosts, addresses and names.
    pub fn issue(
        &self,
        name: &str,
        hosts: &[String],
        usage: Usage,
        valid: Range<SystemTime>,
    ) -> Result<Issued, rcgen::Error> {
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

fn params(name: &str, hosts: &[String], valid: Range<SystemTime>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = valid.start.into();
    params.not_after = valid.end.into();
    Ok(params)
}

fn issued(certificate: &[u8], key: &KeyPair) -> Issued {
    Issued { certificate: pem("CERTIFICATE", certificate), key: pem("PRIVATE KEY", key.serialized_der()) }
}
