//! A broker on loopback, asked with frames as clients write them.

mod auditing;
mod captures;
mod client;
mod clock;
mod consuming;
mod delays;
mod deleting;
mod duplicates;
mod failing_disk;
mod filtering;
mod groups;
mod life;
mod measuring;
mod moving;
mod operators;
mod ordering;
mod programs;
mod refusals;
mod replying;
mod sending;
mod tables;
mod timers;
mod transactions;

use client::{Client, Running};
use protocol::code::request as code;
