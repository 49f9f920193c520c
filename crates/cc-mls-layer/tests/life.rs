//! The life of a group: found, add, talk, update, remove, rejoin; and who may read what.

use crate::common;

use cc_core::{Attachment, CipherLayer, GroupLayer, LayerErrorKind, MemberId, StackId, Standing};
use cc_mls_layer::{MlsConfig, MlsError, MlsIdentity, MlsLayer};
use common::{POSITION, Peer, all_read_all, assemble, group, settle};

#[test]
fn a_founder_is_a_group_of_one() {
    let mut alice = Peer::founder("Alice");
    assert_eq!(alice.layer.standing(), Standing::Member { epoch: 0 });
    assert_eq!(alice.layer.group_name().as_deref(), Some("Dev Team"));
    assert_eq!(alice.layer.group_id().map(<[u8]>::len), Some(16));
    assert_eq!(alice.layer.members().len(), 1);
    alice.seal(b"to nobody");
    let staged = alice.stage(&[], &[]).unwrap();
    assert!(staged.parts.welcome.is_empty());
    alice.confirm();
    assert_eq!(alice.epoch(), 1);
}

#[test]
fn several_join_at_once_and_all_read_all() {
    let mut peers = group(&["Alice", "Bob", "Charlie", "Ζωή Δέλτα"]);
    all_read_all(&mut peers);
    for peer in &peers {
        assert_eq!(peer.layer.group_name().as_deref(), Some("Dev Team"));
        let leaves: Vec<_> = peer.layer.mls_members().iter().map(|m| m.leaf_index).collect();
        assert_eq!(leaves, [0, 1, 2, 3]);
        assert!(peer.layer.mls_members().iter().all(|m| m.signature_key.len() == 32));
    }
    let secrets: Vec<_> =
        peers.iter().map(|p| p.layer.export_secret("x", b"y", 48).unwrap()).collect();
    assert!(secrets.iter().all(|secret| *secret == secrets[0] && secret.expose().len() == 48));
    assert!(matches!(
        peers[0].layer.export_secret("x", b"", 1 << 16),
        Err(MlsError::ExportLength(65536))
    ));
    // What the layer above gets is not for the application.
    for context in [&b""[..], b"context"] {
        let reserved = peers[0].layer.export_secret("cascading-cipher", context, 32);
        assert!(matches!(reserved, Err(MlsError::ReservedLabel)));
    }
}

#[test]
fn members_come_one_by_one_update_and_go() {
    let mut peers = group(&["Alice", "Bob"]);
    let mut charlie = Peer::joiner("Charlie");
    let before = peers[0].seal(b"before Charlie");
    assert!(peers[1].open(&before).is_ok());

    let package = charlie.key_package();
    let staged = peers[1].stage(&[package], &[]).unwrap();
    let outcome = peers[0].process(&staged).unwrap();
    assert_eq!(outcome.committer, Some(peers[1].id));
    assert_eq!(outcome.added, [charlie.id]);
    assert!(outcome.removed.is_empty() && !outcome.removed_self);
    peers[1].confirm();
    assert_eq!(charlie.join(&staged), Ok(Some(peers[1].id)));
    assert_eq!(charlie.open(&before), Err(LayerErrorKind::Stale));
    peers.push(charlie);
    all_read_all(&mut peers);

    for who in 0..3 {
        let exporter = peers[who].exporter();
        let staged = peers[who].stage(&[], &[]).unwrap();
        settle(&mut peers, who, &staged, &[]);
        all_read_all(&mut peers);
        assert_ne!(peers[who].exporter(), exporter);
    }

    let (bob, charlie) = (peers[1].id, peers[2].id);
    let staged = peers[2].stage(&[], &[bob]).unwrap();
    let outcome = peers[1].process(&staged).unwrap();
    assert_eq!(outcome.removed, [bob]);
    assert_eq!(outcome.committer, Some(charlie));
    assert!(outcome.removed_self);
    assert_eq!(peers[1].layer.standing(), Standing::Removed);
    settle(&mut peers, 2, &staged, &[1]);
    let mut bob = peers.remove(1);
    all_read_all(&mut peers);
    let secret = peers[0].seal(b"without Bob");
    assert!(bob.open(&secret).is_err());
    assert_eq!(bob.seal_only(b"x").map(|_| ()).unwrap_err().kind(), LayerErrorKind::NotReady);
    assert_eq!(bob.layer.contribute().map(|_| ()).unwrap_err().kind(), LayerErrorKind::NotReady);
    assert_eq!(bob.stage(&[], &[]).map(|_| ()), Err(LayerErrorKind::NotReady));
}

