//! The table of users and their rules, as createUser and createAcl change it: one JSON file, whose parts have Apache's shapes.

use crate::rule::{PolicyType, Resource, Rights, Rule, policy_type};
use protocol::auth::{AclInfo, PolicyInfo, UserInfo};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use zeroize::Zeroizing;

/// A user, as it is kept.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeptUser {
    /// The secret. A signature can't be checked with a hash of it.
    pub password: Zeroizing<String>,
    user_type: String,
    user_status: String,
}

impl fmt::Debug for KeptUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeptUser").field(&self.user_type).field(&self.user_status).finish()
    }
}

impl KeptUser {
    /// May it do everything?
    pub fn is_super(&self) -> bool {
        self.user_type == SUPER
    }

    /// May it come in? One whose status nobody knows may not.
    pub fn is_enabled(&self) -> bool {
        self.user_status == ENABLE
    }

    fn info(&self, name: &str, with_password: bool) -> UserInfo {
        UserInfo {
            username: Some(name.to_owned()),
            password: with_password.then(|| self.password.to_string()),
            user_type: Some(self.user_type.clone()),
            user_status: Some(self.user_status.clone()),
        }
    }
}

const SUPER: &str = "Super";
const NORMAL: &str = "Normal";
const ENABLE: &str = "enable";
const DISABLE: &str = "disable";

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthTable {
    users: BTreeMap<String, KeptUser>,
    /// By `User:name`.
    acls: BTreeMap<String, Vec<PolicyInfo>>,
}

const SUBJECT_PREFIX: &str = "User:";

/// The name in `User:name`.
fn user_of(subject: &str) -> Result<&str, String> {
    match subject.split_once(':') {
        Some((kind, name)) if kind.eq_ignore_ascii_case("User") && !name.trim().is_empty() => Ok(name),
        _ => Err(format!(
            "The subject type is null. `{}` is not like User:name",
            subject.chars().take(128).collect::<String>()
        )),
    }
}

impl AuthTable {
    /// Reads it, and checks every rule.
    pub fn read(text: &[u8]) -> Result<AuthTable, String> {
        let table: AuthTable = protocol::json::read(text).map_err(|error| error.to_string())?;
        for (subject, policies) in &table.acls {
            Rights::read(policies).map_err(|why| format!("the rules of {subject}: {why}"))?;
        }
        Ok(table)
    }

    /// All users by name.
    pub fn users(&self) -> impl Iterator<Item = (&String, &KeptUser)> {
        self.users.iter()
    }

    /// Does this user exist?
    pub fn has(&self, name: &str) -> bool {
        self.users.contains_key(name)
    }

    /// Is this a user who may do everything?
    pub fn is_super(&self, name: &str) -> bool {
        self.users.get(name).is_some_and(KeptUser::is_super)
    }

    /// What a user may.
    pub fn rights(&self, name: &str) -> Option<Rights> {
        // They were checked when they were read, and when they were put.
        Rights::read(self.acls.get(&format!("{SUBJECT_PREFIX}{name}"))?).ok()
    }

    /// Adds a user. `by_super`: who asks may do everything.
    pub fn create_user(&mut self, info: &UserInfo, by_super: bool) -> Result<(), String> {
        let (user_type, user_status) = (user_type(info)?, user_status(info)?);
        if user_type == Some(SUPER) && !by_super {
            return Err("The super user can only be create by super user".into());
        }
        let name = info.username.as_deref().unwrap_or("");
        if name.trim().is_empty() {
            return Err("username can not be blank".into());
        }
        let password = info.password.as_deref().unwrap_or("");
        if password.trim().is_empty() {
            return Err("password can not be blank".into());
        }
        if self.has(name) {
            return Err("The user is existed".into());
        }
        let user = KeptUser {
            password: Zeroizing::new(password.to_owned()),
            user_type: user_type.unwrap_or(NORMAL).to_owned(),
            user_status: user_status.unwrap_or(ENABLE).to_owned(),
        };
        self.users.insert(name.to_owned(), user);
        Ok(())
    }

