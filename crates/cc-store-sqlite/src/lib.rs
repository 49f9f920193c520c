#![doc = include_str!("../README.md")]

mod connection;
mod credential;
mod error;
mod file;
mod header;
mod journal;
mod options;
mod seal;
mod store;

pub use credential::Credential;
pub use options::{Durability, Options};
pub use store::SqliteStore;
