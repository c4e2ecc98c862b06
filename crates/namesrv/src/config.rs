//! What an operator can set: `namesrv.conf`, with Apache's keys.

use protocol::logging::{self, LogConfig};
use protocol::properties;
use remoting::Credentials;
use remoting::{ClientLimits, EntranceSettings};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use store::disk::Disk;

/// Where a name server listens unless told otherwise.
pub const PORT: u16 = 9876;

/// Where it tells of itself over HTTP unless told otherwise: next to a broker on the same machine.
pub const METRICS_PORT: u16 = 5558;

/// A name server's settings. What is not said to change at once takes effect at restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamesrvConfig {
    /// The address to listen on. Key: `bindAddress`. Default: `0.0.0.0`.
    pub bind_address: IpAddr,
    /// The port. Key: `listenPort`. Default: 9876.
    pub listen_port: u16,
    /// How often silent brokers are looked for. Key: `scanNotActiveBrokerInterval`, milliseconds. Default: 5000.
    /// Changes at once.
    pub scan_interval: Duration,
    /// Where settings are kept that operators put here by namespace and key, like the queues of ordered topics. None: in memory
    /// only. Key: `kvConfigPath`. Default: `namesrv/kvConfig.json` in the home directory.
    pub kv_config_path: Option<PathBuf>,
    /// Routes of ordered topics say how many queues they have on each broker, as the namespace `ORDER_TOPIC_CONFIG` says it.
    /// Key: `orderMessageEnable`. Default: false.
    pub order_messages: bool,
    /// Brokers that register are told which topics are ordered.
    /// Key: `returnOrderTopicConfigToBroker`. Default: true.
    pub order_topics_to_broker: bool,
    /// A connection on which for so long no whole request arrives and nothing of a reply leaves is closed.
    /// Key: `serverChannelMaxIdleTimeSeconds`, seconds. Default: 120.
    pub channel_max_idle: Duration,
    /// Who may do what, with the keys of a broker; Apache's name servers have none of them.
    pub access: access::Config,
    /// There is a port for `/metrics`, `/livez` and `/readyz`, as on a broker.
    /// Key: `metricsExporterType`, `PROM` or `DISABLE`. Default: `DISABLE`.
    pub metrics: bool,
    /// The address to listen on for that. None: `bindAddress`. Key: `metricsPromExporterHost`. Default: none.
    pub metrics_host: Option<IpAddr>,
    /// The port for that. 0: any. Key: `metricsPromExporterPort`. Default: 5558.
    pub metrics_port: u16,
    /// Logs. `logLevel` changes at once. Keys: `logLevel`, `logFormat`, `logFile`, `logFileMaxBytes`, `logFilesMax`.
    pub log: LogConfig,
    /// TLS, proxies, limits of clients, the port for operators: what the manual of [`EntranceSettings`] says.
    pub entrance: EntranceSettings,
    /// The file that they come from, where changes are kept. No key.
    pub file: Option<PathBuf>,
}

impl Default for NamesrvConfig {
    fn default() -> NamesrvConfig {
        NamesrvConfig {
            bind_address: Ipv4Addr::UNSPECIFIED.into(),
            listen_port: PORT,
            scan_interval: Duration::from_secs(5),
            kv_config_path: None,
            order_messages: false,
            order_topics_to_broker: true,
            channel_max_idle: Duration::from_secs(120),
            access: access::Config::default(),
            metrics: false,
            metrics_host: None,
            metrics_port: METRICS_PORT,
            log: LogConfig::default(),
            entrance: EntranceSettings::default(),
            file: None,
        }
    }
}

/// Why a name server does not start with this `namesrv.conf`.
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
        allowed: &'static str,
    },
}

/// Settings that say where settings are kept.
const BLACK_LIST: [&str; 3] = ["configBlackList", "configStorePath", "kvConfigPath"];

/// Why settings are not changed. None is, then.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// Nobody may change it from outside.
    #[error(
        "can not update config in black list: {0} says where settings are kept, and changes only in namesrv.conf itself"
    )]
    BlackListed(String),
    /// It changes nothing here.
    #[error(
        "setting {0} changes nothing on this name server; GET_NAMESRV_CONFIG (mqadmin getNamesrvConfig) lists those that it has"
    )]
    Unknown(String),
    /// It can change only while the name server is down.
    #[error("setting {0} takes effect only when the name server starts: write it into namesrv.conf and restart")]
    AtRestart(String),
    /// A value that can't be.
    #[error("{key}={value} can't be: {allowed}")]
    Value {
        /// The key.
        key: String,
        /// What it was to be.
        value: String,
        /// What it can be.
        allowed: &'static str,
    },
    /// There is no file to keep it in.
    #[error(
        "this name server was started without a namesrv.conf, so a change would be lost when it stops: start it with -c namesrv.conf"
    )]
    NoFile,
    /// It can't be kept.
    #[error("{path}: {error}; nothing is changed", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
}

