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
    DeleteKvConfig: DELETE_KV_CONFIG => Empty;
}
