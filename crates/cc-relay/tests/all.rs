//! The tests of the relay: each file says what it is about.
//! One program, because each takes as long to build as all of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod access;
mod common;
mod engines;
mod floods;
mod following;
mod limits;
#[cfg(unix)]
mod process;
mod requests;
mod slow;
mod sqlite;
mod throughput;
mod tls;
