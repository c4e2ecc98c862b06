//! What a process tells of itself to those who watch it.

use crate::http::{self, Readiness, Watched};
use crate::listen;
use crate::process;
use crate::serve::StartError;
use broker::Broker;
use broker::registration::Registration;
use namesrv::Namesrv;
use protocol::metrics::{Kind, Page};
use remoting::Server;
use remoting::measure::ServerMeasures;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// A name server has few series.
const NAMESRV_SERIES_MAX: usize = 10_000;

/// Where to listen.
pub struct Place<'a> {
    /// `metricsPromExporterHost`.
    pub host: Option<&'a str>,
    /// `metricsPromExporterPort`.
    pub port: u16,
    /// Where to listen when no host is set.
    pub bind: IpAddr,
}

/// A process, as it is watched.
pub struct Watch {
    namesrv: OnceLock<Arc<Namesrv>>,
    /// There is, or will be, a broker.
    has_broker: bool,
    broker: OnceLock<(Arc<Broker>, Arc<Registration>)>,
    measures: ServerMeasures,
    stopping: AtomicBool,
}

impl Watch {
    /// Answers from here on. Where that is, too.
    pub fn start(
        place: Place<'_>,
        server: &Server,
        namesrv: Option<Arc<Namesrv>>,
        has_broker: bool,
    ) -> Result<(Arc<Watch>, SocketAddr), StartError> {
        let address = match place.host {
            None => place.bind,
            Some(host) => host.parse().map_err(|_| StartError::MetricsHost(host.to_owned()))?,
        };
        let listener = listen::on(address, place.port, "metricsPromExporterPort")?;
        let (broker, measures, stopping) = (OnceLock::new(), server.measures(), AtomicBool::new(false));
        let namesrv = namesrv.map_or_else(OnceLock::new, OnceLock::from);
        let watch = Arc::new(Watch { namesrv, has_broker, broker, measures, stopping });
        let address = http::serve(listener, watch.clone()).map_err(StartError::Threads)?;
        Ok((watch, address))
    }

    /// A name server beside the broker answers.
    pub fn beside(&self, namesrv: Arc<Namesrv>) {
        let _ = self.namesrv.set(namesrv);
    }

    /// The broker's data is in order, and its ports accept.
    pub fn opened(&self, broker: Arc<Broker>, registration: Arc<Registration>) {
        let _ = self.broker.set((broker, registration));
    }

    /// The process is about to end.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

impl Watched for Watch {
    fn metrics(&self) -> String {
        let broker = self.broker.get().map(|(broker, _)| broker);
        let mut page = Page::new(broker.map_or(NAMESRV_SERIES_MAX, |broker| broker.config.metrics.series_max));
        let (apaches, ours) = match (broker, self.namesrv.get()) {
            (Some(broker), _) => {
                let (apaches, ours) = broker.metric_labels();
                broker.write_metrics(&mut page, &apaches, &ours);
                (apaches, ours)
            }
            (None, Some(namesrv)) => {
                let labels = namesrv.metric_labels();
                let version = [("version", env!("CARGO_PKG_VERSION"))];
                page.family("cometmq_build_info", Kind::Gauge, "Which CometMQ this is.", &labels).sample(&version, 1);
                (labels.clone(), labels)
            }
            (None, None) => (String::new(), String::new()),
        };
        if let Some(namesrv) = self.namesrv.get() {
            namesrv.write_metrics(&mut page, &namesrv.metric_labels());
        }
        self.measures.write(&mut page, &apaches, &ours);
        process::write(&mut page, &ours);
        page.finish(&ours)
    }

    fn readiness(&self) -> Readiness {
        let mut ready = Readiness::default();
        if self.stopping.load(Ordering::Relaxed) {
            ready = ready.check("process", false, "it is stopping");
        }
        if self.namesrv.get().is_some() {
            ready = ready.check("name server", true, "it answers");
        }
        match self.broker.get() {
            None if self.has_broker => ready.check("store", false, "it is being opened and brought in order"),
            None => ready,
            Some((broker, registration)) => {
                let failure = broker.store.failure();
                let says = failure.as_ref().map_or_else(|| "it takes messages".to_owned(), |it| it.to_string());
                let (namesrvs, was_known) = registration.state();
                let known = namesrvs.iter().filter(|(_, known)| *known).count();
                let lost = namesrvs.iter().filter(|(_, known)| !known).map(|(address, _)| address.as_str());
                let lost = lost.collect::<Vec<_>>().join(", ");
                let (registered, told) = match (namesrvs.len(), known) {
                    (0, _) => (true, "it has no name server, so no client finds it by one".into()),
                    (all, known) if all == known => (true, format!("registered with {known}")),
                    (all, 0) if was_known => {
                        (true, format!("none of {all} is reached now; clients go by the routes that they have: {lost}"))
                    }
                    (all, 0) => (false, format!("not registered with any of {all} yet: {lost}")),
                    (all, known) => (true, format!("registered with {known} of {all}; not reached: {lost}")),
                };
                ready.check("store", failure.is_none(), says).check("registration", registered, told)
            }
        }
    }
}
