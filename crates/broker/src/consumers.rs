//! Who consumes: the members of consumer groups and what they subscribe to, as their heartbeats tell.
//!
//! Subscriptions belong to the group, as in Apache's brokers: what the last heartbeat does not name is gone. Members
//! that subscribe differently take it from each other; the log names both.

use protocol::command::Language;
use protocol::heartbeat::{ConsumeFromWhere, ConsumeType, ConsumerData, MessageModel};
use protocol::subscription::SubscriptionData;
use remoting::Peer;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many members all groups together may have.
pub const MEMBERS_MAX: usize = 300_000;

/// So many topics one group may subscribe to.
pub const SUBSCRIPTIONS_MAX: usize = 10_000;

/// All consumer groups that have members.
#[doc(alias = "ConsumerManager")]
#[derive(Debug)]
pub struct Consumers<P = Peer> {
    groups: HashMap<String, ConsumerGroup<P>>,
    /// Members of all groups.
    count: usize,
}

/// A group that has members.
#[doc(alias = "ConsumerGroupInfo")]
#[derive(Debug)]
pub struct ConsumerGroup<P = Peer> {
    /// Who moves the messages.
    pub consume_type: ConsumeType,
    /// How members share messages.
    pub message_model: MessageModel,
    /// Where the group begins without an offset.
    pub consume_from_where: ConsumeFromWhere,
    /// Topic → what is wanted of it.
    pub subscriptions: HashMap<String, Arc<SubscriptionData>>,
    /// Client id → member, in the order in which clients sort them.
    pub members: BTreeMap<String, Member<P>>,
    /// Of the heartbeat that the subscriptions come from; 0: it had none.
    fingerprint: i64,
    /// Whose heartbeat changed the subscriptions last.
    changed_by: String,
}

/// A client, as member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member<P = Peer> {
    /// Its connection.
    pub peer: P,
    /// What it is written in.
    pub language: Language,
    /// Its version, an ordinal of Java's `MQVersion`.
    pub version: i32,
    /// Its last heartbeat.
    pub seen: Instant,
}

impl<P> Member<P> {
    /// A member in Java whose version we don't know.
    pub fn new(peer: P, seen: Instant) -> Member<P> {
        Member { peer, language: Language::default(), version: 0, seen }
    }
}

/// What a heartbeat changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// A member joined, or topics came or went: all members must share queues anew.
    pub rebalance: bool,
    /// We need the client's subscriptions, which it left out.
    pub ask_subscriptions: bool,
    /// The client came over another connection than before. If that one is alive, two clients have the same id.
    pub moved: bool,
}

impl<P> Default for Consumers<P> {
    fn default() -> Consumers<P> {
        Consumers { groups: HashMap::new(), count: 0 }
    }
}

impl<P: Clone + Eq> Consumers<P> {
    /// A heartbeat of `client`. `without_subscriptions`: it left them out, as they are those of `fingerprint`.
    pub fn heartbeat(
        &mut self,
        data: ConsumerData,
        client: &str,
        member: Member<P>,
        fingerprint: i64,
        without_subscriptions: bool,
    ) -> Changes {
        let known = self.groups.get(&data.group_name).is_some_and(|group| group.members.contains_key(client));
        if !known && self.count >= MEMBERS_MAX {
            tracing::warn!(group = data.group_name, client, "not taken as a member: there are {MEMBERS_MAX} already");
            return Changes::default();
        }
        self.count += usize::from(!known);
        let group = self.groups.entry(data.group_name.clone()).or_insert_with(|| ConsumerGroup {
            consume_type: data.consume_type,
            message_model: data.message_model,
            consume_from_where: data.consume_from_where,
            subscriptions: HashMap::new(),
            members: BTreeMap::new(),
            fingerprint: 0,
            changed_by: String::new(),
        });
        let moved = group.members.get(client).is_some_and(|known| known.peer != member.peer);
        let joined = group.join(client, member);
        if without_subscriptions {
            return Changes { rebalance: joined, ask_subscriptions: group.fingerprint != fingerprint, moved };
        }
        group.consume_type = data.consume_type;
        group.message_model = data.message_model;
        group.consume_from_where = data.consume_from_where;
        group.fingerprint = fingerprint;
        let subscribed = group.subscribe(&data.group_name, client, data.subscription_data_set);
        Changes { rebalance: joined || subscribed, ask_subscriptions: false, moved }
    }

