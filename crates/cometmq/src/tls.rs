//! `cometmq tls init`: certificates, and the settings that name them, in one directory.

use crate::environment::Environment;
use crate::text::Language;
use broker::registration::choose_host;
use remoting::tls::make::{Authority, Issued, Usage, valid_for};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The CA lasts longer than what it signs.
const CA_DAYS: u32 = 3650;

/// Make the certificates and settings that TLS needs.
#[derive(Debug, clap::Subcommand)]
pub enum TlsCommand {
    /// Write a CA, certificates for servers and clients, and tls.properties, into a directory
    Init(InitArgs),
}

/// Flags of `tls init`.
#[derive(Debug, clap::Args)]
pub struct InitArgs {
    /// Where to; it is made if it is not there
    dir: PathBuf,
    /// An address or name by which clients reach a server; may be given several times [default: localhost, this machine's name
    /// and its addresses]
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// How long certificates are good for; the CA is for ten years
    #[arg(long, value_name = "DAYS", default_value_t = 730, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Keep the CA that is there, and make new certificates; servers that run take them over
    #[arg(long)]
    renew: bool,
}

/// Why nothing, or not all, is written.
#[derive(Debug)]
enum Failed {
    Exists(PathBuf),
    NoCa(PathBuf),
    File(PathBuf, io::Error),
    Certificate(String),
}

/// Runs it.
pub fn run(command: TlsCommand, environment: &Environment) -> ExitCode {
    let TlsCommand::Init(args) = command;
    let language = environment.language;
    match init(&args) {
        Ok(hosts) => {
            let out = said(&args, &hosts, language);
            // Nobody reads it when it can't be written.
            let _ = io::stdout().write_all(out.as_bytes());
            ExitCode::SUCCESS
        }
        Err(failed) => {
            eprintln!("cometmq: {}", failed.text(language));
            ExitCode::FAILURE
        }
    }
}

/// Writes everything. Answers with the hosts that the server's certificate is for.
fn init(args: &InitArgs) -> Result<Vec<String>, Failed> {
    let dir = &args.dir;
    fs::create_dir_all(dir).map_err(|error| Failed::File(dir.clone(), error))?;
    // Java's clients and other working directories read the same file: paths in it are whole.
    let dir = fs::canonicalize(dir).map_err(|error| Failed::File(dir.clone(), error))?;
    let bad = |error: &dyn std::fmt::Display| Failed::Certificate(error.to_string());
    let now = Duration::try_from(jiff::Timestamp::now().duration_since(jiff::Timestamp::UNIX_EPOCH));
    let now = now.map_err(|error| bad(&error))?;
    let ca_key = dir.join("ca-key.pem");
    let authority = if args.renew {
        let key = fs::read_to_string(&ca_key).map_err(|_| Failed::NoCa(ca_key.clone()))?;
        Authority::of_key(&key).map_err(|error| bad(&error))?
    } else {
        if let Some(there) =
            ["ca.pem", "ca-key.pem", "tls.properties"].map(|name| dir.join(name)).into_iter().find(|it| it.exists())
        {
            return Err(Failed::Exists(there));
        }
        let (authority, own) = Authority::new(valid_for(DAY * CA_DAYS, now)).map_err(|error| bad(&error))?;
        put(&dir, "ca", &own)?;
        authority
    };
    let hosts = if args.host.is_empty() { own_hosts() } else { args.host.clone() };
    let valid = || valid_for(DAY * args.days, now);
    let server = authority.issue("cometmq-server", &hosts, Usage::Server, valid()).map_err(|error| bad(&error))?;
    let client = authority.issue("cometmq-client", &[], Usage::Client, valid()).map_err(|error| bad(&error))?;
    put(&dir, "server", &server)?;
    put(&dir, "client", &client)?;
    if !dir.join("tls.properties").exists() {
        write(&dir.join("tls.properties"), &properties(&dir), 0o644)?;
    }
    Ok(hosts)
}

fn own_hosts() -> Vec<String> {
    let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    // A name that no certificate can have is no use in one.
    let usable =
        |name: &String| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.') && !name.is_empty();
    hosts.extend(Some(name).filter(usable));
    hosts.push(choose_host(&[]).ip.to_string());
    let mut seen = Vec::new();
    hosts.retain(|host| {
        !seen.contains(host) && {
            seen.push(host.clone());
            true
        }
    });
    hosts
}

/// Both files of a certificate; each is whole at every moment, and the key is there first: who reads a certificate that is new
/// beside a key that is old keeps to what was before, and looks again.
fn put(dir: &Path, name: &str, issued: &Issued) -> Result<(), Failed> {
    write(&dir.join(format!("{name}-key.pem")), &issued.key, 0o600)?;
    write(&dir.join(format!("{name}.pem")), &issued.certificate, 0o644)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), Failed> {
    let new = path.with_extension("new");
    let written = || {
        let _ = fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    written().map_err(|error| Failed::File(path.into(), error))
}

/// What servers and clients read, CometMQ's and Apache's.
fn properties(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "\
# Made by `cometmq tls init`. CometMQ and Apache RocketMQ read it, for servers and for clients.

# disabled: plain connections only. permissive: both. enforcing: TLS only. (Apache takes it from -Dtls.server.mode.)
tls.server.mode=permissive
tls.test.mode.enable=false
tls.server.certPath={dir}/server.pem
tls.server.keyPath={dir}/server-key.pem

# none: clients need no certificate. optional: one that is shown must be good. require: nobody gets in without.
tls.server.need.client.auth=none
tls.server.authClient=true
tls.server.trustCertPath={dir}/ca.pem

tls.client.authServer=true
tls.client.trustCertPath={dir}/ca.pem
tls.client.certPath={dir}/client.pem
tls.client.keyPath={dir}/client-key.pem
"
    )
}

