//! One session with one peer: a Triple Ratchet and what it is bound to.

use core::ops::Range;

use alloc::{boxed::Box, vec::Vec};

use cc_core::SecretBytes;
use sha2::{Digest, Sha256};

use crate::{
    Error,
    entropy::{Entropy, System},
    identity::IdentityKey,
    initial_message,
    limits::Limits,
    message_key::TAG_LEN,
    ratchet::{Change, PREFIX_LEN, Ratchet},
    scrub::scrubbed,
    state::{self, Records, Source, State},
    wire,
};

/// A session with one peer.
///
/// Every message is authenticated together with a digest of the keys of both identities, the initiator's
/// first (X3DH section 3.3), and of the [id](Session::id) of the session, and with the caller's `ad`.
#[derive(Debug)]
pub struct Session {
    binding: Binding,
    role: Role,
    number: u64,
    /// The initiator repeats the handshake until the peer has answered.
    handshake: Option<Box<[u8]>>,
    ratchet: Ratchet,
    limits: Limits,
    /// Counts changes, so that a staged change is applied to the state it was made from, also
    /// when the state has been saved and loaded in between.
    revision: u64,
}

/// Who began a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We did.
    Initiator,
    /// The peer did.
    Responder,
}

/// What goes around a text that was encrypted in place: `head || text || tag` is the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framing {
    /// 113 bytes; while the session is unacknowledged the handshake stands before them.
    pub head: Vec<u8>,
    /// The authentication tag.
    pub tag: [u8; 16],
}

/// The change that opening a message makes to its session.
///
/// Nothing has changed yet: [`Session::apply`] does it. Dropping this forgets the message, which
/// can then be opened again.
#[derive(Debug)]
#[must_use = "the message is not received until this is applied"]
pub struct StagedOpen {
    session: [u8; 32],
    revision: u64,
    change: Change,
}

impl Session {
    /// How much longer than its text a message is, once the peer has answered.
    pub const OVERHEAD: usize = PREFIX_LEN + TAG_LEN;

    /// 32 bytes that name this session to both sides: SHA-256 over the handshake and the
    /// responder's identity.
    #[must_use]
    pub fn id(&self) -> &[u8; 32] {
        &self.binding.id
    }

    /// Who began the session.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The greatest [number](Session::number) of a session.
    pub const MAX_NUMBER: u64 = u64::MAX - 1;

