//! What the layers of a message must agree on: who sent it, and in which epoch.

use cc_core::Kind;

use crate::Error;

/// Takes over what one more layer says, such as who the sender is; no two layers say two things.
pub(crate) fn agree<T: Copy + PartialEq>(
    known: &mut Option<T>,
    says: Option<T>,
) -> Result<(), Error> {
    match (*known, says) {
        (Some(a), Some(b)) if a != b => Err(Error::Disagreement),
        (None, _) => {
            *known = says;
            Ok(())
        }
        _ => Ok(()),
    }
}

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
