//! Message keys: one per message, gone after it.

use cc_core::{Secret, key_use};
use cc_primitives::aes_gcm::AesGcm;
pub(crate) use cc_primitives::aes_gcm::TAG_LEN;

use crate::{Error, kdf};

/// The 32-byte message key `mk`. Using it consumes it.
///
/// What encrypts is derived from it and from a *salt*: random bytes of the message that travel with it. An
/// old copy of a state that is put back reaches the same `mk` a second time, with another salt, and so
/// encrypts under another key.
#[derive(Debug)]
pub(crate) struct MessageKey(Secret<32>);

impl MessageKey {
    pub(crate) fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    /// `KDF_HYBRID(ec_mk, pq_mk)` of the Triple Ratchet (Double Ratchet section 6): unknown to whoever lacks one
    /// of both. The extract step of HKDF-SHA256, under the post-quantum key; [`MessageKey::encrypt`] expands it.
    pub(crate) fn hybrid(classical: &Self, post_quantum: &Self) -> Self {
        #[cfg(test)]
        tests::record_parts(classical, post_quantum);
        Self(kdf::Prf::new(&post_quantum.0).finish(classical.0.expose()))
    }

    /// Encrypts `buffer` in place and returns the tag. `salt`: 12 bytes or more.
    pub(crate) fn encrypt(
        self,
        salt: &[u8],
        aad: &[u8],
        buffer: &mut [u8],
    ) -> Result<[u8; TAG_LEN], Error> {
        #[cfg(test)]
        tests::record(&self);
        let (key, nonce) = self.derive(salt)?;
        key_use::record("signal message", key.expose(), &nonce);
        AesGcm::aes256_once(key.expose(), buffer.len())
            .seal(&nonce, aad, buffer)
            .map_err(|_| Error::Primitive)
    }

    /// Decrypts `buffer` in place; on failure it is overwritten with zeros.
    pub(crate) fn decrypt(
        self,
        salt: &[u8],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Error> {
        let (key, nonce) = self.derive(salt)?;
        AesGcm::aes256_once(key.expose(), buffer.len())
            .open(&nonce, aad, buffer, tag)
            .map_err(|_| Error::Undecryptable)
    }

    pub(crate) fn secret(&self) -> &Secret<32> {
        &self.0
    }

    /// A skipped key stays in the store until the message it opened is applied.
    pub(crate) fn duplicate(&self) -> Self {
        Self(self.0.duplicate())
    }

    /// Double Ratchet section 5.2: an AEAD key by HKDF. The message key is the output of a PRF, so the
    /// expand step suffices. The key is never used again, so any nonce will do: the start of the salt.
    fn derive(&self, salt: &[u8]) -> Result<(Secret<32>, [u8; 12]), Error> {
        let nonce = *salt.first_chunk().ok_or(Error::Primitive)?;
        Ok((kdf::hkdf_expand(&self.0, &[INFO, salt])?, nonce))
    }
}

/// For a message key that was made at random for one message.
pub(crate) const NO_SALT: [u8; 12] = [0; 12];

const INFO: &[u8] = b"cc-signal/1 message";

#[cfg(test)]
pub(crate) mod tests {
    use std::{cell::RefCell, collections::HashSet};

    use super::*;

    std::thread_local! {
        static USED: RefCell<HashSet<[u8; 32]>> = RefCell::default();
        static PARTS: RefCell<HashSet<[u8; 32]>> = RefCell::default();
    }

    /// The keys of both ratchets that a message key was made of are remembered, where it is used.
    pub(super) fn record_parts(classical: &MessageKey, post_quantum: &MessageKey) {
        PARTS.with_borrow_mut(|parts| {
            parts.extend([*classical.0.expose(), *post_quantum.0.expose()]);
        });
    }

    /// The keys of the two ratchets of all messages that were sealed or opened in this thread.
    pub(crate) fn ratchet_keys() -> HashSet<[u8; 32]> {
        PARTS.with_borrow(HashSet::clone)
    }

    /// Every key that encrypts in a test is remembered: encrypting twice under one is a failure
    /// of whatever test did it.
    pub(super) fn record(key: &MessageKey) {
        USED.with_borrow_mut(|used| {
            assert!(used.insert(*key.0.expose()), "two messages under one message key");
        });
    }

    /// How many keys have encrypted in this thread.
    pub(crate) fn used() -> usize {
        USED.with_borrow(HashSet::len)
    }

    /// The keys that have encrypted in this thread.
    pub(crate) fn keys() -> HashSet<[u8; 32]> {
        USED.with_borrow(HashSet::clone)
    }

    /// Forgets some keys, under which nothing has left.
    pub(crate) fn forgive(keys: impl IntoIterator<Item = [u8; 32]>) {
        USED.with_borrow_mut(|used| keys.into_iter().for_each(|key| assert!(used.remove(&key))));
    }

    /// Forgets the keys of this thread, for a test that repeats a fixed transcript on purpose.
    pub(crate) fn forget() {
        USED.with_borrow_mut(HashSet::clear);
    }

    #[test]
    #[should_panic(expected = "two messages under one message key")]
    fn the_collector_sees_a_repeated_key() {
        let key = MessageKey::new(Secret::random().unwrap());
        key.duplicate().encrypt(&NO_SALT, &[], &mut [1]).unwrap();
        key.encrypt(&NO_SALT, &[], &mut [2]).unwrap();
    }

    #[test]
    fn a_failed_decrypt_leaves_nothing() {
        let key = MessageKey::new(Secret::random().unwrap());
        let mut buffer = *b"text";
        let salt = [7; 12];
        let tag = key.duplicate().encrypt(&salt, b"ad", &mut buffer).unwrap();
        let sealed = buffer;
        for (salt, ad) in [(salt, &b"other"[..]), (NO_SALT, b"ad")] {
            buffer = sealed;
            let opened = key.duplicate().decrypt(&salt, ad, &mut buffer, &tag);
            assert_eq!(opened, Err(Error::Undecryptable));
            assert_eq!(buffer, [0; 4]);
        }
        buffer = sealed;
        key.decrypt(&salt, b"ad", &mut buffer, &tag).unwrap();
        assert_eq!(&buffer, b"text");
    }
}
