//! The two curves.

use core::fmt;

/// The curve of a key. All members of a stack use the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Curve {
    /// Curve25519 in Montgomery form, RFC 7748. The faster one.
    X25519,
    /// NIST P-256 (secp256r1), SP 800-186. For those who must.
    P256,
}

impl Curve {
    /// The number of the TLS named group, RFC 8446 section 4.2.7: what keys on the wire carry.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::X25519 => 0x001d,
            Self::P256 => 0x0017,
        }
    }

    /// The curve with this [`id`](Self::id).
    #[must_use]
    pub const fn from_id(id: u16) -> Option<Self> {
        match id {
            0x001d => Some(Self::X25519),
            0x0017 => Some(Self::P256),
            _ => None,
        }
    }

    /// Bytes of a public key: 32 for X25519, 65 for P-256 (SEC 1, uncompressed).
    #[must_use]
    pub const fn public_key_len(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::P256 => 65,
        }
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X25519 => "X25519",
            Self::P256 => "P-256",
        })
    }
}
