//! The ratchet tree of a group, to be looked at (RFC 9420 sections 4.1 and 7.8).

use cc_core::MemberId;
use openmls::prelude::LeafNodeIndex;
use serde::{Deserialize, Serialize};

use crate::{MlsLayer, hpke_key::encoded_key, tree_nodes::MAX_NODES, tree_shape::parent_fields};

mod label;
mod svg;
mod text;

/// The public side of a group's ratchet tree, as one member has it in one epoch. There is no secret in it;
/// it tells who the members are.
///
/// Nodes are numbered as in RFC 9420 appendix C: leaf `i` is node `2 * i`, parents are between. A node keeps
/// its number when the tree grows or shrinks, so two views of one group can be compared. To compare with one
/// from before a restart, keep it: a view can be serialized.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct TreeView {
    epoch: u64,
    own_leaf: u32,
    /// `2 * places - 1`, where `places` is a power of two.
    nodes: Vec<TreeNode>,
}

/// What is at one node of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TreeNode {
    /// No key: a free place, or a parent to which nobody committed since a member below it came or went.
    Blank,
    /// A member.
    Leaf(TreeLeaf),
    /// A key that the members below it share.
    Parent(TreeParent),
}

/// A member's place in the tree (section 7.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TreeLeaf {
    /// Who, in all layers.
    pub member: MemberId,
    /// What the member calls itself, as the credential has it: not cleaned, and proved by nobody. `None`
    /// for a credential without a name.
    pub name: Option<String>,
    /// The HPKE public key that is the member's alone; a commit of the member renews it.
    pub encryption_key: Vec<u8>,
}

/// A node above members (section 7.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TreeParent {
    /// The HPKE public key whose private key the members below have.
    pub encryption_key: Vec<u8>,
    /// The leaves below that do not have the private key, for they came after it was made. Ascending.
    pub unmerged_leaves: Vec<u32>,
}

/// What happened to a node between two views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeChange {
    /// Nothing.
    Unchanged,
    /// It has another key, or a key where it had none.
    Renewed,
    /// A member came to this leaf.
    Joined,
    /// It lost its key, and if it is a leaf, its member.
    Blanked,
}

impl TreeView {
    /// Gives each member the name that an application knows it by, in the place of its credential's.
    ///
    /// # Errors
    /// Of `name`; some members have theirs already then.
    pub fn try_rename<E>(
        &mut self,
        mut name: impl FnMut(&MemberId) -> Result<Option<String>, E>,
    ) -> Result<(), E> {
        for node in &mut self.nodes {
            if let TreeNode::Leaf(leaf) = node {
                leaf.name = name(&leaf.member)?;
            }
        }
        Ok(())
    }
}

impl MlsLayer {
    /// The ratchet tree of the present epoch; `None` without a group, and once removed.
    #[must_use]
    pub fn tree_view(&self) -> Option<TreeView> {
        let group = self.active().ok()?;
        let tree = group.mls.treesync();
        let places = tree.leaves().len().next_power_of_two();
        let mut nodes = vec![TreeNode::Blank; 2 * places - 1];
        for member in group.roster.members() {
            let leaf = group.mls.public_group().leaf(LeafNodeIndex::new(member.leaf_index))?;
            let at = 2 * usize::try_from(member.leaf_index).ok()?;
            *nodes.get_mut(at)? = TreeNode::Leaf(TreeLeaf {
                member: member.id,
                name: member.name.clone(),
                encryption_key: encoded_key(leaf.encryption_key())?,
            });
        }
        for (index, parent) in tree.full_parents() {
            let (encryption_key, unmerged_leaves) = parent_fields(parent)?;
            let at = 2 * usize::try_from(index.u32()).ok()? + 1;
            *nodes.get_mut(at)? = TreeNode::Parent(TreeParent { encryption_key, unmerged_leaves });
        }
        let own_leaf = group.mls.own_leaf_index().u32();
        Some(TreeView { epoch: group.epoch(), own_leaf, nodes })
    }
}

impl TreeView {
    /// The epoch.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The leaf of the member whose view it is.
    #[must_use]
    pub const fn own_leaf(&self) -> u32 {
        self.own_leaf
    }

    /// All nodes by their number: one less than twice the places for leaves, which are a power of two.
    #[must_use]
    pub fn nodes(&self) -> &[TreeNode] {
        &self.nodes
    }

    /// The number of the root.
    #[must_use]
    pub fn root(&self) -> usize {
        self.nodes.len() / 2
    }

    /// The members with their leaf indices, from left to right.
    pub fn leaves(&self) -> impl Iterator<Item = (u32, &TreeLeaf)> {
        (0u32..).zip(self.nodes.iter().step_by(2)).filter_map(|(at, node)| match node {
            TreeNode::Leaf(leaf) => Some((at, leaf)),
            TreeNode::Blank | TreeNode::Parent(_) => None,
        })
    }

