//! What an operator can set: `broker.conf`, with Apache's keys.
//!
//! [`Config`] is the manual. [`Config::default`] is the only place where defaults stand. `Config::items` says which key
//! sets which field and what is allowed; reading, printing and GET_BROKER_CONFIG all go by it.
//!
//! Which keys Apache knows stands in `config/apache.properties`. A key that is known there and not here is honest work
//! for later: it is listed at start. A few of those must not be passed over in silence; `REFUSED` has them.

pub mod manual;

use crate::groups::GROUPS_MAX;
use crate::topics::TOPICS_MAX;
use protocol::logging::{self, LogConfig};
use protocol::nearest::nearest;
use protocol::properties;
use remoting::Credentials;
use remoting::EntranceSettings;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use store::clock::Clock;
use store::disk::Disk;

/// Where name servers listen unless an address says otherwise.
const NAMESRV_PORT: u16 = 9876;

/// A broker's settings. Durations are in milliseconds in the file unless the field says otherwise.
/// Those in [`AT_ONCE`] can be changed while the broker runs, all others take effect at restart.
#[doc(alias = "BrokerConfig")]
#[doc(alias = "MessageStoreConfig")]
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The cluster it belongs to. Brokers of one cluster share topics.
    /// Key: `brokerClusterName`. Default: `DefaultCluster`.
    pub cluster_name: String,
    /// Its name, shared by a master and its slaves.
    /// Key: `brokerName`. Default: the host's name.
    pub name: String,
    /// 0 is a master. Others are slaves, which this version does not have: it refuses to start as one.
    /// Key: `brokerId`. Default: 0.
    pub id: i64,
    /// The host that clients are told to reach it by: an address or a DNS name. Empty: the address by which this
    /// machine reaches its name server; with a name server in the same process, the address that each client reached.
    /// Key: `brokerIP1`. Default: empty.
    pub ip1: Option<String>,
    /// The address to listen on.
    /// Key: `bindAddress`. Default: `0.0.0.0`.
    pub bind_address: String,
    /// The port for clients. The VIP port is the one two below. 0: any free pair.
    /// Key: `listenPort`. Default: 10911.
    pub listen_port: u16,
    /// Name servers to register with, `host:port`, parted by `;`. DNS names are looked up each time.
    /// Key: `namesrvAddr`. Default: the environment's `NAMESRV_ADDR`, else none.
    pub namesrv_addr: Vec<String>,
    /// How often it registers with its name servers, from 10 to 60 s. Changes of topics are registered at once.
    /// Key: `registerNameServerPeriod`. Default: 30000.
    pub register_period: Duration,
    /// How long one registration may take.
    /// Key: `registerBrokerTimeoutMills`. Default: 24000.
    pub register_timeout: Duration,
    /// The region that producers are told, for message traces.
    /// Key: `regionId`. Default: `DefaultRegion`.
    pub region_id: String,
    /// What clients may do here: 6 read and write, 4 read, 2 write. Topics can only take away from it.
    /// Key: `brokerPermission`. Default: 6.
    pub permission: i32,
    /// A client without a heartbeat for so long is gone.
    /// Key: `channelExpiredTimeout`. Default: 120000.
    pub channel_expired_timeout: Duration,
    /// A connection on which for so long, in seconds, no whole request arrives and nothing of a reply leaves is closed.
    /// Key: `serverChannelMaxIdleTimeSeconds`. Default: 120.
    pub channel_max_idle: Duration,
    /// TLS, proxies, limits of clients, the port for operators: what the manual of [`EntranceSettings`] says.
    pub entrance: EntranceSettings,

    /// Sending to a topic that is not there creates it.
    /// Key: `autoCreateTopicEnable`. Default: true.
    pub auto_create_topic: bool,
    /// How many queues the topic `TBW102` has, after which topics that are created by sending take.
    /// Key: `defaultTopicQueueNums`. Default: 8.
    pub default_topic_queue_nums: i32,
    /// Consuming with a group that is not there creates it.
    /// Key: `autoCreateSubscriptionGroup`. Default: true.
    pub auto_create_subscription_group: bool,
    /// There is a topic with the cluster's name.
    /// Key: `clusterTopicEnable`. Default: true.
    pub cluster_topic: bool,
    /// There is a topic with the broker's name.
    /// Key: `brokerTopicEnable`. Default: true.
    pub broker_topic: bool,
    /// There is a topic for message traces from the start.
    /// Key: `traceTopicEnable`. Default: false.
    pub trace_topic: bool,
    /// That topic's name.
    /// Key: `msgTraceTopicName`. Default: `RMQ_SYS_TRACE_TOPIC`.
    pub trace_topic_name: String,
    /// Clients are told that they may trace messages.
    /// Key: `traceOn`. Default: true.
    pub trace_on: bool,

    /// Where everything is stored.
    /// Key: `storePathRootDir`. Default: `store` in the home directory.
    pub store_root: PathBuf,
    /// Where the commit log is stored: one directory.
    /// Key: `storePathCommitLog`. Default: `commitlog` in `storePathRootDir`.
    pub commit_log_path: Option<PathBuf>,
    /// The size of a file of the commit log, bytes. Must stay the same for the life of a store.
    /// Key: `mappedFileSizeCommitLog`. Default: 1073741824 (1 GiB).
    pub commit_log_file_size: usize,
    /// The size of a file of a consume queue, bytes, brought up to a multiple of 20. Must stay the same for the life of a store.
    /// Key: `mappedFileSizeConsumeQueue`. Default: 6000000 (300,000 messages).
    pub consume_queue_file_size: usize,
    /// Messages can be found by key.
    /// Key: `messageIndexEnable`. Default: true.
    pub message_index: bool,
    /// Hash slots of an index file.
    /// Key: `maxHashSlotNum`. Default: 5000000.
    pub max_hash_slot_num: usize,
    /// Entries of an index file.
    /// Key: `maxIndexNum`. Default: 20000000.
    pub max_index_num: usize,
    /// The largest message body taken, bytes.
    /// Key: `maxMessageSize`. Default: 4194304 (4 MiB).
    pub max_message_size: usize,
    /// `SYNC_FLUSH` answers a send only when the message is on disk.
    /// `ASYNC_FLUSH` answers at once; a power failure may lose the last moments.
    /// Key: `flushDiskType`. Default: `ASYNC_FLUSH`.
    pub flush_disk_type: FlushDiskType,
    /// With `ASYNC_FLUSH`: how often what was taken is brought to disk.
    /// Key: `flushIntervalCommitLog`. Default: 500.
    pub flush_interval: Duration,
    /// With `SYNC_FLUSH`: how long a send waits for the disk before it is answered `FLUSH_DISK_TIMEOUT`.
    /// Key: `syncFlushTimeout`. Default: 5000.
    pub sync_flush_timeout: Duration,
    /// How long messages are kept, in hours.
    /// Key: `fileReservedTime`. Default: 72.
    pub file_reserved_time: Duration,
    /// At which hours of the day old files are deleted, parted by `;`.
    /// Key: `deleteWhen`. Default: `04`.
    pub delete_when: Vec<u8>,
    /// When more than so many percent of a disk of the store are used, from 10 to 95, old files are deleted at any hour.
    /// Key: `diskMaxUsedSpaceRatio`. Default: 75.
    pub disk_max_used_space_ratio: u8,
    /// When more than `diskSpaceCleanForciblyRatio` percent of the log's disk are used, or messages are refused for want of
    /// room, the oldest files are deleted however young: as many as it takes, and none if all would not help.
    /// Key: `cleanFileForciblyEnable`. Default: true.
    pub clean_file_forcibly: bool,
    /// How often old files and messages are looked for; once a second while the disk fills.
    /// Key: `cleanResourceInterval`. Default: 10000.
    pub clean_resource_interval: Duration,
    /// So many files of the log are deleted at a time.
    /// Key: `deleteFileBatchMax`. Default: 10.
    pub delete_file_batch_max: i32,
    /// Rest between two of them.
    /// Key: `deleteCommitLogFilesInterval`. Default: 100.
    pub delete_commit_log_files_interval: Duration,
    /// A deleted file that a client is being sent from for longer is told of. It is read to its end in any case, and its room
    /// comes back then.
    /// Key: `destroyMapedFileIntervalForcibly`. Default: 120000.
    pub destroy_mapped_file_interval_forcibly: Duration,
    /// With fewer free bytes on a disk of the store, messages are refused (14); with a quarter more, they are taken
    /// again. 0: a tenth of the disk, but at most 256 MiB. Apache's broker has no such key.
    /// Key: `diskFreeSpaceMin`. Default: 0.
    pub disk_free_space_min: usize,
    /// While more than so many percent of a disk of the store are used, messages are refused (14), from 35 to 90. Empty: how
    /// full a disk is in percent does not matter.
    /// Key: `diskSpaceWarningLevelRatio`. Default: empty.
    pub disk_space_warning_level_ratio: Option<u8>,
    /// When more than so many percent of the log's disk are used, from 30 to 85, room is made: see
    /// `cleanFileForciblyEnable`. Where `diskSpaceWarningLevelRatio` is set, messages are taken again when no more are.
    /// Key: `diskSpaceCleanForciblyRatio`. Default: 85.
    pub disk_space_clean_forcibly_ratio: Option<u8>,
    /// How many bytes per second are read of old commit log files, to see that they are sound. 0: none. Apache's broker has
    /// no such key.
    /// Key: `scrubBytesPerSecond`. Default: 8388608 (8 MiB).
    pub scrub_rate: usize,
    /// So many bytes on disk tell of past deliveries, so that the life of a message can be asked for: the directory `life` in
    /// `storePathRootDir`. The oldest go first. 0: none. Apache's broker has no such key.
    /// Key: `messageLifeMaxBytes`. Default: 268435456 (256 MiB).
    pub message_life_max_bytes: usize,
    /// So many ids of messages are remembered at most, of all topics with `dedup.window` together; each takes about 100 bytes
    /// of memory. Apache's broker has no such key.
    /// Key: `dedupIdsMax`. Default: 1000000.
    pub dedup_ids_max: usize,
    /// So many topics there may be, retry and dead letter topics among them. Apache's broker has no such key.
    /// Key: `topicsMax`. Default: 200000.
    pub topics_max: usize,
    /// So many consumer groups there may be. Apache's broker has no such key.
    /// Key: `groupsMax`. Default: 200000.
    pub groups_max: usize,
    /// So many topics a user of access control may have created; who may do everything has no such limit. 0: any number.
    /// Apache's broker has no such key.
    /// Key: `topicsPerUserMax`. Default: 0.
    pub topics_per_user_max: usize,
    /// The same for consumer groups, also those that are created when they consume.
    /// Key: `groupsPerUserMax`. Default: 0.
    pub groups_per_user_max: usize,

    /// What the delay levels 1, 2, 3, … of a message mean: numbers with a unit `s`, `m`, `h` or `d`, parted by blanks.
    /// Key: `messageDelayLevel`. Default: `1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h`.
    pub delay_levels: DelayLevels,
    /// Messages with a delay of any length are taken and delivered. Without, they are refused, and those that wait wait on.
    /// Key: `timerWheelEnable`. Default: true.
    pub timer_wheel: bool,
    /// The ticks of the timer wheel: 100, 200, 500 or 1000 ms. A timed message comes when the tick is over that its time is in.
    /// Changed, the wheel is made again from the messages at the next start.
    /// Key: `timerPrecisionMs`. Default: 1000.
    pub timer_precision: Duration,
    /// A message may be delayed so long, in seconds. Apache's default is 259200, three days.
    /// Key: `timerMaxDelaySec`. Default: 34560000 (400 days).
    pub timer_max_delay: Duration,
    /// A message that is due later than so many ticks is put again on the way, so that it stays in the log. At most half of
    /// `fileReservedTime` counts.
    /// Key: `timerRollWindowSlot`. Default: 172800.
    pub timer_roll_window: i32,
    /// How often the timer wheel is brought to disk while something changes in it.
    /// Key: `timerFlushIntervalMs`. Default: 1000.
    pub timer_flush_interval: Duration,
    /// Size of a file of the timer log.
    /// Key: `mappedFileSizeTimerLog`. Default: 104857600.
    pub timer_log_file_size: usize,
    /// Who sent a timed message may recall it, with what the answer to the send said. Apache's default is false.
    /// Key: `recallMessageEnable`. Default: true.
    pub recall: bool,
    /// For so long a producer may take to commit or roll back by itself, before it is asked.
    /// Key: `transactionTimeOut`. Default: 6000.
    pub transaction_timeout: Duration,
    /// How often it is looked for transactions whose producers are to be asked.
    /// Key: `transactionCheckInterval`. Default: 30000.
    pub transaction_check_interval: Duration,
    /// So often producers are asked about a transaction; then it goes to `TRANS_CHECK_MAX_TIME_TOPIC`.
    /// Key: `transactionCheckMax`. Default: 15.
    pub transaction_check_max: i32,
    /// Transactions are refused.
    /// Key: `rejectTransactionMessage`. Default: false.
    pub reject_transaction: bool,
    /// Replies to requests are kept in the topic `<cluster>_REPLY_TOPIC`, besides going to who waits for them.
    /// Key: `storeReplyMessageEnable`. Default: true.
    pub store_reply: bool,
    /// An operator's reset of a group's offsets is noted in the broker, and followed by members when they pull next; also of a
    /// group without members. Without, members are told to move, and must be connected.
    /// Key: `useServerSideResetOffset`. Default: true.
    pub server_side_reset: bool,
    /// A group without offsets begins with a queue's first message, wherever it wants to begin, if since that message no more
    /// was stored than so many percent of the machine's memory, from 10 to 95; so long, a queue counts as new.
    /// Key: `accessMessageInMemoryMaxRatio`. Default: 40.
    pub memory_ratio: u8,
    /// A pull from an empty queue waits for as long as the client says. Without, for `shortPollingTimeMills`.
    /// Key: `longPollingEnable`. Default: true.
    pub long_polling: bool,
    /// How long a pull from an empty queue waits without long polling.
    /// Key: `shortPollingTimeMills`. Default: 1000.
    pub short_polling: Duration,
    /// The most bytes that a pull takes along.
    /// Key: `maxTransferBytesOnMessageInMemory`. Default: 262144.
    pub max_transfer_bytes_in_memory: usize,
    /// The most messages that a pull takes along, whatever the client asks. Left at its default, up to 1024.
    /// Key: `maxTransferCountOnMessageInMemory`. Default: 32.
    pub max_transfer_count_in_memory: usize,
    /// Consumers may filter by SQL92 expressions. Apache's default is false.
    /// Key: `enablePropertyFilter`. Default: true.
    pub property_filter: bool,
    /// Clients may use lite pull.
    /// Key: `litePullMessageEnable`. Default: true.
    pub lite_pull: bool,
    /// Consumers are told at once when members of their group come or go.
    /// Key: `notifyConsumerIdsChangedEnable`. Default: true.
    pub notify_consumer_ids_changed: bool,
    /// How often consumers' offsets are brought to disk.
    /// Key: `flushConsumerOffsetInterval`. Default: 5000.
    pub flush_consumer_offset_interval: Duration,
    /// How often it is brought to disk how far delayed messages are delivered; at least twice `flushIntervalCommitLog`.
    /// Key: `flushDelayOffsetInterval`. Default: 10000.
    pub flush_delay_offset_interval: Duration,
    /// Who may do what: `aclEnable`, `plainAclFile`, `authenticationEnabled`, `authorizationEnabled`,
    /// `authenticationWhitelist`, `authorizationWhitelist`, `initAuthenticationUser`,
    /// `innerClientAuthenticationCredentials`, `migrateAuthFromV1Enabled`; `access::Config` describes them.
    pub access: access::Config,
    /// What the process tells of itself over HTTP: metrics, and whether it lives and is ready.
    pub metrics: MetricsConfig,
    /// Logs: `logLevel`, `logFormat`, `logFile`, `logFileMaxBytes`, `logFilesMax`. Apache's broker has no such keys.
    pub log: LogConfig,
    /// The file that they come from, where changes are kept. No key.
    pub file: Option<PathBuf>,
    /// The way to the files. No key: for tests.
    pub disk: Disk,
    /// The wall clock. No key: for tests.
    pub clock: Clock,
    /// The machine's memory, bytes. No key: for tests.
    pub memory: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            cluster_name: "DefaultCluster".into(),
            name: host_name(),
            id: 0,
            ip1: None,
            bind_address: "0.0.0.0".into(),
            listen_port: 10911,
            namesrv_addr: Vec::new(),
            register_period: Duration::from_secs(30),
            register_timeout: Duration::from_secs(24),
            region_id: "DefaultRegion".into(),
            permission: 6,
            channel_expired_timeout: Duration::from_secs(120),
            channel_max_idle: Duration::from_secs(120),
            entrance: EntranceSettings::default(),
            auto_create_topic: true,
            default_topic_queue_nums: 8,
            auto_create_subscription_group: true,
            cluster_topic: true,
            broker_topic: true,
            trace_topic: false,
            trace_topic_name: "RMQ_SYS_TRACE_TOPIC".into(),
            trace_on: true,
            store_root: "store".into(),
            commit_log_path: None,
            commit_log_file_size: 1024 * 1024 * 1024,
            consume_queue_file_size: 300_000 * 20,
            message_index: true,
            max_hash_slot_num: 5_000_000,
            max_index_num: 20_000_000,
            max_message_size: 4 * 1024 * 1024,
            flush_disk_type: FlushDiskType::Async,
            flush_interval: Duration::from_millis(500),
            sync_flush_timeout: Duration::from_secs(5),
            file_reserved_time: Duration::from_secs(72 * 3600),
            delete_when: vec![4],
            disk_max_used_space_ratio: 75,
            clean_file_forcibly: true,
            clean_resource_interval: Duration::from_secs(10),
            delete_file_batch_max: 10,
            delete_commit_log_files_interval: Duration::from_millis(100),
            destroy_mapped_file_interval_forcibly: Duration::from_secs(120),
            disk_free_space_min: 0,
            disk_space_warning_level_ratio: None,
            disk_space_clean_forcibly_ratio: Some(85),
            scrub_rate: 8 << 20,
            message_life_max_bytes: 256 << 20,
            dedup_ids_max: 1_000_000,
            topics_max: TOPICS_MAX,
            groups_max: GROUPS_MAX,
            topics_per_user_max: 0,
            groups_per_user_max: 0,
            delay_levels: DelayLevels::default(),
            timer_wheel: true,
            timer_precision: Duration::from_secs(1),
            timer_max_delay: Duration::from_secs(400 * 24 * 3600),
            timer_roll_window: 2 * 24 * 3600,
            timer_flush_interval: Duration::from_secs(1),
            timer_log_file_size: 100 * 1024 * 1024,
            recall: true,
            transaction_timeout: Duration::from_secs(6),
            transaction_check_interval: Duration::from_secs(30),
            transaction_check_max: 15,
            reject_transaction: false,
            store_reply: true,
            server_side_reset: true,
            memory_ratio: 40,
            long_polling: true,
            short_polling: Duration::from_secs(1),
            max_transfer_bytes_in_memory: 256 * 1024,
            max_transfer_count_in_memory: 32,
            property_filter: true,
            lite_pull: true,
            notify_consumer_ids_changed: true,
            flush_consumer_offset_interval: Duration::from_secs(5),
            flush_delay_offset_interval: Duration::from_secs(10),
            access: access::Config::default(),
            metrics: MetricsConfig::default(),
            log: LogConfig::default(),
            file: None,
            disk: Disk::default(),
            clock: Clock::default(),
            memory: {
                let machine = rustix::system::sysinfo();
                machine.totalram as u64 * u64::from(machine.mem_unit)
            },
        }
    }
}

