//! The life of every message, without any help of clients: who got it, who acknowledged it, who sent it back.
//!
//! 1. paths of messages note an event for each answer, not for each message   (`Life::note`: no lock, nothing is written)
//! 2. a moment later all that was noted becomes a block of a ring on disk       (`Broker::keep_events`)
//! 3. who asks for a message gets what the log and the ring say of it            (`timeline`)
//!
//! That a message was stored, waits, was retried or is dead needs no event: the log has the records. What a pull handed
//! out is one event, a range of a queue; so is what a commit of an offset acknowledged. More events than fit into the
//! buffer are dropped, counted, and said in the place of the ring where they would stand.

pub(crate) mod event;
mod timeline;

pub use timeline::{LifeError, Sought};

use crate::offsets::HasBeenReset;
use crate::{Broker, Config};
use event::{BlockBuilder, Event, Kept, Kind};
use foldhash::HashMap;
use parking_lot::Mutex;
use protocol::duplicates::Redeliveries;
use protocol::heartbeat::MessageModel;
use protocol::topic::RETRY_PREFIX;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use store::SpaceState;
use store::clock::Clock;
use store::disk::Disk;
use store::ring::{Ring, RingFiles};
use tokio::sync::{Notify, mpsc};

/// So many events may wait to be kept; about 10 MiB, if they do, and never more than 9 KiB each.
const WAITING_MAX: usize = 65_536;

/// Events are kept so long after the first of them was noted.
pub(crate) const KEPT_AFTER: Duration = Duration::from_millis(250);

/// So many queues are watched for what is handed out again; those above count for nothing.
const WATCHED_MAX: usize = 1_000_000;

/// So many clients are remembered that may have left; then all are asked for anew.
const MEMBERS_MAX: usize = 100_000;

/// What is known of deliveries.
pub struct Life {
    events: mpsc::Sender<(i64, Event)>,
    /// Somebody will keep what was noted.
    awake: AtomicBool,
    bell: Notify,
    dropped: AtomicU64,
    clock: Clock,
    keeper: Mutex<Keeper>,
}

/// Who keeps events, one at a time.
struct Keeper {
    noted: mpsc::Receiver<(i64, Event)>,
    disk: Disk,
    dir: PathBuf,
    /// 0: nothing is kept.
    size: u64,
    /// Opened when it is needed.
    ring: Option<Ring>,
    /// So many dropped events are told of in the ring.
    dropped_told: u64,
    failed_before: bool,
    redeliveries: Counts,
    members: Members,
}

/// What groups got more than once.
#[derive(Debug, Default)]
struct Counts {
    groups: HashMap<String, Redeliveries>,
    /// Group → topic → queue → behind the last message that was handed out.
    handed_out: HashMap<String, HashMap<String, HashMap<i32, i64>>>,
    watched: usize,
}

/// Who may have sent a message from an address.
#[derive(Debug, Default)]
pub(crate) struct Senders {
    address: String,
    /// Groups for which a message came from there.
    sent: BTreeSet<String>,
    /// Groups, clients and addresses on the same host, as clients say.
    said: Vec<(String, String, String)>,
}

impl Senders {
    /// Nobody is known.
    fn is_empty(&self) -> bool {
        self.sent.is_empty() && !self.said.iter().any(|(.., address)| *address == self.address)
    }

    /// The groups that it may have been, and for each its client, or nothing.
    fn who(&self) -> Vec<(&str, &str)> {
        let here = || self.said.iter().filter(|(.., address)| *address == self.address);
        let mut groups: BTreeSet<&str> = self.sent.iter().map(String::as_str).collect();
        if groups.is_empty() {
            groups = here().map(|(group, ..)| group.as_str()).collect();
        }
        let client = |group: &str| {
            if let Some((_, client, _)) = here().find(|(name, ..)| name == group) {
                return client.as_str();
            }
            // Old clients send over a connection to the VIP port, over which they don't say who they are.
            let of_group = self.said.iter().filter(|(name, ..)| name == group);
            let clients: BTreeSet<&str> = of_group.map(|(_, client, _)| client.as_str()).collect();
            if clients.len() == 1 { clients.first().copied().unwrap_or_default() } else { "" }
        };
        groups.into_iter().map(|group| (group, client(group))).collect()
    }

