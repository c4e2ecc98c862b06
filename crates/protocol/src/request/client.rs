//! Clients and their groups: heartbeats, membership, queue locks.

use super::{Empty, headers, requests};

headers! {
    /// HEART_BEAT (34); the body is `heartbeat::HeartbeatData`.
    #[doc(alias = "HeartbeatRequestHeader")]
    pub struct Heartbeat {}

    /// Answers a heartbeat.
    pub struct HeartbeatReply {
        /// Clients may then send a fingerprint in place of unchanged subscriptions.
        support_heart_beat_v2: String = "IS_SUPPORT_HEART_BEAT_V2",
        /// "true" asks the client for its subscriptions in full.
        sub_change: String = "IS_SUB_CHANGE",
    }

    /// UNREGISTER_CLIENT (35).
    #[doc(alias = "UnregisterClientRequestHeader")]
    pub struct UnregisterClient {
        /// Who leaves.
        client_id: String = "clientID",
        /// Which producer group it leaves.
        producer_group: Option<String> = "producerGroup",
        /// Which consumer group it leaves.
        consumer_group: Option<String> = "consumerGroup",
    }

    /// GET_CONSUMER_LIST_BY_GROUP (38); the answer's body is `{"consumerIdList":[…]}`.
    #[doc(alias = "GetConsumerListByGroupRequestHeader")]
    pub struct GetConsumerList {
        /// Whose members.
        consumer_group: String = "consumerGroup",
    }

    /// NOTIFY_CONSUMER_IDS_CHANGED (40), from server to client, oneway: rebalance now.
    #[doc(alias = "NotifyConsumerIdsChangedRequestHeader")]
    pub struct NotifyConsumerIdsChanged {
        /// Whose members changed.
        consumer_group: String = "consumerGroup",
    }

    /// LOCK_BATCH_MQ (41); the body is `heartbeat::LockBatchBody`.
    pub struct LockBatch {}

    /// UNLOCK_BATCH_MQ (42); the body is `heartbeat::LockBatchBody`.
    pub struct UnlockBatch {}

    /// CHECK_CLIENT_CONFIG (46); the body is `heartbeat::CheckClientBody`.
    pub struct CheckClientConfig {}
}

requests! {
    Heartbeat: HEART_BEAT => HeartbeatReply;
    UnregisterClient: UNREGISTER_CLIENT => Empty;
    GetConsumerList: GET_CONSUMER_LIST_BY_GROUP => Empty;
    NotifyConsumerIdsChanged: NOTIFY_CONSUMER_IDS_CHANGED => Empty;
    LockBatch: LOCK_BATCH_MQ => Empty;
    UnlockBatch: UNLOCK_BATCH_MQ => Empty;
    CheckClientConfig: CHECK_CLIENT_CONFIG => Empty;
}
