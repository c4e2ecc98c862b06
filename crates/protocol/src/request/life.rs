//! The life of a message.

use super::{Empty, headers, requests};

headers! {
    /// MESSAGE_LIFE (90030): what became of a message. The body of the answer is
    /// [`MessageLives`](crate::life::MessageLives) as JSON.
    pub struct QueryMessageLife {
        /// The topic to which it was sent; not needed with the id of a stored record.
        topic: Option<String> = "topic",
        /// The id of a stored record (`SendResult.getOffsetMsgId()`), or the unique key (`SendResult.getMsgId()`).
        message_id: Option<String> = "msgId",
        /// One of its keys, when no id is given.
        key: Option<String> = "key",
        /// At most so many messages; without, 32.
        max_num: Option<i32> = "maxNum",
    }
}

requests! {
    QueryMessageLife: MESSAGE_LIFE => Empty;
}
