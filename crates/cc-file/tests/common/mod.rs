//! Files to test with.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "tests use what they need, and stop where it fails"
)]

use std::io::{Read, Write};

use cc_aes_layer::{Argon2Params, Password};
use cc_file::{Encryptor, FileError, Header, Identity, KeyKind};

pub(crate) const CHUNK_LEN: usize = 64 << 10;
pub(crate) const SEALED_LEN: usize = CHUNK_LEN + 16;

pub(crate) fn identity() -> Identity {
    Identity::generate(KeyKind::X25519).unwrap()
}

/// A passphrase that costs as little as one may.
pub(crate) fn passphrase(text: &str) -> Password {
    Password::new(text).unwrap().with_params(Argon2Params::LEAST)
}

pub(crate) fn plaintext(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251).to_le_bytes()[0] ^ (i >> 16).to_le_bytes()[0]).collect()
}

pub(crate) fn encrypt(encryptor: &Encryptor, plaintext: &[u8]) -> Vec<u8> {
    let mut writer = encryptor.writer(Vec::new()).unwrap();
    writer.write_all(plaintext).unwrap();
    writer.finish().unwrap()
}

pub(crate) fn encrypt_to(identity: &Identity, plaintext: &[u8]) -> Vec<u8> {
    encrypt(&Encryptor::new().recipient(identity.recipient().clone()), plaintext)
}

/// What came out, and how it ended.
pub(crate) fn decrypt(
    mut file: &[u8],
    identities: &[Identity],
    passphrase: Option<&Password>,
) -> (Vec<u8>, Result<(), FileError>) {
    let mut out = Vec::new();
    let result = (|| {
        let key = Header::read(&mut file)?.unlock(identities, passphrase)?;
        key.reader(file)?.read_to_end(&mut out)?;
        Ok(())
    })();
    (out, result)
}

pub(crate) fn header_len(mut file: &[u8]) -> usize {
    let len = file.len();
    Header::read(&mut file).unwrap();
    len - file.len()
}
