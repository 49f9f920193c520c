//! One's own account: the identity and the prekeys, and the sessions that begin from them.

use core::ops::Range;

use alloc::{boxed::Box, vec::Vec};

use cc_core::{Secret, SecretBytes, key_use};

use crate::{
    Error,
    bundle::{Bundle, KemPrekey, OneTimePrekey},
    clock,
    curve::KeyPair,
    entropy::{Entropy, System},
    header::HeaderKey,
    identity::{IdentityKey, IdentityKeyPair},
    initial_message::{self, Handshake},
    kdf,
    kem::KemKeyPair,
    limits::Limits,
    pqxdh,
    prekey::{MAX_SEEN, OneTime, Period},
    ratchet::Ratchet,
    root_key::RootKey,
    scrub::scrubbed_deep,
    seen::peer_id,
    session::{Binding, Role, Session},
    spqr::Spqr,
    state, wire,
    x3dh::Agreement,
};

mod saved;

pub(crate) use saved::UsedPrekeys;

/// Which agreement begins a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Agree {
    /// X3DH and ML-KEM-1024. A bundle without a post-quantum prekey is refused, so that a server
    /// cannot take the protection away by leaving it out.
    #[default]
    Pqxdh,
    /// X3DH alone, whatever the bundle has.
    X3dh,
}

/// An identity with its prekeys.
///
/// There is to be one of it, for a one-time prekey opens one session only as long as every session that
/// uses it up is taken from the same account. A layer takes the account by value and
/// [gives it back](crate::SignalLayer::into_account), and there is no `Clone`.
/// [`export`](Account::export) is for a store, not for a second layer: of two accounts that were loaded
/// from the same bytes, each spends the same one-time prekeys.
#[derive(Debug)]
pub struct Account {
    identity: IdentityKeyPair,
    /// The next prekey id; one sequence for all kinds, so no id names two keys.
    next_id: u32,
    current: Period,
    /// The period before, for initial messages that were under way during the rotation.
    former: Option<Period>,
    curve: OneTime<32>,
    kem: OneTime<64>,
    accept_x3dh: bool,
}

/// A session that a peer has begun, and what it takes from the account.
///
/// Nothing has changed yet: [`Account::apply`] does it.
#[derive(Debug)]
#[must_use = "the session does not exist until this is applied"]
pub struct StagedSession {
    session: Session,
    used: StagedUse,
}

/// What a session that was accepted takes from the account.
#[derive(Debug)]
pub(crate) struct StagedUse {
    handshake: Handshake,
    number: u64,
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

impl Account {
    /// A fresh identity with a signed prekey and a last-resort post-quantum prekey, and no
    /// one-time prekeys yet.
    ///
    /// # Errors
    /// [`Error::Random`] when the operating system's generator fails.
    pub fn generate() -> Result<Self, Error> {
        Self::generate_from(&mut System)
    }

    /// An account of an identity that was made before, with fresh prekeys: one person has the same
    /// identity in many groups, and in each an account whose one-time prekeys are in no other.
    ///
    /// # Errors
    /// [`Error::Random`] when the operating system's generator fails.
    pub fn with_identity(identity: IdentityKeyPair) -> Result<Self, Error> {
        Self::of_identity(identity, &mut System)
    }

    /// The public identity.
    #[must_use]
    pub fn identity(&self) -> &IdentityKey {
        self.identity.public()
    }

    /// The identity with its private keys, to sign and to compare.
    #[must_use]
    pub fn identity_pair(&self) -> &IdentityKeyPair {
        &self.identity
    }

    /// Whether sessions that others begin without the post-quantum prekey are accepted. They are
    /// not by default.
    pub fn accept_x3dh(&mut self, accept: bool) {
        self.accept_x3dh = accept;
    }

