//! All users that there are, whichever file they come from, as the gate sees them. Never changed: a change makes new ones.

use crate::address::Pattern;
use crate::plain::{self, PlainFile};
use crate::rule::Rights;
use crate::table::AuthTable;
use foldhash::{HashMap, HashMapExt};
use remoting::Credentials;
use remoting::signature::Key;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a user comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The table that createUser and createAcl change.
    Table,
    /// An account of this file.
    File(PathBuf),
}

/// A user.
pub struct User {
    /// The name.
    pub name: Arc<str>,
    /// Its secret.
    pub key: Key,
    /// It may do everything (`Super`, `admin`).
    pub everything: bool,
    /// It may come in.
    pub enabled: bool,
    /// What it may.
    pub rights: Rights,
    /// From where its name alone is believed, and may do everything.
    pub white: Pattern,
    /// Where it comes from.
    pub origin: Origin,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("User").field(&self.name).finish()
    }
}

/// All users.
#[derive(Debug, Default)]
pub struct Users {
    users: HashMap<Arc<str>, Arc<User>>,
    white: Vec<Pattern>,
    /// Some are kept in the table.
    pub has_table: bool,
}

impl Users {
    /// The server's own user, those of the table, if there is one, and those of files. Of two with one name the table's counts, else the first.
    /// Says what is left out.
    pub fn new(
        table: Option<&AuthTable>,
        files: &[(PathBuf, PlainFile)],
        own: Option<&Credentials>,
    ) -> (Users, Vec<String>) {
        let mut users = Users { users: HashMap::new(), white: Vec::new(), has_table: table.is_some() };
        let mut left_out = Vec::new();
        if let Some(own) = own {
            let name: Arc<str> = own.access_key().into();
            let user = User {
                name: name.clone(),
                key: Key::new(own.secret_key()),
                everything: true,
                enabled: true,
                rights: Rights::default(),
                white: Pattern::default(),
                origin: Origin::Table,
            };
            users.users.insert(name, Arc::new(user));
        }
        for (name, user) in table.iter().flat_map(|table| table.users()) {
            let name: Arc<str> = name.as_str().into();
            let user = User {
                name: name.clone(),
                key: Key::new(&user.password),
                everything: user.is_super(),
                enabled: user.is_enabled(),
                rights: table.and_then(|table| table.rights(&name)).unwrap_or_default(),
                white: Pattern::default(),
                origin: Origin::Table,
            };
            users.users.insert(name, Arc::new(user));
        }
        for (path, file) in files {
            users.white.extend(file.white.iter().cloned());
            for account in &file.accounts {
                // It was checked when the file was read.
                let Ok((everything, rights, white)) = plain::rights(account) else { continue };
                let name: Arc<str> = account.access_key.as_str().into();
                if let Some(first) = users.users.get(&name) {
                    let where_it_is = match &first.origin {
                        Origin::Table => "the table of users".to_owned(),
                        Origin::File(path) => path.display().to_string(),
                    };
                    left_out.push(format!(
                        "account {name} in {} does not count: {where_it_is} has it, too",
                        path.display()
                    ));
                    continue;
                }
                let user = User {
                    name: name.clone(),
                    key: Key::new(&account.secret_key),
                    everything,
                    enabled: true,
                    rights,
                    white,
                    origin: Origin::File(path.clone()),
                };
                users.users.insert(name, Arc::new(user));
            }
        }
        (users, left_out)
    }

    /// The user of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    /// Is everything allowed that comes from here?
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.white.iter().any(|pattern| pattern.contains(address))
    }

    /// Nobody can come in.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.white.is_empty()
    }
}
