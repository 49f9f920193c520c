//! Pairs that begin from one bundle and one message: a conversation over loss, restarts and failing stores, and
//! what liars and thieves get.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};

use cc_aes_layer::{AesLayer, AesPairKeys};
use cc_core::{
    DecodeError, Kind, Opaque, PairBundle, PairBundlePart, PairKeys as _, PairOpening,
    PairOpeningPart, StackId,
    store::{Failure, MemoryStore, StoreError},
};
use cc_dh_layer::{Curve, DhKeyPair, DhLayer, DhPairKeys};
use cc_manager::{
    AcceptedPair, CascadingCipherManager, Catalog, Error, Incoming, IncomingFirst, PairAccount,
    PairAccountBuilder,
};
use cc_mlkem_layer::{HybridKeyPair, MlKemLayer, MlKemPairKeys, ParameterSet};
use cc_signal_layer::{Account, SignalPairKeys, SignalPairLayer};

type Shared = Arc<Mutex<MemoryStore>>;
type Make = fn() -> PairAccountBuilder;

/// DH -> Signal -> AES.
fn classical() -> PairAccountBuilder {
    PairAccount::builder()
        .keys(DhPairKeys::new(DhKeyPair::generate(Curve::P256).unwrap()))
        .keys(SignalPairKeys::new(Account::generate().unwrap()))
        .keys(AesPairKeys::inherited())
}

/// ML-KEM -> Signal -> AES.
fn post_quantum() -> PairAccountBuilder {
    PairAccount::builder()
        .keys(MlKemPairKeys::new(HybridKeyPair::generate(ParameterSet::MlKem768).unwrap()))
        .keys(SignalPairKeys::new(Account::generate().unwrap()))
        .keys(AesPairKeys::inherited())
}

const STACKS: [Make; 2] = [classical, post_quantum];

/// Of all layers that make pairs.
pub(crate) fn catalog() -> Catalog {
    Catalog::new()
        .with::<DhLayer>()
        .with::<MlKemLayer>()
        .with::<SignalPairLayer>()
        .with::<AesLayer>()
        .with_pair_keys::<DhPairKeys>()
        .with_pair_keys::<MlKemPairKeys>()
        .with_pair_keys::<SignalPairKeys>()
        .with_pair_keys::<AesPairKeys>()
}

fn shared() -> Shared {
    Arc::new(Mutex::new(MemoryStore::new()))
}

fn begun(incoming: IncomingFirst) -> AcceptedPair {
    match incoming {
        IncomingFirst::Begun(pair) => *pair,
        other => panic!("{other:?}"),
    }
}

fn forged(incoming: &IncomingFirst) -> bool {
    matches!(incoming, IncomingFirst::Forged(_) | IncomingFirst::Stale)
}

/// The id of the stack of an account, from what it gives out.
fn stack_of(make: Make) -> StackId {
    let descriptors: Vec<_> = if make as usize == classical as Make as usize {
        let dh = DhPairKeys::new(DhKeyPair::generate(Curve::P256).unwrap());
        vec![dh.descriptor(), signal().descriptor(), AesPairKeys::inherited().descriptor()]
    } else {
        let keys = HybridKeyPair::generate(ParameterSet::MlKem768).unwrap();
        let mlkem = MlKemPairKeys::new(keys);
        vec![mlkem.descriptor(), signal().descriptor(), AesPairKeys::inherited().descriptor()]
    };
    StackId::of(&descriptors)
}

fn signal() -> SignalPairKeys {
    SignalPairKeys::new(Account::generate().unwrap())
}

