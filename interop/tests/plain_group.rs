//! Groups that are plain RFC 9420 throughout, with members of this layer and of mls-rs that know nothing of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use crate::{common, foreign};

use cc_core::{
    Buffer, ChangeRequest, CipherLayer as _, GroupLayer as _, Kind, LayerContext, LayerError,
    LayerErrorKind, MemberId, PartContext, SecretBytes, StackId, Standing,
};
use cc_mls_layer::{
    Ciphersuite, MlsChange, MlsConfig as LayerConfig, MlsContent, MlsContentType, MlsIdentity,
    MlsLayer, MlsReceived, MlsWireFormat, inspect_message,
};
use common::Peer;
use foreign::{Foreign, SUITES, foreign, foreign_without_tree};
use mls_rs::{
    MlsMessage,
    client_builder::MlsConfig,
    group::ReceivedMessage,
    psk::{ExternalPskId, PreSharedKey},
};

/// A member of this layer.
struct Ours(MlsLayer, MemberId);

impl Ours {
    fn new(name: &str, founds: bool, config: LayerConfig) -> Self {
        let identity = MlsIdentity::generate_with(name, config.ciphersuite()).unwrap();
        let mut layer = if founds {
            MlsLayer::create_with("", identity, config).unwrap()
        } else {
            MlsLayer::member_with(identity, config).unwrap()
        };
        let id = layer.attach_alone().unwrap();
        layer.apply();
        Self(layer, id)
    }

    /// One transaction.
    fn transact<T>(
        &mut self,
        f: impl FnOnce(&mut MlsLayer) -> Result<T, LayerError>,
    ) -> Result<T, LayerErrorKind> {
        let result = f(&mut self.0);
        if result.is_ok() {
            self.0.apply()
        } else {
            self.0.revert()
        }
        result.map_err(|error| error.kind())
    }

    fn key_package(&mut self) -> Vec<u8> {
        self.transact(MlsLayer::plain_key_package).unwrap()
    }

    fn stage(&mut self, change: &MlsChange<'_>) -> cc_core::ChangeParts {
        self.transact(|layer| layer.stage_plain_change(change)).unwrap()
    }

    fn confirm(&mut self) {
        self.transact(cc_core::GroupLayer::confirm_change).unwrap();
    }

    fn receive(&mut self, message: &[u8]) -> Result<MlsReceived, LayerErrorKind> {
        self.transact(|layer| layer.receive(message))
    }

    fn join(
        &mut self,
        welcome: &[u8],
        tree: Option<&[u8]>,
    ) -> Result<Option<MemberId>, LayerErrorKind> {
        self.transact(|layer| layer.join_plain(welcome, tree))
    }
}

fn config(suite: Ciphersuite) -> LayerConfig {
    LayerConfig::default().with_ciphersuite(suite).with_plain_group(true)
}

/// Everybody reads everybody, with and without authenticated data.
fn talk<C: MlsConfig>(ours: &mut [&mut Ours], theirs: &mut [&mut Foreign<C>]) {
    for data in [&b""[..], b"data of the caller's"] {
        for at in 0..ours.len() {
            let message = ours[at].transact(|layer| layer.send(b"from the layer", data)).unwrap();
            for other in (0..ours.len()).filter(|other| *other != at) {
                let received = ours[other].receive(&message).unwrap();
                assert_eq!(received.sender, Some(ours[at].1));
                assert_eq!(received.authenticated_data, data);
                assert_eq!(received.content, MlsContent::Application(b"from the layer".to_vec()));
            }
            for peer in theirs.iter_mut() {
                let ReceivedMessage::ApplicationMessage(received) = peer.process(&message) else {
                    panic!("another kind of message");
                };
                assert_eq!(received.data(), b"from the layer");
                assert_eq!(received.authenticated_data, data);
            }
        }
        for at in 0..theirs.len() {
            let group = theirs[at].group();
            let message = group.encrypt_application_message(b"from mls-rs", data.to_vec()).unwrap();
            let (message, id) = (message.to_bytes().unwrap(), theirs[at].id);
            for peer in ours.iter_mut() {
                let received = peer.receive(&message).unwrap();
                assert_eq!((received.sender, Some(received.epoch)), (Some(id), peer.0.epoch()));
                assert_eq!(received.authenticated_data, data);
                assert_eq!(received.content, MlsContent::Application(b"from mls-rs".to_vec()));
                assert_eq!(peer.receive(&message), Err(LayerErrorKind::Duplicate));
            }
            for other in (0..theirs.len()).filter(|other| *other != at) {
                theirs[other].process(&message);
            }
        }
    }
}