    /// What happened to the node of this number since `before`, an earlier view of the same group. A node
    /// that was or is outside the tree counts as blank.
    #[must_use]
    pub fn change_since(&self, before: &Self, node: usize) -> NodeChange {
        let at = |view: &Self| view.nodes.get(node).cloned().unwrap_or(TreeNode::Blank);
        match (at(before), at(self)) {
            (TreeNode::Blank, TreeNode::Blank) => NodeChange::Unchanged,
            (_, TreeNode::Blank) => NodeChange::Blanked,
            (TreeNode::Leaf(old), TreeNode::Leaf(new)) if old.member == new.member => {
                renewed(old.encryption_key != new.encryption_key)
            }
            (_, TreeNode::Leaf(_)) => NodeChange::Joined,
            (TreeNode::Parent(old), TreeNode::Parent(new)) => {
                renewed(old.encryption_key != new.encryption_key)
            }
            (_, TreeNode::Parent(_)) => NodeChange::Renewed,
        }
    }

    /// The keys that an encryption to this node takes (the length of its *resolution*, section 4.1.1): one
    /// where it has a key, and one for each unmerged leaf; where it is blank, those of its children.
    #[must_use]
    pub fn resolution_len(&self, node: usize) -> usize {
        match self.nodes.get(node) {
            None => 0,
            Some(TreeNode::Leaf(_)) => 1,
            Some(TreeNode::Parent(parent)) => 1 + parent.unmerged_leaves.len(),
            Some(TreeNode::Blank) => children(node)
                .map_or(0, |(left, right)| self.resolution_len(left) + self.resolution_len(right)),
        }
    }

    /// The tree for a terminal, one line a node, the root first. With an `earlier` view of the same group
    /// it says what became new, and what was blanked.
    ///
    /// Names are shortened, and characters that could move the cursor or the text are replaced.
    #[must_use]
    pub fn to_text(&self, earlier: Option<&Self>) -> String {
        text::draw(self, earlier)
    }

    /// The tree as a picture, a whole SVG document that is readable on light and dark. With an `earlier`
    /// view of the same group it marks what became new, and what was blanked.
    ///
    /// Names are shortened and escaped.
    #[must_use]
    pub fn to_svg(&self, earlier: Option<&Self>) -> String {
        svg::draw(self, earlier)
    }

    /// Nothing has a key here or below, and nothing had: no more than one mark in a drawing.
    fn is_empty_below(&self, earlier: Option<&Self>, node: usize) -> bool {
        let half = width_below(node) - 1;
        (node - half..=node + half).all(|node| {
            self.nodes.get(node) == Some(&TreeNode::Blank)
                && self.change(earlier, node) == NodeChange::Unchanged
        })
    }

    fn change(&self, earlier: Option<&Self>, node: usize) -> NodeChange {
        earlier.map_or(NodeChange::Unchanged, |earlier| self.change_since(earlier, node))
    }
}

/// A view that was read, before it is known to be a tree.
#[derive(Deserialize)]
struct Unchecked {
    epoch: u64,
    own_leaf: u32,
    nodes: Vec<TreeNode>,
}

impl TryFrom<Unchecked> for TreeView {
    type Error = &'static str;

    fn try_from(view: Unchecked) -> Result<Self, Self::Error> {
        let Unchecked { epoch, own_leaf, nodes } = view;
        let whole = nodes.len() <= MAX_NODES && nodes.len().saturating_add(1).is_power_of_two();
        let in_place = nodes.iter().enumerate().all(|(at, node)| match node {
            TreeNode::Blank => true,
            TreeNode::Leaf(_) => at % 2 == 0,
            TreeNode::Parent(_) => at % 2 == 1,
        });
        let own = usize::try_from(own_leaf).ok().and_then(|leaf| nodes.get(leaf.checked_mul(2)?));
        match own {
            Some(TreeNode::Leaf(_)) if whole && in_place => Ok(Self { epoch, own_leaf, nodes }),
            _ => Err("not a ratchet tree"),
        }
    }
}

const fn renewed(other_key: bool) -> NodeChange {
    if other_key { NodeChange::Renewed } else { NodeChange::Unchanged }
}

/// The places for leaves below a node, or 1 for a leaf: a node of level `k` ends in a zero and `k` ones.
const fn width_below(node: usize) -> usize {
    1 << node.trailing_ones()
}

/// The children of a parent (appendix C).
const fn children(node: usize) -> Option<(usize, usize)> {
    match width_below(node) / 2 {
        0 => None,
        quarter => Some((node - quarter, node + quarter)),
    }
}

#[cfg(test)]
mod tests;
