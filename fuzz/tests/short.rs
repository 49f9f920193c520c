//! Every target for a moment: random bytes of all lengths.

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};

#[test]
fn no_target_finds_anything_in_random_bytes() {
    for (name, target) in cc_fuzz::TARGETS {
        let mut runner = TestRunner::new(Config { cases: 400, ..Config::default() });
        let bytes = prop_oneof![vec(any::<u8>(), 0..64), vec(any::<u8>(), 0..2048)];
        let result = runner.run(&bytes, |bytes| {
            target(&bytes);
            Ok(())
        });
        assert!(result.is_ok(), "{name}: {result:?}");
    }
}
