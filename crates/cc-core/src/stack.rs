//! The identity of a stack: which layers, in which order, with which parameters.

use alloc::vec::Vec;
use core::fmt;

use sha2::{Digest, Sha256};

/// What a layer is, as far as both ends must agree on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerDescriptor {
    /// The layer's identifier, such as `"cc.aes"`: ASCII, at most 64 bytes, never reused for another
    /// construction.
    pub id: &'static str,
    /// The version of the layer's wire format.
    pub version: u16,
    /// Whatever else must be equal at both ends (a curve, a ciphersuite, a mode), in a fixed
    /// encoding. No secrets, and nothing that differs from member to member.
    pub parameters: Vec<u8>,
}

impl LayerDescriptor {
    pub(crate) fn digest_into(&self, hash: &mut Sha256) {
        update_prefixed(hash, self.id.as_bytes());
        hash.update(self.version.to_be_bytes());
        update_prefixed(hash, &self.parameters);
    }
}

/// SHA-256 over the ordered layer descriptors. 32 bytes; the envelope shows the first 16.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StackId([u8; 32]);

impl StackId {
    /// Bytes of a stack id that travel in the envelope.
    pub const WIRE_LEN: usize = 16;

    /// The id of the stack whose layers, bottom first, are `layers`.
    #[must_use]
    pub fn of(layers: &[LayerDescriptor]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"cascading-cipher/1 stack");
        hash.update(to_u64(layers.len()).to_be_bytes());
        for layer in layers {
            layer.digest_into(&mut hash);
        }
        Self(hash.finalize().into())
    }

    /// All 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 16 bytes that travel in the envelope.
    #[must_use]
    pub fn wire(&self) -> [u8; Self::WIRE_LEN] {
        let mut wire = [0; Self::WIRE_LEN];
        wire.iter_mut().zip(&self.0).for_each(|(to, from)| *to = *from);
        wire
    }
}

impl fmt::Debug for StackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StackId(")?;
        for byte in self.wire() {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// `bytes` behind their length, so that no two sequences of fields hash alike.
pub(crate) fn update_prefixed(hash: &mut Sha256, bytes: &[u8]) {
    hash.update(to_u64(bytes.len()).to_be_bytes());
    hash.update(bytes);
}

pub(crate) fn to_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn layer(id: &'static str, version: u16, parameters: &[u8]) -> LayerDescriptor {
        LayerDescriptor { id, version, parameters: parameters.to_vec() }
    }

    #[test]
    fn every_field_and_the_order_count() {
        let stacks = [
            vec![],
            vec![layer("a", 1, b"")],
            vec![layer("a", 2, b"")],
            vec![layer("a", 1, b"x")],
            vec![layer("ax", 1, b"")],
            vec![layer("a", 1, b""), layer("b", 1, b"")],
            vec![layer("b", 1, b""), layer("a", 1, b"")],
            vec![layer("a", 1, b""), layer("a", 1, b"")],
        ];
        for (i, a) in stacks.iter().enumerate() {
            for (j, b) in stacks.iter().enumerate() {
                assert_eq!(StackId::of(a) == StackId::of(b), i == j);
            }
        }
    }
}
