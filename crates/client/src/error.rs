//! What can go wrong, and whether trying again may help.

use protocol::code::response;
use remoting::client::RequestError;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name servers know no broker for the topic.
    #[error(
        "no route for topic `{topic}`: name server {namesrv} does not know it; create it or set autoCreateTopicEnable=true on a broker"
    )]
    NoRoute {
        /// Which topic.
        topic: String,
        /// Who was asked.
        namesrv: String,
    },
    /// The topic is there, but nobody takes messages for it.
    #[error("topic `{topic}` can't be sent to: no broker that holds it is a master and lets it be written")]
    NotWritable {
        /// Which topic.
        topic: String,
    },
    /// None of the name servers answers; this is what the last one did.
    #[error("no name server of `{namesrv}` answers: {source}")]
    NoNameServer {
        /// Who was asked.
        namesrv: String,
        /// How the last one failed.
        source: RequestError,
    },
    /// A server refused, or could not be reached, or did not answer.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// An answer's body is not what it should be.
    #[error("{address} answered with a body that can't be read: {reason}")]
    Answer {
        /// Who answered.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The message can't be sent as it is.
    #[error("the message can't be sent: {0}")]
    Message(String),
    /// What was asked for can't be.
    #[error("{0}")]
    Settings(String),
}

impl Error {
    /// True when the same call may succeed later, without anything changed. A send may have been carried out all the
    /// same when its answer got lost: a message that is sent again may then be there twice.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::NoRoute { .. } | Error::NotWritable { .. } | Error::NoNameServer { .. } => true,
            Error::Request(RequestError::Refused { code, .. }) => may_pass(*code),
            Error::Request(RequestError::Malformed { .. }) => false,
            Error::Request(_) => true,
            Error::Answer { .. } | Error::Message(_) | Error::Settings(_) => false,
        }
    }

    /// The response code, when a server refused.
    pub fn code(&self) -> Option<i32> {
        match self {
            Error::Request(request) => request.code(),
            Error::NoNameServer { source, .. } => source.code(),
            _ => None,
        }
    }
}

/// Codes that Java's producers retry on another broker: what this one refuses, another one may take.
#[doc(alias = "retryResponseCodes")]
pub(crate) fn may_pass(code: i32) -> bool {
    /// Unit mode, which we name only here.
    const NO_BUYER_ID: i32 = 204;
    const NOT_IN_CURRENT_UNIT: i32 = 205;
    matches!(
        code,
        response::SYSTEM_ERROR
            | response::SYSTEM_BUSY
            | response::SERVICE_NOT_AVAILABLE
            | response::NO_PERMISSION
            | response::TOPIC_NOT_EXIST
            | NO_BUYER_ID
            | NOT_IN_CURRENT_UNIT
            | GO_AWAY
    )
}

/// A broker that shuts down asks its clients to connect anew.
pub(crate) const GO_AWAY: i32 = 1500;
