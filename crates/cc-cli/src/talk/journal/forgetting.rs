//! What leaves the store: the texts of messages that were deleted or edited, or whose time has run out.
//!
//! A text is in one record, that of its entry; with an edit, in that of the edit. So it is overwritten there, in the
//! commit that takes the deletion or the edit into the journal, or when the time is up, or at the next start. What a
//! file system or SQLite's log still has of a record is sealed, and gone when the store is closed.

use std::collections::BTreeSet;

use cc_client::{Body, Client, Content, EventId, Fault, GroupId, MessageRef, Position};
use serde::{Deserialize, Serialize};

use super::{
    Draft, Entry, GroupHeads, Heads, Message, MessageState, What, entry_key, get, group_key,
    index_key, put,
};

/// Why the text of a message is not here any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Gone {
    /// Its sender has deleted it.
    Deleted,
    /// Its sender has put another text in its place.
    Edited,
    /// Its time has run out.
    Expired,
}

/// Where the text of a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct TextRecord {
    /// The message itself.
    entry: u64,
    /// The edit whose text counts, and its place in the log.
    edit: Option<(Position, u64)>,
    /// Nothing of it is to come back.
    gone: Option<Gone>,
}

/// The hours in which something runs out.
const HOURS: &[u8] = b"expiring";
const HOUR: u64 = 3_600_000;

/// What runs out in one hour: when, in milliseconds since 1970, and which entry.
type Expiring = Vec<(u64, u64)>;

fn text_key(id: &MessageRef) -> Vec<u8> {
    [b"text ", &id.sender.as_bytes()[..], id.message.as_bytes()].concat()
}

fn hour_key(hour: u64) -> Vec<u8> {
    [HOURS, b" ", &hour.to_be_bytes()].concat()
}

impl Draft {
    /// Takes note of a message that is new, or of one's own that the log has now.
    pub(super) fn note_text(&mut self, client: &Client, entry: &Entry) -> Result<(), Fault> {
        let What::Message(message) = &entry.what else { return Ok(()) };
        let sender = message.from.member();
        let body = Content::decode(&message.content).ok().map(|content| content.body);
        match (body, &message.state) {
            (Some(Body::Edit { of, .. } | Body::Deletion { of }), _) if of.sender != sender => {
                Ok(())
            }
            (Some(Body::Edit { of, .. }), MessageState::Sent(at)) => {
                self.forget_copies(client, &of, Gone::Edited)?;
                self.edited(client, &of, (*at, entry.number))
            }
            (Some(Body::Deletion { of }), MessageState::Sent(_)) => {
                self.forget_copies(client, &of, Gone::Deleted)?;
                self.forget(client, &of, Gone::Deleted)
            }
            (Some(Body::Edit { .. } | Body::Deletion { .. } | Body::Reaction { .. }), _) => Ok(()),
            _ => {
                let id = MessageRef { sender, message: message.id };
                if self.get::<TextRecord>(client, &text_key(&id))?.is_none() {
                    let record = TextRecord { entry: entry.number, edit: None, gone: None };
                    self.records.push(put(text_key(&id), &record)?);
                }
                Ok(())
            }
        }
    }

    /// An edit is in the log: of the texts that there were, the last one stays.
    fn edited(
        &mut self,
        client: &Client,
        of: &MessageRef,
        (at, number): (Position, u64),
    ) -> Result<(), Fault> {
        let Some(mut record) = self.get::<TextRecord>(client, &text_key(of))? else {
            return Ok(());
        };
        match (record.gone, record.edit) {
            (Some(gone), _) => return self.empty(client, number, gone),
            (None, Some((later, _))) if later > at => {
                return self.empty(client, number, Gone::Edited);
            }
            (None, Some((_, known))) if known == number => return Ok(()),
            (None, Some((_, earlier))) => self.empty(client, earlier, Gone::Edited)?,
            (None, None) => self.empty(client, record.entry, Gone::Edited)?,
        }
        record.edit = Some((at, number));
        self.records.push(put(text_key(of), &record)?);
        Ok(())
    }

