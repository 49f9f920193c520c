//! A group with one root key per membership generation. Its methods are those of
//! [`CipherLayer`](cc_core::CipherLayer) and [`GroupLayer`](cc_core::GroupLayer), which a layer passes on.

use alloc::vec::Vec;

use cc_core::{
    Attachment, Buffer, ChangeParts, ChangeRequest, CommitOutcome, Contribution, KeyPackageInfo,
    LayerContext, LayerError, Member, MemberId, Opened, PartContext, Recalled, Secret, Standing,
    membership::{ChangeError, GroupState, Keys, Versions},
};

use crate::{KeyError, MemberKeyPair, MemberPublicKey, member::SuiteOf};

mod commit;
mod generation;
mod invitation;
mod persistence;
mod root;
mod roster;
mod welcome;

use commit::{Commit, CommittedChange, RootSource};
use generation::{Generation, MessageSecrets};
use root::Root;
use roster::Entry;
use welcome::{Invited, Welcome};

/// Past generations of which late messages still open, unless the caller asks for another number.
pub const DEFAULT_PAST_GENERATIONS: usize = 3;
/// The most past generations that can be kept.
pub const MAX_PAST_GENERATIONS: usize = 64;

/// The group mode of the layer: this member's key pair and the generations it knows.
#[derive(Debug)]
pub struct Group<K: MemberKeyPair> {
    keys: K,
    state: Versions<State<K::PublicKey>>,
}

type State<P> = GroupState<Generation<P>>;

impl<K: MemberKeyPair> Group<K> {
    /// The owner of `keys`, in no group yet.
    #[must_use]
    pub fn new(keys: K) -> Self {
        Self { keys, state: Versions::new(State::new(DEFAULT_PAST_GENERATIONS)) }
    }

    /// How many past generations stay readable, at most [`MAX_PAST_GENERATIONS`]. In force at once.
    pub fn set_window(&mut self, generations: usize) {
        self.state.configure(|state| state.set_window(generations.min(MAX_PAST_GENERATIONS)));
    }

    /// This member's key pair.
    #[must_use]
    pub const fn keys(&self) -> &K {
        &self.keys
    }

    /// As [`CipherLayer::attach`](cc_core::CipherLayer::attach): takes the place and founds the group where this member is to. A second call with the same place
    /// changes nothing.
    ///
    /// # Errors
    /// Those of that method.
    pub fn attach(&mut self, place: &Attachment) -> Result<(), LayerError> {
        let placement = self.state.latest().place(place)?;
        let founded = if placement.founds {
            Some(self.found(placement.member, place.stack.as_bytes())?)
        } else {
            None
        };
        self.state.stage(self.state.latest().attached(placement.member, founded));
        Ok(())
    }

    /// As [`CipherLayer::contribute`](cc_core::CipherLayer::contribute): the hint is the generation, 8 bytes.
    ///
    /// # Errors
    /// Those of that method.
    pub fn contribute(&self) -> Result<Contribution, LayerError> {
        Ok(self.state.latest().present()?.contribution())
    }

    /// As [`CipherLayer::recall`](cc_core::CipherLayer::recall).
    ///
    /// # Errors
    /// Those of that method.
    pub fn recall(&self, hint: &[u8]) -> Result<Recalled, LayerError> {
        let number = u64::from_be_bytes(hint.try_into().map_err(|_| LayerError::rejected())?);
        let secret = self.message_secrets(number)?.contribution.duplicate();
        Ok(Recalled { secret, epoch: Some(number) })
    }

    /// As [`CipherLayer::seal`](cc_core::CipherLayer::seal): 56 bytes more.
    ///
    /// # Errors
    /// Those of that method.
    pub fn seal(&self, context: &LayerContext<'_>, buffer: &mut Buffer) -> Result<(), LayerError> {
        let now = self.state.latest().present()?;
        now.secrets.messages.key.seal(&context.associated_data(), buffer)?;
        buffer.prepend(&now.number.to_be_bytes());
        Ok(())
    }

