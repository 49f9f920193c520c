//! Of which epoch a message is.

use cc_core::Kind;

use crate::{Error, stack::agree};

/// The epoch of one message: all layers that can tell name the same one, and for a commit or proposal
/// it is the present one. Keys of the past, which a thief or a removed member may have, change nothing.
pub(crate) struct EpochCheck {
    /// Of a commit or proposal, in a group.
    present: Option<u64>,
    needed: bool,
    found: Option<u64>,
}

impl EpochCheck {
    pub(crate) fn new(kind: Kind, present: impl FnOnce() -> Option<u64>) -> Self {
        let needed = matches!(kind, Kind::Commit | Kind::Proposal);
        Self { present: needed.then(present).flatten(), needed, found: None }
    }

    pub(crate) fn add(&mut self, epoch: Option<u64>) -> Result<(), Error> {
        agree(&mut self.found, epoch)?;
        match (self.present, epoch) {
            (Some(present), Some(epoch)) if epoch < present => {
                Err(Error::StaleEpoch { epoch, present })
            }
            (Some(present), Some(epoch)) if epoch > present => {
                Err(Error::EarlyEpoch { epoch, present })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn finish(self) -> Result<Option<u64>, Error> {
        if self.needed && self.found.is_none() {
            return Err(Error::EpochUnknown);
        }
        Ok(self.found)
    }
}
