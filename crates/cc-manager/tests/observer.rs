//! What somebody sees, and does, who has everything on its way and no key.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::collections::HashSet;

use cc_aes_layer::{AesKey, AesLayer};
use cc_core::{Envelope, Kind};
use cc_dh_layer::{Curve, DhKeyPair, DhLayer};
use cc_manager::{CascadingCipherManager, Incoming, ManagerBuilder};
use cc_mlkem_layer::{HybridKeyPair, MlKemLayer, ParameterSet};
use cc_signal_layer::{Account, SignalLayer};
use common::{Follow as _, dh, full, mls};

type Make = fn(&str, bool) -> ManagerBuilder;

fn mls_on_top(name: &str, founder: bool) -> ManagerBuilder {
    CascadingCipherManager::builder().layer(dh()).layer(mls(name, founder))
}

fn mlkem(_: &str, _: bool) -> ManagerBuilder {
    let keys = HybridKeyPair::generate(ParameterSet::MlKem768).unwrap();
    CascadingCipherManager::builder().layer(MlKemLayer::group(keys)).layer(AesLayer::inherited())
}

fn signal(_: &str, _: bool) -> ManagerBuilder {
    CascadingCipherManager::builder().layer(SignalLayer::group(Account::generate().unwrap()))
}

/// Two members of one group.
fn group(make: Make) -> [CascadingCipherManager; 2] {
    let mut alice = make("Alice of Wonderland", true).build().unwrap();
    let mut bob = make("Bob the Builder", false).build().unwrap();
    let change = alice.add_members([bob.key_package().unwrap()]).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    bob.join(&welcome).unwrap();
    [alice, bob]
}

/// Bytes of a message of MLS in front of what is encrypted: version and form, the id of the group (random), epoch, kind
/// of content, and the binding as authenticated data (RFC 9420 section 6.3).
const FRAMING: usize = 4 + (1 + 16) + 8 + 1 + (1 + 34);

/// Of each stack: how many hints there are, of 8 bytes all, what of the topmost layer stays the same, and of how many
/// bytes lengths are multiples.
const STACKS: [(Make, usize, usize, usize); 4] =
    [(full, 2, 0, 32), (mls_on_top, 2, FRAMING, 32), (mlkem, 1, 0, 1), (signal, 0, 0, 1)];

#[test]
fn a_message_shows_its_stack_its_epoch_and_its_length() {
    for (stack, (make, hints, framing, step)) in STACKS.into_iter().enumerate() {
        let [mut alice, mut bob] = group(make);
        let epoch = alice.epoch().unwrap();

        // Of the same text again and again nothing comes twice behind the envelope, whoever sends it.
        let mut seen = HashSet::new();
        let envelope = 3 + 16 + 1 + hints * (2 + 1 + 8) + framing;
        let mut first = None;
        for _ in 0..4 {
            for member in [&mut alice, &mut bob] {
                let wire = member.encrypt("a text of some length, the same each time").unwrap();
                let shown = Envelope::peek(&wire).unwrap();
                assert_eq!(shown.kind(), Kind::Application);
                assert_eq!(shown.hints().count(), hints, "{stack}");
                assert_eq!(shown.epoch(), (hints > 0).then_some(epoch), "{stack}");
                let (front, body) = wire.split_at(envelope);
                assert_eq!(*first.get_or_insert_with(|| front.to_vec()), front, "{stack}");
                for part in body.windows(8) {
                    assert!(seen.insert(part.to_vec()), "{stack}: {part:?} comes twice");
                }
            }
        }
        let known = [b"Alice of Wonderland".to_vec(), b"Bob the Builder".to_vec()];
        let ids = [&alice, &bob].map(|member| member.member_id().unwrap().as_bytes().to_vec());
        for part in known.iter().chain(&ids).flat_map(|known| known.windows(8)) {
            assert!(!seen.contains(part), "{stack}: {part:?} names somebody");
        }

        // Who watches lengths learns that of the text, up to the padding of MLS.
        let lens: Vec<_> =
            (0..130).map(|len| alice.encrypt(vec![7; len]).unwrap().len() - envelope).collect();
        for pair in lens.windows(2) {
            assert!(pair[1] == pair[0] || pair[1] == pair[0] + step, "{stack}: {pair:?}");
        }
        let different = lens.iter().collect::<HashSet<_>>().len();
        let expected = 130usize.div_ceil(step);
        assert!((expected..=expected + 1).contains(&different), "{stack}: {different}");
    }
}

/// Whether a message opens again when it comes again, and with who sent it: as the layers are, and as the report says.
#[test]
fn a_message_opens_again_where_no_layer_refuses_that() {
    let dh_group: Make = |_, _| CascadingCipherManager::builder().layer(dh());
    let aes = || {
        let key = AesKey::copy_from(&[7; 32]).unwrap();
        CascadingCipherManager::builder().layer(AesLayer::new(key)).build().unwrap()
    };
    let pair = || {
        let [a, b] = [(); 2].map(|()| DhKeyPair::generate(Curve::X25519).unwrap());
        let (of_a, of_b) = (*a.public_key(), *b.public_key());
        [(a, of_b), (b, of_a)].map(|(own, peer)| {
            let layer = DhLayer::pairwise(own, peer).unwrap();
            CascadingCipherManager::builder().layer(layer).build().unwrap()
        })
    };
    for (stack, [mut alice, mut bob], again, back) in [
        ("a shared key", [aes(), aes()], true, true),
        ("a DH pair", pair(), true, false),
        ("a DH group", group(dh_group), true, true),
        ("an ML-KEM group", group(mlkem), true, true),
        ("a Signal group", group(signal), false, false),
        ("MLS above DH", group(mls_on_top), false, false),
    ] {
        let wire = alice.encrypt("text").unwrap();
        assert!(matches!(bob.receive(&wire).unwrap(), Incoming::Message(_)), "{stack}");
        let opens = |member: &mut CascadingCipherManager| {
            matches!(member.receive(&wire).unwrap(), Incoming::Message(_))
        };
        assert_eq!((opens(&mut bob), opens(&mut alice)), (again, back), "{stack}");
        assert_eq!(bob.stack_report().refuses_replays, !again, "{stack}");
    }
}
