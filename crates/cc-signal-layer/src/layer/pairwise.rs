//! The pairwise mode.

use cc_core::{Buffer, LayerContext, LayerError, Opened};

use crate::{
    Account, Agree, Bundle, Error, IdentityKey, Limits, Sessions,
    account::UsedPrekeys,
    ledger::Saving,
    message_key::TAG_LEN,
    sessions::Staged,
    state::{Records, Source, State},
};

/// The sessions with the one peer.
pub(crate) struct Pairwise {
    account: Account,
    sessions: Sessions,
    /// The change of the message that was opened, until `apply` or `revert`.
    staged: Option<Staged>,
    /// How to go back from what was saved, until it is applied.
    rollback: Option<Rollback>,
    unsaved: Unsaved,
}

struct Rollback {
    sessions: Sessions,
    prekeys: Option<UsedPrekeys>,
}

/// Which parts may differ from what the store has.
#[derive(Default)]
struct Unsaved {
    account: bool,
    sessions: bool,
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
        Ok(Self::new(account, sessions))
    }

    pub(crate) fn respond(account: Account, peer: IdentityKey, limits: Limits) -> Self {
        Self::new(account, Sessions::new(peer, limits))
    }

    /// Saves the parts that changed, the staged change included.
    pub(crate) fn save(&mut self, saving: &mut Saving<'_, '_>, head: impl FnOnce(&mut Records)) {
        self.commit_before_save();
        if saving.is_anew() {
            saving.part(b"", |to| {
                head(to);
                self.write_all(to);
            });
            return;
        }
        if self.unsaved.account {
            saving.part(ACCOUNT, |to| self.account.write(to));
        }
        if self.unsaved.sessions {
            saving.part(SESSIONS, |to| self.sessions.write(to));
        }
    }

    pub(crate) fn write_all(&self, to: &mut Records) {
        to.within(ACCOUNT, |to| self.account.write(to));
        to.within(SESSIONS, |to| self.sessions.write(to));
    }

    pub(crate) fn read(from: &mut Source, limits: &Limits) -> Result<Self, Error> {
        let account = from.within(ACCOUNT, |from| Account::read(from, limits))?;
        let sessions = from.within(SESSIONS, |from| Sessions::read(from, limits))?;
        Ok(Self::new(account, sessions))
    }

    pub(crate) fn limits(&self) -> &Limits {
        self.sessions.limits()
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    pub(crate) fn into_account(self) -> Account {
        self.account
    }

    pub(crate) fn account_mut(&mut self) -> &mut Account {
        self.unsaved.account = true;
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
        self.expect_settled()?;
        self.unsaved.sessions = true;
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
        self.expect_settled()?;
        let ad = context.associated_data();
        let (range, staged) =
            self.sessions.open_in_place(&self.account, &ad, buffer.as_mut_slice())?;
        if buffer.take_back::<TAG_LEN>().is_none() || !buffer.drop_front(range.start) {
            return Err(LayerError::rejected());
        }
        self.staged = Some(staged);
        Ok(Opened::default())
    }

    /// `saved`: the store has what was in force when it was saved.
    pub(crate) fn apply(&mut self, saved: bool) {
        self.rollback = None;
        self.commit();
        if saved {
            self.unsaved = Unsaved::default();
        }
    }

    pub(crate) fn revert(&mut self) {
        self.staged = None;
        if let Some(Rollback { sessions, prekeys }) = self.rollback.take() {
            self.sessions = sessions;
            if let Some(prekeys) = prekeys {
                self.account.restore_prekeys(prekeys);
            }
        }
    }

    fn new(account: Account, sessions: Sessions) -> Self {
        Self { account, sessions, staged: None, rollback: None, unsaved: Unsaved::default() }
    }

    /// One message at a time, and nothing more once it is saved.
    fn expect_settled(&self) -> Result<(), LayerError> {
        if self.staged.is_some() || self.rollback.is_some() {
            return Err(LayerError::misuse("apply or revert the message that was opened first"));
        }
        Ok(())
    }

    fn commit_before_save(&mut self) {
        if let Some(staged) = &self.staged {
            let prekeys = staged.prekeys_used_by(&self.account);
            self.rollback = Some(Rollback { sessions: self.sessions.duplicate(), prekeys });
            self.commit();
        }
    }

    fn commit(&mut self) {
        if let Some(staged) = self.staged.take() {
            self.unsaved.sessions = true;
            self.unsaved.account |= staged.begins();
            // Nothing else changes sessions and account while a message is staged.
            let applied = self.sessions.apply(&mut self.account, staged);
            debug_assert!(applied.is_ok());
        }
    }
}

/// What names of records begin with.
const ACCOUNT: &[u8] = b"a";
const SESSIONS: &[u8] = b"s";
