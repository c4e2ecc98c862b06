//! The settings that are in force, and how they change while the broker runs.
//!
//! Reading is as cheap as reading a field: a change puts whole new settings behind the old ones, and moves on.

use crate::Config;
use crate::config::{ConfigError, HIDDEN};
use parking_lot::Mutex;
use protocol::nearest::nearest;
use protocol::properties::{self, Property};
use protocol::topic::DataVersion;
use remoting::EntranceSettings;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many changes, and no more until the broker is started again: who reads settings never waits, so none is let go.
const CHANGES_MAX: usize = 1000;

/// The settings that are in force.
#[derive(Debug)]
pub struct Settings {
    versions: Box<[OnceLock<Config>]>,
    current: AtomicUsize,
    /// How often they were changed. Held while they are.
    version: Mutex<DataVersion>,
    /// Held while one is made, which takes as long as the disk.
    changing: Mutex<()>,
    /// Who writes logs, and is told what to.
    logs: OnceLock<fn(&str)>,
}

/// Why settings are not changed. None is, then.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// Nobody may change it from outside.
    #[error(
        "can not update config in black list: {0} says where settings are kept, and changes only in broker.conf itself"
    )]
    BlackListed(String),
    /// Nobody knows it.
    #[error("unknown setting {key}{}", nearest.map(|it| format!("; did you mean {it}?")).unwrap_or_default())]
    Unknown {
        /// The key.
        key: String,
        /// What was most likely meant.
        nearest: Option<&'static str>,
    },
    /// Apache's brokers know it, this one does not do what it says.
    #[error("setting {0} is known to Apache's brokers, and this version does not do what it says")]
    NotHonoured(String),
    /// It can change only while the broker is down.
    #[error("setting {0} takes effect only when the broker starts: write it into broker.conf and restart")]
    AtRestart(String),
    /// A value that can't be.
    #[error("{key}={value} can't be: {allowed}")]
    Value {
        /// The key.
        key: String,
        /// What it was to be.
        value: String,
        /// What it can be.
        allowed: String,
    },
    /// There is no file to keep it in.
    #[error(
        "this broker was started without a broker.conf, so a change would be lost when it stops: start it with \
        -c broker.conf, or restart it with other settings"
    )]
    NoFile,
    /// It can't be kept.
    #[error("{path}: {error}; nothing is changed", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The broker holds no more changes until it is started again.
    #[error(
        "the settings were changed {CHANGES_MAX} times since the broker was started; restart it before you change more"
    )]
    TooMany,
}

/// Settings that say where settings are kept.
const BLACK_LIST: [&str; 2] = ["configBlackList", "brokerConfigPath"];

impl Settings {
    /// The settings that a broker begins with.
    pub fn new(config: Config) -> Settings {
        let versions: Box<[OnceLock<Config>]> = (0..=CHANGES_MAX).map(|_| OnceLock::new()).collect();
        let _ = versions[0].set(config);
        Settings {
            versions,
            current: AtomicUsize::new(0),
            version: Mutex::default(),
            changing: Mutex::default(),
            logs: OnceLock::new(),
        }
    }

    /// Has `logs` called whenever `logLevel` changes.
    pub fn on_log_level(&self, logs: fn(&str)) {
        let _ = self.logs.set(logs);
    }

    /// Has logs follow the level that is in force.
    pub(crate) fn tell_log_level(&self) {
        if let Some(logs) = self.logs.get() {
            logs(&self.log.level);
        }
    }

    /// How often they were changed, and when.
    pub fn version(&self) -> DataVersion {
        self.version.lock().clone()
    }

