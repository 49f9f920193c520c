//! All sessions with one peer, after Sesame (sections 3.2 to 3.4 of its specification).
//!
//! Several sessions with one peer exist when both sides begin at once, or one begins anew. All of
//! them receive; one, the *active* session, sends. Sesame makes the session active in which a
//! message was last received. Followed to the letter, whoever holds messages back chooses the session:
//! an initial message of last year, or any message of an old session, released today, makes that
//! session send again. And two peers who write at the same time may swap sessions with every crossing
//! pair of messages. So the sessions are put in an order that both sides know: the one with the greater
//! [number](Session::number) is the newer one, and of two with the same number the one with the smaller
//! id. The initiator has put the number into the handshake, which every message authenticates.
//!
//! - The newest session is the active one. A session that the peer begins becomes active if it is newer.
//! - A session that is older than one in which the peer has spoken never sends again, nor one that was
//!   there when this side began another.
//! - This side may have begun a session that the peer does not get. Meanwhile a session that the peer has
//!   begun may be older and yet of use: when the peer has spoken in it [`PATIENCE`] times in a row, it
//!   becomes active.

use core::ops::Range;

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};

use cc_core::SecretBytes;

use crate::{
    Error,
    account::{Account, Agree, StagedSession, UsedPrekeys},
    bundle::Bundle,
    clock,
    entropy::{Entropy, System},
    identity::IdentityKey,
    initial_message,
    limits::Limits,
    scrub::scrubbed,
    session::{Framing, Session, StagedOpen},
    state::{self, Records, Source, State},
    wire,
};

/// How many new messages in another session, while the peer has not answered in the active one, make
/// the other session active although it is older.
pub const PATIENCE: u8 = 4;

/// The sessions with one peer.
#[derive(Debug)]
pub struct Sessions {
    peer: IdentityKey,
    /// The active session first, then the most recently active. `order` counts creation.
    sessions: VecDeque<Entry>,
    created: u64,
    /// The greatest number of a session so far, of those that are gone as well.
    newest: u64,
    /// Sessions with smaller numbers only receive.
    floor: u64,
    strikes: u8,
    limits: Limits,
}

#[derive(Debug)]
struct Entry {
    session: Session,
    order: u64,
}

/// The change that opening a message makes to the sessions and perhaps to the account.
///
/// Nothing has changed yet: [`Sessions::apply`] does it.
#[derive(Debug)]
#[must_use = "the message is not received until this is applied"]
pub struct Staged(Change);

#[derive(Debug)]
enum Change {
    Message(Box<StagedOpen>),
    Begun(Box<StagedSession>),
}

impl Sessions {
    /// No sessions yet with `peer`.
    #[must_use]
    pub fn new(peer: IdentityKey, limits: Limits) -> Self {
        let sessions = VecDeque::new();
        Self { peer, sessions, created: 0, newest: 0, floor: 0, strikes: 0, limits }
    }

    /// The peer.
    #[must_use]
    pub fn peer(&self) -> &IdentityKey {
        &self.peer
    }