/// What mls-rs commits, with this authenticated data.
fn their_commit<C: MlsConfig>(
    peer: &mut Foreign<C>,
    added: &[Vec<u8>],
    psks: &[&[u8]],
    data: &[u8],
) -> (Vec<u8>, Vec<u8>, Option<Vec<u8>>) {
    let mut commit = peer.group().commit_builder().authenticated_data(data.to_vec());
    for package in added {
        commit = commit.add_member(MlsMessage::from_bytes(package).unwrap()).unwrap();
    }
    for psk in psks {
        commit = commit.add_external_psk(ExternalPskId::new(psk.to_vec())).unwrap();
    }
    let output = commit.build().unwrap();
    peer.group().apply_pending_commit().unwrap();
    let welcome = output.welcome_messages.first().map(|welcome| welcome.to_bytes().unwrap());
    let tree = output.ratchet_tree.map(|tree| tree.to_bytes().unwrap());
    (output.commit_message.to_bytes().unwrap(), welcome.unwrap_or_default(), tree)
}

fn join_theirs<C: MlsConfig>(peer: &mut Foreign<C>, welcome: &[u8], tree: Option<&[u8]>) {
    let welcome = MlsMessage::from_bytes(welcome).unwrap();
    let tree = tree.map(|tree| mls_rs::group::ExportedTree::from_bytes(tree).unwrap());
    peer.group = Some(peer.client.join_group(tree, &welcome, None).unwrap().0);
}

