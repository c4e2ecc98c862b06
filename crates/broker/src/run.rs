//! What a broker does by the clock.

use crate::table::save_or_tell;
use crate::{Broker, delay, now_millis, table, timer};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

/// How often silent clients are looked for.
const EXPIRY_PERIOD: Duration = Duration::from_secs(10);

/// How often we look whether new queues of ordered topics have settled.
const FENCE_PERIOD: Duration = Duration::from_secs(1);

/// How often we look whether members have heard where they go on, and releases are over.
const PARKED_PERIOD: Duration = Duration::from_secs(1);

/// How often we look whether queues are to be divided anew.
const SHARES_PERIOD: Duration = Duration::from_millis(500);

/// A change that could not be saved is tried again after so long.
const SAVE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How often we look whether the disk fills.
const SPACE_PERIOD: Duration = Duration::from_secs(1);

/// How often we look whether the system's clock was set.
const CLOCK_PERIOD: Duration = Duration::from_secs(1);

/// How often the rates are looked at.
const STATS_PERIOD: Duration = Duration::from_secs(1);

impl Broker {
    /// Delivers delayed and timed messages, asks about open transactions, saves tables, drops silent clients and old files, until `shutdown` is ready.
    ///
    /// Runs on any runtime with timers; the data threads are better left alone.
    pub async fn run(self: Arc<Self>, shutdown: impl Future<Output = ()>) {
        let mut tasks = JoinSet::new();
        for level in self.delay.levels() {
            tasks.spawn(delay::deliver(self.clone(), level));
        }
        tasks.spawn(timer::run(self.clone()));
        tasks.spawn(save_changes(self.clone()));
        tasks.spawn(save_offsets(self.clone()));
        tasks.spawn(save_delay(self.clone()));
        tasks.spawn(check_transactions(self.clone()));
        tasks.spawn(settle_fences(self.clone()));
        tasks.spawn(look_after_parked(self.clone()));
        tasks.spawn(divide_queues(self.clone()));
        tasks.spawn(expire_clients(self.clone()));
        tasks.spawn(clean_store(self.clone()));
        tasks.spawn(look_at_clock(self.clone()));
        tasks.spawn(look_at_stats(self.clone()));
        tasks.spawn(keep_events(self.clone()));
        self.access.iter().for_each(|access| _ = tasks.spawn(access.clone().run()));
        let entrance = self.entrance.clone();
        tasks.spawn(async move { entrance.watch().await });
        shutdown.await;
        tasks.shutdown().await;
    }

    /// Notes up to where old queues are to be consumed before new ones, where every producer knows of these by `now`.
    /// True: something changed, and is to be saved.
    pub fn settle_fences(&self, now: Instant) -> bool {
        if !self.config.namesrv_addr.is_empty() && !self.topics.is_registered() {
            self.fences.not_known_yet(now);
        }
        self.fences.settle(now, |topic, queue| {
            let queue = u32::try_from(queue).unwrap_or(0);
            (self.store.min_offset(topic, queue).0, self.store.max_offset(topic, queue).0)
        })
    }

