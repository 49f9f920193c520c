//! What is refused, and that a refusal changes nothing: the genuine one works afterwards.

use crate::common;

use cc_core::{CipherLayer, GroupLayer, Header, Hint, Kind, LayerErrorKind, StackId};
use cc_mls_layer::{Ciphersuite, MlsConfig};
use common::{
    KeyPackage, POSITION, Peer, Staged, Wire, all_read_all, assemble, chain, context, flip, group,
    settle,
};

/// Every bit of a short input, and an even spread over a long one.
fn bits(len: usize) -> impl Iterator<Item = usize> {
    let bits = len * 8;
    (0..bits).step_by((bits / 600).max(1))
}

fn lengths(len: usize) -> impl Iterator<Item = usize> {
    (0..len).step_by((len / 150).max(1))
}

fn damaged(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all: Vec<_> = bits(bytes.len()).map(|bit| flip(bytes, bit)).collect();
    all.extend(lengths(bytes.len()).map(|len| bytes[..len].to_vec()));
    let mut longer = bytes.to_vec();
    longer.push(0);
    all.push(longer);
    all.push(Vec::new());
    all
}

#[test]
fn every_damaged_message_is_refused() {
    let mut peers = group(&["Alice", "Bob"]);
    let wire = peers[0].seal(b"");
    for bit in 0..wire.body.len() * 8 {
        let bad = Wire { body: flip(&wire.body, bit), ..wire.clone() };
        let error = peers[1].open(&bad).unwrap_err();
        // Another epoch is a claim that anybody can make.
        let claims = [LayerErrorKind::Early, LayerErrorKind::Stale];
        assert!(error == LayerErrorKind::Rejected || claims.contains(&error), "{bit}");
    }
    for len in 0..wire.body.len() {
        let bad = Wire { body: wire.body[..len].to_vec(), ..wire.clone() };
        assert_eq!(peers[1].open(&bad), Err(LayerErrorKind::Rejected));
    }
    let mut longer = wire.clone();
    longer.body.push(0);
    assert_eq!(peers[1].open(&longer), Err(LayerErrorKind::Rejected));
    assert!(peers[1].open(&wire).is_ok());
    assert_eq!(peers[1].open(&wire), Err(LayerErrorKind::Duplicate), "a replay");
    all_read_all(&mut peers);
}

#[test]
fn another_binding_is_refused() {
    let mut peers = group(&["Alice", "Bob"]);
    let wire = peers[0].seal(b"bound");
    for header in [
        Header::new(Kind::Commit, &peers[0].stack, vec![]),
        Header::new(Kind::Application, &peers[0].stack, vec![]),
        Header::new(
            Kind::Application,
            &peers[0].stack,
            vec![Hint { position: POSITION, value: [9].as_slice().into() }],
        ),
    ] {
        let bad = Wire { header, ..wire.clone() };
        assert_eq!(peers[1].open(&bad), Err(LayerErrorKind::Rejected));
    }
    let stack = std::mem::replace(&mut peers[1].stack, StackId::of(&[]));
    assert_eq!(peers[1].open(&wire), Err(LayerErrorKind::Rejected));
    peers[1].stack = stack;
    assert!(peers[1].open(&wire).is_ok());
}

#[test]
fn own_messages_come_back_and_other_groups_messages_are_refused() {
    let mut peers = group(&["Alice", "Bob"]);
    let mut others = group(&["Alice", "Bob"]);
    let wire = peers[0].seal(b"mine");
    assert_eq!(peers[0].open(&wire), Err(LayerErrorKind::Own));
    assert_eq!(others[1].open(&wire), Err(LayerErrorKind::Rejected));
    let staged = peers[0].stage(&[], &[]).unwrap();
    assert_eq!(others[1].process(&staged).map(|_| ()), Err(LayerErrorKind::Rejected));
    all_read_all(&mut others);
    settle(&mut peers, 0, &staged, &[]);
    all_read_all(&mut peers);
}

