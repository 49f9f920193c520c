//! How the group changes: commits and welcomes (RFC 9420 section 12).

use std::collections::HashSet;

use cc_core::{
    ChangeParts, ChangeRequest, CommitOutcome, Contribution, GroupLayer, KeyPackageInfo,
    LayerError, Member, MemberId, NewMember, PartContext, Standing,
};
use openmls::prelude::{
    ContentType, DeserializeBytes as _, LeafNode, LeafNodeIndex, PreSharedKeyProposal,
    PrivateMessageIn, ProcessedMessageContent, Proposal, Sender, StagedCommit, StagedWelcome,
    tls_codec::Serialize as _,
};
use openmls::schedule::PreSharedKeyId;
use openmls_traits::OpenMlsProvider as _;
use sha2::{Digest as _, Sha256};

use crate::{
    MlsConfig, MlsLayer,
    context::{check_renamed, renamed},
    error::{internal, storage as failed},
    group::{Group, export_pending},
    key_package,
    layer::{Parts, State, contribution},
    outstanding,
    provider::Provider,
    psk::BindingPsk,
    storage::Kind,
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
            Some(group) if group.mls.is_active() => Standing::Member { epoch: group.epoch() },
            Some(_) => Standing::Removed,
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
        outstanding::tidy(&self.provider)?;
        key_package::create(self, &id, &context.binding)
    }

    fn inspect_key_package(&self, part: &[u8]) -> Result<KeyPackageInfo, LayerError> {
        key_package::peek_commitment(part, self.config.ciphersuite()).map(KeyPackageInfo::new)
    }

    fn verify_key_package(
        &self,
        new: &NewMember<'_>,
        _now: Option<u64>,
    ) -> Result<KeyPackageInfo, LayerError> {
        let verified = key_package::verify(&self.provider, self.config.ciphersuite(), new)?;
        self.config.policy.admit(verified.leaf_node())?;
        self.inspect_key_package(new.part)
    }

    fn epoch_authenticator(&self) -> Option<[u8; 32]> {
        None
    }

    fn stage_change(
        &mut self,
        request: &ChangeRequest<'_>,
        context: &PartContext<'_>,
    ) -> Result<ChangeParts, LayerError> {
        let new_name = self.new_name.take();
        let Parts { group, provider, identity, config, dirty, .. } = self.parts()?;
        if group.mls.pending_commit().is_some() {
            return Err(LayerError::misuse(
                "a change is staged already: confirm or discard it first",
            ));
        }
        let removed = leaves_to_remove(group, request)?;
        let suite = config.ciphersuite();
        let added = provider.crypto().verify_together(|| {
            let verified = |new| key_package::verify(provider, suite, new);
            request.added.iter().map(verified).collect::<Result<Vec<_>, _>>()
        })?;
        added.iter().try_for_each(|new| config.policy.admit(new.leaf_node()))?;
        check_new_ids(group, request, &removed)?;
        if group.roster.members().len() - removed.len() + added.len() > cc_core::limits::MAX_MEMBERS
        {
            return Err(LayerError::local(
                cc_core::LayerErrorKind::Limit,
                "the group would have more members than cc_core::limits::MAX_MEMBERS",
            ));
        }

        *dirty = true;
        group.burn_handshakes(provider, identity)?;
        let psk = BindingPsk::demanded(context);
        let proposal = match &psk {
            Some(psk) => {
                psk.put(provider)?;
                let id = psk.id(provider, config.ciphersuite())?;
                Some(Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(id))))
            }
            None => None,
        };
        let old = group.mls.extensions();
        let extensions = new_name.map(|name| renamed(old, &name)).transpose()?;
        group.mls.set_aad(context.binding.to_vec());
        let mut builder = group.mls.commit_builder();
        if let Some(extensions) = extensions {
            builder = builder.propose_group_context_extensions(extensions).map_err(internal)?;
        }
        let bundle = builder
            .consume_proposal_store(config.plain_peers())
            .force_self_update(true)
            .propose_adds(added)
            .propose_removals(removed.into_iter().map(LeafNodeIndex::new))
            .add_proposals(proposal)
            .load_psks(provider.storage())
            .map_err(internal)?
            .create_group_info(false)
            .build(provider.rand(), provider.crypto(), identity.signer(), |_| true)
            .map_err(|error| LayerError::local(cc_core::LayerErrorKind::Misuse, error.to_string()))?
            .stage_commit(provider)
            .map_err(internal)?;
        if let Some(psk) = &psk {
            psk.take(provider)?;
        }
        group.sent(provider, 0, 1)?;

        let welcome = match bundle.to_welcome_msg() {
            Some(welcome) => welcome.tls_serialize_detached().map_err(internal)?,
            None => Vec::new(),
        };
        let commit = bundle.into_commit().tls_serialize_detached().map_err(internal)?;
        let digest: [u8; 32] = Sha256::digest(&commit).into();
        provider.storage().put(Kind::OwnCommit, &(), &digest).map_err(failed)?;
        group.own_commit = Some(digest);
        group.checkpoint(provider)?;
        Ok(ChangeParts { commit, welcome })
    }

    fn next_contribution(&mut self) -> Result<Option<Contribution>, LayerError> {
        let State::Inside(group) = &self.state else {
            return Err(LayerError::not_ready("no change is staged or was just processed"));
        };
        if let Some((epoch, exporter)) = export_pending(&group.mls, &self.provider)? {
            return Ok(Some(contribution(epoch, exporter)));
        }
        if !self.changed {
            return Err(LayerError::not_ready("no change is staged or was just processed"));
        }
        Ok(group.exporter().map(|exporter| contribution(group.epoch(), exporter.duplicate())))
    }

    fn confirm_change(&mut self) -> Result<(), LayerError> {
        let Parts { group, provider, identity, config, dirty, changed } = self.parts()?;
        if group.mls.pending_commit().is_none() {
            return Err(LayerError::not_ready("no change is staged"));
        }
        *dirty = true;
        group.advance(provider, identity, config, |mls| {
            mls.merge_pending_commit(provider).map_err(internal)
        })?;
        *changed = true;
        Ok(())
    }

    fn discard_change(&mut self) -> Result<(), LayerError> {
        let State::Inside(group) = &mut self.state else {
            return Ok(());
        };
        if group.mls.pending_commit().is_some() {
            self.dirty = true;
            group.mls.clear_pending_commit(self.provider.storage()).map_err(failed)?;
            self.provider.storage().delete(Kind::OwnCommit, &()).map_err(failed)?;
            group.own_commit = None;
        }
        Ok(())
    }

    fn process_commit(
        &mut self,
        part: &[u8],
        context: &PartContext<'_>,
    ) -> Result<CommitOutcome, LayerError> {
        let own = self.own_id()?;
        let Parts { group, provider, identity, config, dirty, changed } = self.parts()?;
        let digest: [u8; 32] = Sha256::digest(part).into();
        if group.own_commit == Some(digest) {
            return Err(LayerError::misuse("this is the staged change of this member: confirm it"));
        }
        let message = commit(group, part, context)?;

        *dirty = true;
        let psk = BindingPsk::demanded(context);
        if let Some(psk) = &psk {
            psk.put(provider)?;
        }
        let processed = provider.crypto().verify_together(|| {
            group.mls.process_message(provider, message).map_err(|_| LayerError::rejected())
        });
        if let Some(psk) = &psk {
            psk.take(provider)?;
        }
        let processed = processed?;
        let &Sender::Member(committer) = processed.sender() else {
            return Err(LayerError::rejected());
        };
        let ProcessedMessageContent::StagedCommitMessage(staged) = processed.into_content() else {
            return Err(LayerError::rejected());
        };
        let outcome = judge(group, provider, config, &staged, committer.u32(), psk.as_ref(), own)?;
        group.advance(provider, identity, config, |mls| {
            mls.merge_staged_commit(provider, *staged).map_err(internal)
        })?;
        *changed = true;
        Ok(outcome)
    }

    fn join(
        &mut self,
        part: &[u8],
        context: &PartContext<'_>,
    ) -> Result<Option<MemberId>, LayerError> {
        self.check_whole()?;
        let own = self.own_id()?;
        let welcome = wire::welcome(part)?;
        let psk = BindingPsk::demanded(context);
        if let Some(psk) = &psk {
            psk.put(&self.provider)?;
        }
        self.dirty = true;
        let mut next = None;
        // Whatever the member was in goes first: openmls keeps no two groups of one id.
        if let State::Inside(left) = &mut self.state {
            // Who was removed has taken no part in the last epoch it knows of, and may join in it.
            let epoch = left.epoch().saturating_add(u64::from(left.mls.is_active()));
            next = Some((left.mls.group_id().clone(), epoch));
            left.delete(&self.provider)?;
        }
        let rejected = |_| LayerError::rejected();
        let packages = self.provider.storage().count(Kind::KeyPackage);
        let builder =
            StagedWelcome::build_from_welcome(&self.provider, &self.config.join_config(), welcome)
                .map_err(rejected)?;
        let bound = match (builder.processed_welcome().psks(), &psk) {
            ([], None) => true,
            ([id], Some(psk)) => psk.matches(id),
            _ => false,
        };
        if !bound {
            return Err(LayerError::rejected());
        }
        // The lifetime is that of key packages. A member who was added long ago and never sent an
        // update keeps one in the tree, and is a member all the same (RFC 9420 section 7.3).
        let staged = self
            .provider
            .crypto()
            .verify_together(|| builder.skip_lifetime_validation().build().map_err(rejected))?;
        let sender = staged.welcome_sender().map_err(|_| LayerError::rejected())?;
        let sender = self.provider.ids.of(sender);
        let mls = staged.into_group(&self.provider).map_err(rejected);
        if let Some(psk) = &psk {
            psk.take(&self.provider)?;
        }
        let mls = mls?;
        mls.treesync().full_leaves().try_for_each(|(_, leaf)| self.config.policy.admit(leaf))?;
        let group = Group::begin(mls, &self.provider, &self.identity)?;
        let last_resort = self.provider.storage().count(Kind::KeyPackage) == packages;
        // A last-resort key package still opens the welcome of long ago: nobody goes back by it.
        // Any other one opens one welcome only, which may lead back from an epoch of this member's own.
        let stale =
            next.is_some_and(|(id, epoch)| id == *group.mls.group_id() && group.epoch() < epoch);
        if (last_resort && stale) || group.own_id() != Some(own) {
            return Err(LayerError::rejected());
        }
        self.state = State::Inside(Box::new(group));
        self.changed = true;
        Ok(sender)
    }
}

