#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod curve;
mod error;
mod fingerprint;
mod group;
mod hpke;
mod kdf;
mod key;
mod layer;
mod message;
mod pairwise;
#[cfg(test)]
mod restarts;
mod root;
mod roster;
#[cfg(test)]
mod scenarios;
mod store;
mod wire;

pub use curve::Curve;
pub use error::DhError;
pub use fingerprint::{Fingerprint, PairFingerprint};
pub use group::{DEFAULT_PAST_GENERATIONS, MAX_PAST_GENERATIONS};
pub use key::{DhKeyPair, DhPublicKey};
pub use layer::DhLayer;
