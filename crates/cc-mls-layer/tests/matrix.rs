//! Every kind of message at every door: damaged, of another group, of another epoch, from somebody who
//! may not. What is refused changes nothing, and the genuine one works afterwards.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use crate::common;

use cc_core::{ChangeParts, GroupLayer, LayerErrorKind, MemberId, Standing};
use cc_mls_layer::{MlsConfig, MlsKeyPackage};
use common::{KeyPackage, Peer, Staged, Wire, all_read_all, flip, group, settle};

/// What a refusal must leave as it is.
fn state(peer: &Peer) -> (Standing, Vec<u8>, Vec<MemberId>, Vec<MlsKeyPackage>) {
    let layer = &peer.layer;
    (
        layer.standing(),
        layer.epoch_authenticator().unwrap_or_default().to_vec(),
        layer.mls_members().iter().map(|member| member.id).collect(),
        layer.key_packages().unwrap(),
    )
}

/// Where bytes from the network come in.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Door {
    Message,
    Commit,
    Welcome,
    KeyPackage,
}

const DOORS: [Door; 4] = [Door::Message, Door::Commit, Door::Welcome, Door::KeyPackage];

/// One genuine message of each kind, with what travels around it.
struct Genuine {
    wire: Wire,
    staged: Staged,
    package: KeyPackage,
}

impl Genuine {
    /// Alice's message, and her change that adds Charlie by `package`. The change is staged.
    fn of(alice: &mut Peer, charlie: &mut Peer) -> Self {
        let package = charlie.key_package();
        let wire = alice.seal(b"genuine");
        let staged = alice.stage(std::slice::from_ref(&package), &[]).unwrap();
        Self { wire, staged, package }
    }

    fn bytes(&self, door: Door) -> &[u8] {
        match door {
            Door::Message => &self.wire.body,
            Door::Commit => &self.staged.parts.commit,
            Door::Welcome => &self.staged.parts.welcome,
            Door::KeyPackage => &self.package.part,
        }
    }

    /// `bytes` at a door of `peer`, with the genuine surroundings.
    fn put(&self, peer: &mut Peer, door: Door, bytes: &[u8]) -> Result<(), LayerErrorKind> {
        let bytes = bytes.to_vec();
        let parts = ChangeParts { commit: bytes.clone(), welcome: bytes.clone() };
        let staged = Staged { parts, binding: self.staged.binding };
        match door {
            Door::Message => {
                let wire = Wire { body: bytes, ..self.wire.clone() };
                peer.open(&wire).map(|_| ())
            }
            Door::Commit => peer.process(&staged).map(|_| ()),
            Door::Welcome => peer.join(&staged).map(|_| ()),
            Door::KeyPackage => {
                let package = KeyPackage { part: bytes, ..self.package.clone() };
                peer.stage(&[package], &[]).map(|_| ())
            }
        }
    }
}

/// Refused, and nothing changed.
fn refused(genuine: &Genuine, peer: &mut Peer, door: Door, bytes: &[u8], what: &str) {
    let before = state(peer);
    let error = genuine.put(peer, door, bytes).unwrap_err();
    let known =
        matches!(error, LayerErrorKind::Rejected | LayerErrorKind::Early | LayerErrorKind::Stale);
    assert!(known, "{what} at {door:?}: {error:?}");
    assert_eq!(state(peer), before, "{what} at {door:?}");
}

/// Who listens at a door: Bob in the group, Charlie who waits for a welcome.
fn listener<'a>(door: Door, bob: &'a mut Peer, charlie: &'a mut Peer) -> &'a mut Peer {
    if door == Door::Welcome { charlie } else { bob }
}

/// Every door still works; the change comes into force.
fn all_good(genuine: &Genuine, mut peers: Vec<Peer>, mut charlie: Peer) {
    let bytes = |door| genuine.bytes(door).to_vec();
    genuine.put(&mut peers[1], Door::Message, &bytes(Door::Message)).unwrap();
    genuine.put(&mut peers[1], Door::KeyPackage, &bytes(Door::KeyPackage)).unwrap();
    peers[1].transact(GroupLayer::discard_change).unwrap();
    settle(&mut peers, 0, &genuine.staged, &[]);
    genuine.put(&mut charlie, Door::Welcome, &bytes(Door::Welcome)).unwrap();
    peers.push(charlie);
    all_read_all(&mut peers);
}

