//! A person: a key that signs for all its devices, and what replaces that key.

use cc_core::Secret;
use cc_primitives::ed25519::{SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tls_codec::{SerializeBytes, TlsDeserializeBytes, TlsSerializeBytes, TlsSize};

use crate::{Fault, PersonId, frame::List};

/// How often a person's key can be replaced.
pub(crate) const MAX_REPLACEMENTS: usize = 16;

/// How far this person trusts that another is who it says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Trust {
    /// The keys are those that were seen first. Nobody has compared them.
    Pinned,
    /// The safety number was compared, and the keys are the same since.
    Verified,
    /// The keys have changed, or somebody signed in the person's name who should not be able to. Nothing is
    /// sent to a group with this person in it until the change is accepted or the new keys are verified.
    Changed,
}

/// The keys of one person, one after another.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct PersonKeys {
    /// Ed25519. The person's id is its digest.
    first: [u8; 32],
    replacements: List<Replacement, MAX_REPLACEMENTS>,
}

/// A key in place of the one before it, signed by both.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct Replacement {
    key: [u8; 32],
    old_signature: [u8; 64],
    new_signature: [u8; 64],
}

/// How two histories of one person's keys stand to one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    Same,
    /// The other one is the beginning of this.
    Older,
    /// The other one goes on where this ends.
    Newer,
    /// The other one has another key in a place that this has one for.
    Diverged,
}

impl PersonKeys {
    /// The keys of who has never replaced the first.
    pub(crate) fn first(key: &SigningKey) -> Self {
        Self { first: key.public_key(), replacements: List::default() }
    }

    pub(crate) fn id(&self) -> PersonId {
        let hash = Sha256::new().chain_update(b"cc-client/1 person").chain_update(self.first);
        PersonId::from_bytes(hash.finalize().into())
    }

    /// How often the key was replaced.
    pub(crate) fn generation(&self) -> u16 {
        u16::try_from(self.replacements.0.len()).unwrap_or(u16::MAX)
    }

    /// The key of a generation.
    pub(crate) fn key(&self, generation: u16) -> Option<&[u8; 32]> {
        match usize::from(generation).checked_sub(1) {
            None => Some(&self.first),
            Some(at) => self.replacements.0.get(at).map(|replacement| &replacement.key),
        }
    }

    /// The key that is in force.
    pub(crate) fn current(&self) -> &[u8; 32] {
        self.replacements.0.last().map_or(&self.first, |replacement| &replacement.key)
    }

    /// Whether each replacement is signed by the key before it and by its own.
    pub(crate) fn verify(&self) -> bool {
        let (id, mut old) = (self.id(), &self.first);
        for (generation, replacement) in (1..).zip(&self.replacements.0) {
            let Replacement { key, old_signature, new_signature } = replacement;
            let statement = replacement_statement(&id, generation, key);
            if !verify(old, &statement, old_signature) || !verify(key, &statement, new_signature) {
                return false;
            }
            old = key;
        }
        true
    }

    /// These keys with `new` in the place of `old`; `None` where that is once too often, or `old` is not
    /// the key in force.
    pub(crate) fn replaced(&self, old: &SigningKey, new: &SigningKey) -> Option<Self> {
        let generation = self.generation() + 1;
        let full = self.replacements.0.len() >= MAX_REPLACEMENTS;
        if full || old.public_key() != *self.current() {
            return None;
        }
        let key = new.public_key();
        let statement = replacement_statement(&self.id(), generation, &key);
        let mut keys = self.clone();
        keys.replacements.0.push(Replacement {
            key,
            old_signature: old.sign(&statement),
            new_signature: new.sign(&statement),
        });
        Some(keys)
    }

