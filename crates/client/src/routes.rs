//! Where topics are: which brokers hold which queues, as the name servers say.
//!
//! A route is asked for when it is needed and older than 30 s, or when a broker did not answer as it should.

use crate::error::Error;
use crate::message::MessageQueue;
use crate::{REQUEST_TIMEOUT, now_millis};
use bytes::Bytes;
use parking_lot::Mutex;
use protocol::code::response;
use protocol::request::Request;
use protocol::request::route::GetRoute;
use protocol::topic::{DEFAULT_TOPIC, PERM_READ, PERM_WRITE, QUEUES_MAX};
use remoting::client::RequestError;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A route is believed for so long (`pollNameServerInterval`).
const ROUTE_LIFE: Duration = Duration::from_secs(30);

/// The route that a topic will probably have once a message creates it is believed for so long.
const GUESS_LIFE: Duration = Duration::from_secs(1);

/// How many queues we would like a topic to have that our message creates (`defaultTopicQueueNums`).
pub(crate) const NEW_TOPIC_QUEUES: i32 = 4;

/// Where the queues of one topic are.
#[doc(alias = "TopicRouteData")]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// Addresses by broker name and broker id; id 0 is the master.
    pub brokers: BTreeMap<String, BTreeMap<i64, String>>,
    /// Queues to send to, sorted.
    pub write_queues: Vec<MessageQueue>,
    /// Queues to receive from, sorted.
    pub read_queues: Vec<MessageQueue>,
}

impl Route {
    /// The master of the brokers of this name.
    pub fn master(&self, broker_name: &str) -> Option<&str> {
        Some(self.brokers.get(broker_name)?.get(&0)?)
    }

    /// The broker of this name and id, or the first other one of this name.
    pub fn broker(&self, broker_name: &str, broker_id: i64) -> Option<&str> {
        let brokers = self.brokers.get(broker_name)?;
        brokers.get(&broker_id).or_else(|| brokers.values().next()).map(String::as_str)
    }

    /// All addresses, masters and slaves.
    pub fn addresses(&self) -> BTreeSet<&str> {
        self.brokers.values().flat_map(BTreeMap::values).map(String::as_str).collect()
    }
}

/// The routes of all topics that were asked for.
#[doc(alias = "topicRouteTable")]
pub struct Routes {
    remoting: remoting::Client,
    name_servers: Vec<String>,
    /// The one that answered last.
    preferred: AtomicUsize,
    known: Mutex<HashMap<String, Known>>,
}

struct Known {
    route: Arc<Route>,
    stale_at: Instant,
    /// Nobody knows the topic; this is where it will be once a message creates it.
    guess: bool,
}

impl Routes {
    /// Asks these name servers, `host:port`, several of them separated by `;`. Nothing is sent yet.
    pub fn new(remoting: remoting::Client, namesrv: &str) -> Routes {
        let name_servers = namesrv.split([';', ',']).map(str::trim).filter(|address| !address.is_empty());
        Routes {
            remoting,
            name_servers: name_servers.map(str::to_owned).collect(),
            preferred: AtomicUsize::new(now_millis() as usize),
            known: Mutex::default(),
        }
    }

    /// Fails when no name server answers.
    pub(crate) async fn find_name_server(&self) -> Result<(), Error> {
        self.ask(DEFAULT_TOPIC).await.map(drop)
    }

    /// Where to receive from `topic`; `None` when no name server knows it.
    pub async fn of(&self, topic: &str) -> Result<Option<Arc<Route>>, Error> {
        if let Some((route, false)) = self.fresh(topic) {
            return Ok(Some(route));
        }
        self.refresh(topic).await
    }

    /// Where to send to `topic`: an unknown one will be where the default topic is.
    pub async fn to_send(&self, topic: &str) -> Result<Arc<Route>, Error> {
        if let Some((route, _)) = self.fresh(topic) {
            return Ok(route);
        }
        if let Some(route) = self.refresh(topic).await? {
            return Ok(route);
        }
        let template = self.ask(DEFAULT_TOPIC).await?.unwrap_or_default();
        let route = Arc::new(template.route(topic, NEW_TOPIC_QUEUES));
        if route.write_queues.is_empty() {
            return Err(Error::NoRoute { topic: topic.into(), namesrv: self.name_servers.join(";") });
        }
        self.keep(topic, &route, GUESS_LIFE, true);
        Ok(route)
    }

    /// Asks again the next time: something was not where the route says.
    pub fn doubt(&self, topic: &str) {
        if let Some(known) = self.known.lock().get_mut(topic) {
            known.stale_at = Instant::now();
        }
    }

    /// A route that is still believed, and whether it is a guess. Of those who find it stale at the same time one
    /// goes and asks; the others take it as it is.
    fn fresh(&self, topic: &str) -> Option<(Arc<Route>, bool)> {
        let mut known = self.known.lock();
        let known = known.get_mut(topic)?;
        let now = Instant::now();
        if known.stale_at <= now {
            known.stale_at = now + REQUEST_TIMEOUT;
            return None;
        }
        Some((known.route.clone(), known.guess))
    }

    async fn refresh(&self, topic: &str) -> Result<Option<Arc<Route>>, Error> {
        match self.ask(topic).await {
            Ok(Some(answer)) => {
                let route = Arc::new(answer.route(topic, QUEUES_MAX));
                self.keep(topic, &route, ROUTE_LIFE, false);
                Ok(Some(route))
            }
            Ok(None) => {
                self.known.lock().remove(topic);
                Ok(None)
            }
            // Brokers go on without name servers.
            Err(error) => match self.known.lock().get(topic) {
                Some(known) if !known.guess => {
                    tracing::warn!(%topic, %error, "no new route; the old one serves on");
                    Ok(Some(known.route.clone()))
                }
                _ => Err(error),
            },
        }
    }

