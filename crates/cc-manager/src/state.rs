//! What the manager itself knows, beside the layers.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};

use cc_core::MemberId;

use crate::{
    change::{Change, ChangeId},
    history::History,
    pair::Pairing,
    proposal::Proposed,
};

/// Welcomes that are remembered as used.
const MAX_JOINED: usize = 64;

/// The manager's own state.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// This member's change that waits for the delivery service.
    pub(crate) staged: Option<Arc<Staged>>,
    /// What is left to do of this member's changes that commits of others overtook.
    pub(crate) overtaken: Option<Arc<Intent>>,
    /// Shared, for every message makes a copy of this state.
    pub(crate) requests: Arc<Requests>,
    /// This member asked to be added anew, and takes a welcome although it is in a group.
    pub(crate) rejoining: bool,
    /// The changes by whose welcomes this member joined, oldest first.
    pub(crate) joined: Arc<Vec<[u8; 16]>>,
    /// The commits that were made or processed lately.
    pub(crate) history: Arc<History>,
    /// The number of the next entry of the inbox or outbox, or of the next proposal.
    pub(crate) next_entry: u64,
    /// The pair that this is, where it began from a bundle.
    pub(crate) pair: Option<Arc<Pairing>>,
}

/// What members ask for.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    /// The last word of each other member on whether it leaves. Who leaves is listed until a commit
    /// removes it, who stays until the epoch ends.
    pub(crate) leaving: BTreeMap<MemberId, LeaveRequest>,
    /// This member's own last word.
    pub(crate) own_leave: LeaveRequest,
    /// What was proposed in this epoch, oldest first.
    pub(crate) proposed: BTreeMap<u64, Arc<Noted>>,
}

/// Whether a member leaves.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LeaveRequest {
    /// The requests of one member are numbered: of two, the one with the greater number counts, in
    /// whatever order they are received.
    pub(crate) number: u64,
    pub(crate) leaves: bool,
}

/// A proposal that this member knows of.
#[derive(PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) proposed: Proposed,
    /// Whom it adds.
    pub(crate) adds: Option<MemberId>,
}

/// This member's change, and what came of its intent.
#[derive(PartialEq, Eq)]
pub(crate) struct Staged {
    pub(crate) change: Change,
    /// For those who are added; `None` where nobody is. Handed out once the change is confirmed.
    pub(crate) welcome: Option<Vec<u8>>,
    /// Sorted.
    pub(crate) added: Vec<MemberId>,
    /// Sorted. Those who asked to leave are among them.
    pub(crate) removed: Vec<MemberId>,
    pub(crate) intent: Intent,
}

/// What a change is for: enough to stage it again.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Intent {
    /// The members to add, and their key package bundles.
    pub(crate) added: Vec<(MemberId, Vec<u8>)>,
    pub(crate) removed: BTreeSet<MemberId>,
    /// Nothing but an update was asked for.
    pub(crate) update: bool,
}

impl State {
    /// The state of who joins by the welcome of `change`: whatever was known of a group before is of
    /// another one, or of another time.
    pub(crate) fn join(&mut self, change: [u8; 16]) {
        let mut joined = core::mem::take(&mut self.joined);
        let ids = Arc::make_mut(&mut joined);
        ids.push(change);
        if ids.len() > MAX_JOINED {
            ids.remove(0);
        }
        let history = Arc::clone(&self.history);
        *self = Self { joined, history, next_entry: self.next_entry, ..Self::default() };
    }

    /// The state of who was removed.
    pub(crate) fn leave_group(&mut self) {
        self.staged = None;
        self.overtaken = None;
        self.requests = Arc::default();
    }

    /// A change of another member comes into force: what it decided about a member is decided.
    pub(crate) fn follow(
        &mut self,
        members: &BTreeSet<MemberId>,
        added: &[MemberId],
        removed: &[MemberId],
    ) {
        if let Some(staged) = self.staged.take() {
            self.edit_overtaken(|overtaken| overtaken.merge(staged.intent.clone()));
        }
        self.edit_overtaken(|overtaken| overtaken.prune(added, removed));
        self.begin_epoch(members, added);
    }

    /// The staged change comes into force.
    pub(crate) fn confirm(&mut self, staged: &Staged, members: &BTreeSet<MemberId>) {
        self.staged = None;
        self.edit_overtaken(|overtaken| {
            overtaken.prune(&staged.added, &staged.removed);
            // What only adds renews nothing of this member's.
            overtaken.update &= staged.only_adds();
        });
        self.begin_epoch(members, &staged.added);
    }

    /// The stack is another one, and with it whose key packages are taken.
    pub(crate) fn forget_additions(&mut self) {
        self.edit_overtaken(|overtaken| overtaken.added.clear());
        if self.requests.proposed.values().any(|noted| noted.adds.is_some()) {
            let requests = Arc::make_mut(&mut self.requests);
            requests.proposed.retain(|_, noted| noted.adds.is_none());
        }
    }

    fn begin_epoch(&mut self, members: &BTreeSet<MemberId>, added: &[MemberId]) {
        let holds = |member: &MemberId, request: &LeaveRequest| {
            request.leaves && members.contains(member) && !added.contains(member)
        };
        let requests = &self.requests;
        if requests.proposed.is_empty() && requests.leaving.iter().all(|(id, r)| holds(id, r)) {
            return;
        }
        let requests = Arc::make_mut(&mut self.requests);
        requests.proposed.clear();
        requests.leaving.retain(|member, request| holds(member, request));
    }

    fn edit_overtaken(&mut self, edit: impl FnOnce(&mut Intent)) {
        let mut intent = self.overtaken.take().map_or_else(Intent::default, Arc::unwrap_or_clone);
        edit(&mut intent);
        self.overtaken = (!intent.is_done()).then(|| Arc::new(intent));
    }
}

impl Requests {
    /// The other members that asked to be removed.
    pub(crate) fn leaving(&self) -> impl Iterator<Item = MemberId> {
        self.leaving.iter().filter(|(_, request)| request.leaves).map(|(member, _)| *member)
    }

    /// Takes note of what `member` says of leaving, unless it said something else later.
    pub(crate) fn note_leave(&mut self, member: MemberId, request: LeaveRequest) {
        let known = self.leaving.entry(member).or_insert(request);
        if known.number < request.number {
            *known = request;
        }
    }
}

impl Intent {
    /// What somebody's change did, or undid, is no longer to be done.
    fn prune(&mut self, added: &[MemberId], removed: &[MemberId]) {
        let decided = |member: &MemberId| added.contains(member) || removed.contains(member);
        self.added.retain(|(member, _)| !decided(member));
        self.removed.retain(|member| !decided(member));
    }

    /// Adds what `later` is for; about one member, `later` counts.
    fn merge(&mut self, later: Self) {
        let added: Vec<_> = later.added.iter().map(|(member, _)| *member).collect();
        let removed: Vec<_> = later.removed.iter().copied().collect();
        self.prune(&added, &removed);
        self.added.extend(later.added);
        self.removed.extend(later.removed);
        self.update |= later.update;
    }

    fn is_done(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && !self.update
    }
}

impl Staged {
    fn only_adds(&self) -> bool {
        !self.added.is_empty() && self.removed.is_empty()
    }

    pub(crate) fn id(&self) -> ChangeId {
        self.change.id
    }
}
