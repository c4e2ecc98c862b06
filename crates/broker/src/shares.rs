//! Queues that several members of a group consume at a time, in order of keys: `config/orderShares.json`.
//!
//! Each member believes that it is alone in the group, so it locks and pulls every queue. The broker divides the messages of a queue into
//! [`SLOTS`] slots by the hash of their key, and gives each slot to one member at a time; a pull passes over what belongs to others.
//!
//! | a slot | its messages |
//! |---|---|
//! | has an owner | are the owner's, from where the slot is consumed up to |
//! | moves: its owner has more than its share | up to where the owner has pulled are the owner's; later ones wait |
//! | was consumed up to there, or its owner is gone | wait until the new owner is on disk |
//! | has a new owner that has pulled further | wait: the owner is told to go back |
//!
//! So no two members hold messages of one key, and nobody gets one before the earlier ones of the key were consumed; a member that is gone
//! may have consumed more than it said, and that comes again. The group's offset of the queue is that of its slowest slot.

use crate::config::Config;
use crate::table::{self, Table, TableFile};
use parking_lot::Mutex;
use protocol::message::java_hash;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Parts of a queue, and so the most members that share one.
pub const SLOTS: usize = 32;

/// How long a member has its slots. It renews that every 20 s.
const LOCK_TIME: Duration = Duration::from_secs(60);

/// How long a member trusts what it can't renew. Once it is out of reach, or said that it gives the queue back, nobody waits longer.
const CLIENT_TRUST: Duration = Duration::from_secs(30);

/// So many queues may be shared.
const QUEUES_MAX: usize = 100_000;

/// A part of a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// All of it before this is consumed. `None`: nobody has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    consumed: Option<i64>,
    /// It moves: the owner has it up to here.
    #[serde(skip)]
    until: Option<i64>,
    /// The owner has pulled further, and has to go back first.
    #[serde(skip)]
    behind: bool,
    /// Its owner is not on disk yet.
    #[serde(skip)]
    unsaved: bool,
}

/// A member that shares a queue.
#[derive(Debug, Clone)]
struct Sharer {
    until: Instant,
    taken: Instant,
    /// What it has, or had, in hand: all of its slots before this. `None`: it has not pulled yet.
    pulled: Option<i64>,
    /// It is to go back to here; was it told?
    back: Option<(i64, bool)>,
    /// It shared the queue before the broker was started: nobody knows what it has in hand, nor what it passed over before that
    /// was its own.
    was_here: bool,
}

/// A queue that is shared.
#[derive(Debug, Clone, Default)]
pub struct Share {
    slots: Vec<Slot>,
    members: BTreeMap<String, Sharer>,
    /// Goes up when slots change hands.
    generation: u64,
}

/// What a pull of a member is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Wait: nothing is its own.
    Wait,
    /// Go on here.
    Moved(i64),
    /// Take what is its own.
    Own(Own),
}

/// What is a member's own of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Slot → from which offset on, and up to which.
    slots: Vec<Option<(i64, i64)>>,
    generation: u64,
}

/// The slot of a message. One without a key may go to anybody.
fn slot_of(offset: i64, key: Option<&str>) -> usize {
    let hash = match key {
        Some(key) => java_hash(key) as u32,
        None => offset as u32,
    };
    // Keys that differ in their last digits have hashes next to one another; the golden ratio spreads them.
    (hash.wrapping_mul(0x9E37_79B1) >> 16) as usize % SLOTS
}

impl Own {
    /// Does it have the message at `offset` with this key?
    pub fn has(&self, offset: i64, key: Option<&str>) -> bool {
        let slot = self.slots.get(slot_of(offset, key)).copied().flatten();
        slot.is_some_and(|(from, until)| (from..until).contains(&offset))
    }
}

impl Share {
    /// A queue of which the group has consumed all before `consumed`.
    pub fn new(consumed: Option<i64>) -> Share {
        Share { slots: vec![Slot { consumed, ..Slot::default() }; SLOTS], ..Share::default() }
    }

    /// `client` shares the queue, or goes on doing so.
    pub fn join(&mut self, client: &str, now: Instant) {
        let new = Sharer { until: now, taken: now, pulled: None, back: None, was_here: false };
        let member = self.members.entry(client.to_owned()).or_insert(new);
        (member.until, member.taken) = (now + LOCK_TIME, now);
    }

