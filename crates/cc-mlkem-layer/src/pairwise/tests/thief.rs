//! What a copy of a side's state opens, before and after, and what one broken primitive gives.

use super::*;

/// Both begin new epochs, and answer one another.
fn round(alice: &mut MlKemLayer, bob: &mut MlKemLayer) -> [Vec<u8>; 2] {
    [true, false].map(|from_alice| {
        let (from, to) =
            if from_alice { (&mut *alice, &mut *bob) } else { (&mut *bob, &mut *alice) };
        renew(from);
        let wire = seal(from, b"text");
        assert_eq!(open(to, &wire).unwrap(), b"text");
        wire
    })
}

/// From before the copy: the window, and nothing older. After it: until both have begun new epochs.
#[test]
fn a_copy_opens_the_window_and_is_locked_out_by_two_new_epochs() {
    let [mut alice, mut bob] = pair().map(|layer| layer.keep_past_epochs(2));
    let sent: Vec<_> = (0..8).map(|_| round(&mut alice, &mut bob)).collect();
    let mut thief = copy(&mut alice);
    let opened: Vec<_> =
        sent.iter().map(|[_, to_alice]| open(&mut thief, to_alice).is_ok()).collect();
    assert_eq!(opened, [false, false, false, false, false, true, true, true]);

    // Bob's next epoch goes to a key that the thief has.
    let [_, to_alice] = {
        renew(&mut bob);
        let wire = seal(&mut bob, b"text");
        [vec![], wire]
    };
    assert!(open(&mut thief, &to_alice).is_ok());
    open(&mut alice, &to_alice).unwrap();
    // Alice begins one with a new key, Bob answers it: the thief follows neither, whatever it has heard.
    for _ in 0..3 {
        let [to_bob, to_alice] = round(&mut alice, &mut bob);
        assert!(open(&mut thief, &to_alice).is_err());
        assert!(open(&mut thief, &to_bob).is_err());
        let contribution = bob.contribute().unwrap().unwrap();
        assert!(thief.recall(&contribution.hint).is_err());
    }
}

/// What a side sent is closed to who later has its state: also what it sent in the present epoch is not
/// opened by it as a receiver, but a thief has the keys of that one.
#[test]
fn what_was_sent_in_past_epochs_stays_closed() {
    let [mut alice, mut bob] = pair().map(|layer| layer.keep_past_epochs(0));
    let sent: Vec<_> = (0..4).map(|_| round(&mut alice, &mut bob)).collect();
    let records = dump(&mut alice);
    // All the keys for messages that the copy has, tried on everything.
    let secrets: Vec<[u8; 32]> = records
        .iter()
        .filter(|(key, _)| key.starts_with(b"own") || key.starts_with(b"peer\0"))
        .flat_map(|(_, value)| [&value[2..34], &value[34..66], &value[66..98]])
        .map(|secret| secret.try_into().unwrap())
        .collect();
    let opens = |wire: &[u8]| {
        secrets.iter().any(|secret| {
            let front = 17 + if wire[0] == 0 { 0 } else { header::len_of(SET, wire[0] == 2) };
            let associated_data = [&binding().at(0)[..], &wire[..front]].concat();
            let key = cc_root_group::MessageKey::new(KIND, Secret::copy_from(secret).unwrap());
            key.open(&associated_data, &mut Buffer::new(&wire[front..])).is_ok()
        })
    };
    let opened: Vec<_> = sent.iter().flatten().map(|wire| opens(wire)).collect();
    assert_eq!(opened, [false, false, false, false, false, false, true, true]);
}

