//! Who consumes: the members of consumer groups and what they subscribe to, as their heartbeats tell.
//!
//! Subscriptions belong to the group, as in Apache's brokers: what the last heartbeat does not name is gone. Members
//! that subscribe differently take it from each other, and of two clients with one id one gets nothing: [`Consumers::conflicts`]
//! says who they are.

use protocol::command::Language;
use protocol::group::{Clash, Difference, GroupConflict};
use protocol::heartbeat::{ConsumeFromWhere, ConsumeType, ConsumerData, MessageModel};
use protocol::subscription::{ALL, SubscriptionData, TAG};
use protocol::topic::RETRY_PREFIX;
use remoting::Peer;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many members all groups together may have.
pub const MEMBERS_MAX: usize = 300_000;

/// So many topics one group may subscribe to.
pub const SUBSCRIPTIONS_MAX: usize = 10_000;

/// How often it is told what is wrong among the members of a group.
const TELL_PERIOD: Duration = Duration::from_secs(60);

/// A client whose id another one has sends a heartbeat at least so often.
const CLASH_TIME: Duration = Duration::from_secs(120);

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
    /// Client id → what its last full heartbeat asked for. Members that are alike share it.
    wants: HashMap<String, Arc<Wants>>,
    /// Not all members ask for the same.
    differ: bool,
    /// When that was told.
    differ_told: Option<Instant>,
    /// Client id → the connections over which it came by turns.
    moves: BTreeMap<String, Move<P>>,
}

/// What a member asks for, in which all members of a group must be alike.
#[derive(Debug, PartialEq, Eq)]
struct Wants {
    consume_type: ConsumeType,
    message_model: MessageModel,
    consume_from_where: ConsumeFromWhere,
    /// Topic → type and expression, for people.
    subscriptions: BTreeMap<String, String>,
}

/// A client came over another connection than before.
#[derive(Debug)]
struct Move<P> {
    from: P,
    to: P,
    at: Instant,
    told: Option<Instant>,
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
    /// The member is new, or has a new connection.
    pub joined: bool,
    /// A member joined, or topics came or went: all members must share queues anew.
    pub rebalance: bool,
    /// We need the client's subscriptions, which it left out.
    pub ask_subscriptions: bool,
    /// Members ask for different things, or two clients have this id; and that was not told for a while.
    pub tell_conflicts: bool,
}

impl<P> Default for Consumers<P> {
    fn default() -> Consumers<P> {
        Consumers { groups: HashMap::new(), count: 0 }
    }
}