    /// Changes what `info` says.
    pub fn update_user(&mut self, info: &UserInfo, by_super: bool) -> Result<(), String> {
        let (user_type, user_status) = (user_type(info)?, user_status(info)?);
        let name = info.username.as_deref().unwrap_or("");
        if name.trim().is_empty() {
            return Err("username can not be blank".into());
        }
        let user = self.users.get_mut(name).ok_or("The user is not exist")?;
        if (user_type == Some(SUPER) || user.is_super()) && !by_super {
            return Err("The super user can only be update by super user".into());
        }
        if let Some(password) = info.password.as_deref().filter(|password| !password.trim().is_empty()) {
            user.password = Zeroizing::new(password.to_owned());
        }
        if let Some(user_type) = user_type {
            user.user_type = user_type.to_owned();
        }
        if let Some(user_status) = user_status {
            user.user_status = user_status.to_owned();
        }
        Ok(())
    }

    /// Removes a user and its rules. One that is not there is gone.
    pub fn delete_user(&mut self, name: &str, by_super: bool) -> Result<(), String> {
        if self.is_super(name) && !by_super {
            return Err("The super user can only be update by super user".into());
        }
        self.users.remove(name);
        self.acls.remove(&format!("{SUBJECT_PREFIX}{name}"));
        Ok(())
    }

    /// A user, with its password if whoever asks may do everything.
    pub fn user(&self, name: &str, with_password: bool) -> Option<UserInfo> {
        self.users.get(name).map(|user| user.info(name, with_password))
    }

    /// The users whose names have `filter` in them.
    pub fn list_users(&self, filter: &str, with_passwords: bool) -> Vec<UserInfo> {
        let wanted = self.users.iter().filter(|(name, _)| filter.trim().is_empty() || name.contains(filter));
        wanted.map(|(name, user)| user.info(name, with_passwords)).collect()
    }

    /// Adds rules to a user's; one for the same resource is replaced.
    #[doc(alias = "updateAcl")]
    pub fn put_acl(&mut self, subject: &str, policies: &[PolicyInfo]) -> Result<(), String> {
        let name = user_of(subject)?;
        if policies.is_empty() {
            return Err("The policies is empty.".into());
        }
        let mut new = Vec::new();
        for policy in policies {
            if policy.entries.is_empty() {
                return Err("The policy entries is empty.".into());
            }
            for entry in &policy.entries {
                new.push((policy_type(policy)?, Rule::read(entry)?));
            }
        }
        if !self.has(name) {
            return Err(format!("The subject of {SUBJECT_PREFIX}{name} is not exist."));
        }
        let kept = self.acls.entry(format!("{SUBJECT_PREFIX}{name}")).or_default();
        for (of, rule) in new {
            let at = kept.iter().position(|policy| policy.policy_type.as_deref() == Some(of.name()));
            let at = at.unwrap_or_else(|| {
                kept.push(PolicyInfo { policy_type: Some(of.name().to_owned()), entries: Vec::new() });
                kept.len() - 1
            });
            let (entries, info) = (&mut kept[at].entries, rule.info());
            match entries.iter_mut().find(|entry| entry.resource == info.resource) {
                Some(entry) => *entry = info,
                None => entries.push(info),
            }
        }
        Ok(())
    }

    /// Removes the rule for a resource; without one, all of a user's rules.
    pub fn delete_acl(&mut self, subject: &str, policy: Option<&str>, resource: Option<&str>) -> Result<(), String> {
        let name = user_of(subject)?;
        let of = match policy.filter(|name| !name.trim().is_empty()) {
            None => PolicyType::Custom,
            Some(name) => PolicyType::named(name.trim()).ok_or_else(|| {
                format!(
                    "unknown policy type `{}`; there are Custom and Default",
                    name.chars().take(64).collect::<String>()
                )
            })?,
        };
        if !self.has(name) {
            return Err("The subject is not exist.".into());
        }
        let subject = format!("{SUBJECT_PREFIX}{name}");
        let kept = self.acls.get_mut(&subject).ok_or("The acl is not exist.")?;
        let resource = match resource.filter(|resource| !resource.trim().is_empty()) {
            None => None,
            Some(text) => Some(Resource::parse(text).ok_or_else(|| {
                format!("`{}` is no resource; nothing is deleted", text.chars().take(128).collect::<String>())
            })?),
        };
        if let Some(resource) = &resource {
            let resource = Some(resource.to_string());
            for policy in kept.iter_mut().filter(|policy| policy.policy_type.as_deref() == Some(of.name())) {
                policy.entries.retain(|entry| entry.resource != resource);
            }
            kept.retain(|policy| !policy.entries.is_empty());
        }
        if resource.is_none() || kept.is_empty() {
            self.acls.remove(&subject);
        }
        Ok(())
    }

