#![doc = include_str!("../README.md")]

mod armor;
mod chunk_io;
mod encryptor;
mod error;
mod file_key;
mod header;
mod hpke;
mod key;
mod key_file;
mod layout;
#[cfg(feature = "parallel")]
mod parallel;
mod range;
mod reader;
mod stanza;
mod writer;

pub use armor::{ArmorReader, ArmorWriter, MaybeArmored};
pub use encryptor::Encryptor;
pub use error::FileError;
pub use file_key::FileKey;
pub use header::Header;
pub use key::{Identity, KeyKind, Recipient};
pub use key_file::{parse_identities, parse_recipients};
pub use layout::{Layers, MAGIC, MAX_RECIPIENTS, VERSION, plaintext_len};
pub use range::RangeReader;
pub use reader::FileReader;
pub use writer::FileWriter;
