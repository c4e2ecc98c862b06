//! Who may do what: users, rules, and the gate that every port asks.
//!
//! Apache has had two ways to say it, and both are read into the same users and rules: accounts in `plain_acl.yml` ([`plain`],
//! `aclEnable`), and users with policies that tools change ([`table`], `authenticationEnabled`, `authorizationEnabled`).
//! [`gate`] is asked before a request is handled; what a request of each code needs stands in one table (`codes`).
//!
//! It fails closed: a request of a code that is not in the table is refused, and so is one that no rule allows.

pub mod address;
pub mod answers;
pub mod audit;
mod codes;
pub mod gate;
pub mod plain;
pub mod rule;
pub mod table;
pub mod users;
mod watch;

pub use codes::describe;
pub use gate::World;

use parking_lot::{Mutex, RwLock};
use plain::{AccountChange, BadFile, Edit, PlainFile};
use protocol::auth::{AclConfig, Explanation, PlainAccessConfig, PolicyEntryInfo, PolicyInfo, UserInfo};
use protocol::topic::DataVersion;
use remoting::Credentials;
use rule::{Actions, Decision, Resource};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::disk::Disk;
use table::AuthTable;
use users::{Origin, Users};
use watch::Stamp;

/// What an operator can set, in `broker.conf` and in `namesrv.conf`. All of it takes effect at restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Accounts of `plain_acl.yml` and of the files in the directory `acl` beside it count (Apache's access control up to 5.3.2).
    /// Key: `aclEnable`. Default: false.
    pub plain: bool,
    /// Where `plain_acl.yml` is. Key: `plainAclFile`; Apache's servers have no such key. Default: beside the file of settings.
    pub plain_file: Option<PathBuf>,
    /// Requests must be signed by a user that createUser made.
    /// Key: `authenticationEnabled`. Default: false.
    pub authentication: bool,
    /// Users may do what createAcl says. Needs `authenticationEnabled`: who is not known is believed nothing.
    /// Key: `authorizationEnabled`. Default: false.
    pub authorization: bool,
    /// Request codes that need no signature, parted by commas. Key: `authenticationWhitelist`. Default: none.
    pub authentication_whitelist: Vec<i32>,
    /// Request codes that need no rule, parted by commas. Key: `authorizationWhitelist`. Default: none.
    pub authorization_whitelist: Vec<i32>,
    /// A user who may do everything, made when there is none of this name: `{"username":"…","password":"…"}`.
    /// Key: `initAuthenticationUser`. Default: none.
    pub init_user: Option<Credentials>,
    /// How this server signs what it asks others: `{"accessKey":"…","secretKey":"…"}`. Here it is a user who may do everything.
    /// Key: `innerClientAuthenticationCredentials`. Default: none.
    pub inner_credentials: Option<Credentials>,
    /// A user who may do everything, known to this process only: with it a broker registers with a name server beside it. No key.
    pub own: Option<Credentials>,
    /// Accounts of `plain_acl.yml` become users at the start, unless there are users of their names.
    /// Key: `migrateAuthFromV1Enabled`. Default: false.
    pub migrate: bool,
}

impl Config {
    /// How this server signs what it asks others.
    pub fn signs_as(&self) -> Option<Credentials> {
        self.inner_credentials.clone().or_else(|| self.own.clone())
    }

    /// Is anybody's right checked?
    pub fn is_on(&self) -> bool {
        self.plain || self.authentication || self.authorization
    }
}

/// Reads a list of request codes, parted by commas.
pub fn read_codes(text: &str) -> Option<Vec<i32>> {
    text.split(',').map(str::trim).filter(|code| !code.is_empty()).map(|code| code.parse().ok()).collect()
}

