//! Looking messages up, by key or by position.

use super::{Empty, headers, requests};

headers! {
    /// QUERY_MESSAGE (12): by key, or by unique key when the extra field `_UNIQUE_KEY_QUERY` is "true".
    #[doc(alias = "QueryMessageRequestHeader")]
    pub struct QueryMessage {
        /// The topic.
        topic: String = "topic",
        /// One of the message's keys, or its unique key.
        key: String = "key",
        /// At most so many.
        max_num: i32 = "maxNum",
        /// Stored at or after, milliseconds since 1970.
        begin_timestamp: i64 = "beginTimestamp",
        /// Stored at or before.
        end_timestamp: i64 = "endTimestamp",
        /// "true" when `key` is a unique key.
        unique_key_query: Option<bool> = "_UNIQUE_KEY_QUERY",
    }

    /// Answers with the messages as they are stored.
    #[doc(alias = "QueryMessageResponseHeader")]
    pub struct QueryMessageReply {
        /// Store time of the newest message that the index knows.
        index_last_update_timestamp: i64 = "indexLastUpdateTimestamp",
        /// Its place in the commit log.
        index_last_update_phyoffset: i64 = "indexLastUpdatePhyoffset",
    }

    /// VIEW_MESSAGE_BY_ID (33): the message at this place of the commit log.
    #[doc(alias = "ViewMessageRequestHeader")]
    pub struct ViewMessage {
        /// Only newer clients send it.
        topic: Option<String> = "topic",
        /// Where the message lies in the commit log.
        offset: i64 = "offset",
    }
}

requests! {
    QueryMessage: QUERY_MESSAGE => QueryMessageReply;
    ViewMessage: VIEW_MESSAGE_BY_ID => Empty;
}
