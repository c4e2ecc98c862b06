//! Name server: where topics are.
//!
//! Brokers register with it, clients ask it. It keeps routes in memory, asks nobody and agrees with no one: with two name
//! servers, every broker registers with both.
//!
//! [`routes`] is what it knows; [`kv`] is what operators keep here; [`processor`] is what it answers, [`admin`] what it answers
//! to operators.

pub mod admin;
pub mod audit;
pub mod config;
mod gate;
pub mod kv;
mod metrics;
pub mod processor;
pub mod routes;

use access::Access;
use config::NamesrvConfig;
use kv::KvConfigs;
use parking_lot::{Mutex, RwLock};
use protocol::code::request;
use protocol::route::BrokerData;
use remoting::tls::TlsError;
use remoting::{Entrance, Peer, Router};
use routes::Routes;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use store::audit::AuditLog;
use store::clock::Clock;
use store::disk::Disk;
use store::table::LoadError;

/// A name server.
pub struct Namesrv {
    config: RwLock<NamesrvConfig>,
    /// Held while a setting is changed, which takes as long as the disk.
    changing: Mutex<()>,
    routes: RwLock<Routes>,
    kv: KvConfigs,
    /// Who may do what; `None`: everybody may everything.
    access: Option<Arc<Access>>,
    /// What connections pass first, on all ports.
    entrance: Arc<Entrance>,
    /// Brokers of this process to which nobody gave an address: every client is told the one by which it came here.
    as_reached: RwLock<Vec<String>>,
    /// Who writes logs, and is told what to.
    logs: OnceLock<fn(&str)>,
    /// Who changed what.
    audit: AuditLog,
}

