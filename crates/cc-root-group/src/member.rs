//! What the group needs of a member's keys. A layer has a kind of its own: a Diffie-Hellman key pair alone,
//! or one with a key encapsulation mechanism (KEM) beside it.

use alloc::vec::Vec;
use core::fmt;

use cc_core::{Secret, SecretBytes};
use sha2::{Digest, Sha256};

use crate::{Curve, DhKeyPair, DhPublicKey, KeyError, codec, label::label};

/// The parameters of a kind of key. All members of a group have the same.
pub trait Suite: Copy + Eq + fmt::Debug + Send + Sync + 'static {
    /// The number that keys on the wire and records in a store carry.
    fn id(self) -> u16;

    /// The suite with this [`id`](Self::id).
    fn from_id(id: u16) -> Option<Self>;

    /// The curve of the Diffie-Hellman keys.
    fn curve(self) -> Curve;

    /// Bytes of an [encoded](MemberPublicKey::encoded) public key: less than 2^14.
    fn public_key_len(self) -> usize;

    /// Bytes of a ciphertext of the KEM; 0 where there is none.
    fn ciphertext_len(self) -> usize;
}

/// A member's long-lived key pair.
pub trait MemberKeyPair: Sized + Send + 'static {
    /// Its public key.
    type PublicKey: MemberPublicKey;

    /// A new key pair from the operating system's generator.
    ///
    /// # Errors
    /// [`KeyError::Random`] when the generator fails.
    fn generate(suite: SuiteOf<Self>) -> Result<Self, KeyError>;

    /// The private key, as [`from_private_bytes`](Self::from_private_bytes) takes it.
    fn private_bytes(&self) -> SecretBytes;

    /// The key pair with this private key.
    ///
    /// # Errors
    /// [`KeyError::PrivateKey`] for bytes that are none.
    fn from_private_bytes(suite: SuiteOf<Self>, bytes: &[u8]) -> Result<Self, KeyError>;

    /// The public key.
    fn public_key(&self) -> &Self::PublicKey;

    /// The Diffie-Hellman key pair, by which a sender authenticates itself.
    fn diffie_hellman_keys(&self) -> &DhKeyPair;

    /// The secret that [`MemberPublicKey::encapsulate`] put into `ciphertext`; `None` where there is no KEM.
    ///
    /// # Errors
    /// [`KeyError::Rejected`] for a ciphertext of another length. One that nobody made for this key gives a
    /// secret that nobody knows (implicit rejection).
    fn decapsulate(&self, ciphertext: &[u8]) -> Result<Option<Secret<32>>, KeyError>;
}

/// The suites of a kind of key pair.
pub type SuiteOf<K> = <<K as MemberKeyPair>::PublicKey as MemberPublicKey>::Suite;

/// A member's public key. It was checked when it was made, and is cheap to clone.
pub trait MemberPublicKey: Clone + Eq + fmt::Debug + Send + Sync + 'static {
    /// A short name of the kind, which goes into every derivation and digest.
    const LABEL: &'static str;

    /// The most members that a group with such keys has: with more, a commit that removes somebody would be
    /// longer than [`MAX_PART_LEN`](cc_core::limits::MAX_PART_LEN).
    const MAX_MEMBERS: usize;

    /// The parameters that it may have.
    type Suite: Suite;

    /// The parameters.
    fn suite(&self) -> Self::Suite;

    /// The bytes of the key, [`Suite::public_key_len`] of them.
    fn encoded(&self) -> &[u8];

    /// The key with these bytes.
    ///
    /// # Errors
    /// [`KeyError::PublicKey`] for bytes that are no key, or not the only encoding of one.
    fn from_encoded(suite: Self::Suite, bytes: &[u8]) -> Result<Self, KeyError>;

    /// The Diffie-Hellman key.
    fn diffie_hellman_key(&self) -> &DhPublicKey;

    /// A fresh secret for the holder of the private key; `None` where there is no KEM.
    ///
    /// # Errors
    /// [`KeyError::Random`] when the generator fails.
    fn encapsulate(&self) -> Result<Option<Encapsulated>, KeyError>;

    /// The key with its suite in front: the [suite's id](Suite::id) in 2 bytes, the length of the key as
    /// RFC 9420 section 2.1.2 has it, the key.
    fn to_wire(&self) -> Vec<u8> {
        let id = self.suite().id().to_be_bytes();
        let (len, prefix_len) = codec::short_len(self.encoded().len());
        let (prefix, _) = len.split_at(prefix_len);
        [&id, prefix, self.encoded()].concat()
    }

    /// Reads what [`to_wire`](Self::to_wire) wrote.
    ///
    /// # Errors
    /// [`KeyError::PublicKey`] for anything else.
    fn from_wire(bytes: &[u8]) -> Result<Self, KeyError> {
        let (id, rest) = bytes.split_first_chunk().ok_or(KeyError::PublicKey)?;
        let suite = Self::Suite::from_id(u16::from_be_bytes(*id)).ok_or(KeyError::PublicKey)?;
        let (len, prefix_len) = codec::short_len(suite.public_key_len());
        let (prefix, _) = len.split_at(prefix_len);
        Self::from_encoded(suite, rest.strip_prefix(prefix).ok_or(KeyError::PublicKey)?)
    }

    /// The digest of the suite and the key that goes into the member id.
    fn commitment(&self) -> [u8; 32] {
        Sha256::new()
            .chain_update(label(Self::LABEL, "commitment"))
            .chain_update(self.to_wire())
            .finalize()
            .into()
    }
}

