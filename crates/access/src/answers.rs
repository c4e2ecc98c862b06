//! What operators ask about users and their rights, and change: requests 3001 to 3010 (Apache 5.3 and later), 50 to 54 (4.4 to
//! 5.3.2), and our own 90069. A broker and a name server answer them alike.

use crate::plain::AccountChange;
use crate::{Access, ChangeError};
use protocol::auth::{AclInfo, UserInfo};
use protocol::code::{request, response};
use protocol::json;
use protocol::request::Empty;
use protocol::request::auth::{
    CreateAcl, CreateUser, DeleteAcl, DeletePlainAccess, DeleteUser, ExplainAccess, GetAcl, GetPlainAccess,
    GetPlainAccessVersion, GetUser, ListAcls, ListUsers, PlainAccessVersion, UpdateAcl, UpdatePlainAccess, UpdateUser,
    UpdateWhiteAddresses,
};
use remoting::{Answer, Call, Peer, Reject, Router};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A server that has a gate.
pub trait Guarded: Send + Sync + 'static {
    /// `None`: nobody's rights are checked.
    fn access(&self) -> Option<&Arc<Access>>;

    /// How it is called, under which address this client knows it, and the cluster to which it belongs.
    fn names(&self, peer: &Peer) -> (String, String, String);
}

/// Adds the answers to a table.
pub fn answers<S: Guarded>(router: Router<S>) -> Router<S> {
    router
        .on(create_user::<S>)
        .on(update_user::<S>)
        .on(delete_user::<S>)
        .on(get_user::<S>)
        .on(list_users::<S>)
        .on(create_acl::<S>)
        .on(update_acl::<S>)
        .on(delete_acl::<S>)
        .on(get_acl::<S>)
        .on(list_acls::<S>)
        .on(explain::<S>)
        .on(put_account::<S>)
        .on(delete_account::<S>)
        .on(versions::<S>)
        .on(put_white_addresses::<S>)
        .on(accounts::<S>)
}

type Done = Result<Answer<Empty>, Reject>;

/// The gate, or why there is none.
fn gate<S: Guarded>(server: &S, code: i32) -> Result<Arc<Access>, Reject> {
    server.access().cloned().ok_or_else(|| off(code, "nobody's rights are checked here"))
}

fn off(code: i32, why: &str) -> Reject {
    let key = if code < 100 { "aclEnable" } else { "authenticationEnabled" };
    let name = request::name(code).unwrap_or("");
    Reject::not_supported(format!(" request type {code} ({name}) not supported: {why}; set {key}=true and restart"))
}

fn refusal(code: i32, error: ChangeError) -> Reject {
    match error {
        ChangeError::Refused(why) => Reject::new(response::NO_PERMISSION, why),
        ChangeError::Save { .. } => Reject::system_error(error.to_string()),
        ChangeError::Off(why) => off(code, why),
    }
}

/// A change waits for the disk, and who looks waits for the change.
async fn blocking<T: Send + 'static>(
    code: i32,
    change: impl FnOnce() -> Result<T, ChangeError> + Send + 'static,
) -> Result<T, Reject> {
    let done = tokio::task::spawn_blocking(change).await.map_err(|error| Reject::system_error(error.to_string()))?;
    done.map_err(|error| refusal(code, error))
}

