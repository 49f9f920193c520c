//! Members that die at any point and come back from their stores, against a model of who has read what.
//!
//! One member, who neither dies nor reverts, gets everything at once: what it opens was sealed with a
//! key that was never used before.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use crate::common;

use cc_core::{
    CipherLayer as _, GroupLayer as _, LayerError, LayerErrorKind, MemberId, store::Failure,
};
use cc_mls_layer::{MlsConfig, MlsLayer};
use common::{KeyPackage, Peer, Staged, Wire, all_read_all, chain, context, news};
use proptest::prelude::*;

/// What happens around an operation.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Well,
    /// The member restarts before it, or after it.
    Before,
    After,
    /// It is done and reverted, then done again.
    Reverted,
    /// The store has no room, then it has.
    Full,
    /// The store does not know whether it has it; after the restart it has not, or has.
    Lost,
    Kept,
    /// It is done, and the member dies before it is saved; then it is done again.
    Unsaved,
}

#[derive(Debug, Clone)]
enum Step {
    Send(usize),
    Deliver {
        to: usize,
        message: usize,
    },
    Add(usize),
    Remove {
        by: usize,
        who: usize,
    },
    Update(usize),
    /// Of two commits one wins.
    Race {
        winner: usize,
        loser: usize,
    },
    /// Staged, and thought better of.
    Discard(usize),
    /// One misses a commit and is brought back.
    Return {
        by: usize,
        who: usize,
    },
    Restart(usize),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Well),
        2 => Just(Fate::Before),
        2 => Just(Fate::After),
        1 => Just(Fate::Reverted),
        1 => Just(Fate::Full),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Kept),
        1 => Just(Fate::Unsaved),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let i = 0usize..64;
    prop_oneof![
        6 => i.clone().prop_map(Step::Send),
        8 => (i.clone(), i.clone()).prop_map(|(to, message)| Step::Deliver { to, message }),
        2 => i.clone().prop_map(Step::Add),
        1 => (i.clone(), i.clone()).prop_map(|(by, who)| Step::Remove { by, who }),
        2 => i.clone().prop_map(Step::Update),
        1 => (i.clone(), i.clone()).prop_map(|(winner, loser)| Step::Race { winner, loser }),
        1 => i.clone().prop_map(Step::Discard),
        1 => (i.clone(), i.clone()).prop_map(|(by, who)| Step::Return { by, who }),
        2 => i.prop_map(Step::Restart),
    ]
}

struct Sent {
    wire: Wire,
    text: Vec<u8>,
    epoch: u64,
    sender: MemberId,
    /// Who was in the group, and since when; and who has read it.
    readers: Vec<(MemberId, u64)>,
    read_by: Vec<MemberId>,
}

struct World {
    fates: Vec<Fate>,
    operations: usize,
    /// The judge first. With each the first epoch of its membership.
    inside: Vec<(Peer, u64)>,
    outside: Vec<(Peer, u64)>,
    sent: Vec<Sent>,
    born: usize,
    config: MlsConfig,
}

impl World {
    fn new(fates: Vec<Fate>, config: MlsConfig) -> Self {
        let judge = Peer::with("judge", true, config.clone());
        let (inside, outside, sent) = (vec![(judge, 0)], vec![], vec![]);
        let mut world = Self { fates, operations: 0, inside, outside, sent, born: 0, config };
        world.add(0);
        world.add(0);
        world
    }

    fn fate(&mut self) -> Fate {
        self.operations += 1;
        self.fates[self.operations % self.fates.len()]
    }

    /// Where a member other than the judge is.
    fn other(&self, i: usize) -> usize {
        1 + i % (self.inside.len() - 1)
    }

    fn add(&mut self, by: usize) {
        self.born += 1;
        let name = format!("member {}", self.born);
        let mut joiner = Peer::with(&name, false, self.config.clone()).stored();
        let package = key_package(&mut joiner, self.fate());
        let staged = self.stage(by, &[package], &[]);
        self.take_effect(by, &staged, None);
        self.join(joiner, &staged);
    }

    fn join(&mut self, mut joiner: Peer, staged: &Staged) {
        let fate = self.fate();
        let chain = chain(7);
        act(&mut joiner, fate, |layer| {
            layer.join(&staged.parts.welcome, &context(staged.binding, Some(7), Some(&chain)))
        })
        .unwrap();
        let since = joiner.epoch();
        self.inside.push((joiner, since));
    }

