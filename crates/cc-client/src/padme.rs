//! Lengths that tell little of what is in them.

/// The length that Padmé pads to: the top bits are kept, the others rounded up (Nikitin et al., "Reducing Metadata Leakage from
/// Encrypted Files and Communication with PURBs", section 4).
pub(crate) fn padme(length: u64) -> u64 {
    let exponent = length.max(1).ilog2();
    let kept = exponent.checked_ilog2().unwrap_or(0) + 1;
    let mask = (1u64 << exponent.saturating_sub(kept)) - 1;
    length.saturating_add(mask) & !mask
}
