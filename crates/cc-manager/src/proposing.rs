//! Asking the others for a change, in a message that the stack seals, and taking note of what they ask
//! for.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use cc_core::{DecodeError, Kind, MemberId, random};
use tls_codec::{DeserializeBytes as _, SerializeBytes as _};

use crate::{
    CascadingCipherManager, Change, ChangeId, Error, Proposal, Proposed, Recipients,
    change_parts::{NewBundle, stage},
    persistence::When,
    proposal::Content,
    stack::Stack,
    state::{Intent, LeaveRequest, Noted, State},
};

/// Proposals of one member in one epoch.
const MAX_PROPOSALS_EACH: usize = 16;
/// Proposals of one epoch, of all members.
const MAX_PROPOSALS: usize = 256;

impl CascadingCipherManager {
    /// A message that asks the others to remove this member. The member stays until one of them
    /// commits, and can [stay](Self::cancel_leave) until then.
    ///
    /// Those who receive it in the epoch it was made in take note of it, until a commit removes this
    /// member. Who makes a commit before it received it does not: then
    /// [`ChangeSummary::leave_again`](crate::ChangeSummary::leave_again) says so, and this is to be
    /// called again.
    ///
    /// # Errors
    /// [`Error::NoGroupLayer`]; [`Error::SenderUnknown`] where no layer authenticates senders;
    /// [`Error::Layer`] outside a group.
    pub fn leave(&mut self) -> Result<Vec<u8>, Error> {
        self.propose(Proposal::Leave)
    }

    /// A message that tells the others that this member stays, after it asked to [`leave`](Self::leave).
    /// A commit that removes it may be on its way already.
    ///
    /// # Errors
    /// As [`leave`](Self::leave).
    pub fn cancel_leave(&mut self) -> Result<Vec<u8>, Error> {
        self.propose(Proposal::Stay)
    }

    /// A message that asks the others to add who made this key package bundle. It holds until the epoch
    /// ends.
    ///
    /// # Errors
    /// As [`leave`](Self::leave); [`Error::Decode`] and [`Error::Layer`] for a bundle that is malformed,
    /// over 64 KiB, or does not verify, [`Error::Disagreement`] for one of a member,
    /// [`Error::TooManyProposals`].
    pub fn propose_add(&mut self, key_package: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        self.propose(Proposal::Add(key_package.as_ref().to_vec()))
    }

    /// A message that asks the others to remove a member. It holds until the epoch ends.
    ///
    /// # Errors
    /// As [`leave`](Self::leave); [`Error::NoSuchMember`], [`Error::RemovesSelf`] for this member, and
    /// [`Error::TooManyProposals`].
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
    /// first; at most 16 by one member. Whoever stages a change decides which of them it commits.
    pub fn proposals(&self) -> impl Iterator<Item = &Proposed> {
        self.state.requests.proposed.values().map(|noted| &noted.proposed)
    }

    /// Other members that asked to be removed. The next change that this member stages removes them.
    pub fn leaving(&self) -> impl Iterator<Item = MemberId> {
        self.state.requests.leaving()
    }