/// What a name server would call this machine.
fn host_name() -> String {
    match rustix::system::uname().nodename().to_string_lossy().trim() {
        "" => "DEFAULT_BROKER".into(),
        name => name.into(),
    }
}

/// When a send is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushDiskType {
    /// Once the message is on disk.
    Sync,
    /// At once.
    Async,
}

/// How long a message of each delay level waits; level 1 is the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayLevels {
    text: String,
    delays: Vec<Duration>,
}

/// What a broker tells of itself over HTTP, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsConfig {
    /// `PROM`: there is a port for `/metrics`, `/livez` and `/readyz`. `DISABLE`: there is none.
    /// Key: `metricsExporterType`. Default: `DISABLE`.
    pub on: bool,
    /// The address to listen on for that. Empty: `bindAddress`. Apache's broker takes `brokerIP1` then.
    /// Key: `metricsPromExporterHost`. Default: empty.
    pub host: Option<String>,
    /// The port for that. 0: any.
    /// Key: `metricsPromExporterPort`. Default: 5557.
    pub port: u16,
    /// Labels that all metrics get, `name:value`, parted by `,`.
    /// Key: `metricsLabel`. Default: empty.
    pub label: String,
    /// A metric has so many series at most; how many are left out is told.
    /// Key: `metricsOtelCardinalityLimit`. Default: 50000.
    pub series_max: usize,
    /// Topics, groups, permission. Key: `enableStatsMetrics`. Default: true.
    pub stats: bool,
    /// Messages that come and go. Key: `enableRequestMetrics`. Default: true.
    pub requests: bool,
    /// Producers and consumers. Key: `enableConnectionMetrics`. Default: true.
    pub connections: bool,
    /// How far groups are behind, and dead letters. Key: `enableLagAndDlqMetrics`. Default: true.
    pub lag: bool,
    /// Transactions. Key: `enableTransactionMetrics`. Default: true.
    pub transactions: bool,
    /// How long answers take. Key: `enableRemotingMetrics`. Default: true.
    pub remoting: bool,
    /// The log, the disk, the timer wheel. Key: `enableMessageStoreMetrics`. Default: true.
    pub store: bool,
}

