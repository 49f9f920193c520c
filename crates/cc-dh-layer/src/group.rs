//! A group with one root key per membership generation.

use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};

use cc_core::{
    Attachment, Buffer, ChangeParts, ChangeRequest, CommitOutcome, Contribution, LayerContext,
    LayerError, Member, MemberId, Opened, PartContext, Recalled, Secret, Standing,
    limits::MAX_MEMBERS,
};

use crate::{
    DhError, DhKeyPair, DhPublicKey,
    hpke::Sealer,
    key::WireKey,
    root::{Generation, Reading, Root},
    roster::{Entry, Roster, WireEntry},
    wire::{
        self, Commit, Grant, Invitation, Welcome, WelcomeFront, ascending, commit_info,
        recipient_tag, welcome_info,
    },
};

mod records;

/// Past generations of which late messages still open, unless the caller asks for another number.
pub const DEFAULT_PAST_GENERATIONS: usize = 3;
/// The most past generations that can be kept.
pub const MAX_PAST_GENERATIONS: usize = 64;

/// The group mode of the layer: this member's key pair and the generations it knows.
pub(crate) struct Group {
    keys: DhKeyPair,
    current: State,
    /// What `apply` makes current and `revert` drops.
    staged: Option<State>,
    /// What the store has, where there is one.
    saved: State,
    /// What `apply` makes saved and `revert` drops.
    saving: Option<State>,
}

/// Everything a method may change. Its pieces are shared, so that a copy is cheap.
#[derive(Clone)]
struct State {
    /// This member, once the layer has its place.
    me: Option<MemberId>,
    /// How many generations that are over stay readable.
    window: usize,
    phase: Phase,
    /// Oldest first, at most `window` of them.
    past: Vec<Past>,
    change: Option<Change>,
    /// Whether the current generation came by a commit or welcome that is not yet applied.
    arrived: bool,
}

#[derive(Clone)]
enum Phase {
    Outside,
    Member(Generation),
    Removed,
}

/// A generation that is over: enough to open its late messages.
#[derive(Clone)]
struct Past {
    number: u64,
    reading: Arc<Reading>,
}

/// A change of this member's that is neither confirmed nor discarded.
#[derive(Clone)]
struct Change {
    next: Generation,
    /// The group was founded only for this change: without the change there is none.
    founds: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            me: None,
            window: DEFAULT_PAST_GENERATIONS,
            phase: Phase::Outside,
            past: Vec::new(),
            change: None,
            arrived: false,
        }
    }
}

impl State {
    /// `me` in a group of which only this generation is known.
    fn started(&self, me: MemberId, generation: Generation) -> Self {
        let phase = Phase::Member(generation);
        Self { me: Some(me), window: self.window, phase, ..Self::default() }
    }
}

impl Group {
    pub(crate) fn new(keys: DhKeyPair) -> Self {
        let nothing = State::default();
        Self { keys, current: nothing.clone(), staged: None, saved: nothing, saving: None }
    }

    pub(crate) fn set_window(&mut self, generations: usize) {
        for state in core::iter::once(&mut self.current).chain(&mut self.staged) {
            state.window = generations.min(MAX_PAST_GENERATIONS);
        }
    }

    pub(crate) fn private_key(&self) -> &Secret<32> {
        self.keys.private_key()
    }

    /// Takes the place and founds the group where this member is to. A second call with the same place
    /// changes nothing.
    pub(crate) fn attach(&mut self, place: &Attachment) -> Result<(), LayerError> {
        let Some(me) = place.member else {
            return Err(LayerError::misuse("a group layer needs a member id"));
        };
        let state = self.view();
        let renamed = state.me.is_some_and(|old| old != me);
        let founds = match &state.phase {
            Phase::Outside => place.founding,
            Phase::Member(now) if renamed && now.roster.entries().len() > 1 => {
                return Err(LayerError::misuse(
                    "the other members know this one by another id: found a new group, or leave \
                     the group layers of the stack as they are",
                ));
            }
            // Alone in the group, and under a new id: as good as a new group.
            Phase::Member(_) => renamed,
            Phase::Removed => false,
        };
        self.staged = Some(if founds {
            self.founded(me, place.stack.as_bytes())?
        } else {
            State { me: Some(me), ..state.clone() }
        });
        Ok(())
    }

