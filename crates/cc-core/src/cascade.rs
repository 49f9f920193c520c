//! The key cascade: secrets that layers hand to the layers above them.

use alloc::vec::Vec;

use crate::{LayerDescriptor, Secret, StackId, kdf::hkdf, stack::to_u64};

/// What one layer hands upwards for one message.
#[derive(Debug)]
pub struct Contribution {
    /// The public bytes by which the receiver's layer finds the same secret again (an MLS epoch, a
    /// root-key generation). They travel in the clear; at most 64 bytes.
    pub hint: Vec<u8>,
    /// The secret: 32 bytes, uniformly random to everyone outside.
    pub secret: Secret<32>,
}

/// The running secret of the key cascade, as one layer inherits it: the contributions of all layers
/// below. A layer takes its keys from it with [`ChainSecret::derive`].
#[derive(Debug, PartialEq, Eq)]
pub struct ChainSecret(Secret<32>);

impl ChainSecret {
    /// Adds a contribution: `HKDF-SHA-256(salt = chain, ikm = contribution, info = label)` where the
    /// label names the stack, the layer, its position and the hint (RFC 5869). `chain` is what was
    /// inherited from below, `None` at the bottommost contribution.
    #[must_use]
    pub fn extend(
        chain: Option<&Self>,
        contribution: &Contribution,
        stack: &StackId,
        layer: &LayerDescriptor,
        position: u16,
    ) -> Self {
        Self(hkdf(
            chain.map_or(&[], |chain| chain.0.expose().as_slice()),
            contribution.secret.expose(),
            &[
                b"cascading-cipher/1 chain",
                stack.as_bytes(),
                &position.to_be_bytes(),
                &to_u64(layer.id.len()).to_be_bytes(),
                layer.id.as_bytes(),
                &layer.version.to_be_bytes(),
                &contribution.hint,
            ],
        ))
    }

    /// A key for one purpose of one layer: `HKDF-Expand(chain, "cascading-cipher/1 derive" ‖ position
    /// ‖ purpose)`. Two purposes, two positions or two chains never give the same key.
    #[must_use]
    pub fn derive(&self, position: u16, purpose: &[u8]) -> Secret<32> {
        let info = [b"cascading-cipher/1 derive".as_slice(), &position.to_be_bytes(), purpose];
        hkdf(&[], self.0.expose(), &info)
    }

    /// A second copy, for a layer that remembers which chain it last derived a key from.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self(self.0.duplicate())
    }
}

/// A value that tells whether two layers use the same key, without being that key. Layers report it
/// through [`CipherLayer::key_commitment`](crate::CipherLayer::key_commitment).
#[must_use]
pub fn key_commitment(key: &[u8]) -> Secret<32> {
    hkdf(b"cascading-cipher/1 key commitment", key, &[])
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn contribution(byte: u8, hint: &[u8]) -> Contribution {
        Contribution { hint: hint.to_vec(), secret: Secret::copy_from(&[byte; 32]).unwrap() }
    }

    fn descriptor(id: &'static str) -> LayerDescriptor {
        LayerDescriptor { id, version: 1, parameters: vec![] }
    }

    #[test]
    fn every_input_changes_the_chain() {
        let (a, b) = (descriptor("a"), descriptor("b"));
        let one = StackId::of(core::slice::from_ref(&a));
        let two = StackId::of(core::slice::from_ref(&b));
        let below = ChainSecret::extend(None, &contribution(9, b""), &one, &a, 0);
        let chains = [
            ChainSecret::extend(None, &contribution(1, b"h"), &one, &a, 0),
            ChainSecret::extend(None, &contribution(2, b"h"), &one, &a, 0),
            ChainSecret::extend(None, &contribution(1, b"i"), &one, &a, 0),
            ChainSecret::extend(None, &contribution(1, b"h"), &two, &a, 0),
            ChainSecret::extend(None, &contribution(1, b"h"), &one, &b, 0),
            ChainSecret::extend(None, &contribution(1, b"h"), &one, &a, 1),
            ChainSecret::extend(Some(&below), &contribution(1, b"h"), &one, &a, 0),
        ];
        for (i, x) in chains.iter().enumerate() {
            for (j, y) in chains.iter().enumerate() {
                assert_eq!(x == y, i == j, "{i} {j}");
            }
        }
    }

    #[test]
    fn derived_keys_differ_by_position_and_purpose() {
        let a = descriptor("a");
        let stack = StackId::of(core::slice::from_ref(&a));
        let chain = ChainSecret::extend(None, &contribution(1, b""), &stack, &a, 0);
        assert_eq!(chain.derive(1, b"x"), chain.derive(1, b"x"));
        assert_ne!(chain.derive(1, b"x"), chain.derive(2, b"x"));
        assert_ne!(chain.derive(1, b"x"), chain.derive(1, b"y"));
    }
}
