//! Who sends: the members of producer groups, as their heartbeats tell.

use crate::consumers::{MEMBERS_MAX, Member};
use remoting::Peer;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// All producer groups and their members.
#[doc(alias = "ProducerManager")]
#[derive(Debug)]
pub struct Producers<P = Peer> {
    /// Group → client id → member.
    groups: HashMap<String, BTreeMap<String, Member<P>>>,
    /// Members of all groups; a few more than there are, until the next expiry.
    count: usize,
}

impl<P> Default for Producers<P> {
    fn default() -> Producers<P> {
        Producers { groups: HashMap::new(), count: 0 }
    }
}

impl<P: Clone + Eq> Producers<P> {
    /// A heartbeat of `client` for `group`. True: it is new there, or comes over another connection.
    pub fn heartbeat(&mut self, group: &str, client: &str, member: Member<P>) -> bool {
        if let Some(known) = self.groups.get_mut(group).and_then(|members| members.get_mut(client)) {
            let moved = known.peer != member.peer;
            *known = member;
            return moved;
        }
        if self.count >= MEMBERS_MAX {
            tracing::warn!(group, client, "not taken as a member: there are {MEMBERS_MAX} already");
            return false;
        }
        self.count += 1;
        self.groups.entry(group.to_owned()).or_default().insert(client.to_owned(), member);
        true
    }

    /// Those who are reached over such connections: group, client, connection.
    pub fn at(&self, is_it: impl Fn(&P) -> bool) -> Vec<(String, String, P)> {
        let mut found = Vec::new();
        for (group, members) in &self.groups {
            let there = members.iter().filter(|(_, member)| is_it(&member.peer));
            found.extend(there.map(|(client, member)| (group.clone(), client.clone(), member.peer.clone())));
        }
        found
    }

    /// `client` leaves `group`.
    pub fn leave(&mut self, group: &str, client: &str) {
        if let Some(members) = self.groups.get_mut(group) {
            members.remove(client);
            if members.is_empty() {
                self.groups.remove(group);
            }
        }
    }

    /// A connection is gone, and with it all who were reached over it.
    pub fn close(&mut self, peer: &P) {
        self.retain(|member| member.peer != *peer);
    }

    /// Removes who has been silent for `timeout`.
    pub fn expire(&mut self, now: Instant, timeout: Duration) {
        self.retain(|member| now.saturating_duration_since(member.seen) <= timeout);
    }

    fn retain(&mut self, keep: impl Fn(&Member<P>) -> bool) {
        self.groups.retain(|_, members| {
            members.retain(|_, member| keep(member));
            !members.is_empty()
        });
        self.count = self.groups.values().map(BTreeMap::len).sum();
    }

    /// How each of the group's members is reached, always in the same order.
    #[doc(alias = "getAvailableChannel")]
    pub fn peers(&self, group: &str) -> Vec<P> {
        let members = self.groups.get(group);
        members.map_or_else(Vec::new, |members| members.values().map(|member| member.peer.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_come_and_go_with_heartbeats_and_connections() {
        let start = Instant::now();
        let mut producers = Producers::<u32>::default();
        producers.heartbeat("g", "a", Member::new(1, start));
        producers.heartbeat("g", "b", Member::new(2, start));
        producers.close(&1);
        assert_eq!(producers.peers("g"), [2]);
        producers.heartbeat("g", "b", Member::new(2, start + Duration::from_secs(100)));
        producers.expire(start + Duration::from_secs(200), Duration::from_secs(120));
        assert_eq!(producers.peers("g"), [2]);
        producers.leave("g", "b");
        assert!(producers.peers("g").is_empty());
    }
}