    /// A user's rules.
    pub fn acl(&self, subject: &str) -> Result<Option<AclInfo>, String> {
        let name = user_of(subject)?;
        if !self.has(name) {
            return Err("The subject is not exist.".into());
        }
        let subject = format!("{SUBJECT_PREFIX}{name}");
        Ok(self
            .acls
            .get(&subject)
            .map(|policies| AclInfo { subject: Some(subject.clone()), policies: policies.clone() }))
    }

    /// The rules of subjects that have `subject` in their name, for resources that have `resource` in theirs.
    pub fn list_acls(&self, subject: &str, resource: &str) -> Vec<AclInfo> {
        let mut found = Vec::new();
        for (name, policies) in self.acls.iter().filter(|(name, _)| subject.trim().is_empty() || name.contains(subject))
        {
            let mut policies = policies.clone();
            if !resource.trim().is_empty() {
                let wanted = |of: &Option<String>| of.as_deref().is_some_and(|of| of.contains(resource));
                policies.iter_mut().for_each(|policy| policy.entries.retain(|entry| wanted(&entry.resource)));
                policies.retain(|policy| !policy.entries.is_empty());
            }
            if !policies.is_empty() {
                found.push(AclInfo { subject: Some(name.clone()), policies });
            }
        }
        found
    }
}

fn user_type(info: &UserInfo) -> Result<Option<&'static str>, String> {
    one_of("userType", info.user_type.as_deref(), [SUPER, NORMAL])
}

fn user_status(info: &UserInfo) -> Result<Option<&'static str>, String> {
    one_of("userStatus", info.user_status.as_deref(), [ENABLE, DISABLE])
}

