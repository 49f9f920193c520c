//! The pairwise mode.

use cc_core::{Buffer, LayerContext, LayerError, Opened};

use super::not_applied;
use crate::{
    Account, Agree, Bundle, Error, IdentityKey, Limits, Sessions,
    codec::{Reader, Writer},
    message_key::TAG_LEN,
    sessions::Staged,
    state::State,
};

/// The sessions with the one peer.
pub(crate) struct Pairwise {
    account: Account,
    sessions: Sessions,
    /// What `apply` keeps and `revert` drops.
    staged: Option<Staged>,
}

impl Pairwise {
    pub(crate) fn initiate(
        account: Account,
        bundle: &Bundle,
        agree: Agree,
        limits: Limits,
    ) -> Result<Self, Error> {
        let mut sessions = Sessions::new(*bundle.identity(), limits);
        sessions.begin(&account, bundle, agree)?;
        Ok(Self { account, sessions, staged: None })
    }

    pub(crate) fn respond(account: Account, peer: IdentityKey, limits: Limits) -> Self {
        Self { account, sessions: Sessions::new(peer, limits), staged: None }
    }

    pub(crate) fn is_staged(&self) -> bool {
        self.staged.is_some()
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        self.sessions.limits().write(writer);
        self.account.write(writer);
        self.sessions.write(writer);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let limits = Limits::read(reader)?;
        let account = Account::read(reader, &limits)?;
        let sessions = Sessions::read(reader, &limits)?;
        Ok(Self { account, sessions, staged: None })
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    pub(crate) fn account_mut(&mut self) -> &mut Account {
        &mut self.account
    }

    pub(crate) fn peer(&self) -> &IdentityKey {
        self.sessions.peer()
    }

    /// Moves the chain on for good, also when it is reverted: a message key never encrypts twice.
    pub(crate) fn seal(
        &mut self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<(), LayerError> {
        if self.staged.is_some() {
            return Err(not_applied());
        }
        let ad = context.associated_data();
        let framing = self.sessions.encrypt_in_place(&ad, buffer.as_mut_slice())?;
        buffer.prepend(&framing.head);
        buffer.append(&framing.tag);
        Ok(())
    }

    pub(crate) fn open(
        &mut self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<Opened, LayerError> {
        if self.staged.is_some() {
            return Err(not_applied());
        }
        let ad = context.associated_data();
        let (range, staged) =
            self.sessions.open_in_place(&self.account, &ad, buffer.as_mut_slice())?;
        if buffer.take_back::<TAG_LEN>().is_none() || !buffer.drop_front(range.start) {
            return Err(LayerError::rejected());
        }
        self.staged = Some(staged);
        Ok(Opened::default())
    }

    pub(crate) fn apply(&mut self) {
        if let Some(staged) = self.staged.take() {
            // Nothing else changes sessions and account while a message is staged.
            let applied = self.sessions.apply(&mut self.account, staged);
            debug_assert!(applied.is_ok());
        }
    }

    pub(crate) fn revert(&mut self) {
        self.staged = None;
    }
}