    pub(crate) fn contribute(&self) -> Result<Contribution, LayerError> {
        Ok(self.generation()?.contribution())
    }

    pub(crate) fn recall(&self, hint: &[u8]) -> Result<Recalled, LayerError> {
        let number = u64::from_be_bytes(hint.try_into().map_err(|_| LayerError::rejected())?);
        let secret = self.reading(number)?.contribution.duplicate();
        Ok(Recalled { secret, epoch: Some(number) })
    }

    pub(crate) fn seal(
        &self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<(), LayerError> {
        let now = self.generation()?;
        now.secrets.reading.message.seal(&context.associated_data(), buffer)?;
        buffer.prepend(&now.number.to_be_bytes());
        Ok(())
    }

    pub(crate) fn open(
        &self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<Opened, LayerError> {
        let number = buffer.take_front().ok_or(LayerError::rejected())?;
        let number = u64::from_be_bytes(number);
        let reading = self.reading(number)?;
        reading.message.open(&context.associated_data(), buffer)?;
        // The key is everyone's: which member sealed it, this layer cannot tell.
        Ok(Opened::default().in_epoch(number))
    }

    pub(crate) fn apply(&mut self) {
        if let Some(mut staged) = self.staged.take() {
            staged.arrived = false;
            self.current = staged;
        }
        if let Some(saving) = self.saving.take() {
            self.saved = saving;
        }
    }

    pub(crate) fn revert(&mut self) {
        self.staged = None;
        self.saving = None;
    }

    pub(crate) fn standing(&self) -> Standing {
        match &self.view().phase {
            Phase::Outside => Standing::Outside,
            Phase::Member(now) => Standing::Member { epoch: now.number },
            Phase::Removed => Standing::Removed,
        }
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        let Phase::Member(now) = &self.view().phase else { return Vec::new() };
        let member =
            |entry: &Entry| Member { id: entry.id, name: None, commitment: entry.key.commitment() };
        now.roster.entries().iter().map(member).collect()
    }

    pub(crate) fn key_package(&self) -> Result<Vec<u8>, LayerError> {
        self.me()?;
        Ok(self.keys.public_key().to_bytes())
    }

    pub(crate) fn stage_change(
        &mut self,
        request: &ChangeRequest<'_>,
        context: &PartContext<'_>,
    ) -> Result<ChangeParts, LayerError> {
        let me = self.me()?;
        let mut state = self.view().clone();
        if state.change.is_some() {
            return Err(LayerError::misuse("confirm or discard the staged change first"));
        }
        let (now, founds) = match &state.phase {
            Phase::Member(now) => (now.clone(), false),
            Phase::Removed => return Err(removed()),
            Phase::Outside => {
                // Whoever adds the first member founds the group.
                let founded = self.founded(me, &context.binding)?;
                state.phase = founded.phase;
                match &state.phase {
                    Phase::Member(now) => (now.clone(), true),
                    _ => return Err(outside()),
                }
            }
        };
        if request.removed.contains(&me) {
            return Err(LayerError::misuse("leave the group instead of removing oneself"));
        }
        if request.added.len() > MAX_MEMBERS {
            return Err(LayerError::misuse("too many members: see cc_core::limits::MAX_MEMBERS"));
        }
        let mut added = Vec::with_capacity(request.added.len());
        for new in request.added {
            added.push(Entry { id: new.id, key: DhPublicKey::from_bytes(new.part)? });
        }
        added.sort_unstable_by_key(|entry| entry.id);
        let roster = now
            .roster
            .changed(request.removed, added.iter().copied())
            .map_err(LayerError::misuse)?;
        let number = now
            .number
            .checked_add(1)
            .ok_or_else(|| LayerError::misuse("no generation comes after this one"))?;

        let change =
            Outgoing { keys: &self.keys, me, now: &now, number, binding: &context.binding };
        let root = Root::random()?;
        let commit = change.commit(&root, &roster, request.removed, &added)?;
        let welcome =
            if added.is_empty() { Vec::new() } else { change.welcome(&root, &roster, &added)? };
        let next = root.generation(number, roster, &context.binding)?;
        state.change = Some(Change { next, founds });
        state.arrived = false;
        self.staged = Some(state);
        Ok(ChangeParts { commit, welcome })
    }

    pub(crate) fn next_contribution(&self) -> Result<Option<Contribution>, LayerError> {
        let state = self.view();
        match (&state.change, &state.phase) {
            (Some(change), _) => Ok(Some(change.next.contribution())),
            (None, Phase::Member(now)) if state.arrived => Ok(Some(now.contribution())),
            (None, Phase::Removed) if state.arrived => Ok(None),
            _ => Err(no_change()),
        }
    }

    pub(crate) fn confirm_change(&mut self) -> Result<(), LayerError> {
        let mut state = self.view().clone();
        let change = state.change.take().ok_or_else(no_change)?;
        Self::enter(&mut state, Phase::Member(change.next));
        self.staged = Some(state);
        Ok(())
    }

    pub(crate) fn discard_change(&mut self) {
        let mut state = self.view().clone();
        if let Some(change) = state.change.take() {
            if change.founds {
                state.phase = Phase::Outside;
            }
            self.staged = Some(state);
        }
    }

    pub(crate) fn process_commit(
        &mut self,
        part: &[u8],
        context: &PartContext<'_>,
    ) -> Result<CommitOutcome, LayerError> {
        let me = self.me()?;
        let now = self.generation()?.clone();
        let binding = &context.binding;

        // Cheapest first: an outsider's bytes cost one digest.
        let (body, tag) = part.split_last_chunk::<TAG_LEN>().ok_or(DhError::Rejected)?;
        let tag = Secret::copy_from(tag).ok_or(DhError::Internal)?;
        if now.secrets.membership_tag(binding, &wire::digest(body))? != tag {
            return Err(LayerError::rejected());
        }
        let commit = Commit::decode(body)?;
        let sender = MemberId::from_bytes(commit.sender);
        let removed: Vec<_> = commit.removed.iter().copied().map(MemberId::from_bytes).collect();
        let added =
            commit.added.iter().map(Entry::try_from).collect::<Result<Vec<_>, DhError>>()?;
        if Some(commit.generation) != now.number.checked_add(1)
            || sender == me
            || removed.contains(&sender)
            || !removed.is_sorted_by(|a, b| a < b)
            || !added.is_sorted_by(|a, b| a.id < b.id)
            || commit.boxes.len() + 1 != now.roster.entries().len()
        {
            return Err(LayerError::rejected());
        }
        let sender_key = now.roster.key(&sender).ok_or(DhError::Rejected)?;
        let roster = now
            .roster
            .changed(&removed, added.iter().copied())
            .map_err(|_| LayerError::rejected())?;
        let mine = now
            .roster
            .entries()
            .iter()
            .filter(|entry| entry.id != sender)
            .position(|entry| entry.id == me)
            .and_then(|at| commit.boxes.get(at))
            .ok_or(DhError::Rejected)?;
        let removed_self = removed.contains(&me);
        let opened = mine.open(
            &self.keys,
            sender_key,
            &commit_info(self.keys.curve(), binding, commit.generation, &sender, &me),
            &now.commit_associated_data(&roster),
            if removed_self { 0 } else { Root::LEN },
        )?;

        let mut state = self.view().clone();
        state.change = None;
        let phase = if removed_self {
            Phase::Removed
        } else {
            let root = Root::from_bytes(opened.expose()).ok_or(DhError::Rejected)?;
            Phase::Member(root.generation(commit.generation, roster, binding)?)
        };
        Self::enter(&mut state, phase);
        state.arrived = true;
        self.staged = Some(state);
        Ok(CommitOutcome {
            committer: Some(sender),
            added: added.iter().map(|entry| entry.id).collect(),
            removed,
            removed_self,
        })
    }

    pub(crate) fn join(
        &mut self,
        part: &[u8],
        context: &PartContext<'_>,
    ) -> Result<MemberId, LayerError> {
        let me = self.me()?;
        let own = self.keys.public_key();
        let binding = &context.binding;
        let Welcome { front, roster } = Welcome::decode(part)?;
        let sender_key = DhPublicKey::try_from(&front.sender)?;
        let tag = recipient_tag(binding, own);
        let invitation = front
            .invitations
            .binary_search_by_key(&tag, |invitation| invitation.tag)
            .ok()
            .and_then(|at| front.invitations.get(at))
            .ok_or(DhError::Rejected)?;
        let info = welcome_info(self.keys.curve(), binding, &me);
        let opened = invitation.grant.open(&self.keys, &sender_key, &info, &[], Grant::LEN)?;
        let grant: Grant = wire::decode(opened.expose())?;
        let root = Root::from_bytes(&grant.root).ok_or(DhError::Rejected)?;

        let mut buffer = Buffer::new(roster.as_slice());
        root.roster_key(binding)?.open(&wire::digest(&wire::encode(&front)?), &mut buffer)?;
        let roster = Roster::decode(buffer.as_slice())?;
        let sender = MemberId::from_bytes(grant.sender);
        if roster.digest() != grant.roster_digest
            || roster.key(&me) != Some(own)
            || roster.key(&sender) != Some(&sender_key)
            || sender == me
            || grant.generation == 0
        {
            return Err(LayerError::rejected());
        }

        // What was known of the group until now, or of one that removed this member, is forgotten: its
        // generations may have the same numbers.
        let generation = root.generation(grant.generation, roster, binding)?;
        self.staged = Some(State { arrived: true, ..self.view().started(me, generation) });
        Ok(sender)
    }

    /// The state as all that was staged leaves it.
    fn view(&self) -> &State {
        self.staged.as_ref().unwrap_or(&self.current)
    }

    fn me(&self) -> Result<MemberId, LayerError> {
        self.view().me.ok_or_else(|| LayerError::not_ready("put the layer into a stack first"))
    }

    fn generation(&self) -> Result<&Generation, LayerError> {
        match &self.view().phase {
            Phase::Member(now) => Ok(now),
            Phase::Outside => Err(outside()),
            Phase::Removed => Err(removed()),
        }
    }

    /// A group of this member alone.
    fn founded(&self, me: MemberId, binding: &[u8; 32]) -> Result<State, DhError> {
        let roster = Roster::founded_by(me, *self.keys.public_key());
        let generation = Root::random()?.generation(0, roster, binding)?;
        Ok(self.view().started(me, generation))
    }

    /// Moves the current generation to the past and `phase` into its place.
    fn enter(state: &mut State, phase: Phase) {
        if let Phase::Member(over) = core::mem::replace(&mut state.phase, phase) {
            let reading = Arc::clone(&over.secrets.reading);
            state.past.push(Past { number: over.number, reading });
        }
        let surplus = state.past.len().saturating_sub(state.window);
        state.past.drain(..surplus);
    }

    /// The secrets of a generation that is current or within the window.
    fn reading(&self, number: u64) -> Result<&Reading, LayerError> {
        let state = self.view();
        match &state.phase {
            Phase::Outside => return Err(outside()),
            Phase::Member(now) if now.number == number => return Ok(&now.secrets.reading),
            Phase::Member(now) if now.number < number => {
                return Err(LayerError::early(Some(number)));
            }
            // Whoever was removed reaches no later generation.
            Phase::Member(_) | Phase::Removed => {}
        }
        let past = state.past.iter().find(|past| past.number == number);
        past.map(|past| &*past.reading).ok_or(LayerError::rejected())
    }
}

impl Generation {
    fn contribution(&self) -> Contribution {
        Contribution {
            hint: self.number.to_be_bytes().to_vec(),
            secret: self.secrets.reading.contribution.duplicate(),
        }
    }

    /// What a commit's boxes authenticate besides their `info`: the roster after the change, and the
    /// generation before it, so that no box of another group fits.
    fn commit_associated_data(&self, roster: &Roster) -> Vec<u8> {
        [roster.digest(), *self.secrets.link.expose()].concat()
    }
}

/// What all boxes of one change have in common.
#[derive(Clone, Copy)]
struct Outgoing<'a> {
    keys: &'a DhKeyPair,
    me: MemberId,
    now: &'a Generation,
    number: u64,
    binding: &'a [u8; 32],
}

impl Outgoing<'_> {
    fn commit(
        &self,
        root: &Root,
        roster: &Roster,
        removed: &[MemberId],
        added: &[Entry],
    ) -> Result<Vec<u8>, DhError> {
        let removed: BTreeSet<_> = removed.iter().collect();
        let associated_data = self.now.commit_associated_data(roster);
        let mut sealer = Sealer::new(self.keys)?;
        let mut boxes = Vec::with_capacity(self.now.roster.entries().len());
        for entry in self.now.roster.entries().iter().filter(|entry| entry.id != self.me) {
            let info =
                commit_info(self.keys.curve(), self.binding, self.number, &self.me, &entry.id);
            // An empty box tells who goes that it was a member who said so.
            let content: &[u8] = if removed.contains(&entry.id) { &[] } else { root.expose() };
            boxes.push(sealer.seal(&entry.key, &info, &associated_data, content)?);
        }
        let mut part = wire::encode(&Commit {
            generation: self.number,
            sender: *self.me.as_bytes(),
            removed: removed.iter().map(|id| *id.as_bytes()).collect(),
            added: added.iter().map(WireEntry::from).collect(),
            boxes,
        })?;
        let tag = self.now.secrets.membership_tag(self.binding, &wire::digest(&part))?;
        part.extend_from_slice(tag.expose());
        Ok(part)
    }

