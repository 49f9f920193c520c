//! The MLS layer with mls-rs: each file says what it is about.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

#[path = "../../crates/cc-mls-layer/tests/authority.rs"]
mod authority;
mod certificates;
#[path = "../../crates/cc-mls-layer/tests/common/mod.rs"]
mod common;
mod foreign;
mod interop;
mod plain;
mod plain_group;
