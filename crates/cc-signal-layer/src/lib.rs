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
pub mod layer;
pub mod limits;
pub mod pair_keys;
pub mod pair_layer;
pub mod prekey;
pub mod safety_number;
pub mod sender_key;
pub mod sender_keys;
pub mod session;
pub mod sessions;
pub mod settings;

mod braid;
mod chain_key;
mod clock;
mod codec;
mod entropy;
mod group;
mod header;
mod kdf;
mod ledger;
mod message_key;
mod pqxdh;
mod ratchet;
mod root_key;
mod scrub;
mod seen;
mod skipped;
mod spqr;
mod state;
mod wire;
mod x3dh;

pub use account::{Account, Agree, StagedSession};
pub use bundle::Bundle;
pub use error::Error;
pub use identity::{IdentityKey, IdentityKeyPair};
pub use initial_message::claimed_sender;
pub use layer::SignalLayer;
pub use limits::Limits;
pub use pair_keys::SignalPairKeys;
pub use pair_layer::SignalPairLayer;
pub use safety_number::SafetyNumber;
pub use sender_key::{ReceiverChain, SenderChain, StagedReceive};
pub use sender_keys::{SenderKeys, StagedGroupOpen};
pub use session::{Framing, Role, Session, StagedOpen};
pub use sessions::{Sessions, Staged};
pub use settings::SignalSettings;

#[cfg(test)]
mod tests;
