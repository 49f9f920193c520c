//! Benchmarks of Cascading Cipher and its peers, and how they hand on what they measured.

/// Parts of the MLS layer, for openmls without the layer.
#[path = "../../crates/cc-mls-layer/src"]
#[allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "openmls alone needs few of them"
)]
mod layer {
    pub(crate) mod crypto;
    pub(crate) mod ed25519;
    pub(crate) mod error;
    pub(crate) mod signer;
    pub(crate) mod storage;
    pub(crate) mod tree_hash;
}
pub mod bare;
pub mod same;

use std::{env, fs::OpenOptions, io::Write as _, time::Duration};

use rustix::time::{ClockId, clock_gettime};

use layer::{crypto, ed25519, error, signer, storage, tree_hash};

/// Hands one figure to `cargo xtask bench`, which names a file in `CC_BENCH_FIGURES` and puts tables
/// together from it. Does nothing without that. Criterion's figures need no call: they are read from its files.
///
/// A table has a row for each `row` (a number of members or bytes, say), a column for each `series` (ours
/// first, then the peers), and one `unit` (`ns`, `B`, `B/s`, or any other word).
///
/// # Panics
/// When the file cannot be written.
#[allow(clippy::expect_used, reason = "a benchmark fails by panicking")]
pub fn figure(table: &str, row: &str, series: &str, unit: &str, value: f64) {
    let Some(path) = env::var_os("CC_BENCH_FIGURES") else { return };
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("a file");
    writeln!(file, "{table}\t{row}\t{series}\t{unit}\t{value}").expect("a file that takes a line");
}

/// [`figure`] of a time.
pub fn time(table: &str, row: &str, series: &str, value: Duration) {
    figure(table, row, series, "ns", value.as_secs_f64() * 1e9);
}

/// Whether `cargo xtask bench --quick` asks for less of everything.
#[must_use]
pub fn quick() -> bool {
    env::var_os("CC_BENCH_QUICK").is_some()
}

/// The time that `f` takes on the processor, in all threads of this process, and what it gives.
pub fn on_processor<T>(f: impl FnOnce() -> T) -> (Duration, T) {
    let start = processor_time();
    let value = f();
    (processor_time() - start, value)
}

/// The processor's time of this process until now. `/proc/self/schedstat` has it only as of the last time that
/// the process gave way, and the kernel's counters in ticks of some milliseconds.
///
/// # Panics
/// When the system gives a time before the start.
#[must_use]
#[allow(clippy::expect_used, reason = "a benchmark fails by panicking")]
pub fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).expect("a time since the start")
}