#[test]
fn nothing_is_demanded_of_a_peer_that_founds_commits_and_writes() {
    for (suite, their_suite) in SUITES {
        let mut xenia = foreign("Xenia", their_suite);
        let mut yuri = foreign("Yuri", their_suite);
        let mut alice = Ours::new("Alice", false, config(suite));
        let mut bob = Ours::new("Bob", false, config(suite));
        xenia.found();
        let packages = [alice.key_package(), bob.key_package(), yuri.key_package().part];
        let (_, welcome, tree) = their_commit(&mut xenia, &packages, &[], b"");
        assert!(tree.is_none());
        assert_eq!(alice.join(&welcome, None), Ok(Some(xenia.id)));
        assert_eq!(bob.join(&welcome, None), Ok(Some(xenia.id)));
        join_theirs(&mut yuri, &welcome, None);
        talk(&mut [&mut alice, &mut bob], &mut [&mut xenia, &mut yuri]);

        // Commits of both sides, with and without authenticated data.
        for data in [&b""[..], b"why"] {
            let (commit, ..) = their_commit(&mut yuri, &[], &[], data);
            xenia.process(&commit);
            for peer in [&mut alice, &mut bob] {
                let received = peer.receive(&commit).unwrap();
                assert_eq!(received.authenticated_data, data);
                assert_eq!(received.sender, Some(yuri.id));
                assert!(matches!(received.content, MlsContent::Commit(_)));
            }
            let change = MlsChange { authenticated_data: data, ..MlsChange::default() };
            let staged = alice.stage(&change);
            assert_eq!(alice.receive(&staged.commit), Err(LayerErrorKind::Own));
            alice.confirm();
            assert_eq!(bob.receive(&staged.commit).unwrap().authenticated_data, data);
            xenia.process(&staged.commit);
            yuri.process(&staged.commit);
            talk(&mut [&mut alice, &mut bob], &mut [&mut xenia, &mut yuri]);
        }

        // Proposals by reference, and a removal.
        let proposal = xenia.group().propose_update(b"tired".to_vec()).unwrap();
        let proposal = proposal.to_bytes().unwrap();
        for peer in [&mut alice, &mut bob] {
            let received = peer.receive(&proposal).unwrap();
            assert_eq!(received.authenticated_data, b"tired");
            assert!(matches!(received.content, MlsContent::Proposal(_)));
        }
        yuri.process(&proposal);
        let removed = [yuri.id];
        let staged = bob.stage(&MlsChange { removed: &removed, ..MlsChange::default() });
        bob.confirm();
        let received = alice.receive(&staged.commit).unwrap();
        let MlsContent::Commit(outcome) = received.content else { panic!("no commit") };
        assert_eq!((outcome.committer, outcome.removed), (Some(bob.1), vec![yuri.id]));
        xenia.process(&staged.commit);
        talk(&mut [&mut alice, &mut bob], &mut [&mut xenia]);

        // Yuri comes back from outside, with nothing in the commit that it does not know of.
        let info = alice.0.group_info().unwrap();
        let joined = yuri.client.external_commit_builder().unwrap();
        let (group, commit) = joined.build(MlsMessage::from_bytes(&info).unwrap()).unwrap();
        yuri.group = Some(group);
        let commit = commit.to_bytes().unwrap();
        for peer in [&mut alice, &mut bob] {
            let received = peer.receive(&commit).unwrap();
            assert_eq!(received.authenticated_data, b"");
            assert!(matches!(received.content, MlsContent::Commit(_)));
        }
        xenia.process(&commit);
        talk(&mut [&mut alice, &mut bob], &mut [&mut xenia, &mut yuri]);
    }
}

#[test]
fn the_ratchet_tree_travels_beside_the_welcome_in_both_directions() {
    for (suite, their_suite) in SUITES {
        let mut alice = Ours::new("Alice", true, config(suite).with_tree_in_welcome(false));
        let mut bob = Ours::new("Bob", false, config(suite));
        let mut xenia = foreign_without_tree("Xenia", their_suite);
        let (bobs, xenias) = (bob.key_package(), xenia.key_package().part);
        let added = [&bobs[..], &xenias];
        let staged = alice.stage(&MlsChange { added: &added, ..MlsChange::default() });
        let tree = alice.0.staged_ratchet_tree().unwrap().unwrap();
        alice.confirm();
        assert_eq!(alice.0.ratchet_tree().unwrap(), tree);
        assert_eq!(alice.0.staged_ratchet_tree().unwrap(), None);
        join_theirs(&mut xenia, &staged.welcome, Some(&tree));

        // Without it, cut short, of before Bob, and changed: refused, and the welcome still is good.
        let elsewhere = Ours::new("Alice", true, config(suite)).0.ratchet_tree().unwrap();
        let mut trees: Vec<_> =
            (0..tree.len()).step_by(31).map(|len| tree[..len].to_vec()).collect();
        trees.extend((0..tree.len() * 8).step_by(97).map(|bit| common::flip(&tree, bit)));
        trees.push(elsewhere);
        assert_eq!(bob.join(&staged.welcome, None), Err(LayerErrorKind::Rejected));
        for bad in trees {
            assert_eq!(bob.join(&staged.welcome, Some(&bad)), Err(LayerErrorKind::Rejected));
            assert_eq!(bob.0.standing(), Standing::Outside);
        }
        assert_eq!(bob.join(&staged.welcome, Some(&tree)), Ok(Some(alice.1)));
        talk(&mut [&mut alice, &mut bob], &mut [&mut xenia]);

        // mls-rs invites, and its welcome has no tree either.
        let mut charlie = Ours::new("Charlie", false, config(suite));
        let (commit, welcome, tree) = their_commit(&mut xenia, &[charlie.key_package()], &[], b"");
        for peer in [&mut alice, &mut bob] {
            assert!(peer.receive(&commit).is_ok());
        }
        assert_eq!(charlie.join(&welcome, None), Err(LayerErrorKind::Rejected));
        assert_eq!(charlie.join(&welcome, tree.as_deref()), Ok(Some(xenia.id)));
        talk(&mut [&mut alice, &mut bob, &mut charlie], &mut [&mut xenia]);
        // Bob's welcomes have it.
        let mut dora = Ours::new("Dora", false, config(suite));
        let package = dora.key_package();
        let staged = bob.stage(&MlsChange { added: &[&package], ..MlsChange::default() });
        bob.confirm();
        assert_eq!(dora.join(&staged.welcome, None), Ok(Some(bob.1)));
    }
}

