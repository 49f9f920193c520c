//! When members update, and what commits cost.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use crate::common;

use std::time::Duration;

use cc_mls_layer::UpdatePolicy;
use common::{Peer, assemble, group, settle};

const ALL_GAPS: fn() -> UpdatePolicy = || {
    UpdatePolicy::default()
        .with_max_epochs(None)
        .with_max_messages(None)
        .with_max_time(None)
        .with_min_gap(Some(1))
        .with_turn(Duration::from_secs(3600))
};

fn of(members: usize) -> Vec<Peer> {
    let joiners = (1..members).map(|i| Peer::joiner(&i.to_string())).collect();
    assemble(Peer::founder("0"), joiners)
}

fn update(peers: &mut [Peer], who: usize) {
    let staged = peers[who].stage(&[], &[]).unwrap();
    settle(peers, who, &staged, &[]);
}

fn ciphertexts(peers: &[Peer], who: usize) -> usize {
    peers[who].layer.commit_cost().unwrap().ciphertexts
}

#[test]
fn the_cost_of_a_commit_is_what_the_commit_weighs() {
    let mut peers = of(33);
    // A ciphertext is 80 bytes and its lengths, a node a key of 32, a commit some 500 beside.
    for who in [0, 17, 32, 5, 0] {
        let cost = peers[who].layer.commit_cost().unwrap();
        let staged = peers[who].stage(&[], &[]).unwrap();
        let expected = cost.ciphertexts * 82 + cost.nodes * 35;
        let beside = staged.parts.commit.len().checked_sub(expected).unwrap();
        assert!((300..700).contains(&beside), "{cost:?}: {beside} bytes beside");
        settle(&mut peers, who, &staged, &[]);
    }
}

#[test]
fn members_who_take_turns_fill_the_tree_one_an_epoch() {
    let mut peers = of(16);
    let policy = ALL_GAPS();
    // The founder's commit, which added all, filled a path.
    assert_eq!((ciphertexts(&peers, 0), ciphertexts(&peers, 15)), (15, 8));
    let mut updates = 0;
    loop {
        let due: Vec<usize> = (0..16).filter(|who| peers[*who].layer.update_due(&policy)).collect();
        match due[..] {
            [] => break,
            [who] => update(&mut peers, who),
            _ => panic!("{due:?} are due at once"),
        }
        updates += 1;
    }
    assert!(updates <= 8, "one of each pair: {updates}");
    for who in 0..16 {
        assert_eq!(ciphertexts(&peers, who), 4);
    }
    // A member who is removed leaves gaps; whoever fills them is due.
    let gone = peers.remove(9);
    let staged = peers[0].stage(&[], &[gone.id]).unwrap();
    settle(&mut peers, 0, &staged, &[]);
    let due = peers.iter().filter(|peer| peer.layer.update_due(&policy)).count();
    assert_eq!(due, 1);
}

#[test]
fn the_age_of_keys_counts_epochs_and_messages_and_an_update_ends_it() {
    let mut peers = group(&["Alice", "Bob", "Carol"]);
    let policy = ALL_GAPS().with_max_epochs(Some(2)).with_min_gap(None);
    let age = |peer: &Peer| peer.layer.update_age(&ALL_GAPS()).unwrap();
    for _ in 0..3 {
        peers[1].seal(b"hello");
    }
    assert_eq!((age(&peers[1]).epochs, age(&peers[1]).messages), (0, 3));
    update(&mut peers, 0);
    peers[1].seal(b"hello");
    assert_eq!((age(&peers[1]).epochs, age(&peers[1]).messages), (1, 4));
    assert_eq!((age(&peers[0]).epochs, age(&peers[0]).messages), (0, 0));
    update(&mut peers, 0);
    assert!(peers[1].layer.update_due(&policy));
    assert!(!peers[0].layer.update_due(&policy));

    // Nothing is due while a change is staged, and a change that is discarded renews nothing.
    peers[1].stage(&[], &[]).unwrap();
    assert!(!peers[1].layer.update_due(&policy));
    peers[1].transact(cc_core::GroupLayer::discard_change).unwrap();
    assert!(peers[1].layer.update_due(&policy));
    // Nor does a commit that is reverted after it was processed.
    let staged = peers[2].stage(&[], &[]).unwrap();
    let before = age(&peers[1]);
    let result = peers[1].transact(|layer| {
        let chain = common::chain(7);
        let context = common::context(staged.binding, Some(7), Some(&chain));
        let _ = cc_core::GroupLayer::process_commit(layer, &staged.parts.commit, &context)?;
        Err::<(), _>(cc_core::LayerError::rejected())
    });
    assert!(result.is_err());
    assert_eq!(age(&peers[1]).epochs, before.epochs);
    assert_eq!(age(&peers[1]).messages, before.messages);
    settle(&mut peers, 2, &staged, &[]);
    update(&mut peers, 1);
    assert_eq!((age(&peers[1]).epochs, age(&peers[1]).messages), (0, 0));
    assert!(!peers[1].layer.update_due(&policy));
}

#[test]
fn outside_a_group_nothing_is_due() {
    let policy = UpdatePolicy::default().with_max_time(Some(Duration::ZERO));
    let joiner = Peer::joiner("Bob");
    assert_eq!(joiner.layer.commit_cost(), None);
    assert_eq!(joiner.layer.update_age(&policy), None);
    assert!(!joiner.layer.update_due(&policy));
    let mut peers = group(&["Alice", "Bob"]);
    assert!(peers[1].layer.update_due(&policy));
    let bob = peers[1].id;
    let staged = peers[0].stage(&[], &[bob]).unwrap();
    settle(&mut peers, 0, &staged, &[]);
    assert_eq!(peers[1].layer.commit_cost(), None);
    assert!(!peers[1].layer.update_due(&policy));
}
