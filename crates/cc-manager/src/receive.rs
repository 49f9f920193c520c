//! Receiving: one call for whatever the delivery service delivers, and an answer for each case.

use alloc::vec::Vec;

use cc_core::{DecodeError, Kind, LayerErrorKind, MemberId, Opened, PartList, Standing};

use crate::{
    CascadingCipherManager, ChangeId, ChangeSummary, Error, LayerReport, Message, Proposed,
    change_parts::process_commit,
    entries,
    history::Origin,
    log,
    persistence::{Draft, Persistence, When},
    proposing::process_proposal,
    stack::{OpenedMessage, Reports, Stack},
};

/// Epochs that a message may claim to be ahead of its receiver. What claims more is
/// [`Forged`](Incoming::Forged): nobody misses so many changes, and whoever keeps early messages for
/// later should not have to keep everything that an attacker numbers far into the future.
pub const MAX_EPOCHS_AHEAD: u64 = 1024;

/// What bytes from the delivery service turned out to be.
///
/// Only [`Forged`](Self::Forged) means an attack or damage. The others are everyday life: services
/// deliver twice, late, in another order, and give senders their own messages.
///
/// A stack in which no layer keeps replay state ([`StackReport::refuses_replays`] is false: AES alone,
/// say) opens a message each time it comes, its own included: every time is a
/// [`Message`](Self::Message) then, and the application has to number its messages.
///
/// [`StackReport::refuses_replays`]: crate::StackReport::refuses_replays
#[derive(Debug)]
#[non_exhaustive]
pub enum Incoming {
    /// A message of the application.
    Message(Message),
    /// Another member's commit, now in force.
    Commit(ChangeSummary),
    /// A member asks for a change, such as its own removal. What can be committed of it is among the
    /// [`proposals`](CascadingCipherManager::proposals): an addition whose key package bundle does not
    /// verify here is not, for it may have expired since it was proposed.
    Proposal(Proposed),
    /// This member made it.
    Own {
        /// The staged change whose commit it is. Where it comes from the delivery service, the service
        /// accepted the commit: [`confirm`](CascadingCipherManager::confirm) the change. `None` for
        /// anything else, and for a commit that was confirmed or discarded before.
        change: Option<ChangeId>,
    },
    /// It was received before.
    Duplicate,
    /// The keys for it are gone, or this member never had them: it is of an epoch before this member
    /// joined or after it was removed, or older than what the layers keep.
    Stale {
        /// The epoch that it names, where it names one. That is a claim: nothing authenticates it.
        epoch: Option<u64>,
    },
    /// It is of a later epoch, or needs something that another message will bring. Keep the bytes, and
    /// receive them again after the next commit or welcome, and after
    /// [`confirm`](CascadingCipherManager::confirm), for a commit of one's own leads there too. How many
    /// to keep is for the application to limit: what is early is not authenticated.
    Early {
        /// The epoch that it names, where it names one: for a member of the group at most
        /// [`MAX_EPOCHS_AHEAD`] from the present one. That is a claim: nothing authenticates it.
        epoch: Option<u64>,
    },
    /// It was not made for this call: another version of the wire format (bytes at random look like
    /// that too), another stack, or another kind, such as a welcome, which is for
    /// [`receive_welcome`](CascadingCipherManager::receive_welcome).
    Foreign(DecodeError),
    /// Forged or damaged, or a proposal beyond what one member may propose. The error is for the local
    /// log: whoever tells the sender why helps an attacker.
    Forged(Error),
}

impl Incoming {
    /// The message, where it is one.
    #[must_use]
    pub fn into_message(self) -> Option<Message> {
        if let Self::Message(message) = self { Some(message) } else { None }
    }
}

impl CascadingCipherManager {
    /// Receives whatever the delivery service delivers to the group, or to the pair: messages, commits
    /// and proposals. What opened is in force when this returns, and with a store it is durable. A
    /// commit of another member discards a staged change of this one, for the change was made for the
    /// epoch that ends.
    ///
    /// # Errors
    /// Only for what is wrong at this end: [`Error::Store`], [`Error::Random`], and [`Error::Layer`]
    /// for a layer that is not ready or fails. Nothing has changed then. Whatever the bytes are, the
    /// answer is an [`Incoming`].
    pub fn receive(&mut self, wire: impl AsRef<[u8]>) -> Result<Incoming, Error> {
        self.receive_with(wire, [])
    }

