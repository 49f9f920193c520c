//! Groups that are plain RFC 9420 throughout, for [`MlsConfig::with_plain_group`](crate::MlsConfig): nothing is
//! bound to an envelope or to parts of other layers, and `authenticated_data` is the caller's. The layer is
//! driven by the calls of this file and of `plain.rs` in place of those of the traits; `apply`, `revert` and
//! `save` are as ever.

use cc_core::{
    Attachment, Buffer, ChangeParts, ChangeRequest, CipherLayer as _, CommitOutcome,
    GroupLayer as _, LayerError, MemberId, NewMember, PartContext, StackId,
};
use openmls::prelude::{Proposal, tls_codec::Serialize as _};

use crate::{
    MlsContentType, MlsLayer, MlsProposed, MlsWireFormat,
    error::internal,
    external_psk, inspect_message, key_package,
    membership::{Demands, plan},
    roster::Ids,
    welcome,
};

/// A change to be committed in a plain group. One that is empty renews this member's keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct MlsChange<'a> {
    /// Key packages of who comes: MLSMessages.
    pub added: &'a [&'a [u8]],
    /// Who goes.
    pub removed: &'a [MemberId],
    /// The ids of [registered](MlsLayer::register_psk) pre-shared keys that go into the new epoch.
    pub psks: &'a [&'a [u8]],
    /// The commit's `authenticated_data`.
    pub authenticated_data: &'a [u8],
}

/// A message of the group: authentic, and its sender a member of its epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MlsReceived {
    /// Who sent it; `None` for a commit whose sender joins by it.
    pub sender: Option<MemberId>,
    /// The epoch that it was sent in.
    pub epoch: u64,
    /// What its sender had authenticated with it.
    pub authenticated_data: Vec<u8>,
    /// What it is.
    pub content: MlsContent,
}

/// What was received.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MlsContent {
    /// Plaintext for the application.
    Application(Vec<u8>),
    /// A proposal, pending from now on.
    Proposal(MlsProposed),
    /// A commit, in force from now on.
    Commit(CommitOutcome),
}

impl MlsLayer {
    /// Puts the layer into a place of its own, before anything else is done with it: a founder founds its group.
    /// Gives this member's id, which follows from its signature key. Staged.
    ///
    /// # Errors
    /// [`Misuse`](cc_core::LayerErrorKind::Misuse) without a plain group.
    pub fn attach_alone(&mut self) -> Result<MemberId, LayerError> {
        self.check_plain_group()?;
        let id = Ids::by_key(self.config.ciphersuite(), self.identity.signature_key());
        let stack = StackId::of(&[self.descriptor()]);
        let founding = self.founds.is_some();
        self.attach(&Attachment { stack, position: 0, member: Some(id), founding })?;
        Ok(id)
    }

    /// A key package for others to add this member by: an MLSMessage. Staged.
    ///
    /// # Errors
    /// [`Misuse`](cc_core::LayerErrorKind::Misuse) without a plain group.
    pub fn plain_key_package(&mut self) -> Result<Vec<u8>, LayerError> {
        self.check_plain_group()?;
        let nothing_below = PartContext {
            binding: [0; 32],
            position: 0,
            chain: None,
            group_below: false,
            now: None,
        };
        self.key_package(&nothing_below)
    }

    /// Encrypts for the group: a PrivateMessage. `authenticated_data` goes with it, in the clear.
    ///
    /// # Errors
    /// [`NotReady`](cc_core::LayerErrorKind::NotReady) without a group or while proposals are pending,
    /// [`Misuse`](cc_core::LayerErrorKind::Misuse) without a plain group.
    pub fn send(
        &mut self,
        plaintext: &[u8],
        authenticated_data: &[u8],
    ) -> Result<Vec<u8>, LayerError> {
        self.check_plain_group()?;
        let mut buffer = Buffer::new(plaintext);
        self.seal_with(authenticated_data, &mut buffer)?;
        Ok(buffer.as_slice().to_vec())
    }

    /// Takes in any message of the group: an application message, a proposal, a commit of a member (each a
    /// PrivateMessage), or the commit of somebody who joins by it (a PublicMessage). A commit discards a staged
    /// change.
    ///
    /// # Errors
    /// [`Own`](cc_core::LayerErrorKind::Own), [`Duplicate`](cc_core::LayerErrorKind::Duplicate),
    /// [`Stale`](cc_core::LayerErrorKind::Stale) and [`Early`](cc_core::LayerErrorKind::Early) for what this
    /// member's own records explain, [`NotReady`](cc_core::LayerErrorKind::NotReady) for a commit with a
    /// pre-shared key that is not registered, or without a group,
    /// [`Rejected`](cc_core::LayerErrorKind::Rejected) for anything else,
    /// [`Misuse`](cc_core::LayerErrorKind::Misuse) without a plain group.
    pub fn receive(&mut self, message: &[u8]) -> Result<MlsReceived, LayerError> {
        self.check_plain_group()?;
        let info = inspect_message(message)?;
        let (Some(content_type), Some(epoch), Some(authenticated_data)) =
            (info.content_type, info.epoch, info.authenticated_data)
        else {
            return Err(LayerError::rejected());
        };
        let (sender, content) = match (info.wire_format, content_type) {
            (MlsWireFormat::PrivateMessage, MlsContentType::Application) => {
                let mut buffer = Buffer::new(message);
                let opened = self.open_with(None, &mut buffer)?;
                (opened.sender, MlsContent::Application(buffer.as_slice().to_vec()))
            }
            (MlsWireFormat::PrivateMessage, MlsContentType::Proposal) => {
                let proposed = self.process_proposal(message)?;
                (Some(proposed.sender), MlsContent::Proposal(proposed))
            }
            (MlsWireFormat::PrivateMessage, MlsContentType::Commit) => {
                let now = self.provider.clock.now();
                let outcome = self.follow_commit(message, Demands::plain(), now)?;
                (outcome.committer, MlsContent::Commit(outcome))
            }
            (MlsWireFormat::PublicMessage, MlsContentType::Commit) => {
                (None, MlsContent::Commit(self.follow_external_commit(message, None)?))
            }
            _ => return Err(LayerError::rejected()),
        };
        let authenticated_data = authenticated_data.to_vec();
        Ok(MlsReceived { sender, epoch, authenticated_data, content })
    }

