//! A failure in one layer leaves every other layer as it was.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::sync::atomic::Ordering::Relaxed;

use cc_manager::{CascadingCipherManager, Error};
use common::{Follow as _, Tripwire, all_read_all, full};

fn with_tripwire(
    name: &str,
    founder: bool,
    position: usize,
) -> (CascadingCipherManager, std::sync::Arc<std::sync::atomic::AtomicBool>) {
    let mut manager = full(name, founder).build().unwrap();
    let (tripwire, armed) = Tripwire::new();
    manager.insert_layer(position, tripwire).unwrap();
    (manager, armed)
}

#[test]
fn a_failure_at_any_position_leaves_all_layers_as_they_were() {
    for position in 0..=3 {
        let (mut alice, alice_armed) = with_tripwire("alice", true, position);
        let (mut bob, bob_armed) = with_tripwire("bob", false, position);
        let change = alice.add_members([bob.key_package().unwrap()]).unwrap();
        let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
        bob.join(&welcome).unwrap();

        // Opening fails, and the same message opens afterwards, once.
        let wire = alice.encrypt("text").unwrap();
        bob_armed.store(true, Relaxed);
        for _ in 0..3 {
            let error = bob.decrypt(&wire).unwrap_err();
            assert!(matches!(error, Error::Layer { position: at, .. } if at == position));
        }
        bob_armed.store(false, Relaxed);
        assert_eq!(bob.decrypt(&wire).unwrap(), "text");
        assert!(bob.decrypt(&wire).is_err());

        // Sealing fails, and what is sealed afterwards opens.
        alice_armed.store(true, Relaxed);
        assert!(alice.encrypt("never sent").is_err());
        assert!(alice.update().is_err());
        assert!(alice.staged_change().is_none());
        alice_armed.store(false, Relaxed);
        let wire = alice.encrypt("sent").unwrap();
        assert_eq!(bob.decrypt(&wire).unwrap(), "sent");

        // Processing a commit fails, and the same commit is processed afterwards.
        let update = alice.update().unwrap();
        bob_armed.store(true, Relaxed);
        assert!(bob.process(&update.commit).is_err());
        bob_armed.store(false, Relaxed);
        bob.process(&update.commit).unwrap();
        alice.confirm(update.id()).unwrap();
        all_read_all(&mut [alice, bob]);
    }
}
