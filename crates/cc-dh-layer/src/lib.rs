#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod codec;
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
mod records;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod scenarios;

pub use curve::Curve;
pub use error::DhError;
pub use fingerprint::{Fingerprint, PairFingerprint};
pub use group::{DEFAULT_PAST_GENERATIONS, MAX_PAST_GENERATIONS};
pub use key::{DhKeyPair, DhPublicKey};
pub use layer::DhLayer;
