//! Users and their rights, as bodies of requests.
//!
//! Java: `org.apache.rocketmq.remoting.protocol.body.UserInfo` and `AclInfo`; of 4.x `PlainAccessConfig`, which is also an
//! account of `plain_acl.yml`.

use crate::heartbeat::tolerant;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A user.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UserInfo {
    /// The name, which clients call access key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The secret, which clients call secret key. Signatures can't be checked without it, so it can't be kept as a hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// `Super` or `Normal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_type: Option<String>,
    /// `enable` or `disable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_status: Option<String>,
}

impl fmt::Debug for UserInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UserInfo { username, user_type, user_status, .. } = self;
        f.debug_tuple("UserInfo").field(username).field(user_type).field(user_status).finish()
    }
}

/// What a user may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AclInfo {
    /// `User:name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// One of each type at most.
    #[serde(deserialize_with = "tolerant::list")]
    pub policies: Vec<PolicyInfo>,
}

/// Rules of one type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyInfo {
    /// `Custom`, or `Default`, which counts where no custom rule matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_type: Option<String>,
    /// The rules.
    #[serde(deserialize_with = "tolerant::list")]
    pub entries: Vec<PolicyEntryInfo>,
}

/// A rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyEntryInfo {
    /// `Topic:name`, `Topic:prefix*`, `Topic:*`, and so with `Group` and `Cluster`; `*` is everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// `Pub`, `Sub`, `Create`, `Update`, `Delete`, `Get`, `List`, or `All`.
    #[serde(deserialize_with = "tolerant::list")]
    pub actions: Vec<String>,
    /// Addresses, or ranges like `10.0.0.0/8`, from which alone it counts; absent: from everywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ips: Option<Vec<String>>,
    /// `Allow` or `Deny`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
}

/// An account of `plain_acl.yml`. What it does not say is not said of it either: tools send back what they were told.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PlainAccessConfig {
    /// The name.
    #[serde(deserialize_with = "tolerant::text")]
    pub access_key: String,
    /// The secret.
    #[serde(deserialize_with = "tolerant::text")]
    pub secret_key: String,
    /// Addresses from which the name alone is believed, without a signature.
    #[serde(deserialize_with = "tolerant::text", skip_serializing_if = "String::is_empty")]
    pub white_remote_address: String,
    /// May change topics, groups and settings.
    #[serde(deserialize_with = "tolerant::boolean")]
    pub admin: bool,
    /// Of topics that `topic_perms` does not name: `DENY`, `PUB`, `SUB`, `PUB|SUB`.
    #[serde(deserialize_with = "tolerant::text", skip_serializing_if = "String::is_empty")]
    pub default_topic_perm: String,
    /// Of groups that `group_perms` does not name.
    #[serde(deserialize_with = "tolerant::text", skip_serializing_if = "String::is_empty")]
    pub default_group_perm: String,
    /// `topic=PERM`.
    #[serde(deserialize_with = "tolerant::list", skip_serializing_if = "Vec::is_empty")]
    pub topic_perms: Vec<String>,
    /// `group=PERM`.
    #[serde(deserialize_with = "tolerant::list", skip_serializing_if = "Vec::is_empty")]
    pub group_perms: Vec<String>,
}

impl fmt::Debug for PlainAccessConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainAccessConfig").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// All accounts (GET_BROKER_CLUSTER_ACL_CONFIG).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AclConfig {
    /// Addresses from which everything is allowed.
    #[serde(deserialize_with = "tolerant::list")]
    pub global_white_addrs: Vec<String>,
    /// The accounts.
    #[serde(deserialize_with = "tolerant::list")]
    pub plain_access_configs: Vec<PlainAccessConfig>,
}

/// Why something is allowed or not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Explanation {
    /// It is allowed.
    pub allowed: bool,
    /// The reason, in a sentence.
    pub why: String,
    /// The type of policy that decides; absent: none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_type: Option<String>,
    /// The rule that decides; absent: none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<PolicyEntryInfo>,
    /// Where the user comes from: a file, or the table of users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let user = UserInfo { username: Some("a".into()), password: Some("secret".into()), ..UserInfo::default() };
        let account = PlainAccessConfig { secret_key: "secret".into(), ..PlainAccessConfig::default() };
        assert!(!format!("{user:?} {account:?}").contains("secret"));
    }

    #[test]
    fn what_an_account_does_not_say_is_not_told() {
        let account =
            PlainAccessConfig { access_key: "a".into(), secret_key: "s".into(), ..PlainAccessConfig::default() };
        assert_eq!(crate::json::write(&account), br#"{"accessKey":"a","secretKey":"s","admin":false}"#);
    }
}
