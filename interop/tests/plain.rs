//! Proposals by reference and joins from outside, among members of this layer and of mls-rs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use crate::{common, foreign};

use cc_core::{
    CipherLayer as _, GroupLayer as _, LayerErrorKind, NewMember, SecretBytes, Standing,
};
use cc_mls_layer::{Ciphersuite, MlsConfig as LayerConfig, MlsIdentity, MlsLayer};
use common::{KeyPackage, Peer, Staged, flip};
use foreign::{Foreign, SUITES, foreign};
use mls_rs::{
    CipherSuiteProvider as _, CryptoProvider as _, MlsMessage, client_builder::MlsConfig,
};
use mls_rs_crypto_rustcrypto::RustCryptoProvider;

const BINDING: [u8; 32] = [8; 32];

fn peer(name: &str, founds: bool, suite: Ciphersuite) -> Peer {
    let config = LayerConfig::default().with_ciphersuite(suite).with_plain_peers(true);
    Peer::with(name, founds, config).alone()
}

/// Alice and Bob of this layer, in a group with Xenia.
fn group<C: MlsConfig>(suite: Ciphersuite, xenia: &mut Foreign<C>) -> (Peer, Peer) {
    let mut alice = peer("Alice", true, suite);
    let mut bob = peer("Bob", false, suite);
    let staged = alice.stage(&[bob.key_package(), xenia.key_package()], &[]).unwrap();
    alice.confirm();
    bob.join(&staged).unwrap();
    xenia.join(&staged);
    (alice, bob)
}

fn addition(package: &KeyPackage) -> NewMember<'_> {
    NewMember { id: package.id, part: &package.part, binding: package.binding }
}

/// All have the same epoch with so many members, and read one another.
fn agree<C: MlsConfig>(ours: &mut [&mut Peer], theirs: &mut [&mut Foreign<C>]) {
    let authenticator = ours[0].layer.epoch_authenticator().unwrap().to_vec();
    for at in 0..ours.len() {
        assert_eq!(ours[at].layer.epoch_authenticator(), Some(&authenticator[..]));
        assert_eq!(ours[at].layer.mls_members().len(), ours.len() + theirs.len());
        assert_eq!(ours[at].layer.pending_proposals(), []);
        let wire = ours[at].seal(b"from the layer");
        for other in (0..ours.len()).filter(|other| *other != at) {
            assert!(ours[other].open(&wire).is_ok());
        }
        theirs.iter_mut().for_each(|peer| {
            peer.process(&wire.body);
        });
    }
    for at in 0..theirs.len() {
        assert_eq!(theirs[at].group().epoch_authenticator().unwrap().as_bytes(), authenticator);
        let wire = theirs[at].seal(&ours[0].stack);
        ours.iter_mut().for_each(|peer| assert!(peer.open(&wire).is_ok()));
        for other in (0..theirs.len()).filter(|other| *other != at) {
            theirs[other].process(&wire.body);
        }
    }
}

fn external(peer: &mut Peer, commit: &[u8]) -> Result<(), LayerErrorKind> {
    let id = peer.transact(|layer| layer.process_external_commit(commit, &BINDING))?.committer;
    assert!(peer.layer.mls_members().iter().any(|member| Some(member.id) == id));
    Ok(())
}