#[test]
fn a_removed_member_that_does_not_know_it_reads_nothing() {
    let mut peers = group(&["Alice", "Bob", "Charlie"]);
    let charlie = peers[2].id;
    let staged = peers[0].stage(&[], &[charlie]).unwrap();
    settle(&mut peers, 0, &staged, &[2]);
    let wire = peers[1].seal(b"without Charlie");
    assert!(peers[0].open(&wire).is_ok());
    assert_eq!(peers[2].open(&wire), Err(LayerErrorKind::Early));
    let late = peers[2].seal(b"I am still here");
    assert!(peers[0].open(&late).is_ok(), "an epoch within the window");
}

#[test]
fn who_was_removed_may_come_back() {
    let mut peers = group(&["Alice", "Bob"]);
    let bob = peers[1].id;
    let staged = peers[0].stage(&[], &[bob]).unwrap();
    settle(&mut peers, 0, &staged, &[]);
    let package = peers[1].key_package();
    let staged = peers[0].stage(&[package], &[]).unwrap();
    peers[0].confirm();
    peers[1].join(&staged).unwrap();
    all_read_all(&mut peers);
}

#[test]
fn one_commit_removes_and_adds() {
    let mut peers = group(&["Alice", "Bob", "Charlie"]);
    let mut dora = Peer::joiner("Dora");
    let (charlie, package) = (peers[2].id, dora.key_package());
    let staged = peers[0].stage(&[package], &[charlie]).unwrap();
    let outcome = peers[1].process(&staged).unwrap();
    assert_eq!((outcome.added, outcome.removed), (vec![dora.id], vec![charlie]));
    peers[0].confirm();
    dora.join(&staged).unwrap();
    peers.truncate(2);
    peers.push(dora);
    all_read_all(&mut peers);
}

#[test]
fn while_staged_the_old_epoch_goes_on() {
    let mut peers = group(&["Alice", "Bob"]);
    let staged = peers[0].stage(&[], &[]).unwrap();
    assert_eq!(peers[0].epoch(), 1);
    all_read_all(&mut peers);
    assert_eq!(peers[0].stage(&[], &[]).map(|_| ()), Err(LayerErrorKind::Misuse));

    let pending = peers[0].layer.next_contribution().unwrap().unwrap();
    assert_eq!(pending.hint, 2u64.to_be_bytes());
    peers[0].layer.discard_change().unwrap();
    peers[0].layer.apply();
    assert_eq!(
        peers[0].layer.next_contribution().map(|_| ()).unwrap_err().kind(),
        LayerErrorKind::NotReady
    );
    assert_eq!(peers[0].transact(GroupLayer::confirm_change), Err(LayerErrorKind::NotReady));
    // Discarded here, but taken elsewhere: Bob is in an epoch that Alice never gets to.
    assert!(peers[1].process(&staged).is_ok());
}

#[test]
fn next_contributions_agree() {
    let mut peers = group(&["Alice", "Bob"]);
    let mut charlie = Peer::joiner("Charlie");
    let package = charlie.key_package();
    let staged = peers[0].stage(&[package], &[]).unwrap();
    let pending = peers[0].layer.next_contribution().unwrap().unwrap();

    let chain = common::chain(7);
    let context = common::context(staged.binding, Some(7), Some(&chain));
    let _ = peers[1].layer.process_commit(&staged.parts.commit, &context).unwrap();
    let processed = peers[1].layer.next_contribution().unwrap().unwrap();
    charlie.layer.join(&staged.parts.welcome, &context).unwrap();
    let joined = charlie.layer.next_contribution().unwrap().unwrap();
    peers[0].layer.confirm_change().unwrap();
    let confirmed = peers[0].layer.next_contribution().unwrap().unwrap();
    for next in [&processed, &joined, &confirmed] {
        assert_eq!((&next.hint, &next.secret), (&pending.hint, &pending.secret));
    }
    peers.push(charlie);
    for peer in &mut peers {
        peer.layer.apply();
        assert_eq!(peer.exporter(), pending.secret);
    }
}

