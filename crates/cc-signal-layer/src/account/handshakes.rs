//! Sessions that begin: the initiator's side of a handshake, the responder's, and what the responder checks and
//! uses up.

use core::ops::Range;

use alloc::boxed::Box;

use cc_core::{Secret, key_use};

use super::{Account, Agree};
use crate::{
    Error,
    bundle::Bundle,
    clock,
    curve::KeyPair,
    entropy::{Entropy, System},
    header::HeaderKey,
    identity::IdentityKey,
    initial_message::{self, Handshake},
    kdf,
    kem::KemKeyPair,
    limits::Limits,
    pqxdh,
    ratchet::Ratchet,
    root_key::RootKey,
    scrub::scrubbed_deep,
    seen::peer_id,
    session::{Binding, Role, Session},
    spqr::Spqr,
    x3dh::Agreement,
};

/// A session that a peer has begun, and what it takes from the account.
///
/// Nothing has changed yet: [`Account::apply`] does it.
#[derive(Debug)]
#[must_use = "the session does not exist until this is applied"]
pub struct StagedSession {
    pub(super) session: Session,
    pub(super) used: StagedUse,
}

/// What a session that was accepted takes from the account.
#[derive(Debug)]
pub(crate) struct StagedUse {
    pub(super) handshake: Handshake,
    pub(super) number: u64,
}

impl StagedUse {
    /// Who has begun the session.
    pub(crate) fn peer(&self) -> &IdentityKey {
        &self.handshake.identity
    }
}

/// A session at its beginning.
pub(crate) struct Begun {
    pub(crate) session: Session,
    /// What a layer hands upwards: both sides have it, and it says nothing of the keys of messages.
    pub(crate) contribution: Secret<32>,
}

impl StagedSession {
    /// Who has begun the session. Opening its first message has proved it.
    #[must_use]
    pub fn peer(&self) -> &IdentityKey {
        self.used.peer()
    }
}

impl Account {
    pub(crate) fn begin_from(
        &self,
        bundle: &Bundle,
        agree: Agree,
        limits: Limits,
        number: u64,
        entropy: &mut impl Entropy,
    ) -> Result<Session, Error> {
        scrubbed_deep(|| self.initiate(bundle, agree, limits, number, entropy))
            .map(|begun| begun.session)
    }

    /// As [`begin`](Self::begin), for a layer that carries the handshake itself: the session does not repeat
    /// it. Its number is the time.
    pub(crate) fn begin_pair(
        &self,
        bundle: &Bundle,
        limits: Limits,
    ) -> Result<(Begun, Box<[u8]>), Error> {
        let number = clock::now();
        let mut begun =
            scrubbed_deep(|| self.initiate(bundle, Agree::Pqxdh, limits, number, &mut System))?;
        let handshake = begun.session.take_handshake().ok_or(Error::Primitive)?;
        Ok((begun, handshake))
    }

    /// The session that this handshake begins, before its first message opens: only that proves who has begun
    /// it. [`use_up`](Self::use_up) takes away what it uses.
    pub(crate) fn accept_pair(
        &self,
        handshake: &[u8],
        limits: Limits,
    ) -> Result<(Begun, StagedUse), Error> {
        scrubbed_deep(|| self.answer(handshake, limits)).map_err(Error::of_opening)
    }

    /// Takes away what a session that was accepted uses up.
    ///
    /// # Errors
    /// [`Error::Stale`] when the keys have been used or rotated away since; nothing has changed.
    pub(crate) fn use_up(&mut self, staged: &StagedUse) -> Result<(), Error> {
        let StagedUse { handshake, number } = staged;
        if self.check(handshake).and_then(|()| self.check_number(handshake, *number)).is_err() {
            return Err(Error::Stale);
        }
        if !self.uses_one_time_key(handshake)
            && let Some(period) = self.period_mut(handshake.signed_prekey)
        {
            let peer = peer_id(&handshake.identity);
            period.seen_mut().insert(peer, *handshake.ephemeral.as_bytes(), *number);
        }
        if let Some(id) = handshake.one_time_prekey {
            self.curve.remove(id);
        }
        if let Some((id, _)) = handshake.kem {
            self.kem.remove(id);
        }
        Ok(())
    }

