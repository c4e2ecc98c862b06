//! What an operator can set: `namesrv.conf`, with Apache's keys.

use protocol::properties;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a name server listens unless told otherwise.
pub const PORT: u16 = 9876;

/// A name server's settings. All take effect at restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamesrvConfig {
    /// The address to listen on. Key: `bindAddress`. Default: `0.0.0.0`.
    pub bind_address: IpAddr,
    /// The port. Key: `listenPort`. Default: 9876.
    pub listen_port: u16,
    /// How often silent brokers are looked for. Key: `scanNotActiveBrokerInterval`, milliseconds. Default: 5000.
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

impl NamesrvConfig {
    /// Reads a `namesrv.conf` over the defaults. Returns with it what changes nothing here, as `key=value`: a name
    /// server needs few settings, and most of Apache's are sizes of its thread pools.
    pub fn read(path: &Path) -> Result<(NamesrvConfig, Vec<String>), ConfigError> {
        let text = std::fs::read(path).map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
        let (mut config, mut ignored) = (NamesrvConfig::default(), Vec::new());
        for properties::Property { line, key, value } in properties::read(&String::from_utf8_lossy(&text)) {
            let (set, allowed) = match key.as_str() {
                "bindAddress" => (value.parse().map(|ip| config.bind_address = ip).is_ok(), "an IP address"),
                "listenPort" => (value.parse().map(|port| config.listen_port = port).is_ok(), "0 to 65535"),
                "kvConfigPath" => {
                    config.kv_config_path = Some(PathBuf::from(&value)).filter(|path| !path.as_os_str().is_empty());
                    (true, "")
                }
                "orderMessageEnable" => (flag(&value).map(|on| config.order_messages = on).is_some(), FLAG),
                "returnOrderTopicConfigToBroker" => {
                    (flag(&value).map(|on| config.order_topics_to_broker = on).is_some(), FLAG)
                }
                "scanNotActiveBrokerInterval" => match value.parse() {
                    Ok(millis @ 1..=3_600_000) => {
                        config.scan_interval = Duration::from_millis(millis);
                        (true, "")
                    }
                    _ => (false, "1 to 3600000 milliseconds"),
                },
                "serverChannelMaxIdleTimeSeconds" => match value.parse() {
                    Ok(seconds @ 1..=86_400) => {
                        config.channel_max_idle = Duration::from_secs(seconds);
                        (true, "")
                    }
                    _ => (false, "1 to 86400 seconds"),
                },
                _ => {
                    ignored.push(format!("{key}={value}"));
                    (true, "")
                }
            };
            if !set {
                return Err(ConfigError::Value { path: path.into(), line, key, value, allowed });
            }
        }
        Ok((config, ignored))
    }

    /// Every key and its value as text.
    pub fn values(&self) -> Vec<(&'static str, String)> {
        vec![
            ("bindAddress", self.bind_address.to_string()),
            ("listenPort", self.listen_port.to_string()),
            ("scanNotActiveBrokerInterval", self.scan_interval.as_millis().to_string()),
            ("kvConfigPath", self.kv_config_path.iter().map(|path| path.display().to_string()).collect()),
            ("orderMessageEnable", self.order_messages.to_string()),
            ("returnOrderTopicConfigToBroker", self.order_topics_to_broker.to_string()),
            ("serverChannelMaxIdleTimeSeconds", self.channel_max_idle.as_secs().to_string()),
        ]
    }
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
    fn a_file_is_read_over_the_defaults_and_what_changes_nothing_is_named() {
        let path = std::env::temp_dir().join(format!("namesrv-{}.conf", std::process::id()));
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            NamesrvConfig::read(&path)
        };
        assert_eq!(read("# nothing").unwrap(), (NamesrvConfig::default(), vec![]));
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