    /// What `other` is to these keys of the same person.
    pub(crate) fn relation(&self, other: &Self) -> Relation {
        let mut both = self.replacements.0.iter().zip(&other.replacements.0);
        if self.first != other.first || both.any(|(mine, theirs)| mine.key != theirs.key) {
            return Relation::Diverged;
        }
        match self.generation().cmp(&other.generation()) {
            core::cmp::Ordering::Less => Relation::Newer,
            core::cmp::Ordering::Equal => Relation::Same,
            core::cmp::Ordering::Greater => Relation::Older,
        }
    }
}

fn replacement_statement(id: &PersonId, generation: u16, key: &[u8; 32]) -> Vec<u8> {
    let fields = [&id.as_bytes()[..], &generation.to_be_bytes(), key];
    [b"cc-client/1 replaces person key", &fields.concat()[..]].concat()
}

/// A new signing key: Ed25519 (RFC 8032).
pub(crate) fn new_key() -> Result<SigningKey, Fault> {
    Ok(SigningKey::from_seed(&Secret::random()?))
}

/// Signs an object of the wire formats under a label of its own.
pub(crate) fn sign(
    key: &SigningKey,
    label: &str,
    object: &impl SerializeBytes,
) -> Result<[u8; 64], Fault> {
    Ok(key.sign(&statement(label, object)?))
}

/// Whether [`sign`] made this signature.
pub(crate) fn signed(
    key: &[u8; 32],
    label: &str,
    object: &impl SerializeBytes,
    signature: &[u8; 64],
) -> bool {
    statement(label, object).is_ok_and(|statement| verify(key, &statement, signature))
}

/// No label begins another one, and none begins as what MLS signs does (RFC 9420 section 5.1.2: a length and
/// "MLS 1.0 "), for the device key signs for MLS as well.
fn statement(label: &str, object: &impl SerializeBytes) -> Result<Vec<u8>, Fault> {
    let object = object.tls_serialize_bytes().map_err(|_| Fault::TooLong)?;
    Ok([b"cc-client/1 ", label.as_bytes(), b"\0", &object].concat())
}

fn verify(key: &[u8; 32], statement: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(key).is_some_and(|key| key.verify(statement, signature).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_replaced_by_who_has_both() {
        let [a, b, c, thief] = [(); 4].map(|()| new_key().unwrap());
        let first = PersonKeys::first(&a);
        let second = first.replaced(&a, &b).unwrap();
        let third = second.replaced(&b, &c).unwrap();
        assert!(first.verify() && second.verify() && third.verify());
        assert_eq!(first.id(), third.id());
        assert_eq!(third.current(), c.verifying_key().as_bytes());
        assert_eq!(third.key(1), Some(b.verifying_key().as_bytes()));
        assert_eq!(third.key(3), None);
        assert_eq!(first.relation(&third), Relation::Newer);
        assert_eq!(third.relation(&first), Relation::Older);
        assert_eq!(third.relation(&third), Relation::Same);
        // Somebody else's old key, and a key that was replaced already.
        assert!(first.replaced(&thief, &b).is_none());
        assert!(second.replaced(&a, &thief).is_none());
        let other = first.replaced(&a, &thief).unwrap();
        assert_eq!(third.relation(&other), Relation::Diverged);
        // Without the signature of the old key, or of the new one.
        for damage in [
            |r: &mut Replacement| r.old_signature[0] ^= 1,
            |r: &mut Replacement| r.new_signature[0] ^= 1,
        ] {
            let mut forged = second.clone();
            damage(&mut forged.replacements.0[0]);
            assert!(!forged.verify());
        }
        let mut moved = second;
        moved.first = thief.public_key();
        assert!(!moved.verify());
    }

    #[test]
    fn replacements_are_bounded() {
        let mut key = new_key().unwrap();
        let mut keys = PersonKeys::first(&key);
        for _ in 0..MAX_REPLACEMENTS {
            let next = new_key().unwrap();
            keys = keys.replaced(&key, &next).unwrap();
            key = next;
        }
        assert!(keys.replaced(&key, &new_key().unwrap()).is_none());
        let bytes = crate::frame::encode(&keys).unwrap();
        assert_eq!(crate::frame::decode(&bytes), Ok(keys));
    }
}