    fn stage(&mut self, by: usize, added: &[KeyPackage], removed: &[MemberId]) -> Staged {
        let fate = if by == 0 { Fate::Well } else { self.fate() };
        let chain = chain(7);
        let binding = cc_core::random::array().unwrap();
        let request = cc_core::ChangeRequest { added: &news(added), removed };
        let parts = act(&mut self.inside[by].0, fate, |layer| {
            layer.stage_change(&request, &context(binding, Some(7), Some(&chain)))
        })
        .unwrap();
        Staged { parts, binding }
    }

    /// All but `absent` take the change; who is removed is outside then.
    fn take_effect(&mut self, by: usize, staged: &Staged, absent: Option<usize>) {
        let chain = chain(7);
        let mut gone = Vec::new();
        for at in (0..self.inside.len()).filter(|at| Some(*at) != absent) {
            let fate = if at == 0 { Fate::Well } else { self.fate() };
            let peer = &mut self.inside[at].0;
            if at == by {
                act(peer, fate, |layer| layer.confirm_change()).unwrap();
                continue;
            }
            let context = context(staged.binding, Some(7), Some(&chain));
            let outcome =
                act(peer, fate, |layer| layer.process_commit(&staged.parts.commit, &context));
            if outcome.unwrap().removed_self {
                gone.push(at);
            }
        }
        for at in gone.into_iter().rev() {
            self.outside.push(self.inside.remove(at));
        }
    }

    fn send(&mut self, by: usize) {
        let fate = if by == 0 { Fate::Well } else { self.fate() };
        let text = format!("message {}", self.sent.len()).into_bytes();
        let readers = self.inside.iter().map(|(peer, since)| (peer.id, *since)).collect();
        let sender = &mut self.inside[by].0;
        let stack = sender.stack;
        let mut sealed = Vec::new();
        act(sender, fate, |layer| {
            let wire = common::seal(layer, &stack, &text)?;
            sealed.push(wire);
            Ok(())
        })
        .unwrap();
        let (epoch, sender) = (sender.epoch(), sender.id);
        // What a restart forgot was never handed out, and its key may be used again. What was only
        // reverted may have been.
        if let (Fate::Lost | Fate::Unsaved, 2) = (fate, sealed.len()) {
            sealed.remove(0);
        }
        for wire in sealed {
            let mut read_by = vec![];
            if by > 0 {
                let judge = &mut self.inside[0].0;
                let (opened, read) = judge.open(&wire).unwrap();
                assert_eq!((opened.sender, &read), (Some(sender), &text));
                assert_eq!(judge.open(&wire), Err(LayerErrorKind::Duplicate));
                read_by.push(judge.id);
            }
            let (text, readers) = (text.clone(), Vec::clone(&readers));
            self.sent.push(Sent { wire, text, epoch, sender, readers, read_by });
        }
    }

    fn deliver(&mut self, to: usize, message: usize) {
        if self.sent.is_empty() {
            return;
        }
        let fate = self.fate();
        let everybody = self.inside.len() - 1 + self.outside.len();
        let to = 1 + to % everybody;
        let inside = self.inside.len();
        // Who was removed still reads what was sent before.
        let place = if to < inside { &mut self.inside[to] } else { &mut self.outside[to - inside] };
        let (peer, since) = (&mut place.0, place.1);
        let count = self.sent.len();
        let sent = &mut self.sent[message % count];
        let readable = peer.id != sent.sender
            && sent.readers.contains(&(peer.id, since))
            && !sent.read_by.contains(&peer.id)
            && peer.layer.epoch().is_some_and(|now| sent.epoch + 3 >= now);
        let stack = peer.stack;
        match act(peer, fate, |layer| common::open(layer, &stack, &sent.wire)) {
            Ok((opened, text)) => {
                assert!(readable);
                assert_eq!((opened.sender, &text), (Some(sent.sender), &sent.text));
                sent.read_by.push(peer.id);
            }
            Err(error) => {
                assert!(!readable, "{error:?}");
                // Everyday life, all of it: nothing here is an attack.
                assert_ne!(error, LayerErrorKind::Rejected);
            }
        }
    }

