//! Offsets: of groups, and of queues.

use super::{Empty, headers, requests};

headers! {
    /// QUERY_CONSUMER_OFFSET (14).
    #[doc(alias = "QueryConsumerOffsetRequestHeader")]
    pub struct QueryConsumerOffset {
        /// Whose.
        consumer_group: String = "consumerGroup",
        /// Of which topic.
        topic: String = "topic",
        /// Of which queue.
        queue_id: i32 = "queueId",
        /// false: answer "not found" rather than 0.
        set_zero_if_not_found: Option<bool> = "setZeroIfNotFound",
    }

    /// UPDATE_CONSUMER_OFFSET (15).
    #[doc(alias = "UpdateConsumerOffsetRequestHeader")]
    pub struct UpdateConsumerOffset {
        /// Whose.
        consumer_group: String = "consumerGroup",
        /// Of which topic.
        topic: String = "topic",
        /// Of which queue.
        queue_id: Option<i32> = "queueId",
        /// All before it is consumed.
        commit_offset: i64 = "commitOffset",
    }

    /// SEARCH_OFFSET_BY_TIMESTAMP (29).
    #[doc(alias = "SearchOffsetRequestHeader")]
    pub struct SearchOffset {
        /// The topic.
        topic: String = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
        /// Store time, milliseconds since 1970.
        timestamp: i64 = "timestamp",
        /// `LOWER` (or absent): the first message not older. `UPPER`: the last one not younger.
        boundary_type: Option<String> = "boundaryType",
    }

    /// GET_MAX_OFFSET (30).
    #[doc(alias = "GetMaxOffsetRequestHeader")]
    pub struct GetMaxOffset {
        /// The topic.
        topic: String = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
    }

    /// GET_MIN_OFFSET (31).
    #[doc(alias = "GetMinOffsetRequestHeader")]
    pub struct GetMinOffset {
        /// The topic.
        topic: String = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
    }

    /// GET_EARLIEST_MSG_STORETIME (32).
    #[doc(alias = "GetEarliestMsgStoretimeRequestHeader")]
    pub struct GetEarliestStoreTime {
        /// The topic.
        topic: String = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
    }

    /// A queue offset.
    pub struct OffsetReply {
        /// The offset.
        offset: i64 = "offset",
    }

    /// A store time.
    pub struct StoreTimeReply {
        /// Milliseconds since 1970; −1: the queue is empty.
        timestamp: i64 = "timestamp",
    }
}

requests! {
    QueryConsumerOffset: QUERY_CONSUMER_OFFSET => OffsetReply;
    UpdateConsumerOffset: UPDATE_CONSUMER_OFFSET => Empty;
    SearchOffset: SEARCH_OFFSET_BY_TIMESTAMP => OffsetReply;
    GetMaxOffset: GET_MAX_OFFSET => OffsetReply;
    GetMinOffset: GET_MIN_OFFSET => OffsetReply;
    GetEarliestStoreTime: GET_EARLIEST_MSG_STORETIME => StoreTimeReply;
}
