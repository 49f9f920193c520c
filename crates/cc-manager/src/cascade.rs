//! The key cascade of one message or change.

use alloc::vec::Vec;

use cc_core::{ChainSecret, Contribution};

use crate::composition::Composition;

/// The chain secrets of one message or change: what each layer inherits.
///
/// That of a message is kept for the next, which nearly always has the same contributions. Whoever keeps it drops it
/// where a layer may have ended an epoch, for it has what the layer forgets then.
#[derive(Default)]
pub(crate) struct Cascade {
    /// Bottom first.
    links: Vec<Link>,
    /// How many of the links are of this message; behind them are those of the message before.
    used: usize,
    /// For each position passed, how many of the links lie below it.
    below: Vec<usize>,
}

/// What one layer added.
struct Link {
    position: u16,
    contribution: Contribution,
    chain: ChainSecret,
}

impl Link {
    fn is_of(&self, position: u16, contribution: &Contribution) -> bool {
        self.position == position
            && self.contribution.hint == contribution.hint
            && self.contribution.secret == contribution.secret
    }
}

impl Cascade {
    /// The same for another message in the same stack: no layer is passed.
    pub(crate) fn begin(mut self) -> Self {
        self.used = 0;
        self.below.clear();
        self
    }

    /// Whether it keeps no secret.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// What the layer that is passed next inherits.
    pub(crate) fn top(&self) -> Option<&ChainSecret> {
        self.links.get(self.used.checked_sub(1)?).map(|link| &link.chain)
    }

    /// What the layer at `position` inherits.
    pub(crate) fn at(&self, position: usize) -> Option<&ChainSecret> {
        let below = self.below.get(position)?;
        self.links.get(below.checked_sub(1)?).map(|link| &link.chain)
    }

    /// The positions of the layers that contributed, and their hints, bottom first.
    pub(crate) fn hints(&self) -> impl Iterator<Item = (u16, &[u8])> {
        let used = self.links.iter().take(self.used);
        used.map(|link| (link.position, link.contribution.hint.as_slice()))
    }

    /// Passes the layer at `position`.
    pub(crate) fn next_layer(
        &mut self,
        composition: &Composition,
        position: u16,
        contribution: Option<Contribution>,
    ) {
        self.below.push(self.used);
        let Some((contribution, descriptor)) =
            contribution.zip(composition.descriptors.get(usize::from(position)))
        else {
            return;
        };
        let known = self.links.get(self.used);
        if !known.is_some_and(|link| link.is_of(position, &contribution)) {
            // Those above follow from it.
            self.links.truncate(self.used);
            let below = self.top();
            let chain =
                ChainSecret::extend(below, &contribution, &composition.id, descriptor, position);
            self.links.push(Link { position, contribution, chain });
        }
        self.used += 1;
    }
}

#[cfg(test)]
mod tests {
    use cc_core::{LayerDescriptor, Secret, StackId};

    use super::*;

    fn composition() -> Composition {
        let layer = |id| LayerDescriptor { id, version: 1, parameters: Vec::new() };
        let descriptors: Vec<_> = ["a", "b", "c", "d"].map(layer).into();
        Composition::new(descriptors)
    }

    /// What each position inherits, and what lies on top.
    fn pass(cascade: &mut Cascade, secrets: [Option<(u8, &[u8])>; 4]) -> Vec<Option<ChainSecret>> {
        let composition = composition();
        for (position, given) in (0..).zip(secrets) {
            let contribution = given.map(|(byte, hint)| Contribution {
                hint: hint.to_vec(),
                secret: Secret::copy_from(&[byte; 32]).unwrap(),
            });
            cascade.next_layer(&composition, position, contribution);
        }
        let inherited = (0..4).map(|position| cascade.at(position)).chain([cascade.top()]);
        inherited.map(|chain| chain.map(ChainSecret::duplicate)).collect()
    }

    #[test]
    fn what_is_kept_changes_nothing() {
        let (x, y) = (&b"x"[..], &b"y"[..]);
        let messages = [
            [None, Some((1, x)), None, Some((2, x))],
            [None, Some((1, x)), None, Some((2, x))],
            // Another secret, another hint, below and above what is the same.
            [None, Some((1, x)), None, Some((3, x))],
            [None, Some((1, x)), None, Some((3, y))],
            [None, Some((1, y)), None, Some((3, y))],
            // Other positions, fewer and more.
            [Some((1, y)), None, None, Some((3, y))],
            [Some((1, y)), None, Some((3, y)), None],
            [Some((1, y)), None, None, None],
            [None; 4],
            [Some((1, y)), Some((1, y)), Some((1, y)), Some((1, y))],
            [Some((1, y)), Some((1, y)), None, Some((1, y))],
        ];
        for first in messages {
            for second in messages {
                let mut kept = Cascade::default();
                pass(&mut kept, first);
                let mut kept = kept.begin();
                assert!(kept.top().is_none() && kept.hints().next().is_none());
                let mut fresh = Cascade::default();
                assert_eq!(pass(&mut kept, second), pass(&mut fresh, second));
                assert!(kept.hints().eq(fresh.hints()));
            }
        }
    }

    #[test]
    fn a_layer_inherits_from_all_below_it_and_from_no_other() {
        let mut cascade = Cascade::default();
        let hint = &b""[..];
        let inherited = pass(&mut cascade, [Some((1, hint)), None, Some((2, hint)), None]);
        let stack = composition();
        let extend = |below, byte, at: u16| {
            let secret = Secret::copy_from(&[byte; 32]).unwrap();
            let contribution = Contribution { hint: Vec::new(), secret };
            let descriptor = &stack.descriptors[usize::from(at)];
            ChainSecret::extend(
                below,
                &contribution,
                &StackId::of(&stack.descriptors),
                descriptor,
                at,
            )
        };
        let (one, again) = (extend(None, 1, 0), extend(None, 1, 0));
        let two = extend(Some(&one), 2, 2);
        let both = two.duplicate();
        let expected = [None, Some(one), Some(again), Some(two), Some(both)];
        assert!(inherited.into_iter().eq(expected));
    }
}
