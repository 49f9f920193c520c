//! What is left in the memory of a process that sealed, opened, and dropped everything.
//!
//! The other process is this program again. It runs a conversation, and writes down, masked, every record
//! that was ever in its stores, and what went over the wire. Then this one reads all of its memory, and
//! looks for 16 bytes in a row of a record that nobody else has seen. What it finds is a secret that
//! outlived its owner, on the heap or on the stack. That it would be found is shown by two keys that are
//! put there for that.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;
mod conversation;
mod log;
mod process;
mod search;

use process::search_after;

#[test]
fn aes_leaves_nothing() {
    assert_eq!(search_after("aes"), [""; 0]);
}

#[test]
fn aes_under_a_password_leaves_nothing() {
    assert_eq!(search_after("aes password"), [""; 0]);
}

#[test]
fn aes_streams_leave_nothing() {
    assert_eq!(search_after("aes stream"), [""; 0]);
}

#[test]
fn a_dh_pair_leaves_nothing() {
    assert_eq!(search_after("dh pair"), [""; 0]);
}

#[test]
fn a_dh_group_leaves_nothing() {
    assert_eq!(search_after("dh group"), [""; 0]);
}

#[test]
fn a_signal_pair_leaves_nothing_on_the_heap() {
    assert_eq!(off_the_stack(search_after("signal pair")), [""; 0]);
}

#[test]
fn mls_leaves_nothing_on_the_heap() {
    assert_eq!(off_the_stack(search_after("mls")), [""; 0]);
}

#[test]
fn a_sqlite_store_leaves_nothing() {
    assert_eq!(search_after("sqlite"), [""; 0]);
}

/// Where a layer is known to leave something on the stack, which docs/security.md says.
fn off_the_stack(mut found: Vec<String>) -> Vec<String> {
    found.retain(|found| !found.ends_with("in the stack"));
    found
}

/// Not a test: the other process.
#[test]
fn part() {
    process::part();
}
