//! Proposals: what a member asks the others to commit, in a message that the stack seals.

use alloc::{format, sync::Arc, vec::Vec};

use cc_core::{DecodeError, Kind, MemberId, Opaque};
use tls_codec::{
    DeserializeBytes as _, SerializeBytes as _, TlsDeserializeBytes, TlsSerializeBytes, TlsSize,
};

use crate::{
    CascadingCipherManager, Change, Error, change_parts::NewBundle, persistence::When,
    stack::Stack, state::State,
};

/// Proposals of one epoch that a member remembers.
const MAX_PROPOSALS: usize = 64;
/// Bytes of a key package bundle in a proposal.
const MAX_BUNDLE_LEN: usize = 64 << 10;

/// What a member asks for. Whoever commits next may do it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proposal {
    /// Its own removal, which holds until it is committed. Any change that is staged commits it.
    Leave,
    /// The addition of who made this key package bundle, in this epoch.
    Add(Vec<u8>),
    /// The removal of another member, in this epoch.
    Remove(MemberId),
}

/// A proposal and who made it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Proposed {
    /// Who asks.
    pub proposer: MemberId,
    /// For what.
    pub proposal: Proposal,
}

impl CascadingCipherManager {
    /// A message that asks the others to remove this member. The member stays until one of them
    /// commits.
    ///
    /// # Errors
    /// [`Error::NoGroupLayer`]; [`Error::SenderUnknown`] where no layer authenticates senders;
    /// [`Error::Layer`] outside a group.
    pub fn leave(&mut self) -> Result<Vec<u8>, Error> {
        self.propose(Proposal::Leave)
    }

    /// A message that asks the others to add who made this key package bundle. It holds until the epoch
    /// ends.
    ///
    /// # Errors
    /// As [`leave`](Self::leave); [`Error::Decode`] and [`Error::Layer`] for a bundle that is malformed
    /// or over 64 KiB,
    /// [`Error::Disagreement`] for one of a member.
    pub fn propose_add(&mut self, key_package: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        self.propose(Proposal::Add(key_package.as_ref().to_vec()))
    }

    /// A message that asks the others to remove a member. It holds until the epoch ends.
    ///
    /// # Errors
    /// As [`leave`](Self::leave); [`Error::NoSuchMember`], and [`Error::RemovesSelf`] for this member.
    pub fn propose_remove(&mut self, member: MemberId) -> Result<Vec<u8>, Error> {
        if Some(member) == self.member_id() {
            return Err(Error::RemovesSelf);
        }
        if !self.stack.member_ids().contains(&member) {
            return Err(Error::NoSuchMember(member));
        }
        self.propose(Proposal::Remove(member))
    }

    /// The additions and removals that were proposed in this epoch, by this member as well, oldest
    /// first. Whoever stages a change decides which of them it commits.
    pub fn proposals(&self) -> impl Iterator<Item = &Proposed> {
        self.state.roster.proposed.iter()
    }

    /// Members that asked to be removed. The next change that this member stages removes them.
    pub fn leaving(&self) -> impl Iterator<Item = MemberId> {
        self.state.roster.leaving.iter().copied()
    }

    /// Stages one change that does all that was [proposed](Self::proposals).
    ///
    /// # Errors
    /// As [`change`](Self::change). A bundle that does not verify fails it: choose then, and call
    /// `change`.
    pub fn commit_proposals(&mut self) -> Result<Change, Error> {
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for proposed in &self.state.roster.proposed {
            match &proposed.proposal {
                Proposal::Leave => {}
                Proposal::Add(bundle) => added.push(bundle.clone()),
                // Somebody else has to commit that.
                Proposal::Remove(member) if Some(*member) == self.member_id() => {}
                Proposal::Remove(member) => removed.push(*member),
            }
        }
        self.change(added, removed)
    }