    /// `client` has left the group: it works at nothing any more.
    pub fn leave(&mut self, client: &str) {
        if self.members.remove(client).is_some() {
            self.generation += 1;
            for slot in self.slots.iter_mut().filter(|slot| slot.owner.as_deref() == Some(client)) {
                *slot = Slot { consumed: slot.consumed, ..Slot::default() };
            }
        }
    }

    /// `client` is out of reach, or gives the queue back though it may still work at it. It stays if it joins again meanwhile.
    pub fn lost(&mut self, client: &str, now: Instant) {
        if let Some(member) = self.members.get_mut(client) {
            member.until = member.until.min(now + CLIENT_TRUST);
        }
    }

    /// The group has consumed all before this.
    pub fn consumed(&self) -> Option<i64> {
        self.slots.iter().filter_map(|slot| slot.consumed).min()
    }

    /// Everybody goes on at `offset`.
    pub fn reset(&mut self, offset: i64) {
        self.generation += 1;
        for slot in &mut self.slots {
            (slot.consumed, slot.until, slot.behind) = (Some(offset), None, slot.owner.is_some());
        }
        self.members.values_mut().for_each(|member| member.back = Some((offset, false)));
    }

    /// `client` has consumed all of its own before `offset`.
    pub fn commit(&mut self, client: &str, offset: i64) {
        let Some(Sharer { pulled: Some(pulled), back, was_here, .. }) = self.members.get(client) else { return };
        if *was_here && back.is_some() {
            return;
        }
        let offset = offset.min(*pulled);
        for slot in self.slots.iter_mut().filter(|slot| slot.owner.as_deref() == Some(client) && !slot.behind) {
            let consumed = offset.min(slot.until.unwrap_or(i64::MAX));
            slot.consumed = slot.consumed.map(|before| before.max(consumed));
            if slot.until.is_some_and(|until| slot.consumed.is_none_or(|consumed| consumed >= until)) {
                self.generation += 1;
                *slot = Slot { consumed: slot.consumed, ..Slot::default() };
            }
        }
    }

    /// `client` pulls at `asked`, and says, maybe, that it has consumed all before `commit`.
    pub fn look(&mut self, client: &str, asked: i64, commit: Option<i64>) -> Look {
        let Some(member) = self.members.get_mut(client) else { return Look::Wait };
        if let Some((to, told)) = &mut member.back {
            // As with a reset: it has gone back if it holds nothing, or was told and asks for that place.
            let is_there = asked == *to && (asked == 0 || commit == Some(asked) || *told);
            if !is_there {
                *told = true;
                return Look::Moved(*to);
            }
            (member.back, member.pulled, member.was_here) = (None, Some(asked), false);
            self.generation += 1;
            let own = self.slots.iter_mut().filter(|slot| slot.owner.as_deref() == Some(client));
            own.for_each(|slot| slot.behind = false);
        }
        let Some(member) = self.members.get_mut(client) else { return Look::Wait };
        let is_new = member.pulled.is_none();
        member.pulled = Some(member.pulled.unwrap_or(asked).max(asked));
        let has = |slot: &Slot| slot.owner.as_deref() == Some(client) && !slot.unsaved;
        if self.slots.iter().any(has) {
            // Who comes first to a new group's queue says where all of it begins.
            self.slots.iter_mut().for_each(|slot| _ = slot.consumed.get_or_insert(asked));
        }
        let least = self.slots.iter().filter(|slot| has(slot)).filter_map(|slot| slot.consumed).min();
        if let Some(least) = least.filter(|least| is_new && *least < asked) {
            // It began, or goes on, further on than what is its own.
            member.back = Some((least, true));
            if !member.was_here {
                self.slots.iter_mut().filter(|slot| has(slot)).for_each(|slot| slot.behind = true);
            }
            return Look::Moved(least);
        }
        if let Some(commit) = commit {
            self.commit(client, commit);
        }
        let mut own = Own { slots: vec![None; SLOTS], generation: self.generation };
        for (slot, range) in self.slots.iter_mut().zip(&mut own.slots) {
            if slot.owner.as_deref() == Some(client) && !slot.unsaved && !slot.behind {
                let from = *slot.consumed.get_or_insert(asked);
                *range = Some((from, slot.until.unwrap_or(i64::MAX)));
            }
        }
        if own.slots.iter().all(Option::is_none) { Look::Wait } else { Look::Own(own) }
    }

