//! One group's messages and what else happened in it, as they are shown.

use std::collections::BTreeMap;

use cc_client::{Body, Content, MessageRef, Now, Position, Timeline, Trust};

use crate::talk::{
    journal::{Entry, Gone, Message, MessageState, Unreadable, What},
    session::{self, Session},
    show,
};

/// What is known of the open group, from its journal.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    entries: BTreeMap<u64, Entry>,
    timeline: Timeline,
    /// There is nothing earlier.
    pub(crate) complete: bool,
}

/// One thing to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// By which people name it.
    pub(crate) number: u64,
    /// In milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) kind: ItemKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ItemKind {
    Said(Said),
    Notice(String),
    /// What somebody should look at.
    Warning(String),
}

/// A message as it stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) from: String,
    pub(crate) mine: bool,
    pub(crate) state: MessageState,
    pub(crate) text: String,
    /// To which message, and the beginning of that one.
    pub(crate) reply: Option<String>,
    /// Name and length of a file.
    pub(crate) attachment: Option<String>,
    pub(crate) edited: bool,
    pub(crate) deleted: bool,
    /// Each with how many.
    pub(crate) reactions: Vec<(String, usize)>,
    /// In milliseconds since 1970.
    pub(crate) expires: Option<u64>,
}

impl Conversation {
    /// Takes entries, of which the last `unread` messages of others are read only now.
    pub(crate) fn load(&mut self, entries: Vec<Entry>, unread: u64, now: u64) {
        let mut unread = usize::try_from(unread).unwrap_or(usize::MAX);
        for entry in entries.into_iter().rev() {
            let fresh =
                matches!(&entry.what, What::Message(message) if !message.mine) && unread > 0;
            let started = match &entry.what {
                What::Message(message) => message.read_at,
                _ => None,
            };
            let read_at = started.unwrap_or(if fresh { now } else { entry.at });
            unread = unread.saturating_sub(usize::from(fresh));
            self.add(entry, read_at);
        }
    }

    /// Takes an entry that is new or changed, read at this time.
    pub(crate) fn add(&mut self, entry: Entry, read_at: u64) {
        Session::add_to(&mut self.timeline, &entry);
        if let What::Message(message) = &entry.what {
            self.timeline.read(&reference(message), Now { wall: read_at, mono: 0 });
        }
        self.entries.insert(entry.number, entry);
    }