    /// Changes settings, in `broker.conf` and in force: all or none. Answers with the keys whose values are others now.
    /// Blocks.
    #[doc(alias = "updateBrokerConfig")]
    pub fn update(&self, changes: &[Property], now: i64) -> Result<Vec<String>, UpdateError> {
        let _one_by_one = self.changing.lock();
        let mut config = (**self).clone();
        for Property { key, value, .. } in changes {
            change(&mut config, key, value)?;
        }
        let before = self.values();
        let changed = config.values().into_iter().zip(before).filter(|(now, before)| now != before);
        let changed: Vec<String> = changed.map(|((key, _), _)| key.to_owned()).collect();
        if changed.is_empty() {
            return Ok(changed);
        }
        let next = self.current.load(Ordering::Relaxed) + 1;
        let Some(place) = self.versions.get(next) else { return Err(UpdateError::TooMany) };
        let path = config.file.clone().ok_or(UpdateError::NoFile)?;
        let wanted = changes.iter().map(|change| (change.key.as_str(), change.value.as_str()));
        keep(&config, &path, wanted).map_err(|error| UpdateError::File { path, error })?;
        let _ = place.set(config);
        self.current.store(next, Ordering::Release);
        self.version.lock().advance(now);
        Ok(changed)
    }
}

impl Deref for Settings {
    type Target = Config;

    fn deref(&self) -> &Config {
        // `current` moves on only when its place is filled; without a filled place, none would be there at all.
        let current = self.versions[self.current.load(Ordering::Acquire)].get();
        current.expect("settings are in force only once they are there")
    }
}

/// Could a running broker change this setting, whose value is `now`, to `value`?
pub fn check(key: &str, now: Option<&str>, value: &str) -> Result<(), UpdateError> {
    let text = now.map(|now| properties::write([(key, now)])).unwrap_or_default();
    let now = Config::default().parse_over(Path::new(""), &text);
    change(&mut now.map(|(config, _)| config).unwrap_or_default(), key, value)
}

fn change(config: &mut Config, key: &str, value: &str) -> Result<(), UpdateError> {
    if BLACK_LIST.contains(&key) {
        return Err(UpdateError::BlackListed(key.into()));
    }
    // What is shown instead of a secret leaves it as it is; and two secrets are shown alike.
    if let Some(shown) = config.value(key).filter(|_| crate::config::is_secret(key)) {
        return if value == HIDDEN || value == shown { Ok(()) } else { Err(UpdateError::AtRestart(key.into())) };
    }
    let known = config.values().into_iter().any(|(known, _)| known == key);
    let text = properties::write([(key, value)]);
    let old = known.then(|| config.value(key)).flatten();
    match std::mem::take(config).parse_over(Path::new(""), &text) {
        Ok((changed, _)) => *config = changed,
        Err(ConfigError::Value { key, value, allowed, .. }) => return Err(UpdateError::Value { key, value, allowed }),
        Err(ConfigError::Unreadable { path, source }) => return Err(UpdateError::File { path, error: source }),
    }
    if !known {
        return Err(match crate::config::is_apaches(key) {
            true => UpdateError::NotHonoured(key.into()),
            false => {
                let keys = Config::default().values();
                UpdateError::Unknown { key: key.into(), nearest: nearest(key, keys.iter().map(|(key, _)| *key)) }
            }
        });
    }
    if !(crate::config::AT_ONCE.contains(&key) || EntranceSettings::AT_ONCE.contains(&key)) && config.value(key) != old
    {
        return Err(UpdateError::AtRestart(key.into()));
    }
    Ok(())
}

