//! What is shown of a group: messages with what became of them.

use std::collections::{BTreeMap, BTreeSet};

use cc_core::MemberId;

use crate::{Body, Content, Forwarded, MessageRef, Now, OperationId, Position};

/// Messages that are not here yet and of which something is known: an edit, a deletion, a reaction.
const MAX_WAITING: usize = 4096;

/// The messages of one group, with edits, deletions, reactions and timers applied.
///
/// Pure: it reads no clock and keeps nothing on disk. An application adds what it keeps when it starts, and
/// what comes while it runs; in whatever order and however often, the same contents give the same timeline.
///
/// - Only the sender of a message edits or deletes it; what another one sends to that end is
///   [`Applied::Refused`].
/// - A deletion is for ever, whatever comes later or came earlier. Of edits, and of one member's reactions
///   with one word, the last in the log counts.
/// - A message with a timer is forgotten when the timer has run out after it was [read](Self::read).
/// - What was [passed on](Self::forwarded) is not among the messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline {
    entries: BTreeMap<MessageRef, Entry>,
    shown: BTreeSet<(Order, MessageRef)>,
    waiting: BTreeSet<(Order, MessageRef)>,
    /// By the message that passed them on.
    forwarded: BTreeMap<MessageRef, (Order, Vec<Forwarded>)>,
}

/// The order of the log; what is not in it yet comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    At(Position),
    Pending,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// Where it stands, or for one that is not here where something of it was first heard.
    order: Order,
    message: Option<Content>,
    edit: Option<(Order, OperationId, String)>,
    reactions: BTreeMap<(MemberId, String), (Order, OperationId, bool)>,
    deleted: bool,
    /// In milliseconds since 1970.
    read_at: Option<u64>,
    expired: bool,
}

/// What a content did to a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Applied {
    /// There is a new message.
    Shown,
    /// This message is another one now.
    Changed(MessageRef),
    /// It is about this message, which is not here yet.
    Waits(MessageRef),
    /// There are new messages that were passed on.
    Forwarded,
    /// It was here, or something later is.
    Nothing,
    /// The sender may not do that.
    Refused,
}

/// A message as it is to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shown<'a> {
    /// Which it is.
    pub id: MessageRef,
    /// Where it is in the log; `None` for one's own that is under way.
    pub position: Option<Position>,
    /// What it says; `None` if it was deleted.
    pub body: Option<&'a Body>,
    /// The text, the edited one where there is one.
    pub text: Option<&'a str>,
    /// Whether the text was edited.
    pub edited: bool,
    /// Reactions, and whose.
    pub reactions: BTreeMap<&'a str, Vec<MemberId>>,
    /// When it is forgotten, in milliseconds since 1970.
    pub expires: Option<u64>,
}

impl Timeline {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies what `id.sender` sent. One's own is added without a position when it is sent, and again when
    /// [`Event::Settled`](crate::Event::Settled) gives it.
    pub fn add(&mut self, id: MessageRef, position: Option<Position>, content: Content) -> Applied {
        let order = position.map_or(Order::Pending, Order::At);
        match content.body {
            Body::Edit { of, .. } | Body::Deletion { of } if of.sender != id.sender => {
                Applied::Refused
            }
            Body::Edit { of, text } => {
                let edit = (order, id.message, text);
                self.about(of, order, |entry| entry.edited(edit))
            }
            Body::Deletion { of } => self.about(of, order, Entry::delete),
            Body::Reaction { to, reaction, withdrawn } => {
                let key = (id.sender, reaction);
                let value = (order, id.message, withdrawn);
                self.about(to, order, |entry| entry.react(key, value))
            }
            body => self.message(id, order, Content { body, ..content }),
        }
    }

    /// Takes what `id.sender` passed on, as [`Event::Forwarded`](crate::Event::Forwarded) has it or its attachment.
    pub fn add_forwarded(
        &mut self,
        id: MessageRef,
        position: Option<Position>,
        entries: Vec<Forwarded>,
    ) -> Applied {
        let order = position.map_or(Order::Pending, Order::At);
        if self.forwarded.get(&id).is_some_and(|(known, _)| *known <= order) {
            return Applied::Nothing;
        }
        self.forwarded.insert(id, (order, entries));
        Applied::Forwarded
    }

    /// The message was read at this time, by `now.wall`; the first time counts. `false` if it is not here.
    pub fn read(&mut self, id: &MessageRef, now: Now) -> bool {
        match self.entries.get_mut(id).filter(|entry| entry.message.is_some()) {
            Some(entry) => {
                entry.read_at = Some(entry.read_at.map_or(now.wall, |at| at.min(now.wall)));
                true
            }
            None => false,
        }
    }

    /// Forgets messages whose timers have run out, and gives which: the application forgets what it keeps of
    /// them.
    pub fn expire(&mut self, now: Now) -> Vec<MessageRef> {
        let expired = |entry: &Entry| entry.expires().is_some_and(|expires| expires <= now.wall);
        let over = self.entries.iter().filter(|(_, entry)| expired(entry));
        let over: Vec<MessageRef> = over.map(|(id, _)| *id).collect();
        for id in &over {
            if let Some(entry) = self.entries.get_mut(id) {
                entry.forget();
                entry.expired = true;
                self.shown.remove(&(entry.order, *id));
            }
        }
        over
    }

    /// When [`expire`](Self::expire) has something to do next, in milliseconds since 1970.
    #[must_use]
    pub fn next_expiry(&self) -> Option<u64> {
        self.entries.values().filter_map(Entry::expires).min()
    }

