//! Message keys: one per message, gone after it.

use cc_core::{Secret, key_use};
use cc_primitives::aes_gcm::AesGcm;
pub(crate) use cc_primitives::aes_gcm::TAG_LEN;

use crate::{Error, kdf::Prf};

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

    pub(crate) fn secret(&self) -> &Secret<32> {
        &self.0
    }

    /// A skipped key stays in the store until the message it opened is applied.
    pub(crate) fn duplicate(&self) -> Self {
        Self(self.0.duplicate())
    }
}

impl OneTimeKey for MessageKey {
    /// Double Ratchet section 5.2: an AEAD key by HKDF. The message key is the output of a PRF, so the
    /// expand step suffices (RFC 5869 section 3.3), and of that the first block.
    fn derive(&self, salt: &[u8]) -> Secret<32> {
        Prf::new(&self.0).finish_parts(&[INFO, salt, &[1]])
    }

    #[cfg(test)]
    fn identity(&self) -> Secret<32> {
        self.0.duplicate()
    }
}

/// The message keys of both ratchets. Using them consumes them.
#[derive(Debug)]
pub(crate) struct HybridKey {
    classical: MessageKey,
    post_quantum: MessageKey,
}

impl HybridKey {
    pub(crate) fn new(classical: MessageKey, post_quantum: MessageKey) -> Self {
        #[cfg(test)]
        tests::record_parts(&classical, &post_quantum);
        Self { classical, post_quantum }
    }
}

impl OneTimeKey for HybridKey {
    /// `KDF_HYBRID(ec_mk, pq_mk)` of the Triple Ratchet (Double Ratchet section 6), and the AEAD key of section
    /// 5.2, in one: unknown to whoever lacks one of both keys. The one-step derivation of NIST SP 800-56C
    /// revision 2 section 4.1 with option 2, HMAC-SHA256: HMAC(salt = `pq_mk`, counter 1 || Z = `ec_mk` ||
    /// FixedInfo = the message's salt and a label). With a salt of 16 bytes that is a single block.
    fn derive(&self, salt: &[u8]) -> Secret<32> {
        let counter = 1u32.to_be_bytes();
        Prf::new(&self.post_quantum.0).finish_parts(&[
            &counter,
            self.classical.0.expose(),
            salt,
            HYBRID_LABEL,
        ])
    }

    #[cfg(test)]
    fn identity(&self) -> Secret<32> {
        self.derive(b"")
    }
}

/// What one message is encrypted under. Using it consumes it.
///
/// The AEAD key that it gives encrypts no other message, so that any nonce will do: the start of the salt.
pub(crate) trait OneTimeKey: Sized {
    /// The AEAD key for a message with this salt.
    fn derive(&self, salt: &[u8]) -> Secret<32>;

    /// What tells this key from others, whatever the salt.
    #[cfg(test)]
    fn identity(&self) -> Secret<32>;

    /// Encrypts `buffer` in place and returns the tag. `salt`: 12 bytes or more.
    fn encrypt(self, salt: &[u8], aad: &[u8], buffer: &mut [u8]) -> Result<[u8; TAG_LEN], Error> {
        #[cfg(test)]
        tests::record(&self.identity());
        let key = self.derive(salt);
        let nonce = salt.first_chunk().ok_or(Error::Primitive)?;
        key_use::record("signal message", key.expose(), nonce);
        AesGcm::aes256_once(key.expose(), buffer.len())
            .seal(nonce, aad, buffer)
            .map_err(|_| Error::Primitive)
    }

    /// Decrypts `buffer` in place; on failure it is overwritten with zeros.
    fn decrypt(
        self,
        salt: &[u8],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Error> {
        let key = self.derive(salt);
        let nonce = salt.first_chunk().ok_or(Error::Primitive)?;
        AesGcm::aes256_once(key.expose(), buffer.len())
            .open(nonce, aad, buffer, tag)
            .map_err(|_| Error::Undecryptable)
    }
}

/// For a message key that was made at random for one message.
pub(crate) const NO_SALT: [u8; 12] = [0; 12];

const INFO: &[u8] = b"cc-signal/1 message";
const HYBRID_LABEL: &[u8] = b"msg";

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
    pub(super) fn record(key: &Secret<32>) {
        USED.with_borrow_mut(|used| {
            assert!(used.insert(*key.expose()), "two messages under one message key");
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

    /// RFC 5869: the first block of the expand step is the whole of it, for 32 bytes.
    #[test]
    fn a_key_alone_is_expanded_by_hkdf() {
        let key = Secret::random().unwrap();
        let expected = crate::kdf::hkdf_expand(&key, &[INFO, b"salt"]).unwrap();
        assert_eq!(MessageKey::new(key).derive(b"salt"), expected);
    }

    /// Whoever has one of the two keys, and the salt, has nothing: another one of the other makes another.
    #[test]
    fn a_hybrid_key_is_of_both_and_of_the_salt() {
        let pair = |classical: u8, post_quantum: u8| HybridKey {
            classical: MessageKey::new(Secret::copy_from(&[classical; 32]).unwrap()),
            post_quantum: MessageKey::new(Secret::copy_from(&[post_quantum; 32]).unwrap()),
        };
        let salt = [3; 16];
        let keys = [
            pair(1, 2).derive(&salt),
            pair(2, 1).derive(&salt),
            pair(1, 1).derive(&salt),
            pair(2, 2).derive(&salt),
            pair(1, 2).derive(&[4; 16]),
        ];
        for (i, a) in keys.iter().enumerate() {
            assert!(keys.iter().skip(i + 1).all(|b| a != b), "{i}");
        }
        // SP 800-56C revision 2, section 4.1, written out.
        let input = [&[0, 0, 0, 1][..], &[1; 32], &salt, b"msg"].concat();
        assert_eq!(input.len(), 55);
        let expected = Prf::new(&Secret::copy_from(&[2; 32]).unwrap()).finish(&input);
        assert_eq!(pair(1, 2).derive(&salt), expected);
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