    /// A client said, or did, so once.
    fn learn(&mut self, kept: &Kept<'_>) {
        let host = |address: &str| address.rsplit_once(':').map(|(host, _)| host.to_owned());
        if host(kept.address) != host(&self.address) {
            return;
        }
        if kept.client.is_empty() {
            self.sent.extend(Some(kept.group.to_owned()).filter(|_| kept.address == self.address));
        } else {
            let [group, client, address] = [kept.group, kept.client, kept.address].map(str::to_owned);
            // Ports are used again; who had it last it was.
            self.said.retain(|(_, other, at)| *at != address || *other == client);
            self.said.push((group, client, address));
        }
    }
}

/// What is in the ring, and what of it an operator should know.
pub(crate) struct Known {
    pub(crate) files: Option<RingFiles>,
    pub(crate) since: Option<i64>,
    pub(crate) bytes: u64,
    pub(crate) max_bytes: u64,
    pub(crate) dropped: u64,
}

impl Life {
    pub(crate) fn new(config: &Config) -> Life {
        let (events, noted) = mpsc::channel(WAITING_MAX);
        let keeper = Keeper {
            noted,
            disk: config.disk.clone(),
            dir: config.store_root.join("life"),
            size: config.message_life_max_bytes as u64,
            ring: None,
            dropped_told: 0,
            failed_before: false,
            redeliveries: Counts::default(),
            members: Members::default(),
        };
        Life {
            events,
            awake: AtomicBool::new(false),
            bell: Notify::new(),
            dropped: AtomicU64::new(0),
            clock: config.clock.clone(),
            keeper: Mutex::new(keeper),
        }
    }

    /// Notes what happened, to be kept a moment later. `not_before`: messages carry this time, in ms since 1970, and an event
    /// comes behind the message that it is about, whatever the clock was set to.
    fn note(&self, mut event: Event, not_before: i64) {
        event.shorten();
        if self.events.try_send((self.clock.now_millis().max(not_before), event)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if !self.awake.load(Ordering::Relaxed) && !self.awake.swap(true, Ordering::AcqRel) {
            self.bell.notify_one();
        }
    }

    /// Events that found no room in the buffer, since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// A number for a name, likely to be another one for another name.
    pub(crate) fn mark(&self, name: &str) -> u64 {
        foldhash::fast::FixedState::default().hash_one(name)
    }

    /// Waits until something was noted, and a moment longer, so that more is kept with it.
    pub(crate) async fn worth_keeping(&self) {
        self.bell.notified().await;
        tokio::time::sleep(KEPT_AFTER).await;
        self.awake.store(false, Ordering::Release);
    }

    /// What groups got more than once, in order of their names.
    pub(crate) fn redeliveries(&self) -> Vec<Redeliveries> {
        let mut all: Vec<Redeliveries> = self.keeper.lock().redeliveries.groups.values().cloned().collect();
        all.sort_by(|one, other| one.group.cmp(&other.group));
        all
    }

    /// Queues of this topic begin anew, if they do.
    pub(crate) fn forget_topic(&self, topic: &str) {
        self.keeper.lock().redeliveries.handed_out.values_mut().for_each(|topics| _ = topics.remove(topic));
    }

    /// The group begins anew, if it does.
    pub(crate) fn forget_group(&self, group: &str) {
        let counts = &mut self.keeper.lock().redeliveries;
        counts.groups.remove(group);
        counts.handed_out.remove(group);
    }
}

impl Broker {
    /// Notes what happened to messages.
    pub(crate) fn note(&self, event: Event) {
        self.life.note(event, self.store.last_store_timestamp());
    }

    /// Notes how far a group has come with a queue.
    pub(crate) fn commit_offset(
        &self,
        group: &str,
        topic: &str,
        queue_id: i32,
        offset: i64,
        by: SocketAddr,
    ) -> Result<(), HasBeenReset> {
        if self.shares_by_key(group) {
            self.commit_shared(group, topic, queue_id, offset, by);
            return Ok(());
        }
        let from = self.offsets.commit(group, topic, queue_id, offset)?;
        self.note_commit(group, topic, queue_id, from, offset, by);
        Ok(())
    }

