//! Looks for secrets in the memory of a process that used them and dropped everything.
//!
//! The other process is the test program again. It does what a test is about, and writes down, masked, every secret that
//! was ever there, and what others see too. Then this one reads all of its memory, and looks for 16 bytes in
//! a row of a secret that nobody else has seen. What it finds outlived its owner, on the heap or on the stack. That it
//! would be found is shown by two keys that are put there for that.
//!
//! A test program is to have an allocator that never uses memory twice. With another one it depends on what is allocated
//! later whether something is found.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    missing_debug_implementations,
    reason = "what tests are made of"
)]

mod log;
mod process;
mod search;

pub use log::{Known, Log, LoggedStore, Public, all, part, public_of};
pub use process::{answer, search_after};
pub use search::Memory;