    fn run(&mut self, step: &Step) {
        let n = self.inside.len();
        match *step {
            Step::Send(by) => self.send(by % n),
            Step::Deliver { to, message } => self.deliver(to, message),
            Step::Add(by) if n < 6 => self.add(by % n),
            Step::Remove { by, who } if n > 2 && by % n != self.other(who) => {
                let who = self.inside[self.other(who)].0.id;
                let staged = self.stage(by % n, &[], &[who]);
                self.take_effect(by % n, &staged, None);
            }
            Step::Update(by) => {
                let staged = self.stage(by % n, &[], &[]);
                self.take_effect(by % n, &staged, None);
            }
            Step::Race { winner, loser } if winner % n != loser % n => {
                let _lost = self.stage(loser % n, &[], &[]);
                let staged = self.stage(winner % n, &[], &[]);
                self.take_effect(winner % n, &staged, None);
            }
            Step::Discard(by) => {
                let by = self.other(by);
                let _never_sent = self.stage(by, &[], &[]);
                let fate = self.fate();
                act(&mut self.inside[by].0, fate, |layer| layer.discard_change()).unwrap();
            }
            Step::Return { by, who } if by % n != self.other(who) => {
                let (by, who) = (by % n, self.other(who));
                let missed = self.stage(by, &[], &[]);
                self.take_effect(by, &missed, Some(who));
                let fate = self.fate();
                let package = key_package(&mut self.inside[who].0, fate);
                let staged = self.stage(by, std::slice::from_ref(&package), &[package.id]);
                self.take_effect(by, &staged, Some(who));
                let (peer, _) = self.inside.remove(who);
                self.join(peer, &staged);
            }
            Step::Restart(who) => {
                let who = self.other(who);
                self.inside[who].0.restart();
            }
            _ => {}
        }
    }

    fn all_agree(&mut self) {
        let exporter = self.inside[0].0.exporter();
        let members = self.inside[0].0.layer.members();
        assert_eq!(members.len(), self.inside.len());
        for (peer, _) in &mut self.inside {
            assert_eq!(peer.exporter(), exporter);
            assert_eq!(peer.layer.members(), members);
        }
    }
}

fn key_package(peer: &mut Peer, fate: Fate) -> KeyPackage {
    let binding = cc_core::random::array().unwrap();
    let part =
        act(peer, fate, |layer| layer.key_package(&context(binding, Some(7), None))).unwrap();
    KeyPackage { id: peer.id, part, binding }
}

/// The operation, with its fate, until it is in force.
fn act<T>(
    peer: &mut Peer,
    fate: Fate,
    mut operation: impl FnMut(&mut MlsLayer) -> Result<T, LayerError>,
) -> Result<T, LayerErrorKind> {
    match fate {
        Fate::Well => {}
        Fate::Before => peer.restart(),
        Fate::Reverted | Fate::Unsaved => {
            let result = operation(&mut peer.layer);
            peer.layer.revert();
            if let Err(error) = result {
                return Err(error.kind());
            }
            if let Fate::Unsaved = fate {
                peer.restart();
            }
        }
        Fate::After => {
            let result = peer.transact(operation);
            peer.restart();
            return result;
        }
        Fate::Full | Fate::Lost | Fate::Kept => {
            let failure = match fate {
                Fate::Full => Failure::Full,
                Fate::Lost => Failure::Lost,
                _ => Failure::Kept,
            };
            peer.store.as_mut().unwrap().fail_after(0, failure);
            let mut done = None;
            let result = peer.transact(|layer| {
                done = Some(operation(layer)?);
                Ok(())
            });
            // Only a commit used the failure up.
            peer.store.as_mut().unwrap().fail_after(u64::MAX, Failure::Full);
            let Some(done) = done else {
                return Err(result.unwrap_err());
            };
            assert_eq!(result, Err(LayerErrorKind::Storage));
            if !matches!(fate, Fate::Full) {
                peer.restart();
            }
            if let Fate::Kept = fate {
                return Ok(done);
            }
        }
    }
    peer.transact(operation)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_dies_comes_back_as_it_was(
        steps in proptest::collection::vec(step(), 1..50),
        fates in proptest::collection::vec(fate(), 1..40),
        interval in prop_oneof![Just(0u32), Just(2), Just(3), Just(64)],
    ) {
        let mut world = World::new(fates, MlsConfig::default().with_checkpoint_interval(interval));
        for step in &steps {
            world.run(step);
            world.all_agree();
        }
        let World { inside, .. } = world;
        let mut peers: Vec<Peer> = inside.into_iter().map(|(peer, _)| peer).collect();
        all_read_all(&mut peers);
    }
}

