//! Random bytes from the operating system.

/// The operating system's random generator failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system's random generator failed")]
pub struct RandomError;

/// Fills `bytes` from the operating system's generator.
///
/// # Errors
/// [`RandomError`] when the generator fails; `bytes` is then to be thrown away.
pub fn fill(bytes: &mut [u8]) -> Result<(), RandomError> {
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
