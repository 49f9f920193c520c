//! What the recorder of keys sees of this crate: everything that a member encrypts, and nothing twice but
//! by a member who goes back to an old copy of its state.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use crate::common;

use std::collections::BTreeSet;

use cc_core::key_use;
use common::{Peer, all_read_all, group, settle};

#[test]
fn every_message_and_commit_has_keys_of_its_own() {
    let mut peers = group(&["Alice", "Bob", "Charlie"]);
    key_use::start();
    for round in 0..5 {
        all_read_all(&mut peers);
        let staged = peers[round % 3].stage(&[], &[]).unwrap();
        settle(&mut peers, round % 3, &staged, &[]);
    }
    let mut dora = Peer::joiner("Dora");
    let staged = peers[0].stage(&[dora.key_package()], &[]).unwrap();
    settle(&mut peers, 0, &staged, &[]);
    dora.join(&staged).unwrap();
    let uses = key_use::take();
    // Content and sender data of 15 messages and 6 commits, and the GroupInfo and tree of a welcome.
    assert_eq!(uses.len(), 2 * (15 + 6) + 2);
    assert_eq!(uses.iter().collect::<BTreeSet<_>>().len(), uses.len());
}

#[test]
fn a_restart_is_seen_to_use_no_key_again_and_an_old_copy_to_do_so() {
    let mut alice = group(&["Alice", "Bob"]).swap_remove(0).stored();
    key_use::start();
    alice.seal(b"zero");
    let old = alice.store.as_ref().unwrap().reopened();
    alice.seal(b"one");
    let sent = key_use::take();
    assert_eq!(sent.len(), 4);

    alice.restart();
    key_use::start();
    alice.seal(b"two");
    let fresh = key_use::take();
    assert!(fresh.iter().all(|again| !sent.contains(again)));

    alice.restart_from(old);
    key_use::start();
    alice.seal(b"three");
    let again: Vec<_> = key_use::take().into_iter().filter(|again| sent.contains(again)).collect();
    // The key of "one"; that of the sender data depends on the text.
    assert_eq!(again, [sent[2]]);
}
