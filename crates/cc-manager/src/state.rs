//! What the manager itself knows, beside the layers.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};

use cc_core::MemberId;

use crate::{Change, ChangeId, MessageId, Proposal, Proposed, records::Entries};

/// Epochs after which a request to leave is no longer taken: no layer keeps more past ones.
const LEAVE_WINDOW: u64 = 64;

/// The manager's own state.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// This member's change that waits for the delivery service.
    pub(crate) staged: Option<Arc<Staged>>,
    /// What the change was for that somebody else's commit overtook.
    pub(crate) overtaken: Option<Arc<Intent>>,
    /// Shared, for every message makes a copy of this state.
    pub(crate) roster: Arc<Roster>,
    /// This member asked to be added anew, and takes a welcome although it is in a group.
    pub(crate) rejoining: bool,
    /// The changes by whose welcomes this member joined, oldest first.
    pub(crate) joined: Arc<Vec<[u8; 16]>>,
    /// The number of the next entry of the inbox or outbox.
    pub(crate) next_entry: u64,
}

/// What is known of the members beyond who they are.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Roster {
    /// Who asked to be removed.
    pub(crate) leaving: BTreeSet<MemberId>,
    /// Who was added lately, and the epoch that began with it.
    pub(crate) joined_at: BTreeMap<MemberId, u64>,
    /// What was proposed in this epoch, oldest first.
    pub(crate) proposed: Vec<Proposed>,
}

#[derive(PartialEq, Eq)]
pub(crate) struct Staged {
    pub(crate) change: Change,
    /// Sorted.
    pub(crate) added: Vec<MemberId>,
    pub(crate) intent: Intent,
}

/// What a change is for: enough to stage it again.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Intent {
    pub(crate) key_packages: Vec<Vec<u8>>,
    /// Sorted.
    pub(crate) removed: Vec<MemberId>,
}

/// Welcomes that are remembered as used.
const MAX_JOINED: usize = 64;

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
        *self = Self { joined, next_entry: self.next_entry, ..Self::default() };
    }

    /// Somebody else's commit ends the epoch of the staged change.
    pub(crate) fn overtake(&mut self) {
        if let Some(staged) = self.staged.take() {
            self.overtaken = Some(Arc::new(staged.intent.clone()));
        }
    }

    /// A new epoch: the group, at `epoch`, has these members, of whom `added` are new.
    pub(crate) fn settle(&mut self, epoch: u64, members: &BTreeSet<MemberId>, added: &[MemberId]) {
        let roster = Arc::make_mut(&mut self.roster);
        roster.leaving.retain(|member| members.contains(member) && !added.contains(member));
        roster.joined_at.retain(|_, joined_at| joined_at.saturating_add(LEAVE_WINDOW) >= epoch);
        roster.proposed.clear();
        roster.joined_at.extend(added.iter().map(|member| (*member, epoch)));
    }

    /// The stack is another one, and with it whose key packages are taken.
    pub(crate) fn forget_additions(&mut self) {
        if !self.roster.proposed.is_empty() {
            let proposed = &mut Arc::make_mut(&mut self.roster).proposed;
            proposed.retain(|proposed| !matches!(proposed.proposal, Proposal::Add(_)));
        }
    }

    /// Whether a request to leave that was made in epoch `asked` is one of `member` as it is in the
    /// group now: not an old one that somebody kept back until the member was added anew.
    pub(crate) fn may_leave(&self, member: &MemberId, asked: u64, epoch: u64) -> bool {
        asked <= epoch
            && asked.saturating_add(LEAVE_WINDOW) >= epoch
            && self.roster.joined_at.get(member).is_none_or(|joined_at| *joined_at <= asked)
    }
}

impl Staged {
    pub(crate) fn id(&self) -> ChangeId {
        self.change.id
    }
}

/// The state that an operation leads to, and what it puts into the inbox and outbox.
pub(crate) struct Draft {
    pub(crate) state: State,
    /// `None` where no store keeps them.
    pub(crate) entries: Option<Entries>,
    /// The layers are others than before.
    pub(crate) reshaped: bool,
}

impl Draft {
    /// Puts a message into the inbox, where there is one.
    pub(crate) fn receive(
        &mut self,
        plaintext: &[u8],
        sender: Option<MemberId>,
    ) -> Option<MessageId> {
        let entries = self.entries.as_mut()?;
        let number = self.state.next_entry;
        self.state.next_entry += 1;
        entries.receive(number, plaintext, sender);
        Some(MessageId(number))
    }

    /// Puts what is to be sent into the outbox, where there is one.
    pub(crate) fn send(&mut self, wire: &[u8]) {
        if let Some(entries) = &mut self.entries {
            entries.send(self.state.next_entry, wire);
            self.state.next_entry += 1;
        }
    }
}