    fn initiate(
        &self,
        bundle: &Bundle,
        agree: Agree,
        limits: Limits,
        number: u64,
        entropy: &mut impl Entropy,
    ) -> Result<Begun, Error> {
        if bundle.identity.keys() == self.identity().keys() {
            return Err(Error::WrongIdentity);
        }
        let ephemeral = KeyPair::generate_from(entropy)?;
        let agreement = Agreement::initiator(&self.identity, &ephemeral, bundle)?;
        let (kem, secret) = match agree {
            Agree::X3dh => (None, agreement.finish()?),
            Agree::Pqxdh => {
                let prekey = bundle.kem_prekey.as_ref().ok_or(Error::NoPostQuantumPrekey)?;
                let (ciphertext, secret) = pqxdh::initiator(agreement, &prekey.key, entropy)?;
                (Some((prekey.id, ciphertext)), secret)
            }
        };
        let start = RatchetStart::derive(&secret)?;
        key_use::record("signal session number", secret.expose(), &[]);
        let handshake = Handshake {
            identity: *self.identity(),
            ephemeral: *ephemeral.public(),
            number: (number ^ start.mask).to_be_bytes(),
            signed_prekey: bundle.signed_prekey.id,
            one_time_prekey: bundle.one_time_prekey.map(|prekey| prekey.id),
            kem,
        }
        .encode();
        let binding = Binding::new(self.identity(), &bundle.identity, &handshake);
        let RatchetStart { root, header_a, header_b, spqr, contribution, .. } = start;
        let spqr = Spqr::new(&spqr, Role::Initiator)?;
        let prekey = &bundle.signed_prekey.key;
        let ratchet = Ratchet::initiator(root, header_a, header_b, prekey, spqr, entropy)?;
        let handshake = Some(Box::from(handshake));
        let session = Session::new(binding, Role::Initiator, number, handshake, ratchet, limits);
        Ok(Begun { session, contribution })
    }

    pub(super) fn respond(
        &self,
        ad: &[u8],
        message: &mut [u8],
        limits: Limits,
    ) -> Result<(Range<usize>, StagedSession), Error> {
        let (encoded, _) = initial_message::split(message)?;
        let (Begun { mut session, .. }, used) = self.answer(encoded, limits)?;
        let (range, opened) = session.open_in_place(ad, message)?;
        session.apply(opened)?;
        Ok((range, StagedSession { session, used }))
    }

    /// The responder's side of a handshake.
    fn answer(&self, encoded: &[u8], limits: Limits) -> Result<(Begun, StagedUse), Error> {
        let handshake = Handshake::decode(encoded)?;
        self.check(&handshake)?;
        let period = self.period(handshake.signed_prekey).ok_or(Error::Undecryptable)?;
        let one_time_prekey = match handshake.one_time_prekey {
            None => None,
            Some(id) => {
                let secret = self.curve.get(id).ok_or(Error::Undecryptable)?;
                Some(KeyPair::from_secret(secret.duplicate()))
            }
        };
        let agreement = Agreement::responder(
            &self.identity,
            period.signed(),
            one_time_prekey.as_ref(),
            &handshake.identity,
            &handshake.ephemeral,
        )?;
        let secret = match &handshake.kem {
            None => agreement.finish()?,
            Some((id, ciphertext)) => match (self.kem.get(*id), self.period(*id)) {
                (Some(seed), _) => {
                    let prekey = KemKeyPair::from_seed(seed.duplicate());
                    pqxdh::responder(agreement, &prekey, ciphertext)?
                }
                (None, Some(period)) => {
                    pqxdh::responder(agreement, period.last_resort(), ciphertext)?
                }
                (None, None) => return Err(Error::Undecryptable),
            },
        };
        let binding = Binding::new(&handshake.identity, self.identity(), encoded);
        let RatchetStart { root, header_a, header_b, spqr, mask, contribution } =
            RatchetStart::derive(&secret)?;
        let number = u64::from_be_bytes(handshake.number) ^ mask;
        let prekey = period.signed().duplicate();
        let spqr = Spqr::new(&spqr, Role::Responder)?;
        let ratchet = Ratchet::responder(root, header_a, header_b, prekey, spqr);
        let session = Session::new(binding, Role::Responder, number, None, ratchet, limits);
        self.check_number(&handshake, number)?;
        Ok((Begun { session, contribution }, StagedUse { handshake, number }))
    }

