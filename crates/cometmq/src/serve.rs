//! A name server, a broker: how each starts, runs and stops.
//!
//! A broker starts in this order: its ports are taken, its address is chosen, its store is opened, its ports accept,
//! it registers. It stops the other way round: it unregisters, its connections end, what is pending goes to disk.

use crate::banner::{self, Banner};
use crate::environment::Environment;
use crate::listen;
use crate::options::{BrokerSettings, NamesrvSettings};
use crate::shutdown::Shutdown;
use crate::telemetry;
use crate::text::{self, Language};
use crate::watch::{Place, Watch};
use ::namesrv::Namesrv;
use broker::config::Config;
use broker::registration::{self, Chosen, Registration};
use broker::{Broker, OpenError};
use protocol::logging::LogConfig;
use remoting::tls::TlsError;
use remoting::{Limits, Server};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Why a process does not start, or does not stop in peace.
#[derive(Debug)]
pub enum StartError {
    /// A port is not to be had.
    Listen {
        /// On which address.
        address: IpAddr,
        /// Which port.
        port: u16,
        /// How to choose another.
        flag: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// `broker.conf` can't be used.
    BrokerConfig(broker::config::ConfigError),
    /// `namesrv.conf` can't be used.
    NamesrvConfig(::namesrv::config::ConfigError),
    /// The name server's own settings can't be used, or its users not be read.
    Namesrv(::namesrv::OpenError),
    /// A list of name servers can't be used.
    NamesrvAddr {
        /// The flag or variable.
        given: &'static str,
        /// Its value.
        value: String,
    },
    /// What is to be advertised is no host.
    Advertise(String),
    /// `metricsPromExporterHost` is no address.
    MetricsHost(String),
    /// The file for logs can't be written.
    LogFile(PathBuf, io::Error),
    /// `bindAddress` is no address.
    BindAddress(String),
    /// `dev` has no port for operators.
    AdminPortOfDev,
    /// A client can't speak TLS as it is set.
    Tls(TlsError),
    /// The broker's data can't be opened.
    Open(OpenError),
    /// The broker's data could not be brought to disk.
    Close(io::Error),
    /// The system gives no threads or signals.
    Threads(io::Error),
}

impl StartError {
    /// What happened, and what helps.
    pub fn text(&self, language: Language) -> String {
        text::start_error(self, language)
    }
}

impl From<broker::config::ConfigError> for StartError {
    fn from(error: broker::config::ConfigError) -> StartError {
        StartError::BrokerConfig(error)
    }
}

impl From<::namesrv::config::ConfigError> for StartError {
    fn from(error: ::namesrv::config::ConfigError) -> StartError {
        StartError::NamesrvConfig(error)
    }
}

/// One data thread for each processor; connections that are silent for `idle` are closed.
/// How long answers take is measured where somebody wants to know.
pub fn data_threads(idle: Duration, latencies: bool) -> Result<Server, StartError> {
    let threads = std::thread::available_parallelism().map_or(1, |processors| processors.get());
    Server::start_with(threads, Limits { idle, latencies, ..Limits::default() }).map_err(StartError::Threads)
}

/// `cometmq namesrv`.
pub async fn namesrv(
    settings: NamesrvSettings,
    environment: &Environment,
    started: Instant,
    shutdown: Shutdown,
) -> Result<(), StartError> {
    let NamesrvSettings { config, file } = settings;
    if let Some((path, ignored)) = file.filter(|(_, ignored)| !ignored.is_empty()) {
        eprintln!("{}", text::ignored_in_namesrv_conf(&path, &ignored, environment.language));
    }
    start_logs(&config.log)?;
    let server = data_threads(config.channel_max_idle, config.metrics)?;
    let listener = listen::on(config.bind_address, config.listen_port, "--port")?;
    if !config.access.is_on() {
        warn_if_open(config.bind_address, environment.language);
    }
    let (admin_bind, admin_port) = (config.entrance.admin_bind, config.entrance.admin_port);
    let namesrv = Namesrv::open(config.clone()).map_err(StartError::Namesrv)?;
    namesrv.on_log_level(telemetry::set_level);
    let host = config.metrics_host.map(|host| host.to_string());
    let place =
        config.metrics.then_some(Place { host: host.as_deref(), port: config.metrics_port, bind: config.bind_address });
    let watch = place.map(|place| Watch::start(place, &server, Some(namesrv.clone()), false)).transpose()?;
    if admin_port > 0 {
        let listener = listen::on(admin_bind, admin_port, "adminListenPort")?;
        server.listen(listener, namesrv.admin_router()).map_err(StartError::Threads)?;
    }
    let address = server.listen(listener, namesrv.router()).map_err(StartError::Threads)?;
    let (ready_after, namesrv_addresses) = (started.elapsed(), Some(banner::reachable(address)));
    let metrics = watch.as_ref().map(|(_, address)| *address);
    Banner { ready_after, namesrv: namesrv_addresses, broker: None, metrics }.print(environment.language);
    namesrv.run(shutdown.requested()).await;
    stop(server).await;
    Ok(())
}

/// `cometmq broker`.
pub async fn broker(
    settings: BrokerSettings,
    environment: &Environment,
    started: Instant,
    shutdown: Shutdown,
) -> Result<(), StartError> {
    let config = &settings.config;
    start_logs(&config.log)?;
    let server = data_threads(config.channel_max_idle, config.metrics.on && config.metrics.remoting)?;
    let watch = watch_broker(config, &server)?;
    let broker = RunningBroker::start(settings, environment.language, &server, Unset::Choose)?;
    let metrics = broker.watched(watch, &shutdown);
    Banner { ready_after: started.elapsed(), namesrv: None, broker: Some(broker.facts()), metrics }
        .print(environment.language);
    broker.warn_unless_reachable(environment.language);
    broker.run(shutdown, server).await
}

/// Logs from here on as settings say.
pub fn start_logs(config: &LogConfig) -> Result<(), StartError> {
    let file = config.file.clone().unwrap_or_default();
    telemetry::apply(config).map_err(|error| StartError::LogFile(file, error))
}

/// A broker's port for metrics and health, if it is to have one; it answers while the store is still being opened.
pub fn watch_broker(config: &Config, server: &Server) -> Result<Option<(Arc<Watch>, SocketAddr)>, StartError> {
    if !config.metrics.on {
        return Ok(None);
    }
    let bind = bind_address(&config.bind_address)?;
    let place = Place { host: config.metrics.host.as_deref(), port: config.metrics.port, bind };
    Watch::start(place, server, None, true).map(Some)
}

/// Says in plain words that nobody's rights are checked, where others than this machine's users reach the port.
fn warn_if_open(bind: IpAddr, language: Language) {
    let outside = if bind.is_unspecified() { registration::choose_host(&[]).ip } else { bind };
    if !outside.is_loopback() {
        eprintln!("{}", text::open_to_all(outside, language));
    }
}

/// What `bindAddress` says.
pub fn bind_address(text: &str) -> Result<IpAddr, StartError> {
    text.parse().map_err(|_| StartError::BindAddress(text.to_owned()))
}

/// Waits for the data threads without holding up what else runs here.
pub async fn stop(server: Server) {
    // It fails only if a data thread has panicked while it stopped: they are gone either way.
    let _ = tokio::task::spawn_blocking(move || server.stop()).await;
}

/// What to do about an address that nobody set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unset {
    /// Choose one, and tell it to everybody.
    Choose,
    /// Tell everybody the one by which they came, as far as the name server is asked in this process.
    AsReached,
}