impl Default for MetricsConfig {
    fn default() -> MetricsConfig {
        MetricsConfig {
            on: false,
            host: None,
            port: 5557,
            label: String::new(),
            series_max: 50_000,
            stats: true,
            requests: true,
            connections: true,
            lag: true,
            transactions: true,
            remoting: true,
            store: true,
        }
    }
}

impl DelayLevels {
    /// Reads `1s 5s …`.
    pub fn read(text: &str) -> Option<DelayLevels> {
        let delays: Option<Vec<Duration>> = text
            .split_whitespace()
            .map(|delay| {
                let number = delay.strip_suffix(['s', 'm', 'h', 'd'])?;
                let unit = match delay.as_bytes().last()? {
                    b's' => 1,
                    b'm' => 60,
                    b'h' => 3600,
                    _ => 24 * 3600,
                };
                Some(Duration::from_secs(u64::from(number.parse::<u32>().ok()?) * unit))
            })
            .collect();
        let delays = delays.filter(|delays| !delays.is_empty())?;
        Some(DelayLevels { text: text.trim().to_owned(), delays })
    }

    /// The delays, level 1 first.
    pub fn delays(&self) -> &[Duration] {
        &self.delays
    }

    /// The highest level; a message with a higher one waits as long as one with this.
    pub fn max(&self) -> usize {
        self.delays.len()
    }