    fn welcome(&self, root: &Root, roster: &Roster, added: &[Entry]) -> Result<Vec<u8>, DhError> {
        let grant = Grant {
            root: *root.expose(),
            generation: self.number,
            sender: *self.me.as_bytes(),
            roster_digest: roster.digest(),
        };
        let grant = cc_core::SecretBytes::new(wire::encode(&grant)?);
        let mut sealer = Sealer::new(self.keys)?;
        let mut invitations = Vec::with_capacity(added.len());
        for entry in added {
            let info = welcome_info(self.keys.curve(), self.binding, &entry.id);
            let grant = sealer.seal(&entry.key, &info, &[], grant.expose())?;
            invitations.push(Invitation { tag: recipient_tag(self.binding, &entry.key), grant });
        }
        invitations.sort_unstable_by_key(|invitation| invitation.tag);
        // Two of 65536 new members have the same tag once in 2^33 welcomes.
        if !ascending(&invitations) {
            return Err(DhError::Internal);
        }
        let front = WelcomeFront { sender: WireKey::from(self.keys.public_key()), invitations };
        let mut buffer = Buffer::new(&roster.encode()?);
        root.roster_key(self.binding)?.seal(&wire::digest(&wire::encode(&front)?), &mut buffer)?;
        wire::encode(&Welcome { front, roster: buffer.as_slice().into() })
    }
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

const TAG_LEN: usize = 32;

#[cfg(test)]
mod hostile;