    /// Drops clients that have been silent for too long.
    pub(crate) fn expire(&self, now: Instant) {
        let timeout = self.config.channel_expired_timeout;
        self.producers.lock().expire(now, timeout);
        let gone = self.consumers.write().expire(now, timeout);
        self.lost(&gone);
        self.locks.lock().expire(now);
        self.dedup.expire(now);
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Saving blocks, and so is not done on the runtime's own threads. False: it failed.
async fn save(broker: &Arc<Broker>, file: &'static str, table: fn(&Broker) -> &dyn table::Table) -> bool {
    let broker = broker.clone();
    let saved = spawn_blocking(move || save_or_tell(table(&broker), file, &broker.config.store_root)).await;
    saved.unwrap_or_else(|error| {
        tracing::error!(file, %error, "can't save");
        false
    })
}

/// Topics and groups, as soon as they change.
async fn save_changes(broker: Arc<Broker>) {
    let (mut topics, mut groups) = (broker.topics.changed(), broker.groups.changed());
    loop {
        let topics_saved = save(&broker, "topics.json", |broker| &broker.topics).await;
        let groups_saved = save(&broker, "subscriptionGroup.json", |broker| &broker.groups).await;
        if !(topics_saved && groups_saved) {
            tokio::time::sleep(SAVE_AGAIN_AFTER).await;
            continue;
        }
        tokio::select! {
            _ = topics.changed() => {}
            _ = groups.changed() => {}
        }
    }
}

async fn settle_fences(broker: Arc<Broker>) {
    let mut ticks = every(FENCE_PERIOD);
    let mut unsaved = false;
    loop {
        ticks.tick().await;
        if broker.settle_fences(Instant::now()) || unsaved {
            unsaved = !save(&broker, "orderFences.json", |broker| &broker.fences).await;
        }
    }
}

/// Queues are divided anew among those who share them.
async fn divide_queues(broker: Arc<Broker>) {
    let mut ticks = every(SHARES_PERIOD);
    let mut failed_before = false;
    loop {
        ticks.tick().await;
        if !broker.shares.is_used() {
            continue;
        }
        let dividing = broker.clone();
        let divided = spawn_blocking(move || dividing.shares.divide(Instant::now())).await;
        let divided = divided.map_err(std::io::Error::other).flatten();
        match &divided {
            Ok(queues) => queues.iter().for_each(|(topic, queue_id)| broker.store.interrupt(topic, *queue_id as u32)),
            Err(error) if !failed_before => {
                tracing::error!(%error, "queues can't be divided anew among members, as config/orderShares.json can't be saved: check the disk");
            }
            Err(_) => {}
        }
        failed_before = divided.is_err();
    }
}

/// Members go on elsewhere, releases end, and what is parked does not expire unnoticed.
async fn look_after_parked(broker: Arc<Broker>) {
    let mut ticks = every(PARKED_PERIOD);
    let mut failed_before = false;
    for second in 0_u64.. {
        ticks.tick().await;
        if !broker.parking.is_used() {
            continue;
        }
        broker.nudge_members(Instant::now());
        let looking = broker.clone();
        let looked = spawn_blocking(move || {
            if second.is_multiple_of(60) {
                looking.tell_of_expiring(looking.config.clock.now_millis());
            }
            looking.end_releases()
        });
        let looked = looked.await.map_err(std::io::Error::other).flatten();
        if let (Err(error), false) = (&looked, failed_before) {
            tracing::error!(%error, "the end of a release can't be saved; a restart would begin it anew: check the disk");
        }
        failed_before = looked.is_err();
    }
}

async fn save_offsets(broker: Arc<Broker>) {
    loop {
        tokio::time::sleep(broker.config.flush_consumer_offset_interval).await;
        save(&broker, "consumerOffset.json", |broker| &broker.offsets).await;
        if broker.shares.is_used() {
            save(&broker, "orderShares.json", |broker| &broker.shares).await;
        }
    }
}

async fn save_delay(broker: Arc<Broker>) {
    // What is saved was true a period ago: what was delivered until then is on disk, whenever the log is brought there.
    loop {
        let period = broker.config.flush_delay_offset_interval.max(broker.config.flush_interval * 2);
        tokio::time::sleep(period).await;
        save(&broker, "delayOffset.json", |broker| &broker.delay.earlier).await;
    }
}

async fn check_transactions(broker: Arc<Broker>) {
    let mut failed_before = false;
    loop {
        tokio::time::sleep(broker.config.transaction_check_interval).await;
        let checked = broker.check_transactions().await;
        if let (Err(error), false) = (&checked, failed_before) {
            tracing::error!(%error, "producers can't be asked about transactions; trying again every transactionCheckInterval");
        }
        failed_before = checked.is_err();
    }
}

async fn expire_clients(broker: Arc<Broker>) {
    let mut ticks = every(EXPIRY_PERIOD);
    loop {
        ticks.tick().await;
        broker.expire(Instant::now());
    }
}

async fn look_at_clock(broker: Arc<Broker>) {
    let mut ticks = every(CLOCK_PERIOD);
    loop {
        ticks.tick().await;
        let broker = broker.clone();
        // What it sees goes to disk.
        let looked = spawn_blocking(move || {
            broker.store.look_at_clock();
            broker.audit.sync()
        });
        if let Err(error) = looked.await.map_err(std::io::Error::other).flatten() {
            tracing::error!(%error, "can't look at the clock, or bring audit.log to disk");
        }
    }
}

async fn look_at_stats(broker: Arc<Broker>) {
    // Not `every`: numbers count as those of a second, and of ten.
    let mut ticks = interval(STATS_PERIOD);
    for second in 0_u64.. {
        ticks.tick().await;
        let now = now_millis();
        broker.stats.look_at_totals(now, broker.stats.totals(broker.put_so_far()));
        let today = jiff::Zoned::now().date();
        let day = i64::from(today.year()) * 366 + i64::from(today.day_of_year());
        broker.stats.look_at_day(day, || broker.so_far());
        if second.is_multiple_of(60) {
            broker.put_times.look();
        }
        if second.is_multiple_of(10) {
            let broker = broker.clone();
            if let Err(error) = spawn_blocking(move || broker.look_at_stats(now)).await {
                tracing::error!(%error, "can't count");
            }
        }
    }
}

/// What happened to messages, a moment after it did; nothing while nothing happens.
async fn keep_events(broker: Arc<Broker>) {
    loop {
        broker.life.worth_keeping().await;
        let keeping = broker.clone();
        if let Err(error) = spawn_blocking(move || keeping.keep_events()).await {
            tracing::error!(%error, "can't keep what happened to messages");
        }
    }
}

async fn clean_store(broker: Arc<Broker>) {
    loop {
        let cleaning = broker.clone();
        let cleaned = spawn_blocking(move || {
            let hour = jiff::Zoned::now().hour() as u8;
            cleaning.clean(&|kept_for| cleaning.store.cautious_now(kept_for), hour)
        });
        match cleaned.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let store = broker.config.store_root.display();
                tracing::warn!(%error, "can't look for old files in {store}, or delete them")
            }
            Err(error) => tracing::error!(%error, "can't delete old files"),
        }
        let again = Instant::now() + broker.config.clean_resource_interval;
        loop {
            let left = again.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(SPACE_PERIOD)).await;
            if left <= SPACE_PERIOD || broker.disk_fills() {
                break;
            }
        }
    }
}
