//! A broker on loopback, asked with frames as clients write them.

mod captures;
mod client;
mod clock;
mod consuming;
mod delays;
mod deleting;
mod failing_disk;
mod filtering;
mod groups;
mod refusals;
mod sending;
mod timers;
mod transactions;

use client::{Client, Running};
