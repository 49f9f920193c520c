//! What RFC 9420 has and a stack does not: proposals by reference (section 12.1) and joins from
//! outside (section 12.4.3.2). Only with [plain peers](MlsConfig::with_plain_peers), and only for a layer that is
//! driven alone: these messages travel as they are, and no other layer has a part of them.

use std::cmp::Ordering;

use cc_core::{CommitOutcome, LayerError, LayerErrorKind, MemberId, NewMember};
use openmls::prelude::{
    ContentType, LeafNodeIndex, LeafNodeParameters, MlsGroup, MlsMessageOut,
    ProcessedMessageContent, Proposal, QueuedProposal, Sender, StagedCommit,
    tls_codec::Serialize as _,
};
use openmls_traits::OpenMlsProvider as _;
use sha2::{Digest as _, Sha256};

use crate::{
    MlsConfig, MlsLayer,
    commit_rules::{check_added, check_leaf, check_path, check_same_member, check_tree, fits},
    epoch::Ending,
    error::{internal, refusal, storage as failed},
    external_psk,
    group::Group,
    key_package,
    layer::{Parts, State},
    provider::Provider,
    transaction::Progress,
    wire,
};

/// A change that somebody proposed and nobody has committed yet. Where it neither adds nor removes nor has a
/// pre-shared key, it replaces its sender's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MlsProposed {
    /// Who proposed it.
    pub sender: MemberId,
    /// Who is to come.
    pub added: Option<MemberId>,
    /// Who is to go; the sender, if they ask to leave.
    pub removed: Option<MemberId>,
    /// The id of a pre-shared key that is to go into the next epoch, in a plain group.
    pub psk: Option<Vec<u8>>,
}

impl MlsLayer {
    /// Proposes to add somebody. The bytes, an MLSMessage, are for all members; a commit of any of them
    /// then does it, [`stage_change`](cc_core::GroupLayer::stage_change) here.
    ///
    /// While a proposal is pending nobody sends messages (RFC 9420 section 12.4): `seal` gives
    /// [`NotReady`](LayerErrorKind::NotReady) until a change is in force, or
    /// [`forget_proposals`](Self::forget_proposals).
    ///
    /// # Errors
    /// [`Rejected`](LayerErrorKind::Rejected) for a key package that does not verify,
    /// [`Misuse`](LayerErrorKind::Misuse) without plain peers or while a change is staged,
    /// [`NotReady`](LayerErrorKind::NotReady) without a group.
    pub fn propose_addition(&mut self, new: &NewMember<'_>) -> Result<Vec<u8>, LayerError> {
        let now = self.provider.clock.now();
        self.propose(|Parts { group, provider, identity, config, .. }| {
            let package = key_package::verify(provider, config, new, now)?;
            config.policy.admit(package.leaf_node()).map_err(|error| error.about(new.id))?;
            let proposed = group.mls.propose_add_member(*provider, identity.keys(), &package);
            Ok(proposed.map_err(refused)?.0)
        })
    }

    /// Proposes to remove a member, or to leave; a member cannot commit its own removal. Otherwise as
    /// [`propose_addition`](Self::propose_addition).
    ///
    /// # Errors
    /// [`Misuse`](LayerErrorKind::Misuse) for somebody who is not in the group, without plain peers, or
    /// while a change is staged; [`NotReady`](LayerErrorKind::NotReady) without a group.
    pub fn propose_removal(&mut self, member: MemberId) -> Result<Vec<u8>, LayerError> {
        self.propose(|Parts { group, provider, identity, .. }| {
            let leaf = group
                .roster
                .leaf(&member)
                .ok_or_else(|| LayerError::misuse("a member to be removed is not in the group"))?;
            let leaf = LeafNodeIndex::new(leaf);
            let proposed = group.mls.propose_remove_member(*provider, identity.keys(), leaf);
            Ok(proposed.map_err(refused)?.0)
        })
    }

    /// Proposes new keys for this member's leaf. Otherwise as
    /// [`propose_addition`](Self::propose_addition).
    ///
    /// # Errors
    /// [`Misuse`](LayerErrorKind::Misuse) without plain peers or while a change is staged,
    /// [`NotReady`](LayerErrorKind::NotReady) without a group.
    pub fn propose_update(&mut self) -> Result<Vec<u8>, LayerError> {
        let leaf = self.own_leaf_parameters()?;
        self.propose(|Parts { group, provider, identity, .. }| {
            let proposed = group.mls.propose_self_update(*provider, identity.keys(), leaf);
            Ok(proposed.map_err(refused)?.0)
        })
    }

