//! Pairs: stacks for two that begin from one bundle and one message.
//!
//! A [`PairAccount`] has one person's keys in all layers. Each pair is a manager of its own.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{any::Any, any::type_name, fmt};

use cc_core::{
    DecodeError, Initiated, LayerDescriptor, LayerError, MemberId, Opaque, PairBundle,
    PairBundlePart, PairId, PairKeys, PairKeysOf, PairOpening, PairOpeningPart, StackId,
    limits::MAX_LAYERS,
    store::{Batch, Store},
};

use crate::{
    CascadingCipherManager, Catalog, Error, StackProblem,
    builder::default_clock,
    manager::Beginning,
    persistence::Persistence,
    receive::{Cause, open_message},
    records::AcceptedPairs,
    stack::Reports,
    state::State,
};

mod builder;
mod first;
mod keys;
mod opening;
mod persistence;

pub use builder::PairAccountBuilder;
pub use first::{AcceptedPair, FirstView, IncomingFirst};
use keys::{Staged, each, each_mut, failed};
pub(crate) use opening::Pairing;
use persistence::{AccountStore, Stored};

/// One person's long-lived keys in all layers of a stack for two, of which any number of pairs begin.
pub struct PairAccount {
    /// Bottom first.
    keys: Vec<Box<dyn PairKeys>>,
    descriptors: Vec<LayerDescriptor>,
    stack: StackId,
    member: MemberId,
    accepted: AcceptedPairs,
    store: Option<AccountStore>,
}

impl PairAccount {
    /// Collects keys, those of the bottom layer first.
    pub fn builder() -> PairAccountBuilder {
        PairAccountBuilder::default()
    }

    /// Opens the account that was [created](PairAccountBuilder::create) in `store` under `name`. `catalog`
    /// lists the types of its keys ([`Catalog::with_pair_keys`]).
    ///
    /// # Errors
    /// [`Error::Store`], with [`StoreError::Missing`](cc_core::store::StoreError::Missing) where there is none
    /// of that name, [`Error::UnknownLayer`] for keys that `catalog` does not list, [`Error::Layer`] for keys
    /// that do not come back.
    pub fn open(
        store: impl Store + Clone + 'static,
        name: &str,
        catalog: &Catalog,
    ) -> Result<Self, Error> {
        let (store, Stored { keys, accepted }) = AccountStore::open(store, name, catalog)?;
        Self::assemble(keys, accepted, Some(store))
    }

    /// This person: a digest of the long-lived public keys in all layers.
    #[must_use]
    pub fn member_id(&self) -> MemberId {
        self.member
    }

    /// A bundle for any number of pairs. The first messages of these have their forward secrecy only with the
    /// rotation of the keys in it.
    ///
    /// # Errors
    /// [`Error::Layer`], [`Error::Store`].
    pub fn bundle(&mut self) -> Result<Vec<u8>, Error> {
        self.make_bundle(false)
    }

    /// A bundle with keys that are used for one pair, and gone then. A server gives it to one person.
    ///
    /// # Errors
    /// [`Error::Layer`], [`Error::Store`].
    pub fn one_time_bundle(&mut self) -> Result<Vec<u8>, Error> {
        self.make_bundle(true)
    }

    /// Verifies a bundle, and says whose it is.
    ///
    /// # Errors
    /// [`Error::Decode`] for another stack or what is no bundle, [`Error::Layer`] for keys or a signature that
    /// are not acceptable, [`Error::UnsignedBundle`].
    pub fn inspect_bundle(&self, bundle: impl AsRef<[u8]>) -> Result<MemberId, Error> {
        self.verify(bundle.as_ref()).map(|(_, peer)| peer)
    }

    /// Whose message it claims to be, and of which pair, before anything is computed with a private key.
    ///
    /// # Errors
    /// [`Error::Decode`], [`Error::Layer`] for keys that are not acceptable.
    pub fn inspect_first(&self, wire: impl AsRef<[u8]>) -> Result<FirstView, Error> {
        let (opening, _) = PairOpening::decode(wire.as_ref(), &self.stack)?;
        let peer = self.member_of(opening.parts().iter().map(|part| part.identity.as_slice()))?;
        Ok(FirstView { pair: opening.id()?, peer })
    }

