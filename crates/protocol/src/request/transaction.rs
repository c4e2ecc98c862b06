//! Transactions: how they end, and who is asked.

use super::{Empty, headers, requests};

headers! {
    /// END_TRANSACTION (37), mostly oneway: commit or roll back.
    #[doc(alias = "EndTransactionRequestHeader")]
    pub struct EndTransaction {
        /// Whose transaction it is.
        producer_group: String = "producerGroup",
        /// Queue offset of the half message.
        offset: i64 = "tranStateTableOffset",
        /// Its place in the commit log.
        commit_log_offset: i64 = "commitLogOffset",
        /// The transaction type of `message::SysFlag`: 8 commit, 12 roll back, 0 the producer does not know.
        commit_or_rollback: i32 = "commitOrRollback",
        /// It answers a [`CheckTransactionState`].
        from_check: Option<bool> = "fromTransactionCheck",
        /// For people only.
        message_id: Option<String> = "msgId",
        /// For people only.
        transaction_id: Option<String> = "transactionId",
    }

    /// CHECK_TRANSACTION_STATE (39), from server to a producer, oneway: how did this end? The body is the half message as
    /// a record, with the topic and queue where it belongs. It is answered with an [`EndTransaction`].
    #[doc(alias = "CheckTransactionStateRequestHeader")]
    pub struct CheckTransactionState {
        /// Where the message belongs.
        topic: Option<String> = "topic",
        /// Queue offset of the half message.
        offset: i64 = "tranStateTableOffset",
        /// Its place in the commit log.
        commit_log_offset: i64 = "commitLogOffset",
        /// The message's unique key.
        message_id: Option<String> = "msgId",
        /// The same.
        transaction_id: Option<String> = "transactionId",
        /// The half message's own id.
        offset_message_id: Option<String> = "offsetMsgId",
        /// Who asks.
        broker_name: Option<String> = "bname",
    }

    /// RESUME_CHECK_HALF_MESSAGE (323): takes up again a transaction that was given up.
    #[doc(alias = "ResumeCheckHalfMessageRequestHeader")]
    pub struct ResumeCheckHalfMessage {
        /// The id of its message in `TRANS_CHECK_MAX_TIME_TOPIC`.
        message_id: String = "msgId",
    }
}

requests! {
    EndTransaction: END_TRANSACTION => Empty;
    CheckTransactionState: CHECK_TRANSACTION_STATE => Empty;
    ResumeCheckHalfMessage: RESUME_CHECK_HALF_MESSAGE => Empty;
}
