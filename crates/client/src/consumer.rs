//! Receiving: the members of a group share the queues of its topics; each pulls from its own.
//!
//! 1. tell every broker of the topics that we are there                           (`Driver::heartbeat`, every 30 s)
//! 2. work out which queues are ours, take new ones, give up others               (`Driver::rebalance`, every 20 s, or
//!    at once when a broker says that the members changed)
//! 3. pull from each of them; a pull waits at the broker until something arrives  (`pull`, one task per queue)
//! 4. hand messages out, note which are done                                      (`Consumer::next`, `Delivery::ack`)
//! 5. tell the brokers how far we are                                             (`Driver::commit`, every 5 s)
//!
//! A consumer has connections of its own, so that several in one process can be members of the same group.

use crate::error::Error;
use crate::message::{Delivery, MessageQueue, ReceivedMessage};
use crate::process_queue::ProcessQueue;
use crate::routes::Route;
use crate::{REQUEST_TIMEOUT, Shared, now_millis, offsets, rebalance};
use bytes::Bytes;
use futures_util::future::join_all;
use protocol::code::{request, response};
use protocol::heartbeat::{ConsumeFromWhere, ConsumerData, ConsumerList, HeartbeatData};
use protocol::message::{QueueOffset, property};
use protocol::record::Record;
use protocol::request::client::{GetConsumerList, Heartbeat, UnregisterClient};
use protocol::request::pull::PullMessage;
use protocol::subscription::{ALL, SubscriptionData};
use protocol::topic::{RETRY_PREFIX, retry_topic};
use remoting::client::RequestError;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

const HEARTBEAT_EVERY: Duration = Duration::from_secs(30);
const COMMIT_EVERY: Duration = Duration::from_secs(5);
const REBALANCE_EVERY: Duration = Duration::from_secs(20);
/// While a topic is unknown, or a broker does not answer.
const REBALANCE_AGAIN: Duration = Duration::from_secs(1);

/// How long a broker may hold a pull that finds nothing (`brokerSuspendMaxTimeMillis`).
const SUSPEND: Duration = Duration::from_secs(15);
/// Until a pull counts as lost (`consumerTimeoutMillisWhenSuspend`).
const PULL_TIMEOUT: Duration = Duration::from_secs(30);
const PULL_MESSAGES_MAX: i32 = 32;
const PULL_BYTES_MAX: i32 = 256 * 1024;
/// After a refusal (`pullTimeDelayMillsWhenException`), and after one that only means "not now".
const PULL_AGAIN: Duration = Duration::from_secs(3);
const PULL_AGAIN_SOON: Duration = Duration::from_millis(200);

/// Messages that are pulled and not yet dropped hold no more than this, all queues together.
const ROOM_KIB: usize = 64 * 1024;
/// Messages that are pulled and not yet handed out.
const WAITING_MAX: usize = 1024;

/// Who gets a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MessageModel {
    /// One member of the group. The group's place in each queue is kept by the brokers.
    #[default]
    Clustering,
    /// Everyone. Brokers keep nothing: neither who we are nor where we stand.
    Broadcasting,
}

/// Where a group begins that has never been there. Queues that appear while the consumer runs are read from their
/// first message on, whatever is said here: what is in them is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[doc(alias = "ConsumeFromWhere")]
pub enum StartFrom {
    /// With all that is still stored.
    First,
    /// With what is sent from now on.
    #[default]
    Last,
}

/// A consumer to be.
#[must_use = "nothing is received before `start`"]
pub struct ConsumerBuilder {
    shared: Arc<Shared>,
    group: String,
    subscriptions: Vec<(String, String)>,
    from: StartFrom,
    model: MessageModel,
}

impl ConsumerBuilder {
    pub(crate) fn new(shared: Arc<Shared>, group: String) -> ConsumerBuilder {
        let (from, model) = (StartFrom::default(), MessageModel::default());
        ConsumerBuilder { shared, group, subscriptions: Vec::new(), from, model }
    }

