//! The command line: flags, and what they and the configuration files make together.
//!
//! What stands on the command line wins over the file, the file over the environment, and that over the defaults.

use crate::environment::Environment;
use crate::serve::StartError;
use broker::config::{Config, Notes, is_host, namesrv_addresses};
use clap::Args;
use namesrv::config::NamesrvConfig;
use protocol::logging::LogConfig;
use protocol::properties;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// The settings that `-m` prints, as Apache's `mqbroker -m`.
const IMPORTANT: &[&str] = &[
    "namesrvAddr",
    "brokerIP1",
    "brokerName",
    "brokerClusterName",
    "brokerId",
    "brokerPermission",
    "listenPort",
    "defaultTopicQueueNums",
    "autoCreateTopicEnable",
    "autoCreateSubscriptionGroup",
    "traceTopicEnable",
    "storePathRootDir",
    "storePathCommitLog",
    "flushDiskType",
    "fileReservedTime",
    "deleteWhen",
    "maxMessageSize",
    "messageDelayLevel",
];

/// `mqbroker …` is `cometmq broker …`, `mqnamesrv …` is `cometmq namesrv …`.
pub fn with_process(mut arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let called = arguments.next().unwrap_or_else(|| "cometmq".into());
    let process = match Path::new(&called).file_stem().and_then(|name| name.to_str()) {
        Some("mqbroker") => Some("broker".into()),
        Some("mqnamesrv") => Some("namesrv".into()),
        _ => None,
    };
    std::iter::once(called).chain(process).chain(arguments).collect()
}

/// Flags of `dev`.
#[derive(Debug, Args)]
pub struct Dev {
    /// Where messages are kept [default: .cometmq in the home directory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The name server's port; 0: any free one
    #[arg(long, value_name = "N", default_value_t = namesrv::config::PORT)]
    namesrv_port: u16,
    /// The broker's port; the VIP port is two below; 0: any free pair [default: 10911]
    #[arg(long, value_name = "N")]
    broker_port: Option<u16>,
    /// The address to listen on; 0.0.0.0: all of this machine's, for clients on others too [default: bindAddress in the file,
    /// 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<IpAddr>,
    /// The address or name that clients are told to reach the broker by [default: the one by which each came]
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
    /// The broker's settings
    #[arg(short = 'c', long = "config", value_name = "broker.conf")]
    config: Option<PathBuf>,
}

/// What `dev` is to do.
#[derive(Debug)]
pub struct DevSettings {
    /// The name server's port.
    pub namesrv_port: u16,
    /// The broker's settings.
    pub broker: BrokerSettings,
}

/// A broker's settings, and what an operator should hear about them.
#[derive(Debug)]
pub struct BrokerSettings {
    /// The settings.
    pub config: Config,
    /// The file they come from, and what is to be said about it.
    pub file: Option<(PathBuf, Notes)>,
    /// How a user would choose another port.
    pub port_flag: &'static str,
}

impl Dev {
    /// Flags and file together.
    pub fn read(self, environment: &Environment) -> Result<DevSettings, StartError> {
        if let Some(host) = self.advertise.as_ref().filter(|host| !is_host(host)) {
            return Err(StartError::Advertise(host.clone()));
        }
        let defaults = Config { bind_address: Ipv4Addr::LOCALHOST.to_string(), ..Config::default() };
        let mut broker = BrokerSettings::read_over(defaults, self.config, environment, ".cometmq")?;
        let config = &mut broker.config;
        config.bind_address = self.listen.map_or(std::mem::take(&mut config.bind_address), |ip| ip.to_string());
        config.store_root = self.data.unwrap_or(std::mem::take(&mut config.store_root));
        config.listen_port = self.broker_port.unwrap_or(config.listen_port);
        config.ip1 = self.advertise.or(config.ip1.take());
        broker.port_flag = "--broker-port";
        if config.entrance.admin_port > 0 {
            return Err(StartError::AdminPortOfDev);
        }
        Ok(DevSettings { namesrv_port: self.namesrv_port, broker })
    }
}

/// `-p` and `-m`.
#[derive(Debug, Args)]
pub struct Print {
    /// Print all settings and their values, and exit
    #[arg(short = 'p', long = "printConfigItem", conflicts_with = "important")]
    all: bool,
    /// Print the important settings and their values, and exit
    #[arg(short = 'm', long = "printImportantConfig")]
    important: bool,
}

impl Print {
    /// True when settings are to be printed instead of a process started.
    pub fn any(&self) -> bool {
        self.all || self.important
    }
}

/// Flags of `broker`.
#[derive(Debug, Args)]
pub struct Broker {
    /// Its settings
    #[arg(short = 'c', long = "configFile", value_name = "broker.conf")]
    config: Option<PathBuf>,
    /// Its name servers, parted by `;` [default: namesrvAddr in the file, NAMESRV_ADDR in the environment]
    #[arg(short = 'n', long = "namesrvAddr", value_name = "HOST:9876;…")]
    namesrv_addr: Option<String>,
    #[command(flatten)]
    pub print: Print,
}

impl Broker {
    /// Flags, file and environment together.
    pub fn read(self, environment: &Environment) -> Result<BrokerSettings, StartError> {
        let mut settings = BrokerSettings::read(self.config, environment, "store")?;
        if let Some(addresses) = self.namesrv_addr {
            settings.config.namesrv_addr =
                namesrv_addresses(&addresses).ok_or(StartError::NamesrvAddr { given: "-n", value: addresses })?;
        }
        Ok(settings)
    }

