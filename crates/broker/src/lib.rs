//! Takes messages in, hands them out.
//!
//! A [`Broker`] is opened, gives its [`Broker::router`] to a server, runs what needs time in [`Broker::run`], and is
//! closed. What it answers stands in `processor`, what its gate must know of it in `gate`; all else here are the tables that answers
//! come from.
//!
//! Locks: `consumers`, `producers`, `locks` and those inside the tables are never held two at a time. `transactions` is held
//! while messages are put, and comes before all others that this needs; so are a window of `dedup`, for messages with an id, and
//! what `send_backs` holds, for those that consumers send back. `parking` is held while the offsets of a group are reset with it.

pub mod adopt;
pub mod audit;
mod cleaning;
pub mod config;
mod connections;
pub mod consumers;
pub mod dedup;
pub mod delay;
mod deletion;
pub mod fences;
pub mod filter;
mod gate;
pub mod groups;
pub mod life;
pub mod locks;
pub mod metrics;
pub mod offsets;
pub mod owners;
pub mod parking;
mod processor;
pub mod producers;
pub mod program;
pub mod put_times;
mod records;
pub mod registration;
pub mod retry;
mod run;
mod send_backs;
pub mod settings;
pub mod shares;
pub mod stats;
mod table;
mod tally;
pub mod timer;
pub mod topics;
pub mod transaction;

pub use config::Config;
pub use table::OpenError as TableError;

use access::Access;
use adopt::{Fate, Finding, InspectError};
use config::FlushDiskType;
use connections::Connections;
use consumers::Consumers;
use dedup::Dedup;
use delay::Delay;
use fences::OrderFences;
use filter::Filters;
use groups::Groups;
use life::Life;
use locks::QueueLocks;
use metrics::Metrics;
use offsets::ConsumerOffsets;
use parking::Parking;
use parking_lot::{Mutex, RwLock};
use producers::Producers;
use program::FilterPrograms;
use protocol::code::response;
use protocol::subscription::ORDER_SHARE_BY_KEY;
use protocol::topic::{DLQ_PREFIX, RETRY_PREFIX, SCHEDULE_TOPIC, TopicConfig};
use put_times::PutTimes;
use remoting::tls::TlsError;
use remoting::{Entrance, Peer, Reject, Router};
use send_backs::SendBacks;
use settings::Settings;
use shares::Shares;
use stats::Stats;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use store::audit::AuditLog;
use store::{PutError, PutMessage, Store, StoreConfig, Stored};
use timer::{Timer, Wait};
use topics::Topics;
use transaction::{Progress, Transactions};

/// How long an answer waits for a table to be on disk.
const SAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Queues with such names point into other topics, and are no topics of the table.
const LIGHT_QUEUE_PREFIX: &str = "%LMQ%";

