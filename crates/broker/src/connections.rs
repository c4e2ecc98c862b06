//! Which client is at the other end of a connection that no heartbeat came over.
//!
//! Java's clients up to 4.4 send heartbeats and pulls to the broker's port, and all else to its VIP port, over a connection of its own. On
//! that one they say who they are only when they lock queues; till then, it is one of the members on the same machine
//! that have not been heard on any.

use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

/// Connections over which clients said who they are, other than by a heartbeat.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    clients: Mutex<HashMap<SocketAddr, String>>,
}

impl Connections {
    /// The client at this address, if it said who it is.
    pub(crate) fn client(&self, address: SocketAddr) -> Option<String> {
        self.clients.lock().get(&address).cloned()
    }

    /// `client` is heard at this address. True: that is new.
    pub(crate) fn hear(&self, address: SocketAddr, client: &str) -> bool {
        let mut clients = self.clients.lock();
        let is_new = clients.get(&address).is_none_or(|known| known != client);
        if is_new {
            clients.insert(address, client.to_owned());
        }
        is_new
    }

    /// The connection is gone.
    pub(crate) fn close(&self, address: SocketAddr) {
        self.clients.lock().remove(&address);
    }

    /// Those of these members (client, address of its heartbeats) that `asking` can be: they are on its machine, and have not been
    /// heard anywhere.
    pub(crate) fn unheard<'a>(
        &self,
        members: impl Iterator<Item = (&'a String, SocketAddr)>,
        asking: SocketAddr,
    ) -> Vec<String> {
        let clients = self.clients.lock();
        let heard: BTreeSet<&String> = clients.values().collect();
        let ip = asking.ip().to_canonical();
        let there = members.filter(|(client, address)| address.ip().to_canonical() == ip && !heard.contains(client));
        there.map(|(client, _)| client.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_connection_is_that_of_a_member_on_its_machine_that_was_not_heard_yet() {
        let at = |host: u8, port| SocketAddr::from(([10, 0, 0, host], port));
        let (a, b, c) = ("a".to_owned(), "b".to_owned(), "c".to_owned());
        let members = || [(&a, at(1, 1)), (&b, at(1, 2)), (&c, at(2, 1))].into_iter();
        let connections = Connections::default();
        assert_eq!(connections.unheard(members(), at(1, 9)), ["a", "b"]);
        assert!(connections.hear(at(1, 9), "a") && !connections.hear(at(1, 9), "a"));
        assert_eq!((connections.client(at(1, 9)), connections.client(at(1, 8))), (Some(a.clone()), None));
        assert_eq!(connections.unheard(members(), at(1, 8)), ["b"]);
        connections.close(at(1, 9));
        assert_eq!(connections.unheard(members(), at(1, 8)), ["a", "b"], "it comes again, from another port");
        assert_eq!(connections.unheard(members(), at(3, 8)), Vec::<String>::new());
    }
}
