//! What senders and operators do with messages that wait: recall, list, cancel, fire.
//!
//! Nothing is taken out of the wheel. A message that recalls another lies in the same slot, and the one that is recalled is
//! passed over when the slot is delivered: so it is on disk with Apache's brokers.

use super::{BATCH_COUNT, COPIES_MAX, Timed, Wait};
use crate::Broker;
use bytes::Bytes;
use protocol::message::{offset_message_id, property, push_property};
use protocol::record::Record;
use protocol::request::timer::{PendingTimer, PendingTimers, RecallHandle};
use protocol::topic::TIMER_TOPIC;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use store::{CommitLogOffset, PutError, PutMessage, Stored};

/// A list looks at so many messages, recalled ones too: each is read from the log and looked for in the index.
const LOOKED_AT_MAX: usize = 1000;

/// So many ticks are searched before others get the wheel.
const TICKS_AT_ONCE: i64 = 1 << 15;

/// The tag of a message that recalls another.
const RECALL_TAG: &str = "_RECALL_TAG_";

/// Why an operator's word does not reach a message.
#[derive(Debug, thiserror::Error)]
pub enum NotPending {
    /// It has been delivered, or never was.
    #[error("no message waits under this handle: it was delivered, or is about to be; list them again")]
    Gone,
    /// It was recalled.
    #[error("the message was recalled before, and will not be delivered")]
    Recalled,
    /// The wheel stands still.
    #[error("timerWheelEnable is false: what waits stays as it is")]
    Off,
    /// What follows from it can't be stored.
    #[error(transparent)]
    Put(#[from] PutError),
    /// What follows from it, or from one before, can't be written.
    #[error("it is not stored, and may be later or not: {0}")]
    NotWritten(#[from] io::Error),
}

/// Where a list goes on: a tick, and the place of the first message there that was not listed.
fn read_place(text: &str) -> Option<(i64, i64)> {
    let (tick, at) = text.split_once(':')?;
    Some((tick.parse().ok()?, at.parse().ok()?))
}

impl Broker {
    /// Puts what recalls a message, whether it waits or not. `from` is who asks, `store_host` how they know us.
    #[doc(alias = "RecallMessageProcessor.buildMessage")]
    pub(crate) fn recall(
        &self,
        handle: &RecallHandle,
        producer_group: Option<&str>,
        (from, store_host): (SocketAddr, SocketAddr),
    ) -> Result<Stored, PutError> {
        let now = self.config.clock.now_millis();
        let (deliver, born) = (handle.timestamp.to_string(), now.to_string());
        let mut properties = Vec::new();
        for (name, value) in [
            (property::TIMER_DEL_UNIQKEY, Some(handle.unique_key.as_str())),
            (property::UNIQ_KEY, Some(handle.unique_key.as_str())),
            (property::TIMER_DELIVER_MS, Some(&deliver)),
            (property::TAGS, Some(RECALL_TAG)),
            (property::BORN_TIMESTAMP, Some(&born)),
            (property::PGROUP, producer_group.filter(|group| !group.is_empty())),
        ] {
            value.iter().for_each(|value| push_property(&mut properties, name, value));
        }
        let put = PutMessage {
            topic: &handle.topic,
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_timestamp: now,
            born_host: from,
            store_host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: b"0",
            properties: &properties,
        };
        self.put(&put, Wait::Tick(self.timer.tick_before(handle.timestamp)))
    }

    /// Up to `max` messages that wait, in the order in which the wheel comes to them; from where the list before ended.
    /// Fewer, and a place to go on, if many that were recalled lie between them.
    /// What has only just been sent may not be among them yet. Blocks.
    pub fn pending_timers(&self, from: Option<&str>, max: usize) -> Result<PendingTimers, String> {
        let mut list = PendingTimers::default();
        let place = match from {
            Some(text) => read_place(text).ok_or_else(|| format!("`{text}` is no place where a list ended"))?,
            None => (0, 0),
        };
        let Some(files) = &self.timer.files else { return Ok(list) };
        let (mut searched, mut looked_at) = (place.0, 0);
        loop {
            let (next, until) = {
                let files = files.lock();
                let begin = searched.max(files.tick());
                let until = begin.saturating_add(TICKS_AT_ONCE).min(files.end());
                if begin >= until {
                    return Ok(list);
                }
                (files.next_from(begin, until).map_err(|error| error.to_string())?, until)
            };
            searched = next.map_or(until, |next| next + 1);
            let Some(tick) = next else { continue };
            let from = if tick == place.0 { place.1 } else { 0 };
            let positions = files.lock().slot(tick).map_err(|error| error.to_string())?;
            for chunk in positions.chunks(BATCH_COUNT) {
                let units = files.lock().units(tick, chunk).map_err(|error| error.to_string())?;
                for unit in units.iter().filter(|unit| !unit.recalls && unit.at.0 >= from) {
                    if list.timers.len() >= max || looked_at >= LOOKED_AT_MAX {
                        list.next = Some(format!("{tick}:{}", unit.at.0));
                        return Ok(list);
                    }
                    looked_at += 1;
                    let bytes = self.store.read(unit.at).ok().flatten();
                    let timed = bytes.as_ref().and_then(|bytes| Record::parse(bytes).ok()).and_then(Timed::read);
                    list.timers.extend(timed.filter(|timed| !self.is_recalled(timed)).map(|it| self.as_pending(&it)));
                }
            }
        }
    }

    fn as_pending(&self, timed: &Timed<'_>) -> PendingTimer {
        let record = &timed.record;
        PendingTimer {
            due: timed.slot_time + self.timer.precision,
            topic: timed.topic.to_owned(),
            queue_id: timed.queue_id as i32,
            unique_key: timed.key.to_owned(),
            keys: record.properties().get(property::KEYS).unwrap_or_default().to_owned(),
            born: record.born_timestamp,
            offset_message_id: offset_message_id(record.store_host, record.commit_log_offset),
            recall_handle: RecallHandle {
                topic: timed.topic.to_owned(),
                broker_name: self.config.name.clone(),
                timestamp: timed.slot_time + 1,
                unique_key: timed.key.to_owned(),
            }
            .encode(),
        }
    }

    pub(super) fn is_recalled(&self, timed: &Timed<'_>) -> bool {
        self.find_timed(&timed.name(), timed.key, timed.slot_time).1
    }

    /// The newest record of a timed message, and whether there is one that recalls it.
    fn find_timed(&self, name: &str, key: &str, slot_time: i64) -> (Option<Bytes>, bool) {
        let (mut found, mut is_recalled): (Option<(CommitLogOffset, Bytes)>, bool) = (None, false);
        for bytes in self.store.query(TIMER_TOPIC, key, COPIES_MAX, 0, i64::MAX).records {
            let Some(timed) = Record::parse(&bytes).ok().and_then(Timed::read) else { continue };
            let at = timed.record.commit_log_offset;
            if timed.slot_time != slot_time {
                continue;
            }
            is_recalled |= timed.recalled_name().is_some_and(|recalled| recalled == name);
            let is_it = timed.recalls.is_none() && timed.name() == name;
            if is_it && found.as_ref().is_none_or(|(newest, _)| at > *newest) {
                found = Some((at, bytes.clone()));
            }
        }
        (found.map(|(_, bytes)| bytes), is_recalled)
    }

    /// The message that waits under a handle. Blocks.
    fn pending(&self, handle: &RecallHandle) -> Result<Bytes, NotPending> {
        if self.timer.files.is_none() {
            return Err(NotPending::Off);
        }
        let slot_time = handle.timestamp.saturating_sub(1);
        // Later it could be that its slot is being delivered.
        if handle.timestamp <= self.config.clock.now_millis() {
            return Err(NotPending::Gone);
        }
        let name = format!("{}+{}", handle.topic, handle.unique_key);
        match self.find_timed(&name, &handle.unique_key, slot_time) {
            (_, true) => Err(NotPending::Recalled),
            (None, false) => Err(NotPending::Gone),
            (Some(bytes), false) => Ok(bytes),
        }
    }

    /// A message that waits will not be delivered, once all before the answer is on disk. Blocks.
    pub fn cancel_timer(&self, handle: &RecallHandle) -> Result<CommitLogOffset, NotPending> {
        self.decide(handle, |_| Ok(()))
    }

    /// A message that waits is delivered now, and not again when it is due; for good once all before the answer is on disk.
    /// Blocks.
    pub fn fire_timer(&self, handle: &RecallHandle) -> Result<CommitLogOffset, NotPending> {
        // In this order: should a crash tear them apart, it comes twice rather than never.
        self.decide(handle, |timed| self.put_home(timed, self.config.clock.now_millis()))
    }

    /// Recalls a message that waits, after `first`. Who comes next waits until that can be found: with `SYNC_FLUSH`, until it is on
    /// disk.
    fn decide(
        &self,
        handle: &RecallHandle,
        first: impl FnOnce(&Timed<'_>) -> Result<(), PutError>,
    ) -> Result<CommitLogOffset, NotPending> {
        let mut last = self.timer.deciding.lock();
        self.store.write_out()?;
        while self.store.commit_log_bounds().1 < *last {
            std::thread::sleep(Duration::from_millis(1));
            // It says so when the disk fails.
            self.store.write_out()?;
        }
        let bytes = self.pending(handle)?;
        let timed = Record::parse(&bytes).ok().and_then(Timed::read).ok_or(NotPending::Gone)?;
        first(&timed)?;
        let end = self.recall(handle, None, (timed.record.store_host, timed.record.store_host))?.end;
        *last = end;
        self.store.write_out()?;
        Ok(end)
    }
}
