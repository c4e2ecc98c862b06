//! The bytes that RocketMQ fixed: messages, frames, codes, headers and bodies.
//!
//! Nothing here opens a socket, reads a file or asks a clock.

pub mod message;
pub mod record;
pub mod command;
pub mod code;
pub mod request;
pub mod topic;
pub mod subscription;
pub mod route;
pub mod heartbeat;
pub mod json;