    /// Whether this member asked to be removed, and did not take it back.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.state.requests.own_leave.leaves
    }

    /// Stages one change that does all that was [proposed](Self::proposals) and can still be done: a
    /// key package bundle that no longer verifies is left out.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub fn commit_proposals(&mut self) -> Result<Change, Error> {
        let mut intent = Intent::default();
        for noted in self.state.requests.proposed.values() {
            match (&noted.proposed.proposal, noted.adds) {
                (Proposal::Add(bundle), Some(member)) => {
                    intent.added.push((member, bundle.clone()));
                }
                // Somebody else has to commit that.
                (Proposal::Remove(member), _) if Some(*member) == self.member_id() => {}
                (Proposal::Remove(member), _) => {
                    intent.removed.insert(*member);
                }
                (Proposal::Add(_) | Proposal::Leave | Proposal::Stay, _) => {}
            }
        }
        let staged = self.stage_proposed(intent.clone());
        match staged {
            Err(Error::KeyPackage { .. } | Error::Layer { .. }) if !intent.added.is_empty() => {
                // A bundle that verified when it was proposed may have expired.
                intent.added.retain(|(_, bundle)| self.can_add(bundle));
                self.stage_proposed(intent)
            }
            staged => staged,
        }
    }

    fn stage_proposed(&mut self, mut intent: Intent) -> Result<Change, Error> {
        intent.update = intent.added.is_empty() && intent.removed.is_empty();
        self.stage_intent(intent, |_| {})
    }

    /// Whether every layer adds who made this bundle. Nothing is staged.
    fn can_add(&mut self, bundle: &[u8]) -> bool {
        let tried = self.transact_if(
            When::Now,
            |()| false,
            |stack, _, _| {
                let bundle = NewBundle::read(stack, bundle)?;
                stage(stack, ChangeId(random::array()?), &[bundle], &[]).map(drop)
            },
        );
        tried.is_ok()
    }

    fn propose(&mut self, proposal: Proposal) -> Result<Vec<u8>, Error> {
        self.expect_group_layer()?;
        if !self.stack.groups().any(|(_, group)| group.properties().authenticates_sender) {
            return Err(Error::SenderUnknown);
        }
        self.transact(When::Now, |stack, reports, draft| {
            let state = &mut draft.state;
            let mut number = 0;
            if let Proposal::Leave | Proposal::Stay = proposal {
                let own = &mut Arc::make_mut(&mut state.requests).own_leave;
                number = own.number.saturating_add(1);
                *own = LeaveRequest { number, leaves: proposal == Proposal::Leave };
            }
            let body = Content::new(&proposal, number);
            let body = body.tls_serialize_bytes().map_err(|_| DecodeError::TooLong)?;
            if let (Proposal::Add(_) | Proposal::Remove(_), Some(proposer)) =
                (&proposal, stack.member())
            {
                // Before anything is sealed that the others would refuse.
                note(stack, state, Proposed { proposer, proposal })?;
            }
            let wire = stack.seal(Kind::Proposal, &body, &[], reports)?;
            draft.send(&wire, stack.epoch(), &Recipients::Everyone)?;
            Ok(wire)
        })
    }
}

/// Takes note of a proposal that was opened, in the epoch it is of.
pub(crate) fn process_proposal(
    stack: &Stack,
    state: &mut State,
    body: &[u8],
    sender: Option<MemberId>,
) -> Result<Proposed, Error> {
    let content = Content::tls_deserialize_exact_bytes(body).map_err(|_| DecodeError::Malformed)?;
    // Another member: nobody asks itself.
    let another =
        |sender: &MemberId| Some(*sender) != stack.member() && stack.member_ids().contains(sender);
    let proposer = sender.filter(another).ok_or(Error::Disagreement)?;
    let (proposal, number) = content.into_proposal().ok_or(DecodeError::Malformed)?;
    let proposed = Proposed { proposer, proposal };
    match proposed.proposal {
        Proposal::Leave | Proposal::Stay => {
            let leaves = proposed.proposal == Proposal::Leave;
            let requests = Arc::make_mut(&mut state.requests);
            requests.note_leave(proposer, LeaveRequest { number, leaves });
        }
        Proposal::Add(_) | Proposal::Remove(_) => note(stack, state, proposed.clone())?,
    }
    Ok(proposed)
}

