#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod aes_gcm;
mod backend;
pub mod ed25519;
#[cfg(feature = "hpke")]
pub mod hpke;
pub mod p256;
pub mod x25519;
#[cfg(feature = "hpke")]
mod x_wing;

pub use backend::Backend;
