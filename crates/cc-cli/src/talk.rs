//! Conversations: a profile, a session on it, and the commands for scripts.

pub(crate) mod commands;
pub(crate) mod error;
pub(crate) mod journal;
pub(crate) mod link;
mod network;
pub(crate) mod profile;
pub(crate) mod session;
mod share;
pub(crate) mod show;
mod uploads;
