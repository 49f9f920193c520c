//! Which library computes.

/// Where the primitives come from. The choice is made once in a process, by the processor, and shows in nothing
/// but the time that they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// RustCrypto and dalek: pure Rust, on every processor.
    Portable,
    /// graviola: assembly for x86-64 and aarch64, on processors that have the instructions.
    #[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
    Graviola,
}

#[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
impl Backend {
    /// The fastest one that this processor runs.
    ///
    /// In builds with debug assertions, which tests are, the environment variable `CC_PRIMITIVES=portable` takes
    /// the portable one, so that the same program can be tested with both.
    #[must_use]
    pub fn in_use() -> Self {
        static IN_USE: std::sync::OnceLock<Backend> = std::sync::OnceLock::new();
        *IN_USE.get_or_init(|| {
            if has_instructions() && !is_portable_forced() {
                Self::Graviola
            } else {
                Self::Portable
            }
        })
    }
}

#[cfg(not(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64"))))]
impl Backend {
    /// The portable one: this build has no other.
    #[must_use]
    pub const fn in_use() -> Self {
        Self::Portable
    }
}

/// Whether graviola runs. It panics where its own check fails, and that check leaves out what comes with AVX2 and
/// ADX on every processor that was sold, but not on every one that can be emulated.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
fn has_instructions() -> bool {
    use std::arch::is_x86_feature_detected;
    is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("adx")
        && graviola::util::is_cpu_supported()
}

#[cfg(all(feature = "std", target_arch = "aarch64"))]
fn has_instructions() -> bool {
    graviola::util::is_cpu_supported()
}

#[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn is_portable_forced() -> bool {
    cfg!(debug_assertions)
        && std::env::var_os("CC_PRIMITIVES").is_some_and(|value| value == "portable")
}

/// Both, for a test that compares them; one where the processor has no other.
#[cfg(test)]
pub(crate) fn all() -> std::vec::Vec<Backend> {
    let mut backends = std::vec![Backend::Portable];
    if Backend::in_use() != Backend::Portable {
        backends.push(Backend::in_use());
    }
    backends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_portable_backend_is_taken_where_it_is_asked_for() {
        if std::env::var_os("CC_PRIMITIVES").is_some_and(|value| value == "portable") {
            assert_eq!(Backend::in_use(), Backend::Portable);
        }
    }

    /// This would otherwise compare the portable backend with itself, and nobody would see it.
    #[test]
    #[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn a_processor_with_the_instructions_uses_them() {
        let expected = if has_instructions() && !is_portable_forced() {
            Backend::Graviola
        } else {
            Backend::Portable
        };
        assert_eq!(Backend::in_use(), expected);
    }
}
