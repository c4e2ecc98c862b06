//! What a name server is told and asked.

use super::{Empty, headers, requests};

headers! {
    /// GET_ROUTEINFO_BY_TOPIC (105); the answer's body is `route::TopicRoute`.
    #[doc(alias = "GetRouteInfoRequestHeader")]
    pub struct GetRoute {
        /// Which topic.
        topic: String = "topic",
        /// The client reads standard JSON only.
        accept_standard_json_only: Option<bool> = "acceptStandardJsonOnly",
        /// `true`: only brokers of the client's zone are wanted, and those whose master is gone.
        zone_mode: Option<String> = "__ZONE_MODE",
        /// The client's zone.
        zone_name: Option<String> = "__ZONE_NAME",
    }

    /// REGISTER_BROKER (103); the body is `route::RegisterBrokerBody`, possibly deflated.
    #[doc(alias = "RegisterBrokerRequestHeader")]
    pub struct RegisterBroker {
        /// The broker's name, shared by master and slaves.
        broker_name: String = "brokerName",
        /// Where clients reach it.
        broker_addr: String = "brokerAddr",
        /// Its cluster.
        cluster_name: String = "clusterName",
        /// Where slaves reach it.
        ha_server_addr: Option<String> = "haServerAddr",
        /// 0: master.
        broker_id: i64 = "brokerId",
        /// How long the registration holds without renewal, milliseconds.
        heartbeat_timeout_millis: Option<i64> = "heartbeatTimeoutMillis",
        /// A slave may act as master.
        enable_acting_master: Option<bool> = "enableActingMaster",
        /// The body is deflated, as the broker says; its first byte is more reliable.
        compressed: Option<bool> = "compressed",
        /// CRC-32 of the body, its top bit cleared; 0: not checked.
        body_crc32: Option<i32> = "bodyCrc32",
        /// In which zone it stands.
        zone_name: Option<String> = "__ZONE_NAME",
    }

    /// Answers a registration: what a slave needs to know of its master.
    #[doc(alias = "RegisterBrokerResponseHeader")]
    pub struct RegisterBrokerReply {
        /// Where the master serves its slaves.
        ha_server_addr: Option<String> = "haServerAddr",
        /// The master's address.
        master_addr: Option<String> = "masterAddr",
    }

    /// UNREGISTER_BROKER (104).
    #[doc(alias = "UnRegisterBrokerRequestHeader")]
    pub struct UnregisterBroker {
        /// The broker's name.
        broker_name: String = "brokerName",
        /// Where clients reached it.
        broker_addr: String = "brokerAddr",
        /// Its cluster.
        cluster_name: String = "clusterName",
        /// 0: master.
        broker_id: i64 = "brokerId",
    }

    /// QUERY_DATA_VERSION (322); the body is a `DataVersion`.
    #[doc(alias = "QueryDataVersionRequestHeader")]
    pub struct QueryDataVersion {
        /// The broker's name.
        broker_name: String = "brokerName",
        /// Where clients reach it.
        broker_addr: String = "brokerAddr",
        /// Its cluster.
        cluster_name: String = "clusterName",
        /// 0: master.
        broker_id: i64 = "brokerId",
    }

    /// Answers it; the body is the `DataVersion` known here.
    #[doc(alias = "QueryDataVersionResponseHeader")]
    pub struct QueryDataVersionReply {
        /// The broker must register again.
        changed: bool = "changed",
    }

    /// GET_BROKER_CLUSTER_INFO (106); the answer's body is `route::ClusterInfo`.
    pub struct GetClusterInfo {}

    /// GET_ALL_TOPIC_LIST_FROM_NAMESERVER (206); the answer's body is `{"topicList":[…]}`.
    pub struct GetTopicList {}

    /// GET_TOPICS_BY_CLUSTER (224); the answer's body is `route::TopicList`.
    #[doc(alias = "GetTopicsByClusterRequestHeader")]
    pub struct GetTopicsOfCluster {
        /// The cluster's name.
        cluster: String = "cluster",
    }

    /// GET_SYSTEM_TOPIC_LIST_FROM_NS (304); the answer's body is `route::TopicList`.
    pub struct GetSystemTopics {}

    /// GET_UNIT_TOPIC_LIST (311); the answer's body is `route::TopicList`.
    pub struct GetUnitTopics {}

    /// GET_HAS_UNIT_SUB_TOPIC_LIST (312); the answer's body is `route::TopicList`.
    pub struct GetUnitSubTopics {}

    /// GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST (313); the answer's body is `route::TopicList`.
    pub struct GetUnitSubUnUnitTopics {}

    /// PUT_KV_CONFIG (100).
    #[doc(alias = "PutKVConfigRequestHeader")]
    pub struct PutKvConfig {
        /// What it belongs to.
        namespace: String = "namespace",
        /// Its name.
        key: String = "key",
        /// What it is set to.
        value: String = "value",
    }

    /// GET_KV_CONFIG (101).
    #[doc(alias = "GetKVConfigRequestHeader")]
    pub struct GetKvConfig {
        /// What it belongs to.
        namespace: String = "namespace",
        /// Its name.
        key: String = "key",
    }

    /// Answers it.
    #[doc(alias = "GetKVConfigResponseHeader")]
    pub struct GetKvConfigReply {
        /// What it is set to.
        value: Option<String> = "value",
    }

    /// GET_KVLIST_BY_NAMESPACE (219); the answer's body is `route::KvTable`.
    #[doc(alias = "GetKVListByNamespaceRequestHeader")]
    pub struct ListKvConfigs {
        /// Which namespace.
        namespace: String = "namespace",
    }

    /// DELETE_KV_CONFIG (102).
    #[doc(alias = "DeleteKVConfigRequestHeader")]
    pub struct DeleteKvConfig {
        /// What it belongs to.
        namespace: String = "namespace",
        /// Its name.
        key: String = "key",
    }
}

requests! {
    GetRoute: GET_ROUTEINFO_BY_TOPIC => Empty;
    RegisterBroker: REGISTER_BROKER => RegisterBrokerReply;
    UnregisterBroker: UNREGISTER_BROKER => Empty;
    QueryDataVersion: QUERY_DATA_VERSION => QueryDataVersionReply;
    GetClusterInfo: GET_BROKER_CLUSTER_INFO => Empty;
    GetTopicList: GET_ALL_TOPIC_LIST_FROM_NAMESERVER => Empty;
    GetTopicsOfCluster: GET_TOPICS_BY_CLUSTER => Empty;
    GetSystemTopics: GET_SYSTEM_TOPIC_LIST_FROM_NS => Empty;
    GetUnitTopics: GET_UNIT_TOPIC_LIST => Empty;
    GetUnitSubTopics: GET_HAS_UNIT_SUB_TOPIC_LIST => Empty;
    GetUnitSubUnUnitTopics: GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST => Empty;
    PutKvConfig: PUT_KV_CONFIG => Empty;
    GetKvConfig: GET_KV_CONFIG => GetKvConfigReply;
    ListKvConfigs: GET_KVLIST_BY_NAMESPACE => Empty;
    DeleteKvConfig: DELETE_KV_CONFIG => Empty;
}
