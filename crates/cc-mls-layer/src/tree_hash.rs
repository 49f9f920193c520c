//! Hashes of the nodes of the ratchet tree, kept from one commit to the next.
//!
//! openmls computes the tree hash (RFC 9420 section 7.8) of a whole group three times for every commit,
//! from the leaves upwards, and keeps nothing. A node has the same hash as long as neither it nor any below
//! it changed: comparing what goes into it is several times faster than hashing it.
//!
//! What goes into the hash of a leaf has its index; into that of a parent, nothing that tells its place.
//! That follows from how openmls goes through a tree: from left to right, and to a parent when both its
//! children are done. Where that is not so, nothing compares equal, and the hash is computed.

use cc_core::limits::MAX_KEY_PACKAGE_LEN;
use openmls_traits::types::HashType;

/// `TreeHashInput` begins with the type of the node.
const LEAF: u8 = 1;
const PARENT: u8 = 2;

#[derive(Default)]
pub(crate) struct TreeHashes {
    /// By leaf index.
    leaves: Nodes,
    /// In the order in which they are done.
    parents: Nodes,
    /// Of the parent that is done next.
    next: usize,
}

/// A tree has more leaves than members where some were removed.
const MAX_LEAVES: usize = 2 * cc_core::limits::MAX_MEMBERS;

/// Bytes that are kept of one node: those of the largest leaf, behind the type, the index and one byte that tells
/// that there is a leaf. Transcripts are hashed as well, and one that looks like a node has a whole commit
/// in it. A parent with so many unmerged leaves that it is longer is hashed each time.
const MAX_INPUT_LEN: usize = MAX_KEY_PACKAGE_LEN + 6;

impl TreeHashes {
    /// The hash of `input`: the one that is known, or what `compute` gives.
    pub(crate) fn hash<E>(
        &mut self,
        hash_type: HashType,
        input: &[u8],
        compute: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, E> {
        let Some((nodes, at)) = self.place(input) else {
            return compute();
        };
        if let Some(hash) = nodes.get(at, hash_type, input) {
            return Ok(hash);
        }
        let hash = compute()?;
        nodes.put(at, Known { hash_type, input: input.to_vec(), hash: hash.clone() });
        Ok(hash)
    }

    fn place(&mut self, input: &[u8]) -> Option<(&mut Nodes, usize)> {
        let (nodes, at) = match input.split_first()? {
            (&LEAF, rest) => {
                let index = u32::from_be_bytes(*rest.first_chunk()?);
                // Those that have all their leaves to the left of this one are done.
                self.next = usize::try_from(index - index.count_ones()).ok()?;
                (&mut self.leaves, usize::try_from(index).ok()?)
            }
            (&PARENT, _) => {
                let at = self.next;
                self.next = self.next.saturating_add(1);
                (&mut self.parents, at)
            }
            _ => return None,
        };
        (at < MAX_LEAVES && input.len() <= MAX_INPUT_LEN).then_some((nodes, at))
    }
}

/// Whether this may be what the hash of a node is of.
pub(crate) fn is_node(input: &[u8]) -> bool {
    matches!(input.first(), Some(&(LEAF | PARENT)))
}

#[derive(Default)]
struct Nodes(Vec<Option<Known>>);

struct Known {
    hash_type: HashType,
    input: Vec<u8>,
    hash: Vec<u8>,
}

impl Nodes {
    fn get(&self, at: usize, hash_type: HashType, input: &[u8]) -> Option<Vec<u8>> {
        let known = self.0.get(at)?.as_ref()?;
        (known.hash_type == hash_type && known.input == input).then(|| known.hash.clone())
    }

