//! One group with members of this layer and of mls-rs, over plain RFC 9420 messages.
//!
//! With `MlsConfig::with_plain_peers` the layer asks two things of a peer that knows nothing of it: its
//! private extension for the group's name among the leaf's capabilities, where the group has a name, and
//! the binding as `authenticated_data` of commits and messages.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use crate::{common, foreign};

use cc_core::{
    Attachment, ChangeRequest, CipherLayer, GroupLayer, LayerErrorKind, MemberId, PartContext,
    StackId,
};
use cc_mls_layer::{Ciphersuite, MlsConfig as LayerConfig, MlsIdentity, MlsLayer};
use common::{POSITION, Peer, Staged, news};
use foreign::{Foreign, SUITES, foreign, psk_id, psk_secret};
use mls_rs::{CipherSuite, client_builder::MlsConfig, group::ReceivedMessage};

/// Who made a commit.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Ours(usize),
    Theirs(usize),
}

struct Mixed<C: MlsConfig> {
    ours: Vec<Peer>,
    theirs: Vec<Foreign<C>>,
}

impl<C: MlsConfig> Mixed<C> {
    /// The commit comes into force for all who are in the group.
    fn settle(&mut self, by: By, staged: &Staged, psk: bool) {
        for (at, peer) in self.ours.iter_mut().enumerate() {
            if by == By::Ours(at) {
                peer.confirm();
            } else {
                let context = part_context(staged.binding, psk);
                let commit = &staged.parts.commit;
                let outcome =
                    peer.transact(|layer| layer.process_commit(commit, &context)).unwrap();
                assert!(outcome.committer.is_some());
            }
        }
        for (at, peer) in self.theirs.iter_mut().enumerate() {
            if by == By::Theirs(at) {
                peer.group().apply_pending_commit().unwrap();
            } else {
                peer.process(&staged.parts.commit);
            }
        }
    }

    /// All have the same epoch, and everybody reads everybody.
    fn agree(&mut self) {
        let layer = &self.ours[0].layer;
        let authenticator = layer.epoch_authenticator().unwrap().to_vec();
        let epoch = layer.epoch().unwrap();
        let export = |label| layer.export_secret(label, b"context", 48).unwrap();
        let (first, second) = (export("interop"), export("another"));
        let members = layer.mls_members().len();
        assert_eq!(members, self.ours.len() + self.theirs.len());
        for peer in &self.ours {
            assert_eq!(peer.layer.epoch_authenticator(), Some(&authenticator[..]));
            let secret = peer.layer.export_secret("interop", b"context", 48).unwrap();
            assert_eq!(secret.expose(), first.expose());
        }
        for peer in &mut self.theirs {
            let group = peer.group();
            assert_eq!(group.current_epoch(), epoch);
            assert_eq!(group.epoch_authenticator().unwrap().as_bytes(), authenticator);
            for (label, known) in [("interop", &first), ("another", &second)] {
                let secret = group.export_secret(label.as_bytes(), b"context", 48).unwrap();
                assert_eq!(secret.as_bytes(), known.expose());
            }
            assert_eq!(group.roster().members_iter().count(), members);
        }
        self.talk();
    }

    fn talk(&mut self) {
        for sender in 0..self.ours.len() {
            let wire = self.ours[sender].seal(b"from the layer");
            let id = self.ours[sender].id;
            for (at, peer) in self.ours.iter_mut().enumerate().filter(|(at, _)| *at != sender) {
                assert_eq!(peer.open(&wire).unwrap().0.sender, Some(id), "member {at}");
            }
            for peer in &mut self.theirs {
                let ReceivedMessage::ApplicationMessage(message) = peer.process(&wire.body) else {
                    panic!("another kind of message");
                };
                assert_eq!(message.data(), b"from the layer");
            }
        }
        for sender in 0..self.theirs.len() {
            let stack = self.ours[0].stack;
            let wire = self.theirs[sender].seal(&stack);
            let id = self.theirs[sender].id;
            for peer in &mut self.ours {
                let (opened, text) = peer.open(&wire).unwrap();
                assert_eq!((opened.sender, &text[..]), (Some(id), &b"from mls-rs"[..]));
            }
            for (_, peer) in self.theirs.iter_mut().enumerate().filter(|(at, _)| *at != sender) {
                peer.process(&wire.body);
            }
        }
    }

    fn leaf(&self, id: MemberId) -> u32 {
        let mut members = self.ours[0].layer.mls_members().iter();
        members.find(|member| member.id == id).unwrap().leaf_index
    }
}

fn part_context(binding: [u8; 32], psk: bool) -> PartContext<'static> {
    PartContext { binding, position: POSITION, chain: None, group_below: psk, now: None }
}

