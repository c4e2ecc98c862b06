//! Tells name servers where this broker is and which topics it has.
//!
//! 1. [`choose_host`]: under which address do clients reach us, when nobody said so?
//! 2. [`Registration::run`]: one task per name server registers at once, whenever topics change or its connection is lost,
//!    and every `registerNameServerPeriod`; it keeps trying while a name server is not there, and unregisters at the end
//! 3. [`check_reachable`]: do we reach ourselves under that address?
//!
//! Names of hosts are looked up each time a connection is made.

use crate::Broker;
use parking_lot::Mutex;
use protocol::json;
use protocol::request::route::{RegisterBroker, UnregisterBroker};
use protocol::route::{KvTable, RegisterBrokerBody, RegisteredTopics};
use protocol::topic::{DataVersion, TopicConfig};
use remoting::Client;
use remoting::client::RequestError;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long after a failure the next try comes.
const RETRY: Duration = Duration::from_secs(1);

/// How long after a lost connection the next try comes.
const RECONNECT: Duration = Duration::from_millis(100);

/// How long a stopping broker waits for a name server to take note.
const UNREGISTER_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the broker's own address may take to answer.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// So many topics go into one request, so that none comes near the size that a frame can have.
const TOPICS_A_REQUEST: usize = 5_000;

/// Nothing is ever sent there (RFC 5737). To ask for the way to it tells by which address this machine goes out.
const OUTSIDE: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);

/// The address by which clients shall reach this machine, and why this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The address.
    pub ip: IpAddr,
    /// How it was chosen.
    pub chosen: Chosen,
}

/// How an address was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    /// This machine reaches that name server by it, so the machines around the name server reach us by it.
    ReachesNamesrv(String),
    /// This machine goes out into its network by it.
    GoesOut,
    /// This machine has no network.
    Loopback,
}

/// Chooses an address for a broker to which nobody gave one. A name server on this very machine is no guide: clients
/// on other machines could do nothing with a loopback address.
pub fn choose_host(namesrv_addr: &[String]) -> Host {
    for address in namesrv_addr {
        let Ok(mut resolved) = address.to_socket_addrs() else { continue };
        if let Some(ip) = resolved.find_map(local_ip_towards).filter(|ip| !ip.is_loopback()) {
            return Host { ip, chosen: Chosen::ReachesNamesrv(address.clone()) };
        }
    }
    match local_ip_towards(OUTSIDE.into()).filter(|ip| !ip.is_loopback()) {
        Some(ip) => Host { ip, chosen: Chosen::GoesOut },
        None => Host { ip: Ipv4Addr::LOCALHOST.into(), chosen: Chosen::Loopback },
    }
}

/// The address that this machine would send from. Asks the routing table; sends nothing.
fn local_ip_towards(address: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(address).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}