impl NamesrvConfig {
    /// Reads a `namesrv.conf` over the defaults. Returns with it what changes nothing here, as `key=value`: a name
    /// server needs few settings, and most of Apache's are sizes of its thread pools.
    pub fn read(path: &Path) -> Result<(NamesrvConfig, Vec<String>), ConfigError> {
        NamesrvConfig::default().read_over(path)
    }

    /// The same, over these settings.
    pub fn read_over(self, path: &Path) -> Result<(NamesrvConfig, Vec<String>), ConfigError> {
        let text = std::fs::read(path).map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
        let (mut config, mut ignored) = (self, Vec::new());
        config.file = Some(path.into());
        for properties::Property { line, key, value } in properties::read(&String::from_utf8_lossy(&text)) {
            match config.set(&key, &value) {
                Some(Ok(())) => {}
                Some(Err(allowed)) => {
                    let value = if is_secret(&key) { HIDDEN.to_owned() } else { value };
                    return Err(ConfigError::Value { path: path.into(), line, key, value, allowed });
                }
                None => ignored.push(format!("{key}={value}")),
            }
        }
        Ok((config, ignored))
    }

    /// Sets what a key says. The error says what it can be; `None`: the key changes nothing here.
    fn set(&mut self, key: &str, value: &str) -> Option<Result<(), &'static str>> {
        let (set, allowed) = match key {
            "bindAddress" => (value.parse().map(|ip| self.bind_address = ip).is_ok(), "an IP address"),
            "kvConfigPath" => {
                self.kv_config_path = Some(PathBuf::from(value)).filter(|path| !path.as_os_str().is_empty());
                (true, "")
            }
            "orderMessageEnable" => (flag(value).map(|on| self.order_messages = on).is_some(), FLAG),
            "returnOrderTopicConfigToBroker" => {
                (flag(value).map(|on| self.order_topics_to_broker = on).is_some(), FLAG)
            }
            "listenPort" => (value.parse().map(|port| self.listen_port = port).is_ok(), "0 to 65535"),
            "scanNotActiveBrokerInterval" => match value.parse() {
                Ok(millis @ 1..=3_600_000) => {
                    self.scan_interval = Duration::from_millis(millis);
                    (true, "")
                }
                _ => (false, "1 to 3600000 milliseconds"),
            },
            "serverChannelMaxIdleTimeSeconds" => match value.parse() {
                Ok(seconds @ 1..=86_400) => {
                    self.channel_max_idle = Duration::from_secs(seconds);
                    (true, "")
                }
                _ => (false, "1 to 86400 seconds"),
            },
            "metricsExporterType" => match value.to_ascii_uppercase().as_str() {
                "DISABLE" | "0" => {
                    self.metrics = false;
                    (true, "")
                }
                "PROM" | "2" => {
                    self.metrics = true;
                    (true, "")
                }
                _ => (false, "DISABLE or PROM"),
            },
            "metricsPromExporterHost" if value.is_empty() => {
                self.metrics_host = None;
                (true, "")
            }
            "metricsPromExporterHost" => {
                (value.parse().map(|ip| self.metrics_host = Some(ip)).is_ok(), "an IP address, or nothing")
            }
            "metricsPromExporterPort" => (value.parse().map(|port| self.metrics_port = port).is_ok(), "0 to 65535"),
            "logLevel" if logging::is_level(value) => {
                self.log.level = value.to_owned();
                (true, "")
            }
            "logLevel" => (false, logging::LEVEL_ALLOWED),
            "logFormat" => {
                (logging::read_format(value).map(|json| self.log.json = json).is_some(), logging::FORMAT_ALLOWED)
            }
            "logFile" => {
                self.log.file = Some(PathBuf::from(value)).filter(|path| !path.as_os_str().is_empty());
                (true, "")
            }
            "logFileMaxBytes" => match value.parse() {
                Ok(bytes @ 65_536..) => {
                    self.log.file_bytes_max = bytes;
                    (true, "")
                }
                _ => (false, "65536 bytes or more"),
            },
            "logFilesMax" => match value.parse() {
                Ok(files @ 1..=10_000) => {
                    self.log.files_max = files;
                    (true, "")
                }
                _ => (false, "1 to 10000 files"),
            },
            _ => return self.entrance.set(key, value).or_else(|| self.set_access(key, value)),
        };
        Some(if set { Ok(()) } else { Err(allowed) })
    }

    fn set_access(&mut self, key: &str, value: &str) -> Option<Result<(), &'static str>> {
        let access = &mut self.access;
        let user = |user: &mut Option<Credentials>| match access::read_credentials(value) {
            // As it is shown: it stays.
            _ if value == HIDDEN => Ok(()),
            Some(read) => {
                *user = read;
                Ok(())
            }
            None => Err(r#"{"username":"…","password":"…"}, or {"accessKey":"…","secretKey":"…"}"#),
        };
        let on = |switch: &mut bool| flag(value).map(|on| *switch = on).ok_or(FLAG);
        let codes = |codes: &mut Vec<i32>| {
            access::read_codes(value).map(|read| *codes = read).ok_or("request codes, parted by commas")
        };
        Some(match key {
            "aclEnable" => on(&mut access.plain),
            "plainAclFile" => {
                access.plain_file = Some(PathBuf::from(value)).filter(|_| !value.is_empty());
                Ok(())
            }
            "authenticationEnabled" => on(&mut access.authentication),
            "authorizationEnabled" => on(&mut access.authorization),
            "authenticationWhitelist" => codes(&mut access.authentication_whitelist),
            "authorizationWhitelist" => codes(&mut access.authorization_whitelist),
            "initAuthenticationUser" => user(&mut access.init_user),
            "innerClientAuthenticationCredentials" => user(&mut access.inner_credentials),
            "migrateAuthFromV1Enabled" => on(&mut access.migrate),
            _ => return None,
        })
    }

    /// Where it says who changed what: `audit.log` beside `kvConfigPath`. `None`: nowhere.
    pub fn audit_log(&self) -> Option<PathBuf> {
        self.kv_config_path.as_ref().map(|path| path.with_file_name("audit.log"))
    }

    /// The settings after changes, which `namesrv.conf` has by then, too: all or none. Blocks.
    #[doc(alias = "updateNamesrvConfig")]
    pub fn updated(&self, changes: &[properties::Property]) -> Result<NamesrvConfig, UpdateError> {
        let mut changed = self.clone();
        for properties::Property { key, value, .. } in changes {
            if BLACK_LIST.contains(&key.as_str()) {
                return Err(UpdateError::BlackListed(key.clone()));
            }
            match changed.set(key, value) {
                None => return Err(UpdateError::Unknown(key.clone())),
                Some(Err(allowed)) => {
                    let value = if is_secret(key) { HIDDEN } else { value };
                    return Err(UpdateError::Value { key: key.clone(), value: value.to_owned(), allowed });
                }
                Some(Ok(())) => {}
            }
            let fixed = |config: &NamesrvConfig| {
                let entrance = EntranceSettings { limits: ClientLimits::default(), ..config.entrance.clone() };
                let metrics = (config.metrics, config.metrics_host, config.metrics_port);
                let log = LogConfig { level: String::new(), ..config.log.clone() };
                (
                    config.bind_address,
                    config.listen_port,
                    config.channel_max_idle,
                    (entrance, metrics, log),
                    config.access.clone(),
                )
            };
            if fixed(&changed) != fixed(self) {
                return Err(UpdateError::AtRestart(key.clone()));
            }
        }
        if changed == *self {
            return Ok(changed);
        }
        let path = self.file.clone().ok_or(UpdateError::NoFile)?;
        let kept = std::fs::read_to_string(&path).and_then(|mut text| {
            for properties::Property { key, value, .. } in changes.iter().filter(|change| change.value != HIDDEN) {
                text = properties::replace(&text, key, value);
            }
            // A link stays one.
            store::table::save_alike(&Disk::default(), &std::fs::canonicalize(&path)?, text.as_bytes())
        });
        kept.map_err(|error| UpdateError::File { path, error })?;
        Ok(changed)
    }

    /// Every key and its value as text.
    pub fn values(&self) -> Vec<(&'static str, String)> {
        let mut values = vec![
            ("bindAddress", self.bind_address.to_string()),
            ("listenPort", self.listen_port.to_string()),
            ("scanNotActiveBrokerInterval", self.scan_interval.as_millis().to_string()),
            ("kvConfigPath", self.kv_config_path.iter().map(|path| path.display().to_string()).collect()),
            ("orderMessageEnable", self.order_messages.to_string()),
            ("returnOrderTopicConfigToBroker", self.order_topics_to_broker.to_string()),
            ("serverChannelMaxIdleTimeSeconds", self.channel_max_idle.as_secs().to_string()),
            ("aclEnable", self.access.plain.to_string()),
            ("plainAclFile", self.access.plain_file.iter().map(|path| path.display().to_string()).collect()),
            ("authenticationEnabled", self.access.authentication.to_string()),
            ("authorizationEnabled", self.access.authorization.to_string()),
            ("authenticationWhitelist", access::show_codes(&self.access.authentication_whitelist)),
            ("authorizationWhitelist", access::show_codes(&self.access.authorization_whitelist)),
            ("initAuthenticationUser", hidden(&self.access.init_user)),
            ("innerClientAuthenticationCredentials", hidden(&self.access.inner_credentials)),
            ("migrateAuthFromV1Enabled", self.access.migrate.to_string()),
            ("metricsExporterType", if self.metrics { "PROM" } else { "DISABLE" }.to_owned()),
            ("metricsPromExporterHost", self.metrics_host.map(|ip| ip.to_string()).unwrap_or_default()),
            ("metricsPromExporterPort", self.metrics_port.to_string()),
            ("logLevel", self.log.level.clone()),
            ("logFormat", logging::format_name(self.log.json).to_owned()),
            ("logFile", self.log.file.iter().map(|path| path.display().to_string()).collect()),
            ("logFileMaxBytes", self.log.file_bytes_max.to_string()),
            ("logFilesMax", self.log.files_max.to_string()),
        ];
        values.extend(self.entrance.values());
        values
    }
}