    /// What `-p` or `-m` prints.
    pub fn printed(self, environment: &Environment) -> Result<String, StartError> {
        let all = self.print.all;
        let settings = self.read(environment)?;
        let values = settings.config.values();
        let wanted = values.iter().filter(|(key, _)| all || IMPORTANT.contains(key));
        Ok(properties::write(wanted.map(|(key, value)| (key, value))))
    }
}

impl BrokerSettings {
    /// The file over the environment over the defaults; without a place for data, it is `data` in the home directory.
    fn read(file: Option<PathBuf>, environment: &Environment, data: &str) -> Result<BrokerSettings, StartError> {
        BrokerSettings::read_over(Config::default(), file, environment, data)
    }

    /// The same over other defaults.
    fn read_over(
        mut config: Config,
        file: Option<PathBuf>,
        environment: &Environment,
        data: &str,
    ) -> Result<BrokerSettings, StartError> {
        config.log.level.clone_from(&environment.log_level);
        if let Some(home) = &environment.home {
            config.store_root = home.join(data);
        }
        if let Some(addresses) = &environment.namesrv_addr {
            config.namesrv_addr = namesrv_addresses(addresses)
                .ok_or_else(|| StartError::NamesrvAddr { given: "NAMESRV_ADDR", value: addresses.clone() })?;
        }
        let port_flag = "listenPort";
        let Some(path) = file else { return Ok(BrokerSettings { config, file: None, port_flag }) };
        let (config, notes) = config.read_over(&path)?;
        Ok(BrokerSettings { config, file: Some((path, notes)), port_flag })
    }
}

/// Flags of `namesrv`.
#[derive(Debug, Args)]
pub struct Namesrv {
    /// Its settings
    #[arg(short = 'c', long = "configFile", value_name = "namesrv.conf")]
    config: Option<PathBuf>,
    /// Its port; 0: any free one [default: listenPort in the file, 9876]
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Taken because Apache's script takes it; a name server asks no other
    #[arg(short = 'n', long = "namesrvAddr", value_name = "HOST:9876;…", hide = true)]
    namesrv_addr: Option<String>,
    #[command(flatten)]
    pub print: Print,
}

/// A name server's settings, and what an operator should hear about them.
#[derive(Debug)]
pub struct NamesrvSettings {
    /// The settings.
    pub config: NamesrvConfig,
    /// The file they come from, and its keys that change nothing.
    pub file: Option<(PathBuf, Vec<String>)>,
}

impl Namesrv {
    /// Flags, file and environment together.
    pub fn read(self, environment: &Environment) -> Result<NamesrvSettings, StartError> {
        let log = LogConfig { level: environment.log_level.clone(), ..LogConfig::default() };
        let defaults = NamesrvConfig { log, ..NamesrvConfig::default() };
        let (mut config, file) = match self.config {
            None => (defaults, None),
            Some(path) => {
                let (config, ignored) = defaults.read_over(&path)?;
                (config, Some((path, ignored)))
            }
        };
        config.listen_port = self.port.unwrap_or(config.listen_port);
        let home = environment.home.as_ref().map(|home| home.join("namesrv/kvConfig.json"));
        config.kv_config_path = config.kv_config_path.or(home);
        Ok(NamesrvSettings { config, file })
    }

    /// What `-p` or `-m` prints.
    pub fn printed(self, environment: &Environment) -> Result<String, StartError> {
        Ok(properties::write(self.read(environment)?.config.values()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Language;

    fn environment() -> Environment {
        let namesrv_addr = Some("from-environment".into());
        let home = Some("/home/u".into());
        Environment {
            language: Language::English,
            home,
            namesrv_addr,
            access_key: None,
            secret_key: None,
            rocketmq_home: None,
            credentials: None,
            tls: None,
            log_level: "off".into(),
        }
    }

    #[test]
    fn links_take_the_flags_of_apaches_scripts() {
        let called = |line: &str| with_process(line.split(' ').map(OsString::from)).join(" ".as_ref());
        assert_eq!(called("/opt/bin/mqbroker -n a:1"), "/opt/bin/mqbroker broker -n a:1");
        assert_eq!(called("mqnamesrv -p"), "mqnamesrv namesrv -p");
        assert_eq!(called("./cometmq dev"), "./cometmq dev");
    }

    #[test]
    fn the_command_line_wins_over_the_file_and_the_file_over_the_environment() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let broker = |line: &str, text: &str| {
            std::fs::write(file.path(), text).unwrap();
            let print = Print { all: false, important: false };
            let config = Some(file.path().into());
            let namesrv_addr = Some(line.to_owned()).filter(|line| !line.is_empty());
            Broker { config, namesrv_addr, print }.read(&environment()).map(|s| s.config.namesrv_addr)
        };
        assert_eq!(broker("", "").unwrap(), ["from-environment:9876"]);
        assert_eq!(broker("", "namesrvAddr=from-file").unwrap(), ["from-file:9876"]);
        assert_eq!(broker("a;b:1", "namesrvAddr=from-file").unwrap(), ["a:9876", "b:1"]);
        assert!(matches!(broker("a:b", ""), Err(StartError::NamesrvAddr { given: "-n", .. })));
    }

    #[test]
    fn data_is_in_the_home_directory_unless_somebody_says_otherwise() {
        let dev = |data: Option<&str>| {
            let data = data.map(PathBuf::from);
            let dev = Dev { data, namesrv_port: 0, broker_port: None, listen: None, advertise: None, config: None };
            dev.read(&environment()).unwrap().broker.config.store_root
        };
        assert_eq!(dev(None), Path::new("/home/u/.cometmq"));
        assert_eq!(dev(Some("d")), Path::new("d"));
        assert_eq!(
            BrokerSettings::read(None, &environment(), "store").unwrap().config.store_root,
            Path::new("/home/u/store")
        );
    }
}