/// A secret on its way to the holder of a private key.
#[derive(Debug)]
pub struct Encapsulated {
    /// The secret.
    pub secret: Secret<32>,
    /// What its holder makes the secret of. Public.
    pub ciphertext: Vec<u8>,
}

/// What a reader needs of the sender's public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) key: DhPublicKey,
    /// The digest of the whole key, where it is more than `key`.
    pub(crate) digest: Option<[u8; 32]>,
}

impl Sender {
    pub(crate) fn of<P: MemberPublicKey>(key: &P) -> Self {
        let digest = (key.suite().ciphertext_len() > 0).then(|| digest(key));
        Self { key: *key.diffie_hellman_key(), digest }
    }

    pub(crate) fn encoded_len(suite: impl Suite) -> usize {
        suite.curve().public_key_len() + if suite.ciphertext_len() > 0 { 32 } else { 0 }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [self.key.point(), self.digest.as_ref().map_or(&[], |digest| digest)].concat()
    }

    pub(crate) fn from_bytes(suite: impl Suite, bytes: &[u8]) -> Result<Self, KeyError> {
        let (point, digest) =
            bytes.split_at_checked(suite.curve().public_key_len()).ok_or(KeyError::Rejected)?;
        let key = DhPublicKey::from_point(suite.curve(), point).map_err(|_| KeyError::Rejected)?;
        let digest = match (digest, suite.ciphertext_len()) {
            ([], 0) => None,
            (digest, 1..) => Some(digest.try_into().map_err(|_| KeyError::Rejected)?),
            _ => return Err(KeyError::Rejected),
        };
        Ok(Self { key, digest })
    }
}

/// The digest of a public key of which only one part takes part in a computation.
pub(crate) fn digest<P: MemberPublicKey>(key: &P) -> [u8; 32] {
    Sha256::new()
        .chain_update(label(P::LABEL, "public key"))
        .chain_update(key.to_wire())
        .finalize()
        .into()
}

impl Suite for Curve {
    fn id(self) -> u16 {
        self.id()
    }

    fn from_id(id: u16) -> Option<Self> {
        Self::from_id(id)
    }

    fn curve(self) -> Self {
        self
    }

    fn public_key_len(self) -> usize {
        self.public_key_len()
    }

    fn ciphertext_len(self) -> usize {
        0
    }
}

impl MemberKeyPair for DhKeyPair {
    type PublicKey = DhPublicKey;

    fn generate(curve: Curve) -> Result<Self, KeyError> {
        Self::generate(curve)
    }

    fn private_bytes(&self) -> SecretBytes {
        SecretBytes::new(self.private_key().expose().to_vec())
    }

    fn from_private_bytes(curve: Curve, bytes: &[u8]) -> Result<Self, KeyError> {
        Self::from_private_key(curve, Secret::copy_from(bytes).ok_or(KeyError::PrivateKey)?)
    }

    fn public_key(&self) -> &DhPublicKey {
        self.public_key()
    }

    fn diffie_hellman_keys(&self) -> &DhKeyPair {
        self
    }

    fn decapsulate(&self, ciphertext: &[u8]) -> Result<Option<Secret<32>>, KeyError> {
        if ciphertext.is_empty() { Ok(None) } else { Err(KeyError::Rejected) }
    }
}

impl MemberPublicKey for DhPublicKey {
    const LABEL: &'static str = "dh";
    const MAX_MEMBERS: usize = cc_core::limits::MAX_MEMBERS;

    type Suite = Curve;

    fn suite(&self) -> Curve {
        self.curve()
    }

    fn encoded(&self) -> &[u8] {
        self.point()
    }

    fn from_encoded(curve: Curve, bytes: &[u8]) -> Result<Self, KeyError> {
        Self::from_point(curve, bytes)
    }

    fn diffie_hellman_key(&self) -> &DhPublicKey {
        self
    }

    fn encapsulate(&self) -> Result<Option<Encapsulated>, KeyError> {
        Ok(None)
    }
}