    /// `client` is given its own before `next`. False: slots have changed hands since it looked, and it must look again.
    pub fn give(&mut self, client: &str, own: &Own, next: i64) -> bool {
        match self.members.get_mut(client) {
            Some(member) if own.generation == self.generation => {
                member.pulled = Some(member.pulled.unwrap_or(next).max(next));
                true
            }
            _ => false,
        }
    }

    /// Gives slots that nobody has to who has fewest, and lets go of members that are gone. True: owners are to be brought to disk,
    /// and then [`Share::saved`].
    pub fn divide(&mut self, now: Instant) -> bool {
        let gone: Vec<String> =
            self.members.iter().filter(|(_, it)| it.until <= now).map(|(client, _)| client.clone()).collect();
        gone.iter().for_each(|client| self.leave(client));
        let count = self.members.len();
        if count == 0 {
            return !gone.is_empty();
        }
        let has = |slots: &[Slot], client: &str| {
            slots.iter().filter(|slot| slot.until.is_none() && slot.owner.as_deref() == Some(client)).count()
        };
        // Who has most keeps one more, where they can't all have as many.
        let mut clients: Vec<(usize, String)> =
            self.members.keys().map(|client| (has(&self.slots, client), client.clone())).collect();
        clients.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
        let shares = clients.into_iter().enumerate().map(|(n, (has, client))| {
            let share = SLOTS / count + usize::from(n < SLOTS % count);
            (client, has, share)
        });
        let mut wanting: Vec<(String, usize)> = Vec::new();
        for (client, has, share) in shares.collect::<Vec<_>>() {
            let pulled = self.members.get(&client).and_then(|member| member.pulled);
            let mut own: Vec<&mut Slot> =
                self.slots.iter_mut().filter(|slot| slot.owner.as_ref() == Some(&client)).collect();
            if has > share {
                // Up to where it has pulled it has them in hand.
                let Some(pulled) = pulled else { continue };
                let kept = own.iter_mut().filter(|slot| slot.until.is_none());
                for slot in kept.take(has - share) {
                    self.generation += 1;
                    let is_done = slot.behind || slot.consumed.is_none_or(|consumed| consumed >= pulled);
                    match is_done {
                        true => **slot = Slot { consumed: slot.consumed, ..Slot::default() },
                        false => slot.until = Some(pulled),
                    }
                }
            } else if has < share {
                let mut missing = share - has;
                // What moves stays after all, unless the owner has pulled on: that passed over what came behind.
                let stays = |slot: &&mut &mut Slot| slot.until.is_some() && slot.until == pulled;
                for slot in own.iter_mut().filter(stays).take(missing) {
                    (slot.until, missing, self.generation) = (None, missing - 1, self.generation + 1);
                }
                wanting.push((client, missing));
            }
        }
        // What could not be saved before is tried again.
        let mut changed = !gone.is_empty() || self.slots.iter().any(|slot| slot.unsaved);
        for (client, missing) in wanting {
            for slot in self.slots.iter_mut().filter(|slot| slot.owner.is_none()).take(missing) {
                (slot.owner, slot.unsaved) = (Some(client.clone()), true);
                changed = true;
            }
        }
        changed
    }

    /// All owners are on disk.
    pub fn saved(&mut self) {
        for slot in self.slots.iter_mut().filter(|slot| slot.unsaved) {
            slot.unsaved = false;
            self.generation += 1;
            let Some(member) = slot.owner.as_ref().and_then(|owner| self.members.get_mut(owner)) else { continue };
            if let (Some(pulled), Some(consumed)) = (member.pulled, slot.consumed)
                && consumed < pulled
            {
                slot.behind = true;
                let to = member.back.map_or(consumed, |(to, _)| to.min(consumed));
                member.back = Some((to, false));
            }
        }
    }

    /// Who has how many of its slots; for people and tests.
    pub fn owners(&self) -> BTreeMap<&str, usize> {
        let mut owners = BTreeMap::new();
        for owner in self.slots.iter().filter(|slot| !slot.unsaved).filter_map(|slot| slot.owner.as_deref()) {
            *owners.entry(owner).or_default() += 1;
        }
        owners
    }
}

