//! A group over Sender Keys: who is in it, whose chain is known, and who lacks one's own.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};

use cc_core::{
    Attachment, Buffer, ChangeParts, ChangeRequest, CommitOutcome, Contribution, LayerContext,
    LayerError, Member, MemberId, Opened, PartContext, SecretBytes, Standing, limits::MAX_MEMBERS,
};
use sha2::{Digest, Sha256};

use crate::{
    Account, Agree, Bundle, Error, IdentityKey, Limits, SenderChain, SenderKeys, Sessions,
    layer::not_applied, sessions,
};

mod before;
mod commit;
mod in_force;
mod key_package;
mod message;
mod saved;
mod welcome;

use before::Before;
use commit::Commit;
use key_package::{KeyPackage, Newcomer};
pub(crate) use key_package::{
    commitment_in as key_package_commitment, verify_part as verify_key_package,
};
use message::{Front, Received, Via};
use saved::{Part, Touched};

/// How many messages carry this member's chain to one who has not acknowledged it. As many carry
/// the acknowledgement of another's.
pub const DISTRIBUTION_REPEATS: u8 = 4;

/// The group mode of the layer.
pub(crate) struct Group {
    account: Account,
    limits: Limits,
    state: State,
    /// What `apply` keeps and `revert` drops.
    staged: Staged,
    /// How to go back from what was saved, until it is applied.
    before: Option<Before>,
}

/// Everything that outlives a message, beside the account.
#[derive(Default)]
struct State {
    /// This member, once the layer has its place.
    me: Option<MemberId>,
    phase: Phase,
    /// How often the group has changed.
    epoch: u64,
    /// The other members; after a removal of this one, those of the time before.
    peers: BTreeMap<MemberId, Peer>,
    /// All chains; made when the layer gets its place.
    keys: Option<SenderKeys>,
    /// The number of one's own chain: the epoch it was made in. A chain is replaced at most once for
    /// each, so a member's chains have ascending numbers, also when it went and came back.
    generation: u64,
    /// Who lacks one's own chain.
    owed: BTreeMap<MemberId, Owed>,
    /// Whose chain is to be acknowledged.
    acks: BTreeMap<MemberId, Ack>,
    /// A change of this member's that is neither confirmed nor discarded.
    plan: Option<Plan>,
    /// What the store does not have yet.
    touched: Touched,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Outside,
    Member,
    Removed,
}

/// Another member.
struct Peer {
    /// For sessions that are still to begin.
    bundle: Arc<Bundle>,
    sessions: Sessions,
    /// The numbers of the peer's chains that are known, as [`SenderKeys`] has them.
    generations: Vec<u64>,
    /// No chain with a smaller number is taken any more: those that were known have opened messages
    /// that must not open again.
    floor: u64,
}

/// What a member is owed: the own chain as it was at that moment.
struct Owed {
    distribution: SecretBytes,
    sent: u8,
}

#[derive(Clone, Copy)]
struct Ack {
    chain: [u8; 8],
    sent: u8,
}

struct Plan {
    transition: Transition,
    /// The group was founded only for this change: without the change there is none.
    founds: bool,
}

/// From one epoch to the next. Made beforehand, so that taking it cannot fail.
struct Transition {
    epoch: u64,
    added: Vec<(MemberId, Peer)>,
    removed: Vec<MemberId>,
    removed_self: bool,
    /// The own chain from now on, where it is rotated.
    chain: Option<SenderChain>,
}

/// A group that a welcome led into.
struct Joined {
    epoch: u64,
    peers: BTreeMap<MemberId, Peer>,
    keys: SenderKeys,
    committer: MemberId,
    /// The session with the committer, which the welcome began.
    session: sessions::Staged,
}

#[derive(Default)]
struct Staged {
    /// The place, and whether a group of this member alone is founded in it.
    place: Option<(MemberId, bool)>,
    /// The group is founded for the change that is staged along with it.
    founds: bool,
    received: Option<Received>,
    /// Who was handed the chain, and whose chain was acknowledged.
    sent: Vec<MemberId>,
    acked: Vec<MemberId>,
    next: Option<Next>,
}

