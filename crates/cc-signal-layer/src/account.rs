//! One's own account: the identity and the prekeys, and the sessions that begin from them.

use core::ops::Range;

use alloc::{boxed::Box, vec::Vec};

use cc_core::{Secret, SecretBytes};

use crate::{
    Error,
    bundle::{Bundle, KemPrekey, OneTimePrekey},
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
    session::{Binding, Role, Session},
    state, wire,
    x3dh::Agreement,
};

mod saved;

pub(crate) use saved::Spent;

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
    peer: IdentityKey,
    handshake: Handshake,
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
        Bundle {
            identity: *self.identity.public(),
            signed_prekey: self.current.signed_prekey(&self.identity),
            kem_prekey: Some(self.current.kem_prekey(&self.identity)),
            one_time_prekey: None,
        }
    }

    /// Up to `max` bundles for one session each, from one-time keys that were never in a bundle
    /// before. A server gives each away once.
    #[must_use]
    pub fn one_time_bundles(&mut self, max: usize) -> Vec<Bundle> {
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
        self.current.seen_len() >= MAX_SEEN / 2
    }

    /// Begins a session with the owner of `bundle`.
    ///
    /// # Errors
    /// [`Error::NoPostQuantumPrekey`], [`Error::Random`]; [`Error::WrongIdentity`] for one's own
    /// bundle.
    pub fn begin(&self, bundle: &Bundle, agree: Agree, limits: Limits) -> Result<Session, Error> {
        self.begin_from(bundle, agree, limits, &mut System)
    }

    /// Opens an initial message: its text, and the new session to apply.
    ///
    /// # Errors
    /// [`Error::Undecryptable`] for whatever reason, a replay among them.
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
    /// [`Error::Undecryptable`] for whatever reason, a replay among them; `message` is left as it
    /// was.
    pub fn open_initial_in_place(
        &self,
        ad: &[u8],
        message: &mut [u8],
        limits: Limits,
    ) -> Result<(Range<usize>, StagedSession), Error> {
        self.respond(ad, message, limits).map_err(|_| Error::Undecryptable)
    }

    /// Takes the one-time keys of a staged session away, or records its initial message, and
    /// hands the session over. To be saved together.
    ///
    /// # Errors
    /// [`Error::Stale`] when the keys have been used or rotated away since; nothing has changed.
    pub fn apply(&mut self, staged: StagedSession) -> Result<Session, Error> {
        if !self.is_acceptable(&staged.handshake) {
            return Err(Error::Stale);
        }
        let handshake = &staged.handshake;
        if !self.uses_one_time_key(handshake)
            && let Some(period) = self.period_mut(handshake.signed_prekey)
        {
            period.remember(*handshake.ephemeral.as_bytes());
        }
        if let Some(id) = handshake.one_time_prekey {
            self.curve.remove(id);
        }
        if let Some((id, _)) = handshake.kem {
            self.kem.remove(id);
        }
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
        state::load(bytes, &Limits::default())
    }

    pub(crate) fn generate_from(entropy: &mut impl Entropy) -> Result<Self, Error> {
        Self::of_identity(IdentityKeyPair::generate_from(entropy)?, entropy)
    }

    fn of_identity(identity: IdentityKeyPair, entropy: &mut impl Entropy) -> Result<Self, Error> {
        Ok(Self {
            identity,
            next_id: 1,
            current: Period::generate(0, entropy)?,
            former: None,
            curve: OneTime::default(),
            kem: OneTime::default(),
            accept_x3dh: false,
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
        entropy: &mut impl Entropy,
    ) -> Result<Session, Error> {
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
        let handshake = Handshake {
            identity: *self.identity(),
            ephemeral: *ephemeral.public(),
            signed_prekey: bundle.signed_prekey.id,
            one_time_prekey: bundle.one_time_prekey.map(|prekey| prekey.id),
            kem,
        }
        .encode();
        let binding = Binding::new(self.identity(), &bundle.identity, &handshake);
        let (root, header_a, header_b) = ratchet_keys(&secret)?;
        let prekey = &bundle.signed_prekey.key;
        let ratchet = Ratchet::initiator(root, header_a, header_b, prekey, entropy)?;
        Ok(Session::new(binding, Role::Initiator, Some(Box::from(handshake)), ratchet, limits))
    }

    fn respond(
        &self,
        ad: &[u8],
        message: &mut [u8],
        limits: Limits,
    ) -> Result<(Range<usize>, StagedSession), Error> {
        let (encoded, _) = initial_message::split(message)?;
        let handshake = Handshake::decode(encoded)?;
        if !self.is_acceptable(&handshake) {
            return Err(Error::Undecryptable);
        }
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
        let (root, header_a, header_b) = ratchet_keys(&secret)?;
        let prekey = period.signed().duplicate();
        let ratchet = Ratchet::responder(root, header_a, header_b, prekey);
        let mut session = Session::new(binding, Role::Responder, None, ratchet, limits);
        let (range, opened) = session.open_in_place(ad, message)?;
        session.apply(opened)?;
        let staged = StagedSession { session, peer: handshake.identity, handshake };
        Ok((range, staged))
    }

    /// Whether this handshake can still be accepted: the keys it names are there, and where it
    /// uses no one-time key it has not been seen before.
    fn is_acceptable(&self, handshake: &Handshake) -> bool {
        let Some(period) = self.period(handshake.signed_prekey) else {
            return false;
        };
        if handshake.identity.keys() == self.identity().keys() {
            return false;
        }
        let curve = handshake.one_time_prekey.is_none_or(|id| self.curve.get(id).is_some());
        let kem = match &handshake.kem {
            None => self.accept_x3dh,
            Some((id, _)) => self.kem.get(*id).is_some() || self.period(*id).is_some(),
        };
        let fresh =
            self.uses_one_time_key(handshake) || period.is_fresh(handshake.ephemeral.as_bytes());
        curve && kem && fresh
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
        &self.peer
    }
}

/// `SK` to what the Double Ratchet with header encryption starts from (section 4.4): the root
/// key, the initiator's first header key, and the responder's.
fn ratchet_keys(secret: &Secret<32>) -> Result<(RootKey, HeaderKey, HeaderKey), Error> {
    let okm = kdf::hkdf_expand::<96>(secret, RATCHET_INFO)?;
    Ok((
        RootKey::new(kdf::part(&*okm, 0)?),
        HeaderKey::new(kdf::part(&*okm, 1)?),
        HeaderKey::new(kdf::part(&*okm, 2)?),
    ))
}

const RATCHET_INFO: &[u8] = b"cc-signal/1 ratchet";