impl MlsLayer {
    pub(crate) fn check_whole(&self) -> Result<(), LayerError> {
        match &self.state {
            State::Outside | State::Inside(_) => Ok(()),
            State::Broken => Err(failed("the group could not be loaded again")),
        }
    }
}

/// A commit of this group and the current epoch that carries the binding. openmls then authenticates
/// the very same data.
fn commit(
    group: &Group,
    part: &[u8],
    context: &PartContext<'_>,
) -> Result<PrivateMessageIn, LayerError> {
    let message = wire::private_message(part, ContentType::Commit)?;
    if message.group_id() != group.mls.group_id() || message.aad() != context.binding {
        return Err(LayerError::rejected());
    }
    let epoch = message.epoch().as_u64();
    if epoch > group.epoch() {
        return Err(LayerError::early(Some(epoch)));
    }
    if epoch < group.epoch() {
        return Err(LayerError::rejected());
    }
    Ok(message)
}

/// The leaves of who goes, ascending, none twice.
fn leaves_to_remove(group: &Group, request: &ChangeRequest<'_>) -> Result<Vec<u32>, LayerError> {
    let own = group.mls.own_leaf_index().u32();
    let mut leaves = Vec::new();
    for id in request.removed {
        let leaf = group
            .roster
            .leaf(id)
            .ok_or_else(|| LayerError::misuse("a member to be removed is not in the group"))?;
        if leaf == own {
            return Err(LayerError::misuse("a member cannot remove itself: ask to leave"));
        }
        leaves.push(leaf);
    }
    leaves.sort_unstable();
    leaves.dedup();
    Ok(leaves)
}

