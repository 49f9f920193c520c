//! Overwrites the stack that work with secrets has used.
//!
//! What this crate keeps is on the heap and overwritten when it is dropped. The libraries that compute
//! with it leave copies in stack frames that have returned: a block of HMAC, a key schedule that was moved,
//! the seed of a signing key. So such work runs in a frame of its own, and the stack below that frame is
//! overwritten afterwards. `src/tests/memory.rs` looks for what is left.

use cc_core::with_clean_stack;

/// Runs `work`, which uses symmetric ciphers, hashes and curves, and overwrites the stack below.
pub(crate) fn scrubbed<T>(work: impl FnOnce() -> T) -> T {
    with_clean_stack::<SMALL, _>(work)
}

/// As [`scrubbed`], for work with ML-KEM, whose matrices need more of the stack.
pub(crate) fn scrubbed_deep<T>(work: impl FnOnce() -> T) -> T {
    with_clean_stack::<DEEP, _>(work)
}

/// About what the work uses: ML-KEM-1024 needs a stack of 80 KiB anyway. Frames are larger in a build
/// without optimisation.
const SMALL: usize = cc_primitives::aes_gcm::STACK;
const DEEP: usize = if cfg!(debug_assertions) { 512 * 1024 } else { 80 * 1024 };