#[test]
fn a_pair_begins_from_one_bundle_and_any_of_the_first_messages() {
    for make in STACKS {
        let (mut alice, mut bob) = (make().build().unwrap(), make().build().unwrap());
        let bundle = bob.one_time_bundle().unwrap();
        assert_eq!(alice.inspect_bundle(&bundle).unwrap(), bob.member_id());
        let mut to_bob = alice.initiate(&bundle, "").unwrap();
        assert!(!to_bob.is_pair_answered());
        let [_lost, late, first, next] =
            ["lost", "late", "first", "next"].map(|text| to_bob.encrypt(text).unwrap());
        let view = bob.inspect_first(&first).unwrap();
        assert_eq!((view.peer, Some(view.pair)), (alice.member_id(), to_bob.pair_id()));
        let AcceptedPair { manager: mut to_alice, message, pair, peer } =
            begun(bob.accept_first(&first, "").unwrap());
        assert_eq!(message, "first");
        assert_eq!((pair, peer), (view.pair, alice.member_id()));
        assert_eq!((to_alice.peer(), to_bob.peer()), (Some(peer), Some(bob.member_id())));
        // What else has the opening belongs to the manager, in any order, and once.
        assert!(
            matches!(bob.accept_first(&next, "").unwrap(), IncomingFirst::Known(of) if of == pair)
        );
        for (wire, text) in [(&next, "next"), (&late, "late")] {
            assert_eq!(to_alice.decrypt(wire).unwrap(), text);
            assert!(to_alice.decrypt(wire).unwrap_err().is_rejected());
        }
        assert!(to_alice.decrypt(&first).unwrap_err().is_rejected(), "a replay");
        assert!(to_bob.decrypt(&late).unwrap_err().is_rejected(), "its own");
        assert!(!to_bob.is_pair_answered());
        let answer = to_alice.encrypt("answer").unwrap();
        assert_eq!(to_bob.decrypt(&answer).unwrap(), "answer");
        assert!(to_bob.is_pair_answered() && to_alice.is_pair_answered());
        let short = to_bob.encrypt("next").unwrap();
        assert!(short.len() + 1500 < next.len(), "{} {}", short.len(), next.len());
        assert_eq!(to_alice.decrypt(&short).unwrap(), "next");
        for round in 0..4 {
            let wire = to_alice.encrypt(format!("{round}")).unwrap();
            assert_eq!(to_bob.decrypt(&wire).unwrap(), format!("{round}"));
            let wire = to_bob.encrypt(format!("{round}")).unwrap();
            assert_eq!(to_alice.decrypt(&wire).unwrap(), format!("{round}"));
        }
        let report = to_alice.stack_report();
        assert!(report.pairwise && report.refuses_replays && report.cascades_keys);
    }
}

#[test]
fn associated_data_goes_with_a_first_message() {
    let (mut alice, mut bob) = (classical().build().unwrap(), classical().build().unwrap());
    let mut to_bob = alice.initiate(bob.bundle().unwrap(), "").unwrap();
    let wire = to_bob.encrypt_with("text", "subject").unwrap();
    assert!(forged(&bob.accept_first(&wire, "").unwrap()));
    let pair = begun(bob.accept_first_with(&wire, "subject", "").unwrap());
    assert_eq!(pair.message, "text");
}

#[test]
fn two_that_begin_at_once_have_two_pairs_with_names_in_one_order() {
    let (mut alice, mut bob) = (post_quantum().build().unwrap(), post_quantum().build().unwrap());
    let mut of_alice = alice.initiate(bob.bundle().unwrap(), "").unwrap();
    let mut of_bob = bob.initiate(alice.bundle().unwrap(), "").unwrap();
    let [to_bob, to_alice] = [&mut of_alice, &mut of_bob].map(|pair| pair.encrypt("hi").unwrap());
    let at_bob = begun(bob.accept_first(&to_bob, "").unwrap());
    let mut at_alice = begun(alice.accept_first(&to_alice, "").unwrap());
    assert_eq!((at_bob.peer, at_alice.peer), (alice.member_id(), bob.member_id()));
    assert_eq!(Some(at_bob.pair), of_alice.pair_id());
    assert_eq!(Some(at_alice.pair), of_bob.pair_id());
    assert_ne!(at_alice.pair, at_bob.pair);
    // What is of one pair opens in no other one, although the long-lived keys are the same.
    let elsewhere = at_alice.manager.receive(&to_bob).unwrap();
    assert!(matches!(elsewhere, Incoming::Foreign(DecodeError::Kind(Kind::First))));
    let wire = at_alice.manager.encrypt("for the other pair").unwrap();
    assert!(of_alice.decrypt(&wire).is_err());
    assert_eq!(of_bob.decrypt(&wire).unwrap(), "for the other pair");
}

