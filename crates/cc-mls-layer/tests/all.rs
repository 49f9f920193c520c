//! The tests of this layer: each file says what it is about.
//! One program, because each takes as long to build as all of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod authority;
mod clocks;
mod comeback;
mod common;
mod context;
mod credentials;
mod format;
mod key_packages;
mod key_uses;
mod leaf_data;
mod life;
mod matrix;
mod model;
mod network;
mod rejection;
mod removed;
mod restart;
mod rollback;
mod stored;
mod update;
mod welcome;
