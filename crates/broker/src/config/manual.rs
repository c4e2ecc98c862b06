//! The manual of settings, for whoever explains them: read from the field docs of [`Config`] and its parts themselves, so that there is one.

use super::{AT_ONCE, Config, ConfigError};
use protocol::properties;
use remoting::EntranceSettings;
use std::path::Path;
use std::sync::LazyLock;

/// A setting that is honoured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its key.
    pub key: String,
    /// What it does.
    pub meaning: String,
    /// In what its numbers count.
    pub unit: Option<&'static str>,
    /// What it can be set to, where not anything goes.
    pub allowed: Option<String>,
    /// Its default, as text; empty: none, or one that is found out at start.
    pub default: String,
    /// A change takes effect at once; else when the broker starts.
    pub at_once: bool,
}

/// Where the field docs stand.
const MANUAL: [&str; 4] = [
    include_str!("../config.rs"),
    include_str!("../../../access/src/lib.rs"),
    include_str!("../../../protocol/src/logging.rs"),
    include_str!("../../../remoting/src/entrance.rs"),
];

/// All settings that are honoured, in the order of the manual.
pub fn settings() -> &'static [Setting] {
    static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(read);
    &SETTINGS
}

/// The keys that Apache's brokers read, with their defaults there; `None`: it is not the same on every machine.
pub fn apache() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    super::apache_keys().map(|(key, default)| (key, Some(default).filter(|default| !default.is_empty())))
}

fn read() -> Vec<Setting> {
    let defaults = Config::default();
    let units = defaults.clone().units();
    let (mut settings, mut doc) = (Vec::new(), String::new());
    for line in MANUAL.iter().flat_map(|text| text.lines()).map(str::trim) {
        // Where a field has several keys, each has a paragraph.
        let ends_paragraph = line == "///" && doc.contains("Key: `");
        if let Some(text) = line.strip_prefix("///").filter(|_| !ends_paragraph) {
            doc.push(' ');
            doc.push_str(text.trim());
            continue;
        }
        let of_field = (ends_paragraph || line.starts_with("pub ")).then(|| doc.split_once("Key: `")).flatten();
        if let Some((meaning, rest)) = of_field
            && let Some((key, _)) = rest.split_once('`')
            && let Some(default) = defaults.value(key)
        {
            let unit = units.iter().find(|(known, _)| *known == key).and_then(|(_, unit)| *unit);
            settings.push(Setting {
                key: key.to_owned(),
                meaning: meaning.trim().to_owned(),
                unit,
                allowed: allowed(key),
                default,
                at_once: AT_ONCE.contains(&key) || EntranceSettings::AT_ONCE.contains(&key),
            });
        }
        doc.clear();
    }
    settings
}

/// What is said to who sets something that can't be.
fn allowed(key: &str) -> Option<String> {
    let text = properties::write([(key, "\u{1}/:")]);
    match Config::default().parse_over(Path::new(""), &text) {
        Err(ConfigError::Value { allowed, .. }) => Some(allowed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_in_the_manual() {
        let explained: Vec<&str> = settings().iter().map(|it| it.key.as_str()).collect();
        let honoured: Vec<&str> = Config::default().values().into_iter().map(|(key, _)| key).collect();
        let missing: Vec<_> = honoured.iter().filter(|key| !explained.contains(key)).collect();
        assert!(missing.is_empty(), "no field doc with a key and a default: {missing:?}");
        assert!(settings().iter().all(|it| it.meaning.ends_with('.')), "{:?}", settings());
    }

    #[test]
    fn a_setting_is_explained() {
        let of = |key: &str| settings().iter().find(|it| it.key == key).cloned().unwrap();
        let reserved = of("fileReservedTime");
        assert_eq!((reserved.unit, reserved.default.as_str(), reserved.at_once), (Some("h"), "72", true));
        assert_eq!(reserved.allowed.as_deref(), Some("a number from 1 to 1000000"));
        assert_eq!(
            (of("listenPort").at_once, of("flushDiskType").allowed.as_deref()),
            (false, Some("SYNC_FLUSH or ASYNC_FLUSH"))
        );
        assert!(apache().any(|it| it == ("timerMaxDelaySec", Some("259200"))));
    }
}