    /// How long a message of `level` waits; `None` when the level is 0 or negative: not at all.
    pub fn delay(&self, level: i32) -> Option<Duration> {
        let level = usize::try_from(level).ok().filter(|level| *level > 0)?;
        Some(self.delays[level.min(self.max()) - 1])
    }
}

impl Default for DelayLevels {
    fn default() -> DelayLevels {
        // The text reads, as a test shows.
        DelayLevels::read("1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h").expect("default delay levels")
    }
}

impl Config {
    /// `storePathCommitLog`, or its default inside `storePathRootDir`.
    pub fn commit_log_dir(&self) -> PathBuf {
        self.commit_log_path.clone().unwrap_or_else(|| self.store_root.join("commitlog"))
    }

    /// Every key that is honoured, with the field it sets and what is allowed, in the order of the fields.
    fn items(&mut self) -> Vec<(&'static str, Item<'_>)> {
        use Item::*;
        const MILLIS: RangeInclusive<u64> = 1..=i32::MAX as u64;
        const SIZE: RangeInclusive<u64> = 1..=i32::MAX as u64;
        vec![
            ("brokerClusterName", Text(&mut self.cluster_name)),
            ("brokerName", Text(&mut self.name)),
            ("brokerId", Id(&mut self.id)),
            ("brokerIP1", Host(&mut self.ip1)),
            ("bindAddress", Text(&mut self.bind_address)),
            ("listenPort", Port(&mut self.listen_port)),
            ("namesrvAddr", Addresses(&mut self.namesrv_addr)),
            ("registerNameServerPeriod", Period(&mut self.register_period, 10_000..=60_000)),
            ("registerBrokerTimeoutMills", Millis(&mut self.register_timeout, MILLIS)),
            ("regionId", Text(&mut self.region_id)),
            ("brokerPermission", Permission(&mut self.permission)),
            ("channelExpiredTimeout", Millis(&mut self.channel_expired_timeout, MILLIS)),
            ("serverChannelMaxIdleTimeSeconds", Seconds(&mut self.channel_max_idle, 1..=86_400)),
            ("autoCreateTopicEnable", Flag(&mut self.auto_create_topic)),
            ("defaultTopicQueueNums", Number(&mut self.default_topic_queue_nums, 1..=65_535)),
            ("autoCreateSubscriptionGroup", Flag(&mut self.auto_create_subscription_group)),
            ("clusterTopicEnable", Flag(&mut self.cluster_topic)),
            ("brokerTopicEnable", Flag(&mut self.broker_topic)),
            ("traceTopicEnable", Flag(&mut self.trace_topic)),
            ("msgTraceTopicName", Text(&mut self.trace_topic_name)),
            ("traceOn", Flag(&mut self.trace_on)),
            ("storePathRootDir", Directory(&mut self.store_root)),
            ("storePathCommitLog", OneDirectory(&mut self.commit_log_path)),
            ("mappedFileSizeCommitLog", Size(&mut self.commit_log_file_size, 4096..=i32::MAX as u64, 1)),
            ("mappedFileSizeConsumeQueue", Size(&mut self.consume_queue_file_size, 20..=i32::MAX as u64, 20)),
            ("messageIndexEnable", Flag(&mut self.message_index)),
            ("maxHashSlotNum", Size(&mut self.max_hash_slot_num, SIZE, 1)),
            ("maxIndexNum", Size(&mut self.max_index_num, 2..=i32::MAX as u64, 1)),
            ("maxMessageSize", Size(&mut self.max_message_size, SIZE, 1)),
            ("flushDiskType", Flush(&mut self.flush_disk_type)),
            ("flushIntervalCommitLog", Millis(&mut self.flush_interval, MILLIS)),
            ("syncFlushTimeout", Millis(&mut self.sync_flush_timeout, MILLIS)),
            ("fileReservedTime", Hours(&mut self.file_reserved_time)),
            ("deleteWhen", HoursOfDay(&mut self.delete_when)),
            ("diskMaxUsedSpaceRatio", Ratio(&mut self.disk_max_used_space_ratio, 10..=95)),
            ("cleanFileForciblyEnable", Flag(&mut self.clean_file_forcibly)),
            ("cleanResourceInterval", Millis(&mut self.clean_resource_interval, MILLIS)),
            ("deleteFileBatchMax", Number(&mut self.delete_file_batch_max, 1..=1_000_000)),
            ("deleteCommitLogFilesInterval", Millis(&mut self.delete_commit_log_files_interval, 0..=60_000)),
            ("destroyMapedFileIntervalForcibly", Millis(&mut self.destroy_mapped_file_interval_forcibly, MILLIS)),
            ("diskFreeSpaceMin", Size(&mut self.disk_free_space_min, 0..=i64::MAX as u64, 1)),
            ("diskSpaceWarningLevelRatio", Percent(&mut self.disk_space_warning_level_ratio, 35..=90)),
            ("diskSpaceCleanForciblyRatio", Percent(&mut self.disk_space_clean_forcibly_ratio, 30..=85)),
            ("scrubBytesPerSecond", Size(&mut self.scrub_rate, 0..=u32::MAX as u64, 1)),
            ("messageLifeMaxBytes", Size(&mut self.message_life_max_bytes, 0..=i64::MAX as u64, 1)),
            ("dedupIdsMax", Size(&mut self.dedup_ids_max, 1..=1_000_000_000, 1)),
            ("topicsMax", Size(&mut self.topics_max, 1..=TOPICS_MAX as u64, 1)),
            ("groupsMax", Size(&mut self.groups_max, 1..=GROUPS_MAX as u64, 1)),
            ("topicsPerUserMax", Size(&mut self.topics_per_user_max, 0..=TOPICS_MAX as u64, 1)),
            ("groupsPerUserMax", Size(&mut self.groups_per_user_max, 0..=GROUPS_MAX as u64, 1)),
            ("messageDelayLevel", Delays(&mut self.delay_levels)),
            ("timerWheelEnable", Flag(&mut self.timer_wheel)),
            ("timerPrecisionMs", Tick(&mut self.timer_precision)),
            ("timerMaxDelaySec", Seconds(&mut self.timer_max_delay, 1..=i32::MAX as u64)),
            ("timerRollWindowSlot", Number(&mut self.timer_roll_window, 2..=7 * 24 * 3600 - 60)),
            ("timerFlushIntervalMs", Millis(&mut self.timer_flush_interval, MILLIS)),
            ("mappedFileSizeTimerLog", Size(&mut self.timer_log_file_size, 4096..=i32::MAX as u64, 1)),
            ("recallMessageEnable", Flag(&mut self.recall)),
            ("transactionTimeOut", Millis(&mut self.transaction_timeout, 0..=i64::MAX as u64)),
            ("transactionCheckInterval", Millis(&mut self.transaction_check_interval, MILLIS)),
            ("transactionCheckMax", Number(&mut self.transaction_check_max, 0..=i32::MAX as u64)),
            ("rejectTransactionMessage", Flag(&mut self.reject_transaction)),
            ("storeReplyMessageEnable", Flag(&mut self.store_reply)),
            ("useServerSideResetOffset", Flag(&mut self.server_side_reset)),
            ("accessMessageInMemoryMaxRatio", Ratio(&mut self.memory_ratio, 10..=95)),
            ("longPollingEnable", Flag(&mut self.long_polling)),
            ("shortPollingTimeMills", Millis(&mut self.short_polling, MILLIS)),
            ("maxTransferBytesOnMessageInMemory", Size(&mut self.max_transfer_bytes_in_memory, SIZE, 1)),
            ("maxTransferCountOnMessageInMemory", Size(&mut self.max_transfer_count_in_memory, SIZE, 1)),
            ("enablePropertyFilter", Flag(&mut self.property_filter)),
            ("litePullMessageEnable", Flag(&mut self.lite_pull)),
            ("notifyConsumerIdsChangedEnable", Flag(&mut self.notify_consumer_ids_changed)),
            ("flushConsumerOffsetInterval", Millis(&mut self.flush_consumer_offset_interval, MILLIS)),
            ("flushDelayOffsetInterval", Millis(&mut self.flush_delay_offset_interval, MILLIS)),
            ("aclEnable", Flag(&mut self.access.plain)),
            ("plainAclFile", File(&mut self.access.plain_file)),
            ("authenticationEnabled", Flag(&mut self.access.authentication)),
            ("authorizationEnabled", Flag(&mut self.access.authorization)),
            ("authenticationWhitelist", Codes(&mut self.access.authentication_whitelist)),
            ("authorizationWhitelist", Codes(&mut self.access.authorization_whitelist)),
            ("initAuthenticationUser", User(&mut self.access.init_user)),
            ("innerClientAuthenticationCredentials", User(&mut self.access.inner_credentials)),
            ("migrateAuthFromV1Enabled", Flag(&mut self.access.migrate)),
            ("logLevel", LogLevel(&mut self.log.level)),
            ("logFormat", LogFormat(&mut self.log.json)),
            ("logFile", OneDirectory(&mut self.log.file)),
            ("logFileMaxBytes", Size(&mut self.log.file_bytes_max, 65_536..=i64::MAX as u64, 1)),
            ("logFilesMax", Size(&mut self.log.files_max, 1..=10_000, 1)),
            ("metricsExporterType", Exporter(&mut self.metrics.on)),
            ("metricsPromExporterHost", Host(&mut self.metrics.host)),
            ("metricsPromExporterPort", Port(&mut self.metrics.port)),
            ("metricsLabel", Labels(&mut self.metrics.label)),
            ("metricsOtelCardinalityLimit", Size(&mut self.metrics.series_max, SIZE, 1)),
            ("enableStatsMetrics", Flag(&mut self.metrics.stats)),
            ("enableRequestMetrics", Flag(&mut self.metrics.requests)),
            ("enableConnectionMetrics", Flag(&mut self.metrics.connections)),
            ("enableLagAndDlqMetrics", Flag(&mut self.metrics.lag)),
            ("enableTransactionMetrics", Flag(&mut self.metrics.transactions)),
            ("enableRemotingMetrics", Flag(&mut self.metrics.remoting)),
            ("enableMessageStoreMetrics", Flag(&mut self.metrics.store)),
        ]
    }

