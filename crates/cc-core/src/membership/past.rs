//! The window of past epochs whose late messages still open.

use alloc::vec::Vec;

/// What is kept of the epochs before the present one, oldest first, at most as many as the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastEpochs<T> {
    limit: usize,
    epochs: Vec<(u64, T)>,
}

impl<T> PastEpochs<T> {
    /// None yet, and later at most `limit`.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, epochs: Vec::new() }
    }

    /// Those that a store had, oldest first. `None` where they are more than `limit` or not in ascending
    /// order.
    #[must_use]
    pub fn restored(limit: usize, epochs: Vec<(u64, T)>) -> Option<Self> {
        let ascending = epochs.is_sorted_by(|(one, _), (other, _)| one < other);
        (ascending && epochs.len() <= limit).then_some(Self { limit, epochs })
    }

    /// How many are kept at most.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Keeps at most `limit` from now on, and forgets the oldest that are more.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.forget_surplus();
    }

    /// Keeps what is left of `epoch`, which is later than all before it.
    pub fn push(&mut self, epoch: u64, rest: T) {
        self.epochs.push((epoch, rest));
        self.forget_surplus();
    }

    /// What is kept of `epoch`.
    #[must_use]
    pub fn get(&self, epoch: u64) -> Option<&T> {
        self.iter().find_map(|(number, rest)| (number == epoch).then_some(rest))
    }

    /// All that are kept, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &T)> + ExactSizeIterator {
        self.epochs.iter().map(|(epoch, rest)| (*epoch, rest))
    }

    /// The latest one.
    #[must_use]
    pub fn latest(&self) -> Option<u64> {
        self.epochs.last().map(|(epoch, _)| *epoch)
    }

    fn forget_surplus(&mut self) {
        let surplus = self.epochs.len().saturating_sub(self.limit);
        self.epochs.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn the_oldest_are_forgotten_first() {
        let mut past = PastEpochs::new(2);
        for epoch in 5..9 {
            past.push(epoch, epoch * 10);
        }
        assert_eq!(past.iter().collect::<Vec<_>>(), [(7, &70), (8, &80)]);
        assert_eq!((past.get(6), past.get(7), past.latest()), (None, Some(&70), Some(8)));
        past.set_limit(1);
        assert_eq!((past.get(7), past.get(8)), (None, Some(&80)));
        past.set_limit(0);
        past.push(9, 90);
        assert_eq!((past.get(9), past.latest()), (None, None));
    }

    #[test]
    fn a_store_gives_back_only_what_was_kept() {
        assert!(PastEpochs::restored(2, vec![(1, ()), (2, ())]).is_some());
        for wrong in
            [vec![(2, ()), (1, ())], vec![(1, ()), (1, ())], vec![(1, ()), (2, ()), (3, ())]]
        {
            assert_eq!(PastEpochs::restored(2, wrong), None);
        }
    }
}
