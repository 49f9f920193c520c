//! How the group changes: commits and welcomes (RFC 9420 section 12).

use std::collections::HashSet;

use cc_core::{
    ChangeParts, ChangeRequest, CommitOutcome, Contribution, GroupLayer, KeyPackageInfo,
    LayerError, Member, MemberId, NewMember, PartContext, Secret, Standing,
};
use openmls::{
    group::{JoinBuilder, ProcessMessageError, StageCommitError, WelcomeError},
    prelude::{
        ContentType, KeyPackage, PreSharedKeyProposal, ProcessedMessageContent, Proposal, Sender,
        StagedWelcome,
    },
    schedule::{PreSharedKeyId, errors::PskError},
};
use openmls_traits::OpenMlsProvider as _;
use sha2::{Digest as _, Sha256};

use crate::{
    MlsConfig, MlsLayer,
    cipher::contribution,
    commit_rules::{check_new_keys, check_path, check_tree, fits, judge},
    epoch::Ending,
    error::{internal, refusal, storage as failed},
    external_psk::{is_callers, not_registered},
    group::{Group, export_pending},
    key_package,
    layer::{Parts, State},
    outstanding,
    provider::Provider,
    psk::BindingPsk,
    staging::Plan,
    storage::Kind,
    transaction::Progress,
    welcome::WelcomePart,
    wire,
};

impl GroupLayer for MlsLayer {
    fn commitment(&self) -> [u8; 32] {
        self.identity.commitment()
    }

    fn founds(&self) -> bool {
        self.founds.is_some()
    }

    fn standing(&self) -> Standing {
        match self.inside() {
            None => Standing::Outside,
            Some(group) if group.removal.is_some() => Standing::Removed,
            Some(group) => Standing::Member { epoch: group.epoch() },
        }
    }

    fn members(&self) -> Vec<Member> {
        self.mls_members()
            .iter()
            .map(|member| Member {
                id: member.id,
                name: member.name.clone(),
                commitment: member.commitment,
            })
            .collect()
    }

    fn key_package(&mut self, context: &PartContext<'_>) -> Result<Vec<u8>, LayerError> {
        self.check_whole()?;
        let id = self.own_id()?;
        let now = self.provider.now(context);
        outstanding::tidy(&self.provider, now)?;
        key_package::create(self, &id, &context.binding, now)
    }

    fn inspect_key_package(&self, part: &[u8]) -> Result<KeyPackageInfo, LayerError> {
        key_package::inspect(part, self.config.ciphersuite())
    }

    fn verify_key_package(
        &self,
        new: &NewMember<'_>,
        now: Option<u64>,
    ) -> Result<KeyPackageInfo, LayerError> {
        let now = now.unwrap_or_else(|| self.provider.clock.now());
        let verified = key_package::verify(&self.provider, &self.config, new, now)?;
        let admitted = self.config.policy.admit(verified.leaf_node());
        admitted.map_err(|error| error.about(new.id))?;
        self.inspect_key_package(new.part)
    }

    fn epoch_authenticator(&self) -> Option<[u8; 32]> {
        let group = self.active().ok()?;
        let mut hash = Sha256::new();
        hash.update(b"cascading-cipher/1 mls epoch authenticator");
        hash.update(group.mls.epoch_authenticator().as_slice());
        Some(hash.finalize().into())
    }

    fn export_secret(&self, label: &[u8]) -> Result<Option<Secret<32>>, LayerError> {
        match self.active() {
            Ok(group) => group.export_upwards(&self.provider, label).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn export_next_secret(&self, label: &[u8]) -> Result<Option<Secret<32>>, LayerError> {
        match self.active() {
            Ok(group) => group.export_next_upwards(&self.provider, label),
            Err(_) => Ok(None),
        }
    }

    fn stage_change(
        &mut self,
        request: &ChangeRequest<'_>,
        context: &PartContext<'_>,
    ) -> Result<ChangeParts, LayerError> {
        self.check_stack()?;
        let name = self.new_name.take();
        let now = self.provider.now(context);
        let parts = self.parts()?;
        let mut plan = plan(&parts, request, now)?;
        plan.name = name;
        plan.authenticated_data = context.binding.to_vec();
        let psk = BindingPsk::demanded(context);
        if let Some(psk) = &psk {
            parts.transaction.reach(Progress::Ahead);
            psk.put(parts.provider)?;
            let id = psk.id(parts.provider, parts.config.ciphersuite())?;
            plan.psks = vec![Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(id)))];
        }
        let plain = parts.config.plain_peers();
        let change = self.stage(plan, (!plain).then_some(&context.binding))?;
        if let Some(psk) = &psk {
            psk.take(&self.provider)?;
        }
        Ok(change)
    }

