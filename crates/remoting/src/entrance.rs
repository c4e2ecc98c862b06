//! What a connection passes before its first request, and each request before its handler: PROXY protocol, TLS, limits.
//!
//! One for all ports of a process. By default it lets everything through, and speaks no TLS.

use crate::limits::{ClientLimits, Limiter};
use crate::reply::Reject;
use crate::tls::settings::Side;
use crate::tls::{Admitted, ClientTls, NotAdmitted, Tls, TlsError, TlsMode, TlsSettings, Trust};
use protocol::code::response;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

/// See the top of this file.
#[derive(Debug, Default)]
pub struct Entrance {
    /// TLS; none: plain connections only, and one that begins TLS is a bad frame.
    pub tls: Option<Arc<Tls>>,
    /// Who connects from here tells with the PROXY protocol for whom, and nobody else may.
    pub proxies: Proxies,
    /// Who asks for too much.
    pub limiter: Limiter,
}

impl Entrance {
    /// As `settings` say. Reads the files that they name.
    pub fn open(settings: &EntranceSettings) -> Result<Entrance, TlsError> {
        let tls = Tls::open(settings.tls_file.clone(), settings.tls_mode)?;
        let entrance = Entrance { tls: Some(Arc::new(tls)), proxies: settings.proxies.clone(), ..Entrance::default() };
        entrance.limiter.set(settings.limits);
        Ok(entrance)
    }

    /// Takes over what changes in the files of TLS, for as long as it is polled.
    pub async fn watch(&self) {
        match &self.tls {
            Some(tls) => tls.watch().await,
            None => std::future::pending().await,
        }
    }

    /// When the certificate ends that clients are shown, milliseconds since 1970, if there is one.
    pub fn certificate_expires(&self) -> Option<i64> {
        self.tls.as_ref()?.certificate_expires()
    }

    /// What a connection is whose first byte is this.
    pub(crate) fn admit(&self, first: u8) -> Result<Admitted, NotAdmitted> {
        match &self.tls {
            Some(tls) => tls.admit(first),
            None => Ok(Admitted::Plain),
        }
    }
}

/// The settings of an entrance: the same keys in `broker.conf` and in `namesrv.conf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntranceSettings {
    /// The file with the settings of TLS, which name its files. Empty: `/etc/rocketmq/tls.properties`, if that is there.
    /// Key: `tls.config.file`. Default: empty.
    pub tls_file: Option<PathBuf>,
    /// Whether plain connections, TLS connections or both are taken: `disabled`, `permissive` or `enforcing`. Empty: as the file
    /// says, else `permissive`. Key: `tls.server.mode`. Default: empty.
    pub tls_mode: Option<TlsMode>,
    /// A broker reaches its name servers by TLS. Key: `tls.enable`. Default: false.
    pub tls_enable: bool,
    /// Addresses and networks (`10.1.0.0/16`), parted by `;`, of proxies that say with the PROXY protocol whom they connect
    /// for. They must say it, and nobody else may. Key: `proxyProtocolFrom`. Default: empty.
    pub proxies: Proxies,
    /// So many connections from one address at a time. 0: without end. Changes at once.
    /// Key: `connectionsPerAddress`. Default: 0.
    ///
    /// So many requests from one address in a second. 0: without end. Changes at once.
    /// Key: `requestsPerSecondPerAddress`. Default: 0.
    ///
    /// So many bytes of bodies, in both directions, from one address in a second. 0: without end. Changes at once.
    /// Key: `bytesPerSecondPerAddress`. Default: 0.
    ///
    /// So many requests of one user in a second, where access control is on. 0: without end. Changes at once.
    /// Key: `requestsPerSecondPerUser`. Default: 0.
    ///
    /// So many bytes of bodies, in both directions, of one user in a second. 0: without end. Changes at once.
    /// Key: `bytesPerSecondPerUser`. Default: 0.
    pub limits: ClientLimits,
    /// A port of its own for what operators ask; the others then refuse that. 0: there is none.
    /// Key: `adminListenPort`. Default: 0.
    pub admin_port: u16,
    /// The address that it listens on. Key: `adminBindAddress`. Default: `127.0.0.1`.
    pub admin_bind: IpAddr,
}

impl Default for EntranceSettings {
    fn default() -> EntranceSettings {
        EntranceSettings {
            tls_file: None,
            tls_mode: None,
            tls_enable: false,
            proxies: Proxies::default(),
            limits: ClientLimits::default(),
            admin_port: 0,
            admin_bind: Ipv4Addr::LOCALHOST.into(),
        }
    }
}