/// The long-lived keys and all traffic: of the one who accepted, they open what went to them before the first
/// answer, of the one who began nothing at all.
#[test]
fn long_lived_keys_open_recordings_up_to_the_first_answer() {
    let [a, b] = [keys(), keys()];
    let duplicate = |keys: &HybridKeyPair| {
        HybridKeyPair::from_private_key(SET, keys.private_key().expose()).unwrap()
    };
    let (stolen_a, stolen_b) = (duplicate(&a), duplicate(&b));
    let (of_a, of_b) = (a.public_key().clone(), b.public_key().clone());
    let (mut alice, setup) = MlKemLayer::initiate(a, of_b.clone()).unwrap();
    let mut bob = MlKemLayer::accept(b, of_a.clone(), &setup).unwrap();
    let unanswered = seal(&mut alice, b"unanswered");
    let [answer, later] = {
        open(&mut bob, &unanswered).unwrap();
        let first = seal(&mut bob, b"first");
        open(&mut alice, &first).unwrap();
        [seal(&mut alice, b"answer"), first]
    };
    let mut thief_of_b = MlKemLayer::accept(stolen_b, of_a, &setup).unwrap();
    assert_eq!(open(&mut thief_of_b, &unanswered).unwrap(), b"unanswered");
    assert!(open(&mut thief_of_b, &answer).is_err());
    let (mut thief_of_a, _) = MlKemLayer::initiate(stolen_a, of_b).unwrap();
    assert!(open(&mut thief_of_a, &later).is_err());
}

/// Every input counts: with any one of them unknown the secrets are others.
#[test]
fn secrets_depend_on_both_primitives_and_all_that_is_public() {
    let secret = |byte: u8| Secret::copy_from(&[byte; 32]).unwrap();
    let base = |byte| Prk::new(KIND, secret(byte));
    let derive = |base_byte, shared, kem, role, number, header| {
        let inputs = [&secret(shared), &secret(kem)];
        let base = base(base_byte);
        epoch::EpochSecrets::derive(&base, inputs, role, number, &[header; 32])
            .expose()
            .map(|secret| *secret)
    };
    use Role::{Acceptor, Initiator};
    let all = [
        derive(1, 2, 3, Initiator, 4, 5),
        derive(9, 2, 3, Initiator, 4, 5),
        derive(1, 9, 3, Initiator, 4, 5),
        derive(1, 2, 9, Initiator, 4, 5),
        derive(1, 2, 3, Acceptor, 4, 5),
        derive(1, 2, 3, Initiator, 9, 5),
        derive(1, 2, 3, Initiator, 4, 9),
    ];
    let different: BTreeSet<_> = all.iter().flatten().collect();
    assert_eq!(different.len(), 3 * all.len());
}

/// With X25519 broken: somebody begins in Alice's name, and Bob tells that nobody with Alice's ML-KEM key has
/// answered. What Bob says goes to Alice's keys.
#[test]
fn with_x25519_broken_nobody_answers_in_anothers_name() {
    let [a, b] = [keys(), keys()];
    let (of_a, of_b) = (a.public_key().clone(), b.public_key().clone());
    let broken = HybridKeyPair::with_broken_x25519(a.x25519().private_key().duplicate(), &of_a);
    let (mut mallory, setup) = MlKemLayer::initiate(broken, of_b).unwrap();
    let mut bob = MlKemLayer::accept(b, of_a, &setup).unwrap();
    let text = seal(&mut mallory, b"text");
    assert_eq!(open(&mut bob, &text).unwrap(), b"text", "the authentication of X25519");
    renew(&mut mallory);
    let text = seal(&mut mallory, b"text");
    assert_eq!(open(&mut bob, &text).unwrap(), b"text", "an epoch that answers nothing");
    for _ in 0..3 {
        renew(&mut bob);
        let secret = seal(&mut bob, b"for alice");
        assert_eq!(open(&mut mallory, &secret), Err(LayerErrorKind::Rejected));
    }
    assert!(!bob.is_peer_confirmed());

    // Nor does somebody come into a pair that has begun.
    let [mut alice, mut bob] = pair();
    send(&mut alice, &mut bob);
    let stolen = alice.mode_for_tests().unwrap().pair.keys.x25519().private_key().duplicate();
    let of_alice = alice.public_key().clone();
    let broken = HybridKeyPair::with_broken_x25519(stolen, &of_alice);
    let (mut mallory, _) = MlKemLayer::initiate(broken, bob.public_key().clone()).unwrap();
    for _ in 0..2 {
        renew(&mut mallory);
        let forged = seal(&mut mallory, b"forged");
        let before = dump(&mut bob);
        assert_eq!(open(&mut bob, &forged), Err(LayerErrorKind::Rejected));
        assert_eq!(dump(&mut bob), before);
    }
}
