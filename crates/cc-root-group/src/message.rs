//! One message under a key of its own.

use cc_core::{Buffer, Secret, key_use, with_clean_stack};
use cc_primitives::aes_gcm::{AesGcm, NONCE_LEN, STACK, TAG_LEN};

use crate::{KeyError, kdf::Prk};

/// The key from which the keys of single messages are derived.
///
/// Every message has a random salt of 32 bytes. From its first 20 bytes and this key HKDF-Expand gives the AES-256 key of
/// the message, and its last 12 bytes are the nonce. So nobody has to count messages: 2^64 of them leave a chance of about
/// 2^-128 that two share a salt, and with it a key and a nonce. (That two share a key alone, under two nonces, has a chance
/// of 2^-33 then, and would do no harm.)
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
        let salt: [u8; SALT_LEN] = buffer.take_random()?;
        let (key, nonce) = self.derive(&salt);
        key_use::record("root message", key.expose(), &nonce);
        let tag = with_clean_stack::<STACK, _>(|| {
            AesGcm::aes256_once(key.expose(), buffer.len())
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
        let (key, nonce) = self.derive(&salt);
        with_clean_stack::<STACK, _>(|| {
            AesGcm::aes256_once(key.expose(), buffer.len())
                .open(&nonce, associated_data, buffer.as_mut_slice(), &tag)
                .map_err(|_| KeyError::Rejected)
        })
    }

    /// The key and the nonce of the message with this salt.
    fn derive(&self, salt: &[u8; SALT_LEN]) -> (Secret<32>, [u8; NONCE_LEN]) {
        let mut nonce = [0; NONCE_LEN];
        let (of_key, of_nonce) = salt.split_at(SALT_LEN - NONCE_LEN);
        nonce.copy_from_slice(of_nonce);
        (self.0.expand("message", &[of_key]), nonce)
    }
}

const SALT_LEN: usize = 32;
