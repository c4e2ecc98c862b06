//! As whom tools ask: flags, the environment, or the file that mqadmin uses, in this order.

use crate::environment::Environment;
use remoting::Credentials;
use std::path::Path;

/// As whom to ask, where access control is on.
#[derive(Debug, clap::Args)]
pub struct Signing {
    /// The user to ask as; without it COMETMQ_ACCESS_KEY of the environment, else `accessKey` in conf/tools.yml of ROCKETMQ_HOME
    #[arg(long, global = true, value_name = "NAME")]
    access_key: Option<String>,
    /// Its secret; other users of the machine see it here, so better COMETMQ_SECRET_KEY, or `secretKey` in conf/tools.yml
    #[arg(long, global = true, value_name = "SECRET")]
    secret_key: Option<String>,
}

impl Signing {
    /// The credentials, if there are any. The error says what is missing.
    pub fn credentials(&self, environment: &Environment) -> Result<Option<Credentials>, String> {
        let given = |flag: &Option<String>, variable: &Option<String>| flag.clone().or_else(|| variable.clone());
        let access = given(&self.access_key, &environment.access_key);
        let secret = given(&self.secret_key, &environment.secret_key);
        match (access, secret) {
            (Some(access), Some(secret)) => Ok(Some(Credentials::new(&access, &secret))),
            (Some(_), None) => Err("an access key needs its secret: --secret-key, or COMETMQ_SECRET_KEY".to_owned()),
            (None, Some(_)) => Err("a secret key needs its access key: --access-key, or COMETMQ_ACCESS_KEY".to_owned()),
            (None, None) => match &environment.rocketmq_home {
                Some(home) => of_file(&home.join("conf/tools.yml")),
                None => Ok(None),
            },
        }
    }
}

/// A file that is not there says nothing.
fn of_file(path: &Path) -> Result<Option<Credentials>, String> {
    let bad = |why: String| format!("{}: {why}", path.display());
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(bad(error.to_string())),
        Ok(text) => access::plain::tools_credentials(&text).map_err(bad),
    }
}