    /// The messages, in the order of the log, one's own that are under way last.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = Shown<'_>> {
        self.shown.iter().filter_map(|(_, id)| self.get(id))
    }

    /// One message.
    #[must_use]
    pub fn get(&self, id: &MessageRef) -> Option<Shown<'_>> {
        let entry = self.entries.get(id).filter(|entry| !entry.expired)?;
        let message = entry.message.as_ref()?;
        let body = (!entry.deleted).then_some(&message.body);
        let written = body.and_then(|body| match body {
            Body::Text(text) | Body::Reply { text, .. } | Body::Attachment { text, .. } => {
                Some(text.as_str())
            }
            _ => None,
        });
        let edit = entry.edit.as_ref().map(|(_, _, text)| text.as_str());
        let edit = edit.filter(|_| written.is_some());
        let mut reactions = BTreeMap::<&str, Vec<MemberId>>::new();
        if !entry.deleted {
            let standing = entry.reactions.iter().filter(|(_, (_, _, withdrawn))| !withdrawn);
            for ((member, reaction), _) in standing {
                reactions.entry(reaction).or_default().push(*member);
            }
        }
        let position = match entry.order {
            Order::At(position) => Some(position),
            Order::Pending => None,
        };
        Some(Shown {
            id: *id,
            position,
            body,
            text: edit.or(written),
            edited: edit.is_some(),
            reactions,
            expires: entry.expires(),
        })
    }

    /// What members passed on: who passed it on, and what it is said to be. What one member passes on twice is
    /// here once. Messages that their senders have deleted since are left out.
    pub fn forwarded(&self) -> impl Iterator<Item = (MemberId, &Forwarded)> {
        let all = self.forwarded.iter();
        let all = all.flat_map(|(by, (_, entries))| entries.iter().map(|entry| (by.sender, entry)));
        let mut seen = BTreeSet::new();
        all.filter(move |(by, entry)| {
            let id = MessageRef { sender: entry.sender, message: entry.message };
            if !seen.insert((*by, id)) {
                return false;
            }
            self.entries.get(&id).is_none_or(|known| !known.deleted)
        })
    }

    fn message(&mut self, id: MessageRef, order: Order, content: Content) -> Applied {
        let Some(entry) = self.entries.get_mut(&id) else {
            self.entries.insert(id, Entry { message: Some(content), ..Entry::new(order) });
            self.shown.insert((order, id));
            return Applied::Shown;
        };
        if entry.message.is_some() || entry.expired {
            if order >= entry.order || entry.expired {
                return Applied::Nothing;
            }
            // One's own has its place now.
            self.shown.remove(&(entry.order, id));
        } else {
            self.waiting.remove(&(entry.order, id));
        }
        let moved = entry.message.replace(content).is_some();
        entry.order = order;
        if entry.deleted {
            entry.forget();
        }
        self.shown.insert((order, id));
        if moved { Applied::Changed(id) } else { Applied::Shown }
    }

    /// Something about a message, here or not.
    fn about(
        &mut self,
        id: MessageRef,
        order: Order,
        change: impl FnOnce(&mut Entry) -> bool,
    ) -> Applied {
        if let Some(entry) = self.entries.get_mut(&id) {
            let here = entry.message.is_some() || entry.expired;
            if !here && order < entry.order {
                self.waiting.remove(&(entry.order, id));
                entry.order = order;
                self.waiting.insert((order, id));
            }
            return match (change(entry), here) {
                (false, _) => Applied::Nothing,
                (true, true) => Applied::Changed(id),
                (true, false) => Applied::Waits(id),
            };
        }
        let mut entry = Entry::new(order);
        change(&mut entry);
        self.entries.insert(id, entry);
        self.waiting.insert((order, id));
        if self.waiting.len() > MAX_WAITING
            && let Some((_, oldest)) = self.waiting.pop_first()
        {
            self.entries.remove(&oldest);
        }
        Applied::Waits(id)
    }
}

impl Entry {
    const fn new(order: Order) -> Self {
        Self {
            order,
            message: None,
            edit: None,
            reactions: BTreeMap::new(),
            deleted: false,
            read_at: None,
            expired: false,
        }
    }

    fn edited(&mut self, edit: (Order, OperationId, String)) -> bool {
        if self.deleted || self.expired || !replaces(self.edit.as_ref(), &edit, |e| (e.0, e.1)) {
            return false;
        }
        self.edit = Some(edit);
        true
    }

    fn react(&mut self, key: (MemberId, String), reaction: (Order, OperationId, bool)) -> bool {
        if self.deleted || self.expired {
            return false;
        }
        if !replaces(self.reactions.get(&key), &reaction, |r| (r.0, r.1)) {
            return false;
        }
        self.reactions.insert(key, reaction);
        true
    }

    fn delete(&mut self) -> bool {
        if self.deleted || self.expired {
            return false;
        }
        self.deleted = true;
        self.forget();
        true
    }

    /// Nothing of what was said stays; that it was deleted does.
    fn forget(&mut self) {
        if let Some(message) = &mut self.message {
            message.body = Body::Text(String::new());
        }
        self.edit = None;
        self.reactions.clear();
    }

    fn expires(&self) -> Option<u64> {
        let seconds = self.message.as_ref()?.disappears_after.filter(|_| !self.expired)?;
        Some(self.read_at?.saturating_add(u64::from(seconds).saturating_mul(1000)))
    }
}

/// Whether something later takes the place of something: the last in the log stands, and one's own that was
/// under way gets its place.
fn replaces<T>(there: Option<&T>, new: &T, order: impl Fn(&T) -> (Order, OperationId)) -> bool {
    there.is_none_or(|there| {
        let (old, new) = (order(there), order(new));
        new > old || (old.0 == Order::Pending && old.1 == new.1 && new.0 != Order::Pending)
    })
}