    /// The bundle without one-time keys, for as many sessions as others begin with it.
    ///
    /// It has the last-resort post-quantum prekey. An initial message made from it is accepted
    /// once, like any other, but its first messages get their forward secrecy only with the next
    /// [rotation](Account::rotate_prekeys) but one.
    #[must_use]
    pub fn bundle(&self) -> Bundle {
        scrubbed_deep(|| Bundle {
            identity: *self.identity.public(),
            signed_prekey: self.current.signed_prekey(&self.identity),
            kem_prekey: Some(self.current.kem_prekey(&self.identity)),
            one_time_prekey: None,
        })
    }

    /// Up to `max` bundles for one session each, from one-time keys that were never in a bundle
    /// before. A server gives each away once.
    #[must_use]
    pub fn one_time_bundles(&mut self, max: usize) -> Vec<Bundle> {
        scrubbed_deep(|| self.publish(max))
    }

    fn publish(&mut self, max: usize) -> Vec<Bundle> {
        let signed_prekey = self.current.signed_prekey(&self.identity);
        let mut bundles = Vec::new();
        while bundles.len() < max {
            let (Some((curve_id, curve)), Some((kem_id, kem))) =
                (self.curve.publish(), self.kem.publish())
            else {
                break;
            };
            let curve = KeyPair::from_secret(curve.duplicate());
            let kem = KemKeyPair::from_seed(kem.duplicate());
            bundles.push(Bundle {
                identity: *self.identity.public(),
                signed_prekey: signed_prekey.clone(),
                kem_prekey: Some(KemPrekey::sign(&self.identity, kem_id, kem.public())),
                one_time_prekey: Some(OneTimePrekey { id: curve_id, key: *curve.public() }),
            });
        }
        bundles
    }

    /// Makes `count` more one-time keys of each kind. Beyond
    /// [`MAX_ONE_TIME`](crate::prekey::MAX_ONE_TIME) the oldest published ones are dropped.
    ///
    /// # Errors
    /// [`Error::Random`], or [`Error::LimitExceeded`] after 2^32 prekeys.
    pub fn replenish(&mut self, count: usize) -> Result<(), Error> {
        self.replenish_from(count, &mut System)
    }

    /// How many one-time bundles [`Account::one_time_bundles`] can still give.
    #[must_use]
    pub fn unpublished(&self) -> usize {
        self.curve.unpublished_len().min(self.kem.unpublished_len())
    }

    /// How many one-time bundles were given out and not used yet.
    #[must_use]
    pub fn published(&self) -> usize {
        self.curve.published_len().min(self.kem.published_len())
    }

    /// A new signed prekey and a new last-resort post-quantum prekey. Those before stay good for
    /// initial messages under way; those before them are gone. The specifications suggest once a
    /// week or a month. Publish new bundles afterwards.
    ///
    /// # Errors
    /// [`Error::Random`], or [`Error::LimitExceeded`] after 2^32 prekeys.
    pub fn rotate_prekeys(&mut self) -> Result<(), Error> {
        let fresh = Period::generate(self.take_id()?, &mut System)?;
        self.former = Some(core::mem::replace(&mut self.current, fresh));
        Ok(())
    }

    /// Whether so many sessions have begun without one-time keys that
    /// [`Account::rotate_prekeys`] is due, whatever the calendar says: the record that keeps
    /// their initial messages from being accepted twice is half full.
    #[must_use]
    pub fn is_rotation_due(&self) -> bool {
        let seen = self.current.seen();
        seen.len().max(seen.peers_len()) >= MAX_SEEN / 2
    }

    /// Begins a session with the owner of `bundle`.
    ///
    /// # Errors
    /// [`Error::NoPostQuantumPrekey`], [`Error::Random`]; [`Error::WrongIdentity`] for one's own
    /// bundle.
    ///
    /// The [number](Session::number) of the session is the time. [`Sessions`](crate::Sessions) see to it
    /// that it is greater than that of every session before.
    pub fn begin(&self, bundle: &Bundle, agree: Agree, limits: Limits) -> Result<Session, Error> {
        self.begin_from(bundle, agree, limits, clock::now(), &mut System)
    }

