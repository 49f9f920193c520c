//! Safety numbers: what two people compare.

use core::fmt;

use sha2::{Digest as _, Sha512};

use crate::{Client, Fault, PersonId};

impl Client {
    /// The number that this person and another compare, by reading it out or scanning it. It is the same
    /// on all their devices and in every group, and another one as soon as one of them replaces its keys.
    ///
    /// # Errors
    /// [`Fault::NoSuchPerson`], [`Fault::Store`].
    pub fn safety_number(&self, with: &PersonId) -> Result<SafetyNumber, Fault> {
        let other = self.state.contact(with)?.ok_or(Fault::NoSuchPerson(*with))?;
        let own = self.state.own_contact()?;
        Ok(SafetyNumber::between(own.keys()?.current(), other.keys()?.current()))
    }
}

/// 60 digits that two people compare to be sure that nobody is between them, 30 of each, the smaller
/// first, made as Signal's numeric fingerprints are: SHA-512 iterated 5200 times over the person's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetyNumber {
    digits: String,
    bytes: [u8; 65],
}

/// Iterations of the hash: what it costs to look for a key with nearly the same digits.
const ITERATIONS: usize = 5200;

impl SafetyNumber {
    pub(crate) fn between(a: &[u8; 32], b: &[u8; 32]) -> Self {
        let (first, second) = if a <= b { (a, b) } else { (b, a) };
        let digits = [half(first), half(second)].concat();
        let mut bytes = [1; 65];
        let keys = first.iter().chain(second);
        bytes.iter_mut().skip(1).zip(keys).for_each(|(byte, key)| *byte = *key);
        Self { digits, bytes }
    }

    /// For a QR code: a version and both keys. 65 bytes.
    #[must_use]
    pub const fn to_bytes(&self) -> &[u8; 65] {
        &self.bytes
    }

    /// Whether the other side's scanned bytes are the same.
    #[must_use]
    pub fn matches(&self, scanned: &[u8]) -> bool {
        self.bytes == scanned
    }
}

fn half(key: &[u8; 32]) -> String {
    let mut hash: [u8; 64] = Sha512::new()
        .chain_update(b"cc-client/1 safety number")
        .chain_update(key)
        .finalize()
        .into();
    for _ in 1..ITERATIONS {
        hash = Sha512::new().chain_update(hash).chain_update(key).finalize().into();
    }
    let chunks = hash.chunks_exact(5).take(6);
    chunks.fold(String::new(), |digits, chunk| {
        let number = chunk.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        format!("{digits}{:05}", number % 100_000)
    })
}

impl fmt::Display for SafetyNumber {
    /// Twelve groups of five digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, digit) in self.digits.chars().enumerate() {
            if at > 0 && at % 5 == 0 {
                f.write_str(" ")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}