    fn keep(&self, topic: &str, route: &Arc<Route>, life: Duration, guess: bool) {
        let known = Known { route: route.clone(), stale_at: Instant::now() + life, guess };
        self.known.lock().insert(topic.into(), known);
    }

    async fn ask(&self, topic: &str) -> Result<Option<RouteBody>, Error> {
        let request = GetRoute { topic: topic.into(), accept_standard_json_only: Some(true), ..GetRoute::default() };
        match self.ask_name_server(&request, Bytes::new()).await {
            Ok((address, _, body)) => {
                let unreadable =
                    |reason: protocol::json::BadJson| Error::Answer { address, reason: reason.to_string() };
                protocol::json::read(&body).map(Some).map_err(unreadable)
            }
            Err(error) if error.code() == Some(response::TOPIC_NOT_EXIST) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks one name server after the other, beginning with the one that answered last, until one answers with success:
    /// its address, and its answer. [`Error::NoNameServer`] says what the last one did; a topic that is not there is not
    /// asked for elsewhere.
    pub async fn ask_name_server<R: Request>(
        &self,
        request: &R,
        body: Bytes,
    ) -> Result<(String, R::Reply, Bytes), Error> {
        let count = self.name_servers.len();
        let first = self.preferred.load(Ordering::Relaxed);
        let mut failed = None;
        for n in (0..count).map(|n| (first.wrapping_add(n)) % count) {
            let address = &self.name_servers[n];
            let answer = self.remoting.ask_with_body(address, request, body.clone(), REQUEST_TIMEOUT).await;
            let not_there = matches!(answer, Err(RequestError::Refused { code: response::TOPIC_NOT_EXIST, .. }));
            if answer.is_ok() || not_there {
                self.preferred.store(n, Ordering::Relaxed);
            }
            match answer {
                Ok((reply, body)) => return Ok((address.clone(), reply, body)),
                Err(error) if not_there => return Err(error.into()),
                Err(error) => failed = Some(error),
            }
        }
        let namesrv = self.name_servers.join(";");
        Err(match failed {
            Some(source) => Error::NoNameServer { namesrv, source },
            None => Error::Settings("no name server is given; `host:port` is needed".into()),
        })
    }

    /// All name servers that were named, for what each of them must be told.
    pub fn name_servers(&self) -> &[String] {
        &self.name_servers
    }
}

/// What a name server answers.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RouteBody {
    broker_datas: Vec<BrokerData>,
    queue_datas: Vec<QueueData>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BrokerData {
    broker_addrs: BTreeMap<i64, String>,
    broker_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct QueueData {
    broker_name: String,
    perm: i32,
    read_queue_nums: i32,
    write_queue_nums: i32,
}

impl RouteBody {
    /// The route of `topic`, with at most so many queues on each broker. Only masters are sent to.
    fn route(self, topic: &str, queues_max: i32) -> Route {
        let mut route = Route::default();
        for broker in self.broker_datas {
            route.brokers.insert(broker.broker_name, broker.broker_addrs);
        }
        for data in self.queue_datas {
            let queues = |count: i32| {
                (0..count.min(queues_max)).map(|queue_id| MessageQueue {
                    topic: topic.to_owned(),
                    broker_name: data.broker_name.clone(),
                    queue_id,
                })
            };
            if data.perm & PERM_WRITE != 0 && route.master(&data.broker_name).is_some() {
                route.write_queues.extend(queues(data.write_queue_nums));
            }
            if data.perm & PERM_READ != 0 && route.brokers.contains_key(&data.broker_name) {
                route.read_queues.extend(queues(data.read_queue_nums));
            }
        }
        route.write_queues.sort();
        route.read_queues.sort();
        route
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"brokerDatas":[
        {"brokerAddrs":{0:"10.0.0.1:10911",1:"10.0.0.2:10911"},"brokerName":"a","cluster":"c"},
        {"brokerAddrs":{"1":"10.0.0.3:10911"},"brokerName":"b","cluster":"c"}],"filterServerTable":{},
        "queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":1,"writeQueueNums":1,"topicSysFlag":0},
        {"brokerName":"a","perm":6,"readQueueNums":2,"writeQueueNums":1},{"brokerName":"gone","perm":6,"readQueueNums":8}]}"#;

    fn route(queues_max: i32) -> Route {
        protocol::json::read::<RouteBody>(BODY).unwrap().route("t", queues_max)
    }

    #[test]
    fn only_masters_are_sent_to_and_all_are_received_from() {
        let route = route(8);
        let names = |queues: &[MessageQueue]| queues.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&route.write_queues), ["t@a#0"]);
        assert_eq!(names(&route.read_queues), ["t@a#0", "t@a#1", "t@b#0"]);
        assert_eq!(route.addresses().len(), 3);
    }

    #[test]
    fn a_missing_broker_id_falls_back_to_another_of_the_name() {
        let route = route(8);
        assert_eq!(route.broker("a", 1), Some("10.0.0.2:10911"));
        assert_eq!((route.broker("b", 0), route.master("b")), (Some("10.0.0.3:10911"), None));
        assert_eq!(route.broker("x", 0), None);
    }

    #[test]
    fn no_route_makes_more_queues_than_asked_for() {
        assert_eq!(route(1).read_queues.len(), 2);
        let absurd = br#"{"brokerDatas":[{"brokerAddrs":{"0":"x"},"brokerName":"a"}],
            "queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":2147483647,"writeQueueNums":-1}]}"#;
        let route = protocol::json::read::<RouteBody>(absurd).unwrap().route("t", QUEUES_MAX);
        assert_eq!((route.read_queues.len(), route.write_queues.len()), (QUEUES_MAX as usize, 0));
    }
}
