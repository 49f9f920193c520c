//! Hashes of the leaves of the ratchet tree, kept from one commit to the next.
//!
//! openmls computes the tree hash (RFC 9420 section 7.8) of a whole group three times for every commit,
//! from the leaves upwards, and keeps nothing. A leaf that did not change has the same hash: comparing
//! what goes into it is several times faster than hashing it.

use openmls_traits::types::HashType;

/// `LeafNodeHashInput` within `TreeHashInput`: the node type, which is 1, and the leaf index.
const LEAF: u8 = 1;

/// By leaf index.
#[derive(Default)]
pub(crate) struct LeafHashes(Vec<Option<Known>>);

struct Known {
    hash_type: HashType,
    input: Vec<u8>,
    hash: Vec<u8>,
}

impl LeafHashes {
    /// The hash of `input`, where it is known.
    pub(crate) fn get(&self, hash_type: HashType, input: &[u8]) -> Option<Vec<u8>> {
        let known = self.0.get(leaf_index(input)?)?.as_ref()?;
        (known.hash_type == hash_type && known.input == input).then(|| known.hash.clone())
    }

    /// Keeps the hash of `input`, if that is a leaf's.
    pub(crate) fn put(&mut self, hash_type: HashType, input: &[u8], hash: &[u8]) {
        let Some(index) = leaf_index(input).filter(|index| *index < MAX_LEAVES) else {
            return;
        };
        if self.0.len() <= index {
            self.0.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.0.get_mut(index) {
            let (input, hash) = (input.to_vec(), hash.to_vec());
            *slot = Some(Known { hash_type, input, hash });
        }
    }
}

/// A tree has more leaves than members where some were removed.
const MAX_LEAVES: usize = 2 * cc_core::limits::MAX_MEMBERS;

/// Whether this may be what the hash of a leaf is of.
pub(crate) fn is_leaf(input: &[u8]) -> bool {
    input.first() == Some(&LEAF)
}

fn leaf_index(input: &[u8]) -> Option<usize> {
    let index = u32::from_be_bytes(*input.get(1..)?.first_chunk()?);
    is_leaf(input).then(|| usize::try_from(index).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(index: u32, content: &[u8]) -> Vec<u8> {
        [&[LEAF][..], &index.to_be_bytes(), content].concat()
    }

    #[test]
    fn only_the_very_same_input_has_a_known_hash() {
        let mut hashes = LeafHashes::default();
        for index in [0, 7] {
            hashes.put(HashType::Sha2_256, &leaf(index, b"leaf"), &[1; 32]);
        }
        assert_eq!(hashes.get(HashType::Sha2_256, &leaf(7, b"leaf")), Some(vec![1; 32]));
        assert_eq!(hashes.get(HashType::Sha2_384, &leaf(7, b"leaf")), None);
        for other in [leaf(7, b"leaF"), leaf(7, b"leaf+"), leaf(1, b"leaf"), leaf(8, b"leaf")] {
            assert_eq!(hashes.get(HashType::Sha2_256, &other), None);
        }
        hashes.put(HashType::Sha2_256, &leaf(7, b"new"), &[2; 32]);
        assert_eq!(hashes.get(HashType::Sha2_256, &leaf(7, b"leaf")), None);
        assert_eq!(hashes.get(HashType::Sha2_256, &leaf(7, b"new")), Some(vec![2; 32]));
    }

    #[test]
    fn what_is_no_leaf_or_none_that_a_group_has_is_not_kept() {
        let mut hashes = LeafHashes::default();
        let beyond = leaf(u32::try_from(MAX_LEAVES).unwrap(), b"leaf");
        for input in [&[2, 0, 0, 0, 0, 9][..], &[1, 0, 0], &[], &leaf(u32::MAX, b""), &beyond] {
            hashes.put(HashType::Sha2_256, input, &[1; 32]);
            assert_eq!(hashes.get(HashType::Sha2_256, input), None);
        }
        assert!(hashes.0.is_empty());
    }
}