#[test]
fn a_commit_is_no_message_and_a_message_no_commit() {
    let mut peers = group(&["Alice", "Bob"]);
    let wire = peers[0].seal(b"text");
    let staged = peers[0].stage(&[], &[]).unwrap();
    let swapped = Wire { body: staged.parts.commit.clone(), ..wire.clone() };
    assert_eq!(peers[1].open(&swapped), Err(LayerErrorKind::Rejected));
    let mut parts = staged.parts.clone();
    parts.commit.clone_from(&wire.body);
    let swapped = Staged { parts, ..staged };
    assert_eq!(peers[1].process(&swapped).map(|_| ()), Err(LayerErrorKind::Rejected));
    assert!(peers[1].open(&wire).is_ok());
    settle(&mut peers, 0, &staged, &[]);
}

#[test]
fn every_damaged_commit_is_refused() {
    let mut peers = group(&["Alice", "Bob", "Charlie"]);
    let staged = peers[0].stage(&[], &[]).unwrap();
    for commit in damaged(&staged.parts.commit) {
        let mut bad = staged.clone();
        bad.parts.commit = commit;
        let error = peers[1].process(&bad).map(|_| ()).unwrap_err();
        let claims = [LayerErrorKind::Early, LayerErrorKind::Stale];
        assert!(error == LayerErrorKind::Rejected || claims.contains(&error));
        assert_eq!(peers[1].epoch(), 1);
    }
    settle(&mut peers, 0, &staged, &[]);
    all_read_all(&mut peers);
}

#[test]
fn every_damaged_welcome_and_key_package_is_refused() {
    let mut peers = group(&["Alice", "Bob"]);
    let mut charlie = Peer::joiner("Charlie");
    let package = charlie.key_package();
    for part in damaged(&package.part) {
        let bad = KeyPackage { part, ..package.clone() };
        assert_eq!(peers[0].stage(&[bad], &[]).map(|_| ()), Err(LayerErrorKind::Rejected));
    }
    let commitment = peers[0].layer.inspect_key_package(&package.part).unwrap().commitment;
    assert_eq!(commitment, charlie.layer.commitment());
    assert!(peers[0].layer.inspect_key_package(b"x").is_err());

    let staged = peers[0].stage(&[package], &[]).unwrap();
    for welcome in damaged(&staged.parts.welcome) {
        let mut bad = staged.clone();
        bad.parts.welcome = welcome;
        assert_eq!(charlie.join(&bad), Err(LayerErrorKind::Rejected));
    }
    settle(&mut peers, 0, &staged, &[]);
    assert_eq!(charlie.join(&staged), Ok(Some(peers[0].id)));
    assert_eq!(charlie.join(&staged), Err(LayerErrorKind::Rejected));
    peers.push(charlie);
    all_read_all(&mut peers);
}

#[test]
fn a_key_package_of_another_id_or_binding_is_refused() {
    let mut alice = Peer::founder("Alice");
    let (mut bob, mut eve) = (Peer::joiner("Bob"), Peer::joiner("Eve"));
    let (bobs, eves) = (bob.key_package(), eve.key_package());
    let mixed = [
        KeyPackage { id: eve.id, ..bobs.clone() },
        KeyPackage { binding: eves.binding, ..bobs.clone() },
        KeyPackage { id: bobs.id, part: eves.part, binding: bobs.binding },
    ];
    for bad in mixed {
        assert_eq!(alice.stage(&[bad], &[]).map(|_| ()), Err(LayerErrorKind::Rejected));
    }
    assert!(alice.stage(&[bobs], &[]).is_ok());
}

