//! How a handler answers.

use bytes::Bytes;
use protocol::code::response;
use protocol::command;
use protocol::request::{Header, Malformed};
use std::fs::File;
use std::sync::Arc;

/// What follows a response's header.
#[derive(Debug, Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// Bytes in memory.
    Bytes(Bytes),
    /// Parts of files and bytes, one behind the other; what lies in files goes to the socket without passing through
    /// our memory.
    Parts(Vec<Part>),
}

/// A piece of a body.
#[derive(Debug, Clone)]
pub enum Part {
    /// Bytes in memory.
    Bytes(Bytes),
    /// `length` bytes of `file` from `offset` on; they must not change until they are sent.
    File {
        /// Open for reading.
        file: Arc<File>,
        /// Where in it.
        offset: u64,
        /// How many bytes.
        length: usize,
    },
}

impl Part {
    pub(crate) fn len(&self) -> usize {
        match self {
            Part::Bytes(bytes) => bytes.len(),
            Part::File { length, .. } => *length,
        }
    }
}

impl Body {
    /// Its size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Body::Empty => 0,
            Body::Bytes(bytes) => bytes.len(),
            Body::Parts(parts) => parts.iter().map(Part::len).sum(),
        }
    }

    /// True when nothing follows the header.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body::Bytes(bytes.into())
    }
}

/// An answer: code, fields, body. `SUCCESS` unless said otherwise.
#[derive(Debug)]
pub struct Answer<H> {
    /// Response code.
    pub code: i32,
    /// Text for people.
    pub remark: Option<String>,
    /// The reply's fields.
    pub header: H,
    /// What follows.
    pub body: Body,
    /// It acknowledges something that must be written first, see [`Answer::behind_write`].
    behind_write: bool,
}

impl<H> Answer<H> {
    /// A success with these fields.
    pub fn new(header: H) -> Answer<H> {
        Answer { code: response::SUCCESS, remark: None, header, body: Body::Empty, behind_write: false }
    }

    /// With another code, and the text that goes with it.
    pub fn with_code(mut self, code: i32, remark: impl Into<String>) -> Answer<H> {
        self.code = code;
        self.remark = Some(remark.into());
        self
    }

    /// Leaves only when `Router::before_replies` has succeeded behind it; if that fails, its refusal leaves instead.
    pub fn behind_write(mut self) -> Answer<H> {
        self.behind_write = true;
        self
    }

    /// With a body.
    pub fn with_body(mut self, body: impl Into<Body>) -> Answer<H> {
        self.body = body.into();
        self
    }
}

impl<H> From<H> for Answer<H> {
    fn from(header: H) -> Answer<H> {
        Answer::new(header)
    }
}

/// A refusal: a code, and a sentence that says what happened, to what, and what helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{remark} (code {code})")]
pub struct Reject {
    /// Response code.
    pub code: i32,
    /// The sentence.
    pub remark: String,
}

impl Reject {
    /// Refuses with this code and sentence.
    pub fn new(code: i32, remark: impl Into<String>) -> Reject {
        Reject { code, remark: remark.into() }
    }

    /// Something on our side went wrong.
    pub fn system_error(remark: impl Into<String>) -> Reject {
        Reject::new(response::SYSTEM_ERROR, remark)
    }

    /// We don't do this yet. The sentence names what is missing.
    pub fn not_supported(remark: impl Into<String>) -> Reject {
        Reject::new(response::REQUEST_CODE_NOT_SUPPORTED, remark)
    }
}

impl From<Malformed> for Reject {
    fn from(malformed: Malformed) -> Reject {
        Reject::new(malformed.code(), malformed.to_string())
    }
}

/// A response that is ready to go, still without its request's `opaque`.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) head: command::Response,
    pub(crate) body: Body,
    pub(crate) behind_write: bool,
}

impl<H: Header> From<Answer<H>> for Response {
    fn from(answer: Answer<H>) -> Response {
        let mut head = command::Response { code: answer.code, remark: answer.remark, ..Default::default() };
        answer.header.write_fields(&mut head.fields);
        Response { head, body: answer.body, behind_write: answer.behind_write }
    }
}

impl From<Reject> for Response {
    fn from(reject: Reject) -> Response {
        let head = command::Response { code: reject.code, remark: Some(reject.remark), ..Default::default() };
        Response { head, body: Body::Empty, behind_write: false }
    }
}
