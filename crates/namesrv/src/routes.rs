//! Where topics are, as brokers say it. Pure: time comes in as `now`, connections as the peer's address.
//!
//! A broker is known from its registration until it takes it back, its connection closes, or it has said nothing for
//! its time-out. Its topics go with it, once none of its name is left. A topic that a living broker registers no more
//! stays, as with Apache: brokers register single topics as well as all of them.

use protocol::nearest::nearest;
use protocol::route::{BrokerData, ClusterInfo, QueueData, RegisteredTopics, TopicRoute};
use protocol::topic::{DEFAULT_TOPIC, DLQ_PREFIX, DataVersion, PERM_WRITE, RETRY_PREFIX, TopicConfig};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::{Display, Formatter, Result as FmtResult};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A broker that is silent for so long is gone, unless it says otherwise itself.
pub const EXPIRY: Duration = Duration::from_secs(120);

/// So many brokers that are gone are remembered, the newest.
const GONE_MAX: usize = 64;

/// A name like one that is not known is looked for among so many topics at most: it costs a comparison with each.
const ALIKE_MAX: usize = 1000;

/// A master is known under this id.
const MASTER: i64 = 0;

/// All that a name server knows.
#[doc(alias = "RouteInfoManager")]
#[derive(Debug, Default)]
pub struct Routes {
    /// Queues by topic and broker name.
    topics: BTreeMap<String, BTreeMap<String, QueueData>>,
    /// Static topics' mappings by topic and broker name.
    mappings: BTreeMap<String, BTreeMap<String, Value>>,
    /// By broker name.
    brokers: BTreeMap<String, BrokerData>,
    live: HashMap<BrokerKey, Live>,
    /// Names of brokers from which an operator has taken the permission to write.
    wiped: BTreeSet<String>,
    /// Brokers that were here and are gone, oldest first: to say so when someone asks for their topics.
    gone: VecDeque<Gone>,
}

/// What tells two brokers apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BrokerKey {
    /// Its cluster.
    pub cluster: String,
    /// Where clients reach it.
    pub address: String,
}

#[derive(Debug)]
struct Live {
    seen: Instant,
    expiry: Duration,
    data_version: DataVersion,
    peer: SocketAddr,
    ha_server_addr: Option<String>,
}

#[derive(Debug)]
struct Gone {
    name: String,
    cluster: String,
    address: String,
    why: Leaving,
    topics: BTreeSet<String>,
}

/// Why a broker is not known any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// It said so.
    Unregistered,
    /// Its connection closed.
    Disconnected,
    /// It said nothing for its time-out.
    Silent,
}

impl Display for Leaving {
    fn fmt(&self, f: &mut Formatter<'_>) -> FmtResult {
        f.write_str(match self {
            Leaving::Unregistered => "it was stopped",
            Leaving::Disconnected => "its connection broke",
            Leaving::Silent => "it did not register any more",
        })
    }
}

/// A broker's registration.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Which broker.
    pub key: BrokerKey,
    /// Its name, shared by a master and its slaves.
    pub name: String,
    /// 0: master.
    pub id: i64,
    /// Where slaves reach it.
    pub ha_server_addr: Option<String>,
    /// Where it stands.
    pub zone_name: Option<String>,
    /// How long the registration holds; `None`: [`EXPIRY`].
    pub expiry: Option<Duration>,
    /// A slave may act as master; `None` from brokers that don't know of that.
    pub enable_acting_master: Option<bool>,
    /// Its topics.
    pub topics: RegisteredTopics,
    /// Who registers.
    pub peer: SocketAddr,
}

/// What a registration brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registered {
    /// The broker was not known before.
    pub is_new: bool,
    /// For a slave: its master's address for clients.
    pub master_addr: Option<String>,
    /// For a slave: its master's address for slaves.
    pub ha_server_addr: Option<String>,
}

