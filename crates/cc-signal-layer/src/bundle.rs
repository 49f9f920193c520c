//! Prekey bundles: what a server holds so that others can begin a session with us.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | 0x14 |
//! | 128 | identity |
//! | 4 + 32 + 64 | signed prekey: id, key, signature |
//! | 1 (+ 4 + 1568 + 64) | 0, or 1 and the post-quantum prekey: id, key, signature |
//! | 1 (+ 4 + 32) | 0, or 1 and the one-time prekey: id, key |
//!
//! A [`Bundle`] exists only after its signatures were verified (X3DH section 3.3, PQXDH section
//! 3.3). One-time prekeys on the curve are not signed, as in the specifications: one that a server
//! invents makes a session that nobody can open, nothing worse.

use alloc::vec::Vec;

use crate::{
    Error,
    codec::Reader,
    curve::PublicKey,
    identity::{IdentityKey, IdentityKeyPair},
    kem::{KemPublicKey, PUBLIC_LEN},
    wire,
};

/// A verified prekey bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    pub(crate) identity: IdentityKey,
    pub(crate) signed_prekey: SignedPrekey,
    pub(crate) kem_prekey: Option<KemPrekey>,
    pub(crate) one_time_prekey: Option<OneTimePrekey>,
}

impl Bundle {
    /// The length of the longest bundle.
    pub const MAX_LEN: usize =
        1 + IdentityKey::LEN + (4 + 32 + 64) + 1 + (4 + PUBLIC_LEN + 64) + 1 + (4 + 32);

    /// Decodes a bundle and verifies every signature in it.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`], [`Error::Malformed`], [`Error::InvalidKey`] or
    /// [`Error::InvalidSignature`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        wire::expect(reader.u8()?, wire::BUNDLE)?;
        let identity = IdentityKey::read(&mut reader)?;
        let signed_prekey = SignedPrekey {
            id: reader.u32()?,
            key: PublicKey::from_bytes(reader.array()?)?,
            signature: reader.array()?,
        };
        signed_prekey.verify(&identity)?;
        let kem_prekey = if reader.flag()? {
            let prekey = KemPrekey {
                id: reader.u32()?,
                key: KemPublicKey::from_bytes(reader.take(PUBLIC_LEN)?)?,
                signature: reader.array()?,
            };
            prekey.verify(&identity)?;
            Some(prekey)
        } else {
            None
        };
        let one_time_prekey = if reader.flag()? {
            Some(OneTimePrekey { id: reader.u32()?, key: PublicKey::from_bytes(reader.array()?)? })
        } else {
            None
        };
        reader.finish()?;
        Ok(Self { identity, signed_prekey, kem_prekey, one_time_prekey })
    }

    /// The encoding, at most [`Bundle::MAX_LEN`] bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::MAX_LEN);
        bytes.push(wire::BUNDLE);
        bytes.extend_from_slice(&self.identity.to_bytes());
        bytes.extend_from_slice(&self.signed_prekey.id.to_be_bytes());
        bytes.extend_from_slice(self.signed_prekey.key.as_bytes());
        bytes.extend_from_slice(&self.signed_prekey.signature);
        bytes.push(u8::from(self.kem_prekey.is_some()));
        if let Some(prekey) = &self.kem_prekey {
            bytes.extend_from_slice(&prekey.id.to_be_bytes());
            bytes.extend_from_slice(prekey.key.as_bytes());
            bytes.extend_from_slice(&prekey.signature);
        }
        bytes.push(u8::from(self.one_time_prekey.is_some()));
        if let Some(prekey) = &self.one_time_prekey {
            bytes.extend_from_slice(&prekey.id.to_be_bytes());
            bytes.extend_from_slice(prekey.key.as_bytes());
        }
        bytes
    }

    /// Whose bundle it is.
    #[must_use]
    pub fn identity(&self) -> &IdentityKey {
        &self.identity
    }

    /// Whether it has one-time keys and so is for one session only.
    #[must_use]
    pub fn is_one_time(&self) -> bool {
        self.one_time_prekey.is_some()
    }

    /// Whether it has a post-quantum prekey.
    #[must_use]
    pub fn is_post_quantum(&self) -> bool {
        self.kem_prekey.is_some()
    }
}

/// A signed prekey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignedPrekey {
    pub(crate) id: u32,
    pub(crate) key: PublicKey,
    signature: [u8; 64],
}

impl SignedPrekey {
    pub(crate) fn sign(identity: &IdentityKeyPair, id: u32, key: PublicKey) -> Self {
        let signature = identity.sign(SIGNED_PREKEY, &[&id.to_be_bytes(), key.as_bytes()]);
        Self { id, key, signature }
    }

    fn verify(&self, identity: &IdentityKey) -> Result<(), Error> {
        let message: [&[u8]; 2] = [&self.id.to_be_bytes(), self.key.as_bytes()];
        identity.verify(SIGNED_PREKEY, &message, &self.signature)
    }
}

/// A signed post-quantum prekey, one-time or last-resort: the initiator need not know which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KemPrekey {
    pub(crate) id: u32,
    pub(crate) key: KemPublicKey,
    signature: [u8; 64],
}

impl KemPrekey {
    pub(crate) fn sign(identity: &IdentityKeyPair, id: u32, key: KemPublicKey) -> Self {
        let signature = identity.sign(KEM_PREKEY, &[&id.to_be_bytes(), key.as_bytes()]);
        Self { id, key, signature }
    }

    fn verify(&self, identity: &IdentityKey) -> Result<(), Error> {
        let message: [&[u8]; 2] = [&self.id.to_be_bytes(), self.key.as_bytes()];
        identity.verify(KEM_PREKEY, &message, &self.signature)
    }
}

/// A one-time prekey on the curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OneTimePrekey {
    pub(crate) id: u32,
    pub(crate) key: PublicKey,
}

const SIGNED_PREKEY: &[u8] = b"signed prekey X25519";
const KEM_PREKEY: &[u8] = b"signed prekey ML-KEM-1024";