    /// Notes how far a group has pulled a queue, and how far it has come with it, if the pull says so.
    pub(crate) fn note_pull(
        &self,
        group: &str,
        topic: &str,
        queue_id: i32,
        pulled: i64,
        commit: Option<i64>,
        by: SocketAddr,
    ) {
        let noted = self.offsets.pull(group, topic, queue_id, pulled, commit);
        if let (Ok(from), Some(offset)) = (noted, commit) {
            self.note_commit(group, topic, queue_id, from, offset, by);
        }
    }

    /// Moves a group: it goes on in these queues where this says, and each message that it passes over or gets again has an event.
    pub(crate) fn reset_offsets(&self, group: &str, topic: &str, offsets: &BTreeMap<i32, i64>, by: SocketAddr) {
        let before = match self.shares_by_key(group) {
            false => self.offsets.reset(group, topic, offsets),
            true => self.reset_shared(group, topic, offsets),
        };
        for ((queue_id, to), (_, from)) in offsets.iter().zip(before) {
            if from != Some(*to) {
                let (group, topic, queue_id, to) = (group.to_owned(), topic.to_owned(), *queue_id, *to);
                self.note(Event::Reset { group, topic, queue_id, from, to, by });
            }
        }
    }

    pub(crate) fn note_commit(
        &self,
        group: &str,
        topic: &str,
        queue_id: i32,
        from: Option<i64>,
        to: i64,
        by: SocketAddr,
    ) {
        if from != Some(to) {
            let (group, topic) = (group.to_owned(), topic.to_owned());
            self.note(Event::Committed { group, topic, queue_id, from, to, by });
        }
    }

    /// Keeps what was noted until now. Blocks.
    pub(crate) fn keep_events(&self) {
        let keeper = &mut *self.life.keeper.lock();
        keeper.members.begin();
        let mut block = BlockBuilder::default();
        // No more than there can be now: who keeps must come to an end.
        for _ in 0..WAITING_MAX {
            let Ok((time, event)) = keeper.noted.try_recv() else { break };
            keeper.redeliveries.count(&event, |group| keeper.members.group(self, group).broadcasts);
            if keeper.size == 0 {
                continue;
            }
            if let Event::Consumes { group, client, at } = &event {
                keeper.members.joined(self, group, *at, client);
            }
            let mut keep = |kept: Kept<'_>| block.push(&kept);
            match event {
                Event::Delivered { group, topic, queue_id, range: (from, to), wanted, to: address, .. } => {
                    let wanted = wanted.text();
                    let Member { client, address } = keeper.members.member(self, &group, address);
                    let (group, topic, wanted) = (group.as_str(), topic.as_str(), wanted.as_ref());
                    let kept = Kept::of(Kind::Delivered, time);
                    keep(Kept { group, topic, client, address, wanted, queue_id, from, to, ..kept });
                }
                Event::Committed { group, topic, queue_id, from, to, by } => {
                    let Member { client, address } = keeper.members.member(self, &group, by);
                    let (group, topic, from) = (group.as_str(), topic.as_str(), from.unwrap_or(-1));
                    let kept = Kept::of(Kind::Committed, time);
                    keep(Kept { group, topic, client, address, queue_id, from, to, ..kept });
                }
                Event::Reset { group, topic, queue_id, from, to, by } => {
                    let (address, from) = (canonical(by), from.unwrap_or(-1));
                    let (group, topic, address) = (group.as_str(), topic.as_str(), address.as_str());
                    keep(Kept { group, topic, address, queue_id, from, to, ..Kept::of(Kind::Reset, time) });
                }
                Event::Parked { group, topic, queue_id, range: (from, to), by } => {
                    let Member { client, address } = keeper.members.member(self, &group, by);
                    let (group, topic) = (group.as_str(), topic.as_str());
                    let kept = Kept::of(Kind::Parked, time);
                    keep(Kept { group, topic, client, address, queue_id, from, to, ..kept });
                }
                Event::Released { group, topic, queue_id, range: (from, to), key, by } => {
                    let (address, wanted) = (canonical(by), key.unwrap_or_default());
                    let (group, topic, wanted, address) = (group.as_str(), topic.as_str(), &*wanted, address.as_str());
                    keep(Kept { group, topic, address, wanted, queue_id, from, to, ..Kept::of(Kind::Released, time) });
                }
                Event::SentBack { group, at: from, to, attempt: queue_id, by, .. } => {
                    let Member { client, address } = keeper.members.member(self, &group, by);
                    let kept = Kept::of(Kind::SentBack, time);
                    keep(Kept { group: &group, client, address, queue_id, from, to, ..kept });
                }
                Event::Ended { group, at: from, commit, by } => {
                    let (address, to) = (canonical(by), commit.into());
                    keep(Kept { group: &group, address: &address, from, to, ..Kept::of(Kind::Ended, time) });
                }
                Event::Sends { group, client, from } => {
                    let address = canonical(from);
                    if client.is_empty() {
                        keeper.members.sends(&address, &group);
                    }
                    keep(Kept { group: &group, client: &client, address: &address, ..Kept::of(Kind::Sends, time) });
                }
                Event::Consumes { .. } | Event::SentBackAgain { .. } => {}
            }
            if block.is_full() {
                keeper.keep(std::mem::take(&mut block), self);
            }
        }
        keeper.keep(block, self);
    }

