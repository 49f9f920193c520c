//! Proposals: what a member asks the others to commit, and how it is encoded.

use alloc::{format, vec::Vec};

use cc_core::{MemberId, Opaque};
use tls_codec::{TlsDeserializeBytes, TlsSerializeBytes, TlsSize};

/// What a member asks for. Whoever commits next may do it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Proposal {
    /// Its own removal. Any change that is staged by who knows of it commits it.
    Leave,
    /// To stay after all, although it asked to [leave](Self::Leave).
    Stay,
    /// The addition of who made this key package bundle, in this epoch.
    Add(Vec<u8>),
    /// The removal of another member, in this epoch.
    Remove(MemberId),
}

/// A proposal and who made it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Proposed {
    /// Who asks.
    pub proposer: MemberId,
    /// For what.
    pub proposal: Proposal,
}

/// A proposal as it is encoded, in messages and in records.
#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct Content {
    kind: u8,
    value: Opaque,
}

impl Content {
    /// `number` is that of the proposer's request to leave or stay, and of nothing else.
    pub(crate) fn new(proposal: &Proposal, number: u64) -> Self {
        let number = number.to_be_bytes();
        let (kind, value) = match proposal {
            Proposal::Leave => (1, number.as_slice()),
            Proposal::Add(bundle) => (2, bundle.as_slice()),
            Proposal::Remove(member) => (3, member.as_bytes().as_slice()),
            Proposal::Stay => (4, number.as_slice()),
        };
        Self { kind, value: value.into() }
    }

    /// The proposal, and the number of a request to leave or stay, otherwise 0. `None` for a kind that
    /// this version does not have, or a value that is not of the kind.
    pub(crate) fn into_proposal(self) -> Option<(Proposal, u64)> {
        let value = self.value.0;
        let number = |value: Vec<u8>| Some(u64::from_be_bytes(value.try_into().ok()?));
        Some(match self.kind {
            1 => (Proposal::Leave, number(value)?),
            2 => (Proposal::Add(value), 0),
            3 => (Proposal::Remove(MemberId::from_bytes(value.try_into().ok()?)), 0),
            4 => (Proposal::Stay, number(value)?),
            _ => return None,
        })
    }
}