impl EntranceSettings {
    /// This file, whose field docs are the manual: for who explains settings.
    pub const MANUAL: &str = include_str!("entrance.rs");

    /// Those of its keys that can be changed while the server runs.
    pub const AT_ONCE: [&str; 5] = [
        "connectionsPerAddress",
        "requestsPerSecondPerAddress",
        "bytesPerSecondPerAddress",
        "requestsPerSecondPerUser",
        "bytesPerSecondPerUser",
    ];

    /// Sets what a key says. The error says what it can be; `None`: the key is none of these.
    pub fn set(&mut self, key: &str, value: &str) -> Option<Result<(), &'static str>> {
        const NUMBER: &str = "a number; 0: without end";
        let number = |field: &mut usize| value.parse().map(|number| *field = number).map_err(|_| NUMBER);
        Some(match key {
            "tls.config.file" => {
                self.tls_file = Some(PathBuf::from(value)).filter(|_| !value.is_empty());
                Ok(())
            }
            "tls.server.mode" if value.is_empty() => {
                self.tls_mode = None;
                Ok(())
            }
            "tls.server.mode" => TlsMode::parse(value).map(|mode| self.tls_mode = Some(mode)).ok_or(TlsMode::ALLOWED),
            "tls.enable" => {
                value.to_ascii_lowercase().parse().map(|on| self.tls_enable = on).map_err(|_| "true or false")
            }
            "proxyProtocolFrom" => Proxies::parse(value).map(|proxies| self.proxies = proxies),
            "connectionsPerAddress" => number(&mut self.limits.connections),
            "requestsPerSecondPerAddress" => number(&mut self.limits.address.requests),
            "bytesPerSecondPerAddress" => number(&mut self.limits.address.bytes),
            "requestsPerSecondPerUser" => number(&mut self.limits.user.requests),
            "bytesPerSecondPerUser" => number(&mut self.limits.user.bytes),
            "adminListenPort" => value.parse().map(|port| self.admin_port = port).map_err(|_| "0 to 65535"),
            "adminBindAddress" => value.parse().map(|ip| self.admin_bind = ip).map_err(|_| "an IP address"),
            _ => return None,
        })
    }

    /// Every key and its value as text.
    pub fn values(&self) -> Vec<(&'static str, String)> {
        let ClientLimits { connections, address, user } = self.limits;
        vec![
            ("tls.config.file", self.tls_file.iter().map(|path| path.display().to_string()).collect()),
            ("tls.server.mode", self.tls_mode.map(|mode| mode.to_string()).unwrap_or_default()),
            ("tls.enable", self.tls_enable.to_string()),
            ("proxyProtocolFrom", self.proxies.to_string()),
            ("connectionsPerAddress", connections.to_string()),
            ("requestsPerSecondPerAddress", address.requests.to_string()),
            ("bytesPerSecondPerAddress", address.bytes.to_string()),
            ("requestsPerSecondPerUser", user.requests.to_string()),
            ("bytesPerSecondPerUser", user.bytes.to_string()),
            ("adminListenPort", self.admin_port.to_string()),
            ("adminBindAddress", self.admin_bind.to_string()),
        ]
    }

    /// How a broker speaks TLS with its name servers, if it does.
    pub fn client_tls(&self) -> Result<Option<Arc<ClientTls>>, TlsError> {
        let file = self.tls_file.clone().or_else(crate::tls::default_file);
        let settings = match &file {
            Some(file) => TlsSettings::read(file)?,
            None => TlsSettings::default(),
        };
        if !(self.tls_enable || settings.enable == Some(true)) {
            return Ok(None);
        }
        ClientTls::of_settings(settings).map(|tls| Some(Arc::new(tls)))
    }
}

impl EntranceSettings {
    /// How a process reaches a port of its own that is behind `entrance`: encrypted, where it may have to be.
    pub fn tls_to_self(&self, entrance: &Entrance) -> Result<Option<Arc<ClientTls>>, TlsError> {
        let Some(tls) = entrance.tls.as_ref().filter(|tls| tls.mode() != TlsMode::Disabled) else { return Ok(None) };
        if tls.is_test() && tls.mode() == TlsMode::Permissive {
            return Ok(None);
        }
        let side = match tls.file() {
            Some(file) => TlsSettings::read(file)?.client,
            None => Side::default(),
        };
        // It knows itself, whatever its certificate is called.
        ClientTls::new(Trust::Anyone, side).map(|tls| Some(Arc::new(tls)))
    }
}

