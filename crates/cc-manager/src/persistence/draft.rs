//! What one operation is to write.

use cc_core::{Opened, store::StoreError};

use super::Persistence;
use crate::{MessageId, Recipients, entries::Entries, state::State};

/// The state that an operation leads to, and what it puts into the inbox and outbox.
pub(crate) struct Draft {
    pub(crate) state: State,
    /// `None` where nothing keeps them.
    pub(crate) entries: Option<Entries>,
}

impl Draft {
    /// The state as it is, for an operation to change.
    pub(crate) fn new(state: &State, persistence: Option<&Persistence>) -> Self {
        Self { state: state.clone(), entries: persistence.and_then(Persistence::entries) }
    }

    /// Puts a message into the inbox, where there is one.
    pub(crate) fn receive(
        &mut self,
        plaintext: &[u8],
        opened: &Opened,
    ) -> Result<Option<MessageId>, StoreError> {
        let Some(entries) = &mut self.entries else { return Ok(None) };
        let number = self.state.next_entry;
        self.state.next_entry += 1;
        entries.receive(number, plaintext, opened)?;
        Ok(Some(MessageId(number)))
    }

    /// Puts what is to be sent into the outbox, where there is one.
    pub(crate) fn send(
        &mut self,
        wire: &[u8],
        epoch: Option<u64>,
        recipients: &Recipients,
    ) -> Result<(), StoreError> {
        if let Some(entries) = &mut self.entries {
            entries.send(self.state.next_entry, wire, epoch, recipients)?;
            self.state.next_entry += 1;
        }
        Ok(())
    }
}
