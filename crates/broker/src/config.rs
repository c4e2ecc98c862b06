//! What an operator can set: `broker.conf`, with Apache's keys.
//!
//! [`Config`] is the manual. [`Config::default`] is the only place where defaults stand. `Config::items` in `keys` says which key
//! sets which field and what is allowed; reading (`read`), printing and GET_BROKER_CONFIG all go by it.

mod keys;
pub mod manual;
mod read;

use crate::groups::GROUPS_MAX;
use crate::topics::TOPICS_MAX;
use protocol::logging::LogConfig;
use remoting::EntranceSettings;
use std::path::PathBuf;
use std::time::Duration;
use store::clock::Clock;
use store::disk::Disk;

pub use keys::{is_host, namesrv_addresses};
use read::apache_keys;
pub use read::{ConfigError, NotHonoured, Notes, Repeated, Unknown};
pub(crate) use read::{HIDDEN, is_apaches, is_secret};

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
    /// When so many messages wait for one tick, more of them are refused the more there are, and all when there are twice as many.
    /// Apache's default is the same: any number.
    /// Key: `timerCongestNumEachSlot`. Default: 2147483647.
    pub timer_congestion: i32,
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
            timer_congestion: i32::MAX,
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
}

/// The settings that take effect at once when UPDATE_BROKER_CONFIG changes them.
pub const AT_ONCE: [&str; 46] = [
    "recallMessageEnable",
    "storeReplyMessageEnable",
    "useServerSideResetOffset",
    "accessMessageInMemoryMaxRatio",
    "timerMaxDelaySec",
    "timerFlushIntervalMs",
    "flushDelayOffsetInterval",
    "diskFreeSpaceMin",
    "diskSpaceWarningLevelRatio",
    "diskSpaceCleanForciblyRatio",
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

#[cfg(test)]
mod tests;