/// A broker that is not known registers a single topic. Were that taken, it would be told on its next question that
/// nothing has changed, and never register the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRegisteredYet;

impl Routes {
    /// Takes a registration in.
    pub fn register(&mut self, registration: Registration, now: Instant) -> Result<Registered, NotRegisteredYet> {
        let Registration { key, name, id, topics, .. } = registration;
        let RegisteredTopics { data_version, topic_config_table, topic_queue_mapping_info_map } = topics;
        let known = self.brokers.get(&name).and_then(|broker| broker.broker_addrs.get(&id)).cloned();
        if known.is_none() && topic_config_table.len() == 1 {
            return Err(NotRegisteredYet);
        }
        if let Some(other) = known.as_ref().filter(|address| **address != key.address) {
            let other = BrokerKey { cluster: key.cluster.clone(), address: other.clone() };
            let holds = |live: &Live| live.data_version.state_version > data_version.state_version;
            if self.live.get(&other).is_some_and(holds) {
                // A controller has made the other one master since: this one speaks of the past.
                self.live.remove(&key);
                return Ok(Registered::default());
            }
        }

        let broker = self.brokers.entry(name.clone()).or_default();
        broker.broker_name = name.clone();
        broker.cluster = key.cluster.clone();
        broker.enable_acting_master = registration.enable_acting_master == Some(true);
        broker.zone_name = registration.zone_name;
        // A broker that changes its role must not be known twice.
        broker.broker_addrs.retain(|other_id, address| *address != key.address || *other_id == id);
        broker.broker_addrs.insert(id, key.address.clone());
        let master_addr = broker.broker_addrs.get(&MASTER).filter(|_| id != MASTER).cloned();
        let acts_as_master = id != MASTER
            && registration.enable_acting_master.is_some()
            && broker.broker_addrs.first_key_value().is_some_and(|(least, _)| *least == id);
        let writable = !(acts_as_master && broker.enable_acting_master);
        if id == MASTER || acts_as_master {
            for topic in topic_config_table.into_values() {
                let queues = queue_data(&name, &topic, writable);
                self.topics.entry(topic.topic_name).or_default().insert(name.clone(), queues);
            }
            for (topic, mapping) in topic_queue_mapping_info_map {
                let broker = mapping.get("bname").and_then(Value::as_str).unwrap_or(&name).to_owned();
                self.mappings.entry(topic).or_default().insert(broker, mapping);
            }
        }

        self.gone.retain(|gone| gone.name != name);
        let live = Live {
            seen: now,
            expiry: registration.expiry.unwrap_or(EXPIRY),
            data_version,
            peer: registration.peer,
            ha_server_addr: registration.ha_server_addr,
        };
        let master_key = master_addr.clone().map(|address| BrokerKey { cluster: key.cluster.clone(), address });
        let is_new = self.live.insert(key, live).is_none();
        let master = master_key.and_then(|key| self.live.get(&key));
        Ok(Registered {
            is_new,
            ha_server_addr: master.and_then(|master| master.ha_server_addr.clone()),
            master_addr: master.and(master_addr),
        })
    }

    /// The state of a broker's topics that is known here. That it asks shows that it lives.
    pub fn data_version(&mut self, key: &BrokerKey, now: Instant) -> Option<&DataVersion> {
        let live = self.live.get_mut(key)?;
        live.seen = now;
        Some(&live.data_version)
    }

    /// Forgets a broker that says so. False if it was not known.
    pub fn unregister(&mut self, key: &BrokerKey) -> bool {
        self.remove(key, Leaving::Unregistered)
    }

    /// Forgets the brokers that registered over the connection to `peer`, which has closed.
    pub fn disconnected(&mut self, peer: SocketAddr) -> Vec<BrokerKey> {
        self.remove_where(Leaving::Disconnected, |live| live.peer == peer)
    }