    /// `client` leaves `group`. True: it was a member.
    pub fn leave(&mut self, group: &str, client: &str) -> bool {
        let Some(found) = self.groups.get_mut(group) else { return false };
        let left = found.members.remove(client).is_some();
        self.count -= usize::from(left);
        if found.members.is_empty() {
            self.groups.remove(group);
        }
        left
    }

    /// A connection is gone, and with it all who were reached over it. Answers with groups and clients.
    pub fn close(&mut self, peer: &P) -> Vec<(String, String)> {
        self.remove(|member| member.peer == *peer)
    }

    /// Removes who has been silent for `timeout`. Answers with groups and clients.
    pub fn expire(&mut self, now: Instant, timeout: Duration) -> Vec<(String, String)> {
        self.remove(|member| now.saturating_duration_since(member.seen) > timeout)
    }

    fn remove(&mut self, gone: impl Fn(&Member<P>) -> bool) -> Vec<(String, String)> {
        let mut removed = Vec::new();
        self.groups.retain(|name, group| {
            group.members.retain(|client, member| {
                let gone = gone(member);
                if gone {
                    removed.push((name.clone(), client.clone()));
                }
                !gone
            });
            !group.members.is_empty()
        });
        self.count -= removed.len();
        removed
    }

    /// The group, if it has members.
    pub fn get(&self, group: &str) -> Option<&ConsumerGroup<P>> {
        self.groups.get(group)
    }

    /// The connections of the group's members, each once.
    pub fn peers(&self, group: &str) -> Vec<P> {
        let mut peers: Vec<P> = Vec::new();
        for member in self.groups.get(group).into_iter().flat_map(|group| group.members.values()) {
            if !peers.contains(&member.peer) {
                peers.push(member.peer.clone());
            }
        }
        peers
    }
}

impl<P: Clone + Eq> ConsumerGroup<P> {
    /// True: it was no member, or comes over another connection.
    fn join(&mut self, client: &str, member: Member<P>) -> bool {
        match self.members.get_mut(client) {
            Some(known) => {
                let moved = known.peer != member.peer;
                *known = member;
                moved
            }
            None => {
                self.members.insert(client.to_owned(), member);
                true
            }
        }
    }