#[test]
fn every_length_and_many_bits_of_every_kind() {
    let mut peers = group(&["Alice", "Bob"]);
    let mut charlie = Peer::joiner("Charlie");
    let genuine = Genuine::of(&mut peers[0], &mut charlie);
    for door in DOORS {
        let bytes = genuine.bytes(door).to_vec();
        let listener = listener(door, &mut peers[1], &mut charlie);
        for len in 0..bytes.len() {
            refused(&genuine, listener, door, &bytes[..len], &format!("{len} bytes"));
        }
        // A stride that is coprime to 8 meets every bit of a byte.
        for bit in (0..bytes.len() * 8).step_by(5) {
            refused(&genuine, listener, door, &flip(&bytes, bit), &format!("bit {bit}"));
        }
        for more in [&b"\0"[..], &bytes] {
            refused(&genuine, listener, door, &[&bytes, more].concat(), "more");
        }
    }
    all_good(&genuine, peers, charlie);
}

#[test]
fn every_kind_at_every_other_door_and_of_another_group() {
    let mut peers = group(&["Alice", "Bob"]);
    let mut charlie = Peer::joiner("Charlie");
    let genuine = Genuine::of(&mut peers[0], &mut charlie);
    let mut others = group(&["Alice", "Bob"]);
    let mut stranger = Peer::joiner("Charlie");
    let foreign = Genuine::of(&mut others[0], &mut stranger);
    for door in DOORS {
        for kind in DOORS {
            let listener = listener(door, &mut peers[1], &mut charlie);
            if kind != door {
                let bytes = genuine.bytes(kind).to_vec();
                refused(&genuine, listener, door, &bytes, &format!("{kind:?}"));
            }
            let bytes = foreign.bytes(kind).to_vec();
            refused(&genuine, listener, door, &bytes, &format!("another group's {kind:?}"));
        }
        // The other group's message with its own surroundings.
        if door != Door::KeyPackage {
            let listener = listener(door, &mut peers[1], &mut charlie);
            refused(&foreign, listener, door, foreign.bytes(door), "another group's");
        }
    }
    all_good(&genuine, peers, charlie);
    all_good(&foreign, others, stranger);
}

#[test]
fn messages_and_commits_of_other_epochs() {
    let config = MlsConfig::default().with_max_past_epochs(1);
    let peer = |name, founds| Peer::with(name, founds, config.clone());
    let mut peers = common::assemble(peer("Alice", true), vec![peer("Bob", false)]);
    let mut wires = vec![peers[0].seal(b"epoch 1")];
    let mut changes = Vec::new();
    for epoch in 2..5 {
        changes.push(peers[0].stage(&[], &[]).unwrap());
        peers[0].confirm();
        wires.push(peers[0].seal(format!("epoch {epoch}").as_bytes()));
    }
    // Bob is at 1, and is told the future.
    let before = state(&peers[1]);
    for change in &changes[1..] {
        assert_eq!(peers[1].process(change).map(|_| ()), Err(LayerErrorKind::Early));
    }
    for wire in &wires[1..] {
        assert_eq!(peers[1].open(wire).map(|_| ()), Err(LayerErrorKind::Early));
    }
    assert_eq!(state(&peers[1]), before);
    for (at, change) in changes.iter().enumerate() {
        assert!(peers[1].process(change).is_ok());
        for (before, over) in changes[..=at].iter().enumerate() {
            // Of the epochs that are kept, Bob knows how they ended.
            let kept = at - before < config.max_past_epochs();
            let expected = if kept { LayerErrorKind::Duplicate } else { LayerErrorKind::Stale };
            assert_eq!(peers[1].process(over).map(|_| ()), Err(expected), "over");
        }
    }
    // Bob is at 4: epochs 1 and 2 are out of the window.
    for (at, wire) in wires.iter().enumerate() {
        let expected = if at < 2 { Err(LayerErrorKind::Stale) } else { Ok(()) };
        assert_eq!(peers[1].open(wire).map(|_| ()), expected, "epoch {}", at + 1);
    }
    all_read_all(&mut peers);
}