    /// Stages a commit that does this and whatever is pending: two MLSMessages, the welcome empty where nobody is
    /// added. [`confirm_change`](cc_core::GroupLayer::confirm_change) brings it into force,
    /// [`discard_change`](cc_core::GroupLayer::discard_change) drops it. Where the
    /// [configuration](crate::MlsConfig::with_tree_in_welcome) leaves the ratchet tree out of the welcome,
    /// [`staged_ratchet_tree`](Self::staged_ratchet_tree) is for the joiners, too.
    ///
    /// # Errors
    /// [`Rejected`](cc_core::LayerErrorKind::Rejected) for a key package that does not verify,
    /// [`NotReady`](cc_core::LayerErrorKind::NotReady) for a pre-shared key that is not registered or without a
    /// group, [`Misuse`](cc_core::LayerErrorKind::Misuse) without a plain group, while a change is staged, for
    /// members who are not there or are already, and for pre-shared keys beside pending proposals of some.
    pub fn stage_plain_change(
        &mut self,
        change: &MlsChange<'_>,
    ) -> Result<ChangeParts, LayerError> {
        self.check_plain_group()?;
        let name = self.new_name.take();
        let now = self.provider.clock.now();
        let parts = self.parts()?;
        let suite = parts.config.ciphersuite();
        let pending = parts
            .group
            .mls
            .pending_proposals()
            .any(|queued| matches!(queued.proposal(), Proposal::PreSharedKey(_)));
        if pending && !change.psks.is_empty() {
            // openmls would take them into the epoch in another order than the commit names them.
            return Err(LayerError::misuse("commit to the proposed pre-shared keys first"));
        }
        let ids = change.added.iter().map(|part| key_package::member(part, suite));
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        let added = ids.into_iter().zip(change.added);
        let added: Vec<_> =
            added.map(|(id, part)| NewMember { id, part, binding: [0; 32] }).collect();
        let request = ChangeRequest { added: &added, removed: change.removed };
        let mut plan = plan(&parts, &request, now)?;
        plan.psks = external_psk::proposals(parts.provider, suite, change.psks)?;
        plan.name = name;
        plan.authenticated_data = change.authenticated_data.to_vec();
        self.stage(plan, None)
    }

    /// Joins by a welcome, an MLSMessage, and by the ratchet tree where the welcome does not have it. A group
    /// that this member was in until now is replaced. Gives who invited.
    ///
    /// # Errors
    /// [`NotReady`](cc_core::LayerErrorKind::NotReady) for a pre-shared key that is not registered,
    /// [`Rejected`](cc_core::LayerErrorKind::Rejected) for anything else that is wrong with the welcome or the
    /// tree, [`Misuse`](cc_core::LayerErrorKind::Misuse) without a plain group.
    pub fn join_plain(
        &mut self,
        welcome: &[u8],
        ratchet_tree: Option<&[u8]>,
    ) -> Result<Option<MemberId>, LayerError> {
        self.check_plain_group()?;
        let now = self.provider.clock.now();
        self.join_by(welcome, Demands::plain(), now, |builder, _| match ratchet_tree {
            Some(tree) => Ok(builder.with_ratchet_tree(welcome::read_tree(tree)?)),
            None => Ok(builder),
        })
    }

    /// The ratchet tree of the current epoch, `optional<Node> ratchet_tree<V>` as RFC 9420 section 12.4.3.3 has
    /// it: for those who join by a welcome or GroupInfo without it. It tells who the members are.
    ///
    /// # Errors
    /// [`NotReady`](cc_core::LayerErrorKind::NotReady) without a group.
    pub fn ratchet_tree(&self) -> Result<Vec<u8>, LayerError> {
        self.active()?.mls.export_ratchet_tree().tls_serialize_detached().map_err(internal)
    }

    /// The ratchet tree of the epoch that the staged change leads to; `None` where none is staged. Otherwise as
    /// [`ratchet_tree`](Self::ratchet_tree).
    ///
    /// # Errors
    /// [`NotReady`](cc_core::LayerErrorKind::NotReady) without a group.
    pub fn staged_ratchet_tree(&self) -> Result<Option<Vec<u8>>, LayerError> {
        welcome::staged_tree(&self.active()?.mls, &self.provider)
    }

    pub(crate) fn check_plain_group(&self) -> Result<(), LayerError> {
        if self.config.plain_group() {
            Ok(())
        } else {
            Err(LayerError::misuse("this is for MlsConfig::with_plain_group only"))
        }
    }

    /// For what binds to the envelope or the parts of a stack.
    pub(crate) fn check_stack(&self) -> Result<(), LayerError> {
        if self.config.plain_group() {
            let message =
                "a plain group is driven by send, receive, stage_plain_change and join_plain";
            Err(LayerError::misuse(message))
        } else {
            Ok(())
        }
    }
}