    /// Nothing of a message stays.
    fn forget(&mut self, client: &Client, of: &MessageRef, gone: Gone) -> Result<(), Fault> {
        let Some(record) = self.get::<TextRecord>(client, &text_key(of))? else { return Ok(()) };
        if record.gone.is_some() {
            return Ok(());
        }
        for number in record.edit.map(|(_, edit)| edit).into_iter().chain([record.entry]) {
            self.empty(client, number, gone)?;
        }
        let record = TextRecord { edit: None, gone: Some(gone), ..record };
        self.records.push(put(text_key(of), &record)?);
        Ok(())
    }

    /// Whether the author has deleted a message, as far as was read.
    pub(super) fn is_deleted(&self, client: &Client, id: &MessageRef) -> Result<bool, Fault> {
        let record = self.get::<TextRecord>(client, &text_key(id))?;
        Ok(record.is_some_and(|record| record.gone == Some(Gone::Deleted)))
    }

    /// Overwrites what an entry says.
    fn empty(&mut self, client: &Client, number: u64, gone: Gone) -> Result<(), Fault> {
        let Some(mut entry) = self.get::<Entry>(client, &entry_key(number))? else { return Ok(()) };
        if let What::Message(message) = &mut entry.what {
            message.content = emptied(&message.content, gone)?;
            message.gone = Some(gone);
            self.records.push(put(entry_key(number), &entry)?);
            self.changed.push(entry);
        }
        Ok(())
    }

    /// A message with a timer was read: it runs.
    fn start_timer(&mut self, client: &Client, entry: Entry, now: u64) -> Result<(), Fault> {
        let mut entry = entry;
        let What::Message(message) = &mut entry.what else { return Ok(()) };
        let Some(after) = message.disappears_after().filter(|_| message.read_at.is_none()) else {
            return Ok(());
        };
        message.read_at = Some(now);
        let due = now.saturating_add(u64::from(after).saturating_mul(1000));
        self.expires_at(client, due, entry.number)?;
        self.records.push(put(entry_key(entry.number), &entry)?);
        Ok(())
    }

    /// One's own message with a timer runs from the beginning.
    pub(super) fn expires_at(
        &mut self,
        client: &Client,
        due: u64,
        number: u64,
    ) -> Result<(), Fault> {
        let hour = due / HOUR;
        let mut expiring: Expiring = self.get(client, &hour_key(hour))?.unwrap_or_default();
        expiring.push((due, number));
        self.records.push(put(hour_key(hour), &expiring)?);
        let mut hours: BTreeSet<u64> = self.get(client, HOURS)?.unwrap_or_default();
        if hours.insert(hour) {
            self.records.push(put(HOURS.to_vec(), &hours)?);
        }
        Ok(())
    }
}

impl Message {
    /// Seconds after which it is to be forgotten.
    pub(super) fn disappears_after(&self) -> Option<u32> {
        Content::decode(&self.content).ok()?.disappears_after.filter(|_| self.gone.is_none())
    }
}

/// A content of the same kind as far as somebody has to know, without what was said.
pub(super) fn emptied(content: &[u8], gone: Gone) -> Result<Vec<u8>, Fault> {
    let Ok(Content { disappears_after, body }) = Content::decode(content) else {
        return Content::text("").encode().map_err(|_| Fault::TooLong);
    };
    let text = String::new();
    let body = match body {
        Body::Edit { of, .. } => Body::Edit { of, text },
        // Its text was edited, and the rest of it stays.
        Body::Reply { to, .. } if gone == Gone::Edited => Body::Reply { to, text },
        Body::Attachment { attachment, .. } if gone == Gone::Edited => {
            Body::Attachment { attachment, text }
        }
        _ => Body::Text(text),
    };
    Content { disappears_after, body }.encode().map_err(|_| Fault::TooLong)
}

