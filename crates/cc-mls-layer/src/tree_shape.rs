//! What the shape of the ratchet tree makes a commit cost (RFC 9420 sections 4.1 and 7.5).
//!
//! A commit encrypts to the resolution of every node on the committer's copath. A parent node without
//! keys has those of all below it for its resolution, so a tree in which nobody committed yet costs
//! one ciphertext for every other member, and one in which everybody did costs their logarithm.

use openmls::{
    prelude::{
        ParentNode,
        tls_codec::{DeserializeBytes as _, Serialize as _, VLBytes},
    },
    treesync::TreeSync,
};

/// Nodes are numbered as in RFC 9420 appendix C.
pub(crate) struct TreeShape {
    /// Places for leaves: a power of two.
    width: usize,
    nodes: Vec<Node>,
}

#[derive(Clone, Default)]
struct Node {
    /// Keys that an encryption to this node takes.
    resolution: usize,
    /// Has a key of its own.
    full: bool,
    /// Leaves that do not know that key.
    unmerged: Vec<u32>,
}

impl TreeShape {
    /// `None` where openmls's tree does not read as RFC 9420 section 7.1 writes it.
    pub(crate) fn of(tree: &TreeSync) -> Option<Self> {
        let leaves = tree.leaves();
        let full: Vec<bool> = leaves.iter().map(Option::is_some).collect();
        let mut parents = Vec::new();
        for (index, parent) in tree.full_parents() {
            let (_key, unmerged) = parent_fields(parent)?;
            parents.push((usize::try_from(index.u32()).ok()?, unmerged));
        }
        Some(Self::new(&full, parents))
    }

    /// `leaves`: which places are taken. `parents`: those with a key, by their number among the
    /// parents, and the leaves that do not know it.
    fn new(leaves: &[bool], parents: Vec<(usize, Vec<u32>)>) -> Self {
        let width = leaves.len().next_power_of_two();
        let mut nodes = vec![Node::default(); 2 * width - 1];
        for (node, full) in nodes.iter_mut().step_by(2).zip(leaves) {
            (node.full, node.resolution) = (*full, usize::from(*full));
        }
        for (parent, unmerged) in parents {
            if let Some(node) = nodes.get_mut(2 * parent + 1) {
                (node.full, node.resolution) = (true, 1 + unmerged.len());
                node.unmerged = unmerged;
            }
        }
        for level in 1..=width.ilog2() {
            let half = 1 << (level - 1);
            for at in (2 * half - 1..nodes.len()).step_by(4 * half) {
                if !nodes[at].full {
                    let below = nodes[at - half].resolution + nodes[at + half].resolution;
                    nodes[at].resolution = below;
                }
            }
        }
        Self { width, nodes }
    }

    /// Ciphertexts and new parent nodes of the next commit of this leaf.
    pub(crate) fn cost(&self, leaf: u32) -> (usize, usize) {
        let copath = self.path(leaf).map(|(_, sibling)| self.nodes[sibling].resolution);
        copath.filter(|keys| *keys > 0).fold((0, 0), |(sum, nodes), keys| (sum + keys, nodes + 1))
    }

    /// Ciphertexts that a commit of this leaf spares each later one of a member elsewhere.
    pub(crate) fn gap(&self, leaf: u32) -> usize {
        let root = self.width - 1;
        self.path(leaf)
            .filter(|(node, _)| *node != root)
            .map(|(node, _)| &self.nodes[node])
            .filter(|node| !node.full || node.unmerged.contains(&leaf))
            .map(|node| node.resolution - 1)
            .max()
            .unwrap_or_default()
    }

    /// How many members come before this one in filling gaps of `least` ciphertexts or more, `None`
    /// where it has no such gap. Their order is that of bisection: first the middle of the tree, then the
    /// quarters, and so on.
    pub(crate) fn ahead(&self, leaf: u32, least: usize) -> Option<usize> {
        let fills = |leaf| self.gap(leaf) >= least.max(1);
        let before = |other: &u32| other.reverse_bits() < leaf.reverse_bits();
        fills(leaf).then(|| self.leaves().filter(before).filter(|other| fills(*other)).count())
    }

