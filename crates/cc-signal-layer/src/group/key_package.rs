//! A member's part of its key package bundle. All keys in it are fresh, and its own.
//!
//! | bytes | what |
//! |---|---|
//! | 1824 | the keys it will have in the group ([`MemberKeys`]) |
//! | 32 + 1568 | prekeys for the welcome, which are used once and then deleted |
//! | 64 | signature of the identity over id, binding, SHA-256 of both |

use alloc::{sync::Arc, vec::Vec};

use cc_core::{LayerError, MemberId, NewMember};
use sha2::{Digest, Sha256};

use super::{
    commitment,
    member_keys::{MemberKeys, MemberSecrets, PrekeyPair, Prekeys},
};
use crate::{
    Error, IdentityKeyPair,
    codec::{Reader, Writer},
};

/// The private keys of a key package that was given out.
pub(super) struct PackageSecrets {
    /// For the time in the group.
    pub(super) member: Arc<MemberSecrets>,
    /// For the welcome.
    pub(super) welcome: PrekeyPair,
}

/// A member that comes, with what everybody needs to verify that it said so itself.
pub(super) struct Newcomer {
    pub(super) id: MemberId,
    binding: [u8; 32],
    welcome_digest: [u8; 32],
    signature: [u8; 64],
    pub(super) keys: Arc<MemberKeys>,
}

impl PackageSecrets {
    pub(super) fn generate() -> Result<Self, Error> {
        Ok(Self { member: Arc::new(MemberSecrets::generate()?), welcome: PrekeyPair::generate()? })
    }

    /// The key package.
    pub(super) fn sign(
        &self,
        identity: &IdentityKeyPair,
        id: &MemberId,
        binding: &[u8; 32],
    ) -> Vec<u8> {
        let keys = self.member.sign(identity, id);
        let mut welcome = Vec::with_capacity(Prekeys::LEN);
        self.welcome.public().write(&mut welcome);
        let digest = welcome_digest(&welcome);
        let message: [&[u8]; 4] = [id.as_bytes(), binding, keys.digest(), &digest];
        let signature = identity.sign(KEY_PACKAGE, &message);
        [&keys.to_bytes()[..], &welcome, &signature].concat()
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        self.member.write(writer);
        self.welcome.write(writer);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            member: Arc::new(MemberSecrets::read(reader)?),
            welcome: PrekeyPair::read(reader)?,
        })
    }
}

impl Newcomer {
    pub(super) const LEN: usize = 32 + 32 + 32 + 64 + MemberKeys::LEN;

    /// Reads a key package and verifies every signature in it, and that it is for this member and
    /// binding; the prekeys for its welcome are the second.
    pub(super) fn from_package(new: &NewMember<'_>) -> Result<(Self, Prekeys), Error> {
        if new.part.len() != PACKAGE_LEN {
            return Err(Error::Malformed);
        }
        let mut reader = Reader::new(new.part);
        let keys = Arc::new(MemberKeys::read(&mut reader, &new.id)?);
        let welcome = reader.take(Prekeys::LEN)?;
        let newcomer = Self {
            id: new.id,
            binding: new.binding,
            welcome_digest: welcome_digest(welcome),
            signature: reader.array()?,
            keys,
        };
        newcomer.verify()?;
        Ok((newcomer, Prekeys::read(&mut Reader::new(welcome))?))
    }

    pub(super) fn write(&self, part: &mut Vec<u8>) {
        for field in [&self.id.as_bytes()[..], &self.binding, &self.welcome_digest, &self.signature]
        {
            part.extend_from_slice(field);
        }
        part.extend_from_slice(&self.keys.to_bytes());
    }

    /// Reads what a commit says of it, and verifies its signatures.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let id = MemberId::from_bytes(reader.array()?);
        let newcomer = Self {
            id,
            binding: reader.array()?,
            welcome_digest: reader.array()?,
            signature: reader.array()?,
            keys: Arc::new(MemberKeys::read(reader, &id)?),
        };
        newcomer.verify()?;
        Ok(newcomer)
    }

    fn verify(&self) -> Result<(), Error> {
        let message: [&[u8]; 4] =
            [self.id.as_bytes(), &self.binding, self.keys.digest(), &self.welcome_digest];
        self.keys.identity().verify(KEY_PACKAGE, &message, &self.signature)
    }
}

/// Verifies a key package for who keeps nothing of it.
pub(crate) fn verify_part(new: &NewMember<'_>) -> Result<(), Error> {
    Newcomer::from_package(new).map(drop)
}

/// By what its owner and whoever saw a key package know it.
pub(super) fn reference(part: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(b"cc-signal/1 key package").chain_update(part).finalize().into()
}

/// The commitment in a part, of which nothing is verified yet.
pub(crate) fn commitment_in(part: &[u8]) -> Result<[u8; 32], LayerError> {
    let keys = part.first_chunk::<64>().filter(|_| part.len() == PACKAGE_LEN);
    keys.map(commitment).ok_or(LayerError::rejected())
}

fn welcome_digest(prekeys: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(b"cc-signal/1 welcome keys").chain_update(prekeys).finalize().into()
}

const PACKAGE_LEN: usize = MemberKeys::LEN + Prekeys::LEN + 64;
const KEY_PACKAGE: &[u8] = b"key package";