/// Whoever hands out bundles puts parts of their own into somebody else's.
#[test]
fn a_bundle_with_a_part_of_somebody_else_is_refused() {
    for make in STACKS {
        let [mut alice, mut bob, mut eve] = [(); 3].map(|()| make().build().unwrap());
        let stack = stack_of(make);
        let decode = |bundle: &[u8]| PairBundle::decode(bundle, &stack).unwrap();
        let [of_bob, again, of_eve] = [
            bob.one_time_bundle().unwrap(),
            bob.one_time_bundle().unwrap(),
            eve.one_time_bundle().unwrap(),
        ];
        type Field = fn(&mut PairBundlePart) -> &mut Opaque;
        let fields: [Field; 3] =
            [|part| &mut part.identity, |part| &mut part.prekeys, |part| &mut part.signature];
        let mut refused = 0;
        for other in [&of_eve, &again] {
            for position in 0..3 {
                for fields in [&fields[..], &fields[..1], &fields[1..2], &fields[2..], &fields[..2]]
                {
                    let (mut mixed, mut theirs) = (decode(&of_bob), decode(other));
                    for field in fields {
                        *field(&mut mixed.parts_mut()[position]) =
                            field(&mut theirs.parts_mut()[position]).clone();
                    }
                    // Where nothing else differs, it is one of the two as a whole.
                    if mixed == decode(&of_bob) || mixed == decode(other) {
                        continue;
                    }
                    let mixed = mixed.encode().unwrap();
                    assert!(alice.initiate(&mixed, "").unwrap_err().is_rejected(), "{position}");
                    refused += 1;
                }
            }
        }
        assert!(refused >= 8, "{refused}");
        // Without any signature, or with fewer parts.
        let mut unsigned = decode(&of_bob);
        unsigned.parts_mut()[1].signature = Opaque::default();
        assert!(alice.initiate(unsigned.encode().unwrap(), "").unwrap_err().is_rejected());
        let fewer = PairBundle::new(&stack, decode(&of_bob).parts()[..2].to_vec());
        assert!(alice.initiate(fewer.encode().unwrap(), "").unwrap_err().is_rejected());
        for at in 0..of_bob.len() {
            let mut flipped = of_bob.clone();
            flipped[at] ^= 1 << (at % 8);
            assert!(alice.initiate(&flipped, "").is_err(), "{at}");
        }
        assert!(alice.initiate(&of_bob, "").is_ok());
        assert!(matches!(bob.initiate(&of_bob, ""), Err(Error::OwnBundle)));
    }
}