    fn leaves(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..).zip(self.nodes.iter().step_by(2)).filter(|(_, node)| node.full).map(|(at, _)| at)
    }

    /// The parents of this leaf upwards, each with the child that is not on the way: none for a leaf
    /// outside the tree.
    fn path(&self, leaf: u32) -> impl Iterator<Item = (usize, usize)> + '_ {
        let leaf = usize::try_from(leaf).unwrap_or(usize::MAX);
        let levels = if leaf < self.width { self.width.ilog2() } else { 0 };
        (0..levels).map(move |level| {
            let half = 1 << level;
            let parent = (leaf >> (level + 1) << (level + 2)) + 2 * half - 1;
            let right = leaf >> level & 1 == 1;
            (parent, if right { parent - half } else { parent + half })
        })
    }
}

/// The key of a parent node, and the leaves that do not know it (section 7.1).
pub(crate) fn parent_fields(parent: &ParentNode) -> Option<(Vec<u8>, Vec<u32>)> {
    let bytes = parent.tls_serialize_detached().ok()?;
    let (encryption_key, rest) = VLBytes::tls_deserialize_bytes(&bytes).ok()?;
    let (_parent_hash, rest) = VLBytes::tls_deserialize_bytes(rest).ok()?;
    let unmerged = Vec::<u32>::tls_deserialize_exact_bytes(rest).ok()?;
    Some((encryption_key.into(), unmerged))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of a node among the parents.
    fn parents(nodes: &[usize]) -> Vec<(usize, Vec<u32>)> {
        nodes.iter().map(|node| ((node - 1) / 2, vec![])).collect()
    }

    #[test]
    fn a_blank_tree_costs_a_ciphertext_for_every_other_member() {
        for members in 1..40 {
            let tree = TreeShape::new(&vec![true; members], vec![]);
            for leaf in 0..u32::try_from(members).unwrap() {
                assert_eq!(tree.cost(leaf).0, members - 1);
            }
        }
    }

    #[test]
    fn a_full_tree_costs_a_ciphertext_a_level() {
        let all: Vec<usize> = (1..15).step_by(2).collect();
        let tree = TreeShape::new(&[true; 8], parents(&all));
        for leaf in 0..8 {
            assert_eq!(tree.cost(leaf), (3, 3));
            assert_eq!(tree.gap(leaf), 0);
            assert_eq!(tree.ahead(leaf, 0), None);
        }
    }

    /// Eight leaves, of whom the first committed:
    ///
    /// ```text
    ///                7
    ///        3               -
    ///    1       -       -       -
    ///  0   2   4   6   8   10  12  14
    /// ```
    #[test]
    fn one_commit_spares_ciphertexts_and_leaves_gaps_elsewhere() {
        let tree = TreeShape::new(&[true; 8], parents(&[1, 3, 7]));
        assert_eq!(tree.cost(0), (7, 3));
        assert_eq!(tree.cost(2), (6, 3));
        assert_eq!(tree.cost(7), (4, 3));
        let gaps: Vec<usize> = (0..8).map(|leaf| tree.gap(leaf)).collect();
        assert_eq!(gaps, [0, 0, 1, 1, 3, 3, 3, 3]);
        // 4, then 2 and 6, then the odd ones.
        let ahead: Vec<_> = (0..8).map(|leaf| tree.ahead(leaf, 1)).collect();
        assert_eq!(ahead, [None, None, Some(1), Some(4), Some(0), Some(3), Some(2), Some(5)]);
        assert_eq!(tree.ahead(2, 2), None);
        assert_eq!(tree.ahead(6, 2), Some(1));
    }

    #[test]
    fn blank_leaves_cost_nothing_and_unmerged_ones_do() {
        let mut leaves = [true; 8];
        (leaves[1], leaves[7]) = (false, false);
        let mut parents = parents(&[3, 5, 7, 9, 11]);
        parents[0].1 = vec![3];
        parents[1].1 = vec![3];
        let tree = TreeShape::new(&leaves, parents);
        assert_eq!(tree.cost(0), (3, 2));
        assert_eq!(tree.cost(4), (4, 3));
        assert_eq!(tree.gap(3), 1);
        assert_eq!(tree.gap(2), 0);
    }

    #[test]
    fn a_leaf_outside_the_tree_has_no_path() {
        let tree = TreeShape::new(&[true; 5], vec![]);
        for leaf in [8, u32::MAX] {
            assert_eq!(tree.cost(leaf), (0, 0));
            assert_eq!(tree.ahead(leaf, 0), None);
        }
    }
}