    fn next_contribution(&mut self) -> Result<Option<Contribution>, LayerError> {
        let none = || LayerError::not_ready("no change is staged or was just processed");
        let group = match &self.state {
            State::Inside(group) => group,
            State::Removed(_) if self.transaction.progress() == Progress::NewEpoch => {
                return Ok(None);
            }
            _ => return Err(none()),
        };
        if let Some((epoch, exporter)) = export_pending(&group.mls, &self.provider)? {
            return Ok(Some(contribution(epoch, exporter)));
        }
        if self.transaction.progress() != Progress::NewEpoch {
            return Err(none());
        }
        Ok(group.exporter().map(|exporter| contribution(group.epoch(), exporter.duplicate())))
    }

    fn confirm_change(&mut self) -> Result<(), LayerError> {
        let Parts { group, provider, identity, config, transaction } = self.parts()?;
        let Some(commit) = group.own_commit.filter(|_| group.mls.pending_commit().is_some()) else {
            return Err(LayerError::not_ready("no change is staged"));
        };
        transaction.reach(Progress::NewEpoch);
        let now = provider.clock.now();
        group.advance(provider, identity, config, Ending::own(commit), now, |mls| {
            mls.merge_pending_commit(provider).map_err(internal)
        })
    }

    fn discard_change(&mut self) -> Result<(), LayerError> {
        let State::Inside(group) = &mut self.state else {
            return Ok(());
        };
        if group.mls.pending_commit().is_some() {
            self.transaction.reach(Progress::Ahead);
            group.discard_change(&self.provider)?;
        }
        Ok(())
    }

    fn process_commit(
        &mut self,
        part: &[u8],
        context: &PartContext<'_>,
    ) -> Result<CommitOutcome, LayerError> {
        self.check_stack()?;
        let psk = BindingPsk::demanded(context);
        let now = self.provider.now(context);
        self.follow_commit(part, Demands::bound(&context.binding, psk.as_ref()), now)
    }

    fn is_invited(&self, part: &[u8]) -> Option<bool> {
        let part = WelcomePart::read(part, &self.config).ok()?;
        let references = self.provider.storage().ids(Kind::KeyPackage).ok()?;
        wire::welcome_names(part.welcome, &references)
    }

    fn join(
        &mut self,
        part: &[u8],
        context: &PartContext<'_>,
    ) -> Result<Option<MemberId>, LayerError> {
        self.check_stack()?;
        let psk = BindingPsk::demanded(context);
        let demands = Demands::bound(&context.binding, psk.as_ref());
        let now = self.provider.now(context);
        let part = WelcomePart::read(part, &self.config)?;
        self.join_by(part.welcome, demands, now, |builder, provider| {
            part.give_tree(builder, provider, &context.binding)
        })
    }
}

impl MlsLayer {
    /// Takes in the commit of another member, a PrivateMessage.
    pub(crate) fn follow_commit(
        &mut self,
        part: &[u8],
        demands: Demands<'_>,
        now: u64,
    ) -> Result<CommitOutcome, LayerError> {
        let own = self.own_id()?;
        let Parts { group, provider, identity, config, transaction } = self.parts_to_read()?;
        let head = wire::private_head(part, ContentType::Commit)?;
        if head.group_id != group.mls.group_id().as_slice() {
            return Err(LayerError::rejected());
        }
        if head.epoch > group.last_epoch() {
            return Err(LayerError::early(Some(head.epoch)));
        }
        // openmls then authenticates the very same data.
        if demands.binding.is_some_and(|binding| head.authenticated_data != binding) {
            return Err(LayerError::rejected());
        }
        let digest: [u8; 32] = Sha256::digest(part).into();
        group.check_commit(&digest, head.epoch)?;
        let (epoch, message) = (head.epoch, wire::private_message(part)?);

        transaction.reach(Progress::Ahead);
        if let Some(psk) = demands.psk() {
            psk.put(provider)?;
        }
        let processed = provider.crypto().verify_together(|| {
            group.mls.process_message(provider, message).map_err(|error| match error {
                ProcessMessageError::InvalidCommit(StageCommitError::PskError(
                    PskError::KeyNotFound,
                )) if demands.is_plain() => not_registered(),
                error => refusal(&error, epoch),
            })
        });
        if let Some(psk) = demands.psk() {
            psk.take(provider)?;
        }
        let processed = processed?;
        let &Sender::Member(committer) = processed.sender() else {
            return Err(LayerError::rejected());
        };
        let staged = match processed.into_content() {
            ProcessedMessageContent::StagedCommitMessage(staged) => staged,
            // One that was discarded, or made before this member went back to an old copy.
            ProcessedMessageContent::OwnPrivateMessage => return Err(LayerError::own()),
            _ => return Err(LayerError::rejected()),
        };
        let outcome = judge(group, provider, config, &staged, committer.u32(), demands, own)?;
        let ending = Ending::of_another(digest);
        transaction.reach(Progress::NewEpoch);
        if outcome.removed_self && config.max_past_epochs() > 0 {
            group.leave(provider)?;
        } else {
            group.advance(provider, identity, config, ending, now, |mls| {
                mls.merge_staged_commit(provider, *staged).map_err(internal)
            })?;
            check_path(group, provider, committer.u32())?;
        }
        if outcome.removed_self {
            group.record_removal(provider, ending)?;
            self.removed();
        }
        Ok(outcome)
    }

