//! HKDF-SHA-256 (RFC 5869) with this crate's labels.

use alloc::vec::Vec;

use cc_core::{
    Secret,
    kdf::{hkdf, hkdf_expand},
};

/// A pseudorandom key from which keys for different purposes are expanded.
pub(crate) struct Prk(Secret<32>);

impl Prk {
    /// `HKDF(label, ikm)`, with an empty `info`.
    pub(crate) fn extract(label: &[u8], ikm: &[u8]) -> Self {
        Self(hkdf(label, ikm, &[]))
    }

    /// `HKDF-Expand(prk, "cascading-cipher/1 dh " ‖ label ‖ fields, N)`. Callers' fields have fixed
    /// lengths, so that no two sequences of them read alike.
    pub(crate) fn expand<const N: usize>(&self, label: &[u8], fields: &[&[u8]]) -> Secret<N> {
        let mut info = Vec::with_capacity(2 + fields.len());
        info.extend_from_slice(&[b"cascading-cipher/1 dh ".as_slice(), label]);
        info.extend_from_slice(fields);
        hkdf_expand(&self.0, &info)
    }

    /// To be stored.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

impl From<Secret<32>> for Prk {
    fn from(secret: Secret<32>) -> Self {
        Self(secret)
    }
}
