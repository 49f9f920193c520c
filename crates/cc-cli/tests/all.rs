//! The tests of the program: each file says what it is about.
//! One program, because each takes as long to build as all of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod book;
mod chat;
mod common;
mod devices;
mod files;
mod interrupted;
mod memory;
mod shell;
mod talk;
mod terminal;
mod uploads;
