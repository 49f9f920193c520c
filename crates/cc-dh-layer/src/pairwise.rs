//! Two people who have each other's public keys.

use alloc::vec::Vec;

use cc_core::{
    Buffer, Contribution, LayerContext, LayerError, Opened, Recalled, Secret, key_commitment,
};

use cc_root_group::{MessageKey, Prk};

use crate::{DhError, DhKeyPair, DhPublicKey};

/// The kind of layer, for the labels of derivations.
const KIND: &str = "dh";

/// Static-static ECDH between two key pairs, with a key for each direction.
///
/// Both keys are long-lived: who learns one of the two private keys reads all messages, past and future
/// (no forward secrecy), and can speak to its owner in the other's name.
pub(crate) struct Pairwise {
    sending: MessageKey,
    receiving: MessageKey,
    contribution: Secret<32>,
}

impl Pairwise {
    pub(crate) fn new(keys: &DhKeyPair, peer: &DhPublicKey) -> Result<Self, DhError> {
        let public = keys.public_key();
        if public == peer {
            return Err(DhError::OwnKey);
        }
        let shared = keys.diffie_hellman(peer)?;
        // Both keys go into every derivation, in an order both sides agree on, so that the secret is
        // one of exactly these two people (RFC 7748 section 6.1 advises it).
        let is_low = public < peer;
        let (low, high) = if is_low { (public, peer) } else { (peer, public) };
        let prk = Prk::extract(KIND, "pairwise", shared.expose());
        let id = keys.curve().id().to_be_bytes();
        let fields: [&[u8]; 3] = [&id, low.point(), high.point()];
        let upward = MessageKey::new(KIND, prk.expand("low to high", &fields));
        let downward = MessageKey::new(KIND, prk.expand("high to low", &fields));
        let (sending, receiving) = if is_low { (upward, downward) } else { (downward, upward) };
        let contribution = prk.expand("pairwise contribution", &fields);
        Ok(Self { sending, receiving, contribution })
    }

    /// What it takes to make this one again, without the private key: the keys for sending and receiving,
    /// and the contribution.
    pub(crate) fn secrets(&self) -> [&[u8; 32]; 3] {
        [self.sending.expose(), self.receiving.expose(), self.contribution.expose()]
    }

    pub(crate) fn from_secrets([sending, receiving, contribution]: [Secret<32>; 3]) -> Self {
        let [sending, receiving] = [sending, receiving].map(|key| MessageKey::new(KIND, key));
        Self { sending, receiving, contribution }
    }

    /// The same for every message and for both directions; the hint is empty.
    pub(crate) fn contribute(&self) -> Contribution {
        Contribution { hint: Vec::new(), secret: self.contribution.duplicate() }
    }

    pub(crate) fn recall(&self, hint: &[u8]) -> Result<Recalled, LayerError> {
        if hint.is_empty() {
            Ok(Recalled { secret: self.contribution.duplicate(), epoch: None })
        } else {
            Err(LayerError::rejected())
        }
    }

    /// Equal for two layers with the same two key pairs.
    pub(crate) fn commitment(&self) -> Secret<32> {
        key_commitment(self.contribution.expose())
    }

