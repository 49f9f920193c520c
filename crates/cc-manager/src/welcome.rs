//! Receiving a welcome, and joining the group that it is for.

use cc_core::{DecodeError, Envelope, Kind, Standing};

use crate::{
    CascadingCipherManager, Error, Joined, change_parts, log, persistence::When, receive::Cause,
};

/// What a welcome from the delivery service turned out to be.
///
/// Only [`Forged`](Self::Forged) means an attack or damage.
#[derive(Debug)]
#[non_exhaustive]
pub enum IncomingWelcome {
    /// This member is in the group now.
    Joined(Joined),
    /// This member joined by this welcome before. No welcome leads back: ask for a new one.
    AlreadyUsed,
    /// This member is in a group, or was, and did not ask to be
    /// [added anew](CascadingCipherManager::rejoin_package). Such a welcome would replace the group.
    Unasked,
    /// It is for somebody else, or for a key package whose keys are gone.
    NotForMe,
    /// It needs something that another message will bring. Keep the bytes and receive them again.
    Early {
        /// The epoch that it names, where it names one. That is a claim: nothing authenticates it.
        epoch: Option<u64>,
    },
    /// It was not made for this call: another version of the wire format, another stack, or another
    /// kind.
    Foreign(DecodeError),
    /// Forged or damaged, or put together from several. The error is for the local log only.
    Forged(Error),
}

impl CascadingCipherManager {
    /// Joins a group by the welcome of the change that added this member.
    ///
    /// # Errors
    /// Only for what is wrong at this end: [`Error::NoGroupLayer`], [`Error::Store`], [`Error::Random`], and [`Error::Layer`] for a layer that fails. Nothing has
    /// changed then.
    pub fn receive_welcome(&mut self, wire: impl AsRef<[u8]>) -> Result<IncomingWelcome, Error> {
        let received = self.receive_welcome_if(wire, |_| true);
        received.map(|incoming| incoming.unwrap_or_else(|declined| declined))
    }

    /// As [`receive_welcome`](Self::receive_welcome), but shows `accept` the group before it is in
    /// force. Where it answers no, nothing changes and the declined group comes back as `Err`. Use it
    /// after [`rejoin_package`](Self::rejoin_package), for a welcome to another group than the one that
    /// was asked for replaces the state all the same.
    ///
    /// # Errors
    /// As [`receive_welcome`](Self::receive_welcome).
    pub fn receive_welcome_if(
        &mut self,
        wire: impl AsRef<[u8]>,
        accept: impl FnOnce(&Joined) -> bool,
    ) -> Result<Result<IncomingWelcome, IncomingWelcome>, Error> {
        let wire = wire.as_ref();
        self.expect_group_layer()?;
        if let Some(answer) = self.refuse_welcome(wire) {
            log::received_welcome(&answer);
            return Ok(Ok(answer));
        }
        let joined = self.transact_if(When::Now, accept, |stack, _, draft| {
            let joined = change_parts::join(stack, wire)?;
            draft.state.join(*joined.id.as_bytes());
            Ok(joined)
        });
        match joined {
            Ok(Ok(joined)) => Ok(Ok(IncomingWelcome::Joined(joined))),
            Ok(Err(declined)) => Ok(Err(IncomingWelcome::Joined(declined))),
            Err(error) => {
                let answer = match Cause::of(&error, self.standing(), None) {
                    Cause::Local => {
                        log::failed(&error);
                        return Err(error);
                    }
                    Cause::Duplicate => IncomingWelcome::AlreadyUsed,
                    Cause::Stale(_) | Cause::Own => IncomingWelcome::NotForMe,
                    Cause::Early(epoch) => IncomingWelcome::Early { epoch },
                    Cause::Foreign(why) => IncomingWelcome::Foreign(why),
                    Cause::Forged => IncomingWelcome::Forged(error),
                };
                log::received_welcome(&answer);
                Ok(Ok(answer))
            }
        }
    }

    /// What can be told before any layer looks at the welcome.
    fn refuse_welcome(&self, wire: &[u8]) -> Option<IncomingWelcome> {
        let envelope = match Envelope::peek(wire) {
            Ok(envelope) if envelope.kind() != Kind::Welcome => {
                return Some(IncomingWelcome::Foreign(DecodeError::Kind(envelope.kind())));
            }
            Ok(envelope) => envelope,
            // The layers' decoder names the reason.
            Err(_) => return None,
        };
        if envelope.change().is_some_and(|change| self.state.joined.contains(change)) {
            return Some(IncomingWelcome::AlreadyUsed);
        }
        let outside = self.standing() == Some(Standing::Outside);
        (!outside && !self.state.rejoining).then_some(IncomingWelcome::Unasked)
    }
}