/// Group → topic → queue → its slots.
type Tables<T> = BTreeMap<String, BTreeMap<String, BTreeMap<i32, T>>>;

/// `orderShares.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    #[serde(default)]
    shares: Tables<Vec<Slot>>,
}

/// All queues that are shared.
pub struct Shares {
    table: Mutex<Inner>,
    /// Does any group share? Pulls look here first.
    any: AtomicBool,
    file: TableFile,
}

#[derive(Default)]
struct Inner {
    queues: Tables<Share>,
    count: usize,
    changes: u64,
}

impl Shares {
    /// Reads the table. `shares` says of a group whether its members share queues.
    pub fn open(config: &Config, shares: impl Fn(&str) -> bool, now: Instant) -> Result<Shares, table::OpenError> {
        let file = TableFile::new(config, "orderShares.json");
        let mut read: File = file.open()?.unwrap_or_default();
        read.shares.retain(|group, _| shares(group));
        let mut inner = Inner::default();
        for (group, topics) in read.shares {
            for (topic, queues) in topics {
                for (queue_id, mut slots) in queues {
                    slots.resize(SLOTS, Slot::default());
                    let mut share = Share { slots, ..Share::default() };
                    // They work at what they had; who does not come back is gone in a while. Who does goes back to where its
                    // slots were consumed up to.
                    for client in share.slots.clone().into_iter().filter_map(|slot| slot.owner) {
                        share.join(&client, now);
                    }
                    share.members.values_mut().for_each(|member| member.was_here = true);
                    inner.count += 1;
                    inner
                        .queues
                        .entry(group.clone())
                        .or_default()
                        .entry(topic.clone())
                        .or_default()
                        .insert(queue_id, share);
                }
            }
        }
        Ok(Shares { any: AtomicBool::new(!inner.queues.is_empty()), table: Mutex::new(inner), file })
    }

    /// Some group shares queues.
    pub fn set_used(&self) {
        self.any.store(true, Ordering::Release);
    }

