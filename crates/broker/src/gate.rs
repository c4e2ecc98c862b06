//! What the gate must know of a broker, and where it stands.

use crate::{Broker, Config};
use access::answers::Guarded;
use access::{Access, Files, World};
use protocol::command::Command;
use protocol::message::{CommitLogOffset, property};
use protocol::record::Record;
use protocol::topic::is_send_forbidden;
use remoting::{Peer, Reject};
use std::sync::Arc;

/// Reads who may do what: the table of users in `config/access.json`, and account files beside `broker.conf`.
pub(crate) fn open(config: &Config) -> Result<Option<Arc<Access>>, access::OpenError> {
    let files = Files {
        table: Some(config.store_root.join("config").join("access.json")),
        plain: config.file.as_ref().map(|file| file.with_file_name("plain_acl.yml")),
        disk: config.disk.clone(),
    };
    Access::open(&config.access, Some(&config.cluster_name), files)
}

impl Broker {
    /// Refuses a request that its sender may not make.
    pub(crate) fn admit(&self, peer: &Peer, command: &Command) -> Result<(), Reject> {
        match &self.access {
            Some(access) => access.check(peer, command, self),
            None => Ok(()),
        }
    }

    /// Whose it is, what is created for this peer. `None`: nobody's, because users are not told apart, or may do everything.
    pub(crate) fn creator(&self, peer: &Peer) -> Option<Arc<str>> {
        let access = self.access.as_ref()?;
        peer.user().filter(|user| !access.is_super(Some(user)))
    }

    /// May whoever is connected here know messages that are on their way to this topic?
    pub(crate) fn may_publish(&self, peer: &Peer, topic: &str) -> bool {
        let address = peer.address().ip().to_canonical();
        self.access.as_ref().is_none_or(|access| access.may_publish(peer.user().as_deref(), address, topic))
    }
}

impl World for Broker {
    fn topic_at(&self, offset: i64) -> Option<String> {
        let bytes = self.store.read(CommitLogOffset(offset)).ok()??;
        let record = Record::parse(&bytes).ok()?;
        // Where messages wait, they say where they belong; no client sends there.
        let real = is_send_forbidden(record.topic).then(|| record.properties().get(property::REAL_TOPIC)).flatten();
        Some(real.unwrap_or(record.topic).to_owned())
    }

    fn users_of_client(&self, group: &str, client: &str) -> [Option<Arc<str>>; 2] {
        let consumer = self
            .consumers
            .read()
            .get(group)
            .and_then(|group| group.members.get(client))
            .map(|member| member.peer.clone());
        let producer = self.producers.lock().find(client);
        [consumer, producer].map(|peer| peer.filter(|peer| !peer.is_closed()).and_then(|peer| peer.user()))
    }

    fn clusters(&self) -> Vec<String> {
        vec![self.config.cluster_name.clone()]
    }

    fn is_reply_topic(&self, topic: &str) -> bool {
        topic.strip_prefix(self.config.cluster_name.as_str()) == Some("_REPLY_TOPIC")
    }
}

impl Guarded for Broker {
    fn access(&self) -> Option<&Arc<Access>> {
        self.access.as_ref()
    }

    fn names(&self, peer: &Peer) -> (String, String, String) {
        let address = self.store_host(peer).to_string();
        (self.config.name.clone(), address, self.config.cluster_name.clone())
    }
}