    /// Joins by a welcome, an MLSMessage, once `give_tree` gave it a tree if it has none.
    pub(crate) fn join_by(
        &mut self,
        welcome: &[u8],
        demands: Demands<'_>,
        now: u64,
        give_tree: impl for<'a> FnOnce(
            JoinBuilder<'a, Provider>,
            &Provider,
        ) -> Result<JoinBuilder<'a, Provider>, LayerError>,
    ) -> Result<Option<MemberId>, LayerError> {
        self.check_whole()?;
        let own = self.own_id()?;
        let welcome = wire::welcome(welcome, || {
            self.provider.storage().ids(Kind::KeyPackage).map_err(failed)
        })?;
        if let Some(psk) = demands.psk() {
            psk.put(&self.provider)?;
        }
        self.transaction.reach(Progress::Ahead);
        let mut next = None;
        // Whatever the member was in goes first: openmls keeps no two groups of one id.
        if let State::Inside(left) | State::Removed(left) = &mut self.state {
            // Who was removed may have been told of it by openmls, and may join in the epoch after.
            let epoch = left.epoch().saturating_add(u64::from(left.mls.is_active()));
            next = Some((left.mls.group_id().clone(), epoch));
            left.delete(&self.provider)?;
        }
        let rejected = |_| LayerError::rejected();
        let packages = self.provider.storage().count(Kind::KeyPackage);
        let builder =
            StagedWelcome::build_from_welcome(&self.provider, &self.config.join_config(), welcome)
                .map_err(|error| match error {
                    WelcomeError::Psk(PskError::KeyNotFound) if demands.is_plain() => {
                        not_registered()
                    }
                    _ => LayerError::rejected(),
                })?;
        if !demands.are_met_by(builder.processed_welcome().psks()) {
            return Err(LayerError::rejected());
        }
        let builder = give_tree(builder, &self.provider)?;
        // The lifetime is that of key packages. A member who was added long ago and never sent an
        // update keeps one in the tree, and is a member all the same (RFC 9420 section 7.3).
        let staged = self
            .provider
            .crypto()
            .verify_together(|| builder.skip_lifetime_validation().build().map_err(rejected))?;
        let sender = staged.welcome_sender().map_err(|_| LayerError::rejected())?;
        let sender = self.provider.ids.of(sender);
        let mls = staged.into_group(&self.provider).map_err(rejected);
        if let Some(psk) = demands.psk() {
            psk.take(&self.provider)?;
        }
        let mls = mls?;
        check_tree(&mls, &self.provider, &self.config)?;
        let group = Group::begin(mls, &self.provider, &self.identity, now)?;
        let last_resort = self.provider.storage().count(Kind::KeyPackage) == packages;
        // A last-resort key package still opens the welcome of long ago: nobody goes back by it.
        // Any other one opens one welcome only, which may lead back from an epoch of this member's own.
        let stale =
            next.is_some_and(|(id, epoch)| id == *group.mls.group_id() && group.epoch() < epoch);
        if (last_resort && stale) || group.own_id() != Some(own) {
            return Err(LayerError::rejected());
        }
        self.state = State::Inside(Box::new(group));
        self.transaction.reach(Progress::NewEpoch);
        Ok(sender)
    }
}

