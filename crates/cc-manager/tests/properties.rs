//! Random groups on a bad network: who is in an epoch agrees on it, and nobody else opens anything.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::collections::BTreeMap;

use cc_manager::{CascadingCipherManager, MemberId, Standing};
use cc_mls_layer::MlsLayer;
use common::{Follow as _, founder, joiner};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Add {
        by: usize,
    },
    Remove {
        by: usize,
        whom: usize,
    },
    Update {
        by: usize,
    },
    Send {
        by: usize,
    },
    /// Deliver the message at this place of the queue to one member, and keep it if `again`.
    Deliver {
        to: usize,
        message: usize,
    },
    /// Two members commit at once; the second loses.
    Race {
        first: usize,
        second: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0usize..8;
    prop_oneof![
        2 => who.clone().prop_map(|by| Step::Add { by }),
        1 => (who.clone(), who.clone()).prop_map(|(by, whom)| Step::Remove { by, whom }),
        2 => who.clone().prop_map(|by| Step::Update { by }),
        6 => who.clone().prop_map(|by| Step::Send { by }),
        12 => (who.clone(), 0usize..64).prop_map(|(to, message)| Step::Deliver { to, message }),
        1 => (who.clone(), who).prop_map(|(first, second)| Step::Race { first, second }),
    ]
}

struct Sent {
    wire: Vec<u8>,
    text: String,
    sender: MemberId,
    epoch: u64,
    /// Who was in the epoch, and whether they have read it.
    readers: BTreeMap<MemberId, bool>,
}

#[derive(Default)]
struct World {
    members: Vec<CascadingCipherManager>,
    gone: Vec<CascadingCipherManager>,
    sent: Vec<Sent>,
    count: usize,
}

impl World {
    fn pick(&self, index: usize) -> usize {
        index % self.members.len()
    }

    fn settle(&mut self, by: usize, change: &cc_manager::Change) -> Option<Vec<u8>> {
        let mut welcome = None;
        for (i, member) in self.members.iter_mut().enumerate() {
            if i == by {
                welcome = member.confirm(change.id()).unwrap().welcome;
            } else {
                member.process(&change.commit).unwrap();
            }
        }
        let (stay, gone) = std::mem::take(&mut self.members)
            .into_iter()
            .partition(|member| matches!(member.standing(), Some(Standing::Member { .. })));
        self.members = stay;
        self.gone.extend::<Vec<_>>(gone);
        welcome
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Add { by } if self.members.len() < 8 => {
                self.count += 1;
                let mut new = joiner(&format!("member {}", self.count));
                let by = self.pick(by);
                let change = self.members[by].add_members([new.key_package().unwrap()]).unwrap();
                let welcome = self.settle(by, &change).unwrap();
                new.join(&welcome).unwrap();
                self.members.push(new);
            }
            Step::Remove { by, whom } => {
                let (by, whom) = (self.pick(by), self.pick(whom));
                if by != whom {
                    let id = self.members[whom].member_id().unwrap();
                    let change = self.members[by].remove_members([id]).unwrap();
                    self.settle(by, &change);
                }
            }
            Step::Update { by } => {
                let by = self.pick(by);
                let change = self.members[by].update().unwrap();
                self.settle(by, &change);
            }
            Step::Send { by } if self.sent.len() < 64 => {
                let by = self.pick(by);
                let text = format!("message {}", self.sent.len());
                let wire = self.members[by].encrypt(&text).unwrap();
                let sender = self.members[by].member_id().unwrap();
                let epoch = self.members[by].epoch().unwrap();
                let ids = self.members.iter().filter_map(|member| member.member_id());
                let readers = ids.filter(|id| *id != sender).map(|id| (id, false)).collect();
                self.sent.push(Sent { wire, text, sender, epoch, readers });
            }
            Step::Deliver { to, message } if !self.sent.is_empty() => {
                let to = self.pick(to);
                let count = self.sent.len();
                let sent = &mut self.sent[message % count];
                let member = &mut self.members[to];
                let result = member.decrypt(&sent.wire);
                let age = member.epoch().unwrap() - sent.epoch;
                match sent.readers.get_mut(&member.member_id().unwrap()) {
                    // In the window, and not read before: opens exactly once.
                    Some(read @ false) if age <= 3 => {
                        let message = result.unwrap();
                        assert_eq!(message, sent.text);
                        assert_eq!(message.sender(), Some(sent.sender));
                        *read = true;
                    }
                    Some(false) => assert!(result.is_err(), "beyond the window"),
                    _ => assert!(result.is_err(), "read before, one's own, or not in the epoch"),
                }
            }
            Step::Race { first, second } => {
                let (first, second) = (self.pick(first), self.pick(second));
                if first != second {
                    let winner = self.members[first].update().unwrap();
                    let loser = self.members[second].update().unwrap();
                    self.settle(first, &winner);
                    for member in &mut self.members {
                        assert!(member.process(&loser.commit).is_err());
                        assert_eq!(member.staged_change(), None);
                    }
                }
            }
            _ => {}
        }
    }

    fn check(&mut self) {
        let secret = |member: &CascadingCipherManager| {
            let mls = member.find::<MlsLayer>().unwrap();
            (member.epoch(), mls.export_secret("test", b"", 32).unwrap(), member.members())
        };
        let first = secret(&self.members[0]);
        for member in &self.members[1..] {
            let other = secret(member);
            assert!(first.0 == other.0 && first.1 == other.1 && first.2 == other.2);
        }
        let text = "for those inside";
        let wire = self.members[0].encrypt(text).unwrap();
        for member in &mut self.members[1..] {
            assert_eq!(member.decrypt(&wire).unwrap(), text);
        }
        for member in &mut self.gone {
            assert!(member.decrypt(&wire).is_err());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn members_of_an_epoch_agree_and_nobody_else_reads(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut world = World::default();
        world.members.push(founder("founder"));
        world.run(Step::Add { by: 0 });
        for step in steps {
            world.run(step);
        }
        world.check();
    }
}
