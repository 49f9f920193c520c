//! What the group knows of a member: its identity, and the keys that its latest commit brought.
//!
//! | bytes | what |
//! |---|---|
//! | 128 | identity |
//! | 32 | prekey (X25519) |
//! | 1568 | post-quantum prekey (ML-KEM-1024) |
//! | 32 | sender key (Ed25519), which verifies the member's messages |
//! | 64 | signature of the identity over the member's id and the three keys |
//!
//! The two prekeys are the member's signed bundle of PQXDH (section 2.3), for the commits of others.
//! A member replaces all three keys in each commit of its own. The private keys are of this group
//! alone, and are deleted as soon as their successors are in force: a commit is of one epoch, so no
//! later one can need them.

use alloc::{boxed::Box, vec::Vec};

use cc_core::{MemberId, Secret};
use cc_primitives::ed25519::{SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::{
    Error, IdentityKey, IdentityKeyPair,
    codec::{Reader, Writer},
    curve::{KeyPair, PublicKey},
    entropy::{Entropy, System},
    kem::{KemKeyPair, KemPublicKey, PUBLIC_LEN},
    scrub::scrubbed,
};

/// The public keys of a member. They exist only after their signature was verified.
pub(super) struct MemberKeys {
    identity: IdentityKey,
    prekeys: Prekeys,
    sender: VerifyingKey,
    signature: [u8; 64],
    digest: [u8; 32],
}

/// The private keys behind them, but for the identity.
pub(super) struct MemberSecrets {
    pub(super) prekeys: PrekeyPair,
    /// On the heap, so that moving it leaves no copy.
    pub(super) sender: SigningKey,
}

/// Two public keys that a secret is sealed to. 1600 bytes.
pub(super) struct Prekeys {
    pub(super) curve: PublicKey,
    /// Checked. The expanded key would be six times as long.
    kem: Box<[u8; PUBLIC_LEN]>,
}

/// The private keys of [`Prekeys`].
pub(super) struct PrekeyPair {
    pub(super) curve: KeyPair,
    pub(super) kem: KemKeyPair,
}

impl MemberKeys {
    pub(super) const LEN: usize = IdentityKey::LEN + Prekeys::LEN + 32 + 64;

    pub(super) fn identity(&self) -> &IdentityKey {
        &self.identity
    }

    pub(super) fn prekeys(&self) -> &Prekeys {
        &self.prekeys
    }

    pub(super) fn sender(&self) -> &VerifyingKey {
        &self.sender
    }

    /// SHA-256 of the encoding.
    pub(super) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.encode_unsigned();
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Reads the encoding and verifies that the member with this id signed it.
    pub(super) fn read(reader: &mut Reader<'_>, id: &MemberId) -> Result<Self, Error> {
        let keys = Self {
            identity: IdentityKey::read(reader)?,
            prekeys: Prekeys::read(reader)?,
            sender: verifying_key(&reader.array()?)?,
            signature: reader.array()?,
            digest: [0; 32],
        };
        let (curve, kem) = (keys.prekeys.curve.as_bytes(), &keys.prekeys.kem[..]);
        let message: [&[u8]; 4] = [id.as_bytes(), curve, kem, keys.sender.as_bytes()];
        keys.identity.verify(MEMBER_KEYS, &message, &keys.signature)?;
        Ok(keys.with_digest())
    }

    fn encode_unsigned(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::LEN);
        bytes.extend_from_slice(&self.identity.to_bytes());
        self.prekeys.write(&mut bytes);
        bytes.extend_from_slice(self.sender.as_bytes());
        bytes
    }

    fn with_digest(self) -> Self {
        let digest = Sha256::new()
            .chain_update(b"cc-signal/1 member keys")
            .chain_update(self.encode_unsigned())
            .chain_update(self.signature)
            .finalize();
        Self { digest: digest.into(), ..self }
    }
}

impl MemberSecrets {
    pub(super) fn generate() -> Result<Self, Error> {
        Ok(Self { prekeys: PrekeyPair::generate()?, sender: signing_key(&System.secret()?) })
    }

    /// The public keys, signed as those of `id`.
    pub(super) fn sign(&self, identity: &IdentityKeyPair, id: &MemberId) -> MemberKeys {
        let (prekeys, sender) = (self.prekeys.public(), self.sender.verifying_key());
        let message: [&[u8]; 4] =
            [id.as_bytes(), prekeys.curve.as_bytes(), &prekeys.kem[..], sender.as_bytes()];
        let signature = identity.sign(MEMBER_KEYS, &message);
        let identity = *identity.public();
        MemberKeys { identity, prekeys, sender, signature, digest: [0; 32] }.with_digest()
    }

    /// 128 bytes.
    pub(super) fn write(&self, writer: &mut Writer) {
        self.prekeys.write(writer);
        writer.put(self.sender.seed().expose());
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self { prekeys: PrekeyPair::read(reader)?, sender: signing_key(&reader.secret()?) })
    }

    /// Whether these are the private keys of `keys`.
    pub(super) fn fit(&self, keys: &MemberKeys) -> bool {
        self.sender.public_key() == *keys.sender.as_bytes()
            && self.prekeys.curve.public() == &keys.prekeys.curve
    }
}

impl Prekeys {
    pub(super) const LEN: usize = 32 + PUBLIC_LEN;

    pub(super) fn kem(&self) -> Result<KemPublicKey, Error> {
        KemPublicKey::from_bytes(&self.kem[..])
    }

    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.curve.as_bytes());
        bytes.extend_from_slice(&self.kem[..]);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let curve = PublicKey::from_bytes(reader.array()?)?;
        let kem = KemPublicKey::from_bytes(reader.take(PUBLIC_LEN)?)?;
        Ok(Self { curve, kem: Box::new(*kem.as_bytes()) })
    }
}

impl PrekeyPair {
    pub(super) fn generate() -> Result<Self, Error> {
        Ok(Self { curve: KeyPair::generate()?, kem: KemKeyPair::generate()? })
    }

    pub(super) fn public(&self) -> Prekeys {
        let kem = Box::new(*self.kem.public().as_bytes());
        Prekeys { curve: *self.curve.public(), kem }
    }

    /// 96 bytes.
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.put(self.curve.secret().expose());
        writer.put(self.kem.seed().expose());
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            curve: KeyPair::from_secret(reader.secret()?),
            kem: KemKeyPair::from_seed(reader.secret()?),
        })
    }
}

fn signing_key(seed: &Secret<32>) -> SigningKey {
    scrubbed(|| SigningKey::from_seed(seed))
}

pub(super) fn verifying_key(bytes: &[u8; 32]) -> Result<VerifyingKey, Error> {
    VerifyingKey::from_bytes(bytes).ok_or(Error::InvalidKey)
}

const MEMBER_KEYS: &[u8] = b"group member keys";