    /// Does any?
    pub fn is_used(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// `client` takes the lock of a queue, of which the group has consumed all before `consumed`. False: too many are shared.
    pub fn join(
        &self,
        group: &str,
        (topic, queue_id): (&str, i32),
        client: &str,
        consumed: Option<i64>,
        now: Instant,
    ) -> bool {
        let Inner { queues, count, .. } = &mut *self.table.lock();
        let of_topic = queues.entry(group.to_owned()).or_default().entry(topic.to_owned()).or_default();
        if !of_topic.contains_key(&queue_id) {
            if *count >= QUEUES_MAX {
                return false;
            }
            *count += 1;
        }
        of_topic.entry(queue_id).or_insert_with(|| Share::new(consumed)).join(client, now);
        true
    }

    /// Does something with a queue that is shared.
    pub fn with<T>(&self, group: &str, topic: &str, queue_id: i32, then: impl FnOnce(&mut Share) -> T) -> Option<T> {
        let mut table = self.table.lock();
        table.changes += 1;
        table.queues.get_mut(group)?.get_mut(topic)?.get_mut(&queue_id).map(then)
    }

    /// Does something with all queues of a group that are shared.
    pub fn for_group(&self, group: &str, mut each: impl FnMut(&mut Share)) {
        if self.is_used() {
            let mut table = self.table.lock();
            table.changes += 1;
            table
                .queues
                .get_mut(group)
                .into_iter()
                .flat_map(BTreeMap::values_mut)
                .for_each(|queues| queues.values_mut().for_each(&mut each));
        }
    }

    /// Does anybody share queues of this group?
    pub fn any_held(&self, group: &str) -> bool {
        let mut held = false;
        self.for_group(group, |share| held |= !share.members.is_empty());
        held
    }

    /// Divides all queues anew where members came and went. What changed is on disk when this returns; answers with the queues where
    /// members are to look again. Blocks.
    pub fn divide(&self, now: Instant) -> io::Result<Vec<(String, i32)>> {
        let mut changed = Vec::new();
        let each = |queues: &mut Tables<Share>, then: &mut dyn FnMut(&str, i32, &mut Share)| {
            for (topic, queues) in queues.values_mut().flatten() {
                queues.iter_mut().for_each(|(queue_id, share)| then(topic, *queue_id, share));
            }
        };
        {
            let mut table = self.table.lock();
            each(&mut table.queues, &mut |topic, queue_id, share| {
                if share.divide(now) {
                    changed.push((topic.to_owned(), queue_id));
                }
            });
            table.changes += changed.len() as u64;
        }
        if changed.is_empty() {
            return Ok(changed);
        }
        self.save()?;
        each(&mut self.table.lock().queues, &mut |_, _, share| share.saved());
        Ok(changed)
    }

    /// Forgets a topic.
    pub fn forget_topic(&self, topic: &str) {
        self.forget(|_, name| name == topic);
    }

    /// Forgets a group.
    pub fn forget_group(&self, group: &str) {
        self.forget(|name, _| name == group);
    }

    fn forget(&self, gone: impl Fn(&str, &str) -> bool) {
        let Inner { queues, count, changes } = &mut *self.table.lock();
        queues.iter_mut().for_each(|(group, topics)| topics.retain(|topic, _| !gone(group, topic)));
        queues.retain(|_, topics| !topics.is_empty());
        *count = queues.values().flat_map(BTreeMap::values).map(BTreeMap::len).sum();
        *changes += 1;
    }
}

impl Table for Shares {
    fn save(&self) -> io::Result<()> {
        let _one_at_a_time = self.file.saving.lock();
        let (file, changes) = {
            let mut table = self.table.lock();
            let changes = std::mem::take(&mut table.changes);
            if changes == 0 {
                return Ok(());
            }
            let slots = |queues: &BTreeMap<i32, Share>| {
                queues.iter().map(|(queue_id, share)| (*queue_id, share.slots.clone())).collect()
            };
            let topics = |topics: &BTreeMap<String, BTreeMap<i32, Share>>| {
                topics.iter().map(|(topic, queues)| (topic.clone(), slots(queues))).collect()
            };
            (File { shares: table.queues.iter().map(|(group, it)| (group.clone(), topics(it))).collect() }, changes)
        };
        self.file.save(&file).inspect_err(|_| self.table.lock().changes += changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue of messages whose offset is their key, divided.
    struct Story {
        share: Share,
        start: Instant,
    }

    impl Story {
        fn new() -> Story {
            Story { share: Share::new(Some(0)), start: Instant::now() }
        }

        fn join(&mut self, clients: &[&str], seconds: u64) {
            clients.iter().for_each(|client| self.share.join(client, self.start + Duration::from_secs(seconds)));
        }

        fn divide(&mut self, seconds: u64) -> Vec<usize> {
            self.share.divide(self.start + Duration::from_secs(seconds));
            self.share.saved();
            self.share.owners().into_values().collect()
        }

        fn own(&mut self, client: &str, asked: i64, commit: i64) -> Own {
            match self.share.look(client, asked, Some(commit)) {
                Look::Own(own) => own,
                other => panic!("{client} at {asked}: {other:?}"),
            }
        }

        /// Pulls `asked..next`, having consumed all before `commit`: which messages it gets.
        fn pull(&mut self, client: &str, asked: i64, commit: i64, next: i64) -> Vec<i64> {
            let own = self.own(client, asked, commit);
            assert!(self.share.give(client, &own, next));
            (asked..next).filter(|offset| own.has(*offset, Some(&key(*offset)))).collect()
        }
    }

    /// A hundred keys.
    fn key(offset: i64) -> String {
        format!("key-{}", offset % 100)
    }

    #[test]
    fn a_queue_is_divided_evenly_and_each_message_is_somebodys() {
        let mut story = Story::new();
        story.join(&["a"], 0);
        assert_eq!(story.share.look("a", 0, None), Look::Wait, "until it is on disk");
        assert!(story.share.divide(story.start));
        assert_eq!(story.share.look("a", 0, None), Look::Wait);
        story.share.saved();
        assert_eq!(story.pull("a", 0, 0, 100).len(), 100);
        story.join(&["b", "c"], 1);
        story.divide(1);
        assert_eq!(story.share.look("b", 0, None), Look::Wait, "a has all of it in hand");
        story.pull("a", 100, 100, 100);
        assert_eq!(story.divide(1), [11, 11, 10]);
        let mut all = Vec::new();
        for client in ["a", "b", "c"] {
            let got = story.pull(client, 100, 100, 200);
            assert!((20..50).contains(&got.len()), "{client} has {}", got.len());
            all.extend(got);
        }
        all.sort_unstable();
        assert_eq!(all, (100..200).collect::<Vec<_>>());
    }

    #[test]
    fn what_a_member_has_in_hand_is_consumed_before_another_gets_later_ones_of_its_keys() {
        let mut story = Story::new();
        story.join(&["a"], 0);
        story.divide(0);
        story.pull("a", 0, 0, 50);
        let before = story.own("a", 50, 0);
        story.join(&["b"], 1);
        story.divide(1);
        assert!(!story.share.give("a", &before, 60), "it looked before slots were to move");
        let kept = story.pull("a", 50, 10, 150);
        assert!(!kept.is_empty() && kept.len() < 100);
        assert_eq!(story.share.look("b", 0, None), Look::Wait);
        story.share.commit("a", 49);
        story.divide(2);
        assert_eq!(story.share.look("b", 0, None), Look::Wait, "49 is not consumed");
        story.share.commit("a", 50);
        assert_eq!(story.divide(2), [16, 16]);
        let moved = story.pull("b", 0, 0, 150);
        let mut all = [kept, moved].concat();
        all.sort_unstable();
        assert_eq!(all, (50..150).collect::<Vec<_>>(), "each once, and none from before");
        assert_eq!(story.share.consumed(), Some(50));
        story.share.commit("a", 150);
        assert_eq!(story.share.consumed(), Some(50), "b is not as far");
        story.share.commit("b", 149);
        assert_eq!(story.share.consumed(), Some(149));
    }

    #[test]
    fn who_gets_slots_of_a_member_that_is_gone_goes_back_to_where_it_had_come() {
        let mut story = Story::new();
        story.join(&["a", "b"], 0);
        assert_eq!(story.divide(0), [16, 16]);
        let of_a = story.pull("a", 0, 0, 100);
        story.pull("b", 0, 0, 100);
        story.share.commit("a", 40);
        story.share.lost("a", story.start + Duration::from_secs(10));
        story.join(&["b"], 20);
        assert_eq!(story.divide(39), [16, 16], "it may still work");
        assert_eq!(story.divide(40), [32]);
        assert_eq!(story.share.look("b", 100, Some(90)), Look::Moved(40));
        story.share.commit("b", 95);
        assert_eq!(story.share.consumed(), Some(40), "that was not of a's");
        assert_eq!(story.share.look("b", 101, Some(95)), Look::Moved(40), "until it is there");
        let got = story.pull("b", 40, 40, 100);
        let missing: Vec<i64> = of_a.into_iter().filter(|offset| *offset >= 40).collect();
        let again: Vec<i64> = got.iter().copied().filter(|offset| *offset < 95).collect();
        assert_eq!(again, missing.into_iter().filter(|offset| *offset < 95).collect::<Vec<_>>());
        assert_eq!(got.iter().filter(|offset| **offset >= 95).count(), 5);
        story.share.commit("b", 100);
        assert_eq!(story.share.consumed(), Some(100));
    }

    #[test]
    fn who_leaves_and_comes_back_at_once_moves_nothing_that_others_have_in_hand() {
        let mut story = Story::new();
        story.join(&["a"], 0);
        story.divide(0);
        story.pull("a", 0, 0, 10);
        story.join(&["b"], 1);
        story.divide(1);
        story.share.leave("b");
        assert_eq!(story.divide(2), [32], "what was to move stays");
        assert_eq!(story.pull("a", 10, 0, 20), (10..20).collect::<Vec<_>>());
    }

    #[test]
    fn what_was_passed_over_while_it_moved_comes_when_it_stays_after_all() {
        for pulled_on in [100, 200] {
            let mut story = Story::new();
            story.join(&["a"], 0);
            story.divide(0);
            assert_eq!(story.pull("a", 0, 0, 100).len(), 100);
            story.join(&["b"], 1);
            story.divide(1);
            let mut got = story.pull("a", 100, 0, pulled_on);
            story.share.leave("b");
            story.divide(1);
            // It consumes all that it has in hand, and goes on where it is told to.
            got.extend(story.pull("a", pulled_on, 0, pulled_on));
            story.share.commit("a", pulled_on);
            story.divide(1);
            let from = match story.share.look("a", pulled_on, Some(pulled_on)) {
                Look::Moved(to) => to,
                _ => pulled_on,
            };
            got.extend(story.pull("a", from, from, 300));
            got.sort_unstable();
            assert_eq!(got, (100..300).collect::<Vec<_>>(), "{pulled_on}");
        }
    }

    #[test]
    fn a_reset_has_all_go_to_one_place() {
        let mut story = Story::new();
        story.join(&["a", "b"], 0);
        story.divide(0);
        story.pull("a", 0, 0, 100);
        story.pull("b", 0, 0, 100);
        story.share.reset(50);
        assert_eq!(story.share.look("a", 100, Some(100)), Look::Moved(50));
        assert_eq!(story.share.consumed(), Some(50), "what it says from before does not count");
        let a = story.pull("a", 50, 50, 100);
        assert_eq!(story.share.look("b", 100, Some(100)), Look::Moved(50));
        assert_eq!(a.len() + story.pull("b", 50, 50, 100).len(), 50);
    }

    #[test]
    fn a_new_group_begins_where_its_first_member_does() {
        let mut share = Share::new(None);
        let now = Instant::now();
        share.join("a", now);
        share.divide(now);
        share.saved();
        assert_eq!(share.consumed(), None);
        assert!(matches!(share.look("a", 70, None), Look::Own(own) if own.has(70, None) && !own.has(69, None)));
        assert_eq!(share.consumed(), Some(70));
    }

    #[test]
    fn who_begins_behind_what_is_its_own_goes_back_to_it() {
        let mut story = Story { share: Share::new(None), start: Instant::now() };
        story.join(&["a", "b"], 0);
        story.divide(0);
        let of_a = story.pull("a", 0, 0, 12);
        story.share.commit("a", 12);
        assert_eq!(story.share.consumed(), Some(0), "b has not begun");
        assert_eq!(story.share.look("b", 12, Some(12)), Look::Moved(0));
        assert_eq!(of_a.len() + story.pull("b", 0, 0, 12).len(), 12);
    }

    #[test]
    fn owners_are_kept_over_a_restart_for_as_long_as_they_may_work() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { store_root: dir.path().into(), ..Config::default() };
        let now = Instant::now();
        let open = || Shares::open(&config, |group| group == "g", now).unwrap();
        let shares = open();
        assert!(!shares.is_used());
        assert!(shares.join("g", ("T", 1), "a", Some(7), now));
        assert!(shares.join("h", ("T", 1), "a", Some(7), now));
        assert_eq!(shares.divide(now).unwrap().len(), 2);
        let owners = |shares: &Shares| {
            shares.with("g", "T", 1, |share| {
                share.owners().into_iter().map(|(it, n)| (it.to_owned(), n)).collect::<Vec<_>>()
            })
        };
        assert_eq!(owners(&shares), Some(vec![("a".into(), SLOTS)]));

        let shares = open();
        assert!(shares.is_used() && shares.any_held("g") && !shares.any_held("h"), "h does not share any more");
        assert_eq!(owners(&shares), Some(vec![("a".into(), SLOTS)]));
        let moved = shares.with("g", "T", 1, |share| share.look("a", 20, Some(20)));
        assert_eq!(moved, Some(Look::Moved(7)), "what it passed over, as not yet its own, comes");
        shares.with("g", "T", 1, |share| share.commit("a", 20));
        shares.join("g", ("T", 1), "b", Some(7), now + Duration::from_secs(50));
        shares.divide(now + Duration::from_secs(59)).unwrap();
        assert_eq!(owners(&shares), Some(vec![("a".into(), SLOTS)]), "nobody knows what it has in hand");
        shares.divide(now + LOCK_TIME).unwrap();
        assert_eq!(owners(&shares), Some(vec![("b".into(), SLOTS)]));
        assert_eq!(shares.with("g", "T", 1, |share| share.consumed()), Some(Some(7)));
        shares.forget_topic("T");
        assert_eq!(owners(&shares), None);
    }
}