#[test]
fn a_restart_changes_nothing_that_shows() {
    let mut peers: Vec<Peer> =
        common::group(&["Alice", "Bob"]).into_iter().map(Peer::stored).collect();
    all_read_all(&mut peers);
    for peer in &mut peers {
        let before = format!("{:?}", peer.layer);
        let (id, name) = (peer.layer.group_id().map(<[u8]>::to_vec), peer.layer.group_name());
        let config = peer.layer.config().clone();
        peer.restart();
        assert_eq!(format!("{:?}", peer.layer), before);
        assert_eq!(peer.layer.group_id().map(<[u8]>::to_vec), id);
        assert_eq!(peer.layer.group_name(), name);
        assert_eq!(*peer.layer.config(), config);
    }
    all_read_all(&mut peers);
}

#[test]
fn a_restart_saves_nothing_by_itself_and_an_operation_only_what_it_changed() {
    let mut peers: Vec<Peer> =
        common::group(&["Alice", "Bob"]).into_iter().map(Peer::stored).collect();
    let saved = |peer: &mut Peer| {
        let mut batch = cc_core::store::Batch::new();
        peer.layer.save(&mut batch.scope(common::scope())).unwrap();
        batch.len()
    };
    peers[0].restart();
    assert_eq!(saved(&mut peers[0]), 0);
    peers[0].seal_only(b"one record").unwrap();
    assert_eq!(saved(&mut peers[0]), 1);
    peers[0].keep().unwrap();
    assert_eq!(saved(&mut peers[0]), 0);
}

#[test]
fn a_layer_that_was_never_saved_or_attached_can_be_saved() {
    let identity = cc_mls_layer::MlsIdentity::generate("Alice").unwrap();
    let mut peer = Peer::joiner("nobody");
    peer.layer = MlsLayer::create("Dev Team", identity).unwrap();
    let mut peer = peer.stored();
    peer.restart();
    assert!(peer.layer.founds());
    assert_eq!(peer.layer.own_name(), "Alice");
    let mut founder = Peer::new(peer.layer).stored();
    founder.restart();
    assert_eq!(founder.epoch(), 0);
    assert_eq!(founder.layer.group_name().as_deref(), Some("Dev Team"));
}

#[test]
fn a_refused_replay_is_refused_after_a_restart() {
    for interval in [0, 2, 64] {
        let config = MlsConfig::default().with_checkpoint_interval(interval);
        let peer = |name, founder| Peer::with(name, founder, config.clone()).stored();
        let mut peers = common::assemble(peer("Alice", true), vec![peer("Bob", false)]);
        let wires: Vec<_> = (0u8..10).map(|i| peers[0].seal(&[i])).collect();
        for (at, wire) in wires.iter().enumerate().rev() {
            peers[1].open(wire).unwrap();
            peers[1].restart();
            for read in &wires[at..] {
                assert_eq!(peers[1].open(read), Err(LayerErrorKind::Duplicate));
            }
        }
    }
}

#[test]
fn pending_proposals_survive_a_restart() {
    let config = MlsConfig::default().with_plain_peers(true);
    let peer = |name, founder| Peer::with(name, founder, config.clone()).alone().stored();
    let mut peers = common::assemble(peer("Alice", true), vec![peer("Bob", false)]);
    let wires: Vec<_> = (0u8..3).map(|i| peers[0].seal(&[i])).collect();
    let proposal = peers[1].transact(|layer| layer.propose_update()).unwrap();
    peers[0].transact(|layer| layer.process_proposal(&proposal)).unwrap();
    let pending = peers[0].layer.pending_proposals();
    assert_eq!(pending.len(), 1);
    for peer in &mut peers {
        peer.restart();
        assert_eq!(peer.layer.pending_proposals(), pending);
    }
    for wire in &wires {
        peers[1].open(wire).unwrap();
    }
    let staged = peers[0].stage(&[], &[]).unwrap();
    peers.iter_mut().for_each(Peer::restart);
    common::settle(&mut peers, 0, &staged, &[]);
    peers.iter_mut().for_each(Peer::restart);
    all_read_all(&mut peers);
}
