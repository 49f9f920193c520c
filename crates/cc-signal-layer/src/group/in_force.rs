//! What is staged comes into force: at once where there is no store, and otherwise when it is saved, so
//! that what is saved is the state itself. Until the store has it, [`Before`] says how to go back.

use alloc::vec::Vec;

use cc_core::MemberId;

use super::{
    Ack, Before, DISTRIBUTION_REPEATS, Group, Joined, Next, Owed, Part, Peer, Phase, Plan, Staged,
    State, Touched, Transition,
    message::{Received, Via},
};
use crate::{Account, sender_keys::CHAINS_PER_SENDER};

impl Group {
    pub(super) fn put_into_force(&mut self) {
        if self.before.is_none() {
            let staged = core::mem::take(&mut self.staged);
            self.before = Some(Before::new(&self.state, &self.account, &staged));
            self.keep(staged);
        }
    }

    /// `saved`: the store has what was in force when it was saved.
    pub(crate) fn apply(&mut self, saved: bool) {
        self.before = None;
        let staged = core::mem::take(&mut self.staged);
        self.keep(staged);
        if saved {
            self.state.touched = Default::default();
        }
    }

    /// What was staged is the state.
    fn keep(&mut self, staged: Staged) {
        let state = &mut self.state;
        if let Some((me, founds)) = staged.place {
            state.touched.add(Part::Group);
            state.me = Some(me);
            if let Some(keys) = &mut state.keys
                && keys.own().sender() != me.as_bytes()
            {
                // Alone in the group, or not in one: nobody else has the chain.
                keys.own_mut().rename(me.as_bytes());
                state.touched.add(Part::Own);
            }
            if founds {
                state.found();
                state.set_plan(None);
            }
        }
        if staged.founds {
            state.found();
        }
        state.count(&staged.sent, &staged.acked);
        if let Some(received) = staged.received {
            state.receive(&mut self.account, received);
        }
        match staged.next {
            None => {}
            Some(Next::Plan(plan)) => state.set_plan(Some(plan)),
            Some(Next::Confirm) => {
                if let Some(plan) = state.plan.take() {
                    state.enter(plan.transition);
                }
            }
            Some(Next::Discard) => {
                if state.plan.as_ref().is_some_and(|plan| plan.founds) {
                    state.phase = Phase::Outside;
                }
                state.set_plan(None);
            }
            Some(Next::Commit(transition)) => state.enter(transition),
            Some(Next::Join(joined)) => state.join(&mut self.account, *joined),
        }
    }
}

impl State {
    fn found(&mut self) {
        self.phase = Phase::Member;
        self.epoch = 0;
        self.touched.add(Part::Group);
    }

    fn set_plan(&mut self, plan: Option<Plan>) {
        self.plan = plan;
        self.touched.add(Part::Plan);
        self.touched.add(Part::Group);
    }

    fn count(&mut self, sent: &[MemberId], acked: &[MemberId]) {
        sent.iter().chain(acked).for_each(|id| self.touched.add(Part::Debts(*id)));
        for id in sent {
            if let Some(owed) = self.owed.get_mut(id) {
                owed.sent += 1;
                if owed.sent >= DISTRIBUTION_REPEATS {
                    self.owed.remove(id);
                }
            }
        }
        for id in acked {
            if let Some(ack) = self.acks.get_mut(id) {
                ack.sent += 1;
                if ack.sent >= DISTRIBUTION_REPEATS {
                    self.acks.remove(id);
                }
            }
        }
    }

    fn receive(&mut self, account: &mut Account, received: Received) {
        if let Some(staged) = received.in_session() {
            self.touched.add(Part::Sessions(received.sender));
            if staged.begins() {
                self.touched.add(Part::Account);
            }
        }
        let Received { sender, via, carried, acked } = received;
        let (Some(peer), Some(keys)) = (self.peers.get_mut(&sender), &mut self.keys) else {
            return;
        };
        self.touched.add(Part::Chains(sender));
        self.touched.add(Part::Debts(sender));
        // None of this fails: nothing else has changed since the message was opened.
        let applied = match via {
            Via::Known { opened, again } => {
                let again = again.map_or(Ok(()), |staged| peer.sessions.apply(account, staged));
                keys.apply(opened).and(again)
            }
            Via::New { staged, generation, chain } => {
                peer.remember(generation);
                peer.sessions
                    .apply(account, staged)
                    .and_then(|()| keys.insert_chain(sender.as_bytes(), *chain))
            }
        };
        debug_assert!(applied.is_ok());
        match carried {
            Some(chain) => {
                self.acks.insert(sender, Ack { chain, sent: 0 });
            }
            None => {
                self.acks.remove(&sender);
            }
        }
        if acked {
            self.owed.remove(&sender);
        }
    }

    fn enter(&mut self, transition: Transition) {
        let Transition { epoch, added, removed, removed_self, chain } = transition;
        self.set_plan(None);
        if removed_self {
            // Messages of the time before may still open.
            self.phase = Phase::Removed;
            let debts = self.owed.keys().chain(self.acks.keys());
            debts.for_each(|id| self.touched.add(Part::Debts(*id)));
            self.owed.clear();
            self.acks.clear();
            return;
        }
        self.phase = Phase::Member;
        self.epoch = epoch;
        for id in removed {
            self.touched.member(id);
            self.peers.remove(&id);
            self.owed.remove(&id);
            self.acks.remove(&id);
            if let Some(keys) = &mut self.keys {
                keys.remove(id.as_bytes());
            }
        }
        let newcomers: Vec<_> = added.iter().map(|(id, _)| *id).collect();
        newcomers.iter().for_each(|id| self.touched.member(*id));
        self.peers.extend(added);
        match (chain, &mut self.keys) {
            (Some(chain), Some(keys)) => {
                *keys.own_mut() = chain;
                self.generation = epoch;
                self.touched.add(Part::Own);
                self.owe_everyone();
            }
            _ => self.owe(newcomers),
        }
    }

    fn join(&mut self, account: &mut Account, joined: Joined) {
        let Joined { epoch, mut peers, keys, committer, session } = joined;
        if let Some(peer) = peers.get_mut(&committer) {
            let applied = peer.sessions.apply(account, session);
            debug_assert!(applied.is_ok());
        }
        // What was known of the group before is forgotten, a staged change too.
        *self = Self {
            me: self.me,
            phase: Phase::Member,
            epoch,
            peers,
            keys: Some(keys),
            generation: epoch,
            touched: Touched::everything(),
            ..Self::default()
        };
        self.owe_everyone();
    }

    pub(super) fn owe_everyone(&mut self) {
        let everyone: Vec<_> = self.peers.keys().copied().collect();
        self.owe(everyone);
    }

    fn owe(&mut self, members: impl IntoIterator<Item = MemberId>) {
        let Some(keys) = &self.keys else { return };
        for id in members {
            self.owed.insert(id, Owed { distribution: keys.own().distribution(), sent: 0 });
            self.touched.add(Part::Debts(id));
        }
    }
}

impl Peer {
    /// As [`SenderKeys`] does: the chain that came first gives way.
    fn remember(&mut self, generation: u64) {
        if self.generations.len() >= CHAINS_PER_SENDER {
            let over = self.generations.remove(0);
            self.floor = self.floor.max(over.saturating_add(1));
        }
        self.generations.push(generation);
    }
}
