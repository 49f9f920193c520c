//! Bytes that were changed, cut, made up or sent elsewhere, and a peer that lies.

use super::*;

fn refuses(layer: &mut MlKemLayer, wire: &[u8], kinds: &[LayerErrorKind]) {
    let before = dump(layer);
    let kind = open(layer, wire).unwrap_err();
    assert!(kinds.contains(&kind), "{kind:?}");
    assert_eq!(dump(layer), before);
}

fn some(count: usize) -> impl Iterator<Item = usize> {
    (0..count).step_by((count / 1500).max(1) | 1)
}

/// With a header and without. What names another epoch may be early or stale by that.
#[test]
fn every_flip_and_truncation_of_a_message_is_refused() {
    use LayerErrorKind::{Early, Rejected, Stale};
    let [mut alice, mut bob] = pair();
    send(&mut alice, &mut bob);
    let with_header = seal(&mut bob, b"text");
    send(&mut bob, &mut alice);
    send(&mut alice, &mut bob);
    let bare = seal(&mut alice, b"text");
    // What the header is of is not known yet: Alice as she was.
    let [mut fresh, mut other] = pair();
    let unknown = seal(&mut other, b"text");
    for (reader, wire) in [(&mut alice, with_header), (&mut bob, bare), (&mut fresh, unknown)] {
        for bit in some(wire.len() * 8) {
            let mut flipped = wire.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let names_another = (8..72).contains(&bit) || bit < 8;
            let kinds = if names_another { &[Rejected, Early, Stale][..] } else { &[Rejected] };
            refuses(reader, &flipped, kinds);
        }
        for len in some(wire.len()) {
            refuses(reader, &wire[..len], &[Rejected]);
        }
        refuses(reader, &[wire.clone(), vec![0]].concat(), &[Rejected]);
        assert_eq!(open(reader, &wire).unwrap(), b"text");
    }
}

#[test]
fn a_setup_is_for_one_pair_and_whole() {
    let [a, b] = [keys(), keys()];
    let (of_a, of_b) = (a.public_key().clone(), b.public_key().clone());
    let accept = |peer: &HybridPublicKey, setup: &[u8]| {
        let keys = HybridKeyPair::from_private_key(SET, b.private_key().expose()).unwrap();
        MlKemLayer::accept(keys, peer.clone(), setup).err()
    };
    let (_, setup) = MlKemLayer::initiate(a, of_b).unwrap();
    assert_eq!(accept(&of_a, &setup), None);
    assert_eq!(accept(keys().public_key(), &setup), Some(MlKemError::Rejected));
    for bit in some(setup.len() * 8) {
        let mut flipped = setup.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(accept(&of_a, &flipped), Some(MlKemError::Rejected), "{bit}");
    }
    for len in 0..setup.len() {
        assert_eq!(accept(&of_a, &setup[..len]), Some(MlKemError::Rejected));
    }
    assert_eq!(accept(&of_a, &[setup, vec![0]].concat()), Some(MlKemError::Rejected));
}

#[test]
fn a_message_does_not_open_where_it_came_from_or_elsewhere() {
    use LayerErrorKind::{Early, Rejected};
    let [mut alice, mut bob] = pair();
    for _ in 0..3 {
        for swap in [false, true] {
            let (from, to) = if swap { (&mut bob, &mut alice) } else { (&mut alice, &mut bob) };
            let wire = seal(from, b"text");
            refuses(from, &wire, &[Early, Rejected]);
            let [mut other, mut another] = pair();
            refuses(&mut other, &wire, &[Early, Rejected]);
            refuses(&mut another, &wire, &[Early, Rejected]);
            let binding = binding();
            let elsewhere = LayerContext { binding: &binding, position: 1, chain: None };
            assert!(to.open(&elsewhere, &mut Buffer::new(&wire)).is_err());
            to.revert();
            assert_eq!(open(to, &wire).unwrap(), b"text");
        }
    }
}

