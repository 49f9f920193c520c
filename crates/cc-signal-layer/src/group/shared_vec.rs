//! A vector whose copies share what they have in common: replacing one element copies a few short
//! nodes, whatever the length, and two copies are compared by the nodes that they do not share.

use alloc::{sync::Arc, vec::Vec};

/// Elements by their index. A copy costs one reference.
pub(super) struct SharedVec<T> {
    root: Arc<Node<T>>,
    len: usize,
    /// How many levels of branches are above the leaves.
    height: u32,
}

enum Node<T> {
    Leaf(Vec<Arc<T>>),
    Branch(Vec<Arc<Node<T>>>),
}

impl<T> SharedVec<T> {
    pub(super) fn new(elements: impl IntoIterator<Item = T>) -> Self {
        let mut elements = elements.into_iter().map(Arc::new).peekable();
        let (mut nodes, mut len, mut height) = (Vec::new(), 0, 0);
        while elements.peek().is_some() {
            let leaf: Vec<_> = elements.by_ref().take(WIDTH).collect();
            len += leaf.len();
            nodes.push(Arc::new(Node::Leaf(leaf)));
        }
        while nodes.len() > 1 {
            let branches = nodes.chunks(WIDTH).map(|nodes| Arc::new(Node::Branch(nodes.to_vec())));
            nodes = branches.collect();
            height += 1;
        }
        let root = nodes.pop().unwrap_or_else(|| Arc::new(Node::Leaf(Vec::new())));
        Self { root, len, height }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, index: usize) -> Option<&Arc<T>> {
        let mut node = &self.root;
        for level in (0..=self.height).rev() {
            match &**node {
                Node::Branch(nodes) => node = nodes.get(place(index, level))?,
                Node::Leaf(leaf) if index < self.len => return leaf.get(place(index, 0)),
                Node::Leaf(_) => return None,
            }
        }
        None
    }

    /// Replaces an element; nothing happens beyond the end.
    pub(super) fn set(&mut self, index: usize, element: T) {
        if index < self.len {
            Arc::make_mut(&mut self.root).set(index, self.height, element);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        (0..self.len).filter_map(|index| self.get(index))
    }

    /// The indexes of elements that are not those of `other`, which has the same length.
    pub(super) fn differences(&self, other: &Self) -> Vec<usize> {
        let mut found = Vec::new();
        self.root.differences(&other.root, 0, self.height, &mut found);
        found
    }
}

impl<T> Clone for SharedVec<T> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), len: self.len, height: self.height }
    }
}

impl<T> Clone for Node<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(leaf) => Self::Leaf(leaf.clone()),
            Self::Branch(nodes) => Self::Branch(nodes.clone()),
        }
    }
}

impl<T> Node<T> {
    fn set(&mut self, index: usize, level: u32, element: T) {
        match self {
            Self::Leaf(leaf) => {
                if let Some(old) = leaf.get_mut(place(index, 0)) {
                    *old = Arc::new(element);
                }
            }
            Self::Branch(nodes) => {
                if let Some(node) = nodes.get_mut(place(index, level)) {
                    Arc::make_mut(node).set(index, level.saturating_sub(1), element);
                }
            }
        }
    }

    fn differences(
        self: &Arc<Self>,
        other: &Arc<Self>,
        first: usize,
        level: u32,
        found: &mut Vec<usize>,
    ) {
        if Arc::ptr_eq(self, other) {
            return;
        }
        match (&**self, &**other) {
            (Self::Leaf(new), Self::Leaf(old)) => {
                let pairs = new.iter().zip(old).enumerate();
                found.extend(
                    pairs
                        .filter(|(_, (new, old))| !Arc::ptr_eq(new, old))
                        .map(|(at, _)| first + at),
                );
            }
            (Self::Branch(new), Self::Branch(old)) => {
                for (at, (new, old)) in new.iter().zip(old).enumerate() {
                    let first = first + (at << (BITS * level));
                    new.differences(old, first, level.saturating_sub(1), found);
                }
            }
            // Two vectors of one length have one shape.
            _ => {}
        }
    }
}

/// Where the path to an element goes on in a node of this level; leaves have level 0.
fn place(index: usize, level: u32) -> usize {
    (index >> (BITS * level)) & (WIDTH - 1)
}

/// A node has at most `1 << BITS` children.
const BITS: u32 = 4;
const WIDTH: usize = 1 << BITS;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn copies_are_vectors_that_share(
            len in 0usize..700,
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u16>()), 0..20),
        ) {
            let first = SharedVec::new(0..len);
            let mut second = first.clone();
            let mut expected: Vec<_> = (0..len).collect();
            let mut changed = alloc::collections::BTreeSet::new();
            for (index, value) in &changes {
                if len > 0 {
                    let index = index.index(len);
                    second.set(index, usize::from(*value));
                    expected[index] = usize::from(*value);
                    changed.insert(index);
                }
            }
            second.set(len, 7);
            prop_assert_eq!((second.len(), second.get(len)), (len, None));
            prop_assert!(second.iter().map(|value| **value).eq(expected));
            prop_assert!(first.iter().map(|value| **value).eq(0..len));
            prop_assert!(second.differences(&first).into_iter().eq(changed));
        }
    }
}