impl<P: Clone + Eq> Consumers<P> {
    /// A heartbeat of `client`. `without_subscriptions`: it left them out, as they are those of `fingerprint`. `is_open`: is
    /// there still this connection?
    pub fn heartbeat(
        &mut self,
        data: ConsumerData,
        client: &str,
        member: Member<P>,
        fingerprint: i64,
        without_subscriptions: bool,
        is_open: impl Fn(&P) -> bool,
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
            wants: HashMap::new(),
            differ: false,
            differ_told: None,
            moves: BTreeMap::new(),
        });
        let now = member.seen;
        let mut tell_conflicts = group.note_move(client, &member.peer, now, is_open);
        let joined = group.join(client, member);
        if without_subscriptions {
            let ask_subscriptions = group.fingerprint != fingerprint;
            return Changes { joined, rebalance: joined, ask_subscriptions, tell_conflicts };
        }
        group.note_wants(client, &data);
        if group.differ && group.differ_told.is_none_or(|told| now.saturating_duration_since(told) >= TELL_PERIOD) {
            group.differ_told = Some(now);
            tell_conflicts = true;
        }
        group.consume_type = data.consume_type;
        group.message_model = data.message_model;
        group.consume_from_where = data.consume_from_where;
        group.fingerprint = fingerprint;
        let subscribed = group.subscribe(&data.group_name, client, data.subscription_data_set);
        Changes { joined, rebalance: joined || subscribed, ask_subscriptions: false, tell_conflicts }
    }

    /// `client` leaves `group`. True: it was a member.
    pub fn leave(&mut self, group: &str, client: &str) -> bool {
        let Some(found) = self.groups.get_mut(group) else { return false };
        let left = found.members.remove(client).is_some();
        found.forget(client);
        found.compare();
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
            let before = removed.len();
            group.members.retain(|client, member| {
                let gone = gone(member);
                if gone {
                    removed.push((name.clone(), client.clone()));
                }
                !gone
            });
            if removed.len() > before {
                removed[before..].iter().for_each(|(_, client)| group.forget(client));
                group.compare();
            }
            !group.members.is_empty()
        });
        self.count -= removed.len();
        removed
    }

    /// The group, if it has members.
    pub fn get(&self, group: &str) -> Option<&ConsumerGroup<P>> {
        self.groups.get(group)
    }

    /// The groups, or the one of this name, whose members ask for different things, or in which two clients have one id.
    pub fn conflicts(
        &self,
        group: Option<&str>,
        now: Instant,
        is_open: impl Fn(&P) -> bool,
        address: impl Fn(&P) -> String,
    ) -> Vec<GroupConflict> {
        let groups = self.groups.iter().filter(|(name, _)| group.is_none_or(|wanted| wanted == name.as_str()));
        let conflicts = groups.map(|(name, group)| {
            let current = |it: &Move<P>| {
                now.saturating_duration_since(it.at) < CLASH_TIME && is_open(&it.from) && is_open(&it.to)
            };
            let clashes = group.moves.iter().filter(|(_, it)| current(it)).map(|(client, it)| Clash {
                client_id: client.clone(),
                addresses: vec![address(&it.from), address(&it.to)],
            });
            GroupConflict { group: name.clone(), differences: group.differences(), clashes: clashes.collect() }
        });
        let mut conflicts: Vec<_> =
            conflicts.filter(|it| !(it.differences.is_empty() && it.clashes.is_empty())).collect();
        conflicts.sort_by(|one, other| one.group.cmp(&other.group));
        conflicts
    }

    /// The groups that have members.
    pub fn names(&self) -> Vec<String> {
        self.groups.keys().cloned().collect()
    }

    /// The groups that subscribe to `topic`.
    #[doc(alias = "queryTopicConsumeByWho")]
    pub fn subscribers(&self, topic: &str) -> Vec<String> {
        let groups = self.groups.iter().filter(|(_, group)| group.subscriptions.contains_key(topic));
        groups.map(|(name, _)| name.clone()).collect()
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
        gone + came > 0
    }

    /// True: the client came over another connection, that it has left is still open, and this is to be told.
    fn note_move(&mut self, client: &str, to: &P, now: Instant, is_open: impl Fn(&P) -> bool) -> bool {
        let Some(known) = self.members.get(client).filter(|known| known.peer != *to) else { return false };
        if !is_open(&known.peer) {
            self.moves.remove(client);
            return false;
        }
        let told = self.moves.get(client).and_then(|before| before.told);
        let tell = told.is_none_or(|told| now.saturating_duration_since(told) >= TELL_PERIOD);
        let told = if tell { Some(now) } else { told };
        self.moves.insert(client.to_owned(), Move { from: known.peer.clone(), to: to.clone(), at: now, told });
        tell
    }

    fn note_wants(&mut self, client: &str, data: &ConsumerData) {
        let wants = Wants::of(data);
        if self.wants.get(client).is_some_and(|known| **known == wants) {
            return;
        }
        let alike = self.wants.values().find(|other| ***other == wants).cloned();
        self.wants.insert(client.to_owned(), alike.unwrap_or_else(|| Arc::new(wants)));
        self.compare();
    }

    fn forget(&mut self, client: &str) {
        self.wants.remove(client);
        self.moves.remove(client);
    }

    /// Do all members ask for the same?
    fn compare(&mut self) {
        let mut wants = self.wants.values();
        let first = wants.next();
        self.differ = wants.any(|other| first.is_some_and(|first| !Arc::ptr_eq(first, other)));
        if !self.differ {
            self.differ_told = None;
        }
    }

    fn differences(&self) -> Vec<Difference> {
        if !self.differ {
            return Vec::new();
        }
        let members: BTreeMap<&String, &Wants> = self.wants.iter().map(|(client, wants)| (client, &**wants)).collect();
        let mut differences = Vec::new();
        let mut compare = |what: String, value: &dyn Fn(&Wants) -> String| {
            let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for (client, wants) in &members {
                values.entry(value(wants)).or_default().push((*client).clone());
            }
            if values.len() > 1 {
                differences.push(Difference { what, values });
            }
        };
        compare("messageModel".into(), &|wants| wants.message_model.name().into());
        compare("consumeType".into(), &|wants| wants.consume_type.name().into());
        compare("consumeFromWhere".into(), &|wants| wants.consume_from_where.name().into());
        let topics: BTreeSet<&String> = members.values().flat_map(|wants| wants.subscriptions.keys()).collect();
        for topic in topics {
            compare(format!("subscription of topic {topic}"), &|wants| {
                wants.subscriptions.get(topic).cloned().unwrap_or_else(|| "none".into())
            });
        }
        differences
    }
}