    /// In what the numbers of each key count.
    fn units(mut self) -> Vec<(&'static str, Option<&'static str>)> {
        self.items().into_iter().map(|(key, item)| (key, item.unit(key))).collect()
    }

    /// Every key that is honoured and its value as text, in the order of the manual.
    pub fn values(&self) -> Vec<(&'static str, String)> {
        let entrance = self.entrance.values();
        self.clone().items().into_iter().map(|(key, item)| (key, item.show())).chain(entrance).collect()
    }

    /// The value of a key that is honoured, as text.
    pub fn value(&self, key: &str) -> Option<String> {
        self.values().into_iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    /// Reads a `broker.conf` over the defaults.
    pub fn read(path: &Path) -> Result<(Config, Notes), ConfigError> {
        Config::default().read_over(path)
    }

    /// Reads a `broker.conf` over these settings.
    pub fn read_over(self, path: &Path) -> Result<(Config, Notes), ConfigError> {
        let text = std::fs::read(path).map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
        let (config, notes) = self.parse_over(path, &String::from_utf8_lossy(&text))?;
        Ok((Config { file: Some(path.to_owned()), ..config }, notes))
    }

    /// Reads the text of a `broker.conf` over these settings; `path` is for messages only.
    pub fn parse_over(mut self, path: &Path, text: &str) -> Result<(Config, Notes), ConfigError> {
        let mut notes = Notes::default();
        let mut set: Vec<(usize, String)> = Vec::new();
        for properties::Property { line, key, value } in properties::read(text) {
            let key = match FORMERLY.iter().find(|(old, _)| *old == key) {
                Some((_, now)) => (*now).to_owned(),
                None => key,
            };
            if let Some((earlier, _)) = set.iter().find(|(_, other)| *other == key) {
                notes.repeated.push(Repeated { key: key.clone(), line, earlier: *earlier });
            }
            set.push((line, key.clone()));
            let bad = |value: &str, allowed: String| ConfigError::Value {
                path: path.into(),
                line,
                key: key.clone(),
                value: value.to_owned(),
                allowed,
            };
            if let Some((_, mut item)) = self.items().into_iter().find(|(honoured, _)| *honoured == key) {
                let shown = if matches!(item, Item::User(_)) { HIDDEN } else { &value };
                item.set(&value).map_err(|allowed| bad(shown, allowed))?;
                continue;
            }
            if let Some(set) = self.entrance.set(&key, &value) {
                set.map_err(|allowed| bad(&value, allowed.into()))?;
                continue;
            }
            if let Some(refused) = REFUSED.iter().find(|refused| refused.key == key && (refused.when)(&value)) {
                return Err(bad(&value, refused.instead.into()));
            }
            if let Some((_, class)) = PROVIDERS.iter().find(|(known, _)| *known == key) {
                match value.is_empty() || value.rsplit('.').next() == Some(class) {
                    true => continue,
                    false => return Err(bad(&value, NO_PROVIDER.into())),
                }
            }
            match apache_keys().find(|(known, _)| *known == key) {
                Some((_, default)) => {
                    let differs = default != value;
                    notes.not_honoured.push(NotHonoured { line, key, value, differs });
                }
                None => {
                    let nearest = nearest(&key, apache_keys().map(|(known, _)| known));
                    notes.unknown.push(Unknown { line, key, nearest });
                }
            }
        }
        Ok((self, notes))
    }
}

/// What an operator should hear about a `broker.conf` that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// Apache knows these, this version does not do what they say.
    pub not_honoured: Vec<NotHonoured>,
    /// Nobody knows these.
    pub unknown: Vec<Unknown>,
    /// These stand there more than once; the last one holds.
    pub repeated: Vec<Repeated>,
}