/// A peer has the keys for whatever it says: it may lie, and harms only what it says itself.
#[test]
fn a_peer_that_lies_about_epochs_is_refused() {
    use LayerErrorKind::{Rejected, Stale};
    let [mut alice, mut bob] = pair();
    send(&mut alice, &mut bob);
    send(&mut bob, &mut alice);
    send(&mut alice, &mut bob);
    let binding = binding();
    let forge = |liar: &MlKemLayer, number: u64, received: u64, header: Option<&[u8]>| {
        let state = liar.mode_for_tests().unwrap().state.latest();
        let front = Front::encode(number, received, header);
        let associated_data = [&binding.at(0)[..], &front].concat();
        let mut buffer = Buffer::new(b"text");
        state.present.secrets.messages.seal(&associated_data, &mut buffer).unwrap();
        buffer.prepend(&front);
        buffer.as_slice().to_vec()
    };
    let number = bob.mode_for_tests().unwrap().state.latest().present.number;
    let has = alice.mode_for_tests().unwrap().state.latest().present.number;
    assert_eq!(open(&mut alice, &forge(&bob, number, has, None)).unwrap(), b"text");
    refuses(&mut alice, &forge(&bob, number, has + 1, None), &[Rejected]);
    refuses(&mut alice, &forge(&bob, number, u64::MAX, None), &[Rejected]);
    refuses(&mut alice, &forge(&bob, 0, has, None), &[Rejected]);

    // A header that answers what was never begun, what is forgotten, or nothing.
    let pairwise = bob.mode_for_tests().unwrap();
    let state = pairwise.state.latest();
    for (answers, kinds) in [(has + 1, &[Rejected][..]), (u64::MAX, &[Rejected]), (0, &[Rejected])]
    {
        let base = &pairwise.pair.fixed;
        let agreement = Agreement { answers, base, key: state.peer_key.as_ref().unwrap() };
        let (_, header) = OwnEpoch::begin(&pairwise.pair, number + 1, &agreement).unwrap();
        refuses(&mut alice, &forge(&bob, number + 1, has, Some(&header)), kinds);
    }
    for _ in 0..6 {
        renew(&mut alice);
        send(&mut alice, &mut bob);
        send(&mut bob, &mut alice);
    }
    let pairwise = bob.mode_for_tests().unwrap();
    let base = &pairwise.pair.fixed;
    let key = pairwise.state.latest().peer_key.as_ref().unwrap();
    let agreement = Agreement { answers: 1, base, key };
    let (_, header) = OwnEpoch::begin(&pairwise.pair, number + 1, &agreement).unwrap();
    refuses(&mut alice, &forge(&bob, number + 1, has, Some(&header)), &[Stale]);
    send(&mut bob, &mut alice);
}

/// A stranger's bytes are told by a digest: no key agreement, no decapsulation.
#[test]
fn noise_costs_little() {
    let [_, mut bob] = pair();
    let mut noise = vec![7; 17 + header::len_of(SET, true) + 60];
    noise[0] = 2;
    let started = std::time::Instant::now();
    for _ in 0..200 {
        assert_eq!(open(&mut bob, &noise), Err(LayerErrorKind::Rejected));
    }
    let noise = started.elapsed();
    let started = std::time::Instant::now();
    for _ in 0..20 {
        drop(pair());
    }
    assert!(noise < started.elapsed(), "{noise:?}");
}

proptest! {
    /// No bytes make it panic, or change anything.
    #[test]
    fn any_bytes_are_refused(
        form in 0u8..4,
        number in 0u64..4,
        received in 0u64..4,
        rest in prop::collection::vec(any::<u8>(), 0..2600),
    ) {
        std::thread_local!(static PAIR: core::cell::RefCell<[MlKemLayer; 2]> = core::cell::RefCell::new(pair()));
        let front = [&[form][..], &number.to_be_bytes(), &received.to_be_bytes()].concat();
        PAIR.with_borrow_mut(|pair| {
            for layer in pair {
                for wire in [&rest, &[front.clone(), rest.clone()].concat()] {
                    let before = dump(layer);
                    assert!(open(layer, wire).is_err());
                    assert_eq!(dump(layer), before);
                }
            }
        });
    }
}
