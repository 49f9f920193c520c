#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod random;
mod secret;

pub use random::RandomError;
pub use secret::{Secret, SecretBytes};