    /// Opens an initial message: its text, and the new session to apply.
    ///
    /// # Errors
    /// As [`Account::open_initial_in_place`].
    pub fn open_initial(
        &self,
        ad: &[u8],
        message: &[u8],
        limits: Limits,
    ) -> Result<(Vec<u8>, StagedSession), Error> {
        wire::open_copy(message, |buffer| self.open_initial_in_place(ad, buffer, limits))
    }

    /// Opens an initial message in place. The text is in the range returned.
    ///
    /// # Errors
    /// [`Error::Undecryptable`], also for a replay whose one-time prekey is gone; [`Error::Expired`]
    /// for one that was accepted before without such a key; [`Error::TooFarAhead`]. `message` is then
    /// to be thrown away.
    pub fn open_initial_in_place(
        &self,
        ad: &[u8],
        message: &mut [u8],
        limits: Limits,
    ) -> Result<(Range<usize>, StagedSession), Error> {
        scrubbed_deep(|| self.respond(ad, message, limits)).map_err(Error::of_opening)
    }

    /// Takes the one-time keys of a staged session away, or records its initial message, and
    /// hands the session over. To be saved together.
    ///
    /// # Errors
    /// [`Error::Stale`] when the keys have been used or rotated away since; nothing has changed.
    pub fn apply(&mut self, staged: StagedSession) -> Result<Session, Error> {
        self.use_up(&staged.used)?;
        Ok(staged.session)
    }

    /// The account as bytes for an encrypted store.
    #[must_use]
    pub fn export(&self) -> SecretBytes {
        state::export(self)
    }

    /// An account from the bytes of [`Account::export`].
    ///
    /// # Errors
    /// [`Error::UnknownVersion`] for a state of a later version, [`Error::InvalidState`] for
    /// anything else that is wrong.
    pub fn load(bytes: &[u8]) -> Result<Self, Error> {
        scrubbed_deep(|| state::load(bytes, &Limits::default()))
    }

    pub(crate) fn generate_from(entropy: &mut impl Entropy) -> Result<Self, Error> {
        Self::of_identity(IdentityKeyPair::generate_from(entropy)?, entropy)
    }

    fn of_identity(identity: IdentityKeyPair, entropy: &mut impl Entropy) -> Result<Self, Error> {
        scrubbed_deep(|| {
            Ok(Self {
                identity,
                next_id: 1,
                current: Period::generate(0, entropy)?,
                former: None,
                curve: OneTime::default(),
                kem: OneTime::default(),
                accept_x3dh: false,
            })
        })
    }

    pub(crate) fn replenish_from(
        &mut self,
        count: usize,
        entropy: &mut impl Entropy,
    ) -> Result<(), Error> {
        for _ in 0..count {
            let id = self.take_id()?;
            self.curve.generate(id, entropy)?;
            let id = self.take_id()?;
            self.kem.generate(id, entropy)?;
        }
        Ok(())
    }

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

    fn respond(
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

    fn uses_one_time_key(&self, handshake: &Handshake) -> bool {
        let kem = handshake.kem.as_ref();
        handshake.one_time_prekey.is_some()
            || kem.is_some_and(|(id, _)| self.kem.get(*id).is_some())
    }

    fn period(&self, id: u32) -> Option<&Period> {
        core::iter::once(&self.current).chain(&self.former).find(|period| period.id() == id)
    }

    fn period_mut(&mut self, id: u32) -> Option<&mut Period> {
        core::iter::once(&mut self.current).chain(&mut self.former).find(|period| period.id() == id)
    }

    fn take_id(&mut self) -> Result<u32, Error> {
        let id = self.next_id;
        self.next_id = id.checked_add(1).ok_or(Error::LimitExceeded)?;
        Ok(id)
    }
}

impl StagedSession {
    /// Who has begun the session. Opening its first message has proved it.
    #[must_use]
    pub fn peer(&self) -> &IdentityKey {
        self.used.peer()
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
