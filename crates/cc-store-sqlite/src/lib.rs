#![doc = include_str!("../README.md")]

mod connection;
mod credential;
mod digest;
mod error;
mod file;
mod header;
mod history;
mod identity;
mod journal;
mod options;
mod seal;
mod store;

pub use credential::Credential;
pub use options::{Durability, Options};
pub use store::SqliteStore;
