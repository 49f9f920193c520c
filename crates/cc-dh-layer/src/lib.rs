#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod layer;
mod pair_keys;
mod pairwise;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod scenarios;

pub use cc_root_group::{
    Curve, DEFAULT_PAST_GENERATIONS, DhKeyPair, DhPublicKey, Fingerprint, KeyError as DhError,
    MAX_PAST_GENERATIONS, PairFingerprint,
};
pub use layer::DhLayer;
pub use pair_keys::DhPairKeys;