    /// Takes in a proposal of another member: an addition, a removal or an update. It is done by the
    /// next commit that names it, this member's next change included.
    ///
    /// # Errors
    /// [`Rejected`](LayerErrorKind::Rejected) for anything wrong with it, and for other kinds of proposal,
    /// [`Early`](LayerErrorKind::Early) for one of an epoch to come,
    /// [`Misuse`](LayerErrorKind::Misuse) without plain peers,
    /// [`NotReady`](LayerErrorKind::NotReady) without a group.
    pub fn process_proposal(&mut self, message: &[u8]) -> Result<MlsProposed, LayerError> {
        self.check_plain()?;
        let Parts { group, provider, config, transaction, .. } = self.parts()?;
        let head = wire::private_head(message, ContentType::Proposal)?;
        let epoch = head.epoch;
        check_current(group, head.group_id, epoch)?;
        let message = wire::private_message(message)?;
        transaction.reach(Progress::Ahead);
        let processed =
            group.mls.process_message(provider, message).map_err(|error| refusal(&error, epoch))?;
        let proposal = match processed.into_content() {
            ProcessedMessageContent::ProposalMessage(proposal) => proposal,
            ProcessedMessageContent::OwnPrivateMessage => return Err(LayerError::own()),
            _ => return Err(LayerError::rejected()),
        };
        let proposed = read(group, provider, &proposal).ok_or_else(LayerError::rejected)?;
        if proposed.psk.is_some() && !config.plain_group() {
            return Err(LayerError::rejected());
        }
        match (proposal.proposal(), proposal.sender()) {
            (Proposal::Add(add), _) => check_added(provider, config, add.key_package())?,
            (Proposal::Update(update), &Sender::Member(sender)) => {
                check_same_member(group, provider, sender, update.leaf_node())?;
                check_leaf(provider, config, update.leaf_node())?;
            }
            _ => {}
        }
        group.mls.store_pending_proposal(provider.storage(), *proposal).map_err(failed)?;
        group.checkpoint(provider)?;
        Ok(proposed)
    }

    /// What is pending in this epoch, this member's own proposals included.
    #[must_use]
    pub fn pending_proposals(&self) -> Vec<MlsProposed> {
        let group = self.inside();
        group.map_or_else(Vec::new, |group| {
            let pending = group.mls.pending_proposals();
            pending.filter_map(|proposal| read(group, &self.provider, proposal)).collect()
        })
    }

    /// Forgets what is pending. A commit that names a proposal that was forgotten is refused, so this is
    /// for proposals that nobody will commit.
    ///
    /// # Errors
    /// [`NotReady`](LayerErrorKind::NotReady) without a group.
    pub fn forget_proposals(&mut self) -> Result<(), LayerError> {
        let Parts { group, provider, transaction, .. } = self.parts()?;
        transaction.reach(Progress::Ahead);
        group.mls.clear_pending_proposals(provider.storage()).map_err(failed)
    }

    /// A signed GroupInfo of the current epoch with the ratchet tree and the external public key
    /// (RFC 9420 section 12.4.3), an MLSMessage. **Whoever has it can join the group**, and every
    /// member who takes external commits lets them in, unless their credential policy does not.
    ///
    /// # Errors
    /// [`Misuse`](LayerErrorKind::Misuse) without plain peers,
    /// [`NotReady`](LayerErrorKind::NotReady) without a group.
    pub fn group_info(&self) -> Result<Vec<u8>, LayerError> {
        self.check_plain()?;
        let group = self.active()?;
        let info = group
            .mls
            .export_group_info(self.provider.crypto(), self.identity.keys(), true)
            .map_err(internal)?;
        info.tls_serialize_detached().map_err(internal)
    }