    /// Groups for which this address has sent, and who says that it sends from its host.
    pub(crate) fn senders(&self, address: SocketAddr) -> Senders {
        let text = canonical(address);
        let sent = self.life.keeper.lock().members.senders.get(&text).cloned().unwrap_or_default();
        let there = self.producers.lock().at(|peer| peer.address().ip().to_canonical() == address.ip());
        let said = there.into_iter().map(|(group, client, peer)| (group, client, canonical(peer.address()))).collect();
        Senders { address: text, sent, said }
    }

    /// What is kept, as of now. Blocks.
    pub(crate) fn known_life(&self) -> Known {
        self.keep_events();
        let mut keeper = self.life.keeper.lock();
        let (max_bytes, dropped) = (keeper.size, self.life.dropped.load(Ordering::Relaxed));
        let ring = keeper.ring();
        Known {
            files: ring.as_ref().map(|ring| ring.files()),
            since: ring.as_ref().and_then(|ring| ring.since()),
            bytes: ring.as_ref().map_or(0, |ring| ring.bytes()),
            max_bytes,
            dropped,
        }
    }
}

impl Keeper {
    fn keep(&mut self, mut block: BlockBuilder, broker: &Broker) {
        let dropped = broker.life.dropped.load(Ordering::Relaxed);
        let untold = dropped - self.dropped_told;
        if untold > 0 && self.size > 0 {
            let time = broker.config.clock.now_millis().max(broker.store.last_store_timestamp());
            block.push(&Kept { from: untold as i64, ..Kept::of(Kind::NotKept, time) });
        }
        let events = block.len() as u64;
        let Some((times, bytes)) = block.finish() else { return };
        // The last room of a disk belongs to messages.
        let full = broker.store.space().is_ok_and(|space| space.state == SpaceState::Full);
        let kept = match self.ring() {
            _ if full => false,
            Some(ring) => ring.append(times, &bytes).map_err(|error| self.tell(&error)).is_ok(),
            None => false,
        };
        if kept {
            (self.failed_before, self.dropped_told) = (false, dropped);
        } else {
            let lost = events - u64::from(untold > 0);
            broker.life.dropped.fetch_add(lost, Ordering::Relaxed);
        }
    }

    fn ring(&mut self) -> Option<&mut Ring> {
        if self.ring.is_none() && self.size > 0 {
            match Ring::open(&self.disk, &self.dir, self.size) {
                Ok(ring) => self.ring = Some(ring),
                Err(error) => self.tell(&error),
            }
        }
        self.ring.as_mut()
    }

