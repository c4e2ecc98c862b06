//! Reading a `broker.conf`: what is honoured is set, what is not is told.
//!
//! Which keys Apache knows stands in `apache.properties` beside this. A key that is known there and not here is honest work
//! for later: it is listed at start. A few of those must not be passed over in silence; `REFUSED` has them.

use super::Config;
use super::keys::Item;
use protocol::nearest::nearest;
use protocol::properties;
use std::path::{Path, PathBuf};

impl Config {
    /// Reads a `broker.conf` over the defaults.
    pub fn read(path: &Path) -> Result<(Config, Notes), ConfigError> {
        Config::default().read_over(path)
    }

    /// Reads a `broker.conf` over these settings.
    pub fn read_over(self, path: &Path) -> Result<(Config, Notes), ConfigError> {
        let text = std::fs::read(path).map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
        let (config, notes) = self.parse_over(path, &String::from_utf8_lossy(&text))?;
        Ok((Config { file: Some(path.to_owned()), ..config }, notes))
    }

    /// Reads the text of a `broker.conf` over these settings; `path` is for messages only.
    pub fn parse_over(mut self, path: &Path, text: &str) -> Result<(Config, Notes), ConfigError> {
        let mut notes = Notes::default();
        let mut set: Vec<(usize, String)> = Vec::new();
        for properties::Property { line, key, value } in properties::read(text) {
            let key = match FORMERLY.iter().find(|(old, _)| *old == key) {
                Some((_, now)) => (*now).to_owned(),
                None => key,
            };
            if let Some((earlier, _)) = set.iter().find(|(_, other)| *other == key) {
                notes.repeated.push(Repeated { key: key.clone(), line, earlier: *earlier });
            }
            set.push((line, key.clone()));
            let bad = |value: &str, allowed: String| ConfigError::Value {
                path: path.into(),
                line,
                key: key.clone(),
                value: value.to_owned(),
                allowed,
            };
            if let Some((_, mut item)) = self.items().into_iter().find(|(honoured, _)| *honoured == key) {
                let shown = if matches!(item, Item::User(_)) { HIDDEN } else { &value };
                item.set(&value).map_err(|allowed| bad(shown, allowed))?;
                continue;
            }
            if let Some(set) = self.entrance.set(&key, &value) {
                set.map_err(|allowed| bad(&value, allowed.into()))?;
                continue;
            }
            if let Some(refused) = REFUSED.iter().find(|refused| refused.key == key && (refused.when)(&value)) {
                return Err(bad(&value, refused.instead.into()));
            }
            if let Some((_, class)) = PROVIDERS.iter().find(|(known, _)| *known == key) {
                match value.is_empty() || value.rsplit('.').next() == Some(class) {
                    true => continue,
                    false => return Err(bad(&value, NO_PROVIDER.into())),
                }
            }
            match apache_keys().find(|(known, _)| *known == key) {
                Some((_, default)) => {
                    let differs = default != value;
                    notes.not_honoured.push(NotHonoured { line, key, value, differs });
                }
                None => {
                    let nearest = nearest(&key, apache_keys().map(|(known, _)| known));
                    notes.unknown.push(Unknown { line, key, nearest });
                }
            }
        }
        Ok((self, notes))
    }
}

/// What an operator should hear about a `broker.conf` that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// Apache knows these, this version does not do what they say.
    pub not_honoured: Vec<NotHonoured>,
    /// Nobody knows these.
    pub unknown: Vec<Unknown>,
    /// These stand there more than once; the last one holds.
    pub repeated: Vec<Repeated>,
}

/// A key of Apache's that is not honoured yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotHonoured {
    /// Its line.
    pub line: usize,
    /// The key.
    pub key: String,
    /// The value it was given.
    pub value: String,
    /// The value is not Apache's default: the operator wanted something that does not happen.
    pub differs: bool,
}

/// A key that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Its line.
    pub line: usize,
    /// The key.
    pub key: String,
    /// What was most likely meant.
    pub nearest: Option<&'static str>,
}

/// A key that was given before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeated {
    /// The key.
    pub key: String,
    /// The line that holds.
    pub line: usize,
    /// A line that does not.
    pub earlier: usize,
}

/// Why a broker does not start with this `broker.conf`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No such file, or no permission.
    #[error("can't read {path}: {source}", path = path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
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
        allowed: String,
    },
}

/// A setting that is not honoured, and that no operator wants passed over: without it messages are open to everybody,
/// lost, or damaged.
struct Refused {
    key: &'static str,
    when: fn(&str) -> bool,
    instead: &'static str,
}

const REFUSED: &[Refused] = &[
    Refused { key: "brokerRole", when: |role| role == "SLAVE", instead: NO_SLAVE },
    Refused { key: "enableControllerMode", when: is_true, instead: NO_SLAVE },
    Refused { key: "enableDLegerCommitLog", when: is_true, instead: NO_SLAVE },
];
pub(super) const NO_SLAVE: &str = "this version does not replicate; run it as a master of its own, with brokerRole=ASYNC_MASTER, brokerId=0, \
    enableControllerMode=false and enableDLegerCommitLog=false";

/// Apache's classes that check users and rights, by the keys that name them: what they do is done here. Another class would decide
/// otherwise.
const PROVIDERS: [(&str, &str); 4] = [
    ("authenticationProvider", "DefaultAuthenticationProvider"),
    ("authenticationMetadataProvider", "LocalAuthenticationMetadataProvider"),
    ("authorizationProvider", "DefaultAuthorizationProvider"),
    ("authorizationMetadataProvider", "LocalAuthorizationMetadataProvider"),
];
const NO_PROVIDER: &str =
    "classes of one's own can't decide here, only what Apache's Default… and Local… providers do; leave the key out";

/// Is a user with its secret behind this key?
pub(crate) fn is_secret(key: &str) -> bool {
    ["initAuthenticationUser", "innerClientAuthenticationCredentials"].contains(&key)
}

/// What is shown of a secret.
pub(crate) const HIDDEN: &str = "******";

/// How 4.4 and older spell keys, and how they are spelt since.
const FORMERLY: [(&str, &str); 2] = [
    ("mapedFileSizeCommitLog", "mappedFileSizeCommitLog"),
    ("mapedFileSizeConsumeQueue", "mappedFileSizeConsumeQueue"),
];

fn is_true(value: &str) -> bool {
    value.eq_ignore_ascii_case("true")
}

/// The keys that Apache's brokers read, with their defaults there.
pub(super) fn apache_keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    include_str!("apache.properties")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once('=').unwrap_or((line, "")))
}

/// Do Apache's brokers read this key?
pub(crate) fn is_apaches(key: &str) -> bool {
    apache_keys().any(|(known, _)| known == key)
}