    /// Receives from `topic` what has one of these tags: `*` for all, or `paid || refunded`. All members of a group
    /// must want the same.
    pub fn subscribe(mut self, topic: impl Into<String>, tags: impl Into<String>) -> ConsumerBuilder {
        self.subscriptions.push((topic.into(), tags.into()));
        self
    }

    /// Where to begin; [`StartFrom::Last`] unless said otherwise.
    pub fn start_from(self, from: StartFrom) -> ConsumerBuilder {
        ConsumerBuilder { from, ..self }
    }

    /// Who gets a message; [`MessageModel::Clustering`] unless said otherwise.
    pub fn message_model(self, model: MessageModel) -> ConsumerBuilder {
        ConsumerBuilder { model, ..self }
    }

    /// Joins the group. A topic that nobody knows yet is waited for.
    pub async fn start(self) -> Result<Consumer, Error> {
        if self.subscriptions.is_empty() {
            return Err(Error::Settings(format!("consumer of group `{}` subscribes to no topic", self.group)));
        }
        let mut wanted = self.subscriptions.clone();
        if self.model == MessageModel::Clustering {
            wanted.push((retry_topic(&self.group), ALL.into()));
        }
        let mut subscriptions = Vec::new();
        for (topic, tags) in &wanted {
            let subscription = SubscriptionData::tags(topic, tags).map_err(|bad| Error::Settings(bad.to_string()))?;
            subscriptions.push(SubscriptionData { sub_version: now_millis(), ..subscription });
        }
        let mut there_at_start = HashSet::new();
        for (topic, _) in &self.subscriptions {
            if let Some(route) = self.shared.routes.of(topic).await? {
                there_at_start.extend(route.read_queues.iter().cloned());
            }
        }
        let changed = Arc::new(Notify::new());
        let notify = changed.clone();
        let remoting = remoting::Client::new(move |_, command| {
            if command.code == request::NOTIFY_CONSUMER_IDS_CHANGED {
                notify.notify_one();
            }
        })
        .with_tls(self.shared.remoting.tls())
        .signing(self.shared.remoting.credentials().cloned());
        let (outbox, deliveries) = mpsc::channel(WAITING_MAX);
        let member = Arc::new(Member {
            client_id: client_id(&self.shared),
            shared: self.shared,
            remoting,
            group: self.group,
            from: self.from,
            model: self.model,
            subscriptions,
            outbox,
            room: Arc::new(Semaphore::new(ROOM_KIB)),
            changed,
        });
        let (stop, stopped) = oneshot::channel();
        let driver = Driver { member, queues: HashMap::new(), there_at_start, greeted: BTreeSet::new() };
        Ok(Consumer { deliveries, stop: Some(stop), driver: tokio::spawn(driver.run(stopped)) })
    }
}

/// `ip@process#time`, as Java writes it.
fn client_id(shared: &Shared) -> String {
    static CONSUMERS: AtomicU32 = AtomicU32::new(0);
    let number = CONSUMERS.fetch_add(1, Ordering::Relaxed);
    format!("{}@{}#{}{number:04}", shared.ip, std::process::id(), now_millis())
}

/// A member of a group that receives messages.
///
/// Dropped without [`Consumer::shutdown`] it leaves the group as well, in the background.
#[doc(alias = "DefaultMQPushConsumer")]
#[derive(Debug)]
pub struct Consumer {
    deliveries: mpsc::Receiver<Delivery>,
    stop: Option<oneshot::Sender<()>>,
    driver: JoinHandle<()>,
}

impl Consumer {
    /// The next message, in the order of its queue. Loses nothing when it is cancelled.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            let delivery = self.deliveries.recv().await?;
            if !delivery.process_queue.is_revoked() {
                return Some(delivery);
            }
        }
    }

    /// Leaves the group; the brokers know how far it came when this returns, and other members take over at once.
    pub async fn shutdown(mut self) {
        self.stop.take();
        if let Err(error) = (&mut self.driver).await {
            tracing::error!(%error, "the consumer did not end as it should");
        }
    }
}