    /// Forgets the brokers that have been silent for too long.
    pub fn expire(&mut self, now: Instant) -> Vec<BrokerKey> {
        self.remove_where(Leaving::Silent, |live| now.saturating_duration_since(live.seen) > live.expiry)
    }

    fn remove_where(&mut self, why: Leaving, which: impl Fn(&Live) -> bool) -> Vec<BrokerKey> {
        let keys: Vec<BrokerKey> =
            self.live.iter().filter(|(_, live)| which(live)).map(|(key, _)| key.clone()).collect();
        for key in &keys {
            self.remove(key, why);
        }
        keys
    }

    fn remove(&mut self, key: &BrokerKey, why: Leaving) -> bool {
        let was_live = self.live.remove(key).is_some();
        let named = self.brokers.values_mut().find(|broker| {
            broker.cluster == key.cluster && broker.broker_addrs.values().any(|address| *address == key.address)
        });
        let Some(broker) = named else { return was_live };
        broker.broker_addrs.retain(|_, address| *address != key.address);
        let name = broker.broker_name.clone();
        if broker.broker_addrs.is_empty() {
            self.brokers.remove(&name);
            self.wiped.remove(&name);
            let mut topics = BTreeSet::new();
            self.topics.retain(|topic, queues| {
                if queues.remove(&name).is_some() {
                    topics.insert(topic.clone());
                }
                !queues.is_empty()
            });
            self.mappings.retain(|_, brokers| {
                brokers.remove(&name);
                !brokers.is_empty()
            });
            let (cluster, address) = (key.cluster.clone(), key.address.clone());
            self.gone.push_back(Gone { name, cluster, address, why, topics });
            if self.gone.len() > GONE_MAX {
                self.gone.pop_front();
            }
        } else if broker.enable_acting_master && !broker.broker_addrs.contains_key(&MASTER) {
            for queues in self.topics.values_mut().filter_map(|queues| queues.get_mut(&name)) {
                queues.perm &= !PERM_WRITE;
            }
        }
        true
    }