fn invalid(remark: &str) -> Reject {
    Reject::new(response::INVALID_PARAMETER, remark)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Reject> {
    json::read(body).map_err(|error| Reject::system_error(format!("the body of the request: {error}")))
}

fn with_body<T: Serialize>(body: Option<&T>) -> Answer<Empty> {
    let answer = Answer::new(Empty {});
    match body {
        Some(body) => answer.with_body(json::write(body)),
        None => answer,
    }
}

/// The name of a user, who is to be there.
fn named(username: &Option<String>) -> Result<String, Reject> {
    match username.as_deref().filter(|name| !name.trim().is_empty()) {
        Some(name) => Ok(name.to_owned()),
        None => Err(invalid("The username is blank")),
    }
}

async fn create_user<S: Guarded>(server: Arc<S>, call: Call<CreateUser>) -> Done {
    let access = gate(&*server, call.code)?;
    let info = UserInfo { username: Some(named(&call.request.username)?), ..read(&call.body)? };
    let by_super = access.is_super(call.peer.user().as_deref());
    tracing::info!(user = ?info, by = ?call.peer, by_user = call.peer.user().as_deref(), "a user is made");
    blocking(call.code, move || access.change(|table| table.create_user(&info, by_super))).await?;
    Ok(Empty {}.into())
}

async fn update_user<S: Guarded>(server: Arc<S>, call: Call<UpdateUser>) -> Done {
    let access = gate(&*server, call.code)?;
    let info = UserInfo { username: Some(named(&call.request.username)?), ..read(&call.body)? };
    let by_super = access.is_super(call.peer.user().as_deref());
    tracing::info!(user = ?info, by = ?call.peer, by_user = call.peer.user().as_deref(), "a user is changed");
    blocking(call.code, move || access.change(|table| table.update_user(&info, by_super))).await?;
    Ok(Empty {}.into())
}

async fn delete_user<S: Guarded>(server: Arc<S>, call: Call<DeleteUser>) -> Done {
    let access = gate(&*server, call.code)?;
    let name = named(&call.request.username)?;
    let by_super = access.is_super(call.peer.user().as_deref());
    tracing::info!(user = name, by = ?call.peer, by_user = call.peer.user().as_deref(), "a user is deleted");
    blocking(call.code, move || access.change(|table| table.delete_user(&name, by_super))).await?;
    Ok(Empty {}.into())
}

async fn get_user<S: Guarded>(server: Arc<S>, call: Call<GetUser>) -> Done {
    let access = gate(&*server, call.code)?;
    let name = named(&call.request.username)?;
    let by_super = access.is_super(call.peer.user().as_deref());
    let user = blocking(call.code, move || access.look(|table| table.user(&name, by_super))).await?;
    Ok(with_body(user.as_ref()))
}

async fn list_users<S: Guarded>(server: Arc<S>, call: Call<ListUsers>) -> Done {
    let access = gate(&*server, call.code)?;
    let filter = call.request.filter.unwrap_or_default();
    let by_super = access.is_super(call.peer.user().as_deref());
    let users = blocking(call.code, move || access.look(|table| table.list_users(&filter, by_super))).await?;
    Ok(with_body(Some(&users).filter(|users| !users.is_empty())))
}

async fn create_acl<S: Guarded>(server: Arc<S>, call: Call<CreateAcl>) -> Done {
    put_acl(server, call.code, call.request.subject, &call.body, call.peer).await
}

async fn update_acl<S: Guarded>(server: Arc<S>, call: Call<UpdateAcl>) -> Done {
    put_acl(server, call.code, call.request.subject, &call.body, call.peer).await
}

async fn put_acl<S: Guarded>(server: Arc<S>, code: i32, subject: Option<String>, body: &[u8], peer: Peer) -> Done {
    let access = gate(&*server, code)?;
    let info: AclInfo = read(body)?;
    if info.policies.is_empty() {
        return Err(Reject::new(response::NO_PERMISSION, "The body of acl is null"));
    }
    let subject = info.subject.filter(|subject| !subject.trim().is_empty()).or(subject).unwrap_or_default();
    tracing::info!(subject, by = ?peer, by_user = peer.user().as_deref(), "rules are changed");
    blocking(code, move || access.change(|table| table.put_acl(&subject, &info.policies))).await?;
    Ok(Empty {}.into())
}

async fn delete_acl<S: Guarded>(server: Arc<S>, call: Call<DeleteAcl>) -> Done {
    let access = gate(&*server, call.code)?;
    let DeleteAcl { subject, policy_type, resource } = call.request;
    let subject = subject.unwrap_or_default();
    tracing::info!(subject, resource, by = ?call.peer, by_user = call.peer.user().as_deref(), "rules are deleted");
    blocking(call.code, move || {
        access.change(|table| table.delete_acl(&subject, policy_type.as_deref(), resource.as_deref()))
    })
    .await?;
    Ok(Empty {}.into())
}

async fn get_acl<S: Guarded>(server: Arc<S>, call: Call<GetAcl>) -> Done {
    let access = gate(&*server, call.code)?;
    let subject = call.request.subject.unwrap_or_default();
    let acl = blocking(call.code, move || access.look(|table| table.acl(&subject))).await?;
    let acl = acl.map_err(|why| refusal(call.code, ChangeError::Refused(why)))?;
    Ok(with_body(acl.as_ref()))
}

async fn list_acls<S: Guarded>(server: Arc<S>, call: Call<ListAcls>) -> Done {
    let access = gate(&*server, call.code)?;
    let (subject, resource) =
        (call.request.subject_filter.unwrap_or_default(), call.request.resource_filter.unwrap_or_default());
    let acls = blocking(call.code, move || access.look(|table| table.list_acls(&subject, &resource))).await?;
    Ok(with_body(Some(&acls).filter(|acls| !acls.is_empty())))
}

async fn explain<S: Guarded>(server: Arc<S>, call: Call<ExplainAccess>) -> Done {
    let access = gate(&*server, call.code)?;
    let ExplainAccess { username, action, resource, source_ip } = call.request;
    let explained = access.explain(&username, &action, &resource, source_ip.as_deref());
    Ok(with_body(Some(&explained.map_err(|why| invalid(&why))?)))
}

/// Apache's tools show the sentence of a refusal, whatever the code.
fn plain_refusal(code: i32, failed: i32, error: ChangeError) -> Reject {
    match error {
        ChangeError::Off(_) => refusal(code, error),
        error => Reject::new(failed, error.to_string()),
    }
}

async fn blocking_plain<T: Send + 'static>(
    code: i32,
    failed: i32,
    change: impl FnOnce() -> Result<T, ChangeError> + Send + 'static,
) -> Result<T, Reject> {
    let done = tokio::task::spawn_blocking(change).await.map_err(|error| Reject::system_error(error.to_string()))?;
    done.map_err(|error| plain_refusal(code, failed, error))
}

