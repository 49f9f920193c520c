//! What a group is called, and what it requires of its members.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use crate::common;

use cc_core::{GroupLayer as _, LayerErrorKind, Standing};
use cc_mls_layer::{MlsConfig, MlsError, MlsIdentity, MlsLayer};
use common::{Peer, all_read_all, group, settle};

fn name(peer: &Peer) -> String {
    peer.layer.group_name().unwrap()
}

#[test]
fn a_change_renames_the_group_for_all() {
    let mut peers = group(&["Alice", "Bob"]);
    let mut charlie = Peer::joiner("Charlie");
    for (who, new) in [(1, "Ops"), (0, ""), (1, "Ops again"), (0, "Ops again")] {
        peers[who].layer.rename_group(new).unwrap();
        let before = name(&peers[who]);
        let staged = peers[who].stage(&[], &[]).unwrap();
        assert_eq!(name(&peers[who]), before, "not before it is in force");
        settle(&mut peers, who, &staged, &[]);
        assert!(peers.iter().all(|peer| name(peer) == new));
        all_read_all(&mut peers);
    }
    peers[1].layer.rename_group("With Charlie").unwrap();
    let staged = peers[1].stage(&[charlie.key_package()], &[]).unwrap();
    settle(&mut peers, 1, &staged, &[]);
    charlie.join(&staged).unwrap();
    peers.push(charlie);
    assert!(peers.iter().all(|peer| name(peer) == "With Charlie"));
    all_read_all(&mut peers);
}

#[test]
fn a_discarded_change_renames_nothing() {
    let mut peers = group(&["Alice", "Bob"]);
    peers[0].layer.rename_group("Never").unwrap();
    let _ = peers[0].stage(&[], &[]).unwrap();
    peers[0].transact(cc_core::GroupLayer::discard_change).unwrap();
    let staged = peers[0].stage(&[], &[]).unwrap();
    settle(&mut peers, 0, &staged, &[]);
    assert!(peers.iter().all(|peer| name(peer) == "Dev Team"));

    // A change of somebody else's comes first.
    peers[0].layer.rename_group("Never").unwrap();
    let _ = peers[0].stage(&[], &[]).unwrap();
    peers[1].layer.rename_group("Bob's").unwrap();
    let staged = peers[1].stage(&[], &[]).unwrap();
    assert!(peers[0].process(&staged).is_ok());
    peers[1].confirm();
    assert!(peers.iter().all(|peer| name(peer) == "Bob's"));

    // A change that fails takes the wish with it.
    peers[0].layer.rename_group("Never").unwrap();
    let own = peers[0].id;
    assert!(peers[0].stage(&[], &[own]).is_err());
    let staged = peers[0].stage(&[], &[]).unwrap();
    settle(&mut peers, 0, &staged, &[]);
    assert!(peers.iter().all(|peer| name(peer) == "Bob's"));

    let long = "x".repeat(4097);
    assert!(matches!(peers[0].layer.rename_group(long), Err(MlsError::Name { .. })));
    assert!(matches!(Peer::joiner("Dora").layer.rename_group("x"), Err(MlsError::NoGroup)));
}

#[test]
fn whoever_lacks_what_is_required_is_not_added() {
    let config = || MlsConfig::default().with_extension_types(vec![0xf0f0, 0xf0f1, 0xf0cd]);
    let policy = |config: MlsConfig| config.with_credential_policy(|_, _| true);
    let founder = policy(config()).with_required_capabilities(vec![0xf0f0, 0xf0cd, 0x000a], true);
    let mut alice = Peer::with("Alice", true, founder);
    let mut bob = Peer::with("Bob", false, policy(config()));
    for lacking in [
        config(),
        policy(MlsConfig::default()),
        policy(MlsConfig::default().with_extension_types(vec![0xf0f1])),
    ] {
        let package = Peer::with("Bob", false, lacking).key_package();
        assert_eq!(alice.stage(&[package], &[]).map(|_| ()), Err(LayerErrorKind::Misuse));
        assert_eq!(alice.layer.standing(), Standing::Member { epoch: 0 });
    }
    let staged = alice.stage(&[bob.key_package()], &[]).unwrap();
    alice.confirm();
    assert_eq!(bob.join(&staged), Ok(Some(alice.id)));
    let mut peers = vec![alice, bob];
    all_read_all(&mut peers);
    // What was required before is required after.
    peers[1].layer.rename_group("Renamed").unwrap();
    let staged = peers[1].stage(&[], &[]).unwrap();
    settle(&mut peers, 1, &staged, &[]);
    let package = Peer::with("Charlie", false, config()).key_package();
    assert_eq!(peers[0].stage(&[package], &[]).map(|_| ()), Err(LayerErrorKind::Misuse));
    all_read_all(&mut peers);
}

#[test]
fn a_founder_can_do_what_it_requires() {
    for config in [
        MlsConfig::default().with_required_capabilities(vec![0xf0f0], false),
        MlsConfig::default().with_required_capabilities(vec![], true),
    ] {
        let identity = MlsIdentity::generate("Alice").unwrap();
        assert!(matches!(MlsLayer::create_with("", identity, config), Err(MlsError::Config(_))));
    }
    let config = MlsConfig::default().with_required_capabilities(vec![0xf0cd], false);
    let alice = Peer::with("Alice", true, config);
    assert_eq!(alice.layer.standing(), Standing::Member { epoch: 0 });
}