/// How the advertised address came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advertised {
    /// By `brokerIP1` or `--advertise`.
    Set,
    /// By the machine's network.
    Chosen(Chosen),
    /// Each client is told the one by which it came.
    AsReached,
    /// Only this machine's own clients get here.
    ThisMachine,
}

/// A broker whose ports accept.
pub struct RunningBroker {
    broker: Arc<Broker>,
    /// Its registration.
    pub registration: Arc<Registration>,
    advertised: Advertised,
    vip_port: Option<u16>,
}

impl RunningBroker {
    /// Takes the ports, opens the store, accepts.
    pub fn start(
        settings: BrokerSettings,
        language: Language,
        server: &Server,
        unset: Unset,
    ) -> Result<RunningBroker, StartError> {
        let BrokerSettings { mut config, file, port_flag } = settings;
        if let Some((path, notes)) = file {
            for line in text::notes(&path, &notes, language) {
                eprintln!("{line}");
            }
        }
        let bind = bind_address(&config.bind_address)?;
        let listen::Pair { main, port, vip } = listen::on_pair(bind, config.listen_port, port_flag)?;
        config.listen_port = port;
        let (host, advertised) = match (&config.ip1, unset) {
            (Some(host), _) => (host.clone(), Advertised::Set),
            (None, Unset::AsReached) if bind.is_loopback() => (bind.to_string(), Advertised::ThisMachine),
            (None, Unset::AsReached) => (registration::choose_host(&[]).ip.to_string(), Advertised::AsReached),
            (None, Unset::Choose) => {
                let host = registration::choose_host(&config.namesrv_addr);
                let ip = host.ip.to_string();
                config.ip1 = Some(ip.clone());
                (ip, Advertised::Chosen(host.chosen))
            }
        };
        let (admin_bind, admin_port) = (config.entrance.admin_bind, config.entrance.admin_port);
        let admin = match admin_port {
            0 => None,
            port => Some(listen::on(admin_bind, port, "adminListenPort")?),
        };
        let tls = match unset {
            Unset::Choose => config.entrance.client_tls().map_err(StartError::Tls)?,
            Unset::AsReached => None,
        };
        if !config.access.is_on() {
            warn_if_open(bind, language);
        }
        let broker = Broker::open(config).map_err(StartError::Open)?;
        broker.config.on_log_level(telemetry::set_level);
        let tls = match unset {
            Unset::Choose => tls,
            // The name server is this process, and may take TLS only.
            Unset::AsReached => broker.config.entrance.tls_to_self(&broker.entrance).map_err(StartError::Tls)?,
        };
        if let Some(admin) = admin {
            server.listen(admin, broker.admin_router()).map_err(StartError::Threads)?;
        }
        server.listen(main, broker.router()).map_err(StartError::Threads)?;
        let vip_port = match vip {
            Ok(vip) => Some(server.listen(vip, broker.vip_router()).map_err(StartError::Threads)?.port()),
            Err(error) => {
                eprintln!("{}", text::no_vip_port(&error, language));
                None
            }
        };
        let namesrv = remoting::Client::default().with_tls(tls);
        let registration = Registration::by(namesrv, broker.clone(), &host);
        Ok(RunningBroker { broker, registration, advertised, vip_port })
    }

