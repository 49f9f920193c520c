#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod kem;
mod key;
mod layer;
mod pair_keys;
mod pairwise;
mod parameters;
mod settings;

pub use cc_root_group::{
    DEFAULT_PAST_GENERATIONS, Fingerprint, KeyError as MlKemError, MAX_PAST_GENERATIONS,
    PairFingerprint,
};
pub use key::{HybridKeyPair, HybridPublicKey};
pub use layer::MlKemLayer;
pub use pair_keys::MlKemPairKeys;
pub use pairwise::{DEFAULT_PAST_EPOCHS, MAX_PAST_EPOCHS, MAX_UNCONFIRMED_EPOCHS, Schedule, Setup};
pub use parameters::ParameterSet;
pub use settings::MlKemSettings;
#[cfg(test)]
mod seals;
