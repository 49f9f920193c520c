//! The tests of the client: each file says what it is about.
//! One program, because each takes as long to build as all of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod access;
mod attachments;
mod common;
mod content;
mod conversation;
mod forwarding;
mod hostile_network;
mod mail;
mod names;
mod operations;
mod order;
mod packages;
mod people;
mod policies;
mod positions;
mod queue;
mod recipes;
mod runs;
mod transfer;
mod views;
