//! Which keys and nonces encrypted, so that tests see whether any did twice.
//!
//! A layer calls [`record`] wherever a sender encrypts, with the key and nonce of the cipher, or with the
//! key alone where that is to encrypt only once. This does nothing. With the feature `record-key-uses` it
//! appends to a list of the calling thread, from `start` to `take`, and only there:
//!
//! ```text
//! digest = SHA-256(length (8) || what || SHA-256(key) || length (8) || nonce)
//! ```
//!
//! The list has digests and no keys. The feature is for tests, to be enabled by a dev-dependency. Not every
//! use in the list is one under which something left: what was sealed may have been thrown away. Only who
//! hands it out can tell.

use core::fmt;

#[cfg(feature = "record-key-uses")]
mod recorder;

#[cfg(feature = "record-key-uses")]
pub use recorder::{KeyUse, start, take};

/// `key` encrypts under `nonce`, which is empty where the key is never to encrypt again. `what` is the
/// cipher, or what it is for: equal keys of different ciphers are not compared.
#[inline]
pub fn record(what: &'static str, key: &[u8], nonce: &[u8]) {
    KeyName::of(key).record(what, nonce);
}

/// A key that is to [`record`] its uses, for a cipher that no longer has the key itself then. Empty unless
/// it was made while the thread recorded.
pub struct KeyName(recorder::Name);

impl KeyName {
    /// The name of `key`.
    #[inline]
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(recorder::Name::of(key))
    }

    /// As [`record`] with the key that this is the name of.
    #[inline]
    pub fn record(&self, what: &'static str, nonce: &[u8]) {
        self.0.record(what, nonce);
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyName(..)")
    }
}

#[cfg(not(feature = "record-key-uses"))]
mod recorder {
    pub(super) struct Name;

    impl Name {
        #[inline]
        pub(super) const fn of(_: &[u8]) -> Self {
            Self
        }

        #[inline]
        pub(super) const fn record(&self, _: &'static str, _: &[u8]) {}
    }
}