    fn tell(&mut self, error: &std::io::Error) {
        if !std::mem::replace(&mut self.failed_before, true) {
            tracing::warn!(
                "who got which message can't be kept in {}: {error}; messages are not affected, their lives have a gap",
                self.dir.display()
            );
        }
    }
}

impl Counts {
    fn count(&mut self, event: &Event, broadcasts: impl FnOnce(&str) -> bool) {
        match event {
            Event::Delivered { group, topic, queue_id, range: (from, to), count, .. } => {
                if topic.starts_with(RETRY_PREFIX) {
                    self.group(group).retries += u64::from(*count);
                }
                if broadcasts(group) {
                    return; // each member gets everything
                }
                let again = self.hand_out(group, topic, *queue_id, (*from, *to)).min(u64::from(*count));
                if again > 0 {
                    self.group(group).handed_out_again += again;
                }
            }
            Event::SentBack { group, dead: false, .. } => self.group(group).sent_back += 1,
            Event::SentBack { group, dead: true, .. } => self.group(group).dead += 1,
            Event::SentBackAgain { group } => self.group(group).sent_back_again += 1,
            Event::Committed { .. }
            | Event::Reset { .. }
            | Event::Parked { .. }
            | Event::Released { .. }
            | Event::Ended { .. }
            | Event::Sends { .. }
            | Event::Consumes { .. } => {}
        }
    }

    fn group(&mut self, name: &str) -> &mut Redeliveries {
        if !self.groups.contains_key(name) {
            self.groups.insert(name.to_owned(), Redeliveries { group: name.to_owned(), ..Redeliveries::default() });
        }
        self.groups.entry(name.to_owned()).or_default()
    }

    /// How many places of `from..to` were handed out before.
    fn hand_out(&mut self, group: &str, topic: &str, queue_id: i32, (from, to): (i64, i64)) -> u64 {
        let known = self.handed_out.get_mut(group).and_then(|topics| topics.get_mut(topic));
        if let Some(end) = known.and_then(|queues| queues.get_mut(&queue_id)) {
            let before = std::mem::replace(end, to.max(*end));
            return u64::try_from(before.min(to) - from).unwrap_or(0);
        }
        if self.watched < WATCHED_MAX {
            self.watched += 1;
            let topics = self.handed_out.entry(group.to_owned()).or_default();
            topics.entry(topic.to_owned()).or_default().insert(queue_id, to);
        }
        0
    }
}

/// Who is reached at which address, by group. Who has left a moment ago is known still.
#[derive(Default)]
struct Members {
    groups: HashMap<String, Group>,
    /// Address → groups for which it has sent.
    senders: HashMap<String, BTreeSet<String>>,
    count: usize,
}

#[derive(Default)]
struct Group {
    members: HashMap<SocketAddr, Member>,
    broadcasts: bool,
    /// The broker was asked who is there, since events are being kept.
    asked: bool,
}

struct Member {
    /// Empty: nobody has said who is there.
    client: String,
    address: String,
}

impl Members {
    /// Events are going to be kept.
    fn begin(&mut self) {
        if self.count > MEMBERS_MAX {
            *self = Members::default();
        }
        self.groups.values_mut().for_each(|group| group.asked = false);
    }

    fn group(&mut self, broker: &Broker, name: &str) -> &mut Group {
        if !self.groups.contains_key(name) {
            self.groups.insert(name.to_owned(), Group::default());
        }
        let group = self.groups.entry(name.to_owned()).or_default();
        if !std::mem::replace(&mut group.asked, true)
            && let Some(known) = broker.consumers.read().get(name)
        {
            group.broadcasts = known.message_model == MessageModel::Broadcasting;
            for (client, member) in &known.members {
                self.count += usize::from(group.joined(member.peer.address(), client));
            }
        }
        group
    }

    fn sends(&mut self, address: &str, group: &str) {
        self.count += usize::from(self.senders.entry(address.to_owned()).or_default().insert(group.to_owned()));
    }

    /// Who is there.
    fn member(&mut self, broker: &Broker, group: &str, address: SocketAddr) -> &Member {
        let new = self.group(broker, group).seen(address);
        self.count += usize::from(new);
        &self.groups[group].members[&address]
    }

