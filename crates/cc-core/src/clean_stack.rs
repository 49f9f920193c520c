//! Overwriting what a computation left on the stack.

/// Runs `work`, and overwrites the `DEPTH` bytes of the stack that it may have used.
///
/// Values that are dropped leave copies where they were moved from and where the compiler put them
/// aside; a [`Secret`](crate::Secret) lives on the heap, but what computes with it does not. `work` is to
/// keep its result on the heap, for what it returns by value is copied to the caller's part of the stack.
///
/// Safe code cannot do better than `zeroize::zeroize_stack`, which overwrites as much as it is told. How
/// deep a computation goes depends on the compiler, so that a caller measures it: the test
/// `memory` of `cc-manager` searches a process for what is left. 4096 bytes take about 50 ns.
#[inline]
pub fn with_clean_stack<const DEPTH: usize, R>(work: impl FnOnce() -> R) -> R {
    let result = below(work);
    zeroize::zeroize_stack::<DEPTH>();
    result
}

/// A stack frame of its own, that begins where that of `zeroize_stack` will.
#[inline(never)]
fn below<R>(work: impl FnOnce() -> R) -> R {
    work()
}
