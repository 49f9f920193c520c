//! One message under a key of its own.

use cc_core::{Buffer, Secret, key_use, random, with_clean_stack};
use cc_primitives::aes_gcm::{AesGcm, STACK, TAG_LEN};

use crate::{KeyError, kdf::Prk};

/// The key from which the keys of single messages are derived.
///
/// Every message has a random salt of 32 bytes, from which and this key HKDF-Expand gives an AES-256
/// key and a nonce that are used once. So nobody has to count messages: 2^64 of them leave a chance of
/// about 2^-128 that two share a salt, and with it a key and a nonce.
#[derive(Debug)]
pub struct MessageKey(Prk);

impl MessageKey {
    /// The key of a layer of this kind, as in [`label`](crate::label).
    #[must_use]
    pub const fn new(kind: &'static str, key: Secret<32>) -> Self {
        Self(Prk::new(kind, key))
    }

    /// To be stored.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// Makes of the buffer's content `salt ‖ AES-256-GCM ciphertext ‖ tag`: 48 bytes more.
    ///
    /// # Errors
    /// [`KeyError::Random`] when the generator fails.
    pub fn seal(&self, associated_data: &[u8], buffer: &mut Buffer) -> Result<(), KeyError> {
        let salt: [u8; SALT_LEN] = random::array()?;
        let derived = self.derive(&salt);
        let (key, nonce) = derived.expose().split_at(KEY_LEN);
        key_use::record("root message", key, nonce);
        let tag = with_clean_stack::<STACK, _>(|| {
            let (cipher, nonce) = cipher(&derived, buffer.len())?;
            cipher
                .seal(&nonce, associated_data, buffer.as_mut_slice())
                .map_err(|_| KeyError::Internal)
        })?;
        buffer.append(&tag);
        buffer.prepend(&salt);
        Ok(())
    }

    /// The reverse of [`seal`](Self::seal).
    ///
    /// # Errors
    /// [`KeyError::Rejected`] for anything that was not sealed with this key and `associated_data`.
    pub fn open(&self, associated_data: &[u8], buffer: &mut Buffer) -> Result<(), KeyError> {
        let salt = buffer.take_front::<SALT_LEN>().ok_or(KeyError::Rejected)?;
        let tag = buffer.take_back::<TAG_LEN>().ok_or(KeyError::Rejected)?;
        let derived = self.derive(&salt);
        with_clean_stack::<STACK, _>(|| {
            let (cipher, nonce) = cipher(&derived, buffer.len())?;
            cipher
                .open(&nonce, associated_data, buffer.as_mut_slice(), &tag)
                .map_err(|_| KeyError::Rejected)
        })
    }

    /// `key[32] ‖ nonce[12]`
    fn derive(&self, salt: &[u8; SALT_LEN]) -> Secret<44> {
        self.0.expand("message", &[salt])
    }
}

/// The cipher for one message of this length, and its nonce.
fn cipher(derived: &Secret<44>, message_len: usize) -> Result<(AesGcm, [u8; 12]), KeyError> {
    let (key, nonce) = derived.expose().split_first_chunk().ok_or(KeyError::Internal)?;
    let nonce = nonce.first_chunk().ok_or(KeyError::Internal)?;
    Ok((AesGcm::aes256_once(key, message_len), *nonce))
}

const SALT_LEN: usize = 32;
const KEY_LEN: usize = 32;
