//! What is left in the memory of a process that sealed, opened, and dropped everything: `src/lib.rs` says how that is
//! known.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod client;
mod files;
mod layers;

use cc_client::Recipe;
use cc_memory::{Log, search_after};
use static_alloc::Bump;

/// Never uses memory twice: what was freed stays as it was, until it is searched.
#[global_allocator]
static HEAP: Bump<[u8; 1 << 30]> = Bump::uninit();

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
fn an_mlkem_pair_leaves_nothing_on_the_heap() {
    assert_eq!(off_the_stack(search_after("mlkem pair")), [""; 0]);
}

#[test]
fn an_mlkem_group_leaves_nothing_on_the_heap() {
    assert_eq!(off_the_stack(search_after("mlkem group")), [""; 0]);
}

#[test]
fn a_signal_group_leaves_nothing_on_the_heap() {
    assert_eq!(off_the_stack(search_after("signal group")), [""; 0]);
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
fn a_client_leaves_nothing_on_the_heap() {
    assert_eq!(off_the_stack(search_after("client")), [""; 0]);
}

#[test]
fn a_client_of_five_layers_leaves_nothing_on_the_heap() {
    assert_eq!(off_the_stack(search_after("paranoid client")), [""; 0]);
}

#[test]
fn files_leave_nothing_on_the_heap() {
    assert_eq!(search_after("files"), [""; 0]);
}

#[test]
fn a_sqlite_store_leaves_nothing() {
    assert_eq!(search_after("sqlite"), [""; 0]);
}

/// Where a layer is known to leave something on the stack, which docs/security.md says.
fn off_the_stack(mut found: Vec<String>) -> Vec<String> {
    found.retain(|found| !found.ends_with(", stack"));
    found
}

/// Not a test: the other process.
#[test]
fn part() {
    cc_memory::answer(run);
}

fn run(name: &str, log: &Log) {
    match name {
        "client" => client::run(log, Recipe::group()),
        "paranoid client" => client::run(log, Recipe::paranoid()),
        "files" => files::run(log),
        layer => layers::run(layer, log),
    }
}