/// A broker: a store, and the tables that say what may be done with it.
#[doc(alias = "BrokerController")]
pub struct Broker {
    /// What the operator set. `listen_port` is where it really listens.
    pub config: Settings,
    /// The messages.
    pub store: Arc<Store>,
    /// The topics.
    pub topics: Topics,
    /// The consumer groups.
    pub groups: Groups,
    /// New queues that groups do not get yet.
    pub fences: OrderFences,
    /// Queues that members consume together.
    pub shares: Shares,
    /// Keys that groups pass over for now.
    pub parking: Parking,
    /// How far groups have come.
    pub offsets: ConsumerOffsets,
    /// Who sends.
    pub producers: Mutex<Producers>,
    /// Who consumes.
    pub consumers: RwLock<Consumers>,
    /// The SQL92 expressions of subscriptions.
    pub filters: Filters,
    /// The filter programs of groups.
    pub programs: FilterPrograms,
    /// Who consumes which queue in order.
    pub locks: Mutex<QueueLocks>,
    /// Clients that come over more than one connection.
    pub(crate) connections: Connections,
    /// Messages that are due later.
    pub delay: Delay,
    /// Messages that are due at a time of their own.
    timer: Timer,
    /// Ids of messages that came lately.
    pub dedup: Dedup,
    /// What consumers sent back lately.
    send_backs: SendBacks,
    /// Who got which message.
    pub life: Life,
    /// Half messages that wait for their end.
    pub transactions: Mutex<Transactions>,
    /// Transactions ended, and no operation message says so yet.
    ends_unsaid: AtomicBool,
    /// Under which address we were known to the producer of the last one.
    operation_host: Mutex<Option<SocketAddr>>,
    /// How far transactions were worked off a round of checks ago.
    transactions_earlier: Mutex<Option<Progress>>,
    /// The region, as every reply to a send carries it.
    region: Arc<str>,
    /// Pulls that wait for messages.
    held_pulls: AtomicUsize,
    /// For queues that nobody chose.
    turn: AtomicU32,
    /// Who may do what; `None`: everybody may everything.
    pub access: Option<Arc<Access>>,
    /// What is counted.
    pub stats: Stats,
    /// What is counted for a page of metrics besides.
    pub metrics: Metrics,
    /// How long messages took to be put.
    pub put_times: PutTimes,
    /// Who changed what.
    pub audit: AuditLog,
    /// What connections pass first, on all ports.
    pub entrance: Arc<Entrance>,
    /// When it was started; in milliseconds since 1970, too.
    started: (Instant, i64),
    /// Where the commit log ended then.
    log_end_at_start: i64,
    /// Why no messages go although room is wanted, as it was told.
    no_room_told: Mutex<Option<String>>,
}

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] store::OpenError),
    /// A table can't be read.
    #[error(transparent)]
    Table(#[from] table::OpenError),
    /// Who may do what can't be read.
    #[error(transparent)]
    Access(#[from] access::OpenError),
    /// What another broker keeps there can't be looked at.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// TLS can't be as it is set.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// Another broker keeps something there that would not be served as it should be.
    #[error("{}", .0.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n"))]
    Refused(Vec<Finding>),
}

impl Broker {
    /// Opens the store and the tables in `config.store_root`, which is made if it is not there.
    pub fn open(config: Config) -> Result<Arc<Broker>, OpenError> {
        let now = now_millis();
        let entrance = Arc::new(Entrance::open(&config.entrance)?);
        let audit_log = config.store_root.join("audit.log");
        let audit = AuditLog::new(config.disk.clone(), Some(&audit_log), config.clock.clone());
        let audit = audit.map_err(|error| store::OpenError::Io { path: audit_log, error })?;
        let attention = take_over(&config)?;
        // The store is first: it makes sure that nobody else works in this directory.
        let store = Store::open(store_config(&config))?;
        attention.iter().for_each(|finding| tracing::warn!("{finding}"));
        let offsets = ConsumerOffsets::open(&config)?;
        let transactions = transaction::log::open(&store, &offsets);
        let unreadable = |error| store::OpenError::Io { path: config.store_root.join("config"), error };
        let stored = stored_topics(&store);
        let known_groups = known_groups(&stored, &offsets);
        let topics = Topics::open(&config, &stored, now).map_err(unreadable)?;
        let groups = Groups::open(&config, &known_groups, now).map_err(unreadable)?;
        offsets.tell_if_gone(&groups.names());
        let programs = FilterPrograms::open(&config)
            .map_err(|error| store::OpenError::Io { path: config.store_root.join("config").join("filters"), error })?;
        let shares_by_key = |group: &str| groups.get(group).is_some_and(|group| group.is_on(ORDER_SHARE_BY_KEY));
        let shares = Shares::open(&config, shares_by_key, Instant::now())?;
        if groups.names().iter().any(|group| shares_by_key(group)) {
            shares.set_used();
        }
        let broker = Broker {
            topics,
            groups,
            shares,
            fences: OrderFences::open(&config, Instant::now())?,
            parking: Parking::open(&config)?,
            offsets,
            ends_unsaid: AtomicBool::new(!transactions.unsaid().is_empty()),
            transactions: Mutex::new(transactions),
            operation_host: Mutex::default(),
            transactions_earlier: Mutex::default(),
            producers: Mutex::default(),
            consumers: RwLock::default(),
            filters: Filters::default(),
            programs,
            locks: Mutex::default(),
            connections: Connections::default(),
            delay: Delay::open(&config, &store)?,
            timer: Timer::open(&config, &store)
                .map_err(|error| store::OpenError::Io { path: config.store_root.join("timerwheel"), error })?,
            access: gate::open(&config)?,
            dedup: Dedup::new(&config),
            send_backs: SendBacks::default(),
            life: Life::new(&config),
            region: config.region_id.as_str().into(),
            held_pulls: AtomicUsize::new(0),
            turn: AtomicU32::new(now as u32),
            no_room_told: Mutex::default(),
            stats: Stats::default(),
            metrics: Metrics::new(&config),
            put_times: PutTimes::default(),
            audit,
            started: (Instant::now(), now),
            entrance,
            log_end_at_start: store.commit_log_bounds().1.0,
            store,
            config: Settings::new(config),
        };
        let topics = broker.topics.all().0;
        topics.iter().for_each(|topic| broker.apply(topic));
        broker.begin_releases_anew();
        broker.fences.clamp(|topic, queue| broker.store.max_offset(topic, queue as u32).0);
        let now = broker.config.clock.now_millis();
        broker.dedup.read(&broker.store, &topics, &broker.transactions.lock(), now);
        // What expired while it was down is not served for a moment.
        broker
            .store
            .expire(&|kept_for| broker.store.cautious_now(kept_for))
            .map_err(|error| store::OpenError::Io { path: broker.config.store_root.clone(), error })?;
        Ok(Arc::new(broker))
    }

    /// What it answers on its main port.
    pub fn router(self: &Arc<Self>) -> Router<Broker> {
        let all = self.admin_router();
        match self.config.entrance.admin_port {
            0 => all,
            port => all.only(&processor::FOR_CLIENTS, remoting::entrance::not_here(port)),
        }
    }

    /// What it answers on `adminListenPort`: everything.
    pub fn admin_router(self: &Arc<Self>) -> Router<Broker> {
        let router = processor::router(self.clone()).behind(self.entrance.clone()).vital(&processor::VITAL);
        if self.access.is_some() { router.guarded(Broker::admit).known_as(Peer::user) } else { router }
    }

    /// What it answers on its VIP port, two below: all but pulls.
    pub fn vip_router(self: &Arc<Self>) -> Router<Broker> {
        self.router().without(&processor::NOT_ON_VIP)
    }

    /// Brings everything to disk and ends. Call it when the server has stopped and [`Broker::run`] has returned.
    pub fn close(&self) -> io::Result<()> {
        self.say_ends();
        self.keep_events();
        let closed = self.store.close();
        if closed.is_ok() {
            self.note_transactions_now();
            self.timer.close(self.config.clock.now_millis());
        }
        // Behind the store: what a table says was delivered is on disk then.
        let saved = self.tables().map(|(_, table)| table.save());
        closed.and(saved.into_iter().collect::<io::Result<()>>()).and(self.audit.sync())
    }

    /// Hands what was put to the operating system; sends are acknowledged behind it.
    fn write_out(&self) -> Result<(), Reject> {
        self.say_ends();
        let written = self.store.write_out();
        self.put_times.written();
        written.map_err(|error| {
            let remark = format!("the message is not stored, and may be later or not: {error}");
            Reject::new(response::SERVICE_NOT_AVAILABLE, remark)
        })
    }

    /// Stores a message; one that is not to be delivered at once is put where it waits.
    pub(crate) fn put(&self, put: &PutMessage<'_>, wait: Wait) -> Result<Stored, PutError> {
        let level = match wait {
            Wait::No => None,
            Wait::Level(level) => self.delay.level(level),
            Wait::Tick(slot_time) => return self.put_timed(put, slot_time),
        };
        let Some((level, delay)) = level else { return self.store.put_message(put) };
        let properties = delay::parked_properties(put.properties, put.topic, put.queue_id, level);
        let parked = PutMessage { topic: SCHEDULE_TOPIC, queue_id: level - 1, properties: &properties, ..*put };
        let due = Instant::now() + delay;
        let stored = self.store.put_message(&parked)?;
        self.delay.note(level, stored.queue_offset, due);
        Ok(stored)
    }

    /// Creates or replaces a topic. Answers with the version in which it is so. `by`: the user whose it is if it is new.
    pub(crate) fn put_topic(
        &self,
        config: TopicConfig,
        by: Option<&str>,
        now: i64,
    ) -> Result<i64, topics::CreateError> {
        let counter = self.topics.put(config.clone(), by, now)?;
        self.apply(&config);
        Ok(counter)
    }

    /// A topic's attributes count from now on.
    pub(crate) fn apply(&self, topic: &TopicConfig) {
        self.store.set_retention(&topic.topic_name, topics::retention(topic));
        self.dedup.set(topic);
    }

    /// A name server says which topics are ordered.
    fn set_ordered<'a>(&self, topics: impl Iterator<Item = &'a String>) {
        self.topics.set_ordered(topics, now_millis());
    }

    /// Pulls that wait for messages now.
    pub fn held_pulls(&self) -> usize {
        self.held_pulls.load(Ordering::Relaxed)
    }

    /// Under which address we are known to this client; message ids are made of it.
    pub(crate) fn store_host(&self, peer: &Peer) -> SocketAddr {
        let reached = peer.reached();
        let port = if self.config.listen_port == 0 { reached.port() } else { self.config.listen_port };
        let set: Option<IpAddr> = self.config.ip1.as_ref().and_then(|ip| ip.parse().ok());
        SocketAddr::new(set.unwrap_or(reached.ip()).to_canonical(), port)
    }

    /// Is this topic named after the broker or its cluster?
    pub(crate) fn is_own_topic(&self, topic: &str) -> bool {
        topic == self.config.name
            || topic
                .strip_prefix(&self.config.cluster_name)
                .is_some_and(|rest| rest.is_empty() || rest == "_REPLY_TOPIC")
    }

    /// One of `count` queues; another one each time.
    pub(crate) fn any_queue(&self, count: i32) -> i32 {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        (turn % count.max(1) as u32) as i32
    }

    /// Waits until the table of topics in this version is on disk. Refuses if it cannot be saved.
    pub(crate) async fn topic_saved(&self, counter: i64) -> Result<(), Reject> {
        let root = self.config.store_root.display();
        match tokio::time::timeout(SAVE_TIMEOUT, self.topics.saved(counter)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let free = self.store.space().map_or_else(|_| "?".to_owned(), |space| space.free.to_string());
                Err(Reject::new(
                    response::SERVICE_NOT_AVAILABLE,
                    format!(
                        "config/topics.json in {root} can't be saved ({error}; {free} bytes are free): make room there, or check \
                         the disk and the directory's permissions. The topic is in force, and is saved when that works; a \
                         broker that stops before forgets it"
                    ),
                ))
            }
            Err(_) => Err(Reject::system_error(format!(
                "config/topics.json in {root} could not be saved within {SAVE_TIMEOUT:?}: check the disk; the broker's log says more"
            ))),
        }
    }

    /// Waits until the table of groups, as it is now, is on disk.
    pub(crate) async fn groups_saved(&self) -> Result<(), Reject> {
        let counter = *self.groups.changed().borrow();
        match tokio::time::timeout(SAVE_TIMEOUT, self.groups.saved(counter)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(Reject::system_error(format!(
                "config/subscriptionGroup.json in {} could not be saved within {SAVE_TIMEOUT:?}: check the disk; the broker's log \
                 says more",
                self.config.store_root.display()
            ))),
        }
    }

    fn tables(&self) -> [(&'static str, &dyn table::Table); 6] {
        [
            ("topics.json", &self.topics),
            ("subscriptionGroup.json", &self.groups),
            ("consumerOffset.json", &self.offsets),
            ("delayOffset.json", &self.delay),
            ("orderFences.json", &self.fences),
            ("orderShares.json", &self.shares),
        ]
    }
}

