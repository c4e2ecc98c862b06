//! Request codes and response codes: one number space in a frame's `code`, told apart by its response bit.
//!
//! Java: `org.apache.rocketmq.remoting.protocol.RequestCode` and `ResponseCode`.

/// What a request asks for.
#[doc(alias = "RequestCode")]
pub mod request {
    macro_rules! codes {
        ($($name:ident = $code:literal,)*) => {
            $(#[allow(missing_docs)] pub const $name: i32 = $code;)*
            /// RocketMQ's name of a request code, for messages to people.
            pub fn name(code: i32) -> Option<&'static str> {
                match code { $($code => Some(stringify!($name)),)* _ => None }
            }
        };
    }
    codes! {
        SEND_MESSAGE = 10,
        PULL_MESSAGE = 11,
        QUERY_MESSAGE = 12,
        QUERY_CONSUMER_OFFSET = 14,
        UPDATE_CONSUMER_OFFSET = 15,
        UPDATE_AND_CREATE_TOPIC = 17,
        SEARCH_OFFSET_BY_TIMESTAMP = 29,
        GET_MAX_OFFSET = 30,
        GET_MIN_OFFSET = 31,
        GET_EARLIEST_MSG_STORETIME = 32,
        VIEW_MESSAGE_BY_ID = 33,
        HEART_BEAT = 34,
        UNREGISTER_CLIENT = 35,
        CONSUMER_SEND_MSG_BACK = 36,
        END_TRANSACTION = 37,
        GET_CONSUMER_LIST_BY_GROUP = 38,
        CHECK_TRANSACTION_STATE = 39,
        NOTIFY_CONSUMER_IDS_CHANGED = 40,
        LOCK_BATCH_MQ = 41,
        UNLOCK_BATCH_MQ = 42,
        CHECK_CLIENT_CONFIG = 46,
        PUT_KV_CONFIG = 100,
        GET_KV_CONFIG = 101,
        DELETE_KV_CONFIG = 102,
        REGISTER_BROKER = 103,
        UNREGISTER_BROKER = 104,
        GET_ROUTEINFO_BY_TOPIC = 105,
        GET_BROKER_CLUSTER_INFO = 106,
        GET_ALL_TOPIC_LIST_FROM_NAMESERVER = 206,
        SEND_MESSAGE_V2 = 310,
        SEND_BATCH_MESSAGE = 320,
        QUERY_DATA_VERSION = 322,
        SEND_REPLY_MESSAGE = 324,
        SEND_REPLY_MESSAGE_V2 = 325,
        LITE_PULL_MESSAGE = 361,
    }
}

/// How a request ended.
#[doc(alias = "ResponseCode")]
pub mod response {
    macro_rules! codes {
        ($($name:ident = $code:literal,)*) => {
            $(#[allow(missing_docs)] pub const $name: i32 = $code;)*
            /// RocketMQ's name of a response code, for messages to people.
            pub fn name(code: i32) -> Option<&'static str> {
                match code { $($code => Some(stringify!($name)),)* _ => None }
            }
        };
    }
    codes! {
        SUCCESS = 0,
        SYSTEM_ERROR = 1,
        SYSTEM_BUSY = 2,
        REQUEST_CODE_NOT_SUPPORTED = 3,
        FLUSH_DISK_TIMEOUT = 10,
        SLAVE_NOT_AVAILABLE = 11,
        FLUSH_SLAVE_TIMEOUT = 12,
        MESSAGE_ILLEGAL = 13,
        SERVICE_NOT_AVAILABLE = 14,
        NO_PERMISSION = 16,
        TOPIC_NOT_EXIST = 17,
        PULL_NOT_FOUND = 19,
        PULL_RETRY_IMMEDIATELY = 20,
        PULL_OFFSET_MOVED = 21,
        QUERY_NOT_FOUND = 22,
        SUBSCRIPTION_PARSE_FAILED = 23,
        SUBSCRIPTION_NOT_EXIST = 24,
        SUBSCRIPTION_NOT_LATEST = 25,
        SUBSCRIPTION_GROUP_NOT_EXIST = 26,
        INVALID_PARAMETER = 29,
    }
}