#[test]
fn whoever_came_by_a_change_that_never_was_is_not_heard() {
    let mut peers = group(&["Alice", "Bob"]);
    let mut charlie = Peer::joiner("Charlie");
    let never = peers[0].stage(&[charlie.key_package()], &[]).unwrap();
    charlie.join(&never).unwrap();
    let early = charlie.seal(b"too soon");
    let revenge = charlie.stage(&[], &[peers[0].id]).unwrap();
    for peer in &mut peers {
        assert_eq!(peer.open(&early).map(|_| ()), Err(LayerErrorKind::Early));
        assert_eq!(peer.process(&revenge).map(|_| ()), Err(LayerErrorKind::Early));
    }
    // Another change takes the place of the one that Charlie came by.
    peers[0].transact(GroupLayer::discard_change).unwrap();
    let staged = peers[1].stage(&[], &[]).unwrap();
    settle(&mut peers, 1, &staged, &[]);
    for peer in &mut peers {
        let before = state(peer);
        assert_eq!(peer.open(&early).map(|_| ()), Err(LayerErrorKind::Rejected));
        assert_eq!(peer.process(&revenge).map(|_| ()), Err(LayerErrorKind::Rejected));
        assert_eq!(state(peer), before);
    }
    all_read_all(&mut peers);
}

#[test]
fn a_removed_member_is_not_heard_beyond_the_window() {
    let config = MlsConfig::default().with_max_past_epochs(1);
    let peer = |name, founds| Peer::with(name, founds, config.clone());
    let mut peers =
        common::assemble(peer("Alice", true), vec![peer("Bob", false), peer("Charlie", false)]);
    let charlie = peers[2].id;
    let removal = peers[0].stage(&[], &[charlie]).unwrap();
    settle(&mut peers, 0, &removal, &[2]);
    let mut removed = peers.pop().unwrap();
    // Within the window, what it seals under its last epoch cannot be told from what was on its way.
    assert!(peers[1].open(&removed.seal(b"on its way?")).is_ok());
    let commit = removed.stage(&[], &[]).unwrap();
    let before = state(&peers[1]);
    assert_eq!(peers[1].process(&commit).map(|_| ()), Err(LayerErrorKind::Stale));
    assert_eq!(state(&peers[1]), before);
    let staged = peers[1].stage(&[], &[]).unwrap();
    settle(&mut peers, 1, &staged, &[]);
    removed.transact(GroupLayer::discard_change).unwrap();
    let late = removed.seal(b"beyond");
    assert_eq!(peers[0].open(&late).map(|_| ()), Err(LayerErrorKind::Stale));
    // Nor does it come back by the commits that it missed.
    let staged = peers[0].stage(&[], &[]).unwrap();
    assert_eq!(removed.process(&staged).map(|_| ()), Err(LayerErrorKind::Early));
    settle(&mut peers, 0, &staged, &[]);
    all_read_all(&mut peers);
}

#[test]
fn a_welcome_for_somebody_else_is_refused() {
    let mut peers = group(&["Alice", "Bob"]);
    let (mut charlie, mut eve) = (Peer::joiner("Charlie"), Peer::joiner("Eve"));
    let waiting = eve.key_package();
    let staged = peers[0].stage(&[charlie.key_package()], &[]).unwrap();
    let before = state(&eve);
    assert_eq!(eve.join(&staged), Err(LayerErrorKind::Rejected));
    assert_eq!(state(&eve), before);
    peers[0].transact(GroupLayer::discard_change).unwrap();
    let staged = peers[0].stage(&[waiting], &[]).unwrap();
    assert_eq!(charlie.join(&staged), Err(LayerErrorKind::Rejected));
    settle(&mut peers, 0, &staged, &[]);
    eve.join(&staged).unwrap();
    peers.push(eve);
    all_read_all(&mut peers);
}