    fn joined(&mut self, broker: &Broker, group: &str, at: SocketAddr, client: &str) {
        let new = self.group(broker, group).joined(at, client);
        self.count += usize::from(new);
    }
}

impl Group {
    /// True: nobody was known to be there.
    fn joined(&mut self, at: SocketAddr, client: &str) -> bool {
        if self.members.get(&at).is_some_and(|member| member.client == client) {
            return false;
        }
        self.members.insert(at, Member { client: client.to_owned(), address: canonical(at) }).is_none()
    }

    /// Somebody is there, whoever it is. True: nobody was known to be. Old clients have a second connection, to the VIP port,
    /// over which they don't say who they are: it is theirs if they are the only ones of the group on their host.
    fn seen(&mut self, address: SocketAddr) -> bool {
        if self.members.get(&address).is_some_and(|member| !member.client.is_empty()) {
            return false;
        }
        let there = self.members.iter().filter(|(at, _)| at.ip() == address.ip());
        let clients: BTreeSet<&str> = there.map(|(_, it)| it.client.as_str()).filter(|it| !it.is_empty()).collect();
        let client = if clients.len() == 1 { clients.first().copied().unwrap_or_default() } else { "" };
        let member = Member { client: client.to_owned(), address: canonical(address) };
        self.members.insert(address, member).is_none()
    }
}

/// An address as records have it: IPv4, if it is one.
fn canonical(address: SocketAddr) -> String {
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(topic: &str, range: (i64, i64), count: u32) -> Event {
        Event::Delivered {
            group: "g".into(),
            topic: topic.into(),
            queue_id: 0,
            range,
            count,
            wanted: event::Wanted::Sql("a".into()),
            to: "127.0.0.1:1".parse().unwrap(),
        }
    }

    #[test]
    fn what_was_handed_out_before_counts_once_more() {
        let mut counts = Counts::default();
        for (range, count) in [((0, 10), 10), ((10, 20), 10), ((5, 15), 10), ((15, 25), 8), ((25, 30), 5), ((0, 30), 3)]
        {
            counts.count(&delivered("T", range, count), |_| false);
        }
        assert_eq!(counts.groups["g"].handed_out_again, 10 + 5 + 3, "no more than there were messages");
        counts.count(&delivered("%RETRY%g", (0, 2), 2), |_| false);
        assert_eq!((counts.groups["g"].handed_out_again, counts.groups["g"].retries), (18, 2));
        counts.count(&delivered("T", (0, 2), 2), |_| true);
        assert_eq!(counts.groups["g"].handed_out_again, 18, "a broadcast goes to each member");
    }

    #[test]
    fn addresses_of_which_nobody_said_who_is_there_count_as_members() {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::open(Config { store_root: dir.path().into(), ..Config::default() }).unwrap();
        let mut members = Members::default();
        let address = |n: u32| SocketAddr::new(std::net::Ipv4Addr::from_bits(n).into(), 1);
        for n in 0..500 {
            members.member(&broker, "g", address(n));
            members.member(&broker, "g", address(n));
        }
        assert_eq!((members.count, members.groups["g"].members.len()), (500, 500));
        broker.close().unwrap();
    }

    #[test]
    fn events_that_are_too_many_are_counted_and_their_place_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::open(Config { store_root: dir.path().into(), ..Config::default() }).unwrap();
        // Nobody keeps them meanwhile.
        for n in 0..WAITING_MAX as i64 + 100 {
            broker.note(delivered("T", (n * 2, n * 2 + 1), 1));
        }
        let known = broker.known_life();
        assert_eq!(known.dropped, 100);
        let (mut kept, mut not_kept) = (0, 0);
        let mut each = |block: store::ring::Block<'_>| {
            event::read_block(block.bytes, &mut |event| match event.kind {
                Kind::NotKept => not_kept += event.from,
                _ => kept += 1,
            });
            true
        };
        known.files.unwrap().for_each(0, &mut each).unwrap();
        assert_eq!((kept, not_kept), (WAITING_MAX, 100));
        assert!(known.bytes < WAITING_MAX as u64 * 41, "{}", known.bytes);
        broker.close().unwrap();
    }
}
