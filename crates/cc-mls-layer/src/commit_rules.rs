//! What this layer demands of a commit, and of a group to join, beyond what openmls verifies.

use std::collections::HashSet;

use cc_core::{
    ChangeRequest, CommitOutcome, LayerError, MemberId,
    limits::{MAX_KEY_PACKAGE_LEN, MAX_MEMBERS},
};
use openmls::prelude::{
    KeyPackage, LeafNode, LeafNodeIndex, MlsGroup, Proposal, Sender, StagedCommit,
    tls_codec::Serialize as _,
};

use crate::{
    MlsConfig, context::check_renamed, group::Group, hpke_key, key_package_view,
    membership::Demands, provider::Provider, psk,
};

/// Whether this layer takes a valid commit, and what it does. Adds, removes, updates, another name, and
/// exactly the PSK that the parts below demand, or in a plain group some of the caller's own; whoever stays keeps id, credential and signature key, for the
/// member id commits to the key.
pub(crate) fn judge(
    group: &Group,
    provider: &Provider,
    config: &MlsConfig,
    staged: &StagedCommit,
    committer: u32,
    demands: Demands<'_>,
    own: MemberId,
) -> Result<CommitOutcome, LayerError> {
    let mut outcome = CommitOutcome { committer: group.roster.id(committer), ..Default::default() };
    let mut psks = Vec::new();
    for queued in staged.queued_proposals() {
        match queued.proposal() {
            Proposal::Add(add) => {
                let leaf = add.key_package().leaf_node();
                let id = provider.ids.of(leaf).ok_or_else(LayerError::rejected)?;
                check_added(provider, config, add.key_package())?;
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
                check_leaf(provider, config, update.leaf_node())?;
            }
            Proposal::PreSharedKey(proposal) => {
                psks.push(psk::proposed(proposal)?);
            }
            Proposal::GroupContextExtensions(proposal) => {
                check_renamed(group.mls.extensions(), proposal.extensions())?;
            }
            _ => return Err(LayerError::rejected()),
        }
    }
    let (members, removed) = (group.roster.members().len(), outcome.removed.len());
    if !demands.are_met_by(&psks) || !fits(members, removed, outcome.added.len()) {
        return Err(LayerError::rejected());
    }
    if let Some(leaf) = staged.update_path_leaf_node() {
        check_same_member(group, provider, LeafNodeIndex::new(committer), leaf)?;
        check_leaf(provider, config, leaf)?;
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

/// A key package that somebody else adds by. It is for them to see that it has not expired.
///
/// # Errors
/// As [`check_leaf`].
pub(crate) fn check_added(
    provider: &Provider,
    config: &MlsConfig,
    key_package: &KeyPackage,
) -> Result<(), LayerError> {
    let leaf = key_package.leaf_node();
    if !config.accepts_lifetime(key_package) {
        return Err(about(provider, leaf, LayerError::rejected()));
    }
    check_leaf(provider, config, leaf)
}

/// Whether a group of `members` may lose and gain so many. One that others made too large, if there could be one,
/// can still do with fewer.
pub(crate) const fn fits(members: usize, removed: usize, added: usize) -> bool {
    added == 0 || members.saturating_sub(removed).saturating_add(added) <= MAX_MEMBERS
}

/// A leaf that may come into the group: it is within the bounds that whoever joins later looks for in the tree, its
/// credential is let in, and its key can be encrypted to.
///
/// # Errors
/// `Rejected` about the member; `NotReady` where the credential policy has to be set again.
pub(crate) fn check_leaf(
    provider: &Provider,
    config: &MlsConfig,
    leaf: &LeafNode,
) -> Result<(), LayerError> {
    let usable =
        is_within_bounds(leaf) && hpke_key::leaf_is_usable(provider, config.ciphersuite(), leaf);
    let checked = if usable { config.policy.admit(leaf) } else { Err(LayerError::rejected()) };
    checked.map_err(|error| about(provider, leaf, error))
}

/// No two who are added have a key in common, which openmls refuses without a word about whom (RFC 9420 section
/// 7.3). The one that comes first is not to blame.
pub(crate) fn check_new_keys(
    request: &ChangeRequest<'_>,
    added: &[KeyPackage],
) -> Result<(), LayerError> {
    let (mut signature_keys, mut encryption_keys) = (HashSet::new(), HashSet::new());
    for (new, package) in request.added.iter().zip(added) {
        let leaf = package.leaf_node();
        let distinct = signature_keys.insert(leaf.signature_key().as_slice())
            && encryption_keys.insert(leaf.encryption_key());
        if !distinct {
            return Err(LayerError::rejected().about(new.id));
        }
    }
    Ok(())
}

/// Those of a key package.
fn is_within_bounds(leaf: &LeafNode) -> bool {
    leaf.tls_serialize_detached()
        .is_ok_and(|bytes| bytes.len() <= MAX_KEY_PACKAGE_LEN && key_package_view::is_leaf(&bytes))
}

fn about(provider: &Provider, leaf: &LeafNode, error: LayerError) -> LayerError {
    match provider.ids.of(leaf) {
        Some(id) => error.about(id),
        None => error,
    }
}

/// The parents that the committer put into the tree, which only some members can compare with what they
/// derive themselves: the group is as the commit leaves it.
pub(crate) fn check_path(
    group: &Group,
    provider: &Provider,
    committer: u32,
) -> Result<(), LayerError> {
    let (suite, tree) = (group.mls.ciphersuite(), group.mls.treesync());
    if hpke_key::path_is_usable(provider, suite, tree, committer) {
        return Ok(());
    }
    Err(match group.roster.id(committer) {
        Some(id) => LayerError::rejected().about(id),
        None => LayerError::rejected(),
    })
}

/// A group that may be joined: everyone in it may be, and all of its keys can be encrypted to.
pub(crate) fn check_tree(
    mls: &MlsGroup,
    provider: &Provider,
    config: &MlsConfig,
) -> Result<(), LayerError> {
    let tree = mls.treesync();
    if tree.full_leaves().count() > MAX_MEMBERS {
        return Err(LayerError::rejected());
    }
    tree.full_leaves().try_for_each(|(_, leaf)| check_leaf(provider, config, leaf))?;
    let usable = hpke_key::tree_is_usable(provider, mls.ciphersuite(), tree);
    if usable { Ok(()) } else { Err(LayerError::rejected()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_makes_a_group_too_large_for_every_other_change() {
        assert!(fits(MAX_MEMBERS - 1, 0, 1) && fits(MAX_MEMBERS, 1, 1));
        assert!(!fits(MAX_MEMBERS, 0, 1) && !fits(1, 0, MAX_MEMBERS));
        assert!(fits(MAX_MEMBERS + 1, 0, 0) && fits(MAX_MEMBERS + 1, 1, 0));
    }
}