#[test]
fn mls_rs_joins_the_layer_from_outside_and_the_layer_mls_rs() {
    for suite in SUITES {
        let mut xenia = foreign("Xenia", suite.1);
        let (mut alice, mut bob) = group(suite.0, &mut xenia);

        // Yuri of mls-rs comes by what Alice says of the group.
        let mut yuri = foreign("Yuri", suite.1);
        let info = alice.layer.group_info().unwrap();
        let joined = yuri
            .client
            .external_commit_builder()
            .unwrap()
            .with_authenticated_data(BINDING.to_vec())
            .build(MlsMessage::from_bytes(&info).unwrap());
        let (group, commit) = joined.unwrap();
        yuri.group = Some(group);
        let commit = commit.to_bytes().unwrap();
        for peer in [&mut alice, &mut bob] {
            external(peer, &commit).unwrap();
            assert_eq!(external(peer, &commit), Err(LayerErrorKind::Duplicate), "twice");
        }
        xenia.process(&commit);
        agree(&mut [&mut alice, &mut bob], &mut [&mut xenia, &mut yuri]);

        // Charlie of the layer by what Xenia says; the first attempt is too late.
        let mut charlie = peer("Charlie", false, suite.0);
        let info = xenia.group().group_info_message_allowing_ext_commit(true).unwrap();
        let info = info.to_bytes().unwrap();
        let late = charlie.layer.join_from_outside(&info, &BINDING).unwrap();
        charlie.layer.revert();
        assert_eq!(charlie.layer.standing(), Standing::Outside);
        let staged = bob.stage(&[], &[]).unwrap();
        bob.confirm();
        let _ = alice.process(&staged).unwrap();
        xenia.process(&staged.parts.commit);
        yuri.process(&staged.parts.commit);
        assert_eq!(external(&mut alice, &late), Err(LayerErrorKind::Stale));

        let info = xenia.group().group_info_message_allowing_ext_commit(true).unwrap();
        let info = info.to_bytes().unwrap();
        let commit = charlie.transact(|layer| layer.join_from_outside(&info, &BINDING)).unwrap();
        for peer in [&mut alice, &mut bob] {
            external(peer, &commit).unwrap();
        }
        xenia.process(&commit);
        yuri.process(&commit);
        assert_eq!(charlie.layer.group_name(), alice.layer.group_name());
        agree(&mut [&mut alice, &mut bob, &mut charlie], &mut [&mut xenia, &mut yuri]);

        // And goes on as a member like any other.
        let staged = charlie.stage(&[], &[yuri.id]).unwrap();
        charlie.confirm();
        for peer in [&mut alice, &mut bob] {
            let _ = peer.process(&staged).unwrap();
        }
        xenia.process(&staged.parts.commit);
        agree(&mut [&mut alice, &mut bob, &mut charlie], &mut [&mut xenia]);
    }
}

#[test]
fn a_member_that_lost_its_state_comes_back_in_its_own_place() {
    let suite = SUITES[0].0;
    let config = LayerConfig::default().with_plain_peers(true).with_credential_policy(|_, _| true);
    let provider = RustCryptoProvider::default().cipher_suite_provider(SUITES[0].1).unwrap();
    let (secret, public) = provider.signature_key_generate().unwrap();
    let secret = SecretBytes::new(secret.as_bytes()[..32].to_vec());
    // The same keys twice, as from a backup.
    let bob = || {
        let identity = MlsIdentity::x509(vec![vec![1]], suite, &secret, public.as_bytes()).unwrap();
        Peer::new(MlsLayer::member_with(identity, config.clone()).unwrap()).alone()
    };
    let mut alice = Peer::with("Alice", true, config.clone()).alone();
    let mut lost = bob();
    let staged = alice.stage(&[lost.key_package()], &[]).unwrap();
    alice.confirm();
    lost.join(&staged).unwrap();

    let mut back = bob();
    let info = alice.layer.group_info().unwrap();
    let commit = back.transact(|layer| layer.join_from_outside(&info, &BINDING)).unwrap();
    let outcome = lost.transact(|layer| layer.process_external_commit(&commit, &BINDING)).unwrap();
    assert!(outcome.removed_self);
    assert_eq!(lost.layer.standing(), Standing::Removed);
    let outcome = alice.transact(|layer| layer.process_external_commit(&commit, &BINDING)).unwrap();
    assert_eq!((outcome.added, outcome.removed), (vec![back.id], vec![back.id]));
    assert!(!outcome.removed_self);
    assert_eq!(alice.layer.mls_members().len(), 2);
    let wire = back.seal(b"back");
    assert_eq!(alice.open(&wire).unwrap().0.sender, Some(back.id));
    assert!(back.open(&alice.seal(b"welcome back")).is_ok());
}