    /// As [`receive`](Self::receive), for messages that were encrypted with `associated_data`. Commits
    /// and proposals have none.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_with(
        &mut self,
        wire: impl AsRef<[u8]>,
        associated_data: impl AsRef<[u8]>,
    ) -> Result<Incoming, Error> {
        let received =
            self.receive_one(wire.as_ref(), associated_data.as_ref(), When::Now, |_| true);
        received.map(|incoming| incoming.unwrap_or_else(|declined| declined))
    }

    /// As [`receive_with`](Self::receive_with), but asks `accept` before a message, commit or proposal
    /// counts. Where it answers no, nothing changes and what was declined comes back as `Err`; the same
    /// bytes can be received again.
    ///
    /// A member that declines a commit which the others accepted stays behind in the old epoch.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_if(
        &mut self,
        wire: impl AsRef<[u8]>,
        associated_data: impl AsRef<[u8]>,
        accept: impl FnOnce(&Incoming) -> bool,
    ) -> Result<Result<Incoming, Incoming>, Error> {
        self.receive_one(wire.as_ref(), associated_data.as_ref(), When::Now, accept)
    }

    /// Receives many at once, in this order, and makes them durable in one commit of the store.
    ///
    /// # Errors
    /// [`Error::Store`]. Nothing is handed out then; the messages that opened are in the
    /// [`inbox`](Self::inbox) as soon as the store works again, and the commits are in force.
    pub fn receive_all<W: AsRef<[u8]>>(
        &mut self,
        wires: impl IntoIterator<Item = W>,
    ) -> Result<Vec<Result<Incoming, Error>>, Error> {
        self.receive_all_with(wires, [])
    }

    /// As [`receive_all`](Self::receive_all), for messages that were encrypted with `associated_data`.
    ///
    /// # Errors
    /// As [`receive_all`](Self::receive_all).
    pub fn receive_all_with<W: AsRef<[u8]>>(
        &mut self,
        wires: impl IntoIterator<Item = W>,
        associated_data: impl AsRef<[u8]>,
    ) -> Result<Vec<Result<Incoming, Error>>, Error> {
        self.receive_all_reporting(wires, associated_data, |_| ())
    }

    /// As [`receive_all_with`](Self::receive_all_with), and hands out what each layer did with each of them,
    /// as [`last_report`](Self::last_report) gives it for the last one.
    ///
    /// # Errors
    /// As [`receive_all`](Self::receive_all).
    pub fn receive_all_reporting<W: AsRef<[u8]>>(
        &mut self,
        wires: impl IntoIterator<Item = W>,
        associated_data: impl AsRef<[u8]>,
        mut report: impl FnMut(&[LayerReport]),
    ) -> Result<Vec<Result<Incoming, Error>>, Error> {
        self.prepare()?;
        let associated_data = associated_data.as_ref();
        let received = wires
            .into_iter()
            .map(|wire| {
                let wire = wire.as_ref();
                let received = self.receive_one(wire, associated_data, When::Flushed, |_| true);
                report(self.last_report());
                received.map(|incoming| incoming.unwrap_or_else(|declined| declined))
            })
            .collect();
        self.flush()?;
        Ok(received)
    }

    fn receive_one(
        &mut self,
        wire: &[u8],
        associated_data: &[u8],
        when: When,
        accept: impl FnOnce(&Incoming) -> bool,
    ) -> Result<Result<Incoming, Incoming>, Error> {
        if let Some(incoming) = self.recognize(wire) {
            log::received(&incoming);
            return Ok(Ok(incoming));
        }
        let opened = self.transact_if(when, accept, |stack, reports, draft| {
            open(stack, reports, draft, wire, associated_data)
        });
        match opened {
            Ok(Ok(incoming)) => Ok(Ok(incoming)),
            // Nothing of it is in the inbox.
            Ok(Err(Incoming::Message(message))) => Ok(Err(Incoming::Message(message.without_id()))),
            Ok(Err(incoming)) => Ok(Err(incoming)),
            Err(error) => {
                let incoming = self.classify(wire, error).inspect_err(log::failed)?;
                log::received(&incoming);
                Ok(Ok(incoming))
            }
        }
    }

    /// Which commits this member made or processed before, by its own records. Messages and proposals
    /// are too many to be remembered: for those the layers, and the outbox, can tell.
    fn recognize(&self, wire: &[u8]) -> Option<Incoming> {
        if Kind::of(wire) != Ok(Kind::Commit) {
            return None;
        }
        match self.state.history.find(wire)? {
            Origin::Own => {
                let staged = self.staged_change().filter(|change| change.commit == wire);
                Some(Incoming::Own { change: staged.map(crate::Change::id) })
            }
            Origin::Processed => Some(Incoming::Duplicate),
        }
    }

    /// What an error tells about the bytes; `Err` for one of this end.
    fn classify(&self, wire: &[u8], error: Error) -> Result<Incoming, Error> {
        let incoming = match Cause::of(&error, self.standing(), self.epoch()) {
            Cause::Local => return Err(error),
            Cause::Early(epoch) => return Ok(Incoming::Early { epoch }),
            Cause::Own => return Ok(Incoming::Own { change: None }),
            Cause::Foreign(why) => return Ok(Incoming::Foreign(why)),
            Cause::Duplicate => Incoming::Duplicate,
            Cause::Stale(epoch) => Incoming::Stale { epoch },
            Cause::Forged => Incoming::Forged(error),
        };
        // Not every layer can tell its own messages from others. Of commits the history does, and none of
        // them is in the outbox.
        let may_be_own = Kind::of(wire) != Ok(Kind::Commit);
        match &self.persistence {
            Some(persistence) if may_be_own && is_in_outbox(persistence, wire)? => {
                Ok(Incoming::Own { change: None })
            }
            _ => Ok(incoming),
        }
    }
}

