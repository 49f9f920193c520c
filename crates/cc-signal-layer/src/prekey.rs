//! Prekeys: signed, last-resort and one-time ones (X3DH section 2.4, PQXDH section 2.3).

use alloc::collections::{BTreeMap, VecDeque};

use cc_core::Secret;

use crate::{
    Error,
    bundle::{KemPrekey, SignedPrekey},
    codec::{Reader, Writer},
    curve::KeyPair,
    entropy::Entropy,
    identity::IdentityKeyPair,
    kem::KemKeyPair,
    seen::Seen,
};

/// The most one-time prekeys of each kind that are kept; beyond it the oldest are dropped.
pub const MAX_ONE_TIME: usize = 1000;

/// From how many peers one signed prekey accepts initial messages without one-time prekeys, and how
/// many such messages it remembers.
///
/// They are remembered so that none is accepted twice. Beyond this number the oldest of the peer that
/// has most is dropped, and older ones of that peer are refused. Beyond this number of peers newcomers
/// are refused until [`Account::rotate_prekeys`](crate::Account::rotate_prekeys): refusing is safe,
/// forgetting is not.
pub const MAX_SEEN: usize = 16_384;

/// How many initial messages of one peer are remembered in the same way.
pub const MAX_SEEN_OF_PEER: usize = 64;

/// The prekeys that live for a period: the signed prekey and the last-resort KEM prekey, with a
/// record of the initial messages that used nothing else.
#[derive(Debug)]
pub(crate) struct Period {
    id: u32,
    signed: KeyPair,
    last_resort: KemKeyPair,
    seen: Seen,
}

impl Period {
    pub(crate) fn generate(id: u32, entropy: &mut impl Entropy) -> Result<Self, Error> {
        Ok(Self {
            id,
            signed: KeyPair::generate_from(entropy)?,
            last_resort: KemKeyPair::generate_from(entropy)?,
            seen: Seen::default(),
        })
    }

    /// The id of both prekeys.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn signed(&self) -> &KeyPair {
        &self.signed
    }

    pub(crate) fn last_resort(&self) -> &KemKeyPair {
        &self.last_resort
    }

    pub(crate) fn signed_prekey(&self, identity: &IdentityKeyPair) -> SignedPrekey {
        SignedPrekey::sign(identity, self.id, *self.signed.public())
    }

    pub(crate) fn kem_prekey(&self, identity: &IdentityKeyPair) -> KemPrekey {
        KemPrekey::sign(identity, self.id, self.last_resort.public())
    }

    pub(crate) fn seen(&self) -> &Seen {
        &self.seen
    }

    pub(crate) fn seen_mut(&mut self) -> &mut Seen {
        &mut self.seen
    }

    /// Without the record of initial messages, but for how many there are.
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.u32(self.id);
        writer.put(self.signed.secret().expose());
        writer.put(self.last_resort.seed().expose());
        writer.count(self.seen.len());
        writer.count(self.seen.peers_len());
    }

    /// The period, and how many initial messages of how many peers it has seen.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<(Self, [u32; 2]), Error> {
        let period = Self {
            id: reader.u32()?,
            signed: KeyPair::from_secret(reader.secret()?),
            last_resort: KemKeyPair::from_seed(reader.secret()?),
            seen: Seen::default(),
        };
        Ok((period, [reader.u32()?, reader.u32()?]))
    }
}

/// One-time prekeys of one kind, as their `N`-byte secrets.
#[derive(Debug, Default)]
pub(crate) struct OneTime<const N: usize> {
    /// Not given to anybody yet, oldest first.
    unpublished: VecDeque<(u32, Secret<N>)>,
    /// In a bundle somewhere, by id, so oldest first as well.
    published: BTreeMap<u32, Secret<N>>,
}

impl<const N: usize> OneTime<N> {
    pub(crate) fn generate(&mut self, id: u32, entropy: &mut impl Entropy) -> Result<(), Error> {
        let secret = entropy.secret()?;
        if self.unpublished.len() + self.published.len() >= MAX_ONE_TIME
            && self.published.pop_first().is_none()
        {
            self.unpublished.pop_front();
        }
        self.unpublished.push_back((id, secret));
        Ok(())
    }

    /// Takes the next one for a bundle.
    pub(crate) fn publish(&mut self) -> Option<(u32, &Secret<N>)> {
        let (id, secret) = self.unpublished.pop_front()?;
        Some((id, self.published.entry(id).or_insert(secret)))
    }

    /// A key that a message names. Only published ones can be named.
    pub(crate) fn get(&self, id: u32) -> Option<&Secret<N>> {
        self.published.get(&id)
    }

    /// A used key is gone.
    pub(crate) fn remove(&mut self, id: u32) {
        self.published.remove(&id);
    }

    pub(crate) fn unpublished_len(&self) -> usize {
        self.unpublished.len()
    }

    pub(crate) fn published_len(&self) -> usize {
        self.published.len()
    }

    /// Undoes [`OneTime::remove`].
    pub(crate) fn put_back(&mut self, id: u32, secret: Secret<N>) {
        self.published.insert(id, secret);
    }

    /// All keys, with their ids and whether they were published.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, bool, &Secret<N>)> {
        let unpublished = self.unpublished.iter().map(|(id, secret)| (*id, false, secret));
        unpublished.chain(self.published.iter().map(|(id, secret)| (*id, true, secret)))
    }

    /// Adds a key that was saved, later than those that are here.
    pub(crate) fn restore(&mut self, id: u32, published: bool, secret: Secret<N>) {
        if published {
            self.published.insert(id, secret);
        } else {
            self.unpublished.push_back((id, secret));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::System;

    #[test]
    fn a_published_key_is_named_once_and_removed_once() {
        let mut keys = OneTime::<32>::default();
        keys.generate(7, &mut System).unwrap();
        assert!(keys.get(7).is_none(), "not published yet");
        assert_eq!(keys.publish().unwrap().0, 7);
        assert!(keys.publish().is_none());
        assert!(keys.get(7).is_some());
        keys.remove(7);
        assert!(keys.get(7).is_none());
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let mut keys = OneTime::<32>::default();
        for id in 0..1500 {
            keys.generate(id, &mut System).unwrap();
            if id % 2 == 0 {
                keys.publish();
            }
        }
        assert_eq!(keys.unpublished_len() + keys.published_len(), MAX_ONE_TIME);
    }
}