#[test]
fn a_member_that_fell_out_of_step_comes_back_from_outside() {
    let suite = SUITES[0];
    let mut xenia = foreign("Xenia", suite.1);
    let (mut alice, mut bob) = group(suite.0, &mut xenia);
    // Bob never hears of a change, and has one of his own staged.
    let staged = alice.stage(&[], &[]).unwrap();
    alice.confirm();
    xenia.process(&staged.parts.commit);
    let _ = bob.stage(&[], &[]).unwrap();

    let before = bob.layer.epoch_authenticator().unwrap().to_vec();
    let info = alice.layer.group_info().unwrap();
    assert!(bob.transact(|layer| layer.join_from_outside(&info[1..], &BINDING)).is_err());
    let _ = bob.layer.join_from_outside(&info, &BINDING).unwrap();
    bob.layer.revert();
    assert_eq!(bob.layer.epoch_authenticator(), Some(&before[..]));
    let commit = bob.transact(|layer| layer.join_from_outside(&info, &BINDING)).unwrap();
    let outcome = alice.transact(|layer| layer.process_external_commit(&commit, &BINDING)).unwrap();
    assert_eq!((outcome.added, outcome.removed), (vec![bob.id], vec![bob.id]));
    xenia.process(&commit);
    agree(&mut [&mut alice, &mut bob], &mut [&mut xenia]);
}

#[test]
fn nothing_of_before_a_removal_is_left_after_joining_from_outside() {
    let suite = SUITES[0];
    let mut xenia = foreign("Xenia", suite.1);
    let (mut alice, bob) = group(suite.0, &mut xenia);
    let mut bob = bob.stored();
    for _ in 0..3 {
        let staged = alice.stage(&[], &[bob.id]).unwrap();
        alice.confirm();
        xenia.process(&staged.parts.commit);
        assert!(bob.process(&staged).unwrap().removed_self);
        let info = alice.layer.group_info().unwrap();
        let commit = bob.transact(|layer| layer.join_from_outside(&info, &BINDING)).unwrap();
        external(&mut alice, &commit).unwrap();
        xenia.process(&commit);
        agree(&mut [&mut alice, &mut bob], &mut [&mut xenia]);
        // Kind 15 is an epoch's private keys.
        let keys = common::scope().of(bob.store.as_ref().unwrap()).list(&[15]).unwrap();
        assert_eq!(keys.len(), 1);
    }
}

#[test]
fn all_of_it_is_there_after_a_restart() {
    let suite = SUITES[0];
    let mut xenia = foreign("Xenia", suite.1);
    let (alice, bob) = group(suite.0, &mut xenia);
    let (mut alice, mut bob) = (alice.stored(), bob.stored());
    let mut charlie = peer("Charlie", false, suite.0).stored();
    let info = alice.layer.group_info().unwrap();
    let commit = charlie.transact(|layer| layer.join_from_outside(&info, &BINDING)).unwrap();
    charlie.restart();
    for peer in [&mut alice, &mut bob] {
        external(peer, &commit).unwrap();
        peer.restart();
    }
    xenia.process(&commit);
    agree(&mut [&mut alice, &mut bob, &mut charlie], &mut [&mut xenia]);

    // A message lost on its way, proposals of oneself and of others, and a restart beside them.
    let _ = alice.seal(b"lost");
    let update = alice.transact(MlsLayer::propose_update).unwrap();
    let proposal = xenia.group().propose_update(Vec::new()).unwrap().to_bytes().unwrap();
    xenia.process(&update);
    alice.transact(|layer| layer.process_proposal(&proposal)).unwrap();
    for peer in [&mut bob, &mut charlie] {
        for proposal in [&update, &proposal] {
            peer.transact(|layer| layer.process_proposal(proposal)).unwrap();
        }
    }
    for peer in [&mut alice, &mut bob, &mut charlie] {
        let pending = peer.layer.pending_proposals();
        peer.restart();
        let after = peer.layer.pending_proposals();
        assert_eq!(pending.len(), 2);
        assert!(pending.iter().all(|proposed| after.contains(proposed)) && after.len() == 2);
        let again = peer.transact(|layer| layer.process_proposal(&proposal));
        assert_eq!(again, Err(LayerErrorKind::Duplicate));
    }
    let staged = bob.stage(&[], &[]).unwrap();
    bob.restart();
    bob.confirm();
    for peer in [&mut alice, &mut charlie] {
        assert!(peer.process(&staged).is_ok());
        peer.restart();
    }
    xenia.process(&staged.parts.commit);
    agree(&mut [&mut alice, &mut bob, &mut charlie], &mut [&mut xenia]);
}