    /// Begins a pair with the owner of `bundle`: a manager that can send at once. With a store it is in it, under
    /// `name`. Compare [`member ids`](Self::inspect_bundle) first: whoever gave out the bundle may have swapped
    /// it for their own.
    ///
    /// Where both sides begin at the same time there are two pairs: take what comes in both, and send in the one
    /// with the smaller [`PairId`].
    ///
    /// # Errors
    /// As [`inspect_bundle`](Self::inspect_bundle); [`Error::OwnBundle`]; as
    /// [`create`](crate::ManagerBuilder::create).
    pub fn initiate(
        &mut self,
        bundle: impl AsRef<[u8]>,
        name: &str,
    ) -> Result<CascadingCipherManager, Error> {
        let (bundle, peer) = self.verify(bundle.as_ref())?;
        if peer == self.member {
            return Err(Error::OwnBundle);
        }
        let begun = each_mut(&mut self.keys, bundle.parts(), |keys, part| {
            let (identity, setup) = (part.identity.as_slice(), part.prekeys.as_slice());
            let Initiated { layer, setup } = keys.initiate(&PairKeysOf { identity, setup })?;
            let identity = Opaque(keys.identity());
            Ok((layer, PairOpeningPart { identity, setup: Opaque(setup) }))
        })?;
        let (layers, parts) = begun.into_iter().unzip();
        let opening = PairOpening::new(&self.stack, parts);
        let identities = bundle.parts().iter().map(|part| part.identity.as_slice());
        let pairing = Pairing {
            id: opening.id()?,
            transcript: opening.transcript(&self.stack, identities),
            peer,
            opening: opening.encode()?,
        };
        let persistence = self.place_for_pair(name)?;
        let state = State { pair: Some(Arc::new(pairing)), ..State::default() };
        let beginning = Beginning { state, with: None };
        let reports = Reports::new(default_clock());
        CascadingCipherManager::assemble_with(layers, reports, persistence, beginning, |_, _, _| {
            Ok(())
        })
        .map(|(manager, ())| manager)
    }

    /// Accepts the pair that a first message begins, whoever it is from: its manager, with the message. With a
    /// store the manager is in it, under `name`, and the message in its inbox, by the commit that takes the
    /// keys away which the opening uses up. Any message of who began serves until this side has answered.
    ///
    /// # Errors
    /// Only for what is wrong at this end: [`Error::Store`], [`Error::Random`], and [`Error::Layer`] for a layer
    /// that fails. Nothing has changed then.
    pub fn accept_first(
        &mut self,
        wire: impl AsRef<[u8]>,
        name: &str,
    ) -> Result<IncomingFirst, Error> {
        self.accept_first_with(wire, [], name)
    }

    /// As [`accept_first`](Self::accept_first), for a message that was encrypted with `associated_data`.
    ///
    /// # Errors
    /// As [`accept_first`](Self::accept_first).
    pub fn accept_first_with(
        &mut self,
        wire: impl AsRef<[u8]>,
        associated_data: impl AsRef<[u8]>,
        name: &str,
    ) -> Result<IncomingFirst, Error> {
        match self.accept(wire.as_ref(), associated_data.as_ref(), name) {
            Ok(incoming) => Ok(incoming),
            Err(error) => match Cause::of(&error, None, None) {
                Cause::Local => Err(error),
                Cause::Foreign(why) => Ok(IncomingFirst::Foreign(why)),
                Cause::Duplicate | Cause::Stale(_) => Ok(IncomingFirst::Stale),
                Cause::Own | Cause::Early(_) | Cause::Forged => Ok(IncomingFirst::Forged(error)),
            },
        }
    }

    /// Lets `change` do the upkeep of the keys of type `K` (of several, the bottommost), such as a rotation of
    /// prekeys. It is in force at once; with a store it is saved before this returns.
    ///
    /// # Errors
    /// [`Error::NoLayerOfType`], [`Error::Layer`] with what `change` gave, [`Error::Store`].
    pub fn configure<K: PairKeys, T>(
        &mut self,
        change: impl FnOnce(&mut K) -> Result<T, LayerError>,
    ) -> Result<T, Error> {
        self.usable()?;
        let found = self.keys.iter_mut().enumerate().find_map(|(position, keys)| {
            let keys: &mut dyn Any = &mut **keys;
            keys.downcast_mut::<K>().map(|keys| (position, keys))
        });
        let (position, keys) = found.ok_or(Error::NoLayerOfType(type_name::<K>()))?;
        let value = change(keys).map_err(|source| failed(position, keys, source))?;
        self.save()?;
        Ok(value)
    }

