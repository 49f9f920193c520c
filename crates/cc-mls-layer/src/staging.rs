//! A commit of this member's own (RFC 9420 section 12.4.1), from what it is to do until it is staged.

use cc_core::{ChangeParts, LayerError, LayerErrorKind};
use openmls::prelude::{KeyPackage, LeafNodeIndex, Proposal, tls_codec::Serialize as _};
use openmls_traits::OpenMlsProvider as _;
use sha2::{Digest as _, Sha256};

use crate::{
    MlsLayer,
    context::renamed,
    error::{internal, storage as failed},
    layer::Parts,
    storage::Kind,
    transaction::Progress,
    welcome::WelcomePart,
};

/// What a commit is to do, all of it verified; where it does nothing, it renews this member's keys.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) added: Vec<KeyPackage>,
    /// Leaves, ascending.
    pub(crate) removed: Vec<u32>,
    /// Proposals of pre-shared keys, whose secrets are in the storage.
    pub(crate) psks: Vec<Proposal>,
    /// What the group is to be called.
    pub(crate) name: Option<String>,
    pub(crate) authenticated_data: Vec<u8>,
}

impl MlsLayer {
    /// Stages the commit. Its welcome is what a stack's is, its tree bound to `binding`, or with `None` a plain
    /// MLSMessage.
    pub(crate) fn stage(
        &mut self,
        plan: Plan,
        binding: Option<&[u8; 32]>,
    ) -> Result<ChangeParts, LayerError> {
        let leaf = self.own_leaf_parameters()?;
        let Parts { group, provider, identity, config, transaction } = self.parts()?;
        transaction.reach(Progress::Ahead);
        group.burn_handshakes(provider, identity)?;
        let old = group.mls.extensions();
        let extensions = plan.name.map(|name| renamed(old, &name)).transpose()?;
        group.mls.set_aad(plan.authenticated_data);
        let mut builder = group.mls.commit_builder();
        if let Some(extensions) = extensions {
            builder = builder.propose_group_context_extensions(extensions).map_err(internal)?;
        }
        let bundle = builder
            .consume_proposal_store(config.plain_peers())
            .force_self_update(true)
            .leaf_node_parameters(leaf)
            .propose_adds(plan.added)
            .propose_removals(plan.removed.into_iter().map(LeafNodeIndex::new))
            .add_proposals(plan.psks)
            .load_psks(provider.storage())
            .map_err(internal)?
            .use_ratchet_tree_extension(config.ratchet_tree_in_group_info())
            .create_group_info(false)
            .build(provider.rand(), provider.crypto(), identity.signer(), |_| true)
            .map_err(|error| LayerError::local(LayerErrorKind::Misuse, error.to_string()))?
            .stage_commit(provider)
            .map_err(internal)?;
        group.sent(provider, 0, 1)?;

        let welcome = match bundle.to_welcome_msg() {
            Some(welcome) => {
                let welcome = welcome.tls_serialize_detached().map_err(internal)?;
                WelcomePart::write(welcome, &group.mls, provider, binding)?
            }
            None => Vec::new(),
        };
        let commit = bundle.into_commit().tls_serialize_detached().map_err(internal)?;
        let digest: [u8; 32] = Sha256::digest(&commit).into();
        provider.storage().put(Kind::OwnCommit, &(), &digest).map_err(failed)?;
        group.own_commit = Some(digest);
        group.checkpoint(provider)?;
        Ok(ChangeParts { commit, welcome })
    }
}