#[test]
fn proposals_of_either_library_are_committed_by_the_other() {
    for suite in SUITES {
        let mut xenia = foreign("Xenia", suite.1);
        let (mut alice, mut bob) = group(suite.0, &mut xenia);

        // Xenia proposes an update and Yuri; Bob an update; Alice commits all of it.
        let mut yuri = foreign("Yuri", suite.1);
        let package = MlsMessage::from_bytes(&yuri.key_package().part).unwrap();
        let proposals = [
            xenia.group().propose_update(Vec::new()).unwrap().to_bytes().unwrap(),
            xenia.group().propose_add(package, Vec::new()).unwrap().to_bytes().unwrap(),
        ];
        let mut told = Vec::new();
        for proposal in &proposals {
            for peer in [&mut alice, &mut bob] {
                told.push(peer.transact(|layer| layer.process_proposal(proposal)).unwrap());
                let again = peer.transact(|layer| layer.process_proposal(proposal));
                assert_eq!(again, Err(LayerErrorKind::Duplicate), "twice");
            }
        }
        assert!(told.iter().all(|proposed| proposed.sender == xenia.id));
        assert_eq!((told[0].added, told[0].removed), (None, None));
        assert_eq!(told[2].added, Some(yuri.id));
        let update = bob.transact(MlsLayer::propose_update).unwrap();
        alice.transact(|layer| layer.process_proposal(&update)).unwrap();
        xenia.process(&update);
        assert_eq!(alice.layer.pending_proposals().len(), 3);
        assert_eq!(bob.layer.pending_proposals().len(), 3);

        let error = alice.seal_only(b"not beside proposals").map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), LayerErrorKind::NotReady);
        alice.layer.revert();

        let keys: Vec<_> = alice.layer.mls_members().to_vec();
        let staged = alice.stage(&[], &[]).unwrap();
        alice.confirm();
        let outcome = bob.process(&staged).unwrap();
        assert_eq!((outcome.committer, &outcome.added[..]), (Some(alice.id), &[yuri.id][..]));
        xenia.process(&staged.parts.commit);
        yuri.join(&staged);
        assert_eq!(alice.layer.mls_members()[..3], keys[..]);
        agree(&mut [&mut alice, &mut bob], &mut [&mut xenia, &mut yuri]);

        // Bob proposes Charlie and that Yuri goes; Xenia commits.
        let mut charlie = peer("Charlie", false, suite.0);
        let package = charlie.key_package();
        let proposals = [
            bob.transact(|layer| layer.propose_addition(&addition(&package))).unwrap(),
            bob.transact(|layer| layer.propose_removal(yuri.id)).unwrap(),
        ];
        for proposal in &proposals {
            alice.transact(|layer| layer.process_proposal(proposal)).unwrap();
            xenia.process(proposal);
            yuri.process(proposal);
        }
        let staged = xenia.commit(&[], None, BINDING, false);
        xenia.group().apply_pending_commit().unwrap();
        for peer in [&mut alice, &mut bob] {
            let outcome = peer.process(&staged).unwrap();
            assert_eq!(
                (&outcome.added[..], &outcome.removed[..]),
                (&[charlie.id][..], &[yuri.id][..])
            );
        }
        assert_eq!(charlie.join(&staged), Ok(Some(xenia.id)));
        agree(&mut [&mut alice, &mut bob, &mut charlie], &mut [&mut xenia]);

        // Bob asks to leave; Alice lets him.
        let _ = bob.transact(MlsLayer::propose_update).unwrap();
        bob.transact(MlsLayer::forget_proposals).unwrap();
        assert_eq!(bob.layer.pending_proposals(), []);
        let own = bob.id;
        let leave = bob.transact(|layer| layer.propose_removal(own)).unwrap();
        for peer in [&mut alice, &mut charlie] {
            let proposed = peer.transact(|layer| layer.process_proposal(&leave)).unwrap();
            assert_eq!((proposed.sender, proposed.removed), (bob.id, Some(bob.id)));
        }
        xenia.process(&leave);
        assert_eq!(bob.stage(&[], &[]).map(|_| ()), Err(LayerErrorKind::Misuse), "his own removal");
        let staged = alice.stage(&[], &[]).unwrap();
        alice.confirm();
        assert!(bob.process(&staged).unwrap().removed_self);
        let _ = charlie.process(&staged).unwrap();
        xenia.process(&staged.parts.commit);
        agree(&mut [&mut alice, &mut charlie], &mut [&mut xenia]);
    }
}