enum Next {
    Plan(Plan),
    Confirm,
    Discard,
    Commit(Transition),
    Join(Box<Joined>),
}

impl Group {
    pub(crate) fn new(account: Account, limits: Limits) -> Self {
        let (state, staged) = (State::default(), Staged::default());
        Self { account, limits, state, staged, before: None }
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    pub(crate) fn into_account(self) -> Account {
        self.account
    }

    pub(crate) fn account_mut(&mut self) -> &mut Account {
        self.state.touched.add(Part::Account);
        &mut self.account
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn identity_of(&self, member: MemberId) -> Option<&IdentityKey> {
        self.state.peers.get(&member).map(|peer| peer.sessions.peer())
    }

    /// Takes the place and founds the group where this member is to. A second call with the same
    /// place changes nothing.
    pub(crate) fn attach(&mut self, place: &Attachment) -> Result<(), LayerError> {
        let Some(me) = place.member else {
            return Err(LayerError::misuse("a group layer needs a member id"));
        };
        let renamed = self.state.me.is_some_and(|old| old != me);
        let founds = match self.state.phase {
            Phase::Outside => place.founding,
            Phase::Member if renamed && !self.state.peers.is_empty() => {
                return Err(LayerError::misuse(
                    "the other members know this one by another id: found a new group, or leave \
                     the group layers of the stack as they are",
                ));
            }
            // Alone in the group, and under a new id: as good as a new group.
            Phase::Member => renamed,
            Phase::Removed => false,
        };
        if self.state.keys.is_none() {
            // Nobody knows this chain yet, so it may stay when the place is refused.
            self.state.keys = Some(SenderKeys::generate(me.as_bytes(), self.limits)?);
            self.state.touched.add(Part::Own);
        }
        self.staged.place = Some((me, founds));
        Ok(())
    }

    pub(crate) fn standing(&self) -> Standing {
        if self.staged.place.is_some_and(|(_, founds)| founds) {
            return Standing::Member { epoch: 0 };
        }
        let state = &self.state;
        match &self.staged.next {
            Some(Next::Commit(transition)) if transition.removed_self => Standing::Removed,
            Some(Next::Commit(transition)) => Standing::Member { epoch: transition.epoch },
            Some(Next::Join(joined)) => Standing::Member { epoch: joined.epoch },
            Some(Next::Confirm) => {
                let epoch = state.plan.as_ref().map_or(state.epoch, |plan| plan.transition.epoch);
                Standing::Member { epoch }
            }
            Some(Next::Discard) if state.plan.as_ref().is_some_and(|plan| plan.founds) => {
                Standing::Outside
            }
            Some(Next::Plan(_) | Next::Discard) | None => match state.phase {
                Phase::Outside if self.staged.founds => Standing::Member { epoch: 0 },
                Phase::Outside => Standing::Outside,
                Phase::Member => Standing::Member { epoch: state.epoch },
                Phase::Removed => Standing::Removed,
            },
        }
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        if !matches!(self.standing(), Standing::Member { .. }) {
            return Vec::new();
        }
        let me = self.me().ok().map(|me| (me, self.account.identity()));
        let transition = match &self.staged.next {
            Some(Next::Commit(transition)) => Some(transition),
            Some(Next::Confirm) => self.state.plan.as_ref().map(|plan| &plan.transition),
            _ => None,
        };
        let (peers, removed, added) = match (&self.staged.next, transition) {
            (Some(Next::Join(joined)), _) => (&joined.peers, BTreeSet::new(), &[][..]),
            (_, Some(t)) => (&self.state.peers, t.removed.iter().collect(), &t.added[..]),
            (_, None) => (&self.state.peers, BTreeSet::new(), &[][..]),
        };
        let stay = peers.iter().filter(|(id, _)| !removed.contains(id));
        let known = stay.chain(added.iter().map(|(id, peer)| (id, peer)));
        me.into_iter()
            .chain(known.map(|(id, peer)| (*id, peer.sessions.peer())))
            .map(|(id, key)| Member { id, name: None, commitment: commitment(&key.keys()) })
            .collect()
    }

    pub(crate) fn key_package(&mut self, context: &PartContext<'_>) -> Result<Vec<u8>, LayerError> {
        let me = self.me()?;
        self.state.touched.add(Part::Account);
        if self.account.unpublished() == 0 {
            self.account.replenish(1)?;
        }
        // A one-time key that was given out once stays given out, also when this is reverted.
        let one_time = self.account.one_time_bundles(1).pop();
        Ok(KeyPackage::sign(&self.account, &me, &context.binding, one_time.as_ref()))
    }

    pub(crate) fn stage_change(
        &mut self,
        request: &ChangeRequest<'_>,
        context: &PartContext<'_>,
    ) -> Result<ChangeParts, LayerError> {
        let me = self.me()?;
        if self.state.plan.is_some() || self.staged.next.is_some() {
            return Err(LayerError::misuse("confirm or discard the staged change first"));
        }
        let (epoch, founds) = match self.standing() {
            Standing::Member { epoch } => (epoch, false),
            // Whoever adds the first member founds the group.
            Standing::Outside => (0, true),
            Standing::Removed => return Err(removed()),
        };
        let epoch = epoch
            .checked_add(1)
            .ok_or_else(|| LayerError::misuse("no epoch comes after this one"))?;
        if request.removed.contains(&me) {
            return Err(LayerError::misuse("leave the group instead of removing oneself"));
        }
        if request.added.len() > MAX_MEMBERS {
            return Err(LayerError::misuse(TOO_MANY));
        }
        let mut removed = request.removed.to_vec();
        removed.sort_unstable();
        let mut newcomers = Vec::with_capacity(request.added.len());
        for new in request.added {
            newcomers.push(KeyPackage::verify(new)?);
        }
        newcomers.sort_unstable_by_key(|new| new.0.id);
        self.check_change(me, &removed, newcomers.iter().map(|new| &new.0))
            .map_err(LayerError::misuse)?;

        let mut added = Vec::with_capacity(newcomers.len());
        for (new, one_time) in &newcomers {
            let mut peer = Peer::new(Arc::new(new.bundle.clone()), self.limits, epoch);
            let bundle = one_time.as_ref().unwrap_or(&new.bundle);
            peer.sessions.begin(&self.account, bundle, Agree::Pqxdh)?;
            added.push((new.id, peer));
        }
        let welcome = if added.is_empty() {
            Vec::new()
        } else {
            self.welcome(me, epoch, &removed, &mut added, &context.binding)?
        };
        let rotate = added.is_empty() || !removed.is_empty();
        let chain = if rotate { Some(SenderChain::generate(me.as_bytes())?) } else { None };
        let added_parts = newcomers.into_iter().map(|new| new.0).collect();
        let commit = Commit { binding: context.binding, epoch, added: added_parts, removed };
        let part = commit.encode();
        let removed = commit.removed;
        let transition = Transition { epoch, added, removed, removed_self: false, chain };
        self.staged.founds = founds;
        self.staged.next = Some(Next::Plan(Plan { transition, founds }));
        Ok(ChangeParts { commit: part, welcome })
    }

    pub(crate) fn next_contribution(&self) -> Result<Option<Contribution>, LayerError> {
        let pending = match &self.staged.next {
            Some(Next::Discard) => false,
            Some(_) => true,
            None => self.state.plan.is_some(),
        };
        if pending { Ok(None) } else { Err(no_change()) }
    }

    pub(crate) fn confirm_change(&mut self) -> Result<(), LayerError> {
        match self.staged.next.take() {
            // Staged and confirmed in one transaction is as good as processed.
            Some(Next::Plan(plan)) => {
                self.staged.next = Some(Next::Commit(plan.transition));
                Ok(())
            }
            None if self.state.plan.is_some() => {
                self.staged.next = Some(Next::Confirm);
                Ok(())
            }
            other => {
                self.staged.next = other;
                Err(no_change())
            }
        }
    }

    pub(crate) fn discard_change(&mut self) {
        match self.staged.next.take() {
            Some(Next::Plan(_)) => self.staged.founds = false,
            Some(Next::Confirm) | None if self.state.plan.is_some() => {
                self.staged.next = Some(Next::Discard);
            }
            other => self.staged.next = other,
        }
    }

    pub(crate) fn process_commit(
        &mut self,
        part: &[u8],
        context: &PartContext<'_>,
    ) -> Result<CommitOutcome, LayerError> {
        let me = self.me()?;
        self.expect_member()?;
        if self.staged.next.is_some() {
            return Err(LayerError::misuse("one change at a time"));
        }
        // The part travels inside a message: whose it is, opening that has proved.
        let committer = match &self.staged.received {
            Some(received) => received.sender,
            None => return Err(LayerError::rejected()),
        };
        let commit = Commit::decode(part)?;
        let next = self.state.epoch.checked_add(1).ok_or(LayerError::rejected())?;
        if commit.binding != context.binding
            || commit.epoch < next
            || !self.state.peers.contains_key(&committer)
            || commit.removed.binary_search(&committer).is_ok()
        {
            return Err(LayerError::rejected());
        }
        if commit.epoch > next {
            return Err(LayerError::early(None));
        }
        self.check_change(me, &commit.removed, &commit.added)
            .map_err(|_| LayerError::rejected())?;
        let removed_self = commit.removed.binary_search(&me).is_ok();
        let mut added = Vec::new();
        for new in &commit.added {
            let bundle = Arc::new(new.bundle.clone());
            added.push((new.id, Peer::new(bundle, self.limits, commit.epoch)));
        }
        let rotate = !commit.removed.is_empty() && !removed_self;
        let chain = if rotate { Some(SenderChain::generate(me.as_bytes())?) } else { None };
        let outcome = CommitOutcome {
            committer: Some(committer),
            added: added.iter().map(|(id, _)| *id).collect(),
            removed: commit.removed.clone(),
            removed_self,
        };
        let epoch = commit.epoch;
        let removed = commit.removed;
        let transition = Transition { epoch, added, removed, removed_self, chain };
        self.staged.next = Some(Next::Commit(transition));
        Ok(outcome)
    }

    pub(crate) fn join(
        &mut self,
        part: &[u8],
        context: &PartContext<'_>,
    ) -> Result<MemberId, LayerError> {
        let joined = self.read_welcome(self.me()?, part, &context.binding)?;
        let committer = joined.committer;
        self.staged.founds = false;
        self.staged.next = Some(Next::Join(Box::new(joined)));
        Ok(committer)
    }

    pub(crate) fn redistribute(&mut self) -> Result<(), LayerError> {
        self.expect_member()?;
        // Who is still owed an earlier state keeps it: it opens more.
        let pending = core::mem::take(&mut self.state.owed);
        self.state.owe_everyone();
        let again = |(id, owed): (MemberId, Owed)| (id, Owed { sent: 0, ..owed });
        self.state.owed.extend(pending.into_iter().map(again));
        Ok(())
    }

    /// Seals in one's own chain, and hands the chain to those who are owed it. Chain and sessions
    /// move on for good, also when this is reverted: a message key never encrypts twice.
    pub(crate) fn seal(
        &mut self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<(), LayerError> {
        self.expect_settled()?;
        let me = self.me()?;
        self.expect_member()?;
        let ad = context.associated_data();
        let Self { account, state, staged, .. } = self;
        state.touched.add(Part::Own);
        let mut entries = Vec::with_capacity(state.owed.len());
        for (id, owed) in &state.owed {
            let Some(peer) = state.peers.get_mut(id) else { continue };
            state.touched.add(Part::Sessions(*id));
            let message = peer.hand_over(account, &ad, state.generation, &owed.distribution)?;
            entries.push((*id, message));
        }
        staged.sent.extend(entries.iter().map(|(id, _)| *id));
        let front = Front::encode(&me, &entries);

        let mut acks = Vec::with_capacity(1);
        acks.push(0);
        for (count, (id, ack)) in (1..=u8::MAX).zip(&state.acks) {
            acks.extend_from_slice(&ack.chain);
            staged.acked.push(*id);
            if let Some(first) = acks.first_mut() {
                *first = count;
            }
        }
        buffer.prepend(&acks);
        let keys = state.keys.as_mut().ok_or_else(outside)?;
        let ad = message::associated_data(&ad, &front);
        let (framing, signature) = keys.own_mut().encrypt_in_place(&ad, buffer.as_mut_slice())?;
        buffer.prepend(&framing.head);
        buffer.prepend(&front);
        buffer.append(&framing.tag);
        buffer.append(&signature);
        Ok(())
    }

    pub(crate) fn open(
        &mut self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<Opened, LayerError> {
        self.expect_settled()?;
        let me = self.me()?;
        let keys = match (self.state.phase, &self.state.keys) {
            (Phase::Member | Phase::Removed, Some(keys)) => keys,
            _ => return Err(outside()),
        };
        let front = Front::decode(buffer.as_slice(), &me)?;
        let ad = context.associated_data();
        let sealed = message::associated_data(&ad, &front.bytes);
        let body =
            buffer.as_mut_slice().get_mut(front.bytes.len()..).ok_or(LayerError::rejected())?;
        let chain = message::chain_id(body)?;
        let (sender, start, via) = match keys.claimed_sender(body) {
            Some(_) => {
                let (name, range, opened) = keys.open_in_place(&sealed, body)?;
                let name = <[u8; 32]>::try_from(name).map_err(|_| LayerError::rejected())?;
                let sender = MemberId::from_bytes(name);
                let again = self.state.peers.get(&sender).zip(front.entry.as_deref());
                let again = again.and_then(|(peer, entry)| {
                    let (text, staged) = peer.sessions.open(&self.account, &ad, entry).ok()?;
                    drop(SecretBytes::new(text));
                    Some(staged)
                });
                (sender, range.start, Via::Known { opened, again })
            }
            None => {
                let (sender, entry) = match (&front.sender, &front.entry) {
                    (Some(sender), Some(entry)) => (*sender, entry),
                    // A later message of the sender may bring its chain.
                    _ => return Err(self.unknown_chain(&chain)),
                };
                let Some(peer) = self.state.peers.get(&sender) else {
                    // Perhaps a newcomer, whose commit is still to come.
                    return Err(self.unknown_chain(&chain));
                };
                let taken = peer.take_over(&self.account, &sender, &ad, entry, self.limits);
                if taken.is_err() && self.brings_back(&sender) {
                    return Err(self.unknown_chain(&chain));
                }
                let (staged, generation, mut receiver) = taken?;
                if generation > self.state.epoch {
                    // Made in an epoch that is still to come here, perhaps by a member that comes back
                    // in it. Taken now, the session would be forgotten with who it is today.
                    return Err(self.unknown_chain(&chain));
                }
                let (range, opened) = receiver.open_in_place(&sealed, body)?;
                receiver.apply(opened)?;
                let chain = Box::new(receiver);
                (sender, range.start, Via::New { staged, generation, chain })
            }
        };
        if front.sender.is_some_and(|named| named != sender)
            || !self.state.peers.contains_key(&sender)
            || buffer.take_back::<{ message::TRAILER_LEN }>().is_none()
            || !buffer.drop_front(front.bytes.len() + start)
        {
            return Err(LayerError::rejected());
        }
        let acked = message::take_acks(buffer, &keys.own().id())?;
        let carried = front.entry.is_some().then_some(chain);
        self.staged.received = Some(Received { sender, via, carried, acked });
        Ok(Opened::by(sender))
    }

    fn me(&self) -> Result<MemberId, LayerError> {
        let me = self.staged.place.map(|(me, _)| me).or(self.state.me);
        me.ok_or_else(|| LayerError::not_ready("put the layer into a stack first"))
    }

    /// One message at a time, and nothing more once it is saved.
    fn expect_settled(&self) -> Result<(), LayerError> {
        if self.staged.received.is_some() || self.before.is_some() {
            return Err(not_applied());
        }
        Ok(())
    }

    fn expect_member(&self) -> Result<(), LayerError> {
        match self.standing() {
            Standing::Member { .. } => Ok(()),
            Standing::Outside => Err(outside()),
            Standing::Removed => Err(removed()),
        }
    }

    /// Whether a change that is not confirmed yet adds this member, so that its sessions are those of
    /// the change.
    fn brings_back(&self, id: &MemberId) -> bool {
        let plan = self.state.plan.as_ref();
        plan.is_some_and(|plan| plan.transition.added.iter().any(|(new, _)| new == id))
    }

    /// What to answer to a message whose chain is not known and does not come with it.
    fn unknown_chain(&self, chain: &[u8; 8]) -> LayerError {
        let own = self.state.keys.as_ref().is_some_and(|keys| keys.own().id() == *chain);
        if own || self.state.phase == Phase::Removed {
            LayerError::rejected()
        } else {
            LayerError::early(None)
        }
    }

    /// Whether these may go, and these may come; who is among both comes back. Both in the order of
    /// ids. `Err` says what is wrong.
    fn check_change<'a>(
        &self,
        me: MemberId,
        removed: &[MemberId],
        added: impl IntoIterator<Item = &'a Newcomer>,
    ) -> Result<(), &'static str> {
        let peers = &self.state.peers;
        let known = |id: &MemberId| *id == me || peers.contains_key(id);
        if !removed.is_sorted_by(|a, b| a < b) || !removed.iter().all(known) {
            return Err("only a member can be removed, and only once");
        }
        let added: Vec<_> = added.into_iter().collect();
        let goes = |id: &MemberId| removed.binary_search(id).is_ok();
        let stays = |id: &MemberId| known(id) && !goes(id);
        if !added.is_sorted_by(|a, b| a.id < b.id) || added.iter().any(|new| stays(&new.id)) {
            return Err("the member is in the group already");
        }
        if 1 + peers.len() + added.len() > MAX_MEMBERS + removed.len() {
            return Err(TOO_MANY);
        }
        if added.is_empty() {
            return Ok(());
        }
        let mut identities: BTreeSet<_> = peers
            .iter()
            .filter(|(id, _)| !goes(id))
            .map(|(_, peer)| peer.sessions.peer().keys())
            .collect();
        if !goes(&me) {
            identities.insert(self.account.identity().keys());
        }
        if !added.iter().all(|new| identities.insert(new.bundle.identity().keys())) {
            return Err("another member has this identity: let the new member make a new one");
        }
        Ok(())
    }
}

impl Peer {
    /// `floor`: the epoch in which it came, as far as that is known.
    fn new(bundle: Arc<Bundle>, limits: Limits, floor: u64) -> Self {
        let sessions = Sessions::new(*bundle.identity(), limits);
        Self { bundle, sessions, generations: Vec::new(), floor }
    }

    /// A message of the pair session with a chain in it.
    fn hand_over(
        &mut self,
        account: &Account,
        ad: &[u8],
        generation: u64,
        distribution: &SecretBytes,
    ) -> Result<Vec<u8>, Error> {
        if self.sessions.is_empty() {
            self.sessions.begin(account, &self.bundle, Agree::Pqxdh)?;
        }
        self.sessions.encrypt(ad, message::Handover::encode(generation, distribution).expose())
    }

    /// Opens what [`hand_over`](Self::hand_over) made at the other side.
    fn take_over(
        &self,
        account: &Account,
        name: &MemberId,
        ad: &[u8],
        entry: &[u8],
        limits: Limits,
    ) -> Result<(sessions::Staged, u64, crate::ReceiverChain), Error> {
        let (text, staged) = self.sessions.open(account, ad, entry)?;
        let text = SecretBytes::new(text);
        let (generation, chain) = message::Handover::decode(name, text.expose(), limits)?;
        if generation < self.floor || self.generations.contains(&generation) {
            return Err(Error::Undecryptable);
        }
        Ok((staged, generation, chain))
    }
}

/// What a [`MemberId`] says of this layer: SHA-256 of the identity's two keys.
pub(crate) fn commitment(keys: &[u8; 64]) -> [u8; 32] {
    Sha256::new().chain_update(b"cc-signal/1 member").chain_update(keys).finalize().into()
}

fn outside() -> LayerError {
    LayerError::not_ready("found a group or join one first")
}

fn removed() -> LayerError {
    LayerError::not_ready("this member was removed from the group")
}

fn no_change() -> LayerError {
    LayerError::not_ready("there is no staged change")
}

const TOO_MANY: &str = "too many members: see cc_core::limits::MAX_MEMBERS";