/// What the settings say of the store.
pub fn store_config(config: &Config) -> StoreConfig {
    let defaults = StoreConfig::new(&config.store_root);
    StoreConfig {
        commit_log: config.commit_log_path.clone(),
        commit_log_file_size: config.commit_log_file_size as u64,
        consume_queue_file_size: config.consume_queue_file_size as u64,
        index_enabled: config.message_index,
        index_slots: config.max_hash_slot_num as u32,
        index_entries: config.max_index_num as u32,
        flush: match config.flush_disk_type {
            FlushDiskType::Sync => store::FlushDiskType::Sync,
            FlushDiskType::Async => store::FlushDiskType::Async,
        },
        flush_interval: config.flush_interval,
        max_message_size: config.max_message_size,
        delay_levels: config.delay_levels.delays().to_vec(),
        file_reserved: config.file_reserved_time,
        disk_free_min: Some(config.disk_free_space_min as u64).filter(|bytes| *bytes > 0),
        disk_used_max: config.disk_space_warning_level_ratio.map(|percent| f64::from(percent) / 100.0),
        disk_used_enough: config
            .disk_space_clean_forcibly_ratio
            .map_or(defaults.disk_used_enough, |percent| f64::from(percent) / 100.0),
        scrub_rate: config.scrub_rate as u64,
        disk: config.disk.clone(),
        clock: config.clock.clone(),
        ..defaults
    }
}