/// Nobody is added who is in the group and stays, and nobody twice.
fn check_new_ids(
    group: &Group,
    request: &ChangeRequest<'_>,
    removed: &[u32],
) -> Result<(), LayerError> {
    let mut seen = HashSet::new();
    for new in request.added {
        let stays = group.roster.leaf(&new.id).is_some_and(|leaf| !removed.contains(&leaf));
        if stays || !seen.insert(new.id) {
            return Err(LayerError::misuse("a member to be added is in the group already"));
        }
    }
    Ok(())
}

/// Whether this layer takes a valid commit, and what it does. Adds, removes, updates, another name, and
/// exactly the PSK that the parts below demand; whoever stays keeps id, credential and signature key, for the
/// member id commits to the key.
fn judge(
    group: &Group,
    provider: &Provider,
    config: &MlsConfig,
    staged: &StagedCommit,
    committer: u32,
    psk: Option<&BindingPsk>,
    own: MemberId,
) -> Result<CommitOutcome, LayerError> {
    let mut outcome = CommitOutcome { committer: group.roster.id(committer), ..Default::default() };
    let mut psks = 0usize;
    for queued in staged.queued_proposals() {
        match queued.proposal() {
            Proposal::Add(add) => {
                let id = provider
                    .ids
                    .of(add.key_package().leaf_node())
                    .ok_or_else(LayerError::rejected)?;
                config.policy.admit(add.key_package().leaf_node())?;
                outcome.added.push(id);
            }
            Proposal::Remove(remove) => {
                let id =
                    group.roster.id(remove.removed().u32()).ok_or_else(LayerError::rejected)?;
                outcome.removed.push(id);
            }
            Proposal::Update(update) => {
                let &Sender::Member(sender) = queued.sender() else {
                    return Err(LayerError::rejected());
                };
                check_same_member(group, provider, sender, update.leaf_node())?;
                config.policy.admit(update.leaf_node())?;
            }
            Proposal::PreSharedKey(proposal) => {
                let id = proposal.tls_serialize_detached().map_err(internal)?;
                let id = PreSharedKeyId::tls_deserialize_exact_bytes(&id).map_err(internal)?;
                if !psk.is_some_and(|psk| psk.matches(&id)) {
                    return Err(LayerError::rejected());
                }
                psks += 1;
            }
            Proposal::GroupContextExtensions(proposal) => {
                check_renamed(group.mls.extensions(), proposal.extensions())?;
            }
            _ => return Err(LayerError::rejected()),
        }
    }
    if psks != usize::from(psk.is_some()) {
        return Err(LayerError::rejected());
    }
    if let Some(leaf) = staged.update_path_leaf_node() {
        check_same_member(group, provider, LeafNodeIndex::new(committer), leaf)?;
        config.policy.admit(leaf)?;
    }
    outcome.removed_self = staged.self_removed();
    if outcome.removed_self != outcome.removed.contains(&own) {
        return Err(LayerError::rejected());
    }
    Ok(outcome)
}

pub(crate) fn check_same_member(
    group: &Group,
    provider: &Provider,
    index: LeafNodeIndex,
    new: &LeafNode,
) -> Result<(), LayerError> {
    let old = group.mls.public_group().leaf(index).ok_or_else(LayerError::rejected)?;
    let same = provider.ids.of(old) == provider.ids.of(new)
        && old.signature_key() == new.signature_key()
        && old.credential() == new.credential();
    if same { Ok(()) } else { Err(LayerError::rejected()) }
}