    pub(crate) fn seal(
        &self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<(), LayerError> {
        Ok(self.sending.seal(&context.associated_data(), buffer)?)
    }

    pub(crate) fn open(
        &self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<Opened, LayerError> {
        self.receiving.open(&context.associated_data(), buffer)?;
        Ok(Opened::default())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use cc_core::{Binding, CipherLayer, Header, Kind, LayerErrorKind, StackId};

    use super::*;
    use crate::{Curve, DhLayer};

    fn pair(curve: Curve) -> (DhLayer, DhLayer) {
        let [a, b] = [(); 2].map(|()| DhKeyPair::generate(curve).unwrap());
        let (of_a, of_b) = (*a.public_key(), *b.public_key());
        (DhLayer::pairwise(a, of_b).unwrap(), DhLayer::pairwise(b, of_a).unwrap())
    }

    fn binding() -> Binding {
        let stack = StackId::of(&[]);
        Header::new(Kind::Application, &stack, vec![]).binding(&stack, b"ad")
    }

    fn seal(layer: &mut DhLayer, text: &[u8]) -> Vec<u8> {
        let binding = binding();
        let context = LayerContext { binding: &binding, position: 0, chain: None };
        let mut buffer = Buffer::new(text);
        layer.seal(&context, &mut buffer).unwrap();
        buffer.as_slice().to_vec()
    }

    fn open(layer: &mut DhLayer, wire: &[u8], position: u16) -> Result<Vec<u8>, LayerError> {
        let binding = binding();
        let context = LayerContext { binding: &binding, position, chain: None };
        let mut buffer = Buffer::new(wire);
        layer.open(&context, &mut buffer)?;
        Ok(buffer.as_slice().to_vec())
    }

    #[test]
    fn both_directions_and_no_reflection() {
        for curve in [Curve::X25519, Curve::P256] {
            let (mut alice, mut bob) = pair(curve);
            let (_, mut eve) = pair(curve);
            let mut people = [&mut alice, &mut bob];
            for text in [b"".as_slice(), b"hello", &[7; 100_000]] {
                for _ in 0..2 {
                    let wire = seal(people[0], text);
                    assert_eq!(wire.len(), text.len() + 48);
                    assert_eq!(open(people[1], &wire, 0).unwrap(), text);
                    // Sent back to whoever sealed it.
                    let error = open(people[0], &wire, 0).unwrap_err();
                    assert_eq!(error.kind(), LayerErrorKind::Rejected);
                    assert!(open(&mut eve, &wire, 0).is_err());
                    people.reverse();
                }
            }
            assert_ne!(seal(people[0], b"same"), seal(people[0], b"same"));
        }
    }

    #[test]
    fn every_flip_and_truncation_is_refused() {
        let (mut alice, mut bob) = pair(Curve::X25519);
        let wire = seal(&mut alice, b"text");
        for bit in 0..wire.len() * 8 {
            let mut flipped = wire.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&mut bob, &flipped, 0).is_err(), "{bit}");
        }
        for len in 0..wire.len() {
            assert!(open(&mut bob, &wire[..len], 0).is_err(), "{len}");
        }
        assert!(open(&mut bob, &wire, 1).is_err(), "another position");
        assert_eq!(open(&mut bob, &wire, 0).unwrap(), b"text");
    }

    #[test]
    fn both_contribute_one_secret() {
        let (mut alice, mut bob) = pair(Curve::P256);
        let contribution = alice.contribute().unwrap().unwrap();
        assert!(contribution.hint.is_empty());
        assert_eq!(bob.contribute().unwrap().unwrap().secret, contribution.secret);
        assert_eq!(bob.recall(&[]).unwrap().secret, contribution.secret);
        assert_eq!(bob.recall(&[0]).unwrap_err().kind(), LayerErrorKind::Rejected);
        assert_ne!(pair(Curve::P256).0.contribute().unwrap().unwrap().secret, contribution.secret);
        assert!(alice.properties().pairwise && alice.properties().contributes);
        assert!(alice.group().is_none() && alice.group_mut().is_none());
    }

    /// So that a stack with the same pair twice is refused: the second layer would add nothing.
    #[test]
    fn the_same_pair_has_the_same_commitment() {
        let (alice, bob) = pair(Curve::X25519);
        let commitment = alice.key_commitment().unwrap();
        assert_eq!(bob.key_commitment().unwrap(), commitment);
        assert_ne!(pair(Curve::X25519).0.key_commitment().unwrap(), commitment);
    }

    /// So that a stack with two group layers of one member key is refused as well.
    #[test]
    fn the_same_member_key_has_the_same_commitment() {
        let group = |byte| {
            let private = Secret::copy_from(&[byte; 32]).unwrap();
            DhLayer::group(DhKeyPair::from_private_key(Curve::X25519, private).unwrap())
        };
        let commitment = group(8).key_commitment().unwrap();
        assert_eq!(group(8).key_commitment().unwrap(), commitment);
        // 8 and 9 are the same private key once they are clamped (RFC 7748 section 5).
        let mut clamped = Secret::copy_from(&[8; 32]).unwrap();
        clamped.expose_mut()[0] = 9;
        let clamped = DhKeyPair::from_private_key(Curve::X25519, clamped).unwrap();
        assert_eq!(DhLayer::group(clamped).key_commitment().unwrap(), commitment);
        assert_ne!(group(16).key_commitment().unwrap(), commitment);
    }

    /// Two public keys, u and 1/u, whose difference is the point of order 2, have one shared secret with everybody
    /// (RFC 7748 section 6.1). What is derived from it differs all the same, and no key is another one's as well.
    #[test]
    fn every_key_of_a_pair_is_of_both_public_keys_and_of_one_use() {
        let private = Secret::copy_from(&[7; 32]).unwrap();
        let own = DhKeyPair::from_private_key(Curve::X25519, private).unwrap();
        let peer = |point: &str| {
            DhPublicKey::from_point(Curve::X25519, &hex::decode(point).unwrap()).unwrap()
        };
        let peers = [
            peer("0900000000000000000000000000000000000000000000000000000000000000"),
            peer("12c7711cc7711cc7711cc7711cc7711cc7711cc7711cc7711cc7711cc7711c47"),
        ];
        let [one, other] = peers.map(|peer| own.diffie_hellman(&peer).unwrap());
        assert_eq!(one, other, "the control");
        let pairs = peers.map(|peer| Pairwise::new(&own, &peer).unwrap());
        let keys: Vec<_> = pairs.iter().flat_map(Pairwise::secrets).collect();
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{at}");
        }
    }

