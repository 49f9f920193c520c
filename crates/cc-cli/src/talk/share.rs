//! Earlier messages that a member passes on to who came later.

use std::collections::BTreeSet;

use cc_client::{Body, Forwarded, GroupId, OperationId};
use cc_core::MemberId;

use super::{
    error::TalkError,
    journal::{Entry, MessageState, What},
    session::{Session, content},
};

/// Bytes of a name that is passed on.
const MAX_NAME: usize = 255;

impl Session {
    /// What of the last `last` entries of a group may be passed on: messages that are in the log, and that nobody has
    /// deleted and no timer takes away.
    pub(crate) fn to_share(&self, group: &GroupId, last: u64) -> Result<Vec<Forwarded>, TalkError> {
        Ok(passed_on(&self.history(group, last)?))
    }

    /// Passes that on to these members; gives the commands, and how many messages it is.
    pub(crate) fn share(
        &mut self,
        group: GroupId,
        to: &[MemberId],
        last: u64,
    ) -> Result<(Vec<OperationId>, usize), TalkError> {
        let entries = self.to_share(&group, last)?;
        let count = entries.len();
        if count == 0 {
            return Err(TalkError::NothingToShare);
        }
        let id = OperationId::random().map_err(|_| TalkError::NoRandomness)?;
        Ok((self.client().share_history(id, group, to, entries)?, count))
    }
}

/// What of a history is passed on, oldest first.
fn passed_on(history: &[Entry]) -> Vec<Forwarded> {
    let messages = history.iter().filter_map(|entry| match &entry.what {
        What::Message(message) => Some((entry.at, message)),
        _ => None,
    });
    let messages: Vec<_> = messages.collect();
    let deleted =
        messages.iter().filter_map(|(_, message)| match content(&message.content)?.body {
            Body::Deletion { of } if of.sender == message.from.member() => Some(of.message),
            _ => None,
        });
    let deleted: BTreeSet<OperationId> = deleted.collect();
    let stays = messages.into_iter().filter(|(_, message)| {
        let said = content(&message.content);
        let passes = said.is_none_or(|said| {
            said.disappears_after.is_none() && !matches!(said.body, Body::Deletion { .. })
        });
        passes
            && message.gone.is_none()
            && !deleted.contains(&message.id)
            && matches!(message.state, MessageState::Sent(_))
    });
    let forwarded = stays.map(|(at, message)| {
        let mut name = message.from.name.clone();
        while name.len() > MAX_NAME {
            name.pop();
        }
        Forwarded {
            sender: message.from.member(),
            sender_name: name,
            message: message.id,
            wall: at,
            content: message.content.clone(),
        }
    });
    forwarded.collect()
}