fn is_in_outbox(persistence: &Persistence, wire: &[u8]) -> Result<bool, Error> {
    Ok(entries::in_outbox(persistence.store(), persistence.place(), wire)?)
}

/// Why bytes did not open.
pub(crate) enum Cause {
    /// Something at this end, whatever the bytes.
    Local,
    Own,
    Duplicate,
    Stale(Option<u64>),
    Early(Option<u64>),
    Foreign(DecodeError),
    Forged,
}

impl Cause {
    /// The cause of `error`, for a member in this standing and epoch.
    pub(crate) fn of(error: &Error, standing: Option<Standing>, present: Option<u64>) -> Self {
        match error {
            Error::Decode(
                why @ (DecodeError::Version(_) | DecodeError::Kind(_) | DecodeError::Stack),
            ) => Self::Foreign(*why),
            Error::Decode(_)
            | Error::Disagreement
            | Error::PairwiseInGroup { .. }
            | Error::TooManyProposals(_) => Self::Forged,
            Error::UnsignedBundle | Error::OwnBundle => Self::Forged,
            Error::NotInvited => Self::Stale(None),
            Error::StaleEpoch { epoch, .. } => Self::Stale(Some(*epoch)),
            Error::EarlyEpoch { epoch, present } => Self::early(Some(*epoch), Some(*present)),
            Error::Layer { source, .. } => match source.kind() {
                LayerErrorKind::Own => Self::Own,
                LayerErrorKind::Duplicate => Self::Duplicate,
                LayerErrorKind::Stale => Self::Stale(source.epoch()),
                LayerErrorKind::Early => Self::early(source.epoch(), present),
                LayerErrorKind::Rejected => Self::Forged,
                // The welcome may bring the keys; without one nothing does.
                LayerErrorKind::NotReady if standing == Some(Standing::Outside) => {
                    Self::Early(source.epoch())
                }
                LayerErrorKind::NotReady if standing == Some(Standing::Removed) => {
                    Self::Stale(source.epoch())
                }
                _ => Self::Local,
            },
            _ => Self::Local,
        }
    }

    fn early(claimed: Option<u64>, present: Option<u64>) -> Self {
        match (claimed, present) {
            (Some(claimed), Some(present))
                if claimed > present.saturating_add(MAX_EPOCHS_AHEAD) =>
            {
                Self::Forged
            }
            _ => Self::Early(claimed),
        }
    }
}

/// Opens a message, commit or proposal, and stages what it changes.
fn open(
    stack: &mut Stack,
    reports: &mut Reports,
    draft: &mut Draft,
    wire: &[u8],
    associated_data: &[u8],
) -> Result<Incoming, Error> {
    match Kind::of(wire)? {
        Kind::Application | Kind::First => {
            open_message(stack, reports, draft, wire, associated_data).map(Incoming::Message)
        }
        kind @ (Kind::Commit | Kind::Proposal) if stack.member().is_some() => {
            let OpenedMessage { buffer, sender, epoch, .. } =
                stack.open(kind, wire, &[], reports)?;
            if kind == Kind::Commit {
                draft.state.remember_processed(wire);
                open_commit(stack, draft, buffer.as_slice(), sender).map(Incoming::Commit)
            } else {
                process_proposal(stack, &mut draft.state, buffer.as_slice(), sender, epoch)
                    .map(Incoming::Proposal)
            }
        }
        kind => Err(DecodeError::Kind(kind).into()),
    }
}

/// Opens a message, and puts it into the inbox where there is one.
pub(crate) fn open_message(
    stack: &mut Stack,
    reports: &mut Reports,
    draft: &mut Draft,
    wire: &[u8],
    associated_data: &[u8],
) -> Result<Message, Error> {
    let OpenedMessage { buffer, sender, epoch, sender_name } = {
        let message = draft.state.without_opening(wire, stack.id())?;
        let bound = draft.state.bound(associated_data);
        stack.open(Kind::Application, message, &bound, reports)?
    };
    draft.state.answered();
    let mut opened = Opened::default().named(sender_name);
    (opened.sender, opened.epoch) = (sender, epoch);
    let id = draft.receive(buffer.as_slice(), &opened)?;
    let message = Message::new(buffer, opened);
    Ok(match id {
        Some(id) => message.received(id),
        None => message,
    })
}

fn open_commit(
    stack: &mut Stack,
    draft: &mut Draft,
    parts: &[u8],
    sender: Option<MemberId>,
) -> Result<ChangeSummary, Error> {
    let list = PartList::decode(parts)?;
    let (mut summary, members) = process_commit(stack, &list, sender)?;
    let state = &mut draft.state;
    summary.superseded = state.staged.as_ref().map(|staged| staged.id());
    if summary.removed_self {
        state.leave_group();
    } else {
        summary.leave_again = state.requests.own_leave.leaves;
        state.follow(&members, &summary.added, &summary.removed);
    }
    Ok(summary)
}