    /// The session that sends, if there is one.
    #[must_use]
    pub fn active(&self) -> Option<&Session> {
        self.sessions.front().map(|entry| &entry.session)
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Begins a session with the peer's bundle and makes it active.
    ///
    /// # Errors
    /// [`Error::WrongIdentity`] when the bundle is somebody else's; otherwise as
    /// [`Account::begin`].
    pub fn begin(&mut self, account: &Account, bundle: &Bundle, agree: Agree) -> Result<(), Error> {
        self.begin_at(account, bundle, agree, clock::now())
    }

    /// As [`Sessions::begin`] at a time in microseconds since 1970, for targets without a clock of their
    /// own, that is without `std`. The peer follows a session that is newer than those it knows, so
    /// without the time (0) whoever lost its sessions cannot begin anew.
    ///
    /// # Errors
    /// As [`Sessions::begin`].
    pub fn begin_at(
        &mut self,
        account: &Account,
        bundle: &Bundle,
        agree: Agree,
        now: u64,
    ) -> Result<(), Error> {
        self.begin_from(account, bundle, agree, now, &mut System)
    }

    /// Encrypts `text` in the active session. See [`Session::encrypt`].
    ///
    /// # Errors
    /// [`Error::NoSession`]; otherwise as [`Session::encrypt`].
    pub fn encrypt(&mut self, ad: &[u8], text: &[u8]) -> Result<Vec<u8>, Error> {
        self.active_mut()?.encrypt(ad, text)
    }

    /// Encrypts `body` in place in the active session. See [`Session::encrypt_in_place`].
    ///
    /// # Errors
    /// [`Error::NoSession`]; otherwise as [`Session::encrypt_in_place`].
    pub fn encrypt_in_place(&mut self, ad: &[u8], body: &mut [u8]) -> Result<Framing, Error> {
        self.active_mut()?.encrypt_in_place(ad, body)
    }

    /// Opens a message of any session, or one that begins a session, without changing anything.
    ///
    /// # Errors
    /// As [`Sessions::open_in_place`].
    pub fn open(
        &self,
        account: &Account,
        ad: &[u8],
        message: &[u8],
    ) -> Result<(Vec<u8>, Staged), Error> {
        wire::open_copy(message, |buffer| self.open_in_place(account, ad, buffer))
    }

    /// Opens a message in place without changing anything. The text is in the range returned.
    ///
    /// # Errors
    /// As [`Session::open_in_place`], and [`Account::open_initial_in_place`]. `message` is then to
    /// be thrown away.
    pub fn open_in_place(
        &self,
        account: &Account,
        ad: &[u8],
        message: &mut [u8],
    ) -> Result<(Range<usize>, Staged), Error> {
        if message.first() != Some(&wire::MESSAGE) {
            let (handshake, _) =
                initial_message::split(message).map_err(|_| Error::Undecryptable)?;
            let known = self.sessions.iter().any(|entry| entry.session.begun_by(handshake));
            if !known {
                return self.open_initial(account, ad, message);
            }
        }
        for entry in &self.sessions {
            match entry.session.open_in_place(ad, message) {
                Ok((range, staged)) => {
                    return Ok((range, Staged(Change::Message(Box::new(staged)))));
                }
                // Of another session, or damaged.
                Err(Error::Undecryptable) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Undecryptable)
    }

    /// Applies a staged change. The sessions and the account are to be saved together.
    ///
    /// # Errors
    /// [`Error::Stale`] when session or account have changed since; nothing has changed then.
    pub fn apply(&mut self, account: &mut Account, staged: Staged) -> Result<(), Error> {
        match staged.0 {
            Change::Message(staged) => self.apply_message(*staged),
            Change::Begun(staged) => {
                if staged.peer() != &self.peer {
                    return Err(Error::Stale);
                }
                let session = account.apply(*staged)?;
                self.accept(session);
                Ok(())
            }
        }
    }

    /// Opens a message and applies the change at once.
    ///
    /// # Errors
    /// As [`Sessions::open_in_place`]; nothing has changed then.
    pub fn decrypt(
        &mut self,
        account: &mut Account,
        ad: &[u8],
        message: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let (text, staged) = self.open(account, ad, message)?;
        self.apply(account, staged)?;
        Ok(text)
    }

    /// The sessions as bytes for an encrypted store.
    #[must_use]
    pub fn export(&self) -> SecretBytes {
        state::export(self)
    }

    /// Sessions from the bytes of [`Sessions::export`], with limits for their further life.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`] for a state of a later version, [`Error::InvalidState`] for
    /// anything else that is wrong.
    pub fn load(bytes: &[u8], limits: Limits) -> Result<Self, Error> {
        scrubbed(|| state::load(bytes, &limits))
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn begin_from(
        &mut self,
        account: &Account,
        bundle: &Bundle,
        agree: Agree,
        now: u64,
        entropy: &mut impl Entropy,
    ) -> Result<(), Error> {
        if bundle.identity() != &self.peer {
            return Err(Error::WrongIdentity);
        }
        let number = now.max(self.newest.saturating_add(1)).min(Session::MAX_NUMBER);
        let session = account.begin_from(bundle, agree, self.limits, number, entropy)?;
        self.floor = self.newest.saturating_add(1).min(Session::MAX_NUMBER);
        self.insert(session, 0);
        Ok(())
    }

    fn open_initial(
        &self,
        account: &Account,
        ad: &[u8],
        message: &mut [u8],
    ) -> Result<(Range<usize>, Staged), Error> {
        // The sender is checked first, so that nothing is decrypted for another one.
        if initial_message::claimed_sender(message)? != Some(self.peer) {
            return Err(Error::Undecryptable);
        }
        let (range, staged) = account.open_initial_in_place(ad, message, self.limits)?;
        Ok((range, Staged(Change::Begun(Box::new(staged)))))
    }

    fn apply_message(&mut self, staged: StagedOpen) -> Result<(), Error> {
        let index = self
            .sessions
            .iter()
            .position(|entry| entry.session.id() == staged.session())
            .ok_or(Error::Stale)?;
        let is_new = staged.is_new();
        let entry = self.sessions.get_mut(index).ok_or(Error::Stale)?;
        entry.session.apply(staged)?;
        if is_new {
            self.follow(index);
        }
        Ok(())
    }

    /// A session the peer has begun just now.
    fn accept(&mut self, session: Session) {
        let newer =
            self.sessions.front().is_none_or(|active| session.is_newer_than(&active.session));
        let index = usize::from(!newer);
        self.insert(session, index);
        self.follow(index);
    }

    /// The peer has spoken in a session. Whether that is the active one now: see the documentation of
    /// the module.
    fn follow(&mut self, index: usize) {
        let (Some(active), Some(spoken)) = (self.sessions.front(), self.sessions.get(index)) else {
            return;
        };
        let (active, spoken) = (&active.session, &spoken.session);
        let number = spoken.number();
        if index > 0 && !spoken.is_newer_than(active) {
            if active.is_acknowledged() || number < self.floor {
                return;
            }
            self.strikes = self.strikes.saturating_add(1);
            if self.strikes < PATIENCE {
                return;
            }
        }
        self.floor = self.floor.max(number);
        self.activate(index);
    }

    fn insert(&mut self, session: Session, index: usize) {
        let order = self.created;
        self.created = order.wrapping_add(1);
        self.newest = self.newest.max(session.number());
        if index == 0 {
            self.strikes = 0;
        }
        let entry = Entry { session, order };
        self.sessions.insert(index.min(self.sessions.len()), entry);
        // There is room for two at least, so this drops neither the active nor the new one.
        self.sessions.truncate(self.limits.max_sessions());
    }

    fn activate(&mut self, index: usize) {
        if let Some(entry) = self.sessions.remove(index) {
            self.sessions.push_front(entry);
            self.strikes = 0;
        }
    }

    fn active_mut(&mut self) -> Result<&mut Session, Error> {
        let entry = self.sessions.front_mut().ok_or(Error::NoSession)?;
        Ok(&mut entry.session)
    }
}

impl State for Sessions {
    const KIND: u8 = state::SESSIONS;

    fn write(&self, to: &mut Records) {
        to.put(PEER, |writer| writer.put(&self.peer.to_bytes()));
        self.write_without_peer(to);
    }

    fn read(from: &mut Source, limits: &Limits) -> Result<Self, Error> {
        let peer = from.take(PEER, IdentityKey::read)?;
        Self::read_without_peer(peer, from, limits)
    }
}

impl Sessions {
    /// A record of what sessions there are, and each by its number.
    pub(crate) fn write_without_peer(&self, to: &mut Records) {
        to.put(b"", |writer| {
            writer.u64(self.created);
            writer.u64(self.newest);
            writer.u64(self.floor);
            writer.u8(self.strikes);
            writer.count(self.sessions.len());
            self.sessions.iter().for_each(|entry| writer.u64(entry.order));
        });
        for entry in &self.sessions {
            to.within(&entry.order.to_be_bytes(), |to| entry.session.write(to));
        }
    }

    pub(crate) fn read_without_peer(
        peer: IdentityKey,
        from: &mut Source,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let mut sessions = Self::new(peer, *limits);
        let orders = from.take(b"", |reader| {
            sessions.created = reader.u64()?;
            sessions.newest = reader.u64()?;
            sessions.floor = reader.u64()?;
            sessions.strikes = reader.u8()?;
            let count = reader.count(8, Limits::MAX_SESSIONS_CAP)?;
            (0..count).map(|_| reader.u64()).collect::<Result<Vec<_>, _>>()
        })?;
        for order in orders {
            let session = from.within(&order.to_be_bytes(), |from| Session::read(from, limits))?;
            if *session.peer() != sessions.peer.keys() {
                return Err(Error::WrongIdentity);
            }
            sessions.sessions.push_back(Entry { session, order });
        }
        sessions.sessions.truncate(limits.max_sessions());
        Ok(sessions)
    }

    /// For going back when a store fails.
    pub(crate) fn duplicate(&self) -> Self {
        let entry =
            |entry: &Entry| Entry { session: entry.session.duplicate(), order: entry.order };
        Self {
            peer: self.peer,
            sessions: self.sessions.iter().map(entry).collect(),
            created: self.created,
            newest: self.newest,
            floor: self.floor,
            strikes: self.strikes,
            limits: self.limits,
        }
    }
}

impl Staged {
    /// Whether the message begins a session.
    pub(crate) fn begins(&self) -> bool {
        matches!(self.0, Change::Begun(_))
    }

    /// What applying this takes from the account.
    pub(crate) fn prekeys_used_by(&self, account: &Account) -> Option<UsedPrekeys> {
        match &self.0 {
            Change::Message(_) => None,
            Change::Begun(staged) => Some(account.prekeys_used_by(staged)),
        }
    }
}

/// The name of the record with the peer's identity.
const PEER: &[u8] = b"p";

#[cfg(test)]
impl Sessions {
    pub(crate) fn active_mut_for_test(&mut self) -> &mut Session {
        &mut self.sessions.front_mut().unwrap().session
    }
}
