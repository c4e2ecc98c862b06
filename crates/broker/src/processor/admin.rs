//! What operators ask of the broker itself: how it is, how it is set, that it cleans up.

use super::short;
use super::topic::REGISTRATION_TIMEOUT;
use crate::{Broker, now_millis};
use protocol::admin::{HaStatus, ProducerInfo, ProducerTable};
use protocol::code::response;
use protocol::command::VERSION;
use protocol::json;
use protocol::properties::{self, Property};
use protocol::request::Empty;
use protocol::request::admin::{
    CleanExpiredQueues, CleanUnusedTopics, DeleteExpiredLog, GetAllConsumerOffsets, GetAllDelayOffsets,
    GetAllProducers, GetBrokerConfig, GetBrokerConfigReply, GetHaStatus, GetRuntimeInfo, UpdateBrokerConfig,
};
use protocol::route::KvTable;
use protocol::topic::SCHEDULE_TOPIC;
use remoting::{Answer, Call, Peer, Reject};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Space, SpaceLimits};
use tokio::task::spawn_blocking;

/// GET_BROKER_RUNTIME_INFO (28).
pub(super) async fn runtime_info(broker: Arc<Broker>, _: Call<GetRuntimeInfo>) -> Result<Answer<Empty>, Reject> {
    Ok(Answer::new(Empty {}).with_body(json::write(&KvTable { table: broker.runtime_info() })))
}

