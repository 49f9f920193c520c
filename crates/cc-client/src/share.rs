//! Passing on what was said before newcomers came, by a member's choice.

use cc_core::MemberId;

use crate::{
    Client, Command, Fate, Fault, Forwarded, GroupId, History, HistoryEntries, OperationId,
    Position,
    frame::Content,
    history::MAX_ENTRIES,
    records::{EventRecord, Work},
};

/// Bytes of entries after which another message begins.
const MAX_CHUNK: usize = 1 << 20;

impl Client {
    /// Passes earlier messages on, in this order: to members of the group, or to all of them where `to` is empty. These
    /// are as many commands as it takes, all in one commit; their ids, which are made of `id`, are given. The
    /// same under the same id again does nothing.
    ///
    /// Everybody in the group could open what is sent; whom it is not for, it is not shown to.
    ///
    /// # Errors
    /// As [`submit`](Self::submit); [`Fault::NoSuchDevice`] for somebody who is not in the group, and
    /// [`Fault::TooLong`] for a message that does not fit into 4 MiB: that goes as an attachment, see
    /// [`HistoryEntries::Attached`]. Nothing is passed on then.
    pub fn share_history(
        &mut self,
        id: OperationId,
        group: GroupId,
        to: &[MemberId],
        entries: Vec<Forwarded>,
    ) -> Result<Vec<OperationId>, Fault> {
        let chunks = chunks(entries).into_iter().zip(0u64..);
        let commands = chunks.map(|(entries, at)| {
            let history = History { to: to.to_vec(), entries: HistoryEntries::Here(entries) };
            (id.derived(&format!("history {at}")), Command::ShareHistory { group, history })
        });
        let commands: Vec<_> = commands.collect();
        let ids = commands.iter().map(|(id, _)| *id).collect();
        self.submit_all(commands)?;
        Ok(ids)
    }

    pub(crate) fn share_now(
        &mut self,
        id: OperationId,
        group: GroupId,
        history: &History,
    ) -> Result<(), Fault> {
        self.expect_member(&group)?;
        let bytes = history.encode().map_err(|_| Fault::TooLong)?;
        if let Some(person) = self.untrusted_in(&group)? {
            return Err(Fault::Untrusted(person));
        }
        let members = self.known_members(&group)?;
        if let Some(stranger) = history.to.iter().find(|to| !members.contains(to.as_bytes())) {
            return Err(Fault::NoSuchDevice(*stranger));
        }
        let number = self.number_message(&group)?;
        self.enqueue(&group, Some(id), Work::History { number, bytes })
    }

    /// What a member passes on. The log says that it is that member's, and nothing says whose it was before.
    pub(crate) fn passed_on(
        &mut self,
        group: &GroupId,
        sender: [u8; 32],
        content: Content,
        position: Position,
    ) -> Result<Fate, Fault> {
        let Ok(history) = History::decode(content.bytes.as_slice()) else {
            return Ok(Fate::Malformed);
        };
        if !self.read_once(group, &sender, &content)? {
            return Ok(Fate::Duplicate);
        }
        if !history.to.is_empty() && !history.to.contains(&self.identity.id) {
            return Ok(Fate::Request);
        }
        self.state.emit(&EventRecord::Forwarded {
            group: *group,
            by: sender,
            message: content.id,
            position,
            history: content.bytes.0,
        })?;
        Ok(Fate::Message)
    }
}

/// Parts that each fit into a message, unless one entry alone does not.
fn chunks(entries: Vec<Forwarded>) -> Vec<Vec<Forwarded>> {
    let (mut chunks, mut chunk, mut len) = (Vec::new(), Vec::new(), 0usize);
    for entry in entries {
        let more = entry.content.len().saturating_add(entry.sender_name.len());
        if !chunk.is_empty() && (chunk.len() >= MAX_ENTRIES || len.saturating_add(more) > MAX_CHUNK)
        {
            chunks.push(core::mem::take(&mut chunk));
            len = 0;
        }
        len = len.saturating_add(more);
        chunk.push(entry);
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    chunks
}

#[cfg(test)]
mod liar;
