//! Key pairs of X25519 and ML-KEM together, and public keys that were checked.

use alloc::{sync::Arc, vec::Vec};
use core::fmt;

use cc_core::{Secret, SecretBytes};
use cc_root_group::{
    Curve, DhKeyPair, DhPublicKey, Encapsulated, Fingerprint, KeyError, MemberKeyPair,
    MemberPublicKey, PairFingerprint, Suite as _,
};

use crate::{
    ParameterSet,
    kem::{self, DecapsulationKey, SEED_LEN},
};

/// A private key and its public key. The private key is zeroized on drop and never printed.
pub struct HybridKeyPair {
    x25519: DhKeyPair,
    mlkem: DecapsulationKey,
    public: HybridPublicKey,
}

impl HybridKeyPair {
    /// A new key pair from the operating system's generator.
    ///
    /// # Errors
    /// [`MlKemError::Random`](KeyError::Random) when the generator fails.
    pub fn generate(set: ParameterSet) -> Result<Self, KeyError> {
        Self::from_parts(set, DhKeyPair::generate(Curve::X25519)?, Secret::random()?)
    }

    /// The key pair with this private key: the 32 bytes of X25519 (RFC 7748 section 5), and the seed
    /// `d ‖ z` of ML-KEM, 64 bytes (FIPS 203 section 7.1).
    ///
    /// # Errors
    /// [`MlKemError::PrivateKey`](KeyError::PrivateKey) for another number of bytes.
    pub fn from_private_key(set: ParameterSet, private: &[u8]) -> Result<Self, KeyError> {
        let (x25519, seed) = private.split_at_checked(32).ok_or(KeyError::PrivateKey)?;
        let x25519 = Secret::copy_from(x25519).ok_or(KeyError::PrivateKey)?;
        let x25519 = DhKeyPair::from_private_key(Curve::X25519, x25519)?;
        Self::from_parts(set, x25519, Secret::copy_from(seed).ok_or(KeyError::PrivateKey)?)
    }

    fn from_parts(
        set: ParameterSet,
        x25519: DhKeyPair,
        seed: Secret<SEED_LEN>,
    ) -> Result<Self, KeyError> {
        let mlkem = DecapsulationKey::from_seed(set, seed);
        let encoded = [mlkem.encapsulation_key().as_slice(), x25519.public_key().point()].concat();
        let public = HybridPublicKey::from_encoded(set, &encoded)?;
        Ok(Self { x25519, mlkem, public })
    }

    /// The private key, 96 bytes, as [`from_private_key`](Self::from_private_key) takes it.
    #[must_use]
    pub fn private_key(&self) -> SecretBytes {
        let mut bytes = Vec::with_capacity(32 + SEED_LEN);
        bytes.extend_from_slice(self.x25519.private_key().expose());
        bytes.extend_from_slice(self.mlkem.seed().expose());
        SecretBytes::new(bytes)
    }

    /// The public key, to be given to others.
    #[must_use]
    pub const fn public_key(&self) -> &HybridPublicKey {
        &self.public
    }

    /// What somebody has who broke the X25519 half of `public`, with an ML-KEM key of its own.
    #[cfg(test)]
    pub(crate) fn with_broken_x25519(x25519: Secret<32>, public: &HybridPublicKey) -> Self {
        let x25519 = DhKeyPair::from_private_key(Curve::X25519, x25519).unwrap();
        let mlkem = DecapsulationKey::from_seed(public.set, Secret::random().unwrap());
        Self { x25519, mlkem, public: public.clone() }
    }

    /// What somebody has who broke the ML-KEM half of the public key, with an X25519 key of its own.
    #[cfg(test)]
    pub(crate) fn with_broken_mlkem(&self) -> Self {
        let mlkem = DecapsulationKey::from_seed(self.public.set, self.mlkem.seed().duplicate());
        let x25519 = DhKeyPair::generate(Curve::X25519).unwrap();
        Self { x25519, mlkem, public: self.public.clone() }
    }

