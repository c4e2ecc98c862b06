//! A broker on loopback, asked with frames as clients write them.

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
mod refusals;
mod sending;
mod transactions;

use client::{Client, Running};