impl Broker {
    /// How the broker is, under Apache's names. Requests wait in no queue here, so that those are empty and have no room;
    /// times of single gets are not taken.
    #[doc(alias = "prepareRuntimeInfo")]
    fn runtime_info(&self) -> BTreeMap<String, String> {
        let mut table = BTreeMap::new();
        let mut tell = |name: &str, value: String| _ = table.insert(name.to_owned(), value);
        let (log_min, log_max) = self.store.commit_log_bounds();
        let messages = self.put_so_far();
        let bytes = log_max.0 - self.log_end_at_start;
        let (put, given) = self.so_far();
        let mornings = self.stats.mornings();

        tell("brokerVersion", VERSION.to_string());
        tell("brokerVersionDesc", version_name());
        tell("brokerActive", "true".into());
        tell("bootTimestamp", self.started.1.to_string());
        // By the wall clock, as Apache's: together with the time of the start it tells what time it is here.
        let runs = now_millis().saturating_sub(self.started.1);
        tell("runtime", running_for(Duration::from_millis(u64::try_from(runs).unwrap_or(0))));
        tell("startAcceptSendRequestTimeStamp", "0".into());

        if let Some(ends) = self.entrance.certificate_expires() {
            tell("tlsCertificateExpires", ends.to_string());
        }

        tell("msgPutTotalYesterdayMorning", mornings.yesterday.0.to_string());
        tell("msgPutTotalTodayMorning", mornings.today.0.to_string());
        tell("msgPutTotalTodayNow", put.to_string());
        tell("msgGetTotalYesterdayMorning", mornings.yesterday.1.to_string());
        tell("msgGetTotalTodayMorning", mornings.today.1.to_string());
        tell("msgGetTotalTodayNow", given.to_string());

        let rates =
            |of: fn(crate::stats::Totals) -> i64| self.stats.rates(of).map(|rate| format!("{rate:?}")).join(" ");
        tell("putTps", rates(|totals| totals.put));
        tell("getFoundTps", rates(|totals| totals.found));
        tell("getMissTps", rates(|totals| totals.missed));
        tell("getTotalTps", rates(|totals| totals.found + totals.missed));
        tell("getTransferredTps", rates(|totals| totals.given));
        // 4.x spells it so.
        tell("getTransferedTps", rates(|totals| totals.given));

        tell("putMessageTimesTotal", messages.max(1).to_string());
        tell("putMessageSizeTotal", bytes.to_string());
        tell("putMessageAverageSize", format!("{:?}", bytes as f64 / messages.max(1) as f64));
        tell("putMessageDistributeTime", self.put_times.distribution());
        tell("putMessageEntireTimeMax", self.put_times.longest_millis().to_string());
        for not_taken in ["putMessageFailedTimes", "getMessageEntireTimeMax", "dispatchMaxBuffer"] {
            tell(not_taken, "0".into());
        }
        tell("putLatency99", format!("{:.2}", self.put_times.percentile(0.99)));
        tell("putLatency999", format!("{:.2}", self.put_times.percentile(0.999)));

        for pool in ["send", "pull", "litePull", "query", "ack"] {
            for what in ["QueueSize", "QueueCapacity", "QueueHeadWaitTimeMills"] {
                tell(&format!("{pool}ThreadPool{what}"), "0".into());
            }
        }
        tell("EndTransactionQueueSize", "0".into());
        tell("EndTransactionThreadPoolQueueCapacity", "0".into());

        tell("commitLogMinOffset", log_min.0.to_string());
        tell("commitLogMaxOffset", log_max.0.to_string());
        tell("dispatchBehindBytes", "0".into());
        tell("pageCacheLockTimeMills", "0".into());
        tell("remainTransientStoreBufferNumbs", i32::MAX.to_string());
        tell("remainHowManyDataToFlush", bytes_for_people(self.store.unflushed().max(0) as u64));
        tell("earliestMessageTimeStamp", self.store.earliest_store_timestamp().unwrap_or(-1).to_string());
        let ratio = |space: &io::Result<Space>| match space {
            Ok(space) => format!("{:?}", space.used_ratio()),
            Err(_) => "-1.0".into(),
        };
        let (space, log_space) = (self.store.space(), self.store.log_space());
        tell("commitLogDiskRatio", ratio(&log_space));
        tell(&format!("commitLogDiskRatio_{}", self.config.commit_log_dir().display()), ratio(&log_space));
        tell("consumeQueueDiskRatio", ratio(&space));
        if let Ok(space) = &log_space {
            let (total, free) = (bytes_for_people(space.total), bytes_for_people(space.free));
            tell("commitLogDirCapacity", format!("Total : {total}, Free : {free}."));
        }
        for level in self.delay.levels() {
            let max = self.store.max_offset(SCHEDULE_TOPIC, level - 1).0;
            if max > 0 {
                tell(&format!("scheduleMessageOffset_{level}"), format!("{},{max}", self.delay.next(level).0));
            }
        }
        for count in ["timerReadBehind", "timerOffsetBehind", "timerCongestNum"] {
            tell(count, "0".into());
        }
        tell("timerEnqueueTps", "0.0".into());
        tell("timerDequeueTps", "0.0".into());
        table
    }
}

/// The name of the version that we report, as Java's `MQVersion` spells it.
fn version_name() -> String {
    // V5_3_3 is 479; each release has a snapshot in front of it.
    format!("V5_3_{}", (VERSION - 473) / 2)
}

/// `[ 0 days, 1 hours, 2 minutes, 3 seconds ]`.
fn running_for(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    format!("[ {days} days, {hours} hours, {minutes} minutes, {} seconds ]", seconds % 60)
}

/// `1.5 GiB`, as Java's tools read it.
#[doc(alias = "humanReadableByteCount")]
fn bytes_for_people(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut rest, mut unit) = (bytes as f64, 0);
    while rest >= 1024.0 && unit < 6 {
        rest /= 1024.0;
        unit += 1;
    }
    format!("{rest:.1} {}iB", ["", "K", "M", "G", "T", "P", "E"][unit])
}

/// GET_BROKER_CONFIG (26): all settings, and what tools ask for that is no setting here, but holds.
pub(super) async fn get_config(
    broker: Arc<Broker>,
    _: Call<GetBrokerConfig>,
) -> Result<Answer<GetBrokerConfigReply>, Reject> {
    let version = String::from_utf8_lossy(&json::write(&broker.config.version())).into_owned();
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get()).to_string();
    let fixed = [
        ("brokerRole", "ASYNC_MASTER".to_owned()),
        ("filterServerNums", "0".to_owned()),
        ("slaveReadEnable", "false".to_owned()),
        ("useTLS", broker.config.entrance.tls_enable.to_string()),
        // mqadmin takes it for the number of processors.
        ("clientCallbackExecutorThreads", threads),
    ];
    let text = properties::write(broker.config.values().into_iter().chain(fixed));
    Ok(Answer::new(GetBrokerConfigReply { version }).with_body(text.into_bytes()))
}

