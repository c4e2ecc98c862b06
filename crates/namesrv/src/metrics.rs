//! What `/metrics` tells of a name server. Apache's has no metrics.

use crate::Namesrv;
use protocol::metrics::{CERTIFICATE_EXPIRES, CERTIFICATE_EXPIRES_HELP, Kind, Page, labels};
use std::collections::BTreeMap;

impl Namesrv {
    /// The labels of all its metrics.
    pub fn metric_labels(&self) -> String {
        labels([("node_type", "namesrv")])
    }

    /// Writes everything that is known.
    pub fn write_metrics(&self, page: &mut Page, common: &str) {
        let info = self.routes.read().cluster_info();
        let help = "Brokers that are registered.";
        let mut family = page.family("cometmq_namesrv_brokers", Kind::Gauge, help, common);
        let mut brokers: BTreeMap<&str, usize> = BTreeMap::new();
        for broker in info.broker_addr_table.values() {
            *brokers.entry(&broker.cluster).or_default() += broker.broker_addrs.len();
        }
        for (cluster, count) in brokers {
            family.sample(&[("cluster", cluster)], count);
        }
        let topics = self.routes.read().topic_names().len();
        page.gauge("cometmq_namesrv_topics", "Topics that have a route.", common, topics);
        if let Some(ends) = self.entrance.certificate_expires() {
            page.gauge(CERTIFICATE_EXPIRES, CERTIFICATE_EXPIRES_HELP, common, ends / 1000);
        }
        page.gauge("cometmq_namesrv_kv_entries", "Settings that operators keep here.", common, self.kv.len());
    }
}
