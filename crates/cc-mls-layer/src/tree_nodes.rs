//! Counting the nodes of an encoded ratchet tree (RFC 9420 section 12.4.3.3) before it is decoded: a blank
//! node is one byte there and many decoded.

use crate::{key_package_view::leaf, reader::Reader};

/// The nodes of the largest tree: twice the leaves, less one. A tree has more leaves than members where some
/// were removed.
pub(crate) const MAX_NODES: usize = 4 * cc_core::limits::MAX_MEMBERS - 1;

/// How many nodes `optional<Node> ratchet_tree<V>` has, blank ones included, if it is one: within
/// [`MAX_NODES`], and its leaves within the bounds that those of key packages have.
pub(crate) fn check_nodes(tree: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(tree);
    let count = reader.elements(MAX_NODES, |node| match node.u8()? {
        0 => Some(()),
        1 => match node.u8()? {
            1 => leaf(node).map(drop),
            2 => parent(node),
            _ => None,
        },
        _ => None,
    })?;
    reader.end()?;
    Some(count)
}

/// A ParentNode (section 7.1).
fn parent(reader: &mut Reader<'_>) -> Option<()> {
    let (_encryption_key, _parent_hash) = (reader.vector()?, reader.vector()?);
    reader.elements(cc_core::limits::MAX_MEMBERS, |leaf| leaf.u32().map(drop))?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_and_parent_nodes_are_counted() {
        assert_eq!(check_nodes(&[0]), Some(0));
        assert_eq!(check_nodes(&[3, 0, 0, 0]), Some(3));
        // A parent with a key of two bytes, no parent hash and four bytes of unmerged leaves.
        let parent = [1, 2, 2, 9, 9, 0, 4, 0, 0, 0, 1];
        assert_eq!(check_nodes(&[&[13, 0], &parent[..], &[0]].concat()), Some(3));
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        for bad in [
            &[][..],
            &[1],
            &[1, 0, 0],
            &[2, 0],
            &[1, 1],
            &[1, 2],
            &[2, 1, 1],
            &[2, 1, 3],
            &[4, 1, 2, 9, 0],
            &[0xff],
        ] {
            assert_eq!(check_nodes(bad), None, "{bad:?}");
        }
    }
}