fn one_of(what: &str, text: Option<&str>, known: [&'static str; 2]) -> Result<Option<&'static str>, String> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    let found = known.into_iter().find(|known| known.eq_ignore_ascii_case(text));
    found.map(Some).ok_or_else(|| {
        format!(
            "unknown {what} `{}`; there are {} and {}",
            text.chars().take(64).collect::<String>(),
            known[0],
            known[1]
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::auth::PolicyEntryInfo;

    fn user(name: &str, password: &str, user_type: Option<&str>) -> UserInfo {
        UserInfo {
            username: Some(name.into()),
            password: Some(password.into()),
            user_type: user_type.map(str::to_owned),
            user_status: None,
        }
    }

    fn policy(of: Option<&str>, rules: &[(&str, &str, &str)]) -> Vec<PolicyInfo> {
        let entry = |(resource, action, decision): &(&str, &str, &str)| PolicyEntryInfo {
            resource: Some((*resource).into()),
            actions: vec![(*action).into()],
            source_ips: None,
            decision: Some((*decision).into()),
        };
        vec![PolicyInfo { policy_type: of.map(str::to_owned), entries: rules.iter().map(entry).collect() }]
    }

    #[test]
    fn users_come_change_and_go() {
        let mut table = AuthTable::default();
        table.create_user(&user("alice", "secret", None), false).unwrap();
        assert_eq!(table.create_user(&user("alice", "other", None), true).unwrap_err(), "The user is existed");
        assert_eq!(table.create_user(&user("", "x", None), true).unwrap_err(), "username can not be blank");
        assert_eq!(table.create_user(&user("bob", " ", None), true).unwrap_err(), "password can not be blank");
        assert!(table.create_user(&user("bob", "x", Some("King")), true).unwrap_err().contains("`King`"));
        let shown = table.user("alice", true).unwrap();
        assert_eq!((shown.user_type.as_deref(), shown.user_status.as_deref()), (Some("Normal"), Some("enable")));
        assert_eq!(table.user("alice", false).unwrap().password, None);
        let disabled = UserInfo { password: None, user_status: Some("Disable".into()), ..user("alice", "", None) };
        table.update_user(&disabled, false).unwrap();
        assert!(!table.users["alice"].is_enabled() && table.users["alice"].password.as_str() == "secret");
        assert_eq!(table.update_user(&user("eve", "x", None), true).unwrap_err(), "The user is not exist");
        assert_eq!(table.list_users("li", true).len(), 1);
        assert!(table.list_users("x", true).is_empty());
        table.delete_user("alice", false).unwrap();
        table.delete_user("alice", false).unwrap();
        assert!(!table.has("alice"));
    }

    #[test]
    fn only_a_super_user_makes_and_changes_super_users() {
        let mut table = AuthTable::default();
        assert!(table.create_user(&user("root", "secret", Some("Super")), false).is_err());
        table.create_user(&user("root", "secret", Some("super")), true).unwrap();
        table.create_user(&user("alice", "secret", None), false).unwrap();
        assert!(table.update_user(&user("root", "mine", None), false).is_err());
        assert!(table.update_user(&user("alice", "mine", Some("Super")), false).is_err());
        assert!(table.delete_user("root", false).is_err());
        assert!(table.is_super("root") && table.users["root"].password.as_str() == "secret");
    }

    #[test]
    fn a_rule_for_the_same_resource_is_replaced() {
        let mut table = AuthTable::default();
        table.create_user(&user("alice", "secret", None), false).unwrap();
        let subject = "User:alice";
        table.put_acl(subject, &policy(None, &[("Topic:a", "Pub", "Allow"), ("Topic:b", "Sub", "Allow")])).unwrap();
        table.put_acl(subject, &policy(Some("custom"), &[("Topic:a", "Pub", "Deny")])).unwrap();
        table.put_acl(subject, &policy(Some("Default"), &[("Topic:*", "Get", "Allow")])).unwrap();
        let acl = table.acl(subject).unwrap().unwrap();
        let shown = acl.policies.iter().map(|policy| (policy.policy_type.as_deref().unwrap(), policy.entries.len()));
        assert_eq!(shown.collect::<Vec<_>>(), [("Custom", 2), ("Default", 1)]);
        assert_eq!(acl.policies[0].entries[0].decision.as_deref(), Some("Deny"));
        assert_eq!(AuthTable::read(&serde_json::to_vec(&table).unwrap()), Ok(table.clone()));

        assert_eq!(table.list_acls("ali", "Topic:b")[0].policies[0].entries.len(), 1);
        assert!(table.list_acls("bob", "").is_empty() && table.list_acls("", "Group").is_empty());
        assert!(table.list_acls("", "alice").is_empty(), "a subject's name is no resource");
        table.delete_acl(subject, None, Some("Topic:a")).unwrap();
        table.delete_acl(subject, Some("Default"), Some("Topic:*")).unwrap();
        assert_eq!(table.acl(subject).unwrap().unwrap().policies.len(), 1);
        table.delete_acl(subject, None, None).unwrap();
        assert_eq!(table.acl(subject), Ok(None));
        assert_eq!(table.delete_acl(subject, None, None).unwrap_err(), "The acl is not exist.");
    }

    #[test]
    fn rules_of_nobody_are_refused_and_nothing_changes() {
        let mut table = AuthTable::default();
        table.create_user(&user("alice", "secret", None), false).unwrap();
        let before = table.clone();
        let good = policy(None, &[("Topic:a", "Pub", "Allow")]);
        assert_eq!(table.put_acl("User:bob", &good).unwrap_err(), "The subject of User:bob is not exist.");
        assert!(table.put_acl("alice", &good).unwrap_err().contains("`alice`"));
        assert_eq!(table.put_acl("User:alice", &[]).unwrap_err(), "The policies is empty.");
        let half = policy(None, &[("Topic:a", "Pub", "Allow"), ("Topic:b", "Fly", "Allow")]);
        assert!(table.put_acl("User:alice", &half).is_err());
        assert_eq!(table, before);
    }
}
