//! The store on a disk that fails and a machine that loses power. SQLite's file system is replaced by
//! one that does as a test tells it, for this whole program.
//!
//! The tests that are random print a seed for each round: `CC_FAULTS_SEED` is the first one, and
//! `CC_FAULTS_ROUNDS` says how many there are. A seed repeats what was done and after how many operations
//! the power went. Which records share a page is new each time, for their names are hidden under a new key.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod disk;
mod errors;
mod model;
mod power;
mod random;
mod upgrade;
