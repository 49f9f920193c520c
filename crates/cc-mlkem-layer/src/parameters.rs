//! The parameter sets of FIPS 203 that the layer offers.

use core::fmt;

use cc_root_group::{Curve, Suite};

/// ML-KEM-768 or ML-KEM-1024, FIPS 203 section 8, each with X25519 beside it. All members of a stack use
/// the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ParameterSet {
    /// Security category 3: the one that FIPS 203 recommends.
    MlKem768,
    /// Security category 5, with longer keys and ciphertexts.
    MlKem1024,
}

impl ParameterSet {
    /// Bytes of an encapsulation key of ML-KEM, FIPS 203 table 3.
    #[must_use]
    pub const fn encapsulation_key_len(self) -> usize {
        match self {
            Self::MlKem768 => 1184,
            Self::MlKem1024 => 1568,
        }
    }
}

impl Suite for ParameterSet {
    /// The number in the name of the parameter set.
    fn id(self) -> u16 {
        match self {
            Self::MlKem768 => 768,
            Self::MlKem1024 => 1024,
        }
    }

    fn from_id(id: u16) -> Option<Self> {
        match id {
            768 => Some(Self::MlKem768),
            1024 => Some(Self::MlKem1024),
            _ => None,
        }
    }

    fn curve(self) -> Curve {
        Curve::X25519
    }

    fn public_key_len(self) -> usize {
        self.encapsulation_key_len() + self.curve().public_key_len()
    }

    /// FIPS 203 table 3.
    fn ciphertext_len(self) -> usize {
        match self {
            Self::MlKem768 => 1088,
            Self::MlKem1024 => 1568,
        }
    }
}

impl fmt::Display for ParameterSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MlKem768 => "ML-KEM-768",
            Self::MlKem1024 => "ML-KEM-1024",
        })
    }
}
