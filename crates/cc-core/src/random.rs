//! Random bytes from the operating system; in tests, where a test says so, from a seed.
//!
//! With the feature `seeded-random`, which only tests are to enable, by a dev-dependency, a thread that holds
//! a `Seeded` gets what its seed gives. All others, and all without the feature, get the operating
//! system's; but for threads that work for one with a seed, by a [`Source`].

#[cfg(feature = "seeded-random")]
mod seeded;
mod source;

#[cfg(feature = "seeded-random")]
pub use seeded::Seeded;
pub use source::Source;

/// The operating system's random generator failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system's random generator failed")]
pub struct RandomError;

/// Fills `bytes` from the operating system's generator.
///
/// # Errors
/// [`RandomError`] when the generator fails; `bytes` is then to be thrown away.
pub fn fill(bytes: &mut [u8]) -> Result<(), RandomError> {
    #[cfg(feature = "seeded-random")]
    if seeded::fill(bytes) {
        return Ok(());
    }
    getrandom::fill(bytes).map_err(|_| RandomError)
}

/// `N` random bytes that are not secret: a salt, a nonce, an identifier.
///
/// # Errors
/// [`RandomError`] when the generator fails.
pub fn array<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}
