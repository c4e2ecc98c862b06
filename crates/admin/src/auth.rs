//! Users and their rights.

use crate::{Admin, Error, read};
use bytes::Bytes;
use protocol::auth::{AclConfig, AclInfo, Explanation, PolicyEntryInfo, PolicyInfo, UserInfo};
use protocol::json;
use protocol::request::auth::{
    CreateAcl, CreateUser, DeleteAcl, DeletePlainAccess, DeleteUser, ExplainAccess, GetAcl, GetPlainAccess,
    GetPlainAccessVersion, GetUser, ListAcls, ListUsers, PlainAccessVersion, UpdateAcl, UpdatePlainAccess, UpdateUser,
    UpdateWhiteAddresses,
};

/// Makes a user on a server (`createUser`).
pub async fn create_user(admin: &Admin, server: &str, user: &UserInfo) -> Result<(), Error> {
    let request = CreateUser { username: user.username.clone() };
    admin.ask(server, &request, json::write(user).into()).await.map(drop)
}

/// Changes what `user` says (`updateUser`).
pub async fn update_user(admin: &Admin, server: &str, user: &UserInfo) -> Result<(), Error> {
    let request = UpdateUser { username: user.username.clone() };
    admin.ask(server, &request, json::write(user).into()).await.map(drop)
}

/// Removes a user and its rules (`deleteUser`).
pub async fn delete_user(admin: &Admin, server: &str, name: &str) -> Result<(), Error> {
    let request = DeleteUser { username: Some(name.to_owned()) };
    admin.ask(server, &request, Bytes::new()).await.map(drop)
}

/// A user (`getUser`); its password is there if whoever asks may do everything.
pub async fn user(admin: &Admin, server: &str, name: &str) -> Result<Option<UserInfo>, Error> {
    let request = GetUser { username: Some(name.to_owned()) };
    let (_, body) = admin.ask(server, &request, Bytes::new()).await?;
    if body.is_empty() { Ok(None) } else { read(server, &body).map(Some) }
}

/// The users whose names have `filter` in them (`listUser`).
pub async fn users(admin: &Admin, server: &str, filter: Option<String>) -> Result<Vec<UserInfo>, Error> {
    let (_, body) = admin.ask(server, &ListUsers { filter }, Bytes::new()).await?;
    if body.is_empty() { Ok(Vec::new()) } else { read(server, &body) }
}

/// Rules that are alike for several resources.
#[derive(Debug, Clone, Default)]
pub struct NewRules {
    /// `Topic:name`, …
    pub resources: Vec<String>,
    /// `Pub`, `Sub`, …
    pub actions: Vec<String>,
    /// Addresses or ranges; empty: from everywhere.
    pub source_ips: Vec<String>,
    /// `Allow` or `Deny`.
    pub decision: String,
}

impl NewRules {
    /// They, as rules of this user.
    pub fn info(&self, subject: &str) -> AclInfo {
        let entry = |resource: &String| PolicyEntryInfo {
            resource: Some(resource.clone()),
            actions: self.actions.clone(),
            source_ips: Some(self.source_ips.clone()).filter(|ips| !ips.is_empty()),
            decision: Some(self.decision.clone()),
        };
        let entries = self.resources.iter().map(entry).collect();
        AclInfo {
            subject: Some(subject.to_owned()),
            policies: vec![PolicyInfo { policy_type: Some("Custom".into()), entries }],
        }
    }
}

/// Adds rules to those of a user, `User:name` (`createAcl`).
pub async fn create_acl(admin: &Admin, server: &str, subject: &str, rules: &NewRules) -> Result<(), Error> {
    let request = CreateAcl { subject: Some(subject.to_owned()) };
    admin.ask(server, &request, json::write(&rules.info(subject)).into()).await.map(drop)
}

/// Changes rules of a user (`updateAcl`).
pub async fn update_acl(admin: &Admin, server: &str, subject: &str, rules: &NewRules) -> Result<(), Error> {
    put_acl(admin, server, &rules.info(subject)).await
}

/// Puts rules as they were read elsewhere (`copyAcl`).
pub async fn put_acl(admin: &Admin, server: &str, acl: &AclInfo) -> Result<(), Error> {
    let request = UpdateAcl { subject: acl.subject.clone() };
    admin.ask(server, &request, json::write(acl).into()).await.map(drop)
}

/// Removes the rule for a resource, or all (`deleteAcl`).
pub async fn delete_acl(admin: &Admin, server: &str, subject: &str, resource: Option<String>) -> Result<(), Error> {
    let request = DeleteAcl { subject: Some(subject.to_owned()), policy_type: None, resource };
    admin.ask(server, &request, Bytes::new()).await.map(drop)
}

/// The rules of a user (`getAcl`).
pub async fn acl(admin: &Admin, server: &str, subject: &str) -> Result<Option<AclInfo>, Error> {
    let (_, body) = admin.ask(server, &GetAcl { subject: Some(subject.to_owned()) }, Bytes::new()).await?;
    if body.is_empty() { Ok(None) } else { read(server, &body).map(Some) }
}

/// The rules of users that have `subject` in their name, for resources that have `resource` in theirs (`listAcl`).
pub async fn acls(
    admin: &Admin,
    server: &str,
    subject: Option<String>,
    resource: Option<String>,
) -> Result<Vec<AclInfo>, Error> {
    let request = ListAcls { subject_filter: subject, resource_filter: resource };
    let (_, body) = admin.ask(server, &request, Bytes::new()).await?;
    if body.is_empty() { Ok(Vec::new()) } else { read(server, &body) }
}

/// Would this be allowed, and which rule says so? Only CometMQ answers.
pub async fn explain(admin: &Admin, server: &str, what: &ExplainAccess) -> Result<Explanation, Error> {
    admin.ask_for(server, what).await
}

/// Makes an account of `plain_acl.yml`, or changes it (`updateAclConfig`).
pub async fn put_account(admin: &Admin, server: &str, account: &UpdatePlainAccess) -> Result<(), Error> {
    admin.ask(server, account, Bytes::new()).await.map(drop)
}

/// Removes an account of `plain_acl.yml` (`deleteAclConfig`).
pub async fn delete_account(admin: &Admin, server: &str, name: &str) -> Result<(), Error> {
    let request = DeletePlainAccess { access_key: Some(name.to_owned()) };
    admin.ask(server, &request, Bytes::new()).await.map(drop)
}

/// Says which addresses are trusted (`updateGlobalWhiteAddr`).
pub async fn put_white_addresses(
    admin: &Admin,
    server: &str,
    addresses: &str,
    file: Option<String>,
) -> Result<(), Error> {
    let request = UpdateWhiteAddresses { global_white_addrs: Some(addresses.to_owned()), acl_file_full_path: file };
    admin.ask(server, &request, Bytes::new()).await.map(drop)
}

/// How often account files were changed (`clusterAclConfigVersion`).
pub async fn account_version(admin: &Admin, server: &str) -> Result<PlainAccessVersion, Error> {
    Ok(admin.ask(server, &GetPlainAccessVersion {}, Bytes::new()).await?.0)
}

/// All accounts with their secrets (`getAclConfig`).
pub async fn accounts(admin: &Admin, server: &str) -> Result<AclConfig, Error> {
    admin.ask_for(server, &GetPlainAccess {}).await
}
