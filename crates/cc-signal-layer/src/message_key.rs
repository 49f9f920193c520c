//! Message keys: one per message, gone after it.

use aes_gcm::{
    AesGcm, Key, Nonce, Tag,
    aead::{AeadInOut, KeyInit, consts::U12},
};
use cc_core::{Secret, key_use};

use crate::{Error, kdf};

/// AES-256-GCM without the key schedule for decrypting blocks, which GCM never does.
type Aead = AesGcm<aes::Aes256Enc, U12>;

/// The length of the authentication tag.
pub(crate) const TAG_LEN: usize = 16;

/// The 32-byte message key `mk`. Using it consumes it.
#[derive(Debug)]
pub(crate) struct MessageKey(Secret<32>);

impl MessageKey {
    pub(crate) fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    /// Encrypts `buffer` in place and returns the tag.
    pub(crate) fn encrypt(self, aad: &[u8], buffer: &mut [u8]) -> Result<[u8; TAG_LEN], Error> {
        #[cfg(test)]
        tests::record(&self);
        // The nonce is the key's own.
        key_use::record("signal message", self.0.expose(), &[]);
        let (aead, nonce) = self.expand()?;
        aead.encrypt_inout_detached(&nonce, aad, buffer.into())
            .map(Into::into)
            .map_err(|_| Error::Primitive)
    }

    /// Decrypts `buffer` in place; on failure it is left as it was.
    pub(crate) fn decrypt(
        self,
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Error> {
        let (aead, nonce) = self.expand()?;
        aead.decrypt_inout_detached(&nonce, aad, buffer.into(), &Tag::from(*tag))
            .map_err(|_| Error::Undecryptable)
    }

    pub(crate) fn secret(&self) -> &Secret<32> {
        &self.0
    }

    /// A skipped key stays in the store until the message it opened is applied.
    pub(crate) fn duplicate(&self) -> Self {
        Self(self.0.duplicate())
    }

    /// Double Ratchet section 5.2: an AEAD key and a nonce by HKDF. The message key is the output
    /// of a PRF, so the expand step suffices.
    fn expand(&self) -> Result<(Aead, Nonce<U12>), Error> {
        let okm = kdf::hkdf_expand::<44>(&self.0, INFO)?;
        let (key, nonce) = okm.split_first_chunk::<32>().ok_or(Error::Primitive)?;
        let nonce = Nonce::<U12>::try_from(nonce).map_err(|_| Error::Primitive)?;
        Ok((Aead::new(<&Key<Aead>>::from(key)), nonce))
    }
}

const INFO: &[u8] = b"cc-signal/1 message";

#[cfg(test)]
pub(crate) mod tests {
    use std::{cell::RefCell, collections::HashSet};

    use super::*;

    std::thread_local! {
        static USED: RefCell<HashSet<[u8; 32]>> = RefCell::default();
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
        key.duplicate().encrypt(&[], &mut [1]).unwrap();
        key.encrypt(&[], &mut [2]).unwrap();
    }

    #[test]
    fn a_failed_decrypt_leaves_the_buffer() {
        let key = MessageKey::new(Secret::random().unwrap());
        let mut buffer = *b"text";
        let tag = key.duplicate().encrypt(b"ad", &mut buffer).unwrap();
        let sealed = buffer;
        assert_eq!(key.duplicate().decrypt(b"other", &mut buffer, &tag), Err(Error::Undecryptable));
        assert_eq!(buffer, sealed);
        key.decrypt(b"ad", &mut buffer, &tag).unwrap();
        assert_eq!(&buffer, b"text");
    }
}
