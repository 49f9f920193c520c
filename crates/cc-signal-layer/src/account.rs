//! One's own account: the identity and the prekeys, and the sessions that begin from them.

use core::ops::Range;

use alloc::vec::Vec;

use cc_core::SecretBytes;

use crate::{
    Error,
    bundle::{Bundle, KemPrekey, OneTimePrekey},
    clock,
    curve::KeyPair,
    entropy::{Entropy, System},
    identity::{IdentityKey, IdentityKeyPair},
    kem::KemKeyPair,
    limits::Limits,
    prekey::{MAX_SEEN, OneTime, Period},
    scrub::scrubbed_deep,
    session::Session,
    state, wire,
};

mod handshakes;
mod saved;

pub use handshakes::StagedSession;
pub(crate) use handshakes::{Begun, StagedUse};
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
