//! A group whose members share the secrets of an epoch, and send in a chain each that the epoch gives
//! them.
//!
//! What is staged is a second [`GroupState`], which shares what it has in common with the one in
//! force. `apply` puts it in its place, `revert` drops it, and a save writes what differs from the
//! state that the store has.

use alloc::{sync::Arc, vec::Vec};

use cc_core::{
    Attachment, Buffer, LayerContext, LayerError, Member, MemberId, Opened, PartContext, Secret,
    Standing,
};
use sha2::{Digest, Sha256};

use crate::{Account, IdentityKey, Limits, scrub::scrubbed};

mod change;
mod commit;
mod epoch;
mod header;
mod key_package;
mod key_schedule;
mod member_keys;
mod message;
mod persistence;
mod sealing;
mod sender;
mod shared_vec;
mod state;
#[cfg(test)]
pub(crate) mod tests;
mod welcome;

pub use epoch::PAST_EPOCHS;
use key_package::PackageSecrets;
pub(crate) use key_package::{
    commitment_in as key_package_commitment, verify_part as verify_key_package,
};
use message::Front;
use state::{GroupState, Package, Phase};

/// The group mode of the layer.
pub(crate) struct Group {
    account: Account,
    /// The account may differ from what the store has.
    account_changed: bool,
    limits: Limits,
    /// In force.
    state: GroupState,
    /// In force after `apply`.
    staged: Option<GroupState>,
    transaction: Transaction,
    /// What the store has, as far as it is this group's.
    stored: Option<GroupState>,
}

/// What happened since the last `apply` or `revert`.
#[derive(Default)]
struct Transaction {
    /// Who sealed the message that was opened, and in which epoch.
    received: Option<(MemberId, u64)>,
    change: Change,
    /// It was saved: nothing more until it is applied or reverted.
    saved: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Change {
    #[default]
    None,
    Staged,
    Discarded,
    /// Confirmed, processed or joined.
    InForce,
}

impl Group {
    pub(crate) fn new(account: Account, limits: Limits) -> Self {
        Self::with_state(account, limits, GroupState::default(), None)
    }