#[test]
fn pre_shared_keys_of_the_callers_go_into_epochs_of_both_libraries() {
    for (suite, their_suite) in SUITES {
        let mut alice = Ours::new("Alice", true, config(suite));
        let mut bob = Ours::new("Bob", false, config(suite));
        let mut xenia = foreign("Xenia", their_suite);
        let secret = |byte| SecretBytes::new(vec![byte; 40]);
        for (id, byte) in [(&b"first"[..], 1), (b"second", 2)] {
            xenia.psks.insert(ExternalPskId::new(id.to_vec()), PreSharedKey::new(vec![byte; 40]));
            alice.transact(|layer| layer.register_psk(id, &secret(byte))).unwrap();
        }

        // By value, and whoever joins needs it, too.
        let (bobs, xenias) = (bob.key_package(), xenia.key_package().part);
        let added = [&bobs[..], &xenias];
        let psks = [&b"first"[..], b"second"];
        let staged = alice.stage(&MlsChange { added: &added, psks: &psks, ..MlsChange::default() });
        alice.confirm();
        join_theirs(&mut xenia, &staged.welcome, None);
        assert_eq!(bob.join(&staged.welcome, None), Err(LayerErrorKind::NotReady));
        bob.transact(|layer| layer.register_psk(b"first", &secret(1))).unwrap();
        assert_eq!(bob.join(&staged.welcome, None), Err(LayerErrorKind::NotReady));
        bob.transact(|layer| layer.register_psk(b"second", &secret(9))).unwrap();
        assert_eq!(
            bob.join(&staged.welcome, None),
            Err(LayerErrorKind::Rejected),
            "another secret"
        );
        bob.transact(|layer| layer.register_psk(b"second", &secret(2))).unwrap();
        assert_eq!(bob.join(&staged.welcome, None), Ok(Some(alice.1)));
        talk(&mut [&mut alice, &mut bob], &mut [&mut xenia]);

        // In a commit of mls-rs that Bob cannot follow at first.
        assert!(bob.transact(|layer| layer.forget_psk(b"second")).unwrap());
        assert!(!bob.transact(|layer| layer.forget_psk(b"second")).unwrap());
        let (commit, ..) = their_commit(&mut xenia, &[], &[b"second"], b"");
        assert!(alice.receive(&commit).is_ok());
        let epoch = bob.0.epoch();
        assert_eq!(bob.receive(&commit), Err(LayerErrorKind::NotReady));
        assert_eq!(bob.0.epoch(), epoch);
        bob.transact(|layer| layer.register_psk(b"second", &secret(2))).unwrap();
        assert!(bob.receive(&commit).is_ok());
        talk(&mut [&mut alice, &mut bob], &mut [&mut xenia]);

        // By reference: proposed by one library and committed by the other.
        let proposal = bob.transact(|layer| layer.propose_psk(b"first")).unwrap();
        let MlsContent::Proposal(proposed) = alice.receive(&proposal).unwrap().content else {
            panic!("no proposal");
        };
        assert_eq!(proposed.psk.as_deref(), Some(&b"first"[..]));
        xenia.process(&proposal);
        let (commit, ..) = their_commit(&mut xenia, &[], &[], b"");
        for peer in [&mut alice, &mut bob] {
            assert!(peer.receive(&commit).is_ok());
        }
        talk(&mut [&mut alice, &mut bob], &mut [&mut xenia]);
        let id = ExternalPskId::new(b"second".to_vec());
        let proposal = xenia.group().propose_external_psk(id, Vec::new()).unwrap();
        let proposal = proposal.to_bytes().unwrap();
        for peer in [&mut alice, &mut bob] {
            assert!(peer.receive(&proposal).is_ok());
        }
        let both = MlsChange { psks: &[b"first"], ..MlsChange::default() };
        let refused = alice.transact(|layer| layer.stage_plain_change(&both));
        assert_eq!(refused.map(|_| ()), Err(LayerErrorKind::Misuse));
        let staged = alice.stage(&MlsChange::default());
        alice.confirm();
        assert!(bob.receive(&staged.commit).is_ok());
        xenia.process(&staged.commit);
        talk(&mut [&mut alice, &mut bob], &mut [&mut xenia]);
    }
}