    /// Forgets where a topic is: on all brokers, or on those of one cluster.
    #[doc(alias = "deleteTopic")]
    pub fn forget_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let brokers = &self.brokers;
        let stays = |broker: &String| match cluster {
            Some(cluster) => brokers.get(broker).is_none_or(|broker| broker.cluster != cluster),
            None => false,
        };
        if let Some(queues) = self.topics.get_mut(topic) {
            queues.retain(|broker, _| stays(broker));
        }
        if let Some(mappings) = self.mappings.get_mut(topic) {
            mappings.retain(|broker, _| stays(broker));
        }
        for gone in self.gone.iter_mut().filter(|gone| cluster.is_none_or(|cluster| gone.cluster == cluster)) {
            gone.topics.remove(topic);
        }
        self.topics.retain(|_, queues| !queues.is_empty());
        self.mappings.retain(|_, mappings| !mappings.is_empty());
    }

    /// May topics of a broker be written to, as far as operators say? `None`: it is not here.
    pub fn is_writable(&self, broker: &str) -> Option<bool> {
        self.brokers.contains_key(broker).then(|| !self.wiped.contains(broker))
    }

    /// Takes the permission to write from all topics of a broker, or gives it back: as long as the broker is here, also when it
    /// registers anew. Answers with how many topics it has.
    #[doc(alias = "operateWritePermOfBrokerByLock")]
    pub fn set_writable(&mut self, broker: &str, writable: bool) -> usize {
        let topics = self.topics.values().filter(|queues| queues.contains_key(broker)).count();
        if writable {
            self.wiped.remove(broker);
        } else if topics > 0 {
            self.wiped.insert(broker.to_owned());
        }
        topics
    }

    /// Where a topic is; `None` when no broker that is here has it.
    pub fn route(&self, topic: &str) -> Option<TopicRoute> {
        let queues = self.topics.get(topic)?;
        let broker_datas: Vec<BrokerData> = queues.keys().filter_map(|name| self.brokers.get(name)).cloned().collect();
        (!broker_datas.is_empty()).then(|| TopicRoute {
            broker_datas,
            queue_datas: queues.values().map(|queues| self.seen(queues)).collect(),
            topic_queue_mapping_by_broker: self.mappings.get(topic).cloned(),
            ..TopicRoute::default()
        })
    }

    /// A broker's queues as clients are told them.
    fn seen(&self, queues: &QueueData) -> QueueData {
        let mut seen = queues.clone();
        if self.wiped.contains(&seen.broker_name) {
            seen.perm &= !PERM_WRITE;
        }
        seen
    }

    /// Why there is no route for a topic, and what helps.
    pub fn why_no_route(&self, topic: &str) -> String {
        if let Some(Gone { name, address, why, .. }) = self.gone.iter().rev().find(|gone| gone.topics.contains(topic)) {
            return format!("its broker {name} ({address}) is gone: {why}; start it again");
        }
        if self.brokers.is_empty() {
            return match self.gone.back() {
                Some(Gone { name, address, why, .. }) => {
                    format!("no broker is registered here; {name} ({address}) was, but {why}")
                }
                None => "no broker is registered here; start one, and give it this name server's address with \
                         -n or namesrvAddr"
                    .into(),
            };
        }
        let names: Vec<&str> = self.brokers.keys().map(String::as_str).take(3).collect();
        let more = if self.brokers.len() > names.len() { ", …" } else { "" };
        let brokers = format!("{}{more}", names.join(", "));
        let is_users = |topic: &str| !topic.starts_with(RETRY_PREFIX) && !topic.starts_with(DLQ_PREFIX);
        let looked_for = is_users(topic) && self.topics.len() <= ALIKE_MAX;
        let users = self.topics.keys().map(String::as_str).filter(|known| is_users(known));
        let meant = match looked_for.then(|| nearest(topic, users)).flatten() {
            Some(known) => format!("; did you mean {known}?"),
            None => String::new(),
        };
        let creates = match self.topics.contains_key(DEFAULT_TOPIC) {
            true => "the first message sent to it creates it",
            false => "create it, or set autoCreateTopicEnable=true",
        };
        format!("no broker here ({brokers}) has it; {creates}{meant}")
    }

    /// All brokers and clusters.
    pub fn cluster_info(&self) -> ClusterInfo {
        let mut clusters: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, broker) in &self.brokers {
            clusters.entry(broker.cluster.clone()).or_default().insert(name.clone());
        }
        ClusterInfo { broker_addr_table: self.brokers.clone(), cluster_addr_table: clusters }
    }

    /// Does a broker belong to this cluster?
    pub fn has_cluster(&self, cluster: &str) -> bool {
        self.brokers.values().any(|broker| broker.cluster == cluster)
    }

    /// The topics of which a broker of this cluster has queues.
    #[doc(alias = "getTopicsByCluster")]
    pub fn topics_of_cluster(&self, cluster: &str) -> Vec<String> {
        let here = |broker: &String| self.brokers.get(broker).is_some_and(|broker| broker.cluster == cluster);
        let topics = self.topics.iter().filter(|(_, queues)| queues.keys().any(here));
        topics.map(|(topic, _)| topic.clone()).collect()
    }

    /// The topics whose bits of unit mode are as wanted.
    pub fn topics_with(&self, wanted: impl Fn(i32) -> bool) -> Vec<String> {
        let topics = self.topics.iter().filter(|(_, queues)| queues.values().any(|it| wanted(it.topic_sys_flag)));
        topics.map(|(topic, _)| topic.clone()).collect()
    }

    /// All topics.
    pub fn topic_names(&self) -> Vec<String> {
        self.topics.keys().cloned().collect()
    }
}