impl Wants {
    fn of(data: &ConsumerData) -> Wants {
        // Each member has the retry topic of its group by itself; those in broadcast mode have none.
        let wanted = data.subscription_data_set.iter().filter(|wanted| !wanted.topic.starts_with(RETRY_PREFIX));
        let expression = |wanted: &SubscriptionData| match wanted.is_tags() {
            true if wanted.sub_string.is_empty() || wanted.sub_string == ALL => format!("{TAG} {ALL}"),
            true => {
                let tags: BTreeSet<&str> = wanted.sub_string.split("||").map(str::trim).collect();
                format!("{TAG} {}", tags.into_iter().collect::<Vec<_>>().join(" || "))
            }
            false => format!("{} {}", wanted.expression_type, wanted.sub_string),
        };
        Wants {
            consume_type: data.consume_type,
            message_model: data.message_model,
            consume_from_where: data.consume_from_where,
            subscriptions: wanted.take(SUBSCRIPTIONS_MAX).map(|it| (it.topic.clone(), expression(it))).collect(),
        }
    }
}

/// Says for the log what is wrong among the members of a group: who, and in what they differ. A few of each.
pub fn sentence(conflict: &GroupConflict) -> String {
    const FEW: usize = 3;
    let few = |list: &[String]| match list.len() {
        0..=FEW => list.join(", "),
        more => format!("{} and {} more", list[..FEW].join(", "), more - FEW),
    };
    let mut parts: Vec<String> = Vec::new();
    for Difference { what, values } in conflict.differences.iter().take(FEW) {
        let values = values.iter().take(FEW).map(|(value, clients)| format!("`{value}` of {}", few(clients)));
        parts.push(format!("the {what} is {}", values.collect::<Vec<_>>().join(", ")));
    }
    if conflict.differences.len() > FEW {
        parts.push(format!("{} more differences", conflict.differences.len() - FEW));
    }
    if !parts.is_empty() {
        parts.push(
            "members take it from each other, and messages stay behind: give all the same, or a group each".into(),
        );
    }
    for clash in conflict.clashes.iter().take(FEW) {
        parts.push(format!(
            "{} is the id of two clients, at {}; they count as one member, and one of them gets nothing: give each an instance \
             name of its own",
            clash.client_id,
            clash.addresses.join(" and at ")
        ));
    }
    parts.join("; ")
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
        consumers.heartbeat(data("g", topics), client, Member::new(peer, now), 0, false, |_| true).rebalance
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

    fn wants(model: MessageModel, topic: &str, expression: &str) -> ConsumerData {
        ConsumerData {
            message_model: model,
            subscription_data_set: vec![SubscriptionData::tags(topic, expression).unwrap()],
            ..data("g", &[])
        }
    }

    #[test]
    fn members_that_ask_for_different_things_are_named_once_a_minute() {
        use MessageModel::{Broadcasting, Clustering};
        let start = Instant::now();
        let mut consumers = Consumers::<u32>::default();
        let mut beat = |client: &str, peer, wants, seconds| {
            let member = Member::new(peer, start + Duration::from_secs(seconds));
            let changes = consumers.heartbeat(wants, client, member, 0, false, |_| true);
            let conflicts = consumers.conflicts(Some("g"), start, |_| true, u32::to_string);
            (changes.tell_conflicts, conflicts.first().map(sentence).unwrap_or_default())
        };
        assert_eq!(beat("a", 1, wants(Clustering, "T", "A||B"), 0), (false, String::new()));
        assert_eq!(beat("b", 2, wants(Clustering, "T", " B || A"), 0), (false, String::new()), "the same");
        let (tell, text) = beat("c", 3, wants(Broadcasting, "U", "*"), 0);
        assert!(tell);
        for part in [
            "the messageModel is `BROADCASTING` of c, `CLUSTERING` of a, b",
            "the subscription of topic T is `TAG A || B` of a, b, `none` of c",
            "the subscription of topic U is `TAG *` of c, `none` of a, b",
            "or a group each",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!beat("a", 1, wants(Clustering, "T", "A||B"), 30).0, "told half a minute ago");
        assert!(beat("a", 1, wants(Clustering, "T", "A||B"), 60).0);
        assert_eq!(beat("c", 3, wants(Clustering, "T", "A||B"), 61), (false, String::new()), "put right");
        assert!(beat("c", 3, wants(Clustering, "T", "A"), 62).0, "wrong again: told at once");
        consumers.leave("g", "c");
        assert_eq!(consumers.conflicts(None, start, |_| true, u32::to_string), []);
    }

    #[test]
    fn two_clients_with_one_id_are_named_while_both_are_there() {
        let start = Instant::now();
        let mut consumers = Consumers::<u32>::default();
        let mut beat = |peer, seconds, open: bool| {
            let member = Member::new(peer, start + Duration::from_secs(seconds));
            consumers.heartbeat(data("g", &[("T", 1)]), "x", member, 0, false, |_| open).tell_conflicts
        };
        assert!(!beat(1, 0, true));
        assert!(!beat(2, 1, false), "it has reconnected");
        assert!(beat(3, 2, true), "two at a time");
        assert!(!beat(2, 31, true), "told");
        assert!(beat(3, 62, true));
        let conflicts = |seconds, open: u32| {
            consumers.conflicts(None, start + Duration::from_secs(seconds), |peer| *peer <= open, u32::to_string)
        };
        let found = conflicts(63, 3);
        assert_eq!(found[0].clashes, [Clash { client_id: "x".into(), addresses: vec!["2".into(), "3".into()] }]);
        assert!(sentence(&found[0]).starts_with("x is the id of two clients, at 2 and at 3"));
        assert_eq!(conflicts(63, 2), [], "one is gone");
        assert_eq!(conflicts(200, 3), [], "one is silent");
    }

    #[test]
    fn subscriptions_left_out_are_asked_for_when_they_are_not_known() {
        let now = Instant::now();
        let mut consumers = Consumers::<u32>::default();
        let mut beat = |topics: &[(&str, i64)], fingerprint, without| {
            consumers
                .heartbeat(data("g", topics), "a", Member::new(1, now), fingerprint, without, |_| true)
                .ask_subscriptions
        };
        assert!(beat(&[], 5, true), "after a restart of the broker");
        assert!(!beat(&[("T", 1)], 5, false));
        assert!(!beat(&[], 5, true));
        assert!(beat(&[], 6, true), "another member wrote others");
        assert_eq!(consumers.get("g").unwrap().subscriptions.len(), 1);
    }
}
