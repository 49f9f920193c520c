//! The tests of encrypted files: each file says what it is about.
//! One program, because each takes as long to build as all of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod common;
mod damage;
mod layers;
mod round_trip;
mod vectors;
