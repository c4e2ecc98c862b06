//! Keys and certificates as files have them: PEM.

use super::TlsError;
use pkcs8::der::pem::{LineEnding, encode_string};
use pkcs8::pkcs5::Error as Unknown;
use pkcs8::{EncryptedPrivateKeyInfo, SecretDocument};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A file of keys or certificates is not larger: bundles of all public CAs have a quarter of a megabyte.
const FILE_SIZE_MAX: u64 = 4 * 1024 * 1024;

/// What a key that is encrypted in another way can be made.
const CONVERT: &str = "`openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW` makes one that can be read";

/// A certificate with its chain, and its key.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    /// The certificate's file, for messages.
    pub(crate) path: PathBuf,
}

/// Reads a file. What it holds, or why it can't be read, is added to `all`, so that a change can be told.
pub(crate) fn bytes(path: &Path, all: &mut Vec<u8>) -> Result<Vec<u8>, TlsError> {
    let read = std::fs::File::open(path).and_then(|file| {
        let mut bytes = Vec::new();
        file.take(FILE_SIZE_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_SIZE_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too large for a key or certificates"));
        }
        Ok(bytes)
    });
    all.extend_from_slice(path.as_os_str().as_encoded_bytes());
    match &read {
        Ok(bytes) => {
            all.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
            all.extend_from_slice(bytes);
        }
        Err(error) => all.extend_from_slice(format!("{:?}", error.kind()).as_bytes()),
    }
    read.map_err(|source| TlsError::Unreadable { path: path.into(), source })
}

/// A certificate and its key.
pub(crate) fn identity(
    certificate: &Path,
    key: &Path,
    password: Option<&str>,
    all: &mut Vec<u8>,
) -> Result<Identity, TlsError> {
    let chain = certificates(certificate, &bytes(certificate, all)?)?;
    let key = private_key(key, &bytes(key, all)?, password)?;
    Ok(Identity { chain, key, path: certificate.into() })
}

/// The CAs whose signature counts.
pub(crate) fn roots(path: &Path, all: &mut Vec<u8>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, &bytes(path, all)?)? {
        roots.add(certificate).map_err(|error| unfit(path.into(), &error))?;
    }
    Ok(roots)
}

pub(crate) fn unfit(path: PathBuf, error: &rustls::Error) -> TlsError {
    let what = match error {
        rustls::Error::InconsistentKeys(_) => "this certificate is not for the key that is named beside it".to_owned(),
        other => format!("no use as a certificate: {other}"),
    };
    TlsError::File { path, what }
}

fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |what: String| TlsError::File { path: path.into(), what };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let read = read.map_err(|error| failed(format!("not PEM: {error}")))?;
    if read.is_empty() {
        return Err(failed("no certificate in it (-----BEGIN CERTIFICATE-----)".into()));
    }
    Ok(read)
}

/// Reads a key: PKCS#8, plain or encrypted (PBES2: AES with PBKDF2 or scrypt), PKCS#1 or SEC1.
pub fn private_key(path: &Path, text: &[u8], password: Option<&str>) -> Result<PrivateKeyDer<'static>, TlsError> {
    let failed = |what: String| TlsError::File { path: path.into(), what };
    let text_of_it = String::from_utf8_lossy(text);
    if text_of_it.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(failed(format!("the key is encrypted in OpenSSL's old way; {CONVERT}")));
    }
    let Some(start) = text_of_it.find("-----BEGIN ENCRYPTED PRIVATE KEY-----") else {
        return PrivateKeyDer::from_pem_slice(text).map_err(|error| failed(format!("no private key in PEM: {error}")));
    };
    let password =
        password.ok_or_else(|| failed("the key is encrypted, and keyPassword does not say with what".into()))?;
    const END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
    let end = text_of_it[start..].find(END).map_or(text_of_it.len(), |end| start + end + END.len());
    let (_, document) = SecretDocument::from_pem(&text_of_it[start..end])
        .map_err(|error| failed(format!("the encrypted key is not PEM: {error}")))?;
    let encrypted = EncryptedPrivateKeyInfo::try_from(document.as_bytes())
        .map_err(|_| failed(format!("the key is encrypted in a way that is not known here; {CONVERT}")))?;
    let key = encrypted.decrypt(password).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(
            Unknown::UnsupportedAlgorithm { .. }
            | Unknown::AlgorithmParametersInvalid { .. }
            | Unknown::NoPbes1CryptSupport,
        ) => failed(format!("the key is encrypted in a way that is not known here; {CONVERT}")),
        _ => failed("keyPassword is not the one that the key is encrypted with".into()),
    })?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

/// PEM of `der`.
pub fn pem(label: &'static str, der: &[u8]) -> String {
    // It fails only for labels that are none.
    encode_string(label, LineEnding::LF, der).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, password: Option<&str>) -> Result<PrivateKeyDer<'static>, String> {
        private_key(Path::new("key.pem"), text.as_bytes(), password).map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_is_read_plain_and_encrypted() {
        let key = rcgen::KeyPair::generate().unwrap().serialize_der();
        assert_eq!(read(&pem("PRIVATE KEY", &key), None).unwrap().secret_der(), key);

        let info = pkcs8::PrivateKeyInfo::try_from(key.as_slice()).unwrap();
        let parameters =
            pkcs8::pkcs5::pbes2::Parameters::pbkdf2_sha256_aes256cbc(2048, b"salt-salt", &[7; 16]).unwrap();
        let encrypted = info.encrypt_with_params(parameters, "sésame").unwrap();
        let text = format!("# comment\n{}", pem("ENCRYPTED PRIVATE KEY", encrypted.as_bytes()));
        assert_eq!(read(&text, Some("sésame")).unwrap().secret_der(), key);
        let wrong = read(&text, Some("sesame")).unwrap_err();
        assert!(wrong.contains("keyPassword is not the one"), "{wrong}");
        let none = read(&text, None).unwrap_err();
        assert!(none.contains("keyPassword does not say"), "{none}");
    }

    #[test]
    fn what_can_not_be_decrypted_is_refused_with_what_helps() {
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        let pbes1 = pem("ENCRYPTED PRIVATE KEY", &[0x30, 3, 2, 1, 1]);
        for text in [old, &pbes1] {
            let refused = read(text, Some("123456")).unwrap_err();
            assert!(refused.contains("openssl pkcs8 -topk8"), "{refused}");
        }
    }
}
