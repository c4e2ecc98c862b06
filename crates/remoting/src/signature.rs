//! Signatures: how a request says who sends it, without sending the secret.
//!
//! A request carries its sender's name (`AccessKey`) and a signature: HMAC-SHA1, keyed with the secret, over the values of all
//! header fields but the signature, sorted by the fields' names, and the body behind them; in base64. What is signed is what
//! is on the wire, in either header encoding. Nothing in it is made for one request only: whoever can listen can send a
//! request again as it was, so that a network that strangers listen on needs TLS.
//!
//! Java: `org.apache.rocketmq.acl.common.AclClientRPCHook`, `AclUtils.combineRequestContent`, `AclSigner`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use protocol::command::Command;
use sha1::Sha1;
use std::fmt;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The field with the sender's name.
pub const ACCESS_KEY: &str = "AccessKey";

/// The field with the signature.
pub const SIGNATURE: &str = "Signature";

/// A field that some clients send along. It is signed, and says nothing to us.
pub const SECURITY_TOKEN: &str = "SecurityToken";

/// Clients up to this version (`V4_9_3`) add a mark to queries behind the signature.
const MARK_UNSIGNED: i32 = 399;

/// That mark.
const QUERY_MARK: &str = "_UNIQUE_KEY_QUERY";

/// A signature has 20 bytes, which are so many characters in base64.
pub const SIGNATURE_LENGTH: usize = 28;

/// Headers with so many fields are sorted without an allocation.
const FIELDS_USUAL: usize = 32;

/// A secret, ready to sign and to check signatures.
#[derive(Clone)]
pub struct Key(Hmac<Sha1>);

/// Two fields of a request have the same name and not the same value: one may be signed, and the other one read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("header field `{0}` is there twice, with two values")]
pub struct Ambiguous(pub String);

impl Key {
    /// The key of this secret.
    pub fn new(secret: &str) -> Key {
        // HMAC takes keys of any length.
        Key(Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes any key"))
    }

    /// Is `signature` that of `command`, made with this secret? How long that takes says nothing about the secret.
    pub fn signed(&self, command: &Command, signature: &str) -> Result<bool, Ambiguous> {
        let right = self.signature(command)?;
        Ok(right.as_slice().ct_eq(signature.as_bytes()).into())
    }

    fn signature(&self, command: &Command) -> Result<[u8; SIGNATURE_LENGTH], Ambiguous> {
        let mut mac = self.0.clone();
        signed_values(command, |value| mac.update(value.as_bytes()))?;
        mac.update(&command.body);
        Ok(in_base64(mac))
    }

    /// The signature of a request whose [`signed_header`] and body are these parts, one behind the other: for who prepares a request
    /// once and sends it often.
    pub fn sign<'a>(&self, parts: impl Iterator<Item = &'a [u8]>) -> [u8; SIGNATURE_LENGTH] {
        let mut mac = self.0.clone();
        parts.for_each(|part| mac.update(part));
        in_base64(mac)
    }
}

fn in_base64(mac: Hmac<Sha1>) -> [u8; SIGNATURE_LENGTH] {
    let mut text = [0; SIGNATURE_LENGTH];
    STANDARD.encode_slice(mac.finalize().into_bytes(), &mut text).expect("20 bytes are 28 characters");
    text
}

/// What is signed of a request's header.
pub fn signed_header(command: &Command) -> Result<Vec<u8>, Ambiguous> {
    let mut header = Vec::new();
    signed_values(command, |value| header.extend_from_slice(value.as_bytes()))?;
    Ok(header)
}

/// Hands on the values that are signed, in order.
fn signed_values(command: &Command, mut take: impl FnMut(&str)) -> Result<(), Ambiguous> {
    sorted(command, |fields| {
        let mut last = None;
        for (name, value) in fields {
            let unsigned = *name == SIGNATURE || *name == QUERY_MARK && command.version <= MARK_UNSIGNED;
            // Java clients with binary headers write fields twice.
            if !unsigned && last != Some(*name) {
                take(value);
            }
            last = Some(*name);
        }
    })
}

/// Refuses a request that names a field twice, with two values.
pub fn unambiguous(command: &Command) -> Result<(), Ambiguous> {
    sorted(command, |_| {})
}

/// Hands on the fields sorted by name.
fn sorted(command: &Command, take: impl FnOnce(&[(&str, &str)])) -> Result<(), Ambiguous> {
    let mut usual = [("", ""); FIELDS_USUAL];
    let mut many = Vec::new();
    let mut count = 0;
    for field in command.ext.iter() {
        match usual.get_mut(count) {
            Some(place) if many.is_empty() => *place = field,
            _ => {
                if many.is_empty() {
                    many.extend_from_slice(&usual);
                }
                many.push(field);
            }
        }
        count += 1;
    }
    let fields = if many.is_empty() { &mut usual[..count] } else { &mut many[..] };
    // Not stable: what is equal is the same, or refused.
    fields.sort_unstable();
    if let Some(two) = fields.windows(2).find(|two| two[0].0 == two[1].0 && two[0].1 != two[1].1) {
        return Err(Ambiguous(two[0].0.chars().take(64).collect()));
    }
    take(fields);
    Ok(())
}

