//! A broker on loopback, asked with frames as clients write them.

mod access;
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
mod limits;
mod measuring;
mod moving;
mod operators;
mod ordering;
mod parking;
mod programs;
mod refusals;
mod replying;
mod sending;
mod sharing;
mod tables;
mod timers;
mod transactions;

use client::{Client, Running};
use protocol::code::request as code;