    #[test]
    fn another_curve_or_mode_is_another_stack() {
        let descriptors = [Curve::X25519, Curve::P256]
            .into_iter()
            .flat_map(|curve| {
                let group = DhLayer::group(DhKeyPair::generate(curve).unwrap());
                [pair(curve).0.descriptor(), group.descriptor()]
            })
            .collect::<Vec<_>>();
        let stacks = descriptors.iter().map(|one| StackId::of(core::slice::from_ref(one)));
        let stacks: Vec<_> = stacks.collect();
        for (at, stack) in stacks.iter().enumerate() {
            assert!(!stacks[..at].contains(stack), "{:?}", descriptors[at]);
        }
    }

    /// Who has one of the two private keys, from whenever, reads both directions and speaks to its owner as the other
    /// (as RFC 9180 section 9.1.1 says of its Auth mode). Who has neither does nothing of it.
    #[test]
    fn a_thief_of_one_private_key_reads_all_and_speaks_to_its_owner() {
        for curve in [Curve::X25519, Curve::P256] {
            let [a, b, c] = [(); 3].map(|()| DhKeyPair::generate(curve).unwrap());
            let (of_a, of_b) = (*a.public_key(), *b.public_key());
            let stolen = DhKeyPair::from_private_key(curve, b.private_key().duplicate()).unwrap();
            let mut alice = DhLayer::pairwise(a, of_b).unwrap();
            let mut bob = DhLayer::pairwise(b, of_a).unwrap();
            let [to_bob, to_alice] = [seal(&mut alice, b"to Bob"), seal(&mut bob, b"to Alice")];
            let as_alice = |keys: &DhKeyPair| {
                let [sending, receiving, contribution] = Pairwise::new(keys, &of_a)
                    .unwrap()
                    .secrets()
                    .map(|secret| Secret::copy_from(secret).unwrap());
                let pairwise = Pairwise::from_secrets([receiving, sending, contribution]);
                DhLayer::from_pairwise(of_a, pairwise)
            };
            let mut reads = as_alice(&stolen);
            assert_eq!(open(&mut reads, &to_alice, 0).unwrap(), b"to Alice");
            let forged = seal(&mut reads, b"it is Alice");
            assert_eq!(open(&mut bob, &forged, 0).unwrap(), b"it is Alice");
            let mut reads = DhLayer::pairwise(stolen, of_a).unwrap();
            assert_eq!(open(&mut reads, &to_bob, 0).unwrap(), b"to Bob");
            let mut nobody = as_alice(&c);
            let forged = seal(&mut nobody, b"it is Alice");
            assert!(
                open(&mut bob, &forged, 0).is_err() && open(&mut nobody, &to_alice, 0).is_err()
            );
        }
    }

    #[test]
    fn unsuitable_peers_are_refused() {
        let own =
            || DhKeyPair::from_private_key(Curve::X25519, Secret::copy_from(&[7; 32]).unwrap());
        let public = *own().unwrap().public_key();
        assert_eq!(DhLayer::pairwise(own().unwrap(), public).err(), Some(DhError::OwnKey));
        let other = *DhKeyPair::generate(Curve::P256).unwrap().public_key();
        assert_eq!(DhLayer::pairwise(own().unwrap(), other).err(), Some(DhError::SuiteMismatch));
    }
}
