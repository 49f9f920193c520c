//! The tests of the manager: each file says what it is about.
//! One program, because each takes as long to build as all of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod common;
mod contract;
mod copies;
mod epochs;
mod errors;
mod exporter;
mod fixture;
mod group;
mod key_uses;
mod mlkem;
mod observer;
mod pair;
mod properties;
mod proposals;
mod receive;
mod restack;
mod restage;
mod rollback;
mod signal_pair;
mod signal_stack;
mod signal_thief;
mod sqlite;
mod stack;
mod store;
mod tampering;
mod wire_format;