    /// As [`CipherLayer::open`](cc_core::CipherLayer::open).
    ///
    /// # Errors
    /// Those of that method.
    pub fn open(
        &self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<Opened, LayerError> {
        let number = buffer.take_front().ok_or(LayerError::rejected())?;
        let number = u64::from_be_bytes(number);
        self.message_secrets(number)?.key.open(&context.associated_data(), buffer)?;
        // The key is everyone's: which member sealed it, this layer cannot tell.
        Ok(Opened::default().in_epoch(number))
    }

    /// As [`CipherLayer::apply`](cc_core::CipherLayer::apply).
    pub fn apply(&mut self) {
        if let Some(state) = self.state.apply() {
            state.settle();
        }
    }

    /// As [`CipherLayer::revert`](cc_core::CipherLayer::revert).
    pub fn revert(&mut self) {
        self.state.revert();
    }

    /// As [`GroupLayer::standing`](cc_core::GroupLayer::standing).
    pub fn standing(&self) -> Standing {
        self.state.latest().standing()
    }

    /// As [`GroupLayer::members`](cc_core::GroupLayer::members), without names.
    pub fn members(&self) -> Vec<Member> {
        let Ok(now) = self.state.latest().present() else { return Vec::new() };
        let member = |entry: &Entry<K::PublicKey>| Member {
            id: entry.id,
            name: None,
            commitment: entry.key.commitment(),
        };
        now.roster.entries().map(member).collect()
    }

    /// As [`GroupLayer::epoch_authenticator`](cc_core::GroupLayer::epoch_authenticator).
    pub fn epoch_authenticator(&self) -> Option<[u8; 32]> {
        Some(self.state.latest().present().ok()?.secrets.authenticator)
    }

    /// As [`GroupLayer::export_secret`](cc_core::GroupLayer::export_secret).
    pub fn export_secret(&self, label: &[u8]) -> Option<Secret<32>> {
        Some(self.state.latest().present().ok()?.secrets.export(label))
    }

    /// As [`GroupLayer::export_next_secret`](cc_core::GroupLayer::export_next_secret).
    pub fn export_next_secret(&self, label: &[u8]) -> Option<Secret<32>> {
        Some(self.state.latest().change()?.next.secrets.export(label))
    }

    /// As [`GroupLayer::key_package`](cc_core::GroupLayer::key_package): the public key, as
    /// [`MemberPublicKey::to_wire`] gives it.
    ///
    /// # Errors
    /// Those of that method.
    pub fn key_package(&self) -> Result<Vec<u8>, LayerError> {
        self.state.latest().expect_member()?;
        Ok(self.keys.public_key().to_wire())
    }

    /// As [`GroupLayer::inspect_key_package`](cc_core::GroupLayer::inspect_key_package).
    ///
    /// # Errors
    /// Those of that method.
    pub fn inspect_key_package(&self, part: &[u8]) -> Result<KeyPackageInfo, LayerError> {
        Ok(KeyPackageInfo::new(K::PublicKey::from_wire(part)?.commitment()))
    }

    /// As [`GroupLayer::stage_change`](cc_core::GroupLayer::stage_change).
    ///
    /// # Errors
    /// Those of that method.
    pub fn stage_change(
        &mut self,
        request: &ChangeRequest<'_>,
        context: &PartContext<'_>,
    ) -> Result<ChangeParts, LayerError> {
        let state = self.state.latest();
        let binding = &context.binding;
        let member = state.expect_member()?;
        let (now, founds) = state.start_change(|| self.found(member, binding))?;
        if request.added.len().max(request.removed.len()) > K::PublicKey::MAX_MEMBERS {
            return Err(ChangeError::TooMany.into());
        }
        let added = self.newcomers(request)?;
        let mut removed = request.removed.to_vec();
        removed.sort_unstable();
        let roster = now.roster.changed(Some(&member), &removed, &added)?;

        let step = now.step(&roster, binding)?;
        let (root, salt) = if removed.is_empty() {
            let (root, salt) = now.secrets.next_root(binding)?;
            (root, Some(salt))
        } else {
            (Root::random(K::PublicKey::LABEL)?, None)
        };
        let commitment = root.commitment(&step);
        let change = CommittedChange { ends: now.number, removed, added, commitment };
        let commit = match salt {
            Some(salt) => Commit { change, root: RootSource::Derived { salt } },
            None => Commit::seal(&self.keys, member, &now, &step, change, &root)?,
        };
        let mut part = commit.encode()?;
        let digest = commit::append_tag(&mut part, &now, binding);
        let next = Generation::new(&root, &step, &commitment, digest, roster);
        let welcome = if commit.change.added.is_empty() {
            Vec::new()
        } else {
            let (keys, step, next, root) = (&self.keys, &step, &next, &root);
            let invited =
                Invited { keys, sender: member, step, commitment: &commitment, next, root };
            invited.welcome(&commit.change.added)?
        };
        self.state.stage(self.state.latest().with_change(now, next, founds));
        Ok(ChangeParts { commit: part, welcome })
    }

    /// As [`GroupLayer::next_contribution`](cc_core::GroupLayer::next_contribution).
    ///
    /// # Errors
    /// Those of that method.
    pub fn next_contribution(&self) -> Result<Option<Contribution>, LayerError> {
        Ok(self.state.latest().next()?.map(Generation::contribution))
    }

    /// As [`GroupLayer::confirm_change`](cc_core::GroupLayer::confirm_change).
    ///
    /// # Errors
    /// Those of that method.
    pub fn confirm_change(&mut self) -> Result<(), LayerError> {
        self.state.stage(self.state.latest().confirmed()?);
        Ok(())
    }

    /// As [`GroupLayer::discard_change`](cc_core::GroupLayer::discard_change).
    pub fn discard_change(&mut self) {
        if let Some(state) = self.state.latest().discarded() {
            self.state.stage(state);
        }
    }

    /// As [`GroupLayer::process_commit`](cc_core::GroupLayer::process_commit).
    ///
    /// # Errors
    /// Those of that method.
    pub fn process_commit(
        &mut self,
        part: &[u8],
        context: &PartContext<'_>,
    ) -> Result<CommitOutcome, LayerError> {
        let state = self.state.latest();
        let binding = &context.binding;
        let member = state.expect_member()?;
        // Cheapest first: an outsider's bytes cost one digest.
        let (body, tag) = commit::split_tag(part)?;
        let digest = commit::digest::<K::PublicKey>(body);
        if state.present().is_ok_and(|now| now.commit == digest) {
            return Err(LayerError::duplicate());
        }
        let now = state.expect_present(commit::claimed_generation(body)?)?;
        if state.change().is_some_and(|change| change.next.commit == digest) {
            return Err(LayerError::own());
        }
        if now.secrets.membership_tag(binding, &digest) != tag {
            return Err(LayerError::rejected());
        }
        let commit = Commit::decode(self.suite(), body)?;
        let CommittedChange { removed, added, commitment, .. } = &commit.change;
        let committer = match &commit.root {
            RootSource::Derived { .. } => None,
            RootSource::Sealed { committer, .. } if *committer == member => {
                return Err(LayerError::rejected());
            }
            RootSource::Sealed { committer, .. } => Some(*committer),
        };
        let roster = now
            .roster
            .changed(committer.as_ref(), removed, added)
            .map_err(|_| LayerError::rejected())?;
        let step = now.step(&roster, binding)?;
        let next = commit
            .open(&self.keys, member, now, &step)?
            .map(|root| Generation::new(&root, &step, commitment, digest, roster));
        let outcome = CommitOutcome {
            committer,
            added: added.iter().map(|entry| entry.id).collect(),
            removed: removed.clone(),
            removed_self: next.is_none(),
        };
        self.state.stage(state.advanced(next));
        Ok(outcome)
    }

    /// As [`GroupLayer::is_invited`](cc_core::GroupLayer::is_invited). Costs one key agreement, whatever the welcome's length.
    pub fn is_invited(&self, part: &[u8]) -> Option<bool> {
        let member = self.state.latest().member()?;
        let invitation = Welcome::decode::<K::PublicKey>(self.suite(), part)
            .and_then(|welcome| welcome.invitation(&self.keys, &member).map(|it| it.is_some()));
        Some(invitation.unwrap_or(false))
    }

    /// As [`GroupLayer::join`](cc_core::GroupLayer::join); gives who invited.
    ///
    /// # Errors
    /// Those of that method.
    pub fn join(&mut self, part: &[u8], context: &PartContext<'_>) -> Result<MemberId, LayerError> {
        let state = self.state.latest();
        let member = state.expect_member()?;
        let welcome = Welcome::decode::<K::PublicKey>(self.suite(), part)?;
        let Some(invitation) = welcome.invitation(&self.keys, &member)? else {
            return Err(LayerError::stale(None));
        };
        let (generation, sender) =
            welcome.open(&invitation, &self.keys, member, &context.binding)?;
        self.state.stage(state.joined(generation)?);
        Ok(sender)
    }

    fn suite(&self) -> SuiteOf<K> {
        self.keys.public_key().suite()
    }

    /// A group of this member alone.
    fn found(
        &self,
        member: MemberId,
        binding: &[u8; 32],
    ) -> Result<Generation<K::PublicKey>, KeyError> {
        Generation::founded_by(member, self.keys.public_key().clone(), binding)
    }

    /// Who is added, in the order of ids.
    fn newcomers(
        &self,
        request: &ChangeRequest<'_>,
    ) -> Result<Vec<Entry<K::PublicKey>>, LayerError> {
        let mut added = Vec::with_capacity(request.added.len());
        for new in request.added {
            let key = K::PublicKey::from_wire(new.part)
                .map_err(|error| LayerError::from(error).about(new.id))?;
            if key.suite() != self.suite() {
                let advice = "the new member's key is of another suite: all must use the same";
                return Err(LayerError::misuse(advice).about(new.id));
            }
            added.push(Entry { id: new.id, key });
        }
        added.sort_unstable_by_key(|entry| entry.id);
        Ok(added)
    }

    /// The secrets of a generation that is present or within the window.
    fn message_secrets(&self, number: u64) -> Result<&MessageSecrets, LayerError> {
        Ok(match self.state.latest().keys(number)? {
            Keys::Present(now) => &now.secrets.messages,
            Keys::Past(messages) => messages,
        })
    }
}

#[cfg(any(test, feature = "group-tests"))]
pub mod tests;