/// What is shown of a secret.
const HIDDEN: &str = "******";

fn hidden(user: &Option<Credentials>) -> String {
    user.iter().map(|_| HIDDEN).collect()
}

fn is_secret(key: &str) -> bool {
    matches!(key, "initAuthenticationUser" | "innerClientAuthenticationCredentials")
}

/// What a key that is on or off may be set to.
const FLAG: &str = "true or false";

fn flag(value: &str) -> Option<bool> {
    value.to_ascii_lowercase().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_kept_in_the_file_and_what_can_not_change_is_refused() {
        let path = std::env::temp_dir().join(format!("namesrv-update-{}.conf", std::process::id()));
        std::fs::write(&path, "# ours\nlistenPort=9900\n").unwrap();
        let (mut config, _) = NamesrvConfig::read(&path).unwrap();
        let property = |key: &str, value: &str| properties::Property { line: 1, key: key.into(), value: value.into() };
        let faster = property("scanNotActiveBrokerInterval", "1000");
        config = config.updated(std::slice::from_ref(&faster)).unwrap();
        assert_eq!(config.scan_interval, Duration::from_secs(1));
        let text = "# ours\nlistenPort=9900\nscanNotActiveBrokerInterval=1000\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        for (key, value, why) in [
            ("listenPort", "1", "only when the name server starts"),
            ("scanNotActiveBrokerInterval", "often", "1 to 3600000"),
            ("kvConfigPath", "/x", "black list"),
            ("needWaitForService", "true", "changes nothing"),
        ] {
            let refused = config.updated(&[property(key, value)]).unwrap_err().to_string();
            assert!(refused.contains(why) && refused.contains(key), "{refused}");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(NamesrvConfig::default().updated(&[faster]), Err(UpdateError::NoFile)));
    }

    #[test]
    fn a_file_is_read_over_the_defaults_and_what_changes_nothing_is_named() {
        let path = std::env::temp_dir().join(format!("namesrv-{}.conf", std::process::id()));
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            NamesrvConfig::read(&path)
        };
        let nothing = NamesrvConfig { file: Some(path.clone()), ..NamesrvConfig::default() };
        assert_eq!(read("# nothing").unwrap(), (nothing, vec![]));
        let (config, ignored) = read("listenPort=9900\nrocketmqHome=/opt/rocketmq\n").unwrap();
        assert_eq!((config.listen_port, ignored), (9900, vec!["rocketmqHome=/opt/rocketmq".to_owned()]));
        let (config, _) = read("serverChannelMaxIdleTimeSeconds=30").unwrap();
        assert_eq!(config.channel_max_idle, Duration::from_secs(30));
        assert!(read("serverChannelMaxIdleTimeSeconds=0").is_err());
        let error = read("\nlistenPort=x").unwrap_err().to_string();
        assert!(error.ends_with(":2: listenPort=x can't be: 0 to 65535"), "{error}");
        assert_eq!(read(&properties::write(config.values())).unwrap().0, config);
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(NamesrvConfig::read(&path), Err(ConfigError::Unreadable { .. })));
    }
}