/// What all tasks of a consumer know.
struct Member {
    shared: Arc<Shared>,
    remoting: remoting::Client,
    group: String,
    client_id: String,
    from: StartFrom,
    model: MessageModel,
    subscriptions: Vec<SubscriptionData>,
    outbox: mpsc::Sender<Delivery>,
    /// In KiB.
    room: Arc<Semaphore>,
    /// Rebalance at once.
    changed: Arc<Notify>,
}

/// The one task that changes which queues are ours.
struct Driver {
    member: Arc<Member>,
    queues: HashMap<MessageQueue, Assigned>,
    /// Queues that were there before us: [`StartFrom`] holds for them.
    there_at_start: HashSet<MessageQueue>,
    /// Brokers that have our heartbeat.
    greeted: BTreeSet<String>,
}

struct Assigned {
    process_queue: Arc<ProcessQueue>,
    pulling: JoinHandle<()>,
    committed: Option<QueueOffset>,
}

impl Driver {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let every = |period| {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let (mut heartbeats, mut commits) = (every(HEARTBEAT_EVERY), every(COMMIT_EVERY));
        let mut rebalance_at = Instant::now();
        let changed = self.member.changed.clone();
        loop {
            // What is under way is broken off by the end only.
            let step = async {
                tokio::select! {
                    _ = heartbeats.tick() => self.heartbeat().await,
                    _ = commits.tick() => self.commit().await,
                    _ = async { tokio::select! { _ = changed.notified() => {} _ = sleep_until(rebalance_at) => {} } } => {
                        let balanced = self.rebalance().await;
                        rebalance_at = Instant::now() + if balanced { REBALANCE_EVERY } else { REBALANCE_AGAIN };
                    }
                }
            };
            tokio::select! {
                biased;
                _ = &mut stopped => break,
                _ = step => {}
            }
        }
        self.leave().await;
    }

    /// The routes of all our topics, as far as there are any.
    async fn routes(&self) -> Vec<(SubscriptionData, Arc<Route>)> {
        let mut routes = Vec::new();
        for subscription in &self.member.subscriptions {
            match self.member.shared.routes.of(&subscription.topic).await {
                Ok(Some(route)) => routes.push((subscription.clone(), route)),
                Ok(None) => tracing::debug!(topic = subscription.topic, "no route yet"),
                Err(error) => tracing::warn!(topic = subscription.topic, %error, "no route"),
            }
        }
        routes
    }

    async fn heartbeat(&mut self) {
        let routes = self.routes().await;
        let addresses = routes.iter().flat_map(|(_, route)| route.addresses()).map(str::to_owned).collect();
        self.greet(addresses).await;
    }

    async fn greet(&mut self, addresses: BTreeSet<String>) {
        let member = &*self.member;
        if member.model == MessageModel::Broadcasting {
            return;
        }
        let consumer = ConsumerData {
            group_name: member.group.clone(),
            consume_from_where: match member.from {
                StartFrom::First => ConsumeFromWhere::FirstOffset,
                StartFrom::Last => ConsumeFromWhere::LastOffset,
            },
            subscription_data_set: member.subscriptions.clone(),
            ..ConsumerData::default()
        };
        let body = HeartbeatData {
            client_id: member.client_id.clone(),
            consumer_data_set: vec![consumer],
            ..HeartbeatData::default()
        };
        let body = Bytes::from(protocol::json::write(&body));
        let beats = addresses.into_iter().map(|address| {
            let body = body.clone();
            async move {
                match member.remoting.ask_with_body(&address, &Heartbeat {}, body, REQUEST_TIMEOUT).await {
                    Ok(_) => Some(address),
                    Err(error) => {
                        tracing::warn!(%address, %error, "heartbeat failed");
                        None
                    }
                }
            }
        });
        self.greeted = join_all(beats).await.into_iter().flatten().collect();
    }