/// Takes note of an addition or a removal. Who is to be added is added once, by the first bundle that
/// verifies.
fn note(stack: &Stack, state: &mut State, proposed: Proposed) -> Result<(), Error> {
    let members = stack.member_ids();
    let adds = match &proposed.proposal {
        Proposal::Add(bundle) => {
            let bundle = NewBundle::read(stack, bundle)?;
            if members.contains(&bundle.id) {
                return Err(Error::Disagreement);
            }
            bundle.verify(stack)?;
            Some(bundle.id)
        }
        Proposal::Remove(member) if !members.contains(member) => return Err(Error::Disagreement),
        Proposal::Remove(_) | Proposal::Leave | Proposal::Stay => None,
    };
    let known = &state.requests.proposed;
    let same = |noted: &Noted| match adds {
        Some(_) => noted.adds == adds,
        None => noted.proposed.proposal == proposed.proposal,
    };
    if known.values().any(|noted| same(noted)) {
        return Ok(());
    }
    let displaced = place_for(known, proposed.proposer)?;
    let requests = Arc::make_mut(&mut state.requests);
    if let Some(displaced) = displaced {
        requests.proposed.remove(&displaced);
    }
    requests.proposed.insert(state.next_entry, Arc::new(Noted { proposed, adds }));
    state.next_entry += 1;
    Ok(())
}

/// Finds a place for one more proposal of `proposer`: `Some` with the one to forget for it. Where there
/// is no room for everybody's, it is the newest of who has the most, so that nobody keeps others out.
fn place_for(
    proposed: &BTreeMap<u64, Arc<Noted>>,
    proposer: MemberId,
) -> Result<Option<u64>, Error> {
    let mut counts = BTreeMap::<MemberId, (usize, u64)>::new();
    for (number, noted) in proposed {
        let (count, newest) = counts.entry(noted.proposed.proposer).or_default();
        (*count, *newest) = (*count + 1, *number);
    }
    let own = counts.get(&proposer).map_or(0, |(count, _)| *count);
    if own >= MAX_PROPOSALS_EACH {
        return Err(Error::TooManyProposals(proposer));
    }
    if proposed.len() < MAX_PROPOSALS {
        return Ok(None);
    }
    let most = counts.values().max().copied();
    match most {
        Some((count, newest)) if count > own + 1 => Ok(Some(newest)),
        _ => Err(Error::TooManyProposals(proposer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proposals of these members, by the first byte of their ids, in this order.
    fn proposals(proposers: impl IntoIterator<Item = u8>) -> BTreeMap<u64, Arc<Noted>> {
        let noted = |proposer| {
            let proposal = Proposal::Remove(id(0));
            Arc::new(Noted { proposed: Proposed { proposer: id(proposer), proposal }, adds: None })
        };
        (0..).zip(proposers.into_iter().map(noted)).collect()
    }

    fn id(byte: u8) -> MemberId {
        MemberId::from_bytes([byte; 32])
    }

    #[test]
    fn a_member_has_its_share_and_no_more() {
        let full = proposals([1; MAX_PROPOSALS_EACH]);
        let refused = place_for(&full, id(1));
        assert!(matches!(refused, Err(Error::TooManyProposals(member)) if member == id(1)));
        assert_eq!(place_for(&full, id(2)).ok(), Some(None));
    }

    /// However many members fill the room together, one more gets some of it.
    #[test]
    fn whoever_has_the_most_makes_room() {
        let each = u8::try_from(MAX_PROPOSALS / MAX_PROPOSALS_EACH).unwrap_or(u8::MAX);
        let full = proposals((0..each).flat_map(|member| [member; MAX_PROPOSALS_EACH]));
        assert_eq!(full.len(), MAX_PROPOSALS);
        let newest = full.keys().next_back().copied();
        assert_eq!(place_for(&full, id(200)).ok(), Some(newest));
        // Nobody is displaced for who has as much.
        let mut even = full;
        even.retain(|_, noted| noted.proposed.proposer != id(0));
        let next = MAX_PROPOSALS as u64;
        let fifteen = proposals([200; MAX_PROPOSALS_EACH - 1]);
        even.extend(fifteen.into_iter().map(|(number, noted)| (next + number, noted)));
        let one = proposals([201]).into_values().map(|noted| (2 * next, noted));
        even.extend(one);
        assert_eq!(even.len(), MAX_PROPOSALS);
        assert!(place_for(&even, id(200)).is_err());
        assert!(place_for(&even, id(201)).is_ok());
    }
}