#[test]
fn pending_proposals_survive_a_revert_and_burn_nothing_twice() {
    let suite = SUITES[0];
    let mut xenia = foreign("Xenia", suite.1);
    let (mut alice, mut bob) = group(suite.0, &mut xenia);
    // Generations that were used and reverted, of both ratchets, with proposals pending.
    for _ in 0..3 {
        let _ = alice.seal_only(b"lost").unwrap();
        alice.layer.revert();
    }
    let lost = alice.layer.propose_update().unwrap();
    alice.layer.revert();
    assert_eq!(alice.layer.pending_proposals(), []);
    let proposal = xenia.group().propose_update(Vec::new()).unwrap().to_bytes().unwrap();
    for peer in [&mut alice, &mut bob] {
        peer.transact(|layer| layer.process_proposal(&proposal)).unwrap();
    }
    // A failure makes the layer load its state anew.
    let staged = Staged {
        parts: cc_core::ChangeParts { commit: flip(&lost, lost.len() * 8 - 1), welcome: vec![] },
        binding: BINDING,
    };
    assert!(alice.process(&staged).is_err());
    assert!(alice.transact(|layer| layer.process_proposal(&flip(&lost, 900))).is_err());
    assert_eq!(alice.layer.pending_proposals().len(), 1);

    let update = alice.transact(MlsLayer::propose_update).unwrap();
    assert_ne!(update, lost);
    bob.transact(|layer| layer.process_proposal(&update)).unwrap();
    xenia.process(&update);
    assert_eq!(alice.layer.pending_proposals().len(), 2);
    let staged = bob.stage(&[], &[]).unwrap();
    bob.confirm();
    let _ = alice.process(&staged).unwrap();
    xenia.process(&staged.parts.commit);
    agree(&mut [&mut alice, &mut bob], &mut [&mut xenia]);
}

#[test]
fn a_commit_of_a_proposal_that_is_not_known_is_refused() {
    let mut xenia = foreign("Xenia", SUITES[0].1);
    let (mut alice, mut bob) = group(SUITES[0].0, &mut xenia);
    let proposal = xenia.group().propose_update(Vec::new()).unwrap().to_bytes().unwrap();
    alice.transact(|layer| layer.process_proposal(&proposal)).unwrap();
    let staged = alice.stage(&[], &[]).unwrap();
    assert_eq!(bob.process(&staged).map(|_| ()), Err(LayerErrorKind::Rejected));
    bob.transact(|layer| layer.process_proposal(&proposal)).unwrap();
    let _ = bob.process(&staged).unwrap();
    alice.confirm();
    xenia.process(&staged.parts.commit);
    agree(&mut [&mut alice, &mut bob], &mut [&mut xenia]);
}

#[test]
fn other_proposals_are_refused() {
    let mut xenia = foreign("Xenia", SUITES[0].1);
    let (mut alice, mut bob) = group(SUITES[0].0, &mut xenia);
    let extensions = mls_rs::ExtensionList::default();
    let proposals = [
        xenia.group().propose_group_context_extensions(extensions, Vec::new()).unwrap(),
        xenia.group().propose_external_psk(foreign::psk_id(&BINDING), Vec::new()).unwrap(),
    ];
    for proposal in proposals {
        let proposal = proposal.to_bytes().unwrap();
        let taken = alice.transact(|layer| layer.process_proposal(&proposal));
        assert_eq!(taken, Err(LayerErrorKind::Rejected));
        assert_eq!(alice.layer.pending_proposals(), []);
    }
    xenia.group().clear_proposal_cache();
    agree(&mut [&mut alice, &mut bob], &mut [&mut xenia]);
}