/// Somebody between the two puts parts of other openings into one, or changes a bit.
#[test]
fn an_opening_of_several_is_refused_and_costs_nothing() {
    for make in STACKS {
        let [mut alice, mut bob, mut eve] = [(); 3].map(|()| make().build().unwrap());
        let stack = stack_of(make);
        let first = |account: &mut PairAccount, bundle: &[u8]| {
            account.initiate(bundle, "").unwrap().encrypt("text").unwrap()
        };
        let [one, two, three] = [(); 3].map(|()| bob.one_time_bundle().unwrap());
        let good = first(&mut alice, &one);
        let others = [first(&mut alice, &two), first(&mut eve, &three)];
        let (opening, message) = PairOpening::decode(&good, &stack).unwrap();
        type Field = fn(&mut PairOpeningPart) -> &mut Opaque;
        let fields: [Field; 2] = [|part| &mut part.identity, |part| &mut part.setup];
        let mut refused = 0;
        for other in &others {
            let (theirs, their_message) = PairOpening::decode(other, &stack).unwrap();
            for position in 0..3 {
                for fields in [&fields[..], &fields[..1], &fields[1..]] {
                    let mut parts = opening.parts().to_vec();
                    let mut from = theirs.parts().to_vec();
                    for field in fields {
                        *field(&mut parts[position]) = field(&mut from[position]).clone();
                    }
                    if parts == opening.parts() {
                        continue;
                    }
                    let mixed = PairOpening::new(&stack, parts.clone()).encode().unwrap();
                    // Where nothing else differs, it is the other one as a whole.
                    let whole = parts == theirs.parts();
                    for message in [message, their_message] {
                        if whole && message == their_message {
                            continue;
                        }
                        let wire = [&mixed, message].concat();
                        assert!(forged(&bob.accept_first(&wire, "").unwrap()), "{position}");
                        refused += 1;
                    }
                }
            }
        }
        assert!(refused >= 8, "{refused}");
        for at in (0..good.len()).step_by(7) {
            let mut flipped = good.clone();
            flipped[at] ^= 1 << (at % 8);
            let incoming = bob.accept_first(&flipped, "").unwrap();
            let refused = forged(&incoming) || matches!(incoming, IncomingFirst::Foreign(_));
            assert!(refused, "{at} {incoming:?}");
        }
        for len in (0..good.len()).step_by(11) {
            let incoming = bob.accept_first(&good[..len], "").unwrap();
            assert!(!matches!(incoming, IncomingFirst::Begun(_) | IncomingFirst::Known(_)));
        }
        // None of it used anything up.
        assert_eq!(begun(bob.accept_first(&good, "").unwrap()).message, "text");
        assert_eq!(begun(bob.accept_first(&others[1], "").unwrap()).peer, eve.member_id());
    }
}

#[test]
fn keys_for_one_pair_begin_one_pair() {
    for make in STACKS {
        let [mut alice, mut bob, mut charlie] = [(); 3].map(|()| make().build().unwrap());
        let bundle = bob.one_time_bundle().unwrap();
        let first = alice.initiate(&bundle, "").unwrap().encrypt("first").unwrap();
        let again = alice.initiate(&bundle, "").unwrap().encrypt("again").unwrap();
        let other = charlie.initiate(&bundle, "").unwrap().encrypt("other").unwrap();
        begun(bob.accept_first(&first, "").unwrap());
        for wire in [again, other] {
            assert!(forged(&bob.accept_first(&wire, "").unwrap()));
        }
        // A bundle for many serves many, and each opening once, also when its pair is forgotten.
        let bundle = bob.bundle().unwrap();
        let old = alice.initiate(&bundle, "").unwrap().encrypt("old").unwrap();
        begun(bob.accept_first(&old, "").unwrap());
        assert!(matches!(bob.accept_first(&old, "").unwrap(), IncomingFirst::Known(_)));
        for _ in 0..256 {
            let next = charlie.initiate(&bundle, "").unwrap().encrypt("next").unwrap();
            begun(bob.accept_first(&next, "").unwrap());
        }
        assert!(matches!(bob.accept_first(&old, "").unwrap(), IncomingFirst::Stale));
        // Prekeys that were rotated away twice begin nothing.
        let late = alice.initiate(&bundle, "").unwrap().encrypt("late").unwrap();
        for _ in 0..2 {
            bob.configure::<SignalPairKeys, _>(|keys| Ok(keys.account_mut().rotate_prekeys()?))
                .unwrap();
        }
        assert!(forged(&bob.accept_first(&late, "").unwrap()));
    }
}

/// A person whose client knows other recipes is told so, as is who founds a stack that nobody signs for.
#[test]
fn another_stack_is_named_as_such() {
    let (mut alice, mut bob) = (classical().build().unwrap(), post_quantum().build().unwrap());
    let error = alice.initiate(bob.bundle().unwrap(), "").unwrap_err();
    assert!(matches!(error, Error::Decode(DecodeError::Stack)), "{error:?}");
    let mut dave = classical().build().unwrap();
    let first = alice.initiate(dave.bundle().unwrap(), "").unwrap().encrypt("text").unwrap();
    let incoming = bob.accept_first(&first, "").unwrap();
    assert!(matches!(incoming, IncomingFirst::Foreign(DecodeError::Stack)));
    let unsigned = PairAccount::builder()
        .keys(DhPairKeys::new(DhKeyPair::generate(Curve::P256).unwrap()))
        .keys(AesPairKeys::inherited());
    assert!(matches!(unsigned.build(), Err(Error::UnsignedBundle)));
    assert!(matches!(PairAccount::builder().build(), Err(Error::Stack(_))));
    // A message that has no opening begins nothing.
    let mut pair = begun(dave.accept_first(&first, "").unwrap()).manager;
    let plain = pair.encrypt("plain").unwrap();
    assert!(matches!(dave.accept_first(&plain, "").unwrap(), IncomingFirst::Foreign(_)));
}