/// What is demanded of a commit or a welcome of others.
#[derive(Clone, Copy)]
pub(crate) struct Demands<'a> {
    /// What a commit is to have as its authenticated data; in a plain group it has what it likes.
    binding: Option<&'a [u8; 32]>,
    psk: Option<&'a BindingPsk>,
}

impl<'a> Demands<'a> {
    /// Of a stack.
    pub(crate) const fn bound(binding: &'a [u8; 32], psk: Option<&'a BindingPsk>) -> Self {
        Self { binding: Some(binding), psk }
    }

    /// Of a plain group.
    pub(crate) const fn plain() -> Self {
        Self { binding: None, psk: None }
    }

    const fn is_plain(self) -> bool {
        self.binding.is_none()
    }

    const fn psk(self) -> Option<&'a BindingPsk> {
        self.psk
    }

    /// Whether these are exactly the pre-shared keys that are due; in a plain group, the callers' own.
    pub(crate) fn are_met_by(self, psks: &[PreSharedKeyId]) -> bool {
        if self.is_plain() {
            return psks.iter().all(is_callers);
        }
        match (psks, self.psk) {
            ([], None) => true,
            ([id], Some(psk)) => psk.matches(id),
            _ => false,
        }
    }
}

/// A change that is possible, all of it verified.
///
/// # Errors
/// As [`GroupLayer::stage_change`].
pub(crate) fn plan(
    parts: &Parts<'_>,
    request: &ChangeRequest<'_>,
    now: u64,
) -> Result<Plan, LayerError> {
    let Parts { group, provider, config, .. } = parts;
    if group.mls.pending_commit().is_some() {
        return Err(LayerError::misuse("a change is staged already: confirm or discard it first"));
    }
    let removed = leaves_to_remove(group, request)?;
    let added = verify_all(provider, config, request.added, now)?;
    check_new_ids(group, request, &removed)?;
    check_new_keys(request, &added)?;
    if !fits(group.roster.members().len(), removed.len(), added.len()) {
        return Err(LayerError::local(
            cc_core::LayerErrorKind::Limit,
            "the group would have more members than cc_core::limits::MAX_MEMBERS",
        ));
    }
    Ok(Plan { added, removed, ..Plan::default() })
}

/// The key packages of all who are added, in the time of one that is verified alone where nothing is wrong with
/// any.
///
/// # Errors
/// `Rejected` about the member whose key package it is.
fn verify_all(
    provider: &Provider,
    config: &MlsConfig,
    added: &[NewMember<'_>],
    now: u64,
) -> Result<Vec<KeyPackage>, LayerError> {
    let verify = |new| key_package::verify(provider, config, new, now);
    let together = || added.iter().map(verify).collect::<Result<Vec<_>, _>>();
    let packages = provider.crypto().verify_together(together).map_err(|error| {
        // Together, signatures do not say which of them is false.
        let one_by_one = || added.iter().find_map(|new| verify(new).err());
        if error.member().is_some() { error } else { one_by_one().unwrap_or(error) }
    })?;
    for (new, package) in added.iter().zip(&packages) {
        config.policy.admit(package.leaf_node()).map_err(|error| error.about(new.id))?;
    }
    Ok(packages)
}

/// The leaves of who goes, ascending, none twice.
fn leaves_to_remove(group: &Group, request: &ChangeRequest<'_>) -> Result<Vec<u32>, LayerError> {
    let own = group.mls.own_leaf_index().u32();
    let mut leaves = Vec::new();
    for id in request.removed {
        let leaf = group.roster.leaf(id).ok_or_else(|| {
            LayerError::misuse("a member to be removed is not in the group").about(*id)
        })?;
        if leaf == own {
            return Err(LayerError::misuse("a member cannot remove itself: ask to leave"));
        }
        leaves.push(leaf);
    }
    leaves.sort_unstable();
    leaves.dedup();
    Ok(leaves)
}

/// Nobody is added who is in the group and stays, and nobody twice. `removed` is ascending.
fn check_new_ids(
    group: &Group,
    request: &ChangeRequest<'_>,
    removed: &[u32],
) -> Result<(), LayerError> {
    let mut seen = HashSet::new();
    for new in request.added {
        let stays =
            group.roster.leaf(&new.id).is_some_and(|leaf| removed.binary_search(&leaf).is_err());
        if stays || !seen.insert(new.id) {
            return Err(
                LayerError::misuse("a member to be added is in the group already").about(new.id)
            );
        }
    }
    Ok(())
}
