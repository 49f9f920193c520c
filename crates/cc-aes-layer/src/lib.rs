#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod aes128;
mod chunks;
mod error;
mod gcm;
mod key;
mod layer;
mod mode;
mod pair_keys;
mod password;
mod state;
mod stream;
mod stream_cipher;
mod xaes;

pub use chunks::{CHUNK_TAG_LEN, ChunkOpener, ChunkSeal, ChunkSealer, STREAM_HEADER_LEN};
pub use error::AesError;
#[cfg(feature = "std")]
pub use error::StreamError;
pub use key::{AesKey, Algorithm};
pub use layer::AesLayer;
pub use pair_keys::AesPairKeys;
pub use password::{Argon2Params, PASSWORD_SALT_LEN, Password};
pub use stream::{
    CHUNK_LEN, MAX_STREAM_LEN, SEALED_CHUNK_LEN, StreamKey, StreamOpener, StreamSealer,
};
#[cfg(feature = "std")]
pub use stream::{decrypt_stream, encrypt_stream};
pub use xaes::Xaes256Gcm;