    fn propose(&mut self, proposal: Proposal) -> Result<Vec<u8>, Error> {
        self.expect_group_layer()?;
        if !self.stack.groups().any(|(_, group)| group.properties().authenticates_sender) {
            return Err(Error::SenderUnknown);
        }
        self.transact(When::Now, |stack, reports, draft| {
            let epoch = stack.epoch().unwrap_or(0);
            let body = Body { epoch, content: Content::of(&proposal) };
            let body = body.tls_serialize_bytes().map_err(|_| DecodeError::TooLong)?;
            let wire = stack.seal(Kind::Proposal, &body, &[], reports)?;
            if let Some(proposer) = stack.member().filter(|_| proposal != Proposal::Leave) {
                note(stack, &mut draft.state, &Proposed { proposer, proposal })?;
            }
            draft.send(&wire);
            Ok(wire)
        })
    }
}

/// Takes note of a proposal that was opened.
pub(crate) fn process_proposal(
    stack: &Stack,
    state: &mut State,
    body: &[u8],
    sender: Option<MemberId>,
) -> Result<Proposed, Error> {
    let Body { epoch: made_in, content } =
        Body::tls_deserialize_exact_bytes(body).map_err(|_| DecodeError::Malformed)?;
    let epoch = stack.epoch().unwrap_or(0);
    let proposer =
        sender.filter(|sender| stack.member_ids().contains(sender)).ok_or(Error::Disagreement)?;
    let proposal = content.into_proposal().ok_or(DecodeError::Malformed)?;
    let in_time = match proposal {
        Proposal::Leave => state.may_leave(&proposer, made_in, epoch),
        Proposal::Add(_) | Proposal::Remove(_) => made_in == epoch,
    };
    if !in_time {
        return Err(Error::Disagreement);
    }
    let proposed = Proposed { proposer, proposal };
    note(stack, state, &proposed)?;
    Ok(proposed)
}

fn note(stack: &Stack, state: &mut State, proposed: &Proposed) -> Result<(), Error> {
    let members = stack.member_ids();
    match &proposed.proposal {
        Proposal::Leave => {
            Arc::make_mut(&mut state.roster).leaving.insert(proposed.proposer);
            return Ok(());
        }
        Proposal::Add(bundle) if bundle.len() > MAX_BUNDLE_LEN => {
            return Err(DecodeError::TooLong.into());
        }
        Proposal::Add(bundle) if members.contains(&NewBundle::read(stack, bundle)?.id) => {
            return Err(Error::Disagreement);
        }
        Proposal::Remove(member) if !members.contains(member) => return Err(Error::Disagreement),
        Proposal::Add(_) | Proposal::Remove(_) => {}
    }
    if state.roster.proposed.iter().any(|known| known.proposal == proposed.proposal) {
        return Ok(());
    }
    if state.roster.proposed.len() == MAX_PROPOSALS {
        return Err(DecodeError::TooLong.into());
    }
    Arc::make_mut(&mut state.roster).proposed.push(proposed.clone());
    Ok(())
}

/// The plaintext of a proposal.
#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct Body {
    epoch: u64,
    content: Content,
}

/// A proposal as it is encoded, in messages and in records.
#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct Content {
    what: u8,
    value: Opaque,
}

impl Content {
    pub(crate) fn of(proposal: &Proposal) -> Self {
        let (what, value) = match proposal {
            Proposal::Leave => (1, &[][..]),
            Proposal::Add(bundle) => (2, bundle.as_slice()),
            Proposal::Remove(member) => (3, member.as_bytes().as_slice()),
        };
        Self { what, value: value.into() }
    }

    /// `None` for a kind that this version does not have, or a value that is not of the kind.
    pub(crate) fn into_proposal(self) -> Option<Proposal> {
        match (self.what, self.value.0) {
            (1, value) if value.is_empty() => Some(Proposal::Leave),
            (2, bundle) => Some(Proposal::Add(bundle)),
            (3, member) => Some(Proposal::Remove(MemberId::from_bytes(member.try_into().ok()?))),
            _ => None,
        }
    }
}