/// Both programs are killed and started again between any two steps.
#[test]
fn a_pair_goes_on_after_restarts() {
    for make in STACKS {
        let [mut of_alice, mut of_bob] = [shared(), shared()];
        drop(make().create(Arc::clone(&of_alice), "me").unwrap());
        drop(make().create(Arc::clone(&of_bob), "me").unwrap());
        let restart = |store: &mut Shared| {
            *store = Arc::new(Mutex::new(store.clone().lock().unwrap().reopened()));
        };
        let account =
            |store: &Shared| PairAccount::open(Arc::clone(store), "me", &catalog()).unwrap();
        let pair = |store: &Shared| {
            CascadingCipherManager::open(Arc::clone(store), "pair", &catalog()).unwrap()
        };
        let bundle = account(&of_bob).one_time_bundle().unwrap();
        restart(&mut of_bob);
        drop(account(&of_alice).initiate(&bundle, "pair").unwrap());
        restart(&mut of_alice);
        let first = pair(&of_alice).encrypt("first").unwrap();
        restart(&mut of_alice);
        let second = pair(&of_alice).encrypt("second").unwrap();
        assert_eq!(pair(&of_alice).outbox().unwrap()[0].bytes, first);
        drop(begun(account(&of_bob).accept_first(&second, "pair").unwrap()));
        restart(&mut of_bob);
        assert!(matches!(account(&of_bob).accept_first(&first, "x"), Ok(IncomingFirst::Known(_))));
        assert_eq!(pair(&of_bob).inbox().unwrap()[0], "second");
        assert_eq!(pair(&of_bob).decrypt(&first).unwrap(), "first");
        restart(&mut of_bob);
        assert!(pair(&of_bob).decrypt(&first).unwrap_err().is_rejected());
        for round in 0..3 {
            for (from, to) in [(&of_bob, &of_alice), (&of_alice, &of_bob)] {
                let wire = pair(from).encrypt(format!("{round}")).unwrap();
                assert_eq!(pair(to).decrypt(&wire).unwrap(), format!("{round}"));
                assert!(pair(to).decrypt(&wire).unwrap_err().is_rejected());
            }
            restart(&mut of_alice);
            restart(&mut of_bob);
        }
        assert!(pair(&of_alice).is_pair_answered());
        let twice = make().create(Arc::clone(&of_bob), "me");
        assert!(matches!(twice, Err(Error::Store(StoreError::Exists))));
        pair(&of_bob).erase().unwrap();
        assert!(matches!(account(&of_bob).accept_first(&first, "x"), Ok(IncomingFirst::Known(_))));
    }
}