/// A name and its secret, with which a client signs what it sends.
#[doc(alias = "SessionCredentials")]
#[derive(Clone)]
pub struct Credentials {
    access_key: Arc<str>,
    secret_key: Arc<Zeroizing<String>>,
    key: Key,
}

impl Credentials {
    /// The credentials of `access_key`.
    pub fn new(access_key: &str, secret_key: &str) -> Credentials {
        Credentials {
            access_key: access_key.into(),
            secret_key: Arc::new(Zeroizing::new(secret_key.to_owned())),
            key: Key::new(secret_key),
        }
    }

    /// The name.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// The secret.
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// What requests are signed with.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Signs a request whose fields and body are complete.
    #[doc(alias = "AclClientRPCHook")]
    pub fn sign(&self, command: &mut Command) {
        command.ext.push(ACCESS_KEY, self.access_key());
        // Our own requests name each field once.
        if let Ok(signature) = self.key.signature(command) {
            command.ext.push(SIGNATURE, String::from_utf8_lossy(&signature));
        }
    }
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Credentials) -> bool {
        self.access_key == other.access_key && self.secret_key == other.secret_key
    }
}

impl Eq for Credentials {}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn command(fields: &[(&str, &str)], body: &'static [u8]) -> Command {
        let mut command = Command::request(310);
        command.body = Bytes::from_static(body);
        fields.iter().for_each(|(name, value)| command.ext.push(name, value));
        command
    }

    /// As `openssl dgst -sha1 -hmac secret12345` signs `Orders2userAkey主题hello`.
    #[test]
    fn a_signature_is_over_the_sorted_values_and_the_body() {
        let mut signed = command(&[("i", "主题"), ("b", "Orders"), ("e", "2")], b"hello");
        signed.ext = signed.ext.iter().collect();
        Credentials::new("userA", "secret12345").sign(&mut signed);
        let mut expected = Hmac::<Sha1>::new_from_slice(b"secret12345").unwrap();
        expected.update("userAOrders2主题hello".as_bytes());
        let expected = STANDARD.encode(expected.finalize().into_bytes());
        assert_eq!(signed.ext.get(SIGNATURE), Some(expected.as_str()));
        assert_eq!(signed.ext.get(ACCESS_KEY), Some("userA"));
        assert_eq!(Key::new("secret12345").signed(&signed, &expected), Ok(true));
    }

    #[test]
    fn what_is_changed_or_cut_or_signed_with_another_secret_is_not_signed() {
        let mut signed = command(&[("b", "Orders")], b"hello");
        Credentials::new("userA", "secret12345").sign(&mut signed);
        let signature = signed.ext.get(SIGNATURE).unwrap().to_owned();
        let key = Key::new("secret12345");
        assert_eq!(Key::new("secret12346").signed(&signed, &signature), Ok(false));
        assert_eq!(key.signed(&signed, &signature[..27]), Ok(false));
        assert_eq!(key.signed(&signed, ""), Ok(false));
        let mut other = signed.clone();
        other.body = Bytes::from_static(b"hellO");
        assert_eq!(key.signed(&other, &signature), Ok(false));
        let mut more = signed.clone();
        more.ext.push("x", "1");
        assert_eq!(key.signed(&more, &signature), Ok(false));
    }

    #[test]
    fn a_field_may_be_there_twice_if_both_say_the_same() {
        let mut signed = command(&[("b", "Orders"), ("a", "g")], b"");
        Credentials::new("userA", "secret12345").sign(&mut signed);
        let signature = signed.ext.get(SIGNATURE).unwrap().to_owned();
        signed.ext.push("b", "Orders");
        let key = Key::new("secret12345");
        assert_eq!(key.signed(&signed, &signature), Ok(true));
        signed.ext.push("b", "Others");
        assert_eq!(key.signed(&signed, &signature), Err(Ambiguous("b".into())));
        assert_eq!(unambiguous(&signed), Err(Ambiguous("b".into())));
    }

    #[test]
    fn old_clients_do_not_sign_the_mark_of_a_query() {
        let mut signed = command(&[("key", "k")], b"");
        Credentials::new("userA", "secret12345").sign(&mut signed);
        let signature = signed.ext.get(SIGNATURE).unwrap().to_owned();
        signed.ext.push(QUERY_MARK, "true");
        let key = Key::new("secret12345");
        for (version, is_signed) in [(0, true), (399, true), (400, false), (479, false)] {
            signed.version = version;
            assert_eq!(key.signed(&signed, &signature), Ok(is_signed), "{version}");
        }
    }

    #[test]
    fn headers_of_any_number_of_fields_are_signed() {
        for count in [0, 1, 31, 32, 33, 100] {
            let mut signed = Command::request(10);
            (0..count).for_each(|n| signed.ext.push(&format!("f{n:03}"), n));
            Credentials::new("userA", "secret12345").sign(&mut signed);
            let signature = signed.ext.get(SIGNATURE).unwrap();
            assert_eq!(Key::new("secret12345").signed(&signed, signature), Ok(true), "{count}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let credentials = Credentials::new("userA", "secret12345");
        assert!(!format!("{credentials:?} {:?}", Key::new("secret12345")).contains("secret"));
    }
}
