//! What a bundle and an opening make, what is refused, and what a store has.

use cc_core::LayerErrorKind;
use cc_root_group::pair_tests::{begin, of, talk};

use super::*;

fn keys(suite: Curve) -> DhPairKeys {
    DhPairKeys::new(DhKeyPair::generate(suite).unwrap())
}

cc_root_group::pair_tests!(keys, [Curve::X25519, Curve::P256]);

#[test]
fn an_opening_with_a_setup_is_refused() {
    for suite in [Curve::X25519, Curve::P256] {
        let [mut alice, mut bob] = [(); 2].map(|()| keys(suite));
        let accepted = alice.accept(&of(&bob.identity(), b"setup"));
        assert_eq!(accepted.err().unwrap().kind(), LayerErrorKind::Rejected);
        let [mut to_bob, mut to_alice] = begin(&mut alice, &mut bob);
        talk(&mut *to_bob, &mut *to_alice);
    }
}