/// `host:port`; IPv6 addresses get their brackets.
pub fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Dials the broker's own advertised address.
pub async fn check_reachable(address: &str) -> Result<(), io::Error> {
    match tokio::time::timeout(DIAL_TIMEOUT, tokio::net::TcpStream::connect(address)).await {
        Ok(connected) => connected.map(drop),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// A broker's registration with its name servers.
pub struct Registration {
    broker: Arc<Broker>,
    broker_addr: String,
    ha_server_addr: String,
    client: Client,
    /// Per name server, the counter of the topics that it knows; `None` while it is not reached.
    known: Mutex<BTreeMap<String, Option<i64>>>,
    /// How many name servers know this broker.
    count: watch::Sender<usize>,
    /// One ever did.
    was_known: AtomicBool,
}

impl Registration {
    /// The registration of a broker that clients reach as `host` (an address or a name) at its `config.listen_port`.
    pub fn new(broker: Arc<Broker>, host: &str) -> Arc<Registration> {
        Registration::by(Client::default(), broker, host)
    }

    /// The same, where `client` is how name servers are reached.
    pub fn by(client: Client, broker: Arc<Broker>, host: &str) -> Arc<Registration> {
        let (port, namesrv_addr) = (broker.config.listen_port, &broker.config.namesrv_addr);
        Arc::new(Registration {
            broker_addr: host_and_port(host, port),
            // Slaves would come here. A port that is taken already is told as it is: nobody comes.
            ha_server_addr: host_and_port(host, port.saturating_add(1)),
            client: client.signing(broker.config.access.signs_as()),
            known: Mutex::new(namesrv_addr.iter().map(|address| (address.clone(), None)).collect()),
            count: watch::Sender::new(0),
            was_known: AtomicBool::new(false),
            broker,
        })
    }

    /// The address that is told to clients.
    pub fn broker_addr(&self) -> &str {
        &self.broker_addr
    }

    /// Which name servers know this broker now; and whether one ever did.
    pub fn state(&self) -> (Vec<(String, bool)>, bool) {
        let known = self.known.lock().iter().map(|(address, counter)| (address.clone(), counter.is_some())).collect();
        (known, self.was_known.load(Ordering::Relaxed))
    }

    /// How many name servers know this broker, whenever it changes.
    pub fn count(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// Registers, and keeps registered, until `shutdown` resolves; then unregisters.
    pub async fn run(self: Arc<Registration>, shutdown: impl Future<Output = ()>) {
        if self.broker.config.namesrv_addr.is_empty() {
            tracing::warn!("this broker has no name server, so no client finds it; name one with -n or namesrvAddr");
        }
        let (stop, stopped) = watch::channel(());
        let mut tasks = JoinSet::new();
        for address in &self.broker.config.namesrv_addr {
            tasks.spawn(self.clone().keep_registered(address.clone(), stopped.clone()));
        }
        let nobody_to_tell = async {
            let mut changed = self.broker.topics.changed();
            loop {
                let counter = *changed.borrow_and_update();
                self.tell_topics(counter);
                if changed.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        };
        tokio::select! { () = nobody_to_tell => {}, () = shutdown => {} }
        drop(stop);
        tasks.join_all().await;
    }

    async fn keep_registered(self: Arc<Registration>, namesrv: String, mut stopped: watch::Receiver<()>) {
        let mut changed = self.broker.topics.changed();
        // What was said last about this name server: nothing yet, it is there, it is not.
        let mut reached = None;
        let mut broken_off = false;
        loop {
            changed.mark_unchanged();
            let result = tokio::select! {
                result = self.register(&namesrv) => result,
                _ = stopped.changed() => {
                    // It may have taken the registration in.
                    broken_off = true;
                    break;
                }
            };
            let wait = match result {
                Ok(counter) => {
                    if reached != Some(true) {
                        tracing::info!(%namesrv, broker = %self.broker.config.name, address = %self.broker_addr, "registered");
                    }
                    reached = Some(true);
                    self.set_known(&namesrv, Some(counter));
                    self.broker.config.register_period
                }
                Err(error) => {
                    if reached != Some(false) {
                        tracing::warn!(%namesrv, %error, "not registered; trying on, every second");
                    }
                    reached = Some(false);
                    self.client.disconnect(&namesrv);
                    self.set_known(&namesrv, None);
                    RETRY
                }
            };
            let topics_changed = async {
                if reached == Some(false) || changed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let connection_lost = async {
                self.client.closed(&namesrv).await;
                // Whoever closed it may be starting again.
                tokio::time::sleep(if reached == Some(true) { RECONNECT } else { RETRY }).await;
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = topics_changed => {}
                () = connection_lost => {}
                _ = stopped.changed() => break,
            }
        }
        if (reached == Some(true) || broken_off)
            && let Err(error) = self.unregister(&namesrv).await
        {
            tracing::warn!(%namesrv, %error, "not unregistered; clients find out by themselves");
        }
    }

    /// Registers all topics. Returns the counter of the state that they were in.
    async fn register(&self, namesrv: &str) -> Result<i64, RequestError> {
        let (topics, version) = self.broker.topics.all();
        for (part, body) in registrations(&topics, &version, self.broker.config.permission).into_iter().enumerate() {
            let request = RegisterBroker {
                broker_name: self.broker.config.name.clone(),
                broker_addr: self.broker_addr.clone(),
                cluster_name: self.broker.config.cluster_name.clone(),
                ha_server_addr: Some(self.ha_server_addr.clone()),
                broker_id: self.broker.config.id,
                heartbeat_timeout_millis: None,
                enable_acting_master: Some(false),
                compressed: Some(false),
                body_crc32: Some(RegisterBrokerBody::checksum(&body)),
                zone_name: None,
            };
            tracing::trace!(%namesrv, part, topics = topics.len(), "registering");
            let timeout = self.broker.config.register_timeout;
            let (_, told) = self.client.ask_with_body(namesrv, &request, body.into(), timeout).await?;
            if let Ok(ordered) = json::read::<KvTable>(&told) {
                self.broker.set_ordered(ordered.table.keys());
            }
        }
        Ok(version.counter)
    }

    async fn unregister(&self, namesrv: &str) -> Result<(), RequestError> {
        let request = UnregisterBroker {
            broker_name: self.broker.config.name.clone(),
            broker_addr: self.broker_addr.clone(),
            cluster_name: self.broker.config.cluster_name.clone(),
            broker_id: self.broker.config.id,
        };
        self.client.ask(namesrv, &request, UNREGISTER_TIMEOUT).await.map(drop)
    }

    fn set_known(&self, namesrv: &str, counter: Option<i64>) {
        self.was_known.fetch_or(counter.is_some(), Ordering::Relaxed);
        self.known.lock().insert(namesrv.to_owned(), counter);
        let count = self.known.lock().values().flatten().count();
        self.count.send_if_modified(|told| std::mem::replace(told, count) != count);
        self.tell_topics(*self.broker.topics.changed().borrow());
    }

    /// Says how far name servers know the topics: those that are reached; `counter` when there are none to wait for.
    fn tell_topics(&self, counter: i64) {
        let least = self.known.lock().values().flatten().min().copied();
        self.broker.topics.set_registered(least.unwrap_or(counter));
    }
}

/// The bodies that register all topics. Apache's name servers look into a body only if its version is not the one they
/// know, so each part has its own, and the last one the true one.
fn registrations(topics: &[Arc<TopicConfig>], version: &DataVersion, permission: i32) -> Vec<Vec<u8>> {
    let parts = topics.len().div_ceil(TOPICS_A_REQUEST).max(1);
    (0..parts)
        .map(|part| {
            let topics = topics.iter().skip(part * TOPICS_A_REQUEST).take(TOPICS_A_REQUEST).map(|topic| {
                let topic = TopicConfig { perm: topic.perm & (permission | !6), ..TopicConfig::clone(topic) };
                (topic.topic_name.clone(), topic)
            });
            let counter = version.counter - (parts - 1 - part) as i64;
            json::write(&RegisterBrokerBody {
                topic_config_serialize_wrapper: RegisteredTopics {
                    data_version: DataVersion { counter, ..version.clone() },
                    topic_config_table: topics.collect(),
                    topic_queue_mapping_info_map: BTreeMap::new(),
                },
                filter_server_list: Vec::new(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use protocol::request::Empty;
    use protocol::request::route::RegisterBrokerReply;
    use remoting::{Answer, Call, Reject, Router, Server};
    use std::net::TcpListener;
    use tokio::sync::mpsc;

    /// A name server that writes down what it is told.
    struct Ledger(mpsc::UnboundedSender<String>);

    impl Ledger {
        async fn register(
            ledger: Arc<Ledger>,
            call: Call<RegisterBroker>,
        ) -> Result<Answer<RegisterBrokerReply>, Reject> {
            assert_eq!(call.request.body_crc32, Some(RegisterBrokerBody::checksum(&call.body)));
            let body = RegisterBrokerBody::read(&call.body, call.version).unwrap();
            let topics = body.topic_config_serialize_wrapper.topic_config_table;
            let ours = topics.values().filter(|topic| topic.topic_name.starts_with("my-"));
            let topics: Vec<String> = ours.map(|t| format!("{}:{}", t.topic_name, t.perm)).collect();
            let _ = ledger.0.send(format!("{} has {}", call.request.broker_addr, topics.join(" ")));
            Ok(RegisterBrokerReply::default().into())
        }

        async fn unregister(ledger: Arc<Ledger>, call: Call<UnregisterBroker>) -> Result<Answer<Empty>, Reject> {
            let _ = ledger.0.send(format!("{} stops", call.request.broker_addr));
            Ok(Empty {}.into())
        }
    }

    fn ledger(listener: TcpListener) -> (Server, mpsc::UnboundedReceiver<String>) {
        let (sender, told) = mpsc::unbounded_channel();
        let server = Server::start(1).unwrap();
        let router = Router::new(Arc::new(Ledger(sender))).on(Ledger::register).on(Ledger::unregister);
        server.listen(listener, router).unwrap();
        (server, told)
    }

    fn broker(namesrv: &SocketAddr, data: &tempfile::TempDir) -> Arc<Broker> {
        Broker::open(Config {
            namesrv_addr: vec![namesrv.to_string()],
            permission: 4,
            listen_port: 7001,
            store_root: data.path().into(),
            ..Config::default()
        })
        .unwrap()
    }

    #[tokio::test]
    async fn topics_are_registered_at_once_when_they_change_and_taken_back_at_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let data = tempfile::tempdir().unwrap();
        let broker = broker(&listener.local_addr().unwrap(), &data);
        let (_server, mut told) = ledger(listener);
        broker.topics.put(TopicConfig::new("my-a", 4, 6), None, 0).unwrap();
        let registration = Registration::new(broker.clone(), "mq.example.com");
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(registration.clone().run(async move { drop(stopped.await) }));
        assert_eq!(told.recv().await.unwrap(), "mq.example.com:7001 has my-a:4", "brokerPermission takes W away");
        registration.count().wait_for(|count| *count == 1).await.unwrap();
        let counter = broker.topics.put(TopicConfig::new("my-b", 4, 6), None, 0).unwrap();
        assert_eq!(told.recv().await.unwrap(), "mq.example.com:7001 has my-a:4 my-b:4");
        broker.topics.registered(counter).await;
        drop(stop);
        running.await.unwrap();
        assert_eq!(told.recv().await.unwrap(), "mq.example.com:7001 stops");
    }

    #[tokio::test]
    async fn a_name_server_that_comes_later_is_found_and_holds_nobody_up_until_then() {
        // Bound, not listening: the port is ours, and refuses.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        let data = tempfile::tempdir().unwrap();
        let broker = broker(&socket.local_addr().unwrap().as_socket().unwrap(), &data);
        let registration = Registration::new(broker.clone(), "10.0.0.1");
        let running = tokio::spawn(registration.clone().run(std::future::pending()));
        let counter = broker.topics.put(TopicConfig::new("my-a", 4, 6), None, 0).unwrap();
        broker.topics.registered(counter).await;
        assert_eq!(*registration.count().borrow(), 0);
        socket.listen(16).unwrap();
        let (_server, mut told) = ledger(socket.into());
        assert_eq!(told.recv().await.unwrap(), "10.0.0.1:7001 has my-a:4");
        running.abort();
    }

    #[test]
    fn many_topics_go_in_parts_of_which_each_has_its_own_version_and_the_last_the_true_one() {
        let topics: Vec<_> = (0..12_001).map(|i| Arc::new(TopicConfig::new(format!("t{i}"), 1, 6))).collect();
        let bodies = registrations(&topics, &DataVersion { counter: 9, ..DataVersion::default() }, 6);
        let read = |body: &Vec<u8>| RegisterBrokerBody::read(body, 479).unwrap().topic_config_serialize_wrapper;
        let parts: Vec<_> =
            bodies.iter().map(read).map(|p| (p.data_version.counter, p.topic_config_table.len())).collect();
        assert_eq!(parts, [(7, 5_000), (8, 5_000), (9, 2_001)]);
        assert_eq!(registrations(&[], &DataVersion::default(), 6).len(), 1);
    }

    #[test]
    fn a_name_server_on_this_machine_does_not_make_the_broker_advertise_loopback() {
        let chosen = choose_host(&["127.0.0.1:9876".into()]);
        assert!(matches!(chosen.chosen, Chosen::GoesOut | Chosen::Loopback), "{chosen:?}");
        assert_eq!(chosen.ip.is_loopback(), chosen.chosen == Chosen::Loopback);
        assert_eq!(choose_host(&[]), chosen);
    }

    #[tokio::test]
    async fn a_broker_dials_itself() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        check_reachable(&address).await.unwrap();
        drop(listener);
        check_reachable(&address).await.unwrap_err();
        assert_eq!(host_and_port("::1", 1), "[::1]:1");
    }
}
