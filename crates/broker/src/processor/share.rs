//! Queues that several members consume at a time, in order of keys.
//!
//! A group with the attribute `order.shareByKey=true` is told, whoever asks, that the asking member is its only one, and each member gets the
//! lock of every queue. Which messages it gets is said in `shares`.

use crate::Broker;
use crate::shares::{Look, Own, Share};
use protocol::heartbeat::{MessageModel, MessageQueue};
use protocol::subscription::ORDER_SHARE_BY_KEY;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

impl Broker {
    /// Do members of this group share queues?
    pub(crate) fn shares_by_key(&self, group: &str) -> bool {
        self.shares.is_used()
            && self.groups.get(group).is_some_and(|group| group.is_on(ORDER_SHARE_BY_KEY))
            && self.consumers.read().get(group).is_none_or(|group| group.message_model == MessageModel::Clustering)
    }

    /// Which member of the group has this connection?
    pub(crate) fn member_at(&self, group: &str, address: SocketAddr) -> Option<String> {
        let consumers = self.consumers.read();
        let members = &consumers.get(group)?.members;
        match members.iter().find(|(_, member)| member.peer.address() == address) {
            Some((client, _)) => Some(client.clone()),
            None => self.connections.client(address).filter(|client| members.contains_key(client)),
        }
    }

    /// What a member that shares queues with others is told when it asks who is in the group, over this connection: itself, as others
    /// need not concern it. Over a connection of which it is not known whose it is: all that it can be, so that it takes its part
    /// of the queues, and says who it is by locking them. Empty: nobody of the group asks.
    pub(super) fn members_told(&self, group: &str, asking: SocketAddr) -> Vec<String> {
        if let Some(client) = self.member_at(group, asking) {
            self.connections.hear(asking, &client);
            return vec![client];
        }
        let consumers = self.consumers.read();
        let members = consumers.get(group).into_iter().flat_map(|group| &group.members);
        self.connections.unheard(members.map(|(client, member)| (client, member.peer.address())), asking)
    }

    /// Does any member consume a queue in order?
    pub(crate) fn consumes_in_order(&self, group: &str) -> bool {
        self.locks.lock().any_held(group, Instant::now()) || self.shares.any_held(group)
    }

    /// `client` shares these queues. Answers with those that are there.
    pub(super) fn share(
        &self,
        group: &str,
        client: &str,
        queues: Vec<MessageQueue>,
        now: Instant,
    ) -> Vec<MessageQueue> {
        let mut shared = queues;
        shared.retain(|queue| {
            let (topic, queue_id) = (queue.topic.as_str(), queue.queue_id);
            let is_there = self.topics.queues(topic).is_some_and(|queues| (0..queues.read).contains(&queue_id));
            let consumed = self.offsets.get(group, topic, queue_id);
            is_there && self.shares.join(group, (topic, queue_id), client, consumed, now)
        });
        shared
    }

    /// What a member that pulls at `asked` gets of a queue.
    pub(super) fn look_at_share(
        &self,
        (group, topic, queue_id): (&str, &str, i32),
        client: &str,
        asked: i64,
        commit: Option<i64>,
        by: SocketAddr,
    ) -> Look {
        let looked = self.changing_share((group, topic, queue_id), by, |share| share.look(client, asked, commit));
        looked.unwrap_or(Look::Wait)
    }

    /// It is given its own before `next`. False: it is to look again.
    pub(super) fn give_share(
        &self,
        (group, topic, queue_id): (&str, &str, i32),
        client: &str,
        own: &Own,
        next: i64,
    ) -> bool {
        self.shares.with(group, topic, queue_id, |share| share.give(client, own, next)).unwrap_or(false)
    }

    /// A member has consumed all of its own before `offset`.
    pub(crate) fn commit_shared(&self, group: &str, topic: &str, queue_id: i32, offset: i64, by: SocketAddr) {
        let Some(client) = self.member_at(group, by) else { return };
        self.changing_share((group, topic, queue_id), by, |share| share.commit(&client, offset));
    }

    /// Changes a share, and keeps the group's offset where its slowest slot is.
    fn changing_share<T>(
        &self,
        (group, topic, queue_id): (&str, &str, i32),
        by: SocketAddr,
        change: impl FnOnce(&mut Share) -> T,
    ) -> Option<T> {
        let changed = self.shares.with(group, topic, queue_id, |share| {
            let before = share.consumed();
            let changed = change(share);
            let consumed = share.consumed();
            // Under the lock of the shares, so that offsets follow one another in their order.
            let moved = consumed
                .filter(|consumed| before != Some(*consumed) || self.offsets.get(group, topic, queue_id).is_none());
            let from = moved.map(|consumed| (self.offsets.commit(group, topic, queue_id, consumed), consumed));
            (changed, from)
        });
        let (changed, moved) = changed?;
        if let Some((Ok(from), to)) = moved {
            self.note_commit(group, topic, queue_id, from, to, by);
        }
        Some(changed)
    }

    /// Everybody goes on in these queues where this says. Answers with where the group was.
    pub(crate) fn reset_shared(
        &self,
        group: &str,
        topic: &str,
        offsets: &BTreeMap<i32, i64>,
    ) -> BTreeMap<i32, Option<i64>> {
        let reset = |(queue_id, offset): (&i32, &i64)| {
            let set = |offset| self.offsets.commit(group, topic, *queue_id, offset).ok().flatten();
            let shared = self.shares.with(group, topic, *queue_id, |share| {
                share.reset(*offset);
                set(*offset)
            });
            (*queue_id, shared.unwrap_or_else(|| set(*offset)))
        };
        offsets.iter().map(reset).collect()
    }
}
