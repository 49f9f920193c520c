//! Safety numbers: what two people compare to know that nobody is between them.
//!
//! The construction is Signal's numeric fingerprint: each side's identity keys and identifier are
//! hashed 5200 times with SHA-512, the first 30 bytes become 30 digits, and the two halves are put
//! in ascending order, so that both sides see the same 60 digits. (The numbers differ from those
//! of Signal's application: an identity here is two keys of 64 bytes together.)

use core::fmt;

use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;

use crate::{Error, codec::Reader, identity::IdentityKey};

/// The safety number of two people. `Display` gives the 60 digits in twelve groups of five.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SafetyNumber {
    /// The smaller one first.
    halves: [[u8; 32]; 2],
}

impl SafetyNumber {
    /// The length of [`SafetyNumber::to_bytes`].
    pub const LEN: usize = 65;

    /// The safety number of two identities. An identifier is what the application calls a person
    /// permanently: an account number, an address. The order of the two people does not matter.
    ///
    /// Takes some milliseconds, on purpose.
    #[must_use]
    pub fn new(a: &IdentityKey, a_name: &[u8], b: &IdentityKey, b_name: &[u8]) -> Self {
        let mut halves = [half(a, a_name), half(b, b_name)];
        halves.sort_unstable();
        Self { halves }
    }

    /// The bytes for a QR code, 65: a version and 32 bytes for each side. The same on both sides.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [VERSION; Self::LEN];
        for (byte, value) in bytes.iter_mut().skip(1).zip(self.halves.as_flattened()) {
            *byte = *value;
        }
        bytes
    }

    /// Compares with the bytes of a scanned code.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`] or [`Error::Malformed`] when these are not the bytes of a safety
    /// number. A number that differs is not an error but `false`.
    pub fn matches(&self, scanned: &[u8]) -> Result<bool, Error> {
        let mut reader = Reader::new(scanned);
        match reader.u8()? {
            VERSION => {}
            version => return Err(Error::UnknownVersion(version)),
        }
        let halves = reader.take(64)?;
        reader.finish()?;
        Ok(self.halves.as_flattened().ct_eq(halves).into())
    }
}

impl fmt::Display for SafetyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = self.halves.iter().flat_map(|half| half.as_chunks::<5>().0.iter().take(6));
        for (index, group) in groups.enumerate() {
            let number = group.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{:05}", number % 100_000)?;
        }
        Ok(())
    }
}

fn half(identity: &IdentityKey, name: &[u8]) -> [u8; 32] {
    let keys = identity.keys();
    let mut hash =
        Sha512::new().chain_update([0, VERSION]).chain_update(keys).chain_update(name).finalize();
    for _ in 0..ITERATIONS {
        hash = Sha512::new().chain_update(hash).chain_update(keys).finalize();
    }
    let mut half = [0; 32];
    for (byte, value) in half.iter_mut().zip(hash) {
        *byte = value;
    }
    half
}

const VERSION: u8 = 1;
const ITERATIONS: u32 = 5200;

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec::Vec};

    use super::*;
    use crate::{entropy::Fixed, identity::IdentityKeyPair};

    fn identity(seed: &[u8]) -> IdentityKey {
        *IdentityKeyPair::generate_from(&mut Fixed::new(seed)).unwrap().public()
    }

    #[test]
    fn both_sides_see_the_same_and_others_do_not() {
        let (alice, bob, eve) = (identity(b"alice"), identity(b"bob"), identity(b"eve"));
        let number = SafetyNumber::new(&alice, b"+1", &bob, b"+2");
        let theirs = SafetyNumber::new(&bob, b"+2", &alice, b"+1");
        assert_eq!(number, theirs);
        assert_eq!(number.matches(&theirs.to_bytes()), Ok(true));
        for other in [
            SafetyNumber::new(&alice, b"+1", &eve, b"+2"),
            SafetyNumber::new(&alice, b"+1", &bob, b"+3"),
            SafetyNumber::new(&alice, b"+2", &bob, b"+1"),
        ] {
            assert_ne!(number.to_string(), other.to_string());
            assert_eq!(number.matches(&other.to_bytes()), Ok(false));
        }
    }

    #[test]
    fn sixty_digits_and_a_strict_code() {
        let number = SafetyNumber::new(&identity(b"a"), b"", &identity(b"b"), b"");
        let text = number.to_string();
        let groups: Vec<&str> = text.split(' ').collect();
        assert_eq!(groups.len(), 12);
        assert!(groups.iter().all(|g| g.len() == 5 && g.bytes().all(|b| b.is_ascii_digit())));
        let mut code = number.to_bytes().to_vec();
        code.push(0);
        assert_eq!(number.matches(&code), Err(Error::Malformed));
        code.truncate(64);
        assert_eq!(number.matches(&code), Err(Error::Malformed));
        assert_eq!(number.matches(&[9; 65]), Err(Error::UnknownVersion(9)));
    }
}
