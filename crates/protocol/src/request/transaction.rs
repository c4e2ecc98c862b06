//! Transactions: how they end, and who is asked.

use super::{Empty, headers, requests};
use serde::{Deserialize, Serialize};

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

    /// LIST_TRANSACTIONS (90000), ours alone: those that wait for their end, or were given up. Answered with a body of
    /// [`OpenTransactions`].
    pub struct ListTransactions {
        /// From this queue offset on: of the half topic, or of `TRANS_CHECK_MAX_TIME_TOPIC`.
        from: i64 = "from",
        /// At most so many, and never more than 1,000.
        max: i32 = "max",
        /// Those that were given up.
        parked: bool = "parked",
    }

    /// RESOLVE_TRANSACTION (90001), ours alone: ends a transaction in its producer's place.
    pub struct ResolveTransaction {
        /// Queue offset of its half message.
        offset: i64 = "offset",
        /// Its message is delivered; else it never is.
        commit: bool = "commit",
    }
}

/// The answer to [`ListTransactions`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OpenTransactions {
    /// In the order in which they lie in their queue.
    pub transactions: Vec<OpenTransaction>,
}

/// A transaction that waits for its end, or was given up, as an operator sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OpenTransaction {
    /// Queue offset of its half message, or of what was given up in `TRANS_CHECK_MAX_TIME_TOPIC`.
    pub offset: i64,
    /// The message id of what lies there: where it is stored.
    pub offset_message_id: String,
    /// Where its message would be delivered.
    pub topic: String,
    /// The group of producers that is asked.
    pub producer_group: String,
    /// Its message's unique key.
    pub transaction_id: String,
    /// When its producer made it, in ms since 1970.
    pub born: i64,
    /// How often producers were asked.
    pub checks: u32,
}

requests! {
    EndTransaction: END_TRANSACTION => Empty;
    CheckTransactionState: CHECK_TRANSACTION_STATE => Empty;
    ResumeCheckHalfMessage: RESUME_CHECK_HALF_MESSAGE => Empty;
    ListTransactions: LIST_TRANSACTIONS => Empty;
    ResolveTransaction: RESOLVE_TRANSACTION => Empty;
}
