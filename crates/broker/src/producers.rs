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
    /// Client id → how it is reached, as the last heartbeat came.
    clients: HashMap<String, P>,
    /// Members of all groups; a few more than there are, until the next expiry.
    count: usize,
}

impl<P> Default for Producers<P> {
    fn default() -> Producers<P> {
        Producers { groups: HashMap::new(), clients: HashMap::new(), count: 0 }
    }
}

impl<P: Clone + Eq> Producers<P> {
    /// A heartbeat of `client` for `group`. True: it is new there, or comes over another connection.
    pub fn heartbeat(&mut self, group: &str, client: &str, member: Member<P>) -> bool {
        if let Some(known) = self.groups.get_mut(group).and_then(|members| members.get_mut(client)) {
            let moved = known.peer != member.peer;
            *known = member;
            if self.clients.get(client) != Some(&known.peer) {
                self.clients.insert(client.to_owned(), known.peer.clone());
            }
            return moved;
        }
        if self.count >= MEMBERS_MAX {
            tracing::warn!(group, client, "not taken as a member: there are {MEMBERS_MAX} already");
            return false;
        }
        self.count += 1;
        self.clients.insert(client.to_owned(), member.peer.clone());
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
        self.look_up(client);
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
        let mut gone = Vec::new();
        self.groups.retain(|_, members| {
            members.retain(|client, member| {
                let kept = keep(member);
                if !kept {
                    gone.push(client.clone());
                }
                kept
            });
            !members.is_empty()
        });
        gone.dedup();
        gone.iter().for_each(|client| self.look_up(client));
        self.count = self.groups.values().map(BTreeMap::len).sum();
    }

    /// All members: group, client id, member.
    pub fn all(&self) -> Vec<(String, String, Member<P>)> {
        let of_group = |(group, members): (&String, &BTreeMap<String, Member<P>>)| {
            members.iter().map(|(client, member)| (group.clone(), client.clone(), member.clone())).collect::<Vec<_>>()
        };
        self.groups.iter().flat_map(of_group).collect()
    }

    /// Notes how a client is reached that has left a group: as its other groups say, if it has any.
    fn look_up(&mut self, client: &str) {
        let members = self.groups.values().filter_map(|members| members.get(client));
        match members.max_by_key(|member| member.seen) {
            Some(member) => _ = self.clients.insert(client.to_owned(), member.peer.clone()),
            None => _ = self.clients.remove(client),
        }
    }

    /// How a client is reached that is a member of any group.
    #[doc(alias = "findChannel")]
    pub fn find(&self, client: &str) -> Option<P> {
        self.clients.get(client).cloned()
    }

    /// The group's members by client id.
    pub fn members(&self, group: &str) -> Vec<(String, Member<P>)> {
        let members = self.groups.get(group).into_iter().flatten();
        members.map(|(client, member)| (client.clone(), member.clone())).collect()
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

    #[test]
    fn a_client_is_found_by_its_id_while_it_is_in_any_group() {
        let start = Instant::now();
        let mut producers = Producers::<u32>::default();
        assert_eq!(producers.find("a"), None);
        producers.heartbeat("g", "a", Member::new(1, start));
        producers.heartbeat("h", "a", Member::new(1, start));
        producers.heartbeat("g", "a", Member::new(2, start + Duration::from_secs(1)));
        assert_eq!(producers.find("a"), Some(2), "where its last heartbeat came from");
        producers.leave("g", "a");
        assert_eq!(producers.find("a"), Some(1));
        producers.close(&1);
        assert_eq!(producers.find("a"), None);
        assert!(producers.clients.is_empty());
    }
}