#[test]
fn of_two_commits_one_wins() {
    let mut peers = group(&["Alice", "Bob", "Charlie"]);
    let from_alice = peers[0].stage(&[], &[]).unwrap();
    let from_bob = peers[1].stage(&[], &[]).unwrap();
    // The delivery service took Bob's.
    settle(&mut peers, 1, &from_bob, &[]);
    assert_eq!(peers[2].process(&from_alice).map(|_| ()), Err(LayerErrorKind::Stale));
    all_read_all(&mut peers);
    let again = peers[0].stage(&[], &[]).unwrap();
    settle(&mut peers, 0, &again, &[]);
    all_read_all(&mut peers);
}

#[test]
fn an_own_commit_is_confirmed_not_processed() {
    let mut peers = group(&["Alice", "Bob"]);
    let staged = peers[0].stage(&[], &[]).unwrap();
    assert_eq!(peers[0].process(&staged).map(|_| ()), Err(LayerErrorKind::Own));
    settle(&mut peers, 0, &staged, &[]);
    assert_eq!(peers[0].process(&staged).map(|_| ()), Err(LayerErrorKind::Own));
    assert_eq!(peers[1].process(&staged).map(|_| ()), Err(LayerErrorKind::Duplicate));
    // One that was discarded is still its own: the sender data say so.
    let discarded = peers[0].stage(&[], &[]).unwrap();
    peers[0].transact(GroupLayer::discard_change).unwrap();
    assert_eq!(peers[0].process(&discarded).map(|_| ()), Err(LayerErrorKind::Own));
    all_read_all(&mut peers);
}

#[test]
fn changes_that_make_no_sense_are_misuse() {
    let mut peers = group(&["Alice", "Bob"]);
    let (alice, bob) = (peers[0].id, peers[1].id);
    let nobody = MemberId::from_bytes([1; 32]);
    assert_eq!(peers[0].stage(&[], &[nobody]).map(|_| ()), Err(LayerErrorKind::Misuse));
    assert_eq!(peers[0].stage(&[], &[alice]).map(|_| ()), Err(LayerErrorKind::Misuse));
    let mut charlie = Peer::joiner("Charlie");
    let twice = [charlie.key_package(), charlie.key_package()];
    assert_eq!(peers[0].stage(&twice, &[]).map(|_| ()), Err(LayerErrorKind::Misuse));
    let removed = peers[0].stage(&[], &[bob, bob]).unwrap();
    settle(&mut peers, 0, &removed, &[]);
    assert_eq!(peers[0].layer.members().len(), 1);
    let mut dora = Peer::joiner("Dora");
    assert_eq!(dora.stage(&[], &[]).map(|_| ()), Err(LayerErrorKind::NotReady));
    assert_eq!(dora.layer.standing(), Standing::Outside);
    assert!(dora.layer.members().is_empty());
}

#[test]
fn late_messages_open_within_the_window_and_no_further() {
    let mut peers = group(&["Alice", "Bob", "Charlie"]);
    let mut late = Vec::new();
    for epoch in 1..=5u64 {
        late.push((epoch, peers[0].seal(b"late"), peers[0].exporter()));
        let staged = peers[0].stage(&[], &[]).unwrap();
        settle(&mut peers, 0, &staged, &[]);
    }
    // Now in epoch 6; three are kept.
    for (epoch, wire, exporter) in &late {
        let recalled = peers[1].layer.recall(&epoch.to_be_bytes());
        if *epoch >= 3 {
            assert_eq!(peers[1].open(wire).map(|(o, _)| o.sender), Ok(Some(peers[0].id)));
            assert_eq!(peers[1].open(wire), Err(LayerErrorKind::Duplicate), "a replay");
            assert_eq!(recalled.unwrap().secret, *exporter);
        } else {
            let error = peers[1].open_only(wire).unwrap_err();
            assert_eq!((error.kind(), error.epoch()), (LayerErrorKind::Stale, Some(*epoch)));
            peers[1].layer.revert();
            let error = recalled.unwrap_err();
            assert_eq!((error.kind(), error.epoch()), (LayerErrorKind::Stale, Some(*epoch)));
        }
    }
    let recall =
        |peer: &mut Peer, hint: &[u8]| peer.layer.recall(hint).map(|_| ()).unwrap_err().kind();
    assert_eq!(recall(&mut peers[1], &7u64.to_be_bytes()), LayerErrorKind::Early);
    assert_eq!(recall(&mut peers[1], b"1234567"), LayerErrorKind::Rejected);
    assert_eq!(recall(&mut peers[1], &[]), LayerErrorKind::Rejected);
}