/// Why a name server does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What operators keep here is there and can't be read.
    #[error(transparent)]
    Kv(#[from] LoadError),
    /// TLS can't be as it is set.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// Who may do what can't be read.
    #[error(transparent)]
    Access(#[from] access::OpenError),
    /// Nobody could write down who changes what.
    #[error("no thread for audit.log: {0}")]
    Audit(std::io::Error),
}

/// What clients and brokers ask for; all else is for operators. Where these have a port of their own, the other answers these
/// only: a code that is new is an operator's until it stands here.
const FOR_CLIENTS: [i32; 6] = [
    request::REGISTER_BROKER,
    request::UNREGISTER_BROKER,
    request::QUERY_DATA_VERSION,
    request::GET_ROUTEINFO_BY_TOPIC,
    request::GET_KV_CONFIG,
    request::GET_KVLIST_BY_NAMESPACE,
];

/// What no rate holds up: a broker over its limit is not forgotten, and an operator can raise the limit.
const VITAL: [i32; 4] =
    [request::REGISTER_BROKER, request::UNREGISTER_BROKER, request::QUERY_DATA_VERSION, request::UPDATE_NAMESRV_CONFIG];

impl Namesrv {
    /// A name server that knows nobody yet. Fails when a file of settings or of users is there and can't be read.
    pub fn open(config: NamesrvConfig) -> Result<Arc<Namesrv>, OpenError> {
        let kv = KvConfigs::open(config.kv_config_path.clone())?;
        let access = Access::open(&config.access, None, gate::files(&config))?;
        Namesrv::with(config, kv, access)
    }

    /// A name server in a broker's process: whom the broker lets in, it lets in.
    pub fn open_beside(config: NamesrvConfig, access: Option<Arc<Access>>) -> Result<Arc<Namesrv>, OpenError> {
        let kv = KvConfigs::open(config.kv_config_path.clone())?;
        Namesrv::with(config, kv, access)
    }

    fn with(config: NamesrvConfig, kv: KvConfigs, access: Option<Arc<Access>>) -> Result<Arc<Namesrv>, OpenError> {
        let entrance = Arc::new(Entrance::open(&config.entrance)?);
        let audit = AuditLog::new(Disk::default(), config.audit_log().as_deref(), Clock::default());
        let audit = audit.map_err(OpenError::Audit)?;
        let (config, routes, as_reached) = (RwLock::new(config), RwLock::default(), RwLock::default());
        Ok(Arc::new(Namesrv {
            config,
            changing: Mutex::default(),
            routes,
            kv,
            access,
            entrance,
            as_reached,
            logs: OnceLock::new(),
            audit,
        }))
    }

    /// What it answers on its main port.
    pub fn router(self: &Arc<Namesrv>) -> Router<Namesrv> {
        let all = self.admin_router();
        match self.config.read().entrance.admin_port {
            0 => all,
            port => all.only(&FOR_CLIENTS, remoting::entrance::not_here(port)),
        }
    }

    /// What it answers on `adminListenPort`: everything.
    pub fn admin_router(self: &Arc<Namesrv>) -> Router<Namesrv> {
        let router = match self.access {
            Some(_) => Router::new(self.clone()).guarded(Namesrv::admit).known_as(Peer::user),
            None => Router::new(self.clone()),
        };
        access::audit::audited(access::answers::answers(router))
            .behind(self.entrance.clone())
            .vital(&VITAL)
            .on(processor::register_broker)
            .on(processor::unregister_broker)
            .on(processor::query_data_version)
            .on(processor::get_route)
            .on(processor::get_cluster_info)
            .on(processor::get_topic_list)
            .on(processor::forget_topic)
            .on(processor::topics_of_cluster)
            .on(processor::system_topics)
            .on(processor::unit_topics)
            .on(processor::unit_sub_topics)
            .on(processor::unit_sub_un_unit_topics)
            .on(processor::put_kv_config)
            .on(processor::get_kv_config)
            .on(processor::list_kv_configs)
            .on(processor::delete_kv_config)
            .on(admin::wipe_write_perm)
            .on(admin::add_write_perm)
            .on(admin::get_config)
            .on(admin::update_config)
            .on_close(Namesrv::disconnected)
    }

    /// Forgets silent brokers, takes over what changes in the files of TLS, until `shutdown` resolves.
    pub async fn run(self: Arc<Namesrv>, shutdown: impl Future<Output = ()>) {
        let scan = async {
            loop {
                let interval = self.config.read().scan_interval;
                tokio::time::sleep(interval).await;
                for broker in self.routes.write().expire(Instant::now()) {
                    tracing::warn!(address = %broker.address, "a broker has not registered for too long, and is forgotten");
                }
            }
        };
        let accounts = async {
            match &self.access {
                Some(access) => access.clone().run().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! { () = scan => {}, () = accounts => {}, () = self.entrance.watch() => {}, () = shutdown => {} }
    }

    /// Has `logs` called whenever `logLevel` changes.
    pub fn on_log_level(&self, logs: fn(&str)) {
        let _ = self.logs.set(logs);
    }

    /// In answers, the broker that registers as `broker_addr`, and runs in this process, gets the address by which the
    /// asking client reached this name server, and its own port.
    pub fn advertise_as_reached(&self, broker_addr: String) {
        self.as_reached.write().push(broker_addr);
    }

    fn advertise<'a>(&self, brokers: impl IntoIterator<Item = &'a mut BrokerData>, peer: &Peer) {
        let as_reached = self.as_reached.read();
        for address in brokers.into_iter().flat_map(|broker| broker.broker_addrs.values_mut()) {
            if as_reached.contains(address)
                && let Some((_, port)) = address.rsplit_once(':')
                && let Ok(port) = port.parse()
            {
                *address = SocketAddr::new(peer.reached().ip().to_canonical(), port).to_string();
            }
        }
    }

    fn disconnected(&self, peer: &Peer) {
        for broker in self.routes.write().disconnected(peer.address()) {
            tracing::warn!(address = %broker.address, "a broker's connection closed, and the broker is forgotten");
        }
    }
}

#[cfg(test)]
mod tests;
