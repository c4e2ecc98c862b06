//! Stands in for the broker until it is merged.
#![allow(missing_docs)]
use broker::config::Config;
use broker::registration::TopicTable;
use protocol::topic::{DataVersion, TopicConfig};
use remoting::Router;
use std::io;
use std::sync::Arc;
use tokio::sync::watch;

pub struct Broker {
    changed: watch::Sender<i64>,
}

pub type OpenError = io::Error;

impl Broker {
    pub fn open(_: Config) -> Result<Arc<Broker>, OpenError> {
        Ok(Arc::new(Broker { changed: watch::Sender::new(0) }))
    }

    pub fn router(self: &Arc<Self>) -> Router<Broker> {
        Router::new(self.clone())
    }

    pub fn vip_router(self: &Arc<Self>) -> Router<Broker> {
        self.router()
    }

    pub async fn run(self: Arc<Self>, shutdown: impl Future<Output = ()>) {
        shutdown.await
    }

    pub fn close(&self) -> io::Result<()> {
        Ok(())
    }
}

impl TopicTable for Broker {
    fn all(&self) -> (Vec<Arc<TopicConfig>>, DataVersion) {
        let topics = ["TBW102", "SELF_TEST_TOPIC"].map(|topic| Arc::new(TopicConfig::new(topic, 8, 7)));
        (topics.into(), DataVersion::default())
    }

    fn changed(&self) -> watch::Receiver<i64> {
        self.changed.subscribe()
    }

    fn set_registered(&self, _: i64) {}
}