    /// Who may do what.
    pub fn access(&self) -> Option<Arc<access::Access>> {
        self.broker.access.clone()
    }

    /// Whoever watches the process may look at the broker now. Answers with where they do.
    pub fn watched(&self, watch: Option<(Arc<Watch>, SocketAddr)>, shutdown: &Shutdown) -> Option<SocketAddr> {
        let (watch, address) = watch?;
        watch.opened(self.broker.clone(), self.registration.clone());
        let requested = shutdown.clone().requested();
        tokio::spawn(async move {
            requested.await;
            watch.stopping();
        });
        Some(address)
    }

    /// What the banner says of it.
    pub fn facts(&self) -> banner::BrokerFacts {
        banner::BrokerFacts {
            name: self.broker.config.name.clone(),
            address: self.registration.broker_addr().to_owned(),
            advertised: self.advertised.clone(),
            vip_port: self.vip_port,
            namesrv_addr: self.broker.config.namesrv_addr.clone(),
            data: self.broker.config.store_root.clone(),
        }
    }

    /// Dials the address that clients are told, beside everything else, and says what to do if that fails.
    pub fn warn_unless_reachable(&self, language: Language) {
        let address = self.registration.broker_addr().to_owned();
        tokio::spawn(async move {
            if let Err(error) = registration::check_reachable(&address).await {
                eprintln!("{}", text::unreachable(&address, &error, language));
            }
        });
    }

    /// Registers and works until `shutdown`, then ends everything that `server` serves, and closes.
    pub async fn run(self, shutdown: Shutdown, server: Server) -> Result<(), StartError> {
        let (end, ended) = oneshot::channel::<()>();
        let background = tokio::spawn(self.broker.clone().run(async move { drop(ended.await) }));
        self.registration.run(shutdown.requested()).await;
        stop(server).await;
        drop(end);
        if let Err(error) = background.await {
            tracing::error!(%error, "the broker's own work ended early");
        }
        self.broker.close().map_err(StartError::Close)
    }
}