    fn put(&mut self, at: usize, known: Known) {
        if self.0.len() <= at {
            self.0.resize_with(at + 1, || None);
        }
        if let Some(slot) = self.0.get_mut(at) {
            *slot = Some(known);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use sha2::{Digest as _, Sha256};

    use super::*;

    fn leaf(index: u32, content: &[u8]) -> Vec<u8> {
        [&[LEAF][..], &index.to_be_bytes(), content].concat()
    }

    /// The hash, and whether it was computed.
    fn hash(hashes: &mut TreeHashes, hash_type: HashType, input: &[u8]) -> (Vec<u8>, bool) {
        let mut computed = false;
        let hash = hashes.hash(hash_type, input, || {
            computed = true;
            let of_type = [&[hash_type as u8][..], input].concat();
            Ok::<_, Infallible>(Sha256::digest(of_type).to_vec())
        });
        (hash.unwrap(), computed)
    }

    fn computes(hashes: &mut TreeHashes, input: &[u8]) -> bool {
        hash(hashes, HashType::Sha2_256, input).1
    }

    #[test]
    fn only_the_very_same_input_has_a_known_hash() {
        let mut hashes = TreeHashes::default();
        for index in [0, 7] {
            assert!(computes(&mut hashes, &leaf(index, b"leaf")));
        }
        let (first, computed) = hash(&mut hashes, HashType::Sha2_384, &leaf(7, b"leaf"));
        assert!(computed);
        assert_eq!(hash(&mut hashes, HashType::Sha2_384, &leaf(7, b"leaf")), (first, false));
        assert!(computes(&mut hashes, &leaf(7, b"leaf")));
        assert!(!computes(&mut hashes, &leaf(7, b"leaf")));
        for other in [leaf(7, b"leaF"), leaf(7, b"leaf+"), leaf(1, b"leaf"), leaf(8, b"leaf")] {
            assert!(computes(&mut hashes, &other));
        }
        assert!(!computes(&mut hashes, &leaf(0, b"leaf")));
    }

    /// Goes through the tree of these leaves as openmls does; how many hashes were computed.
    fn root(hashes: &mut TreeHashes, leaves: &[u8], first: u32, computed: &mut usize) -> Vec<u8> {
        let input = if let [content] = leaves {
            leaf(first, &[*content])
        } else {
            let (left, right) = leaves.split_at(leaves.len() / 2);
            let middle = first + u32::try_from(left.len()).unwrap();
            let left = root(hashes, left, first, computed);
            [&[PARENT][..], &left, &root(hashes, right, middle, computed)].concat()
        };
        let (hash, anew) = hash(hashes, HashType::Sha2_256, &input);
        *computed += usize::from(anew);
        hash
    }

    fn computed(hashes: &mut TreeHashes, leaves: &[u8]) -> usize {
        let mut computed = 0;
        let hash = root(hashes, leaves, 0, &mut computed);
        assert_eq!(hash, root(&mut TreeHashes::default(), leaves, 0, &mut 0));
        computed
    }

    #[test]
    fn only_the_path_of_a_leaf_that_changed_is_computed() {
        let mut hashes = TreeHashes::default();
        let mut leaves = [0; 16];
        assert_eq!(computed(&mut hashes, &leaves), 31);
        assert_eq!(computed(&mut hashes, &leaves), 0);
        for at in 0..16 {
            leaves[at] = 1;
            assert_eq!(computed(&mut hashes, &leaves), 5, "the path of leaf {at}");
        }
        // A part of the tree, and then all of it; and a tree that shrank and grew.
        let mut of_part = 0;
        root(&mut hashes, &leaves[4..8], 4, &mut of_part);
        assert_eq!((of_part, computed(&mut hashes, &leaves)), (0, 0));
        assert_eq!(computed(&mut hashes, &leaves[..8]), 0);
        assert_eq!(computed(&mut hashes, &leaves), 0);
    }

    #[test]
    fn what_is_no_node_or_none_that_a_group_has_is_not_kept() {
        let mut hashes = TreeHashes::default();
        let beyond = leaf(u32::try_from(MAX_LEAVES).unwrap(), b"leaf");
        for input in [&[3, 0, 0, 0, 0, 9][..], &[1, 0, 0], &[], &leaf(u32::MAX, b""), &beyond] {
            for _ in 0..2 {
                assert!(computes(&mut hashes, input));
            }
        }
        assert!(computes(&mut hashes, &leaf(u32::MAX, b"")) && computes(&mut hashes, &[PARENT]));
        assert!(hashes.leaves.0.is_empty() && hashes.parents.0.is_empty());
    }

    #[test]
    fn what_is_longer_than_a_leaf_is_not_kept() {
        let mut hashes = TreeHashes::default();
        let longest = leaf(0, &vec![7; MAX_KEY_PACKAGE_LEN + 1]);
        assert!(computes(&mut hashes, &longest) && !computes(&mut hashes, &longest));
        for kind in [LEAF, PARENT] {
            let mut transcript = [longest.as_slice(), b"+"].concat();
            transcript[0] = kind;
            for _ in 0..2 {
                assert!(computes(&mut hashes, &transcript));
            }
        }
        // Nor does it take the place of what is.
        assert!(!computes(&mut hashes, &longest) && hashes.parents.0.is_empty());
    }
}