/// UPDATE_BROKER_CONFIG (25).
pub(super) async fn update_config(
    broker: Arc<Broker>,
    call: Call<UpdateBrokerConfig>,
) -> Result<Answer<Empty>, Reject> {
    let text = std::str::from_utf8(&call.body)
        .map_err(|error| Reject::system_error(format!("the settings are no text in UTF-8: {error}")))?;
    let changes = properties::read(text);
    // What has begun ends, also when its client is gone before.
    let changing = tokio::spawn(change_settings(broker, changes, call.peer));
    changing.await.map_err(|error| Reject::system_error(format!("the work broke off: {error}")))?
}

async fn change_settings(broker: Arc<Broker>, changes: Vec<Property>, by: Peer) -> Result<Answer<Empty>, Reject> {
    use crate::settings::UpdateError;
    let changing = broker.clone();
    let changed = blocking(move || changing.config.update(&changes, now_millis())).await?;
    let changed = changed.map_err(|error| {
        let code = match error {
            UpdateError::BlackListed(_) => response::NO_PERMISSION,
            UpdateError::File { .. } => response::SYSTEM_ERROR,
            _ => response::INVALID_PARAMETER,
        };
        Reject::new(code, error.to_string())
    })?;
    for key in &changed {
        tracing::info!(key, value = broker.config.value(key), ?by, "setting changed");
    }
    broker.take_settings(&changed).await;
    Ok(Empty {}.into())
}

impl Broker {
    /// Hands changed settings to who keeps them elsewhere.
    async fn take_settings(&self, changed: &[String]) {
        self.store.set_limits(self.config.max_message_size, self.config.file_reserved_time);
        self.timer.set_delay_max(self.config.timer_max_delay);
        if changed.iter().any(|key| key.starts_with("disk")) {
            self.store.set_space_limits(SpaceLimits::of(&crate::store_config(&self.config)));
        }
        self.entrance.limiter.set(self.config.entrance.limits);
        self.topics.set_max(self.config.topics_max, self.config.topics_per_user_max);
        self.groups.set_max(self.config.groups_max, self.config.groups_per_user_max);
        self.groups.set_auto_create(self.config.auto_create_subscription_group);
        if changed.iter().any(|key| key == "logLevel") {
            self.config.tell_log_level();
        }
        if changed.iter().any(|key| key == "brokerPermission") {
            // Name servers are told topics with what the broker permits.
            let counter = self.topics.touch(now_millis());
            if !self.config.namesrv_addr.is_empty() {
                let _ = tokio::time::timeout(REGISTRATION_TIMEOUT, self.topics.registered(counter)).await;
            }
        }
    }
}

/// DELETE_EXPIRED_COMMITLOG (329): as if it were the hour of `deleteWhen`.
pub(super) async fn delete_expired_log(
    broker: Arc<Broker>,
    call: Call<DeleteExpiredLog>,
) -> Result<Answer<Empty>, Reject> {
    tracing::info!(by = ?call.peer, "expired files are to be deleted now");
    let hour = broker.config.delete_when.first().copied().unwrap_or(0);
    clean(broker, hour).await
}

/// CLEAN_EXPIRED_CONSUMEQUEUE (306): files of queues and index that only deleted files of the log needed.
pub(super) async fn clean_expired_queues(
    broker: Arc<Broker>,
    call: Call<CleanExpiredQueues>,
) -> Result<Answer<Empty>, Reject> {
    tracing::info!(by = ?call.peer, "queues are to be cleaned now");
    clean(broker, NO_HOUR).await
}