#[test]
fn a_key_package_works_once() {
    let mut peers = group(&["Alice"]);
    let mut others = group(&["Dora"]);
    let mut bob = Peer::joiner("Bob");
    let package = bob.key_package();
    let staged = peers[0].stage(std::slice::from_ref(&package), &[]).unwrap();
    settle(&mut peers, 0, &staged, &[]);
    bob.join(&staged).unwrap();
    let bob_id = bob.id;
    peers.push(bob);
    // In the group already.
    let again = peers[0].stage(std::slice::from_ref(&package), &[]).map(|_| ());
    assert_eq!(again, Err(LayerErrorKind::Misuse));
    // Removed, and added by the same key package: the commit is valid, but Bob's keys are gone.
    let staged = peers[0].stage(&[], &[bob_id]).unwrap();
    settle(&mut peers, 0, &staged, &[]);
    let staged = others[0].stage(&[package], &[]).unwrap();
    assert_eq!(peers[1].join(&staged), Err(LayerErrorKind::Rejected));
}

#[test]
fn a_key_package_of_another_suite_or_expired_is_refused() {
    let mut alice = Peer::founder("Alice");
    let suite = Ciphersuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256;
    let mut other = Peer::with("Bob", false, MlsConfig::default().with_ciphersuite(suite));
    let package = other.key_package();
    assert_eq!(alice.stage(&[package], &[]).map(|_| ()), Err(LayerErrorKind::Rejected));

    let mut brief = Peer::joiner("Charlie");
    brief.layer.set_clock(|| 1_000_000_000);
    let package = brief.key_package();
    assert_eq!(alice.stage(&[package], &[]).map(|_| ()), Err(LayerErrorKind::Rejected));
    assert!(alice.stage(&[], &[]).is_ok());
}

#[test]
fn a_commit_and_a_welcome_need_the_parts_below() {
    let mut peers = group(&["Alice", "Bob"]);
    let mut charlie = Peer::joiner("Charlie");
    let package = charlie.key_package();
    let staged = peers[0].stage(&[package], &[]).unwrap();
    let other = Staged { binding: [3; 32], ..staged.clone() };
    assert_eq!(peers[1].process(&other).map(|_| ()), Err(LayerErrorKind::Rejected));
    assert_eq!(charlie.join(&other), Err(LayerErrorKind::Rejected));
    for below in [Some(8), None] {
        let refused = Err(LayerErrorKind::Rejected);
        assert_eq!(peers[1].process_with(&staged, below).map(|_| ()), refused);
        assert_eq!(charlie.join_with(&staged, below), Err(LayerErrorKind::Rejected));
    }
    // Members below but no secret from them is not the same as a secret.
    let silent = context(staged.binding, Some(7), None);
    let result = peers[1].transact(|layer| layer.process_commit(&staged.parts.commit, &silent));
    assert_eq!(result.map(|_| ()), Err(LayerErrorKind::Rejected));

    settle(&mut peers, 0, &staged, &[]);
    charlie.join(&staged).unwrap();
    peers.push(charlie);
    all_read_all(&mut peers);
}

#[test]
fn a_plain_commit_or_welcome_is_refused_where_a_binding_is_demanded() {
    let mut peers = assemble(Peer::founder("Alice").alone(), vec![Peer::joiner("Bob").alone()]);
    let mut charlie = Peer::joiner("Charlie").alone();
    let package = charlie.key_package();
    let staged = peers[0].stage(&[package], &[]).unwrap();
    assert_eq!(peers[1].process_with(&staged, Some(7)).map(|_| ()), Err(LayerErrorKind::Rejected));
    assert_eq!(charlie.join_with(&staged, Some(7)), Err(LayerErrorKind::Rejected));
    settle(&mut peers, 0, &staged, &[]);
    charlie.join(&staged).unwrap();
    peers.push(charlie);
    all_read_all(&mut peers);
}