/// What a port says of a request that only the port for operators answers.
pub fn not_here(port: u16) -> Reject {
    let remark = format!(
        "this port does not answer what operators ask, because they have a port of their own: ask port {port} \
         (adminListenPort in this server's settings)"
    );
    Reject::new(response::NO_PERMISSION, remark)
}

/// Addresses, and networks of them, from which the PROXY protocol is spoken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(Vec<(IpAddr, u8)>);

impl Proxies {
    /// Reads `10.0.0.7;10.1.0.0/16;fd00::/8`; what is there can't be used says what would be.
    pub fn parse(text: &str) -> Result<Proxies, &'static str> {
        let networks = text.split([';', ',']).map(str::trim).filter(|network| !network.is_empty());
        let read: Option<Vec<_>> = networks.map(network).collect();
        read.map(Proxies).ok_or("IP addresses or networks such as 10.1.0.0/16, parted by `;`")
    }

    /// True when nobody is one.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Is it one of them?
    pub fn contain(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|(network, length)| match (network, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let differing = network.to_bits() ^ ip.to_bits();
                differing.leading_zeros() >= u32::from(*length)
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let differing = network.to_bits() ^ ip.to_bits();
                differing.leading_zeros() >= u32::from(*length)
            }
            _ => false,
        })
    }
}

impl std::fmt::Display for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, (address, length)) in self.0.iter().enumerate() {
            let part = if i > 0 { ";" } else { "" };
            match *length == bits(*address) {
                true => write!(f, "{part}{address}")?,
                false => write!(f, "{part}{address}/{length}")?,
            }
        }
        Ok(())
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let length = length.unwrap_or(bits(address));
    (length <= bits(address)).then_some((address, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_they_are_printed() {
        let mut settings = EntranceSettings::default();
        assert_eq!(settings.values().iter().filter(|(key, _)| EntranceSettings::AT_ONCE.contains(key)).count(), 5);
        for (key, value) in EntranceSettings::default().values() {
            settings.set(key, &value).unwrap().unwrap();
        }
        assert_eq!(settings, EntranceSettings::default());
        for (key, value) in [
            ("tls.config.file", "/c/tls.properties"),
            ("tls.server.mode", "enforcing"),
            ("tls.enable", "true"),
            ("proxyProtocolFrom", "10.0.0.7"),
            ("connectionsPerAddress", "7"),
            ("requestsPerSecondPerAddress", "8"),
            ("bytesPerSecondPerAddress", "9"),
            ("requestsPerSecondPerUser", "10"),
            ("bytesPerSecondPerUser", "11"),
            ("adminListenPort", "10915"),
            ("adminBindAddress", "::1"),
        ] {
            settings.set(key, value).unwrap().unwrap();
            assert!(settings.values().contains(&(key, value.to_owned())), "{key}");
            assert!(settings.set(key, "no such thing").unwrap().is_err() || key == "tls.config.file", "{key}");
        }
        assert!(settings.set("listenPort", "1").is_none());
    }

    #[test]
    fn proxies_are_addresses_and_networks() {
        let proxies = Proxies::parse("10.0.0.7; 10.1.0.0/16, fd00::/8;").unwrap();
        let is_one = |ip: &str| proxies.contain(ip.parse().unwrap());
        for ip in ["10.0.0.7", "::ffff:10.0.0.7", "10.1.255.1", "fd12::1"] {
            assert!(is_one(ip), "{ip}");
        }
        for ip in ["10.0.0.8", "10.2.0.1", "fe00::1", "::1", "127.0.0.1"] {
            assert!(!is_one(ip), "{ip}");
        }
        assert!(Proxies::parse("0.0.0.0/0").unwrap().contain("1.2.3.4".parse().unwrap()));
        assert!(!Proxies::default().contain("1.2.3.4".parse().unwrap()));
        assert_eq!(proxies.to_string(), "10.0.0.7;10.1.0.0/16;fd00::/8");
        assert_eq!(Proxies::parse(&proxies.to_string()).unwrap(), proxies);
        for bad in ["10.0.0.7/33", "proxy.example", "fd00::/129", "10.0.0.0/x"] {
            assert!(Proxies::parse(bad).is_err(), "{bad}");
        }
    }
}
