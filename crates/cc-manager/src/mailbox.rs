//! What a manager with a store keeps for the application: messages that were received and not yet
//! acknowledged, and what was made to be sent and is not known to be with the delivery service.

use alloc::vec::Vec;

use crate::{
    CascadingCipherManager, Error, LayerReport, Message, MessageId, OutboxEntry, entries,
    persistence::{Persistence, When},
    place::Place,
};

impl CascadingCipherManager {
    /// Whether what is received and what is made to be sent goes into the inbox and the outbox, as it does
    /// at first. Who says `false` keeps it itself, in a transaction of the store around these calls, or a
    /// crash between the two loses messages. What is there already stays. It is not kept: set it after
    /// opening.
    pub fn set_mailbox(&mut self, kept: bool) {
        if let Some(persistence) = &mut self.persistence {
            persistence.without_mailbox = !kept;
        }
    }

    /// Encrypts many messages, and makes them durable at once.
    ///
    /// # Errors
    /// As [`encrypt`](Self::encrypt). No message is handed out then; nor does the next one use its
    /// keys.
    pub fn encrypt_all<P: AsRef<[u8]>>(
        &mut self,
        plaintexts: impl IntoIterator<Item = P>,
    ) -> Result<Vec<Vec<u8>>, Error> {
        self.encrypt_all_with(plaintexts, [])
    }

    /// As [`encrypt_all`](Self::encrypt_all), and authenticates `associated_data` with each of them.
    ///
    /// # Errors
    /// As [`encrypt_all`](Self::encrypt_all).
    pub fn encrypt_all_with<P: AsRef<[u8]>>(
        &mut self,
        plaintexts: impl IntoIterator<Item = P>,
        associated_data: impl AsRef<[u8]>,
    ) -> Result<Vec<Vec<u8>>, Error> {
        self.encrypt_all_reporting(plaintexts, associated_data, |_| ())
    }

    /// As [`encrypt_all_with`](Self::encrypt_all_with), and hands out what each layer did with each of them,
    /// as [`last_report`](Self::last_report) gives it for the last one.
    ///
    /// # Errors
    /// As [`encrypt_all`](Self::encrypt_all).
    pub fn encrypt_all_reporting<P: AsRef<[u8]>>(
        &mut self,
        plaintexts: impl IntoIterator<Item = P>,
        associated_data: impl AsRef<[u8]>,
        mut report: impl FnMut(&[LayerReport]),
    ) -> Result<Vec<Vec<u8>>, Error> {
        self.prepare()?;
        let (mut wires, associated_data) = (Vec::new(), associated_data.as_ref());
        let sealed = plaintexts.into_iter().try_for_each(|plaintext| {
            wires.push(self.encrypt_one(plaintext.as_ref(), associated_data, When::Flushed)?);
            report(self.last_report());
            Ok(())
        });
        match sealed.and_then(|()| self.flush()) {
            Ok(()) => Ok(wires),
            Err(error) => {
                if let Some(persistence) = &mut self.persistence {
                    persistence.take_back(&wires);
                }
                Err(error)
            }
        }
    }

    /// The messages that were received and not acknowledged, oldest first. None without a store.
    ///
    /// A program that crashed may have seen them or not: it asks for them when it starts. Where there
    /// may be many, [`inbox_after`](Self::inbox_after) gives some at a time.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn inbox(&mut self) -> Result<Vec<Message>, Error> {
        self.inbox_after(None, usize::MAX)
    }

    /// At most `limit` messages of the [`inbox`](Self::inbox), the oldest of those with a greater id
    /// than `after`. Only these are held in memory at once. Records that come before them are passed
    /// over one by one: acknowledge what was handled, and begin at `None` again.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn inbox_after(
        &mut self,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<Message>, Error> {
        let Some(persistence) = self.readable()? else { return Ok(Vec::new()) };
        Ok(entries::read_inbox(persistence.store(), persistence.place(), after, limit)?)
    }

    /// The application is done with these messages, such as [`Message::id`] of one: they leave the
    /// [`inbox`](Self::inbox), and their plaintext the store. Those that are not there are passed
    /// over.
    ///
    /// # Errors
    /// [`Error::Store`]; they are all still there then.
    pub fn acknowledge(&mut self, ids: impl IntoIterator<Item = MessageId>) -> Result<(), Error> {
        self.forget(|batch, place| {
            ids.into_iter().for_each(|id| entries::forget_received(batch, place, id));
        })
    }

    /// What was made to be sent and is not known to be [`sent`](Self::sent), oldest first: messages,
    /// requests to leave, and the welcomes of confirmed changes. None without a store. (A commit is
    /// not among them, for it may be overtaken: [`staged_change`](Self::staged_change) has it.)
    ///
    /// A program that crashed may have sent them or not: it sends them again when it starts. A member
    /// who gets one twice refuses the second, if a layer of the stack refuses replays. Where there may
    /// be many, [`outbox_first`](Self::outbox_first) gives some at a time.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn outbox(&mut self) -> Result<Vec<OutboxEntry>, Error> {
        self.outbox_first(usize::MAX)
    }

    /// The oldest entries of the [`outbox`](Self::outbox), at most `limit`. Only these are held in
    /// memory at once. Say that they are [`sent`](Self::sent), and ask for the next ones.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn outbox_first(&mut self, limit: usize) -> Result<Vec<OutboxEntry>, Error> {
        let Some(persistence) = self.readable()? else { return Ok(Vec::new()) };
        Ok(entries::read_outbox(persistence.store(), persistence.place(), limit)?)
    }

    /// The delivery service has these: they leave the [`outbox`](Self::outbox). Those that are not
    /// there are passed over.
    ///
    /// # Errors
    /// [`Error::Store`]; they are all still there then.
    pub fn sent<W: AsRef<[u8]>>(
        &mut self,
        wires: impl IntoIterator<Item = W>,
    ) -> Result<(), Error> {
        self.forget(|batch, place| {
            wires.into_iter().for_each(|wire| entries::forget_sent(batch, place, wire.as_ref()));
        })
    }

    fn forget(
        &mut self,
        edit: impl FnOnce(&mut cc_core::store::Batch, &Place),
    ) -> Result<(), Error> {
        match &mut self.persistence {
            Some(persistence) => Ok(persistence.forget(edit)?),
            None => Ok(()),
        }
    }

    /// The store, where everything that is in force is durable and nobody else has committed.
    fn readable(&mut self) -> Result<Option<&Persistence>, Error> {
        self.flush()?;
        if let Some(persistence) = &self.persistence {
            persistence.expect_current()?;
        }
        Ok(self.persistence.as_ref())
    }

    pub(crate) fn prepare(&mut self) -> Result<(), Error> {
        Ok(self.persistence.as_mut().map_or(Ok(()), Persistence::prepare)?)
    }

    /// Makes durable what is in force.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        Ok(self.persistence.as_mut().map_or(Ok(()), Persistence::flush)?)
    }
}
