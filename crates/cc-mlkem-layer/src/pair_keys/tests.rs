//! What a bundle and an opening make, what is refused, and what a store has.

use cc_core::LayerErrorKind;
use cc_root_group::pair_tests::{begin, of, talk};

use super::*;

fn keys(suite: ParameterSet) -> MlKemPairKeys {
    MlKemPairKeys::new(HybridKeyPair::generate(suite).unwrap())
}

cc_root_group::pair_tests!(keys, [ParameterSet::MlKem768, ParameterSet::MlKem1024]);

#[test]
fn a_damaged_setup_is_refused() {
    for suite in [ParameterSet::MlKem768, ParameterSet::MlKem1024] {
        let [mut alice, mut bob] = [(); 2].map(|()| keys(suite));
        let setup = alice.initiate(&of(&bob.identity(), &[])).unwrap().setup;
        for at in (0..setup.len()).step_by(29) {
            let mut flipped = setup.clone();
            flipped[at] ^= 1;
            for setup in [&flipped, &setup[..at]] {
                let accepted = bob.accept(&of(&alice.identity(), setup));
                assert_eq!(accepted.err().unwrap().kind(), LayerErrorKind::Rejected, "{at}");
            }
        }
        // Nothing of it was in the way.
        let [mut to_bob, mut to_alice] = begin(&mut alice, &mut bob);
        talk(&mut *to_bob, &mut *to_alice);
    }
}