/// A key of Apache's that is not honoured yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotHonoured {
    /// Its line.
    pub line: usize,
    /// The key.
    pub key: String,
    /// The value it was given.
    pub value: String,
    /// The value is not Apache's default: the operator wanted something that does not happen.
    pub differs: bool,
}

/// A key that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Its line.
    pub line: usize,
    /// The key.
    pub key: String,
    /// What was most likely meant.
    pub nearest: Option<&'static str>,
}

/// A key that was given before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeated {
    /// The key.
    pub key: String,
    /// The line that holds.
    pub line: usize,
    /// A line that does not.
    pub earlier: usize,
}

/// Why a broker does not start with this `broker.conf`.
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
        allowed: String,
    },
}

/// A setting that is not honoured, and that no operator wants passed over: without it messages are open to everybody,
/// lost, or damaged.
struct Refused {
    key: &'static str,
    when: fn(&str) -> bool,
    instead: &'static str,
}

const REFUSED: &[Refused] = &[
    Refused { key: "brokerRole", when: |role| role == "SLAVE", instead: NO_SLAVE },
    Refused { key: "enableControllerMode", when: is_true, instead: NO_SLAVE },
    Refused { key: "enableDLegerCommitLog", when: is_true, instead: NO_SLAVE },
];
const NO_SLAVE: &str = "this version does not replicate; run it as a master of its own, with brokerRole=ASYNC_MASTER, brokerId=0, \
    enableControllerMode=false and enableDLegerCommitLog=false";

/// Apache's classes that check users and rights, by the keys that name them: what they do is done here. Another class would decide
/// otherwise.
const PROVIDERS: [(&str, &str); 4] = [
    ("authenticationProvider", "DefaultAuthenticationProvider"),
    ("authenticationMetadataProvider", "LocalAuthenticationMetadataProvider"),
    ("authorizationProvider", "DefaultAuthorizationProvider"),
    ("authorizationMetadataProvider", "LocalAuthorizationMetadataProvider"),
];
const NO_PROVIDER: &str =
    "classes of one's own can't decide here, only what Apache's Default… and Local… providers do; leave the key out";

