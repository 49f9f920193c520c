//! All sessions with one peer, after Sesame (sections 3.2 to 3.4 of its specification).
//!
//! Several sessions with one peer exist when both sides begin at once, or one begins anew. All of
//! them receive; one, the *active* session, sends. Sesame makes the session active in which a
//! message was last received. Followed to the letter, two peers who write at the same time may
//! swap sessions with every crossing pair of messages, so two sessions are put in an order both
//! sides know:
//!
//! - of two sessions begun from opposite sides, the one with the smaller id is preferred;
//! - of two sessions we have begun, the newer one is;
//! - of two the peer has begun, the one it has spoken in last.
//!
//! An active session that is preferred stays active, except when
//!
//! - it is acknowledged and the peer begins a new one: the peer may have lost its state;
//! - the peer has spoken elsewhere [`PATIENCE`] times in a row: it does not have this session.

use core::ops::Range;

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};

use cc_core::SecretBytes;

use crate::{
    Error,
    account::{Account, Agree, Spent, StagedSession},
    bundle::Bundle,
    entropy::{Entropy, System},
    identity::IdentityKey,
    initial_message,
    limits::Limits,
    session::{Framing, Role, Session, StagedOpen},
    state::{self, Records, Source, State},
    wire,
};

/// How many new messages in other sessions, with none in the active one, make the other session
/// active although it is not preferred.
pub const PATIENCE: u8 = 4;

/// The sessions with one peer.
#[derive(Debug)]
pub struct Sessions {
    peer: IdentityKey,
    /// The active session first, then the most recently active. `order` counts creation.
    sessions: VecDeque<Entry>,
    created: u64,
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
    Message(StagedOpen),
    Begun(Box<StagedSession>),
}

impl Sessions {
    /// No sessions yet with `peer`.
    #[must_use]
    pub fn new(peer: IdentityKey, limits: Limits) -> Self {
        Self { peer, sessions: VecDeque::new(), created: 0, strikes: 0, limits }
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
        self.begin_from(account, bundle, agree, &mut System)
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
    /// [`Error::Undecryptable`] for whatever reason.
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
    /// [`Error::Undecryptable`] for whatever reason; `message` is left as it was.
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
            if let Ok((range, staged)) = entry.session.open_in_place(ad, message) {
                return Ok((range, Staged(Change::Message(staged))));
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
            Change::Message(staged) => self.apply_message(staged),
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
    /// [`Error::Undecryptable`] for whatever reason; nothing has changed then.
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
        state::load(bytes, &limits)
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn begin_from(
        &mut self,
        account: &Account,
        bundle: &Bundle,
        agree: Agree,
        entropy: &mut impl Entropy,
    ) -> Result<(), Error> {
        if bundle.identity() != &self.peer {
            return Err(Error::WrongIdentity);
        }
        let session = account.begin_from(bundle, agree, self.limits, entropy)?;
        self.insert(session, 0);
        Ok(())
    }

    fn open_initial(
        &self,
        account: &Account,
        ad: &[u8],
        message: &mut [u8],
    ) -> Result<(Range<usize>, Staged), Error> {
        // The sender is checked first, so that a message that is refused is left as it was.
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
        if !is_new {
            return Ok(());
        }
        if index == 0 {
            self.strikes = 0;
            return Ok(());
        }
        self.strikes = self.strikes.saturating_add(1);
        if self.strikes >= PATIENCE || !self.prefers_active_to(index) {
            self.activate(index);
        }
        Ok(())
    }

    /// A session the peer has begun just now.
    fn accept(&mut self, session: Session) {
        let keep = self.sessions.front().is_some_and(|active| {
            !active.session.is_acknowledged() && active.session.id() < session.id()
        });
        if keep {
            self.strikes = self.strikes.saturating_add(1);
        }
        self.insert(session, usize::from(keep));
    }

    fn insert(&mut self, session: Session, index: usize) {
        let order = self.created;
        self.created = order.wrapping_add(1);
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

    /// The order of the module documentation.
    fn prefers_active_to(&self, index: usize) -> bool {
        let (Some(active), Some(other)) = (self.sessions.front(), self.sessions.get(index)) else {
            return true;
        };
        match (active.session.role(), other.session.role()) {
            (Role::Initiator, Role::Initiator) => active.order > other.order,
            (Role::Responder, Role::Responder) => false,
            _ => active.session.id() < other.session.id(),
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
            sessions.strikes = reader.u8()?;
            let count = reader.count(8, Limits::MAX_SESSIONS_CAP)?;
            (0..count).map(|_| reader.u64()).collect::<Result<Vec<_>, _>>()
        })?;
        for order in orders {
            let session = from.within(&order.to_be_bytes(), |from| Session::read(from, limits))?;
            if session.peer() != sessions.peer.keys() {
                return Err(Error::WrongIdentity);
            }
            sessions.sessions.push_back(Entry { session, order });
        }
        sessions.sessions.truncate(limits.max_sessions());
        Ok(sessions)
    }

    /// For taking back what a failed store leaves undone.
    pub(crate) fn duplicate(&self) -> Self {
        let entry =
            |entry: &Entry| Entry { session: entry.session.duplicate(), order: entry.order };
        Self {
            peer: self.peer,
            sessions: self.sessions.iter().map(entry).collect(),
            created: self.created,
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
    pub(crate) fn spends(&self, account: &Account) -> Option<Spent> {
        match &self.0 {
            Change::Message(_) => None,
            Change::Begun(staged) => Some(account.spends(staged)),
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
