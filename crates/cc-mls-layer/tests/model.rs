//! Random lives of a group, against a model of who is in it.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use crate::common;

use cc_core::LayerErrorKind;
use cc_mls_layer::MlsConfig;
use common::{Peer, Staged, Wire};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Add {
        by: usize,
    },
    Remove {
        by: usize,
        who: usize,
    },
    Update {
        by: usize,
    },
    /// Two members stage, the first one's commit is taken.
    Race {
        winner: usize,
        loser: usize,
    },
    Send {
        by: usize,
    },
    /// Deliver a message that was sent to somebody, in or out of order, perhaps again.
    Deliver {
        to: usize,
        message: usize,
    },
    /// Open a message and revert.
    Undo {
        to: usize,
        message: usize,
    },
    /// Seal a message and revert.
    SealAndUndo {
        by: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let i = 0usize..64;
    prop_oneof![
        2 => i.clone().prop_map(|by| Step::Add { by }),
        1 => (i.clone(), i.clone()).prop_map(|(by, who)| Step::Remove { by, who }),
        1 => i.clone().prop_map(|by| Step::Update { by }),
        1 => (i.clone(), i.clone()).prop_map(|(winner, loser)| Step::Race { winner, loser }),
        4 => i.clone().prop_map(|by| Step::Send { by }),
        6 => (i.clone(), i.clone()).prop_map(|(to, message)| Step::Deliver { to, message }),
        1 => (i.clone(), i.clone()).prop_map(|(to, message)| Step::Undo { to, message }),
        1 => i.prop_map(|by| Step::SealAndUndo { by }),
    ]
}

struct Sent {
    wire: Wire,
    text: Vec<u8>,
    epoch: u64,
    sender: cc_core::MemberId,
    readers: Vec<cc_core::MemberId>,
    read_by: Vec<cc_core::MemberId>,
}

#[derive(Default)]
struct World {
    inside: Vec<Peer>,
    outside: Vec<Peer>,
    sent: Vec<Sent>,
    born: usize,
    config: MlsConfig,
}

impl World {
    fn take_effect(&mut self, by: usize, staged: &Staged) {
        let mut gone = Vec::new();
        for (at, peer) in self.inside.iter_mut().enumerate() {
            if at == by {
                peer.confirm();
            } else if peer.process(staged).unwrap().removed_self {
                gone.push(at);
            }
        }
        for at in gone.into_iter().rev() {
            self.outside.push(self.inside.remove(at));
        }
    }

    fn all_agree(&mut self) {
        let exporter = self.inside[0].exporter();
        let members = cc_core::GroupLayer::members(&self.inside[0].layer);
        assert_eq!(members.len(), self.inside.len());
        for peer in &mut self.inside {
            assert_eq!(peer.exporter(), exporter);
            assert_eq!(cc_core::GroupLayer::members(&peer.layer), members);
        }
    }

    fn run(&mut self, step: &Step) {
        let n = self.inside.len();
        match *step {
            Step::Add { by } if n < 6 => {
                self.born += 1;
                let mut joiner =
                    Peer::with(&format!("member {}", self.born), false, self.config.clone());
                let package = joiner.key_package();
                let staged = self.inside[by % n].stage(&[package], &[]).unwrap();
                self.take_effect(by % n, &staged);
                assert_eq!(joiner.join(&staged), Ok(Some(self.inside[by % n].id)));
                self.inside.push(joiner);
            }
            Step::Remove { by, who } if n > 1 && by % n != who % n => {
                let who = self.inside[who % n].id;
                let staged = self.inside[by % n].stage(&[], &[who]).unwrap();
                self.take_effect(by % n, &staged);
            }
            Step::Update { by } => {
                let staged = self.inside[by % n].stage(&[], &[]).unwrap();
                self.take_effect(by % n, &staged);
            }
            Step::Race { winner, loser } if winner % n != loser % n => {
                let lost = self.inside[loser % n].stage(&[], &[]).unwrap();
                let staged = self.inside[winner % n].stage(&[], &[]).unwrap();
                self.take_effect(winner % n, &staged);
                assert!(self.inside[winner % n].process(&lost).is_err());
            }
            Step::Send { by } => {
                let text = format!("message {}", self.sent.len()).into_bytes();
                let readers = self.inside.iter().map(|peer| peer.id).collect();
                let sender = &mut self.inside[by % n];
                let wire = sender.seal(&text);
                let (epoch, id) = (sender.epoch(), sender.id);
                self.sent.push(Sent { wire, text, epoch, sender: id, readers, read_by: vec![] });
            }
            Step::Deliver { to, message } | Step::Undo { to, message } if !self.sent.is_empty() => {
                let count = self.sent.len();
                let sent = &mut self.sent[message % count];
                let everybody = n + self.outside.len();
                let to = to % everybody;
                let inside = to < n;
                let peer = if inside { &mut self.inside[to] } else { &mut self.outside[to - n] };
                // Who was removed still reads what was sent before.
                let readable = peer.id != sent.sender
                    && sent.readers.contains(&peer.id)
                    && !sent.read_by.contains(&peer.id)
                    && peer.layer.epoch().is_some_and(|last| sent.epoch + 3 >= last);
                if matches!(step, Step::Undo { .. }) {
                    assert_eq!(peer.open_only(&sent.wire).is_ok(), readable);
                    cc_core::CipherLayer::revert(&mut peer.layer);
                    return;
                }
                match peer.open(&sent.wire) {
                    Ok((opened, text)) => {
                        assert!(readable);
                        assert_eq!(opened.sender, Some(sent.sender));
                        assert_eq!(text, sent.text);
                        sent.read_by.push(peer.id);
                    }
                    Err(error) => {
                        assert!(!readable, "{error:?}");
                        // Everyday life, all of it: nothing here is an attack.
                        assert_ne!(error, LayerErrorKind::Rejected);
                    }
                }
            }
            Step::SealAndUndo { by } => {
                let peer = &mut self.inside[by % n];
                peer.seal_only(b"never sent").unwrap();
                cc_core::CipherLayer::revert(&mut peer.layer);
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_group_keeps_its_promises(
        steps in proptest::collection::vec(step(), 1..60),
        interval in prop_oneof![Just(0u32), Just(2), Just(3), Just(64)],
    ) {
        let config = MlsConfig::default().with_checkpoint_interval(interval);
        let founder = Peer::with("founder", true, config.clone());
        let mut world = World { inside: vec![founder], config, ..World::default() };
        for step in &steps {
            world.run(step);
            world.all_agree();
        }
    }
}
