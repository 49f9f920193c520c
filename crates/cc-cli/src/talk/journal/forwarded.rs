//! What members passed on. It is their word, and who is said to have written it may still take it back: where the
//! author deletes or edits the message, the copy leaves the store as the message does.

use cc_client::{Body, Client, Content, Fault, GroupId, MessageRef, Person};
use cc_core::MemberId;

use super::{Draft, Entry, Forwarded, Gone, What, Who, entry_key, forgetting::emptied, put};

impl Draft {
    /// Takes what a member passed on: each once, also if that member passes it on again.
    pub(super) fn forward(
        &mut self,
        client: &Client,
        at: u64,
        group: GroupId,
        by: &Person,
        entries: Vec<cc_client::Forwarded>,
    ) -> Result<(), Fault> {
        for entry in entries {
            let key = forwarded_key(&group, by, &entry);
            if client.record(&key)?.is_some() || !self.forwarded.insert(key.clone()) {
                continue;
            }
            self.records.push(put(key, &())?);
            let said = Content::decode(&entry.content).ok();
            let subject = subject(&entry, said.as_ref().map(|said| &said.body));
            let gone = match said {
                // How much of its time is left, nobody here knows.
                Some(said) if said.disappears_after.is_some() => Some(Gone::Expired),
                _ if self.is_deleted(client, &subject)? => Some(Gone::Deleted),
                _ => None,
            };
            let content = match gone {
                Some(gone) => emptied(&entry.content, gone)?,
                None => entry.content,
            };
            let what = What::Forwarded(Forwarded {
                by: Who::from(by),
                author: (*entry.sender.as_bytes(), entry.sender_name),
                id: entry.message,
                written: entry.wall,
                content,
                gone,
            });
            let number = self.add(client, at, Some(group), what)?;
            if gone.is_none() {
                let key = copies_key(&subject);
                let mut copies: Vec<u64> = self.get(client, &key)?.unwrap_or_default();
                copies.push(number);
                self.records.push(put(key, &copies)?);
            }
        }
        Ok(())
    }

    /// The author has deleted or edited a message: what others passed on of it is forgotten.
    pub(super) fn forget_copies(
        &mut self,
        client: &Client,
        of: &MessageRef,
        gone: Gone,
    ) -> Result<(), Fault> {
        let copies: Vec<u64> = self.get(client, &copies_key(of))?.unwrap_or_default();
        if copies.is_empty() {
            return Ok(());
        }
        for number in copies {
            let Some(mut entry) = self.get::<Entry>(client, &entry_key(number))? else { continue };
            if let What::Forwarded(forwarded) = &mut entry.what {
                forwarded.content = emptied(&forwarded.content, gone)?;
                forwarded.gone = Some(gone);
                self.records.push(put(entry_key(number), &entry)?);
                self.changed.push(entry);
            }
        }
        self.records.push(cc_client::AppRecord { key: copies_key(of), value: None });
        Ok(())
    }
}

/// The message that an entry is, or that it edits.
fn subject(entry: &cc_client::Forwarded, body: Option<&Body>) -> MessageRef {
    match body {
        Some(Body::Edit { of, .. }) if of.sender == entry.sender => *of,
        _ => MessageRef { sender: entry.sender, message: entry.message },
    }
}

fn forwarded_key(group: &GroupId, by: &Person, entry: &cc_client::Forwarded) -> Vec<u8> {
    let (group, by, author): (_, _, &MemberId) =
        (group.as_bytes(), by.id.as_bytes(), &entry.sender);
    [b"forwarded ", &group[..], by, author.as_bytes(), entry.message.as_bytes()].concat()
}

fn copies_key(of: &MessageRef) -> Vec<u8> {
    [b"copies ", &of.sender.as_bytes()[..], of.message.as_bytes()].concat()
}