#[test]
fn a_late_message_of_a_removed_member_has_its_sender() {
    let mut peers = group(&["Alice", "Bob", "Charlie"]);
    let wire = peers[2].seal(b"sent before I was removed");
    let charlie = peers[2].id;
    let mut dora = Peer::joiner("Dora");
    let package = dora.key_package();
    // Dora gets Charlie's leaf.
    let staged = peers[0].stage(&[package], &[charlie]).unwrap();
    settle(&mut peers, 0, &staged, &[]);
    assert_eq!(peers[1].layer.mls_members()[2].id, dora.id);
    assert_eq!(peers[1].open(&wire).map(|(opened, _)| opened.sender), Ok(Some(charlie)));
}

#[test]
fn an_early_message_opens_after_its_commit() {
    let mut peers = group(&["Alice", "Bob"]);
    let staged = peers[0].stage(&[], &[]).unwrap();
    peers[0].confirm();
    let wire = peers[0].seal(b"early");
    assert_eq!(peers[1].open(&wire), Err(LayerErrorKind::Early));
    let next = peers[0].stage(&[], &[]).unwrap();
    assert_eq!(peers[1].process(&next).map(|_| ()), Err(LayerErrorKind::Early));
    let _ = peers[1].process(&staged).unwrap();
    assert!(peers[1].open(&wire).is_ok());
    settle(&mut peers, 0, &next, &[]);
    all_read_all(&mut peers);
}

#[test]
fn without_past_epochs_nothing_late_opens() {
    let config = MlsConfig::default().with_max_past_epochs(0);
    let mut peers =
        assemble(Peer::with("Alice", true, config.clone()), vec![Peer::with("Bob", false, config)]);
    let wire = peers[0].seal(b"late");
    let staged = peers[0].stage(&[], &[]).unwrap();
    settle(&mut peers, 0, &staged, &[]);
    assert_eq!(peers[1].open(&wire), Err(LayerErrorKind::Stale));
    assert!(peers[1].layer.recall(&1u64.to_be_bytes()).is_err());
    all_read_all(&mut peers);
}

#[test]
fn out_of_order_messages_open_once() {
    let mut peers = group(&["Alice", "Bob"]);
    let wires: Vec<_> = (0u8..20).map(|i| peers[0].seal(&[i])).collect();
    for i in (0..20).rev().chain([7, 0, 19]) {
        let result = peers[1].open(&wires[i]).map(|(_, text)| text);
        let first = !matches!(result, Err(LayerErrorKind::Duplicate));
        if first {
            assert_eq!(result, Ok(vec![u8::try_from(i).unwrap()]));
        }
    }
    for wire in &wires {
        assert_eq!(peers[1].open(wire), Err(LayerErrorKind::Duplicate));
    }
}

#[test]
fn messages_of_any_size() {
    let mut peers = group(&["Alice", "Bob"]);
    for len in [0, 1, 31, 32, 33, 1 << 14, 1 << 20] {
        let wire = peers[0].seal(&vec![0x5a; len]);
        assert_eq!(peers[1].open(&wire).map(|(_, text)| text), Ok(vec![0x5a; len]));
    }
    let short = peers[0].seal(b"yes").body.len();
    assert_eq!(short, peers[0].seal(b"no").body.len(), "padding hides the length");
}