    /// True: topics came or went.
    fn subscribe(&mut self, name: &str, client: &str, mut wanted: Vec<SubscriptionData>) -> bool {
        if wanted.len() > SUBSCRIPTIONS_MAX {
            tracing::warn!(
                group = name,
                client,
                "subscribes to {} topics; only the first {SUBSCRIPTIONS_MAX} count: use fewer, or several groups",
                wanted.len()
            );
            wanted.truncate(SUBSCRIPTIONS_MAX);
        }
        let before = self.subscriptions.len();
        let wanted_topics: std::collections::HashSet<String> = wanted.iter().map(|it| it.topic.clone()).collect();
        self.subscriptions.retain(|topic, _| wanted_topics.contains(topic));
        let gone = before - self.subscriptions.len();
        let mut came = 0;
        for subscription in wanted {
            match self.subscriptions.get_mut(&subscription.topic) {
                Some(known) if subscription.sub_version > known.sub_version => *known = Arc::new(subscription),
                Some(_) => {}
                None => {
                    came += 1;
                    self.subscriptions.insert(subscription.topic.clone(), Arc::new(subscription));
                }
            }
        }
        let changed = gone + came > 0;
        if changed {
            if gone > 0 && !self.changed_by.is_empty() && self.changed_by != client && self.members.len() > 1 {
                tracing::warn!(
                    group = name,
                    "{client} and {} are members of one group and subscribe to different topics; each takes the \
                     other's away and messages stay behind: give them the same subscriptions, or a group each",
                    self.changed_by
                );
            }
            self.changed_by = client.to_owned();
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(group: &str, topics: &[(&str, i64)]) -> ConsumerData {
        let subscription_data_set = topics
            .iter()
            .map(|(topic, version)| SubscriptionData {
                sub_version: *version,
                ..SubscriptionData::tags(topic, "*").unwrap()
            })
            .collect();
        ConsumerData { group_name: group.into(), subscription_data_set, ..ConsumerData::default() }
    }

    fn beat(consumers: &mut Consumers<u32>, topics: &[(&str, i64)], client: &str, peer: u32, now: Instant) -> bool {
        consumers.heartbeat(data("g", topics), client, Member::new(peer, now), 0, false).rebalance
    }

    #[test]
    fn members_share_anew_when_one_joins_or_topics_change() {
        let now = Instant::now();
        let mut consumers = Consumers::default();
        assert!(beat(&mut consumers, &[("T", 1)], "a", 1, now));
        assert!(!beat(&mut consumers, &[("T", 2)], "a", 1, now), "a newer version alone moves no queue");
        assert_eq!(consumers.get("g").unwrap().subscriptions["T"].sub_version, 2);
        assert!(beat(&mut consumers, &[("T", 1)], "b", 2, now), "b joined");
        assert_eq!(consumers.get("g").unwrap().subscriptions["T"].sub_version, 2, "an older version does not count");
        assert!(beat(&mut consumers, &[("T", 2), ("U", 1)], "b", 2, now), "a topic came");
        assert!(beat(&mut consumers, &[("T", 2)], "a", 1, now), "a topic went");
        assert_eq!(consumers.peers("g"), [1, 2]);
    }

    #[test]
    fn members_go_by_leaving_by_silence_or_with_their_connection() {
        let start = Instant::now();
        let mut consumers = Consumers::default();
        for (client, peer) in [("a", 1), ("b", 2), ("c", 2), ("d", 3)] {
            beat(&mut consumers, &[("T", 1)], client, peer, start);
        }
        assert!(consumers.leave("g", "a"));
        assert!(!consumers.leave("g", "a"));
        assert_eq!(consumers.close(&2), [("g".into(), "b".into()), ("g".into(), "c".into())]);
        assert_eq!(
            consumers.expire(start + Duration::from_secs(121), Duration::from_secs(120)),
            [("g".into(), "d".into())]
        );
        assert!(consumers.get("g").is_none());
    }

    #[test]
    fn a_client_that_reconnects_is_one_member() {
        let now = Instant::now();
        let mut consumers = Consumers::default();
        beat(&mut consumers, &[("T", 1)], "a", 1, now);
        assert!(beat(&mut consumers, &[("T", 1)], "a", 2, now));
        assert_eq!(consumers.close(&1), [], "the old connection's end removes nobody");
        assert_eq!(consumers.peers("g"), [2]);
    }

    #[test]
    fn subscriptions_left_out_are_asked_for_when_they_are_not_known() {
        let now = Instant::now();
        let mut consumers = Consumers::<u32>::default();
        let mut beat = |topics: &[(&str, i64)], fingerprint, without| {
            consumers.heartbeat(data("g", topics), "a", Member::new(1, now), fingerprint, without).ask_subscriptions
        };
        assert!(beat(&[], 5, true), "after a restart of the broker");
        assert!(!beat(&[("T", 1)], 5, false));
        assert!(!beat(&[], 5, true));
        assert!(beat(&[], 6, true), "another member wrote others");
        assert_eq!(consumers.get("g").unwrap().subscriptions.len(), 1);
    }
}