    /// False when something is missing that may be there in a moment.
    async fn rebalance(&mut self) -> bool {
        let routes = self.routes().await;
        let addresses: BTreeSet<String> =
            routes.iter().flat_map(|(_, route)| route.addresses()).map(str::to_owned).collect();
        if !addresses.is_subset(&self.greeted) {
            self.greet(addresses).await;
        }
        let found = routes.iter().filter(|(subscription, _)| !subscription.topic.starts_with(RETRY_PREFIX)).count();
        let wanted = self.member.subscriptions.iter().filter(|wanted| !wanted.topic.starts_with(RETRY_PREFIX)).count();
        let mut balanced = found == wanted;
        for (subscription, route) in routes {
            let ours = match self.member.model {
                MessageModel::Broadcasting => route.read_queues.clone(),
                MessageModel::Clustering => match self.members(&route).await {
                    Some(members) => rebalance::average(&self.member.client_id, &members, &route.read_queues),
                    None => {
                        balanced = false;
                        continue;
                    }
                },
            };
            balanced &= self.assign(&subscription, &route, ours).await;
        }
        balanced
    }

    /// The group's members, of the first broker that answers with a list in which we are.
    async fn members(&mut self, route: &Route) -> Option<Vec<String>> {
        let member = self.member.clone();
        let request = GetConsumerList { consumer_group: member.group.clone() };
        let mut seen = None;
        for address in route.addresses() {
            match member.remoting.ask_with_body(address, &request, Bytes::new(), REQUEST_TIMEOUT).await {
                Ok((_, body)) => match protocol::json::read::<ConsumerList>(&body) {
                    Ok(list) if list.consumer_id_list.contains(&member.client_id) => {
                        return Some(list.consumer_id_list);
                    }
                    Ok(list) => {
                        // It has forgotten us; greet it again before the next round.
                        self.greeted.remove(address);
                        seen = Some(list.consumer_id_list);
                    }
                    Err(error) => tracing::warn!(%address, %error, "unreadable list of members"),
                },
                Err(error) => {
                    self.greeted.remove(address);
                    tracing::debug!(%address, %error, "no list of members");
                }
            }
        }
        seen
    }

    /// Takes what is new among `ours`, gives up what is no longer.
    async fn assign(&mut self, subscription: &SubscriptionData, route: &Arc<Route>, ours: Vec<MessageQueue>) -> bool {
        let lost: Vec<MessageQueue> = self
            .queues
            .keys()
            .filter(|queue| queue.topic == subscription.topic && !ours.contains(queue))
            .cloned()
            .collect();
        for queue in lost {
            if let Some(assigned) = self.queues.remove(&queue) {
                assigned.pulling.abort();
                assigned.process_queue.revoke();
                tracing::debug!(%queue, group = self.member.group, "queue given up");
                self.commit_one(route, &queue, &assigned).await;
            }
        }
        let mut all = true;
        for queue in ours {
            // A task that ended did so by a panic; the queue is taken anew.
            if self.queues.get(&queue).is_some_and(|assigned| !assigned.pulling.is_finished()) {
                continue;
            }
            match self.start_of(route, &queue).await {
                Ok(start) => {
                    tracing::debug!(%queue, group = self.member.group, offset = %start, "queue taken");
                    let process_queue = Arc::new(ProcessQueue::new(start));
                    let pull =
                        pull(self.member.clone(), subscription.clone(), queue.clone(), process_queue.clone(), start);
                    let assigned = Assigned { process_queue, pulling: tokio::spawn(pull), committed: None };
                    self.queues.insert(queue, assigned);
                }
                Err(error) => {
                    tracing::warn!(%queue, %error, "queue can't be taken");
                    all = false;
                }
            }
        }
        all
    }

    /// Where to begin with a queue.
    async fn start_of(&self, route: &Route, queue: &MessageQueue) -> Result<QueueOffset, RequestError> {
        let member = &*self.member;
        let address = route.broker(&queue.broker_name, 0).unwrap_or_default();
        if member.model == MessageModel::Clustering
            && let Some(stored) = offsets::stored(&member.remoting, address, &member.group, queue).await?
        {
            return Ok(stored);
        }
        let from = if self.there_at_start.contains(queue) { member.from } else { StartFrom::First };
        match from {
            StartFrom::First => offsets::first(&member.remoting, address, queue).await,
            StartFrom::Last => offsets::end(&member.remoting, address, queue).await,
        }
    }