    /// A number that the initiator has put into the handshake, greater than those of the sessions with
    /// this peer before: the time in microseconds since 1970, or one more than the greatest it knew. It
    /// says which of two sessions is the newer one, in whatever order they arrive.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether the peer is known to have the session: always for a responder, and for an
    /// initiator after the first message from the peer. Until then every message carries the
    /// handshake.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        self.handshake.is_none()
    }

    /// The 64 bytes of [`IdentityKey::keys`] of the peer.
    #[must_use]
    pub fn peer(&self) -> &[u8; 64] {
        match self.role {
            Role::Initiator => &self.binding.responder,
            Role::Responder => &self.binding.initiator,
        }
    }

    /// Encrypts `text` to one message.
    ///
    /// The sending chain advances whether or not the message is ever sent, and there is no way
    /// back: a message key that has encrypted is never used again. A caller that throws the
    /// message away has made a gap, which the peer skips like that of a lost message.
    ///
    /// # Errors
    /// [`Error::ChainExhausted`] after 2^32 - 1 messages without an answer, [`Error::Random`],
    /// [`Error::Primitive`] for a text of 64 GiB.
    pub fn encrypt(&mut self, ad: &[u8], text: &[u8]) -> Result<Vec<u8>, Error> {
        self.encrypt_with(ad, text, &mut System)
    }

    /// Encrypts `body` in place. Otherwise as [`Session::encrypt`].
    ///
    /// # Errors
    /// As [`Session::encrypt`]; `body` is then to be thrown away.
    pub fn encrypt_in_place(&mut self, ad: &[u8], body: &mut [u8]) -> Result<Framing, Error> {
        let (prefix, tag) = self.encrypt_parts(ad, body, &mut System)?;
        let handshake = self.handshake();
        let mut head = Vec::with_capacity(handshake.len() + PREFIX_LEN);
        head.extend_from_slice(handshake);
        head.extend_from_slice(&prefix);
        Ok(Framing { head, tag })
    }

    /// Opens `message` without changing the session.
    ///
    /// # Errors
    /// As [`Session::open_in_place`].
    pub fn open(&self, ad: &[u8], message: &[u8]) -> Result<(Vec<u8>, StagedOpen), Error> {
        wire::open_copy(message, |buffer| self.open_in_place(ad, buffer))
    }

    /// Opens `message` in place without changing the session. The text is in the range returned.
    ///
    /// # Errors
    /// [`Error::Undecryptable`]; of a message of this session, as its header proves, also
    /// [`Error::Own`], [`Error::Duplicate`], [`Error::Expired`] and [`Error::TooFarAhead`]. `message`
    /// is then to be thrown away: what did not authenticate is overwritten.
    pub fn open_in_place(
        &self,
        ad: &[u8],
        message: &mut [u8],
    ) -> Result<(Range<usize>, StagedOpen), Error> {
        let start = self.handshake_len(message)?;
        let message = message.get_mut(start..).ok_or(Error::Undecryptable)?;
        let (range, change) =
            scrubbed(|| self.ratchet.open(&self.binding.digest, ad, message, &self.limits))?;
        let staged = StagedOpen { session: *self.id(), revision: self.revision, change };
        Ok((start + range.start..start + range.end, staged))
    }

    /// Applies a staged change: the message counts as received, and its key is gone.
    ///
    /// # Errors
    /// [`Error::Stale`] when the change was staged on another session, or this session has sent
    /// or received since. Nothing has changed then; open the message again.
    pub fn apply(&mut self, staged: StagedOpen) -> Result<(), Error> {
        if staged.session != *self.id() || staged.revision != self.revision {
            return Err(Error::Stale);
        }
        self.ratchet.apply(staged.change, &self.limits);
        self.handshake = None;
        self.revision = self.revision.wrapping_add(1);
        Ok(())
    }

    /// Opens `message` and applies the change at once.
    ///
    /// # Errors
    /// As [`Session::open_in_place`]; nothing has changed then.
    pub fn decrypt(&mut self, ad: &[u8], message: &[u8]) -> Result<Vec<u8>, Error> {
        let (text, staged) = self.open(ad, message)?;
        self.apply(staged)?;
        Ok(text)
    }

    /// The session as bytes for an encrypted store: under 3 KiB without skipped keys once it is
    /// acknowledged.
    #[must_use]
    pub fn export(&self) -> SecretBytes {
        state::export(self)
    }

    /// A session from the bytes of [`Session::export`], with limits for its further life.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`] for a state of a later version, [`Error::InvalidState`] for
    /// anything else that is wrong.
    pub fn load(bytes: &[u8], limits: Limits) -> Result<Self, Error> {
        scrubbed(|| state::load(bytes, &limits))
    }

    pub(crate) fn new(
        binding: Binding,
        role: Role,
        number: u64,
        handshake: Option<Box<[u8]>>,
        ratchet: Ratchet,
        limits: Limits,
    ) -> Self {
        Self { binding, role, number, handshake, ratchet, limits, revision: 0 }
    }

    /// The handshake, which a layer carries from now on: the messages of the session come without it.
    pub(crate) fn take_handshake(&mut self) -> Option<Box<[u8]>> {
        self.handshake.take()
    }

    /// For going back when a store fails.
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            binding: self.binding.clone(),
            role: self.role,
            number: self.number,
            handshake: self.handshake.clone(),
            ratchet: self.ratchet.duplicate(),
            limits: self.limits,
            revision: self.revision,
        }
    }

    pub(crate) fn encrypt_with(
        &mut self,
        ad: &[u8],
        text: &[u8],
        entropy: &mut impl Entropy,
    ) -> Result<Vec<u8>, Error> {
        let handshake = self.handshake();
        let start = handshake.len() + PREFIX_LEN;
        let mut message = Vec::with_capacity(start + text.len() + TAG_LEN);
        message.extend_from_slice(handshake);
        message.extend_from_slice(&[0; PREFIX_LEN]);
        message.extend_from_slice(text);
        let (head, body) = message.split_at_mut(start);
        let (prefix, tag) = self.encrypt_parts(ad, body, entropy)?;
        if let Some(place) = head.last_chunk_mut() {
            *place = prefix;
        }
        message.extend_from_slice(&tag);
        Ok(message)
    }

    fn encrypt_parts(
        &mut self,
        ad: &[u8],
        body: &mut [u8],
        entropy: &mut impl Entropy,
    ) -> Result<([u8; PREFIX_LEN], [u8; TAG_LEN]), Error> {
        self.revision = self.revision.wrapping_add(1);
        scrubbed(|| self.ratchet.encrypt(&self.binding.digest, ad, body, entropy))
    }

    /// Whether this session is the newer one, for both sides: by number, and of equal ones the one with
    /// the smaller id.
    pub(crate) fn is_newer_than(&self, other: &Self) -> bool {
        (self.number, other.id()) > (other.number, self.id())
    }

    /// What goes before every message: nothing, once the peer has answered.
    fn handshake(&self) -> &[u8] {
        self.handshake.as_deref().unwrap_or(&[])
    }

    /// How long the handshake before `message` is; refused when it is not this session's.
    fn handshake_len(&self, message: &[u8]) -> Result<usize, Error> {
        if message.first() == Some(&wire::MESSAGE) {
            return Ok(0);
        }
        let (handshake, _) = initial_message::split(message).map_err(|_| Error::Undecryptable)?;
        if self.role == Role::Initiator || !self.begun_by(handshake) {
            return Err(Error::Undecryptable);
        }
        Ok(handshake.len())
    }

    /// Whether `handshake` is the one this session began with.
    pub(crate) fn begun_by(&self, handshake: &[u8]) -> bool {
        session_id(&self.binding.responder, handshake) == *self.id()
    }
}