/// Is a user with its secret behind this key?
pub(crate) fn is_secret(key: &str) -> bool {
    ["initAuthenticationUser", "innerClientAuthenticationCredentials"].contains(&key)
}

/// What is shown of a secret.
pub(crate) const HIDDEN: &str = "******";

/// How 4.4 and older spell keys, and how they are spelt since.
const FORMERLY: [(&str, &str); 2] = [
    ("mapedFileSizeCommitLog", "mappedFileSizeCommitLog"),
    ("mapedFileSizeConsumeQueue", "mappedFileSizeConsumeQueue"),
];

fn is_true(value: &str) -> bool {
    value.eq_ignore_ascii_case("true")
}

/// The keys that Apache's brokers read, with their defaults there.
fn apache_keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    include_str!("config/apache.properties")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once('=').unwrap_or((line, "")))
}

/// Do Apache's brokers read this key?
pub(crate) fn is_apaches(key: &str) -> bool {
    apache_keys().any(|(known, _)| known == key)
}

/// The settings that take effect at once when UPDATE_BROKER_CONFIG changes them.
pub const AT_ONCE: [&str; 36] = [
    "topicsMax",
    "groupsMax",
    "topicsPerUserMax",
    "groupsPerUserMax",
    "registerBrokerTimeoutMills",
    "registerNameServerPeriod",
    "brokerPermission",
    "channelExpiredTimeout",
    "autoCreateTopicEnable",
    "autoCreateSubscriptionGroup",
    "traceOn",
    "maxMessageSize",
    "syncFlushTimeout",
    "fileReservedTime",
    "deleteWhen",
    "diskMaxUsedSpaceRatio",
    "cleanFileForciblyEnable",
    "cleanResourceInterval",
    "deleteFileBatchMax",
    "deleteCommitLogFilesInterval",
    "destroyMapedFileIntervalForcibly",
    "transactionTimeOut",
    "transactionCheckInterval",
    "transactionCheckMax",
    "rejectTransactionMessage",
    "longPollingEnable",
    "shortPollingTimeMills",
    "maxTransferBytesOnMessageInMemory",
    "maxTransferCountOnMessageInMemory",
    "enablePropertyFilter",
    "litePullMessageEnable",
    "notifyConsumerIdsChangedEnable",
    "flushConsumerOffsetInterval",
    "logLevel",
    "metricsLabel",
    "metricsOtelCardinalityLimit",
];

/// `host:port` of each of `text`'s addresses, which are parted by `;`. Without a port it is 9876.
pub fn namesrv_addresses(text: &str) -> Option<Vec<String>> {
    text.split([';', ','])
        .map(str::trim)
        .filter(|address| !address.is_empty())
        .map(|address| {
            let colons = address.matches(':').count();
            let has_port = colons == 1 || address.contains("]:");
            let whole = match has_port {
                true => address.to_owned(),
                false if colons > 1 && !address.starts_with('[') => format!("[{address}]:{NAMESRV_PORT}"),
                false => format!("{address}:{NAMESRV_PORT}"),
            };
            let (host, port) = whole.rsplit_once(':')?;
            let good = !host.is_empty() && !host.contains(['/', ' ']) && port.parse::<u16>().is_ok_and(|port| port > 0);
            good.then_some(whole)
        })
        .collect()
}

/// True of an address or a DNS name; false with a port, or of a URL.
pub fn is_host(text: &str) -> bool {
    !text.is_empty() && (!text.contains([':', '/', ' ']) || text.parse::<std::net::Ipv6Addr>().is_ok())
}