    /// Tells the brokers how far we are, as far as they don't know.
    async fn commit(&mut self) {
        if self.member.model == MessageModel::Broadcasting {
            return;
        }
        let routes: HashMap<String, Arc<Route>> =
            self.routes().await.into_iter().map(|(subscription, route)| (subscription.topic, route)).collect();
        for (queue, assigned) in &mut self.queues {
            let offset = assigned.process_queue.committable();
            let Some(route) = routes.get(&queue.topic).filter(|_| assigned.committed != Some(offset)) else { continue };
            let address = route.broker(&queue.broker_name, 0).unwrap_or_default();
            match offsets::commit(&self.member.remoting, address, &self.member.group, queue, offset).await {
                Ok(()) => assigned.committed = Some(offset),
                Err(error) => tracing::warn!(%queue, %error, "offset not committed"),
            }
        }
    }

    /// Sure of it when it returns.
    async fn commit_one(&self, route: &Route, queue: &MessageQueue, assigned: &Assigned) {
        let offset = assigned.process_queue.committable();
        if self.member.model == MessageModel::Broadcasting || assigned.committed == Some(offset) {
            return;
        }
        let address = route.broker(&queue.broker_name, 0).unwrap_or_default();
        let group = &self.member.group;
        if let Err(error) = offsets::commit_and_wait(&self.member.remoting, address, group, queue, offset).await {
            tracing::warn!(%queue, %error, "offset not committed");
        }
    }

    /// Commits, and leaves the group.
    async fn leave(mut self) {
        for assigned in self.queues.values() {
            assigned.pulling.abort();
        }
        for (subscription, route) in self.routes().await {
            let queues: Vec<_> = self.queues.extract_if(|queue, _| queue.topic == subscription.topic).collect();
            let commits = queues.iter().map(|(queue, assigned)| self.commit_one(&route, queue, assigned));
            join_all(commits).await;
        }
        let member = &*self.member;
        let request = UnregisterClient {
            client_id: member.client_id.clone(),
            producer_group: None,
            consumer_group: Some(member.group.clone()),
        };
        let request = &request;
        join_all(self.greeted.iter().map(|address| async move {
            if let Err(error) = member.remoting.ask(address, request, REQUEST_TIMEOUT).await {
                tracing::warn!(%address, %error, "left without a word");
            }
        }))
        .await;
    }
}

/// Pulls from one queue until it is aborted, or nobody receives any more.
async fn pull(
    member: Arc<Member>,
    subscription: SubscriptionData,
    queue: MessageQueue,
    process_queue: Arc<ProcessQueue>,
    start: QueueOffset,
) {
    const ANSWERED: [i32; 4] =
        [response::SUCCESS, response::PULL_NOT_FOUND, response::PULL_RETRY_IMMEDIATELY, response::PULL_OFFSET_MOVED];
    let clustering = member.model == MessageModel::Clustering;
    let mut next = start;
    let mut broker_id = 0;
    loop {
        let Ok(Some(route)) = member.shared.routes.of(&queue.topic).await else {
            sleep(PULL_AGAIN).await;
            continue;
        };
        let address = route.broker(&queue.broker_name, broker_id).unwrap_or_default();
        let from_master = route.master(&queue.broker_name) == Some(address);
        let mut request = PullMessage {
            consumer_group: member.group.clone(),
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
            queue_offset: next.0,
            max_msg_nums: PULL_MESSAGES_MAX,
            sys_flag: PullMessage::SUSPEND,
            commit_offset: 0,
            suspend_timeout_millis: Some(SUSPEND.as_millis() as i64),
            sub_version: Some(subscription.sub_version),
            expression_type: Some(subscription.expression_type.clone()),
            max_msg_bytes: Some(PULL_BYTES_MAX),
            ..PullMessage::default()
        };
        if clustering && from_master {
            request.sys_flag |= PullMessage::COMMIT_OFFSET;
            request.commit_offset = process_queue.committable().0;
        }
        if !clustering {
            request.sys_flag |= PullMessage::SUBSCRIPTION;
            request.subscription = Some(subscription.sub_string.clone());
        }
        let answer = member.remoting.ask_any(address, &request, Bytes::new(), &ANSWERED, PULL_TIMEOUT).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                pull_failed(&member, &queue, error).await;
                continue;
            }
        };
        broker_id = answer.reply.suggest_which_broker_id;
        next = QueueOffset(answer.reply.next_begin_offset);
        if answer.code == response::PULL_OFFSET_MOVED {
            tracing::warn!(%queue, from = request.queue_offset, to = next.0, "the broker moved the offset");
            process_queue.moved(next);
            // An answer that leads nowhere is not asked for in a tight loop.
            sleep(PULL_AGAIN_SOON).await;
        } else if answer.code != response::SUCCESS {
            process_queue.pulled([], next);
        } else if !hand_out(&member, &subscription, &queue, &process_queue, &answer.body, next).await {
            return;
        }
    }
}