#[test]
fn pre_shared_keys_have_bounds_and_are_the_callers_own() {
    let suite = SUITES[0].0;
    let mut alice = Ours::new("Alice", true, config(suite));
    let secret = SecretBytes::new(vec![1; 32]);
    let long = vec![7; 1025];
    for id in [&b""[..], &long, b"cc psk", b"cc psk of mine"] {
        let refused = alice.transact(|layer| layer.register_psk(id, &secret));
        assert_eq!(refused, Err(LayerErrorKind::Misuse));
    }
    for bytes in [Vec::new(), long.clone()] {
        let secret = SecretBytes::new(bytes);
        let refused = alice.transact(|layer| layer.register_psk(b"id", &secret));
        assert_eq!(refused, Err(LayerErrorKind::Misuse));
    }
    let refused = alice.transact(|layer| layer.propose_psk(b"id"));
    assert_eq!(refused, Err(LayerErrorKind::NotReady));
    // A registration that is reverted never was.
    alice.0.register_psk(b"id", &secret).unwrap();
    alice.0.revert();
    let change = MlsChange { psks: &[b"id"], ..MlsChange::default() };
    let refused = alice.transact(|layer| layer.stage_plain_change(&change)).map(|_| ());
    assert_eq!(refused, Err(LayerErrorKind::NotReady));
    alice.transact(|layer| layer.register_psk(b"id", &secret)).unwrap();
    let _ = alice.stage(&change);
    // In other groups the key that binds the parts below is the only one.
    let mut bound = Peer::with("Alice", true, LayerConfig::default().with_plain_peers(true));
    let refused = bound.transact(|layer| layer.register_psk(b"id", &secret));
    assert_eq!(refused, Err(LayerErrorKind::Misuse));
}

#[test]
fn all_of_it_is_there_after_a_restart() {
    let suite = SUITES[0];
    let mut xenia = foreign("Xenia", suite.1);
    xenia.psks.insert(ExternalPskId::new(b"id".to_vec()), PreSharedKey::new(vec![3; 32]));
    let config = config(suite.0).with_tree_in_welcome(false);
    let identity = MlsIdentity::generate("Alice").unwrap();
    let layer = MlsLayer::create_with("", identity, config.clone()).unwrap();
    let mut alice = Peer::new(layer).stored();
    let secret = SecretBytes::new(vec![3; 32]);
    alice.transact(|layer| layer.register_psk(b"id", &secret)).unwrap();
    alice.restart();
    assert_eq!(alice.layer.config(), &config);
    let package = xenia.key_package().part;
    let change = MlsChange { added: &[&package], psks: &[b"id"], ..MlsChange::default() };
    let staged = alice.transact(|layer| layer.stage_plain_change(&change)).unwrap();
    alice.restart();
    let tree = alice.layer.staged_ratchet_tree().unwrap();
    alice.confirm();
    join_theirs(&mut xenia, &staged.welcome, tree.as_deref());
    let message = xenia.group().encrypt_application_message(b"back", Vec::new()).unwrap();
    let message = message.to_bytes().unwrap();
    let received = alice.transact(|layer| layer.receive(&message)).unwrap();
    assert_eq!(received.content, MlsContent::Application(b"back".to_vec()));
}

