//! Everything in one process: a name server, and a broker that registers with it. The banner comes when it has.

use crate::banner::{self, Banner};
use crate::environment::Environment;
use crate::listen;
use crate::options::DevSettings;
use crate::serve::{
    Advertised, RunningBroker, StartError, Unset, bind_address, data_threads, start_logs, watch_broker,
};
use crate::shutdown::Shutdown;
use crate::text;
use namesrv::Namesrv;
use namesrv::config::NamesrvConfig;
use remoting::Credentials;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

/// `cometmq dev`.
pub async fn serve(
    settings: DevSettings,
    environment: &Environment,
    started: Instant,
    shutdown: Shutdown,
) -> Result<(), StartError> {
    let DevSettings { namesrv_port, broker: mut settings } = settings;
    let config = &settings.config;
    start_logs(&config.log)?;
    let server = data_threads(config.channel_max_idle, config.metrics.on && config.metrics.remoting)?;
    let kv_config_path = settings.config.store_root.join("config/kvConfig.json");
    let bind_address = bind_address(&settings.config.bind_address)?;
    let entrance = settings.config.entrance.clone();
    let config =
        NamesrvConfig { bind_address, entrance, kv_config_path: Some(kv_config_path), ..NamesrvConfig::default() };
    let listener = listen::on(config.bind_address, namesrv_port, "--namesrv-port")?;
    let namesrv_address = listener.local_addr().map_err(StartError::Threads)?;
    let watch = watch_broker(&settings.config, &server)?;

    if !settings.config.namesrv_addr.is_empty() {
        eprintln!("{}", text::own_namesrv(&settings.config.namesrv_addr, environment.language));
    }
    let own = if bind_address.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { bind_address };
    settings.config.namesrv_addr = vec![SocketAddr::new(own, namesrv_address.port()).to_string()];
    if let Some(advertised) = settings.config.ip1.as_ref().filter(|host| bind_address.is_loopback() && !is_local(host))
    {
        eprintln!("{}", text::advertised_but_local(advertised, bind_address, environment.language));
    }
    settings.config.access.own = Some(own_user());
    let broker = RunningBroker::start(settings, environment.language, &server, Unset::AsReached)?;
    let namesrv = Namesrv::open_beside(config, broker.access()).map_err(StartError::Namesrv)?;
    server.listen(listener, namesrv.router()).map_err(StartError::Threads)?;
    if let Some((watch, _)) = &watch {
        watch.beside(namesrv.clone());
    }
    let metrics = broker.watched(watch, &shutdown);
    let facts = broker.facts();
    if facts.advertised == Advertised::AsReached {
        namesrv.advertise_as_reached(facts.address.clone());
    } else {
        broker.warn_unless_reachable(environment.language);
    }

    let mut registered = broker.registration.count();
    let language = environment.language;
    let announce = async move {
        // An error means that the broker has stopped before it was registered: then it is not ready.
        if registered.wait_for(|count| *count > 0).await.is_ok() {
            let namesrv = Some(banner::reachable(namesrv_address));
            Banner { ready_after: started.elapsed(), namesrv, broker: Some(facts), metrics }.print(language);
        }
    };
    tokio::spawn(announce);
    tokio::spawn(namesrv.run(shutdown.clone().requested()));
    broker.run(shutdown, server).await
}

/// As whom the broker registers, where access control is on: nobody else knows the secret, and nobody needs it tomorrow.
fn own_user() -> Credentials {
    let mut bytes = [0; 16];
    // Without the system's randomness, no name server beside the broker takes its registration.
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    let usable = filled.is_ok_and(|count| count == bytes.len());
    let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = if usable { "cometmq-dev" } else { "" };
    Credentials::new(name, &secret)
}

/// Is it an address that only this machine reaches?
fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}
