#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod account;
pub mod bundle;
pub mod curve;
pub mod error;
pub mod identity;
pub mod initial_message;
pub mod kem;
pub mod limits;
pub mod prekey;
pub mod session;

mod chain_key;
mod codec;
mod entropy;
mod header;
mod kdf;
mod message_key;
mod pqxdh;
mod ratchet;
mod root_key;
mod skipped;
mod state;
mod wire;
mod x3dh;

pub use account::{Account, Agree, StagedSession};
pub use bundle::Bundle;
pub use error::Error;
pub use identity::{IdentityKey, IdentityKeyPair};
pub use initial_message::claimed_sender;
pub use limits::Limits;
pub use session::{Framing, Role, Session, StagedOpen};