    /// The X25519 key pair.
    pub(crate) const fn x25519(&self) -> &DhKeyPair {
        &self.x25519
    }
}

impl fmt::Debug for HybridKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HybridKeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

impl MemberKeyPair for HybridKeyPair {
    type PublicKey = HybridPublicKey;

    fn generate(set: ParameterSet) -> Result<Self, KeyError> {
        Self::generate(set)
    }

    fn private_bytes(&self) -> SecretBytes {
        self.private_key()
    }

    fn from_private_bytes(set: ParameterSet, bytes: &[u8]) -> Result<Self, KeyError> {
        Self::from_private_key(set, bytes)
    }

    fn public_key(&self) -> &HybridPublicKey {
        self.public_key()
    }

    fn diffie_hellman_keys(&self) -> &DhKeyPair {
        &self.x25519
    }

    fn decapsulate(&self, ciphertext: &[u8]) -> Result<Option<Secret<32>>, KeyError> {
        self.mlkem.decapsulate(ciphertext).map(Some)
    }
}

/// A public key that was checked: an X25519 key that is canonically encoded and not of low order, and an
/// ML-KEM encapsulation key that passes the checks of FIPS 203 section 7.2.
///
/// Bytes become one only through the checks, so whatever takes a `HybridPublicKey` need not repeat them.
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct HybridPublicKey {
    set: ParameterSet,
    x25519: DhPublicKey,
    /// `encapsulation key of ML-KEM ‖ X25519 point`, in the order of X-Wing (draft-connolly-cfrg-xwing-kem).
    encoded: Arc<[u8]>,
}

impl HybridPublicKey {
    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// [`MlKemError::PublicKey`](KeyError::PublicKey) for an unknown parameter set, another length, and a
    /// key that does not pass the checks.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        Self::from_wire(bytes)
    }

    /// The key with its parameter set in front: 2 bytes, 768 or 1024, the length of the key in 2 bytes as
    /// RFC 9420 section 2.1.2 has it, the encapsulation key of ML-KEM, the point of X25519. 1220 or 1604
    /// bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_wire()
    }

    /// The parameter set.
    #[must_use]
    pub const fn parameter_set(&self) -> ParameterSet {
        self.set
    }

    /// A text for people to compare over a channel they trust.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self)
    }

    /// A text that two people compare at once: the same from both sides.
    #[must_use]
    pub fn fingerprint_with(&self, other: &Self) -> PairFingerprint {
        PairFingerprint::of(self, other)
    }

    fn encapsulation_key(&self) -> &[u8] {
        let (key, _) = self.encoded.split_at(self.set.encapsulation_key_len());
        key
    }
}

impl MemberPublicKey for HybridPublicKey {
    const LABEL: &'static str = "mlkem";
    /// Half of what a stack allows: a box of ML-KEM-1024 takes 1648 bytes.
    const MAX_MEMBERS: usize = 1 << 15;

    type Suite = ParameterSet;

    fn suite(&self) -> ParameterSet {
        self.set
    }

    fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    fn from_encoded(set: ParameterSet, bytes: &[u8]) -> Result<Self, KeyError> {
        let (mlkem, x25519) =
            bytes.split_at_checked(set.encapsulation_key_len()).ok_or(KeyError::PublicKey)?;
        let x25519 = DhPublicKey::from_point(set.curve(), x25519)?;
        if !kem::is_encapsulation_key(set, mlkem) {
            return Err(KeyError::PublicKey);
        }
        Ok(Self { set, x25519, encoded: bytes.into() })
    }

    fn diffie_hellman_key(&self) -> &DhPublicKey {
        &self.x25519
    }

    fn encapsulate(&self) -> Result<Option<Encapsulated>, KeyError> {
        kem::encapsulate(self.set, self.encapsulation_key()).map(Some)
    }
}

impl fmt::Debug for HybridPublicKey {
    /// The parameter set and the [fingerprint](Self::fingerprint): the key itself fills a page.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HybridPublicKey({}, {})", self.set, self.fingerprint())
    }
}

#[cfg(test)]
mod tests;
