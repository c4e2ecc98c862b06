//! What the environment says. Nothing else reads it.

use crate::text::Language;
use protocol::logging::is_level;
use remoting::Credentials;
use remoting::tls::ClientTls;
use std::path::PathBuf;
use std::sync::Arc;

/// The variables that count.
#[derive(Clone)]
pub struct Environment {
    /// `LC_ALL`, `LC_MESSAGES`, `LANG`: the first that is set.
    pub language: Language,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `NAMESRV_ADDR`: for brokers and clients to which nobody named a name server.
    pub namesrv_addr: Option<String>,
    /// `COMETMQ_ACCESS_KEY` and `COMETMQ_SECRET_KEY`: as whom tools ask.
    pub access_key: Option<String>,
    /// See there.
    pub secret_key: Option<String>,
    /// `ROCKETMQ_HOME`: where `conf/tools.yml` is.
    pub rocketmq_home: Option<PathBuf>,
    /// As whom tools ask, as flags, environment and file say.
    pub credentials: Option<Credentials>,
    /// `COMETMQ_LOG`: what is logged, as the setting `logLevel` has it.
    pub log_level: String,
    /// How clients encrypt, if the command line says that they do (`connect`).
    pub tls: Option<Arc<ClientTls>>,
}

impl Environment {
    /// The name servers of a client that was given these, or none.
    pub fn namesrv(&self, given: &Option<String>) -> String {
        given.clone().or_else(|| self.namesrv_addr.clone()).unwrap_or_else(|| "127.0.0.1:9876".to_owned())
    }

    /// Reads it.
    pub fn read() -> Environment {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(set);
        Environment {
            language: Language::of_locale(locale.as_deref().unwrap_or_default()),
            home: set("HOME").map(PathBuf::from),
            namesrv_addr: set("NAMESRV_ADDR"),
            access_key: set("COMETMQ_ACCESS_KEY"),
            secret_key: set("COMETMQ_SECRET_KEY"),
            rocketmq_home: set("ROCKETMQ_HOME").map(PathBuf::from),
            credentials: None,
            log_level: set("COMETMQ_LOG").filter(|level| is_level(level)).unwrap_or_else(|| "info".to_owned()),
            tls: None,
        }
    }
}