    /// Checks that this handshake can still be accepted: the keys it names are there, and where it
    /// uses no one-time key it has not been seen before.
    fn check(&self, handshake: &Handshake) -> Result<(), Error> {
        let period = self.period(handshake.signed_prekey).ok_or(Error::Undecryptable)?;
        if handshake.identity.keys() == self.identity().keys() {
            return Err(Error::Undecryptable);
        }
        let curve = handshake.one_time_prekey.is_none_or(|id| self.curve.get(id).is_some());
        let kem = match &handshake.kem {
            None => self.accept_x3dh,
            Some((id, _)) => self.kem.get(*id).is_some() || self.period(*id).is_some(),
        };
        if !curve || !kem {
            return Err(Error::Undecryptable);
        }
        if self.uses_one_time_key(handshake) {
            return Ok(());
        }
        period.seen().check(&peer_id(&handshake.identity), handshake.ephemeral.as_bytes())
    }

    /// Checks that a session with this number was not accepted and forgotten. [`Session::MAX_NUMBER`] is
    /// the last one that a record can be sure of.
    fn check_number(&self, handshake: &Handshake, number: u64) -> Result<(), Error> {
        if number > Session::MAX_NUMBER {
            return Err(Error::Undecryptable);
        }
        match self.period(handshake.signed_prekey) {
            Some(period) if !self.uses_one_time_key(handshake) => {
                period.seen().check_number(&peer_id(&handshake.identity), number)
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn uses_one_time_key(&self, handshake: &Handshake) -> bool {
        let kem = handshake.kem.as_ref();
        handshake.one_time_prekey.is_some()
            || kem.is_some_and(|(id, _)| self.kem.get(*id).is_some())
    }
}

/// What the Triple Ratchet starts from (sections 4.4, 5 and 6: each ratchet has a secret of its own), and the
/// mask of the session's number.
struct RatchetStart {
    root: RootKey,
    /// The initiator's first header key.
    header_a: HeaderKey,
    /// The responder's.
    header_b: HeaderKey,
    /// What the post-quantum ratchet starts from.
    spqr: Secret<32>,
    mask: u64,
    /// Of a layer, to those above it.
    contribution: Secret<32>,
}

impl RatchetStart {
    /// From `SK`.
    fn derive(secret: &Secret<32>) -> Result<Self, Error> {
        let okm: Secret<136> = kdf::hkdf_expand(secret, &[RATCHET_INFO])?;
        let mask = okm.expose().last_chunk().ok_or(Error::Primitive)?;
        Ok(Self {
            root: RootKey::new(kdf::part(okm.expose(), 0)?),
            header_a: HeaderKey::new(kdf::part(okm.expose(), 1)?),
            header_b: HeaderKey::new(kdf::part(okm.expose(), 2)?),
            spqr: kdf::part(okm.expose(), 3)?,
            mask: u64::from_be_bytes(*mask),
            contribution: kdf::hkdf_expand(secret, &[CONTRIBUTION_INFO])?,
        })
    }
}

const RATCHET_INFO: &[u8] = b"cc-signal/1 ratchet";
const CONTRIBUTION_INFO: &[u8] = b"cc-signal/1 contribution";