    fn with_state(
        account: Account,
        limits: Limits,
        state: GroupState,
        stored: Option<GroupState>,
    ) -> Self {
        let transaction = Transaction::default();
        Self { account, account_changed: false, limits, state, staged: None, transaction, stored }
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    pub(crate) fn into_account(self) -> Account {
        self.account
    }

    pub(crate) fn account_mut(&mut self) -> &mut Account {
        self.account_changed = true;
        &mut self.account
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn identity_of(&self, member: MemberId) -> Option<&IdentityKey> {
        let roster = &self.state.member()?.roster;
        let keys = roster.get(&member).filter(|_| self.state.me != Some(member))?;
        Some(keys.identity())
    }

    /// Takes the place and founds the group where this member is to. A second call with the same
    /// place changes nothing.
    pub(crate) fn attach(&mut self, place: &Attachment) -> Result<(), LayerError> {
        let Some(me) = place.member else {
            return Err(LayerError::misuse("a group layer needs a member id"));
        };
        let mut next = self.current().clone();
        let renamed = next.me.is_some_and(|old| old != me);
        let founds = match &next.phase {
            Phase::Outside => place.founding,
            Phase::Member(member) if renamed && member.roster.len() > 1 => {
                return Err(LayerError::misuse(
                    "the other members know this one by another id: found a new group, or leave \
                     the group layers of the stack as they are",
                ));
            }
            // Alone in the group, and under a new id: as good as a new group.
            Phase::Member(_) => renamed,
            Phase::Removed(_) => false,
        };
        if renamed {
            // They are signed for the old id.
            next.packages = Arc::default();
        }
        next.me = Some(me);
        if founds {
            next.found(self.account.identity_pair(), me)?;
        }
        self.staged = Some(next);
        Ok(())
    }

    pub(crate) fn standing(&self) -> Standing {
        match &self.current().phase {
            Phase::Outside => Standing::Outside,
            Phase::Member(member) => Standing::Member { epoch: member.epochs.present.number },
            Phase::Removed(_) => Standing::Removed,
        }
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        let roster = self.current().member().map(|member| &member.roster);
        let members = roster.into_iter().flat_map(|roster| roster.iter());
        members
            .map(|(id, keys)| {
                let commitment = commitment(&keys.identity().keys());
                Member { id: *id, name: None, commitment }
            })
            .collect()
    }

    pub(crate) fn epoch_authenticator(&self) -> Option<[u8; 32]> {
        Some(self.current().member()?.epochs.present.authenticator)
    }

    pub(crate) fn export_secret(&self, label: &[u8]) -> Result<Option<Secret<32>>, LayerError> {
        let Some(member) = self.current().member() else { return Ok(None) };
        Ok(Some(scrubbed(|| key_schedule::export(&member.secrets.init, label))?))
    }

    pub(crate) fn export_next_secret(
        &self,
        label: &[u8],
    ) -> Result<Option<Secret<32>>, LayerError> {
        let state = self.current();
        let (Some(plan), Some(member)) = (&state.plan, state.member()) else { return Ok(None) };
        let init = plan.next.init(&member.epochs.mask)?;
        Ok(Some(scrubbed(|| key_schedule::export(&init, label))?))
    }

    pub(crate) fn key_package(&mut self, context: &PartContext<'_>) -> Result<Vec<u8>, LayerError> {
        let me = self.me()?;
        let secrets = PackageSecrets::generate()?;
        let part = secrets.sign(self.account.identity_pair(), &me, &context.binding);
        self.staged_mut().remember(Package { reference: key_package::reference(&part), secrets });
        Ok(part)
    }

    /// Seals in one's own chain. It moves on for good, also when this is reverted.
    pub(crate) fn seal(
        &mut self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<(), LayerError> {
        self.expect_settled()?;
        self.expect_member()?;
        let (state, in_force) = match &mut self.staged {
            Some(staged) => (staged, Some(&mut self.state)),
            None => (&mut self.state, None),
        };
        let Phase::Member(member) = &mut state.phase else { return Err(outside()) };
        let (number, key, after) = scrubbed(|| member.chain.step())?;
        member.chain = Arc::new(after);
        let present = &member.epochs.present;
        if let Some(GroupState { phase: Phase::Member(in_force), .. }) = in_force
            && in_force.epochs.present.transcript == present.transcript
        {
            in_force.chain = member.chain.clone();
        }
        let signing = &member.secrets.member.sender;
        let ad = context.associated_data();
        message::seal(present, &member.epochs.mask, signing, (number, key), &ad, buffer)?;
        Ok(())
    }

    pub(crate) fn open(
        &mut self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<Opened, LayerError> {
        self.expect_settled()?;
        let epochs = self.current().epochs().ok_or_else(outside)?;
        let front = Front::take(buffer)?;
        let number = front.epoch(&epochs.mask);
        let Some(epoch) = epochs.find(number) else {
            return Err(unknown_epoch(epochs.present.number, number));
        };
        let ad = context.associated_data();
        let (place, sender) = message::open(epoch, &front, &ad, buffer, &self.limits)?;
        let id = sender.id;
        if let Some(epoch) = self.staged_mut().epochs_mut().and_then(|all| all.find_mut(number)) {
            epoch.senders.set(place, sender);
        }
        self.transaction.received = Some((id, number));
        Ok(Opened::by(id).in_epoch(number))
    }

    /// `saved`: the store has what is in force now.
    pub(crate) fn apply(&mut self, saved: bool) {
        if let Some(staged) = self.staged.take() {
            self.state = staged;
        }
        self.transaction = Transaction::default();
        if saved {
            self.stored = Some(self.state.clone());
            self.account_changed = false;
        }
    }

    pub(crate) fn revert(&mut self) {
        self.staged = None;
        self.transaction = Transaction::default();
    }

    /// What `apply` would put into force.
    fn current(&self) -> &GroupState {
        self.staged.as_ref().unwrap_or(&self.state)
    }

    fn staged_mut(&mut self) -> &mut GroupState {
        self.staged.get_or_insert_with(|| self.state.clone())
    }

    fn me(&self) -> Result<MemberId, LayerError> {
        let me = self.current().me;
        me.ok_or_else(|| LayerError::not_ready("put the layer into a stack first"))
    }

    /// One message at a time, and nothing more once it is saved.
    fn expect_settled(&self) -> Result<(), LayerError> {
        if self.transaction.received.is_some() || self.transaction.saved {
            return Err(LayerError::misuse("apply or revert the message that was opened first"));
        }
        Ok(())
    }

    fn expect_member(&self) -> Result<(), LayerError> {
        match self.standing() {
            Standing::Member { .. } => Ok(()),
            Standing::Outside => Err(outside()),
            Standing::Removed => Err(removed()),
        }
    }
}

/// What to answer to a message of an epoch that is not kept.
fn unknown_epoch(present: u64, claimed: u64) -> LayerError {
    match claimed.checked_sub(present) {
        None => LayerError::stale(Some(claimed)),
        Some(ahead) if ahead <= MAX_AHEAD => LayerError::early(Some(claimed)),
        // Noise, most likely: the epoch is not authenticated before its keys are there.
        Some(_) => LayerError::rejected(),
    }
}

/// What a [`MemberId`] says of this layer: SHA-256 of the identity's two keys.
pub(crate) fn commitment(keys: &[u8; 64]) -> [u8; 32] {
    Sha256::new().chain_update(b"cc-signal/1 member").chain_update(keys).finalize().into()
}

fn outside() -> LayerError {
    LayerError::not_ready("found a group or join one first")
}

fn removed() -> LayerError {
    LayerError::not_ready("this member was removed from the group")
}

/// How many epochs after the present one a message may claim to be of, and be worth keeping.
const MAX_AHEAD: u64 = 1024;

#[cfg(test)]
impl Group {
    /// Seals with the index of another member, whose key this one does not have.
    pub(crate) fn pretend_to_be(&mut self, member: MemberId) {
        let Phase::Member(own) = &mut self.state.phase else { return };
        let index = own.roster.keys().position(|id| *id == member);
        own.epochs.present.own = u32::try_from(index.unwrap()).unwrap();
    }

    /// Works as if the epoch numbers had another mask.
    pub(crate) fn with_another_mask<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let mask = Arc::new(header::EpochMask::new(cc_core::Secret::random().unwrap()));
        let exchange = |group: &mut Self, mask| {
            let epochs = group.state.epochs_mut().unwrap();
            core::mem::replace(&mut epochs.mask, mask)
        };
        let true_mask = exchange(self, mask);
        let result = work(self);
        exchange(self, true_mask);
        result
    }
}