#[test]
fn what_a_stack_calls_is_misuse_in_a_plain_group_and_the_other_way_around() {
    let suite = SUITES[0].0;
    let mut alice = Ours::new("Alice", true, config(suite));
    let header = cc_core::Header::new(Kind::Application, &StackId::of(&[]), vec![]);
    let binding = header.binding(&StackId::of(&[]), b"");
    let context = LayerContext { binding: &binding, position: 0, chain: None };
    let part =
        PartContext { binding: [0; 32], position: 0, chain: None, group_below: false, now: None };
    let misuse = Err(LayerErrorKind::Misuse);
    let mut buffer = Buffer::new(b"text");
    assert_eq!(alice.transact(|layer| layer.seal(&context, &mut buffer)), misuse);
    assert_eq!(alice.transact(|layer| layer.open(&context, &mut buffer)).map(|_| ()), misuse);
    let request = ChangeRequest::default();
    assert_eq!(alice.transact(|layer| layer.stage_change(&request, &part)).map(|_| ()), misuse);
    assert_eq!(alice.transact(|layer| layer.process_commit(&[], &part)).map(|_| ()), misuse);
    assert_eq!(alice.transact(|layer| layer.join(&[], &part)).map(|_| ()), misuse);
    let external = alice.transact(|layer| layer.process_external_commit(&[], &[0; 32]));
    assert_eq!(external.map(|_| ()), misuse);
    assert!(alice.transact(|layer| layer.send(b"text", b"")).is_ok());

    let mut bound = Peer::with("Alice", true, LayerConfig::default().with_plain_peers(true));
    assert_eq!(bound.transact(MlsLayer::attach_alone).map(|_| ()), misuse);
    assert_eq!(bound.transact(MlsLayer::plain_key_package).map(|_| ()), misuse);
    assert_eq!(bound.transact(|layer| layer.send(b"text", b"")).map(|_| ()), misuse);
    assert_eq!(bound.transact(|layer| layer.receive(b"text")).map(|_| ()), misuse);
    let change = MlsChange::default();
    assert_eq!(bound.transact(|layer| layer.stage_plain_change(&change)).map(|_| ()), misuse);
    assert_eq!(bound.transact(|layer| layer.join_plain(&[], None)).map(|_| ()), misuse);
}

#[test]
fn what_is_damaged_is_refused_and_changes_nothing() {
    let suite = SUITES[0];
    let mut xenia = foreign("Xenia", suite.1);
    let mut alice = Ours::new("Alice", true, config(suite.0));
    let package = xenia.key_package().part;
    let staged = alice.stage(&MlsChange { added: &[&package], ..MlsChange::default() });
    alice.confirm();
    join_theirs(&mut xenia, &staged.welcome, None);
    let message = xenia.group().encrypt_application_message(b"text", b"data".to_vec()).unwrap();
    let message = message.to_bytes().unwrap();
    let proposal = xenia.group().propose_update(Vec::new()).unwrap().to_bytes().unwrap();
    xenia.group().clear_proposal_cache();
    let (commit, ..) = their_commit(&mut xenia, &[], &[], b"data");
    for genuine in [&message, &proposal, &commit] {
        let bits = genuine.len() * 8;
        for bit in (0..bits).step_by((bits / 300).max(1)) {
            let refused = alice.receive(&common::flip(genuine, bit)).unwrap_err();
            let expected = [LayerErrorKind::Rejected, LayerErrorKind::Early, LayerErrorKind::Stale];
            assert!(expected.contains(&refused), "{bit} {refused:?}");
        }
        for len in 0..genuine.len() {
            assert_eq!(alice.receive(&genuine[..len]), Err(LayerErrorKind::Rejected));
        }
    }
    assert_eq!(alice.receive(&staged.welcome), Err(LayerErrorKind::Rejected));
    assert_eq!(alice.receive(&package), Err(LayerErrorKind::Rejected));
    assert_eq!(alice.0.pending_proposals(), []);
    assert!(alice.receive(&message).is_ok());
    assert!(alice.receive(&commit).is_ok());
    talk(&mut [&mut alice], &mut [&mut xenia]);
}