/// A field and what it may be set to.
enum Item<'a> {
    Text(&'a mut String),
    Host(&'a mut Option<String>),
    Flag(&'a mut bool),
    Id(&'a mut i64),
    Port(&'a mut u16),
    Permission(&'a mut i32),
    Number(&'a mut i32, RangeInclusive<u64>),
    /// Within a range, and brought up to a multiple.
    Size(&'a mut usize, RangeInclusive<u64>, usize),
    Millis(&'a mut Duration, RangeInclusive<u64>),
    /// As `Millis`, but brought into its range, as Apache does.
    Period(&'a mut Duration, RangeInclusive<u64>),
    /// Percents, brought into their range, as Apache does.
    Ratio(&'a mut u8, RangeInclusive<u64>),
    /// The same, or not set.
    Percent(&'a mut Option<u8>, RangeInclusive<u64>),
    /// 100, 200, 500 or 1000 ms, brought down to one of them, as Apache does.
    Tick(&'a mut Duration),
    Seconds(&'a mut Duration, RangeInclusive<u64>),
    Hours(&'a mut Duration),
    HoursOfDay(&'a mut Vec<u8>),
    Addresses(&'a mut Vec<String>),
    Directory(&'a mut PathBuf),
    OneDirectory(&'a mut Option<PathBuf>),
    /// A file, or none.
    File(&'a mut Option<PathBuf>),
    Flush(&'a mut FlushDiskType),
    Delays(&'a mut DelayLevels),
    /// Request codes.
    Codes(&'a mut Vec<i32>),
    /// A name and its secret, which is never shown.
    User(&'a mut Option<Credentials>),
    Exporter(&'a mut bool),
    LogLevel(&'a mut String),
    LogFormat(&'a mut bool),
    Labels(&'a mut String),
}

impl Item<'_> {
    /// Sets the field. The error says what would be allowed.
    fn set(&mut self, value: &str) -> Result<(), String> {
        match self {
            Item::Text(field) if !value.is_empty() => **field = value.into(),
            Item::Text(_) => return Err("it must not be empty".into()),
            Item::Host(field) => {
                if !value.is_empty() && !is_host(value) {
                    return Err("an address or a name, without port".into());
                }
                **field = Some(value.to_owned()).filter(|host| !host.is_empty());
            }
            Item::Flag(field) => match value.to_ascii_lowercase().as_str() {
                "true" => **field = true,
                "false" => **field = false,
                _ => return Err("true or false".into()),
            },
            Item::Id(field) => match value.parse() {
                Ok(0) => **field = 0,
                Ok(1..=i64::MAX) => return Err(NO_SLAVE.into()),
                _ => return Err("0, a master".into()),
            },
            Item::Port(field) => **field = number(value, 0..=65_535)? as u16,
            Item::Permission(field) => match value {
                "2" | "4" | "6" => **field = number(value, 2..=6)? as i32,
                _ => return Err("6 (read and write), 4 (read) or 2 (write)".into()),
            },
            Item::Number(field, range) => **field = number(value, range.clone())? as i32,
            Item::Size(field, range, unit) => {
                // Rounded up, as Apache does: what its store was made with is what ours must be made with.
                **field = (number(value, range.clone())? as usize).next_multiple_of(*unit);
            }
            Item::Millis(field, range) => **field = Duration::from_millis(number(value, range.clone())?),
            Item::Period(field, range) => {
                let millis = number(value, 0..=i32::MAX as u64)?.clamp(*range.start(), *range.end());
                **field = Duration::from_millis(millis);
            }
            Item::Ratio(field, range) => {
                **field = number(value, 0..=100)?.clamp(*range.start(), *range.end()) as u8;
            }
            Item::Percent(field, _) if value.is_empty() => **field = None,
            Item::Percent(field, range) => {
                **field = Some(number(value, 0..=100)?.clamp(*range.start(), *range.end()) as u8);
            }
            Item::Tick(field) => {
                let millis = number(value, 0..=i32::MAX as u64)?;
                let tick = [1000, 500, 200].into_iter().find(|tick| *tick <= millis).unwrap_or(100);
                **field = Duration::from_millis(tick);
            }
            Item::Seconds(field, range) => **field = Duration::from_secs(number(value, range.clone())?),
            Item::Hours(field) => **field = Duration::from_secs(number(value, 1..=1_000_000)? * 3600),
            Item::HoursOfDay(field) => {
                let hours = value.split(';').map(|hour| number(hour.trim(), 0..=23).map(|hour| hour as u8));
                let hours: Result<Vec<u8>, String> = hours.collect();
                **field = hours.map_err(|_| "hours of the day from 00 to 23, parted by `;`")?;
            }
            Item::Addresses(field) => {
                **field = namesrv_addresses(value).ok_or("host:port, several parted by `;`")?;
            }
            Item::Directory(field) if !value.is_empty() => **field = value.into(),
            Item::Directory(_) => return Err("a directory".into()),
            Item::OneDirectory(_) if value.contains(',') => {
                return Err("one directory; a log over several is not in this version".into());
            }
            Item::OneDirectory(field) => **field = Some(PathBuf::from(value)).filter(|_| !value.is_empty()),
            Item::File(field) => **field = Some(PathBuf::from(value)).filter(|_| !value.is_empty()),
            Item::Codes(field) => **field = access::read_codes(value).ok_or("request codes, parted by commas")?,
            // As it is shown: it stays.
            Item::User(_) if value == HIDDEN => {}
            Item::User(field) => {
                let allowed = r#"{"username":"…","password":"…"}, or {"accessKey":"…","secretKey":"…"}"#;
                **field = access::read_credentials(value).ok_or(allowed)?;
            }
            Item::Flush(field) => match value {
                "SYNC_FLUSH" => **field = FlushDiskType::Sync,
                "ASYNC_FLUSH" => **field = FlushDiskType::Async,
                _ => return Err("SYNC_FLUSH or ASYNC_FLUSH".into()),
            },
            Item::Exporter(field) => match value.to_ascii_uppercase().as_str() {
                "DISABLE" | "0" => **field = false,
                "PROM" | "2" => **field = true,
                _ => {
                    return Err(
                        "DISABLE or PROM: this version is scraped by Prometheus, and pushes metrics nowhere".into()
                    );
                }
            },
            Item::LogLevel(field) if logging::is_level(value) => **field = value.into(),
            Item::LogLevel(_) => return Err(logging::LEVEL_ALLOWED.into()),
            Item::LogFormat(field) => **field = logging::read_format(value).ok_or(logging::FORMAT_ALLOWED)?,
            Item::Labels(field) => match crate::metrics::read_labels(value) {
                Some(_) => **field = value.into(),
                None => return Err("name:value, several parted by `,`; names are made of letters, digits and _".into()),
            },
            Item::Delays(field) => {
                **field =
                    DelayLevels::read(value).ok_or("numbers with a unit s, m, h or d, parted by blanks: 1s 5s 2h")?;
            }
        }
        Ok(())
    }

    /// In what its number counts.
    fn unit(&self, key: &str) -> Option<&'static str> {
        match self {
            Item::Millis(..) | Item::Period(..) | Item::Tick(_) => Some("ms"),
            Item::Seconds(..) => Some("s"),
            Item::Hours(_) => Some("h"),
            Item::Ratio(..) | Item::Percent(..) => Some("%"),
            Item::Size(..) if ["Size", "Bytes", "Space"].iter().any(|word| key.contains(word)) => Some("bytes"),
            _ => None,
        }
    }

    /// The field's value as a file would have it.
    fn show(&self) -> String {
        match self {
            Item::Text(text) => text.to_string(),
            Item::Host(host) => host.as_ref().cloned().unwrap_or_default(),
            Item::Flag(flag) => flag.to_string(),
            Item::Id(id) => id.to_string(),
            Item::Port(port) => port.to_string(),
            Item::Permission(number) | Item::Number(number, _) => number.to_string(),
            Item::Size(size, ..) => size.to_string(),
            Item::Millis(duration, _) | Item::Period(duration, _) | Item::Tick(duration) => {
                duration.as_millis().to_string()
            }
            Item::Ratio(percent, _) => percent.to_string(),
            Item::Percent(percent, _) => percent.map(|percent| percent.to_string()).unwrap_or_default(),
            Item::Seconds(duration, _) => duration.as_secs().to_string(),
            Item::Hours(duration) => (duration.as_secs() / 3600).to_string(),
            Item::HoursOfDay(hours) => hours.iter().enumerate().fold(String::new(), |mut text, (i, hour)| {
                // Writing to a String can't fail.
                let _ = write!(text, "{}{hour:02}", if i > 0 { ";" } else { "" });
                text
            }),
            Item::Addresses(addresses) => addresses.join(";"),
            Item::Directory(path) => path.display().to_string(),
            Item::OneDirectory(path) | Item::File(path) => {
                path.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
            }
            Item::Flush(FlushDiskType::Sync) => "SYNC_FLUSH".into(),
            Item::Flush(FlushDiskType::Async) => "ASYNC_FLUSH".into(),
            Item::Delays(levels) => levels.text.clone(),
            Item::Codes(codes) => access::show_codes(codes),
            Item::User(user) => user.as_ref().map(|_| HIDDEN.to_owned()).unwrap_or_default(),
            Item::Exporter(on) => if **on { "PROM" } else { "DISABLE" }.into(),
            Item::Labels(text) | Item::LogLevel(text) => text.to_string(),
            Item::LogFormat(json) => logging::format_name(**json).into(),
        }
    }
}

fn number(value: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    match value.parse::<u64>() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("a number from {} to {}", range.start(), range.end())),
    }
}

#[cfg(test)]
mod tests;
