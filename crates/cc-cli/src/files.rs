//! The commands on files.

pub(crate) mod decrypt;
pub(crate) mod encrypt;
pub(crate) mod fingerprint;
mod input;
pub(crate) mod inspect;
pub(crate) mod keygen;
mod keys;
pub(crate) mod output;
pub(crate) mod passphrase;
mod progress;
pub(crate) mod signals;
mod terminal;
