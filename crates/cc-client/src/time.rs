//! Time is an argument: the client has no clock of its own.

/// The time as the caller has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since 1970, for what expires. It may be wrong, and may go backwards.
    pub wall: u64,
    /// Milliseconds since some fixed moment of this run, for what is tried again. It never goes
    /// backwards.
    pub mono: u64,
}

impl Now {
    /// Seconds since 1970.
    pub(crate) const fn seconds(self) -> u64 {
        self.wall / 1000
    }
}
