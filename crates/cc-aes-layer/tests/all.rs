//! The tests of the AES layer: each file says what it is about.
//! One program, because each takes as long to build as all of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod chunks;
mod key_uses;
mod layer;
mod password;
mod store;
mod stream;
mod wire;
