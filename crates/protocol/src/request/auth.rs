//! Users and their rights: what operators ask and change.

use super::{Empty, headers, requests};

headers! {
    /// AUTH_CREATE_USER (3001); the body is an `auth::UserInfo`.
    #[doc(alias = "CreateUserRequestHeader")]
    pub struct CreateUser {
        /// The name.
        username: Option<String> = "username",
    }

    /// AUTH_UPDATE_USER (3002); the body is an `auth::UserInfo` with what changes.
    #[doc(alias = "UpdateUserRequestHeader")]
    pub struct UpdateUser {
        /// The name.
        username: Option<String> = "username",
    }

    /// AUTH_DELETE_USER (3003).
    #[doc(alias = "DeleteUserRequestHeader")]
    pub struct DeleteUser {
        /// The name.
        username: Option<String> = "username",
    }

    /// AUTH_GET_USER (3004); the answer's body is an `auth::UserInfo`, or none.
    #[doc(alias = "GetUserRequestHeader")]
    pub struct GetUser {
        /// The name.
        username: Option<String> = "username",
    }

    /// AUTH_LIST_USER (3005); the answer's body is a list of `auth::UserInfo`, or none.
    #[doc(alias = "ListUsersRequestHeader")]
    pub struct ListUsers {
        /// Only those whose name has this in it.
        filter: Option<String> = "filter",
    }

    /// AUTH_CREATE_ACL (3006); the body is an `auth::AclInfo`.
    #[doc(alias = "CreateAclRequestHeader")]
    pub struct CreateAcl {
        /// `User:name`.
        subject: Option<String> = "subject",
    }

    /// AUTH_UPDATE_ACL (3007); the body is an `auth::AclInfo`.
    #[doc(alias = "UpdateAclRequestHeader")]
    pub struct UpdateAcl {
        /// `User:name`.
        subject: Option<String> = "subject",
    }

    /// AUTH_DELETE_ACL (3008).
    #[doc(alias = "DeleteAclRequestHeader")]
    pub struct DeleteAcl {
        /// `User:name`.
        subject: Option<String> = "subject",
        /// `Custom` (or absent), or `Default`.
        policy_type: Option<String> = "policyType",
        /// The rule; absent: all that the user has.
        resource: Option<String> = "resource",
    }

    /// AUTH_GET_ACL (3009); the answer's body is an `auth::AclInfo`, or none.
    #[doc(alias = "GetAclRequestHeader")]
    pub struct GetAcl {
        /// `User:name`.
        subject: Option<String> = "subject",
    }

    /// AUTH_LIST_ACL (3010); the answer's body is a list of `auth::AclInfo`, or none.
    #[doc(alias = "ListAclsRequestHeader")]
    pub struct ListAcls {
        /// Only of subjects that have this in their name.
        subject_filter: Option<String> = "subjectFilter",
        /// Only rules that have this in their resource.
        resource_filter: Option<String> = "resourceFilter",
    }

    /// EXPLAIN_ACCESS (90069), ours alone: would this be allowed, and which rule says so? The answer's body is an
    /// `auth::Explanation`.
    pub struct ExplainAccess {
        /// The user.
        username: String = "username",
        /// `Pub`, `Sub`, …
        action: String = "action",
        /// `Topic:name`, `Group:name`, `Cluster:name`.
        resource: String = "resource",
        /// From where; absent: from an address that no rule names.
        source_ip: Option<String> = "sourceIp",
    }

    /// UPDATE_AND_CREATE_ACL_CONFIG (50): an account of `plain_acl.yml`.
    #[doc(alias = "CreateAccessConfigRequestHeader")]
    pub struct UpdatePlainAccess {
        /// The name.
        access_key: Option<String> = "accessKey",
        /// The secret.
        secret_key: Option<String> = "secretKey",
        /// Addresses from which the name alone is believed.
        white_remote_address: Option<String> = "whiteRemoteAddress",
        /// May change topics, groups and settings.
        admin: Option<bool> = "admin",
        /// Of topics that are not named.
        default_topic_perm: Option<String> = "defaultTopicPerm",
        /// Of groups that are not named.
        default_group_perm: Option<String> = "defaultGroupPerm",
        /// `topic=PERM`, parted by commas.
        topic_perms: Option<String> = "topicPerms",
        /// `group=PERM`, parted by commas.
        group_perms: Option<String> = "groupPerms",
    }

    /// DELETE_ACL_CONFIG (51).
    #[doc(alias = "DeleteAccessConfigRequestHeader")]
    pub struct DeletePlainAccess {
        /// The name.
        access_key: Option<String> = "accessKey",
    }

    /// GET_BROKER_CLUSTER_ACL_INFO (52): how often the files were changed.
    pub struct GetPlainAccessVersion {}

    /// Answers [`GetPlainAccessVersion`].
    #[doc(alias = "GetBrokerAclConfigResponseHeader")]
    pub struct PlainAccessVersion {
        /// Of `plain_acl.yml`, a `topic::DataVersion` as JSON.
        version: String = "version",
        /// Of all files, by path, as JSON.
        all_acl_file_version: String = "allAclFileVersion",
        /// Who answers.
        broker_name: String = "brokerName",
        /// Its address.
        broker_addr: String = "brokerAddr",
        /// Its cluster.
        cluster_name: String = "clusterName",
    }

    /// UPDATE_GLOBAL_WHITE_ADDRS_CONFIG (53): addresses from which everything is allowed.
    #[doc(alias = "UpdateGlobalWhiteAddrsConfigRequestHeader")]
    pub struct UpdateWhiteAddresses {
        /// Addresses, parted by commas.
        global_white_addrs: Option<String> = "globalWhiteAddrs",
        /// The file; absent: `plain_acl.yml`.
        acl_file_full_path: Option<String> = "aclFileFullPath",
    }

    /// GET_BROKER_CLUSTER_ACL_CONFIG (54); the answer's body is an `auth::AclConfig`.
    pub struct GetPlainAccess {}
}

requests! {
    CreateUser: AUTH_CREATE_USER => Empty;
    UpdateUser: AUTH_UPDATE_USER => Empty;
    DeleteUser: AUTH_DELETE_USER => Empty;
    GetUser: AUTH_GET_USER => Empty;
    ListUsers: AUTH_LIST_USER => Empty;
    CreateAcl: AUTH_CREATE_ACL => Empty;
    UpdateAcl: AUTH_UPDATE_ACL => Empty;
    DeleteAcl: AUTH_DELETE_ACL => Empty;
    GetAcl: AUTH_GET_ACL => Empty;
    ListAcls: AUTH_LIST_ACL => Empty;
    ExplainAccess: EXPLAIN_ACCESS => Empty;
    UpdatePlainAccess: UPDATE_AND_CREATE_ACL_CONFIG => Empty;
    DeletePlainAccess: DELETE_ACL_CONFIG => Empty;
    GetPlainAccessVersion: GET_BROKER_CLUSTER_ACL_INFO => PlainAccessVersion;
    UpdateWhiteAddresses: UPDATE_GLOBAL_WHITE_ADDRS_CONFIG => Empty;
    GetPlainAccess: GET_BROKER_CLUSTER_ACL_CONFIG => Empty;
}