    fn assemble(
        keys: Vec<Box<dyn PairKeys>>,
        accepted: AcceptedPairs,
        store: Option<AccountStore>,
    ) -> Result<Self, Error> {
        match keys.len() {
            0 => return Err(StackProblem::Empty.into()),
            1..=MAX_LAYERS => {}
            count => return Err(StackProblem::TooManyLayers(count).into()),
        }
        let descriptors: Vec<_> = keys.iter().map(|keys| keys.descriptor()).collect();
        let stack = StackId::of(&descriptors);
        let member = MemberId::from_bytes([0; 32]);
        let mut account = Self { keys, descriptors, stack, member, accepted, store };
        let identities: Vec<_> = account.keys.iter().map(|keys| keys.identity()).collect();
        account.member = account.member_of(identities.iter().map(Vec::as_slice))?;
        // Nothing is given out that nobody can verify.
        let signatures = account.sign(&[0; 32])?;
        if signatures.iter().any(Option::is_some) {
            Ok(account)
        } else {
            Err(Error::UnsignedBundle)
        }
    }

    fn make_bundle(&mut self, one_time: bool) -> Result<Vec<u8>, Error> {
        self.usable()?;
        let mut staged = Staged::begin(&mut self.keys);
        let layers = 0..self.descriptors.len();
        let parts = each_mut(staged.keys, layers, |keys, _| {
            let (identity, prekeys) = (Opaque(keys.identity()), Opaque(keys.prekeys(one_time)?));
            Ok(PairBundlePart { identity, prekeys, signature: Opaque::default() })
        })?;
        let mut bundle = PairBundle::new(&self.stack, parts);
        let digest = bundle.digest(&self.stack);
        let signed = each(staged.keys, bundle.parts_mut(), |keys, part| {
            part.signature = Opaque(keys.sign(&digest)?.unwrap_or_default());
            Ok(())
        });
        let _: Vec<()> = signed?;
        let encoded = bundle.encode()?;
        write(&mut self.store, &self.descriptors, &mut staged)?;
        Ok(encoded)
    }

    /// What the layers that sign say of a digest.
    fn sign(&self, digest: &[u8; 32]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        each(&self.keys, 0..self.keys.len(), |keys, _| keys.sign(digest))
    }

    /// Reads a bundle and verifies its keys and signatures.
    fn verify(&self, bundle: &[u8]) -> Result<(PairBundle, MemberId), Error> {
        let bundle = PairBundle::decode(bundle, &self.stack)?;
        let peer = self.member_of(bundle.parts().iter().map(|part| part.identity.as_slice()))?;
        let digest = bundle.digest(&self.stack);
        let signed = each(&self.keys, bundle.parts(), |keys, part| {
            keys.verify(part.identity.as_slice(), &digest, part.signature.as_slice())
        })?;
        if signed.contains(&true) { Ok((bundle, peer)) } else { Err(Error::UnsignedBundle) }
    }

    /// The member with these identities, of which there must be one for each layer.
    fn member_of<'a>(
        &self,
        identities: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> Result<MemberId, Error> {
        if identities.len() != self.keys.len() {
            return Err(DecodeError::Malformed.into());
        }
        let commitments = each(&self.keys, identities, |keys, identity| keys.commitment(identity))?;
        let known = self.descriptors.iter().zip(commitments);
        Ok(MemberId::of(known.filter_map(|(descriptor, known)| Some((descriptor, known?)))))
    }