    /// Joins by a GroupInfo, without being added. The bytes are the commit that the members process,
    /// outside of a plain group with its `authenticated_data` as the binding, which has 32 bytes. `apply` once the delivery
    /// service has taken it; if it has not, because another commit came first, `revert` and ask for a
    /// newer GroupInfo. A leaf with this member's signature key that is in the group already, of a
    /// member that fell out of step, is replaced, and so is the group that it was in until now.
    ///
    /// # Errors
    /// [`Rejected`](LayerErrorKind::Rejected) for anything wrong with the GroupInfo,
    /// [`Misuse`](LayerErrorKind::Misuse) without plain peers.
    pub fn join_from_outside(
        &mut self,
        group_info: &[u8],
        authenticated_data: &[u8],
    ) -> Result<Vec<u8>, LayerError> {
        self.check_plain()?;
        self.check_whole()?;
        let own = self.own_id()?;
        let info = wire::group_info(group_info)?;
        if info.ciphersuite() != self.config.ciphersuite() {
            return Err(LayerError::rejected());
        }
        self.transaction.reach(Progress::Ahead);
        if let State::Inside(left) | State::Removed(left) = &mut self.state {
            left.delete(&self.provider)?;
        }
        let provider = &self.provider;
        let leaf = LeafNodeParameters::builder()
            .with_capabilities(self.config.capabilities())
            .with_extensions(self.leaf_extensions(&own)?)
            .build();
        let (mls, bundle) = MlsGroup::external_commit_builder()
            .with_config(self.config.join_config())
            .with_aad(authenticated_data.to_vec())
            .skip_lifetime_validation()
            .build_group(provider, info, self.identity.credential_with_key())
            .map_err(|_| LayerError::rejected())?
            .leaf_node_parameters(leaf)
            .load_psks(provider.storage())
            .map_err(|_| LayerError::rejected())?
            .build(provider.rand(), provider.crypto(), self.identity.keys(), |_| true)
            .map_err(|_| LayerError::rejected())?
            .finalize(provider)
            .map_err(|_| LayerError::rejected())?;
        check_tree(&mls, provider, &self.config)?;
        let group = Group::begin(mls, provider, &self.identity, provider.clock.now())?;
        if group.own_id() != Some(own) {
            return Err(LayerError::rejected());
        }
        self.state = State::Inside(Box::new(group));
        self.transaction.reach(Progress::NewEpoch);
        bundle.into_commit().tls_serialize_detached().map_err(internal)
    }

    /// Somebody joins by a commit of their own; a staged change of this member's is discarded. The
    /// commit carries `binding` as `authenticated_data`, adds its sender, replaces a leaf that the
    /// sender had before, and does nothing else.
    ///
    /// # Errors
    /// [`Rejected`](LayerErrorKind::Rejected) for anything wrong with it,
    /// [`Early`](LayerErrorKind::Early) for one of an epoch to come,
    /// [`Misuse`](LayerErrorKind::Misuse) without plain peers,
    /// [`NotReady`](LayerErrorKind::NotReady) without a group.
    pub fn process_external_commit(
        &mut self,
        commit: &[u8],
        binding: &[u8; 32],
    ) -> Result<CommitOutcome, LayerError> {
        self.check_plain()?;
        self.check_stack()?;
        self.follow_external_commit(commit, Some(binding))
    }

    /// As [`process_external_commit`](Self::process_external_commit); with any authenticated data where no
    /// `binding` is demanded.
    pub(crate) fn follow_external_commit(
        &mut self,
        commit: &[u8],
        binding: Option<&[u8; 32]>,
    ) -> Result<CommitOutcome, LayerError> {
        let Parts { group, provider, identity, config, transaction } = self.parts()?;
        let message = wire::external_commit(commit)?;
        if message.group_id() != group.mls.group_id() {
            return Err(LayerError::rejected());
        }
        let digest: [u8; 32] = Sha256::digest(commit).into();
        group.check_commit(&digest, message.epoch().as_u64())?;
        transaction.reach(Progress::Ahead);
        let processed =
            group.mls.process_message(provider, message).map_err(|_| LayerError::rejected())?;
        if binding.is_some_and(|binding| processed.aad() != binding) {
            return Err(LayerError::rejected());
        }
        let ProcessedMessageContent::StagedCommitMessage(staged) = processed.into_content() else {
            return Err(LayerError::rejected());
        };
        let outcome = judge(group, provider, config, &staged)?;
        let joiner = outcome.committer;
        transaction.reach(Progress::NewEpoch);
        let now = provider.clock.now();
        group.advance(provider, identity, config, Ending::of_another(digest), now, |mls| {
            mls.merge_staged_commit(provider, *staged).map_err(internal)
        })?;
        if let Some(leaf) = joiner.and_then(|joiner| group.roster.leaf(&joiner)) {
            check_path(group, provider, leaf)?;
        }
        if outcome.removed_self {
            group.record_removal(provider, Ending::of_another(digest))?;
            self.removed();
        }
        Ok(outcome)
    }