/// The topics of which the store has messages.
fn stored_topics(store: &Store) -> Vec<topics::Stored> {
    let stored = |topic: String| topics::Stored { queues: store.queue_count(&topic) as i32, topic };
    store.topics().into_iter().filter(|topic| !topic.starts_with(LIGHT_QUEUE_PREFIX)).map(stored).collect()
}

/// The groups that have offsets, or messages to be tried again, or dead ones.
fn known_groups(stored: &[topics::Stored], offsets: &ConsumerOffsets) -> BTreeSet<String> {
    let own = |topic: &topics::Stored| {
        let name = topic.topic.strip_prefix(RETRY_PREFIX).or(topic.topic.strip_prefix(DLQ_PREFIX));
        name.map(str::to_owned)
    };
    stored.iter().filter_map(own).chain(offsets.groups()).collect()
}

/// What another broker keeps in the directory and an operator should know; refuses what must not be passed over.
fn take_over(config: &Config) -> Result<Vec<adopt::Finding>, OpenError> {
    let findings = adopt::inspect(config)?;
    let (refused, others): (Vec<_>, Vec<_>) = findings.into_iter().partition(|it| it.fate() == Fate::Refused);
    if !refused.is_empty() {
        return Err(OpenError::Refused(refused));
    }
    Ok(others.into_iter().filter(|it| it.fate() == Fate::Attention).collect())
}

/// The wall clock, milliseconds since 1970.
pub(crate) fn now_millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