/// Writes changes into `broker.conf`, and leaves all else in it as it is.
fn keep<'a>(config: &Config, path: &Path, changes: impl Iterator<Item = (&'a str, &'a str)>) -> io::Result<()> {
    // A link stays one.
    let path = std::fs::canonicalize(path)?;
    let before = std::fs::read(&path)?;
    let mut text = String::from_utf8(before).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    for (key, value) in changes.filter(|(_, value)| *value != HIDDEN) {
        text = properties::replace(&text, key, value);
    }
    store::table::save_alike(&config.disk, &path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property(key: &str, value: &str) -> Property {
        Property { line: 1, key: key.into(), value: value.into() }
    }

    fn settings(text: &str) -> (tempfile::TempDir, PathBuf, Settings) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broker.conf");
        std::fs::write(&path, text).unwrap();
        let (config, _) = Config::read(&path).unwrap();
        (dir, path, Settings::new(config))
    }

    #[test]
    fn a_change_is_in_force_and_in_the_file_whose_comments_stay() {
        let (_dir, path, settings) = settings("# ours\nfileReservedTime = 24  \n\nbrokerName=a\n");
        let changed =
            settings.update(&[property("fileReservedTime", "48"), property("brokerPermission", "4")], 7).unwrap();
        assert_eq!(changed, ["brokerPermission", "fileReservedTime"]);
        assert_eq!((settings.file_reserved_time.as_secs(), settings.permission), (48 * 3600, 4));
        assert_eq!((settings.version().counter, settings.version().timestamp), (1, 7));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "# ours\nfileReservedTime=48\n\nbrokerName=a\nbrokerPermission=4\n");
        assert_eq!(Config::read(&path).unwrap().0.values(), settings.values());
    }

    #[test]
    fn what_can_not_change_is_refused_by_name_and_nothing_changes() {
        let (_dir, path, settings) = settings("brokerName=a\n");
        for (key, value, why) in [
            ("listenPort", "1234", "only when the broker starts"),
            ("fileReservedTimes", "1", "did you mean fileReservedTime?"),
            ("fileReservedTime", "soon", "a number from 1"),
            ("brokerConfigPath", "/x", "black list"),
            ("haListenPort", "1", "does not do what it says"),
            ("aclEnable", "true", "only when the broker starts"),
        ] {
            let refused =
                settings.update(&[property("deleteWhen", "05"), property(key, value)], 1).unwrap_err().to_string();
            assert!(refused.contains(why) && refused.contains(key), "{refused}");
        }
        assert_eq!((&settings.delete_when[..], settings.version().counter), (&[4][..], 0));
        assert_eq!(std::fs::read_to_string(path).unwrap(), "brokerName=a\n");
    }

    #[test]
    fn a_change_can_be_checked_before_it_is_made() {
        assert!(check("fileReservedTime", Some("72"), "48").is_ok());
        assert!(check("listenPort", Some("1234"), "1234").is_ok(), "it stays");
        assert!(matches!(check("listenPort", Some("1234"), "10911"), Err(UpdateError::AtRestart(_))));
        assert!(matches!(check("fileReservedTime", Some("72"), "long"), Err(UpdateError::Value { .. })));
        assert!(matches!(check("noSuchKey", None, "1"), Err(UpdateError::Unknown { .. })));
    }

    #[test]
    fn a_setting_that_stays_as_it_is_may_be_sent_along() {
        let (_dir, _path, settings) = settings("brokerName=a\n");
        let same = settings.update(&[property("listenPort", "10911"), property("brokerName", "a")], 1).unwrap();
        assert!(same.is_empty());
        let without_file = Settings::new(Config::default());
        assert!(matches!(without_file.update(&[property("deleteWhen", "05")], 1), Err(UpdateError::NoFile)));
    }

    #[test]
    fn secrets_are_neither_changed_nor_lost_nor_shown_to_more_readers() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let key = "innerClientAuthenticationCredentials";
        let secret = format!(r#"{key}={{"accessKey":"inner","secretKey":"topSecret1"}}"#);
        let (_dir, path, settings) = settings(&format!("{secret}\n"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let change = |secret: &str| settings.update(&[property("deleteWhen", "05"), property(key, secret)], 1);
        for other in [r#"{"accessKey":"evil","secretKey":"topSecret2"}"#, ""] {
            let refused = change(other).unwrap_err().to_string();
            assert!(refused.contains("only when the broker starts") && !refused.contains("topSecret"), "{refused}");
        }
        change(HIDDEN).unwrap();
        assert_eq!(&settings.delete_when[..], &[5]);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(&secret) && text.contains("deleteWhen=05"), "{text}");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
}