impl StagedOpen {
    /// Whether the message was a new one, not a late one.
    pub(crate) fn is_new(&self) -> bool {
        self.change.is_new()
    }

    pub(crate) fn session(&self) -> &[u8; 32] {
        &self.session
    }
}

/// What every message of a session authenticates: the keys of the initiator's identity, those of the
/// responder's, and the session id.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    initiator: [u8; 64],
    responder: [u8; 64],
    id: [u8; 32],
    /// SHA-256 of these: `AD` of the Double Ratchet, in place of the 160 bytes with every message.
    digest: [u8; 32],
}

impl Binding {
    pub(crate) fn new(initiator: &IdentityKey, responder: &IdentityKey, handshake: &[u8]) -> Self {
        let (initiator, responder) = (initiator.keys(), responder.keys());
        Self::of(initiator, responder, session_id(&responder, handshake))
    }

    fn of(initiator: [u8; 64], responder: [u8; 64], id: [u8; 32]) -> Self {
        let digest = Sha256::new()
            .chain_update(BINDING_LABEL)
            .chain_update(initiator)
            .chain_update(responder)
            .chain_update(id)
            .finalize()
            .into();
        Self { initiator, responder, id, digest }
    }

    /// 160 bytes.
    fn to_bytes(&self) -> [u8; 160] {
        let mut bytes = [0; 160];
        let (initiator, rest) = bytes.split_at_mut(64);
        let (responder, id) = rest.split_at_mut(64);
        initiator.copy_from_slice(&self.initiator);
        responder.copy_from_slice(&self.responder);
        id.copy_from_slice(&self.id);
        bytes
    }
}