/// Everything in a group was shown to somebody, at this time.
pub(crate) fn read(client: &mut Client, group: &GroupId, now: u64) -> Result<(), Fault> {
    let mut heads = get::<GroupHeads>(client, &group_key(group))?.unwrap_or_default();
    if heads.unread == 0 {
        return Ok(());
    }
    let mut draft = Draft::default();
    for at in (1..=heads.count).rev() {
        let Some(number) = get::<u64>(client, &index_key(group, at))? else { continue };
        if number <= heads.read {
            break;
        }
        if let Some(entry) = super::entry(client, number)? {
            draft.start_timer(client, entry, now)?;
        }
    }
    (heads.read, heads.unread) = (super::last(client)?, 0);
    draft.groups.insert(*group, heads);
    client.acknowledge(EventId(0), &draft.records()?)
}

/// `cascade receive` printed everything up to this entry, at this time.
pub(crate) fn set_printed(client: &mut Client, through: u64, now: u64) -> Result<(), Fault> {
    let mut heads = get::<Heads>(client, b"journal")?.unwrap_or_default();
    let mut draft = Draft::default();
    for number in heads.printed.saturating_add(1)..=through.min(heads.last) {
        if let Some(entry) = super::entry(client, number)? {
            draft.start_timer(client, entry, now)?;
        }
    }
    heads.printed = heads.printed.max(through);
    draft.heads = Some(heads);
    client.acknowledge(EventId(0), &draft.records()?)
}

/// These entries were shown, at this time.
pub(crate) fn shown(client: &mut Client, entries: &[Entry], now: u64) -> Result<(), Fault> {
    let mut draft = Draft::default();
    for entry in entries {
        draft.start_timer(client, entry.clone(), now)?;
    }
    let records = draft.records()?;
    if records.is_empty() { Ok(()) } else { client.acknowledge(EventId(0), &records) }
}

/// When something runs out next, in milliseconds since 1970.
pub(crate) fn next_expiry(client: &Client) -> Result<Option<u64>, Fault> {
    let hours: BTreeSet<u64> = get(client, HOURS)?.unwrap_or_default();
    let Some(hour) = hours.first() else { return Ok(None) };
    let expiring: Expiring = get(client, &hour_key(*hour))?.unwrap_or_default();
    Ok(Some(expiring.iter().map(|(due, _)| *due).min().unwrap_or(0)))
}

/// Forgets what has run out, in one commit; gives the entries that are others now.
pub(crate) fn forget_expired(client: &mut Client, now: u64) -> Result<Vec<Entry>, Fault> {
    let mut hours: BTreeSet<u64> = get(client, HOURS)?.unwrap_or_default();
    let mut draft = Draft::default();
    let past: Vec<u64> = hours.range(..=now / HOUR).copied().collect();
    for hour in past {
        let expiring: Expiring = get(client, &hour_key(hour))?.unwrap_or_default();
        let (over, left): (Expiring, Expiring) =
            expiring.into_iter().partition(|(due, _)| *due <= now);
        for (_, number) in over {
            if let Some(entry) = super::entry(client, number)?
                && let What::Message(message) = &entry.what
            {
                let id = MessageRef { sender: message.from.member(), message: message.id };
                draft.forget(client, &id, Gone::Expired)?;
            }
        }
        if left.is_empty() {
            hours.remove(&hour);
            draft.records.push(cc_client::AppRecord { key: hour_key(hour), value: None });
        } else {
            draft.records.push(put(hour_key(hour), &left)?);
        }
    }
    if draft.records.is_empty() {
        return Ok(Vec::new());
    }
    draft.records.push(put(HOURS.to_vec(), &hours)?);
    client.acknowledge(EventId(0), &draft.records()?)?;
    Ok(draft.changed)
}

#[cfg(test)]
mod tests;