    fn check_plain(&self) -> Result<(), LayerError> {
        if self.config.plain_peers() {
            Ok(())
        } else {
            Err(LayerError::misuse("this is for MlsConfig::with_plain_peers only"))
        }
    }

    /// A proposal of this member's, as `make` has openmls make it.
    pub(crate) fn propose(
        &mut self,
        make: impl FnOnce(&mut Parts<'_>) -> Result<MlsMessageOut, LayerError>,
    ) -> Result<Vec<u8>, LayerError> {
        self.check_plain()?;
        let mut parts = self.parts()?;
        if parts.group.mls.pending_commit().is_some() {
            return Err(LayerError::misuse("a change is staged: confirm or discard it first"));
        }
        parts.transaction.reach(Progress::Ahead);
        parts.group.burn_handshakes(parts.provider, parts.identity)?;
        let message = make(&mut parts)?;
        let Parts { group, provider, .. } = parts;
        group.sent(provider, 0, 1)?;
        group.checkpoint(provider)?;
        message.tls_serialize_detached().map_err(internal)
    }
}

/// openmls made no proposal of what the caller asked for.
fn refused(error: impl std::fmt::Display) -> LayerError {
    LayerError::local(LayerErrorKind::Misuse, error.to_string())
}

/// A message of this group and the current epoch.
fn check_current(group: &Group, id: &[u8], epoch: u64) -> Result<(), LayerError> {
    if id != group.mls.group_id().as_slice() {
        return Err(LayerError::rejected());
    }
    match epoch.cmp(&group.epoch()) {
        Ordering::Less => Err(LayerError::stale(Some(epoch))),
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(LayerError::early(Some(epoch))),
    }
}

/// What is proposed; `None` where it is nothing that this layer takes.
fn read(group: &Group, provider: &Provider, proposal: &QueuedProposal) -> Option<MlsProposed> {
    let &Sender::Member(sender) = proposal.sender() else {
        return None;
    };
    let sender = group.roster.id(sender.u32())?;
    let mut proposed = MlsProposed { sender, added: None, removed: None, psk: None };
    match proposal.proposal() {
        Proposal::Add(add) => {
            proposed.added = Some(provider.ids.of(add.key_package().leaf_node())?);
        }
        Proposal::Remove(remove) => {
            proposed.removed = Some(group.roster.id(remove.removed().u32())?);
        }
        Proposal::Update(_) => {}
        Proposal::PreSharedKey(psk) => proposed.psk = Some(external_psk::proposed(psk)?),
        _ => return None,
    }
    Some(proposed)
}

/// What a valid external commit does, if this layer takes it.
fn judge(
    group: &Group,
    provider: &Provider,
    config: &MlsConfig,
    staged: &StagedCommit,
) -> Result<CommitOutcome, LayerError> {
    let leaf = staged.update_path_leaf_node().ok_or_else(LayerError::rejected)?;
    let joiner = provider.ids.of(leaf).ok_or_else(LayerError::rejected)?;
    check_leaf(provider, config, leaf)?;
    let mut outcome = CommitOutcome {
        committer: Some(joiner),
        added: vec![joiner],
        removed_self: staged.self_removed(),
        ..Default::default()
    };
    for queued in staged.queued_proposals() {
        match queued.proposal() {
            Proposal::ExternalInit(_) => {}
            Proposal::Remove(remove) if group.roster.id(remove.removed().u32()) == Some(joiner) => {
                outcome.removed.push(joiner);
            }
            _ => return Err(LayerError::rejected()),
        }
    }
    if !fits(group.roster.members().len(), outcome.removed.len(), outcome.added.len()) {
        return Err(LayerError::rejected());
    }
    Ok(outcome)
}