/// An hour that no day has.
const NO_HOUR: u8 = 24;

async fn clean(broker: Arc<Broker>, hour: u8) -> Result<Answer<Empty>, Reject> {
    let cleaned = blocking(move || broker.clean(&|kept_for| broker.store.cautious_now(kept_for), hour)).await?;
    cleaned.map_err(|error| Reject::system_error(format!("old files can't be deleted: {error}")))?;
    Ok(Empty {}.into())
}

/// CLEAN_UNUSED_TOPIC (316): messages of topics that this broker does not have any more.
pub(super) async fn clean_unused_topics(
    broker: Arc<Broker>,
    call: Call<CleanUnusedTopics>,
) -> Result<Answer<Empty>, Reject> {
    let unused = |topic: &String| broker.topics.get(topic).is_none() && !protocol::topic::is_system_topic(topic);
    let topics: Vec<String> = broker.store.topics().into_iter().filter(unused).collect();
    for topic in topics {
        tracing::info!(topic, by = ?call.peer, "nobody has this topic; its messages are deleted");
        let (deleting, name) = (broker.clone(), topic.clone());
        let deleted = blocking(move || deleting.delete_topic(&name)).await?;
        deleted.map_err(|error| Reject::system_error(format!("topic[{}] can't be deleted: {error}", short(&topic))))?;
    }
    Ok(Empty {}.into())
}

/// GET_ALL_CONSUMER_OFFSET (43): all groups with all their offsets, for whoever keeps a copy of the broker's tables.
pub(super) async fn all_consumer_offsets(
    broker: Arc<Broker>,
    _: Call<GetAllConsumerOffsets>,
) -> Result<Answer<Empty>, Reject> {
    Ok(Answer::new(Empty {}).with_body(broker.offsets.as_json()))
}

/// GET_ALL_DELAY_OFFSET (45): how far the delay levels are, likewise.
pub(super) async fn all_delay_offsets(
    broker: Arc<Broker>,
    _: Call<GetAllDelayOffsets>,
) -> Result<Answer<Empty>, Reject> {
    Ok(Answer::new(Empty {}).with_body(broker.delay.as_json()))
}

/// GET_BROKER_HA_STATUS (907): a master that has no slaves.
pub(super) async fn ha_status(broker: Arc<Broker>, _: Call<GetHaStatus>) -> Result<Answer<Empty>, Reject> {
    let master_commit_log_max_offset = broker.store.commit_log_bounds().1.0;
    let status = HaStatus { master: true, master_commit_log_max_offset, ..HaStatus::default() };
    Ok(Answer::new(Empty {}).with_body(json::write(&status)))
}

/// GET_ALL_PRODUCER_INFO (328).
pub(super) async fn all_producers(broker: Arc<Broker>, _: Call<GetAllProducers>) -> Result<Answer<Empty>, Reject> {
    let (now, at) = (now_millis(), Instant::now());
    let mut table = ProducerTable::default();
    for (group, client_id, member) in broker.producers.lock().all() {
        table.data.entry(group).or_default().push(ProducerInfo {
            client_id,
            language: member.language.name().into(),
            last_update_timestamp: now - at.saturating_duration_since(member.seen).as_millis() as i64,
            remote_ip: format!("/{}", member.peer.address()),
            version: member.version,
        });
    }
    Ok(Answer::new(Empty {}).with_body(json::write(&table)))
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Reject> {
    spawn_blocking(work).await.map_err(|error| Reject::system_error(format!("the work broke off: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_has_its_name() {
        assert_eq!(version_name(), "V5_3_3");
    }

    #[test]
    fn sizes_and_times_are_written_as_javas_tools_read_them() {
        assert_eq!(running_for(Duration::from_secs(93_784)), "[ 1 days, 2 hours, 3 minutes, 4 seconds ]");
        assert_eq!(bytes_for_people(1023), "1023 B");
        assert_eq!(bytes_for_people(3 << 29), "1.5 GiB");
    }
}