/// The handshake names the initiator, its ephemeral key, the prekeys and the KEM ciphertext, so
/// the id binds all of them to every message.
fn session_id(responder: &[u8], handshake: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(ID_LABEL)
        .chain_update(responder)
        .chain_update(handshake)
        .finalize()
        .into()
}

const ID_LABEL: &[u8] = b"cc-signal/1 session";
const BINDING_LABEL: &[u8] = b"cc-signal/1 message binding";

impl State for Session {
    const KIND: u8 = state::SESSION;

    fn write(&self, to: &mut Records) {
        to.put(b"", |writer| {
            writer.put(&self.binding.to_bytes());
            writer.u8(match self.role {
                Role::Initiator => 0,
                Role::Responder => 1,
            });
            writer.u64(self.number);
            writer.u64(self.revision);
            writer.bytes(self.handshake());
            self.ratchet.write(writer);
        });
        self.ratchet.write_chains(to);
    }

    fn read(from: &mut Source, limits: &Limits) -> Result<Self, Error> {
        let (mut session, missing) = from.take(b"", |reader| {
            let binding = Binding::of(reader.array()?, reader.array()?, reader.array()?);
            let role = match reader.u8()? {
                0 => Role::Initiator,
                1 => Role::Responder,
                _ => return Err(Error::InvalidState),
            };
            let (number, revision) = (reader.u64()?, reader.u64()?);
            if number > Self::MAX_NUMBER {
                return Err(Error::InvalidState);
            }
            let handshake = reader.bytes(initial_message::MAX_LEN)?;
            let handshake = (!handshake.is_empty()).then(|| Box::from(handshake));
            let (ratchet, missing) = Ratchet::read(reader, role)?;
            let session = Self::new(binding, role, number, handshake, ratchet, *limits);
            Ok((Self { revision, ..session }, missing))
        })?;
        session.ratchet.read_chains(missing, from)?;
        session.ratchet.enforce(limits);
        Ok(session)
    }
}

#[cfg(test)]
impl Session {
    pub(crate) fn ratchet_mut(&mut self) -> &mut Ratchet {
        &mut self.ratchet
    }

    pub(crate) fn read_as_thief(&mut self, ad: &[u8], message: &[u8]) -> bool {
        self.ratchet.read_as_thief(&self.binding.digest, ad, message, &self.limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::session_pair;

    #[test]
    fn what_messages_are_bound_to_is_of_both_identities_and_of_the_session() {
        let digests = [(1, 2, 3), (9, 2, 3), (1, 9, 3), (1, 2, 9), (2, 1, 3)]
            .map(|(a, b, id)| Binding::of([a; 64], [b; 64], [id; 32]).digest);
        for (i, digest) in digests.iter().enumerate() {
            assert!(digests.iter().skip(i + 1).all(|other| other != digest), "{i}");
        }
        let (mut alice, bob) = session_pair(Limits::default());
        let message = alice.encrypt(b"", b"text").unwrap();
        let mut other = bob.duplicate();
        other.binding.digest[0] ^= 1;
        assert_eq!(other.open(b"", &message).map(drop), Err(Error::Undecryptable));
        assert!(bob.open(b"", &message).is_ok());
    }

    /// Short data of the caller are put together with the rest in another place than long ones.
    #[test]
    fn associated_data_of_any_length() {
        let (mut alice, mut bob) = session_pair(Limits::default());
        for len in [0, 1, 111, 112, 113, 5000] {
            let ad = alloc::vec![7; len];
            let message = alice.encrypt(&ad, b"text").unwrap();
            for other in [&[&ad[..], &[7]].concat(), &ad[..len.saturating_sub(1)].to_vec()] {
                let opened = bob.open(other, &message).map(drop);
                assert_eq!(opened.is_ok(), *other == ad, "{len}");
            }
            assert_eq!(bob.decrypt(&ad, &message).unwrap(), b"text");
        }
    }
}
