//! A state with what is staged on top of it and what the store has of it.

use crate::{LayerError, store::ScopeWriter};

/// The versions of a state that methods stage, [`apply`](crate::CipherLayer::apply) and
/// [`revert`](crate::CipherLayer::revert) decide about, and [`save`](crate::CipherLayer::save) writes. A
/// state whose large pieces are shared (`Arc`) makes a version cheap.
#[derive(Debug)]
pub struct Versions<S> {
    current: Version<S>,
    /// What `apply` makes current and `revert` drops.
    staged: Option<Version<S>>,
    /// What the store has; `None` where it has none.
    stored: Option<Version<S>>,
    /// What `apply` makes stored and `revert` drops.
    storing: Option<Version<S>>,
    /// No version has this number yet, nor a later one.
    next_number: u64,
}

/// A state, with a number that tells it from every other version.
#[derive(Debug, Clone)]
struct Version<S> {
    number: u64,
    state: S,
}

impl<S: Clone> Versions<S> {
    /// A state that no store has.
    #[must_use]
    pub const fn new(state: S) -> Self {
        let current = Version { number: 0, state };
        Self { current, staged: None, stored: None, storing: None, next_number: 1 }
    }

    /// The state that a store gave back.
    #[must_use]
    pub fn restored(state: S) -> Self {
        let versions = Self::new(state);
        Self { stored: Some(versions.current.clone()), ..versions }
    }

    /// The state as everything that was staged leaves it.
    #[must_use]
    pub fn latest(&self) -> &S {
        &self.latest_version().state
    }

    /// Whether something is staged.
    #[must_use]
    pub const fn is_staged(&self) -> bool {
        self.staged.is_some()
    }

    /// Puts `state` in the place of the latest one, until `apply` or `revert`.
    pub fn stage(&mut self, state: S) {
        self.staged = Some(Version { number: self.take_number(), state });
    }

    /// Makes a change that is not staged: it holds at once, in what is staged as well.
    pub fn configure(&mut self, change: impl Fn(&mut S)) {
        change(&mut self.current.state);
        self.current.number = self.take_number();
        if let Some(mut staged) = self.staged.take() {
            change(&mut staged.state);
            self.stage(staged.state);
        }
    }

    /// Puts what was staged into force, and gives it.
    pub fn apply(&mut self) -> Option<&mut S> {
        if let Some(storing) = self.storing.take() {
            self.stored = Some(storing);
        }
        self.current = self.staged.take()?;
        Some(&mut self.current.state)
    }

    /// Drops what was staged.
    pub fn revert(&mut self) {
        self.staged = None;
        self.storing = None;
    }

    /// Writes the latest state with `write`, which gets what the store has of it: `None` if nothing. Does
    /// not call it where the store has the latest state.
    ///
    /// # Errors
    /// Those of `write`; the store is then taken to have what it had.
    pub fn save(
        &mut self,
        to: &mut ScopeWriter<'_>,
        write: impl FnOnce(Option<&S>, &S, &mut ScopeWriter<'_>) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        let before = if to.is_new() { None } else { self.stored.as_ref() };
        let latest = self.latest_version();
        if before.is_none_or(|before| before.number != latest.number) {
            write(before.map(|before| &before.state), &latest.state, to)?;
            self.storing = Some(latest.clone());
        }
        Ok(())
    }

    fn latest_version(&self) -> &Version<S> {
        self.staged.as_ref().unwrap_or(&self.current)
    }

    const fn take_number(&mut self) -> u64 {
        let number = self.next_number;
        // One for each operation: 2^64 of them are out of reach.
        self.next_number = number.wrapping_add(1);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Batch, Scope};

    /// What `save` takes the store to have, and the state it writes, if it writes one.
    fn saved(versions: &mut Versions<u8>, new: bool) -> Option<(Option<u8>, u8)> {
        let mut batch = Batch::new();
        let scope = Scope::new("layer");
        let mut to = if new { batch.new_scope(scope) } else { batch.scope(scope) };
        let mut seen = None;
        versions
            .save(&mut to, |before, after, _| {
                seen = Some((before.copied(), *after));
                Ok(())
            })
            .unwrap();
        seen
    }

    #[test]
    fn a_revert_goes_back_and_an_apply_goes_on() {
        let mut versions = Versions::new(1);
        assert_eq!((*versions.latest(), versions.is_staged()), (1, false));
        versions.stage(2);
        assert_eq!((*versions.latest(), versions.is_staged()), (2, true));
        versions.revert();
        assert_eq!(*versions.latest(), 1);
        versions.stage(3);
        assert_eq!(versions.apply(), Some(&mut 3));
        versions.revert();
        assert_eq!((*versions.latest(), versions.apply()), (3, None));
    }

    #[test]
    fn the_store_has_what_was_saved_and_applied() {
        let mut versions = Versions::new(1);
        assert_eq!(saved(&mut versions, false), Some((None, 1)));
        versions.revert();
        versions.stage(2);
        assert_eq!(saved(&mut versions, false), Some((None, 2)));
        versions.apply();
        versions.stage(3);
        assert_eq!(saved(&mut versions, false), Some((Some(2), 3)));
        versions.revert();
        assert_eq!(saved(&mut versions, false), None, "the store has it");
        versions.configure(|state| *state += 10);
        assert_eq!(saved(&mut versions, false), Some((Some(2), 12)));
        versions.apply();
        assert_eq!(saved(&mut versions, true), Some((None, 12)), "another store has nothing");
        assert_eq!(saved(&mut Versions::restored(4), false), None, "that is where it came from");
    }

    #[test]
    fn a_save_that_failed_stored_nothing() {
        let mut versions = Versions::restored(1);
        versions.stage(2);
        let mut batch = Batch::new();
        let mut to = batch.scope(Scope::new("layer"));
        assert!(versions.save(&mut to, |_, _, _| Err(LayerError::rejected())).is_err());
        versions.apply();
        assert_eq!(saved(&mut versions, false), Some((Some(1), 2)));
    }
}