fn queue_data(broker: &str, topic: &TopicConfig, writable: bool) -> QueueData {
    QueueData {
        broker_name: broker.to_owned(),
        perm: if writable { topic.perm } else { topic.perm & !PERM_WRITE },
        read_queue_nums: topic.read_queue_nums,
        topic_sys_flag: topic.topic_sys_flag,
        write_queue_nums: topic.write_queue_nums,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn broker(name: &str, id: i64, address: &str, topics: &[&str]) -> Registration {
        let topics = topics.iter().map(|topic| (topic.to_string(), TopicConfig::new(*topic, 4, 6)));
        Registration {
            key: BrokerKey { cluster: "C".into(), address: address.into() },
            name: name.into(),
            id,
            ha_server_addr: Some(format!("{address}1")),
            zone_name: None,
            expiry: None,
            enable_acting_master: Some(false),
            topics: RegisteredTopics { topic_config_table: topics.collect(), ..RegisteredTopics::default() },
            peer: format!("10.9.9.9:{}", address.len() + id as usize).parse().unwrap(),
        }
    }

    /// The addresses of a topic's brokers, `name id@address`.
    fn addresses(routes: &Routes, topic: &str) -> Vec<String> {
        let brokers = routes.route(topic).map(|route| route.broker_datas).unwrap_or_default();
        let all = |b: BrokerData| b.broker_addrs.into_iter().map(move |(id, a)| format!("{} {id}@{a}", b.broker_name));
        brokers.into_iter().flat_map(all).collect()
    }

    #[test]
    fn a_topic_is_forgotten_in_one_cluster_or_everywhere() {
        let mut routes = Routes::default();
        routes.register(broker("a", 0, "1:1", &["T", "U"]), Instant::now()).unwrap();
        let mut other = broker("b", 0, "2:1", &["T", "U"]);
        other.key.cluster = "D".into();
        routes.register(other, Instant::now()).unwrap();
        routes.forget_topic("T", Some("C"));
        let brokers: Vec<_> = routes.route("T").unwrap().queue_datas.into_iter().map(|it| it.broker_name).collect();
        assert_eq!(brokers, ["b"]);
        routes.forget_topic("T", None);
        assert_eq!((routes.route("T"), routes.topic_names()), (None, vec!["U".into()]));
    }

    #[test]
    fn an_operator_takes_the_permission_to_write_from_a_broker_and_gives_it_back() {
        let (mut routes, now) = (Routes::default(), Instant::now());
        routes.register(broker("a", 0, "1:1", &["T", "U"]), now).unwrap();
        routes.register(broker("b", 0, "2:1", &["T", "U"]), now).unwrap();
        let perms =
            |routes: &Routes| routes.route("T").unwrap().queue_datas.iter().map(|it| it.perm).collect::<Vec<_>>();
        assert_eq!((routes.set_writable("a", false), perms(&routes)), (2, vec![4, 6]));
        routes.register(broker("a", 0, "1:1", &["T", "U"]), now).unwrap();
        assert_eq!(perms(&routes), [4, 6], "the broker registers anew");
        assert_eq!((routes.set_writable("a", true), perms(&routes)), (2, vec![6, 6]));
        assert_eq!(routes.set_writable("c", false), 0);
    }

    #[test]
    fn a_topic_is_where_its_brokers_are() {
        let (mut routes, now) = (Routes::default(), Instant::now());
        assert!(routes.register(broker("a", 0, "h1", &["t", "u"]), now).unwrap().is_new);
        routes.register(broker("b", 0, "h2", &["t", "v"]), now).unwrap();
        assert_eq!(addresses(&routes, "t"), ["a 0@h1", "b 0@h2"]);
        assert_eq!(addresses(&routes, "u"), ["a 0@h1"]);
        assert_eq!(routes.topic_names(), ["t", "u", "v"]);
        assert_eq!(routes.cluster_info().cluster_addr_table["C"], BTreeSet::from(["a".into(), "b".into()]));
        assert!(routes.unregister(&broker("a", 0, "h1", &[]).key));
        assert_eq!(addresses(&routes, "t"), ["b 0@h2"]);
        assert_eq!(routes.route("u"), None);
        assert!(!routes.unregister(&broker("a", 0, "h1", &[]).key));
    }

    #[test]
    fn a_silent_broker_is_forgotten_after_its_own_time_out_and_a_question_keeps_it() {
        let (mut routes, start) = (Routes::default(), Instant::now());
        routes.register(broker("a", 0, "h1", &["t", "u"]), start).unwrap();
        let short = Registration { expiry: Some(MINUTE), ..broker("b", 0, "h2", &["t", "u"]) };
        routes.register(short.clone(), start).unwrap();
        assert_eq!(routes.expire(start + MINUTE), []);
        assert_eq!(routes.expire(start + MINUTE * 3 / 2), [short.key]);
        assert!(routes.data_version(&broker("a", 0, "h1", &[]).key, start + 2 * MINUTE).is_some());
        assert_eq!(routes.expire(start + 4 * MINUTE), []);
        assert_eq!(routes.expire(start + 5 * MINUTE).len(), 1);
        assert_eq!(routes.route("t"), None);
    }

    #[test]
    fn a_broker_goes_with_its_connection_unless_it_has_registered_over_another_since() {
        let (mut routes, now) = (Routes::default(), Instant::now());
        let first = broker("a", 0, "h1", &["t", "u"]);
        let second = Registration { peer: "10.9.9.9:7777".parse().unwrap(), ..first.clone() };
        routes.register(first.clone(), now).unwrap();
        routes.register(second.clone(), now).unwrap();
        assert_eq!(routes.disconnected(first.peer), []);
        assert_eq!(addresses(&routes, "t"), ["a 0@h1"]);
        assert_eq!(routes.disconnected(second.peer), [first.key]);
        assert_eq!(addresses(&routes, "t"), [""; 0]);
    }

    #[test]
    fn an_unknown_broker_can_not_begin_with_a_single_topic() {
        let (mut routes, now) = (Routes::default(), Instant::now());
        assert_eq!(routes.register(broker("a", 0, "h1", &["t"]), now), Err(NotRegisteredYet));
        assert_eq!(routes.cluster_info(), ClusterInfo::default());
        routes.register(broker("a", 0, "h1", &["t", "u"]), now).unwrap();
        routes.register(broker("a", 0, "h1", &["v"]), now).unwrap();
        assert_eq!(routes.topic_names(), ["t", "u", "v"], "what a living broker does not name stays");
    }

    #[test]
    fn a_slave_is_told_its_master_and_brings_no_topics() {
        let (mut routes, now) = (Routes::default(), Instant::now());
        let alone = routes.register(broker("a", 1, "h2", &["x", "y"]), now).unwrap();
        assert_eq!(alone.master_addr, None);
        routes.register(broker("a", 0, "h1", &["t", "u"]), now).unwrap();
        let told = routes.register(broker("a", 1, "h2", &["y", "z"]), now).unwrap();
        assert_eq!((told.master_addr.as_deref(), told.ha_server_addr.as_deref()), (Some("h1"), Some("h11")));
        assert_eq!(addresses(&routes, "t"), ["a 0@h1", "a 1@h2"]);
        assert_eq!(routes.route("z"), None);
        routes.unregister(&broker("a", 0, "h1", &[]).key);
        assert_eq!(addresses(&routes, "t"), ["a 1@h2"], "the slave can still be read from");
    }

    #[test]
    fn a_slave_that_becomes_master_is_known_once() {
        let (mut routes, now) = (Routes::default(), Instant::now());
        routes.register(broker("a", 0, "h1", &["t", "u"]), now).unwrap();
        routes.register(broker("a", 1, "h2", &["t", "u"]), now).unwrap();
        routes.unregister(&broker("a", 0, "h1", &[]).key);
        routes.register(broker("a", 0, "h2", &["t", "u"]), now).unwrap();
        assert_eq!(addresses(&routes, "t"), ["a 0@h2"]);
    }

    #[test]
    fn a_master_of_the_past_does_not_push_its_successor_out() {
        let (mut routes, now) = (Routes::default(), Instant::now());
        let mut successor = broker("a", 0, "h2", &["t", "u"]);
        successor.topics.data_version.state_version = 2;
        routes.register(successor, now).unwrap();
        routes.register(broker("a", 0, "h1", &["t", "u"]), now).unwrap();
        assert_eq!(addresses(&routes, "t"), ["a 0@h2"]);
    }

    #[test]
    fn a_slave_that_acts_as_master_can_only_be_read_from() {
        let (mut routes, now) = (Routes::default(), Instant::now());
        let acting =
            |id, address| Registration { enable_acting_master: Some(true), ..broker("a", id, address, &["t", "u"]) };
        routes.register(acting(0, "h1"), now).unwrap();
        routes.register(acting(1, "h2"), now).unwrap();
        assert_eq!(routes.route("t").unwrap().queue_datas[0].perm, 6);
        routes.unregister(&acting(0, "h1").key);
        assert_eq!(routes.route("t").unwrap().queue_datas[0].perm, 4);
        routes.register(acting(1, "h2"), now).unwrap();
        assert_eq!(routes.route("t").unwrap().queue_datas[0].perm, 4);
    }

    #[test]
    fn each_cause_of_a_missing_route_has_its_sentence() {
        let (mut routes, now) = (Routes::default(), Instant::now());
        let check = |routes: &Routes, topic: &str, expected: &str| {
            let said = routes.why_no_route(topic);
            assert!(said.contains(expected), "{said}");
        };
        check(&routes, "orders", "no broker is registered here; start one");
        routes.register(broker("a", 0, "h1", &["orders", "paid"]), now).unwrap();
        check(&routes, "ordres", "no broker here (a) has it; create it, or set autoCreateTopicEnable=true");
        check(&routes, "ordres", "did you mean orders?");
        routes.register(broker("a", 0, "h1", &[DEFAULT_TOPIC]), now).unwrap();
        check(&routes, "new", "the first message sent to it creates it");
        routes.unregister(&broker("a", 0, "h1", &[]).key);
        check(&routes, "orders", "its broker a (h1) is gone: it was stopped; start it again");
        check(&routes, "new", "no broker is registered here; a (h1) was, but it was stopped");
        routes.register(broker("b", 0, "h2", &["x", "y"]), now).unwrap();
        check(&routes, "orders", "its broker a (h1) is gone");
        routes.forget_topic("orders", Some("another cluster"));
        check(&routes, "orders", "its broker a (h1) is gone");
        routes.forget_topic("orders", Some("C"));
        check(&routes, "orders", "no broker here (b) has it");
        check(&routes, "z", "did you mean x?");
        let many: Vec<String> = (0..ALIKE_MAX).map(|n| format!("many-{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        routes.register(broker("b", 0, "h2", &many), now).unwrap();
        check(&routes, "z", "no broker here (b) has it");
        assert!(!routes.why_no_route("z").contains("did you mean"), "not compared with so many");
    }

    #[test]
    fn the_newest_brokers_that_are_gone_are_remembered() {
        let (mut routes, now) = (Routes::default(), Instant::now());
        for n in 0..=GONE_MAX {
            let name = format!("b{n}");
            routes.register(broker(&name, 0, &format!("h{n}"), &[&format!("t{n}"), "t"]), now).unwrap();
            routes.unregister(&broker(&name, 0, &format!("h{n}"), &[]).key);
        }
        assert_eq!(routes.gone.len(), GONE_MAX);
        assert!(routes.why_no_route("t1").contains("its broker b1 (h1) is gone"));
        assert!(routes.why_no_route("t0").contains("b64 (h64) was"), "the oldest is forgotten");
    }
}
