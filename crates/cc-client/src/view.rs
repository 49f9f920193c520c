//! What is to be seen of a group, and safety numbers.

use core::fmt;
use std::sync::Arc;

use cc_core::MemberId;
use sha2::{Digest as _, Sha512};

use crate::{Client, GroupId, Person, Position};

/// A group as it was when this was taken. Cheap to copy, and it holds nothing open.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupView {
    /// Its id.
    pub id: GroupId,
    /// What it is called.
    pub title: String,
    /// The epoch, `None` for who is not a member (any more).
    pub epoch: Option<u64>,
    /// All members, this person included.
    pub members: Arc<[Person]>,
    /// How far its log was read.
    pub cursor: Position,
    /// Where in its log this person joined (again).
    pub joined_at: Position,
    /// Whether this person is a member, in step with the others as far as is known.
    pub in_step: bool,
    /// What all members have in common in this epoch, for people to compare.
    pub authenticator: Option<[u8; 32]>,
}

impl Client {
    /// The groups that this person is in, or was.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> {
        self.state.groups.keys().copied()
    }

    /// The number that this person and another compare, by reading it out or scanning it. It is the same
    /// in every group, and another one as soon as one of them has other keys.
    #[must_use]
    pub fn safety_number(&self, with: &MemberId) -> SafetyNumber {
        SafetyNumber::between(&self.identity.id, with)
    }
}

/// 60 digits that two people compare to be sure that nobody is between them, 30 of each, the smaller
/// first, made as Signal's numeric fingerprints are: SHA-512 iterated 5200 times over the member id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetyNumber {
    digits: String,
    bytes: [u8; 65],
}

/// Iterations of the hash: what it costs to look for an id with nearly the same digits.
const ITERATIONS: usize = 5200;

impl SafetyNumber {
    fn between(a: &MemberId, b: &MemberId) -> Self {
        let (first, second) = if a <= b { (a, b) } else { (b, a) };
        let digits = [half(first), half(second)].concat();
        let mut bytes = [1; 65];
        let ids = first.as_bytes().iter().chain(second.as_bytes());
        bytes.iter_mut().skip(1).zip(ids).for_each(|(byte, id)| *byte = *id);
        Self { digits, bytes }
    }

    /// For a QR code: a version and both ids. 65 bytes.
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

fn half(id: &MemberId) -> String {
    let mut hash: [u8; 64] = Sha512::new()
        .chain_update(b"cc-client/1 safety number")
        .chain_update(id.as_bytes())
        .finalize()
        .into();
    for _ in 1..ITERATIONS {
        hash = Sha512::new().chain_update(hash).chain_update(id.as_bytes()).finalize().into();
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
