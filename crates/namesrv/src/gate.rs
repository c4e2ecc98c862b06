//! What the gate must know of a name server, and where it stands.

use crate::Namesrv;
use crate::config::NamesrvConfig;
use access::answers::Guarded;
use access::{Access, Files, World};
use protocol::command::Command;
use remoting::{Peer, Reject};
use std::sync::Arc;
use store::disk::Disk;

/// The table of users is beside what operators keep here, account files beside `namesrv.conf`.
pub(crate) fn files(config: &NamesrvConfig) -> Files {
    Files {
        table: config.kv_config_path.as_ref().map(|path| path.with_file_name("access.json")),
        plain: config.file.as_ref().map(|file| file.with_file_name("plain_acl.yml")),
        disk: Disk::default(),
    }
}

impl Namesrv {
    /// Refuses a request that its sender may not make.
    pub(crate) fn admit(&self, peer: &Peer, command: &Command) -> Result<(), Reject> {
        match &self.access {
            Some(access) => access.check(peer, command, self),
            None => Ok(()),
        }
    }
}

impl World for Namesrv {
    fn topic_at(&self, _: i64) -> Option<String> {
        None
    }

    fn users_of_client(&self, _: &str, _: &str) -> [Option<Arc<str>>; 2] {
        [None, None]
    }

    fn clusters(&self) -> Vec<String> {
        self.routes.read().cluster_info().cluster_addr_table.into_keys().collect()
    }

    fn is_reply_topic(&self, topic: &str) -> bool {
        let cluster = topic.strip_suffix("_REPLY_TOPIC");
        cluster.is_some_and(|cluster| self.routes.read().has_cluster(cluster))
    }
}

impl Guarded for Namesrv {
    fn access(&self) -> Option<&Arc<Access>> {
        self.access.as_ref()
    }

    fn names(&self, peer: &Peer) -> (String, String, String) {
        (String::new(), peer.reached().to_string(), String::new())
    }
}
