//! Which key sets which field of [`Config`], and what it may be set to.

use super::read::{HIDDEN, NO_SLAVE};
use super::{Config, DelayLevels, FlushDiskType};
use crate::groups::GROUPS_MAX;
use crate::topics::TOPICS_MAX;
use protocol::logging;
use remoting::Credentials;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Where name servers listen unless an address says otherwise.
const NAMESRV_PORT: u16 = 9876;

impl Config {
    /// Every key that is honoured, with the field it sets and what is allowed, in the order of the fields.
    pub(super) fn items(&mut self) -> Vec<(&'static str, Item<'_>)> {
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
            ("timerCongestNumEachSlot", Number(&mut self.timer_congestion, 1..=i32::MAX as u64)),
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
    pub(super) fn units(mut self) -> Vec<(&'static str, Option<&'static str>)> {
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
}

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
pub(super) enum Item<'a> {
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
    pub(super) fn set(&mut self, value: &str) -> Result<(), String> {
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
    pub(super) fn unit(&self, key: &str) -> Option<&'static str> {
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
    pub(super) fn show(&self) -> String {
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