    /// Forgets what has run out.
    pub(crate) fn expire(&mut self, now: u64) -> bool {
        let due = self.timeline.next_expiry().is_some_and(|due| due <= now);
        if due {
            let gone = self.timeline.expire(Now { wall: now, mono: 0 });
            self.entries.retain(|_, entry| match &entry.what {
                What::Message(message) => !gone.contains(&reference(message)),
                _ => true,
            });
        }
        due
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The message of this number.
    pub(crate) fn message(&self, number: u64) -> Option<&Message> {
        match &self.entries.get(&number)?.what {
            What::Message(message) => Some(message),
            _ => None,
        }
    }

    /// What one message says now; `None` where it was deleted or is none of this format.
    pub(crate) fn body(&self, number: u64) -> Option<&Body> {
        self.timeline.get(&reference(self.message(number)?))?.body
    }

    pub(crate) fn reference(&self, number: u64) -> Option<MessageRef> {
        self.message(number).map(reference)
    }

    /// What is to be shown, in the order of the log; what is not in it yet comes last.
    pub(crate) fn items(&self) -> Vec<Item> {
        let mut latest = Position::START;
        let mut items = Vec::new();
        for entry in self.entries.values() {
            let place = match &entry.what {
                What::Message(Message { state: MessageState::Sent(position), .. }) => {
                    latest = latest.max(*position);
                    *position
                }
                What::Message(Message { state: MessageState::Waiting, .. }) => Position(u64::MAX),
                _ => latest,
            };
            if let Some(kind) = self.kind(&entry.what) {
                items.push((place, Item { number: entry.number, at: entry.at, kind }));
            }
        }
        items.sort_by_key(|(place, item)| (*place, item.number));
        items.into_iter().map(|(_, item)| item).collect()
    }

    fn kind(&self, what: &What) -> Option<ItemKind> {
        Some(match what {
            What::Message(message) => return self.said(message),
            What::Entered { title } => ItemKind::Notice(format!("You are in {title} now.")),
            What::Joined { who } if who.is_introduced() => {
                ItemKind::Notice(format!("{} joined.", who.name))
            }
            What::Joined { who } => {
                ItemKind::Notice(format!("A new member ({}) joined.", who.name))
            }
            What::Introduced { .. }
            | What::Forwarded(_)
            | What::JoinWithdrawn { .. }
            | What::JoinAnswered { .. } => {
                ItemKind::Notice(format!("{}.", sentence(&show::text_of(what))))
            }
            What::Left { myself: true, .. } => {
                ItemKind::Warning("You are not in this group any more.".into())
            }
            What::Left { who, .. } => ItemKind::Notice(format!("{} left.", who.name)),
            What::KeysChanged { who } => {
                let who = who.as_ref().map_or("A member", |who| &who.name);
                ItemKind::Notice(format!("{who} renewed keys."))
            }
            What::Unreadable { position, why } => unreadable(*position, *why),
            What::Missed { from, to } => ItemKind::Warning(format!(
                "The relay dropped {} items before they were read.",
                to.0.saturating_sub(from.0)
            )),
            What::Diverged => ItemKind::Warning(
                "This device fell out of step with the group, and asked to be added anew.".into(),
            ),
            What::Stranded => ItemKind::Warning(format!("{}.", sentence(&show::text_of(what)))),
            What::Repaired { from, to } => ItemKind::Warning(format!(
                "Back in step. What was sent meanwhile ({} items) is not to be read.",
                to.0.saturating_sub(from.0)
            )),
            What::RolledBack { .. } => {
                ItemKind::Warning(format!("{}.", sentence(&show::text_of(what))))
            }
            other => general(other)?,
        })
    }

    fn said(&self, message: &Message) -> Option<ItemKind> {
        if message.gone == Some(Gone::Expired) {
            return None;
        }
        let id = reference(message);
        let content = session::content(&message.content);
        if let Some(Content {
            body: Body::Edit { .. } | Body::Deletion { .. } | Body::Reaction { .. },
            ..
        }) = &content
        {
            return match &message.state {
                MessageState::Refused(why) => {
                    Some(ItemKind::Warning(format!("A change was not sent: {why}.")))
                }
                _ => None,
            };
        }
        let mut said = Said {
            from: message.from.name.clone(),
            mine: message.mine,
            state: message.state.clone(),
            text: String::new(),
            reply: None,
            attachment: None,
            edited: false,
            deleted: false,
            reactions: Vec::new(),
            expires: None,
        };
        let shown = self.timeline.get(&id);
        let body = match &shown {
            Some(shown) => shown.body,
            // What was refused is in no timeline.
            None => content.as_ref().map(|content| &content.body),
        };
        match body {
            None if content.is_none() => {
                said.text = format!("({} bytes of another program)", message.content.len());
            }
            None => said.deleted = true,
            Some(Body::Text(text)) => said.text.clone_from(text),
            Some(Body::Reply { to, text }) => {
                said.text.clone_from(text);
                said.reply = Some(self.quote(to));
            }
            Some(Body::Attachment { attachment, text }) => {
                said.text.clone_from(text);
                said.attachment =
                    Some(format!("{} ({})", attachment.name(), attachment.media_type()));
            }
            Some(Body::Custom { name, bytes }) => {
                said.text = format!("({name}, {} bytes)", bytes.len());
            }
            Some(_) => said.text = "(of a later version of this program)".into(),
        }
        if let Some(shown) = shown {
            if let Some(text) = shown.text {
                text.clone_into(&mut said.text);
            }
            said.edited = shown.edited;
            said.expires = shown.expires;
            said.reactions =
                shown.reactions.iter().map(|(word, of)| ((*word).to_owned(), of.len())).collect();
        }
        Some(ItemKind::Said(said))
    }

    fn quote(&self, id: &MessageRef) -> String {
        let entry = self.entries.values().find(|entry| match &entry.what {
            What::Message(message) => reference(message) == *id,
            _ => false,
        });
        let text = self.timeline.get(id).and_then(|shown| shown.text);
        match (entry, text) {
            (Some(Entry { number, what: What::Message(message), .. }), Some(text)) => {
                let first: String =
                    text.lines().next().unwrap_or_default().chars().take(40).collect();
                format!("#{number} {}: {first}", message.from.name)
            }
            _ => "a message that is not here".into(),
        }
    }
}

pub(crate) const fn reference(message: &Message) -> MessageRef {
    MessageRef { sender: message.from.member(), message: message.id }
}

fn unreadable(position: Position, why: Unreadable) -> ItemKind {
    let position = position.0;
    match why {
        Unreadable::Forged => ItemKind::Warning(format!(
            "Item {position} is FORGED: only an attack explains it. It was not taken."
        )),
        Unreadable::TooLate => {
            ItemKind::Notice(format!("Item {position} came too late: its keys are gone."))
        }
        Unreadable::Unsupported => {
            ItemKind::Notice(format!("Item {position} needs a later version of this program."))
        }
        Unreadable::OrphanWelcome => ItemKind::Notice(
            "Somebody added this device with a key package that it no longer has.".into(),
        ),
        Unreadable::Other => ItemKind::Notice(format!("Item {position} cannot be read.")),
        Unreadable::Unconfirmed => ItemKind::Warning(
            "An invitation to a group that its log does not know was REFUSED.".into(),
        ),
        Unreadable::Misaddressed => ItemKind::Warning(
            "An invitation to an address that is not its group's was REFUSED.".into(),
        ),
    }
}

/// With a capital.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// What is about no group, for the line of notes as well.
pub(crate) fn general(what: &What) -> Option<ItemKind> {
    Some(match what {
        What::Refused { why, .. } => ItemKind::Warning(format!("It was not done: {why}.")),
        What::Linked { name, .. } => {
            ItemKind::Notice(format!("This device is one of {name}'s now."))
        }
        What::TrustChanged { to: Trust::Changed, .. } => ItemKind::Warning(
            "The keys of a person have CHANGED: /members shows whose. Nothing is sent before you compare or accept."
                .into(),
        ),
        What::TrustChanged { to: Trust::Verified, .. } => {
            ItemKind::Notice("A person is verified now.".into())
        }
        What::TrustChanged { .. } => ItemKind::Notice("Changed keys are accepted.".into()),
        What::DeviceAdded { device, .. } => {
            ItemKind::Notice(format!("{} has a further device, and signed for it.", device.name))
        }
        What::DeviceRevoked { device, .. } => {
            ItemKind::Notice(format!("{} has one device less.", device.name))
        }
        What::ConflictingClaims { device, .. } => ItemKind::Warning(format!(
            "The device of {} says that it is of two persons: neither is trusted.",
            device.name
        )),
        What::JoinRequested { .. } => {
            ItemKind::Notice(format!("{}. /requests shows who that is.", show::text_of(what)))
        }
        What::JoinDeclined { .. } | What::JoinLapsed { .. } | What::Renamed { .. } => {
            ItemKind::Notice(format!("{}.", sentence(&show::text_of(what))))
        }
        What::OwnKeysReplaced { .. } | What::NotDelivered { .. } | What::JoinLinkFull { .. } => {
            ItemKind::Warning(format!("{}.", sentence(&show::text_of(what))))
        }
        What::Other { description } => ItemKind::Notice(description.clone()),
        _ => return None,
    })
}