/// A store that fails, or may have failed, at the one commit of the acceptance: all of it is there or nothing.
#[test]
fn accepting_is_one_commit() {
    for make in STACKS {
        let mut alice = make().build().unwrap();
        let of_bob = shared();
        let mut bob = make().create(Arc::clone(&of_bob), "me").unwrap();
        let bundle = bob.one_time_bundle().unwrap();
        let first = alice.initiate(&bundle, "").unwrap().encrypt("first").unwrap();
        of_bob.lock().unwrap().fail_after(0, Failure::Full);
        let full = bob.accept_first(&first, "pair").unwrap_err();
        assert!(matches!(full, Error::Store(StoreError::Full)), "{full:?}");
        let reopened = || Arc::new(Mutex::new(of_bob.lock().unwrap().reopened()));
        assert!(CascadingCipherManager::stored(&*reopened().lock().unwrap()).unwrap().is_empty());
        for (failure, kept) in [(Failure::Lost, false), (Failure::Kept, true)] {
            let store = reopened();
            let mut bob = PairAccount::open(Arc::clone(&store), "me", &catalog()).unwrap();
            store.lock().unwrap().fail_after(0, failure);
            let doubt = bob.accept_first(&first, "pair").unwrap_err();
            assert!(matches!(&doubt, Error::Store(error) if error.is_in_doubt()), "{doubt:?}");
            assert!(bob.bundle().is_err() && bob.accept_first(&first, "pair").is_err());
            let store = Arc::new(Mutex::new(store.lock().unwrap().reopened()));
            let mut bob = PairAccount::open(Arc::clone(&store), "me", &catalog()).unwrap();
            match bob.accept_first(&first, "pair").unwrap() {
                IncomingFirst::Known(_) => assert!(kept),
                IncomingFirst::Begun(pair) => assert!(!kept && pair.message == "first"),
                other => panic!("{other:?}"),
            }
            let mut pair = CascadingCipherManager::open(store, "pair", &catalog()).unwrap();
            assert_eq!(pair.inbox().unwrap()[0], "first");
        }
        // The account that met the full store goes on, and one that was opened beside it does not.
        let mut old = PairAccount::open(Arc::clone(&of_bob), "me", &catalog()).unwrap();
        begun(bob.accept_first(&first, "pair").unwrap());
        let other = alice.initiate(&bundle, "").unwrap().encrypt("other").unwrap();
        assert!(forged(&bob.accept_first(&other, "y").unwrap()));
        assert!(matches!(old.accept_first(&first, "z"), Err(Error::Store(StoreError::Locked))));
        assert!(matches!(old.bundle(), Err(Error::Store(StoreError::Locked))));
    }
}

/// A copy of everything that Bob has: what it opens of what was recorded before, and of what comes after.
#[test]
fn a_thief_opens_neither_the_beginning_nor_what_comes_after_new_keys() {
    for make in STACKS {
        let mut alice = make().build().unwrap();
        let of_bob = shared();
        let mut bob = make().create(Arc::clone(&of_bob), "me").unwrap();
        let stolen = |store: &Shared| Arc::new(Mutex::new(store.lock().unwrap().reopened()));
        let mut to_bob = alice.initiate(bob.one_time_bundle().unwrap(), "").unwrap();
        let [first, second] = ["first", "second"].map(|text| to_bob.encrypt(text).unwrap());
        // The control: before it is accepted, a copy opens it.
        let mut early = PairAccount::open(stolen(&of_bob), "me", &catalog()).unwrap();
        assert_eq!(begun(early.accept_first(&first, "pair").unwrap()).message, "first");
        let mut to_alice = begun(bob.accept_first(&first, "pair").unwrap()).manager;
        to_alice.decrypt(&second).unwrap();
        let thief = stolen(&of_bob);
        let mut account = PairAccount::open(Arc::clone(&thief), "me", &catalog()).unwrap();
        let mut copy = CascadingCipherManager::open(thief, "pair", &catalog()).unwrap();
        for wire in [&first, &second] {
            assert!(!matches!(account.accept_first(wire, "x").unwrap(), IncomingFirst::Begun(_)));
            assert!(copy.decrypt(wire).is_err());
        }
        // The control: the next message opens, until both sides have new keys.
        let next = to_bob.encrypt("next").unwrap();
        assert_eq!(copy.decrypt(&next).unwrap(), "next");
        to_alice.decrypt(&next).unwrap();
        for _ in 0..2 {
            let wire = to_alice.encrypt("new keys").unwrap();
            to_bob.decrypt(&wire).unwrap();
            let wire = to_bob.encrypt("and of the other side").unwrap();
            to_alice.decrypt(&wire).unwrap();
        }
        let later = to_bob.encrypt("later").unwrap();
        assert!(copy.decrypt(&later).is_err());
        assert_eq!(to_alice.decrypt(&later).unwrap(), "later");
    }
}