fn live(layer_founds: bool, (suite, their_suite): (Ciphersuite, CipherSuite)) {
    let config = LayerConfig::default().with_ciphersuite(suite).with_plain_peers(true);
    let mut alice = Peer::with("Alice", layer_founds, config.clone()).alone();
    let mut bob = Peer::with("Bob", false, config).alone();
    let mut xenia = foreign("Xenia", their_suite);
    let mut yuri = foreign("Yuri", their_suite);
    // In an extension that mls-rs members know nothing of.
    alice.layer.set_leaf_data("said by Alice").unwrap();
    bob.layer.set_leaf_data("said by Bob").unwrap();
    let binding = || cc_core::random::array().unwrap();

    // Whoever founds adds the three others, of both libraries, at once.
    if layer_founds {
        let packages = [bob.key_package(), xenia.key_package(), yuri.key_package()];
        let staged = alice.stage(&packages, &[]).unwrap();
        alice.confirm();
        assert_eq!(bob.join(&staged), Ok(Some(alice.id)));
        xenia.join(&staged);
        yuri.join(&staged);
    } else {
        xenia.found();
        let packages = [alice.key_package(), bob.key_package(), yuri.key_package()];
        let staged = xenia.commit(&packages, None, binding(), false);
        xenia.group().apply_pending_commit().unwrap();
        assert_eq!(alice.join(&staged), Ok(Some(xenia.id)));
        assert_eq!(bob.join(&staged), Ok(Some(xenia.id)));
        yuri.join(&staged);
    }
    let mut all = Mixed { ours: vec![alice, bob], theirs: vec![xenia, yuri] };
    all.agree();

    // Updates from both sides, three times, so that the tree fills.
    for _ in 0..3 {
        for at in 0..2 {
            let staged = all.ours[at].stage(&[], &[]).unwrap();
            all.settle(By::Ours(at), &staged, false);
            all.agree();
            let staged = all.theirs[at].commit(&[], None, binding(), false);
            all.settle(By::Theirs(at), &staged, false);
            all.agree();
        }
    }

    for peer in &all.ours {
        let said = |of: MemberId| peer.layer.leaf_data(&of);
        let [alice, bob] = [0, 1].map(|at| said(all.ours[at].id));
        assert_eq!((alice, bob), (Some(&b"said by Alice"[..]), Some(&b"said by Bob"[..])));
        assert!(all.theirs.iter().all(|peer| said(peer.id).is_none()));
    }

    // A new name, which mls-rs members know of as an extension.
    all.ours[1].layer.rename_group("Interop").unwrap();
    let staged = all.ours[1].stage(&[], &[]).unwrap();
    all.settle(By::Ours(1), &staged, false);
    all.agree();
    for peer in &all.ours {
        assert_eq!(peer.layer.group_name().as_deref(), Some("Interop"));
    }

    // PSKs from both sides.
    for by in [By::Ours(1), By::Theirs(1)] {
        let binding = binding();
        for peer in &mut all.theirs {
            peer.psks.insert(psk_id(&binding), psk_secret(&binding));
        }
        let staged = match by {
            By::Ours(at) => {
                let context = part_context(binding, true);
                let request = ChangeRequest { added: &news(&[]), removed: &[] };
                let parts = all.ours[at].transact(|layer| layer.stage_change(&request, &context));
                Staged { parts: parts.unwrap(), binding }
            }
            By::Theirs(at) => all.theirs[at].commit(&[], None, binding, true),
        };
        all.settle(by, &staged, true);
        all.agree();
    }

    // Each library removes a member of the other, who reads nothing after, and adds them again.
    let mut bob = all.ours.pop().unwrap();
    let leaf = all.leaf(bob.id);
    let staged = all.theirs[1].commit(&[], Some(leaf), binding(), false);
    assert!(bob.process(&staged).unwrap().removed_self);
    all.settle(By::Theirs(1), &staged, false);
    all.agree();
    assert!(bob.open(&all.ours[0].seal(b"not for Bob")).is_err());

    let mut yuri = all.theirs.pop().unwrap();
    let staged = all.ours[0].stage(&[], &[yuri.id]).unwrap();
    yuri.process(&staged.parts.commit);
    all.settle(By::Ours(0), &staged, false);
    all.agree();

    let staged = all.theirs[0].commit(&[bob.key_package()], None, binding(), false);
    all.settle(By::Theirs(0), &staged, false);
    assert_eq!(bob.join(&staged), Ok(Some(all.theirs[0].id)));
    all.ours.push(bob);
    all.agree();

    let staged = all.ours[1].stage(&[yuri.key_package()], &[]).unwrap();
    all.settle(By::Ours(1), &staged, false);
    yuri.join(&staged);
    all.theirs.push(yuri);
    all.agree();
}

#[test]
fn the_layer_founds_a_group_with_mls_rs() {
    SUITES.into_iter().for_each(|suite| live(true, suite));
}

#[test]
fn mls_rs_founds_a_group_with_the_layer() {
    SUITES.into_iter().for_each(|suite| live(false, suite));
}

#[test]
fn by_default_a_plain_key_package_is_refused() {
    let package = foreign("Xenia", SUITES[0].1).key_package();
    let mut alice = Peer::founder("Alice");
    assert_eq!(alice.stage(&[package], &[]).err(), Some(LayerErrorKind::Rejected));
}

#[test]
fn plain_peers_and_another_group_layer_do_not_go_together() {
    let identity = MlsIdentity::generate("Alice").unwrap();
    let config = LayerConfig::default().with_plain_peers(true);
    let mut layer = MlsLayer::member_with(identity, config).unwrap();
    let member = Some(MemberId::from_bytes([1; 32]));
    let place = Attachment { stack: StackId::of(&[]), position: 0, member, founding: false };
    assert_eq!(layer.attach(&place).unwrap_err().kind(), LayerErrorKind::Misuse);
}