#[test]
fn what_is_damaged_foreign_or_out_of_place_is_refused() {
    let suite = SUITES[0];
    let mut xenia = foreign("Xenia", suite.1);
    let (mut alice, mut bob) = group(suite.0, &mut xenia);
    let other = peer("Dora", true, suite.0);
    let mut charlie = peer("Charlie", false, suite.0);
    let refused = |error| {
        matches!(error, LayerErrorKind::Rejected | LayerErrorKind::Early | LayerErrorKind::Stale)
    };

    // A GroupInfo: every bit and length; it says which group it is of, so another's is another group.
    let info = alice.layer.group_info().unwrap();
    for bit in (0..info.len() * 8).step_by(11) {
        let bad = flip(&info, bit);
        let error = charlie.transact(|layer| layer.join_from_outside(&bad, &BINDING)).unwrap_err();
        assert!(refused(error), "{bit}");
    }
    for len in (0..info.len()).step_by(5) {
        let error = charlie.transact(|layer| layer.join_from_outside(&info[..len], &BINDING));
        assert_eq!(error, Err(LayerErrorKind::Rejected));
    }
    let elsewhere = other.layer.group_info().unwrap();
    let commit = charlie.layer.join_from_outside(&elsewhere, &BINDING).unwrap();
    charlie.layer.revert();
    assert_eq!(external(&mut alice, &commit), Err(LayerErrorKind::Rejected), "of another group");
    assert_eq!(charlie.layer.standing(), Standing::Outside);
    let mut otto = peer("Otto", false, Ciphersuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256);
    let wrong = otto.transact(|layer| layer.join_from_outside(&info, &BINDING));
    assert_eq!(wrong, Err(LayerErrorKind::Rejected), "another suite");

    // An external commit.
    let commit = charlie.layer.join_from_outside(&info, &BINDING).unwrap();
    for bit in (0..commit.len() * 8).step_by(7) {
        let bad = flip(&commit, bit);
        assert!(refused(external(&mut alice, &bad).unwrap_err()), "{bit}");
    }
    for len in (0..commit.len()).step_by(3) {
        assert!(external(&mut alice, &commit[..len]).is_err());
    }
    let other_binding = alice.transact(|layer| layer.process_external_commit(&commit, &[9; 32]));
    assert_eq!(other_binding.map(|_| ()), Err(LayerErrorKind::Rejected));
    let staged = Staged {
        parts: cc_core::ChangeParts { commit: commit.clone(), welcome: commit.clone() },
        binding: BINDING,
    };
    assert_eq!(alice.process(&staged).map(|_| ()), Err(LayerErrorKind::Rejected), "as a commit");
    assert_eq!(charlie.layer.standing(), Standing::Member { epoch: 2 });
    charlie.layer.revert();

    // A proposal.
    let proposal = bob.transact(MlsLayer::propose_update).unwrap();
    for bit in 0..proposal.len() * 8 {
        let bad = flip(&proposal, bit);
        let error = alice.transact(|layer| layer.process_proposal(&bad)).unwrap_err();
        assert!(refused(error), "{bit}");
    }
    for len in 0..proposal.len() {
        assert!(alice.transact(|layer| layer.process_proposal(&proposal[..len])).is_err());
    }
    for bad in [&commit, &info] {
        assert!(alice.transact(|layer| layer.process_proposal(bad)).is_err());
    }
    assert_eq!(external(&mut alice, &proposal), Err(LayerErrorKind::Rejected));
    alice.transact(|layer| layer.process_proposal(&proposal)).unwrap();
    xenia.process(&proposal);

    let staged = alice.stage(&[], &[]).unwrap();
    alice.confirm();
    let _ = bob.process(&staged).unwrap();
    xenia.process(&staged.parts.commit);
    let late = alice.transact(|layer| layer.process_proposal(&proposal));
    assert_eq!(late, Err(LayerErrorKind::Stale), "of an epoch that is over");
    agree(&mut [&mut alice, &mut bob], &mut [&mut xenia]);
}

#[test]
fn all_of_it_needs_plain_peers() {
    let mut peers = common::group(&["Alice", "Bob"]);
    let mut joiner = Peer::joiner("Charlie");
    let package = joiner.key_package();
    let misuse = Some(LayerErrorKind::Misuse);
    let bob = peers[1].id;
    let peer = &mut peers[0];
    assert_eq!(peer.layer.group_info().err().map(|error| error.kind()), misuse);
    assert_eq!(peer.transact(|layer| layer.process_external_commit(&[], &BINDING)).err(), misuse);
    assert_eq!(peer.transact(|layer| layer.process_proposal(&[])).err(), misuse);
    assert_eq!(peer.transact(MlsLayer::propose_update).err(), misuse);
    assert_eq!(peer.transact(|layer| layer.propose_removal(bob)).err(), misuse);
    assert_eq!(peer.transact(|layer| layer.propose_addition(&addition(&package))).err(), misuse);
    assert_eq!(joiner.transact(|layer| layer.join_from_outside(&[], &BINDING)).err(), misuse);
    common::all_read_all(&mut peers);
}
