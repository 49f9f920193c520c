//! How to go back from what was saved and is in force, when the store fails.

use alloc::{boxed::Box, vec::Vec};

use cc_core::MemberId;

use super::{Ack, Group, Owed, Peer, Plan, Staged, State, Transition};
use crate::{Account, ReceiverChain, account::UsedPrekeys};

/// What was different. Messages touch the little that they touch, changes of the group everything.
pub(super) struct Before {
    spent: Vec<UsedPrekeys>,
    state: Was,
}

enum Was {
    Whole(Box<State>),
    Parts { sender: Option<Box<Sender>>, debts: Vec<Debts> },
}

/// Whose message was opened.
struct Sender {
    id: MemberId,
    peer: Peer,
    chains: Vec<ReceiverChain>,
}

/// What a member was owed, and what it was to be told.
struct Debts {
    member: MemberId,
    owed: Option<Owed>,
    ack: Option<Ack>,
}

impl Group {
    pub(crate) fn revert(&mut self) {
        self.staged = Staged::default();
        let Some(Before { spent, state }) = self.before.take() else { return };
        spent.into_iter().for_each(|spent| self.account.restore_prekeys(spent));
        match state {
            Was::Whole(state) => self.state = *state,
            Was::Parts { sender, debts } => {
                if let (Some(sender), Some(keys)) = (sender, &mut self.state.keys) {
                    let Sender { id, peer, chains } = *sender;
                    self.state.peers.insert(id, peer);
                    keys.put_back(id.as_bytes(), chains);
                }
                for Debts { member, owed, ack } in debts {
                    self.state.owed.remove(&member);
                    self.state.owed.extend(owed.map(|owed| (member, owed)));
                    self.state.acks.remove(&member);
                    self.state.acks.extend(ack.map(|ack| (member, ack)));
                }
            }
        }
    }
}

impl Before {
    pub(super) fn new(state: &State, account: &Account, staged: &Staged) -> Self {
        let mut spent = Vec::new();
        let received = staged.received.as_ref();
        let session = received.and_then(|received| received.in_session());
        spent.extend(session.and_then(|staged| staged.prekeys_used_by(account)));
        if let Some(super::Next::Join(joined)) = &staged.next {
            spent.extend(joined.session.prekeys_used_by(account));
        }
        if staged.place.is_some() || staged.founds || staged.next.is_some() {
            return Self { spent, state: Was::Whole(Box::new(state.duplicate())) };
        }
        let sender = received.map(|received| received.sender);
        let debts = staged.sent.iter().chain(&staged.acked).chain(&sender);
        let debts = debts.map(|member| Debts {
            member: *member,
            owed: state.owed.get(member).map(Owed::duplicate),
            ack: state.acks.get(member).copied(),
        });
        let debts = debts.collect();
        let sender = sender.and_then(|id| {
            let peer = state.peers.get(&id)?.duplicate();
            let chains = state.keys.as_ref()?.duplicate_sender(id.as_bytes());
            Some(Box::new(Sender { id, peer, chains }))
        });
        Self { spent, state: Was::Parts { sender, debts } }
    }
}

impl State {
    fn duplicate(&self) -> Self {
        Self {
            me: self.me,
            phase: self.phase,
            epoch: self.epoch,
            peers: self.peers.iter().map(|(id, peer)| (*id, peer.duplicate())).collect(),
            keys: self.keys.as_ref().map(|keys| keys.duplicate()),
            generation: self.generation,
            owed: self.owed.iter().map(|(id, owed)| (*id, owed.duplicate())).collect(),
            acks: self.acks.clone(),
            plan: self.plan.as_ref().map(Plan::duplicate),
            touched: self.touched.clone(),
        }
    }
}

impl Peer {
    fn duplicate(&self) -> Self {
        Self {
            bundle: self.bundle.clone(),
            sessions: self.sessions.duplicate(),
            generations: self.generations.clone(),
            floor: self.floor,
        }
    }
}

impl Plan {
    fn duplicate(&self) -> Self {
        let Transition { epoch, added, removed, removed_self, chain } = &self.transition;
        let transition = Transition {
            epoch: *epoch,
            added: added.iter().map(|(id, peer)| (*id, peer.duplicate())).collect(),
            removed: removed.clone(),
            removed_self: *removed_self,
            chain: chain.as_ref().map(|chain| chain.duplicate()),
        };
        Self { transition, founds: self.founds }
    }
}

impl Owed {
    fn duplicate(&self) -> Self {
        Self { distribution: self.distribution.duplicate(), sent: self.sent }
    }
}