#[test]
fn nothing_below_is_plain_mls() {
    let mut peers = assemble(Peer::founder("Alice").alone(), vec![Peer::joiner("Bob").alone()]);
    all_read_all(&mut peers);
    let staged = peers[1].stage(&[], &[]).unwrap();
    settle(&mut peers, 1, &staged, &[]);
    all_read_all(&mut peers);
}

#[test]
fn every_supported_ciphersuite_works() {
    use cc_mls_layer::Ciphersuite::{
        MLS_128_DHKEMP256_AES128GCM_SHA256_P256, MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
        MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519,
        MLS_256_DHKEMP521_AES256GCM_SHA512_P521,
    };
    for suite in [
        MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
        MLS_128_DHKEMP256_AES128GCM_SHA256_P256,
        MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519,
    ] {
        let config = MlsConfig::default().with_ciphersuite(suite);
        let peer = |name, founder| Peer::with(name, founder, config.clone());
        let mut peers = assemble(peer("Alice", true), vec![peer("Bob", false), peer("C", false)]);
        assert_eq!(peers[0].layer.descriptor().parameters, (suite as u16).to_be_bytes());
        all_read_all(&mut peers);
        let charlie = peers[2].id;
        let staged = peers[1].stage(&[], &[charlie]).unwrap();
        settle(&mut peers, 1, &staged, &[]);
        peers.truncate(2);
        all_read_all(&mut peers);
    }
    let unsupported = MlsIdentity::generate_with("x", MLS_256_DHKEMP521_AES256GCM_SHA512_P521);
    assert!(matches!(unsupported, Err(MlsError::Ciphersuite(_))));
}

#[test]
fn names_and_settings_have_bounds() {
    let long = "x".repeat(4097);
    let name = "x".repeat(MlsIdentity::MAX_NAME_LEN + 1);
    assert!(matches!(MlsIdentity::generate(name), Err(MlsError::Name { max: 1024, .. })));
    let identity = || MlsIdentity::generate("Alice").unwrap();
    assert!(matches!(MlsLayer::create(long, identity()), Err(MlsError::Name { .. })));
    for config in [
        MlsConfig::default().with_padding(MlsConfig::MAX_PADDING + 1),
        MlsConfig::default().with_max_past_epochs(MlsConfig::MAX_PAST_EPOCHS + 1),
        MlsConfig::default().with_out_of_order_tolerance(MlsConfig::MAX_DISTANCE + 1),
        MlsConfig::default().with_max_forward_distance(MlsConfig::MAX_FORWARD_DISTANCE + 1),
        MlsConfig::default().with_key_package_lifetime(MlsConfig::MAX_KEY_PACKAGE_LIFETIME + 1),
        MlsConfig::default().with_checkpoint_interval(MlsConfig::MAX_CHECKPOINT_INTERVAL + 1),
        MlsConfig::default()
            .with_ciphersuite(cc_mls_layer::Ciphersuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256),
    ] {
        assert!(matches!(MlsLayer::member_with(identity(), config), Err(MlsError::Config(_))));
    }
}

#[test]
fn a_founder_may_be_attached_anew_while_alone() {
    let mut alice = Peer::founder("Alice");
    let place = |member| Attachment {
        stack: StackId::of(&[]),
        position: POSITION,
        member: Some(member),
        founding: true,
    };
    let (old, new) = (alice.id, MemberId::from_bytes([9; 32]));
    alice.transact(|layer| layer.attach(&place(new))).unwrap();
    assert_eq!(alice.layer.members()[0].id, new);
    alice.layer.attach(&place(old)).unwrap();
    alice.layer.revert();
    assert_eq!(alice.layer.members()[0].id, new);
    alice.transact(|layer| layer.attach(&place(old))).unwrap();

    let mut peers = assemble(alice, vec![Peer::joiner("Bob")]);
    all_read_all(&mut peers);
    assert_eq!(peers[0].transact(|layer| layer.attach(&place(new))), Err(LayerErrorKind::Misuse));
    peers[0].transact(|layer| layer.attach(&place(old))).unwrap();
    all_read_all(&mut peers);
    let mut outside = Peer::joiner("Charlie");
    let homeless = Attachment { member: None, ..place(old) };
    assert_eq!(outside.transact(|layer| layer.attach(&homeless)), Err(LayerErrorKind::Misuse));
}
