//! HKDF-SHA-256 (RFC 5869) with the labels of a layer.

use alloc::vec::Vec;

use cc_core::{
    Secret,
    kdf::{hkdf, hkdf_expand},
};

use crate::label::label;

/// A pseudorandom key from which keys for different purposes are expanded.
#[derive(Debug)]
pub struct Prk {
    kind: &'static str,
    key: Secret<32>,
}

impl Prk {
    /// A key that is uniformly random already. `kind` is that of the layer, as in [`label`].
    #[must_use]
    pub const fn new(kind: &'static str, key: Secret<32>) -> Self {
        Self { kind, key }
    }

    /// `HKDF(label(kind, purpose), ikm)`, with an empty `info`.
    #[must_use]
    pub fn extract(kind: &'static str, purpose: &str, ikm: &[u8]) -> Self {
        Self { kind, key: hkdf(&label(kind, purpose), ikm, &[]) }
    }

    /// `HKDF-Expand(prk, label(kind, purpose) ‖ fields, N)`. Callers' fields have fixed lengths, so that no
    /// two sequences of them read alike.
    #[must_use]
    pub fn expand<const N: usize>(&self, purpose: &str, fields: &[&[u8]]) -> Secret<N> {
        let label = label(self.kind, purpose);
        let mut info = Vec::with_capacity(1 + fields.len());
        info.push(label.as_slice());
        info.extend_from_slice(fields);
        hkdf_expand(&self.key, &info)
    }

    /// The kind of layer.
    pub(crate) const fn kind(&self) -> &'static str {
        self.kind
    }

    /// To be stored.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.key.expose()
    }
}
