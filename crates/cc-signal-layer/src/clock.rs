//! The time, which is read where a session begins and nowhere else.

/// Microseconds since 1970; 0 without `std`, and while the clock says that it is earlier.
pub(crate) fn now() -> u64 {
    #[cfg(feature = "std")]
    {
        let elapsed = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
    }
    #[cfg(not(feature = "std"))]
    0
}