fn said(args: &InitArgs, hosts: &[String], language: Language) -> String {
    let dir = fs::canonicalize(&args.dir).unwrap_or(args.dir.clone());
    let (dir, hosts, days) = (dir.display(), hosts.join(", "), args.days);
    let commands = format!(
        "  echo 'tls.config.file={dir}/tls.properties' >> broker.conf\n  \
         cometmq pub TopicTest hello --tls-ca {dir}/ca.pem\n  \
         java -Dtls.enable=true -Dtls.config.file={dir}/tls.properties …\n"
    );
    match (language, args.renew) {
        (Language::English, true) => format!(
            "New certificates in {dir}, for {hosts}, good for {days} days. Servers that run take them over within seconds.\n"
        ),
        (Language::Chinese, true) => {
            format!("已在 {dir} 中更新证书，适用于 {hosts}，有效期 {days} 天。运行中的服务端会在几秒内启用新证书。\n")
        }
        (Language::English, false) => format!(
            "Written to {dir}, for {hosts}, good for {days} days:

  ca.pem, ca-key.pem          the CA; keep its key away from servers
  server.pem, server-key.pem  for name servers and brokers
  client.pem, client-key.pem  for clients, where tls.server.need.client.auth asks for one
  tls.properties              names them all

{commands}
Once every client encrypts: tls.server.mode=enforcing in tls.properties. New certificates: cometmq tls init {dir} --renew.
"
        ),
        (Language::Chinese, false) => format!(
            "已写入 {dir}，适用于 {hosts}，有效期 {days} 天：

  ca.pem, ca-key.pem          CA 证书与私钥；私钥不要放在服务器上
  server.pem, server-key.pem  供 NameServer 和 Broker 使用
  client.pem, client-key.pem  供客户端使用（当 tls.server.need.client.auth 要求证书时）
  tls.properties              引用以上所有文件

{commands}
所有客户端都加密之后，把 tls.properties 中的 tls.server.mode 改为 enforcing。更新证书：cometmq tls init {dir} --renew
"
        ),
    }
}

impl Failed {
    fn text(&self, language: Language) -> String {
        match (self, language) {
            (Failed::Exists(path), Language::English) => format!(
                "{} is there already: nothing is written over. --renew makes new certificates of the CA that is there; another \
                 directory makes a new one",
                path.display()
            ),
            (Failed::Exists(path), Language::Chinese) => {
                format!("{} 已存在，不会覆盖。--renew 用现有 CA 签发新证书；换一个目录则会生成新的 CA", path.display())
            }
            (Failed::NoCa(path), Language::English) => {
                format!("{} is not there, and only that key can sign new certificates", path.display())
            }
            (Failed::NoCa(path), Language::Chinese) => format!("找不到 {}，没有这个私钥无法签发新证书", path.display()),
            (Failed::File(path, error), Language::English) => format!("can't write {}: {error}", path.display()),
            (Failed::File(path, error), Language::Chinese) => format!("无法写入 {}：{error}", path.display()),
            (Failed::Certificate(error), Language::English) => {
                format!("no certificate can be made: {error}; --host takes addresses and names, without port")
            }
            (Failed::Certificate(error), Language::Chinese) => {
                format!("无法生成证书：{error}；--host 应为地址或域名，不带端口")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use remoting::tls::settings::Side;
    use remoting::tls::{ClientTls, Tls, TlsMode, Trust};
    use std::os::unix::fs::PermissionsExt;

    fn args(dir: &Path, renew: bool) -> InitArgs {
        InitArgs { dir: dir.join("tls"), host: vec!["mq.example.com".into(), "10.0.0.1".into()], days: 30, renew }
    }

    #[test]
    fn what_is_written_is_what_servers_and_clients_read() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(init(&args(home.path(), false)).unwrap(), ["mq.example.com", "10.0.0.1"]);
        let dir = fs::canonicalize(home.path().join("tls")).unwrap();
        let tls = Tls::open(Some(dir.join("tls.properties")), None).unwrap();
        assert!(tls.mode() == TlsMode::Permissive && !tls.is_test());
        let client = ClientTls::of_file(&dir.join("tls.properties")).unwrap();
        assert_eq!(client.trust(), &Trust::Ca(dir.join("ca.pem")));
        let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode("ca-key.pem"), mode("server-key.pem"), mode("client-key.pem")], [0o600; 3]);

        assert!(matches!(init(&args(home.path(), false)), Err(Failed::Exists(_))), "nothing is written over");
        let before = fs::read(dir.join("ca.pem")).unwrap();
        init(&args(home.path(), true)).unwrap();
        assert_eq!(fs::read(dir.join("ca.pem")).unwrap(), before);
        assert!(tls.reload().unwrap(), "and servers notice");
        ClientTls::new(Trust::Ca(dir.join("ca.pem")), Side::default()).unwrap();
    }

    #[test]
    fn without_the_cas_key_nothing_is_renewed() {
        let home = tempfile::tempdir().unwrap();
        assert!(matches!(init(&args(home.path(), true)), Err(Failed::NoCa(_))));
    }
}
