//! Durations of single operations, and the bytes that the process wrote meanwhile.

use std::{fmt, fs, str::FromStr, time::Instant};

/// What some operations cost.
#[derive(Debug, Default, Clone)]
pub(crate) struct Measured {
    /// Bytes that were handed to the system to write, into files or elsewhere: 0 where it does not count
    /// them (it does on Linux).
    pub(crate) bytes: u64,
    /// The time of each operation.
    pub(crate) nanoseconds: Vec<u64>,
}

/// Does `operation` to each of `inputs`, and measures it.
pub(crate) fn each<I, T>(
    inputs: impl IntoIterator<Item = I>,
    mut operation: impl FnMut(I) -> T,
) -> (Measured, Vec<T>) {
    let mut nanoseconds = Vec::new();
    let mut results = Vec::new();
    let before = written();
    for input in inputs {
        let start = Instant::now();
        results.push(operation(input));
        nanoseconds.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    (Measured { bytes: written() - before, nanoseconds }, results)
}

/// Bytes that the process handed to the system to write so far: 0 where it does not count them.
pub(crate) fn written() -> u64 {
    let counters = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let written = counters.lines().find_map(|line| line.strip_prefix("wchar: "));
    written.and_then(|number| number.parse().ok()).unwrap_or(0)
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes)?;
        self.nanoseconds.iter().try_for_each(|nanoseconds| write!(f, " {nanoseconds}"))
    }
}

impl FromStr for Measured {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.split_whitespace().map(str::parse);
        let bytes = numbers.next().unwrap_or(Ok(0))?;
        Ok(Self { bytes, nanoseconds: numbers.collect::<Result<_, _>>()? })
    }
}
