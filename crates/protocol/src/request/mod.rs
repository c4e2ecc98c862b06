//! Requests and their replies: one file per family, one struct per request, naming its codes and its reply.
//!
//! Each struct holds what Java calls the custom header: the fields that travel as `extFields`. A field that is no
//! `Option` must be there; without it the request is refused with a sentence. Unknown fields are ignored.

pub mod admin;
pub mod audit;
pub mod auth;
pub mod client;
pub mod duplicates;
pub mod filter;
pub mod group;
pub mod life;
pub mod offset;
pub mod order;
pub mod pull;
pub mod query;
pub mod route;
pub mod send;
pub mod timer;
pub mod topic;
pub mod transaction;

use crate::code::response;
use crate::command::{Command, ExtFields, Fields};
use std::sync::Arc;

/// A request: its codes, its header fields, its reply.
pub trait Request: Sized {
    /// The codes under which it travels; the first is the one that we send.
    const CODES: &'static [i32];
    /// What answers it.
    type Reply: Header;

    /// Reads the header of a request with one of [`Request::CODES`].
    fn read(command: &Command) -> Result<Self, Malformed>;

    /// Writes the header into a new request.
    fn write(&self) -> Command;
}

/// Fields that travel as `extFields`.
pub trait Header: Sized {
    /// Reads them; refuses when one that must be there is not, or is no number where one is needed.
    fn read_fields(ext: &ExtFields) -> Result<Self, Malformed>;

    /// Adds them.
    fn write_fields(&self, fields: &mut impl Fields);
}

/// No fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Empty {}

impl Header for Empty {
    fn read_fields(_: &ExtFields) -> Result<Empty, Malformed> {
        Ok(Empty {})
    }

    fn write_fields(&self, _: &mut impl Fields) {}
}

/// Why a header can't be used. The connection is fine; the request is answered with this text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A field that must be there is not.
    #[error("header field `{0}` is missing")]
    Missing(&'static str),
    /// A field does not have the type that it must have.
    #[error("header field `{field}` is `{value}`, which is no {expected}")]
    Value {
        /// Its name.
        field: &'static str,
        /// What was sent, at most 64 characters of it.
        value: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A code whose struct this is not.
    #[error("code {0} has another header")]
    Code(i32),
}

impl Malformed {
    /// The response code for it.
    pub fn code(&self) -> i32 {
        response::SYSTEM_ERROR
    }
}

/// A field's type.
pub trait Field: Sized {
    /// Reads the text of the field `key`, if it was sent.
    fn read(key: &'static str, text: Option<&str>) -> Result<Self, Malformed>;

    /// Adds it under `key`; an absent one adds nothing.
    fn write(&self, key: &str, fields: &mut impl Fields);
}

impl Field for String {
    fn read(key: &'static str, text: Option<&str>) -> Result<String, Malformed> {
        text.map(str::to_owned).ok_or(Malformed::Missing(key))
    }

    fn write(&self, key: &str, fields: &mut impl Fields) {
        fields.push_str(key, self);
    }
}

impl Field for Arc<str> {
    fn read(key: &'static str, text: Option<&str>) -> Result<Arc<str>, Malformed> {
        text.map(Arc::from).ok_or(Malformed::Missing(key))
    }

    fn write(&self, key: &str, fields: &mut impl Fields) {
        fields.push_str(key, self);
    }
}

fn number(text: &str) -> Option<i64> {
    /// As many digits never overflow.
    const DIGITS: usize = 18;
    let mut number = 0;
    for byte in text.bytes() {
        if text.len() > DIGITS || !byte.is_ascii_digit() {
            return text.parse().ok();
        }
        number = number * 10 + i64::from(byte - b'0');
    }
    Some(number)
}

macro_rules! number_field {
    ($($type:ty => $expected:literal),*) => {$(
        impl Field for $type {
            fn read(key: &'static str, text: Option<&str>) -> Result<$type, Malformed> {
                let text = text.filter(|text| !text.is_empty()).ok_or(Malformed::Missing(key))?;
                number(text).and_then(|number| number.try_into().ok()).ok_or_else(|| Malformed::Value {
                    field: key,
                    value: text.chars().take(64).collect(),
                    expected: $expected,
                })
            }

            fn write(&self, key: &str, fields: &mut impl Fields) {
                fields.push_number(key, i64::from(*self));
            }
        }
    )*};
}
number_field!(i32 => "32-bit number", i64 => "64-bit number", u32 => "32-bit number that is not negative");

impl Field for bool {
    /// As Java's `Boolean.parseBoolean`, but `1`, which C++ clients write, is true as well.
    fn read(key: &'static str, text: Option<&str>) -> Result<bool, Malformed> {
        let text = text.ok_or(Malformed::Missing(key))?;
        Ok(text.eq_ignore_ascii_case("true") || text == "1")
    }

    fn write(&self, key: &str, fields: &mut impl Fields) {
        fields.push_str(key, if *self { "true" } else { "false" });
    }
}

impl<T: Field> Field for Option<T> {
    fn read(key: &'static str, text: Option<&str>) -> Result<Option<T>, Malformed> {
        match T::read(key, text) {
            Ok(value) => Ok(Some(value)),
            Err(Malformed::Missing(_)) => Ok(None),
            Err(malformed) => Err(malformed),
        }
    }

    fn write(&self, key: &str, fields: &mut impl Fields) {
        if let Some(value) = self {
            value.write(key, fields);
        }
    }
}

/// Declares header structs: `field: Type = "nameOnTheWire"`.
macro_rules! headers {
    ($($(#[$doc:meta])* pub struct $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $key:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $crate::request::Header for $name {
            fn read_fields(_ext: &$crate::command::ExtFields) -> Result<$name, $crate::request::Malformed> {
                Ok($name { $($field: $crate::request::Field::read($key, _ext.get($key))?,)* })
            }

            fn write_fields(&self, _fields: &mut impl $crate::command::Fields) {
                $($crate::request::Field::write(&self.$field, $key, _fields);)*
            }
        }
    )*};
}
pub(crate) use headers;

/// Says which codes a header struct belongs to, and what answers it.
macro_rules! requests {
    ($($name:ty: $($code:ident)|+ => $reply:ty;)*) => {$(
        impl $crate::request::Request for $name {
            const CODES: &'static [i32] = &[$($crate::code::request::$code),+];
            type Reply = $reply;

            fn read(command: &$crate::command::Command) -> Result<$name, $crate::request::Malformed> {
                $crate::request::Header::read_fields(&command.ext)
            }

            fn write(&self) -> $crate::command::Command {
                let mut command = $crate::command::Command::request(Self::CODES[0]);
                $crate::request::Header::write_fields(self, &mut command.ext);
                command
            }
        }
    )*};
}
pub(crate) use requests;