#[test]
fn every_message_tells_what_it_is() {
    for (suite, their_suite) in SUITES {
        let mut xenia = foreign("Xenia", their_suite);
        let mut alice = Ours::new("Alice", true, config(suite));
        let theirs = xenia.key_package().part;
        let ours = Ours::new("Bob", false, config(suite)).key_package();
        let staged = alice.stage(&MlsChange {
            added: &[&theirs],
            authenticated_data: b"why",
            ..MlsChange::default()
        });
        alice.confirm();
        join_theirs(&mut xenia, &staged.welcome, None);
        let group_id = alice.0.group_id().unwrap().to_vec();
        let code = Some(suite as u16);

        for package in [&theirs, &ours] {
            let info = inspect_message(package).unwrap();
            assert_eq!((info.wire_format, info.ciphersuite), (MlsWireFormat::KeyPackage, code));
            assert_eq!((info.group_id, info.epoch, info.content_type), (None, None, None));
        }
        let info = inspect_message(&staged.welcome).unwrap();
        assert_eq!((info.wire_format, info.ciphersuite), (MlsWireFormat::Welcome, code));
        assert_eq!(info.group_id, None);

        let text = alice.transact(|layer| layer.send(b"text", b"data")).unwrap();
        let proposal = xenia.group().propose_update(b"data".to_vec()).unwrap();
        let public = foreign("Yuri", their_suite).client.external_commit_builder().unwrap();
        let group_info = alice.0.group_info().unwrap();
        let public = public
            .with_authenticated_data(b"data".to_vec())
            .build(MlsMessage::from_bytes(&group_info).unwrap())
            .unwrap();
        for (message, format, content, epoch, data) in [
            (
                staged.commit.clone(),
                MlsWireFormat::PrivateMessage,
                MlsContentType::Commit,
                0,
                "why",
            ),
            (text, MlsWireFormat::PrivateMessage, MlsContentType::Application, 1, "data"),
            (
                proposal.to_bytes().unwrap(),
                MlsWireFormat::PrivateMessage,
                MlsContentType::Proposal,
                1,
                "data",
            ),
            (
                public.1.to_bytes().unwrap(),
                MlsWireFormat::PublicMessage,
                MlsContentType::Commit,
                1,
                "data",
            ),
        ] {
            let info = inspect_message(&message).unwrap();
            assert_eq!((info.wire_format, info.content_type), (format, Some(content)));
            assert_eq!((info.group_id, info.epoch), (Some(&group_id[..]), Some(epoch)));
            assert_eq!(info.authenticated_data, Some(data.as_bytes()));
            assert_eq!(info.ciphersuite, None);
        }
        let theirs = xenia.group().group_info_message_allowing_ext_commit(true).unwrap();
        for group_info in [group_info, theirs.to_bytes().unwrap()] {
            let info = inspect_message(&group_info).unwrap();
            assert_eq!((info.wire_format, info.ciphersuite), (MlsWireFormat::GroupInfo, code));
            assert_eq!((info.group_id, info.epoch), (Some(&group_id[..]), Some(1)));
            assert_eq!(info.content_type, None);
        }
    }
}
