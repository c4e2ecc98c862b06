//! Takes messages in, hands them out.

pub mod config;
pub mod properties;
