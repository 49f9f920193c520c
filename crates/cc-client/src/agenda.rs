//! What is to be looked at, and when: the next thing is found without looking at the others.

use std::collections::{BTreeMap, BTreeSet};

use crate::{LogId, Position, RequestId};

/// Something that may want to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// A group, or the mailbox.
    Log(LogId),
    /// A stored request that is not of a group's log.
    Request(RequestId),
    /// A welcome, by its place in the mailbox.
    Arrival(Position),
    /// The key packages in the directory.
    Packages,
}

/// Those that are to be looked at now, in the order in which they became so, and those that are to be
/// looked at later. A target is in one place at the most.
#[derive(Default)]
pub(crate) struct Agenda {
    places: BTreeMap<Target, Place>,
    now: BTreeMap<u64, Target>,
    later: BTreeSet<(u64, Target)>,
    next_turn: u64,
}

#[derive(Clone, Copy)]
enum Place {
    Now(u64),
    Later(u64),
}

impl Agenda {
    /// `target` is to be looked at now, after those that are to be already.
    pub(crate) fn touch(&mut self, target: Target) {
        if let Some(Place::Now(_)) = self.places.get(&target) {
            return;
        }
        self.remove(&target);
        let turn = self.next_turn;
        self.next_turn += 1;
        self.now.insert(turn, target);
        self.places.insert(target, Place::Now(turn));
    }

    /// `target` is to be looked at again at this moment, if nothing [touches](Self::touch) it before;
    /// with `None` it waits for that.
    pub(crate) fn look_again(&mut self, target: Target, at: Option<u64>) {
        self.remove(&target);
        if let Some(at) = at {
            self.later.insert((at, target));
            self.places.insert(target, Place::Later(at));
        }
    }

    /// Takes the target whose turn it is, if one is due at `now`.
    pub(crate) fn take_due(&mut self, now: u64) -> Option<Target> {
        while let Some((at, target)) = self.later.first().copied()
            && at <= now
        {
            self.touch(target);
        }
        let (_, target) = self.now.pop_first()?;
        self.places.remove(&target);
        Some(target)
    }

    /// When the next target is due; 0 for one that is due already.
    pub(crate) fn next(&self) -> Option<u64> {
        if self.now.is_empty() { Some(self.later.first()?.0) } else { Some(0) }
    }

    fn remove(&mut self, target: &Target) {
        match self.places.remove(target) {
            Some(Place::Now(turn)) => {
                self.now.remove(&turn);
            }
            Some(Place::Later(at)) => {
                self.later.remove(&(at, *target));
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(byte: u8) -> Target {
        Target::Log(LogId::from_bytes([byte; 32]))
    }

    #[test]
    fn what_is_due_comes_in_turn_and_each_once() {
        let mut agenda = Agenda::default();
        for byte in [3, 1, 2, 3] {
            agenda.touch(log(byte));
        }
        agenda.look_again(log(4), Some(10));
        agenda.look_again(log(5), Some(30));
        agenda.look_again(log(6), None);
        let order: Vec<_> = core::iter::from_fn(|| agenda.take_due(20)).collect();
        assert_eq!(order, [log(3), log(1), log(2), log(4)]);
        assert_eq!(agenda.next(), Some(30));
        agenda.touch(log(5));
        assert_eq!(agenda.next(), Some(0));
        assert_eq!(agenda.take_due(0), Some(log(5)));
        assert_eq!((agenda.take_due(100), agenda.next()), (None, None));
    }

    #[test]
    fn who_has_always_something_to_do_does_not_starve_the_others() {
        let mut agenda = Agenda::default();
        agenda.look_again(log(1), Some(5));
        agenda.touch(log(2));
        assert_eq!(agenda.take_due(5), Some(log(2)));
        agenda.touch(log(2));
        assert_eq!(agenda.take_due(5), Some(log(1)));
    }
}