/// A list of request codes as it is written.
pub fn show_codes(codes: &[i32]) -> String {
    codes.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

/// Reads `{"username":"…","password":"…"}` or `{"accessKey":"…","secretKey":"…"}`; blank text is nobody.
pub fn read_credentials(text: &str) -> Option<Option<Credentials>> {
    #[derive(Deserialize)]
    struct Text {
        #[serde(alias = "username", alias = "accessKey")]
        name: String,
        #[serde(alias = "password", alias = "secretKey")]
        secret: String,
    }
    if text.trim().is_empty() {
        return Some(None);
    }
    let Text { name, secret } = serde_json::from_str(text).ok()?;
    let usable = !name.trim().is_empty() && !secret.trim().is_empty();
    usable.then(|| Some(Credentials::new(&name, &secret)))
}

/// Where things are kept.
#[derive(Debug, Clone)]
pub struct Files {
    /// The table of users. `None`: in memory only.
    pub table: Option<PathBuf>,
    /// `plain_acl.yml`, where the settings do not say otherwise.
    pub plain: Option<PathBuf>,
    /// The way there.
    pub disk: Disk,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The table can't be read.
    #[error(transparent)]
    Table(#[from] store::table::LoadError),
    /// An account file can't be used.
    #[error(transparent)]
    File(#[from] BadFile),
    /// The settings contradict each other.
    #[error("{0}")]
    Settings(String),
    /// The first users can't be kept.
    #[error("the table of users can't be saved to {path}: {error}", path = path.display())]
    Save {
        /// Where.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// Why something about users was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It can't be so.
    #[error("{0}")]
    Refused(String),
    /// It can't be kept.
    #[error("{path} can't be saved ({error}); nothing is changed: check the disk and the directory's permissions", path = path.display())]
    Save {
        /// Where.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Users are kept in files only, or in the table only.
    #[error("{0}")]
    Off(&'static str),
}

/// Who may do what on this server.
pub struct Access {
    /// What the operator set.
    pub config: Config,
    /// `None`: this server belongs to no cluster.
    cluster: Option<String>,
    files: Files,
    /// What the gate goes by; exchanged whole.
    users: RwLock<Arc<Users>>,
    /// What it is made of. Held while that changes, which takes as long as the disk.
    kept: Mutex<Kept>,
    /// The user of requests from trusted addresses.
    nobody: Arc<str>,
    /// Somebody looks at the account files already.
    looks: AtomicBool,
}

#[derive(Default)]
struct Kept {
    table: Option<AuthTable>,
    plain: Vec<(PathBuf, PlainFile)>,
    /// How the account files looked when they were read, or found to be broken.
    read: Vec<Stamp>,
    /// How they looked last.
    seen: Vec<Stamp>,
}

impl Access {
    /// Reads who may do what. `None`: nobody's rights are checked. `cluster`: the one to which this server belongs.
    pub fn open(config: &Config, cluster: Option<&str>, mut files: Files) -> Result<Option<Arc<Access>>, OpenError> {
        if !config.is_on() {
            return Ok(None);
        }
        if config.authorization && !config.authentication {
            return Err(OpenError::Settings(
                "authorizationEnabled=true needs authenticationEnabled=true: without it, anybody could say to be anyone".into(),
            ));
        }
        files.plain = config.plain_file.clone().or(files.plain);
        let mut kept = Kept::default();
        if config.authentication {
            kept.table = Some(open_table(config, &files)?);
        }
        if config.plain {
            let Some(path) = &files.plain else {
                return Err(OpenError::Settings(
                    "aclEnable=true, and no file says who may do what: name it with plainAclFile=…/plain_acl.yml"
                        .into(),
                ));
            };
            (kept.plain, kept.read) = watch::read(path)?;
            kept.seen = kept.read.clone();
        }
        let (users, left_out) = Users::new(kept.table.as_ref(), &kept.plain, config.own.as_ref());
        left_out.iter().for_each(|line| tracing::warn!("{line}"));
        if users.is_empty() {
            tracing::warn!(
                "access control is on, and there is no user: nobody can come in; set initAuthenticationUser, or write accounts \
                 into plain_acl.yml"
            );
        }
        Ok(Some(Arc::new(Access {
            config: config.clone(),
            cluster: cluster.map(str::to_owned),
            files,
            users: RwLock::new(Arc::new(users)),
            kept: Mutex::new(kept),
            nobody: "".into(),
            looks: AtomicBool::new(false),
        })))
    }

    fn users(&self) -> Arc<Users> {
        self.users.read().clone()
    }

    /// Sees to it that a change of account files counts, until it is dropped. They are looked at every half second.
    pub async fn run(self: Arc<Access>) {
        // Two who look, one soon after the other, would take a file for written that is not.
        if !self.config.plain || self.looks.swap(true, Ordering::Relaxed) {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(watch::PERIOD).await;
            let access = self.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || access.look_at_files()).await {
                tracing::error!(%error, "can't look at account files");
            }
        }
    }

    /// Reads account files again if they have changed, and stay as they are. What can't be read leaves all as it was. Blocks.
    pub fn look_at_files(&self) {
        let (true, Some(path)) = (self.config.plain, &self.files.plain) else { return };
        let mut kept = self.kept.lock();
        let now = watch::stamps(path);
        let still = kept.seen == now;
        kept.seen.clone_from(&now);
        // Whoever writes a file may not be done with it.
        if !still || kept.read == now {
            return;
        }
        kept.read = now;
        match watch::read(path) {
            Ok((plain, read)) => {
                (kept.plain, kept.read) = (plain, read);
                self.exchange(&kept);
                tracing::info!(files = kept.plain.len(), "accounts are read again");
            }
            Err(bad) => tracing::error!("{bad}; the accounts that were read before go on counting: put the file right"),
        }
    }

    /// What is kept now counts from here on.
    fn exchange(&self, kept: &Kept) {
        let (users, left_out) = Users::new(kept.table.as_ref(), &kept.plain, self.config.own.as_ref());
        left_out.iter().for_each(|line| tracing::warn!("{line}"));
        *self.users.write() = Arc::new(users);
    }

    /// Changes the table of users: on disk, then in force. Blocks.
    pub fn change<T>(&self, change: impl FnOnce(&mut AuthTable) -> Result<T, String>) -> Result<T, ChangeError> {
        let mut kept = self.kept.lock();
        let mut table = kept.table.clone().ok_or(NO_TABLE)?;
        let changed = change(&mut table).map_err(ChangeError::Refused)?;
        if kept.table.as_ref() != Some(&table) {
            save_table(&self.files, &table).map_err(|(path, error)| ChangeError::Save { path, error })?;
            kept.table = Some(table);
            self.exchange(&kept);
        }
        Ok(changed)
    }

    /// Looks at the table of users. Blocks while it is changed.
    pub fn look<T>(&self, look: impl FnOnce(&AuthTable) -> T) -> Result<T, ChangeError> {
        self.kept.lock().table.as_ref().map(look).ok_or(NO_TABLE)
    }

    /// May this user do everything? An empty name is an address that is trusted.
    pub fn is_super(&self, user: Option<&str>) -> bool {
        match user {
            None => false,
            Some("") => true,
            Some(name) => self.users().get(name).is_some_and(|user| user.everything),
        }
    }

    /// Makes an account, or changes it, in the file where it stands. Blocks.
    #[doc(alias = "updateAccessConfig")]
    pub fn put_account(&self, account: &AccountChange, now: i64) -> Result<(), ChangeError> {
        let kept = self.kept.lock();
        let holds = |file: &PlainFile| file.accounts.iter().any(|known| known.access_key == account.access_key);
        let path = kept.plain.iter().find(|(_, file)| holds(file)).map(|(path, _)| path.clone());
        let path = path.or_else(|| self.files.plain.clone()).filter(|_| self.config.plain).ok_or(NO_FILES)?;
        self.edit(kept, &path, &Edit::Account(account), now)
    }

    /// Removes an account. False: there is none. Blocks.
    #[doc(alias = "deleteAccessConfig")]
    pub fn delete_account(&self, name: &str, now: i64) -> Result<bool, ChangeError> {
        let kept = self.kept.lock();
        if !self.config.plain {
            return Err(NO_FILES);
        }
        let holds = |file: &PlainFile| file.accounts.iter().any(|known| known.access_key == name);
        let Some(path) = kept.plain.iter().find(|(_, file)| holds(file)).map(|(path, _)| path.clone()) else {
            return Ok(false);
        };
        self.edit(kept, &path, &Edit::Remove(name), now).map(|()| true)
    }

    /// Says which addresses are trusted, in `file`, or in `plain_acl.yml`. Blocks.
    #[doc(alias = "updateGlobalWhiteAddrsConfig")]
    pub fn put_white_addresses(&self, addresses: &[String], file: Option<&str>, now: i64) -> Result<(), ChangeError> {
        let kept = self.kept.lock();
        let default = self.files.plain.clone().filter(|_| self.config.plain).ok_or(NO_FILES)?;
        let path = match file.filter(|file| !file.is_empty()) {
            None => default,
            Some(file) => match kept.plain.iter().find(|(path, _)| path.as_path() == Path::new(file)) {
                Some((path, _)) => path.clone(),
                None => {
                    return Err(ChangeError::Refused(format!(
                        "{} is no file of accounts here; there are {}",
                        file.chars().take(256).collect::<String>(),
                        kept.plain.iter().map(|(path, _)| path.display().to_string()).collect::<Vec<_>>().join(", ")
                    )));
                }
            },
        };
        self.edit(kept, &path, &Edit::White(addresses), now)
    }

    fn edit(
        &self,
        mut kept: parking_lot::MutexGuard<'_, Kept>,
        path: &Path,
        edit: &Edit<'_>,
        now: i64,
    ) -> Result<(), ChangeError> {
        let failed = |error| ChangeError::Save { path: path.to_owned(), error };
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.map_err(failed)?,
        };
        let text = plain::edit(path, &text, edit, now).map_err(|bad| ChangeError::Refused(bad.to_string()))?;
        // A link stays one.
        let place = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        store::table::save_private(&self.files.disk, &place, text.as_bytes()).map_err(failed)?;
        let plain = self.files.plain.as_deref().unwrap_or(path);
        (kept.plain, kept.read) = watch::read(plain).map_err(|bad| ChangeError::Refused(bad.to_string()))?;
        kept.seen = kept.read.clone();
        self.exchange(&kept);
        Ok(())
    }

    /// All accounts, with their secrets. Blocks while they are changed.
    pub fn accounts(&self) -> Result<AclConfig, ChangeError> {
        if !self.config.plain {
            return Err(NO_FILES);
        }
        let kept = self.kept.lock();
        let mut accounts: Vec<PlainAccessConfig> = Vec::new();
        for account in kept.plain.iter().flat_map(|(_, file)| &file.accounts) {
            if !accounts.iter().any(|known| known.access_key == account.access_key) {
                accounts.push(account.clone());
            }
        }
        let white = kept.plain.iter().flat_map(|(_, file)| file.white_addresses.iter().cloned());
        Ok(AclConfig { global_white_addrs: white.collect(), plain_access_configs: accounts })
    }

    /// How often the account files were changed: `plain_acl.yml`, and all by path. Blocks while they are.
    pub fn account_versions(&self) -> Result<(DataVersion, BTreeMap<String, DataVersion>), ChangeError> {
        if !self.config.plain {
            return Err(NO_FILES);
        }
        let kept = self.kept.lock();
        let own = kept.plain.iter().find(|(path, _)| Some(path) == self.files.plain.as_ref());
        let all = kept.plain.iter().map(|(path, file)| (path.display().to_string(), file.version.clone()));
        Ok((own.map(|(_, file)| file.version.clone()).unwrap_or_default(), all.collect()))
    }

    /// Would this be allowed, and why? The error says what can't be asked.
    pub fn explain(
        &self,
        name: &str,
        action: &str,
        resource: &str,
        source_ip: Option<&str>,
    ) -> Result<Explanation, String> {
        let actions = Actions::named(action)
            .ok_or("there is no such action; there are Pub, Sub, Create, Update, Delete, Get, List and All")?;
        let (kind, of) = match Resource::parse(resource) {
            Some(Resource::Named(kind, name)) => (kind, name),
            _ => return Err("ask about one thing: Topic:name, Group:name or Cluster:name".into()),
        };
        let address: IpAddr = match source_ip {
            None => std::net::Ipv4Addr::UNSPECIFIED.into(),
            Some(text) => text.parse().map_err(|_| "the source address is no IP address")?,
        };
        let users = self.users();
        let allowed = |why: String| Explanation { allowed: true, why, ..Explanation::default() };
        let refused = |why: String| Explanation { allowed: false, why, ..Explanation::default() };
        if users.trusts(address) {
            return Ok(allowed(format!(
                "{address} is in globalWhiteRemoteAddresses: everything is allowed from there"
            )));
        }
        let Some(user) = users.get(name) else {
            return Ok(refused(format!("there is no user {name}: its requests are refused")));
        };
        let origin = match &user.origin {
            Origin::Table => "the table of users".to_owned(),
            Origin::File(path) => path.display().to_string(),
        };
        let with_origin = |explanation| Explanation { origin: Some(origin.clone()), ..explanation };
        if !user.enabled {
            return Ok(with_origin(refused(format!("user {name} is disabled: its requests are refused"))));
        }
        if user.everything {
            return Ok(with_origin(allowed(format!("user {name} may do everything (Super, or admin)"))));
        }
        if user.white.contains(address) {
            let why = format!("{address} is in the whiteRemoteAddress of {name}: everything is allowed from there");
            return Ok(with_origin(allowed(why)));
        }
        if user.origin == Origin::Table && !self.config.authorization {
            let why = "authorizationEnabled is false: users of the table may do everything";
            return Ok(with_origin(allowed(why.to_owned())));
        }
        let decision = gate::decide_about(user, address, kind, &of, actions);
        let (explanation, decided) = match decision {
            Decision::Allowed(of, rule) => {
                (allowed(format!("the {} rule for {} allows it", of.name(), rule.resource)), Some((of, rule)))
            }
            Decision::Denied(of, rule) => {
                (refused(format!("the {} rule for {} denies it", of.name(), rule.resource)), Some((of, rule)))
            }
            Decision::NoRule => (refused("no rule is about it".to_owned()), None),
        };
        Ok(with_origin(Explanation {
            policy_type: decided.map(|(of, _)| of.name().to_owned()),
            rule: decided.map(|(_, rule)| rule.info()),
            ..explanation
        }))
    }
}

const NO_TABLE: ChangeError = ChangeError::Off("users are not kept here: authenticationEnabled is false");
const NO_FILES: ChangeError = ChangeError::Off("account files are not read here: aclEnable is false");

/// The table, with those users in it that the settings ask for.
fn open_table(config: &Config, files: &Files) -> Result<AuthTable, OpenError> {
    let loaded = match &files.table {
        Some(path) => {
            watch::warn_if_others_can_read(path);
            store::table::load(&files.disk, path, AuthTable::read)?.map(|loaded| loaded.table)
        }
        None => None,
    };
    let before = loaded.unwrap_or_default();
    let mut table = before.clone();
    let add = |table: &mut AuthTable, user: UserInfo, policies: &[PolicyInfo]| -> Result<(), OpenError> {
        let name = user.username.clone().unwrap_or_default();
        let added = table.create_user(&user, true).and_then(|()| match policies {
            [] => Ok(()),
            policies => table.put_acl(&format!("User:{name}"), policies),
        });
        added.map_err(|why| OpenError::Settings(format!("user {name} can't be made: {why}")))
    };
    for first in [&config.init_user, &config.inner_credentials].into_iter().flatten() {
        if !table.has(first.access_key()) {
            add(&mut table, user(first.access_key(), first.secret_key(), true), &[])?;
            tracing::info!(user = first.access_key(), "a user who may do everything is made, as the settings say");
        }
    }
    if config.migrate {
        let Some(path) = files.plain.as_ref().filter(|path| path.exists() || watch::directory(path).is_dir()) else {
            return Err(OpenError::Settings(
                "migrateAuthFromV1Enabled=true, and there is no plain_acl.yml: name it with plainAclFile, or set it to false".into(),
            ));
        };
        for account in watch::read(path)?.0.iter().flat_map(|(_, file)| &file.accounts) {
            if !table.has(&account.access_key) {
                let user = user(&account.access_key, &account.secret_key, account.admin);
                add(&mut table, user, &migrated(account))?;
                tracing::info!(user = account.access_key, "an account of plain_acl.yml has become a user");
            }
        }
    }
    if table != before {
        save_table(files, &table).map_err(|(path, error)| OpenError::Save { path, error })?;
    }
    Ok(table)
}

fn user(name: &str, password: &str, everything: bool) -> UserInfo {
    UserInfo {
        username: Some(name.to_owned()),
        password: Some(password.to_owned()),
        user_type: Some(if everything { "Super" } else { "Normal" }.to_owned()),
        user_status: None,
    }
}

/// The rules of an account, as Apache's brokers make them of it.
#[doc(alias = "AuthMigrator")]
fn migrated(account: &PlainAccessConfig) -> Vec<PolicyInfo> {
    let entry = |resource: String, perm: &str| {
        let (actions, decision): (&[&str], _) = match perm.trim() {
            "PUB" => (&["Pub"], "Allow"),
            "SUB" => (&["Sub"], "Allow"),
            "PUB|SUB" | "SUB|PUB" => (&["Pub", "Sub"], "Allow"),
            _ => (&["All"], "Deny"),
        };
        PolicyEntryInfo {
            resource: Some(resource),
            actions: actions.iter().map(|action| (*action).to_owned()).collect(),
            source_ips: None,
            decision: Some(decision.to_owned()),
        }
    };
    let named = |kind: &str, perms: &[String]| {
        let split = perms.iter().filter_map(|perm| perm.split_once('='));
        split.map(|(name, perm)| entry(format!("{kind}:{}", name.trim()), perm)).collect::<Vec<_>>()
    };
    let custom = [named("Topic", &account.topic_perms), named("Group", &account.group_perms)].concat();
    let defaults = [("Topic:*", &account.default_topic_perm), ("Group:*", &account.default_group_perm)];
    let default = defaults.into_iter().filter(|(_, perm)| !perm.trim().is_empty());
    let default: Vec<_> = default.map(|(resource, perm)| entry(resource.to_owned(), perm)).collect();
    let policy = |of: &str, entries: Vec<PolicyEntryInfo>| PolicyInfo { policy_type: Some(of.to_owned()), entries };
    let policies = [policy("Custom", custom), policy("Default", default)];
    policies.into_iter().filter(|policy| !policy.entries.is_empty()).collect()
}

fn save_table(files: &Files, table: &AuthTable) -> Result<(), (PathBuf, io::Error)> {
    let Some(path) = &files.table else { return Ok(()) };
    let text = serde_json::to_vec_pretty(table).map_err(io::Error::other);
    let saved = text.and_then(|text| store::table::save_private(&files.disk, path, &text));
    saved.map_err(|error| (path.clone(), error))
}

#[cfg(test)]
mod tests;