    fn accept(
        &mut self,
        wire: &[u8],
        associated_data: &[u8],
        name: &str,
    ) -> Result<IncomingFirst, Error> {
        self.usable()?;
        let (opening, _) = PairOpening::decode(wire, &self.stack)?;
        let pair = opening.id()?;
        if self.accepted.has(&pair) {
            return Ok(IncomingFirst::Known(pair));
        }
        let peer = self.member_of(opening.parts().iter().map(|part| part.identity.as_slice()))?;
        if peer == self.member {
            // Nobody begins a pair with oneself.
            return Ok(IncomingFirst::Forged(Error::OwnBundle));
        }
        let persistence = self.place_for_pair(name)?;
        let own: Vec<_> = self.keys.iter().map(|keys| keys.identity()).collect();
        let transcript = opening.transcript(&self.stack, own.iter().map(Vec::as_slice));
        let pairing = Pairing { id: pair, transcript, peer, opening: Vec::new() };
        let state = State { pair: Some(Arc::new(pairing)), ..State::default() };
        let mut staged = Staged::begin(&mut self.keys);
        let layers = each_mut(staged.keys, opening.parts(), |keys, part| {
            let (identity, setup) = (part.identity.as_slice(), part.setup.as_slice());
            keys.accept(&PairKeysOf { identity, setup })
        })?;
        let accepted = self.accepted.with(pair);
        let (store, descriptors) = (&self.store, &self.descriptors);
        let mut counters = None;
        let mut with = |batch: &mut Batch| {
            if let Some(store) = store {
                counters = Some(store.write(staged.keys, descriptors, Some(&accepted), batch)?);
            }
            Ok(())
        };
        let beginning = Beginning { state, with: Some(&mut with) };
        let reports = Reports::new(default_clock());
        let begun = CascadingCipherManager::assemble_with(
            layers,
            reports,
            persistence,
            beginning,
            |stack, reports, draft| open_message(stack, reports, draft, wire, associated_data),
        );
        staged.kept = begun.is_ok();
        drop(staged);
        if let Some(store) = &mut self.store {
            store.settle(counters, &begun);
        }
        let (manager, message) = begun?;
        self.accepted = accepted;
        Ok(IncomingFirst::Begun(Box::new(AcceptedPair { manager, message, pair, peer })))
    }

    fn place_for_pair(&self, name: &str) -> Result<Option<Persistence>, Error> {
        self.usable()?;
        let place = self.store.as_ref();
        let place = place.map(|store| Persistence::create(store.handle(), name, self.keys.len()));
        Ok(place.transpose()?)
    }

    fn usable(&self) -> Result<(), Error> {
        Ok(self.store.as_ref().map_or(Ok(()), AccountStore::usable)?)
    }

    /// Writes what changed of the keys.
    fn save(&mut self) -> Result<(), Error> {
        write(&mut self.store, &self.descriptors, &mut Staged::begin(&mut self.keys))
    }
}

/// Writes what changed of the keys, which is in force then.
fn write(
    store: &mut Option<AccountStore>,
    descriptors: &[LayerDescriptor],
    staged: &mut Staged<'_>,
) -> Result<(), Error> {
    if let Some(store) = store {
        let mut batch = Batch::new();
        let counters = store.write(staged.keys, descriptors, None, &mut batch)?;
        let outcome = store.commit(&batch).map_err(Error::from);
        store.settle(Some(counters), &outcome);
        outcome?;
    }
    staged.kept = true;
    Ok(())
}

impl CascadingCipherManager {
    /// The name of the pair, where this manager is one of a [`PairAccount`]: the same on both sides.
    #[must_use]
    pub fn pair_id(&self) -> Option<PairId> {
        self.state.pair.as_ref().map(|pair| pair.id)
    }

    /// The other person of the pair.
    #[must_use]
    pub fn peer(&self) -> Option<MemberId> {
        self.state.pair.as_ref().map(|pair| pair.peer)
    }

    /// Whether the other side is known to have the pair: until then each message that this side sends has the
    /// opening in front. `true` where this side accepted; `false` without a pair.
    #[must_use]
    pub fn is_pair_answered(&self) -> bool {
        self.state.pair.as_ref().is_some_and(|pair| pair.opening.is_empty())
    }
}

impl fmt::Debug for PairAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layers: Vec<_> = self.descriptors.iter().map(|layer| layer.id).collect();
        f.debug_struct("PairAccount")
            .field("member", &self.member)
            .field("layers", &layers)
            .finish_non_exhaustive()
    }
}