async fn pull_failed(member: &Member, queue: &MessageQueue, error: RequestError) {
    let wait = match error.code() {
        Some(response::SUBSCRIPTION_NOT_EXIST | response::SUBSCRIPTION_NOT_LATEST) => {
            member.changed.notify_one();
            PULL_AGAIN_SOON
        }
        Some(response::SYSTEM_BUSY) => PULL_AGAIN_SOON,
        _ => {
            member.shared.routes.doubt(&queue.topic);
            PULL_AGAIN
        }
    };
    tracing::warn!(%queue, %error, "pull failed; trying again");
    sleep(wait).await;
}

/// False when nobody receives any more.
async fn hand_out(
    member: &Member,
    subscription: &SubscriptionData,
    queue: &MessageQueue,
    process_queue: &Arc<ProcessQueue>,
    reply: &Bytes,
    next: QueueOffset,
) -> bool {
    let mut messages = Vec::new();
    for record in Record::all(reply) {
        match record {
            Ok(record) if wants(subscription, record.properties().get(property::TAGS)) => {
                messages.push(received(queue, reply, &record));
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%queue, before = %next, %error, "a message can't be read; it is passed over"),
        }
    }
    process_queue.pulled(messages.iter().map(|message| message.queue_offset), next);
    for message in messages {
        let size = (message.body.len() / 1024 + 1).min(ROOM_KIB) as u32;
        let Ok(room) = member.room.clone().acquire_many_owned(size).await else { return false };
        let delivery = Delivery { message, process_queue: process_queue.clone(), _room: room };
        if member.outbox.send(delivery).await.is_err() {
            return false;
        }
    }
    true
}

/// Brokers choose by the hash of the tag, and two tags may have the same.
fn wants(subscription: &SubscriptionData, tag: Option<&str>) -> bool {
    let wanted = &subscription.tags_set;
    wanted.is_empty() || tag.is_some_and(|tag| wanted.iter().any(|wanted| wanted == tag))
}

fn received(queue: &MessageQueue, reply: &Bytes, record: &Record<'_>) -> ReceivedMessage {
    let packed = reply.slice_ref(record.body);
    let body = protocol::body::unpack(packed.clone(), record.sys_flag).unwrap_or_else(|error| {
        tracing::error!(%queue, offset = %record.queue_offset, %error, "the body can't be unpacked; it is left packed");
        packed
    });
    let origin = record.properties().get(property::RETRY_TOPIC).filter(|_| record.topic.starts_with(RETRY_PREFIX));
    ReceivedMessage {
        topic: origin.unwrap_or(record.topic).to_owned(),
        queue: queue.clone(),
        queue_offset: record.queue_offset,
        body,
        properties: reply.slice_ref(record.properties),
        born_timestamp: record.born_timestamp,
        born_host: record.born_host,
        store_timestamp: record.store_timestamp,
        store_host: record.store_host,
        commit_log_offset: record.commit_log_offset.0,
        reconsume_times: record.reconsume_times,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_as_text() {
        let all = SubscriptionData::tags("T", "*").unwrap();
        assert!(wants(&all, None) && wants(&all, Some("x")));
        // "BB" has the hash of "Aa".
        let some = SubscriptionData::tags("T", "Aa || x").unwrap();
        assert!(wants(&some, Some("Aa")) && !wants(&some, Some("BB")) && !wants(&some, None));
    }
}
