//! What a process says once it is ready: where it is, under which address clients find it, where its data is.

use crate::serve::Advertised;
use crate::text::{self, Language};
use broker::registration::{choose_host, host_and_port};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// A ready process.
#[derive(Debug)]
pub struct Banner {
    /// How long it took to start.
    pub ready_after: Duration,
    /// The name server's addresses, if there is one.
    pub namesrv: Option<Vec<String>>,
    /// The broker, if there is one.
    pub broker: Option<BrokerFacts>,
    /// Where it is watched, if it is.
    pub metrics: Option<SocketAddr>,
}

/// A ready broker.
#[derive(Debug)]
pub struct BrokerFacts {
    /// Its name.
    pub name: String,
    /// The address that clients are told.
    pub address: String,
    /// Why that one.
    pub advertised: Advertised,
    /// Its VIP port, if that was free.
    pub vip_port: Option<u16>,
    /// Its name servers.
    pub namesrv_addr: Vec<String>,
    /// Where its data is.
    pub data: PathBuf,
}

/// The addresses by which clients reach a listener: this machine's, where it listens on all of them.
pub fn reachable(address: SocketAddr) -> Vec<String> {
    if !address.ip().is_unspecified() {
        return vec![address.to_string()];
    }
    let outside = choose_host(&[]).ip;
    let mut addresses = vec![host_and_port(&Ipv4Addr::LOCALHOST.to_string(), address.port())];
    if !outside.is_loopback() {
        addresses.push(host_and_port(&outside.to_string(), address.port()));
    }
    addresses
}

impl Banner {
    /// Says it on standard output.
    pub fn print(&self, language: Language) {
        let mut out = std::io::stdout().lock();
        // Nobody reads it when it can't be written.
        let _ = out.write_all(self.text(language).as_bytes()).and_then(|()| out.flush());
    }

    fn text(&self, language: Language) -> String {
        let mut lines = vec![text::ready(self.ready_after, language), String::new()];
        if let Some(addresses) = &self.namesrv {
            lines.push(line(language, "name server", "名字服务器", &addresses.join("  ")));
        }
        if let Some(broker) = &self.broker {
            let vip = broker.vip_port.map(|port| format!("  VIP {port}")).unwrap_or_default();
            lines.push(line(language, "broker", "Broker", &format!("{}  {}{vip}", broker.address, broker.name)));
            lines.push(line(language, "advertised", "对外地址", &text::advertised(&broker.advertised, language)));
            if self.namesrv.is_none() {
                let addresses = match broker.namesrv_addr.is_empty() {
                    true => text::no_namesrv(language),
                    false => broker.namesrv_addr.join("  "),
                };
                lines.push(line(language, "name servers", "名字服务器", &addresses));
            }
            lines.push(line(language, "data", "数据目录", &broker.data.display().to_string()));
        }
        if let Some(address) = self.metrics {
            let host = if address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address.ip() };
            let page = format!("http://{}/metrics", SocketAddr::new(host, address.port()));
            lines.push(line(language, "metrics", "监控", &page));
        }
        lines.extend([String::new(), text::stop(language), String::new()]);
        lines.join("\n")
    }
}

/// Labels of one width, so that values stand in a column; a Chinese character is as wide as two others.
fn line(language: Language, english: &str, chinese: &str, value: &str) -> String {
    let label = language.pick(english, chinese);
    let width: usize = label.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
    format!("  {label}{:1$}{value}", "", 14usize.saturating_sub(width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker::registration::Chosen;

    fn dev() -> Banner {
        Banner {
            ready_after: Duration::from_micros(23_400),
            namesrv: Some(vec!["127.0.0.1:9876".into(), "10.0.0.5:9876".into()]),
            metrics: None,
            broker: Some(BrokerFacts {
                name: "laptop".into(),
                address: "10.0.0.5:10911".into(),
                advertised: Advertised::AsReached,
                vip_port: Some(10909),
                namesrv_addr: vec!["127.0.0.1:9876".into()],
                data: "/home/u/.cometmq".into(),
            }),
        }
    }

    #[test]
    fn dev_says_where_everything_is_in_both_languages() {
        assert_eq!(
            dev().text(Language::English),
            "\
CometMQ 0.1.0 is ready, after 23 ms

  name server   127.0.0.1:9876  10.0.0.5:9876
  broker        10.0.0.5:10911  laptop  VIP 10909
  advertised    each client is told the address by which it reached the name server (to fix one: --advertise, brokerIP1)
  data          /home/u/.cometmq

Stop it with Ctrl-C.
"
        );
        assert_eq!(
            dev().text(Language::Chinese),
            "\
CometMQ 0.1.0 已就绪，用时 23 毫秒

  名字服务器    127.0.0.1:9876  10.0.0.5:9876
  Broker        10.0.0.5:10911  laptop  VIP 10909
  对外地址      客户端用哪个地址连上名字服务器，就告诉它哪个地址（要固定地址：--advertise 或 brokerIP1）
  数据目录      /home/u/.cometmq

按 Ctrl-C 停止。
"
        );
    }

    #[test]
    fn a_broker_says_how_its_address_was_chosen_and_who_is_told() {
        let mut banner = Banner { namesrv: None, ..dev() };
        let broker = banner.broker.as_mut().unwrap();
        broker.advertised = Advertised::Chosen(Chosen::ReachesNamesrv("ns:9876".into()));
        broker.vip_port = None;
        let text = banner.text(Language::English);
        assert!(text.contains("  broker        10.0.0.5:10911  laptop\n"), "{text}");
        assert!(text.contains("this machine reaches the name server ns:9876 by it"), "{text}");
        assert!(text.contains("  name servers  127.0.0.1:9876\n"), "{text}");
    }
}
