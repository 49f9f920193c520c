//! What is in the outbox, for the application to send.

use alloc::vec::Vec;

use cc_core::{Kind, MemberId};

/// What was made to be sent and is not known to be with the delivery service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxEntry {
    /// A message, a proposal or a welcome.
    pub kind: Kind,
    /// The epoch in which it was made; of a welcome the one that it leads to. `None` in a stack without
    /// group layers.
    pub epoch: Option<u64>,
    /// For whom it is.
    pub recipients: Recipients,
    /// The bytes to be sent.
    pub bytes: Vec<u8>,
}

/// For whom something in the outbox is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Recipients {
    /// The other members of the group, or the other end of a pair.
    Everyone,
    /// These members: those whom a change added, sorted by id.
    Members(Vec<MemberId>),
}

impl AsRef<[u8]> for OutboxEntry {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
