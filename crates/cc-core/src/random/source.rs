//! Random bytes for work that is done in another thread.

#[cfg(feature = "seeded-random")]
use super::seeded::Stream;

/// Where work that belongs to the thread that made this draws from, in whatever thread it is done.
///
/// It is the operating system's generator, unless that thread was seeded, which takes the feature
/// `seeded-random`.
#[derive(Debug, Clone)]
pub struct Source {
    #[cfg(feature = "seeded-random")]
    seed: Option<[u8; 32]>,
}

impl Source {
    /// That of the calling thread.
    #[must_use]
    pub fn of_this_thread() -> Self {
        Self {
            #[cfg(feature = "seeded-random")]
            seed: Stream::draw(),
        }
    }

    /// Does `work`. What it draws is, if there is a seed, decided by that and by `purpose`, and not by what
    /// else was drawn before: threads that share a work do it in any order.
    pub fn draw_for<T>(&self, purpose: &[&[u8]], work: impl FnOnce() -> T) -> T {
        #[cfg(feature = "seeded-random")]
        let _seeded = self.seed.map(|seed| Stream::replace(&seed, purpose));
        #[cfg(not(feature = "seeded-random"))]
        let _ = purpose;
        work()
    }
}