/// Where nothing is below, no pre-shared key binds a commit to the parts of other layers: what it says of them does.
#[test]
fn a_commit_and_a_welcome_of_a_layer_alone_are_of_one_binding() {
    let mut peers = assemble(Peer::founder("Alice").alone(), vec![Peer::joiner("Bob").alone()]);
    let mut charlie = Peer::joiner("Charlie").alone();
    let package = charlie.key_package();
    let staged = peers[0].stage(&[package], &[]).unwrap();
    let other = Staged { binding: [3; 32], ..staged.clone() };
    assert_eq!(peers[1].process(&other).map(|_| ()), Err(LayerErrorKind::Rejected));
    assert_eq!(charlie.join(&other), Err(LayerErrorKind::Rejected));
    settle(&mut peers, 0, &staged, &[]);
    charlie.join(&staged).unwrap();
}

#[test]
fn members_below_without_a_secret_still_bind() {
    let mut peers = group(&["Alice", "Bob"]);
    let silent = context([5; 32], Some(7), None);
    let parts = peers[0]
        .transact(|layer| layer.stage_change(&cc_core::ChangeRequest::default(), &silent))
        .unwrap();
    let below = chain(7);
    let speaking = context([5; 32], Some(7), Some(&below));
    let wrong = peers[1].transact(|layer| layer.process_commit(&parts.commit, &speaking));
    assert_eq!(wrong.map(|_| ()), Err(LayerErrorKind::Rejected));
    let _ = peers[1].transact(|layer| layer.process_commit(&parts.commit, &silent)).unwrap();
    peers[0].confirm();
    all_read_all(&mut peers);
}

#[test]
fn a_commit_of_a_removed_member_is_refused() {
    let mut peers = group(&["Alice", "Bob", "Charlie"]);
    let charlie = peers[2].id;
    let removal = peers[0].stage(&[], &[charlie]).unwrap();
    settle(&mut peers, 0, &removal, &[2]);
    let alice = peers[0].id;
    let revenge = peers[2].stage(&[], &[alice]).unwrap();
    assert_eq!(peers[1].process(&revenge).map(|_| ()), Err(LayerErrorKind::Stale));
}

#[test]
fn a_message_too_far_ahead_waits_for_what_was_sent_before() {
    let config = MlsConfig::default().with_max_forward_distance(10);
    let peer = |name, founder| Peer::with(name, founder, config.clone());
    let mut peers = assemble(peer("Alice", true), vec![peer("Bob", false)]);
    let wires: Vec<_> = (0..13).map(|_| peers[0].seal(b"x")).collect();
    assert_eq!(peers[1].open(&wires[12]), Err(LayerErrorKind::Early));
    assert!(peers[1].open(&wires[9]).is_ok());
    assert!(peers[1].open(&wires[12]).is_ok());
}

#[test]
fn random_bytes_are_refused_everywhere() {
    let mut peers = group(&["Alice", "Bob"]);
    let wire = peers[0].seal(b"x");
    for len in [0usize, 1, 2, 3, 4, 5, 40, 1000] {
        for fill in [0u8, 1, 0x3f, 0x40, 0x7f, 0x80, 0xbf, 0xff] {
            // A genuine front, then lengths of every width with nothing behind them.
            for front in [0, 2, 4, 5] {
                let mut body = wire.body[..front].to_vec();
                body.extend(std::iter::repeat_n(fill, len));
                let bad = Wire { body: body.clone(), ..wire.clone() };
                assert!(peers[1].open(&bad).is_err());
                assert!(peers[1].layer.inspect_key_package(&body).is_err());
                let parts = cc_core::ChangeParts { commit: body.clone(), welcome: body };
                let staged = Staged { parts, binding: [0; 32] };
                assert!(peers[1].process(&staged).is_err());
            }
        }
    }
    let mut charlie = Peer::joiner("Charlie");
    let hint = charlie.layer.recall(&[0; 8]).map(|_| ()).unwrap_err().kind();
    assert_eq!(hint, LayerErrorKind::NotReady);
    assert!(peers[1].open(&wire).is_ok());
}
