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
mod label;
mod layer;
mod member;
mod message;
#[cfg(any(test, feature = "group-tests"))]
#[doc(hidden)]
pub mod pair_tests;
pub mod records;

#[doc(hidden)]
pub use alloc::vec::Vec;

#[doc(hidden)]
pub use cc_core;
pub use curve::Curve;
pub use error::KeyError;
pub use fingerprint::{Fingerprint, PairFingerprint};
#[cfg(any(test, feature = "group-tests"))]
#[doc(hidden)]
pub use group::tests as group_tests;
pub use group::{DEFAULT_PAST_GENERATIONS, Group, MAX_PAST_GENERATIONS};
pub use kdf::Prk;
pub use key::{DhKeyPair, DhPublicKey};
pub use label::label;
pub use member::{Encapsulated, MemberKeyPair, MemberPublicKey, Suite, SuiteOf};
pub use message::MessageKey;
#[cfg(test)]
mod seals;