/// Milliseconds since 1970: files say when they were changed.
fn now_millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

fn list(text: Option<String>) -> Option<Vec<String>> {
    text.map(|text| text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect())
}

async fn put_account<S: Guarded>(server: Arc<S>, call: Call<UpdatePlainAccess>) -> Done {
    let access = gate(&*server, call.code)?;
    let request = call.request;
    let account = AccountChange {
        access_key: request.access_key.unwrap_or_default(),
        secret_key: request.secret_key.unwrap_or_default(),
        white_remote_address: request.white_remote_address,
        admin: request.admin.unwrap_or(false),
        default_topic_perm: request.default_topic_perm,
        default_group_perm: request.default_group_perm,
        topic_perms: list(request.topic_perms),
        group_perms: list(request.group_perms),
    };
    tracing::info!(account = account.access_key, by = ?call.peer, by_user = call.peer.user().as_deref(), "an account is made or changed");
    let now = now_millis();
    let change = move || access.put_account(&account, now);
    blocking_plain(call.code, response::UPDATE_AND_CREATE_ACL_CONFIG_FAILED, change).await?;
    Ok(Empty {}.into())
}

async fn delete_account<S: Guarded>(server: Arc<S>, call: Call<DeletePlainAccess>) -> Done {
    let access = gate(&*server, call.code)?;
    let name = call.request.access_key.unwrap_or_default();
    tracing::info!(account = name, by = ?call.peer, by_user = call.peer.user().as_deref(), "an account is deleted");
    let (now, failed) = (now_millis(), response::DELETE_ACL_CONFIG_FAILED);
    let (deleting, there) = (name.clone(), access);
    if blocking_plain(call.code, failed, move || there.delete_account(&deleting, now)).await? {
        return Ok(Empty {}.into());
    }
    let remark = format!("The accesskey[{name}] corresponding to accessConfig has been deleted failed.");
    Err(Reject::new(failed, format!("{remark} There is no such account")))
}

async fn versions<S: Guarded>(
    server: Arc<S>,
    call: Call<GetPlainAccessVersion>,
) -> Result<Answer<PlainAccessVersion>, Reject> {
    let access = gate(&*server, call.code)?;
    let (own, all) = blocking(call.code, move || access.account_versions()).await?;
    let (broker_name, broker_addr, cluster_name) = server.names(&call.peer);
    let text = |json: Vec<u8>| String::from_utf8_lossy(&json).into_owned();
    Ok(PlainAccessVersion {
        version: text(json::write(&own)),
        all_acl_file_version: text(json::write(&all)),
        broker_name,
        broker_addr,
        cluster_name,
    }
    .into())
}

async fn put_white_addresses<S: Guarded>(server: Arc<S>, call: Call<UpdateWhiteAddresses>) -> Done {
    let access = gate(&*server, call.code)?;
    let UpdateWhiteAddresses { global_white_addrs, acl_file_full_path } = call.request;
    tracing::info!(addresses = global_white_addrs, by = ?call.peer, by_user = call.peer.user().as_deref(), "trusted addresses are changed");
    let addresses = list(global_white_addrs).unwrap_or_default();
    let now = now_millis();
    let change = move || access.put_white_addresses(&addresses, acl_file_full_path.as_deref(), now);
    blocking_plain(call.code, response::UPDATE_GLOBAL_WHITE_ADDRS_CONFIG_FAILED, change).await?;
    Ok(Empty {}.into())
}

async fn accounts<S: Guarded>(server: Arc<S>, call: Call<GetPlainAccess>) -> Done {
    let access = gate(&*server, call.code)?;
    let accounts = blocking(call.code, move || access.accounts()).await?;
    Ok(with_body(Some(&accounts)))
}
