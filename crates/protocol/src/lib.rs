//! The bytes that RocketMQ fixed: messages, frames, codes, headers and bodies.
//!
//! Nothing here opens a socket, reads a file or asks a clock.

pub mod admin;
pub mod audit;
pub mod auth;
pub mod body;
pub mod code;
pub mod command;
pub mod duplicates;
pub mod group;
pub mod heartbeat;
pub mod json;
pub mod life;
pub mod logging;
pub mod message;
pub mod metrics;
pub mod nearest;
pub mod properties;
pub mod record;
pub mod request;
pub mod route;
pub mod sql92;
pub mod subscription;
pub mod topic;
pub mod trace;
